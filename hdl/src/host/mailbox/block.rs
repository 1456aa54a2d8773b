//! The command block: instances and wiring only. Who does what: `mailbox/mod.rs`.
use super::answers::Answers;
use super::conn_ends::ConnEnds;
use super::conn_ops::ConnOps;
use super::fetch::Fetch;
use super::image_reader::ImageReader;
use super::images::Images;
use super::job::{one_of, WriteMaster, KIND_TCP};
use super::map_in::MapIn;
use super::object_ops::ObjectOps;
use super::record_out::RecordOut;
use super::ring::CommandRing;
use super::store::Store;
use super::writes::Writes;
use crate::host::csr::Rings;
use crate::prelude::*;
use crate::tcp::lookup::LookupOp;
use crate::tcp::tx::tables::TableOp;
use crate::types::{ConnOp, OpDone, ReadBeat, ReadReq, WriteCmd, WriteDone};

/// The command block. `CONN`: log2 of connections, `TABLE`: log2 of paths and of neighbors; `OBJ` = `TABLE` + 1.
///
/// Latency: a command costs its DMA reads and writes plus some 60 clocks for a connection, 12 to 30 for a neighbor or path.
/// Throughput: a new connection each 44 clocks, one that leaves each 47; neighbors and paths one at a time. Back-pressure: waits for PROTO, lookup, tables and the write engine.
/// Reset: no command, all objects dead (cleared in `1 << OBJ` clocks; nothing is fetched meanwhile).
#[derive(LogicBlock, Default)]
pub struct Mailbox<const CONN: usize, const TABLE: usize, const OBJ: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Synchronous, active high.
    pub reset: Signal<In, Bit>,
    /// Ring addresses and indices.
    pub rings: Signal<In, Rings>,
    /// Page map table.
    pub page_map_base: Signal<In, Bits<64>>,
    /// No command in work, nothing outstanding.
    pub idle: Signal<Out, Bit>,
    /// Commands taken, for the status line.
    pub consumer: Signal<Out, Bits<16>>,
    /// Pulse: a completion is in host memory.
    pub irq_cmd: Signal<Out, Bit>,
    /// Pulse: a command was refused as malformed.
    pub bad_request: Signal<Out, Bit>,
    /// Pulse: a stale id was refused.
    pub stale: Signal<Out, Bit>,
    /// Read client.
    pub req_valid: Signal<Out, Bit>,
    /// Read client.
    pub req_ready: Signal<In, Bit>,
    /// Read client.
    pub req: Signal<Out, ReadReq>,
    /// Read client.
    pub beat_valid: Signal<In, Bit>,
    /// Beat of either read client.
    pub beat: Signal<In, ReadBeat>,
    /// Read client for images.
    pub image_req_valid: Signal<Out, Bit>,
    /// See `image_req_valid`.
    pub image_req_ready: Signal<In, Bit>,
    /// See `image_req_valid`.
    pub image_req: Signal<Out, ReadReq>,
    /// `beat` is for it.
    pub image_beat_valid: Signal<In, Bit>,
    /// Write client.
    pub write_valid: Signal<Out, Bit>,
    /// Write client.
    pub write_ready: Signal<In, Bit>,
    /// Write client.
    pub write: Signal<Out, WriteCmd>,
    /// A report of the write engine; taken at once.
    pub done_valid: Signal<In, Bit>,
    /// The report.
    pub done: Signal<In, WriteDone>,
    /// To the transmitter's tables.
    pub table_valid: Signal<Out, Bit>,
    /// See `table_valid`.
    pub table_ready: Signal<In, Bit>,
    /// See `table_valid`.
    pub table_op: Signal<Out, TableOp>,
    /// IP ID counter of the last table operation.
    pub table_counter: Signal<In, Bits<16>>,
    /// To the lookup, until `lookup_done`.
    pub lookup_valid: Signal<Out, Bit>,
    /// See `lookup_valid`.
    pub lookup: Signal<Out, LookupOp>,
    /// Pulse: the lookup has answered.
    pub lookup_done: Signal<In, Bit>,
    /// With `lookup_done`: the table changed.
    pub lookup_ok: Signal<In, Bit>,
    /// With `lookup_done`: the 4-tuple is there already.
    pub lookup_known: Signal<In, Bit>,
    /// With `lookup_valid`: the path of a new connection.
    pub lookup_path: Signal<Out, Bits<16>>,
    /// To PROTO.
    pub op_valid: Signal<Out, Bit>,
    /// See `op_valid`.
    pub op_ready: Signal<In, Bit>,
    /// See `op_valid`.
    pub op: Signal<Out, ConnOp>,
    /// Record and page map beats to PROTO.
    pub op_in_valid: Signal<Out, Bit>,
    /// See `op_in_valid`.
    pub op_in_ready: Signal<In, Bit>,
    /// See `op_in_valid`.
    pub op_in: Signal<Out, Bits<64>>,
    /// Record beats from PROTO.
    pub op_out_valid: Signal<In, Bit>,
    /// See `op_out_valid`.
    pub op_out_ready: Signal<Out, Bit>,
    /// See `op_out_valid`.
    pub op_out: Signal<In, Bits<64>>,
    /// Tag of their operation.
    pub op_out_tag: Signal<In, Bits<16>>,
    /// PROTO has carried an operation out.
    pub op_done_valid: Signal<In, Bit>,
    /// See `op_done_valid`.
    pub op_done_ready: Signal<Out, Bit>,
    /// See `op_done_valid`.
    pub op_done: Signal<In, OpDone>,
    ring: CommandRing,
    images: Images,
    reader: ImageReader,
    objects: ObjectOps,
    conns: ConnOps<CONN>,
    ends: ConnEnds,
    map_in: MapIn,
    record_out: RecordOut,
    answers: Answers,
    store: Store<TABLE, OBJ>,
    fetch: Fetch,
    writes: Writes,
}

#[kernel]
impl<const CONN: usize, const TABLE: usize, const OBJ: usize> Logic for Mailbox<CONN, TABLE, OBJ> {
    fn update(&mut self) {
        clock!(self, clock, ring, images, reader, objects, conns, ends, map_in, record_out, answers, store);
        clock!(self, clock, fetch, writes);
        reset!(self, reset, ring, images, reader, objects, conns, ends, map_in, record_out, answers, store);
        reset!(self, reset, fetch, writes);

        // The ring and its commands.
        let command = self.ring.command.val();
        self.ring.enable.next = self.store.ready.val();
        self.ring.rings.next = self.rings.val();
        self.ring.done_valid.next = self.done_valid.val();
        self.consumer.next = self.ring.consumer.val();
        self.irq_cmd.next = self.ring.irq.val();
        self.idle.next = self.ring.idle.val() && self.store.ready.val() && !self.writes.valid.val();
        self.images.start.next = self.ring.start.val();
        self.images.command.next = command;
        self.ring.finished.next = self.images.finished.val();
        self.ring.outcome.next = self.answers.outcome.val();
        self.answers.start.next = self.ring.start.val();
        self.answers.unknown.next = self.images.unknown.val();
        self.answers.base.next = command.iova;
        self.bad_request.next = self.answers.bad_request.val();
        self.stale.next = self.answers.stale.val();

        // Images and who carries them out.
        let job = self.images.job.val();
        self.reader.start.next = self.images.read.val();
        self.reader.base.next = command.iova;
        self.reader.count.next = command.count;
        self.reader.bodies.next = self.images.bodies.val();
        self.images.valid.next = self.reader.valid.val();
        self.images.whole.next = self.reader.whole.val();
        self.images.beat.next = self.reader.beat.val();
        self.reader.take.next = self.images.take.val() || self.conns.take.val();
        self.reader.drop.next = self.images.drop.val();
        self.objects.job.next = job;
        self.objects.go.next = self.images.object_go.val();
        self.images.object_done.next = self.objects.done.val();
        self.images.object_status.next = self.objects.status.val();
        self.conns.job.next = job;
        self.conns.go.next = self.images.conn_go.val();
        self.images.conn_ready.next = self.conns.ready.val();
        self.images.conn_taken.next = self.conns.taken.val();
        self.images.quiet.next = self.ends.quiet.val() && self.answers.idle.val();

        // Answers: those of the images come only when there is no other.
        let of_conn = self.ends.answer_valid.val();
        self.answers.valid.next = of_conn || self.images.answer_valid.val();
        self.answers.answer.next = if of_conn { self.ends.answer.val() } else { self.images.answer.val() };
        self.ends.answer_ready.next = self.answers.ready.val();
        self.images.answer_ready.next = self.answers.ready.val() && !of_conn;
        self.answers.landed.next = self.writes.landed.val();
        self.answers.lost.next = self.writes.lost.val();

        // Neighbors and paths.
        let looks = job.header.kind == KIND_TCP;
        self.store.row.next = if looks { self.conns.row.val() } else { self.objects.row.val() };
        self.store.load.next = self.conns.row_load.val() || self.objects.load.val();
        self.conns.row_loaded.next = self.store.loaded.val();
        self.conns.forget.next = self.images.object_go.val();
        self.objects.loaded.next = self.store.loaded.val();
        self.objects.found.next = self.store.found.val();
        self.conns.found.next = self.store.found.val();
        self.ends.found.next = self.store.found.val();
        self.store.change.next = self.objects.change.val();
        self.store.save.next = self.objects.save.val();
        self.objects.saved.next = self.store.saved.val();
        self.table_valid.next = self.objects.table_valid.val();
        self.table_op.next = self.objects.table_op.val();
        self.objects.table_ready.next = self.table_ready.val();
        self.objects.table_counter.next = self.table_counter.val();

        // Connections, on their way to PROTO.
        self.map_in.go.next = self.conns.map_go.val();
        self.map_in.conn.next = job.header.id;
        self.map_in.base.next = self.page_map_base.val();
        self.conns.map_done.next = self.map_in.done.val();
        self.conns.map_error.next = self.map_in.error.val();
        self.conns.map_valid.next = self.map_in.valid.val();
        self.conns.map_beat.next = self.map_in.beat.val();
        self.map_in.ready.next = self.conns.map_ready.val();
        self.conns.beat.next = self.reader.beat.val();
        self.op_valid.next = self.conns.op_valid.val();
        self.op.next = self.conns.op.val();
        self.conns.op_ready.next = self.op_ready.val();
        self.op_in_valid.next = self.conns.op_in_valid.val();
        self.op_in.next = self.conns.op_in.val();
        self.conns.op_in_ready.next = self.op_in_ready.val();

        // And back.
        self.conns.may_offer.next = self.ends.may_offer.val();
        self.conns.quiet.next = self.ends.quiet.val();
        self.ends.asked.next =
            self.conns.op_valid.val() && self.op_ready.val() && !self.ends.give_up.val().valid;
        self.ends.refuse.next = self.conns.refuse.val();
        self.ends.refuse_index.next = job.index;
        self.ends.refuse_status.next = self.conns.status.val();
        self.conns.refuse_ready.next = self.ends.refuse_ready.val();
        self.conns.give_up.next = self.ends.give_up.val();
        self.ends.undone.next = self.conns.undone.val();
        self.ends.done_valid.next = self.op_done_valid.val();
        self.ends.done.next = self.op_done.val();
        self.op_done_ready.next = self.ends.done_ready.val();
        self.record_out.base.next = command.iova;
        self.record_out.index.next = self.op_out_tag.val();
        self.record_out.op_out_valid.next = self.op_out_valid.val();
        self.record_out.op_out.next = self.op_out.val();
        self.op_out_ready.next = self.record_out.op_out_ready.val();
        self.lookup_valid.next = self.ends.lookup_valid.val();
        self.lookup.next = self.ends.lookup.val();
        self.lookup_path.next = self.conns.hand_id.val();
        self.ends.lookup_done.next = self.lookup_done.val();
        self.ends.lookup_ok.next = self.lookup_ok.val();
        self.ends.lookup_known.next = self.lookup_known.val();

        // Host memory.
        self.fetch.run.next = one_of([self.ring.run.val(), self.objects.run.val(), self.map_in.run.val()]);
        let news = self.fetch.news.val();
        self.ring.news.next = news;
        self.objects.news.next = news;
        self.map_in.news.next = news;
        self.req_valid.next = self.fetch.req_valid.val();
        self.req.next = self.fetch.req.val();
        self.fetch.req_ready.next = self.req_ready.val();
        self.fetch.beat_valid.next = self.beat_valid.val();
        self.fetch.beat.next = self.beat.val();
        self.image_req_valid.next = self.reader.req_valid.val();
        self.image_req.next = self.reader.req.val();
        self.reader.req_ready.next = self.image_req_ready.val();
        self.reader.beat_valid.next = self.image_beat_valid.val();
        self.reader.beat_in.next = self.beat.val();
        WriteMaster::join(&mut self.answers.write, &mut self.writes.images);
        WriteMaster::join(&mut self.objects.write, &mut self.writes.objects);
        WriteMaster::join(&mut self.record_out.write, &mut self.writes.records);
        WriteMaster::join(&mut self.ring.write, &mut self.writes.ring);
        self.writes.done_valid.next = self.done_valid.val();
        self.writes.done.next = self.done.val();
        self.write_valid.next = self.writes.valid.val();
        self.write.next = self.writes.cmd.val();
        self.writes.ready.next = self.write_ready.val();
    }
}
