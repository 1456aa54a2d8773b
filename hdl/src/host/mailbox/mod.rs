//! The command block: takes commands from the ring, carries their images to where they belong, reports.
//!
//! ```text
//!   command ring -> Fetch -> command -> image by image: header -> checks -+-> neighbor, path: store + TableOp
//!                                                                          `-> TCP: ConnOp to PROTO, lookup
//!   status of each image, bodies, CommandDone -> write engine (one client, in order)
//! ```
//! | file | job |
//! |---|---|
//! | `fetch.rs` | runs of beats from host memory |
//! | `control.rs` | the sequence of a command and of an image |
//! | `objects.rs` | neighbors and paths: store, checks, table entries |
//! | `status.rs` | status line and heartbeat |
//!
//! One command at a time, in ring order; `CommandDone` is written when everything the command wrote
//! has been handed to the write engine, on the same AXI ID, so it becomes visible last.

pub mod control;
pub mod fetch;
pub mod objects;
