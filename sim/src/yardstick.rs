//! The yardstick of simulation speed: the reference block in a full rig, busy on every bus, watchers on.
//!
//! Machines and their load differ by factors, so a speed of the NIC is reported together with its ratio to this
//! block, measured in the same run. The block (`rtl/reference.v`) is never changed for speed.

use std::time::Instant;

use crate::bfm::axi_memory::AxiTiming;
use crate::ffi::Reference;
use crate::host_mem::{DmaAccess, HostMemory, MapError};
use crate::rig::Rig;

/// Bytes copied per round; also frames are looped back all the time.
const COPY_BYTES: usize = 64 * 1024;
/// Registers of the reference block.
const SOURCE: u32 = 0x0;
const TARGET: u32 = 0x8;
const BURSTS: u32 = 0x10;

/// The reference block under load.
#[derive(Debug)]
pub struct Yardstick {
    rig: Rig<Reference>,
    from: crate::host_mem::DmaRegion,
    to: crate::host_mem::DmaRegion,
    frames: u64,
}

impl Yardstick {
    /// A new one.
    ///
    /// # Errors
    /// [`MapError`], which does not happen with a fresh memory.
    pub fn new() -> Result<Self, MapError> {
        let host = HostMemory::new();
        let from = host.alloc(COPY_BYTES, DmaAccess::DeviceReads)?;
        let to = host.alloc(COPY_BYTES, DmaAccess::DeviceReadsWrites)?;
        let rig = Rig::new(Reference::new(), &host, AxiTiming::default());
        Ok(Self { rig, from, to, frames: 0 })
    }

    /// Run `cycles` clocks under load; clocks per second of wall time.
    pub fn run(&mut self, cycles: u64) -> f64 {
        let start = Instant::now();
        (0..cycles).for_each(|_| self.clock());
        cycles as f64 / start.elapsed().as_secs_f64()
    }

    /// One clock under load.
    #[inline]
    pub fn clock(&mut self) {
        if self.rig.memory.is_idle() && self.rig.registers.is_idle() {
            self.start_copy();
        }
        if self.rig.source.pending() == 0 {
            self.rig.source.push(vec![0x5a; 1514]);
        }
        if self.rig.clock() {
            let _ = self.rig.sink.pop();
            self.frames += 1;
        }
    }

    /// Best of `rounds` runs: the figure that other load on the machine disturbs least.
    pub fn best_of(&mut self, rounds: u32, cycles: u64) -> f64 {
        (0..rounds).map(|_| self.run(cycles)).fold(0.0, f64::max)
    }

    /// Read beats, write beats and looped frames so far: proof that there was load.
    pub fn work(&self) -> (u64, u64, u64) {
        let stats = self.rig.memory.stats();
        (stats.read_beats, stats.write_beats, self.frames)
    }

    /// What the watchers found; `None` = clean.
    pub fn violations(&self) -> Option<String> {
        self.rig.violations()
    }

    fn start_copy(&mut self) {
        for (register, address) in [(SOURCE, self.from.iova()), (TARGET, self.to.iova())] {
            self.rig.registers.write(register, address as u32); // low half
            self.rig.registers.write(register + 4, (address >> 32) as u32); // high half
        }
        self.rig.registers.write(BURSTS, (COPY_BYTES / 256) as u32); // 256
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_yardstick_is_busy_and_clean() {
        let mut yardstick = Yardstick::new().unwrap();
        let speed = yardstick.run(50_000);
        let (reads, writes, frames) = yardstick.work();
        println!("{speed:.0} clocks/s with {reads} read beats, {writes} write beats, {frames} frames in 50000 clocks");
        assert!(reads > 15_000 && writes > 15_000 && frames > 200, "{reads} {writes} {frames}");
        assert_eq!(yardstick.violations(), None);
    }
}
