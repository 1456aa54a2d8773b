//! The driver's world: a device, its driver, a host that writes everything down, and a peer on the wire.

pub mod cosim_bus;
pub mod host;
pub mod late_bus;
pub mod peer;

use std::cell::RefCell;
use std::rc::Rc;

use chimney_abi::cmd::{Status, TcpState};
use chimney_abi::offload::{
    HostHandle, NeighborBlock, NeighborState, Offload, PathBlock, PathState, ReceiveRequest, Role,
    SendRequest, TcpBlock, TcpBlockState, Token, Tree,
};
use chimney_abi::state::{TcpRecord, CACHED_NAGLE, CONST_IPV6, NO_TIMER};
use chimney_abi::wire::ethernet;
use chimney_driver::{Config, Driver};
use chimney_sim::bfm::axi_memory::AxiTiming;
use chimney_sim::device::{Device, Limit};
use chimney_sim::golden::{self, Golden};
use chimney_sim::host_mem::{DmaPort, HostMemory};
use chimney_sim::model::RtlNic;
use chimney_sim::net::guise::{six, Guise};

use chimney_sim::rng::test_seed;
use host::Host;
use late_bus::LateBus;
use peer::Peer;

pub const HOST_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub const PEER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
pub const HOST_IP: [u8; 4] = [10, 0, 0, 1];
pub const PEER_IP: [u8; 4] = [10, 0, 0, 2];
pub const HOST_PORT: u16 = 1000;
pub const PEER_PORT: u16 = 2000;
/// First byte the host sends; close to the wrap of the sequence space.
pub const HOST_ISS: u32 = 0xffff_8000;
/// First byte the peer sends.
pub const PEER_ISS: u32 = 0xffff_f123;
pub const MSS: u16 = 1460;
pub const PEER_WINDOW: u16 = 65_000;
pub const HOST_WINDOW: u32 = 64 * 1024;
pub const HOST_WINDOW_SHIFT: u8 = 2;

/// A golden device with its driver.
pub type GoldenWorld = World<Golden<DmaPort>>;

/// Device, driver and host; the wire is the caller's.
pub struct World<D: Device> {
    pub device: Rc<RefCell<D>>,
    pub memory: HostMemory,
    pub driver: Driver<LateBus<D>>,
    pub host: Host,
    pub now_us: u64,
    /// Framing and family of what is offloaded; the peer knows Ethernet II and IPv4 alone.
    pub guise: Guise,
    /// How far the world's time is ahead of the device's: a device that comes later begins at 0.
    ahead_us: u64,
}

/// The configuration of tests: small, so that limits are met.
pub fn config() -> Config {
    Config {
        mac: HOST_MAC,
        arena_bytes: 4 << 20,
        pool_pages: 512,
        send_log2: 6,
        recv_log2: 4,
        hash_key: Some(0x0123_4567_89ab_cdef),
        ..Config::default()
    }
}

impl GoldenWorld {
    /// A golden device, brought up.
    pub fn golden() -> Self {
        Self::golden_with(config())
    }

    /// With another configuration of the driver.
    pub fn golden_with(config: Config) -> Self {
        let memory = HostMemory::new();
        let device = Golden::new(
            golden::Config { conn_log2: 4, table_log2: 3, ..golden::Config::default() },
            memory.port(),
        );
        Self::new(device, memory, config, 0)
    }
}

/// The Verilated RTL with its driver.
pub type RtlWorld = World<RtlNic>;

impl RtlWorld {
    /// The RTL at 125 MHz on a bus without latency, brought up.
    pub fn rtl() -> Self {
        Self::rtl_with(config(), AxiTiming::default())
    }

    /// With another configuration of the driver, and with bus latencies and stalls.
    pub fn rtl_with(config: Config, timing: AxiTiming) -> Self {
        let memory = HostMemory::new();
        let device = RtlNic::with_timing(&memory, 8.0, timing);
        Self::new(device, memory, config, 0)
    }

    /// The watchers must have seen nothing.
    pub fn assert_clean(&self) {
        assert_eq!(self.device.borrow().violations(), None);
    }
}

/// A kind of device that the driver's tests run on.
pub trait TestDevice: Device + Sized {
    /// Rounds of a random test: simulated RTL is slower than the model by orders of magnitude.
    const ROUNDS: usize;
    /// Connections that it can hold.
    const CONNECTIONS: usize;
    /// Mutated frames, in the short and in the long run.
    const FRAMES: [usize; 2];
    /// Random lives, in the short and in the long run.
    const LIVES: [u64; 2];
    /// Bytes that a life carries in each direction.
    const LIFE_BYTES: usize;
    /// Writes to host memory that a transfer of 30 000 bytes both ways takes, about.
    const WRITES: u64;
    /// Of these, after every which one the device dies, in the short and in the long run.
    const DEATHS: [usize; 2];

    /// A device with its memory.
    fn make(memory: &HostMemory) -> Self;

    /// It is gone: registers read all ones, no DMA, no frames.
    fn kill(&mut self);

    /// The same after so many more writes to host memory.
    fn die_after_writes(&mut self, writes: u64);

    /// Panics if a watcher of the device saw something.
    fn assert_clean(&self);
}

/// The number for the short run, or with `CHIMNEY_LONG` for the long one.
pub fn short_or_long<T: Copy>(counts: [T; 2]) -> T {
    counts[usize::from(std::env::var_os("CHIMNEY_LONG").is_some())]
}

impl TestDevice for Golden<DmaPort> {
    const ROUNDS: usize = 300;
    const CONNECTIONS: usize = 16;
    const FRAMES: [usize; 2] = [10_000, 100_000];
    const LIVES: [u64; 2] = [30, 500];
    const LIFE_BYTES: usize = 120_000;
    const WRITES: u64 = 160;
    const DEATHS: [usize; 2] = [1, 1];

    fn make(memory: &HostMemory) -> Self {
        Golden::new(
            golden::Config { conn_log2: 4, table_log2: 3, ..golden::Config::default() },
            memory.port(),
        )
    }

    fn kill(&mut self) {
        Golden::kill(self);
    }

    fn die_after_writes(&mut self, writes: u64) {
        Golden::die_after_writes(self, writes);
    }

    fn assert_clean(&self) {}
}

impl TestDevice for RtlNic {
    const ROUNDS: usize = 20;
    const CONNECTIONS: usize = 64;
    const FRAMES: [usize; 2] = [2_000, 20_000];
    const LIVES: [u64; 2] = [6, 60];
    const LIFE_BYTES: usize = 40_000;
    const WRITES: u64 = 240;
    const DEATHS: [usize; 2] = [9, 1];

    /// With latencies and stalls on all buses.
    fn make(memory: &HostMemory) -> Self {
        RtlNic::with_timing(memory, 8.0, AxiTiming::random(test_seed(71)))
    }

    fn kill(&mut self) {
        RtlNic::kill(self);
    }

    fn die_after_writes(&mut self, writes: u64) {
        RtlNic::die_after_writes(self, writes);
    }

    fn assert_clean(&self) {
        assert_eq!(self.violations(), None);
    }
}

impl<D: TestDevice> World<D> {
    /// A device with the usual configuration, brought up.
    pub fn make() -> Self {
        Self::make_with(config())
    }

    /// With another configuration of the driver.
    pub fn make_with(config: Config) -> Self {
        let memory = HostMemory::new();
        Self::new(D::make(&memory), memory, config, 0)
    }

    /// A new device at a time that is not the beginning.
    pub fn make_at(now_us: u64) -> Self {
        let memory = HostMemory::new();
        Self::new(D::make(&memory), memory, config(), now_us)
    }
}

/// Makes two tests of each function that is generic in the device: module `golden` and module `rtl`.
#[macro_export]
macro_rules! on_both_devices {
    ($($test:ident),* $(,)?) => {
        mod golden {
            $(#[test] fn $test() { super::$test::<chimney_sim::golden::Golden<chimney_sim::host_mem::DmaPort>>(); })*
        }
        mod rtl {
            $(#[test] fn $test() { super::$test::<chimney_sim::model::RtlNic>(); })*
        }
    };
}

impl<D: Device> World<D> {
    /// Brings up the driver on a device.
    pub fn new(device: D, memory: HostMemory, config: Config, now_us: u64) -> Self {
        let device = Rc::new(RefCell::new(device));
        let bus = LateBus::new(device.clone(), memory.clone());
        let driver = Driver::open(bus, config).expect("the device comes up");
        let device_us = device.borrow().now_us();
        let ahead_us = now_us.saturating_sub(device_us);
        let now_us = device_us + ahead_us;
        let (host, guise) = (Host::default(), Guise::default());
        Self { device, memory, driver, host, now_us, guise, ahead_us }
    }

    /// Lets the device work at the present time and the driver poll, until neither has anything to do.
    pub fn settle(&mut self) {
        for _ in 0..64 {
            if !self.step() {
                break;
            }
        }
    }

    /// Posted writes, device, driver, once each. True if there was anything.
    pub fn step(&mut self) -> bool {
        let arrived = self.driver.bus().deliver();
        self.run_device();
        let any = self.driver.poll(self.now_us, &mut self.host);
        self.host.collect(&mut self.driver);
        any | arrived
    }

    /// Lets the device work at the present time.
    pub fn run_device(&mut self) {
        self.device.borrow_mut().advance(Limit::until(self.now_us - self.ahead_us));
        // A clocked device makes time while it works.
        self.now_us = self.now_us.max(self.device.borrow().now_us() + self.ahead_us);
    }

    /// Lets time pass in steps of at most 5 ms.
    pub fn run_for(&mut self, us: u64) {
        let end = self.now_us + us;
        while self.now_us < end {
            self.now_us = end.min(self.now_us + 5000);
            self.settle();
        }
    }

    /// Puts a frame on the wire and lets it be processed.
    pub fn wire(&mut self, frame: &[u8]) {
        self.arrive(frame);
        self.settle();
    }

    /// Puts a frame on the wire.
    pub fn arrive(&mut self, frame: &[u8]) {
        self.device.borrow_mut().rx_frame(&self.guise.dress(frame), false);
    }

    /// A segment as the peer knows it; other frames as they are.
    pub fn plain(&self, frame: Vec<u8>) -> Vec<u8> {
        if self.guise == Guise::default() {
            return frame;
        }
        let (seen, plain) = Guise::undress(&frame).expect("a segment in order");
        assert_eq!(seen, self.guise);
        plain
    }

    /// The segment in a frame that came up, without padding; its checksum is that of its family.
    pub fn segment(&self, frame: &[u8]) -> Vec<u8> {
        let plain = self.plain(frame.to_vec());
        let total = usize::from(u16::from_be_bytes([plain[16], plain[17]]));
        frame[self.guise.headers_len()..][..total - 20].to_vec()
    }

    /// Frames that the device sent.
    pub fn sent_frames(&mut self) -> Vec<Vec<u8>> {
        let frames: Vec<_> = std::iter::from_fn(|| self.device.borrow_mut().pop_tx_frame()).collect();
        frames.into_iter().map(|frame| self.plain(frame)).collect()
    }

    /// Exchanges frames with the peer without loss, for `us` microseconds.
    pub fn talk(&mut self, peer: &mut Peer, us: u64) {
        let end = self.now_us + us;
        loop {
            self.settle();
            let mut any = false;
            for frame in self.sent_frames() {
                peer.watch(&frame);
                peer.receive(&frame);
                any = true;
            }
            for frame in peer.poll(self.now_us) {
                self.arrive(&frame);
                any = true;
            }
            if !any {
                if self.now_us >= end {
                    return;
                }
                self.now_us = end.min(self.now_us + 5000);
            }
        }
    }

    /// Offloads neighbor, path and connection; gives their tokens.
    pub fn offload(&mut self, state: TcpBlockState) -> Tokens {
        let tree = self.dressed_tree(state);
        self.driver.initiate(tree).expect("accepted");
        for _ in 0..64 {
            self.settle(); // more than once if writes arrive late
        }
        let tree = self.host.initiated.pop().expect("completed");
        assert_eq!(tree[0].paths[0].connections[0].status, Status::Success);
        assert_eq!((tree[0].status, tree[0].paths[0].status), (Status::Success, Status::Success));
        Tokens::of(&tree)
    }

    /// Objects that say what the guise is.
    fn dressed_tree(&self, mut state: TcpBlockState) -> Tree {
        let (guise, r) = (self.guise, &mut state.record);
        let tci = guise.tci.unwrap_or(0);
        if let Some(v6) = guise.v6 {
            r.const_flags |= CONST_IPV6;
            r.flow_label = v6.flow_label;
        }
        r.user_priority = (tci >> ethernet::PRIORITY_SHIFT) as u8;
        let mtu = if guise.is_llc_snap { ethernet::MAX_SNAP_MTU } else { ethernet::MAX_MTU };
        r.eff_mss = r.eff_mss.min(mtu - if guise.v6.is_some() { 60 } else { 40 });
        let mut tree = new_tree(vec![state]);
        let neighbor = tree[0].state.as_mut().expect("a new neighbor");
        (neighbor.vlan, neighbor.llc_snap) = (tci & ethernet::VLAN_ID_MASK, guise.is_llc_snap);
        let path = tree[0].paths[0].state.as_mut().expect("a new path");
        path.mtu = mtu;
        if guise.v6.is_some() {
            (path.src, path.dst) = (six(HOST_IP.into()).into(), six(PEER_IP.into()).into());
        }
        tree
    }

    /// Takes everything back; the connection's state.
    pub fn upload(&mut self, tokens: Tokens) -> TcpBlockState {
        self.driver.terminate(linker_tree(tokens)).expect("accepted");
        for _ in 0..64 {
            self.settle();
        }
        let tree = self.host.terminated.pop().expect("completed");
        let block = &tree[0].paths[0].connections[0];
        assert_eq!(block.status, Status::Success, "{:?}", self.driver.stats());
        block.state.clone().expect("the state came back")
    }

    /// Sends bytes from a new buffer.
    pub fn send(&mut self, token: Token, bytes: &[u8]) {
        let len_bytes = bytes.len() as u32;
        let buffer = self.driver.allocate(len_bytes).expect("arena memory");
        self.driver.write(buffer, 0, bytes).expect("our buffer");
        self.driver.send(token, SendRequest { buffer, offset_bytes: 0, len_bytes }).expect("accepted");
    }

    /// Posts a receive into a new buffer.
    pub fn post(&mut self, token: Token, len_bytes: u32, no_push: bool) {
        let buffer = self.driver.allocate(len_bytes.max(1)).expect("arena memory");
        let request = ReceiveRequest { buffer, len_bytes, prefilled_bytes: 0, no_push };
        self.driver.receive(token, request).expect("accepted");
    }

    /// Nothing may be left over when everything was taken back.
    pub fn assert_no_leaks(&mut self, config: &Config) {
        let stats = self.driver.stats();
        assert_eq!((stats.arena_used_bytes, stats.connections), (0, 0), "{stats:?}");
        assert_eq!(
            (stats.double_frees, stats.bad_frames, stats.unexpected_completions),
            (0, 0, 0),
            "{stats:?}"
        );
        assert!(self.driver.is_quiet());
        assert!(stats.spare_pages >= usize::from(config.reserve_pages), "{stats:?}");
        let (violations, first) = self.memory.violations();
        assert_eq!(violations, 0, "DMA outside of what was mapped: {first:?}");
    }
}

/// Tokens of one neighbor, path and connection.
#[derive(Clone, Copy, Debug)]
pub struct Tokens {
    pub neighbor: Token,
    pub path: Token,
    pub conn: Token,
}

impl Tokens {
    /// From a tree whose blocks are linkers.
    pub fn of(tree: &Tree) -> Self {
        let token = |role| match role {
            Role::Linker(token) => token,
            other => panic!("not offloaded: {other:?}"),
        };
        let path = &tree[0].paths[0];
        Self { neighbor: token(tree[0].role), path: token(path.role), conn: token(path.connections[0].role) }
    }
}

/// A connection block.
pub fn tcp_block(role: Role, handle: u32, state: Option<TcpBlockState>) -> TcpBlock {
    TcpBlock { role, handle: HostHandle(handle), state, status: Status::Failure }
}

/// A new neighbor with a new path with new connections, handles 1, 2 and 10 onwards.
pub fn new_tree(states: Vec<TcpBlockState>) -> Tree {
    let connections =
        states.into_iter().enumerate().map(|(i, s)| tcp_block(Role::New, 10 + i as u32, Some(s))).collect();
    let path = PathState {
        src: HOST_IP.into(),
        dst: PEER_IP.into(),
        mtu: 1500,
        ip_id_start: chimney_abi::wire::ipv4::ID_TARGET_START,
        ip_id_counter: 0,
    };
    vec![NeighborBlock {
        role: Role::New,
        handle: HostHandle(1),
        state: Some(NeighborState { dst_mac: PEER_MAC, ..NeighborState::default() }),
        status: Status::Failure,
        selected: false,
        paths: vec![PathBlock {
            role: Role::New,
            handle: HostHandle(2),
            state: Some(path),
            status: Status::Failure,
            connections,
            selected: false,
        }],
    }]
}

/// References offloaded objects; neighbor and path are selected.
pub fn linker_tree(tokens: Tokens) -> Tree {
    let mut tree = new_tree(vec![TcpBlockState::default()]);
    tree[0].role = Role::Linker(tokens.neighbor);
    tree[0].state = None;
    tree[0].selected = true;
    let path = &mut tree[0].paths[0];
    path.role = Role::Linker(tokens.path);
    path.state = None;
    path.selected = true;
    path.connections[0].role = Role::Linker(tokens.conn);
    path.connections[0].state = None;
    tree
}

/// An idle established connection.
pub fn established() -> TcpBlockState {
    let record = TcpRecord {
        local_port: HOST_PORT,
        remote_port: PEER_PORT,
        rcv_wind_shift: HOST_WINDOW_SHIFT,
        eff_mss: MSS,
        cached_flags: CACHED_NAGLE,
        ttl: 64,
        max_retransmissions: 15,
        initial_rcv_wnd: HOST_WINDOW,
        tcp_state: TcpState::Established.code(),
        rcv_nxt: PEER_ISS,
        rcv_right: PEER_ISS.wrapping_add(HOST_WINDOW),
        adv_right: PEER_ISS.wrapping_add(HOST_WINDOW),
        last_ack_sent: PEER_ISS,
        snd_una: HOST_ISS,
        snd_nxt: HOST_ISS,
        snd_max: HOST_ISS,
        snd_limit: HOST_ISS,
        recover: HOST_ISS,
        snd_wnd: PEER_WINDOW.into(),
        max_snd_wnd: PEER_WINDOW.into(),
        snd_wl1: PEER_ISS,
        snd_wl2: HOST_ISS,
        cwnd: 10 * u32::from(MSS),
        ssthresh: 1 << 20,
        rto_us: 300_000,
        rtx_deadline: NO_TIMER,
        ka_deadline: NO_TIMER,
        delack_deadline: NO_TIMER,
        push_deadline: NO_TIMER,
        ..TcpRecord::default()
    };
    TcpBlockState { record, ..TcpBlockState::default() }
}

/// Byte `i` of a stream that looks random and differs by `salt`.
pub fn pattern(salt: u64, i: usize) -> u8 {
    (chimney_sim::rng::Rng::keyed(salt, 1, i as u64 / 8).next_u64() >> (i % 8 * 8)) as u8
}

/// Bytes `[from, to)` of the stream.
pub fn stream(salt: u64, from: usize, to: usize) -> Vec<u8> {
    (from..to).map(|i| pattern(salt, i)).collect()
}
