//! When the device asks for an upload that the host need not grant.
//!
//! The watchdog takes a sample of what each connection did in a period: the first 255 segments of each direction. At its end it judges
//! all connections, and asks for the gravest reason that applies; a limit of 0 never asks. The registers are `WATCH_*`.
//!
//! | reason | asked for when |
//! |---|---|
//! | `HighDropRate` | so many of the segments sent were sent again |
//! | `HighOutOfOrderPackets` | text of so many segments came out of order |
//! | `HighFragmentation` | so many segments came from the host: it put them together from fragments, and forwarded them (R-235) |
//! | `NoBufferPreposting` | text of so many segments came in order and found no posted buffer |
//! | `SmallIo` | text of so many segments did not fit into one posted buffer |
//! | `LowActivity` | RCV.NXT and SND.UNA moved so seldom; a connection that is stuck is one of these (law L5) |

use crate::layout::Reg;
use crate::regs;

/// The limits, and the period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchLimits {
    /// Length of a period, microseconds; 0 = nothing is judged.
    pub period_us: u32,
    /// `LowActivity`: fewer moves of RCV.NXT and SND.UNA than this.
    pub least_progress: u8,
    /// Shares count only of at least so many segments.
    pub least_segments: u8,
    /// `HighDropRate`: segments sent again, in 1/256 of those sent.
    pub drop_rate: u8,
    /// `SmallIo`: posted buffers ended by text that went on elsewhere, in 1/256 of the segments received with text.
    pub small_io: u8,
    /// `NoBufferPreposting`: segments in order whose text began in a page of the pool, of the same.
    pub no_preposting: u8,
    /// `HighFragmentation`: segments that the host forwarded, of the same.
    pub fragmentation: u8,
    /// `HighOutOfOrderPackets`: segments out of order, of the same.
    pub out_of_order: u8,
}

/// `WATCH_LEAST.progress`: its lowest bit. See [`WatchLimits::least_progress`].
pub const PROGRESS: usize = regs::WATCH_LEAST.field_at("progress");
/// `WATCH_LEAST.segments`: its lowest bit. See [`WatchLimits::least_segments`].
pub const SEGMENTS: usize = regs::WATCH_LEAST.field_at("segments");
/// `WATCH_SHARES.drop_rate`: its lowest bit. See [`WatchLimits::drop_rate`].
pub const DROP_RATE: usize = regs::WATCH_SHARES.field_at("drop_rate");
/// `WATCH_SHARES.small_io`: its lowest bit. See [`WatchLimits::small_io`].
pub const SMALL_IO: usize = regs::WATCH_SHARES.field_at("small_io");
/// `WATCH_SHARES.no_preposting`: its lowest bit. See [`WatchLimits::no_preposting`].
pub const NO_PREPOSTING: usize = regs::WATCH_SHARES.field_at("no_preposting");
/// `WATCH_SHARES.fragmentation`: its lowest bit. See [`WatchLimits::fragmentation`].
pub const FRAGMENTATION: usize = regs::WATCH_SHARES.field_at("fragmentation");
/// `WATCH_ORDER.out_of_order`: its lowest bit. See [`WatchLimits::out_of_order`].
pub const OUT_OF_ORDER: usize = regs::WATCH_ORDER.field_at("out_of_order");

impl WatchLimits {
    /// The registers and what to write into them.
    #[must_use]
    pub fn registers(&self) -> [(&'static Reg, u32); 4] {
        let put = |value: u8, at: usize| u32::from(value) << at;
        let least = put(self.least_progress, PROGRESS) | put(self.least_segments, SEGMENTS);
        let sent_and_posted = put(self.drop_rate, DROP_RATE) | put(self.small_io, SMALL_IO);
        let shares =
            sent_and_posted | put(self.no_preposting, NO_PREPOSTING) | put(self.fragmentation, FRAGMENTATION);
        [
            (&regs::WATCH_PERIOD_US, self.period_us),
            (&regs::WATCH_LEAST, least),
            (&regs::WATCH_SHARES, shares),
            (&regs::WATCH_ORDER, put(self.out_of_order, OUT_OF_ORDER)),
        ]
    }

    /// What the registers say.
    #[must_use]
    pub fn from_registers(get: impl Fn(&Reg) -> u32) -> Self {
        // `as`: fields of eight bits.
        let take = |reg: &Reg, at: usize| (get(reg) >> at) as u8;
        Self {
            period_us: get(&regs::WATCH_PERIOD_US),
            least_progress: take(&regs::WATCH_LEAST, PROGRESS),
            least_segments: take(&regs::WATCH_LEAST, SEGMENTS),
            drop_rate: take(&regs::WATCH_SHARES, DROP_RATE),
            small_io: take(&regs::WATCH_SHARES, SMALL_IO),
            no_preposting: take(&regs::WATCH_SHARES, NO_PREPOSTING),
            fragmentation: take(&regs::WATCH_SHARES, FRAGMENTATION),
            out_of_order: take(&regs::WATCH_ORDER, OUT_OF_ORDER),
        }
    }
}

impl Default for WatchLimits {
    /// As after a reset: nothing is judged.
    fn default() -> Self {
        Self::from_registers(|reg| reg.reset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registers_hold_every_limit() {
        let limits = WatchLimits {
            period_us: 1_000_000,
            least_progress: 1,
            least_segments: 2,
            drop_rate: 3,
            small_io: 4,
            no_preposting: 5,
            fragmentation: 6,
            out_of_order: 7,
        };
        let written = limits.registers();
        let read = |reg: &Reg| written.iter().find(|w| w.0.offset == reg.offset).map_or(0, |w| w.1);
        assert_eq!(WatchLimits::from_registers(read), limits);
        assert_eq!(WatchLimits::default().period_us, 0);
    }
}
