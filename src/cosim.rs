//! The driver's bus over a simulated device: registers by call, memory behind the simulator's IOMMU.

use chimney_vfio_user::pci;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

use chimney_driver::{Bus, BusError, DeviceAccess, DmaMemory};
use chimney_sim::device::{Device, Limit};
use chimney_sim::host_mem::{DmaAccess, DmaRegion, HostMemory};
use chimney_sim::pci::Function;

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
    function: Rc<RefCell<Function>>,
    has_interrupts: bool,
    is_gone: Rc<Cell<bool>>,
}

impl<D> CosimBus<D> {
    /// A bus to `device`, whose DMA goes to `memory`.
    pub fn new(device: Rc<RefCell<D>>, memory: HostMemory) -> Self {
        let function = Rc::new(RefCell::new(Function::new(memory.clone())));
        Self { device, memory, function, has_interrupts: false, is_gone: Rc::new(Cell::new(false)) }
    }

    /// The PCI function, for its counters and its wire.
    pub fn function(&self) -> Rc<RefCell<Function>> {
        self.function.clone()
    }

    /// The switch that takes the device away: once it is true, registers read as all ones and writes go nowhere.
    pub fn removal(&self) -> Rc<Cell<bool>> {
        self.is_gone.clone()
    }
}

impl<D: Device> Bus for CosimBus<D> {
    type Memory = CosimMemory;

    fn config_read(&mut self, offset: u16, out: &mut [u8]) -> Result<(), BusError> {
        if self.is_gone.get() {
            out.fill(u8::MAX);
            return Ok(());
        }
        let read = self.function.borrow_mut().config_read(offset.into(), out);
        read.map_err(|_| refused("a read of config space"))
    }

    fn config_write(&mut self, offset: u16, bytes: &[u8]) -> Result<(), BusError> {
        if self.is_gone.get() {
            return Ok(());
        }
        let device = &mut *self.device.borrow_mut();
        let written = self.function.borrow_mut().config_write(device, offset.into(), bytes);
        written.map_err(|_| refused("a write to config space"))
    }

    fn reset(&mut self) -> Result<(), BusError> {
        if self.is_gone.get() {
            return Err(BusError::Gone { what: "a reset" });
        }
        self.has_interrupts = false;
        self.function.borrow_mut().reset(&mut *self.device.borrow_mut());
        Ok(())
    }

    fn set_interrupts(&mut self, on: bool) -> Result<(), BusError> {
        self.has_interrupts = on;
        Ok(())
    }

    fn read32(&mut self, offset: u32) -> u32 {
        let mut word = [u8::MAX; 4];
        if !self.is_gone.get() {
            let device = &mut *self.device.borrow_mut();
            let mut function = self.function.borrow_mut();
            // A place that is not there reads as all ones, too.
            let _ = function.bar_read(device, pci::REGISTER_BAR, offset.into(), &mut word);
        }
        u32::from_le_bytes(word)
    }

    fn write32(&mut self, offset: u32, value: u32) {
        if !self.is_gone.get() {
            let device = &mut *self.device.borrow_mut();
            let mut function = self.function.borrow_mut();
            // A write to a place that is not there goes nowhere; the function counts it.
            let _ = function.bar_write(device, pci::REGISTER_BAR, offset.into(), &value.to_le_bytes());
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
        let line = self.device.borrow().irq();
        !self.is_gone.get() && self.has_interrupts && self.function.borrow_mut().take_interrupt(line)
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

fn refused(what: &'static str) -> BusError {
    BusError::Refused { what, errno: 22 } // EINVAL, as the kernel says
}
