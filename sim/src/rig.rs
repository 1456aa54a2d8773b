//! A Verilated top with everything around it: bus partners, watchers, host memory. One call is one clock.
//!
//! ```text
//!   registers (AXI4-Lite) --->+---------+---> sink
//!   memory    (AXI4)      <---| model M |<--- source
//!                             +---------+        every bus is watched, every clock
//! ```
//!
//! Latency of the rig itself: a partner's output of this clock was computed at the last edge, so each direction of a
//! handshake costs one clock, as behind a register.

use crate::bfm::axi_memory::{AxiMemory, AxiTiming};
use crate::bfm::axil::AxilMaster;
use crate::bfm::axis::{AxisSink, AxisSource};
use crate::check::axi::AxiChecker;
use crate::check::axis::AxisChecker;
use crate::host_mem::HostMemory;
use crate::pins::{AxiPins, AxilPins, AxisPins, ClockPins};

/// A Verilated top with all buses of the NIC.
pub trait NicPins: ClockPins + AxiPins + AxilPins + AxisPins {}

impl<M: ClockPins + AxiPins + AxilPins + AxisPins> NicPins for M {}

/// AXI IDs that the checker accepts when nothing else is said: a 4-bit field.
pub const AXI_IDS: u16 = 16;

/// The rig. Its partners are public: the owner queues work there between clocks.
#[derive(Debug)]
pub struct Rig<M> {
    /// The Verilated top.
    pub model: M,
    /// Host memory behind the NIC's master port.
    pub memory: AxiMemory,
    /// Register accesses.
    pub registers: AxilMaster,
    /// Frames to the NIC.
    pub source: AxisSource,
    /// Frames from the NIC.
    pub sink: AxisSink,
    /// Watcher of the master port.
    pub axi_checker: AxiChecker,
    /// Watcher of the stream to the NIC.
    pub rx_checker: AxisChecker,
    /// Watcher of the stream from the NIC.
    pub tx_checker: AxisChecker,
    host: HostMemory,
    cycles: u64,
    has_trace: bool,
}

impl<M: NicPins> Rig<M> {
    /// Put `model` into a rig and reset it.
    pub fn new(model: M, host: &HostMemory, timing: AxiTiming) -> Self {
        let mut rig = Self {
            model,
            memory: AxiMemory::new(host.port(), timing),
            registers: AxilMaster::new(),
            source: AxisSource::new(timing.seed, timing.stall_per_256),
            sink: AxisSink::new(timing.seed.wrapping_add(1), timing.stall_per_256),
            axi_checker: AxiChecker::new(AXI_IDS),
            rx_checker: AxisChecker::new(),
            tx_checker: AxisChecker::new(),
            host: host.clone(),
            cycles: 0,
            has_trace: false,
        };
        rig.reset(4);
        rig
    }

    /// Hold `reset` for some clocks. What the bus partners had under way is forgotten; frames that left the NIC stay.
    pub fn reset(&mut self, clocks: u32) {
        self.memory.reset();
        self.registers.reset();
        self.source.reset();
        self.sink.reset();
        self.model.drive_reset(true);
        for clock in 0..clocks {
            self.drive();
            self.model.settle();
            // The first clocks of a reset still show what was before.
            if clock >= 2 {
                self.axi_checker.observe_reset(&self.model.axi());
                self.tx_checker.observe_reset(&self.model.tx_beat());
            }
            self.model.posedge();
            self.dump();
        }
        self.rx_checker = AxisChecker::new();
        self.model.drive_reset(false);
    }

    /// One clock. True when a frame left the NIC.
    #[inline]
    pub fn clock(&mut self) -> bool {
        self.drive();
        self.model.settle();
        let (axi, axil, tx) = (self.model.axi(), self.model.axil(), self.model.tx_beat());
        let (rx_ready, tx_ready) = (self.model.rx_ready(), self.sink.ready());
        self.axi_checker.observe(&axi, self.memory.out());
        self.rx_checker.observe(self.source.out(), rx_ready);
        self.tx_checker.observe(&tx, tx_ready);
        self.model.posedge();
        self.memory.tick(&axi);
        self.registers.tick(&axil);
        self.source.tick(rx_ready);
        let has_frame = self.sink.tick(&tx);
        self.dump();
        has_frame
    }

    /// Clocks since the rig was made, those in reset included.
    pub fn cycles(&self) -> u64 {
        self.cycles
    }

    /// Dump a wave record per clock from now on; the wave must be open on the model.
    pub fn trace_on(&mut self) {
        self.has_trace = true;
    }

    /// All violations so far, of the buses and of the IOMMU, as text; `None` = clean.
    pub fn violations(&self) -> Option<String> {
        let mut text = String::new();
        let mut add = |what: &str, count: u64, list: String| {
            if count > 0 {
                text += &format!("{what}: {list}\n");
            }
        };
        let (axi, rx, tx) =
            (self.axi_checker.findings(), self.rx_checker.findings(), self.tx_checker.findings());
        add("AXI", axi.count(), axi.to_string());
        add("AXI-Stream to the NIC", rx.count(), rx.to_string());
        add("AXI-Stream from the NIC", tx.count(), tx.to_string());
        let (dma, kept) = self.host.violations();
        add("DMA", dma, kept.iter().map(|v| format!("{v}\n")).collect());
        let (write_errors, unasked) = self.registers.errors();
        add("AXI4-Lite", unasked, format!("{unasked} responses that nobody asked for"));
        add("AXI4-Lite", write_errors, format!("{write_errors} writes answered with an error"));
        (!text.is_empty()).then_some(text)
    }

    #[inline]
    fn drive(&mut self) {
        self.model.set_axi(self.memory.out());
        self.model.set_axil(self.registers.out());
        self.model.set_rx_beat(self.source.out());
        self.model.set_tx_ready(self.sink.ready());
    }

    #[inline]
    fn dump(&mut self) {
        self.cycles += 1;
        if self.has_trace {
            self.model.trace_dump(self.cycles * CYCLE_NS);
        }
    }
}

/// Clock period in a wave: that of the real NIC at 125 MHz, whatever simulated time says.
const CYCLE_NS: u64 = 8;
