//! The placer: native against Verilated, and against plain Rust.
mod placer_model;

use chimney_abi::desc::{PAGE_BYTES, RECV_NO_PUSH};
use chimney_hdl::mirror::{PageMapEntry, RecvDesc, Shadow};
use chimney_hdl::prelude::*;
use chimney_hdl::tcp::pages::{ClearMap, LoadSlot};
use chimney_hdl::tcp::place::later::Later;
use chimney_hdl::tcp::place::order::{
    PlaceAsk, PlaceOrder, Posts as RtlPosts, Snap, PLACE_LOAD, PLACE_TELL, PLACE_WORK,
};
use chimney_hdl::tcp::place::placer::Placer;
use chimney_hdl::types::{ReadBeat, TcpParams, WriteCmd, WRITE_FREE, WRITE_INLINE, WRITE_PAYLOAD};
use chimney_hdl_kernel::diff::{long, Diff, Rnd};
use placer_model::{page, ring, Model, Order, Out, Post, Posts, Record, MAPS, POOL, RECV_LOG2, SHADOWS};
use std::cell::RefCell;
use std::collections::VecDeque;

/// Four connections with 32 slots each.
type Dut = Placer<2, 7>;
const POOL_RING: u64 = 0x4_0000;
const POOL_LOG2: u64 = 6;
/// Pages that text of up to 1.5 pages may touch.
const MOST_PAGES: u64 = 3;

/// Any width up to 64 as a number.
fn n<const N: usize>(b: Bits<N>) -> u64 {
    (0..N).fold(0, |v, i| v | u64::from(b.get_bit(i)) << i)
}

/// Pages that the text of an order may touch.
fn pages_for(o: &Order) -> u64 {
    if o.len == 0 {
        0
    } else {
        (u64::from(o.seq % PAGE_BYTES) + u64::from(o.len)).div_ceil(u64::from(PAGE_BYTES))
    }
}

/// The RTL's form of an order.
fn rtl(o: &Order, r: &mut Rnd) -> PlaceOrder {
    let kind = if o.load.is_some() {
        PLACE_LOAD
    } else if o.tell {
        PLACE_TELL
    } else {
        PLACE_WORK
    };
    PlaceOrder {
        kind: kind.into(),
        conn: o.conn.into(),
        generation: u64::from(o.generation).into(),
        reserved: o.reserved.into(),
        bell: o.bell.is_some(),
        producer: u64::from(o.bell.unwrap_or(0)).into(),
        seq: u64::from(o.seq).into(),
        len: u64::from(o.len).into(),
        src: u64::from(o.src).into(),
        is_ooo: o.is_ooo,
        jump: o.jump,
        push: o.push,
        fin: o.fin,
        is_segment: o.is_segment,
        handed_up: o.handed_up,
        free: u64::from(o.free).into(),
        publish: o.publish,
        snap: Snap { rcv_nxt: u64::from(o.rcv_nxt).into(), rcv_right: u64::from(o.right).into(), ..r.any() },
        data: o.data,
        now: o.now,
        raise: o.raise,
    }
}

/// The RTL's form of the posts that a connection begins with.
fn rtl_posts(conn: u64, p: &Posts) -> RtlPosts {
    RtlPosts {
        ring: ring(conn).into(),
        ring_log2: u64::from(RECV_LOG2).into(),
        producer: u64::from(p.producer).into(),
        idx: u64::from(p.idx).into(),
        pool_mode: p.pool,
        ..RtlPosts::default()
    }
}

struct Test {
    clock: u64,
    m: Model,
    /// Next byte of every connection.
    nxt: [u32; 4],
    generation: [u8; 4],
    live: [bool; 4],
    pool_producer: u64,
    pool_asked: u64,
    pool_burst: VecDeque<u64>,
    post_burst: VecDeque<(u64, bool, bool)>,
    /// An order whose pages are reserved; cycles until it is offered.
    next: Option<(Order, u64)>,
    wanted: Option<Order>,
    /// The connection that a load began, and its posts.
    load: Option<(u64, Posts)>,
    /// A connection whose page map is to be emptied.
    clears: Option<u64>,
    asked: Option<(bool, u64)>,
    /// All of the text fits, and whether pages are reserved for it.
    granted: Option<(Order, bool)>,
    level: u64,
    queued: u64,
    idle: bool,
    bad: u64,
    /// Tag of the next shadow record.
    tags: [u16; 4],
    /// What an order left to the record of the next one, and whether an event is due with that.
    held: [Option<(Record, bool)>; 4],
    left: usize,
    /// Frames that went back with their last piece.
    freed: usize,
    seen: [usize; 12],
}

impl Test {
    fn new() -> Self {
        Self {
            clock: 0,
            m: Model::default(),
            nxt: [0x7fff_f000, 5, 0xffff_e000, 0],
            generation: [1; 4],
            live: [false; 4],
            pool_producer: 0,
            pool_asked: 0,
            pool_burst: VecDeque::new(),
            post_burst: VecDeque::new(),
            next: None,
            wanted: None,
            load: None,
            clears: None,
            asked: None,
            granted: None,
            level: 0,
            queued: 0,
            idle: false,
            bad: 0,
            tags: [0; 4],
            held: [None; 4],
            left: 0,
            freed: 0,
            seen: [0; 12],
        }
    }

    fn poke(&mut self, u: &mut Dut, r: &mut Rnd) {
        u.reset.next = false;
        u.enable.next = true;
        u.params.next = TcpParams {
            shadow_base: SHADOWS.into(),
            page_map_base: MAPS.into(),
            pool_base: POOL.into(),
            ..TcpParams::default()
        };
        u.write_cmd_ready.next = r.chance(2, 3);
        u.raise_ready.next = r.chance(1, 2);
        u.turn.next = r.chance(2, 3);
        self.reads(u, r);
        self.loads(u);
        // Now and then the host has time to post.
        self.clock += 1;
        let calm = self.clock % 2_000 < 1_000;
        let nothing = self.wanted.is_none() && self.next.is_none() && self.granted.is_none();
        if nothing && r.chance(1, 6) && (!calm || (self.idle && self.queued == 0)) {
            self.wanted = Some(self.plan(r));
        }
        self.reserve(u, r);
        self.offer(u, r);
    }

    fn reads(&mut self, u: &mut Dut, r: &mut Rnd) {
        u.pool_ring.next = POOL_RING.into();
        u.pool_log2.next = POOL_LOG2.into();
        // Often there are too few pages.
        let rate = if self.clock % 8_000 < 2_000 { 40 } else { 300 };
        if r.chance(1, rate) && self.pool_producer - self.pool_asked < 1 << POOL_LOG2 {
            self.pool_producer += 1;
        }
        u.pool_producer.next = (self.pool_producer & 0xffff).into();
        u.pool_req_ready.next = r.chance(1, 3);
        u.post_req_ready.next = r.chance(1, 3);
        u.pool_beat.next = r.any();
        u.post_beat.next = r.any();
        u.pool_beat_valid.next = false;
        u.post_beat_valid.next = false;
        if r.chance(1, 3) {
            if let Some(index) = self.pool_burst.pop_front() {
                let (data, last) = (u64::from(page(index)).into(), self.pool_burst.is_empty());
                u.pool_beat_valid.next = true;
                u.pool_beat.next = ReadBeat { data, last, error: false };
            }
        }
        if r.chance(1, 3) {
            if let Some((data, last, error)) = self.post_burst.pop_front() {
                u.post_beat_valid.next = true;
                u.post_beat.next = ReadBeat { data: data.into(), last, error };
            }
        }
    }

    /// A connection begins: its page map is emptied while no order of it is under way.
    fn loads(&mut self, u: &mut Dut) {
        u.load_slot.next = LoadSlot::default();
        u.clear.next = ClearMap { valid: self.clears.is_some(), conn: self.clears.unwrap_or(0).into() };
        // It depends on registers alone.
        if u.clear_ready.val() {
            self.clears = None;
        }
        let (conn, posts) = self.load.unwrap_or_default();
        u.load.next = rtl_posts(conn, &posts);
    }

    /// What happens next, given what the model knows.
    fn plan(&mut self, r: &mut Rnd) -> Order {
        let conn = r.below(4);
        let i = conn as usize;
        let base = Order {
            conn,
            generation: self.generation[i],
            rcv_nxt: self.nxt[i],
            right: self.nxt[i].wrapping_add(r.below(60_000) as u32),
            publish: r.chance(3, 4),
            data: r.chance(1, 2),
            now: r.chance(1, 2),
            raise: r.chance(1, 4),
            tell: r.chance(1, 10),
            ..Order::default()
        };
        let quiet = self.idle && self.queued == 0;
        match r.below(8) {
            _ if !self.live[i] && !quiet => {
                Order { is_segment: true, handed_up: true, publish: false, ..base }
            }
            _ if !self.live[i] => self.begin(base, r),
            0 if quiet && self.m.posts[i].records > 8 => self.begin(base, r),
            1 | 2 if quiet => self.bell(base, r),
            0..3 => base,
            _ => self.segment(base, r),
        }
    }

    fn begin(&mut self, o: Order, r: &mut Rnd) -> Order {
        let at = r.below(1 << 16) as u16;
        let posts = Posts { producer: at, idx: at, pool: r.chance(1, 2), ..Posts::default() };
        self.generation[o.conn as usize] = r.next_u64() as u8;
        self.tags[o.conn as usize] = 0;
        self.live[o.conn as usize] = true;
        self.m.map.retain(|(conn, _), _| *conn != o.conn);
        self.load = Some((o.conn, posts));
        self.clears = Some(o.conn);
        Order { generation: self.generation[o.conn as usize], load: Some(posts), ..o }
    }

    /// The host posts receives; sometimes it says more than a ring can hold.
    fn bell(&mut self, o: Order, r: &mut Rnd) -> Order {
        let p = self.m.posts[o.conn as usize];
        let room = (1 << RECV_LOG2) - u64::from(p.producer.wrapping_sub(p.idx));
        let more = r.below(room + 1) as u16;
        for k in 0..more {
            let len = [0, 1 + r.below(20), 1 + r.below(6000), 5000][r.below(4) as usize] as u32;
            let seq = if r.chance(2, 3) { o.rcv_nxt } else { r.next_u64() as u32 };
            let flags = if r.chance(1, 2) { RECV_NO_PUSH } else { 0 };
            let post = Post { addr: r.next_u64() >> 8, len, flags, seq, broken: r.chance(1, 100) };
            self.m.memory.insert(placer_model::entry(o.conn, p.producer.wrapping_add(k)), post);
        }
        let producer = if r.chance(1, 20) { p.idx.wrapping_add(17) } else { p.producer.wrapping_add(more) };
        Order { bell: Some(producer), ..o }
    }

    fn segment(&mut self, o: Order, r: &mut Rnd) -> Order {
        let o = Order {
            src: r.below(1 << 14) as u16,
            is_segment: true,
            free: (r.below(100) * 8) as u16,
            handed_up: r.chance(1, 8),
            ..o
        };
        if o.handed_up || r.chance(1, 10) {
            return o;
        }
        let len = [1, 1448, 1 + r.below(64), 1 + r.below(6000)][r.below(4) as usize] as u16;
        let i = o.conn as usize;
        if r.chance(1, 4) {
            // Out of order, within the lap of the page map.
            let seq = self.nxt[i].wrapping_add(r.below(40_000) as u32);
            return Order { is_ooo: true, seq, len, ..o };
        }
        let seq = self.nxt[i];
        let jump = r.chance(1, 10);
        self.nxt[i] = seq.wrapping_add(u32::from(len)).wrapping_add(if jump { 2000 } else { 0 });
        let (push, fin) = (r.chance(1, 3), r.chance(1, 30));
        Order { seq, len, jump, push, fin, rcv_nxt: self.nxt[i], ..o }
    }

    /// Reserves pages for the order that is wanted, or asks when there are too few.
    fn reserve(&mut self, u: &mut Dut, r: &mut Rnd) {
        u.reserve.next = 0_u64.into();
        u.ask_valid.next = false;
        u.ask.next = r.any();
        if let Some((o, pages)) = self.granted.take() {
            let reserved = if pages { pages_for(&o) } else { 0 };
            u.reserve.next = reserved.into();
            self.next = Some((Order { reserved, ..o }, 1));
        }
        let Some(o) = self.wanted else { return };
        let need = pages_for(&o);
        assert!(need <= MOST_PAGES);
        if need > self.level {
            if self.asked.is_none() && self.idle && self.queued == 0 {
                self.asked = Some(self.m.ask(o.conn, o.seq, o.len));
            }
            if self.asked.is_some() {
                let (seq, len) = (u64::from(o.seq).into(), u64::from(o.len).into());
                u.ask_valid.next = true;
                u.ask.next = PlaceAsk { conn: o.conn.into(), seq, len };
            }
        } else if self.asked.is_none() {
            u.reserve.next = need.into();
            self.wanted = None;
            self.next = Some((Order { reserved: need, ..o }, 1 + r.below(4)));
        } else {
            // Pages came while the question was on its way.
            let (seq, len) = (u64::from(o.seq).into(), u64::from(o.len).into());
            u.ask_valid.next = true;
            u.ask.next = PlaceAsk { conn: o.conn.into(), seq, len };
        }
    }

    fn offer(&mut self, u: &mut Dut, r: &mut Rnd) {
        u.order.next = r.any();
        u.order_valid.next = false;
        let Some((o, wait)) = &mut self.next else { return };
        *wait = wait.saturating_sub(1);
        if *wait == 0 && self.queued < 16 && self.clears.is_none() {
            u.order.next = rtl(o, r);
            u.order_valid.next = true;
            self.m.order(o);
            self.next = None;
        }
    }

    fn see(&mut self, u: &Dut) {
        assert!(!u.order_valid.val() || u.order_ready.val(), "there is room for 16");
        self.level = n(u.free_pages.val()).saturating_sub(n(u.reserve.val()));
        self.queued = n(u.level.val()) + u64::from(u.order_valid.val());
        self.idle = u.idle.val() && !u.order_valid.val();
        if u.pool_req_valid.val() && u.pool_req_ready.val() {
            let beats = n(u.pool_req.val().beats);
            self.pool_burst = (self.pool_asked..self.pool_asked + beats).collect();
            self.pool_asked += beats;
        }
        if u.post_req_valid.val() && u.post_req_ready.val() {
            let post = self.m.memory[&n(u.post_req.val().iova)];
            let second = u64::from(post.len) | u64::from(post.flags) << 24 | u64::from(post.seq) << 32;
            self.post_burst.extend([(post.addr, false, false), (second, true, post.broken)]);
        }
        if u.write_cmd_valid.val() && u.write_cmd_ready.val() {
            self.wrote(u.write_cmd.val(), u);
        }
        if u.unwritten.val() {
            self.leave();
        }
        if u.raise.val().valid && u.raise_ready.val() {
            let raise = u.raise.val();
            self.expect(Out::Raise { conn: n(raise.conn), generation: n(raise.generation) as u8 }, 0);
        }
        if u.told_valid.val() {
            assert!(self.post_burst.is_empty(), "law L1: the ring may be given away");
            let p = u.told.val();
            self.expect(Out::Told { idx: n(p.idx) as u16, off: n(p.off) as u32, pool: p.pool_mode }, 1);
        }
        if u.verdict_valid.val() {
            let handed_up = u.verdict_handed_up.val();
            assert!(!handed_up || u.turn.val());
            self.expect(Out::Verdict { handed_up }, 2);
        }
        self.bad += u64::from(u.bad_post.val());
        self.answered(u);
    }

    fn answered(&mut self, u: &Dut) {
        let fits = u.fits.val();
        if !fits.valid {
            return;
        }
        let (post, missing) = self.asked.take().expect("somebody asked");
        assert_eq!(fits.post, post, "{:?} {:?}", self.wanted, self.m.posts);
        assert!(fits.pages || missing > 0, "nothing is missing");
        self.seen[3 + usize::from(fits.post) + 2 * usize::from(fits.pages)] += 1;
        let o = self.wanted.take().expect("what was asked for");
        // PROTO takes text of which all fits; the rest is dropped.
        let in_order = !o.is_ooo && self.m.posts[o.conn as usize].post.is_some();
        if fits.pages || (fits.post && in_order) {
            self.granted = Some((o, fits.pages));
        } else {
            self.nxt[o.conn as usize] = if o.is_ooo { self.nxt[o.conn as usize] } else { o.seq };
        }
    }

    fn wrote(&mut self, c: WriteCmd, u: &Dut) {
        let (iova, len) = (n(c.iova), n(c.len));
        match n(c.kind) {
            WRITE_PAYLOAD => {
                self.expect(Out::Piece { src: n(c.src) as u16, iova, len: len as u16 }, 7);
                self.frees(n(c.free) as u16, u);
            }
            WRITE_FREE if !u.turn.val() => panic!("not its turn"),
            WRITE_FREE => self.expect(Out::Free { len: len as u16 }, 8),
            WRITE_INLINE if len == 32 => {
                let s = unpack::<Shadow, 256>(c.data);
                let commit = u.commit.val();
                assert!(u.commit_valid.val() && c.notify && s.tag == s.tag_end && commit.nxt == s.rcv_nxt);
                let conn = n(commit.conn);
                let tag = &mut self.tags[conn as usize];
                assert_eq!((iova, n(s.tag) as u16), (placer_model::shadow_at(conn, *tag), *tag));
                *tag = tag.wrapping_add(1);
                let record = Record {
                    conn,
                    idx: n(s.post_idx) as u16,
                    off: n(s.post_off) as u32,
                    pool: s.flags.get_bit(0),
                    nxt: n(s.rcv_nxt) as u32,
                    right: n(commit.right) as u32,
                    fault: commit.fault,
                    count: n(commit.count),
                    data: n(commit.data),
                    now: commit.now,
                };
                self.recorded(record);
            }
            _ if (MAPS..MAPS + 0x1_0000).contains(&iova) => {
                let e = unpack::<PageMapEntry, 64>(c.data.get_bits::<64>(0));
                let (page, seq) = (n(e.page) as u16, n(e.seq) as u32);
                self.expect(Out::Map { iova, page, generation: n(e.generation) as u8, seq }, 10);
            }
            _ => {
                let beats = cat::<128, _>((c.data.get_bits::<64>(0), bits::<64>(0)));
                let d = unpack::<RecvDesc, 128>(beats);
                let (len, flags, seq) = (n(d.len) as u32, n(d.flags) as u8, n(d.seq) as u32);
                self.expect(Out::Retire { iova, len, flags, seq }, 11);
            }
        }
    }

    /// A frame that goes back with its last piece: nothing else is read of it.
    fn frees(&mut self, len: u16, u: &Dut) {
        if len == 0 {
            return;
        }
        assert!(u.turn.val(), "not its turn");
        let at = self.m.out.iter().position(|o| *o == Out::Free { len }).expect("the order frees so much");
        let reads = |o: &Out| matches!(o, Out::Piece { .. } | Out::Free { .. } | Out::Verdict { .. });
        assert!(!self.m.out.iter().take(at).any(reads), "it was the last piece");
        self.m.out.remove(at);
        self.freed += 1;
    }

    /// An order ends without a shadow record: it wanted none, or leaves it to one that waits.
    fn leave(&mut self) {
        let record = match self.m.out.pop_front() {
            Some(Out::Nothing) => return,
            Some(Out::Shadow(record)) => record,
            other => panic!("{other:?} is left out"),
        };
        let i = record.conn as usize;
        let raises = matches!(self.m.out.front(), Some(Out::Raise { .. }));
        if raises {
            self.m.out.pop_front();
        }
        let is_next = |o: &Out| matches!(o, Out::Shadow(r) if r.conn == record.conn && r.count == 1);
        assert!(self.m.out.iter().any(is_next), "nobody writes the record");
        assert!(record.count == 1 && self.held[i].is_none(), "two in a row");
        self.held[i] = Some((record, raises));
        self.left += 1;
    }

    /// A shadow record, which may answer for one that was left to it.
    fn recorded(&mut self, got: Record) {
        let i = got.conn as usize;
        if let (Some((held, raises)), Some(Out::Shadow(next))) = (self.held[i].take(), self.m.out.front_mut())
        {
            next.count += held.count;
            next.data += held.data;
            next.now |= held.now;
            if raises && !matches!(self.m.out.get(1), Some(Out::Raise { .. })) {
                let raise = Out::Raise { conn: got.conn, generation: self.generation[i] };
                self.m.out.insert(1, raise);
            }
        }
        self.expect(Out::Shadow(got), 9);
    }

    fn expect(&mut self, got: Out, kind: usize) {
        let want = self.m.out.pop_front();
        assert_eq!(Some(got), want, "then {:?}", self.m.out.front());
        self.seen[kind] += 1;
    }
}

/// Every order means the commands that the plain model says, in its order; with pages reserved there is always one; a question is answered
/// truly.
///
/// Verifies: laws L2, L5; R-185; programmer's guide 6.
#[test]
fn orders_become_the_right_commands_in_the_right_order() {
    let t = RefCell::new(Test::new());
    Diff::new("placer", if long() { 400_000 } else { 30_000 }).run_seen(
        Dut::default(),
        |u, r| t.borrow_mut().poke(u, r),
        |u| t.borrow_mut().see(u),
        |u, c| u.clock.next = c.into(),
    );
    let t = t.borrow();
    assert!(t.bad > 3 && t.m.bad - t.bad <= 16, "{} of {}", t.bad, t.m.bad);
    assert!(t.seen.iter().all(|n| *n > 3), "{:?}", t.seen);
    assert!(t.left > 3 && t.freed > 3, "{} records left, {} frames freed", t.left, t.freed);
}

/// The list beside the queue tells what the queue holds.
#[test]
fn an_order_that_waits_is_found_by_its_connection() {
    let queue = RefCell::new(VecDeque::<(u64, bool)>::new());
    // What the connection asked about in this step, and the one before, has in the queue.
    let (mut found, seen) = (false, RefCell::new([0; 2]));
    let expected = RefCell::new(false);
    Diff::new("placer_later", if long() { 100_000 } else { 10_000 }).run_seen(
        Later::<2>::default(),
        |u, r| {
            let mut queue = queue.borrow_mut();
            *expected.borrow_mut() = found;
            u.reset.next = false;
            u.put.next = queue.len() < 16 && r.chance(1, 3);
            u.conn.next = r.bits_below(4);
            u.publish.next = r.chance(1, 3);
            u.take.next = !queue.is_empty() && r.chance(1, 3);
            u.about.next = r.bits_below(4);
            found = queue.contains(&(n(u.about.next), true));
            if u.take.next {
                queue.pop_front();
            }
            if u.put.next {
                queue.push_back((n(u.conn.next), u.publish.next));
            }
        },
        |u| {
            assert_eq!(u.found.val(), *expected.borrow());
            seen.borrow_mut()[usize::from(u.found.val())] += 1;
        },
        |u, c| u.clock.next = c.into(),
    );
    assert!(seen.borrow().iter().all(|n| *n > 100), "{seen:?}");
}
