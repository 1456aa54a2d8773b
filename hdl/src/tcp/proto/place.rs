//! Text of an acceptable segment: where its bytes go (programmer's guide 6, spec 9.3).
//!
//! ```text
//!   RxText --piece--> [PostAsk, PostWait, PostGot | Page] --> [PageMap] --> Piece --> RxText ..
//!      |                                                                      `-> Retire (post full)
//!      `--all placed--> RxEnd --> [Retire] --> RxFree --> Verdict --> Finish
//! ```
use super::record::{Post, Work};
use super::step::{
    St, Step, CLOSE_WAIT, CLOSING, ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2, HARDWARE, REQUESTED, TIME_WAIT,
};
use crate::prelude::*;
use crate::tcp::ranges::{contiguous_end, insert, is_full_for, remove_before, SeqRange};
use crate::tcp::seq::{at_or_before, earlier, later, min32};
use crate::tcp::window::aligned_edge;
use crate::types::{ReadBeat, RxSeg};
use chimney_abi::desc::{PAGE_BYTES, RECV_NO_PUSH};

const PAGE: u64 = PAGE_BYTES as u64;
const NO_PUSH: u64 = RECV_NO_PUSH as u64;

/// States in which text and FIN of the peer are taken.
#[kernel]
fn takes_text(state: Bits<8>) -> bool {
    state == ESTABLISHED || state == FIN_WAIT_1 || state == FIN_WAIT_2
}

/// Some out-of-order range exists.
#[kernel]
pub fn has_ranges(w: Work) -> bool {
    w.ooo.r0.start != w.ooo.r0.end
}

/// The out-of-order range that begins at or before the next byte in order.
#[kernel]
fn range_here(w: Work) -> bool {
    has_ranges(w) && at_or_before(w.ooo.r0.start, w.rcv.nxt)
}

/// `RxText`: what comes next?
#[kernel]
pub fn text(s: Step) -> Step {
    let (w, c) = (s.w, s.c);
    let in_order = !c.is_ooo;
    let stop_at = if in_order && has_ranges(w) { earlier(c.end, w.ooo.r0.start) } else { c.end };
    let left = stop_at - c.cur;
    let room = bit_cast::<32, 24>(w.post.len) - w.post.off;
    let piece = min32(left, room);
    let range = SeqRange { start: c.cur, end: c.end };
    let mut n = s;
    if !takes_text(w.state) {
        n.c.cur = c.end;
        n.c.fin = false;
        n.st = St::RxFree;
    } else if in_order && range_here(w) {
        // The hole is filled: what lies behind it is in pages already.
        if w.flags.pool_mode {
            let next = contiguous_end(w.ooo, w.rcv.nxt);
            n.w.ooo = remove_before(w.ooo, next);
            n.w.rcv.nxt = next;
            n.c.cur = earlier(next, later(c.end, c.cur));
            n.c.src = c.src + bit_cast::<16, 32>(n.c.cur - c.cur);
            n.c.moved = true;
            n.c.now = true;
        } else {
            n.st = St::EnterPool;
        }
    } else if c.cur == c.end {
        n.st = St::RxEnd;
    } else if c.is_ooo && c.cur == c.start && is_full_for(w.ooo, range) {
        n.c.counts.drop_no_range = true;
        n.w.cnt.drops = w.cnt.drops + 1;
        n.c.end = c.cur;
        n.st = St::RxEnd;
    } else if c.is_ooo || w.flags.pool_mode {
        let in_page = bits::<32>(PAGE) - (c.cur & bits::<32>(PAGE - 1));
        n.c.len = bit_cast::<16, 32>(min32(left, in_page));
        n.st = St::Page;
    } else if w.flags.post_loaded {
        n.c.len = bit_cast::<16, 32>(piece);
        n.c.iova = w.post.addr + bit_cast::<64, 32>(w.post.off);
        n.st = St::Piece;
    } else if w.post.idx != w.post.producer {
        n.c.ret = St::RxText;
        n.st = St::PostAsk;
    } else {
        n.st = St::EnterPool;
    }
    n
}

/// `Page`, with the answer of the page map.
#[kernel]
pub fn paged(s: Step, found: bool, fresh: bool, page: Bits<16>, pool_base: Bits<64>) -> Step {
    let at = cat::<28, _>((page, s.c.cur.get_bits::<12>(0)));
    let mut n = s;
    n.c.page = page;
    n.c.iova = pool_base + bit_cast::<64, 28>(at);
    if !found {
        // Law L5: what does not fit is not taken, and not acknowledged.
        n.c.counts.drop_no_page = true;
        n.w.cnt.drops = s.w.cnt.drops + 1;
        n.c.end = s.c.cur;
        n.c.fin = false;
        n.c.push = false;
        n.st = St::RxEnd;
    } else {
        n.st = if fresh { St::PageMap } else { St::Piece };
    }
    n
}

/// `Piece`, when the write engine has taken it.
#[kernel]
pub fn placed(s: Step, now: Bits<32>, push_us: Bits<32>) -> Step {
    let w = s.w;
    let len = bit_cast::<32, 16>(s.c.len);
    let mut n = s;
    n.c.cur = s.c.cur + len;
    n.c.src = s.c.src + s.c.len;
    n.st = St::RxText;
    if !s.c.is_ooo {
        n.w.rcv.nxt = s.c.cur + len;
        n.c.moved = true;
    }
    if !s.c.is_ooo && !w.flags.pool_mode {
        n.w.post.off = w.post.off + len;
        // R-188: the push timer runs from the last byte that went into a push-mode post.
        n.w.tm.on.push = (w.post.flags & bits::<8>(NO_PUSH)) == 0;
        n.w.tm.push = now + push_us;
        if n.w.post.off == bit_cast::<32, 24>(w.post.len) {
            n.c.ret = St::RxText;
            n.st = St::Retire;
        }
    }
    n
}

/// A partly filled post that PSH, the push timer or a FIN completes.
#[kernel]
pub fn is_part_filled(w: Work) -> bool {
    !w.flags.pool_mode && w.flags.post_loaded && w.post.off != 0
}

/// The same, in push mode (R-185).
#[kernel]
pub fn is_pushable(w: Work) -> bool {
    is_part_filled(w) && (w.post.flags & bits::<8>(NO_PUSH)) == 0
}

/// The state after the peer's FIN; `done`: ours is acknowledged too.
#[kernel]
fn after_peer_fin(state: Bits<8>) -> Bits<8> {
    if state == ESTABLISHED {
        bits::<8>(CLOSE_WAIT)
    } else if state == FIN_WAIT_1 {
        bits::<8>(CLOSING)
    } else {
        bits::<8>(TIME_WAIT)
    }
}

/// `RxEnd`: ranges, FIN, PSH, and what to acknowledge at once.
#[kernel]
pub fn text_end(s: Step, seg: RxSeg, len: Bits<32>) -> Step {
    let (w, c) = (s.w, s.c);
    let fin_here = c.fin && !c.is_ooo && w.rcv.nxt == seg.seq + bit_cast::<32, 16>(seg.payload_len);
    let mut n = s;
    n.st = St::RxFree;
    if c.is_ooo && c.cur != c.start {
        n.w.ooo = insert(w.ooo, SeqRange { start: c.start, end: c.cur });
        n.w.cnt.ooo = w.cnt.ooo + 1;
    }
    if fin_here && is_part_filled(w) {
        n.c.ret = St::RxEnd;
        n.st = St::Retire;
    } else if fin_here {
        n.w.rcv.nxt = w.rcv.nxt + 1;
        // A FIN behind a full window needs no buffer.
        n.w.rcv.right = later(w.rcv.right, w.rcv.nxt + 1);
        n.w.state = after_peer_fin(w.state);
        n.w.flags.peer_fin = true;
        n.c.fin = false;
        n.c.moved = true;
        n.c.now = true;
        if n.w.state == TIME_WAIT {
            // G-39: upload is asked for; FINs are acknowledged again until then.
            n.w.reason = super::step::reason(w.reason, bits::<8>(REQUESTED));
            n.w.tm.on.rtx = false;
        }
    } else if c.push && is_pushable(w) {
        n.c.ret = St::RxFree;
        n.st = St::Retire;
    }
    if n.c.moved {
        // Law L3: the edge that the peer computes stays where it is, or moves right.
        n.w.rcv.right = aligned_edge(n.w.rcv.nxt, n.w.rcv.right, w.rcv.limit, w.fixed.rcv_wind_shift);
        n.c.publish = true;
        n.c.raise = true;
        n.c.now = n.c.now || (has_ranges(w) && !w.flags.arriving);
        n.w.flags.arriving = w.flags.arriving && has_ranges(w);
    } else if len != 0 && !(w.flags.arriving && c.is_ooo && c.cur != c.start) {
        // RFC 5681 4.2: out of order, or nothing of it could be taken. Right after an offload the hole may be what the
        // host still holds.
        n.w.flags.ack_now = true;
        n.c.want_tx = true;
    }
    n
}

/// `EnterPool`: a used post goes back first; posts that are not used are skipped.
#[kernel]
pub fn enter_pool(s: Step) -> Step {
    let mut n = s;
    if is_part_filled(s.w) {
        n.c.ret = St::EnterPool;
        n.st = St::Retire;
    } else {
        n.w.post.idx = s.w.post.producer;
        n.w.flags.post_loaded = false;
        n.w.flags.pool_mode = true;
        n.c.publish = true;
        n.c.raise = true;
        n.st = St::RxText;
    }
    n
}

/// `Retire`, when the write engine has taken the write-back.
#[kernel]
pub fn retired(s: Step) -> Step {
    let mut n = s;
    n.w.post.idx = s.w.post.idx + 1;
    n.w.post.off = bits::<32>(0);
    n.w.flags.post_loaded = false;
    n.w.tm.on.push = false;
    n.c.publish = true;
    n.c.raise = true;
    n.st = s.c.ret;
    n
}

/// `PostWait`: one beat of a receive descriptor.
#[kernel]
pub fn post_beat(s: Step, b: ReadBeat) -> Step {
    let mut n = s;
    n.c.beat = s.c.beat + 1;
    if s.c.beat == 0 {
        n.w.post.addr = b.data;
    } else {
        n.w.post.len = b.data.get_bits::<24>(0);
        n.w.post.flags = b.data.get_bits::<8>(24);
        n.c.post_seq = b.data.get_bits::<32>(32);
    }
    if b.error {
        n.w.flags.stopped = true;
        n.w.reason = super::step::reason(s.w.reason, bits::<8>(HARDWARE));
        n.c.publish = true;
        n.c.raise = true;
    }
    if b.last {
        n.st = St::PostGot;
    }
    n
}

/// `PostGot`: use the post, or skip it.
#[kernel]
pub fn post_got(s: Step) -> Step {
    let w = s.w;
    let fits = w.post.len != 0 && (!w.flags.pool_mode || (s.c.post_seq == w.rcv.nxt && !range_here(w)));
    let p: Post = w.post;
    let mut n = s;
    if w.flags.stopped {
        // The descriptor could not be read: nothing more is placed.
        n.c.end = s.c.cur;
        n.c.fin = false;
        n.st = if s.c.ret == St::RxText { St::RxEnd } else { St::Finish };
    } else if fits {
        n.w.flags.post_loaded = true;
        n.w.flags.pool_mode = false;
        n.w.post.off = bits::<32>(0);
        n.st = if s.c.ret == St::RxText { St::RxText } else { St::Finish };
    } else {
        n.w.post.idx = p.idx + 1;
        n.c.counts.bad_request = p.len == 0;
        n.st = s.c.ret;
    }
    n.c.publish = s.c.publish || s.c.ret == St::BellPosts;
    n.c.raise = s.c.raise || s.c.ret == St::BellPosts;
    n
}

/// `BellPosts`: is there a post to look at?
#[kernel]
pub fn bell_posts(s: Step) -> Step {
    let mut n = s;
    n.c.ret = St::BellPosts;
    n.st = if s.w.flags.pool_mode && s.w.post.idx != s.w.post.producer { St::PostAsk } else { St::Finish };
    n
}
