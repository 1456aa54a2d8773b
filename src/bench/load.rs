//! Load for a NIC: offloaded connections with endless data, against a [`Blaster`].
//!
//! ```text
//!   Blaster <- frames -> device <- Driver <- Switch <- endless bytes
//! ```
//! The host costs no simulated time: between two turns of the device it reads, posts and sends all it can.

use super::blaster::{Blaster, Habit, Segments};
use crate::cosim::CosimBus;
use anyhow::{bail, Context, Result};
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
/// Frames that wait in front of the MAC port: it never runs dry within a step.
const FRAMES_AHEAD: u64 = 24;
/// Steps until all connections are offloaded; more means that something is broken.
const MOST_STEPS: u64 = 1_000_000;
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
        let device = Rc::new(RefCell::new(device));
        let config = Config { mac: HOST_MAC, ..Config::default() };
        let driver = Driver::open(CosimBus::new(device.clone(), memory), config)
            .context("the device does not come up")?;
        let stack = Stack::new(StackConfig {
            mac: MacAddr(HOST_MAC),
            addresses: vec![Address::new(HOST, 24)],
            mtu: 1500,
            secret: 1,
            // Smaller than anybody else would offer: the smallest frames there are, also with text.
            tcp: TcpConfig { min_mss: traffic.segment_bytes.min(MIN_MSS), ..TcpConfig::default() },
        });
        let mut switch = Switch::new(stack, SwitchConfig::default());
        let now_us = device.borrow().now_us();
        let connect = |_| switch.stack().connect(now_us, SocketAddr::new(PEER.into(), PORT));
        let conns =
            (0..traffic.connections).map(connect).map(|id| Ok((id?, false))).collect::<Result<_>>()?;
        let habit = Habit { segment_bytes: traffic.segment_bytes, sends: traffic.receives, ack_every: 2 };
        let peer = Blaster::new(PEER_MAC, PEER, HOST_MAC, HOST, habit);
        let mut load =
            Self { device, driver, switch, peer, traffic, conns, given: 0, bytes: (0, 0), is_started: false };
        load.run_until("open", |l| l.conns.iter().all(|c| c.1))?;
        for (id, _) in load.conns.clone() {
            load.switch.offload(id)?;
        }
        load.run_until("offload", |l| {
            l.conns.iter().all(|c| l.switch.residence(c.0) == Residence::Offloaded)
        })?;
        load.peer.start();
        load.is_started = true;
        Ok(load)
    }

    /// The device.
    pub fn device(&self) -> std::cell::Ref<'_, D> {
        self.device.borrow()
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
        while waiting < FRAMES_AHEAD {
            let Some(frame) = self.peer.next_frame(now_us) else { break };
            self.bytes.0 += frame.len() as u64;
            device.rx_frame(&frame, false);
            self.given += 1;
            waiting += 1;
        }
        Ok(())
    }
}
