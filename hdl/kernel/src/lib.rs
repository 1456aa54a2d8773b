//! The library behind `#[kernel]`, and the differential block harness.
//!
//! A kernel is Rust text that is used twice. As it stands it is the native simulation of a block (through
//! `rust-hdl-core`). Rewritten by the macro over symbolic values it runs once while Verilog is exported and records
//! what it does. The compiler gives both the same types; see the README for the dialect.
//!
//! ```
//! use chimney_hdl_kernel::core::prelude::{Bits, In, Logic, Out, Signal};
//! use chimney_hdl_kernel::{kernel, verilog, LogicBlock};
//!
//! #[kernel]
//! fn next(x: Bits<8>, up: bool) -> Bits<8> {
//!     if up { x + 1 } else { x - 1 }
//! }
//!
//! #[derive(LogicBlock, Default)]
//! struct Step { up: Signal<In, bool>, x: Signal<In, Bits<8>>, y: Signal<Out, Bits<8>> }
//!
//! #[kernel]
//! impl Logic for Step {
//!     fn update(&mut self) {
//!         self.y.next = next(self.x.val(), self.up.val());
//!     }
//! }
//! assert!(verilog(&Step::default(), "step").unwrap().contains("up ? (x + 8'h1) : (x - 8'h1)"));
//! ```
//!
//! What the macro cannot see, the compiler refuses in the twin: a function without `#[kernel]`,
//! ```compile_fail,E0433
//! # use chimney_hdl_kernel::{core::prelude::Bits, kernel};
//! fn plain(x: Bits<8>) -> Bits<8> { x }
//! #[kernel]
//! fn f(x: Bits<8>) -> Bits<8> { plain(x) }
//! ```
//! a hardware value as a number,
//! ```compile_fail,E0599
//! # use chimney_hdl_kernel::{core::prelude::Bits, kernel};
//! #[kernel]
//! fn f(x: Bits<8>) -> Bits<8> { bits::<8>(x.to_u64()) }
//! ```
//! or as an array index (that is `mux` or `select`),
//! ```compile_fail,E0277
//! # use chimney_hdl_kernel::{core::prelude::Bits, kernel};
//! #[kernel]
//! fn f(x: [Bits<8>; 4], i: Bits<2>) -> Bits<8> { x[i.index()] }
//! ```
//! an integer that depends on a hardware condition,
//! ```compile_fail,E0594
//! # use chimney_hdl_kernel::{core::prelude::Bits, kernel};
//! #[kernel]
//! fn f(x: Bits<8>, c: bool) -> bool { let mut k: usize = 0; if c { k = 1; } x.get_bit(k) }
//! ```
//! a loop whose end is hardware,
//! ```compile_fail,E0308
//! # use chimney_hdl_kernel::{core::prelude::Bits, kernel};
//! #[kernel]
//! fn f(x: Bits<8>) -> Bits<8> { let mut y = x; for i in 0..x.index() { y = y + 1; } y }
//! ```
//! widths that differ,
//! ```compile_fail,E0277
//! # use chimney_hdl_kernel::{core::prelude::Bits, kernel};
//! #[kernel]
//! fn f(x: Bits<8>, y: Bits<9>) -> Bits<8> { x + y }
//! ```
//! and parts that do not add up.
//! ```compile_fail,E0080
//! # use chimney_hdl_kernel::{core::prelude::Bits, kernel};
//! #[kernel]
//! fn f(x: Bits<8>) -> Bits<9> { cat::<9, _>((x, x)) }
//! fn main() { f(Bits::default()); }
//! ```

// The derive macros name this crate by its full path, also in here.
extern crate self as chimney_hdl_kernel;

pub mod builtin;
mod dff;
pub mod diff;
#[doc(hidden)]
pub mod krt;
pub mod lint;
pub mod netlist;
pub mod verilator;

pub use chimney_hdl_macros::{kernel, LogicBlock, LogicInterface, LogicState, LogicStruct};
pub use dff::Dff;
pub use netlist::{ports, synthesis, verilog, ElabError, Port};

#[doc(hidden)]
pub use rust_hdl_core as core;
