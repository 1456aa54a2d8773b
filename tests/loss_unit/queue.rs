//! The unit behind its queue: several jobs of a connection under way, some that were asked before it was known to be calm.

use super::{record, Test, CONNS, ROWS, WORDS};
use chimney_hdl::tcp::loss::queue::LossQueue;
use chimney_hdl_kernel::diff::{long, Diff, Rnd};
use std::cell::RefCell;
use std::collections::VecDeque;

type Queue = LossQueue<CONNS, WORDS, ROWS>;

/// Clocks from the start of a pass to its job.
const PASS_CLOCKS: u32 = 9;
/// Passes in the pipeline.
const PASSES: usize = 4;
/// Jobs in the queue and in hand when the last pass started; one more shows that passes in the pipeline found room behind them.
const LAST_START: usize = 8;

/// Passes come in bursts, as long as they may start, and sometimes an answer waits long.
#[derive(Default)]
struct Traffic {
    test: Test,
    is_busy: bool,
    is_slow: bool,
    /// Passes in the pipeline, the oldest first: clocks until each asks.
    passes: VecDeque<u32>,
    most: usize,
}

impl Traffic {
    fn poke(&mut self, u: &mut Queue, r: &mut Rnd) {
        let resets = r.chance(1, 4000);
        u.reset.next = resets;
        if u.result_valid.val() && !self.test.is_answered {
            let got = u.result.val();
            self.test.answered(&got, &record(&u.unit, got.conn.index()));
            self.test.is_answered = true;
        }
        self.is_busy ^= r.chance(1, 300);
        self.is_slow ^= r.chance(1, if self.is_slow { 100 } else { 400 });
        u.result_ready.next = if self.is_slow { r.chance(1, 16) } else { r.chance(3, 4) };
        if u.result_valid.val() && u.result_ready.next {
            self.test.is_answered = false;
        }
        self.passes.iter_mut().for_each(|left| *left -= 1);
        u.job_valid.next = self.passes.front() == Some(&0) && !resets;
        if u.job_valid.next {
            self.passes.pop_front();
        }
        if self.is_busy && u.has_room.val() && self.passes.len() < PASSES && r.chance(1, 3) {
            self.passes.push_back(PASS_CLOCKS);
        }
        u.job.next = if u.job_valid.next { self.test.event(r) } else { r.any() };
        self.most = self.most.max(self.test.expected.len());
        if u.idle.val() {
            assert!(self.test.expected.len() <= usize::from(u.job_valid.next), "idle with jobs under way");
        }
        if resets {
            self.test.begin(r);
            self.passes.clear();
        }
    }
}

/// RFC 6675, RFC 8985, RFC 9937, RFC 5681.
#[test]
fn behind_its_queue_the_unit_answers_in_order_and_takes_what_was_asked_too_late_to_know() {
    let traffic = RefCell::new(Traffic::default());
    let clocks = if long() { 1_000_000 } else { 60_000 };
    Diff::new("loss_queue", clocks).run(
        Queue::default(),
        |u, r| {
            let mut t = traffic.borrow_mut();
            if t.test.conns.is_empty() {
                t.test.begin(r);
                t.test.now_us = r.next_u64() as u32;
            }
            t.poke(u, r);
        },
        |u, clk| u.clock.next = clk.into(),
    );
    let t = traffic.into_inner();
    t.test.judge(1, &[]);
    assert!(t.most > LAST_START + 1, "{} jobs under way at most: the queue never held passes back", t.most);
}
