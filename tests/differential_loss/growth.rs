//! CUBIC with its slow unit's steps.

use super::{b, n, steps};
use chimney_hdl::prelude::Bits;
use chimney_hdl::tcp::cwnd as kw;
use chimney_hdl::tcp::loss::slow::step;
use chimney_hdl::tcp::loss::{cubic as kc, growth as kg, prr as kp};
use chimney_hdl_kernel::diff::Rnd;
use chimney_host_stack_core::congestion::{Control, Growth};
use chimney_host_stack_core::cubic::cube_root;
use chimney_host_stack_core::cwnd::Cwnd;

/// A number of any size below `1 << bits`.
fn sized(r: &mut Rnd, bits: u64) -> u64 {
    r.next_u64() >> (64 - bits) >> r.below(bits)
}

/// A product, a quotient or a root of the slow unit: clocks of its shift registers.
fn turned(x: kc::Serial, mode: kc::Mode, clocks: u32) -> kc::Serial {
    (0..clocks).fold(x, |x, _| kc::turn(x, mode).x)
}

#[test]
fn products_quotients_and_roots_of_the_slow_unit_are_exact() {
    steps("loss_slow", |r| {
        // No history here, and 130 clocks for each case: a tenth of them.
        if !r.chance(1, 10) {
            return;
        }
        let number = match r.below(3) {
            0 => r.below(65_536).pow(3),
            1 => (r.below(65_536).pow(3)).saturating_sub(1),
            _ => sized(r, 48),
        };
        let x = kc::Serial { word: (number << 16).into(), ..kc::Serial::default() };
        let (_, root, square) =
            (0..16).fold((x, Bits::<16>::from(0u64), Bits::<32>::from(0u64)), |(x, root, square), _| {
                let t = kc::turn(kc::Serial { operand: kc::root_need(root, square), ..x }, kc::Mode::Root);
                let next = Bits::<16>::from(root.to_u64() << 1 | u64::from(t.fits));
                (t.x, next, kc::root_square(root, square, t.fits))
            });
        assert_eq!(n(root), u32::from(cube_root(number)), "{number}");
        assert_eq!(square.to_u64(), root.to_u64() * root.to_u64());

        let (word, divisor) = (sized(r, 63), 1 + sized(r, 32).min(u64::from(u32::MAX) - 1));
        let x = kc::Serial { word: word.into(), operand: divisor.into(), ..kc::Serial::default() };
        let d = turned(x, kc::Mode::Divide, 64);
        assert_eq!((d.word.to_u64(), d.rest.to_u64()), (word / divisor, word % divisor));

        let (a, factor) = (sized(r, 36), sized(r, 22));
        let x = kc::Serial { word: factor.into(), operand: a.into(), ..kc::Serial::default() };
        let p = turned(x, kc::Mode::Multiply, 22);
        assert_eq!(p.rest.to_u64() << 22 | p.word.to_u64() >> 42, a * factor);
    });
}

/// Sender's segment size of [`Line`].
const SMSS: u32 = 1448;

/// The NIC's way to grow: what PROTO does with an acknowledgment, and the slow unit, whose answer comes some acknowledgments later.
#[derive(Default)]
struct Nic {
    cw: kw::Cwnd,
    slow: kc::Cubic,
    growth: kg::Growth,
    epoch: u32,
    prior: u32,
    credit: u32,
    tick: Bits<14>,
    /// The answer, and how many acknowledgments come before it.
    answer: Option<(kg::Growth, u32)>,
}

impl Nic {
    /// `proto::grow`, and the loss unit's, which do the same.
    fn ack(&mut self, acked: u32, srtt_us: u32, now_us: u32) {
        let pace = kg::pace(self.growth, b(self.epoch));
        self.cw.acked_sum = kp::add_limited(self.cw.acked_sum, b(acked));
        self.credit += acked;
        let cost = pace.per_increment;
        if pace.is_fresh && self.cw.acked_sum >= cost {
            self.cw.acked_sum = b(n(self.cw.acked_sum - cost).min(n(cost)));
            self.cw.cwnd = self.cw.cwnd + u64::from(SMSS);
        } else if pace.is_fresh {
            self.cw.cwnd = b(n(self.cw.cwnd).max(n(pace.w_est)));
        }
        if let Some((growth, wait)) = self.answer.take() {
            self.answer = (wait > 0).then_some((growth, wait.saturating_sub(1)));
            self.growth = if wait > 0 { self.growth } else { growth };
        } else if !pace.is_fresh || self.tick != kg::tick(b(now_us)) {
            self.ask(srtt_us, now_us);
        }
    }

    fn ask(&mut self, srtt_us: u32, now_us: u32) {
        let ask = kg::GrowthAsk {
            valid: true,
            conn: b(0),
            epoch: b(self.epoch),
            prior: b(self.prior),
            cwnd: self.cw.cwnd,
            smss: b(SMSS),
            srtt_us: b(srtt_us),
            credit: b(self.credit),
            now_us: b(now_us),
        };
        let is_old = self.slow.epoch == ask.epoch;
        let st = if is_old { kc::SlowState::Count } else { kc::SlowState::Prior };
        let mut h = kc::Slow { st, ask, c: self.slow, ..kc::Slow::default() };
        while h.st != kc::SlowState::Store {
            h = step(h);
        }
        self.slow = h.c;
        (self.tick, self.credit) = (kg::tick(b(now_us)), 0);
        let growth = kg::Growth { per_increment: kc::per_increment(h), w_est: h.c.w_est, epoch: h.c.epoch };
        self.answer = Some((growth, 2));
    }

    /// The loss unit's reduction.
    fn lose(&mut self, flight: u32) {
        self.prior = n(self.cw.cwnd).min(flight + 2 * SMSS);
        let scaled = (u64::from(self.prior) * kc::BETA) >> 16;
        let ssthresh = u32::try_from(scaled).expect("less than before").max(2 * SMSS);
        self.cw = kw::Cwnd { cwnd: b(ssthresh), ssthresh: b(ssthresh), acked_sum: b(0) };
        self.epoch = (self.epoch + 1) % 64;
    }
}

/// RFC 9438: over a long history with losses both carry the same within 5 %, from 5 ms (Reno's part) to 200 ms (the cubic part).
#[test]
fn the_window_of_the_nic_is_that_of_the_core_over_a_long_history() {
    let mut r = Rnd::new(Rnd::seed_for("loss_growth"));
    for (rtt_us, segments) in [(5_000, 40), (30_000, 60), (100_000, 100), (200_000, 150)] {
        let start = segments * SMSS;
        let mut core = (Control::default(), Cwnd { cwnd: start, ssthresh: start, acked_sum: 0 });
        let cw = kw::Cwnd { cwnd: b(start), ssthresh: b(start), ..kw::Cwnd::default() };
        let mut nic = Nic { cw, epoch: 1, ..Nic::default() };
        let (mut now, mut worst) = (r.next_u64() as u32, 0f64);
        let mut sums = (0u64, 0u64);
        for round in 0..300 {
            if r.chance(1, 40) || round == 20 {
                let flights = (core.1.cwnd, n(nic.cw.cwnd));
                core.0.on_congestion(&mut core.1, flights.0, SMSS);
                core.1.cwnd = core.1.ssthresh;
                nic.lose(flights.1);
            }
            // Every fourth segment is acknowledged; each side its own flight.
            let begin = now;
            for k in 0..core.1.cwnd / (4 * SMSS) {
                now = begin.wrapping_add(k * (rtt_us / 200));
                let g =
                    Growth { acked: 4 * SMSS, flight: core.1.cwnd, smss: SMSS, srtt_us: rtt_us, now_us: now };
                core.0.on_ack(&mut core.1, &g);
            }
            for k in 0..n(nic.cw.cwnd) / (4 * SMSS) {
                nic.ack(4 * SMSS, rtt_us, begin.wrapping_add(k * (rtt_us / 200)));
            }
            now = begin.wrapping_add(rtt_us);
            let (want, got) = (core.1.cwnd, n(nic.cw.cwnd));
            worst = worst.max((f64::from(got) / f64::from(want) - 1.0).abs());
            sums = (sums.0 + u64::from(want), sums.1 + u64::from(got));
        }
        let share = sums.1 as f64 / sums.0 as f64;
        eprintln!("round trip {rtt_us} us: at most {worst:.4} apart, {share:.4} of the bytes");
        assert!(worst < 0.15 && (0.95..1.05).contains(&share), "round trip {rtt_us} us: {worst} {share}");
    }
}
