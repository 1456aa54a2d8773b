//! The transmitter: the blocks of this folder wired together; see the module page for ports and picture.
//!
//! Latency, throughput: those of `build`. Back-pressure: `job_ready` is low when 4 jobs wait; a MAC or loopback that does not
//! take beats stops the building of the frame after next. Reset state: nothing in work; `tables` says how long its clearing takes.
use crate::eth::tx::{TxStream, ADDR_BITS};
use crate::host::ord_tx::{OrdFrame, OrdTx};
use crate::mem::{BeRam, SdpRam};
use crate::prelude::*;
use crate::stream::Fifo;
use crate::tcp::tx::build::{Build, TxCounts};
use crate::tcp::tx::fetch::{Cursor, Fetch, FetchJob};
use crate::tcp::tx::pack::Pack;
use crate::tcp::tx::tables::{TableOp, Tables};
use crate::types::{ReadBeat, ReadReq, TxDone, TxJob};

/// log2 of the jobs that may wait.
const JOBS_LOG2: usize = 2;

/// What the reader has to do for the frame in work.
#[kernel]
fn fetch_job(is_job: bool, j: TxJob, f: OrdFrame) -> FetchJob {
    FetchJob {
        walk: is_job,
        addr: if is_job { j.send_ring } else { f.addr },
        log2: j.send_ring_log2,
        seq: j.seq,
        len: if is_job { j.len } else { f.len },
    }
}

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
    jobs: Fifo<TxJob, JOBS_LOG2, { JOBS_LOG2 + 1 }>,
    ordinary: OrdTx,
    tables: Tables<TABLE>,
    cursors: SdpRam<Cursor, CONN>,
    fetch: Fetch,
    pack: Pack,
    frames: BeRam<64, 8, ADDR_BITS>,
    stream: TxStream,
    build: Build,
}

#[kernel]
impl<const CONN: usize, const TABLE: usize> Logic for Transmit<CONN, TABLE> {
    fn update(&mut self) {
        clock!(self, clock, jobs, ordinary, tables, cursors, fetch, pack, frames, stream, build);
        reset!(self, reset, jobs, ordinary, tables, fetch, pack, stream, build);

        // Straight through to the children.
        self.jobs.s_valid.next = self.job_valid.val();
        self.jobs.s_data.next = self.job.val();
        self.job_ready.next = self.jobs.s_ready.val();
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
        self.desc_req_valid.next = self.fetch.desc_req_valid.val();
        self.desc_req.next = self.fetch.desc_req.val();
        self.fetch.desc_req_ready.next = self.desc_req_ready.val();
        self.fetch.desc_beat_valid.next = self.desc_beat_valid.val();
        self.fetch.beat.next = self.beat.val();
        self.payload_req_valid.next = self.fetch.req_valid.val();
        self.payload_req.next = self.fetch.req.val();
        self.fetch.req_ready.next = self.payload_req_ready.val();
        self.fetch.room.next = self.pack.room.val();
        self.pack.burst_valid.next = self.fetch.burst_valid.val();
        self.pack.burst.next = self.fetch.burst.val();
        self.pack.beat_valid.next = self.payload_beat_valid.val();
        self.pack.beat.next = self.beat.val();
        self.frames.re.next = self.stream.mem_re.val();
        self.frames.raddr.next = self.stream.mem_addr.val();
        self.stream.mem_data.next = self.frames.rdata.val();
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

        // Job or frame.
        let j = self.jobs.m_data.val();
        let f = self.ordinary.frame.val();
        let is_job = self.build.is_job.val();
        let reads = self.build.reads.val();
        let starts = self.build.starts.val();
        self.build.job_valid.next = self.jobs.m_valid.val();
        self.build.job.next = j;
        self.jobs.m_ready.next = self.build.job_taken.val();
        self.build.frame_valid.next = self.ordinary.frame_valid.val();
        self.build.frame.next = f;
        self.ordinary.frame_ready.next = self.build.frame_taken.val();
        self.done_valid.next = self.build.done_valid.val();
        self.done.next = self.build.done.val();
        self.build.done_ready.next = self.done_ready.val();

        // Its way. A packet counts when it is complete.
        let looks = self.build.looks.val();
        self.tables.busy.next = looks || self.build.out_valid.val();
        self.tables.path.next = j.path;
        self.tables.count.next = self.build.out_valid.val() && is_job;
        self.build.route.next = self.tables.route.val();

        // Its bytes. The cursor is read while the way is looked up, and kept when all bytes were found.
        let before = self.cursors.rdata.val();
        let after = self.fetch.cursor.val();
        let fetched = self.build.keeps.val() && self.fetch.done.val();
        self.cursors.re.next = looks;
        self.cursors.raddr.next = bit_cast::<CONN, 16>(j.conn);
        self.cursors.we.next = fetched || (looks && j.reset_cursor);
        self.cursors.waddr.next = bit_cast::<CONN, 16>(j.conn);
        self.cursors.wdata.next = Cursor { valid: fetched && after.valid, ..after };
        self.fetch.start.next = starts && reads;
        self.fetch.job.next = fetch_job(is_job, j, f);
        self.fetch.cursor_in.next = Cursor { valid: before.valid && !j.reset_cursor, ..before };
        self.build.fetched.next = self.fetch.done.val();
        self.build.fetch_error.next = self.fetch.error.val();
        self.build.lost.next = self.fetch.lost.val();
        self.build.push.next = self.fetch.push.val();
        self.pack.start.next = starts;
        self.pack.at.next = self.build.at.val();
        self.pack.sum_from.next = if is_job { bits::<8>(0) } else { f.csum_start };
        self.pack.flush.next = self.build.flush.val();
        self.build.gathered.next = self.pack.empty.val();
        self.build.pack_error.next = self.pack.error.val();
        self.build.sum.next = self.pack.sum.val();

        // Frame buffers.
        let payload = self.pack.we.val().any();
        let patch = self.build.patch.val();
        self.build.payload.next = payload;
        self.frames.we.next = if payload { self.pack.we.val() } else { patch.we };
        let word = if payload { self.pack.waddr.val() } else { patch.word };
        self.frames.waddr.next = cat::<ADDR_BITS, _>((self.build.buffer.val(), word));
        self.frames.wdata.next = if payload { self.pack.wdata.val() } else { patch.data };
        self.build.room.next = self.stream.frame_ready.val();
        self.stream.frame_valid.next = self.build.out_valid.val();
        self.stream.frame.next = self.build.out.val();
        let counts = self.build.counts.val();
        self.counts.next = TxCounts { bad_request: counts.bad_request || self.ordinary.bad.val(), ..counts };
        self.idle.next = self.build.idle.val()
            && !self.jobs.m_valid.val()
            && self.ordinary.idle.val()
            && self.stream.idle.val();
    }
}
