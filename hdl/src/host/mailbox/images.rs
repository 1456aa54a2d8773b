//! The images of a command, one after the other: header, check, hand-over.
//!
//! ```text
//!   Idle --> Header --> Second --> Check --> Go --> Wait --+--> Next --+--> End --> Idle
//!     |        |  ^                  `-refused--> Answer --'       |   ^
//!     |        `--|---bus error-------------------^                |   |
//!     |           `------------------------------------------------'   |
//!     |`--Abort---------------------------> Go --> Wait ---------------|
//!     `---nothing to do, or unknown------------------------------------'
//! ```
//! Who carries an image out: [`super::object_ops`] neighbors and paths, one at a time when nothing else is in work; [`super::conn_ops`] connections
//! and the Abort, which are taken one behind the other. The command is done when [`super::answers`] has answered all.
//! A header that could not be read is not written either: its image has no status but the command's.
//!
//! Latency: 1 clock for a command without images; 6 clocks per image on top of carrying it out.
//! Throughput: one image at a time. Back-pressure: waits for both. Reset: nothing in work.
use super::image_reader::Whole;
use super::job::{
    Answer, Job, ABORT, BAD_REQUEST, HARDWARE_FAILURE, HEADER_BYTES, INITIATE, INVALIDATE, KIND_NEIGHBOR,
    KIND_PATH, KIND_TCP, NOP, QUERY, SUCCESS, TERMINATE, UPDATE,
};
use crate::mirror::{Command, ImageHeader};
use crate::prelude::*;
use chimney_abi::state;

/// Bytes of header and body, by kind.
const NEIGHBOR_LENGTH: u64 = HEADER_BYTES + state::NeighborImage::BYTES as u64;
/// See [`NEIGHBOR_LENGTH`].
const PATH_LENGTH: u64 = HEADER_BYTES + state::PathImage::BYTES as u64;
/// See [`NEIGHBOR_LENGTH`].
const TCP_LENGTH: u64 = HEADER_BYTES + state::TcpRecord::BYTES as u64;
const IMAGE_STRIDE: u64 = state::IMAGE_STRIDE as u64;
const IMAGE_REVISION: u64 = state::IMAGE_REVISION as u64;

/// Where the command stands.
#[derive(Clone, Copy, Debug, PartialEq, LogicState)]
pub enum ImagesState {
    /// There is none.
    Idle,
    /// The next image is being read.
    Header,
    /// The second beat of its header is taken.
    Second,
    /// It is being checked, and waits until it may be carried out.
    Check,
    /// The image is handed over.
    Go,
    /// It is carried out.
    Wait,
    /// It is answered.
    Answer,
    /// It is not needed any more.
    Next,
    /// The images are answered.
    End,
}

/// What becomes of a command.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
struct Sort {
    /// It is an Abort.
    abort: Bit,
    /// There is no such command.
    unknown: Bit,
    /// It has images.
    images: Bit,
}

/// What moves a command on.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
struct Moves {
    /// It begins.
    begin: Bit,
    /// What it is.
    sort: Sort,
    /// The next image is whole.
    valid: Bit,
    /// Its header could not be read.
    failed: Bit,
    /// Its header is bad.
    refused: Bit,
    /// It may be handed over.
    may_go: Bit,
    /// It, or its answer, was taken.
    taken: Bit,
    /// It has an answer that comes from here.
    answers: Bit,
    /// It is the last one.
    is_last: Bit,
    /// Nothing is in work.
    quiet: Bit,
}

/// The block. See the module page.
#[derive(LogicBlock, Default)]
pub struct Images {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Synchronous, active high.
    pub reset: Signal<In, Bit>,
    /// Pulse: carry `command` out.
    pub start: Signal<In, Bit>,
    /// Stable until `finished`.
    pub command: Signal<In, Command>,
    /// Pulse: all is done.
    pub finished: Signal<Out, Bit>,
    /// With `start`: there is no such command.
    pub unknown: Signal<Out, Bit>,
    /// Pulse: read the command's images.
    pub read: Signal<Out, Bit>,
    /// With `read`: their bodies too.
    pub bodies: Signal<Out, Bit>,
    /// The next image is there.
    pub valid: Signal<In, Bit>,
    /// What is known of it.
    pub whole: Signal<In, Whole>,
    /// Its next beat.
    pub beat: Signal<In, Bits<64>>,
    /// The beat is taken.
    pub take: Signal<Out, Bit>,
    /// Pulse: the image is not needed any more.
    pub drop: Signal<Out, Bit>,
    /// The image in work.
    pub job: Signal<Out, Job>,
    /// Pulse: neighbor or path, carry `job` out.
    pub object_go: Signal<Out, Bit>,
    /// Pulse: it is done.
    pub object_done: Signal<In, Bit>,
    /// With `object_done`.
    pub object_status: Signal<In, Bits<8>>,
    /// A connection would be taken.
    pub conn_ready: Signal<In, Bit>,
    /// Pulse, while `conn_ready`: connection, carry `job` out.
    pub conn_go: Signal<Out, Bit>,
    /// Pulse: `job` is not needed any more.
    pub conn_taken: Signal<In, Bit>,
    /// No connection is in work, no answer waits.
    pub quiet: Signal<In, Bit>,
    /// An answer of an image that was refused, or of a neighbor or path; only while `quiet`.
    pub answer_valid: Signal<Out, Bit>,
    /// It is taken.
    pub answer_ready: Signal<In, Bit>,
    /// The answer.
    pub answer: Signal<Out, Answer>,
    state: Dff<ImagesState>,
    header: Dff<Bits<128>>,
    image: Dff<Bits<64>>,
    index: Dff<Bits<16>>,
    status: Dff<Bits<8>>,
    /// The answer goes into the image's header, and behind its body.
    writes: Dff<Bit>,
    lands: Dff<Bit>,
}

/// What a command is.
#[kernel]
fn sort(c: Command) -> Sort {
    Sort {
        abort: c.opcode == ABORT,
        unknown: c.opcode > ABORT,
        images: c.opcode != NOP && c.opcode < ABORT && c.count.any(),
    }
}

/// What is wrong with a header, or Success.
#[kernel]
pub fn header_status(h: ImageHeader, opcode: Bits<8>) -> Bits<8> {
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

/// One state or the other.
#[kernel]
fn pick(b: bool, yes: ImagesState, no: ImagesState) -> ImagesState {
    if b {
        yes
    } else {
        no
    }
}

/// The next state.
#[kernel]
fn next_state(state: ImagesState, m: Moves) -> ImagesState {
    let rest = pick(m.sort.images, ImagesState::Header, ImagesState::End);
    let first = pick(m.sort.abort, ImagesState::Go, rest);
    let check = pick(m.may_go, ImagesState::Go, state);
    let done = pick(m.answers, ImagesState::Answer, ImagesState::Next);
    match state {
        ImagesState::Idle => pick(m.begin, first, state),
        ImagesState::Header => pick(m.valid, pick(m.failed, ImagesState::Answer, ImagesState::Second), state),
        ImagesState::Second => ImagesState::Check,
        ImagesState::Check => pick(m.refused, ImagesState::Answer, check),
        ImagesState::Go => ImagesState::Wait,
        ImagesState::Wait => pick(m.taken, done, state),
        ImagesState::Answer => pick(m.taken, ImagesState::Next, state),
        ImagesState::Next => pick(m.is_last, ImagesState::End, ImagesState::Header),
        ImagesState::End => pick(m.quiet, ImagesState::Idle, state),
    }
}

#[kernel]
impl Logic for Images {
    fn update(&mut self) {
        dff_setup!(self, clock, state, header, image, index, status, writes, lands);
        let (state, command, whole) = (self.state.q.val(), self.command.val(), self.whole.val());
        let header = unpack::<ImageHeader, 128>(self.header.q.val());
        let (image, index) = (self.image.q.val(), self.index.q.val());
        let (quiet, code) = (self.quiet.val(), command.opcode);
        let sorted = sort(command);
        let begin = state == ImagesState::Idle && self.start.val();
        let is_conn = sorted.abort || header.kind == KIND_TCP;
        let refusal = header_status(header, code);
        let object_done = state == ImagesState::Wait && !is_conn && self.object_done.val();
        let conn_taken = state == ImagesState::Wait && is_conn && self.conn_taken.val();
        let answers = state == ImagesState::Answer && quiet;
        let answered = answers && self.answer_ready.val();
        let moves = Moves {
            begin,
            sort: sorted,
            valid: self.valid.val(),
            failed: whole.header_failed,
            refused: refusal != SUCCESS,
            may_go: if is_conn { self.conn_ready.val() } else { quiet },
            taken: object_done || conn_taken || answered,
            answers: object_done,
            is_last: sorted.abort || index + 1 == command.count,
            quiet,
        };
        self.state.d.next = next_state(state, moves);

        // Reading.
        let first = state == ImagesState::Header && self.valid.val() && !whole.header_failed;
        let second = state == ImagesState::Second;
        self.unknown.next = sorted.unknown;
        self.read.next = begin && sorted.images;
        self.bodies.next = code == INITIATE || code == UPDATE;
        self.take.next = first || second;
        self.drop.next = state == ImagesState::Next && !sorted.abort;
        if begin {
            self.image.d.next = command.iova;
            self.index.d.next = bits::<16>(0);
            self.header.d.next = pack::<128, _>(ImageHeader {
                id: command.conn,
                generation: command.generation,
                ..ImageHeader::default()
            });
        }
        if state == ImagesState::Next {
            self.image.d.next = image + IMAGE_STRIDE;
            self.index.d.next = index + 1;
        }
        if first || second {
            self.header.d.next = cat::<128, _>((self.beat.val(), self.header.q.val().get_bits::<64>(64)));
        }

        // Handing over.
        self.job.next = Job {
            opcode: code,
            header,
            body: image + HEADER_BYTES,
            index,
            body_failed: whole.body_failed,
            has_ranges: whole.has_ranges,
        };
        self.object_go.next = state == ImagesState::Go && !is_conn;
        self.conn_go.next = state == ImagesState::Go && is_conn;

        // Answering.
        if state == ImagesState::Header {
            self.status.d.next = bits::<8>(HARDWARE_FAILURE);
            self.writes.d.next = false;
            self.lands.d.next = false;
        }
        if state == ImagesState::Check {
            self.status.d.next = refusal;
            self.writes.d.next = true;
        }
        if object_done {
            let status = self.object_status.val();
            self.status.d.next = status;
            self.lands.d.next = status == SUCCESS && (code == QUERY || code == TERMINATE);
        }
        self.answer_valid.next = answers;
        self.answer.next = Answer {
            index,
            status: self.status.q.val(),
            write: self.writes.q.val(),
            lands: self.lands.q.val(),
        };
        self.finished.next = state == ImagesState::End && quiet;
        dff_reset!(self, reset, state);
    }
}
