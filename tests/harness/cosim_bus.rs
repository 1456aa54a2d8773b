//! The driver's bus over a simulated device.

pub use chimney::cosim::CosimBus;
