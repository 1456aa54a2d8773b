//! Two stacks, a bad link between them, and a clock that jumps from event to event.
//!
//! Every frame that a stack sends goes through `oracle`, which reads it with etherparse and checks what
//! must hold for any frame: checksums, DF, the host's half of the IP identifications, no RST (unless a
//! test allows it), and a right edge that never moves left.

pub mod oracle;

use chimney_abi::cmd::TcpState;
use chimney_host_stack::{Address, ConnId, ListenerId, MacAddr, Stack, StackConfig, StackEvent, TcpConfig};
use oracle::Oracle;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Address of an end, in either family.
pub fn ip(end: usize, is_v6: bool) -> IpAddr {
    // `as`: 0 or 1.
    let last = end as u8 + 1;
    if is_v6 {
        Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, last.into()).into()
    } else {
        Ipv4Addr::new(10, 9, 0, last).into()
    }
}

/// Port on which end 1 listens.
pub const PORT: u16 = 7000;

/// Where an untagged frame has the IP header, and in it the byte with the ECN field.
const IP_AT: usize = 14;
const TOS_AT: usize = IP_AT + 1;
const ECT_0: u8 = 2;
const CE: u8 = 3;

fn is_v6(frame: &[u8]) -> bool {
    frame[IP_AT] >> 4 == 6
}

/// A packet whose sender takes marks for losses.
fn is_ecn_capable(frame: &[u8]) -> bool {
    let class = if is_v6(frame) { frame[TOS_AT] >> 4 } else { frame[TOS_AT] };
    class & CE == ECT_0
}

/// A router's congestion mark (RFC 3168 5).
fn mark(frame: &mut [u8]) {
    if is_v6(frame) {
        frame[TOS_AT] |= CE << 4;
        return;
    }
    frame[TOS_AT] = CE;
    let mut header = etherparse::Ipv4Header::from_slice(&frame[IP_AT..]).expect("an IPv4 header").0;
    header.header_checksum = header.calc_header_checksum();
    frame[IP_AT..IP_AT + 20].copy_from_slice(&header.to_bytes());
}

/// splitmix64.
#[derive(Clone, Debug)]
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    /// True in `permille` of 1000 cases.
    pub fn chance(&mut self, permille: u64) -> bool {
        self.below(1000) < permille
    }

    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }
}

/// A fresh seed, or the one that `CHIMNEY_SEED` names.
pub fn seed() -> u64 {
    let fresh = || RandomState::new().build_hasher().finish();
    let seed = std::env::var("CHIMNEY_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(fresh);
    eprintln!("CHIMNEY_SEED={seed}");
    seed
}

/// What the link does to frames.
#[derive(Clone, Copy, Debug, Default)]
pub struct Impairment {
    pub loss_permille: u64,
    pub duplicate_permille: u64,
    pub delay_us: u64,
    pub jitter_us: u64,
    /// Of the ECN-capable frames, how many get the mark.
    pub mark_permille: u64,
}

/// Arrival time, serial number, receiving end, frame.
type InFlight = (u64, u64, usize, Vec<u8>);

pub struct World {
    pub now_us: u64,
    pub stacks: [Stack; 2],
    pub impairment: Impairment,
    pub rng: Rng,
    pub oracle: Oracle,
    /// Frames sent by end 0 and 1 that the link drops, by index.
    pub drop_list: [Vec<u64>; 2],
    pub sent: [u64; 2],
    /// Frames that got the congestion mark.
    pub marked: u64,
    /// RSTs sent by an end that still knew the connection. (One that has closed it must answer late copies
    /// of old segments with an RST, RFC 9293 3.5.2.)
    pub live_resets: u64,
    ids: [Option<ConnId>; 2],
    /// Address of end 1.
    pub peer: IpAddr,
    /// Longest jump of the clock: tests whose applications act by themselves make it small.
    pub max_step_us: u64,
    in_flight: BinaryHeap<Reverse<InFlight>>,
    serial: u64,
}

pub fn config(end: usize, is_v6: bool, tcp: TcpConfig) -> StackConfig {
    StackConfig {
        mac: MacAddr([2, 0, 0, 0, 0, end as u8 + 1]),
        addresses: vec![Address::new(ip(end, is_v6), 24)],
        mtu: 1500,
        secret: 0x1234_5678 + end as u64,
        tcp,
    }
}

impl World {
    /// An odd seed speaks IPv6, an even one IPv4.
    pub fn new(seed: u64, impairment: Impairment, tcp: [TcpConfig; 2]) -> World {
        let ([a, b], is_v6) = (tcp, seed % 2 == 1);
        World {
            now_us: 1_000_000,
            peer: ip(1, is_v6),
            stacks: [Stack::new(config(0, is_v6, a)), Stack::new(config(1, is_v6, b))],
            impairment,
            rng: Rng(seed),
            oracle: Oracle::default(),
            drop_list: Default::default(),
            sent: [0; 2],
            marked: 0,
            live_resets: 0,
            ids: [None; 2],
            max_step_us: u64::MAX,
            in_flight: BinaryHeap::new(),
            serial: 0,
        }
    }

    pub fn perfect() -> World {
        World::perfect_with(2)
    }

    /// The same with another seed, so perhaps another family.
    pub fn perfect_with(seed: u64) -> World {
        let link = Impairment { delay_us: 1000, ..Impairment::default() };
        World::new(seed, link, [TcpConfig::default(); 2])
    }

    /// Sends what both stacks have, then jumps to the next event and handles it.
    /// False if nothing will ever happen again.
    pub fn step(&mut self) -> bool {
        self.flush();
        let arrival = self.in_flight.peek().map(|Reverse((at, ..))| *at);
        let deadlines = self.stacks.iter().filter_map(Stack::next_deadline);
        let next = deadlines.chain(arrival).min();
        if next.is_none() && self.max_step_us == u64::MAX {
            return false;
        }
        let limit = self.now_us.saturating_add(self.max_step_us);
        self.now_us = self.now_us.max(next.unwrap_or(u64::MAX).min(limit));
        while self.in_flight.peek().is_some_and(|Reverse((at, ..))| *at <= self.now_us) {
            let Some(Reverse((_, _, to, frame))) = self.in_flight.pop() else { break };
            self.stacks[to].handle_frame(self.now_us, &frame);
        }
        self.flush();
        true
    }

    /// Steps until `done` or until `limit_us` of virtual time have passed.
    pub fn run_until(&mut self, limit_us: u64, mut done: impl FnMut(&mut World) -> bool) -> bool {
        let end = self.now_us + limit_us;
        while self.now_us < end {
            if done(self) {
                return true;
            }
            if !self.step() {
                return done(self);
            }
        }
        done(self)
    }

    pub fn flush(&mut self) {
        for end in 0..2 {
            for frame in self.stacks[end].poll(self.now_us) {
                let is_reset = self.oracle.check(end, &frame);
                let state = self.ids[end].and_then(|id| self.stacks[end].status(id).ok()).map(|s| s.state);
                self.live_resets += u64::from(is_reset && state.is_some_and(|s| s != TcpState::Closed));
                self.carry(end, frame);
            }
        }
    }

    fn carry(&mut self, from: usize, mut frame: Vec<u8>) {
        let index = self.sent[from];
        self.sent[from] += 1;
        let link = self.impairment;
        if self.drop_list[from].contains(&index) || self.rng.chance(link.loss_permille) {
            return;
        }
        if is_ecn_capable(&frame) && self.rng.chance(link.mark_permille) {
            self.marked += 1;
            mark(&mut frame);
        }
        let copies = if self.rng.chance(link.duplicate_permille) { 2 } else { 1 };
        for _ in 0..copies {
            let at = self.now_us + link.delay_us + self.rng.below(link.jitter_us + 1);
            self.serial += 1;
            self.in_flight.push(Reverse((at, self.serial, 1 - from, frame.clone())));
        }
    }

    /// Opens a connection from end 0 to end 1; both ids.
    pub fn connect(&mut self) -> [ConnId; 2] {
        let listener = self.stacks[1].listen(PORT, 16).expect("port is free");
        self.connect_to(listener)
    }

    pub fn connect_to(&mut self, listener: ListenerId) -> [ConnId; 2] {
        let remote = SocketAddr::new(self.peer, PORT);
        let a = self.stacks[0].connect(self.now_us, remote).expect("a port is free");
        let mut b = None;
        let opened = self.run_until(120_000_000, |w| {
            b = b.or_else(|| w.stacks[1].accept(listener));
            b.is_some() && w.events_of(0).contains(&StackEvent::Connected(a))
        });
        assert!(opened, "connection did not open");
        let b = b.expect("accepted");
        self.ids = [Some(a), Some(b)];
        [a, b]
    }

    pub fn events_of(&mut self, end: usize) -> Vec<StackEvent> {
        std::iter::from_fn(|| self.stacks[end].next_event()).collect()
    }
}

/// One end's application: sends a stream in odd pieces, reads in odd pieces, closes at the end.
pub struct App {
    pub id: ConnId,
    pub to_send: Vec<u8>,
    pub sent: usize,
    pub received: Vec<u8>,
    pub is_shut: bool,
}

impl App {
    pub fn new(id: ConnId, to_send: Vec<u8>) -> App {
        App { id, to_send, sent: 0, received: Vec::new(), is_shut: false }
    }

    /// One round; does nothing while the connection is not in the host.
    pub fn run(&mut self, stack: &mut Stack, rng: &mut Rng, slow_permille: u64) {
        if rng.chance(slow_permille) {
            return;
        }
        let mut buffer = vec![0; 1 + rng.below(40_000) as usize];
        if let Ok(count) = stack.recv(self.id, &mut buffer) {
            self.received.extend_from_slice(&buffer[..count]);
        }
        if self.sent < self.to_send.len() {
            let end = (self.sent + 1 + rng.below(20_000) as usize).min(self.to_send.len());
            if let Ok(count) = stack.send(self.id, &self.to_send[self.sent..end]) {
                self.sent += count;
            }
        } else if !self.is_shut {
            self.is_shut = stack.shutdown(self.id).is_ok();
        }
    }

    pub fn has_all(&self, other: &App) -> bool {
        self.is_shut && self.received.len() == other.to_send.len()
    }
}
