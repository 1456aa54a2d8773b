//! State images: what moves at an offload, an update, a query and an upload.
//!
//! A command names an array of images, `IMAGE_STRIDE` bytes each: a header, then a body by
//! `kind`. Order in the array is the order of processing: a neighbor before its paths, a path
//! before its connections. The device writes `status` into every header; for query and
//! terminate it also writes the body.
//!
//! The TCP body, [`TcpRecord`], *is* the device's connection record: 288 bytes in block RAM,
//! loaded and stored beat by beat. Times inside the device are absolute microseconds of its
//! 32-bit clock; in an image every `*_deadline` is a signed remaining time, see [`NO_TIMER`].

/// Distance between images in an array, bytes.
pub const IMAGE_STRIDE: u32 = 320;
/// Bytes of an image header.
pub const HEADER_BYTES: u32 = 16;
/// Image layout revision.
pub const IMAGE_REVISION: u16 = 1;
/// A deadline field of an image: timer not running. 0 = expired, else microseconds left.
pub const NO_TIMER: u32 = u32::MAX;
/// `max_rt_us`: retransmit without limit.
pub const MAX_RT_UNLIMITED: u32 = u32::MAX;

/// [`NeighborImage::flags`]: LLC/SNAP (RFC 1042) in the frames sent, instead of Ethernet II.
pub const NEIGHBOR_LLC_SNAP: u16 = 1;
/// [`PathImage::flags`]: the addresses are IPv6 (spec 4.3: the family is in the type of the block).
pub const PATH_IPV6: u16 = 1;

/// [`TcpRecord::const_flags`]: a timestamp in every segment.
pub const CONST_TIMESTAMPS: u16 = 1;
/// [`TcpRecord::const_flags`]: SACK negotiated.
pub const CONST_SACK: u16 = 2;
/// [`TcpRecord::const_flags`]: window scaling negotiated.
pub const CONST_WINDOW_SCALING: u16 = 4;
/// [`TcpRecord::const_flags`]: IPv6 connection; agrees with [`PATH_IPV6`] of its path.
pub const CONST_IPV6: u16 = 8;

/// [`TcpRecord::const_flags`]: congestion control is NewReno (RFC 5681). Without it a connection with [`CONST_SACK`] has CUBIC
/// (RFC 9438); one without SACK has NewReno always.
pub const CONST_NEWRENO: u16 = 16;
/// [`TcpRecord::const_flags`]: classic ECN negotiated (RFC 3168). The two low bits of [`TcpRecord::tos`] are then the device's.
pub const CONST_ECN: u16 = 32;

/// [`TcpRecord::ecn`], receiver: a mark of the peer's text is not answered by CWR yet, every segment carries ECE.
pub const ECN_ECHO: u8 = 1;
/// [`TcpRecord::ecn`], sender: the next segment with new text carries CWR.
pub const ECN_CWR: u8 = 2;
/// [`TcpRecord::ecn`], sender: the window was reduced, and no mark reduces it again until `snd_una` is beyond `recover`.
pub const ECN_REDUCED: u8 = 4;

/// [`TcpRecord::cached_flags`]: keepalive enabled.
pub const CACHED_KEEP_ALIVE: u16 = 1;
/// [`TcpRecord::cached_flags`]: Nagle on.
pub const CACHED_NAGLE: u16 = 2;
/// [`TcpRecord::cached_flags`] of an update: restart keepalive.
pub const CACHED_KEEP_ALIVE_RESTART: u16 = 4;
/// [`TcpRecord::cached_flags`] of an update: zero `total_rt_us`.
pub const CACHED_MAX_RT_RESTART: u16 = 8;
/// [`TcpRecord::cached_flags`] of an update: `initial_rcv_wnd` changed.
pub const CACHED_UPDATE_RCV_WND: u16 = 16;

/// [`TcpRecord::deleg_flags`]: the host has closed its half; a FIN follows `snd_limit`.
pub const DELEG_FIN_POSTED: u16 = 1;
/// [`TcpRecord::deleg_flags`]: our FIN was sent at least once.
pub const DELEG_FIN_SENT: u16 = 2;
/// [`TcpRecord::deleg_flags`]: the peer's FIN is counted in `rcv_nxt`.
pub const DELEG_PEER_FIN: u16 = 4;
/// [`TcpRecord::deleg_flags`]: aborted by an acceptable RST or an abort command.
pub const DELEG_ABORTED: u16 = 8;
/// [`TcpRecord::deleg_flags`]: an upload was requested and processing has stopped.
pub const DELEG_STOPPED: u16 = 16;
/// [`TcpRecord::deleg_flags`]: invalidated, do not send.
pub const DELEG_INVALID: u16 = 32;
/// [`TcpRecord::deleg_flags`]: engine is in pool mode.
pub const DELEG_POOL_MODE: u16 = 64;
/// [`TcpRecord::deleg_flags`]: an acknowledgment is owed and due now.
pub const DELEG_ACK_NOW: u16 = 128;
/// [`TcpRecord::deleg_flags`]: a round trip is being timed (`rtt_seq`, `rtt_start_us`).
pub const DELEG_RTT_RUNNING: u16 = 256;
/// [`TcpRecord::deleg_flags`]: `rtx_deadline` is a persist deadline (peer window zero).
pub const DELEG_PERSIST: u16 = 512;
/// [`TcpRecord::deleg_flags`]: a retransmission of `snd_una` is due (fast retransmit, partial ACK).
pub const DELEG_RETRANSMIT: u16 = 1024;
/// [`TcpRecord::deleg_flags`]: a post is loaded in `post_addr`, `post_len`, `post_flags`. The device's own, never set in an image.
pub const DELEG_POST_LOADED: u16 = 2048;
/// [`TcpRecord::deleg_flags`]: a window probe or keepalive probe is due.
pub const DELEG_PROBE: u16 = 4096;
/// [`TcpRecord::deleg_flags`]: a challenge ACK was sent since the last acceptable segment; no other one until then.
pub const DELEG_CHALLENGED: u16 = 8192;
/// [`TcpRecord::deleg_flags`]: just handed over: segments that the host holds are still on their way, so what overtook
/// them is not reported missing. Ends when nothing is missing any more, or with `delack_deadline`.
pub const DELEG_ARRIVING: u16 = 16384;

/// [`TcpRecord::timers`]: `rtx_deadline` runs.
pub const TIMER_RTX: u8 = 1;
/// [`TcpRecord::timers`]: `delack_deadline` runs.
pub const TIMER_DELACK: u8 = 2;
/// [`TcpRecord::timers`]: `push_deadline` runs.
pub const TIMER_PUSH: u8 = 4;
/// [`TcpRecord::timers`]: `ka_deadline` runs.
pub const TIMER_KEEP_ALIVE: u8 = 8;

/// Fields of an image header.
#[macro_export]
macro_rules! image_header_fields {
    ($user:path) => {
        $user! {
            /// First 16 bytes of every image.
            ImageHeader, 128 bits;
            /// [`ImageKind`](chimney_abi::cmd::ImageKind).
            kind: 8, u8;
            /// [`Status`](chimney_abi::cmd::Status), written by the device.
            status: 8, u8;
            /// Index of the object in its table: connection id, path id, neighbor id. Chosen by the driver.
            id: 16, u16;
            /// Index of the parent: a connection's path, a path's neighbor.
            parent: 16, u16;
            /// Generation of the object, 1 to 255; a stale one is refused (law L1).
            generation: 8, u8;
            /// Generation of the parent.
            parent_generation: 8, u8;
            /// Length of header and body, bytes.
            length: 16, u16;
            /// `IMAGE_REVISION`.
            revision: 16, u16;
            /// The host's handle, for logs.
            host_handle: 32, u32;
        }
    };
}

/// Fields of a neighbor body.
#[macro_export]
macro_rules! neighbor_fields {
    ($user:path) => {
        $user! {
            /// Neighbor object (spec 4.2). MAC addresses: first byte on the wire in bits 7:0.
            NeighborImage, 192 bits;
            /// CACHED: next hop's MAC.
            dst_mac: 48, u64;
            /// CONST: VLAN id, 0 = not significant.
            vlan: 16, u16;
            /// CONST: source MAC, 0 = the interface's own.
            src_mac: 48, u64;
            /// CACHED: `NEIGHBOR_*`.
            flags: 16, u16;
            /// CACHED: age of the host's reachability confirmation, milliseconds; the device stores it and no more.
            host_reachability_ms: 32, u32;
            /// DELEGATED: age of the target's confirmation, milliseconds; the driver keeps it, the device stores what it is given.
            nic_reachability_ms: 32, u32;
        }
    };
}

/// Fields of a path body.
#[macro_export]
macro_rules! path_fields {
    ($user:path) => {
        $user! {
            /// Path object (spec 4.3). Addresses: first byte on the wire in bits 7:0; IPv4 in the low 32 bits.
            PathImage, 320 bits;
            /// CONST: local address, bytes 0 to 7.
            src_ip_lo: 64, u64;
            /// CONST: local address, bytes 8 to 15 (IPv6).
            src_ip_hi: 64, u64;
            /// CONST: remote address, bytes 0 to 7.
            dst_ip_lo: 64, u64;
            /// CONST: remote address, bytes 8 to 15 (IPv6).
            dst_ip_hi: 64, u64;
            /// CACHED: path MTU, bytes.
            mtu: 16, u16;
            /// DELEGATED: first IP ID of this path's half of the space.
            ip_id_start: 16, u16;
            /// DELEGATED: packets sent; next ID = start + (counter mod 32768).
            ip_id_counter: 16, u16;
            /// CONST: `PATH_*`.
            flags: 16, u16;
        }
    };
}

/// Fields of the TCP record.
#[macro_export]
macro_rules! tcp_record_fields {
    ($user:path) => {
        $user! {
            /// TCP object (spec 4.4 to 4.6) and connection record of the engine, 288 bytes.
            TcpRecord, 2304 bits;
            /// CONST: local port, host order.
            local_port: 16, u16;
            /// CONST: remote port, host order.
            remote_port: 16, u16;
            /// CONST: `CONST_*`.
            const_flags: 16, u16;
            /// CONST: shift for windows the peer advertises, 0 to 14.
            snd_wind_shift: 8, u8;
            /// CONST: shift for windows we advertise, 0 to 14.
            rcv_wind_shift: 8, u8;
            /// CONST: payload bytes per segment: min(remote MSS, path MTU - IP and TCP header) - length of options on every segment.
            eff_mss: 16, u16;
            /// Path id (set by the device from the header).
            path: 16, u16;
            /// CONST: RSS hash, unused.
            hash: 32, u32;
            /// CACHED: `CACHED_*`.
            cached_flags: 16, u16;
            /// CACHED: IPv4 TTL or IPv6 hop limit.
            ttl: 8, u8;
            /// CACHED: DSCP and ECN byte.
            tos: 8, u8;
            /// CACHED: keepalive probes before the connection is dead.
            ka_probe_count: 8, u8;
            /// CACHED: 802.1p priority.
            user_priority: 8, u8;
            /// Retransmissions before TimeoutExpiration when `max_rt_us` is 0.
            max_retransmissions: 8, u8;
            /// Generation of the object (set by the device from the header).
            generation: 8, u8;
            /// CACHED: receive window wanted, bytes.
            initial_rcv_wnd: 32, u32;
            /// CACHED: preferred bytes per indication.
            rcv_indication_size: 32, u32;
            /// CACHED: idle time before the first keepalive, milliseconds, below 2^31 (24 days; R-251).
            ka_timeout_ms: 32, u32;
            /// CACHED: time between keepalive probes, milliseconds, below 2^31; 0 = one second.
            ka_interval_ms: 32, u32;
            /// CACHED: longest total retransmission time, microseconds; 0 = count applies.
            max_rt_us: 32, u32;
            /// CACHED: IPv6 flow label.
            flow_label: 32, u32;
            /// DELEGATED: [`TcpState`](chimney_abi::cmd::TcpState).
            tcp_state: 8, u8;
            /// DELEGATED: [`Phase`](chimney_abi::cmd::Phase).
            phase: 8, u8;
            /// DELEGATED: `DELEG_*`.
            deleg_flags: 16, u16;
            /// DELEGATED: next sequence number expected.
            rcv_nxt: 32, u32;
            /// DELEGATED: right edge of the receive window; never moves left (law L3).
            rcv_right: 32, u32;
            /// DELEGATED: oldest unacknowledged.
            snd_una: 32, u32;
            /// DELEGATED: next to send.
            snd_nxt: 32, u32;
            /// DELEGATED: highest sent plus one.
            snd_max: 32, u32;
            /// DELEGATED: peer's window, bytes.
            snd_wnd: 32, u32;
            /// DELEGATED: largest peer window seen, bytes.
            max_snd_wnd: 32, u32;
            /// DELEGATED: segment sequence of the last window update.
            snd_wl1: 32, u32;
            /// DELEGATED: segment acknowledgment of the last window update.
            snd_wl2: 32, u32;
            /// DELEGATED: congestion window, bytes.
            cwnd: 32, u32;
            /// DELEGATED: slow start threshold, bytes.
            ssthresh: 32, u32;
            /// DELEGATED: bytes acknowledged since cwnd last grew in congestion avoidance.
            cwnd_acc: 32, u32;
            /// DELEGATED: recovery point (RFC 6582); in phase Open with `ECN_REDUCED` that of the last reduction.
            recover: 32, u32;
            /// DELEGATED: smoothed RTT, microseconds x 8; 0 = no sample yet.
            srtt_us_x8: 32, u32;
            /// DELEGATED: RTT variation, microseconds x 4.
            rttvar_us_x4: 32, u32;
            /// DELEGATED: retransmission time-out before back-off, microseconds.
            rto_us: 32, u32;
            /// DELEGATED: time spent retransmitting the current segment, microseconds.
            total_rt_us: 32, u32;
            /// DELEGATED: timestamp to echo.
            ts_recent: 32, u32;
            /// DELEGATED: clock (image: age), milliseconds, when `ts_recent` was taken.
            ts_recent_ms: 32, u32;
            /// DELEGATED: TSval = device milliseconds + this (image: TSval now; ).
            ts_offset: 32, u32;
            /// DELEGATED: sequence number whose acknowledgment ends the running RTT sample.
            rtt_seq: 32, u32;
            /// DELEGATED: clock (image: age) at the start of the running RTT sample, microseconds.
            rtt_start_us: 32, u32;
            /// DELEGATED: clock (image: age) of the last acceptable segment, milliseconds.
            last_rx_ms: 32, u32;
            /// DELEGATED: duplicate ACKs in a row.
            dup_acks: 8, u8;
            /// DELEGATED: persist round (spec 12.2).
            probe_round: 8, u8;
            /// DELEGATED: retransmissions of the current segment or probe; also the RTO back-off shift.
            retransmit_count: 8, u8;
            /// DELEGATED: unanswered keepalive probes.
            ka_probes: 8, u8;
            /// DELEGATED: retransmit, persist or FIN_WAIT_2 deadline.
            rtx_deadline: 32, u32;
            /// DELEGATED: keepalive deadline, milliseconds.
            ka_deadline: 32, u32;
            /// End of posted send data (sequence number after the last byte).
            snd_limit: 32, u32;
            /// Delayed-ACK deadline; not carried over.
            delack_deadline: 32, u32;
            /// Push deadline; not carried over.
            push_deadline: 32, u32;
            /// DELEGATED: out-of-order range 0, start; start = end means empty. Ranges are sorted and disjoint.
            ooo0_start: 32, u32;
            /// Range 0, end.
            ooo0_end: 32, u32;
            /// Range 1, start.
            ooo1_start: 32, u32;
            /// Range 1, end.
            ooo1_end: 32, u32;
            /// Range 2, start.
            ooo2_start: 32, u32;
            /// Range 2, end.
            ooo2_end: 32, u32;
            /// Range 3, start.
            ooo3_start: 32, u32;
            /// Range 3, end.
            ooo3_end: 32, u32;
            /// Send ring, IOVA, 16-byte aligned.
            send_ring: 64, u64;
            /// Receive ring, IOVA, 16-byte aligned.
            recv_ring: 64, u64;
            /// log2 of send ring entries, 1 to 15.
            send_ring_log2: 8, u8;
            /// log2 of receive ring entries, 1 to 15.
            recv_ring_log2: 8, u8;
            /// Send ring producer index.
            send_producer: 16, u16;
            /// Receive ring producer index.
            recv_producer: 16, u16;
            /// Receive ring entry in use.
            post_idx: 16, u16;
            /// Bytes placed in the loaded post.
            post_off: 32, u32;
            /// Length of the loaded post, bytes.
            post_len: 24, u32;
            /// Flags of the loaded post.
            post_flags: 8, u8;
            /// Address of the loaded post, IOVA.
            post_addr: 64, u64;
            /// `rcv_nxt` of the last durable shadow record: the acknowledgment number of every segment (law L2).
            durable_rcv_nxt: 32, u32;
            /// `rcv_right` of the last durable shadow record.
            durable_rcv_right: 32, u32;
            /// Next shadow record's tag.
            shadow_tag: 16, u16;
            /// Data segments received and not yet acknowledged.
            ack_pending: 8, u8;
            /// [`UploadReason`](chimney_abi::cmd::UploadReason) of the pending request, 0 = none.
            upload_reason: 8, u8;
            /// Right edge in the last segment sent (silly-window rule of the receiver).
            adv_right: 32, u32;
            /// Which of the deadlines run: `TIMER_*`; in an image 0 and `NO_TIMER` is used instead.
            timers: 8, u8;
            /// Which out-of-order range changed last (first SACK block, RFC 2018 4).
            ooo_recent: 8, u8;
            /// DELEGATED: `ECN_*`; 0 without [`CONST_ECN`](chimney_abi::state::CONST_ECN).
            ecn: 8, u8;
            /// Zero.
            reserved1: 8, u8;
            /// Acknowledgment number of the last segment sent.
            last_ack_sent: 32, u32;
            /// Delta counter: segments received.
            cnt_segs_in: 32, u32;
            /// Delta counter: segments sent.
            cnt_segs_out: 32, u32;
            /// Delta counter: segments retransmitted.
            cnt_retransmits: 32, u32;
            /// Delta counter: out-of-order segments placed.
            cnt_ooo: 32, u32;
            /// Delta counter: duplicate or unacceptable segments.
            cnt_dup: 32, u32;
            /// Delta counter: segments dropped for want of a page, range or window.
            cnt_drops: 32, u32;
        }
    };
}

crate::image_header_fields!(crate::host_record);
crate::neighbor_fields!(crate::host_record);
crate::path_fields!(crate::host_record);
crate::tcp_record_fields!(crate::host_record);
