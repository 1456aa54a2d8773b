//! The watchdog under random passes and placements: native against Verilated, and against the host function that judges a sample.

use chimney_abi::watch::WatchLimits;
use chimney_hdl::prelude::Bits;
use chimney_hdl::tcp::watchdog::{Deed, Due, Limits, Stowed, Watchdog, NONE_NOW};
use chimney_hdl_kernel::diff::{long, Diff, Rnd};
use chimney_host_stack_core::watchdog::{Sample, Text};
use std::cell::RefCell;

const CONN_LOG2: usize = 3;
const CONNS: usize = 1 << CONN_LOG2;
/// These are judged; the others only have something to do while the walk goes by.
const JUDGED: usize = CONNS / 2;
/// Clocks in which things happen, and clocks in which the walk does its round, with what stands in its way.
const ACTS: u64 = 900;
const WALKS: u64 = 1500;
/// A microsecond less than the period passes while things happen.
const PERIOD_US: u64 = 1000;
/// Clocks between passes of the same connection, and between what the placer tells.
const SAME: u64 = 6;

type Dut = Watchdog<CONN_LOG2>;

fn n<const N: usize>(b: Bits<N>) -> u64 {
    (0..N).fold(0, |v, i| v | u64::from(b.get_bit(i)) << i)
}

fn bits8(value: u8) -> Bits<8> {
    u64::from(value).into()
}

#[derive(Default)]
struct Test {
    clock: u64,
    now: u64,
    limits: WatchLimits,
    rows: [(Sample, bool); CONNS],
    /// When each connection had its last pass, and the placer its last word.
    passed: [u64; CONNS],
    last: [u64; 2],
    stowed_of: usize,
    expired: Option<u64>,
    /// Notices of this walk.
    notices: Vec<(usize, u64)>,
    seen: std::collections::BTreeMap<u64, u32>,
}

impl Test {
    fn begin(&mut self, r: &mut Rnd) {
        let share = |r: &mut Rnd| if r.chance(2, 3) { 0 } else { 1 + r.below(255) as u8 };
        self.limits = WatchLimits {
            period_us: PERIOD_US as u32,
            least_progress: r.below(40) as u8,
            least_segments: [0, 1, 8, 60][r.below(4) as usize],
            drop_rate: share(r),
            small_io: share(r),
            no_preposting: share(r),
            fragmentation: share(r),
            out_of_order: share(r),
        };
        self.notices.clear();
    }

    /// A pass of a connection that may have one, and what it means for its row.
    fn deed(&mut self, r: &mut Rnd, acts: bool) -> Deed {
        let favourite = (self.clock / (ACTS + WALKS)) as usize % JUDGED;
        let conn = if !acts {
            JUDGED + r.below(JUDGED as u64) as usize
        } else if r.chance(1, 2) {
            favourite
        } else {
            r.below(CONNS as u64) as usize
        };
        let rests = self.clock < self.last[0] + 2 || self.clock < self.passed[conn] + SAME;
        // The order of a pass and of what the placer says of the same connection at once says nothing.
        let clashes = conn == self.stowed_of && self.clock < self.last[1] + 4;
        let deed = Deed { conn: (conn as u64).into(), ..r.any::<Deed>() };
        if rests || clashes || r.chance(1, 4) {
            return Deed { valid: false, ..deed };
        }
        let is_new = self.clock % (ACTS + WALKS) < 200 && conn >= JUDGED;
        let deed = Deed { valid: true, joins: is_new || r.chance(1, 300), ..deed };
        (self.last[0], self.passed[conn]) = (self.clock, self.clock);
        let (sample, asked) = &mut self.rows[conn];
        *asked = deed.asked;
        if deed.joins {
            (*sample, *asked) = (Sample::new(), false);
            return deed;
        }
        if deed.progress {
            sample.on_progress();
        }
        if deed.text {
            sample.on_text(Text { out_of_order: deed.out_of_order, forwarded: deed.forwarded });
        }
        if deed.sends {
            sample.on_sent(deed.again);
        }
        deed
    }

    fn stowed(&mut self, r: &mut Rnd, acts: bool) -> Stowed {
        let conn = (if acts { 0 } else { JUDGED as u64 }) + r.below(if acts { CONNS } else { JUDGED } as u64);
        let is_close = self.clock < self.passed[conn as usize] + 4;
        let valid = self.clock >= self.last[1] + 2 && !is_close && r.chance(1, 2);
        let s = Stowed { valid, conn: conn.into(), ..r.any::<Stowed>() };
        if valid {
            (self.last[1], self.stowed_of) = (self.clock, conn as usize);
            self.rows[conn as usize].0.on_place(s.pooled, s.split);
        }
        s
    }

    fn poke(&mut self, u: &mut Dut, r: &mut Rnd) {
        let at = self.clock % (ACTS + WALKS);
        if at == 0 {
            self.begin(r);
        }
        let acts = at < ACTS;
        if at == ACTS + 8 {
            self.now += PERIOD_US;
        }
        let l = self.limits;
        u.reset.next = self.clock < 2;
        u.enable.next = true;
        u.now_us.next = (self.now & 0xFFFF_FFFF).into();
        u.limits.next = Limits {
            period_us: u64::from(l.period_us).into(),
            least_progress: bits8(l.least_progress),
            least_segments: bits8(l.least_segments),
            drop_rate: bits8(l.drop_rate),
            small_io: bits8(l.small_io),
            no_preposting: bits8(l.no_preposting),
            fragmentation: bits8(l.fragmentation),
            out_of_order: bits8(l.out_of_order),
        };
        // Between both halves nothing is under way.
        let is_still = (ACTS..ACTS + 10).contains(&at) || at + 10 > ACTS + WALKS || self.clock < 3;
        u.deed.next = if is_still { Deed { valid: false, ..r.any() } } else { self.deed(r, acts) };
        u.stowed.next = if is_still { Stowed { valid: false, ..r.any() } } else { self.stowed(r, acts) };
        if self.expired.is_none() && r.chance(1, 20) {
            self.expired = Some(r.below(CONNS as u64));
        }
        let due = Due { notice: 0_u64.into(), ..r.any() };
        let conn = self.expired.unwrap_or(0).into();
        u.expired.next = Due { valid: self.expired.is_some(), conn, ..due };
        u.due_ready.next = r.chance(1, 3);
    }

    fn see(&mut self, u: &Dut) {
        let (due, taken) = (u.due.val(), u.due_ready.val());
        if let Some(conn) = self.expired {
            assert_eq!((due.valid, n(due.conn), n(due.notice)), (true, conn, 0), "a deadline comes first");
            assert_eq!(u.expired_ready.val(), taken);
            self.expired = self.expired.filter(|_| !taken);
        } else {
            assert!(!u.expired_ready.val());
            if due.valid && taken {
                assert!(self.clock % (ACTS + WALKS) > ACTS, "in the middle of a period");
                self.notices.push((n(due.conn) as usize, n(due.notice)));
            }
        }
        if self.clock % (ACTS + WALKS) == ACTS + WALKS - 1 {
            self.end();
        }
        self.clock += 1;
    }

    /// The walk is over.
    fn end(&mut self) {
        for conn in 0..JUDGED {
            let (sample, asked) = &mut self.rows[conn];
            let reason = std::mem::take(sample).judge(&self.limits).map(|r| u64::from(r.code()));
            let want = reason.or(asked.then_some(NONE_NOW));
            let got: Vec<u64> = self.notices.iter().filter(|x| x.0 == conn).map(|x| x.1).collect();
            assert_eq!(
                got,
                want.into_iter().collect::<Vec<_>>(),
                "connection {conn}, limits {:?}",
                self.limits
            );
            *self.seen.entry(want.unwrap_or(0)).or_default() += 1;
        }
    }
}

/// Every connection is judged once in a period, by what it did in it, and by nothing else.
///
/// Verifies
#[test]
fn each_period_asks_for_what_the_host_function_says() {
    let t = RefCell::new(Test::default());
    let periods = if long() { 400 } else { 40 };
    Diff::new("watchdog", periods * (ACTS + WALKS) as usize).run_seen(
        Dut::default(),
        |u, r| t.borrow_mut().poke(u, r),
        |u| t.borrow_mut().see(u),
        |u, c| u.clock.next = c.into(),
    );
    let seen = &t.borrow().seen;
    println!("{seen:?}");
    let reasons = [0, 1, 2, 3, 4, 6, 7, NONE_NOW];
    assert!(reasons.iter().all(|r| seen.contains_key(r)), "{seen:?}");
}
