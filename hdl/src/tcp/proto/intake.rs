//! Whose turn it is: the sources of events, the queues behind them, and what keeps a pass from starting.
//!
//! Order of the sources: durable shadow records, answers of the loss unit, doorbells, commands, failed jobs, deadlines, a waiting Terminate, a SND.UNA to publish,
//! segments, the ready list; but after a segment or a durable record the ready list has its turn (law L5). A source waits while its
//! connection is in the pipeline before the stage whose result the next pass can take over; all but the first wait while the queues
//! behind the pipeline may fill, which the write engine ends in bounded time.
//!
//! The loss unit has room for a job of every pass that may have one: deadlines and commands start only then. Its answers wait for none of
//! this, so it always ends. Segments and turns of the ready list do not wait for it (law L5): while it has no room nothing is sent again and
//! no probe goes out, but what is new does; and while it has little, it hears of an acknowledgment later (`Guard::is_behind`).
//!
//! A pass may issue one job, if room for it was promised when it started: to a connection of the ready list, or to any when that list is
//! empty. So nobody's turn is used up by somebody else's pass.
//!
//! Text needs pages reserved for it. If there are not enough, nothing else starts until the placer has said whether
//! this text fits all the same; that is bounded by its queue and one read.
//!
//! Latency: `news` is combinational. Throughput: an event every second cycle. Back-pressure: none; the queues (`queues`) cannot overflow.
//! Reset: empty.
use super::event::{
    conn_of, is_clear, is_done, pages_for, pick, waits_for, Busy, Event, Jobs, Offers, Outcome,
};
use super::pipe::{JOBS, JOBS_LOG2};
use super::queues::{CommitQueue, ConnList, Listed, PASSES};
use super::step::Pick;
use crate::prelude::*;
use crate::tcp::loss::queue::Due as Answer;
use crate::tcp::pages::COUNT;
use crate::tcp::place::order::{Commit, PlaceAsk, PlaceFits};
use crate::tcp::place::placer::ORDERS;
use crate::tcp::watchdog::Due;
use crate::types::{Doorbell, RxSeg, TxDone, WriteDone};

/// Orders that may wait in front of the placer when a pass starts: there is room for its own, and for those of all that are under way.
const ORDERS_HIGH: u64 = (1 << (ORDERS - 1)) - PASSES - 1;

/// The block.
#[derive(LogicBlock, Default)]
pub struct Intake<const LOG2: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Reset.
    pub reset: Signal<In, Bit>,
    /// Records and deadlines are there: what others ask for may be started.
    pub is_swept: Signal<In, Bit>,
    /// And so may what begins of itself: deadlines, and turns of the ready list.
    pub enable: Signal<In, Bit>,
    /// Nothing is under way or waiting here, but for turns of the ready list while `enable` is 0.
    pub idle: Signal<Out, Bit>,
    /// The event whose turn it is; it is taken.
    pub news: Signal<Out, Event>,
    /// What is in the pipeline.
    pub busy: Signal<In, Busy>,
    /// What comes out of it.
    pub outcome: Signal<In, Outcome>,
    /// Jobs issued, and those that the transmitter is done with.
    pub numbers: Signal<Out, Jobs>,
    /// Of the loss unit: an answer, whose it is, and whether it has room for a job of every pass.
    pub loss: Signal<In, Answer>,
    /// Answer taken.
    pub loss_ready: Signal<Out, Bit>,
    /// Doorbell.
    pub doorbell: Signal<In, Doorbell>,
    /// Doorbell offered.
    pub doorbell_valid: Signal<In, Bit>,
    /// Doorbell taken.
    pub doorbell_ready: Signal<Out, Bit>,
    /// Connection of a command.
    pub op_conn: Signal<In, Bits<16>>,
    /// Command offered.
    pub op_valid: Signal<In, Bit>,
    /// Command taken.
    pub op_ready: Signal<Out, Bit>,
    /// A Terminate of `op_conn` may go on.
    pub close_valid: Signal<In, Bit>,
    /// It does.
    pub close_ready: Signal<Out, Bit>,
    /// Finished job.
    pub tx_done: Signal<In, TxDone>,
    /// Finished job offered.
    pub tx_done_valid: Signal<In, Bit>,
    /// Finished job taken.
    pub tx_done_ready: Signal<Out, Bit>,
    /// A connection with an expired deadline, or with a notice of the watchdog.
    pub due: Signal<In, Due>,
    /// It is taken.
    pub due_ready: Signal<Out, Bit>,
    /// Segment.
    pub rx_seg: Signal<In, RxSeg>,
    /// Segment offered.
    pub rx_seg_valid: Signal<In, Bit>,
    /// Segment taken.
    pub rx_seg_ready: Signal<Out, Bit>,
    /// The transmitter took a job.
    pub job_gone: Signal<In, Bit>,
    /// Report of the write engine; always taken.
    pub write_done: Signal<In, WriteDone>,
    /// Report offered.
    pub write_done_valid: Signal<In, Bit>,
    /// Shadow record under way.
    pub commit: Signal<In, Commit>,
    /// There is one in this cycle.
    pub commit_valid: Signal<In, Bit>,
    /// An order ended without one.
    pub unwritten: Signal<In, Bit>,
    /// Orders that wait in front of the placer.
    pub orders: Signal<In, Bits<ORDERS>>,
    /// Pages that can be reserved.
    pub free_pages: Signal<In, Bits<COUNT>>,
    /// Reserves pages.
    pub reserve: Signal<Out, Bits<3>>,
    /// Question to the placer.
    pub ask: Signal<Out, PlaceAsk>,
    /// Asked.
    pub ask_valid: Signal<Out, Bit>,
    /// Its answer.
    pub fits: Signal<In, PlaceFits>,
    commits: CommitQueue,
    ready: ConnList<LOG2>,
    waiting: ConnList<LOG2>,
    promised: Dff<Bits<JOBS>>,
    returned: Dff<Bits<JOBS>>,
    jobs: Dff<Bits<16>>,
    jobs_done: Dff<Bits<16>>,
    fail: Dff<TxDone>,
    has_failed: Dff<Bit>,
    tx_turn: Dff<Bit>,
    gap: Dff<Bit>,
    asking: Dff<Bit>,
    answer: Dff<PlaceFits>,
}

#[kernel]
impl<const LOG2: usize> Logic for Intake<LOG2> {
    fn update(&mut self) {
        dff_setup!(self, clock, promised, returned, jobs, jobs_done, fail, has_failed);
        dff_setup!(self, clock, tx_turn, gap, asking, answer);
        clock!(self, clock, commits, ready, waiting);
        reset!(self, reset, commits, ready, waiting);
        let (busy, out, due) = (self.busy.val(), self.outcome.val(), self.due.val());
        let (jobs, jobs_done) = (self.jobs.q.val(), self.jobs_done.q.val());
        let (seg, answer) = (self.rx_seg.val(), self.answer.q.val());
        let (head, ready_conn) = (self.waiting.head.val(), self.ready.head.val().conn);

        // Who may start. Room for a job is promised when a pass starts, and to those that wait in the list first (law L5).
        let has_room = self.promised.q.val() - self.returned.q.val() < (1 << JOBS_LOG2);
        let (commit, need) = (self.commits.head.val(), pages_for(seg.seq, seg.payload_len));
        let has_pages = bit_cast::<COUNT, 3>(need) <= self.free_pages.val();
        let held = self.asking.q.val() || answer.valid;
        let start = !self.gap.q.val() && self.orders.val() <= ORDERS_HIGH;
        let free = start && !self.commits.high.val();
        let (room, unit) = (free && !held, self.loss.val().has_room);
        let on = room && self.is_swept.val();
        let goes = on && self.enable.val();
        let tx = goes && self.ready.valid.val() && has_room && is_clear::<LOG2>(busy, ready_conn);
        let turn = tx && self.tx_turn.q.val();
        let rx = self.rx_seg_valid.val() && is_clear::<LOG2>(busy, seg.conn);
        // A command sees every doorbell written before it.
        let op = self.op_valid.val() && !self.doorbell_valid.val();
        let numbers = Jobs { issued: jobs, finished: jobs_done };
        let publish = self.waiting.valid.val() && is_done(numbers, head.job);
        let commits = start && !held && self.commits.valid.val() && !turn;
        let choice = pick(Offers {
            commit: commits && is_clear::<LOG2>(busy, commit.conn),
            loss: free && self.loss.val().valid && is_clear::<LOG2>(busy, self.loss.val().conn),
            bell: on && self.doorbell_valid.val() && is_clear::<LOG2>(busy, self.doorbell.val().conn),
            op: on && unit && op && is_clear::<LOG2>(busy, self.op_conn.val()),
            tx_fail: room && self.has_failed.q.val() && is_clear::<LOG2>(busy, self.fail.q.val().conn),
            timer: goes && unit && due.valid && is_clear::<LOG2>(busy, due.conn),
            close: room && self.close_valid.val() && is_clear::<LOG2>(busy, self.op_conn.val()),
            publish: room && publish && is_clear::<LOG2>(busy, head.conn),
            rx: rx && ((on && has_pages && !turn) || (start && answer.valid)),
            tx,
        });

        // The event.
        let no_pages = answer.valid && !answer.pages;
        let e = Event {
            pick: choice,
            seg,
            bell: self.doorbell.val(),
            done: self.fail.q.val(),
            commit,
            reserved: if choice == Pick::Rx && !no_pages { need } else { bits::<3>(0) },
            no_pages,
            no_post: answer.valid && !answer.post,
            may_send: choice == Pick::Tx || (choice != Pick::None && has_room && self.ready.idle.val()),
            is_deaf: !self.loss.val().hears,
            has_unit: unit,
            notice: if choice == Pick::Timer { due.notice } else { bits::<4>(0) },
            ..Event::default()
        };
        let named = (self.op_conn.val(), self.loss.val().conn, due.conn);
        let conn = conn_of(choice, e, named, head.conn, ready_conn);
        self.news.next = Event { conn, ..e };
        self.reserve.next = e.reserved;
        self.loss_ready.next = choice == Pick::Loss;
        self.doorbell_ready.next = choice == Pick::Bell;
        self.op_ready.next = choice == Pick::Op;
        self.close_ready.next = choice == Pick::Close;
        self.due_ready.next = choice == Pick::Timer;
        self.rx_seg_ready.next = choice == Pick::Rx;
        self.gap.d.next = choice != Pick::None;
        if choice == Pick::Rx || choice == Pick::Commit || choice == Pick::Tx {
            self.tx_turn.d.next = choice != Pick::Tx;
        }

        // The question whether text fits: when nothing is under way that could change the answer.
        let lacks = self.is_swept.val() && rx && !has_pages && !answer.valid;
        self.asking.d.next = if self.asking.q.val() { !self.fits.val().valid } else { lacks };
        self.ask_valid.next = self.asking.q.val() && !busy.any && self.orders.val() == 0;
        self.ask.next = PlaceAsk { conn: seg.conn, seq: seg.seq, len: seg.payload_len };
        self.answer.d.next = waits_for(answer, self.fits.val(), choice == Pick::Rx);

        // The queues.
        self.commits.order.next = out.order;
        self.commits.unwritten.next = self.unwritten.val();
        self.commits.push.next = self.commit_valid.val();
        self.commits.commit.next = self.commit.val();
        self.commits.done_valid.next = self.write_done_valid.val();
        self.commits.done.next = self.write_done.val();
        self.commits.take.next = choice == Pick::Commit;
        self.ready.push.next = out.ready;
        self.ready.entry.next = Listed { conn: out.conn, job: bits::<16>(0) };
        self.ready.take.next = choice == Pick::Tx;

        // Jobs, numbered as issued and done in that order; SND.UNA that waits for them.
        self.waiting.push.next = out.wait;
        self.waiting.entry.next = Listed { conn: out.conn, job: jobs };
        self.waiting.take.next = choice == Pick::Publish;
        self.promised.d.next = self.promised.q.val() + e.may_send;
        self.returned.d.next = self.returned.q.val() + self.job_gone.val() + out.no_job;
        let finishes = self.tx_done_valid.val() && !self.has_failed.q.val();
        self.tx_done_ready.next = !self.has_failed.q.val();
        self.jobs.d.next = jobs + out.job;
        self.jobs_done.d.next = jobs_done + finishes;
        self.numbers.next = numbers;
        let fails = finishes && self.tx_done.val().result != 0;
        self.has_failed.d.next = fails || (self.has_failed.q.val() && choice != Pick::TxFail);
        self.fail.d.next = if fails { self.tx_done.val() } else { self.fail.q.val() };
        let wants = self.enable.val() && !self.ready.idle.val();
        let queued = !self.commits.idle.val() || wants || !self.waiting.idle.val();
        self.idle.next = !queued && jobs == jobs_done && !held && choice == Pick::None && !busy.any;
        dff_reset!(self, reset, promised, returned, jobs, jobs_done, has_failed);
        dff_reset!(self, reset, tx_turn, gap, asking, answer);
    }
}
