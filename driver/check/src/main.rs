//! `chimney-check`: the list of checks on a device, without a simulator.

use clap::Parser;
use std::process::ExitCode;

/// Run the driver's list of checks on a device that has the echo peer on its wire.
#[derive(Parser)]
#[command(name = "chimney-check", version)]
struct Cli {
    #[command(flatten)]
    args: chimney_check::Args,
}

fn main() -> ExitCode {
    match chimney_check::check(&Cli::parse().args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
