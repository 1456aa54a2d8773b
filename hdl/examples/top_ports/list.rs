//! The list itself; `main.rs` writes it, a test compares it with the committed file.

use chimney_hdl::{ports, EmitError};
use std::fmt::Write as _;

/// The committed list.
pub const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/doc/top_ports.txt");
/// What writes it.
pub const COMMAND: &str = "cargo run -p chimney-hdl --example top_ports";
/// The top that boards and simulators are wired to.
const TOP: &str = "nic";

/// The whole list: direction, bits, name.
///
/// # Errors
/// When there is no such top.
pub fn text() -> Result<String, EmitError> {
    let mut out =
        format!("# Generated from hdl/src/top.rs: {COMMAND}\n# Ports of `{TOP}`: direction, bits, name.\n");
    for p in ports(TOP)? {
        let _ = writeln!(out, "{:6} {:3} {}", if p.input { "input" } else { "output" }, p.bits, p.name);
    }
    Ok(out)
}
