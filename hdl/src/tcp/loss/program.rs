//! The clocks of an acknowledgment, and the two walks. Events that have no holes to judge begin at [`QUIET`].
//!
//! ```text
//!   0      ranges below SND.UNA go, one per clock; then   8 9    the tail goes into the new walk
//!          round trip, DSACK, probe                       10     waits for the old walk; the first transmission counts
//!   1..4   a block each: two clocks, and one for each     11 ..  the retransmission; reordering window; lanes go into
//!          range that is merged                                  the new walk
//!   5      the old walk begins
//!   6 7    burst of the highest byte
//! ```
//! The lanes change in one place (`lane_step`), whatever the job.
use super::board::{is_dsack, is_sane, risen, Board};
use super::cubic::BETA;
use super::hand::{add_up, cut, is_ack, learn, BlockPart, Hand, LossState, OldWalk, Rest};
use super::job::{LossJob, LossKind};
use super::lanes::{self, LaneStep};
use super::prr::{bounds, count_delivered, share, sub_limited, Prr};
use super::rack::{self, known, min_rtt, on_delivered, on_recovered, on_rtt, reo_base, reo_wnd, Rack};
use super::tlp::{self, Tlp};
use super::walks::{begin_new, move_new, move_old, new_is_over, ruling};
use crate::prelude::*;
use crate::tcp::cwnd::{PHASE_FAST, PHASE_OPEN};
use crate::tcp::ranges::SeqRange;
use crate::tcp::seq::at_or_after;

/// Where events begin that are no acknowledgments.
pub const QUIET: u64 = 8;
/// The burst of the highest byte is looked up.
pub const BURST: u64 = 6;
/// The tail goes into the new walk.
pub const TAIL: u64 = 8;
/// And what of it was sent again.
pub const TAIL_RESENT: u64 = 9;
/// The clock that waits for the old walk.
const MEET: u64 = 10;
/// Lanes go into the new walk from here on.
pub const LANES: u64 = 11;
/// The program stays here until the walks are over.
const LAST: u64 = 14;

/// A block.
#[kernel]
fn block(b: Bits<64>) -> SeqRange {
    SeqRange { start: b.get_bits::<32>(0), end: b.get_bits::<32>(32) }
}

/// The block whose turn it is; those that are done leave the job.
#[kernel]
fn current(j: LossJob) -> SeqRange {
    block(j.blocks.get_bits::<64>(0))
}

/// The rest of the record is there.
#[kernel]
pub fn loaded(h: Hand, r: Rest) -> Hand {
    let dsack = is_dsack(current(h.j), block(h.j.blocks.get_bits::<64>(64)), h.j.count, h.j.una);
    let none = bits::<32>(0);
    let sacked = if h.j.is_first { none } else { r.sacked };
    let again = if h.j.kind == LossKind::Resend { h.j.to - h.j.from } else { none };
    Hand {
        st: LossState::LoadBoard,
        r: Rest {
            tlp: if h.j.is_first { Tlp::default() } else { r.tlp },
            sacked,
            rc: if h.j.is_first { h.j.rc } else { r.rc },
            ..r
        },
        sacked_before: sacked,
        moved: h.j.sent + again,
        has_moved: h.j.una != h.j.from,
        is_dsack: dsack,
        ..h
    }
}

/// Registers that follow from others in every clock of a job. `old`: the scoreboard before it.
#[kernel]
pub fn flow(h: Hand, old: Board) -> Hand {
    let above = h.r.sacked > bit_cast::<32, 24>(h.f.enough);
    let stepped = lanes::step(h.board, lane_step(h));
    let n = Hand {
        board: Board { tail: h.board.tail, len: h.board.len, ..stepped },
        f: learn(h.f, h.j),
        sums: add_up(h.sums, h.board),
        age: if h.age == 7 { h.age } else { h.age + 1 },
        kept: if h.age == 3 { h.sums.all } else { h.kept },
        min_rtt: min_rtt(h.r.rack),
        reo_base: reo_base(known(h.min_rtt, h.f.srtt), h.r.rack.extra),
        is_urgent: h.r.rc.phase != PHASE_OPEN || h.r.rc.dup_acks >= h.j.threshold || above,
        filled: h.flight + h.f.smss + h.f.smss,
        product: share(if h.st == LossState::Beta {
            Prr { delivered: h.r.rc.prior, rate: bits::<17>(BETA), ..h.r.prr }
        } else {
            h.r.prr
        }),
        bounds: bounds(h.r.prr, h.product, h.delivered),
        old: move_old(h.old, old, h.board, (h.j.from, h.highest), (h.j.una, h.j.max)),
        new: move_new(h),
        ..h
    };
    cut(n)
}

/// What becomes of the lanes in this clock.
#[kernel]
fn lane_step(h: Hand) -> LaneStep {
    let (b, j) = (h.board, h.j);
    let (b, j): (Board, LossJob) = (b, j);
    let runs = h.st == LossState::Run;
    if h.st == LossState::Event && j.kind == LossKind::Resend {
        lanes::resent(lanes::hole_of(b, j.from), j.to, j.now_us.get_bits::<24>(0))
    } else if h.st == LossState::Event && j.kind == LossKind::Rto {
        lanes::all_lost(j.una)
    } else if runs && h.t == 0 {
        if lanes::is_gone(b, j.una) {
            lanes::gone()
        } else {
            lanes::raised(b, j.una)
        }
    } else if runs && h.t < 5 {
        match h.part {
            BlockPart::Put => {
                let step = lanes::put(b, h.place, current(j));
                let none = bits::<4>(0);
                if h.is_sane {
                    step
                } else {
                    LaneStep {
                        ranges: none,
                        holes: none,
                        range_in: none,
                        end_in: none,
                        us_in: none,
                        lost_in: none,
                        ..step
                    }
                }
            }
            BlockPart::Merge => lanes::closed(h.place.touched),
            BlockPart::Place => LaneStep::default(),
        }
    } else {
        let (m, v) = (h.new.m3, ruling(h));
        let one = bits::<4>(1) << m.at;
        let none = bits::<4>(0);
        LaneStep {
            end_in: if v.is_raised { one } else { none },
            rxt_end: m.hole.start,
            lost_in: if v.is_lost { one } else { none },
            is_lost: true,
            ..LaneStep::default()
        }
    }
}

/// Clock 0: SND.UNA, the round trip, DSACK, the probe.
#[kernel]
fn take_una(h: Hand, n: Hand) -> Hand {
    let mut m = n;
    if lanes::is_gone(h.board, h.j.una) {
        m.board.len = h.board.len - 1;
        m.t = bits::<4>(0);
    } else {
        m = taken_una(h, n);
    }
    m
}

/// The lowest range lies above SND.UNA.
#[kernel]
fn taken_una(h: Hand, n: Hand) -> Hand {
    let j = h.j;
    let timed =
        if j.has_rtt { on_rtt(h.r.rack, rack::limit(j.rtt_us), j.now_us.get_bit(24)) } else { h.r.rack };
    let timed: Rack = timed;
    let told = if h.is_dsack { rack::on_dsack(timed, j.una, j.max) } else { timed };
    let probe = tlp::on_ack(h.r.tlp, j.una, j.flag, h.is_dsack, j.count != 0);
    let mut m = n;
    m.board.tail = risen(h.board.tail, j.una);
    m.r.rack = told;
    m.r.tlp = probe.tlp;
    m.is_repaired = probe.is_repaired;
    m.moved = j.una - j.from;
    m.flight = j.max - j.from;
    m.was_recovering = h.r.rc.phase != PHASE_OPEN;
    m.part = BlockPart::Place;
    m.age = bits::<3>(0);
    m.t = if j.count == 0 { bits::<4>(5) } else { bits::<4>(1) };
    m
}

/// Clocks 1 to 4: a block.
#[kernel]
fn take_block(h: Hand, n: Hand) -> Hand {
    let r = current(h.j);
    let left = if h.part == BlockPart::Put {
        lanes::left_to_merge(h.place)
    } else {
        lanes::less_one(h.place.touched)
    };
    let goes_on = h.is_sane && left.any();
    let mut m = n;
    m.t = h.t;
    match h.part {
        BlockPart::Place => {
            m.is_sane = is_sane(r, h.j.una, h.f.flight);
            m.place = lanes::place(h.board, r);
            m.part = BlockPart::Put;
        }
        BlockPart::Put => {
            if h.is_sane {
                m.board.len = lanes::len_put(h.board, h.place);
            }
        }
        BlockPart::Merge => m.board.len = h.board.len - 1,
    }
    if h.part != BlockPart::Place {
        m.place.touched = left;
        if goes_on {
            m.part = BlockPart::Merge;
        } else {
            m.part = BlockPart::Place;
            m.j.blocks = h.j.blocks >> bits::<7>(64);
            m.t = if h.t.get_bits::<3>(0) == h.j.count { bits::<4>(5) } else { h.t + 1 };
        }
    }
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

/// The old walk is over: the first transmission that was delivered; a clock later the retransmission that was.
#[kernel]
fn deliver(h: Hand, n: Hand) -> Hand {
    let a = h.old.all;
    let is_resent = h.t == LANES;
    let is_known = a.is_first && h.burst.is_known && !h.burst.is_below;
    let sent = if is_resent { a.rxt_us } else { h.burst.start_us };
    let mut m = n;
    if is_resent && a.is_resent || !is_resent && is_known {
        m.r.rack = on_delivered(h.r.rack, sent, is_resent, h.min_rtt, h.j.now_us.get_bits::<24>(0));
    }
    if is_resent {
        let is_reordering_seen = h.r.rack.is_reordering_seen || a.is_reordered;
        m.r.rack.is_reordering_seen = is_reordering_seen;
        m.reo_wnd = reo_wnd(h.reo_base, h.f.srtt, is_reordering_seen, h.is_urgent);
    } else {
        m.delivered = sub_limited(h.moved, h.sacked_before);
    }
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
    } else if h.t == 7 {
        m.burst = h.new.found;
        m.j.log = rack::advance(h.j.log, h.j.una);
    } else if h.t == TAIL {
        m.new = begin_new(n.new);
        if ack {
            m.r.sacked = h.sums.all;
            m.moved = h.moved + h.sums.all;
        }
    } else if h.t == TAIL_RESENT {
        if ack {
            m = count_dups(h, m);
        }
    } else if h.t == MEET {
        m.t = if h.old.runs || h.old.v0 || h.old.v1 || h.old.v2 { h.t } else { h.t + 1 };
        if ack {
            m = deliver(h, m);
        }
    } else if h.t >= LANES {
        m = judge_lanes(h, m);
    }
    m
}

/// From clock 11 on.
#[kernel]
fn judge_lanes(h: Hand, n: Hand) -> Hand {
    let fast = is_ack(h) && h.r.rc.phase == PHASE_FAST;
    let mut m = n;
    m.t = if h.t == LAST { h.t } else { h.t + 1 };
    if h.t == LANES && is_ack(h) {
        m = deliver(h, m);
    }
    if h.t == 12 {
        m.patience = bit_cast::<25, 24>(h.r.rack.rtt_us) + bit_cast::<25, 24>(h.reo_wnd);
    }
    if h.t == 12 && fast {
        m.r.prr = count_delivered(h.r.prr, h.delivered);
    }
    if h.t == LAST && new_is_over(h) {
        m.st = LossState::Decide;
    }
    m
}
