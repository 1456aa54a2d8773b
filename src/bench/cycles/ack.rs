//! From the last beat of a segment to the first beat of its acknowledgment.
//!
//! One connection, every segment acknowledged at once, one segment at a time. Between the two beats lie the decision, the payload
//! and its shadow record in host memory (law L2), and the acknowledgment; the beats of the payload and one latency of a write are
//! the bus's and are taken off. The host looks at its rings between segments, so that the figure has the doorbells of a host that
//! goes on.

use super::super::load::{Load, Traffic};
use super::rows::{HEADERS, PERIOD_NS};
use anyhow::{bail, Result};
use chimney_abi::regs;
use chimney_sim::bfm::axi_memory::AxiTiming;
use chimney_sim::device::Device;
use chimney_sim::host_mem::HostMemory;
use chimney_sim::model::RtlNic;
use serde::Serialize;

/// Bytes of a beat of a write.
const BEAT_BYTES: u16 = 8;
/// Segments before the first that counts.
const WARM_UP: u64 = 16;
/// Turns of the host for each segment, at most.
const MOST_TURNS: u64 = 100;

/// One measurement.
#[derive(Clone, Debug, Serialize)]
pub struct AckRow {
    /// Bytes of a frame with text.
    pub frame_bytes: u16,
    /// Cycles of latency of each AXI read and write.
    pub axi_latency: u32,
    /// Segments of which nothing else was sent between.
    pub segments: usize,
    /// Cycles: the middle of all segments, and the longest.
    pub middle: u64,
    /// See `middle`.
    pub longest: u64,
}

/// Measures so many segments of one length.
///
/// # Errors
/// When the load does not start, a segment is not answered, or a watcher saw a violation.
pub fn measure(segment_bytes: u16, axi_latency: u32, segments: u64) -> Result<AckRow> {
    let memory = HostMemory::new();
    let device = RtlNic::with_timing(&memory, PERIOD_NS, AxiTiming::fixed(axi_latency));
    let traffic =
        Traffic { connections: 1, segment_bytes, receives: true, sends: false, most_ahead: 1, distance: 0 };
    let mut load = Load::new(device, memory, traffic)?;
    load.device_mut().mmio_write(regs::ACK_FREQUENCY.offset, 1);
    let (mut cycles, mut answered, mut wait) = (Vec::new(), 0, Wait::default());
    for _ in 0..MOST_TURNS * (WARM_UP + segments) {
        let waited = wait.turn(&mut load)?;
        answered += u64::from(waited.is_some());
        cycles.extend(waited.filter(|_| answered > WARM_UP));
        if answered == WARM_UP + segments {
            break;
        }
    }
    if let Some(text) = load.device().violations() {
        bail!("a watcher saw a violation:\n{text}");
    }
    let of_bus = u64::from(segment_bytes.div_ceil(BEAT_BYTES)) + u64::from(axi_latency);
    cycles.iter_mut().for_each(|c| *c = c.saturating_sub(of_bus));
    cycles.sort_unstable();
    let (Some(&middle), Some(&longest)) = (cycles.get(cycles.len() / 2), cycles.last()) else {
        bail!("no segment was answered alone");
    };
    let frame_bytes = segment_bytes + HEADERS;
    Ok(AckRow { frame_bytes, axi_latency, segments: cycles.len(), middle, longest })
}

/// A segment that waits for its acknowledgment.
#[derive(Default)]
struct Wait {
    /// When its last beat was taken, and frames that the NIC had sent before.
    of: Option<(u64, u64)>,
}

impl Wait {
    /// A turn of the host. Cycles that the segment waited, if it was answered and nothing else was sent.
    fn turn(&mut self, load: &mut Load<RtlNic>) -> Result<Option<u64>> {
        let before = load.device().stats();
        load.step()?;
        let mut device = load.device_mut();
        let (after, rig) = (device.stats(), device.rig());
        let (came, left) = (rig.source.last_at(), rig.sink.first_at());
        if after.rx_frames > before.rx_frames {
            self.of = Some((came, before.tx_frames));
        }
        match self.of {
            Some((came, sent)) if after.tx_frames > sent => {
                self.of = None;
                Ok((after.tx_frames == sent + 1 && left > came).then(|| left - came))
            }
            _ => Ok(None),
        }
    }
}
