//! Benchmarks: figures that a machine's other load disturbs as little as possible, as a table and as JSON.

mod load;
mod sim;

use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

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
}

/// Runs a benchmark; true if its target was met.
///
/// # Errors
/// When something could not be set up, a watcher saw a violation, or the result could not be written.
pub fn run(args: &Args) -> Result<bool> {
    match &args.what {
        What::Sim(options) => {
            let result = sim::measure(options, !args.json)?;
            write(&args.out.join("sim.json"), &result, args.json)?;
            if !args.json {
                print!("{result}");
            }
            Ok(result.is_met())
        }
    }
}

fn write(path: &Path, result: &impl serde::Serialize, echo: bool) -> Result<()> {
    let text = serde_json::to_string_pretty(result)?;
    let dir = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    std::fs::write(path, format!("{text}\n")).with_context(|| format!("cannot write {}", path.display()))?;
    if echo {
        println!("{text}");
    }
    Ok(())
}
