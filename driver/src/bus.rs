//! The door to a device: registers, DMA memory, interrupts, the passing of time.
//!
//! ```text
//!   in-process   a model in the same process                   | one driver,
//!   VFIO         a PCIe function, mapped by the kernel         | three
//!   vfio-user    a function in another process, by a socket    | transports
//! ```
//!
//! # Memory rules
//! Device and driver touch DMA memory at the same time. So it is never a Rust reference: bytes are
//! copied in and out through [`DmaMemory`], whose words of 8 bytes are atomics.
//! * An aligned 8-byte word never tears. Longer copies go word by word, upwards; they may tear.
//! * A store is a release, a load an acquire: who sees a word sees what was stored before it.
//! * A register write makes every store before it visible to the device before the write itself.

use chimney_vfio_user::pci;

use crate::error::{Alarm, BusError};

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

/// A transport to one device: a PCI function (`chimney_vfio_user::pci` has its layout).
///
/// A device that is gone, or a transport that broke, is not an error of each access: registers read as all ones and writes
/// go nowhere, as on a real bus.
pub trait Bus {
    /// Its memory.
    type Memory: DmaMemory;

    /// Reads config space.
    ///
    /// # Errors
    /// [`BusError`].
    fn config_read(&mut self, offset: u16, out: &mut [u8]) -> Result<(), BusError>;
    /// Writes config space.
    ///
    /// # Errors
    /// [`BusError`].
    fn config_write(&mut self, offset: u16, bytes: &[u8]) -> Result<(), BusError>;
    /// Resets the function. Everything is as after power-on: registers, bus master, interrupts. Memory stays mapped; no DMA
    /// goes on when this returns.
    ///
    /// # Errors
    /// [`BusError`].
    fn reset(&mut self) -> Result<(), BusError>;
    /// Lets interrupts arrive from now on, or no more.
    ///
    /// # Errors
    /// [`BusError`].
    fn set_interrupts(&mut self, on: bool) -> Result<(), BusError>;
    /// Lets the function make DMA and signal interrupts, or keeps it from both.
    ///
    /// # Errors
    /// [`BusError`].
    fn set_master(&mut self, on: bool) -> Result<(), BusError> {
        let mut command = [0; 2];
        self.config_read(pci::COMMAND, &mut command)?;
        let both = pci::COMMAND_MEMORY | pci::COMMAND_MASTER;
        let old = u16::from_le_bytes(command) | pci::COMMAND_MEMORY;
        let new = if on { old | both } else { old & !pci::COMMAND_MASTER };
        self.config_write(pci::COMMAND, &new.to_le_bytes())
    }

    /// Reads a 32-bit word of BAR0. A device that is gone reads as all ones.
    fn read32(&mut self, offset: u32) -> u32;
    /// Writes a 32-bit word of BAR0. Posted: returns before the device has seen it; order is kept.
    fn write32(&mut self, offset: u32, value: u32);
    /// Allocates zeroed memory, a whole number of words, mapped for the device.
    ///
    /// # Errors
    /// [`BusError`].
    fn allocate(&mut self, len_bytes: usize, access: DeviceAccess) -> Result<Self::Memory, BusError>;
    /// True if an interrupt arrived since the last call. Several may have become one.
    fn interrupt_pending(&mut self) -> bool;
    /// Why the device must be given up now, if somebody said so. Not free of cost: to be asked some hundred times a second.
    fn alarm(&mut self) -> Option<Alarm> {
        None
    }
    /// Lets the device run for about `us` microseconds; only bring-up, reset and stop wait.
    fn wait_us(&mut self, us: u32);
}
