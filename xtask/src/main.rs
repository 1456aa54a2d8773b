//! `cargo xtask`: set-up, demo, test, and a try on a fresh machine.
//!
//! This program must build on a machine that has nothing but Rust and git: it depends on no other
//! crate of the workspace, runs no build script that needs a tool, and everything it lacks it asks
//! [`setup`] for.
//!
//! | module | subject |
//! |---|---|
//! | [`needs`] | what the project needs from the machine, and how each thing is recognised |
//! | [`setup`] | finds it, installs what is missing, or says what to do |
//! | [`apt`], [`wheel`] | the two ways to install: Debian packages as root, Python wheels without |
//! | [`mod@test`] | the steps that CI runs, with progress, times and a table |
//! | [`program`] | demo and bench: hands over to the `chimney` program |
//! | [`fpga`] | synthesis, place and route |
//! | [`vm`] | a guest with a real kernel, in QEMU |
//! | [`fresh`] | runs the two in a freshly made Debian 12 |
//! | [`process`], [`display`], [`paths`] | child processes that die with us; their progress; where things lie |

mod apt;
mod display;
mod fpga;
mod fresh;
mod needs;
mod paths;
mod process;
mod program;
mod setup;
mod test;
mod vm;
mod wheel;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Set-up, demo and test of the chimney. Each command installs what it needs.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Move a live TCP connection into the simulated NIC and back (options go to `chimney demo`)
    #[command(disable_help_flag = true)]
    Demo(program::Args),
    /// Measure something, for example `bench sim`; JSON goes to target/bench (options go to `chimney bench`)
    #[command(disable_help_flag = true)]
    Bench(program::Args),
    /// Everything CI checks: format, clippy, docs, all tests
    Test(test::Args),
    /// Synthesize and place the core for the FPGAs of the gate; JSON goes to target/fpga
    Fpga(fpga::Args),
    /// A guest with a real kernel, in QEMU, in which the driver runs on the kernel's VFIO
    Vm(vm::Args),
    /// Only the set-up: find the tools, install what is missing
    Setup,
    /// Run `test` or `demo` in a freshly made Debian 12 that has only Rust and git (root only)
    Fresh(fresh::Args),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Demo(args) => program::run("demo", args),
        Command::Bench(args) => program::run("bench", args),
        Command::Test(args) => test::run(&args),
        Command::Fpga(args) => fpga::run(&args),
        Command::Vm(args) => vm::run(&args),
        Command::Setup => setup::ensure(setup::Purpose::Test).map(|_| ExitCode::SUCCESS),
        Command::Fresh(args) => fresh::run(&args),
    };
    done.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
