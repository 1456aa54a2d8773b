//! Image <-> record: the fields regrouped, times converted (R-153, programmer's guide 5 and 9).
use super::guard::resumed;
use super::record::{
    Cached, CachedFlags, Clocks, ConstFlags, Counts, EcnBits, Fixed, Flags, Guard, Receive, Running, Side,
    Work,
};
use super::step::CLOSED;
use crate::mirror::TcpRecord;
use crate::prelude::*;
use crate::tcp::ack::SendVars;
use crate::tcp::cwnd::{Cwnd, Recovery};
use crate::tcp::hystart::fresh;
use crate::tcp::place::order::Posts;
use crate::tcp::ranges::{far, near, Ranges, SeqRange, NEAR};
use crate::tcp::rtt::Rtt;
use crate::tcp::seq::before;
use crate::tcp::window::{TsRecent, SHIFT};
use chimney_abi::state::NO_TIMER;

/// `NO_TIMER` as the kernels need it.
const OFF: u64 = NO_TIMER as u64;

/// CONST fields and rings of an image; ids come from the command.
#[kernel]
fn fixed(r: TcpRecord, generation: Bits<8>, path: Bits<16>) -> Fixed {
    Fixed {
        local_port: r.local_port,
        remote_port: r.remote_port,
        flags: unpack::<ConstFlags, 16>(r.const_flags),
        snd_wind_shift: bit_cast::<SHIFT, 8>(r.snd_wind_shift),
        rcv_wind_shift: bit_cast::<SHIFT, 8>(r.rcv_wind_shift),
        eff_mss: r.eff_mss,
        path,
        hash: r.hash,
        send_ring: r.send_ring,
        send_ring_log2: r.send_ring_log2,
        generation,
    }
}

/// CACHED fields of an image.
#[kernel]
pub fn cached(r: TcpRecord) -> Cached {
    let flags = unpack::<CachedFlags, 16>(r.cached_flags);
    Cached {
        // The others are an update's alone.
        flags: CachedFlags { keep_alive: flags.keep_alive, nagle: flags.nagle, ..CachedFlags::default() },
        ttl: r.ttl,
        tos: r.tos,
        ka_probe_count: r.ka_probe_count,
        user_priority: r.user_priority,
        max_retransmissions: r.max_retransmissions,
        initial_rcv_wnd: r.initial_rcv_wnd,
        rcv_indication_size: r.rcv_indication_size,
        ka_timeout_ms: r.ka_timeout_ms,
        ka_interval_ms: r.ka_interval_ms,
        max_rt_us: r.max_rt_us,
        flow_label: r.flow_label,
    }
}

/// Receive variables; what the image promises counts as durable: it is the host's own.
#[kernel]
fn receive(r: TcpRecord, now_ms: Bits<32>) -> Receive {
    Receive {
        nxt: r.rcv_nxt,
        right: r.rcv_right,
        limit: r.rcv_right,
        durable_nxt: r.rcv_nxt,
        durable_right: r.rcv_right,
        adv_right: r.adv_right,
        last_ack_sent: r.last_ack_sent,
        ts_recent: TsRecent { val: r.ts_recent, taken_ms: now_ms - r.ts_recent_ms },
        last_rx_ms: now_ms - r.last_rx_ms,
        ack_pending: bits::<8>(0),
    }
}

/// Timers.
#[kernel]
fn clocks(r: TcpRecord, now: Bits<32>, now_ms: Bits<32>) -> Clocks {
    Clocks {
        on: unpack::<Running, 8>(r.timers),
        rtx: now + r.rtx_deadline,
        keep_alive: now_ms + r.ka_deadline,
        delack: now + r.delack_deadline,
        push: now,
        probe_round: r.probe_round,
        retransmit_count: r.retransmit_count,
        ka_probes: r.ka_probes,
        total_rt_us: r.total_rt_us,
        rto_us: r.rto_us,
    }
}

/// A range.
#[kernel]
fn range(start: Bits<32>, end: Bits<32>) -> SeqRange {
    SeqRange { start: near(start), end: near(end) }
}

/// The four ranges.
#[kernel]
fn ranges(r: TcpRecord) -> Ranges {
    Ranges {
        r0: range(r.ooo0_start, r.ooo0_end),
        r1: range(r.ooo1_start, r.ooo1_end),
        r2: range(r.ooo2_start, r.ooo2_end),
        r3: range(r.ooo3_start, r.ooo3_end),
        recent: bit_cast::<2, 8>(r.ooo_recent),
    }
}

/// Congestion marks; nothing without `CONST_ECN`.
#[kernel]
fn ecn_image(w: Work) -> Bits<8> {
    let marks = EcnBits { marks: w.marks, reduced: w.rc.reduced, spare: bits::<5>(0) };
    if w.fixed.flags.ecn {
        pack::<8, EcnBits>(marks)
    } else {
        bits::<8>(0)
    }
}

/// Loss recovery and congestion variables.
#[kernel]
fn recovery(r: TcpRecord) -> Recovery {
    Recovery {
        cw: Cwnd { cwnd: r.cwnd, ssthresh: r.ssthresh, acked_sum: r.cwnd_acc },
        phase: r.phase,
        recover: r.recover,
        dup_acks: r.dup_acks,
        reduced: unpack::<EcnBits, 8>(r.ecn).reduced,
        ..Recovery::default()
    }
}

/// The record of a connection that is being offloaded. `r`: as it was admitted ([`super::admit`]).
#[kernel]
pub fn load(r: TcpRecord, generation: Bits<8>, path: Bits<16>, now_us: Bits<32>, now_ms: Bits<32>) -> Work {
    Work {
        fixed: fixed(r, generation, path),
        cached: cached(r),
        state: r.tcp_state,
        reason: bits::<8>(0),
        flags: unpack::<Flags, 16>(r.deleg_flags),
        snd: SendVars {
            una: r.snd_una,
            max: r.snd_max,
            wnd: r.snd_wnd,
            max_wnd: r.max_snd_wnd,
            wl1: r.snd_wl1,
            wl2: r.snd_wl2,
        },
        limit: r.snd_limit,
        send_producer: r.send_producer,
        ts_offset: r.ts_offset - now_ms,
        rc: recovery(r),
        rtt: Rtt { srtt_x8: r.srtt_us_x8, rttvar_x4: r.rttvar_us_x4 },
        rtt_seq: r.rtt_seq,
        rtt_start_us: now_us - r.rtt_start_us,
        rcv: receive(r, now_ms),
        ooo: ranges(r),
        tm: clocks(r, now_us, now_ms),
        cnt: Counts::default(),
        side: Side {
            pub_una: r.snd_una,
            pub_next: r.snd_una,
            first_job: true,
            sent_us: now_us,
            ..Side::default()
        },
        guard: Guard::default(),
        marks: unpack::<EcnBits, 8>(r.ecn).marks,
        hystart: fresh(),
    }
}

/// The posts at the start of an offload: none is loaded.
#[kernel]
pub fn posts(r: TcpRecord) -> Posts {
    Posts {
        ring: r.recv_ring,
        ring_log2: r.recv_ring_log2,
        producer: r.recv_producer,
        pool_mode: unpack::<Flags, 16>(r.deleg_flags).pool_mode,
        tag: bits::<16>(FIRST_TAG),
        ..Posts::default()
    }
}

/// An image with the placer's part.
#[kernel]
pub fn with_posts(r: TcpRecord, p: Posts) -> TcpRecord {
    let flags = unpack::<Flags, 16>(r.deleg_flags);
    let flags = Flags { pool_mode: p.pool_mode, ..flags };
    TcpRecord {
        deleg_flags: pack::<16, Flags>(flags),
        recv_ring: p.ring,
        recv_ring_log2: p.ring_log2,
        recv_producer: p.producer,
        post_idx: p.idx,
        post_off: p.off,
        post_len: p.len,
        post_flags: p.flags,
        post_addr: p.addr,
        shadow_tag: p.tag,
        ..r
    }
}

/// Tag of the first shadow record of an offload (the slots before it are zero).
const FIRST_TAG: u64 = 2;

/// A deadline as an image has it: `NO_TIMER`, or what is left, 0 = expired.
#[kernel]
fn left(on: bool, at: Bits<32>, now: Bits<32>) -> Bits<32> {
    if !on {
        bits::<32>(OFF)
    } else if before(at, now) {
        bits::<32>(0)
    } else {
        at - now
    }
}

/// Fields of an image that are not times, first half.
#[kernel]
fn store_send(w: Work, nxt: Bits<32>) -> TcpRecord {
    TcpRecord {
        local_port: w.fixed.local_port,
        remote_port: w.fixed.remote_port,
        const_flags: pack::<16, ConstFlags>(w.fixed.flags),
        snd_wind_shift: bit_cast::<8, SHIFT>(w.fixed.snd_wind_shift),
        rcv_wind_shift: bit_cast::<8, SHIFT>(w.fixed.rcv_wind_shift),
        eff_mss: w.fixed.eff_mss,
        path: w.fixed.path,
        hash: w.fixed.hash,
        cached_flags: pack::<16, CachedFlags>(w.cached.flags),
        ttl: w.cached.ttl,
        tos: w.cached.tos,
        ka_probe_count: w.cached.ka_probe_count,
        user_priority: w.cached.user_priority,
        max_retransmissions: w.cached.max_retransmissions,
        generation: w.fixed.generation,
        initial_rcv_wnd: w.cached.initial_rcv_wnd,
        rcv_indication_size: w.cached.rcv_indication_size,
        ka_timeout_ms: w.cached.ka_timeout_ms,
        ka_interval_ms: w.cached.ka_interval_ms,
        max_rt_us: w.cached.max_rt_us,
        flow_label: w.cached.flow_label,
        tcp_state: w.state,
        phase: w.rc.phase,
        deleg_flags: pack::<16, Flags>(w.flags),
        snd_una: w.snd.una,
        snd_nxt: nxt,
        snd_max: w.snd.max,
        snd_wnd: w.snd.wnd,
        max_snd_wnd: w.snd.max_wnd,
        snd_wl1: w.snd.wl1,
        snd_wl2: w.snd.wl2,
        cwnd: w.rc.cw.cwnd,
        ssthresh: w.rc.cw.ssthresh,
        cwnd_acc: w.rc.cw.acked_sum,
        recover: w.rc.recover,
        ecn: ecn_image(w),
        dup_acks: w.rc.dup_acks,
        srtt_us_x8: w.rtt.srtt_x8,
        rttvar_us_x4: w.rtt.rttvar_x4,
        rto_us: w.tm.rto_us,
        total_rt_us: w.tm.total_rt_us,
        rtt_seq: w.rtt_seq,
        snd_limit: w.limit,
        send_ring: w.fixed.send_ring,
        send_ring_log2: w.fixed.send_ring_log2,
        send_producer: w.send_producer,
        ..TcpRecord::default()
    }
}

/// An edge of a range ahead of `nxt`; those of an empty one are 0.
#[kernel]
fn edge(r: SeqRange, x: Bits<NEAR>, nxt: Bits<32>) -> Bits<32> {
    if r.start == r.end {
        bits::<32>(0)
    } else {
        far(x, nxt)
    }
}

/// Fields of an image that are not times, second half.
#[kernel]
fn store_receive(r: TcpRecord, w: Work) -> TcpRecord {
    let nxt = w.rcv.nxt;
    TcpRecord {
        rcv_nxt: w.rcv.nxt,
        rcv_right: w.rcv.right,
        ts_recent: w.rcv.ts_recent.val,
        probe_round: w.tm.probe_round,
        retransmit_count: w.tm.retransmit_count,
        ka_probes: w.tm.ka_probes,
        ooo0_start: edge(w.ooo.r0, w.ooo.r0.start, nxt),
        ooo0_end: edge(w.ooo.r0, w.ooo.r0.end, nxt),
        ooo1_start: edge(w.ooo.r1, w.ooo.r1.start, nxt),
        ooo1_end: edge(w.ooo.r1, w.ooo.r1.end, nxt),
        ooo2_start: edge(w.ooo.r2, w.ooo.r2.start, nxt),
        ooo2_end: edge(w.ooo.r2, w.ooo.r2.end, nxt),
        ooo3_start: edge(w.ooo.r3, w.ooo.r3.start, nxt),
        ooo3_end: edge(w.ooo.r3, w.ooo.r3.end, nxt),
        durable_rcv_nxt: w.rcv.durable_nxt,
        durable_rcv_right: w.rcv.durable_right,
        ack_pending: w.rcv.ack_pending,
        upload_reason: w.reason,
        adv_right: w.rcv.adv_right,
        ooo_recent: bit_cast::<8, 2>(w.ooo.recent),
        last_ack_sent: w.rcv.last_ack_sent,
        cnt_segs_in: w.cnt.segs_in,
        cnt_segs_out: w.cnt.segs_out,
        cnt_retransmits: w.cnt.retransmits,
        cnt_ooo: w.cnt.ooo,
        cnt_dup: w.cnt.dup,
        cnt_drops: w.cnt.drops,
        ..r
    }
}

/// What is left of the retransmission timer. The new owner's is a timeout, which takes the window away: a wait for a probe or for
/// reordered segments becomes a whole one.
#[kernel]
fn timeout(w: Work, now_us: Bits<32>) -> Bits<32> {
    let is_on = w.tm.on.rtx && w.state != CLOSED;
    let in_flight = w.snd.una != w.snd.max && !w.flags.persist;
    if is_on && in_flight && (w.guard.is_probe || w.guard.is_reorder) {
        w.tm.rto_us
    } else {
        left(is_on, w.tm.rtx, now_us)
    }
}

/// The image of a record: deadlines as time left, stamps as ages, the timestamp clock's value.
#[kernel]
pub fn store(w: Work, now_us: Bits<32>, now_ms: Bits<32>) -> TcpRecord {
    let (nxt, retransmit) = resumed(w);
    let mut w = w;
    w.flags.retransmit = retransmit;
    let r = store_receive(store_send(w, nxt), w);
    TcpRecord {
        ts_offset: w.ts_offset + now_ms,
        ts_recent_ms: now_ms - w.rcv.ts_recent.taken_ms,
        rtt_start_us: now_us - w.rtt_start_us,
        last_rx_ms: now_ms - w.rcv.last_rx_ms,
        rtx_deadline: timeout(w, now_us),
        ka_deadline: left(w.tm.on.keep_alive && w.state != CLOSED, w.tm.keep_alive, now_ms),
        delack_deadline: bits::<32>(OFF),
        push_deadline: bits::<32>(OFF),
        ..r
    }
}
