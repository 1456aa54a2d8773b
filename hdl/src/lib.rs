//! The NIC's RTL: blocks in the kernel dialect of `chimney-hdl-kernel` (its README is the language reference), and the
//! registry of tops that are exported, linted and simulated.

// Kernels are hardware text: what these lints would put there (`contains`, `&&` between an elaboration-time and a
// hardware condition, a guard in a match) is not in the dialect, or hides the structure of the circuit.
#![allow(clippy::manual_range_contains, clippy::collapsible_if, clippy::collapsible_match)]
#![allow(clippy::nonminimal_bool, clippy::if_same_then_else, clippy::field_reassign_with_default)]

pub mod eth;
pub mod host;
pub mod ip;
pub mod mem;
pub mod micro;
pub mod mirror;
pub mod pins;
pub mod prelude;
pub mod state;
pub mod stream;
pub mod tcp;
pub mod top;
pub mod tops;
pub mod types;

pub use chimney_hdl_kernel::{verilator, ElabError, Port};
pub use state::STATE;
pub use tops::{
    emit, emit_pins, emit_synthesis, ports, EmitError, BENCH_TOPS, FAULTY_TOPS, FPGA_TOPS, LARGE_TOPS, TOPS,
};
