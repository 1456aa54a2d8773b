use super::*;
use crate::recovery::DUP_ACK_THRESHOLD;
use proptest::prelude::*;
use std::vec::Vec;

const SMSS: u32 = 1000;
const RTT_US: u32 = 100_000;

fn range(start: u32, end: u32) -> SeqRange {
    SeqRange { start: SeqNum(start), end: SeqNum(end) }
}

/// A sender with its clock.
struct Sender {
    loss: LossRecovery,
    cw: Cwnd,
    rec: Recovery,
    snd: SendVars,
    now_us: u32,
}

impl Sender {
    /// `segments` were sent a millisecond apart, the window is as large; then a round trip has passed.
    fn new(segments: u32) -> Sender {
        let cwnd = segments * SMSS;
        let mut this = Sender {
            loss: LossRecovery::new(&SendVars::default(), Control::NewReno),
            cw: Cwnd { cwnd, ssthresh: cwnd, acked_sum: 0 },
            rec: Recovery::new(SeqNum(0)),
            snd: SendVars::default(),
            now_us: 5_000_000,
        };
        for _ in 0..segments {
            this.send();
            this.now_us += 1000;
        }
        this.now_us += RTT_US - segments * 1000;
        this
    }

    fn at(&self) -> Moment {
        Moment { snd: self.snd, smss: SMSS, srtt_us: RTT_US, now_us: self.now_us }
    }

    fn send(&mut self) {
        self.snd.snd_max += SMSS;
        self.snd.snd_nxt = self.snd.snd_max;
        self.loss.on_send(&self.at(), &self.rec, SMSS);
    }

    /// An acknowledgment a millisecond later.
    fn ack(&mut self, una: u32, blocks: &[SeqRange]) -> AckResult {
        self.now_us += 1000;
        let una_before = self.snd.snd_una;
        self.snd.snd_una = SeqNum(una);
        let is_duplicate = una_before == self.snd.snd_una;
        let rtt_us = (!is_duplicate).then_some(RTT_US);
        let ack = AckEvent {
            una_before,
            blocks,
            is_duplicate,
            rtt_us,
            echo_ms: None,
            dup_threshold: DUP_ACK_THRESHOLD,
        };
        self.loss.on_ack(&self.at(), &mut self.cw, &mut self.rec, &ack)
    }

    /// Sends all that may be sent: lost parts; then new segments, whose number is second.
    fn output(&mut self) -> (Vec<SeqRange>, u32) {
        let (mut lost, mut fresh) = (Vec::new(), 0);
        while let Some(part) = self.loss.next_resend(&self.snd, &self.cw, SMSS) {
            self.loss.on_resend(&self.rec, part, self.now_us);
            lost.push(part);
        }
        while self.loss.room(&self.snd, &self.cw) >= SMSS {
            self.send();
            fresh += 1;
        }
        (lost, fresh)
    }
}

/// RFC 3042, RFC 6675 5 (3): reported segments have left the network.
#[test]
fn limited_transmit_sends_new_text_for_the_first_reports() {
    let mut s = Sender::new(10);
    for n in 1..=2 {
        assert!(!s.ack(0, &[range(1000, 1000 + n * SMSS)]).has_entered);
        assert_eq!(s.output(), (Vec::new(), 1));
    }
    assert!(s.ack(0, &[range(1000, 4000)]).has_entered, "the third");
    assert_eq!(s.output().0, [range(0, 1000)]);
    assert_eq!((s.rec.phase, s.rec.recover), (Phase::FastRecovery, SeqNum(12_000)));
}

#[test]
fn two_losses_of_one_flight_are_repaired_in_one_recovery_with_one_reduction() {
    let mut s = Sender::new(20);
    let (mut resent, mut fresh) = (Vec::new(), 0);
    for n in 2..20 {
        let low = range(1000, (n * SMSS).min(5000));
        let high = range(6000, n * SMSS);
        let blocks = if n > 6 { [high, low].to_vec() } else { [low].to_vec() };
        s.ack(0, &blocks);
        let (lost, new) = s.output();
        resent.extend(lost);
        fresh += new;
    }
    assert_eq!(resent, [range(0, 1000), range(5000, 6000)]);
    assert_eq!(s.cw.ssthresh, 10_000);
    // 19 delivered or lost, half of that was sent: 2 again, the rest new.
    assert!((8..=11).contains(&(fresh + 2)), "{fresh}");
    s.now_us += RTT_US;
    s.ack(5000, &[range(6000, 20_000)]);
    assert_eq!(s.rec.phase, Phase::FastRecovery, "a partial acknowledgment");
    s.ack(s.rec.recover.0, &[]);
    assert_eq!((s.rec.phase, s.cw.cwnd), (Phase::Open, 10_000));
}

/// RFC 8985 1, 6.2: what RFC 6675 leaves to the timeout.
#[test]
fn a_lost_retransmission_is_sent_again_when_something_sent_later_arrives() {
    let mut s = Sender::new(10);
    for n in 2..=4 {
        s.ack(0, &[range(1000, n * SMSS)]);
    }
    assert_eq!(s.output().0, [range(0, 1000)]);
    for n in 5..=10 {
        s.ack(0, &[range(1000, n * SMSS)]);
        assert!(s.output().0.is_empty(), "nothing sent after it has arrived yet");
    }
    let fresh_end = s.snd.snd_max.0;
    assert!(fresh_end > 10_000);
    s.now_us += RTT_US;
    s.ack(0, &[range(1000, 11_000)]);
    assert_eq!(s.output().0, [range(0, 1000)]);
    assert_eq!(s.cw.ssthresh, 5000, "half of ten, no second reduction");
}

/// RFC 8985 6.3: fewer than three reports, so only the time says it.
#[test]
fn a_short_flight_waits_a_quarter_of_the_round_trip_and_then_repairs() {
    let mut s = Sender::new(3);
    s.loss.rack.on_rtt(RTT_US, s.now_us);
    let result = s.ack(0, &[range(1000, 3000)]);
    let (kind, us) = s.loss.timer(&s.at(), &s.rec, result.wait_us, 300_000);
    assert_eq!((kind, s.output()), (TimerKind::Reorder, (Vec::new(), 2)));
    assert!((20_000..60_000).contains(&us), "{us}");
    s.now_us += us;
    let result = s.loss.on_reorder_timer(&s.at(), &mut s.cw, &mut s.rec, DUP_ACK_THRESHOLD);
    assert!(result.has_entered);
    assert_eq!(s.output().0, [range(0, 1000)]);
}

#[test]
fn a_segment_that_is_only_late_is_not_sent_again_once_reordering_was_seen() {
    let mut s = Sender::new(10);
    s.loss.rack.on_rtt(RTT_US, s.now_us);
    s.ack(0, &[range(1000, 2000)]);
    s.ack(2000, &[]);
    assert!(s.loss.rack.is_reordering_seen);
    for n in 4..=8 {
        let result = s.ack(2000, &[range(3000, n * SMSS)]);
        assert!(!result.has_entered && result.wait_us.is_some(), "{n}");
    }
    s.ack(8000, &[]);
    assert_eq!(s.rec.phase, Phase::Open);
}

/// RFC 8985 6.2 step 3: only what was never sent again shows reordering; not a retransmission that counts as lost once more.
#[test]
fn a_retransmission_that_comes_after_all_shows_no_reordering() {
    let mut s = Sender::new(10);
    s.ack(0, &[range(1000, 4000)]);
    assert_eq!(s.output().0, [range(0, 1000)]);
    s.now_us += 2000;
    s.send();
    s.now_us += RTT_US;
    s.ack(0, &[range(1000, 11_000)]);
    assert_eq!(s.loss.next_resend(&s.snd, &s.cw, SMSS), Some(range(0, 1000)), "lost again");
    s.ack(11_000, &[]);
    assert!(!s.loss.rack.is_reordering_seen);
    // What is sent from here on has nothing to do with it.
    (0..3).for_each(|_| s.send());
    s.ack(11_000, &[range(12_000, 13_000)]);
    s.ack(13_000, &[]);
    assert!(s.loss.rack.is_reordering_seen);
}

/// A retransmission of the tail, long acknowledged, hides nothing.
#[test]
fn reordering_is_seen_after_a_timeout_that_is_over() {
    let mut s = Sender::new(2);
    s.loss.on_rto(&s.at(), &mut s.cw, &mut s.rec, true);
    s.output();
    s.now_us += RTT_US;
    s.ack(2000, &[]);
    (0..3).for_each(|_| s.send());
    s.ack(2000, &[range(3000, 4000)]);
    s.ack(4000, &[]);
    assert!(s.loss.rack.is_reordering_seen);
}

/// RFC 8985 7.
#[test]
fn the_probe_of_a_lost_tail_shows_the_loss_and_recovery_begins_without_a_timeout() {
    let mut s = Sender::new(5);
    s.ack(2000, &[]);
    let (kind, us) = s.loss.timer(&s.at(), &s.rec, None, 1_000_000);
    assert_eq!((kind, us), (TimerKind::Probe, 2 * RTT_US));
    s.now_us += us;
    s.loss.on_probe(s.snd.snd_max, true);
    assert_eq!(s.loss.timer(&s.at(), &s.rec, None, 1_000_000).0, TimerKind::Rto, "one probe");
    s.now_us += RTT_US;
    // The probe was the segment [4000, 5000): what is below is lost. Two segments: by time.
    let result = s.ack(2000, &[range(4000, 5000)]);
    assert!(result.has_entered || result.wait_us.is_some());
    s.now_us += RTT_US;
    s.loss.on_reorder_timer(&s.at(), &mut s.cw, &mut s.rec, DUP_ACK_THRESHOLD);
    assert_eq!(s.output().0[0], range(2000, 3000));
    assert_eq!(s.rec.phase, Phase::FastRecovery);
}

/// RFC 8985 7.3 (2).
#[test]
fn no_probe_follows_another_without_a_round_trip_between_them() {
    let mut s = Sender::new(5);
    assert!(s.loss.may_send_probe());
    s.loss.on_probe(s.snd.snd_max, true);
    // Karn: a probe that was a retransmission ends the measurement.
    s.snd.snd_una = s.snd.snd_max;
    let at = s.at();
    let ack = AckEvent {
        una_before: SeqNum(0),
        blocks: &[],
        is_duplicate: false,
        rtt_us: None,
        echo_ms: None,
        dup_threshold: 3,
    };
    s.loss.on_ack(&at, &mut s.cw, &mut s.rec, &ack);
    s.ack(5000, &[]);
    assert!(!s.loss.tlp.is_outstanding && !s.loss.may_send_probe());
    s.send();
    s.ack(6000, &[]);
    assert!(s.loss.may_send_probe());
}

/// RFC 8985 7.2: PTO = min(PTO, time until the RTO).
#[test]
fn a_probe_that_would_come_after_the_timeout_takes_its_place() {
    let mut s = Sender::new(5);
    s.ack(2000, &[]);
    for rto_us in [2 * RTT_US - 1, 2 * RTT_US, 2 * RTT_US + 1] {
        let us = rto_us.min(2 * RTT_US);
        assert_eq!(s.loss.timer(&s.at(), &s.rec, None, rto_us), (TimerKind::Probe, us));
    }
    s.loss.on_probe(s.snd.snd_max, true);
    assert_eq!(s.loss.timer(&s.at(), &s.rec, None, RTT_US), (TimerKind::Rto, RTT_US), "then the timeout");
}

#[test]
fn a_probe_that_repaired_the_loss_reduces_the_window() {
    let mut s = Sender::new(10);
    s.ack(9000, &[]);
    s.loss.on_probe(s.snd.snd_max, true);
    s.send();
    s.now_us += RTT_US;
    let before = s.cw.cwnd;
    s.ack(11_000, &[]);
    assert!(s.cw.cwnd < before && s.rec.phase == Phase::Open, "{}", s.cw.cwnd);
}

/// RFC 8985 7.1: fast recovery ends the probe's episode, so its end is no second loss.
#[test]
fn what_a_probe_found_reduces_the_window_once() {
    let mut s = Sender::new(40);
    s.ack(20_000, &[]);
    s.loss.on_probe(s.snd.snd_max, true);
    s.loss.on_resend(&s.rec, range(39_000, 40_000), s.now_us);
    s.now_us += RTT_US;
    s.ack(20_000, &[range(39_000, 40_000)]);
    assert_eq!(s.rec.phase, Phase::FastRecovery);
    let reduced = s.cw.ssthresh;
    s.now_us += RTT_US;
    s.ack(40_000, &[]);
    s.send();
    s.now_us += RTT_US;
    s.ack(41_000, &[]);
    assert_eq!((s.rec.phase, s.cw.ssthresh), (Phase::Open, reduced));
}

/// RFC 6675 5 (4.2), RFC 5681 3.2 (2): what was reported counts, what limited transmit sent does not.
#[test]
fn the_threshold_is_half_of_all_that_is_not_acknowledged_but_for_limited_transmit() {
    for has_text in [false, true] {
        let mut s = Sender::new(10);
        for end in [2000, 3000, 4000] {
            s.ack(0, &[range(1000, end)]);
            if has_text && end < 4000 {
                assert_eq!(s.output(), (Vec::new(), 1), "limited transmit");
            }
        }
        assert_eq!((s.rec.phase, s.cw.ssthresh), (Phase::FastRecovery, 5000), "{has_text}");
        // RFC 9937 6.1: RecoverFS is without what was reported before.
        let recover_fs = if has_text { 10_000 } else { 8000 };
        assert_eq!(s.loss.prr.rate, (5000 << 16) / recover_fs);
    }
}

#[test]
fn a_mark_reduces_like_a_loss_but_not_during_a_recovery() {
    let mut s = Sender::new(10);
    s.loss.on_mark(&s.at(), &mut s.cw, &s.rec);
    assert_eq!((s.cw.cwnd, s.cw.ssthresh), (5000, 5000));
    s.ack(0, &[range(1000, 4000)]);
    let ssthresh = s.cw.ssthresh;
    s.loss.on_mark(&s.at(), &mut s.cw, &s.rec);
    assert_eq!(s.cw.ssthresh, ssthresh);
}

/// RFC 5681 3.1 (7), RFC 6675 5.1.
#[test]
fn a_timeout_sends_everything_again_but_what_was_reported() {
    let mut s = Sender::new(6);
    s.ack(0, &[range(2000, 3000)]);
    s.loss.on_rto(&s.at(), &mut s.cw, &mut s.rec, true);
    assert_eq!((s.cw.cwnd, s.output()), (SMSS, ([range(0, 1000)].to_vec(), 0)));
    let (mut una, mut resent) = (1000, Vec::new());
    while una < 6000 {
        s.now_us += RTT_US;
        s.ack(una, &[]);
        resent.extend(s.output().0);
        una = resent.last().map_or(6000, |part: &SeqRange| part.end.0);
    }
    assert_eq!(resent, [range(1000, 2000), range(3000, 4000), range(4000, 5000), range(5000, 6000)]);
    s.ack(6000, &[]);
    assert_eq!(s.rec.phase, Phase::Open);
    // A second expiry without progress: the peer may have forgotten what it reported.
    let mut s = Sender::new(6);
    s.ack(0, &[range(2000, 3000)]);
    s.loss.on_rto(&s.at(), &mut s.cw, &mut s.rec, true);
    s.loss.on_rto(&s.at(), &mut s.cw, &mut s.rec, false);
    assert!(s.loss.board.is_empty() && s.cw.ssthresh == 3000);
}

/// RFC 2018 8: after a timeout the left edge goes out again, whether or not it was reported.
#[test]
fn a_timeout_sends_the_left_edge_again_also_if_it_was_reported() {
    let mut s = Sender::new(6);
    s.ack(0, &[range(1000, 4000)]);
    s.ack(2000, &[]);
    assert_eq!(s.loss.board.ranges(), [range(2000, 4000)], "the peer had less than it reported");
    s.loss.on_rto(&s.at(), &mut s.cw, &mut s.rec, true);
    assert!(s.loss.board.is_empty());
    assert_eq!(s.output().0, [range(2000, 3000)]);
}

#[test]
fn a_connection_handed_over_while_it_went_back_goes_on_there() {
    let snd = SendVars { snd_nxt: SeqNum(5000), snd_max: SeqNum(5000), ..SendVars::default() };
    let at = Moment { snd, smss: SMSS, srtt_us: RTT_US, now_us: 9 };
    let cw = Cwnd { cwnd: 10_000, ssthresh: 5000, acked_sum: 0 };
    let resume = |from| {
        let loss = LossRecovery::handed_over(&at, Control::default(), &cw, Phase::RtoRecovery, SeqNum(from));
        (loss.next_resend(&snd, &cw, SMSS), loss.board.pipe(&snd))
    };
    assert_eq!(resume(2000), (Some(range(2000, 3000)), 2000));
    assert_eq!(resume(0), (Some(range(0, 1000)), 0));
    assert_eq!(resume(5000), (None, 5000));
}

proptest! {
    #![proptest_config(crate::test_seed::config())]

    /// Whatever arrives in whatever order, every byte gets through and the window stays sane.
    #[test]
    fn a_lossy_path_delivers_everything(
        losses in proptest::collection::vec(0u8..100, 400), percent in 0u8..40, is_cubic: bool,
    ) {
        let mut s = Sender::new(10);
        s.loss.control = Control::new(if is_cubic { crate::congestion::Algorithm::Cubic } else { crate::congestion::Algorithm::NewReno });
        let total = 60 * SMSS;
        let mut received = [false; 60];
        (0..10).for_each(|i| received[i] = losses[i] >= percent);
        let (mut draws, mut expiries) = (losses.iter().cycle().skip(10), 0);
        for round in 0..3000u32 {
            let una = received.iter().position(|got| !got).map_or(total, |i| i as u32 * SMSS);
            let before = s.snd.snd_una;
            // The three highest runs above, as a receiver reports them.
            let mut blocks = Vec::new();
            let mut at = una / SMSS;
            while at < 60 {
                if received[at as usize] {
                    let end = (at..60).find(|i| !received[*i as usize]).unwrap_or(60);
                    blocks.insert(0, range(at * SMSS, end * SMSS));
                    at = end;
                }
                at += 1;
            }
            blocks.truncate(3);
            s.now_us += 10_000;
            s.ack(una, &blocks);
            if una == total {
                return Ok(());
            }
            let is_stuck = before.0 == una && round % 4 == 3;
            if is_stuck {
                s.now_us += 300_000;
                expiries += 1;
                s.loss.on_rto(&s.at(), &mut s.cw, &mut s.rec, expiries == 1);
            } else if before.0 != una {
                expiries = 0;
            }
            let mut deliver = |part: SeqRange| {
                for i in part.start.0 / SMSS..part.end.0.div_ceil(SMSS) {
                    received[i as usize] |= draws.next().is_some_and(|d| *d >= percent);
                }
            };
            while let Some(part) = s.loss.next_resend(&s.snd, &s.cw, SMSS) {
                prop_assert!(part.start.at_or_after(s.snd.snd_una) && part.end.at_or_before(s.snd.snd_max));
                s.loss.on_resend(&s.rec, part, s.now_us);
                deliver(part);
            }
            while s.loss.room(&s.snd, &s.cw) >= SMSS && s.snd.snd_max.0 < total {
                let start = s.snd.snd_max;
                s.send();
                deliver(SeqRange::new(start, SMSS));
            }
            prop_assert!(s.cw.cwnd <= 200 * SMSS && s.loss.board.pipe(&s.snd) <= s.snd.flight_size());
        }
        prop_assert!(false, "not delivered: {:?} {:?} {:?}", s.snd, s.cw, s.rec);
    }
}
