//! CUBIC between the slow unit, which works out how fast a window grows, and those who let it grow: PROTO while a connection is
//! calm, the loss unit while it is guarded.
//!
//! ```text
//!   an ACK in congestion avoidance --GrowthAsk, at most once a millisecond--> slow unit --SetGrowth--> table --Growth--> every pass and job
//! ```
//! An epoch ends with each reduction of the window and each pause. The number of the epoch goes along with everything, so nothing has to be
//! taken back: what was worked out for an older one counts for nothing.

use crate::prelude::*;
use crate::tcp::cwnd::EPOCH;

/// Bits of the bytes acknowledged between two questions.
pub const CREDIT: usize = 24;
/// Bits of a millisecond (1024 us).
pub const TICK: usize = 14;
/// log2 of a millisecond in microseconds.
const TICK_LOG2: usize = 10;

/// An entry of the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Growth {
    /// Bytes to acknowledge for a segment more.
    pub per_increment: Bits<32>,
    /// The window is at least this: what Reno would have (RFC 9438 4.3).
    pub w_est: Bits<32>,
    /// Of which epoch.
    pub epoch: Bits<EPOCH>,
}

/// An entry is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct SetGrowth {
    /// 1 = in this clock.
    pub valid: Bit,
    /// Whose.
    pub conn: Bits<16>,
    /// The entry.
    pub growth: Growth,
}

/// What the slow unit is asked: a connection in congestion avoidance whose window is in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct GrowthAsk {
    /// 1 = it is, in this clock.
    pub valid: Bit,
    /// Whose.
    pub conn: Bits<16>,
    /// Its epoch.
    pub epoch: Bits<EPOCH>,
    /// The window before the last reduction; 0 = none since the hand-over.
    pub prior: Bits<32>,
    /// The window.
    pub cwnd: Bits<32>,
    /// Sender's segment size.
    pub smss: Bits<16>,
    /// Smoothed round trip, microseconds.
    pub srtt_us: Bits<32>,
    /// Bytes acknowledged since the last question.
    pub credit: Bits<CREDIT>,
    /// Clock, microseconds.
    pub now_us: Bits<32>,
}

/// An entry as it counts in an epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Pace {
    /// It is of this epoch. If not, nothing grows.
    pub is_fresh: Bit,
    /// See [`Growth`].
    pub per_increment: Bits<32>,
    /// See [`Growth`].
    pub w_est: Bits<32>,
}

/// What an entry says in `epoch`.
#[kernel]
pub fn pace(g: Growth, epoch: Bits<EPOCH>) -> Pace {
    let is_fresh = g.epoch == epoch;
    let (none, all) = (bits::<32>(0), !bits::<32>(0));
    Pace {
        is_fresh,
        per_increment: if is_fresh { g.per_increment } else { all },
        w_est: if is_fresh { g.w_est } else { none },
    }
}

/// The millisecond of a time.
#[kernel]
pub fn tick(now_us: Bits<32>) -> Bits<TICK> {
    now_us.get_bits::<TICK>(TICK_LOG2)
}

/// Bytes acknowledged since the last question, with `acked` more; at most all ones.
#[kernel]
pub fn credited(credit: Bits<CREDIT>, acked: Bits<32>) -> Bits<CREDIT> {
    let sum = bit_cast::<25, CREDIT>(credit) + bit_cast::<25, 32>(acked);
    if sum.get_bit(CREDIT) || acked.get_bits::<8>(CREDIT).any() {
        !bits::<CREDIT>(0)
    } else {
        sum.get_bits::<CREDIT>(0)
    }
}
