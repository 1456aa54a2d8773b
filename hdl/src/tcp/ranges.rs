//! Sorted, disjoint, non-touching ranges of sequence space: out-of-order data (RFC 2018).
//!
//! Pure kernel functions; the same results as `chimney_host_stack_core::ranges`, except that of the order
//! of recency only the newest is kept (`recent`): the first SACK block is right, the others follow by
//! position. `start = end` means empty; used entries come first.
//!
//! All of them lie within the receive window, which is small: so their low bits say all ([`near`], [`far`]).

use super::window::MAX_WINDOW;
use crate::prelude::*;
use chimney_abi::desc::OOO_RANGES;

/// Bits that say where in a window a number lies, and which of two is ahead.
pub const NEAR: usize = 18;
const _: () = assert!(MAX_WINDOW < (1 << (NEAR - 1)));
/// The others.
const FAR: usize = 32 - NEAR;

/// A sequence number as ranges have it.
#[kernel]
pub fn near(seq: Bits<32>) -> Bits<NEAR> {
    seq.get_bits::<NEAR>(0)
}

/// The sequence number that is meant, which lies less than half of [`NEAR`] bits ahead of RCV.NXT.
#[kernel]
pub fn far(x: Bits<NEAR>, nxt: Bits<32>) -> Bits<32> {
    let high = nxt.get_bits::<FAR>(NEAR);
    let wraps = nxt.get_bit(NEAR - 1) && !x.get_bit(NEAR - 1);
    cat::<32, _>((if wraps { high + 1 } else { high }, x))
}

/// `a` is before `b`.
#[kernel]
pub fn before(a: Bits<NEAR>, b: Bits<NEAR>) -> bool {
    (a - b).get_bit(NEAR - 1)
}

/// `[start, end)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct SeqRange {
    /// First byte.
    pub start: Bits<NEAR>,
    /// One past the last byte.
    pub end: Bits<NEAR>,
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

/// `l` lies in front of `r`, with a gap.
#[kernel]
fn in_front(l: SeqRange, r: SeqRange) -> bool {
    l.start != l.end && before(l.end, r.start)
}

/// Both share a byte or are neighbours; the first one is not empty.
#[kernel]
pub fn touches(a: SeqRange, b: SeqRange) -> bool {
    a.start != a.end && !before(a.end, b.start) && !before(b.end, a.start)
}

/// All of `r` is there already; it is not empty.
#[kernel]
pub fn covers(l: Ranges, r: SeqRange) -> bool {
    let list = [l.r0, l.r1, l.r2, l.r3];
    let mut any = false;
    for x in list {
        if x.start != x.end && !before(r.start, x.start) && !before(x.end, r.end) {
            any = true;
        }
    }
    any
}

/// No more room for a range that touches none of the others.
#[kernel]
pub fn is_full_for(l: Ranges, r: SeqRange) -> bool {
    l.r3.start != l.r3.end && !touches(l.r0, r) && !touches(l.r1, r) && !touches(l.r2, r) && !touches(l.r3, r)
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

/// `range`, grown to cover the first one that it touches, which is the `place`th, and the last one.
#[kernel]
fn merged(list: [SeqRange; RANGES], hit: [bool; RANGES], place: Bits<3>, range: SeqRange) -> SeqRange {
    let (first, touched) = (place.get_bits::<2>(0), hit[0] || hit[1] || hit[2] || hit[3]);
    let start = select([list[0].start, list[1].start, list[2].start, list[3].start], first);
    let end = if hit[3] {
        list[3].end
    } else if hit[2] {
        list[2].end
    } else if hit[1] {
        list[1].end
    } else {
        list[0].end
    };
    SeqRange {
        start: if touched && before(start, range.start) { start } else { range.start },
        end: if touched && before(range.end, end) { end } else { range.end },
    }
}

/// Adds a range, merging it with every one it touches. Not to be used when [`is_full_for`]; an empty range
/// changes nothing.
#[kernel]
pub fn insert(l: Ranges, range: SeqRange) -> Ranges {
    let list = [l.r0, l.r1, l.r2, l.r3];
    let hit =
        [touches(list[0], range), touches(list[1], range), touches(list[2], range), touches(list[3], range)];
    let place = one_if(in_front(list[0], range))
        + one_if(in_front(list[1], range))
        + one_if(in_front(list[2], range))
        + one_if(in_front(list[3], range));
    let merged = merged(list, hit, place, range);
    // Untouched ranges lie in front of the merged one or behind it, so entry k of the result is an old one,
    // moved by the number of ranges that the merged one replaced.
    let gone = one_if(hit[0]) + one_if(hit[1]) + one_if(hit[2]) + one_if(hit[3]);
    let none = SeqRange { start: bits::<NEAR>(0), end: bits::<NEAR>(0) };
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

/// Without the lowest range: what lies before its end has arrived.
#[kernel]
pub fn remove_first(l: Ranges) -> Ranges {
    let none = SeqRange { start: bits::<NEAR>(0), end: bits::<NEAR>(0) };
    let recent = if l.recent == 0 { l.recent } else { l.recent - 1 };
    Ranges { r0: l.r1, r1: l.r2, r2: l.r3, r3: none, recent }
}

/// One SACK block.
#[kernel]
fn block(r: SeqRange, nxt: Bits<32>) -> Bits<64> {
    cat::<64, _>((far(r.end, nxt), far(r.start, nxt)))
}

/// Text that had arrived before, whole (RFC 2883).
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Again {
    /// There is some.
    pub any: Bit,
    /// First byte.
    pub start: Bits<32>,
    /// One past the last byte.
    pub end: Bits<32>,
}

/// The ranges ahead of `nxt` as SACK blocks, the one that changed last first (RFC 2018 4), at most `max`. Before them all what came again
/// (RFC 2883 4).
#[kernel]
pub fn sack_blocks(l: Ranges, nxt: Bits<32>, max: Bits<3>, again: Again) -> Sack {
    let list = [l.r0, l.r1, l.r2, l.r3];
    let used = one_if(list[0].start != list[0].end)
        + one_if(list[1].start != list[1].end)
        + one_if(list[2].start != list[2].end)
        + one_if(list[3].start != list[3].end);
    let first = select(list, l.recent);
    let second = if l.recent > 0 { list[0] } else { list[1] };
    let third = if l.recent > 1 { list[1] } else { list[2] };
    let fourth = if l.recent > 2 { list[2] } else { list[3] };
    let any = again.any;
    let b0 = if any { cat::<64, _>((again.end, again.start)) } else { block(first, nxt) };
    let b1 = block(if any { first } else { second }, nxt);
    let b2 = block(if any { second } else { third }, nxt);
    let b3 = block(if any { third } else { fourth }, nxt);
    let all = used + any;
    Sack { count: if all < max { all } else { max }, blocks: cat::<256, _>((b3, b2, b1, b0)) }
}

/// The record has room for as many ranges as these functions.
pub const RANGES: usize = OOO_RANGES;
