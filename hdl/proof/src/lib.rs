//! Random kernels, made by the build script, for the test in `tests/expressions.rs`.
//!
//! It is a crate of its own so that only this test is compiled again when other programs are asked for
//! (`CHIMNEY_PROOF_SEED`, 1 by default; `cargo xtask test --long` takes 1 to 10). The stimuli obey `CHIMNEY_SEED`.
