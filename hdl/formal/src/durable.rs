//! Laws of the hand-over inside PROTO, over a whole pass: any event, any record, any segment, command, and answer.
//!
//! * **L2, nothing ahead of the durable record.** `durable_nxt` and `durable_right` are what the placer last said is in host memory (or what the
//!   image said): no other event moves them. A segment acknowledges just that, and offers no byte behind it.
//! * **L1, buffers go back when nobody reads them.** `pub_una`, up to which the host may take its buffers back, moves only to the value
//!   that waited for the newest job, and only by the event that says the job is done, or to SND.UNA when no job is under way. A value
//!   that waits does not change.

use crate::pass::{left_by, planned, taken, takes_over, Given, Late};
use crate::proof::{Error, Proof};
use crate::send::PICKS;
use chimney_hdl::prelude::*;
use chimney_hdl::tcp::proto::admit::Image;
use chimney_hdl::tcp::proto::record::Work;
use chimney_hdl::tcp::proto::step::{Pick, Step};
use chimney_hdl::tcp::proto::tx::{came_again, job};
use chimney_hdl::tcp::seq::at_or_before;
use chimney_hdl::tcp::window::MAX_SHIFT;
use chimney_hdl::types::TxJob;

/// Far more than a window.
const QUARTER: u64 = 1 << 30;

/// A whole pass.
#[derive(LogicBlock, Default)]
pub struct PassChecker {
    /// What the pass is given.
    pub given: Signal<In, Given>,
    /// The kind of event.
    pub pick: Signal<In, Pick>,
    /// The image of a command.
    pub image: Signal<In, Image>,
    /// What comes with its last stages.
    pub late: Signal<In, Late>,
    /// The image is not taken over in this pass: its numbers are the host's.
    pub fits: Signal<Out, Bit>,
    /// The laws hold.
    pub ok: Signal<Out, Bit>,
}

#[kernel]
impl Logic for PassChecker {
    fn update(&mut self) {
        let (g, pick, late) = (self.given.val(), self.pick.val(), self.late.val());
        let (e, w) = (g.what, g.w);
        let s = planned(taken(g, pick, self.image.val()), late);
        let s: Step = s;
        let sent = job::<0>(s.w, s.c.plan, s.c.conn, came_again(s.c), late.env.now_ms);
        let sent: TxJob = sent;
        let end = left_by(s, late);
        let end: Work = end;
        let kept = end.rcv.durable_nxt == w.rcv.durable_nxt && end.rcv.durable_right == w.rcv.durable_right;
        let said = pick == Pick::Commit
            && !e.commit.fault
            && end.rcv.durable_nxt == e.commit.nxt
            && end.rcv.durable_right == e.commit.right;
        let same =
            s.w.rcv.durable_nxt == end.rcv.durable_nxt && s.w.rcv.durable_right == end.rcv.durable_right;
        let acks = sent.ack == s.w.rcv.durable_nxt;
        let offered = sent.ack + (bit_cast::<32, 16>(sent.wnd) << s.w.fixed.rcv_wind_shift);
        let edge = later_edge(s.w.rcv.durable_nxt, s.w.rcv.durable_right);
        let offers = at_or_before(offered, edge);
        let waited = pick == Pick::Publish && end.side.pub_una == w.side.pub_next;
        let none = late.quiet && end.side.pub_una == end.snd.una;
        let still = w.side.pub_wait && end.side.pub_wait && pick != Pick::Publish;
        let held = !still || end.side.pub_next == w.side.pub_next;
        let begins = end.side.pub_wait && !w.side.pub_wait;
        let free = (end.side.pub_una == w.side.pub_una || waited || none)
            && held
            && (!begins || end.side.pub_next == end.snd.una);
        let sane = w.fixed.rcv_wind_shift <= MAX_SHIFT
            && w.rcv.durable_right - w.rcv.durable_nxt < QUARTER
            && e.commit.right - e.commit.nxt < QUARTER;
        self.fits.next = sane && !takes_over(g, pick);
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
    .each("pick", PICKS)
    .fails_if(
        "a window is rounded up",
        "16'hffff : job$window_field$units[15:0]",
        "16'hffff : 16'h1 + job$window_field$units[15:0]",
    )
    .in_case(Pick::Tx as u64)
    .fails_if(
        "what could not be written counts as durable",
        "taken$stage1$committed$n$w$rcv$durable_nxt = n$ ? taken$stage1$committed$n$w$rcv$durable_nxt :",
        "taken$stage1$committed$n$w$rcv$durable_nxt = n$ ? taken$enter$sel$rcv$nxt :",
    )
    .in_case(Pick::Commit as u64)
    .fails_if(
        "SND.UNA is published although a job is under way",
        "left_by$stage6$finish$side$w$side$pub_una = left_by$stage6$finish$publishable$n$w$side$pub_una",
        "left_by$stage6$finish$side$w$side$pub_una = left_by$stage6$asked$n$w$snd$una",
    )
    .in_case(Pick::Rx as u64);
    Ok(vec![pass])
}
