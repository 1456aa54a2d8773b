//! The vfio-user transport: a PCI function in another process, behind a UNIX socket.
//!
//! ```text
//!   read32      a message there and one back          allocate   memfd, mapped here; its descriptor goes there
//!   write32     a message there, no answer            interrupt  eventfd, written there, read here
//! ```
//! Every call ends: an answer that does not come in time breaks the transport for good, because a late one would be taken for
//! another. From then on registers read as all ones, which the driver understands as a device that is gone;
//! [`VfioUser::fault`] has the reason.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chimney_vfio_user::channel::{Channel, ChannelError};
use chimney_vfio_user::memory::{SharedMemory, PAGE_BYTES};
use chimney_vfio_user::message::{self, command, irq, region};
use chimney_vfio_user::message::{
    DeviceInfo, DmaMap, DmaUnmap, IrqInfo, RegionAccess, RegionInfo, SetIrqs, Version,
};
use chimney_vfio_user::pci;
use rustix::event::{eventfd, EventfdFlags};
use thiserror::Error;

use crate::bus::{Bus, DeviceAccess};
use crate::error::BusError;
use crate::iova::Iova;
use crate::mapped::{MappedMemory, Space};

/// How long an answer is waited for unless the caller knows better. A simulated device may be slow.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// Address width of the devices behind this transport, bits; nothing there translates less.
const IOVA_BITS: u32 = 48;
/// What we say about ourselves: the server sends no descriptors and asks for nothing.
const CAPABILITIES: &[u8] = b"{\"capabilities\":{\"max_msg_fds\":1,\"max_data_xfer_size\":1048576}}\0";

/// Why there is no device.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Nobody listens.
    #[error("no device at {path}: {source}; `chimney device --socket {path}` makes one")]
    Connect {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Somebody listens, and hung up at once.
    #[error("the device at {path} hung up: another client has it, or it is no vfio-user device")]
    Busy {
        /// Where.
        path: PathBuf,
    },
    /// No PCI function with BAR0 and MSI-X.
    #[error("the device at {path} has no {what}")]
    Strange {
        /// Where.
        path: PathBuf,
        /// What is missing.
        what: &'static str,
    },
    /// The device did not answer as it should.
    #[error("the device at {path} does not come up: {error}")]
    Bus {
        /// Where.
        path: PathBuf,
        /// What went wrong.
        error: BusError,
    },
    /// No eventfd.
    #[error("cannot make an eventfd: {0}")]
    Eventfd(rustix::io::Errno),
}

/// The connection, shared with the memory that it mapped.
#[derive(Debug)]
struct Link {
    channel: Channel,
    next_id: u16,
    timeout: Duration,
    /// Why it is not used any more.
    fault: Option<BusError>,
    iova: Iova,
}

impl Link {
    /// A command and the payload of its answer.
    fn call(
        &mut self,
        what: &'static str,
        command: u16,
        payload: &[&[u8]],
        fds: &[BorrowedFd<'_>],
    ) -> Result<Vec<u8>, BusError> {
        if self.fault.is_some() {
            return Err(BusError::Gone { what });
        }
        let answer = self.exchange(what, command, payload, fds);
        match answer {
            Ok(_) | Err(BusError::Refused { .. }) => {}
            Err(error) => self.fault = Some(error),
        }
        answer
    }

    fn exchange(
        &mut self,
        what: &'static str,
        command: u16,
        payload: &[&[u8]],
        fds: &[BorrowedFd<'_>],
    ) -> Result<Vec<u8>, BusError> {
        let id = self.send(what, command, 0, payload, fds)?;
        let deadline = Instant::now() + self.timeout;
        loop {
            let came = self.channel.receive().map_err(|error| broken(what, error))?;
            let Some(reply) = came else {
                let goes_on = self.channel.wait_readable(deadline).map_err(|error| broken(what, error))?;
                if !goes_on {
                    return Err(self.late(what));
                }
                continue;
            };
            if !reply.header.is_reply() || (reply.header.id, reply.header.command) != (id, command) {
                return Err(BusError::Nonsense { what });
            }
            if reply.header.flags & message::FLAG_ERROR != 0 {
                return Err(BusError::Refused { what, errno: reply.header.errno });
            }
            return Ok(reply.payload);
        }
    }

    /// A command that nobody answers.
    fn post(&mut self, what: &'static str, command: u16, payload: &[&[u8]]) {
        if self.fault.is_some() {
            return;
        }
        if let Err(error) = self.send(what, command, message::FLAG_NO_REPLY, payload, &[]) {
            self.fault = Some(error);
        }
    }

    /// Sends all of a message.
    fn send(
        &mut self,
        what: &'static str,
        command: u16,
        flags: u32,
        payload: &[&[u8]],
        fds: &[BorrowedFd<'_>],
    ) -> Result<u16, BusError> {
        let deadline = Instant::now() + self.timeout;
        self.next_id = self.next_id.wrapping_add(1);
        let bytes = message::message(self.next_id, command, flags, payload);
        let mut is_taken = false;
        loop {
            let result =
                if is_taken { self.channel.flush().map(|()| true) } else { self.channel.send(&bytes, fds) };
            is_taken = result.map_err(|error| broken(what, error))?;
            if is_taken && !self.channel.has_unsent() {
                return Ok(self.next_id);
            }
            if !self.channel.wait_writable(deadline).map_err(|error| broken(what, error))? {
                return Err(self.late(what));
            }
        }
    }

    fn late(&self, what: &'static str) -> BusError {
        let ms = u32::try_from(self.timeout.as_millis()).unwrap_or(u32::MAX);
        BusError::Timeout { what, ms }
    }

    /// Asks for a structure; `parse` finds it in the answer.
    fn ask<T>(
        &mut self,
        what: &'static str,
        command: u16,
        request: Vec<u8>,
        parse: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<T, BusError> {
        let reply = self.call(what, command, &[&request], &[])?;
        parse(&reply).ok_or(BusError::Nonsense { what })
    }

    fn region_read(
        &mut self,
        what: &'static str,
        region: u32,
        offset: u64,
        out: &mut [u8],
    ) -> Result<(), BusError> {
        let count = u32::try_from(out.len()).map_err(|_| BusError::Nonsense { what })?;
        let access = RegionAccess { offset, region, count }.to_bytes();
        let reply = self.call(what, command::REGION_READ, &[&access], &[])?;
        match reply.split_at_checked(RegionAccess::BYTES) {
            Some((echo, data)) if echo == access && data.len() == out.len() => out.copy_from_slice(data),
            _ => {
                let error = BusError::Nonsense { what };
                self.fault = Some(error);
                return Err(error);
            }
        }
        Ok(())
    }
}

fn broken(what: &'static str, error: ChannelError) -> BusError {
    match error {
        ChannelError::Closed | ChannelError::System(_) => BusError::Gone { what },
        ChannelError::BadSize { .. } | ChannelError::TooManyFds => BusError::Nonsense { what },
    }
}

fn lock(link: &Mutex<Link>) -> MutexGuard<'_, Link> {
    link.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A device in another process.
#[derive(Debug)]
pub struct VfioUser {
    link: Arc<Mutex<Link>>,
    interrupt: OwnedFd,
}

impl VfioUser {
    /// Connects to the device at `path`; `timeout`: how long each answer is waited for.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(path: &Path, timeout: Duration) -> Result<Self, OpenError> {
        let socket = UnixStream::connect(path)
            .map_err(|source| OpenError::Connect { path: path.to_owned(), source })?;
        let fail = |error| OpenError::Bus { path: path.to_owned(), error };
        let channel = Channel::new(socket).map_err(|error| fail(broken("the socket", error)))?;
        let mut link = Link { channel, next_id: 0, timeout, fault: None, iova: Iova::of_width(IOVA_BITS) };
        match agree(&mut link) {
            Err(BusError::Gone { .. }) => return Err(OpenError::Busy { path: path.to_owned() }),
            other => other.map_err(fail)?,
        }
        if let Some(what) = missing(&mut link).map_err(fail)? {
            return Err(OpenError::Strange { path: path.to_owned(), what });
        }
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let interrupt = eventfd(0, flags).map_err(OpenError::Eventfd)?;
        Ok(Self { link: Arc::new(Mutex::new(link)), interrupt })
    }

    /// Why the transport is not used any more, if it is not.
    pub fn fault(&self) -> Option<BusError> {
        lock(&self.link).fault
    }

    /// The eventfd that is written with each interrupt: who has nothing to do can wait for it.
    pub fn interrupt_fd(&self) -> BorrowedFd<'_> {
        self.interrupt.as_fd()
    }
}

fn agree(link: &mut Link) -> Result<(), BusError> {
    let what = "agreeing on a version";
    let (major, minor) = message::VERSION;
    let ours = Version { major, minor }.to_bytes();
    let reply = link.call(what, command::VERSION, &[&ours, CAPABILITIES], &[])?;
    match Version::from_bytes(&reply) {
        Some(theirs) if theirs.major == major && theirs.minor <= minor => Ok(()),
        _ => Err(BusError::Nonsense { what }),
    }
}

/// What the device lacks.
fn missing(link: &mut Link) -> Result<Option<&'static str>, BusError> {
    let info = DeviceInfo { argsz: DeviceInfo::BYTES as u32, ..DeviceInfo::default() }; // 16
    let info = link.ask("asking what it is", command::GET_INFO, info.to_bytes(), DeviceInfo::from_bytes)?;
    let wanted = message::DEVICE_PCI | message::DEVICE_RESET;
    if info.flags & wanted != wanted || info.regions <= region::CONFIG || info.irqs <= irq::MSIX {
        return Ok(Some("PCI function with a reset"));
    }
    let ask = |index| RegionInfo { argsz: RegionInfo::BYTES as u32, index, ..RegionInfo::default() }; // 32
    for (index, least, what) in [
        (pci::REGISTER_BAR, u64::from(pci::REGISTER_BAR_BYTES), "BAR0 with registers"),
        (region::CONFIG, pci::CONFIG_BYTES as u64, "config space"), // 256
    ] {
        let request = ask(index).to_bytes();
        let info =
            link.ask("asking for a region", command::GET_REGION_INFO, request, RegionInfo::from_bytes)?;
        if info.size < least {
            return Ok(Some(what));
        }
    }
    let request = IrqInfo { argsz: IrqInfo::BYTES as u32, index: irq::MSIX, ..IrqInfo::default() }; // 16
    let request = request.to_bytes();
    let info = link.ask("asking for interrupts", command::GET_IRQ_INFO, request, IrqInfo::from_bytes)?;
    Ok((info.count < pci::VECTORS.into()).then_some("MSI-X vector"))
}

impl Bus for VfioUser {
    type Memory = VfioUserMemory;

    fn config_read(&mut self, offset: u16, out: &mut [u8]) -> Result<(), BusError> {
        lock(&self.link).region_read("a read of config space", region::CONFIG, offset.into(), out)
    }

    fn config_write(&mut self, offset: u16, bytes: &[u8]) -> Result<(), BusError> {
        let what = "a write to config space";
        let count = u32::try_from(bytes.len()).map_err(|_| BusError::Nonsense { what })?;
        let access = RegionAccess { offset: offset.into(), region: region::CONFIG, count }.to_bytes();
        lock(&self.link).call(what, command::REGION_WRITE, &[&access, bytes], &[]).map(drop)
    }

    fn reset(&mut self) -> Result<(), BusError> {
        lock(&self.link).call("a reset", command::RESET, &[], &[])?;
        self.set_interrupts(false)
    }

    fn set_interrupts(&mut self, on: bool) -> Result<(), BusError> {
        let data = if on { irq::DATA_EVENTFD } else { irq::DATA_NONE };
        let set = SetIrqs {
            argsz: SetIrqs::BYTES as u32, // 20
            flags: data | irq::ACTION_TRIGGER,
            index: irq::MSIX,
            start: 0,
            count: if on { pci::VECTORS.into() } else { 0 },
        };
        let fds = [self.interrupt.as_fd()];
        let fds = if on { &fds[..] } else { &[] };
        let what = "a change of interrupts";
        lock(&self.link).call(what, command::SET_IRQS, &[&set.to_bytes()], fds)?;
        self.interrupt_pending(); // what came before is over
        Ok(())
    }

    fn read32(&mut self, offset: u32) -> u32 {
        let mut word = [0; 4];
        let mut link = lock(&self.link);
        match link.region_read("a register read", pci::REGISTER_BAR, offset.into(), &mut word) {
            Ok(()) => u32::from_le_bytes(word),
            Err(_) => u32::MAX,
        }
    }

    fn write32(&mut self, offset: u32, value: u32) {
        let access = RegionAccess { offset: offset.into(), region: pci::REGISTER_BAR, count: 4 }.to_bytes();
        let payload = [&access[..], &value.to_le_bytes()];
        lock(&self.link).post("a register write", command::REGION_WRITE, &payload);
    }

    fn allocate(&mut self, len_bytes: usize, access: DeviceAccess) -> Result<VfioUserMemory, BusError> {
        let no_memory = BusError::NoMemory { len_bytes };
        let size = (len_bytes.max(1) as u64).next_multiple_of(PAGE_BYTES); // a length in memory
        let (memory, fd) = SharedMemory::create("chimney-dma", size).map_err(|_| no_memory)?;
        let mut link = lock(&self.link);
        let iova = link.iova.take(size, PAGE_BYTES).ok_or(no_memory)?;
        let flags = match access {
            DeviceAccess::Reads => message::MAP_READ,
            DeviceAccess::ReadsWrites => message::MAP_READ | message::MAP_WRITE,
        };
        let argsz = DmaMap::BYTES as u32; // 32
        let map = DmaMap { argsz, flags, offset: 0, address: iova, size };
        if let Err(error) = link.call("mapping memory", command::DMA_MAP, &[&map.to_bytes()], &[fd.as_fd()]) {
            link.iova.give(iova);
            return Err(error);
        }
        Ok(MappedMemory::new(Connection(self.link.clone()), memory, iova, len_bytes))
    }

    fn interrupt_pending(&mut self) -> bool {
        let mut count = [0; 8];
        rustix::io::read(&self.interrupt, &mut count).is_ok()
    }

    fn wait_us(&mut self, us: u32) {
        std::thread::sleep(Duration::from_micros(us.into()));
    }
}

impl Drop for VfioUser {
    fn drop(&mut self) {
        // Memory is given back after this: nothing may go there any more. One that is gone does not mind.
        let _ = self.reset();
    }
}

/// Memory that the device in the other process reaches. Dropping it unmaps it there.
pub type VfioUserMemory = MappedMemory<Connection>;

/// The connection as the memory that it mapped sees it.
#[derive(Clone, Debug)]
pub struct Connection(Arc<Mutex<Link>>);

impl Space for Connection {
    fn give_back(&self, iova: u64, memory: SharedMemory) {
        let mut link = lock(&self.0);
        let argsz = DmaUnmap::BYTES as u32; // 24
        let size = memory.len_bytes() as u64; // a length in memory
        let unmap = DmaUnmap { argsz, flags: 0, address: iova, size };
        // An address that may still be mapped is not given to anybody else; the memory behind it is the device's own
        // mapping of the memfd then, and not ours.
        if link.call("unmapping memory", command::DMA_UNMAP, &[&unmap.to_bytes()], &[]).is_ok() {
            link.iova.give(iova);
        }
    }
}

#[cfg(test)]
mod tests;
