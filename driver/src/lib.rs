//! The miniport: the chimney functions ([`Offload`](chimney_abi::offload::Offload)) over [`bus::Bus`].
//!
//! ```text
//!   driver     open, poll, the trait           <- offload, ops (tree -> images), doubt, forward, loss, reach
//!   conn       one connection                  <- prepare, receive, deliver, upload, rebuild
//!   nic        bring-up, heartbeat             <- mailbox, queue::frames, pool
//!   ring       every ring, fences, phase bit   <- dma, mmio, bus
//!   vfio       a transport: the kernel's VFIO  <- mapped, iova
//!   vfio_user  a transport: another process    <- mapped, iova
//! ```
//! # Rules
//! * Nothing blocks: calls queue, [`poll`](chimney_abi::offload::Offload::poll) does the work and makes the call-backs (R-033 to R-035).
//! * No register is read on a fast path; doorbells are rung once per connection and poll.
//! * The device is never trusted: what it writes is copied once and range-checked; a contradiction is a typed fault.
//! * Law L2: everything that was acknowledged is in host memory, so a lost device costs no connection (`rebuild`).
//!
//! Three files to read first: `driver.rs`, `conn.rs`, `receive.rs`.

pub mod arena;
pub mod bus;
pub mod config;
pub mod conn;
mod counts;
mod deliver;
pub mod dma;
mod doubt;
pub mod driver;
pub mod error;
#[cfg(test)]
mod fake;
mod forward;
pub mod image;
pub mod iova;
mod loss;
pub mod mailbox;
pub mod mapped;
pub mod mmio;
pub mod nic;
mod offload;
mod ops;
mod plan;
pub mod pool;
pub mod prepare;
pub mod queue;
mod reach;
mod rebuild;
pub mod receive;
pub mod record;
pub mod ring;
pub mod shadow;
pub mod table;
mod tree;
mod upload;
pub mod vfio;
pub mod vfio_user;

pub use bus::{Bus, DeviceAccess, DmaMemory};
pub use config::{quota_pages, Config};
pub use driver::{Driver, DriverStats};
pub use error::{Alarm, BusError, ConnFault, DriverError};
