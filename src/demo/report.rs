//! What the demo says at its end: a table for a person, `result.json` for a program.

use chimney_host_stack::switch::{Direction, Handover};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::{self, Write};

/// One hand-over.
#[derive(Clone, Debug, Serialize)]
pub struct HandoverRow {
    /// "download" or "upload": which transfer.
    pub transfer: &'static str,
    /// "offload", "upload" or "rebuild".
    pub direction: &'static str,
    /// "Success" or the reason why not.
    pub status: String,
    /// When, milliseconds of the common clock.
    pub at_ms: f64,
    /// Posted, never sent, bytes.
    pub unsent: u32,
    /// Sent, not acknowledged, bytes.
    pub unacknowledged: u32,
    /// Received in order, not delivered, bytes.
    pub undelivered: u32,
    /// Received ahead of a hole, bytes.
    pub out_of_order: u32,
}

impl HandoverRow {
    /// A row about a hand-over of a transfer.
    pub fn new(transfer: &'static str, h: &Handover) -> Self {
        Self {
            transfer,
            direction: match h.direction {
                Direction::Offload => "offload",
                Direction::Upload => "upload",
                Direction::Rebuild => "rebuild",
            },
            status: format!("{:?}", h.status),
            at_ms: h.at_us as f64 / 1000.0,
            unsent: h.unsent_bytes,
            unacknowledged: h.unacknowledged_bytes,
            undelivered: h.undelivered_bytes,
            out_of_order: h.out_of_order_bytes,
        }
    }
}

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
    /// How far the simulation was behind the wall clock.
    pub clock_lag: Lag,
    /// Wall time, seconds.
    pub seconds: f64,
    /// The NIC's counters by register name.
    pub nic_counters: BTreeMap<&'static str, u64>,
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
        let Lag { mean_us, max_us } = self.clock_lag;
        row("clock lag", &format!("{mean_us:.0} us mean, {max_us:.0} us at most"))?;
        row("time", &format!("{:.1} s", self.seconds))?;
        row("capture", &self.capture)?;
        self.wave.iter().try_for_each(|wave| row("wave", wave))?;
        self.problems.iter().try_for_each(|problem| row("problem", problem))
    }
}
