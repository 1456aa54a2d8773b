//! The library behind `#[kernel]`, and the differential block harness.
//!
//! A kernel is Rust text that is used twice. As it stands it is the native simulation of a block (through
//! `rust-hdl-core`). Rewritten by the macro over symbolic values it runs once while Verilog is exported and records
//! what it does. The compiler gives both the same types; see the README for the dialect.

// The derive macros name this crate by its full path, also in here.
extern crate self as chimney_hdl_kernel;

pub mod builtin;
mod dff;
pub mod diff;
#[doc(hidden)]
pub mod krt;
pub mod lint;
pub mod netlist;

pub use chimney_hdl_macros::{kernel, LogicBlock, LogicInterface, LogicState, LogicStruct};
pub use dff::Dff;
pub use netlist::{ports, verilog, ElabError, Port};

#[doc(hidden)]
pub use rust_hdl_core as core;
