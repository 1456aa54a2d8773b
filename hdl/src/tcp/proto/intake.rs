//! Whose turn it is: the sources of events, the queues behind them, and what keeps a pass from starting.
//!
//! Order of the sources: durable shadow records, doorbells, commands, failed jobs, deadlines, a waiting Terminate, a SND.UNA to publish,
//! segments, the ready list; but after a segment or a durable record the ready list has its turn (law L5). A source waits while its
//! connection is in the pipeline before the stage whose result the next pass can take over; all but the first wait while the queues
//! behind the pipeline may fill, which the write engine ends in bounded time.
//!
//! Text needs pages reserved for it. If there are not enough, nothing else starts until the placer has said whether
//! this text fits all the same; that is bounded by its queue and one read.
//!
//! Latency: `news` is combinational; an entry of a queue counts one cycle after it was written, when the memory has it. Throughput: an
//! event every second cycle. Back-pressure: none; the queues cannot overflow (an event orders at most one shadow record, a connection is
//! in a list at most once). Reset: empty.
use super::step::Pick;
use crate::mem::SdpRam;
use crate::prelude::*;
use crate::tcp::pages::COUNT;
use crate::tcp::place::order::{Commit, PlaceAsk, PlaceFits};
use crate::tcp::place::placer::ORDERS;
use crate::types::{Doorbell, RxSeg, TxDone, WriteDone};
use chimney_abi::desc::PAGE_BYTES;

/// log2 of the shadow records that may be ordered and not taken back as events.
const COMMIT_LOG2: usize = 6;
/// Bits of a count of them.
const COMMITS: usize = COMMIT_LOG2 + 1;
/// Passes in the pipeline at most.
const PASSES: u64 = 4;
/// Above this many, only they are worked on.
const COMMITS_HIGH: u64 = (1 << COMMIT_LOG2) - 2 - PASSES;
/// Orders that may wait in front of the placer when a pass starts.
const ORDERS_HIGH: u64 = (1 << (ORDERS - 1)) - PASSES;

/// Which sources have something.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Offers {
    /// A durable shadow record.
    pub commit: Bit,
    /// A doorbell.
    pub bell: Bit,
    /// A command.
    pub op: Bit,
    /// A failed job.
    pub tx_fail: Bit,
    /// A deadline.
    pub timer: Bit,
    /// A Terminate that may go on.
    pub close: Bit,
    /// A SND.UNA to publish.
    pub publish: Bit,
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
    } else if o.tx_fail {
        Pick::TxFail
    } else if o.timer {
        Pick::Timer
    } else if o.close {
        Pick::Close
    } else if o.publish {
        Pick::Publish
    } else if o.rx {
        Pick::Rx
    } else if o.tx {
        Pick::Tx
    } else {
        Pick::None
    }
}

/// An event.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Event {
    /// Its kind; `None`: there is none.
    pub pick: Pick,
    /// Its connection.
    pub conn: Bits<16>,
    /// Segment.
    pub seg: RxSeg,
    /// Doorbell.
    pub bell: Doorbell,
    /// Failed job.
    pub done: TxDone,
    /// Durable shadow record.
    pub commit: Commit,
    /// Pages reserved.
    pub reserved: Bits<3>,
    /// There are no pages for all of the text.
    pub no_pages: Bit,
    /// The post in use does not take all of it either.
    pub no_post: Bit,
}

/// Connections whose records are not to be read now: one that may be in the fetch stage, and four behind it.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Busy {
    /// A pass is there.
    pub v0: Bit,
    /// Its connection.
    pub c0: Bits<16>,
    /// See `v0`.
    pub v1: Bit,
    /// See `c0`.
    pub c1: Bits<16>,
    /// See `v0`.
    pub v2: Bit,
    /// See `c0`.
    pub c2: Bits<16>,
    /// See `v0`.
    pub v3: Bit,
    /// See `c0`.
    pub c3: Bits<16>,
    /// See `v0`.
    pub v4: Bit,
    /// See `c0`.
    pub c4: Bits<16>,
    /// A pass is anywhere.
    pub any: Bit,
}

/// The connection may be read.
#[kernel]
fn is_clear(b: Busy, conn: Bits<16>) -> bool {
    !((b.v0 && b.c0 == conn)
        || (b.v1 && b.c1 == conn)
        || (b.v2 && b.c2 == conn)
        || (b.v3 && b.c3 == conn)
        || (b.v4 && b.c4 == conn))
}

/// What the last stage tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Outcome {
    /// The connection.
    pub conn: Bits<16>,
    /// A shadow record was ordered.
    pub publish: Bit,
    /// A job was issued.
    pub job: Bit,
    /// The connection goes into the ready list.
    pub ready: Bit,
    /// Its SND.UNA waits for the jobs issued before.
    pub wait: Bit,
}

/// SND.UNA that waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
struct Waiting {
    conn: Bits<16>,
    /// Number of the newest job that may read below it.
    job: Bits<16>,
}

/// The block.
#[derive(LogicBlock, Default)]
pub struct Intake<const LOG2: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Reset.
    pub reset: Signal<In, Bit>,
    /// New events may be started.
    pub enable: Signal<In, Bit>,
    /// Nothing is under way or waiting here.
    pub idle: Signal<Out, Bit>,
    /// The event whose turn it is; it is taken.
    pub news: Signal<Out, Event>,
    /// What is in the pipeline.
    pub busy: Signal<In, Busy>,
    /// What comes out of it.
    pub outcome: Signal<In, Outcome>,
    /// Number of the newest job.
    pub issued: Signal<Out, Bits<16>>,
    /// Jobs the transmitter is done with.
    pub finished: Signal<Out, Bits<16>>,
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
    /// Expired connection.
    pub expired_conn: Signal<In, Bits<16>>,
    /// Expired connection offered.
    pub expired_valid: Signal<In, Bit>,
    /// Expired connection taken.
    pub expired_ready: Signal<Out, Bit>,
    /// Segment.
    pub rx_seg: Signal<In, RxSeg>,
    /// Segment offered.
    pub rx_seg_valid: Signal<In, Bit>,
    /// Segment taken.
    pub rx_seg_ready: Signal<Out, Bit>,
    /// The transmitter has room for a job.
    pub job_room: Signal<In, Bit>,
    /// Report of the write engine; always taken.
    pub write_done: Signal<In, WriteDone>,
    /// Report offered.
    pub write_done_valid: Signal<In, Bit>,
    /// Shadow record under way.
    pub commit: Signal<In, Commit>,
    /// There is one in this cycle.
    pub commit_valid: Signal<In, Bit>,
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
    commits: SdpRam<Commit, COMMIT_LOG2>,
    ready: SdpRam<Bits<16>, LOG2>,
    waiting: SdpRam<Waiting, LOG2>,
    commit_wr: Dff<Bits<COMMITS>>,
    commit_done: Dff<Bits<COMMITS>>,
    commit_rd: Dff<Bits<COMMITS>>,
    owed: Dff<Bits<COMMITS>>,
    errors: Dff<Bits<64>>,
    ready_wr: Dff<Bits<16>>,
    ready_seen: Dff<Bits<16>>,
    ready_rd: Dff<Bits<16>>,
    wait_wr: Dff<Bits<16>>,
    wait_seen: Dff<Bits<16>>,
    wait_rd: Dff<Bits<16>>,
    jobs: Dff<Bits<16>>,
    jobs_done: Dff<Bits<16>>,
    fail: Dff<TxDone>,
    has_failed: Dff<Bit>,
    tx_turn: Dff<Bit>,
    gap: Dff<Bit>,
    asking: Dff<Bit>,
    answer: Dff<PlaceFits>,
}

/// Pages that text may touch.
#[kernel]
fn pages_for(seq: Bits<32>, len: Bits<16>) -> Bits<3> {
    let end = bit_cast::<16, 12>(seq.get_bits::<12>(0)) + len + LAST;
    if len == 0 {
        bits::<3>(0)
    } else {
        end.get_bits::<3>(12)
    }
}

/// Rounds up to a page.
const LAST: u64 = PAGE_BYTES as u64 - 1;

/// The connection of the event.
#[kernel]
fn conn_of(
    p: Pick,
    e: Event,
    op: Bits<16>,
    expired: Bits<16>,
    waiting: Bits<16>,
    ready: Bits<16>,
) -> Bits<16> {
    match p {
        Pick::Commit => e.commit.conn,
        Pick::Bell => e.bell.conn,
        Pick::Op | Pick::Close => op,
        Pick::TxFail => e.done.conn,
        Pick::Timer => expired,
        Pick::Publish => waiting,
        Pick::Rx => e.seg.conn,
        Pick::Tx | Pick::None => ready,
    }
}

#[kernel]
impl<const LOG2: usize> Logic for Intake<LOG2> {
    fn update(&mut self) {
        dff_setup!(
            self,
            clock,
            commit_wr,
            commit_done,
            commit_rd,
            owed,
            errors,
            ready_wr,
            ready_seen,
            ready_rd
        );
        dff_setup!(self, clock, wait_wr, wait_seen, wait_rd, jobs, jobs_done, fail, has_failed, tx_turn, gap);
        dff_setup!(self, clock, asking, answer);
        clock!(self, clock, commits, ready, waiting);
        let (busy, out) = (self.busy.val(), self.outcome.val());
        let (wr, done, rd) = (self.commit_wr.q.val(), self.commit_done.q.val(), self.commit_rd.q.val());
        let (jobs, jobs_done) = (self.jobs.q.val(), self.jobs_done.q.val());
        let seg = self.rx_seg.val();
        let head = self.waiting.rdata.val();
        let ready_conn = self.ready.rdata.val();
        let answer = self.answer.q.val();

        // Who may start.
        let errors = self.errors.q.val() >> bit_cast::<COMMIT_LOG2, COMMITS>(rd);
        let commit = self.commits.rdata.val();
        let commit = Commit { fault: commit.fault || errors.get_bit(0), ..commit };
        let need = pages_for(seg.seq, seg.payload_len);
        let has_pages = bit_cast::<COUNT, 3>(need) <= self.free_pages.val();
        let held = self.asking.q.val() || answer.valid;
        let start = !self.gap.q.val() && self.orders.val() <= ORDERS_HIGH;
        let room = start && self.owed.q.val() < COMMITS_HIGH && !held;
        let on = room && self.enable.val();
        let waits = self.ready_seen.q.val() != self.ready_rd.q.val();
        let tx = on && waits && self.job_room.val() && is_clear(busy, ready_conn);
        let turn = tx && self.tx_turn.q.val();
        let rx = self.rx_seg_valid.val() && is_clear(busy, seg.conn);
        let publish = self.wait_seen.q.val() != self.wait_rd.q.val() && !(jobs_done - head.job).get_bit(15);
        let choice = pick(Offers {
            commit: start && !held && done != rd && !turn && is_clear(busy, commit.conn),
            bell: on && self.doorbell_valid.val() && is_clear(busy, self.doorbell.val().conn),
            // A command sees every doorbell written before it.
            op: on && self.op_valid.val() && !self.doorbell_valid.val() && is_clear(busy, self.op_conn.val()),
            tx_fail: room && self.has_failed.q.val() && is_clear(busy, self.fail.q.val().conn),
            timer: on && self.expired_valid.val() && is_clear(busy, self.expired_conn.val()),
            close: room && self.close_valid.val() && is_clear(busy, self.op_conn.val()),
            publish: room && publish && is_clear(busy, head.conn),
            rx: rx && ((on && has_pages && !turn) || (start && answer.valid)),
            tx,
        });

        // The event.
        let asked = answer.valid;
        let kept = if asked && !answer.pages { bits::<3>(0) } else { need };
        let e = Event {
            pick: choice,
            conn: bits::<16>(0),
            seg,
            bell: self.doorbell.val(),
            done: self.fail.q.val(),
            commit,
            reserved: if choice == Pick::Rx { kept } else { bits::<3>(0) },
            no_pages: asked && !answer.pages,
            no_post: asked && !answer.post,
        };
        let conn = conn_of(choice, e, self.op_conn.val(), self.expired_conn.val(), head.conn, ready_conn);
        self.news.next = Event { conn, ..e };
        self.reserve.next = e.reserved;
        self.doorbell_ready.next = choice == Pick::Bell;
        self.op_ready.next = choice == Pick::Op;
        self.close_ready.next = choice == Pick::Close;
        self.expired_ready.next = choice == Pick::Timer;
        self.rx_seg_ready.next = choice == Pick::Rx;
        self.gap.d.next = choice != Pick::None;
        if choice == Pick::Rx || choice == Pick::Commit || choice == Pick::Tx {
            self.tx_turn.d.next = choice != Pick::Tx;
        }

        // The question whether text fits: when nothing is under way that could change the answer.
        let lacks = self.enable.val() && rx && !has_pages && !answer.valid;
        self.asking.d.next = if self.asking.q.val() { !self.fits.val().valid } else { lacks };
        self.ask_valid.next = self.asking.q.val() && !busy.any && self.orders.val() == 0;
        self.ask.next = PlaceAsk { conn: seg.conn, seq: seg.seq, len: seg.payload_len };
        if self.fits.val().valid {
            self.answer.d.next = self.fits.val();
        } else if choice == Pick::Rx {
            self.answer.d.next = PlaceFits::default();
        }

        // Shadow records under way: ordered, pushed, answered in order, taken as events.
        let taken = choice == Pick::Commit;
        let bit = bits::<64>(1) << bit_cast::<COMMIT_LOG2, COMMITS>(done);
        self.commits.re.next = true;
        self.commits.raddr.next = bit_cast::<COMMIT_LOG2, COMMITS>(rd);
        self.commits.we.next = self.commit_valid.val();
        self.commits.waddr.next = bit_cast::<COMMIT_LOG2, COMMITS>(wr);
        self.commits.wdata.next = self.commit.val();
        self.commit_wr.d.next = wr + self.commit_valid.val();
        self.commit_rd.d.next = rd + taken;
        if out.publish && !taken {
            self.owed.d.next = self.owed.q.val() + 1;
        } else if taken && !out.publish {
            self.owed.d.next = self.owed.q.val() - 1;
        }
        if self.write_done_valid.val() {
            let error = self.write_done.val().error;
            self.commit_done.d.next = done + 1;
            self.errors.d.next = if error { self.errors.q.val() | bit } else { self.errors.q.val() & !bit };
        }

        // Ready list.
        self.ready.re.next = true;
        self.ready.raddr.next = bit_cast::<LOG2, 16>(self.ready_rd.q.val());
        self.ready.we.next = out.ready;
        self.ready.waddr.next = bit_cast::<LOG2, 16>(self.ready_wr.q.val());
        self.ready.wdata.next = out.conn;
        self.ready_seen.d.next = self.ready_wr.q.val();
        self.ready_wr.d.next = self.ready_wr.q.val() + out.ready;
        self.ready_rd.d.next = self.ready_rd.q.val() + (choice == Pick::Tx);

        // Jobs, numbered as issued and done in that order; SND.UNA that waits for them.
        self.waiting.re.next = true;
        self.waiting.raddr.next = bit_cast::<LOG2, 16>(self.wait_rd.q.val());
        self.waiting.we.next = out.wait;
        self.waiting.waddr.next = bit_cast::<LOG2, 16>(self.wait_wr.q.val());
        self.waiting.wdata.next = Waiting { conn: out.conn, job: jobs };
        self.wait_seen.d.next = self.wait_wr.q.val();
        self.wait_wr.d.next = self.wait_wr.q.val() + out.wait;
        self.wait_rd.d.next = self.wait_rd.q.val() + (choice == Pick::Publish);
        let finishes = self.tx_done_valid.val() && !self.has_failed.q.val();
        self.tx_done_ready.next = !self.has_failed.q.val();
        self.jobs.d.next = jobs + out.job;
        self.jobs_done.d.next = jobs_done + finishes;
        self.issued.next = jobs;
        self.finished.next = jobs_done;
        if finishes && self.tx_done.val().result != 0 {
            self.fail.d.next = self.tx_done.val();
            self.has_failed.d.next = true;
        } else if choice == Pick::TxFail {
            self.has_failed.d.next = false;
        }
        self.idle.next = self.owed.q.val() == 0
            && self.ready_wr.q.val() == self.ready_rd.q.val()
            && self.wait_wr.q.val() == self.wait_rd.q.val()
            && jobs == jobs_done
            && !held
            && choice == Pick::None
            && !busy.any;
        dff_reset!(self, reset, commit_wr, commit_done, commit_rd, owed, ready_wr, ready_seen, ready_rd);
        dff_reset!(self, reset, wait_wr, wait_seen, wait_rd, jobs, jobs_done, has_failed, tx_turn, gap);
        dff_reset!(self, reset, asking, answer);
    }
}
