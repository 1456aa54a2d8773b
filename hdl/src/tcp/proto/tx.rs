//! What to send for a connection, one segment at a time (programmer's guide 7).
use super::guard::{again, edge, is_silent, owes, resent};
use super::record::{Fixed, Work};
use super::step::{
    is_active, Ctx, Pick, Plan, Step, Why, CLOSED, CLOSE_WAIT, CLOSING, ESTABLISHED, FIN_WAIT_1, LAST_ACK,
};
use super::text::has_ranges;
use crate::prelude::*;
use crate::tcp::ack::bare_seq;
use crate::tcp::ranges::{sack_blocks, Again, Sack};
use crate::tcp::seq::{ahead, before, later, min32};
use crate::tcp::window::{segment_len, update_due, window_field, SendInput};
use crate::types::{TxJob, TCP_ACK, TCP_CWR, TCP_ECE, TCP_FIN, TCP_PSH, TCP_RST};

/// ECN field: this transport understands marks (RFC 3168 5).
const ECT_0: u64 = 2;

/// The record as a segment tells the peer of it: what is durable (law L2). With `EARLY` as it will tell of it when all records under way are
/// durable: right for what is kept until then (`issue`); for what is sent at once it is the NIC that the tests of law L2 must catch.
#[kernel]
pub fn told<const EARLY: usize>(w: Work) -> Work {
    if EARLY == 0 {
        w
    } else {
        let mut n = w;
        n.rcv.durable_nxt = w.rcv.nxt;
        n.rcv.durable_right = w.rcv.right;
        n
    }
}

/// States in which data or a FIN may be sent.
#[kernel]
fn may_send(state: Bits<8>) -> bool {
    state == ESTABLISHED
        || state == CLOSE_WAIT
        || state == FIN_WAIT_1
        || state == CLOSING
        || state == LAST_ACK
}

/// An acknowledgment is due.
#[kernel]
fn ack_due(w: Work) -> bool {
    let mss = bit_cast::<32, 16>(w.fixed.eff_mss);
    let r = w.rcv;
    let capacity = w.cached.initial_rcv_wnd;
    // Who has closed its half sends no more text, whatever the window.
    let tells = !w.flags.peer_fin && update_due(r.durable_nxt, r.adv_right, r.durable_right, capacity, mss);
    w.flags.ack_now || tells
}

/// An acknowledgment of its own has SACK blocks.
#[kernel]
fn tells_ranges(w: Work) -> bool {
    w.fixed.flags.sack && w.ooo.r0.start != w.ooo.r0.end && !w.flags.arriving
}

/// Text that was not sent before.
#[kernel]
fn unsent(w: Work) -> Bits<32> {
    ahead(w.snd.max, w.limit)
}

/// New data or our FIN.
#[kernel]
fn fresh(w: Work, usable: Bits<32>, smss: Bits<32>) -> Plan {
    let nxt = w.snd.max;
    let len = segment_len(SendInput {
        unsent: unsent(w),
        usable,
        smss,
        max_snd_wnd: w.snd.max_wnd,
        is_idle: w.snd.una == w.snd.max,
        is_nagle: w.cached.flags.nagle && !w.flags.fin_posted,
    });
    let fin = w.flags.fin_posted && !w.flags.fin_sent && nxt + len == w.limit;
    let why = if len != 0 || fin { Why::New } else { Why::Nothing };
    Plan { why, seq: nxt, len: bit_cast::<16, 32>(len), fin }
}

/// Text may be sent, as far as the connection is concerned.
#[kernel]
fn has_voice(w: Work) -> bool {
    is_active(w) && !w.flags.invalid && may_send(w.state)
}

/// Up to where text may go: what the network and the peer have room for; a probe of the network asks the peer alone.
#[kernel]
fn right(w: Work, is_probe: bool) -> Bits<32> {
    if is_probe {
        w.snd.una + w.snd.wnd
    } else if w.guard.is_guarded {
        edge(w)
    } else {
        w.snd.una + min32(w.rc.cw.cwnd, w.snd.wnd)
    }
}

/// A bare acknowledgment.
#[kernel]
fn bare(w: Work) -> Plan {
    Plan { why: Why::Ack, seq: bare_seq(w.snd, w.fixed.snd_wind_shift), len: bits::<16>(0), fin: false }
}

/// Nothing but acknowledgments is to be sent, as long as nothing else happens.
#[kernel]
fn is_quiet(w: Work) -> bool {
    let is_calm = is_active(w) && !w.flags.invalid && !w.side.reset && !w.guard.is_guarded;
    let is_all_sent = !before(w.snd.max, w.limit) && (!w.flags.fin_posted || w.flags.fin_sent);
    let asks_nothing = !w.flags.probe && !w.side.first_job && !has_ranges(w);
    is_calm && is_all_sent && asks_nothing
}

/// Stage 6: the record that this pass ordered, of new text, is the newest, and will want no more than an acknowledgment.
#[kernel]
pub fn foretells(s: Step) -> bool {
    s.c.pick == Pick::Rx && s.c.moved && s.c.publish && is_quiet(s.w)
}

/// Stage 6: a doorbell, or an older record, that changes nothing of what was foretold.
#[kernel]
pub fn leaves_it(s: Step) -> bool {
    (s.c.pick == Pick::Bell || s.c.pick == Pick::Commit) && !s.c.publish && is_quiet(s.w)
}

/// What to send now. `silent`: no text, and no probe; `resends`: what is lost may go again; `is_probe`: a probe is due (RFC 8985 7.3): new text, else the
/// last segment again.
#[kernel]
fn choose(w: Work, smss: Bits<32>, silent: bool, resends: bool, is_probe: bool) -> Plan {
    let snd = w.snd;
    let usable = ahead(snd.max, right(w, is_probe));
    // However short.
    let some = min32(min32(unsent(w), usable), smss);
    let some = Plan { why: Why::New, seq: snd.max, len: bit_cast::<16, 32>(some), fin: false };
    let second = again(w, is_probe, smss);
    // While the window is closed only the persist timer sends, and nothing that the peer has no room for; and nothing new goes before what is lost.
    let data = has_voice(w) && !silent && !w.flags.persist;
    let is_owed = w.guard.is_guarded && w.guard.has_lost && snd.una != snd.max;
    let is_next = data && !is_owed;
    let new = fresh(w, usable, smss);
    let at = bare_seq(snd, w.fixed.snd_wind_shift);
    if is_probe {
        if some.len != 0 {
            some
        } else {
            second
        }
    } else if w.side.reset {
        Plan { why: Why::Reset, seq: at, len: bits::<16>(0), fin: false }
    } else if data && resends {
        second
    } else if is_next && new.why == Why::New {
        new
    } else if is_next && w.flags.probe && some.len != 0 {
        some
    } else if w.flags.probe && !silent && is_active(w) && !w.flags.invalid {
        // G-43, R-248: left of the window, so every peer answers it; Linux probes in the same way.
        Plan { why: Why::Probe, seq: snd.una - 1, len: bits::<16>(0), fin: false }
    } else if ack_due(w) && !w.flags.stopped && !w.flags.aborted && !w.flags.invalid && w.state != CLOSED {
        bare(w)
    } else {
        Plan { why: Why::Nothing, seq: at, len: bits::<16>(0), fin: false }
    }
}

/// Stage 5: what may be sent now? Only if there is room for a job.
#[kernel]
pub fn tx_plan(s: Step, now: Bits<32>, smss: Bits<32>) -> Step {
    let (w, snd) = (s.w, s.w.snd);
    let silent = is_silent(w.guard, s.c.ask);
    let tail = w.guard.probe_due && has_voice(w) && !silent && !w.flags.persist && snd.una != snd.max;
    let resends = owes(w);
    // What the loss unit has to hear of waits for it, and so does the text behind it.
    let lacks = !s.c.has_unit && !silent && (tail || (has_voice(w) && resends));
    let waits = lacks || s.c.is_held;
    let rest = bare(w);
    let mut n = s;
    // Where an acknowledgment would stand, which the pass may foretell.
    n.c.plan = Plan { why: Why::Nothing, ..rest };
    if s.c.want_tx && s.c.may_send && s.w.fixed.generation != 0 {
        let plan = choose(w, smss, silent || waits, resends, tail && !waits);
        n.c.plan = if s.c.is_acked { rest } else { plan };
        n.c.is_probe = tail && !waits && !s.c.is_acked;
        // Stage 6 asks for another turn, if there may be more.
        let is_left = s.c.is_acked && plan.why != Why::Ack;
        n.c.want_tx = waits || is_left || (w.guard.is_behind && !s.c.ask.is_asked);
        if !is_text(n.c.plan.why)
            && is_active(w)
            && !silent
            && before(snd.max, w.limit)
            && snd.una == snd.max
            && !w.tm.on.rtx
        {
            // The window is too small for a segment and nothing is in flight; an acknowledgment may have taken the turn.
            n.w.tm.on.rtx = true;
            n.w.tm.rtx = now + w.tm.rto_us;
        }
    }
    n.w.guard.probe_due = w.guard.probe_due && snd.una != snd.max;
    n
}

/// The state after our FIN was sent first.
#[kernel]
fn after_fin_sent(state: Bits<8>) -> Bits<8> {
    if state == ESTABLISHED {
        bits::<8>(FIN_WAIT_1)
    } else if state == CLOSE_WAIT {
        bits::<8>(LAST_ACK)
    } else {
        state
    }
}

/// Text or our FIN is sent.
#[kernel]
fn is_text(why: Why) -> bool {
    why == Why::Lost || why == Why::New
}

/// Send variables, timers and flags after the transmitter took the segment. `timeout`: the deadline of one that begins now.
#[kernel]
fn sent_text(w: Work, p: Plan, now: Bits<32>, timeout: Bits<32>) -> Work {
    let end = p.seq + bit_cast::<32, 16>(p.len) + p.fin;
    // What is new begins at SND.MAX.
    let is_new = p.why == Why::New;
    let mut n = w;
    if is_new {
        n.snd.max = end;
    }
    if p.fin && !w.flags.fin_sent {
        n.flags.fin_sent = true;
        n.state = after_fin_sent(w.state);
    }
    if is_new {
        n.flags.probe = false;
    }
    n.side.sent_us = now;
    // Nothing was in flight: what ran was the timer of a small window.
    let is_first = w.snd.una == w.snd.max && !w.flags.persist;
    if !w.tm.on.rtx || is_first {
        // RFC 6298 5.1.
        n.tm.on.rtx = true;
        n.tm.rtx = timeout;
    }
    if is_new && !w.flags.rtt_running {
        n.flags.rtt_running = true;
        n.rtt_seq = end;
        n.rtt_start_us = now;
    } else if !is_new {
        n.flags.rtt_running = false; // Karn
    }
    if !is_new {
        n.cnt.retransmits = w.cnt.retransmits + 1;
    }
    n
}

/// Stage 6, when there is something to send.
#[kernel]
pub fn tx_sent(s: Step, now: Bits<32>) -> Step {
    let p = s.c.plan;
    let mut n = s;
    if is_text(p.why) {
        n.w = sent_text(s.w, p, now, s.c.waits_us.at_rto);
        n.c.want_tx = true;
        n = resent(s, n);
    } else if p.why == Why::Probe {
        n.w.flags.probe = false;
    } else if p.why == Why::Reset {
        n.w.side.reset = false;
    }
    n.w.cnt.segs_out = s.w.cnt.segs_out + 1;
    n.w.side.first_job = false;
    n.w.marks.cwr = s.w.marks.cwr && !is_new_text(p);
    if p.why == Why::Probe {
        // The peer answers a probe and looks no further (RFC 9293 3.10.7.4, first check): it acknowledges nothing.
        n.c.want_tx = s.w.flags.ack_now && is_active(s.w);
    } else {
        // Every other segment acknowledges what is durable; what lies beyond a hole is told without text only.
        n.w.flags.ack_now = s.w.flags.ack_now && p.len != 0 && tells_ranges(s.w);
        n.w.tm.on.delack = s.w.tm.on.delack && s.w.flags.arriving;
        n.w.rcv.ack_pending = bits::<8>(0);
        n.w.rcv.last_ack_sent = s.w.rcv.durable_nxt;
        n.w.rcv.adv_right = later(s.w.rcv.adv_right, s.w.rcv.durable_right);
    }
    n
}

/// Flags of a segment. PSH when it empties the queue.
#[kernel]
fn flags(w: Work, p: Plan) -> Bits<8> {
    let end = p.seq + bit_cast::<32, 16>(p.len);
    let fin = if p.fin { bits::<8>(TCP_FIN) } else { bits::<8>(0) };
    let push = if p.len != 0 && end == w.limit { bits::<8>(TCP_PSH) } else { bits::<8>(0) };
    let reset = if p.why == Why::Reset { bits::<8>(TCP_RST) } else { bits::<8>(0) };
    let echo = if w.marks.echo && p.why != Why::Reset { bits::<8>(TCP_ECE) } else { bits::<8>(0) };
    let cwr = if w.marks.cwr && is_new_text(p) { bits::<8>(TCP_CWR) } else { bits::<8>(0) };
    fin | push | reset | echo | cwr | bits::<8>(TCP_ACK)
}

/// The segment has text that was not sent before.
#[kernel]
fn is_new_text(p: Plan) -> bool {
    p.why == Why::New && p.len != 0
}

/// The byte with DSCP and ECN. Of a connection with ECN only new text can be marked: no retransmission, probe or bare acknowledgment
/// (RFC 3168 6.1.4 to 6.1.6).
#[kernel]
fn tos(w: Work, p: Plan) -> Bits<8> {
    let field = if is_new_text(p) { bits::<2>(ECT_0) } else { bits::<2>(0) };
    if w.fixed.flags.ecn && p.why != Why::Reset {
        cat::<8, _>((w.cached.tos.get_bits::<6>(2), field))
    } else {
        w.cached.tos
    }
}

/// The text of the segment that is answered, if it had arrived before: the peer is told once, at once.
#[kernel]
pub fn came_again(c: Ctx) -> Again {
    Again { any: c.again, start: c.cur, end: c.end }
}

/// The job of a plan. `ack` and `wnd` are durable values (law L2).
#[kernel]
pub fn job<const EARLY: usize>(w: Work, p: Plan, conn: Bits<16>, again: Again, now_ms: Bits<32>) -> TxJob {
    let w = told::<EARLY>(w);
    let f: Fixed = w.fixed;
    let room = if f.flags.timestamps { bits::<3>(3) } else { bits::<3>(4) };
    let sack: Sack = sack_blocks(w.ooo, w.rcv.nxt, room, again);
    let with_sack = f.flags.sack && p.len == 0 && p.why != Why::Reset && !w.flags.arriving;
    TxJob {
        conn,
        path: f.path,
        local_port: f.local_port,
        remote_port: f.remote_port,
        seq: p.seq,
        ack: w.rcv.durable_nxt,
        wnd: window_field(w.rcv.durable_nxt, w.rcv.durable_right, f.rcv_wind_shift),
        flags: flags(w, p),
        len: p.len,
        has_ts: f.flags.timestamps,
        ts_val: now_ms + w.ts_offset,
        ts_ecr: w.rcv.ts_recent.val,
        sack_count: if with_sack { sack.count } else { bits::<3>(0) },
        sack: sack.blocks,
        ttl: w.cached.ttl,
        tos: tos(w, p),
        flow_label: w.cached.flow_label.get_bits::<20>(0),
        priority: w.cached.user_priority.get_bits::<3>(0),
        send_ring: f.send_ring,
        send_ring_log2: f.send_ring_log2,
        reset_cursor: w.side.first_job,
        retransmit: p.why == Why::Lost,
    }
}
