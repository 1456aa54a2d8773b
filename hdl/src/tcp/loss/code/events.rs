//! Events that are no acknowledgments. They end where the holes are looked at: nothing is judged, but what is in flight is counted.

use super::names::*;
use super::window::flight_size;
use super::Places;
use crate::micro::asm::Asm;
use crate::micro::isa::{Join, Op};
use crate::tcp::loss::words::{self as w, fact, input as i, told};

/// Bytes of the initial window, of segments that are not large.
const INITIAL: u32 = 14_600;

/// The choice, and each of them.
pub fn events(p: &mut Asm, at: &Places) {
    let (rto, handed_over, resend, opened) = (p.label(), p.label(), p.label(), p.label());
    let rest = p.label();
    p.here(at.event);
    p.has(F1, k(fact::RESEND), input(i::FACTS));
    p.has(F2, k(fact::RTO), input(i::FACTS));
    p.has(F3, k(fact::HANDED_OVER), input(i::FACTS));
    p.mov(TAIL_RESENT, state(w::TAIL_RESENT));
    p.mov(TAIL_LOST, state(w::TAIL_LOST));
    p.when(F1).jump(resend);
    p.has(F1, k(fact::OPENED), input(i::FACTS));
    p.when(F2).jump(rto);
    p.when(F3).jump(handed_over);
    p.has(F2, k(fact::RESTED), input(i::FACTS));
    p.when(F1).jump(opened);
    p.when(F2).jump(rest);
    probed(p, at);
    p.here(resend);
    sent_again(p, at);
    p.here(rto);
    timed_out(p, at);
    p.here(opened);
    forget(p);
    p.jump(at.holes);
    p.here(rest);
    rested(p, at);
    p.here(handed_over);
    hand_over(p, at);
}

/// RFC 5681 4.1: after a pause the window must be earned again, from the initial one on (RFC 6928); with CUBIC in a new epoch.
fn rested(p: &mut Asm, at: &Places) {
    p.mov(T0, input(i::SMSS));
    p.add(T0, T0, T0);
    p.add(T1, T0, T0);
    p.add(T1, T1, T1);
    p.add(T1, T1, T0);
    p.max(T0, T0, k(INITIAL));
    p.min(T0, T0, T1);
    p.min(state(w::CWND), T0, state(w::CWND));
    p.mov(state(w::ACKED), k(0));
    p.has(F1, k(fact::CUBIC), input(i::FACTS));
    p.when(F1).call(at.epoch);
    p.jump(at.holes);
}

/// A probe was sent.
fn probed(p: &mut Asm, at: &Places) {
    p.has(F1, k(fact::FLAG), input(i::FACTS));
    p.and_not(MARKS, MARKS, k(w::PROBE_RESENT));
    p.or(MARKS, MARKS, k(w::PROBED));
    p.when(F1).or(MARKS, MARKS, k(w::PROBE_RESENT));
    p.mov(state(w::PROBE_END), MAX);
    p.jump(at.holes);
}

/// Something was sent again, of the lowest hole that ends above it, or of the tail; [`MARKS`] tell whether PRR counts it.
fn sent_again(p: &mut Asm, at: &Places) {
    let (done, tail) = (p.label(), p.label());
    p.mov(T0, input(i::FROM));
    p.mov(T1, input(i::TO));
    p.has(F2, MARKS, k(w::FAST));
    p.sub(T2, T1, T0);
    p.equal(F3, T0, UNA);
    p.when(F2).add_limited(state(w::OUT), state(w::OUT), T2);
    p.when(F3).or(TOLD, TOLD, k(told::MOVED));
    p.and(T3, NOW, k(w::TIME));
    for n in 0..4 {
        let above = p.label();
        p.has_not(F1, RANGES, range(n));
        p.before(F2, T0, start(n));
        p.when(F1).jump(tail);
        p.unless(F2).jump(above);
        p.mov(resent(n), T1);
        p.and(resent_us(n), resent_us(n), k(w::LOST));
        p.or(resent_us(n), resent_us(n), T3);
        p.jump(done);
        p.here(above);
    }
    p.here(tail);
    p.mov(TAIL_RESENT, T1);
    p.and_not(TAIL_US, TAIL_US, k(w::TIME));
    p.or(TAIL_US, TAIL_US, T3);
    p.here(done);
    p.jump(at.holes);
}

/// Nothing is reported, everything is lost.
fn forget(p: &mut Asm) {
    p.mov(RANGES, k(0));
    p.mov(TAIL_RESENT, UNA);
    p.and_not(TAIL_US, TAIL_US, k(w::TIME));
    p.mov(TAIL_LOST, MAX);
}

/// The retransmission timer fired. RFC 5681 3.1 (7): the window falls once for each loss; with SACK a recovery that fails has reduced it already.
/// Without progress the peer may have reneged, and if it has reported the byte at SND.UNA it has (RFC 2018 8): nothing is reported then. Else all that was
/// not reported is lost, also what was sent again.
fn timed_out(p: &mut Asm, at: &Places) {
    let reneged = p.label();
    p.has(F1, k(fact::FLAG), input(i::FACTS));
    p.has(F2, k(fact::SACK), input(i::FACTS));
    p.sub_limited(FLIGHT, IN_FLIGHT, BEFORE);
    p.when(F2).compare(Join::AndNot, Op::Has, F1, MARKS, k(w::FAST | w::RTO));
    // RFC 9438 4.8: with or without a reduction it ends CUBIC's epoch.
    p.has(F3, k(fact::CUBIC), input(i::FACTS));
    p.when(F1).clear(F3);
    flight_size(p, IN_FLIGHT);
    p.when(F1).call(at.reduce);
    p.when(F3).call(at.epoch);
    p.has_not(F2, k(fact::FLAG), input(i::FACTS));
    p.has_not(F1, RANGES, range(0));
    p.compare(Join::Or, Op::Before, F1, UNA, start(0));
    p.unless(F1).equal(F2, k(0), k(0));
    p.and_not(MARKS, MARKS, k(w::FAST | w::PROBED | w::PROBE_RESENT | w::NO_LOSS));
    p.or(MARKS, MARKS, k(w::RTO | w::REDUCED));
    p.mov(state(w::PROBE_END), k(0));
    p.mov(state(w::CWND), input(i::SMSS));
    p.mov(state(w::ACKED), k(0));
    p.mov(state(w::RECOVER), MAX);
    p.mov(DUPS, k(0));
    p.when(F2).jump(reneged);
    for n in 0..4 {
        p.mov(resent(n), UNA);
        p.or(resent_us(n), resent_us(n), k(w::LOST));
    }
    p.mov(TAIL_RESENT, UNA);
    p.mov(TAIL_LOST, MAX);
    p.jump(at.holes);
    p.here(reneged);
    forget(p);
    p.jump(at.holes);
}

/// A connection that was not calm: what is to be sent again is lost, or at least its first segment.
fn hand_over(p: &mut Asm, at: &Places) {
    let (nothing, done) = (p.label(), p.label());
    p.mov(TAIL_RESENT, UNA);
    p.mov(T0, input(i::FROM));
    p.before(F1, T0, MAX);
    p.before(F2, UNA, T0);
    p.unless(F1).jump(nothing);
    p.mov(TAIL_LOST, MAX);
    p.when(F2).mov(TAIL_RESENT, T0);
    p.when(F2).and(TAIL_US, NOW, k(w::TIME));
    p.jump(done);
    p.here(nothing);
    p.has(F1, k(fact::FLAG), input(i::FACTS));
    p.min(T0, IN_FLIGHT, input(i::SMSS));
    p.mov(TAIL_LOST, UNA);
    p.when(F1).add(TAIL_LOST, UNA, T0);
    p.here(done);
    p.has(F2, MARKS, k(w::FAST | w::RTO));
    p.has(F1, MARKS, k(w::FAST));
    p.when(F2).and_not(MARKS, MARKS, k(w::NO_LOSS));
    p.mov(FLIGHT, IN_FLIGHT);
    p.when(F1).call(at.divide);
    p.jump(at.holes);
}
