//! The Terminates that wait for what is under way of their connections.
//!
//! Each has a turn again whenever something happened since: a record was stored, or a job ended. Without that they stay where they are, so
//! connections that wait for host memory cost the others no passes.
//!
//! Latency: a Terminate pushed in one clock has its turn in the next. Throughput: one turn per clock. Back-pressure: `room`
//! falls with 16 in the list. Reset: empty.
use crate::prelude::*;
use crate::stream::Fifo;

/// log2 of the Terminates that may wait.
const LIST_LOG2: usize = 4;

/// A Terminate in the list.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Leaver {
    /// See [`ConnOp`](crate::types::ConnOp).
    pub conn: Bits<16>,
    /// See [`ConnOp`](crate::types::ConnOp).
    pub generation: Bits<8>,
    /// See [`ConnOp`](crate::types::ConnOp).
    pub tag: Bits<16>,
    /// See [`ConnOp`](crate::types::ConnOp).
    pub discard: Bit,
    /// Newest job at its last pass.
    pub job: Bits<16>,
}

/// The block. See the module page.
#[derive(LogicBlock, Default)]
pub struct Leavers {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Reset.
    pub reset: Signal<In, Bit>,
    /// `entry` goes in, or back.
    pub push: Signal<In, Bit>,
    /// See `push`.
    pub entry: Signal<In, Leaver>,
    /// Another one finds room. One whose turn it is always does.
    pub room: Signal<Out, Bit>,
    /// Nothing waits.
    pub empty: Signal<Out, Bit>,
    /// The oldest may have its turn.
    pub valid: Signal<Out, Bit>,
    /// The oldest.
    pub head: Signal<Out, Leaver>,
    /// It has.
    pub take: Signal<In, Bit>,
    /// Some record was stored in this cycle.
    pub stores: Signal<In, Bit>,
    /// Jobs done.
    pub finished: Signal<In, Bits<16>>,
    list: Fifo<Leaver, LIST_LOG2, { LIST_LOG2 + 1 }>,
    /// Turns without anything new between them.
    turns: Dff<Bits<5>>,
    seen: Dff<Bits<16>>,
}

#[kernel]
impl Logic for Leavers {
    fn update(&mut self) {
        dff_setup!(self, clock, turns, seen);
        clock!(self, clock, list);
        reset!(self, reset, list);
        let (turns, finished) = (self.turns.q.val(), self.finished.val());
        self.list.s_valid.next = self.push.val();
        self.list.s_data.next = self.entry.val();
        self.list.m_ready.next = self.take.val();
        self.room.next = self.list.s_ready.val();
        self.empty.next = !self.list.m_valid.val();
        self.valid.next = self.list.m_valid.val() && turns.any();
        self.head.next = self.list.m_data.val();
        self.seen.d.next = finished;
        if self.stores.val() || finished != self.seen.q.val() {
            self.turns.d.next = self.list.level.val() + 1;
        } else if self.take.val() {
            self.turns.d.next = turns - 1;
        }
        dff_reset!(self, reset, turns);
    }
}
