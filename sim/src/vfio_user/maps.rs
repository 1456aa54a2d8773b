//! What the device may reach: `DMA_MAP` and `DMA_UNMAP`.
//!
//! A hypervisor with an IOMMU maps page by page out of one large file, so a file is mapped into this process once, and each
//! range only refers to it.

use crate::host_mem::{DmaAccess, HostMemory, MapError};
use chimney_vfio_user::memory::{identity, SharedMemory};
use chimney_vfio_user::message::{DmaMap, DmaUnmap, MAP_READ, MAP_WRITE, UNMAP_ALL};
use rustix::io::Errno;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Weak};

/// Most ranges of one client; the kernel's own limit for VFIO.
const MAX_MAPS: usize = 65_535;

/// Ranges of one client.
#[derive(Debug)]
pub(super) struct Maps {
    memory: HostMemory,
    files: Vec<Weak<SharedMemory>>,
}

impl Maps {
    pub(super) fn new(memory: HostMemory) -> Self {
        Self { memory, files: Vec::new() }
    }

    /// Lets the device reach a range. One without descriptor (a ROM, another device's BAR) cannot be reached from here: it is
    /// accepted, and an access to it is a fault.
    pub(super) fn map(&mut self, request: DmaMap, fds: &[OwnedFd]) -> Result<(), i32> {
        let access = match request.flags {
            MAP_READ => DmaAccess::DeviceReads,
            flags if flags & MAP_WRITE != 0 && flags & !(MAP_READ | MAP_WRITE) == 0 => {
                DmaAccess::DeviceReadsWrites
            }
            _ => return Err(Errno::INVAL.raw_os_error()),
        };
        let fd = match fds {
            [] => return Ok(()),
            [fd] => fd,
            _ => return Err(Errno::INVAL.raw_os_error()),
        };
        if self.memory.regions() >= MAX_MAPS {
            return Err(Errno::NOSPC.raw_os_error());
        }
        let file = self.file(fd, request.offset.saturating_add(request.size))?;
        let mapped = self.memory.map_shared(request.address, request.size, access, file, request.offset);
        mapped.map_err(|error| match error {
            MapError::BadRange { .. } => Errno::INVAL.raw_os_error(),
            MapError::Overlap { .. } => Errno::EXIST.raw_os_error(),
        })
    }

    /// Takes a range away, and all that overlaps it. That nothing was there is no error: a hypervisor unmaps generously.
    pub(super) fn unmap(&mut self, request: DmaUnmap) -> Result<(), i32> {
        match request.flags {
            0 => self.memory.unmap(request.address..request.address.saturating_add(request.size)),
            UNMAP_ALL => self.memory.unmap(0..u64::MAX),
            _ => return Err(Errno::INVAL.raw_os_error()),
        };
        self.files.retain(|file| file.strong_count() > 0);
        Ok(())
    }

    /// The file behind a descriptor, mapped at least up to `end`.
    fn file(&mut self, fd: &OwnedFd, end: u64) -> Result<Arc<SharedMemory>, i32> {
        let wanted = identity(fd).map_err(|error| error.errno())?;
        let fits = |file: &Arc<SharedMemory>| {
            file.identity() == wanted && end <= file.len_bytes() as u64 // a length in memory
        };
        if let Some(file) = self.files.iter().filter_map(Weak::upgrade).find(fits) {
            return Ok(file);
        }
        let file = Arc::new(SharedMemory::map(fd).map_err(|error| error.errno())?);
        self.files.retain(|file| file.strong_count() > 0);
        self.files.push(Arc::downgrade(&file));
        Ok(file)
    }
}
