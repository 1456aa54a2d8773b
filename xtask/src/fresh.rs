//! A fresh machine: a Debian 12 made by debootstrap, with Rust and git and nothing else.
//!
//! What happens inside is the script `fresh.sh`, which a person can read and run. It runs in a mount
//! and a process namespace of its own: when it ends, in whatever way, its mounts and processes are
//! gone. This module prepares it, ends it on Ctrl-C, and removes the files afterwards.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{bail, ensure, Context, Result};

use crate::process::{self, Event};
use crate::{apt, needs, paths};

/// Variables that say how to reach the registries; nothing else of our environment enters.
const PASSED: &[&str] = &["SSL_CERT_FILE", "SSL_CERT_DIR", "PIP_INDEX_URL", "PIP_CERT", "DEBIAN_MIRROR"];
/// The same for whole families; `CARGO_HTTP_CAINFO` is one.
const PASSED_PREFIXES: &[&str] = &["CARGO_HTTP_", "CARGO_NET_", "CARGO_SOURCE_"];

/// Options of `cargo xtask fresh`.
#[derive(clap::Args)]
pub struct Args {
    /// Work as an ordinary user inside (add what a user cannot install with --with)
    #[arg(long)]
    user: bool,
    /// Debian packages to install first, separated by commas
    #[arg(long, value_name = "PACKAGES", default_value = "")]
    with: String,
    /// Leave the machine in target/fresh/machine for a look
    #[arg(long)]
    keep: bool,
    /// The xtask command to run inside and its options, for example: test --only fmt
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    command: Vec<String>,
}

/// Makes the machine, runs `cargo xtask <command>` in it on a clone of HEAD, takes it down again.
///
/// # Errors
/// Not root, no debootstrap, no namespaces; how the command ended is in the exit status.
pub fn run(args: &Args) -> Result<ExitCode> {
    ensure!(needs::is_root(), "only root can make a machine (debootstrap, mount, chroot)");
    if needs::runs("debootstrap", &["--version"]).is_err() {
        apt::install(&["debootstrap"])?;
    }
    let dir = paths::target_dir().join("fresh");
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let machine = dir.join("machine");
    remove(&machine)?;
    let status = process::run(command(args, &dir)?, |event| {
        if let Event::Line(line) = event {
            println!("{line}");
        }
    })?;
    if args.keep {
        println!("the machine is left in {}", machine.display());
    } else {
        remove(&machine)?;
    }
    if !status.success() {
        bail!("fresh machine: {}", process::describe(status));
    }
    Ok(ExitCode::SUCCESS)
}

/// `unshare .. sh fresh.sh DIR REPO RUST OWNER -- command..`, with a clean environment.
fn command(args: &Args, dir: &Path) -> Result<Command> {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--pid", "--fork", "--kill-child", "sh"]);
    command.arg(paths::root().join("xtask/fresh.sh")).arg(dir).arg(paths::root()).arg(sysroot()?);
    command.arg(if args.user { "user" } else { "root" }).arg(&args.with).arg("--").args(&args.command);
    command.env_clear();
    for (name, value) in env::vars_os() {
        let text = name.to_string_lossy();
        let proxy = text.to_ascii_lowercase().ends_with("_proxy");
        let passed = PASSED.contains(&&*text) || PASSED_PREFIXES.iter().any(|p| text.starts_with(p));
        if proxy || passed {
            command.env(&name, value);
        }
    }
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LANG", "C.UTF-8").env("TERM", "dumb");
    if let Some(config) = cargo_config() {
        command.env("FRESH_CARGO_CONFIG", config);
    }
    Ok(command)
}

/// The directory of the Rust in use; it is shown to the machine read-only.
fn sysroot() -> Result<PathBuf> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).args(["--print", "sysroot"]).current_dir(paths::root()).output();
    let output = output.context("rustc")?;
    ensure!(output.status.success(), "rustc --print sysroot: {}", output.status);
    Ok(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
}

/// The user's cargo configuration, which may name a registry mirror.
fn cargo_config() -> Option<PathBuf> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")))?;
    Some(home.join("config.toml")).filter(|path| path.is_file())
}

/// Removes an old machine. Nothing is mounted below it: mounts end with their namespace.
fn remove(machine: &Path) -> Result<()> {
    match fs::remove_dir_all(machine) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", machine.display()))
        }
        _ => Ok(()),
    }
}
