//! Speed of the simulation: the whole NIC with all watchers under full load, against a reference block that never changes.
//!
//! Only the device counts: its model, bus partners, watchers and host memory. Driver, host stack and peer run between
//! its turns, on the same core. Rounds of the NIC and of the reference block take turns, and the best of
//! each counts.

use super::load::{Load, Traffic};
use anyhow::{bail, Result};
use chimney_sim::device::{Advance, Device, DeviceStats, Limit};
use chimney_sim::host_mem::HostMemory;
use chimney_sim::model::RtlNic;
use chimney_sim::yardstick::Yardstick;
use serde::Serialize;
use std::fmt;
use std::time::{Duration, Instant};

/// Cycles per second that keep the demo lively and a guest's timers happy.
const TARGET_HZ: f64 = 300_000.0;
/// Length of a simulated clock: 125 MHz.
const PERIOD_NS: f64 = 8.0;

/// Segments that the peer has under way, 23 KiB: it goes on when they are acknowledged, as a sender with a window does.
const SEGMENTS_AHEAD: u32 = 16;

/// Options of `chimney bench sim`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Connections with data both ways
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=64))]
    connections: u16,
    /// Rounds, of which the best counts
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Cycles a round
    #[arg(long, default_value_t = 400_000, value_parser = clap::value_parser!(u64).range(1000..))]
    cycles: u64,
}

impl Args {
    /// As much as the ports carry.
    fn traffic(&self) -> Traffic {
        let connections = usize::from(self.connections);
        Traffic {
            connections,
            segment_bytes: 1460,
            receives: true,
            sends: true,
            most_ahead: SEGMENTS_AHEAD,
            distance: 0,
        }
    }
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Speed {
    /// Best round, NIC cycles per second of wall time.
    cycles_per_second: f64,
    /// All rounds.
    rounds: Vec<f64>,
    /// Best round of the reference block.
    reference_cycles_per_second: f64,
    /// The first by the second.
    ratio: f64,
    /// What is wanted.
    target_cycles_per_second: f64,
    connections: u16,
    cycles: u64,
    /// Proof of load: frame bytes per cycle at the MAC port, and bytes per cycle of DMA. 8 is what a port carries.
    rx_bytes_per_cycle: f64,
    tx_bytes_per_cycle: f64,
    dma_read_bytes_per_cycle: f64,
    dma_write_bytes_per_cycle: f64,
}

impl Speed {
    /// Fast enough?
    pub fn is_met(&self) -> bool {
        self.cycles_per_second >= self.target_cycles_per_second
    }
}

impl fmt::Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rounds: Vec<String> = self.rounds.iter().map(|r| format!("{:.0}", r / 1e3)).collect();
        writeln!(
            f,
            "the simulated NIC, {} connections with data both ways, all watchers on",
            self.connections
        )?;
        writeln!(
            f,
            "  at the MAC port      {:.2} bytes/cycle in, {:.2} out",
            self.rx_bytes_per_cycle, self.tx_bytes_per_cycle
        )?;
        writeln!(
            f,
            "  DMA                  {:.2} bytes/cycle read, {:.2} written",
            self.dma_read_bytes_per_cycle, self.dma_write_bytes_per_cycle
        )?;
        writeln!(f, "  rounds               {} kcycles/s", rounds.join(", "))?;
        writeln!(
            f,
            "  best                 {:.0} kcycles/s, wanted {:.0}",
            self.cycles_per_second / 1e3,
            self.target_cycles_per_second / 1e3
        )?;
        writeln!(
            f,
            "  reference block      {:.0} kcycles/s, ratio {:.3}",
            self.reference_cycles_per_second / 1e3,
            self.ratio
        )?;
        writeln!(f, "  {}", if self.is_met() { "OK" } else { "too slow" })
    }
}

/// Measures; `progress`: with a bar.
///
/// # Errors
/// When the load does not start, or a watcher saw a violation.
pub fn measure(args: &Args, progress: bool) -> Result<Speed> {
    let memory = HostMemory::new();
    let device = Timed { inner: RtlNic::virtual_time(&memory, PERIOD_NS), busy: Duration::ZERO };
    let mut load = Load::new(device, memory, args.traffic())?;
    let mut yardstick = Yardstick::new()?;
    let bar = super::bar(u64::from(args.rounds) + 1, progress);
    round(&mut load, args.cycles / 4)?; // until the windows are open
    let before = load.device().stats();
    let (wire_before, mut rounds, mut reference) = (load.wire_bytes(), Vec::new(), 0.0_f64);
    for _ in 0..args.rounds {
        bar.inc(1);
        rounds.push(round(&mut load, args.cycles)?);
        reference = reference.max(yardstick.run(args.cycles));
    }
    bar.finish_and_clear();
    let after = load.device().stats();
    let wire = load.wire_bytes();
    if let Some(text) = load.device().inner.violations().or(yardstick.violations()) {
        bail!("a watcher saw a violation:\n{text}");
    }
    let per_cycle = |count: u64| count as f64 / (after.cycles - before.cycles) as f64;
    let best = rounds.iter().copied().fold(0.0, f64::max);
    Ok(Speed {
        cycles_per_second: best,
        rounds,
        reference_cycles_per_second: reference,
        ratio: best / reference,
        target_cycles_per_second: TARGET_HZ,
        connections: args.connections,
        cycles: after.cycles - before.cycles,
        rx_bytes_per_cycle: per_cycle(wire.0 - wire_before.0),
        tx_bytes_per_cycle: per_cycle(wire.1 - wire_before.1),
        dma_read_bytes_per_cycle: per_cycle(after.dma_read_bytes - before.dma_read_bytes),
        dma_write_bytes_per_cycle: per_cycle(after.dma_write_bytes - before.dma_write_bytes),
    })
}

/// Cycles per second over so many cycles.
fn round(load: &mut Load<Timed>, cycles: u64) -> Result<f64> {
    let look = |load: &Load<Timed>| {
        let device = load.device();
        (device.stats().cycles, device.busy)
    };
    let (start, busy) = look(load);
    while look(load).0 < start + cycles {
        load.step()?;
    }
    let (end, busy_end) = look(load);
    Ok((end - start) as f64 / (busy_end - busy).as_secs_f64())
}

/// A device and the time that its calls took.
struct Timed {
    inner: RtlNic,
    busy: Duration,
}

impl Timed {
    fn timed<T>(&mut self, call: impl FnOnce(&mut RtlNic) -> T) -> T {
        let start = Instant::now();
        let result = call(&mut self.inner);
        self.busy += start.elapsed();
        result
    }
}

impl Device for Timed {
    fn power_on_reset(&mut self) {
        self.timed(|d| d.power_on_reset());
    }

    fn mmio_read(&mut self, offset: u32) -> u32 {
        self.timed(|d| d.mmio_read(offset))
    }

    fn mmio_write(&mut self, offset: u32, value: u32) {
        self.timed(|d| d.mmio_write(offset, value));
    }

    fn rx_frame(&mut self, frame: &[u8], bad: bool) {
        self.timed(|d| d.rx_frame(frame, bad));
    }

    fn pop_tx_frame(&mut self) -> Option<Vec<u8>> {
        self.timed(Device::pop_tx_frame)
    }

    fn irq(&self) -> bool {
        self.inner.irq()
    }

    fn now_us(&self) -> u64 {
        self.inner.now_us()
    }

    fn advance(&mut self, limit: Limit) -> Advance {
        self.timed(|d| d.advance(limit))
    }

    fn next_deadline(&self) -> Option<u64> {
        self.inner.next_deadline()
    }

    fn stats(&self) -> DeviceStats {
        self.inner.stats()
    }

    fn vanish(&mut self, seed: u64) {
        self.inner.vanish(seed);
    }
}
