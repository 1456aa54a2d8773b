//! Register writes are posted: on a real bus they may arrive late, in order. This wrapper delays them, which is where
//! races between driver and device come from (a doorbell under way while data goes to a page).

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use chimney_driver::{Alarm, Bus, BusError, DeviceAccess, DmaMemory};
use chimney_sim::device::Device;
use chimney_sim::host_mem::HostMemory;
use chimney_sim::rng::Rng;

use super::cosim_bus::CosimBus;

/// A [`CosimBus`] whose writes may be late.
pub struct LateBus<D: Device> {
    inner: CosimBus<D>,
    posted: VecDeque<(u32, u32)>,
    /// Decides how many posted writes arrive; without it all do, at once.
    late: Option<Rng>,
    /// Memory that the device may write: address and length.
    pub writable: Vec<(u64, usize)>,
    /// Given once.
    pub alarm: Option<Alarm>,
}

impl<D: Device> LateBus<D> {
    /// A bus to `device`, whose DMA goes to `memory`; its writes are not late yet.
    pub fn new(device: Rc<RefCell<D>>, memory: HostMemory) -> Self {
        let inner = CosimBus::new(device, memory);
        Self { inner, posted: VecDeque::new(), late: None, writable: Vec::new(), alarm: None }
    }

    /// From now on writes arrive late.
    pub fn set_late(&mut self, rng: Rng) {
        self.late = Some(rng);
    }

    /// Lets some of the posted writes arrive. True if some did.
    pub fn deliver(&mut self) -> bool {
        let mut any = false;
        while !self.posted.is_empty() && self.late.as_mut().is_none_or(|rng| rng.chance(0.4)) {
            any = true;
            self.deliver_one();
        }
        any
    }

    fn deliver_one(&mut self) {
        if let Some((offset, value)) = self.posted.pop_front() {
            self.inner.write32(offset, value);
        }
    }
}

impl<D: Device> Bus for LateBus<D> {
    type Memory = <CosimBus<D> as Bus>::Memory;

    fn config_read(&mut self, offset: u16, out: &mut [u8]) -> Result<(), BusError> {
        self.inner.config_read(offset, out)
    }

    fn config_write(&mut self, offset: u16, bytes: &[u8]) -> Result<(), BusError> {
        while !self.posted.is_empty() {
            self.deliver_one(); // a write to config space is not posted, and stays in order
        }
        self.inner.config_write(offset, bytes)
    }

    fn reset(&mut self) -> Result<(), BusError> {
        self.posted.clear();
        self.inner.reset()
    }

    fn set_interrupts(&mut self, on: bool) -> Result<(), BusError> {
        self.inner.set_interrupts(on)
    }

    fn read32(&mut self, offset: u32) -> u32 {
        while !self.posted.is_empty() {
            self.deliver_one(); // a read pushes the writes before it
        }
        self.inner.read32(offset)
    }

    fn write32(&mut self, offset: u32, value: u32) {
        self.posted.push_back((offset, value));
        if self.late.is_none() {
            self.deliver();
        }
    }

    fn allocate(&mut self, len_bytes: usize, access: DeviceAccess) -> Result<Self::Memory, BusError> {
        let region = self.inner.allocate(len_bytes, access)?;
        if access == DeviceAccess::ReadsWrites {
            self.writable.push((region.iova(), len_bytes));
        }
        Ok(region)
    }

    fn interrupt_pending(&mut self) -> bool {
        self.inner.interrupt_pending()
    }

    fn alarm(&mut self) -> Option<Alarm> {
        self.alarm.take()
    }

    fn wait_us(&mut self, us: u32) {
        self.inner.wait_us(us);
    }
}
