//! The page itself; `main.rs` writes it, a test compares it with the committed file.

use chimney_abi::layout::{Access, Field, Reg};
use chimney_abi::regs;
use std::fmt::Write as _;

/// The committed page.
pub const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../doc/registers.md");
/// What writes it.
pub const COMMAND: &str = "cargo run -p chimney-abi --example regmap";

/// Short name of an access, and what it means.
fn access(a: Access) -> (&'static str, &'static str) {
    match a {
        Access::Ro => ("RO", "read only, writes are ignored"),
        Access::Rw => ("RW", "read and write"),
        Access::W1c => ("W1C", "write one to clear"),
        Access::Wo => ("WO", "write only; reads give the last value written"),
    }
}

/// Bits that a register takes: a counter is followed by its high word.
fn width_bits(r: &Reg) -> u32 {
    let first = regs::CNT_RX_FRAMES.offset;
    let counters = first..first + 8 * regs::COUNTERS as u32;
    if counters.contains(&r.offset) {
        64
    } else {
        32
    }
}

/// Value after reset. What the device says of itself, and has no fixed value, is a dash.
fn reset(r: &Reg) -> String {
    match (r.access, r.reset) {
        (Access::Ro, 0) if width_bits(r) == 32 => "-".into(),
        (_, n @ 0..=9) => n.to_string(),
        (_, n) => format!("{n:#010x}"),
    }
}

/// `7` or `15:8`.
fn bits(f: &Field) -> String {
    let last = f.offset_bits + f.width_bits - 1;
    if f.width_bits == 1 {
        last.to_string()
    } else {
        format!("{last}:{}", f.offset_bits)
    }
}

/// Text of a doc comment on one line of a table.
fn cell(doc: &str) -> String {
    doc.trim().replace('|', "\\|")
}

fn registers(out: &mut String) {
    *out += "| offset | name | bits | access | reset | meaning |\n|---|---|---|---|---|---|\n";
    for r in regs::ALL {
        let (offset, name, width, kind) = (r.offset, r.name, width_bits(r), access(r.access).0);
        let _ =
            writeln!(out, "| {offset:#05x} | `{name}` | {width} | {kind} | {} | {} |", reset(r), cell(r.doc));
    }
}

fn fields(out: &mut String) {
    *out += "| register | bits | field | meaning |\n|---|---|---|---|\n";
    for r in regs::ALL {
        for f in r.fields {
            let _ = writeln!(out, "| `{}` | {} | `{}` | {} |", r.name, bits(f), f.name, cell(f.doc));
        }
    }
}

fn doorbells(out: &mut String) {
    let (base, stride, receive) = (regs::DOORBELL_BASE, regs::DOORBELL_STRIDE, regs::DOORBELL_RECEIVE);
    let _ = write!(
        out,
        "Connection `i` has its doorbells at {base:#x} + {stride} i: the send doorbell at offset 0, the receive \
         doorbell at offset {receive}. They are write only, two words each; writing the high word commits both.\n\n\
         | word | bits | field | meaning |\n|---|---|---|---|\n\
         | low | 15:0 | `producer` | Producer index of the ring. |\n\
         | low | 23:16 | `generation` | Generation of the connection; a stale one is counted and refused. |\n\
         | low | 31:24 | `flags` | Send: {} = a FIN follows the stream limit. |\n\
         | high | 31:0 | `limit` | Send: sequence number after the last posted byte. Receive: right edge that may be \
         advertised. |\n",
        regs::DOORBELL_FIN
    );
}

/// The whole page.
pub fn text() -> String {
    let mut out = format!("<!-- Generated from hdl/abi/src/regs.rs: {COMMAND} -->\n\n# Registers\n\n");
    let (size, base) = (regs::BAR0_BYTES, regs::DOORBELL_BASE);
    let _ = write!(
        out,
        "BAR0 has {size:#x} bytes: one page of 32-bit registers, and from {base:#x} on the doorbells. A 64-bit pair \
         (`_LO`, `_HI`) is written low word first; a 64-bit counter is read low word first, its high word is at the next \
         offset. `programmers_guide.md` says how they are used.\n\n"
    );
    for a in [Access::Ro, Access::Rw, Access::W1c, Access::Wo] {
        let (short, long) = access(a);
        let _ = writeln!(out, "* {short}: {long}");
    }
    out += "* a reset value of `-`: the device's own state or build\n\n## The page\n\n";
    registers(&mut out);
    out += "\n## Fields\n\nRegisters that are not here are one number.\n\n";
    fields(&mut out);
    out += "\n## Doorbells\n\n";
    doorbells(&mut out);
    out
}
