//! A connection leaves the host and comes back: record and bytes as the contract's `TcpBlockState`.
//!
//! [`export`] copies everything; [`import`] checks everything first, because what comes back was written
//! by a device. Times are remaining times and ages, the timestamp clock is its value now,
//! so neither side knows the other's clock. The sender's SACK scoreboard does not travel: without it the
//! next duplicate ACK fills it again (G-13).

use super::tcb::{ConnectionError, Tcb};
use super::timers::Timers;
use chimney_abi::cmd::{Phase, TcpState};
use chimney_abi::desc::aligned_edge;
use chimney_abi::offload::{Range, TcpBlockState, TcpCounts};
use chimney_abi::state::{self, TcpRecord, NO_TIMER};
use chimney_abi::wire::ipv4::DEFAULT_TTL;
use chimney_abi::SeqNum;
use chimney_host_stack_core::ack::SendVars;
use chimney_host_stack_core::congestion::{Algorithm, Control};
use chimney_host_stack_core::cwnd::Cwnd;
use chimney_host_stack_core::ecn::Ecn;
use chimney_host_stack_core::loss_recovery::{LossRecovery, TimerKind};
use chimney_host_stack_core::ranges::{SeqRange, MAX_RANGES};
use chimney_host_stack_core::recovery::Recovery;
use chimney_host_stack_core::rtt::{backed_off, Rtt, RttTimer, MOST_DOUBLINGS};
use chimney_host_stack_core::timestamps::{clock, delta_for, TsRecent};

/// Largest window and amount in flight that is believed.
const MAX_WINDOW: u32 = 1 << 30;
/// Microseconds of a millisecond.
const MS_US: u64 = 1000;
/// The longest wait that images have in milliseconds.
const MOST_MS: u32 = u32::MAX >> 1;

/// A state that contradicts itself; nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("uploaded connection state contradicts itself: {0}")]
pub struct BadState(pub &'static str);

/// Microseconds from `now_us` to a deadline: [`NO_TIMER`], or 0 if it has passed.
fn remaining(deadline: Option<u64>, now_us: u64) -> u32 {
    let left = |at: u64| u32::try_from(at.saturating_sub(now_us)).unwrap_or(NO_TIMER - 1);
    deadline.map_or(NO_TIMER, left)
}

/// The deadline that a remaining time stands for.
fn deadline(remaining: u32, now_us: u64) -> Option<u64> {
    (remaining != NO_TIMER).then(|| now_us + u64::from(remaining))
}

/// A time of days as an image says it: in milliseconds, begun ones included, at most what half a 32-bit clock holds.
fn milliseconds(us: u64) -> u32 {
    u32::try_from(us.div_ceil(MS_US)).map_or(MOST_MS, |ms| ms.min(MOST_MS))
}

/// Time since `then`, in the unit of both.
fn age(then: u64, now: u64) -> u32 {
    u32::try_from(now.saturating_sub(then)).unwrap_or(u32::MAX)
}

fn flag(is_set: bool, bit: u16) -> u16 {
    if is_set {
        bit
    } else {
        0
    }
}

/// The connection as it stands; the acknowledgment owed has been sent before.
#[must_use]
pub fn export(tcb: &Tcb, now_us: u64) -> TcpBlockState {
    let mut record = TcpRecord::default();
    export_const(tcb, &mut record);
    export_cached(tcb, &mut record);
    export_stream(tcb, &mut record);
    export_estimates(tcb, now_us, &mut record);
    export_timers(tcb, now_us, &mut record);
    let out_of_order = tcb.receive.ahead_to_vec(tcb.rcv_nxt);
    export_ranges(tcb, &out_of_order, &mut record);
    let send_data = tcb.send.to_vec();
    // `as`: bounded by the send buffer.
    let end = send_data.len() as u32;
    TcpBlockState {
        record,
        push_marks: if end > 0 { vec![end] } else { Vec::new() },
        send_data,
        buffered: tcb.receive.unread_to_vec(),
        out_of_order,
        counts: TcpCounts::default(),
    }
}

fn export_const(tcb: &Tcb, r: &mut TcpRecord) {
    let n = &tcb.negotiated;
    r.local_port = tcb.tuple.local.port();
    r.remote_port = tcb.tuple.remote.port();
    r.const_flags = flag(n.has_timestamps, state::CONST_TIMESTAMPS)
        | flag(n.has_sack, state::CONST_SACK)
        | flag(n.has_window_scaling, state::CONST_WINDOW_SCALING)
        | flag(tcb.tuple.remote.is_ipv6(), state::CONST_IPV6)
        | flag(tcb.config.congestion == Algorithm::NewReno, state::CONST_NEWRENO)
        | flag(tcb.ecn.is_on, state::CONST_ECN);
    r.snd_wind_shift = n.snd_wind_shift;
    r.rcv_wind_shift = n.rcv_wind_shift;
    // `as`: below 64 KiB by construction.
    r.eff_mss = tcb.eff_mss as u16;
}

fn export_cached(tcb: &Tcb, r: &mut TcpRecord) {
    let config = &tcb.config;
    r.cached_flags = flag(config.keep_alive_us.is_some(), state::CACHED_KEEP_ALIVE)
        | flag(config.is_nagle, state::CACHED_NAGLE);
    r.ttl = DEFAULT_TTL;
    r.flow_label = tcb.flow_label;
    r.ka_probe_count = config.keep_alive_probes;
    r.max_retransmissions = config.max_retransmissions;
    r.initial_rcv_wnd = config.receive_capacity;
    r.ka_timeout_ms = milliseconds(config.keep_alive_us.unwrap_or(0));
    r.ka_interval_ms = milliseconds(config.keep_alive_interval_us);
}

fn export_stream(tcb: &Tcb, r: &mut TcpRecord) {
    let has_peer_fin =
        matches!(tcb.state, TcpState::CloseWait | TcpState::Closing | TcpState::LastAck | TcpState::TimeWait);
    r.tcp_state = tcb.state.code();
    r.deleg_flags = flag(tcb.send.is_closed(), state::DELEG_FIN_POSTED)
        | flag(tcb.is_fin_sent(), state::DELEG_FIN_SENT)
        | flag(has_peer_fin, state::DELEG_PEER_FIN)
        | flag(tcb.timers.is_persist, state::DELEG_PERSIST)
        | flag(tcb.rtt_timer.is_running, state::DELEG_RTT_RUNNING)
        | flag(tcb.owed.first || tcb.is_first_lost(), state::DELEG_RETRANSMIT)
        | flag(tcb.owed.probe, state::DELEG_PROBE);
    r.rcv_nxt = tcb.rcv_nxt.0;
    // Law L3: a target says it exactly from the first acknowledgment on.
    r.rcv_right = aligned_edge(tcb.rcv_nxt, tcb.rcv_right, tcb.rcv_right, tcb.negotiated.rcv_wind_shift).0;
    r.adv_right = tcb.rcv_right.0;
    r.last_ack_sent = tcb.last_ack_sent.0;
    r.snd_una = tcb.snd.snd_una.0;
    r.snd_nxt = tcb.resend_from().0;
    r.snd_max = tcb.snd.snd_max.0;
    r.snd_limit = tcb.send.end().0;
    r.snd_wnd = tcb.snd.snd_wnd;
    r.max_snd_wnd = tcb.snd.max_snd_wnd;
    r.snd_wl1 = tcb.snd.snd_wl1.0;
    r.snd_wl2 = tcb.snd.snd_wl2.0;
}

fn export_estimates(tcb: &Tcb, now_us: u64, r: &mut TcpRecord) {
    r.phase = tcb.recovery.phase.code();
    let (ecn, recover) = tcb.ecn.store(&tcb.recovery, tcb.snd.snd_una);
    (r.ecn, r.recover) = (ecn, recover.0);
    r.dup_acks = tcb.recovery.dup_acks;
    r.cwnd = tcb.cw.cwnd;
    r.ssthresh = tcb.cw.ssthresh;
    r.cwnd_acc = tcb.cw.acked_sum;
    r.srtt_us_x8 = tcb.rtt.srtt_x8;
    r.rttvar_us_x4 = tcb.rtt.rttvar_x4;
    r.rto_us = tcb.rto_us();
    r.rtt_seq = tcb.rtt_timer.end_seq.0;
    r.rtt_start_us = if tcb.rtt_timer.is_running { age(tcb.rtt_timer.sent_us, now_us) } else { 0 };
    r.ts_recent = tcb.ts_recent.val;
    r.ts_recent_ms = age(tcb.ts_recent.taken_us / MS_US, now_us / MS_US);
    // TsTime, the value that the next segment would carry.
    r.ts_offset = clock(now_us, tcb.ts_delta);
    r.last_rx_ms = age(tcb.last_rx_us / MS_US, now_us / MS_US);
}

fn export_timers(tcb: &Tcb, now_us: u64, r: &mut TcpRecord) {
    // FIN_WAIT_2 shares the retransmit slot; delayed ACK, push and SWS are not carried over.
    // What the new owner runs out of is a timeout, which takes the window away: a wait for a probe or for reordered segments is none.
    let waits = tcb.snd.flight_size() > 0 && !tcb.timers.is_persist && tcb.rtx_kind != TimerKind::Rto;
    let timeout = tcb.timers.retransmit.map(|at| if waits { now_us + u64::from(tcb.rto_us()) } else { at });
    r.rtx_deadline = remaining(timeout.or(tcb.timers.close), now_us);
    r.ka_deadline = tcb.timers.keep_alive.map_or(NO_TIMER, |at| milliseconds(at.saturating_sub(now_us)));
    r.delack_deadline = NO_TIMER;
    r.push_deadline = NO_TIMER;
    r.retransmit_count = tcb.retransmit_count;
    r.probe_round = tcb.probe_round;
    r.ka_probes = tcb.ka_probes;
    r.total_rt_us = u32::try_from(tcb.total_rt_us).unwrap_or(u32::MAX);
}

fn export_ranges(tcb: &Tcb, ranges: &[Range], r: &mut TcpRecord) {
    let mut bounds = [(0u32, 0u32); MAX_RANGES];
    for (bound, range) in bounds.iter_mut().zip(ranges) {
        // `as`: a range lies in the receive window.
        *bound = (range.seq, range.seq.wrapping_add(range.bytes.len() as u32));
    }
    let [a, b, c, d] = bounds;
    (r.ooo0_start, r.ooo0_end) = a;
    (r.ooo1_start, r.ooo1_end) = b;
    (r.ooo2_start, r.ooo2_end) = c;
    (r.ooo3_start, r.ooo3_end) = d;
    let recent = tcb.receive.sack_blocks().next();
    let at = ranges.iter().position(|range| recent.is_some_and(|block| block.start.0 == range.seq));
    // `as`: an index below MAX_RANGES.
    r.ooo_recent = at.unwrap_or(0) as u8;
}

/// Checks an uploaded state against itself.
fn check(block: &TcpBlockState) -> Result<(TcpState, Phase), BadState> {
    let r = &block.record;
    let state = TcpState::try_from(r.tcp_state).map_err(|_| BadState("unknown TCP state"))?;
    let phase = Phase::try_from(r.phase).map_err(|_| BadState("unknown recovery phase"))?;
    let (una, nxt, max) = (SeqNum(r.snd_una), SeqNum(r.snd_nxt), SeqNum(r.snd_max));
    if max - una > MAX_WINDOW || nxt - una > max - una {
        return Err(BadState("SND.UNA, SND.NXT and SND.MAX are not in order"));
    }
    let is_closed = r.deleg_flags & state::DELEG_FIN_POSTED != 0;
    let len = u32::try_from(block.send_data.len()).map_err(|_| BadState("too much send data"))?;
    let base = send_base(block, state);
    if base != una && (max != una || len > 0 || !is_closed) {
        return Err(BadState("something is in flight behind an acknowledged FIN"));
    }
    if max.after(base + len + u32::from(is_closed)) {
        return Err(BadState("SND.MAX is beyond the send data"));
    }
    if right_edge(r) - SeqNum(r.rcv_nxt) > MAX_WINDOW {
        return Err(BadState("the receive window is negative"));
    }
    check_ranges(block)?;
    Ok((state, phase))
}

/// The right edge; a FIN takes one number, also when it stands just behind a full window.
fn right_edge(r: &TcpRecord) -> SeqNum {
    let has_peer_fin = r.deleg_flags & state::DELEG_PEER_FIN != 0;
    let is_behind = has_peer_fin && SeqNum(r.rcv_right) + 1 == SeqNum(r.rcv_nxt);
    SeqNum(r.rcv_right) + u32::from(is_behind)
}

/// Sequence number of the first byte of the send data: SND.UNA, or the place of our FIN once that is
/// acknowledged.
fn send_base(block: &TcpBlockState, state: TcpState) -> SeqNum {
    let r = &block.record;
    let is_fin_acked = match state {
        TcpState::FinWait2 | TcpState::TimeWait => true,
        TcpState::Closed => r.deleg_flags & state::DELEG_FIN_SENT != 0 && r.snd_una == r.snd_max,
        _ => false,
    };
    SeqNum(r.snd_una) - u32::from(is_fin_acked)
}

fn check_ranges(block: &TcpBlockState) -> Result<(), BadState> {
    if block.out_of_order.len() > MAX_RANGES {
        return Err(BadState("too many out-of-order ranges"));
    }
    let nxt = SeqNum(block.record.rcv_nxt);
    let mut last_end = nxt;
    for range in &block.out_of_order {
        let len = u32::try_from(range.bytes.len()).map_err(|_| BadState("range too long"))?;
        let range = SeqRange::new(SeqNum(range.seq), len);
        let is_sorted = range.start.after(nxt) && range.start.at_or_after(last_end);
        let is_sane = is_sorted && !range.is_empty() && range.end - nxt <= MAX_WINDOW;
        if !is_sane {
            return Err(BadState("out-of-order ranges are not sorted and disjoint"));
        }
        last_end = range.end;
    }
    Ok(())
}

/// Continues the connection in the host. CONST and CACHED state stays what the host has.
///
/// # Errors
/// [`BadState`]; the record is unchanged.
pub fn import(tcb: &mut Tcb, now_us: u64, block: TcpBlockState) -> Result<(), BadState> {
    let (state, phase) = check(&block)?;
    let r = block.record;
    tcb.state = state;
    import_stream(tcb, &block);
    import_estimates(tcb, now_us, &r, phase);
    import_timers(tcb, now_us, &r);
    let has_peer_fin = r.deleg_flags & state::DELEG_PEER_FIN != 0;
    let arrived = SeqNum(r.rcv_nxt) - tcb.rcv_nxt - u32::from(has_peer_fin && tcb.peer_fin.is_none());
    tcb.rcv_nxt = SeqNum(r.rcv_nxt);
    tcb.rcv_right = right_edge(&r);
    tcb.last_ack_sent = SeqNum(r.last_ack_sent);
    tcb.peer_fin = has_peer_fin.then_some(SeqNum(r.rcv_nxt) - 1);
    tcb.receive.restore(block.buffered, arrived);
    restore_ranges(tcb, &block.out_of_order, usize::from(r.ooo_recent));
    if r.deleg_flags & state::DELEG_ABORTED != 0 {
        tcb.finish(Some(ConnectionError::Reset));
    } else if state == TcpState::Closed {
        let is_done = has_peer_fin && tcb.snd.flight_size() == 0 && tcb.send.is_closed();
        tcb.finish((!is_done).then_some(ConnectionError::TimedOut));
    }
    Ok(())
}

fn import_stream(tcb: &mut Tcb, block: &TcpBlockState) {
    let r = &block.record;
    tcb.snd = SendVars {
        snd_una: SeqNum(r.snd_una),
        snd_nxt: SeqNum(r.snd_nxt),
        snd_max: SeqNum(r.snd_max),
        snd_wnd: r.snd_wnd,
        max_snd_wnd: r.max_snd_wnd.max(r.snd_wnd),
        snd_wl1: SeqNum(r.snd_wl1),
        snd_wl2: SeqNum(r.snd_wl2),
    };
    let is_closed = r.deleg_flags & state::DELEG_FIN_POSTED != 0;
    tcb.send.restore(send_base(block, tcb.state), block.send_data.clone(), is_closed);
}

fn import_estimates(tcb: &mut Tcb, now_us: u64, r: &TcpRecord, phase: Phase) {
    tcb.recovery = Recovery { phase, recover: SeqNum(r.recover), dup_acks: r.dup_acks };
    tcb.ecn = Ecn::load(tcb.ecn.is_on, r.ecn, tcb.snd.snd_una, &mut tcb.recovery);
    tcb.cw = Cwnd { cwnd: r.cwnd.max(tcb.eff_mss), ssthresh: r.ssthresh, acked_sum: r.cwnd_acc };
    tcb.rtt = Rtt { srtt_x8: r.srtt_us_x8, rttvar_x4: r.rttvar_us_x4 };
    let (plain, bounds) = (tcb.rtt.rto_us(&tcb.config.rto), tcb.config.rto);
    let is_as_long = |count: &u8| backed_off(plain, *count, &bounds) >= r.rto_us.min(bounds.max_us);
    tcb.kept_back_off = (0..MOST_DOUBLINGS).find(is_as_long).unwrap_or(MOST_DOUBLINGS);
    tcb.rtt_timer = RttTimer {
        is_running: r.deleg_flags & state::DELEG_RTT_RUNNING != 0,
        end_seq: SeqNum(r.rtt_seq),
        sent_us: now_us.saturating_sub(u64::from(r.rtt_start_us)),
    };
    tcb.ts_recent =
        TsRecent { val: r.ts_recent, taken_us: now_us.saturating_sub(MS_US * u64::from(r.ts_recent_ms)) };
    // StackDelta = TsTime - StackTime.
    tcb.ts_delta = delta_for(now_us, r.ts_offset);
    tcb.last_rx_us = now_us.saturating_sub(MS_US * u64::from(r.last_rx_ms));
    tcb.last_sent_us = now_us;
    if tcb.negotiated.has_sack {
        let (at, control) = (tcb.moment(now_us), Control::new(tcb.config.congestion));
        tcb.loss = LossRecovery::handed_over(&at, control, &tcb.cw, phase, tcb.snd.snd_nxt);
        if r.deleg_flags & state::DELEG_RETRANSMIT != 0 {
            tcb.loss.board.mark_lost_to(tcb.snd.snd_una + tcb.eff_mss.min(tcb.snd.flight_size()));
        }
        tcb.snd.snd_nxt = tcb.snd.snd_max;
    }
}

fn import_timers(tcb: &mut Tcb, now_us: u64, r: &TcpRecord) {
    let slot = deadline(r.rtx_deadline, now_us);
    let is_close = tcb.state == TcpState::FinWait2 || tcb.state == TcpState::TimeWait;
    tcb.timers = Timers {
        retransmit: slot.filter(|_| !is_close),
        is_persist: !is_close && r.deleg_flags & state::DELEG_PERSIST != 0,
        delayed_ack: None,
        close: slot.filter(|_| is_close),
        keep_alive: (r.ka_deadline != NO_TIMER).then(|| now_us + MS_US * u64::from(r.ka_deadline)),
    };
    tcb.rtx_kind = TimerKind::Rto;
    tcb.retransmit_count = r.retransmit_count;
    tcb.probe_round = r.probe_round;
    tcb.ka_probes = r.ka_probes;
    tcb.total_rt_us = u64::from(r.total_rt_us);
    tcb.owed = super::tcb::Owed {
        first: !tcb.negotiated.has_sack && r.deleg_flags & state::DELEG_RETRANSMIT != 0,
        probe: r.deleg_flags & state::DELEG_PROBE != 0,
        // An acknowledgment more than necessary costs little; one less could cost a delayed-ACK time.
        ack: r.deleg_flags & state::DELEG_ACK_NOW != 0 || r.last_ack_sent != r.rcv_nxt,
        ..super::tcb::Owed::default()
    };
    if tcb.timers.retransmit.is_none() && tcb.snd.flight_size() > 0 {
        // Never leave bytes in flight without a timer, whatever the device says.
        tcb.arm_retransmit(now_us);
    }
    if is_close && tcb.timers.close.is_none() {
        tcb.touch_close_timer(now_us);
    }
}

/// The most recently touched range goes in last, so that it is the first SACK block again.
fn restore_ranges(tcb: &mut Tcb, ranges: &[Range], recent: usize) {
    let others = ranges.iter().enumerate().filter(|(i, _)| *i != recent).map(|(_, range)| range);
    for range in others.chain(ranges.get(recent)) {
        // At most MAX_RANGES, checked: there is always room.
        let _ = tcb.receive.place(tcb.rcv_nxt, SeqNum(range.seq), &range.bytes);
    }
}
