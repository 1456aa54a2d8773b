//! CUBIC between its program ([`super::code::cubic`]), which works out how fast a window grows, and those who let it grow: PROTO while a connection is
//! calm, the loss unit while it is guarded.
//!
//! ```text
//!   an ACK in congestion avoidance --GrowthAsk, at most once a millisecond--> program --SetGrowth--> table --Growth--> every pass and job
//! ```
//! An epoch ends with each reduction of the window and each pause. The number of the epoch goes along with everything, so nothing has to be
//! taken back: what was worked out for an older one counts for nothing.

use crate::mem::SdpRam;
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

/// Somebody looks at an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Look {
    /// 1 = in this clock.
    pub valid: Bit,
    /// Whose.
    pub conn: Bits<16>,
}

/// What the program is asked: a connection in congestion avoidance whose window is in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct GrowthAsk {
    /// 1 = it is, in this clock.
    pub valid: Bit,
    /// Whose.
    pub conn: Bits<16>,
    /// Its epoch.
    pub epoch: Bits<EPOCH>,
    /// The window before the last reduction; 0 = none since the hand-over. Also [`TIMED_OUT`](crate::tcp::cwnd::TIMED_OUT).
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

/// An entry as it was read; `is_torn`: while it was written.
#[kernel]
fn whole(g: Growth, is_torn: bool) -> Growth {
    if is_torn {
        Growth { per_increment: !bits::<32>(0), w_est: bits::<32>(0), ..g }
    } else {
        g
    }
}

/// The table.
///
/// Latency: `growth` follows `look` by a clock and stays until the next one. Throughput: a look and a write per clock. Back-pressure: none.
/// Reset: who writes clears the entries for `1 << LOG2` clocks; those who look are swept as long.
#[derive(LogicBlock, Default)]
pub struct Growths<const LOG2: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Reset.
    pub reset: Signal<In, Bit>,
    /// Somebody looks.
    pub look: Signal<In, Look>,
    /// The entry.
    pub growth: Signal<Out, Growth>,
    /// An entry is written.
    pub set: Signal<In, SetGrowth>,
    entries: SdpRam<Growth, LOG2>,
    is_torn: Dff<Bit>,
}

#[kernel]
impl<const LOG2: usize> Logic for Growths<LOG2> {
    fn update(&mut self) {
        dff_setup!(self, clock, is_torn);
        clock!(self, clock, entries);
        let (set, look) = (self.set.val(), self.look.val());
        self.entries.we.next = set.valid;
        self.entries.waddr.next = bit_cast::<LOG2, 16>(set.conn);
        self.entries.wdata.next = set.growth;
        self.entries.re.next = look.valid;
        self.entries.raddr.next = bit_cast::<LOG2, 16>(look.conn);
        if look.valid {
            // What is read while it is written says nothing.
            let same = bit_cast::<LOG2, 16>(set.conn) == bit_cast::<LOG2, 16>(look.conn);
            self.is_torn.d.next = set.valid && same;
        }
        self.growth.next = whole(self.entries.rdata.val(), self.is_torn.q.val());
        dff_reset!(self, reset, is_torn);
    }
}
