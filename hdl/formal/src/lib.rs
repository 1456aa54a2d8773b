//! Proofs about blocks: for all inputs, not for those that a random test happened to try.
//!
//! A property is a block in the dialect, wired to the block under test: its output `ok` must always be 1, as long as its
//! output `fits`, if it has one, was 1. The same checker runs in simulation. `README.md` shows how one is written.
//!
//! | module | what is proved |
//! |---|---|
//! | [`durable`] | `tcp/proto`, a whole pass: laws L1 and L2 |
//! | [`fifo`] | `stream/fifo.rs`: order, nothing lost, the level is what went in less what came out |
//! | [`seq`] | `tcp/seq.rs`: the comparisons are an order, wherever on the circle |
//! | [`timers`] | `tcp/timers.rs`: a deadline that has passed is offered within a bound |

// Kernels are hardware text: the lints' advice is not in the dialect.
#![allow(clippy::nonminimal_bool)]

pub mod durable;
pub mod fifo;
pub mod proof;
pub mod seq;
pub mod timers;
pub mod tools;

pub use proof::{Mutation, Proof};

/// Every proof.
///
/// # Errors
/// A checker that is no hardware.
pub fn all() -> Result<Vec<Proof>, proof::Error> {
    [durable::proofs()?, fifo::proofs()?, seq::proofs()?, timers::proofs()?]
        .into_iter()
        .flatten()
        .map(Ok)
        .collect()
}
