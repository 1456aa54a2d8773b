//! The images of a command, one after the other: header, check, hand-over, status.
//!
//! ```text
//!   Idle --> Header --> Check --> Go --> Wait --> Settle --> Status --> Tally --+--> End
//!     |        ^  `-bus error---------------------------------------^   |       |
//!     |        `--------------------------------------------------------'       |
//!     |`--Abort-----------------> Go --> Wait --> Settle -------------> Tally --'
//!     `---nothing to do, or unknown--------------------------------------------^
//! ```
//! Who carries an image out: [`super::object_ops`] neighbors and paths, [`super::conn_ops`] connections and the Abort.
//! A header that could not be read is not written either: its image has no status but the command's.
//!
//! Latency: 1 clock for a command without images; 7 clocks per image on top of reading its header and carrying it out,
//! and the write responses of its body.
//! Throughput: one image at a time. Back-pressure: waits for both. Reset: nothing in work.
use super::job::{
    inline, Job, Outcome, Run, RunBeat, WriteMaster, ABORT, BAD_REQUEST, HARDWARE_FAILURE, HEADER_BYTES,
    INITIATE, INVALIDATE, KIND_NEIGHBOR, KIND_PATH, KIND_TCP, NOP, STALE, SUCCESS,
};
use crate::mirror::{Command, ImageHeader};
use crate::prelude::*;
use chimney_abi::state;

/// Beats of an image header.
const HEADER_BEATS: u64 = HEADER_BYTES / 8;
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
    /// A header is being read.
    Header,
    /// It is being checked.
    Check,
    /// The image is handed over.
    Go,
    /// It is carried out.
    Wait,
    /// What it wrote is on its way to memory.
    Settle,
    /// Its status is written.
    Status,
    /// Its status is counted.
    Tally,
    /// The command is done.
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
    /// With `finished`.
    pub outcome: Signal<Out, Outcome>,
    /// To the reader.
    pub run: Signal<Out, Run>,
    /// From the reader.
    pub news: Signal<In, RunBeat>,
    /// The image in work.
    pub job: Signal<Out, Job>,
    /// Pulse: neighbor or path, carry `job` out.
    pub object_go: Signal<Out, Bit>,
    /// Pulse: connection, carry `job` out.
    pub conn_go: Signal<Out, Bit>,
    /// Pulse: the job is done.
    pub job_done: Signal<In, Bit>,
    /// With `job_done`.
    pub job_status: Signal<In, Bits<8>>,
    /// All the job's writes were answered.
    pub settled: Signal<In, Bit>,
    /// With `settled`: some with an error.
    pub write_failed: Signal<In, Bit>,
    /// For the images' status.
    pub write: WriteMaster,
    /// Pulse: a command or an image was refused as malformed.
    pub bad_request: Signal<Out, Bit>,
    /// Pulse: a stale id was refused.
    pub stale: Signal<Out, Bit>,
    state: Dff<ImagesState>,
    header: Dff<Bits<128>>,
    image: Dff<Bits<64>>,
    left: Dff<Bits<16>>,
    status: Dff<Bits<8>>,
    outcome_of: Dff<Outcome>,
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

/// One more status: the last that failed counts, and how many did.
#[kernel]
pub fn tally(o: Outcome, status: Bits<8>) -> Outcome {
    if status == SUCCESS {
        o
    } else {
        Outcome { worst: status, failed: o.failed + !o.failed.all() }
    }
}

/// The first beat of a header, with its status.
#[kernel]
pub fn with_status(first: Bits<64>, status: Bits<8>) -> Bits<64> {
    cat::<64, _>((first.get_bits::<48>(16), status, first.get_bits::<8>(0)))
}

/// The next state.
#[kernel]
fn next_state(
    state: ImagesState,
    s: Sort,
    begin: bool,
    news: RunBeat,
    good: bool,
    moved: bool,
) -> ImagesState {
    match state {
        ImagesState::Idle => {
            if !begin {
                state
            } else if s.abort {
                ImagesState::Go
            } else if s.images {
                ImagesState::Header
            } else {
                ImagesState::End
            }
        }
        ImagesState::Header => {
            if !news.done {
                state
            } else if news.error {
                ImagesState::Tally
            } else {
                ImagesState::Check
            }
        }
        ImagesState::Check => {
            if good {
                ImagesState::Go
            } else {
                ImagesState::Status
            }
        }
        ImagesState::Go => ImagesState::Wait,
        ImagesState::Wait => {
            if moved {
                ImagesState::Settle
            } else {
                state
            }
        }
        ImagesState::Settle => {
            if !moved {
                state
            } else if s.abort {
                ImagesState::Tally
            } else {
                ImagesState::Status
            }
        }
        ImagesState::Status => {
            if moved {
                ImagesState::Tally
            } else {
                state
            }
        }
        // `moved` is the last image here.
        ImagesState::Tally => {
            if moved {
                ImagesState::End
            } else {
                ImagesState::Header
            }
        }
        ImagesState::End => ImagesState::Idle,
    }
}

#[kernel]
impl Logic for Images {
    fn update(&mut self) {
        dff_setup!(self, clock, state, header, image, left, status, outcome_of);
        let (state, news, command) = (self.state.q.val(), self.news.val(), self.command.val());
        let header = unpack::<ImageHeader, 128>(self.header.q.val());
        let image = self.image.q.val();
        let sorted = sort(command);
        let begin = state == ImagesState::Idle && self.start.val();
        let is_last = sorted.abort || self.left.q.val() == 1;
        let is_conn = sorted.abort || header.kind == KIND_TCP;
        let check = header_status(header, command.opcode);
        let refused = state == ImagesState::Check && check != SUCCESS;
        let job_done = state == ImagesState::Wait && self.job_done.val();
        let next_image = image + IMAGE_STRIDE;

        // Reading.
        let more = state == ImagesState::Tally && !is_last;
        self.run.next = Run {
            start: begin && sorted.images || more,
            iova: if more { next_image } else { command.iova },
            beats: bits::<7>(HEADER_BEATS),
        };
        if begin {
            self.image.d.next = command.iova;
            self.left.d.next = command.count;
            self.header.d.next = pack::<128, _>(ImageHeader {
                id: command.conn,
                generation: command.generation,
                ..ImageHeader::default()
            });
        }
        if more {
            self.image.d.next = next_image;
            self.left.d.next = self.left.q.val() - 1;
        }
        if state == ImagesState::Header && news.valid {
            self.header.d.next = cat::<128, _>((news.data, self.header.q.val().get_bits::<64>(64)));
        }

        // Handing over.
        self.job.next = Job { opcode: command.opcode, header, body: image + HEADER_BYTES };
        self.object_go.next = state == ImagesState::Go && !is_conn;
        self.conn_go.next = state == ImagesState::Go && is_conn;
        self.bad_request.next = refused || begin && sorted.unknown;
        self.stale.next = job_done && self.job_status.val() == STALE;
        if state == ImagesState::Header {
            self.status.d.next = bits::<8>(HARDWARE_FAILURE);
        }
        if state == ImagesState::Check {
            self.status.d.next = check;
        }
        if job_done {
            self.status.d.next = self.job_status.val();
        }
        // The object is gone from here, its image is not there: the host goes by its shadow record (law L2).
        let settled = state == ImagesState::Settle && self.settled.val();
        if settled && self.write_failed.val() && self.status.q.val() == SUCCESS {
            self.status.d.next = bits::<8>(HARDWARE_FAILURE);
        }

        // Answering.
        let word = with_status(self.header.q.val().get_bits::<64>(0), self.status.q.val());
        self.write.valid.next = state == ImagesState::Status;
        self.write.cmd.next = inline(image, bits::<16>(8), bit_cast::<256, 64>(word));
        self.finished.next = state == ImagesState::End;
        self.outcome.next = self.outcome_of.q.val();
        if state == ImagesState::Idle {
            let verdict = if sorted.unknown { bits::<8>(BAD_REQUEST) } else { bits::<8>(SUCCESS) };
            self.outcome_of.d.next = tally(Outcome::default(), verdict);
        }
        if state == ImagesState::Tally {
            self.outcome_of.d.next = tally(self.outcome_of.q.val(), self.status.q.val());
        }
        let moved = job_done
            || settled
            || state == ImagesState::Status && self.write.ready.val()
            || state == ImagesState::Tally && is_last;
        self.state.d.next = next_state(state, sorted, begin, news, !refused, moved);
        dff_reset!(self, reset, state);
    }
}
