//! One way to seed random tests: the seed is printed, and `CHIMNEY_SEED` replays it.

use proptest::test_runner::{Config, RngSeed};
use std::hash::{BuildHasher, Hasher, RandomState};

/// A fresh seed, or the one that `CHIMNEY_SEED` names; cargo shows the line of a failed test.
pub fn seed() -> u64 {
    let fresh = || RandomState::new().build_hasher().finish();
    let seed = std::env::var("CHIMNEY_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(fresh);
    eprintln!("CHIMNEY_SEED={seed}");
    seed
}

/// Configuration of a property test.
pub fn config() -> Config {
    Config { rng_seed: RngSeed::Fixed(seed()), failure_persistence: None, ..Config::default() }
}
