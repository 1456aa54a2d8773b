//! Jobs of the engine as numbers.

use super::n;
use chimney_hdl::types::TxJob;

/// A job that was taken, as numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Connection.
    pub conn: u64,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgment number.
    pub ack: u32,
    /// Window, unscaled.
    pub wnd: u16,
    /// Flags.
    pub flags: u64,
    /// Payload.
    pub len: u64,
    /// SACK blocks.
    pub sack: [Option<(u32, u32)>; 4],
    /// Retransmission.
    pub again: bool,
    /// TSval and TSecr.
    pub stamps: Option<(u32, u32)>,
    /// First of the offload.
    pub first: bool,
    /// DSCP and ECN.
    pub tos: u64,
}

/// The job as numbers.
pub fn sent(j: &TxJob) -> Sent {
    let block = |i: usize| {
        let b = j.sack.get_bits::<64>(64 * i);
        (n(b.get_bits::<32>(0)) as u32, n(b.get_bits::<32>(32)) as u32)
    };
    Sent {
        conn: n(j.conn),
        seq: n(j.seq) as u32,
        ack: n(j.ack) as u32,
        wnd: n(j.wnd) as u16,
        flags: n(j.flags),
        len: n(j.len),
        sack: std::array::from_fn(|i| (i < n(j.sack_count) as usize).then(|| block(i))),
        again: j.retransmit,
        stamps: j.has_ts.then(|| (n(j.ts_val) as u32, n(j.ts_ecr) as u32)),
        first: j.reset_cursor,
        tos: n(j.tos),
    }
}
