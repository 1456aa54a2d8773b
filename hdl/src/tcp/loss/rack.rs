//! RACK: loss detection by time (RFC 8985 6), as `chimney_host_stack_core::rack`; times modulo 2^24 us.
//!
//! The log of send bursts is kept newest first: so a new burst shifts it by one, the newest is always the same entry, and
//! SND.UNA shortens it without moving anything.
//!
//! What PROTO does with every segment: [`spacing`] in one clock, [`on_send`] in the next; [`advance`]. What follows from it is the
//! program's ([`super::code`]).
//!
//! RFC 8985 6.1 wants the times of every acknowledgment. Here the unit does not see those of a connection that loses nothing: what it
//! knows of round trips begins anew with the first event after that, and until one is measured the smoothed one counts as the
//! smallest. So the reordering window is a little longer, never shorter.

use crate::prelude::*;
use crate::tcp::seq::{after, later};

/// Shortest burst that gets an entry of its own, before there is an RTT.
pub const FIRST_SPACING_US: u64 = 1000;
/// Round trip before there is one.
pub const FIRST_RTT_US: u64 = 1_000_000;

/// One burst of first transmissions: everything from the end of the one before.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Burst {
    /// One past the last byte.
    pub end: Bits<32>,
    /// When its first byte was sent.
    pub start_us: Bits<24>,
}

/// When the bytes in flight were first sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct SendLog {
    /// The newest burst.
    pub b0: Burst,
    /// The one before.
    pub b1: Burst,
    /// The one before that.
    pub b2: Burst,
    /// The oldest that is kept.
    pub b3: Burst,
    /// Nothing is known of bytes below.
    pub floor: Bits<32>,
    /// Bursts known.
    pub len: Bits<3>,
    /// The next byte begins a new burst: something was sent again in between.
    pub is_split: Bit,
}

/// An empty log; bytes from `max` on will be known.
#[kernel]
pub fn new_log(max: Bits<32>) -> SendLog {
    SendLog { floor: max, ..SendLog::default() }
}

/// A time, or a round trip, as far as 24 bits hold it.
#[kernel]
pub fn limit(us: Bits<32>) -> Bits<24> {
    if us.get_bits::<8>(24).any() {
        !bits::<24>(0)
    } else {
        us.get_bits::<24>(0)
    }
}

/// Longest burst of the log: a quarter of the RTT, so that four hold what is in flight.
#[kernel]
pub fn spacing(srtt: Bits<24>) -> Bits<24> {
    let quarter = srtt >> bits::<2>(2);
    if quarter < FIRST_SPACING_US {
        bits::<24>(FIRST_SPACING_US)
    } else {
        quarter
    }
}

/// Bytes up to `end` were sent for the first time now.
#[kernel]
pub fn on_send(l: SendLog, end: Bits<32>, now: Bits<24>, spacing: Bits<24>) -> SendLog {
    let extends = l.len > 0 && !l.is_split && (now - l.b0.start_us) < spacing;
    let is_full = l.len == 4;
    SendLog {
        b0: Burst { end, start_us: if extends { l.b0.start_us } else { now } },
        b1: if extends { l.b1 } else { l.b0 },
        b2: if extends { l.b2 } else { l.b1 },
        b3: if extends { l.b3 } else { l.b2 },
        floor: if !extends && is_full { l.b3.end } else { l.floor },
        len: if extends || is_full { l.len } else { l.len + 1 },
        is_split: false,
    }
}

/// SND.UNA moved. The newest burst stays: it is extended, and only its end counts.
#[kernel]
pub fn advance(l: SendLog, una: Bits<32>) -> SendLog {
    let len = if l.len > 3 && after(l.b3.end, una) {
        bits::<3>(4)
    } else if l.len > 2 && after(l.b2.end, una) {
        bits::<3>(3)
    } else if l.len > 1 && after(l.b1.end, una) {
        bits::<3>(2)
    } else if l.len > 0 {
        bits::<3>(1)
    } else {
        bits::<3>(0)
    };
    SendLog { floor: later(l.floor, una), len, ..l }
}
