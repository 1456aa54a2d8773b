//! The demo from outside: the `chimney` program against a Linux kernel and against our own stack, with the golden model.
//!
//! ```text
//!   run.rs      starts the program, waits for moments, ends it, looks for what it left behind
//!   capture.rs  what Wireshark's dissector says about the capture
//!   result.rs   what result.json promises
//!   transfers.rs, matrix.rs, outside.rs, seeds.rs, wave.rs, errors.rs   the tests
//! ```
//! A test that needs root, a TAP or a tool that is not there says so and passes.

mod capture;
mod errors;
mod matrix;
mod outside;
mod result;
mod run;
mod seeds;
mod transfers;
mod wave;
