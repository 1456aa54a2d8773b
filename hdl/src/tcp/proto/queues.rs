//! Queues of the intake: shadow records under way, and lists of connections.
use crate::mem::SdpRam;
use crate::prelude::*;
use crate::tcp::place::order::Commit;
use crate::types::WriteDone;

/// log2 of the orders whose shadow record may be under way or not taken back as an event.
const COMMIT_LOG2: usize = 6;
/// Bits of a count of them.
const COMMITS: usize = COMMIT_LOG2 + 1;
/// Above this many, only they are worked on; every pass in the pipeline may still order one.
const COMMITS_HIGH: u64 = (1 << COMMIT_LOG2) - 2 - PASSES;
/// Passes in the pipeline at most.
pub const PASSES: u64 = 4;

/// Shadow records: possible with every order of a pass, pushed when the placer has issued the write, answered in that order by the write engine, and taken
/// as events.
///
/// Latency: an answer counts at once. Throughput: one in, one answer per cycle, one out every second cycle. Back-pressure: none;
/// `high` says when no more may be ordered. Reset: empty.
#[derive(LogicBlock, Default)]
pub struct CommitQueue {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Reset.
    pub reset: Signal<In, Bit>,
    /// An order that may write one goes to the placer.
    pub order: Signal<In, Bit>,
    /// An order ends without one.
    pub unwritten: Signal<In, Bit>,
    /// It is on its way.
    pub push: Signal<In, Bit>,
    /// The record.
    pub commit: Signal<In, Commit>,
    /// The write engine answers.
    pub done_valid: Signal<In, Bit>,
    /// Its answer.
    pub done: Signal<In, WriteDone>,
    /// The oldest is durable.
    pub valid: Signal<Out, Bit>,
    /// The oldest; `fault` if its write failed.
    pub head: Signal<Out, Commit>,
    /// It is taken; not in two cycles in a row.
    pub take: Signal<In, Bit>,
    /// No more may be ordered.
    pub high: Signal<Out, Bit>,
    /// None is under way.
    pub idle: Signal<Out, Bit>,
    memory: SdpRam<Commit, COMMIT_LOG2>,
    wr: Dff<Bits<COMMITS>>,
    answered: Dff<Bits<COMMITS>>,
    rd: Dff<Bits<COMMITS>>,
    owed: Dff<Bits<COMMITS>>,
    errors: Dff<Bits<64>>,
}

#[kernel]
impl Logic for CommitQueue {
    fn update(&mut self) {
        dff_setup!(self, clock, wr, answered, rd, owed, errors);
        clock!(self, clock, memory);
        let (wr, answered, rd) = (self.wr.q.val(), self.answered.q.val(), self.rd.q.val());
        let (owed, errors) = (self.owed.q.val(), self.errors.q.val());
        let take = self.take.val();
        let head = self.memory.rdata.val();
        // The answer of this clock counts at once.
        let (done, is_done) = (self.done.val(), self.done_valid.val());
        let old = (errors >> bit_cast::<COMMIT_LOG2, COMMITS>(rd)).get_bit(0);
        let failed = if answered == rd { done.error } else { old };
        self.head.next = Commit { fault: head.fault || failed, ..head };
        self.valid.next = answered != rd || is_done;
        self.high.next = owed >= COMMITS_HIGH;
        self.idle.next = owed == 0;
        self.memory.re.next = true;
        self.memory.raddr.next = bit_cast::<COMMIT_LOG2, COMMITS>(rd);
        self.memory.we.next = self.push.val();
        self.memory.waddr.next = bit_cast::<COMMIT_LOG2, COMMITS>(wr);
        self.memory.wdata.next = self.commit.val();
        self.wr.d.next = wr + self.push.val();
        self.rd.d.next = rd + take;
        let less: Bits<1> = take.into();
        let fewer: Bits<1> = self.unwritten.val().into();
        self.owed.d.next =
            owed + self.order.val() - bit_cast::<COMMITS, 1>(less) - bit_cast::<COMMITS, 1>(fewer);
        if is_done {
            let bit = bits::<64>(1) << bit_cast::<COMMIT_LOG2, COMMITS>(answered);
            self.answered.d.next = answered + 1;
            self.errors.d.next = if done.error { errors | bit } else { errors & !bit };
        }
        dff_reset!(self, reset, wr, answered, rd, owed);
    }
}

/// A connection in a list, and the number of a job.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Listed {
    /// The connection.
    pub conn: Bits<16>,
    /// The job.
    pub job: Bits<16>,
}

/// A list in which every connection is at most once, so it cannot overflow.
///
/// Latency: an entry can be taken two cycles after it was pushed, when the memory has it. Throughput: one in per cycle, one out every
/// second cycle. Back-pressure: none. Reset: empty.
#[derive(LogicBlock, Default)]
pub struct ConnList<const LOG2: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Reset.
    pub reset: Signal<In, Bit>,
    /// `entry` goes in.
    pub push: Signal<In, Bit>,
    /// The entry.
    pub entry: Signal<In, Listed>,
    /// There is one to take.
    pub valid: Signal<Out, Bit>,
    /// The oldest.
    pub head: Signal<Out, Listed>,
    /// It is taken; not in two cycles in a row.
    pub take: Signal<In, Bit>,
    /// Nothing is in the list, and nothing comes.
    pub idle: Signal<Out, Bit>,
    memory: SdpRam<Listed, LOG2>,
    wr: Dff<Bits<16>>,
    seen: Dff<Bits<16>>,
    rd: Dff<Bits<16>>,
}

#[kernel]
impl<const LOG2: usize> Logic for ConnList<LOG2> {
    fn update(&mut self) {
        dff_setup!(self, clock, wr, seen, rd);
        clock!(self, clock, memory);
        let (wr, rd) = (self.wr.q.val(), self.rd.q.val());
        self.memory.re.next = true;
        self.memory.raddr.next = bit_cast::<LOG2, 16>(rd);
        self.memory.we.next = self.push.val();
        self.memory.waddr.next = bit_cast::<LOG2, 16>(wr);
        self.memory.wdata.next = self.entry.val();
        self.head.next = self.memory.rdata.val();
        self.valid.next = self.seen.q.val() != rd;
        self.idle.next = wr == rd && !self.push.val();
        self.seen.d.next = wr;
        self.wr.d.next = wr + self.push.val();
        self.rd.d.next = rd + self.take.val();
        dff_reset!(self, reset, wr, seen, rd);
    }
}
