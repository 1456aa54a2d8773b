//! The timer scan: what is due is offered within a bound, and what is offered was due.
//!
//! One connection is followed, any; the others set and pass their deadlines as they like, also so that one of them is
//! due at every look. The scan only asks whether a deadline has passed (`seq` shows that the question is put right), so
//! the time stands still here and deadlines lie around it; they pass by being set. Clocks in which the scan stands, switched off or waiting for an offer to be taken, do not count.

use crate::proof::{Error, Proof};
use chimney_hdl::prelude::*;
use chimney_hdl::tcp::seq::at_or_before;
use chimney_hdl::tcp::timers::{Deadline, SetDeadline, Timers};

/// Clocks from due to offered, for four connections: the look at each of the others may end in an offer.
const BOUND: u64 = 16;

/// The time.
const NOW: u64 = 2;

/// It runs, and has passed.
#[kernel]
fn is_due(d: Deadline, now: Bits<32>) -> bool {
    d.running && at_or_before(d.at, now)
}

/// The checker: a scan of four connections, one of which is followed.
#[derive(LogicBlock, Default)]
pub struct TimerChecker {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Reset.
    pub reset: Signal<In, Bit>,
    /// Scan.
    pub enable: Signal<In, Bit>,
    /// Clock, microseconds.
    pub now_us: Signal<In, Bits<32>>,
    /// Write an entry.
    pub set: Signal<In, SetDeadline>,
    /// An offer is taken.
    pub ready: Signal<In, Bit>,
    /// In the first clock: which connection is followed.
    pub choice: Signal<In, Bits<2>>,
    /// The clock stands, deadlines are near.
    pub fits: Signal<Out, Bit>,
    /// The property.
    pub ok: Signal<Out, Bit>,
    timers: Timers<2>,
    chosen: Dff<Bit>,
    conn: Dff<Bits<2>>,
    entry: Dff<Deadline>,
    older: Dff<Deadline>,
    waited: Dff<Bits<6>>,
    was_due: Dff<Bit>,
    was_offered: Dff<Bit>,
}

#[kernel]
impl Logic for TimerChecker {
    fn update(&mut self) {
        dff_setup!(self, clock, chosen, conn, entry, older, waited, was_due, was_offered);
        clock!(self, clock, timers);
        reset!(self, reset, timers);
        let (set, now) = (self.set.val(), self.now_us.val());
        self.fits.next = now == NOW && set.deadline.at < 2 * NOW;
        self.timers.enable.next = self.enable.val();
        self.timers.now_us.next = now;
        self.timers.set.next = set;
        self.timers.expired_ready.next = self.ready.val();
        let conn = if self.chosen.q.val() { self.conn.q.val() } else { self.choice.val() };
        self.chosen.d.next = true;
        self.conn.d.next = conn;
        let is_set = set.valid && bit_cast::<2, 16>(set.conn) == conn;
        let entry = self.entry.q.val();
        if is_set {
            self.entry.d.next = set.deadline;
        }
        self.older.d.next = entry;

        let offer = self.timers.expired.val().valid;
        let is_offered = offer && bit_cast::<2, 16>(self.timers.expired.val().conn) == conn;
        let waited = self.waited.q.val();
        if !self.enable.val() || !is_due(entry, now) || is_set || is_offered || self.reset.val() {
            self.waited.d.next = bits::<6>(0);
        } else if !offer || self.ready.val() {
            self.waited.d.next = waited + 1;
        }
        // A look takes a clock: the entry may have changed since.
        self.was_due.d.next = is_due(entry, now) || is_due(self.older.q.val(), now);
        self.was_offered.d.next = is_offered && !self.ready.val() && !self.reset.val();
        let is_true = !is_offered || self.was_offered.q.val() || self.was_due.q.val();
        self.ok.next = waited <= BOUND && is_true;
    }
}

/// The proofs.
///
/// # Errors
/// A checker that is no hardware.
pub fn proofs() -> Result<Vec<Proof>, Error> {
    let about =
        "a deadline that has passed is offered within 16 clocks of scanning, whatever the other three do";
    let proof = Proof::new("timers", about, TimerChecker::default())?
        .clocks(40)
        .fails_if(
            "the look under way is lost when another is found",
            "scan$d = read + 2'h1",
            "scan$d = scan + 2'h1",
        )
        .fails_if("it offers what does not run", "is_read && entries$rdata[0]", "is_read");
    Ok(vec![proof])
}
