//! The parts of the command block one by one: native against Verilated, and against plain Rust.

mod conns;
mod images;
mod jobs;
mod movers;
mod sequences;

use chimney_hdl::host::mailbox::job::{Run, RunBeat};
use chimney_hdl::prelude::*;
use chimney_hdl_kernel::diff::{long, Rnd};
use std::collections::VecDeque;

/// Steps of a comparison.
pub fn steps(quick: usize) -> usize {
    if long() {
        quick * 20
    } else {
        quick
    }
}

/// Any width up to 64 as a number.
pub fn n<const N: usize>(b: Bits<N>) -> u64 {
    (0..N).fold(0, |v, i| v | u64::from(b.get_bit(i)) << i)
}

/// What the word at an address holds.
pub fn word(at: u64) -> u64 {
    at.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ at >> 7
}

/// Host memory behind a run: plays `Fetch` for the parts that use it.
#[derive(Default)]
pub struct Reader {
    beats: VecDeque<u64>,
    ends: bool,
}

impl Reader {
    /// A part starts a run.
    pub fn start(&mut self, run: &Run) {
        assert!(self.beats.is_empty(), "one run at a time");
        self.beats = (0..n(run.beats)).map(|i| n(run.iova) + 8 * i).collect();
        self.ends = true;
    }

    /// What comes of it; one run in ten ends with an error.
    pub fn news(&mut self, r: &mut Rnd) -> RunBeat {
        let mut news = RunBeat { data: r.any(), ..RunBeat::default() };
        if let Some(at) = self.beats.front().copied().filter(|_| r.chance(2, 3)) {
            self.beats.pop_front();
            (news.valid, news.data) = (true, word(at).into());
        } else if self.beats.is_empty() && self.ends && r.chance(1, 2) {
            (news.done, news.error, self.ends) = (true, r.chance(1, 10), false);
        }
        news
    }
}
