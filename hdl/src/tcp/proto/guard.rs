//! Loss recovery, PROTO's part: what the unit (`tcp/loss`) hears, and what follows from its answers.
//!
//! A *calm* connection (phase Open, nothing reported, lost or probed; without SACK: no duplicates) is PROTO's own: the window grows here, and an
//! acknowledgment that is none of that asks nobody. From the first event the unit has to see the connection is *guarded*: every acknowledgment, timeout
//! and retransmission is a job of the unit, which owns `rc`, until an answer says that it is calm. While a job is not answered no
//! text is sent; new text needs none, its bytes are added up and go along in the next.
//!
//! ```text
//!   stage 1 handed_over, answered | 2 told | 3 waits | 4 bounded, rested | 5 deadlines, owes, again | 6 resent, armed; asked; logged
//! ```
//! Without SACK the unit does NewReno, and there are neither probes nor waits for reordered segments (RFC 8985 wants SACK).
use super::grow::is_cubic;
use super::record::{Guard, Work};
use super::rx::is_pending;
use super::step::{Ask, Ctx, Pick, Plan, Step, Waits, Why, FIN_WAIT_2};
use crate::prelude::*;
use crate::tcp::cwnd::{Recovery, PHASE_FAST, PHASE_OPEN, TIMED_OUT};
use crate::tcp::loss::job::{LossJob, LossKind, LossResult, LossTimer};
use crate::tcp::loss::rack::{self, limit, SendLog};
use crate::tcp::loss::tlp::{self, limited};
use crate::tcp::rtt::backed_off;
use crate::tcp::seq::{ahead, earlier, min32};
use crate::types::{RxSeg, TcpParams, TCP_ECE};

/// Jobs of a connection that wait before acknowledgments that move nothing are left out.
const MOST_DUPLICATES: u64 = 4;

/// Smoothed round trip, microseconds; 0 = none yet.
#[kernel]
fn srtt_us(w: Work) -> Bits<32> {
    w.rtt.srtt_x8 >> bits::<2>(3)
}

/// No text may be sent: the unit's answer would not be current.
#[kernel]
pub fn is_silent(g: Guard, ask: Ask) -> bool {
    g.asked != 0 || g.is_behind || ask.is_asked
}

/// Where SND.UNA was when the unit heard of it last.
#[kernel]
fn heard_una(w: Work) -> Bits<32> {
    if w.guard.is_behind {
        w.guard.lost
    } else {
        w.snd.una
    }
}

/// Stage 1: the connection's turn. A unit that has room and did not hear of acknowledgments hears of all of them at once.
#[kernel]
pub fn caught_up(s: Step) -> Step {
    let una = heard_una(s.w);
    let mut n = s;
    if s.w.guard.is_behind && s.c.has_unit {
        n.c.ask = Ask { is_asked: true, kind: LossKind::Ack, from: una, to: una, ..Ask::default() };
    }
    n
}

/// The retransmission timer is a plain timeout.
#[kernel]
fn plain(g: Guard) -> Guard {
    Guard { is_probe: false, is_reorder: false, ..g }
}

/// Stage 1: the connection was handed over (R-104): what was to be sent again, from `nxt` on, is the unit's. One that is calm asks nobody.
#[kernel]
pub fn handed_over(s: Step, nxt: Bits<32>) -> Step {
    let w = s.w;
    let first = w.flags.retransmit && w.snd.una != w.snd.max;
    let counts_duplicates = !w.fixed.flags.sack && w.rc.dup_acks.any();
    let mut n = s;
    n.w.guard.is_fresh = true;
    n.w.flags.retransmit = false;
    n.c.is_new_log = true;
    n.c.ask = Ask {
        is_asked: w.rc.phase != PHASE_OPEN || nxt != w.snd.max || first || counts_duplicates,
        kind: LossKind::HandedOver,
        from: nxt,
        to: w.snd.max,
        flag: first,
        ..Ask::default()
    };
    n
}

/// Stage 1: the unit answers.
#[kernel]
pub fn answered(s: Step, r: LossResult, now: Bits<32>) -> Step {
    let (w, g) = (s.w, s.w.guard);
    let is_last = g.asked == 1;
    let is_probe = r.timer == LossTimer::Probe;
    let is_reorder = r.timer == LossTimer::Reorder;
    // RFC 8985 7.2: only new text and what it acknowledges begin the wait for a probe. A timeout that runs, an image's for example, stays.
    let is_other = (g.is_probe && !is_probe) || is_reorder || g.is_reorder || !w.tm.on.rtx;
    // The timer of an acknowledgment, or of a retransmission at SND.UNA.
    let tells =
        (r.kind == LossKind::Ack && (is_other || r.has_moved)) || (r.kind == LossKind::Resend && r.has_moved);
    let mut n = s;
    let prior = if r.has_prior { r.rc.prior } else { w.rc.prior };
    n.w.rc = Recovery {
        prior: if r.kind == LossKind::Rto { prior | bits::<32>(TIMED_OUT) } else { prior },
        ..r.rc
    };
    n.w.guard = Guard {
        is_guarded: !(is_last && r.is_calm),
        asked: g.asked - 1,
        probe_due: g.probe_due && r.rc.phase == PHASE_OPEN,
        has_lost: r.has_lost,
        has_room: r.has_room,
        may_probe: r.may_probe,
        lost: r.lost,
        lost_len: r.lost_len,
        edge: r.edge,
        ..g
    };
    if tells && w.snd.una != w.snd.max && !w.flags.persist && w.state != FIN_WAIT_2 {
        n.w.tm.on.rtx = true;
        n.w.tm.rtx = now + r.timer_us;
        n.w.guard.is_probe = is_probe;
        n.w.guard.is_reorder = is_reorder;
    }
    n.w.marks.cwr = w.marks.cwr || (w.fixed.flags.ecn && r.has_reduced);
    n.c.counts.fast_retransmits = r.has_entered;
    n.c.counts.ece_reductions = r.is_marked;
    n.c.want_tx = is_pending(w) || w.flags.probe;
    n
}

/// The segment echoes a mark.
#[kernel]
pub fn is_echo(w: Work, seg: RxSeg) -> bool {
    w.fixed.flags.ecn && (seg.flags & bits::<8>(TCP_ECE)) != 0
}

/// Stage 2, after an acknowledgment was taken: `s` before it, `n` after it, which knows whether it echoes a mark that counts. `is_timed`: a round
/// trip ended; `rtt_us`: its length.
#[kernel]
pub fn told(s: Step, n: Step, seg: RxSeg, is_current: bool, is_timed: bool, rtt_us: Bits<32>) -> Step {
    let (w, is_new) = (s.w, n.c.is_new_ack);
    let in_flight = n.w.snd.una != n.w.snd.max;
    // While a closed window is probed every answer looks like a duplicate. Law L5: who sends duplicates faster than the unit works may not
    // fill its queue; the peer repeats what it reports.
    let says = is_current && !w.flags.persist && w.guard.asked < MOST_DUPLICATES;
    let reports = if w.fixed.flags.sack { seg.sack_count != 0 } else { n.c.is_dup_ack };
    let to_hear = (is_new || says) && (w.guard.is_guarded || reports || n.c.marked);
    // Law L5: nobody waits for the unit. What it has no time for is an acknowledgment that reports nothing, which it hears of later.
    let heard = to_hear && !s.c.is_deaf;
    let opened = w.flags.persist && !n.w.flags.persist && in_flight;
    let una = heard_una(w);
    let mut m = n;
    m.c.ask = Ask {
        is_asked: heard || opened,
        kind: if opened { LossKind::WindowOpened } else { LossKind::Ack },
        from: una,
        to: una,
        flag: n.c.is_dup_ack && !w.flags.persist && !w.guard.is_behind,
        is_echo: is_echo(w, seg) && !opened,
        has_rtt: is_timed,
        rtt_us,
    };
    let owes_rtt = w.guard.owes_rtt && !is_timed;
    let is_calm = is_new && !heard && !n.w.flags.persist && in_flight;
    m.c.restart = (is_calm || opened) && n.w.state != FIN_WAIT_2;
    if is_new {
        m.w.guard = Guard { probe_due: false, owes_rtt, ..plain(w.guard) };
    }
    if opened {
        m.w.guard = Guard { owes_rtt, ..plain(w.guard) };
    }
    if to_hear && s.c.is_deaf && !opened {
        m.c.marked = false;
        m.c.counts.acks_unheard = true;
        if w.guard.is_guarded && is_new {
            m.w.guard.is_behind = true;
            m.w.guard.has_lost = false;
            m.w.guard.lost = una;
            m.c.want_tx = true;
        }
    }
    m
}

/// Stage 3: the retransmission timer fired, and it is no plain timeout. `next`: when that would come.
#[kernel]
pub fn waited(s: Step, next: Bits<32>) -> Step {
    let mut n = s;
    n.w.tm.rtx = next;
    n.w.guard = plain(s.w.guard);
    if s.w.guard.is_probe {
        // RFC 8985 7.3: the probe goes out with the next turn, if a round trip was measured since the last one.
        n.w.guard.probe_due = !s.w.guard.owes_rtt;
        n.c.want_tx = true;
    } else {
        // RFC 8985 6.3: an acknowledgment that says nothing new.
        let una = heard_una(s.w);
        n.c.ask = Ask { is_asked: true, kind: LossKind::Ack, from: una, to: una, ..Ask::default() };
    }
    n
}

/// Stage 3: a timeout. What is in flight becomes lost by the unit's word. `is_first`: since SND.UNA moved.
#[kernel]
pub fn timed_out(s: Step, is_first: bool) -> Step {
    let mut n = s;
    n.w.guard = Guard { probe_due: false, ..plain(s.w.guard) };
    n.c.ask = Ask {
        is_asked: true,
        kind: LossKind::Rto,
        from: s.w.snd.una,
        to: s.w.snd.una,
        flag: is_first,
        ..Ask::default()
    };
    n
}

/// Stage 4: a pause of a guarded connection is over, whose window is the unit's; a unit without room hears of it with another turn.
#[kernel]
pub fn rested(s: Step) -> Step {
    let una = s.w.snd.una;
    let mut n = s;
    if s.c.has_unit {
        n.c.ask = Ask { is_asked: true, kind: LossKind::Rested, from: una, to: una, ..Ask::default() };
    } else {
        n.c.is_held = true;
    }
    n
}

/// Stage 3: how long timeout and probe would wait.
#[kernel]
pub fn waits(w: Work, max_rto_us: Bits<32>) -> Waits {
    Waits {
        rto: backed_off(w.tm.rto_us, w.tm.retransmit_count, max_rto_us),
        many: tlp::wait(srtt_us(w), false),
        lone: tlp::wait(srtt_us(w), true),
        ..Waits::default()
    }
}

/// Stage 4: not longer than the timeout.
#[kernel]
pub fn bounded(w: Work, t: Waits) -> Waits {
    let rto = bit_cast::<34, 32>(t.rto);
    let is_known = w.rtt.srtt_x8 != 0 && w.fixed.flags.sack;
    Waits {
        many: bit_cast::<34, 32>(limited(t.many, t.rto)),
        lone: bit_cast::<34, 32>(limited(t.lone, t.rto)),
        is_known,
        is_many: is_known && t.many < rto,
        is_lone: is_known && t.lone < rto,
        ..t
    }
}

/// Stage 5: the deadlines.
#[kernel]
pub fn deadlines(w: Work, t: Waits, now: Bits<32>) -> Waits {
    Waits {
        many: bit_cast::<34, 32>(now + t.many.get_bits::<32>(0)),
        lone: bit_cast::<34, 32>(now + t.lone.get_bits::<32>(0)),
        at_rto: now + t.rto,
        spacing: rack::spacing(limit(srtt_us(w))),
        ..t
    }
}

/// Stage 5: a part of what was sent before, with the FIN if that follows: for a probe the last segment, else the first that is lost.
#[kernel]
pub fn again(w: Work, is_probe: bool, smss: Bits<32>) -> Plan {
    let last = min32(smss, w.snd.max - w.snd.una);
    let seq = if is_probe { w.snd.max - last } else { w.guard.lost };
    let len = if is_probe { last } else { bit_cast::<32, 16>(w.guard.lost_len) };
    let text = min32(len, ahead(seq, w.limit));
    Plan {
        why: Why::Lost,
        seq,
        len: bit_cast::<16, 32>(text),
        fin: w.flags.fin_sent && seq + text == w.limit && w.snd.max == w.limit + 1,
    }
}

/// Stage 5: something counts as lost and may be sent again now.
#[kernel]
pub fn owes(w: Work) -> bool {
    let (g, snd) = (w.guard, w.snd);
    let g: Guard = g;
    let len = bit_cast::<32, 16>(g.lost_len);
    // A window that shrank: the first segment is its own probe.
    let fits = g.lost == snd.una || (g.lost - snd.una) + len <= snd.wnd;
    g.is_guarded && g.has_lost && g.has_room && fits && !w.flags.persist
}

/// Up to where new text may go while guarded: the network's room, and the peer's.
#[kernel]
pub fn edge(w: Work) -> Bits<32> {
    earlier(w.guard.edge, w.snd.una + w.snd.wnd)
}

/// Stage 6, text was sent: `s` before, `n` after it. The unit hears of a probe and of what was sent again, and counts the rest.
#[kernel]
pub fn resent(s: Step, n: Step) -> Step {
    let (w, p, t) = (s.w, s.c.plan, s.c.waits_us);
    let w: Work = w;
    let is_new = p.why == Why::New;
    let end = p.seq + bit_cast::<32, 16>(p.len) + p.fin;
    let is_probe = s.c.is_probe;
    let is_lost = !is_probe && p.why == Why::Lost;
    let mut m = n;
    if is_probe || is_lost {
        // No text before the unit's answer; an acknowledgment with SACK blocks does not wait for it.
        m.c.want_tx = n.w.flags.ack_now;
        m.c.ask = Ask {
            is_asked: true,
            kind: if is_probe { LossKind::Probe } else { LossKind::Resend },
            from: if is_probe { w.snd.una } else { p.seq },
            to: end,
            flag: is_probe && !is_new,
            ..Ask::default()
        };
    } else if is_new && w.guard.is_guarded {
        m.w.guard.sent = w.guard.sent + bit_cast::<32, 16>(p.len) + p.fin;
    }
    if is_probe {
        m.w.guard.probe_due = false;
        m.w.guard.owes_rtt = true;
    }
    if is_probe || (is_lost && p.seq == w.snd.una) || !w.tm.on.rtx {
        m.w.tm.on.rtx = true;
        m.w.tm.rtx = t.at_rto;
        m.w.guard.is_probe = false;
        m.w.guard.is_reorder = false;
    }
    m
}

/// Stage 6: the timer of a connection whose SND.UNA moved while calm, or that sent new text, calm or by the unit's leave (RFC 8985 7.2: the
/// probe waits from the last transmission on, and the second segment of a flight may make it the sooner one of probe and timeout). `s` before, `n` after sending.
#[kernel]
pub fn armed(s: Step, n: Step) -> Step {
    let (w, t) = (s.w, s.c.waits_us);
    let w: Work = w;
    let is_new = s.c.plan.why == Why::New && !w.flags.persist && !s.c.is_probe;
    let may_probe = (!w.guard.is_guarded || w.guard.may_probe) && !n.c.ask.is_asked;
    let is_lone = (n.w.snd.max - w.snd.una) <= bit_cast::<32, 16>(s.c.smss);
    let waits = may_probe || w.guard.is_probe;
    let is_probe = waits && t.is_known;
    let is_sooner = is_probe && if is_lone { t.is_lone } else { t.is_many };
    let idle = waits && !w.tm.on.rtx;
    let mut m = n;
    if is_new && is_probe {
        // A probe that would come after the timeout takes its place (RFC 8985 7.2), which new text does not begin anew (RFC 6298 5.1).
        m.w.guard.is_probe = true;
    }
    if s.c.restart || (is_new && (is_sooner || idle)) {
        m.w.tm.on.rtx = true;
        m.w.guard.is_probe = is_probe;
        m.w.guard.is_reorder = false;
        m.w.tm.rtx = if !is_probe {
            t.at_rto
        } else if is_lone {
            t.lone.get_bits::<32>(0)
        } else {
            t.many.get_bits::<32>(0)
        };
    }
    m
}

/// Stage 6: a job of the unit goes out with this pass.
#[kernel]
pub fn asked(s: Step) -> Step {
    let g = s.w.guard;
    let mut n = s;
    if s.c.ask.is_asked {
        n.w.guard = Guard {
            is_guarded: true,
            is_fresh: false,
            is_behind: false,
            asked: g.asked + 1,
            sent: bits::<32>(0),
            ..g
        };
    }
    n
}

/// Stage 6: the send log after the pass. `s` before, `n` after sending.
#[kernel]
pub fn logged(old: SendLog, s: Step, n: Step, now: Bits<32>) -> SendLog {
    // The unit hears of it later: what it says of the bytes acknowledged stays, and nothing is sent.
    let stays = n.w.guard.is_behind && !n.c.ask.is_asked;
    let kept = if stays { old } else { rack::advance(old, n.w.snd.una) };
    let kept: SendLog = kept;
    let is_new = s.c.plan.why == Why::New;
    let sent = rack::on_send(kept, n.w.snd.max, now.get_bits::<24>(0), s.c.waits_us.spacing);
    let log = if is_new { sent } else { kept };
    let log: SendLog = log;
    if s.c.is_new_log {
        rack::new_log(n.w.snd.max)
    } else {
        SendLog { is_split: log.is_split || s.c.is_probe || s.c.plan.why == Why::Lost, ..log }
    }
}

/// The job of a pass: `s` before it was counted, `n` after sending; `old`: the send log before it.
#[kernel]
pub fn job(s: Step, n: Step, old: SendLog, seg: RxSeg, now: Bits<32>, p: TcpParams) -> LossJob {
    let (w, ask) = (n.w, n.c.ask);
    let c: Ctx = s.c;
    let ask: Ask = ask;
    let w: Work = w;
    let has_blocks = c.pick == Pick::Rx && ask.kind == LossKind::Ack && w.fixed.flags.sack;
    LossJob {
        kind: ask.kind,
        conn: c.conn,
        is_first: !s.w.guard.is_guarded || c.is_new_log,
        is_fresh: s.w.guard.is_fresh,
        una: w.snd.una,
        max: w.snd.max,
        from: ask.from,
        to: ask.to,
        flag: ask.flag,
        is_echo: ask.is_echo,
        count: if has_blocks { seg.sack_count } else { bits::<3>(0) },
        blocks: seg.sack,
        has_rtt: ask.has_rtt,
        rtt_us: ask.rtt_us,
        smss: c.smss,
        srtt_us: srtt_us(w),
        rto_us: c.waits_us.rto,
        now_us: now,
        threshold: p.dup_ack_threshold,
        sent: s.w.guard.sent,
        log: old,
        rc: w.rc,
        is_sack: w.fixed.flags.sack,
        is_cubic: is_cubic(w),
        growth: c.grow.growth,
    }
}

/// What the next owner sends again, for an image (R-104): from where on (SND.MAX: nothing), or in fast recovery the segment at SND.UNA; while the window is
/// closed that one is its own probe. Of a recovery with SACK the other holes are not told.
#[kernel]
pub fn resumed(w: Work) -> (Bits<32>, bool) {
    let g = w.guard;
    let g: Guard = g;
    let is_lost = g.is_guarded && g.asked == 0 && g.has_lost;
    let is_fast = w.rc.phase == PHASE_FAST;
    let is_first = g.lost == w.snd.una;
    let goes_back = is_lost && !(is_fast && (is_first || w.fixed.flags.sack));
    let from = if goes_back { g.lost } else { w.snd.max };
    (from, is_lost && is_fast && is_first && !w.flags.persist)
}
