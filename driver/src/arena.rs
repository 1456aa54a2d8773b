//! Arenas: memory registered with the device once, handed out in pieces.
//!
//! Nothing is mapped or unmapped per post or per hand-over. [`Arena`] is a first-fit allocator that joins
//! neighbours again; [`Buffers`] gives the host names ([`BufferId`]) for pieces and remembers who owns them.
//!
//! ```text
//!   allocate -> Host --send, receive--> Driver --completion--> Host -> release
//! ```

use std::collections::BTreeMap;

use chimney_abi::offload::{BufferId, OffloadError};

use crate::bus::DmaMemory;
use crate::dma::DmaView;

/// Every piece starts on such a boundary: image arrays need it, payload likes it.
const ALIGN_BYTES: u32 = 64;
/// Bits of a [`BufferId`] that name its slot; the others count its uses.
const SLOT_BITS: u32 = 20;

/// A piece of an arena. Not `Copy`: it goes back exactly once.
#[derive(Debug, PartialEq, Eq)]
pub struct Span {
    start: u32,
    len: u32,
}

impl Span {
    /// Offset in the arena.
    pub fn start(&self) -> usize {
        self.start as usize // u32 fits usize on every host we build for
    }
}

/// First-fit allocator over a view.
#[derive(Debug)]
pub struct Arena<M> {
    view: DmaView<M>,
    /// Free pieces, start to length; never two that touch.
    free: BTreeMap<u32, u32>,
    used_bytes: u32,
}

impl<M: DmaMemory> Arena<M> {
    /// An arena over all of `view` (at most 4 GiB are used).
    pub fn new(view: DmaView<M>) -> Self {
        let len = u32::try_from(view.len_bytes()).unwrap_or(u32::MAX) / ALIGN_BYTES * ALIGN_BYTES;
        Self { view, free: BTreeMap::from([(0, len)]), used_bytes: 0 }
    }

    /// The memory.
    pub fn view(&self) -> &DmaView<M> {
        &self.view
    }

    /// Bytes handed out, rounded up as allocated.
    pub fn used_bytes(&self) -> u32 {
        self.used_bytes
    }

    /// A piece of at least `len_bytes`.
    pub fn allocate(&mut self, len_bytes: u32) -> Option<Span> {
        let len = len_bytes.max(1).checked_next_multiple_of(ALIGN_BYTES)?;
        let (&start, &have) = self.free.iter().find(|(_, &have)| have >= len)?;
        self.free.remove(&start);
        if have > len {
            self.free.insert(start + len, have - len);
        }
        self.used_bytes += len;
        Some(Span { start, len })
    }

    /// Takes a piece back.
    pub fn release(&mut self, span: Span) {
        self.used_bytes -= span.len;
        let (mut start, mut len) = (span.start, span.len);
        if let Some((&before, &n)) = self.free.range(..start).next_back() {
            if before + n == start {
                self.free.remove(&before);
                (start, len) = (before, len + n);
            }
        }
        if let Some(n) = self.free.remove(&(start + len)) {
            len += n;
        }
        self.free.insert(start, len);
    }
}

#[derive(Debug)]
struct Slot {
    uses: u32,
    span: Option<Span>,
    len_bytes: u32,
    with_driver: bool,
}

/// The host's buffers in one arena.
#[derive(Debug)]
pub struct Buffers<M> {
    arena: Arena<M>,
    slots: Vec<Slot>,
    vacant: Vec<u32>,
}

impl<M: DmaMemory> Buffers<M> {
    /// No buffers yet.
    pub fn new(view: DmaView<M>) -> Self {
        Self { arena: Arena::new(view), slots: Vec::new(), vacant: Vec::new() }
    }

    /// The arena itself, for the driver's own pieces.
    pub fn arena(&mut self) -> &mut Arena<M> {
        &mut self.arena
    }

    /// The memory.
    pub fn view(&self) -> &DmaView<M> {
        &self.arena.view
    }

    /// Bytes handed out, the driver's own pieces included.
    pub fn used_bytes(&self) -> u32 {
        self.arena.used_bytes
    }

    /// A new buffer of the host.
    ///
    /// # Errors
    /// `NoMemory`.
    pub fn allocate(&mut self, len_bytes: u32) -> Result<BufferId, OffloadError> {
        if self.vacant.is_empty() && self.slots.len() >= 1 << SLOT_BITS {
            return Err(OffloadError::NoMemory);
        }
        let span = self.arena.allocate(len_bytes).ok_or(OffloadError::NoMemory)?;
        let slot = self.vacant.pop().unwrap_or_else(|| {
            self.slots.push(Slot { uses: 0, span: None, len_bytes: 0, with_driver: false });
            self.slots.len() as u32 - 1 // bounded by SLOT_BITS
        });
        let entry = &mut self.slots[slot as usize];
        entry.span = Some(span);
        entry.len_bytes = len_bytes;
        Ok(BufferId(entry.uses << SLOT_BITS | slot))
    }

    /// Frees a buffer that the host owns.
    ///
    /// # Errors
    /// `BadBuffer`.
    pub fn release(&mut self, id: BufferId) -> Result<(), OffloadError> {
        let slot = self.slot_of_host(id)?;
        let entry = &mut self.slots[slot];
        entry.uses = (entry.uses + 1) & ((1 << (32 - SLOT_BITS)) - 1);
        if let Some(span) = entry.span.take() {
            self.arena.release(span);
        }
        self.vacant.push(slot as u32); // bounded by SLOT_BITS
        Ok(())
    }

    /// Where a range of a buffer of the host lies in the arena.
    ///
    /// # Errors
    /// `BadBuffer`, `OutOfRange`.
    pub fn locate(&self, id: BufferId, offset_bytes: u32, len_bytes: u32) -> Result<usize, OffloadError> {
        let entry = &self.slots[self.slot_of_host(id)?];
        let end = offset_bytes.checked_add(len_bytes).ok_or(OffloadError::OutOfRange)?;
        if end > entry.len_bytes {
            return Err(OffloadError::OutOfRange);
        }
        let start = entry.span.as_ref().ok_or(OffloadError::BadBuffer)?.start();
        Ok(start + offset_bytes as usize)
    }

    /// Passes a buffer from host to driver; gives the place of the range in the arena.
    ///
    /// # Errors
    /// As `locate`.
    pub fn lend(&mut self, id: BufferId, offset_bytes: u32, len_bytes: u32) -> Result<usize, OffloadError> {
        let at = self.locate(id, offset_bytes, len_bytes)?;
        let slot = self.slot_of_host(id)?;
        self.slots[slot].with_driver = true;
        Ok(at)
    }

    /// Gives a buffer back to the host (law L1: only when the device is done with it).
    pub fn give_back(&mut self, id: BufferId) {
        if let Some(slot) = self.slots.get_mut(slot_index(id)) {
            slot.with_driver = false;
        }
    }

    fn slot_of_host(&self, id: BufferId) -> Result<usize, OffloadError> {
        let index = slot_index(id);
        let slot = self.slots.get(index).ok_or(OffloadError::BadBuffer)?;
        let live = slot.span.is_some() && slot.uses == id.0 >> SLOT_BITS && !slot.with_driver;
        live.then_some(index).ok_or(OffloadError::BadBuffer)
    }
}

fn slot_index(id: BufferId) -> usize {
    (id.0 & ((1 << SLOT_BITS) - 1)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::FakeMemory;

    fn view(len: usize) -> DmaView<FakeMemory> {
        DmaView::new(FakeMemory::new(0x1000, len))
    }

    #[test]
    fn pieces_never_overlap_and_all_memory_comes_back() {
        let mut arena = Arena::new(view(64 * 1024));
        let mut live: Vec<Span> = Vec::new();
        let mut state = 7u32;
        for _ in 0..20_000 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            if state >> 31 == 0 {
                if let Some(span) = arena.allocate(state >> 8 & 0xfff) {
                    let clear = |s: &Span| span.start + span.len <= s.start || s.start + s.len <= span.start;
                    assert!(live.iter().all(clear));
                    live.push(span);
                }
            } else if !live.is_empty() {
                let at = state as usize % live.len();
                arena.release(live.swap_remove(at));
            }
        }
        live.into_iter().for_each(|span| arena.release(span));
        assert_eq!((arena.used_bytes(), arena.free.len()), (0, 1));
        assert!(arena.allocate(64 * 1024).is_some());
    }

    #[test]
    fn a_lent_or_freed_buffer_is_not_the_hosts() {
        let mut buffers = Buffers::new(view(4096));
        let id = buffers.allocate(100).unwrap();
        assert_eq!(buffers.locate(id, 90, 11), Err(OffloadError::OutOfRange));
        assert_eq!(buffers.locate(id, u32::MAX, 2), Err(OffloadError::OutOfRange));
        buffers.lend(id, 0, 100).unwrap();
        assert_eq!(buffers.release(id), Err(OffloadError::BadBuffer));
        assert_eq!(buffers.lend(id, 0, 1), Err(OffloadError::BadBuffer));
        buffers.give_back(id);
        buffers.release(id).unwrap();
        let again = buffers.allocate(100).unwrap();
        assert_ne!(id, again, "a freed name is not reused at once");
        assert_eq!(buffers.locate(id, 0, 1), Err(OffloadError::BadBuffer));
    }
}
