//! `verilator --lint-only -Wall`, with one short list of waivers.

use crate::diff::tools::{build_dir, run, Error};
use std::process::Command;

/// Warnings that are no mistakes here, each with its reason. Everything else is an error.
pub const WAIVERS: &[(&str, &str)] = &[
    ("DECLFILENAME", "one file holds a top and all its modules"),
    ("UNUSEDSIGNAL", "a block may look at some bits of a record only"),
    ("CMPCONST", "a generic block may compare with the limit of its width"),
    ("SYMRSVDWORD", "Verilator renames what C++ reserves"),
    ("UNSIGNED", "the same, with zero"),
];

/// Lints the module `top`.
///
/// # Errors
/// What Verilator says.
pub fn lint(top: &str, verilog: &str) -> Result<(), Error> {
    let dir = build_dir().join("lint");
    std::fs::create_dir_all(&dir)?;
    let file = dir.join(format!("{top}.{}.v", std::process::id()));
    std::fs::write(&file, verilog)?;
    let mut cmd = Command::new("verilator");
    cmd.args(["--lint-only", "-Wall", "--top-module", top]);
    cmd.args(WAIVERS.iter().map(|w| format!("-Wno-{}", w.0))).arg(&file);
    let r = run(&mut cmd);
    if r.is_ok() {
        std::fs::remove_file(&file)?;
    }
    r
}
