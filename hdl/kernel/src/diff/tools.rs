//! Verilator and the C++ compiler, with a cache keyed by content.

use crate::verilator::{compiler, GRAPHLESS};
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

/// Why a model could not be built or run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written, or a tool could not be started.
    #[error("{0} (is verilator >= 5.006 and a C++ compiler installed?)")]
    Io(#[from] std::io::Error),
    /// A tool reported an error.
    #[error("{what} failed:\n{log}")]
    Tool {
        /// The command.
        what: String,
        /// What it printed.
        log: String,
    },
}

/// All warnings are errors, except the waived ones.
pub(crate) const VERILATOR_FLAGS: &[&str] =
    &["--cc", "-Wall", "-O3", GRAPHLESS, "--x-assign", "0", "--x-initial", "0", "--noassert", "--no-timing"];

/// Runs a tool to its end.
pub(crate) fn run(cmd: &mut Command) -> Result<(), Error> {
    let out = cmd.output()?;
    if out.status.success() {
        return Ok(());
    }
    let log = String::from_utf8_lossy(&out.stderr).into_owned() + &String::from_utf8_lossy(&out.stdout);
    Err(Error::Tool { what: format!("{cmd:?}"), log })
}

/// Where models are kept: beside the test programs, in the build's target directory.
pub(crate) fn build_dir() -> PathBuf {
    let exe = std::env::current_exe().unwrap_or_default();
    let deps = exe.ancestors().find(|p| p.file_name().is_some_and(|n| n == "deps"));
    let base =
        deps.and_then(Path::parent).and_then(Path::parent).map_or_else(std::env::temp_dir, Path::to_path_buf);
    base.join("verilated")
}

/// A short name for the content of `parts`.
pub(crate) fn content_key(parts: &[&str]) -> String {
    let mut h = DefaultHasher::new();
    for p in parts {
        h.write(p.as_bytes());
        h.write_u8(0xff);
    }
    format!("{:016x}", h.finish())
}

/// One lock for each directory of models.
fn lock(home: &Path) -> Arc<Mutex<()>> {
    static LOCKS: Mutex<BTreeMap<PathBuf, Arc<Mutex<()>>>> = Mutex::new(BTreeMap::new());
    let mut locks = LOCKS.lock().unwrap_or_else(PoisonError::into_inner);
    locks.entry(home.to_path_buf()).or_default().clone()
}

/// Makes the directory `home` with `make`, unless it exists; older ones of the same `name` go.
pub(crate) fn cached(
    home: &Path,
    name: &str,
    make: impl FnOnce(&Path) -> Result<(), Error>,
) -> Result<(), Error> {
    // Tests run in threads of one process: only one of them builds what several want.
    let lock = lock(home);
    let _one = lock.lock().unwrap_or_else(PoisonError::into_inner);
    if home.exists() {
        return Ok(());
    }
    let base = home.parent().unwrap_or(home);
    std::fs::create_dir_all(base)?;
    let work = base.join(format!("{name}.{}.{:?}", std::process::id(), std::thread::current().id()));
    let _ = std::fs::remove_dir_all(&work);
    std::fs::create_dir_all(&work)?;
    make(&work)?;
    for old in std::fs::read_dir(base)?.flatten() {
        let n = old.file_name().to_string_lossy().into_owned();
        let key = n.strip_prefix(name).and_then(|r| r.strip_prefix('-'));
        if key.is_some_and(|k| k.len() == 16 && old.path() != home) {
            let _ = std::fs::remove_dir_all(old.path());
        }
    }
    match std::fs::rename(&work, home) {
        Ok(()) => Ok(()),
        // Another process made the same thing meanwhile.
        Err(_) if home.exists() => Ok(std::fs::remove_dir_all(&work)?),
        Err(e) => Err(e.into()),
    }
}

/// Verilator's run-time library.
pub(crate) struct Runtime {
    pub include: PathBuf,
    pub object: PathBuf,
}

/// Compiles the run-time library once.
pub(crate) fn runtime() -> Result<Runtime, Error> {
    let out = Command::new("verilator").args(["--getenv", "VERILATOR_ROOT"]).output()?;
    let root = String::from_utf8_lossy(&out.stdout).trim().to_string();
    let include = Path::new(&root).join("include");
    let home = build_dir().join(format!("runtime-{}", content_key(&[&root, "2", compiler()])));
    cached(&home, "runtime", |dir| {
        let all = "#include \"verilated.cpp\"\n#include \"verilated_threads.cpp\"\ndouble sc_time_stamp() { return 0; }\n";
        std::fs::write(dir.join("rt.cc"), all)?;
        let mut cmd = Command::new(compiler());
        // With its assertions it asks for atomics that clang has only in a library of its own.
        cmd.args(["-O1", "-DNDEBUG", "-std=c++17", "-w", "-c", "-pthread", "-I"])
            .arg(&include)
            .arg(dir.join("rt.cc"));
        run(cmd.arg("-o").arg(dir.join("rt.o")))
    })?;
    Ok(Runtime { include, object: home.join("rt.o") })
}
