//! Rings shared with the device, both directions, one implementation each.
//!
//! ```text
//!   Ring       host writes entries, device consumes; the host learns the consumer index elsewhere
//!              (status line, shadow record)
//!   DoneRing   device writes 8-byte entries with a phase bit, host consumes
//! ```
//! # Protocol
//! * Indices are free-running 16-bit counts; entry `i` lies in slot `i % 2^n`; at most 2^n are in use.
//! * `Ring`: slots in `[consumer, producer)` are the device's. The host writes the entry, then a release
//!   fence, then the doorbell ([`Ring::publish`] gives the value). Nothing else makes an entry visible.
//! * `DoneRing`: a slot is the host's when its phase bit is the one of this lap ([`phase`]). The entry is one
//!   word, so it cannot tear; the acquire load orders everything that the entry announces after it.
//! * An index from the device is checked before it is believed: it may only move inside what was posted.

use std::marker::PhantomData;
use std::sync::atomic::{fence, Ordering};

use chimney_abi::desc::{phase, CommandDone, Event, RxDone};

use crate::bus::DmaMemory;
use crate::dma::DmaView;
use crate::error::DriverError;

/// A ring that the host fills.
#[derive(Debug)]
pub struct Ring<M> {
    name: &'static str,
    view: DmaView<M>,
    log2: u8,
    entry_bytes: usize,
    producer: u16,
    consumer: u16,
}

impl<M: DmaMemory> Ring<M> {
    /// A ring of `1 << log2` entries in `view`.
    ///
    /// # Panics
    /// When `view` is too small.
    pub fn new(name: &'static str, view: DmaView<M>, log2: u8, entry_bytes: usize) -> Self {
        assert!(entry_bytes << log2 <= view.len_bytes(), "{name} ring does not fit");
        Self { name, view, log2, entry_bytes, producer: 0, consumer: 0 }
    }

    /// Address for the device.
    pub fn iova(&self) -> u64 {
        self.view.iova(0)
    }

    /// log2 of the number of entries.
    pub fn log2(&self) -> u8 {
        self.log2
    }

    /// Entries that the device has and the host may not touch.
    pub fn used(&self) -> u16 {
        self.producer.wrapping_sub(self.consumer)
    }

    /// Free entries.
    pub fn room(&self) -> u32 {
        (1u32 << self.log2) - u32::from(self.used())
    }

    /// Index of the next entry.
    pub fn producer(&self) -> u16 {
        self.producer
    }

    /// Index of the oldest entry in use.
    pub fn consumer(&self) -> u16 {
        self.consumer
    }

    /// Appends an entry; gives its index, or nothing when the ring is full. The device does not know of it yet.
    ///
    /// # Panics
    /// When the entry has not the ring's size.
    pub fn push(&mut self, entry: &[u8]) -> Option<u16> {
        assert_eq!(entry.len(), self.entry_bytes, "{} ring entry", self.name);
        if self.room() == 0 {
            return None;
        }
        let index = self.producer;
        self.view.write(self.offset(index), entry);
        self.producer = index.wrapping_add(1);
        Some(index)
    }

    /// Makes all entries visible before the doorbell that carries the returned index.
    pub fn publish(&self) -> u16 {
        fence(Ordering::Release);
        self.producer
    }

    /// Believes the device's consumer index, if it is possible. Gives the number of entries that came back.
    ///
    /// # Errors
    /// [`DriverError::BadIndex`] when it is not; nothing changes.
    pub fn retire_to(&mut self, index: u16) -> Result<u16, DriverError> {
        let done = index.wrapping_sub(self.consumer);
        if done > self.used() {
            return Err(DriverError::BadIndex {
                ring: self.name,
                index,
                consumer: self.consumer,
                producer: self.producer,
            });
        }
        self.consumer = index;
        Ok(done)
    }

    /// Copies an entry out (write-backs of the device).
    pub fn read(&self, index: u16, out: &mut [u8]) {
        fence(Ordering::Acquire);
        self.view.read(self.offset(index), out);
    }

    fn offset(&self, index: u16) -> usize {
        usize::from(index & ((1u16 << self.log2) - 1)) * self.entry_bytes
    }
}

/// An 8-byte entry that carries a phase bit.
pub trait DoneEntry: Copy {
    /// From the word in memory.
    fn from_word(word: u64) -> Self;
    /// Its phase bit.
    fn phase(&self) -> bool;
}

macro_rules! done_entry {
    ($($t:ty),*) => { $(impl DoneEntry for $t {
        fn from_word(word: u64) -> Self {
            Self::from_bytes(&word.to_le_bytes())
        }
        fn phase(&self) -> bool {
            self.phase != 0
        }
    })* };
}
done_entry!(CommandDone, RxDone, Event);

/// A ring that the device fills.
#[derive(Debug)]
pub struct DoneRing<M, E> {
    view: DmaView<M>,
    log2: u8,
    consumer: u16,
    entry: PhantomData<E>,
}

impl<M: DmaMemory, E: DoneEntry> DoneRing<M, E> {
    /// A ring of `1 << log2` entries in `view`, which is all zero.
    ///
    /// # Panics
    /// When `view` is too small.
    pub fn new(view: DmaView<M>, log2: u8) -> Self {
        assert!(8usize << log2 <= view.len_bytes(), "completion ring does not fit");
        Self { view, log2, consumer: 0, entry: PhantomData }
    }

    /// Address for the device.
    pub fn iova(&self) -> u64 {
        self.view.iova(0)
    }

    /// log2 of the number of entries.
    pub fn log2(&self) -> u8 {
        self.log2
    }

    /// Entries taken so far, modulo 2^16.
    pub fn consumer(&self) -> u16 {
        self.consumer
    }

    /// The next entry, if the device has written it.
    pub fn pop(&mut self) -> Option<E> {
        let slot = usize::from(self.consumer & ((1u16 << self.log2) - 1));
        let entry = E::from_word(self.view.load_u64(slot * 8));
        if entry.phase() != phase(self.consumer, self.log2) {
            return None;
        }
        fence(Ordering::Acquire);
        self.consumer = self.consumer.wrapping_add(1);
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::FakeMemory;

    fn view(len: usize) -> DmaView<FakeMemory> {
        DmaView::new(FakeMemory::new(0x1000, len))
    }

    #[test]
    fn a_ring_takes_exactly_its_entries_and_survives_the_wrap_of_its_index() {
        let mut ring = Ring::new("test", view(8 * 16), 3, 16);
        for lap in 0..20_000u32 {
            for i in 0..8u8 {
                assert!(ring.push(&[i; 16]).is_some(), "lap {lap}");
            }
            assert_eq!((ring.room(), ring.push(&[0; 16])), (0, None));
            let mut entry = [0; 16];
            ring.read(ring.producer().wrapping_sub(1), &mut entry);
            assert_eq!(entry, [7; 16]);
            assert_eq!(ring.retire_to(ring.producer()), Ok(8));
        }
    }

    #[test]
    fn an_index_outside_of_what_was_posted_is_refused() {
        let mut ring = Ring::new("test", view(8 * 8), 3, 8);
        ring.push(&[0; 8]);
        assert_eq!(ring.retire_to(0), Ok(0));
        assert!(matches!(ring.retire_to(2), Err(DriverError::BadIndex { index: 2, producer: 1, .. })));
        assert!(ring.retire_to(u16::MAX).is_err());
        assert_eq!(ring.retire_to(1), Ok(1));
    }

    #[test]
    fn completions_are_seen_once_and_only_in_their_lap() {
        let v = view(4 * 8);
        let mut done = DoneRing::<_, Event>::new(v.clone(), 2);
        for index in 0..70_000u32 {
            let index = index as u16;
            assert!(done.pop().is_none(), "entry {index} was not written yet");
            let event =
                Event { conn: index, generation: 1, phase: phase(index, 2).into(), ..Event::default() };
            v.write(usize::from(index % 4) * 8, &event.to_bytes());
            assert_eq!(done.pop().map(|e| e.conn), Some(index));
        }
    }
}
