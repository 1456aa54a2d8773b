//! One transfer over the lossy link, with the NIC or with a Linux kernel as the sender.

use super::{DeviceKind, LinkKind};
use crate::world::{Pace, Setup, World};
use anyhow::{bail, Context, Result};
use chimney_abi::offload::Residence;
use chimney_abi::regs;
use chimney_driver::Config;
use chimney_host_stack::switch::SwitchConfig;
use chimney_host_stack::{Address, ConnId, MacAddr, Stack, StackConfig, StackEvent, TcpConfig};
use chimney_sim::device::Device;
use chimney_sim::golden::{self, Golden};
use chimney_sim::host_mem::HostMemory;
use chimney_sim::model::RtlNic;
use chimney_sim::net::impairment::{Impairment, Loss};
use chimney_sim::net::netns::{PeerConfig, PeerNet};
use chimney_sim::net::pcap::PcapWriter;
use chimney_sim::net::peer::{pattern_bytes, PeerProcess};
use chimney_sim::net::tap::Tap;
use chimney_sim::net::wire::Wire;
use chimney_sim::rng::Rng;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

const PORT: u16 = 9000;
/// The sender's end.
const SENDER: Ipv4Addr = Ipv4Addr::new(10, 85, 0, 2);
const SENDER_MAC: [u8; 6] = [0x02, 0xc4, 0x1e, 0, 0, 0x02];
/// Frames from the sender that are never lost: ARP, the handshake and what a kernel likes to say first.
const SPARED_FRAMES: u64 = 8;
/// Frame bytes on the wire of a full segment, preamble, check sequence and gap included.
const FULL_FRAME_BYTES: u64 = 1538;
/// Shorter frames carry no data.
const DATA_FRAME_BYTES: usize = 200;
/// Purpose of the random numbers of the drop list.
const DROP_STREAM: u64 = 0x10_55;
/// A transfer that takes longer has failed.
const TIME_LIMIT: Duration = Duration::from_secs(180);
/// How long an idle loop pauses: far below a segment's time on the slow link, and a segment on the fast one.
const PAUSE: Duration = Duration::from_micros(120);
/// NIC cycles between two looks at the wire, and a first guess of the simulation's speed.
const CYCLES_PER_STEP: u64 = 256;
const EXPECTED_HZ: f64 = 400_000.0;

/// What a pair of transfers has in common.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub link: LinkKind,
    pub device: DeviceKind,
    /// Part of the frames that is lost.
    pub loss: f64,
    pub seed: u64,
    pub bytes: u64,
    pub captures: Option<PathBuf>,
}

/// What a transfer gave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Outcome {
    /// Goodput, Mbit/s.
    pub mbit: f64,
    /// Largest lag of the clock, as a part of the transfer.
    pub lag: f64,
    /// Segments sent again.
    pub retransmits: u64,
}

impl Plan {
    /// The way of the data, and the way back.
    fn links(&self) -> (Impairment, Impairment) {
        let (rate_bits, rtt_ms) = self.link.numbers();
        let delay_ns = rtt_ms * 1_000_000 / 2;
        let bdp_bytes = rate_bits / 8 * rtt_ms / 1000;
        let back = Impairment { rate_bits, delay_ns, ..Impairment::default() };
        // `as`: some hundred frames.
        let limit = bdp_bytes.div_ceil(FULL_FRAME_BYTES) as usize;
        (Impairment { loss: Loss::List(self.lost_frames()), limit, ..back.clone() }, back)
    }

    /// Numbers of the frames that are lost: as many as any sender can need.
    fn lost_frames(&self) -> Vec<(u64, u64)> {
        let most = 100 + self.bytes / 200;
        let is_lost = |n: &u64| Rng::keyed(self.seed, DROP_STREAM, *n).chance(self.loss);
        (SPARED_FRAMES + 1..most).filter(is_lost).map(|n| (n, n)).collect()
    }

    fn wire(&self, receiver: Tap) -> Result<Wire<Tap>> {
        let (out, back) = self.links();
        Ok(Wire::asymmetric(receiver, out, back))
    }

    /// Records the wire if that was asked for.
    fn capture(&self, wire: &mut Wire<Tap>, sender: &str) -> Result<()> {
        let Some(directory) = &self.captures else { return Ok(()) };
        std::fs::create_dir_all(directory)?;
        let (rate, _) = self.link.numbers();
        let name = format!("{sender}-{}mbit-{}-{}.pcapng", rate / 1_000_000, self.loss, self.seed);
        let out: Box<dyn Write + Send> = Box::new(BufWriter::new(File::create(directory.join(name))?));
        wire.set_capture(PcapWriter::new(out)?);
        Ok(())
    }
}

/// The receiving kernel.
struct Receiver {
    process: PeerProcess,
    _net: PeerNet,
    wanted: String,
    bytes: u64,
}

impl Receiver {
    fn start(plan: &Plan) -> Result<(Self, Tap)> {
        let (net, tap) = PeerNet::create(PeerConfig::default())?;
        let process = PeerProcess::upload_receiver(&net, PORT)?;
        let wanted = chimney_check::job::hex(&Sha256::digest(pattern_bytes(plan.bytes)));
        Ok((Self { process, _net: net, wanted, bytes: plan.bytes }, tap))
    }

    /// Everything has arrived, and is right.
    fn is_done(&mut self) -> Result<bool> {
        let Some(report) = self.process.take_upload().context("the receiver")? else { return Ok(false) };
        if report.sha256 != self.wanted || report.len_bytes != self.bytes {
            bail!("the receiver got {} of {} bytes, or wrong ones", report.len_bytes, self.bytes);
        }
        Ok(true)
    }
}

/// Goodput between the first frame with data on `wire` and now.
fn goodput(plan: &Plan, wire: &Wire<Tap>, now_ns: u64) -> Result<(f64, f64)> {
    let first = wire.links().0.log().find(|r| r.len_bytes >= DATA_FRAME_BYTES);
    let start_ns = first.context("no data was sent")?.at_ns;
    let seconds = (now_ns - start_ns) as f64 / 1e9;
    Ok((plan.bytes as f64 * 8.0 / seconds / 1e6, seconds))
}

/// The NIC sends.
///
/// # Errors
/// When something does not come up or the transfer fails.
pub(super) fn nic(plan: &Plan) -> Result<Outcome> {
    let memory = HostMemory::new();
    match plan.device {
        DeviceKind::Model => {
            let config = golden::Config { conn_log2: 4, table_log2: 3, ..golden::Config::default() };
            let device = Golden::new(config, memory.port());
            send(plan, device, memory, Pace::Wall, |_| None)
        }
        DeviceKind::Rtl => {
            let device = RtlNic::wall_time(&memory, EXPECTED_HZ, None)?;
            send(plan, device, memory, Pace::Cycles(CYCLES_PER_STEP), |d| Some(d.lag().max_us))
        }
    }
}

/// A transfer by a machine with a chimney: the connection goes to the NIC before its first byte.
fn send<D: Device>(
    plan: &Plan,
    device: D,
    memory: HostMemory,
    pace: Pace,
    lag_us: impl Fn(&D) -> Option<f64>,
) -> Result<Outcome> {
    let (mut receiver, tap) = Receiver::start(plan)?;
    let mut wire = plan.wire(tap)?;
    plan.capture(&mut wire, "nic")?;
    let mut world =
        World::new(device, memory, wire, setup(plan.seed, pace)).context("the NIC does not come up")?;
    let (is_untimed, started) = (matches!(pace, Pace::Wall), Instant::now());
    let mut sender = Sender::open(&mut world, plan)?;
    while !receiver.is_done()? {
        let has_moved = world.step()?;
        sender.poll(&mut world)?;
        if is_untimed && !has_moved {
            std::thread::sleep(PAUSE);
        }
        if started.elapsed() > TIME_LIMIT {
            bail!("the NIC's transfer takes more than {} s (seed {})", TIME_LIMIT.as_secs(), plan.seed);
        }
    }
    world.wire.flush()?;
    let (mbit, seconds) = goodput(plan, &world.wire, world.now_ns())?;
    let retransmits = world.driver.counter(&regs::CNT_RETRANSMITS)?;
    // `as`: microseconds of one transfer.
    let lag_us = lag_us(&world.device.borrow()).unwrap_or(world.wall_lag().max_us as f64);
    Ok(Outcome { mbit, lag: lag_us / 1e6 / seconds, retransmits })
}

fn setup(seed: u64, pace: Pace) -> Setup {
    let stack = StackConfig {
        mac: MacAddr(SENDER_MAC),
        addresses: vec![Address::new(SENDER, 24)],
        mtu: 1500,
        secret: seed,
        tcp: TcpConfig::default(),
    };
    let driver = Config { mac: SENDER_MAC, ..Config::default() };
    // More than both links and their queues hold.
    let switch =
        SwitchConfig { send_queue_bytes: 1 << 20, posted_send_bytes: 2 << 20, ..SwitchConfig::default() };
    Setup { driver, stack, switch, pace }
}

/// The application on top of the NIC.
struct Sender {
    id: ConnId,
    bytes: Vec<u8>,
    sent: usize,
    is_connected: bool,
    is_shut: bool,
}

impl Sender {
    fn open<D: Device>(world: &mut World<D, Tap>, plan: &Plan) -> Result<Self> {
        let to = SocketAddr::new(PeerConfig::default().peer_ip, PORT);
        let now_us = world.now_us();
        let stack: &mut Stack = world.switch.stack();
        let id = stack.connect(now_us, to)?;
        Ok(Self { id, bytes: pattern_bytes(plan.bytes), sent: 0, is_connected: false, is_shut: false })
    }

    fn poll<D: Device>(&mut self, world: &mut World<D, Tap>) -> Result<()> {
        while let Some(event) = world.switch.stack().next_event() {
            match event {
                StackEvent::Connected(id) if id == self.id => {
                    self.is_connected = true;
                    world.switch.offload(id)?;
                }
                StackEvent::Closed(id) if id == self.id => bail!("the connection ended"),
                _ => {}
            }
        }
        if !self.is_connected || self.is_shut {
            return Ok(());
        }
        if self.sent == 0 && world.switch.residence(self.id) != Residence::Offloaded {
            return Ok(());
        }
        self.sent += world.switch.send(self.id, &self.bytes[self.sent..])?;
        if self.sent == self.bytes.len() {
            world.switch.shutdown(self.id)?;
            self.is_shut = true;
        }
        Ok(())
    }
}

/// A Linux kernel sends.
///
/// # Errors
/// When something does not come up or the transfer fails.
pub(super) fn linux(plan: &Plan) -> Result<Outcome> {
    let (mut receiver, tap) = Receiver::start(plan)?;
    let mut wire = plan.wire(tap)?;
    plan.capture(&mut wire, "linux")?;
    let receiver_ip = PeerConfig::default().peer_ip;
    let config = PeerConfig {
        peer_ip: SENDER.into(),
        host_ip: receiver_ip,
        peer_mac: SENDER_MAC,
        ..PeerConfig::default()
    };
    let (net, mut near) = PeerNet::create(config)?;
    let before = net.counters()?;
    let _sender = PeerProcess::upload_sender(&net, PORT, plan.bytes)?;
    let (started, mut last_ns, mut lag_ns) = (Instant::now(), 0, 0);
    let mut buffer = vec![0; 4096];
    while !receiver.is_done()? {
        // `as`: a transfer takes minutes at most.
        let now_ns = started.elapsed().as_nanos() as u64;
        lag_ns = lag_ns.max(now_ns - last_ns);
        last_ns = now_ns;
        if !relay(&mut near, &mut wire, now_ns, &mut buffer)? {
            std::thread::sleep(PAUSE);
        }
        if started.elapsed() > TIME_LIMIT {
            bail!("the kernel's transfer takes more than {} s (seed {})", TIME_LIMIT.as_secs(), plan.seed);
        }
    }
    wire.flush()?;
    let (mbit, seconds) = goodput(plan, &wire, last_ns)?;
    let retransmits = net.counters()?.since(&before).get("TcpRetransSegs");
    // `as`: a count of one transfer.
    Ok(Outcome { mbit, lag: lag_ns as f64 / 1e9 / seconds, retransmits: retransmits.max(0) as u64 })
}

/// Moves frames between the sender's TAP and the wire; false if there was nothing to move.
fn relay(near: &mut Tap, wire: &mut Wire<Tap>, now_ns: u64, buffer: &mut [u8]) -> Result<bool> {
    let mut has_moved = false;
    while let Some(n) = near.read(buffer)? {
        wire.send(now_ns, buffer[..n].to_vec())?;
        has_moved = true;
    }
    wire.poll(now_ns)?;
    while let Some(frame) = wire.receive(now_ns)? {
        near.write(&frame)?;
        has_moved = true;
    }
    Ok(has_moved)
}
