//! Page map and page pool between PROTO and host memory: native against Verilated, and against plain Rust.

use chimney_hdl::prelude::Bits;
use chimney_hdl::tcp::pages::{ClearMap, LoadSlot, LookSlot, PageSlot, Pages, CONN_MOST, SLOT_AT};
use chimney_hdl::types::ReadBeat;
use chimney_hdl_kernel::diff::{long, Bench, Diff, Rnd};
use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};

/// Four connections with 32 slots each.
type Dut = Pages<2, 7>;
const SLOTS: u64 = 1 << 7;
/// Not at a block's start, so that bursts end in blocks and at the ring's end.
const RING: u64 = 0x4_0080;
const RING_LOG2: u64 = 5;
/// An entry may be taken this many clocks after its beat.
const RIPENS: usize = 2;

/// Any width up to 64 as a number.
fn n<const N: usize>(b: Bits<N>) -> u64 {
    (0..N).fold(0, |v, i| v | u64::from(b.get_bit(i)) << i)
}

/// The page in pool ring entry `index`.
fn page(index: u64) -> u64 {
    index.wrapping_mul(40_503) & 0xffff
}

#[derive(Default)]
struct Test {
    clock: usize,
    map: HashMap<u64, (u64, u64)>,
    /// The pool: pages, and when they arrived.
    pool: VecDeque<(u64, usize)>,
    producer: u64,
    /// Entries asked for, and those whose burst has ended.
    asked: u64,
    fetched: u64,
    burst: VecDeque<(u64, bool)>,
    beat: Option<(u64, bool, bool)>,
    look: Option<(u64, u64)>,
    /// A lookup is under way: slot, tag, clocks since.
    work: Option<(u64, u64, usize)>,
    /// A load that is offered: slot, tag, page; one that is under way, and clocks since; a connection whose map is to be cleared.
    load: Option<(u64, u64, u64)>,
    stores: Option<(u64, u64, u64, usize)>,
    clear: Option<u64>,
    generous: bool,
    /// Loads, clears.
    changes: [usize; 2],
    seen: [usize; 4],
    errors: usize,
}

impl Test {
    fn poke(&mut self, u: &mut Dut, r: &mut Rnd) {
        self.clock += 1;
        if self.clock.is_multiple_of(1500) {
            self.generous = !self.generous;
        }
        u.reset.next = false;
        u.enable.next = true;
        u.ring.next = RING.into();
        u.ring_log2.next = RING_LOG2.into();
        let room = (1 << RING_LOG2) - (self.producer - self.fetched);
        if room > 0 && r.chance(1, if self.generous { 8 } else { 50 }) {
            self.producer += if self.generous { 1 + r.below(room) } else { 1 };
        }
        u.producer.next = (self.producer & 0xffff).into();
        u.req_ready.next = r.chance(1, 3);
        self.beat = None;
        if let Some((index, last)) = self.burst.front().copied().filter(|_| r.chance(1, 2)) {
            self.burst.pop_front();
            self.beat = Some((index, last, r.chance(1, 20)));
        }
        u.beat_valid.next = self.beat.is_some();
        u.beat.next = r.any();
        if let Some((index, last, error)) = self.beat {
            u.beat.next = ReadBeat { data: page(index).into(), last, error };
        }
        self.ask(u, r);
    }

    /// Loads, lookups and cleared maps, also at once.
    fn ask(&mut self, u: &mut Dut, r: &mut Rnd) {
        u.look.next = LookSlot { valid: false, ..r.any() };
        self.look = None;
        // Few tags, so that lookups hit; sometimes one of a later lap.
        let (at, tag) = (r.below(SLOTS) & r.next_u64(), r.below(2) * 32);
        if self.load.is_none() && r.chance(1, 20) && self.clear != Some(at / 32) {
            self.load = Some((at, tag, r.below(1 << 16)));
        }
        let work =
            self.work.map(|w| w.0).into_iter().chain(self.load.map(|l| l.0)).chain(self.stores.map(|s| s.0));
        let conn = r.below(SLOTS / 32);
        if self.clear.is_none() && r.chance(1, 60) && work.map(|at| at / 32).all(|c| c != conn) {
            self.clear = Some(conn);
        }
        u.load.next = LoadSlot { valid: false, ..r.any() };
        if let Some((at, tag, page)) = self.load {
            let slot = PageSlot { page: page.into(), tag: tag.into() };
            u.load.next = LoadSlot { valid: true, at: at.into(), slot };
        }
        u.clear.next = ClearMap { valid: self.clear.is_some(), conn: self.clear.unwrap_or(0).into() };
        if self.work.is_none() && self.stores.is_none() && r.chance(1, 4) && self.clear != Some(at / 32) {
            u.look.next = LookSlot { valid: true, at: at.into(), tag: tag.into(), peek: false };
            self.look = Some((at, tag));
        }
    }

    /// Loads and clears that are taken. A map that is cleared is nobody's: neither lookup nor load is under way for it.
    fn stored(&mut self, u: &Dut) {
        if let Some((at, tag, page, since)) = &mut self.stores {
            *since += 1;
            if *since == 2 {
                self.map.insert(*at, (*tag, *page));
                self.stores = None;
                self.changes[0] += 1;
            }
        }
        if u.load.val().valid && u.load_ready.val() {
            self.stores = self.load.take().map(|(at, tag, page)| (at, tag, page, 0));
        }
        if u.clear.val().valid && u.clear_ready.val() {
            let conn = self.clear.take().expect("a clear");
            self.map.retain(|at, _| at / 32 != conn);
            self.changes[1] += 1;
        }
    }

    fn see(&mut self, u: &Dut) {
        assert_eq!(n(u.consumer.val()), self.fetched & 0xffff, "whole bursts");
        assert!(!u.idle.val() || self.burst.is_empty());
        self.answer(u);
        self.stored(u);
        if u.req_valid.val() && u.req_ready.val() {
            assert!(self.burst.is_empty(), "one burst at a time");
            let (at, beats) = (n(u.req.val().iova), n(u.req.val().beats));
            let slot = self.asked % (1 << RING_LOG2);
            assert!(beats > 0 && at == RING + 8 * slot && slot + beats <= 1 << RING_LOG2);
            assert!(at / 256 == (at + 8 * beats - 8) / 256 && self.asked + beats <= self.producer);
            assert!(self.pool.len() as u64 + beats <= 64, "room for all");
            self.burst = (0..beats).map(|i| (self.asked + i, i + 1 == beats)).collect();
            self.asked += beats;
        }
        if let Some((index, last, error)) = self.beat {
            if error {
                self.errors += 1;
            } else {
                self.pool.push_back((page(index), self.clock));
            }
            self.fetched = if last { index + 1 } else { self.fetched };
        }
        if let Some((at, tag)) = self.look {
            self.work = Some((at, tag, 0));
        }
    }

    fn answer(&mut self, u: &Dut) {
        let a = u.answer.val();
        let Some((at, tag, since)) = &mut self.work else {
            assert!(!a.valid);
            return;
        };
        *since += 1;
        assert_eq!(a.valid, *since == 3, "the answer comes after three clocks");
        if !a.valid {
            return;
        }
        let known = self.map.get(at).filter(|(t, _)| t == tag).copied();
        // The decision fell a clock ago.
        let ripe = self.pool.front().copied().filter(|(_, came)| came + RIPENS < self.clock);
        match (known, a.found) {
            (Some((_, page)), _) => {
                assert!(a.found && !a.fresh && n(a.page) == page, "{a:?} for {page}");
                self.seen[0] += 1;
            }
            (None, true) => {
                let (page, _) = self.pool.pop_front().expect("a page of the pool");
                assert!(a.fresh && n(a.page) == page, "the oldest page of the pool");
                self.map.insert(*at, (*tag, page));
                self.seen[1] += 1;
            }
            (None, false) => {
                assert!(ripe.is_none() && !a.fresh, "none, though there are pages");
                self.seen[2 + usize::from(self.map.contains_key(at))] += 1;
            }
        }
        self.work = None;
    }
}

/// A slot keeps its page for one lap of the sequence space; a page of the pool is given once, oldest first; an empty pool
/// says so.
///
/// Verifies: law L5; programmer's guide 6.
#[test]
fn lookups_hit_the_map_or_take_the_oldest_page_or_say_none() {
    let t = RefCell::new(Test::default());
    Diff::new("page_pool", if long() { 300_000 } else { 15_000 }).run_seen(
        Dut::default(),
        |u, r| t.borrow_mut().poke(u, r),
        |u| t.borrow_mut().see(u),
        |u, c| u.clock.next = c.into(),
    );
    let t = t.borrow();
    assert!(t.seen.iter().all(|n| *n > 3) && t.errors > 5, "{:?} {}", t.seen, t.errors);
    assert!(t.changes.iter().all(|n| *n > 50), "{:?}", t.changes);
}

/// A NIC of the largest size has connections whose ids differ in the highest bit only: each has its own slots.
#[test]
fn the_map_of_the_largest_nic_keeps_all_its_connections_apart() {
    const LARGEST: usize = SLOT_AT;
    let mut b = Bench::new(Pages::<CONN_MOST, LARGEST>::default(), |u, c| u.clock.next = c.into());
    let slots = 1 << (SLOT_AT - CONN_MOST);
    let place = |conn: u64| conn * slots + 3;
    let (low, high) = (5, (1 << (CONN_MOST - 1)) + 5);
    for (conn, page) in [(low, 100), (high, 200)] {
        let slot = PageSlot { page: page.into(), tag: 7u64.into() };
        b.cycle(|u| u.load.next = LoadSlot { valid: true, at: place(conn).into(), slot });
        for _ in 0..3 {
            b.cycle(|u| u.load.next = LoadSlot::default());
        }
    }
    for (conn, page) in [(low, 100), (high, 200)] {
        b.cycle(|u| {
            u.look.next = LookSlot { valid: true, at: place(conn).into(), tag: 7u64.into(), peek: true };
        });
        let answered = (0..5).any(|_| {
            b.cycle(|u| u.look.next = LookSlot::default());
            b.u.answer.val().valid
        });
        let a = b.u.answer.val();
        assert!(answered && a.found && n(a.page) == page, "connection {conn}: {a:?}");
    }
}
