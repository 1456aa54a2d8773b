//! Commands for one connection (programmer's guide 4, 5, 9).
use super::guard::handed_over;
use super::image::{cached, load, ranges};
use super::record::{Cached, CachedFlags, Flags, Work};
use super::step::{
    reason, Step, BAD_REQUEST, CLOSED, CLOSE_WAIT, CLOSING, ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2,
    INVALID_STATE, LAST_ACK, REJECTED, STALE, SUCCESS, TCP_ENTRIES, TCP_RCV_WINDOW,
};
use crate::mirror::{PageMapEntry, TcpRecord};
use crate::prelude::*;
use crate::tcp::cwnd::{MAX_CWND, PHASE_RTO};
use crate::tcp::pages::PageSlot;
use crate::tcp::ranges::is_sound as is_sound_list;
use crate::tcp::rtt::MAX_SAMPLE_US;
use crate::tcp::seq::{max32, min32};
use crate::tcp::window::MAX_WINDOW;
use crate::types::{ConnOp, TcpParams};
use chimney_abi::cmd::Opcode;
use chimney_abi::desc::MAX_POSTED;

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

/// The highest bits of a window lie here.
const MAX_CWND_LOG2: usize = MAX_CWND.ilog2() as usize;
/// The last of the phases.
const PHASE_LAST: u64 = PHASE_RTO;
/// See [`MAX_POSTED`].
const FARTHEST: u64 = MAX_POSTED as u64;

/// Beats of a record in an image.
pub const RECORD_BEATS: u64 = 36;

/// the six states in which a connection may be offloaded.
#[kernel]
fn may_offload(state: Bits<8>) -> bool {
    state == ESTABLISHED
        || state == FIN_WAIT_1
        || state == FIN_WAIT_2
        || state == CLOSE_WAIT
        || state == CLOSING
        || state == LAST_ACK
}

/// log2 of a ring is 1 to 15, and the producer is inside.
#[kernel]
fn is_ring(log2: Bits<8>, producer: Bits<16>) -> bool {
    log2 != 0 && log2 < 16 && producer <= (bits::<16>(1) << log2)
}

/// More is posted up to `limit`, with our FIN behind it, than may be ([`MAX_POSTED`]), or less than was acknowledged.
#[kernel]
pub fn is_too_far(una: Bits<32>, limit: Bits<32>, fin_sent: Bit) -> bool {
    (limit + 1 - una) > FARTHEST || (limit + fin_sent - una) > FARTHEST
}

/// The image's numbers fit together, and its segments into the path (programmer's guide 5).
#[kernel]
fn is_sound(r: TcpRecord, room: Bits<16>) -> bool {
    let flags = unpack::<Flags, 16>(r.deleg_flags);
    let max = r.snd_max - r.snd_una;
    r.eff_mss != 0
        && r.eff_mss <= room
        && r.snd_wind_shift < 15
        && r.rcv_wind_shift < 15
        && is_ring(r.send_ring_log2, r.send_producer)
        && is_ring(r.recv_ring_log2, r.recv_producer)
        && r.phase <= PHASE_LAST
        && r.snd_nxt - r.snd_una <= max
        && max <= r.snd_limit + flags.fin_sent - r.snd_una
        && !is_too_far(r.snd_una, r.snd_limit, flags.fin_sent)
        && is_sound_list(ranges(r), r.rcv_nxt, r.rcv_right)
}

/// May this image be taken over under this id?
#[kernel]
fn initiate_status(w: Work, out: bool, op: ConnOp, r: TcpRecord, room: Bits<16>) -> Bits<8> {
    if out || w.fixed.generation != 0 {
        bits::<8>(TCP_ENTRIES)
    } else if op.generation == 0 {
        bits::<8>(BAD_REQUEST)
    } else if !may_offload(r.tcp_state) || !is_sound(r, room) {
        bits::<8>(REJECTED)
    } else if (r.rcv_right - r.rcv_nxt) > MAX_WINDOW {
        bits::<8>(TCP_RCV_WINDOW)
    } else {
        bits::<8>(SUCCESS)
    }
}

/// The record at the start of an offload: nothing of the previous owner's doings is under way.
#[kernel]
fn begin(x: Work, now: Bits<32>, p: TcpParams) -> Work {
    let mut w = x;
    w.flags.aborted = false;
    w.flags.stopped = false;
    w.flags.invalid = false;
    w.flags.post_loaded = false;
    w.side.sent_us = now;
    let rto = min32(max32(x.tm.rto_us, p.min_rto_us), p.max_rto_us);
    w.tm.rto_us = rto;
    // With nothing unacknowledged the timer is FIN_WAIT_2's or persist's, or off.
    let needed = x.snd.una != x.snd.max || x.state == FIN_WAIT_2 || x.flags.persist;
    w.tm.on.rtx = needed;
    if needed && !x.tm.on.rtx {
        w.tm.rtx = now + if x.state == FIN_WAIT_2 { p.fin_wait_2_us } else { rto };
    }
    if x.cached.flags.keep_alive && !x.tm.on.keep_alive {
        w.tm.on.keep_alive = true;
        w.tm.keep_alive = now + x.cached.ka_timeout_us;
    }
    w
}

/// At most `MAX_CWND`, a power of two.
#[kernel]
fn window(x: Bits<32>) -> Bits<32> {
    if x.get_bits::<2>(MAX_CWND_LOG2).any() {
        bits::<32>(MAX_CWND)
    } else {
        x
    }
}

/// Estimates within the bounds that the arithmetic relies on (programmer's guide 5).
#[kernel]
fn bounded(x: Work) -> Work {
    let mut w = x;
    w.rc.cw.cwnd = max32(window(x.rc.cw.cwnd), bit_cast::<32, 16>(x.fixed.eff_mss));
    w.rc.cw.ssthresh = window(x.rc.cw.ssthresh);
    w.rc.cw.acked_sum = window(x.rc.cw.acked_sum);
    w.snd.wnd = window(x.snd.wnd);
    w.snd.max_wnd = max32(window(x.snd.max_wnd), w.snd.wnd);
    w.rtt.srtt_x8 = min32(x.rtt.srtt_x8, bits::<32>(MAX_SAMPLE_US << 3));
    w.rtt.rttvar_x4 = min32(x.rtt.rttvar_x4, bits::<32>(MAX_SAMPLE_US << 2));
    w
}

/// Stage 1: Initiate. `at`: microseconds, milliseconds, and what the path's MTU leaves.
#[kernel]
pub fn initiate(s: Step, op: ConnOp, r: TcpRecord, at: (Bits<32>, Bits<32>, Bits<16>), p: TcpParams) -> Step {
    let (now_us, now_ms, room) = at;
    let status = initiate_status(s.w, s.c.out, op, r, room);
    let mut n = s;
    n.c.status = status;
    n.c.forget = status != SUCCESS;
    if status == SUCCESS {
        n.w = begin(bounded(load(r, op.generation, op.path, now_us, now_ms)), now_us, p);
        // What CUBIC's program knows is of the connection before.
        n.w.rc.epoch = s.w.rc.epoch + 1;
        n.c.load = true;
        n.c.publish = true;
        n.c.want_tx = true;
        if n.w.fixed.flags.sack {
            n = handed_over(n);
        }
    }
    n
}

/// Stage 1: all others.
#[kernel]
pub fn execute(s: Step, op: ConnOp, r: TcpRecord, now: Bits<32>) -> Step {
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
            n.w.tm.keep_alive = now + r.ka_timeout_us;
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
