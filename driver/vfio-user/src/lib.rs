//! The NIC as a PCI function, and the vfio-user protocol that carries one to another process.
//!
//! ```text
//!   driver (client)                                   device process (server)
//!     config space, BAR0   -- messages, socket -->      PCI function around the NIC
//!     DMA memory (memfd)   == mapped by both ====       host memory behind an IOMMU
//!     eventfd              <-- written --------         interrupt line
//! ```
//! Driver and simulator both use it, so every number of the protocol and of the PCI function stands here once.
//!
//! * [`pci`]: identity, config space and BARs of the function.
//! * [`message`]: the protocol's messages as bytes.
//! * [`channel`]: messages with file descriptors over a UNIX socket, never blocking.
//! * [`memory`]: memory that two processes map; [`words`]: access to it without tearing.
//!
//! The protocol is that of QEMU's and libvfio-user's specification, major version 0.

pub mod channel;
pub mod memory;
pub mod message;
pub mod pci;
pub mod words;
