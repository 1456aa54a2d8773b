//! Debian packages, as root.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{bail, Context, Result};

use crate::paths;

/// Wait for another apt instead of failing, try a flaky mirror again, ask nothing.
const OPTIONS: &[&str] = &["-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::Retries=3", "-qq", "--yes"];

/// Whether this machine has apt at all.
pub fn is_available() -> bool {
    Command::new("apt-get").arg("--version").stdin(Stdio::null()).output().is_ok_and(|o| o.status.success())
}

/// Refreshes the package lists and installs `packages`; the full output goes to a log.
///
/// # Errors
/// One line that names the step, the exit status and the log.
pub fn install(packages: &[&str]) -> Result<()> {
    let started = Instant::now();
    eprintln!("set-up: installing {} (apt-get)", packages.join(", "));
    run("update", &[])?;
    run("install", &[&["--no-install-recommends"], packages].concat())?;
    eprintln!("set-up: installed in {:.0} s", started.elapsed().as_secs_f64());
    Ok(())
}

fn run(verb: &str, args: &[&str]) -> Result<()> {
    let path = log_path(verb)?;
    let log = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    let status = Command::new("apt-get")
        .args(OPTIONS)
        .arg(verb)
        .args(args)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .status()
        .context("apt-get")?;
    if !status.success() {
        bail!("apt-get {verb} {}: {status}; its output is in {}", args.join(" "), path.display());
    }
    Ok(())
}

fn log_path(verb: &str) -> Result<PathBuf> {
    let dir = paths::state_dir();
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    Ok(dir.join(format!("apt-{verb}.log")))
}
