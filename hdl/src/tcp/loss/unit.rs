//! The unit: one job at a time, over the records of all connections in a block RAM of two rows each.
//!
//! ```text
//!   Idle --> Load --> LoadBoard --+--> Run (program: 0 .. 14) --+--> Decide --> growth or recovery --> Answer --> Done
//!                                 `--> Event --> Run (8 .. 14) -'
//! ```
//!
//! The row of the scoreboard stays at the memory's output while the job is in hand: it is the scoreboard before the event. For a
//! first job an empty one takes its place.
//!
//! Latency, from a job taken to its answer: an acknowledgment 21 clocks, two more for each block, and one for each range known
//! before, each known after it and each that goes, because it is acknowledged or merged; one more if a probe repaired a loss:
//! at most 41; and 20 more if it begins a recovery. Other events 16, and one for each range; a hand-over up to 33. Throughput:
//! one job at a time. Back-pressure: `job_ready` is low while a job is in hand; the answer stays until `result_ready`. Reset:
//! no job. The records need none: a connection's first job reads nothing that must be right, and its hand-over writes all of it.
use super::board::{Board, Tail, BOARD};
use super::hand::{Hand, LossState, Rest};
use super::job::{LossJob, LossResult};
use super::program::{clock, flow, loaded};
use super::step::{after_walks, board_loaded, event, result};
use crate::mem::SdpRam;
use crate::prelude::*;

/// Bits of a row.
pub const ROW: usize = 576;
/// Bits of [`Rest`].
pub const REST: usize = super::rack::RACK + super::prr::PRR + super::tlp::TLP + 32 + RECOVERY;
/// Bits of a [`Recovery`](crate::tcp::cwnd::Recovery).
const RECOVERY: usize = 5 * 32 + 2 * 8 + 1 + crate::tcp::cwnd::EPOCH;

/// The block, for `1 << (AW - 1)` connections. See the module page.
#[derive(LogicBlock, Default)]
pub struct LossUnit<const AW: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Reset.
    pub reset: Signal<In, Bit>,
    /// A job is offered.
    pub job_valid: Signal<In, Bit>,
    /// The job.
    pub job: Signal<In, LossJob>,
    /// It is taken.
    pub job_ready: Signal<Out, Bit>,
    /// An answer is offered.
    pub result_valid: Signal<Out, Bit>,
    /// The answer.
    pub result: Signal<Out, LossResult>,
    /// It is taken.
    pub result_ready: Signal<In, Bit>,
    /// All registers of the job in hand; a test compares them with the model.
    pub hand: Dff<Hand>,
    ram: SdpRam<Bits<ROW>, AW>,
}

/// The row of a connection.
#[kernel]
fn row<const AW: usize>(conn: Bits<16>, is_rest: bool) -> Bits<AW> {
    bit_cast::<AW, 17>(cat::<17, _>((conn, is_rest)))
}

/// The scoreboard before the event. Lanes that are not in use say nothing.
#[kernel]
fn before(row: Board, j: LossJob) -> Board {
    if j.is_first {
        Board { len: bits::<3>(0), tail: Tail { rxt_end: j.from, lost_to: j.from, ..Tail::default() }, ..row }
    } else {
        row
    }
}

#[kernel]
impl<const AW: usize> Logic for LossUnit<AW> {
    fn update(&mut self) {
        dff_setup!(self, clock, hand);
        clock!(self, clock, ram);
        let h = self.hand.q.val();
        let data = self.ram.rdata.val();
        self.job_ready.next = h.st == LossState::Idle;
        self.result_valid.next = h.st == LossState::Done;
        self.result.next = result(h);
        self.ram.re.next = h.st == LossState::Load || h.st == LossState::Idle;
        self.ram.raddr.next = if h.st == LossState::Idle {
            row::<AW>(self.job.val().conn, true)
        } else {
            row::<AW>(h.j.conn, false)
        };
        self.ram.we.next = h.st == LossState::Answer || h.st == LossState::Done;
        self.ram.waddr.next = row::<AW>(h.j.conn, h.st == LossState::Done);
        self.ram.wdata.next = if h.st == LossState::Done {
            bit_cast::<ROW, REST>(pack::<REST, _>(h.r))
        } else if h.st == LossState::Answer {
            bit_cast::<ROW, BOARD>(pack::<BOARD, _>(h.board))
        } else {
            bits::<ROW>(0)
        };
        // While nothing is in hand nothing is worked out.
        if h.st == LossState::Idle {
            if self.job_valid.val() {
                self.hand.d.next = Hand { st: LossState::Load, j: self.job.val(), ..h };
            }
        } else {
            let board = before(unpack::<Board, BOARD>(bit_cast::<BOARD, ROW>(data)), h.j);
            let n = flow(h, board);
            match h.st {
                LossState::Load => {
                    self.hand.d.next = loaded(n, unpack::<Rest, REST>(bit_cast::<REST, ROW>(data)));
                }
                LossState::LoadBoard => self.hand.d.next = board_loaded(h, n, board),
                LossState::Event => self.hand.d.next = event(h, n),
                LossState::Run => self.hand.d.next = clock(h, n),
                LossState::Done => {
                    if self.result_ready.val() {
                        self.hand.d.next = Hand { st: LossState::Idle, ..h };
                    }
                }
                _ => self.hand.d.next = after_walks(h, n),
            }
        }
        dff_reset!(self, reset, hand);
    }
}
