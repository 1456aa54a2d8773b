//! Runs every proof, and each on its broken copies: `cargo run -p chimney-formal [-- <name>..]`.
//!
//! The last line has the form of `cargo test`'s, so that `cargo xtask test` counts it.

use anyhow::{Context, Result};
use chimney_formal::tools::{Bench, Verdict};
use chimney_formal::{all, Mutation, Proof};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{channel, Sender};
use std::thread;

/// More solvers at once than this would not end sooner: there is always one proof that takes longest.
const MOST_AT_ONCE: usize = 4;

fn main() -> Result<ExitCode> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    let bench = Bench::new(&target.join("formal"))?;
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let proofs: Vec<Proof> =
        all()?.into_iter().filter(|p| wanted.is_empty() || wanted.iter().any(|w| w == p.name)).collect();
    let jobs: Vec<Job> = proofs.iter().flat_map(Job::of).collect();
    let (mut passed, mut failed) = (0, 0);
    let (tell, told) = channel();
    let next = AtomicUsize::new(0);
    thread::scope(|s| {
        let at_once = thread::available_parallelism().map_or(1, NonZeroUsize::get).min(MOST_AT_ONCE);
        for _ in 0..at_once {
            let tell = tell.clone();
            s.spawn(|| work(&bench, &jobs, &next, tell));
        }
        drop(tell);
        for (job, ok) in told {
            let job: &Job = &jobs[job];
            let ok = ok.with_context(|| job.proof.name)?;
            let word = if ok { "ok" } else { "FAILED" };
            println!("test formal::{} {} ... {word}", job.proof.name, job.about());
            *(if ok { &mut passed } else { &mut failed }) += 1;
        }
        anyhow::Ok(())
    })?;
    let word = if failed == 0 { "ok" } else { "FAILED" };
    println!("test result: {word}. {passed} passed; {failed} failed; 0 ignored");
    Ok(if failed == 0 && passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Does jobs until there are none, or nobody listens.
fn work(bench: &Bench, jobs: &[Job], next: &AtomicUsize, tell: Sender<(usize, Result<bool>)>) {
    loop {
        let at = next.fetch_add(1, Ordering::Relaxed);
        let Some(job) = jobs.get(at) else { return };
        if tell.send((at, job.run(bench))).is_err() {
            return;
        }
    }
}

/// One thing to be tried of a proof.
struct Job<'a> {
    proof: &'a Proof,
    kind: Kind<'a>,
}

#[derive(Clone, Copy)]
enum Kind<'a> {
    /// It holds from reset.
    Bounded,
    /// It holds by induction over so many clocks.
    Inductive(usize),
    /// It does not on a broken copy.
    Refuted(&'a Mutation),
}

impl<'a> Job<'a> {
    /// All jobs of a proof.
    fn of(proof: &'a Proof) -> Vec<Job<'a>> {
        let whole = [Some(Kind::Bounded), proof.induction.map(Kind::Inductive)];
        let broken = proof.mutations.iter().map(Kind::Refuted);
        whole.into_iter().flatten().chain(broken).map(|kind| Job { proof, kind }).collect()
    }

    fn about(&self) -> String {
        match self.kind {
            Kind::Bounded if self.proof.depth == 1 => "for all inputs".into(),
            Kind::Bounded => format!("for {} clocks from reset", self.proof.depth),
            Kind::Inductive(k) => format!("by induction over {k} clocks"),
            Kind::Refuted(mutation) => format!("is refuted if {}", mutation.about),
        }
    }

    /// Whether it came out as it should.
    fn run(&self, bench: &Bench) -> Result<bool> {
        Ok(match self.kind {
            Kind::Bounded => bench.bounded(self.proof, None)? == Verdict::Holds,
            Kind::Inductive(k) => bench.inductive(self.proof, k)? == Verdict::Holds,
            Kind::Refuted(mutation) => bench.bounded(self.proof, Some(mutation))? == Verdict::Fails,
        })
    }
}
