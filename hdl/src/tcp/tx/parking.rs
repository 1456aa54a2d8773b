//! Searches that wait for a descriptor, and the descriptors as they return.
//!
//! ```text
//!   Parked --> [list] ----------------+--> search and answer together
//!   ReadBeat --two beats--> [list] ---+
//! ```
//! Descriptors return in the order of their requests, so both are lists. Which connections wait is asked by id.
//!
//! Latency: 1 clock from a descriptor's last beat. Throughput: one search per clock. Back-pressure: `room` is low when 8
//! searches wait; there is always room for an answer. Reset: none waits.
use crate::prelude::*;
use crate::stream::Fifo;
use crate::tcp::tx::search::{entry_of, Answer, Parked};
use crate::types::ReadBeat;

/// log2 of the searches.
const PARKED_LOG2: usize = 3;
const PARKED: usize = 1 << PARKED_LOG2;

/// The block. `CONN`: log2 of connections.
#[derive(LogicBlock, Default)]
pub struct Parking<const CONN: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Synchronous, active high.
    pub reset: Signal<In, Bit>,
    /// A search waits from now on: its descriptor is asked for. Only with `room`.
    pub s_valid: Signal<In, Bit>,
    /// The search.
    pub s_data: Signal<In, Parked>,
    /// Another one may wait.
    pub room: Signal<Out, Bit>,
    /// `beat` is a descriptor's.
    pub desc_beat_valid: Signal<In, Bit>,
    /// Read data.
    pub beat: Signal<In, ReadBeat>,
    /// A search need not wait any longer.
    pub m_valid: Signal<Out, Bit>,
    /// It is taken.
    pub m_ready: Signal<In, Bit>,
    /// The search.
    pub m_data: Signal<Out, Parked>,
    /// Its descriptor.
    pub answer: Signal<Out, Answer>,
    /// A connection.
    pub conn: Signal<In, Bits<CONN>>,
    /// One of its searches waits.
    pub is_parked: Signal<Out, Bit>,
    parked: Fifo<Parked, PARKED_LOG2, { PARKED_LOG2 + 1 }>,
    answers: Fifo<Answer, PARKED_LOG2, { PARKED_LOG2 + 1 }>,
    conns: [Dff<Bits<CONN>>; PARKED],
    waits: Dff<Bits<PARKED>>,
    park_at: Dff<Bits<PARKED_LOG2>>,
    free_at: Dff<Bits<PARKED_LOG2>>,
    low: Dff<Bits<64>>,
    low_error: Dff<Bit>,
}

#[kernel]
impl<const CONN: usize> Logic for Parking<CONN> {
    fn update(&mut self) {
        dff_setup!(self, clock, conns, waits, park_at, free_at, low, low_error);
        clock!(self, clock, parked, answers);
        reset!(self, reset, parked, answers);
        let parks = self.s_valid.val();
        let park_at = self.park_at.q.val();
        let waits = self.waits.q.val();
        self.parked.s_valid.next = parks;
        self.parked.s_data.next = self.s_data.val();
        self.room.next = self.parked.s_ready.val();

        // Descriptors as they return.
        let b = self.beat.val();
        let comes = self.desc_beat_valid.val();
        if comes {
            self.low.d.next = b.data;
            self.low_error.d.next = b.error && !b.last;
        }
        self.answers.s_valid.next = comes && b.last;
        self.answers.s_data.next =
            Answer { entry: entry_of(self.low.q.val(), b.data), error: b.error || self.low_error.q.val() };
        let leaves = self.answers.m_valid.val() && self.m_ready.val();
        self.m_valid.next = self.answers.m_valid.val();
        self.m_data.next = self.parked.m_data.val();
        self.answer.next = self.answers.m_data.val();
        self.answers.m_ready.next = self.m_ready.val();
        self.parked.m_ready.next = leaves;

        // Whose they are.
        let mut is_parked = false;
        for i in 0..PARKED {
            if waits.get_bit(i) && self.conns[i].q.val() == self.conn.val() {
                is_parked = true;
            }
            if parks && park_at == i as u64 {
                self.conns[i].d.next = bit_cast::<CONN, 16>(self.s_data.val().conn);
            }
        }
        self.is_parked.next = is_parked;
        let one = bits::<PARKED>(1);
        let with = if parks { waits | (one << park_at) } else { waits };
        self.waits.d.next = if leaves { with & !(one << self.free_at.q.val()) } else { with };
        self.park_at.d.next = park_at + parks;
        self.free_at.d.next = self.free_at.q.val() + leaves;
        dff_reset!(self, reset, waits, park_at, free_at, low_error);
    }
}
