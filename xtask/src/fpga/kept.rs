//! Committed reports of place and route, `constraints/reports/<part>.json`: that takes too long to be done with every test.
//!
//! A report belongs to the RTL whose Verilog has its `verilog_sha256`. `cargo xtask fpga reports` compares, a step of
//! `cargo xtask test --long`: while the core still changes with every commit, a report is of a commit, not of each.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use serde_json::Value;

use super::flow::Flow;
use super::part::{Part, ALL};
use super::report::{self, Row};
use crate::{paths, wheel};

fn path(part: &Part) -> PathBuf {
    paths::root().join("constraints/reports").join(format!("{}.json", part.name))
}

/// Keeps the rows that were placed; returns the files.
///
/// # Errors
/// The disk refuses.
pub fn keep(rows: Vec<Row>) -> Result<Vec<PathBuf>> {
    let placed = rows.into_iter().filter(|row| row.placement.is_some());
    placed
        .map(|row| {
            let file = path(row.part);
            let folder = file.parent().context("a folder")?;
            fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
            let text = format!("{}\n", report::json(&[row]));
            fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
            Ok(file)
        })
        .collect()
}

/// The hash in a report.
fn hash_in(text: &str) -> Result<String> {
    let value: Value = serde_json::from_str(text).context("a report")?;
    let hash = value["rows"][0]["verilog_sha256"].as_str().context("a report without verilog_sha256")?;
    Ok(hash.to_owned())
}

/// Compares; the last line has the form of `cargo test`'s, and a part without a report counts as ignored.
///
/// # Errors
/// A file that is no report, or the Verilog cannot be exported. A report of another RTL is not an error but an exit status.
pub fn check() -> Result<ExitCode> {
    let (with, without): (Vec<&'static Part>, Vec<&'static Part>) =
        ALL.iter().partition(|part| path(part).exists());
    without.iter().for_each(|part| println!("{}: no report yet", part.name));
    let (mut passed, mut failed) = (0, 0);
    if !with.is_empty() {
        let mut flow = Flow::new(wheel::FPGA.install()?, 1)?;
        flow.export(&with)?;
        for part in with {
            let file = path(part);
            let text =
                fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
            let ok = hash_in(&text).with_context(|| file.display().to_string())? == flow.hash(part)?;
            println!(
                "test fpga::{} is placed as it stands ... {}",
                part.name,
                if ok { "ok" } else { "FAILED" }
            );
            *(if ok { &mut passed } else { &mut failed }) += 1;
        }
    }
    let word = if failed == 0 { "ok" } else { "FAILED" };
    println!("test result: {word}. {passed} passed; {failed} failed; {} ignored", without.len());
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_names_the_rtl_it_is_of() {
        let text = r#"{"rows": [{"part": "LFE5UM5G-45F", "verilog_sha256": "ab"}]}"#;
        assert_eq!(hash_in(text).expect("well formed"), "ab");
        assert!(hash_in("{}").is_err() && hash_in("no").is_err());
    }
}
