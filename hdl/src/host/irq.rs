//! The interrupt: causes are collected, enabled ones raise a level, at most one rise per holdoff time.
//!
//! A cause arrives only after the write response of what it announces (the blocks see to that).
//! Clearing the last enabled cause lowers the level. Latency: 2 clocks from cause to `irq`. Reset: low, no cause.
use crate::prelude::*;

/// Interrupt causes, bits as in `regs::IRQ_STATUS`: event, rx, tx, command.
pub const CAUSES: usize = 4;

/// The interrupt block. See the module page.
#[derive(LogicBlock, Default)]
pub struct Irq {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Synchronous, active high.
    pub reset: Signal<In, Bit>,
    /// Pulse per cause.
    pub cause: Signal<In, Bits<CAUSES>>,
    /// Causes to clear (a write to IRQ_STATUS); a cause that comes in the same clock stays.
    pub clear: Signal<In, Bits<CAUSES>>,
    /// `IRQ_ENABLE`.
    pub enable: Signal<In, Bits<CAUSES>>,
    /// Least time between two rises of `irq`, microseconds.
    pub holdoff_us: Signal<In, Bits<32>>,
    /// Low word of the clock.
    pub now_us: Signal<In, Bits<32>>,
    /// Causes pending.
    pub pending: Signal<Out, Bits<CAUSES>>,
    /// Interrupt, level.
    pub irq: Signal<Out, Bit>,
    causes: Dff<Bits<CAUSES>>,
    level: Dff<Bit>,
    risen_us: Dff<Bits<32>>,
    ever: Dff<Bit>,
}

#[kernel]
impl Logic for Irq {
    fn update(&mut self) {
        dff_setup!(self, clock, causes, level, risen_us, ever);
        self.pending.next = self.causes.q.val();
        self.irq.next = self.level.q.val();
        self.causes.d.next = (self.causes.q.val() & !self.clear.val()) | self.cause.val();
        let wanted = (self.causes.q.val() & self.enable.val()).any();
        let since = self.now_us.val() - self.risen_us.q.val();
        let rested = !self.ever.q.val() || since >= self.holdoff_us.val();
        if !wanted {
            self.level.d.next = false;
        } else if !self.level.q.val() && rested {
            self.level.d.next = true;
            self.risen_us.d.next = self.now_us.val();
            self.ever.d.next = true;
        }
        dff_reset!(self, reset, causes, level, risen_us, ever);
    }
}
