//! Congestion window of a calm connection (RFC 5681) with appropriate byte counting (RFC 3465).
//!
//! With CUBIC only slow start is of here (`proto::grow`); what follows from a loss is `loss`'s.
//!
//! Pure kernel functions; the same names and results as `chimney_host_stack_core::cwnd`.

use super::seq::{at_or_after, max32, min32};
use crate::prelude::*;
use chimney_abi::cmd::Phase;

/// Upper bound of the congestion window.
pub const MAX_CWND: u64 = 1 << 30;
/// `Phase::Open`.
pub const PHASE_OPEN: u64 = Phase::Open.code() as u64;
/// `Phase::FastRecovery`.
pub const PHASE_FAST: u64 = Phase::FastRecovery.code() as u64;
/// `Phase::RtoRecovery`.
pub const PHASE_RTO: u64 = Phase::RtoRecovery.code() as u64;

/// Of `prior`: the last reduction was a timeout's (RFC 9438 4.8).
pub const TIMED_OUT: u64 = 1 << 31;

/// Bits of the number of an epoch.
pub const EPOCH: usize = 6;

/// Congestion control variables of one connection, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Cwnd {
    /// Congestion window.
    pub cwnd: Bits<32>,
    /// Slow start threshold.
    pub ssthresh: Bits<32>,
    /// Bytes acknowledged since the last increase in congestion avoidance.
    pub acked_sum: Bits<32>,
}

/// Congestion and recovery variables together.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Recovery {
    /// The window.
    pub cw: Cwnd,
    /// `PHASE_*`.
    pub phase: Bits<8>,
    /// Recovery ends when SND.UNA reaches this.
    pub recover: Bits<32>,
    /// Duplicate ACKs for SND.UNA so far.
    pub dup_acks: Bits<8>,
    /// CUBIC: the window before the last reduction, as far as it was in use; 0 = none since the hand-over. Also [`TIMED_OUT`].
    pub prior: Bits<32>,
    /// ECN: the window was reduced, for a mark or a loss, and SND.UNA is not beyond `recover` yet: no mark counts until then.
    pub reduced: Bit,
    /// CUBIC: which epoch this is, modulo 64. What CUBIC's program worked out for another one does not count.
    pub epoch: Bits<EPOCH>,
}

/// At least half of it was in flight, `flight` bytes. RFC 7661 1: a window that was not used says nothing about the network.
#[kernel]
pub fn is_half_used(c: Cwnd, flight: Bits<32>) -> bool {
    (bit_cast::<33, 32>(flight) << bits::<1>(1)) >= bit_cast::<33, 32>(c.cwnd)
}

/// Grows for `acked` bytes that were acknowledged; `flight` is FlightSize before this ACK; at most two
/// segments in slow start (RFC 3465 2.2, 2.3).
#[kernel]
pub fn grow(c: Cwnd, acked: Bits<32>, flight: Bits<32>, smss: Bits<32>) -> Cwnd {
    let two = smss << bits::<1>(1);
    let mut r = c;
    if c.cwnd < c.ssthresh {
        if is_half_used(c, flight) {
            r.cwnd = c.cwnd + min32(acked, two);
        }
    } else if flight + two >= c.cwnd {
        let sum = c.acked_sum + acked;
        let cwnd = if sum >= c.cwnd { c.cwnd + smss } else { c.cwnd };
        let rest = if sum >= c.cwnd { sum - c.cwnd } else { sum };
        r.cwnd = cwnd;
        r.acked_sum = min32(rest, cwnd);
    }
    r.cwnd = min32(r.cwnd, bits::<32>(MAX_CWND));
    r
}

/// RFC 6928 2: ten segments, but at most 14600 bytes unless two segments are more.
#[kernel]
pub fn initial_window(smss: Bits<32>) -> Bits<32> {
    let two = smss << bits::<1>(1);
    min32((smss << bits::<2>(3)) + two, max32(two, bits::<32>(14_600)))
}

/// The last reduction holds still when SND.UNA is `una`, so no mark counts: once for each window of data (RFC 3168 6.1.2). It holds at
/// `recover` itself too: the segment with CWR begins there.
#[kernel]
pub fn is_held(rc: Recovery, una: Bits<32>) -> bool {
    rc.reduced && at_or_after(rc.recover, una)
}
