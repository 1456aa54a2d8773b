//! What a connection sends next (programmer's guide, section 7).
//!
//! One call sends a bounded number of segments and puts the connection on the ready list again if more may go: the
//! others have their turn in between (law L5).

use super::ack_rx::has_unsent;
use super::build::Outgoing;
use super::conn::Conn;
use super::{Dma, DmaError, Golden};
use chimney_abi::cmd::TcpState;
use chimney_abi::state::{
    CACHED_NAGLE, DELEG_ACK_NOW, DELEG_FIN_POSTED, DELEG_FIN_SENT, DELEG_PERSIST, DELEG_PROBE,
    DELEG_RETRANSMIT, DELEG_RTT_RUNNING, TIMER_RTX,
};
use chimney_abi::{regs, SeqNum};
use chimney_host_stack_core::ranges::SeqRange;
use chimney_host_stack_core::segment::Flags;
use chimney_host_stack_core::transmit::{self, SendInput};
use chimney_host_stack_core::window;

/// Segments per turn.
const SEGMENTS_PER_TURN: usize = 16;

impl<D: Dma> Golden<D> {
    /// Sends what may be sent: a retransmission that is due, new text and FIN, a probe, an acknowledgment.
    pub(super) fn output(&mut self, conn: &mut Conn) -> Result<(), DmaError> {
        let mut turn = 0;
        while !conn.is_halted() && self.send_next(conn)? {
            turn += 1;
            if turn == SEGMENTS_PER_TURN {
                self.queue(conn);
                break;
            }
        }
        if conn.is_halted() {
            return Ok(());
        }
        self.watch_window(conn);
        if conn.has(DELEG_PROBE) {
            conn.clear(DELEG_PROBE);
            self.send_probe(conn);
        }
        if conn.has(DELEG_ACK_NOW) || self.window_update_due(conn) {
            self.send_ack(conn);
        }
        Ok(())
    }

    /// One segment with text or FIN; false if none may go now.
    fn send_next(&mut self, conn: &mut Conn) -> Result<bool, DmaError> {
        if conn.loss.is_some() {
            if let Some(has_sent) = self.send_lost(conn)? {
                return Ok(has_sent);
            }
        } else if conn.has(DELEG_RETRANSMIT) && may_send_text(conn) {
            conn.clear(DELEG_RETRANSMIT);
            return self.resend(conn, SeqRange::new(conn.snd_una(), self.smss(conn).min(conn.flight_size())));
        } else if may_send_text(conn) {
            self.restart_if_idle(conn);
        }
        let Some((len, has_fin)) = self.next_segment(conn) else { return Ok(false) };
        self.send_text(conn, conn.snd_nxt(), len, has_fin)
    }

    /// Length of the next segment at `snd_nxt`, and whether the FIN goes with it.
    pub(super) fn next_segment(&self, conn: &Conn) -> Option<(u32, bool)> {
        if !may_send_text(conn) || !has_unsent(conn) {
            return None;
        }
        let smss = self.smss(conn);
        let usable = self.usable_window(conn);
        let is_fin_due = conn.has(DELEG_FIN_POSTED);
        if conn.snd_nxt().before(conn.snd_max()) {
            return self.again(conn);
        }
        let unsent = conn.snd_limit() - conn.snd_nxt();
        if unsent == 0 {
            // A FIN takes no room in the peer's buffer, so it does not wait for a window.
            return Some((0, true));
        }
        let len = transmit::segment_len(&SendInput {
            unsent,
            usable,
            smss,
            max_snd_wnd: conn.rec.max_snd_wnd,
            is_idle: conn.flight_size() == 0,
            is_nagle: conn.rec.cached_flags & CACHED_NAGLE != 0 && !is_fin_due,
        })?;
        Some((len, is_fin_due && len == unsent))
    }

    /// The next segment of [snd_nxt, snd_max), after a timeout or an offload: what was sent before, no more. It goes whole or waits, and at
    /// SND.UNA it goes whatever the windows are.
    fn again(&self, conn: &Conn) -> Option<(u32, bool)> {
        let (nxt, smss) = (conn.snd_nxt(), self.smss(conn));
        let part = (conn.snd_max() - nxt).min(smss);
        let ahead = nxt - conn.snd_una();
        let limit = conn.recovery().send_limit(&conn.cwnd(), smss).min(conn.rec.snd_wnd);
        if ahead > 0 && ahead + part > limit {
            return None;
        }
        let left = if nxt.before(conn.snd_limit()) { conn.snd_limit() - nxt } else { 0 };
        let len = part.min(left);
        let has_fin = conn.has(DELEG_FIN_SENT) && nxt + len == conn.snd_limit();
        (len > 0 || has_fin).then_some((len, has_fin))
    }

    /// Free part of the smaller of send window and congestion window, at `snd_nxt`.
    fn usable_window(&self, conn: &Conn) -> u32 {
        if let Some(loss) = &conn.loss {
            let free = conn.rec.snd_wnd.saturating_sub(conn.flight_size());
            return loss.room(&conn.send_vars(), &conn.cwnd()).min(free);
        }
        let limit = conn.recovery().send_limit(&conn.cwnd(), self.smss(conn)).min(conn.rec.snd_wnd);
        limit.saturating_sub(conn.snd_nxt() - conn.snd_una())
    }

    /// Sends `len` bytes from `seq` = `snd_nxt` on, and moves it. False if the segment could not be built.
    pub(super) fn send_text(
        &mut self,
        conn: &mut Conn,
        seq: SeqNum,
        len: u32,
        has_fin: bool,
    ) -> Result<bool, DmaError> {
        let text = self.fetch_text(conn, seq, len)?;
        if conn.is_halted() {
            return Ok(false);
        }
        // `as`: at most one segment.
        let sent = text.bytes.len() as u32;
        let has_fin = has_fin && sent == len;
        let end = seq + sent;
        // PSH when the queue runs empty.
        let push = sent > 0 && (text.is_pushed || end == conn.snd_limit());
        let flags = Flags::ACK.with_if(push, Flags::PSH).with_if(has_fin, Flags::FIN);
        if !self.emit(conn, &Outgoing { seq, flags, text: &text.bytes }) {
            return Ok(false);
        }
        let end = end + u32::from(has_fin);
        conn.sample.on_sent(seq.before(conn.snd_max()));
        conn.last_sent_us = self.now32();
        let is_again = seq.before(conn.snd_max());
        if is_again {
            self.count_retransmit(conn, sent);
        } else if !conn.has(DELEG_RTT_RUNNING) {
            conn.set(DELEG_RTT_RUNNING);
            (conn.rec.rtt_seq, conn.rec.rtt_start_us) = (end.0, self.now32());
        }
        conn.rec.snd_nxt = end.0;
        conn.rec.snd_max = conn.snd_max().later(end).0;
        if conn.loss.is_some() {
            self.on_text_sent(conn, end - seq);
        } else if !conn.timer_runs(TIMER_RTX) || is_again && seq == conn.snd_una() {
            conn.restart_rtx(self.now32(), self.timeout_us(conn));
        }
        if has_fin {
            on_fin_sent(conn);
        }
        Ok(true)
    }

    /// A part of what was sent before, at most a segment, again (fast retransmit, partial acknowledgment); `snd_nxt` stays.
    pub(super) fn resend(&mut self, conn: &mut Conn, part: SeqRange) -> Result<bool, DmaError> {
        if part.is_empty() {
            return Ok(true);
        }
        let seq = part.start;
        let text_left = if seq.before(conn.snd_limit()) { conn.snd_limit() - seq } else { 0 };
        let len = part.len().min(text_left);
        let text = self.fetch_text(conn, seq, len)?;
        if conn.is_halted() {
            return Ok(false);
        }
        let sent = text.bytes.len() as u32;
        let end = seq + sent;
        let has_fin = conn.has(DELEG_FIN_SENT) && end == conn.snd_limit();
        let push = sent > 0 && (text.is_pushed || end == conn.snd_limit());
        let flags = Flags::ACK.with_if(push, Flags::PSH).with_if(has_fin, Flags::FIN);
        if !self.emit(conn, &Outgoing { seq, flags, text: &text.bytes }) {
            return Ok(false);
        }
        conn.sample.on_sent(true);
        conn.last_sent_us = self.now32();
        // Karn's rule.
        conn.clear(DELEG_RTT_RUNNING);
        self.count_retransmit(conn, sent);
        if conn.loss.is_some() {
            self.on_text_resent(conn, SeqRange { start: seq, end: end + u32::from(has_fin) });
        } else {
            conn.restart_rtx(self.now32(), self.timeout_us(conn));
        }
        Ok(true)
    }

    fn count_retransmit(&mut self, conn: &mut Conn, text_bytes: u32) {
        conn.rec.cnt_retransmits = conn.rec.cnt_retransmits.wrapping_add(1);
        if text_bytes > 0 {
            self.regs.count(&regs::CNT_RETRANSMITS, 1);
        }
    }

    /// Something waits, nothing is in flight and the window does not let it go: only the persist timer
    /// can break the tie (RFC 9293 3.8.6.1; for a small window the override timer of 3.8.6.2.1).
    fn watch_window(&mut self, conn: &mut Conn) {
        let waits = may_send_text(conn) && has_unsent(conn) && self.next_segment(conn).is_none();
        if waits && conn.flight_size() == 0 && !conn.timer_runs(TIMER_RTX) {
            self.enter_persist(conn);
        }
    }

    /// The override timer ran out: send what the window allows.
    pub(super) fn send_small(&mut self, conn: &mut Conn) -> Result<(), DmaError> {
        let unsent = conn.snd_limit() - conn.snd_nxt();
        let len = unsent.min(self.usable_window(conn)).min(self.smss(conn));
        if may_send_text(conn) && has_unsent(conn) && len > 0 {
            self.send_text(conn, conn.snd_nxt(), len, false)?;
        }
        Ok(())
    }

    /// R-248, G-43: a probe of a closed window or of an idle peer is an empty segment just below `snd_una`, which
    /// is unacceptable and therefore answered.
    fn send_probe(&mut self, conn: &mut Conn) {
        let seq = conn.snd_una() - 1;
        self.emit(conn, &Outgoing { seq, flags: Flags::ACK, text: &[] });
    }

    /// An empty acknowledgment.
    pub(super) fn send_ack(&mut self, conn: &mut Conn) {
        // RFC 9293: SND.NXT; after going back, the highest sent is what the peer expects.
        let seq = conn.bare_seq();
        self.emit(conn, &Outgoing { seq, flags: Flags::ACK, text: &[] });
    }

    /// the reset of an abort; the only one a target sends.
    pub(super) fn send_reset(&mut self, conn: &mut Conn) {
        let seq = conn.bare_seq();
        self.emit(conn, &Outgoing { seq, flags: Flags::RST.with(Flags::ACK), text: &[] });
    }

    /// Programmer's guide 6: the window grew enough for the peer to hear of it without data.
    fn window_update_due(&self, conn: &Conn) -> bool {
        let r = &conn.rec;
        let nxt = SeqNum(r.durable_rcv_nxt);
        // The peer may have sent beyond what was advertised, up to what is permitted.
        let advertised = SeqNum(r.adv_right).later(nxt);
        let right = SeqNum(r.durable_rcv_right);
        if !right.after(advertised)
            || !matches!(conn.state(), TcpState::Established | TcpState::FinWait1 | TcpState::FinWait2)
        {
            return false;
        }
        let smss = self.smss(conn);
        window::update_due(nxt, advertised, right, r.initial_rcv_wnd, smss) || advertised - nxt < smss
    }
}

/// States in which text before our FIN (or the FIN again) may be sent.
pub(super) fn may_send_text(conn: &Conn) -> bool {
    let is_open = matches!(
        conn.state(),
        TcpState::Established
            | TcpState::CloseWait
            | TcpState::FinWait1
            | TcpState::Closing
            | TcpState::LastAck
    );
    // While the window is closed only the persist timer sends.
    is_open && !conn.has(DELEG_PERSIST)
}

fn on_fin_sent(conn: &mut Conn) {
    if conn.has(DELEG_FIN_SENT) {
        return;
    }
    conn.set(DELEG_FIN_SENT);
    // The host posted the FIN; an event tells it of its acknowledgment.
    conn.shadow_dirty = true;
    match conn.state() {
        TcpState::Established => conn.rec.tcp_state = TcpState::FinWait1.code(),
        TcpState::CloseWait => conn.rec.tcp_state = TcpState::LastAck.code(),
        _ => {}
    }
}
