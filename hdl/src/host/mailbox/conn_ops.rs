//! A connection's image, or an Abort, on its way to PROTO: what is checked before, and the beats.
//!
//! ```text
//!   Idle --> Path --Initiate, Update--> [Map] --> Offer --> Feed [FeedMap] --> Idle
//!     |        |`--else---------------------------->^`--without a record-------^
//!     |        `-refused--> Refuse --> Idle
//!     `--Abort------------------------------------->^
//! ```
//! Whatever the state, a connection that is to be given up goes first.
//!
//! PROTO decides everything about the connection itself; here is what it cannot know: whether the path is live and of the
//! connection's family. [`ConnEnds`](super::conn_ends::ConnEnds) takes PROTO's answer. Meanwhile the next image is on its way: at most two new
//! connections, so that one which has to be given up again never waits for one behind it.
//!
//! Latency: 4 clocks to the offer, 8 more for the row of a path other than the last one's, and the DMA of a page map.
//! Throughput: one job at a time, 40 clocks for a record. Back-pressure: waits for PROTO. Reset: nothing in work.
use super::job::{
    is_v6, Job, Ports, ABORT, HARDWARE_FAILURE, INITIATE, NO_PARENT, REJECTED, STALE, SUCCESS, TCP_ENTRIES,
    TERMINATE, UPDATE,
};
use super::objects::is_v6 as path_is_v6;
use super::store::{Found, Row};
use crate::prelude::*;
use crate::tcp::proto::op::RECORD_BEATS;
use crate::types::ConnOp;

const LAST_BEAT: u64 = RECORD_BEATS - 1;
const LAST_SLOT: u64 = super::map_in::MAP_BEATS - 1;

/// Where the job stands.
#[derive(Clone, Copy, Debug, PartialEq, LogicState)]
pub enum ConnState {
    /// There is none.
    Idle,
    /// Its path is looked at.
    Path,
    /// Its page map is being read.
    Map,
    /// It is offered to PROTO.
    Offer,
    /// Its record goes in.
    Feed,
    /// Its page map goes in.
    FeedMap,
    /// It is answered without PROTO.
    Refuse,
}

/// A connection that the lookup did not take.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct GiveUp {
    /// There is one.
    pub valid: Bit,
    /// Its id.
    pub conn: Bits<16>,
    /// Its generation.
    pub generation: Bits<8>,
    /// Place of its image.
    pub index: Bits<16>,
}

/// The block. See the module page.
#[derive(LogicBlock, Default)]
pub struct ConnOps<const CONN: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Synchronous, active high.
    pub reset: Signal<In, Bit>,
    /// A job would be taken.
    pub ready: Signal<Out, Bit>,
    /// Pulse, while `ready`: carry `job` out.
    pub go: Signal<In, Bit>,
    /// A connection's, or an Abort; stable until `taken`.
    pub job: Signal<In, Job>,
    /// Pulse: the job, and all its beats, are on their way.
    pub taken: Signal<Out, Bit>,
    /// The row of the connection's path.
    pub row: Signal<Out, Row>,
    /// Take it; until `row_loaded`.
    pub row_load: Signal<Out, Bit>,
    /// Pulse: it is at hand.
    pub row_loaded: Signal<In, Bit>,
    /// The row at hand, which stays there until another is loaded.
    pub found: Signal<In, Found>,
    /// Its path, with an operation of the lookup.
    pub hand_id: Signal<Out, Bits<16>>,
    /// Pulse: the row at hand is somebody else's.
    pub forget: Signal<In, Bit>,
    /// Pulse: read the page map.
    pub map_go: Signal<Out, Bit>,
    /// Pulse: it is read.
    pub map_done: Signal<In, Bit>,
    /// With `map_done`: not whole.
    pub map_error: Signal<In, Bit>,
    /// Its next beat is there.
    pub map_valid: Signal<In, Bit>,
    /// The beat is taken.
    pub map_ready: Signal<Out, Bit>,
    /// The beat.
    pub map_beat: Signal<In, Bits<64>>,
    /// The record's next beat; it is always there.
    pub beat: Signal<In, Bits<64>>,
    /// The beat is taken.
    pub take: Signal<Out, Bit>,
    /// Another new connection may be offered.
    pub may_offer: Signal<In, Bit>,
    /// Nothing offered is unanswered.
    pub quiet: Signal<In, Bit>,
    /// An operation is offered to PROTO.
    pub op_valid: Signal<Out, Bit>,
    /// It is taken.
    pub op_ready: Signal<In, Bit>,
    /// The operation.
    pub op: Signal<Out, ConnOp>,
    /// A beat for PROTO.
    pub op_in_valid: Signal<Out, Bit>,
    /// It is taken.
    pub op_in_ready: Signal<In, Bit>,
    /// The beat.
    pub op_in: Signal<Out, Bits<64>>,
    /// The job is answered without PROTO; only while `quiet`.
    pub refuse: Signal<Out, Bit>,
    /// It is taken.
    pub refuse_ready: Signal<In, Bit>,
    /// The status.
    pub status: Signal<Out, Bits<8>>,
    /// A connection to be given up; until `undone`.
    pub give_up: Signal<In, GiveUp>,
    /// Pulse: PROTO was asked.
    pub undone: Signal<Out, Bit>,
    state: Dff<ConnState>,
    beats: Dff<Bits<6>>,
    status_of: Dff<Bits<8>>,
    /// The path's row that is at hand.
    hand: Dff<Bits<16>>,
    at_hand: Dff<Bit>,
}

/// What the command block has against a job before PROTO hears of it, or Success.
#[kernel]
pub fn path_status(job: Job, path: Found, conn_ok: bool, ports: Ports) -> Bits<8> {
    let initiates = job.opcode == INITIATE;
    let parent_ok = path.object.live && path.object.generation == job.header.parent_generation;
    let foreign = is_v6(ports) != path_is_v6(path.object.body);
    if !conn_ok {
        if initiates {
            bits::<8>(TCP_ENTRIES)
        } else {
            bits::<8>(STALE)
        }
    } else if initiates && !parent_ok {
        bits::<8>(NO_PARENT)
    } else if job.body_failed && (initiates || job.opcode == UPDATE) {
        bits::<8>(HARDWARE_FAILURE)
    } else if initiates && foreign {
        bits::<8>(REJECTED)
    } else {
        bits::<8>(SUCCESS)
    }
}

/// The operation for PROTO.
#[kernel]
fn op_of(job: Job, g: GiveUp, undo: bool) -> ConnOp {
    let initiates = job.opcode == INITIATE;
    ConnOp {
        opcode: if undo { bits::<8>(TERMINATE) } else { job.opcode },
        conn: if undo { g.conn } else { job.header.id },
        generation: if undo { g.generation } else { job.header.generation },
        path: job.header.parent,
        tag: if undo { g.index } else { job.index },
        has_map: initiates && job.has_ranges && !undo,
        discard: undo,
    }
}

/// What moves a job on.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
struct Moves {
    /// It begins.
    go: Bit,
    /// It is an Abort.
    is_abort: Bit,
    /// Its path was looked at.
    looked: Bit,
    /// Nothing speaks against it.
    passed: Bit,
    /// It has a page map.
    wants_map: Bit,
    /// The map is read.
    map_done: Bit,
    /// Not whole.
    map_error: Bit,
    /// PROTO has taken it.
    taken: Bit,
    /// It has a record.
    brings: Bit,
    /// The record is in.
    fed: Bit,
    /// The map is in.
    fed_map: Bit,
    /// The refusal is taken.
    refused: Bit,
}

/// One state or the other.
#[kernel]
fn pick(b: bool, yes: ConnState, no: ConnState) -> ConnState {
    if b {
        yes
    } else {
        no
    }
}

/// The next state.
#[kernel]
fn next_state(state: ConnState, m: Moves) -> ConnState {
    let passed = pick(m.wants_map, ConnState::Map, ConnState::Offer);
    match state {
        ConnState::Idle => pick(m.go, pick(m.is_abort, ConnState::Offer, ConnState::Path), state),
        ConnState::Path => pick(m.looked, pick(m.passed, passed, ConnState::Refuse), state),
        ConnState::Map => pick(m.map_done, pick(m.map_error, ConnState::Refuse, ConnState::Offer), state),
        ConnState::Offer => pick(m.taken, pick(m.brings, ConnState::Feed, ConnState::Idle), state),
        ConnState::Feed => pick(m.fed, pick(m.wants_map, ConnState::FeedMap, ConnState::Idle), state),
        ConnState::FeedMap => pick(m.fed_map, ConnState::Idle, state),
        ConnState::Refuse => pick(m.refused, ConnState::Idle, state),
    }
}

#[kernel]
impl<const CONN: usize> Logic for ConnOps<CONN> {
    fn update(&mut self) {
        dff_setup!(self, clock, state, beats, status_of, hand, at_hand);
        let (state, job, h) = (self.state.q.val(), self.job.val(), self.job.val().header);
        let (initiates, is_abort) = (job.opcode == INITIATE, job.opcode == ABORT);
        let brings = initiates || job.opcode == UPDATE;
        let ports = unpack::<Ports, 48>(self.beat.val().get_bits::<48>(0));
        let give_up = self.give_up.val();
        let undo = give_up.valid;
        let conn_ok = (h.id >> (CONN as u64)) == 0;
        // Only a new connection goes by its path. The row at hand is needed until those before have their place in the lookup.
        let has_row = self.at_hand.q.val() && self.hand.q.val() == h.parent;
        let looks = state == ConnState::Path && initiates && !has_row;
        let status = path_status(job, self.found.val(), conn_ok, ports);
        let looked = state == ConnState::Path && (!initiates || has_row);
        let passed = looked && status == SUCCESS;
        let wants_map = initiates && job.has_ranges;
        self.row.next = Row { is_path: true, id: h.parent };
        self.hand_id.next = self.hand.q.val();
        self.row_load.next = looks && self.quiet.val();
        if self.forget.val() {
            self.at_hand.d.next = false;
        } else if self.row_loaded.val() && looks {
            self.at_hand.d.next = true;
            self.hand.d.next = h.parent;
        }
        self.map_go.next = passed && wants_map;

        // PROTO.
        let offers = state == ConnState::Offer && (!initiates || self.may_offer.val());
        let taken = offers && !undo && self.op_ready.val();
        self.op_valid.next = offers || undo;
        self.op.next = op_of(job, give_up, undo);
        self.undone.next = undo && self.op_ready.val();
        let (feeds, feeds_map) = (state == ConnState::Feed, state == ConnState::FeedMap);
        let next =
            feeds && self.op_in_ready.val() || feeds_map && self.map_valid.val() && self.op_in_ready.val();
        self.op_in_valid.next = feeds || feeds_map && self.map_valid.val();
        self.op_in.next = if feeds { self.beat.val() } else { self.map_beat.val() };
        self.take.next = feeds && next;
        self.map_ready.next = feeds_map && next;
        let beats = self.beats.q.val();
        let fed = feeds && next && beats == LAST_BEAT;
        let fed_map = feeds_map && next && beats == LAST_SLOT;
        if next {
            self.beats.d.next = beats + 1;
        }
        if taken || fed {
            self.beats.d.next = bits::<6>(0);
        }

        self.refuse.next = state == ConnState::Refuse && self.quiet.val();
        let refused = state == ConnState::Refuse && self.quiet.val() && self.refuse_ready.val();
        self.status.next = self.status_of.q.val();
        self.ready.next = state == ConnState::Idle;
        self.taken.next = taken && !brings || fed && !wants_map || fed_map || refused;
        if state == ConnState::Path || state == ConnState::Map {
            self.status_of.d.next =
                if state == ConnState::Map { bits::<8>(HARDWARE_FAILURE) } else { status };
        }
        let moves = Moves {
            go: self.go.val(),
            is_abort,
            looked,
            passed,
            wants_map,
            map_done: self.map_done.val(),
            map_error: self.map_error.val(),
            taken,
            brings,
            fed,
            fed_map,
            refused,
        };
        self.state.d.next = next_state(state, moves);
        dff_reset!(self, reset, state, at_hand);
    }
}
