//! Two devices that are one to their driver: the golden model, and the Verilated RTL.

use chimney_sim::device::{Advance, Device, DeviceStats, Limit};
use chimney_sim::golden::{Config, Golden};
use chimney_sim::host_mem::{DmaPort, HostMemory};
use chimney_sim::model::{Quiet, RtlNic};

/// Length of the RTL's clock, nanoseconds: no time passes while it works.
const PERIOD_NS: f64 = 0.0;

/// When the RTL rests: nothing has been in work for longer than the scan for deadlines takes (66 clocks), which is all that goes on behind
/// `STATUS.idle` as long as no time passes; CUBIC's questions too, but nobody here uses CUBIC.
const REST: Quiet = Quiet { clocks: LONG_CLOCKS, idle_clocks: 80 };

/// So many clocks without a move on any bus mean rest whatever `STATUS.idle` says: a deadline is found in 66, loss recovery that begins may take
/// 1100 (`tests/loss_unit`), the largest frame 190.
const LONG_CLOCKS: u64 = 1700;

/// Of so many rests one is that long, and nothing may happen.
const DOUBTED: u64 = 50;

/// One of them.
pub enum Dut {
    Golden(Box<Golden<DmaPort>>),
    Rtl(Box<Rtl>),
}

/// The NIC, and how often it was seen at rest.
pub struct Rtl {
    nic: RtlNic,
    rests: u64,
}

impl Rtl {
    /// Runs until everything is done.
    ///
    /// # Panics
    /// When something happened after that.
    fn rest(&mut self) {
        self.nic.rest(REST);
        self.rests += 1;
        if self.rests.is_multiple_of(DOUBTED) {
            let before = self.nic.activity();
            self.nic.rest(Quiet::buses(LONG_CLOCKS));
            assert_eq!(self.nic.activity(), before, "the RTL did not rest");
        }
    }

    /// The time comes at once.
    fn leap(&mut self, to_us: u64) {
        self.nic.leap(to_us.saturating_sub(self.nic.now_us()));
        self.rest();
    }
}

impl Dut {
    pub fn golden(mem: &HostMemory) -> Self {
        Self::Golden(Box::new(Golden::new(Config::default(), mem.port())))
    }

    pub fn rtl(mem: &HostMemory) -> Self {
        Self::Rtl(Box::new(Rtl { nic: RtlNic::virtual_time(mem, PERIOD_NS), rests: 0 }))
    }

    fn device(&self) -> &dyn Device {
        match self {
            Self::Golden(nic) => nic.as_ref(),
            Self::Rtl(rtl) => &rtl.nic,
        }
    }

    fn device_mut(&mut self) -> &mut dyn Device {
        match self {
            Self::Golden(nic) => nic.as_mut(),
            Self::Rtl(rtl) => &mut rtl.nic,
        }
    }

    /// What the watchers of the RTL's buses found.
    pub fn violations(&self) -> Option<String> {
        match self {
            Self::Golden(_) => None,
            Self::Rtl(rtl) => rtl.nic.violations(),
        }
    }
}

impl Device for Dut {
    fn mmio_read(&mut self, offset: u32) -> u32 {
        self.device_mut().mmio_read(offset)
    }

    fn mmio_write(&mut self, offset: u32, value: u32) {
        self.device_mut().mmio_write(offset, value);
    }

    fn rx_frame(&mut self, frame: &[u8], bad: bool) {
        self.device_mut().rx_frame(frame, bad);
    }

    fn pop_tx_frame(&mut self) -> Option<Vec<u8>> {
        self.device_mut().pop_tx_frame()
    }

    fn irq(&self) -> bool {
        self.device().irq()
    }

    fn now_us(&self) -> u64 {
        self.device().now_us()
    }

    /// The time comes at once, and all timers find it: whoever wants them in order stops at [`Device::next_deadline`].
    fn advance(&mut self, limit: Limit) -> Advance {
        match self {
            Self::Rtl(rtl) => {
                rtl.leap(limit.until_us);
                Advance::default()
            }
            Self::Golden(nic) => nic.advance(limit),
        }
    }

    fn next_deadline(&self) -> Option<u64> {
        self.device().next_deadline()
    }

    fn stats(&self) -> DeviceStats {
        self.device().stats()
    }

    fn power_on_reset(&mut self) {
        self.device_mut().power_on_reset();
    }
}
