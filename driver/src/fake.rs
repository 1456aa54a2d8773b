//! A bus without a device, for unit tests: registers are plain words, memory is a vector.

use std::cell::RefCell;
use std::collections::BTreeMap;

use chimney_abi::layout::Reg;

use crate::bus::{Bus, DeviceAccess, DmaMemory};
use crate::error::BusError;

/// Memory of a [`FakeBus`].
#[derive(Debug)]
pub struct FakeMemory {
    iova: u64,
    bytes: RefCell<Vec<u8>>,
}

impl FakeMemory {
    /// Zeroed memory at a device address.
    pub fn new(iova: u64, len_bytes: usize) -> Self {
        Self { iova, bytes: RefCell::new(vec![0; len_bytes]) }
    }
}

impl DmaMemory for FakeMemory {
    fn iova(&self) -> u64 {
        self.iova
    }

    fn len_bytes(&self) -> usize {
        self.bytes.borrow().len()
    }

    fn read(&self, offset: usize, out: &mut [u8]) {
        out.copy_from_slice(&self.bytes.borrow()[offset..offset + out.len()]);
    }

    fn write(&self, offset: usize, bytes: &[u8]) {
        self.bytes.borrow_mut()[offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    fn load_u64(&self, offset: usize) -> u64 {
        assert_eq!(offset % 8, 0);
        let mut word = [0; 8];
        self.read(offset, &mut word);
        u64::from_le_bytes(word)
    }

    fn store_u64(&self, offset: usize, value: u64) {
        assert_eq!(offset % 8, 0);
        self.write(offset, &value.to_le_bytes());
    }
}

/// Registers that remember what was written.
#[derive(Debug)]
pub struct FakeBus {
    words: BTreeMap<u32, u32>,
    next_iova: u64,
}

impl Default for FakeBus {
    fn default() -> Self {
        Self { words: BTreeMap::new(), next_iova: 0x1_0000_0000 }
    }
}

impl FakeBus {
    /// Sets a register from the device's side.
    pub fn poke(&mut self, reg: &Reg, value: u32) {
        self.words.insert(reg.offset, value);
    }
}

impl Bus for FakeBus {
    type Memory = FakeMemory;

    fn read32(&mut self, offset: u32) -> u32 {
        self.words.get(&offset).copied().unwrap_or(0)
    }

    fn write32(&mut self, offset: u32, value: u32) {
        self.words.insert(offset, value);
    }

    fn allocate(&mut self, len_bytes: usize, _access: DeviceAccess) -> Result<FakeMemory, BusError> {
        let iova = self.next_iova;
        self.next_iova += (len_bytes as u64).next_multiple_of(4096) + 4096;
        Ok(FakeMemory::new(iova, len_bytes))
    }

    fn interrupt_pending(&mut self) -> bool {
        false
    }

    fn wait_us(&mut self, _us: u32) {}
}
