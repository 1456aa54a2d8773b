//! Loss recovery: fast retransmit and NewReno fast recovery (RFC 5681 3.2, RFC 6582), limited transmit
//! (RFC 3042), and what a timeout does to both. With SACK the same phases are used, but the amount in
//! flight is counted by the scoreboard (RFC 6675), so the window is not inflated.
//!
//! ```text
//!            3rd duplicate ACK, snd_una != recover
//!   Open ------------------------------------> FastRecovery --- ACK >= recover ---> Open
//!    |  \                                             |
//!    |   `------------------ RTO --------------------.|
//!    |                                               v
//!    `<------------ ACK >= recover ---------- RtoRecovery     snd_nxt = snd_una (go back)
//! ```

use crate::ack::SendVars;
use crate::cwnd::Cwnd;
pub use chimney_abi::cmd::Phase;
use chimney_abi::SeqNum;

/// Duplicate ACKs that make a segment count as lost (RFC 5681).
pub const DUP_ACK_THRESHOLD: u8 = 3;

/// Loss recovery variables of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// The phase.
    pub phase: Phase,
    /// Recovery ends when SND.UNA reaches this: SND.MAX at the moment of the loss. RFC 6582 means the byte before it, the last
    /// one sent.
    pub recover: SeqNum,
    /// Duplicate ACKs for SND.UNA so far (R-082 `DupAckCount`).
    pub dup_acks: u8,
}

/// What a duplicate ACK asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DupAckAction {
    /// Nothing.
    None,
    /// One more new segment may go out ([`Recovery::send_limit`] has grown).
    MaySendNew,
    /// Recovery begins: retransmit the segment at SND.UNA now.
    FastRetransmit,
}

/// What a new ACK asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewAckAction {
    /// Go on.
    None,
    /// A partial ACK in fast recovery: without SACK, retransmit the segment at SND.UNA now.
    RetransmitFirst,
    /// Recovery is over.
    Done,
}

impl Recovery {
    /// The values of a connection whose first sequence number is `iss`.
    #[must_use]
    pub fn new(iss: SeqNum) -> Recovery {
        Recovery { phase: Phase::Open, recover: iss, dup_acks: 0 }
    }

    /// A duplicate ACK arrived; without SACK `sack` is its default.
    pub fn on_dup_ack(&mut self, snd: &SendVars, cw: &mut Cwnd, smss: u32, sack: SackView) -> DupAckAction {
        self.dup_acks = self.dup_acks.saturating_add(1);
        match self.phase {
            Phase::FastRecovery => {
                // RFC 5681 3.2 (4): each further duplicate is a segment that left the network.
                if !sack.is_enabled {
                    cw.cwnd += smss;
                }
                DupAckAction::MaySendNew
            }
            Phase::RtoRecovery => DupAckAction::None,
            Phase::Open => self.on_dup_ack_open(snd, cw, smss, sack),
        }
    }

    fn on_dup_ack_open(&mut self, snd: &SendVars, cw: &mut Cwnd, smss: u32, sack: SackView) -> DupAckAction {
        if self.dup_acks < DUP_ACK_THRESHOLD && !sack.first_is_lost {
            return DupAckAction::MaySendNew;
        }
        // RFC 6582 3.2 (2), 4: do not enter twice for one window of data; SND.UNA has to cover more than that. It is never
        // below while the phase is Open, and a point long passed comes back after half of the sequence space.
        if snd.snd_una == self.recover {
            return DupAckAction::None;
        }
        self.phase = Phase::FastRecovery;
        self.recover = snd.snd_max;
        // Limited transmit sent two segments at most.
        let flight = snd.flight_size();
        cw.reduce_ssthresh(cw.flight_size(flight, flight.saturating_sub(2 * smss)), smss);
        let inflation = if sack.is_enabled { 0 } else { u32::from(DUP_ACK_THRESHOLD) * smss };
        cw.cwnd = cw.ssthresh + inflation;
        DupAckAction::FastRetransmit
    }

    /// SND.UNA moved by `acked` bytes; `snd` holds the new values, `flight` the old FlightSize.
    pub fn on_new_ack(
        &mut self,
        snd: &SendVars,
        cw: &mut Cwnd,
        acked: u32,
        flight: u32,
        step: GrowthStep,
    ) -> NewAckAction {
        self.dup_acks = 0;
        let is_full = snd.snd_una.at_or_after(self.recover);
        match self.phase {
            Phase::Open => {
                cw.grow(acked, flight, step.smss, 2);
                NewAckAction::None
            }
            Phase::RtoRecovery => {
                // RFC 3465 2.3: L = 1 while repairing after a timeout.
                cw.grow(acked, flight, step.smss, 1);
                self.leave_if(is_full)
            }
            Phase::FastRecovery if is_full => {
                // RFC 6582 3.2 (3), full acknowledgment, option 1: no burst after recovery.
                cw.cwnd = cw.ssthresh.min(snd.flight_size().max(step.smss) + step.smss);
                self.leave_if(true)
            }
            Phase::FastRecovery => {
                if !step.is_sack {
                    // RFC 6582 3.2 (3), partial: deflate by what was acknowledged, add one segment back.
                    cw.cwnd = cw.cwnd.saturating_sub(acked);
                    if acked >= step.smss {
                        cw.cwnd += step.smss;
                    }
                    cw.cwnd = cw.cwnd.max(step.smss);
                }
                NewAckAction::RetransmitFirst
            }
        }
    }

    fn leave_if(&mut self, is_full: bool) -> NewAckAction {
        if is_full {
            self.phase = Phase::Open;
            NewAckAction::Done
        } else {
            NewAckAction::None
        }
    }

    /// The retransmission timer fired. `is_first` is false for repeated expiries without progress.
    ///
    /// RFC 5681 3.1 (7): the threshold is set once per loss, the window falls to one segment. The
    /// caller sets SND.NXT to SND.UNA, drops its scoreboard and backs the timer off.
    pub fn on_rto(&mut self, snd: &SendVars, cw: &mut Cwnd, smss: u32, is_first: bool) {
        if is_first {
            cw.reduce_ssthresh(snd.flight_size(), smss);
        }
        cw.cwnd = smss;
        self.phase = Phase::RtoRecovery;
        self.recover = snd.snd_max;
        self.dup_acks = 0;
    }

    /// Bytes that may be in flight: `cwnd`, and up to two segments more before recovery begins
    /// (RFC 3042 2).
    #[must_use]
    pub fn send_limit(&self, cw: &Cwnd, smss: u32) -> u32 {
        match self.phase {
            Phase::Open => cw.cwnd + u32::from(self.dup_acks.min(DUP_ACK_THRESHOLD - 1)) * smss,
            Phase::FastRecovery | Phase::RtoRecovery => cw.cwnd,
        }
    }
}

/// What the scoreboard says when a duplicate ACK arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct SackView {
    /// SACK was negotiated.
    pub is_enabled: bool,
    /// The scoreboard calls the first unacknowledged byte lost (RFC 6675 `IsLost`).
    pub first_is_lost: bool,
}

/// Constants of a connection that a new ACK needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GrowthStep {
    /// Sender's segment size.
    pub smss: u32,
    /// SACK was negotiated.
    pub is_sack: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMSS: u32 = 1000;
    const RENO: SackView = SackView { is_enabled: false, first_is_lost: false };
    const STEP: GrowthStep = GrowthStep { smss: SMSS, is_sack: false };

    fn sent(una: u32, max: u32) -> SendVars {
        SendVars { snd_una: SeqNum(una), snd_nxt: SeqNum(max), snd_max: SeqNum(max), ..SendVars::default() }
    }

    /// Verifies: R-245, R-249
    #[test]
    fn third_duplicate_starts_recovery_and_a_full_ack_ends_it() {
        let mut snd = sent(0, 10_000);
        let mut cw = Cwnd { cwnd: 10_000, ssthresh: 50_000, acked_sum: 0 };
        let mut rec = Recovery::new(SeqNum(u32::MAX));
        for _ in 0..2 {
            assert_eq!(rec.on_dup_ack(&snd, &mut cw, SMSS, RENO), DupAckAction::MaySendNew);
        }
        assert_eq!(rec.send_limit(&cw, SMSS), 12_000);
        assert_eq!(rec.on_dup_ack(&snd, &mut cw, SMSS, RENO), DupAckAction::FastRetransmit);
        assert_eq!((cw.ssthresh, cw.cwnd, rec.recover), (5000, 8000, SeqNum(10_000)));
        rec.on_dup_ack(&snd, &mut cw, SMSS, RENO);
        assert_eq!(cw.cwnd, 9000);
        snd.snd_una = SeqNum(4000);
        assert_eq!(rec.on_new_ack(&snd, &mut cw, 4000, 10_000, STEP), NewAckAction::RetransmitFirst);
        assert_eq!(cw.cwnd, 6000);
        snd.snd_una = SeqNum(10_000);
        assert_eq!(rec.on_new_ack(&snd, &mut cw, 6000, 6000, STEP), NewAckAction::Done);
        assert_eq!((cw.cwnd, rec.phase), (2000, Phase::Open));
    }

    /// RFC 5681 3.2 (2): limited transmit is no part of FlightSize.
    #[test]
    fn what_limited_transmit_sent_does_not_raise_the_threshold() {
        let mut cw = Cwnd { cwnd: 10_000, ssthresh: 50_000, acked_sum: 0 };
        let mut rec = Recovery::new(SeqNum(u32::MAX));
        for max in [10_000, 11_000, 12_000] {
            rec.on_dup_ack(&sent(0, max), &mut cw, SMSS, RENO);
        }
        assert_eq!((rec.phase, cw.ssthresh), (Phase::FastRecovery, 5000));
        // Right after a reduction more is in flight than the window.
        let mut cw = Cwnd { cwnd: 10_000, ssthresh: 10_000, acked_sum: 0 };
        let mut rec = Recovery { dup_acks: 2, ..Recovery::new(SeqNum(u32::MAX)) };
        rec.on_dup_ack(&sent(0, 20_000), &mut cw, SMSS, RENO);
        assert_eq!(cw.ssthresh, 9000);
    }

    /// RFC 6582 3.2 (2), 4: the acknowledgment has to cover more than `recover`.
    #[test]
    fn duplicates_of_a_window_already_repaired_start_nothing() {
        let mut snd = sent(0, 5000);
        let mut cw = Cwnd { cwnd: 5000, ssthresh: 50_000, acked_sum: 0 };
        let mut rec = Recovery::new(SeqNum(u32::MAX));
        rec.on_rto(&snd, &mut cw, SMSS, true);
        snd = sent(5000, 10_000);
        rec.on_new_ack(&snd, &mut cw, 5000, 5000, STEP);
        for _ in 0..5 {
            assert_ne!(rec.on_dup_ack(&snd, &mut cw, SMSS, RENO), DupAckAction::FastRetransmit);
        }
        assert_eq!((rec.phase, cw.ssthresh), (Phase::Open, 2500));
        // One byte more, and it is another window; also much later.
        for una in [5001, 5000 + (1 << 31), 4999] {
            let (mut rec, mut cw) = (Recovery { dup_acks: 2, ..rec }, cw);
            let snd = sent(una, una.wrapping_add(9000));
            assert_eq!(rec.on_dup_ack(&snd, &mut cw, SMSS, RENO), DupAckAction::FastRetransmit);
        }
    }

    #[test]
    fn timeout_sets_the_threshold_once() {
        let snd = sent(0, 10_000);
        let mut cw = Cwnd { cwnd: 10_000, ssthresh: 50_000, acked_sum: 0 };
        let mut rec = Recovery::new(SeqNum(u32::MAX));
        rec.on_rto(&snd, &mut cw, SMSS, true);
        assert_eq!((cw.ssthresh, cw.cwnd), (5000, 1000));
        cw.ssthresh = 4444;
        rec.on_rto(&snd, &mut cw, SMSS, false);
        assert_eq!(cw.ssthresh, 4444);
        assert_eq!(rec.on_dup_ack(&snd, &mut cw, SMSS, RENO), DupAckAction::None);
        let done = sent(10_000, 10_000);
        assert_eq!(rec.on_new_ack(&done, &mut cw, 10_000, 10_000, STEP), NewAckAction::Done);
    }

    #[test]
    fn sack_recovery_does_not_inflate_the_window() {
        let snd = sent(0, 10_000);
        let mut cw = Cwnd { cwnd: 10_000, ssthresh: 50_000, acked_sum: 0 };
        let mut rec = Recovery::new(SeqNum(u32::MAX));
        let view = SackView { is_enabled: true, first_is_lost: true };
        assert_eq!(rec.on_dup_ack(&snd, &mut cw, SMSS, view), DupAckAction::FastRetransmit);
        assert_eq!(cw.cwnd, 5000);
        rec.on_dup_ack(&snd, &mut cw, SMSS, view);
        assert_eq!(cw.cwnd, 5000);
    }
}
