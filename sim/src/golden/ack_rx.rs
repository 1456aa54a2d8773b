//! The acknowledgment and window of a received segment: what is acknowledged, RTT, congestion, loss recovery,
//! zero window (programmer's guide, section 8).

use super::conn::Conn;
use super::engine_rx::answer;
use super::loss::News;
use super::{Dma, DmaError, Golden};
use chimney_abi::cmd::{Phase, TcpState};
use chimney_abi::layout::Reg;
use chimney_abi::regs;
use chimney_abi::state::{
    CONST_TIMESTAMPS, DELEG_FIN_POSTED, DELEG_FIN_SENT, DELEG_PERSIST, DELEG_PROBE, DELEG_RETRANSMIT,
    DELEG_RTT_RUNNING, TIMER_RTX,
};
use chimney_abi::SeqNum;
use chimney_host_stack_core::ack::{self, AckClass};
use chimney_host_stack_core::options::TcpOptions;
use chimney_host_stack_core::recovery::{DupAckAction, GrowthStep, NewAckAction, SackView};
use chimney_host_stack_core::rtt::{backed_off, RtoBounds};
use chimney_host_stack_core::segment::Segment;
use chimney_host_stack_core::timestamps;
use chimney_host_stack_core::transmit;

/// Bounds of `MIN_RTO_US` and `MAX_RTO_US`: one millisecond, and far from the half of the 32-bit clock.
const MIN_TIMEOUT_US: u32 = 1_000;
const MAX_TIMEOUT_US: u32 = 1_000_000_000;

impl<D: Dma> Golden<D> {
    pub(super) fn rto_bounds(&self) -> RtoBounds {
        // A parameter can neither make timers spin nor overflow the arithmetic.
        let get = |reg: &Reg| self.regs.get(reg).clamp(MIN_TIMEOUT_US, MAX_TIMEOUT_US);
        RtoBounds { min_us: get(&regs::MIN_RTO_US), max_us: get(&regs::MAX_RTO_US) }
    }

    /// The time until the next retransmission: RTO with its back-off.
    pub(super) fn timeout_us(&self, conn: &Conn) -> u32 {
        backed_off(conn.rec.rto_us, conn.rec.retransmit_count, &self.rto_bounds())
    }

    /// Fifth check: may the segment go on? RFC 9293 3.10.7.4, RFC 5961 5.2.
    pub(super) fn check_ack(&mut self, conn: &mut Conn, seg: &Segment) -> bool {
        match ack::classify(&conn.send_vars(), seg.ack) {
            AckClass::New(_) | AckClass::Current | AckClass::Old => return true,
            AckClass::Unsent => answer(conn, seg),
            AckClass::TooOld => self.challenge(conn),
        }
        self.count_unacceptable(conn);
        false
    }

    /// `options`: of the segment.
    pub(super) fn process_ack(
        &mut self,
        conn: &mut Conn,
        seg: &Segment,
        options: &TcpOptions,
    ) -> Result<(), DmaError> {
        // While a closed window is probed nothing is sent that could be marked.
        let mut hears_echo = !conn.has(DELEG_PERSIST);
        let was_probed = conn.rec.retransmit_count > 0;
        let una = conn.snd_una();
        let mut has_recovered = false;
        match ack::classify(&conn.send_vars(), seg.ack) {
            AckClass::New(acked) => {
                hears_echo = true;
                has_recovered = true;
                self.on_new_ack(conn, seg, acked, options)?;
            }
            AckClass::Current => {
                // While probing a closed window every answer looks like a duplicate.
                let is_duplicate = ack::is_duplicate(&conn.send_vars(), seg) && !conn.has(DELEG_PERSIST);
                if conn.loss.is_some() {
                    let (una_before, blocks) = (conn.snd_una(), options.sack.as_slice());
                    let news = News { una_before, blocks, is_duplicate, rtt_us: None, echo_ms: None };
                    self.recover(conn, &news);
                } else if is_duplicate {
                    has_recovered = true;
                    self.on_dup_ack(conn);
                }
            }
            AckClass::Old | AckClass::Unsent | AckClass::TooOld => return Ok(()),
        }
        let mut snd = conn.send_vars();
        ack::update_window(&mut snd, seg);
        conn.set_send_vars(&snd);
        self.on_window(conn, was_probed || conn.snd_una() != una);
        // While the window is closed nothing is sent again (RFC 9293 3.8.6.1), and what begins at SND.UNA anyway is not sent twice.
        if has_recovered && (conn.has(DELEG_PERSIST) || conn.snd_nxt() == conn.snd_una()) {
            conn.clear(DELEG_RETRANSMIT);
        }
        conn.ecn.advance(conn.snd_una());
        let is_open = conn.recovery().phase == Phase::Open;
        if hears_echo && is_open && conn.ecn.on_ack(seg.flags, conn.snd_una(), conn.snd_max()) {
            self.on_ecn_echo(conn);
        }
        Ok(())
    }

    /// RFC 3168 6.1.2: the peer echoes a mark, the first of this window of data.
    fn on_ecn_echo(&mut self, conn: &mut Conn) {
        let (mut cw, recovery, at) = (conn.cwnd(), conn.recovery(), self.moment(conn));
        match &mut conn.loss {
            Some(loss) => loss.on_mark(&at, &mut cw, &recovery),
            None => {
                cw.reduce_ssthresh(conn.flight_size(), at.smss);
                cw.cwnd = cw.ssthresh;
            }
        }
        conn.set_congestion(&cw, &recovery);
        self.regs.count(&regs::CNT_ECE_REDUCTIONS, 1);
    }

    fn on_new_ack(
        &mut self,
        conn: &mut Conn,
        seg: &Segment,
        acked: u32,
        options: &TcpOptions,
    ) -> Result<(), DmaError> {
        let (flight, una_before) = (conn.flight_size(), conn.snd_una());
        let rtt_us = self.sample_rtt(conn, seg.ack);
        if rtt_us.is_none() && !conn.has(DELEG_PERSIST) {
            // RFC 9293 3.8.2, RFC 6298 5: until a sample the timeout stays as long as it became.
            conn.rec.rto_us = self.timeout_us(conn);
        }
        let mut snd = conn.send_vars();
        ack::advance(&mut snd, seg.ack);
        conn.set_send_vars(&snd);
        // Before the record that lets the host reuse the entries is written.
        self.advance_una_desc(conn)?;
        conn.rec.retransmit_count = 0;
        conn.rec.total_rt_us = 0;
        conn.shadow_dirty = true;
        conn.event_due = true;
        if conn.loss.is_some() {
            let (blocks, echo_ms) = (options.sack.as_slice(), self.echo_ms(conn, options));
            self.recover(conn, &News { una_before, blocks, is_duplicate: false, rtt_us, echo_ms });
        } else {
            self.on_new_ack_newreno(conn, acked, flight);
        }
        if conn.has(DELEG_FIN_SENT) && conn.snd_una().after(conn.snd_limit()) {
            self.on_fin_acked(conn);
        }
        Ok(())
    }

    /// RFC 6582, RFC 6298 5.2 and 5.3.
    fn on_new_ack_newreno(&mut self, conn: &mut Conn, acked: u32, flight: u32) {
        let smss = self.smss(conn);
        let (mut cw, mut recovery) = (conn.cwnd(), conn.recovery());
        let step = GrowthStep { smss, is_sack: false };
        let action = recovery.on_new_ack(&conn.send_vars(), &mut cw, acked, flight, step);
        conn.set_congestion(&cw, &recovery);
        if action == NewAckAction::RetransmitFirst {
            resend_first(conn);
        } else {
            conn.clear(DELEG_RETRANSMIT);
        }
        if conn.has(DELEG_PERSIST) {
            return;
        }
        if conn.flight_size() == 0 {
            conn.stop_timer(TIMER_RTX);
        } else {
            conn.restart_rtx(self.now32(), self.timeout_us(conn));
        }
    }

    /// How long ago the timestamp was sent that the peer echoes.
    fn echo_ms(&self, conn: &Conn, options: &TcpOptions) -> Option<u32> {
        let ts = options.timestamps.filter(|_| conn.rec.const_flags & CONST_TIMESTAMPS != 0)?;
        Some(timestamps::echo_ms(self.clock_us(), conn.rec.ts_offset, ts.ecr))
    }

    /// The round trip that ends with this acknowledgment, if one was timed.
    fn sample_rtt(&mut self, conn: &mut Conn, ack: SeqNum) -> Option<u32> {
        if !conn.has(DELEG_RTT_RUNNING) || ack.before(SeqNum(conn.rec.rtt_seq)) {
            return None;
        }
        conn.clear(DELEG_RTT_RUNNING);
        let mut rtt = conn.rtt();
        let rtt_us = self.now32().wrapping_sub(conn.rec.rtt_start_us);
        rtt.sample(rtt_us);
        conn.rec.srtt_us_x8 = rtt.srtt_x8;
        conn.rec.rttvar_us_x4 = rtt.rttvar_x4;
        conn.rec.rto_us = rtt.rto_us(&self.rto_bounds());
        Some(rtt_us)
    }

    /// RFC 5681 3.2. The threshold is a register; the shared function's own is its usual value 3.
    fn on_dup_ack(&mut self, conn: &mut Conn) {
        let threshold = self.regs.get(&regs::DUP_ACK_THRESHOLD);
        let (mut cw, mut recovery) = (conn.cwnd(), conn.recovery());
        let count = u32::from(recovery.dup_acks) + 1;
        if recovery.phase == Phase::Open && count < threshold {
            recovery.dup_acks = recovery.dup_acks.saturating_add(1);
            return conn.set_congestion(&cw, &recovery);
        }
        let sack = SackView { is_enabled: false, first_is_lost: true };
        let action = recovery.on_dup_ack(&conn.send_vars(), &mut cw, self.smss(conn), sack);
        conn.set_congestion(&cw, &recovery);
        if action == DupAckAction::FastRetransmit {
            self.regs.count(&regs::CNT_FAST_RETRANSMITS, 1);
            conn.ecn.on_reduction(conn.snd_max());
            conn.clear(DELEG_RTT_RUNNING);
            resend_first(conn);
        }
    }

    fn on_fin_acked(&mut self, conn: &mut Conn) {
        match conn.state() {
            TcpState::FinWait1 => {
                conn.set_state(TcpState::FinWait2);
                conn.restart_rtx(self.now32(), self.regs.get(&regs::FIN_WAIT_2_US));
            }
            TcpState::Closing => self.enter_time_wait(conn),
            TcpState::LastAck => self.close(conn),
            _ => {}
        }
    }

    /// Spec 12.2: entering, continuing and leaving the persist algorithm with an acknowledgment. `is_answer`: it answers a probe, or moved SND.UNA.
    fn on_window(&mut self, conn: &mut Conn, is_answer: bool) {
        if conn.is_halted() || matches!(conn.state(), TcpState::TimeWait | TcpState::FinWait2) {
            return;
        }
        if conn.rec.snd_wnd > 0 || conn.flight_size() == 0 && !has_unsent(conn) {
            self.leave_persist(conn);
        } else if !conn.has(DELEG_PERSIST) {
            self.enter_persist(conn);
        } else if is_answer {
            // the window is still closed: next round.
            conn.rec.probe_round = conn.rec.probe_round.saturating_add(1);
            conn.rec.retransmit_count = 0;
            self.start_persist_timer(conn);
        }
    }

    /// zero window received.
    pub(super) fn enter_persist(&mut self, conn: &mut Conn) {
        conn.set(DELEG_PERSIST);
        conn.rec.probe_round = 0;
        conn.rec.retransmit_count = 0;
        self.start_persist_timer(conn);
    }

    fn start_persist_timer(&mut self, conn: &mut Conn) {
        let wait = transmit::persist_us(conn.rec.rto_us, conn.rec.probe_round, &self.rto_bounds());
        conn.restart_rtx(self.now32(), wait);
    }

    /// the window is open again.
    pub(super) fn leave_persist(&self, conn: &mut Conn) {
        if !conn.has(DELEG_PERSIST) {
            return;
        }
        conn.clear(DELEG_PERSIST);
        conn.rec.probe_round = 0;
        conn.rec.retransmit_count = 0;
        // What was in flight when the window closed was most likely dropped: from `snd_una` again.
        conn.stop_timer(TIMER_RTX);
        conn.clear(DELEG_PROBE | DELEG_RTT_RUNNING);
        let snd = conn.send_vars();
        match &mut conn.loss {
            Some(loss) => loss.on_window_opened(&snd),
            None => conn.rec.snd_nxt = conn.rec.snd_una,
        }
    }
}

/// The segment at SND.UNA is lost. Who goes back already begins again there.
fn resend_first(conn: &mut Conn) {
    if conn.snd_nxt() == conn.snd_max() {
        conn.set(DELEG_RETRANSMIT);
    } else {
        conn.rec.snd_nxt = conn.rec.snd_una;
    }
}

/// True if text or a FIN waits to be sent for the first time or again.
pub(super) fn has_unsent(conn: &Conn) -> bool {
    conn.snd_nxt().before(conn.snd_limit())
        || (conn.has(DELEG_FIN_POSTED) && conn.snd_nxt() == conn.snd_limit())
}
