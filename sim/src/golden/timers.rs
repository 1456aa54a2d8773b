//! Deadlines: 32-bit absolute microseconds of the device clock, that of keepalive milliseconds, compared by signed distance.
//!
//! `timer_hint_us` is never later than the earliest deadline, so a step without a due timer costs one comparison.

use super::ack_rx::has_unsent;
use super::conn::{timer_field, Conn};
use super::{Dma, DmaError, Golden};
use chimney_abi::cmd::{TcpState, UploadReason};
use chimney_abi::regs;
use chimney_abi::state::{
    DELEG_ACK_NOW, DELEG_ARRIVING, DELEG_PERSIST, DELEG_PROBE, DELEG_RETRANSMIT, DELEG_RTT_RUNNING,
    MAX_RT_UNLIMITED, TIMER_DELACK, TIMER_KEEP_ALIVE, TIMER_PUSH, TIMER_RTX,
};
use chimney_host_stack_core::loss_recovery::TimerKind;
use chimney_host_stack_core::timestamps::TICK_US;

const TIMERS: [u8; 4] = [TIMER_DELACK, TIMER_PUSH, TIMER_RTX, TIMER_KEEP_ALIVE];
/// probes and their distance when the host gave none.
const DEFAULT_KA_PROBES: u8 = 10;
const DEFAULT_KA_INTERVAL_MS: u32 = 1_000;

impl<D: Dma> Golden<D> {
    /// Makes sure that the next deadline of a connection is not slept through.
    pub(super) fn note_deadlines(&mut self, conn: &Conn) {
        self.timer_hint_us = self.timer_hint_us.min(self.earliest(conn));
    }

    fn earliest(&self, conn: &Conn) -> u64 {
        if conn.rec.timers == 0 || conn.is_halted() {
            return u64::MAX;
        }
        let clock = self.clock_us();
        let left = TIMERS.iter().filter(|t| conn.timer_runs(**t)).map(|t| self.left_us(conn, *t));
        left.min().map_or(u64::MAX, |left| clock.saturating_add(left))
    }

    /// Microseconds until a timer is due; 0 = it is. That of keepalive counts milliseconds.
    fn left_us(&self, conn: &Conn, timer: u8) -> u64 {
        let mut record = conn.rec;
        let at = *timer_field(&mut record, timer);
        // `as`: the signed distance; a deadline in the past is due now.
        let left = |now: u32| (at.wrapping_sub(now) as i32).max(0) as u64;
        if timer == TIMER_KEEP_ALIVE {
            (left(self.now_ms()) * TICK_US).saturating_sub(self.clock_us() % TICK_US)
        } else {
            left(self.now32())
        }
    }

    /// Handles every deadline that has come; false if there was none.
    pub(super) fn expire_timers(&mut self) -> bool {
        if self.clock_us() < self.timer_hint_us {
            return false;
        }
        self.timer_hint_us = u64::MAX;
        let mut expired = false;
        // `as`: at most 2^12 connections.
        for id in 0..self.conns.len() as u16 {
            let Some(conn) = self.conns[usize::from(id)].as_deref() else { continue };
            let earliest = self.earliest(conn);
            if earliest <= self.clock_us() {
                self.with_conn(id, |nic, conn| nic.expire(conn));
                expired = true;
            } else {
                self.timer_hint_us = self.timer_hint_us.min(earliest);
            }
        }
        expired
    }

    /// Handles the due timers of one connection, each with what it sends: the last may end the connection.
    fn expire(&mut self, conn: &mut Conn) -> Result<(), DmaError> {
        for timer in TIMERS {
            let is_due = conn.timer_runs(timer) && self.left_us(conn, timer) == 0;
            if !is_due || conn.is_halted() {
                continue;
            }
            conn.stop_timer(timer);
            match timer {
                TIMER_RTX if conn.has(DELEG_PERSIST) => self.on_persist(conn)?,
                TIMER_RTX if conn.state() == TcpState::FinWait2 => self.on_fin_wait_2(conn),
                TIMER_RTX if conn.rtx_kind == TimerKind::Probe => self.on_tail_probe_timer(conn),
                TIMER_RTX if conn.rtx_kind == TimerKind::Reorder => self.on_reorder_timer(conn),
                TIMER_RTX => self.on_rto(conn),
                TIMER_DELACK => Self::on_delayed_ack(conn),
                // without a partly filled push-mode post nothing happens.
                TIMER_PUSH => self.push_post(conn, false)?,
                _ => self.on_keep_alive(conn),
            }
            self.output(conn)?;
        }
        Ok(())
    }

    /// An acknowledgment is due; or right after an offload, if what is missing did not come, or something waits for one.
    fn on_delayed_ack(conn: &mut Conn) {
        if !conn.has(DELEG_ARRIVING) || !conn.ooo.is_empty() || conn.rec.ack_pending > 0 {
            conn.set(DELEG_ACK_NOW);
        }
        conn.clear(DELEG_ARRIVING);
    }

    /// RFC 6298 5.4 to 5.6, RFC 5681 3.1 (7): back to `snd_una` with one segment.
    fn on_rto(&mut self, conn: &mut Conn) {
        if conn.flight_size() == 0 {
            return;
        }
        conn.rec.total_rt_us = conn.rec.total_rt_us.saturating_add(self.timeout_us(conn));
        if self.is_exhausted(conn) {
            //
            return conn.request_upload(UploadReason::TimeoutExpiration);
        }
        self.regs.count(&regs::CNT_RTO, 1);
        let is_first = conn.rec.retransmit_count == 0;
        conn.rec.retransmit_count = conn.rec.retransmit_count.saturating_add(1);
        let (mut cw, mut recovery) = (conn.cwnd(), conn.recovery());
        let at = self.moment(conn);
        conn.ecn.on_reduction(conn.snd_max());
        match &mut conn.loss {
            Some(loss) => loss.on_rto(&at, &mut cw, &mut recovery, is_first),
            None => {
                recovery.on_rto(&at.snd, &mut cw, at.smss, is_first);
                conn.rec.snd_nxt = conn.rec.snd_una;
            }
        }
        conn.set_congestion(&cw, &recovery);
        conn.clear(DELEG_RTT_RUNNING | DELEG_RETRANSMIT);
        conn.restart_rtx(self.now32(), self.timeout_us(conn));
    }

    /// the time limit if there is one, else the count.
    fn is_exhausted(&self, conn: &Conn) -> bool {
        let r = &conn.rec;
        match r.max_rt_us {
            0 => r.retransmit_count >= r.max_retransmissions,
            MAX_RT_UNLIMITED => false,
            limit => r.total_rt_us >= limit,
        }
    }

    /// a window probe; or, when the window is open but too small, what it allows.
    fn on_persist(&mut self, conn: &mut Conn) -> Result<(), DmaError> {
        if conn.rec.snd_wnd > 0 {
            self.leave_persist(conn);
            return self.send_small(conn);
        }
        if conn.flight_size() == 0 && !has_unsent(conn) {
            self.leave_persist(conn);
            return Ok(());
        }
        // R-256; G-18: the time limit does not apply to probing.
        let limit = conn.rec.max_retransmissions;
        if limit > 0 && conn.rec.retransmit_count >= limit {
            conn.request_upload(UploadReason::TimeoutExpiration);
            return Ok(());
        }
        conn.set(DELEG_PROBE);
        conn.restart_rtx(self.now32(), self.timeout_us(conn));
        conn.rec.retransmit_count = conn.rec.retransmit_count.saturating_add(1);
        Ok(())
    }

    ///
    fn on_fin_wait_2(&mut self, conn: &mut Conn) {
        self.close(conn);
        conn.request_upload(UploadReason::TimeoutExpiration);
    }

    /// probe an idle peer; give up after the last one.
    fn on_keep_alive(&mut self, conn: &mut Conn) {
        let r = &conn.rec;
        let probes = if r.ka_probe_count == 0 { DEFAULT_KA_PROBES } else { r.ka_probe_count };
        let interval = if r.ka_interval_ms == 0 { DEFAULT_KA_INTERVAL_MS } else { r.ka_interval_ms };
        if r.ka_probes >= probes {
            self.close(conn);
            return conn.request_upload(UploadReason::TimeoutExpiration);
        }
        // Unacknowledged text tests the peer already.
        if conn.flight_size() == 0 {
            conn.set(DELEG_PROBE);
            conn.rec.ka_probes += 1;
        }
        conn.start_timer(TIMER_KEEP_ALIVE, self.now_ms().wrapping_add(interval));
    }
}
