//! Writes random kernels to `OUT_DIR/blocks.rs`.

#[path = "build/expr.rs"]
mod expr;
#[path = "build/program.rs"]
mod program;

use std::fmt::Write;

/// Outputs of one block, each a random expression.
const OUTPUTS: usize = 48;
/// Blocks: some expressions turn out constant and do not count, so a few more than needed. Ten times as many take a
/// compiler's memory beyond 15 GB, so more programs are other seeds, one after the other.
const BLOCKS: usize = 25;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=build");
    println!("cargo::rerun-if-env-changed=CHIMNEY_PROOF_SEED");
    let seed: u64 = std::env::var("CHIMNEY_PROOF_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(1);
    let mut text = format!("/// Seed of these programs.\npub const SEED: u64 = {seed};\n");
    for b in 0..BLOCKS {
        text += &program::block(b, OUTPUTS, seed.wrapping_mul(0x1_0000).wrapping_add(b as u64));
    }
    let _ = writeln!(
        text,
        "/// Wanted number of expressions that change.\npub const WANTED: usize = {};",
        BLOCKS * OUTPUTS * 10 / 12
    );
    text += "/// Checks every block; returns the number of outputs that changed.\npub fn all() -> Vec<fn() -> usize> {\n    vec![";
    (0..BLOCKS).for_each(|b| text += &format!("b{b}::check, "));
    text += "]\n}\n";
    let out = std::env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    std::fs::write(std::path::Path::new(&out).join("blocks.rs"), text).expect("OUT_DIR can be written");
}
