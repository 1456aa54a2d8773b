//! TCP: the connection record and what moves it. The decisions are in `chimney_host_stack_core`.
//!
//! ```text
//!   frames --> input (RFC 9293 3.10.7, step by step) --> Tcb <-- send, recv, shutdown
//!   time ----> timers --------------------------------> Tcb --> output: next_segment
//!                                          freeze, thaw: snapshot
//! ```

pub mod buffers;
pub mod input;
pub mod isn;
mod loss;
pub mod merge;
pub mod output;
pub mod reassembly;

pub mod snapshot;
pub mod tcb;
pub mod timers;
