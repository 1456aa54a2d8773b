//! An image on its way in: what it must be is checked, and what it may be is bounded, beat by beat (programmer's guide 5).
//!
//! One pair of subtractions and three comparisons serve all beats; of the whole image at once they would be forty. When its pass
//! begins the image is a record but for its times, which count from that pass.
//!
//! | beat with | checked | bounded |
//! |---|---|---|
//! | shifts, `eff_mss`, rings | what they may be | |
//! | `tcp_state`, `phase` | R-066; a phase that there is | the flags that are the device's |
//! | `rcv_right` | the largest window | |
//! | `snd_nxt`, `snd_max`, `snd_limit` | their order, and how far they reach | |
//! | windows, estimates, `rto_us` | | to what the arithmetic relies on |
//! | `rtx_deadline`, `ka_deadline` | | what must run does: with the whole wait if the image has it off |
//! | ranges | sorted, apart, in the window, none behind an empty one | |
//! | `timers`, `ooo_recent`, `ecn` | | which deadlines run; a range in use; nothing without `CONST_ECN` |
use super::beats::{beat_of, BEAT, BEATS};
use super::op::is_too_far;
use super::ops::RECORD;
use super::record::{CachedFlags, ConstFlags, Flags, Running};
use super::step::{CLOSE_WAIT, CLOSING, ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2, LAST_ACK};
use crate::mirror::TcpRecord;
use crate::prelude::*;
use crate::tcp::cwnd::{MAX_CWND, PHASE_RTO};
use crate::tcp::ranges::RANGES;
use crate::tcp::rtt::MAX_SAMPLE_US;
use crate::tcp::seq::{max32, min32};
use crate::tcp::window::{MAX_SHIFT, MAX_WINDOW};
use crate::types::TcpParams;
use chimney_abi::state::NO_TIMER;

const SHIFTS: u64 = beat_of("rcv_wind_shift");
const MSS: u64 = beat_of("eff_mss");
const STATE: u64 = beat_of("tcp_state");
const RIGHT: u64 = beat_of("rcv_right");
const SENT: u64 = beat_of("snd_max");
const WINDOWS: u64 = beat_of("snd_wnd");
const CONGESTION: u64 = beat_of("cwnd");
const GROWTH: u64 = beat_of("cwnd_acc");
const ROUND_TRIP: u64 = beat_of("srtt_us_x8");
const TIMEOUT: u64 = beat_of("rto_us");
const RETRANSMIT: u64 = beat_of("rtx_deadline");
const LIMIT: u64 = beat_of("snd_limit");
const FIRST: u64 = beat_of("ooo0_start");
const LAST: u64 = FIRST + RANGES as u64 - 1;
const RINGS: u64 = beat_of("send_ring_log2");
const TIMERS: u64 = beat_of("timers");
// What is in one beat is looked at together.
const _: () = assert!(
    SHIFTS == beat_of("snd_wind_shift")
        && STATE == beat_of("phase")
        && STATE == beat_of("deleg_flags")
        && SENT == beat_of("snd_nxt")
        && WINDOWS == beat_of("max_snd_wnd")
        && CONGESTION == beat_of("ssthresh")
        && ROUND_TRIP == beat_of("rttvar_us_x4")
        && LIMIT == beat_of("ka_deadline")
        && LAST == beat_of("ooo3_end")
        && RINGS == beat_of("recv_producer")
        && TIMERS == beat_of("ooo_recent")
        && TIMERS == beat_of("ecn")
        && SHIFTS == 0
);

/// The highest bits of a window lie here.
const MAX_CWND_LOG2: usize = MAX_CWND.ilog2() as usize;
/// `NO_TIMER` as the kernels need it.
const OFF: u64 = NO_TIMER as u64;
/// Ranges, as bits.
const USED: usize = RANGES;
/// But for the highest.
const BEFORE: usize = USED - 1;

/// What the beats of an image so far say.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Seen {
    /// Something does not fit together: `Rejected`.
    pub is_bad: Bit,
    /// The receive window is larger than the device has: `TcpRcvWindow`.
    pub is_wide: Bit,
    /// `snd_max - snd_una`.
    max: Bits<32>,
    /// `rcv_right - rcv_nxt`.
    right: Bits<32>,
    /// End of the range before, behind `rcv_nxt`.
    end: Bits<32>,
    /// Ranges in use; the last one is the highest bit.
    used: Bits<USED>,
}

/// An image that was admitted.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Image {
    /// Its beats.
    pub record: TcpRecord,
    /// What they said.
    pub seen: Seen,
}

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

/// The beat as if each of the image's were this one: a field of it is what this beat would say of it.
#[kernel]
fn each(word: Bits<64>) -> TcpRecord {
    unpack::<TcpRecord, RECORD>(cat::<RECORD, _>(array::<BEATS, _>(|_i| word)))
}

/// What is known with one more beat. `r`: the beats before, as they were admitted.
#[kernel]
pub fn look(s: Seen, beat: Bits<BEAT>, word: Bits<64>, r: TcpRecord) -> Seen {
    let t: TcpRecord = each(word);
    let (lo, hi) = (word.get_bits::<32>(0), word.get_bits::<32>(32));
    let is_range = beat >= FIRST && beat <= LAST;
    let base = if beat == SENT || beat == LIMIT { r.snd_una } else { r.rcv_nxt };
    let (x, y) = (lo - base, hi - base);
    let (falls, empty) = (y < x, lo == hi);
    let fin_sent = unpack::<Flags, 16>(r.deleg_flags).fin_sent;
    let follows = beat == FIRST || s.used.get_bit(USED - 1);
    let is_apart = follows && s.end < x && !falls && y <= s.right;
    let is_bad = beat == SHIFTS && (t.snd_wind_shift > MAX_SHIFT || t.rcv_wind_shift > MAX_SHIFT)
        || beat == MSS && t.eff_mss == 0
        || beat == STATE && (!may_offload(t.tcp_state) || t.phase > PHASE_RTO)
        || beat == SENT && falls
        || beat == LIMIT && (y + fin_sent < s.max || is_too_far(y, fin_sent))
        || is_range && !empty && !is_apart
        || beat == RINGS && !is_ring(t.send_ring_log2, t.send_producer)
        || beat == RINGS && !is_ring(t.recv_ring_log2, t.recv_producer);
    Seen {
        is_bad: is_bad || s.is_bad && beat != SHIFTS,
        is_wide: if beat == RIGHT { x > MAX_WINDOW } else { s.is_wide },
        max: if beat == SENT { y } else { s.max },
        right: if beat == RIGHT { x } else { s.right },
        end: if is_range { y } else { bits::<32>(0) },
        used: if is_range { cat::<USED, _>((!empty, s.used.get_bits::<BEFORE>(1))) } else { s.used },
    }
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

/// The retransmission timer must run: something is unacknowledged, or it is FIN_WAIT_2's or persist's.
#[kernel]
fn needs_timer(r: TcpRecord) -> bool {
    r.snd_una != r.snd_max || r.tcp_state == FIN_WAIT_2 || unpack::<Flags, 16>(r.deleg_flags).persist
}

/// Flags, without those of the device's doings under the previous owner.
#[kernel]
fn inherited(flags: Bits<16>) -> Bits<16> {
    let flags = unpack::<Flags, 16>(flags);
    pack::<16, Flags>(Flags { aborted: false, stopped: false, invalid: false, post_loaded: false, ..flags })
}

/// What the deadlines of `r` say of the timers. Push is not carried over, and delayed ACK only bounds `DELEG_ARRIVING`.
#[kernel]
fn running(r: TcpRecord) -> Bits<8> {
    pack::<8, Running>(Running {
        rtx: needs_timer(r),
        delack: unpack::<Flags, 16>(r.deleg_flags).arriving,
        push: false,
        keep_alive: r.ka_deadline != OFF || unpack::<CachedFlags, 16>(r.cached_flags).keep_alive,
        spare: bits::<4>(0),
    })
}

/// A beat as it is taken over: within the bounds that the arithmetic relies on. `r`, `s`: the beats before.
#[kernel]
pub fn admitted(beat: Bits<BEAT>, word: Bits<64>, r: TcpRecord, s: Seen, p: TcpParams) -> Bits<64> {
    let t: TcpRecord = each(word);
    let (lo, hi) = (word.get_bits::<32>(0), word.get_bits::<32>(32));
    let (low, high) = (window(lo), window(hi));
    let is_off = t.rtx_deadline == OFF;
    let wait = if r.tcp_state == FIN_WAIT_2 { p.fin_wait_2_us } else { r.rto_us };
    let keeps = unpack::<CachedFlags, 16>(r.cached_flags).keep_alive && t.ka_deadline == OFF;
    let has_newest = t.ooo_recent < RANGES as u64 && s.used.get_bit(t.ooo_recent.get_bits::<2>(0).index());
    if beat == STATE {
        cat::<64, _>((hi, inherited(t.deleg_flags), t.phase, t.tcp_state))
    } else if beat == WINDOWS {
        cat::<64, _>((max32(high, low), low))
    } else if beat == CONGESTION {
        cat::<64, _>((high, max32(low, bit_cast::<32, 16>(r.eff_mss))))
    } else if beat == GROWTH {
        cat::<64, _>((hi, low))
    } else if beat == ROUND_TRIP {
        let (srtt, var) = (bits::<32>(MAX_SAMPLE_US << 3), bits::<32>(MAX_SAMPLE_US << 2));
        cat::<64, _>((min32(hi, var), min32(lo, srtt)))
    } else if beat == TIMEOUT {
        cat::<64, _>((hi, min32(max32(lo, p.min_rto_us), p.max_rto_us)))
    } else if beat == RETRANSMIT {
        cat::<64, _>((if is_off { wait } else { hi }, lo))
    } else if beat == LIMIT {
        cat::<64, _>((hi, if keeps { r.ka_timeout_ms } else { lo }))
    } else if beat == TIMERS {
        let newest = if has_newest { t.ooo_recent } else { bits::<8>(0) };
        let ecn = if unpack::<ConstFlags, 16>(r.const_flags).ecn { t.ecn } else { bits::<8>(0) };
        cat::<64, _>((hi, bits::<8>(0), ecn, newest, running(r)))
    } else {
        word
    }
}
