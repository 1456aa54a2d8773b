//! Memory that two processes map.
//!
//! It is a memfd that cannot shrink: the seal is what makes touching it safe, because a page that the other process took
//! away would kill this one with SIGBUS. A descriptor without that seal is refused, whatever else it is.
//!
//! This file holds the only `unsafe` of the crate: the mapping itself, and its use as words.
#![allow(unsafe_code)]

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

use rustix::fs::{fcntl_add_seals, fcntl_get_seals, fstat, fstatfs, ftruncate, memfd_create};
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;
use rustix::mm::{madvise, mmap, munmap, Advice, MapFlags, ProtFlags};
use thiserror::Error;

/// Mapped memory is a whole number of such pages.
pub const PAGE_BYTES: u64 = 4096;
/// Size of a huge page on x86: one entry of the page tables, of the CPU's and of an IOMMU's.
pub const HUGE_PAGE_BYTES: u64 = 2 << 20;
/// File system type of huge pages (`linux/magic.h`): such a page can be taken away in spite of the seal.
const HUGETLBFS_MAGIC: u64 = 0x9584_58f6;

/// Why memory cannot be shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum MemoryError {
    /// The kernel refused.
    #[error("{what}: {errno}")]
    System {
        /// What was attempted.
        what: &'static str,
        /// The kernel's answer.
        errno: Errno,
    },
    /// Not a memfd, or one that could shrink.
    #[error("the descriptor is no memfd with F_SEAL_SHRINK")]
    NotSealed,
    /// Nothing in it.
    #[error("the memory is empty")]
    Empty,
}

impl MemoryError {
    /// The nearest `errno` value.
    pub fn errno(&self) -> i32 {
        match self {
            Self::System { errno, .. } => errno.raw_os_error(),
            Self::NotSealed => Errno::PERM.raw_os_error(),
            Self::Empty => Errno::INVAL.raw_os_error(),
        }
    }
}

/// A memfd, mapped from its first byte to its last whole page.
#[derive(Debug)]
pub struct SharedMemory {
    start: NonNull<AtomicU64>,
    len_bytes: usize,
    /// Device and inode number.
    identity: (u64, u64),
}

// SAFETY: the mapping belongs to this value alone until it is dropped, and is only reached as shared references to
// atomics, which any thread may use.
unsafe impl Send for SharedMemory {}
// SAFETY: as above; there is no other state that changes.
unsafe impl Sync for SharedMemory {}

impl SharedMemory {
    /// New zeroed memory, rounded up to whole pages, and the descriptor by which another process maps it.
    ///
    /// # Errors
    /// [`MemoryError`].
    pub fn create(name: &str, len_bytes: u64) -> Result<(Self, OwnedFd), MemoryError> {
        let fail = |what| move |errno| MemoryError::System { what, errno };
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let fd = memfd_create(name, flags).map_err(fail("memfd_create"))?;
        ftruncate(&fd, len_bytes.next_multiple_of(PAGE_BYTES)).map_err(fail("ftruncate"))?;
        let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
        fcntl_add_seals(&fd, seals).map_err(fail("fcntl(F_ADD_SEALS)"))?;
        Ok((Self::map(&fd)?, fd))
    }

    /// New zeroed memory of huge pages, rounded up to whole ones, for this process alone. They are reserved at once: when
    /// there are not enough it is an error here and not later.
    ///
    /// # Errors
    /// [`MemoryError`]; with `ENOMEM` when too few huge pages are free.
    pub fn create_huge(name: &str, len_bytes: u64) -> Result<Self, MemoryError> {
        let fail = |what| move |errno| MemoryError::System { what, errno };
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::HUGETLB | MemfdFlags::HUGE_2MB;
        let fd = memfd_create(name, flags).map_err(fail("memfd_create"))?;
        let whole = len_bytes.checked_next_multiple_of(HUGE_PAGE_BYTES).ok_or(Errno::NOMEM);
        ftruncate(&fd, whole.map_err(fail("ftruncate"))?).map_err(fail("ftruncate"))?;
        // Nobody else has the descriptor, and nobody will: no page can be taken away.
        Self::map_all(fd.as_fd())
    }

    /// Maps memory that another process made.
    ///
    /// # Errors
    /// [`MemoryError`]: it must be a memfd with `F_SEAL_SHRINK`, of ordinary pages, open for reading and writing.
    pub fn map(fd: impl AsFd) -> Result<Self, MemoryError> {
        let fail = |what| move |errno| MemoryError::System { what, errno };
        let fd = fd.as_fd();
        let seals = fcntl_get_seals(fd).map_err(|_| MemoryError::NotSealed)?;
        let file_system = fstatfs(fd).map_err(fail("fstatfs"))?;
        // `as`: a magic number of 32 bits in a field whose sign depends on the platform.
        if !seals.contains(SealFlags::SHRINK) || file_system.f_type as u64 == HUGETLBFS_MAGIC {
            return Err(MemoryError::NotSealed);
        }
        Self::map_all(fd)
    }

    /// Maps a memfd that nobody can shrink.
    fn map_all(fd: BorrowedFd<'_>) -> Result<Self, MemoryError> {
        let fail = |what| move |errno| MemoryError::System { what, errno };
        let stat = fstat(fd).map_err(fail("fstat"))?;
        let size = u64::try_from(stat.st_size).unwrap_or(0) / PAGE_BYTES * PAGE_BYTES;
        let too_long = MemoryError::System { what: "mmap", errno: Errno::NOMEM };
        let len_bytes = usize::try_from(size).map_err(|_| too_long)?;
        if len_bytes == 0 {
            return Err(MemoryError::Empty);
        }
        let rights = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory of this process. Its pages stay
        // there as long as the mapping does, because the file cannot shrink below `len_bytes`: it is sealed, or its descriptor ends with the caller.
        let start = unsafe { mmap(std::ptr::null_mut(), len_bytes, rights, MapFlags::SHARED, fd, 0) };
        let start = NonNull::new(start.map_err(fail("mmap"))?.cast()).ok_or(MemoryError::Empty)?;
        let memory = Self { start, len_bytes, identity: (stat.st_dev, stat.st_ino) };
        // A child of fork must not write where the device reads.
        // SAFETY: the range is exactly the mapping that was just made; the advice does not change its contents.
        let advised = unsafe { madvise(memory.start.as_ptr().cast(), len_bytes, Advice::LinuxDontFork) };
        advised.map_err(fail("madvise"))?;
        Ok(memory)
    }

    /// Device and inode number of the memfd: the same for every descriptor of the same memory.
    pub fn identity(&self) -> (u64, u64) {
        self.identity
    }

    /// Length, bytes; a whole number of pages.
    pub fn len_bytes(&self) -> usize {
        self.len_bytes
    }

    /// All of it.
    pub fn words(&self) -> &[AtomicU64] {
        // SAFETY: the mapping is `len_bytes` long, page aligned, readable and writable, and lives as long as `self`; every
        // bit pattern is an `AtomicU64`. The other process writes too, which atomics allow, and cannot shrink it.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len_bytes / 8) }
    }
}

impl Drop for SharedMemory {
    fn drop(&mut self) {
        // SAFETY: exactly the mapping of `map`, unmapped once; no reference to its words outlives `self`.
        let unmapped = unsafe { munmap(self.start.as_ptr().cast(), self.len_bytes) };
        debug_assert!(unmapped.is_ok(), "the mapping was ours: {unmapped:?}");
    }
}

/// Device and inode number of a descriptor.
///
/// # Errors
/// [`MemoryError::System`].
pub fn identity(fd: impl AsFd) -> Result<(u64, u64), MemoryError> {
    let stat = fstat(fd).map_err(|errno| MemoryError::System { what: "fstat", errno })?;
    Ok((stat.st_dev, stat.st_ino))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words;

    #[test]
    fn two_mappings_are_the_same_memory() {
        let (ours, fd) = SharedMemory::create("test", 5000).unwrap();
        let theirs = SharedMemory::map(&fd).unwrap();
        assert_eq!((ours.len_bytes(), theirs.len_bytes()), (8192, 8192));
        assert_eq!(ours.identity(), theirs.identity());
        words::write(ours.words(), 4999, b"hello");
        let mut out = [0; 5];
        words::read(theirs.words(), 4999, &mut out);
        assert_eq!(&out, b"hello");
    }

    #[test]
    fn memory_that_could_be_taken_away_is_refused() {
        let file = std::fs::File::open("/proc/self/exe").unwrap();
        assert_eq!(SharedMemory::map(&file).unwrap_err(), MemoryError::NotSealed);
        let fd = memfd_create("unsealed", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        ftruncate(&fd, 4096).unwrap();
        assert_eq!(SharedMemory::map(&fd).unwrap_err(), MemoryError::NotSealed);
        fcntl_add_seals(&fd, SealFlags::SHRINK).unwrap();
        assert!(SharedMemory::map(&fd).is_ok());
        let (reader, _writer) = rustix::pipe::pipe().unwrap();
        assert_eq!(SharedMemory::map(&reader).unwrap_err(), MemoryError::NotSealed);
    }

    #[test]
    fn memory_of_huge_pages_is_whole_ones_or_a_clear_error() {
        match SharedMemory::create_huge("huge", 5000) {
            Ok(memory) => {
                assert_eq!(memory.len_bytes() as u64, HUGE_PAGE_BYTES);
                words::write(memory.words(), 4999, b"hello");
            }
            Err(error) => assert_eq!(error.errno(), Errno::NOMEM.raw_os_error(), "{error}"),
        }
        assert!(SharedMemory::create_huge("huge", u64::MAX).is_err());
        assert!(SharedMemory::create_huge("huge", 1 << 60).is_err());
    }

    #[test]
    fn empty_memory_and_more_than_fits_an_address_space_are_errors() {
        for (len, errno) in [(0, Errno::INVAL), (1 << 62, Errno::NOMEM)] {
            let fd = memfd_create("odd", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
            ftruncate(&fd, len).unwrap();
            fcntl_add_seals(&fd, SealFlags::SHRINK).unwrap();
            assert_eq!(SharedMemory::map(&fd).unwrap_err().errno(), errno.raw_os_error());
        }
    }
}
