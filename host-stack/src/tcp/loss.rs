//! Loss recovery with SACK: the functions of `loss_recovery` at the places where things happen.
//!
//! SND.NXT stays at SND.MAX: what has to be sent again is a lost hole of the scoreboard. In an exported state it goes
//! back, so that whoever goes on sends the same bytes again.

use super::tcb::Tcb;
use chimney_abi::cmd::Phase;
use chimney_abi::SeqNum;
use chimney_host_stack_core::loss_recovery::{AckEvent, AckResult, Moment, TimerKind};
use chimney_host_stack_core::ranges::SeqRange;
use chimney_host_stack_core::recovery::DUP_ACK_THRESHOLD;
use chimney_host_stack_core::rtt::backed_off;

/// What an acknowledgment says that is not in the record.
pub(super) struct News<'a> {
    pub una_before: SeqNum,
    pub blocks: &'a [SeqRange],
    pub is_duplicate: bool,
    pub rtt_us: Option<u32>,
    pub echo_ms: Option<u32>,
}

impl Tcb {
    /// The connection for the functions of loss recovery.
    pub(super) fn moment(&self, now_us: u64) -> Moment {
        // `as`: those functions see the low bits of the clock.
        let (srtt_us, now_us) = (self.rtt.srtt_x8 >> 3, now_us as u32);
        Moment { snd: self.snd, smss: self.eff_mss, srtt_us, now_us }
    }

    /// What is in flight does not arrive: it goes out again at once, without a congestion response (G-20).
    pub(crate) fn send_again(&mut self) {
        if self.negotiated.has_sack {
            self.loss.board.mark_all_lost(&self.snd);
        } else {
            self.owed.first = self.snd.flight_size() > 0;
        }
    }

    /// An acceptable acknowledgment, after SND.UNA was moved.
    pub(super) fn recover(&mut self, now_us: u64, news: &News<'_>) {
        let at = self.moment(now_us);
        let News { una_before, blocks, is_duplicate, rtt_us, echo_ms } = *news;
        let dup_threshold = DUP_ACK_THRESHOLD;
        let ack = AckEvent { una_before, blocks, is_duplicate, rtt_us, echo_ms, dup_threshold };
        let result = self.loss.on_ack(&at, &mut self.cw, &mut self.recovery, &ack);
        self.after_detection(now_us, &result, at.snd.snd_una != una_before);
    }

    /// RFC 8985 6.3.
    pub(super) fn on_reorder_timer(&mut self, now_us: u64) {
        let at = self.moment(now_us);
        let result = self.loss.on_reorder_timer(&at, &mut self.cw, &mut self.recovery, DUP_ACK_THRESHOLD);
        self.after_detection(now_us, &result, true);
    }

    fn after_detection(&mut self, now_us: u64, result: &AckResult, has_moved: bool) {
        if result.has_entered {
            self.stats.fast_retransmits += 1;
        }
        if result.has_reduced {
            self.ecn.on_reduction(self.snd.snd_max);
        }
        // RFC 8985 7.2: only new text and what it acknowledges begin the wait for a probe. A timeout that runs, an image's for example, stays.
        let is_news = has_moved || result.wait_us.is_some() || self.rtx_kind != TimerKind::Rto;
        let may_change = is_news || self.timers.retransmit.is_none();
        if self.snd.flight_size() > 0 && !self.timers.is_persist && may_change {
            self.arm_loss_timer(now_us, result.wait_us, has_moved);
        }
    }

    /// RFC 3168 6.1.2: the peer echoes a mark.
    pub(super) fn on_ecn_echo(&mut self, now_us: u64) {
        if self.negotiated.has_sack {
            let at = self.moment(now_us);
            self.loss.on_mark(&at, &mut self.cw, &self.recovery);
        } else if self.recovery.phase == Phase::Open {
            self.cw.reduce_ssthresh(self.snd.flight_size(), self.eff_mss);
            self.cw.cwnd = self.cw.ssthresh;
        }
    }

    /// Arms the one deadline anew, or only if it is for something else now.
    fn arm_loss_timer(&mut self, now_us: u64, wait_us: Option<u32>, is_restart: bool) {
        let rto_us = backed_off(self.rto_us(), self.retransmit_count, &self.config.rto);
        let (kind, us) = self.loss.timer(&self.moment(now_us), &self.recovery, wait_us, rto_us);
        let is_other = kind != self.rtx_kind || kind == TimerKind::Reorder;
        if is_restart || is_other || self.timers.retransmit.is_none() {
            self.timers.is_persist = false;
            self.rtx_kind = kind;
            self.timers.retransmit = Some(now_us + u64::from(us));
        }
    }

    /// Lost text that may be sent again now.
    pub(super) fn next_lost(&self) -> Option<SeqRange> {
        let part = self.loss.next_resend(&self.snd, &self.cw, self.eff_mss)?;
        // A window that shrank: the first segment is its own probe.
        let room = self.snd.snd_wnd.saturating_sub(part.start - self.snd.snd_una);
        (part.start == self.snd.snd_una || part.len() <= room).then_some(part)
    }

    /// New text, or the FIN, was sent.
    pub(super) fn on_text_sent(&mut self, now_us: u64, len: u32) {
        let at = self.moment(now_us);
        self.loss.on_send(&at, &self.recovery, len);
        // RFC 8985 7.2: the probe waits from the last transmission on, and the second segment of a flight may make it the
        // sooner one of probe and RTO.
        let rto_us = backed_off(self.rto_us(), self.retransmit_count, &self.config.rto);
        let timer = self.loss.timer(&at, &self.recovery, None, rto_us);
        if self.rtx_kind == TimerKind::Reorder {
            return;
        }
        if timer == (TimerKind::Probe, rto_us) && self.timers.retransmit.is_some() {
            // The probe takes the place of the timeout, which new text does not begin anew (RFC 6298 5.1).
            self.rtx_kind = TimerKind::Probe;
        } else {
            self.arm_loss_timer(now_us, None, self.rtx_kind == TimerKind::Probe);
        }
    }

    /// Text was sent again.
    pub(super) fn on_text_resent(&mut self, now_us: u64, part: SeqRange) {
        // `as`: see `moment`.
        self.loss.on_resend(&self.recovery, part, now_us as u32);
        if part.start == self.snd.snd_una || self.timers.retransmit.is_none() {
            self.arm_loss_timer(now_us, None, true);
        }
    }

    /// Where whoever goes on has to send from: SND.NXT, or what is still to be repeated after a timeout.
    pub(super) fn resend_from(&self) -> SeqNum {
        let is_going_back = self.negotiated.has_sack && self.recovery.phase != Phase::FastRecovery;
        let lost = self.loss.board.next_lost(&self.snd, self.eff_mss).filter(|_| is_going_back);
        lost.map_or(self.snd.snd_nxt, |part| part.start)
    }

    /// The segment at SND.UNA is lost and not sent again yet.
    pub(super) fn is_first_lost(&self) -> bool {
        let lost = self.loss.board.next_lost(&self.snd, self.eff_mss);
        let is_in_recovery = self.negotiated.has_sack && self.recovery.phase == Phase::FastRecovery;
        is_in_recovery && lost.is_some_and(|part| part.start == self.snd.snd_una)
    }
}
