//! The watchdog: at the end of a period each connection's sample is judged (`chimney_abi::watch`).

use super::conn::Conn;
use super::{Dma, Golden};
use chimney_abi::cmd::{TcpState, UploadReason};
use chimney_abi::regs;
use chimney_abi::watch::WatchLimits;

impl<D: Dma> Golden<D> {
    /// When the period ends, the caller's time; never if there is none.
    pub(super) fn period_ends_us(&self) -> u64 {
        match self.regs.get(&regs::WATCH_PERIOD_US) {
            0 => u64::MAX,
            period_us => self.period_since_us.saturating_add(u64::from(period_us)),
        }
    }

    /// Judges every connection if the period is over; false if it is not.
    pub(super) fn end_period(&mut self) -> bool {
        if self.now_us < self.period_ends_us() {
            return false;
        }
        self.period_since_us = self.now_us;
        let limits = WatchLimits::from_registers(|reg| self.regs.get(reg));
        // `as`: at most 2^12 connections.
        for id in 0..self.conns.len() as u16 {
            let Some(conn) = self.conns[usize::from(id)].as_deref_mut() else { continue };
            let reason = std::mem::take(&mut conn.sample).judge(&limits);
            if reason.is_some() || conn.rec.upload_reason != 0 {
                self.with_conn(id, |_, conn| {
                    notice(conn, reason);
                    Ok(())
                });
            }
        }
        true
    }
}

/// only a connection that is open both ways is asked for; and one that must leave is already.
fn notice(conn: &mut Conn, reason: Option<UploadReason>) {
    let code = reason.map_or(0, UploadReason::code);
    let may = !conn.is_halted() && conn.state() == TcpState::Established && !conn.must_leave();
    if may && conn.rec.upload_reason != code {
        conn.rec.upload_reason = code;
        conn.shadow_dirty = true;
        conn.event_due |= code != 0;
    }
}
