//! Streams and buses: bundles, FIFOs, skid buffer, spill register, byte lanes.
//!
//! A bundle is named from the block's own side: a `Master` drives `valid` (or sends commands), a `Slave` drives `ready`.
//! `X::link` hands a block's bundle to the same bundle of a child, `X::join` connects the two sides of two children.

pub mod axi;
pub mod axil;
pub mod axis;
pub mod fifo;
pub mod lanes;
pub mod ram_fifo;
pub mod skid;
pub mod spill;

pub use axi::{AxiReadMaster, AxiReadSlave, AxiWriteMaster, AxiWriteSlave};
pub use axil::{AxilMaster, AxilSlave};
pub use axis::{AxisMaster, AxisSlave};
pub use fifo::Fifo;
pub use ram_fifo::RamFifo;
pub use skid::Skid;
pub use spill::Spill;
