//! Proofs about blocks: for all inputs, not for those that a random test happened to try.
//!
//! A property is a block in the dialect, wired to the block under test: its output `ok` must always be 1, as long as its
//! output `fits`, if it has one, was 1. The same checker runs in simulation. `README.md` shows how one is written.
//!
//! | module | what is proved |
//! |---|---|
//! | [`durable`] | `tcp/proto`, a whole pass: laws L1 and L2 |
//! | [`fifo`] | `stream/fifo.rs`: order, nothing lost, the level is what went in less what came out |
//! | [`ranges`] | `tcp/ranges.rs`: sorted, apart, no byte lost or made up |
//! | [`send`] | `tcp/proto`, a whole pass: the send variables in order, nobody forgotten |
//! | [`pass`] | no proof: a pass as functions, for those about it |
//! | [`seq`] | `tcp/seq.rs`: the comparisons are an order, wherever on the circle |
//! | [`settled`] | `tcp/proto/records.rs`: what is stored early is what the pass leaves |
//! | [`timers`] | `tcp/timers.rs`: a deadline that has passed is offered within a bound |

// Kernels are hardware text: the lints' advice is not in the dialect.
#![allow(clippy::nonminimal_bool)]

pub mod admit;
pub mod durable;
pub mod fifo;
pub mod pass;
pub mod proof;
pub mod ranges;
pub mod send;
pub mod seq;
pub mod settled;
pub mod timers;
pub mod tools;

pub use proof::{Mutation, Proof};

/// Every proof.
///
/// # Errors
/// A checker that is no hardware.
pub fn all() -> Result<Vec<Proof>, proof::Error> {
    [
        admit::proofs()?,
        durable::proofs()?,
        fifo::proofs()?,
        ranges::proofs()?,
        send::proofs()?,
        seq::proofs()?,
        settled::proofs()?,
        timers::proofs()?,
    ]
    .into_iter()
    .flatten()
    .map(Ok)
    .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_broken_copy_can_be_made() {
        for proof in super::all().expect("checkers are hardware") {
            for mutation in &proof.mutations {
                let broken = proof.checker(Some(mutation)).unwrap_or_else(|e| panic!("{e}"));
                assert_ne!(broken, proof.checker(None).expect("it is not broken"));
            }
        }
    }
}
