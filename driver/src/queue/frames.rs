//! Ordinary frames: one fixed buffer per ring slot, both directions.
//!
//! A TX slot is the device's until `StatusLine.tx_consumer` passes it. RX buffers complete in the order posted, so
//! a buffer that was copied out goes back by moving the producer index alone: its descriptor never changes.

use std::collections::VecDeque;

use chimney_abi::desc::{RxDesc, RxDone, TxDesc, RX_BUFFER_BYTES};
use chimney_abi::wire::ethernet::{HEADER_LEN, MAX_JUMBO_LEN};

use crate::bus::DmaMemory;
use crate::dma::DmaView;
use crate::error::DriverError;
use crate::ring::{DoneRing, Ring};

/// Largest frame, bytes without FCS.
pub const MAX_FRAME_BYTES: usize = RX_BUFFER_BYTES as usize;

/// Frames to the device.
#[derive(Debug)]
pub struct TxFrames<M> {
    ring: Ring<M>,
    buffers: DmaView<M>,
    /// Per entry in use: whose frame it is, if somebody waits for it.
    tags: VecDeque<Option<u64>>,
    /// Frames queued and frames that the device has taken, since bring-up.
    queued: u64,
    taken: u64,
    unrung: bool,
}

impl<M: DmaMemory> TxFrames<M> {
    /// A ring with one buffer of [`MAX_FRAME_BYTES`] per entry.
    pub fn new(ring: Ring<M>, buffers: DmaView<M>) -> Self {
        Self { ring, buffers, tags: VecDeque::new(), queued: 0, taken: 0, unrung: false }
    }

    /// The ring, for bring-up.
    pub fn ring(&self) -> &Ring<M> {
        &self.ring
    }

    /// Queues a frame; false when the ring is full or the frame has no legal length.
    pub fn push(&mut self, frame: &[u8], flags: u8, tag: Option<u64>) -> bool {
        if !(HEADER_LEN..=MAX_JUMBO_LEN).contains(&frame.len()) || self.ring.room() == 0 {
            return false;
        }
        let slot = usize::from(self.ring.producer()) & ((1 << self.ring.log2()) - 1);
        let at = slot * MAX_FRAME_BYTES;
        self.buffers.write(at, frame);
        let desc =
            TxDesc { addr: self.buffers.iova(at), len: frame.len() as u16, flags, ..TxDesc::default() };
        self.ring.push(&desc.to_bytes());
        self.tags.push_back(tag);
        self.queued += 1;
        self.unrung = true;
        true
    }

    /// Frames queued since bring-up.
    pub fn queued(&self) -> u64 {
        self.queued
    }

    /// How many of them the device has taken.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// The producer index, if the device must be told.
    pub fn ring_due(&mut self) -> Option<u16> {
        std::mem::take(&mut self.unrung).then(|| self.ring.publish())
    }

    /// Believes the device's consumer index; gives the tags of the frames that are done.
    ///
    /// # Errors
    /// [`DriverError::BadIndex`].
    pub fn retire_to(&mut self, consumer: u16) -> Result<Vec<u64>, DriverError> {
        let done = self.ring.retire_to(consumer)?;
        self.taken += u64::from(done);
        Ok(self.tags.drain(..usize::from(done)).flatten().collect())
    }
}

/// Frames from the device.
#[derive(Debug)]
pub struct RxFrames<M> {
    ring: Ring<M>,
    done: DoneRing<M, RxDone>,
    buffers: DmaView<M>,
    scratch: Vec<u8>,
    unrung: bool,
    bad_entries: u64,
}

impl<M: DmaMemory> RxFrames<M> {
    /// Posts every buffer.
    pub fn new(mut ring: Ring<M>, done: DoneRing<M, RxDone>, buffers: DmaView<M>) -> Self {
        for slot in 0..1usize << ring.log2() {
            let desc = RxDesc { addr: buffers.iova(slot * MAX_FRAME_BYTES) };
            ring.push(&desc.to_bytes());
        }
        Self { ring, done, buffers, scratch: vec![0; MAX_FRAME_BYTES], unrung: true, bad_entries: 0 }
    }

    /// The ring, for bring-up.
    pub fn ring(&self) -> &Ring<M> {
        &self.ring
    }

    /// The completion ring, for bring-up.
    pub fn done_ring(&self) -> &DoneRing<M, RxDone> {
        &self.done
    }

    /// Completions with an impossible length or index.
    pub fn bad_entries(&self) -> u64 {
        self.bad_entries
    }

    /// The next frame and its verdict flags. Its buffer is already reposted (not rung).
    pub fn pop(&mut self) -> Option<(&[u8], u16)> {
        loop {
            let index = self.done.consumer();
            let done = self.done.pop()?;
            let slot = usize::from(index) & ((1 << self.ring.log2()) - 1);
            let len = usize::from(done.len);
            // Never trust the device: a wrong length or order is counted, the buffer comes back all the same.
            let legal = len <= MAX_FRAME_BYTES && done.index == index;
            if legal {
                self.buffers.read(slot * MAX_FRAME_BYTES, &mut self.scratch[..len]);
            } else {
                self.bad_entries += 1;
            }
            self.repost();
            if legal {
                return Some((&self.scratch[..len], done.flags));
            }
        }
    }

    /// The producer index, if the device must be told.
    pub fn ring_due(&mut self) -> Option<u16> {
        std::mem::take(&mut self.unrung).then(|| self.ring.publish())
    }

    fn repost(&mut self) {
        let index = self.ring.consumer();
        self.ring.retire_to(index.wrapping_add(1)).expect("every buffer is posted");
        let slot = usize::from(index) & ((1 << self.ring.log2()) - 1);
        let desc = RxDesc { addr: self.buffers.iova(slot * MAX_FRAME_BYTES) };
        self.ring.push(&desc.to_bytes());
        self.unrung = true;
    }
}
