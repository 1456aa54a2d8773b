//! PROTO with everything it needs, wired. The ports are described in [`super`].
//!
//! Latency, throughput, back-pressure and reset: see `intake`, `pipe`, `ops`, `tcp/place`, `tcp/timers.rs`,
//! `host/events.rs`, `tcp/loss`. `MAP` = `LOG2` + 5, the address bits of the page map and of the loss unit's records; `CUBIC` = `LOG2` + 3, those
//! of its rows; `TABLE`: log2 of paths; `EARLY`: 0, or 1 for the copy that breaks law L2 and must not pass its tests.
use super::intake::Intake;
use super::ops::Ops;
use super::pipe::Pipe;
use crate::host::events::{Events, RaiseEvent};
use crate::prelude::*;
use crate::stream::{Fifo, Skid, Spill};
use crate::tcp::dues::Dues;
use crate::tcp::loss::queue::LossQueue;
use crate::tcp::place::placer::Placer;
use crate::types::{
    ConnOp, Doorbell, EngineCounts, Millis, OpDone, PathMtu, ReadBeat, ReadReq, RxSeg, TcpParams, TxDone,
    TxJob, WriteCmd, WriteDone,
};

/// The block.
#[derive(LogicBlock, Default)]
pub struct Engine<
    const LOG2: usize,
    const MAP: usize,
    const CUBIC: usize,
    const TABLE: usize,
    const EARLY: usize,
> {
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
    pub millis: Signal<In, Millis>,
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
    /// The oldest segment taken is the oldest frame of all.
    pub turn: Signal<In, Bit>,
    /// Pulse: the oldest segment taken is done with.
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
    /// Whose image it is.
    pub op_out_tag: Signal<Out, Bits<16>>,
    /// A command is done.
    pub op_done: Signal<Out, OpDone>,
    /// The answer is offered.
    pub op_done_valid: Signal<Out, Bit>,
    /// The answer is taken.
    pub op_done_ready: Signal<In, Bit>,
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
    ops: Ops,
    intake: Intake<LOG2>,
    pipe: Pipe<LOG2, TABLE, EARLY>,
    loss: LossQueue<LOG2, MAP, CUBIC>,
    placer: Placer<LOG2, MAP>,
    dues: Dues<LOG2>,
    events: Events<LOG2>,
    segs: Spill<RxSeg>,
    bells: Skid<Doorbell>,
    raises: Fifo<RaiseEvent, 2, 3>,
    bad_posts: Dff<Bits<4>>,
}

/// One more, one paid, both or none.
#[kernel]
fn owing(owed: Bits<4>, more: bool, paid: bool) -> Bits<4> {
    if more == paid {
        owed
    } else if more {
        owed + 1
    } else {
        owed - 1
    }
}

#[kernel]
impl<const LOG2: usize, const MAP: usize, const CUBIC: usize, const TABLE: usize, const EARLY: usize> Logic
    for Engine<LOG2, MAP, CUBIC, TABLE, EARLY>
{
    fn update(&mut self) {
        dff_setup!(self, clock, bad_posts);
        clock!(self, clock, ops, intake, pipe, loss, placer, dues, events, segs, bells, raises);
        reset!(self, reset, ops, intake, pipe, loss, placer, dues, events, segs, bells, raises);
        let on = self.enable.val() && !self.pipe.sweeps.val();
        let rests = self.ops.idle.val() && self.intake.idle.val() && self.loss.idle.val();
        let placed = self.placer.idle.val() && self.events.idle.val() && !self.raises.m_valid.val();
        let waits = self.pipe.sweeps.val() || self.segs.m_valid.val() || self.bells.m_valid.val();
        self.idle.next = rests && placed && !waits;

        // Intake and pipeline.
        self.intake.enable.next = on;
        self.intake.is_swept.next = !self.pipe.sweeps.val();
        self.pipe.now_us.next = self.now_us.val();
        self.pipe.millis.next = self.millis.val();
        self.pipe.params.next = self.params.val();
        self.pipe.path_mtu.next = self.path_mtu.val();
        self.pipe.news.next = self.intake.news.val();
        self.pipe.numbers.next = self.intake.numbers.val();
        self.intake.busy.next = self.pipe.busy.val();
        self.intake.outcome.next = self.pipe.outcome.val();
        self.intake.job_gone.next = self.pipe.job_gone.val();
        self.segs.s_data.next = self.rx_seg.val();
        self.segs.s_valid.next = self.rx_seg_valid.val();
        self.rx_seg_ready.next = self.segs.s_ready.val();
        self.intake.rx_seg.next = self.segs.m_data.val();
        self.intake.rx_seg_valid.next = self.segs.m_valid.val();
        self.segs.m_ready.next = self.intake.rx_seg_ready.val();
        self.bells.s_data.next = self.doorbell.val();
        self.bells.s_valid.next = self.doorbell_valid.val();
        self.doorbell_ready.next = self.bells.s_ready.val();
        self.intake.doorbell.next = self.bells.m_data.val();
        self.intake.doorbell_valid.next = self.bells.m_valid.val();
        self.bells.m_ready.next = self.intake.doorbell_ready.val();
        self.intake.tx_done.next = self.tx_done.val();
        self.intake.tx_done_valid.next = self.tx_done_valid.val();
        self.tx_done_ready.next = self.intake.tx_done_ready.val();
        self.intake.write_done.next = self.write_done.val();
        self.intake.write_done_valid.next = self.write_done_valid.val();
        self.tx_job.next = self.pipe.tx_job.val();
        self.tx_job_valid.next = self.pipe.tx_job_valid.val();
        self.pipe.tx_job_ready.next = self.tx_job_ready.val();

        // Loss recovery.
        self.loss.job.next = self.pipe.loss_job.val();
        self.loss.job_valid.next = self.pipe.loss_job_valid.val();
        self.intake.loss.next = self.loss.due.val();
        self.pipe.answer.next = self.loss.taken.val();
        self.loss.result_ready.next = self.intake.loss_ready.val();
        self.loss.ask.next = self.pipe.grow_ask.val();
        self.pipe.may_ask.next = self.loss.ask_ready.val();
        self.pipe.set_growth.next = self.loss.set.val();

        // Commands.
        self.ops.op.next = self.op.val();
        self.ops.op_valid.next = self.op_valid.val() && on;
        self.op_ready.next = self.ops.op_ready.val() && on;
        self.ops.op_in.next = self.op_in.val();
        self.ops.op_in_valid.next = self.op_in_valid.val();
        self.op_in_ready.next = self.ops.op_in_ready.val();
        self.op_out.next = self.ops.op_out.val();
        self.op_out_valid.next = self.ops.op_out_valid.val();
        self.ops.op_out_ready.next = self.op_out_ready.val();
        self.op_out_tag.next = self.ops.op_out_tag.val();
        self.op_done.next = self.ops.done.val();
        self.op_done_valid.next = self.ops.done_valid.val();
        self.ops.done_ready.next = self.op_done_ready.val();
        self.intake.op_conn.next = self.ops.current.val().conn;
        self.intake.op_valid.next = self.ops.pass_valid.val();
        self.ops.pass_ready.next = self.intake.op_ready.val();
        self.intake.close_valid.next = self.ops.close_valid.val();
        self.ops.close_ready.next = self.intake.close_ready.val();
        self.pipe.op.next = self.ops.current.val();
        self.pipe.image.next = self.ops.image.val();
        self.ops.params.next = self.params.val();
        self.ops.result.next = self.pipe.op_result.val();
        self.ops.stored.next = self.pipe.stored.val();
        self.ops.stores.next = self.pipe.stores.val();
        self.ops.numbers.next = self.intake.numbers.val();
        self.placer.load.next = self.ops.load.val();
        self.placer.load_slot.next = self.ops.load_slot.val();
        self.ops.load_ready.next = self.placer.load_ready.val();
        self.placer.clear.next = self.ops.clear.val();
        self.ops.clear_ready.next = self.placer.clear_ready.val();
        self.ops.told.next = self.placer.told.val();
        self.ops.told_valid.next = self.placer.told_valid.val();

        // Placer.
        self.placer.enable.next = self.enable.val();
        self.placer.params.next = self.params.val();
        self.placer.order.next = self.pipe.order.val();
        self.placer.order_valid.next = self.pipe.order_valid.val();
        self.intake.orders.next = self.placer.level.val();
        self.intake.free_pages.next = self.placer.free_pages.val();
        self.placer.reserve.next = self.intake.reserve.val();
        self.placer.ask.next = self.intake.ask.val();
        self.placer.ask_valid.next = self.intake.ask_valid.val();
        self.intake.fits.next = self.placer.fits.val();
        self.intake.commit.next = self.placer.commit.val();
        self.intake.commit_valid.next = self.placer.commit_valid.val();
        self.intake.unwritten.next = self.placer.unwritten.val();
        self.placer.turn.next = self.turn.val();
        self.verdict_valid.next = self.placer.verdict_valid.val();
        self.verdict_handed_up.next = self.placer.verdict_handed_up.val();
        self.write_cmd.next = self.placer.write_cmd.val();
        self.write_cmd_valid.next = self.placer.write_cmd_valid.val();
        self.placer.write_cmd_ready.next = self.write_cmd_ready.val();
        self.post_req.next = self.placer.post_req.val();
        self.post_req_valid.next = self.placer.post_req_valid.val();
        self.placer.post_req_ready.next = self.post_req_ready.val();
        self.placer.post_beat.next = self.post_beat.val();
        self.placer.post_beat_valid.next = self.post_beat_valid.val();
        self.placer.pool_ring.next = self.pool_ring.val();
        self.placer.pool_log2.next = self.pool_log2.val();
        self.placer.pool_producer.next = self.pool_producer.val();
        self.pool_consumer.next = self.placer.pool_consumer.val();
        self.pool_req.next = self.placer.pool_req.val();
        self.pool_req_valid.next = self.placer.pool_req_valid.val();
        self.placer.pool_req_ready.next = self.pool_req_ready.val();
        self.placer.pool_beat.next = self.pool_beat.val();
        self.placer.pool_beat_valid.next = self.pool_beat_valid.val();

        // Events and deadlines.
        self.raises.s_valid.next = self.placer.raise.val().valid;
        self.raises.s_data.next = self.placer.raise.val();
        self.placer.raise_ready.next = self.raises.s_ready.val();
        self.events.raise.next = RaiseEvent { valid: self.raises.m_valid.val(), ..self.raises.m_data.val() };
        self.raises.m_ready.next = self.events.raise_ready.val();
        self.event_cmd.next = self.events.cmd.val();
        self.event_cmd_valid.next = self.events.cmd_valid.val();
        self.events.cmd_ready.next = self.event_cmd_ready.val();
        self.events.done.next = self.event_done.val();
        self.events.done_valid.next = self.event_done_valid.val();
        self.events.ring.next = self.event_ring.val();
        self.events.ring_log2.next = self.event_log2.val();
        self.events.consumer.next = self.event_consumer.val();
        self.irq_event.next = self.events.irq.val();
        self.dues.enable.next = on;
        self.dues.now_us.next = self.now_us.val();
        self.dues.limits.next = self.params.val().watch;
        self.dues.set.next = self.pipe.set.val();
        self.dues.deed.next = self.pipe.deed.val();
        self.dues.stowed.next = self.placer.stowed.val();
        self.intake.due.next = self.dues.due.val();
        self.dues.due_ready.next = self.intake.due_ready.val();

        // A bad post counts in a cycle in which the pipeline counts nothing of the kind.
        let (c, owed) = (self.pipe.counts.val(), self.bad_posts.q.val());
        self.counts.next = EngineCounts { bad_request: c.bad_request || owed != 0, ..c };
        self.bad_posts.d.next = owing(owed, self.placer.bad_post.val(), !c.bad_request && owed != 0);
        dff_reset!(self, reset, bad_posts);
    }
}
