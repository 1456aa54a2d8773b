//! A next hop of connections that the NIC has: who finds out whether it still answers, and what becomes of them if it does not.
//!
//! The host's confirmations stand still while the target works, so it would probe a neighbor that the target hears from all the time;
//! and nobody would probe one that does not answer the target.

use chimney::world::{Pace, Setup, World};
use chimney_abi::cmd::{TcpState, UploadReason};
use chimney_abi::offload::Residence;
use chimney_driver::Config;
use chimney_host_stack::switch::SwitchConfig;
use chimney_host_stack::{Address, ConnId, ListenerId, MacAddr, Stack, StackConfig, TcpConfig};
use chimney_sim::golden::{self, Golden};
use chimney_sim::host_mem::{DmaPort, HostMemory};
use chimney_sim::net::impairment::Impairment;
use chimney_sim::net::wire::{QueueEnd, Wire};
use etherparse::PacketBuilder;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const HOST_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const PEER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 9];
const PORT: u16 = 7;
const SECOND_US: u64 = 1_000_000;
/// Time after which a neighbor is stale, for host and target, and a little more.
const STALE_US: u64 = 31 * SECOND_US;
/// The host waits so long before it asks the target (RFC 4861's DELAY_FIRST_PROBE_TIME).
const DELAY_US: u64 = 5 * SECOND_US;
/// Time in which everything here must have happened.
const LIMIT_US: u64 = 60 * SECOND_US;

/// Both ends, in one family.
#[derive(Clone, Copy, Debug)]
struct Family {
    host: IpAddr,
    peer: IpAddr,
    prefix_len: u8,
}

const FAMILIES: [Family; 2] = [
    Family {
        host: IpAddr::V4(Ipv4Addr::new(10, 7, 0, 2)),
        peer: IpAddr::V4(Ipv4Addr::new(10, 7, 0, 1)),
        prefix_len: 24,
    },
    Family {
        host: IpAddr::V6(Ipv6Addr::new(0xfd00, 7, 0, 0, 0, 0, 0, 2)),
        peer: IpAddr::V6(Ipv6Addr::new(0xfd00, 7, 0, 0, 0, 0, 0, 1)),
        prefix_len: 64,
    },
];

fn stack(ip: IpAddr, prefix_len: u8, mac: [u8; 6]) -> Stack {
    let addresses = vec![Address::new(ip, prefix_len)];
    Stack::new(StackConfig { mac: MacAddr(mac), addresses, mtu: 1500, secret: 1, tcp: TcpConfig::default() })
}

/// A machine with a chimney against a second stack.
struct Net {
    world: World<Golden<DmaPort>, QueueEnd>,
    family: Family,
    peer: Stack,
    listener: ListenerId,
    /// The peer hears nothing and says nothing.
    is_silent: bool,
    /// The peer does not answer questions for its address.
    is_shy: bool,
    /// Frames of the machine since somebody looked.
    seen: Vec<(u64, Vec<u8>)>,
}

impl Net {
    fn new(family: Family) -> Self {
        let memory = HostMemory::new();
        let device = Golden::new(golden::Config::default(), memory.port());
        let Family { host, peer, prefix_len } = family;
        let setup = Setup {
            driver: Config { mac: HOST_MAC, arena_bytes: 2 << 20, pool_pages: 256, ..Config::default() },
            stack: stack(host, prefix_len, HOST_MAC).config().clone(),
            switch: SwitchConfig::default(),
            pace: Pace::Virtual(1000),
        };
        let wire = Wire::new(QueueEnd::default(), Impairment::default());
        let world = World::new(device, memory, wire, setup).expect("the device comes up");
        let mut peer = stack(peer, prefix_len, PEER_MAC);
        let listener = peer.listen(PORT, 4).expect("a free port");
        Self { world, family, peer, listener, is_silent: false, is_shy: false, seen: Vec::new() }
    }

    fn step(&mut self) {
        self.world.step().expect("the wire holds");
        let now_us = self.world.now_us();
        // The peer knows us all the time: a question of its own would tell us that it is there.
        self.peer.add_neighbor(now_us, self.family.host, MacAddr(HOST_MAC));
        while let Some(frame) = self.world.wire.far().arrived.pop_front() {
            if !(self.is_silent || self.is_shy && is_question(&frame)) {
                self.peer.handle_frame(now_us, &frame);
            }
            self.seen.push((now_us, frame));
        }
        let frames = self.peer.poll(now_us);
        if !self.is_silent {
            self.world.wire.far().to_send.extend(frames);
        }
    }

    fn run_for(&mut self, us: u64) {
        let end_us = self.world.now_us() + us;
        while self.world.now_us() < end_us {
            self.step();
        }
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
        let (now_us, remote) = (self.world.now_us(), SocketAddr::new(self.family.peer, PORT));
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

    fn post(&mut self, ours: ConnId, len: usize) {
        assert_eq!(self.world.switch.send(ours, &vec![5; len]), Ok(len));
    }

    /// The peer gets so many bytes more.
    fn take(&mut self, theirs: ConnId, len: usize) {
        let mut got = 0;
        self.run_until("a transfer", |net| {
            let mut buffer = [0; 8192];
            got += net.peer.recv(theirs, &mut buffer).expect("open");
            got >= len
        });
        assert_eq!(got, len);
    }

    /// Questions of the machine for the peer's address since somebody looked: when, and whether by unicast.
    fn probes(&mut self) -> Vec<(u64, bool)> {
        let seen = std::mem::take(&mut self.seen);
        seen.iter().filter(|(_, f)| is_question(f)).map(|(at_us, f)| (*at_us, f[..6] == PEER_MAC)).collect()
    }

    /// Age of the host's confirmation, milliseconds.
    fn host_age_ms(&mut self) -> u32 {
        let (now_us, peer) = (self.world.now_us(), self.family.peer);
        self.world.switch.stack().neighbor_at(now_us, peer).expect("known").host_reachability_ms
    }

    /// How often the host was asked.
    fn questions(&self) -> u64 {
        self.world.driver.stats().reachability_queries
    }

    /// A connection that the NIC has, idle until its neighbor is stale for both.
    fn stale(family: Family) -> (Self, ConnId, ConnId) {
        let mut net = Self::new(family);
        let (ours, theirs) = net.connect();
        net.offload(ours);
        net.post(ours, 5000);
        net.take(theirs, 5000);
        net.run_for(STALE_US);
        assert_eq!(net.questions(), 0, "nothing was sent");
        net.probes();
        (net, ours, theirs)
    }
}

/// A ping of the peer, which we answer by way of it.
fn echo_request() -> Vec<u8> {
    let (IpAddr::V4(peer), IpAddr::V4(host)) = (FAMILIES[0].peer, FAMILIES[0].host) else { unreachable!() };
    let builder = PacketBuilder::ethernet2(PEER_MAC, HOST_MAC).ipv4(peer.octets(), host.octets(), 64);
    let mut frame = Vec::new();
    builder.icmpv4_echo_request(7, 9).write(&mut frame, &[5; 40]).expect("fits");
    frame
}

/// An ARP request, or a neighbor solicitation.
fn is_question(frame: &[u8]) -> bool {
    match (frame[12], frame[13]) {
        (0x08, 0x06) => frame[20..22] == [0, 1],
        (0x86, 0xDD) => frame[20] == 58 && frame[54] == 135,
        _ => false,
    }
}

/// Verifies
#[test]
fn a_connection_that_sends_again_after_long_asks_once_and_progress_saves_the_probe() {
    for family in FAMILIES {
        let (mut net, ours, theirs) = Net::stale(family);
        net.post(ours, 100);
        net.take(theirs, 100);
        assert_eq!(net.questions(), 1, "{family:?}");
        net.run_for(SECOND_US);
        assert!(net.host_age_ms() > 30_000, "the host itself has heard nothing");
        net.run_for(DELAY_US);
        let age_ms = net.host_age_ms();
        assert!((5000..7000).contains(&age_ms), "{family:?}: the target's confirmation: {age_ms} ms");
        net.post(ours, 100);
        net.take(theirs, 100);
        assert_eq!((net.questions(), net.probes()), (1, vec![]), "{family:?}");
        // The neighbor comes back with the last connection below it, and brings what the target saw.
        assert_eq!(net.world.switch.residence(ours), Residence::Offloaded);
        net.run_for(SECOND_US);
        net.world.switch.upload(ours).expect("offloaded");
        net.run_until("the upload", |net| net.world.switch.residence(ours) == Residence::InHost);
        let age_ms = net.host_age_ms();
        assert!((500..1500).contains(&age_ms), "{family:?}: {age_ms} ms");
    }
}

/// One connection has something to send and asks for its upload; the other one comes back when the neighbor does.
///
/// Verifies
#[test]
fn a_neighbor_that_falls_silent_is_probed_and_invalidated_and_its_connections_go_on_in_the_host() {
    for family in FAMILIES {
        let mut net = Net::new(family);
        let (idle, idles) = net.connect();
        net.offload(idle);
        let (ours, theirs) = net.connect();
        net.offload(ours);
        net.run_for(STALE_US);
        net.probes();
        net.is_silent = true;
        let start_us = net.world.now_us();
        net.post(ours, 100);
        net.run_until("the upload", |net| net.world.switch.residence(ours) == Residence::InHost);
        assert_eq!(net.questions(), 1, "{family:?}: not while the answer is young");
        let requests = net.world.switch.upload_requests();
        let log: Vec<_> = requests.iter().map(|r| (r.id, r.reason, r.is_granted)).collect();
        assert_eq!(log, [(ours, UploadReason::InvalidState, true)], "{family:?}");
        assert_eq!(net.world.switch.residence(idle), Residence::Offloaded, "it has nothing to say");
        let probes = net.probes();
        let after_ms: Vec<_> = probes
            .iter()
            .filter(|(_, is_unicast)| *is_unicast)
            .map(|(at, _)| (at - start_us) / 1000)
            .collect();
        let expected = [5000, 6000, 7000];
        assert_eq!(after_ms.len(), expected.len(), "{family:?}: {after_ms:?}");
        assert!(after_ms.iter().zip(expected).all(|(ms, want)| ms.abs_diff(want) < 20), "{after_ms:?}");
        net.is_silent = false;
        net.take(theirs, 100);
        net.run_until("the other's return", |net| net.world.switch.residence(idle) == Residence::InHost);
        for (ours, theirs) in [(ours, theirs), (idle, idles)] {
            net.offload(ours);
            net.post(ours, 5000);
            net.take(theirs, 5000);
            assert_eq!(net.world.switch.residence(ours), Residence::Offloaded, "{family:?}");
        }
        let log = net.world.switch.upload_requests();
        assert_eq!(log.len(), 1, "{family:?}: the target has a neighbor that is not invalid");
    }
}

/// The host has something to send and gets no answer of its own, but the target hears from the neighbor all the time.
///
/// Verifies: R-272
#[test]
fn a_neighbor_that_answers_the_nic_is_not_given_up_for_not_answering_the_host() {
    let (mut net, ours, theirs) = Net::stale(FAMILIES[0]);
    net.is_shy = true;
    net.post(ours, 100);
    net.take(theirs, 100);
    net.run_for(2 * DELAY_US);
    net.run_for(STALE_US / 2);
    net.post(ours, 100);
    net.take(theirs, 100);
    net.run_for(STALE_US / 2);
    // The host's confirmation is stale again, and the target's is not.
    assert_eq!(net.questions(), 1);
    assert!(net.host_age_ms() > 30_000);
    net.probes();
    net.world.wire.far().to_send.push_back(echo_request());
    for _ in 0..20 {
        net.post(ours, 100);
        net.take(theirs, 100);
        net.run_for(SECOND_US / 2);
    }
    assert_eq!(net.probes().iter().filter(|(_, is_unicast)| *is_unicast).count(), 3, "nobody answers");
    assert!(net.host_age_ms() < 10_000);
    assert_eq!(net.world.switch.residence(ours), Residence::Offloaded);
    assert_eq!(net.world.switch.upload_requests().len(), 0);
}

/// Verifies: R-273
#[test]
fn what_the_host_sends_itself_waits_for_the_targets_word() {
    for (family, is_silent) in FAMILIES.into_iter().flat_map(|f| [(f, false), (f, true)]) {
        let mut net = Net::new(family);
        let (hosts, peers) = net.connect();
        let (ours, theirs) = net.connect();
        net.offload(ours);
        net.run_for(STALE_US);
        net.probes();
        net.is_silent = is_silent;
        net.post(ours, 100);
        net.run_for(SECOND_US);
        assert_eq!((net.questions(), net.probes()), (1, vec![]), "{family:?}");
        let start_us = net.world.now_us();
        net.post(hosts, 777);
        let text =
            |net: &Net| net.seen.iter().find(|(_, f)| (777..900).contains(&f.len())).map(|(at, _)| *at);
        net.run_until("the host's segment", |net| text(net).is_some());
        let sent_us = text(&net).expect("seen");
        assert!(sent_us - start_us < 20_000, "{family:?}: it waits for the target alone");
        net.run_for(SECOND_US / 2);
        let probes = net.probes();
        if is_silent {
            // At once, and not after the rest of DELAY.
            assert_eq!(probes.len(), 1, "{family:?}");
            assert!(probes[0].1 && probes[0].0 <= sent_us, "{family:?}: {probes:?}, sent at {sent_us}");
        } else {
            assert_eq!(probes, [], "{family:?}");
            net.take(theirs, 100);
            net.take(peers, 777);
        }
    }
}

/// A hand-over sends, too, and what the host holds must not be overtaken (law L3).
///
/// Verifies: R-273
#[test]
fn a_hand_over_through_a_neighbor_in_doubt_waits_for_the_targets_word_too() {
    let mut net = Net::new(FAMILIES[0]);
    let (ours, theirs) = net.connect();
    let (other, others) = net.connect();
    net.offload(ours);
    net.run_for(STALE_US);
    net.probes();
    net.post(ours, 100);
    net.take(theirs, 100);
    net.run_for(SECOND_US); // the peer takes its time to acknowledge it
    assert!(net.host_age_ms() > 30_000);
    net.offload(other);
    assert!(net.host_age_ms() < 1500, "the target's");
    net.post(other, 3000);
    net.take(others, 3000);
    assert_eq!((net.questions(), net.probes()), (1, vec![]));
}
