//! Load for a NIC: offloaded connections with endless data, against a [`Blaster`].
//!
//! ```text
//!   Blaster <- frames -> device <- Driver <- Switch <- endless bytes
//! ```
//! The host costs no simulated time: between two turns of the device it reads, posts and sends all it can.

use super::blaster::{Blaster, Habit, Segments};
use crate::cosim::CosimBus;
use anyhow::{bail, Context, Result};
use chimney_abi::desc::PAGE_SLOTS;
use chimney_abi::offload::Residence;
use chimney_abi::wire::tcp::MIN_MSS;
use chimney_driver::{Config, Driver};
use chimney_host_stack::switch::{Switch, SwitchConfig};
use chimney_host_stack::{Address, ConnId, MacAddr, Stack, StackConfig, StackEvent, TcpConfig};
use chimney_sim::device::{Device, Limit};
use chimney_sim::host_mem::HostMemory;
use std::cell::RefCell;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;

const HOST: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);
const HOST_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const PEER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
const PEER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 9];
const PORT: u16 = 7;
/// Device cycles between two looks of the host.
const STEP_CYCLES: u64 = 128;
/// Cycles of frames that wait in front of the MAC port: it never runs dry within a step, register writes of the host included.
const WAITING_CYCLES: u64 = 4 * STEP_CYCLES;
/// Bytes of the port per cycle.
const PORT_BYTES: u64 = 8;
/// Connections that the host opens at the same time: as many frames wait at most for a MAC address.
const OPENED_AT_ONCE: usize = 16;
/// Pages that the driver keeps back, beside those of full windows.
const RESERVE_PAGES: u16 = 64;
/// Steps until all connections are offloaded; more means that something is broken.
const MOST_STEPS: u64 = 1_000_000;
/// The device's hash key: the same places in the lookup in every run, so the same cycles.
const HASH_KEY: u64 = 0x0123_4567_89AB_CDEF;
static PIECE: [u8; 32 << 10] = [0xa5; 32 << 10];

/// What goes over the wire.
#[derive(Clone, Copy, Debug)]
pub struct Traffic {
    /// Offloaded connections.
    pub connections: usize,
    /// Text of a segment, both ways.
    pub segment_bytes: u16,
    /// The peer sends.
    pub receives: bool,
    /// The host sends.
    pub sends: bool,
    /// Segments that the peer has under way, at most.
    pub most_ahead: u32,
    /// Cycles between the first beats of two frames of the peer, as the device was told; 0: as near as the port takes them.
    pub distance: u64,
}

impl Traffic {
    /// Frames that wait in front of the MAC port.
    fn waiting(&self) -> u64 {
        let beats = u64::from(self.segment_bytes) / PORT_BYTES;
        // A frame with headers has at least eight beats; acknowledgments come between those with text.
        let least = if self.sends { PORT_BYTES } else { beats.max(PORT_BYTES) };
        WAITING_CYCLES / self.distance.max(least) + 1
    }
}

/// As the driver has it, for at least so many connections.
fn config(connections: usize) -> Config {
    let least = Config { mac: HOST_MAC, ..Config::default() };
    let connections = u32::try_from(connections).unwrap_or(u32::MAX).max(least.connections);
    let pages = connections.saturating_mul(PAGE_SLOTS).saturating_add(RESERVE_PAGES.into());
    Config {
        connections,
        pool_pages: u16::try_from(pages).unwrap_or(u16::MAX),
        reserve_pages: RESERVE_PAGES,
        hash_key: Some(HASH_KEY),
        ..least
    }
}

/// A machine whose NIC is kept busy.
pub struct Load<D: Device> {
    device: Rc<RefCell<D>>,
    driver: Driver<CosimBus<D>>,
    switch: Switch,
    peer: Blaster,
    traffic: Traffic,
    /// Connections at the host, and whether they are open.
    conns: Vec<(ConnId, bool)>,
    /// Frames given to the device.
    given: u64,
    /// Frame bytes to the device and from it.
    bytes: (u64, u64),
    is_started: bool,
}

impl<D: Device> Load<D> {
    /// Opens the connections, hands all of them over, and starts the data.
    ///
    /// # Errors
    /// When the device does not come up or does not take the connections.
    pub fn new(device: D, memory: HostMemory, traffic: Traffic) -> Result<Self> {
        let mut load = Self::open(device, memory, traffic)?;
        load.offload()?;
        load.peer.start();
        load.is_started = true;
        Ok(load)
    }

    /// Opens the connections; they stay in the host.
    ///
    /// # Errors
    /// When the device does not come up, or a connection does not open.
    pub fn open(device: D, memory: HostMemory, traffic: Traffic) -> Result<Self> {
        let device = Rc::new(RefCell::new(device));
        let driver = Driver::open(CosimBus::new(device.clone(), memory), config(traffic.connections))
            .context("the device does not come up")?;
        let stack = Stack::new(StackConfig {
            mac: MacAddr(HOST_MAC),
            addresses: vec![Address::new(HOST, 24)],
            mtu: 1500,
            secret: 1,
            // Smaller than anybody else would offer: the smallest frames there are, also with text.
            tcp: TcpConfig { min_mss: traffic.segment_bytes.min(MIN_MSS), ..TcpConfig::default() },
        });
        let is_busy = traffic.sends || traffic.receives;
        let posted_receives = if is_busy { SwitchConfig::default().posted_receives } else { 0 };
        let switch = Switch::new(stack, SwitchConfig { posted_receives, ..SwitchConfig::default() });
        let habit = Habit {
            segment_bytes: traffic.segment_bytes,
            sends: traffic.receives,
            most_ahead: traffic.most_ahead,
            ack_every: 2,
        };
        let peer = Blaster::new(PEER_MAC, PEER, HOST_MAC, HOST, habit);
        let conns = Vec::new();
        let mut load =
            Self { device, driver, switch, peer, traffic, conns, given: 0, bytes: (0, 0), is_started: false };
        while load.conns.len() < traffic.connections {
            let more = OPENED_AT_ONCE.min(traffic.connections - load.conns.len());
            let now_us = load.device.borrow().now_us();
            for _ in 0..more {
                let id = load.switch.stack().connect(now_us, SocketAddr::new(PEER.into(), PORT))?;
                load.conns.push((id, false));
            }
            load.run_until("open", |l| l.conns.iter().all(|c| c.1))?;
        }
        Ok(load)
    }

    /// Hands all connections over at once. Cycles from the command to the last connection that is the NIC's.
    ///
    /// # Errors
    /// When the device does not take them.
    pub fn offload(&mut self) -> Result<u64> {
        for (id, _) in self.conns.clone() {
            self.switch.offload(id)?;
        }
        self.hand_over("offload", Residence::Offloaded)
    }

    /// Takes all connections back at once. Cycles from the command to the last connection that is the host's.
    ///
    /// # Errors
    /// When the device does not give them back.
    pub fn upload(&mut self) -> Result<u64> {
        for (id, _) in self.conns.clone() {
            self.switch.upload(id)?;
        }
        self.hand_over("upload", Residence::InHost)
    }

    fn hand_over(&mut self, what: &str, to: Residence) -> Result<u64> {
        let start = self.device.borrow().stats().cycles;
        self.look()?;
        self.run_until(what, |l| l.conns.iter().all(|c| l.switch.residence(c.0) == to))?;
        let cycles = self.device.borrow().stats().cycles - start;
        Ok(cycles)
    }

    /// The device.
    pub fn device(&self) -> std::cell::Ref<'_, D> {
        self.device.borrow()
    }

    /// The device, to look at its registers and its partners.
    pub fn device_mut(&self) -> std::cell::RefMut<'_, D> {
        self.device.borrow_mut()
    }

    /// Segments with text so far.
    pub fn segments(&self) -> Segments {
        self.peer.segments()
    }

    /// Frame bytes so far: to the device, from the device.
    pub fn wire_bytes(&self) -> (u64, u64) {
        self.bytes
    }

    fn run_until(&mut self, what: &str, is_done: impl Fn(&Self) -> bool) -> Result<()> {
        for _ in 0..MOST_STEPS {
            if is_done(self) {
                return Ok(());
            }
            self.step()?;
        }
        bail!("{what}: no end after {MOST_STEPS} steps")
    }

    /// One turn of the device, and all that its partners have to do.
    ///
    /// # Errors
    /// When a connection ended, or the NIC sent nonsense.
    pub fn step(&mut self) -> Result<()> {
        self.move_frames()?;
        self.device.borrow_mut().advance(Limit::cycles(STEP_CYCLES));
        self.look()
    }

    /// The host looks at its rings and does all it can.
    fn look(&mut self) -> Result<()> {
        let now_us = self.device.borrow().now_us();
        while let Some(event) = self.switch.stack().next_event() {
            match event {
                StackEvent::Connected(id) => {
                    self.conns.iter_mut().filter(|c| c.0 == id).for_each(|c| c.1 = true);
                }
                StackEvent::Closed(_) => bail!("a connection ended"),
                _ => {}
            }
        }
        if self.is_started {
            let mut buffer = PIECE;
            for &(id, _) in &self.conns {
                if self.traffic.sends {
                    self.switch.send(id, &PIECE)?;
                }
                self.switch.recv(&mut self.driver, id, &mut buffer)?;
            }
        }
        self.switch.poll(now_us, &mut self.driver);
        Ok(())
    }

    fn move_frames(&mut self) -> Result<()> {
        let mut device = self.device.borrow_mut();
        let now_us = device.now_us();
        while let Some(frame) = device.pop_tx_frame() {
            self.bytes.1 += frame.len() as u64;
            self.peer.take(now_us, &frame)?;
        }
        let mut waiting = self.given - device.stats().rx_frames;
        while waiting < self.traffic.waiting() {
            let Some(frame) = self.peer.next_frame(now_us) else { break };
            self.bytes.0 += frame.len() as u64;
            device.rx_frame(&frame, false);
            self.given += 1;
            waiting += 1;
        }
        Ok(())
    }
}
