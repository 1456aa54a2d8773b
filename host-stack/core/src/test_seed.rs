//! One way to seed random tests: the seed is printed, and `CHIMNEY_SEED` replays it.

use proptest::test_runner::{Config, RngSeed};
use std::eprintln;
use std::hash::{BuildHasher, Hasher, RandomState};

/// Configuration of a property test; cargo shows the seed line of a failed test.
pub fn config() -> Config {
    let fresh = || RandomState::new().build_hasher().finish();
    let seed = std::env::var("CHIMNEY_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(fresh);
    eprintln!("CHIMNEY_SEED={seed}");
    Config { rng_seed: RngSeed::Fixed(seed), failure_persistence: None, ..Config::default() }
}
