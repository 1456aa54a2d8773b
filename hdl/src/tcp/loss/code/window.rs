//! The window: it falls when a recovery begins, is PRR's during one, and grows while all is well.

use super::names::*;
use super::Places;
use crate::micro::asm::{Asm, Loc};
use crate::micro::isa::{Join, Op};
use crate::tcp::cwnd::MAX_CWND;
use crate::tcp::loss::prr::ONE;
use crate::tcp::loss::words::{self as w, fact, input as i, output, told};

/// CUBIC's beta, 16 fraction bits.
pub const BETA: u64 = 45_875;

/// A number of bytes, or a factor.
fn word(value: u64) -> u32 {
    u32::try_from(value).expect("32 bits")
}

/// What follows from losses, or from their absence.
pub fn decide(p: &mut Asm, at: &Places) {
    let enters = p.label();
    p.has(F1, MARKS, k(w::FAST | w::RTO));
    p.has(F2, MARKS, k(w::FAST));
    p.has(F3, k(fact::SACK), input(i::FACTS));
    p.unless(ACK).jump(at.answer);
    p.unless(F3).jump(at.grow);
    p.when(F2).jump(at.fast);
    p.when(F1).jump(at.rto);
    p.has(F1, TOLD, k(told::REPAIRED));
    p.when(FOUND).jump(enters);
    p.unless(F1).jump(at.open);
    // RFC 8985 7.4.2: the loss was repaired before anybody noticed, but it was one.
    p.or(TOLD, TOLD, k(told::REDUCED));
    p.sub(T4, MAX, input(i::FROM));
    flight_size(p, T4);
    p.call(at.reduce);
    p.jump(at.repair);
    p.here(enters);
    // RFC 8985 7.1: what a probe repairs from here on is this loss.
    p.and_not(MARKS, MARKS, k(w::FAST | w::PROBED | w::PROBE_RESENT | w::NO_LOSS));
    p.mov(state(w::PROBE_END), k(0));
    p.or(TOLD, TOLD, k(told::REDUCED | told::ENTERED));
    p.sub(T4, MAX, input(i::FROM));
    flight_size(p, T4);
    p.call(at.reduce);
    p.or(MARKS, MARKS, k(w::FAST));
    p.call(at.divide);
}

/// Fast recovery (RFC 9937): in proportion to what was delivered while more is in flight than the threshold, else as much as was
/// delivered, a segment more when all goes well. The fast retransmit that begins it is a whole segment.
pub fn recover(p: &mut Asm, at: &Places) {
    let (fill, sum) = (p.label(), p.label());
    p.here(at.fast);
    p.add_limited(T0, state(w::DELIVERED), NEW_BYTES);
    p.mov(state(w::DELIVERED), T0);
    p.mov(T1, state(w::SSTHRESH));
    p.less(F1, T1, PIPE);
    p.mov(T2, state(w::OUT));
    p.unless(F1).jump(fill);
    // The product, rounded up.
    p.right(T1, T0, 16);
    p.mul(T1, T1, MARKS);
    p.mul(T0, T0, MARKS);
    p.right(T3, T0, 16);
    p.has(F1, T0, k(0xffff));
    p.add(T1, T1, T3);
    p.when(F1).add(T1, T1, k(1));
    p.sub_limited(T0, T1, T2);
    p.jump(sum);
    p.here(fill);
    p.sub_limited(T0, T0, T2);
    p.max(T0, T0, NEW_BYTES);
    p.equal(F1, k(0), k(0));
    p.unless(MOVED).clear(F1);
    p.when(FOUND).clear(F1);
    p.when(F1).add_limited(T0, T0, input(i::SMSS));
    p.sub(T1, T1, PIPE);
    p.min(T0, T0, T1);
    p.here(sum);
    p.equal(F1, T2, k(0));
    p.when(F1).max(T0, T0, input(i::SMSS));
    p.add(state(w::CWND), PIPE, T0);
    p.jump(at.answer);
}

/// Bytes were delivered while all is well, or after a timeout: the window grows, if it was used (RFC 7661 1). With what ends a recovery it
/// does not.
pub fn grow(p: &mut Asm, at: &Places) {
    let (grows, avoids) = (p.label(), p.label());
    p.here(at.open);
    p.has(F1, WAS, k(w::FAST | w::RTO));
    p.compare(Join::Or, Op::Equal, F1, NEW_BYTES, k(0));
    p.mov(T4, input(i::SMSS));
    p.when(F1).jump(at.echo);
    p.add(T4, T4, T4);
    p.has(F3, k(fact::CUBIC), input(i::FACTS));
    p.jump(grows);
    // RFC 3465 2.3: after a timeout by one segment at most, with SACK whatever is in flight.
    p.here(at.rto);
    p.has(F3, k(fact::SACK), input(i::FACTS));
    p.mov(T4, input(i::SMSS));
    p.when(F3).max(FLIGHT, state(w::CWND), FLIGHT);
    p.clear(F3);
    p.here(grows);
    p.mov(T0, state(w::CWND));
    p.mov(T1, state(w::SSTHRESH));
    p.not_less(F1, T0, T1);
    // Slow start: half of it in flight is used.
    p.sub_limited(T2, T0, FLIGHT);
    p.less(F2, FLIGHT, T2);
    p.when(F1).jump(avoids);
    p.min(T3, NEW_BYTES, T4);
    p.unless(F2).add(T0, T0, T3);
    p.min(state(w::CWND), T0, k(word(MAX_CWND)));
    p.jump(at.echo);
    p.here(avoids);
    avoid(p, at);
}

/// Congestion avoidance: a segment for each window of bytes, or for as many as CUBIC's program says ([`F3`]).
fn avoid(p: &mut Asm, at: &Places) {
    p.mov(T2, input(i::SMSS));
    p.add(T2, T2, T2);
    p.add(T2, T2, FLIGHT);
    p.less(F1, T2, T0);
    p.mov(T4, k(0));
    p.mov(T1, T0);
    p.when(F1).jump(at.echo);
    p.if_(F3, |p| {
        // What was worked out for another epoch says nothing.
        p.and(T3, state(w::OLD_MIN), k(w::EPOCHS));
        p.equal(F2, T3, input(i::GROWTH_EPOCH));
        p.mov(T1, k(u32::MAX));
        p.when(F2).mov(T1, input(i::PER_INCREMENT));
        p.when(F2).mov(T4, input(i::W_EST));
    });
    p.add_limited(T2, state(w::ACKED), NEW_BYTES);
    p.not_less(F1, T2, T1);
    p.when(F1).sub(T2, T2, T1);
    p.when(F1).add(T0, T0, input(i::SMSS));
    p.unless(F3).mov(T1, T0);
    p.min(state(w::ACKED), T2, T1);
    p.min(T0, T0, k(word(MAX_CWND)));
    // RFC 9438 4.3: at least what Reno would have.
    p.max(state(w::CWND), T0, T4);
}

/// The acknowledgment echoes a mark: it counts with what is in flight after it, once for each window of data (RFC 3168 6.1.2).
pub fn echo(p: &mut Asm, at: &Places) {
    p.here(at.echo);
    p.has(F1, k(fact::ECHO), input(i::FACTS));
    p.compare(Join::AndNot, Op::Has, F1, MARKS, k(w::FAST | w::RTO));
    p.has(F2, MARKS, k(w::REDUCED));
    p.compare(Join::AndNot, Op::Before, F2, state(w::RECOVER), UNA);
    p.when(F2).clear(F1);
    p.unless(F1).jump(at.answer);
    p.sub_limited(FLIGHT, IN_FLIGHT, SACKED);
    p.or(TOLD, TOLD, k(told::REDUCED | told::MARKED));
    p.or(MARKS, MARKS, k(w::NO_LOSS));
    flight_size(p, IN_FLIGHT);
    p.call(at.reduce);
    p.here(at.repair);
    p.mov(state(w::CWND), state(w::SSTHRESH));
}

/// [`T4`]: what a reduction is taken from. All that is not acknowledged counts, also what is reported (RFC 6675 5 (4.2)), but not limited transmit, which is
/// what lies beyond the window (RFC 5681 3.2 (2)); at least what is in the network.
pub fn flight_size(p: &mut Asm, outstanding: Loc) {
    p.min(T4, state(w::CWND), outstanding);
    p.max(T4, T4, FLIGHT);
}

/// A congestion event, with [`T4`] in flight: half of it is the threshold, at least two segments (RFC 5681 (4)); with CUBIC
/// seven tenths of the window, of which counts what was in use (RFC 9438 4.6), and a new epoch. Comes back.
pub fn reduce(p: &mut Asm, at: &Places) {
    p.here(at.reduce);
    p.has(F1, k(fact::CUBIC), input(i::FACTS));
    p.mov(T1, input(i::SMSS));
    p.add(T1, T1, T1);
    p.right(T0, T4, 1);
    p.mov(state(w::ACKED), k(0));
    p.mov(state(w::RECOVER), MAX);
    p.or(MARKS, MARKS, k(w::REDUCED));
    p.if_(F1, |p| {
        p.add(T2, T4, T1);
        p.min(T2, state(w::CWND), T2);
        p.mov(Loc::Output(output::PRIOR), T2);
        p.or(TOLD, TOLD, k(told::HAS_PRIOR));
        p.right(T0, T2, 16);
        p.mul(T0, T0, k(word(BETA)));
        p.mul(T3, T2, k(word(BETA)));
        p.right(T3, T3, 16);
        p.add(T0, T0, T3);
    });
    p.max(state(w::SSTHRESH), T0, T1);
    p.unless(F1).back();
    p.here(at.epoch);
    // Modulo 64.
    p.add(T2, state(w::OLD_MIN), k(1 << w::TOP));
    p.and_not(state(w::OLD_MIN), T2, k(1 << (w::TOP + 6)));
    p.back();
}

/// A recovery begins with [`FLIGHT`] in the network: `ssthresh / RecoverFS`, 16 fraction bits, at most 1. Comes back.
pub fn divide(p: &mut Asm, at: &Places) {
    let (more, done) = (p.label(), p.label());
    p.here(at.divide);
    p.mov(T0, state(w::SSTHRESH));
    p.max(T1, FLIGHT, k(1));
    p.not_less(F1, T0, T1);
    p.and_not(MARKS, MARKS, k(w::RATE));
    p.mov(state(w::DELIVERED), k(0));
    p.mov(state(w::OUT), k(0));
    p.mov(T2, k(word(ONE)));
    p.when(F1).jump(done);
    p.mov(T2, k(0));
    p.mov(T3, k(4));
    p.here(more);
    p.sub(T3, T3, k(1));
    for _ in 0..4 {
        // Twice the rest, minus the divisor if that fits: `rest - (divisor - rest)`.
        p.sub(T4, T1, T0);
        p.less(F1, T0, T4);
        p.add(T2, T2, T2);
        p.unless(F1).add(T2, T2, k(1));
        p.unless(F1).sub(T0, T0, T4);
        p.when(F1).add(T0, T0, T0);
    }
    p.equal(F1, T3, k(0));
    p.unless(F1).jump(more);
    p.here(done);
    p.or(MARKS, MARKS, T2);
    p.back();
}
