//! The connection record (transmission control block), with RFC names, and the application's calls.

use super::buffers::SendBuffer;
use super::reassembly::ReceiveBuffer;
use super::timers::Timers;
use chimney_abi::cmd::TcpState;
use chimney_abi::desc::MAX_RCV_WINDOW;
use chimney_abi::wire::tcp as w;
use chimney_abi::{regs, SeqNum};
use chimney_host_stack_core::ack::SendVars;
use chimney_host_stack_core::congestion::{Algorithm, Control};
use chimney_host_stack_core::cwnd::Cwnd;
use chimney_host_stack_core::ecn::Ecn;
use chimney_host_stack_core::loss_recovery::{LossRecovery, TimerKind};
use chimney_host_stack_core::options::TcpOptions;
use chimney_host_stack_core::ranges::SeqRange;
use chimney_host_stack_core::recovery::Recovery;
use chimney_host_stack_core::rtt::{RtoBounds, Rtt, RttTimer};
use chimney_host_stack_core::timestamps::TsRecent;
use chimney_host_stack_core::window;
use std::net::SocketAddr;

/// What names a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FourTuple {
    /// Our end.
    pub local: SocketAddr,
    /// The peer's end.
    pub remote: SocketAddr,
}

/// Bytes that may be kept beyond the configured receive buffer, for the creep of rounded windows (see
/// [`window`]).
pub const CAPACITY_SLACK: u32 = 4096;

/// Settings of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpConfig {
    /// Receive buffer, bytes. The default stays within what a target can promise: a window that was
    /// advertised cannot be taken back, so a connection with a larger one is refused with `TcpRcvWindow` (spec 17.2).
    pub receive_capacity: u32,
    /// Send buffer, bytes.
    pub send_capacity: u32,
    /// Smallest MSS of a peer that is honoured; below the default an option may leave no room for text.
    pub min_mss: u16,
    /// Nagle's algorithm.
    pub is_nagle: bool,
    /// Keepalive: idle time before the first probe, microseconds; `None` = off.
    pub keep_alive_us: Option<u64>,
    /// Time between keepalive probes without answer, microseconds.
    pub keep_alive_interval_us: u64,
    /// Keepalive probes without answer before the connection is dead.
    pub keep_alive_probes: u8,
    /// Retransmissions of one segment before the connection is dead.
    pub max_retransmissions: u8,
    /// Retransmissions of a SYN before the attempt fails.
    pub max_syn_retransmissions: u8,
    /// Twice the maximum segment lifetime, microseconds.
    pub time_wait_us: u64,
    /// FIN_WAIT_2 time-out, microseconds.
    pub fin_wait_2_us: u64,
    /// Delayed-ACK time, microseconds.
    pub delayed_ack_us: u64,
    /// Bounds of the RTO.
    pub rto: RtoBounds,
    /// Congestion control of connections with SACK.
    pub congestion: Algorithm,
    /// Classic ECN (RFC 3168), if the peer agrees.
    pub is_ecn: bool,
}

impl Default for TcpConfig {
    fn default() -> TcpConfig {
        TcpConfig {
            receive_capacity: MAX_RCV_WINDOW - CAPACITY_SLACK,
            send_capacity: 256 * 1024,
            min_mss: w::MIN_MSS,
            is_nagle: true,
            keep_alive_us: None,
            keep_alive_interval_us: 1_000_000,
            keep_alive_probes: 10,
            max_retransmissions: 15,
            max_syn_retransmissions: 6,
            time_wait_us: 60_000_000,
            fin_wait_2_us: u64::from(regs::FIN_WAIT_2_US.reset),
            delayed_ack_us: u64::from(regs::DELAYED_ACK_US.reset),
            rto: RtoBounds::default(),
            congestion: Algorithm::default(),
            is_ecn: false,
        }
    }
}

/// What both sides agreed on in their SYNs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// Shift of the windows that the peer advertises.
    pub snd_wind_shift: u8,
    /// Shift of the windows that we advertise.
    pub rcv_wind_shift: u8,
    /// Window scaling is on.
    pub has_window_scaling: bool,
    /// Timestamps in every segment.
    pub has_timestamps: bool,
    /// SACK.
    pub has_sack: bool,
    /// MSS that the peer sent.
    pub remote_mss: u16,
}

/// Things that the next call of `next_segment` has to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Owed {
    /// A SYN (again).
    pub syn: bool,
    /// An acknowledgment.
    pub ack: bool,
    /// The segment at SND.UNA (fast retransmit, partial ACK).
    pub first: bool,
    /// A window or keepalive probe.
    pub probe: bool,
    /// A tail loss probe (RFC 8985 7.3).
    pub tail_probe: bool,
    /// Whatever the window takes, however small (the SWS override of RFC 9293 3.8.6.2.1).
    pub small: bool,
    /// With the acknowledgment: text that had arrived before, whole (RFC 2883).
    pub again: Option<SeqRange>,
}

impl Owed {
    /// True if anything is owed.
    #[must_use]
    pub fn any(&self) -> bool {
        *self != Owed::default()
    }
}

/// Why a connection ended without both FINs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectionError {
    /// The peer answered the SYN with an RST.
    #[error("connection refused by the peer")]
    Refused,
    /// The peer sent an RST.
    #[error("connection reset by the peer")]
    Reset,
    /// Nobody answered.
    #[error("connection timed out")]
    TimedOut,
    /// The application aborted it.
    #[error("connection aborted")]
    Aborted,
}

/// Per-connection counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct TcpStats {
    /// Segments received.
    pub segments_in: u64,
    /// Segments sent.
    pub segments_out: u64,
    /// Bytes of text sent, repeated ones included.
    pub bytes_out: u64,
    /// Segments with text or FIN sent again.
    pub retransmits: u64,
    /// Retransmission time-outs.
    pub timeouts: u64,
    /// Fast retransmits.
    pub fast_retransmits: u64,
    /// Segments with out-of-order text kept.
    pub out_of_order: u64,
    /// Segments that were not acceptable, or brought nothing new.
    pub unacceptable: u64,
    /// Segments dropped for want of a range.
    pub no_range: u64,
}

/// One connection, complete.
#[derive(Clone, Debug)]
pub struct Tcb {
    /// State.
    pub state: TcpState,
    /// Both ends.
    pub tuple: FourTuple,
    /// Settings.
    pub config: TcpConfig,
    /// Options in force; wishes before the SYNs crossed.
    pub negotiated: Negotiated,
    /// MSS that we advertise.
    pub local_mss: u16,
    /// Bytes of text per segment.
    pub eff_mss: u32,
    /// Our initial sequence number.
    pub iss: SeqNum,
    /// Send sequence variables.
    pub snd: SendVars,
    /// Bytes to send.
    pub send: SendBuffer,
    /// Next number expected.
    pub rcv_nxt: SeqNum,
    /// Right edge of the window as the peer knows it.
    pub rcv_right: SeqNum,
    /// Acknowledgment number of the last segment sent.
    pub last_ack_sent: SeqNum,
    /// Bytes received.
    pub receive: ReceiveBuffer,
    /// Where the peer's FIN stands, once seen.
    pub peer_fin: Option<SeqNum>,
    /// In-order bytes not acknowledged yet.
    pub unacked_bytes: u32,
    /// Largest segment seen from the peer.
    pub rmss: u32,
    /// Round-trip time.
    pub rtt: Rtt,
    /// The running measurement.
    pub rtt_timer: RttTimer,
    /// Congestion window.
    pub cw: Cwnd,
    /// Loss recovery.
    pub recovery: Recovery,
    /// Loss recovery with SACK; unused without.
    pub loss: LossRecovery,
    /// What the retransmit deadline is for, with SACK.
    pub rtx_kind: TimerKind,
    /// Congestion marks.
    pub ecn: Ecn,
    /// Timestamp to echo.
    pub ts_recent: TsRecent,
    /// Our timestamp clock less our time.
    pub ts_delta: u32,
    /// Flow label of our packets (IPv6).
    pub flow_label: u32,
    /// Deadlines.
    pub timers: Timers,
    /// What must be sent.
    pub owed: Owed,
    /// Retransmissions of the current segment or probe.
    pub retransmit_count: u8,
    /// Persist round.
    pub probe_round: u8,
    /// Unanswered keepalive probes.
    pub ka_probes: u8,
    /// Doublings of the timeout that outlive the segment they were made for, until the next sample.
    pub kept_back_off: u8,
    /// Time spent retransmitting the current segment, microseconds.
    pub total_rt_us: u64,
    /// When text was last sent.
    pub last_sent_us: u64,
    /// When an acceptable segment was last received.
    pub last_rx_us: u64,
    /// When an unacceptable segment was last answered.
    pub challenge_us: Option<u64>,
    /// Opened by a SYN of the peer.
    pub is_passive: bool,
    /// Nobody will read any more.
    pub is_detached: bool,
    /// Why it ended.
    pub error: Option<ConnectionError>,
    /// Counters.
    pub stats: TcpStats,
}

/// What a new connection starts from.
#[derive(Clone, Copy, Debug)]
pub struct Opening {
    /// Both ends.
    pub tuple: FourTuple,
    /// Settings.
    pub config: TcpConfig,
    /// Our initial sequence number.
    pub iss: SeqNum,
    /// Start of our timestamp clock.
    pub ts_delta: u32,
    /// Flow label of our packets (IPv6).
    pub flow_label: u32,
    /// MSS that we advertise.
    pub local_mss: u16,
}

/// The MSS of a peer that sends none (RFC 9293 3.7.1).
fn default_mss(tuple: &FourTuple) -> u16 {
    if tuple.remote.is_ipv4() {
        w::DEFAULT_MSS_IPV4
    } else {
        w::DEFAULT_MSS_IPV6
    }
}

impl Tcb {
    /// Active open: SYN-SENT, a SYN is owed (RFC 9293 3.10.1).
    #[must_use]
    pub fn connect(opening: &Opening) -> Tcb {
        let mut tcb = Tcb::new(opening);
        tcb.state = TcpState::SynSent;
        tcb.owed.syn = true;
        tcb
    }

    fn new(opening: &Opening) -> Tcb {
        let Opening { tuple, config, iss, ts_delta, flow_label, local_mss } = *opening;
        let default_mss = default_mss(&tuple);
        let snd = SendVars { snd_una: iss, snd_nxt: iss, snd_max: iss, ..SendVars::default() };
        Tcb {
            state: TcpState::Closed,
            tuple,
            config,
            negotiated: Negotiated {
                snd_wind_shift: 0,
                rcv_wind_shift: window::shift_for(config.receive_capacity),
                has_window_scaling: true,
                has_timestamps: true,
                has_sack: true,
                remote_mss: default_mss,
            },
            local_mss,
            eff_mss: u32::from(default_mss),
            iss,
            snd,
            send: SendBuffer::new(iss + 1, config.send_capacity as usize),
            rcv_nxt: SeqNum(0),
            rcv_right: SeqNum(0),
            last_ack_sent: SeqNum(0),
            receive: ReceiveBuffer::new(config.receive_capacity),
            peer_fin: None,
            unacked_bytes: 0,
            rmss: u32::from(default_mss),
            rtt: Rtt::default(),
            rtt_timer: RttTimer::default(),
            cw: Cwnd::default(),
            recovery: Recovery::new(iss),
            loss: LossRecovery::new(&snd, Control::new(config.congestion)),
            rtx_kind: TimerKind::Rto,
            ecn: Ecn::default(),
            ts_recent: TsRecent::default(),
            ts_delta,
            flow_label,
            timers: Timers::default(),
            owed: Owed::default(),
            retransmit_count: 0,
            probe_round: 0,
            ka_probes: 0,
            kept_back_off: 0,
            total_rt_us: 0,
            last_sent_us: 0,
            last_rx_us: 0,
            challenge_us: None,
            is_passive: false,
            is_detached: false,
            error: None,
            stats: TcpStats::default(),
        }
    }

    /// Passive open: a SYN arrived; SYN-RECEIVED, a SYN-ACK is owed (RFC 9293 3.10.7.2).
    #[must_use]
    pub fn accept(opening: &Opening, now_us: u64, syn: &crate::wire::tcp::TcpSegment<'_>) -> Tcb {
        let mut tcb = Tcb::new(opening);
        tcb.is_passive = true;
        tcb.state = TcpState::SynRcvd;
        tcb.take_syn(now_us, syn);
        tcb.owed.syn = true;
        tcb
    }

    /// Takes the peer's SYN: sequence number, window, options.
    pub(super) fn take_syn(&mut self, now_us: u64, syn: &crate::wire::tcp::TcpSegment<'_>) {
        self.rcv_nxt = syn.seq + 1;
        self.last_ack_sent = self.rcv_nxt;
        // A SYN's window cannot be scaled, so neither can the first promise.
        self.rcv_right = self.rcv_nxt + self.receive.capacity().min(0xFFFF);
        self.snd.snd_wnd = u32::from(syn.window);
        self.snd.max_snd_wnd = self.snd.snd_wnd;
        self.snd.snd_wl1 = syn.seq;
        self.snd.snd_wl2 = self.snd.snd_una;
        self.last_rx_us = now_us;
        self.ecn.is_on = self.config.is_ecn && Ecn::is_setup(syn.flags);
        self.negotiate(now_us, &syn.options);
    }

    /// RFC 7323 2.2 and 3.2, RFC 2018 2: an option is in force if both SYNs carry it.
    fn negotiate(&mut self, now_us: u64, options: &TcpOptions) {
        let n = &mut self.negotiated;
        n.remote_mss = options.mss.unwrap_or(default_mss(&self.tuple));
        match options.wind_shift {
            Some(shift) => n.snd_wind_shift = shift.min(w::MAX_WINDOW_SHIFT),
            None => {
                n.rcv_wind_shift = 0;
                n.has_window_scaling = false;
            }
        }
        n.has_sack &= options.sack_permitted;
        match options.timestamps {
            Some(ts) => self.ts_recent = TsRecent { val: ts.val, taken_us: now_us },
            None => n.has_timestamps = false,
        }
        let overhead = if n.has_timestamps { w::TIMESTAMPS_PADDED_LEN as u32 } else { 0 };
        let mss = u32::from(n.remote_mss.max(self.config.min_mss).min(self.local_mss));
        self.set_eff_mss(mss.saturating_sub(overhead).max(1));
        self.cw = Cwnd::new(self.eff_mss);
        self.rmss = self.eff_mss;
    }

    /// Sets the bytes of text per segment (also when the path MTU changed).
    pub fn set_eff_mss(&mut self, eff_mss: u32) {
        self.eff_mss = eff_mss;
    }

    /// The receive window that is promised.
    #[must_use]
    pub fn rcv_wnd(&self) -> u32 {
        self.rcv_right - self.rcv_nxt
    }

    /// True once our FIN was sent.
    #[must_use]
    pub fn is_fin_sent(&self) -> bool {
        self.send.is_closed() && self.snd.snd_max.after(self.send.end())
    }

    /// True while the peer may still send text.
    #[must_use]
    pub fn may_receive(&self) -> bool {
        matches!(self.state, TcpState::Established | TcpState::FinWait1 | TcpState::FinWait2)
    }

    /// Queues bytes; returns how many there was room for.
    pub fn push(&mut self, bytes: &[u8]) -> usize {
        self.send.push(bytes)
    }

    /// Reads in-order bytes; the window may open.
    pub fn read(&mut self, out: &mut [u8]) -> usize {
        let count = self.receive.read(out);
        if count > 0 && self.may_receive() {
            let (free, capacity) = (self.receive.free(), self.receive.capacity());
            let edge = window::right_edge(self.rcv_nxt, self.rcv_right, free, capacity, self.rmss);
            self.owed.ack |= window::update_due(self.rcv_nxt, self.rcv_right, edge, capacity, self.rmss);
        }
        count
    }

    /// Closes our half: a FIN follows what is queued (RFC 9293 3.10.4).
    pub fn shutdown(&mut self) {
        self.send.close();
        if self.state == TcpState::SynSent {
            self.finish(None);
        }
    }

    /// Ends the connection here, with a reason or (both FINs exchanged) without.
    pub(super) fn finish(&mut self, error: Option<ConnectionError>) {
        self.state = TcpState::Closed;
        self.error = self.error.or(error);
        self.timers = Timers::default();
        self.owed = Owed::default();
    }
}
