//! yosys, its model checker and the solver, all found in `PATH`.
//!
//! `cargo xtask test --only formal` installs them as Python wheels. Where these are WebAssembly they have a `/tmp` of
//! their own, so everything runs in one folder with relative paths.

use crate::proof::{formula, Mutation, Proof};
use anyhow::{bail, Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a program may take, seconds: what the proofs take is 60 at most. A solver that finds no end must not keep all others from being told.
const LIMIT: &str = "600";
/// What `timeout` says then.
const TIMED_OUT: i32 = 124;

/// What a model checker found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It holds.
    Holds,
    /// There is a counterexample, or (in an induction) a state from which it cannot be shown.
    Fails,
}

/// A folder for the files of all proofs.
pub struct Bench {
    dir: PathBuf,
}

impl Bench {
    /// Makes the folder.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn new(dir: &Path) -> Result<Bench> {
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        Ok(Bench { dir: dir.into() })
    }

    /// From reset, as many clocks as the proof says: it holds in all cases, or `mutation` is refuted in one.
    ///
    /// # Errors
    /// A tool is missing or refuses the files.
    pub fn bounded(&self, proof: &Proof, mutation: Option<&Mutation>) -> Result<Verdict> {
        let number =
            mutation.and_then(|m| proof.mutations.iter().position(|x| x.from == m.from && x.to == m.to));
        let file = number.map_or(proof.name.to_owned(), |n| format!("{}_broken{n}", proof.name));
        self.translate(proof, mutation, &file, false)?;
        let depth = proof.depth.to_string();
        // The solver simplifies more when no other question is to come.
        let all = ["-t", &depth, "--noincr"];
        let args = if proof.depth == 1 { &all[..] } else { &all[..2] };
        for case in proof.cases(mutation) {
            if self.check(&formula(&file, case), args)? == Verdict::Fails {
                return Ok(Verdict::Fails);
            }
        }
        Ok(Verdict::Holds)
    }

    /// If it held for `k` clocks it holds in the next, whatever the state.
    ///
    /// # Errors
    /// A tool is missing or refuses the files.
    pub fn inductive(&self, proof: &Proof, k: usize) -> Result<Verdict> {
        let file = format!("{}_induction", proof.name);
        self.translate(proof, None, &file, true)?;
        let formula = formula(&file, None);
        // The invariant too must hold from reset, else it assumes too much.
        match self.check(&formula, &["-t", &proof.depth.to_string()])? {
            Verdict::Holds => self.check(&formula, &["-i", "-t", &k.to_string()]),
            Verdict::Fails => bail!("{}: the invariant does not hold from reset", proof.name),
        }
    }

    fn translate(
        &self,
        proof: &Proof,
        mutation: Option<&Mutation>,
        file: &str,
        invariant: bool,
    ) -> Result<()> {
        self.write(&format!("{file}.v"), &proof.checker(mutation)?)?;
        self.write(&format!("{file}_proof.v"), &proof.wrapper(invariant))?;
        if let Some(text) = proof.invariant_verilog() {
            self.write(&format!("{file}_invariant.v"), text)?;
        }
        let cases = proof.cases(mutation);
        self.write(&format!("{file}.ys"), &proof.script(file, &cases, invariant))?;
        let (ok, text) = self.run("yosys", &["-q", "-s", &format!("{file}.ys")])?;
        if !ok {
            bail!("yosys, {file}: {}", last_line(&text));
        }
        Ok(())
    }

    fn check(&self, file: &str, args: &[&str]) -> Result<Verdict> {
        let fixed = ["--noprogress", "-s", "boolector"];
        let (_, text) = self.run("yosys-smtbmc", &[&fixed, args, &[file]].concat())?;
        let says = |status: &str| text.lines().any(|line| line.ends_with(&format!("Status: {status}")));
        match (says("PASSED"), says("FAILED")) {
            (true, false) => Ok(Verdict::Holds),
            (false, true) => Ok(Verdict::Fails),
            // Anything else is no answer, in particular assumptions that exclude everything.
            _ => bail!("yosys-smtbmc, {file}: {}", last_line(&text)),
        }
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.dir.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    fn run(&self, program: &str, args: &[&str]) -> Result<(bool, String)> {
        // `timeout` ends the solver too, which is a child of the model checker.
        let output =
            Command::new("timeout").args([LIMIT, program]).args(args).current_dir(&self.dir).output();
        let output = output.context("timeout (of the coreutils): cannot be started")?;
        match output.status.code() {
            Some(TIMED_OUT) => bail!("{program} {}: no answer within {LIMIT} s", args.join(" ")),
            Some(126 | 127) => bail!("{program}: cannot be started; cargo xtask test --only formal"),
            _ => {}
        }
        let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        Ok((output.status.success(), text.into_owned()))
    }
}

fn last_line(text: &str) -> &str {
    text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no message")
}
