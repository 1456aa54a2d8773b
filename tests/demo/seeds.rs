//! Many seeds on a bad link: all kinds of bytes move both ways, and both hashes are right every time.

use crate::run::{has_linux_peer, has_tool, is_long, read_result, Demo};
use std::collections::BTreeMap;

const KINDS: [&str; 4] = ["unsent", "unacknowledged", "undelivered", "out_of_order"];

/// Runs these seeds; per direction and kind of bytes, how many hand-overs moved some.
fn run(seeds: std::ops::RangeInclusive<u64>) -> BTreeMap<(String, &'static str), u64> {
    let mut moved = BTreeMap::new();
    for seed in seeds {
        let text = seed.to_string();
        let outcome = Demo::start("seeds", &["--peer", "linux", "--loss", "1%", "--seed", &text]).finish();
        assert!(outcome.status.success(), "seed {seed}: {outcome:#?}");
        let result = read_result("seeds");
        for row in result["handover"].as_array().expect("rows") {
            let direction = row["direction"].as_str().expect("a word").to_owned();
            for kind in KINDS {
                *moved.entry((direction.clone(), kind)).or_default() += u64::from(row[kind] != 0);
            }
        }
        println!("seed {seed}: {} s, so far {moved:?}", result["seconds"]);
    }
    moved
}

/// Verifies
#[test]
fn every_kind_of_bytes_moves_in_both_directions() {
    if !has_linux_peer() || !has_tool("socat") {
        return;
    }
    let is_long = is_long();
    let moved = run(if is_long { 1..=20 } else { 1..=3 });
    for direction in ["offload", "upload"] {
        for kind in KINDS {
            let count = moved.get(&(direction.to_owned(), kind)).copied().unwrap_or(0);
            // Whether a hole is open at the very moment is a matter of luck: three seeds prove nothing.
            assert!(
                count > 0 || !is_long && kind == "out_of_order",
                "no {kind} bytes in any {direction}: {moved:?}"
            );
        }
    }
}
