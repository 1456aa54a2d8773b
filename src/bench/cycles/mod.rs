//! Clock cycles of the NIC: figures that no machine disturbs.
//!
//! Definitions: payload checksummed, bytes and shadow record in memory, every second segment acknowledged, a count of
//! segments after warm-up, AXI latency 0 and 150 cycles, each direction alone and both at once. A figure is the worst of its
//! rows. A 64-bit port needs 8 cycles for a frame of 60 bytes and 190 for one of 1514. How each is found: [`rows`], [`ack`],
//! [`events`], [`bulk`].

mod ack;
mod bulk;
mod events;
mod rows;
mod table;

use ack::AckRow;
use anyhow::Result;
use bulk::BulkRow;
use chimney_sim::ffi::STATE;
use rows::{Row, Shape, LATENCIES};
use serde::Serialize;

/// Text that fills the smallest frame, and the largest.
const MIN_TEXT: u16 = 6;
const MSS_TEXT: u16 = 1460;
/// Text of a segment and connections, of the rows.
const KINDS: [(u16, usize); 3] = [(MIN_TEXT, 8), (MIN_TEXT, 1), (MSS_TEXT, 1)];
/// An acknowledgment is waited for so many segments, as a part of those of a row.
const ACK_PART: u64 = 50;
/// Cycles in which events are counted.
const EVENT_CYCLES: u32 = 6000;

/// Options of `chimney bench cycles`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Segments counted for each row
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(100..))]
    segments: u64,
    /// Connections handed over at once
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u16).range(1..=1000))]
    bulk: u16,
    /// Only these figures
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
}

/// Figures that are found together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Smallest frames, 8 connections
    Min,
    /// Smallest frames, 1 connection
    MinOne,
    /// Largest frames
    Mss,
    /// From a segment to its acknowledgment
    Ack,
    /// Events through PROTO
    Events,
    /// Offload and upload of many connections at once
    Bulk,
}

/// A row of segments belongs to one part.
const PARTS: [Part; 3] = [Part::Min, Part::MinOne, Part::Mss];

/// What was measured; a figure that was not asked for is absent.
#[derive(Clone, Debug, Serialize)]
pub struct Cycles {
    /// Smallest frames on 8 connections.
    min_segment_rx: Option<f64>,
    min_segment_tx: Option<f64>,
    /// The same on one connection.
    min_segment_rx_one: Option<f64>,
    min_segment_tx_one: Option<f64>,
    /// Largest frames on one connection.
    mss_segment_rx: Option<f64>,
    mss_segment_tx: Option<f64>,
    /// From the last beat of a segment to the first of its acknowledgment.
    rx_to_ack: Option<f64>,
    /// Cycles per event through PROTO.
    events_different: Option<f64>,
    events_same: Option<f64>,
    /// Cycles for a thousand connections at once.
    offload_1000: Option<f64>,
    upload_1000: Option<f64>,
    /// Everything that the NIC keeps per connection on chip.
    state_bytes_per_connection: usize,
    segments: u64,
    rows: Vec<Row>,
    ack_rows: Vec<AckRow>,
    bulk_rows: Vec<BulkRow>,
    /// Bits, by what they are for.
    state_bits: Vec<(&'static str, usize)>,
}

/// The largest, if there is one.
fn worst(values: impl Iterator<Item = f64>) -> Option<f64> {
    values.reduce(f64::max)
}

impl Cycles {
    fn new(args: &Args, found: Found) -> Self {
        let Found { rows, acks, bulks, events } = found;
        let of_kind = |kind: (u16, usize), of: fn(&Row) -> Option<f64>| {
            worst(rows.iter().filter(|r| (r.segment_bytes, r.connections) == kind).filter_map(of))
        };
        let [min, one, mss] = KINDS;
        let thousand = |of: fn(&BulkRow) -> u64| {
            worst(bulks.iter().filter(|b| b.connections == 1000).map(|b| of(b) as f64))
        };
        Self {
            min_segment_rx: of_kind(min, |r| r.rx),
            min_segment_tx: of_kind(min, |r| r.tx),
            min_segment_rx_one: of_kind(one, |r| r.rx),
            min_segment_tx_one: of_kind(one, |r| r.tx),
            mss_segment_rx: of_kind(mss, |r| r.rx),
            mss_segment_tx: of_kind(mss, |r| r.tx),
            rx_to_ack: worst(acks.iter().map(|r| r.longest as f64)),
            events_different: events.map(|e| e.0),
            events_same: events.map(|e| e.1),
            offload_1000: thousand(|b| b.offload),
            upload_1000: thousand(|b| b.upload),
            state_bytes_per_connection: STATE.iter().map(|s| s.1).sum::<usize>().div_ceil(8),
            segments: args.segments,
            rows,
            ack_rows: acks,
            bulk_rows: bulks,
            state_bits: STATE.to_vec(),
        }
    }
}

/// What the parts found.
#[derive(Default)]
struct Found {
    rows: Vec<Row>,
    acks: Vec<AckRow>,
    bulks: Vec<BulkRow>,
    /// On different connections, and on one.
    events: Option<(f64, f64)>,
}

/// Measures; `progress`: with a bar.
///
/// # Errors
/// When the load does not start, the NIC stands still, or a watcher saw a violation.
pub fn measure(args: &Args, progress: bool) -> Result<Cycles> {
    let wants = |part: &Part| args.only.is_empty() || args.only.contains(part);
    let kinds: Vec<_> = PARTS.iter().zip(KINDS).filter(|(p, _)| wants(p)).map(|(_, k)| k).collect();
    let shapes = Shape::all(&kinds);
    let bar = super::bar(shapes.len() as u64 + 1, progress);
    let mut found = Found::default();
    for latency in LATENCIES {
        if wants(&Part::Ack) {
            for text in [MIN_TEXT, MSS_TEXT] {
                found.acks.push(ack::measure(text, latency, args.segments / ACK_PART)?);
            }
        }
        if wants(&Part::Bulk) {
            found.bulks.push(bulk::measure(args.bulk.into(), latency)?);
        }
    }
    if wants(&Part::Events) {
        found.events = Some((events::measure(false, EVENT_CYCLES)?, events::measure(true, EVENT_CYCLES)?));
    }
    bar.inc(1);
    for shape in shapes {
        found.rows.push(shape.measure(args.segments)?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(Cycles::new(args, found))
}
