//! The connection record as PROTO works with it, and its conversion from and to the image.
//!
//! Same bits as `mirror::TcpRecord`, grouped by who uses them, plus [`Side`], which never leaves the
//! device. Times are absolute here and relative in an image (R-153, programmer's guide 5 and 9).
use crate::prelude::*;
use crate::tcp::ack::SendVars;
use crate::tcp::cwnd::Recovery;
use crate::tcp::hystart::HyStart;
use crate::tcp::loss::growth::{CREDIT, TICK};
use crate::tcp::ranges::Ranges;
use crate::tcp::rtt::Rtt;
use crate::tcp::window::{TsRecent, SHIFT};

/// `const_flags` bit by bit.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct ConstFlags {
    /// `CONST_TIMESTAMPS`.
    pub timestamps: Bit,
    /// `CONST_SACK`.
    pub sack: Bit,
    /// `CONST_WINDOW_SCALING`.
    pub window_scaling: Bit,
    /// `CONST_IPV6`.
    pub ipv6: Bit,
    /// `CONST_NEWRENO`.
    pub newreno: Bit,
    /// `CONST_ECN`.
    pub ecn: Bit,
    /// Unused.
    pub spare: Bits<10>,
}

/// `cached_flags` bit by bit.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct CachedFlags {
    /// `CACHED_KEEP_ALIVE`.
    pub keep_alive: Bit,
    /// `CACHED_NAGLE`.
    pub nagle: Bit,
    /// `CACHED_KEEP_ALIVE_RESTART`.
    pub keep_alive_restart: Bit,
    /// `CACHED_MAX_RT_RESTART`.
    pub max_rt_restart: Bit,
    /// `CACHED_UPDATE_RCV_WND`.
    pub update_rcv_wnd: Bit,
    /// Unused.
    pub spare: Bits<11>,
}

/// `deleg_flags` bit by bit.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Flags {
    /// `DELEG_FIN_POSTED`.
    pub fin_posted: Bit,
    /// `DELEG_FIN_SENT`.
    pub fin_sent: Bit,
    /// `DELEG_PEER_FIN`.
    pub peer_fin: Bit,
    /// `DELEG_ABORTED`.
    pub aborted: Bit,
    /// `DELEG_STOPPED`.
    pub stopped: Bit,
    /// `DELEG_INVALID`.
    pub invalid: Bit,
    /// `DELEG_POOL_MODE`.
    pub pool_mode: Bit,
    /// `DELEG_ACK_NOW`.
    pub ack_now: Bit,
    /// `DELEG_RTT_RUNNING`.
    pub rtt_running: Bit,
    /// `DELEG_PERSIST`.
    pub persist: Bit,
    /// `DELEG_RETRANSMIT`.
    pub retransmit: Bit,
    /// `DELEG_POST_LOADED`.
    pub post_loaded: Bit,
    /// `DELEG_PROBE`.
    pub probe: Bit,
    /// `DELEG_CHALLENGED`.
    pub challenged: Bit,
    /// `DELEG_ARRIVING`.
    pub arriving: Bit,
    /// Unused.
    pub spare: Bit,
}

/// What is fixed at the offload: CONST fields, rings, ids.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Fixed {
    /// See the record.
    pub local_port: Bits<16>,
    /// See the record.
    pub remote_port: Bits<16>,
    /// See the record.
    pub flags: ConstFlags,
    /// See the record.
    pub snd_wind_shift: Bits<SHIFT>,
    /// See the record.
    pub rcv_wind_shift: Bits<SHIFT>,
    /// See the record.
    pub eff_mss: Bits<16>,
    /// See the record.
    pub path: Bits<16>,
    /// See the record.
    pub hash: Bits<32>,
    /// See the record.
    pub send_ring: Bits<64>,
    /// See the record.
    pub send_ring_log2: Bits<8>,
    /// See the record.
    pub generation: Bits<8>,
}

/// CACHED fields: what an Update replaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Cached {
    /// See the record.
    pub flags: CachedFlags,
    /// See the record.
    pub ttl: Bits<8>,
    /// See the record.
    pub tos: Bits<8>,
    /// See the record.
    pub ka_probe_count: Bits<8>,
    /// See the record.
    pub user_priority: Bits<8>,
    /// See the record.
    pub max_retransmissions: Bits<8>,
    /// See the record.
    pub initial_rcv_wnd: Bits<32>,
    /// See the record.
    pub rcv_indication_size: Bits<32>,
    /// See the record.
    pub ka_timeout_ms: Bits<32>,
    /// See the record.
    pub ka_interval_ms: Bits<32>,
    /// See the record.
    pub max_rt_us: Bits<32>,
    /// See the record.
    pub flow_label: Bits<32>,
}

/// Receive side.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Receive {
    /// `rcv_nxt`.
    pub nxt: Bits<32>,
    /// `rcv_right`.
    pub right: Bits<32>,
    /// The right edge that the host rang last (not in the record).
    pub limit: Bits<32>,
    /// `durable_rcv_nxt`.
    pub durable_nxt: Bits<32>,
    /// `durable_rcv_right`.
    pub durable_right: Bits<32>,
    /// `adv_right`.
    pub adv_right: Bits<32>,
    /// `last_ack_sent`.
    pub last_ack_sent: Bits<32>,
    /// `ts_recent`, `ts_recent_ms`.
    pub ts_recent: TsRecent,
    /// `last_rx_ms`.
    pub last_rx_ms: Bits<32>,
    /// `ack_pending`: data segments that are durable and not acknowledged.
    pub ack_pending: Bits<8>,
}

/// Timers: which run, and their deadlines.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Running {
    /// `TIMER_RTX`.
    pub rtx: Bit,
    /// `TIMER_DELACK`.
    pub delack: Bit,
    /// `TIMER_PUSH`.
    pub push: Bit,
    /// `TIMER_KEEP_ALIVE`.
    pub keep_alive: Bit,
    /// Unused.
    pub spare: Bits<4>,
}

/// Timers of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Clocks {
    /// Which run.
    pub on: Running,
    /// `rtx_deadline`.
    pub rtx: Bits<32>,
    /// `ka_deadline`: milliseconds, the others microseconds.
    pub keep_alive: Bits<32>,
    /// `delack_deadline`.
    pub delack: Bits<32>,
    /// `push_deadline`.
    pub push: Bits<32>,
    /// `probe_round`.
    pub probe_round: Bits<8>,
    /// `retransmit_count`.
    pub retransmit_count: Bits<8>,
    /// `ka_probes`.
    pub ka_probes: Bits<8>,
    /// `total_rt_us`.
    pub total_rt_us: Bits<32>,
    /// `rto_us`.
    pub rto_us: Bits<32>,
}

/// Delta counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Counts {
    /// `cnt_segs_in`.
    pub segs_in: Bits<32>,
    /// `cnt_segs_out`.
    pub segs_out: Bits<32>,
    /// `cnt_retransmits`.
    pub retransmits: Bits<32>,
    /// `cnt_ooo`.
    pub ooo: Bits<32>,
    /// `cnt_dup`.
    pub dup: Bits<32>,
    /// `cnt_drops`.
    pub drops: Bits<32>,
}

/// Device-internal: what is under way for the connection (law L1).
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Side {
    /// Number of the connection's newest job: until it is done, bytes below SND.UNA may be read.
    pub newest: Bits<16>,
    /// `pub_next` waits until no job that may read bytes below it is under way.
    pub pub_wait: Bit,
    /// `snd_una` to publish then.
    pub pub_next: Bits<32>,
    /// `snd_una` as published: the host may free what is below.
    pub pub_una: Bits<32>,
    /// Shadow records written and not answered.
    pub commits: Bits<8>,
    /// When text was sent last, microseconds; at first: when the connection came.
    pub sent_us: Bits<32>,
    /// In the ready list.
    pub queued: Bit,
    /// The next job is the first since the offload.
    pub first_job: Bit,
    /// A RST is to be sent (abort).
    pub reset: Bit,
    /// Terminate: 0 = no, 1 = waits, 2 = acknowledgment owed sent, 3 = last shadow record written.
    pub closing: Bits<2>,
}

/// Device-internal: loss recovery with SACK, as far as the unit (`tcp/loss`) told. All zero without `CONST_SACK`.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Guard {
    /// The unit hears of everything, and `rc` is its own; else the connection is calm.
    pub is_guarded: Bit,
    /// It has heard nothing of this connection yet.
    pub is_fresh: Bit,
    /// SND.UNA has moved and it was too busy to hear of it; it believes that it is `lost`. Never without a turn in the ready list.
    pub is_behind: Bit,
    /// Jobs that it has not answered. Until then no text is sent.
    pub asked: Bits<5>,
    /// The retransmission timer is for a probe (RFC 8985 7.2).
    pub is_probe: Bit,
    /// It is for reordered segments (RFC 8985 6.3).
    pub is_reorder: Bit,
    /// A probe is to be sent.
    pub probe_due: Bit,
    /// One was sent, and no round trip was measured since (RFC 8985 7.3 (2)).
    pub owes_rtt: Bit,
    /// New text may begin the wait for one, by the last answer.
    pub may_probe: Bit,
    /// Bytes count as lost and are to be sent again.
    pub has_lost: Bit,
    /// The window has room for them.
    pub has_room: Bit,
    /// The first of them, at most a segment. While `is_behind`: where SND.UNA was when the unit heard of it last.
    pub lost: Bits<32>,
    /// How many.
    pub lost_len: Bits<16>,
    /// New text may go up to here, as far as the network is concerned.
    pub edge: Bits<32>,
    /// Bytes of new text sent since the last job.
    pub sent: Bits<32>,
    /// Bytes acknowledged with a window in use since CUBIC's program was asked last.
    pub credit: Bits<CREDIT>,
    /// The millisecond in which that was.
    pub tick: Bits<TICK>,
}

/// Congestion marks (RFC 3168); the third bit of `ecn` is `reduced` of [`Recovery`]. All zero without `CONST_ECN`.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Marks {
    /// `ECN_ECHO`.
    pub echo: Bit,
    /// `ECN_CWR`.
    pub cwr: Bit,
}

/// `ecn` of an image, bit by bit.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct EcnBits {
    /// `ECN_ECHO` and `ECN_CWR`.
    pub marks: Marks,
    /// `ECN_REDUCED`.
    pub reduced: Bit,
    /// Unused.
    pub spare: Bits<5>,
}

/// The whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Work {
    /// Fixed at the offload.
    pub fixed: Fixed,
    /// CACHED.
    pub cached: Cached,
    /// `tcp_state`.
    pub state: Bits<8>,
    /// `upload_reason`.
    pub reason: Bits<8>,
    /// `deleg_flags`.
    pub flags: Flags,
    /// Send sequence variables.
    pub snd: SendVars,
    /// `snd_limit`.
    pub limit: Bits<32>,
    /// `send_producer`.
    pub send_producer: Bits<16>,
    /// `ts_offset`.
    pub ts_offset: Bits<32>,
    /// Congestion and recovery.
    pub rc: Recovery,
    /// Round-trip estimate.
    pub rtt: Rtt,
    /// `rtt_seq`.
    pub rtt_seq: Bits<32>,
    /// `rtt_start_us`.
    pub rtt_start_us: Bits<32>,
    /// Receive side.
    pub rcv: Receive,
    /// Out-of-order ranges.
    pub ooo: Ranges,
    /// Timers.
    pub tm: Clocks,
    /// Delta counters.
    pub cnt: Counts,
    /// Internal.
    pub side: Side,
    /// Internal.
    pub guard: Guard,
    /// `ecn`.
    pub marks: Marks,
    /// Internal: when the first slow start ends.
    pub hystart: HyStart,
}

/// A record of two parts: what is `settled` when stage 3 is over, since no later stage changes it, and the rest.
#[kernel]
pub fn joined(settled: Work, rest: Work) -> Work {
    let (s, r) = (settled, rest);
    Work {
        fixed: s.fixed,
        cached: s.cached,
        snd: SendVars { max: r.snd.max, ..s.snd },
        limit: s.limit,
        send_producer: s.send_producer,
        ts_offset: s.ts_offset,
        rc: Recovery { cw: r.rc.cw, epoch: r.rc.epoch, ..s.rc },
        rtt: s.rtt,
        rcv: Receive {
            limit: s.rcv.limit,
            durable_nxt: s.rcv.durable_nxt,
            durable_right: s.rcv.durable_right,
            ts_recent: s.rcv.ts_recent,
            last_rx_ms: s.rcv.last_rx_ms,
            ..r.rcv
        },
        tm: Clocks { on: r.tm.on, rtx: r.tm.rtx, push: r.tm.push, ..s.tm },
        cnt: Counts { segs_in: s.cnt.segs_in, dup: s.cnt.dup, ..r.cnt },
        guard: Guard {
            may_probe: s.guard.may_probe,
            has_lost: s.guard.has_lost,
            has_room: s.guard.has_room,
            lost: s.guard.lost,
            lost_len: s.guard.lost_len,
            edge: s.guard.edge,
            ..r.guard
        },
        ..r
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chimney_abi::{desc, state};

    fn code<const N: usize, T: Packed>(x: T) -> u64 {
        let b = pack::<N, T>(x);
        (0..N).fold(0, |v, i| v | u64::from(b.get_bit(i)) << i)
    }

    #[test]
    fn flag_bits_stand_where_the_contract_has_them() {
        let f = Flags::default();
        let table = [
            (Flags { fin_posted: true, ..f }, state::DELEG_FIN_POSTED),
            (Flags { fin_sent: true, ..f }, state::DELEG_FIN_SENT),
            (Flags { peer_fin: true, ..f }, state::DELEG_PEER_FIN),
            (Flags { aborted: true, ..f }, state::DELEG_ABORTED),
            (Flags { stopped: true, ..f }, state::DELEG_STOPPED),
            (Flags { invalid: true, ..f }, state::DELEG_INVALID),
            (Flags { pool_mode: true, ..f }, state::DELEG_POOL_MODE),
            (Flags { ack_now: true, ..f }, state::DELEG_ACK_NOW),
            (Flags { rtt_running: true, ..f }, state::DELEG_RTT_RUNNING),
            (Flags { persist: true, ..f }, state::DELEG_PERSIST),
            (Flags { retransmit: true, ..f }, state::DELEG_RETRANSMIT),
            (Flags { post_loaded: true, ..f }, state::DELEG_POST_LOADED),
            (Flags { probe: true, ..f }, state::DELEG_PROBE),
            (Flags { challenged: true, ..f }, state::DELEG_CHALLENGED),
            (Flags { arriving: true, ..f }, state::DELEG_ARRIVING),
        ];
        for (x, want) in table {
            assert_eq!(code::<16, _>(x), u64::from(want));
        }
        let c = ConstFlags::default();
        assert_eq!(code::<16, _>(ConstFlags { timestamps: true, ..c }), u64::from(state::CONST_TIMESTAMPS));
        assert_eq!(code::<16, _>(ConstFlags { sack: true, ..c }), u64::from(state::CONST_SACK));
        assert_eq!(code::<16, _>(ConstFlags { newreno: true, ..c }), u64::from(state::CONST_NEWRENO));
        assert_eq!(code::<16, _>(ConstFlags { ecn: true, ..c }), u64::from(state::CONST_ECN));
        let (e, m) = (EcnBits::default(), Marks::default());
        let echo = EcnBits { marks: Marks { echo: true, ..m }, ..e };
        let cwr = EcnBits { marks: Marks { cwr: true, ..m }, ..e };
        assert_eq!((code::<8, _>(echo), code::<8, _>(cwr)), (state::ECN_ECHO.into(), state::ECN_CWR.into()));
        assert_eq!(code::<8, _>(EcnBits { reduced: true, ..e }), u64::from(state::ECN_REDUCED));
        let c = CachedFlags::default();
        assert_eq!(code::<16, _>(CachedFlags { keep_alive: true, ..c }), u64::from(state::CACHED_KEEP_ALIVE));
        assert_eq!(code::<16, _>(CachedFlags { nagle: true, ..c }), u64::from(state::CACHED_NAGLE));
        let t = Running::default();
        assert_eq!(code::<8, _>(Running { rtx: true, ..t }), u64::from(state::TIMER_RTX));
        assert_eq!(code::<8, _>(Running { delack: true, ..t }), u64::from(state::TIMER_DELACK));
        assert_eq!(code::<8, _>(Running { push: true, ..t }), u64::from(state::TIMER_PUSH));
        assert_eq!(code::<8, _>(Running { keep_alive: true, ..t }), u64::from(state::TIMER_KEEP_ALIVE));
        assert_eq!(desc::PAGE_LOG2, 12, "the map's tag is the sequence number >> 12");
    }
}
