//! The checks. Each begins with a new bus and leaves nothing behind but a device.

use crate::counters::Crossings;
use crate::machine::Machine;
use crate::outcome::{Count, Seen};
use crate::site::Site;
use anyhow::{ensure, Context, Result};
use chimney_abi::desc::{StatusLine, HEARTBEAT_US};
use chimney_abi::layout::Reg;
use chimney_abi::offload::Residence;
use chimney_abi::regs;
use chimney_driver::{Bus, DeviceAccess, DmaMemory};
use chimney_vfio_user::pci;
use std::time::{Duration, Instant};

/// How long a device may take to write its status line, on a busy machine.
const BEAT_LIMIT: Duration = Duration::from_secs(20);
/// Beats during which nothing may happen.
const SILENT_BEATS: u64 = 3;
/// Bytes each way of the long transfer.
const LONG_BYTES: usize = 1 << 20;
/// Bytes each way of the others.
const SHORT_BYTES: usize = 100_000;
/// Bytes for which one send doorbell is allowed.
const DOORBELL_BYTES: usize = 64 << 10;
/// Completions for which one interrupt is allowed.
const COMPLETIONS_PER_INTERRUPT: u64 = 16;

fn config<const N: usize>(bus: &mut impl Bus, offset: u16) -> Result<[u8; N]> {
    let mut out = [0; N];
    bus.config_read(offset, &mut out)?;
    Ok(out)
}

/// Config space names the function and its capabilities.
pub(crate) fn config_space<S: Site>(site: &mut S) -> Result<Seen> {
    let mut bus = site.connect()?;
    bus.reset()?;
    let vendor = u16::from_le_bytes(config(&mut bus, pci::VENDOR)?);
    let device = u16::from_le_bytes(config(&mut bus, pci::VENDOR + 2)?);
    ensure!((vendor, device) == (pci::VENDOR_ID, pci::DEVICE_ID), "it is {vendor:04x}:{device:04x}");
    let mut at = u16::from(config::<1>(&mut bus, pci::CAPABILITIES)?[0]);
    let mut found = Vec::new();
    while at != 0 && found.len() < 48 {
        let [id, next] = config(&mut bus, at)?;
        found.push(id);
        at = u16::from(next);
    }
    for id in [pci::EXPRESS_ID, pci::MSIX_ID] {
        ensure!(found.contains(&id), "capabilities {found:x?} without {id:#x}");
    }
    ensure!(command(&mut bus)? & pci::COMMAND_MASTER == 0, "bus master after a reset");
    Ok(Seen::default())
}

fn command(bus: &mut impl Bus) -> Result<u16> {
    Ok(u16::from_le_bytes(config(bus, pci::COMMAND)?))
}

/// Registers answer, and a reset makes them forget.
pub(crate) fn registers<S: Site>(site: &mut S) -> Result<Seen> {
    let mut bus = site.connect()?;
    bus.reset()?;
    let id = bus.read32(regs::ID.offset);
    ensure!(id >> 16 == regs::ID_MAGIC, "ID reads {id:#010x}");
    let reg = &regs::ACK_FREQUENCY;
    bus.write32(reg.offset, 7);
    ensure!(bus.read32(reg.offset) == 7, "{} does not keep its value", reg.name);
    bus.reset()?;
    let value = bus.read32(reg.offset);
    ensure!(value == reg.reset, "{} reads {value} after a reset", reg.name);
    Ok(Seen::default())
}

/// A device that writes its status line to `iova`, if it may.
fn start(bus: &mut impl Bus, iova: u64) {
    // `as`: the two halves.
    bus.write32(regs::STATUS_BASE_LO.offset, iova as u32);
    bus.write32(regs::STATUS_BASE_HI.offset, (iova >> 32) as u32);
    bus.write32(regs::CTRL.offset, 1);
}

fn heartbeat(memory: &impl DmaMemory) -> u32 {
    let mut line = [0; StatusLine::BYTES];
    memory.read(0, &mut line);
    StatusLine::from_bytes(&line).heartbeat
}

/// Lets the device work until its clock has gone on by so many beats.
fn let_pass<S: Site>(site: &mut S, bus: &mut S::Bus, beats: u64) -> Result<()> {
    let clock = |bus: &mut S::Bus| bus.read32(regs::TIME_LO.offset);
    let (start, since) = (clock(bus), Instant::now());
    while u64::from(clock(bus).wrapping_sub(start)) < beats * u64::from(HEARTBEAT_US) {
        site.turn()?;
        ensure!(since.elapsed() < BEAT_LIMIT, "the device's clock stands still");
    }
    Ok(())
}

fn wait_for_beat<S: Site>(site: &mut S, memory: &impl DmaMemory) -> Result<()> {
    let (before, since) = (heartbeat(memory), Instant::now());
    while heartbeat(memory) == before {
        site.turn()?;
        ensure!(since.elapsed() < BEAT_LIMIT, "no heartbeat in memory");
    }
    Ok(())
}

fn faults<S: Site>(site: &mut S) -> Result<Option<u64>> {
    Ok(site.crossings()?.map(|crossings| crossings.dma_faults))
}

/// Something was refused, if the device's side can be asked.
fn ensure_fault<S: Site>(site: &mut S, before: Option<u64>) -> Result<Seen> {
    let since = Instant::now();
    while before.is_some() && faults(site)? <= before {
        site.turn()?;
        ensure!(since.elapsed() < BEAT_LIMIT, "no DMA was refused");
    }
    Ok(before.map_or_else(Seen::default, |_| Seen::from("the fault was counted")))
}

/// No DMA without bus master, DMA with it.
pub(crate) fn bus_master<S: Site>(site: &mut S) -> Result<Seen> {
    let mut bus = site.connect()?;
    bus.reset()?;
    let memory = bus.allocate(4096, DeviceAccess::ReadsWrites)?;
    let before = faults(site)?;
    start(&mut bus, memory.iova());
    let_pass(site, &mut bus, SILENT_BEATS)?;
    ensure!(heartbeat(&memory) == 0, "DMA without bus master");
    let seen = ensure_fault(site, before)?;
    bus.reset()?;
    bus.set_master(true)?;
    start(&mut bus, memory.iova());
    wait_for_beat(site, &memory)?;
    bus.reset()?;
    Ok(seen)
}

/// Memory that the device may only read stays as it is.
pub(crate) fn read_only<S: Site>(site: &mut S) -> Result<Seen> {
    let mut bus = site.connect()?;
    bus.reset()?;
    let memory = bus.allocate(4096, DeviceAccess::Reads)?;
    let before = faults(site)?;
    bus.set_master(true)?;
    start(&mut bus, memory.iova());
    let_pass(site, &mut bus, SILENT_BEATS)?;
    ensure!(heartbeat(&memory) == 0, "memory was written that the device may only read");
    let seen = ensure_fault(site, before)?;
    bus.reset()?;
    Ok(seen)
}

/// DMA to memory that was given back is a fault, and the device says so.
pub(crate) fn unmapped<S: Site>(site: &mut S) -> Result<Seen> {
    let mut bus = site.connect()?;
    bus.reset()?;
    let memory = bus.allocate(8192, DeviceAccess::ReadsWrites)?;
    bus.set_master(true)?;
    start(&mut bus, memory.iova());
    wait_for_beat(site, &memory)?;
    let before = faults(site)?;
    drop(memory);
    let_pass(site, &mut bus, SILENT_BEATS)?;
    let status = bus.read32(regs::STATUS.offset);
    ensure!(status & 2 != 0, "STATUS reads {status:#x}: no dma_error");
    let seen = ensure_fault(site, before)?;
    bus.reset()?;
    ensure!(bus.read32(regs::STATUS.offset) & 2 == 0, "dma_error outlives a reset");
    Ok(seen)
}

/// A connection in the host: its frames pass the ordinary rings, and interrupts announce them.
pub(crate) fn in_host<S: Site>(site: &mut S) -> Result<Seen> {
    let before = site.crossings()?;
    let mut machine = Machine::open(site, 11)?;
    let id = machine.connect()?;
    machine.echo(id, SHORT_BYTES, 1)?;
    machine.close(id)?;
    let frames = machine.driver.counter(&regs::CNT_RX_FRAMES)?;
    ensure!(frames as usize > SHORT_BYTES / 1500, "only {frames} frames came"); // `as`: few
    machine.driver.stop()?;
    let (Some(before), Some(after)) = (before, machine.site().crossings()?) else {
        return Ok(Seen::default());
    };
    let interrupts = after.interrupts.saturating_sub(before.interrupts);
    ensure!(interrupts > 0, "no interrupt was signalled");
    ensure!(after.dma_faults == before.dma_faults, "DMA was refused");
    Ok(format!("{interrupts} interrupts").into())
}

/// Offload, 1 MiB each way, upload; nothing is read from the device meanwhile, and little is written to it.
pub(crate) fn offloaded<S: Site>(site: &mut S) -> Result<Seen> {
    let mut machine = Machine::open(site, 12)?;
    let id = machine.connect()?;
    machine.echo(id, SHORT_BYTES, 2)?;
    machine.move_to(id, Residence::Offloaded)?;
    let (before, completions) = (machine.site().crossings()?, machine.driver.stats().completions);
    machine.echo(id, LONG_BYTES, 3)?;
    let (after, completions) =
        (machine.site().crossings()?, machine.driver.stats().completions - completions);
    machine.move_to(id, Residence::InHost)?;
    machine.echo(id, SHORT_BYTES, 4)?;
    machine.close(id)?;
    let by_nic = machine.driver.counter(&regs::CNT_TX_OFFLOADED_BYTES)?;
    ensure!(by_nic as usize > LONG_BYTES, "the NIC sent only {by_nic} bytes"); // `as`: a few MiB
    machine.driver.stop()?;
    let (Some(before), Some(after)) = (before, after) else { return Ok(Seen::default()) };
    judge(&before, &after, completions)
}

/// What crossed the boundary between two looks while [`LONG_BYTES`] went each way, beside what is allowed.
fn judge(b: &Crossings, a: &Crossings, completions: u64) -> Result<Seen> {
    let reads = a.mmio_reads - b.mmio_reads;
    let doorbells = a.send_doorbells - b.send_doorbells;
    let interrupts = a.interrupts - b.interrupts;
    ensure!(a.dma_faults == b.dma_faults, "DMA was refused");
    let text = format!(
        "{} register writes, {} receive doorbells, {completions} completions",
        a.mmio_writes - b.mmio_writes,
        a.receive_doorbells - b.receive_doorbells,
    );
    let counts = vec![
        Count { what: "register reads while 1 MiB goes each way", count: reads, allowed: 0 },
        Count {
            what: "send doorbells, one per 64 KiB",
            count: doorbells,
            allowed: (LONG_BYTES / DOORBELL_BYTES) as u64, // few
        },
        // The first one is not moderated: until then the driver waits for it.
        Count {
            what: "interrupts, one per 16 completions and the first",
            count: interrupts,
            allowed: 1 + completions / COMPLETIONS_PER_INTERRUPT,
        },
    ];
    Ok(Seen { text, counts })
}

/// A driver vanishes in the middle of a transfer; the next one finds a device in order.
pub(crate) fn after_a_crash<S: Site>(site: &mut S) -> Result<Seen> {
    let mut machine = Machine::open(site, 13)?;
    let id = machine.connect()?;
    machine.move_to(id, Residence::Offloaded)?;
    machine.switch.send(id, &[1; 60_000])?;
    for _ in 0..50 {
        machine.step()?;
    }
    drop(machine);
    let mut machine = Machine::open(site, 14)?;
    let id = machine.connect()?;
    machine.move_to(id, Residence::Offloaded)?;
    machine.echo(id, SHORT_BYTES, 5)?;
    machine.move_to(id, Residence::InHost)?;
    machine.close(id)?;
    machine.driver.stop()?;
    Ok(Seen::default())
}

/// After a stop the device does nothing. What a driver costs is said.
pub(crate) fn stopped<S: Site>(site: &mut S) -> Result<Seen> {
    let start = Instant::now();
    let mut machine = Machine::open(site, 15)?;
    let (up, locked) = (start.elapsed(), locked_kib());
    machine.step()?;
    machine.driver.stop()?;
    let bus = machine.driver.bus();
    ensure!(command(bus)? & pci::COMMAND_MASTER == 0, "still bus master");
    let enabled = read(bus, &regs::CTRL)?;
    ensure!(enabled == 0, "CTRL reads {enabled}");
    ensure!(!bus.interrupt_pending(), "an interrupt is left");
    let start = Instant::now();
    drop(machine);
    let memory = locked.map_or_else(String::new, |kib| format!(", {kib} KiB locked"));
    Ok(format!("up in {} ms, closed in {} ms{memory}", up.as_millis(), start.elapsed().as_millis()).into())
}

/// Memory of this process that is pinned or locked (`VmLck` in `proc(5)`), KiB, if there is any.
fn locked_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmLck:"))?;
    let kib = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    (kib > 0).then_some(kib)
}

fn read(bus: &mut impl Bus, reg: &Reg) -> Result<u32> {
    let value = bus.read32(reg.offset);
    (value != u32::MAX).then_some(value).with_context(|| format!("{} reads all ones", reg.name))
}
