//! CUBIC's program against the functions of the core: connections with epochs that end, pauses and resets. In plain Rust; in the block, native
//! and Verilated; and there with jobs, which go first.

use super::{b, n, Test, Unit, CONNS};
use chimney_hdl::micro::machine::Machine;
use chimney_hdl::prelude::bits;
use chimney_hdl::tcp::loss::code::{cubic, program};
use chimney_hdl::tcp::loss::growth::{Growth, GrowthAsk, SetGrowth};
use chimney_hdl::tcp::loss::row::{self, asked, input, ROW};
use chimney_hdl_kernel::diff::{long, Diff, Rnd};
use chimney_host_stack_core::cubic::Cubic;
use chimney_host_stack_core::cwnd::{Cwnd, MAX_CWND};
use std::cell::RefCell;

/// Clocks from a question to its answer.
const USUAL_CLOCKS: u64 = 250 + 16 * MOST_STEPS;
/// Of a new epoch.
pub const EPOCH_CLOCKS: u64 = 1000;
/// With a job in hand, three that go first, and the time until their answers are taken.
const SHARED_CLOCKS: u64 = EPOCH_CLOCKS + 4 * 1150;
/// Most segments that Reno's window grows by at once.
const MOST_STEPS: u64 = 8;

/// A connection as the unit should know it.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    cubic: Cubic,
    epoch: u32,
}

impl Known {
    /// The answer.
    fn answer(&mut self, ask: &GrowthAsk) -> Growth {
        let (prior, cwnd, smss) = (n(ask.prior) & !row::TIMED_OUT, n(ask.cwnd), n(ask.smss));
        let has_timed_out = n(ask.prior) & row::TIMED_OUT != 0;
        let cw = Cwnd { cwnd, ssthresh: cwnd, acked_sum: 0 };
        let c = &mut self.cubic;
        if n(ask.epoch) != self.epoch {
            self.epoch = n(ask.epoch);
            if prior == 0 {
                (c.w_max, c.cwnd_prior) = (0, 0);
            } else if (prior, has_timed_out) != (c.cwnd_prior, c.has_timed_out) {
                c.on_congestion(&mut Cwnd { cwnd: prior, ..cw }, prior, smss);
            }
            c.has_timed_out = has_timed_out;
            c.restart_epoch();
        } else {
            c.est_sum += n(ask.credit);
            let mut left = MOST_STEPS;
            loop {
                let w = c.w_est;
                let needed = if w < c.cwnd_prior { 2 * w - (w >> 3) } else { w };
                if left == 0 || c.est_sum < needed {
                    c.est_sum = c.est_sum.min(needed);
                    break;
                }
                (c.est_sum, c.w_est, left) = (c.est_sum - needed, (w + smss).min(MAX_CWND), left - 1);
            }
        }
        c.update(&cw, n(ask.srtt_us), smss, n(ask.now_us));
        Growth { per_increment: b(c.per_increment), w_est: b(c.w_est), epoch: ask.epoch }
    }
}

/// Those who ask.
#[derive(Clone, Debug, Default)]
struct Askers {
    known: [Known; 1 << CONNS],
    asks: [GrowthAsk; 1 << CONNS],
    now_us: u32,
    answers: u64,
    converged: u64,
    timed_out: u64,
}

impl Askers {
    /// The next question of a connection: time passes, its window grows or falls, a loss or a pause ends its epoch.
    fn ask(&mut self, r: &mut Rnd) -> GrowthAsk {
        let conn = r.below(1 << CONNS) as usize;
        let most = [2000, 20_000, 400_000, 9_000_000, u64::from(u32::MAX)][r.below(5) as usize];
        self.now_us = self.now_us.wrapping_add(r.below(most) as u32);
        let old = self.asks[conn];
        let mut ask = GrowthAsk { valid: true, conn: b(conn as u32), now_us: b(self.now_us), ..old };
        let is_new = old.smss == 0;
        if is_new || r.chance(1, 20) {
            ask.smss = [536u64, 1000, 1448, 8960, 1 + r.below(9000)][r.below(5) as usize].into();
            ask.cwnd = (r.next_u64() >> (34 + r.below(20))).max(1).into();
            ask.prior = 0u64.into();
        }
        if is_new || r.chance(1, 6) {
            ask.epoch = ask.epoch + 1;
            if r.chance(2, 3) {
                let used = n(ask.cwnd).max(2);
                (ask.prior, ask.cwnd) = (b(used), b(used / 10 * 7 + 1));
            }
            if r.chance(1, 4) {
                ask.prior = ask.prior | bits::<32>(row::TIMED_OUT.into());
            }
        }
        let cwnd = n(ask.cwnd);
        ask.cwnd = b((cwnd + r.below(u64::from(cwnd / 8 + 1)) as u32).min(MAX_CWND));
        ask.srtt_us =
            [r.below(300_000), r.below(5000), r.next_u64() & 0xffff_ffff][r.below(3) as usize].into();
        let most = 1 << [8, 14, 18, 24][r.below(4) as usize];
        ask.credit = r.below(most).into();
        self.asks[conn] = ask;
        ask
    }

    /// It has this answer; was it the first of an epoch?
    fn check(&mut self, ask: &GrowthAsk, got: &Growth) -> bool {
        let known = &mut self.known[ask.conn.index()];
        let before = *known;
        let want = known.answer(ask);
        assert_eq!(*got, want, "{before:?} {ask:?}");
        self.answers += 1;
        self.converged += u64::from(!known.cubic.has_timed_out && known.cubic.w_max < known.cubic.cwnd_prior);
        self.timed_out += u64::from(known.cubic.has_timed_out && known.cubic.cwnd_prior > 0);
        before.epoch != known.epoch
    }
}

/// The inputs of a question.
pub fn inputs(ask: &GrowthAsk) -> Vec<u32> {
    let own = (0..ROW as u64).map(|at| n(asked(*ask, bits::<3>(at))));
    (0..input::FIRST.into()).map(|_| 0).chain(own).collect()
}

/// RFC 9438 4.2, 4.3, 4.6 to 4.8.
#[test]
fn the_program_of_cubic_says_how_fast_the_core_would_grow() {
    let mut r = Rnd::new(Rnd::seed_for("loss_cubic_program"));
    let mut machine = Machine::new(&program());
    let mut rows = [[0; ROW]; 1 << CONNS];
    let (mut askers, mut slowest, mut sums) = (Askers::default(), [0; 2], [(0, 0); 2]);
    for _ in 0..if long() { 2_000_000 } else { 50_000 } {
        let ask = askers.ask(&mut r);
        let words = &mut rows[ask.conn.index()];
        machine.state[..ROW].copy_from_slice(words);
        let clocks = machine.run_from(cubic::ENTRY, &inputs(&ask));
        words.copy_from_slice(&machine.state[..ROW]);
        let output = |at: u8| machine.outputs[usize::from(at)];
        let (per_increment, w_est) = (b(output(row::PER_INCREMENT)), b(output(row::LEAST)));
        let is_new = askers.check(&ask, &Growth { per_increment, w_est, epoch: ask.epoch });
        let word = |at: u8| words[usize::from(at)];
        let c = askers.known[ask.conn.index()].cubic;
        assert_eq!(
            (word(row::W_MAX), word(row::PRIOR) & !row::TIMED_OUT, word(row::ORIGIN)),
            (c.w_max, c.cwnd_prior, c.origin)
        );
        assert_eq!((word(row::W_EST), word(row::EST_SUM)), (c.w_est, c.est_sum));
        assert_eq!((word(row::EPOCH_US), word(row::EPOCH) & row::K), (c.epoch_us, c.k.into()));
        let is_new = usize::from(is_new);
        slowest[is_new] = clocks.max(slowest[is_new]);
        sums[is_new] = (sums[is_new].0 + clocks, sums[is_new].1 + 1);
    }
    eprintln!(
        "clocks of a question, and of one that begins an epoch: on average {:?}, at most {slowest:?}",
        sums.map(|(sum, all)| sum / all)
    );
    assert!(
        askers.converged > 100
            && askers.timed_out > 100
            && slowest[0] <= USUAL_CLOCKS
            && slowest[1] <= EPOCH_CLOCKS
    );
}

/// Who asks the block.
#[derive(Default)]
struct Block {
    askers: Askers,
    /// The question in hand; the table's entries count since its clock.
    waits: Option<GrowthAsk>,
    clocks: u64,
    /// Clocks in which entries are cleared.
    sweep: u32,
    slowest: [u64; 2],
}

impl Block {
    fn new() -> Block {
        Block { sweep: 1 << CONNS, ..Block::default() }
    }

    /// An entry.
    fn set(&mut self, set: &SetGrowth) {
        if self.sweep > 0 {
            assert_eq!((n(set.conn), set.growth), ((1 << CONNS) - self.sweep, Growth::default()));
            self.sweep -= 1;
            return;
        }
        let ask = self.waits.take().expect("an answer nobody asked for");
        assert_eq!(set.conn, ask.conn);
        let slowest = &mut self.slowest[usize::from(self.askers.check(&ask, &set.growth))];
        *slowest = self.clocks.max(*slowest);
    }

    /// After the reset of this clock, and jobs, are decided.
    fn poke(&mut self, u: &mut Unit, r: &mut Rnd) {
        let set = u.set.val();
        if set.valid {
            self.set(&set);
        }
        self.clocks += 1;
        u.ask.next = GrowthAsk { valid: r.chance(1, 4), ..r.any() };
        if u.ask.next.valid && u.ask_ready.val() && !u.reset.next {
            let ask = self.askers.ask(r);
            u.ask.next = ask;
            self.waits = Some(ask);
            self.clocks = 0;
        }
        if u.reset.next {
            let askers = &mut self.askers;
            (askers.known, askers.asks, self.waits) = Default::default();
            self.sweep = 1 << CONNS;
        }
    }

    fn judge(&self, answers: u64, converged: u64) {
        let (t, slowest) = (&self.askers, self.slowest);
        eprintln!("{} answers, slowest {slowest:?} clocks", t.answers);
        assert!(t.answers > answers && t.converged > converged && slowest[1] > slowest[0]);
    }
}

/// The same by the block, which does nothing else.
#[test]
fn the_unit_answers_questions_as_the_core_would_grow() {
    let test = RefCell::new(Block::new());
    let clocks = if long() { 2_000_000 } else { 160_000 };
    Diff::new("loss_unit_cubic", clocks).constant("job_ready").constant("result_valid").run(
        Unit::default(),
        |u, r| {
            u.reset.next = r.chance(1, 20_000);
            u.job_valid.next = false;
            u.job.next = r.any();
            u.result_ready.next = r.chance(1, 2);
            test.borrow_mut().poke(u, r);
        },
        |u, clk| u.clock.next = clk.into(),
    );
    let t = test.into_inner();
    t.judge(200, 10);
    assert!(t.slowest[0] <= USUAL_CLOCKS && t.slowest[1] <= EPOCH_CLOCKS, "{:?}", t.slowest);
}

/// Jobs wait for a question in hand at most; questions for a job in hand and three.
#[test]
fn jobs_and_questions_share_the_unit() {
    let jobs = Test { question_clocks: EPOCH_CLOCKS, ..Test::default() };
    let test = RefCell::new((jobs, Block::new()));
    let clocks = if long() { 2_000_000 } else { 120_000 };
    Diff::new("loss_unit_both", clocks).run(
        Unit::default(),
        |u, r| {
            let (jobs, questions) = &mut *test.borrow_mut();
            jobs.poke_or_begin(u, r);
            questions.poke(u, r);
        },
        |u, clk| u.clock.next = clk.into(),
    );
    let (jobs, questions) = test.into_inner();
    jobs.judge(1, &[]);
    questions.judge(40, 0);
    assert!(questions.slowest[1] <= SHARED_CLOCKS, "{:?}", questions.slowest);
}
