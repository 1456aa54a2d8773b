//! When to hand over: at a moment that is not a comfortable one.
//!
//! Two kinds take turns, so that over a few seeds every kind of bytes moves in both directions:
//!
//! | kind | what happens before the hand-over | what then moves |
//! |---|---|---|
//! | pause | the application does not read for a while, now and then until the window is full | undelivered bytes |
//! | hole | the wire has just lost a frame, and a few behind it have reached the NIC | out-of-order bytes |
//!
//! A wire that loses nothing, or that nobody sees, has pauses only. Unsent and unacknowledged bytes need no help: an upload always has some.

use super::{Host, Losses};
use chimney_abi::regs;
use chimney_driver::Bus;
use chimney_rng::Rng;

/// Longest ordinary pause.
const SHORT_PAUSE_US: u64 = 3_000;
/// Longest pause that is to fill the window, also when a frame takes a millisecond of simulated time.
const LONG_PAUSE_US: u64 = 150_000;
/// Nothing is waited for while more than this part of the file passes, so that the NIC keeps its share of the bytes.
const WAIT_PART: u64 = 24;
/// Most frames behind the hole that are waited for.
const MOST_BEHIND: u64 = 8;
/// A frame behind the hole that is not there after this time will not come.
const HOLE_LIMIT_US: u64 = 40_000;

#[derive(Clone, Copy, Debug)]
enum Wait {
    /// Until a time.
    Pause { until_us: u64 },
    /// For a loss that is not among the first so many.
    Loss { seen: u64 },
    /// Until so many frames have passed the NIC's port.
    Hole { rx_frames: u64, until_us: u64 },
}

/// Where a connection is when a moment is looked for.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// The file comes to us.
    pub is_receiving: bool,
    /// The NIC owns the connection.
    pub is_in_nic: bool,
    /// Bytes of the file that have passed.
    pub passed: u64,
    /// Length of the file.
    pub total: u64,
}

/// Chooses the moments of one connection.
#[derive(Debug)]
pub struct Moment {
    rng: Rng,
    /// Even: a pause. Odd: a hole, where the wire makes one.
    turn: u64,
    wait: Option<Wait>,
    /// When so many bytes have passed nothing is waited for any more.
    until_bytes: u64,
    /// Frames that have passed the NIC's port, and how many of them in the last step.
    at_port: u64,
    in_last_step: u64,
}

impl Moment {
    /// The moments of the connection to `port`.
    pub fn new(seed: u64, port: u16) -> Self {
        let rng = Rng::new(seed ^ u64::from(port));
        Self { rng, turn: seed, wait: None, until_bytes: 0, at_port: 0, in_last_step: 0 }
    }

    /// Does the application read meanwhile?
    pub fn is_reading(&self) -> bool {
        matches!(self.wait, None | Some(Wait::Loss { .. }))
    }

    /// Has it come? Asked at every step from the first that would do.
    pub fn has_come<B: Bus, L: Losses>(&mut self, host: &mut Host<'_, B, L>, place: Place) -> bool {
        let Some(wait) = self.wait else {
            self.wait = Some(self.first_wait(host, place));
            return false;
        };
        let now_us = host.now_us;
        let is_late = place.passed >= self.until_bytes;
        let has_come = match wait {
            Wait::Pause { until_us } => is_late || now_us >= until_us,
            Wait::Loss { seen } => {
                self.count_frames(host);
                match host.wire.frames_before_loss(seen) {
                    Some(before) => {
                        let rx_frames = before + 1 + self.rng.below(MOST_BEHIND);
                        self.wait = Some(Wait::Hole { rx_frames, until_us: now_us + HOLE_LIMIT_US });
                        self.is_behind(rx_frames, place)
                    }
                    None => is_late,
                }
            }
            Wait::Hole { rx_frames, until_us } => {
                self.count_frames(host);
                self.is_behind(rx_frames, place) || now_us >= until_us
            }
        };
        if has_come {
            self.wait = None;
            self.turn += 1;
        }
        has_come
    }

    fn first_wait<B: Bus, L: Losses>(&mut self, host: &Host<'_, B, L>, place: Place) -> Wait {
        self.until_bytes = place.passed + place.total / WAIT_PART;
        if let Some(seen) = host.wire.lost().filter(|_| place.is_receiving && self.turn % 2 == 1) {
            return Wait::Loss { seen };
        }
        let is_long = place.is_receiving && self.rng.below(2) == 1;
        let longest = if is_long { LONG_PAUSE_US } else { SHORT_PAUSE_US };
        Wait::Pause { until_us: host.now_us + self.rng.below(longest) }
    }

    fn count_frames<B: Bus, L: Losses>(&mut self, host: &mut Host<'_, B, L>) {
        // A device that does not answer is noticed by whoever drives it.
        let count = host.driver.counter(&regs::CNT_RX_FRAMES).unwrap_or(self.at_port);
        self.in_last_step = count.saturating_sub(self.at_port);
        self.at_port = count;
    }

    /// Have the frames behind the hole reached whoever owns the connection? An order to the NIC arrives a step later.
    fn is_behind(&self, rx_frames: u64, place: Place) -> bool {
        let ahead = if place.is_in_nic { self.in_last_step } else { 0 };
        self.at_port + ahead >= rx_frames
    }
}
