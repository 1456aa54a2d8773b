//! The command block: takes commands from the ring, carries their images to where they belong, reports.
//!
//! ```text
//!   command ring -> ring --Command--> images --Job--+--> object_ops <-> store, transmit's tables
//!                    ^        ^                     `--> conn_ops <-> store, PROTO
//!                    |   image_reader                        map_in -> PROTO -> record_out
//!                    |                                       conn_ends <-> PROTO, lookup
//!                    `---Outcome--- answers <--Answer-- images, conn_ends
//!   ring, object_ops, map_in <-> fetch <-> read arbiter <-> image_reader
//!   ring, answers, object_ops, record_out -> writes -> status -> write engine
//! ```
//! | file | job |
//! |---|---|
//! | `block.rs` | instances and wiring |
//! | `ring.rs` | the command ring: one command after the other, completions |
//! | `image_reader.rs` | the images of a command, read ahead |
//! | `images.rs` | one after the other: header, check, hand-over |
//! | `object_ops.rs` | the sequence of a neighbor or path image |
//! | `objects.rs` | what is allowed and what changes, as pure functions |
//! | `store.rs` | the neighbors and paths themselves |
//! | `conn_ops.rs` | a connection's image, and an Abort, on its way to PROTO |
//! | `conn_ends.rs` | PROTO's answers, the lookup, giving up |
//! | `map_in.rs`, `record_out.rs` | a page map to PROTO, records from PROTO |
//! | `answers.rs` | statuses, when what was written has landed; the command's outcome |
//! | `fetch.rs` | runs of beats from host memory |
//! | `writes.rs` | the port of the write engine |
//! | `job.rs` | what these say to each other |
//!
//! One command at a time, in ring order; `CommandDone` is written when everything the command wrote
//! has been handed to the write engine, on the same AXI ID, so it becomes visible last. Of a command the connections follow
//! each other without waiting for what the one before wrote, or for what of it is still under way; neighbors and paths wait until nothing is in work, so of the parts that share `fetch`
//! and `store` only one is at work.

pub mod answers;
pub mod block;
pub mod conn_ends;
pub mod conn_ops;
pub mod fetch;
pub mod image_reader;
pub mod images;
pub mod job;
pub mod map_in;
pub mod object_ops;
pub mod objects;
pub mod record_out;
pub mod ring;
pub mod store;
pub mod writes;

pub use block::Mailbox;
