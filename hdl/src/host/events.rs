//! The event ring: at most one unconsumed event per connection (programmer's guide 10).
//!
//! ```text
//!   raise --> pending? no: entry into the ring, pending = 1, id into the copy of the unconsumed entries
//!                      yes: dirty = 1
//!   EVENT_CONSUMER moves: for each entry passed: pending = 0; if dirty: a new entry at once
//! ```
//! So the ring, larger than the number of connections, cannot overflow (law L5), and no progress is lost:
//! it is announced by the event that waits or by the one that follows it.
//!
//! Latency: 4 cycles from `raise` to the command. Throughput: one raise or one consumed entry per 3 cycles.
//! Back-pressure: `raise_ready` is low while something is in work. Reset: clears the table for 2^LOG2 cycles.
use crate::mem::SdpRam;
use crate::mirror::Event;
use crate::prelude::*;
use crate::types::{WriteCmd, WriteDone, WRITE_INLINE};
use chimney_abi::cmd::EventKind;

/// State of one connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Pending {
    /// An entry waits in the ring.
    pub pending: Bit,
    /// There was progress after it was written.
    pub dirty: Bit,
    /// Generation of the last raise.
    pub generation: Bits<8>,
}

/// News of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct RaiseEvent {
    /// 1 = offered.
    pub valid: Bit,
    /// Connection.
    pub conn: Bits<16>,
    /// Its generation.
    pub generation: Bits<8>,
}

/// Where the block stands.
#[derive(Clone, Copy, Debug, PartialEq, LogicState)]
pub enum EventState {
    /// Clears the table.
    Clear,
    /// Waits for a raise or for the host to consume.
    Idle,
    /// The id of the consumed entry is there.
    Consumed,
    /// The connection's state is being read.
    Read,
    /// It is there.
    Decide,
    /// The entry is offered to the write engine.
    Emit,
}

const KIND: u64 = EventKind::Connection.code() as u64;

/// The block.
#[derive(LogicBlock, Default)]
pub struct Events<const LOG2: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Reset.
    pub reset: Signal<In, Bit>,
    /// Event ring address.
    pub ring: Signal<In, Bits<64>>,
    /// log2 of its entries.
    pub ring_log2: Signal<In, Bits<8>>,
    /// Entries the host has consumed.
    pub consumer: Signal<In, Bits<16>>,
    /// A connection has news.
    pub raise: Signal<In, RaiseEvent>,
    /// Taken.
    pub raise_ready: Signal<Out, Bit>,
    /// Write engine: command.
    pub cmd: Signal<Out, WriteCmd>,
    /// Write engine: command offered.
    pub cmd_valid: Signal<Out, Bit>,
    /// Write engine: command taken.
    pub cmd_ready: Signal<In, Bit>,
    /// Write engine: pulse, an event is in memory.
    pub done_valid: Signal<In, Bit>,
    /// Its report.
    pub done: Signal<In, WriteDone>,
    /// Pulse: an event is in host memory.
    pub irq: Signal<Out, Bit>,
    /// Nothing in work and nothing on its way to memory.
    pub idle: Signal<Out, Bit>,
    entries: SdpRam<Pending, LOG2>,
    ids: SdpRam<Bits<LOG2>, LOG2>,
    state: Dff<EventState>,
    conn: Dff<Bits<LOG2>>,
    generation: Dff<Bits<8>>,
    is_consume: Dff<Bit>,
    producer: Dff<Bits<16>>,
    seen: Dff<Bits<16>>,
    flying: Dff<Bits<16>>,
    raised: Dff<Bit>,
}

#[kernel]
impl<const LOG2: usize> Logic for Events<LOG2> {
    fn update(&mut self) {
        dff_setup!(self, clock, state, conn, generation, is_consume, producer, seen, flying, raised);
        clock!(self, clock, entries, ids);
        let state = self.state.q.val();
        let conn = self.conn.q.val();
        let (old, raise) = (self.entries.rdata.val(), self.raise.val());
        let producer = self.producer.q.val();
        let may_consume = self.seen.q.val() != self.consumer.val() && self.seen.q.val() != producer;
        self.raise_ready.next = state == EventState::Idle && !may_consume;
        self.irq.next = self.raised.q.val();
        self.raised.d.next = self.done_valid.val();
        self.idle.next = state == EventState::Idle && !may_consume && self.flying.q.val() == 0;

        // Tables: one read port, one write port each.
        self.ids.re.next = true;
        self.ids.raddr.next = bit_cast::<LOG2, 16>(self.seen.q.val());
        self.ids.we.next = state == EventState::Emit;
        self.ids.waddr.next = bit_cast::<LOG2, 16>(producer);
        self.ids.wdata.next = conn;
        self.entries.re.next = state == EventState::Read;
        self.entries.raddr.next = conn;
        self.entries.we.next = state == EventState::Clear || state == EventState::Decide;
        self.entries.waddr.next = conn;
        // What a raise leaves: pending; what a consumed entry leaves: pending only if it is raised again.
        let emits = if self.is_consume.q.val() { old.dirty } else { !old.pending };
        let left = Pending {
            pending: !self.is_consume.q.val() || old.dirty,
            dirty: !self.is_consume.q.val() && old.pending,
            generation: if self.is_consume.q.val() { old.generation } else { self.generation.q.val() },
        };
        self.entries.wdata.next = if state == EventState::Clear { Pending::default() } else { left };

        // The entry.
        let log2 = self.ring_log2.val();
        let index = producer & ((bits::<16>(1) << log2) - 1);
        let event = Event {
            conn: bit_cast::<16, LOG2>(conn),
            generation: self.generation.q.val(),
            kind: bits::<8>(KIND),
            reserved: bits::<31>(0),
            phase: if ((producer >> log2) & 1) == 0 { bits::<1>(1) } else { bits::<1>(0) },
        };
        self.cmd_valid.next = state == EventState::Emit;
        self.cmd.next = WriteCmd {
            kind: bits::<2>(WRITE_INLINE),
            iova: self.ring.val() + (bit_cast::<64, 16>(index) << bits::<2>(3)),
            len: bits::<16>(8),
            data: bit_cast::<256, 64>(pack::<64, Event>(event)),
            notify: true,
            ..WriteCmd::default()
        };

        match state {
            EventState::Clear => {
                self.conn.d.next = conn + 1;
                if conn.all() {
                    self.state.d.next = EventState::Idle;
                }
            }
            EventState::Idle => {
                self.is_consume.d.next = may_consume;
                self.conn.d.next = bit_cast::<LOG2, 16>(raise.conn);
                self.generation.d.next = raise.generation;
                if may_consume {
                    self.state.d.next = EventState::Consumed;
                } else if raise.valid {
                    self.state.d.next = EventState::Read;
                }
            }
            EventState::Consumed => {
                self.conn.d.next = self.ids.rdata.val();
                self.seen.d.next = self.seen.q.val() + 1;
                self.state.d.next = EventState::Read;
            }
            EventState::Read => {
                self.state.d.next = EventState::Decide;
            }
            EventState::Decide => {
                self.generation.d.next = left.generation;
                self.state.d.next = if emits { EventState::Emit } else { EventState::Idle };
            }
            EventState::Emit => {
                if self.cmd_ready.val() {
                    self.producer.d.next = producer + 1;
                    self.state.d.next = EventState::Idle;
                }
            }
        }
        let up = state == EventState::Emit && self.cmd_ready.val();
        let down = bit_cast::<16, 1>(self.done_valid.val().into());
        self.flying.d.next = self.flying.q.val() + up - down;
        dff_reset!(self, reset, state, conn, producer, seen, flying, raised);
    }
}
