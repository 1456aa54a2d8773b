//! Where a device is, and how it is reached: those that this program makes itself.

use crate::cosim::CosimBus;
use crate::device::{self, Card, Far, Model};
use crate::pace::Pace;
use anyhow::{bail, Result};
use chimney_check::{check_site, Crossings, Site, SocketSite};
use chimney_driver::vfio_user::VfioUser;
use chimney_sim::device::Device;
use chimney_sim::golden::{self, Golden};
use chimney_sim::host_mem::{DmaPort, HostMemory};
use chimney_sim::model::RtlNic;
use chimney_sim::net::impairment::Impairment;
use chimney_sim::net::wire::Wire;
use chimney_sim::pci::{Function, FunctionCounters};
use chimney_sim::vfio_user::{Server, ServerCounters};
use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{mpsc, Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// Clock period of an RTL whose time nobody shares, nanoseconds.
const CLOCK_NS: f64 = 8.0;
/// Simulated time of one step of the golden model, and of the RTL, microseconds.
const STEP_US: [u64; 2] = [20, 200];

/// A wire with the echo peer.
///
/// # Errors
/// Never in practice: the ports of a new stack are free.
pub fn echo_wire() -> Result<Wire<Far>> {
    Ok(Wire::new(Far::open(&device::WireChoice::Echo)?, Impairment::default()))
}

/// Runs the list of checks on a device in this process, as `chimney_check::check` does on others.
///
/// # Errors
/// When nothing can be said.
pub fn check_in_process(model: Model, args: &chimney_check::Args) -> Result<bool> {
    let (only, report) = (args.only.as_str(), args.report.as_deref());
    match model {
        Model::Golden => check_site(&mut InProcess::golden()?, only, report),
        Model::Rtl => check_site(&mut InProcess::rtl()?, only, report),
    }
}

/// The device in this process and on this thread.
pub struct InProcess<D: Device> {
    card: Card<D, Far>,
    memory: HostMemory,
    function: Option<Rc<RefCell<Function>>>,
}

impl InProcess<Golden<DmaPort>> {
    /// The golden model with the echo peer, in simulated time.
    ///
    /// # Errors
    /// Never in practice.
    pub fn golden() -> Result<Self> {
        let memory = HostMemory::new();
        let device = Golden::new(golden::Config::default(), memory.port());
        Ok(Self::new(Card::new(device, echo_wire()?, Pace::Virtual(STEP_US[0])), memory))
    }
}

impl InProcess<RtlNic> {
    /// The RTL with the echo peer, in simulated time.
    ///
    /// # Errors
    /// Never in practice.
    pub fn rtl() -> Result<Self> {
        let memory = HostMemory::new();
        let device = RtlNic::virtual_time(&memory, CLOCK_NS);
        Ok(Self::new(Card::new(device, echo_wire()?, Pace::Virtual(STEP_US[1])), memory))
    }
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

    fn crossings(&mut self) -> Result<Option<Crossings>> {
        let Some(function) = &self.function else { return Ok(None) };
        Ok(Some(crossings(&function.borrow().counters(), self.memory.violations().0)))
    }
}

/// What the device's side counted.
fn crossings(function: &FunctionCounters, dma_faults: u64) -> Crossings {
    Crossings {
        mmio_reads: function.mmio_reads,
        mmio_writes: function.mmio_writes,
        send_doorbells: function.send_doorbells,
        receive_doorbells: function.receive_doorbells,
        interrupts: function.interrupts,
        dma_faults,
    }
}

/// The device behind a socket, on a thread of its own, so that it can be asked for its counters.
pub struct VfioUserSite {
    socket: SocketSite,
    thread: DeviceThread,
}

struct DeviceThread {
    stop: Arc<AtomicBool>,
    counters: Arc<Mutex<ServerCounters>>,
    handle: Option<JoinHandle<Result<()>>>,
}

impl VfioUserSite {
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
        let has_started = is_ready.recv().is_ok();
        let thread = DeviceThread { stop, counters, handle: Some(handle) };
        let mut site = Self { socket: SocketSite::at(path), thread };
        if !has_started {
            site.turn()?;
        }
        Ok(site)
    }
}

impl Site for VfioUserSite {
    type Bus = VfioUser;

    fn connect(&mut self) -> Result<VfioUser> {
        self.socket.connect()
    }

    fn turn(&mut self) -> Result<()> {
        if let Some(handle) = self.thread.handle.take_if(|handle| handle.is_finished()) {
            match handle.join() {
                Ok(result) => result?,
                Err(_) => bail!("the device's thread panicked"),
            }
            bail!("the device's thread has ended");
        }
        self.socket.turn()
    }

    fn now_us(&self) -> u64 {
        self.socket.now_us()
    }

    fn crossings(&mut self) -> Result<Option<Crossings>> {
        let counters = *self.thread.counters.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Some(crossings(&counters.function, counters.dma_faults)))
    }
}

impl Drop for VfioUserSite {
    fn drop(&mut self) {
        self.thread.stop.store(true, Ordering::Relaxed);
        if let Some(handle) = self.thread.handle.take() {
            // What it ended with was seen by `turn`, or nobody asked.
            let _ = handle.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use chimney_check::{ECHO_IP, MTU, PREFIX_LEN};
    use chimney_sim::net::netns::PeerConfig;

    #[test]
    fn the_checks_know_the_network_of_the_peers() {
        let net = PeerConfig::default();
        assert_eq!((net.peer_ip, net.prefix_len, net.mtu), (ECHO_IP, PREFIX_LEN, MTU));
    }
}
