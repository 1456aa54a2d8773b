//! What lies below connections that the NIC has: a next hop's MAC address, a path's MTU and identifications; and the ordinary path
//! beside them.

use chimney::world::{Pace, Setup, World};
use chimney_abi::cmd::TcpState;
use chimney_abi::offload::Residence;
use chimney_driver::Config;
use chimney_host_stack::switch::SwitchConfig;
use chimney_host_stack::{Address, ConnId, ListenerId, MacAddr, Stack, StackConfig, TcpConfig};
use chimney_sim::bfm::axi_memory::AxiTiming;
use chimney_sim::device::Device;
use chimney_sim::golden::{self, Golden};
use chimney_sim::host_mem::{DmaPort, HostMemory};
use chimney_sim::model::RtlNic;
use chimney_sim::net::impairment::Impairment;
use chimney_sim::net::wire::{QueueEnd, Wire};
use etherparse::{Icmpv4Type, PacketBuilder};
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};

const HOST: Ipv4Addr = Ipv4Addr::new(10, 7, 0, 2);
const PEER: Ipv4Addr = Ipv4Addr::new(10, 7, 0, 1);
const HOST_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const PEER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 9];
const PORT: u16 = 7;
/// Bytes of an Ethernet header.
const ETHERNET: usize = 14;
/// Simulated time in which everything here must have happened, microseconds.
const LIMIT_US: u64 = 10_000_000;

fn stack(ip: Ipv4Addr, mac: [u8; 6], mtu: u16) -> StackConfig {
    let addresses = vec![Address::new(ip, 24)];
    StackConfig { mac: MacAddr(mac), addresses, mtu, secret: 1, tcp: TcpConfig::default() }
}

/// A kind of NIC that these tests run on, and who makes the time.
trait TestNic: Device + Sized {
    fn make(memory: &HostMemory) -> Self;
    const PACE: Pace;
}

impl TestNic for Golden<DmaPort> {
    fn make(memory: &HostMemory) -> Self {
        Golden::new(golden::Config::default(), memory.port())
    }
    const PACE: Pace = Pace::Virtual(100);
}

impl TestNic for RtlNic {
    fn make(memory: &HostMemory) -> Self {
        RtlNic::with_timing(memory, 8.0, AxiTiming::default())
    }
    const PACE: Pace = Pace::Virtual(100);
}

/// A machine with a chimney against a second stack.
struct Net<D: TestNic> {
    world: World<D, QueueEnd>,
    peer: Stack,
    listener: ListenerId,
    /// Frames of the machine, as they went by.
    seen: Vec<Vec<u8>>,
    /// The next hop, which knows the peer by its own MAC address.
    router_mac: [u8; 6],
    /// What it drops is longer, and it says so.
    router_mtu: usize,
    /// Frames that it dropped.
    dropped: usize,
}

impl<D: TestNic> Net<D> {
    fn new(mtu: u16) -> Self {
        let memory = HostMemory::new();
        let device = D::make(&memory);
        let driver = Config { mac: HOST_MAC, arena_bytes: 2 << 20, pool_pages: 256, ..Config::default() };
        let setup = Setup {
            driver,
            stack: stack(HOST, HOST_MAC, mtu),
            switch: SwitchConfig::default(),
            pace: D::PACE,
        };
        let wire = Wire::new(QueueEnd::default(), Impairment::default());
        let world = World::new(device, memory, wire, setup).expect("the device comes up");
        let mut peer = Stack::new(stack(PEER, PEER_MAC, mtu));
        let listener = peer.listen(PORT, 4).expect("a free port");
        let (router_mac, router_mtu) = (PEER_MAC, usize::MAX - ETHERNET);
        Self { world, peer, listener, seen: Vec::new(), router_mac, router_mtu, dropped: 0 }
    }

    /// Puts a frame on the wire to the machine.
    fn give(&mut self, frame: Vec<u8>) {
        self.world.wire.far().to_send.push_back(frame);
    }

    fn step(&mut self) {
        self.world.step().expect("the wire holds");
        let now_us = self.world.now_us();
        while let Some(frame) = self.world.wire.far().arrived.pop_front() {
            self.route(now_us, frame);
        }
        for mut frame in self.peer.poll(now_us) {
            frame[6..12].copy_from_slice(&self.router_mac);
            self.give(frame);
        }
    }

    fn route(&mut self, now_us: u64, frame: Vec<u8>) {
        if frame.len() > ETHERNET + self.router_mtu {
            self.dropped += 1;
            let report = fragmentation_needed(&frame, self.router_mtu as u16, 0);
            return self.give(report);
        }
        let mut routed = frame.clone();
        if frame[..6] == self.router_mac {
            routed[..6].copy_from_slice(&PEER_MAC);
        }
        // Nobody has the old address any more.
        let is_lost = frame[..6] == PEER_MAC && self.router_mac != PEER_MAC;
        if !is_lost {
            self.peer.handle_frame(now_us, &routed);
        }
        self.seen.push(frame);
    }

    fn run_until(&mut self, what: &str, mut is_done: impl FnMut(&mut Self) -> bool) {
        let end_us = self.world.now_us() + LIMIT_US;
        while !is_done(self) {
            assert!(self.world.now_us() < end_us, "{what}: it does not happen");
            self.step();
        }
    }

    /// A connection that is open at both ends, in the host: ours and the peer's id.
    fn connect(&mut self) -> (ConnId, ConnId) {
        let now_us = self.world.now_us();
        let remote = SocketAddr::new(PEER.into(), PORT);
        let ours = self.world.switch.stack().connect(now_us, remote).expect("a free local port");
        let mut theirs = None;
        self.run_until("a connection", |net| {
            theirs = theirs.or_else(|| net.peer.accept(net.listener));
            theirs.is_some() && net.world.switch.state(ours) == Some(TcpState::Established)
        });
        (ours, theirs.expect("accepted"))
    }

    fn offload(&mut self, id: ConnId) {
        self.world.switch.offload(id).expect("in the host");
        self.run_until("the offload", |net| net.world.switch.residence(id) == Residence::Offloaded);
    }

    /// Sends so many bytes to the peer, which gets them whole.
    fn send(&mut self, ours: ConnId, theirs: ConnId, len: usize) {
        let bytes: Vec<u8> = (0..len).map(|i| (i / 7) as u8).collect();
        let (mut sent, mut got) = (0, Vec::<u8>::new());
        self.run_until("a transfer", |net| {
            sent += net.world.switch.send(ours, &bytes[sent..]).expect("open");
            let mut buffer = [0; 8192];
            let n = net.peer.recv(theirs, &mut buffer).expect("open");
            got.extend_from_slice(&buffer[..n]);
            got.len() >= len
        });
        assert!(got == bytes);
    }
}

/// Makes two tests of each function that is generic in the NIC: module `golden` and module `rtl`.
macro_rules! on_both_nics {
    ($($test:ident),* $(,)?) => {
        mod golden_model {
            $(#[test] fn $test() { super::$test::<super::Golden<super::DmaPort>>(); })*
        }
        mod rtl {
            $(#[test] fn $test() { super::$test::<super::RtlNic>(); })*
        }
    };
}

fn echo_request(len: usize) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(PEER_MAC, HOST_MAC).ipv4(PEER.octets(), HOST.octets(), 64);
    let mut frame = Vec::new();
    builder.icmpv4_echo_request(7, 9).write(&mut frame, &vec![5; len]).expect("fits");
    frame
}

/// A stack that believes in a longer link than the NIC has: its answer can never be sent, and what comes behind it can.
fn an_answer_that_can_never_be_sent_stops_nothing<D: TestNic>() {
    let mut net = Net::<D>::new(9100);
    net.connect();
    for len in [8977, 8982] {
        let request = echo_request(len);
        assert!((9019..=9024).contains(&request.len()));
        net.give(request);
    }
    net.give(echo_request(100));
    let before = net.seen.len();
    net.run_until("an answer", |net| net.seen[before..].iter().any(|frame| frame.len() == 142));
    assert_eq!(net.world.switch.stack().counters().too_long, 2);
    net.connect();
}

/// The report of a router that `frame` is too long; `seq_change` makes it one that somebody guessed.
fn fragmentation_needed(frame: &[u8], mtu: u16, seq_change: u8) -> Vec<u8> {
    let mut quoted = frame[ETHERNET..][..28].to_vec();
    quoted[24] ^= seq_change;
    let header = etherparse::icmpv4::DestUnreachableHeader::FragmentationNeeded { next_hop_mtu: mtu };
    let mut icmp = Vec::new();
    PacketBuilder::ethernet2(PEER_MAC, HOST_MAC)
        .ipv4([10, 7, 0, 9], HOST.octets(), 64)
        .icmpv4(Icmpv4Type::DestinationUnreachable(header))
        .write(&mut icmp, &quoted)
        .expect("fits");
    icmp
}

/// An ARP request of the peer for itself, with the address that it has now.
fn announcement(mac: [u8; 6]) -> Vec<u8> {
    let (ip, zeros) = (PEER.octets(), [0; 6]);
    let head = [8, 6, 0, 1, 8, 0, 6, 4, 0, 1];
    [&[0xff; 6][..], &mac, &head, &mac, &ip, &zeros, &ip, &[0; 18]].concat()
}

/// Verifies
fn a_next_hop_that_moves_takes_the_nics_connections_along<D: TestNic>() {
    let mut net = Net::<D>::new(1500);
    let (ours, theirs) = net.connect();
    net.offload(ours);
    net.send(ours, theirs, 20_000);
    net.router_mac = [2, 0, 0, 0, 0, 0x77];
    net.give(announcement(net.router_mac));
    net.send(ours, theirs, 20_000);
    let before = net.seen.len();
    net.send(ours, theirs, 20_000);
    let (other, others) = net.connect();
    net.offload(other);
    net.send(other, others, 20_000);
    assert!(net.seen[before..].iter().all(|frame| frame[..6] == net.router_mac), "all by the new one");
    assert!(!target_ids(&net.seen[before..]).is_empty());
    assert_eq!(net.world.switch.residence(ours), Residence::Offloaded);
}

/// Verifies
fn a_path_that_shrinks_shortens_the_segments_of_the_nic<D: TestNic>() {
    let mut net = Net::<D>::new(1500);
    let (ours, theirs) = net.connect();
    net.offload(ours);
    // From here on the host's own numbers are old.
    net.send(ours, theirs, 20_000);
    assert!(net.seen.iter().any(|frame| frame.len() == 1514));
    net.router_mtu = 1000;
    net.send(ours, theirs, 60_000);
    assert!(net.dropped > 0);
    assert_eq!(net.world.switch.stack().path_state(ours).expect("known").mtu, 1000);
    assert_eq!(net.world.switch.residence(ours), Residence::Offloaded);
    // Nothing too long is sent any more: by the NIC, by the host after it, by another connection.
    let dropped = net.dropped;
    net.send(ours, theirs, 20_000);
    let (other, others) = net.connect();
    net.offload(other);
    net.send(other, others, 20_000);
    net.world.switch.upload(ours).expect("offloaded");
    net.run_until("the upload", |net| net.world.switch.residence(ours) == Residence::InHost);
    net.send(ours, theirs, 20_000);
    assert_eq!(net.dropped, dropped);
}

/// RFC 5927 4.1, with the numbers of the NIC (G-26).
fn a_report_that_quotes_nothing_in_flight_shrinks_nothing<D: TestNic>() {
    let mut net = Net::<D>::new(1500);
    let (ours, theirs) = net.connect();
    net.offload(ours);
    net.send(ours, theirs, 20_000);
    let quoted = net.seen.iter().rfind(|frame| frame.len() == 1514).expect("full segments").clone();
    for seq_change in [0, 0x80] {
        net.give(fragmentation_needed(&quoted, 700, seq_change)); // acknowledged, and guessed
        net.send(ours, theirs, 20_000);
    }
    assert_eq!(net.world.switch.stack().path_state(ours).expect("known").mtu, 1500);
    assert_eq!(net.world.switch.residence(ours), Residence::Offloaded);
}

/// IP identifications of the target's half among these frames.
fn target_ids(frames: &[Vec<u8>]) -> BTreeSet<u16> {
    let id = |f: &Vec<u8>| u16::from_be_bytes([f[18], f[19]]);
    frames.iter().filter(|f| f[12..14] == [8, 0]).map(id).filter(|id| *id >= 0x8000).collect()
}

/// The NIC is lost while it has connections, or while it is asked for them: the next one has identifications of its own.
///
/// Verifies: R-280
fn a_lost_nic_leaves_its_identifications_behind<D: TestNic>() {
    for is_leaving in [false, true] {
        let mut net = Net::<D>::new(1500);
        let (ours, theirs) = net.connect();
        net.offload(ours);
        let before = net.seen.len();
        net.send(ours, theirs, 100_000);
        let used = target_ids(&net.seen[before..]);
        assert!(used.len() > 60, "{}", used.len());
        net.world.stop_device(1);
        if is_leaving {
            net.world.switch.upload(ours).expect("offloaded");
        }
        net.run_until("the loss", |net| net.world.switch.is_lost());
        let path = net.world.switch.stack().path_state(ours).expect("known");
        let next = (0..1000).map(|i| 0x8000 | path.ip_id_counter.wrapping_add(i));
        assert_eq!(next.filter(|id| used.contains(id)).count(), 0, "leaving: {is_leaving}");
    }
}

on_both_nics! {
    a_next_hop_that_moves_takes_the_nics_connections_along,
    a_path_that_shrinks_shortens_the_segments_of_the_nic,
    a_report_that_quotes_nothing_in_flight_shrinks_nothing,
    a_lost_nic_leaves_its_identifications_behind,
    an_answer_that_can_never_be_sent_stops_nothing,
}
