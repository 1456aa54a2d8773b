//! Which function belongs to which stage and kind of event.
use super::admit::Image;
use super::event::Event;
use super::grow::{compared, counted, echoed, ended, gained, requested, rested, sampled};
use super::guard::{answered, armed, asked, bounded, caught_up, deadlines, waits};
use super::image::load;
use super::news::{bell, committed, expire, finish, noticed, published, tx_fail};
use super::op::{close, execute, given_back, initiate, INITIATE};
use super::record::Work;
use super::rx::{acked, arrive, decides, grown, seg_len};
use super::step::{is_mandatory, Ctx, Env, Pick, Step, Why};
use super::text::text;
use super::tx::{tx_plan, tx_sent};
use crate::mirror::TcpRecord;
use crate::prelude::*;
use crate::tcp::loss::growth::Growth;
use crate::tcp::loss::job::LossResult;
use crate::types::{ConnOp, RxSeg};

/// What stage 1 is told beside the event.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Told {
    /// The command in work.
    pub op: ConnOp,
    /// What its path's MTU leaves.
    pub room: Bits<16>,
    /// The loss unit's answer.
    pub answer: LossResult,
}

/// The record of a new connection: of its image. What CUBIC's program knows is of the connection before.
#[kernel]
fn taken_over(before: Work, op: ConnOp, r: TcpRecord, v: Env) -> Work {
    let mut w = load(r, op.generation, op.path, v.now_us, v.now_ms);
    w.rc.epoch = before.rc.epoch + 1;
    w
}

/// The event and its record at the start of the pipeline: for Initiate that of the image, else the connection's, `w`. `beyond`: the id is not one of ours.
#[kernel]
pub fn enter(e: Event, w: Work, beyond: bool, command: (ConnOp, Image), v: Env) -> Step {
    let (op, image) = command;
    let c = Ctx {
        valid: e.pick != Pick::None,
        pick: e.pick,
        conn: e.conn,
        out: beyond,
        is_taken: w.fixed.generation != 0,
        forget: beyond,
        is_asked_for: is_mandatory(w.reason),
        notice: e.notice,
        reserved: e.reserved,
        no_pages: e.no_pages,
        no_post: e.no_post,
        may_send: e.may_send,
        is_acked: e.is_acked,
        is_deaf: e.is_deaf,
        has_unit: e.has_unit,
        ..Ctx::default()
    };
    let initiates = e.pick == Pick::Op && op.opcode == INITIATE;
    let found = if initiates { taken_over(w, op, image.record, v) } else { w };
    Step { c, w: if beyond { given_back(found) } else { found } }
}

/// The connection's turn to send.
#[kernel]
fn turn(s: Step) -> Step {
    let mut n = s;
    n.w.side.queued = false;
    n.c.want_tx = s.w.fixed.generation != 0;
    caught_up(n)
}

/// Stage 1. `image`: of the command, as it was admitted.
#[kernel]
pub fn stage1(s: Step, e: Event, t: Told, image: Image, v: Env) -> Step {
    let (op, room) = (t.op, t.room);
    let now = v.now_us;
    let n = match s.c.pick {
        Pick::Commit => committed(s, e.commit, now, v.p),
        Pick::Loss => answered(s, t.answer, now),
        Pick::Bell => bell(s, e.bell, now),
        Pick::Op => {
            if op.opcode == INITIATE {
                initiate(s, op, image, room)
            } else {
                execute(s, op, image.record, v.now_ms)
            }
        }
        Pick::TxFail => tx_fail(s, e.done),
        Pick::Close => close(s),
        Pick::Publish => published(s),
        Pick::Rx => arrive(s, e.seg, v),
        Pick::Tx => turn(s),
        Pick::Timer | Pick::None => s,
    };
    let n: Step = n;
    Step { c: Ctx { forget: n.c.forget || s.c.forget, ..n.c }, w: n.w }
}

/// A segment that is to be processed.
#[kernel]
fn takes(c: Ctx) -> bool {
    c.pick == Pick::Rx && c.take
}

/// Stage 2.
#[kernel]
pub fn stage2(s: Step, seg: RxSeg, v: Env) -> Step {
    if takes(s.c) {
        echoed(acked(s, seg, v.now_us, v.p), seg, v.now_ms)
    } else {
        s
    }
}

/// Stage 3. `growth`: what CUBIC's program said of the connection.
#[kernel]
pub fn stage3(s: Step, smss: Bits<32>, growth: Growth, v: Env) -> Step {
    let n = if takes(s.c) && decides(s) {
        grown(s, smss)
    } else if s.c.pick == Pick::Timer {
        noticed(expire(s, v))
    } else {
        s
    };
    let mut m: Step = n;
    m.c.smss = bit_cast::<16, 32>(smss);
    m.c.waits_us = waits(s.w, v.p.max_rto_us);
    sampled(s, counted(s, m, smss, growth, v.now_us), smss)
}

/// Stage 4.
#[kernel]
pub fn stage4(s: Step, seg: RxSeg, v: Env) -> Step {
    let n = if takes(s.c) { text(s, seg, seg_len(seg), v.now_us, v.p) } else { s };
    let mut m: Step = n;
    m.c.waits_us = bounded(s.w, s.c.waits_us);
    rested(compared(gained(s, m)), v.now_us)
}

/// Stage 5.
#[kernel]
pub fn stage5(s: Step, smss: Bits<32>, v: Env) -> Step {
    let mut n = tx_plan(s, v.now_us, smss);
    n.c.waits_us = deadlines(s.w, s.c.waits_us, v.now_us);
    ended(n)
}

/// Stage 6: the segment is on its way, and the timer runs for it.
#[kernel]
pub fn went(s: Step, v: Env) -> Step {
    let n = if s.c.plan.why != Why::Nothing { tx_sent(s, v.now_us) } else { s };
    armed(s, n)
}

/// Stage 6, after [`went`]. `quiet`: no job of the connection is under way; `may_ask`: CUBIC's program is free.
#[kernel]
pub fn stage6(s: Step, quiet: bool, may_ask: bool, v: Env) -> Step {
    finish(requested(asked(s), may_ask, v.now_us), quiet)
}

/// The record as it goes back.
#[kernel]
pub fn left(s: Step) -> Work {
    if s.c.free {
        given_back(s.w)
    } else {
        s.w
    }
}
