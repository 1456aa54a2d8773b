//! The `chimney` command.

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// An open TCP chimney: live TCP connections move into a NIC and back.
#[derive(Parser)]
#[command(name = "chimney", version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Move live TCP connections into the simulated NIC and back while files are transferred.
    Demo(chimney::demo::Args),
    /// Measure something and write it as JSON, too.
    Bench(chimney::bench::Args),
}

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) if error.use_stderr() => {
            // One line: what is wrong, and where help is.
            let text = error.to_string();
            let line = text.lines().find(|l| !l.trim().is_empty()).unwrap_or("bad arguments");
            eprintln!("{} (see --help)", line.trim());
            return ExitCode::from(2);
        }
        Err(help) => help.exit(),
    };
    let result = match args.command {
        Command::Demo(args) => chimney::demo::run(&args),
        Command::Bench(args) => chimney::bench::run(&args),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
