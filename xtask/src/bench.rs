//! Benchmarks: set-up, then over to the `chimney` program.

use std::os::unix::process::CommandExt;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::{paths, setup};

/// What follows `bench` on the command line; `chimney bench` knows what it means.
#[derive(clap::Args)]
pub struct Args {
    /// What to measure and its options, for example `sim --json` (see `cargo xtask bench --help`)
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

/// Never returns if all is well: this process becomes cargo, and cargo becomes the benchmark.
pub fn run(args: Args) -> Result<ExitCode> {
    let found = setup::ensure(setup::Purpose::Demo)?;
    let mut cargo = paths::cargo();
    found.apply(&mut cargo);
    cargo.args(["run", "--release", "--locked", "--package", "chimney", "--", "bench"]).args(args.args);
    Err(cargo.exec()).context("cannot start cargo")
}
