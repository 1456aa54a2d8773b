//! What the crate `vfio-ioctls` lacks: calls whose result is checked, maps that the device may only read, and the registers.
//!
//! This file holds the only `unsafe` of the transport.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{fence, Ordering};

use chimney_vfio_user::memory::SharedMemory;
use memmap2::{MmapOptions, MmapRaw};
use vfio_bindings::bindings::vfio::{
    vfio_iommu_type1_dma_map, vfio_iommu_type1_dma_unmap, VFIO_BASE, VFIO_DMA_MAP_FLAG_READ,
    VFIO_DMA_MAP_FLAG_WRITE, VFIO_TYPE,
};
use vfio_ioctls::{VfioContainer, VfioDevice};
use vmm_sys_util::ioctl::{ioctl, ioctl_with_mut_ptr, ioctl_with_mut_ref, ioctl_with_ref};

use crate::bus::DeviceAccess;

/// Number of a VFIO call (`linux/vfio.h`): direction and size are not part of it.
const fn call(number: u32) -> std::ffi::c_ulong {
    // `as`: widening; `From` is not const.
    (VFIO_TYPE as std::ffi::c_ulong) << 8 | (VFIO_BASE + number) as std::ffi::c_ulong
}

/// `VFIO_DEVICE_RESET`
const DEVICE_RESET: std::ffi::c_ulong = call(11);
/// `VFIO_IOMMU_GET_INFO`
const IOMMU_GET_INFO: std::ffi::c_ulong = call(12);
/// `VFIO_IOMMU_MAP_DMA`
const IOMMU_MAP_DMA: std::ffi::c_ulong = call(13);
/// `VFIO_IOMMU_UNMAP_DMA`
const IOMMU_UNMAP_DMA: std::ffi::c_ulong = call(14);

/// Most words that the kernel is let say about its IOMMU.
const MAX_INFO_WORDS: usize = 1 << 13;

fn checked(result: std::ffi::c_int) -> io::Result<()> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// The device's descriptor.
pub fn device_fd(device: &VfioDevice) -> BorrowedFd<'_> {
    // SAFETY: the device owns the descriptor and keeps it open as long as it is borrowed here.
    unsafe { BorrowedFd::borrow_raw(device.as_raw_fd()) }
}

/// Resets the function.
///
/// # Errors
/// The kernel's.
pub fn reset(device: &VfioDevice) -> io::Result<()> {
    // SAFETY: the call has no argument.
    checked(unsafe { ioctl(device, DEVICE_RESET) })
}

/// What the kernel says about the IOMMU behind a container: `vfio_iommu_type1_info` and the capabilities behind it, in words of
/// 32 bits.
///
/// # Errors
/// The kernel's; or more than fits.
pub fn iommu_info(container: &VfioContainer) -> io::Result<Vec<u32>> {
    let mut words = 64;
    loop {
        // The structure has fields of 8 bytes.
        let mut info = vec![0u64; words / 2];
        // `as`: at most MAX_INFO_WORDS.
        info[0] = u64::from_ne_bytes(two_words([words as u32 * 4, 0]));
        // SAFETY: the buffer is `argsz` bytes long (its first field), aligned for the structure, and not reached by
        // anything else while the kernel writes it; the kernel writes no more than `argsz` bytes.
        checked(unsafe { ioctl_with_mut_ptr(container, IOMMU_GET_INFO, info.as_mut_ptr()) })?;
        let all: Vec<u32> = info.into_iter().flat_map(halves).collect();
        let needed = (all[0] as usize).div_ceil(4); // `as`: 32 bits fit
        if needed <= words {
            return Ok(all);
        }
        if needed > MAX_INFO_WORDS {
            return Err(io::ErrorKind::InvalidData.into());
        }
        words = needed.next_multiple_of(2);
    }
}

fn two_words(words: [u32; 2]) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&words[0].to_ne_bytes());
    bytes[4..].copy_from_slice(&words[1].to_ne_bytes());
    bytes
}

/// The two words of 32 bits, in the order of memory.
fn halves(word: u64) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = word.to_ne_bytes();
    [u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h])]
}

/// Lets devices of a container reach all of `memory` at `iova`. The kernel pins the pages: they stay where they are until the
/// map ends, even if `memory` is dropped before.
///
/// # Errors
/// The kernel's.
pub fn map(
    container: &VfioContainer,
    iova: u64,
    memory: &SharedMemory,
    access: DeviceAccess,
) -> io::Result<()> {
    let write = match access {
        DeviceAccess::Reads => 0,
        DeviceAccess::ReadsWrites => VFIO_DMA_MAP_FLAG_WRITE,
    };
    let map = vfio_iommu_type1_dma_map {
        argsz: size_of::<vfio_iommu_type1_dma_map>() as u32, // 32
        flags: VFIO_DMA_MAP_FLAG_READ | write,
        vaddr: memory.words().as_ptr().addr() as u64, // an address
        iova,
        size: memory.len_bytes() as u64, // a length in memory
    };
    // SAFETY: the argument is a whole structure with its size in it. What the device writes from now on lies in a shared
    // mapping that is only reached as atomics, and in pages that the kernel keeps for it.
    checked(unsafe { ioctl_with_ref(container, IOMMU_MAP_DMA, &map) })
}

/// Ends the map of `size_bytes` at `iova`.
///
/// # Errors
/// The kernel's; `NotFound` when less was mapped there.
pub fn unmap(container: &VfioContainer, iova: u64, size_bytes: u64) -> io::Result<()> {
    let mut unmap = vfio_iommu_type1_dma_unmap {
        argsz: size_of::<vfio_iommu_type1_dma_unmap>() as u32, // 24
        iova,
        size: size_bytes,
        ..Default::default()
    };
    // SAFETY: the argument is a whole structure with its size in it; the kernel writes back the size.
    checked(unsafe { ioctl_with_mut_ref(container, IOMMU_UNMAP_DMA, &mut unmap) })?;
    if unmap.size != size_bytes {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(())
}

/// The registers of a BAR, mapped.
#[derive(Debug)]
pub struct Registers {
    map: MmapRaw,
}

impl Registers {
    /// Maps `len_bytes` of the device's descriptor from `offset`.
    ///
    /// # Errors
    /// The kernel's.
    pub fn map(device: BorrowedFd<'_>, offset: u64, len_bytes: usize) -> io::Result<Self> {
        let map = MmapOptions::new().offset(offset).len(len_bytes).map_raw(device.as_raw_fd())?;
        Ok(Self { map })
    }

    fn register(&self, offset: u32) -> *mut u32 {
        let at = offset as usize; // `as`: 32 bits fit
        assert!(at.is_multiple_of(4) && at + 4 <= self.map.len(), "no register at {offset:#x}");
        self.map.as_mut_ptr().wrapping_add(at).cast()
    }

    /// Reads a register.
    ///
    /// # Panics
    /// When there is none at this offset.
    pub fn read32(&self, offset: u32) -> u32 {
        // SAFETY: `register` checked that the word lies in the mapping and is aligned (a mapping begins at a page). Memory
        // behind it is a device's or a file's; it is reached by volatile accesses alone.
        let value = unsafe { self.register(offset).read_volatile() };
        // What the device wrote to memory before it answered is seen by what is read after.
        fence(Ordering::Acquire);
        u32::from_le(value)
    }

    /// Writes a register.
    ///
    /// # Panics
    /// As [`Registers::read32`].
    pub fn write32(&self, offset: u32, value: u32) {
        // What was stored before a doorbell is seen by the device before the doorbell.
        fence(Ordering::Release);
        // SAFETY: as `read32`.
        unsafe { self.register(offset).write_volatile(value.to_le()) }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::panic::{catch_unwind, AssertUnwindSafe};

    use super::*;

    #[test]
    fn registers_are_words_of_the_mapping_and_nothing_outside() {
        let (memory, fd) = SharedMemory::create("bar", 8192).unwrap();
        let registers = Registers::map(fd.as_fd(), 4096, 4096).unwrap();
        registers.write32(0, 0x0403_0201);
        registers.write32(4092, 9);
        assert_eq!((registers.read32(0), registers.read32(4092)), (0x0403_0201, 9));
        let mut bytes = [0; 4];
        chimney_vfio_user::words::read(memory.words(), 4096, &mut bytes);
        assert_eq!(bytes, [1, 2, 3, 4]);
        for offset in [2, 4096, u32::MAX - 3] {
            let outside = catch_unwind(AssertUnwindSafe(|| registers.read32(offset)));
            assert!(outside.is_err(), "{offset}");
        }
    }

    #[test]
    fn calls_have_the_numbers_of_the_kernels_header() {
        assert_eq!((DEVICE_RESET, IOMMU_MAP_DMA), (0x3b6f, 0x3b71));
        assert_eq!(halves(u64::from_ne_bytes(two_words([1, 2]))), [1, 2]);
    }
}
