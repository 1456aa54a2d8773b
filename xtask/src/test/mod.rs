//! `cargo xtask test`: everything CI checks, step by step.

mod steps;
mod tally;

use std::fs::File;
use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context, Result};

use self::steps::{Step, LONG, STEPS};
use self::tally::{Kind, Tally};
use crate::display::{self, Display, Out};
use crate::process::{self, Event};
use crate::{needs, paths, setup};

/// Options of `cargo xtask test`.
#[derive(clap::Args)]
pub struct Args {
    /// Run only these steps, for example: test vfio
    #[arg(value_name = "STEP")]
    steps: Vec<String>,
    /// The full counts of the random tests (sets CHIMNEY_LONG=1)
    #[arg(long)]
    long: bool,
    /// Run only this step (may be given more than once)
    #[arg(long, value_name = "STEP")]
    only: Vec<String>,
    /// Run the later steps too when one fails
    #[arg(long)]
    keep_going: bool,
    /// Print the steps and stop
    #[arg(long)]
    list: bool,
}

/// How a step ended.
struct Outcome {
    step: &'static Step,
    /// `None`: not run, because an earlier one failed.
    passed: Option<bool>,
    took: Duration,
    tally: Tally,
}

/// Runs the steps in order, by default up to the first that fails; the last line is `N passed, M failed`.
///
/// # Errors
/// An unknown step, or a machine that cannot build. A failing step is not an error but an exit status.
pub fn run(args: &Args) -> Result<ExitCode> {
    if args.list {
        for step in STEPS {
            println!("{:<8} {}", step.name, step.about);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let only: Vec<String> = args.only.iter().chain(&args.steps).cloned().collect();
    let chosen = choose(&only, args.long)?;
    let found = setup::ensure(setup::Purpose::Test)?;
    let chosen = possible(chosen);
    let mut outcomes: Vec<Outcome> = Vec::new();
    for (index, step) in chosen.iter().enumerate() {
        let failed = outcomes.iter().any(|o| o.passed == Some(false));
        if process::is_stopped() || (failed && !args.keep_going) {
            outcomes.push(Outcome { step, passed: None, took: Duration::ZERO, tally: Tally::default() });
            continue;
        }
        let title = format!("[{}/{}] {:<7}", index + 1, chosen.len(), step.name);
        let display = Display::start(&title, step.about, Out::Stdout);
        outcomes.push(run_step(step, args.long, &found, display)?);
    }
    let status = finish(&outcomes);
    ensure!(!process::is_stopped(), "stopped");
    Ok(status)
}

fn choose(only: &[String], long: bool) -> Result<Vec<&'static Step>> {
    let steps = || STEPS.iter().chain(LONG.iter().filter(|_| long));
    if let Some(unknown) = only.iter().find(|name| !steps().any(|s| s.name == **name)) {
        let names: Vec<&str> = steps().map(|s| s.name).collect();
        bail!("no step '{unknown}'; there are {}", names.join(", "));
    }
    Ok(steps().filter(|s| only.is_empty() || only.iter().any(|name| name == s.name)).collect())
}

/// Without the steps that this machine lacks something for; each is named.
fn possible(mut steps: Vec<&'static Step>) -> Vec<&'static Step> {
    let tools = |step: &Step| match step.tools {
        Some(install) => install().map(drop).map_err(|error| format!("{error:#}")),
        None => Ok(()),
    };
    steps.retain(|step| match step.needs.map_or(Ok(()), needs::check).and_then(|()| tools(step)) {
        Ok(()) => true,
        Err(why) => {
            println!("step {} skipped: {why}", step.name);
            false
        }
    });
    steps
}

/// Runs one step; its whole output goes to a log, and to the screen if it fails.
fn run_step(step: &'static Step, long: bool, found: &setup::Found, mut display: Display) -> Result<Outcome> {
    let path = paths::state_dir().join(format!("{}.log", step.name));
    std::fs::create_dir_all(paths::state_dir()).context("cannot create the folder for logs")?;
    let mut log = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    let mut output = Vec::new();
    let mut tally = Tally::default();
    let started = Instant::now();
    let status = process::run(step.command(long, found), |event| match event {
        Event::Line(line) => {
            // A full disk must not hide the result of the step.
            let _ = writeln!(log, "{line}");
            display.line(line, tally.read(line) == Kind::Summary);
            output.push(line.to_owned());
        }
        Event::Tick => display.tick(),
    })?;
    let (passed, took) = (status.success(), started.elapsed());
    let what = if passed { tally.to_string() } else { process::describe(status) };
    display.finish(passed, took, &what);
    if !passed && !process::is_stopped() {
        println!("---- output of '{}' (also in {}) ----", step.shown(), path.display());
        for line in &output {
            println!("{line}");
        }
        println!("---- end of output ----");
    }
    Ok(Outcome { step, passed: Some(passed), took, tally })
}

/// The table, and the line that a script reads.
fn finish(outcomes: &[Outcome]) -> ExitCode {
    println!();
    println!("{:<8} {:<8} {:>12}", "step", "result", "time");
    let mut total = Tally::default();
    for outcome in outcomes {
        let word = match outcome.passed {
            Some(true) => "ok",
            Some(false) => "FAILED",
            None => "not run",
        };
        let detail = outcome.tally.to_string();
        let time = outcome.passed.map(|_| display::time(outcome.took)).unwrap_or_default();
        let row = format!("{:<8} {word:<8} {time:>12}  {detail}", outcome.step.name);
        println!("{}", row.trim_end());
        total.add(&outcome.tally, outcome.passed);
    }
    let took: Duration = outcomes.iter().map(|o| o.took).sum();
    println!("{:<8} {:<8} {:>12}", "all", "", display::time(took));
    for name in &total.failures {
        println!("failed: {name}");
    }
    println!("{} passed, {} failed", total.passed, total.failed);
    let ok = outcomes.iter().all(|o| o.passed == Some(true));
    if ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_run_in_their_own_order_and_unknown_ones_are_refused() {
        let names = |only: &[&str]| {
            let only: Vec<String> = only.iter().map(|s| (*s).into()).collect();
            choose(&only, false).map(|steps| steps.iter().map(|s| s.name).collect::<Vec<_>>())
        };
        assert_eq!(names(&[]).expect("all").len(), STEPS.len());
        assert_eq!(names(&["tests", "fmt"]).expect("two"), ["fmt", "tests"]);
        assert_eq!(choose(&[], true).expect("all").len(), STEPS.len() + LONG.len());
        let error = names(&["nonsense"]).expect_err("unknown").to_string();
        assert!(error.starts_with("no step 'nonsense'; there are fmt, "), "{error}");
    }
}
