//! Random kernels, made by the build script, for the test in `tests/expressions.rs`.
//!
//! It is a crate of its own so that only this test is compiled again when the long counts are asked for
//! (`CHIMNEY_LONG=1`). `CHIMNEY_PROOF_SEED` asks for other programs; the stimuli obey `CHIMNEY_SEED`.
