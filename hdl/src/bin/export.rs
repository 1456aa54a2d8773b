//! Writes the Verilog of every top: `cargo run -p chimney-hdl --bin export [-- <directory>]`.
//!
//! Without an argument the files go to `verilog/` in the target directory. The same sources give the same bytes.

use anyhow::Context;
use chimney_hdl::{emit, TOPS};
use std::path::PathBuf;

fn directory() -> PathBuf {
    let target = || PathBuf::from(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()));
    std::env::args_os().nth(1).map_or_else(|| target().join("verilog"), PathBuf::from)
}

fn main() -> anyhow::Result<()> {
    let dir = directory();
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    for top in TOPS {
        let head = "// Generated: cargo run -p chimney-hdl --bin export\n\n";
        let text = head.to_string() + &emit(top)?;
        let file = dir.join(format!("{top}.v"));
        std::fs::write(&file, &text).with_context(|| format!("cannot write {}", file.display()))?;
        println!("{} ({} lines)", file.display(), text.lines().count());
    }
    Ok(())
}
