//! The simulated world around the NIC.
//!
//! ```text
//!   driver ---- AXI4-Lite (bfm::axil) --->+-----+<--- AXI-Stream (bfm::axis) --- net::link --- net::tap --- Linux kernel
//!   host_mem <- AXI4 (bfm::axi) ----------| NIC |                                   |            (net::netns)
//!      ^        check::axi watches        +-----+     check::axis watches        net::pcap
//!      driver's DMA memory                 clock: one time for NIC, stack and link
//! ```
//!
//! * [`host_mem`]: memory behind a fake IOMMU; a DMA outside of what was mapped is refused and recorded.
//! * [`bfm`]: the bus partners of the NIC, allocation-free per clock.
//! * [`check`]: protocol watchers, always on.
//! * [`clock`]: simulated microseconds, virtual or slewed to wall time.
//! * [`ffi`], [`pins`]: the Verilated RTL and its pins in bundles.
//! * [`rig`]: a Verilated top with all of that around it.
//! * [`model`]: the RTL as a device.
//! * [`device`]: the boundary of any NIC behind the ABI; [`golden`]: the NIC in plain Rust, untimed.
//! * [`pci`]: the PCI function around a device; [`vfio_user`]: that function behind a socket.
//! * [`yardstick`]: how fast this machine simulates.
//! * [`net`]: the wire: impairments, captures, a Linux peer in its own network namespace.
//!
//! Three files to read first: `bfm/axi.rs`, `clock.rs`, `net/link.rs`.

pub mod bfm;
pub mod check;
pub mod clock;
pub mod device;
pub mod ffi;
pub mod golden;
pub mod host_mem;
pub mod model;
pub mod net;
pub mod pci;
pub mod pins;
pub mod rig;
pub mod vfio_user;
pub mod yardstick;

pub use chimney_rng as rng;
