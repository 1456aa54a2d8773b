//! The parts that move data.

use crate::{n, steps, word, Reader};
use chimney_abi::desc::{PAGE_MAP_STRIDE, PAGE_SLOTS};
use chimney_abi::state::{HEADER_BYTES, IMAGE_STRIDE};
use chimney_hdl::host::mailbox::fetch::Fetch;
use chimney_hdl::host::mailbox::job::{last, reported, Run, LAST};
use chimney_hdl::host::mailbox::map_in::{MapIn, MAP_BEATS};
use chimney_hdl::host::mailbox::objects::Object;
use chimney_hdl::host::mailbox::record_out::RecordOut;
use chimney_hdl::host::mailbox::store::{Change, Found, Row, Store};
use chimney_hdl::host::mailbox::writes::Writes;
use chimney_hdl::types::{ReadBeat, WriteCmd, WriteDone};
use chimney_hdl_kernel::diff::{Diff, Rnd};
use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};

#[derive(Default)]
struct FetchTest {
    /// The run in work: next address to ask for, address after the last beat.
    run: Option<(u64, u64)>,
    start: bool,
    burst: VecDeque<u64>,
    got: Vec<u64>,
    from: u64,
    error: bool,
    runs: [usize; 2],
}

impl FetchTest {
    fn poke(&mut self, u: &mut Fetch, r: &mut Rnd) {
        u.reset.next = false;
        self.start = self.run.is_none() && r.chance(1, 3);
        let (at, beats) = (8 * r.below(1 << 20), 1 + r.below(127));
        u.run.next = Run { start: self.start, iova: at.into(), beats: beats.into() };
        if self.start {
            (self.run, self.from, self.error) = (Some((at, at + 8 * beats)), at, false);
        }
        u.req_ready.next = r.chance(1, 2);
        let beat = self.burst.front().copied().filter(|_| r.chance(2, 3));
        u.beat_valid.next = beat.is_some();
        u.beat.next = r.any();
        if let Some(at) = beat {
            self.burst.pop_front();
            let error = r.chance(1, 150);
            self.error |= error;
            u.beat.next = ReadBeat { data: word(at).into(), last: self.burst.is_empty(), error };
        }
    }

    fn see(&mut self, u: &Fetch) {
        let news = u.news.val();
        if news.valid {
            self.got.push(n(news.data));
        }
        if news.done {
            let (_, end) = self.run.take().expect("a run");
            let want: Vec<u64> = (self.from..end).step_by(8).map(word).collect();
            assert_eq!((&self.got, news.error), (&want, self.error));
            self.got.clear();
            self.runs[usize::from(news.error)] += 1;
        }
        if u.req_valid.val() && u.req_ready.val() {
            let (at, end) = self.run.expect("a run");
            let to = end.min((at / 256 + 1) * 256);
            assert_eq!((n(u.req.val().iova), n(u.req.val().beats)), (at, (to - at) / 8));
            self.burst = (at..to).step_by(8).collect();
            self.run = Some((to, end));
        }
    }
}

#[test]
fn a_run_is_read_in_bursts_that_stay_in_their_block_and_errors_are_told() {
    let t = RefCell::new(FetchTest::default());
    Diff::new("mailbox_fetch", steps(8000)).run_seen(
        Fetch::default(),
        |u, r| t.borrow_mut().poke(u, r),
        |u| t.borrow_mut().see(u),
        |u, c| u.clock.next = c.into(),
    );
    let runs = t.borrow().runs;
    assert!(runs[0] > 20 && runs[1] > 3, "{runs:?}");
}

#[derive(Default)]
struct WritesTest {
    offered: [Option<WriteCmd>; 4],
    taken: VecDeque<WriteCmd>,
    /// Commands without a report: is it the last one of an image?
    flying: VecDeque<bool>,
    /// The report of this clock: of an image's last command, with an error; the image had one before.
    report: Option<(bool, bool)>,
    lost: bool,
    seen: [usize; 4],
    landed: [usize; 2],
}

impl WritesTest {
    fn poke(&mut self, u: &mut Writes, r: &mut Rnd) {
        for o in &mut self.offered {
            if o.is_none() && self.flying.len() < 12 && r.chance(1, 8) {
                *o = Some(WriteCmd { tag: r.below(2).into(), ..r.any() });
            }
        }
        let [a, b, c, d] = self.offered.map(|o| (o.is_some(), o.unwrap_or_default()));
        (u.images.valid.next, u.images.cmd.next) = a;
        (u.objects.valid.next, u.objects.cmd.next) = b;
        (u.records.valid.next, u.records.cmd.next) = c;
        (u.ring.valid.next, u.ring.cmd.next) = d;
        u.reset.next = false;
        u.ready.next = r.chance(1, 2);
        self.report = None;
        u.done_valid.next = false;
        u.done.next = WriteDone { tag: LAST.into(), error: true };
        if let Some(is_last) = self.flying.front().copied().filter(|_| r.chance(1, 4)) {
            self.flying.pop_front();
            let error = r.chance(1, 4);
            self.report = Some((is_last, error));
            u.done_valid.next = true;
            u.done.next = WriteDone { tag: u64::from(is_last).into(), error };
        }
    }

    fn see(&mut self, u: &Writes) {
        assert_eq!(u.landed.val(), self.report.is_some_and(|r| r.0));
        if let Some((is_last, error)) = self.report {
            self.lost |= error;
            if is_last {
                assert_eq!(u.lost.val(), self.lost);
                self.landed[usize::from(self.lost)] += 1;
                self.lost = false;
            }
        }
        if u.valid.val() && u.ready.val() {
            let c = u.cmd.val();
            if c.notify {
                self.flying.push_back(n(c.tag) == LAST);
            }
            assert_eq!(Some(c), self.taken.pop_front());
        }
        let ready = [u.images.ready.val(), u.objects.ready.val(), u.records.ready.val(), u.ring.ready.val()];
        let taken: Vec<usize> = (0..4).filter(|i| ready[*i] && self.offered[*i].is_some()).collect();
        assert!(taken.len() <= 1, "one at a time");
        for i in taken {
            self.taken.extend(self.offered[i].take());
            self.seen[i] += 1;
        }
        assert!(self.taken.len() <= 1, "one is held");
    }
}

#[test]
fn commands_of_all_parts_leave_once_and_in_the_order_taken() {
    let t = RefCell::new(WritesTest::default());
    Diff::new("mailbox_writes", steps(4000)).run_seen(
        Writes::default(),
        |u, r| t.borrow_mut().poke(u, r),
        |u| t.borrow_mut().see(u),
        |u, c| u.clock.next = c.into(),
    );
    let (seen, landed) = (t.borrow().seen, t.borrow().landed);
    assert!(seen.iter().all(|n| *n > 50) && landed.iter().all(|n| *n > 20), "{seen:?} {landed:?}");
}

/// What is asked of the store.
#[derive(Clone, Copy)]
enum Asked {
    Load(Row),
    Save(Row),
}

#[derive(Default)]
struct StoreTest {
    rows: HashMap<(bool, u64), Object>,
    hand: Option<Found>,
    asked: Option<Asked>,
    waited: usize,
    reset: bool,
    seen: [usize; 4],
}

impl StoreTest {
    fn poke(&mut self, u: &mut Store<2, 3>, r: &mut Rnd) {
        if self.reset {
            self.rows.clear();
            (self.hand, self.asked) = (None, None);
        }
        self.reset = r.chance(1, 400);
        let id = if r.chance(1, 8) { r.any() } else { r.bits_below(4) };
        // `ready` depends on registers alone.
        if self.asked.is_none() && u.ready.val() && r.chance(1, 3) {
            let row = Row { is_path: r.any(), id };
            let saves = self.hand.is_some() && n(id) < 4 && r.chance(1, 2);
            (self.asked, self.waited) = (Some(if saves { Asked::Save(row) } else { Asked::Load(row) }), 0);
        }
        u.reset.next = self.reset;
        (u.load.next, u.save.next) = (false, false);
        u.change.next = Change::default();
        match self.asked {
            Some(Asked::Load(row)) => (u.load.next, u.row.next) = (true, row),
            Some(Asked::Save(row)) => (u.save.next, u.row.next) = (true, row),
            None if self.hand.is_some() => {
                let lanes = if r.chance(1, 2) { r.any() } else { 0u64.into() };
                u.change.next = Change { has_head: r.chance(1, 4), head: r.any(), lanes, word: r.any() };
            }
            None => {}
        }
    }

    fn see(&mut self, u: &Store<2, 3>) {
        let found = u.found.val();
        self.waited += 1;
        assert!(self.waited < 10 || self.asked.is_none() || !u.ready.val(), "answered in time");
        match self.asked {
            Some(Asked::Load(row)) if u.loaded.val() => {
                let in_range = n(row.id) < 4;
                assert_eq!(found.in_range, in_range);
                let want = self.rows.get(&(row.is_path, n(row.id))).copied().unwrap_or_default();
                if want.live {
                    assert_eq!(found.object, want);
                }
                assert_eq!(found.object.live, want.live);
                self.seen[if in_range { 1 + usize::from(want.live) } else { 0 }] += 1;
                (self.hand, self.asked) = (Some(found), None);
            }
            Some(Asked::Save(row)) if u.saved.val() => {
                let hand = self.hand.expect("a row at hand");
                assert_eq!(found, hand);
                self.rows.insert((row.is_path, n(row.id)), hand.object);
                self.seen[3] += 1;
                self.asked = None;
            }
            Some(_) => assert!(!u.loaded.val() && !u.saved.val()),
            None => self.change(u),
        }
    }

    /// What is at hand, and what becomes of it.
    fn change(&mut self, u: &Store<2, 3>) {
        let Some(hand) = &mut self.hand else { return };
        assert_eq!(u.found.val(), *hand);
        let (c, o) = (u.change.val(), &mut hand.object);
        if c.has_head {
            (o.live, o.invalid) = (c.head.live, c.head.invalid);
            (o.generation, o.parent) = (c.head.generation, c.head.parent);
        }
        for i in (0..20).filter(|i| c.lanes.get_bit(*i)) {
            o.body.set_bits::<16>(16 * i, c.word.get_bits::<16>(16 * (i % 4)));
        }
    }
}

#[test]
fn rows_keep_what_was_written_until_reset_and_ids_beyond_the_table_are_dead() {
    let t = RefCell::new(StoreTest::default());
    Diff::new("mailbox_store", steps(24_000)).run_seen(
        Store::<2, 3>::default(),
        |u, r| t.borrow_mut().poke(u, r),
        |u| t.borrow_mut().see(u),
        |u, c| u.clock.next = c.into(),
    );
    let seen = t.borrow().seen;
    assert!(seen.iter().all(|n| *n > 100), "{seen:?}");
}

const MAPS: u64 = 0x70_0000;

#[derive(Default)]
struct MapInTest {
    reader: Reader,
    conn: u64,
    go: bool,
    /// The load is under way.
    loads: bool,
    left: VecDeque<u64>,
    seen: [usize; 2],
}

impl MapInTest {
    fn poke(&mut self, u: &mut MapIn, r: &mut Rnd) {
        u.reset.next = false;
        u.base.next = MAPS.into();
        self.go = !self.loads && r.chance(1, 40);
        if self.go {
            // What was not fed of the last one is forgotten.
            self.left.clear();
            self.conn = r.below(64);
            self.loads = true;
        }
        u.go.next = self.go;
        u.conn.next = self.conn.into();
        u.news.next = self.reader.news(r);
        u.ready.next = !self.loads && r.chance(2, 3);
    }

    fn see(&mut self, u: &MapIn) {
        if u.valid.val() && !self.loads {
            assert_eq!(Some(&n(u.beat.val())), self.left.front());
            if u.ready.val() {
                self.left.pop_front();
            }
        }
        if u.done.val() {
            assert!(self.loads);
            self.loads = false;
            let map = MAPS + self.conn * u64::from(PAGE_MAP_STRIDE);
            let error = u.news.val().error;
            assert_eq!(u.error.val(), error);
            if !error {
                self.left.extend((0..MAP_BEATS).map(|i| word(map + 8 * i)));
            }
            self.seen[usize::from(error)] += 1;
        }
        let run = u.run.val();
        if run.start {
            self.reader.start(&run);
        }
    }
}

#[test]
fn a_page_map_is_fed_whole_or_not_at_all() {
    let t = RefCell::new(MapInTest::default());
    assert_eq!(MAP_BEATS, u64::from(PAGE_SLOTS));
    Diff::new("mailbox_map_in", steps(15_000)).run_seen(
        MapIn::default(),
        |u, r| t.borrow_mut().poke(u, r),
        |u| t.borrow_mut().see(u),
        |u, c| u.clock.next = c.into(),
    );
    let seen = t.borrow().seen;
    assert!(seen.iter().all(|n| *n > 5), "{seen:?}");
}

#[derive(Default)]
struct RecordOutTest {
    base: u64,
    index: u64,
    beats: Vec<u64>,
    offered: Option<u64>,
    writes: usize,
}

impl RecordOutTest {
    fn poke(&mut self, u: &mut RecordOut, r: &mut Rnd) {
        u.reset.next = false;
        if self.beats.len() == 36 || self.writes == 0 && self.beats.is_empty() && self.offered.is_none() {
            self.beats.clear();
            (self.base, self.index) = (8 * r.below(1 << 40), r.below(1 << 16));
        }
        if self.offered.is_none() && r.chance(2, 3) {
            self.offered = Some(r.next_u64());
        }
        u.base.next = self.base.into();
        u.index.next = self.index.into();
        u.op_out_valid.next = self.offered.is_some();
        u.op_out.next = self.offered.unwrap_or(3).into();
        u.write.ready.next = r.chance(1, 2);
    }

    fn see(&mut self, u: &RecordOut) {
        if let Some(beat) = self.offered.filter(|_| u.op_out_ready.val()) {
            self.offered = None;
            self.beats.push(beat);
        }
        let writes = u.write.valid.val() && u.write.ready.val();
        if !writes {
            return;
        }
        assert!(!self.beats.is_empty() && self.beats.len().is_multiple_of(4));
        let from = self.beats.len() - 4;
        let bytes: Vec<u64> = (0..4).map(|i| n(u.write.cmd.val().data.get_bits::<64>(64 * i))).collect();
        assert_eq!(bytes, self.beats[from..]);
        let body = self.base + self.index * u64::from(IMAGE_STRIDE) + u64::from(HEADER_BYTES);
        let at = body + 8 * from as u64;
        let want = reported(at.into(), 32u64.into(), u.write.cmd.val().data);
        assert_eq!(u.write.cmd.val(), if from == 32 { last(want) } else { want });
        self.writes += 1;
    }
}

#[test]
fn four_beats_of_a_record_become_one_write() {
    let t = RefCell::new(RecordOutTest::default());
    Diff::new("mailbox_record_out", steps(8000)).run_seen(
        RecordOut::default(),
        |u, r| t.borrow_mut().poke(u, r),
        |u| t.borrow_mut().see(u),
        |u, c| {
            u.clock.next = c.into();
        },
    );
    assert!(t.borrow().writes > 300, "{}", t.borrow().writes);
}
