//! The answer is put together, and the record is written.

use super::names::*;
use super::{reno, Places};
use crate::micro::asm::{Asm, Loc};
use crate::micro::isa::{Join, Op};
use crate::tcp::loss::tlp::{MAX_ACK_DELAY_US, MIN_PTO_US};
use crate::tcp::loss::words::{self as w, fact, input as i, output, told};

/// A number of microseconds.
fn us(value: u64) -> u32 {
    u32::try_from(value).expect("at most an hour")
}

/// All that follows from the window and the holes.
pub fn answer(p: &mut Asm, at: &Places) {
    p.here(at.answer);
    reno::limit(p);
    lost(p);
    timer(p);
    edges(p);
    store(p);
    p.end();
}

/// The first lost bytes that were not sent again, at most a segment, and whether the window has room for them.
fn lost(p: &mut Asm) {
    p.sub(T0, FIRST_END, FIRST);
    p.min(T0, T0, input(i::SMSS));
    p.mov(Loc::Output(output::LOST), FIRST);
    p.mov(Loc::Output(output::LOST_LEN), T0);
    p.not_equal(F1, T0, k(0));
    p.add(T1, PIPE, T0);
    p.when(F1).or(TOLD, TOLD, k(told::HAS_LOST));
    p.not_less(F1, LIMIT, T1);
    p.compare(Join::Or, Op::Equal, F1, PIPE, k(0));
    // Without SACK the segment at SND.UNA goes whatever is in flight.
    p.has_not(F2, k(fact::SACK), input(i::FACTS));
    p.compare(Join::And, Op::Equal, F2, FIRST, UNA);
    p.when(F2).equal(F1, k(0), k(0));
    p.when(F1).or(TOLD, TOLD, k(told::HAS_ROOM));
}

/// One timer: it waits for reordered segments, for a probe, or is a timeout.
fn timer(p: &mut Asm) {
    let (plain, done) = (p.label(), p.label());
    p.has_not(F1, MARKS, k(w::FAST | w::RTO | w::PROBED));
    p.compare(Join::AndNot, Op::Has, F1, RANGES, range(0));
    p.compare(Join::And, Op::Has, F1, k(fact::SACK), input(i::FACTS));
    // F2: the connection is calm: also nothing is lost that was sent again and is not acknowledged yet; without SACK no duplicate
    // came.
    p.has_not(F2, MARKS, k(w::FAST | w::RTO | w::PROBED));
    p.compare(Join::AndNot, Op::Has, F2, RANGES, range(0));
    p.compare(Join::And, Op::Equal, F2, TAIL, k(0));
    p.has(F3, k(fact::SACK), input(i::FACTS));
    p.compare(Join::Or, Op::Equal, F3, DUPS, k(0));
    p.unless(F3).clear(F2);
    p.mov(T0, input(i::RTO));
    p.when(F2).or(TOLD, TOLD, k(told::CALM));
    p.when(F1).or(TOLD, TOLD, k(told::MAY_PROBE));
    p.compare(Join::AndNot, Op::Equal, F1, k(0), input(i::SRTT));
    p.when(WAITS).min(T0, T0, WAIT);
    p.when(WAITS).or(TOLD, TOLD, k(told::REORDER));
    p.when(WAITS).jump(done);
    p.unless(F1).jump(plain);
    // RFC 8985 7.2: two round trips, and the delay of an acknowledgment if no more than a segment is in flight.
    p.mov(T1, input(i::SRTT));
    p.add_limited(T1, T1, T1);
    p.max(T1, T1, k(us(MIN_PTO_US)));
    p.mov(T2, input(i::SMSS));
    p.less(F2, T2, IN_FLIGHT);
    p.unless(F2).add_limited(T1, T1, k(us(MAX_ACK_DELAY_US)));
    // In the place of the timeout, if it would come after that.
    p.min(T0, T0, T1);
    p.or(TOLD, TOLD, k(told::PROBE));
    p.here(plain);
    p.here(done);
    p.mov(Loc::Output(output::TIMER), T0);
    p.mov(Loc::Output(output::TOLD), TOLD);
}

/// How far new text may go.
fn edges(p: &mut Asm) {
    p.sub_limited(T0, LIMIT, PIPE);
    p.add(Loc::Output(output::EDGE), MAX, T0);
    // The last reduction holds until SND.UNA is beyond it.
    p.before(F1, state(w::RECOVER), UNA);
    p.when(F1).and_not(MARKS, MARKS, k(w::REDUCED));
}

/// The record. What is an output too is written to both.
fn store(p: &mut Asm) {
    let done = p.label();
    p.and_not(MARKS, MARKS, k(w::RANGES));
    p.or(Loc::Both(w::MARKS), MARKS, RANGES);
    p.has(F1, RANGES, range(0));
    p.or(Loc::Both(w::XMIT), XMIT, DUPS);
    p.or(state(w::RTT), RTT, PERSIST);
    p.mov(state(w::TAIL_RESENT), TAIL_RESENT);
    p.mov(state(w::TAIL_US), TAIL_US);
    p.mov(state(w::TAIL_LOST), TAIL_LOST);
    for word in [w::OLD_MIN, w::CWND, w::SSTHRESH, w::ACKED, w::RECOVER] {
        p.mov(Loc::Output(word), state(word));
    }
    for n in 0..4 {
        p.unless(F1).jump(done);
        p.mov(state(w::start(n)), start(n));
        p.mov(state(w::end(n)), end(n));
        if n < 3 {
            p.has(F1, RANGES, range(n + 1));
        }
        p.mov(state(w::resent(n)), resent(n));
        p.mov(state(w::resent_us(n)), resent_us(n));
    }
    p.here(done);
}
