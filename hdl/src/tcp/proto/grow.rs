//! How the window of a connection with CUBIC grows while it is calm, and when the slow unit is asked (RFC 9438 4.2, 4.3).
//!
//! ```text
//!   stage 3 counted: are the bytes enough for a segment more? | 4 gained, rested: a pause | 6 requested: at most once a millisecond
//! ```
//! Slow start and the limits are those of NewReno (`tcp/cwnd.rs`). While the connection is guarded its window is the loss unit's; the
//! slow unit is asked all the same.
use super::record::Work;
use super::rx::decides;
use super::step::Step;
use crate::prelude::*;
use crate::tcp::cwnd::{initial_window, MAX_CWND, PHASE_OPEN};
use crate::tcp::loss::growth::{credited, pace, tick, Growth, GrowthAsk};
use crate::tcp::loss::prr::add_limited;
use crate::tcp::seq::{before, max32, min32};

/// Congestion control is CUBIC.
#[kernel]
pub fn is_cubic(w: Work) -> bool {
    w.fixed.flags.sack && !w.fixed.flags.newreno
}

/// CUBIC in congestion avoidance.
#[kernel]
pub fn avoids(w: Work) -> bool {
    is_cubic(w) && w.rc.phase == PHASE_OPEN && w.rc.cw.cwnd >= w.rc.cw.ssthresh
}

/// Stage 3: `s` before, `n` after recovery. `growth`: what the slow unit said.
#[kernel]
pub fn counted(s: Step, n: Step, smss: Bits<32>, growth: Growth, now: Bits<32>) -> Step {
    let (c, cw, g) = (s.c, s.w.rc.cw, s.w.guard);
    let p = pace(growth, s.w.rc.epoch);
    // As in `cwnd::grow`: a window that is not used says nothing about the network.
    let grows = avoids(s.w) && c.is_new_ack && c.flight + smss + smss >= cw.cwnd;
    let sum = add_limited(cw.acked_sum, c.acked);
    let decides = grows && decides(s);
    let mut m = n;
    m.c.grow.growth = growth;
    m.c.grow.is_fresh = p.is_fresh;
    m.c.grow.gains = decides && p.is_fresh && sum >= p.per_increment;
    m.c.grow.has_least = decides && p.is_fresh;
    m.c.grow.asks = grows && (!p.is_fresh || g.tick != tick(now));
    if decides {
        m.w.rc.cw.acked_sum = sum;
    }
    if grows {
        m.w.guard.credit = credited(g.credit, c.acked);
    }
    m
}

/// Stage 4: `s` before, `n` after the text.
#[kernel]
pub fn gained(s: Step, n: Step) -> Step {
    let (g, cw) = (s.c.grow, s.w.rc.cw);
    let cost = g.growth.per_increment;
    let mut m = n;
    if g.gains {
        // More than one increment at once would only be a burst.
        m.w.rc.cw.acked_sum = min32(cw.acked_sum - cost, cost);
        m.w.rc.cw.cwnd = min32(cw.cwnd + bit_cast::<32, 16>(s.c.smss), bits::<32>(MAX_CWND));
    } else if g.has_least {
        m.w.rc.cw.cwnd = max32(cw.cwnd, g.growth.w_est);
    }
    m
}

/// Stage 4: nothing was sent for longer than the RTO, and now there is something: the window must be earned again (RFC 5681 4.1), and
/// CUBIC begins a new epoch (RFC 9438 5.8). With or without SACK.
#[kernel]
pub fn rested(s: Step, now: Bits<32>) -> Step {
    let w = s.w;
    let is_due = w.snd.una == w.snd.max && before(w.snd.nxt, w.limit) && !w.guard.is_guarded;
    let mut n = s;
    if is_due && (now - w.side.sent_us) > w.tm.rto_us {
        n.w.rc.cw.cwnd = min32(w.rc.cw.cwnd, initial_window(bit_cast::<32, 16>(s.c.smss)));
        n.w.rc.cw.acked_sum = bits::<32>(0);
        n.w.rc.epoch = w.rc.epoch + s.c.grow.is_fresh;
        n.w.side.sent_us = now;
    }
    n
}

/// Stage 6: the question of a pass that has one.
#[kernel]
pub fn question(s: Step, now: Bits<32>) -> GrowthAsk {
    let w = s.w;
    GrowthAsk {
        valid: true,
        conn: s.c.conn,
        epoch: w.rc.epoch,
        prior: w.rc.prior,
        cwnd: w.rc.cw.cwnd,
        smss: s.c.smss,
        srtt_us: w.rtt.srtt_x8 >> bits::<2>(3),
        credit: w.guard.credit,
        now_us: now,
    }
}

/// Stage 6: it was taken, if the unit is free; else the next acknowledgment has it.
#[kernel]
pub fn requested(s: Step, may_ask: bool, now: Bits<32>) -> Step {
    let mut n = s;
    if s.c.grow.asks && may_ask {
        n.w.guard.tick = tick(now);
        n.w.guard.credit = bits::<24>(0);
    }
    n
}
