//! CUBIC (RFC 9438), as `chimney_host_stack_core::cubic`: the registers of the slow unit, and what it does in each of its clocks.
//!
//! ```text
//!   Load --+-- a new epoch: Prior (Converged) Epoch Gap Ratio Cube (Need Bit) x 16 Rooted --+
//!          `--------------------------------------------------------------------------------+--> Count (Needed Take) x 1..9
//!   --> Age Clip Apart Square Cubed Bytes: C (t - K)^3 --> Target Half Gain Per: bytes for a segment more --> Store
//! ```
//! One pair of shift registers and one adder of 38 bits multiply, divide and take the cube root, a bit per clock ([`turn`]).

use super::growth::GrowthAsk;
use super::prr::sub_limited;
use crate::prelude::*;
use crate::tcp::cwnd::{EPOCH, MAX_CWND};
use crate::tcp::seq::{max32, min32};

/// Bits of a [`Cubic`].
pub const CUBIC: usize = 6 * 32 + 16 + EPOCH;
/// beta, 16 fraction bits.
pub const BETA: u64 = 45_875;
/// (1 + beta) / 2, 16 fraction bits.
const FAST_CONVERGENCE: u64 = 55_705;
/// C = 0.4 segments per cubic second is 59 / 2^37 per cubic unit of 1024 us.
const C_FACTOR: u64 = 59;
/// Most segments that Reno's window grows by for one question.
const MOST_STEPS: u64 = 8;

/// What is kept of a connection.
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
    /// When congestion avoidance began.
    pub epoch_us: Bits<32>,
    /// Time from the epoch to the plateau, units of 1024 us.
    pub k: Bits<16>,
    /// The epoch.
    pub epoch: Bits<EPOCH>,
}

/// What the shift registers do.
#[derive(Clone, Copy, Debug, PartialEq, LogicState)]
pub enum Mode {
    /// `rest` and the top of `word` become `operand` times the bottom of `word`.
    Multiply,
    /// `word` becomes its quotient by `operand`, `rest` what is left.
    Divide,
    /// Three bits of `word` come to `rest`, and `operand` goes if it fits.
    Root,
}

/// The shift registers.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Serial {
    /// Upper half.
    pub rest: Bits<36>,
    /// Lower half.
    pub word: Bits<64>,
    /// What is added or goes.
    pub operand: Bits<36>,
}

/// A clock of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Turn {
    /// They.
    pub x: Serial,
    /// The operand went.
    pub fits: Bit,
}

/// One clock: a bit of a product, of a quotient or of a root.
#[kernel]
pub fn turn(x: Serial, mode: Mode) -> Turn {
    let adds = mode == Mode::Multiply;
    let above = match mode {
        Mode::Multiply => bit_cast::<38, 36>(x.rest),
        Mode::Divide => bit_cast::<38, _>(cat::<37, _>((x.rest, x.word.get_bit(63)))),
        Mode::Root => bit_cast::<38, _>(cat::<37, _>((x.rest.get_bits::<34>(0), x.word.get_bits::<3>(61)))),
    };
    let above: Bits<38> = above;
    let none = bits::<38>(0);
    let wide = bit_cast::<38, 36>(x.operand);
    let other = if !adds {
        !wide
    } else if x.word.get_bit(0) {
        wide
    } else {
        none
    };
    let sum = above + other + !adds;
    let fits = !adds && !sum.get_bit(37);
    let left = if fits { sum.get_bits::<36>(0) } else { above.get_bits::<36>(0) };
    Turn {
        x: Serial {
            rest: if adds { sum.get_bits::<36>(1) } else { left },
            word: match mode {
                Mode::Multiply => cat::<64, _>((sum.get_bit(0), x.word.get_bits::<63>(1))),
                Mode::Divide => cat::<64, _>((x.word.get_bits::<63>(0), fits)),
                Mode::Root => x.word << bits::<2>(3),
            },
            operand: x.operand,
        },
        fits,
    }
}

/// What has to fit for the next bit of a cube root: `3 r (r + 1) + 1`, `r` twice the root so far, whose square is `square`.
#[kernel]
pub fn root_need(root: Bits<16>, square: Bits<32>) -> Bits<36> {
    // 3 (4 square + 2 root) + 1.
    let sum = (bit_cast::<36, 32>(square) << bits::<2>(2)) + (bit_cast::<36, 16>(root) << bits::<1>(1));
    sum + (sum << bits::<1>(1)) + 1
}

/// The square of `2 root + fits`.
#[kernel]
pub fn root_square(root: Bits<16>, square: Bits<32>, fits: bool) -> Bits<32> {
    let four = square << bits::<2>(2);
    let more = (bit_cast::<32, 16>(root) << bits::<2>(2)) + 1;
    if fits {
        four + more
    } else {
        four
    }
}

/// Where the unit stands.
#[derive(Clone, Copy, Debug, PartialEq, LogicState)]
pub enum SlowState {
    /// After a reset: all entries are cleared.
    Sweep,
    /// Waits for a question.
    Idle,
    /// The connection's row is there.
    Load,
    /// A new epoch: was it a reduction, and of a smaller window than the one before?
    Prior,
    /// Then somebody else is to have room (RFC 9438 4.7).
    Converged,
    /// The epoch begins.
    Epoch,
    /// How far is it to the plateau,
    Gap,
    /// in segments,
    Ratio,
    /// divided by C?
    Cube,
    /// A bit of the cube root: what has to fit.
    Need,
    /// Does it?
    Bit,
    /// K.
    Rooted,
    /// The bytes acknowledged count for Reno's window.
    Count,
    /// Bytes for a segment more of it.
    Needed,
    /// Is it one?
    Take,
    /// Time since the epoch, at the end of the next round trip.
    Age,
    /// At most 16 bits of it.
    Clip,
    /// How far is that from the plateau?
    Apart,
    /// The square is there.
    Square,
    /// The cube is there.
    Cubed,
    /// It is bytes.
    Bytes,
    /// The window to reach.
    Target,
    /// At most half a window more.
    Half,
    /// Is it more?
    Gain,
    /// The window times a segment is there.
    Per,
    /// Row and entry are written.
    Store,
    /// The shift registers work.
    Run,
}

/// All registers of the unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Slow {
    /// Where it stands.
    pub st: SlowState,
    /// And after `Run`.
    pub next: SlowState,
    /// What the shift registers do.
    pub mode: Mode,
    /// Clocks left of it.
    pub left: Bits<6>,
    /// The question.
    pub ask: GrowthAsk,
    /// The connection.
    pub c: Cubic,
    /// The shift registers.
    pub x: Serial,
    /// The root so far; the distance in time.
    pub short: Bits<16>,
    /// Its square.
    pub square: Bits<32>,
    /// Bytes to or from the plateau, the window to reach, how much more that is.
    pub target: Bits<32>,
    /// The plateau is yet to come.
    pub is_below: Bit,
}

/// The shift registers begin: `count` clocks, then `next`.
#[kernel]
fn begin(h: Slow, x: Serial, mode: Mode, count: u64, next: SlowState) -> Slow {
    Slow { st: SlowState::Run, next, mode, left: bits::<6>(count - 1), x, ..h }
}

/// `operand` times the low bits of `word`.
#[kernel]
fn product(h: Slow, operand: Bits<36>, word: Bits<64>, count: u64, next: SlowState) -> Slow {
    begin(h, Serial { rest: bits::<36>(0), word, operand }, Mode::Multiply, count, next)
}

/// The top of `word` by `operand`.
#[kernel]
fn quotient(h: Slow, word: Bits<64>, operand: Bits<36>, count: u64, next: SlowState) -> Slow {
    begin(h, Serial { rest: bits::<36>(0), word, operand }, Mode::Divide, count, next)
}

/// RFC 9438 4.6, 4.7: what the reduction that ended the last epoch means.
#[kernel]
fn prior(h: Slow) -> Slow {
    let new = h.ask.prior;
    let is_other = new != h.c.cwnd_prior;
    let mut m = h;
    m.st = SlowState::Epoch;
    if new == 0 {
        m.c.w_max = new;
        m.c.cwnd_prior = new;
    } else if is_other {
        m.c.cwnd_prior = new;
        if new < h.c.w_max {
            let factor = bits::<64>(FAST_CONVERGENCE);
            m = product(m, bit_cast::<36, 32>(new), factor, 16, SlowState::Converged);
        } else {
            m.c.w_max = new;
        }
    }
    m
}

/// RFC 9438 4.2, 4.8: congestion avoidance begins.
#[kernel]
fn epoch(h: Slow) -> Slow {
    let mut m = h;
    m.c.origin = max32(h.c.w_max, h.ask.cwnd);
    m.c.epoch_us = h.ask.now_us;
    m.c.w_est = h.ask.cwnd;
    m.c.est_sum = bits::<32>(0);
    m.c.epoch = h.ask.epoch;
    m.ask.credit = bits::<24>(0);
    m.st = SlowState::Gap;
    m
}

/// The states of a new epoch: from what is left to the plateau to K.
#[kernel]
pub fn plateau(h: Slow) -> Slow {
    let mut m = h;
    if h.st == SlowState::Prior {
        m = prior(h);
    } else if h.st == SlowState::Converged {
        m.c.w_max = h.x.rest.get_bits::<32>(0);
        m.st = SlowState::Epoch;
    } else if h.st == SlowState::Epoch {
        m = epoch(h);
    } else if h.st == SlowState::Gap {
        // 8 fraction bits.
        let word = cat::<64, _>((h.c.origin - h.ask.cwnd, bits::<32>(0)));
        m = quotient(h, word, bit_cast::<36, 16>(h.ask.smss), 40, SlowState::Ratio);
    } else if h.st == SlowState::Ratio {
        let word = cat::<64, _>((h.x.word.get_bits::<41>(0), bits::<23>(0)));
        m = quotient(h, word, bits::<36>(C_FACTOR), 64, SlowState::Cube);
    } else if h.st == SlowState::Cube {
        let is_large = h.x.word.get_bits::<22>(42).any();
        let cube = if is_large { !bits::<42>(0) } else { h.x.word.get_bits::<42>(0) };
        m.x.word = cat::<64, _>((cube, if is_large { !bits::<6>(0) } else { bits::<6>(0) }, bits::<16>(0)));
        m.x.rest = bits::<36>(0);
        m.short = bits::<16>(0);
        m.square = bits::<32>(0);
        m.mode = Mode::Root;
        m.left = bits::<6>(15);
        m.st = SlowState::Need;
    } else if h.st == SlowState::Need {
        m.x.operand = root_need(h.short, h.square);
        m.st = SlowState::Bit;
    } else if h.st == SlowState::Bit {
        let t = turn(h.x, h.mode);
        let t: Turn = t;
        m.x = t.x;
        m.short = cat::<16, _>((h.short.get_bits::<15>(0), t.fits));
        m.square = root_square(h.short, h.square, t.fits);
        m.left = h.left - 1;
        m.st = if h.left == 0 { SlowState::Rooted } else { SlowState::Need };
    } else {
        m.c.k = h.short;
        m.st = SlowState::Count;
    }
    m
}

/// RFC 9438 4.3: what Reno with this beta would have; its own alpha (8 / 15) until the old window is reached, then 1.
#[kernel]
pub fn reno(h: Slow) -> Slow {
    let w = h.c.w_est;
    let slow = (w << bits::<1>(1)) - (w >> bits::<2>(3));
    let operand = h.x.operand.get_bits::<32>(0);
    let mut m = h;
    if h.st == SlowState::Count {
        m.c.est_sum = h.c.est_sum + bit_cast::<32, 24>(h.ask.credit);
        m.left = bits::<6>(MOST_STEPS);
        m.st = SlowState::Needed;
    } else if h.st == SlowState::Needed {
        m.x.operand = bit_cast::<36, 32>(if w < h.c.cwnd_prior { slow } else { w });
        m.st = SlowState::Take;
    } else if h.c.est_sum < operand {
        m.st = SlowState::Age;
    } else if h.left == 0 {
        // More would only be a burst.
        m.c.est_sum = operand;
        m.st = SlowState::Age;
    } else {
        m.c.est_sum = h.c.est_sum - operand;
        m.c.w_est = min32(w + bit_cast::<32, 16>(h.ask.smss), bits::<32>(MAX_CWND));
        m.left = h.left - 1;
        m.st = SlowState::Needed;
    }
    m
}

/// The states from the time since the epoch to `C (t - K)^3`.
#[kernel]
pub fn curve(h: Slow) -> Slow {
    let since = h.x.word;
    let smss = bit_cast::<64, 16>(h.ask.smss);
    let none = bits::<36>(0);
    let mut m = h;
    if h.st == SlowState::Age {
        let age = h.ask.now_us - h.c.epoch_us;
        m.x.word = bit_cast::<64, 32>(age) + bit_cast::<64, 32>(h.ask.srtt_us);
        m.st = SlowState::Clip;
    } else if h.st == SlowState::Clip {
        let is_long = since.get_bits::<7>(26).any();
        m.short = if is_long { !bits::<16>(0) } else { since.get_bits::<16>(10) };
        m.st = SlowState::Apart;
    } else if h.st == SlowState::Apart {
        let is_below = h.short < h.c.k;
        let d = if is_below { h.c.k - h.short } else { h.short - h.c.k };
        m = product(h, bit_cast::<36, 16>(d), bit_cast::<64, 16>(d), 16, SlowState::Square);
        m.short = d;
        m.is_below = is_below;
    } else if h.st == SlowState::Square {
        let square = cat::<32, _>((h.x.rest.get_bits::<16>(0), h.x.word.get_bits::<16>(48)));
        m = product(h, bit_cast::<36, 32>(square), bit_cast::<64, 16>(h.short), 16, SlowState::Cubed);
    } else if h.st == SlowState::Cubed {
        // Without its 12 low bits; times 59 = 64 - 4 - 1 segments.
        let cube = cat::<36, _>((h.x.rest.get_bits::<32>(0), h.x.word.get_bits::<4>(60)));
        let factor = (smss << bits::<3>(6)) - (smss << bits::<2>(2)) - smss;
        m = product(h, cube, factor, 22, SlowState::Bytes);
    } else {
        let is_large = (h.x.rest >> bits::<6>(33)) != none;
        let bytes = h.x.rest.get_bits::<32>(3);
        m.target = if is_large { bits::<32>(MAX_CWND) } else { min32(bytes, bits::<32>(MAX_CWND)) };
        m.st = SlowState::Target;
    }
    m
}

/// The states from there to the bytes for a segment more.
#[kernel]
pub fn gain(h: Slow) -> Slow {
    let (c, cwnd, t) = (h.c, h.ask.cwnd, h.target);
    let c: Cubic = c;
    let most = bits::<32>(MAX_CWND);
    let mut m = h;
    if h.st == SlowState::Target {
        m.target = if h.is_below { sub_limited(c.origin, t) } else { min32(c.origin + t, most) };
        m.st = SlowState::Half;
    } else if h.st == SlowState::Half {
        m.target = min32(t, cwnd + (cwnd >> bits::<1>(1)));
        m.st = SlowState::Gain;
    } else if h.st == SlowState::Gain {
        if t > cwnd {
            m = product(h, bit_cast::<36, 32>(cwnd), bit_cast::<64, 16>(h.ask.smss), 16, SlowState::Per);
            m.target = t - cwnd;
        } else {
            m.x.word = !bits::<64>(0);
            m.st = SlowState::Store;
        }
    } else {
        let word = cat::<64, _>((h.x.rest.get_bits::<32>(0), h.x.word.get_bits::<16>(48), bits::<16>(0)));
        m = quotient(h, word, bit_cast::<36, 32>(t), 48, SlowState::Store);
    }
    m
}

/// Bytes for a segment more, at the end; the slowest growth is a segment for 32 windows.
#[kernel]
pub fn per_increment(h: Slow) -> Bits<32> {
    let cwnd = h.ask.cwnd;
    let slowest = if cwnd.get_bits::<5>(27).any() { !bits::<32>(0) } else { cwnd << bits::<3>(5) };
    let is_large = h.x.word.get_bits::<16>(32).any();
    if is_large {
        slowest
    } else {
        min32(h.x.word.get_bits::<32>(0), slowest)
    }
}
