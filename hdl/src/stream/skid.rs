//! Register slice: cuts both the forward and the backward path of a stream.

use crate::prelude::*;

/// Two words deep; all outputs depend on registers only.
///
/// Latency: 1 clock. Throughput: one word per clock. Back-pressure: `s_ready` falls one clock after `m_ready`, the word
/// in between is kept. Reset: empty.
#[derive(LogicBlock)]
pub struct Skid<T: Packed> {
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
    front: Dff<T>,
    front_valid: Dff<Bit>,
    spare: Dff<T>,
    spare_valid: Dff<Bit>,
}

impl<T: Packed> Default for Skid<T> {
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
            front: Dff::default(),
            front_valid: Dff::default(),
            spare: Dff::default(),
            spare_valid: Dff::default(),
        }
    }
}

#[kernel]
impl<T: Packed> Logic for Skid<T> {
    fn update(&mut self) {
        dff_setup!(self, clock, front, front_valid, spare, spare_valid);
        let spare = self.spare_valid.q.val();
        let front = self.front_valid.q.val();
        self.s_ready.next = !spare;
        self.m_valid.next = front;
        self.m_data.next = self.front.q.val();
        let push = self.s_valid.val() && !spare;
        if self.m_ready.val() || !front {
            // The front is free after this clock: the spare word comes first.
            self.front.d.next = if spare { self.spare.q.val() } else { self.s_data.val() };
            self.front_valid.d.next = spare || push;
            self.spare_valid.d.next = false;
        } else if push {
            self.spare.d.next = self.s_data.val();
            self.spare_valid.d.next = true;
        }
        dff_reset!(self, reset, front_valid, spare_valid);
    }
}
