//! Nothing to generate yet.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
}
