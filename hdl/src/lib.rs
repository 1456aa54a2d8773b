//! The NIC's RTL.
