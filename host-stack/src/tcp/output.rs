//! What to send next: one segment per call, in order of urgency.
//!
//! ```text
//!   SYN | first unacknowledged (fast retransmit) | holes (SACK) | going back (RTO) | new text, FIN
//!       | window probe | bare ACK
//! ```

use super::tcb::Tcb;
use crate::wire::tcp::OutSegment;
use chimney_abi::cmd::TcpState;
use chimney_abi::SeqNum;
use chimney_host_stack_core::ecn;
use chimney_host_stack_core::options::{SackBlocks, TcpOptions};
use chimney_host_stack_core::ranges::SeqRange;
use chimney_host_stack_core::segment::Flags;
use chimney_host_stack_core::timestamps::{clock, Timestamps};
use chimney_host_stack_core::transmit::{segment_len, SendInput};
use chimney_host_stack_core::window;

impl Tcb {
    /// The next segment to send now, if any. Call again until `None`.
    pub fn next_segment(&mut self, now_us: u64) -> Option<OutSegment> {
        match self.state {
            TcpState::Closed | TcpState::Listen => None,
            TcpState::SynSent | TcpState::SynRcvd => self.syn_segment(now_us),
            TcpState::TimeWait => self.bare_ack(now_us),
            _ => self.text(now_us).or_else(|| self.probe(now_us)).or_else(|| self.bare_ack(now_us)),
        }
    }

    /// An RST for a connection that is aborted (RFC 9293 3.10.5); the record is closed with it.
    pub fn abort(&mut self, now_us: u64) -> Option<OutSegment> {
        let is_synchronised = !matches!(
            self.state,
            TcpState::Closed | TcpState::Listen | TcpState::SynSent | TcpState::TimeWait
        );
        let reset = is_synchronised
            .then(|| self.emit(now_us, self.snd.snd_max, Flags::RST.with(Flags::ACK), Vec::new()));
        self.finish(Some(super::tcb::ConnectionError::Aborted));
        reset
    }

    fn syn_segment(&mut self, now_us: u64) -> Option<OutSegment> {
        if !std::mem::take(&mut self.owed.syn) {
            // In SYN-RECEIVED the SYN-ACK is the acknowledgment.
            return None;
        }
        let is_answer = self.state == TcpState::SynRcvd;
        let is_first = self.snd.snd_max == self.iss;
        // RFC 3168 6.1.1; 6.1.1.1: a SYN that got no answer asks without.
        let asks_for_ecn = self.config.is_ecn && !is_answer && is_first;
        let flags = Flags::SYN
            .with_if(is_answer, Flags::ACK)
            .with_if(asks_for_ecn, Flags::ECE.with(Flags::CWR))
            .with_if(is_answer && self.ecn.is_on, Flags::ECE);
        if is_first {
            self.snd.snd_nxt = self.iss + 1;
            self.snd.snd_max = self.iss + 1;
            self.rtt_timer.start(self.iss + 1, now_us);
        } else {
            self.rtt_timer.cancel();
            self.stats.retransmits += 1;
        }
        if self.timers.retransmit.is_none() {
            self.arm_retransmit(now_us);
        }
        Some(self.emit(now_us, self.iss, flags, Vec::new()))
    }

    fn text(&mut self, now_us: u64) -> Option<OutSegment> {
        if self.negotiated.has_sack {
            return self.sack_text(now_us);
        }
        if std::mem::take(&mut self.owed.first) && self.snd.flight_size() > 0 {
            return Some(self.resend(now_us, self.snd.snd_una, self.eff_mss));
        }
        let limit = self.recovery.send_limit(&self.cw, self.eff_mss);
        if self.snd.snd_nxt.before(self.snd.snd_max) {
            return self.go_back(now_us, limit);
        }
        self.new_text(now_us, limit.saturating_sub(self.snd.flight_size()))
    }

    /// RFC 6675 5 (C): a probe that is due, lost text, then new text, while `cwnd - pipe` has room.
    fn sack_text(&mut self, now_us: u64) -> Option<OutSegment> {
        if std::mem::take(&mut self.owed.tail_probe) && self.snd.flight_size() > 0 {
            return Some(self.tail_probe(now_us));
        }
        if let Some(part) = self.next_lost() {
            return Some(self.resend(now_us, part.start, part.len()));
        }
        self.new_text(now_us, self.loss.room(&self.snd, &self.cw))
    }

    /// RFC 8985 7.3: new text if the peer's window lets it go, else the last segment again.
    fn tail_probe(&mut self, now_us: u64) -> OutSegment {
        let flight = self.snd.flight_size();
        let unsent = if self.is_fin_sent() { 0 } else { self.send.end() - self.snd.snd_nxt };
        let len = unsent.min(self.eff_mss).min(self.snd.snd_wnd.saturating_sub(flight));
        let segment = if len > 0 {
            self.send_new(now_us, len)
        } else {
            // A probe is no repair: the scoreboard does not hear of it.
            let loss = self.loss;
            let len = self.eff_mss.min(flight);
            let segment = self.resend(now_us, self.snd.snd_max - len, len);
            self.loss = loss;
            segment
        };
        self.loss.on_probe(self.snd.snd_max, len == 0);
        self.arm_retransmit(now_us);
        segment
    }

    /// After a timeout: [SND.NXT, SND.MAX) goes out again as the window opens (R-104).
    fn go_back(&mut self, now_us: u64, limit: u32) -> Option<OutSegment> {
        let left = self.snd.snd_max - self.snd.snd_nxt;
        let flight = self.snd.snd_nxt - self.snd.snd_una;
        let len = left.min(self.eff_mss);
        // The segment at SND.UNA goes out whatever the window says: it is its own probe.
        if flight > 0 && (flight + len > limit || flight + len > self.snd.snd_wnd) {
            return None;
        }
        let seq = self.snd.snd_nxt;
        let segment = self.resend(now_us, seq, len);
        self.snd.snd_nxt = seq + len;
        Some(segment)
    }

    /// Text that was never sent, and the FIN behind it. `room` is what congestion control allows.
    fn new_text(&mut self, now_us: u64, room: u32) -> Option<OutSegment> {
        let flight = self.snd.flight_size();
        if self.is_fin_sent() {
            return None;
        }
        let unsent = self.send.end() - self.snd.snd_nxt;
        if flight == 0 && unsent > 0 && now_us.saturating_sub(self.last_sent_us) > u64::from(self.rto_us()) {
            match self.negotiated.has_sack {
                true => self.loss.control.on_idle(&mut self.cw, self.eff_mss),
                false => self.cw.restart_after_idle(self.eff_mss),
            }
        }
        let room = if flight == 0 { self.cw.cwnd } else { room };
        let usable = room.min(self.snd.snd_wnd.saturating_sub(flight));
        let input = SendInput {
            unsent,
            usable,
            smss: self.eff_mss,
            max_snd_wnd: self.snd.max_snd_wnd,
            is_idle: flight == 0,
            is_nagle: self.config.is_nagle && !self.send.is_closed(),
        };
        let forced = std::mem::take(&mut self.owed.small).then(|| unsent.min(usable).min(self.eff_mss));
        match segment_len(&input).or(forced.filter(|len| *len > 0)) {
            Some(len) => Some(self.send_new(now_us, len)),
            // A FIN takes no room in the peer's buffer, so it does not wait for a window.
            None if unsent == 0 && self.send.is_closed() => Some(self.send_new(now_us, 0)),
            None => {
                if unsent > 0 && flight == 0 && self.timers.retransmit.is_none() {
                    self.start_persist(now_us);
                }
                None
            }
        }
    }

    fn send_new(&mut self, now_us: u64, len: u32) -> OutSegment {
        let seq = self.snd.snd_nxt;
        let is_last = seq + len == self.send.end();
        let has_fin = is_last && self.send.is_closed();
        self.snd.snd_nxt = seq + len + u32::from(has_fin);
        self.snd.snd_max = self.snd.snd_nxt;
        self.rtt_timer.start(self.snd.snd_max, now_us);
        self.last_sent_us = now_us;
        if self.timers.is_persist || self.timers.retransmit.is_none() {
            self.retransmit_count = 0;
            self.arm_retransmit(now_us);
        }
        if self.negotiated.has_sack {
            self.on_text_sent(now_us, self.snd.snd_max - seq);
        }
        if has_fin {
            self.enter_fin_state();
        }
        let mut segment = self.text_segment(now_us, seq, len);
        if len > 0 {
            let (ecn, flags) = self.ecn.on_send(true);
            (segment.ecn, segment.flags) = (ecn, segment.flags.with(flags));
        }
        segment
    }

    /// RFC 9293 3.10.4, at the moment when the FIN is first sent.
    fn enter_fin_state(&mut self) {
        self.state = match self.state {
            TcpState::Established => TcpState::FinWait1,
            TcpState::CloseWait => TcpState::LastAck,
            other => other,
        };
    }

    /// Sends again what lies in `[seq, seq + len)`, which was sent before.
    fn resend(&mut self, now_us: u64, seq: SeqNum, len: u32) -> OutSegment {
        let len = len.min(self.snd.snd_max - seq);
        self.rtt_timer.cancel();
        self.stats.retransmits += 1;
        self.last_sent_us = now_us;
        if self.negotiated.has_sack {
            self.on_text_resent(now_us, SeqRange::new(seq, len));
        } else {
            self.arm_retransmit(now_us);
        }
        self.text_segment(now_us, seq, len)
    }

    /// A segment with what the buffer holds of `[seq, seq + len)`, and the FIN if it was (or is being)
    /// sent and follows directly.
    fn text_segment(&mut self, now_us: u64, seq: SeqNum, len: u32) -> OutSegment {
        let text = self.send.copy(seq, len);
        // `as`: a copy of at most `len` bytes.
        let is_last = seq + text.len() as u32 == self.send.end();
        let flags = Flags::ACK
            .with_if(is_last && !text.is_empty(), Flags::PSH)
            .with_if(is_last && self.is_fin_sent(), Flags::FIN);
        self.stats.bytes_out += text.len() as u64;
        self.emit(now_us, seq, flags, text)
    }

    /// A probe without text, left of the window: every receiver answers it (RFC 9293 3.8.4, G-43).
    fn probe(&mut self, now_us: u64) -> Option<OutSegment> {
        std::mem::take(&mut self.owed.probe)
            .then(|| self.emit(now_us, self.snd.snd_una - 1, Flags::ACK, Vec::new()))
    }

    fn bare_ack(&mut self, now_us: u64) -> Option<OutSegment> {
        // Not SND.NXT: while going back it may be left of what the peer expects.
        let seq = self.snd.bare_seq(self.negotiated.snd_wind_shift);
        self.owed.ack.then(|| self.emit(now_us, seq, Flags::ACK, Vec::new()))
    }

    /// The acknowledgment owed now or later, before the record is given away (spec 6, R-145).
    pub fn flush_ack(&mut self, now_us: u64) -> Option<OutSegment> {
        self.owed.ack |= self.unacked_bytes > 0;
        self.bare_ack(now_us)
    }

    /// Fills in everything that every segment carries, and settles the acknowledgment owed.
    fn emit(&mut self, now_us: u64, seq: SeqNum, flags: Flags, text: Vec<u8>) -> OutSegment {
        self.stats.segments_out += 1;
        let is_syn = flags.has(Flags::SYN);
        let has_ack = flags.has(Flags::ACK);
        // What lies beyond a hole is told without text only.
        let has_ranges = self.negotiated.has_sack && self.receive.has_ahead();
        let still_owes = self.owed.ack && has_ranges && !text.is_empty();
        let window = if has_ack { self.advertise(is_syn) } else { self.first_window() };
        self.owed.ack |= still_owes;
        // What is sent again and what has no text is not ECN-capable, but may carry the echo.
        let (ecn, echo) = if is_syn { (ecn::NOT_ECT, Flags::NONE) } else { self.ecn.on_send(false) };
        let options = self.options_for(now_us, flags, text.is_empty());
        self.owed.again = None;
        OutSegment {
            src_port: self.tuple.local.port(),
            dst_port: self.tuple.remote.port(),
            seq,
            ack: if has_ack { self.rcv_nxt } else { SeqNum(0) },
            flags: flags.with(echo),
            window,
            options,
            text,
            ecn,
            mss: 0,
        }
    }

    /// Window of the very first SYN, before anything is known of the peer.
    fn first_window(&self) -> u16 {
        u16::try_from(self.receive.capacity()).unwrap_or(u16::MAX)
    }

    /// The window field, and the promise it makes.
    fn advertise(&mut self, is_syn: bool) -> u16 {
        let shift = if is_syn { 0 } else { self.negotiated.rcv_wind_shift };
        if !is_syn && self.may_receive() {
            let (free, capacity) = (self.receive.free(), self.receive.capacity());
            self.rcv_right = window::right_edge(self.rcv_nxt, self.rcv_right, free, capacity, self.rmss);
        }
        let (field, edge) = window::window_field(self.rcv_nxt, self.rcv_right, shift);
        self.rcv_right = edge;
        self.last_ack_sent = self.rcv_nxt;
        self.unacked_bytes = 0;
        self.timers.delayed_ack = None;
        self.owed.ack = false;
        field
    }

    fn options_for(&self, now_us: u64, flags: Flags, is_bare: bool) -> TcpOptions {
        let n = &self.negotiated;
        let has_ack = flags.has(Flags::ACK);
        let timestamps = n.has_timestamps.then(|| Timestamps {
            val: clock(now_us, self.ts_delta),
            ecr: if has_ack { self.ts_recent.val } else { 0 },
        });
        if flags.has(Flags::SYN) {
            return TcpOptions {
                mss: Some(self.local_mss),
                wind_shift: n.has_window_scaling.then_some(n.rcv_wind_shift),
                sack_permitted: n.has_sack,
                timestamps,
                ..TcpOptions::default()
            };
        }
        let mut sack = SackBlocks::default();
        if n.has_sack && is_bare && !flags.has(Flags::RST) {
            for block in self.owed.again.into_iter().chain(self.receive.sack_blocks()) {
                sack.push(block);
            }
        }
        TcpOptions { timestamps, sack, ..TcpOptions::default() }
    }
}
