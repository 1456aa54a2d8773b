//! PRR, and CUBIC with its slow unit's steps.

use super::{b, n, steps};
use chimney_hdl::prelude::Bits;
use chimney_hdl::tcp::cwnd as kw;
use chimney_hdl::tcp::loss::{cubic as kc, prr as kp};
use chimney_hdl_kernel::diff::Rnd;
use chimney_host_stack_core::cubic::{cube_root, Cubic};
use chimney_host_stack_core::cwnd::{Cwnd, MAX_CWND};
use chimney_host_stack_core::prr::{Prr, PrrAck};

/// A number of any size below `1 << bits`.
fn sized(r: &mut Rnd, bits: u64) -> u64 {
    r.next_u64() >> (64 - bits) >> r.below(bits)
}

fn started(ssthresh: u32, recover_fs: u32) -> kp::Prr {
    let fs = b(recover_fs.max(1));
    let begin = kp::Division { rest: b(ssthresh), ..kp::Division::default() };
    let d = (0..16).fold(begin, |d, _| kp::divide(d, fs));
    kp::start(d.quotient, ssthresh >= recover_fs.max(1))
}

/// RFC 9937 6.
#[test]
fn the_reduction_is_the_same_in_every_recovery() {
    let mut pair = None;
    steps("loss_prr", |r| {
        if pair.is_none() || r.chance(1, 60) {
            let (ssthresh, fs) = (sized(r, 30) as u32, sized(r, 30) as u32);
            pair = Some((Prr::start(ssthresh, fs), started(ssthresh, fs), ssthresh));
        }
        let (core, hw, ssthresh) = pair.as_mut().expect("made above");
        let (smss, ssthresh) = (1 + r.below(9000) as u32, *ssthresh);
        let ack = PrrAck {
            delivered: sized(r, 24) as u32,
            pipe: [sized(r, 30) as u32, ssthresh, ssthresh + 1][r.below(3) as usize],
            is_safe: r.chance(1, 2),
        };
        let want = core.on_ack(ack, ssthresh, smss);
        *hw = kp::count_delivered(*hw, b(ack.delivered));
        let bounds = kp::bounds(*hw, kp::share(*hw), b(ack.delivered));
        let bounds = kp::less_sent(*hw, bounds, b(smss), ack.is_safe);
        let count = kp::amount(bounds, b(ack.pipe), b(ssthresh));
        let got = n(kp::window(count, b(ack.pipe), b(smss), hw.out == 0));
        assert_eq!(got, want, "{core:?} {ack:?} {ssthresh} {smss}");
        if r.chance(1, 2) {
            let sent = sized(r, 24) as u32;
            core.on_send(sent);
            *hw = kp::on_send(*hw, b(sent));
        }
        assert_eq!((n(hw.delivered), n(hw.out), n(hw.rate)), (core.delivered, core.out, core.rate));
    });
}

fn cubic(r: &mut Rnd) -> (Cubic, kc::Cubic) {
    let mut window = || sized(r, 30) as u32;
    let c = Cubic {
        w_max: window(),
        cwnd_prior: window(),
        origin: window(),
        w_est: window(),
        est_sum: window(),
        per_increment: window(),
        k: r.next_u64() as u16,
        epoch_us: r.next_u64() as u32,
        updated_us: r.next_u64() as u32,
        has_epoch: r.chance(3, 4),
    };
    (c, twin(&c))
}

fn twin(c: &Cubic) -> kc::Cubic {
    kc::Cubic {
        w_max: b(c.w_max),
        cwnd_prior: b(c.cwnd_prior),
        origin: b(c.origin),
        w_est: b(c.w_est),
        est_sum: b(c.est_sum),
        per_increment: b(c.per_increment),
        k: b(c.k.into()),
        epoch_us: b(c.epoch_us),
        updated_us: b(c.updated_us),
        has_epoch: c.has_epoch,
    }
}

fn ours(c: &Cwnd) -> kw::Cwnd {
    kw::Cwnd { cwnd: b(c.cwnd), ssthresh: b(c.ssthresh), acked_sum: b(c.acked_sum) }
}

/// RFC 9438 4.2, 4.3, 4.6, 4.7.
#[test]
fn cubic_grows_and_falls_alike() {
    steps("loss_cubic", |r| {
        let (mut core, hw) = cubic(r);
        let smss = 1 + r.below(9000) as u32;
        let mut cw = Cwnd { cwnd: sized(r, 30) as u32, ssthresh: MAX_CWND, acked_sum: sized(r, 31) as u32 };
        let before = ours(&cw);
        let now =
            [core.updated_us.wrapping_add(r.below(3000) as u32), r.next_u64() as u32][r.below(2) as usize];
        assert_eq!(kc::is_due(hw, b(now)), core.is_due(now));
        let step = if r.chance(1, 2) {
            let acked = sized(r, 28) as u32;
            core.on_ack(&mut cw, acked, smss);
            let grown = kc::add_acked(hw, before, b(acked));
            kc::at_least_reno(kc::take_increment(hw, before, grown, b(smss)), grown)
        } else {
            let flight = sized(r, 30) as u32;
            core.on_congestion(&mut cw, flight, smss);
            let used = kc::used(before, b(flight), b(smss));
            let scaled = |factor: u64| kc::scaled(used, factor.into());
            let (by_beta, converged) = (scaled(kc::BETA), scaled(kc::FAST_CONVERGENCE));
            kc::on_congestion(hw, before, used, by_beta, converged, b(smss))
        };
        assert_eq!((step.cubic, step.cw), (twin(&core), ours(&cw)));
    });
}

#[test]
fn roots_and_quotients_of_the_slow_unit_are_exact() {
    steps("loss_slow", |r| {
        // No history here, and 80 clocks for each case: a tenth of them.
        if !r.chance(1, 10) {
            return;
        }
        let number = match r.below(3) {
            0 => r.below(65_536).pow(3),
            1 => (r.below(65_536).pow(3)).saturating_sub(1),
            _ => sized(r, 48),
        };
        let root = (0..16).rev().fold(kc::Root::default(), |root, i| {
            kc::root_step(root, kc::root_need(root), (number >> (3 * i) & 7).into())
        });
        assert_eq!(n(root.root), u32::from(cube_root(number)), "{number}");

        let (word, divisor) = (sized(r, 63), 1 + sized(r, 32).min(u64::from(u32::MAX) - 1));
        let begin = kc::LongDivision { word: word.into(), ..kc::LongDivision::default() };
        let bits: Bits<32> = divisor.into();
        let d = (0..64).fold(begin, |d, _| kc::long_divide(d, bits));
        assert_eq!((d.word.to_u64(), u64::from(n(d.rest))), (word / divisor, word % divisor));
    });
}
