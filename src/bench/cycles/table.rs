//! The table of `chimney bench cycles`.

use super::{Cycles, Row};
use std::fmt;

/// A figure, or what stands for one that was not asked for.
fn show(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |v| format!("{v:.1}"))
}

impl fmt::Display for Cycles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.segments(f)?;
        self.others(f)?;
        self.figures(f)
    }
}

impl Cycles {
    fn segments(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "cycles per segment with text, {} segments a row", self.segments)?;
        writeln!(f, "received: the least distance of frames at which none is lost")?;
        writeln!(f, "  frame  connections  direction  AXI latency       rx       tx")?;
        for Row { frame_bytes, connections, direction, axi_latency, rx, tx, .. } in &self.rows {
            let (rx, tx) = (show(*rx), show(*tx));
            writeln!(
                f,
                "  {frame_bytes:>5}  {connections:>11}  {direction:<9}  {axi_latency:>11}  {rx:>7}  {tx:>7}"
            )?;
        }
        Ok(())
    }

    fn others(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\ncycles from a segment to its acknowledgment, without the bus's own")?;
        writeln!(f, "  frame  AXI latency  segments   middle  longest")?;
        for r in &self.ack_rows {
            let (bytes, latency, count) = (r.frame_bytes, r.axi_latency, r.segments);
            writeln!(f, "  {bytes:>5}  {latency:>11}  {count:>8}  {:>7}  {:>7}", r.middle, r.longest)?;
        }
        writeln!(f, "\ncycles for many connections at once")?;
        writeln!(f, "  connections  AXI latency  offload   upload")?;
        for r in &self.bulk_rows {
            writeln!(f, "  {:>11}  {:>11}  {:>7}  {:>7}", r.connections, r.axi_latency, r.offload, r.upload)?;
        }
        writeln!(f, "\nbits on chip per connection")?;
        for (name, bits) in &self.state_bits {
            writeln!(f, "  {name:<42}  {bits:>7}")?;
        }
        Ok(())
    }

    fn figures(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n  worst row                                        rx       tx   wanted  elsewhere")?;
        let mut pair = |name: &str, rx, tx, rest: &str| {
            writeln!(f, "  {name:<42}  {:>7}  {:>7}  {rest}", show(rx), show(tx))
        };
        pair(
            "smallest frames, 8 connections",
            self.min_segment_rx,
            self.min_segment_tx,
            "     10  7 without text, the bus 8",
        )?;
        pair("smallest frames, 1 connection", self.min_segment_rx_one, self.min_segment_tx_one, "")?;
        pair(
            "largest frames, 1 connection",
            self.mss_segment_rx,
            self.mss_segment_tx,
            "    192  193, the bus 190",
        )?;
        let mut one =
            |name: &str, value, rest: &str| writeln!(f, "  {name:<42}  {:>7}           {rest}", show(value));
        one("from a segment to its acknowledgment", self.rx_to_ack, "     32  14 without text")?;
        one("an event, different connections", self.events_different, "      3  7")?;
        one("an event, the same connection", self.events_same, "      6")?;
        one("offload of 1000 connections", self.offload_1000, "  50000")?;
        one("upload of 1000 connections", self.upload_1000, "  50000")?;
        let bytes = self.state_bytes_per_connection as f64;
        one("bytes on chip per connection", Some(bytes), "    288")
    }
}
