//! The `chimney` program's parts: where host stack, driver, device and wire meet.
//!
//! ```text
//!   demo -> world: Switch (host stack) -> Driver -> CosimBus -> Device (RTL or golden model) -> Wire -> peer
//! ```
//! Three files to read first: `world.rs`, `demo/mod.rs`, `demo/transfer.rs`.
#![forbid(unsafe_code)]

pub mod bench;
pub mod cosim;
pub mod demo;
pub mod device;
mod output;
pub mod pace;
pub mod transports;
pub mod world;
