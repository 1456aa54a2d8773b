//! First-word-fall-through FIFO.

use crate::mem::LutRam;
use crate::prelude::*;

/// A FIFO of `1 << AW` words of `T`; `CW` must be `AW + 1`.
///
/// Latency: a word pushed in one clock is at the output in the next. Throughput: one push and one pop per clock.
/// Back-pressure: `s_ready` falls when full and depends on registers only, as does `m_valid`. Reset: empty.
#[derive(LogicBlock)]
pub struct Fifo<T: Packed, const AW: usize, const CW: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Synchronous, active high.
    pub reset: Signal<In, Bit>,
    /// A word is offered.
    pub s_valid: Signal<In, Bit>,
    /// There is room.
    pub s_ready: Signal<Out, Bit>,
    /// The word offered.
    pub s_data: Signal<In, T>,
    /// A word is at the output.
    pub m_valid: Signal<Out, Bit>,
    /// The word is taken.
    pub m_ready: Signal<In, Bit>,
    /// The oldest word; meaningless without `m_valid`.
    pub m_data: Signal<Out, T>,
    /// Words stored.
    pub level: Signal<Out, Bits<CW>>,
    wr: Dff<Bits<AW>>,
    rd: Dff<Bits<AW>>,
    count: Dff<Bits<CW>>,
    ram: LutRam<T, AW>,
}

impl<T: Packed, const AW: usize, const CW: usize> Default for Fifo<T, AW, CW> {
    fn default() -> Self {
        const { assert!(CW == AW + 1, "the level counts from 0 to 1 << AW") };
        Self {
            clock: Signal::default(),
            reset: Signal::default(),
            s_valid: Signal::default(),
            s_ready: Signal::default(),
            s_data: Signal::default(),
            m_valid: Signal::default(),
            m_ready: Signal::default(),
            m_data: Signal::default(),
            level: Signal::default(),
            wr: Dff::default(),
            rd: Dff::default(),
            count: Dff::default(),
            ram: LutRam::default(),
        }
    }
}

#[kernel]
impl<T: Packed, const AW: usize, const CW: usize> Logic for Fifo<T, AW, CW> {
    fn update(&mut self) {
        dff_setup!(self, clock, wr, rd, count);
        clock!(self, clock, ram);
        let count = self.count.q.val();
        let has_room = !count.get_bit(AW);
        let has_word = count.any();
        self.s_ready.next = has_room;
        self.m_valid.next = has_word;
        self.level.next = count;
        let push = self.s_valid.val() && has_room;
        let pop = self.m_ready.val() && has_word;
        self.ram.we.next = push;
        self.ram.waddr.next = self.wr.q.val();
        self.ram.wdata.next = self.s_data.val();
        self.ram.raddr.next = self.rd.q.val();
        self.m_data.next = self.ram.rdata.val();
        self.wr.d.next = self.wr.q.val() + push;
        self.rd.d.next = self.rd.q.val() + pop;
        if push && !pop {
            self.count.d.next = count + 1;
        } else if pop && !push {
            self.count.d.next = count - 1;
        }
        dff_reset!(self, reset, wr, rd, count);
    }
}
