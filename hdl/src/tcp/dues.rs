//! What gives a connection a pass of its own: a deadline that has come, or behind it a notice of the watchdog.
//!
//! Latency, throughput, back-pressure and reset: those of `timers` and `watchdog`.
use super::timers::{SetDeadline, Timers};
use super::watchdog::{Deed, Due, Limits, Stowed, Watchdog};
use crate::prelude::*;

/// The block.
#[derive(LogicBlock, Default)]
pub struct Dues<const LOG2: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Reset.
    pub reset: Signal<In, Bit>,
    /// Deadlines and periods count.
    pub enable: Signal<In, Bit>,
    /// Clock, low word, microseconds.
    pub now_us: Signal<In, Bits<32>>,
    /// Of the watchdog.
    pub limits: Signal<In, Limits>,
    /// A connection's deadline.
    pub set: Signal<In, SetDeadline>,
    /// What a pass did.
    pub deed: Signal<In, Deed>,
    /// What the placer did.
    pub stowed: Signal<In, Stowed>,
    /// Whose turn it is.
    pub due: Signal<Out, Due>,
    /// It is taken.
    pub due_ready: Signal<In, Bit>,
    timers: Timers<LOG2>,
    watchdog: Watchdog<LOG2>,
}

#[kernel]
impl<const LOG2: usize> Logic for Dues<LOG2> {
    fn update(&mut self) {
        clock!(self, clock, timers, watchdog);
        reset!(self, reset, timers, watchdog);
        self.timers.enable.next = self.enable.val();
        self.timers.now_us.next = self.now_us.val();
        self.timers.set.next = self.set.val();
        self.timers.expired_ready.next = self.watchdog.expired_ready.val();
        self.watchdog.enable.next = self.enable.val();
        self.watchdog.now_us.next = self.now_us.val();
        self.watchdog.limits.next = self.limits.val();
        self.watchdog.deed.next = self.deed.val();
        self.watchdog.stowed.next = self.stowed.val();
        self.watchdog.expired.next = self.timers.expired.val();
        self.due.next = self.watchdog.due.val();
        self.watchdog.due_ready.next = self.due_ready.val();
    }
}
