//! `demo` and `bench`: set-up, then over to the `chimney` program.

use std::os::unix::process::CommandExt;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::needs::{self, Role};
use crate::{paths, setup, vm};

/// The option of the demo that wants a guest.
const VM: &str = "--vm";

/// What follows `demo` or `bench` on the command line; the program knows what it means.
#[derive(clap::Args)]
pub struct Args {
    /// Options, for example `demo --loss 1% --seed 7 --wave` or `bench sim --json` (each has --help)
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

/// Never returns if all is well: this process becomes cargo, and cargo becomes the program.
///
/// So a Ctrl-C or a SIGTERM reaches the one that has something to clean up, and its exit status is ours.
pub fn run(command: &str, args: Args) -> Result<ExitCode> {
    let found = setup::ensure(setup::Purpose::Demo)?;
    let mut cargo = paths::cargo();
    found.apply(&mut cargo);
    cargo.args(["run", "--release", "--locked", "--package", "chimney"]);
    // Models that can write waves are slower, so they are built only when asked for.
    if args.args.iter().any(|arg| arg == "--wave") {
        needs::check(Role::Wave).map_err(anyhow::Error::msg).context("--wave")?;
        cargo.args(["--features", "trace"]);
    }
    cargo.args(["--", command]).args(&args.args);
    if command == "demo" && args.args.iter().any(|arg| arg == VM) {
        let machine = vm::demo::prepare().context(VM)?;
        cargo.arg("--").args(machine);
    }
    Err(cargo.exec()).context("cannot start cargo")
}
