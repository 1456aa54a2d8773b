//! The unit: one job at a time, by a program ([`super::code`]) over the records of all connections in a block RAM; and when no job waits, or
//! three went first, a question about the growth of a window, by another program over CUBIC's rows in a second one.
//!
//! ```text
//!   job ------------------------> [ processor, two programs ] --> answer
//!   question --> held until then ->     |               '-------> entry of the table
//!                                 records, rows
//! ```
//!
//! Latency, from a job that waits to its answer (`tests/loss_unit`): an acknowledgment without blocks and ranges 220 clocks, with a block and
//! a range 370, with four of each up to 810; if it begins a recovery, up to 870; other events up to 280. From a question to its entry: 250
//! clocks, up to 370 with the segments that Reno's window grows; up to 920 if it begins an epoch. Each waits for what is in hand, a question
//! for three jobs besides. Throughput: one of all at a time. Back-pressure: `job` must stay until `job_ready`, which comes with its answer
//! being taken; the answer stays until `result_ready`. `ask_ready` is low while a question waits or is in hand; who finds it low asks again
//! with the next acknowledgment, nothing waits for the entry. Reset: no job, no question. The records need none: a connection's first job
//! reads nothing that must be right, and its hand-over writes all of it. Of each row the mark that it says something is cleared, together with the
//! connection's entry in the table, for `1 << LOG2` clocks; until then nothing starts, and no question is taken.
use super::code::{cubic, program};
use super::growth::{GrowthAsk, SetGrowth};
use super::job::{LossJob, LossResult};
use super::row::{asked, entry, marked, ROW_LOG2, SWEPT};
use super::words::{put, result, word, Outputs, WORDS_LOG2};
use crate::mem::SdpRam;
use crate::micro::cpu::Cpu;
use crate::micro::isa::{INPUT, PC};
use crate::prelude::*;

/// The block, for `1 << LOG2` connections; `AW` = `LOG2` + 5, `ROWS` = `LOG2` + 3. See the module page.
#[derive(LogicBlock)]
pub struct LossUnit<const LOG2: usize, const AW: usize, const ROWS: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Reset.
    pub reset: Signal<In, Bit>,
    /// A job is offered.
    pub job_valid: Signal<In, Bit>,
    /// The job.
    pub job: Signal<In, LossJob>,
    /// It is done.
    pub job_ready: Signal<Out, Bit>,
    /// An answer is offered.
    pub result_valid: Signal<Out, Bit>,
    /// The answer.
    pub result: Signal<Out, LossResult>,
    /// It is taken.
    pub result_ready: Signal<In, Bit>,
    /// A question.
    pub ask: Signal<In, GrowthAsk>,
    /// It would be taken.
    pub ask_ready: Signal<Out, Bit>,
    /// An entry of the table.
    pub set: Signal<Out, SetGrowth>,
    outputs: Dff<Outputs>,
    runs: Dff<Bit>,
    done: Dff<Bit>,
    question: Dff<GrowthAsk>,
    went_first: Dff<Bits<2>>,
    grows: Dff<Bit>,
    said: Dff<Bit>,
    is_swept: Dff<Bit>,
    row: Dff<Bits<LOG2>>,
    cpu: Cpu,
    /// Records; a test compares them with the model.
    pub ram: SdpRam<Bits<32>, AW>,
    rows: SdpRam<Bits<32>, ROWS>,
}

impl<const LOG2: usize, const AW: usize, const ROWS: usize> Default for LossUnit<LOG2, AW, ROWS> {
    fn default() -> Self {
        let program = program();
        Self {
            clock: Signal::default(),
            reset: Signal::default(),
            job_valid: Signal::default(),
            job: Signal::default(),
            job_ready: Signal::default(),
            result_valid: Signal::default(),
            result: Signal::default(),
            result_ready: Signal::default(),
            ask: Signal::default(),
            ask_ready: Signal::default(),
            set: Signal::default(),
            outputs: Dff::default(),
            runs: Dff::default(),
            done: Dff::default(),
            question: Dff::default(),
            went_first: Dff::default(),
            grows: Dff::default(),
            said: Dff::default(),
            is_swept: Dff::default(),
            row: Dff::default(),
            cpu: Cpu::new(&program.code, &program.registers),
            ram: SdpRam::default(),
            rows: SdpRam::default(),
        }
    }
}

/// The word of a connection.
#[kernel]
fn address<const AW: usize>(conn: Bits<16>, at: Bits<WORDS_LOG2>) -> Bits<AW> {
    bit_cast::<AW, 21>(cat::<21, _>((conn, at)))
}

/// The word of a row.
#[kernel]
fn place<const ROWS: usize>(conn: Bits<16>, at: Bits<WORDS_LOG2>) -> Bits<ROWS> {
    bit_cast::<ROWS, 19>(cat::<19, _>((conn, at.get_bits::<ROW_LOG2>(0))))
}

/// An input: of the job, or of the question behind it.
#[kernel]
fn input(j: LossJob, q: GrowthAsk, at: Bits<INPUT>) -> Bits<32> {
    if at.get_bit(5) && at.get_bit(3) {
        asked(q, at.get_bits::<ROW_LOG2>(0))
    } else {
        word(j, at)
    }
}

#[kernel]
impl<const LOG2: usize, const AW: usize, const ROWS: usize> Logic for LossUnit<LOG2, AW, ROWS> {
    fn update(&mut self) {
        dff_setup!(self, clock, outputs, runs, done, question, went_first, grows, said, is_swept, row);
        clock!(self, clock, cpu, ram, rows);
        reset!(self, reset, cpu);
        let (job, runs, done) = (self.job.val(), self.runs.q.val(), self.done.q.val());
        let (question, grows, row) = (self.question.q.val(), self.grows.q.val(), self.row.q.val());
        let (ask, is_swept) = (self.ask.val(), self.is_swept.q.val());
        let ends = self.cpu.ends.val();
        let taken = done && self.result_ready.val();

        // Who starts: jobs go first, but only three before a question, so that nobody's window stands still for others that lose.
        let is_due = question.valid && self.went_first.q.val().all();
        let has_job = self.job_valid.val() && !is_due;
        let starts = (has_job || question.valid) && is_swept && !runs && !done;
        self.runs.d.next = starts || runs && !ends;
        self.done.d.next = ends && !grows || done && !taken;
        if starts {
            self.grows.d.next = !has_job;
            self.went_first.d.next =
                if has_job && question.valid { self.went_first.q.val() + 1 } else { bits::<2>(0) };
        }
        self.cpu.start.next = starts;
        self.cpu.entry.next = if has_job { bits::<PC>(0) } else { bits::<PC>(cubic::ENTRY as u64) };
        self.cpu.input_word.next = input(job, question, self.cpu.asked.val());
        self.cpu.state_word.next = if grows { self.rows.rdata.val() } else { self.ram.rdata.val() };
        if self.cpu.output_we.val() {
            self.outputs.d.next = put(self.outputs.q.val(), self.cpu.to.val(), self.cpu.word.val());
        }

        // Records.
        let writes = self.cpu.state_we.val();
        self.ram.re.next = !grows;
        self.ram.raddr.next = address::<AW>(job.conn, self.cpu.state.val());
        self.ram.we.next = writes && !grows;
        self.ram.waddr.next = address::<AW>(job.conn, self.cpu.to.val());
        self.ram.wdata.next = self.cpu.word.val();
        self.job_ready.next = taken;
        self.result_valid.next = done;
        self.result.next = result(job, self.outputs.q.val());

        // Rows; after a reset they are swept.
        let to = if is_swept { self.cpu.to.val() } else { bits::<WORDS_LOG2>(SWEPT) };
        let conn = question.conn | bit_cast::<16, LOG2>(row);
        self.rows.re.next = grows;
        self.rows.raddr.next = place::<ROWS>(question.conn, self.cpu.state.val());
        self.rows.we.next = writes && grows || !is_swept;
        self.rows.waddr.next = place::<ROWS>(conn, to);
        self.rows.wdata.next = marked(self.cpu.word.val(), is_swept);
        self.row.d.next = row + !is_swept;
        self.is_swept.d.next = is_swept || row.all();

        // The question, and its answer; those of a reset say nothing.
        self.said.d.next = ends && grows;
        self.set.next = SetGrowth {
            valid: !is_swept || self.said.q.val(),
            conn,
            growth: entry(question, self.outputs.q.val()),
        };
        self.ask_ready.next = is_swept && !question.valid;
        if question.valid {
            self.question.d.next.valid = !(ends && grows);
        } else if ask.valid && is_swept {
            self.question.d.next = ask;
        }
        dff_reset!(self, reset, outputs, runs, done, question, went_first, grows, said, is_swept, row);
    }
}
