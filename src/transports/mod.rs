//! One list of checks for every transport of the driver.
//!
//! ```text
//!   list of checks --> Site: in-process | vfio-user      (a device with the echo peer on its wire, and a way to it)
//!                        |
//!                        v
//!                      Machine: driver and host stack over the site's bus
//! ```
//! A check knows a bus and nothing of what is behind it; where the device's side can be asked for its counters, it proves
//! what the driver claims about itself.

mod checks;
mod machine;
mod site;

pub use machine::Machine;
pub use site::{Crossings, InProcess, Site, VfioUserSite};

use crate::output::listened;
use anyhow::Result;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Options of `chimney check`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// The socket of a device with the echo peer on its wire: `chimney device --wire echo --socket PATH`
    #[arg(long)]
    pub socket: PathBuf,
}

/// Runs the list on a device in another process; true if all of it passed.
///
/// # Errors
/// When nothing can be said.
pub fn check(args: &Args) -> Result<bool> {
    let outcomes = run(&mut VfioUserSite::at(&args.socket));
    let is_good = outcomes.iter().all(|outcome| outcome.result.is_ok());
    listened(writeln!(std::io::stdout(), "{}", table(&[("vfio-user".into(), outcomes)])))?;
    Ok(is_good)
}

/// A check.
type Check<S> = fn(&mut S) -> Result<String>;

/// What became of a check.
#[derive(Debug)]
pub struct Outcome {
    /// What was checked.
    pub name: &'static str,
    /// What was seen, or why it failed.
    pub result: Result<String, String>,
    /// How long it took.
    pub took: Duration,
}

/// The list, in order: first what later ones rest on.
fn list<S: Site>() -> [(&'static str, Check<S>); 9] {
    [
        ("config space names the function and its capabilities", checks::config_space),
        ("registers answer, and a reset makes them forget", checks::registers),
        ("no DMA without bus master, DMA with it", checks::bus_master),
        ("memory that the device may only read stays as it is", checks::read_only),
        ("DMA to memory that was given back is a fault", checks::unmapped),
        ("a connection in the host: ordinary frames both ways", checks::in_host),
        ("offload, 1 MiB each way, upload", checks::offloaded),
        ("the next driver finds a device in order", checks::after_a_crash),
        ("after a stop the device does nothing", checks::stopped),
    ]
}

/// Runs the list on a site.
pub fn run<S: Site>(site: &mut S) -> Vec<Outcome> {
    let one = |(name, check): (&'static str, Check<S>)| {
        let start = Instant::now();
        let result = check(site).map_err(|error| format!("{error:#}"));
        Outcome { name, result, took: start.elapsed() }
    };
    list().into_iter().map(one).collect()
}

/// The list with a column for each site: its name and what became of its checks.
pub fn table(columns: &[(String, Vec<Outcome>)]) -> String {
    let mut text = format!("{:<56}", "check");
    for (name, _) in columns {
        let _ = write!(text, " {name:>20}");
    }
    let rows = columns.first().map_or(0, |(_, outcomes)| outcomes.len());
    for row in 0..rows {
        let _ = write!(text, "\n{:<56}", columns[0].1[row].name);
        for (_, outcomes) in columns {
            let outcome = &outcomes[row];
            let verdict = if outcome.result.is_ok() { "PASS" } else { "FAIL" };
            let _ = write!(text, " {verdict:>11} {:>6.2} s", outcome.took.as_secs_f64());
        }
    }
    for (name, outcomes) in columns {
        for outcome in outcomes {
            match &outcome.result {
                Ok(seen) if seen.is_empty() => {}
                Ok(seen) => drop(write!(text, "\n  {name}, {}: {seen}", outcome.name)),
                Err(why) => drop(write!(text, "\n  {name}, {} FAILED: {why}", outcome.name)),
            }
        }
    }
    text
}
