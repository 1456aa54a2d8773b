//! The contract: registers, descriptors, state objects, commands, wire offsets.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod seq;
pub mod wire;

pub use seq::SeqNum;
