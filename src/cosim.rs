//! The driver's bus over a simulated device: registers by call, memory behind the simulator's IOMMU.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use chimney_driver::{Bus, BusError, DeviceAccess, DmaMemory};
use chimney_sim::device::{Device, Limit};
use chimney_sim::host_mem::{DmaAccess, DmaRegion, HostMemory};

/// Driver memory that the device reaches through the simulator.
#[derive(Debug)]
pub struct CosimMemory(DmaRegion);

impl DmaMemory for CosimMemory {
    fn iova(&self) -> u64 {
        self.0.iova()
    }

    fn len_bytes(&self) -> usize {
        self.0.len_bytes()
    }

    fn read(&self, offset: usize, out: &mut [u8]) {
        self.0.read(offset, out);
    }

    fn write(&self, offset: usize, bytes: &[u8]) {
        self.0.write(offset, bytes);
    }

    fn load_u64(&self, offset: usize) -> u64 {
        self.0.load_u64(offset)
    }

    fn store_u64(&self, offset: usize, value: u64) {
        self.0.store_u64(offset, value);
    }
}

/// In-process transport to any [`Device`]: golden model or Verilated RTL.
#[derive(Debug)]
pub struct CosimBus<D> {
    device: Rc<RefCell<D>>,
    memory: HostMemory,
    is_gone: Rc<Cell<bool>>,
}

impl<D> CosimBus<D> {
    /// A bus to `device`, whose DMA goes to `memory`.
    pub fn new(device: Rc<RefCell<D>>, memory: HostMemory) -> Self {
        Self { device, memory, is_gone: Rc::new(Cell::new(false)) }
    }

    /// The switch that takes the device away: once it is true, registers read as all ones and writes go nowhere.
    pub fn removal(&self) -> Rc<Cell<bool>> {
        self.is_gone.clone()
    }
}

impl<D: Device> Bus for CosimBus<D> {
    type Memory = CosimMemory;

    fn read32(&mut self, offset: u32) -> u32 {
        if self.is_gone.get() {
            return u32::MAX;
        }
        self.device.borrow_mut().mmio_read(offset)
    }

    fn write32(&mut self, offset: u32, value: u32) {
        if !self.is_gone.get() {
            self.device.borrow_mut().mmio_write(offset, value);
        }
    }

    fn allocate(&mut self, len_bytes: usize, access: DeviceAccess) -> Result<CosimMemory, BusError> {
        let access = match access {
            DeviceAccess::Reads => DmaAccess::DeviceReads,
            DeviceAccess::ReadsWrites => DmaAccess::DeviceReadsWrites,
        };
        self.memory.alloc(len_bytes, access).map(CosimMemory).map_err(|_| BusError::NoMemory { len_bytes })
    }

    fn interrupt_pending(&mut self) -> bool {
        !self.is_gone.get() && self.device.borrow().irq()
    }

    fn wait_us(&mut self, us: u32) {
        if self.is_gone.get() {
            return;
        }
        let mut device = self.device.borrow_mut();
        let until_us = device.now_us() + u64::from(us);
        device.advance(Limit::until(until_us));
    }
}
