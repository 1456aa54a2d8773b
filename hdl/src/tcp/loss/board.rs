//! The sender's SACK scoreboard (RFC 2018, RFC 6675), as `chimney_host_stack_core::scoreboard`: one function per clock.
//!
//! A *lane* is a reported range and the hole below it; the tail is what lies above all ranges. Lanes are sorted, `len` of
//! them are used. 575 bits.
//!
//! ```text
//!   lanes     how they change: a range goes, a block comes, ..      (super::lanes)
//!   meet, judge_old   what was delivered: an old lane against the new board, one lane per clock
//!   clamp, in_pipe, open   what is in flight and what is to be sent again: one lane per clock
//! ```

use crate::prelude::*;
use crate::tcp::ranges::SeqRange;
use crate::tcp::seq::{after, at_or_before, before, later};

/// Bits of a [`Board`].
pub const BOARD: usize = 4 * 121 + 88 + 3;

/// A reported range and the hole below it.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Lane {
    /// First byte reported: the end of the hole.
    pub start: Bits<32>,
    /// One past the last byte reported.
    pub end: Bits<32>,
    /// One past the last byte of the hole that was sent again; before its start: nothing was.
    pub rxt_end: Bits<32>,
    /// When the last of it was sent again.
    pub rxt_us: Bits<24>,
    /// The first transmission of the hole counts as lost.
    pub is_lost: Bit,
}

/// What lies above all ranges.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Tail {
    /// As in [`Lane`].
    pub rxt_end: Bits<32>,
    /// As in [`Lane`].
    pub rxt_us: Bits<24>,
    /// It is lost up to here.
    pub lost_to: Bits<32>,
}

/// The scoreboard of one connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Board {
    /// The lowest lane.
    pub l0: Lane,
    /// Second.
    pub l1: Lane,
    /// Third.
    pub l2: Lane,
    /// Highest.
    pub l3: Lane,
    /// Above them.
    pub tail: Tail,
    /// Lanes in use.
    pub len: Bits<3>,
}

/// Nothing reported, nothing lost.
#[kernel]
pub fn new(una: Bits<32>) -> Board {
    let lane = Lane { rxt_end: una, ..Lane::default() };
    let tail = Tail { rxt_end: una, lost_to: una, ..Tail::default() };
    Board { l0: lane, l1: lane, l2: lane, l3: lane, tail, ..Board::default() }
}

/// SND.UNA moved: of what lies above all ranges. Old numbers must not come back after half of the sequence space.
#[kernel]
pub fn risen(t: Tail, una: Bits<32>) -> Tail {
    Tail { rxt_end: later(t.rxt_end, una), rxt_us: t.rxt_us, lost_to: later(t.lost_to, una) }
}

/// A block is believed that lies above SND.UNA, and below SND.MAX, `flight` bytes from there; by distance, for three pairs in
/// order on the circle would not say that all three are.
#[kernel]
pub fn is_sane(r: SeqRange, una: Bits<32>, flight: Bits<32>) -> bool {
    let (from, to) = (r.start - una, r.end - una);
    from != 0 && from < to && to <= flight
}

/// RFC 2883 4: the first block reports bytes that arrived twice, below `ack` or inside the second block.
#[kernel]
pub fn is_dsack(first: SeqRange, second: SeqRange, count: Bits<3>, ack: Bits<32>) -> bool {
    let inside = count > 1 && at_or_before(second.start, first.start) && at_or_before(first.end, second.end);
    count > 0 && before(first.start, first.end) && (at_or_before(first.end, ack) || inside)
}

/// Hole `i` with its bounds: `start` up to `end`, which is SND.MAX for the tail.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Hole {
    /// First byte.
    pub start: Bits<32>,
    /// One past the last byte.
    pub end: Bits<32>,
    /// As in [`Lane`].
    pub rxt_end: Bits<32>,
    /// As in [`Lane`].
    pub rxt_us: Bits<24>,
    /// As in [`Lane`]; the tail: as far as `lost_to`.
    pub is_lost: Bit,
    /// It lies above all ranges.
    pub is_tail: Bit,
}

/// Hole `i`, at most `len`.
#[kernel]
pub fn hole(b: Board, i: Bits<3>, una: Bits<32>, max: Bits<32>) -> Hole {
    let l = select([b.l0, b.l1, b.l2, b.l3], i);
    let is_tail = i == b.len;
    Hole {
        start: select([una, b.l0.end, b.l1.end, b.l2.end, b.l3.end], i),
        end: if is_tail { max } else { l.start },
        rxt_end: if is_tail { b.tail.rxt_end } else { l.rxt_end },
        rxt_us: if is_tail { b.tail.rxt_us } else { l.rxt_us },
        is_lost: !is_tail && l.is_lost,
        is_tail,
    }
}

/// What is reported or acknowledged now at the ends of an old hole.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Met {
    /// Something of it was sent again: `at` is one past the last byte of that, else the end of the hole.
    pub is_resent: Bit,
    /// See there.
    pub at: Bits<32>,
    /// Its first byte.
    pub start: Bits<32>,
    /// When it was sent again.
    pub rxt_us: Bits<24>,
    /// The hole has no end.
    pub is_tail: Bit,
    /// All that is known was sent again, or `highest` does not lie in the tail.
    pub is_first: Bit,
}

/// First clock for an old hole: how much of it was sent again. `highest` is the highest byte reported or acknowledged
/// now. RFC 8985 6.2 step 2 wants the times of what was delivered.
#[kernel]
pub fn meet(h: Hole, highest: Bits<32>) -> Met {
    let is_beyond = !h.is_tail && after(h.rxt_end, h.end);
    let is_resent = after(h.rxt_end, h.start) && (h.is_tail || after(h.end, h.start));
    let covers = is_resent && at_or_before(highest, h.rxt_end);
    Met {
        is_resent,
        at: if is_beyond || !is_resent { h.end } else { h.rxt_end },
        start: h.start,
        rxt_us: h.rxt_us,
        is_tail: h.is_tail,
        is_first: h.is_tail && after(highest, h.start) && !covers,
    }
}

/// The byte at `seq` is in `l`.
#[kernel]
fn holds(l: Lane, seq: Bits<32>) -> bool {
    at_or_before(l.start, seq) && before(seq, l.end)
}

/// The byte before `end` is in `l`.
#[kernel]
fn holds_last(l: Lane, end: Bits<32>) -> bool {
    before(l.start, end) && at_or_before(end, l.end)
}

/// What one old hole says.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct News {
    /// What was sent again of it has arrived; sent at `rxt_us`.
    pub is_resent: Bit,
    /// See there.
    pub rxt_us: Bits<24>,
    /// It arrived without having been sent again.
    pub is_reordered: Bit,
    /// See [`Met`].
    pub is_first: Bit,
}

/// Second clock for an old hole: which of it has arrived. `now` is the board after the acknowledgment.
#[kernel]
pub fn judge_old(m: Met, now: Board, una: Bits<32>) -> News {
    let has_first = before(m.start, una)
        || now.len > 0 && holds(now.l0, m.start)
        || now.len > 1 && holds(now.l1, m.start)
        || now.len > 2 && holds(now.l2, m.start)
        || now.len > 3 && holds(now.l3, m.start);
    let has_last = at_or_before(m.at, una)
        || now.len > 0 && holds_last(now.l0, m.at)
        || now.len > 1 && holds_last(now.l1, m.at)
        || now.len > 2 && holds_last(now.l2, m.at)
        || now.len > 3 && holds_last(now.l3, m.at);
    News {
        is_resent: m.is_resent && has_last,
        rxt_us: m.rxt_us,
        is_reordered: !m.is_resent && !m.is_tail && (has_first || has_last),
        is_first: m.is_first,
    }
}

/// Third clock: all old holes together; of what was sent again, the one that was sent last.
#[kernel]
pub fn gather(all: News, one: News) -> News {
    let is_later = !(one.rxt_us - all.rxt_us).get_bit(23);
    News {
        is_resent: all.is_resent || one.is_resent,
        rxt_us: if one.is_resent && (is_later || !all.is_resent) { one.rxt_us } else { all.rxt_us },
        is_reordered: all.is_reordered || one.is_reordered,
        is_first: all.is_first || one.is_first,
    }
}

/// A value between two others: `lo` to `at` and `at` to `hi`.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Part {
    /// Lower bound.
    pub lo: Bits<32>,
    /// The value.
    pub at: Bits<32>,
    /// Upper bound.
    pub hi: Bits<32>,
    /// `at` is not `hi`.
    pub is_open: Bit,
}

/// `v`, limited to `lo` up to `hi`.
#[kernel]
pub fn clamp(v: Bits<32>, lo: Bits<32>, hi: Bits<32>) -> Part {
    let (is_above, is_below) = (after(v, lo), after(hi, v));
    let at = if !is_below {
        hi
    } else if !is_above {
        lo
    } else {
        v
    };
    Part { lo, at, hi, is_open: is_below && after(hi, lo) }
}

/// How far a hole was sent again, if it is lost; all of it, if not: `lo` to `at` is in flight (RFC 6675 4).
#[kernel]
pub fn resent_part(h: Hole) -> Part {
    let p = clamp(h.rxt_end, h.start, h.end);
    Part { lo: p.lo, at: if h.is_lost { p.at } else { h.end }, hi: p.hi, is_open: h.is_lost && p.is_open }
}
