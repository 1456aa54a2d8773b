//! The send side inside PROTO, over a whole pass: any event, any record that an earlier pass can have left, any segment, command and answer.
//!
//! * **Order.** `SND.UNA <= SND.MAX <= the end of what the host has posted` (and one for our FIN) before a pass is so after it, also when it takes over the
//!   host's image. SND.NXT is SND.MAX here: what was sent before goes again by the loss unit's word, not by going back. So nothing is sent that was not posted, and nothing counts as acknowledged that was not sent.
//! * **Nobody is forgotten.** While something is unacknowledged, or unsent and allowed, there is a timer that runs, a place in the ready list, or
//!   an answer of the loss unit to come; an acknowledgment that is owed has its timer or its place. The deadline that is watched is not
//!   behind any timer.
//!
//! SND.UNA lies at one of eight places of the circle, so that the numbers behind it cross 0, the half, or neither; everything else is free. Where it lies
//! makes no difference, as only differences are looked at (`seq`).
//!
//! By induction over passes: a record of nobody has both, and each pass keeps them. A pass is proved in its parts (`pass`), the first for one
//! kind of event after the other; what is said between two parts is [`is_carried`] and [`is_within`].

use crate::admit::is_fit;
use crate::pass::{left_by, planned, taken, takes_over, Given, Late};
use crate::proof::{Error, Proof};
use chimney_hdl::prelude::*;
use chimney_hdl::tcp::loss::queue::QUEUE_LOG2;
use chimney_hdl::tcp::proto::admit::Image;
use chimney_hdl::tcp::proto::news::earliest;
use chimney_hdl::tcp::proto::op::is_too_far;
use chimney_hdl::tcp::proto::queues::PASSES;
use chimney_hdl::tcp::proto::record::Work;
use chimney_hdl::tcp::proto::step::{
    is_active, Env, Pick, Plan, Step, Why, CLOSE_WAIT, CLOSING, ESTABLISHED, FIN_WAIT_1, LAST_ACK,
};
use chimney_hdl::tcp::seq::{ahead, at_or_before, before};
use chimney_hdl::tcp::timers::Deadline;

/// So near that differences say what comes first.
const QUARTER: u64 = 1 << 30;
/// Kinds of events.
pub const PICKS: u64 = Pick::Tx as u64 + 1;
/// Jobs of the loss unit that are counted and not answered: in its queue, in its hand, and in passes under way (`loss/queue.rs`).
const MOST_ASKED: u64 = (1 << QUEUE_LOG2) + 1 + PASSES;

/// SND.UNA at one of eight places.
#[kernel]
fn placed(w: Work, place: Bits<3>) -> Work {
    let mut n = w;
    n.snd.una = bit_cast::<32, 3>(place) << bits::<5>(29);
    n
}

/// The record of a pass at one of eight places.
#[kernel]
fn given_at(g: Given, place: Bits<3>) -> Given {
    let mut n = g;
    n.w = placed(g.w, place);
    n
}

/// The pass so far at one of eight places.
#[kernel]
fn step_at(s: Step, place: Bits<3>) -> Step {
    let mut n = s;
    n.w = placed(s.w, place);
    n
}

/// Bytes and FIN of `w` that were posted and not acknowledged; the FIN only if it was sent, or `fin` is sent now.
#[kernel]
fn posted(w: Work, fin: bool) -> Bits<32> {
    w.limit + (w.flags.fin_sent || fin) - w.snd.una
}

/// Send variables in order.
#[kernel]
fn in_order(w: Work) -> bool {
    w.snd.max - w.snd.una <= posted(w, false) && !is_too_far(w.limit - w.snd.una, w.flags.fin_sent)
}

/// A segment has a size.
#[kernel]
fn is_size(smss: Bits<32>) -> bool {
    smss != 0 && smss <= 0xFFFF
}

/// The loss unit has no more jobs than it has room for.
#[kernel]
fn is_countable(w: Work) -> bool {
    w.guard.asked <= MOST_ASKED
}

/// What a pass is given can be.
#[kernel]
fn is_sane(g: Given, pick: Pick) -> bool {
    is_size(g.smss3) && is_countable(g.w) && (pick != Pick::Loss || g.w.guard.asked.any())
}

/// An image that is taken over is one that was admitted (`admit`).
#[kernel]
fn is_admitted(g: Given, pick: Pick, image: Image) -> bool {
    !takes_over(g, pick) || image.seen.is_bad || is_fit(image.record)
}

/// Nothing is planned before stage 5.
#[kernel]
fn is_unplanned(s: Step) -> bool {
    s.c.plan.why == Why::Nothing && !s.c.is_probe
}

/// The order of the send variables, stages 1 to 4.
#[derive(LogicBlock, Default)]
pub struct OrderTaken {
    /// What the pass is given.
    pub given: Signal<In, Given>,
    /// The kind of event.
    pub pick: Signal<In, Pick>,
    /// Where SND.UNA lies.
    pub place: Signal<In, Bits<3>>,
    /// The image of a command.
    pub image: Signal<In, Image>,
    /// The record is in order.
    pub fits: Signal<Out, Bit>,
    /// And it still is.
    pub ok: Signal<Out, Bit>,
}

#[kernel]
impl Logic for OrderTaken {
    fn update(&mut self) {
        let (g, pick) = (given_at(self.given.val(), self.place.val()), self.pick.val());
        let g: Given = g;
        let s = taken(g, pick, self.image.val());
        let s: Step = s;
        self.fits.next = in_order(g.w) && is_sane(g, pick) && is_admitted(g, pick, self.image.val());
        self.ok.next = s.c.forget || (in_order(s.w) && is_unplanned(s));
    }
}

/// What is sent for the first time was posted, and begins behind what was sent.
#[kernel]
pub fn is_within(w: Work, p: Plan) -> bool {
    let end = p.seq + bit_cast::<32, 16>(p.len) + p.fin;
    p.why != Why::New || (p.seq == w.snd.max && end - w.snd.una <= posted(w, p.fin))
}

/// The order of the send variables, stage 5.
#[derive(LogicBlock, Default)]
pub struct OrderPlanned {
    /// The pass before it.
    pub step: Signal<In, Step>,
    /// What comes with it.
    pub late: Signal<In, Late>,
    /// Where SND.UNA lies.
    pub place: Signal<In, Bits<3>>,
    /// The record is in order.
    pub fits: Signal<Out, Bit>,
    /// It still is, and what is to be sent was posted.
    pub ok: Signal<Out, Bit>,
}

#[kernel]
impl Logic for OrderPlanned {
    fn update(&mut self) {
        let (s, l) = (step_at(self.step.val(), self.place.val()), self.late.val());
        let s: Step = s;
        let n = planned(s, l);
        let n: Step = n;
        self.fits.next = in_order(s.w) && is_unplanned(s) && is_size(l.smss5);
        self.ok.next = in_order(n.w) && is_within(n.w, n.c.plan);
    }
}

/// The order of the send variables, stage 6.
#[derive(LogicBlock, Default)]
pub struct OrderLeft {
    /// The pass before it.
    pub step: Signal<In, Step>,
    /// What comes with it.
    pub late: Signal<In, Late>,
    /// Where SND.UNA lies.
    pub place: Signal<In, Bits<3>>,
    /// The record is in order, and what is to be sent was posted.
    pub fits: Signal<Out, Bit>,
    /// The record is in order.
    pub ok: Signal<Out, Bit>,
}

#[kernel]
impl Logic for OrderLeft {
    fn update(&mut self) {
        let (s, l) = (step_at(self.step.val(), self.place.val()), self.late.val());
        let s: Step = s;
        self.fits.next = in_order(s.w) && is_within(s.w, s.c.plan);
        self.ok.next = in_order(left_by(s, l));
    }
}

/// A connection that may send text or a FIN.
#[kernel]
fn has_voice(w: Work) -> bool {
    let state = w.state;
    let open = state == ESTABLISHED || state == CLOSE_WAIT;
    let ends = state == FIN_WAIT_1 || state == CLOSING || state == LAST_ACK;
    is_active(w) && !w.flags.invalid && (open || ends)
}

/// What is unacknowledged has the retransmission timer, with `turn` or `answer` or without: the window may be closed when they come; so has a closed
/// window that is probed. Text that is unsent, with nothing in flight, has it too, or a turn to come, or an answer; a FIN alone waits for no window, so
/// the timer is not for it.
#[kernel]
fn is_remembered(w: Work, timer: bool, turn: bool, answer: bool) -> bool {
    let text = before(w.snd.max, w.limit);
    let fin = w.flags.fin_posted && !w.flags.fin_sent;
    let sends = if w.snd.una != w.snd.max || w.flags.persist {
        timer
    } else {
        turn || answer || if text { timer } else { !fin }
    };
    !has_voice(w) || sends
}

/// An acknowledgment that is owed has a turn to come, or its timer.
#[kernel]
fn is_answered(w: Work, turn: bool) -> bool {
    let later = w.rcv.ack_pending == 0 || w.tm.on.delack || (w.flags.ack_now && turn);
    !is_active(w) || w.flags.invalid || ((!w.flags.ack_now || turn) && later)
}

/// What the loss unit has not heard it will hear.
#[kernel]
fn is_heard(w: Work, turn: bool) -> bool {
    !w.guard.is_behind || turn || w.fixed.generation == 0
}

/// A RST, which takes a turn, is only sent for an abort: nothing else is to be sent then.
#[kernel]
fn is_over(w: Work) -> bool {
    !w.side.reset || w.flags.aborted
}

/// All of it, of a record between two passes.
#[kernel]
fn is_kept(w: Work) -> bool {
    let turn = w.side.queued;
    is_remembered(w, w.tm.on.rtx, turn, w.guard.asked.any())
        && is_answered(w, turn)
        && is_heard(w, turn)
        && is_over(w)
}

/// All of it, of a record between stages 4 and 5: its turn may be this pass, its question this pass's, and its timer about to begin.
#[kernel]
pub fn is_carried(s: Step) -> bool {
    let turn = s.w.side.queued || s.c.want_tx;
    let timer = s.w.tm.on.rtx || s.c.restart;
    let asks = s.w.guard.asked.any() || s.c.ask.is_asked;
    // One that is asked now hears of all.
    let is_heard = is_heard(s.w, turn) || s.c.ask.is_asked;
    is_remembered(s.w, timer, turn, asks) && is_answered(s.w, turn) && is_heard && is_over(s.w)
}

/// Nobody is forgotten, stages 1 to 4.
#[derive(LogicBlock, Default)]
pub struct MemoryTaken {
    /// What the pass is given.
    pub given: Signal<In, Given>,
    /// The kind of event.
    pub pick: Signal<In, Pick>,
    /// Where SND.UNA lies.
    pub place: Signal<In, Bits<3>>,
    /// The image of a command.
    pub image: Signal<In, Image>,
    /// The record is in order and remembered.
    pub fits: Signal<Out, Bit>,
    /// And it still is.
    pub ok: Signal<Out, Bit>,
}

#[kernel]
impl Logic for MemoryTaken {
    fn update(&mut self) {
        let (g, pick) = (given_at(self.given.val(), self.place.val()), self.pick.val());
        let g: Given = g;
        let s = taken(g, pick, self.image.val());
        let s: Step = s;
        let can = is_sane(g, pick) && is_admitted(g, pick, self.image.val());
        self.fits.next = in_order(g.w) && is_kept(g.w) && can;
        self.ok.next = s.c.forget || (is_carried(s) && is_countable(s.w));
    }
}

/// Nobody is forgotten, stages 5 and 6.
#[derive(LogicBlock, Default)]
pub struct MemoryLeft {
    /// The pass before them.
    pub step: Signal<In, Step>,
    /// What comes with it.
    pub late: Signal<In, Late>,
    /// Where SND.UNA lies.
    pub place: Signal<In, Bits<3>>,
    /// The record is in order and remembered.
    pub fits: Signal<Out, Bit>,
    /// And it still is.
    pub ok: Signal<Out, Bit>,
}

#[kernel]
impl Logic for MemoryLeft {
    fn update(&mut self) {
        let (s, l) = (step_at(self.step.val(), self.place.val()), self.late.val());
        let s: Step = s;
        let end = left_by(planned(s, l), l);
        let end: Work = end;
        let can = is_countable(s.w) && is_unplanned(s) && is_size(l.smss5);
        self.fits.next = in_order(s.w) && is_carried(s) && can;
        self.ok.next = is_kept(end);
    }
}

/// So many microseconds are that many milliseconds.
#[kernel]
fn thousand(ms: Bits<32>) -> Bits<32> {
    (ms << bits::<4>(10)) - (ms << bits::<3>(4)) - (ms << bits::<2>(3))
}

/// The deadline that is watched.
#[derive(LogicBlock, Default)]
pub struct WatchChecker {
    /// The record.
    pub w: Signal<In, Work>,
    /// Clocks.
    pub env: Signal<In, Env>,
    /// Deadlines are near.
    pub fits: Signal<Out, Bit>,
    /// It is not behind any that runs, and there is one if any runs.
    pub ok: Signal<Out, Bit>,
}

#[kernel]
impl Logic for WatchChecker {
    fn update(&mut self) {
        let (w, v) = (self.w.val(), self.env.val());
        let w: Work = w;
        let v: Env = v;
        let now = v.now_us;
        let d = earliest(w, v);
        let d: Deadline = d;
        let t = w.tm;
        let seen = (!t.on.rtx || at_or_before(d.at, t.rtx))
            && (!t.on.delack || at_or_before(d.at, t.delack))
            && (!t.on.push || at_or_before(d.at, t.push))
            && (!t.on.keep_alive || at_or_before(d.at, v.ms_us + thousand(ahead(v.now_ms, t.keep_alive))));
        let runs = t.on.rtx || t.on.delack || t.on.push || t.on.keep_alive;
        self.fits.next = is_active(w)
            && t.rtx - now < QUARTER
            && t.delack - now < QUARTER
            && t.push - now < QUARTER
            && ahead(v.now_ms, t.keep_alive) < QUARTER >> 10
            && now - v.ms_us < 1000;
        self.ok.next = d.running == runs && (!runs || seen);
    }
}

/// The proofs.
///
/// # Errors
/// A checker that is no hardware.
pub fn proofs() -> Result<Vec<Proof>, Error> {
    Ok([order()?, memory()?].concat())
}

fn order() -> Result<Vec<Proof>, Error> {
    let taken = Proof::new(
        "send_order_taken",
        "what an event does to a record leaves SND.UNA, SND.MAX and the end of what was posted in this order",
        OrderTaken::default(),
    )?
    .each("pick", PICKS)
    .fails_if(
        "an acknowledgment counts for a byte more than it says",
        "taken$stage2$acked$advance$r$w$snd$una = given",
        "taken$stage2$acked$advance$r$w$snd$una = 32'h1 + given",
    )
    .in_case(Pick::Rx as u64);
    let planned = Proof::new("send_order_planned", "what is to be sent was posted", OrderPlanned::default())?
        .fails_if(
            "a byte behind the posted ones is sent",
            "planned$stage5$tx_plan$choose$fresh$unsent$ahead$distance = s",
            "planned$stage5$tx_plan$choose$fresh$unsent$ahead$distance = 32'h1 + s",
        );
    let left = Proof::new(
        "send_order_left",
        "what is sent leaves SND.UNA, SND.MAX and the end of what was posted in this order",
        OrderLeft::default(),
    )?
    .fails_if(
        "a segment counts for a byte more than it has",
        "left_by$went$tx_sent$sent_text$end = (",
        "left_by$went$tx_sent$sent_text$end = 32'h1 + (",
    );
    Ok(vec![taken, planned, left])
}

fn memory() -> Result<Vec<Proof>, Error> {
    let taken = Proof::new(
        "send_memory_taken",
        "what an event leaves unacknowledged, unsent or owed as an acknowledgment has a timer, a turn, or an answer to come",
        MemoryTaken::default(),
    )?
    .each("pick", PICKS)
    .fails_if(
        "a doorbell gives no turn",
        "taken$stage1$bell$n$c$want_tx = 1'h1",
        "taken$stage1$bell$n$c$want_tx = 1'h0",
    )
    .in_case(Pick::Bell as u64)
    .fails_if(
        "an answer of the loss unit gives no turn",
        "taken$stage1$answered$n$c$want_tx = (taken",
        "taken$stage1$answered$n$c$want_tx = 1'h0 && (taken",
    )
    .in_case(Pick::Loss as u64)
    .fails_if(
        "persist that ends without news of the window gives no turn",
        "wire taken$stage2$acked$resumes = taken",
        "wire taken$stage2$acked$resumes = 1'h0 && taken",
    )
    .in_case(Pick::Rx as u64);
    let left = Proof::new(
        "send_memory_left",
        "a turn to send leaves what is unacknowledged, unsent or owed as an acknowledgment with a timer, a turn, or an answer to come",
        MemoryLeft::default(),
    )?
    .fails_if(
        "an acknowledgment takes the turn of what waits for the window",
        "(planned$stage5$tx_plan$n$c$plan$why == 3'h3))) &&",
        "(planned$stage5$tx_plan$n$c$plan$why == 3'h3) || (planned$stage5$tx_plan$n$c$plan$why == 3'h5))) &&",
    )
    .fails_if(
        "a segment that is sent starts no timer",
        "left_by$went$tx_sent$sent_text$n$w$tm$on$rtx = 1'h1",
        "left_by$went$tx_sent$sent_text$n$w$tm$on$rtx = 1'h0",
    );
    let watched = Proof::new(
        "send_memory_watched",
        "the deadline that is watched is not behind any timer that runs",
        WatchChecker::default(),
    )?
    .fails_if(
        "the later of two deadlines is watched",
        "earliest$sooner$sel$at$2 = earliest$sooner$earlier$after$t$1[31] ?",
        "earliest$sooner$sel$at$2 = ~earliest$sooner$earlier$after$t$1[31] ?",
    );
    Ok(vec![taken, left, watched])
}
