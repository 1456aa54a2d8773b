//! The register block: BAR0 behind AXI4-Lite.
//!
//! ```text
//!   AXI4-Lite -> AxilPort -> RegFile (regs::ALL) -> rings, params
//!                    |-> Bells -> Doorbell (to PROTO), command producer
//!                    +-> DeviceClock, Counters, Irq
//!                    `<- Reader: all of these
//! ```
//! Latency: those of `axil` and `reader`. Reset state: the table's reset values. `soft_reset` is high during `reset`
//! and, after a write of 1 to RESET, until no DMA is outstanding and 8 clocks have passed; it resets this block's registers too.
use crate::host::axil::AxilPort;
use crate::host::bells::{Bells, BELLS_AT};
use crate::host::clock::DeviceClock;
use crate::host::counters::Counters;
use crate::host::irq::{Irq, CAUSES};
use crate::host::reader::{Live, Reader};
use crate::host::regfile::{at, RegFile, PLAIN};
use crate::prelude::*;
use crate::stream::AxilSlave;
use crate::tcp::watchdog::Limits;
use crate::types::{Doorbell, Millis, TcpParams};
use chimney_abi::regs;
use chimney_abi::watch::{
    DROP_RATE, FRAGMENTATION, NO_PREPOSTING, OUT_OF_ORDER, PROGRESS, SEGMENTS, SMALL_IO,
};

/// Clocks that a soft reset lasts at least.
const RESET_CLOCKS: u64 = 8;

const MAC_LO: usize = at(&regs::MAC_LO);
const MAC_HI: usize = at(&regs::MAC_HI);
const CTRL: usize = at(&regs::CTRL);
const TIME_INC: usize = at(&regs::TIME_INC);
const CMD_BASE: usize = at(&regs::CMD_BASE_LO);
const CMD_DONE_BASE: usize = at(&regs::CMD_DONE_BASE_LO);
const TX_BASE: usize = at(&regs::TX_BASE_LO);
const RX_BASE: usize = at(&regs::RX_BASE_LO);
const RX_DONE_BASE: usize = at(&regs::RX_DONE_BASE_LO);
const POOL_RING: usize = at(&regs::POOL_RING_LO);
const POOL_BASE: usize = at(&regs::POOL_BASE_LO);
const EVENT_BASE: usize = at(&regs::EVENT_BASE_LO);
const SHADOW_BASE: usize = at(&regs::SHADOW_BASE_LO);
const PAGE_MAP_BASE: usize = at(&regs::PAGE_MAP_BASE_LO);
const STATUS_BASE: usize = at(&regs::STATUS_BASE_LO);
const RING_SIZES: usize = at(&regs::RING_SIZES);
const TX_PRODUCER: usize = at(&regs::TX_PRODUCER);
const RX_PRODUCER: usize = at(&regs::RX_PRODUCER);
const POOL_PRODUCER: usize = at(&regs::POOL_PRODUCER);
const EVENT_CONSUMER: usize = at(&regs::EVENT_CONSUMER);
const IRQ_ENABLE: usize = at(&regs::IRQ_ENABLE);
const IRQ_HOLDOFF: usize = at(&regs::IRQ_HOLDOFF_US);
const ACK_FREQUENCY: usize = at(&regs::ACK_FREQUENCY);
const DELAYED_ACK: usize = at(&regs::DELAYED_ACK_US);
const DUP_ACKS: usize = at(&regs::DUP_ACK_THRESHOLD);
const PUSH: usize = at(&regs::PUSH_US);
const MIN_RTO: usize = at(&regs::MIN_RTO_US);
const MAX_RTO: usize = at(&regs::MAX_RTO_US);
const FIN_WAIT_2: usize = at(&regs::FIN_WAIT_2_US);
const HASH_KEY: usize = at(&regs::HASH_KEY_LO);
const WATCH_PERIOD: usize = at(&regs::WATCH_PERIOD_US);
const WATCH_LEAST: usize = at(&regs::WATCH_LEAST);
const WATCH_SHARES: usize = at(&regs::WATCH_SHARES);
const WATCH_ORDER: usize = at(&regs::WATCH_ORDER);

const RESET_AT: u64 = regs::RESET.offset as u64;
const TIME_SET_AT: u64 = regs::TIME_SET.offset as u64;
const IRQ_STATUS_AT: u64 = regs::IRQ_STATUS.offset as u64;
/// Addresses, sizes and indices that the register page hands to the other blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Rings {
    /// `CTRL.enable`.
    pub enable: Bit,
    /// Interface MAC, first wire byte in bits 7:0.
    pub mac: Bits<48>,
    /// See `regs::CMD_BASE_LO`.
    pub cmd_base: Bits<64>,
    /// See `regs::CMD_DONE_BASE_LO`.
    pub cmd_done_base: Bits<64>,
    /// See `regs::TX_BASE_LO`.
    pub tx_base: Bits<64>,
    /// See `regs::RX_BASE_LO`.
    pub rx_base: Bits<64>,
    /// See `regs::RX_DONE_BASE_LO`.
    pub rx_done_base: Bits<64>,
    /// See `regs::POOL_RING_LO`.
    pub pool_ring: Bits<64>,
    /// See `regs::EVENT_BASE_LO`.
    pub event_base: Bits<64>,
    /// See `regs::STATUS_BASE_LO`.
    pub status_base: Bits<64>,
    /// See `regs::RING_SIZES`.
    pub cmd_log2: Bits<8>,
    /// See `regs::RING_SIZES`.
    pub tx_log2: Bits<8>,
    /// See `regs::RING_SIZES`.
    pub rx_log2: Bits<8>,
    /// See `regs::RING_SIZES`.
    pub pool_log2: Bits<8>,
    /// See `regs::RING_SIZES`.
    pub event_log2: Bits<8>,
    /// Effective command producer (all earlier doorbells taken).
    pub cmd_producer: Bits<16>,
    /// See `regs::TX_PRODUCER`.
    pub tx_producer: Bits<16>,
    /// See `regs::RX_PRODUCER`.
    pub rx_producer: Bits<16>,
    /// See `regs::POOL_PRODUCER`.
    pub pool_producer: Bits<16>,
    /// See `regs::EVENT_CONSUMER`.
    pub event_consumer: Bits<16>,
    /// See `regs::HASH_KEY_LO`.
    pub hash_key: Bits<64>,
}

/// The register block. See the module page.
#[derive(LogicBlock)]
pub struct Csr {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Power-on reset, synchronous, active high.
    pub reset: Signal<In, Bit>,
    /// The AXI4-Lite bus from the host.
    pub s_axil: AxilSlave<20>,
    /// log2 of connections, for VERSION.
    pub conn_log2: Signal<In, Bits<8>>,
    /// log2 of paths and neighbors, for VERSION.
    pub table_log2: Signal<In, Bits<8>>,
    /// No DMA outstanding and nothing in work.
    pub idle: Signal<In, Bit>,
    /// Pulse: an AXI error response was seen.
    pub dma_error: Signal<In, Bit>,
    /// Pulse per interrupt cause.
    pub cause: Signal<In, Bits<CAUSES>>,
    /// Amount to add to each counter this clock, 0 = nothing; see `counters`.
    pub count: [Signal<In, Bits<16>>; regs::COUNTERS],
    /// Reset for all other blocks.
    pub soft_reset: Signal<Out, Bit>,
    /// Clock, microseconds.
    pub now_us: Signal<Out, Bits<64>>,
    /// Clock, milliseconds (timestamp clock).
    pub millis: Signal<Out, Millis>,
    /// Ring addresses and indices.
    pub rings: Signal<Out, Rings>,
    /// TCP parameters.
    pub params: Signal<Out, TcpParams>,
    /// Oldest doorbell.
    pub doorbell: Signal<Out, Doorbell>,
    /// There is a doorbell.
    pub doorbell_valid: Signal<Out, Bit>,
    /// It is taken.
    pub doorbell_ready: Signal<In, Bit>,
    /// Interrupt, level.
    pub irq: Signal<Out, Bit>,
    axil: AxilPort,
    file: RegFile,
    device_clock: DeviceClock,
    counters: Counters,
    interrupt: Irq,
    bells: Bells,
    reader: Reader,
    draining: Dff<Bit>,
    reset_left: Dff<Bits<4>>,
    error_seen: Dff<Bit>,
    resetting: Dff<Bit>,
}

// Not derived: the standard library has `Default` for arrays of 32 at most.
impl Default for Csr {
    fn default() -> Self {
        Self {
            clock: Signal::default(),
            reset: Signal::default(),
            s_axil: AxilSlave::default(),
            conn_log2: Signal::default(),
            table_log2: Signal::default(),
            idle: Signal::default(),
            dma_error: Signal::default(),
            cause: Signal::default(),
            count: std::array::from_fn(|_| Signal::default()),
            soft_reset: Signal::default(),
            now_us: Signal::default(),
            millis: Signal::default(),
            rings: Signal::default(),
            params: Signal::default(),
            doorbell: Signal::default(),
            doorbell_valid: Signal::default(),
            doorbell_ready: Signal::default(),
            irq: Signal::default(),
            axil: AxilPort::default(),
            file: RegFile::default(),
            device_clock: DeviceClock::default(),
            counters: Counters::default(),
            interrupt: Irq::default(),
            bells: Bells::default(),
            reader: Reader::default(),
            draining: Dff::default(),
            reset_left: Dff::default(),
            error_seen: Dff::default(),
            resetting: Dff::default(),
        }
    }
}

/// Two registers as one 64-bit value, low word first.
#[kernel]
fn pair(low: Bits<32>, high: Bits<32>) -> Bits<64> {
    cat::<64, _>((high, low))
}

/// A size from RING_SIZES.
#[kernel]
fn log2(sizes: Bits<32>, at: usize) -> Bits<8> {
    bit_cast::<8, 4>(sizes.get_bits::<4>(at))
}

/// Ring addresses and indices from the registers.
#[kernel]
fn rings(value: [Bits<32>; PLAIN], enable: bool, cmd_producer: Bits<16>) -> Rings {
    let sizes = value[RING_SIZES];
    Rings {
        enable,
        mac: cat::<48, _>((value[MAC_HI].get_bits::<16>(0), value[MAC_LO])),
        cmd_base: pair(value[CMD_BASE], value[CMD_BASE + 1]),
        cmd_done_base: pair(value[CMD_DONE_BASE], value[CMD_DONE_BASE + 1]),
        tx_base: pair(value[TX_BASE], value[TX_BASE + 1]),
        rx_base: pair(value[RX_BASE], value[RX_BASE + 1]),
        rx_done_base: pair(value[RX_DONE_BASE], value[RX_DONE_BASE + 1]),
        pool_ring: pair(value[POOL_RING], value[POOL_RING + 1]),
        event_base: pair(value[EVENT_BASE], value[EVENT_BASE + 1]),
        status_base: pair(value[STATUS_BASE], value[STATUS_BASE + 1]),
        cmd_log2: log2(sizes, 0),
        tx_log2: log2(sizes, 8),
        rx_log2: log2(sizes, 16),
        pool_log2: log2(sizes, 24),
        event_log2: log2(sizes, 28),
        cmd_producer,
        tx_producer: value[TX_PRODUCER].get_bits::<16>(0),
        rx_producer: value[RX_PRODUCER].get_bits::<16>(0),
        pool_producer: value[POOL_PRODUCER].get_bits::<16>(0),
        event_consumer: value[EVENT_CONSUMER].get_bits::<16>(0),
        hash_key: pair(value[HASH_KEY], value[HASH_KEY + 1]),
    }
}

/// TCP parameters from the registers.
#[kernel]
fn params(value: [Bits<32>; PLAIN]) -> TcpParams {
    TcpParams {
        ack_frequency: value[ACK_FREQUENCY].get_bits::<8>(0),
        delayed_ack_us: value[DELAYED_ACK],
        dup_ack_threshold: value[DUP_ACKS].get_bits::<8>(0),
        push_us: value[PUSH],
        min_rto_us: value[MIN_RTO],
        max_rto_us: value[MAX_RTO],
        fin_wait_2_us: value[FIN_WAIT_2],
        shadow_base: pair(value[SHADOW_BASE], value[SHADOW_BASE + 1]),
        page_map_base: pair(value[PAGE_MAP_BASE], value[PAGE_MAP_BASE + 1]),
        pool_base: pair(value[POOL_BASE], value[POOL_BASE + 1]),
        watch: Limits {
            period_us: value[WATCH_PERIOD],
            least_progress: value[WATCH_LEAST].get_bits::<8>(PROGRESS),
            least_segments: value[WATCH_LEAST].get_bits::<8>(SEGMENTS),
            drop_rate: value[WATCH_SHARES].get_bits::<8>(DROP_RATE),
            small_io: value[WATCH_SHARES].get_bits::<8>(SMALL_IO),
            no_preposting: value[WATCH_SHARES].get_bits::<8>(NO_PREPOSTING),
            fragmentation: value[WATCH_SHARES].get_bits::<8>(FRAGMENTATION),
            out_of_order: value[WATCH_ORDER].get_bits::<8>(OUT_OF_ORDER),
        },
    }
}

#[kernel]
impl Logic for Csr {
    fn update(&mut self) {
        dff_setup!(self, clock, draining, reset_left, error_seen, resetting);
        clock!(self, clock, axil, file, device_clock, counters, interrupt, bells, reader);
        AxilSlave::<20>::link(&mut self.s_axil, &mut self.axil.s_axil);
        let is_held = self.reset_left.q.val().any();
        let in_reset = self.reset.val() || is_held;
        self.axil.reset.next = self.reset.val();
        self.reader.reset.next = self.reset.val();
        // Registered: else a simulator evaluates the next state of every block whenever an input may have changed.
        self.resetting.d.next = in_reset;
        let soft = self.resetting.q.val();
        self.file.reset.next = soft;
        self.device_clock.reset.next = soft;
        self.counters.reset.next = soft;
        self.interrupt.reset.next = soft;
        self.bells.reset.next = soft;
        self.soft_reset.next = soft;

        // Writes.
        let addr = self.axil.write_addr.val();
        let data = self.axil.write_data.val();
        let write = self.axil.write_valid.val() && addr < BELLS_AT;
        self.axil.write_ready.next = self.bells.ready.val();
        self.bells.write.next = self.axil.write_valid.val();
        self.bells.addr.next = addr;
        self.bells.data.next = data;
        self.bells.doorbell_ready.next = self.doorbell_ready.val();
        self.doorbell.next = self.bells.doorbell.val();
        self.doorbell_valid.next = self.bells.doorbell_valid.val();
        self.file.write.next = write;
        self.file.addr.next = addr;
        self.file.data.next = data;
        let value = array::<PLAIN, _>(|i| self.file.value[i].val());
        let is_enabled = value[CTRL].get_bit(0);

        // Reset: stop, wait until nothing is outstanding, then hold reset for a while.
        if write && addr == RESET_AT && data.get_bit(0) {
            self.draining.d.next = true;
        }
        if self.draining.q.val() && self.idle.val() {
            self.draining.d.next = false;
            self.reset_left.d.next = bits::<4>(RESET_CLOCKS);
        }
        if is_held {
            self.reset_left.d.next = self.reset_left.q.val() - 1;
        }
        self.error_seen.d.next = (self.error_seen.q.val() || self.dma_error.val()) && !in_reset;

        // Reads.
        let now_us = self.device_clock.now_us.val();
        self.reader.read_valid.next = self.axil.read_valid.val();
        self.axil.read_ready.next = self.reader.read_ready.val();
        self.reader.read_addr.next = self.axil.read_addr.val();
        self.axil.read_done.next = self.reader.read_done.val();
        self.axil.read_data.next = self.reader.read_data.val();
        self.reader.writes.next = write;
        self.reader.live.next = Live {
            conn_log2: self.conn_log2.val(),
            table_log2: self.table_log2.val(),
            is_stopped: self.idle.val() && !is_enabled,
            error_seen: self.error_seen.q.val(),
            is_resetting: self.draining.q.val() || is_held,
            causes: self.interrupt.pending.val(),
            now_us,
        };
        self.file.read.next = self.reader.file_read.val();
        self.file.read_addr.next = self.axil.read_addr.val();
        self.reader.stored.next = self.file.stored.val();
        self.counters.index.next = self.reader.counter.val();
        self.reader.counter_found.next = self.counters.found.val();
        self.reader.counter_data.next = self.counters.data.val();

        // Clock, counters, interrupt.
        self.device_clock.increment.next = value[TIME_INC];
        self.device_clock.preset.next = write && addr == TIME_SET_AT && !is_enabled;
        self.device_clock.preset_us.next = data;
        self.now_us.next = now_us;
        self.millis.next = self.device_clock.millis.val();
        for i in 0..regs::COUNTERS {
            self.counters.amount[i].next = self.count[i].val();
        }
        let clears = write && addr == IRQ_STATUS_AT;
        self.interrupt.cause.next = self.cause.val();
        self.interrupt.clear.next = if clears { data.get_bits::<CAUSES>(0) } else { bits::<CAUSES>(0) };
        self.interrupt.enable.next = value[IRQ_ENABLE].get_bits::<CAUSES>(0);
        self.interrupt.holdoff_us.next = value[IRQ_HOLDOFF];
        self.interrupt.now_us.next = now_us.get_bits::<32>(0);
        self.irq.next = self.interrupt.irq.val();
        self.rings.next = rings(value, is_enabled && !self.draining.q.val(), self.bells.cmd_producer.val());
        self.params.next = params(value);
        dff_reset!(self, reset, draining, reset_left);
    }
}
