//! The guest of `cargo xtask demo --vm`: made before the demo starts, and started by the demo when its NIC is there.
//!
//! ```text
//!   cargo xtask demo --vm: kit, program, file system --> chimney demo --vm -- xtask vm boot
//!                                                          |  (--socket, --job)
//!                                                          +--> xtask vm boot becomes QEMU; its console is standard output
//! ```

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{ensure, Context, Result};
use rustix::process::{set_parent_process_death_signal, Signal};
use serde_json::Value;

use super::guest::{build_check, make_disk, qemu};
use super::kit::Kit;
use crate::paths;
use crate::process::{self, Event};

/// What the check is called.
const NAME: &str = "the demo with driver and host stack in a guest";

/// Options of `cargo xtask vm boot`.
#[derive(clap::Args)]
pub struct Args {
    /// Where the NIC listens
    #[arg(long)]
    socket: PathBuf,
    /// What is to be done, in one word
    #[arg(long, value_parser = word)]
    job: String,
}

/// The kernel's command line is divided at blanks, and its quotes are its own.
fn word(text: &str) -> Result<String, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "=,.:/-_".contains(c);
    if text.chars().all(is_plain) && !text.is_empty() {
        Ok(text.to_owned())
    } else {
        Err("a job is one word".into())
    }
}

/// Makes all that the guest needs. The command that boots it, but for the options.
///
/// # Errors
/// One line: why there can be no guest here.
pub fn prepare() -> Result<Vec<OsString>> {
    let kit = Kit::ensure()?;
    make_disk(&kit, &build_check()?)?;
    machine()
}

fn machine() -> Result<Vec<OsString>> {
    let this = std::env::current_exe().context("this program")?;
    Ok(vec![this.into(), "vm".into(), "boot".into()])
}

/// Never returns if all is well: this process becomes QEMU, and ends with its parent.
///
/// # Errors
/// No kit, no QEMU.
pub fn boot(args: &Args) -> Result<ExitCode> {
    let kit = Kit::ensure()?;
    let dir = paths::state_dir().join("vm");
    let words = qemu(&kit, &dir, &[&args.socket], &[format!("job={}", args.job)]);
    let (program, rest) = words.split_first().context("a command")?;
    set_parent_process_death_signal(Some(Signal::TERM)).context("the end of the parent")?;
    Err(Command::new(program).args(rest).exec()).context("cannot start QEMU")
}

/// Runs the demo with its guest, which was made before. What was seen.
///
/// # Errors
/// What it printed, or what of its result is not as it should be.
pub fn check(chimney: &Path, dir: &Path, is_golden: bool, seed: u64) -> Result<String> {
    let mut command = Command::new(chimney);
    command.args(["demo", "--vm", "--json", "--seed", &seed.to_string(), "--out"]).arg(dir.join("demo"));
    command.args(is_golden.then_some("--golden")).arg("--").args(machine()?);
    let mut lines = Vec::new();
    let status = process::run(command, |event| {
        if let Event::Line(line) = event {
            lines.push(line.to_owned());
        }
    })?;
    judge(&lines.join("\n"), status.success()).with_context(|| format!("{NAME}, seed {seed}"))
}

/// What the result says in one line; an error if it is not good.
fn judge(printed: &str, is_success: bool) -> Result<String> {
    let result: Value = serde_json::from_str(printed).with_context(|| printed.to_owned())?;
    ensure!(result["ok"] == true && is_success, "{}", result["problems"]);
    let device = &result["device_side"];
    let [nic, host] = ["bytes_by_nic", "bytes_by_host"].map(|name| result[name].as_u64().unwrap_or(0));
    // `as`: far below 2^53.
    let share = 100.0 * nic as f64 / (nic + host).max(1) as f64;
    Ok(format!(
        "{NAME} ({:.1} s): both hashes right against {}, {} hand-overs, {share:.1} % of the bytes by the NIC; {} registers read, {} send doorbells, {} interrupts",
        result["seconds"].as_f64().unwrap_or(0.0),
        result["peer"].as_str().unwrap_or("nobody"),
        result["handovers"],
        device["mmio_reads"],
        device["send_doorbells"],
        device["interrupts"],
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_judged_by_its_verdict_and_told_in_one_line() {
        let good = r#"{"ok": true, "peer": "linux", "seconds": 2.5, "handovers": 8, "bytes_by_nic": 9, "bytes_by_host": 1,
            "problems": [], "device_side": {"mmio_reads": 0, "send_doorbells": 70, "interrupts": 3}}"#;
        let seen = judge(good, true).expect("a good result");
        for part in ["(2.5 s)", "against linux", "8 hand-overs", "90.0 %", "0 registers read", "70 send"] {
            assert!(seen.contains(part), "{seen}");
        }
        assert!(judge(good, false).is_err());
        let bad = judge(r#"{"ok": false, "problems": ["the upload's SHA-256 is wrong"]}"#, false);
        assert!(format!("{:#}", bad.expect_err("a bad result")).contains("upload"));
        let said = judge("error: the machine ended", false).expect_err("no result");
        assert!(format!("{said:#}").contains("the machine ended"));
    }

    #[test]
    fn a_job_is_one_word_of_a_kernels_command_line() {
        let job = "seed=1,bytes=4194304,host=fd85::2/64,peer=fd85::1,mtu=1500,ecn=0,offload=1";
        assert_eq!(word(job), Ok(job.to_owned()));
        for wrong in ["", "a b", "a\tb", "\"a\"", "$x"] {
            assert!(word(wrong).is_err(), "{wrong}");
        }
    }
}
