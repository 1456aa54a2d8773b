//! One step of the state machine: which function belongs to which state.
use super::image::store;
use super::news::{bell, committed, expire, finish, tx_done, Commit};
use super::op::{close, execute, given_back, initiate, INITIATE, RECORD_BEATS, UPDATE};
use super::place::{bell_posts, enter_pool, paged, placed, post_beat, post_got, retired, text, text_end};
use super::record::Work;
use super::room::smss;
use super::rx::{acked, arrive, recover, seg_len};
use super::step::{Ctx, Pick, St, Step, SUCCESS};
use super::tx::{tx_plan, tx_sent};
use crate::mirror::TcpRecord;
use crate::prelude::*;
use crate::types::{ConnOp, Doorbell, ReadBeat, RxSeg, TcpParams, TxDone};
use chimney_abi::desc::PAGE_SLOTS;

const LAST_BEAT: u64 = RECORD_BEATS - 1;
const LAST_SLOT: u64 = PAGE_SLOTS as u64 - 1;

/// What the event brought, latched when it was taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct News {
    /// Segment.
    pub seg: RxSeg,
    /// Doorbell.
    pub bell: Doorbell,
    /// Command.
    pub op: ConnOp,
    /// Finished job.
    pub done: TxDone,
    /// Durable shadow record.
    pub commit: Commit,
    /// It could not be written.
    pub commit_error: Bit,
}

/// What comes from other blocks in this cycle.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Live {
    /// Clock, microseconds.
    pub now_us: Bits<32>,
    /// Timestamp clock, milliseconds.
    pub now_ms: Bits<32>,
    /// What the MTU of the connection's path leaves for text and TCP options, bytes.
    pub room: Bits<16>,
    /// The page map found a page.
    pub found: Bit,
    /// It is a new one.
    pub fresh: Bit,
    /// The page.
    pub page: Bits<16>,
    /// A beat of a receive descriptor.
    pub beat: ReadBeat,
}

/// `Fetch`: the record is here; the source says where to go on.
#[kernel]
pub fn fetched(s: Step, w: Work) -> Step {
    Step {
        st: match s.c.pick {
            Pick::Commit => St::Commit,
            Pick::Bell => St::Bell,
            Pick::Op => St::OpExec,
            Pick::TxDone => St::TxDone,
            Pick::Timer => St::Expire,
            Pick::Close => St::Close,
            Pick::Rx => St::RxCheck,
            Pick::Tx | Pick::None => St::TxPlan,
        },
        c: s.c,
        w: if s.c.out { Work::default() } else { w },
    }
}

/// `Take`: the source's connection is known.
#[kernel]
pub fn taken(s: Step, conn: Bits<16>, out: bool, opcode: Bits<8>) -> Step {
    let brings = s.c.pick == Pick::Op && (opcode == INITIATE || opcode == UPDATE);
    Step { st: if brings { St::OpIn } else { St::Fetch }, c: Ctx { conn, out, ..s.c }, w: s.w }
}

/// `OpExec`.
#[kernel]
fn op(s: Step, o: ConnOp, image: Bits<2304>, l: Live, p: TcpParams) -> Step {
    let r = unpack::<TcpRecord, 2304>(image);
    if o.opcode == INITIATE {
        initiate(s, o, r, (l.now_us, l.now_ms, l.room), p)
    } else {
        execute(s, o, r, l.now_us)
    }
}

/// States that only pass on.
#[kernel]
fn pass(s: Step) -> Step {
    let c = s.c;
    let mut n = s;
    n.c.beat = c.beat + 1;
    n.st = match s.st {
        St::RxFree => St::Verdict,
        St::Verdict => {
            if c.forget {
                St::Idle
            } else {
                St::Finish
            }
        }
        St::PageMap => St::Piece,
        St::PostAsk => St::PostWait,
        St::TxEmit => St::TxSent,
        St::OpIn => {
            if c.beat == LAST_BEAT {
                St::Fetch
            } else {
                St::OpIn
            }
        }
        St::OpPages => St::OpPages,
        St::OpPack => St::OpOut,
        St::Shadow => {
            if c.raise {
                St::Raise
            } else {
                St::Store
            }
        }
        St::Raise => St::Store,
        St::Store => {
            if c.op_ends {
                St::OpDone
            } else {
                St::Idle
            }
        }
        _ => St::Idle,
    };
    if s.st == St::PostAsk || s.st == St::OpPack {
        n.c.beat = bits::<6>(0);
    }
    if s.st == St::OpPages && c.beat == LAST_SLOT {
        n.st = if c.status == SUCCESS { St::Finish } else { St::OpDone };
    }
    if s.st == St::Shadow {
        n.w.shadow_tag = s.w.shadow_tag + 1;
        n.w.side.commits = s.w.side.commits + 1;
    }
    n
}

/// `OpOut`: a beat of the image was taken.
#[kernel]
fn op_out(s: Step) -> Step {
    let last = s.c.beat == LAST_BEAT;
    let mut n = s;
    n.c.beat = s.c.beat + 1;
    if last && s.c.free {
        n.w = given_back(s.w);
        n.st = St::Store;
    } else if last {
        n.st = St::OpDone;
    }
    n
}

/// The image of the record in hand.
#[kernel]
pub fn image(s: Step, l: Live) -> Bits<2304> {
    pack::<2304, TcpRecord>(store(s.w, l.now_us, l.now_ms))
}

/// The next state; not asked while the state waits for another block.
#[kernel]
pub fn next(s: Step, e: News, l: Live, image: Bits<2304>, p: TcpParams) -> Step {
    let now = l.now_us;
    match s.st {
        St::RxCheck => arrive(s, e.seg, now, p.fin_wait_2_us),
        St::RxAck => acked(s, e.seg, now, p),
        St::RxRecover => recover(s, smss(s.w, l.room), p.dup_ack_threshold),
        St::RxText => text(s),
        St::Page => paged(s, l.found, l.fresh, l.page, p.pool_base),
        St::Piece => placed(s, now, p.push_us),
        St::RxEnd => text_end(s, e.seg, seg_len(e.seg)),
        St::PostWait => post_beat(s, l.beat),
        St::PostGot => post_got(s),
        St::Retire => retired(s),
        St::EnterPool => enter_pool(s),
        St::Bell => bell(s, e.bell, now),
        St::BellPosts => bell_posts(s),
        St::Commit => committed(s, e.commit, e.commit_error, now, p),
        St::TxDone => tx_done(s, e.done),
        St::Expire => expire(s, now, smss(s.w, l.room), p),
        St::TxPlan => tx_plan(s, now, smss(s.w, l.room)),
        St::TxSent => tx_sent(s, now, p.max_rto_us),
        St::OpExec => op(s, e.op, image, l, p),
        St::Close => close(s),
        St::OpOut => op_out(s),
        St::Finish => finish(s),
        _ => pass(s),
    }
}
