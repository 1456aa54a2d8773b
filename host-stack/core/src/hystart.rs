//! HyStart++ (RFC 9406): the first slow start ends when the round trip grows, before the queue overflows.
//!
//! ```text
//!   slow start --- the round begins with longer round trips ---> conservative slow start (a quarter as fast)
//!    |   ^                                                         |            |
//!    |   `---------------- a round begins without -----------------'            |
//!    `-- eight samples in a row, a quarter longer than the smallest --.   rounds over
//!                                                                     v         v
//!                                                                 congestion avoidance
//! ```
//! The second way out is the sign of the original HyStart (Ha and Rhee, 2011), seen in the round trip instead of in the distance of
//! acknowledgments. Slow start sends two segments for one that is delivered, so half of a window waits in the queue at the end of its round.
//! A round trip that is longer by a quarter is therefore one of half a path's window; the window of now is twice that, and fills the
//! path. To wait until the round begins with a queue costs a round more: then the window is twice what path and queue hold.
//! It has to be longer than that: whole milliseconds of the clock make a round trip up to one too long and the smallest one too short. A
//! millisecond early can be a round early, at just what fills the path, and the first loss leaves seven tenths of that.
//!
//! Samples are milliseconds of the timestamps option (RFC 7323), one for each acknowledgment. Without timestamps there is the segment that is timed
//! for the RTO, one a round: then only the sign of RFC 9406 is looked for. An acknowledgment that leaves half of the window unused says nothing:
//! its segment may have been alone, and waited for a delayed acknowledgment.
//!
//! Width: 12 RTT, 3 + 4 samples, 1 flag, 3 rounds = 23 bits; used in slow start only. The hardware is the same (`tcp::hystart`).

/// No round trip, and the longest that is told apart, milliseconds.
const NONE_MS: u16 = (1 << 12) - 1;
/// Bounds of the threshold, milliseconds (MIN_RTT_THRESH, MAX_RTT_THRESH).
const MIN_THRESH_MS: u16 = 4;
const MAX_THRESH_MS: u16 = 16;
/// Samples before they are judged (N_RTT_SAMPLE).
pub const SAMPLES: u8 = 8;
/// Rounds of conservative slow start (CSS_ROUNDS).
const CSS_ROUNDS: u8 = 5;
/// log2 of how much slower that is (CSS_GROWTH_DIVISOR).
const CSS_GROWTH_LOG2: u32 = 2;

/// State of one slow start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HyStart {
    /// Smallest round trip.
    base_ms: u16,
    /// Samples in a row that are more than a quarter longer.
    run: u8,
    /// Samples of this round, until they are judged.
    first: u8,
    /// All of these are long.
    is_long: bool,
    /// Rounds left of conservative slow start; 0 = not in it.
    css_rounds: u8,
}

impl Default for HyStart {
    fn default() -> HyStart {
        HyStart { base_ms: NONE_MS, run: 0, first: SAMPLES, is_long: false, css_rounds: 0 }
    }
}

/// An acknowledgment in slow start that finds the window in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Sample {
    /// The segment that was timed is acknowledged: a round is over.
    pub is_new_round: bool,
    /// A round trip, milliseconds.
    pub rtt_ms: Option<u32>,
    /// Samples of RFC 9406 that it stands for: a segment's acknowledgment is one, that of several is two, the only one of a round
    /// is [`SAMPLES`].
    pub weight: u8,
}

impl Sample {
    /// An acknowledgment of `acked` bytes. `timed_us`: of the round that ends with it; `echo_ms`: what its timestamp says, if the
    /// connection has timestamps.
    #[must_use]
    pub fn new(acked: u32, smss: u32, timed_us: Option<u32>, echo_ms: Option<u32>) -> Sample {
        Sample {
            is_new_round: timed_us.is_some(),
            rtt_ms: echo_ms.or(timed_us.map(|us| us >> 10)),
            weight: match echo_ms {
                Some(_) if acked > smss => 2,
                Some(_) => 1,
                None => SAMPLES,
            },
        }
    }
}

impl HyStart {
    /// log2 of how much slower the window grows than in slow start.
    #[must_use]
    pub fn shift(&self) -> u32 {
        if self.css_rounds > 0 {
            CSS_GROWTH_LOG2
        } else {
            0
        }
    }

    /// RFC 9406 4.2, after the window grew: what an acknowledgment says counts from the next one on. True: slow start is over.
    #[must_use]
    pub fn on_ack(&mut self, sample: &Sample) -> bool {
        let is_last_round = sample.is_new_round && self.css_rounds == 1;
        if sample.is_new_round {
            (self.first, self.is_long) = (0, true);
            self.css_rounds = self.css_rounds.saturating_sub(1);
        }
        if let Some(rtt_ms) = sample.rtt_ms {
            // `as`: at most 12 bits.
            self.take(rtt_ms.min(u32::from(NONE_MS)) as u16, sample.weight);
        }
        is_last_round || self.run >= SAMPLES
    }

    fn take(&mut self, rtt_ms: u16, weight: u8) {
        self.base_ms = self.base_ms.min(rtt_ms);
        let is_longer = |part: u16| rtt_ms >= self.base_ms + part;
        let is_long = is_longer((self.base_ms >> 3).clamp(MIN_THRESH_MS, MAX_THRESH_MS));
        // The unit of the clock is no queue.
        let is_half_full = is_longer((self.base_ms >> 2).max(MIN_THRESH_MS) + 1);
        // The only sample of a round alone ends nothing.
        self.run = if is_half_full && weight < SAMPLES { self.run + weight } else { 0 };
        if self.first >= SAMPLES {
            return;
        }
        self.is_long &= is_long;
        self.first += weight;
        if self.first >= SAMPLES && !self.is_long {
            // It was a burst: slow start goes on.
            self.css_rounds = 0;
        } else if self.first >= SAMPLES && self.css_rounds == 0 {
            self.css_rounds = CSS_ROUNDS;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A round of `count` acknowledgments of two segments, with timestamps; how many it took until slow start was over.
    fn round(h: &mut HyStart, count: u32, rtt_ms: impl Fn(u32) -> u32) -> Option<u32> {
        (0..count).find(|i| {
            let timed = (*i == 0).then(|| rtt_ms(0) << 10);
            h.on_ack(&Sample::new(2000, 1000, timed, Some(rtt_ms(*i))))
        })
    }

    #[test]
    fn a_queue_at_the_beginning_of_a_round_slows_down_and_ends_slow_start_after_five_rounds() {
        let mut h = HyStart::default();
        assert_eq!((round(&mut h, 10, |_| 80), h.shift()), (None, 0));
        assert_eq!((round(&mut h, 10, |_| 89), h.shift()), (None, 0), "9 ms are less than an eighth");
        assert_eq!((round(&mut h, 10, |_| 90), h.shift()), (None, 2));
        for _ in 0..4 {
            assert_eq!((round(&mut h, 10, |_| 95), h.shift()), (None, 2));
        }
        assert_eq!(round(&mut h, 10, |_| 95), Some(0));
    }

    #[test]
    fn a_round_that_begins_without_a_queue_takes_it_back() {
        let mut h = HyStart::default();
        assert_eq!((round(&mut h, 10, |_| 40), h.shift()), (None, 0));
        assert_eq!((round(&mut h, 10, |_| 46), h.shift()), (None, 2));
        assert_eq!((round(&mut h, 10, |_| 41), h.shift()), (None, 0));
    }

    #[test]
    fn a_queue_that_grows_within_a_round_ends_slow_start_within_it() {
        let mut h = HyStart::default();
        assert_eq!(round(&mut h, 21, |i| 80 + i), None, "20 ms are a quarter, and no more");
        assert_eq!(round(&mut h, 40, |i| 80 + i), Some(24));
    }

    #[test]
    fn what_is_shorter_than_four_milliseconds_is_no_queue() {
        let mut h = HyStart::default();
        assert_eq!((round(&mut h, 10, |_| 0), h.shift()), (None, 0));
        assert_eq!((round(&mut h, 10, |_| 3), h.shift()), (None, 0));
        assert_eq!((round(&mut h, 10, |_| 4), h.shift()), (None, 2));
        assert_eq!(round(&mut h, 10, |_| 5), Some(3));
    }

    /// A round of 78 segments on a path of 165, 20.3 ms, ends with a round trip of 25.0 ms; the smallest one is 20 by the clock. Then 156 segments
    /// just fill the path, and after a loss they would not.
    #[test]
    fn the_unit_of_the_clock_does_not_end_slow_start_a_round_early() {
        for phase_us in (0..1000).step_by(50) {
            let mut h = HyStart::default();
            let rtt_ms = |i: u32| {
                let sent_us = phase_us + i * 246;
                (sent_us + 20_300 + i * 123) / 1000 - sent_us / 1000
            };
            assert_eq!(round(&mut h, 39, rtt_ms), None, "{phase_us}");
            let end = round(&mut h, 78, rtt_ms).expect("the queue grows on");
            assert!((46..=50).contains(&end), "after {end} of 78 acknowledgments: a path and a half");
        }
    }

    #[test]
    fn one_short_round_trip_among_eight_is_enough() {
        let mut h = HyStart::default();
        assert_eq!(round(&mut h, 40, |i| if i % 4 == 3 { 80 } else { 300 }), None);
        assert_eq!(h.shift(), 0);
    }

    #[test]
    fn without_timestamps_one_sample_is_a_round() {
        let mut h = HyStart::default();
        let mut next = |ms: u32| {
            let over = h.on_ack(&Sample::new(2000, 1000, Some(ms << 10), None));
            let rest = (0..9).any(|_| h.on_ack(&Sample::new(2000, 1000, None, None)));
            (over || rest, h.shift())
        };
        assert_eq!(next(80), (false, 0));
        for _ in 0..5 {
            assert_eq!(next(300), (false, 2), "one sample alone ends nothing");
        }
        assert!(next(300).0);
    }
}
