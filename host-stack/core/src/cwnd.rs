//! Congestion window (RFC 5681) with appropriate byte counting (RFC 3465), without a division.
//!
//! Slow start adds the bytes acknowledged (at most two segments per ACK, one after a timeout).
//! Congestion avoidance collects them until they make up one `cwnd`, then adds one segment.

/// Congestion control variables of one connection, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Cwnd {
    /// Congestion window.
    pub cwnd: u32,
    /// Slow start threshold.
    pub ssthresh: u32,
    /// Bytes acknowledged since the last increase in congestion avoidance.
    pub acked_sum: u32,
}

/// Upper bound of `cwnd`: the largest window that can be advertised.
pub const MAX_CWND: u32 = 1 << 30;

/// RFC 6928 2: ten segments, but at most 14600 bytes unless two segments are more.
#[must_use]
pub fn initial_window(smss: u32) -> u32 {
    (10 * smss).min((2 * smss).max(14_600))
}

impl Cwnd {
    /// The values of a fresh connection.
    #[must_use]
    pub fn new(smss: u32) -> Cwnd {
        Cwnd { cwnd: initial_window(smss), ssthresh: MAX_CWND, acked_sum: 0 }
    }

    /// True below the threshold.
    #[must_use]
    pub fn is_slow_start(&self) -> bool {
        self.cwnd < self.ssthresh
    }

    /// Grows for `acked` bytes that were acknowledged outside of recovery.
    ///
    /// `flight` is FlightSize before this ACK: a window that was not used says nothing about the
    /// network, so it does not grow (RFC 7661 1). `limit_segments` is L of RFC 3465 2.2.
    pub fn grow(&mut self, acked: u32, flight: u32, smss: u32, limit_segments: u32) {
        if self.is_slow_start() {
            if self.is_used(flight) {
                self.cwnd += acked.min(limit_segments * smss);
            }
        } else if flight + 2 * smss >= self.cwnd {
            self.acked_sum += acked;
            if self.acked_sum >= self.cwnd {
                self.acked_sum -= self.cwnd;
                self.cwnd += smss;
            }
            // More than one window in one ACK would only be a burst later.
            self.acked_sum = self.acked_sum.min(self.cwnd);
        }
        self.cwnd = self.cwnd.min(MAX_CWND);
    }

    /// In slow start: the window was used, before an acknowledgment that found `flight` bytes in flight.
    #[must_use]
    pub fn is_used(&self, flight: u32) -> bool {
        flight.saturating_mul(2) >= self.cwnd
    }

    /// What a reduction is taken from when `outstanding` bytes are not acknowledged: RFC 5681's FlightSize, reported bytes among it (RFC 6675 5
    /// (4.2)), without limited transmit, which is what lies beyond the window (RFC 5681 3.2 (2)). At least `flight`: right after a
    /// reduction more may be in the network than the window.
    #[must_use]
    pub fn flight_size(&self, outstanding: u32, flight: u32) -> u32 {
        outstanding.min(self.cwnd).max(flight)
    }

    /// RFC 5681 (4): half of what is in flight, at least two segments.
    pub fn reduce_ssthresh(&mut self, flight: u32, smss: u32) {
        self.ssthresh = (flight >> 1).max(2 * smss);
        self.acked_sum = 0;
    }

    /// RFC 5681 4.1: after an idle period longer than the RTO the window restarts.
    pub fn restart_after_idle(&mut self, smss: u32) {
        self.cwnd = self.cwnd.min(initial_window(smss));
        self.acked_sum = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn initial_window_follows_rfc_6928() {
        for (smss, want) in [(1460, 14_600), (536, 5360), (1000, 10_000), (8960, 17_920)] {
            assert_eq!(initial_window(smss), want);
        }
    }

    /// Verifies: R-245
    #[test]
    fn slow_start_doubles_and_congestion_avoidance_adds_one_segment_per_window() {
        let mut c = Cwnd { cwnd: 10_000, ssthresh: 40_000, acked_sum: 0 };
        for _ in 0..10 {
            c.grow(1000, 10_000, 1000, 2);
        }
        assert_eq!(c.cwnd, 20_000);
        c.ssthresh = 20_000;
        for _ in 0..20 {
            c.grow(1000, 20_000, 1000, 2);
        }
        assert_eq!((c.cwnd, c.acked_sum), (21_000, 0));
    }

    #[test]
    fn an_unused_window_does_not_grow() {
        let mut c = Cwnd { cwnd: 10_000, ssthresh: 40_000, acked_sum: 0 };
        c.grow(1000, 1000, 1000, 2);
        assert_eq!(c.cwnd, 10_000);
    }

    #[test]
    fn stretch_acks_count_for_two_segments_at_most() {
        let mut c = Cwnd { cwnd: 10_000, ssthresh: 40_000, acked_sum: 0 };
        c.grow(9000, 10_000, 1000, 2);
        assert_eq!(c.cwnd, 12_000);
    }

    proptest! {
        #![proptest_config(crate::test_seed::config())]

        #[test]
        fn window_never_shrinks_by_growing(
            cwnd in 1000u32..MAX_CWND, ssthresh in 2000u32..MAX_CWND, acked in 1u32..1_000_000, flight: u32,
        ) {
            let mut c = Cwnd { cwnd, ssthresh, acked_sum: 0 };
            c.grow(acked, flight >> 1, 1000, 2);
            prop_assert!(c.cwnd >= cwnd && c.cwnd <= (cwnd + 2000).min(MAX_CWND));
        }
    }
}
