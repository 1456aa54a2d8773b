//! Writes the Verilog of every top: `cargo run -p chimney-hdl --bin export [-- <directory> [top..]]`.
//!
//! Without an argument the files go to `verilog/` in the target directory. A top that is named may be any of the lists
//! in `tops.rs`; one for an FPGA comes in the form for synthesis, and with a second file, `<top>_pins.v`, which puts it
//! on few pins. The same sources give the same bytes.

use anyhow::Context;
use chimney_hdl::{emit, emit_pins, emit_synthesis, pins, FPGA_TOPS, TOPS};
use std::path::{Path, PathBuf};

const HEAD: &str = "// Generated: cargo run -p chimney-hdl --bin export\n\n";

fn directory() -> PathBuf {
    let target = || PathBuf::from(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()));
    std::env::args_os().nth(1).map_or_else(|| target().join("verilog"), PathBuf::from)
}

fn write(dir: &Path, name: &str, text: &str) -> anyhow::Result<()> {
    let file = dir.join(format!("{name}.v"));
    std::fs::write(&file, HEAD.to_string() + text)
        .with_context(|| format!("cannot write {}", file.display()))?;
    println!("{} ({} lines)", file.display(), text.lines().count());
    Ok(())
}

fn main() -> anyhow::Result<()> {
    let dir = directory();
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let named: Vec<String> = std::env::args().skip(2).collect();
    let every: Vec<String> = TOPS.iter().map(|&top| top.into()).collect();
    for top in if named.is_empty() { every } else { named } {
        if FPGA_TOPS.contains(&top.as_str()) {
            write(&dir, &top, &emit_synthesis(&top)?)?;
            write(&dir, &pins::name(&top), &emit_pins(&top)?)?;
        } else {
            write(&dir, &top, &emit(&top)?)?;
        }
    }
    Ok(())
}
