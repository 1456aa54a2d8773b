//! The clocks of an acknowledgment, and the two walks. Events that have no holes to judge begin at [`QUIET`].
//!
//! ```text
//!   0      SND.UNA taken; round trip, DSACK, probe        8 9    the tail goes into the new walk
//!   1..4   a block each                                   10     waits for the old walk; the first transmission counts
//!   5      the old walk begins                            11 ..  the retransmission; reordering window; lanes go into
//!   6      burst of the highest byte                             the new walk
//! ```
use super::board::{advance, insert, is_dsack, is_sane, Board};
use super::hand::{add_up, cut, is_ack, learn, Hand, Item, LossState, OldWalk, Rest};
use super::job::LossJob;
use super::prr::{count_delivered, share, sub_limited};
use super::rack::{self, find, known, min_rtt, on_delivered, on_recovered, on_rtt, reo_base, reo_wnd, Rack};
use super::tlp::{self, Tlp};
use super::walks::{begin_new, enter, move_new, move_old, new_is_over};
use crate::prelude::*;
use crate::tcp::cwnd::{PHASE_FAST, PHASE_OPEN};
use crate::tcp::ranges::SeqRange;
use crate::tcp::seq::at_or_after;

/// Where events begin that are no acknowledgments.
pub const QUIET: u64 = 8;
/// The clock that waits for the old walk.
const MEET: u64 = 10;
/// Lanes go into the new walk from here on.
const LANES: u64 = 11;
/// The program stays here until the walks are over.
const LAST: u64 = 14;

/// Block `i` of a job.
#[kernel]
pub fn block(j: LossJob, i: Bits<2>) -> SeqRange {
    let all = [
        j.blocks.get_bits::<64>(0),
        j.blocks.get_bits::<64>(64),
        j.blocks.get_bits::<64>(128),
        j.blocks.get_bits::<64>(192),
    ];
    let b = select(all, i);
    SeqRange { start: b.get_bits::<32>(0), end: b.get_bits::<32>(32) }
}

/// The rest of the record is there.
#[kernel]
pub fn loaded(h: Hand, r: Rest) -> Hand {
    let dsack = is_dsack(block(h.j, bits::<2>(0)), block(h.j, bits::<2>(1)), h.j.count, h.j.una);
    let none = bits::<32>(0);
    let sacked = if h.j.is_first { none } else { r.sacked };
    Hand {
        st: LossState::LoadBoard,
        r: Rest {
            tlp: if h.j.is_first { Tlp::default() } else { r.tlp },
            sacked,
            rc: if h.j.is_first { h.j.rc } else { r.rc },
            ..r
        },
        sacked_before: sacked,
        has_moved: h.j.una != h.j.from,
        is_dsack: dsack,
        ..h
    }
}

/// Registers that follow from others in every clock of a job. `old`: the scoreboard before it.
#[kernel]
pub fn flow(h: Hand, old: Board) -> Hand {
    let above = h.r.sacked > bit_cast::<32, 24>(h.f.enough);
    let n = Hand {
        f: learn(h.f, h.j),
        sums: add_up(h.sums, h.board),
        age: if h.age == 7 { h.age } else { h.age + 1 },
        kept: if h.age == 3 { h.sums.all } else { h.kept },
        min_rtt: min_rtt(h.r.rack),
        reo_base: reo_base(known(h.min_rtt, h.f.srtt), h.r.rack.extra),
        is_urgent: h.r.rc.phase != PHASE_OPEN || h.r.rc.dup_acks >= h.j.threshold || above,
        filled: h.flight + h.f.smss + h.f.smss,
        old: move_old(h.old, old, h.board, (h.j.from, h.highest), (h.j.una, h.j.max)),
        ..h
    };
    cut(move_new(n))
}

/// Clock 0: SND.UNA, the round trip, DSACK, the probe.
#[kernel]
fn take_una(h: Hand, n: Hand) -> Hand {
    let j = h.j;
    let timed =
        if j.has_rtt { on_rtt(h.r.rack, rack::limit(j.rtt_us), j.now_us.get_bit(24)) } else { h.r.rack };
    let timed: Rack = timed;
    let told = if h.is_dsack { rack::on_dsack(timed, j.una, j.max) } else { timed };
    let probe = tlp::on_ack(h.r.tlp, j.una, j.flag, h.is_dsack, j.count != 0);
    let mut m = n;
    m.board = advance(h.board, j.una);
    m.r.rack = told;
    m.r.tlp = probe.tlp;
    m.is_repaired = probe.is_repaired;
    m.moved = j.una - j.from;
    m.flight = j.max - j.from;
    m.was_recovering = h.r.rc.phase != PHASE_OPEN;
    m.is_sane = is_sane(block(j, bits::<2>(0)), j.una, j.max);
    m.age = bits::<3>(0);
    m.t = if j.count == 0 { bits::<4>(5) } else { bits::<4>(1) };
    m
}

/// Clocks 1 to 4: a block, and whether the next one is believed. Clock 1 also leaves a recovery that is over.
#[kernel]
fn take_block(h: Hand, n: Hand) -> Hand {
    let at = h.t.get_bits::<2>(0);
    let mut m = n;
    if h.is_sane {
        m.board = insert(h.board, block(h.j, at - 1));
    }
    m.is_sane = is_sane(block(h.j, at), h.j.una, h.j.max);
    m.t = if h.t.get_bits::<3>(0) == h.j.count { bits::<4>(5) } else { h.t + 1 };
    m
}

/// RFC 9937 6: the window ends at the threshold.
#[kernel]
fn leave(h: Hand, n: Hand) -> Hand {
    let mut m = n;
    if h.has_moved && h.r.rc.phase != PHASE_OPEN && at_or_after(h.j.una, h.r.rc.recover) {
        if h.r.rc.phase == PHASE_FAST {
            m.r.rc.cw.cwnd = h.r.rc.cw.ssthresh;
        }
        m.r.rc.phase = bits::<8>(PHASE_OPEN);
        m.r.rack = on_recovered(h.r.rack);
    }
    m
}

/// Clocks 5 and 6: the old walk begins, the burst of the highest byte is looked up.
#[kernel]
fn look(h: Hand, n: Hand) -> Hand {
    let ends = [h.j.una, h.board.l0.end, h.board.l1.end, h.board.l2.end, h.board.l3.end];
    let mut m = n;
    m.highest = select(ends, h.board.len);
    m.flight = sub_limited(h.flight, h.sacked_before);
    m.old = OldWalk { runs: true, ..OldWalk::default() };
    leave(h, m)
}

/// The news of the bytes reported: duplicates in the sense of RFC 6675.
#[kernel]
fn count_dups(h: Hand, n: Hand) -> Hand {
    let mut m = n;
    let is_new = h.kept < h.r.sacked;
    m.is_new = is_new;
    if h.has_moved {
        m.r.rc.dup_acks = bits::<8>(0);
    } else if is_new && h.r.rc.dup_acks != 255 {
        m.r.rc.dup_acks = h.r.rc.dup_acks + 1;
    }
    m
}

/// The old walk is over: the first transmission that was delivered.
#[kernel]
fn deliver(h: Hand, n: Hand) -> Hand {
    let a = h.old.all;
    let mut m = n;
    if a.is_first && h.burst.is_known && !h.burst.is_below {
        m.r.rack = on_delivered(h.r.rack, h.burst.start_us, false, h.min_rtt, h.j.now_us.get_bits::<24>(0));
    }
    m.delivered = sub_limited(h.moved, h.sacked_before);
    m
}

/// Then the retransmission that was.
#[kernel]
fn deliver_resent(h: Hand, n: Hand) -> Hand {
    let a = h.old.all;
    let mut m = n;
    if a.is_resent {
        m.r.rack = on_delivered(h.r.rack, a.rxt_us, true, h.min_rtt, h.j.now_us.get_bits::<24>(0));
    }
    m.r.rack.is_reordering_seen = h.r.rack.is_reordering_seen || a.is_reordered;
    m.reo_wnd = reo_wnd(h.reo_base, h.f.srtt, h.r.rack.is_reordering_seen || a.is_reordered, h.is_urgent);
    m
}

/// One clock of the program. `n`: [`flow`].
#[kernel]
pub fn clock(h: Hand, n: Hand) -> Hand {
    let ack = is_ack(h);
    let mut m = n;
    m.t = h.t + 1;
    if h.t == 0 {
        m = take_una(h, n);
    } else if h.t < 5 {
        m = take_block(h, n);
    } else if h.t == 5 {
        m = look(h, m);
    } else if h.t == 6 {
        m.burst = find(h.j.log, h.highest);
    } else if h.t == 7 {
        m.j.log = rack::advance(h.j.log, h.j.una);
    } else if h.t == 8 {
        m.new = begin_new(h.new);
        if ack {
            m.r.sacked = h.sums.all;
            m.moved = h.moved + h.sums.all;
        }
        m.new.m0 = enter(h, Item::Tail);
    } else if h.t == 9 {
        m.new.m0 = enter(h, Item::TailResent);
        if ack {
            m = count_dups(h, m);
        }
    } else if h.t == MEET {
        m.t = if h.old.runs || h.old.v0 || h.old.v1 || h.old.v2 { h.t } else { h.t + 1 };
        if ack {
            m = deliver(h, m);
        }
    } else {
        m = lanes(h, m);
    }
    m
}

/// From clock 11 on.
#[kernel]
fn lanes(h: Hand, n: Hand) -> Hand {
    let fast = is_ack(h) && h.r.rc.phase == PHASE_FAST;
    let mut m = n;
    m.t = if h.t == LAST { h.t } else { h.t + 1 };
    if h.t == LANES && is_ack(h) {
        m = deliver_resent(h, m);
    }
    if h.t == 12 {
        m.patience = bit_cast::<25, 24>(h.r.rack.rtt_us) + bit_cast::<25, 24>(h.reo_wnd);
    }
    if h.t == 12 && fast {
        m.r.prr = count_delivered(h.r.prr, h.delivered);
    }
    if h.t == 13 {
        m.product = share(h.r.prr);
    }
    if h.t == LAST {
        m.bounds = super::prr::bounds(h.r.prr, h.product, h.delivered);
    }
    if h.new.at < h.board.len {
        m.new.m0 = enter(h, Item::Hole);
        m.new.at = h.new.at + 1;
    }
    if h.t == LAST && new_is_over(h) {
        m.st = LossState::Decide;
    }
    m
}
