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

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use chimney_vfio_user::memory::SharedMemory;
use chimney_vfio_user::words;
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
    /// The first byte is mapped, a later one is not.
    PastEnd,
    /// A write to a region that the device may only read.
    ReadOnly,
    /// The device may not make DMA at all now: it is no bus master.
    NotMaster,
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
    /// Writes are refused, whatever `access` says ([`HostMemory::refuse_writes`]).
    is_frozen: AtomicBool,
    storage: Storage,
}

/// Where the bytes of a region are.
#[derive(Debug)]
enum Storage {
    /// In this process.
    Own(Box<[AtomicU64]>),
    /// In memory of another process, from this word on.
    Shared(Arc<SharedMemory>, usize),
}

impl Region {
    #[inline]
    fn words(&self) -> &[AtomicU64] {
        match &self.storage {
            Storage::Own(words) => words,
            // Checked when it was mapped.
            Storage::Shared(memory, first) => &memory.words()[*first..],
        }
    }

    fn end(&self) -> u64 {
        self.iova + self.len // does not wrap: checked when it was mapped
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
    is_master: AtomicBool,
    violations: Mutex<ViolationLog>,
}

impl Shared {
    fn insert(&self, region: Arc<Region>) -> Result<(), MapError> {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        let at = table.partition_point(|r| r.iova < region.iova);
        let clear_before = at == 0 || table[at - 1].end() <= region.iova;
        let clear_after = at == table.len() || region.end() <= table[at].iova;
        if !clear_before || !clear_after {
            return Err(MapError::Overlap { addr_iova: region.iova });
        }
        table.insert(at, region);
        self.generation.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// Removes every region that has a byte in the range; how many.
    fn remove(&self, iovas: Range<u64>) -> usize {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        let from = table.partition_point(|r| r.end() <= iovas.start);
        let to = table.partition_point(|r| r.iova < iovas.end).max(from);
        table.drain(from..to);
        self.generation.fetch_add(1, Ordering::Release);
        to - from
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
                is_master: AtomicBool::new(true),
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
        check_range(addr_iova, len)?;
        let storage = Storage::Own((0..len / 8).map(|_| AtomicU64::new(0)).collect());
        let region =
            Arc::new(Region { iova: addr_iova, len, access, is_frozen: AtomicBool::new(false), storage });
        self.shared.insert(region.clone())?;
        Ok(DmaRegion { region, shared: self.shared.clone(), len: len_bytes })
    }

    /// Map memory of another process, `offset` bytes from its start, at `addr_iova`, all of them whole pages. It stays until
    /// [`HostMemory::unmap`].
    ///
    /// # Errors
    /// [`MapError`], as for [`HostMemory::map_at`], and when the memory is not that long.
    pub fn map_shared(
        &self,
        addr_iova: u64,
        len_bytes: u64,
        access: DmaAccess,
        memory: Arc<SharedMemory>,
        offset: u64,
    ) -> Result<(), MapError> {
        check_range(addr_iova, len_bytes)?;
        let is_whole = len_bytes.is_multiple_of(PAGE_BYTES) && offset.is_multiple_of(PAGE_BYTES);
        let end = offset.checked_add(len_bytes).and_then(|end| usize::try_from(end).ok());
        if !is_whole || end.is_none_or(|end| end > memory.len_bytes()) {
            return Err(MapError::BadRange { addr_iova, len_bytes });
        }
        let storage = Storage::Shared(memory, (offset / 8) as usize); // below the length of a mapping
        let is_frozen = AtomicBool::new(false);
        self.shared.insert(Arc::new(Region { iova: addr_iova, len: len_bytes, access, is_frozen, storage }))
    }

    /// Unmap every region that has a byte in the range, whoever mapped it; how many.
    pub fn unmap(&self, iovas: Range<u64>) -> usize {
        self.shared.remove(iovas)
    }

    /// Refuse the device's writes to the region at `iova` from now on, or allow them again: an error that the bus answers.
    pub fn refuse_writes(&self, iova: u64, is_refused: bool) {
        let table = self.shared.table.read().unwrap_or_else(PoisonError::into_inner);
        for region in table.iter().filter(|region| region.iova == iova) {
            region.is_frozen.store(is_refused, Ordering::Release);
        }
    }

    /// Allow the device its DMA, or refuse it all: what a bus master may and another may not.
    pub fn set_master(&self, is_master: bool) {
        self.shared.is_master.store(is_master, Ordering::Release);
        self.shared.generation.fetch_add(1, Ordering::Release);
    }

    /// Whether the device may make DMA.
    pub fn is_master(&self) -> bool {
        self.shared.is_master.load(Ordering::Acquire)
    }

    /// Regions mapped now.
    pub fn regions(&self) -> usize {
        self.shared.table.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// A new device-side port.
    pub fn port(&self) -> DmaPort {
        DmaPort { shared: self.shared.clone(), generation: 0, table: Vec::new(), last: 0, is_master: true }
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

/// A region begins at a page, is not empty, and leaves the last page of the address space alone.
fn check_range(addr_iova: u64, len_bytes: u64) -> Result<(), MapError> {
    let end = addr_iova.checked_add(len_bytes).and_then(|end| end.checked_add(PAGE_BYTES));
    if len_bytes == 0 || !addr_iova.is_multiple_of(PAGE_BYTES) || end.is_none() {
        return Err(MapError::BadRange { addr_iova, len_bytes });
    }
    Ok(())
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
        words::read(self.region.words(), offset, out);
    }

    /// Copy bytes in.
    ///
    /// # Panics
    /// When the range is not inside the region.
    pub fn write(&self, offset: usize, data: &[u8]) {
        self.check(offset, data.len());
        words::write(self.region.words(), offset, data);
    }

    /// Load one little-endian word in one access (acquire). `offset` is a multiple of 8.
    ///
    /// # Panics
    /// When the word is not inside the region or not aligned.
    pub fn load_u64(&self, offset: usize) -> u64 {
        assert_eq!(offset % 8, 0, "64-bit access at offset {offset}");
        self.check(offset, 8);
        words::load(self.region.words(), offset / 8)
    }

    /// Store one little-endian word in one access (release). `offset` is a multiple of 8.
    ///
    /// # Panics
    /// When the word is not inside the region or not aligned.
    pub fn store_u64(&self, offset: usize, value: u64) {
        assert_eq!(offset % 8, 0, "64-bit access at offset {offset}");
        self.check(offset, 8);
        words::store(self.region.words(), offset / 8, value);
    }

    fn check(&self, offset: usize, len: usize) {
        let end = offset.checked_add(len);
        assert!(end.is_some_and(|e| e <= self.len), "{len} bytes at {offset} of a {}-byte region", self.len);
    }
}

impl Drop for DmaRegion {
    fn drop(&mut self) {
        self.shared.remove(self.region.iova..self.region.end());
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
    is_master: bool,
}

impl DmaPort {
    /// May the device do this? A refusal is recorded.
    ///
    /// # Errors
    /// The [`DmaViolation`] that was recorded.
    pub fn check(&mut self, kind: DmaKind, addr_iova: u64, len_bytes: u64) -> Result<(), DmaViolation> {
        self.walk(kind, addr_iova, len_bytes, |_, _, _| ())
    }

    /// Read the aligned 8-byte word at `addr_iova & !7`.
    ///
    /// # Errors
    /// The [`DmaViolation`] that was recorded.
    #[inline]
    pub fn read_word(&mut self, addr_iova: u64) -> Result<u64, DmaViolation> {
        let at = addr_iova & !7;
        match self.find(DmaKind::Read, at, 8) {
            Ok((region, offset, _)) => Ok(words::load(region.words(), offset / 8)),
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
            Ok((region, offset, _)) => {
                words::merge(region.words(), offset / 8, value, BYTE_MASKS[usize::from(strobe)]);
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
        self.check(DmaKind::Read, addr_iova, out.len() as u64)?;
        let mut rest = out;
        self.walk(DmaKind::Read, addr_iova, rest.len() as u64, |region, offset, n| {
            let (piece, tail) = std::mem::take(&mut rest).split_at_mut(n);
            words::read(region.words(), offset, piece);
            rest = tail;
        })
    }

    /// Write bytes (untimed models).
    ///
    /// # Errors
    /// The [`DmaViolation`] that was recorded; nothing was written then.
    pub fn write(&mut self, addr_iova: u64, data: &[u8]) -> Result<(), DmaViolation> {
        self.check(DmaKind::Write, addr_iova, data.len() as u64)?;
        let mut rest = data;
        self.walk(DmaKind::Write, addr_iova, data.len() as u64, |region, offset, n| {
            let (piece, tail) = rest.split_at(n);
            words::write(region.words(), offset, piece);
            rest = tail;
        })
    }

    /// Goes through the regions of an access, which may be many where an IOMMU maps page by page; `each` gets a region, an
    /// offset in it and how many bytes. A refusal is recorded.
    #[inline]
    fn walk(
        &mut self,
        kind: DmaKind,
        addr_iova: u64,
        len_bytes: u64,
        mut each: impl FnMut(&Region, usize, usize),
    ) -> Result<(), DmaViolation> {
        let mut done = 0;
        loop {
            // An access cannot wrap: no region reaches the end of the address space.
            match self.find(kind, addr_iova.wrapping_add(done), len_bytes - done) {
                Ok((region, offset, n)) => {
                    each(region, offset, n as usize); // not longer than the access
                    done += n;
                }
                Err(DmaFault::Unmapped) if done > 0 => {
                    return Err(self.record(kind, addr_iova, len_bytes, DmaFault::PastEnd))
                }
                Err(fault) => return Err(self.record(kind, addr_iova, len_bytes, fault)),
            }
            if done == len_bytes {
                return Ok(());
            }
        }
    }

    /// The region of the first byte, the byte's offset in it, and how many bytes of the access it has.
    #[inline]
    fn find(&mut self, kind: DmaKind, addr: u64, len: u64) -> Result<(&Region, usize, u64), DmaFault> {
        if self.generation != self.shared.generation.load(Ordering::Acquire) {
            self.reload();
        }
        if !self.is_master {
            return Err(DmaFault::NotMaster);
        }
        let inside = |r: &Region| addr.wrapping_sub(r.iova) < r.len;
        if !self.table.get(self.last).is_some_and(|r| inside(r)) {
            let after = self.table.partition_point(|r| r.iova <= addr);
            self.last = after.checked_sub(1).filter(|&i| inside(&self.table[i])).ok_or(DmaFault::Unmapped)?;
        }
        let region = &self.table[self.last];
        let offset = addr - region.iova;
        let is_read_only =
            region.access == DmaAccess::DeviceReads || region.is_frozen.load(Ordering::Acquire);
        if kind == DmaKind::Write && is_read_only {
            return Err(DmaFault::ReadOnly);
        }
        Ok((region, offset as usize, len.min(region.len - offset))) // the offset is below the length of a slice
    }

    #[cold]
    fn reload(&mut self) {
        let table = self.shared.table.read().unwrap_or_else(PoisonError::into_inner);
        self.generation = self.shared.generation.load(Ordering::Acquire);
        self.table.clone_from(&table);
        self.last = 0;
        self.is_master = self.shared.is_master.load(Ordering::Acquire);
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
