//! The door to a device: registers, DMA memory, interrupts, the passing of time.
//!
//! ```text
//!   in-process   closures over a model (tests, simulator)      | one driver,
//!   VFIO         a PCIe function, mapped by the kernel         | three
//!   vfio-user    a simulator behind a socket                   | transports
//! ```
//!
//! # Memory rules
//! Device and driver touch DMA memory at the same time. So it is never a Rust reference: bytes are
//! copied in and out through [`DmaMemory`], whose words of 8 bytes are atomics.
//! * An aligned 8-byte word never tears. Longer copies go word by word, upwards; they may tear.
//! * A store is a release, a load an acquire: who sees a word sees what was stored before it.
//! * A register write makes every store before it visible to the device before the write itself.

use crate::error::BusError;

/// What the device may do with a piece of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceAccess {
    /// The device only reads.
    Reads,
    /// The device reads and writes.
    ReadsWrites,
}

/// A piece of memory that the device can reach, from allocation until it is dropped.
pub trait DmaMemory {
    /// Address of the first byte as the device sees it, a multiple of 4096.
    fn iova(&self) -> u64;
    /// Length, bytes.
    fn len_bytes(&self) -> usize;
    /// Copies bytes out.
    ///
    /// # Panics
    /// May panic when the range is outside: the driver knows its own sizes.
    fn read(&self, offset: usize, out: &mut [u8]);
    /// Copies bytes in.
    ///
    /// # Panics
    /// As `read`.
    fn write(&self, offset: usize, bytes: &[u8]);
    /// Loads one little-endian word (acquire); `offset` is a multiple of 8.
    ///
    /// # Panics
    /// As `read`, and when misaligned.
    fn load_u64(&self, offset: usize) -> u64;
    /// Stores one little-endian word (release); `offset` is a multiple of 8.
    ///
    /// # Panics
    /// As `load_u64`.
    fn store_u64(&self, offset: usize, value: u64);
}

/// A transport to one device.
pub trait Bus {
    /// Its memory.
    type Memory: DmaMemory;

    /// Reads a 32-bit word of BAR0. A device that is gone reads as all ones.
    fn read32(&mut self, offset: u32) -> u32;
    /// Writes a 32-bit word of BAR0. Posted: returns before the device has seen it; order is kept.
    fn write32(&mut self, offset: u32, value: u32);
    /// Allocates zeroed memory, a whole number of words, mapped for the device.
    ///
    /// # Errors
    /// [`BusError::NoMemory`].
    fn allocate(&mut self, len_bytes: usize, access: DeviceAccess) -> Result<Self::Memory, BusError>;
    /// True if an interrupt arrived since the last call.
    fn interrupt_pending(&mut self) -> bool;
    /// Lets the device run for about `us` microseconds; only bring-up, reset and stop wait.
    fn wait_us(&mut self, us: u32);
}
