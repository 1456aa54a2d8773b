//! The pipeline: a pass takes an event and its record through six stages and stores the record.
//!
//! ```text
//!   intake | fetch | 1 verdict | 2 ACK, window | 3 recovery | 4 text | 5 what to send | 6 orders, store
//! ```
//! See `stages` for the functions. Of a record that the pass before has just changed, what the last three stages may change is taken from the
//! end of stage 6, not from the memory: if its event came 6 cycles after that pass's. It never comes 7 after it, when it would read what is being written.
//!
//! Latency: 9 cycles from the event to its orders. Throughput: a pass every second cycle on different connections, every 6 on the same.
//! Back-pressure: none: the intake starts nothing whose orders could find no room. Reset: sweeps records and deadlines for 2^LOG2 cycles.
use super::admit::Image;
use super::event::{is_done, Busy, Event, Jobs, Outcome};
use super::grow::question;
use super::guard;
use super::image::store;
use super::issue::{Issue, Issued};
use super::news::{deed, earliest, has_order, order};
use super::ops::{OpResult, RECORD};
use super::record::{joined, Work};
use super::records::{Records, Store};
use super::room::{smss, Rooms};
use super::stages::{enter, left, stage1, stage2, stage3, stage4, stage5, stage6, went, Told};
use super::step::{clocked, Env, Pick, Step, Why};
use super::tx::{came_again, foretells, job, leaves_it, told};
use crate::mem::SdpRam;
use crate::mirror::TcpRecord;
use crate::prelude::*;
use crate::tcp::loss::growth::{GrowthAsk, Growths, Look, SetGrowth};
use crate::tcp::loss::job::{LossJob, LossResult};
use crate::tcp::loss::rack::SendLog;
use crate::tcp::place::order::PlaceOrder;
use crate::tcp::timers::{Deadline, SetDeadline};
use crate::tcp::watchdog::Deed;
use crate::types::{ConnOp, EngineCounts, Millis, PathMtu, RxSeg, TcpParams, TxJob};

/// log2 of the jobs that wait for the transmitter: few, since an acknowledgment waits behind them.
pub const JOBS_LOG2: usize = 1;
/// Bits of a count of them.
pub const JOBS: usize = JOBS_LOG2 + 1;
// They wait in a register slice.
const _: () = assert!(JOBS_LOG2 == 1);

/// The block. `TABLE`: log2 of paths; `EARLY`: see [`super`].
#[derive(LogicBlock, Default)]
pub struct Pipe<const LOG2: usize, const TABLE: usize, const EARLY: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Reset.
    pub reset: Signal<In, Bit>,
    /// The tables are being cleared.
    pub sweeps: Signal<Out, Bit>,
    /// Clock, low word.
    pub now_us: Signal<In, Bits<32>>,
    /// Millisecond counter, low word.
    pub millis: Signal<In, Millis>,
    /// Registers.
    pub params: Signal<In, TcpParams>,
    /// A path and its MTU.
    pub path_mtu: Signal<In, PathMtu>,
    /// Event; taken.
    pub news: Signal<In, Event>,
    /// What is in the pipeline.
    pub busy: Signal<Out, Busy>,
    /// What comes out of it.
    pub outcome: Signal<Out, Outcome>,
    /// Numbers of jobs.
    pub numbers: Signal<In, Jobs>,
    /// The command in work.
    pub op: Signal<In, ConnOp>,
    /// Its image, as it was admitted.
    pub image: Signal<In, Image>,
    /// The end of its pass.
    pub op_result: Signal<Out, OpResult>,
    /// The record of the pass that ends, as an image without posts.
    pub stored: Signal<Out, Bits<RECORD>>,
    /// A record is stored.
    pub stores: Signal<Out, Bit>,
    /// Order to the placer.
    pub order: Signal<Out, PlaceOrder>,
    /// There is one; it is taken.
    pub order_valid: Signal<Out, Bit>,
    /// Answer of the loss unit, from the clock after its event until long after stage 1.
    pub answer: Signal<In, LossResult>,
    /// Job for the loss unit, which has room for it.
    pub loss_job: Signal<Out, LossJob>,
    /// There is one.
    pub loss_job_valid: Signal<Out, Bit>,
    /// Question about the growth of a window, if it is taken.
    pub grow_ask: Signal<Out, GrowthAsk>,
    /// It would be.
    pub may_ask: Signal<In, Bit>,
    /// An answer.
    pub set_growth: Signal<In, SetGrowth>,
    /// The transmitter took a job: there is room for another.
    pub job_gone: Signal<Out, Bit>,
    /// Job.
    pub tx_job: Signal<Out, TxJob>,
    /// Job offered.
    pub tx_job_valid: Signal<Out, Bit>,
    /// Job taken.
    pub tx_job_ready: Signal<In, Bit>,
    /// To the timers.
    pub set: Signal<Out, SetDeadline>,
    /// For the counters.
    pub counts: Signal<Out, EngineCounts>,
    /// For the watchdog.
    pub deed: Signal<Out, Deed>,
    records: Records<LOG2>,
    logs: SdpRam<SendLog, LOG2>,
    growths: Growths<LOG2>,
    rooms: Rooms<TABLE>,
    op_rooms: Rooms<TABLE>,
    issue: Issue,
    e0: Dff<Event>,
    e1: Dff<Event>,
    e2: Dff<Event>,
    s1: Dff<Step>,
    s2: Dff<Step>,
    seg2: Dff<RxSeg>,
    s3: Dff<Step>,
    seg3: Dff<RxSeg>,
    s4: Dff<Step>,
    seg4: Dff<RxSeg>,
    s5: Dff<Step>,
    seg5: Dff<RxSeg>,
    s6: Dff<Step>,
    seg6: Dff<RxSeg>,
}

/// Where passes are that the next one of the same connection cannot follow yet.
#[kernel]
fn busy(e0: Event, e1: Event, s: (Step, Step, Step, Step), later: bool) -> Busy {
    let (s1, s2, s3, s5) = s;
    let (v0, v1) = (e0.pick != Pick::None, e1.pick != Pick::None);
    Busy {
        v0,
        c0: e0.conn,
        v1,
        c1: e1.conn,
        v2: s1.c.valid,
        c2: s1.c.conn,
        v3: s2.c.valid,
        c3: s2.c.conn,
        v4: s3.c.valid,
        c4: s3.c.conn,
        v6: s5.c.valid,
        c6: s5.c.conn,
        any: v0 || v1 || s1.c.valid || s2.c.valid || s3.c.valid || s5.c.valid || later,
    }
}

/// The pass of a durable record begins, with room for a job, and none of its connection is in a stage that the intake does not look at.
#[kernel]
fn begins_alone(e: Event, s4: Step, s6: Step) -> bool {
    let is_in_4 = s4.c.valid && s4.c.conn == e.conn;
    let is_in_6 = s6.c.valid && s6.c.conn == e.conn;
    e.pick == Pick::Commit && e.may_send && !is_in_4 && !is_in_6
}

/// What leaves the pipeline. What goes along with a bit that is low says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
struct Leaving {
    /// Its record is stored, and what follows from it happens.
    acts: Bit,
    /// The record as it goes back.
    stored: Work,
    /// For the intake.
    out: Outcome,
    /// It has an order for the placer.
    orders: Bit,
    /// The order.
    order: PlaceOrder,
    /// Its job.
    issued: Issued,
    /// It has a job for the loss unit.
    asks: Bit,
    /// That.
    loss: LossJob,
    /// The question about the growth of its window.
    grow: GrowthAsk,
    /// The send log changes.
    logs: Bit,
    /// That.
    log: SendLog,
    /// Its timer.
    deadline: Deadline,
    /// For a command.
    op_result: OpResult,
    /// The record for it.
    image: Bits<RECORD>,
    /// For the counters.
    counts: EngineCounts,
    /// For the watchdog.
    deed: Deed,
}

/// What the last stage is told of others.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
struct Free {
    /// Jobs of the transmitter.
    jobs: Jobs,
    /// A question would be taken.
    may_ask: Bit,
}

/// What a command is told of its pass.
#[kernel]
fn op_result(end: Step, is_op: bool, acts: bool, sends: bool) -> OpResult {
    OpResult {
        valid: is_op,
        status: end.c.status,
        waits: end.c.waits,
        tells: acts && (end.c.tell || end.c.load),
        job: sends,
        read: false,
    }
}

/// The job of a pass, or what becomes one when its record is durable. `end`: at the end of it.
#[kernel]
fn issued<const EARLY: usize>(s6: Step, end: Step, acts: bool, now_ms: Bits<32>) -> Issued {
    let has_plan = s6.c.plan.why != Why::Nothing;
    let sends = acts && has_plan && !s6.c.is_acked;
    let keeps = acts && !has_plan && foretells(end);
    let w = if has_plan { s6.w } else { told::<1>(s6.w) };
    let job = if sends || keeps {
        job::<EARLY>(w, s6.c.plan, s6.c.conn, came_again(s6.c), now_ms)
    } else {
        unread::<TxJob>()
    };
    let ends = acts && (has_plan || !leaves_it(end));
    Issued { conn: s6.c.conn, ends, sends, keeps, job, pending: s6.w.rcv.ack_pending }
}

/// The last stage. `log`: the send log before the pass.
#[kernel]
fn leave<const EARLY: usize>(s6: Step, seg: RxSeg, log: SendLog, free: Free, v: Env) -> Leaving {
    if s6.c.valid {
        let gone = went(s6, v);
        let end = stage6(gone, is_done(free.jobs, s6.w.side.newest), free.may_ask, v);
        let acts = !end.c.forget;
        let issued = issued::<EARLY>(s6, end, acts, v.now_ms);
        let issued: Issued = issued;
        let sends = issued.sends;
        let orders = (acts && end.c.publish) || has_order(end.c);
        let asks = acts && gone.c.ask.is_asked;
        let grows = acts && s6.c.grow.asks && free.may_ask;
        let is_op = s6.c.pick == Pick::Op || s6.c.pick == Pick::Close;
        let image = if is_op && end.c.tell {
            pack::<RECORD, TcpRecord>(store(end.w, v.now_us, v.now_ms))
        } else {
            unread::<Bits<RECORD>>()
        };
        let mut w = left(end);
        w.side.newest = if sends { free.jobs.issued + 1 } else { w.side.newest };
        Leaving {
            acts,
            deadline: earliest(w, v),
            stored: w,
            out: Outcome {
                conn: s6.c.conn,
                order: orders,
                job: sends,
                no_job: s6.c.may_send && !sends && !s6.c.is_acked,
                ready: acts && end.w.side.queued && !s6.w.side.queued,
                wait: acts && end.w.side.pub_wait && !s6.w.side.pub_wait,
            },
            orders,
            order: if orders { order(end, seg) } else { unread::<PlaceOrder>() },
            issued,
            asks,
            loss: if asks { guard::job(s6, gone, log, seg, v.now_us, v.p) } else { unread::<LossJob>() },
            grow: if grows { question(s6, v.now_us) } else { no_question() },
            logs: acts,
            log: if acts { guard::logged(log, s6, gone, v.now_us) } else { unread::<SendLog>() },
            op_result: op_result(end, is_op, acts, sends),
            image,
            counts: end.c.counts,
            deed: deed(s6, end, seg, sends),
        }
    } else {
        Leaving {
            stored: unread::<Work>(),
            order: unread::<PlaceOrder>(),
            issued: Issued { job: unread::<TxJob>(), ..Issued::default() },
            loss: unread::<LossJob>(),
            grow: no_question(),
            log: unread::<SendLog>(),
            image: unread::<Bits<RECORD>>(),
            ..Leaving::default()
        }
    }
}

/// Nothing is asked.
#[kernel]
fn no_question() -> GrowthAsk {
    GrowthAsk { valid: false, ..unread::<GrowthAsk>() }
}

/// What no stage behind this one changes.
#[kernel]
fn settled(s4: Step) -> Store {
    Store { valid: s4.c.valid && !s4.c.forget, conn: s4.c.conn, record: left(s4) }
}

/// The timer of the connection whose pass leaves, or of one that is swept.
#[kernel]
fn set_deadline(x: Leaving, leaves: Bits<16>, sweeps: bool, row: Bits<16>) -> SetDeadline {
    let conn = if sweeps { row } else { leaves };
    SetDeadline { valid: sweeps || x.acts, conn, deadline: x.deadline }
}

/// The record as the last pass of the connection left it: what was settled from the memory, the rest from the pass that `leaves` or the memory.
#[kernel]
fn newest(conn: Bits<16>, x: Leaving, leaves: Bits<16>, stored: Work) -> Work {
    let rest = if x.acts && leaves == conn { x.stored } else { stored };
    joined(stored, rest)
}

#[kernel]
impl<const LOG2: usize, const TABLE: usize, const EARLY: usize> Logic for Pipe<LOG2, TABLE, EARLY> {
    fn update(&mut self) {
        dff_setup!(self, clock, e0, e1, e2, s1, s2, seg2, s3, seg3, s4, seg4, s5, seg5, s6, seg6);
        clock!(self, clock, records, logs, growths, rooms, op_rooms, issue);
        reset!(self, reset, records, growths, issue);
        let v = clocked(self.now_us.val(), self.millis.val(), self.params.val());
        let (e0, e1, e2) = (self.e0.q.val(), self.e1.q.val(), self.e2.q.val());
        let (s1, s2, s3) = (self.s1.q.val(), self.s2.q.val(), self.s3.q.val());
        let (s4, s5, s6) = (self.s4.q.val(), self.s5.q.val(), self.s6.q.val());
        let free = Free { jobs: self.numbers.val(), may_ask: self.may_ask.val() };
        let x = leave::<EARLY>(s6, self.seg6.q.val(), self.logs.rdata.val(), free, v);

        // What leaves.
        let (news, is_acked) = (self.news.val(), self.issue.acks.val());
        self.issue.leaves.next = x.issued;
        self.issue.commit.next = news.commit;
        self.issue.begins.next = begins_alone(news, s4, s6);
        self.issue.ack_frequency.next = v.p.ack_frequency;
        self.outcome.next = Outcome { job: x.issued.sends || is_acked, ..x.out };
        self.order.next = x.order;
        self.order_valid.next = x.orders;
        self.op_result.next = OpResult { read: s1.c.valid && s1.c.pick == Pick::Op, ..x.op_result };
        self.stored.next = x.image;
        self.stores.next = x.acts;
        self.loss_job.next = x.loss;
        self.loss_job_valid.next = x.asks;
        self.tx_job.next = self.issue.tx_job.val();
        self.tx_job_valid.next = self.issue.tx_job_valid.val();
        self.issue.tx_job_ready.next = self.tx_job_ready.val();
        self.job_gone.next = self.issue.gone.val();
        self.counts.next = x.counts;
        self.deed.next = x.deed;

        // The memory; after reset it is swept.
        self.sweeps.next = self.records.sweeps.val();
        self.records.look.next = e0.pick != Pick::None;
        self.records.conn.next = e0.conn;
        self.records.settle.next = settled(s4);
        self.records.store.next = Store { valid: x.acts, conn: s6.c.conn, record: x.stored };
        self.logs.re.next = s5.c.valid;
        self.logs.raddr.next = bit_cast::<LOG2, 16>(s5.c.conn);
        self.logs.we.next = x.logs;
        self.logs.waddr.next = bit_cast::<LOG2, 16>(s6.c.conn);
        self.logs.wdata.next = x.log;
        self.growths.look.next = Look { valid: s2.c.valid, conn: s2.c.conn };
        self.growths.set.next = self.set_growth.val();
        self.grow_ask.next = x.grow;
        self.set.next = set_deadline(x, s6.c.conn, self.records.sweeps.val(), self.records.row.val());

        // MTUs: of the command's path, and of the record's.
        self.rooms.path_mtu.next = self.path_mtu.val();
        self.op_rooms.path_mtu.next = self.path_mtu.val();
        self.op_rooms.look.next = true;
        self.op_rooms.path.next = self.op.val().path;
        self.rooms.look.next = s2.c.valid;
        self.rooms.path.next = s2.w.fixed.path;

        // One stage further; where nothing goes on everything else stays what it was, so that nothing moves.
        self.busy.next = busy(e0, e1, (s1, s2, s3, s5), s4.c.valid || s6.c.valid);
        if news.pick != Pick::None {
            self.e0.d.next = Event { is_acked, ..news };
        } else {
            self.e0.d.next.pick = Pick::None;
        }
        if e0.pick != Pick::None {
            self.e1.d.next = e0;
        } else {
            self.e1.d.next.pick = Pick::None;
        }
        if e1.pick != Pick::None {
            self.e2.d.next = e1;
            let fresh = newest(e1.conn, x, s6.c.conn, self.records.record.val());
            let beyond = (e1.conn >> bits::<5>(LOG2 as u64)) != 0;
            self.s1.d.next = enter(e1, fresh, beyond, (self.op.val(), self.image.val()), v);
        } else {
            self.s1.d.next.c.valid = false;
        }
        if s1.c.valid {
            let told = Told { op: self.op.val(), room: self.op_rooms.room.val(), answer: self.answer.val() };
            self.s2.d.next = stage1(s1, e2, told, self.image.val(), v);
            self.seg2.d.next = e2.seg;
        } else {
            self.s2.d.next.c.valid = false;
        }
        if s2.c.valid {
            self.s3.d.next = stage2(s2, self.seg2.q.val(), v);
            self.seg3.d.next = self.seg2.q.val();
        } else {
            self.s3.d.next.c.valid = false;
        }
        if s3.c.valid {
            self.s4.d.next = stage3(s3, smss(s3.w, self.rooms.room.val()), self.growths.growth.val(), v);
            self.seg4.d.next = self.seg3.q.val();
        } else {
            self.s4.d.next.c.valid = false;
        }
        if s4.c.valid {
            self.s5.d.next = stage4(s4, self.seg4.q.val(), v);
            self.seg5.d.next = self.seg4.q.val();
        } else {
            self.s5.d.next.c.valid = false;
        }
        if s5.c.valid {
            self.s6.d.next = stage5(s5, bit_cast::<32, 16>(s5.c.smss), v);
            self.seg6.d.next = self.seg5.q.val();
        } else {
            self.s6.d.next.c.valid = false;
        }
        dff_reset!(self, reset, e0, e1, e2, s1, s2, s3, s4, s5, s6);
    }
}
