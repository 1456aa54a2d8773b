//! Random typed expressions mean the same natively and Verilated: widths 1 to 256, every operator, casts, slices,
//! concatenation, `let`, helper functions. 1 000 for each seed, ten seeds in the long run.
#![allow(missing_docs, warnings, clippy::all)]

use chimney_hdl_kernel::core::prelude::{Bits, Block, Clock, In, Logic, Out, Signal};
use chimney_hdl_kernel::diff::{Diff, Rnd};
use chimney_hdl_kernel::{kernel, Dff, LogicBlock, LogicState, LogicStruct};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Stimuli per block.
const STEPS: usize = 150;

/// Number of outputs that changed; a difference is a failure.
fn compare<B: Block>(
    name: &str,
    block: B,
    poke: impl FnMut(&mut B, &mut Rnd),
    clock: impl FnMut(&mut B, bool),
    outputs: usize,
) -> usize {
    let o = match Diff::new(name, STEPS).quick().outcome(block, poke, clock) {
        Ok(o) => o,
        Err(e) => panic!("{name}: {e}"),
    };
    assert!(o.differences.is_empty(), "{name}: programs of seed {SEED} differ\n{}", o.differences.join("\n"));
    outputs - o.stuck.len()
}

include!(concat!(env!("OUT_DIR"), "/blocks.rs"));

#[test]
fn random_expressions_mean_the_same_natively_and_verilated() {
    let (blocks, next, changed) = (all(), AtomicUsize::new(0), AtomicUsize::new(0));
    let workers = std::thread::available_parallelism().map_or(2, usize::from).min(4);
    std::thread::scope(|s| {
        for _ in 0..workers {
            s.spawn(|| {
                while let Some(check) = blocks.get(next.fetch_add(1, Ordering::Relaxed)) {
                    changed.fetch_add(check(), Ordering::Relaxed);
                }
            });
        }
    });
    let changed = changed.into_inner();
    println!("{changed} expressions compared ({WANTED} wanted)");
    assert!(changed >= WANTED.max(1), "too many expressions are constant: {changed} of {WANTED} changed");
}
