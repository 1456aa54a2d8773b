//! The slow unit of CUBIC against the functions of the core: connections with epochs that end, pauses and resets.

use super::{b, n};
use chimney_hdl::tcp::loss::growth::{Growth, GrowthAsk};
use chimney_hdl::tcp::loss::slow::SlowUnit;
use chimney_hdl_kernel::diff::{long, Diff, Rnd};
use chimney_host_stack_core::cubic::Cubic;
use chimney_host_stack_core::cwnd::{Cwnd, MAX_CWND};
use std::cell::RefCell;

/// log2 of connections.
const LOG2: usize = 3;
/// Clocks from a question to its answer.
const USUAL_CLOCKS: u64 = 132 + 2 * MOST_STEPS;
/// Of a new epoch.
const EPOCH_CLOCKS: u64 = 291;
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
        let (prior, cwnd, smss) = (n(ask.prior), n(ask.cwnd), n(ask.smss));
        let cw = Cwnd { cwnd, ssthresh: cwnd, acked_sum: 0 };
        let c = &mut self.cubic;
        if n(ask.epoch) != self.epoch {
            self.epoch = n(ask.epoch);
            if prior == 0 {
                (c.w_max, c.cwnd_prior) = (0, 0);
            } else if prior != c.cwnd_prior {
                c.on_congestion(&mut Cwnd { cwnd: prior, ..cw }, prior, smss);
            }
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

/// The test's side.
#[derive(Default)]
struct Test {
    known: [Known; 1 << LOG2],
    asks: [GrowthAsk; 1 << LOG2],
    now_us: u32,
    waits: Option<(GrowthAsk, bool)>,
    clocks: u64,
    /// Clocks in which entries are cleared.
    sweep: u32,
    slowest: [u64; 2],
    answers: u64,
    converged: u64,
}

impl Test {
    /// The next question of a connection: time passes, its window grows or falls, a loss or a pause ends its epoch.
    fn ask(&mut self, r: &mut Rnd) -> GrowthAsk {
        let conn = r.below(1 << LOG2) as usize;
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

    fn poke(&mut self, u: &mut SlowUnit<LOG2>, r: &mut Rnd) {
        let resets = r.chance(1, 20_000);
        u.reset.next = resets;
        let set = u.set.val();
        if set.valid && self.sweep > 0 {
            assert_eq!((n(set.conn), set.growth), ((1 << LOG2) - self.sweep, Growth::default()));
            self.sweep -= 1;
        } else if set.valid {
            let (ask, is_new) = self.waits.take().expect("an answer nobody asked for");
            let known = &mut self.known[ask.conn.index()];
            let before = *known;
            let want = known.answer(&ask);
            assert_eq!((set.conn, set.growth), (ask.conn, want), "{before:?} {ask:?}");
            assert!(
                self.clocks <= if is_new { EPOCH_CLOCKS } else { USUAL_CLOCKS },
                "{} clocks",
                self.clocks
            );
            let slowest = &mut self.slowest[usize::from(is_new)];
            *slowest = (*slowest).max(self.clocks);
            self.answers += 1;
            self.converged += u64::from(known.cubic.w_max < known.cubic.cwnd_prior);
        }
        self.clocks += 1;
        u.ask.next = GrowthAsk { valid: r.chance(1, 4), ..r.any() };
        if u.ask.next.valid && u.ready.val() && !resets {
            let ask = self.ask(r);
            u.ask.next = ask;
            self.waits = Some((ask, self.known[ask.conn.index()].epoch != n(ask.epoch)));
            self.clocks = 0;
        }
        if resets {
            *self = Test { now_us: self.now_us, sweep: 1 << LOG2, ..std::mem::take(self) };
            (self.known, self.asks, self.waits) = Default::default();
        }
    }
}

/// RFC 9438 4.2, 4.3, 4.6, 4.7.
#[test]
fn the_slow_unit_says_how_fast_the_core_would_grow() {
    let test = RefCell::new(Test { sweep: 1 << LOG2, ..Test::default() });
    let clocks = if long() { 2_000_000 } else { 80_000 };
    Diff::new("loss_slow_unit", clocks).run(
        SlowUnit::<LOG2>::default(),
        |u, r| test.borrow_mut().poke(u, r),
        |u, clk| u.clock.next = clk.into(),
    );
    let t = test.into_inner();
    eprintln!("{} answers, slowest {:?} clocks", t.answers, t.slowest);
    assert!(t.answers > 200 && t.converged > 10 && t.slowest[1] > t.slowest[0]);
}
