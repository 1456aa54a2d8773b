//! The placer's decisions (programmer's guide 6, spec 9.3), one function per state.
use super::order::{Held, PlaceAsk, PlaceOrder, Posts, PLACE_LOAD, PLACE_WORK};
use crate::prelude::*;
use crate::tcp::pages::FoundSlot;
use crate::tcp::seq::min32;
use crate::tcp::watchdog::Stowed;
use crate::types::ReadBeat;
use chimney_abi::desc::{PAGE_BYTES, RECV_NO_PUSH};

const PAGE: u64 = PAGE_BYTES as u64;
const NO_PUSH: u64 = RECV_NO_PUSH as u64;
/// Most bytes of one payload command.
const PIECE: u64 = 2048;

/// What the placer is doing.
#[derive(Clone, Copy, Debug, PartialEq, LogicState)]
pub enum PlaceState {
    /// Waits for an order, or a question.
    Idle,
    /// They are there.
    Begin,
    /// What comes next?
    Text,
    /// A page is being looked up.
    Page,
    /// A page map entry is offered to the write engine.
    PageMap,
    /// A piece of text is offered to the write engine.
    Piece,
    /// A posted receive is requested from host memory.
    PostAsk,
    /// It is being read.
    PostWait,
    /// It is there.
    PostGot,
    /// A used post is written back.
    Retire,
    /// Direct mode ends.
    EnterPool,
    /// All text is placed.
    End,
    /// Packet memory is freed.
    Free,
    /// A shadow record is offered to the write engine.
    Shadow,
    /// The posts go back, the event ring is told, the order is done.
    Store,
}

/// The order in hand.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Hand {
    /// What is being done.
    pub st: PlaceState,
    /// The order.
    pub o: PlaceOrder,
    /// A question, not an order.
    pub is_ask: Bit,
    /// Posts of its connection.
    pub p: Posts,
    /// Next byte to place.
    pub cur: Bits<32>,
    /// Bytes left.
    pub left: Bits<16>,
    /// Where `cur` lies in packet memory.
    pub src: Bits<16>,
    /// Length of the piece.
    pub len: Bits<16>,
    /// Where it goes.
    pub iova: Bits<64>,
    /// Its page.
    pub page: Bits<16>,
    /// Second beat of a descriptor.
    pub second: Bit,
    /// Sequence number of the post just read.
    pub post_seq: Bits<32>,
    /// Posts or mode have changed: the host is told.
    pub changed: Bit,
    /// A shadow record was written that the host is told of.
    pub raises: Bit,
    /// A shadow record was written.
    pub wrote: Bit,
    /// The doorbell was not believed.
    pub bad: Bit,
    /// Question: all of it fits into the post.
    pub in_post: Bit,
    /// Question: pages that are missing.
    pub missing: Bits<3>,
}

/// A partly filled post that PSH, the push timer or a FIN completes.
#[kernel]
fn is_part_filled(p: Posts) -> bool {
    !p.pool_mode && p.loaded && p.off != 0
}

/// The order or question is taken.
#[kernel]
pub fn taken(is_ask: bool, o: PlaceOrder, a: PlaceAsk) -> Hand {
    let h = Hand { st: PlaceState::Begin, o, is_ask, cur: o.seq, left: o.len, src: o.src, ..Hand::default() };
    if is_ask {
        let o = PlaceOrder { conn: a.conn, len: a.len, ..PlaceOrder::default() };
        Hand { o, cur: a.seq, left: a.len, ..h }
    } else {
        h
    }
}

/// `Begin`: the posts are there.
#[kernel]
pub fn begin(h: Hand, p: Posts, load: Posts) -> Hand {
    let mut n = h;
    n.p = if h.o.kind == PLACE_LOAD { load } else { p };
    // A ring cannot hold more than its size: such a doorbell is not believed.
    n.bad = h.o.bell && (h.o.producer - n.p.idx) > (bits::<16>(1) << n.p.ring_log2);
    if h.o.bell && !n.bad {
        n.p.producer = h.o.producer;
    }
    text(n)
}

/// `Text` of an order: where does the next piece go?
#[kernel]
fn place(h: Hand) -> Hand {
    let p = h.p;
    let room = bit_cast::<32, 24>(p.len) - p.off;
    let to_pages = h.o.is_ooo || p.pool_mode;
    let looks = h.o.bell && p.pool_mode && p.idx != p.producer;
    let mut n = h;
    n.len = bit_cast::<16, 32>(min32(min32(bit_cast::<32, 16>(h.left), room), bits::<32>(PIECE)));
    n.iova = p.addr + bit_cast::<64, 32>(p.off);
    n.st = if h.left == 0 {
        if looks {
            PlaceState::PostAsk
        } else {
            PlaceState::End
        }
    } else if to_pages {
        PlaceState::Page
    } else if p.loaded {
        PlaceState::Piece
    } else if p.idx != p.producer {
        PlaceState::PostAsk
    } else {
        PlaceState::EnterPool
    };
    n
}

/// `Text` of a question. A post must be known before it can be said what it holds.
#[kernel]
fn ask(h: Hand) -> Hand {
    let p = h.p;
    let room = bit_cast::<32, 24>(p.len) - p.off;
    let mut n = h;
    let is_whole = h.left == h.o.len;
    n.in_post = h.in_post || (is_whole && !p.pool_mode && p.loaded && room >= bit_cast::<32, 16>(h.left));
    n.st = if h.left == 0 {
        PlaceState::Store
    } else if !p.pool_mode && !p.loaded && p.idx != p.producer {
        PlaceState::PostAsk
    } else {
        PlaceState::Page
    };
    n
}

/// `Text`.
#[kernel]
pub fn text(h: Hand) -> Hand {
    if h.is_ask {
        ask(h)
    } else {
        place(h)
    }
}

/// Bytes of the text that lie in the page of `cur`.
#[kernel]
fn in_page(h: Hand) -> Bits<16> {
    let to_end = bits::<32>(PAGE) - (h.cur & bits::<32>(PAGE - 1));
    bit_cast::<16, 32>(min32(bit_cast::<32, 16>(h.left), to_end))
}

/// Goes on behind `len` bytes.
#[kernel]
fn past(h: Hand, len: Bits<16>) -> Hand {
    let mut n = h;
    n.cur = h.cur + bit_cast::<32, 16>(len);
    n.src = h.src + len;
    n.left = h.left - len;
    n.st = PlaceState::Text;
    n
}

/// `Page`, with the answer of the page map.
#[kernel]
pub fn paged(h: Hand, a: FoundSlot, pool_base: Bits<64>) -> Hand {
    let at = cat::<28, _>((a.page, h.cur.get_bits::<12>(0)));
    let len = in_page(h);
    if h.is_ask {
        let n = past(h, len);
        Hand { missing: h.missing + !a.found, ..n }
    } else {
        let st = if a.fresh { PlaceState::PageMap } else { PlaceState::Piece };
        Hand { st, page: a.page, iova: pool_base + bit_cast::<64, 28>(at), len, ..h }
    }
}

/// `Piece`, when the write engine has taken it. `later`: see [`settled`].
#[kernel]
pub fn placed(h: Hand, freed: bool, later: bool) -> Hand {
    let mut n = past(h, h.len);
    if freed {
        n.o.free = bits::<16>(0);
    }
    if !h.o.is_ooo && !h.p.pool_mode {
        n.p.off = h.p.off + bit_cast::<32, 16>(h.len);
        if n.p.off == bit_cast::<32, 24>(h.p.len) {
            n.st = PlaceState::Retire;
        }
    }
    if n.left == 0 && n.st == PlaceState::Text {
        end(n, later)
    } else {
        n
    }
}

/// `Piece`, when the write engine takes it: what the watchdog is told.
#[kernel]
pub fn stowed(h: Hand, takes: bool) -> Stowed {
    let is_first = h.cur == h.o.seq;
    let fills = h.p.off + bit_cast::<32, 16>(h.len) == bit_cast::<32, 24>(h.p.len);
    let pooled = is_first && !h.o.is_ooo && h.p.pool_mode;
    let split = !h.o.is_ooo && !h.p.pool_mode && fills && h.len != h.left;
    Stowed { valid: takes && h.st == PlaceState::Piece && (pooled || split), conn: h.o.conn, pooled, split }
}

/// `Retire`, when the write engine has taken the write-back.
#[kernel]
pub fn retired(h: Hand) -> Hand {
    let mut n = h;
    n.p.idx = h.p.idx + 1;
    n.p.off = bits::<32>(0);
    n.p.loaded = false;
    n.changed = true;
    n.st = PlaceState::Text;
    n
}

/// `EnterPool`: a used post goes back first; posts that are not used are skipped.
#[kernel]
pub fn enter_pool(h: Hand) -> Hand {
    let mut n = h;
    if is_part_filled(h.p) {
        n.st = PlaceState::Retire;
    } else {
        n.p.idx = h.p.producer;
        n.p.loaded = false;
        n.p.pool_mode = true;
        n.changed = true;
        n.st = PlaceState::Text;
    }
    n
}

/// `PostWait`: one beat of a receive descriptor.
#[kernel]
pub fn post_beat(h: Hand, b: ReadBeat) -> Hand {
    let mut n = h;
    n.second = true;
    if h.second {
        n.p.len = b.data.get_bits::<24>(0);
        n.p.flags = b.data.get_bits::<8>(24);
        n.post_seq = b.data.get_bits::<32>(32);
    } else {
        n.p.addr = b.data;
    }
    n.p.fault = h.p.fault || b.error;
    if b.last {
        n.st = PlaceState::PostGot;
    }
    n
}

/// `PostGot`: use the post, or skip it. What cannot be read is not used, and no other one either: text goes to the pages reserved.
#[kernel]
pub fn post_got(h: Hand) -> Hand {
    let p = h.p;
    let mut n = h;
    n.second = false;
    n.changed = !h.is_ask || h.changed;
    n.st = PlaceState::Text;
    if p.fault {
        n.p.idx = p.producer;
        n.p.pool_mode = true;
    } else if p.len != 0 && (!p.pool_mode || h.post_seq == h.o.snap.rcv_nxt) {
        n.p.loaded = true;
        n.p.pool_mode = false;
        n.p.off = bits::<32>(0);
    } else {
        n.p.idx = p.idx + 1;
    }
    n
}

/// `End`: what the text means for the post in use.
#[kernel]
pub fn end(h: Hand, later: bool) -> Hand {
    let pushes = h.o.push && (h.p.flags & bits::<8>(NO_PUSH)) == 0;
    if is_part_filled(h.p) && (h.o.fin || pushes) {
        Hand { st: PlaceState::Retire, ..h }
    } else if h.o.jump && !h.p.pool_mode {
        Hand { st: PlaceState::EnterPool, ..h }
    } else if h.o.free != 0 {
        Hand { st: PlaceState::Free, ..h }
    } else {
        settled(h, later)
    }
}

/// Text and posts are done with: a shadow record, if one is wanted or the posts have changed. Under load the next order of the
/// connection waits already (`later`) and its record says all that this one would: then this one is left to it, but not two in
/// a row, so that no acknowledgment waits for more than one order.
#[kernel]
pub fn settled(h: Hand, later: bool) -> Hand {
    let leaves = h.o.publish && later && !h.p.held.waits && h.o.kind == PLACE_WORK;
    let mut n = h;
    if leaves {
        n.p.held = Held { waits: true, data: h.o.data, now: h.o.now, raise: h.o.raise || h.changed };
    }
    let writes = !leaves && (h.o.publish || h.changed);
    n.st = if writes { PlaceState::Shadow } else { PlaceState::Store };
    n
}

/// `Shadow`, when the write engine has taken it.
#[kernel]
pub fn published(h: Hand) -> Hand {
    let mut n = h;
    n.p.tag = h.p.tag + 1;
    n.p.held = Held::default();
    n.raises = h.o.raise || h.changed || h.p.held.raise;
    n.wrote = true;
    n.st = PlaceState::Store;
    n
}

/// The posts are told at the end of this order: who gave it waits for that.
#[kernel]
pub fn tells(h: Hand) -> bool {
    h.st == PlaceState::Store && !h.is_ask && h.o.kind != PLACE_WORK
}

/// The post behind the one in use will be wanted: there is one, and either of the two is new.
#[kernel]
pub fn wants_next(h: Hand) -> bool {
    let is_new = h.changed || h.o.bell;
    let rests = h.st == PlaceState::Piece || h.st == PlaceState::Shadow || h.st == PlaceState::Store;
    let goes_on = !h.is_ask && h.o.kind == PLACE_WORK && h.p.loaded;
    is_new && rests && goes_on && h.p.idx + 1 != h.p.producer
}

/// Posts are passed over, or are another connection's from now on: what was read of them ahead is worth nothing.
#[kernel]
pub fn forgets(h: Hand) -> bool {
    let begins = h.st == PlaceState::Begin && !h.is_ask && h.o.kind == PLACE_LOAD;
    begins || h.st == PlaceState::EnterPool || (h.st == PlaceState::PostGot && h.p.fault)
}
