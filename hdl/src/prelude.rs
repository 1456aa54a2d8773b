//! The one import of every RTL file: `use crate::prelude::*;`.
//!
//! It is the only door to rust-hdl and to the kernel dialect, so that a move to another HDL changes this file.

pub use chimney_hdl_kernel::builtin::{
    array, bit_cast, bits, cat, mul, mux, pack, select, unpack, unread, Packed, Part, Parts, Source,
};
pub use chimney_hdl_kernel::core::prelude::{
    simulate, Bits, Block, Clock, Constant, In, Local, Logic, Out, Signal, Synth, Verilog,
};
pub use chimney_hdl_kernel::{kernel, Dff, LogicBlock, LogicInterface, LogicState, LogicStruct};

/// One bit.
pub type Bit = bool;
