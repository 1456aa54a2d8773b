//! Two devices that are one to their driver: the golden model, and the Verilated RTL.

use chimney_sim::device::{Advance, Device, DeviceStats, Limit};
use chimney_sim::golden::{Config, Golden};
use chimney_sim::host_mem::{DmaPort, HostMemory};
use chimney_sim::model::RtlNic;

/// Length of the RTL's clock, nanoseconds: no time passes while it works.
const PERIOD_NS: f64 = 0.0;

/// Clocks without a move on any bus after which nothing is in work, as long as no time passes: a deadline is found in up to 300, loss recovery
/// that begins may take 1100 (`tests/loss_unit`), the largest frame 190.
const QUIET_CLOCKS: u64 = 1700;

/// One of them.
pub enum Dut {
    Golden(Box<Golden<DmaPort>>),
    Rtl(Box<RtlNic>),
}

impl Dut {
    pub fn golden(mem: &HostMemory) -> Self {
        Self::Golden(Box::new(Golden::new(Config::default(), mem.port())))
    }

    pub fn rtl(mem: &HostMemory) -> Self {
        Self::Rtl(Box::new(RtlNic::virtual_time(mem, PERIOD_NS)))
    }

    fn device(&self) -> &dyn Device {
        match self {
            Self::Golden(nic) => nic.as_ref(),
            Self::Rtl(nic) => nic.as_ref(),
        }
    }

    fn device_mut(&mut self) -> &mut dyn Device {
        match self {
            Self::Golden(nic) => nic.as_mut(),
            Self::Rtl(nic) => nic.as_mut(),
        }
    }

    /// What the watchers of the RTL's buses found.
    pub fn violations(&self) -> Option<String> {
        match self {
            Self::Golden(_) => None,
            Self::Rtl(nic) => nic.violations(),
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
            Self::Rtl(nic) if nic.now_us() >= limit.until_us => {
                nic.rest(QUIET_CLOCKS);
                Advance::default()
            }
            Self::Rtl(nic) => {
                nic.leap(limit.until_us - nic.now_us());
                let advance = nic.advance(limit);
                nic.rest(QUIET_CLOCKS);
                advance
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
