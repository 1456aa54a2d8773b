//! Law L2: the NIC disappears at any moment; the host rebuilds its connections from memory and goes on over the
//! plain MAC path, and both byte streams arrive whole.

use chimney::world::{Pace, Setup, World};
use chimney_abi::offload::Residence;
use chimney_driver::Config;
use chimney_host_stack::switch::{Direction, SwitchConfig};
use chimney_host_stack::{ConnId, ListenerId, MacAddr, Stack, StackConfig, StackEvent, TcpConfig};
use chimney_sim::bfm::axi_memory::AxiTiming;
use chimney_sim::device::Device;
use chimney_sim::golden::{self, Golden};
use chimney_sim::host_mem::HostMemory;
use chimney_sim::model::RtlNic;
use chimney_sim::net::impairment::Impairment;
use chimney_sim::net::wire::{QueueEnd, Wire};
use chimney_sim::rng::{test_seed, Rng};
use std::net::{Ipv4Addr, SocketAddrV4};

const HOST: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);
const PEER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
const PORT: u16 = 7;
/// Simulated time after which a run has failed, microseconds.
const LIMIT_US: u64 = 120_000_000;

fn stack(ip: Ipv4Addr, mac: u8, secret: u64) -> StackConfig {
    StackConfig {
        mac: MacAddr([2, 0, 0, 0, 0, mac]),
        ip,
        prefix_len: 24,
        gateway: None,
        mtu: 1500,
        secret,
        tcp: TcpConfig::default(),
    }
}

fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut rng = Rng::new(seed);
    (0..len).map(|_| rng.next_u64() as u8).collect()
}

/// One end's streams.
struct End {
    to_send: Vec<u8>,
    sent: usize,
    wanted: Vec<u8>,
    received: Vec<u8>,
}

impl End {
    fn is_done(&self) -> bool {
        self.sent == self.to_send.len() && self.received.len() >= self.wanted.len()
    }
}

/// A machine with a chimney against a second stack, with data both ways.
struct Duel<D: Device> {
    world: World<D, QueueEnd>,
    peer: Stack,
    listener: ListenerId,
    conn: ConnId,
    accepted: Option<ConnId>,
    host: End,
    far: End,
}

impl<D: Device> Duel<D> {
    fn new(device: D, memory: HostMemory, pace: Pace, seed: u64, loss: &str, len: usize) -> Self {
        let mut link: Impairment = loss.parse().expect("an impairment");
        link.seed = seed;
        let config =
            Config { mac: [2, 0, 0, 0, 0, 1], arena_bytes: 2 << 20, pool_pages: 256, ..Config::default() };
        let wire = Wire::new(QueueEnd::default(), link);
        let setup =
            Setup { driver: config, stack: stack(HOST, 1, seed), switch: SwitchConfig::default(), pace };
        let mut world = World::new(device, memory, wire, setup).expect("the device comes up");
        let mut peer = Stack::new(stack(PEER, 9, seed ^ 1));
        let listener = peer.listen(PORT, 4).expect("a free port");
        let now_us = world.now_us();
        let conn =
            world.switch.stack().connect(now_us, SocketAddrV4::new(PEER, PORT)).expect("a free local port");
        let (up, down) = (bytes(seed ^ 0xa, len), bytes(seed ^ 0xb, len));
        let host = End { to_send: up.clone(), sent: 0, wanted: down.clone(), received: Vec::new() };
        let far = End { to_send: down, sent: 0, wanted: up, received: Vec::new() };
        Self { world, peer, listener, conn, accepted: None, host, far }
    }

    fn step(&mut self) {
        self.world.step().expect("the wire holds");
        let now_us = self.world.now_us();
        while let Some(frame) = self.world.wire.far().arrived.pop_front() {
            self.peer.handle_frame(now_us, &frame);
        }
        while let Some(event) = self.world.switch.stack().next_event() {
            let is_over = matches!(event, StackEvent::Closed(_));
            assert!(!is_over, "the connection ended at the host");
        }
        if self.accepted.is_none() {
            self.accepted = self.peer.accept(self.listener);
        }
        if let Some(id) = self.accepted {
            let status = self.peer.status(id).expect("a live connection");
            assert_eq!(status.error, None, "the connection ended at the peer");
            let end = self.far.to_send.len().min(self.far.sent + 8192);
            self.far.sent += self.peer.send(id, &self.far.to_send[self.far.sent..end]).unwrap_or(0);
            let mut buffer = [0; 8192];
            let n = self.peer.recv(id, &mut buffer).unwrap_or(0);
            self.far.received.extend(&buffer[..n]);
        }
        let frames = self.peer.poll(now_us);
        self.world.wire.far().to_send.extend(frames);
        if self.world.switch.state(self.conn) == Some(chimney_abi::cmd::TcpState::SynSent) {
            return;
        }
        let end = self.host.to_send.len().min(self.host.sent + 8192);
        let piece = &self.host.to_send[self.host.sent..end];
        self.host.sent += self.world.switch.send(self.conn, piece).expect("the connection takes bytes");
        let mut buffer = [0; 8192];
        let n = self.world.switch.recv(&mut self.world.driver, self.conn, &mut buffer).expect("readable");
        self.host.received.extend(&buffer[..n]);
    }

    fn run_until(&mut self, what: &str, mut is_done: impl FnMut(&Self) -> bool) {
        while !is_done(self) {
            assert!(
                self.world.now_us() < LIMIT_US,
                "{what}: no end; host got {} of {}, peer got {} of {}",
                self.host.received.len(),
                self.host.wanted.len(),
                self.far.received.len(),
                self.far.wanted.len()
            );
            self.step();
        }
    }

    /// Offloads after a first piece, loses the device when the host has `at` bytes, `steps` more steps were made and
    /// it ran for `cycles` more clocks.
    fn lose(mut self, at: usize, steps: u64, cycles: u64, seed: u64) {
        self.run_until("first piece", |d| d.host.received.len() > 4000 && d.host.sent > 4000);
        self.world.switch.offload(self.conn).expect("in the host");
        self.run_until("offload", |d| d.world.switch.residence(d.conn) == Residence::Offloaded);
        self.run_until("the moment", |d| d.host.received.len() >= at);
        for _ in 0..steps {
            self.step();
        }
        self.world.stop_device_after(cycles, seed).expect("the wire holds");
        self.run_until("rebuilding", |d| d.world.switch.is_lost());
        self.run_until("the rest", |d| d.host.is_done() && d.far.is_done());
        assert!(self.host.received == self.host.wanted, "the host's stream is right");
        assert!(self.far.received == self.far.wanted, "the peer's stream is right");
        let last = self.world.switch.handovers().last().map(|h| h.direction);
        assert_eq!(last, Some(Direction::Rebuild));
        assert_eq!(self.world.memory.violations().0, 0);
    }
}

/// Verifies: law L2 on the golden model.
#[test]
fn streams_survive_the_loss_of_the_golden_device_at_any_moment() {
    let seed = test_seed(0x1055);
    println!("CHIMNEY_SEED={seed}");
    let runs = if std::env::var("CHIMNEY_LONG").is_ok_and(|v| v == "1") { 300 } else { 60 };
    let mut rng = Rng::new(seed);
    for run in 0..runs {
        let seed = rng.next_u64();
        let memory = HostMemory::new();
        let device = Golden::new(golden::Config { conn_log2: 4, table_log2: 3 }, memory.port());
        let link = ["", "loss 1%", "delay 2ms 1ms reorder 2%"][run % 3];
        let duel = Duel::new(device, memory, Pace::Virtual(100), seed, link, 300_000);
        duel.lose(5_000 + rng.below(250_000) as usize, rng.below(64), 0, seed);
    }
}

/// Verifies: law L2 on the RTL: stopped at a random cycle, with writes on their way that may or may not arrive.
#[test]
fn streams_survive_the_loss_of_the_rtl_at_any_cycle() {
    let seed = test_seed(0x10c5);
    println!("CHIMNEY_SEED={seed}");
    let runs = if std::env::var("CHIMNEY_LONG").is_ok_and(|v| v == "1") { 300 } else { 100 };
    let mut rng = Rng::new(seed);
    for run in 0..runs {
        let seed = rng.next_u64();
        let memory = HostMemory::new();
        let device = RtlNic::with_timing(&memory, 8.0, AxiTiming::random(seed));
        let link = ["", "loss 1%", "delay 2ms 1ms reorder 2%"][run % 3];
        let duel = Duel::new(device, memory, Pace::Virtual(100), seed, link, 60_000);
        duel.lose(5_000 + rng.below(40_000) as usize, rng.below(16), rng.below(2_000), seed);
    }
}
