//! The `chimney` command.

use clap::error::ErrorKind;
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
    /// The NIC as a PCI device for anything that speaks vfio-user.
    Device(chimney::device::Args),
    /// Run the driver's list of checks on such a device.
    Check(chimney::transports::CheckArgs),
    /// Measure something and write it as JSON, too.
    Bench(chimney::bench::Args),
}

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error)
            if error.use_stderr() && error.kind() != ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand =>
        {
            eprintln!("{} (see --help)", first_line(&error.to_string()));
            return ExitCode::from(2);
        }
        Err(help) => help.exit(),
    };
    let result = match args.command {
        Command::Demo(args) => chimney::demo::run(&args),
        Command::Device(args) => chimney::device::run(&args),
        Command::Check(args) => chimney::transports::check(&args),
        Command::Bench(args) => chimney::bench::run(&args),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {}", one_line(&error));
            ExitCode::FAILURE
        }
    }
}

/// What is wrong, and what would be right if that is in the second line.
fn first_line(text: &str) -> String {
    let mut lines = text.lines().map(str::trim).filter(|l| !l.is_empty());
    let what = lines.next().unwrap_or("error: bad arguments");
    match lines.next().filter(|l| l.starts_with("[possible values:")) {
        Some(values) => format!("{what} {values}"),
        None => what.to_owned(),
    }
}

/// The error and its causes in one line; a cause that the text before it quotes is not said again.
fn one_line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if line.is_empty() {
            line = cause;
        } else if !line.ends_with(&cause) {
            line = format!("{line}: {cause}");
        }
    }
    line.replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;
    use clap::CommandFactory;

    #[test]
    fn the_options_do_not_contradict_each_other() {
        Args::command().debug_assert();
    }

    #[test]
    fn an_error_is_one_line_that_says_nothing_twice() {
        let inner = std::io::Error::other("no such wire");
        let error = Err::<(), _>(inner).context("the TAP is gone: no such wire").context("broken\nnow");
        assert_eq!(one_line(&error.expect_err("an error")), "broken now: the TAP is gone: no such wire");
    }
}
