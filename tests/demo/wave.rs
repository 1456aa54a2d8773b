//! `--wave`: with the feature `trace` an FST that can be read, without it one line that says so.

use crate::run::Demo;

#[cfg(not(feature = "trace"))]
#[test]
fn a_wave_needs_the_feature() {
    let demo = Demo::start_rtl("no-wave", &["--peer", "builtin", "--wave"]);
    demo.finish().assert_clean_failure("--features trace");
}

#[test]
fn the_golden_model_has_no_wave() {
    Demo::start("golden-wave", &["--wave"]).finish().assert_clean_failure("--golden");
}

/// Walks through the blocks of a wave: type, length (which counts itself), body; all numbers big-endian.
#[cfg(feature = "trace")]
fn blocks(bytes: &[u8]) -> Vec<(u8, &[u8])> {
    let mut blocks = Vec::new();
    let mut rest = bytes;
    while let [kind, after @ ..] = rest {
        let len = u64::from_be_bytes(after[..8].try_into().expect("8 bytes"));
        // `as`: checked against what is there.
        let (block, next) = after.split_at_checked(len as usize).expect("a block ends in the file");
        blocks.push((*kind, &block[8..]));
        rest = next;
    }
    blocks
}

/// An interrupted run closes its wave too.
#[cfg(feature = "trace")]
#[test]
fn a_wave_can_be_read() {
    const HEADER: u8 = 0;
    const NANOSECONDS: u8 = (-9i8).to_be_bytes()[0];
    /// Offset in the header behind end time, number and a test of the byte order, four counts.
    const TIME_UNIT: usize = 8 + 8 + 8 + 8 + 4 * 8;
    let path = crate::run::directory("wave").join("wave.fst");
    let _ = std::fs::remove_dir_all(crate::run::directory("wave"));
    let mut demo = Demo::start_rtl("wave", &["--peer", "builtin", "--wave"]);
    assert!(demo.wait_for_capture(256 << 10), "it ended early: {:#?}", demo.finish());
    demo.signal("INT");
    demo.finish().assert_clean_failure("interrupted");
    let wave = std::fs::read(path).expect("the wave");
    let blocks = blocks(&wave);
    let (kind, header) = blocks[0];
    assert_eq!(kind, HEADER);
    let number = |at: usize| u64::from_be_bytes(header[at..at + 8].try_into().expect("8 bytes"));
    let (start, end) = (number(0), number(8));
    assert!(start < end && end > 100_000, "from {start} to {end} ns");
    assert_eq!(header[TIME_UNIT], NANOSECONDS);
    // Value changes (in one of three ways to pack them), geometry, names (packed or not).
    for kinds in [&[1, 5, 8][..], &[3], &[4, 6, 7]] {
        let there: Vec<u8> = blocks.iter().map(|b| b.0).collect();
        assert!(there.iter().any(|k| kinds.contains(k)), "one of {kinds:?} in {there:?}");
    }
    let variables = number(8 + 8 + 8 + 8 + 8);
    assert!(variables > 1000, "{variables} variables");
}
