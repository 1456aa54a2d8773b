//! The deadline scanner under a PROTO that stores deadlines at random: native against Verilated, and against plain Rust.

use chimney_hdl::prelude::Bits;
use chimney_hdl::tcp::timers::{Deadline, SetDeadline, Timers};
use chimney_hdl_kernel::diff::{long, Diff, Rnd};
use std::cell::RefCell;

const CONN_LOG2: usize = 3;
const CONNS: usize = 1 << CONN_LOG2;

type Dut = Timers<CONN_LOG2>;

/// Any width up to 64 as a number.
fn n<const N: usize>(b: Bits<N>) -> u64 {
    (0..N).fold(0, |v, i| v | u64::from(b.get_bit(i)) << i)
}

/// Clocks for which the table is remembered, newest first: the scanner may have looked a few clocks ago.
const LOOKED: usize = 4;

#[derive(Default)]
struct Test {
    now: u32,
    table: [Deadline; CONNS],
    set: Option<(usize, Deadline)>,
    /// The table in the last clocks.
    looked: [[Deadline; CONNS]; LOOKED],
    /// Clocks of scanning since each connection became due.
    missed: [usize; CONNS],
    offer: Option<u64>,
    /// Connections whose new deadline is still to be stored.
    owed: Vec<usize>,
    seen: [usize; 3],
}

impl Test {
    fn poke(&mut self, u: &mut Dut, r: &mut Rnd) {
        if let Some((conn, d)) = self.set.take() {
            self.table[conn] = d;
            self.missed[conn] = 0;
        }
        u.reset.next = false;
        u.enable.next = r.chance(49, 50);
        self.now = self.now.wrapping_add(r.below(300) as u32);
        u.now_us.next = u64::from(self.now).into();
        let conn = if !self.owed.is_empty() && r.chance(1, 3) {
            Some(self.owed.remove(0))
        } else {
            r.chance(1, 40).then(|| r.below(CONNS as u64) as usize)
        };
        let at = u64::from(self.now.wrapping_add(r.below(60_000) as u32).wrapping_sub(2000));
        let deadline = Deadline { running: r.chance(3, 4), at: at.into() };
        self.set = conn.map(|c| (c, deadline));
        let (at, deadline) = self.set.unwrap_or((r.below(8) as usize, r.any()));
        u.set.next = SetDeadline { valid: conn.is_some(), conn: (at as u64).into(), deadline };
        u.expired_ready.next = r.chance(1, 3);
    }

    fn see(&mut self, u: &Dut) {
        // Also over the wrap of the clock: a deadline lies at most half a turn away.
        let now = self.now;
        let is_due = |d: &Deadline| d.running && now.wrapping_sub(n(d.at) as u32) < 1 << 31;
        let due: [bool; CONNS] = std::array::from_fn(|i| is_due(&self.table[i]));
        self.looked.rotate_right(1);
        self.looked[0] = self.table;
        let offer = u.expired.val().valid.then(|| n(u.expired.val().conn));
        if let Some(conn) = offer {
            let conn = conn as usize;
            if self.offer.is_none() {
                assert!(self.looked.iter().any(|table| is_due(&table[conn])), "connection {conn} is not due");
                self.seen[0] += 1;
            } else {
                assert_eq!(offer, self.offer, "an offer stays");
                self.seen[1] += 1;
            }
            self.missed[conn] = 0;
            if u.expired_ready.val() {
                self.owed.push(conn);
            }
        } else if u.enable.val() {
            for conn in (0..CONNS).filter(|c| due[*c]) {
                self.missed[conn] += 1;
                // A turn, and the clocks in which the scan starts again after each of the others was offered.
                assert!(self.missed[conn] <= 4 * CONNS, "connection {conn} is passed over");
            }
        } else {
            self.seen[2] += 1;
            // The look under way is given up.
            self.missed = [0; CONNS];
        }
        self.offer = offer.filter(|_| !u.expired_ready.val());
    }
}

/// What is offered is due, or was when it was looked at; what is due is offered within a turn; an offer stays.
///
/// Verifies: law L5.
#[test]
fn a_deadline_that_has_passed_is_offered_within_a_turn() {
    let t = RefCell::new(Test { now: 0xffff_0000, ..Test::default() });
    Diff::new("timer_scan", if long() { 300_000 } else { 15_000 }).run_seen(
        Dut::default(),
        |u, r| t.borrow_mut().poke(u, r),
        |u| t.borrow_mut().see(u),
        |u, c| u.clock.next = c.into(),
    );
    let seen = t.borrow().seen;
    assert!(seen.iter().all(|n| *n > 50), "{seen:?}");
}

/// Connections whose deadlines have passed and stay so each get their turn: the look at the neighbour of an
/// offered connection, given up when the scan stopped, is made again.
///
/// Verifies: law L5.
#[test]
fn the_neighbour_of_a_connection_that_is_always_due_is_not_passed_over() {
    let offers = RefCell::new([0_u32; CONNS]);
    let step = RefCell::new(0_u64);
    let is_due = |conn: u64| (3..=5).contains(&conn);
    Diff::new("timer_neighbors", 2000).run_seen(
        Dut::default(),
        |u, _| {
            let mut at = step.borrow_mut();
            u.reset.next = *at < 2;
            u.enable.next = *at > 20;
            u.now_us.next = (*at + 1000).into();
            let conn = *at % CONNS as u64;
            let deadline = Deadline { running: is_due(conn), at: 0_u64.into() };
            u.set.next = SetDeadline { valid: *at < 20, conn: conn.into(), deadline };
            u.expired_ready.next = true;
            *at += 1;
        },
        |u| {
            if u.expired.val().valid {
                offers.borrow_mut()[n(u.expired.val().conn) as usize] += 1;
            }
        },
        |u, c| u.clock.next = c.into(),
    );
    let offers = offers.borrow();
    let (due, idle): (Vec<_>, Vec<_>) = (0..CONNS).partition(|c| is_due(*c as u64));
    assert!(idle.iter().all(|c| offers[*c] == 0), "{offers:?}");
    let (least, most) = (due.iter().map(|c| offers[*c]).min(), due.iter().map(|c| offers[*c]).max());
    assert!(least >= most.map(|m| m - 1) && least > Some(50), "{offers:?}");
}
