//! A core on four pins, so that place and route can measure it alone.
//!
//! ```text
//!   scan_in -> [chain of registers] -> core -> [registers] -> [XOR, registered] -> scan_out
//! ```
//! A core has more ports than any package has pins. Here each input comes from a register of a shift chain and each
//! output goes to a register, as in a chip where adapters with registers stand around the core: every path of the core
//! starts and ends at a register, nothing of it is optimised away, and the clock gets a global net. (Place and route
//! without pins, nextpnr's `--out-of-context`, has no global clock and times no path that touches a port.)
//!
//! The core keeps its own module (`keep_hierarchy`), so that it can be counted without what stands around it.

use chimney_hdl_kernel::Port;
use std::fmt::Write as _;

/// Outputs folded by one XOR: what fits two levels of 4-input tables.
const FOLD: usize = 16;

/// The name of what [`on_pins`] makes of `top`.
pub fn name(top: &str) -> String {
    format!("{top}_pins")
}

/// Verilog of a module around `top`, which has these ports, among them `clock` and `reset`.
pub fn on_pins(top: &str, ports: &[Port]) -> String {
    let is_data = |p: &&Port| p.name != "clock" && p.name != "reset";
    let width = |input: bool| ports.iter().filter(is_data).filter(|p| p.input == input).map(|p| p.bits).sum();
    let (ins, outs): (usize, usize) = (width(true), width(false));
    let folds = outs.div_ceil(FOLD);
    let mut text = format!("module {}(clock, reset, scan_in, scan_out);\n", name(top));
    text += "input wire clock;\ninput wire reset;\ninput wire scan_in;\noutput reg scan_out;\n";
    let _ = writeln!(text, "reg started;\nreg [{}:0] chain;\nwire [{}:0] made;", ins - 1, outs - 1);
    let _ = writeln!(text, "reg [{}:0] held;\nreg [{}:0] folded;", outs - 1, folds - 1);
    let _ = write!(text, "(* keep_hierarchy *) {top} core(.clock(clock), .reset(started)");
    let (mut i, mut o) = (0, 0);
    for p in ports.iter().filter(is_data) {
        let (net, at) = if p.input { ("chain", &mut i) } else { ("made", &mut o) };
        let _ = write!(text, ",\n    .{}({net}[{}:{}])", p.name, *at + p.bits - 1, *at);
        *at += p.bits;
    }
    text += ");\nalways @(posedge clock) begin\n    started <= reset;\n";
    let _ = writeln!(text, "    chain <= {{chain[{}:0], scan_in}};\n    held <= made;", ins - 2);
    for k in 0..folds {
        let _ = writeln!(text, "    folded[{k}] <= ^held[{}:{}];", outs.min((k + 1) * FOLD) - 1, k * FOLD);
    }
    text + "    scan_out <= ^folded;\nend\nendmodule\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(name: &str, bits: usize, input: bool) -> Port {
        Port { name: name.into(), bits, input }
    }

    #[test]
    fn each_bit_of_each_port_has_its_register() {
        let ports = [
            port("clock", 1, true),
            port("reset", 1, true),
            port("a", 8, true),
            port("x", 17, false),
            port("b", 1, true),
            port("y", 2, false),
        ];
        let text = on_pins("core8", &ports);
        for part in [
            "module core8_pins(clock, reset, scan_in, scan_out);",
            "reg [8:0] chain;",
            "reg [18:0] held;",
            "core8 core(.clock(clock), .reset(started),\n    .a(chain[7:0]),\n    .x(made[16:0]),",
            ".b(chain[8:8]),\n    .y(made[18:17]));",
            "chain <= {chain[7:0], scan_in};",
            "folded[1] <= ^held[18:16];",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
    }
}
