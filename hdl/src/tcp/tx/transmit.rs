//! The transmitter: the blocks of this folder wired together; see the module page for ports and picture.
//!
//! Latency: 5 clocks from a job without payload, offered to an idle transmitter, to its first beat, up to 11 with a tag and many options (`retire`
//! has the table), 16 behind other frames; with payload that of host memory and its beats more.
//! Throughput: a segment per 8 clocks, or per as many as it has beats, at any latency that 32 frames, 32 bursts and 10 KiB
//! (16 KiB for frames of 2 KiB and more) cover. Back-pressure: `job_ready` falls when one of these is used up: a MAC or loopback that takes no beats stops all.
//! Reset state: nothing in work; `tables` says how long its clearing takes.
use crate::eth::tx::{TxStream, HEAD_LOG2, RING_LOG2};
use crate::mem::{LaneRam, SdpRam};
use crate::prelude::*;
use crate::stream::Fifo;
use crate::tcp::tx::cut::Cut;
use crate::tcp::tx::head::Head;
use crate::tcp::tx::item::WalkJob;
use crate::tcp::tx::land::Land;
use crate::tcp::tx::ordinary::Ordinary;
use crate::tcp::tx::retire::{Retire, TxCounts};
use crate::tcp::tx::tables::{TableOp, Tables};
use crate::tcp::tx::walk::Walk;
use crate::types::{ReadBeat, ReadReq, TxDone, TxJob};

/// log2 of the searches that may wait: a connection's next ones, while one of its descriptors is on its way.
const WALKS_LOG2: usize = 4;

/// The block. `CONN`: log2 of connections; `TABLE`: log2 of paths and of neighbors.
#[derive(LogicBlock, Default)]
pub struct Transmit<const CONN: usize, const TABLE: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Synchronous, active high.
    pub reset: Signal<In, Bit>,
    /// `CTRL.enable`.
    pub enable: Signal<In, Bit>,
    /// Nothing in work or outstanding.
    pub idle: Signal<Out, Bit>,
    /// Interface MAC address, first wire byte in bits 7:0.
    pub mac: Signal<In, Bits<48>>,
    /// A job is offered.
    pub job_valid: Signal<In, Bit>,
    /// It is taken.
    pub job_ready: Signal<Out, Bit>,
    /// The job.
    pub job: Signal<In, TxJob>,
    /// A job's result is offered.
    pub done_valid: Signal<Out, Bit>,
    /// It is taken.
    pub done_ready: Signal<In, Bit>,
    /// The result.
    pub done: Signal<Out, TxDone>,
    /// A table operation is offered.
    pub table_op_valid: Signal<In, Bit>,
    /// It is carried out.
    pub table_op_ready: Signal<Out, Bit>,
    /// The operation.
    pub table_op: Signal<In, TableOp>,
    /// IP ID counter of the last operation's path.
    pub table_counter: Signal<Out, Bits<16>>,
    /// `regs::TX_BASE_LO`.
    pub tx_base: Signal<In, Bits<64>>,
    /// log2 of TX ring entries.
    pub tx_log2: Signal<In, Bits<8>>,
    /// `regs::TX_PRODUCER`.
    pub tx_producer: Signal<In, Bits<16>>,
    /// TX ring entries done.
    pub tx_consumer: Signal<Out, Bits<16>>,
    /// Pulse: it goes up with this clock.
    pub tx_moved: Signal<Out, Bit>,
    /// TX ring client: request offered.
    pub ord_req_valid: Signal<Out, Bit>,
    /// TX ring client: taken.
    pub ord_req_ready: Signal<In, Bit>,
    /// TX ring client: the request.
    pub ord_req: Signal<Out, ReadReq>,
    /// TX ring client: `beat` is for it.
    pub ord_beat_valid: Signal<In, Bit>,
    /// Send descriptor client: request offered.
    pub desc_req_valid: Signal<Out, Bit>,
    /// Send descriptor client: taken.
    pub desc_req_ready: Signal<In, Bit>,
    /// Send descriptor client: the request.
    pub desc_req: Signal<Out, ReadReq>,
    /// Send descriptor client: `beat` is for it.
    pub desc_beat_valid: Signal<In, Bit>,
    /// Payload client: request offered.
    pub payload_req_valid: Signal<Out, Bit>,
    /// Payload client: taken.
    pub payload_req_ready: Signal<In, Bit>,
    /// Payload client: the request.
    pub payload_req: Signal<Out, ReadReq>,
    /// Payload client: `beat` is for it.
    pub payload_beat_valid: Signal<In, Bit>,
    /// Read data of all clients.
    pub beat: Signal<In, ReadBeat>,
    /// MAC: data.
    pub m_axis_tdata: Signal<Out, Bits<64>>,
    /// MAC: which bytes count.
    pub m_axis_tkeep: Signal<Out, Bits<8>>,
    /// MAC: beat valid.
    pub m_axis_tvalid: Signal<Out, Bit>,
    /// MAC: beat taken.
    pub m_axis_tready: Signal<In, Bit>,
    /// MAC: last beat.
    pub m_axis_tlast: Signal<Out, Bit>,
    /// Loopback: data.
    pub lb_tdata: Signal<Out, Bits<64>>,
    /// Loopback: which bytes count.
    pub lb_tkeep: Signal<Out, Bits<8>>,
    /// Loopback: beat valid.
    pub lb_tvalid: Signal<Out, Bit>,
    /// Loopback: beat taken.
    pub lb_tready: Signal<In, Bit>,
    /// Loopback: last beat.
    pub lb_tlast: Signal<Out, Bit>,
    /// Counter increments.
    pub counts: Signal<Out, TxCounts>,
    ordinary: Ordinary,
    tables: Tables<TABLE>,
    head: Head,
    walks: Fifo<WalkJob, WALKS_LOG2, { WALKS_LOG2 + 1 }>,
    walk: Walk<CONN>,
    cut: Cut,
    land: Land,
    words: SdpRam<Bits<64>, HEAD_LOG2>,
    ring: LaneRam<RING_LOG2>,
    retire: Retire,
    stream: TxStream,
}

#[kernel]
impl<const CONN: usize, const TABLE: usize> Logic for Transmit<CONN, TABLE> {
    fn update(&mut self) {
        clock!(self, clock, ordinary, tables, head, walks, walk, cut, land, words, ring, retire, stream);
        reset!(self, reset, ordinary, tables, head, walks, walk, cut, land, retire, stream);

        // Straight through to the children.
        self.head.job_valid.next = self.job_valid.val();
        self.head.job.next = self.job.val();
        self.job_ready.next = self.head.job_ready.val();
        self.done_valid.next = self.retire.done_valid.val();
        self.done.next = self.retire.done.val();
        self.retire.done_ready.next = self.done_ready.val();
        self.ordinary.enable.next = self.enable.val();
        self.ordinary.base.next = self.tx_base.val();
        self.ordinary.log2.next = self.tx_log2.val();
        self.ordinary.producer.next = self.tx_producer.val();
        self.tx_consumer.next = self.ordinary.consumer.val();
        self.tx_moved.next = self.ordinary.moved.val();
        self.ord_req_valid.next = self.ordinary.req_valid.val();
        self.ord_req.next = self.ordinary.req.val();
        self.ordinary.req_ready.next = self.ord_req_ready.val();
        self.ordinary.beat_valid.next = self.ord_beat_valid.val();
        self.ordinary.beat.next = self.beat.val();
        self.tables.mac.next = self.mac.val();
        self.tables.op_valid.next = self.table_op_valid.val();
        self.tables.op.next = self.table_op.val();
        self.table_op_ready.next = self.tables.op_ready.val();
        self.table_counter.next = self.tables.op_counter.val();
        self.desc_req_valid.next = self.walk.desc_req_valid.val();
        self.desc_req.next = self.walk.desc_req.val();
        self.walk.desc_req_ready.next = self.desc_req_ready.val();
        self.walk.desc_beat_valid.next = self.desc_beat_valid.val();
        self.walk.beat.next = self.beat.val();
        self.payload_req_valid.next = self.cut.req_valid.val();
        self.payload_req.next = self.cut.req.val();
        self.cut.req_ready.next = self.payload_req_ready.val();
        self.land.beat_valid.next = self.payload_beat_valid.val();
        self.land.beat.next = self.beat.val();
        self.m_axis_tdata.next = self.stream.m_axis_tdata.val();
        self.m_axis_tkeep.next = self.stream.m_axis_tkeep.val();
        self.m_axis_tvalid.next = self.stream.m_axis_tvalid.val();
        self.m_axis_tlast.next = self.stream.m_axis_tlast.val();
        self.stream.m_axis_tready.next = self.m_axis_tready.val();
        self.lb_tdata.next = self.stream.lb_tdata.val();
        self.lb_tkeep.next = self.stream.lb_tkeep.val();
        self.lb_tvalid.next = self.stream.lb_tvalid.val();
        self.lb_tlast.next = self.stream.lb_tlast.val();
        self.stream.lb_tready.next = self.lb_tready.val();
        self.counts.next = self.retire.counts.val();
        let frames_idle = self.head.idle.val() && self.retire.idle.val() && self.stream.idle.val();
        self.idle.next = frames_idle && self.ordinary.idle.val();

        // A frame begins.
        self.head.frame_valid.next = self.ordinary.frame_valid.val();
        self.head.frame.next = self.ordinary.frame.val();
        self.head.segment.next = self.ordinary.segment.val();
        self.ordinary.large_addr.next = self.head.large_addr.val();
        self.head.large_words.next = self.ordinary.large_words.val();
        self.ordinary.frame_ready.next = self.head.frame_ready.val();
        self.tables.path.next = self.job.val().path;
        self.head.route.next = self.tables.route.val();
        self.head.slots_done.next = self.stream.slots_done.val();
        self.head.ring_done.next = self.stream.ring_done.val();
        self.words.we.next = self.head.we.val();
        self.words.waddr.next = self.head.waddr.val();
        self.words.wdata.next = self.head.wdata.val();
        self.retire.item_valid.next = self.head.item_valid.val();
        self.retire.item.next = self.head.item.val();
        self.head.item_room.next = self.retire.item_room.val();
        self.retire.taken.next = self.head.taken.val();
        self.head.number.next = self.retire.number.val();
        self.retire.sums_valid.next = self.head.sums_valid.val();
        self.retire.sums.next = self.head.sums.val();

        // Its bytes are found, asked for, and land.
        self.walks.s_valid.next = self.head.walk_valid.val();
        self.walks.s_data.next = self.head.walk.val();
        self.head.walk_room.next = self.walks.s_ready.val();
        self.walk.req_valid.next = self.walks.m_valid.val();
        self.walk.req.next = self.walks.m_data.val();
        self.walks.m_ready.next = self.walk.req_ready.val();
        self.cut.piece_valid.next = self.walk.piece_valid.val();
        self.cut.piece.next = self.walk.piece.val();
        self.walk.piece_ready.next = self.cut.piece_ready.val();
        self.cut.land_room.next = self.land.room.val();
        self.land.burst_valid.next = self.cut.land_valid.val();
        self.land.burst.next = self.cut.land.val();
        self.land.burst_beats.next = self.cut.land_beats.val();
        self.ring.we.next = self.land.we.val();
        self.ring.up.next = self.land.up.val();
        self.ring.waddr.next = self.land.waddr.val();
        self.ring.wdata.next = self.land.wdata.val();

        // It is complete, numbered, and leaves.
        self.retire.fetched_valid.next = self.cut.fetched_valid.val();
        self.retire.fetched_slot.next = self.cut.fetched_slot.val();
        self.retire.fetched.next = self.cut.fetched.val();
        self.retire.bursts.next = self.land.bursts.val();
        self.land.slot.next = self.retire.slot.val();
        self.retire.landed.next = self.land.landed.val();
        self.tables.busy.next = self.retire.numbers.val();
        self.tables.packet_path.next = self.retire.path.val();
        self.retire.counter.next = self.tables.counter.val();
        self.tables.count.next = self.retire.count.val();
        self.ordinary.done.next = self.retire.ordinary_done.val();
        self.stream.frame_valid.next = self.retire.frame_valid.val();
        self.stream.frame.next = self.retire.frame.val();
        self.retire.frame_ready.next = self.stream.frame_ready.val();
        self.stream.late.next = self.retire.late.val();
        self.words.re.next = self.stream.mem_re.val();
        self.words.raddr.next = self.stream.head_addr.val();
        self.stream.head_data.next = self.words.rdata.val();
        self.ring.re.next = self.stream.mem_re.val();
        self.ring.raddr.next = self.stream.ring_addr.val();
        self.stream.ring_data.next = self.ring.rdata.val();
    }
}
