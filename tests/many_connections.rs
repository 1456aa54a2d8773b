//! As many connections as a NIC has room for, all of them with data in both directions at once, until both sides have closed.
//!
//! Real stacks at both ends, the RTL between them. Handed over with one command, before the first byte; a quarter of them goes
//! back to the host in mid-stream, and to the NIC again. Both streams of every connection are compared by their SHA-256.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use chimney::world::{Pace, Setup, World};
use chimney_abi::cmd::TcpState;
use chimney_abi::offload::Residence;
use chimney_driver::Config;
use chimney_host_stack::switch::SwitchConfig;
use chimney_host_stack::{Address, ConnId, ListenerId, MacAddr, Stack, StackConfig, StackEvent, TcpConfig};
use chimney_sim::bfm::axi_memory::AxiTiming;
use chimney_sim::clock::SimClock;
use chimney_sim::device::Device;
use chimney_sim::ffi::{Nic, Nic1024};
use chimney_sim::host_mem::HostMemory;
use chimney_sim::model::RtlNic;
use chimney_sim::net::wire::{QueueEnd, Wire};
use chimney_sim::rig::NicPins;
use chimney_sim::rng::{test_seed, Rng};
use sha2::{Digest, Sha256};

const HOST: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);
const PEER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
const PORT: u16 = 7;
/// Receive window of every connection: as many pages of the pool are kept for it.
const WINDOW: u32 = 16 << 10;
/// Connections that are being opened at the same time.
const OPENED_AT_ONCE: usize = 16;
/// Bytes that an application moves at a time.
const PIECE: usize = 4096;
/// Time between two looks at everything but the NIC, microseconds: short, so that a window is not done with in one.
const STEP_US: u64 = 20;
/// Steps after which a run has failed.
const MOST_STEPS: u64 = 200_000;

/// Bytes as they are asked for; the same for the same key.
struct Source {
    rng: Rng,
    left: usize,
    /// Not taken yet.
    waiting: Vec<u8>,
    hash: Sha256,
}

impl Source {
    fn new(key: u64, len: usize) -> Self {
        Self { rng: Rng::new(key), left: len, waiting: Vec::new(), hash: Sha256::new() }
    }

    /// The next bytes; how many were taken is told with [`Source::took`].
    fn piece(&mut self) -> &[u8] {
        while self.waiting.len() < PIECE && self.left > 0 {
            let word = self.rng.next_u64().to_le_bytes();
            let n = self.left.min(word.len());
            self.waiting.extend(&word[..n]);
            self.left -= n;
        }
        &self.waiting
    }

    fn took(&mut self, n: usize) {
        self.hash.update(&self.waiting[..n]);
        self.waiting.drain(..n);
    }

    fn is_empty(&self) -> bool {
        self.left == 0 && self.waiting.is_empty()
    }
}

/// One end of one connection.
struct End {
    id: ConnId,
    to_send: Source,
    received: Sha256,
    received_len: usize,
    has_shut: bool,
    is_over: bool,
}

impl End {
    fn new(id: ConnId, key: u64, len: usize) -> Self {
        let received = Sha256::new();
        Self {
            id,
            to_send: Source::new(key, len),
            received,
            received_len: 0,
            has_shut: false,
            is_over: false,
        }
    }

    fn takes(&mut self, bytes: &[u8]) {
        self.received.update(bytes);
        self.received_len += bytes.len();
    }
}

fn stack(ip: Ipv4Addr, mac: u8, secret: u64) -> StackConfig {
    let tcp = TcpConfig { receive_capacity: WINDOW, ..TcpConfig::default() };
    StackConfig {
        mac: MacAddr([2, 0, 0, 0, 0, mac]),
        addresses: vec![Address::new(ip, 24)],
        mtu: 1500,
        secret,
        tcp,
    }
}

struct Crowd<M: NicPins> {
    world: World<RtlNic<M>, QueueEnd>,
    peer: Stack,
    listener: ListenerId,
    /// Ours, by the port that names them.
    host: BTreeMap<u16, End>,
    /// The peer's, by the same port.
    far: BTreeMap<u16, End>,
    opened: usize,
    seed: u64,
    len: usize,
    steps: u64,
    /// The peers close first: ours wait until they have read all.
    far_first: bool,
}

impl<M: NicPins> Crowd<M> {
    fn new(model: M, connections: u32, len: usize, seed: u64) -> Self {
        let memory = HostMemory::new();
        let device = RtlNic::new(model, &memory, AxiTiming::default(), SimClock::virtual_time(8.0));
        let pages = chimney_driver::quota_pages(WINDOW) * connections + 64;
        let driver = Config {
            connections,
            pool_pages: u16::try_from(pages).expect("a pool of at most 2^15 pages"),
            send_log2: 6,
            recv_log2: 4,
            arena_bytes: connections as usize * (64 << 10),
            ..Config::default()
        };
        let switch =
            SwitchConfig { chunk_bytes: 8 << 10, posted_send_bytes: 32 << 10, ..SwitchConfig::default() };
        let wire = Wire::new(QueueEnd::default(), "".parse().expect("an impairment"));
        let setup = Setup { driver, stack: stack(HOST, 1, seed), switch, pace: Pace::Virtual(STEP_US) };
        let world = World::new(device, memory, wire, setup).expect("the device comes up");
        let mut peer = Stack::new(stack(PEER, 9, seed ^ 1));
        let listener = peer.listen(PORT, 2 * OPENED_AT_ONCE).expect("a free port");
        let (host, far) = (BTreeMap::new(), BTreeMap::new());
        Self { world, peer, listener, host, far, opened: 0, seed, len, steps: 0, far_first: false }
    }

    /// The streams of a connection: ours, the peer's.
    fn keys(&self, port: u16) -> (u64, u64) {
        (self.seed ^ u64::from(port) << 1, self.seed ^ (u64::from(port) << 1 | 1) ^ 1 << 40)
    }

    fn step(&mut self) {
        self.steps += 1;
        assert!(self.steps < MOST_STEPS, "no end: {}", self.standing());
        self.world.step().expect("the wire holds");
        let now_us = self.world.now_us();
        while let Some(frame) = self.world.wire.far().arrived.pop_front() {
            self.peer.handle_frame(now_us, &frame);
        }
        while let Some(event) = self.world.switch.stack().next_event() {
            match event {
                StackEvent::Connected(_) => self.opened += 1,
                StackEvent::Closed(id) => {
                    let end = self.host.values_mut().find(|end| end.id == id).expect("one of ours");
                    end.is_over = true;
                }
                _ => {}
            }
        }
        while let Some(id) = self.peer.accept(self.listener) {
            let port = self.peer.tcb(id).expect("a live connection").tuple.remote.port();
            self.far.insert(port, End::new(id, self.keys(port).1, self.len));
        }
        self.world.wire.far().to_send.extend(self.peer.poll(now_us));
    }

    /// What the applications at both ends do.
    fn applications(&mut self) {
        let mut buffer = [0; PIECE];
        let Self { world, peer, host, far, far_first, .. } = self;
        for end in host.values_mut().filter(|end| !end.is_over) {
            let n = world.switch.send(end.id, end.to_send.piece()).unwrap_or(0);
            end.to_send.took(n);
            let n = world.switch.recv(&mut world.driver, end.id, &mut buffer).unwrap_or(0);
            end.takes(&buffer[..n]);
            let may_shut = !*far_first || world.switch.is_at_end(end.id);
            if end.to_send.is_empty() && !end.has_shut && may_shut {
                end.has_shut = world.switch.shutdown(end.id).is_ok();
            }
        }
        for end in far.values_mut() {
            let n = peer.send(end.id, end.to_send.piece()).unwrap_or(0);
            end.to_send.took(n);
            let n = peer.recv(end.id, &mut buffer).unwrap_or(0);
            end.takes(&buffer[..n]);
            if end.to_send.is_empty() && !end.has_shut {
                end.has_shut = peer.shutdown(end.id).is_ok();
            }
        }
    }

    fn run_until(&mut self, with_data: bool, mut is_done: impl FnMut(&Self) -> bool) {
        while !is_done(self) {
            self.step();
            if with_data {
                self.applications();
            }
        }
    }

    fn open(&mut self, connections: usize) {
        while self.host.len() < connections {
            let now_us = self.world.now_us();
            for _ in 0..OPENED_AT_ONCE.min(connections - self.host.len()) {
                let to = SocketAddr::new(PEER.into(), PORT);
                let id = self.world.switch.stack().connect(now_us, to).expect("a free local port");
                let port = self.world.switch.stack().tcb(id).expect("a live connection").tuple.local.port();
                let key = self.keys(port).0;
                self.host.insert(port, End::new(id, key, self.len));
            }
            self.run_until(false, |c| c.opened == c.host.len() && c.far.len() == c.host.len());
        }
    }

    fn cycles(&self) -> u64 {
        self.world.device.borrow().stats().cycles
    }

    fn all(&self, residence: Residence) -> bool {
        self.host.values().all(|end| self.world.switch.residence(end.id) == residence)
    }

    fn is_closed(&self, id: ConnId) -> bool {
        matches!(self.world.switch.state(id), None | Some(TcpState::TimeWait | TcpState::Closed))
    }

    fn standing(&self) -> String {
        let sum = |ends: &BTreeMap<u16, End>| ends.values().map(|end| end.received_len).sum::<usize>();
        format!(
            "{} open, host got {}, peer got {} of {}",
            self.opened,
            sum(&self.host),
            sum(&self.far),
            self.len * self.host.len()
        )
    }
}

/// All are open and the NIC's.
fn offloaded<M: NicPins>(model: M, connections: usize, len: usize) -> (Crowd<M>, Vec<ConnId>) {
    let seed = test_seed(0xc0_4d);
    println!("CHIMNEY_SEED={seed}");
    let count = u32::try_from(connections).expect("a number of connections");
    let mut crowd = Crowd::new(model, count, len, seed);
    crowd.open(connections);
    let ids: Vec<ConnId> = crowd.host.values().map(|end| end.id).collect();
    for &id in &ids {
        crowd.world.switch.offload(id).expect("in the host");
    }
    crowd.run_until(false, |c| c.all(Residence::Offloaded));
    (crowd, ids)
}

/// Everything that the module page says.
fn run<M: NicPins>(model: M, connections: usize, len: usize) {
    let (mut crowd, ids) = offloaded(model, connections, len);
    println!("{} cycles: all are the NIC's", crowd.cycles());

    // A quarter goes back and forth in mid-stream.
    let quarter: Vec<ConnId> = ids.iter().copied().step_by(4).collect();
    let half = connections * len / 2;
    crowd.run_until(true, |c| c.host.values().map(|end| end.received_len).sum::<usize>() > half / 2);
    let mut moved = 0;
    for &id in &quarter {
        moved += usize::from(crowd.world.switch.upload(id).is_ok());
    }
    assert_eq!(moved, quarter.len(), "all were the NIC's");
    println!("{} cycles: a quarter goes back; {}", crowd.cycles(), crowd.standing());
    crowd.run_until(true, |c| quarter.iter().all(|&id| c.world.switch.residence(id) == Residence::InHost));
    for &id in &quarter {
        // One that is over by now stays.
        let _ = crowd.world.switch.offload(id);
    }
    crowd.run_until(true, |c| {
        let is_whole = |end: &End| end.received_len >= c.len && end.to_send.is_empty();
        c.host.values().all(is_whole) && c.far.values().all(is_whole)
    });
    println!("{} cycles: all bytes are there; {}", crowd.cycles(), crowd.standing());
    for (port, end) in &crowd.host {
        let far = &crowd.far[port];
        assert_eq!(
            end.to_send.hash.clone().finalize(),
            far.received.clone().finalize(),
            "{port}: to the peer"
        );
        assert_eq!(
            far.to_send.hash.clone().finalize(),
            end.received.clone().finalize(),
            "{port}: from the peer"
        );
        assert_eq!((end.received_len, far.received_len), (len, len));
    }
    crowd.run_until(true, |c| ids.iter().all(|&id| c.is_closed(id)));
    println!("{} cycles: all is over; {}", crowd.cycles(), crowd.standing());
    // Nothing is lost: whoever times out was not heard.
    assert_eq!(crowd.world.driver.counter(&chimney_abi::regs::CNT_RTO).expect("a device"), 0);
    assert_eq!(crowd.world.memory.violations().0, 0);
    assert_eq!(crowd.world.device.borrow().violations(), None);
}

/// The switch once left a connection that the peer had closed first in the NIC for ever.
///
/// Verifies: R-218.
#[test]
fn what_the_peer_closed_first_leaves_the_nic_when_it_is_over() {
    let (mut crowd, ids) = offloaded(Nic::new(), 8, 8 << 10);
    crowd.far_first = true;
    crowd.run_until(true, |c| ids.iter().all(|&id| c.is_closed(id)));
    assert!(crowd.all(Residence::InHost));
    assert_eq!(crowd.world.driver.stats().connections, 0);
    assert!(crowd.host.values().chain(crowd.far.values()).all(|end| end.received_len == 8 << 10));
    assert_eq!(crowd.world.device.borrow().violations(), None);
}

#[test]
fn a_thousand_connections_carry_data_both_ways_at_once() {
    run(Nic1024::new(), 1024, 16 << 10);
}

#[cfg(feature = "sizes")]
#[test]
fn as_many_as_the_small_part_has_room_for() {
    run(chimney_sim::ffi::Nic256::new(), 256, 64 << 10);
}

#[cfg(feature = "sizes")]
#[test]
fn four_thousand_connections_carry_data_both_ways_at_once() {
    run(chimney_sim::ffi::Nic4096::new(), 4096, 16 << 10);
}
