//! A neighbor or path image: body in, row and transmitter's table changed, body out.
//!
//! ```text
//!   Idle --Initiate, Update--> Body --> Apply --> Table --> Compose --Query, Terminate--> Write [--> Rest] --> Done
//!     `--else---------------------------^  `-refused------------`-else-------------------------------------------^
//! ```
//! Latency: 4 clocks, the body's DMA and the table's patience. Throughput: one job at a time. Back-pressure: waits for the
//! tables and for the write port. Reset: nothing in work.
use super::job::{
    reported, Job, Run, RunBeat, WriteMaster, HARDWARE_FAILURE, INITIATE, KIND_PATH, QUERY, SUCCESS,
    TERMINATE, UPDATE,
};
use super::objects::{aligned, applied, counted, object_status, table_op, vlan_of, Object, BODY_BITS};
use super::store::{Found, Row};
use crate::ip::tx_build::VLAN;
use crate::prelude::*;
use crate::tcp::tx::tables::TableOp;
use chimney_abi::state;

/// Beats of a neighbor body.
const NEIGHBOR_BEATS: u64 = state::NeighborImage::BYTES as u64 / 8;
/// Beats of a path body.
const PATH_BEATS: u64 = state::PathImage::BYTES as u64 / 8;
/// Bytes of a neighbor body.
const NEIGHBOR_BYTES: u64 = state::NeighborImage::BYTES as u64;
/// Bytes of one write; what a path has beyond them is a write of its own.
const WRITE_BYTES: u64 = 32;
const REST_BYTES: u64 = state::PathImage::BYTES as u64 - WRITE_BYTES;

/// Where the job stands.
#[derive(Clone, Copy, Debug, PartialEq, LogicState)]
pub enum ObjectState {
    /// There is none.
    Idle,
    /// Its body is being read.
    Body,
    /// It is decided, with the path's neighbor at hand.
    Apply,
    /// The row and the transmitter's table change.
    Table,
    /// The IP ID counter is there.
    Compose,
    /// The body is written back.
    Write,
    /// The rest of a path's body is.
    Rest,
    /// It is done.
    Done,
}

/// What moves a job on.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
struct Moves {
    go: Bit,
    brings: Bit,
    takes: Bit,
    is_path: Bit,
    read: Bit,
    error: Bit,
    good: Bit,
    stored: Bit,
    written: Bit,
}

/// The block. See the module page.
#[derive(LogicBlock, Default)]
pub struct ObjectOps {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Synchronous, active high.
    pub reset: Signal<In, Bit>,
    /// Pulse: carry `job` out.
    pub go: Signal<In, Bit>,
    /// A neighbor's or path's; stable until `done`.
    pub job: Signal<In, Job>,
    /// Pulse: the job is done.
    pub done: Signal<Out, Bit>,
    /// With `done`.
    pub status: Signal<Out, Bits<8>>,
    /// To the reader.
    pub run: Signal<Out, Run>,
    /// From the reader.
    pub news: Signal<In, RunBeat>,
    /// Row looked at.
    pub row: Signal<Out, Row>,
    /// What is in it.
    pub found: Signal<In, Found>,
    /// Change the job's own row.
    pub store: Signal<Out, Bit>,
    /// To this.
    pub object: Signal<Out, Object>,
    /// An operation of the transmitter's tables is offered.
    pub table_valid: Signal<Out, Bit>,
    /// It is carried out.
    pub table_ready: Signal<In, Bit>,
    /// The operation.
    pub table_op: Signal<Out, TableOp>,
    /// IP ID counter of the last operation's path, from the clock after it.
    pub table_counter: Signal<In, Bits<16>>,
    /// For bodies.
    pub write: WriteMaster,
    state: Dff<ObjectState>,
    old: Dff<Found>,
    beats: Dff<Bits<BODY_BITS>>,
    status_of: Dff<Bits<8>>,
    /// VLAN id of the path's neighbor.
    vlan: Dff<Bits<VLAN>>,
}

/// The next state.
#[kernel]
fn next_state(state: ObjectState, m: Moves) -> ObjectState {
    match state {
        ObjectState::Idle => {
            if !m.go {
                state
            } else if m.brings {
                ObjectState::Body
            } else {
                ObjectState::Apply
            }
        }
        ObjectState::Body => {
            if !m.read {
                state
            } else if m.error {
                ObjectState::Done
            } else {
                ObjectState::Apply
            }
        }
        ObjectState::Apply => {
            if m.good {
                ObjectState::Table
            } else {
                ObjectState::Done
            }
        }
        ObjectState::Table => {
            if m.stored {
                ObjectState::Compose
            } else {
                state
            }
        }
        ObjectState::Compose => {
            if m.takes {
                ObjectState::Write
            } else {
                ObjectState::Done
            }
        }
        ObjectState::Write => {
            if !m.written {
                state
            } else if m.is_path {
                ObjectState::Rest
            } else {
                ObjectState::Done
            }
        }
        ObjectState::Rest => {
            if m.written {
                ObjectState::Done
            } else {
                state
            }
        }
        ObjectState::Done => ObjectState::Idle,
    }
}

#[kernel]
impl Logic for ObjectOps {
    fn update(&mut self) {
        dff_setup!(self, clock, state, old, beats, status_of, vlan);
        let (state, job, news) = (self.state.q.val(), self.job.val(), self.news.val());
        let (code, is_path) = (job.opcode, job.header.kind == KIND_PATH);
        let brings = code == INITIATE || code == UPDATE;
        let (found, old) = (self.found.val(), self.old.q.val());
        let object = old.object;

        // Reading.
        let begin = state == ObjectState::Idle && self.go.val();
        self.run.next = Run {
            start: begin && brings,
            iova: job.body,
            beats: if is_path { bits::<7>(PATH_BEATS) } else { bits::<7>(NEIGHBOR_BEATS) },
        };
        if state == ObjectState::Body && news.valid {
            let later = self.beats.q.val().get_bits::<{ BODY_BITS - 64 }>(64);
            self.beats.d.next = cat::<BODY_BITS, _>((news.data, later));
        }
        let deciding = state == ObjectState::Apply;
        self.row.next = if deciding {
            Row { is_path: false, id: job.header.parent }
        } else {
            Row { is_path, id: job.header.id }
        };
        if begin {
            self.old.d.next = found;
        }

        // Deciding. From here on `old` is the object that comes of it.
        let body = aligned(is_path, self.beats.q.val());
        let status = object_status(job, old, found.object, body);
        if state == ObjectState::Body {
            self.status_of.d.next = bits::<8>(HARDWARE_FAILURE);
        }
        if deciding {
            self.status_of.d.next = status;
            self.vlan.d.next = vlan_of(found.object);
            self.old.d.next = Found { in_range: old.in_range, object: applied(job, object, body) };
        }

        // Storing.
        let storing = state == ObjectState::Table;
        self.store.next = storing && code != QUERY;
        self.object.next = object;
        self.table_valid.next = storing;
        self.table_op.next = table_op(job, object, self.vlan.q.val());
        if state == ObjectState::Compose {
            let object = counted(is_path, object, self.table_counter.val());
            self.old.d.next = Found { in_range: old.in_range, object };
        }

        // Writing back.
        let rest = state == ObjectState::Rest;
        let len = if is_path { bits::<16>(WRITE_BYTES) } else { bits::<16>(NEIGHBOR_BYTES) };
        self.write.valid.next = state == ObjectState::Write || rest;
        self.write.cmd.next = if rest {
            let last = bit_cast::<256, 64>(object.body.get_bits::<64>(256));
            reported(job.body + WRITE_BYTES, bits::<16>(REST_BYTES), last)
        } else {
            reported(job.body, len, object.body.get_bits::<256>(0))
        };
        self.done.next = state == ObjectState::Done;
        self.status.next = self.status_of.q.val();
        let moves = Moves {
            go: begin,
            brings,
            takes: code == QUERY || code == TERMINATE,
            is_path,
            read: news.done,
            error: news.error,
            good: status == SUCCESS,
            stored: self.table_ready.val(),
            written: self.write.ready.val(),
        };
        self.state.d.next = next_state(state, moves);
        dff_reset!(self, reset, state);
    }
}
