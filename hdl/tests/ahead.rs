//! Posts read ahead: native against Verilated, and against plain Rust.

use chimney_hdl::prelude::*;
use chimney_hdl::tcp::place::ahead::{Ahead, PostAt};
use chimney_hdl::types::ReadBeat;
use chimney_hdl_kernel::diff::{long, Diff, Rnd};
use std::cell::RefCell;
use std::collections::VecDeque;

/// Connections; two of them share a place.
const CONNS: [u64; 4] = [1, 2, 3, 17];

/// Any width up to 64 as a number.
fn n<const N: usize>(b: Bits<N>) -> u64 {
    (0..N).fold(0, |v, i| v | u64::from(b.get_bit(i)) << i)
}

/// What a post says: another thing after its ring went to another owner.
fn word(at: usize, idx: u64, era: u64, beat: u64) -> u64 {
    (at as u64) << 48 | idx << 24 | era << 8 | beat
}

/// Where it lies.
fn iova(at: usize, idx: u64) -> u64 {
    (at as u64) << 20 | idx
}

#[derive(Default)]
struct Test {
    idx: [u64; 4],
    posted: [u64; 4],
    era: [u64; 4],
    /// The one that asks, and whether its request was taken.
    asks: Option<(usize, bool)>,
    /// The memory was asked for it.
    of_memory: bool,
    /// Beats on their way.
    beats: VecDeque<ReadBeat>,
    fails: bool,
    /// The block said that nothing is read.
    rests: bool,
    /// Beats of the answer so far.
    answer: Vec<ReadBeat>,
    /// Answers of the memory, of posts that were here, with an error.
    seen: [u64; 3],
}

impl Test {
    fn poke(&mut self, u: &mut Ahead, r: &mut Rnd) {
        u.reset.next = false;
        let which = r.below(4) as usize;
        if r.chance(1, 3) {
            self.posted[which] += 1;
        }
        // Its ring goes to another owner, once nothing of it is read.
        u.forget.next = self.asks.is_none() && self.rests && r.chance(1, 50);
        u.forgotten.next = CONNS[which].into();
        if u.forget.next {
            self.era[which] += 1;
        } else if self.asks.is_none() && self.idx[which] != self.posted[which] && r.chance(1, 4) {
            self.asks = Some((which, false));
        }
        let (at, taken) = self.asks.unwrap_or((which, true));
        // Between requests the next one of some connection will be wanted, if there is one.
        u.valid.next = !taken;
        u.early.next = self.asks.is_none() && self.idx[at] < self.posted[at] && r.chance(1, 4);
        u.post.next = PostAt {
            conn: CONNS[at].into(),
            idx: (self.idx[at] & 0xffff).into(),
            iova: iova(at, self.idx[at]).into(),
        };
        u.req_ready.next = r.chance(1, 2);
        u.mem_beat_valid.next = false;
        if r.chance(1, 3) {
            if let Some(beat) = self.beats.pop_front() {
                u.mem_beat_valid.next = true;
                u.mem_beat.next = beat;
            }
        }
        self.fails = r.chance(1, 20);
    }

    fn see(&mut self, u: &Ahead) {
        assert!(!u.idle.val() || self.beats.is_empty());
        self.rests = u.idle.val() && !u.valid.val() && !u.early.val();
        if u.beat_valid.val() {
            self.answer.push(u.beat.val());
        }
        if u.req_valid.val() && u.req_ready.val() {
            let iova = n(u.req.val().iova);
            let (at, idx) = ((iova >> 20) as usize, iova & 0xf_ffff);
            assert!(idx < self.posted[at], "what is not posted is not read");
            let beat = |k| ReadBeat {
                data: word(at, idx, self.era[at], k).into(),
                last: k == 1,
                error: k == 1 && self.fails,
            };
            self.beats.extend([beat(0), beat(1)]);
            self.of_memory |= u.ready.val();
        }
        if let Some((_, taken)) = &mut self.asks {
            *taken |= u.valid.val() && u.ready.val();
        }
        if self.answer.last().is_some_and(|beat| beat.last) {
            self.answered();
        }
    }

    /// The post that was asked for, whoever read it.
    fn answered(&mut self) {
        let (at, taken) = self.asks.take().expect("there is an answer only to a request");
        assert!(taken && self.answer.len() == 2);
        for (k, beat) in self.answer.drain(..).enumerate() {
            let (got, want) = (n(beat.data), word(at, self.idx[at], self.era[at], k as u64));
            assert_eq!(got, want, "{got:#x}, {want:#x}");
            assert!(!beat.error || self.of_memory, "what could not be read is asked for again");
            self.seen[2] += u64::from(beat.error);
        }
        self.seen[usize::from(!std::mem::take(&mut self.of_memory))] += 1;
        self.idx[at] += 1;
    }
}

/// Whoever asks gets the post asked for, read now or before; not one of an owner before.
///
/// Verifies: laws L1, L5; programmer's guide 6.
#[test]
fn a_post_read_ahead_is_the_one_that_memory_holds() {
    let t = RefCell::new(Test::default());
    Diff::new("ahead", if long() { 400_000 } else { 30_000 }).run_seen(
        Ahead::default(),
        |u, r| t.borrow_mut().poke(u, r),
        |u| t.borrow_mut().see(u),
        |u, c| u.clock.next = c.into(),
    );
    let seen = t.borrow().seen;
    assert!(seen.iter().all(|n| *n > 20), "{seen:?}");
}
