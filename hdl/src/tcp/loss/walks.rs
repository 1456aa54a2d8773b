//! The two walks over the holes: one through the scoreboard as it was, one through the scoreboard as it is.

use super::board::{clamp, gather, hole, judge_old, meet, Board, Hole, Part};
use super::hand::{is_ack, Hand, Item, LossState, Moving, NewWalk, OldWalk};
use super::program::{BURST, LANES, TAIL, TAIL_RESENT};
use super::rack::{find, judge, latest};
use crate::prelude::*;
use crate::tcp::seq::after;

/// One clock of the walk through the scoreboard as it was: a hole goes in, what three others say moves on. `from`: SND.UNA
/// before the acknowledgment and the highest byte after it; `snd`: SND.UNA and SND.MAX.
#[kernel]
pub fn move_old(
    w: OldWalk,
    old: Board,
    now: Board,
    from: (Bits<32>, Bits<32>),
    snd: (Bits<32>, Bits<32>),
) -> OldWalk {
    let (una_before, highest) = from;
    let (una, max) = snd;
    OldWalk {
        at: w.at + 1,
        runs: w.runs && w.at != old.len,
        hole: hole(old, w.at, una_before, max),
        v0: w.runs,
        met: meet(w.hole, highest),
        v1: w.v0,
        news: judge_old(w.met, now, una),
        v2: w.v1,
        all: if w.v2 { gather(w.all, w.news) } else { w.all },
    }
}

/// The walk through the scoreboard as it is begins.
#[kernel]
pub fn begin_new(w: NewWalk) -> NewWalk {
    NewWalk {
        at: bits::<3>(0),
        pipe: bits::<32>(0),
        first: Part::default(),
        tail: Part::default(),
        has_lost: false,
        waits: false,
        wait_us: bits::<26>(0),
        ..w
    }
}

/// What enters the walk in this clock.
#[kernel]
fn entering(h: Hand) -> Item {
    if h.st != LossState::Run {
        Item::None
    } else if h.t == TAIL {
        Item::Tail
    } else if h.t == TAIL_RESENT {
        Item::TailResent
    } else if h.t >= LANES && h.new.at < h.board.len {
        Item::Hole
    } else {
        Item::None
    }
}

/// The first clock of an item: the next lane, or the tail.
#[kernel]
fn enter(h: Hand) -> Moving {
    let item = entering(h);
    let at = if item == Item::Hole { h.new.at } else { h.board.len };
    let around = hole(h.board, at, h.j.una, h.j.max);
    let around: Hole = around;
    let lost_to = if item == Item::Tail { h.board.tail.lost_to } else { around.rxt_end };
    Moving { item, at: at.get_bits::<2>(0), hole: Hole { rxt_end: lost_to, ..around }, ..Moving::default() }
}

/// The second clock: how far it was sent again, within it or within what is lost of the tail.
#[kernel]
fn measured(m: Moving, lost: Part) -> Moving {
    let h = m.hole;
    let hi = if m.item == Item::TailResent { lost.at } else { h.end };
    let (is_ahead, has_bytes) = (after(h.rxt_end, h.start), after(h.end, h.start));
    Moving { part: clamp(h.rxt_end, h.start, hi), is_resent: is_ahead && has_bytes, is_ahead, has_bytes, ..m }
}

/// The fifth clock: what counts of the verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Ruling {
    /// It is lost.
    pub is_lost: Bit,
    /// Once more: what was sent again is lost too.
    pub is_again: Bit,
    /// Nothing of it counts as sent again: that ends where the hole begins.
    pub is_raised: Bit,
    /// It will be lost.
    pub waits: Bit,
}

/// See [`Ruling`].
#[kernel]
pub fn ruling(h: Hand) -> Ruling {
    let (m, v) = (h.new.m3, h.new.verdict);
    let m: Moving = m;
    let is_hole = m.item == Item::Hole;
    let counts = is_ack(h) && is_hole && (!m.hole.is_lost || m.is_resent);
    let is_again = counts && v.is_lost && m.hole.is_lost;
    Ruling {
        is_lost: counts && v.is_lost,
        is_again,
        is_raised: is_hole && (is_again || !m.is_ahead),
        waits: counts && v.waits,
    }
}

/// With it goes what is in flight.
#[kernel]
fn settled(h: Hand, n: NewWalk) -> NewWalk {
    let (m, v) = (h.new.m3, ruling(h));
    let (m, v): (Moving, Ruling) = (m, v);
    let wait_us = h.new.verdict.wait_us;
    // A hole that is not lost is in flight, all of it.
    let counted = m.item != Item::Hole || m.hole.is_lost || v.is_lost;
    let part = Part {
        at: if v.is_again {
            m.part.lo
        } else if counted {
            m.part.at
        } else {
            m.part.hi
        },
        is_open: if v.is_again { m.has_bytes } else { counted && m.part.is_open },
        ..m.part
    };
    let mut r = n;
    r.item = m.item;
    r.part = part;
    r.has_lost = h.new.has_lost || v.is_lost;
    r.waits = h.new.waits || v.waits;
    if v.waits && h.new.wait_us < wait_us {
        r.wait_us = wait_us;
    }
    r
}

/// The sixth clock: the sum, and the first part that is to be sent again.
#[kernel]
fn summed(w: NewWalk, n: NewWalk) -> NewWalk {
    let p = w.part;
    let low = if w.item == Item::Tail { p.at } else { p.lo };
    let high = if w.item == Item::Tail { p.hi } else { p.at };
    NewWalk {
        pipe: if w.item == Item::None { w.pipe } else { w.pipe + high - low },
        first: if w.item == Item::Hole && !w.first.is_open { p } else { w.first },
        tail: if w.item == Item::TailResent { p } else { w.tail },
        ..n
    }
}

/// One clock of the walk through the scoreboard as it is.
#[kernel]
pub fn move_new(h: Hand) -> NewWalk {
    let w = h.new;
    let w: NewWalk = w;
    let now = h.j.now_us.get_bits::<24>(0);
    let sent = if w.m1.hole.is_lost { w.m1.hole.rxt_us } else { latest(w.found, h.f.spacing, now) };
    let has_wnd = h.reo_wnd != 0;
    let moved = NewWalk {
        at: if entering(h) == Item::Hole { w.at + 1 } else { w.at },
        m0: enter(h),
        m1: measured(w.m0, w.m1.part),
        found: find(h.j.log, if h.t == BURST { h.highest } else { w.m0.hole.end }),
        m2: w.m1,
        sent,
        m3: w.m2,
        verdict: judge(h.r.rack, w.sent, w.m2.hole.is_lost, h.patience, has_wnd, now),
        ..w
    };
    summed(w, settled(h, moved))
}

/// Nothing is on its way any more.
#[kernel]
pub fn new_is_over(h: Hand) -> bool {
    let w = h.new;
    h.new.at == h.board.len
        && w.m0.item == Item::None
        && w.m1.item == Item::None
        && w.m2.item == Item::None
        && w.m3.item == Item::None
        && w.item == Item::None
}
