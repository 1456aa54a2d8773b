//! Where a device is, and how it is reached.

use crate::cosim::CosimBus;
use crate::device::{self, Card, Far};
use anyhow::{bail, Result};
use chimney_driver::vfio_user::{VfioUser, DEFAULT_TIMEOUT};
use chimney_driver::Bus;
use chimney_sim::device::Device;
use chimney_sim::host_mem::HostMemory;
use chimney_sim::pci::{Function, FunctionCounters};
use chimney_sim::vfio_user::{Server, ServerCounters};
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{mpsc, Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What crossed the boundary of the device so far, as its own side counted it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Crossings {
    /// At the PCI function.
    pub function: FunctionCounters,
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

/// The device in this process and on this thread.
pub struct InProcess<D: Device> {
    card: Card<D, Far>,
    memory: HostMemory,
    function: Option<Rc<RefCell<Function>>>,
}

impl<D: Device> InProcess<D> {
    /// A site of a device that reaches `memory`.
    pub fn new(card: Card<D, Far>, memory: HostMemory) -> Self {
        Self { card, memory, function: None }
    }
}

impl<D: Device> Site for InProcess<D> {
    type Bus = CosimBus<D>;

    fn connect(&mut self) -> Result<CosimBus<D>> {
        let bus = CosimBus::new(self.card.device.clone(), self.memory.clone());
        self.function = Some(bus.function());
        Ok(bus)
    }

    fn turn(&mut self) -> Result<()> {
        let is_enabled = self.function.as_ref().is_some_and(|function| function.borrow().is_enabled());
        self.card.step(is_enabled)?;
        let now_us = self.card.now_us();
        self.card.wire.far().poll(now_us);
        Ok(())
    }

    fn now_us(&self) -> u64 {
        self.card.now_us()
    }

    fn crossings(&self) -> Option<Crossings> {
        let function = self.function.as_ref()?.borrow().counters();
        Some(Crossings { function, dma_faults: self.memory.violations().0 })
    }
}

/// The device behind a socket: on a thread of its own, or in another process.
pub struct VfioUserSite {
    path: PathBuf,
    started: Instant,
    /// Of a device on a thread; the other process cannot be asked.
    thread: Option<DeviceThread>,
}

struct DeviceThread {
    stop: Arc<AtomicBool>,
    counters: Arc<Mutex<ServerCounters>>,
    handle: Option<JoinHandle<Result<()>>>,
}

impl VfioUserSite {
    /// The device of another process, which listens at `path`.
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned(), started: Instant::now(), thread: None }
    }

    /// Starts a thread with a device that `make` makes there, and a server at `path`.
    ///
    /// # Errors
    /// When the server cannot be made.
    pub fn start<D: Device + 'static>(
        path: &Path,
        make: impl FnOnce(&HostMemory) -> Result<Card<D, Far>> + Send + 'static,
    ) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let counters = Arc::new(Mutex::new(ServerCounters::default()));
        let (ready, is_ready) = mpsc::channel();
        let (their_path, their_stop, theirs) = (path.to_owned(), stop.clone(), counters.clone());
        let handle = std::thread::spawn(move || {
            let memory = HostMemory::new();
            let mut card = make(&memory)?;
            let mut server = Server::bind(&their_path, memory)?;
            // Who waits for it may have given up.
            let _ = ready.send(());
            while !their_stop.load(Ordering::Relaxed) {
                device::step(&mut card, &mut server)?;
                let now_us = card.now_us();
                card.wire.far().poll(now_us);
                *theirs.lock().unwrap_or_else(PoisonError::into_inner) = server.counters();
            }
            Ok(())
        });
        let mut site = Self::at(path);
        let has_started = is_ready.recv().is_ok();
        site.thread = Some(DeviceThread { stop, counters, handle: Some(handle) });
        if !has_started {
            site.turn()?;
        }
        Ok(site)
    }
}

impl Site for VfioUserSite {
    type Bus = VfioUser;

    fn connect(&mut self) -> Result<VfioUser> {
        Ok(VfioUser::open(&self.path, DEFAULT_TIMEOUT)?)
    }

    fn turn(&mut self) -> Result<()> {
        if let Some(thread) = &mut self.thread {
            if let Some(handle) = thread.handle.take_if(|handle| handle.is_finished()) {
                match handle.join() {
                    Ok(result) => result?,
                    Err(_) => bail!("the device's thread panicked"),
                }
                bail!("the device's thread has ended");
            }
        }
        // Device and driver share few processors: who only waits lets the other one run.
        std::thread::sleep(Duration::from_micros(20));
        Ok(())
    }

    fn now_us(&self) -> u64 {
        // `as`: half a million years.
        self.started.elapsed().as_micros() as u64
    }

    fn crossings(&self) -> Option<Crossings> {
        let counters = *self.thread.as_ref()?.counters.lock().unwrap_or_else(PoisonError::into_inner);
        Some(Crossings { function: counters.function, dma_faults: counters.dma_faults })
    }
}

impl Drop for VfioUserSite {
    fn drop(&mut self) {
        if let Some(mut thread) = self.thread.take() {
            thread.stop.store(true, Ordering::Relaxed);
            if let Some(handle) = thread.handle.take() {
                // What it ended with was seen by `turn`, or nobody asked.
                let _ = handle.join();
            }
        }
    }
}
