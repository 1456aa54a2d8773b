//! The block. See [`super`] for what it does, [`super::step`] for the states.
//!
//! Under load a shadow record is left to that of the connection's next order, if one waits ([`super::step::settled`]).
//!
//! Latency: a cycle from an order to its first write command if nothing is in hand. Throughput: 4 cycles for a segment that lies in one page or post (a cycle
//! more if its frame is not the oldest one yet), 3 for a shadow record alone (a cycle more each if the order before is of the same
//! connection, a cycle less if the record is left to the next order), and 2 to 4 for each further piece. Back-pressure: `order_ready` when 16 orders wait; `level` says how many do. It waits for the turn of a frame, the write
//! engine, the event ring, and reads of posts, which are bounded by the bus, not by the host (law L5). Reset: no order in hand;
//! posts and page map are loaded whole when a connection begins.
use super::ahead::{Ahead, PostAt};
use super::later::Later;
use super::order::{Commit, PlaceAsk, PlaceFits, PlaceOrder, Posts};
use super::step::{
    begin, end, enter_pool, forgets, paged, placed, post_beat, post_got, published, retired, settled, stowed,
    taken, tells, text, wants_next, Hand, PlaceState,
};
use super::write::{commit, frees, offered, post_at, writes};
use crate::host::events::RaiseEvent;
use crate::mem::SdpRam;
use crate::prelude::*;
use crate::stream::Fifo;
use crate::tcp::pages::{ClearMap, FoundSlot, LoadSlot, LookSlot, Pages, CONN_MOST, COUNT, SLOT_AT};
use crate::tcp::watchdog::Stowed;
use crate::types::{ReadBeat, ReadReq, TcpParams, WriteCmd};

/// log2 of the orders that wait.
pub const ORDERS_LOG2: usize = 4;
/// Bits of a count of them.
pub const ORDERS: usize = ORDERS_LOG2 + 1;

/// The block; `MAP` = `LOG2` + 5.
#[derive(LogicBlock, Default)]
pub struct Placer<const LOG2: usize, const MAP: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Reset.
    pub reset: Signal<In, Bit>,
    /// Pages may be fetched ahead.
    pub enable: Signal<In, Bit>,
    /// No order waits or is in hand, no read is under way.
    pub idle: Signal<Out, Bit>,
    /// Registers.
    pub params: Signal<In, TcpParams>,
    /// Order.
    pub order: Signal<In, PlaceOrder>,
    /// Order offered.
    pub order_valid: Signal<In, Bit>,
    /// Order taken.
    pub order_ready: Signal<Out, Bit>,
    /// Orders that wait.
    pub level: Signal<Out, Bits<ORDERS>>,
    /// Posts of the connection that a `PLACE_LOAD` begins; stable until the order is done.
    pub load: Signal<In, Posts>,
    /// Pulse: posts of the connection of a `PLACE_TELL`.
    pub told_valid: Signal<Out, Bit>,
    /// The posts.
    pub told: Signal<Out, Posts>,
    /// Pages ready and not reserved.
    pub free_pages: Signal<Out, Bits<COUNT>>,
    /// So many pages are reserved for an order to come.
    pub reserve: Signal<In, Bits<3>>,
    /// Question; asked only while no order waits or comes.
    pub ask: Signal<In, PlaceAsk>,
    /// Asked until the answer comes.
    pub ask_valid: Signal<In, Bit>,
    /// Answer.
    pub fits: Signal<Out, PlaceFits>,
    /// The segment of the oldest order is the oldest frame: its packet memory may be freed, or its verdict given.
    pub turn: Signal<In, Bit>,
    /// Pulse: the segment of the oldest order is done with, and all its commands are accepted.
    pub verdict_valid: Signal<Out, Bit>,
    /// It is the ordinary path's.
    pub verdict_handed_up: Signal<Out, Bit>,
    /// Pulse: a shadow record is under way.
    pub commit_valid: Signal<Out, Bit>,
    /// What it will make durable.
    pub commit: Signal<Out, Commit>,
    /// Pulse: an order ends without a shadow record.
    pub unwritten: Signal<Out, Bit>,
    /// For the watchdog: where text goes.
    pub stowed: Signal<Out, Stowed>,
    /// Pulse: a post of length 0 was skipped, or a doorbell not believed.
    pub bad_post: Signal<Out, Bit>,
    /// Write command.
    pub write_cmd: Signal<Out, WriteCmd>,
    /// Write command offered.
    pub write_cmd_valid: Signal<Out, Bit>,
    /// Write command taken.
    pub write_cmd_ready: Signal<In, Bit>,
    /// To the event ring; only while `raise_ready`.
    pub raise: Signal<Out, RaiseEvent>,
    /// It would be taken.
    pub raise_ready: Signal<In, Bit>,
    /// Read of a receive descriptor.
    pub post_req: Signal<Out, ReadReq>,
    /// Read offered.
    pub post_req_valid: Signal<Out, Bit>,
    /// Read taken.
    pub post_req_ready: Signal<In, Bit>,
    /// Read data.
    pub post_beat: Signal<In, ReadBeat>,
    /// It is this client's.
    pub post_beat_valid: Signal<In, Bit>,
    /// Pool ring address.
    pub pool_ring: Signal<In, Bits<64>>,
    /// log2 of its entries.
    pub pool_log2: Signal<In, Bits<8>>,
    /// Its producer index.
    pub pool_producer: Signal<In, Bits<16>>,
    /// Entries taken.
    pub pool_consumer: Signal<Out, Bits<16>>,
    /// Read of the pool ring.
    pub pool_req: Signal<Out, ReadReq>,
    /// Read offered.
    pub pool_req_valid: Signal<Out, Bit>,
    /// Read taken.
    pub pool_req_ready: Signal<In, Bit>,
    /// Read data.
    pub pool_beat: Signal<In, ReadBeat>,
    /// It is this client's.
    pub pool_beat_valid: Signal<In, Bit>,
    /// Write an entry of the page map; offered until `load_ready`.
    pub load_slot: Signal<In, LoadSlot>,
    /// See `load_slot`.
    pub load_ready: Signal<Out, Bit>,
    /// Empty a connection's page map; offered until `clear_ready`.
    pub clear: Signal<In, ClearMap>,
    /// See `clear`.
    pub clear_ready: Signal<Out, Bit>,
    orders: Fifo<PlaceOrder, ORDERS_LOG2, ORDERS>,
    pages: Pages<LOG2, MAP>,
    posts: SdpRam<Posts, LOG2>,
    h: Dff<Hand>,
    looked: Dff<Bit>,
    reserved: Dff<Bits<COUNT>>,
    later: Later<LOG2>,
    ahead: Ahead,
}

/// What the order in hand may depend on besides itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
struct Around {
    /// The write engine takes a command.
    write: Bit,
    /// The event ring takes an event.
    raise: Bit,
    /// The read of a post is taken.
    post: Bit,
    /// `beat` is of the post that is read.
    has_beat: Bit,
    /// See there.
    beat: ReadBeat,
    /// See the port.
    turn: Bit,
    /// Posts of the order's connection.
    posts: Posts,
    /// See the port.
    load: Posts,
    /// Answer of the page map.
    page: FoundSlot,
    /// See `TcpParams`.
    pool_base: Bits<64>,
    /// Another order of the connection waits that has `publish`.
    later: Bit,
    /// A post is being read that the order did not ask for.
    ahead: Bit,
}

/// The state waits for another block.
#[kernel]
fn is_stalled(h: Hand, a: Around) -> bool {
    match h.st {
        PlaceState::Free => !(a.turn && a.write),
        // Whoever asked for the posts may give their ring away: nothing is read from it any more (law L1).
        PlaceState::Store => {
            (h.o.is_segment && h.o.handed_up && !a.turn) || (h.raises && !a.raise) || (a.ahead && tells(h))
        }
        PlaceState::Page => !a.page.valid,
        PlaceState::PostAsk => !a.post,
        PlaceState::PostWait => !a.has_beat,
        _ => writes(h.st) && !a.write,
    }
}

/// The next state; not asked while the state waits.
#[kernel]
fn next(h: Hand, a: Around) -> Hand {
    match h.st {
        PlaceState::Idle => h,
        PlaceState::Begin => begin(h, a.posts, a.load),
        PlaceState::Text => text(h),
        PlaceState::Page => paged(h, a.page, a.pool_base),
        PlaceState::PageMap => Hand { st: PlaceState::Piece, ..h },
        PlaceState::Piece => placed(h, frees(h, a.turn), a.later),
        PlaceState::PostAsk => Hand { st: PlaceState::PostWait, ..h },
        PlaceState::PostWait => post_beat(h, a.beat),
        PlaceState::PostGot => post_got(h),
        PlaceState::Retire => retired(h),
        PlaceState::EnterPool => enter_pool(h),
        PlaceState::End => end(h, a.later),
        PlaceState::Free => settled(h, a.later),
        PlaceState::Shadow => published(h),
        PlaceState::Store => Hand { st: PlaceState::Idle, ..h },
    }
}

/// The answer to a question, with the last order under way. `level`: pages ready.
#[kernel]
fn fits(h: Hand, done: bool, level: Bits<COUNT>) -> PlaceFits {
    let pages = bit_cast::<COUNT, 3>(h.missing) <= level;
    PlaceFits { valid: done && h.is_ask, post: h.in_post, pages }
}

/// The post at `idx` of the connection in hand.
#[kernel]
fn asked_for(h: Hand, idx: Bits<16>) -> PostAt {
    PostAt { conn: h.o.conn, idx, iova: post_at(Posts { idx, ..h.p }) }
}

#[kernel]
impl<const LOG2: usize, const MAP: usize> Logic for Placer<LOG2, MAP> {
    fn update(&mut self) {
        dff_setup!(self, clock, h, looked, reserved);
        clock!(self, clock, orders, pages, posts, later, ahead);
        reset!(self, reset, orders, pages, later, ahead);
        let h = self.h.q.val();
        let st = h.st;
        let answer = self.pages.answer.val();
        let around = Around {
            write: self.write_cmd_ready.val(),
            raise: self.raise_ready.val(),
            post: self.ahead.ready.val(),
            has_beat: self.ahead.beat_valid.val(),
            beat: self.ahead.beat.val(),
            turn: self.turn.val(),
            posts: self.posts.rdata.val(),
            load: self.load.val(),
            page: answer,
            pool_base: self.params.val().pool_base,
            later: self.later.found.val(),
            ahead: !self.ahead.idle.val(),
        };
        let stalled = is_stalled(h, around);
        // An order that comes when none waits passes the queue by.
        let queued = self.orders.m_valid.val();
        let waits = queued || self.order_valid.val();
        let done = st == PlaceState::Store && !stalled;
        // The next order begins with the end of this one, unless it needs the posts that only now go back.
        let order = if queued { self.orders.m_data.val() } else { self.order.val() };
        let takes = waits && (st == PlaceState::Idle || (done && order.conn != h.o.conn));
        let asked = st == PlaceState::Idle && !waits && self.ask_valid.val();

        // Orders, reservations.
        let puts = self.order_valid.val() && (queued || !takes);
        self.orders.s_data.next = self.order.val();
        self.orders.s_valid.next = puts;
        self.order_ready.next = self.orders.s_ready.val();
        self.orders.m_ready.next = takes;
        self.level.next = self.orders.level.val();
        let back = if done { h.o.reserved } else { bits::<3>(0) };
        let reserved = self.reserved.q.val();
        self.reserved.d.next =
            reserved + bit_cast::<COUNT, 3>(self.reserve.val()) - bit_cast::<COUNT, 3>(back);
        let level = self.pages.level.val();
        self.free_pages.next = if level >= reserved { level - reserved } else { bits::<COUNT>(0) };
        self.fits.next = fits(h, done, level);

        // Does an order of the same connection wait whose record says all that this one's would?
        self.later.put.next = puts && self.orders.s_ready.val();
        self.later.conn.next = bit_cast::<LOG2, 16>(self.order.val().conn);
        self.later.publish.next = self.order.val().publish;
        self.later.take.next = takes && queued;
        self.later.about.next = bit_cast::<LOG2, 16>(h.o.conn);

        // Posts and pages.
        self.posts.re.next = takes || asked;
        self.posts.raddr.next = bit_cast::<LOG2, 16>(if waits { order.conn } else { self.ask.val().conn });
        self.posts.we.next = done;
        self.posts.waddr.next = bit_cast::<LOG2, 16>(h.o.conn);
        self.posts.wdata.next = h.p;
        self.told_valid.next = done && tells(h);
        self.told.next = h.p;
        self.pages.enable.next = self.enable.val();
        self.pages.load.next = self.load_slot.val();
        self.load_ready.next = self.pages.load_ready.val();
        self.pages.clear.next = self.clear.val();
        self.clear_ready.next = self.pages.clear_ready.val();
        let at = cat::<SLOT_AT, _>((h.o.conn.get_bits::<CONN_MOST>(0), h.cur.get_bits::<5>(12)));
        let looks = st == PlaceState::Page;
        let tag = h.cur.get_bits::<20>(12);
        self.pages.look.next = LookSlot { valid: looks && !self.looked.q.val(), at, tag, peek: h.is_ask };
        self.looked.d.next = looks && !answer.valid;
        self.pages.ring.next = self.pool_ring.val();
        self.pages.ring_log2.next = self.pool_log2.val();
        self.pages.producer.next = self.pool_producer.val();
        self.pool_consumer.next = self.pages.consumer.val();
        self.pool_req.next = self.pages.req.val();
        self.pool_req_valid.next = self.pages.req_valid.val();
        self.pages.req_ready.next = self.pool_req_ready.val();
        self.pages.beat.next = self.pool_beat.val();
        self.pages.beat_valid.next = self.pool_beat_valid.val();

        // Other blocks.
        self.idle.next = st == PlaceState::Idle && !waits && self.pages.idle.val() && self.ahead.idle.val();
        self.write_cmd_valid.next = writes(st) && (st != PlaceState::Free || self.turn.val());
        self.write_cmd.next = offered(h, self.turn.val(), self.params.val());
        self.commit_valid.next = st == PlaceState::Shadow && !stalled;
        self.commit.next = commit(h);
        self.stowed.next = stowed(h, !stalled);
        self.unwritten.next = done && !h.is_ask && !h.wrote;
        self.verdict_valid.next = done && h.o.is_segment;
        self.verdict_handed_up.next = h.o.handed_up;
        self.bad_post.next = (st == PlaceState::PostGot && h.p.len == 0 && !h.p.fault) || (done && h.bad);
        self.raise.next = RaiseEvent { valid: done && h.raises, conn: h.o.conn, generation: h.o.generation };

        // Posts come from memory, or were read ahead.
        let asks = st == PlaceState::PostAsk;
        self.ahead.post.next = asked_for(h, h.p.idx + !asks);
        self.ahead.valid.next = asks;
        self.ahead.early.next = wants_next(h);
        self.ahead.forget.next = forgets(h);
        self.ahead.forgotten.next = h.o.conn;
        self.post_req.next = self.ahead.req.val();
        self.post_req_valid.next = self.ahead.req_valid.val();
        self.ahead.req_ready.next = self.post_req_ready.val();
        self.ahead.mem_beat.next = self.post_beat.val();
        self.ahead.mem_beat_valid.next = self.post_beat_valid.val();

        if takes || asked {
            self.h.d.next = taken(asked, order, self.ask.val());
        } else if !stalled {
            self.h.d.next = next(h, around);
        }
        dff_reset!(self, reset, h, looked, reserved);
    }
}
