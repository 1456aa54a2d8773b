//! The sender's SACK scoreboard (RFC 2018, RFC 6675), as `chimney_host_stack_core::scoreboard`: one function per clock.
//!
//! A *lane* is a reported range and the hole below it; the tail is what lies above all ranges. Lanes are sorted, `len` of
//! them are used. 575 bits.
//!
//! ```text
//!   advance   SND.UNA moved            one clock, all lanes side by side
//!   insert    one SACK block           one clock
//!   meet, judge_old   what was delivered: an old lane against the new board, one lane per clock
//!   clamp, in_pipe, open   what is in flight and what is to be sent again: one lane per clock
//! ```

use crate::prelude::*;
use crate::tcp::ranges::SeqRange;
use crate::tcp::seq::{after, at_or_after, at_or_before, before, earlier, later};

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

/// Number of ones, at most four.
#[kernel]
pub fn ones(a: bool, b: bool, c: bool, d: bool) -> Bits<3> {
    let none = bits::<3>(0);
    none + a + b + c + d
}

/// A lane after SND.UNA moved: old numbers must not come back after half of the sequence space.
#[kernel]
fn risen(l: Lane, una: Bits<32>) -> Lane {
    Lane { rxt_end: later(l.rxt_end, una), ..l }
}

/// SND.UNA moved: forgets what lies below.
#[kernel]
pub fn advance(b: Board, una: Bits<32>) -> Board {
    let gone = ones(
        b.len > 0 && at_or_before(b.l0.end, una),
        b.len > 1 && at_or_before(b.l1.end, una),
        b.len > 2 && at_or_before(b.l2.end, una),
        b.len > 3 && at_or_before(b.l3.end, una),
    );
    // An acknowledgment inside a range: the peer had less than it reported. Nothing is missing below.
    let firsts =
        [later(b.l0.start, una), later(b.l1.start, una), later(b.l2.start, una), later(b.l3.start, una)];
    let lanes = [risen(b.l0, una), risen(b.l1, una), risen(b.l2, una), risen(b.l3, una)];
    let l0 = select(lanes, gone);
    Board {
        l0: Lane { start: select(firsts, gone), ..l0 },
        l1: select([lanes[1], lanes[2], lanes[3], lanes[3]], gone),
        l2: select([lanes[2], lanes[3], lanes[3]], gone),
        l3: lanes[3],
        tail: Tail {
            rxt_end: later(b.tail.rxt_end, una),
            rxt_us: b.tail.rxt_us,
            lost_to: later(b.tail.lost_to, una),
        },
        len: b.len - gone,
    }
}

/// A block is believed that lies above SND.UNA, and below SND.MAX; by distance, for three pairs in order on the circle
/// would not say that all three are.
#[kernel]
pub fn is_sane(r: SeqRange, una: Bits<32>, max: Bits<32>) -> bool {
    let (from, to) = (r.start - una, r.end - una);
    from != 0 && from < to && to <= (max - una)
}

/// RFC 2883 4: the first block reports bytes that arrived twice, below `ack` or inside the second block.
#[kernel]
pub fn is_dsack(first: SeqRange, second: SeqRange, count: Bits<3>, ack: Bits<32>) -> bool {
    let inside = count > 1 && at_or_before(second.start, first.start) && at_or_before(first.end, second.end);
    count > 0 && before(first.start, first.end) && (at_or_before(first.end, ack) || inside)
}

/// Where a block belongs.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
struct Place {
    /// Lanes below it.
    below: Bits<3>,
    /// Lanes it touches.
    touched: Bits<3>,
}

#[kernel]
fn place(b: Board, r: SeqRange) -> Place {
    let b0 = b.len > 0 && before(b.l0.end, r.start);
    let b1 = b.len > 1 && before(b.l1.end, r.start) && b0;
    let b2 = b.len > 2 && before(b.l2.end, r.start) && b1;
    let b3 = b.len > 3 && before(b.l3.end, r.start) && b2;
    let t0 = b.len > 0 && at_or_before(b.l0.start, r.end) && !b0;
    let t1 = b.len > 1 && at_or_before(b.l1.start, r.end) && !b1 && (b0 || t0);
    let t2 = b.len > 2 && at_or_before(b.l2.start, r.end) && !b2 && (b1 || t1);
    let t3 = b.len > 3 && at_or_before(b.l3.start, r.end) && !b3 && (b2 || t2);
    Place { below: ones(b0, b1, b2, b3), touched: ones(t0, t1, t2, t3) }
}

/// Adds a sane block; it merges with every range that it touches.
#[kernel]
pub fn insert(b: Board, r: SeqRange) -> Board {
    let p = place(b, r);
    if p.touched == 0 {
        split(b, r, p.below)
    } else {
        merge(b, r, p.below, p.touched)
    }
}

/// The merged range keeps the lowest hole; those inside are gone.
#[kernel]
fn merge(b: Board, r: SeqRange, at: Bits<3>, touched: Bits<3>) -> Board {
    let lanes = [b.l0, b.l1, b.l2, b.l3];
    let starts = [
        earlier(b.l0.start, r.start),
        earlier(b.l1.start, r.start),
        earlier(b.l2.start, r.start),
        earlier(b.l3.start, r.start),
    ];
    let ends =
        [later(b.l0.end, r.end), later(b.l1.end, r.end), later(b.l2.end, r.end), later(b.l3.end, r.end)];
    let gone = touched - 1;
    let hole = select(lanes, at);
    let merged = Lane { start: select(starts, at), end: select(ends, at + gone), ..hole };
    let above1 = select([b.l1, b.l2, b.l3, b.l3], gone);
    let above2 = select([b.l2, b.l3, b.l3, b.l3], gone);
    Board {
        l0: if at == 0 { merged } else { b.l0 },
        l1: if at > 1 {
            b.l1
        } else if at == 1 {
            merged
        } else {
            above1
        },
        l2: if at > 2 {
            b.l2
        } else if at == 2 {
            merged
        } else {
            above2
        },
        l3: if at == 3 { merged } else { b.l3 },
        tail: b.tail,
        len: b.len - gone,
    }
}

/// A new range in the middle of hole `at`: both parts keep what is known of it. In a full board the second range from
/// the top is forgotten, and the hole above it becomes part of the one below.
#[kernel]
fn split(b: Board, r: SeqRange, at: Bits<3>) -> Board {
    let hole = select([b.l0, b.l1, b.l2, b.l3], at);
    let is_top = at == b.len;
    let new = Lane {
        start: r.start,
        end: r.end,
        rxt_end: if is_top { b.tail.rxt_end } else { hole.rxt_end },
        rxt_us: if is_top { b.tail.rxt_us } else { hole.rxt_us },
        // The tail has its own mark.
        is_lost: if is_top { at_or_after(b.tail.lost_to, r.start) } else { hole.is_lost },
    };
    let third = if at < 3 {
        b.l2
    } else if at == 3 {
        new
    } else {
        b.l3
    };
    let top = if at == 4 { new } else { b.l3 };
    let is_full = b.len == 4;
    Board {
        l0: if at == 0 { new } else { b.l0 },
        l1: if at > 1 {
            b.l1
        } else if at == 1 {
            new
        } else {
            b.l0
        },
        l2: if at > 2 {
            b.l2
        } else if at == 2 {
            new
        } else {
            b.l1
        },
        l3: if is_full { Lane { start: top.start, end: top.end, ..third } } else { third },
        tail: b.tail,
        len: if is_full { b.len } else { b.len + 1 },
    }
}

/// A timeout: everything that was not reported counts as lost, also what was sent again (RFC 5681 3.1 (7)).
#[kernel]
pub fn mark_all_lost(b: Board, una: Bits<32>, max: Bits<32>) -> Board {
    Board {
        l0: Lane { is_lost: true, rxt_end: una, ..b.l0 },
        l1: Lane { is_lost: true, rxt_end: una, ..b.l1 },
        l2: Lane { is_lost: true, rxt_end: una, ..b.l2 },
        l3: Lane { is_lost: true, rxt_end: una, ..b.l3 },
        tail: Tail { rxt_end: una, rxt_us: b.tail.rxt_us, lost_to: max },
        len: b.len,
    }
}

/// `[start, end)` is sent again now.
#[kernel]
pub fn on_resend(b: Board, start: Bits<32>, end: Bits<32>, now: Bits<24>) -> Board {
    let u0 = b.len > 0 && at_or_before(b.l0.start, start);
    let u1 = b.len > 1 && at_or_before(b.l1.start, start) && u0;
    let u2 = b.len > 2 && at_or_before(b.l2.start, start) && u1;
    let u3 = b.len > 3 && at_or_before(b.l3.start, start) && u2;
    let i = ones(u0, u1, u2, u3);
    let mut n = b;
    if i == b.len {
        n.tail = Tail { rxt_end: end, rxt_us: now, lost_to: b.tail.lost_to };
    } else if i == 0 {
        n.l0 = Lane { rxt_end: end, rxt_us: now, ..b.l0 };
    } else if i == 1 {
        n.l1 = Lane { rxt_end: end, rxt_us: now, ..b.l1 };
    } else if i == 2 {
        n.l2 = Lane { rxt_end: end, rxt_us: now, ..b.l2 };
    } else {
        n.l3 = Lane { rxt_end: end, rxt_us: now, ..b.l3 };
    }
    n
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
    let (is_low, is_high) = (before(v, lo), after(v, hi));
    let at = if is_high {
        hi
    } else if is_low {
        lo
    } else {
        v
    };
    Part { lo, at, hi, is_open: after(hi, v) && after(hi, lo) }
}

/// How far a hole was sent again, if it is lost; all of it, if not: `lo` to `at` is in flight (RFC 6675 4).
#[kernel]
pub fn resent_part(h: Hole) -> Part {
    let p = clamp(h.rxt_end, h.start, h.end);
    Part { lo: p.lo, at: if h.is_lost { p.at } else { h.end }, hi: p.hi, is_open: h.is_lost && p.is_open }
}
