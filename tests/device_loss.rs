//! Law L2: the NIC disappears at any moment; the host rebuilds its connections from memory and goes on over the
//! plain MAC path, and both byte streams arrive whole.

use chimney::world::{Pace, Setup, World};
use chimney_abi::offload::Residence;
use chimney_abi::regs;
use chimney_driver::Config;
use chimney_host_stack::switch::{Direction, SwitchConfig};
use chimney_host_stack::{Address, ConnId, ListenerId, MacAddr, Stack, StackConfig, StackEvent, TcpConfig};
use chimney_sim::bfm::axi_memory::AxiTiming;
use chimney_sim::clock::SimClock;
use chimney_sim::device::{Device, Limit};
use chimney_sim::ffi::{Nic, NicEarlyAck};
use chimney_sim::golden::{self, Golden};
use chimney_sim::host_mem::HostMemory;
use chimney_sim::model::RtlNic;
use chimney_sim::net::impairment::Impairment;
use chimney_sim::net::wire::{QueueEnd, Wire};
use chimney_sim::rig::NicPins;
use chimney_sim::rng::{test_seed, Rng};
use std::net::{Ipv4Addr, SocketAddr};

const HOST: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);
const PEER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
const PORT: u16 = 7;
/// Simulated time after which a run has failed, microseconds.
const LIMIT_US: u64 = 120_000_000;
/// The same where the wire is clean and nothing has to wait for timers again and again.
const CLEAN_LIMIT_US: u64 = 5_000_000;
/// Bytes in each direction: more than arrives until a stop, so that every stop is in the middle of both transfers.
const STREAM_BYTES: usize = 400_000;
/// A stop comes after at least so many received bytes and a random part of so many more ...
const FIRST_BYTES: u64 = 5_000;
/// See [`FIRST_BYTES`].
const MORE_BYTES: u64 = 100_000;
/// ... and then up to so many steps; an application moves at most 8192 bytes in a step.
const MOST_STEPS: u64 = 16;
/// Stops after which a NIC that acknowledges early must have been caught.
const MOST_STOPS: usize = 20;

/// Clocks of the RTL in the step in which it stops: several segments.
const STOP_CYCLES: u64 = 3_000;
/// Clocks in which a device that was stopped comes to rest.
const MOST_STOP_CYCLES: u64 = 60_000;
/// Between two looks at it.
const STOP_STEP_CYCLES: u64 = 200;
/// Clocks until a write is visible, on a bus where an acknowledgment could easily overtake it.
const SLOW_WRITE: u32 = 1_500;

/// A stream that did not arrive: why.
#[derive(Debug)]
struct Broken(String);

fn stack(ip: Ipv4Addr, mac: u8, secret: u64) -> StackConfig {
    StackConfig {
        mac: MacAddr([2, 0, 0, 0, 0, mac]),
        addresses: vec![Address::new(ip, 24)],
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
    limit_us: u64,
}

impl<D: Device> Duel<D> {
    fn new(device: D, memory: HostMemory, pace: Pace, seed: u64, loss: &str) -> Self {
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
        let conn = world
            .switch
            .stack()
            .connect(now_us, SocketAddr::new(PEER.into(), PORT))
            .expect("a free local port");
        let (up, down) = (bytes(seed ^ 0xa, STREAM_BYTES), bytes(seed ^ 0xb, STREAM_BYTES));
        let host = End { to_send: up.clone(), sent: 0, wanted: down.clone(), received: Vec::new() };
        let far = End { to_send: down, sent: 0, wanted: up, received: Vec::new() };
        Self { world, peer, listener, conn, accepted: None, host, far, limit_us: LIMIT_US }
    }

    fn step(&mut self) -> Result<(), Broken> {
        self.world.step().expect("the wire holds");
        let now_us = self.world.now_us();
        while let Some(frame) = self.world.wire.far().arrived.pop_front() {
            self.peer.handle_frame(now_us, &frame);
        }
        while let Some(event) = self.world.switch.stack().next_event() {
            let is_over = matches!(event, StackEvent::Closed(_));
            if is_over {
                return Err(Broken("the connection ended at the host".to_owned()));
            }
        }
        if self.accepted.is_none() {
            self.accepted = self.peer.accept(self.listener);
        }
        if let Some(id) = self.accepted {
            let status = self.peer.status(id).expect("a live connection");
            if let Some(error) = status.error {
                return Err(Broken(format!("the connection ended at the peer: {error:?}")));
            }
            let end = self.far.to_send.len().min(self.far.sent + 8192);
            self.far.sent += self.peer.send(id, &self.far.to_send[self.far.sent..end]).unwrap_or(0);
            let mut buffer = [0; 8192];
            let n = self.peer.recv(id, &mut buffer).unwrap_or(0);
            self.far.received.extend(&buffer[..n]);
        }
        let frames = self.peer.poll(now_us);
        self.world.wire.far().to_send.extend(frames);
        if self.world.switch.state(self.conn) == Some(chimney_abi::cmd::TcpState::SynSent) {
            return Ok(());
        }
        let end = self.host.to_send.len().min(self.host.sent + 8192);
        let piece = &self.host.to_send[self.host.sent..end];
        self.host.sent += self.world.switch.send(self.conn, piece).expect("the connection takes bytes");
        let mut buffer = [0; 8192];
        let n = self.world.switch.recv(&mut self.world.driver, self.conn, &mut buffer).expect("readable");
        self.host.received.extend(&buffer[..n]);
        Ok(())
    }

    fn run_until(&mut self, what: &str, mut is_done: impl FnMut(&Self) -> bool) -> Result<(), Broken> {
        while !is_done(self) {
            if self.world.now_us() >= self.limit_us {
                return Err(Broken(format!(
                    "{what}: no end; host got {} of {}, peer got {} of {}",
                    self.host.received.len(),
                    self.host.wanted.len(),
                    self.far.received.len(),
                    self.far.wanted.len()
                )));
            }
            self.step()?;
        }
        Ok(())
    }

    /// Offloads after a first piece and loses the device at a random moment, in the last of at most `cycles` more clocks.
    /// True if both directions had something left. An error is a stream that did not arrive whole.
    fn lose(mut self, cycles: u64, seed: u64) -> Result<bool, Broken> {
        let mut rng = Rng::new(seed ^ 0x10);
        // `as`: small.
        let at = (FIRST_BYTES + rng.below(MORE_BYTES)) as usize;
        let steps = rng.below(MOST_STEPS);
        self.run_until("first piece", |d| d.host.received.len() > 4000 && d.host.sent > 4000)?;
        self.world.switch.offload(self.conn).expect("in the host");
        self.run_until("offload", |d| d.world.switch.residence(d.conn) == Residence::Offloaded)?;
        self.run_until("the moment", |d| d.host.received.len() >= at)?;
        for _ in 0..steps {
            self.step()?;
        }
        self.world.stop_device_after(rng.below(cycles), seed).expect("the wire holds");
        let left = |end: &End| end.wanted.len().saturating_sub(end.received.len());
        let is_both = left(&self.host) > 0 && left(&self.far) > 0;
        assert!(
            left(&self.host) > 0,
            "the device was lost when the transfer was over: the test shows nothing"
        );
        self.run_until("rebuilding", |d| d.world.switch.is_lost())?;
        let last = self.world.switch.handovers().last().map(|h| h.direction);
        assert_eq!(last, Some(Direction::Rebuild));
        assert_eq!(self.world.memory.violations().0, 0);
        self.run_until("the rest", |d| d.host.is_done() && d.far.is_done())?;
        for (who, end) in [("host", &self.host), ("peer", &self.far)] {
            if end.received != end.wanted {
                return Err(Broken(format!("the {who}'s stream differs")));
            }
        }
        Ok(is_both)
    }

    /// Offloads after a first piece, stops the device at a random clock by `CTRL.enable` = 0, with or without the memory that it
    /// works on, while frames go on arriving; it must come to rest, and then be reset.
    fn stop(mut self, takes_memory: bool, seed: u64) -> Result<(), Broken> {
        let mut rng = Rng::new(seed ^ 0x57);
        // `as`: small.
        let at = (FIRST_BYTES + rng.below(MORE_BYTES)) as usize;
        self.run_until("first piece", |d| d.host.received.len() > 4000 && d.host.sent > 4000)?;
        self.world.switch.offload(self.conn).expect("in the host");
        self.run_until("offload", |d| d.world.switch.residence(d.conn) == Residence::Offloaded)?;
        self.run_until("the moment", |d| d.host.received.len() >= at)?;
        let World { device, driver, .. } = self.world;
        // Nobody has told the device anything: its rings and buffers are gone.
        let driver = (!takes_memory).then_some(driver);
        let mut device = device.borrow_mut();
        device.advance(Limit::cycles(rng.below(STOP_CYCLES)));
        device.mmio_write(regs::CTRL.offset, 0);
        let mut frames = self.peer.poll(device.now_us());
        for _ in 0..MOST_STOP_CYCLES / STOP_STEP_CYCLES {
            if device.mmio_read(regs::STATUS.offset) & idle() != 0 {
                drop(driver);
                return Self::reset(&mut *device);
            }
            device.advance(Limit::cycles(STOP_STEP_CYCLES));
            while let Some(frame) = device.pop_tx_frame() {
                self.peer.handle_frame(device.now_us(), &frame);
            }
            frames.drain(..).for_each(|frame| device.rx_frame(&frame, false));
            frames = self.peer.poll(device.now_us());
        }
        Err(Broken(format!("not at rest after {MOST_STOP_CYCLES} clocks")))
    }

    fn reset(device: &mut D) -> Result<(), Broken> {
        device.mmio_write(regs::RESET.offset, 1);
        for _ in 0..MOST_STOP_CYCLES / STOP_STEP_CYCLES {
            device.advance(Limit::cycles(STOP_STEP_CYCLES));
            if device.mmio_read(regs::RESET.offset) == 0 {
                return Ok(());
            }
        }
        Err(Broken("the reset does not end".to_owned()))
    }
}

/// `STATUS.idle`.
fn idle() -> u32 {
    let field = regs::STATUS.fields.iter().find(|f| f.name == "idle").expect("a field of the register");
    1 << field.offset_bits
}

/// A bus on which a write takes longer to arrive than a segment to leave.
fn slow_writes(seed: u64) -> AxiTiming {
    AxiTiming { write_latency: SLOW_WRITE, outstanding: 64, ..AxiTiming::random(seed) }
}

/// The same stop, of a NIC of either kind.
fn stop_on_a_slow_bus<M: NicPins + Default>(seed: u64) -> Result<bool, Broken> {
    let memory = HostMemory::new();
    let device = RtlNic::new(M::default(), &memory, slow_writes(seed), SimClock::virtual_time(8.0));
    let mut duel = Duel::new(device, memory, Pace::Virtual(100), seed, "");
    duel.limit_us = CLEAN_LIMIT_US;
    duel.lose(STOP_CYCLES, seed)
}

/// Verifies: law L2 on the golden model.
#[test]
fn streams_survive_the_loss_of_the_golden_device_at_any_moment() {
    let seed = test_seed(0x1055);
    println!("CHIMNEY_SEED={seed}");
    let runs = if std::env::var("CHIMNEY_LONG").is_ok_and(|v| v == "1") { 300 } else { 60 };
    let mut rng = Rng::new(seed);
    let mut both = 0;
    for run in 0..runs {
        let seed = rng.next_u64();
        let memory = HostMemory::new();
        let device = Golden::new(
            golden::Config { conn_log2: 4, table_log2: 3, ..golden::Config::default() },
            memory.port(),
        );
        let link = ["", "loss 1%", "delay 2ms 1ms reorder 2%"][run % 3];
        let duel = Duel::new(device, memory, Pace::Virtual(100), seed, link);
        let end = duel.lose(1, seed);
        both += usize::from(end.unwrap_or_else(|Broken(why)| panic!("run {run}: {why}")));
    }
    assert!(both * 10 >= runs * 8, "{both} of {runs} stops were in the middle of both transfers");
}

/// Verifies: law L2 on the RTL: stopped at a random cycle, with writes on their way that may or may not arrive.
#[test]
fn streams_survive_the_loss_of_the_rtl_at_any_cycle() {
    let seed = test_seed(0x10c5);
    println!("CHIMNEY_SEED={seed}");
    let runs = if std::env::var("CHIMNEY_LONG").is_ok_and(|v| v == "1") { 300 } else { 100 };
    let mut rng = Rng::new(seed);
    let mut both = 0;
    for run in 0..runs {
        let seed = rng.next_u64();
        let memory = HostMemory::new();
        let timing = if run % 2 == 0 { AxiTiming::random(seed) } else { slow_writes(seed) };
        let device = RtlNic::with_timing(&memory, 8.0, timing);
        let link = ["", "loss 1%", "delay 2ms 1ms reorder 2%"][run % 3];
        let duel = Duel::new(device, memory, Pace::Virtual(100), seed, link);
        let end = duel.lose(STOP_CYCLES, seed);
        both += usize::from(end.unwrap_or_else(|Broken(why)| panic!("run {run}: {why}")));
    }
    assert!(both * 10 >= runs * 8, "{both} of {runs} stops were in the middle of both transfers");
}

/// The test above would notice a NIC that breaks law L2: a copy of the RTL whose segments carry the newest
/// acknowledgment number instead of the durable one loses bytes, where the RTL itself, stopped at the same cycles, does not.
#[test]
fn a_copy_of_the_rtl_that_acknowledges_early_is_caught() {
    let mut rng = Rng::new(test_seed(0xea71));
    let mut caught = None;
    for stop in 1..=MOST_STOPS {
        let seed = rng.next_u64();
        if let Err(Broken(why)) = stop_on_a_slow_bus::<Nic>(seed) {
            panic!("stop {stop}: {why}");
        }
        caught = stop_on_a_slow_bus::<NicEarlyAck>(seed).err().map(|Broken(why)| (stop, why));
        if caught.is_some() {
            break;
        }
    }
    let (stop, why) = caught.expect("a NIC that acknowledges early loses bytes");
    println!("caught at stop {stop}: {why}");
}

/// A device that was stopped while segments, doorbells or turns to send waited once never came to rest, and so could not be reset.
#[test]
fn a_device_that_is_stopped_at_any_clock_comes_to_rest() {
    let mut rng = Rng::new(test_seed(0x570b));
    for run in 0..40 {
        let seed = rng.next_u64();
        let memory = HostMemory::new();
        let timing = if run % 2 == 0 { AxiTiming::random(seed) } else { slow_writes(seed) };
        let device = RtlNic::with_timing(&memory, 8.0, timing);
        let duel = Duel::new(device, memory, Pace::Virtual(100), seed, "");
        let takes_memory = run % 4 > 1;
        duel.stop(takes_memory, seed).unwrap_or_else(|Broken(why)| panic!("run {run}: {why}"));
    }
}
