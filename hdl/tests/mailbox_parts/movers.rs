//! The parts that move data.

use crate::{n, steps, word, Reader};
use chimney_abi::desc::{PAGE_MAP_STRIDE, PAGE_SLOTS};
use chimney_hdl::host::mailbox::fetch::Fetch;
use chimney_hdl::host::mailbox::job::{reported, Job, Run, INITIATE, UPDATE};
use chimney_hdl::host::mailbox::objects::Object;
use chimney_hdl::host::mailbox::record_in::{RecordIn, MAP_BEATS, RECORD_BEATS};
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
    /// Commands without a report, and the report of this clock.
    flying: usize,
    reported: bool,
    /// Something failed since the last `clear`; something fails now.
    failed: (bool, bool),
    clear: bool,
    seen: [usize; 4],
}

impl WritesTest {
    fn poke(&mut self, u: &mut Writes, r: &mut Rnd) {
        for o in &mut self.offered {
            if o.is_none() && self.flying < 12 && r.chance(1, 8) {
                *o = Some(r.any());
            }
        }
        let [a, b, c, d] = self.offered.map(|o| (o.is_some(), o.unwrap_or_default()));
        (u.images.valid.next, u.images.cmd.next) = a;
        (u.objects.valid.next, u.objects.cmd.next) = b;
        (u.records.valid.next, u.records.cmd.next) = c;
        (u.ring.valid.next, u.ring.cmd.next) = d;
        u.reset.next = false;
        u.ready.next = r.chance(1, 2);
        let report = self.flying > 0 && r.chance(1, 4);
        self.flying -= usize::from(report);
        self.failed.1 = report && r.chance(1, 4);
        u.done_valid.next = report;
        u.done.next = WriteDone { tag: 0u64.into(), error: self.failed.1 };
        self.clear = r.chance(1, 20);
        u.clear.next = self.clear;
        self.reported = report;
    }

    fn see(&mut self, u: &Writes) {
        let outstanding = self.flying + usize::from(self.reported);
        assert_eq!(u.settled.val(), outstanding == 0 && self.taken.is_empty());
        assert_eq!(u.failed.val(), self.failed.0);
        self.failed.0 = !self.clear && (self.failed.0 || self.failed.1);
        if u.valid.val() && u.ready.val() {
            self.flying += usize::from(u.cmd.val().notify);
            assert_eq!(Some(u.cmd.val()), self.taken.pop_front());
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
    let seen = t.borrow().seen;
    assert!(seen.iter().all(|n| *n > 50), "{seen:?}");
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
struct RecordInTest {
    reader: Reader,
    job: Job,
    go: bool,
    /// The load is under way.
    loads: bool,
    error: bool,
    left: VecDeque<u64>,
    seen: [usize; 3],
}

impl RecordInTest {
    fn poke(&mut self, u: &mut RecordIn, r: &mut Rnd) {
        u.reset.next = false;
        u.page_map_base.next = MAPS.into();
        self.go = !self.loads && r.chance(1, 40);
        if self.go {
            // What was not fed of the last one is forgotten.
            self.left.clear();
            self.job = Job { body: (8 * r.below(1 << 30)).into(), ..r.any() };
            self.job.opcode = if r.any() { INITIATE } else { UPDATE }.into();
            self.job.header.id = r.bits_below(64);
            (self.loads, self.error) = (true, false);
        }
        u.go.next = self.go;
        u.job.next = self.job;
        u.news.next = self.reader.news(r);
        u.feed.next = !self.loads && r.chance(9, 10);
        u.op_in_ready.next = r.chance(2, 3);
    }

    fn see(&mut self, u: &RecordIn) {
        let news = u.news.val();
        self.error |= news.done && news.error;
        if u.done.val() {
            assert!(self.loads && u.error.val() == self.error);
            self.loads = false;
            let (body, map) = (n(self.job.body), MAPS + n(self.job.header.id) * u64::from(PAGE_MAP_STRIDE));
            let is_new = n(self.job.opcode) == INITIATE;
            if self.error {
                self.seen[2] += 1;
            } else {
                self.left.extend((0..RECORD_BEATS).map(|i| word(body + 8 * i)));
                self.left.extend((0..if is_new { MAP_BEATS } else { 0 }).map(|i| word(map + 8 * i)));
                self.seen[usize::from(is_new)] += 1;
                let first = word(body);
                let ports = u.ports.val();
                assert_eq!((n(ports.local), n(ports.remote)), (first & 0xffff, first >> 16 & 0xffff));
            }
        }
        let run = u.run.val();
        if run.start {
            self.reader.start(&run);
        }
        if u.op_in_valid.val() {
            assert!(u.feed.val());
            assert_eq!(Some(&n(u.op_in.val())), self.left.front());
            if u.op_in_ready.val() {
                self.left.pop_front();
            }
        } else if u.feed.val() {
            assert!(self.left.is_empty(), "nothing is offered, but {} beats are left", self.left.len());
        }
    }
}

#[test]
fn a_record_and_its_map_are_fed_whole_or_not_at_all() {
    let t = RefCell::new(RecordInTest::default());
    assert_eq!(MAP_BEATS, u64::from(PAGE_SLOTS));
    Diff::new("mailbox_record_in", steps(15_000)).run_seen(
        RecordIn::default(),
        |u, r| t.borrow_mut().poke(u, r),
        |u| t.borrow_mut().see(u),
        |u, c| {
            u.clock.next = c.into();
        },
    );
    let seen = t.borrow().seen;
    assert!(seen.iter().all(|n| *n > 5), "{seen:?}");
}

#[derive(Default)]
struct RecordOutTest {
    body: u64,
    beats: Vec<u64>,
    offered: Option<u64>,
    go: bool,
    take: bool,
    writes: usize,
}

impl RecordOutTest {
    fn poke(&mut self, u: &mut RecordOut, r: &mut Rnd) {
        u.reset.next = false;
        self.go = self.beats.len() == 36 || r.chance(1, 100) && self.offered.is_none();
        if self.go {
            self.beats.clear();
            self.take = false;
            self.body = 8 * r.below(1 << 40);
        } else if !self.take {
            self.take = r.chance(1, 4);
        }
        u.go.next = self.go;
        u.body.next = self.body.into();
        u.take.next = self.take;
        let discard = !self.take && r.chance(1, 10);
        u.discard.next = discard;
        if self.offered.is_none() && (self.take || discard) && !self.go && r.chance(2, 3) {
            self.offered = Some(r.next_u64());
        }
        u.op_out_valid.next = self.offered.is_some();
        u.op_out.next = self.offered.unwrap_or(3).into();
        u.write.ready.next = r.chance(1, 2);
    }

    fn see(&mut self, u: &RecordOut) {
        if let Some(beat) = self.offered.filter(|_| u.op_out_ready.val()) {
            self.offered = None;
            if self.take {
                self.beats.push(beat);
            }
        }
        let writes = u.write.valid.val() && u.write.ready.val();
        if !writes {
            return;
        }
        assert!(self.take && !self.beats.is_empty() && self.beats.len().is_multiple_of(4));
        let from = self.beats.len() - 4;
        let bytes: Vec<u64> = (0..4).map(|i| n(u.write.cmd.val().data.get_bits::<64>(64 * i))).collect();
        assert_eq!(bytes, self.beats[from..]);
        let want = reported((self.body + 8 * from as u64).into(), 32u64.into(), u.write.cmd.val().data);
        assert_eq!(u.write.cmd.val(), want);
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
