//! The dispatcher between lookup, PROTO, write engine and receive ring, all played by the test; native against Verilated.

use chimney_hdl::host::dispatch::Dispatch;
use chimney_hdl::host::vlans::{ConnPath, PathVlan, Vlans};
use chimney_hdl::types::{FrameMeta, ReadBeat, WriteCmd, WriteDone, WRITE_FREE, WRITE_INLINE, WRITE_PAYLOAD};
use chimney_hdl_kernel::diff::{long, Diff, Rnd};
use std::collections::VecDeque;

/// log2 of connections and of paths of the VLAN ids.
type Ids = Vlans<4, 2>;

const RING: u64 = 0x1_0000_0f80;
const DONE_RING: u64 = 0x2_0000_2000;
const LOG2: u64 = 6;

/// Address of the buffer with ring index `index`.
fn buffer(index: u64) -> u64 {
    0x5000_0000 + index * 0x800
}

/// Where a frame has to go, decided by the test.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Ordinary,
    HandedUp,
    Consumed,
}

#[derive(Clone, Debug)]
struct Frame {
    meta: FrameMeta,
    fate: Fate,
}

/// What the test plays around the block.
#[derive(Default)]
struct Test {
    offered: Option<Frame>,
    /// Those taken, in order of arrival.
    list: VecDeque<Frame>,
    /// Commands of the oldest seen so far.
    cmds: usize,
    /// The engine's frames: when they get their verdict.
    judging: VecDeque<u64>,
    /// The oldest frame has it, just now.
    judged: bool,
    just: bool,
    most: usize,
    producer: u64,
    /// Buffers taken, and those completed.
    taken: u64,
    used: u64,
    /// Commands that wait for their report: tag, and length and verdict of a frame.
    reports: VecDeque<(u64, Option<(u64, u64)>)>,
    /// Frames whose bytes were answered: length, verdict, error.
    answered: VecDeque<(u64, u64, bool)>,
    irq: bool,
    failures: usize,
    burst: VecDeque<(u64, bool, bool)>,
    stingy: bool,
    counts: [usize; 3],
    withdrawn: usize,
    /// Clocks until PROTO may have another segment.
    rest: usize,
    drops: usize,
    irqs: usize,
    read_errors: usize,
}

impl Test {
    fn frame(&mut self, r: &mut Rnd) -> Frame {
        let mut meta: FrameMeta = r.any();
        meta.len = (1 + r.below(2048)).into();
        let fate = [Fate::Ordinary, Fate::HandedUp, Fate::Consumed][r.below(3) as usize];
        Frame { meta, fate }
    }

    /// The oldest frame is through.
    fn finished(&mut self) {
        let f = self.list.pop_front().expect("a frame in the list");
        self.counts[f.fate as usize] += 1;
        (self.cmds, self.judged) = (0, false);
    }

    /// The offer, and what becomes of it with `seg_ready` as it is.
    fn metas(&mut self, u: &mut Dispatch, r: &mut Rnd) {
        if self.offered.is_none() && r.chance(1, 3) {
            self.offered = Some(self.frame(r));
        } else if r.chance(1, 20) {
            // The lookup has changed its mind, or thinks again.
            self.withdrawn += usize::from(self.offered.take().is_some());
        }
        u.seg_ready.next = r.chance(1, 3);
        u.meta_valid.next = self.offered.is_some();
        u.meta.next = self.offered.as_ref().map_or_else(|| r.any(), |f| f.meta);
        u.meta_hit.next = self.offered.as_ref().map_or_else(|| r.any(), |f| f.fate != Fate::Ordinary);
    }

    /// After the inputs of a step have settled.
    fn see(&mut self, u: &Dispatch) {
        self.rest = self.rest.saturating_sub(1);
        let engine = self.offered.as_ref().is_some_and(|f| f.fate != Fate::Ordinary);
        assert!(engine || !u.seg_valid.val());
        // The block takes a frame off its list a clock or two after the test.
        let free = self.list.len() < 14 && self.rest == 0;
        assert!(u.seg_valid.val() || !engine || !free);
        assert!(!u.seg_valid.val() || self.rest == 0, "PROTO has 8 clocks for each");
        if !u.meta_ready.val() || !u.meta_valid.val() {
            assert!(!u.seg_valid.val() || !u.seg_ready.val(), "PROTO has it, and it is not in the list");
            return;
        }
        let f = self.offered.take().expect("it was offered");
        assert!(!engine || u.seg_valid.val() && u.seg_ready.val() && u.seg.val() == f.meta.seg);
        if engine {
            self.rest = 8;
            self.judging.push_back(1 + self.judging.len() as u64 % 9);
        }
        self.list.push_back(f);
        self.most = self.most.max(self.list.len());
    }

    fn proto(&mut self, u: &mut Dispatch, r: &mut Rnd) {
        u.verdict_valid.next = false;
        u.verdict_handed_up.next = r.any();
        if u.turn.val() && !self.just {
            let head = self.list.front().expect("a frame has its turn");
            let up = head.fate == Fate::HandedUp;
            assert!(!self.judged && (up || head.fate == Fate::Consumed), "the engine's");
            let wait = self.judging.front_mut().expect("it was given to the engine");
            *wait = wait.saturating_sub(1);
            if *wait == 0 {
                self.judging.pop_front();
                u.verdict_valid.next = true;
                u.verdict_handed_up.next = up;
                self.judged = true;
                if !up {
                    self.finished();
                }
            }
        }
        self.just = u.verdict_valid.next;
    }

    /// The commands of the oldest frame.
    fn ordinary(&mut self, c: &WriteCmd, f: &Frame) {
        let words = f.meta.len.to_u64().div_ceil(8) * 8;
        assert!(f.fate != Fate::Consumed && (f.fate != Fate::HandedUp || self.judged));
        match (self.cmds, c.kind.to_u64()) {
            (0, WRITE_PAYLOAD) => {
                assert!(self.taken != self.producer, "a buffer that the host has not posted");
                assert_eq!((c.iova.to_u64(), c.len, c.src), (buffer(self.taken), f.meta.len, f.meta.src));
                assert!(c.notify);
                self.taken += 1;
                self.reports
                    .push_back((c.tag.to_u64(), Some((f.meta.len.to_u64(), f.meta.verdict.to_u64()))));
                assert!(self.taken - self.used <= 16, "more on their way than can be kept");
            }
            (0 | 1, WRITE_FREE) => {
                assert_eq!(c.len.to_u64(), words);
                return self.finished();
            }
            other => panic!("unexpected {other:?}"),
        }
        self.cmds += 1;
    }

    /// A completion entry: only for a frame whose bytes were answered, in order.
    fn entry(&mut self, c: &WriteCmd) {
        let (len, verdict, failed) = self.answered.pop_front().expect("an answer comes first");
        let slot = self.used % (1 << LOG2);
        let phase = (self.used >> LOG2 & 1) ^ 1;
        let said = if failed { 0 } else { len | verdict << 16 };
        assert_eq!((c.iova.to_u64(), c.len.to_u64()), (DONE_RING + 8 * slot, 8));
        assert_eq!(c.data.get_bits::<64>(0).to_u64(), said | (self.used & 0xffff) << 32 | phase << 63);
        assert!(c.notify);
        self.used += 1;
        self.reports.push_back((c.tag.to_u64(), None));
    }

    fn engine(&mut self, u: &mut Dispatch, r: &mut Rnd) {
        assert_eq!(u.rx_consumer.val().to_u64(), self.used & 0xffff);
        assert_eq!(u.irq_rx.val(), self.irq, "still of the last cycle, as its inputs are");
        self.irq = false;
        u.cmd_ready.next = r.chance(2, 3);
        if u.cnt_drop_no_buffer.val() {
            self.drops += 1;
        }
        if u.cmd_valid.val() && u.cmd_ready.next {
            let c = u.cmd.val();
            if c.kind.to_u64() == WRITE_INLINE {
                self.entry(&c);
            } else {
                let f = self.list.front().cloned().expect("a frame in the list");
                self.ordinary(&c, &f);
            }
        }
        u.done_valid.next = false;
        u.done.next = WriteDone::default();
        if !self.reports.is_empty() && r.chance(1, if self.stingy { 5 } else { 40 }) {
            let (tag, frame) = self.reports.pop_front().expect("not empty");
            let error = r.chance(1, 8);
            u.done_valid.next = true;
            u.done.next = WriteDone { tag: tag.into(), error };
            match frame {
                Some((len, verdict)) => self.answered.push_back((len, verdict, error)),
                None => self.irq = !error,
            }
            self.irqs += usize::from(self.irq);
            self.failures += usize::from(error);
        }
    }

    fn ring(&mut self, u: &mut Dispatch, r: &mut Rnd) {
        if r.chance(1, 2000) {
            self.stingy = !self.stingy;
        }
        let posted = self.producer - self.used; // entries are the host's again when completed
        if posted < (1 << LOG2) && r.chance(1, if self.stingy { 200 } else { 5 }) {
            let free = (1 << LOG2) - posted;
            self.producer += if self.stingy { 1 } else { 1 + r.below(free) };
        }
        u.rx_producer.next = (self.producer & 0xffff).into();
        u.read_ready.next = r.chance(1, 2);
        if u.read_valid.val() && u.read_ready.next {
            assert!(self.burst.is_empty());
            let (at, n) = (u.read.val().iova.to_u64(), u.read.val().beats.to_u64());
            let slot = (at - RING) / 8;
            assert!(n > 0 && slot + n <= 1 << LOG2 && at / 256 == (at + 8 * n - 8) / 256, "{at:x} {n}");
            let error = r.chance(1, 15);
            self.read_errors += usize::from(error);
            let from = r.below(n);
            for i in 0..n {
                // The newest index that lies in this slot and is posted.
                let index = (self.producer - 1) - ((self.producer - 1).wrapping_sub(slot + i) % (1 << LOG2));
                self.burst.push_back((buffer(index), error && i >= from, i + 1 == n));
            }
        }
        u.beat_valid.next = false;
        u.beat.next = r.any();
        if !u.read_valid.val() && !self.burst.is_empty() && r.chance(1, 3) {
            let (data, error, last) = self.burst.pop_front().expect("not empty");
            u.beat_valid.next = true;
            u.beat.next = ReadBeat { data: data.into(), error, last };
        }
    }

    fn step(&mut self, u: &mut Dispatch, r: &mut Rnd) {
        u.reset.next = false;
        u.enable.next = true;
        u.rx_base.next = RING.into();
        u.rx_done_base.next = DONE_RING.into();
        u.rx_log2.next = LOG2.into();
        self.metas(u, r);
        self.proto(u, r);
        self.engine(u, r);
        self.ring(u, r);
    }
}

/// Each frame goes where it must, with its completion after its bytes; without a buffer it is dropped and counted.
///
/// Verifies: laws L4, L5; R-144 (a frame that PROTO does not take goes up).
#[test]
fn every_frame_goes_to_the_engine_or_up_or_is_counted() {
    let steps = if long() { 400_000 } else { 40_000 };
    let t = std::cell::RefCell::new(Test::default());
    let clock = |u: &mut Dispatch, c: bool| u.clock.next = c.into();
    let d = Diff::new("dispatch", steps);
    d.run_seen(Dispatch::default(), |u, r| t.borrow_mut().step(u, r), |u| t.borrow_mut().see(u), clock);
    let t = t.into_inner();
    eprintln!(
        "{:?} frames, {} withdrawn, {} drops, {} irqs, {} read errors, {} failures",
        t.counts, t.withdrawn, t.drops, t.irqs, t.read_errors, t.failures
    );
    assert!(t.counts.iter().all(|n| *n > steps / 300), "{:?}", t.counts);
    assert!(t.most == 16, "the list is filled: {}", t.most);
    assert!(t.drops > 20 && t.irqs > 100 && t.read_errors > 3);
}

/// A connection has its path's id, whichever came last.
///
/// Verifies.
#[test]
fn a_connection_has_the_id_of_its_paths_neighbor() {
    let (mut paths, mut ids) = ([0u64; 16], [0u64; 4]);
    let (mut asked, mut path, mut seen) = (None, 0, 0);
    let poke = |u: &mut Ids, r: &mut Rnd| {
        // The path of the connection as it was when it was asked for, the id as it is now.
        if let Some(conn) = asked.take() {
            path = conn;
        }
        u.path_vlan.next = PathVlan { valid: false, ..r.any() };
        u.conn_path.next = ConnPath { valid: false, ..r.any() };
        if seen > 17 {
            assert_eq!(u.vlan.val().to_u64(), ids[path as usize]);
        }
        let step = seen;
        seen += 1;
        let (id, conn) = (step % 4, step % 16);
        if step < 16 || r.chance(1, 3) {
            let id = if step < 16 { id } else { r.below(4) };
            let vlan = r.below(4095);
            u.path_vlan.next = PathVlan { valid: true, path: id.into(), vlan: vlan.into() };
            ids[id as usize] = vlan;
        }
        let look = r.below(16);
        u.look.next = step >= 16;
        u.conn.next = look.into();
        if step >= 16 {
            asked = Some(paths[look as usize]);
        }
        if step < 16 {
            let to = r.below(4);
            u.conn_path.next = ConnPath { valid: true, conn: conn.into(), path: to.into() };
            paths[conn as usize] = to;
        }
    };
    chimney_hdl_kernel::diff::diff("vlans", Ids::default(), 4000, poke, |u, c| u.clock.next = c.into());
}
