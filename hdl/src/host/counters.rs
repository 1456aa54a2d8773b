//! The global counters: 64 bits each, readable while they count.
//!
//! Which counter is which: the `CNT_*` registers of `chimney_abi::regs`, in table order.
//! Latency: an increment shows after 1 clock; `data` follows `index` after 1 clock. Reset: zero.
use crate::prelude::*;
use chimney_abi::regs;

/// The counters. See the module page.
#[derive(LogicBlock, Default)]
pub struct Counters {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Synchronous, active high.
    pub reset: Signal<In, Bit>,
    /// Amount to add to each counter this clock, 0 = nothing.
    pub amount: [Signal<In, Bits<16>>; regs::COUNTERS],
    /// Which counter `data` shows.
    pub index: Signal<In, Bits<8>>,
    /// Its value.
    pub data: Signal<Out, Bits<64>>,
    value: [Dff<Bits<64>>; regs::COUNTERS],
    shown: Dff<Bits<64>>,
}

#[kernel]
impl Logic for Counters {
    fn update(&mut self) {
        dff_setup!(self, clock, value, shown);
        self.data.next = self.shown.q.val();
        self.shown.d.next = mux(&self.value, self.index.val());
        for i in 0..regs::COUNTERS {
            let amount = self.amount[i].val();
            if amount.any() {
                self.value[i].d.next = self.value[i].q.val() + bit_cast::<64, _>(amount);
            }
        }
        dff_reset!(self, reset, value);
    }
}
