//! The table for a person and the JSON for a program.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{json, Value};

use super::flow::Synthesis;
use super::part::{Part, SPEED, TARGET_MHZ};
use crate::display::time;
use crate::paths;

/// The slowest paths that end in one block.
pub struct Path {
    /// The block, as a path of instance names.
    pub block: String,
    /// The register (or memory) at its end.
    pub end: String,
    /// From clock to the end's input.
    pub ns: f64,
    /// How many ends in this block are later than the target clock allows.
    pub late: usize,
}

/// What place and route found.
pub struct Placement {
    /// The fastest clock that holds everywhere.
    pub fmax_mhz: f64,
    /// By block, the slowest first.
    pub slowest: Vec<Path>,
    /// How long it took.
    pub took: Duration,
}

/// One part.
pub struct Row {
    /// Which.
    pub part: &'static Part,
    /// Sizes.
    pub synthesis: Synthesis,
    /// The clock; absent after `--synth-only`.
    pub placement: Option<Placement>,
}

/// Blocks whose slowest path is shown.
const SHOWN: usize = 10;

impl Path {
    /// Reads nextpnr's report: the clock, and the slowest path into each block.
    ///
    /// # Errors
    /// Not what nextpnr writes, or no clock in it.
    pub fn from_report(text: &str) -> Result<(f64, Vec<Path>)> {
        let value: Value = serde_json::from_str(text).context("the report of nextpnr")?;
        let clocks = value["fmax"].as_object().into_iter().flatten();
        let fmax = clocks.filter_map(|(_, c)| c["achieved"].as_f64()).fold(f64::INFINITY, f64::min);
        anyhow::ensure!(fmax.is_finite(), "the report of nextpnr names no clock");
        let mut found: Vec<Path> = Vec::new();
        for net in value["detailed_net_timings"].as_array().into_iter().flatten() {
            for end in net["endpoints"].as_array().into_iter().flatten() {
                let delays = end["delay"].as_array().into_iter().flatten().filter_map(Value::as_f64);
                let ns = delays.fold(0.0, f64::max);
                if let Some(cell) = end["cell"].as_str() {
                    note(&mut found, cell, ns);
                }
            }
        }
        found.sort_by(|a, b| b.ns.total_cmp(&a.ns).then_with(|| a.block.cmp(&b.block)));
        Ok((fmax, found))
    }
}

/// `core.proto.control.s$st_TRELLIS_FF_Q` is an end in block `proto.control`.
fn note(found: &mut Vec<Path>, cell: &str, ns: f64) {
    let Some((block, end)) = cell.rsplit_once('.') else { return };
    let Some(block) = block.strip_prefix("core").map(|b| b.trim_start_matches('.')) else { return };
    let end = end.split("_TRELLIS").next().unwrap_or(end);
    let late = usize::from(ns > 1000.0 / f64::from(TARGET_MHZ));
    match found.iter_mut().find(|p| p.block == block) {
        None => found.push(Path { block: block.to_owned(), end: end.to_owned(), ns, late }),
        Some(path) => {
            path.late += late;
            if ns > path.ns {
                (path.ns, path.end) = (ns, end.to_owned());
            }
        }
    }
}

fn seconds(row: &Row) -> f64 {
    let took = row.synthesis.took + row.placement.as_ref().map_or(Duration::ZERO, |p| p.took);
    (took.as_secs_f64() * 10.0).round() / 10.0
}

/// The rows as a program wants them.
pub fn json(rows: &[Row]) -> String {
    let round = |mhz: f64| (mhz * 100.0).round() / 100.0;
    let rows: Vec<Value> = rows
        .iter()
        .map(|row| {
            let core = row.synthesis.core;
            json!({
                "part": row.part.name,
                "speed": SPEED,
                "connections": row.part.connections,
                "fmax_mhz": row.placement.as_ref().map(|p| round(p.fmax_mhz)),
                "lut": core.lut,
                "lut_ram": core.lut_ram,
                "ff": core.ff,
                "ebr": core.ebr,
                "dsp": core.dsp,
                "lut_available": row.part.lut,
                "ebr_available": row.part.ebr,
                "seconds": seconds(row),
                "verilog_sha256": row.synthesis.sha256,
            })
        })
        .collect();
    serde_json::to_string_pretty(&json!({ "target_mhz": TARGET_MHZ, "rows": rows })).unwrap_or_default()
}

/// Writes `target/fpga/core.json`.
///
/// # Errors
/// It cannot be written.
pub fn write(rows: &[Row]) -> Result<PathBuf> {
    let path = paths::target_dir().join("fpga/core.json");
    fs::write(&path, json(rows) + "\n").with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

/// The rows as a person wants them.
pub fn table(rows: &[Row]) -> String {
    let mut out = format!(
        "\n{:<13} {:>11} {:>8} {:>14} {:>8} {:>14} {:>12} {:>4} {:>12}\n",
        "part", "connections", "MHz", "LUT", "LUT RAM", "FF", "EBR", "DSP", "time"
    );
    for row in rows {
        let core = row.synthesis.core;
        let of = |n: u64, all: u64| format!("{n} {:.0} %", 100.0 * n as f64 / all as f64);
        let mhz = row.placement.as_ref().map_or("-".into(), |p| format!("{:.1}", p.fmax_mhz));
        let took = time(Duration::from_secs_f64(seconds(row)));
        let _ = writeln!(
            out,
            "{:<13} {:>11} {mhz:>8} {:>14} {:>8} {:>14} {:>12} {:>4} {took:>12}",
            row.part.name,
            row.part.connections,
            of(core.lut, row.part.lut),
            core.lut_ram,
            of(core.ff, row.part.ff),
            of(core.ebr, row.part.ebr),
            core.dsp,
        );
    }
    for row in rows {
        blocks(row, &mut out);
        slowest(row, &mut out);
    }
    out + "\n"
}

fn blocks(row: &Row, out: &mut String) {
    if row.synthesis.blocks.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n{}, each block with all in it, not flattened:", row.part.name);
    let _ = writeln!(out, "{:>8} {:>8} {:>8} {:>5} {:>4}  block", "LUT", "LUT RAM", "FF", "EBR", "DSP");
    for (name, c) in &row.synthesis.blocks {
        let _ = writeln!(out, "{:>8} {:>8} {:>8} {:>5} {:>4}  {name}", c.lut, c.lut_ram, c.ff, c.ebr, c.dsp);
    }
}

fn slowest(row: &Row, out: &mut String) {
    let Some(placement) = &row.placement else { return };
    let _ = writeln!(out, "\n{}, the slowest path into each block:", row.part.name);
    let _ = writeln!(out, "{:>8} {:>10}  block, register", "ns", "late ends");
    for p in placement.slowest.iter().take(SHOWN) {
        let _ = writeln!(out, "{:>8.2} {:>10}  {}, {}", p.ns, p.late, p.block, p.end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fpga::cells::Cells;
    use crate::fpga::part::ALL;

    const REPORT: &str = r#"{"fmax": {"clock": {"achieved": 91.5, "constraint": 125}},
        "detailed_net_timings": [
          {"endpoints": [{"cell": "core.a.b.x_TRELLIS_FF_Q_3", "delay": [1.0, 9.5]},
                         {"cell": "held_TRELLIS_FF_Q", "delay": [20.0, 20.0]}]},
          {"endpoints": [{"cell": "core.a.b.y_TRELLIS_FF_Q", "delay": [8.5, 2.0]},
                         {"cell": "core.c.mem.0.0", "delay": [3.0, 3.0]}]}]}"#;

    #[test]
    fn the_slowest_path_of_each_block_is_found_in_the_report() {
        let (fmax, paths) = Path::from_report(REPORT).expect("well formed");
        assert_eq!(fmax, 91.5);
        let seen: Vec<_> = paths.iter().map(|p| (p.block.as_str(), p.end.as_str(), p.ns, p.late)).collect();
        assert_eq!(seen, [("a.b", "x", 9.5, 2), ("c.mem.0", "0", 3.0, 0)]);
        assert!(Path::from_report("{}").is_err());
    }

    #[test]
    fn a_row_names_what_the_gate_asks_for() {
        let core = Cells { lut: 21_924, ff: 7, ebr: 54, ..Cells::default() };
        let synthesis =
            Synthesis { core, blocks: vec![], sha256: "ab".into(), took: Duration::from_millis(1500) };
        let (fmax_mhz, slowest) = Path::from_report(REPORT).expect("well formed");
        let placement = Some(Placement { fmax_mhz, slowest, took: Duration::from_secs(2) });
        let rows = [Row { part: &ALL[0], synthesis, placement }];
        let value: Value = serde_json::from_str(&json(&rows)).expect("JSON");
        let row = &value["rows"][0];
        assert_eq!((row["part"].as_str(), row["connections"].as_u64()), (Some("LFE5UM5G-45F"), Some(256)));
        assert_eq!((row["fmax_mhz"].as_f64(), row["seconds"].as_f64()), (Some(91.5), Some(3.5)));
        assert_eq!((row["lut"].as_u64(), row["ff"].as_u64()), (Some(21_924), Some(7)));
        assert_eq!((row["ebr"].as_u64(), row["verilog_sha256"].as_str()), (Some(54), Some("ab")));
        let table = table(&rows);
        assert!(table.contains("21924 50 %") && table.contains("54 50 %"), "{table}");
        assert!(table.contains("9.50          2  a.b, x"), "{table}");
    }
}
