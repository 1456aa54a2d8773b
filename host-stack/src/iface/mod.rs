//! Below TCP: which next hop, which path, which MAC address.

pub mod address;
mod delay;
pub mod frame;
pub mod neighbor;
pub mod path;
