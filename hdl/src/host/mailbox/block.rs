//! The command block: instances and wiring only. Who does what: `mailbox/mod.rs`.
use super::conn_ops::ConnOps;
use super::fetch::Fetch;
use super::images::Images;
use super::job::{one_of, WriteMaster, KIND_TCP};
use super::object_ops::ObjectOps;
use super::record_in::RecordIn;
use super::record_out::RecordOut;
use super::ring::CommandRing;
use super::store::Store;
use super::writes::Writes;
use crate::host::csr::Rings;
use crate::prelude::*;
use crate::tcp::lookup::LookupOp;
use crate::tcp::tx::tables::TableOp;
use crate::types::{ConnOp, ReadBeat, ReadReq, WriteCmd, WriteDone};

/// The command block. `CONN`: log2 of connections, `TABLE`: log2 of paths and of neighbors; `OBJ` = `TABLE` + 1.
///
/// Latency: a command costs its DMA reads and writes plus some 15 clocks per image of a connection, 23 for a new one, 12 to 30 for a neighbor or path; a TCP image 36 beats each way.
/// Throughput: one image at a time. Back-pressure: waits for PROTO, lookup, tables and the write engine.
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
    /// Read client.
    pub beat: Signal<In, ReadBeat>,
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
    /// Pulse: PROTO has carried the operation out.
    pub op_done: Signal<In, Bit>,
    /// With `op_done`: the status.
    pub op_status: Signal<In, Bits<8>>,
    ring: CommandRing,
    images: Images,
    objects: ObjectOps,
    conns: ConnOps<CONN>,
    record_in: RecordIn,
    record_out: RecordOut,
    store: Store<TABLE, OBJ>,
    fetch: Fetch,
    writes: Writes,
}

#[kernel]
impl<const CONN: usize, const TABLE: usize, const OBJ: usize> Logic for Mailbox<CONN, TABLE, OBJ> {
    fn update(&mut self) {
        clock!(self, clock, ring, images, objects, conns, record_in, record_out, store, fetch, writes);
        reset!(self, reset, ring, images, objects, conns, record_in, record_out, store, fetch, writes);

        // The ring and its commands.
        self.ring.enable.next = self.store.ready.val();
        self.ring.rings.next = self.rings.val();
        self.ring.done_valid.next = self.done_valid.val();
        self.consumer.next = self.ring.consumer.val();
        self.irq_cmd.next = self.ring.irq.val();
        self.idle.next = self.ring.idle.val() && self.store.ready.val() && !self.writes.valid.val();
        self.images.start.next = self.ring.start.val();
        self.images.command.next = self.ring.command.val();
        self.ring.finished.next = self.images.finished.val();
        self.ring.outcome.next = self.images.outcome.val();

        // Images and who carries them out.
        let job = self.images.job.val();
        let is_conn = self.conns.done.val();
        self.objects.job.next = job;
        self.conns.job.next = job;
        self.objects.go.next = self.images.object_go.val();
        self.conns.go.next = self.images.conn_go.val();
        self.images.job_done.next = is_conn || self.objects.done.val();
        self.images.job_status.next =
            if is_conn { self.conns.status.val() } else { self.objects.status.val() };
        self.bad_request.next = self.images.bad_request.val();
        self.stale.next = self.images.stale.val();

        // Neighbors and paths.
        let of_conn = job.header.kind == KIND_TCP;
        self.store.row.next = if of_conn { self.conns.row.val() } else { self.objects.row.val() };
        self.store.load.next = self.conns.row_load.val() || self.objects.load.val();
        self.conns.row_loaded.next = self.store.loaded.val();
        self.objects.loaded.next = self.store.loaded.val();
        self.objects.found.next = self.store.found.val();
        self.conns.found.next = self.store.found.val();
        self.store.change.next = self.objects.change.val();
        self.store.save.next = self.objects.save.val();
        self.objects.saved.next = self.store.saved.val();
        self.table_valid.next = self.objects.table_valid.val();
        self.table_op.next = self.objects.table_op.val();
        self.objects.table_ready.next = self.table_ready.val();
        self.objects.table_counter.next = self.table_counter.val();

        // Connections.
        self.record_in.go.next = self.conns.load_go.val();
        self.record_in.job.next = job;
        self.record_in.page_map_base.next = self.page_map_base.val();
        self.conns.load_done.next = self.record_in.done.val();
        self.conns.load_error.next = self.record_in.error.val();
        self.conns.ports_in.next = self.record_in.ports.val();
        self.conns.out_v6.next = self.record_out.is_v6.val();
        self.record_in.feed.next = self.conns.exchange.val();
        self.op_in_valid.next = self.record_in.op_in_valid.val();
        self.op_in.next = self.record_in.op_in.val();
        self.record_in.op_in_ready.next = self.op_in_ready.val();
        self.record_out.go.next = self.conns.out_go.val();
        self.record_out.body.next = job.body;
        self.record_out.take.next = self.conns.exchange.val();
        self.record_out.discard.next = self.conns.discard.val();
        self.record_out.op_out_valid.next = self.op_out_valid.val();
        self.record_out.op_out.next = self.op_out.val();
        self.op_out_ready.next = self.record_out.op_out_ready.val();
        self.op_valid.next = self.conns.op_valid.val();
        self.op.next = self.conns.op.val();
        self.conns.op_ready.next = self.op_ready.val();
        self.conns.op_done.next = self.op_done.val();
        self.conns.op_status.next = self.op_status.val();
        self.lookup_valid.next = self.conns.lookup_valid.val();
        self.lookup.next = self.conns.lookup.val();
        self.conns.lookup_done.next = self.lookup_done.val();
        self.conns.lookup_ok.next = self.lookup_ok.val();
        self.conns.lookup_known.next = self.lookup_known.val();

        // Host memory.
        let (ring, images) = (self.ring.run.val(), self.images.run.val());
        self.fetch.run.next = one_of([ring, images, self.objects.run.val(), self.record_in.run.val()]);
        let news = self.fetch.news.val();
        self.ring.news.next = news;
        self.images.news.next = news;
        self.objects.news.next = news;
        self.record_in.news.next = news;
        self.req_valid.next = self.fetch.req_valid.val();
        self.req.next = self.fetch.req.val();
        self.fetch.req_ready.next = self.req_ready.val();
        self.fetch.beat_valid.next = self.beat_valid.val();
        self.fetch.beat.next = self.beat.val();
        WriteMaster::join(&mut self.images.write, &mut self.writes.images);
        WriteMaster::join(&mut self.objects.write, &mut self.writes.objects);
        WriteMaster::join(&mut self.record_out.write, &mut self.writes.records);
        WriteMaster::join(&mut self.ring.write, &mut self.writes.ring);
        self.writes.done_valid.next = self.done_valid.val();
        self.writes.done.next = self.done.val();
        self.writes.clear.next = self.images.object_go.val() || self.images.conn_go.val();
        self.images.settled.next = self.writes.settled.val();
        self.images.write_failed.next = self.writes.failed.val();
        self.write_valid.next = self.writes.valid.val();
        self.write.next = self.writes.cmd.val();
        self.writes.ready.next = self.write_ready.val();
    }
}
