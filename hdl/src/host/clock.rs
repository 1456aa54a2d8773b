//! The device clock: microseconds and milliseconds since reset.
//!
//! `TIME_INC` (8 integer and 24 fraction bits) is added every clock; it may change at any time, so the
//! clock can be slewed but never runs backwards. Milliseconds count along (the timestamp clock, R-266).
//! An increment of up to 255 us a clock is carried into milliseconds at one per clock, so they may lag by a
//! few clocks but none is lost. Latency 1 clock. Reset: zero.
use crate::prelude::*;
use crate::types::Millis;

/// The clock. See the module page.
#[derive(LogicBlock, Default)]
pub struct DeviceClock {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Synchronous, active high.
    pub reset: Signal<In, Bit>,
    /// Microseconds per clock cycle, 8.24 fixed point.
    pub increment: Signal<In, Bits<32>>,
    /// Pulse: the low word of `now_us` becomes `preset_us`, the high word 0.
    pub preset: Signal<In, Bit>,
    /// See `preset`.
    pub preset_us: Signal<In, Bits<32>>,
    /// Microseconds.
    pub now_us: Signal<Out, Bits<64>>,
    /// Milliseconds.
    pub millis: Signal<Out, Millis>,
    micros: Dff<Bits<64>>,
    fraction: Dff<Bits<24>>,
    count: Dff<Bits<32>>,
    rest: Dff<Bits<32>>,
}

#[kernel]
impl Logic for DeviceClock {
    fn update(&mut self) {
        dff_setup!(self, clock, micros, fraction, count, rest);
        self.now_us.next = self.micros.q.val();
        self.millis.next = Millis { now: self.count.q.val(), past_us: self.rest.q.val().get_bits::<16>(0) };
        let sum = bit_cast::<33, _>(self.increment.val()) + bit_cast::<33, _>(self.fraction.q.val());
        let whole = sum.get_bits::<9>(24);
        self.fraction.d.next = sum.get_bits::<24>(0);
        self.micros.d.next = self.micros.q.val() + bit_cast::<64, _>(whole);
        let rest = self.rest.q.val() + bit_cast::<32, _>(whole);
        if rest >= 1000 {
            self.rest.d.next = rest - 1000;
            self.count.d.next = self.count.q.val() + 1;
        } else {
            self.rest.d.next = rest;
        }
        if self.preset.val() {
            self.micros.d.next = bit_cast::<64, _>(self.preset_us.val());
        }
        dff_reset!(self, reset, micros, fraction, count, rest);
    }
}
