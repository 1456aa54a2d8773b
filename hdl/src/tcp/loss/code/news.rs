//! What an acknowledgment says of times: round trips, duplicates, the probe; what was delivered, and when that had been sent.

use super::names::*;
use crate::micro::asm::{Asm, Label, Loc};
use crate::micro::isa::{Join, Op};
use crate::tcp::loss::words::{self as w, fact, input as i};

/// A round trip, and a DSACK.
pub fn times(p: &mut Asm) {
    p.has(F1, k(fact::HAS_RTT), input(i::FACTS));
    p.mov(WAS, MARKS);
    p.if_(F1, round_trip);
    p.if_(DSACK, duplicate);
}

/// A round trip was measured: the smallest of this window of 2^24 us, and of the one before.
fn round_trip(p: &mut Asm) {
    p.mov(T0, input(i::RTT_US));
    p.min(T0, T0, k(w::TIME));
    p.max(T0, T0, k(1));
    p.has(F1, k(fact::ODD), input(i::FACTS));
    p.mov(T1, k(0));
    p.when(F1).mov(T1, k(w::ODD));
    p.and(T2, MARKS, k(w::ODD));
    p.not_equal(F3, T1, T2);
    p.and_not(MARKS, MARKS, k(w::ODD));
    p.or(MARKS, MARKS, T1);
    p.less(F1, state(w::MIN), T0);
    p.compare(Join::AndNot, Op::Equal, F1, state(w::MIN), k(0));
    p.when(F3).clear(F1);
    p.and_not(T1, state(w::OLD_MIN), k(w::TIME));
    p.when(F3).or(state(w::OLD_MIN), state(w::MIN), T1);
    p.unless(F1).mov(state(w::MIN), T0);
}

/// RFC 8985 6.2 step 4: once per round trip a DSACK widens the reordering window.
fn duplicate(p: &mut Asm) {
    p.mov(T0, state(w::ROUND));
    p.has(F1, MARKS, k(w::HAS_ROUND));
    p.compare(Join::And, Op::Before, F1, UNA, T0);
    p.if_not(F1, |p| {
        p.and(T1, TAIL_US, k(w::EXTRA));
        p.not_equal(F1, T1, k(w::EXTRA));
        p.when(F1).add(TAIL_US, TAIL_US, k(1 << w::TOP));
        p.mov(PERSIST, k(16 << w::TOP));
        p.or(MARKS, MARKS, k(w::HAS_ROUND));
        p.mov(state(w::ROUND), MAX);
    });
}

/// RFC 8985 7.4.2: the probe's episode is over, and perhaps it repaired a loss.
pub fn probe(p: &mut Asm) {
    let done = p.label();
    p.has(F1, MARKS, k(w::PROBED));
    p.mov(T0, state(w::PROBE_END));
    p.unless(F1).jump(done);
    p.before(F1, UNA, T0);
    p.before(F2, T0, UNA);
    p.when(F1).jump(done);
    p.has_not(F3, MARKS, k(w::PROBE_RESENT));
    p.when(DSACK).equal(F3, k(0), k(0));
    p.has(F1, k(fact::FLAG), input(i::FACTS));
    p.compare(Join::AndNot, Op::Has, F1, k(fact::BLOCK), input(i::FACTS));
    p.when(F2).equal(F1, k(0), k(0));
    p.when(F3).equal(F1, k(0), k(0));
    p.when(F3).clear(F2);
    p.when(F1).and_not(MARKS, MARKS, k(w::PROBED));
    p.when(F2).or(TOLD, TOLD, k(w::told::REPAIRED));
    p.here(done);
}

/// RFC 9937 6: a recovery is over, the window ends at the threshold.
pub fn leave(p: &mut Asm) {
    let done = p.label();
    p.has(F1, MARKS, k(w::FAST | w::RTO));
    p.has(F2, MARKS, k(w::FAST));
    p.mov(T0, state(w::RECOVER));
    p.compare(Join::AndNot, Op::Before, F1, UNA, T0);
    p.unless(MOVED).clear(F1);
    p.mov(NEWS, k(0));
    p.unless(F1).jump(done);
    p.when(F2).mov(state(w::CWND), state(w::SSTHRESH));
    p.and_not(MARKS, MARKS, k(w::FAST | w::RTO));
    // RFC 8985 6.2 step 4: after 16 recoveries the reordering window shrinks.
    p.not_equal(F1, PERSIST, k(0));
    p.when(F1).sub(PERSIST, PERSIST, k(1 << w::TOP));
    p.equal(F1, PERSIST, k(0));
    p.when(F1).and_not(TAIL_US, TAIL_US, k(w::EXTRA));
    p.here(done);
}

/// What was delivered: the holes as they were, against the ranges as they are. RFC 8985 6.2 step 2 wants the times.
pub fn delivered(p: &mut Asm) {
    let tail = p.label();
    p.has(F1, state(w::MARKS), range(0));
    p.mov(NEWS_US, k(0));
    p.mov(HOLE, input(i::FROM));
    for n in 0..4 {
        p.unless(F1).jump(tail);
        old_hole(p, n);
        if n < 3 {
            p.has(F1, state(w::MARKS), range(n + 1));
        }
        p.mov(HOLE, state(w::end(n)));
    }
    p.here(tail);
    old_tail(p);
    first_sent(p);
    sent_again(p);
}

/// [`F2`]: the byte before [`AT`] is acknowledged or reported.
fn is_last_there(p: &mut Asm) {
    p.not_before(F2, UNA, AT);
    for n in 0..4 {
        p.before(F3, start(n), AT);
        p.when(F3).compare(Join::OrNot, Op::Before, F2, end(n), AT);
    }
}

/// Something that was sent again was delivered; of several, what was sent last counts. `us`: when.
fn gather(p: &mut Asm, us: Loc, done: Label) {
    // No news yet, or these are older.
    p.has_not(F1, NEWS, k(IS_RESENT));
    p.mov(T0, us);
    p.compare(Join::OrNot, Op::Before24, F1, T0, NEWS_US);
    p.or(NEWS, NEWS, k(IS_RESENT));
    p.when(F1).and(NEWS_US, T0, k(w::TIME));
    p.jump(done);
}

/// An old hole: what was sent again of it has arrived, or it has without.
fn old_hole(p: &mut Asm, n: u8) {
    let (resent, done) = (p.label(), p.label());
    p.mov(HOLE_END, state(w::start(n)));
    p.earlier(AT, state(w::resent(n)), HOLE_END);
    p.before(F1, HOLE, AT);
    p.unless(F1).mov(AT, HOLE_END);
    is_last_there(p);
    p.when(F1).jump(resent);
    // Its first byte.
    p.compare(Join::Or, Op::Before, F2, HOLE, UNA);
    for lane in 0..4 {
        p.before(F3, HOLE, end(lane));
        p.when(F3).compare(Join::OrNot, Op::Before, F2, HOLE, start(lane));
    }
    // RFC 8985 6.2 step 3: nothing of it was ever sent again.
    p.compare(Join::AndNot, Op::Has, F2, state(w::resent_us(n)), k(w::TIME));
    p.when(F2).or(NEWS, NEWS, k(IS_REORDERED));
    p.jump(done);
    p.here(resent);
    p.unless(F2).jump(done);
    gather(p, state(w::resent_us(n)), done);
    p.here(done);
}

/// The tail as it was; [`HOLE`]: where it began.
fn old_tail(p: &mut Asm) {
    let done = p.label();
    p.mov(AT, state(w::TAIL_RESENT));
    p.before(F2, HOLE, HIGHEST);
    p.before(F1, HOLE, AT);
    p.when(F2).or(NEWS, NEWS, k(IS_FIRST));
    p.unless(F1).jump(done);
    p.before(F1, AT, HIGHEST);
    p.unless(F1).and_not(NEWS, NEWS, k(IS_FIRST));
    is_last_there(p);
    p.unless(F2).jump(done);
    gather(p, state(w::TAIL_US), done);
    p.here(done);
}

/// The highest byte was delivered, and it was sent once: when?
fn first_sent(p: &mut Asm) {
    let done = p.label();
    p.has(F1, NEWS, k(IS_FIRST));
    p.mov(T1, input(i::FLOOR));
    p.unless(F1).jump(done);
    p.before(F2, T1, HIGHEST);
    p.has(F1, k(fact::BURST), input(i::FACTS));
    p.sub(T2, HIGHEST, k(1));
    p.unless(F2).jump(done);
    // The burst of the last byte: it comes before the end of that, and not before that of an older one.
    p.compare(Join::And, Op::Before, F1, T2, input(i::BURST_END));
    p.mov(T0, input(i::BURST_US));
    p.unless(F1).jump(done);
    for n in 1..4 {
        p.has(F1, k(fact::BURST << n), input(i::FACTS));
        p.compare(Join::And, Op::Before, F1, T2, input(i::BURST_END + n));
        p.when(F1).mov(T0, input(i::BURST_US + n));
    }
    p.sub24(T1, NOW, T0);
    counts(p);
    p.here(done);
}

/// RFC 8985 6.2 step 2: a segment sent at [`T0`], [`T1`] ago, was delivered; it counts if it was sent last.
fn counts(p: &mut Asm) {
    p.sub24(T2, NOW, XMIT);
    p.not_less(F2, T2, T1);
    p.compare(Join::Or, Op::Equal, F2, RTT, k(0));
    p.when(F2).mov(XMIT, T0);
    p.when(F2).max(RTT, T1, k(1));
}

/// Something that was sent again was delivered. Too fast: then it was the first transmission that arrived.
fn sent_again(p: &mut Asm) {
    let done = p.label();
    p.has(F1, NEWS, k(IS_RESENT));
    p.has(F2, NEWS, k(IS_REORDERED));
    // Smallest round trip.
    p.and(MIN_RTT, state(w::OLD_MIN), k(w::TIME));
    p.when(F2).or(MARKS, MARKS, k(w::REORDERED));
    p.not_equal(F2, state(w::MIN), k(0));
    p.mov(T2, state(w::MIN));
    p.less(F3, MIN_RTT, T2);
    p.compare(Join::AndNot, Op::Equal, F3, MIN_RTT, k(0));
    p.when(F3).clear(F2);
    p.when(F2).mov(MIN_RTT, T2);
    p.unless(F1).jump(done);
    p.sub24(T1, NOW, NEWS_US);
    p.mov(T0, NEWS_US);
    p.less(F1, T1, MIN_RTT);
    p.sub24(T2, NOW, XMIT);
    p.when(F1).jump(done);
    counts(p);
    p.here(done);
}
