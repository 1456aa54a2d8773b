//! Where PROTO's events come from: the queue of shadow records under way, the ready list, and whose turn it is.
//!
//! Order of the sources: durable shadow records, doorbells, commands, finished jobs, deadlines, a waiting
//! Terminate, segments, the ready list; but after a segment or a durable record the ready list has its turn
//! (law L5). All but the first wait while the queue of shadow records under way is nearly full, which the
//! write engine ends in bounded time.
//!
//! Latency: `choice` is combinational; an entry of a queue counts one cycle after it was written, when the
//! memory has it. Back-pressure: none; the queues cannot overflow (an event writes at most one shadow record,
//! a connection is in the ready list at most once). Reset: empty.
use super::news::Commit;
use super::step::Pick;
use crate::mem::SdpRam;
use crate::prelude::*;
use crate::types::WriteDone;

/// log2 of the shadow records that may be under way.
const COMMIT_LOG2: usize = 5;
/// Bits of a count of them.
const COMMITS: usize = COMMIT_LOG2 + 1;
/// Above this many, only they are worked on.
const COMMITS_HIGH: u64 = (1 << COMMIT_LOG2) - 2;

/// Which sources have something.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Offers {
    /// A durable shadow record.
    pub commit: Bit,
    /// A doorbell.
    pub bell: Bit,
    /// A command.
    pub op: Bit,
    /// A finished job.
    pub tx_done: Bit,
    /// A deadline.
    pub timer: Bit,
    /// A Terminate that may go on.
    pub close: Bit,
    /// A segment.
    pub rx: Bit,
    /// A connection that may send.
    pub tx: Bit,
}

/// The source whose turn it is.
#[kernel]
pub fn pick(o: Offers) -> Pick {
    if o.commit {
        Pick::Commit
    } else if o.bell {
        Pick::Bell
    } else if o.op {
        Pick::Op
    } else if o.tx_done {
        Pick::TxDone
    } else if o.timer {
        Pick::Timer
    } else if o.close {
        Pick::Close
    } else if o.rx {
        Pick::Rx
    } else if o.tx {
        Pick::Tx
    } else {
        Pick::None
    }
}

/// What the state machine tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Notes {
    /// The connection in work.
    pub conn: Bits<16>,
    /// An event is taken from this source.
    pub taken: Pick,
    /// A shadow record was given to the write engine.
    pub commit_push: Bit,
    /// What it counts.
    pub commit: Commit,
    /// The connection goes into the ready list.
    pub ready_push: Bit,
    /// A record was stored.
    pub stored: Bit,
    /// A Terminate of the connection begins to wait.
    pub close_begin: Bit,
    /// A command has ended.
    pub close_end: Bit,
}

/// What the state machine is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Agenda {
    /// Whose turn it is.
    pub choice: Pick,
    /// The oldest durable shadow record.
    pub commit: Commit,
    /// It could not be written.
    pub commit_error: Bit,
    /// The oldest connection of the ready list.
    pub ready_conn: Bits<16>,
    /// The connection of the Terminate that waits.
    pub close_conn: Bits<16>,
    /// Nothing is under way or waiting here.
    pub idle: Bit,
}

/// The block.
#[derive(LogicBlock, Default)]
pub struct Sources<const LOG2: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Reset.
    pub reset: Signal<In, Bit>,
    /// New events may be started.
    pub enable: Signal<In, Bit>,
    /// Doorbell offered.
    pub doorbell_valid: Signal<In, Bit>,
    /// Command offered.
    pub op_valid: Signal<In, Bit>,
    /// Finished job offered.
    pub tx_done_valid: Signal<In, Bit>,
    /// Expired connection offered.
    pub expired_valid: Signal<In, Bit>,
    /// Segment offered.
    pub rx_seg_valid: Signal<In, Bit>,
    /// The transmitter has room for a job.
    pub tx_job_ready: Signal<In, Bit>,
    /// Report of the write engine.
    pub write_done: Signal<In, WriteDone>,
    /// Report offered; always taken.
    pub write_done_valid: Signal<In, Bit>,
    /// From the state machine.
    pub notes: Signal<In, Notes>,
    /// To the state machine.
    pub agenda: Signal<Out, Agenda>,
    /// Doorbell taken.
    pub doorbell_ready: Signal<Out, Bit>,
    /// Command taken.
    pub op_ready: Signal<Out, Bit>,
    /// Finished job taken.
    pub tx_done_ready: Signal<Out, Bit>,
    /// Expired connection taken.
    pub expired_ready: Signal<Out, Bit>,
    /// Segment taken.
    pub rx_seg_ready: Signal<Out, Bit>,
    commits: SdpRam<Commit, COMMIT_LOG2>,
    ready: SdpRam<Bits<16>, LOG2>,
    commit_wr: Dff<Bits<COMMITS>>,
    commit_done: Dff<Bits<COMMITS>>,
    commit_rd: Dff<Bits<COMMITS>>,
    errors: Dff<Bits<32>>,
    ready_wr: Dff<Bits<16>>,
    ready_seen: Dff<Bits<16>>,
    ready_rd: Dff<Bits<16>>,
    tx_turn: Dff<Bit>,
    closing: Dff<Bit>,
    check: Dff<Bit>,
    conn: Dff<Bits<16>>,
}

#[kernel]
impl<const LOG2: usize> Logic for Sources<LOG2> {
    fn update(&mut self) {
        dff_setup!(self, clock, commit_wr, commit_done, commit_rd, errors, ready_wr, ready_seen, ready_rd);
        dff_setup!(self, clock, tx_turn, closing, check, conn);
        clock!(self, clock, commits, ready);
        let n = self.notes.val();
        let (wr, done, rd) = (self.commit_wr.q.val(), self.commit_done.q.val(), self.commit_rd.q.val());
        let room = (wr - rd) < COMMITS_HIGH;
        let on = room && self.enable.val();
        let waits = self.ready_seen.q.val() != self.ready_rd.q.val();
        // An acknowledgment goes out before the next segment or record adds to it, also while its entry is
        // on its way into the list.
        let entered = self.ready_wr.q.val() != self.ready_rd.q.val();
        let turn = on && entered && self.tx_job_ready.val() && self.tx_turn.q.val();
        let choice = pick(Offers {
            commit: done != rd && !turn,
            bell: on && self.doorbell_valid.val(),
            op: on && self.op_valid.val() && !self.closing.q.val(),
            tx_done: room && self.tx_done_valid.val(),
            timer: on && self.expired_valid.val(),
            close: room && self.closing.q.val() && self.check.q.val(),
            rx: on && self.rx_seg_valid.val() && !turn,
            tx: on && waits && self.tx_job_ready.val(),
        });
        let errors = self.errors.q.val() >> bit_cast::<COMMIT_LOG2, COMMITS>(rd);
        self.agenda.next = Agenda {
            choice,
            commit: self.commits.rdata.val(),
            commit_error: errors.get_bit(0),
            ready_conn: self.ready.rdata.val(),
            close_conn: self.conn.q.val(),
            idle: wr == rd && !entered && !self.closing.q.val(),
        };
        self.doorbell_ready.next = n.taken == Pick::Bell;
        self.op_ready.next = n.taken == Pick::Op;
        self.tx_done_ready.next = n.taken == Pick::TxDone;
        self.expired_ready.next = n.taken == Pick::Timer;
        self.rx_seg_ready.next = n.taken == Pick::Rx;

        // Shadow records under way: pushed, answered in order, taken as events.
        let bit = bits::<32>(1) << bit_cast::<COMMIT_LOG2, COMMITS>(done);
        self.commits.re.next = true;
        self.commits.raddr.next = bit_cast::<COMMIT_LOG2, COMMITS>(rd);
        self.commits.we.next = n.commit_push;
        self.commits.waddr.next = bit_cast::<COMMIT_LOG2, COMMITS>(wr);
        self.commits.wdata.next = n.commit;
        self.commit_wr.d.next = wr + n.commit_push;
        self.commit_rd.d.next = rd + (n.taken == Pick::Commit);
        if self.write_done_valid.val() {
            let error = self.write_done.val().error;
            self.commit_done.d.next = done + 1;
            self.errors.d.next = if error { self.errors.q.val() | bit } else { self.errors.q.val() & !bit };
        }

        // Ready list.
        self.ready.re.next = true;
        self.ready.raddr.next = bit_cast::<LOG2, 16>(self.ready_rd.q.val());
        self.ready.we.next = n.ready_push;
        self.ready.waddr.next = bit_cast::<LOG2, 16>(self.ready_wr.q.val());
        self.ready.wdata.next = n.conn;
        self.ready_seen.d.next = self.ready_wr.q.val();
        self.ready_wr.d.next = self.ready_wr.q.val() + n.ready_push;
        self.ready_rd.d.next = self.ready_rd.q.val() + (n.taken == Pick::Tx);
        if n.taken == Pick::Rx || n.taken == Pick::Commit || n.taken == Pick::Tx {
            self.tx_turn.d.next = n.taken != Pick::Tx;
        }

        // A Terminate looks again whenever something was stored.
        self.check.d.next = n.stored || (self.check.q.val() && n.taken != Pick::Close);
        if n.close_begin {
            self.closing.d.next = true;
            self.conn.d.next = n.conn;
        }
        if n.close_end {
            self.closing.d.next = false;
        }
        dff_reset!(self, reset, commit_wr, commit_done, commit_rd, ready_wr, ready_seen, ready_rd, tx_turn);
        dff_reset!(self, reset, closing, check);
    }
}
