//! CUBIC (RFC 9438), split as hardware does it: a part per acknowledgment of additions and comparisons, and a slow unit with
//! a cube, a cube root and a division, called at a loss and at most once per millisecond and connection.
//!
//! ```text
//!   per ACK     acked_sum += acked; a segment more for every `per_increment` bytes; W_est likewise
//!   slow unit   per_increment = cwnd * SMSS / (W_cubic(t + RTT) - cwnd)
//!   at a loss   W_max, K = cbrt((W_max - cwnd) / C), ssthresh = 0.7 * cwnd
//! ```
//!
//! | quantity | here | difference to RFC 9438 |
//! |---|---|---|
//! | windows | bytes, 30 bits | segments |
//! | time since the epoch, K | units of 1024 us, 16 bits (67 s) | later, the target stays |
//! | C = 0.4 | 59 / 2^37 segments per cubic unit | + 0.1 % |
//! | beta = 0.7 | 45875 / 2^16 | below 10^-5 |
//! | alpha = 3 (1 - beta) / (1 + beta) = 0.529 | a segment per 15/8 windows = 0.533 | + 0.8 % |
//! | (1 + beta) / 2 = 0.85 | 55705 / 2^16 | below 10^-5 |
//!
//! Width: 30 `w_max`, 30 `cwnd_prior`, 30 `origin`, 30 `w_est`, 31 `est_sum`, 31 `per_increment`, 16 `k`, 24 epoch, 24 last
//! run, 3 flags = 249 bits.

use crate::cwnd::{Cwnd, MAX_CWND};

/// log2 of the unit of time, microseconds.
const UNIT_BITS: u32 = 10;
/// Longest time since the epoch, units.
const MAX_UNITS: u32 = (1 << 16) - 1;
/// beta, 16 fraction bits.
const BETA: u64 = 45_875;
/// (1 + beta) / 2, 16 fraction bits.
const FAST_CONVERGENCE: u64 = 55_705;
/// `C` in segments per cubic unit: 0.4 * 1.024e-3^3 = 59 / 2^37 to 0.1 %.
const C_FACTOR: u64 = 59;
const C_SHIFT: u32 = 37;
/// Bits of a cube that are dropped before it is scaled, so that 64 bits hold the product.
const CUBE_SHIFT: u32 = 12;
/// Slowest growth: a segment per so many windows (2^5).
const SLOWEST_LOG2: u32 = 5;

/// State of CUBIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Cubic {
    /// Window before the last reduction, bytes (after fast convergence).
    pub w_max: u32,
    /// `cwnd` before the last reduction.
    pub cwnd_prior: u32,
    /// Window at which the cubic function has its plateau.
    pub origin: u32,
    /// Window that Reno would have (`W_est`).
    pub w_est: u32,
    /// Bytes acknowledged since `w_est` grew.
    pub est_sum: u32,
    /// Bytes to acknowledge for a segment more, from the slow unit.
    pub per_increment: u32,
    /// Time from the epoch to the plateau, units of 1024 us.
    pub k: u16,
    /// When congestion avoidance began.
    pub epoch_us: u32,
    /// When the slow unit ran last.
    pub updated_us: u32,
    /// Congestion avoidance has begun.
    pub has_epoch: bool,
    /// The last reduction was a timeout's.
    pub has_timed_out: bool,
}

/// Floor of the cube root of a number below 2^48. 16 steps of one bit: slow unit.
#[must_use]
pub fn cube_root(n: u64) -> u16 {
    let mut root: u64 = 0;
    for bit in (0..16).rev() {
        let trial = root | 1 << bit;
        if trial * trial * trial <= n {
            root = trial;
        }
    }
    // `as`: 16 bits were tried.
    root as u16
}

/// `C * units^3` segments, in bytes. Slow unit.
#[must_use]
pub fn cubic_bytes(units: u32, smss: u32) -> u32 {
    let units = u64::from(units.min(MAX_UNITS));
    // 48 bits, then 36 + 14 + 6 = 56 bits.
    let cube = (units * units * units) >> CUBE_SHIFT;
    let bytes = (cube * u64::from(smss) * C_FACTOR) >> (C_SHIFT - CUBE_SHIFT);
    // `as`: limited.
    bytes.min(u64::from(MAX_CWND)) as u32
}

/// `K`: units until `C * K^3` is `gap` bytes. Slow unit.
#[must_use]
pub fn plateau_units(gap: u32, smss: u32) -> u16 {
    // 30 + 37 bits would not fit: the quotient by the segment keeps 8 fraction bits.
    let segments_x256 = (u64::from(gap) << 8) / u64::from(smss.max(1));
    let cube = ((segments_x256 << (C_SHIFT - 8 - 6)) / C_FACTOR) << 6;
    cube_root(cube.min((1 << 48) - 1))
}

fn scaled(window: u32, factor: u64) -> u32 {
    // `as`: the factor is below 1.
    ((u64::from(window) * factor) >> 16) as u32
}

impl Cubic {
    /// A congestion event: sets `ssthresh` (RFC 9438 4.6, 4.7). `flight` bounds the window that was really in use.
    pub fn on_congestion(&mut self, cw: &mut Cwnd, flight: u32, smss: u32) {
        // RFC 9438 4.6: a window that was not filled is not what the network carried.
        let used = cw.cwnd.min(flight + 2 * smss);
        self.cwnd_prior = used;
        // 4.7: fast convergence leaves room for newcomers.
        self.w_max = if used < self.w_max { scaled(used, FAST_CONVERGENCE) } else { used };
        cw.ssthresh = scaled(used, BETA).max(2 * smss);
        cw.acked_sum = 0;
        (self.has_epoch, self.has_timed_out) = (false, false);
    }

    /// The retransmission timer fired; the reduction, if it has one, goes before. RFC 9438 4.8: until the next one the plateau is where
    /// congestion avoidance begins.
    pub fn on_timeout(&mut self) {
        (self.has_epoch, self.has_timed_out) = (false, true);
    }

    /// The connection was idle: the next congestion avoidance begins a new epoch (RFC 9438 5.8).
    pub fn restart_epoch(&mut self) {
        self.has_epoch = false;
    }

    /// Congestion avoidance begins: RFC 9438 4.2. Slow unit.
    fn begin_epoch(&mut self, cw: &Cwnd, smss: u32, now_us: u32) {
        self.has_epoch = true;
        self.epoch_us = now_us;
        self.w_est = cw.cwnd;
        self.est_sum = 0;
        if self.has_timed_out {
            self.w_max = cw.cwnd;
        }
        // After slow start without a loss the plateau is where it ended.
        self.origin = self.w_max.max(cw.cwnd);
        self.k = plateau_units(self.origin - cw.cwnd, smss);
    }

    /// `W_cubic(now + RTT)`, bytes (RFC 9438 4.2). Slow unit.
    #[must_use]
    pub fn target(&self, now_us: u32, srtt_us: u32, smss: u32) -> u32 {
        let since_us = u64::from(now_us.wrapping_sub(self.epoch_us)) + u64::from(srtt_us);
        // `as`: limited to 16 bits.
        let t = (since_us >> UNIT_BITS).min(u64::from(MAX_UNITS)) as u32;
        let k = u32::from(self.k);
        let distance = cubic_bytes(t.abs_diff(k), smss);
        if t < k {
            self.origin.saturating_sub(distance)
        } else {
            (self.origin + distance).min(MAX_CWND)
        }
    }

    /// The slow unit: how many bytes earn a segment. Due when [`Cubic::is_due`].
    pub fn update(&mut self, cw: &Cwnd, srtt_us: u32, smss: u32, now_us: u32) {
        if !self.has_epoch {
            self.begin_epoch(cw, smss, now_us);
        }
        self.updated_us = now_us;
        // RFC 9438 4.2: at most half a window more in a round trip.
        let target = self.target(now_us, srtt_us, smss).min(cw.cwnd + (cw.cwnd >> 1));
        let slowest = cw.cwnd.saturating_mul(1 << SLOWEST_LOG2);
        self.per_increment = match target.checked_sub(cw.cwnd).filter(|gap| *gap > 0) {
            // `as`: limited.
            Some(gap) => {
                (u64::from(cw.cwnd) * u64::from(smss) / u64::from(gap)).min(u64::from(slowest)) as u32
            }
            None => slowest,
        };
    }

    /// Has the slow unit something to do? A new epoch, or a millisecond is over.
    #[must_use]
    pub fn is_due(&self, now_us: u32) -> bool {
        !self.has_epoch || now_us.wrapping_sub(self.updated_us) >= 1 << UNIT_BITS
    }

    /// The part per acknowledgment, in congestion avoidance with a window that is used: additions and comparisons.
    pub fn on_ack(&mut self, cw: &mut Cwnd, acked: u32, smss: u32) {
        cw.acked_sum = cw.acked_sum.saturating_add(acked);
        if cw.acked_sum >= self.per_increment {
            // More than one increment at once would only be a burst.
            cw.acked_sum = (cw.acked_sum - self.per_increment).min(self.per_increment);
            cw.cwnd = (cw.cwnd + smss).min(MAX_CWND);
        }
        // RFC 9438 4.3: what Reno with this beta would have; its own alpha until the old window is reached, then 1.
        let window = self.w_est;
        let needed = if window < self.cwnd_prior { 2 * window - (window >> 3) } else { window };
        self.est_sum = self.est_sum.saturating_add(acked);
        if self.est_sum >= needed {
            self.est_sum = (self.est_sum - needed).min(needed);
            self.w_est = (self.w_est + smss).min(MAX_CWND);
        }
        cw.cwnd = cw.cwnd.max(self.w_est);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SMSS: u32 = 1448;

    fn at(cwnd: u32, w_max: u32) -> (Cubic, Cwnd) {
        let cw = Cwnd { cwnd, ssthresh: cwnd, acked_sum: 0 };
        (Cubic { w_max, cwnd_prior: w_max, ..Cubic::default() }, cw)
    }

    #[test]
    fn a_loss_reduces_to_seven_tenths_and_remembers_the_window() {
        let (mut cubic, mut cw) = at(100_000, 0);
        cubic.on_congestion(&mut cw, 100_000, 1000);
        assert_eq!((cw.ssthresh, cubic.w_max, cubic.cwnd_prior), (69_999, 100_000, 100_000));
        cw.cwnd = 80_000;
        cubic.on_congestion(&mut cw, 80_000, 1000);
        assert_eq!((cw.ssthresh, cubic.w_max), (55_999, 67_999), "fast convergence");
        cw.cwnd = 80_000;
        cubic.on_congestion(&mut cw, 10_000, 1000);
        assert_eq!(cw.ssthresh, 8399, "what was in use counts");
        cubic.on_congestion(&mut cw, 0, 1000);
        assert_eq!(cw.ssthresh, 2000, "at least two segments");
    }

    #[test]
    fn roots_of_cubes_and_their_neighbours_are_exact() {
        for root in [0u64, 1, 2, 3, 100, 4095, 40_000, 65_535] {
            assert_eq!(u64::from(cube_root(root.pow(3))), root);
            if root > 0 {
                assert_eq!(u64::from(cube_root(root.pow(3) - 1)), root - 1);
            }
        }
    }

    /// RFC 9438 4.2, figure 1: below the plateau concave, above it convex.
    #[test]
    fn the_window_comes_back_to_the_plateau_after_k() {
        let (mut cubic, cw) = at(70 * SMSS, 100 * SMSS);
        cubic.update(&cw, 0, SMSS, 5_000_000);
        // cbrt(30 / 0.4) = 4.217 s.
        assert!((f64::from(cubic.k) * 1.024e-3 - 4.217).abs() < 0.005, "{}", cubic.k);
        let target = |ms: u32| cubic.target(5_000_000 + ms * 1000, 0, SMSS);
        assert!(target(0).abs_diff(70 * SMSS) < SMSS / 2);
        assert!(target(4217).abs_diff(100 * SMSS) < SMSS / 50);
        assert!(target(2000) - target(1000) > target(4000) - target(3000));
        assert!(target(6000) - target(5000) < target(8000) - target(7000));
    }

    /// RFC 9438 4.8.
    #[test]
    fn after_a_timeout_the_plateau_is_where_congestion_avoidance_begins() {
        let (mut cubic, mut cw) = at(100 * SMSS, 0);
        cubic.on_congestion(&mut cw, 100 * SMSS, SMSS);
        cubic.on_timeout();
        cw.cwnd = cw.ssthresh;
        cubic.update(&cw, 0, SMSS, 0);
        assert_eq!((cubic.k, cubic.origin, cubic.w_max), (0, cw.cwnd, cw.cwnd));
        assert_eq!((cubic.w_est, cubic.cwnd_prior), (cw.cwnd, 100 * SMSS));
        assert!(cubic.target(3_000_000, 0, SMSS) > cw.cwnd + 10 * SMSS, "0.4 * 27");
        // Fast retransmit, for the sake of comparison.
        let (mut cubic, mut cw) = at(100 * SMSS, 0);
        cubic.on_timeout();
        cubic.on_congestion(&mut cw, 100 * SMSS, SMSS);
        cw.cwnd = cw.ssthresh;
        cubic.update(&cw, 0, SMSS, 0);
        assert_eq!(cubic.origin, 100 * SMSS);
    }

    #[test]
    fn a_small_window_grows_like_reno_with_the_same_reduction() {
        // 10 ms, 20 segments: cubic growth is far slower than a segment per two windows.
        let (mut cubic, mut cw) = at(14 * SMSS, 20 * SMSS);
        let (mut now, mut rounds) = (0, 0);
        while cw.cwnd < 20 * SMSS {
            for _ in 0..cw.cwnd / SMSS {
                if cubic.is_due(now) {
                    cubic.update(&cw, 10_000, SMSS, now);
                }
                cubic.on_ack(&mut cw, SMSS, SMSS);
            }
            now += 10_000;
            rounds += 1;
        }
        assert!((10..=13).contains(&rounds), "{rounds} rounds; 6 segments / 0.53 are 11");
    }

    #[test]
    fn growth_is_at_most_half_a_window_and_at_least_a_segment_in_32() {
        let (mut cubic, cw) = at(10 * SMSS, 10 * SMSS);
        cubic.update(&cw, 0, SMSS, 0);
        assert_eq!(cubic.per_increment, 320 * SMSS);
        cubic.update(&cw, 0, SMSS, 60_000_000);
        assert_eq!(cubic.per_increment, 2 * SMSS);
    }

    proptest! {
        #![proptest_config(crate::test_seed::config())]

        /// The bound of the module page: C within 0.2 %, time within a unit, bytes rounded down.
        #[test]
        fn the_fixed_point_curve_follows_the_real_one(
            cwnd in 2u32..5000, more in 0u32..5000, ms in 0u32..60_000, smss in 500u32..9000,
        ) {
            let (mut cubic, cw) = at(cwnd * smss, (cwnd + more) * smss);
            cubic.update(&cw, 0, smss, 0);
            let k = (f64::from(more) / 0.4).cbrt();
            prop_assert!((f64::from(cubic.k) * 1.024e-3 - k).abs() < 0.0022 + k * 0.001, "K {} {k}", cubic.k);
            let t = f64::from(ms) / 1e3;
            let exact = 0.4 * (t - k).powi(3) + f64::from(cwnd + more);
            let got = f64::from(cubic.target(ms * 1000, 0, smss)) / f64::from(smss);
            // The slope times the errors of time and K, and the error of C.
            let slope = 1.2 * (t - k).powi(2);
            let bound = slope * (0.004 + k * 0.001) + 0.002 * (exact - f64::from(cwnd + more)).abs() + 1.2;
            prop_assert!((got - exact.max(0.0)).abs() <= bound, "{got} {exact} {bound}");
        }

        #[test]
        fn the_window_only_grows_by_acknowledgments(
            cwnd in 2u32..100_000, w_max in 2u32..100_000, acked in 1u32..100_000, ms in 0u32..100_000,
        ) {
            let (mut cubic, mut cw) = at(cwnd * 1000, w_max * 1000);
            cubic.update(&cw, 50_000, 1000, 7);
            cubic.update(&cw, 50_000, 1000, 7 + ms * 1000);
            let before = cw.cwnd;
            cubic.on_ack(&mut cw, acked, 1000);
            prop_assert!(cw.cwnd >= before && cw.cwnd <= before + 1000);
            prop_assert!(cubic.per_increment >= 2 * 1000 - 1 && cubic.per_increment <= 32 * before);
        }
    }
}
