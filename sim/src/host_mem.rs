//! Host memory behind a fake IOMMU.
//!
//! The driver side allocates [`DmaRegion`]s; the device side reaches them only through a [`DmaPort`],
//! by I/O virtual address, and only inside what is mapped at that moment. Anything else is refused (the bus
//! model turns that into an error response) and recorded as a [`DmaViolation`].
//!
//! ```text
//!   IOVA   base            base+len          next region (one unmapped page at least between two)
//!     -----|== region =====|.....unmapped....|== region ==|----
//! ```
//!
//! Who may touch what: both sides may touch a mapped region at any time, from any thread. Every 8-byte word is
//! an atomic: a store is a release, a load an acquire, so a driver thread that sees an index written by the device also
//! sees the bytes written before it. Words do not tear; longer records may, exactly as on a real bus.
//! Bounds are checked to 8 bytes, tighter than the 4 KiB pages of a real IOMMU, because that finds more errors.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use thiserror::Error;

/// Regions start on such a boundary, like the pages of an IOMMU.
pub const PAGE_BYTES: u64 = 4096;
/// First I/O virtual address that is handed out: above 4 GiB, so that 32-bit truncation is seen.
const FIRST_IOVA: u64 = 0x1_0000_0000;
/// Violations kept in full; later ones are only counted.
const KEPT_VIOLATIONS: usize = 256;

/// What the device may do with a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DmaAccess {
    /// The device may only read (send buffers, command ring).
    DeviceReads,
    /// The device may read and write.
    DeviceReadsWrites,
}

/// Direction of a device access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DmaKind {
    /// Memory to device.
    Read,
    /// Device to memory.
    Write,
}

/// Why an access was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DmaFault {
    /// No region holds the first byte.
    Unmapped,
    /// The first byte is mapped, the last is not in the same region.
    PastEnd,
    /// A write to a region that the device may only read.
    ReadOnly,
}

/// A device access that the IOMMU refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("DMA {kind:?} of {len_bytes} bytes at {addr_iova:#x} refused: {fault:?}")]
pub struct DmaViolation {
    /// Direction.
    pub kind: DmaKind,
    /// First byte of the access.
    pub addr_iova: u64,
    /// Length of the access.
    pub len_bytes: u64,
    /// Reason.
    pub fault: DmaFault,
}

/// Why memory could not be mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum MapError {
    /// Zero length, or the address range wraps.
    #[error("a region of {len_bytes} bytes at {addr_iova:#x} is empty, not page aligned or wraps")]
    BadRange {
        /// Wanted start.
        addr_iova: u64,
        /// Wanted length.
        len_bytes: u64,
    },
    /// Another region is there.
    #[error("IOVA {addr_iova:#x} is already mapped")]
    Overlap {
        /// Wanted start.
        addr_iova: u64,
    },
}

#[derive(Debug)]
struct Region {
    iova: u64,
    len: u64,
    access: DmaAccess,
    words: Box<[AtomicU64]>,
}

impl Region {
    fn read(&self, offset: usize, out: &mut [u8]) {
        let (mut word, skip) = (offset / 8, offset % 8);
        let mut rest = out;
        if skip != 0 {
            let n = rest.len().min(8 - skip);
            rest[..n].copy_from_slice(&self.load(word).to_le_bytes()[skip..skip + n]);
            rest = &mut rest[n..];
            word += 1;
        }
        let mut chunks = rest.chunks_exact_mut(8);
        for chunk in &mut chunks {
            chunk.copy_from_slice(&self.load(word).to_le_bytes());
            word += 1;
        }
        let tail = chunks.into_remainder();
        if !tail.is_empty() {
            tail.copy_from_slice(&self.load(word).to_le_bytes()[..tail.len()]);
        }
    }

    fn write(&self, offset: usize, data: &[u8]) {
        let (mut word, skip) = (offset / 8, offset % 8);
        let mut rest = data;
        if skip != 0 {
            let n = rest.len().min(8 - skip);
            self.merge_bytes(word, skip, &rest[..n]);
            rest = &rest[n..];
            word += 1;
        }
        let mut chunks = rest.chunks_exact(8);
        for chunk in &mut chunks {
            let value = u64::from_le_bytes(chunk.try_into().expect("chunks_exact(8) yields 8 bytes"));
            self.words[word].store(value, Ordering::Release);
            word += 1;
        }
        self.merge_bytes(word, 0, chunks.remainder());
    }

    fn merge_bytes(&self, word: usize, skip: usize, data: &[u8]) {
        if data.is_empty() {
            return;
        }
        let (mut value, mut mask) = ([0u8; 8], [0u8; 8]);
        value[skip..skip + data.len()].copy_from_slice(data);
        mask[skip..skip + data.len()].fill(0xff);
        self.merge(word, u64::from_le_bytes(value), u64::from_le_bytes(mask));
    }

    #[inline]
    fn load(&self, word: usize) -> u64 {
        self.words[word].load(Ordering::Acquire)
    }

    /// Replace the bytes of a word where `mask` is set. One atomic step, because the other side may be
    /// writing the other bytes of the same word.
    #[inline]
    fn merge(&self, word: usize, value: u64, mask: u64) {
        if mask == u64::MAX {
            self.words[word].store(value, Ordering::Release);
        } else if mask != 0 {
            let _ = self.words[word]
                .fetch_update(Ordering::AcqRel, Ordering::Acquire, |old| Some(old & !mask | value & mask));
        }
    }
}

#[derive(Debug, Default)]
struct ViolationLog {
    kept: Vec<DmaViolation>,
    count: u64,
}

#[derive(Debug)]
struct Shared {
    /// Sorted by IOVA. Never held while bytes are copied.
    table: RwLock<Vec<Arc<Region>>>,
    /// Counts table changes; ports compare it before every access.
    generation: AtomicU64,
    next_iova: Mutex<u64>,
    violations: Mutex<ViolationLog>,
}

impl Shared {
    fn insert(&self, region: Arc<Region>) -> Result<(), MapError> {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        let at = table.partition_point(|r| r.iova < region.iova);
        let clear_before = at == 0 || table[at - 1].iova + table[at - 1].len <= region.iova;
        let clear_after = at == table.len() || region.iova + region.len <= table[at].iova;
        if !clear_before || !clear_after {
            return Err(MapError::Overlap { addr_iova: region.iova });
        }
        table.insert(at, region);
        self.generation.fetch_add(1, Ordering::Release);
        Ok(())
    }

    fn remove(&self, iova: u64) {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        table.retain(|r| r.iova != iova);
        self.generation.fetch_add(1, Ordering::Release);
    }

    fn violations(&self) -> MutexGuard<'_, ViolationLog> {
        self.violations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The memory of the simulated host. Cheap to clone; all clones are the same memory.
#[derive(Debug, Clone)]
pub struct HostMemory {
    shared: Arc<Shared>,
}

impl Default for HostMemory {
    fn default() -> Self {
        Self::new()
    }
}

impl HostMemory {
    /// Memory with nothing mapped.
    pub fn new() -> Self {
        Self {
            shared: Arc::new(Shared {
                table: RwLock::default(),
                generation: AtomicU64::new(1),
                next_iova: Mutex::new(FIRST_IOVA),
                violations: Mutex::default(),
            }),
        }
    }

    /// Allocate zeroed memory and map it at an address of our choice.
    ///
    /// # Errors
    /// [`MapError::BadRange`] when `len_bytes` is 0.
    pub fn alloc(&self, len_bytes: usize, access: DmaAccess) -> Result<DmaRegion, MapError> {
        let span = (len_bytes as u64).next_multiple_of(PAGE_BYTES) + PAGE_BYTES; // + guard page
        let iova = {
            let mut next = self.shared.next_iova.lock().unwrap_or_else(PoisonError::into_inner);
            let iova = *next;
            *next += span;
            iova
        };
        self.map_at(iova, len_bytes, access)
    }

    /// Allocate zeroed memory and map it at `addr_iova` (page aligned).
    ///
    /// # Errors
    /// [`MapError`] when the range is empty, not aligned, wraps or is taken.
    pub fn map_at(&self, addr_iova: u64, len_bytes: usize, access: DmaAccess) -> Result<DmaRegion, MapError> {
        let len = (len_bytes as u64).next_multiple_of(8);
        if len == 0
            || !addr_iova.is_multiple_of(PAGE_BYTES)
            || addr_iova.checked_add(len + PAGE_BYTES).is_none()
        {
            return Err(MapError::BadRange { addr_iova, len_bytes: len_bytes as u64 });
        }
        let words = (0..len / 8).map(|_| AtomicU64::new(0)).collect();
        let region = Arc::new(Region { iova: addr_iova, len, access, words });
        self.shared.insert(region.clone())?;
        Ok(DmaRegion { region, shared: self.shared.clone(), len: len_bytes })
    }

    /// A new device-side port.
    pub fn port(&self) -> DmaPort {
        DmaPort { shared: self.shared.clone(), generation: 0, table: Vec::new(), last: 0 }
    }

    /// The refused accesses so far: how many, and the first 256 of them.
    pub fn violations(&self) -> (u64, Vec<DmaViolation>) {
        let log = self.shared.violations();
        (log.count, log.kept.clone())
    }

    /// Bytes mapped now.
    pub fn mapped_bytes(&self) -> u64 {
        self.shared.table.read().unwrap_or_else(PoisonError::into_inner).iter().map(|r| r.len).sum()
    }
}

/// The driver's hold on a piece of DMA memory. Dropping it unmaps: a device access after that is refused.
#[derive(Debug)]
pub struct DmaRegion {
    region: Arc<Region>,
    shared: Arc<Shared>,
    len: usize,
}

impl DmaRegion {
    /// Address of the first byte as the device sees it.
    pub fn iova(&self) -> u64 {
        self.region.iova
    }

    /// Length that was asked for.
    pub fn len_bytes(&self) -> usize {
        self.len
    }

    /// Copy bytes out.
    ///
    /// # Panics
    /// When the range is not inside the region: the driver knows its own sizes.
    pub fn read(&self, offset: usize, out: &mut [u8]) {
        self.check(offset, out.len());
        self.region.read(offset, out);
    }

    /// Copy bytes in.
    ///
    /// # Panics
    /// When the range is not inside the region.
    pub fn write(&self, offset: usize, data: &[u8]) {
        self.check(offset, data.len());
        self.region.write(offset, data);
    }

    /// Load one little-endian word in one access (acquire). `offset` is a multiple of 8.
    ///
    /// # Panics
    /// When the word is not inside the region or not aligned.
    pub fn load_u64(&self, offset: usize) -> u64 {
        assert_eq!(offset % 8, 0, "64-bit access at offset {offset}");
        self.check(offset, 8);
        self.region.load(offset / 8)
    }

    /// Store one little-endian word in one access (release). `offset` is a multiple of 8.
    ///
    /// # Panics
    /// When the word is not inside the region or not aligned.
    pub fn store_u64(&self, offset: usize, value: u64) {
        assert_eq!(offset % 8, 0, "64-bit access at offset {offset}");
        self.check(offset, 8);
        self.region.merge(offset / 8, value, u64::MAX);
    }

    fn check(&self, offset: usize, len: usize) {
        let end = offset.checked_add(len);
        assert!(end.is_some_and(|e| e <= self.len), "{len} bytes at {offset} of a {}-byte region", self.len);
    }
}

impl Drop for DmaRegion {
    fn drop(&mut self) {
        self.shared.remove(self.region.iova);
    }
}

/// The device's way to host memory. Keeps a copy of the mapping table and looks whether it is still current at
/// every access, so an unmap takes effect at once and an access costs a few nanoseconds.
#[derive(Debug)]
pub struct DmaPort {
    shared: Arc<Shared>,
    generation: u64,
    table: Vec<Arc<Region>>,
    last: usize,
}

impl DmaPort {
    /// May the device do this? A refusal is recorded.
    ///
    /// # Errors
    /// The [`DmaViolation`] that was recorded.
    pub fn check(&mut self, kind: DmaKind, addr_iova: u64, len_bytes: u64) -> Result<(), DmaViolation> {
        self.find(kind, addr_iova, len_bytes)
            .map(|_| ())
            .map_err(|fault| self.record(kind, addr_iova, len_bytes, fault))
    }

    /// Read the aligned 8-byte word at `addr_iova & !7`.
    ///
    /// # Errors
    /// The [`DmaViolation`] that was recorded.
    #[inline]
    pub fn read_word(&mut self, addr_iova: u64) -> Result<u64, DmaViolation> {
        let at = addr_iova & !7;
        match self.find(DmaKind::Read, at, 8) {
            Ok((region, offset)) => Ok(region.load(offset / 8)),
            Err(fault) => Err(self.record(DmaKind::Read, at, 8, fault)),
        }
    }

    /// Write the bytes of the aligned word at `addr_iova & !7` whose strobe bit is set.
    ///
    /// # Errors
    /// The [`DmaViolation`] that was recorded.
    #[inline]
    pub fn write_word(&mut self, addr_iova: u64, value: u64, strobe: u8) -> Result<(), DmaViolation> {
        let at = addr_iova & !7;
        match self.find(DmaKind::Write, at, 8) {
            Ok((region, offset)) => {
                region.merge(offset / 8, value, BYTE_MASKS[usize::from(strobe)]);
                Ok(())
            }
            Err(fault) => Err(self.record(DmaKind::Write, at, 8, fault)),
        }
    }

    /// Read bytes (untimed models).
    ///
    /// # Errors
    /// The [`DmaViolation`] that was recorded; `out` is unchanged then.
    pub fn read(&mut self, addr_iova: u64, out: &mut [u8]) -> Result<(), DmaViolation> {
        let len = out.len() as u64;
        match self.find(DmaKind::Read, addr_iova, len) {
            Ok((region, offset)) => {
                region.read(offset, out);
                Ok(())
            }
            Err(fault) => Err(self.record(DmaKind::Read, addr_iova, len, fault)),
        }
    }

    /// Write bytes (untimed models).
    ///
    /// # Errors
    /// The [`DmaViolation`] that was recorded; nothing was written then.
    pub fn write(&mut self, addr_iova: u64, data: &[u8]) -> Result<(), DmaViolation> {
        let len = data.len() as u64;
        match self.find(DmaKind::Write, addr_iova, len) {
            Ok((region, offset)) => {
                region.write(offset, data);
                Ok(())
            }
            Err(fault) => Err(self.record(DmaKind::Write, addr_iova, len, fault)),
        }
    }

    #[inline]
    fn find(&mut self, kind: DmaKind, addr: u64, len: u64) -> Result<(&Region, usize), DmaFault> {
        if self.generation != self.shared.generation.load(Ordering::Acquire) {
            self.reload();
        }
        let inside = |r: &Region| addr.wrapping_sub(r.iova) < r.len;
        if !self.table.get(self.last).is_some_and(|r| inside(r)) {
            let after = self.table.partition_point(|r| r.iova <= addr);
            self.last = after.checked_sub(1).filter(|&i| inside(&self.table[i])).ok_or(DmaFault::Unmapped)?;
        }
        let region = &self.table[self.last];
        let offset = addr - region.iova;
        if len > region.len - offset {
            return Err(DmaFault::PastEnd);
        }
        if kind == DmaKind::Write && region.access == DmaAccess::DeviceReads {
            return Err(DmaFault::ReadOnly);
        }
        Ok((region, offset as usize)) // below the length of a boxed slice
    }

    #[cold]
    fn reload(&mut self) {
        let table = self.shared.table.read().unwrap_or_else(PoisonError::into_inner);
        self.generation = self.shared.generation.load(Ordering::Acquire);
        self.table.clone_from(&table);
        self.last = 0;
    }

    #[cold]
    fn record(&self, kind: DmaKind, addr_iova: u64, len_bytes: u64, fault: DmaFault) -> DmaViolation {
        let violation = DmaViolation { kind, addr_iova, len_bytes, fault };
        let mut log = self.shared.violations();
        log.count += 1;
        if log.kept.len() < KEPT_VIOLATIONS {
            log.kept.push(violation);
        }
        violation
    }
}

/// Strobe byte -> mask of the bytes it enables.
static BYTE_MASKS: [u64; 256] = {
    let mut table = [0u64; 256];
    let mut strobe = 0;
    while strobe < 256 {
        let mut lane = 0;
        while lane < 8 {
            if strobe >> lane & 1 == 1 {
                table[strobe] |= 0xff << (8 * lane);
            }
            lane += 1;
        }
        strobe += 1;
    }
    table
};

#[cfg(test)]
mod tests;
