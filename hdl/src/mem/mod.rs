//! Memories. Each is a hand-written pair: a native `update`, and Verilog text from which tools infer a RAM.
//!
//! | block | read | FPGA |
//! |---|---|---|
//! | [`SdpRam`] | registered, 1 clock | block RAM |
//! | [`SplitRam`] | registered, 1 clock; written in two parts, at two times | block RAM |
//! | [`LaneRam`] | registered, 1 clock; bytes written at any alignment | block RAM |
//! | [`LutRam`] | combinational | LUT RAM |
//!
//! All but [`SplitRam`] have one write and all one read port, start as zeros (an [`SdpRam`] with what it is told to hold: a ROM, or registers), and are not touched by a reset. A read of the address that is
//! written in the same clock is undefined in hardware (`no_rw_check`): forward or stall.

pub mod lane_ram;
pub mod lut_ram;
pub mod sdp_ram;
pub mod split_ram;

pub use lane_ram::LaneRam;
pub use lut_ram::LutRam;
pub use sdp_ram::SdpRam;
pub use split_ram::SplitRam;

/// Declaration and zeroing of a memory of `1 << aw` words of `w` bits.
fn declare(w: usize, aw: usize, attr: &str) -> String {
    format!(
        "{attr}reg [{}:0] mem [0:{}];\ninteger i;\ninitial for (i = 0; i < {}; i = i + 1) mem[i] = {w}'h0;\n",
        w - 1,
        (1usize << aw) - 1,
        1usize << aw,
    )
}
