//! The unit behind a queue of jobs, as the pipeline needs it: a pass asks and goes on, and an answer is an event of its own.
//!
//! No pass that asks starts without `has_room`, but one that takes an answer: so the queue never overflows, and there is room for the job
//! that the answer may lead to. Segments and turns of the ready list start all the same, but without `hears` an acknowledgment does not ask, and
//! without `has_room` nothing is sent of which the unit would have to hear. Taking an answer must not wait for anything that waits for the unit.
//!
//! A word is some 1000 bits wide. 16 words of LUT RAM cost as much as 8 on an ECP5: 250 cells of 16 x 4, which is 1500 LUTs; of
//! block RAM it would be 28, used to a thirtieth.
//!
//! Questions about the growth of a window do not wait here: the unit holds one, and takes it in hand when no job waits, or three went first.
//!
//! Latency: one clock more than the unit. Throughput: a job per clock until the queue is full, then as the unit. Back-pressure:
//! `has_room`; a job offered to a full queue is lost. An answer stays until it is taken, and the unit with it; then in `taken`, until the next one is. Reset: empty.
use super::growth::{GrowthAsk, SetGrowth};
use super::job::{LossJob, LossResult};
use super::unit::LossUnit;
use crate::prelude::*;
use crate::stream::Fifo;

/// log2 of the jobs that may wait, or be in hand.
pub const QUEUE_LOG2: usize = 4;
/// Bits of a count of them.
const LEVEL: usize = QUEUE_LOG2 + 1;
/// Passes start up to this many jobs: each that is in the pipeline then may still ask, and so may one that takes an answer.
const HIGH: u64 = (1 << QUEUE_LOG2) - 2 * crate::tcp::proto::queues::PASSES;

/// Acknowledgments are heard up to this many jobs: those in the pipeline then leave all above for what must not be lost.
const HEARD: u64 = HIGH - crate::tcp::proto::queues::PASSES;

/// What the intake hears of the unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Due {
    /// An answer waits.
    pub valid: Bit,
    /// Whose it is.
    pub conn: Bits<16>,
    /// A pass that may ask can start.
    pub has_room: Bit,
    /// So can one whose question may be dropped.
    pub hears: Bit,
}

/// The block, for `1 << LOG2` connections; `AW` = `LOG2` + 5, `ROWS` = `LOG2` + 3. See the module page.
#[derive(LogicBlock, Default)]
pub struct LossQueue<const LOG2: usize, const AW: usize, const ROWS: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Reset.
    pub reset: Signal<In, Bit>,
    /// A job is offered.
    pub job_valid: Signal<In, Bit>,
    /// The job.
    pub job: Signal<In, LossJob>,
    /// A pass that may ask can start.
    pub has_room: Signal<Out, Bit>,
    /// An answer is offered.
    pub result_valid: Signal<Out, Bit>,
    /// The answer.
    pub result: Signal<Out, LossResult>,
    /// For the intake.
    pub due: Signal<Out, Due>,
    /// It is taken.
    pub result_ready: Signal<In, Bit>,
    /// The answer that was taken last.
    pub taken: Signal<Out, LossResult>,
    /// A question.
    pub ask: Signal<In, GrowthAsk>,
    /// It would be taken.
    pub ask_ready: Signal<Out, Bit>,
    /// An entry of the table.
    pub set: Signal<Out, SetGrowth>,
    /// No job waits or is in hand.
    pub idle: Signal<Out, Bit>,
    jobs: Fifo<LossJob, QUEUE_LOG2, LEVEL>,
    /// The unit.
    pub unit: LossUnit<LOG2, AW, ROWS>,
    held: Dff<LossResult>,
}

#[kernel]
impl<const LOG2: usize, const AW: usize, const ROWS: usize> Logic for LossQueue<LOG2, AW, ROWS> {
    fn update(&mut self) {
        dff_setup!(self, clock, held);
        clock!(self, clock, jobs, unit);
        reset!(self, reset, jobs, unit);
        self.jobs.s_valid.next = self.job_valid.val();
        self.jobs.s_data.next = self.job.val();
        self.unit.job_valid.next = self.jobs.m_valid.val();
        self.unit.job.next = self.jobs.m_data.val();
        self.jobs.m_ready.next = self.unit.job_ready.val();
        self.unit.result_ready.next = self.result_ready.val();
        let level = self.jobs.level.val();
        let has_room = level <= HIGH;
        self.has_room.next = has_room;
        self.result_valid.next = self.unit.result_valid.val();
        self.result.next = self.unit.result.val();
        self.due.next = Due {
            valid: self.unit.result_valid.val(),
            conn: self.unit.result.val().conn,
            has_room,
            hears: level <= HEARD,
        };
        self.taken.next = self.held.q.val();
        if self.result_ready.val() {
            self.held.d.next = self.unit.result.val();
        }
        self.unit.ask.next = self.ask.val();
        self.ask_ready.next = self.unit.ask_ready.val();
        self.set.next = self.unit.set.val();
        self.idle.next = !self.jobs.m_valid.val();
    }
}
