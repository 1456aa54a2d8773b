//! The TCP record at the border: what the host gives, what the device gets, what comes back.
//!
//! Ring, post, durable and shadow fields and counters belong to the driver: they are set on the way down and zero on the way up, so
//! an offload followed by an upload is the identity on everything the host sees (law L1).

use chimney_abi::cmd::{Status, TcpState};
use chimney_abi::desc::{MAX_RCV_WINDOW, OOO_RANGES};
use chimney_abi::offload::{offloadable_state, TcpBlockState};
use chimney_abi::state::{self, TcpRecord, NO_TIMER};
use chimney_abi::wire::tcp::MAX_WINDOW_SHIFT;
use chimney_abi::SeqNum;

/// Flags that the host's word decides; the others are the engine's own.
const HOST_FLAGS: u16 = state::DELEG_FIN_POSTED
    | state::DELEG_FIN_SENT
    | state::DELEG_PEER_FIN
    | state::DELEG_ACK_NOW
    | state::DELEG_RTT_RUNNING
    | state::DELEG_PERSIST
    | state::DELEG_RETRANSMIT
    | state::DELEG_PROBE;

/// Checks what the device could not make sense of.
///
/// # Errors
/// The status of the refusal.
pub fn check(s: &TcpBlockState) -> Result<TcpState, Status> {
    let r = &s.record;
    let tcp_state = offloadable_state(r).ok_or(Status::Rejected)?;
    let promised = SeqNum(r.rcv_right).distance_from(SeqNum(r.rcv_nxt));
    if promised > MAX_RCV_WINDOW as i32 {
        return Err(Status::TcpRcvWindow);
    }
    let shifts_fit = r.snd_wind_shift <= MAX_WINDOW_SHIFT && r.rcv_wind_shift <= MAX_WINDOW_SHIFT;
    let has_fin = r.deleg_flags & state::DELEG_PEER_FIN != 0;
    // A FIN takes one number beyond the right edge when the window was full.
    let window_fits = promised >= -i32::from(has_fin);
    let sane = shifts_fit && window_fits && r.eff_mss > 0;
    sane.then_some(tcp_state).ok_or(Status::Rejected)
}

/// The first text byte not yet received in order.
pub fn text_next(r: &TcpRecord) -> u32 {
    r.rcv_nxt.wrapping_sub((r.deleg_flags & state::DELEG_PEER_FIN != 0).into())
}

/// What a record that goes down may say about its flags.
pub fn down_flags(flags: u16, tcp_state: TcpState) -> u16 {
    let closed = !matches!(tcp_state, TcpState::Established | TcpState::CloseWait);
    flags & HOST_FLAGS | if closed { state::DELEG_FIN_POSTED | state::DELEG_FIN_SENT } else { 0 }
}

/// The record as the host may see it.
pub fn up(mut r: TcpRecord) -> TcpRecord {
    r.deleg_flags &= HOST_FLAGS;
    (r.path, r.generation, r.upload_reason) = (0, 0, 0);
    (r.send_ring, r.recv_ring, r.send_ring_log2, r.recv_ring_log2) = (0, 0, 0, 0);
    (r.send_producer, r.recv_producer) = (0, 0);
    (r.post_idx, r.post_off, r.post_len, r.post_flags, r.post_addr) = (0, 0, 0, 0, 0);
    (r.cnt_segs_in, r.cnt_segs_out, r.cnt_retransmits) = (0, 0, 0);
    (r.cnt_ooo, r.cnt_dup, r.cnt_drops) = (0, 0, 0);
    (r.durable_rcv_nxt, r.durable_rcv_right, r.shadow_tag, r.timers) = (0, 0, 0, 0);
    // these two timers are not carried over.
    (r.delack_deadline, r.push_deadline) = (NO_TIMER, NO_TIMER);
    r
}

/// Takes over the CACHED fields of `new`.
pub fn update_cached(r: &mut TcpRecord, new: &TcpRecord) {
    (r.cached_flags, r.ttl, r.tos, r.ka_probe_count) =
        (new.cached_flags, new.ttl, new.tos, new.ka_probe_count);
    (r.user_priority, r.initial_rcv_wnd) = (new.user_priority, new.initial_rcv_wnd);
    (r.rcv_indication_size, r.ka_timeout_ms) = (new.rcv_indication_size, new.ka_timeout_ms);
    (r.ka_interval_ms, r.max_rt_us, r.flow_label) = (new.ka_interval_ms, new.max_rt_us, new.flow_label);
}

/// The out-of-order ranges of a record, start and end; equal means empty.
pub fn ranges(r: &TcpRecord) -> [(u32, u32); OOO_RANGES] {
    [
        (r.ooo0_start, r.ooo0_end),
        (r.ooo1_start, r.ooo1_end),
        (r.ooo2_start, r.ooo2_end),
        (r.ooo3_start, r.ooo3_end),
    ]
}

/// Sets the out-of-order ranges.
pub fn set_ranges(r: &mut TcpRecord, v: [(u32, u32); OOO_RANGES]) {
    let [a, b, c, d] = v;
    (r.ooo0_start, r.ooo0_end) = a;
    (r.ooo1_start, r.ooo1_end) = b;
    (r.ooo2_start, r.ooo2_end) = c;
    (r.ooo3_start, r.ooo3_end) = d;
}
