//! A neighbor or path image: body in, row and transmitter's table changed, body out.
//!
//! ```text
//!   Idle --path, Initiate or Update--> Parent --> Own --Initiate, Update--> Body --> Apply --> Table --> Save --> Compose
//!     `--else-----------------------------------^  `--else---------------------------^ |        `-Query-------------^  |
//!                                                              Done <--refused---------'                               |
//!                                                               ^---- [Rest] <-- Write <--Query, Terminate-------------+
//!                                                               `--------------------------------------else------------'
//! ```
//! The row at hand in the store is what the job works on: the body's beats change it lane by lane, and it is saved when the
//! job was found good.
//!
//! Latency: 12 clocks, 7 more to save the row and 9 more to see a path's neighbor; the body's DMA and the table's patience.
//! Throughput: one job at a time. Back-pressure: waits for the tables and for the write port. Reset: nothing in work.
use super::job::{
    last, reported, Job, Run, RunBeat, WriteMaster, HARDWARE_FAILURE, INITIATE, KIND_PATH, QUERY, SUCCESS,
    TERMINATE, UPDATE,
};
use super::objects::{head_after, lanes, object_status, parent_of, table_op, Parent, IP_ID_LANE};
use super::store::{Change, Found, Row, LANES};
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
    /// The path's neighbor is looked at.
    Parent,
    /// The row is taken.
    Own,
    /// Its body is being read.
    Body,
    /// It is decided.
    Apply,
    /// The transmitter's table changes.
    Table,
    /// The row does.
    Save,
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
    is_query: Bit,
    loaded: Bit,
    read: Bit,
    error: Bit,
    good: Bit,
    stored: Bit,
    saved: Bit,
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
    /// A row of the store.
    pub row: Signal<Out, Row>,
    /// Take it; until `loaded`.
    pub load: Signal<Out, Bit>,
    /// Pulse: it is at hand.
    pub loaded: Signal<In, Bit>,
    /// The row at hand.
    pub found: Signal<In, Found>,
    /// What changes in it.
    pub change: Signal<Out, Change>,
    /// Save it; until `saved`.
    pub save: Signal<Out, Bit>,
    /// Pulse: it is.
    pub saved: Signal<In, Bit>,
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
    beat: Dff<Bits<3>>,
    status_of: Dff<Bits<8>>,
    parent: Dff<Parent>,
}

/// One state or the other.
#[kernel]
fn pick(b: bool, yes: ObjectState, no: ObjectState) -> ObjectState {
    if b {
        yes
    } else {
        no
    }
}

/// The next state.
#[kernel]
fn next_state(state: ObjectState, m: Moves) -> ObjectState {
    let first = pick(m.brings && m.is_path, ObjectState::Parent, ObjectState::Own);
    let read = pick(m.error, ObjectState::Done, ObjectState::Apply);
    let stored = pick(m.is_query, ObjectState::Compose, ObjectState::Save);
    match state {
        ObjectState::Idle => pick(m.go, first, state),
        ObjectState::Parent => pick(m.loaded, ObjectState::Own, state),
        ObjectState::Own => pick(m.loaded, pick(m.brings, ObjectState::Body, ObjectState::Apply), state),
        ObjectState::Body => pick(m.read, read, state),
        ObjectState::Apply => pick(m.good, ObjectState::Table, ObjectState::Done),
        ObjectState::Table => pick(m.stored, stored, state),
        ObjectState::Save => pick(m.saved, ObjectState::Compose, state),
        ObjectState::Compose => pick(m.takes, ObjectState::Write, ObjectState::Done),
        ObjectState::Write => pick(m.written, pick(m.is_path, ObjectState::Rest, ObjectState::Done), state),
        ObjectState::Rest => pick(m.written, ObjectState::Done, state),
        ObjectState::Done => ObjectState::Idle,
    }
}

#[kernel]
impl Logic for ObjectOps {
    fn update(&mut self) {
        dff_setup!(self, clock, state, beat, status_of, parent);
        let (state, job, news) = (self.state.q.val(), self.job.val(), self.news.val());
        let (code, is_path) = (job.opcode, job.header.kind == KIND_PATH);
        let brings = code == INITIATE || code == UPDATE;
        let (found, loaded) = (self.found.val(), self.loaded.val());
        let object = found.object;

        // Rows.
        let (of_parent, own) = (state == ObjectState::Parent, state == ObjectState::Own);
        self.load.next = of_parent || own;
        self.row.next = if of_parent {
            Row { is_path: false, id: job.header.parent }
        } else {
            Row { is_path, id: job.header.id }
        };
        if of_parent {
            self.parent.d.next = parent_of(job, object);
        }

        // Reading.
        self.run.next = Run {
            start: own && loaded && brings,
            iova: job.body,
            beats: if is_path { bits::<7>(PATH_BEATS) } else { bits::<7>(NEIGHBOR_BEATS) },
        };
        let got = state == ObjectState::Body && news.valid;
        if own {
            self.beat.d.next = bits::<3>(0);
        } else if got {
            self.beat.d.next = self.beat.q.val() + 1;
        }

        // Deciding.
        let deciding = state == ObjectState::Apply;
        let status = object_status(job, found, self.parent.q.val());
        let good = status == SUCCESS;
        if state == ObjectState::Body {
            self.status_of.d.next = bits::<8>(HARDWARE_FAILURE);
        }
        if deciding {
            self.status_of.d.next = status;
        }

        // What changes: the head of a good one, the body by its beats, a path's counter to what the transmitter had (R-280).
        let composing = state == ObjectState::Compose;
        let counts = composing && is_path;
        let counter = self.table_counter.val();
        self.change.next = Change {
            has_head: deciding && good && code != QUERY,
            head: head_after(job, object),
            lanes: if got {
                lanes(job, self.beat.q.val())
            } else if counts {
                bits::<LANES>(IP_ID_LANE)
            } else {
                bits::<LANES>(0)
            },
            word: if composing { cat::<64, _>((counter, counter, counter, counter)) } else { news.data },
        };

        // Storing.
        let storing = state == ObjectState::Table;
        self.save.next = state == ObjectState::Save;
        self.table_valid.next = storing;
        self.table_op.next = table_op(job, object, self.parent.q.val().vlan);

        // Writing back.
        let rest = state == ObjectState::Rest;
        let len = if is_path { bits::<16>(WRITE_BYTES) } else { bits::<16>(NEIGHBOR_BYTES) };
        self.write.valid.next = state == ObjectState::Write || rest;
        self.write.cmd.next = if rest {
            let rest_of = bit_cast::<256, 64>(object.body.get_bits::<64>(256));
            last(reported(job.body + WRITE_BYTES, bits::<16>(REST_BYTES), rest_of))
        } else if is_path {
            reported(job.body, len, object.body.get_bits::<256>(0))
        } else {
            last(reported(job.body, len, object.body.get_bits::<256>(0)))
        };
        self.done.next = state == ObjectState::Done;
        self.status.next = self.status_of.q.val();
        let moves = Moves {
            go: self.go.val(),
            brings,
            takes: code == QUERY || code == TERMINATE,
            is_path,
            is_query: code == QUERY,
            loaded,
            read: news.done,
            error: news.error,
            good,
            stored: self.table_ready.val(),
            saved: self.saved.val(),
            written: self.write.ready.val(),
        };
        self.state.d.next = next_state(state, moves);
        dff_reset!(self, reset, state);
    }
}
