//! A segment arrives: RFC 9293 3.10.7, step by step in its own order, one function per step.
//!
//! ```text
//!   SYN-SENT:  ack -> rst -> syn
//!   others:    timestamps -> sequence, rst, syn -> ack -> text -> fin
//! ```
//! Urgent data is delivered in line (RFC 6093 6).

use super::loss::News;
use super::reassembly::Placed;
use super::tcb::{ConnectionError, Tcb, CAPACITY_SLACK};
use crate::wire::tcp::TcpSegment;
use chimney_abi::cmd::{Phase, TcpState};
use chimney_host_stack_core::acceptable::{came_before, check, trim, Disposition, Trimmed};
use chimney_host_stack_core::ack::{advance, classify, is_duplicate, update_window, AckClass};
use chimney_host_stack_core::congestion::Control;
use chimney_host_stack_core::delayed_ack::{decide, AckDecision, Arrival};
use chimney_host_stack_core::loss_recovery::LossRecovery;
use chimney_host_stack_core::recovery::{DupAckAction, GrowthStep, NewAckAction, SackView};
use chimney_host_stack_core::segment::{Flags, Segment};
use chimney_host_stack_core::timestamps::{self, paws_rejects, update_recent};

/// Least time between answers to unacceptable segments without text, and between challenge ACKs
/// (RFC 5961 7: per connection, never for the whole host).
const CHALLENGE_INTERVAL_US: u64 = 100_000;

/// What the caller has to do after a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing; `next_segment` knows.
    Done,
    /// Answer with the RST of RFC 9293 3.10.7.1, made from the segment.
    SendReset,
}

impl Tcb {
    /// Processes a segment whose checksum is right.
    pub fn on_segment(&mut self, now_us: u64, seg: &TcpSegment<'_>) -> Outcome {
        self.stats.segments_in += 1;
        match self.state {
            TcpState::Closed | TcpState::Listen => Outcome::SendReset,
            TcpState::SynSent => self.in_syn_sent(now_us, seg),
            _ => self.in_synchronised(now_us, seg),
        }
    }

    /// RFC 9293 3.10.7.3.
    fn in_syn_sent(&mut self, now_us: u64, seg: &TcpSegment<'_>) -> Outcome {
        let has_ack = seg.flags.has(Flags::ACK);
        if has_ack && (seg.ack.at_or_before(self.iss) || seg.ack.after(self.snd.snd_max)) {
            return if seg.flags.has(Flags::RST) { Outcome::Done } else { Outcome::SendReset };
        }
        if seg.flags.has(Flags::RST) {
            if has_ack {
                self.finish(Some(ConnectionError::Refused));
            }
            return Outcome::Done;
        }
        if !seg.flags.has(Flags::SYN) {
            return Outcome::Done;
        }
        self.take_syn(now_us, seg);
        if has_ack {
            self.complete_opening(now_us, seg);
            self.owed.ack = true;
        } else {
            // Simultaneous open.
            self.state = TcpState::SynRcvd;
            self.owed.syn = true;
        }
        Outcome::Done
    }

    /// Our SYN is acknowledged: ESTABLISHED.
    fn complete_opening(&mut self, now_us: u64, seg: &TcpSegment<'_>) {
        if let Some(rtt_us) = self.rtt_timer.finish(seg.ack, now_us) {
            self.rtt.sample(rtt_us);
        }
        advance(&mut self.snd, seg.ack);
        self.snd.snd_wl2 = seg.ack;
        // RFC 6582 3.2 (1): nothing before the first byte of text.
        self.recovery.recover = seg.ack - 1;
        self.loss = LossRecovery::new(&self.snd, Control::new(self.config.congestion));
        if self.retransmit_count > 1 {
            // RFC 5681 3.1: after a lost SYN start with one segment.
            self.cw.cwnd = self.eff_mss;
        }
        self.retransmit_count = 0;
        self.total_rt_us = 0;
        self.timers.retransmit = None;
        self.owed.syn = false;
        self.state = TcpState::Established;
        self.touch_keep_alive(now_us);
    }

    /// RFC 9293 3.10.7.4.
    fn in_synchronised(&mut self, now_us: u64, seg: &TcpSegment<'_>) -> Outcome {
        let numbers = seg.numbers(self.negotiated.snd_wind_shift);
        if self.state == TcpState::SynRcvd && numbers.flags.has(Flags::SYN) && seg.seq + 1 == self.rcv_nxt {
            // The peer missed our SYN-ACK. (In a simultaneous open this SYN carries the ACK of ours.)
            if !numbers.flags.has(Flags::ACK) {
                self.owed.syn = true;
                return Outcome::Done;
            }
        } else if !self.step_timestamps(now_us, seg, &numbers) || !self.step_sequence(now_us, &numbers) {
            return Outcome::Done;
        }
        if let Some(ts) = seg.options.timestamps.filter(|_| self.negotiated.has_timestamps) {
            update_recent(&mut self.ts_recent, ts.val, seg.seq, self.last_ack_sent, now_us);
        }
        if !numbers.flags.has(Flags::ACK) {
            return Outcome::Done;
        }
        self.last_rx_us = now_us;
        self.touch_keep_alive(now_us);
        if self.state == TcpState::SynRcvd {
            if !matches!(classify(&self.snd, seg.ack), AckClass::New(_)) {
                return Outcome::SendReset;
            }
            self.complete_opening(now_us, seg);
            self.snd.snd_wnd = numbers.wnd;
            self.snd.max_snd_wnd = self.snd.max_snd_wnd.max(numbers.wnd);
        }
        if self.step_ack(now_us, seg, &numbers) {
            return self.step_text(now_us, seg, &numbers);
        }
        Outcome::Done
    }

    /// RFC 7323 5.3: PAWS. Once negotiated, a segment without the option is dropped (3.2), but an RST
    /// counts with or without.
    fn step_timestamps(&mut self, now_us: u64, seg: &TcpSegment<'_>, numbers: &Segment) -> bool {
        if !self.negotiated.has_timestamps || numbers.flags.has(Flags::RST) {
            return true;
        }
        let Some(ts) = seg.options.timestamps else {
            self.stats.unacceptable += 1;
            return false;
        };
        if paws_rejects(&self.ts_recent, ts.val, now_us) {
            self.stats.unacceptable += 1;
            self.answer_unacceptable(now_us, numbers);
            return false;
        }
        true
    }

    /// First, second and fourth check. True if the segment is to be processed.
    fn step_sequence(&mut self, now_us: u64, numbers: &Segment) -> bool {
        match check(numbers, self.rcv_nxt, self.rcv_wnd()) {
            Disposition::Accept => return true,
            Disposition::DropSilently => {}
            Disposition::DropAndAck => {
                self.answer_unacceptable(now_us, numbers);
                if self.state == TcpState::TimeWait && numbers.flags.has(Flags::FIN) {
                    self.touch_close_timer(now_us);
                }
            }
            Disposition::ChallengeAck | Disposition::SynAtRcvNxt => self.challenge(now_us),
            // RFC 1337: an RST does not end TIME-WAIT.
            Disposition::Reset if self.state == TcpState::TimeWait => {}
            Disposition::Reset => {
                let is_over = matches!(self.state, TcpState::Closing | TcpState::LastAck);
                self.finish((!is_over).then_some(ConnectionError::Reset));
                return false;
            }
        }
        self.stats.unacceptable += 1;
        false
    }

    /// Answers at once if the segment had text; else not too often, or two confused ends could go on
    /// acknowledging each other for ever.
    fn answer_unacceptable(&mut self, now_us: u64, numbers: &Segment) {
        if numbers.is_empty() {
            self.challenge(now_us);
        } else {
            self.owed.ack = true;
            self.owed.again = came_before(numbers, self.rcv_nxt);
        }
    }

    fn challenge(&mut self, now_us: u64) {
        if self.challenge_us.is_none_or(|last| now_us.saturating_sub(last) >= CHALLENGE_INTERVAL_US) {
            self.challenge_us = Some(now_us);
            self.owed.ack = true;
        }
    }

    /// Fifth check: the ACK field. True if the rest of the segment is to be processed.
    fn step_ack(&mut self, now_us: u64, seg: &TcpSegment<'_>, numbers: &Segment) -> bool {
        let class = classify(&self.snd, numbers.ack);
        match class {
            AckClass::New(acked) => self.on_new_ack(now_us, seg, numbers, acked),
            AckClass::Current => self.on_current_ack(now_us, seg, numbers),
            AckClass::Old => {}
            AckClass::TooOld => {
                self.challenge(now_us);
                return false;
            }
            AckClass::Unsent => {
                self.answer_unacceptable(now_us, numbers);
                return false;
            }
        }
        self.ecn.advance(self.snd.snd_una);
        // An old one says nothing that a newer one did not say: the echo goes on until CWR.
        let hears_echo = class != AckClass::Old && self.recovery.phase == Phase::Open;
        if hears_echo && self.ecn.on_ack(seg.flags, self.snd.snd_una, self.snd.snd_max) {
            self.on_ecn_echo(now_us);
        }
        self.touch_close_timer(now_us);
        self.state != TcpState::Closed
    }

    fn on_new_ack(&mut self, now_us: u64, seg: &TcpSegment<'_>, numbers: &Segment, acked: u32) {
        let (flight, una_before) = (self.snd.flight_size(), self.snd.snd_una);
        let rtt_us = self.rtt_timer.finish(numbers.ack, now_us);
        if let Some(rtt_us) = rtt_us {
            self.rtt.sample(rtt_us);
            self.kept_back_off = 0;
        } else if !self.timers.is_persist {
            self.kept_back_off = self.kept_back_off.saturating_add(self.retransmit_count);
        }
        let is_fin_acked = self.is_fin_sent() && numbers.ack == self.snd.snd_max;
        advance(&mut self.snd, numbers.ack);
        self.send.acknowledge(numbers.ack);
        self.retransmit_count = 0;
        self.total_rt_us = 0;
        let has_sack = self.negotiated.has_sack;
        if has_sack {
            let blocks = seg.options.sack.as_slice();
            let echo_ms = self.echo_ms(now_us, seg);
            self.recover(now_us, &News { una_before, blocks, is_duplicate: false, rtt_us, echo_ms });
        } else {
            let step = GrowthStep { smss: self.eff_mss, is_sack: false };
            let action = self.recovery.on_new_ack(&self.snd, &mut self.cw, acked, flight, step);
            self.owed.first = action == NewAckAction::RetransmitFirst;
        }
        // RFC 6298 5.2, 5.3.
        if self.snd.flight_size() == 0 {
            if !self.timers.is_persist {
                self.timers.retransmit = None;
            }
        } else if !has_sack {
            self.arm_retransmit(now_us);
        }
        update_window(&mut self.snd, numbers);
        self.on_window_while_persisting(now_us);
        if is_fin_acked {
            self.on_fin_acked();
        }
    }

    /// How long ago the timestamp was sent that the peer echoes.
    fn echo_ms(&self, now_us: u64, seg: &TcpSegment<'_>) -> Option<u32> {
        let ts = seg.options.timestamps.filter(|_| self.negotiated.has_timestamps)?;
        Some(timestamps::echo_ms(now_us, self.ts_delta, ts.ecr))
    }

    fn on_current_ack(&mut self, now_us: u64, seg: &TcpSegment<'_>, numbers: &Segment) {
        let is_duplicate = is_duplicate(&self.snd, numbers);
        if update_window(&mut self.snd, numbers) {
            self.on_window_while_persisting(now_us);
        }
        if self.negotiated.has_sack {
            let (una_before, blocks) = (self.snd.snd_una, seg.options.sack.as_slice());
            return self
                .recover(now_us, &News { una_before, blocks, is_duplicate, rtt_us: None, echo_ms: None });
        }
        if !is_duplicate {
            return;
        }
        let view = SackView::default();
        let action = self.recovery.on_dup_ack(&self.snd, &mut self.cw, self.eff_mss, view);
        if action == DupAckAction::FastRetransmit {
            self.stats.fast_retransmits += 1;
            self.ecn.on_reduction(self.snd.snd_max);
            self.owed.first = true;
        }
    }

    /// Our FIN is acknowledged.
    fn on_fin_acked(&mut self) {
        match self.state {
            TcpState::FinWait1 => self.state = TcpState::FinWait2,
            TcpState::Closing => self.enter_time_wait(),
            TcpState::LastAck => self.finish(None),
            _ => {}
        }
    }

    fn enter_time_wait(&mut self) {
        self.state = TcpState::TimeWait;
        self.timers = super::timers::Timers::default();
    }

    /// Seventh check: text, then eighth: FIN.
    fn step_text(&mut self, now_us: u64, seg: &TcpSegment<'_>, numbers: &Segment) -> Outcome {
        if numbers.data_len == 0 && !numbers.flags.has(Flags::FIN) {
            return Outcome::Done;
        }
        if !self.may_receive() {
            // After the peer's FIN there can be no text; a repeated FIN is acknowledged again.
            self.owed.ack = true;
            return Outcome::Done;
        }
        self.ecn.on_text(seg.ecn, seg.flags);
        let hard_limit = (self.receive.capacity() + CAPACITY_SLACK).saturating_sub(self.receive.unread_len());
        let part = trim(numbers, self.rcv_nxt, self.rcv_wnd().min(hard_limit));
        if self.is_detached && part.keep > 0 {
            // RFC 9293 3.6.1: new text after CLOSE is never read; tell the peer.
            self.finish(Some(ConnectionError::Aborted));
            return Outcome::SendReset;
        }
        let arrival = self.place(seg, &part);
        let has_fin = self.take_fin(&part);
        self.touch_close_timer(now_us);
        match decide(&Arrival { has_fin, ..arrival }) {
            AckDecision::None => {}
            AckDecision::Now => self.owed.ack = true,
            AckDecision::Delayed => {
                let deadline = now_us + self.config.delayed_ack_us;
                self.timers.delayed_ack = Some(self.timers.delayed_ack.unwrap_or(deadline));
            }
        }
        Outcome::Done
    }

    /// Stores the text that is new.
    fn place(&mut self, seg: &TcpSegment<'_>, part: &Trimmed) -> Arrival {
        let had_holes = self.receive.has_ahead();
        let mut is_irregular = part.skip > 0 || part.cut || had_holes;
        let end = (part.skip + part.keep) as usize;
        if part.keep > 0 {
            let text = &seg.text[part.skip as usize..end];
            match self.receive.place(self.rcv_nxt, part.seq, text) {
                Placed::InOrder(next) => {
                    self.unacked_bytes += next - self.rcv_nxt;
                    self.rcv_nxt = next;
                }
                Placed::Ahead { again } => {
                    self.owed.again = again;
                    self.stats.out_of_order += 1;
                    is_irregular = true;
                }
                Placed::NoRange => {
                    self.stats.no_range += 1;
                    is_irregular = true;
                }
            }
            self.rmss = self.rmss.max(part.keep);
        } else {
            is_irregular |= !seg.text.is_empty();
        }
        Arrival { unacked_bytes: self.unacked_bytes, rmss: self.rmss, is_irregular, has_fin: false }
    }

    /// Remembers a FIN, and takes it when everything before it is there.
    fn take_fin(&mut self, part: &Trimmed) -> bool {
        if part.fin {
            self.peer_fin = Some(part.seq + part.keep);
        }
        if self.peer_fin != Some(self.rcv_nxt) {
            return part.fin;
        }
        self.rcv_nxt += 1;
        // The FIN may stand at the right edge; the window must not become negative.
        self.rcv_right = self.rcv_right.later(self.rcv_nxt);
        match self.state {
            TcpState::Established => self.state = TcpState::CloseWait,
            // If our FIN were acknowledged the state would be FIN-WAIT-2.
            TcpState::FinWait1 => self.state = TcpState::Closing,
            TcpState::FinWait2 => self.enter_time_wait(),
            _ => {}
        }
        true
    }
}
