//! Full load for a NIC: offloaded connections with endless data both ways, against a second stack in this process.

use crate::world::{Pace, Setup, World};
use anyhow::{bail, Context, Result};
use chimney_abi::offload::Residence;
use chimney_driver::Config;
use chimney_host_stack::switch::SwitchConfig;
use chimney_host_stack::{ConnId, ListenerId, MacAddr, Stack, StackConfig, StackEvent, TcpConfig};
use chimney_sim::device::Device;
use chimney_sim::host_mem::HostMemory;
use chimney_sim::net::impairment::Impairment;
use chimney_sim::net::wire::{QueueEnd, Wire};
use std::net::{Ipv4Addr, SocketAddrV4};

const HOST: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);
const PEER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
const PORT: u16 = 7;
/// Device cycles between two looks of the host: what a busy driver's polling costs.
const STEP_CYCLES: u64 = 512;
/// Steps until all connections are offloaded; more means that something is broken.
const MOST_STEPS: u64 = 1_000_000;
const PIECE: [u8; 16 << 10] = [0x5a; 16 << 10];

/// A machine whose NIC is kept busy in both directions.
pub struct Load<D: Device> {
    world: World<D, QueueEnd>,
    peer: Stack,
    listener: ListenerId,
    /// At the host, and whether it is connected.
    here: Vec<(ConnId, bool)>,
    there: Vec<ConnId>,
}

fn stack(ip: Ipv4Addr, mac: u8) -> StackConfig {
    StackConfig {
        mac: MacAddr([2, 0, 0, 0, 0, mac]),
        ip,
        prefix_len: 24,
        gateway: None,
        mtu: 1500,
        secret: u64::from(mac),
        tcp: TcpConfig::default(),
    }
}

impl<D: Device> Load<D> {
    /// Opens the connections and hands all of them over.
    ///
    /// # Errors
    /// When the device does not come up or does not take the connections.
    pub fn new(device: D, memory: HostMemory, connections: usize) -> Result<Self> {
        let config = Config { mac: [2, 0, 0, 0, 0, 1], ..Config::default() };
        let setup = Setup {
            driver: config,
            stack: stack(HOST, 1),
            switch: SwitchConfig::default(),
            pace: Pace::Cycles(STEP_CYCLES),
        };
        let wire = Wire::new(QueueEnd::default(), Impairment::default());
        let mut world = World::new(device, memory, wire, setup).context("the device does not come up")?;
        let mut peer = Stack::new(stack(PEER, 9));
        let listener = peer.listen(PORT, connections)?;
        let now_us = world.now_us();
        let connect = |_| world.switch.stack().connect(now_us, SocketAddrV4::new(PEER, PORT));
        let here = (0..connections).map(connect).map(|id| Ok((id?, false))).collect::<Result<_>>()?;
        let mut load = Self { world, peer, listener, here, there: Vec::new() };
        load.run_until("open", |l| l.there.len() == connections && l.here.iter().all(|c| c.1))?;
        for (id, _) in load.here.clone() {
            load.world.switch.offload(id)?;
        }
        let is_in_nic = |l: &Self, id| l.world.switch.residence(id) == Residence::Offloaded;
        load.run_until("offload", |l| l.here.iter().all(|c| is_in_nic(l, c.0)))?;
        Ok(load)
    }

    /// The machine.
    pub fn world(&self) -> &World<D, QueueEnd> {
        &self.world
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

    /// One step of the machine and of its peer.
    ///
    /// # Errors
    /// When a connection ended.
    pub fn step(&mut self) -> Result<()> {
        self.world.step()?;
        let now_us = self.world.now_us();
        while let Some(frame) = self.world.wire.far().arrived.pop_front() {
            self.peer.handle_frame(now_us, &frame);
        }
        while let Some(event) = self.world.switch.stack().next_event() {
            match event {
                StackEvent::Connected(id) => {
                    self.here.iter_mut().filter(|c| c.0 == id).for_each(|c| c.1 = true)
                }
                StackEvent::Closed(_) => bail!("a connection ended"),
                _ => {}
            }
        }
        self.there.extend(self.peer.accept(self.listener));
        let mut buffer = PIECE;
        for &id in &self.there {
            self.peer.send(id, &PIECE)?;
            self.peer.recv(id, &mut buffer)?;
        }
        let frames = self.peer.poll(now_us);
        self.world.wire.far().to_send.extend(frames);
        for &(id, _) in self.here.iter().filter(|c| c.1) {
            self.world.switch.send(id, &PIECE)?;
            self.world.switch.recv(&mut self.world.driver, id, &mut buffer)?;
        }
        Ok(())
    }
}
