//! The answers of a command's images: each gets its status when what it wrote is in host memory; then it is counted.
//!
//! ```text
//!   Answer --> list --> its writes have landed? --> status into the image --> outcome of the command
//!   reports ----------> list of landed images --'
//! ```
//! An image that was written with an error has no status Success: the connection is gone from here, its image is not there, and the host
//! goes by its shadow record (law L2). The writes of images land in the order of their answers.
//!
//! Latency: 2 clocks. Throughput: an answer in 3 clocks. Back-pressure: 8 answers wait; then `ready` falls. Reset: none waits.
use super::job::{inline, Answer, Outcome, WriteMaster, BAD_REQUEST, HARDWARE_FAILURE, STALE, SUCCESS};
use crate::prelude::*;
use crate::stream::Fifo;
use chimney_abi::state;

/// Byte of a header with the status.
const STATUS_AT: u64 = 1;
const STRIDE_SHIFT: u64 = state::IMAGE_STRIDE.trailing_zeros() as u64;
/// An odd number of steps of `1 << STRIDE_SHIFT` bytes: five.
const STRIDE_STEPS: u64 = state::IMAGE_STRIDE as u64 >> STRIDE_SHIFT;
const WAITING_LOG2: usize = 3;
/// log2 of the landings that may wait for their answers: those of the answers above, and of as many in front of them.
const LANDED_LOG2: usize = 4;

/// The block. See the module page.
#[derive(LogicBlock, Default)]
pub struct Answers {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Synchronous, active high.
    pub reset: Signal<In, Bit>,
    /// Pulse: a command begins, of which nothing failed yet.
    pub start: Signal<In, Bit>,
    /// With `start`: there is no such command.
    pub unknown: Signal<In, Bit>,
    /// Address of its first image; stable until it is done.
    pub base: Signal<In, Bits<64>>,
    /// An answer is offered.
    pub valid: Signal<In, Bit>,
    /// It is taken.
    pub ready: Signal<Out, Bit>,
    /// The answer.
    pub answer: Signal<In, Answer>,
    /// Pulse: the last write of an image is in host memory, or cannot be.
    pub landed: Signal<In, Bit>,
    /// With `landed`: some write of the image was answered with an error.
    pub lost: Signal<In, Bit>,
    /// For the statuses.
    pub write: WriteMaster,
    /// What became of the command so far.
    pub outcome: Signal<Out, Outcome>,
    /// No answer waits.
    pub idle: Signal<Out, Bit>,
    /// Pulse: an image was refused as malformed.
    pub bad_request: Signal<Out, Bit>,
    /// Pulse: a stale id was refused.
    pub stale: Signal<Out, Bit>,
    waiting: Fifo<Answer, WAITING_LOG2, { WAITING_LOG2 + 1 }>,
    landings: Fifo<Bit, LANDED_LOG2, { LANDED_LOG2 + 1 }>,
    /// The answer in hand has its status written.
    written: Dff<Bit>,
    outcome_of: Dff<Outcome>,
    /// Place of the last image that failed.
    last: Dff<Bits<16>>,
}

/// One more status: the last image that failed counts, and how many did.
#[kernel]
pub fn tally(o: Outcome, status: Bits<8>, is_last: bool) -> Outcome {
    if status == SUCCESS {
        o
    } else {
        Outcome { worst: if is_last { status } else { o.worst }, failed: o.failed + !o.failed.all() }
    }
}

/// Where an image lies behind the first one.
#[kernel]
pub fn distance(index: Bits<16>) -> Bits<64> {
    let i = bit_cast::<20, 16>(index);
    bit_cast::<64, 20>(i + (i << 2u64)) << STRIDE_SHIFT
}

#[kernel]
impl Logic for Answers {
    fn update(&mut self) {
        dff_setup!(self, clock, written, outcome_of, last);
        clock!(self, clock, waiting, landings);
        reset!(self, reset, waiting, landings);
        self.waiting.s_valid.next = self.valid.val();
        self.waiting.s_data.next = self.answer.val();
        self.ready.next = self.waiting.s_ready.val();
        self.landings.s_valid.next = self.landed.val();
        self.landings.s_data.next = self.lost.val();

        let a = self.waiting.m_data.val();
        let has = self.waiting.m_valid.val() && (!a.lands || self.landings.m_valid.val());
        let lost = a.lands && self.landings.m_data.val() && a.status == SUCCESS;
        let status = if lost { bits::<8>(HARDWARE_FAILURE) } else { a.status };
        let writes = has && a.write && !self.written.q.val();
        let ends = has && !writes;
        self.write.valid.next = writes;
        let at = self.base.val() + distance(a.index) + STATUS_AT;
        let word = bit_cast::<256, 8>(status) << (8 * STATUS_AT);
        self.write.cmd.next = inline(at, bits::<16>(1), word);
        self.written.d.next = writes && self.write.ready.val();
        self.waiting.m_ready.next = ends;
        self.landings.m_ready.next = ends && a.lands;

        let is_last = a.index >= self.last.q.val();
        let nothing = if self.unknown.val() { bits::<8>(BAD_REQUEST) } else { bits::<8>(SUCCESS) };
        if self.start.val() {
            self.outcome_of.d.next = tally(Outcome::default(), nothing, true);
            self.last.d.next = bits::<16>(0);
        } else if ends {
            self.outcome_of.d.next = tally(self.outcome_of.q.val(), status, is_last);
            if status != SUCCESS && is_last {
                self.last.d.next = a.index;
            }
        }
        self.outcome.next = self.outcome_of.q.val();
        self.idle.next = !self.waiting.m_valid.val();
        self.bad_request.next = ends && status == BAD_REQUEST || self.start.val() && self.unknown.val();
        self.stale.next = ends && status == STALE;
        dff_reset!(self, reset, written);
    }
}

const _: () = assert!(STRIDE_STEPS == 5, "`distance` multiplies by five");
