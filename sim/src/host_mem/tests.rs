//! Tests of host memory.

use super::*;
use crate::rng::{test_seed, Rng};

#[test]
fn device_sees_what_the_driver_wrote_and_back() {
    let memory = HostMemory::new();
    let region = memory.alloc(100, DmaAccess::DeviceReadsWrites).unwrap();
    let mut port = memory.port();
    region.write(3, b"hello world");
    let mut out = [0u8; 11];
    port.read(region.iova() + 3, &mut out).unwrap();
    assert_eq!(&out, b"hello world");
    port.write_word(region.iova() + 16, 0x8877_6655_4433_2211, 0b0011_1100).unwrap();
    assert_eq!(region.load_u64(16), 0x0000_6655_4433_0000);
    assert_eq!(port.read_word(region.iova() + 19).unwrap(), 0x0000_6655_4433_0000);
}

#[test]
fn random_copies_agree_with_a_plain_array() {
    let mut rng = Rng::new(test_seed(1));
    let memory = HostMemory::new();
    let region = memory.alloc(200, DmaAccess::DeviceReadsWrites).unwrap();
    let mut port = memory.port();
    let mut mirror = [0u8; 200];
    for step in 0..5000u64 {
        let at = rng.below(200) as usize;
        let len = rng.below(200 - at as u64 + 1) as usize;
        let data: Vec<u8> = (0..len).map(|_| rng.next_u64() as u8).collect();
        mirror[at..at + len].copy_from_slice(&data);
        if step % 2 == 0 {
            region.write(at, &data);
        } else {
            port.write(region.iova() + at as u64, &data).unwrap();
        }
        let at = rng.below(200) as usize;
        let mut out = vec![0u8; rng.below(200 - at as u64 + 1) as usize];
        region.read(at, &mut out);
        assert_eq!(out, mirror[at..at + out.len()], "step {step}");
    }
}

#[test]
fn access_outside_of_mappings_is_refused_and_recorded() {
    let memory = HostMemory::new();
    let a = memory.alloc(4096, DmaAccess::DeviceReads).unwrap();
    let b = memory.alloc(4096, DmaAccess::DeviceReadsWrites).unwrap();
    let mut port = memory.port();
    let fault = |r: Result<(), DmaViolation>| r.unwrap_err().fault;
    assert_eq!(fault(port.check(DmaKind::Read, 0, 8)), DmaFault::Unmapped);
    assert_eq!(fault(port.check(DmaKind::Read, a.iova() + 4096, 8)), DmaFault::Unmapped);
    assert_eq!(fault(port.check(DmaKind::Read, a.iova() + 4088, 16)), DmaFault::PastEnd);
    assert_eq!(fault(port.check(DmaKind::Read, u64::MAX, 8)), DmaFault::Unmapped);
    assert_eq!(fault(port.write(a.iova(), &[1])), DmaFault::ReadOnly);
    port.write(b.iova() + 4095, &[1]).unwrap();
    let (count, kept) = memory.violations();
    assert_eq!((count, kept.len()), (5, 5));
    assert_eq!(kept[4].kind, DmaKind::Write);
    assert!(kept[4].to_string().contains("ReadOnly"));
}

#[test]
fn unmapping_takes_effect_at_once() {
    let memory = HostMemory::new();
    let region = memory.alloc(64, DmaAccess::DeviceReadsWrites).unwrap();
    let mut port = memory.port();
    let iova = region.iova();
    port.check(DmaKind::Write, iova, 64).unwrap();
    drop(region);
    assert_eq!(port.check(DmaKind::Write, iova, 64).unwrap_err().fault, DmaFault::Unmapped);
    assert_eq!(memory.mapped_bytes(), 0);
}

#[test]
fn overlapping_and_senseless_mappings_are_refused() {
    let memory = HostMemory::new();
    let map = |at, len| memory.map_at(at, len, DmaAccess::DeviceReads);
    let _a = map(0x10_000, 8192).unwrap();
    assert_eq!(map(0x11_000, 16).unwrap_err(), MapError::Overlap { addr_iova: 0x11_000 });
    assert!(map(0xf_000, 0x1001).is_err());
    let _b = map(0xf_000, 0x1000).unwrap();
    assert!(map(0x12_001, 8).is_err());
    assert!(map(0x20_000, 0).is_err());
    assert!(map(!4095, 8).is_err());
}

#[test]
#[should_panic(expected = "region")]
fn driver_access_past_the_end_panics() {
    let memory = HostMemory::new();
    memory.alloc(10, DmaAccess::DeviceReads).unwrap().read(8, &mut [0; 3]);
}

fn shared(pages: u64) -> std::sync::Arc<SharedMemory> {
    std::sync::Arc::new(SharedMemory::create("test", pages * PAGE_BYTES).unwrap().0)
}

#[test]
fn memory_of_another_process_is_reached_page_by_page_in_any_order() {
    let (memory, file) = (HostMemory::new(), shared(3));
    let map = |iova, page: u64, access| {
        memory.map_shared(iova, PAGE_BYTES, access, file.clone(), page * PAGE_BYTES).unwrap();
    };
    map(0x10_000, 2, DmaAccess::DeviceReadsWrites);
    map(0x11_000, 0, DmaAccess::DeviceReadsWrites);
    map(0x12_000, 1, DmaAccess::DeviceReads);
    let mut port = memory.port();
    port.write(0x10_ffd, b"across").unwrap();
    let mut out = [0; 6];
    port.read(0x10_ffd, &mut out).unwrap();
    assert_eq!(&out, b"across");
    let (mut end, mut start) = ([0; 3], [0; 3]);
    words::read(file.words(), 0x2ffd, &mut end);
    words::read(file.words(), 0, &mut start);
    assert_eq!((&end, &start), (b"acr", b"oss"));
    // All or nothing: the last page may only be read.
    assert_eq!(port.write(0x11_ffe, &[1; 4]).unwrap_err().fault, DmaFault::ReadOnly);
    port.read(0x11_ffe, &mut out).unwrap();
    assert_eq!(out, [0; 6]);
    assert_eq!(port.read(0x12_ffe, &mut out).unwrap_err().fault, DmaFault::PastEnd);
}

#[test]
fn unmapping_takes_what_overlaps_the_range_and_does_not_mind_the_rest() {
    let (memory, file) = (HostMemory::new(), shared(1));
    for page in 1..5 {
        memory.map_shared(page << 12, PAGE_BYTES, DmaAccess::DeviceReads, file.clone(), 0).unwrap();
    }
    assert_eq!(memory.unmap(0x2fff..0x3001), 2);
    assert_eq!(memory.unmap(0x2000..0x4000), 0);
    assert_eq!(memory.regions(), 2);
    assert_eq!(memory.unmap(0..u64::MAX), 2);
    assert_eq!(memory.port().check(DmaKind::Read, 0x1000, 1).unwrap_err().fault, DmaFault::Unmapped);
}

#[test]
fn senseless_mappings_of_shared_memory_are_refused() {
    let (memory, file) = (HostMemory::new(), shared(2));
    let map = |iova, len, offset| {
        memory.map_shared(iova, len, DmaAccess::DeviceReads, file.clone(), offset).is_ok()
    };
    for (iova, len, offset) in [
        (0x1000, 0x3000, 0),
        (0x1000, 0x1000, 0x2000),
        (0x1000, 0x1000, !0xfff),
        (0x1000, !0xfff, 0),
        (!0xfff, 0x1000, 0),
        (0x1800, 0x1000, 0),
        (0x1000, 0x800, 0),
        (0x1000, 0, 0),
    ] {
        assert!(!map(iova, len, offset), "{len:#x} bytes of {offset:#x} at {iova:#x}");
    }
    assert!(map(0x1000, 0x2000, 0) && !map(0x2000, 0x1000, 0));
}

#[test]
fn who_is_no_bus_master_reaches_nothing() {
    let memory = HostMemory::new();
    let region = memory.alloc(8, DmaAccess::DeviceReadsWrites).unwrap();
    let mut port = memory.port();
    port.write(region.iova(), &[1]).unwrap();
    memory.set_master(false);
    assert_eq!(port.write(region.iova(), &[2]).unwrap_err().fault, DmaFault::NotMaster);
    assert_eq!(port.read_word(region.iova()).unwrap_err().fault, DmaFault::NotMaster);
    memory.set_master(true);
    assert_eq!(port.read_word(region.iova()), Ok(1));
}
