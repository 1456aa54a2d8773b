//! Connection record <-> image: times, flags, and what an image must satisfy to be taken over.
//!
//! Inside the device times are absolute on its clock; in an image deadlines are remaining times and stamps are
//! ages. Delayed-ACK and push timers are not carried over.

use super::build::text_room;
use super::conn::Conn;
use super::{Dma, DmaError, Golden};
use chimney_abi::cmd::{Phase, Status, TcpState};
use chimney_abi::desc::{PageMapEntry, MAX_POSTED, MAX_RCV_WINDOW, PAGE_MAP_STRIDE, PAGE_SLOTS};
use chimney_abi::state::{
    ImageHeader, TcpRecord, CACHED_KEEP_ALIVE, CACHED_NAGLE, DELEG_ABORTED, DELEG_ARRIVING, DELEG_FIN_SENT,
    DELEG_INVALID, DELEG_PERSIST, DELEG_POST_LOADED, DELEG_STOPPED, NO_TIMER, TIMER_DELACK, TIMER_KEEP_ALIVE,
    TIMER_RTX,
};
use chimney_abi::wire::tcp::MAX_WINDOW_SHIFT;
use chimney_abi::{regs, SeqNum};
use chimney_host_stack_core::cwnd::MAX_CWND;
use chimney_host_stack_core::ecn::Ecn;
use chimney_host_stack_core::loss_recovery::TimerKind;
use chimney_host_stack_core::ranges::{RangeList, SeqRange};
use chimney_host_stack_core::rtt::MAX_SAMPLE_US;
use chimney_host_stack_core::timestamps;
use chimney_host_stack_core::watchdog::Sample;

/// Flags of an image that describe the device's own doings, not the connection.
const OWN_FLAGS: u16 = DELEG_ABORTED | DELEG_STOPPED | DELEG_INVALID | DELEG_POST_LOADED;
/// First shadow record of a connection; slots start with zeros, so 0 and 1 would look older than nothing.
const FIRST_SHADOW_TAG: u16 = 2;

impl<D: Dma> Golden<D> {
    /// Makes a connection of an image whose path is live.
    pub(super) fn load_conn(&mut self, header: &ImageHeader, image: &TcpRecord) -> Result<Conn, Status> {
        let path = self.paths.get(usize::from(header.parent)).and_then(Option::as_ref);
        check_image(image, path.map_or(0, |p| text_room(&p.image)))?;
        let ooo = load_ranges(image).ok_or(Status::Rejected)?;
        let pages = self.read_page_map(header.id).map_err(|DmaError| Status::HardwareFailure)?;
        let mut conn = Conn {
            id: header.id,
            rec: TcpRecord { path: header.parent, generation: header.generation, ..*image },
            ooo,
            again: None,
            limit: SeqNum(image.rcv_right),
            pages,
            is_queued: false,
            posts_to_examine: false,
            shadow_dirty: true,
            event_due: false,
            una_desc: 0,
            recent_desc: 0,
            sample: Sample::new(),
            loss: None,
            rtx_kind: TimerKind::Rto,
            tail_probe_due: false,
            last_sent_us: self.now32(),
            ecn: Ecn::default(),
        };
        conn.load_ecn();
        self.start_record(&mut conn);
        self.start_loss_recovery(&mut conn);
        self.start_timers(&mut conn, image);
        Ok(conn)
    }

    fn read_page_map(&mut self, id: u16) -> Result<[PageMapEntry; PAGE_SLOTS as usize], DmaError> {
        let bytes: [u8; PAGE_MAP_STRIDE as usize] = self.port.record(self.page_map_iova(id))?;
        let (entries, _) = bytes.as_chunks::<{ PageMapEntry::BYTES }>();
        Ok(std::array::from_fn(|i| PageMapEntry::from_bytes(&entries[i])))
    }

    /// The fields that the device sets itself, and bounds for those the arithmetic relies on.
    fn start_record(&mut self, conn: &mut Conn) {
        let (now, now_ms) = (self.now32(), self.now_ms());
        let (clock_us, bounds) = (self.clock_us(), self.rto_bounds());
        conn.clear(OWN_FLAGS);
        let r = &mut conn.rec;
        r.cached_flags &= CACHED_KEEP_ALIVE | CACHED_NAGLE;
        r.cwnd = r.cwnd.clamp(u32::from(r.eff_mss), MAX_CWND);
        r.ssthresh = r.ssthresh.min(MAX_CWND);
        r.cwnd_acc = r.cwnd_acc.min(MAX_CWND);
        r.snd_wnd = r.snd_wnd.min(MAX_CWND);
        r.max_snd_wnd = r.max_snd_wnd.clamp(r.snd_wnd, MAX_CWND);
        r.srtt_us_x8 = r.srtt_us_x8.min(MAX_SAMPLE_US << 3);
        r.rttvar_us_x4 = r.rttvar_us_x4.min(MAX_SAMPLE_US << 2);
        r.rto_us = r.rto_us.max(bounds.min_us).min(bounds.max_us);
        // the connection's timestamp clock goes on.
        r.ts_offset = timestamps::delta_for(clock_us, r.ts_offset);
        r.rtt_start_us = now.wrapping_sub(r.rtt_start_us);
        for stamp in [&mut r.ts_recent_ms, &mut r.last_rx_ms] {
            *stamp = now_ms.wrapping_sub(*stamp);
        }
        (r.durable_rcv_nxt, r.durable_rcv_right) = (r.rcv_nxt, r.rcv_right);
        (r.post_idx, r.post_off, r.post_len, r.post_flags, r.post_addr) = (0, 0, 0, 0, 0);
        (r.shadow_tag, r.upload_reason, r.timers) = (FIRST_SHADOW_TAG, 0, 0);
    }

    /// retransmit, persist, FIN_WAIT_2 and keepalive continue; what must run does.
    fn start_timers(&mut self, conn: &mut Conn, image: &TcpRecord) {
        let now = self.now32();
        let is_fin_wait_2 = conn.state() == TcpState::FinWait2;
        let may_run = conn.flight_size() > 0 || conn.has(DELEG_PERSIST) || is_fin_wait_2;
        if may_run && image.rtx_deadline != NO_TIMER {
            conn.restart_rtx(now, image.rtx_deadline);
        } else if is_fin_wait_2 {
            conn.restart_rtx(now, self.regs.get(&regs::FIN_WAIT_2_US));
        } else if may_run {
            conn.restart_rtx(now, conn.rec.rto_us);
        }
        if conn.has(DELEG_ARRIVING) {
            conn.start_timer(TIMER_DELACK, now.wrapping_add(image.delack_deadline));
        }
        if image.ka_deadline != NO_TIMER {
            conn.start_timer(TIMER_KEEP_ALIVE, self.now_ms().wrapping_add(image.ka_deadline));
        } else if conn.rec.cached_flags & CACHED_KEEP_ALIVE != 0 {
            conn.start_timer(TIMER_KEEP_ALIVE, self.now_ms().wrapping_add(conn.rec.ka_timeout_ms));
        }
    }

    /// The image of a connection as it is now.
    pub(super) fn store_conn(&self, conn: &Conn) -> TcpRecord {
        let (now, now_ms) = (self.now32(), self.now_ms());
        let mut r = conn.rec;
        r.deleg_flags &= !DELEG_POST_LOADED;
        super::loss::store(conn, &mut r, self.smss(conn));
        let (ecn, recover) = conn.ecn.store(&conn.recovery(), conn.snd_una());
        (r.ecn, r.recover) = (ecn, recover.0);
        let remaining = |timer: u8, deadline: u32, now: u32| {
            if r.timers & timer == 0 {
                return NO_TIMER;
            }
            // `as`: the signed distance on the 32-bit clock; 0 = expired.
            (deadline.wrapping_sub(now) as i32).max(0) as u32
        };
        let waits = conn.flight_size() > 0 && !conn.has(DELEG_PERSIST);
        r.rtx_deadline = match conn.rtx_kind {
            // The new owner's is a timeout, which takes the window away.
            TimerKind::Probe | TimerKind::Reorder if conn.timer_runs(TIMER_RTX) && waits => r.rto_us,
            _ => remaining(TIMER_RTX, r.rtx_deadline, now),
        };
        // In CLOSED no timer runs, also after an update.
        let is_closed = conn.state() == TcpState::Closed;
        r.ka_deadline = if is_closed { NO_TIMER } else { remaining(TIMER_KEEP_ALIVE, r.ka_deadline, now_ms) };
        (r.delack_deadline, r.push_deadline, r.timers) = (NO_TIMER, NO_TIMER, 0);
        r.ts_offset = timestamps::clock(self.clock_us(), r.ts_offset);
        r.rtt_start_us = now.wrapping_sub(r.rtt_start_us);
        for stamp in [&mut r.ts_recent_ms, &mut r.last_rx_ms] {
            *stamp = now_ms.wrapping_sub(*stamp);
        }
        store_ranges(conn, &mut r);
        r
    }
}

/// R-066 and what the engine relies on: refuse rather than guess.
fn check_image(r: &TcpRecord, room: u16) -> Result<(), Status> {
    let seq = |from: u32, to: u32| SeqNum(to) - SeqNum(from);
    let state_ok = TcpState::try_from(r.tcp_state).is_ok_and(TcpState::may_offload);
    let rings_ok = (1..=15).contains(&r.send_ring_log2) && (1..=15).contains(&r.recv_ring_log2);
    let entries_ok = u32::from(r.send_producer) <= 1 << r.send_ring_log2.min(15)
        && u32::from(r.recv_producer) <= 1 << r.recv_ring_log2.min(15);
    let shifts_ok = r.snd_wind_shift.max(r.rcv_wind_shift) <= MAX_WINDOW_SHIFT;
    let mss_ok = (1..=room).contains(&r.eff_mss);
    let max = seq(r.snd_una, r.snd_max);
    // One more than the limit for a FIN, if it was sent.
    let is_fin_sent = r.deleg_flags & DELEG_FIN_SENT != 0;
    let posted = seq(r.snd_una, r.snd_limit).wrapping_add(is_fin_sent.into());
    let order_ok = seq(r.snd_una, r.snd_nxt) <= max
        && max <= posted
        && posted <= MAX_POSTED
        && seq(r.snd_una, r.snd_limit).wrapping_add(1) <= MAX_POSTED;
    let phase_ok = Phase::try_from(r.phase).is_ok();
    let ok = state_ok && rings_ok && entries_ok && shifts_ok && mss_ok && order_ok && phase_ok;
    if !ok || load_ranges(r).is_none() {
        return Err(Status::Rejected);
    }
    if seq(r.rcv_nxt, r.rcv_right) > MAX_RCV_WINDOW {
        return Err(Status::TcpRcvWindow);
    }
    Ok(())
}

/// The ranges of an image: those in use first, sorted, apart, inside the window; `None` if they are not.
fn load_ranges(r: &TcpRecord) -> Option<RangeList> {
    let pairs = [
        (r.ooo0_start, r.ooo0_end),
        (r.ooo1_start, r.ooo1_end),
        (r.ooo2_start, r.ooo2_end),
        (r.ooo3_start, r.ooo3_end),
    ];
    let mut ranges = Vec::new();
    let (mut floor, mut is_last) = (r.rcv_nxt, false);
    for (start, end) in pairs {
        let range = SeqRange { start: SeqNum(start), end: SeqNum(end) };
        if range.is_empty() {
            is_last = true;
            continue;
        }
        if is_last {
            return None;
        }
        let window = SeqNum(r.rcv_right) - SeqNum(floor);
        let offset = range.start - SeqNum(floor);
        if offset == 0 || offset > window || range.len() > window - offset {
            return None;
        }
        floor = end;
        ranges.push(range);
    }
    // Most recently changed first (RFC 2018 4).
    let recent = usize::from(r.ooo_recent);
    if recent < ranges.len() {
        ranges[..=recent].rotate_right(1);
    }
    Some(RangeList::from_recent_first(&ranges))
}

fn store_ranges(conn: &Conn, r: &mut TcpRecord) {
    let ranges = conn.ooo.as_slice();
    let pair = |i: usize| ranges.get(i).map_or((0, 0), |range| (range.start.0, range.end.0));
    (r.ooo0_start, r.ooo0_end) = pair(0);
    (r.ooo1_start, r.ooo1_end) = pair(1);
    (r.ooo2_start, r.ooo2_end) = pair(2);
    (r.ooo3_start, r.ooo3_end) = pair(3);
    let recent = conn.ooo.recent_first().next();
    // `as`: at most four ranges.
    r.ooo_recent = ranges.iter().position(|range| Some(*range) == recent).unwrap_or(0) as u8;
}
