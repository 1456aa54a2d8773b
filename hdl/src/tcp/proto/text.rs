//! Text of an acceptable segment: what of it is taken, and what is acknowledged at once (programmer's guide 6).
//!
//! Stage 4 of the pipeline. The placer puts it where it belongs.
use super::record::Work;
use super::step::{
    reason, Step, CLOSE_WAIT, CLOSING, ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2, REQUESTED, TIME_WAIT,
};
use crate::prelude::*;
use crate::tcp::ranges::{before, covers, far, insert, is_full_for, near, remove_first, SeqRange};
use crate::tcp::seq::later;
use crate::tcp::window::aligned_edge;
use crate::types::{RxSeg, TcpParams, ECN_CE, TCP_CWR};

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

/// The state after the peer's FIN.
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

/// Nothing of the text is taken.
#[kernel]
fn refused(s: Step) -> Step {
    let mut n = s;
    n.c.end = s.c.cur;
    n.c.fin = false;
    n.c.push = false;
    n
}

/// Text in order: up to the first range; then what lies in the range follows, and what the segment has beyond it is
/// dropped (the peer sends it again).
#[kernel]
fn in_order(s: Step, now: Bits<32>, push_us: Bits<32>) -> Step {
    let (w, c) = (s.w, s.c);
    let (first, end) = (w.ooo.r0, near(c.end));
    let fills = has_ranges(w) && !before(end, first.start);
    let stop = if fills { far(first.start, w.rcv.nxt) } else { c.end };
    let mut n = s;
    n.c.end = stop;
    n.c.jump = fills;
    n.c.now = fills;
    n.c.push = c.push && (!fills || !before(first.end, end));
    n.w.rcv.nxt = if fills { far(first.end, w.rcv.nxt) } else { n.c.end };
    n.c.moved = n.w.rcv.nxt != w.rcv.nxt;
    if fills {
        n.w.ooo = remove_first(w.ooo);
    }
    if c.end != c.cur {
        // the push timer runs from the last byte that may have gone into a push-mode post.
        n.w.tm.on.push = true;
        n.w.tm.push = now + push_us;
    }
    n
}

/// The FIN is in order: it is counted.
#[kernel]
fn fin(s: Step) -> Step {
    let w = s.w;
    let mut n = s;
    n.w.rcv.nxt = w.rcv.nxt + 1;
    // A FIN behind a full window needs no buffer.
    n.w.rcv.right = later(w.rcv.right, w.rcv.nxt + 1);
    n.w.state = after_peer_fin(w.state);
    n.w.flags.peer_fin = true;
    n.w.tm.on.push = false;
    n.c.moved = true;
    n.c.now = true;
    if n.w.state == TIME_WAIT {
        // G-39: upload is asked for; FINs are acknowledged again until then.
        n.w.reason = reason(w.reason, bits::<8>(REQUESTED));
        n.w.tm.on.rtx = false;
    }
    n
}

/// The text, before FIN and acknowledgment.
#[kernel]
fn placed(s: Step, now: Bits<32>, p: TcpParams) -> Step {
    let (w, c) = (s.w, s.c);
    let range = SeqRange { start: near(c.cur), end: near(c.end) };
    let has_text = c.cur != c.end;
    if !takes_text(w.state) {
        refused(s)
    } else if has_text && c.no_pages && (c.is_ooo || c.no_post) {
        // Law L5: what does not fit is not taken, and not acknowledged.
        let mut n = refused(s);
        n.c.counts.drop_no_page = true;
        n.w.cnt.drops = w.cnt.drops + 1;
        n
    } else if has_text && c.is_ooo && is_full_for(w.ooo, range) {
        let mut n = refused(s);
        n.c.counts.drop_no_range = true;
        n.w.cnt.drops = w.cnt.drops + 1;
        n
    } else if c.is_ooo {
        let mut n = s;
        n.w.ooo = insert(w.ooo, range);
        n.w.cnt.ooo = w.cnt.ooo + has_text;
        n.c.again = has_text && covers(w.ooo, range);
        n.c.push = false;
        n
    } else {
        in_order(s, now, p.push_us)
    }
}

/// RFC 3168 6.1.3: marks count on text, in order or not. CWR first: a segment with both begins a new echo.
#[kernel]
fn mark(s: Step, n: Step, seg: RxSeg, len: Bits<32>) -> Step {
    let is_ce = seg.ecn == ECN_CE;
    let is_cwr = (seg.flags & bits::<8>(TCP_CWR)) != 0;
    let mut m = n;
    if s.w.fixed.flags.ecn && takes_text(s.w.state) && len != 0 {
        m.w.marks.echo = is_ce || (s.w.marks.echo && !is_cwr);
        m.c.counts.ce_marks_in = is_ce;
    }
    m
}

/// Stage 4. `len`: SEG.LEN.
#[kernel]
pub fn text(s: Step, seg: RxSeg, len: Bits<32>, now: Bits<32>, p: TcpParams) -> Step {
    let t = placed(s, now, p);
    let fin_here = t.c.fin && !t.c.is_ooo && t.w.rcv.nxt == seg.seq + bit_cast::<32, 16>(seg.payload_len);
    let mut n = if fin_here { fin(t) } else { t };
    n.c.fin = fin_here;
    if n.c.moved {
        // Law L3: the edge that the peer computes stays where it is, or moves right.
        n.w.rcv.right = aligned_edge(n.w.rcv.nxt, n.w.rcv.right, s.w.rcv.limit, s.w.fixed.rcv_wind_shift);
        n.c.publish = true;
        n.c.raise = true;
        n.c.now = n.c.now || (has_ranges(n.w) && !n.w.flags.arriving);
        n.w.flags.arriving = n.w.flags.arriving && has_ranges(n.w);
    } else if takes_text(s.w.state) && len != 0 && !(s.w.flags.arriving && t.c.is_ooo && t.c.cur != t.c.end) {
        // RFC 5681 4.2: out of order, or nothing of it could be taken. Right after an offload the hole may be what the
        // host still holds.
        n.w.flags.ack_now = true;
        n.c.want_tx = true;
    }
    mark(s, n, seg, len)
}
