//! The status line: the device's own word to the host, written on progress and at every heartbeat.
//!
//! ```text
//!   command block --WriteCmd--+
//!                             +--> one client of the write engine
//!   consumers, clock -> line -+
//! ```
//! The block shares the command block's port of the write engine: commands pass through, a line goes between them.
//! One line is under way at a time; progress meanwhile merges into the next one. Its report has [`STATUS_TAG`], the
//! command block's have not, and each gets only its own.
//!
//! An entry that all connections depend on (an event, a received frame) and that could not be written leaves a hole in its ring, behind
//! which the host sees nothing. Then the heart stops: no line is written any more, and the host goes on from its own memory (law L2).
//!
//! Latency: 2 clocks from a move to the offer of the line. Throughput: a line per write latency.
//! Back-pressure: the command block waits while a line is offered. Reset: heartbeat 0, nothing written.
use crate::mirror::StatusLine;
use crate::prelude::*;
use crate::types::{WriteCmd, WriteDone, TAG_BITS, WRITE_INLINE};
use chimney_abi::desc;

/// Bit of a report's tag that says: a status line.
pub const STATUS_TAG: usize = TAG_BITS - 1;
const HEARTBEAT_US: u64 = desc::HEARTBEAT_US as u64;
const LINE_BYTES: u64 = desc::StatusLine::BYTES as u64;

/// Consumers of the rings.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Consumers {
    /// Ordinary TX ring.
    pub tx: Bits<16>,
    /// Pool ring.
    pub pool: Bits<16>,
    /// Command ring.
    pub cmd: Bits<16>,
    /// Ordinary RX ring.
    pub rx: Bits<16>,
}

/// The block. See the module page.
#[derive(LogicBlock, Default)]
pub struct Status {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Synchronous, active high.
    pub reset: Signal<In, Bit>,
    /// `CTRL.enable`.
    pub enable: Signal<In, Bit>,
    /// `STATUS_BASE`.
    pub base: Signal<In, Bits<64>>,
    /// Clock, low word, microseconds.
    pub now_us: Signal<In, Bits<32>>,
    /// The rings' consumers.
    pub consumers: Signal<In, Consumers>,
    /// Pulse: an entry of a ring could not be written.
    pub ring_lost: Signal<In, Bit>,
    /// Command block: a command.
    pub s_valid: Signal<In, Bit>,
    /// The command.
    pub s_cmd: Signal<In, WriteCmd>,
    /// It is taken.
    pub s_ready: Signal<Out, Bit>,
    /// Command block: one of its commands is in memory.
    pub s_done_valid: Signal<Out, Bit>,
    /// Write engine: a command.
    pub cmd_valid: Signal<Out, Bit>,
    /// The command.
    pub cmd: Signal<Out, WriteCmd>,
    /// It is taken.
    pub cmd_ready: Signal<In, Bit>,
    /// Write engine: a report.
    pub done_valid: Signal<In, Bit>,
    /// The report.
    pub done: Signal<In, WriteDone>,
    /// Pulse: a line with progress of the TX ring is in host memory.
    pub irq_tx: Signal<Out, Bit>,
    /// Nothing under way.
    pub idle: Signal<Out, Bit>,
    beats: Dff<Bits<32>>,
    due_us: Dff<Bits<32>>,
    /// What the last line said.
    last: Dff<Consumers>,
    beat_due: Dff<Bit>,
    /// A line is offered.
    offered: Dff<Bit>,
    line: Dff<WriteCmd>,
    /// A line is on its way to memory.
    flying: Dff<Bit>,
    tx_moved: Dff<Bit>,
    stopped: Dff<Bit>,
}

#[kernel]
impl Logic for Status {
    fn update(&mut self) {
        dff_setup!(self, clock, beats, due_us, last, beat_due, offered, line, flying, tx_moved, stopped);
        let own = self.offered.q.val();
        self.cmd_valid.next = own || self.s_valid.val();
        self.cmd.next = if own { self.line.q.val() } else { self.s_cmd.val() };
        self.s_ready.next = self.cmd_ready.val() && !own;
        let is_line = self.done.val().tag.get_bit(STATUS_TAG);
        self.s_done_valid.next = self.done_valid.val() && !is_line;
        self.irq_tx.next = false;
        self.idle.next = !self.flying.q.val();

        // Heartbeat: absolute deadlines, so that it keeps its pace.
        let late = self.now_us.val() - self.due_us.q.val();
        if !self.enable.val() {
            self.due_us.d.next = self.now_us.val();
        } else if !late.get_bit(31) {
            self.due_us.d.next = self.due_us.q.val() + HEARTBEAT_US;
            self.beats.d.next = self.beats.q.val() + 1;
            self.beat_due.d.next = true;
        }

        let now = self.consumers.val();
        let moved = now != self.last.q.val();
        self.stopped.d.next = self.stopped.q.val() || self.ring_lost.val();
        let lives = self.enable.val() && !self.stopped.q.val();
        // The command block's offer must stay until taken, so a line waits for it.
        let is_free = !self.s_valid.val() || self.cmd_ready.val();
        if lives && !self.flying.q.val() && is_free && (moved || self.beat_due.q.val()) {
            let line = StatusLine {
                heartbeat: self.beats.q.val(),
                tx_consumer: now.tx,
                pool_consumer: now.pool,
                cmd_consumer: now.cmd,
                rx_consumer: now.rx,
                now_us: self.now_us.val(),
            };
            self.line.d.next = WriteCmd {
                kind: bits::<2>(WRITE_INLINE),
                iova: self.base.val(),
                len: bits::<16>(LINE_BYTES),
                src: bits::<16>(0),
                free: bits::<16>(0),
                data: bit_cast::<256, 128>(pack::<128, _>(line)),
                notify: true,
                tag: bits::<TAG_BITS>(1 << STATUS_TAG),
            };
            self.tx_moved.d.next = now.tx != self.last.q.val().tx;
            self.last.d.next = now;
            self.beat_due.d.next = false;
            self.offered.d.next = true;
            self.flying.d.next = true;
        }
        if own && self.cmd_ready.val() {
            self.offered.d.next = false;
        }
        if self.done_valid.val() && is_line {
            self.flying.d.next = false;
            self.irq_tx.next = self.tx_moved.q.val();
        }
        dff_reset!(self, reset, beats, due_us, last, beat_due, offered, flying, tx_moved, stopped);
    }
}
