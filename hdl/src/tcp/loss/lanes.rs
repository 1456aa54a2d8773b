//! How the lanes of the scoreboard change: every clock each of them keeps its place, moves by one, or takes a word that is the same
//! for all. What the word is, and who takes it, is a [`LaneStep`]; so a lane costs two multiplexers, whatever happens to it.
//!
//! ```text
//!   SND.UNA moved   while is_gone: gone, a lane goes;   then raised
//!   a SACK block    place   put   while some are left to merge: closed, a lane goes
//!   a timeout       all_lost              something sent again   resent
//! ```
//! A lane's `rxt_end` may lie below its hole: then nothing of the hole was sent again. The walk through the holes raises it at
//! every event, so it is never old enough to come back after half of the sequence space.

use super::board::{Board, Lane};
use crate::prelude::*;
use crate::tcp::ranges::SeqRange;
use crate::tcp::seq::{after, at_or_after, at_or_before, before, earlier, later};

/// What becomes of the lanes in a clock; bit i stands for lane i.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct LaneStep {
    /// Lanes move down, one goes; not set: up, there is a new one.
    pub is_down: Bit,
    /// Ranges that move.
    pub ranges: Bits<4>,
    /// Holes that move.
    pub holes: Bits<4>,
    /// Ranges that become `range`.
    pub range_in: Bits<4>,
    /// See there.
    pub range: SeqRange,
    /// Holes that were sent again up to `rxt_end`.
    pub end_in: Bits<4>,
    /// See there.
    pub rxt_end: Bits<32>,
    /// Holes that were sent again at `rxt_us`.
    pub us_in: Bits<4>,
    /// See there.
    pub rxt_us: Bits<24>,
    /// Holes whose mark becomes `is_lost`.
    pub lost_in: Bits<4>,
    /// See there.
    pub is_lost: Bit,
}

/// A lane; `from` is the one that moves here.
#[kernel]
fn moved(own: Lane, from: Lane, s: LaneStep, i: usize) -> Lane {
    let (range, hole) = (s.ranges.get_bit(i), s.holes.get_bit(i));
    let range_in = s.range_in.get_bit(i);
    let held = Lane {
        start: if range { from.start } else { own.start },
        end: if range { from.end } else { own.end },
        rxt_end: if hole { from.rxt_end } else { own.rxt_end },
        rxt_us: if hole { from.rxt_us } else { own.rxt_us },
        is_lost: if hole { from.is_lost } else { own.is_lost },
    };
    Lane {
        start: if range_in { s.range.start } else { held.start },
        end: if range_in { s.range.end } else { held.end },
        rxt_end: if s.end_in.get_bit(i) { s.rxt_end } else { held.rxt_end },
        rxt_us: if s.us_in.get_bit(i) { s.rxt_us } else { held.rxt_us },
        is_lost: if s.lost_in.get_bit(i) { s.is_lost } else { held.is_lost },
    }
}

/// The lanes after a clock. Moving down, the highest takes anything: it is not in use then.
#[kernel]
pub fn step(b: Board, s: LaneStep) -> Board {
    Board {
        l0: moved(b.l0, b.l1, s, 0),
        l1: moved(b.l1, if s.is_down { b.l2 } else { b.l0 }, s, 1),
        l2: moved(b.l2, if s.is_down { b.l3 } else { b.l1 }, s, 2),
        l3: moved(b.l3, b.l2, s, 3),
        ..b
    }
}

/// SND.UNA moved past the lowest range.
#[kernel]
pub fn is_gone(b: Board, una: Bits<32>) -> bool {
    b.len > 0 && at_or_before(b.l0.end, una)
}

/// The lowest lane goes.
#[kernel]
pub fn gone() -> LaneStep {
    let all = bits::<4>(15);
    LaneStep { is_down: true, ranges: all, holes: all, ..LaneStep::default() }
}

/// An acknowledgment inside the lowest range: the peer had less than it reported. Nothing is missing below.
#[kernel]
pub fn raised(b: Board, una: Bits<32>) -> LaneStep {
    LaneStep {
        range_in: bits::<4>(1),
        range: SeqRange { start: later(b.l0.start, una), end: b.l0.end },
        ..LaneStep::default()
    }
}

/// Where a block belongs.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Place {
    /// Lanes below it.
    pub below: Bits<4>,
    /// Lanes that it touches, one above the other; later: that are left to merge.
    pub touched: Bits<4>,
    /// It lies above all lanes.
    pub is_top: Bit,
}

/// First clock of a block.
#[kernel]
pub fn place(b: Board, r: SeqRange) -> Place {
    let b0 = b.len > 0 && before(b.l0.end, r.start);
    let b1 = b.len > 1 && before(b.l1.end, r.start);
    let b2 = b.len > 2 && before(b.l2.end, r.start);
    let b3 = b.len > 3 && before(b.l3.end, r.start);
    let t0 = b.len > 0 && at_or_before(b.l0.start, r.end);
    let t1 = b.len > 1 && at_or_before(b.l1.start, r.end);
    let t2 = b.len > 2 && at_or_before(b.l2.start, r.end);
    let t3 = b.len > 3 && at_or_before(b.l3.start, r.end);
    let below = cat::<4, _>((b3, b2, b1, b0));
    let low = (b.len < 1 || b0) && (b.len < 2 || b1);
    let high = (b.len < 3 || b2) && (b.len < 4 || b3);
    Place { below, touched: cat::<4, _>((t3, t2, t1, t0)) & !below, is_top: low && high }
}

/// One of four words, by a set bit; none: 0.
#[kernel]
fn chosen(words: [Bits<32>; 4], which: Bits<4>) -> Bits<32> {
    let none = bits::<32>(0);
    let w0 = if which.get_bit(0) { words[0] } else { none };
    let w1 = if which.get_bit(1) { words[1] } else { none };
    let w2 = if which.get_bit(2) { words[2] } else { none };
    let w3 = if which.get_bit(3) { words[3] } else { none };
    w0 | w1 | (w2 | w3)
}

/// Second clock of a block: what it touches becomes one with it, and keeps the lowest hole; else it is a new range in the
/// middle of a hole, and both parts keep what is known of that. In a full board the second range from the top is
/// forgotten, and the hole above it becomes part of the one below.
#[kernel]
pub fn put(b: Board, p: Place, r: SeqRange) -> LaneStep {
    let (one, is_full) = (bits::<1>(1), b.len == 4);
    let touches = p.touched.any();
    // The lowest that is not below; what is below is below all that follows.
    let at = !p.below & cat::<4, _>((p.below.get_bits::<3>(0), one));
    let last = p.touched & !(p.touched >> bits::<1>(1));
    let start = chosen([b.l0.start, b.l1.start, b.l2.start, b.l3.start], at);
    let end = chosen([b.l0.end, b.l1.end, b.l2.end, b.l3.end], last);
    let merged = SeqRange { start: earlier(start, r.start), end: later(end, r.end) };
    let above = !p.below & !at;
    let top = bits::<4>(8);
    // Full, and the block belongs right below the highest range: that is as if it had been forgotten at once.
    let is_lost_at_once = is_full && at.get_bit(3);
    let none = bits::<4>(0);
    let range_at = if is_full && p.is_top {
        top
    } else if is_lost_at_once {
        none
    } else {
        at
    };
    let new_hole = if p.is_top && !is_full { at } else { none };
    LaneStep {
        is_down: false,
        ranges: if touches {
            none
        } else if is_full {
            above & !top
        } else {
            above
        },
        holes: if touches { none } else { above },
        range_in: if touches { at } else { range_at },
        range: if touches { merged } else { r },
        end_in: new_hole,
        rxt_end: b.tail.rxt_end,
        us_in: new_hole,
        rxt_us: b.tail.rxt_us,
        lost_in: new_hole,
        // The tail has its own mark.
        is_lost: at_or_after(b.tail.lost_to, r.start),
    }
}

/// Lanes after [`put`].
#[kernel]
pub fn len_put(b: Board, p: Place) -> Bits<3> {
    if p.touched.any() || b.len == 4 {
        b.len
    } else {
        b.len + 1
    }
}

/// The lanes left to merge after [`put`]; after [`closed`] it is one less.
#[kernel]
pub fn left_to_merge(p: Place) -> Bits<4> {
    p.touched & (p.touched << bits::<1>(1))
}

/// One that was merged goes, the lowest of `left`.
#[kernel]
pub fn closed(left: Bits<4>) -> LaneStep {
    let two = left | (left << bits::<1>(1));
    let from = two | (two << bits::<2>(2));
    LaneStep { is_down: true, ranges: from, holes: from, ..LaneStep::default() }
}

/// See [`left_to_merge`].
#[kernel]
pub fn less_one(left: Bits<4>) -> Bits<4> {
    left & (left >> bits::<1>(1))
}

/// A timeout: everything that was not reported counts as lost, also what was sent again (RFC 5681 3.1 (7)).
#[kernel]
pub fn all_lost(una: Bits<32>) -> LaneStep {
    let all = bits::<4>(15);
    LaneStep { end_in: all, rxt_end: una, lost_in: all, is_lost: true, ..LaneStep::default() }
}

/// The hole of `seq`: the lowest lane that lies above; none: the tail.
#[kernel]
pub fn hole_of(b: Board, seq: Bits<32>) -> Bits<4> {
    let a0 = b.len > 0 && after(b.l0.start, seq);
    let a1 = b.len > 1 && after(b.l1.start, seq);
    let a2 = b.len > 2 && after(b.l2.start, seq);
    let a3 = b.len > 3 && after(b.l3.start, seq);
    cat::<4, _>((a3 && !a2, a2 && !a1, a1 && !a0, a0))
}

/// What lies in hole `at` was sent again up to `end`.
#[kernel]
pub fn resent(at: Bits<4>, end: Bits<32>, now: Bits<24>) -> LaneStep {
    LaneStep { end_in: at, rxt_end: end, us_in: at, rxt_us: now, ..LaneStep::default() }
}
