//! CUBIC with the program of the loss unit.

use super::{b, n, steps};
use chimney_hdl::micro::asm::{Asm, Label, Loc};
use chimney_hdl::micro::machine::Machine;
use chimney_hdl::prelude::Bits;
use chimney_hdl::tcp::cwnd as kw;
use chimney_hdl::tcp::loss::code::{cubic, long, program, window::BETA};
use chimney_hdl::tcp::loss::{growth as kg, prr as kp, row};
use chimney_hdl_kernel::diff::Rnd;
use chimney_host_stack_core::congestion::{Control, Growth};
use chimney_host_stack_core::cubic::{cube_root, cubic_bytes, plateau_units};
use chimney_host_stack_core::cwnd::{Cwnd, MAX_CWND};

/// A number of any size below `1 << bits`.
fn sized(r: &mut Rnd, bits: u64) -> u64 {
    r.next_u64() >> (64 - bits) >> r.below(bits)
}

/// A program of parts of CUBIC's: inputs 0 and up are its registers, which are the outputs.
struct Parts(Machine);

impl Parts {
    fn new(inputs: &[Loc], body: impl FnOnce(&mut Asm, Label), outputs: &[Loc]) -> Parts {
        let mut p = Asm::default();
        let division = p.label();
        (0u8..).zip(inputs).for_each(|(at, to)| p.mov(*to, Loc::Input(at)));
        body(&mut p, division);
        (0u8..).zip(outputs).for_each(|(at, from)| p.mov(Loc::Output(at), *from));
        p.end();
        long::divide(&mut p, division);
        Parts(Machine::new(&p.finish()))
    }

    fn run(&mut self, inputs: &[u32]) -> [u32; 32] {
        self.0.run(inputs);
        self.0.outputs
    }
}

/// The words of a number.
fn words(x: u64) -> [u32; 2] {
    // `as`: its halves.
    [(x >> 32) as u32, x as u32]
}

#[test]
fn products_quotients_and_roots_of_the_program_are_exact() {
    let mut root = Parts::new(&[long::CUBE, long::CUBE_LOW], |p, _| long::root(p), &[long::ROOT]);
    let (word, divisor) = (long::WORD, long::DIVISOR);
    let divided = |p: &mut Asm, division| {
        p.call(division);
        p.mov(long::CUBE, word);
        p.mov(word, Loc::Input(2));
        p.call(division);
    };
    let mut divide = Parts::new(&[word, divisor], divided, &[long::CUBE, word, long::REST]);
    let mut curve = Parts::new(&[long::APART, long::SMSS], |p, _| long::curve(p), &[long::BYTES]);
    steps("loss_slow", |r| {
        // No history here, and some hundred clocks for each case: a tenth of them.
        if !r.chance(1, 10) {
            return;
        }
        let number = match r.below(3) {
            0 => r.below(65_536).pow(3),
            1 => (r.below(65_536).pow(3)).saturating_sub(1),
            _ => sized(r, 48),
        };
        let got = root.run(&[words(number << 16)[0], words(number & 0xffff)[1]])[0];
        assert_eq!(got, u32::from(cube_root(number)), "{number}");

        let (word, divisor) = (sized(r, 64), 1 + sized(r, 31));
        let [high, low] = words(word);
        divide.0.registers[0] = 0;
        let got = divide.run(&[high, words(divisor)[1], low]);
        let quotient = u64::from(got[0]) << 32 | u64::from(got[1]);
        assert_eq!((quotient, u64::from(got[2])), (word / divisor, word % divisor));

        let (apart, smss) = (words(sized(r, 16))[1], words(sized(r, 16))[1]);
        assert_eq!(curve.run(&[apart, smss])[0], cubic_bytes(apart, smss), "{apart} {smss}");
    });
}

/// Any way to the plateau.
#[test]
fn the_time_to_the_plateau_is_that_of_the_core() {
    let mut program = Machine::new(&program());
    steps("loss_plateau", |r| {
        if !r.chance(1, 4) {
            return;
        }
        let (gap, smss) = (words(sized(r, 30))[1], words(1 + sized(r, 16).min(65_534))[1]);
        let cwnd = 1 + words(r.below(u64::from(MAX_CWND - gap)))[1];
        program.state[usize::from(row::W_MAX)] = cwnd + gap;
        program.state[usize::from(row::PRIOR)] = 7;
        program.state[usize::from(row::EPOCH)] = row::KNOWN;
        let ask =
            kg::GrowthAsk { epoch: b(1), prior: b(7), cwnd: b(cwnd), smss: b(smss), ..Default::default() };
        program.run_from(cubic::ENTRY, &inputs(&ask));
        let got = program.state[usize::from(row::EPOCH)];
        let want = 1 << 24 | row::KNOWN | u32::from(plateau_units(gap, smss));
        assert_eq!(got, want, "{gap} bytes, segments of {smss}");
    });
}

/// The inputs of a question.
fn inputs(ask: &kg::GrowthAsk) -> Vec<u32> {
    let own = (0..row::ROW as u64).map(|at| n(row::asked(*ask, at.into())));
    (0..row::input::FIRST.into()).map(|_| 0).chain(own).collect()
}

/// Sender's segment size of [`Line`].
const SMSS: u32 = 1448;

/// The NIC's way to grow: what PROTO does with an acknowledgment, and the program, whose answer comes some acknowledgments later.
struct Nic {
    cw: kw::Cwnd,
    program: Machine,
    growth: kg::Growth,
    epoch: u32,
    prior: u32,
    credit: u32,
    tick: Bits<14>,
    /// The answer, and how many acknowledgments come before it.
    answer: Option<(kg::Growth, u32)>,
}

impl Nic {
    fn new(cw: kw::Cwnd) -> Nic {
        let (growth, tick) = Default::default();
        let program = Machine::new(&program());
        Nic { cw, program, growth, epoch: 1, prior: 0, credit: 0, tick, answer: None }
    }

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
        self.program.run_from(cubic::ENTRY, &inputs(&ask));
        (self.tick, self.credit) = (kg::tick(b(now_us)), 0);
        let output = |at: u8| b(self.program.outputs[usize::from(at)]);
        let (per_increment, w_est) = (output(row::PER_INCREMENT), output(row::LEAST));
        let growth = kg::Growth { per_increment, w_est, epoch: ask.epoch };
        self.answer = Some((growth, 2));
    }

    /// The loss unit's reduction.
    fn lose(&mut self, flight: u32) {
        self.prior = n(self.cw.cwnd).min(flight + 2 * SMSS);
        let scaled = (u64::from(self.prior) * BETA) >> 16;
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
        let mut nic = Nic::new(cw);
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
