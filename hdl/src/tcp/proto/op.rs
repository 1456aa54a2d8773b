//! Commands for one connection (programmer's guide 4, 5, 9).
use super::admit::Image;
use super::guard::handed_over;
use super::image::cached;
use super::record::{Cached, CachedFlags, Work};
use super::step::{
    reason, Step, BAD_REQUEST, CLOSED, INVALID_STATE, REJECTED, STALE, SUCCESS, TCP_ENTRIES, TCP_RCV_WINDOW,
};
use crate::mirror::{PageMapEntry, TcpRecord};
use crate::prelude::*;
use crate::tcp::pages::PageSlot;
use crate::types::ConnOp;
use chimney_abi::cmd::Opcode;
use chimney_abi::desc::MAX_POSTED;
use chimney_abi::state;

/// `Opcode` numbers.
pub const INITIATE: u64 = Opcode::Initiate.code() as u64;
/// See [`INITIATE`].
pub const TERMINATE: u64 = Opcode::Terminate.code() as u64;
/// See [`INITIATE`].
pub const QUERY: u64 = Opcode::Query.code() as u64;
/// See [`INITIATE`].
pub const UPDATE: u64 = Opcode::Update.code() as u64;
/// See [`INITIATE`].
pub const INVALIDATE: u64 = Opcode::Invalidate.code() as u64;
/// See [`INITIATE`].
pub const ABORT: u64 = Opcode::Abort.code() as u64;

/// See [`MAX_POSTED`].
const FARTHEST_LOG2: usize = MAX_POSTED.ilog2() as usize;
/// Bits above it.
const FAR: usize = 32 - FARTHEST_LOG2;
const _: () = assert!(MAX_POSTED.is_power_of_two());

/// Beats of a record in an image.
pub const RECORD_BEATS: u64 = state::TcpRecord::BYTES as u64 / 8;

/// More is posted, `limit` bytes from SND.UNA on and our FIN behind them, than may be ([`MAX_POSTED`]), or less than was acknowledged.
#[kernel]
pub fn is_too_far(limit: Bits<32>, fin_sent: Bit) -> bool {
    let is_behind_fin = fin_sent && limit.all();
    limit.get_bits::<FAR>(FARTHEST_LOG2).any() && !is_behind_fin
}

/// May this image be taken over under this id? `room`: what the path's MTU leaves.
#[kernel]
fn initiate_status(s: Step, op: ConnOp, i: Image, room: Bits<16>) -> Bits<8> {
    if s.c.out || s.c.is_taken {
        bits::<8>(TCP_ENTRIES)
    } else if op.generation == 0 {
        bits::<8>(BAD_REQUEST)
    } else if i.seen.is_bad || i.record.eff_mss > room {
        bits::<8>(REJECTED)
    } else if i.seen.is_wide {
        bits::<8>(TCP_RCV_WINDOW)
    } else {
        bits::<8>(SUCCESS)
    }
}

/// Stage 1: Initiate, whose record is that of the image already. `room`: what the path's MTU leaves.
#[kernel]
pub fn initiate(s: Step, op: ConnOp, i: Image, room: Bits<16>) -> Step {
    let status = initiate_status(s, op, i, room);
    let mut n = s;
    n.c.status = status;
    n.c.forget = status != SUCCESS;
    if status == SUCCESS {
        n.c.load = true;
        n.c.publish = true;
        n.c.want_tx = true;
        n = handed_over(n, i.record.snd_nxt);
    }
    n
}

/// Stage 1: all others.
#[kernel]
pub fn execute(s: Step, op: ConnOp, r: TcpRecord, now_ms: Bits<32>) -> Step {
    let code = op.opcode;
    let mut n = s;
    n.c.tell = true;
    if s.w.fixed.generation == 0 || s.w.fixed.generation != op.generation || s.w.side.closing != 0 {
        n.c.status = bits::<8>(STALE);
        n.c.counts.stale = true;
        n.c.forget = true;
        n.c.tell = false;
    } else if code == UPDATE {
        // How often something is sent again is not CACHED.
        n.w.cached = Cached { max_retransmissions: s.w.cached.max_retransmissions, ..cached(r) };
        let flags = unpack::<CachedFlags, 16>(r.cached_flags);
        if flags.keep_alive && (flags.keep_alive_restart || !s.w.cached.flags.keep_alive) {
            n.w.tm.ka_probes = bits::<8>(0);
            n.w.tm.keep_alive = now_ms + r.ka_timeout_ms;
        }
        // the timer of a challenge runs on.
        n.w.tm.on.keep_alive = flags.keep_alive || (s.w.flags.challenged && s.w.tm.on.keep_alive);
        if flags.max_rt_restart {
            n.w.tm.total_rt_us = bits::<32>(0);
        }
        // What Nagle's algorithm holds back may go now.
        n.c.want_tx = true;
    } else if code == QUERY {
        n.c.status = bits::<8>(SUCCESS);
    } else if code == TERMINATE {
        n = closing(s);
        n.c.waits = true;
        n.c.tell = false;
    } else if code == INVALIDATE {
        n.w.flags.invalid = true;
        n.w.flags.stopped = true;
        n.w.reason = reason(s.w.reason, bits::<8>(INVALID_STATE));
        n.c.publish = true;
        n.c.raise = true;
    } else if code == ABORT {
        n.w.flags.aborted = true;
        n.w.state = bits::<8>(CLOSED);
        n.w.side.reset = true;
        n.c.want_tx = true;
        n.c.publish = true;
        n.c.raise = true;
    } else {
        n.c.status = bits::<8>(BAD_REQUEST);
        n.c.forget = true;
        n.c.tell = false;
    }
    n
}

/// An acknowledgment is owed and may be sent.
#[kernel]
fn owes_ack(w: Work) -> bool {
    let owed = w.flags.ack_now || w.rcv.ack_pending != 0 || w.rcv.durable_nxt != w.rcv.last_ack_sent;
    owed && !w.flags.stopped && !w.flags.aborted && w.state != CLOSED
}

/// Something of the connection is stored, published or asked for, or it waits for its turn to send.
#[kernel]
fn is_under_way(w: Work) -> bool {
    w.side.commits != 0 || w.side.queued || w.side.pub_wait || w.guard.asked != 0
}

/// A Terminate as far as it goes now: first an acknowledgment that is owed, then the last shadow record, then nothing more.
#[kernel]
fn closing(s: Step) -> Step {
    let w = s.w;
    let mut n = s;
    if is_under_way(w) {
        n.w.side.closing = bits::<2>(1);
    } else if w.side.closing != 2 && owes_ack(w) {
        n.w.side.closing = bits::<2>(2);
        n.w.flags.ack_now = true;
        n.c.want_tx = true;
    } else {
        n.w.flags.ack_now = w.flags.ack_now && w.side.closing == 2;
        n.w.side.closing = bits::<2>(3);
        n.c.publish = true;
    }
    n
}

/// Stage 1: a Terminate goes on when nothing of the connection is under way (law L1); no job is, or it would not be asked.
#[kernel]
pub fn close(s: Step) -> Step {
    let under_way = is_under_way(s.w);
    let mut n = s;
    if under_way {
        n.c.forget = true;
    } else if s.w.side.closing == 3 {
        n.c.free = true;
        n.c.tell = true;
    } else {
        n = closing(s);
    }
    n.c.waits = under_way || s.w.side.closing != 3;
    n
}

/// The record after its image went out.
#[kernel]
pub fn given_back(w: Work) -> Work {
    let mut n = w;
    n.fixed.generation = bits::<8>(0);
    n.state = bits::<8>(CLOSED);
    n
}

/// A page map entry of host memory as the map on chip has it, if it is in use.
#[kernel]
pub fn page_slot(beat: Bits<64>, generation: Bits<8>) -> (bool, PageSlot) {
    let e = unpack::<PageMapEntry, 64>(beat);
    let slot = PageSlot { page: e.page, tag: e.seq.get_bits::<20>(12) };
    (e.valid != 0 && e.generation == generation, slot)
}
