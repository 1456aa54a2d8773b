//! What the demo says at its end: a table for a person, `result.json` for a program.

use super::args::Args;
use crate::device::ClientReport;
use chimney_abi::layout::Reg;
use chimney_abi::regs;
use chimney_check::job::{HandoverRow, HostSide};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::{self, Write};

/// Least share of the bytes that must go through the NIC.
const LEAST_NIC_SHARE: f64 = 0.8;

/// Wall time minus simulated time.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Lag {
    /// Largest, microseconds.
    pub max_us: f64,
    /// Mean, microseconds.
    pub mean_us: f64,
}

impl Lag {
    /// The lag of a world that runs by the wall clock.
    pub fn of_wall(lag: crate::world::WallLag) -> Self {
        // `as`: far below 2^53.
        Self { max_us: lag.max_us as f64, mean_us: lag.sum_us as f64 / lag.steps.max(1) as f64 }
    }
}

/// `result.json`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Everything as it should be.
    pub ok: bool,
    /// "linux" or "builtin".
    pub peer: &'static str,
    /// "rtl" or "golden".
    pub device: &'static str,
    /// Seed of the run.
    pub seed: u64,
    /// Loss each way, a fraction.
    pub loss: f64,
    /// SHA-256 of the download is right.
    pub received_ok: bool,
    /// SHA-256 of the upload is right.
    pub sent_ok: bool,
    /// Frame bytes at the MAC port that the engine sent or consumed.
    pub bytes_by_nic: u64,
    /// All other frame bytes at the MAC port.
    pub bytes_by_host: u64,
    /// Frames that the engine sent or consumed.
    pub segments_by_nic: u64,
    /// All other frames.
    pub segments_by_host: u64,
    /// Large frames of the host that the NIC divided, and the segments that they became.
    pub large_frames_by_host: u64,
    /// See `large_frames_by_host`.
    pub segments_of_large_frames: u64,
    /// Frame bytes at the NIC's port in the capture; equals the sum of the two above.
    pub bytes_in_capture: u64,
    /// Segments retransmitted by the engine.
    pub retransmits_by_nic: u64,
    /// Segments retransmitted by the host stack.
    pub retransmits_by_host: u64,
    /// Hand-overs that succeeded.
    pub handovers: usize,
    /// Every hand-over.
    pub handover: Vec<HandoverRow>,
    /// Packets with a wrong checksum that reached the peer.
    pub peer_checksum_errors: i64,
    /// Resets at the peer.
    pub peer_resets: i64,
    /// NIC clock cycles; 0 for the golden model.
    pub nic_cycles: u64,
    /// File bytes per NIC cycle.
    pub bytes_per_cycle: f64,
    /// NIC cycles per second of wall time.
    pub cycles_per_second: f64,
    /// How far the simulation was behind the wall clock; nothing if the host is another machine, which the NIC waits for.
    pub clock_lag: Lag,
    /// Wall time, seconds.
    pub seconds: f64,
    /// The NIC's counters by register name.
    pub nic_counters: BTreeMap<String, u64>,
    /// What crossed the boundary of a NIC in another process during the transfers, as its own side counted it.
    pub device_side: Option<ClientReport>,
    /// Why not ok.
    pub problems: Vec<String>,
    /// The capture.
    pub capture: String,
    /// The wave, if one was asked for.
    pub wave: Option<String>,
}

impl Report {
    /// Share of the bytes that went through the engine.
    pub fn nic_share(&self) -> f64 {
        self.bytes_by_nic as f64 / (self.bytes_by_nic + self.bytes_by_host).max(1) as f64
    }

    /// A report that has nothing to say yet.
    pub fn new(args: &Args, device: &'static str, peer: &'static str) -> Self {
        let capture = super::capture(args).display().to_string();
        Self { device, peer, seed: args.seed, loss: args.loss, capture, ..Self::default() }
    }

    /// The NIC worked for so many cycles while `bytes` went each way; the time is known.
    pub fn set_cycles(&mut self, cycles: u64, bytes: u64) {
        self.nic_cycles = cycles;
        if cycles > 0 {
            self.bytes_per_cycle = 2.0 * bytes as f64 / cycles as f64;
            self.cycles_per_second = cycles as f64 / self.seconds;
        }
    }

    /// Takes over what the host says; `wanted` is the SHA-256 of the file.
    pub fn take(&mut self, side: HostSide, wanted: &str) {
        let counters = &side.nic_counters;
        let read = |reg: &Reg| counters.get(reg.name).copied().unwrap_or(0);
        let sum = |a: &Reg, b: &Reg| read(a).saturating_add(read(b));
        self.bytes_by_nic = sum(&regs::CNT_RX_OFFLOADED_BYTES, &regs::CNT_TX_OFFLOADED_BYTES);
        self.segments_by_nic = sum(&regs::CNT_RX_OFFLOADED, &regs::CNT_TX_OFFLOADED);
        self.bytes_by_host = sum(&regs::CNT_RX_BYTES, &regs::CNT_TX_BYTES).saturating_sub(self.bytes_by_nic);
        let frames = sum(&regs::CNT_RX_FRAMES, &regs::CNT_TX_FRAMES);
        self.segments_by_host = frames.saturating_sub(self.segments_by_nic);
        self.retransmits_by_nic = read(&regs::CNT_RETRANSMITS);
        self.received_ok = side.received_sha256 == wanted;
        self.retransmits_by_host = side.retransmits;
        self.large_frames_by_host = side.large_frames;
        self.segments_of_large_frames = side.segments_of_large_frames;
        self.handovers = side.handover.iter().filter(|h| h.status == "Success").count();
        self.handover = side.handover;
        self.nic_counters = side.nic_counters;
    }

    /// Looks for what is not as it should be.
    pub fn judge(&mut self, args: &Args) {
        let (share, total) = (self.nic_share(), self.bytes_by_nic.saturating_add(self.bytes_by_host));
        let checks = [
            (self.received_ok, "the download's SHA-256 is wrong".to_owned()),
            (self.sent_ok, "the upload's SHA-256 is wrong".to_owned()),
            (
                // A link that damages frames is not the NIC's fault.
                self.peer_checksum_errors == 0 || args.link.corrupt > 0.0,
                format!("the peer counted {} checksum errors", self.peer_checksum_errors),
            ),
            (
                // What a link delivers after the end of its connection is answered with a reset (RFC 9293 3.10.7.1).
                self.peer_resets == 0 || !args.link.is_faithful(),
                format!("the peer counted {} resets", self.peer_resets),
            ),
            (
                share >= LEAST_NIC_SHARE || args.in_host,
                format!("only {:.1} % of the bytes went through the NIC", 100.0 * share),
            ),
            (
                total == self.bytes_in_capture,
                format!("the MAC port counted {total} bytes, the capture has {}", self.bytes_in_capture),
            ),
        ];
        self.problems.extend(checks.into_iter().filter(|(ok, _)| !ok).map(|(_, text)| text));
        self.ok = self.problems.is_empty();
    }

    /// Writes the tables.
    ///
    /// # Errors
    /// Of the writer.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out)?;
        self.write_owners(out)?;
        writeln!(out)?;
        self.write_shares(out)?;
        writeln!(out)?;
        self.write_verdict(out)?;
        writeln!(out, "\n  {}", if self.ok { "OK" } else { "FAILED" })
    }

    fn write_owners(&self, out: &mut impl Write) -> io::Result<()> {
        let nic = if self.device == "rtl" { "NIC = RTL under Verilator" } else { "NIC = golden model" };
        writeln!(out, "  who owned the connections     {nic}")?;
        writeln!(
            out,
            "  {:<9} {:>9}  {:<8} {:<8} {:>8} {:>8} {:>11} {:>12}",
            "transfer", "at ms", "hand", "result", "unsent", "unacked", "undelivered", "out of order"
        )?;
        for h in &self.handover {
            let owner = if h.direction == "offload" { "-> NIC" } else { "-> host" };
            writeln!(
                out,
                "  {:<9} {:>9.1}  {owner:<8} {:<8} {:>8} {:>8} {:>11} {:>12}",
                h.transfer, h.at_ms, h.status, h.unsent, h.unacknowledged, h.undelivered, h.out_of_order
            )?;
        }
        Ok(())
    }

    fn write_shares(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "  {:<22} {:>12} {:>12}", "", "by the NIC", "by the host")?;
        let mut row = |name: &str, nic: u64, host: u64| writeln!(out, "  {name:<22} {nic:>12} {host:>12}");
        row("frame bytes", self.bytes_by_nic, self.bytes_by_host)?;
        row("frames", self.segments_by_nic, self.segments_by_host)?;
        row("retransmitted", self.retransmits_by_nic, self.retransmits_by_host)
    }

    fn write_verdict(&self, out: &mut impl Write) -> io::Result<()> {
        let word = |ok| if ok { "right" } else { "WRONG" };
        let mut row = |name: &str, text: &str| writeln!(out, "  {name:<22} {text}");
        row("download, SHA-256", word(self.received_ok))?;
        row("upload, SHA-256", word(self.sent_ok))?;
        row("through the NIC", &format!("{:.1} % of the bytes", 100.0 * self.nic_share()))?;
        let (errors, resets) = (self.peer_checksum_errors, self.peer_resets);
        row(&format!("peer ({})", self.peer), &format!("{errors} checksum errors, {resets} resets"))?;
        if self.nic_cycles > 0 {
            let (cycles, hz, rate) = (self.nic_cycles, self.cycles_per_second, self.bytes_per_cycle);
            row("NIC clock", &format!("{cycles} cycles, {hz:.0} cycles/s, {rate:.2} file bytes per cycle"))?;
        }
        if self.device_side.is_none() {
            let Lag { mean_us, max_us } = self.clock_lag;
            row("clock lag", &format!("{mean_us:.0} us mean, {max_us:.0} us at most"))?;
        }
        row("time", &format!("{:.1} s", self.seconds))?;
        if let Some(d) = &self.device_side {
            let (reads, send, receive) = (d.mmio_reads, d.send_doorbells, d.receive_doorbells);
            row("read by the driver", &format!("{reads} registers during the transfers"))?;
            row("rung by the driver", &format!("{send} send doorbells, {receive} receive doorbells"))?;
            row("interrupts", &format!("{} for {} register writes in all", d.interrupts, d.mmio_writes))?;
        }
        row("capture", &self.capture)?;
        self.wave.iter().try_for_each(|wave| row("wave", wave))?;
        self.problems.iter().try_for_each(|problem| row("problem", problem))
    }
}
