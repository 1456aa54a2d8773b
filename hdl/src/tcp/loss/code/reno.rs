//! Connections without SACK: NewReno (RFC 6582) with limited transmit (RFC 3042); the decisions of `chimney_host_stack_core::recovery`.
//!
//! Nothing is reported, so there is only the tail: lost up to a mark, and of that sent again up to another. What counts as lost is one segment when recovery
//! begins and with each partial acknowledgment, and all that is in flight after a timeout.

use super::names::*;
use super::window::flight_size;
use super::Places;
use crate::micro::asm::Asm;
use crate::micro::isa::{Join, Op};
use crate::tcp::loss::words::{self as w, fact, input as i, told};

/// An acknowledgment, from where its sums are known.
pub fn acknowledgment(p: &mut Asm, at: &Places) {
    let (moved, first) = (p.label(), p.label());
    p.here(at.unreported);
    p.has(F1, k(fact::FLAG), input(i::FACTS));
    p.mov(WAS, MARKS);
    p.has(F2, MARKS, k(w::FAST));
    p.when(MOVED).jump(moved);
    p.unless(F1).jump(at.holes);
    duplicate(p, at);
    p.jump(first);
    p.here(moved);
    progress(p, at);
    p.here(first);
    p.min(T0, IN_FLIGHT, input(i::SMSS));
    p.before(F1, TAIL_RESENT, TAIL_LOST);
    p.add(T0, T0, UNA);
    // Who goes back already begins again there.
    p.when(F1).later(T0, TAIL_LOST, T0);
    p.mov(TAIL_LOST, T0);
    p.mov(TAIL_RESENT, UNA);
    p.jump(at.holes);
}

/// A duplicate. In recovery it is a segment that left the network (RFC 5681 3.2 (4)). RFC 6582 3.2 (2), 4: none begins twice for one window of data, which
/// SND.UNA has to be beyond; the recovery point of phase Open may be a mark's, which no loss needs. Goes on if one begins.
fn duplicate(p: &mut Asm, at: &Places) {
    p.not_equal(F1, DUPS, k(255 << w::TOP));
    p.when(F1).add(DUPS, DUPS, k(1 << w::TOP));
    p.when(F2).add(state(w::CWND), state(w::CWND), input(i::SMSS));
    p.equal(F1, state(w::RECOVER), UNA);
    p.compare(Join::AndNot, Op::Has, F1, MARKS, k(w::NO_LOSS));
    p.compare(Join::Or, Op::Less, F1, DUPS, input(i::THRESHOLD_TOP));
    p.compare(Join::Or, Op::Has, F1, MARKS, k(w::FAST | w::RTO));
    p.mov(T0, input(i::SMSS));
    p.when(F1).jump(at.holes);
    // Limited transmit sent two segments at most.
    p.add(T1, T0, T0);
    p.sub_limited(FLIGHT, IN_FLIGHT, T1);
    flight_size(p, IN_FLIGHT);
    p.or(TOLD, TOLD, k(told::REDUCED | told::ENTERED));
    p.and_not(MARKS, MARKS, k(w::NO_LOSS));
    p.call(at.reduce);
    p.or(MARKS, MARKS, k(w::FAST));
    // Three segments have left the network (RFC 5681 3.2 (3)).
    p.mov(T0, input(i::SMSS));
    p.add(T1, T0, T0);
    p.add(T1, T1, T0);
    p.add(state(w::CWND), state(w::SSTHRESH), T1);
}

/// SND.UNA moved. [`F2`]: in fast recovery, which ends without a burst (RFC 6582 3.2 (3), option 1), or the window deflates by what was acknowledged, and
/// what begins at SND.UNA is lost too. Goes on in that case.
fn progress(p: &mut Asm, at: &Places) {
    let partial = p.label();
    p.mov(T0, state(w::RECOVER));
    p.before(F1, UNA, T0);
    p.mov(T0, input(i::SMSS));
    p.unless(F1).and_not(MARKS, MARKS, k(w::FAST | w::RTO));
    p.unless(F2).jump(at.holes);
    p.when(F1).jump(partial);
    p.max(T1, T0, IN_FLIGHT);
    p.add(T1, T1, T0);
    p.min(state(w::CWND), state(w::SSTHRESH), T1);
    // A segment that was to be sent again is not any more.
    p.add(T1, T0, input(i::FROM));
    p.not_before(F1, T1, TAIL_LOST);
    p.compare(Join::And, Op::Equal, F1, state(w::TAIL_RESENT), input(i::FROM));
    p.when(F1).mov(TAIL_LOST, UNA);
    p.jump(at.holes);
    p.here(partial);
    p.sub_limited(T1, state(w::CWND), NEW_BYTES);
    p.less(F1, NEW_BYTES, T0);
    p.unless(F1).add(T1, T1, T0);
    p.max(state(w::CWND), T1, T0);
}

/// What is in flight is known: the window grows, unless it was fast recovery's.
pub fn grow(p: &mut Asm, at: &Places) {
    p.here(at.grow);
    p.has(F1, WAS, k(w::RTO));
    p.has(F2, WAS, k(w::FAST));
    p.unless(MOVED).jump(at.echo);
    p.when(F2).jump(at.echo);
    p.when(F1).jump(at.rto);
    p.jump(at.open);
}

/// How much may be in flight ([`LIMIT`]): without SACK up to two segments more before recovery begins (RFC 3042 2).
pub fn limit(p: &mut Asm) {
    p.has_not(F1, k(fact::SACK), input(i::FACTS));
    p.mov(LIMIT, state(w::CWND));
    p.compare(Join::AndNot, Op::Has, F1, MARKS, k(w::FAST | w::RTO));
    p.compare(Join::AndNot, Op::Equal, F1, DUPS, k(0));
    p.when(F1).add(LIMIT, LIMIT, input(i::SMSS));
    p.compare(Join::AndNot, Op::Equal, F1, DUPS, k(1 << w::TOP));
    p.when(F1).add(LIMIT, LIMIT, input(i::SMSS));
}
