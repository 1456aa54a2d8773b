//! HyStart++ (RFC 9406): slow start ends when the round trip grows, before the queue overflows.
//!
//! On a fast path a round ends in a full queue before its smallest round trip has grown. There the other sign of the original
//! HyStart (Ha and Rhee, 2011) comes first: acknowledgments that follow each other closely for half a round trip mean that
//! the path is half full, so a window of twice that fills it; slow start ends at once.
//!
//! ```text
//!   slow start --- smallest RTT of this round >= last round + threshold ---> conservative slow start (a quarter as fast)
//!       ^                                                                       |                 |
//!       `-------------- smallest RTT of a round below the baseline -------------'    rounds over --> avoidance
//! ```
//! Round trips come from the send log, so a round has a sample per acknowledgment. RFC 9406 compares the smallest of the whole
//! round, which its first segments decide: they met no queue. Here every eight samples are compared for themselves, so a queue
//! that grows within the round is seen within the round.
//!
//! Width: 32 `window_end`, 4 x 24 RTTs, 2 x 24 times, 4 samples, 3 rounds, 2 flags = 185 bits; used in slow start only.

use chimney_abi::SeqNum;

/// Bounds of the threshold, microseconds (MIN_RTT_THRESH, MAX_RTT_THRESH).
const MIN_THRESH_US: u32 = 4_000;
const MAX_THRESH_US: u32 = 16_000;
/// Samples before a round is judged (N_RTT_SAMPLE).
const SAMPLES: u8 = 8;
/// Rounds of conservative slow start (CSS_ROUNDS).
const CSS_ROUNDS: u8 = 5;
/// log2 of how much slower that is (CSS_GROWTH_DIVISOR).
const CSS_GROWTH_LOG2: u32 = 2;

/// Acknowledgments closer than this are a train.
const TRAIN_GAP_US: u32 = 2_000;
/// A shorter window is a burst, not a train, segments.
const LEAST_TRAIN: u32 = 16;

/// State of one slow start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct HyStart {
    /// End of the round; `None` before the first.
    window_end: Option<SeqNum>,
    /// Smallest round trip of the last round and of this one; 0 = none.
    last_min_us: u32,
    current_min_us: u32,
    /// Smallest of the present eight samples; 0 = none.
    group_min_us: u32,
    /// `cssBaselineMinRtt`.
    baseline_us: u32,
    samples: u8,
    /// When the round began, and the last acknowledgment of the train that began then.
    round_us: u32,
    train_us: u32,
    /// Rounds left of conservative slow start; 0 = not in it.
    css_rounds: u8,
}

/// An acknowledgment in slow start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Sample {
    /// SND.UNA after it.
    pub snd_una: SeqNum,
    /// SND.MAX.
    pub snd_max: SeqNum,
    /// Its round trip, if that is known.
    pub rtt_us: Option<u32>,
    /// Smallest round trip of the path; 0 = none yet.
    pub min_rtt_us: u32,
    /// Low bits of the clock.
    pub now_us: u32,
    /// Sender's segment size.
    pub smss: u32,
}

/// How the window may grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// By what was acknowledged.
    SlowStart,
    /// By that shifted right.
    Conservative(u32),
    /// Slow start is over: `ssthresh = cwnd`.
    Over,
}

impl HyStart {
    /// RFC 9406 4.2 for one acknowledgment.
    #[must_use]
    pub fn on_ack(&mut self, sample: &Sample) -> Pace {
        let is_new_round = self.window_end.is_none_or(|end| sample.snd_una.at_or_after(end));
        if is_new_round {
            self.window_end = Some(sample.snd_max);
            self.last_min_us = self.current_min_us;
            (self.current_min_us, self.group_min_us, self.samples) = (0, 0, 0);
            (self.round_us, self.train_us) = (sample.now_us, sample.now_us);
            if self.css_rounds > 0 {
                self.css_rounds -= 1;
                if self.css_rounds == 0 {
                    *self = HyStart::default();
                    return Pace::Over;
                }
            }
        }
        if self.is_long_train(sample) {
            *self = HyStart::default();
            return Pace::Over;
        }
        if let Some(rtt_us) = sample.rtt_us {
            let least = |old: u32| if old == 0 { rtt_us.max(1) } else { old.min(rtt_us.max(1)) };
            self.current_min_us = least(self.current_min_us);
            self.group_min_us = least(self.group_min_us);
            self.samples += 1;
        }
        if self.samples >= SAMPLES {
            self.judge();
            (self.group_min_us, self.samples) = (0, 0);
        }
        if self.css_rounds > 0 {
            Pace::Conservative(CSS_GROWTH_LOG2)
        } else {
            Pace::SlowStart
        }
    }

    fn is_long_train(&mut self, sample: &Sample) -> bool {
        let is_close = sample.now_us.wrapping_sub(self.train_us) <= TRAIN_GAP_US;
        if is_close {
            self.train_us = sample.now_us;
        }
        let is_window = sample.snd_max - sample.snd_una >= LEAST_TRAIN * sample.smss;
        let train_us = sample.now_us.wrapping_sub(self.round_us);
        is_close && is_window && sample.min_rtt_us > 0 && train_us > sample.min_rtt_us >> 1
    }

    fn judge(&mut self) {
        let (last, current) = (self.last_min_us, self.group_min_us);
        if self.css_rounds > 0 {
            if current < self.baseline_us {
                // It was a burst: slow start goes on.
                self.css_rounds = 0;
            }
        } else if last > 0 && current >= last + (last >> 3).clamp(MIN_THRESH_US, MAX_THRESH_US) {
            self.baseline_us = current;
            self.css_rounds = CSS_ROUNDS;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A round of ten acknowledgments with these round trips.
    fn round(hystart: &mut HyStart, number: u32, rtt_us: u32) -> Pace {
        let (start, end) = (SeqNum(number * 100), SeqNum(number * 100 + 100));
        let mut last = Pace::SlowStart;
        for i in 0..10 {
            let sample = Sample {
                snd_una: start + i,
                snd_max: end,
                rtt_us: Some(rtt_us + i * 100),
                ..Sample::default()
            };
            last = hystart.on_ack(&sample);
            if last == Pace::Over {
                break;
            }
        }
        last
    }

    #[test]
    fn a_growing_round_trip_slows_down_and_ends_after_five_rounds() {
        let mut h = HyStart::default();
        assert_eq!(round(&mut h, 0, 80_000), Pace::SlowStart);
        assert_eq!(round(&mut h, 1, 89_000), Pace::SlowStart, "9 ms are less than an eighth");
        assert_eq!(round(&mut h, 2, 101_000), Pace::Conservative(2));
        for number in 3..7 {
            assert_eq!(round(&mut h, number, 110_000), Pace::Conservative(2));
        }
        assert_eq!(round(&mut h, 7, 110_000), Pace::Over);
        assert_eq!(h, HyStart::default());
    }

    #[test]
    fn a_round_trip_that_falls_again_was_a_burst() {
        let mut h = HyStart::default();
        (0..2).for_each(|n| assert_eq!(round(&mut h, n, 20_000), Pace::SlowStart));
        assert_eq!(round(&mut h, 2, 25_000), Pace::Conservative(2));
        assert_eq!(round(&mut h, 3, 21_000), Pace::SlowStart);
    }

    #[test]
    fn a_queue_that_grows_within_a_round_is_seen_within_it() {
        let mut h = HyStart::default();
        assert_eq!(round(&mut h, 0, 20_000), Pace::SlowStart);
        let paces = [20_000, 21_000, 24_500].map(|rtt_us| {
            let sample = Sample { snd_una: SeqNum(150), snd_max: SeqNum(999), ..Sample::default() };
            let sample = Sample { rtt_us: Some(rtt_us), ..sample };
            let last = (0..8).map(|_| h.on_ack(&sample)).last();
            last.expect("eight")
        });
        assert_eq!(paces, [Pace::SlowStart, Pace::SlowStart, Pace::Conservative(2)]);
    }

    #[test]
    fn a_few_samples_or_the_first_round_say_nothing() {
        let mut h = HyStart::default();
        assert_eq!(round(&mut h, 0, 500_000), Pace::SlowStart);
        for i in 0..7 {
            let (snd_una, snd_max) = (SeqNum(100 + i), SeqNum(300));
            let sample = Sample { snd_una, snd_max, rtt_us: Some(900_000), ..Sample::default() };
            assert_eq!(h.on_ack(&sample), Pace::SlowStart);
        }
        let sample = Sample { snd_una: SeqNum(107), snd_max: SeqNum(300), ..Sample::default() };
        assert_eq!(h.on_ack(&sample), Pace::SlowStart);
    }

    #[test]
    fn a_train_of_half_a_round_trip_ends_slow_start_and_a_gap_breaks_it() {
        let ends = |gap_us: u32, window: u32| {
            let mut h = HyStart::default();
            (0u32..40).find(|i| {
                let (snd_una, snd_max) = (SeqNum(*i), SeqNum(i + window * 1000));
                let now_us = 7 + i * gap_us;
                let sample =
                    Sample { snd_una, snd_max, rtt_us: None, min_rtt_us: 20_000, now_us, smss: 1000 };
                h.on_ack(&sample) == Pace::Over
            })
        };
        assert_eq!(ends(1000, 20), Some(11));
        assert_eq!(ends(1000, 15), None, "a small window");
        assert_eq!(ends(2500, 20), None, "no train");
    }
}
