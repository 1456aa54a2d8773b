//! Spill register: cuts the backward path of a stream, and nothing of its time.

use crate::prelude::*;

/// One word deep; a word that finds it empty passes by.
///
/// Latency: none. Throughput: one word per clock while the sink takes each at once, else one in two clocks. Back-pressure: `s_ready` is a
/// register, it falls the clock after a word was not taken. Reset: empty.
#[derive(LogicBlock)]
pub struct Spill<T: Packed> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Synchronous, active high.
    pub reset: Signal<In, Bit>,
    /// A word is offered.
    pub s_valid: Signal<In, Bit>,
    /// The word is taken.
    pub s_ready: Signal<Out, Bit>,
    /// The word offered.
    pub s_data: Signal<In, T>,
    /// A word is at the output.
    pub m_valid: Signal<Out, Bit>,
    /// The word at the output is taken.
    pub m_ready: Signal<In, Bit>,
    /// The word at the output.
    pub m_data: Signal<Out, T>,
    held: Dff<T>,
    full: Dff<Bit>,
}

impl<T: Packed> Default for Spill<T> {
    fn default() -> Self {
        Self {
            clock: Signal::default(),
            reset: Signal::default(),
            s_valid: Signal::default(),
            s_ready: Signal::default(),
            s_data: Signal::default(),
            m_valid: Signal::default(),
            m_ready: Signal::default(),
            m_data: Signal::default(),
            held: Dff::default(),
            full: Dff::default(),
        }
    }
}

#[kernel]
impl<T: Packed> Logic for Spill<T> {
    fn update(&mut self) {
        dff_setup!(self, clock, held, full);
        let full = self.full.q.val();
        let valid = full || self.s_valid.val();
        self.s_ready.next = !full;
        self.m_valid.next = valid;
        self.m_data.next = if full { self.held.q.val() } else { self.s_data.val() };
        self.full.d.next = valid && !self.m_ready.val();
        if !full && self.s_valid.val() {
            self.held.d.next = self.s_data.val();
        }
        dff_reset!(self, reset, full);
    }
}
