//! The golden model: the NIC in plain Rust, untimed, behind the same ABI as the RTL.
//!
//! `hdl/doc/programmers_guide.md` says what a device does; this is that page as code, with the TCP
//! functions of `chimney-host-stack-core`. It is the reference for the RTL and the fast device of the driver and stack
//! tests. A step does everything that is due, one frame, command or segment after the other:
//!
//! ```text
//!   mmio.rs      registers, doorbells                rx.rs        parse a frame
//!   rings.rs     ordinary TX and RX, pool, status    engine_rx.rs a segment of a connection
//!   commands.rs  command ring, objects               ack_rx.rs    its acknowledgment and window
//!   images.rs    record <-> image                    place.rs     its text: posts, pages, ranges
//!   shadow.rs    shadow records, events, interrupt   engine_tx.rs what to send next
//!   timers.rs    deadlines                           build.rs     segments on the wire
//!   loss.rs      loss recovery with SACK             watchdog.rs  whether an offload still pays
//! ```
//! Nothing that comes from outside (frames, descriptors, images, doorbells) makes it panic; what is refused is counted.
//! Writes to memory are durable at once, so `durable_*` follows each shadow record; [`Faults`] breaks that on
//! purpose, or kills the device in the middle of a step, for tests of law L2.

mod ack_rx;
mod build;
mod commands;
mod conn;
mod dma;
mod engine_rx;
mod engine_tx;
mod images;
mod loss;
mod mmio;
mod place;
mod regs;
mod rings;
mod rx;
mod send_ring;
mod shadow;
mod timers;
mod watchdog;

pub use dma::{Dma, DmaError};

use crate::device::{Advance, Device, DeviceStats, Limit};
use chimney_abi::cmd::UploadReason;
use chimney_abi::desc::HEARTBEAT_US;
use chimney_abi::layout::Reg;
pub use chimney_host_stack_core::congestion::Algorithm;
use chimney_host_stack_core::timestamps;
use commands::{Neighbor, Path};
use conn::Conn;
use dma::DmaPort;
use regs::RegFile;
use rx::Tuple;
use std::collections::{HashMap, VecDeque};

/// Frames that may wait for a step; more are dropped like an overrun of packet memory.
const RX_QUEUE_FRAMES: usize = 4096;
/// Rounds of work in one step; a bound, so that no host or peer can hold the model in a step for ever.
const MAX_ROUNDS: usize = 100_000;

/// Build parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// log2 of the number of connections, at most 12 (the doorbell region).
    pub conn_log2: u8,
    /// log2 of the number of paths, and of neighbors.
    pub table_log2: u8,
    /// Loss recovery of connections with SACK.
    pub recovery: Recovery,
}

/// How a connection with SACK recovers from losses; one without always does it by NewReno.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// NewReno, received SACK blocks are not used.
    NewReno,
    /// RACK-TLP and PRR, with this congestion control; NewReno if the image says so (`CONST_NEWRENO`).
    Modern(Algorithm),
}

impl Default for Config {
    fn default() -> Self {
        Self { conn_log2: 8, table_log2: 6, recovery: Recovery::Modern(Algorithm::Cubic) }
    }
}

/// Ways to make the model break law L2, or die.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Acknowledge bytes before the shadow record that counts them is in memory.
    pub ack_before_durable: bool,
}

/// A frame waiting for the receive path.
#[derive(Debug)]
struct RxFrame {
    bytes: Vec<u8>,
    bad: bool,
    is_loopback: bool,
}

/// The device.
#[derive(Debug)]
pub struct Golden<D> {
    config: Config,
    faults: Faults,
    port: DmaPort<D>,
    regs: RegFile,
    stats: DeviceStats,
    /// The caller's time, and what to add to it for the device clock (`TIME_SET`).
    now_us: u64,
    clock_offset_us: u64,
    /// Fraction of a microsecond left over by [`Limit::cycles`], 24 bits.
    cycle_fraction: u64,
    rings: rings::Rings,
    events: shadow::Events,
    irq: shadow::Irq,
    conns: Vec<Option<Box<Conn>>>,
    paths: Vec<Option<Path>>,
    neighbors: Vec<Option<Neighbor>>,
    lookup: HashMap<Tuple, u16>,
    /// Low words of doorbells, by connection and direction, until the high word commits.
    doorbell_low: Vec<[u32; 2]>,
    ready: VecDeque<u16>,
    rx_queue: VecDeque<RxFrame>,
    tx_out: VecDeque<Vec<u8>>,
    /// Never later than the earliest deadline of any connection, device clock.
    timer_hint_us: u64,
    heartbeat_due_us: u64,
    /// Since when the watchdog's period runs.
    period_since_us: u64,
}

impl<D: Dma> Golden<D> {
    /// A device after power-on, with its way to host memory.
    pub fn new(config: Config, dma: D) -> Self {
        let (conn_log2, table_log2) = (config.conn_log2.min(12), config.table_log2.min(12));
        let config = Config { conn_log2, table_log2, ..config };
        let conns = 1usize << config.conn_log2;
        let entries = 1usize << config.table_log2;
        Self {
            config,
            faults: Faults::default(),
            port: DmaPort::new(dma),
            regs: RegFile::new(),
            stats: DeviceStats::default(),
            now_us: 0,
            clock_offset_us: 0,
            cycle_fraction: 0,
            rings: rings::Rings::default(),
            events: shadow::Events::new(conns),
            irq: shadow::Irq::default(),
            conns: (0..conns).map(|_| None).collect(),
            paths: (0..entries).map(|_| None).collect(),
            neighbors: (0..entries).map(|_| None).collect(),
            lookup: HashMap::new(),
            doorbell_low: vec![[0; 2]; conns],
            ready: VecDeque::new(),
            rx_queue: VecDeque::new(),
            tx_out: VecDeque::new(),
            timer_hint_us: u64::MAX,
            heartbeat_due_us: 0,
            period_since_us: 0,
        }
    }

    /// Switches faults on or off.
    pub fn set_faults(&mut self, faults: Faults) {
        self.faults = faults;
    }

    /// The device dies when it attempts its next write to host memory after `writes` more of them.
    pub fn die_after_writes(&mut self, writes: u64) {
        self.port.die_after_writes(writes);
    }

    /// The device is gone: registers read all ones, no DMA, no frames.
    pub fn kill(&mut self) {
        self.port.kill();
    }

    /// True after [`Golden::kill`] or when the fuse of [`Golden::die_after_writes`] blew.
    pub fn is_dead(&self) -> bool {
        self.port.is_dead()
    }

    /// Value of a 64-bit counter register (`CNT_*`).
    pub fn counter(&self, counter: &Reg) -> u64 {
        self.regs.counter(counter)
    }

    /// Does all work that is due at `now_us` (or now, if that is later).
    pub fn step(&mut self, now_us: u64) {
        self.now_us = self.now_us.max(now_us);
        if self.is_dead() {
            return;
        }
        if self.is_enabled() {
            for _ in 0..MAX_ROUNDS {
                if !self.round() {
                    break;
                }
            }
            self.heartbeat();
        }
        self.update_irq();
    }

    /// One item of every kind of work; false if there was none.
    fn round(&mut self) -> bool {
        let mut worked = self.next_command();
        worked |= self.next_tx_frame();
        if let Some(frame) = self.rx_queue.pop_front() {
            self.receive(frame);
            worked = true;
        }
        worked |= self.next_rearmed();
        worked |= self.expire_timers();
        worked |= self.end_period();
        if let Some(id) = self.ready.pop_front() {
            self.with_conn(id, |_, conn| {
                conn.is_queued = false;
                Ok(())
            });
            worked = true;
        }
        worked && !self.is_dead()
    }

    /// Runs `work` on a connection, and afterwards what follows from any change: posts, shadow record, event, segments.
    /// A DMA error in any of it stops the connection (L1); others go on.
    fn with_conn<F>(&mut self, id: u16, work: F)
    where
        F: FnOnce(&mut Self, &mut Conn) -> Result<(), DmaError>,
    {
        let Some(mut conn) = self.conns.get_mut(usize::from(id)).and_then(Option::take) else { return };
        let old_reason = conn.rec.upload_reason;
        let done = work(self, &mut conn).and_then(|()| self.settle(&mut conn));
        if done.is_err() && !self.is_dead() {
            conn.request_upload(UploadReason::HardwareFailure);
            // If even the shadow record cannot be written, the host learns of it by its query.
            let _ = self.flush_shadow(&mut conn);
        }
        match UploadReason::try_from(conn.rec.upload_reason) {
            Ok(reason) if reason.code() != old_reason => {
                self.regs.count(chimney_abi::regs::upload_counter(reason), 1)
            }
            _ => {}
        }
        self.note_deadlines(&conn);
        self.conns[usize::from(id)] = Some(conn);
    }

    /// Brings memory and the wire up to date with the record.
    fn settle(&mut self, conn: &mut Conn) -> Result<(), DmaError> {
        if std::mem::take(&mut conn.posts_to_examine) && !conn.is_halted() {
            self.examine_posts(conn)?;
        }
        if self.faults.ack_before_durable {
            conn.rec.durable_rcv_nxt = conn.rec.rcv_nxt;
            conn.rec.durable_rcv_right = conn.rec.rcv_right;
            self.output(conn)?;
        }
        self.flush_shadow(conn)?;
        self.output(conn)?;
        conn.again = None;
        self.flush_shadow(conn)
    }

    /// Puts a connection on the ready list.
    fn queue(&mut self, conn: &mut Conn) {
        if !conn.is_queued {
            conn.is_queued = true;
            self.ready.push_back(conn.id);
        }
    }

    /// The live connection with this id and generation.
    fn live(&mut self, id: u16, generation: u8) -> Option<&mut Conn> {
        let conn = self.conns.get_mut(usize::from(id))?.as_deref_mut()?;
        (conn.rec.generation == generation).then_some(conn)
    }

    /// Device clock, microseconds.
    fn clock_us(&self) -> u64 {
        self.now_us.wrapping_add(self.clock_offset_us)
    }

    /// The 32 bits of the clock that records hold.
    fn now32(&self) -> u32 {
        // `as`: the clock of records is 32 bits and wraps.
        self.clock_us() as u32
    }

    /// The milliseconds that records hold.
    fn now_ms(&self) -> u32 {
        timestamps::clock(self.clock_us(), 0)
    }

    fn heartbeat(&mut self) {
        if self.now_us >= self.heartbeat_due_us {
            let missed = (self.now_us - self.heartbeat_due_us) / u64::from(HEARTBEAT_US) + 1;
            self.heartbeat_due_us += missed * u64::from(HEARTBEAT_US);
            self.rings.beat(missed);
        }
        self.write_status_line();
    }

    fn has_work(&self) -> bool {
        self.is_enabled()
            && (!self.rx_queue.is_empty()
                || !self.ready.is_empty()
                || self.rings.has_work()
                || self.events.has_work())
    }
}

impl<D: Dma> Device for Golden<D> {
    fn mmio_read(&mut self, offset: u32) -> u32 {
        self.stats.mmio_reads += 1;
        if self.is_dead() {
            return u32::MAX;
        }
        self.read_register(offset)
    }

    fn mmio_write(&mut self, offset: u32, value: u32) {
        self.stats.mmio_writes += 1;
        if !self.is_dead() {
            self.write_register(offset, value);
        }
    }

    fn rx_frame(&mut self, frame: &[u8], bad: bool) {
        self.stats.rx_frames += 1;
        if self.is_dead() || !self.is_enabled() || frame.is_empty() {
            return;
        }
        if self.rx_queue.len() >= RX_QUEUE_FRAMES {
            self.regs.count(&chimney_abi::regs::CNT_DROP_OVERRUN, 1);
            return;
        }
        self.rx_queue.push_back(RxFrame { bytes: frame.to_vec(), bad, is_loopback: false });
    }

    fn pop_tx_frame(&mut self) -> Option<Vec<u8>> {
        let frame = self.tx_out.pop_front();
        self.stats.tx_frames += u64::from(frame.is_some());
        frame
    }

    fn irq(&self) -> bool {
        !self.is_dead() && self.irq.level()
    }

    fn now_us(&self) -> u64 {
        self.now_us
    }

    fn advance(&mut self, limit: Limit) -> Advance {
        let (start_us, had_irq) = (self.now_us, self.irq());
        let end_us = limit.until_us.min(self.time_after(limit.cycles));
        let mut has_output = false;
        // Stop at every deadline on the way, so that a chain of timers runs in its own order.
        loop {
            let stop_us =
                self.next_deadline().map_or(end_us, |d| d.clamp(self.now_us, end_us.max(self.now_us)));
            self.step(stop_us);
            has_output |= !self.tx_out.is_empty() || (self.irq() && !had_irq);
            if stop_us >= end_us || (has_output && limit.stop_at_output) {
                break;
            }
        }
        let cycles = self.cycles_for(self.now_us - start_us);
        self.stats.cycles += cycles;
        Advance { cycles, has_output }
    }

    fn next_deadline(&self) -> Option<u64> {
        if self.is_dead() || !self.is_enabled() {
            return None;
        }
        if self.has_work() {
            return Some(self.now_us);
        }
        let timer = self.timer_hint_us.saturating_sub(self.clock_us()).saturating_add(self.now_us);
        Some(timer.min(self.heartbeat_due_us).min(self.irq.due_us()).min(self.period_ends_us()))
    }

    fn power_on_reset(&mut self) {
        self.write_register(chimney_abi::regs::RESET.offset, 1);
    }

    fn stats(&self) -> DeviceStats {
        DeviceStats {
            dma_reads: self.port.reads,
            dma_writes: self.port.writes,
            dma_read_bytes: self.port.read_bytes,
            dma_write_bytes: self.port.write_bytes,
            ..self.stats
        }
    }
}
