//! FIFO in block RAM, for many or wide words.

use crate::mem::SdpRam;
use crate::prelude::*;

/// A FIFO of `1 << AW` words of `T`, and one more at its output; `CW` must be `AW + 1`.
///
/// Latency: a word pushed in one clock is at the output two clocks later. Throughput: one push and one pop per clock.
/// Back-pressure: `s_ready` falls when full and depends on registers only, as does `m_valid`. Reset: empty.
#[derive(LogicBlock)]
pub struct RamFifo<T: Packed, const AW: usize, const CW: usize> {
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
    wr: Dff<Bits<AW>>,
    rd: Dff<Bits<AW>>,
    /// Words in the memory.
    count: Dff<Bits<CW>>,
    /// One more is at its output.
    out: Dff<Bit>,
    ram: SdpRam<T, AW>,
}

impl<T: Packed, const AW: usize, const CW: usize> Default for RamFifo<T, AW, CW> {
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
            wr: Dff::default(),
            rd: Dff::default(),
            count: Dff::default(),
            out: Dff::default(),
            ram: SdpRam::default(),
        }
    }
}

#[kernel]
impl<T: Packed, const AW: usize, const CW: usize> Logic for RamFifo<T, AW, CW> {
    fn update(&mut self) {
        dff_setup!(self, clock, wr, rd, count, out);
        clock!(self, clock, ram);
        let (count, out) = (self.count.q.val(), self.out.q.val());
        let has_room = !count.get_bit(AW);
        self.s_ready.next = has_room;
        self.m_valid.next = out;
        self.m_data.next = self.ram.rdata.val();
        let push = self.s_valid.val() && has_room;
        // A word is counted one clock after it was written: it is never read in the same clock.
        let fetch = count.any() && (!out || self.m_ready.val());
        self.ram.we.next = push;
        self.ram.waddr.next = self.wr.q.val();
        self.ram.wdata.next = self.s_data.val();
        self.ram.re.next = fetch;
        self.ram.raddr.next = self.rd.q.val();
        self.wr.d.next = self.wr.q.val() + push;
        self.rd.d.next = self.rd.q.val() + fetch;
        if push && !fetch {
            self.count.d.next = count + 1;
        } else if fetch && !push {
            self.count.d.next = count - 1;
        }
        if fetch {
            self.out.d.next = true;
        } else if self.m_ready.val() {
            self.out.d.next = false;
        }
        dff_reset!(self, reset, wr, rd, count, out);
    }
}
