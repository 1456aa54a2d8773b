//! Loss recovery with SACK: scoreboard, RACK-TLP, PRR and congestion control put together.
//!
//! Without SACK the connection keeps to [`crate::recovery`] (NewReno). Both share `Cwnd` and `Recovery`, which travel in
//! a hand-over; what is here begins afresh then.
//!
//! ```text
//!   on_ack   scoreboard -> RACK -> probe -> lost holes -> phase -> PRR (recovery) or growth (open)
//!   timer    reordering wait | tail loss probe | RTO: one deadline, and what it is for
//!   next     lost bytes first, while the window has room beyond the pipe
//! ```
//! `SND.NXT` never goes back: what has to be sent again is a lost hole, also after a timeout.

use crate::ack::SendVars;
use crate::congestion::{Control, Growth};
use crate::cwnd::{Cwnd, MAX_CWND};
use crate::hystart::{HyStart, Sample};
use crate::prr::{Prr, PrrAck};
use crate::rack::{Rack, ReoInput};
use crate::recovery::{Phase, Recovery};
use crate::scoreboard::{Delivery, Scoreboard, SeqRange};
use crate::tlp::{pto_us, PtoInput, Tlp, TlpAck};
use chimney_abi::SeqNum;

/// State of one connection beside `Cwnd` and `Recovery`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct LossRecovery {
    /// What the peer reported.
    pub board: Scoreboard,
    /// Loss detection by time.
    pub rack: Rack,
    /// How much to send in recovery.
    pub prr: Prr,
    /// The probe.
    pub tlp: Tlp,
    /// A probe was sent, and no round trip was measured since.
    pub owes_rtt: bool,
    /// How the window falls and grows.
    pub control: Control,
    /// When the first slow start ends; `None`: only at a loss.
    pub hystart: Option<HyStart>,
}

/// The connection as it is when something happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Send variables, after the acknowledgment was taken.
    pub snd: SendVars,
    /// Sender's segment size.
    pub smss: u32,
    /// Smoothed RTT, microseconds; 0 = none yet.
    pub srtt_us: u32,
    /// Low bits of the clock.
    pub now_us: u32,
}

/// An acceptable acknowledgment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AckEvent<'a> {
    /// SND.UNA before it.
    pub una_before: SeqNum,
    /// Its SACK blocks.
    pub blocks: &'a [SeqRange],
    /// It meets RFC 5681's definition of a duplicate.
    pub is_duplicate: bool,
    /// A round trip that ended with it, of a segment that was sent once.
    pub rtt_us: Option<u32>,
    /// How long ago its TSecr was sent, milliseconds; `None`: the connection has no timestamps.
    pub echo_ms: Option<u32>,
    /// DupThresh, 3 by default.
    pub dup_threshold: u8,
}

/// What followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct AckResult {
    /// Fast recovery began.
    pub has_entered: bool,
    /// The window was reduced for a loss: recovery began, or a probe had repaired it.
    pub has_reduced: bool,
    /// A hole will count as lost after this time, microseconds, unless it fills.
    pub wait_us: Option<u32>,
    /// Bytes were reported for the first time, or acknowledged.
    pub has_news: bool,
}

/// What the retransmission timer's deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum TimerKind {
    /// Retransmission timeout (RFC 6298).
    #[default]
    Rto,
    /// Tail loss probe (RFC 8985 7.2).
    Probe,
    /// A hole waits for reordered segments (RFC 8985 6.3).
    Reorder,
}

/// What loss detection found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
struct Found {
    has_lost: bool,
    wait_us: Option<u32>,
}

impl Found {
    fn add_wait(&mut self, us: u32) {
        // RFC 8985: one deadline for all, the latest.
        self.wait_us = Some(self.wait_us.map_or(us, |old| old.max(us)));
    }
}

impl LossRecovery {
    /// Nothing is known of what is in flight: a new connection, or one that was just handed over.
    #[must_use]
    pub fn new(snd: &SendVars, control: Control) -> LossRecovery {
        LossRecovery {
            board: Scoreboard::new(snd.snd_una),
            rack: Rack::new(snd.snd_max),
            control,
            hystart: Some(HyStart::default()),
            ..LossRecovery::default()
        }
    }

    /// Without HyStart++: slow start ends at a loss. So it is in the part of the hardware that knows of losses only.
    #[must_use]
    pub fn without_hystart(self) -> LossRecovery {
        LossRecovery { hystart: None, ..self }
    }

    /// A connection that was handed over. `resend_from`: what lies from there on has to be sent again.
    #[must_use]
    pub fn handed_over(
        at: &Moment,
        control: Control,
        cw: &Cwnd,
        phase: Phase,
        resend_from: SeqNum,
    ) -> LossRecovery {
        let mut this = LossRecovery::new(&at.snd, control);
        if phase == Phase::FastRecovery {
            this.prr = Prr::start(cw.ssthresh, at.snd.flight_size());
        }
        if resend_from.before(at.snd.snd_max) {
            this.board.mark_all_lost(&at.snd);
            if resend_from.after(at.snd.snd_una) {
                let resent = SeqRange { start: at.snd.snd_una, end: resend_from };
                this.board.on_resend(resent, at.now_us);
            }
        }
        this
    }

    /// Takes an acknowledgment: RFC 8985 6.2 steps 1 to 5, RFC 9937 6, and the phases of RFC 6675 5.
    pub fn on_ack(
        &mut self,
        at: &Moment,
        cw: &mut Cwnd,
        rec: &mut Recovery,
        ack: &AckEvent<'_>,
    ) -> AckResult {
        let outstanding = at.snd.snd_max - ack.una_before;
        let flight = outstanding.saturating_sub(self.board.sacked_bytes());
        let delivery = self.board.on_ack(ack.una_before, &at.snd, ack.blocks);
        let has_moved = at.snd.snd_una != ack.una_before;
        self.take_delivery(at, &delivery, ack.rtt_us);
        let is_repaired = self.tlp.on_ack(&TlpAck {
            ack: at.snd.snd_una,
            is_duplicate: ack.is_duplicate,
            is_dsack: delivery.is_dsack,
            has_sack: !ack.blocks.is_empty(),
        });
        if has_moved {
            rec.dup_acks = 0;
        } else if delivery.is_new_sack {
            rec.dup_acks = rec.dup_acks.saturating_add(1);
        }
        let was_recovering = rec.phase != Phase::Open;
        self.leave_if_full(at, cw, rec, has_moved);
        let found = self.detect(at, rec, ack.dup_threshold);
        let mut result = AckResult {
            wait_us: found.wait_us,
            has_news: has_moved || delivery.is_new_sack,
            ..AckResult::default()
        };
        if rec.phase == Phase::Open && found.has_lost {
            self.enter(at, cw, rec, (outstanding, flight));
            (result.has_entered, result.has_reduced) = (true, true);
        } else if rec.phase == Phase::Open && is_repaired {
            // RFC 8985 7.4.2: the loss was repaired before anybody noticed, but it was one.
            let in_use = cw.flight_size(outstanding, flight);
            self.control.on_congestion(cw, in_use, at.smss);
            cw.cwnd = cw.ssthresh;
            result.has_reduced = true;
            return result;
        }
        match rec.phase {
            Phase::FastRecovery => {
                let (pipe, is_safe) = (self.board.pipe(&at.snd), has_moved && !found.has_lost);
                let ack = PrrAck { delivered: delivery.bytes, pipe, is_safe };
                cw.cwnd = self.prr.on_ack(ack, cw.ssthresh, at.smss);
            }
            // RFC 3465 2.3: L = 1 while repairing after a timeout.
            Phase::RtoRecovery => cw.grow(delivery.bytes, flight.max(cw.cwnd), at.smss, 1),
            Phase::Open if was_recovering || delivery.bytes == 0 => {}
            Phase::Open => self.grow(at, cw, delivery.bytes, flight, ack),
        }
        result
    }

    /// What a delivery says of time and order.
    fn take_delivery(&mut self, at: &Moment, delivery: &Delivery, rtt_us: Option<u32>) {
        if let Some(rtt_us) = rtt_us {
            self.rack.on_rtt(rtt_us, at.now_us);
            self.owes_rtt = false;
        }
        let sent_us = delivery.first_sent_end.and_then(|end| self.rack.log.earliest(end));
        if let Some(sent_us) = sent_us {
            self.rack.on_delivered(sent_us, false, at.now_us);
        }
        if let Some(resent) = delivery.resent {
            self.rack.on_delivered(resent.sent_us, true, at.now_us);
        }
        self.rack.is_reordering_seen |= delivery.is_reordered;
        if delivery.is_dsack {
            self.rack.on_dsack(at.snd.snd_una, at.snd.snd_max);
        }
        self.rack.log.advance(at.snd.snd_una);
    }

    fn leave_if_full(&mut self, at: &Moment, cw: &mut Cwnd, rec: &mut Recovery, has_moved: bool) {
        if rec.phase == Phase::Open || !has_moved || at.snd.snd_una.before(rec.recover) {
            return;
        }
        if rec.phase == Phase::FastRecovery {
            // RFC 9937 6: the window ends at the threshold.
            cw.cwnd = cw.ssthresh;
        }
        rec.phase = Phase::Open;
        self.rack.on_recovered();
    }

    /// RFC 8985 6.2 step 5, RFC 6675 `IsLost`: which holes count as lost, for the first time or again.
    fn detect(&mut self, at: &Moment, rec: &Recovery, dup_threshold: u8) -> Found {
        let enough = u32::from(dup_threshold.saturating_sub(1)) * at.smss;
        let reo_wnd_us = self.rack.reo_wnd_us(&ReoInput {
            is_recovering: rec.phase != Phase::Open,
            has_dup_thresh: rec.dup_acks >= dup_threshold || self.board.sacked_bytes() > enough,
            srtt_us: at.srtt_us,
        });
        let mut found = Found::default();
        let rack = self.rack;
        for (bounds, hole) in self.board.holes_mut(&at.snd) {
            let resent_end = hole.rxt_end.earlier(bounds.end);
            if !hole.is_lost {
                // Something above is delivered, which was sent later.
                match rack.judge_first(bounds.end, reo_wnd_us, (at.srtt_us, at.now_us)) {
                    Ok(()) => (hole.is_lost, found.has_lost) = (true, true),
                    Err(wait_us) => found.add_wait(wait_us),
                }
            } else if resent_end.after(bounds.start) {
                match rack.judge(hole.rxt_us, reo_wnd_us, at.now_us) {
                    Ok(()) => (hole.rxt_end, found.has_lost) = (bounds.start, true),
                    Err(Some(wait_us)) => found.add_wait(wait_us),
                    Err(None) => {}
                }
            }
        }
        found
    }

    /// Fast recovery begins. Before the acknowledgment that says so: what was not acknowledged, and of that not reported.
    fn enter(&mut self, at: &Moment, cw: &mut Cwnd, rec: &mut Recovery, (outstanding, flight): (u32, u32)) {
        let in_use = cw.flight_size(outstanding, flight);
        self.control.on_congestion(cw, in_use, at.smss);
        // RFC 9937 6.1: RecoverFS is without what was reported before.
        self.prr = Prr::start(cw.ssthresh, flight);
        rec.phase = Phase::FastRecovery;
        rec.recover = at.snd.snd_max;
        // RFC 8985 7.1: what a probe repairs from here on is this loss.
        self.tlp = Tlp::default();
    }

    /// The window grows for `acked` bytes that were delivered while all is well.
    fn grow(&mut self, at: &Moment, cw: &mut Cwnd, acked: u32, flight: u32, ack: &AckEvent<'_>) {
        let (smss, srtt_us, now_us) = (at.smss, at.srtt_us, at.now_us);
        let mut growth = Growth { acked, flight, smss, srtt_us, now_us };
        // RFC 9406 4.3: the first slow start, the only one that does not know where to end.
        let is_first = cw.is_slow_start() && cw.ssthresh >= MAX_CWND;
        let Some(hystart) = self.hystart.as_mut().filter(|_| is_first) else {
            return self.control.on_ack(cw, &growth);
        };
        growth.acked >>= hystart.shift();
        let is_used = cw.is_used(flight);
        self.control.on_ack(cw, &growth);
        if is_used && hystart.on_ack(&Sample::new(acked, smss, ack.rtt_us, ack.echo_ms)) {
            cw.ssthresh = cw.cwnd;
        }
    }

    /// The peer echoes a congestion mark, the first of this window of data ([`crate::ecn`]).
    pub fn on_mark(&mut self, at: &Moment, cw: &mut Cwnd, rec: &Recovery) {
        // RFC 3168 6.1.2: a recovery has reduced the window already.
        if rec.phase == Phase::Open {
            let in_use = self.flight_size(at, cw);
            self.control.on_congestion(cw, in_use, at.smss);
            cw.cwnd = cw.ssthresh;
        }
    }

    /// What a reduction is taken from when no acknowledgment changes it.
    fn flight_size(&self, at: &Moment, cw: &Cwnd) -> u32 {
        let outstanding = at.snd.flight_size();
        cw.flight_size(outstanding, outstanding.saturating_sub(self.board.sacked_bytes()))
    }

    /// The wait for reordered segments is over; as [`LossRecovery::on_ack`], without an acknowledgment.
    pub fn on_reorder_timer(
        &mut self,
        at: &Moment,
        cw: &mut Cwnd,
        rec: &mut Recovery,
        threshold: u8,
    ) -> AckResult {
        let ack = AckEvent {
            una_before: at.snd.snd_una,
            blocks: &[],
            is_duplicate: false,
            rtt_us: None,
            echo_ms: None,
            dup_threshold: threshold,
        };
        self.on_ack(at, cw, rec, &ack)
    }

    /// The retransmission timer fired. `is_first` is false for repeated expiries without progress.
    pub fn on_rto(&mut self, at: &Moment, cw: &mut Cwnd, rec: &mut Recovery, is_first: bool) {
        // RFC 5681 3.1 (7): once per loss; a recovery that fails has reduced already.
        if is_first && rec.phase == Phase::Open {
            let in_use = self.flight_size(at, cw);
            self.control.on_congestion(cw, in_use, at.smss);
        }
        self.control.on_timeout();
        if !is_first || self.board.has_first(at.snd.snd_una) {
            // RFC 2018 8: the peer may have reneged, and what lies at the left edge goes out again, reported or not.
            self.board.clear(at.snd.snd_una);
        }
        self.board.mark_all_lost(&at.snd);
        self.tlp = Tlp::default();
        cw.cwnd = at.smss;
        cw.acked_sum = 0;
        rec.phase = Phase::RtoRecovery;
        rec.recover = at.snd.snd_max;
        rec.dup_acks = 0;
    }

    /// The window was closed, and what was in flight was most likely dropped by the peer: all of it goes out again.
    pub fn on_window_opened(&mut self, snd: &SendVars) {
        self.board.clear(snd.snd_una);
        self.board.mark_all_lost(snd);
    }

    /// True if nothing is reported, lost or probed: a device that works on losses alone hears no more of the connection.
    #[must_use]
    pub fn is_calm(&self, snd: &SendVars, rec: &Recovery) -> bool {
        rec.phase == Phase::Open && self.board.is_quiet(snd) && !self.tlp.is_outstanding
    }

    /// Which deadline the timer has, and in how many microseconds. `rto_us` with its back-off.
    #[must_use]
    pub fn timer(&self, at: &Moment, rec: &Recovery, wait_us: Option<u32>, rto_us: u32) -> (TimerKind, u32) {
        if let Some(wait_us) = wait_us {
            return (TimerKind::Reorder, wait_us.min(rto_us));
        }
        let may_probe = rec.phase == Phase::Open && self.board.is_empty() && !self.tlp.is_outstanding;
        if !may_probe || at.srtt_us == 0 {
            return (TimerKind::Rto, rto_us);
        }
        let input = PtoInput { srtt_us: at.srtt_us, flight: at.snd.flight_size(), smss: at.smss, rto_us };
        // RFC 8985 7.2: not after the timeout would come, and then in its place.
        (TimerKind::Probe, pto_us(&input))
    }

    /// The lost bytes to send again now, if the window has room; the first of a silent connection always go.
    #[must_use]
    pub fn next_resend(&self, snd: &SendVars, cw: &Cwnd, smss: u32) -> Option<SeqRange> {
        let part = self.board.next_lost(snd, smss)?;
        let pipe = self.board.pipe(snd);
        (pipe == 0 || pipe + part.len() <= cw.cwnd).then_some(part)
    }

    /// Bytes of new text that the congestion window has room for.
    #[must_use]
    pub fn room(&self, snd: &SendVars, cw: &Cwnd) -> u32 {
        cw.cwnd.saturating_sub(self.board.pipe(snd))
    }

    /// New text (or FIN) was sent; `at.snd` is what it is afterwards.
    pub fn on_send(&mut self, at: &Moment, rec: &Recovery, len: u32) {
        self.rack.log.on_send(at.snd.snd_max, at.now_us, Rack::spacing_us(at.srtt_us));
        if rec.phase == Phase::FastRecovery {
            self.prr.on_send(len);
        }
    }

    /// Lost bytes were sent again.
    pub fn on_resend(&mut self, rec: &Recovery, part: SeqRange, now_us: u32) {
        self.board.on_resend(part, now_us);
        self.rack.log.split();
        if rec.phase == Phase::FastRecovery {
            self.prr.on_send(part.len());
        }
    }

    /// RFC 8985 7.3 (2): the wait for a probe is over; is one to be sent? Else probes would keep round trips from being measured. (1), one at
    /// a time, keeps the wait from beginning.
    #[must_use]
    pub fn may_send_probe(&self) -> bool {
        !self.owes_rtt
    }

    /// A probe was sent; `snd_max` is what it is afterwards.
    pub fn on_probe(&mut self, snd_max: SeqNum, is_resent: bool) {
        self.tlp.on_probe(snd_max, is_resent);
        self.owes_rtt = true;
        self.rack.log.split();
    }
}

#[cfg(test)]
mod tests;
