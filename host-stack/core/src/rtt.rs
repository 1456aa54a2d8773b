//! Round-trip time and retransmission timeout (RFC 6298), in microseconds, with shifts only.
//!
//! ```text
//!   srtt_x8   = 8 * SRTT        SRTT   += (R - SRTT) / 8
//!   rttvar_x4 = 4 * RTTVAR      RTTVAR += (|R - SRTT| - RTTVAR) / 4
//!   RTO = SRTT + 4 * RTTVAR, between the two bounds of RtoBounds
//! ```
//!
//! The same scalings as the contract's `SRtt` x 8 and `RttVar` x 4 (spec 4.6). RFC 6298 2.4 would have a
//! minimum of one second; 200 ms is what is deployed (G-15) and above every common delayed ACK.

use chimney_abi::{regs, SeqNum};

/// RTO before the first sample (RFC 6298 2.1).
pub const INITIAL_RTO_US: u32 = 1_000_000;
/// Longest round trip that is believed; keeps the scaled values far from 32 bits.
pub const MAX_SAMPLE_US: u32 = 60_000_000;

/// Bounds of the RTO; the parameters of the same name (spec 2.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtoBounds {
    /// Smallest RTO.
    pub min_us: u32,
    /// Largest RTO, back-off included (RFC 6298 2.5 allows 60 s).
    pub max_us: u32,
}

impl Default for RtoBounds {
    fn default() -> RtoBounds {
        RtoBounds { min_us: regs::MIN_RTO_US.reset, max_us: regs::MAX_RTO_US.reset }
    }
}

/// Smoothed estimate; both zero before the first sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Rtt {
    /// Eight times the smoothed RTT, microseconds.
    pub srtt_x8: u32,
    /// Four times the RTT variation, microseconds.
    pub rttvar_x4: u32,
}

impl Rtt {
    /// Takes one measurement. Karn's rule (no sample from a retransmitted segment) is the caller's.
    pub fn sample(&mut self, rtt_us: u32) {
        // A sample of zero would look like "no sample yet".
        let r = rtt_us.clamp(1, MAX_SAMPLE_US);
        if self.srtt_x8 == 0 {
            // RFC 6298 2.2: SRTT = R, RTTVAR = R / 2.
            self.srtt_x8 = r << 3;
            self.rttvar_x4 = r << 1;
            return;
        }
        // RFC 6298 2.3: RTTVAR first, with the old SRTT.
        let srtt = self.srtt_x8 >> 3;
        let deviation = r.abs_diff(srtt);
        self.rttvar_x4 = self.rttvar_x4 - (self.rttvar_x4 >> 2) + deviation;
        self.srtt_x8 = (self.srtt_x8 - srtt + r).max(1);
    }

    /// True once a sample was taken.
    #[must_use]
    pub fn has_sample(&self) -> bool {
        self.srtt_x8 != 0
    }

    /// RTO without back-off.
    #[must_use]
    pub fn rto_us(&self, bounds: &RtoBounds) -> u32 {
        if self.srtt_x8 == 0 {
            return INITIAL_RTO_US;
        }
        ((self.srtt_x8 >> 3) + self.rttvar_x4).max(bounds.min_us).min(bounds.max_us)
    }
}

/// Beyond so many expiries the timeout does not grow.
pub const MOST_DOUBLINGS: u8 = 16;

/// RFC 6298 5.5: the RTO after `count` expiries without an acknowledgment.
#[must_use]
pub fn backed_off(rto_us: u32, count: u8, bounds: &RtoBounds) -> u32 {
    let shift = u32::from(count.min(MOST_DOUBLINGS));
    // 64 bits: 60 s << 16 does not fit into 32. The result does after `min`.
    let doubled = u64::from(rto_us) << shift;
    doubled.min(u64::from(bounds.max_us)) as u32
}

/// The one segment whose round trip is being measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct RttTimer {
    /// True while a measurement runs.
    pub is_running: bool,
    /// The acknowledgment that ends it: one past the timed segment.
    pub end_seq: SeqNum,
    /// When the segment was sent.
    pub sent_us: u64,
}

impl RttTimer {
    /// Starts a measurement at the transmission of new data, unless one runs.
    pub fn start(&mut self, end_seq: SeqNum, now_us: u64) {
        if !self.is_running {
            *self = RttTimer { is_running: true, end_seq, sent_us: now_us };
        }
    }

    /// Karn's rule: anything that is retransmitted spoils the measurement.
    pub fn cancel(&mut self) {
        self.is_running = false;
    }

    /// Ends the measurement if `ack` covers the timed segment; the round trip in microseconds.
    pub fn finish(&mut self, ack: SeqNum, now_us: u64) -> Option<u32> {
        if !self.is_running || ack.before(self.end_seq) {
            return None;
        }
        self.is_running = false;
        Some(u32::try_from(now_us.saturating_sub(self.sent_us)).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chimney_abi::SeqNum;
    use proptest::prelude::*;

    const BOUNDS: RtoBounds = RtoBounds { min_us: 200_000, max_us: 60_000_000 };

    #[test]
    fn first_sample_sets_both_values() {
        let mut rtt = Rtt::default();
        assert_eq!(rtt.rto_us(&BOUNDS), INITIAL_RTO_US);
        rtt.sample(100_000);
        assert_eq!((rtt.srtt_x8, rtt.rttvar_x4), (800_000, 200_000));
        assert_eq!(rtt.rto_us(&BOUNDS), 300_000);
    }

    #[test]
    fn constant_rtt_converges_and_the_minimum_holds() {
        let mut rtt = Rtt::default();
        for _ in 0..100 {
            rtt.sample(20_000);
        }
        assert_eq!(rtt.srtt_x8 >> 3, 20_000);
        assert!(rtt.rttvar_x4 < 10);
        assert_eq!(rtt.rto_us(&BOUNDS), 200_000);
    }

    #[test]
    fn back_off_doubles_up_to_the_maximum() {
        let table = [(0, 200_000), (1, 400_000), (8, 51_200_000), (9, 60_000_000), (255, 60_000_000)];
        for (count, want) in table {
            assert_eq!(backed_off(200_000, count, &BOUNDS), want);
        }
    }

    #[test]
    fn a_retransmission_spoils_the_running_measurement() {
        let mut timer = RttTimer::default();
        timer.start(SeqNum(10), 100);
        timer.start(SeqNum(20), 200);
        assert_eq!(timer.finish(SeqNum(9), 300), None);
        assert_eq!(timer.finish(SeqNum(10), 300), Some(200));
        timer.start(SeqNum(30), 400);
        timer.cancel();
        assert_eq!(timer.finish(SeqNum(30), 500), None);
    }

    proptest! {
        #![proptest_config(crate::test_seed::config())]

        #[test]
        fn estimate_stays_within_the_samples(samples in proptest::collection::vec(1u32..90_000_000, 1..60)) {
            let mut rtt = Rtt::default();
            for s in &samples {
                rtt.sample(*s);
            }
            let low = samples.iter().min().copied().unwrap_or(0).min(MAX_SAMPLE_US);
            let high = samples.iter().max().copied().unwrap_or(0).min(MAX_SAMPLE_US);
            prop_assert!(rtt.srtt_x8 >> 3 >= low.saturating_sub(1) && rtt.srtt_x8 >> 3 <= high);
            prop_assert!((BOUNDS.min_us..=BOUNDS.max_us).contains(&rtt.rto_us(&BOUNDS)));
        }
    }
}
