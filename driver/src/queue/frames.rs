//! Ordinary frames: a ring of bytes to the device, one fixed buffer per ring slot from it.
//!
//! A TX frame lies in one piece behind the one before it, or at the beginning again; its bytes and its slot are the device's until
//! `StatusLine.tx_consumer` passes it. RX buffers complete in the order posted, so
//! a buffer that was copied out goes back by moving the producer index alone: its descriptor never changes.

use std::collections::VecDeque;

use chimney_abi::desc::{RxDesc, RxDone, TxDesc, RX_BUFFER_BYTES, TX_LSO};
use chimney_abi::offload::OffloadError;
use chimney_abi::wire::ethernet::{HEADER_LEN, MAX_JUMBO_LEN};

use crate::bus::DmaMemory;
use crate::dma::DmaView;
use crate::error::DriverError;
use crate::ring::{DoneRing, Ring};

/// Largest frame, bytes without FCS.
pub const MAX_FRAME_BYTES: usize = RX_BUFFER_BYTES as usize;

/// Frames begin at multiples of this, bytes.
const ALIGN: usize = 64;

/// Largest frame to be divided by the device, bytes, with a ring of `1 << tx_log2` entries: half of the memory for frames,
/// so that there is always room for one when all before it are sent.
pub fn max_large_frame(tx_log2: u8) -> usize {
    (MAX_FRAME_BYTES << tx_log2 >> 1).min(usize::from(u16::MAX))
}

/// A frame that the device has.
#[derive(Clone, Copy, Debug)]
struct Sent {
    /// Place of its first byte, and the first multiple of [`ALIGN`] behind its last one.
    at: usize,
    end: usize,
    /// Whose it is, if somebody waits for it.
    tag: Option<u64>,
}

/// Frames to the device.
#[derive(Debug)]
pub struct TxFrames<M> {
    ring: Ring<M>,
    buffers: DmaView<M>,
    /// Entries in use, the oldest first.
    sent: VecDeque<Sent>,
    /// Frames queued and frames that the device has taken, since bring-up.
    queued: u64,
    taken: u64,
    unrung: bool,
}

impl<M: DmaMemory> TxFrames<M> {
    /// A ring, and memory for the bytes of its frames.
    pub fn new(ring: Ring<M>, buffers: DmaView<M>) -> Self {
        Self { ring, buffers, sent: VecDeque::new(), queued: 0, taken: 0, unrung: false }
    }

    /// The ring, for bring-up.
    pub fn ring(&self) -> &Ring<M> {
        &self.ring
    }

    /// Queues a frame.
    ///
    /// # Errors
    /// `NoMemory` while there is no room for it, `OutOfRange` for a length that can never be sent.
    pub fn push(&mut self, frame: &[u8], flags: u8, tag: Option<u64>) -> Result<(), OffloadError> {
        let desc = TxDesc { flags, ..TxDesc::default() };
        self.place(frame, MAX_JUMBO_LEN, desc, tag)
    }

    /// Queues a large frame of TCP, to be sent as segments with `mss` bytes of text.
    ///
    /// # Errors
    /// As above.
    pub fn push_large(&mut self, frame: &[u8], mss: u16) -> Result<(), OffloadError> {
        let desc = TxDesc { flags: TX_LSO, mss, ..TxDesc::default() };
        self.place(frame, max_large_frame(self.ring.log2()), desc, None)
    }

    fn place(
        &mut self,
        frame: &[u8],
        most: usize,
        desc: TxDesc,
        tag: Option<u64>,
    ) -> Result<(), OffloadError> {
        if !(HEADER_LEN..=most).contains(&frame.len()) {
            return Err(OffloadError::OutOfRange);
        }
        let at = self.room_for(frame.len()).filter(|_| self.ring.room() > 0).ok_or(OffloadError::NoMemory)?;
        self.buffers.write(at, frame);
        // `as`: a legal length.
        let desc = TxDesc { addr: self.buffers.iova(at), len: frame.len() as u16, ..desc };
        self.ring.push(&desc.to_bytes());
        self.sent.push_back(Sent { at, end: at + frame.len().next_multiple_of(ALIGN), tag });
        self.queued += 1;
        self.unrung = true;
        Ok(())
    }

    /// Where `len` bytes may lie: behind the newest frame, or at the beginning if the oldest one does not.
    fn room_for(&self, len: usize) -> Option<usize> {
        let (Some(oldest), Some(newest)) = (self.sent.front(), self.sent.back()) else {
            return (len <= self.buffers.len_bytes()).then_some(0);
        };
        if newest.at < oldest.at {
            (newest.end + len <= oldest.at).then_some(newest.end)
        } else if newest.end + len <= self.buffers.len_bytes() {
            Some(newest.end)
        } else {
            (len <= oldest.at).then_some(0)
        }
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
        Ok(self.sent.drain(..usize::from(done)).filter_map(|sent| sent.tag).collect())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::FakeMemory;

    const LOG2: u8 = 4;
    const BASE: u64 = 0x10_0000;

    fn frames() -> TxFrames<FakeMemory> {
        let ring =
            Ring::new("transmit", DmaView::new(FakeMemory::new(0x1000, TxDesc::BYTES << LOG2)), LOG2, 16);
        TxFrames::new(ring, DmaView::new(FakeMemory::new(BASE, MAX_FRAME_BYTES << LOG2)))
    }

    /// The bytes that entry `index` stands for, and its descriptor.
    fn of_entry(tx: &TxFrames<FakeMemory>, index: u16) -> (TxDesc, Vec<u8>) {
        let mut entry = [0; TxDesc::BYTES];
        tx.ring.read(index, &mut entry);
        let desc = TxDesc::from_bytes(&entry);
        let mut bytes = vec![0; desc.len.into()];
        tx.buffers.read((desc.addr - BASE) as usize, &mut bytes);
        (desc, bytes)
    }

    /// Verifies: R-006
    #[test]
    fn frames_of_any_length_stay_as_they_are_until_the_device_is_done_with_them() {
        let mut tx = frames();
        let mut live: VecDeque<Vec<u8>> = VecDeque::new();
        let (mut state, mut largest, mut full) = (1u32, 0, 0);
        for step in 0..20_000u32 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let random = state >> 8;
            if random % 3 > 0 {
                let is_large = random % 5 == 0;
                let most = if is_large { max_large_frame(LOG2) } else { MAX_JUMBO_LEN };
                let len = HEADER_LEN + random as usize / 7 % (most - HEADER_LEN + 1);
                let frame = vec![step as u8; len];
                let pushed = if is_large { tx.push_large(&frame, 1448) } else { tx.push(&frame, 0, None) };
                match pushed {
                    Ok(()) => {
                        largest = largest.max(len);
                        live.push_back(frame);
                    }
                    Err(error) => {
                        assert_eq!(error, OffloadError::NoMemory);
                        full += 1;
                    }
                }
            } else if !live.is_empty() {
                let done = 1 + random as usize / 7 % live.len();
                live.drain(..done);
                tx.retire_to(tx.ring.consumer().wrapping_add(done as u16)).expect("they are in use");
            }
            for (i, frame) in live.iter().enumerate() {
                let (desc, bytes) = of_entry(&tx, tx.ring.consumer().wrapping_add(i as u16));
                assert!(bytes == *frame, "step {step}, entry {i}");
                assert_eq!(desc.flags == TX_LSO, desc.mss == 1448);
            }
        }
        assert!(full > 100 && largest > 60_000, "{full} {largest}");
        // Whatever was there, the largest has room once all before it are sent.
        tx.retire_to(tx.ring.producer()).expect("all");
        assert_eq!(tx.push_large(&vec![0; max_large_frame(LOG2)], 1), Ok(()));
    }

    #[test]
    fn a_length_that_can_never_be_sent_is_not_one_that_has_no_room_now() {
        let mut tx = frames();
        let never = Err(OffloadError::OutOfRange);
        for len in [0, HEADER_LEN - 1, MAX_JUMBO_LEN + 1, MAX_FRAME_BYTES] {
            assert_eq!(tx.push(&vec![0; len], 0, None), never, "{len}");
        }
        for len in [HEADER_LEN - 1, max_large_frame(LOG2) + 1] {
            assert_eq!(tx.push_large(&vec![0; len], 1), never, "{len}");
        }
        assert_eq!(tx.push(&[0; MAX_JUMBO_LEN], 0, None), Ok(()));
        while tx.push(&[0; HEADER_LEN], 0, None).is_ok() {}
        assert_eq!(tx.push(&[0; HEADER_LEN], 0, None), Err(OffloadError::NoMemory));
        assert_eq!(tx.push(&[0; MAX_JUMBO_LEN + 1], 0, None), never, "also when there is no room");
    }
}
