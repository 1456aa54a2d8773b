//! The command ring: one command after the other is read, handed over, and reported when it is done.
//!
//! ```text
//!   Idle --entry--> Read --command--> Work --outcome--> Report --CommandDone--> Flying --in memory--> Idle (interrupt)
//!                     `--bus error-----------------------^
//! ```
//! Latency: one DMA read to `start`, one write to the interrupt. Throughput: one command at a time, in ring order.
//! Back-pressure: waits for the command's end and for the write port. Reset: index 0, nothing in work.
use super::job::{reported, Outcome, Run, RunBeat, WriteMaster, HARDWARE_FAILURE};
use crate::host::csr::Rings;
use crate::mirror::{Command, CommandDone};
use crate::prelude::*;
use chimney_abi::desc;

/// Beats of a command.
const COMMAND_BEATS: u64 = desc::Command::BYTES as u64 / 8;
/// log2 of the bytes of a command.
const COMMAND_SHIFT: u64 = desc::Command::BYTES.trailing_zeros() as u64;
/// Bytes of a completion.
const DONE_BYTES: u64 = desc::CommandDone::BYTES as u64;
/// log2 of them.
const DONE_SHIFT: u64 = desc::CommandDone::BYTES.trailing_zeros() as u64;

/// Where the oldest command stands.
#[derive(Clone, Copy, Debug, PartialEq, LogicState)]
pub enum RingState {
    /// There is none.
    Idle,
    /// It is being read.
    Read,
    /// It is carried out.
    Work,
    /// Its completion is written.
    Report,
    /// The completion is on its way to memory.
    Flying,
}

/// The block. See the module page.
#[derive(LogicBlock, Default)]
pub struct CommandRing {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Synchronous, active high.
    pub reset: Signal<In, Bit>,
    /// Commands may be taken.
    pub enable: Signal<In, Bit>,
    /// Ring addresses and indices.
    pub rings: Signal<In, Rings>,
    /// Commands taken.
    pub consumer: Signal<Out, Bits<16>>,
    /// No command in work, and none that may be taken.
    pub idle: Signal<Out, Bit>,
    /// Pulse, one clock late: a completion is in host memory.
    pub irq: Signal<Out, Bit>,
    /// To the reader.
    pub run: Signal<Out, Run>,
    /// From the reader.
    pub news: Signal<In, RunBeat>,
    /// Pulse: carry `command` out.
    pub start: Signal<Out, Bit>,
    /// The command; stable until `finished`.
    pub command: Signal<Out, Command>,
    /// Pulse: it is done, its writes are under way.
    pub finished: Signal<In, Bit>,
    /// With `finished`.
    pub outcome: Signal<In, Outcome>,
    /// For the completion.
    pub write: WriteMaster,
    /// Pulse: the completion is in host memory, or cannot be.
    pub done_valid: Signal<In, Bit>,
    state: Dff<RingState>,
    taken: Dff<Bits<16>>,
    entry: Dff<Bits<256>>,
    outcome_of: Dff<Outcome>,
    landed: Dff<Bit>,
}

/// Place of an index in a ring.
#[kernel]
fn slot(index: Bits<16>, log2: Bits<8>) -> Bits<64> {
    bit_cast::<64, 16>(index & ((bits::<16>(1) << log2) - 1))
}

/// The completion of the command with this index.
#[kernel]
pub fn completion(cookie: Bits<16>, o: Outcome, index: Bits<16>, log2: Bits<8>) -> CommandDone {
    CommandDone {
        cookie,
        status: o.worst,
        failed: o.failed,
        reserved: bits::<31>(0),
        phase: (!(index >> log2)).get_bits::<1>(0),
    }
}

/// The next state.
#[kernel]
fn next_state(
    state: RingState,
    due: bool,
    news: RunBeat,
    finished: bool,
    ready: bool,
    done: bool,
) -> RingState {
    match state {
        RingState::Idle => {
            if due {
                RingState::Read
            } else {
                state
            }
        }
        RingState::Read => {
            if !news.done {
                state
            } else if news.error {
                RingState::Report
            } else {
                RingState::Work
            }
        }
        RingState::Work => {
            if finished {
                RingState::Report
            } else {
                state
            }
        }
        RingState::Report => {
            if ready {
                RingState::Flying
            } else {
                state
            }
        }
        RingState::Flying => {
            if done {
                RingState::Idle
            } else {
                state
            }
        }
    }
}

#[kernel]
impl Logic for CommandRing {
    fn update(&mut self) {
        dff_setup!(self, clock, state, taken, entry, outcome_of, landed);
        let (state, news, rings) = (self.state.q.val(), self.news.val(), self.rings.val());
        let taken = self.taken.q.val();
        let command = unpack::<Command, 256>(self.entry.q.val());
        let idle = state == RingState::Idle;
        let due = idle && self.enable.val() && rings.enable && taken != rings.cmd_producer;
        self.consumer.next = taken;
        self.idle.next = idle && (taken == rings.cmd_producer || !rings.enable);
        self.command.next = command;
        self.run.next = Run {
            start: due,
            iova: rings.cmd_base + (slot(taken, rings.cmd_log2) << COMMAND_SHIFT),
            beats: bits::<7>(COMMAND_BEATS),
        };
        let read = state == RingState::Read && news.done;
        self.start.next = read && !news.error;
        if state == RingState::Read && news.valid {
            self.entry.d.next = (self.entry.q.val() >> 64u64) | (bit_cast::<256, 64>(news.data) << 192u64);
        }
        if read {
            self.taken.d.next = taken + 1;
            self.outcome_of.d.next = Outcome { worst: bits::<8>(HARDWARE_FAILURE), failed: bits::<8>(1) };
        }
        if state == RingState::Work {
            self.outcome_of.d.next = self.outcome.val();
        }

        // The completion.
        let index = taken - 1;
        let done = completion(command.cookie, self.outcome_of.q.val(), index, rings.cmd_log2);
        let at = rings.cmd_done_base + (slot(index, rings.cmd_log2) << DONE_SHIFT);
        let data = bit_cast::<256, 64>(pack::<64, _>(done));
        self.write.valid.next = state == RingState::Report;
        self.write.cmd.next = reported(at, bits::<16>(DONE_BYTES), data);
        let landed = self.done_valid.val();
        self.landed.d.next = state == RingState::Flying && landed;
        self.irq.next = self.landed.q.val();
        self.state.d.next = next_state(state, due, news, self.finished.val(), self.write.ready.val(), landed);
        dff_reset!(self, reset, state, taken, landed);
    }
}
