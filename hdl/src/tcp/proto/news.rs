//! What is not a segment: doorbells, durable shadow records, failed jobs, deadlines; and the end of every pass.
use super::guard::{timed_out, waited};
use super::op::is_too_far;
use super::record::{Cached, Clocks, Fixed, Side, Work};
use super::step::{
    fin_acked, is_active, is_mandatory, reason, told_reason, Ctx, Env, Pick, Step, Why, CLOSED, ESTABLISHED,
    FIN_WAIT_2, HARDWARE, INVALID_STATE, REQUESTED, TIMEOUT, URGENT,
};
use super::text::has_ranges;
use crate::prelude::*;
use crate::tcp::place::order::{Commit, PlaceOrder, Snap, PLACE_LOAD, PLACE_TELL, PLACE_WORK};
use crate::tcp::rtt::{backed_off, backed_off_more};
use crate::tcp::seq::{after, ahead, at_or_before, before, earlier, min32};
use crate::tcp::timers::Deadline;
use crate::tcp::watchdog::{
    Deed, DROP_RATE, FRAGMENTATION, LOW_ACTIVITY, NONE_NOW, NO_PREPOSTING, OUT_OF_ORDER, SMALL_IO,
};
use crate::tcp::window::{aligned_edge, update_due, MAX_WINDOW};
use crate::types::{Doorbell, EngineCounts, RxSeg, TcpParams, TxDone};
use chimney_abi::regs::DOORBELL_FIN;
use chimney_abi::state::MAX_RT_UNLIMITED;

const FIN: u64 = DOORBELL_FIN as u64;
const NO_LIMIT: u64 = MAX_RT_UNLIMITED as u64;
/// log2 of the longest distance at which a keepalive deadline is looked at, milliseconds.
const FAR: u64 = 21;

/// Stage 1: a doorbell.
#[kernel]
pub fn bell(s: Step, d: Doorbell, now: Bits<32>) -> Step {
    let w = s.w;
    let fin = (d.flags & bits::<8>(FIN)) != 0;
    let backwards = after(w.limit, d.limit) || (w.flags.fin_posted && d.limit != w.limit);
    let refused = backwards || is_too_far(d.limit - w.snd.una, w.flags.fin_sent);
    let mut n = s;
    if w.fixed.generation == 0 || w.fixed.generation != d.generation {
        n.c.counts.stale = true; // law L1
        n.c.forget = true;
    } else if !d.receive && refused {
        n.c.counts.bad_request = true;
        n.c.forget = true;
    } else if !d.receive {
        n.w.limit = d.limit;
        n.w.send_producer = d.producer;
        n.w.flags.fin_posted = w.flags.fin_posted || fin;
        n.c.want_tx = true;
        let is_first = before(w.snd.una, d.limit) && w.snd.una == w.snd.max;
        if is_active(w) && w.snd.wnd == 0 && !w.flags.persist && is_first {
            // data for a closed window. A FIN alone takes no room, and goes.
            n.w.flags.persist = true;
            n.w.tm.probe_round = bits::<8>(0);
            n.w.tm.retransmit_count = bits::<8>(0);
            n.w.tm.on.rtx = true;
            n.w.tm.rtx = now + w.tm.rto_us;
        }
    } else {
        // Law L3: the edge moves right or not at all; never more than the page map can hold.
        let is_further = after(d.limit, w.rcv.limit) && (d.limit - w.rcv.nxt) <= MAX_WINDOW;
        if is_further {
            n.w.rcv.limit = d.limit;
        }
        if is_further && after(d.limit, w.rcv.right) {
            n.w.rcv.right = aligned_edge(w.rcv.nxt, d.limit, d.limit, w.fixed.rcv_wind_shift);
        }
        n.c.bell = is_active(w);
        n.c.producer = d.producer;
        // The edge may be told when it is durable; if the peer need not hear of it now, the next record will say it.
        n.c.publish = !is_active(w)
            || (w.side.commits == 0
                && edge_due(w.rcv.adv_right, n.w.rcv.right, w.cached, w.fixed, w.rcv.durable_nxt));
    }
    n
}

/// The peer hears of the right edge at once if it is durable (SWS avoidance, RFC 9293 3.8.6.2.2), also when it has no room for a segment.
#[kernel]
fn edge_due(told: Bits<32>, right: Bits<32>, c: Cached, f: Fixed, nxt: Bits<32>) -> bool {
    let mss = bit_cast::<32, 16>(f.eff_mss);
    let is_narrow = after(right, told) && ahead(nxt, told) < mss;
    is_narrow || update_due(nxt, told, right, c.initial_rcv_wnd, mss)
}

/// Stage 1: everything the shadow record counts is in host memory; only now it may be acknowledged.
#[kernel]
pub fn committed(s: Step, k: Commit, now: Bits<32>, p: TcpParams) -> Step {
    let mut n = s;
    let commits = s.w.side.commits - bit_cast::<8, 2>(k.count);
    n.w.side.commits = commits;
    if k.fault {
        if !s.w.flags.stopped {
            n.w.flags.stopped = true;
            n.w.reason = reason(s.w.reason, bits::<8>(HARDWARE));
            n.c.publish = true;
            n.c.raise = true;
        }
    } else {
        n.w.rcv.durable_nxt = k.nxt;
        n.w.rcv.durable_right = k.right;
        let pending = s.w.rcv.ack_pending + bit_cast::<8, 2>(k.data);
        let has_data = k.data != 0;
        n.w.rcv.ack_pending = pending;
        let (told, c, f) = (s.w.rcv.adv_right, s.w.cached, s.w.fixed);
        if k.now || (has_data && pending >= p.ack_frequency) {
            n.w.flags.ack_now = true;
            n.c.want_tx = true;
        } else if has_data && !s.w.tm.on.delack {
            n.w.tm.on.delack = true;
            n.w.tm.delack = now + p.delayed_ack_us;
        }
        if edge_due(told, k.right, c, f, k.nxt) {
            n.c.want_tx = true;
        }
        // A doorbell that came meanwhile left its edge to this record, which did not say it yet.
        if commits == 0 && s.w.rcv.right != k.right && edge_due(told, s.w.rcv.right, c, f, k.nxt) {
            n.c.publish = true;
        }
    }
    n
}

/// Stage 1: no job reads below `pub_next` any more (law L1).
#[kernel]
pub fn published(s: Step) -> Step {
    let mut n = s;
    n.w.side.pub_wait = false;
    n.w.side.pub_una = s.w.side.pub_next;
    n.c.publish = true;
    n.c.raise = true;
    n
}

/// Stage 1: the transmitter could not do a job.
#[kernel]
pub fn tx_fail(s: Step, d: TxDone) -> Step {
    let mut n = s;
    if !s.w.flags.stopped {
        let why = if d.result == 1 { bits::<8>(INVALID_STATE) } else { bits::<8>(HARDWARE) };
        n.w.flags.stopped = true;
        n.w.reason = reason(s.w.reason, why);
        n.c.publish = true;
        n.c.raise = true;
    }
    n
}

/// `running`, and the deadline has come.
#[kernel]
fn due(running: bool, at: Bits<32>, now: Bits<32>) -> bool {
    running && at_or_before(at, now)
}

/// Time spent retransmitting, with the timeout that has just passed.
#[kernel]
fn waited_in_all(w: Work, max_rto_us: Bits<32>) -> Bits<32> {
    let waited = backed_off(w.tm.rto_us, w.tm.retransmit_count, max_rto_us);
    let total = bit_cast::<33, 32>(w.tm.total_rt_us) + bit_cast::<33, 32>(waited);
    let most = bits::<32>(NO_LIMIT - 1);
    if total.get_bit(32) {
        most
    } else {
        min32(total.get_bits::<32>(0), most)
    }
}

/// The retransmission limit is exceeded; for probes the count alone.
#[kernel]
fn exhausted(w: Work, max_rto_us: Bits<32>) -> bool {
    let total = waited_in_all(w, max_rto_us);
    let many = w.tm.retransmit_count >= w.cached.max_retransmissions;
    if w.flags.persist {
        many && w.cached.max_retransmissions != 0
    } else if w.cached.max_rt_us == 0 {
        many
    } else {
        w.cached.max_rt_us != NO_LIMIT && total >= w.cached.max_rt_us
    }
}

/// The retransmission timer fired: a probe, or all that is in flight counts as lost (RFC 6298 5.4 to 5.7). `at`: when it does again.
#[kernel]
fn retransmission(w: Work, at: Bits<32>, max_rto_us: Bits<32>) -> Work {
    let mut n = w;
    n.tm.retransmit_count = w.tm.retransmit_count + !w.tm.retransmit_count.all();
    n.tm.rtx = at;
    if w.flags.persist {
        n.flags.probe = true;
    } else {
        n.tm.total_rt_us = waited_in_all(w, max_rto_us);
        n.flags.rtt_running = false;
        n.marks.cwr = w.fixed.flags.ecn;
    }
    n
}

/// The deadline is a plain timeout or that of a closed window: not a probe's, and not one of reordered segments.
#[kernel]
fn is_plain(w: Work) -> bool {
    w.flags.persist || !(w.guard.is_probe || w.guard.is_reorder || w.guard.is_behind)
}

/// How long the timer that has come waits next: that of retransmissions microseconds, that of keepalive milliseconds.
#[kernel]
fn next_wait(w: Work, is_rtx: bool, max_rto_us: Bits<32>) -> Bits<32> {
    let waited = backed_off(w.tm.rto_us, w.tm.retransmit_count, max_rto_us);
    let every = w.cached.ka_interval_ms;
    if !is_rtx {
        if every == 0 {
            bits::<32>(1_000)
        } else {
            every
        }
    } else if w.flags.persist || !is_plain(w) {
        waited
    } else {
        backed_off_more(waited, w.tm.retransmit_count, max_rto_us)
    }
}

/// Stage 3: one deadline that has come; the scanner comes again for the next.
#[kernel]
pub fn expire(s: Step, v: Env) -> Step {
    let (w, now, p) = (s.w, v.now_us, v.p);
    let p: TcpParams = p;
    let is_rtx = due(w.tm.on.rtx, w.tm.rtx, now);
    let next = (if is_rtx { now } else { v.now_ms }) + next_wait(w, is_rtx, p.max_rto_us);
    let mut n = s;
    if !is_active(w) {
        // The deadline entry is rewritten as off.
        n.c.want_tx = false;
    } else if due(w.tm.on.delack, w.tm.delack, now) {
        let owed = !w.flags.arriving || has_ranges(w) || w.rcv.ack_pending != 0;
        n.w.flags.arriving = false;
        n.w.tm.on.delack = false;
        n.w.flags.ack_now = w.flags.ack_now || owed;
        n.c.want_tx = owed;
    } else if due(w.tm.on.push, w.tm.push, now) {
        n.w.tm.on.push = false;
        n.c.push = true;
        n.c.publish = true;
    } else if is_rtx {
        let idle = w.snd.una == w.snd.max && !w.flags.persist;
        if !idle && !is_plain(w) {
            n = waited(s, next);
        } else if w.state == FIN_WAIT_2 || (!idle && exhausted(w, p.max_rto_us)) {
            //
            n.w.state = if w.state == FIN_WAIT_2 { bits::<8>(CLOSED) } else { w.state };
            n.w.tm.on.rtx = false;
            if w.state != FIN_WAIT_2 && !w.flags.persist {
                n.w.tm.total_rt_us = waited_in_all(w, p.max_rto_us);
            }
            n.w.flags.stopped = true;
            n.w.reason = reason(w.reason, bits::<8>(TIMEOUT));
            n.c.publish = true;
            n.c.raise = true;
        } else if idle {
            // RFC 9293 3.8.6.2.1: the window stayed too small for a segment; send what it allows.
            n.w.tm.on.rtx = false;
            n.w.flags.probe = before(w.snd.max, w.limit);
            n.c.want_tx = before(w.snd.max, w.limit);
        } else {
            let again = Step { c: s.c, w: retransmission(w, next, p.max_rto_us) };
            n = if w.flags.persist { again } else { timed_out(again, w.tm.retransmit_count == 0) };
            n.c.counts.rto = !w.flags.persist;
            n.c.want_tx = true;
        }
    } else if due(w.tm.on.keep_alive, w.tm.keep_alive, v.now_ms) {
        let probes = if w.cached.ka_probe_count == 0 { bits::<8>(10) } else { w.cached.ka_probe_count };
        if w.tm.ka_probes >= probes {
            n.w.state = bits::<8>(CLOSED);
            n.w.flags.stopped = true;
            n.w.reason = reason(w.reason, bits::<8>(TIMEOUT));
            n.c.publish = true;
            n.c.raise = true;
        } else {
            // Unacknowledged text tests the peer already.
            let tests = w.snd.una == w.snd.max;
            n.w.tm.ka_probes = w.tm.ka_probes + tests;
            n.w.tm.keep_alive = next;
            n.w.flags.probe = w.flags.probe || tests;
            n.c.want_tx = tests;
        }
    }
    n
}

/// The earlier of two deadlines.
#[kernel]
fn sooner(d: Deadline, on: bool, at: Bits<32>) -> Deadline {
    if !on {
        d
    } else if !d.running {
        Deadline { running: true, at }
    } else {
        Deadline { running: true, at: earlier(d.at, at) }
    }
}

/// When to look at a keepalive deadline, which is in milliseconds, again: when half of what is left has passed, and a little more, so that
/// nothing is multiplied. The last time is exact.
#[kernel]
pub fn wakes(at_ms: Bits<32>, v: Env) -> Bits<32> {
    let left = ahead(v.now_ms, at_ms);
    // 512 microseconds for each millisecond, at most 2^30.
    let near = if (left >> bits::<5>(FAR)).any() { bits::<32>(1 << FAR) } else { left };
    let wait = if left == 1 { bits::<32>(1000) } else { near << bits::<4>(9) };
    v.ms_us + wait
}

/// What the scanner watches for a record.
#[kernel]
pub fn earliest(w: Work, v: Env) -> Deadline {
    let t: Clocks = w.tm;
    let d = sooner(Deadline { running: t.on.rtx, at: t.rtx }, t.on.delack, t.delack);
    let d = sooner(sooner(d, t.on.push, t.push), t.on.keep_alive, wakes(t.keep_alive, v));
    Deadline { running: d.running && is_active(w), at: d.at }
}

/// Law L1: SND.UNA is published when no job reads below it. `quiet`: no job of the connection is under way.
#[kernel]
fn publishable(side: Side, una: Bits<32>, quiet: bool) -> Side {
    let mut n = side;
    if side.pub_una != una && !side.pub_wait {
        n.pub_next = una;
        n.pub_wait = !quiet;
        if quiet {
            n.pub_una = una;
        }
    }
    n
}

/// Stage 3: the watchdog asks for the upload of a connection that is open both ways, or no longer does.
#[kernel]
pub fn noticed(s: Step) -> Step {
    let w = s.w;
    let why = if s.c.notice == NONE_NOW { bits::<8>(0) } else { bit_cast::<8, 4>(s.c.notice) };
    let may = is_active(w) && w.state == ESTABLISHED && !is_mandatory(w.reason);
    let mut n = s;
    if s.c.notice.any() && may && w.reason != why {
        n.w.reason = why;
        n.c.publish = true;
        n.c.asks = why.any();
        n.c.raise = s.c.raise || why.any();
    }
    n
}

/// Stage 6: the pass asks for the upload, counted by its reason: one that must be granted once for each connection.
#[kernel]
fn uploads(s: Step) -> EngineCounts {
    let is_new = !s.c.is_asked_for && !s.c.forget;
    let asks = s.c.asks && !s.c.forget;
    let why = s.w.reason;
    EngineCounts {
        upload_urgent: is_new && why == URGENT,
        upload_timeout: is_new && why == TIMEOUT,
        upload_invalid_state: is_new && why == INVALID_STATE,
        upload_requested: is_new && why == REQUESTED,
        upload_hardware: is_new && why == HARDWARE,
        upload_low_activity: asks && why == LOW_ACTIVITY,
        upload_drop_rate: asks && why == DROP_RATE,
        upload_small_io: asks && why == SMALL_IO,
        upload_no_preposting: asks && why == NO_PREPOSTING,
        upload_fragmentation: asks && why == FRAGMENTATION,
        upload_out_of_order: asks && why == OUT_OF_ORDER,
        ..s.c.counts
    }
}

/// Stage 6: what follows from the event.
#[kernel]
pub fn finish(s: Step, quiet: bool) -> Step {
    let side = publishable(s.w.side, s.w.snd.una, quiet);
    let mut n = s;
    n.w.side = side;
    n.w.side.queued = side.queued || (s.c.want_tx && s.w.fixed.generation != 0);
    n.c.raise = s.c.raise || side.pub_una != s.w.side.pub_una;
    n.c.publish = s.c.publish || side.pub_una != s.w.side.pub_una;
    n.w.side.commits = side.commits + n.c.publish;
    n.c.counts = uploads(s);
    n
}

/// What PROTO puts into the shadow record.
#[kernel]
fn snap(w: Work) -> Snap {
    Snap {
        state: cat::<8, _>((told_reason(w).get_bits::<4>(0), w.state.get_bits::<4>(0))),
        rcv_nxt: w.rcv.nxt,
        snd_una: w.side.pub_una,
        rcv_right: w.rcv.right,
        snd_max: w.snd.max,
        snd_wnd: bit_cast::<16, 32>(w.snd.wnd >> w.fixed.snd_wind_shift),
        peer_fin: w.flags.peer_fin,
        fin_acked: fin_acked(w, w.side.pub_una),
        aborted: w.flags.aborted,
        retrieve: told_reason(w) != 0,
    }
}

/// The order to the placer that follows from a pass.
#[kernel]
pub fn order(s: Step, seg: RxSeg) -> PlaceOrder {
    let (w, c) = (s.w, s.c);
    let is_rx = c.pick == Pick::Rx;
    let takes = is_rx && c.take;
    let kind = if c.load {
        bits::<2>(PLACE_LOAD)
    } else if c.tell {
        bits::<2>(PLACE_TELL)
    } else {
        bits::<2>(PLACE_WORK)
    };
    PlaceOrder {
        kind,
        conn: c.conn,
        generation: w.fixed.generation,
        reserved: c.reserved,
        bell: c.bell,
        producer: c.producer,
        seq: if takes { c.cur } else { w.rcv.nxt },
        len: if takes { bit_cast::<16, 32>(c.end - c.cur) } else { bits::<16>(0) },
        src: c.src,
        is_ooo: takes && c.is_ooo,
        jump: c.jump,
        push: c.push && (takes || c.pick == Pick::Timer),
        fin: takes && c.fin,
        is_segment: is_rx,
        handed_up: c.up,
        free: if is_rx && !c.up { (seg.frame_len + 7) & bits::<16>(0xFFF8) } else { bits::<16>(0) },
        publish: c.publish,
        snap: snap(w),
        data: c.moved,
        now: c.now,
        raise: c.raise,
    }
}

/// A pass has an order for the placer.
#[kernel]
pub fn has_order(c: Ctx) -> bool {
    c.pick == Pick::Rx || c.publish || c.bell || c.load || c.tell
}

/// What the watchdog is told of a pass that `leaves` and, if it `sends`, of the segment. `end`: what it made of the record.
#[kernel]
pub fn deed(s: Step, end: Step, seg: RxSeg, sends: bool) -> Deed {
    let (c, plan) = (s.c, s.c.plan);
    let takes = c.pick == Pick::Rx && c.take;
    Deed {
        valid: c.valid && !end.c.forget,
        conn: c.conn,
        joins: c.load,
        progress: c.moved || c.is_new_ack,
        text: takes && c.end != c.cur,
        out_of_order: c.is_ooo,
        forwarded: seg.forwarded,
        sends: sends && (plan.len.any() || plan.fin),
        again: plan.why == Why::Lost,
        asked: end.w.reason.any() && !is_mandatory(end.w.reason),
    }
}
