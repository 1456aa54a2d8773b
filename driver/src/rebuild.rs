//! Law L2: a connection from host memory alone, after the device was lost (guide section 11).
//!
//! Known for certain: what is durable (`rcv_nxt`, right edge), what the peer acknowledged, the bytes of both directions.
//! Everything else restarts conservatively: nothing that the peer could take for a step back.

use chimney_abi::cmd::{Phase as Recovery, TcpState};
use chimney_abi::desc::{Shadow, SHADOW_PEER_FIN};
use chimney_abi::offload::{OffloadClient, TcpBlockState};
use chimney_abi::state::{self, TcpRecord, NO_TIMER};
use chimney_abi::SeqNum;

use crate::bus::DmaMemory;
use crate::conn::{Close, Conn, Shared};
use crate::error::ConnFault;
use crate::record;
use crate::shadow::Progress;

/// RFC 6298 2.1: the time-out before any round trip was measured, microseconds.
const FIRST_RTO_US: u32 = 1_000_000;
/// Segments in the first flight: the loss of the device says nothing about the path, but its state is unknown.
const RESTART_SEGMENTS: u32 = 4;
/// Added to TSval, so that it cannot step back if the device's clock was ahead, milliseconds.
const TS_MARGIN_MS: u64 = 10;

impl<M: DmaMemory> Conn<M> {
    /// True if the device had started the connection: its first act is a shadow record.
    pub fn was_started(&mut self) -> bool {
        self.news();
        self.shadow.is_some()
    }

    /// Everything that the image counts is in host memory. A write that the bus refused is known by its response only; the
    /// shadow record behind it may have told of text that is not there, but the peer was told nothing (law L2).
    ///
    /// # Errors
    /// [`ConnFault::NotInMemory`].
    pub fn is_in_memory(&self, r: &TcpRecord) -> Result<(), ConnFault> {
        let (durable, rcv_nxt) = (r.durable_rcv_nxt, r.rcv_nxt);
        if durable == rcv_nxt {
            Ok(())
        } else {
            Err(ConnFault::NotInMemory { durable, rcv_nxt })
        }
    }

    /// The last shadow record counts nothing that the image knows to be missing: what it says can be built upon, and the peer sends the
    /// rest again.
    pub fn may_rebuild(&mut self, r: &TcpRecord) -> bool {
        self.news();
        let last = self.shadow.map_or(self.record.rcv_nxt, |last| last.rcv_nxt);
        !SeqNum(last).after(SeqNum(r.durable_rcv_nxt))
    }

    /// State and data from host memory; completes everything outstanding.
    ///
    /// # Errors
    /// A [`ConnFault`] when the last shadow record cannot be true.
    pub fn rebuild(
        &mut self,
        now_us: u64,
        shared: &mut Shared<M>,
        client: &mut dyn OffloadClient,
    ) -> Result<TcpBlockState, ConnFault> {
        self.news();
        let (progress, record) = match self.shadow {
            Some(last) => (Progress::from(&last), self.rebuilt_record(&last, now_us)),
            None => {
                let untouched = record::up(self.record);
                (Progress::from(&untouched), untouched)
            }
        };
        self.hand_back(record, &progress, shared, client)
    }

    fn rebuilt_record(&self, last: &Shadow, now_us: u64) -> TcpRecord {
        let mut r = self.record;
        self.rebuild_receive(&mut r, last);
        self.rebuild_send(&mut r, last);
        // The record was taken at `since_us`; TSval counts milliseconds.
        let elapsed_us = now_us.saturating_sub(self.since_us);
        let elapsed_ms = elapsed_us / 1000 + TS_MARGIN_MS;
        r.ts_offset = r.ts_offset.wrapping_add(elapsed_ms as u32); // TSval is a number modulo 2^32
        let age_ms = u32::try_from(elapsed_us / 1000).unwrap_or(u32::MAX);
        r.ts_recent_ms = r.ts_recent_ms.saturating_add(age_ms);
        r.last_rx_ms = 0;
        r.ka_deadline =
            if r.cached_flags & state::CACHED_KEEP_ALIVE != 0 { r.ka_timeout_ms } else { NO_TIMER };
        r
    }

    fn rebuild_receive(&self, r: &mut TcpRecord, last: &Shadow) {
        (r.rcv_nxt, r.last_ack_sent) = (last.rcv_nxt, last.rcv_nxt);
        // L3: a limit that was rung may have been advertised.
        r.rcv_right = SeqNum(last.rcv_right).later(SeqNum(self.recv.limit())).0;
        r.adv_right = r.rcv_right;
        r.deleg_flags = state::DELEG_ACK_NOW;
        if last.flags & SHADOW_PEER_FIN != 0 {
            r.deleg_flags |= state::DELEG_PEER_FIN;
        }
        record::set_ranges(r, [(last.rcv_nxt, last.rcv_nxt); 4]); // never acknowledged cumulatively
        (r.ack_pending, r.ooo_recent) = (0, 0);
    }

    fn rebuild_send(&self, r: &mut TcpRecord, last: &Shadow) {
        let fin_told = self.close == Close::Told;
        let fin_open = fin_told && !Progress::from(last).fin_acked;
        // Everything the device was told of may have been sent, so its acknowledgment must be acceptable.
        let sent = SeqNum(self.send.limit()) + u32::from(fin_told);
        (r.snd_una, r.snd_nxt) = (last.snd_una, last.snd_una);
        r.snd_max = SeqNum(last.snd_max).later(sent).0;
        r.tcp_state = last_state(last, fin_open).code();
        if fin_told {
            r.deleg_flags |= state::DELEG_FIN_POSTED | state::DELEG_FIN_SENT;
        }
        r.snd_wnd = u32::from(last.snd_wnd) << r.snd_wind_shift;
        r.max_snd_wnd = r.max_snd_wnd.max(r.snd_wnd);
        // The next acceptable segment updates the window (RFC 9293 3.10.7.4).
        (r.snd_wl1, r.snd_wl2) = (last.rcv_nxt.wrapping_sub(1), last.snd_una);
        let mss = u32::from(r.eff_mss);
        (r.cwnd, r.cwnd_acc) = (RESTART_SEGMENTS * mss, 0);
        r.ssthresh = r.ssthresh.max(2 * mss);
        (r.phase, r.recover, r.dup_acks) = (Recovery::Open.code(), last.snd_una, 0);
        // A mark that nobody echoes is followed by another, if the path is still full.
        r.ecn = 0;
        (r.srtt_us_x8, r.rttvar_us_x4, r.rto_us) = (0, 0, FIRST_RTO_US);
        (r.total_rt_us, r.retransmit_count, r.probe_round, r.ka_probes) = (0, 0, 0, 0);
        r.rtx_deadline = if r.snd_max == r.snd_una { NO_TIMER } else { FIRST_RTO_US };
    }
}

/// The state of the record, moved on if our FIN may have been sent after it.
fn last_state(last: &Shadow, fin_open: bool) -> TcpState {
    let seen = TcpState::try_from(last.state & 0xf).unwrap_or(TcpState::Established);
    match (seen, fin_open) {
        (TcpState::Established, true) => TcpState::FinWait1,
        (TcpState::CloseWait, true) => TcpState::LastAck,
        _ => seen,
    }
}
