//! The sans-IO host stack: Ethernet, IPv4 with ARP, IPv6 with Neighbor Discovery, ICMP echo and path MTU, and TCP, with
//! connections that can be given to a NIC alive and taken back alive.
//!
//! ```text
//!   application --> calls (connect, send, recv ..)     handover (freeze, thaw ..) <-- switch
//!                          \                              /
//!                           `---------- stack -----------'
//!                     tcp (record, input, output, timers, snapshot)
//!                     iface (neighbors, paths)        wire (frames)
//! ```
//! No socket, no thread, no clock: bytes and microseconds go in, bytes and a deadline come out. The pure
//! TCP decisions live in `chimney_host_stack_core`.
#![forbid(unsafe_code)]

mod calls;
mod handover;
pub mod iface;
mod ingress;
pub mod socket;
pub mod stack;
pub mod switch;
pub mod tcp;
#[cfg(test)]
mod test_seed;
pub mod wire;

pub use iface::address::Address;
pub use iface::frame::Frame;
pub use socket::{ConnId, ListenerId, Place, StackError, StackEvent, Status};
pub use stack::{Stack, StackConfig, StackCounters};
pub use tcp::tcb::TcpConfig;
pub use wire::ethernet::MacAddr;
