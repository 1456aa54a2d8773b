//! The buffer pool: pages that the device takes for bytes without a posted buffer.
//!
//! ```text
//!   spare --give--> with device (pool ring, or taken for a connection's page map) --recycle--> spare
//! ```
//! The driver keeps a few pages back (`spare`), because an offload may bring out-of-order bytes that
//! need pages. A connection reserves its quota before it is offloaded, so the sum of all promises never exceeds
//! the pool: the window limit the driver rings is at most (quota - 2) pages beyond the consumed bytes.

use chimney_abi::desc::{PageMapEntry, PoolDesc, PAGE_BYTES, PAGE_LOG2, PAGE_SLOTS};

use crate::bus::DmaMemory;
use crate::dma::DmaView;
use crate::error::{ConnFault, DriverError};
use crate::ring::Ring;

/// The pool.
#[derive(Debug)]
pub struct Pool<M> {
    ring: Ring<M>,
    pages: DmaView<M>,
    spare: Vec<u16>,
    with_device: Vec<bool>,
    /// Pages kept back from the ring.
    reserve: usize,
    /// Pages that connections may still be promised.
    unpromised: u32,
    /// Ring entries not rung yet.
    unrung: bool,
    double_frees: u64,
}

impl<M: DmaMemory> Pool<M> {
    /// A pool whose pages are all with the driver; `reserve` of them stay there.
    ///
    /// # Panics
    /// When the ring cannot hold every page.
    pub fn new(ring: Ring<M>, pages: DmaView<M>, reserve: u16) -> Self {
        let count = pages.len_bytes() >> PAGE_LOG2;
        assert!(count <= 1 << ring.log2(), "the pool ring holds every page");
        let count = count as u16; // a ring has at most 2^15 entries
        let mut pool = Self {
            ring,
            pages,
            spare: (0..count).rev().collect(),
            with_device: vec![false; usize::from(count)],
            reserve: usize::from(reserve),
            unpromised: u32::from(count.saturating_sub(reserve)),
            unrung: false,
            double_frees: 0,
        };
        pool.refill();
        pool.unrung = true; // the device is told when it runs
        pool
    }

    /// Address of page 0.
    pub fn iova(&self) -> u64 {
        self.pages.iova(0)
    }

    /// The ring, for bring-up.
    pub fn ring(&self) -> &Ring<M> {
        &self.ring
    }

    /// Pages with the driver.
    pub fn spare(&self) -> usize {
        self.spare.len()
    }

    /// Pages that the device named although it did not have them.
    pub fn double_frees(&self) -> u64 {
        self.double_frees
    }

    /// Promises `pages` to a connection; false if the pool is promised out.
    pub fn promise(&mut self, pages: u32) -> bool {
        let left = self.unpromised.checked_sub(pages);
        self.unpromised = left.unwrap_or(self.unpromised);
        left.is_some()
    }

    /// Takes a promise back.
    pub fn forget(&mut self, pages: u32) {
        self.unpromised += pages;
    }

    /// Believes the device's consumer index.
    ///
    /// # Errors
    /// [`DriverError::BadIndex`].
    pub fn retire_to(&mut self, consumer: u16) -> Result<(), DriverError> {
        self.ring.retire_to(consumer).map(|_| ())
    }

    /// A page for out-of-order bytes of an offload; it counts as the device's.
    pub fn take(&mut self) -> Option<u16> {
        let page = self.spare.pop()?;
        self.with_device[usize::from(page)] = true;
        Some(page)
    }

    /// Writes into a page.
    pub fn write(&self, page: u16, offset: usize, bytes: &[u8]) {
        self.pages.write((usize::from(page) << PAGE_LOG2) + offset, bytes);
    }

    /// A page that the device is done with.
    pub fn recycle(&mut self, page: u16) {
        match self.with_device.get_mut(usize::from(page)) {
            Some(held) if *held => {
                *held = false;
                self.spare.push(page);
            }
            _ => self.double_frees += 1,
        }
    }

    /// Puts what is beyond the reserve into the ring. Gives the producer index if the device must be told.
    pub fn refill(&mut self) -> Option<u16> {
        while self.spare.len() > self.reserve && self.ring.room() > 0 {
            let Some(page) = self.spare.pop() else { break };
            self.with_device[usize::from(page)] = true;
            self.ring.push(&PoolDesc { page, ..PoolDesc::default() }.to_bytes());
            self.unrung = true;
        }
        std::mem::take(&mut self.unrung).then(|| self.ring.publish())
    }

    /// Copies the bytes `[from, to)` of a connection out of its pages.
    ///
    /// # Errors
    /// [`ConnFault::Page`] when the page map does not name a page for a byte, or an impossible one.
    pub fn copy_out(
        &self,
        map: &PageMap<M>,
        from: u32,
        to: u32,
        mut sink: impl FnMut(&[u8]),
    ) -> Result<(), ConnFault> {
        let mut at = from;
        let mut scratch = [0u8; PAGE_BYTES as usize];
        while at != to {
            let start = at % PAGE_BYTES;
            let n = (PAGE_BYTES - start).min(to.wrapping_sub(at)) as usize;
            let page =
                map.page(at).filter(|&p| self.with_device.get(usize::from(p)).is_some_and(|held| *held));
            let page = page.ok_or(ConnFault::Page { seq: at })?;
            self.pages.read((usize::from(page) << PAGE_LOG2) + start as usize, &mut scratch[..n]);
            sink(&scratch[..n]);
            at = at.wrapping_add(n as u32); // at most a page
        }
        Ok(())
    }
}

/// One connection's page map.
#[derive(Debug)]
pub struct PageMap<M> {
    view: DmaView<M>,
    generation: u8,
}

impl<M: DmaMemory> PageMap<M> {
    /// The map in `view`, for entries of `generation`.
    pub fn new(view: DmaView<M>, generation: u8) -> Self {
        Self { view, generation }
    }

    /// The page that holds byte `seq`.
    pub fn page(&self, seq: u32) -> Option<u16> {
        self.entry(slot(seq)).filter(|e| e.seq == seq & !(PAGE_BYTES - 1)).map(|e| e.page)
    }

    /// Names the page for byte `seq` (before an offload).
    pub fn set(&self, seq: u32, page: u16) {
        let entry =
            PageMapEntry { page, generation: self.generation, valid: 1, seq: seq & !(PAGE_BYTES - 1) };
        self.view.store_u64(slot(seq) * 8, u64::from_le_bytes(entry.to_bytes()));
    }

    /// Removes and gives the page that holds byte `seq`.
    pub fn remove(&self, seq: u32) -> Option<u16> {
        let page = self.page(seq)?;
        self.view.store_u64(slot(seq) * 8, 0);
        Some(page)
    }

    /// Removes and gives every page.
    pub fn drain(&self) -> Vec<u16> {
        let pages = (0..PAGE_SLOTS as usize).filter_map(|s| self.entry(s).map(|e| e.page)).collect();
        self.view.clear();
        pages
    }

    fn entry(&self, slot: usize) -> Option<PageMapEntry> {
        let entry = PageMapEntry::from_bytes(&self.view.load_u64(slot * 8).to_le_bytes());
        (entry.valid == 1 && entry.generation == self.generation).then_some(entry)
    }
}

fn slot(seq: u32) -> usize {
    ((seq >> PAGE_LOG2) % PAGE_SLOTS) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::FakeMemory;

    fn pool(pages: usize, reserve: u16) -> (Pool<FakeMemory>, PageMap<FakeMemory>) {
        let view = |len| DmaView::new(FakeMemory::new(0x10_0000, len));
        let ring = Ring::new("pool", view(16 * 8), 4, PoolDesc::BYTES);
        (Pool::new(ring, view(pages * PAGE_BYTES as usize), reserve), PageMap::new(view(256), 5))
    }

    #[test]
    fn bytes_cross_pages_and_the_wrap_of_the_sequence_space() {
        let (mut pool, map) = pool(8, 4);
        let from = 0xffff_f000u32.wrapping_add(4000);
        for seq in [from, 0] {
            let page = pool.take().unwrap();
            map.set(seq, page);
        }
        pool.write(map.page(from).unwrap(), 4000, &[1; 96]);
        pool.write(map.page(0).unwrap(), 0, &[2; 10]);
        let mut out = Vec::new();
        pool.copy_out(&map, from, 10, |b| out.extend_from_slice(b)).unwrap();
        assert_eq!(out, [vec![1; 96], vec![2; 10]].concat());
        assert_eq!(pool.copy_out(&map, 4090, 4100, |_| ()), Err(ConnFault::Page { seq: 4096 }));
        let pages = map.drain();
        assert_eq!(pages.len(), 2);
        pages.into_iter().for_each(|p| pool.recycle(p));
        assert_eq!((pool.spare(), pool.double_frees()), (4, 0));
    }

    #[test]
    fn a_page_comes_back_once() {
        let (mut pool, _) = pool(8, 4);
        let page = pool.take().unwrap();
        pool.recycle(page);
        pool.recycle(page);
        pool.recycle(999);
        assert_eq!((pool.spare(), pool.double_frees()), (4, 2));
    }

    #[test]
    fn promises_never_exceed_the_pool() {
        let (mut pool, _) = pool(12, 4);
        assert!(pool.promise(5) && !pool.promise(4) && pool.promise(3));
        pool.forget(5);
        assert!(pool.promise(5));
    }
}
