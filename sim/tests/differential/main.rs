//! The RTL against the golden model: the same segments, posts, doorbells, commands and timers to both, one after the other, and after each
//! the same must be seen: frames on the wire, frames handed up, shadow records, memory, images of queries and uploads.
//!
//! Time passes from deadline to deadline, and stands still while the devices work: so both see every event at the same microsecond.
//! `CHIMNEY_LONG=1` runs a million steps. `CHIMNEY_SEED=n` is another run and `CHIMNEY_STEPS=n` so many steps of it; a failure says both.
//! `CHIMNEY_QUERIES=n` compares every record after every step from the n-th on.

#[path = "../golden_rig/mod.rs"]
mod golden_rig;

mod cases;
mod conn;
mod dut;
mod faults;
mod pair;

use pair::{number, Pair};

/// Tests that begin with a seed each.
const TESTS: u64 = 4;
/// Random steps of each: 50 000 in all.
const STEPS: u64 = 12_500;
/// In the long run each test has so many seeds, with so many steps: a million in all.
const LONG: (u64, u64) = (5, 50_000);

/// With this seed, and in the long run with others after it; or with `CHIMNEY_SEED` alone. `CHIMNEY_STEPS` steps, if that says so.
fn run(seed: u64) {
    let is_long = std::env::var("CHIMNEY_LONG").is_ok_and(|v| v == "1");
    let (seeds, steps) = if is_long { LONG } else { (1, STEPS) };
    let seeds = if number("CHIMNEY_SEED").is_some() { 1 } else { seeds };
    let steps = number("CHIMNEY_STEPS").unwrap_or(steps);
    for i in 0..seeds {
        let mut pair = Pair::new(chimney_sim::rng::test_seed(seed + i * TESTS));
        for _ in 0..steps {
            pair.step();
        }
        pair.end();
    }
}

#[test]
fn rtl_and_golden_model_do_the_same() {
    run(1);
}

#[test]
fn and_from_a_second_seed() {
    run(2);
}

#[test]
fn and_from_a_third_seed() {
    run(3);
}

#[test]
fn and_from_a_fourth_seed() {
    run(4);
}
