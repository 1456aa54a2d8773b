//! Laws of the hand-over inside PROTO, over a whole pass: any event, any record, any segment, command, and answer.
//!
//! * **L2, nothing ahead of the durable record.** `durable_nxt` and `durable_right` are what the placer last said is in host memory (or what the
//!   image said): no other event moves them. A segment acknowledges just that, and offers no byte behind it.
//! * **L1, buffers go back when nobody reads them.** `pub_una`, up to which the host may take its buffers back, moves only to the value
//!   that waited for the newest job, and only by the event that says the job is done, or to SND.UNA when no job is under way. A value
//!   that waits does not change.

use crate::proof::{Error, Proof};
use chimney_hdl::prelude::*;
use chimney_hdl::tcp::loss::growth::Growth;
use chimney_hdl::tcp::proto::event::Event;
use chimney_hdl::tcp::proto::op::INITIATE;
use chimney_hdl::tcp::proto::ops::RECORD;
use chimney_hdl::tcp::proto::record::Work;
use chimney_hdl::tcp::proto::stages::{
    enter, left, stage1, stage2, stage3, stage4, stage5, stage6, went, Env, Told,
};
use chimney_hdl::tcp::proto::step::{Pick, Step};
use chimney_hdl::tcp::proto::tx::job;
use chimney_hdl::tcp::seq::at_or_before;
use chimney_hdl::types::TxJob;

/// Largest shift of a scaled window (RFC 7323 2.3).
const MAX_SHIFT: u64 = 14;
/// Far more than a window.
const QUARTER: u64 = 1 << 30;

/// A whole pass.
#[derive(LogicBlock, Default)]
pub struct PassChecker {
    /// The event.
    pub what: Signal<In, Event>,
    /// The record that it finds.
    pub w: Signal<In, Work>,
    /// What comes with it.
    pub told: Signal<In, Told>,
    /// The image of a command.
    pub image: Signal<In, Bits<RECORD>>,
    /// Segment size, when it is looked at first.
    pub smss3: Signal<In, Bits<32>>,
    /// And later.
    pub smss5: Signal<In, Bits<32>>,
    /// What the slow unit last said of the window's growth.
    pub growth: Signal<In, Growth>,
    /// There is room for a question to it.
    pub may_ask: Signal<In, Bit>,
    /// Clocks and registers.
    pub env: Signal<In, Env>,
    /// No job is under way.
    pub quiet: Signal<In, Bit>,
    /// The image is not taken over in this pass: its numbers are the host's.
    pub fits: Signal<Out, Bit>,
    /// The laws hold.
    pub ok: Signal<Out, Bit>,
}

#[kernel]
impl Logic for PassChecker {
    fn update(&mut self) {
        let (e, w, v) = (self.what.val(), self.w.val(), self.env.val());
        let s = stage1(enter(e, w, false), e, self.told.val(), self.image.val(), v);
        let s = stage3(stage2(s, e.seg, v), self.smss3.val(), self.growth.val(), v);
        let s = stage5(stage4(s, e.seg, v), self.smss5.val(), v);
        let s: Step = s;
        let sent = job::<0>(s.w, s.c.plan, s.c.conn, v.now_ms);
        let sent: TxJob = sent;
        let end = left(stage6(went(s, v), self.quiet.val(), self.may_ask.val(), v));
        let end: Work = end;
        let kept = end.rcv.durable_nxt == w.rcv.durable_nxt && end.rcv.durable_right == w.rcv.durable_right;
        let said = e.pick == Pick::Commit
            && !e.commit.fault
            && end.rcv.durable_nxt == e.commit.nxt
            && end.rcv.durable_right == e.commit.right;
        let same =
            s.w.rcv.durable_nxt == end.rcv.durable_nxt && s.w.rcv.durable_right == end.rcv.durable_right;
        let acks = sent.ack == s.w.rcv.durable_nxt;
        let offered = sent.ack + (bit_cast::<32, 16>(sent.wnd) << s.w.fixed.rcv_wind_shift);
        let edge = later_edge(s.w.rcv.durable_nxt, s.w.rcv.durable_right);
        let offers = at_or_before(offered, edge);
        let waited = e.pick == Pick::Publish && end.side.pub_una == w.side.pub_next;
        let none = self.quiet.val() && end.side.pub_una == end.snd.una;
        let still = w.side.pub_wait && end.side.pub_wait && e.pick != Pick::Publish;
        let held = !still || end.side.pub_next == w.side.pub_next;
        let begins = end.side.pub_wait && !w.side.pub_wait;
        let free = (end.side.pub_una == w.side.pub_una || waited || none)
            && held
            && (!begins || end.side.pub_next == end.snd.una);
        let sane = w.fixed.rcv_wind_shift <= MAX_SHIFT
            && w.rcv.durable_right - w.rcv.durable_nxt < QUARTER
            && e.commit.right - e.commit.nxt < QUARTER;
        self.fits.next = sane && !(e.pick == Pick::Op && self.told.val().op.opcode == INITIATE);
        self.ok.next = (kept || said) && same && acks && offers && free;
    }
}

/// The right edge, if there is a window at all.
#[kernel]
fn later_edge(nxt: Bits<32>, right: Bits<32>) -> Bits<32> {
    if at_or_before(nxt, right) {
        right
    } else {
        nxt
    }
}

/// The proofs.
///
/// # Errors
/// A checker that is no hardware.
pub fn proofs() -> Result<Vec<Proof>, Error> {
    let pass = Proof::new(
        "proto_laws",
        "no acknowledgment and no window is ahead of the durable record, and no buffer goes back before its job is done",
        PassChecker::default(),
    )?
    .fails_if(
        "a window is rounded up",
        "16'hffff : job$window_field$units[15:0]",
        "16'hffff : (job$window_field$units[15:0] + 16'h1)",
    )
    .fails_if(
        "what could not be written counts as durable",
        "stage1$committed$n$w$flags$stopped = 1'h1;",
        "stage1$committed$n$w$flags$stopped = 1'h1; stage1$committed$n$w$rcv$durable_nxt = enter$sel$rcv$nxt;",
    )
    .fails_if(
        "SND.UNA is published although a job is under way",
        "stage6$finish$publishable$n$w$side$pub_wait = ~quiet;",
        "stage6$finish$publishable$n$w$side$pub_una = stage6$asked$n$w$snd$una;",
    );
    Ok(vec![pass])
}
