//! How the window of a calm connection grows: with SACK when its first slow start ends (HyStart++, [`crate::tcp::hystart`]); and with CUBIC how it
//! goes on, and when CUBIC's program is asked (RFC 9438 4.2, 4.3).
//!
//! ```text
//!   slow start: stage 2 echoed: a round trip | 3 counting, sampled | 4 compared | 5 ended
//!   CUBIC:      stage 3 counted: are the bytes enough for a segment more? | 4 gained, rested: a pause | 6 requested: at most once a millisecond
//! ```
//! The growth of slow start and the limits are those of NewReno (`tcp/cwnd.rs`). While the connection is guarded its window is the loss
//! unit's: slow start goes on as it was, and CUBIC's program is asked all the same. The image has no fields for the state of slow start, so whoever
//! gets a connection in its first one begins with a round of its own.
use super::guard::{self, is_silent};
use super::record::Work;
use super::rx::decides;
use super::step::{is_active, Step};
use crate::prelude::*;
use crate::tcp::cwnd::{initial_window, is_half_used, MAX_CWND, PHASE_OPEN};
use crate::tcp::hystart::{gathered, judged, limits, paced, Sample};
use crate::tcp::loss::growth::{credited, pace, tick, Growth, GrowthAsk};
use crate::tcp::loss::prr::add_limited;
use crate::tcp::seq::{before, max32, min32};
use crate::types::RxSeg;

/// `MAX_CWND` is this bit: a threshold that large was never set.
const NO_THRESHOLD: usize = 30;

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

/// Stage 3: `s` before, `n` after recovery. `growth`: what CUBIC's program said.
#[kernel]
pub fn counted(s: Step, n: Step, smss: Bits<32>, growth: Growth, now: Bits<32>) -> Step {
    let (c, cw, g) = (s.c, s.w.rc.cw, s.w.guard);
    let p = pace(growth, s.w.rc.epoch);
    // As in `cwnd::grow`: a window that is not used says nothing about the network.
    let grows = avoids(s.w) && c.is_new_ack && c.flight + (smss << bits::<1>(1)) >= cw.cwnd;
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
/// CUBIC begins a new epoch (RFC 9438 5.8). With or without SACK. A closed window is no pause: nothing could be sent, and what is, once it opens, comes after
/// an exchange.
#[kernel]
pub fn rested(s: Step, now: Bits<32>) -> Step {
    let w = s.w;
    let rests = is_active(w) && w.snd.una == w.snd.max && !w.flags.persist && before(w.snd.max, w.limit);
    let is_due = rests && (now - w.side.sent_us) > w.tm.rto_us;
    let mut n = s;
    if is_due && w.guard.is_guarded {
        // The window is the loss unit's. No text goes while a question is open, so the answer finds the pause again.
        if !is_silent(w.guard, s.c.ask) {
            n = guard::rested(s);
            n.w.side.sent_us = if s.c.has_unit { now } else { w.side.sent_us };
        }
    } else if is_due {
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

/// RFC 9406 4.3: the first slow start, the only one that does not know where to end.
#[kernel]
fn is_first_slow_start(w: Work) -> bool {
    w.fixed.flags.sack
        && w.rc.phase == PHASE_OPEN
        && w.rc.cw.cwnd < w.rc.cw.ssthresh
        && w.rc.cw.ssthresh.get_bits::<2>(NO_THRESHOLD).any()
}

/// Stage 2, after the acknowledgment was taken: its round trip, of the timestamp that it echoes or of the segment that was timed.
#[kernel]
pub fn echoed(n: Step, seg: RxSeg, now_ms: Bits<32>) -> Step {
    let (w, ask) = (n.w, n.c.ask);
    let is_echo = w.fixed.flags.timestamps && seg.has_ts;
    let mut m = n;
    m.c.sample = Sample {
        is_new_round: ask.has_rtt,
        has_rtt: is_echo || ask.has_rtt,
        rtt_ms: if is_echo { now_ms + w.ts_offset - seg.ts_ecr } else { ask.rtt_us >> bits::<4>(10) },
        is_echo,
    };
    m
}

/// Stage 3: bytes that let the window of `w` grow.
#[kernel]
pub fn counting(w: Work, acked: Bits<32>) -> Bits<32> {
    if is_first_slow_start(w) {
        paced(w.hystart, acked)
    } else {
        acked
    }
}

/// Stage 3: `s` before, `n` after recovery. A window that is not used says nothing (`cwnd::grow`).
#[kernel]
pub fn sampled(s: Step, n: Step, smss: Bits<32>) -> Step {
    let c = s.c;
    let is_used = is_half_used(s.w.rc.cw, c.flight);
    let mut m = n;
    if decides(s) && c.is_new_ack && is_used && is_first_slow_start(s.w) {
        let (state, judgement) = gathered(s.w.hystart, c.sample, c.acked > smss);
        m.w.hystart = state;
        m.c.judgement = judgement;
    }
    m
}

/// Stage 4.
#[kernel]
pub fn compared(s: Step) -> Step {
    let mut n = s;
    n.c.judgement = limits(s.w.hystart, s.c.judgement);
    n
}

/// Stage 5: slow start is over at this window.
#[kernel]
pub fn ended(s: Step) -> Step {
    let (state, is_over) = judged(s.w.hystart, s.c.judgement);
    let mut n = s;
    n.w.hystart = state;
    if is_over {
        n.w.rc.cw.ssthresh = s.w.rc.cw.cwnd;
    }
    n
}
