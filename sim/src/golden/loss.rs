//! Loss recovery of connections with SACK: the functions of `loss_recovery` at the places where things happen.
//!
//! `snd_nxt` stays at `snd_max`: what has to be sent again is a lost hole of the scoreboard. In an image it goes back
//! so that the host sends the same bytes again.

use super::conn::Conn;
use super::engine_tx::may_send_text;
use super::{Dma, DmaError, Golden, Recovery};
use chimney_abi::cmd::{Phase, TcpState};
use chimney_abi::state::{TcpRecord, CONST_NEWRENO, CONST_SACK, DELEG_PERSIST, DELEG_RETRANSMIT, TIMER_RTX};
use chimney_abi::{regs, SeqNum};
use chimney_host_stack_core::ack::SendVars;
use chimney_host_stack_core::congestion::Control;
use chimney_host_stack_core::loss_recovery::{AckEvent, AckResult, LossRecovery, Moment, TimerKind};
use chimney_host_stack_core::rack::Rack;
use chimney_host_stack_core::ranges::SeqRange;

/// What an acknowledgment says that is not in the record.
pub(super) struct News<'a> {
    pub una_before: SeqNum,
    pub blocks: &'a [SeqRange],
    pub is_duplicate: bool,
    pub rtt_us: Option<u32>,
    pub echo_ms: Option<u32>,
}

impl<D: Dma> Golden<D> {
    /// The connection for the functions of loss recovery.
    pub(super) fn moment(&self, conn: &Conn) -> Moment {
        let (smss, srtt_us) = (self.smss(conn), conn.rec.srtt_us_x8 >> 3);
        Moment { snd: conn.send_vars(), smss, srtt_us, now_us: self.now32() }
    }

    /// A connection was handed over: its scoreboard begins afresh.
    pub(super) fn start_loss_recovery(&self, conn: &mut Conn) {
        let Recovery::Modern(algorithm) = self.config.recovery else { return };
        if conn.rec.const_flags & CONST_SACK == 0 {
            return;
        }
        let (at, cw, phase) = (self.moment(conn), conn.cwnd(), conn.recovery().phase);
        let is_newreno = conn.rec.const_flags & CONST_NEWRENO != 0;
        let control = if is_newreno { Control::NewReno } else { Control::new(algorithm) };
        let mut loss = LossRecovery::handed_over(&at, control, &cw, phase, conn.snd_nxt());
        if conn.has(DELEG_RETRANSMIT) {
            conn.clear(DELEG_RETRANSMIT);
            loss.board.mark_lost_to(conn.snd_una() + at.smss.min(conn.flight_size()));
        }
        conn.rec.snd_nxt = conn.rec.snd_max;
        conn.loss = Some(loss);
    }

    /// The usual threshold is 3; it is a register.
    fn dup_threshold(&self) -> u8 {
        u8::try_from(self.regs.get(&regs::DUP_ACK_THRESHOLD)).unwrap_or(u8::MAX).max(1)
    }

    /// An acceptable acknowledgment, after `snd_una` was moved.
    pub(super) fn recover(&mut self, conn: &mut Conn, news: &News<'_>) {
        let at = self.moment(conn);
        let News { una_before, blocks, is_duplicate, rtt_us, echo_ms } = *news;
        let has_moved = at.snd.snd_una != una_before;
        if conn.has(DELEG_PERSIST) && !has_moved {
            return;
        }
        let dup_threshold = self.dup_threshold();
        let ack = AckEvent { una_before, blocks, is_duplicate, rtt_us, echo_ms, dup_threshold };
        let (mut cw, mut recovery) = (conn.cwnd(), conn.recovery());
        let Some(loss) = &mut conn.loss else { return };
        // The unit for losses knows nothing of the end of slow start (`hdl/doc/engine.md`): what it has to hear grows the window as it was.
        let before = SendVars { snd_una: una_before, ..at.snd };
        let is_heard = !blocks.is_empty() || !loss.is_calm(&before, &recovery);
        let hystart = if is_heard { loss.hystart.take() } else { None };
        let result = loss.on_ack(&at, &mut cw, &mut recovery, &ack);
        loss.hystart = hystart.or(loss.hystart);
        conn.set_congestion(&cw, &recovery);
        self.after_detection(conn, &result, has_moved);
        forget_if_calm(conn);
    }

    fn after_detection(&mut self, conn: &mut Conn, result: &AckResult, has_moved: bool) {
        if result.has_entered {
            self.regs.count(&regs::CNT_FAST_RETRANSMITS, 1);
        }
        if result.has_reduced {
            conn.ecn.on_reduction(conn.snd_max());
        }
        if conn.has(DELEG_PERSIST) {
            return;
        }
        if conn.state() == TcpState::FinWait2 {
            // the timer is that of the state.
        } else if conn.flight_size() == 0 {
            conn.stop_timer(TIMER_RTX);
        } else if has_moved
            || result.wait_us.is_some()
            || conn.rtx_kind != TimerKind::Rto
            || !conn.timer_runs(TIMER_RTX)
        {
            // RFC 8985 7.2: only new text and what it acknowledges begin the wait for a probe.
            self.arm_loss_timer(conn, result.wait_us, has_moved);
        }
    }

    /// Arms the one deadline anew, or only if it is for something else now.
    fn arm_loss_timer(&self, conn: &mut Conn, wait_us: Option<u32>, is_restart: bool) {
        let at = self.moment(conn);
        let Some(loss) = &conn.loss else { return };
        let (kind, us) = loss.timer(&at, &conn.recovery(), wait_us, self.timeout_us(conn));
        let is_other = kind != conn.rtx_kind || kind == TimerKind::Reorder;
        if is_restart || is_other || !conn.timer_runs(TIMER_RTX) {
            conn.rtx_kind = kind;
            conn.restart_rtx(at.now_us, us);
        }
    }

    /// RFC 8985 6.3.
    pub(super) fn on_reorder_timer(&mut self, conn: &mut Conn) {
        let at = self.moment(conn);
        let (mut cw, mut recovery) = (conn.cwnd(), conn.recovery());
        let threshold = self.dup_threshold();
        let Some(loss) = &mut conn.loss else { return };
        let result = loss.on_reorder_timer(&at, &mut cw, &mut recovery, threshold);
        conn.set_congestion(&cw, &recovery);
        conn.rtx_kind = TimerKind::Rto;
        self.after_detection(conn, &result, true);
    }

    /// RFC 8985 7.3: the probe goes out with the next output; then the timer is an RTO again.
    pub(super) fn on_tail_probe_timer(&mut self, conn: &mut Conn) {
        conn.tail_probe_due = conn.loss.as_ref().is_some_and(LossRecovery::may_send_probe);
        conn.rtx_kind = TimerKind::Rto;
        conn.restart_rtx(self.now32(), self.timeout_us(conn));
    }

    /// A probe or lost text, if one is due and may go; `None` if there is nothing of the kind.
    pub(super) fn send_lost(&mut self, conn: &mut Conn) -> Result<Option<bool>, DmaError> {
        if !may_send_text(conn) {
            return Ok(None);
        }
        self.restart_if_idle(conn);
        if std::mem::take(&mut conn.tail_probe_due) && conn.flight_size() > 0 {
            return self.send_tail_probe(conn).map(Some);
        }
        let (snd, cw, smss) = (conn.send_vars(), conn.cwnd(), self.smss(conn));
        let Some(loss) = &conn.loss else { return Ok(None) };
        let Some(part) = loss.next_resend(&snd, &cw, smss) else {
            // Nothing new goes before what is lost (RFC 6675 4, `NextSeg`).
            return Ok(loss.board.next_lost(&snd, smss).map(|_| false));
        };
        // A window that shrank: the first segment is its own probe.
        let room = snd.snd_wnd.saturating_sub(part.start - snd.snd_una);
        if part.start != snd.snd_una && room < part.len() {
            return Ok(Some(false));
        }
        self.resend(conn, part).map(Some)
    }

    /// RFC 5681 4.1: after a pause the window must be earned again.
    pub(super) fn restart_if_idle(&mut self, conn: &mut Conn) {
        let pause_us = self.now32().wrapping_sub(conn.last_sent_us);
        let has_text = conn.snd_nxt().before(conn.snd_limit());
        if conn.flight_size() > 0 || !has_text || conn.rec.snd_wnd == 0 || pause_us <= conn.rec.rto_us {
            return;
        }
        let (mut cw, smss) = (conn.cwnd(), self.smss(conn));
        match &mut conn.loss {
            Some(loss) => loss.control.on_idle(&mut cw, smss),
            None => cw.restart_after_idle(smss),
        }
        conn.set_congestion(&cw, &conn.recovery());
        conn.last_sent_us = self.now32();
    }

    /// New text if the peer's window lets it go, else the last segment again.
    fn send_tail_probe(&mut self, conn: &mut Conn) -> Result<bool, DmaError> {
        let (smss, flight) = (self.smss(conn), conn.flight_size());
        let unsent =
            if conn.snd_nxt().before(conn.snd_limit()) { conn.snd_limit() - conn.snd_nxt() } else { 0 };
        let len = unsent.min(smss).min(conn.rec.snd_wnd.saturating_sub(flight));
        let is_new = len > 0;
        let has_sent = if is_new {
            self.send_text(conn, conn.snd_nxt(), len, false)?
        } else {
            let start = conn.snd_max() - smss.min(flight);
            self.resend_probe(conn, SeqRange { start, end: conn.snd_max() })?
        };
        let snd_max = conn.snd_max();
        if let Some(loss) = conn.loss.as_mut().filter(|_| has_sent) {
            loss.on_probe(snd_max, !is_new);
        }
        conn.rtx_kind = TimerKind::Rto;
        conn.restart_rtx(self.now32(), self.timeout_us(conn));
        Ok(has_sent)
    }

    /// A probe is no repair: the scoreboard does not hear of it.
    fn resend_probe(&mut self, conn: &mut Conn, part: SeqRange) -> Result<bool, DmaError> {
        let Some(loss) = conn.loss else { return Ok(false) };
        let has_sent = self.resend(conn, part)?;
        conn.loss = Some(loss);
        Ok(has_sent)
    }

    /// New text, or the FIN, was sent.
    pub(super) fn on_text_sent(&mut self, conn: &mut Conn, len: u32) {
        let (at, recovery) = (self.moment(conn), conn.recovery());
        if let Some(loss) = &mut conn.loss {
            loss.on_send(&at, &recovery, len);
        }
        // RFC 8985 7.2: the probe waits from the last transmission on, and the second segment of a flight may make it the
        // sooner one of probe and RTO.
        if conn.timer_runs(TIMER_RTX) && self.probes_at_timeout(conn) {
            conn.rtx_kind = TimerKind::Probe;
        } else if conn.rtx_kind != TimerKind::Reorder || !conn.timer_runs(TIMER_RTX) {
            self.arm_loss_timer(conn, None, conn.rtx_kind == TimerKind::Probe);
        }
    }

    /// The probe takes the place of the timeout, which new text does not begin anew (RFC 6298 5.1).
    fn probes_at_timeout(&self, conn: &Conn) -> bool {
        let timer = |loss: &LossRecovery| {
            loss.timer(&self.moment(conn), &conn.recovery(), None, self.timeout_us(conn))
        };
        conn.rtx_kind != TimerKind::Reorder
            && conn.loss.as_ref().map(timer) == Some((TimerKind::Probe, self.timeout_us(conn)))
    }

    /// Lost text was sent again.
    pub(super) fn on_text_resent(&mut self, conn: &mut Conn, part: SeqRange) {
        let (now_us, recovery) = (self.now32(), conn.recovery());
        if let Some(loss) = &mut conn.loss {
            loss.on_resend(&recovery, part, now_us);
        }
        if part.start == conn.snd_una() || !conn.timer_runs(TIMER_RTX) {
            self.arm_loss_timer(conn, None, true);
        }
    }
}

/// What an image says of the part of the state that does not travel: where to send again from.
pub(super) fn store(conn: &Conn, r: &mut TcpRecord, smss: u32) {
    let snd = conn.send_vars();
    let Some(part) = conn.loss.as_ref().and_then(|l| l.board.next_lost(&snd, smss)) else { return };
    if conn.recovery().phase == Phase::FastRecovery {
        if part.start == snd.snd_una && !conn.has(DELEG_PERSIST) {
            r.deleg_flags |= DELEG_RETRANSMIT;
        }
    } else {
        r.snd_nxt = part.start.0;
    }
}

/// What RACK knows of round trips begins anew after each loss: the device does not look at the acknowledgments of a connection that loses nothing. What it has
/// learnt of the path's order stays (RFC 8985 6.2 step 4), and a round counts as long as its end is in flight (`hdl/doc/engine.md`).
fn forget_if_calm(conn: &mut Conn) {
    let (snd, recovery) = (conn.send_vars(), conn.recovery());
    if let Some(loss) = conn.loss.as_mut().filter(|loss| loss.is_calm(&snd, &recovery)) {
        let old = loss.rack;
        loss.rack = Rack {
            log: old.log,
            is_reordering_seen: old.is_reordering_seen,
            extra_mult: old.extra_mult,
            persist: old.persist,
            dsack_round: old.dsack_round.filter(|end| snd.snd_una.before(*end)),
            ..Rack::default()
        };
    }
}
