//! One time for the NIC, the host stack and the link.
//!
//! Simulated time advances by a fixed-point increment per NIC cycle: microseconds with 24 fraction bits, the format
//! of the NIC's `TIME_INC` register. Nothing in the simulation reads another clock.
//!
//! * **Virtual** mode: the increment is the period of the real core clock (8 ns at 125 MHz). Deterministic; tests.
//! * **Wall** mode: a Verilated NIC runs at a fraction of a megahertz while a Linux peer lives in real time. The
//!   increment is steered so that simulated time follows wall time: it is the measured time per cycle, changed by at most
//!   a factor [`MAX_SLEW`] either way to work off the lag. Simulated time therefore never jumps and never goes backwards,
//!   and no timer of the NIC sees a second that is shorter than half a second.
//!
//! ```text
//!   lag = wall - simulated      increment = measured us per cycle x (1 + lag / HORIZON), within 1/2 .. 2
//! ```
//!
//! The owner of the clock writes [`SimClock::time_inc`] to the NIC whenever [`SimClock::tick`] says that it changed, and, when
//! the NIC's own time can be read, hands it back with [`SimClock::follow`], so that the two do not drift apart while a
//! register write is under way.

use std::time::Instant;

/// Fraction bits of the time increment.
pub const FRACTION_BITS: u32 = 24;
/// The largest factor by which simulated time runs faster or slower than the measured rate.
pub const MAX_SLEW: f64 = 2.0;
/// Cycles between two looks at the wall clock: a look costs some 30 ns, a simulated cycle 3000.
const LOOK_CYCLES: u32 = 64;
/// Wall time between two changes of the increment: long enough to measure, short enough for the delayed-ACK timer.
const STEER_NS: u64 = 1_000_000;
/// A lag is worked off over about this time.
const HORIZON_US: f64 = 10_000.0;
/// Integer bits of the increment: a cycle is never longer than 255 us.
const MAX_INC: f64 = ((1u64 << 32) - 1) as f64;

/// Wall time minus simulated time, measured at every look at the wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ClockLag {
    /// Largest lag so far.
    pub max_us: f64,
    /// Mean lag (simulated time behind wall time is positive).
    pub mean_us: f64,
    /// Largest lead (simulated time ahead of wall time) so far.
    pub max_lead_us: f64,
    /// How often it was measured.
    pub samples: u64,
}

/// Nanoseconds of wall time since some start; a test brings its own.
pub type WallSource = Box<dyn FnMut() -> u64 + Send>;

/// The clock of one simulation.
pub struct SimClock {
    cycles: u64,
    /// Microseconds with 24 fraction bits; 64 bits last 34 years.
    now_fixed: u64,
    inc: u32,
    wall: Option<Wall>,
}

struct Wall {
    source: WallSource,
    start_ns: u64,
    next_look: u32,
    steered_ns: u64,
    steered_cycles: u64,
    /// Smoothed wall microseconds per cycle.
    us_per_cycle: f64,
    lag: ClockLag,
}

impl SimClock {
    /// Virtual time: every cycle lasts `period_ns`; with 0 time stands still until [`SimClock::set_time_inc`].
    pub fn virtual_time(period_ns: f64) -> Self {
        Self { cycles: 0, now_fixed: 0, inc: fixed(period_ns / 1000.0), wall: None }
    }

    /// Simulated time follows the monotonic clock of this machine. `expected_hz` is the first guess of the simulation
    /// speed, in cycles per second; it is corrected within a few milliseconds.
    pub fn wall_time(expected_hz: f64) -> Self {
        let start = Instant::now();
        Self::with_source(expected_hz, Box::new(move || start.elapsed().as_nanos() as u64))
    }

    /// As [`SimClock::wall_time`] with another source of wall time.
    pub fn with_source(expected_hz: f64, mut source: WallSource) -> Self {
        let us_per_cycle = 1e6 / expected_hz;
        let start_ns = source();
        Self {
            cycles: 0,
            now_fixed: 0,
            inc: fixed(us_per_cycle),
            wall: Some(Wall {
                source,
                start_ns,
                next_look: LOOK_CYCLES,
                steered_ns: start_ns,
                steered_cycles: 0,
                us_per_cycle,
                lag: ClockLag::default(),
            }),
        }
    }

    /// Count one NIC cycle. True when [`SimClock::time_inc`] changed.
    #[inline]
    pub fn tick(&mut self) -> bool {
        self.cycles += 1;
        self.now_fixed += u64::from(self.inc);
        match &mut self.wall {
            Some(wall) if wall.next_look == 0 => self.look(),
            Some(wall) => {
                wall.next_look -= 1;
                false
            }
            None => false,
        }
    }

    /// Simulated microseconds.
    pub fn now_us(&self) -> u64 {
        self.now_fixed >> FRACTION_BITS
    }

    /// Simulated nanoseconds.
    pub fn now_ns(&self) -> u64 {
        ((u128::from(self.now_fixed) * 1000) >> FRACTION_BITS) as u64 // 64 bits of ns are 584 years
    }

    /// Cycles counted.
    pub fn cycles(&self) -> u64 {
        self.cycles
    }

    /// Microseconds per cycle, 8.24 fixed point: the value for the NIC's register.
    pub fn time_inc(&self) -> u32 {
        self.inc
    }

    /// Set the increment of virtual time: tests may let quiet stretches pass in longer cycles.
    pub fn set_time_inc(&mut self, inc: u32) {
        if self.wall.is_none() {
            self.inc = inc;
        }
    }

    /// Take over the NIC's own idea of the time (8.24 microseconds extended to 64 bits, or shifted up from whole ones).
    /// An earlier time than ours is ignored: time never goes backwards.
    pub fn follow(&mut self, nic_time_fixed: u64) {
        self.now_fixed = self.now_fixed.max(nic_time_fixed);
    }

    /// Measured lag; all zero in virtual mode.
    pub fn lag(&self) -> ClockLag {
        self.wall.as_ref().map_or_else(ClockLag::default, |w| w.lag)
    }

    /// Measured cycles per second of wall time, smoothed; `None` in virtual mode.
    pub fn measured_hz(&self) -> Option<f64> {
        self.wall.as_ref().map(|w| 1e6 / w.us_per_cycle)
    }

    #[cold]
    fn look(&mut self) -> bool {
        let now_us = self.now_fixed as f64 / f64::from(1u32 << FRACTION_BITS);
        let Some(wall) = &mut self.wall else { return false };
        wall.next_look = LOOK_CYCLES - 1;
        let wall_ns = (wall.source)();
        let lag_us = (wall_ns.saturating_sub(wall.start_ns)) as f64 / 1000.0 - now_us;
        wall.lag.add(lag_us);
        let elapsed_ns = wall_ns.saturating_sub(wall.steered_ns);
        if elapsed_ns < STEER_NS {
            return false;
        }
        let measured = elapsed_ns as f64 / 1000.0 / (self.cycles - wall.steered_cycles) as f64;
        // One preemption must not teach the clock that cycles are slow: a sample counts at most four times the mean.
        let measured = measured.min(4.0 * wall.us_per_cycle);
        wall.us_per_cycle += (measured - wall.us_per_cycle) / 8.0;
        wall.steered_ns = wall_ns;
        wall.steered_cycles = self.cycles;
        let factor = (1.0 + lag_us / HORIZON_US).clamp(1.0 / MAX_SLEW, MAX_SLEW);
        let inc = fixed(wall.us_per_cycle * factor);
        std::mem::replace(&mut self.inc, inc) != inc
    }
}

impl std::fmt::Debug for SimClock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimClock")
            .field("cycles", &self.cycles)
            .field("now_us", &self.now_us())
            .field("inc", &self.inc)
            .field("lag", &self.lag())
            .finish()
    }
}

impl ClockLag {
    fn add(&mut self, lag_us: f64) {
        self.samples += 1;
        self.mean_us += (lag_us - self.mean_us) / self.samples as f64;
        self.max_us = self.max_us.max(lag_us);
        self.max_lead_us = self.max_lead_us.max(-lag_us);
    }
}

/// Microseconds to 8.24, at least one unit so that time always advances; 0 stays 0.
fn fixed(us: f64) -> u32 {
    if us == 0.0 {
        return 0;
    }

    (us * f64::from(1u32 << FRACTION_BITS)).round().clamp(1.0, MAX_INC) as u32 // clamped to u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{test_seed, Rng};
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::Arc;

    #[test]
    fn virtual_time_is_the_cycle_count_times_the_period() {
        let mut clock = SimClock::virtual_time(8.0);
        for _ in 0..1_250_000 {
            assert!(!clock.tick());
        }
        assert!((9_999..=10_001).contains(&clock.now_us()), "{clock:?}");
        assert!((9_999_000..=10_001_000).contains(&clock.now_ns()));
        assert_eq!(clock.lag(), ClockLag::default());
    }

    /// Run `cycles`, each taking `cost_ns(cycle)` of wall time; checks monotony on the way.
    fn run(expected_hz: f64, cycles: u64, mut cost_ns: impl FnMut(u64) -> u64) -> (SimClock, u64) {
        let wall = Arc::new(AtomicU64::new(0));
        let source = wall.clone();
        let mut clock = SimClock::with_source(expected_hz, Box::new(move || source.load(Ordering::Relaxed)));
        let mut before = 0;
        for cycle in 0..cycles {
            wall.fetch_add(cost_ns(cycle), Ordering::Relaxed);
            clock.tick();
            let step = clock.now_fixed - before;
            assert!(step >= 1, "time stands still at cycle {cycle}");
            before = clock.now_fixed;
        }
        (clock, wall.load(Ordering::Relaxed) / 1000)
    }

    #[test]
    fn simulated_time_follows_a_steady_simulation() {
        let (clock, wall_us) = run(1_000_000.0, 600_000, |_| 3_300);
        let lag = wall_us as f64 - clock.now_us() as f64;
        assert!(lag.abs() < 200.0, "lag {lag} us of {wall_us}");
        assert!((290_000.0..310_000.0).contains(&clock.measured_hz().unwrap()));
        assert!(clock.lag().max_us < 50_000.0, "{:?}", clock.lag());
    }

    #[test]
    fn lag_after_a_long_stall_is_worked_off_without_a_jump() {
        let stall_at = 300_000;
        let (clock, wall_us) = run(300_000.0, 600_000, |c| if c == stall_at { 80_000_000 } else { 3_333 });
        assert!(clock.lag().max_us >= 79_000.0);
        assert!((wall_us as f64 - clock.now_us() as f64).abs() < 500.0, "{:?}", clock.lag());
        let nominal = 3.333 * f64::from(1u32 << FRACTION_BITS);
        assert!(f64::from(clock.time_inc()) < nominal * 1.2);
    }

    #[test]
    fn random_load_keeps_the_lag_bounded() {
        let mut rng = Rng::new(test_seed(3));
        let mut busy = 1;
        let (clock, wall_us) = run(300_000.0, 2_000_000, |c| {
            if c % 5_000 == 0 {
                busy = 1 + rng.below(4);
            }
            1_500 * busy + rng.below(2_000)
        });
        assert!(clock.lag().mean_us.abs() < 5_000.0, "{:?}", clock.lag());
        assert!(clock.now_us() as f64 > wall_us as f64 * 0.98);
        assert!(clock.lag().max_lead_us < 20_000.0, "{:?}", clock.lag());
    }

    #[test]
    fn follows_the_nic_but_never_backwards() {
        let mut clock = SimClock::virtual_time(8.0);
        clock.tick();
        clock.follow(5 << FRACTION_BITS);
        assert_eq!(clock.now_us(), 5);
        clock.follow(1 << FRACTION_BITS);
        assert_eq!(clock.now_us(), 5);
    }
}
