//! How the ranges change: SND.UNA moves, blocks come.
//!
//! A *lane* is a range and the hole below it. Lanes are in order. All that depends on where a block belongs is there once for each place.

use super::names::*;
use super::Places;
use crate::micro::asm::{Asm, Label};
use crate::micro::isa::{Join, Op};
use crate::tcp::loss::words::{self as w, fact, input as i};

/// Lane `to` becomes what lane `from` is.
fn copy(p: &mut Asm, to: u8, from: u8) {
    p.mov(start(to), start(from));
    p.mov(end(to), end(from));
    p.mov(resent(to), resent(from));
    p.mov(resent_us(to), resent_us(from));
}

/// SND.UNA moves: what lies below goes. An acknowledgment inside a range: the peer had less than it reported, and nothing is missing below.
pub fn una(p: &mut Asm, at: &Places) {
    let (next, raise, done) = (p.label(), p.label(), p.label());
    p.not_equal(MOVED, UNA, input(i::FROM));
    p.sub(T0, MAX, input(i::FROM));
    p.sub_limited(FLIGHT, T0, BEFORE);
    p.mov(KEPT, BEFORE);
    p.later(TAIL_RESENT, state(w::TAIL_RESENT), UNA);
    p.later(TAIL_LOST, state(w::TAIL_LOST), UNA);
    p.unless(MOVED).jump(done);
    p.here(next);
    p.has_not(F2, RANGES, range(0));
    p.before(F3, UNA, end(0));
    p.when(F2).jump(done);
    p.when(F3).jump(raise);
    p.sub(T0, end(0), start(0));
    p.sub(KEPT, KEPT, T0);
    p.call(at.close[0]);
    p.jump(next);
    p.here(raise);
    p.later(T0, start(0), UNA);
    p.sub(T1, T0, start(0));
    p.sub(KEPT, KEPT, T1);
    p.mov(start(0), T0);
    p.here(done);
}

/// A lane goes, those above move down; comes back.
pub fn close(p: &mut Asm, at: &Places) {
    let done = p.label();
    for n in 0..4 {
        p.here(at.close[usize::from(n)]);
        if n < 3 {
            p.has_not(F2, RANGES, range(n + 1));
            p.mov(resent(n), resent(n + 1));
            p.when(F2).jump(done);
            p.mov(start(n), start(n + 1));
            p.mov(end(n), end(n + 1));
            p.mov(resent_us(n), resent_us(n + 1));
        }
    }
    p.here(done);
    p.right(RANGES, RANGES, 1);
    p.and(RANGES, RANGES, k(w::RANGES));
    p.back();
}

/// The blocks, one after the other.
pub fn blocks(p: &mut Asm, at: &Places) {
    let (put, next, done) = (p.label(), p.label(), p.label());
    let places: [Label; 4] = std::array::from_fn(|_| p.label());
    p.clear(DSACK);
    for n in 0..4u8 {
        p.here(places[usize::from(n)]);
        p.has_not(F1, k(fact::BLOCK << n), input(i::FACTS));
        p.mov(BLOCK_START, input(i::BLOCKS + 2 * n));
        p.when(F1).jump(done);
        p.mov(BLOCK_END, input(i::BLOCKS + 2 * n + 1));
        if n == 0 {
            dsack(p);
        }
        p.mov(BLOCKS, k(n.into()));
        if n < 3 {
            p.jump(put);
        }
    }
    p.here(put);
    take(p, at, next);
    p.here(next);
    p.has_not(F3, k(fact::BLOCK << 1), input(i::FACTS));
    p.equal(F1, BLOCKS, k(0));
    p.when(F3).jump(done);
    p.equal(F2, BLOCKS, k(1));
    p.equal(F3, BLOCKS, k(2));
    p.when(F1).jump(places[1]);
    p.when(F2).jump(places[2]);
    p.when(F3).jump(places[3]);
    p.here(done);
}

/// RFC 2883 4: the first block reports bytes that arrived twice, below SND.UNA or inside the second block.
fn dsack(p: &mut Asm) {
    p.before(DSACK, BLOCK_START, BLOCK_END);
    p.not_before(F1, UNA, BLOCK_END);
    p.has(F2, k(fact::BLOCK << 1), input(i::FACTS));
    p.mov(T0, input(i::BLOCKS + 3));
    p.compare(Join::AndNot, Op::Before, F2, BLOCK_START, input(i::BLOCKS + 2));
    p.compare(Join::AndNot, Op::Before, F2, T0, BLOCK_END);
    p.when(F2).equal(F1, k(0), k(0));
    p.unless(F1).clear(DSACK);
}

/// A block: is it believed, and where does it belong? By distance from SND.UNA: three pairs in order on the circle would not say that all
/// three are.
fn take(p: &mut Asm, at: &Places, next: Label) {
    p.sub(T0, BLOCK_START, UNA);
    p.sub(T1, BLOCK_END, UNA);
    p.less(F1, T0, T1);
    p.compare(Join::AndNot, Op::Less, F1, IN_FLIGHT, T1);
    p.compare(Join::AndNot, Op::Equal, F1, T0, k(0));
    p.has_not(F2, RANGES, range(0));
    p.before(F3, end(0), BLOCK_START);
    p.unless(F1).jump(next);
    for n in 0..4 {
        let (append, above) = (p.label(), p.label());
        if n > 0 {
            p.has_not(F2, RANGES, range(n));
            p.before(F3, end(n), BLOCK_START);
        }
        p.before(F1, BLOCK_END, start(n));
        p.when(F2).jump(append);
        p.when(F3).jump(above);
        let merge = p.label();
        p.unless(F1).jump(merge);
        insert(p, n);
        p.jump(next);
        p.here(merge);
        touch(p, at, n);
        p.jump(next);
        p.here(append);
        put(p, n);
        p.jump(next);
        p.here(above);
    }
    // Above four: the second from the top is forgotten, and the hole above it becomes part of the one below.
    p.mov(start(3), BLOCK_START);
    p.mov(end(3), BLOCK_END);
}

/// Above all: lane `n`, whose hole was the tail. What is left of that has its own mark.
fn put(p: &mut Asm, n: u8) {
    p.add(RANGES, RANGES, RANGES);
    p.or(RANGES, RANGES, range(0));
    p.mov(start(n), BLOCK_START);
    p.mov(end(n), BLOCK_END);
    p.before(F1, TAIL_LOST, BLOCK_START);
    p.mov(resent(n), TAIL_RESENT);
    // Nothing of the tail was lost, so nothing was sent again: the time is an older one's.
    p.before(F2, if n == 0 { UNA } else { end(n - 1) }, TAIL_LOST);
    p.and(resent_us(n), TAIL_US, k(w::TIME));
    p.unless(F2).mov(resent_us(n), k(0));
    p.unless(F1).or(resent_us(n), resent_us(n), k(w::LOST));
}

/// In the middle of hole `n`: both parts keep what is known of it. In a full scoreboard the second range from the top goes, and the hole
/// above it becomes part of the one below: of the highest lane the range stays. Right below that one: as if forgotten at once.
fn insert(p: &mut Asm, n: u8) {
    if n == 3 {
        return;
    }
    p.has_not(F1, RANGES, range(3));
    p.mov(resent(3), resent(2));
    p.mov(resent_us(3), resent_us(2));
    p.when(F1).mov(start(3), start(2));
    p.when(F1).mov(end(3), end(2));
    p.when(F1).add(RANGES, RANGES, RANGES);
    p.or(RANGES, RANGES, range(0));
    for below in (n..2).rev() {
        copy(p, below + 1, below);
    }
    p.mov(start(n), BLOCK_START);
    p.mov(end(n), BLOCK_END);
}

/// It touches lane `n`: that one keeps the lowest hole, and takes in those above that it touches too.
fn touch(p: &mut Asm, at: &Places, n: u8) {
    let done = p.label();
    p.earlier(start(n), start(n), BLOCK_START);
    if n < 3 {
        let more = p.label();
        p.here(more);
        p.has_not(F2, RANGES, range(n + 1));
        p.before(F1, BLOCK_END, start(n + 1));
        p.when(F2).jump(done);
        p.when(F1).jump(done);
        p.mov(end(n), end(n + 1));
        p.call(at.close[usize::from(n) + 1]);
        p.jump(more);
    }
    p.here(done);
    p.later(end(n), end(n), BLOCK_END);
}

/// Bytes in all ranges, the highest of them, and what the acknowledgment says in sum. Lanes that are not in use hold nothing: they end where
/// they begin, at SND.MAX.
pub fn sums(p: &mut Asm, at: &Places) {
    let done: [Label; 4] = std::array::from_fn(|_| p.label());
    let over = p.label();
    p.has(F1, RANGES, range(0));
    p.mov(SACKED, k(0));
    p.mov(HIGHEST, UNA);
    for n in 0..4 {
        p.unless(F1).jump(done[usize::from(n)]);
        if n < 3 {
            p.has(F1, RANGES, range(n + 1));
        }
        p.sub(T0, end(n), start(n));
        p.mov(HIGHEST, end(n));
        p.add(SACKED, SACKED, T0);
    }
    p.jump(over);
    for n in 0..4 {
        p.here(done[usize::from(n)]);
        p.mov(start(n), MAX);
        p.mov(end(n), MAX);
    }
    p.here(over);
    // Forgotten ranges make the difference too small, never too large.
    p.sub(T0, UNA, input(i::FROM));
    p.has(F3, k(fact::SACK), input(i::FACTS));
    p.add(T0, T0, SACKED);
    p.sub_limited(NEW_BYTES, T0, BEFORE);
    // RFC 6675: a duplicate is what reports something new.
    p.less(F1, KEPT, SACKED);
    p.not_equal(F2, DUPS, k(255 << w::TOP));
    p.when(F1).or(TOLD, TOLD, k(w::told::NEWS));
    p.when(MOVED).or(TOLD, TOLD, k(w::told::NEWS | w::told::MOVED));
    p.compare(Join::And, Op::Less, F2, KEPT, SACKED);
    p.when(F2).add(DUPS, DUPS, k(1 << w::TOP));
    p.when(MOVED).mov(DUPS, k(0));
    p.unless(F3).jump(at.unreported);
}
