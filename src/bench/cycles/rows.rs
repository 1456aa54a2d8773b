//! Cycles per segment: the NIC receives what a peer offers at a fixed distance, and sends as fast as it can.
//!
//! **Received.** The peer offers frames whose first beats are a fixed number of cycles apart, whatever the NIC does, on all
//! connections in turn; the figure is the smallest distance at which nothing is lost (RFC 2544 26.1, with cycles for a rate). A
//! distance is *held* if, over the segments that count, no drop counter moved and the segments were acknowledged as fast as they were
//! offered: neither a closed window nor `tready` kept the peer back. A NIC that is slower has room for some tens of frames and then
//! loses one.
//!
//! **Sent.** Cycles from segment to segment at the port; the peer acknowledges every second one and its window never closes. In both
//! directions at once they are counted at the distance that is the figure of the other direction.

use super::super::load::{Load, Traffic};
use anyhow::{bail, Result};
use chimney_abi::regs;
use chimney_sim::bfm::axi_memory::AxiTiming;
use chimney_sim::device::Device;
use chimney_sim::host_mem::HostMemory;
use chimney_sim::model::RtlNic;
use serde::Serialize;

/// Length of a simulated clock: 125 MHz.
pub const PERIOD_NS: f64 = 8.0;
/// AXI latencies, cycles.
pub const LATENCIES: [u32; 2] = [0, 150];
/// Ethernet, IPv4 and TCP without options.
pub const HEADERS: u16 = 54;
/// Bytes of a port per cycle.
const PORT_BYTES: u16 = 8;
/// Quarters of a cycle, in which distances are measured.
const QUARTERS: u32 = 4;
/// Distances that the port takes longer than this for are found to a cycle, others to a quarter.
const COARSE: u32 = 64 * QUARTERS;
/// A distance so many times what the port takes is the last one tried.
const MOST_TIMES: u32 = 8;
/// The first segments come at so many times the distance: every connection has to fetch its first buffer.
const SLOWER: u32 = 8;
/// Segments of this part pass so slowly, and again as many before it is counted.
const WARM_UP_PART: u64 = 4;
/// Segments between two looks at the drop counters: what is lost comes again late, so a run that lost one ends soon.
const LOOK_SEGMENTS: u64 = 100;
/// Cycles without a segment after which the NIC stands still.
const STILL_CYCLES: u64 = 1_000_000;
/// Of a thousand cycles, how many a run may be longer than offered; the ends of the count lie within a turn of the host.
const SLACK: u64 = 5;
const TURN_CYCLES: u64 = 400;

/// One measurement.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Bytes of a frame with text, and of its text.
    pub frame_bytes: u16,
    /// See `frame_bytes`.
    pub segment_bytes: u16,
    /// `rx`, `tx` or `both`.
    pub direction: &'static str,
    /// Connections, in turn.
    pub connections: usize,
    /// Cycles of latency of each AXI read and write.
    pub axi_latency: u32,
    /// Cycles per received segment with text, and per sent one.
    pub rx: Option<f64>,
    /// See `rx`.
    pub tx: Option<f64>,
}

/// What a row is about.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Text of a segment.
    pub segment_bytes: u16,
    /// See [`Row`].
    pub connections: usize,
    /// See [`Row`].
    pub direction: &'static str,
    /// See [`Row`].
    pub axi_latency: u32,
}

impl Shape {
    /// All rows.
    pub fn all(kinds: &[(u16, usize)]) -> Vec<Shape> {
        let directions = ["rx", "tx", "both"];
        let of = |&(segment_bytes, connections): &(u16, usize)| {
            directions.into_iter().flat_map(move |direction| {
                LATENCIES.map(|axi_latency| Shape { segment_bytes, connections, direction, axi_latency })
            })
        };
        kinds.iter().flat_map(of).collect()
    }

    fn receives(&self) -> bool {
        self.direction != "tx"
    }

    fn traffic(&self, distance: u32) -> Traffic {
        Traffic {
            connections: self.connections,
            segment_bytes: self.segment_bytes,
            receives: self.receives(),
            sends: self.direction != "rx",
            most_ahead: u32::MAX,
            distance: (distance / QUARTERS).into(),
        }
    }

    fn row(&self, rx: Option<f64>, tx: Option<f64>) -> Row {
        Row {
            frame_bytes: self.segment_bytes + HEADERS,
            segment_bytes: self.segment_bytes,
            direction: self.direction,
            connections: self.connections,
            axi_latency: self.axi_latency,
            rx,
            tx,
        }
    }

    /// The row; `segments` are counted in every run.
    ///
    /// # Errors
    /// When the load does not start, the NIC stands still, or a watcher saw a violation.
    pub fn measure(&self, segments: u64) -> Result<Row> {
        if !self.receives() {
            return Ok(self.row(None, self.run(0, segments)?));
        }
        // The port cannot do better than that.
        let least = u32::from((self.segment_bytes + HEADERS).div_ceil(PORT_BYTES)) * QUARTERS;
        let step = if least > COARSE { QUARTERS } else { 1 };
        let (mut bad, mut good) = (least - step, least);
        let mut sent = self.run(good, segments)?;
        while sent.is_none() {
            if good > MOST_TIMES * least {
                bail!("frames of {} bytes are lost at any distance", self.segment_bytes + HEADERS);
            }
            (bad, good) = (good, good + 4 * (good - bad));
            sent = self.run(good, segments)?;
        }
        while good - bad > step {
            let middle = bad + (good - bad) / 2;
            match self.run(middle, segments)? {
                Some(tx) => (good, sent) = (middle, Some(tx)),
                None => bad = middle,
            }
        }
        let sends = self.direction == "both";
        Ok(self.row(Some(f64::from(good) / f64::from(QUARTERS)), sent.filter(|_| sends)))
    }

    /// Cycles per sent segment, if the distance, quarters of a cycle, is held.
    fn run(&self, distance: u32, segments: u64) -> Result<Option<f64>> {
        let memory = HostMemory::new();
        let mut device = RtlNic::with_timing(&memory, PERIOD_NS, AxiTiming::fixed(self.axi_latency));
        device.rig().source.set_distance(distance * SLOWER);
        let mut run = Run { load: Load::new(device, memory, self.traffic(distance))?, of: *self };
        run.advance(segments / WARM_UP_PART)?;
        run.load.device_mut().rig().source.set_distance(distance);
        if !run.keeps_up(segments / WARM_UP_PART)? {
            return Ok(None);
        }
        let (before, start) = (run.load.segments(), run.cycles());
        if !run.keeps_up(segments)? {
            return Ok(None);
        }
        if let Some(text) = run.load.device().violations() {
            bail!("a watcher saw a violation:\n{text}");
        }
        let (after, cycles) = (run.load.segments(), run.cycles() - start);
        let offered = (after.acknowledged - before.acknowledged) * u64::from(distance) / u64::from(QUARTERS);
        let held = cycles <= offered + offered * SLACK / 1000 + TURN_CYCLES;
        Ok((held || !self.receives()).then(|| cycles as f64 / (after.taken - before.taken) as f64))
    }
}

/// A NIC under load.
struct Run {
    load: Load<RtlNic>,
    of: Shape,
}

impl Run {
    fn cycles(&self) -> u64 {
        self.load.device().stats().cycles
    }

    /// Segments so far: received ones, or if there are none, sent ones.
    fn counted(&self) -> u64 {
        let s = self.load.segments();
        if self.of.receives() {
            s.acknowledged
        } else {
            s.taken
        }
    }

    /// All drop counters together.
    fn lost(&self) -> u64 {
        let mut device = self.load.device_mut();
        let drops = [
            regs::CNT_DROP_BAD_FRAME,
            regs::CNT_DROP_TOO_LONG,
            regs::CNT_DROP_OVERRUN,
            regs::CNT_DROP_NO_BUFFER,
            regs::CNT_DROP_NO_PAGE,
            regs::CNT_DROP_NO_RANGE,
        ];
        drops.map(|r| u64::from(device.mmio_read(r.offset))).iter().sum()
    }

    /// So many segments more; false as soon as something is lost.
    fn keeps_up(&mut self, segments: u64) -> Result<bool> {
        let (lost, end) = (self.lost(), self.counted() + segments);
        while self.counted() < end {
            self.advance((self.counted() + LOOK_SEGMENTS).min(end))?;
            if self.lost() != lost {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn advance(&mut self, until: u64) -> Result<()> {
        let (mut seen, mut at) = (self.counted(), self.cycles());
        while self.counted() < until {
            self.load.step()?;
            let now = self.cycles();
            if self.counted() > seen {
                (seen, at) = (self.counted(), now);
            } else if now - at > STILL_CYCLES {
                bail!("the NIC stands still after {seen} segments");
            }
        }
        Ok(())
    }
}
