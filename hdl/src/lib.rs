//! The NIC's RTL: blocks in the kernel dialect of `chimney-hdl-kernel` (its README is the language reference), and the
//! registry of tops that are exported, linted and simulated.

pub mod eth;
pub mod host;
pub mod ip;
pub mod mem;
pub mod mirror;
pub mod prelude;
pub mod stream;
pub mod tcp;
pub mod top;
pub mod tops;
pub mod types;

pub use chimney_hdl_kernel::{ElabError, Port};
pub use tops::{emit, ports, TOPS};
