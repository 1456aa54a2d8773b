//! What is done once for an event: the record changes, the window follows, the answer is put together.

use super::board::{Board, Tail};
use super::growth::pace;
use super::hand::{is_ack, Hand, LossState, Rest};
use super::job::{LossKind, LossResult, LossTimer};
use super::lanes;
use super::program::QUIET;
use super::prr::{amount, count_delivered, divide, less_sent, on_send, start, sub_limited, window, Division};
use super::rack;
use super::tlp::Tlp;
use crate::prelude::*;
use crate::tcp::cwnd::{
    is_held, may_mark, reduce_ssthresh, Cwnd, Recovery, MAX_CWND, PHASE_FAST, PHASE_OPEN, PHASE_RTO,
};
use crate::tcp::seq::{after, before, max32, min32};

/// The scoreboard is there.
#[kernel]
pub fn board_loaded(h: Hand, n: Hand, b: Board) -> Hand {
    let ack = is_ack(h);
    let rack = if h.j.is_first { rack::first(h.r.rack, h.j.una, h.f.flight) } else { h.r.rack };
    // Text goes while nothing is asked: in the phase that the last answer had.
    let prr = if h.r.rc.phase == PHASE_FAST { on_send(h.r.prr, h.moved) } else { h.r.prr };
    Hand {
        st: if ack { LossState::Run } else { LossState::Event },
        t: if ack { bits::<4>(0) } else { bits::<4>(QUIET) },
        board: b,
        r: Rest { rack, prr, ..h.r },
        flight: sub_limited(h.f.flight, h.r.sacked),
        limit: min32(h.f.flight, h.f.smss),
        has_entered: false,
        has_reduced: false,
        is_marked: false,
        reduces: false,
        is_new: false,
        is_repaired: false,
        ..n
    }
}

/// An event that is no acknowledgment.
#[kernel]
pub fn event(h: Hand, n: Hand) -> Hand {
    let mut m = n;
    m.st = LossState::Run;
    match h.j.kind {
        LossKind::Rto => m = timed_out(h, m),
        LossKind::HandedOver => m = handed_over(h, m),
        LossKind::WindowOpened => m = forgotten(h, m),
        LossKind::Resend => {
            if !lanes::hole_of(h.board, h.j.from).any() {
                m.board.tail.rxt_end = h.j.to;
                m.board.tail.rxt_us = h.j.now_us.get_bits::<24>(0);
            }
        }
        LossKind::Probe => m.r.tlp = Tlp { is_outstanding: true, end: h.j.max, is_resent: h.j.flag },
        LossKind::Ack => {}
    }
    m
}

/// Nothing is reported, everything is lost.
#[kernel]
fn forgotten(h: Hand, n: Hand) -> Hand {
    let mut m = n;
    m.board.tail = Tail { rxt_end: h.j.una, lost_to: h.j.max, ..Tail::default() };
    m.board.len = bits::<3>(0);
    m.r.sacked = bits::<32>(0);
    m
}

/// The retransmission timer fired.
#[kernel]
fn timed_out(h: Hand, n: Hand) -> Hand {
    let reduced = reduce_ssthresh(h.r.rc.cw, h.flight, h.f.smss);
    let mut m = n;
    // RFC 5681 3.1 (7): once per loss; a recovery that fails has reduced already.
    let reduces = h.j.flag && h.r.rc.phase == PHASE_OPEN;
    m.reduces = reduces && h.j.is_cubic;
    if reduces && h.j.is_cubic {
        m.r.rc.prior = h.r.rc.cw.cwnd;
    } else if reduces {
        m.r.rc.cw.ssthresh = reduced.ssthresh;
    }
    m.r.rc.cw.cwnd = h.f.smss;
    m.r.rc.cw.acked_sum = bits::<32>(0);
    m.r.rc.phase = bits::<8>(PHASE_RTO);
    m.r.rc.recover = h.j.max;
    m.r.rc.reduced = true;
    m.r.rc.dup_acks = bits::<8>(0);
    m.r.tlp = Tlp::default();
    // RFC 2018 8: without progress the peer may have reneged.
    if h.j.flag {
        m.board.tail.rxt_end = h.j.una;
        m.board.tail.lost_to = h.j.max;
    } else {
        m = forgotten(h, m);
    }
    m
}

/// A new record; what is to be sent again is lost.
#[kernel]
fn handed_over(h: Hand, n: Hand) -> Hand {
    let is_lost = before(h.j.from, h.j.max);
    let is_resent = is_lost && after(h.j.from, h.j.una);
    let now = h.j.now_us.get_bits::<24>(0);
    let mut m = n;
    m.board.len = bits::<3>(0);
    m.board.tail = Tail {
        rxt_end: if is_resent { h.j.from } else { h.j.una },
        rxt_us: if is_resent { now } else { bits::<24>(0) },
        lost_to: if is_lost {
            h.j.max
        } else if h.j.flag {
            h.j.una + h.limit
        } else {
            h.j.una
        },
    };
    m.r = Rest { rc: h.r.rc, ..Rest::default() };
    m
}

/// One state or the other.
#[kernel]
fn pick(b: bool, yes: LossState, no: LossState) -> LossState {
    if b {
        yes
    } else {
        no
    }
}

/// What was found lost is known, and what is in flight.
#[kernel]
fn decide(h: Hand, n: Hand) -> Hand {
    let ack = is_ack(h);
    let is_open = h.r.rc.phase == PHASE_OPEN;
    let enters = ack && is_open && h.new.has_lost;
    // RFC 8985 7.4.2: the loss was repaired before anybody noticed, but it was one.
    let repairs = ack && is_open && !h.new.has_lost && h.is_repaired;
    let again = h.j.kind == LossKind::HandedOver && h.r.rc.phase == PHASE_FAST;
    let one = bits::<32>(1);
    let flight = if again { h.f.flight } else { h.flight };
    let mut m = n;
    if (enters || repairs) && h.j.is_cubic {
        m.r.rc.prior = h.r.rc.cw.cwnd;
    } else if enters || repairs {
        m.r.rc.cw = reduce_ssthresh(h.r.rc.cw, h.flight, h.f.smss);
    }
    if enters || repairs {
        m.r.rc.recover = h.j.max;
        m.r.rc.reduced = true;
        m.has_reduced = true;
    }
    if enters {
        m.r.rc.phase = bits::<8>(PHASE_FAST);
        m.has_entered = true;
    }
    if enters || again {
        m.flight = if flight == 0 { one } else { flight };
    }
    let grows = pick(
        h.r.rc.phase == PHASE_RTO || !h.was_recovering && h.delivered != 0,
        LossState::Grow,
        LossState::Wait,
    );
    let usual = pick(h.r.rc.phase == PHASE_FAST, LossState::Less, pick(repairs, LossState::Repair, grows));
    let next = pick(enters || again, LossState::Begin, pick(ack, usual, LossState::Wait));
    m.st = pick(h.reduces || (enters || repairs) && h.j.is_cubic, LossState::Used, next);
    m
}

/// CUBIC reduces the window, three clocks. RFC 9438 4.6: one that was not filled is not what the network carried.
#[kernel]
fn reduce(h: Hand, n: Hand) -> Hand {
    let c = h.r.rc;
    let c: Recovery = c;
    let mut m = n;
    if h.st == LossState::Used {
        m.r.rc.prior = min32(c.prior, h.filled);
        m.st = LossState::Beta;
    } else if h.st == LossState::Beta {
        m.st = LossState::Scaled;
    } else {
        m.r.rc.cw.ssthresh = max32(h.product.get_bits::<32>(16), h.f.smss + h.f.smss);
        m.r.rc.cw.acked_sum = bits::<32>(0);
        m.r.rc.epoch = c.epoch + 1;
        m.st = pick(h.has_entered, LossState::Begin, pick(is_ack(h), LossState::Repair, LossState::Wait));
    }
    m
}

/// The window after `Grow`: is it used, and what would come to it?
#[kernel]
fn grow(h: Hand, n: Hand) -> Hand {
    let twice = bit_cast::<33, 32>(h.flight) << bits::<1>(1);
    let c = h.r.rc.cw;
    let c: Cwnd = c;
    let is_slow = c.cwnd < c.ssthresh;
    let is_rto = h.r.rc.phase == PHASE_RTO;
    let two = h.f.smss + h.f.smss;
    let mut m = n;
    // RFC 7661 1: a window that was not used says nothing about the network. RFC 3465 2.3: one segment after a timeout.
    m.is_used =
        is_rto || (is_slow && twice >= bit_cast::<33, 32>(c.cwnd)) || (!is_slow && h.filled >= c.cwnd);
    m.limit = min32(h.delivered, if is_rto { h.f.smss } else { two });
    m.amount = c.acked_sum + h.delivered;
    // RFC 9438 4.2: how many bytes that takes the slow unit knows.
    m.by_cubic = h.j.is_cubic && !is_rto;
    m.needed = if h.j.is_cubic && !is_rto { pace(h.j.growth, h.r.rc.epoch).per_increment } else { c.cwnd };
    m.st = LossState::Add;
    m
}

#[kernel]
fn add(h: Hand, n: Hand) -> Hand {
    let c = h.r.rc.cw;
    let c: Cwnd = c;
    let is_slow = c.cwnd < c.ssthresh;
    let mut m = n;
    m.is_used = h.is_used && !is_slow;
    m.st = LossState::Limit;
    if h.is_used && is_slow {
        m.r.rc.cw.cwnd = c.cwnd + h.limit;
    }
    if h.is_used && !is_slow {
        m.r.rc.cw.acked_sum = if h.amount >= h.needed { h.amount - h.needed } else { h.amount };
        m.r.rc.cw.cwnd = if h.amount >= h.needed { c.cwnd + h.f.smss } else { c.cwnd };
    }
    m
}

#[kernel]
fn limited(h: Hand, n: Hand) -> Hand {
    let c = h.r.rc.cw;
    let c: Cwnd = c;
    let mut m = n;
    if h.is_used {
        m.r.rc.cw.acked_sum = min32(c.acked_sum, if h.by_cubic { h.needed } else { c.cwnd });
    }
    // RFC 9438 4.3: at least what Reno would have.
    let pace = pace(h.j.growth, h.r.rc.epoch);
    let least = if h.is_used && h.by_cubic { pace.w_est } else { bits::<32>(0) };
    m.r.rc.cw.cwnd = max32(min32(c.cwnd, bits::<32>(MAX_CWND)), least);
    m.st = pick(is_echoed(h), LossState::Echo, LossState::Answer);
    m
}

/// The acknowledgment echoes a mark that reduces the window.
#[kernel]
fn is_echoed(h: Hand) -> bool {
    is_ack(h) && h.j.is_echo && may_mark(h.r.rc, h.j.una)
}

/// Two clocks: the mark counts with what is in flight after the acknowledgment (RFC 3168 6.1.2).
#[kernel]
fn mark(h: Hand, n: Hand) -> Hand {
    let mut m = n;
    if h.st == LossState::Echo {
        m.flight = sub_limited(h.f.flight, h.r.sacked);
        m.st = LossState::Marked;
    } else {
        if h.j.is_cubic {
            m.r.rc.prior = h.r.rc.cw.cwnd;
        } else {
            m.r.rc.cw = reduce_ssthresh(h.r.rc.cw, h.flight, h.f.smss);
        }
        m.r.rc.recover = h.j.max;
        m.r.rc.reduced = true;
        m.has_reduced = true;
        m.is_marked = true;
        m.st = pick(h.j.is_cubic, LossState::Used, LossState::Repair);
    }
    m
}

/// The proportion of a recovery that begins.
#[kernel]
fn proportion(h: Hand, n: Hand) -> Hand {
    let mut m = n;
    if h.st == LossState::Begin {
        m.division = Division { rest: h.r.rc.cw.ssthresh, quotient: bits::<16>(0) };
        m.is_one = h.r.rc.cw.ssthresh >= h.flight;
        m.left = bits::<4>(15);
        m.st = LossState::Divide;
    } else if h.st == LossState::Divide {
        m.division = divide(h.division, h.flight);
        m.left = h.left - 1;
        m.st = pick(h.left == 0, LossState::Start, LossState::Divide);
    } else {
        m.r.prr = start(h.division.quotient, h.is_one);
        m.st = pick(is_ack(h), LossState::Count, LossState::Wait);
    }
    m
}

/// The window of a recovery.
#[kernel]
fn recover(h: Hand, n: Hand) -> Hand {
    let mut m = n;
    if h.st == LossState::Count {
        m.r.prr = count_delivered(h.r.prr, h.delivered);
        m.st = LossState::Share;
    } else if h.st == LossState::Share {
        m.st = LossState::Bounds;
    } else if h.st == LossState::Bounds {
        m.st = LossState::Less;
    } else if h.st == LossState::Less {
        m.bounds = less_sent(h.r.prr, h.bounds, h.f.smss, h.has_moved && !h.new.has_lost);
        m.st = LossState::Amount;
    } else if h.st == LossState::Amount {
        m.amount = amount(h.bounds, h.new.pipe, h.r.rc.cw.ssthresh);
        m.st = LossState::Window;
    } else {
        m.r.rc.cw.cwnd = window(h.amount, h.new.pipe, h.f.smss, h.r.prr.out == 0);
        m.st = LossState::Answer;
    }
    m
}

/// The questions that depend on the window, and the timer.
#[kernel]
fn answer(h: Hand, n: Hand) -> Hand {
    let may_probe =
        h.r.rc.phase == PHASE_OPEN && h.board.len == 0 && !h.r.tlp.is_outstanding && h.f.is_sooner;
    let mut m = n;
    m.r.rc.reduced = is_held(h.r.rc, h.j.una);
    m.has_room = h.new.pipe == 0 || h.pipe_then <= h.r.rc.cw.cwnd;
    if h.new.waits {
        m.timer = LossTimer::Reorder;
        m.timer_us = min32(bit_cast::<32, 26>(h.new.wait_us), h.j.rto_us);
    } else if may_probe {
        m.timer = LossTimer::Probe;
        m.timer_us = h.f.pto;
    } else {
        m.timer = LossTimer::Rto;
        m.timer_us = h.j.rto_us;
    }
    m.edge = if h.new.pipe < h.r.rc.cw.cwnd { h.j.max + h.r.rc.cw.cwnd - h.new.pipe } else { h.j.max };
    // Nothing lost: also nothing that was sent again and is not acknowledged yet.
    let has_tail = h.new.tail.hi != h.new.tail.lo;
    m.is_calm = h.r.rc.phase == PHASE_OPEN && h.board.len == 0 && !h.r.tlp.is_outstanding && !has_tail;
    m.st = LossState::Done;
    m
}

/// One clock after the walks. `n`: what flows in every clock.
#[kernel]
pub fn after_walks(h: Hand, n: Hand) -> Hand {
    let mut m = n;
    match h.st {
        LossState::Decide => m = decide(h, n),
        LossState::Repair => {
            m.r.rc.cw.cwnd = h.r.rc.cw.ssthresh;
            m.st = LossState::Answer;
        }
        LossState::Used | LossState::Beta | LossState::Scaled => m = reduce(h, n),
        LossState::Begin | LossState::Divide | LossState::Start => m = proportion(h, n),
        LossState::Grow => m = grow(h, n),
        LossState::Add => m = add(h, n),
        LossState::Limit => m = limited(h, n),
        LossState::Wait => m.st = pick(is_echoed(h), LossState::Echo, LossState::Answer),
        LossState::Echo | LossState::Marked => m = mark(h, n),
        LossState::Answer => m = answer(h, n),
        _ => m = recover(h, n),
    }
    m
}

/// The answer.
#[kernel]
pub fn result(h: Hand) -> LossResult {
    let begins = if is_ack(h) { h.has_moved } else { h.j.kind == LossKind::Resend && !h.has_moved };
    LossResult {
        kind: h.j.kind,
        conn: h.j.conn,
        rc: h.r.rc,
        has_prior: true,
        has_entered: h.has_entered,
        has_reduced: h.has_reduced,
        is_marked: h.is_marked,
        has_news: is_ack(h) && (h.has_moved || h.is_new),
        has_moved: begins,
        timer: h.timer,
        timer_us: h.timer_us,
        has_lost: h.open_len != 0,
        lost: if h.new.first.is_open { h.new.first.at } else { h.new.tail.at },
        lost_len: h.open_len.get_bits::<16>(0),
        has_room: h.has_room,
        edge: h.edge,
        is_calm: h.is_calm,
    }
}
