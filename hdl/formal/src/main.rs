//! Runs every proof, and each on its broken copies: `cargo run -p chimney-formal [-- <name>..]`.
//!
//! The last line has the form of `cargo test`'s, so that `cargo xtask test` counts it.

use anyhow::{Context, Result};
use chimney_formal::tools::{Bench, Verdict};
use chimney_formal::{all, Proof};
use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> Result<ExitCode> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    let bench = Bench::new(&target.join("formal"))?;
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let (mut passed, mut failed) = (0, 0);
    for proof in all()?.iter().filter(|p| wanted.is_empty() || wanted.iter().any(|w| w == p.name)) {
        println!("{}: {}", proof.name, proof.about);
        for (what, ok) in results(&bench, proof).with_context(|| proof.name)? {
            let word = if ok { "ok" } else { "FAILED" };
            println!("test formal::{} {what} ... {word}", proof.name);
            *(if ok { &mut passed } else { &mut failed }) += 1;
        }
    }
    let word = if failed == 0 { "ok" } else { "FAILED" };
    println!("test result: {word}. {passed} passed; {failed} failed; 0 ignored");
    Ok(if failed == 0 && passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What was tried, and whether it came out as it should.
fn results(bench: &Bench, proof: &Proof) -> Result<Vec<(String, bool)>> {
    let mut found = Vec::new();
    let bounded = bench.bounded(proof, None)? == Verdict::Holds;
    match proof.depth {
        1 => found.push(("for all inputs".into(), bounded)),
        clocks => found.push((format!("for {clocks} clocks from reset"), bounded)),
    }
    if let Some(k) = proof.induction {
        found.push((format!("by induction over {k} clocks"), bench.inductive(proof, k)? == Verdict::Holds));
    }
    for mutation in &proof.mutations {
        let caught = bench.bounded(proof, Some(mutation))? == Verdict::Fails;
        found.push((format!("is refuted if {}", mutation.about), caught));
    }
    Ok(found)
}
