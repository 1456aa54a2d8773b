//! The steps of `cargo xtask test`.
//!
//! All but `wave` use the same profile and the same features, so that each dependency is checked
//! once (clippy, doc) and compiled once (build, tests).

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::needs::Role;
use crate::{paths, setup, vm, wheel};

/// One step: one cargo command.
pub struct Step {
    /// The word for `--only`.
    pub name: &'static str,
    /// What it shows, in a few words.
    pub about: &'static str,
    /// The arguments of cargo.
    args: &'static [&'static str],
    /// Variables that this step alone sets.
    env: &'static [(&'static str, &'static str)],
    /// What it cannot do without, beyond what a build needs.
    pub needs: Option<Role>,
    /// Installs its tools, and says which folder of `PATH` they are in.
    pub tools: Option<fn() -> Result<PathBuf>>,
}

/// In the order they run: the quick ones first.
pub const STEPS: &[Step] = &[
    Step {
        name: "fmt",
        about: "format",
        args: &["fmt", "--all", "--check"],
        env: &[],
        needs: None,
        tools: None,
    },
    Step {
        name: "clippy",
        about: "lints, warnings are errors",
        args: &["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"],
        env: &[],
        needs: None,
        tools: None,
    },
    Step {
        name: "doc",
        about: "documentation, warnings are errors",
        args: &["doc", "--workspace", "--no-deps", "--document-private-items", "--locked"],
        env: &[("RUSTDOCFLAGS", "-D warnings")],
        needs: None,
        tools: None,
    },
    Step {
        name: "build",
        about: "build of everything that the tests run",
        args: &["test", "--workspace", "--locked", "--no-run"],
        env: &[],
        needs: None,
        tools: None,
    },
    Step {
        name: "tests",
        about: "unit, block and integration tests",
        args: &["test", "--workspace", "--locked", "--no-fail-fast"],
        env: &[],
        needs: None,
        tools: None,
    },
    Step {
        name: "vfio",
        about: "the driver on the VFIO of a real kernel, in a guest",
        args: &["run", "--quiet", "--package", "xtask", "--locked", "--", "vm", "test"],
        env: &[],
        needs: None,
        tools: Some(vm::kit),
    },
    Step {
        name: "wave",
        about: "a wave of the RTL, with the feature trace",
        args: &[
            "test",
            "--package",
            "chimney",
            "--locked",
            "--features",
            "trace",
            "--test",
            "demo",
            "wave::",
        ],
        env: &[],
        needs: Some(Role::Wave),
        tools: None,
    },
    Step {
        name: "formal",
        about: "proofs about blocks, each also on broken copies",
        args: &["run", "--package", "chimney-formal", "--locked"],
        env: &[],
        needs: None,
        tools: Some(wheel::formal),
    },
    Step {
        name: "fpga",
        about: "size of the core for the small FPGA",
        args: &["run", "--quiet", "--package", "xtask", "--locked", "--", "fpga", "size"],
        env: &[],
        needs: None,
        tools: Some(wheel::fpga),
    },
];

/// Only with `--long`: whether the reports of place and route are of this RTL, and other random programs for the kernel macro, as many
/// each time as a compiler can take at once.
pub const LONG: &[Step] = &[
    Step {
        name: "reports",
        about: "reports of place and route are of this RTL",
        args: &["run", "--quiet", "--package", "xtask", "--locked", "--", "fpga", "reports"],
        env: &[],
        needs: None,
        tools: Some(wheel::fpga),
    },
    Step {
        name: "sizes",
        about: "as many connections as the NIC has room for, 256 and 4096",
        args: &[
            "test",
            "--package",
            "chimney",
            "--locked",
            "--features",
            "sizes",
            "--test",
            "many_connections",
        ],
        env: &[],
        needs: None,
        tools: None,
    },
    proof("proof 2", &[("CHIMNEY_PROOF_SEED", "2")]),
    proof("proof 3", &[("CHIMNEY_PROOF_SEED", "3")]),
    proof("proof 4", &[("CHIMNEY_PROOF_SEED", "4")]),
    proof("proof 5", &[("CHIMNEY_PROOF_SEED", "5")]),
    proof("proof 6", &[("CHIMNEY_PROOF_SEED", "6")]),
    proof("proof 7", &[("CHIMNEY_PROOF_SEED", "7")]),
    proof("proof 8", &[("CHIMNEY_PROOF_SEED", "8")]),
    proof("proof 9", &[("CHIMNEY_PROOF_SEED", "9")]),
    proof("proof 10", &[("CHIMNEY_PROOF_SEED", "10")]),
];

const fn proof(name: &'static str, env: &'static [(&'static str, &'static str)]) -> Step {
    let args = &["test", "--locked", "--package", "chimney-hdl-proof"];
    Step { name, about: "1 000 more random expressions", args, env, needs: None, tools: None }
}

impl Step {
    /// The command to run; `long` asks the random tests for their full counts.
    pub fn command(&self, long: bool, found: &setup::Found) -> Command {
        let mut command = paths::cargo();
        found.apply(&mut command);
        command.args(self.args).envs(self.env.iter().copied());
        if let Some(Ok(folder)) = self.tools.map(|install| install()) {
            command.env("PATH", setup::path_with(&folder));
        }
        if long {
            command.env("CHIMNEY_LONG", "1");
        }
        command
    }

    /// The same command as a person would type it.
    pub fn shown(&self) -> String {
        let env: String = self.env.iter().map(|(name, value)| format!("{name}='{value}' ")).collect();
        format!("{env}cargo {}", self.args.join(" "))
    }
}
