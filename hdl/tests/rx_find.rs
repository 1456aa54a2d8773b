//! Receiver, lookup, VLAN ids and dispatcher wired as in the top: frames of all kinds while connections and paths come and go; how long a
//! segment takes to PROTO. Native against Verilated.

mod frames;
mod lookup_model;

use chimney_abi::wire::ethernet::MAX_JUMBO_LEN;
use chimney_hdl::eth::rx::Rx;
use chimney_hdl::host::vlans::{ConnPath, PathVlan, Vlans};
use chimney_hdl::prelude::*;
use chimney_hdl::tcp::lookup::{Lookup, LookupOp};
use chimney_hdl::types::FrameMeta;
use chimney_hdl_kernel::diff::{long, Clocked, Diff, Pins, Rnd, Verilated};
use chimney_hdl_kernel::pins;
use frames::judge::{judge, Expected};
use frames::{random_frame, shaped_frame, Shape, Source, MAC};
use lookup_model::Tuple;
use std::cell::RefCell;
use std::collections::VecDeque;

const MAX: usize = MAX_JUMBO_LEN.next_multiple_of(8);
const OUR_MAC: u64 = u64::from_le_bytes([MAC[0], MAC[1], MAC[2], MAC[3], MAC[4], MAC[5], 0, 0]);
/// Connections and paths.
const CONNS: u64 = 16;
const PATHS: u64 = 4;

/// The wiring. Bytes of frames stay inside.
#[derive(LogicBlock, Default)]
struct Wired {
    clock: Signal<In, Clock>,
    reset: Signal<In, Bit>,
    tdata: Signal<In, Bits<64>>,
    tkeep: Signal<In, Bits<8>>,
    tvalid: Signal<In, Bit>,
    tready: Signal<Out, Bit>,
    tlast: Signal<In, Bit>,
    tuser: Signal<In, Bit>,
    lb_tdata: Signal<In, Bits<64>>,
    lb_tkeep: Signal<In, Bits<8>>,
    lb_tvalid: Signal<In, Bit>,
    lb_tready: Signal<Out, Bit>,
    lb_tlast: Signal<In, Bit>,
    meta_valid: Signal<Out, Bit>,
    meta: Signal<Out, FrameMeta>,
    meta_hit: Signal<Out, Bit>,
    meta_ready: Signal<In, Bit>,
    free_valid: Signal<In, Bit>,
    free_len: Signal<In, Bits<16>>,
    drop_overrun: Signal<Out, Bit>,
    op_valid: Signal<In, Bit>,
    op: Signal<In, LookupOp>,
    op_path: Signal<In, Bits<16>>,
    op_done: Signal<Out, Bit>,
    op_ok: Signal<Out, Bit>,
    path_vlan: Signal<In, PathVlan>,
    rx: Rx<MAX>,
    lookup: Lookup<4, 5>,
    vlans: Vlans<4, 2>,
}

#[kernel]
impl Logic for Wired {
    fn update(&mut self) {
        clock!(self, clock, rx, lookup, vlans);
        reset!(self, reset, rx, lookup);
        self.rx.enable.next = true;
        self.rx.mac.next = bits::<48>(OUR_MAC);
        self.rx.s_axis_tdata.next = self.tdata.val();
        self.rx.s_axis_tkeep.next = self.tkeep.val();
        self.rx.s_axis_tvalid.next = self.tvalid.val();
        self.tready.next = self.rx.s_axis_tready.val();
        self.rx.s_axis_tlast.next = self.tlast.val();
        self.rx.s_axis_tuser.next = self.tuser.val();
        self.rx.lb_tdata.next = self.lb_tdata.val();
        self.rx.lb_tkeep.next = self.lb_tkeep.val();
        self.rx.lb_tvalid.next = self.lb_tvalid.val();
        self.lb_tready.next = self.rx.lb_tready.val();
        self.rx.lb_tlast.next = self.lb_tlast.val();
        self.meta_valid.next = self.rx.meta_valid.val();
        self.meta.next = self.rx.meta.val();
        self.meta_hit.next = self.rx.meta_hit.val();
        self.rx.meta_ready.next = self.meta_ready.val();
        self.rx.mem_re.next = false;
        self.rx.mem_addr.next = bits::<12>(0);
        self.rx.free_valid.next = self.free_valid.val();
        self.rx.free_len.next = self.free_len.val();
        self.drop_overrun.next = self.rx.cnt_drop_overrun.val();
        self.rx.hash_key.next = bits::<64>(0x0123_4567_89ab_cdef);
        self.rx.mix_valid.next = self.lookup.mix_valid.val();
        self.rx.mix_x.next = self.lookup.mix_x.val();
        self.lookup.mix_ready.next = self.rx.mix_ready.val();
        self.lookup.mix_y.next = self.rx.mix_y.val();
        self.lookup.mix_filled.next = self.rx.mix_filled.val();
        self.lookup.find_hash.next = self.rx.find_hash.val();
        self.lookup.find_valid.next = self.rx.find_valid.val();
        self.lookup.find_key.next = self.rx.find_key.val();
        self.rx.find_ready.next = self.lookup.find_ready.val();
        self.rx.find_done.next = self.lookup.find_done.val();
        self.rx.find_hit.next = self.lookup.find_hit.val();
        self.rx.find_conn.next = self.lookup.find_conn.val();
        self.vlans.look.next = self.lookup.find_looks.val();
        self.vlans.conn.next = self.lookup.find_conn.val();
        self.rx.vlan.next = self.vlans.vlan.val();
        self.lookup.op_valid.next = self.op_valid.val();
        self.lookup.op.next = self.op.val();
        self.op_done.next = self.lookup.op_done.val();
        self.op_ok.next = self.lookup.op_ok.val();
        let path = self.path_vlan.val();
        self.vlans.path_vlan.next = path;
        self.rx.changed.next = self.lookup.changes.val() || path.valid;
        self.vlans.conn_path.next = ConnPath {
            valid: self.op_valid.val() && self.op.val().insert,
            conn: self.op.val().conn,
            path: self.op_path.val(),
        };
    }
}

/// A change in work: insert or delete, tuple, connection, path.
#[derive(Clone, Copy, Default)]
struct Change {
    insert: bool,
    tuple: usize,
    conn: u64,
    path: u64,
}

/// Everything around the block.
#[derive(Default)]
struct Test {
    wire: Source,
    lb: Source,
    expected: VecDeque<Expected>,
    last_kept: bool,
    /// What can be in the table, and under which connection and path it is.
    tuples: Vec<Tuple>,
    table: Vec<Option<(usize, u64)>>,
    vlans: Vec<u64>,
    change: Option<Change>,
    /// Clocks from change to change, on average.
    pace: u64,
    gap: u64,
    lazy: u64,
    free: VecDeque<u64>,
    clock: u64,
    /// Hits, misses, of another VLAN, no candidates; drops; changes; frames that waited while the table changed.
    seen: [usize; 4],
    overruns: usize,
    changes: usize,
    offer: Option<(bool, u64)>,
    withdrawn: usize,
    /// Frames are not taken for some time.
    naps: bool,
}

/// Clocks until the table can be filled.
const FILLED: u64 = 2200;
/// Ends of the flows in the pool.
fn ends(i: u64) -> (([u8; 4], u16), ([u8; 4], u16)) {
    (([10, 0, 0, (i & 1) as u8], 1000 + (i >> 1) as u16), ([10, 0, 0, 2], 80))
}

/// A frame of the pool or any other, with one of few VLAN ids.
fn any_frame(r: &mut Rnd) -> Vec<u8> {
    let tag = |r: &mut Rnd| Some((r.below(8) << 13 | r.below(3)) as u16);
    let tci = if r.chance(1, 3) { tag(r) } else { None };
    let shape = Shape { v6: r.chance(1, 3), tci, snap: r.chance(1, 6), udp: r.chance(1, 20) };
    let len = [0, 0, 2, 6, 20, 100, 1400, 8900][r.below(8) as usize];
    let len = if len > 1000 && r.chance(5, 6) { r.below(40) as usize } else { len };
    let len = if shape.snap { len.min(1400) } else { len };
    if r.chance(1, 6) {
        return random_frame(r, 1500);
    }
    let mut f = shaped_frame(&shape, ends(r.below(8)), &[], &vec![0x11; len], r);
    match r.below(12) {
        // A wrong checksum, a frame that is cut off, one for somebody else.
        0 => *f.last_mut().expect("bytes") ^= 1,
        1 => f.truncate(20 + r.below(f.len() as u64 - 20) as usize),
        2 => f[5] ^= 1,
        _ => {}
    }
    f
}

impl Test {
    fn new(r: &mut Rnd) -> Test {
        let tuple = |i: u64, v6: bool, r: &mut Rnd| {
            let f = shaped_frame(&Shape { v6, ..Shape::default() }, ends(i), &[], &[], r);
            let e = judge(&f);
            Tuple::of_frame(&f, e.tcp_at, e.is_v6)
        };
        let tuples = (0..16).map(|i| tuple(i % 8, i >= 8, r)).collect();
        Test { tuples, table: vec![None; CONNS as usize], vlans: vec![0; PATHS as usize], ..Test::default() }
    }

    fn ended(&mut self, frame: Vec<u8>, bad: bool) {
        self.last_kept = !bad && frame.len() <= MAX;
        if self.last_kept {
            self.expected.push_back(judge(&frame));
        }
    }

    fn inputs(&mut self, u: &mut Wired, r: &mut Rnd) {
        let on = self.clock > FILLED;
        let wire = if on { self.wire.offer(r, self.gap, any_frame) } else { None };
        let lb = if on && self.gap > 0 { self.lb.offer(r, self.gap, any_frame) } else { None };
        let (data, keep, last) = wire.unwrap_or_default();
        u.tvalid.next = wire.is_some();
        u.tdata.next = data.into();
        u.tkeep.next = u64::from(keep).into();
        (u.tlast.next, u.tuser.next) = (last, last && self.wire.bad);
        let (data, keep, last) = lb.unwrap_or_default();
        u.lb_tvalid.next = lb.is_some();
        u.lb_tdata.next = data.into();
        u.lb_tkeep.next = u64::from(keep).into();
        u.lb_tlast.next = last;
        if wire.is_some() && u.tready.val() {
            let bad = self.wire.bad;
            if let Some(f) = self.wire.taken() {
                self.ended(f, bad);
            }
        }
        if lb.is_some() && u.lb_tready.val() {
            if let Some(f) = self.lb.taken() {
                self.ended(f, false);
            }
        }
    }

    /// Connections come and go, paths get other neighbors.
    fn table(&mut self, u: &mut Wired, r: &mut Rnd) {
        if self.change.is_none() && self.pace > 0 && r.below(self.pace) == 0 {
            let conn = r.below(CONNS);
            let of = self.table[conn as usize];
            let tuple = of.map_or_else(|| r.below(self.tuples.len() as u64) as usize, |(tuple, _)| tuple);
            self.change = Some(Change { insert: of.is_none(), tuple, conn, path: r.below(PATHS) });
        }
        let c = self.change.unwrap_or_default();
        u.op_valid.next = self.change.is_some();
        u.op.next = LookupOp { insert: c.insert, key: self.tuples[c.tuple].raw_key(), conn: c.conn.into() };
        u.op_path.next = c.path.into();
        let valid = self.pace > 0 && r.below(2 * self.pace) == 0;
        u.path_vlan.next =
            PathVlan { valid, path: r.below(PATHS).into(), vlan: [0, 0, 1, 2][r.below(4) as usize].into() };
    }

    fn step(&mut self, u: &mut Wired, r: &mut Rnd) {
        self.clock += 1;
        if self.clock % 1000 == 1 {
            self.gap = [0, 2, 4, 12][r.below(4) as usize];
            self.lazy = [0, 0, 0, 12, 15, 16][r.below(6) as usize];
            self.pace = [30, 200, 1000][r.below(3) as usize];
        }
        if u.drop_overrun.val() {
            self.overruns += 1;
            assert!(self.last_kept);
            self.expected.pop_back();
        }
        u.reset.next = false;
        let asleep = self.naps && self.clock % 3000 > 2000;
        u.meta_ready.next = !asleep && r.below(16) >= self.lazy;
        let free = self.free.pop_front();
        u.free_valid.next = free.is_some();
        u.free_len.next = free.unwrap_or(0).into();
        self.inputs(u, r);
        self.table(u, r);
    }

    /// What the table says in this clock: whether it holds the tuple, and for whom the frame is.
    fn wanted(&self, e: &Expected) -> (bool, Option<u64>) {
        if !e.candidate {
            return (false, None);
        }
        let tuple = Tuple::of_frame(&e.frame, e.tcp_at, e.is_v6);
        let is = |row: &Option<(usize, u64)>| row.is_some_and(|(t, _)| self.tuples[t] == tuple);
        let Some(conn) = self.table.iter().position(is) else { return (false, None) };
        let vlan = self.vlans[self.table[conn].expect("a row").1 as usize];
        let ours = vlan == 0 || e.tci.is_some_and(|tci| u64::from(tci & 0xfff) == vlan);
        (true, ours.then_some(conn as u64))
    }

    /// After the inputs of a step have settled.
    fn see(&mut self, u: &Wired) {
        if u.op_done.val() {
            // It counts from this clock on.
            let c = self.change.take().expect("a change");
            assert!(c.insert || u.op_ok.val());
            if u.op_ok.val() {
                self.table[c.conn as usize] = c.insert.then_some((c.tuple, c.path));
                self.changes += 1;
            }
        }
        let offer = u.meta_valid.val().then(|| (u.meta_hit.val(), u.meta.val().seg.conn.to_u64()));
        self.withdrawn += usize::from(self.offer.is_some_and(|o| o.0 && Some(o) != offer));
        self.offer = offer.filter(|_| !u.meta_ready.val());
        if let Some((hit, conn)) = offer {
            let e = self.expected.front().expect("a frame that was sent");
            let (known, wanted) = self.wanted(e);
            assert_eq!(u.meta.val().len.to_u64() as usize, e.frame.len());
            assert_eq!(
                (u.meta.val().candidate, hit.then_some(conn)),
                (e.candidate, wanted),
                "{:02x?}",
                e.frame
            );
            if u.meta_ready.val() {
                let kind = if !e.candidate {
                    3
                } else if wanted.is_some() {
                    0
                } else {
                    1 + usize::from(known)
                };
                self.seen[kind] += 1;
                self.free.push_back((e.frame.len() as u64).next_multiple_of(8));
                self.expected.pop_front();
            }
        }
        if u.path_vlan.val().valid {
            let path = u.path_vlan.val();
            self.vlans[path.path.index()] = path.vlan.to_u64();
        }
    }
}

fn pins() -> Pins<Wired> {
    pins!(Wired; reset, tdata, tkeep, tvalid, tlast, tuser, lb_tdata, lb_tkeep, lb_tvalid, lb_tlast, meta_ready, free_valid,
        free_len, op_valid, op, op_path, path_vlan;
        tready, lb_tready, meta_valid, meta, meta_hit, drop_overrun, op_done, op_ok)
}

fn clock(u: &mut Wired, c: bool) {
    u.clock.next = c.into();
}

/// Every frame comes out in order, and for the connection that the table holds in that clock, while it is offered and when it is taken.
///
/// Verifies: R-144 (frames after the tuple was taken out go up, also those that came in before), R-284; law L4.
#[test]
fn every_frame_is_for_whom_the_table_names_in_that_clock() {
    let mut r = Rnd::new(Rnd::seed_for("rx_find_table"));
    let mut t = Test::new(&mut r);
    let mut b = Verilated::new("rx_find", Wired::default(), pins());
    let clocks = if long() { 4_000_000 } else { 300_000 };
    b.cycle(|u| u.reset.next = true);
    for _ in 0..clocks {
        b.settle(|u| t.step(u, &mut r));
        t.see(b.u());
        b.edge();
    }
    eprintln!(
        "hits, misses, of another VLAN, others: {:?}; {} overruns, {} changes, {} withdrawn",
        t.seen, t.overruns, t.changes, t.withdrawn
    );
    assert!(t.seen.iter().all(|n| *n > 200) && t.overruns > 50 && t.changes > 500 && t.withdrawn > 10);
}

/// What holds for the model above holds for the block.
#[test]
fn the_model_is_the_block() {
    let mut r = Rnd::new(Rnd::seed_for("rx_find_model"));
    let t = RefCell::new(Test::new(&mut r));
    t.borrow_mut().naps = true;
    Diff::new("rx_find", 12_000).run_seen(
        Wired::default(),
        |u, r| t.borrow_mut().step(u, r),
        |u| t.borrow_mut().see(u),
        clock,
    );
    let t = t.into_inner();
    eprintln!("{:?}, {} overruns, {} changes, {} withdrawn", t.seen, t.overruns, t.changes, t.withdrawn);
    assert!(t.seen.iter().sum::<usize>() > 100 && t.changes > 20);
}

/// Smallest frames without gaps, found and not found: a frame in 8 clocks, and whoever takes them sees each 5 clocks after its last beat.
#[test]
fn smallest_frames_without_gaps_are_found_as_they_come() {
    let mut r = Rnd::new(Rnd::seed_for("rx_find_rate"));
    let mut t = Test::new(&mut r);
    let mut b = Verilated::new("rx_find", Wired::default(), pins());
    b.cycle(|u| u.reset.next = true);
    b.cycle(|u| u.reset.next = false);
    t.pace = 0;
    for conn in 0..4 {
        t.change = Some(Change { insert: true, tuple: 2 * conn, conn: conn as u64, path: 0 });
        while t.change.is_some() {
            b.settle(|u| t.table(u, &mut r));
            t.see(b.u());
            b.edge();
        }
        b.cycle(|u| u.op_valid.next = false);
    }
    let (mut ends, mut metas) = (vec![], vec![]);
    for n in 0..4000 {
        let beat = t
            .wire
            .offer(&mut r, 0, |r| shaped_frame(&Shape::default(), self::ends(r.below(8)), &[], &[7; 6], r));
        t.wire.bad = false;
        b.settle(|u| {
            let (data, keep, last) = beat.expect("no gaps");
            (u.tdata.next, u.tkeep.next, u.tvalid.next) = (data.into(), u64::from(keep).into(), true);
            (u.tlast.next, u.tuser.next, u.meta_ready.next) = (last, false, true);
            let free = t.free.pop_front();
            (u.free_valid.next, u.free_len.next) = (free.is_some(), free.unwrap_or(0).into());
        });
        assert!(b.u().tready.val() && !b.u().drop_overrun.val());
        if let Some(f) = t.wire.taken() {
            t.expected.push_back(judge(&f));
            ends.push(n);
        }
        if b.u().meta_valid.val() {
            metas.push((n, b.u().meta_hit.val()));
        }
        t.see(b.u());
        b.edge();
    }
    let late: Vec<usize> =
        ends.iter().zip(&metas).map(|(end, (at, hit))| at - end - usize::from(*hit)).collect();
    assert!(ends.len() == 500 && t.seen[0] > 100 && t.seen[1] > 100, "{:?}", t.seen);
    // A miss is known when it is described.
    assert!(late.iter().all(|n| *n == 4), "{late:?}");
}
