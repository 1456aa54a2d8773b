//! [`DmaView`]: a window into DMA memory that several owners share.

use std::sync::Arc;

use crate::bus::DmaMemory;

/// A range of one [`DmaMemory`]. Cheap to clone; the memory stays mapped while a view exists.
#[derive(Debug)]
pub struct DmaView<M> {
    memory: Arc<M>,
    start: usize,
    len: usize,
}

impl<M> Clone for DmaView<M> {
    fn clone(&self) -> Self {
        Self { memory: self.memory.clone(), start: self.start, len: self.len }
    }
}

impl<M: DmaMemory> DmaView<M> {
    /// All of `memory`.
    pub fn new(memory: M) -> Self {
        let len = memory.len_bytes();
        Self { memory: Arc::new(memory), start: 0, len }
    }

    /// Part of the view.
    ///
    /// # Panics
    /// When the part is not inside: the driver laid it out itself.
    pub fn part(&self, offset: usize, len: usize) -> Self {
        self.check(offset, len);
        Self { memory: self.memory.clone(), start: self.start + offset, len }
    }

    /// Device address of byte `offset`.
    pub fn iova(&self, offset: usize) -> u64 {
        self.memory.iova() + (self.start + offset) as u64 // usize fits u64 on every host we build for
    }

    /// Length, bytes.
    pub fn len_bytes(&self) -> usize {
        self.len
    }

    /// Copies bytes out.
    ///
    /// # Panics
    /// When the range is outside the view.
    pub fn read(&self, offset: usize, out: &mut [u8]) {
        self.check(offset, out.len());
        self.memory.read(self.start + offset, out);
    }

    /// Copies bytes in.
    ///
    /// # Panics
    /// When the range is outside the view.
    pub fn write(&self, offset: usize, bytes: &[u8]) {
        self.check(offset, bytes.len());
        self.memory.write(self.start + offset, bytes);
    }

    /// Loads a word (acquire).
    ///
    /// # Panics
    /// When it is outside or misaligned.
    pub fn load_u64(&self, offset: usize) -> u64 {
        self.check(offset, 8);
        self.memory.load_u64(self.start + offset)
    }

    /// Stores a word (release).
    ///
    /// # Panics
    /// When it is outside or misaligned.
    pub fn store_u64(&self, offset: usize, value: u64) {
        self.check(offset, 8);
        self.memory.store_u64(self.start + offset, value);
    }

    /// Sets everything to zero. The view is a whole number of words.
    pub fn clear(&self) {
        for offset in (0..self.len).step_by(8) {
            self.store_u64(offset, 0);
        }
    }

    fn check(&self, offset: usize, len: usize) {
        let end = offset.checked_add(len);
        assert!(
            end.is_some_and(|end| end <= self.len),
            "{len} bytes at {offset} of a {}-byte view",
            self.len
        );
    }
}
