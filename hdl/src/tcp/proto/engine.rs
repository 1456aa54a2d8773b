//! PROTO with everything it needs, wired. The ports are described in [`super`].
//!
//! Latency, throughput, back-pressure and reset: see `control`, `sources`, `tcp/pages.rs`, `tcp/timers.rs`,
//! `host/events.rs`. `MAP` = `LOG2` + 5, the address bits of the page map; `TABLE`: log2 of paths; `EARLY`: 0, or 1
//! for the copy that breaks law L2 and must not pass its tests.
use super::control::Control;
use super::sources::Sources;
use crate::host::events::Events;
use crate::prelude::*;
use crate::tcp::pages::Pages;
use crate::tcp::timers::Timers;
use crate::types::{
    ConnOp, Doorbell, EngineCounts, PathMtu, ReadBeat, ReadReq, RxSeg, TcpParams, TxDone, TxJob, WriteCmd,
    WriteDone,
};

/// The block.
#[derive(LogicBlock, Default)]
pub struct Engine<const LOG2: usize, const MAP: usize, const TABLE: usize, const EARLY: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Reset.
    pub reset: Signal<In, Bit>,
    /// `CTRL.enable`.
    pub enable: Signal<In, Bit>,
    /// Nothing in work, waiting or under way.
    pub idle: Signal<Out, Bit>,
    /// Clock, low word, microseconds.
    pub now_us: Signal<In, Bits<32>>,
    /// Millisecond counter, low word.
    pub now_ms: Signal<In, Bits<32>>,
    /// Registers.
    pub params: Signal<In, TcpParams>,
    /// A path and its MTU.
    pub path_mtu: Signal<In, PathMtu>,
    /// Segment of a connection.
    pub rx_seg: Signal<In, RxSeg>,
    /// Segment offered.
    pub rx_seg_valid: Signal<In, Bit>,
    /// Segment taken.
    pub rx_seg_ready: Signal<Out, Bit>,
    /// Pulse: the segment taken last is done with.
    pub verdict_valid: Signal<Out, Bit>,
    /// It is the ordinary path's.
    pub verdict_handed_up: Signal<Out, Bit>,
    /// Doorbell.
    pub doorbell: Signal<In, Doorbell>,
    /// Doorbell offered.
    pub doorbell_valid: Signal<In, Bit>,
    /// Doorbell taken.
    pub doorbell_ready: Signal<Out, Bit>,
    /// Command for a connection.
    pub op: Signal<In, ConnOp>,
    /// Command offered.
    pub op_valid: Signal<In, Bit>,
    /// Command taken.
    pub op_ready: Signal<Out, Bit>,
    /// Beat of an image.
    pub op_in: Signal<In, Bits<64>>,
    /// Beat offered.
    pub op_in_valid: Signal<In, Bit>,
    /// Beat taken.
    pub op_in_ready: Signal<Out, Bit>,
    /// Beat of an image.
    pub op_out: Signal<Out, Bits<64>>,
    /// Beat offered.
    pub op_out_valid: Signal<Out, Bit>,
    /// Beat taken.
    pub op_out_ready: Signal<In, Bit>,
    /// Pulse: the command is done.
    pub op_done: Signal<Out, Bit>,
    /// Its status.
    pub op_status: Signal<Out, Bits<8>>,
    /// Write command.
    pub write_cmd: Signal<Out, WriteCmd>,
    /// Write command offered.
    pub write_cmd_valid: Signal<Out, Bit>,
    /// Write command taken.
    pub write_cmd_ready: Signal<In, Bit>,
    /// Report of the write engine.
    pub write_done: Signal<In, WriteDone>,
    /// Report offered.
    pub write_done_valid: Signal<In, Bit>,
    /// Always 1.
    pub write_done_ready: Signal<Out, Bit>,
    /// Write command of the event ring.
    pub event_cmd: Signal<Out, WriteCmd>,
    /// Write command offered.
    pub event_cmd_valid: Signal<Out, Bit>,
    /// Write command taken.
    pub event_cmd_ready: Signal<In, Bit>,
    /// Report for the event ring.
    pub event_done: Signal<In, WriteDone>,
    /// Report offered.
    pub event_done_valid: Signal<In, Bit>,
    /// Always 1.
    pub event_done_ready: Signal<Out, Bit>,
    /// Job.
    pub tx_job: Signal<Out, TxJob>,
    /// Job offered.
    pub tx_job_valid: Signal<Out, Bit>,
    /// Job taken; once high it stays so until a job is taken.
    pub tx_job_ready: Signal<In, Bit>,
    /// Finished job.
    pub tx_done: Signal<In, TxDone>,
    /// Finished job offered.
    pub tx_done_valid: Signal<In, Bit>,
    /// Finished job taken.
    pub tx_done_ready: Signal<Out, Bit>,
    /// Read of a receive descriptor.
    pub post_req: Signal<Out, ReadReq>,
    /// Read offered.
    pub post_req_valid: Signal<Out, Bit>,
    /// Read taken.
    pub post_req_ready: Signal<In, Bit>,
    /// Read data.
    pub post_beat: Signal<In, ReadBeat>,
    /// It is this client's.
    pub post_beat_valid: Signal<In, Bit>,
    /// Read of the pool ring.
    pub pool_req: Signal<Out, ReadReq>,
    /// Read offered.
    pub pool_req_valid: Signal<Out, Bit>,
    /// Read taken.
    pub pool_req_ready: Signal<In, Bit>,
    /// Read data.
    pub pool_beat: Signal<In, ReadBeat>,
    /// It is this client's.
    pub pool_beat_valid: Signal<In, Bit>,
    /// Pool ring address.
    pub pool_ring: Signal<In, Bits<64>>,
    /// log2 of its entries.
    pub pool_log2: Signal<In, Bits<8>>,
    /// Its producer index.
    pub pool_producer: Signal<In, Bits<16>>,
    /// Entries taken.
    pub pool_consumer: Signal<Out, Bits<16>>,
    /// Event ring address.
    pub event_ring: Signal<In, Bits<64>>,
    /// log2 of its entries.
    pub event_log2: Signal<In, Bits<8>>,
    /// Entries the host has consumed.
    pub event_consumer: Signal<In, Bits<16>>,
    /// Pulse: an event is in host memory.
    pub irq_event: Signal<Out, Bit>,
    /// For the counters.
    pub counts: Signal<Out, EngineCounts>,
    control: Control<LOG2, TABLE, EARLY>,
    sources: Sources<LOG2>,
    pages: Pages<MAP>,
    timers: Timers<LOG2>,
    events: Events<LOG2>,
}

#[kernel]
impl<const LOG2: usize, const MAP: usize, const TABLE: usize, const EARLY: usize> Logic
    for Engine<LOG2, MAP, TABLE, EARLY>
{
    fn update(&mut self) {
        clock!(self, clock, control, sources, pages, timers, events);
        reset!(self, reset, control, sources, pages, timers, events);
        self.idle.next = self.control.idle.val()
            && self.sources.agenda.val().idle
            && self.pages.idle.val()
            && self.events.idle.val();
        self.control.now_us.next = self.now_us.val();
        self.control.now_ms.next = self.now_ms.val();
        self.control.params.next = self.params.val();
        self.control.path_mtu.next = self.path_mtu.val();
        self.control.agenda.next = self.sources.agenda.val();
        self.sources.notes.next = self.control.notes.val();
        self.sources.enable.next = self.enable.val();

        self.control.rx_seg.next = self.rx_seg.val();
        self.sources.rx_seg_valid.next = self.rx_seg_valid.val();
        self.rx_seg_ready.next = self.sources.rx_seg_ready.val();
        self.verdict_valid.next = self.control.verdict_valid.val();
        self.verdict_handed_up.next = self.control.verdict_handed_up.val();
        self.control.doorbell.next = self.doorbell.val();
        self.sources.doorbell_valid.next = self.doorbell_valid.val();
        self.doorbell_ready.next = self.sources.doorbell_ready.val();
        self.control.op.next = self.op.val();
        self.sources.op_valid.next = self.op_valid.val();
        self.op_ready.next = self.sources.op_ready.val();
        self.control.op_in.next = self.op_in.val();
        self.control.op_in_valid.next = self.op_in_valid.val();
        self.op_in_ready.next = self.control.op_in_ready.val();
        self.op_out.next = self.control.op_out.val();
        self.op_out_valid.next = self.control.op_out_valid.val();
        self.control.op_out_ready.next = self.op_out_ready.val();
        self.op_done.next = self.control.op_done.val();
        self.op_status.next = self.control.op_status.val();

        self.write_cmd.next = self.control.write_cmd.val();
        self.write_cmd_valid.next = self.control.write_cmd_valid.val();
        self.control.write_cmd_ready.next = self.write_cmd_ready.val();
        self.sources.write_done.next = self.write_done.val();
        self.sources.write_done_valid.next = self.write_done_valid.val();
        self.write_done_ready.next = true;
        self.tx_job.next = self.control.tx_job.val();
        self.tx_job_valid.next = self.control.tx_job_valid.val();
        self.control.tx_job_ready.next = self.tx_job_ready.val();
        self.sources.tx_job_ready.next = self.tx_job_ready.val();
        self.control.tx_done.next = self.tx_done.val();
        self.sources.tx_done_valid.next = self.tx_done_valid.val();
        self.tx_done_ready.next = self.sources.tx_done_ready.val();
        self.post_req.next = self.control.post_req.val();
        self.post_req_valid.next = self.control.post_req_valid.val();
        self.control.post_req_ready.next = self.post_req_ready.val();
        self.control.post_beat.next = self.post_beat.val();
        self.control.post_beat_valid.next = self.post_beat_valid.val();
        self.counts.next = self.control.counts.val();

        self.events.raise.next = self.control.raise.val();
        self.control.raise_ready.next = self.events.raise_ready.val();
        self.event_cmd.next = self.events.cmd.val();
        self.event_cmd_valid.next = self.events.cmd_valid.val();
        self.events.cmd_ready.next = self.event_cmd_ready.val();
        self.events.done.next = self.event_done.val();
        self.events.done_valid.next = self.event_done_valid.val();
        self.event_done_ready.next = self.events.done_ready.val();
        self.events.ring.next = self.event_ring.val();
        self.events.ring_log2.next = self.event_log2.val();
        self.events.consumer.next = self.event_consumer.val();
        self.irq_event.next = self.events.irq.val();

        self.timers.enable.next = self.enable.val();
        self.timers.now_us.next = self.now_us.val();
        self.timers.set.next = self.control.set.val();
        self.control.expired_conn.next = self.timers.expired_conn.val();
        self.sources.expired_valid.next = self.timers.expired_valid.val();
        self.timers.expired_ready.next = self.sources.expired_ready.val();

        self.pages.enable.next = self.enable.val();
        self.pages.load.next = self.control.load.val();
        self.pages.look.next = self.control.look.val();
        self.control.answer.next = self.pages.answer.val();
        self.pages.ring.next = self.pool_ring.val();
        self.pages.ring_log2.next = self.pool_log2.val();
        self.pages.producer.next = self.pool_producer.val();
        self.pool_consumer.next = self.pages.consumer.val();
        self.pool_req.next = self.pages.req.val();
        self.pool_req_valid.next = self.pages.req_valid.val();
        self.pages.req_ready.next = self.pool_req_ready.val();
        self.pages.beat.next = self.pool_beat.val();
        self.pages.beat_valid.next = self.pool_beat_valid.val();
    }
}
