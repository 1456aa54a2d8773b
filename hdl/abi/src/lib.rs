//! The contract between host and NIC, declared once.
//!
//! Registers, rings, descriptors, state images, commands, statuses and the wire
//! positions live here and nowhere else; RTL (`hdl`), driver, golden model and
//! documentation all expand the same lists.
//!
//! ```text
//!   layout   how a field list becomes a record (bit 0 first = little-endian memory)
//!   regs     BAR0: the register page and the doorbell region
//!   desc     rings in host memory: commands, frames, sends, receives, events, shadow records
//!   state    neighbor, path and TCP images (offload and upload)
//!   cmd      command opcodes and statuses, upload reasons, TCP states
//!   offload  the trait between host stack and driver, and its call-backs
//!   watch    when the device asks for an upload that need not be granted
//!   seq      sequence numbers          wire   frame field positions
//! ```
//!
//! # Version rule
//! [`VERSION_MAJOR`] changes when an old user would misread memory or registers; a
//! driver refuses another major version. [`VERSION_MINOR`] counts compatible additions.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;
// The field lists are expanded in other crates too, with links that must resolve in both places.
extern crate self as chimney_abi;

pub mod cmd;
pub mod desc;
pub mod layout;
pub mod offload;
pub mod regs;
pub mod seq;
pub mod state;
pub mod watch;
pub mod wire;

pub use seq::SeqNum;

/// Contract major version; a driver refuses a device with another one.
pub const VERSION_MAJOR: u16 = 1;
/// Contract minor version; compatible additions.
pub const VERSION_MINOR: u16 = 0;
