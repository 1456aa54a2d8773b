//! What is not a segment: doorbells, durable shadow records, finished jobs, deadlines; and the end of every
//! event.
use super::place::{has_ranges, is_pushable};
use super::record::{Clocks, Side, Work};
use super::rx::is_pending;
use super::step::{
    fin_acked, is_active, reason, St, Step, CLOSED, FIN_WAIT_2, HARDWARE, INVALID_STATE, TIMEOUT,
};
use crate::mirror::Shadow;
use crate::prelude::*;
use crate::tcp::cwnd::on_rto;
use crate::tcp::rtt::backed_off;
use crate::tcp::seq::{after, at_or_before, before, earlier, min32};
use crate::tcp::timers::Deadline;
use crate::tcp::window::{aligned_edge, update_due, MAX_WINDOW};
use crate::types::{Doorbell, TcpParams, TxDone};
use chimney_abi::regs::DOORBELL_FIN;
use chimney_abi::state::MAX_RT_UNLIMITED;

const FIN: u64 = DOORBELL_FIN as u64;
const NO_LIMIT: u64 = MAX_RT_UNLIMITED as u64;

/// A shadow record under way to host memory (law L2): what becomes durable with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Commit {
    /// Connection.
    pub conn: Bits<16>,
    /// RCV.NXT.
    pub nxt: Bits<32>,
    /// Right edge.
    pub right: Bits<32>,
    /// It counts the text of one more segment.
    pub data: Bit,
    /// Acknowledge at once.
    pub now: Bit,
}

/// `Bell`: a doorbell.
#[kernel]
pub fn bell(s: Step, d: Doorbell, now: Bits<32>) -> Step {
    let w = s.w;
    let fin = (d.flags & bits::<8>(FIN)) != 0;
    let backwards = after(w.limit, d.limit) || (w.flags.fin_posted && d.limit != w.limit);
    let mut n = s;
    if w.fixed.generation == 0 || w.fixed.generation != d.generation {
        n.c.counts.stale = true; // law L1
        n.st = St::Idle;
    } else if !d.receive && backwards {
        n.c.counts.bad_request = true;
        n.st = St::Idle;
    } else if !d.receive {
        n.w.limit = d.limit;
        n.w.send_producer = d.producer;
        n.w.flags.fin_posted = w.flags.fin_posted || fin;
        n.c.want_tx = true;
        if w.snd.wnd == 0 && !w.flags.persist && is_pending(n.w) && w.snd.una == w.snd.max {
            // data for a closed window.
            n.w.flags.persist = true;
            n.w.tm.probe_round = bits::<8>(0);
            n.w.tm.retransmit_count = bits::<8>(0);
            n.w.tm.on.rtx = true;
            n.w.tm.rtx = now + w.tm.rto_us;
        }
        n.st = St::Finish;
    } else if (d.producer - w.post.idx) > (bits::<16>(1) << w.fixed.recv_ring_log2) {
        n.c.counts.bad_request = true;
        n.st = St::Idle;
    } else {
        n.w.post.producer = d.producer;
        // Law L3: the edge moves right or not at all; never more than the page map can hold.
        let is_further = after(d.limit, w.rcv.limit) && (d.limit - w.rcv.nxt) <= MAX_WINDOW;
        if is_further {
            n.w.rcv.limit = d.limit;
        }
        if is_further && after(d.limit, w.rcv.right) {
            n.w.rcv.right = aligned_edge(w.rcv.nxt, d.limit, d.limit, w.fixed.rcv_wind_shift);
            n.c.publish = true;
        }
        n.st = if is_active(w) { St::BellPosts } else { St::Finish };
    }
    n
}

/// `Commit`: everything the shadow record counts is in host memory; only now it may be acknowledged.
#[kernel]
pub fn committed(s: Step, k: Commit, error: bool, now: Bits<32>, p: TcpParams) -> Step {
    let mut n = s;
    n.w.side.commits = s.w.side.commits - 1;
    n.st = St::Finish;
    if error {
        if !s.w.flags.stopped {
            n.w.flags.stopped = true;
            n.w.reason = reason(s.w.reason, bits::<8>(HARDWARE));
            n.c.publish = true;
            n.c.raise = true;
        }
    } else {
        n.w.rcv.durable_nxt = k.nxt;
        n.w.rcv.durable_right = k.right;
        let pending = s.w.rcv.ack_pending + k.data;
        n.w.rcv.ack_pending = pending;
        let mss = bit_cast::<32, 16>(s.w.fixed.eff_mss);
        if k.now || (k.data && pending >= p.ack_frequency) {
            n.w.flags.ack_now = true;
            n.c.want_tx = true;
        } else if k.data && !s.w.tm.on.delack {
            n.w.tm.on.delack = true;
            n.w.tm.delack = now + p.delayed_ack_us;
        }
        if update_due(k.nxt, s.w.rcv.adv_right, k.right, s.w.cached.initial_rcv_wnd, mss) {
            n.c.want_tx = true;
        }
    }
    n
}

/// `TxDone`: the transmitter reads no more for the oldest job.
#[kernel]
pub fn tx_done(s: Step, d: TxDone) -> Step {
    let side = s.w.side;
    let mut n = s;
    n.w.side.jobs = side.jobs - 1;
    n.st = St::Finish;
    if side.wait != 0 {
        n.w.side.wait = side.wait - 1;
        if side.wait == 1 {
            n.w.side.pub_una = side.pub_next;
            n.c.publish = true;
            n.c.raise = true;
        }
    }
    if d.result != 0 && !s.w.flags.stopped {
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

/// The retransmission limit is exceeded; for probes the count alone.
#[kernel]
fn exhausted(w: Work, max_rto_us: Bits<32>) -> bool {
    let total = w.tm.total_rt_us + backed_off(w.tm.rto_us, w.tm.retransmit_count, max_rto_us);
    let many = w.tm.retransmit_count >= w.cached.max_retransmissions;
    if w.flags.persist || w.cached.max_rt_us == 0 {
        many
    } else {
        w.cached.max_rt_us != NO_LIMIT && total >= w.cached.max_rt_us
    }
}

/// The retransmission timer fired: a probe, or back to SND.UNA (RFC 6298 5.4 to 5.7).
#[kernel]
fn retransmission(w: Work, now: Bits<32>, smss: Bits<32>, p: TcpParams) -> Work {
    let waited = backed_off(w.tm.rto_us, w.tm.retransmit_count, p.max_rto_us);
    let next = backed_off(w.tm.rto_us, w.tm.retransmit_count + 1, p.max_rto_us);
    let mut n = w;
    n.tm.retransmit_count = w.tm.retransmit_count + !w.tm.retransmit_count.all();
    n.tm.rtx = now + next;
    if w.flags.persist {
        n.flags.probe = true;
        n.tm.rtx = now + waited;
    } else {
        n.rc = on_rto(w.rc, w.snd.una, w.snd.max, smss, w.tm.retransmit_count == 0);
        n.snd.nxt = w.snd.una;
        n.tm.total_rt_us = min32(w.tm.total_rt_us + waited, bits::<32>(NO_LIMIT - 1));
        n.flags.rtt_running = false;
        n.flags.retransmit = false;
    }
    n
}

/// `Expire`: one deadline that has come; the scanner comes again for the next.
#[kernel]
pub fn expire(s: Step, now: Bits<32>, smss: Bits<32>, p: TcpParams) -> Step {
    let w = s.w;
    let mut n = s;
    n.st = St::Finish;
    if !is_active(w) {
        // The deadline entry is rewritten as off.
        n.st = St::Finish;
    } else if due(w.tm.on.delack, w.tm.delack, now) {
        let owed = !w.flags.arriving || has_ranges(w) || w.rcv.ack_pending != 0;
        n.w.flags.arriving = false;
        n.w.tm.on.delack = false;
        n.w.flags.ack_now = w.flags.ack_now || owed;
        n.c.want_tx = owed;
    } else if due(w.tm.on.push, w.tm.push, now) {
        n.w.tm.on.push = false;
        if is_pushable(w) {
            n.c.ret = St::Finish;
            n.st = St::Retire;
        }
    } else if due(w.tm.on.rtx, w.tm.rtx, now) {
        let idle = w.snd.una == w.snd.max && !w.flags.persist;
        if w.state == FIN_WAIT_2 || (!idle && exhausted(w, p.max_rto_us)) {
            //
            n.w.state = if w.state == FIN_WAIT_2 { bits::<8>(CLOSED) } else { w.state };
            n.w.flags.stopped = true;
            n.w.reason = reason(w.reason, bits::<8>(TIMEOUT));
            n.c.publish = true;
            n.c.raise = true;
        } else if idle {
            // RFC 9293 3.8.6.2.1: the window stayed too small for a segment; send what it allows.
            n.w.tm.on.rtx = false;
            n.w.flags.probe = before(w.snd.nxt, w.limit);
            n.c.want_tx = before(w.snd.nxt, w.limit);
        } else {
            n.w = retransmission(w, now, smss, p);
            n.c.counts.rto = !w.flags.persist;
            n.c.want_tx = true;
        }
    } else if due(w.tm.on.keep_alive, w.tm.keep_alive, now) {
        let probes = if w.cached.ka_probe_count == 0 { bits::<8>(10) } else { w.cached.ka_probe_count };
        let every = w.cached.ka_interval_us;
        if w.tm.ka_probes >= probes {
            n.w.state = bits::<8>(CLOSED);
            n.w.flags.stopped = true;
            n.w.reason = reason(w.reason, bits::<8>(TIMEOUT));
            n.c.publish = true;
            n.c.raise = true;
        } else {
            n.w.tm.ka_probes = w.tm.ka_probes + 1;
            n.w.tm.keep_alive = now + if every == 0 { bits::<32>(1_000_000) } else { every };
            n.w.flags.probe = true;
            n.c.want_tx = true;
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

/// What the scanner watches for a record.
#[kernel]
pub fn earliest(w: Work) -> Deadline {
    let t: Clocks = w.tm;
    let d = sooner(Deadline { running: t.on.rtx, at: t.rtx }, t.on.delack, t.delack);
    let d = sooner(sooner(d, t.on.push, t.push), t.on.keep_alive, t.keep_alive);
    Deadline { running: d.running && is_active(w), at: d.at }
}

/// Law L1: which SND.UNA may be published while jobs read below it.
#[kernel]
fn publishable(side: Side, una: Bits<32>) -> Side {
    let mut n = side;
    if side.jobs == 0 {
        n.pub_una = una;
        n.pub_next = una;
        n.wait = bits::<8>(0);
    } else if side.wait == 0 && side.pub_una != una {
        n.pub_next = una;
        n.wait = side.jobs;
    }
    n
}

/// `Finish`: what follows from the event.
#[kernel]
pub fn finish(s: Step) -> Step {
    let side = publishable(s.w.side, s.w.snd.una);
    let mut n = s;
    n.w.side = side;
    n.w.side.queued = side.queued || s.c.want_tx;
    n.c.push_ready = s.c.want_tx && !side.queued;
    n.c.raise = s.c.raise || side.pub_una != s.w.side.pub_una;
    n.st = if s.c.publish || side.pub_una != s.w.side.pub_una { St::Shadow } else { St::Store };
    n
}

/// `Shadow.flags` bit by bit.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
struct ShadowFlags {
    pool_mode: Bit,
    peer_fin: Bit,
    fin_acked: Bit,
    aborted: Bit,
    retrieve: Bit,
    valid: Bit,
    spare: Bits<10>,
}

/// `SHADOW_*` of a record.
#[kernel]
fn shadow_flags(w: Work) -> ShadowFlags {
    ShadowFlags {
        pool_mode: w.flags.pool_mode,
        peer_fin: w.flags.peer_fin,
        fin_acked: fin_acked(w, w.side.pub_una),
        aborted: w.flags.aborted,
        retrieve: w.reason != 0,
        valid: true,
        spare: bits::<10>(0),
    }
}

/// The shadow record of a record.
#[kernel]
pub fn shadow(w: Work) -> Shadow {
    Shadow {
        tag: w.shadow_tag,
        generation: w.fixed.generation,
        state: cat::<8, _>((w.reason.get_bits::<4>(0), w.state.get_bits::<4>(0))),
        rcv_nxt: w.rcv.nxt,
        snd_una: w.side.pub_una,
        rcv_right: w.rcv.right,
        post_idx: w.post.idx,
        flags: pack::<16, ShadowFlags>(shadow_flags(w)),
        post_off: w.post.off,
        snd_max: w.snd.max,
        snd_wnd: bit_cast::<16, 32>(w.snd.wnd >> w.fixed.snd_wind_shift),
        tag_end: w.shadow_tag,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chimney_abi::desc;

    #[test]
    fn shadow_flags_stand_where_the_contract_has_them() {
        let f = ShadowFlags::default();
        let table = [
            (ShadowFlags { pool_mode: true, ..f }, desc::SHADOW_POOL_MODE),
            (ShadowFlags { peer_fin: true, ..f }, desc::SHADOW_PEER_FIN),
            (ShadowFlags { fin_acked: true, ..f }, desc::SHADOW_FIN_ACKED),
            (ShadowFlags { aborted: true, ..f }, desc::SHADOW_ABORTED),
            (ShadowFlags { retrieve: true, ..f }, desc::SHADOW_RETRIEVE),
            (ShadowFlags { valid: true, ..f }, desc::SHADOW_VALID),
        ];
        for (x, want) in table {
            assert_eq!(pack::<16, ShadowFlags>(x), bits::<16>(u64::from(want)));
        }
    }
}
