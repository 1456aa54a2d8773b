//! Clock cycles of the NIC per segment: a figure that no machine disturbs.
//!
//! Definitions: payload checksummed, bytes and shadow record in memory, every second segment acknowledged, a count of
//! segments after warm-up, AXI latency 0 and 150 cycles, each direction alone and both at once. A figure is the worst of its
//! rows. A 64-bit port needs 8 cycles for a frame of 60 bytes and 190 for one of 1514.

use super::load::{Load, Traffic};
use anyhow::{bail, Result};
use chimney_sim::bfm::axi_memory::AxiTiming;
use chimney_sim::device::Device;
use chimney_sim::host_mem::HostMemory;
use chimney_sim::model::RtlNic;
use serde::Serialize;
use std::fmt;

const PERIOD_NS: f64 = 8.0;
/// Text that fills the smallest frame, and the largest.
const MIN_TEXT: u16 = 6;
const MSS_TEXT: u16 = 1460;
/// AXI latencies, cycles.
const LATENCIES: [u32; 2] = [0, 150];
/// Segments of this part pass before it is counted.
const WARM_UP_PART: u64 = 4;
/// Cycles without a segment after which the NIC stands still.
const STILL_CYCLES: u64 = 1_000_000;

/// Options of `chimney bench cycles`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Segments counted for each row
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(100..))]
    segments: u64,
}

/// One measurement.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Bytes of a frame with text.
    frame_bytes: u16,
    /// `rx`, `tx` or `both`.
    direction: &'static str,
    connections: usize,
    /// Cycles of latency of each AXI read and write.
    axi_latency: u32,
    /// Cycles per received segment with text, and per sent one.
    rx: Option<f64>,
    tx: Option<f64>,
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Cycles {
    /// Smallest frames on 8 connections.
    min_segment_rx: f64,
    min_segment_tx: f64,
    /// The same on one connection.
    min_segment_rx_one: f64,
    min_segment_tx_one: f64,
    /// Largest frames on one connection.
    mss_segment_rx: f64,
    mss_segment_tx: f64,
    segments: u64,
    rows: Vec<Row>,
}

impl Cycles {
    fn new(segments: u64, rows: Vec<Row>) -> Self {
        let worst = |text: u16, connections: usize, of: fn(&Row) -> Option<f64>| {
            let is_mine = |r: &&Row| r.frame_bytes == text + HEADERS && r.connections == connections;
            rows.iter().filter(is_mine).filter_map(of).fold(0.0, f64::max)
        };
        Self {
            min_segment_rx: worst(MIN_TEXT, 8, |r| r.rx),
            min_segment_tx: worst(MIN_TEXT, 8, |r| r.tx),
            min_segment_rx_one: worst(MIN_TEXT, 1, |r| r.rx),
            min_segment_tx_one: worst(MIN_TEXT, 1, |r| r.tx),
            mss_segment_rx: worst(MSS_TEXT, 1, |r| r.rx),
            mss_segment_tx: worst(MSS_TEXT, 1, |r| r.tx),
            segments,
            rows,
        }
    }
}

/// Ethernet, IPv4 and TCP without options.
const HEADERS: u16 = 54;

impl fmt::Display for Cycles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "cycles per segment with text, {} segments a row", self.segments)?;
        writeln!(f, "  frame  connections  direction  AXI latency       rx       tx")?;
        for r in &self.rows {
            let show = |v: Option<f64>| v.map_or_else(|| "-".to_owned(), |v| format!("{v:.1}"));
            let (rx, tx) = (show(r.rx), show(r.tx));
            let (bytes, n, way, latency) = (r.frame_bytes, r.connections, r.direction, r.axi_latency);
            writeln!(f, "  {bytes:>5}  {n:>11}  {way:<9}  {latency:>11}  {rx:>7}  {tx:>7}")?;
        }
        writeln!(f)?;
        writeln!(
            f,
            "  worst                                           rx       tx   wanted   the bus allows"
        )?;
        let mut line = |name: &str, rx: f64, tx: f64, rest: &str| {
            writeln!(f, "  {name:<42}  {rx:>7.1}  {tx:>7.1}   {rest}")
        };
        line("smallest frames, 8 connections", self.min_segment_rx, self.min_segment_tx, "    10        8")?;
        line(
            "smallest frames, 1 connection",
            self.min_segment_rx_one,
            self.min_segment_tx_one,
            "              8",
        )?;
        line("largest frames, 1 connection", self.mss_segment_rx, self.mss_segment_tx, "   192      190")
    }
}

/// Measures all rows; `progress`: with a bar.
///
/// # Errors
/// When the load does not start, the NIC stands still, or a watcher saw a violation.
pub fn measure(args: &Args, progress: bool) -> Result<Cycles> {
    let directions = [("rx", true, false), ("tx", false, true), ("both", true, true)];
    let shapes = [(MIN_TEXT, 8), (MIN_TEXT, 1), (MSS_TEXT, 1)];
    let bar = super::bar((directions.len() * shapes.len() * LATENCIES.len()) as u64, progress);
    let mut rows = Vec::new();
    for (segment_bytes, connections) in shapes {
        for (direction, receives, sends) in directions {
            for latency in LATENCIES {
                let traffic = Traffic { connections, segment_bytes, receives, sends };
                let (rx, tx) = run(traffic, latency, args.segments)?;
                rows.push(Row {
                    frame_bytes: segment_bytes + HEADERS,
                    direction,
                    connections,
                    axi_latency: latency,
                    rx,
                    tx,
                });
                bar.inc(1);
            }
        }
    }
    bar.finish_and_clear();
    Ok(Cycles::new(args.segments, rows))
}

fn run(traffic: Traffic, latency: u32, segments: u64) -> Result<(Option<f64>, Option<f64>)> {
    let memory = HostMemory::new();
    let device = RtlNic::with_timing(&memory, PERIOD_NS, AxiTiming::fixed(latency));
    let mut load = Load::new(device, memory, traffic)?;
    let least = |load: &Load<RtlNic>| {
        let s = load.segments();
        let rx = if traffic.receives { s.acknowledged } else { u64::MAX };
        let tx = if traffic.sends { s.taken } else { u64::MAX };
        rx.min(tx)
    };
    advance(&mut load, &least, segments / WARM_UP_PART)?;
    let (before, start) = (load.segments(), load.device().stats().cycles);
    let warm = least(&load);
    advance(&mut load, &least, warm + segments)?;
    let (after, end) = (load.segments(), load.device().stats().cycles);
    if let Some(text) = load.device().violations() {
        bail!("a watcher saw a violation:\n{text}");
    }
    let per = |on: bool, count: u64| on.then(|| (end - start) as f64 / count as f64);
    Ok((
        per(traffic.receives, after.acknowledged - before.acknowledged),
        per(traffic.sends, after.taken - before.taken),
    ))
}

fn advance(load: &mut Load<RtlNic>, least: &impl Fn(&Load<RtlNic>) -> u64, until: u64) -> Result<()> {
    let (mut seen, mut at) = (least(load), load.device().stats().cycles);
    while least(load) < until {
        load.step()?;
        let now = load.device().stats().cycles;
        if least(load) > seen {
            (seen, at) = (least(load), now);
        } else if now - at > STILL_CYCLES {
            bail!("the NIC stands still after {seen} segments");
        }
    }
    Ok(())
}
