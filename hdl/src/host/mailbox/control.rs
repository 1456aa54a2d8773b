//! The sequence of commands and images. Ports and rules: `mailbox/mod.rs`.
//!
//! Latency: a command costs its DMA reads and writes plus some 10 clocks per image; a TCP image 36 beats each way.
//! Throughput: one image at a time. Back-pressure: waits for PROTO, lookup, tables and the write engine.
//! Reset: no command, all objects dead (cleared in `2 << TABLE` clocks; nothing is fetched meanwhile).
use super::fetch::Fetch;
use super::objects::{neighbor_entry, path_entry, updated, Object, BODY_BITS, NEIGHBOR_BITS};
use crate::host::csr::Rings;
use crate::mem::LutRam;
use crate::mirror::{Command, CommandDone, ImageHeader};
use crate::prelude::*;
use crate::stream::Fifo;
use crate::tcp::lookup::{FlowKey, LookupOp};
use crate::tcp::tx::tables::TABLE_READ;
use crate::tcp::tx::tables::{TableOp, TABLE_NEIGHBOR, TABLE_PATH, TABLE_PATH_NEW};
use crate::types::{ConnOp, ReadBeat, ReadReq, WriteCmd, WriteDone};
use chimney_abi::cmd::{ImageKind, Opcode, Status};
use chimney_abi::{desc, state};

const NOP: u64 = Opcode::Nop as u64;
const INITIATE: u64 = Opcode::Initiate as u64;
const TERMINATE: u64 = Opcode::Terminate as u64;
const QUERY: u64 = Opcode::Query as u64;
const UPDATE: u64 = Opcode::Update as u64;
const INVALIDATE: u64 = Opcode::Invalidate as u64;
const ABORT: u64 = Opcode::Abort as u64;
const KIND_NEIGHBOR: u64 = ImageKind::Neighbor as u64;
const KIND_PATH: u64 = ImageKind::Path as u64;
const KIND_TCP: u64 = ImageKind::Tcp as u64;
const SUCCESS: u64 = Status::Success as u64;
const BAD_REQUEST: u64 = Status::BadRequest as u64;
const STALE: u64 = Status::Stale as u64;
const TCP_ENTRIES: u64 = Status::TcpEntries as u64;
const PATH_ENTRIES: u64 = Status::PathEntries as u64;
const NEIGHBOR_ENTRIES: u64 = Status::NeighborEntries as u64;
const NO_PARENT: u64 = Status::NoParent as u64;
const HARDWARE_FAILURE: u64 = Status::HardwareFailure as u64;
/// Beats of a command.
const COMMAND_BEATS: u64 = desc::Command::BYTES as u64 / 8;
/// Beats of an image header.
const HEADER_BEATS: u64 = state::HEADER_BYTES as u64 / 8;
/// Beats of a neighbor body.
const NEIGHBOR_BEATS: u64 = state::NeighborImage::BYTES as u64 / 8;
/// Beats of a path body.
const PATH_BEATS: u64 = state::PathImage::BYTES as u64 / 8;
/// Beats of a TCP record.
const RECORD_BEATS: u64 = state::TcpRecord::BYTES as u64 / 8;
/// Beats of a connection's page map.
const MAP_BEATS: u64 = desc::PAGE_SLOTS as u64;
/// Bytes of header and body, by kind.
const NEIGHBOR_LENGTH: u64 = (state::HEADER_BYTES as usize + state::NeighborImage::BYTES) as u64;
/// See [`NEIGHBOR_LENGTH`].
const PATH_LENGTH: u64 = (state::HEADER_BYTES as usize + state::PathImage::BYTES) as u64;
/// See [`NEIGHBOR_LENGTH`].
const TCP_LENGTH: u64 = (state::HEADER_BYTES as usize + state::TcpRecord::BYTES) as u64;
const HEADER_BYTES: u64 = state::HEADER_BYTES as u64;
const IMAGE_STRIDE: u64 = state::IMAGE_STRIDE as u64;
const IMAGE_REVISION: u64 = state::IMAGE_REVISION as u64;
const PAGE_MAP_SHIFT: u64 = desc::PAGE_MAP_STRIDE.trailing_zeros() as u64;

/// Where a command stands.
#[derive(Clone, Copy, Debug, PartialEq, LogicState)]
pub enum Step {
    /// Objects are being cleared.
    Clear,
    /// Waiting for a command.
    Idle,
    /// The command is being read.
    Command,
    /// The opcode decides.
    Decode,
    /// The header is being read.
    Header,
    /// The header is being checked.
    Check,
    /// Neighbor or path: the body is being read.
    Body,
    /// Neighbor or path: the object changes.
    Apply,
    /// Neighbor or path: the transmitter's table changes.
    Table,
    /// Neighbor or path: the counter is there; the body is composed.
    Compose,
    /// Neighbor or path: the body is written back.
    WriteBody,
    /// TCP: the path's addresses are looked up.
    Path,
    /// TCP: the operation is offered to PROTO.
    Offer,
    /// TCP: beats go in and out until PROTO is done.
    Exchange,
    /// TCP: the lookup is asked to change.
    Lookup,
    /// TCP: the lookup answers.
    LookupAnswer,
    /// TCP: an insert failed; PROTO is asked to give the connection up.
    Undo,
    /// See [`Step::Undo`].
    UndoWait,
    /// The image's status is written.
    Status,
    /// The completion is written.
    Done,
    /// The completion is on its way.
    DoneWait,
}

/// The command block.
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
    /// To the lookup.
    pub lookup_valid: Signal<Out, Bit>,
    /// See `lookup_valid`.
    pub lookup_ready: Signal<In, Bit>,
    /// See `lookup_valid`.
    pub lookup: Signal<Out, LookupOp>,
    /// Pulse: the lookup has answered.
    pub lookup_done: Signal<In, Bit>,
    /// With `lookup_done`: the table changed.
    pub lookup_ok: Signal<In, Bit>,
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
    fetch: Fetch,
    beats: Fifo<Bits<64>, 7, 8>,
    objects: LutRam<Object, OBJ>,
    step: Dff<Step>,
    taken: Dff<Bits<16>>,
    command: Dff<Bits<256>>,
    header: Dff<Bits<128>>,
    image: Dff<Bits<64>>,
    left: Dff<Bits<16>>,
    failed: Dff<Bits<8>>,
    worst: Dff<Bits<8>>,
    status: Dff<Bits<8>>,
    body: Dff<Bits<BODY_BITS>>,
    object: Dff<Object>,
    body_part: Dff<Bit>,
    cleared: Dff<Bits<OBJ>>,
    dma_bad: Dff<Bit>,
    map_due: Dff<Bit>,
    into: Dff<Bits<7>>,
    out_count: Dff<Bits<6>>,
    chunk: Dff<Bits<256>>,
    proto_done: Dff<Bit>,
    key: Dff<FlowKey>,
    has_key: Dff<Bit>,
    out_valid: Dff<Bit>,
    out: Dff<WriteCmd>,
}

/// An inline write.
#[kernel]
fn inline(iova: Bits<64>, len: Bits<16>, data: Bits<256>, notify: bool) -> WriteCmd {
    WriteCmd { kind: bits::<2>(1), iova, len, src: bits::<16>(0), data, notify, tag: bits::<48>(0) }
}

/// What is wrong with a header, or Success.
#[kernel]
fn header_status(h: ImageHeader, opcode: Bits<8>) -> Bits<8> {
    let is_neighbor = h.kind == KIND_NEIGHBOR && h.length == NEIGHBOR_LENGTH;
    let is_path = h.kind == KIND_PATH && h.length == PATH_LENGTH;
    let is_tcp = h.kind == KIND_TCP && h.length == TCP_LENGTH;
    let known = is_neighbor || is_path || is_tcp;
    let opcode_ok = opcode >= INITIATE && opcode <= INVALIDATE;
    if known && opcode_ok && h.revision == IMAGE_REVISION && h.generation.any() {
        bits::<8>(SUCCESS)
    } else {
        bits::<8>(BAD_REQUEST)
    }
}

/// Status of a neighbor or path operation.
#[kernel]
fn object_status(h: ImageHeader, opcode: Bits<8>, o: Object, parent: Object, in_range: bool) -> Bits<8> {
    let is_path = h.kind == KIND_PATH;
    let mine = in_range && o.live && o.generation == h.generation;
    let parent_ok = parent.live && parent.generation == h.parent_generation;
    if opcode == INITIATE {
        if !in_range || o.live {
            if is_path {
                bits::<8>(PATH_ENTRIES)
            } else {
                bits::<8>(NEIGHBOR_ENTRIES)
            }
        } else if is_path && !parent_ok {
            bits::<8>(NO_PARENT)
        } else {
            bits::<8>(SUCCESS)
        }
    } else if !mine {
        bits::<8>(STALE)
    } else if opcode == UPDATE && is_path && !parent_ok {
        bits::<8>(NO_PARENT)
    } else {
        bits::<8>(SUCCESS)
    }
}

#[kernel]
impl<const CONN: usize, const TABLE: usize, const OBJ: usize> Logic for Mailbox<CONN, TABLE, OBJ> {
    fn update(&mut self) {
        dff_setup!(
            self, clock, step, taken, command, header, image, left, failed, worst, status, body, object
        );
        dff_setup!(self, clock, body_part, cleared, dma_bad, map_due, into, out_count, chunk, proto_done);
        dff_setup!(self, clock, key, has_key, out_valid, out);
        clock!(self, clock, fetch, beats, objects);
        reset!(self, reset, fetch, beats);

        let step = self.step.q.val();
        let rings = self.rings.val();
        let command = unpack::<Command, 256>(self.command.q.val());
        let header = unpack::<ImageHeader, 128>(self.header.q.val());
        let is_path = header.kind == KIND_PATH;
        let is_tcp = header.kind == KIND_TCP;
        let opcode = command.opcode;
        let can_write = !self.out_valid.q.val();

        // Defaults.
        self.consumer.next = self.taken.q.val();
        self.irq_cmd.next = false;
        self.bad_request.next = false;
        self.stale.next = false;
        self.write_valid.next = self.out_valid.q.val();
        self.write.next = self.out.q.val();
        if self.out_valid.q.val() && self.write_ready.val() {
            self.out_valid.d.next = false;
        }
        self.req_valid.next = self.fetch.req_valid.val();
        self.req.next = self.fetch.req.val();
        self.fetch.req_ready.next = self.req_ready.val();
        self.fetch.beat_valid.next = self.beat_valid.val();
        self.fetch.beat.next = self.beat.val();
        let mut start = false;
        let mut from = self.image.q.val();
        let mut count = bits::<7>(HEADER_BEATS);
        let data = self.beat.val().data;
        let got = self.beat_valid.val();

        // The object named by the header; while a TCP image is looked at, its path; in `Check` of a path also its neighbor.
        let is_parent = step == Step::Path || is_tcp;
        let row = if is_parent { header.parent } else { header.id };
        let row_is_path = is_tcp || is_path;
        let in_range = (row >> (TABLE as u64)) == 0;
        self.objects.raddr.next = cat::<OBJ, _>((row_is_path, row.get_bits::<TABLE>(0)));
        let found = self.objects.rdata.val();
        self.objects.we.next = false;
        self.objects.waddr.next = cat::<OBJ, _>((is_path, header.id.get_bits::<TABLE>(0)));
        self.objects.wdata.next = self.object.q.val();

        self.table_valid.next = step == Step::Table;
        let removes = opcode == QUERY;
        self.table_op.next = TableOp {
            kind: if !is_path {
                bits::<2>(TABLE_NEIGHBOR)
            } else if removes {
                bits::<2>(TABLE_READ)
            } else if opcode == INITIATE {
                bits::<2>(TABLE_PATH_NEW)
            } else {
                bits::<2>(TABLE_PATH)
            },
            id: header.id,
            path: path_entry(self.object.q.val()),
            neighbor: neighbor_entry(self.object.q.val()),
            ip_id_counter: self.object.q.val().body.get_bits::<16>(288),
        };
        self.lookup_valid.next = step == Step::Lookup;
        self.lookup.next = LookupOp { insert: opcode == INITIATE, key: self.key.q.val(), conn: header.id };
        let undo = step == Step::Undo;
        let is_abort = opcode == ABORT;
        self.op_valid.next = step == Step::Offer || undo;
        self.op.next = ConnOp {
            opcode: if undo { bits::<8>(TERMINATE) } else { opcode },
            conn: if is_abort { command.conn } else { header.id },
            generation: if is_abort { command.generation } else { header.generation },
            path: header.parent,
        };
        self.beats.s_valid.next = false;
        self.beats.s_data.next = data;
        self.op_in_valid.next = step == Step::Exchange && self.beats.m_valid.val();
        self.op_in.next = self.beats.m_data.val();
        self.beats.m_ready.next = step == Step::Exchange && self.op_in_ready.val();
        self.op_out_ready.next = false;
        self.idle.next = step == Step::Idle && can_write && self.taken.q.val() == rings.cmd_producer
            || step == Step::Idle && can_write && !rings.enable;

        // Key of the connection, from the first record beat and the path's addresses.
        let ports_in = self.into.q.val() == 0 && self.op_in_valid.val() && self.op_in_ready.val();
        if ports_in || (self.op_out_valid.val() && self.out_count.q.val() == 0 && !self.has_key.q.val()) {
            let word = if ports_in { self.beats.m_data.val() } else { self.op_out.val() };
            let mut key = self.key.q.val();
            key.local_port = word.get_bits::<16>(0);
            key.remote_port = word.get_bits::<16>(16);
            self.key.d.next = key;
        }

        match step {
            Step::Clear => {
                self.objects.we.next = true;
                self.objects.waddr.next = self.cleared.q.val();
                self.objects.wdata.next = Object::default();
                self.cleared.d.next = self.cleared.q.val() + 1;
                if self.cleared.q.val().all() {
                    self.step.d.next = Step::Idle;
                }
            }
            Step::Idle => {
                self.failed.d.next = bits::<8>(0);
                self.worst.d.next = bits::<8>(SUCCESS);
                if rings.enable && self.taken.q.val() != rings.cmd_producer {
                    start = true;
                    let mask = (bits::<16>(1) << bit_cast::<16, _>(rings.cmd_log2)) - 1;
                    let slot = bit_cast::<64, 16>(self.taken.q.val() & mask);
                    from = rings.cmd_base + (slot << 5u64);
                    count = bits::<7>(COMMAND_BEATS);
                    self.step.d.next = Step::Command;
                }
            }
            Step::Command => {
                if got {
                    self.command.d.next =
                        (self.command.q.val() >> 64u64) | (bit_cast::<256, 64>(data) << 192u64);
                }
                if self.fetch.done.val() {
                    self.taken.d.next = self.taken.q.val() + 1;
                    self.status.d.next = bits::<8>(SUCCESS);
                    if self.fetch.error.val() {
                        self.worst.d.next = bits::<8>(HARDWARE_FAILURE);
                        self.step.d.next = Step::Done;
                    } else {
                        self.step.d.next = Step::Decode;
                    }
                }
            }
            Step::Decode => {
                self.image.d.next = command.iova;
                self.left.d.next = command.count;
                self.header.d.next = bits::<128>(0);
                if opcode == NOP {
                    self.step.d.next = Step::Done;
                } else if opcode == ABORT {
                    self.dma_bad.d.next = false;
                    self.proto_done.d.next = false;
                    self.step.d.next = Step::Offer;
                } else if opcode > ABORT {
                    self.bad_request.next = true;
                    self.worst.d.next = bits::<8>(BAD_REQUEST);
                    self.step.d.next = Step::Done;
                } else if command.count == 0 {
                    self.step.d.next = Step::Done;
                } else {
                    start = true;
                    from = command.iova;
                    self.step.d.next = Step::Header;
                }
            }
            Step::Header => {
                if got {
                    self.header.d.next =
                        (self.header.q.val() >> 64u64) | (bit_cast::<128, 64>(data) << 64u64);
                }
                if self.fetch.done.val() {
                    self.status.d.next = bits::<8>(SUCCESS);
                    if self.fetch.error.val() {
                        self.status.d.next = bits::<8>(HARDWARE_FAILURE);
                        self.step.d.next = Step::Status;
                    } else {
                        self.step.d.next = Step::Check;
                    }
                }
            }
            Step::Check => {
                let status = header_status(header, opcode);
                self.status.d.next = status;
                self.object.d.next = found;
                self.dma_bad.d.next = false;
                self.proto_done.d.next = false;
                self.has_key.d.next = false;
                self.body_part.d.next = false;
                let reads = opcode == INITIATE || opcode == UPDATE;
                if status != SUCCESS {
                    self.bad_request.next = true;
                    self.step.d.next = Step::Status;
                } else if is_tcp {
                    self.step.d.next = Step::Path;
                } else if reads {
                    start = true;
                    from = self.image.q.val() + HEADER_BYTES;
                    count = if is_path { bits::<7>(PATH_BEATS) } else { bits::<7>(NEIGHBOR_BEATS) };
                    self.step.d.next = Step::Body;
                } else {
                    self.step.d.next = Step::Apply;
                }
            }
            Step::Body => {
                if got {
                    self.body.d.next =
                        (self.body.q.val() >> 64u64) | (bit_cast::<BODY_BITS, 64>(data) << 256u64);
                }
                if self.fetch.done.val() {
                    if self.fetch.error.val() {
                        self.status.d.next = bits::<8>(HARDWARE_FAILURE);
                        self.step.d.next = Step::Status;
                    } else {
                        self.step.d.next = Step::Apply;
                    }
                }
            }
            Step::Apply => {
                // The neighbor of a path is the row that this step looks at.
                self.objects.raddr.next = cat::<OBJ, _>((false, header.parent.get_bits::<TABLE>(0)));
                let near = (header.parent >> (TABLE as u64)) == 0;
                let mut parent = found;
                parent.live = found.live && near;
                let mine = (header.id >> (TABLE as u64)) == 0;
                let old = self.object.q.val();
                let status = object_status(header, opcode, old, parent, mine);
                let body = if is_path {
                    self.body.q.val()
                } else {
                    bit_cast::<BODY_BITS, NEIGHBOR_BITS>(self.body.q.val().get_bits::<NEIGHBOR_BITS>(128))
                };
                self.status.d.next = status;
                let mut new = old;
                if opcode == INITIATE {
                    new = Object {
                        live: true,
                        invalid: false,
                        generation: header.generation,
                        parent: header.parent,
                        body,
                    };
                }
                if opcode == UPDATE {
                    new.body = updated(is_path, old.body, body);
                    new.parent = header.parent;
                }
                if opcode == INVALIDATE {
                    new.invalid = true;
                }
                if opcode == TERMINATE {
                    new.live = false;
                }
                self.object.d.next = new;
                if status == SUCCESS {
                    self.step.d.next = Step::Table;
                } else {
                    self.stale.next = status == STALE;
                    self.step.d.next = Step::Status;
                }
            }
            Step::Table => {
                self.objects.we.next = opcode != QUERY;
                if self.table_ready.val() {
                    self.step.d.next = Step::Compose;
                }
            }
            Step::Compose => {
                let object = self.object.q.val();
                let mut body = object.body;
                if is_path {
                    body.set_bits::<16>(288, self.table_counter.val());
                }
                self.object.d.next = Object { body, ..object };
                if opcode == QUERY || opcode == TERMINATE {
                    self.step.d.next = Step::WriteBody;
                } else {
                    self.step.d.next = Step::Status;
                }
            }
            Step::WriteBody => {
                if can_write {
                    let body = self.object.q.val().body;
                    let at = self.image.q.val() + HEADER_BYTES;
                    self.out_valid.d.next = true;
                    if self.body_part.q.val() {
                        let rest = bit_cast::<256, 64>(body.get_bits::<64>(256));
                        self.out.d.next = inline(at + 32, bits::<16>(8), rest, false);
                        self.step.d.next = Step::Status;
                    } else {
                        let len = if is_path { bits::<16>(32) } else { bits::<16>(24) };
                        self.out.d.next = inline(at, len, body.get_bits::<256>(0), false);
                        self.body_part.d.next = true;
                        if !is_path {
                            self.step.d.next = Step::Status;
                        }
                    }
                }
            }
            Step::Path => {
                // `found` is the path here.
                let parent_ok = in_range && found.live && found.generation == header.parent_generation;
                let body = found.body;
                self.key.d.next = FlowKey {
                    remote_ip: body.get_bits::<32>(128),
                    local_ip: body.get_bits::<32>(0),
                    remote_port: bits::<16>(0),
                    local_port: bits::<16>(0),
                };
                self.into.d.next = bits::<7>(0);
                self.out_count.d.next = bits::<6>(0);
                let conn_ok = (header.id >> (CONN as u64)) == 0;
                if !conn_ok {
                    let full = if opcode == INITIATE { bits::<8>(TCP_ENTRIES) } else { bits::<8>(STALE) };
                    self.stale.next = opcode != INITIATE;
                    self.status.d.next = full;
                    self.step.d.next = Step::Status;
                } else if opcode == INITIATE && !parent_ok {
                    self.status.d.next = bits::<8>(NO_PARENT);
                    self.step.d.next = Step::Status;
                } else {
                    self.step.d.next = Step::Offer;
                }
            }
            Step::Offer => {
                if self.op_ready.val() {
                    self.step.d.next = Step::Exchange;
                    self.map_due.d.next = opcode == INITIATE;
                    if opcode == INITIATE || opcode == UPDATE {
                        start = true;
                        from = self.image.q.val() + HEADER_BYTES;
                        count = bits::<7>(RECORD_BEATS);
                        self.has_key.d.next = true;
                    }
                }
            }
            Step::Exchange => {
                self.beats.s_valid.next = got;
                if self.fetch.done.val() {
                    if self.fetch.error.val() {
                        self.dma_bad.d.next = true;
                    }
                    if self.map_due.q.val() {
                        self.map_due.d.next = false;
                        start = true;
                        from = self.page_map_base.val() + (bit_cast::<64, 16>(header.id) << PAGE_MAP_SHIFT);
                        count = bits::<7>(MAP_BEATS);
                    }
                }
                if self.op_in_valid.val() && self.op_in_ready.val() {
                    self.into.d.next = self.into.q.val() + 1;
                }
                if self.op_out_valid.val() && can_write {
                    self.op_out_ready.next = true;
                    let chunk =
                        (self.chunk.q.val() >> 64u64) | (bit_cast::<256, 64>(self.op_out.val()) << 192u64);
                    self.chunk.d.next = chunk;
                    let n = self.out_count.q.val();
                    self.out_count.d.next = n + 1;
                    if n.get_bits::<2>(0) == 3 {
                        let offset = bit_cast::<64, 4>(n.get_bits::<4>(2)) << 5u64;
                        self.out_valid.d.next = true;
                        self.out.d.next =
                            inline(self.image.q.val() + HEADER_BYTES + offset, bits::<16>(32), chunk, false);
                    }
                }
                if self.op_done.val() {
                    self.status.d.next = self.op_status.val();
                    let good = self.op_status.val() == SUCCESS;
                    self.stale.next = self.op_status.val() == STALE;
                    if is_abort {
                        self.worst.d.next = self.op_status.val();
                        self.step.d.next = Step::Done;
                    } else if good && opcode == INITIATE && self.dma_bad.q.val() {
                        // Some beat was bad: the record is not what the host wrote.
                        self.status.d.next = bits::<8>(HARDWARE_FAILURE);
                        self.step.d.next = Step::Undo;
                    } else if good && (opcode == INITIATE || opcode == TERMINATE) {
                        self.step.d.next = Step::Lookup;
                    } else {
                        self.step.d.next = Step::Status;
                    }
                }
            }
            Step::Lookup => {
                if self.lookup_ready.val() {
                    self.step.d.next = Step::LookupAnswer;
                }
            }
            Step::LookupAnswer => {
                if self.lookup_done.val() {
                    if opcode == INITIATE && !self.lookup_ok.val() {
                        self.status.d.next = bits::<8>(TCP_ENTRIES);
                        self.step.d.next = Step::Undo;
                    } else {
                        self.step.d.next = Step::Status;
                    }
                }
            }
            Step::Undo => {
                if self.op_ready.val() {
                    self.step.d.next = Step::UndoWait;
                }
            }
            Step::UndoWait => {
                self.op_out_ready.next = true;
                if self.op_done.val() {
                    self.step.d.next = Step::Status;
                }
            }
            Step::Status => {
                if can_write {
                    let first = self.header.q.val().get_bits::<64>(0);
                    let word =
                        cat::<64, _>((first.get_bits::<48>(16), self.status.q.val(), first.get_bits::<8>(0)));
                    self.out_valid.d.next = true;
                    self.out.d.next =
                        inline(self.image.q.val(), bits::<16>(8), bit_cast::<256, 64>(word), false);
                    let bad = self.status.q.val() != SUCCESS;
                    if bad {
                        self.worst.d.next = self.status.q.val();
                        if !self.failed.q.val().all() {
                            self.failed.d.next = self.failed.q.val() + 1;
                        }
                    }
                    self.left.d.next = self.left.q.val() - 1;
                    let next = self.image.q.val() + IMAGE_STRIDE;
                    self.image.d.next = next;
                    if self.left.q.val() == 1 {
                        self.step.d.next = Step::Done;
                    } else {
                        start = true;
                        from = next;
                        self.step.d.next = Step::Header;
                    }
                }
            }
            Step::Done => {
                if can_write {
                    let number = self.taken.q.val() - 1;
                    let log2 = rings.cmd_log2;
                    let mask = (bits::<16>(1) << bit_cast::<16, _>(log2)) - 1;
                    let lap = number >> bit_cast::<16, _>(log2);
                    let entry = CommandDone {
                        cookie: command.cookie,
                        status: self.worst.q.val(),
                        failed: self.failed.q.val(),
                        reserved: bits::<31>(0),
                        phase: (!lap.get_bit(0)).into(),
                    };
                    let at = rings.cmd_done_base + (bit_cast::<64, 16>(number & mask) << 3u64);
                    self.out_valid.d.next = true;
                    self.out.d.next =
                        inline(at, bits::<16>(8), bit_cast::<256, 64>(pack::<64, _>(entry)), true);
                    self.step.d.next = Step::DoneWait;
                }
            }
            Step::DoneWait => {
                if self.done_valid.val() {
                    self.irq_cmd.next = true;
                    self.step.d.next = Step::Idle;
                }
            }
        }
        self.fetch.start.next = start;
        self.fetch.iova.next = from;
        self.fetch.beats.next = count;
        dff_reset!(self, reset, step, taken, out_valid, cleared);
    }
}
