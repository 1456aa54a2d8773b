//! The Verilated NIC as a [`Device`]: the rig with the clock of the simulation.
//!
//! ```text
//!   mmio_read/write -> AxilMaster --+
//!   rx_frame -> AxisSource ---------+-- Rig<Nic>, one call per clock --> AxisSink -> pop_tx_frame
//!   host memory <-> AxiMemory ------+            |
//!                                        SimClock: TIME_INC is written when it changes
//! ```
//! A register write takes effect some clocks after the call; the device runs those clocks inside the call, so a
//! later look at memory sees what an answer of the device would be. Watchers are always on: [`RtlNic::violations`].
//!
//! **Virtual time.** [`Limit::until`] runs until that time *and* until no bus has moved for `QUIET_CLOCKS`, so all that is due
//! is done, as in an untimed device. A quiet NIC only waits for its timers, so its clocks are made longer
//! (`FAST_US`) until something moves again: a second of waiting costs some 10^5 clocks and not 10^8.

use crate::bfm::axi_memory::AxiTiming;
use crate::bfm::axis::AxisFrame;
use crate::clock::{ClockLag, SimClock, FRACTION_BITS};
use crate::device::{Advance, Device, DeviceStats, Limit};
use crate::ffi::{Nic, TraceError};
use crate::host_mem::HostMemory;
use crate::rig::{NicPins, Rig};
use chimney_abi::regs;
use std::path::Path;

/// Clocks that a register access may take; more is an error of the RTL.
const ACCESS_CLOCKS: u32 = 100_000;
/// Clocks between two looks at the limits of a run.
const LOOK_CLOCKS: u64 = 16;
/// Clocks without a move on any bus after which nothing is in work. The longest work without one is a scan of all
/// timers and PROTO's longest sequence, but for loss recovery (`hdl/doc/timing.md`), which goes on with the next call.
const QUIET_CLOCKS: u64 = 320;
/// Clocks after `CTRL.enable` in which no bus moves, but the lookup is made ready for its first command.
const START_CLOCKS: u64 = 2200;
/// Most clocks that one call may go on after its time; a NIC that never rests must not hold the test.
const SETTLE_CLOCKS: u64 = 100_000;
/// Clocks that the reset pin is held.
const RESET_CLOCKS: u32 = 4;
/// Length of a clock while the NIC is quiet, microseconds.
const FAST_US: u32 = 8;
/// log2 of the clocks of a leap.
const LEAP_LOG2: u32 = 6;
/// Longest leap: 255 us a clock is the most that `TIME_INC` can say.
const LEAP_MOST_US: u64 = 255 << LEAP_LOG2;

/// When a NIC rests.
#[derive(Debug, Clone, Copy)]
pub struct Quiet {
    /// No bus has moved for so many clocks.
    pub clocks: u64,
    /// Or it has been idle for so many, as `STATUS.idle` has it, and no bus moves; `u64::MAX`: that is not looked at.
    pub idle_clocks: u64,
}

impl Quiet {
    /// Only the buses count.
    pub fn buses(clocks: u64) -> Self {
        Self { clocks, idle_clocks: u64::MAX }
    }
}

/// A Verilated NIC with everything around it.
#[derive(Debug)]
pub struct RtlNic<M: NicPins = Nic> {
    rig: Rig<M>,
    clock: SimClock,
    /// `TIME_INC` is to be written.
    has_new_inc: bool,
    /// Virtual time: the increment of a NIC at work, and whether it is quiet now.
    base_inc: Option<u32>,
    is_fast: bool,
    /// Clocks for which nothing has been in work.
    idle_clocks: u64,
    /// Clocks of the last write to `TIME_INC`.
    access_clocks: u64,
    had_irq: bool,
    mmio_reads: u64,
    mmio_writes: u64,
    /// The bus answered nothing for too long.
    is_stuck: bool,
    /// Visible writes with which it dies.
    dies_at: Option<u64>,
    is_dead: bool,
}

impl RtlNic {
    /// A NIC whose time follows the wall clock; `expected_hz`: first guess of the simulation speed. `wave`: where to
    /// write a wave.
    ///
    /// # Errors
    /// [`TraceError`] when a wave is wanted and cannot be written.
    pub fn wall_time(memory: &HostMemory, expected_hz: f64, wave: Option<&Path>) -> Result<Self, TraceError> {
        let mut model = Nic::new();
        if let Some(path) = wave {
            model.open_trace(path)?;
        }
        let mut nic = Self::new(model, memory, AxiTiming::default(), SimClock::wall_time(expected_hz));
        if wave.is_some() {
            nic.rig.trace_on();
        }
        Ok(nic)
    }

    /// A NIC whose every clock lasts `period_ns`: deterministic.
    pub fn virtual_time(memory: &HostMemory, period_ns: f64) -> Self {
        Self::new(Nic::new(), memory, AxiTiming::default(), SimClock::virtual_time(period_ns))
    }

    /// As [`RtlNic::virtual_time`] with latencies and stalls on the buses.
    pub fn with_timing(memory: &HostMemory, period_ns: f64, timing: AxiTiming) -> Self {
        Self::new(Nic::new(), memory, timing, SimClock::virtual_time(period_ns))
    }
}

impl<M: NicPins> RtlNic<M> {
    /// Any top with the pins of the NIC.
    pub fn new(model: M, memory: &HostMemory, timing: AxiTiming, clock: SimClock) -> Self {
        Self {
            rig: Rig::new(model, memory, timing),
            has_new_inc: true,
            base_inc: clock.measured_hz().is_none().then_some(clock.time_inc()),
            is_fast: false,
            idle_clocks: 0,
            access_clocks: 0,
            had_irq: false,
            mmio_reads: 0,
            mmio_writes: 0,
            is_stuck: false,
            dies_at: None,
            is_dead: false,
            clock,
        }
    }

    /// How far simulated time was behind wall time.
    pub fn lag(&self) -> ClockLag {
        self.clock.lag()
    }

    /// What the watchers found, as text; `None` = clean.
    pub fn violations(&self) -> Option<String> {
        let text = self.rig.violations().unwrap_or_default();
        let stuck = if self.is_stuck { "AXI4-Lite: an access was not answered\n" } else { "" };
        let text = text + stuck;
        (!text.is_empty()).then_some(text)
    }

    /// The rig, to inject faults and to look at its partners.
    pub fn rig(&mut self) -> &mut Rig<M> {
        &mut self.rig
    }

    /// The clock stops and nothing answers any more: registers read all ones, no DMA, no frames. Of the writes under
    /// way some arrive; the seed of the bus timing decides.
    pub fn kill(&mut self) {
        if !self.is_dead {
            self.is_dead = true;
            self.rig.memory.abandon();
        }
    }

    /// It dies as in [`RtlNic::kill`] in the clock in which `writes` more bursts are visible in host memory.
    pub fn die_after_writes(&mut self, writes: u64) {
        self.dies_at = Some(self.rig.memory.stats().write_bursts + writes);
    }

    /// True after [`RtlNic::kill`] or when the fuse of [`RtlNic::die_after_writes`] blew.
    pub fn is_dead(&self) -> bool {
        self.is_dead
    }

    /// One clock; true when a frame came out.
    #[inline]
    fn tick(&mut self) -> bool {
        if self.is_dead {
            return false;
        }
        if self.clock.tick() {
            self.has_new_inc = true;
        }
        if self.has_new_inc && self.rig.registers.is_idle() {
            self.has_new_inc = false;
            self.rig.registers.write(regs::TIME_INC.offset, self.clock.time_inc());
        }
        let has_frame = self.rig.clock();
        self.idle_clocks = if self.rig.model.is_idle() { self.idle_clocks + 1 } else { 0 };
        if self.dies_at.is_some_and(|writes| self.rig.memory.stats().write_bursts >= writes) {
            self.kill();
        }
        has_frame
    }

    /// Makes the clocks of a quiet NIC longer, those of a working one normal again. Virtual time only.
    fn set_fast(&mut self, fast: bool) {
        let Some(base) = self.base_inc else { return };
        if fast == self.is_fast {
            return;
        }
        self.is_fast = fast;
        self.set_increment(if fast { base.max(FAST_US << FRACTION_BITS) } else { base });
    }

    /// Lets exactly `us` pass in a few hundred clocks, in which a NIC at work would find its clock racing: for one that rests. Virtual
    /// time only.
    pub fn leap(&mut self, us: u64) {
        let Some(base) = self.base_inc else { return };
        let mut left = us;
        while left > 0 && !self.is_dead {
            // So many clocks that the increment is exact.
            let part = left.min(LEAP_MOST_US);
            let inc = (part << FRACTION_BITS >> LEAP_LOG2) as u32; // below 2^32: LEAP_MOST_US
            self.set_increment(inc);
            let start = self.clock.cycles();
            // The register write that ends it takes as long as the one that began it.
            self.run((1 << LEAP_LOG2) - self.access_clocks);
            self.set_increment(base);
            debug_assert_eq!(self.clock.cycles() - start, 1 << LEAP_LOG2);
            left -= part;
        }
    }

    /// Another length of a clock.
    fn set_increment(&mut self, inc: u32) {
        let start = self.clock.cycles();
        self.rig.registers.write(regs::TIME_INC.offset, inc);
        self.run_until(|nic| nic.rig.registers.is_idle());
        self.access_clocks = self.clock.cycles() - start;
        self.clock.set_time_inc(inc);
    }

    /// Runs until it rests. Virtual time only.
    pub fn rest(&mut self, quiet: Quiet) {
        // A deadline may just have come, or a frame.
        self.idle_clocks = 0;
        self.settle_for(Limit::until(0), quiet);
    }

    /// What moved so far, bursts and frames, and whether something is under way on a bus.
    pub fn activity(&self) -> (u64, bool) {
        let axi = self.rig.memory.stats();
        let moved = axi.read_bursts + axi.write_bursts + self.rig.sink.received().0;
        let busy = !self.rig.memory.is_idle() || self.rig.source.pending() > 0;
        (moved, busy || !self.rig.registers.is_idle())
    }

    /// Runs until `until_us`, and then until nothing moves.
    fn settle(&mut self, limit: Limit) -> Advance {
        self.settle_for(limit, Quiet::buses(QUIET_CLOCKS))
    }

    /// The same, with a word of its own for what rests.
    fn settle_for(&mut self, limit: Limit, rest: Quiet) -> Advance {
        let start = self.clock.cycles();
        let (mut quiet, mut late, mut out) = (0, 0, false);
        let (mut before, _) = self.activity();
        while late < SETTLE_CLOCKS && !self.is_dead {
            let is_due = self.clock.now_us() >= limit.until_us;
            let rests = quiet >= rest.clocks || quiet > 0 && self.idle_clocks >= rest.idle_clocks;
            if is_due && rests || out && limit.stop_at_output {
                break;
            }
            self.set_fast(!is_due && rests);
            let block = if self.is_fast { 1 } else { LOOK_CLOCKS };
            out |= self.run(block);
            late += if is_due { block } else { 0 };
            let (moved, busy) = self.activity();
            quiet = if busy || moved != before { 0 } else { quiet + block };
            before = moved;
        }
        self.set_fast(false);
        Advance { cycles: self.clock.cycles() - start, has_output: out }
    }

    /// So many clocks; true if a frame came out or the interrupt rose.
    fn run(&mut self, clocks: u64) -> bool {
        let mut out = false;
        for _ in 0..clocks {
            out |= self.tick();
        }
        let irq = self.rig.model.interrupt();
        out |= irq && !self.had_irq;
        self.had_irq = irq;
        out
    }

    fn run_until(&mut self, mut done: impl FnMut(&mut Self) -> bool) {
        for _ in 0..ACCESS_CLOCKS {
            if done(self) || self.is_dead {
                return;
            }
            self.tick();
        }
        self.is_stuck = true;
    }
}

impl<M: NicPins> Device for RtlNic<M> {
    fn mmio_read(&mut self, offset: u32) -> u32 {
        if self.is_dead {
            return u32::MAX;
        }
        self.mmio_reads += 1;
        self.rig.registers.read(offset);
        let mut value = u32::MAX;
        self.run_until(|nic| match nic.rig.registers.pop_read() {
            Some(answer) => {
                value = if answer.is_ok { answer.value } else { u32::MAX };
                true
            }
            None => false,
        });
        value
    }

    fn mmio_write(&mut self, offset: u32, value: u32) {
        if self.is_dead {
            return;
        }
        self.mmio_writes += 1;
        self.rig.registers.write(offset, value);
        self.run_until(|nic| nic.rig.registers.is_idle());
        // A reset made the NIC forget its increment, and it is not the host's to choose here.
        self.has_new_inc |= offset == regs::CTRL.offset || offset == regs::TIME_INC.offset;
        if self.base_inc.is_some() && offset == regs::CTRL.offset && value != 0 {
            self.run(START_CLOCKS);
        }
    }

    fn rx_frame(&mut self, frame: &[u8], bad: bool) {
        if self.is_dead {
            return;
        }
        self.rig.source.push_frame(AxisFrame { bytes: frame.to_vec(), is_bad: bad });
    }

    fn pop_tx_frame(&mut self) -> Option<Vec<u8>> {
        self.rig.sink.pop().map(|f| f.bytes)
    }

    fn irq(&self) -> bool {
        !self.is_dead && self.rig.model.interrupt()
    }

    fn now_us(&self) -> u64 {
        self.clock.now_us()
    }

    fn advance(&mut self, limit: Limit) -> Advance {
        if self.base_inc.is_some() && limit.cycles == u64::MAX {
            return self.settle(limit);
        }
        let (mut cycles, mut has_output) = (0, false);
        while cycles < limit.cycles && self.clock.now_us() < limit.until_us && !self.is_dead {
            let block = LOOK_CLOCKS.min(limit.cycles - cycles);
            has_output |= self.run(block);
            cycles += block;
            if has_output && limit.stop_at_output {
                break;
            }
        }
        Advance { cycles, has_output }
    }

    fn next_deadline(&self) -> Option<u64> {
        None
    }

    fn stats(&self) -> DeviceStats {
        let axi = self.rig.memory.stats();
        DeviceStats {
            cycles: self.rig.cycles(),
            mmio_reads: self.mmio_reads,
            mmio_writes: self.mmio_writes,
            dma_reads: axi.read_bursts,
            dma_writes: axi.write_bursts,
            dma_read_bytes: 8 * axi.read_beats,
            dma_write_bytes: 8 * axi.write_beats,
            rx_frames: self.rig.source.sent().0,
            tx_frames: self.rig.sink.received().0,
        }
    }

    fn power_on_reset(&mut self) {
        self.rig.reset(RESET_CLOCKS);
        self.has_new_inc = true;
        self.had_irq = false;
    }

    fn vanish(&mut self, _seed: u64) {
        // The seed of the bus timing decides which writes still arrive.
        self.kill();
    }
}
