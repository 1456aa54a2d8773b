//! `chimney demo`: two live connections move into the NIC and back while files are transferred.
//!
//! ```text
//!   download 4 MiB, then upload 4 MiB; each: host 64 KiB -> NIC -> host (mid-stream) -> NIC -> close
//! ```
//! Needs root, `ip` and a TAP for the Linux peer; else a second instance of our stack is the peer.

mod args;
mod moment;
mod peer;
mod report;
mod transfer;

pub use args::{Args, PeerChoice};
pub(crate) use peer::hex;
pub use report::{HandoverRow, Lag, Report};

use crate::output::listened;
use crate::world::{Pace, Setup, World};
use anyhow::{bail, Context, Result};
use chimney_abi::offload::Residence;
use chimney_abi::regs;
use chimney_abi::wire::ipv6;
use chimney_driver::Config;
use chimney_host_stack::switch::SwitchConfig;
use chimney_host_stack::{Address, MacAddr, StackConfig, TcpConfig};
use chimney_sim::device::Device;
use chimney_sim::golden::{self, Golden};
use chimney_sim::host_mem::HostMemory;
use chimney_sim::model::RtlNic;
use chimney_sim::net::impairment::{Impairment, Loss};
use chimney_sim::net::netns::{probe, PeerConfig, PeerNet};
use chimney_sim::net::pcap::PcapWriter;
use chimney_sim::net::wire::{CaptureFile, Wire};
use indicatif::{ProgressBar, ProgressStyle};
use peer::{BuiltinPeer, FarSide, LinuxPeer};
use sha2::{Digest, Sha256};
use std::fs::{self, File, TryLockError};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};
use transfer::{file_bytes, Transfer, Way, FILE_NAME};

/// A transfer that makes no progress for so long has failed.
const STALL_LIMIT: Duration = Duration::from_secs(20);
/// NIC cycles between two looks at the wire.
const CYCLES_PER_STEP: u64 = 256;
/// First guess of the simulation speed, cycles per second.
const EXPECTED_HZ: f64 = 400_000.0;
/// Least share of the bytes that must go through the NIC.
const LEAST_NIC_SHARE: f64 = 0.8;

/// Runs the demo; true if everything was as it should be.
///
/// # Errors
/// One sentence for the user; nothing is left behind.
pub fn run(args: &Args) -> Result<bool> {
    fs::create_dir_all(&args.out).with_context(|| format!("cannot make {}", args.out.display()))?;
    let _lock = lock(&args.out)?;
    let path = args.out.join("result.json");
    remove_old(&path)?;
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
        signal_hook::flag::register(signal, stop.clone()).context("cannot catch signals")?;
    }
    let memory = HostMemory::new();
    let report = if args.golden {
        let device = Golden::new(
            golden::Config { conn_log2: 6, table_log2: 4, ..golden::Config::default() },
            memory.port(),
        );
        Run::new(args, device, memory, Pace::Wall, stop)?.all("golden", |_| Lag::default())?
    } else {
        let wave = args.wave.then(|| args.out.join("wave.fst"));
        let device = RtlNic::wall_time(&memory, EXPECTED_HZ, wave.as_deref())?;
        let lag = |d: &RtlNic| Lag { max_us: d.lag().max_us, mean_us: d.lag().mean_us };
        let report = Run::new(args, device, memory, Pace::Cycles(CYCLES_PER_STEP), stop)?.all("rtl", lag)?;
        Report { wave: wave.map(|path| path.display().to_string()), ..report }
    };
    let json = serde_json::to_string_pretty(&report)?;
    fs::write(&path, &json).with_context(|| format!("cannot write {}", path.display()))?;
    let mut out = std::io::stdout().lock();
    let said = if args.json { writeln!(out, "{json}") } else { report.write(&mut out) };
    listened(said)?;
    Ok(report.ok)
}

/// Two demos that write the same files would spoil both; the lock ends with the file, or with this process.
fn lock(out: &Path) -> Result<File> {
    let path = out.join("lock");
    let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    if let Err(TryLockError::WouldBlock) = file.try_lock() {
        bail!("another demo writes to {}; choose another directory with --out", out.display());
    }
    Ok(file)
}

/// Says who the peer is.
fn announce(args: &Args, peer: &str) -> Result<()> {
    if args.json {
        return Ok(());
    }
    listened(writeln!(std::io::stdout(), "peer: {peer}"))
}

/// The result of an earlier run must not be taken for that of one that failed.
fn remove_old(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot replace {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Everything of one run.
struct Run<'a, D: Device> {
    args: &'a Args,
    world: World<D, FarSide>,
    peer_ip: std::net::IpAddr,
    started: Instant,
    stop: Arc<AtomicBool>,
    report: Report,
}

impl<'a, D: Device> Run<'a, D> {
    fn new(args: &'a Args, device: D, memory: HostMemory, pace: Pace, stop: Arc<AtomicBool>) -> Result<Self> {
        let net = net(args)?;
        let host_mac = MacAddr([0x02, 0xc4, 0x1e, 0, 0, 0x02]);
        let far = far_side(args, &net)?;
        let mut wire = Wire::new(far, link(args));
        let path = args.out.join("wire.pcapng");
        let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        let out: Box<dyn Write + Send> = Box::new(BufWriter::new(file));
        let capture: CaptureFile = PcapWriter::new(out)?;
        wire.set_capture(capture);
        let stack = StackConfig {
            mac: host_mac,
            addresses: vec![Address::new(net.host_ip, net.prefix_len)],
            mtu: net.mtu,
            secret: args.seed,
            tcp: TcpConfig { is_ecn: args.ecn, ..TcpConfig::default() },
        };
        let driver = Config { mac: host_mac.0, ..Config::default() };
        // Less room than the window: when the application does not read, bytes stay with the connection's owner.
        let switch =
            SwitchConfig { receive_queue_bytes: 8 << 10, posted_receives: 1, ..SwitchConfig::default() };
        let world = World::new(device, memory, wire, Setup { driver, stack, switch, pace })
            .context("the NIC does not come up")?;
        let report = Report {
            peer: "",
            seed: args.seed,
            loss: args.loss,
            capture: path.display().to_string(),
            ..Report::default()
        };
        Ok(Self { args, world, peer_ip: net.peer_ip, started: Instant::now(), stop, report })
    }

    fn all(mut self, device: &'static str, lag: impl Fn(&D) -> Lag) -> Result<Report> {
        self.report.device = device;
        self.report.peer = self.world.wire.far().name();
        let bytes = self.args.bytes;
        let file = file_bytes(self.args.seed, bytes);
        let wanted = peer::hex(&Sha256::digest(&file));
        let bar = progress_bar(2 * bytes, self.args.json);
        let result = self.transfer(Way::Download, "download", &bar).and_then(|download| {
            self.report.received_ok = download.hash() == wanted;
            self.transfer(Way::Upload, "upload", &bar)
        });
        bar.finish_and_clear();
        self.world.wire.flush()?;
        result?;
        let hash = self.upload_hash()?;
        self.report.sent_ok = hash == wanted;
        self.count(lag)?;
        self.judge();
        self.world.wire.flush()?;
        Ok(self.report)
    }

    /// One step of everything; an error when it was interrupted.
    fn step(&mut self) -> Result<()> {
        if self.stop.load(Ordering::Relaxed) {
            bail!("interrupted");
        }
        self.world.step().context("the wire broke")?;
        let now_us = self.world.now_us();
        self.world.wire.far().poll(now_us)?;
        if let Some(error) = self.world.driver.lost() {
            bail!("the NIC was lost: {error}");
        }
        Ok(())
    }

    fn transfer(&mut self, way: Way, name: &'static str, bar: &ProgressBar) -> Result<Transfer> {
        let from = self.world.switch.handovers().len();
        let base = bar.position();
        let mut transfer = Transfer::open(&mut self.world, way, self.peer_ip, self.args)?;
        let (mut done, mut since) = (0, Instant::now());
        while !transfer.is_finished(&self.world) {
            self.step()?;
            while let Some(event) = self.world.switch.stack().next_event() {
                transfer.on_event(event);
            }
            transfer.poll(&mut self.world).with_context(|| format!("{name} failed"))?;
            let now = (transfer.done_bytes(), self.world.switch.handovers().len());
            if now.0 + now.1 as u64 != done {
                done = now.0 + now.1 as u64;
                since = Instant::now();
                bar.set_position(base + now.0);
                let owner = match self.world.switch.residence(transfer.id()) {
                    Residence::InHost => "in the host",
                    Residence::Offloaded => "in the NIC",
                    Residence::Offloading | Residence::Uploading => "on its way",
                };
                bar.set_message(format!("{name} {owner}"));
            } else if since.elapsed() > STALL_LIMIT {
                bail!("{name} made no progress for {} s after {} bytes", STALL_LIMIT.as_secs(), now.0);
            }
        }
        let rows = self.world.switch.handovers()[from..].iter().map(|h| HandoverRow::new(name, h));
        self.report.handover.extend(rows);
        self.report.retransmits_by_host +=
            self.world.switch.stack().stats(transfer.id()).map_or(0, |s| s.retransmits);
        Ok(transfer)
    }

    fn upload_hash(&mut self) -> Result<String> {
        let since = Instant::now();
        loop {
            if let Some(hash) = self.world.wire.far().take_upload_hash()? {
                return Ok(hash);
            }
            self.step()?;
            if since.elapsed() > STALL_LIMIT {
                bail!("the peer did not report the SHA-256 of the upload");
            }
        }
    }

    fn count(&mut self, lag: impl Fn(&D) -> Lag) -> Result<()> {
        let mut read = |reg| self.world.driver.counter(reg);
        let r = &mut self.report;
        let total = read(&regs::CNT_RX_BYTES)? + read(&regs::CNT_TX_BYTES)?;
        let frames = read(&regs::CNT_RX_FRAMES)? + read(&regs::CNT_TX_FRAMES)?;
        r.bytes_by_nic = read(&regs::CNT_RX_OFFLOADED_BYTES)? + read(&regs::CNT_TX_OFFLOADED_BYTES)?;
        r.segments_by_nic = read(&regs::CNT_RX_OFFLOADED)? + read(&regs::CNT_TX_OFFLOADED)?;
        r.bytes_by_host = total.saturating_sub(r.bytes_by_nic);
        r.segments_by_host = frames.saturating_sub(r.segments_by_nic);
        r.retransmits_by_nic = read(&regs::CNT_RETRANSMITS)?;
        for reg in regs::ALL.iter().filter(|reg| reg.name.starts_with("CNT_")) {
            r.nic_counters.insert(reg.name, read(reg)?);
        }
        let wire = self.world.wire.stats();
        r.bytes_in_capture = wire.tx_bytes + wire.rx_bytes;
        let stack = self.world.switch.stack().counters();
        (r.large_frames_by_host, r.segments_of_large_frames) = (stack.large_out, stack.large_segments_out);
        let verdict = self.world.wire.far().verdict()?;
        r.peer_checksum_errors = verdict.checksum_errors;
        r.peer_resets = verdict.resets;
        r.handovers = r.handover.iter().filter(|h| h.status == "Success").count();
        r.seconds = self.started.elapsed().as_secs_f64();
        let device = self.world.device.borrow();
        if r.device == "rtl" {
            r.nic_cycles = device.stats().cycles;
            r.clock_lag = lag(&device);
        } else {
            r.clock_lag = Lag::of_wall(self.world.wall_lag());
        }
        if r.nic_cycles > 0 {
            r.bytes_per_cycle = 2.0 * self.args.bytes as f64 / r.nic_cycles as f64;
            r.cycles_per_second = r.nic_cycles as f64 / r.seconds;
        }
        Ok(())
    }

    fn judge(&mut self) {
        let share = self.report.nic_share();
        let r = &mut self.report;
        let total = r.bytes_by_nic + r.bytes_by_host;
        let checks = [
            (r.received_ok, "the download's SHA-256 is wrong".to_owned()),
            (r.sent_ok, "the upload's SHA-256 is wrong".to_owned()),
            (
                // A link that damages frames is not the NIC's fault.
                r.peer_checksum_errors == 0 || self.args.link.corrupt > 0.0,
                format!("the peer counted {} checksum errors", r.peer_checksum_errors),
            ),
            (r.peer_resets == 0, format!("the peer counted {} resets", r.peer_resets)),
            (
                share >= LEAST_NIC_SHARE || self.args.in_host,
                format!("only {:.1} % of the bytes went through the NIC", 100.0 * share),
            ),
            (
                total == r.bytes_in_capture,
                format!("the MAC port counted {total} bytes, the capture has {}", r.bytes_in_capture),
            ),
        ];
        r.problems = checks.into_iter().filter(|(ok, _)| !ok).map(|(_, text)| text).collect();
        r.ok = r.problems.is_empty();
    }
}

fn link(args: &Args) -> Impairment {
    let mut link = args.link.clone();
    if args.loss > 0.0 {
        link.loss = Loss::Random(args.loss);
    }
    link.seed = args.seed;
    link
}

/// The network between NIC and peer.
fn net(args: &Args) -> Result<PeerConfig> {
    let mut net = if args.ipv6 { PeerConfig::v6() } else { PeerConfig::default() };
    if args.ipv6 && args.mtu < ipv6::MIN_MTU {
        bail!("IPv6 wants an MTU of at least {} bytes", ipv6::MIN_MTU);
    }
    if args.peer == PeerChoice::Builtin && !args.without.is_empty() {
        bail!("--without is for the Linux peer");
    }
    net.mtu = args.mtu;
    if args.ecn {
        net.sysctls.push(("net.ipv4.tcp_ecn", "1".to_owned()));
    }
    net.sysctls.extend(args.without.iter().map(|option| (option.sysctl(), "0".to_owned())));
    Ok(net)
}

fn far_side(args: &Args, net: &PeerConfig) -> Result<FarSide> {
    let builtin = |why: &str| -> Result<FarSide> {
        announce(args, &format!("a second instance of our own stack ({why})"))?;
        let peer = BuiltinPeer::new(net, args)?;
        Ok(FarSide::Builtin(Box::new(peer)))
    };
    if args.peer == PeerChoice::Builtin {
        return builtin("as asked");
    }
    if let Err(why) = probe() {
        if args.peer == PeerChoice::Linux || !args.without.is_empty() {
            bail!("no Linux peer: {why}");
        }
        return builtin(&why.to_string());
    }
    let directory = args.out.join("served");
    write_file(&directory, args)?;
    let (ns, tap) = PeerNet::create(net.clone())?;
    let directory = fs::canonicalize(&directory)?;
    let peer = LinuxPeer::start(ns, &directory)?;
    announce(args, "the Linux kernel in a network namespace, python3 -m http.server and socat | sha256sum")?;
    Ok(FarSide::Linux(tap, Box::new(peer)))
}

fn write_file(directory: &Path, args: &Args) -> Result<()> {
    fs::create_dir_all(directory)?;
    let path = directory.join(FILE_NAME);
    fs::write(&path, file_bytes(args.seed, args.bytes))
        .with_context(|| format!("cannot write {}", path.display()))
}

fn progress_bar(bytes: u64, is_quiet: bool) -> ProgressBar {
    if is_quiet {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:24} {bytes}/{total_bytes} {bytes_per_sec} {msg}");
    ProgressBar::new(bytes).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
