//! CUBIC (RFC 9438), as `chimney_host_stack_core::cubic`: the part per acknowledgment, and the steps of the slow unit.
//!
//! The part per acknowledgment is two clocks: [`add_acked`], then [`take_increment`]; it never waits for the slow unit, which
//! has a cube root of 16 steps ([`root_step`]), a division of a bit per clock ([`long_divide`]) and products.

use crate::prelude::*;
use crate::tcp::cwnd::{Cwnd, MAX_CWND};
use crate::tcp::seq::{max32, min32};

/// Bits of a [`Cubic`].
pub const CUBIC: usize = 6 * 32 + 16 + 2 * 32 + 1;
/// beta, 16 fraction bits.
pub const BETA: u64 = 45_875;
/// (1 + beta) / 2, 16 fraction bits.
pub const FAST_CONVERGENCE: u64 = 55_705;

/// State of CUBIC.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Cubic {
    /// Window before the last reduction, bytes (after fast convergence).
    pub w_max: Bits<32>,
    /// `cwnd` before the last reduction.
    pub cwnd_prior: Bits<32>,
    /// Window at which the cubic function has its plateau.
    pub origin: Bits<32>,
    /// Window that Reno would have (`W_est`).
    pub w_est: Bits<32>,
    /// Bytes acknowledged since `w_est` grew.
    pub est_sum: Bits<32>,
    /// Bytes to acknowledge for a segment more, from the slow unit.
    pub per_increment: Bits<32>,
    /// Time from the epoch to the plateau, units of 1024 us.
    pub k: Bits<16>,
    /// When congestion avoidance began.
    pub epoch_us: Bits<32>,
    /// When the slow unit ran last.
    pub updated_us: Bits<32>,
    /// Congestion avoidance has begun.
    pub has_epoch: Bit,
}

/// Has the slow unit something to do? A new epoch, or a millisecond is over.
#[kernel]
pub fn is_due(c: Cubic, now: Bits<32>) -> bool {
    !c.has_epoch || (now - c.updated_us).get_bits::<22>(10).any()
}

/// An acknowledgment in congestion avoidance, after its first clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Grown {
    /// Bytes acknowledged since the last increase, with this one.
    pub sum: Bits<32>,
    /// The same for `w_est`.
    pub est_sum: Bits<32>,
    /// Bytes that let `w_est` grow (RFC 9438 4.3).
    pub needed: Bits<32>,
}

/// First clock of an acknowledgment: the sums. Until the old window is reached Reno's alpha is 0.53, then 1.
#[kernel]
pub fn add_acked(c: Cubic, cw: Cwnd, acked: Bits<32>) -> Grown {
    let twice = c.w_est << bits::<1>(1);
    let slow = twice - (c.w_est >> bits::<2>(3));
    Grown {
        sum: super::prr::add_limited(cw.acked_sum, acked),
        est_sum: super::prr::add_limited(c.est_sum, acked),
        needed: if c.w_est < c.cwnd_prior { slow } else { c.w_est },
    }
}

/// `window`, a segment larger.
#[kernel]
fn one_more(window: Bits<32>, smss: Bits<32>) -> Bits<32> {
    min32(window + smss, bits::<32>(MAX_CWND))
}

/// What an acknowledgment makes of the state and of the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct CubicStep {
    /// The state.
    pub cubic: Cubic,
    /// The window; at least `cubic.w_est` after the next clock ([`at_least_reno`]).
    pub cw: Cwnd,
}

/// Second clock: an increment for enough bytes, at most one.
#[kernel]
pub fn take_increment(c: Cubic, cw: Cwnd, g: Grown, smss: Bits<32>) -> CubicStep {
    let left = g.sum - c.per_increment;
    let est_left = g.est_sum - g.needed;
    let mut s = CubicStep { cubic: c, cw };
    s.cw.acked_sum = g.sum;
    s.cubic.est_sum = g.est_sum;
    if g.sum >= c.per_increment {
        s.cw.acked_sum = left;
        s.cw.cwnd = one_more(cw.cwnd, smss);
    }
    if g.est_sum >= g.needed {
        s.cubic.est_sum = est_left;
        s.cubic.w_est = one_more(c.w_est, smss);
    }
    s
}

/// Third clock: more than one increment at once would only be a burst; the window is at least Reno's. `g` as before.
#[kernel]
pub fn at_least_reno(s: CubicStep, g: Grown) -> CubicStep {
    let mut n = s;
    n.cw.cwnd = max32(s.cw.cwnd, s.cubic.w_est);
    if g.sum >= s.cubic.per_increment {
        n.cw.acked_sum = min32(s.cw.acked_sum, s.cubic.per_increment);
    }
    if g.est_sum >= g.needed {
        n.cubic.est_sum = min32(s.cubic.est_sum, g.needed);
    }
    n
}

/// A product with one of the factors above: `window * factor / 2^16`.
#[kernel]
pub fn scaled(window: Bits<32>, factor: Bits<16>) -> Bits<32> {
    mul::<48, _, _>(window, factor).get_bits::<32>(16)
}

/// A congestion event, first clock (RFC 9438 4.6): a window that was not filled is not what the network carried.
#[kernel]
pub fn used(cw: Cwnd, flight: Bits<32>, smss: Bits<32>) -> Bits<32> {
    min32(cw.cwnd, flight + smss + smss)
}

/// Last clock of a congestion event: `by_beta` and `converged` are [`scaled`] of `used`.
#[kernel]
pub fn on_congestion(
    c: Cubic,
    cw: Cwnd,
    used: Bits<32>,
    by_beta: Bits<32>,
    converged: Bits<32>,
    smss: Bits<32>,
) -> CubicStep {
    CubicStep {
        cubic: Cubic {
            cwnd_prior: used,
            // 4.7: fast convergence leaves room for newcomers.
            w_max: if used < c.w_max { converged } else { used },
            has_epoch: false,
            ..c
        },
        cw: Cwnd { cwnd: cw.cwnd, ssthresh: max32(by_beta, smss + smss), acked_sum: bits::<32>(0) },
    }
}

/// A cube root under way: the root so far, its square, and what is left of the number (a radix-2 method: no product).
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Root {
    /// The bits found.
    pub root: Bits<16>,
    /// Its square.
    pub square: Bits<32>,
    /// The rest of the bits taken in.
    pub rest: Bits<35>,
}

/// One of 16 steps, first clock: `3 r (r + 1) + 1` for `r` = twice the root; a bit fits if the rest is not below.
#[kernel]
pub fn root_need(r: Root) -> Bits<35> {
    // 3 (4 q + 2 r) + 1, q the square and r the root so far.
    let sum = (bit_cast::<35, 32>(r.square) << bits::<2>(2)) + (bit_cast::<35, 16>(r.root) << bits::<1>(1));
    sum + (sum << bits::<1>(1)) + 1
}

/// Second clock: three more bits of the number, and one of the root. `need`: [`root_need`].
#[kernel]
pub fn root_step(r: Root, need: Bits<35>, next: Bits<3>) -> Root {
    let rest = cat::<35, _>((r.rest.get_bits::<32>(0), next));
    let fits = rest >= need;
    let root = bit_cast::<32, 16>(r.root);
    // (2 r + 1)^2 = 4 r^2 + 4 r + 1.
    let odd = (r.square << bits::<2>(2)) + (root << bits::<2>(2)) + 1;
    Root {
        root: cat::<16, _>((r.root.get_bits::<15>(0), fits)),
        square: if fits { odd } else { r.square << bits::<2>(2) },
        rest: if fits { rest - need } else { rest },
    }
}

/// A division of whole numbers under way: the dividend leaves at the top as the quotient comes in below.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct LongDivision {
    /// Dividend, then quotient.
    pub word: Bits<64>,
    /// What is left, below the divisor.
    pub rest: Bits<32>,
}

/// One of 64 steps; the divisor is not 0.
#[kernel]
pub fn long_divide(d: LongDivision, divisor: Bits<32>) -> LongDivision {
    let rest = cat::<33, _>((d.rest, d.word.get_bit(63)));
    let wide = bit_cast::<33, 32>(divisor);
    let fits = rest >= wide;
    let left = if fits { rest - wide } else { rest };
    LongDivision { word: cat::<64, _>((d.word.get_bits::<63>(0), fits)), rest: left.get_bits::<32>(0) }
}
