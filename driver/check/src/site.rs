//! Where a device is, and how it is reached.

use crate::counters::{Counters, Crossings};
use anyhow::Result;
use chimney_driver::vfio::Vfio;
use chimney_driver::vfio_user::{VfioUser, DEFAULT_TIMEOUT};
use chimney_driver::Bus;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a driver with nothing to do sleeps: device and driver may share few processors.
const IDLE: Duration = Duration::from_micros(20);

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
    ///
    /// # Errors
    /// When it should answer and does not.
    fn crossings(&mut self) -> Result<Option<Crossings>>;
}

/// A device that works by itself: nobody turns it, and its time is the host's own.
#[derive(Debug)]
pub struct FarSite<B> {
    name: OsString,
    open: fn(&OsStr) -> Result<B>,
    start: Instant,
    counters: Option<Counters>,
}

/// A device in another process, behind a socket.
pub type SocketSite = FarSite<VfioUser>;

/// A PCI function of this machine, through the kernel's VFIO.
pub type VfioSite = FarSite<Vfio>;

impl SocketSite {
    /// The device that listens at `path`.
    pub fn at(path: &Path) -> Self {
        Self::new(path.as_os_str(), |path| Ok(VfioUser::open(Path::new(path), DEFAULT_TIMEOUT)?))
    }
}

impl VfioSite {
    /// The function of this name (`0000:01:00.0`), bound to `vfio-pci`.
    pub fn at(name: &str) -> Self {
        Self::new(OsStr::new(name), |name| Ok(Vfio::open(&name.to_string_lossy())?))
    }
}

impl<B> FarSite<B> {
    fn new(name: &OsStr, open: fn(&OsStr) -> Result<B>) -> Self {
        Self { name: name.to_owned(), open, start: Instant::now(), counters: None }
    }

    /// The same, with somebody on the device's side who can be asked.
    #[must_use]
    pub fn with_counters(self, counters: Option<Counters>) -> Self {
        Self { counters, ..self }
    }
}

impl<B: Bus> Site for FarSite<B> {
    type Bus = B;

    fn connect(&mut self) -> Result<B> {
        (self.open)(&self.name)
    }

    fn turn(&mut self) -> Result<()> {
        std::thread::sleep(IDLE);
        Ok(())
    }

    fn now_us(&self) -> u64 {
        // `as`: half a million years.
        self.start.elapsed().as_micros() as u64
    }

    fn crossings(&mut self) -> Result<Option<Crossings>> {
        self.counters.as_mut().map(Counters::ask).transpose()
    }
}
