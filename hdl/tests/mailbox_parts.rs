//! The parts of the command block that move data, one by one: native against Verilated, and against plain Rust.

use chimney_abi::desc::{PAGE_MAP_STRIDE, PAGE_SLOTS};
use chimney_hdl::host::mailbox::fetch::Fetch;
use chimney_hdl::host::mailbox::job::{inline, Job, Run, RunBeat, INITIATE, UPDATE};
use chimney_hdl::host::mailbox::objects::Object;
use chimney_hdl::host::mailbox::record_in::{RecordIn, MAP_BEATS, RECORD_BEATS};
use chimney_hdl::host::mailbox::record_out::RecordOut;
use chimney_hdl::host::mailbox::store::{Row, Store};
use chimney_hdl::host::mailbox::writes::Writes;
use chimney_hdl::prelude::*;
use chimney_hdl::types::{ReadBeat, WriteCmd};
use chimney_hdl_kernel::diff::{long, Diff, Rnd};
use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};

fn steps(quick: usize) -> usize {
    if long() {
        quick * 20
    } else {
        quick
    }
}

/// Any width up to 64 as a number.
fn n<const N: usize>(b: Bits<N>) -> u64 {
    (0..N).fold(0, |v, i| v | u64::from(b.get_bit(i)) << i)
}

/// What the word at an address holds.
fn word(at: u64) -> u64 {
    at.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ at >> 7
}

/// Host memory behind a run: plays `Fetch` for the parts that use it.
#[derive(Default)]
struct Reader {
    beats: VecDeque<u64>,
    ends: bool,
}

impl Reader {
    fn start(&mut self, run: &Run) {
        assert!(self.beats.is_empty(), "one run at a time");
        self.beats = (0..n(run.beats)).map(|i| n(run.iova) + 8 * i).collect();
        self.ends = true;
    }

    fn news(&mut self, r: &mut Rnd) -> RunBeat {
        let mut news = RunBeat { data: r.any(), ..RunBeat::default() };
        if let Some(at) = self.beats.front().copied().filter(|_| r.chance(2, 3)) {
            self.beats.pop_front();
            (news.valid, news.data) = (true, word(at).into());
        } else if self.beats.is_empty() && self.ends && r.chance(1, 2) {
            (news.done, news.error, self.ends) = (true, r.chance(1, 10), false);
        }
        news
    }
}

#[test]
fn a_run_is_read_in_bursts_that_stay_in_their_block_and_errors_are_told() {
    #[derive(Default)]
    struct Test {
        /// The run in work: next address to ask for, address after the last beat.
        run: Option<(u64, u64)>,
        start: bool,
        burst: VecDeque<u64>,
        got: Vec<u64>,
        from: u64,
        error: bool,
        runs: [usize; 2],
    }
    let t = RefCell::new(Test::default());
    let poke = |u: &mut Fetch, r: &mut Rnd| {
        let t = &mut *t.borrow_mut();
        u.reset.next = false;
        t.start = t.run.is_none() && r.chance(1, 3);
        let (at, beats) = (8 * r.below(1 << 20), 1 + r.below(127));
        u.run.next = Run { start: t.start, iova: at.into(), beats: beats.into() };
        if t.start {
            (t.run, t.from, t.error) = (Some((at, at + 8 * beats)), at, false);
        }
        u.req_ready.next = r.chance(1, 2);
        let beat = t.burst.front().copied().filter(|_| r.chance(2, 3));
        u.beat_valid.next = beat.is_some();
        u.beat.next = r.any();
        if let Some(at) = beat {
            t.burst.pop_front();
            let error = r.chance(1, 150);
            t.error |= error;
            u.beat.next = ReadBeat { data: word(at).into(), last: t.burst.is_empty(), error };
        }
    };
    let see = |u: &Fetch| {
        let t = &mut *t.borrow_mut();
        let news = u.news.val();
        if news.valid {
            t.got.push(n(news.data));
        }
        if news.done {
            let (_, end) = t.run.take().expect("a run");
            let want: Vec<u64> = (t.from..end).step_by(8).map(word).collect();
            assert_eq!((&t.got, news.error), (&want, t.error));
            t.got.clear();
            t.runs[usize::from(news.error)] += 1;
        }
        if u.req_valid.val() && u.req_ready.val() {
            let (at, end) = t.run.expect("a run");
            let to = end.min((at / 256 + 1) * 256);
            assert_eq!((n(u.req.val().iova), n(u.req.val().beats)), (at, (to - at) / 8));
            t.burst = (at..to).step_by(8).collect();
            t.run = Some((to, end));
        }
    };
    Diff::new("mailbox_fetch", steps(8000))
        .run_seen(Fetch::default(), poke, see, |u, c| u.clock.next = c.into());
    let runs = t.borrow().runs;
    assert!(runs[0] > 20 && runs[1] > 3, "{runs:?}");
}

#[test]
fn commands_of_all_parts_leave_once_and_in_the_order_taken() {
    #[derive(Default)]
    struct Test {
        offered: [Option<WriteCmd>; 4],
        taken: VecDeque<WriteCmd>,
        seen: [usize; 4],
    }
    let t = RefCell::new(Test::default());
    let poke = |u: &mut Writes, r: &mut Rnd| {
        let t = &mut *t.borrow_mut();
        for o in &mut t.offered {
            if o.is_none() && r.chance(1, 8) {
                *o = Some(r.any());
            }
        }
        let [a, b, c, d] = t.offered.map(|o| (o.is_some(), o.unwrap_or_default()));
        (u.images.valid.next, u.images.cmd.next) = a;
        (u.objects.valid.next, u.objects.cmd.next) = b;
        (u.records.valid.next, u.records.cmd.next) = c;
        (u.ring.valid.next, u.ring.cmd.next) = d;
        u.reset.next = false;
        u.ready.next = r.chance(1, 2);
    };
    let see = |u: &Writes| {
        let t = &mut *t.borrow_mut();
        if u.valid.val() && u.ready.val() {
            assert_eq!(Some(u.cmd.val()), t.taken.pop_front());
        }
        let ready = [u.images.ready.val(), u.objects.ready.val(), u.records.ready.val(), u.ring.ready.val()];
        let taken: Vec<usize> = (0..4).filter(|i| ready[*i] && t.offered[*i].is_some()).collect();
        assert!(taken.len() <= 1, "one at a time");
        for i in taken {
            t.taken.extend(t.offered[i].take());
            t.seen[i] += 1;
        }
        assert!(t.taken.len() <= 1, "one is held");
    };
    Diff::new("mailbox_writes", steps(4000))
        .run_seen(Writes::default(), poke, see, |u, c| u.clock.next = c.into());
    let seen = t.borrow().seen;
    assert!(seen.iter().all(|n| *n > 50), "{seen:?}");
}

#[test]
fn rows_keep_what_was_written_until_reset_and_ids_beyond_the_table_are_dead() {
    type Dut = Store<2, 3>;
    #[derive(Default)]
    struct Test {
        rows: HashMap<(bool, u64), Object>,
        write: Option<((bool, u64), Object)>,
        reset: bool,
        seen: [usize; 3],
    }
    let t = RefCell::new(Test::default());
    let poke = |u: &mut Dut, r: &mut Rnd| {
        let t = &mut *t.borrow_mut();
        if let Some((row, object)) = t.write.take() {
            t.rows.insert(row, object);
        }
        if t.reset {
            t.rows.clear();
        }
        t.reset = r.chance(1, 200);
        let row = Row { is_path: r.any(), id: if r.chance(1, 8) { r.any() } else { r.bits_below(4) } };
        let to = Row { is_path: r.any(), id: r.bits_below(4) };
        let object = r.any();
        // `ready` depends on registers alone.
        let writes = u.ready.val() && !t.reset && r.chance(1, 4);
        t.write = writes.then_some(((to.is_path, n(to.id)), object));
        u.reset.next = t.reset;
        u.row.next = row;
        u.write.next = writes;
        u.write_row.next = to;
        u.object.next = object;
    };
    let see = |u: &Dut| {
        let t = &mut *t.borrow_mut();
        let (row, found) = (u.row.val(), u.found.val());
        let in_range = n(row.id) < 4;
        assert_eq!(found.in_range, in_range);
        if !in_range {
            t.seen[0] += 1;
            assert!(!found.object.live);
        } else if u.ready.val() {
            let want = t.rows.get(&(row.is_path, n(row.id))).copied().unwrap_or_default();
            assert_eq!(found.object, want);
            t.seen[1 + usize::from(want.live)] += 1;
        }
    };
    Diff::new("mailbox_store", steps(6000))
        .run_seen(Dut::default(), poke, see, |u, c| u.clock.next = c.into());
    let seen = t.borrow().seen;
    assert!(seen.iter().all(|n| *n > 100), "{seen:?}");
}

const MAPS: u64 = 0x70_0000;

#[test]
fn a_record_and_its_map_are_fed_whole_or_not_at_all() {
    #[derive(Default)]
    struct Test {
        reader: Reader,
        job: Job,
        go: bool,
        /// The load is under way.
        loads: bool,
        error: bool,
        left: VecDeque<u64>,
        seen: [usize; 3],
    }
    let t = RefCell::new(Test::default());
    let poke = |u: &mut RecordIn, r: &mut Rnd| {
        let t = &mut *t.borrow_mut();
        u.reset.next = false;
        u.page_map_base.next = MAPS.into();
        t.go = !t.loads && r.chance(1, 40);
        if t.go {
            // What was not fed of the last one is forgotten.
            t.left.clear();
            t.job = Job { body: (8 * r.below(1 << 30)).into(), ..r.any() };
            t.job.opcode = if r.any() { INITIATE } else { UPDATE }.into();
            t.job.header.id = r.bits_below(64);
            (t.loads, t.error) = (true, false);
        }
        u.go.next = t.go;
        u.job.next = t.job;
        u.news.next = t.reader.news(r);
        u.feed.next = !t.loads && r.chance(9, 10);
        u.op_in_ready.next = r.chance(2, 3);
    };
    let see = |u: &RecordIn| {
        let t = &mut *t.borrow_mut();
        let news = u.news.val();
        t.error |= news.done && news.error;
        if u.done.val() {
            assert!(t.loads && u.error.val() == t.error);
            t.loads = false;
            let (body, map) = (n(t.job.body), MAPS + n(t.job.header.id) * u64::from(PAGE_MAP_STRIDE));
            let is_new = n(t.job.opcode) == INITIATE;
            if t.error {
                t.seen[2] += 1;
            } else {
                t.left.extend((0..RECORD_BEATS).map(|i| word(body + 8 * i)));
                t.left.extend((0..if is_new { MAP_BEATS } else { 0 }).map(|i| word(map + 8 * i)));
                t.seen[usize::from(is_new)] += 1;
                let first = word(body);
                let ports = u.ports.val();
                assert_eq!((n(ports.local), n(ports.remote)), (first & 0xffff, first >> 16 & 0xffff));
            }
        }
        let run = u.run.val();
        if run.start {
            t.reader.start(&run);
        }
        if u.op_in_valid.val() {
            assert!(u.feed.val());
            assert_eq!(Some(&n(u.op_in.val())), t.left.front());
            if u.op_in_ready.val() {
                t.left.pop_front();
            }
        } else if u.feed.val() {
            assert!(t.left.is_empty(), "nothing is offered, but {} beats are left", t.left.len());
        }
    };
    assert_eq!(MAP_BEATS, u64::from(PAGE_SLOTS));
    Diff::new("mailbox_record_in", steps(15_000)).run_seen(RecordIn::default(), poke, see, |u, c| {
        u.clock.next = c.into();
    });
    let seen = t.borrow().seen;
    assert!(seen.iter().all(|n| *n > 5), "{seen:?}");
}

#[test]
fn four_beats_of_a_record_become_one_write() {
    #[derive(Default)]
    struct Test {
        body: u64,
        beats: Vec<u64>,
        offered: Option<u64>,
        go: bool,
        take: bool,
        writes: usize,
    }
    let t = RefCell::new(Test::default());
    let poke = |u: &mut RecordOut, r: &mut Rnd| {
        let t = &mut *t.borrow_mut();
        u.reset.next = false;
        t.go = t.beats.len() == 36 || r.chance(1, 100) && t.offered.is_none();
        if t.go {
            t.beats.clear();
            t.take = false;
            t.body = 8 * r.below(1 << 40);
        } else if !t.take {
            t.take = r.chance(1, 4);
        }
        u.go.next = t.go;
        u.body.next = t.body.into();
        u.take.next = t.take;
        let discard = !t.take && r.chance(1, 10);
        u.discard.next = discard;
        if t.offered.is_none() && (t.take || discard) && !t.go && r.chance(2, 3) {
            t.offered = Some(r.next_u64());
        }
        u.op_out_valid.next = t.offered.is_some();
        u.op_out.next = t.offered.unwrap_or(3).into();
        u.write.ready.next = r.chance(1, 2);
    };
    let see = |u: &RecordOut| {
        let t = &mut *t.borrow_mut();
        if let Some(beat) = t.offered.filter(|_| u.op_out_ready.val()) {
            t.offered = None;
            if t.take {
                t.beats.push(beat);
            }
        }
        if t.beats.len() > 1 {
            let (first, ports) = (t.beats[0], u.ports.val());
            assert_eq!((n(ports.local), n(ports.remote)), (first & 0xffff, first >> 16 & 0xffff));
        }
        let writes = u.write.valid.val() && u.write.ready.val();
        if !writes {
            return;
        }
        assert!(t.take && !t.beats.is_empty() && t.beats.len().is_multiple_of(4));
        let from = t.beats.len() - 4;
        let bytes: Vec<u64> = (0..4).map(|i| n(u.write.cmd.val().data.get_bits::<64>(64 * i))).collect();
        assert_eq!(bytes, t.beats[from..]);
        let want = inline((t.body + 8 * from as u64).into(), 32u64.into(), u.write.cmd.val().data);
        assert_eq!(u.write.cmd.val(), want);
        t.writes += 1;
    };
    Diff::new("mailbox_record_out", steps(8000)).run_seen(RecordOut::default(), poke, see, |u, c| {
        u.clock.next = c.into();
    });
    assert!(t.borrow().writes > 300, "{}", t.borrow().writes);
}
