//! The watchdog: what each connection did in a period, and whether its offload still pays (`chimney_abi::watch`).
//!
//! ```text
//!   Deed (a pass of PROTO) --+                                   deadlines (Timers) --+
//!   Stowed (the placer) -----+-> turn -> row + what is new -> rows                    +-> due (PROTO)
//!   the walk ----------------+              `-> sample -> select, multiply, compare --+
//! ```
//! Once in a period the walk visits every row, empties it, and compares what was in it with the limits, reason by reason. What is found goes
//! to PROTO as a notice beside the deadlines, which come first; PROTO says which connections may be asked for. If nothing is found any
//! more, a notice takes back what was asked for.
//!
//! Latency: a walk takes 20 clocks a row, and waits while there is news in every clock. Throughput: a deed every second clock, and one of
//! the placer in each of the clocks between. Back-pressure: none for them; the walk stands while its notice is not taken. Reset: at rest; the
//! rows of connections that have not begun since mean nothing.
use crate::mem::SdpRam;
use crate::prelude::*;
use chimney_abi::cmd::UploadReason;

/// See `chimney_abi::watch::WatchLimits`.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Limits {
    /// See `regs::WATCH_PERIOD_US`.
    pub period_us: Bits<32>,
    /// See `regs::WATCH_LEAST`.
    pub least_progress: Bits<8>,
    /// See `regs::WATCH_LEAST`.
    pub least_segments: Bits<8>,
    /// See `regs::WATCH_SHARES`.
    pub drop_rate: Bits<8>,
    /// See `regs::WATCH_SHARES`.
    pub small_io: Bits<8>,
    /// See `regs::WATCH_SHARES`.
    pub no_preposting: Bits<8>,
    /// See `regs::WATCH_SHARES`.
    pub fragmentation: Bits<8>,
    /// See `regs::WATCH_ORDER`.
    pub out_of_order: Bits<8>,
}

/// What a pass of PROTO did.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Deed {
    /// There is one.
    pub valid: Bit,
    /// Its connection.
    pub conn: Bits<16>,
    /// The connection begins.
    pub joins: Bit,
    /// RCV.NXT or SND.UNA has moved.
    pub progress: Bit,
    /// Text of a segment was taken.
    pub text: Bit,
    /// With `text`: out of order.
    pub out_of_order: Bit,
    /// With `text`: the host forwarded it.
    pub forwarded: Bit,
    /// A segment with text or FIN is sent.
    pub sends: Bit,
    /// With `sends`: it was sent before.
    pub again: Bit,
    /// An upload is asked for that need not be granted.
    pub asked: Bit,
}

/// Where the placer put text.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Stowed {
    /// There is some.
    pub valid: Bit,
    /// Its connection.
    pub conn: Bits<16>,
    /// Text in order began in a page of the pool.
    pub pooled: Bit,
    /// Text ended a post and went on elsewhere.
    pub split: Bit,
}

/// A reason for a pass of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Due {
    /// There is one.
    pub valid: Bit,
    /// Its connection.
    pub conn: Bits<16>,
    /// 0: a deadline has come. Else the number of an `UploadReason`, or [`NONE_NOW`].
    pub notice: Bits<4>,
}

/// [`Due::notice`]: nothing is to be asked for any more.
pub const NONE_NOW: u64 = 15;

/// A row: `chimney_host_stack_core::watchdog::Sample`, and what was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Sample {
    /// Moves of RCV.NXT or SND.UNA.
    pub progress: Bits<8>,
    /// Segments with text taken.
    pub text: Bits<8>,
    /// Of these, out of order.
    pub out_of_order: Bits<8>,
    /// Of these, forwarded by the host.
    pub forwarded: Bits<8>,
    /// See [`Stowed`].
    pub pooled: Bits<8>,
    /// See [`Stowed`].
    pub split: Bits<8>,
    /// Segments sent.
    pub sent: Bits<8>,
    /// Of these, sent before.
    pub again: Bits<8>,
    /// See [`Deed::asked`].
    pub asked: Bit,
}

/// Whose the memory's port is.
#[derive(Clone, Copy, Debug, PartialEq, LogicState)]
enum Turn {
    Nobody,
    Deed,
    Stowed,
    Walk,
}

/// What the walk is doing.
#[derive(Clone, Copy, Debug, PartialEq, LogicState)]
enum Walk {
    /// The period is not over.
    Rest,
    /// A row is to be read.
    Look,
    /// It is there.
    Take,
    /// Parts of the next comparison.
    Select,
    /// Its product.
    Multiply,
    /// Its end.
    Compare,
    /// A notice is offered.
    Offer,
}

/// A comparison: `part / whole >= limit / 256`.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Share {
    /// Part.
    pub part: Bits<8>,
    /// Whole.
    pub whole: Bits<8>,
    /// Limit.
    pub limit: Bits<8>,
}

/// Comparisons of a row; the last one is of progress.
const LAST: u64 = 5;

/// The block.
#[derive(LogicBlock, Default)]
pub struct Watchdog<const LOG2: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Reset.
    pub reset: Signal<In, Bit>,
    /// Periods go by, and notices are offered.
    pub enable: Signal<In, Bit>,
    /// Clock, low word, microseconds.
    pub now_us: Signal<In, Bits<32>>,
    /// Registers, stable while enabled.
    pub limits: Signal<In, Limits>,
    /// What a pass did.
    pub deed: Signal<In, Deed>,
    /// What the placer did.
    pub stowed: Signal<In, Stowed>,
    /// A connection with an expired deadline.
    pub expired: Signal<In, Due>,
    /// It is taken.
    pub expired_ready: Signal<Out, Bit>,
    /// That, or a notice.
    pub due: Signal<Out, Due>,
    /// It is taken.
    pub due_ready: Signal<In, Bit>,
    rows: SdpRam<Sample, LOG2>,
    held: Dff<Stowed>,
    turn: Dff<Turn>,
    row: Dff<Bits<LOG2>>,
    deeds: Dff<Deed>,
    stows: Dff<Stowed>,
    written: Dff<Sample>,
    written_at: Dff<Bits<LOG2>>,
    was_written: Dff<Bit>,
    walk: Dff<Walk>,
    since: Dff<Bits<32>>,
    conn: Dff<Bits<LOG2>>,
    sample: Dff<Sample>,
    step: Dff<Bits<3>>,
    share: Dff<Share>,
    product: Dff<Bits<16>>,
    notice: Dff<Bits<4>>,
}

/// One more, if there is one and room for it.
#[kernel]
fn more(count: Bits<8>, is_one: bool) -> Bits<8> {
    if is_one && !count.all() {
        count + 1
    } else {
        count
    }
}

/// The row after a pass.
#[kernel]
fn after_deed(s: Sample, d: Deed) -> Sample {
    let is_text = d.text && !s.text.all();
    let sends = d.sends && !s.sent.all();
    if d.joins {
        // It has not had a whole period yet.
        Sample { progress: bits::<8>(0xFF), ..Sample::default() }
    } else {
        Sample {
            progress: more(s.progress, d.progress),
            text: more(s.text, is_text),
            out_of_order: more(s.out_of_order, is_text && d.out_of_order),
            forwarded: more(s.forwarded, is_text && d.forwarded),
            sent: more(s.sent, sends),
            again: more(s.again, sends && d.again),
            asked: d.asked,
            ..s
        }
    }
}

/// The row after text was placed.
#[kernel]
fn after_stowed(s: Sample, t: Stowed) -> Sample {
    let is_open = !s.text.all();
    Sample { pooled: more(s.pooled, t.pooled && is_open), split: more(s.split, t.split && is_open), ..s }
}

/// The comparison with this number; the gravest first.
#[kernel]
fn selected(s: Sample, l: Limits, step: Bits<3>) -> Share {
    match step.index() {
        0 => Share { part: s.again, whole: s.sent, limit: l.drop_rate },
        1 => Share { part: s.out_of_order, whole: s.text, limit: l.out_of_order },
        2 => Share { part: s.forwarded, whole: s.text, limit: l.fragmentation },
        3 => Share { part: s.pooled, whole: s.text, limit: l.no_preposting },
        _ => Share { part: s.split, whole: s.text, limit: l.small_io },
    }
}

/// The reason that goes with it.
#[kernel]
fn reason(step: Bits<3>) -> Bits<4> {
    match step.index() {
        0 => bits::<4>(DROP_RATE),
        1 => bits::<4>(OUT_OF_ORDER),
        2 => bits::<4>(FRAGMENTATION),
        3 => bits::<4>(NO_PREPOSTING),
        4 => bits::<4>(SMALL_IO),
        _ => bits::<4>(LOW_ACTIVITY),
    }
}

/// See `UploadReason`.
pub const DROP_RATE: u64 = UploadReason::HighDropRate.code() as u64;
/// See `UploadReason`.
pub const OUT_OF_ORDER: u64 = UploadReason::HighOutOfOrderPackets.code() as u64;
/// See `UploadReason`.
pub const FRAGMENTATION: u64 = UploadReason::HighFragmentation.code() as u64;
/// See `UploadReason`.
pub const NO_PREPOSTING: u64 = UploadReason::NoBufferPreposting.code() as u64;
/// See `UploadReason`.
pub const SMALL_IO: u64 = UploadReason::SmallIo.code() as u64;
/// See `UploadReason`.
pub const LOW_ACTIVITY: u64 = UploadReason::LowActivity.code() as u64;

/// The comparison asks for an upload.
#[kernel]
fn is_met(step: Bits<3>, x: Share, product: Bits<16>, s: Sample, l: Limits) -> bool {
    if step == LAST {
        s.progress < l.least_progress
    } else {
        let is_much = cat::<16, _>((x.part, bits::<8>(0))) >= product;
        x.limit.any() && x.part.any() && x.whole >= l.least_segments && is_much
    }
}

/// The next step of the walk at a row. `found`: there is something to tell.
#[kernel]
fn next(walk: Walk, turn: Turn, found: bool) -> Walk {
    match walk {
        Walk::Look => {
            if turn == Turn::Walk {
                Walk::Take
            } else {
                Walk::Look
            }
        }
        Walk::Take => Walk::Select,
        Walk::Select => Walk::Multiply,
        Walk::Multiply => Walk::Compare,
        Walk::Compare => {
            if found {
                Walk::Offer
            } else {
                Walk::Select
            }
        }
        Walk::Offer | Walk::Rest => walk,
    }
}

#[kernel]
impl<const LOG2: usize> Logic for Watchdog<LOG2> {
    fn update(&mut self) {
        dff_setup!(self, clock, held, turn, row, deeds, stows, written, written_at, was_written);
        dff_setup!(self, clock, walk, since, conn, sample, step, share, product, notice);
        clock!(self, clock, rows);
        let (l, now) = (self.limits.val(), self.now_us.val());
        let (d, held, walk) = (self.deed.val(), self.held.q.val(), self.walk.q.val());
        let (conn, step, s) = (self.conn.q.val(), self.step.q.val(), self.sample.q.val());

        // A row is read, and in the clock after that written. What was written in the clock of the read counts.
        let turn = if d.valid {
            Turn::Deed
        } else if held.valid {
            Turn::Stowed
        } else if walk == Walk::Look {
            Turn::Walk
        } else {
            Turn::Nobody
        };
        let at = match turn {
            Turn::Deed => bit_cast::<LOG2, 16>(d.conn),
            Turn::Stowed => bit_cast::<LOG2, 16>(held.conn),
            Turn::Walk | Turn::Nobody => conn,
        };
        self.turn.d.next = turn;
        self.row.d.next = at;
        self.deeds.d.next = d;
        self.stows.d.next = held;
        let stowed = self.stowed.val();
        self.held.d.next =
            if stowed.valid { stowed } else { Stowed { valid: held.valid && turn != Turn::Stowed, ..held } };
        self.rows.re.next = turn != Turn::Nobody;
        self.rows.raddr.next = at;
        let (was, row) = (self.turn.q.val(), self.row.q.val());
        let is_newer = self.was_written.q.val() && self.written_at.q.val() == row;
        let old = if is_newer { self.written.q.val() } else { self.rows.rdata.val() };
        let new = match was {
            Turn::Deed => after_deed(old, self.deeds.q.val()),
            Turn::Stowed => after_stowed(old, self.stows.q.val()),
            Turn::Walk | Turn::Nobody => Sample { asked: old.asked, ..Sample::default() },
        };
        let writes = was != Turn::Nobody;
        self.rows.we.next = writes;
        self.rows.waddr.next = row;
        self.rows.wdata.next = new;
        self.written.d.next = new;
        self.written_at.d.next = row;
        self.was_written.d.next = writes;

        // The walk.
        let is_over = l.period_us.any() && (now - self.since.q.val()) >= l.period_us;
        let begins = walk == Walk::Rest && self.enable.val() && is_over;
        if begins || !self.enable.val() {
            self.since.d.next = now;
        }
        let met = is_met(step, self.share.q.val(), self.product.q.val(), s, l);
        let takes_back = step == LAST && s.asked;
        let expired = self.expired.val();
        let offers = walk == Walk::Offer && self.enable.val() && !expired.valid;
        let ends = walk == Walk::Compare && step == LAST && !met && !takes_back;
        // A connection that begins now is not the one that was judged.
        let is_gone = d.valid && d.joins && bit_cast::<LOG2, 16>(d.conn) == conn && walk != Walk::Rest;
        let goes_on = ends || is_gone || (offers && self.due_ready.val());
        self.walk.d.next = if begins || (goes_on && !conn.all()) {
            Walk::Look
        } else if goes_on {
            Walk::Rest
        } else {
            next(walk, turn, met || takes_back)
        };
        self.conn.d.next = conn + goes_on;
        if walk == Walk::Take {
            self.sample.d.next = old;
            self.step.d.next = bits::<3>(0);
        } else if walk == Walk::Compare {
            self.step.d.next = step + 1;
        }
        self.share.d.next = selected(s, l, step);
        self.product.d.next = mul::<16, 8, 8>(self.share.q.val().limit, self.share.q.val().whole);
        if walk == Walk::Compare {
            self.notice.d.next = if met { reason(step) } else { bits::<4>(NONE_NOW) };
        }

        // Deadlines first.
        let notice = Due { valid: offers, conn: bit_cast::<16, LOG2>(conn), notice: self.notice.q.val() };
        self.due.next = if expired.valid { Due { notice: bits::<4>(0), ..expired } } else { notice };
        self.expired_ready.next = expired.valid && self.due_ready.val();
        dff_reset!(self, reset, held, turn, was_written, walk, conn);
    }
}
