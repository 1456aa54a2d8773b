//! The unit: one job at a time, by a program ([`super::code`]) over the records of all connections in a block RAM.
//!
//! Latency, from a job that waits to its answer (`tests/loss_unit`): an acknowledgment without blocks and ranges 220 clocks, with a block and
//! a range 370, with four of each up to 810; if it begins a recovery, up to 870; other events up to 280. Throughput: one job at a time. Back-pressure: `job` must stay
//! until `job_ready`, which comes with its answer being taken; the answer stays until `result_ready`. Reset: no job. The records need none: a
//! connection's first job reads nothing that must be right, and its hand-over writes all of it.
use super::code::program;
use super::job::{LossJob, LossResult};
use super::words::{put, result, word, Outputs, WORDS_LOG2};
use crate::mem::SdpRam;
use crate::micro::cpu::Cpu;
use crate::prelude::*;

/// The block, for `1 << (AW - 5)` connections. See the module page.
#[derive(LogicBlock)]
pub struct LossUnit<const AW: usize> {
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
    outputs: Dff<Outputs>,
    runs: Dff<Bit>,
    done: Dff<Bit>,
    cpu: Cpu,
    /// Records; a test compares them with the model.
    pub ram: SdpRam<Bits<32>, AW>,
}

impl<const AW: usize> Default for LossUnit<AW> {
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
            outputs: Dff::default(),
            runs: Dff::default(),
            done: Dff::default(),
            cpu: Cpu::new(&program.code, &program.registers),
            ram: SdpRam::default(),
        }
    }
}

/// The word of a connection.
#[kernel]
fn address<const AW: usize>(conn: Bits<16>, at: Bits<WORDS_LOG2>) -> Bits<AW> {
    bit_cast::<AW, 21>(cat::<21, _>((conn, at)))
}

#[kernel]
impl<const AW: usize> Logic for LossUnit<AW> {
    fn update(&mut self) {
        dff_setup!(self, clock, outputs, runs, done);
        clock!(self, clock, cpu, ram);
        reset!(self, reset, cpu);
        let (job, runs, done) = (self.job.val(), self.runs.q.val(), self.done.q.val());
        let ends = self.cpu.ends.val();
        let taken = done && self.result_ready.val();
        let starts = self.job_valid.val() && !runs && !done;
        self.runs.d.next = starts || runs && !ends;
        self.done.d.next = ends || done && !taken;
        self.cpu.start.next = starts;
        self.cpu.input_word.next = word(job, self.cpu.asked.val());
        self.cpu.state_word.next = self.ram.rdata.val();
        self.ram.re.next = true;
        self.ram.raddr.next = address::<AW>(job.conn, self.cpu.state.val());
        self.ram.we.next = self.cpu.state_we.val();
        self.ram.waddr.next = address::<AW>(job.conn, self.cpu.to.val());
        self.ram.wdata.next = self.cpu.word.val();
        if self.cpu.output_we.val() {
            self.outputs.d.next = put(self.outputs.q.val(), self.cpu.to.val(), self.cpu.word.val());
        }
        self.job_ready.next = taken;
        self.result_valid.next = done;
        self.result.next = result(job, self.outputs.q.val());
        dff_reset!(self, reset, outputs, runs, done);
    }
}
