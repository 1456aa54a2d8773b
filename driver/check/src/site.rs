//! Where a device is, and how it is reached.

use anyhow::Result;
use chimney_driver::vfio::Vfio;
use chimney_driver::vfio_user::{VfioUser, DEFAULT_TIMEOUT};
use chimney_driver::Bus;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a driver with nothing to do sleeps: device and driver may share few processors.
const IDLE: Duration = Duration::from_micros(20);

/// What crossed the boundary of the device so far, as its own side counted it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Crossings {
    /// Words read from BAR0.
    pub mmio_reads: u64,
    /// Words written to BAR0, doorbells included.
    pub mmio_writes: u64,
    /// Send doorbells rung.
    pub send_doorbells: u64,
    /// Receive doorbells rung.
    pub receive_doorbells: u64,
    /// Interrupts signalled.
    pub interrupts: u64,
    /// DMA refused.
    pub dma_faults: u64,
}

/// A device with the echo peer on its wire. One bus to it at a time.
pub trait Site {
    /// The transport.
    type Bus: Bus;

    /// A new way to the device, after the last one was dropped.
    ///
    /// # Errors
    /// When there is none.
    fn connect(&mut self) -> Result<Self::Bus>;

    /// Lets the device and its wire work for a moment, if somebody must.
    ///
    /// # Errors
    /// When the device or its wire broke.
    fn turn(&mut self) -> Result<()>;

    /// The host's time, microseconds.
    fn now_us(&self) -> u64;

    /// What the device's side counted, if it can be asked.
    fn crossings(&self) -> Option<Crossings>;
}

/// The host's own time.
#[derive(Clone, Copy, Debug)]
struct Clock(Instant);

impl Clock {
    fn now_us(self) -> u64 {
        // `as`: half a million years.
        self.0.elapsed().as_micros() as u64
    }
}

/// A device in another process, behind a socket.
#[derive(Debug)]
pub struct SocketSite {
    path: PathBuf,
    clock: Clock,
}

impl SocketSite {
    /// The device that listens at `path`.
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned(), clock: Clock(Instant::now()) }
    }
}

impl Site for SocketSite {
    type Bus = VfioUser;

    fn connect(&mut self) -> Result<VfioUser> {
        Ok(VfioUser::open(&self.path, DEFAULT_TIMEOUT)?)
    }

    fn turn(&mut self) -> Result<()> {
        std::thread::sleep(IDLE);
        Ok(())
    }

    fn now_us(&self) -> u64 {
        self.clock.now_us()
    }

    fn crossings(&self) -> Option<Crossings> {
        None
    }
}

/// A PCI function of this machine, through the kernel's VFIO.
#[derive(Debug)]
pub struct VfioSite {
    name: String,
    clock: Clock,
}

impl VfioSite {
    /// The function of this name (`0000:01:00.0`), bound to `vfio-pci`.
    pub fn at(name: &str) -> Self {
        Self { name: name.to_owned(), clock: Clock(Instant::now()) }
    }
}

impl Site for VfioSite {
    type Bus = Vfio;

    fn connect(&mut self) -> Result<Vfio> {
        Ok(Vfio::open(&self.name)?)
    }

    fn turn(&mut self) -> Result<()> {
        std::thread::sleep(IDLE);
        Ok(())
    }

    fn now_us(&self) -> u64 {
        self.clock.now_us()
    }

    fn crossings(&self) -> Option<Crossings> {
        None
    }
}
