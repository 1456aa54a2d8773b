//! The demo with driver and host stack on another machine: here are the NIC, as a PCI function behind a socket, its wire and
//! the peer.
//!
//! ```text
//!   machine (QEMU with a guest, or a process) <-- vfio-user --> Server, Card: NIC, wire, capture --> Cable --> peer
//!      +--- what it says on its console: ready, progress, transferred, done
//! ```
//! What the driver may cost is counted between "ready" and "transferred".

use super::machine::Machine;
use super::peer::FarSide;
use super::{Args, Nic, Report, BROKEN_WIRE, INTERRUPTED, RTL};
use crate::device::{self, Card, ClientReport};
use crate::pace::Pace;
use anyhow::{bail, Context, Result};
use chimney_check::job::{file_bytes, hex, Job, Said, STALL_LIMIT};
use chimney_sim::device::Device;
use chimney_sim::net::tap::TapError;
use chimney_sim::net::wire::FarEnd;
use chimney_sim::vfio_user::{Server, ServerCounters};
use indicatif::ProgressBar;
use sha2::{Digest, Sha256};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What the machine said, beside the results.
const CONSOLE: &str = "console.log";
/// How long a machine may boot; a guest of QEMU without help of the processor takes half a minute on a busy machine.
const BOOT_LIMIT: Duration = Duration::from_secs(300);
/// A machine that said nothing for so long has failed: it notices by itself when its transfer stalls.
const SILENCE_LIMIT: Duration = STALL_LIMIT.saturating_mul(3);

/// A far end whose cable can be pulled: what it sends then is not on the wire.
pub struct Cable {
    far: FarSide,
    is_plugged: bool,
}

impl FarEnd for Cable {
    fn take(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, TapError> {
        let taken = self.far.take(buffer)?;
        Ok(taken.filter(|_| self.is_plugged))
    }

    fn give(&mut self, frame: &[u8]) -> Result<bool, TapError> {
        self.far.give(frame)
    }
}

/// Who the host is, in words.
fn host(args: &Args) -> String {
    let log = args.out.join(CONSOLE);
    if args.vm {
        return format!("a guest in QEMU, with the driver on its kernel's VFIO (console: {})", log.display());
    }
    let words: Vec<_> = args.machine.iter().map(|word| word.to_string_lossy()).collect();
    format!("{} (what it says: {})", words.join(" "), log.display())
}

/// Everything but the host.
pub struct Outside<D: Device> {
    // Ends before its device does.
    machine: Machine,
    job: Job,
    server: Server,
    card: Card<D, Cable>,
    is_pulled: bool,
    bar: ProgressBar,
    stop: Arc<AtomicBool>,
    report: Report,
}

impl<D: Device> Outside<D> {
    /// Starts everything.
    ///
    /// # Errors
    /// When there is no peer, no socket or no machine.
    pub fn new(args: &Args, nic: Nic<D>, stop: Arc<AtomicBool>) -> Result<Self> {
        let Nic { name, device, memory, mut pace } = nic;
        if let Pace::Cycles(cycles) = &mut pace {
            *cycles = device::CYCLES_PER_STEP; // whoever reads a register waits for a step
        }
        let (net, job) = (super::net(args)?, super::job(args)?);
        let far = Cable { far: super::far_side(args, &net, &job)?, is_plugged: false };
        let report = Report::new(args, name, far.far.name());
        let card = Card::new(device, super::wire(args, far)?, pace);
        // Not beside the results: the name of a socket has to be short.
        let socket = std::env::temp_dir().join(format!("chimney-{}-nic.sock", std::process::id()));
        let server = Server::bind(&socket, memory)?;
        super::announce(args, &format!("host: {}", host(args)))?;
        let machine = Machine::start(&args.machine, &socket, &job, &args.out.join(CONSOLE))?;
        let bar = super::progress_bar(2 * job.bytes, args.json);
        Ok(Self { machine, job, server, card, is_pulled: false, bar, stop, report })
    }

    /// Does the job and judges it.
    ///
    /// # Errors
    /// When it is interrupted, or something of it fails.
    pub fn all(mut self, args: &Args) -> Result<Report> {
        let done = self.work();
        self.bar.finish_and_clear();
        self.card.wire.flush()?;
        done?;
        self.report.judge(args);
        Ok(self.report)
    }

    fn work(&mut self) -> Result<()> {
        self.bar.set_message("the machine starts");
        self.expect(&Said::Ready, BOOT_LIMIT)?;
        let (before, cycles, started) = (self.server.counters(), self.cycles(), Instant::now());
        self.machine.go_on()?;
        self.expect(&Said::Transferred, SILENCE_LIMIT)?;
        let after = self.server.counters();
        self.report.seconds = started.elapsed().as_secs_f64();
        if self.report.device == RTL {
            self.report.set_cycles(self.cycles() - cycles, self.job.bytes);
        }
        let wanted = hex(&Sha256::digest(file_bytes(self.job.seed, self.job.bytes)));
        self.report.sent_ok = self.upload_hash()? == wanted;
        self.unplug()?;
        self.machine.go_on()?;
        let Said::Done(side) = self.next(SILENCE_LIMIT)? else {
            bail!("the machine does not say what it knows")
        };
        self.report.take(side, &wanted);
        let wire = self.card.wire.stats();
        self.report.bytes_in_capture = wire.tx_bytes + wire.rx_bytes;
        let verdict = self.card.wire.far().far.verdict()?;
        (self.report.peer_checksum_errors, self.report.peer_resets) =
            (verdict.checksum_errors, verdict.resets);
        self.judge_crossings(&before, &after);
        Ok(())
    }

    fn cycles(&self) -> u64 {
        self.card.device.borrow().stats().cycles
    }

    /// One step of everything; an error when it was interrupted.
    fn step(&mut self) -> Result<()> {
        if self.stop.load(Ordering::Relaxed) {
            bail!(INTERRUPTED);
        }
        device::step(&mut self.card, &mut self.server).context(BROKEN_WIRE)?;
        let now_us = self.card.now_us();
        let cable = self.card.wire.far();
        // A NIC that is not enabled counts nothing.
        cable.is_plugged = self.server.is_enabled() && !self.is_pulled;
        cable.far.poll(now_us)
    }

    /// What the machine says next, beside its progress.
    fn next(&mut self, limit: Duration) -> Result<Said> {
        let mut since = Instant::now();
        loop {
            self.step()?;
            match self.machine.said()? {
                Some(Said::Progress(progress)) => {
                    since = Instant::now();
                    super::show(&self.bar, &self.job, progress);
                }
                Some(Said::Failed(why)) => bail!("{why}"),
                Some(said) => return Ok(said),
                None => {
                    let words = self.machine.last_words();
                    if let Some(status) = self.machine.has_ended()? {
                        bail!("the machine ended ({status}); it said: {words}");
                    }
                    if since.elapsed() > limit {
                        bail!("the machine says nothing for {} s; last it said: {words}", limit.as_secs());
                    }
                }
            }
        }
    }

    fn expect(&mut self, wanted: &Said, limit: Duration) -> Result<()> {
        let said = self.next(limit)?;
        if said != *wanted {
            bail!("the machine says {said:?} in place of {wanted:?}");
        }
        Ok(())
    }

    fn upload_hash(&mut self) -> Result<String> {
        self.step_until("SHA-256 of the upload", |this| this.card.wire.far().far.take_upload_hash())
    }

    /// No more frames for the NIC, so that its counters agree with the capture.
    fn unplug(&mut self) -> Result<()> {
        self.is_pulled = true;
        self.step()?;
        self.step_until("end of the frames on the wire", |this| {
            Ok((this.card.wire.links().1.in_flight() == 0).then_some(()))
        })
    }

    fn step_until<T>(
        &mut self,
        what: &str,
        mut done: impl FnMut(&mut Self) -> Result<Option<T>>,
    ) -> Result<T> {
        let since = Instant::now();
        loop {
            if let Some(value) = done(self)? {
                return Ok(value);
            }
            self.step()?;
            if since.elapsed() > STALL_LIMIT {
                bail!("waited {} s for the {what}", STALL_LIMIT.as_secs());
            }
        }
    }

    /// What crossed the boundary: reported, and held against what the driver promises.
    fn judge_crossings(&mut self, before: &ServerCounters, after: &ServerCounters) {
        let during = ClientReport::between(before, after);
        let all = ClientReport::between(&ServerCounters::default(), &self.server.counters());
        let checks = [
            (during.mmio_reads, "registers were read during the transfers"),
            (all.refused, "commands of the machine were refused"),
            (all.broken, "connections of the machine could not go on"),
            (all.forced_resets, "resets did not find the NIC at rest"),
            (all.dma_faults, "DMA was refused, so many times"),
        ];
        let wrong = checks.into_iter().filter(|(count, _)| *count > 0);
        self.report.problems.extend(wrong.map(|(count, what)| format!("{count} {what}")));
        self.report.device_side = Some(during);
    }
}
