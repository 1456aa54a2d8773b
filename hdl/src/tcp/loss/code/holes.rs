//! What is lost and what is in flight: hole by hole, then the tail (RFC 8985 6.2 step 5, RFC 6675 4).

use super::names::*;
use super::Places;
use crate::micro::asm::{Asm, Label};
use crate::micro::isa::{Join, Op};
use crate::tcp::loss::rack::{FIRST_RTT_US, FIRST_SPACING_US};
use crate::tcp::loss::words::{self as w, fact, input as i};

/// A number of microseconds.
fn us(value: u64) -> u32 {
    u32::try_from(value).expect("at most an hour")
}

/// How long to wait for reordered segments, and when the bursts were sent at the latest. Nobody asks if there is no hole.
pub fn patience(p: &mut Asm, at: &Places) {
    p.has_not(F3, RANGES, range(0));
    p.mov(T0, input(i::THRESHOLD));
    p.mov(WINDOW_US, k(0));
    p.when(F3).jump(at.holes);
    p.mov(SRTT, input(i::SRTT));
    p.min(SRTT, SRTT, k(w::TIME));
    p.right(SPACING, SRTT, 2);
    p.max(SPACING, SPACING, k(us(FIRST_SPACING_US)));
    // In recovery, or DupThresh is reached: then only reordering that was seen is waited for.
    p.has(F2, MARKS, k(w::REORDERED));
    p.sub_limited(T0, T0, k(1));
    p.mul(T0, T0, input(i::SMSS));
    p.less(F1, T0, SACKED);
    p.compare(Join::OrNot, Op::Less, F1, DUPS, input(i::THRESHOLD_TOP));
    p.compare(Join::Or, Op::Has, F1, MARKS, k(w::FAST | w::RTO));
    p.when(F2).clear(F1);
    p.sub(T1, UNA, k(1));
    p.when(F1).jump(at.holes);
    bursts(p);
    reordering_window(p);
    p.add(PATIENCE, RTT, WINDOW_US);
    latest(p);
}

/// The bursts; one that is not there, or lies below SND.UNA, ends below everything ([`T1`]). The newest stays: its end counts.
fn bursts(p: &mut Asm) {
    for n in 0..4 {
        p.has(F2, k(fact::BURST << n), input(i::FACTS));
        if n > 0 {
            p.compare(Join::And, Op::Before, F2, UNA, input(i::BURST_END + n));
        }
        p.mov(burst_end(n), T1);
        p.when(F2).mov(burst_end(n), input(i::BURST_END + n));
    }
}

/// A quarter of the smallest round trip, times what DSACKs made of it, at most the smoothed one.
fn reordering_window(p: &mut Asm) {
    p.equal(F1, SRTT, k(0));
    p.when(F1).mov(SRTT, k(us(FIRST_RTT_US)));
    p.equal(F1, MIN_RTT, k(0));
    p.when(F1).mov(MIN_RTT, SRTT);
    p.right(T0, MIN_RTT, 2);
    p.and(T1, TAIL_US, k(w::EXTRA));
    p.equal(F1, T1, k(0));
    p.if_not(F1, |p| {
        // 22 bits times 5.
        p.right(T1, T1, 24);
        p.add(T1, T1, k(1));
        p.right(T2, T0, 16);
        p.mul(T2, T2, T1);
        p.mul(T0, T0, T1);
        p.mul(T3, T2, k(1 << 16));
        p.add(T0, T0, T3);
    });
    p.min(WINDOW_US, T0, SRTT);
}

/// When the bytes of each burst were sent, at the latest: before the next one began, and not longer than a burst lasts.
fn latest(p: &mut Asm) {
    p.add(burst_latest(0), SPACING, input(i::BURST_US));
    for n in 1..4 {
        p.add(T0, SPACING, input(i::BURST_US + n));
        p.mov(burst_latest(n), input(i::BURST_US + n - 1));
        p.before24(F1, T0, burst_latest(n));
        p.when(F1).mov(burst_latest(n), T0);
    }
}

/// The holes below the ranges.
pub fn holes(p: &mut Asm, at: &Places) {
    let tail = p.label();
    p.here(at.holes);
    p.has(F1, RANGES, range(0));
    p.mov(HOLE, UNA);
    p.mov(PIPE, k(0));
    p.mov(FIRST, k(0));
    p.mov(FIRST_END, k(0));
    p.mov(WAIT, k(0));
    p.clear(WAITS);
    for n in 0..4 {
        p.unless(F1).jump(tail);
        hole(p, n);
        if n < 3 {
            p.has(F1, RANGES, range(n + 1));
        }
        p.mov(HOLE, end(n));
    }
    p.here(tail);
}

/// Hole `n`. What is not lost is in flight, all of it.
fn hole(p: &mut Asm, n: u8) {
    let (lost, part, in_flight, next) = (p.label(), p.label(), p.label(), p.label());
    p.has(F1, resent_us(n), k(w::LOST));
    p.before(F2, HOLE, resent(n));
    p.when(F1).jump(lost);
    p.unless(F2).mov(resent(n), HOLE);
    p.equal(F1, WINDOW_US, k(0));
    p.unless(ACK).jump(in_flight);
    sent_once(p, n);
    p.when(F1).jump(part);
    p.here(in_flight);
    p.sub(T0, start(n), HOLE);
    p.add(PIPE, PIPE, T0);
    p.jump(next);
    p.here(lost);
    sent_again(p, n);
    p.here(part);
    p.before(F2, HOLE, resent(n));
    p.unless(F2).mov(resent(n), HOLE);
    p.earlier(AT, resent(n), start(n));
    p.sub(T0, AT, HOLE);
    p.add(PIPE, PIPE, T0);
    p.equal(F1, FIRST, FIRST_END);
    p.when(F1).mov(FIRST, AT);
    p.when(F1).mov(FIRST_END, start(n));
    p.here(next);
}

/// A hole that was sent once: something above it was delivered, which was sent later. [`F1`]: it is lost, at first because nothing is waited
/// for.
fn sent_once(p: &mut Asm, n: u8) {
    let (lost, waits) = (p.label(), p.label());
    p.when(F1).jump(lost);
    p.mov(T0, NOW);
    for burst in 0..4 {
        p.before(F1, burst_end(burst), start(n));
        p.unless(F1).mov(T0, burst_latest(burst));
    }
    p.sub24(T1, NOW, T0);
    // The end of a burst may still come: then its age is a small negative number.
    p.before24(F2, NOW, T0);
    p.not_less(F1, T1, PATIENCE);
    p.when(F2).clear(F1);
    p.when(F2).or(T1, T1, k(!w::TIME));
    p.when(F1).jump(lost);
    p.equal(WAITS, k(0), k(0));
    p.sub(T1, PATIENCE, T1);
    p.max(WAIT, WAIT, T1);
    p.jump(waits);
    p.here(lost);
    p.or(resent_us(n), resent_us(n), k(w::LOST));
    p.equal(FOUND, k(0), k(0));
    p.here(waits);
}

/// A lost hole, [`F2`]: something of it was sent again. That may be lost too.
fn sent_again(p: &mut Asm, n: u8) {
    let done: Label = p.label();
    p.unless(ACK).jump(done);
    p.compare(Join::And, Op::Before, F2, HOLE, start(n));
    // Something was delivered that was sent later. The mark above the time is not in differences.
    p.sub24(T1, NOW, resent_us(n));
    p.sub24(T2, NOW, XMIT);
    p.unless(F2).jump(done);
    p.less(F2, T2, T1);
    p.compare(Join::AndNot, Op::Equal, F2, RTT, k(0));
    p.not_less(F1, T1, PATIENCE);
    p.compare(Join::Or, Op::Equal, F1, WINDOW_US, k(0));
    p.unless(F2).jump(done);
    p.when(F1).mov(resent(n), HOLE);
    p.when(F1).equal(FOUND, k(0), k(0));
    p.unless(F1).equal(WAITS, k(0), k(0));
    p.sub(T1, PATIENCE, T1);
    p.unless(F1).max(WAIT, WAIT, T1);
    p.here(done);
}

/// What lies above all ranges: lost up to a mark, and of that sent again up to another.
pub fn tail(p: &mut Asm) {
    p.earlier(T0, TAIL_LOST, MAX);
    p.later(T0, T0, HOLE);
    p.sub(T1, MAX, T0);
    p.add(PIPE, PIPE, T1);
    p.sub(TAIL, T0, HOLE);
    p.later(T1, TAIL_RESENT, HOLE);
    p.earlier(T1, T1, T0);
    p.sub(T2, T1, HOLE);
    p.add(PIPE, PIPE, T2);
    p.equal(F1, FIRST, FIRST_END);
    p.when(F1).mov(FIRST, T1);
    p.when(F1).mov(FIRST_END, T0);
}
