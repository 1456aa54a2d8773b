//! CUBIC (RFC 9438), as `chimney_host_stack_core::cubic`: the program that answers a question.
//!
//! ```text
//!   begin --+-- a new epoch: prior, epoch, plateau (gap / SMSS / C, its cube root) --+-- time, curve: C (t - K)^3 --> target, gain --> answer
//!           `-- the same: reno, the bytes acknowledged ------------------------------'
//! ```

use super::long::{curve, divide, left, root, APART, BYTES, CUBE, CUBE_LOW, DIVISOR, REST, SMSS, WORD};
use super::long::{C_FACTOR, MOST, ROOT};
use super::names::{input, k, state, F1, F2, F3, T0, T1, T2};
use crate::micro::asm::{Asm, Flag, Label, Loc};
use crate::micro::isa::{Join, Op};
use crate::tcp::loss::row::{self, input as i, K, KNOWN, TIMED_OUT};

/// Where the program begins; the one of loss recovery is in front of it.
pub const ENTRY: usize = 1536;
/// (1 + beta) / 2, 16 fraction bits.
const FAST_CONVERGENCE: u32 = 55_705;
/// Most segments that Reno's window grows by for one question: more would only be a burst.
const MOST_STEPS: u32 = 8;

/// The window.
const CWND: Loc = Loc::Register(9);
/// The window before the last reduction.
const PRIOR: Loc = Loc::Register(10);
/// Reno's window.
const W_EST: Loc = Loc::Register(11);
/// Bytes acknowledged since it grew.
const EST_SUM: Loc = Loc::Register(12);
/// The window before that, and where the plateau is.
const W_MAX: Loc = Loc::Register(13);
/// The slowest growth.
const SLOWEST: Loc = Loc::Register(14);
/// The plateau is yet to come.
const IS_BELOW: Flag = Flag(4);

/// The program.
pub fn cubic(p: &mut Asm) {
    let (same, time, division) = (p.label(), p.label(), p.label());
    p.and_not(T0, state(row::EPOCH), k(K));
    p.mov(CWND, input(i::CWND));
    p.equal(F1, T0, input(i::EPOCH));
    p.mov(SMSS, input(i::SMSS));
    p.mov(PRIOR, state(row::PRIOR));
    p.when(F1).jump(same);
    prior(p);
    epoch(p);
    plateau(p, division);
    p.jump(time);
    p.here(same);
    reno(p);
    p.here(time);
    apart(p);
    curve(p);
    gain(p, division);
    p.end();
    divide(p, division);
}

/// RFC 9438 4.6, 4.7: what the reduction that ended the last epoch means. [`T0`]: the row says something. A window smaller than the one before
/// leaves room for others. 4.8: after a timeout the plateau is here.
fn prior(p: &mut Asm) {
    p.has_not(F1, T0, k(KNOWN));
    p.mov(W_MAX, state(row::W_MAX));
    p.mov(T1, input(i::PRIOR));
    p.when(F1).mov(W_MAX, k(0));
    p.when(F1).mov(PRIOR, k(0));
    p.not_equal(F2, T1, PRIOR);
    p.less(F3, T1, W_MAX);
    p.equal(F1, T1, k(0));
    p.mov(PRIOR, T1);
    p.compare(Join::AndNot, Op::Equal, F3, T1, k(0));
    p.when(F1).mov(W_MAX, k(0));
    p.if_(F2, |p| {
        p.mov(W_MAX, T1);
        p.if_(F3, |p| {
            p.right(T0, T1, 16);
            p.mul(T0, T0, k(FAST_CONVERGENCE));
            p.mul(T1, T1, k(FAST_CONVERGENCE));
            p.right(T1, T1, 16);
            p.add(W_MAX, T0, T1);
        });
    });
    p.has(F1, PRIOR, k(TIMED_OUT));
    p.mov(state(row::PRIOR), PRIOR);
    p.when(F1).mov(W_MAX, CWND);
    p.mov(state(row::W_MAX), W_MAX);
}

/// RFC 9438 4.2, 4.8: congestion avoidance begins.
fn epoch(p: &mut Asm) {
    p.mov(T0, input(i::NOW));
    p.mov(state(row::EPOCH_US), T0);
    p.max(W_MAX, W_MAX, CWND);
    p.mov(state(row::ORIGIN), W_MAX);
    p.mov(W_EST, CWND);
    p.mov(state(row::EST_SUM), k(0));
}

/// K: the cube root of the segments up to the plateau, divided by C. A quotient that is too large stands for the largest K.
fn plateau(p: &mut Asm, division: Label) {
    let done = p.label();
    p.sub(WORD, W_MAX, CWND);
    p.mov(ROOT, k(0));
    p.equal(F1, WORD, k(0));
    p.mov(DIVISOR, SMSS);
    p.right(REST, WORD, 24);
    p.when(F1).jump(done);
    // 8 fraction bits.
    left(p, WORD, 8);
    p.not_less(F1, REST, SMSS);
    p.mov(ROOT, k(K));
    p.when(F1).jump(done);
    p.call(division);
    p.not_less(F1, WORD, k(C_FACTOR << 19));
    p.mov(REST, k(0));
    p.mov(DIVISOR, k(C_FACTOR));
    p.when(F1).jump(done);
    // Its quotient by C has 42 bits, 23 of them fraction: what is left of the first 19 is divided again.
    p.call(division);
    p.mov(CUBE, WORD);
    p.mov(WORD, k(0));
    p.call(division);
    // 2^29 times the first, 2^6 times the upper 23 bits of the second.
    left(p, CUBE, 13);
    p.right(T0, WORD, 1);
    p.right(T0, T0, 2);
    p.right(T1, T0, 16);
    p.add(CUBE, CUBE, T1);
    p.and(CUBE_LOW, T0, k(K & !63));
    root(p);
    p.here(done);
    p.mov(T0, input(i::EPOCH));
    p.or(state(row::EPOCH), T0, ROOT);
}

/// RFC 9438 4.3: what Reno with this beta would have; its own alpha (8 / 15) until the old window is reached, then 1.
fn reno(p: &mut Asm) {
    let (more, done) = (p.label(), p.label());
    p.and_not(PRIOR, PRIOR, k(TIMED_OUT));
    p.mov(W_EST, state(row::W_EST));
    p.add(EST_SUM, state(row::EST_SUM), input(i::CREDIT));
    p.mov(T2, k(MOST_STEPS));
    p.here(more);
    p.right(T0, W_EST, 2);
    p.right(T0, T0, 1);
    p.add(T1, W_EST, W_EST);
    p.less(F1, W_EST, PRIOR);
    p.sub(T1, T1, T0);
    p.unless(F1).mov(T1, W_EST);
    p.less(F1, EST_SUM, T1);
    p.equal(F2, T2, k(0));
    p.when(F1).jump(done);
    p.when(F2).mov(EST_SUM, T1);
    p.when(F2).jump(done);
    p.sub(EST_SUM, EST_SUM, T1);
    p.add(W_EST, W_EST, SMSS);
    p.min(W_EST, W_EST, k(MOST));
    p.sub(T2, T2, k(1));
    p.jump(more);
    p.here(done);
    p.mov(state(row::EST_SUM), EST_SUM);
}

/// How far is the end of the next round trip from the plateau?
fn apart(p: &mut Asm) {
    p.mov(T0, input(i::NOW));
    p.mov(state(row::W_EST), W_EST);
    p.mov(T1, state(row::EPOCH_US));
    p.sub(T0, T0, T1);
    p.add_limited(T0, T0, input(i::SRTT));
    p.min(T0, T0, k(K << 10 | 0x3ff));
    (0..5).for_each(|_| p.right(T0, T0, 2));
    p.and(T1, state(row::EPOCH), k(K));
    p.less(IS_BELOW, T0, T1);
    p.sub(APART, T0, T1);
    p.when(IS_BELOW).sub(APART, T1, T0);
}

/// The window to reach, at most half a window more, and the bytes for a segment more; the slowest growth is a segment for 32 windows.
fn gain(p: &mut Asm, division: Label) {
    let done = p.label();
    p.add(T0, state(row::ORIGIN), BYTES);
    p.min(T0, T0, k(MOST));
    p.when(IS_BELOW).sub_limited(T0, state(row::ORIGIN), BYTES);
    p.right(T1, CWND, 1);
    p.add(T1, T1, CWND);
    p.min(T0, T0, T1);
    p.less(F1, CWND, T0);
    p.sub(DIVISOR, T0, CWND);
    p.mov(SLOWEST, CWND);
    (0..5).for_each(|_| p.add_limited(SLOWEST, SLOWEST, SLOWEST));
    p.mov(T2, SLOWEST);
    p.unless(F1).jump(done);
    // The window times a segment has 46 bits.
    p.mul(WORD, CWND, SMSS);
    p.right(T0, CWND, 16);
    p.mul(T0, T0, SMSS);
    p.mul(T1, T0, k(1 << 16));
    p.right(REST, T0, 16);
    p.add(WORD, WORD, T1);
    p.add_carry(REST, REST, k(0));
    p.not_less(F1, REST, DIVISOR);
    p.when(F1).jump(done);
    p.call(division);
    p.min(T2, WORD, SLOWEST);
    p.here(done);
    p.mov(Loc::Output(row::LEAST), W_EST);
    p.mov(Loc::Output(row::PER_INCREMENT), T2);
}
