//! The kernel VFIO transport: a PCI function that the kernel hands to this process, behind an IOMMU.
//!
//! ```text
//!   config space  pread, pwrite           allocate    pinned pages (huge ones if there are any), mapped in the IOMMU
//!   read32        the mapped BAR          interrupt   eventfd, from MSI-X
//!   write32       the mapped BAR          alarm       eventfds: error of the bus (ERR), wanted back (REQ)
//! ```
//! # Order
//! Open: function in order ([`place`]) -> container, group, device -> reset -> registers. Drop: interrupts off -> bus master off
//! -> reset -> every map ended, also of memory that is still in use -> registers unmapped -> device, group, container closed. The
//! kernel would do all of it for a process that dies; it is the net and not the plan.
//!
//! What the crate `vfio-ioctls` does: open container, group and device, describe regions, and set eventfds. Its calls that
//! drop results are not used (`raw`).

pub mod error;
pub mod info;
pub mod place;
mod raw;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chimney_vfio_user::memory::{SharedMemory, HUGE_PAGE_BYTES, PAGE_BYTES};
use chimney_vfio_user::pci;
use rustix::io::Errno;
use rustix::process::{getrlimit, Resource};
use vfio_bindings::bindings::vfio::{
    VFIO_PCI_CONFIG_REGION_INDEX, VFIO_PCI_ERR_IRQ_INDEX, VFIO_PCI_MSIX_IRQ_INDEX, VFIO_PCI_REQ_IRQ_INDEX,
    VFIO_REGION_INFO_FLAG_MMAP,
};
use vfio_ioctls::{VfioContainer, VfioDevice, VfioError};
use vmm_sys_util::eventfd::{EventFd, EFD_CLOEXEC, EFD_NONBLOCK};

use self::error::explain;
pub use self::error::OpenError;
use self::info::IommuInfo;
use self::place::Place;
use self::raw::Registers;
use crate::bus::{Bus, DeviceAccess};
use crate::error::{Alarm, BusError};
use crate::iova::Iova;
use crate::mapped::{MappedMemory, Space};

/// Where the kernel describes its devices.
const SYSFS: &str = "/sys";

/// Memory that devices of a container reach.
struct AddressSpace {
    container: Arc<VfioContainer>,
    iova: Iova,
    /// First address to length of what is mapped, bytes.
    mapped: BTreeMap<u64, u64>,
    pages: PageUse,
}

/// Which pages the memory is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PageUse {
    /// Bytes in pages of 2 MiB.
    pub huge_bytes: u64,
    /// Bytes in pages of 4 KiB.
    pub small_bytes: u64,
    /// Bytes for which there were no huge pages left.
    pub missed_bytes: u64,
}

impl AddressSpace {
    /// Ends a map. True if nothing reaches the memory any more.
    fn unmap(&mut self, iova: u64) -> bool {
        let Some(size) = self.mapped.remove(&iova) else { return true };
        // An address that may still be mapped is not given to anybody else.
        let is_unmapped = raw::unmap(&self.container, iova, size).is_ok();
        if is_unmapped {
            self.iova.give(iova);
        }
        is_unmapped
    }
}

/// A container as the memory that it maps sees it.
#[derive(Clone)]
pub struct Container(Arc<Mutex<AddressSpace>>);

impl Container {
    fn lock(&self) -> MutexGuard<'_, AddressSpace> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Space for Container {
    fn give_back(&self, iova: u64, memory: SharedMemory) {
        if !self.lock().unmap(iova) {
            std::mem::forget(memory);
        }
    }
}

/// Memory that the device reaches. Dropping it unmaps it.
pub type VfioMemory = MappedMemory<Container>;

/// A PCI function of this machine.
pub struct Vfio {
    /// Empty only while it is dropped.
    registers: Option<Registers>,
    /// Empty only while it is dropped.
    device: Option<VfioDevice>,
    space: Container,
    interrupt: EventFd,
    has_interrupts: bool,
    uncorrected: EventFd,
    wanted: EventFd,
}

impl Vfio {
    /// Opens a function that is bound to `vfio-pci`, by its name (`0000:01:00.0`), and resets it.
    ///
    /// # Errors
    /// [`OpenError`]: each says what helps.
    pub fn open(name: &str) -> Result<Self, OpenError> {
        let place = Place::find(Path::new(SYSFS), name)?;
        let (device, container) = open_device(&place).map_err(|error| explain(&place, error))?;
        let system = |what| {
            let bdf = place.bdf.clone();
            move |source| OpenError::System { bdf, what, source }
        };
        if let Some(what) = missing(&device) {
            return Err(OpenError::Strange { bdf: place.bdf, what });
        }
        let info = raw::iommu_info(&container).map_err(system("describing the IOMMU"))?;
        let iova = Iova::new(&IommuInfo::parse(&info).preferred());
        let space = AddressSpace { container, iova, mapped: BTreeMap::new(), pages: PageUse::default() };
        let event = || EventFd::new(EFD_CLOEXEC | EFD_NONBLOCK).map_err(system("making an eventfd"));
        let offset = device.get_region_offset(pci::REGISTER_BAR);
        let registers = Registers::map(raw::device_fd(&device), offset, pci::REGISTER_BAR_BYTES as usize)
            .map_err(system("mapping the registers"))?;
        let mut bus = Self {
            registers: Some(registers),
            device: Some(device),
            space: Container(Arc::new(Mutex::new(space))),
            interrupt: event()?,
            has_interrupts: false,
            uncorrected: event()?,
            wanted: event()?,
        };
        bus.come_up().map_err(|error| OpenError::Bus { bdf: place.bdf, error })?;
        Ok(bus)
    }

    /// Which pages its memory was made of so far.
    pub fn page_use(&self) -> PageUse {
        self.space.lock().pages
    }

    /// The eventfd that is written with each interrupt: who has nothing to do can wait for it.
    pub fn interrupt_fd(&self) -> RawFd {
        self.interrupt.as_raw_fd()
    }

    fn come_up(&mut self) -> Result<(), BusError> {
        for (index, event) in
            [(VFIO_PCI_ERR_IRQ_INDEX, &self.uncorrected), (VFIO_PCI_REQ_IRQ_INDEX, &self.wanted)]
        {
            let device = self.device("an alarm")?;
            // Old kernels and functions without error reporting lack one or the other.
            if device.get_irq_info(index).is_some_and(|irq| irq.count > 0) {
                device.enable_irq(index, vec![event]).map_err(|_| refused("an alarm", Errno::INVAL))?;
            }
        }
        self.reset()
    }

    fn device(&self, what: &'static str) -> Result<&VfioDevice, BusError> {
        self.device.as_ref().ok_or(BusError::Gone { what })
    }

    /// The descriptor and the offset of config space in it, if `len` bytes at `offset` lie inside.
    fn config(&self, what: &'static str, offset: u16, len: usize) -> Result<(BorrowedFd<'_>, u64), BusError> {
        let device = self.device(what)?;
        let size = device.get_region_size(VFIO_PCI_CONFIG_REGION_INDEX);
        let end = u64::from(offset) + len as u64; // a length in memory
        if end > size {
            return Err(refused(what, Errno::INVAL));
        }
        let start = device.get_region_offset(VFIO_PCI_CONFIG_REGION_INDEX);
        Ok((raw::device_fd(device), start + u64::from(offset)))
    }

    /// Memory, of huge pages if there are any. A piece that would leave more than half of its last one empty is not.
    fn pages(&self, size: u64) -> io::Result<SharedMemory> {
        let mut space = self.space.lock();
        if size >= HUGE_PAGE_BYTES / 2 {
            if let Ok(memory) = SharedMemory::create_huge("chimney-dma", size) {
                space.pages.huge_bytes += memory.len_bytes() as u64; // a length in memory
                return Ok(memory);
            }
            space.pages.missed_bytes += size;
        }
        let (memory, _) = SharedMemory::create("chimney-dma", size)
            .map_err(|error| io::Error::from_raw_os_error(error.errno()))?;
        space.pages.small_bytes += memory.len_bytes() as u64; // a length in memory
        Ok(memory)
    }
}

fn open_device(place: &Place) -> Result<(VfioDevice, Arc<VfioContainer>), VfioError> {
    let container = Arc::new(VfioContainer::new(None)?);
    let device = VfioDevice::new(&place.path, container.clone(), false)?;
    Ok((device, container))
}

/// What the function lacks.
fn missing(device: &VfioDevice) -> Option<&'static str> {
    if device.get_region_size(VFIO_PCI_CONFIG_REGION_INDEX) < pci::CONFIG_BYTES as u64 {
        return Some("config space");
    }
    // Registers: the whole BAR in one map, without a page of the MSI-X table in it.
    let flags = device.get_region_flags(pci::REGISTER_BAR);
    let size = device.get_region_size(pci::REGISTER_BAR);
    if size < u64::from(pci::REGISTER_BAR_BYTES) || flags & VFIO_REGION_INFO_FLAG_MMAP == 0 {
        return Some("BAR0 with registers that can be mapped");
    }
    let vectors = device.get_irq_info(VFIO_PCI_MSIX_IRQ_INDEX).map_or(0, |irq| irq.count);
    (vectors < u32::from(pci::VECTORS)).then_some("MSI-X vector")
}

fn refused(what: &'static str, errno: Errno) -> BusError {
    BusError::Refused { what, errno: errno.raw_os_error().unsigned_abs() }
}

fn failed(what: &'static str) -> impl Fn(io::Error) -> BusError {
    move |error| refused(what, Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

/// Why memory could not be mapped. `limit`: what this process may pin, bytes; `None`: without limit.
fn no_map(len_bytes: usize, error: &io::Error, limit: Option<u64>) -> BusError {
    match (Errno::from_io_error(error), limit) {
        (Some(Errno::NOMEM), Some(limit_bytes)) => BusError::Locked { len_bytes, limit_bytes },
        // ENOSPC: the container has no more maps (module parameter dma_entry_limit).
        (Some(Errno::NOMEM | Errno::NOSPC), _) => BusError::NoMemory { len_bytes },
        (errno, _) => refused("mapping memory", errno.unwrap_or(Errno::IO)),
    }
}

fn is_signalled(event: &EventFd) -> bool {
    event.read().is_ok()
}

impl Bus for Vfio {
    type Memory = VfioMemory;

    fn config_read(&mut self, offset: u16, out: &mut [u8]) -> Result<(), BusError> {
        let what = "a read of config space";
        let (fd, at) = self.config(what, offset, out.len())?;
        let len = out.len();
        let count = rustix::io::pread(fd, out, at).map_err(|errno| refused(what, errno))?;
        if count == len {
            Ok(())
        } else {
            Err(BusError::Nonsense { what })
        }
    }

    fn config_write(&mut self, offset: u16, bytes: &[u8]) -> Result<(), BusError> {
        let what = "a write to config space";
        let (fd, at) = self.config(what, offset, bytes.len())?;
        let count = rustix::io::pwrite(fd, bytes, at).map_err(|errno| refused(what, errno))?;
        if count == bytes.len() {
            Ok(())
        } else {
            Err(BusError::Nonsense { what })
        }
    }

    fn reset(&mut self) -> Result<(), BusError> {
        // The kernel restores config space after a reset, so what must be off afterwards is off before.
        self.set_interrupts(false)?;
        self.set_master(false)?;
        raw::reset(self.device("a reset")?).map_err(failed("a reset"))?;
        // Memory space stays enabled: an access to a mapped BAR without it ends the process.
        self.set_master(false)?;
        is_signalled(&self.interrupt); // what came before is over
        Ok(())
    }

    fn set_interrupts(&mut self, on: bool) -> Result<(), BusError> {
        let what = "a change of interrupts";
        let device = self.device(what)?;
        let done = match (self.has_interrupts, on) {
            (false, true) => device.enable_irq(VFIO_PCI_MSIX_IRQ_INDEX, vec![&self.interrupt]),
            (true, false) => device.disable_irq(VFIO_PCI_MSIX_IRQ_INDEX),
            _ => Ok(()),
        };
        done.map_err(|_| {
            refused(what, Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO))
        })?;
        self.has_interrupts = on;
        is_signalled(&self.interrupt); // what came before is over
        Ok(())
    }

    fn read32(&mut self, offset: u32) -> u32 {
        self.registers.as_ref().map_or(u32::MAX, |registers| registers.read32(offset))
    }

    fn write32(&mut self, offset: u32, value: u32) {
        if let Some(registers) = &self.registers {
            registers.write32(offset, value);
        }
    }

    fn allocate(&mut self, len_bytes: usize, access: DeviceAccess) -> Result<VfioMemory, BusError> {
        let no_memory = BusError::NoMemory { len_bytes };
        let memory = self.pages(len_bytes.max(1) as u64).map_err(|_| no_memory)?; // a length in memory
        let size = memory.len_bytes() as u64; // a length in memory
        let align = if size.is_multiple_of(HUGE_PAGE_BYTES) { HUGE_PAGE_BYTES } else { PAGE_BYTES };
        let mut space = self.space.lock();
        let iova = space.iova.take(size, align).ok_or(no_memory)?;
        if let Err(error) = raw::map(&space.container, iova, &memory, access) {
            space.iova.give(iova);
            return Err(no_map(len_bytes, &error, getrlimit(Resource::Memlock).current));
        }
        space.mapped.insert(iova, size);
        drop(space);
        Ok(MappedMemory::new(self.space.clone(), memory, iova, len_bytes))
    }

    fn interrupt_pending(&mut self) -> bool {
        is_signalled(&self.interrupt)
    }

    fn alarm(&mut self) -> Option<Alarm> {
        if is_signalled(&self.wanted) {
            return Some(Alarm::Wanted);
        }
        is_signalled(&self.uncorrected).then_some(Alarm::Uncorrected)
    }

    fn wait_us(&mut self, us: u32) {
        std::thread::sleep(Duration::from_micros(us.into()));
    }
}

impl Drop for Vfio {
    fn drop(&mut self) {
        // Of one that does not answer the kernel ends DMA when it is closed; it tries to reset it for a minute, and we need not. The
        // class is asked of the device each time; for the identity the kernel answers.
        let mut class = [0; 4];
        if self.config_read(pci::REVISION, &mut class).is_ok() && class != [u8::MAX; 4] {
            let _ = self.reset();
        }
        let mut space = self.space.lock();
        while let Some(iova) = space.mapped.keys().next().copied() {
            // What could not be unmapped is pinned by the kernel until the container is closed.
            space.unmap(iova);
        }
        drop(space);
        self.registers = None;
        let device = self.device.take();
        // The crate asks sysfs for the group once more, and panics if the function was removed meanwhile; the descriptor is
        // closed before.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(device)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_named_and_other_refusals_are_not_taken_for_it() {
        let map = |errno: Errno, limit| no_map(16 << 20, &errno.into(), limit);
        let locked = map(Errno::NOMEM, Some(8 << 20));
        assert_eq!(locked, BusError::Locked { len_bytes: 16 << 20, limit_bytes: 8 << 20 });
        let text = locked.to_string();
        assert!(text.contains("8388608") && text.contains("LimitMEMLOCK"), "{text}");
        assert_eq!(map(Errno::NOMEM, None), BusError::NoMemory { len_bytes: 16 << 20 });
        assert_eq!(map(Errno::NOSPC, Some(1)), BusError::NoMemory { len_bytes: 16 << 20 });
        assert_eq!(map(Errno::EXIST, Some(1)), BusError::Refused { what: "mapping memory", errno: 17 });
    }

    #[test]
    fn a_function_that_is_not_there_is_named() {
        let error = Vfio::open("ffff:ff:1f.7").err().map(|error| error.to_string());
        assert_eq!(error.as_deref(), Some("there is no PCI function ffff:ff:1f.7"));
    }
}
