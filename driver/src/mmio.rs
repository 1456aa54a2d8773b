//! Register access through [`Reg`]: access rights, surprise removal, and a count of every access.
//!
//! Reads are slow (a round trip over PCIe), so no fast path makes one; [`MmioCounts`] lets a test prove it.

use chimney_abi::layout::{Access, Reg};
use chimney_abi::regs;

use crate::bus::Bus;
use crate::error::DriverError;

/// What every register of a device that is gone reads as.
pub const ALL_ONES: u32 = u32::MAX;

/// Register accesses so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MmioCounts {
    /// Reads.
    pub reads: u64,
    /// Writes, doorbells included.
    pub writes: u64,
}

/// The registers of one device.
#[derive(Debug)]
pub struct Mmio<B> {
    bus: B,
    counts: MmioCounts,
}

impl<B: Bus> Mmio<B> {
    /// Registers behind `bus`.
    pub fn new(bus: B) -> Self {
        Self { bus, counts: MmioCounts::default() }
    }

    /// The transport.
    pub fn bus(&mut self) -> &mut B {
        &mut self.bus
    }

    /// Accesses so far.
    pub fn counts(&self) -> MmioCounts {
        self.counts
    }

    /// Reads a register.
    ///
    /// # Errors
    /// [`DriverError::Gone`] when the device does not answer.
    pub fn read(&mut self, reg: &Reg) -> Result<u32, DriverError> {
        let value = self.read_raw(reg);
        // All ones may be an honest value of any register but ID.
        if value == ALL_ONES && self.read_raw(&regs::ID) == ALL_ONES {
            return Err(DriverError::Gone { register: reg.name });
        }
        Ok(value)
    }

    /// Reads a 64-bit counter, low word first.
    ///
    /// # Errors
    /// As `read`.
    pub fn read_counter(&mut self, reg: &Reg) -> Result<u64, DriverError> {
        let low = self.read(reg)?;
        self.counts.reads += 1;
        let high = self.bus.read32(reg.offset + 4);
        Ok(u64::from(low) | u64::from(high) << 32)
    }

    /// Writes a register.
    ///
    /// # Errors
    /// [`DriverError::ReadOnly`].
    pub fn write(&mut self, reg: &Reg, value: u32) -> Result<(), DriverError> {
        if reg.access == Access::Ro {
            return Err(DriverError::ReadOnly { register: reg.name });
        }
        self.counts.writes += 1;
        self.bus.write32(reg.offset, value);
        Ok(())
    }

    /// Writes a 64-bit pair, low word first.
    ///
    /// # Errors
    /// As `write`.
    pub fn write_pair(&mut self, low: &Reg, high: &Reg, value: u64) -> Result<(), DriverError> {
        self.write(low, value as u32)?; // low half
        self.write(high, (value >> 32) as u32)
    }

    /// Rings a connection's doorbell: the second write commits both words.
    pub fn doorbell(&mut self, conn: u16, receive: bool, low: u32, limit: u32) {
        let offset = regs::doorbell(conn, receive);
        self.counts.writes += 2;
        self.bus.write32(offset, low);
        self.bus.write32(offset + 4, limit);
    }

    fn read_raw(&mut self, reg: &Reg) -> u32 {
        self.counts.reads += 1;
        self.bus.read32(reg.offset)
    }
}

/// The value of a register's field.
///
/// # Panics
/// When the register has no such field: a typing error in the driver.
pub fn field(reg: &Reg, name: &str, word: u32) -> u32 {
    find(reg, name).get(u64::from(word)) as u32 // a field of a 32-bit register
}

/// `word` with a field replaced.
///
/// # Panics
/// As [`field`].
pub fn with_field(reg: &Reg, name: &str, word: u32, value: u32) -> u32 {
    find(reg, name).set(u64::from(word), u64::from(value)) as u32 // a field of a 32-bit register
}

fn find(reg: &Reg, name: &str) -> &'static chimney_abi::layout::Field {
    reg.fields.iter().find(|f| f.name == name).expect("the register has this field")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::FakeBus;

    #[test]
    fn refuses_writes_to_read_only_registers() {
        let mut mmio = Mmio::new(FakeBus::default());
        assert_eq!(mmio.write(&regs::ID, 1), Err(DriverError::ReadOnly { register: "ID" }));
        assert_eq!(mmio.counts().writes, 0);
        mmio.write(&regs::CTRL, 1).unwrap();
        assert_eq!(mmio.read(&regs::CTRL), Ok(1));
    }

    #[test]
    fn all_ones_is_removal_only_if_the_identity_is_gone_too() {
        let mut mmio = Mmio::new(FakeBus::default());
        mmio.bus().poke(&regs::ID, 0x4843_0001);
        mmio.bus().poke(&regs::TIME_LO, ALL_ONES);
        assert_eq!(mmio.read(&regs::TIME_LO), Ok(ALL_ONES));
        mmio.bus().poke(&regs::ID, ALL_ONES);
        assert_eq!(mmio.read(&regs::TIME_LO), Err(DriverError::Gone { register: "TIME_LO" }));
    }

    #[test]
    fn fields_are_placed_by_the_table() {
        let word = with_field(&regs::RING_SIZES, "event", 0, 7);
        assert_eq!(word, 0x7000_0000);
        assert_eq!(field(&regs::RING_SIZES, "event", word), 7);
    }
}
