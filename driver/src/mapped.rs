//! Memory that this process and a device in another address space reach: the pieces of a transport.
//!
//! ```text
//!   Space (the transport's)  --maps-->  MappedMemory: words here, an address there   --drop-->  Space::give_back
//! ```

use std::fmt;

use chimney_vfio_user::memory::SharedMemory;
use chimney_vfio_user::words;

use crate::bus::DmaMemory;

/// The device's address space, as far as a piece of memory needs it.
pub trait Space {
    /// Takes a piece away from the device. Memory that the device may still reach is not freed but leaked.
    fn give_back(&self, iova: u64, memory: SharedMemory);
}

/// A piece of memory that the device reaches. Dropping it takes it away from the device first.
pub struct MappedMemory<S: Space> {
    space: S,
    /// Empty only while it is dropped.
    memory: Option<SharedMemory>,
    iova: u64,
    len_bytes: usize,
}

impl<S: Space> MappedMemory<S> {
    /// The first `len_bytes` of `memory`, which `space` has mapped at `iova`.
    pub fn new(space: S, memory: SharedMemory, iova: u64, len_bytes: usize) -> Self {
        Self { space, memory: Some(memory), iova, len_bytes }
    }

    fn words(&self, offset: usize, len: usize) -> &[std::sync::atomic::AtomicU64] {
        let (end, len_bytes) = (offset.checked_add(len), self.len_bytes);
        assert!(end.is_some_and(|end| end <= len_bytes), "{len} bytes at {offset} of {len_bytes}");
        self.memory.as_ref().map_or(&[], SharedMemory::words)
    }

    fn word(&self, offset: usize) -> (&[std::sync::atomic::AtomicU64], usize) {
        assert_eq!(offset % 8, 0, "64-bit access at offset {offset}");
        (self.words(offset, 8), offset / 8)
    }
}

impl<S: Space> fmt::Debug for MappedMemory<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes at {:#x}", self.len_bytes, self.iova)
    }
}

impl<S: Space> DmaMemory for MappedMemory<S> {
    fn iova(&self) -> u64 {
        self.iova
    }

    fn len_bytes(&self) -> usize {
        self.len_bytes
    }

    fn read(&self, offset: usize, out: &mut [u8]) {
        words::read(self.words(offset, out.len()), offset, out);
    }

    fn write(&self, offset: usize, bytes: &[u8]) {
        words::write(self.words(offset, bytes.len()), offset, bytes);
    }

    fn load_u64(&self, offset: usize) -> u64 {
        let (words, word) = self.word(offset);
        words::load(words, word)
    }

    fn store_u64(&self, offset: usize, value: u64) {
        let (words, word) = self.word(offset);
        words::store(words, word, value);
    }
}

impl<S: Space> Drop for MappedMemory<S> {
    fn drop(&mut self) {
        if let Some(memory) = self.memory.take() {
            self.space.give_back(self.iova, memory);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::panic::{catch_unwind, AssertUnwindSafe};

    use super::*;

    impl Space for &Cell<u64> {
        fn give_back(&self, iova: u64, _: SharedMemory) {
            self.set(iova);
        }
    }

    #[test]
    fn memory_knows_its_bounds_and_comes_back_once() {
        let given = Cell::new(0);
        let (memory, _) = SharedMemory::create("test", 4096).unwrap();
        let memory = MappedMemory::new(&given, memory, 0x1000, 24);
        memory.write(3, b"hello");
        let mut out = [0; 5];
        memory.read(3, &mut out);
        assert_eq!((&out, memory.load_u64(16)), (b"hello", 0));
        memory.store_u64(16, 7);
        assert_eq!(memory.load_u64(16), 7);
        assert_eq!((memory.iova(), memory.len_bytes()), (0x1000, 24));
        for offset in [4, 24, usize::MAX - 7] {
            assert!(catch_unwind(AssertUnwindSafe(|| memory.load_u64(offset))).is_err(), "{offset}");
        }
        assert_eq!(given.get(), 0);
        drop(memory);
        assert_eq!(given.get(), 0x1000);
    }
}
