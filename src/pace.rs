//! Who makes the time, and how fast the wire is.

use chimney_sim::device::{Device, Limit};
use std::time::Instant;

/// Longest step by the wall clock, microseconds. When this process did not run for a while, what arrived meanwhile is
/// taken in before a timer sees all of that time.
const MOST_STEP_US: u64 = 1000;
/// What the wire carries to a clocked device, bytes a cycle: three quarters of its 64-bit datapath. Frames that waited for
/// this process would otherwise come in one burst that no real wire brings.
const WIRE_BYTES_PER_CYCLE: u64 = 6;
/// Preamble, frame check sequence and gap: what a frame occupies on the wire beyond its bytes.
const WIRE_OVERHEAD_BYTES: u64 = 24;
/// A step of a clocked device that is gone, microseconds: its clock stands still, the host's goes on.
const STOPPED_STEP_US: u64 = 100;

/// Who makes the time.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// A clocked device, so many cycles a step.
    Cycles(u64),
    /// The wall clock, from the moment the pacer is made.
    Wall,
    /// So many microseconds a step.
    Virtual(u64),
}

/// How far the common time was behind the wall clock, where that makes the time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WallLag {
    /// Largest, microseconds.
    pub max_us: u64,
    /// Sum over all steps, microseconds.
    pub sum_us: u64,
    /// Steps.
    pub steps: u64,
}

/// One time for a device and everything around it, step by step.
#[derive(Debug)]
pub struct Pacer {
    pace: Pace,
    now_us: u64,
    started: Instant,
    lag: WallLag,
    /// Bytes that the wire has carried too many, or cycles it was idle: positive = it is free.
    wire_credit: i64,
}

impl Pacer {
    /// A pacer whose time begins at `now_us`.
    pub fn new(pace: Pace, now_us: u64) -> Self {
        Self { pace, now_us, started: Instant::now(), lag: WallLag::default(), wire_credit: 0 }
    }

    /// Who makes the time.
    pub fn pace(&self) -> Pace {
        self.pace
    }

    /// The common time, microseconds.
    pub fn now_us(&self) -> u64 {
        self.now_us
    }

    /// How far the time was behind the wall clock; nothing unless the pace is [`Pace::Wall`].
    pub fn wall_lag(&self) -> WallLag {
        self.lag
    }

    /// One step of time; the device works in it. `None`: it is gone.
    pub fn advance<D: Device>(&mut self, device: Option<&mut D>) {
        let limit = match self.pace {
            Pace::Cycles(cycles) if device.is_some() => {
                // `as`: a step has few cycles. What an idle wire did not carry is lost.
                let carried = (cycles * WIRE_BYTES_PER_CYCLE) as i64;
                self.wire_credit = (self.wire_credit + carried).min(carried);
                Limit::cycles(cycles)
            }
            Pace::Cycles(_) => {
                self.now_us += STOPPED_STEP_US;
                return;
            }
            Pace::Wall => {
                // `as`: half a million years.
                let wall_us = self.started.elapsed().as_micros() as u64;
                self.now_us = self.now_us.max(wall_us.min(self.now_us + MOST_STEP_US));
                let lag_us = wall_us.saturating_sub(self.now_us);
                self.lag.max_us = self.lag.max_us.max(lag_us);
                self.lag.sum_us += lag_us;
                self.lag.steps += 1;
                Limit::until(self.now_us)
            }
            Pace::Virtual(step_us) => {
                self.now_us += step_us;
                Limit::until(self.now_us)
            }
        };
        if let Some(device) = device {
            device.advance(limit);
            self.now_us = self.now_us.max(device.now_us());
        }
    }

    /// Can the next frame come in now? Always, unless the device is clocked.
    pub fn is_wire_free(&self) -> bool {
        !matches!(self.pace, Pace::Cycles(_)) || self.wire_credit >= 0
    }

    /// The wire carries a frame to the device.
    pub fn carry(&mut self, frame_bytes: usize) {
        // `as`: a frame is short.
        self.wire_credit -= (frame_bytes as u64 + WIRE_OVERHEAD_BYTES) as i64;
    }
}
