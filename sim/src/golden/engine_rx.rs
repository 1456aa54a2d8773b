//! A received frame: engine or ordinary ring; then RFC 9293 3.10.7.4 for a segment of a connection.
//!
//! The order is the standard's: timestamps, sequence, RST and SYN, ACK, URG, window, text, FIN. Acknowledgments are
//! only marked here (`DELEG_ACK_NOW`, delayed-ACK timer); they leave after the shadow record is in memory.

use super::conn::Conn;
use super::rx::{self, RxSegment};
use super::{Dma, DmaError, Golden, RxFrame};
use chimney_abi::cmd::{TcpState, UploadReason};
use chimney_abi::desc::RX_BUFFER_BYTES;
use chimney_abi::state::{
    CONST_TIMESTAMPS, DELEG_ABORTED, DELEG_ACK_NOW, DELEG_ARRIVING, DELEG_CHALLENGED, DELEG_PEER_FIN,
    DELEG_STOPPED, TIMER_DELACK, TIMER_KEEP_ALIVE, TIMER_PUSH, TIMER_RTX,
};
use chimney_abi::wire::ethernet;
use chimney_abi::{regs, SeqNum};
use chimney_host_stack_core::acceptable::{self, Disposition, Trimmed};
use chimney_host_stack_core::ack_frequency;
use chimney_host_stack_core::delayed_ack::AckDecision;
use chimney_host_stack_core::ecn;
use chimney_host_stack_core::segment::{Flags, Segment};
use chimney_host_stack_core::timestamps::{self, TsRecent, TICK_US};
use chimney_host_stack_core::watchdog::Text;

/// an in-window challenge is followed by keepalive probes at the latest after this time.
const CHALLENGE_KEEP_ALIVE_MS: u32 = 300_000;

/// What becomes of a matched frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// The engine is done with it.
    Consumed,
    /// It goes up the ordinary path (law L4).
    HandUp,
}

impl<D: Dma> Golden<D> {
    /// Takes in one frame from the wire or from loopback.
    pub(super) fn receive(&mut self, frame: RxFrame) {
        let bytes = &frame.bytes;
        if !frame.is_loopback {
            self.regs.count(&regs::CNT_RX_FRAMES, 1);
            self.regs.count(&regs::CNT_RX_BYTES, bytes.len() as u64);
        }
        if frame.bad {
            return self.regs.count(&regs::CNT_DROP_BAD_FRAME, 1);
        }
        if bytes.len() > RX_BUFFER_BYTES as usize {
            return self.regs.count(&regs::CNT_DROP_TOO_LONG, 1);
        }
        let parsed = rx::parse(bytes);
        let Some((id, mut segment)) = self.find(bytes, parsed.segment) else {
            return self.hand_up(bytes, parsed.verdict);
        };
        segment.is_forwarded = frame.is_loopback;
        let mut fate = Fate::HandUp;
        self.with_conn(id, |nic, conn| {
            fate = nic.on_frame(conn, &segment, bytes)?;
            Ok(())
        });
        match fate {
            Fate::Consumed => {
                self.regs.count(&regs::CNT_RX_OFFLOADED, 1);
                self.regs.count(&regs::CNT_RX_OFFLOADED_BYTES, bytes.len() as u64);
            }
            Fate::HandUp => {
                self.regs.count(&regs::CNT_HANDED_UP, 1);
                self.hand_up(bytes, parsed.verdict);
            }
        }
    }

    /// The connection of a clean segment for our MAC address.
    fn find(&self, frame: &[u8], segment: Option<RxSegment>) -> Option<(u16, RxSegment)> {
        let segment = segment?;
        if frame[ethernet::DST..ethernet::DST + ethernet::ADDR_LEN] != self.own_mac() {
            return None;
        }
        let id = *self.lookup.get(&segment.tuple)?;
        // the neighbor's tag, if it has one; any framing (RFC 1122 2.3.3) and any priority.
        let conn = self.conns.get(usize::from(id))?.as_deref()?;
        let wanted = self.path_of(conn).and_then(|p| self.neighbor_of(p)).map_or(0, |n| n.image.vlan);
        (wanted == 0 || segment.vlan == Some(wanted)).then_some((id, segment))
    }

    /// `MAC_LO`, `MAC_HI` in wire order.
    pub(super) fn own_mac(&self) -> [u8; ethernet::ADDR_LEN] {
        let [a, b, c, d] = self.regs.get(&regs::MAC_LO).to_le_bytes();
        let [e, f, ..] = self.regs.get(&regs::MAC_HI).to_le_bytes();
        [a, b, c, d, e, f]
    }

    fn on_frame(&mut self, conn: &mut Conn, rx: &RxSegment, frame: &[u8]) -> Result<Fate, DmaError> {
        let is_syn = rx.seg.flags.has(Flags::SYN);
        // R-223 and programmer's guide 3: stopped, aborted and closed connections do not process; R-224: a SYN in
        // TIME-WAIT is the host's.
        if conn.has(DELEG_STOPPED | DELEG_ABORTED)
            || conn.state() == TcpState::Closed
            || (is_syn && conn.state() == TcpState::TimeWait)
        {
            return Ok(Fate::HandUp);
        }
        let seg = Segment { wnd: rx.seg.wnd << conn.rec.snd_wind_shift, ..rx.seg };
        let fate = self.on_segment(conn, rx, &seg, &frame[rx.payload.clone()])?;
        if fate == Fate::Consumed {
            conn.rec.cnt_segs_in = conn.rec.cnt_segs_in.wrapping_add(1);
        }
        Ok(fate)
    }

    /// A segment that is the engine's.
    fn on_segment(
        &mut self,
        conn: &mut Conn,
        rx: &RxSegment,
        seg: &Segment,
        text: &[u8],
    ) -> Result<Fate, DmaError> {
        if !self.check_timestamp(conn, rx, seg) {
            return Ok(Fate::Consumed);
        }
        if let Some(fate) = self.check_sequence(conn, seg) {
            return Ok(fate);
        }
        self.on_acceptable(conn, rx, seg, text)
    }

    /// RFC 7323 5.3 R1. False if the segment is dropped.
    fn check_timestamp(&mut self, conn: &mut Conn, rx: &RxSegment, seg: &Segment) -> bool {
        if conn.rec.const_flags & CONST_TIMESTAMPS == 0 || seg.flags.has(Flags::RST) {
            return true;
        }
        let Some(ts) = rx.options.timestamps else {
            // RFC 7323 3.2: once negotiated, a segment without the option is dropped silently.
            self.count_unacceptable(conn);
            return false;
        };
        if timestamps::paws_rejects(&self.ts_recent(conn), ts.val, self.clock_us()) {
            self.count_unacceptable(conn);
            answer(conn, seg);
            return false;
        }
        true
    }

    fn ts_recent(&self, conn: &Conn) -> TsRecent {
        let age_us = u64::from(self.now_ms().wrapping_sub(conn.rec.ts_recent_ms)) * TICK_US;
        TsRecent { val: conn.rec.ts_recent, taken_us: self.clock_us().saturating_sub(age_us) }
    }

    pub(super) fn count_unacceptable(&mut self, conn: &mut Conn) {
        self.regs.count(&regs::CNT_UNACCEPTABLE, 1);
        conn.rec.cnt_dup = conn.rec.cnt_dup.wrapping_add(1);
    }

    /// First, second and fourth check; `None` if the segment goes on.
    fn check_sequence(&mut self, conn: &mut Conn, seg: &Segment) -> Option<Fate> {
        match acceptable::check(seg, conn.rcv_nxt(), conn.rcv_wnd()) {
            Disposition::Accept if seg.flags.has(Flags::ACK) => return None,
            Disposition::Accept | Disposition::DropSilently => self.count_unacceptable(conn),
            Disposition::DropAndAck => {
                self.count_unacceptable(conn);
                answer(conn, seg);
            }
            Disposition::ChallengeAck => {
                self.count_unacceptable(conn);
                self.challenge(conn);
            }
            Disposition::Reset => self.abort(conn),
            Disposition::SynAtRcvNxt => {
                // the connection goes to the host in CLOSED, and so does this SYN.
                self.close(conn);
                conn.request_upload(UploadReason::UploadRequested);
                return Some(Fate::HandUp);
            }
        }
        Some(Fate::Consumed)
    }

    /// RFC 5961: a challenge ACK, one per validation period (which ends with the next acceptable segment).
    pub(super) fn challenge(&mut self, conn: &mut Conn) {
        if conn.has(DELEG_CHALLENGED) {
            return;
        }
        conn.set(DELEG_CHALLENGED | DELEG_ACK_NOW);
        self.regs.count(&regs::CNT_CHALLENGE_ACKS, 1);
        // keepalive at the latest after 5 minutes.
        let now = self.now_ms();
        let left = conn.rec.ka_deadline.wrapping_sub(now);
        if !conn.timer_runs(TIMER_KEEP_ALIVE) || left > CHALLENGE_KEEP_ALIVE_MS {
            conn.start_timer(TIMER_KEEP_ALIVE, now.wrapping_add(CHALLENGE_KEEP_ALIVE_MS));
        }
    }

    /// reset by the peer, or by the abort command.
    pub(super) fn abort(&mut self, conn: &mut Conn) {
        conn.set(DELEG_ABORTED);
        self.close(conn);
    }

    /// State CLOSED: nothing runs any more; the entry stays until it is terminated.
    pub(super) fn close(&mut self, conn: &mut Conn) {
        conn.set_state(TcpState::Closed);
        for timer in [TIMER_RTX, TIMER_DELACK, TIMER_PUSH, TIMER_KEEP_ALIVE] {
            conn.stop_timer(timer);
        }
    }

    fn on_acceptable(
        &mut self,
        conn: &mut Conn,
        rx: &RxSegment,
        seg: &Segment,
        text: &[u8],
    ) -> Result<Fate, DmaError> {
        if !self.check_ack(conn, seg) {
            return Ok(Fate::Consumed);
        }
        if seg.flags.has(Flags::URG) {
            // acknowledge nothing more; this and all later segments go up.
            conn.request_upload(UploadReason::ReceivedUrgentData);
            return Ok(Fate::HandUp);
        }
        self.on_validated(conn, rx, seg);
        let (una, nxt) = (conn.snd_una(), conn.rcv_nxt());
        self.process_ack(conn, seg, &rx.options)?;
        if matches!(conn.state(), TcpState::Established | TcpState::FinWait1 | TcpState::FinWait2) {
            self.take_mark(conn, rx);
            self.process_text(conn, rx, seg, text)?;
        } else if !seg.is_empty() && conn.state() != TcpState::Closed {
            // Text after the peer's FIN: RFC 9293 ignores it; the ACK tells the peer where we are.
            conn.set(DELEG_ACK_NOW);
        }
        if (una, nxt) != (conn.snd_una(), conn.rcv_nxt()) {
            conn.sample.on_progress();
        }
        Ok(Fate::Consumed)
    }

    /// RFC 3168 6.1.3: marks count on segments with text, in order or not.
    fn take_mark(&mut self, conn: &mut Conn, rx: &RxSegment) {
        if rx.seg.is_empty() {
            return;
        }
        conn.ecn.on_text(rx.ecn, rx.seg.flags);
        if conn.ecn.is_on && rx.ecn == ecn::CE {
            self.regs.count(&regs::CNT_CE_MARKS_IN, 1);
        }
    }

    /// An acceptable segment with a valid ACK proves that the peer is there.
    fn on_validated(&mut self, conn: &mut Conn, rx: &RxSegment, seg: &Segment) {
        let now = self.now32();
        let now_ms = self.now_ms();
        conn.rec.last_rx_ms = now_ms;
        conn.clear(DELEG_CHALLENGED);
        conn.restart_keep_alive(now_ms);
        if conn.rec.const_flags & CONST_TIMESTAMPS != 0 {
            if let Some(ts) = rx.options.timestamps {
                let mut recent = self.ts_recent(conn);
                let last_ack = SeqNum(conn.rec.last_ack_sent);
                timestamps::update_recent(&mut recent, ts.val, seg.seq, last_ack, self.clock_us());
                (conn.rec.ts_recent, conn.rec.ts_recent_ms) =
                    (recent.val, timestamps::clock(recent.taken_us, 0));
            }
        }
        if conn.state() == TcpState::FinWait2 {
            // each acceptable segment restarts the timer.
            conn.restart_rtx(now, self.regs.get(&regs::FIN_WAIT_2_US));
        }
    }

    /// Seventh and eighth: text and FIN.
    fn process_text(
        &mut self,
        conn: &mut Conn,
        rx: &RxSegment,
        seg: &Segment,
        text: &[u8],
    ) -> Result<(), DmaError> {
        if seg.is_empty() {
            return Ok(());
        }
        let kept = acceptable::trim(seg, conn.rcv_nxt(), conn.rcv_wnd());
        let had_ranges = !conn.ooo.is_empty();
        let mut is_irregular = kept.cut || (kept.keep == 0 && seg.data_len > 0);
        if kept.keep > 0 {
            let is_whole = self.place(conn, &kept, text, rx.is_forwarded)?;
            // Right after an offload the hole may be what the host still holds.
            let waits = conn.has(DELEG_ARRIVING) && !conn.ooo.is_empty();
            is_irregular |= !waits && (!is_whole || had_ranges);
            if !waits {
                conn.clear(DELEG_ARRIVING);
            }
        } else if seg.data_len > 0 {
            conn.rec.cnt_dup = conn.rec.cnt_dup.wrapping_add(1);
        }
        let text_end = seg.seq + seg.data_len;
        if conn.rcv_nxt().at_or_after(text_end) && seg.flags.has(Flags::PSH) {
            self.push_post(conn, false)?;
        }
        let has_fin = kept.fin && conn.rcv_nxt() == text_end;
        if has_fin {
            self.process_fin(conn)?;
        }
        conn.align_edge();
        self.decide_ack(conn, is_irregular || seg.flags.has(Flags::FIN));
        Ok(())
    }

    /// Places the kept text; true if all of it was taken in order.
    fn place(
        &mut self,
        conn: &mut Conn,
        kept: &Trimmed,
        text: &[u8],
        forwarded: bool,
    ) -> Result<bool, DmaError> {
        let text = &text[kept.skip as usize..(kept.skip + kept.keep) as usize];
        if kept.seq != conn.rcv_nxt() {
            if self.place_out_of_order(conn, kept.seq, text)? {
                conn.sample.on_text(Text { out_of_order: true, forwarded });
            }
            return Ok(false);
        }
        let moved = self.place_in_order(conn, text)?;
        if moved > 0 {
            conn.sample.on_text(Text { out_of_order: false, forwarded });
            conn.rec.ack_pending = conn.rec.ack_pending.saturating_add(1);
        }
        Ok(moved >= kept.keep)
    }

    /// The peer's FIN is in order: it counts one, and nothing follows it.
    fn process_fin(&mut self, conn: &mut Conn) -> Result<(), DmaError> {
        // G-01: a FIN completes a partly filled post of either mode.
        self.push_post(conn, true)?;
        let next = conn.rcv_nxt() + 1;
        conn.rec.rcv_nxt = next.0;
        conn.rec.rcv_right = SeqNum(conn.rec.rcv_right).later(next).0;
        conn.ooo.clear();
        conn.set(DELEG_PEER_FIN);
        match conn.state() {
            TcpState::Established => conn.set_state(TcpState::CloseWait),
            TcpState::FinWait1 => conn.set_state(TcpState::Closing),
            TcpState::FinWait2 => self.enter_time_wait(conn),
            _ => {}
        }
        Ok(())
    }

    /// G-39: the host keeps TIME-WAIT; until it takes over, FINs are acknowledged again.
    pub(super) fn enter_time_wait(&mut self, conn: &mut Conn) {
        conn.set_state(TcpState::TimeWait);
        conn.stop_timer(TIMER_RTX);
        conn.request_upload(UploadReason::UploadRequested);
    }

    /// Programmer's guide 6, when to acknowledge.
    fn decide_ack(&mut self, conn: &mut Conn, is_irregular: bool) {
        let frequency = self.regs.get(&regs::ACK_FREQUENCY);
        match ack_frequency::decide(u32::from(conn.rec.ack_pending), frequency, is_irregular) {
            AckDecision::Now => conn.set(DELEG_ACK_NOW),
            AckDecision::Delayed if !conn.timer_runs(TIMER_DELACK) => {
                let deadline = self.now32().wrapping_add(self.regs.get(&regs::DELAYED_ACK_US));
                conn.start_timer(TIMER_DELACK, deadline);
            }
            AckDecision::Delayed | AckDecision::None => {}
        }
    }
}

/// The segment is dropped and answered; the peer hears that its text had arrived before.
pub(super) fn answer(conn: &mut Conn, seg: &Segment) {
    conn.set(DELEG_ACK_NOW);
    conn.again = acceptable::came_before(seg, conn.rcv_nxt());
}
