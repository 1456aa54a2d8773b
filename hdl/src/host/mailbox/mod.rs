//! The command block: takes commands from the ring, carries their images to where they belong, reports.
//!
//! ```text
//!   command ring -> ring --Command--> images --Job--+--> object_ops <-> store, transmit's tables
//!                    ^                   |          `--> conn_ops <-> store, PROTO, lookup
//!                    `-----Outcome-------'                  record_in -> PROTO -> record_out
//!   ring, images, object_ops, record_in <-> fetch <-> read arbiter
//!   ring, images, object_ops, record_out -> writes -> status -> write engine
//! ```
//! | file | job |
//! |---|---|
//! | `block.rs` | instances and wiring |
//! | `ring.rs` | the command ring: one command after the other, completions |
//! | `images.rs` | the images of a command: header, check, hand-over, status |
//! | `object_ops.rs` | the sequence of a neighbor or path image |
//! | `objects.rs` | what is allowed and what changes, as pure functions |
//! | `store.rs` | the neighbors and paths themselves |
//! | `conn_ops.rs` | the sequence of a connection's image, and of an Abort |
//! | `record_in.rs`, `record_out.rs` | a connection's record to and from PROTO |
//! | `fetch.rs` | runs of beats from host memory |
//! | `writes.rs` | the port of the write engine |
//! | `job.rs` | what these say to each other |
//!
//! One command at a time, in ring order; `CommandDone` is written when everything the command wrote
//! has been handed to the write engine, on the same AXI ID, so it becomes visible last.
//! One image at a time, so of the parts that share `fetch`, `writes` and `store` only one is at work.

pub mod block;
pub mod conn_ops;
pub mod fetch;
pub mod images;
pub mod job;
pub mod object_ops;
pub mod objects;
pub mod record_in;
pub mod record_out;
pub mod ring;
pub mod store;
pub mod writes;

pub use block::Mailbox;
