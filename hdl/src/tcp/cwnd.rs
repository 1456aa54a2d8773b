//! Congestion window (RFC 5681) with appropriate byte counting (RFC 3465), and loss recovery by NewReno
//! (RFC 6582) with limited transmit (RFC 3042).
//!
//! With SACK and CUBIC only slow start is of here (`proto::grow`, `loss`).
//!
//! Pure kernel functions; the same names and results as `chimney_host_stack_core::{cwnd, recovery}` for a
//! connection whose sender does not use SACK.

use super::seq::{at_or_after, before, max32, min32};
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
    /// CUBIC: the window before the last reduction, as far as it was in use; 0 = none since the hand-over.
    pub prior: Bits<32>,
    /// ECN: the window was reduced, for a mark or a loss, and SND.UNA is not beyond `recover` yet: no mark counts until then.
    pub reduced: Bit,
    /// CUBIC: which epoch this is, modulo 64. What CUBIC's program worked out for another one does not count.
    pub epoch: Bits<EPOCH>,
}

/// What an acknowledgment asks for, with the new variables.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct RecoveryStep {
    /// The new variables.
    pub rc: Recovery,
    /// The segment at SND.UNA is to be retransmitted now.
    pub retransmit: Bit,
    /// Fast recovery has begun.
    pub entered: Bit,
}

/// Grows for `acked` bytes that were acknowledged; `flight` is FlightSize before this ACK; at most two
/// segments in slow start, one if `one_segment` (RFC 3465 2.2, 2.3).
#[kernel]
pub fn grow(c: Cwnd, acked: Bits<32>, flight: Bits<32>, smss: Bits<32>, one_segment: bool) -> Cwnd {
    let limit = if one_segment { smss } else { smss + smss };
    let half = (c.cwnd + 1) >> bits::<1>(1);
    let mut r = c;
    if c.cwnd < c.ssthresh {
        // RFC 7661 1: a window that was not used says nothing about the network.
        if flight >= half {
            r.cwnd = c.cwnd + min32(acked, limit);
        }
    } else if flight + smss + smss >= c.cwnd {
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

/// RFC 5681 (4): half of what is in flight, at least two segments.
#[kernel]
pub fn reduce_ssthresh(c: Cwnd, flight: Bits<32>, smss: Bits<32>) -> Cwnd {
    Cwnd { cwnd: c.cwnd, ssthresh: max32(flight >> bits::<1>(1), smss + smss), acked_sum: bits::<32>(0) }
}

/// A duplicate ACK arrived.
#[kernel]
pub fn on_dup_ack(
    rc: Recovery,
    snd_una: Bits<32>,
    snd_max: Bits<32>,
    smss: Bits<32>,
    threshold: Bits<8>,
) -> RecoveryStep {
    let dup_acks = if rc.dup_acks == 255 { rc.dup_acks } else { rc.dup_acks + 1 };
    // RFC 6582 3.2 (2): do not enter twice for one window of data.
    // A recovery point of phase Open is that of a mark, which no loss needs.
    let enter =
        rc.phase == PHASE_OPEN && dup_acks >= threshold && (rc.reduced || !before(snd_una, rc.recover));
    let reduced = reduce_ssthresh(rc.cw, snd_max - snd_una, smss);
    let mut r = rc;
    r.dup_acks = dup_acks;
    if enter {
        r.phase = bits::<8>(PHASE_FAST);
        r.recover = snd_max;
        r.reduced = true;
        r.cw.ssthresh = reduced.ssthresh;
        r.cw.acked_sum = reduced.acked_sum;
        r.cw.cwnd = reduced.ssthresh + smss + smss + smss;
    } else if rc.phase == PHASE_FAST {
        // RFC 5681 3.2 (4): each further duplicate is a segment that left the network.
        r.cw.cwnd = rc.cw.cwnd + smss;
    }
    RecoveryStep { rc: r, retransmit: enter, entered: enter }
}

/// SND.UNA moved to `snd_una` by `acked` bytes; `flight` is the old FlightSize, `left` the new one.
#[kernel]
pub fn on_new_ack(
    rc: Recovery,
    snd_una: Bits<32>,
    acked: Bits<32>,
    flight: Bits<32>,
    left: Bits<32>,
    smss: Bits<32>,
) -> RecoveryStep {
    let is_full = at_or_after(snd_una, rc.recover);
    let in_fast = rc.phase == PHASE_FAST;
    let grown = grow(rc.cw, acked, flight, smss, rc.phase == PHASE_RTO);
    let deflated = if acked < rc.cw.cwnd { rc.cw.cwnd - acked } else { bits::<32>(0) };
    let partial = if acked >= smss { deflated + smss } else { deflated };
    let mut r = rc;
    r.dup_acks = bits::<8>(0);
    if !in_fast {
        r.cw.cwnd = grown.cwnd;
        r.cw.ssthresh = grown.ssthresh;
        r.cw.acked_sum = grown.acked_sum;
    } else if is_full {
        // RFC 6582 3.2 (3), full acknowledgment, option 1: no burst after recovery.
        r.cw.cwnd = min32(rc.cw.ssthresh, max32(left, smss) + smss);
    } else {
        // Partial: deflate by what was acknowledged, add one segment back.
        r.cw.cwnd = max32(partial, smss);
    }
    if is_full {
        r.phase = bits::<8>(PHASE_OPEN);
    }
    RecoveryStep { rc: r, retransmit: in_fast && !is_full, entered: false }
}

/// The retransmission timer fired (RFC 5681 3.1 (7)); `is_first` is false for repeats without progress.
#[kernel]
pub fn on_rto(
    rc: Recovery,
    snd_una: Bits<32>,
    snd_max: Bits<32>,
    smss: Bits<32>,
    is_first: bool,
) -> Recovery {
    let reduced = reduce_ssthresh(rc.cw, snd_max - snd_una, smss);
    let mut r = rc;
    if is_first {
        r.cw.ssthresh = reduced.ssthresh;
        r.cw.acked_sum = reduced.acked_sum;
    }
    r.cw.cwnd = smss;
    r.phase = bits::<8>(PHASE_RTO);
    r.recover = snd_max;
    r.reduced = true;
    r.dup_acks = bits::<8>(0);
    r
}

/// The last reduction holds still when SND.UNA is `una`, so no mark counts: once for each window of data (RFC 3168 6.1.2). It holds at
/// `recover` itself too: the segment with CWR begins there.
#[kernel]
pub fn is_held(rc: Recovery, una: Bits<32>) -> bool {
    rc.reduced && at_or_after(rc.recover, una)
}

/// A mark reduces the window (RFC 3168 6.1.2), without SACK as a loss does; `flight`: what is in flight.
#[kernel]
pub fn on_mark(rc: Recovery, snd_max: Bits<32>, flight: Bits<32>, smss: Bits<32>) -> Recovery {
    let cw = reduce_ssthresh(rc.cw, flight, smss);
    let mut r = rc;
    r.cw = cw;
    r.cw.cwnd = cw.ssthresh;
    r.recover = snd_max;
    r.reduced = true;
    r
}

/// Bytes that may be in flight: `cwnd`, and up to two segments more before recovery begins (RFC 3042 2).
#[kernel]
pub fn send_limit(rc: Recovery, smss: Bits<32>) -> Bits<32> {
    let extra = if rc.phase != PHASE_OPEN || rc.dup_acks == 0 {
        bits::<32>(0)
    } else if rc.dup_acks == 1 {
        smss
    } else {
        smss + smss
    };
    rc.cw.cwnd + extra
}
