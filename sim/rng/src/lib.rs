//! The one random generator of the simulator: small, seeded, the same on every machine.
//!
//! Two ways to use it: as a stream (`Rng::new(seed)`, then `next_u64`), or as a function of
//! a key (`Rng::keyed(seed, stream, index)`) when the answer for item `index` must not depend on
//! how many numbers were drawn before. The impairment link uses the second way, so that frame 17
//! meets the same fate whatever was configured for frames 1 to 16.
//!
//! Not for secrets.

/// Environment variable that replays a random test.
pub const SEED_VARIABLE: &str = "CHIMNEY_SEED";

/// SplitMix64: passes the usual statistical tests, one multiplication chain per number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rng {
    state: u64,
}

impl Rng {
    /// A stream of numbers that depends on `seed` alone.
    pub fn new(seed: u64) -> Self {
        Self { state: mix(seed ^ 0x6a09_e667_f3bc_c909) }
    }

    /// A stream that depends on the seed, on a purpose (`stream`) and on an item number.
    pub fn keyed(seed: u64, stream: u64, index: u64) -> Self {
        Self { state: mix(mix(mix(seed) ^ stream.wrapping_mul(0xd6e8_feb8_6659_fd93)) ^ index) }
    }

    /// The next 64 uniform bits.
    #[inline]
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.state)
    }

    /// A number in `0..bound`; 0 when `bound` is 0. The bias is below 2^-32 for bounds below 2^32.
    #[inline]
    pub fn below(&mut self, bound: u64) -> u64 {
        let wide = u128::from(self.next_u64()) * u128::from(bound);
        (wide >> 64) as u64 // the high half of the product is below `bound`
    }

    /// A number in `0.0..1.0`.
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// True with the given probability (0.0 never, 1.0 always).
    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// True in `per_256` of 256 cases: the cheap form for decisions taken every clock.
    #[inline]
    pub fn one_in_256(&mut self, per_256: u8) -> bool {
        per_256 != 0 && (self.next_u64() as u8) < per_256
    }
}

/// The seed of a random test: `CHIMNEY_SEED` when it is set to a number, else `default`.
/// Prints it, because a failing test without its seed cannot be replayed.
pub fn test_seed(default: u64) -> u64 {
    let seed = std::env::var(SEED_VARIABLE).ok().and_then(|s| s.trim().parse().ok()).unwrap_or(default);
    println!("{SEED_VARIABLE}={seed}");
    seed
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keyed_numbers_do_not_depend_on_history() {
        let mut a = Rng::keyed(7, 1, 100);
        let mut warm = Rng::keyed(7, 1, 99);
        warm.next_u64();
        let mut b = Rng::keyed(7, 1, 100);
        assert_eq!(a.next_u64(), b.next_u64());
        assert_ne!(Rng::keyed(7, 2, 100), b);
        assert_ne!(Rng::keyed(8, 1, 100), b);
    }

    #[test]
    fn numbers_are_roughly_uniform() {
        let mut rng = Rng::new(1);
        let mut buckets = [0u32; 10];
        for _ in 0..100_000 {
            buckets[rng.below(10) as usize] += 1;
        }
        assert!(buckets.iter().all(|&n| (9_600..10_400).contains(&n)), "{buckets:?}");
        let hits = (0..100_000).filter(|_| rng.chance(0.01)).count();
        assert!((850..1150).contains(&hits), "{hits}");
        let hits = (0..100_000).filter(|_| rng.one_in_256(64)).count();
        assert!((24_000..26_000).contains(&hits), "{hits}");
        assert!(!(0..1000).any(|_| rng.one_in_256(0)));
    }
}
