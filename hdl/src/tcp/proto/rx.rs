//! A segment up to its text: may it be processed, what does its acknowledgment mean (RFC 9293 3.10.7.4).
//!
//! Stages 1 to 3 of the pipeline; [`super::text`] is the fourth.
use super::grow::{avoids, counting};
use super::guard::{is_echo, told};
use super::record::{Clocks, Receive, Work};
use super::step::{
    fin_acked, is_active, reason, Env, Step, CLOSED, CLOSING, FIN_WAIT_1, FIN_WAIT_2, LAST_ACK, REQUESTED,
    TIME_WAIT, URGENT,
};
use crate::prelude::*;
use crate::tcp::acceptable::{check, trim, Disposition};
use crate::tcp::ack::{advance, classify, is_duplicate, update_window, AckClass};
use crate::tcp::cwnd::{grow, is_held};
use crate::tcp::rtt::{backed_off, rto_us, sample};
use crate::tcp::seq::{after, ahead, at_or_after, before};
use crate::tcp::window::{paws_rejects, update_recent, SHIFT};
use crate::types::{RxSeg, TcpParams, TCP_ACK, TCP_FIN, TCP_PSH, TCP_RST, TCP_SYN, TCP_URG};

/// Keepalive time after a challenge ACK, milliseconds.
const CHALLENGE_MS: u64 = 300_000;

/// Does the segment carry this flag?
#[kernel]
pub fn has(seg: RxSeg, flag: u64) -> bool {
    (seg.flags & bits::<8>(flag)) != 0
}

/// SEG.LEN: text, SYN and FIN.
#[kernel]
pub fn seg_len(seg: RxSeg) -> Bits<32> {
    bit_cast::<32, 16>(seg.payload_len) + has(seg, TCP_SYN) + has(seg, TCP_FIN)
}

/// SEG.WND in bytes.
#[kernel]
fn seg_wnd(seg: RxSeg, shift: Bits<SHIFT>) -> Bits<32> {
    bit_cast::<32, 16>(seg.wnd) << shift
}

/// The receive window.
#[kernel]
pub fn rcv_wnd(r: Receive) -> Bits<32> {
    ahead(r.nxt, r.right)
}

/// The receive variables after an acceptable segment.
#[kernel]
fn heard(r: Receive, seg: RxSeg, stamps: bool, now_ms: Bits<32>) -> Receive {
    let mut n = r;
    n.last_rx_ms = now_ms;
    if stamps && seg.has_ts {
        n.ts_recent = update_recent(r.ts_recent, seg.ts_val, seg.seq, r.last_ack_sent, now_ms);
    }
    n
}

/// Timers after an acceptable segment: keepalive starts again, so does FIN_WAIT_2.
#[kernel]
fn rearm(w: Work, v: Env) -> Clocks {
    let mut t = w.tm;
    t.ka_probes = bits::<8>(0);
    t.on.keep_alive = w.cached.flags.keep_alive;
    t.keep_alive = v.now_ms + w.cached.ka_timeout_ms;
    if w.state == FIN_WAIT_2 {
        t.on.rtx = true;
        t.rtx = v.now_us + v.p.fin_wait_2_us;
    }
    t
}

/// a challenged peer that is gone must be found out: keepalive at the latest in 5 minutes.
#[kernel]
fn challenge_timer(tm: Clocks, now_ms: Bits<32>) -> Clocks {
    let latest = now_ms + CHALLENGE_MS;
    let mut t = tm;
    if !tm.on.keep_alive || after(tm.keep_alive, latest) {
        t.on.keep_alive = true;
        t.keep_alive = latest;
    }
    t
}

/// The verdict on a segment, before its contents count.
#[derive(Clone, Copy, Debug, PartialEq, LogicState)]
enum Fate {
    /// To be processed.
    Take,
    /// Forgotten.
    Drop,
    /// Forgotten and answered.
    Answer,
    /// Forgotten and challenged.
    Challenge,
    /// The connection is reset.
    Reset,
    /// A SYN at RCV.NXT.
    Syn,
    /// Urgent data.
    Urgent,
}

/// First to fifth check, as far as they drop. `class`: of its acknowledgment.
#[kernel]
fn fate(w: Work, seg: RxSeg, class: AckClass, now_ms: Bits<32>) -> Fate {
    let rst = has(seg, TCP_RST);
    let is_old = paws_rejects(w.rcv.ts_recent, seg.ts_val, now_ms);
    let stale = w.fixed.flags.timestamps && seg.has_ts && !rst && is_old;
    let d = check(seg.seq, seg_len(seg), rst, has(seg, TCP_SYN), w.rcv.nxt, rcv_wnd(w.rcv));
    if w.fixed.flags.timestamps && !seg.has_ts && !rst {
        Fate::Drop // RFC 7323 3.2
    } else if stale {
        Fate::Answer
    } else {
        match d {
            Disposition::Accept => {
                if !has(seg, TCP_ACK) {
                    Fate::Drop
                } else if class == AckClass::Unsent {
                    Fate::Answer
                } else if class == AckClass::TooOld {
                    Fate::Challenge
                } else if has(seg, TCP_URG) {
                    Fate::Urgent
                } else {
                    Fate::Take
                }
            }
            Disposition::DropSilently => Fate::Drop,
            Disposition::DropAndAck => Fate::Answer,
            Disposition::ChallengeAck => Fate::Challenge,
            Disposition::Reset => Fate::Reset,
            Disposition::SynAtRcvNxt => Fate::Syn,
        }
    }
}

/// Stage 1.
#[kernel]
pub fn arrive(s: Step, seg: RxSeg, v: Env) -> Step {
    let class = classify(s.w.snd, seg.ack);
    let f = fate(s.w, seg, class, v.now_ms);
    let len = bit_cast::<32, 16>(seg.payload_len);
    let text = trim(seg.seq, len, has(seg, TCP_FIN), s.w.rcv.nxt, s.w.rcv.right);
    let mut n = s;
    if !is_active(s.w) || (s.w.state == TIME_WAIT && has(seg, TCP_SYN)) {
        // Not ours any more, or not yet: the host's. So is a SYN in TIME_WAIT.
        n.c.up = true;
        n.c.forget = true;
        n.c.counts.handed_up = true;
    } else if f == Fate::Urgent || f == Fate::Syn {
        // this segment and all later ones go up. R-225: the same for a SYN, in state CLOSED.
        let why = if f == Fate::Urgent { bits::<8>(URGENT) } else { bits::<8>(REQUESTED) };
        n.c.up = true;
        n.c.counts.handed_up = true;
        n.w.state = if f == Fate::Urgent { s.w.state } else { bits::<8>(CLOSED) };
        n.w.flags.stopped = true;
        n.w.reason = reason(s.w.reason, why);
        n.c.publish = true;
        n.c.raise = true;
    } else {
        n.w.cnt.segs_in = s.w.cnt.segs_in + 1;
        n.c.counts.rx_offloaded = true;
        n.c.counts.rx_offloaded_bytes = seg.frame_len;
        n.c.counts.unacceptable = f != Fate::Take && f != Fate::Reset;
        let came = seg.seq + len;
        let is_old = f == Fate::Answer && len != 0 && at_or_after(s.w.rcv.nxt, came);
        n.c.again = is_old;
        n.c.cur = if is_old { seg.seq } else { text.seq };
        n.c.end = if is_old { came } else { text.end };
        n.c.src = seg.payload_src + bit_cast::<16, 32>(text.skip);
        n.c.fin = text.fin;
        n.c.push = has(seg, TCP_PSH) && !text.cut && seg_len(seg) != 0;
        n.c.is_ooo = text.seq != s.w.rcv.nxt;
        n.c.take = f == Fate::Take;
        if f == Fate::Take {
            n.w.rcv = heard(s.w.rcv, seg, s.w.fixed.flags.timestamps, v.now_ms);
            n.w.tm = rearm(s.w, v);
            n.w.flags.challenged = false;
            n.c.is_new_ack = class == AckClass::New;
            n.c.is_current = class == AckClass::Current;
        } else {
            n.w.cnt.dup = s.w.cnt.dup + (f != Fate::Reset);
        }
        if f == Fate::Answer || (f == Fate::Challenge && !s.w.flags.challenged) {
            n.w.flags.ack_now = true;
            n.c.want_tx = true;
        }
        if f == Fate::Challenge && !s.w.flags.challenged {
            // one until the next acceptable segment.
            n.w.flags.challenged = true;
            n.w.tm = challenge_timer(s.w.tm, v.now_ms);
            n.c.counts.challenge_acks = true;
        }
        if f == Fate::Reset {
            n.w.flags.aborted = true;
            n.w.state = bits::<8>(CLOSED);
            n.c.publish = true;
            n.c.raise = true;
        }
    }
    n
}

/// There is something to send or to be acknowledged: data, or our FIN.
#[kernel]
pub fn is_pending(w: Work) -> bool {
    before(w.snd.una, w.limit) || (w.flags.fin_posted && !fin_acked(w, w.snd.una))
}

/// The state after our FIN has been acknowledged.
#[kernel]
fn after_fin_acked(state: Bits<8>) -> Bits<8> {
    if state == FIN_WAIT_1 {
        bits::<8>(FIN_WAIT_2)
    } else if state == CLOSING {
        bits::<8>(TIME_WAIT)
    } else if state == LAST_ACK {
        bits::<8>(CLOSED)
    } else {
        state
    }
}

/// Timers and persist state after an acknowledgment; `is_new`: it moved SND.UNA (`w` holds the new values); `is_timed`: it gave a sample.
#[kernel]
fn ack_timers(w: Work, is_new: bool, is_timed: bool, is_current: bool, now: Bits<32>, p: TcpParams) -> Work {
    let closed = w.snd.wnd == 0 && is_pending(w);
    let is_held = w.state == FIN_WAIT_2;
    // zero window; a probe was answered: next round. R-257: resume; what was in flight is sent again (`guard::told`).
    let begins = !is_held && closed && !w.flags.persist;
    let is_round =
        !is_held && closed && w.flags.persist && (is_new || is_current && w.tm.retransmit_count != 0);
    let resumes = !is_held && !closed && w.flags.persist;
    let mut n = w;
    if is_new {
        // RFC 6298 5.2, 5.3.
        n.tm.total_rt_us = bits::<32>(0);
    }
    if is_new || begins || is_round || resumes {
        n.tm.retransmit_count = bits::<8>(0);
    }
    if begins || resumes {
        n.tm.probe_round = bits::<8>(0);
    } else if is_round {
        n.tm.probe_round = w.tm.probe_round + !w.tm.probe_round.all();
    }
    n.flags.persist = begins || w.flags.persist && !resumes;
    n.flags.probe = w.flags.probe && !resumes;
    // RFC 9293 3.8.2, RFC 6298 5: what was sent again says nothing of the round trip, so until a sample does the timeout stays as long as it became.
    let keeps = is_new && !is_timed && !w.flags.persist;
    let count = if is_round {
        n.tm.probe_round
    } else if keeps {
        w.tm.retransmit_count
    } else {
        bits::<8>(0)
    };
    let waited = backed_off(w.tm.rto_us, count, p.max_rto_us);
    if keeps {
        n.tm.rto_us = waited;
    }
    let wait = if is_held { p.fin_wait_2_us } else { waited };
    if is_new || is_held || begins || is_round || resumes {
        // RFC 6298 5.1: the timer never stands while something is unacknowledged, whether or not a window that opens lets it be sent again now.
        n.tm.on.rtx = is_held || begins || is_round || w.snd.una != w.snd.max;
        n.tm.rtx = now + wait;
    }
    n
}

/// Stage 2: window, SND.UNA, round trip, our FIN. Stage 1 has said whether it moves SND.UNA. What recovery needs of the old values goes to `c`.
#[kernel]
pub fn acked(s: Step, seg: RxSeg, now: Bits<32>, p: TcpParams) -> Step {
    let w = s.w;
    let wnd = seg_wnd(seg, w.fixed.snd_wind_shift);
    let (is_new, is_current) = (s.c.is_new_ack, s.c.is_current);
    let updated = update_window(w.snd, seg.seq, seg.ack, wnd);
    let timed = w.flags.rtt_running && at_or_after(seg.ack, w.rtt_seq);
    let done = is_new && w.flags.fin_sent && seg.ack == w.limit + 1;
    let mut v = w;
    if is_new || is_current {
        v.snd = if is_new { advance(updated, seg.ack) } else { updated };
    }
    if is_new && timed {
        v.rtt = sample(w.rtt, now - w.rtt_start_us);
        // Without a sample the timeout stays what it was, also that of an image.
        v.tm.rto_us = rto_us(v.rtt, p.min_rto_us, p.max_rto_us);
        v.flags.rtt_running = false;
    }
    if done {
        v.state = after_fin_acked(w.state);
    }
    let mut n = s;
    n.w = ack_timers(v, is_new, timed, is_current, now, p);
    n.c.is_dup_ack = is_current && wnd != 0 && is_duplicate(w.snd, seg_len(seg), seg.ack, wnd);
    // While a closed window is probed nothing is sent that could be marked.
    n.c.marked = (is_new || is_current && !w.flags.persist) && is_echo(w, seg) && !is_held(w.rc, seg.ack);
    if is_new {
        n.w.rc.reduced = is_held(w.rc, seg.ack);
    }
    n.c.acked = seg.ack - w.snd.una;
    n.c.flight = w.snd.max - w.snd.una;
    // The timer of a window that was closed, or too small in the image, ends with it: what waits has a turn.
    let resumes = w.flags.persist && !n.w.flags.persist;
    if is_new || resumes || updated.wnd != w.snd.wnd {
        n.c.want_tx = is_pending(n.w);
        n.c.publish = is_new;
        n.c.raise = is_new;
    }
    if done && n.w.state == TIME_WAIT {
        n.w.reason = reason(w.reason, bits::<8>(REQUESTED));
    }
    if is_new || is_current {
        n = told(s, n, seg, is_current, is_new && timed, now - w.rtt_start_us);
    }
    if s.c.is_deaf && n.c.ask.is_asked {
        // The window has opened: that the peer says again, when it is probed.
        n = s;
        n.c.is_new_ack = false;
        n.c.counts.acks_unheard = true;
    }
    n
}

/// The congestion window is decided here: the connection is calm, and SND.UNA moved.
#[kernel]
pub fn decides(s: Step) -> bool {
    s.c.is_new_ack && !s.c.ask.is_asked && !s.w.guard.is_guarded
}

/// Stage 3, after such an acknowledgment: the window grows, but with CUBIC in congestion avoidance, which is [`super::grow`]'s.
#[kernel]
pub fn grown(s: Step, smss: Bits<32>) -> Step {
    let w = s.w;
    let mut n = s;
    n.w.rc.dup_acks = bits::<8>(0);
    if !avoids(w) {
        n.w.rc.cw = grow(w.rc.cw, counting(w, s.c.acked), s.c.flight, smss);
    }
    n.c.want_tx = s.c.want_tx || is_pending(w);
    n
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tcp::proto::step::ESTABLISHED;

    /// RFC 6298 5.1: nothing may be in flight without a timer, even if the pass that hears of the window may send nothing.
    ///
    /// Verifies: R-257
    #[test]
    fn the_retransmission_timer_runs_when_a_closed_window_opens_over_bytes_in_flight() {
        let mut s = Step::default();
        s.w.state = ESTABLISHED.into();
        s.w.flags.persist = true;
        s.c.is_current = true;
        s.w.tm.on.rtx = true;
        s.w.tm.rto_us = 300_000u64.into();
        s.w.snd.una = 1000u64.into();
        (s.w.snd.max, s.w.limit) = (3000u64.into(), 5000u64.into());
        let seg = RxSeg { seq: 1u64.into(), ack: 1000u64.into(), wnd: 1u64.into(), ..RxSeg::default() };
        let params = TcpParams { max_rto_us: 60_000_000u64.into(), ..TcpParams::default() };
        for sack in [false, true] {
            s.w.fixed.flags.sack = sack;
            let n = acked(s, seg, 50u64.into(), params);
            assert!(!n.w.flags.persist && n.w.tm.on.rtx, "sack: {sack}");
            assert_eq!(n.w.tm.rtx, bits::<32>(300_050));
        }
        // With nothing in flight it is off: what waits has its turn.
        s.w.snd.max = 1000u64.into();
        let n = acked(s, seg, 50u64.into(), params);
        assert!(!n.w.tm.on.rtx && n.c.want_tx);
    }
}
