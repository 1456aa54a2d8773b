//! A bus without a device, for unit tests: registers are plain words, memory is a vector.

use std::cell::RefCell;
use std::collections::BTreeMap;

use chimney_abi::cmd::Status;
use chimney_abi::layout::Reg;
use chimney_abi::offload::{
    BufferId, ConnectionEvent, Consumed, FrameInfo, HostHandle, NeighborBlock, OffloadClient, Rebuilt,
    TargetStatus, Tree,
};

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

    fn config_read(&mut self, _offset: u16, out: &mut [u8]) -> Result<(), BusError> {
        out.fill(0);
        Ok(())
    }

    fn config_write(&mut self, _offset: u16, _bytes: &[u8]) -> Result<(), BusError> {
        Ok(())
    }

    fn reset(&mut self) -> Result<(), BusError> {
        Ok(())
    }

    fn set_interrupts(&mut self, _on: bool) -> Result<(), BusError> {
        Ok(())
    }

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

/// A piece of the received stream.
#[derive(Debug)]
pub enum News {
    /// A completed buffer with so many bytes.
    Buffer(BufferId, u32),
    /// Indicated bytes.
    Bytes(Vec<u8>),
}

/// A host that writes completions and indicated bytes down.
#[derive(Debug, Default)]
pub struct Notes {
    /// Completed receives, status and bytes.
    pub done: Vec<(Status, u32)>,
    /// What the host saw and the test has not put into `stream` yet, in order.
    pub news: Vec<News>,
    /// The received stream, put together by the test.
    pub stream: Vec<u8>,
}

impl OffloadClient for Notes {
    fn initiate_complete(&mut self, _: Tree) {}
    fn query_complete(&mut self, _: Tree) {}
    fn update_complete(&mut self, _: Tree) {}
    fn invalidate_complete(&mut self, _: Tree) {}
    fn terminate_complete(&mut self, _: Tree) {}
    fn send_complete(&mut self, _: HostHandle, _: BufferId, _: Status, _: u32) {}
    fn receive_complete(&mut self, _: HostHandle, buffer: BufferId, status: Status, bytes: u32) {
        self.done.push((status, bytes));
        self.news.push(News::Buffer(buffer, bytes));
    }
    fn disconnect_complete(&mut self, _: HostHandle, _: Status) {}
    fn forward_complete(&mut self, _: HostHandle, _: Status, _: Vec<u8>) {}
    fn receive_indicate(&mut self, _: HostHandle, data: &[u8]) -> Consumed {
        self.news.push(News::Bytes(data.to_vec()));
        Consumed::All
    }
    fn neighbor_reachability(&mut self, _: &mut NeighborBlock) {}
    fn event(&mut self, _: HostHandle, _: ConnectionEvent) {}
    fn status(&mut self, _: TargetStatus) {}
    fn frame(&mut self, _: &[u8], _: FrameInfo) {}
    fn device_lost(&mut self, _: Vec<Rebuilt>) {}
}
