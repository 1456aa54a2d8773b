//! Tests of the PCI function, with the golden model in it.

use super::*;
use crate::golden::{Config, Golden};
use crate::host_mem::DmaPort;

fn function() -> (Function, Golden<DmaPort>, HostMemory) {
    let memory = HostMemory::new();
    let device = Golden::new(Config::default(), memory.port());
    (Function::new(memory.clone()), device, memory)
}

fn config<const N: usize>(function: &mut Function, offset: u16) -> [u8; N] {
    let mut out = [0; N];
    function.config_read(offset.into(), &mut out).unwrap();
    out
}

fn register(function: &mut Function, device: &mut impl Device, offset: u32) -> u32 {
    let mut out = [0; 4];
    function.bar_read(device, 0, offset.into(), &mut out).unwrap();
    u32::from_le_bytes(out)
}

#[test]
fn identity_and_both_capabilities_are_found_as_software_finds_them() {
    let (mut f, ..) = function();
    assert_eq!(u16::from_le_bytes(config(&mut f, pci::VENDOR)), pci::VENDOR_ID);
    assert_eq!(config::<4>(&mut f, pci::REVISION), [VERSION, 0, 0, 2]);
    let (mut at, mut ids) = (u16::from(config::<1>(&mut f, pci::CAPABILITIES)[0]), Vec::new());
    while at != 0 {
        let [id, next] = config(&mut f, at);
        ids.push(id);
        at = next.into();
    }
    assert_eq!(ids, [pci::EXPRESS_ID, pci::MSIX_ID]);
    assert_ne!(u32::from_le_bytes(config(&mut f, pci::DEVICE_CAPABILITIES)) & pci::FLR_CAPABLE, 0);
}

const VERSION: u8 = chimney_abi::VERSION_MAJOR as u8;

#[test]
fn the_size_of_a_bar_is_found_by_writing_ones() {
    let (mut f, mut device, _) = function();
    for bar in 0..6u16 {
        let at = pci::BAR + 4 * bar;
        f.config_write(&mut device, at.into(), &[0xff; 4]).unwrap();
        let mask = u32::from_le_bytes(config(&mut f, at));
        assert_eq!((!mask).wrapping_add(1), pci::bar_bytes(bar.into()), "BAR{bar}");
    }
}

#[test]
fn identity_cannot_be_written() {
    let (mut f, mut device, _) = function();
    let before: [u8; 4] = config(&mut f, pci::VENDOR);
    f.config_write(&mut device, 0, &[0; 4]).unwrap();
    assert_eq!(config::<4>(&mut f, pci::VENDOR), before);
}

#[test]
fn command_decides_about_dma_and_a_reset_takes_it_away() {
    let (mut f, mut device, memory) = function();
    assert!(!memory.is_master());
    let command = pci::COMMAND_MASTER | pci::COMMAND_MEMORY;
    f.config_write(&mut device, pci::COMMAND.into(), &command.to_le_bytes()).unwrap();
    assert!(memory.is_master());
    f.bar_write(&mut device, 0, regs::ACK_FREQUENCY.offset.into(), &7u32.to_le_bytes()).unwrap();
    assert_eq!(register(&mut f, &mut device, regs::ACK_FREQUENCY.offset), 7);
    let control = pci::DEVICE_CONTROL_FLR.to_le_bytes();
    f.config_write(&mut device, pci::DEVICE_CONTROL.into(), &control).unwrap();
    assert!(!memory.is_master());
    assert_eq!(register(&mut f, &mut device, regs::ACK_FREQUENCY.offset), regs::ACK_FREQUENCY.reset);
    assert_eq!(config::<2>(&mut f, pci::DEVICE_CONTROL), [0, 0], "the bit reads zero");
    let counters = f.counters();
    assert_eq!((counters.resets, counters.forced_resets), (1, 0));
}

#[test]
fn registers_are_words_and_can_be_read_in_parts_and_pairs() {
    let (mut f, mut device, _) = function();
    let id = register(&mut f, &mut device, regs::ID.offset);
    let mut pair = [0; 8];
    f.bar_read(&mut device, 0, 0, &mut pair).unwrap();
    assert_eq!(pair[..4], id.to_le_bytes());
    let mut part = [0; 2];
    f.bar_read(&mut device, 0, 2, &mut part).unwrap();
    assert_eq!(part, id.to_le_bytes()[2..]);
    f.bar_write(&mut device, 0, regs::MAC_LO.offset.into(), &[1, 2, 3, 4, 5, 6, 0, 0]).unwrap();
    assert_eq!(register(&mut f, &mut device, regs::MAC_HI.offset), 0x0605);
    assert_eq!((f.counters().mmio_reads, f.counters().mmio_writes), (5, 2));
}

#[test]
fn places_that_are_not_there_are_refused_and_counted() {
    let (mut f, mut device, _) = function();
    let end = u64::from(pci::REGISTER_BAR_BYTES);
    for (bar, offset, len) in
        [(0, end, 4), (0, end - 2, 4), (0, 2, 4), (0, 0, 3), (0, 0, 16), (1, 0, 4), (9, 0, 4)]
    {
        assert_eq!(f.bar_read(&mut device, bar, offset, &mut vec![0; len]), Err(BadAccess));
        assert_eq!(f.bar_write(&mut device, bar, offset, &vec![0; len]), Err(BadAccess));
    }
    assert_eq!(f.bar_write(&mut device, 0, 0, &[0; 2]), Err(BadAccess));
    assert_eq!(f.bar_read(&mut device, 0, u64::MAX, &mut [0; 4]), Err(BadAccess));
    assert_eq!(f.config_read(254, &mut [0; 4]), Err(BadAccess));
    assert_eq!(f.config_write(&mut device, u64::MAX, &[0; 4]), Err(BadAccess));
    assert_eq!(f.counters().bad_accesses, 18);
}

#[test]
fn the_line_makes_one_message_for_each_rise_and_each_look_at_a_line_that_stayed_up() {
    let (mut f, mut device, memory) = function();
    assert!(!f.take_interrupt(true), "no bus master");
    memory.set_master(true);
    assert!(f.take_interrupt(true) && !f.take_interrupt(true));
    assert!(!f.take_interrupt(false) && f.take_interrupt(true), "it rose again");
    f.bar_write(&mut device, 0, regs::IRQ_STATUS.offset.into(), &1u32.to_le_bytes()).unwrap();
    assert!(f.take_interrupt(true) && !f.take_interrupt(true), "still up after causes were cleared");
    assert_eq!(f.counters().interrupts, 3);
}
