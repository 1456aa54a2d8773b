//! Benchmarks: figures that a machine's other load disturbs as little as possible, as a table and as JSON.

mod blaster;
mod cycles;
mod load;
mod loss;
mod sim;

use crate::output::listened;
use anyhow::{Context, Result};
use std::fmt;
use std::io::Write;
use std::path::PathBuf;

/// Options of `chimney bench`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// What to measure
    #[command(subcommand)]
    what: What,
    /// Where the JSON goes
    #[arg(long, global = true, default_value = "target/bench")]
    out: PathBuf,
    /// Only the JSON on standard output
    #[arg(long, global = true)]
    json: bool,
}

#[derive(clap::Subcommand, Clone, Debug)]
enum What {
    /// Speed of the simulated NIC under full load, and its ratio to a fixed reference block in the same run
    Sim(sim::Args),
    /// Clock cycles of the NIC per segment
    Cycles(cycles::Args),
    /// Goodput over a link that loses frames: the NIC and a Linux kernel as senders, the same frames lost (root)
    Loss(loss::Args),
}

/// Runs a benchmark; true if its target was met.
///
/// # Errors
/// When something could not be set up, a watcher saw a violation, or the result could not be written.
pub fn run(args: &Args) -> Result<bool> {
    match &args.what {
        What::Sim(options) => {
            let result = sim::measure(options, !args.json)?;
            report(args, "sim", &result)?;
            Ok(result.is_met())
        }
        What::Cycles(options) => {
            report(args, "cycles", &cycles::measure(options, !args.json)?)?;
            Ok(true)
        }
        What::Loss(options) => {
            report(args, "loss", &loss::measure(options, !args.json)?)?;
            Ok(true)
        }
    }
}

fn bar(steps: u64, is_shown: bool) -> indicatif::ProgressBar {
    if is_shown {
        indicatif::ProgressBar::new(steps)
    } else {
        indicatif::ProgressBar::hidden()
    }
}

/// Writes the JSON file, and the table or the JSON to standard output.
fn report(args: &Args, name: &str, result: &(impl serde::Serialize + fmt::Display)) -> Result<()> {
    let text = serde_json::to_string_pretty(result)?;
    std::fs::create_dir_all(&args.out).with_context(|| format!("cannot make {}", args.out.display()))?;
    let path = args.out.join(name).with_extension("json");
    std::fs::write(&path, format!("{text}\n")).with_context(|| format!("cannot write {}", path.display()))?;
    let mut out = std::io::stdout().lock();
    listened(if args.json { writeln!(out, "{text}") } else { write!(out, "{result}") })
}
