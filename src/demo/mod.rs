//! `chimney demo`: two live connections move into the NIC and back while files are transferred.
//!
//! ```text
//!   download 4 MiB, then upload 4 MiB; each: host 64 KiB -> NIC -> host (mid-stream) -> NIC -> close
//! ```
//! The job itself is `chimney_check::job`. Driver and host stack are in this process, or on another machine (`outside`), for
//! example in a guest.
//!
//! Needs root, `ip` and a TAP for the Linux peer; else a second instance of our stack is the peer.

mod args;
mod machine;
mod outside;
mod peer;
mod report;

pub use args::{Args, PeerChoice};
pub use report::{Lag, Report};

use crate::cosim::CosimBus;
use crate::output::listened;
use crate::world::{Pace, Setup, World};
use anyhow::{bail, Context, Result};
use chimney_abi::wire::ipv6;
use chimney_check::job::{
    file_bytes, hex, switch_config, transfers, Host, Job, Losses, Owner, Progress, Stage, Way, FILE_NAME,
    STALL_LIMIT,
};
use chimney_driver::Config;
use chimney_sim::device::Device;
use chimney_sim::golden::{self, Golden};
use chimney_sim::host_mem::HostMemory;
use chimney_sim::model::RtlNic;
use chimney_sim::net::impairment::{Impairment, Loss};
use chimney_sim::net::link::Fate;
use chimney_sim::net::netns::{probe, PeerConfig, PeerNet};
use chimney_sim::net::pcap::PcapWriter;
use chimney_sim::net::wire::{CaptureFile, FarEnd, Wire};
use indicatif::{ProgressBar, ProgressStyle};
use outside::Outside;
use peer::{BuiltinPeer, FarSide, LinuxPeer};
use sha2::{Digest, Sha256};
use std::fs::{self, File, TryLockError};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Instant;

/// NIC cycles between two looks at the wire.
const CYCLES_PER_STEP: u64 = 256;
/// First guess of the simulation speed, cycles per second.
const EXPECTED_HZ: f64 = 400_000.0;
/// Longest file of a guest, which has it in memory.
const MOST_GUEST_BYTES: u64 = 128 << 20;
/// Who the Linux peer is.
const LINUX_PEER: &str =
    "peer: the Linux kernel in a network namespace, python3 -m http.server and socat | sha256sum";
/// What the reports call the RTL.
const RTL: &str = "rtl";
/// After a signal.
const INTERRUPTED: &str = "interrupted";
/// When the TAP is gone.
const BROKEN_WIRE: &str = "the wire broke";

/// Runs the demo; true if everything was as it should be.
///
/// # Errors
/// One sentence for the user; nothing is left behind.
pub fn run(args: &Args) -> Result<bool> {
    if args.vm && args.machine.is_empty() {
        bail!("--vm: only `cargo xtask demo --vm` makes a guest");
    }
    if args.vm && args.bytes > MOST_GUEST_BYTES {
        bail!("--bytes: a guest has memory for {} MiB each way", MOST_GUEST_BYTES >> 20);
    }
    fs::create_dir_all(&args.out).with_context(|| format!("cannot make {}", args.out.display()))?;
    let _lock = lock(&args.out)?;
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
        signal_hook::flag::register(signal, stop.clone()).context("cannot catch signals")?;
    }
    // From here on a signal is answered with a sentence.
    let path = args.out.join("result.json");
    remove_old(&path)?;
    let memory = HostMemory::new();
    let report = if args.golden {
        let config = golden::Config { conn_log2: 6, table_log2: 4, ..golden::Config::default() };
        let device = Golden::new(config, memory.port());
        one(args, Nic { name: "golden", device, memory, pace: Pace::Wall }, stop, |_| Lag::default())?
    } else {
        let wave = args.wave.then(|| args.out.join("wave.fst"));
        let device = RtlNic::wall_time(&memory, EXPECTED_HZ, wave.as_deref())?;
        let lag = |d: &RtlNic| Lag { max_us: d.lag().max_us, mean_us: d.lag().mean_us };
        let nic = Nic { name: RTL, device, memory, pace: Pace::Cycles(CYCLES_PER_STEP) };
        let report = one(args, nic, stop, lag)?;
        Report { wave: wave.map(|path| path.display().to_string()), ..report }
    };
    let json = serde_json::to_string_pretty(&report)?;
    fs::write(&path, &json).with_context(|| format!("cannot write {}", path.display()))?;
    let mut out = std::io::stdout().lock();
    let said = if args.json { writeln!(out, "{json}") } else { report.write(&mut out) };
    listened(said)?;
    Ok(report.ok)
}

/// A NIC that nobody has yet.
struct Nic<D> {
    /// "rtl" or "golden".
    name: &'static str,
    device: D,
    /// What it may reach.
    memory: HostMemory,
    /// Who makes the time.
    pace: Pace,
}

/// The job on a NIC: driver and host stack in this process, or wherever the machine is that was named.
fn one<D: Device>(
    args: &Args,
    nic: Nic<D>,
    stop: Arc<AtomicBool>,
    lag: impl Fn(&D) -> Lag,
) -> Result<Report> {
    if args.machine.is_empty() {
        return Run::new(args, nic, stop)?.all(args, lag);
    }
    Outside::new(args, nic, stop)?.all(args)
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

/// Says who takes part.
fn announce(args: &Args, text: &str) -> Result<()> {
    if args.json {
        return Ok(());
    }
    listened(writeln!(std::io::stdout(), "{text}"))
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

/// Everything of one run in this process.
struct Run<D: Device> {
    job: Job,
    world: World<D, FarSide>,
    bar: ProgressBar,
    started: Instant,
    stop: Arc<AtomicBool>,
    report: Report,
}

impl<D: Device> Stage for Run<D> {
    type Bus = CosimBus<D>;
    type Wire<'w>
        = Watched<'w, FarSide>
    where
        Self: 'w;

    fn step(&mut self) -> Result<()> {
        if self.stop.load(Ordering::Relaxed) {
            bail!(INTERRUPTED);
        }
        self.world.step().context(BROKEN_WIRE)?;
        let now_us = self.world.now_us();
        self.world.wire.far().poll(now_us)?;
        if let Some(error) = self.world.driver.lost() {
            bail!("the NIC was lost: {error}");
        }
        Ok(())
    }

    fn host(&mut self) -> Host<'_, CosimBus<D>, Watched<'_, FarSide>> {
        let now_us = self.world.now_us();
        let World { switch, driver, wire, .. } = &mut self.world;
        Host { switch, driver, now_us, wire: Watched(wire) }
    }

    fn show(&mut self, progress: Progress) {
        show(&self.bar, &self.job, progress);
    }
}

/// The wire of this process, where every loss is seen.
struct Watched<'a, F>(&'a Wire<F>);

impl<F: FarEnd> Losses for Watched<'_, F> {
    fn lost(&self) -> Option<u64> {
        let link = self.0.links().1;
        (link.impairment().loss != Loss::None).then(|| link.stats().lost)
    }

    fn frames_before_loss(&self, seen: u64) -> Option<u64> {
        let link = self.0.links().1;
        let stats = link.stats();
        if stats.lost <= seen {
            return None;
        }
        let last = link.log().filter(|r| r.fate == Fate::Lost).last()?.number;
        // `as`: few are on the wire.
        let arriving = self.0.stats().rx_frames + link.in_flight() as u64;
        Some(arriving.saturating_sub(stats.pushed - last))
    }
}

impl<D: Device> Run<D> {
    fn new(args: &Args, nic: Nic<D>, stop: Arc<AtomicBool>) -> Result<Self> {
        let (net, job) = (net(args)?, job(args)?);
        let mut wire = wire(args, far_side(args, &net, &job)?)?;
        let setup = Setup {
            driver: Config { mac: job.stack().mac.0, ..Config::default() },
            stack: job.stack(),
            switch: switch_config(),
            pace: nic.pace,
        };
        let report = Report::new(args, nic.name, wire.far().name());
        let world = World::new(nic.device, nic.memory, wire, setup).context("the NIC does not come up")?;
        let bar = progress_bar(2 * job.bytes, args.json);
        Ok(Self { job, world, bar, started: Instant::now(), stop, report })
    }

    fn all(mut self, args: &Args, lag: impl Fn(&D) -> Lag) -> Result<Report> {
        let job = self.job.clone();
        let done = transfers(&mut self, &job);
        self.bar.finish_and_clear();
        self.world.wire.flush()?;
        let mut side = done?;
        let wanted = hex(&Sha256::digest(file_bytes(job.seed, job.bytes)));
        self.report.sent_ok = self.upload_hash()? == wanted;
        side.count(&mut self)?;
        self.report.take(side, &wanted);
        self.count(lag)?;
        self.report.judge(args);
        self.world.wire.flush()?;
        Ok(self.report)
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

    /// What is counted outside of the host.
    fn count(&mut self, lag: impl Fn(&D) -> Lag) -> Result<()> {
        let r = &mut self.report;
        let wire = self.world.wire.stats();
        r.bytes_in_capture = wire.tx_bytes + wire.rx_bytes;
        let verdict = self.world.wire.far().verdict()?;
        (r.peer_checksum_errors, r.peer_resets) = (verdict.checksum_errors, verdict.resets);
        r.seconds = self.started.elapsed().as_secs_f64();
        let device = self.world.device.borrow();
        if r.device == RTL {
            r.set_cycles(device.stats().cycles, self.job.bytes);
            r.clock_lag = lag(&device);
        } else {
            r.clock_lag = Lag::of_wall(self.world.wall_lag());
        }
        Ok(())
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

/// What is to be done.
fn job(args: &Args) -> Result<Job> {
    let net = net(args)?;
    Ok(Job {
        seed: args.seed,
        bytes: args.bytes,
        host: net.host_ip,
        prefix_len: net.prefix_len,
        peer: net.peer_ip,
        mtu: net.mtu,
        ecn: args.ecn,
        offload: !args.in_host,
    })
}

/// The capture's place.
fn capture(args: &Args) -> PathBuf {
    args.out.join("wire.pcapng")
}

/// The wire to a far end, with the impairments that were asked for, and a capture.
fn wire<F: FarEnd>(args: &Args, far: F) -> Result<Wire<F>> {
    let mut wire = Wire::new(far, link(args));
    let path = capture(args);
    let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    let out: Box<dyn Write + Send> = Box::new(BufWriter::new(file));
    let capture: CaptureFile = PcapWriter::new(out)?;
    wire.set_capture(capture);
    Ok(wire)
}

fn far_side(args: &Args, net: &PeerConfig, job: &Job) -> Result<FarSide> {
    let builtin = |why: &str| -> Result<FarSide> {
        announce(args, &format!("peer: a second instance of our own stack ({why})"))?;
        let peer = BuiltinPeer::new(net, job)?;
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
    announce(args, LINUX_PEER)?;
    Ok(FarSide::Linux(tap, Box::new(peer)))
}

fn write_file(directory: &Path, args: &Args) -> Result<()> {
    fs::create_dir_all(directory)?;
    let path = directory.join(FILE_NAME);
    fs::write(&path, file_bytes(args.seed, args.bytes))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Shows how far the job is.
fn show(bar: &ProgressBar, job: &Job, progress: Progress) {
    let before = if progress.way == Way::Upload { job.bytes } else { 0 };
    bar.set_position(before.saturating_add(progress.done_bytes));
    let owner = match progress.owner {
        Owner::Host => "in the host",
        Owner::Nic => "in the NIC",
        Owner::Between => "on its way",
    };
    bar.set_message(format!("{} {owner}", progress.way));
}

fn progress_bar(bytes: u64, is_quiet: bool) -> ProgressBar {
    if is_quiet {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:24} {bytes}/{total_bytes} {bytes_per_sec} {msg}");
    ProgressBar::new(bytes).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
