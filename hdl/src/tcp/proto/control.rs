//! The state machine: takes an event, reads the record, goes through the event's states, stores the record.
//!
//! ```text
//!   Idle -> Take -> Fetch -> (states of the event, see `step::St`) -> Finish -> [Shadow -> Raise] -> Store -> Idle
//! ```
//! [`super::sources`] says whose turn it is and answers the sources.
//!
//! Latency: 5 cycles for what changes nothing, about 16 for a segment in order. Throughput: one event at a
//! time. Back-pressure: waits for the write engine, the transmitter, the event ring and the readers, all of
//! which go on without it. Reset: sweeps records and deadlines for 2^LOG2 cycles.
use super::news::{earliest, Commit};
use super::next::{fetched, image, next, taken, Live, News};
use super::op::{page_slot, RECORD_BEATS, TERMINATE};
use super::record::Work;
use super::room::{path_of, Rooms};
use super::sources::{Agenda, Notes};
use super::step::{Ctx, Pick, St, Step, SUCCESS};
use super::tx::job;
use super::write::{command, post_req};
use crate::host::events::RaiseEvent;
use crate::mem::SdpRam;
use crate::prelude::*;
use crate::tcp::pages::{FoundSlot, LoadSlot, LookSlot};
use crate::tcp::timers::{Deadline, SetDeadline};
use crate::types::{
    ConnOp, Doorbell, EngineCounts, PathMtu, ReadBeat, ReadReq, RxSeg, TcpParams, TxDone, TxJob, WriteCmd,
};

/// Bits of a record in an image.
const RECORD: usize = RECORD_BEATS as usize * 64;
/// The same without its lowest beat.
const RECORD_REST: usize = RECORD - 64;

/// The block. See [`super`] for the meaning of the ports and parameters.
#[derive(LogicBlock, Default)]
pub struct Control<const LOG2: usize, const TABLE: usize, const EARLY: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Reset.
    pub reset: Signal<In, Bit>,
    /// Nothing in work.
    pub idle: Signal<Out, Bit>,
    /// Clock, low word.
    pub now_us: Signal<In, Bits<32>>,
    /// Millisecond counter, low word.
    pub now_ms: Signal<In, Bits<32>>,
    /// Registers.
    pub params: Signal<In, TcpParams>,
    /// A path and its MTU.
    pub path_mtu: Signal<In, PathMtu>,
    /// To the sources.
    pub notes: Signal<Out, Notes>,
    /// From the sources.
    pub agenda: Signal<In, Agenda>,
    /// Segment, as long as it is offered.
    pub rx_seg: Signal<In, RxSeg>,
    /// Pulse: the segment taken last is done with.
    pub verdict_valid: Signal<Out, Bit>,
    /// It is the ordinary path's.
    pub verdict_handed_up: Signal<Out, Bit>,
    /// Doorbell, as long as it is offered.
    pub doorbell: Signal<In, Doorbell>,
    /// Command, as long as it is offered.
    pub op: Signal<In, ConnOp>,
    /// Finished job, as long as it is offered.
    pub tx_done: Signal<In, TxDone>,
    /// Expired connection, as long as it is offered.
    pub expired_conn: Signal<In, Bits<16>>,
    /// Beat of an image.
    pub op_in: Signal<In, Bits<64>>,
    /// Beat offered.
    pub op_in_valid: Signal<In, Bit>,
    /// Beat taken.
    pub op_in_ready: Signal<Out, Bit>,
    /// Beat of an image.
    pub op_out: Signal<Out, Bits<64>>,
    /// Beat offered.
    pub op_out_valid: Signal<Out, Bit>,
    /// Beat taken.
    pub op_out_ready: Signal<In, Bit>,
    /// Pulse: the command is done.
    pub op_done: Signal<Out, Bit>,
    /// Its status.
    pub op_status: Signal<Out, Bits<8>>,
    /// Write command.
    pub write_cmd: Signal<Out, WriteCmd>,
    /// Write command offered.
    pub write_cmd_valid: Signal<Out, Bit>,
    /// Write command taken.
    pub write_cmd_ready: Signal<In, Bit>,
    /// Job.
    pub tx_job: Signal<Out, TxJob>,
    /// Job offered.
    pub tx_job_valid: Signal<Out, Bit>,
    /// Job taken.
    pub tx_job_ready: Signal<In, Bit>,
    /// Read of a receive descriptor.
    pub post_req: Signal<Out, ReadReq>,
    /// Read offered.
    pub post_req_valid: Signal<Out, Bit>,
    /// Read taken.
    pub post_req_ready: Signal<In, Bit>,
    /// Beat.
    pub post_beat: Signal<In, ReadBeat>,
    /// The beat is ours.
    pub post_beat_valid: Signal<In, Bit>,
    /// To the event ring.
    pub raise: Signal<Out, RaiseEvent>,
    /// Taken.
    pub raise_ready: Signal<In, Bit>,
    /// To the timers.
    pub set: Signal<Out, SetDeadline>,
    /// To the page map.
    pub load: Signal<Out, LoadSlot>,
    /// To the page map.
    pub look: Signal<Out, LookSlot>,
    /// From the page map.
    pub answer: Signal<In, FoundSlot>,
    /// For the counters.
    pub counts: Signal<Out, EngineCounts>,
    records: SdpRam<Work, LOG2>,
    rooms: Rooms<TABLE>,
    s: Dff<Step>,
    news: Dff<News>,
    image: Dff<Bits<RECORD>>,
    looked: Dff<Bit>,
}

/// The state offers a command to the write engine.
#[kernel]
fn writes(st: St) -> bool {
    st == St::Piece || st == St::RxFree || st == St::PageMap || st == St::Retire || st == St::Shadow
}

/// The connection of the event that is taken.
#[kernel]
fn conn_of(pick: Pick, n: News, ready: Bits<16>, expired: Bits<16>, close: Bits<16>) -> Bits<16> {
    match pick {
        Pick::Commit => n.commit.conn,
        Pick::Bell => n.bell.conn,
        Pick::Op => n.op.conn,
        Pick::TxDone => n.done.conn,
        Pick::Timer => expired,
        Pick::Close => close,
        Pick::Rx => n.seg.conn,
        Pick::Tx | Pick::None => ready,
    }
}

/// The state waits for another block.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
struct Ready {
    write: Bit,
    job: Bit,
    post: Bit,
    beat: Bit,
    page: Bit,
    op_in: Bit,
    op_out: Bit,
    raise: Bit,
}

/// See [`Ready`].
#[kernel]
fn is_stalled(st: St, r: Ready) -> bool {
    match st {
        St::Piece | St::RxFree | St::PageMap | St::Retire | St::Shadow => !r.write,
        St::TxEmit => !r.job,
        St::PostAsk => !r.post,
        St::PostWait => !r.beat,
        St::Page => !r.page,
        St::OpIn | St::OpPages => !r.op_in,
        St::OpOut => !r.op_out,
        St::Raise => !r.raise,
        _ => false,
    }
}

/// What arrives with the event that is taken; a Terminate keeps its command while it waits.
#[kernel]
fn arrived(old: News, new: News, pick: Pick) -> News {
    News { op: if pick == Pick::Op { new.op } else { old.op }, ..new }
}

/// Connection and slot of a byte.
#[kernel]
fn slot_of(conn: Bits<16>, slot: Bits<5>) -> Bits<16> {
    cat::<16, _>((conn.get_bits::<11>(0), slot))
}

/// The first step of an event, or the end of the last one.
#[kernel]
fn begin(s: Step, choice: Pick) -> Step {
    let st = if choice == Pick::None { St::Idle } else { St::Take };
    Step { st, c: Ctx { pick: choice, ..Ctx::default() }, w: s.w }
}

/// The sweep after reset.
#[kernel]
fn sweep(s: Step, last: bool) -> Step {
    Step {
        st: if last { St::Idle } else { St::Clear },
        c: Ctx { conn: s.c.conn + 1, ..Ctx::default() },
        w: s.w,
    }
}

#[kernel]
impl<const LOG2: usize, const TABLE: usize, const EARLY: usize> Logic for Control<LOG2, TABLE, EARLY> {
    fn update(&mut self) {
        dff_setup!(self, clock, s, news, image, looked);
        clock!(self, clock, records, rooms);
        let s = self.s.q.val();
        let (st, c, agenda) = (s.st, s.c, self.agenda.val());
        let (take, now_ms) = (st == St::Take, self.now_ms.val());
        let writes = writes(st);
        let answer = self.answer.val();
        let stalled = is_stalled(
            st,
            Ready {
                write: self.write_cmd_ready.val(),
                job: self.tx_job_ready.val(),
                post: self.post_req_ready.val(),
                beat: self.post_beat_valid.val(),
                page: answer.valid,
                op_in: self.op_in_valid.val(),
                op_out: self.op_out_ready.val(),
                raise: self.raise_ready.val(),
            },
        );

        // Sources.
        self.notes.next = Notes {
            conn: c.conn,
            taken: if take { c.pick } else { Pick::None },
            commit_push: st == St::Shadow && !stalled,
            commit: Commit {
                conn: c.conn,
                nxt: s.w.rcv.nxt,
                right: s.w.rcv.right,
                data: c.moved,
                now: c.now,
            },
            ready_push: st == St::Store && c.push_ready,
            stored: st == St::Store,
            close_begin: st == St::Store && c.pick == Pick::Op && self.news.q.val().op.opcode == TERMINATE,
            close_end: st == St::OpDone,
        };
        let news = News {
            seg: self.rx_seg.val(),
            bell: self.doorbell.val(),
            op: self.op.val(),
            done: self.tx_done.val(),
            commit: agenda.commit,
            commit_error: agenda.commit_error,
        };
        let conn = conn_of(c.pick, news, agenda.ready_conn, self.expired_conn.val(), agenda.close_conn);

        // The record, its deadline, its image.
        let storing = st == St::Store || st == St::Clear;
        let low = bit_cast::<LOG2, 16>(c.conn);
        self.records.re.next = take || st == St::OpIn;
        self.records.raddr.next = if take { bit_cast::<LOG2, 16>(conn) } else { low };
        self.records.we.next = storing && !c.out;
        self.records.waddr.next = low;
        self.records.wdata.next = if st == St::Store { s.w } else { Work::default() };
        self.rooms.path_mtu.next = self.path_mtu.val();
        self.rooms.look.next = st == St::Fetch;
        self.rooms.path.next = path_of(c.pick, self.news.q.val().op, self.records.rdata.val());
        let deadline = if st == St::Store { earliest(s.w) } else { Deadline::default() };
        self.set.next = SetDeadline { valid: storing && !c.out, conn: c.conn, deadline };
        let live = Live {
            now_us: self.now_us.val(),
            now_ms,
            room: self.rooms.room.val(),
            found: answer.found,
            fresh: answer.fresh,
            page: answer.page,
            beat: self.post_beat.val(),
        };
        if st == St::OpPack {
            self.image.d.next = image(s, live);
        } else if (st == St::OpIn || st == St::OpOut) && !stalled {
            let rest = self.image.q.val().get_bits::<RECORD_REST>(64);
            self.image.d.next = cat::<RECORD, _>((self.op_in.val(), rest));
        }

        // Other blocks.
        let loads = st == St::OpPages && !stalled && c.status == SUCCESS;
        let entry = page_slot(self.op_in.val(), s.w.fixed.generation);
        self.load.next = LoadSlot { valid: loads, at: slot_of(c.conn, c.beat.get_bits::<5>(0)), slot: entry };
        let at = slot_of(c.conn, c.cur.get_bits::<5>(12));
        self.look.next =
            LookSlot { valid: st == St::Page && !self.looked.q.val(), at, tag: c.cur.get_bits::<20>(12) };
        self.looked.d.next = st == St::Page && !answer.valid;
        self.write_cmd_valid.next = writes;
        self.write_cmd.next = if writes {
            command(s, self.news.q.val().seg, self.params.val().shadow_base, self.params.val().page_map_base)
        } else {
            WriteCmd::default()
        };
        self.tx_job_valid.next = st == St::TxEmit;
        self.tx_job.next =
            if st == St::TxEmit { job::<EARLY>(s.w, c.plan, c.conn, now_ms) } else { TxJob::default() };
        self.post_req_valid.next = st == St::PostAsk;
        self.post_req.next = post_req(s.w);
        let generation = s.w.fixed.generation;
        self.raise.next = RaiseEvent { valid: st == St::Raise, conn: c.conn, generation };
        self.verdict_valid.next = st == St::Verdict;
        self.verdict_handed_up.next = c.up;
        self.op_in_ready.next = st == St::OpIn || st == St::OpPages;
        self.op_out.next = self.image.q.val().get_bits::<64>(0);
        self.op_out_valid.next = st == St::OpOut;
        self.op_done.next = st == St::OpDone;
        self.op_status.next = c.status;
        self.counts.next = if st == St::Idle { c.counts } else { EngineCounts::default() };
        self.idle.next = st == St::Idle && agenda.choice == Pick::None;

        // The next step.
        if st == St::Clear {
            self.s.d.next = sweep(s, low.all());
        } else if st == St::Idle {
            if agenda.choice != Pick::None || c.pick != Pick::None {
                self.s.d.next = begin(s, agenda.choice);
            }
        } else if take {
            self.news.d.next = arrived(self.news.q.val(), news, c.pick);
            let out = (conn >> bits::<5>(LOG2 as u64)) != 0;
            self.s.d.next = taken(s, conn, out, self.op.val().opcode);
        } else if st == St::Fetch {
            self.s.d.next = fetched(s, self.records.rdata.val());
        } else if !stalled {
            self.s.d.next = next(s, self.news.q.val(), live, self.image.q.val(), self.params.val());
        }
        dff_reset!(self, reset, s, news, looked);
    }
}
