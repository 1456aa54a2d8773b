//! A record that comes beat by beat.
//!
//! Each beat has registers of its own: nothing is shifted, and nothing is chosen in front of them.
//!
//! Latency: a beat is there a clock after `we`. Throughput: a beat per clock. Back-pressure: none. Reset: none; what was not written says nothing.
use super::op::RECORD_BEATS;
use super::ops::RECORD;
use crate::prelude::*;
use chimney_abi::layout::field_at;
use chimney_abi::state;

/// Bits of a beat's number.
pub const BEAT: usize = 6;
const _: () = assert!(RECORD_BEATS <= 1 << BEAT);
/// Beats, as the length of a list.
pub const BEATS: usize = RECORD_BEATS as usize;

/// The beat of a record that holds a field.
pub const fn beat_of(field: &str) -> u64 {
    // `as`: 36 beats.
    (field_at(state::TcpRecord::FIELDS, field) / 64) as u64
}

/// The block.
#[derive(LogicBlock)]
pub struct Beats {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// A beat comes.
    pub we: Signal<In, Bit>,
    /// Which.
    pub beat: Signal<In, Bits<BEAT>>,
    /// It.
    pub word: Signal<In, Bits<64>>,
    /// All of them.
    pub record: Signal<Out, Bits<RECORD>>,
    words: [Dff<Bits<64>>; BEATS],
}

impl Default for Beats {
    fn default() -> Self {
        Self {
            clock: Signal::default(),
            we: Signal::default(),
            beat: Signal::default(),
            word: Signal::default(),
            record: Signal::default(),
            words: std::array::from_fn(|_| Dff::default()),
        }
    }
}

#[kernel]
impl Logic for Beats {
    fn update(&mut self) {
        dff_setup!(self, clock, words);
        self.record.next = cat::<RECORD, _>(array::<BEATS, _>(|i| self.words[BEATS - 1 - i].q.val()));
        for i in 0..BEATS {
            if self.we.val() && self.beat.val() == i as u64 {
                self.words[i].d.next = self.word.val();
            }
        }
    }
}

/// A beat of a record.
#[kernel]
pub fn nth(record: Bits<RECORD>, beat: Bits<BEAT>) -> Bits<64> {
    select(array::<BEATS, _>(|i| record.get_bits::<64>(64 * i)), beat)
}
