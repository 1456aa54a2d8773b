//! The window we advertise, and when to send (RFC 9293 3.7.4, 3.8.6).
//!
//! Pure kernel functions; the same names and results as `chimney_host_stack_core::{window, transmit,
//! timestamps}`, except that [`window_field`] rounds down: the device promises nothing that is not in a
//! durable record (law L2).

use super::seq::{ahead, at_or_after, at_or_before, before, min32};
use crate::prelude::*;
use chimney_abi::desc::{EDGE_SLACK, MAX_RCV_WINDOW};
use chimney_abi::wire::tcp::{MAX_TS_RECENT_AGE_MS, MAX_WINDOW_SHIFT};

/// Bits of the shift of a scaled window, which is at most [`MAX_SHIFT`].
pub const SHIFT: usize = 4;
/// RFC 7323 2.3.
pub const MAX_SHIFT: u64 = MAX_WINDOW_SHIFT as u64;
const _: () = assert!(MAX_SHIFT < 1 << SHIFT);
/// Largest window a connection may promise, bytes.
pub const MAX_WINDOW: u64 = MAX_RCV_WINDOW as u64;
const SLACK: u64 = EDGE_SLACK as u64;
/// See [`MAX_TS_RECENT_AGE_MS`].
const MAX_TS_AGE: u64 = MAX_TS_RECENT_AGE_MS as u64;

/// `chimney_abi::desc::aligned_edge`: a right edge that the window field can say exactly.
#[kernel]
pub fn aligned_edge(rcv_nxt: Bits<32>, right: Bits<32>, limit: Bits<32>, shift: Bits<SHIFT>) -> Bits<32> {
    let mask = !(bits::<32>(0xFFFF_FFFF) << shift);
    let now = right - rcv_nxt;
    let window = (now + mask) & !mask;
    let edge = rcv_nxt + window;
    let beyond = edge - limit;
    // Where nothing is allowed the edge is where it was anyway.
    if !now.get_bit(31) && window <= MAX_WINDOW && (beyond.get_bit(31) || beyond <= SLACK) {
        edge
    } else {
        right
    }
}

/// The window field for a right edge, in units of `1 << shift` bytes, saturated, rounded down.
#[kernel]
pub fn window_field(rcv_nxt: Bits<32>, edge: Bits<32>, shift: Bits<SHIFT>) -> Bits<16> {
    let units = ahead(rcv_nxt, edge) >> shift;
    if units > 0xFFFF {
        bits::<16>(0xFFFF)
    } else {
        bit_cast::<16, 32>(units)
    }
}

/// The peer must hear of a new right edge now: two segments, or half of the buffer, or any step from zero.
#[kernel]
pub fn update_due(
    rcv_nxt: Bits<32>,
    edge: Bits<32>,
    new_edge: Bits<32>,
    capacity: Bits<32>,
    rmss: Bits<32>,
) -> bool {
    let gain = new_edge - edge;
    let step = min32(rmss << bits::<1>(1), capacity >> bits::<1>(1));
    let is_further = gain.any() && !gain.get_bit(31);
    is_further && (at_or_before(edge, rcv_nxt) || gain >= step)
}

/// What the decision to send depends on, all in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct SendInput {
    /// Queued and not yet sent.
    pub unsent: Bits<32>,
    /// Free part of the smaller of send window and congestion window.
    pub usable: Bits<32>,
    /// Sender's segment size.
    pub smss: Bits<32>,
    /// Largest window the peer ever offered.
    pub max_snd_wnd: Bits<32>,
    /// Nothing is in flight.
    pub is_idle: Bit,
    /// Nagle's algorithm is on, and no FIN follows the data.
    pub is_nagle: Bit,
}

/// Length of the segment of new data to send now, 0 to wait.
#[kernel]
pub fn segment_len(input: SendInput) -> Bits<32> {
    let sendable = min32(input.unsent, input.usable);
    let half_max = input.max_snd_wnd >> bits::<1>(1);
    let may_be_small = input.is_idle || !input.is_nagle;
    if sendable >= input.smss {
        input.smss
    } else if may_be_small && input.unsent <= input.usable {
        input.unsent
    } else if may_be_small && sendable >= half_max {
        // half of the largest window, for peers with tiny buffers.
        sendable
    } else {
        bits::<32>(0)
    }
}

/// The peer's timestamp that we hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct TsRecent {
    /// TS.Recent.
    pub val: Bits<32>,
    /// When it was received, milliseconds.
    pub taken_ms: Bits<32>,
}

/// RFC 7323 5.5: the peer's clock may have gone round since.
#[kernel]
fn is_outdated(recent: TsRecent, now_ms: Bits<32>) -> bool {
    now_ms - recent.taken_ms > MAX_TS_AGE
}

/// R-247, RFC 7323 5.3 R1: the segment is an old duplicate.
#[kernel]
pub fn paws_rejects(recent: TsRecent, val: Bits<32>, now_ms: Bits<32>) -> bool {
    before(val, recent.val) && !is_outdated(recent, now_ms)
}

/// RFC 7323 4.3 (2): take the value of a segment that begins at or before the last ACK we sent.
#[kernel]
pub fn update_recent(
    recent: TsRecent,
    val: Bits<32>,
    seq: Bits<32>,
    last_ack_sent: Bits<32>,
    now_ms: Bits<32>,
) -> TsRecent {
    let is_newer = at_or_after(val, recent.val) || is_outdated(recent, now_ms);
    if is_newer && at_or_before(seq, last_ack_sent) {
        TsRecent { val, taken_ms: now_ms }
    } else {
        recent
    }
}
