//! The slow unit of CUBIC: one question at a time, over a row of each connection in a block RAM; and the table that has the answers.
//!
//! Latency: from a question to its entry 133 clocks, 2 more for each segment that Reno's window grows (at most 8); a new epoch 142 more,
//! 17 more if the window was reduced from less than the time before. Throughput: one question at a time: every millisecond for 800 connections at
//! 125 MHz. Back-pressure: `ready` is low while one is in hand; who finds it low asks again with the next acknowledgment, nothing waits for
//! the answer. Reset: rows and entries are cleared, for `1 << LOG2` clocks.
use super::cubic::{curve, gain, per_increment, plateau, reno, turn, Cubic, Slow, SlowState};
use super::growth::{Growth, GrowthAsk, SetGrowth};
use crate::mem::SdpRam;
use crate::prelude::*;

/// The block, for `1 << LOG2` connections. See the module page.
#[derive(LogicBlock, Default)]
pub struct SlowUnit<const LOG2: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Reset.
    pub reset: Signal<In, Bit>,
    /// The question.
    pub ask: Signal<In, GrowthAsk>,
    /// It would be taken.
    pub ready: Signal<Out, Bit>,
    /// An entry of the table.
    pub set: Signal<Out, SetGrowth>,
    hand: Dff<Slow>,
    row: Dff<Bits<LOG2>>,
    rows: SdpRam<Cubic, LOG2>,
}

/// One clock of a question, after its row is there.
#[kernel]
pub fn step(h: Slow) -> Slow {
    match h.st {
        SlowState::Count | SlowState::Needed | SlowState::Take => reno(h),
        SlowState::Age
        | SlowState::Clip
        | SlowState::Apart
        | SlowState::Square
        | SlowState::Cubed
        | SlowState::Bytes => curve(h),
        SlowState::Target | SlowState::Half | SlowState::Gain | SlowState::Per => gain(h),
        SlowState::Run => {
            let last = h.left == 0;
            let st = if last { h.next } else { SlowState::Run };
            Slow { x: turn(h.x, h.mode).x, left: h.left - 1, st, ..h }
        }
        _ => plateau(h),
    }
}

#[kernel]
impl<const LOG2: usize> Logic for SlowUnit<LOG2> {
    fn update(&mut self) {
        dff_setup!(self, clock, hand, row);
        clock!(self, clock, rows);
        let (h, row, ask) = (self.hand.q.val(), self.row.q.val(), self.ask.val());
        let sweeps = h.st == SlowState::Sweep;
        let stores = h.st == SlowState::Store;
        let conn = bit_cast::<LOG2, 16>(h.ask.conn);
        let taken = h.st == SlowState::Idle && ask.valid;
        self.ready.next = h.st == SlowState::Idle;
        self.rows.re.next = taken;
        self.rows.raddr.next = bit_cast::<LOG2, 16>(ask.conn);
        self.rows.we.next = sweeps || stores;
        self.rows.waddr.next = if sweeps { row } else { conn };
        self.rows.wdata.next = if sweeps { Cubic::default() } else { h.c };
        let entry = Growth { per_increment: per_increment(h), w_est: h.c.w_est, epoch: h.c.epoch };
        self.set.next = SetGrowth {
            valid: sweeps || stores,
            conn: if sweeps { bit_cast::<16, LOG2>(row) } else { h.ask.conn },
            growth: if sweeps { Growth::default() } else { entry },
        };
        if sweeps {
            self.row.d.next = row + 1;
            self.hand.d.next = Slow { st: if row.all() { SlowState::Idle } else { SlowState::Sweep }, ..h };
        } else if h.st == SlowState::Idle {
            if taken {
                self.hand.d.next = Slow { st: SlowState::Load, ask, ..h };
            }
        } else if h.st == SlowState::Load {
            let c = self.rows.rdata.val();
            let st = if c.epoch == h.ask.epoch { SlowState::Count } else { SlowState::Prior };
            self.hand.d.next = Slow { st, c, ..h };
        } else if stores {
            self.hand.d.next = Slow { st: SlowState::Idle, ..h };
        } else {
            self.hand.d.next = step(h);
        }
        dff_reset!(self, reset, hand, row);
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

/// The table, and the slow unit that writes it.
///
/// Latency: `growth` follows `look` by a clock and stays until the next one. Throughput: a look per clock; questions and answers: [`SlowUnit`].
/// Back-pressure: `ready`. Reset: entries are cleared for `1 << LOG2` clocks; those who look are swept as long.
#[derive(LogicBlock, Default)]
pub struct Growths<const LOG2: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Reset.
    pub reset: Signal<In, Bit>,
    /// Somebody looks.
    pub look: Signal<In, Bit>,
    /// At whose entry.
    pub conn: Signal<In, Bits<16>>,
    /// The entry.
    pub growth: Signal<Out, Growth>,
    /// A question.
    pub ask: Signal<In, GrowthAsk>,
    /// It would be taken.
    pub ready: Signal<Out, Bit>,
    entries: SdpRam<Growth, LOG2>,
    is_torn: Dff<Bit>,
    slow: SlowUnit<LOG2>,
}

#[kernel]
impl<const LOG2: usize> Logic for Growths<LOG2> {
    fn update(&mut self) {
        dff_setup!(self, clock, is_torn);
        clock!(self, clock, entries, slow);
        reset!(self, reset, slow);
        let (set, look, conn) = (self.slow.set.val(), self.look.val(), self.conn.val());
        self.slow.ask.next = self.ask.val();
        self.ready.next = self.slow.ready.val();
        self.entries.we.next = set.valid;
        self.entries.waddr.next = bit_cast::<LOG2, 16>(set.conn);
        self.entries.wdata.next = set.growth;
        self.entries.re.next = look;
        self.entries.raddr.next = bit_cast::<LOG2, 16>(conn);
        if look {
            // What is read while it is written says nothing.
            self.is_torn.d.next = set.valid && bit_cast::<LOG2, 16>(set.conn) == bit_cast::<LOG2, 16>(conn);
        }
        self.growth.next = whole(self.entries.rdata.val(), self.is_torn.q.val());
        dff_reset!(self, reset, is_torn);
    }
}
