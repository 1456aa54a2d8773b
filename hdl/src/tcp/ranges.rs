//! Sorted, disjoint, non-touching ranges of sequence space: out-of-order data (RFC 2018).
//!
//! Pure kernel functions; the same results as `chimney_host_stack_core::ranges`, except that of the order
//! of recency only the newest is kept (`recent`): the first SACK block is right, the others follow by
//! position. `start = end` means empty; used entries come first.

use super::seq::{after, at_or_before, before, earlier, later};
use crate::prelude::*;
use chimney_abi::desc::OOO_RANGES;

/// `[start, end)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct SeqRange {
    /// First byte.
    pub start: Bits<32>,
    /// One past the last byte.
    pub end: Bits<32>,
}

/// The ranges of one connection, in the order of the record.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Ranges {
    /// Lowest range.
    pub r0: SeqRange,
    /// Second.
    pub r1: SeqRange,
    /// Third.
    pub r2: SeqRange,
    /// Highest.
    pub r3: SeqRange,
    /// Which one changed last.
    pub recent: Bits<2>,
}

/// SACK blocks as a job carries them.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Sack {
    /// Number of blocks.
    pub count: Bits<3>,
    /// Block i in bits 64i+63:64i, left edge in the low half.
    pub blocks: Bits<256>,
}

/// Both share a byte or are neighbours; the first one is not empty.
#[kernel]
pub fn touches(a: SeqRange, b: SeqRange) -> bool {
    a.start != a.end && at_or_before(a.start, b.end) && at_or_before(b.start, a.end)
}

/// No more room for a range that touches none of the others.
#[kernel]
pub fn is_full_for(l: Ranges, r: SeqRange) -> bool {
    l.r3.start != l.r3.end && !touches(l.r0, r) && !touches(l.r1, r) && !touches(l.r2, r) && !touches(l.r3, r)
}

/// The list of an image: the used ones first, sorted, apart from each other and from `nxt`, the next byte expected, none beyond the right edge.
#[kernel]
pub fn is_sound(l: Ranges, nxt: Bits<32>, right: Bits<32>) -> bool {
    let none = SeqRange { start: nxt, end: nxt };
    is_behind(l.r0, none, nxt, right)
        && is_behind(l.r1, l.r0, nxt, right)
        && is_behind(l.r2, l.r1, nxt, right)
        && is_behind(l.r3, l.r2, nxt, right)
        && !(l.r0.start == l.r0.end && l.r1.start != l.r1.end)
        && !(l.r1.start == l.r1.end && l.r2.start != l.r2.end)
        && !(l.r2.start == l.r2.end && l.r3.start != l.r3.end)
}

/// `r` is empty, or in the window and behind `before`, with a gap.
#[kernel]
fn is_behind(r: SeqRange, before: SeqRange, nxt: Bits<32>, right: Bits<32>) -> bool {
    let (start, end) = (r.start - nxt, r.end - nxt);
    r.start == r.end || (before.end - nxt < start && start < end && end <= right - nxt)
}

/// One as three bits.
#[kernel]
fn one_if(c: bool) -> Bits<3> {
    if c {
        bits::<3>(1)
    } else {
        bits::<3>(0)
    }
}

/// `m` grown to cover `r`, if they touch.
#[kernel]
fn absorb(m: SeqRange, r: SeqRange, hit: bool) -> SeqRange {
    if hit {
        SeqRange { start: earlier(m.start, r.start), end: later(m.end, r.end) }
    } else {
        m
    }
}

/// Adds a range, merging it with every one it touches. Not to be used when [`is_full_for`]; an empty range
/// changes nothing.
#[kernel]
pub fn insert(l: Ranges, range: SeqRange) -> Ranges {
    let list = [l.r0, l.r1, l.r2, l.r3];
    let hit =
        [touches(list[0], range), touches(list[1], range), touches(list[2], range), touches(list[3], range)];
    let left = [
        list[0].start != list[0].end && !hit[0] && before(list[0].start, range.start),
        list[1].start != list[1].end && !hit[1] && before(list[1].start, range.start),
        list[2].start != list[2].end && !hit[2] && before(list[2].start, range.start),
        list[3].start != list[3].end && !hit[3] && before(list[3].start, range.start),
    ];
    let merged = absorb(
        absorb(absorb(absorb(range, list[0], hit[0]), list[1], hit[1]), list[2], hit[2]),
        list[3],
        hit[3],
    );
    // Untouched ranges lie in front of the merged one or behind it, so entry k of the result is an old one,
    // moved by the number of ranges that the merged one replaced.
    let place = one_if(left[0]) + one_if(left[1]) + one_if(left[2]) + one_if(left[3]);
    let gone = one_if(hit[0]) + one_if(hit[1]) + one_if(hit[2]) + one_if(hit[3]);
    let none = SeqRange { start: bits::<32>(0), end: bits::<32>(0) };
    let old = [list[0], list[1], list[2], list[3], none, none, none, none];
    if range.start == range.end {
        l
    } else {
        Ranges {
            r0: if place == 0 { merged } else { list[0] },
            r1: if place > 1 {
                list[1]
            } else if place == 1 {
                merged
            } else {
                select(old, gone)
            },
            r2: if place > 2 {
                list[2]
            } else if place == 2 {
                merged
            } else {
                select(old, gone + 1)
            },
            r3: if place > 3 {
                list[3]
            } else if place == 3 {
                merged
            } else {
                select(old, gone + 2)
            },
            recent: bit_cast::<2, 3>(place),
        }
    }
}

/// The part of a range that is not before `seq`.
#[kernel]
fn cut(r: SeqRange, seq: Bits<32>) -> SeqRange {
    SeqRange { start: later(r.start, seq), end: r.end }
}

/// Removes what lies before `seq`.
#[kernel]
pub fn remove_before(l: Ranges, seq: Bits<32>) -> Ranges {
    let list = [l.r0, l.r1, l.r2, l.r3];
    let gone = one_if(list[0].start != list[0].end && !after(list[0].end, seq))
        + one_if(list[1].start != list[1].end && !after(list[1].end, seq))
        + one_if(list[2].start != list[2].end && !after(list[2].end, seq))
        + one_if(list[3].start != list[3].end && !after(list[3].end, seq));
    let none = SeqRange { start: bits::<32>(0), end: bits::<32>(0) };
    let kept = [
        if list[0].start == list[0].end { none } else { cut(list[0], seq) },
        if list[1].start == list[1].end { none } else { cut(list[1], seq) },
        if list[2].start == list[2].end { none } else { cut(list[2], seq) },
        if list[3].start == list[3].end { none } else { cut(list[3], seq) },
        none,
        none,
        none,
        none,
    ];
    let recent = bit_cast::<3, 2>(l.recent);
    Ranges {
        r0: select(kept, gone),
        r1: select(kept, gone + 1),
        r2: select(kept, gone + 2),
        r3: select(kept, gone + 3),
        recent: if recent < gone { bits::<2>(0) } else { bit_cast::<2, 3>(recent - gone) },
    }
}

/// The next number expected once everything before `seq` has arrived; then [`remove_before`] it.
#[kernel]
pub fn contiguous_end(l: Ranges, seq: Bits<32>) -> Bits<32> {
    if l.r0.start != l.r0.end && at_or_before(l.r0.start, seq) {
        later(l.r0.end, seq)
    } else {
        seq
    }
}

/// One SACK block.
#[kernel]
fn block(r: SeqRange) -> Bits<64> {
    cat::<64, _>((r.end, r.start))
}

/// The ranges as SACK blocks, the one that changed last first (RFC 2018 4), at most `max`.
#[kernel]
pub fn sack_blocks(l: Ranges, max: Bits<3>) -> Sack {
    let list = [l.r0, l.r1, l.r2, l.r3];
    let used = one_if(list[0].start != list[0].end)
        + one_if(list[1].start != list[1].end)
        + one_if(list[2].start != list[2].end)
        + one_if(list[3].start != list[3].end);
    let b0 = block(select(list, l.recent));
    let b1 = block(if l.recent > 0 { list[0] } else { list[1] });
    let b2 = block(if l.recent > 1 { list[1] } else { list[2] });
    let b3 = block(if l.recent > 2 { list[2] } else { list[3] });
    Sack { count: if used < max { used } else { max }, blocks: cat::<256, _>((b3, b2, b1, b0)) }
}

/// The record has room for as many ranges as these functions.
pub const RANGES: usize = OOO_RANGES;
