//! One offloaded connection: its record (as in block RAM), its out-of-order ranges and its page map.

use chimney_abi::cmd::{Phase, TcpState, UploadReason};
use chimney_abi::desc::{aligned_edge, PageMapEntry, PAGE_SLOTS};
use chimney_abi::state::{
    TcpRecord, CACHED_KEEP_ALIVE, CONST_ECN, DELEG_ABORTED, DELEG_INVALID, DELEG_POOL_MODE, DELEG_STOPPED,
    TIMER_KEEP_ALIVE, TIMER_RTX,
};
use chimney_abi::SeqNum;
use chimney_host_stack_core::ack::SendVars;
use chimney_host_stack_core::cwnd::{Cwnd, MAX_CWND};
use chimney_host_stack_core::ecn::Ecn;
use chimney_host_stack_core::loss_recovery::{LossRecovery, TimerKind};
use chimney_host_stack_core::ranges::{RangeList, SeqRange};
use chimney_host_stack_core::recovery::Recovery;
use chimney_host_stack_core::rtt::Rtt;
use chimney_host_stack_core::watchdog::Sample;

/// A live connection.
#[derive(Clone, Debug)]
pub(super) struct Conn {
    pub id: u16,
    /// The record; out-of-order range fields are in `ooo` instead while the connection lives.
    pub rec: TcpRecord,
    pub ooo: RangeList,
    /// Text of the segment in hand that had arrived before, whole: told with its acknowledgment (RFC 2883).
    pub again: Option<SeqRange>,
    /// The right edge that the host rang last.
    pub limit: SeqNum,
    /// Which page holds the bytes of each slot; a copy of the page map in host memory.
    pub pages: [PageMapEntry; PAGE_SLOTS as usize],
    /// The connection is on the ready list.
    pub is_queued: bool,
    /// A receive doorbell arrived in pool mode: posts are to be examined.
    pub posts_to_examine: bool,
    /// The shadow record in memory is out of date.
    pub shadow_dirty: bool,
    /// The host must hear of the next shadow record.
    pub event_due: bool,
    /// Send ring index of the descriptor that holds `snd_una` (or the next one to be posted).
    pub una_desc: u16,
    /// A later descriptor that was used last; a place to start searching.
    pub recent_desc: u16,
    /// Loss recovery with SACK; without, NewReno with what is in the record. `snd_nxt` = `snd_max` while it is here.
    pub loss: Option<LossRecovery>,
    /// What the retransmission deadline is for, with `loss`.
    pub rtx_kind: TimerKind,
    /// A tail loss probe is due.
    pub tail_probe_due: bool,
    /// When text was sent last.
    pub last_sent_us: u32,
    /// What it did in this period of the watchdog.
    pub sample: Sample,
    /// Congestion marks; in an image the flags and the recovery point (`Ecn::store`).
    pub ecn: Ecn,
}

impl Conn {
    pub fn has(&self, flag: u16) -> bool {
        self.rec.deleg_flags & flag != 0
    }

    pub fn set(&mut self, flag: u16) {
        self.rec.deleg_flags |= flag;
    }

    pub fn clear(&mut self, flag: u16) {
        self.rec.deleg_flags &= !flag;
    }

    /// The state; a record is only taken over with a known one.
    pub fn state(&self) -> TcpState {
        TcpState::try_from(self.rec.tcp_state).unwrap_or(TcpState::Closed)
    }

    pub fn set_state(&mut self, state: TcpState) {
        self.rec.tcp_state = state.code();
        self.shadow_dirty = true;
        self.event_due = true;
    }

    /// Nothing is sent and no timer acts any more.
    pub fn is_halted(&self) -> bool {
        self.has(DELEG_STOPPED | DELEG_ABORTED | DELEG_INVALID) || self.state() == TcpState::Closed
    }

    /// Asks the host for an upload; a mandatory reason stops the connection, except in TIME-WAIT,
    /// which goes on acknowledging (G-39). The first mandatory reason stays.
    pub fn request_upload(&mut self, reason: UploadReason) {
        if !self.must_leave() {
            self.rec.upload_reason = reason.code();
        }
        if reason.is_mandatory() && self.state() != TcpState::TimeWait {
            self.set(DELEG_STOPPED);
        }
        self.shadow_dirty = true;
        self.event_due = true;
    }

    /// An upload that must be granted was asked for.
    pub fn must_leave(&self) -> bool {
        UploadReason::try_from(self.rec.upload_reason).is_ok_and(UploadReason::is_mandatory)
    }

    /// What the host is told. R-165: what need not be granted is asked for only while the connection is open both ways.
    pub fn told_reason(&self) -> u8 {
        let is_told = self.must_leave() || self.state() == TcpState::Established;
        if is_told {
            self.rec.upload_reason
        } else {
            0
        }
    }

    pub fn is_pool_mode(&self) -> bool {
        self.has(DELEG_POOL_MODE)
    }

    pub fn rcv_nxt(&self) -> SeqNum {
        SeqNum(self.rec.rcv_nxt)
    }

    /// Law L3, [`aligned_edge`]: `rcv_nxt` or the edge has moved.
    pub fn align_edge(&mut self) {
        let right = SeqNum(self.rec.rcv_right);
        self.rec.rcv_right = aligned_edge(self.rcv_nxt(), right, self.limit, self.rec.rcv_wind_shift).0;
    }

    /// Bytes between `rcv_nxt` and the right edge.
    pub fn rcv_wnd(&self) -> u32 {
        SeqNum(self.rec.rcv_right) - self.rcv_nxt()
    }

    pub fn snd_una(&self) -> SeqNum {
        SeqNum(self.rec.snd_una)
    }

    pub fn snd_nxt(&self) -> SeqNum {
        SeqNum(self.rec.snd_nxt)
    }

    pub fn snd_max(&self) -> SeqNum {
        SeqNum(self.rec.snd_max)
    }

    pub fn snd_limit(&self) -> SeqNum {
        SeqNum(self.rec.snd_limit)
    }

    pub fn flight_size(&self) -> u32 {
        self.snd_max() - self.snd_una()
    }

    pub fn send_vars(&self) -> SendVars {
        let r = &self.rec;
        SendVars {
            snd_una: SeqNum(r.snd_una),
            snd_nxt: SeqNum(r.snd_nxt),
            snd_max: SeqNum(r.snd_max),
            snd_wnd: r.snd_wnd,
            max_snd_wnd: r.max_snd_wnd,
            snd_wl1: SeqNum(r.snd_wl1),
            snd_wl2: SeqNum(r.snd_wl2),
        }
    }

    /// SEG.SEQ of a segment without text.
    pub fn bare_seq(&self) -> SeqNum {
        self.send_vars().bare_seq(self.rec.snd_wind_shift)
    }

    pub fn set_send_vars(&mut self, v: &SendVars) {
        let SendVars { snd_una, snd_nxt, snd_max, snd_wnd, max_snd_wnd, snd_wl1, snd_wl2 } = *v;
        let r = &mut self.rec;
        (r.snd_una, r.snd_nxt, r.snd_max) = (snd_una.0, snd_nxt.0, snd_max.0);
        (r.snd_wnd, r.max_snd_wnd) = (snd_wnd, max_snd_wnd);
        (r.snd_wl1, r.snd_wl2) = (snd_wl1.0, snd_wl2.0);
    }

    pub fn cwnd(&self) -> Cwnd {
        Cwnd { cwnd: self.rec.cwnd, ssthresh: self.rec.ssthresh, acked_sum: self.rec.cwnd_acc }
    }

    pub fn recovery(&self) -> Recovery {
        Recovery {
            phase: Phase::try_from(self.rec.phase).unwrap_or(Phase::Open),
            recover: SeqNum(self.rec.recover),
            dup_acks: self.rec.dup_acks,
        }
    }

    pub fn set_congestion(&mut self, cw: &Cwnd, recovery: &Recovery) {
        let r = &mut self.rec;
        // A flood of duplicate ACKs must not inflate the window without end.
        let cw = Cwnd { cwnd: cw.cwnd.min(MAX_CWND), ..*cw };
        (r.cwnd, r.ssthresh, r.cwnd_acc) = (cw.cwnd, cw.ssthresh, cw.acked_sum);
        (r.phase, r.recover, r.dup_acks) = (recovery.phase.code(), recovery.recover.0, recovery.dup_acks);
    }

    /// What the image says of congestion marks.
    pub fn load_ecn(&mut self) {
        let (is_on, mut recovery) = (self.rec.const_flags & CONST_ECN != 0, self.recovery());
        self.ecn = Ecn::load(is_on, self.rec.ecn, self.snd_una(), &mut recovery);
        self.rec.recover = recovery.recover.0;
    }

    pub fn rtt(&self) -> Rtt {
        Rtt { srtt_x8: self.rec.srtt_us_x8, rttvar_x4: self.rec.rttvar_us_x4 }
    }

    pub fn start_timer(&mut self, timer: u8, deadline: u32) {
        let r = &mut self.rec;
        r.timers |= timer;
        *timer_field(r, timer) = deadline;
    }

    pub fn stop_timer(&mut self, timer: u8) {
        self.rec.timers &= !timer;
    }

    pub fn timer_runs(&self, timer: u8) -> bool {
        self.rec.timers & timer != 0
    }

    /// Restarts or stops the keepalive timer after the peer was heard of.
    pub fn restart_keep_alive(&mut self, now_ms: u32) {
        self.rec.ka_probes = 0;
        if self.rec.cached_flags & CACHED_KEEP_ALIVE != 0 {
            self.start_timer(TIMER_KEEP_ALIVE, now_ms.wrapping_add(self.rec.ka_timeout_ms));
        } else {
            self.stop_timer(TIMER_KEEP_ALIVE);
        }
    }

    /// (Re)starts the retransmission timer with the present RTO and back-off.
    pub fn restart_rtx(&mut self, now_us: u32, timeout_us: u32) {
        self.start_timer(TIMER_RTX, now_us.wrapping_add(timeout_us));
    }
}

/// The deadline that belongs to a `TIMER_*` bit.
pub(super) fn timer_field(r: &mut TcpRecord, timer: u8) -> &mut u32 {
    use chimney_abi::state::{TIMER_DELACK, TIMER_PUSH};
    match timer {
        TIMER_RTX => &mut r.rtx_deadline,
        TIMER_DELACK => &mut r.delack_deadline,
        TIMER_PUSH => &mut r.push_deadline,
        _ => &mut r.ka_deadline,
    }
}
