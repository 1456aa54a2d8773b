//! What the project needs from the machine, and how each thing is recognised.
//!
//! A need is found by trying it (`g++ --version`), never by asking a package manager: a tool that
//! somebody built by hand is as good.

use std::path::Path;
use std::process::{Command, Stdio};

/// Oldest Verilator that the simulator is tested with; the one in Debian 12.
pub const VERILATOR_MIN: (u32, u32) = (5, 6);

/// What stops working when a need is not met.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Nothing can be built.
    Build,
    /// The simulated NIC is slower, and slower to build.
    Speed,
    /// `--wave` cannot write a wave file.
    Wave,
    /// No Linux kernel as peer; a second instance of our stack takes its place.
    Peer,
    /// A check is skipped; the tests say which.
    Check,
}

impl Role {
    /// What the user gets once such a need is met.
    pub fn gift(self) -> &'static str {
        match self {
            Role::Build => "a build",
            Role::Speed => "a simulation at full speed",
            Role::Wave => "wave files",
            Role::Peer => "a Linux kernel as peer (else a second instance of our own stack)",
            Role::Check => "the checks with it",
        }
    }
}

/// One thing the machine must have.
pub struct Need {
    /// The name a person knows it by.
    pub name: &'static str,
    /// The Debian package that holds it.
    pub package: &'static str,
    /// What is lost without it.
    pub role: Role,
    /// Tries it: the version or place found, or why it is not good enough.
    pub probe: fn() -> Result<String, String>,
}

/// Everything that comes from outside the Rust registry.
pub const ALL: &[Need] = &[
    Need { name: "g++", package: "g++", role: Role::Build, probe: gxx },
    Need { name: "clang++", package: "clang", role: Role::Speed, probe: clangxx },
    Need { name: "verilator", package: "verilator", role: Role::Build, probe: verilator },
    Need { name: "zlib headers", package: "zlib1g-dev", role: Role::Wave, probe: || header("zlib.h") },
    Need { name: "LZ4 headers", package: "liblz4-dev", role: Role::Wave, probe: || header("lz4.h") },
    Need { name: "ip", package: "iproute2", role: Role::Peer, probe: || runs("ip", &["-Version"]) },
    Need { name: "ethtool", package: "ethtool", role: Role::Peer, probe: || runs("ethtool", &["--version"]) },
    Need { name: "socat", package: "socat", role: Role::Peer, probe: || runs("socat", &["-V"]) },
    Need { name: "python3", package: "python3", role: Role::Peer, probe: || runs("python3", &["--version"]) },
    Need { name: "kill", package: "procps", role: Role::Check, probe: || runs("kill", &["-l"]) },
    Need { name: "tshark", package: "tshark", role: Role::Check, probe: || runs("tshark", &["--version"]) },
];

/// Whether everything for `role` is there; else what is not, and how to get it.
pub fn check(role: Role) -> Result<(), String> {
    let missing = ALL.iter().filter(|n| n.role == role).find_map(|n| Some((n.package, (n.probe)().err()?)));
    missing.map_or(Ok(()), |(package, why)| Err(format!("{why}; as root: apt-get install {package}")))
}

/// Runs a program for its version: the first line that it prints.
pub fn runs(program: &str, args: &[&str]) -> Result<String, String> {
    let output = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{program} {}: {}", args.join(" "), output.status));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().next().unwrap_or(program).trim().to_owned())
}

fn gxx() -> Result<String, String> {
    runs("g++", &["-dumpfullversion"]).map(|version| format!("g++ {version}"))
}

fn clangxx() -> Result<String, String> {
    runs("clang++", &["--version"])
}

fn header(name: &str) -> Result<String, String> {
    // The preprocessor knows the include path; a file test would not.
    let ok = Command::new("g++")
        .args(["-E", "-x", "c++", "-include", name, "/dev/null"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match ok {
        Ok(status) if status.success() => Ok(name.into()),
        _ => Err(format!("{name}: not found by g++")),
    }
}

fn verilator() -> Result<String, String> {
    let line = runs("verilator", &["--version"])?;
    let Some((major, minor)) = verilator_version(&line) else {
        return Err(format!("verilator: no version in '{line}'"));
    };
    if (major, minor) < VERILATOR_MIN {
        return Err(format!("verilator {major}.{minor:03} is older than 5.006"));
    }
    Ok(format!("verilator {major}.{minor:03}"))
}

/// `Verilator 5.006 2023-01-22 rev ...` is (5, 6).
fn verilator_version(line: &str) -> Option<(u32, u32)> {
    let (major, minor) = line.split_whitespace().nth(1)?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Disk space in GB that `cargo xtask test` fills on a clean checkout with CARGO_INCREMENTAL=0; with it twice that.
pub const DISK_GB: u64 = 8;

/// Free space in GB on the disk that holds `folder`, which need not exist yet.
pub fn free_gb(folder: &Path) -> Option<u64> {
    let existing = folder.ancestors().find(|dir| dir.exists())?;
    let output = Command::new("df").args(["-P", "-B", "1000000000"]).arg(existing).output().ok()?;
    fourth_of_second_line(&String::from_utf8_lossy(&output.stdout))
}

/// `df -P` prints a heading, and then device, size, used, available, ...
fn fourth_of_second_line(text: &str) -> Option<u64> {
    text.lines().nth(1)?.split_whitespace().nth(3)?.parse().ok()
}

/// Whether this process may do what only root may.
pub fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    // The kernel gives /proc/self to the effective user.
    Path::new("/proc/self").metadata().is_ok_and(|meta| meta.uid() == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_versions_that_verilator_prints() {
        for (line, version) in [
            ("Verilator 5.006 2023-01-22 rev (Debian 5.006-3)", Some((5, 6))),
            ("Verilator 5.048 2026-04-26 rev v5.048", Some((5, 48))),
            ("Verilator 4.038 2020-07-11 rev v4.036", Some((4, 38))),
            ("Verilator", None),
            ("", None),
        ] {
            assert_eq!(verilator_version(line), version, "{line}");
        }
        assert!((5, 48) >= VERILATOR_MIN && (4, 228) < VERILATOR_MIN);
    }

    #[test]
    fn reads_the_free_space_that_df_prints() {
        let text =
            "Filesystem 1000000000-blocks Used Available Capacity Mounted on\n/dev/vda 270 96 2 99% /\n";
        assert_eq!(fourth_of_second_line(text), Some(2));
        assert_eq!(fourth_of_second_line("Filesystem\n"), None);
        assert!(free_gb(Path::new("/no/such/folder")).is_some());
    }

    #[test]
    fn each_need_is_named_once() {
        for (index, need) in ALL.iter().enumerate() {
            assert!(
                !ALL[..index].iter().any(|n| n.name == need.name || n.package == need.package),
                "{}",
                need.name
            );
        }
    }

    #[test]
    fn a_missing_program_is_an_error_and_names_the_program() {
        let error = runs("no-such-program-here", &["--version"]).expect_err("does not exist");
        assert!(error.starts_with("no-such-program-here: "), "{error}");
        assert!(runs("false", &[]).is_err());
    }
}
