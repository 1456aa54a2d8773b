//! `chimney device`: the NIC as a PCI device for anything that speaks vfio-user, one client after the other.
//!
//! ```text
//!   client -- socket --> Server (PCI function) --+-- Card: device, wire --> TAP | second socket | echo | reflector
//!                          |     counters, one JSON line for each client
//!   asker -- counter socket --   the same so far, one JSON line for each question
//! ```

mod card;
mod counter_port;
mod far;
mod frame_socket;

pub use card::Card;
pub use counter_port::CounterPort;
pub use far::{EchoPeer, Far, WireChoice, ECHO_PORT};
pub use frame_socket::FrameSocket;

use crate::output::listened;
use crate::pace::Pace;
use anyhow::{Context, Result};
use chimney_sim::device::Device;
use chimney_sim::golden::{self, Golden};
use chimney_sim::host_mem::HostMemory;
use chimney_sim::model::RtlNic;
use chimney_sim::net::impairment::Impairment;
use chimney_sim::net::wire::{FarEnd, Wire};
use chimney_sim::vfio_user::{Server, ServerCounters};
use serde::Serialize;
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Duration;

/// NIC cycles between two looks at socket and wire: 150 microseconds of the simulation.
pub(crate) const CYCLES_PER_STEP: u64 = 64;
/// First guess of the simulation speed, cycles per second.
const EXPECTED_HZ: f64 = 400_000.0;
/// How long a device without client, or one that is not enabled, sleeps between two looks.
const IDLE_WAIT: Duration = Duration::from_millis(1);
/// How long an untimed device with nothing to do sleeps.
const QUIET_WAIT: Duration = Duration::from_micros(100);

/// Options of `chimney device`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Where to listen; a client is a driver, or QEMU with -device vfio-user-pci
    #[arg(long)]
    pub socket: PathBuf,
    /// Which NIC
    #[arg(long, value_enum, default_value_t = Model::Rtl)]
    pub model: Model,
    /// What is on the wire: none, reflect (every frame back to its sender), echo (a second instance of our stack with the
    /// echo service), tap:NAME, or socket:PATH (frames with their length before them, as QEMU's -netdev stream)
    #[arg(long, default_value = "none")]
    pub wire: WireChoice,
    /// Impairments of the wire each way, spelled like netem: "delay 2ms loss 1%"
    #[arg(long, default_value = "", value_parser = far::impairment)]
    pub link: Impairment,
    /// Where the counters so far can be asked for while the device works: a socket that answers each line with a line of JSON
    #[arg(long, value_name = "PATH")]
    pub counters: Option<PathBuf>,
    /// End after the first client
    #[arg(long)]
    pub once: bool,
    /// A line of JSON with the counters when a client leaves, nothing else
    #[arg(long)]
    pub json: bool,
}

/// Which NIC.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    /// The RTL under Verilator
    Rtl,
    /// The golden model: fast, untimed
    Golden,
}

/// What one client did; the counters of the server, and the NIC's own.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ClientReport {
    /// Which client, from 1.
    pub client: u64,
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
    /// Resets, the one at the client's end included.
    pub resets: u64,
    /// Resets in which the NIC did not come to rest.
    pub forced_resets: u64,
    /// DMA refused.
    pub dma_faults: u64,
    /// Memory mapped.
    pub maps: u64,
    /// Commands taken.
    pub messages: u64,
    /// Commands refused.
    pub refused: u64,
    /// Connections that could not go on.
    pub broken: u64,
}

impl ClientReport {
    /// What happened between two looks.
    pub fn between(before: &ServerCounters, after: &ServerCounters) -> Self {
        let (b, a) = (&before.function, &after.function);
        Self {
            client: after.clients,
            mmio_reads: a.mmio_reads - b.mmio_reads,
            mmio_writes: a.mmio_writes - b.mmio_writes,
            send_doorbells: a.send_doorbells - b.send_doorbells,
            receive_doorbells: a.receive_doorbells - b.receive_doorbells,
            interrupts: a.interrupts - b.interrupts,
            resets: a.resets - b.resets,
            forced_resets: a.forced_resets - b.forced_resets,
            dma_faults: after.dma_faults - before.dma_faults,
            maps: after.maps - before.maps,
            messages: after.messages - before.messages,
            refused: after.refused - before.refused,
            broken: after.broken - before.broken,
        }
    }
}

/// Runs the device until it is interrupted.
///
/// # Errors
/// One sentence for the user; the socket is removed.
pub fn run(args: &Args) -> Result<bool> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
        signal_hook::flag::register(signal, stop.clone()).context("cannot catch signals")?;
    }
    let far = Far::open(&args.wire)?;
    let memory = HostMemory::new();
    match args.model {
        Model::Golden => {
            let device = Golden::new(golden::Config::default(), memory.port());
            serve(args, Card::new(device, Wire::new(far, args.link.clone()), Pace::Wall), memory, &stop)
        }
        Model::Rtl => {
            let device = RtlNic::wall_time(&memory, EXPECTED_HZ, None)?;
            let pace = Pace::Cycles(CYCLES_PER_STEP);
            serve(args, Card::new(device, Wire::new(far, args.link.clone()), pace), memory, &stop)
        }
    }
}

fn serve<D: Device>(
    args: &Args,
    mut card: Card<D, Far>,
    memory: HostMemory,
    stop: &AtomicBool,
) -> Result<bool> {
    let mut port = args.counters.as_deref().map(CounterPort::listen).transpose()?;
    let mut server = Server::bind(&args.socket, memory)?;
    if !args.json {
        listened(writeln!(std::io::stdout(), "listening at {}", args.socket.display()))?;
    }
    let mut before = server.counters();
    let mut had_client = false;
    while !stop.load(Ordering::Relaxed) {
        step(&mut card, &mut server)?;
        let now_us = card.now_us();
        card.wire.far().poll(now_us);
        if let Some(port) = &mut port {
            let so_far = || ClientReport::between(&ServerCounters::default(), &server.counters());
            port.poll(|| Ok(serde_json::to_string(&so_far())?))?;
        }
        if had_client && !server.has_client() {
            let after = server.counters();
            let report = ClientReport::between(&before, &after);
            let text = if args.json { serde_json::to_string(&report)? } else { format!("{report:?}") };
            listened(writeln!(std::io::stdout(), "{text}"))?;
            before = after;
            if args.once {
                break;
            }
        }
        had_client = server.has_client();
    }
    Ok(true)
}

/// One step of a server and its card: messages, device, wire, interrupt; sleeps if nothing is to be done.
///
/// # Errors
/// When the wire breaks.
pub fn step<D: Device, F: FarEnd>(card: &mut Card<D, F>, server: &mut Server) -> Result<()> {
    let mut any = server.poll(&mut *card.device.borrow_mut());
    any |= card.step(server.is_enabled()).context("the wire broke")?;
    server.notify(&*card.device.borrow());
    if !server.is_enabled() && !any {
        server.wait(IDLE_WAIT);
    } else if !any && !card.is_clocked() {
        server.wait(QUIET_WAIT);
    }
    Ok(())
}
