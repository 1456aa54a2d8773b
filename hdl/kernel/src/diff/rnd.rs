//! Seeded random values that like the edges.

use crate::builtin::{from_bools, Packed};
use rust_hdl_core::prelude::Bits;

/// Environment variable that replays a run.
pub const SEED_VAR: &str = "CHIMNEY_SEED";

/// A small generator (splitmix64): the same seed gives the same values on every machine.
#[derive(Clone, Debug)]
pub struct Rnd(u64);

impl Rnd {
    /// Starts at `seed`.
    pub fn new(seed: u64) -> Self {
        Rnd(seed)
    }

    /// The seed of `CHIMNEY_SEED`, or a fixed one made of `name`. It is printed, so that a failure shows it.
    pub fn seed_for(name: &str) -> u64 {
        let own = name
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
        let seed = std::env::var(SEED_VAR).ok().and_then(|s| s.parse().ok()).unwrap_or(own);
        eprintln!("{name}: replay with {SEED_VAR}={seed}");
        seed
    }

    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n` (which is not 0).
    pub fn below(&mut self, n: u64) -> u64 {
        self.next_u64() % n
    }

    /// True in `num` of `den` cases.
    pub fn chance(&mut self, num: u64, den: u64) -> bool {
        self.below(den) < num
    }

    /// `N` bits holding a number below `n`.
    pub fn bits_below<const N: usize>(&mut self, n: u64) -> Bits<N> {
        self.below(n).into()
    }

    /// Any value: often 0, 1, all ones, the top bit alone, or runs of equal bits; else uniform.
    pub fn any<T: Packed>(&mut self) -> T {
        let n = T::BITS;
        let mode = self.below(12);
        let mut word = 0;
        let mut run = (0, false);
        let mut draw = |i: usize| {
            if i.is_multiple_of(64) {
                word = self.next_u64();
            }
            match mode {
                0 => false,
                1 => i == 0,
                2 => true,
                3 => i + 1 == n,
                4 => i != 0,
                5 | 6 => {
                    if run.0 == 0 {
                        let r = self.next_u64();
                        run = (1 + r % 24, r >> 32 & 1 == 1);
                    }
                    run.0 -= 1;
                    run.1
                }
                _ => word >> (i % 64) & 1 == 1,
            }
        };
        let bits: Vec<bool> = (0..n).map(&mut draw).collect();
        T::take(&mut bits.into_iter())
    }

    /// A value for any type made of `N` bits, uniformly distributed.
    pub fn uniform<const N: usize>(&mut self) -> Bits<N> {
        let b: Vec<bool> = (0..N).map(|_| self.next_u64() >> 63 == 1).collect();
        from_bools(&b)
    }
}
