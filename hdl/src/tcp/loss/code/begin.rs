//! A job begins: a first one makes the record, then what is needed of it becomes registers.

use super::names::*;
use super::Places;
use crate::micro::asm::Asm;
use crate::tcp::loss::words::{self as w, fact, input as i};

/// From the start to where acknowledgments go on.
pub fn begin(p: &mut Asm, at: &Places) {
    p.has(F1, k(fact::FIRST), input(i::FACTS));
    p.mov(UNA, input(i::UNA));
    p.mov(MAX, input(i::MAX));
    p.sub(IN_FLIGHT, MAX, UNA);
    p.if_(F1, first);
    p.mov(MARKS, state(w::MARKS));
    p.has(ACK, k(fact::ACK), input(i::FACTS));
    p.has(F2, MARKS, k(w::FAST));
    p.has(F1, MARKS, range(0));
    // PRR: text goes while nothing is asked, in the phase that the last answer had.
    p.when(F2).add_limited(state(w::OUT), state(w::OUT), input(i::SENT));
    p.and(XMIT, state(w::XMIT), k(w::TIME));
    p.and_not(DUPS, state(w::XMIT), k(w::TIME));
    p.and(RTT, state(w::RTT), k(w::TIME));
    p.and_not(PERSIST, state(w::RTT), k(w::TIME));
    p.mov(NOW, input(i::NOW));
    p.mov(TAIL_US, state(w::TAIL_US));
    p.and(RANGES, MARKS, k(w::RANGES));
    p.mov(TOLD, k(0));
    p.clear(FOUND);
    lanes(p);
    p.unless(ACK).jump(at.event);
}

/// The record of a connection that was calm: what was learnt of the path stays, times are old. A round counts as long as its end is in
/// flight. If the record was another's, nothing stays, and a recovery that is over keeps none from beginning.
fn first(p: &mut Asm) {
    p.has(F3, k(fact::FRESH), input(i::FACTS));
    p.and(T0, state(w::MARKS), k(w::RATE | w::HAS_ROUND | w::REORDERED | w::NO_LOSS));
    p.sub(T1, state(w::ROUND), UNA);
    p.less(F2, IN_FLIGHT, T1);
    p.when(F2).and_not(T0, T0, k(w::HAS_ROUND));
    p.when(F3).mov(T0, k(w::NO_LOSS));
    p.or(state(w::MARKS), T0, input(i::MARKS));
    p.mov(state(w::XMIT), input(i::DUP_ACKS));
    p.and_not(state(w::RTT), state(w::RTT), k(w::TIME));
    p.when(F3).mov(state(w::RTT), k(0));
    p.mov(state(w::MIN), k(0));
    p.mov(state(w::OLD_MIN), input(i::EPOCH));
    p.and_not(state(w::TAIL_US), state(w::TAIL_US), k(w::TIME));
    p.when(F3).mov(state(w::TAIL_US), k(0));
    p.when(F3).mov(state(w::ROUND), k(0));
    p.when(F3).mov(state(w::DELIVERED), k(0));
    p.when(F3).mov(state(w::OUT), k(0));
    p.mov(state(w::TAIL_RESENT), input(i::FROM));
    p.mov(state(w::TAIL_LOST), input(i::FROM));
    p.mov(state(w::PROBE_END), k(0));
    p.mov(state(w::CWND), input(i::CWND));
    p.mov(state(w::SSTHRESH), input(i::SSTHRESH));
    p.mov(state(w::ACKED), input(i::ACKED));
    p.mov(state(w::RECOVER), input(i::RECOVER));
}

/// The ranges become registers, and their bytes are counted. [`F1`]: there is one.
fn lanes(p: &mut Asm) {
    let done = p.label();
    p.mov(BEFORE, k(0));
    for n in 0..4 {
        p.unless(F1).jump(done);
        p.mov(start(n), state(w::start(n)));
        p.mov(end(n), state(w::end(n)));
        p.mov(resent(n), state(w::resent(n)));
        if n < 3 {
            p.has(F1, MARKS, range(n + 1));
        }
        p.mov(resent_us(n), state(w::resent_us(n)));
        p.sub(T0, end(n), start(n));
        p.add(BEFORE, BEFORE, T0);
    }
    p.here(done);
}
