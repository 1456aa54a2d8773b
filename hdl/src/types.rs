//! What the blocks of the NIC say to each other.
//!
//! Every bundle travels with `<name>_valid` and `<name>_ready`: it is transferred in a cycle in
//! which both are high; `valid` and the bundle stay until then. Addresses named `*_iova` are host
//! memory, `*_src` are byte addresses in the receive packet memory.
use crate::prelude::*;
use crate::tcp::watchdog::Limits;

/// Connection ids are carried in 16 bits everywhere; the low `CONN_LOG2` count.
pub const CONN_BITS: usize = 16;
/// log2 of the receive packet memory, bytes.
pub const PACKET_LOG2: usize = 15;

/// TCP flag bits as in the header byte.
pub const TCP_FIN: u64 = 0x01;
/// See [`TCP_FIN`].
pub const TCP_SYN: u64 = 0x02;
/// See [`TCP_FIN`].
pub const TCP_RST: u64 = 0x04;
/// See [`TCP_FIN`].
pub const TCP_PSH: u64 = 0x08;
/// See [`TCP_FIN`].
pub const TCP_ACK: u64 = 0x10;
/// See [`TCP_FIN`].
pub const TCP_URG: u64 = 0x20;

/// See [`TCP_FIN`]: the peer echoes a mark (RFC 3168).
pub const TCP_ECE: u64 = 0x40;
/// See [`TCP_FIN`]: the window was reduced for it.
pub const TCP_CWR: u64 = 0x80;
/// [`RxSeg::ecn`]: congestion was met.
pub const ECN_CE: u64 = 3;

/// A frame in packet memory, parsed (receive parser -> dispatcher).
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct FrameMeta {
    /// Byte address of the frame in packet memory, a multiple of 8.
    pub src: Bits<16>,
    /// Frame length, bytes, without FCS.
    pub len: Bits<16>,
    /// `RX_*` verdicts for the ordinary path.
    pub verdict: Bits<16>,
    /// 1 = clean TCP for our MAC, in any framing and family (programmer's guide 3).
    pub candidate: Bit,
    /// The TCP part.
    pub seg: RxSeg,
}

/// A segment for one connection (dispatcher -> PROTO).
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct RxSeg {
    /// Connection id from the lookup.
    pub conn: Bits<16>,
    /// Sequence number.
    pub seq: Bits<32>,
    /// Acknowledgment number.
    pub ack: Bits<32>,
    /// Window field, unscaled.
    pub wnd: Bits<16>,
    /// TCP flags, bits as in `TCP_*`.
    pub flags: Bits<8>,
    /// The ninth flag, once NS.
    pub ns: Bit,
    /// ECN field of the IP header.
    pub ecn: Bits<2>,
    /// 1 = a timestamp option was present.
    pub has_ts: Bit,
    /// TSval.
    pub ts_val: Bits<32>,
    /// TSecr.
    pub ts_ecr: Bits<32>,
    /// Number of SACK blocks, 0 to 4.
    pub sack_count: Bits<3>,
    /// SACK blocks: block i in bits 64i+63:64i, left edge in the low half; those beyond the count mean nothing.
    pub sack: Bits<256>,
    /// Byte address of the first payload byte in packet memory.
    pub payload_src: Bits<16>,
    /// Payload length, bytes.
    pub payload_len: Bits<16>,
    /// Frame length, bytes (for counters).
    pub frame_len: Bits<16>,
    /// 1 = the host forwarded it: it came from the loopback.
    pub forwarded: Bit,
}

/// [`WriteCmd::kind`]: payload from packet memory.
pub const WRITE_PAYLOAD: u64 = 0;
/// [`WriteCmd::kind`]: inline data.
pub const WRITE_INLINE: u64 = 1;
/// [`WriteCmd::kind`]: free packet memory. With `notify` also a marker: reported when all before it is in host memory.
pub const WRITE_FREE: u64 = 2;

/// Bits of a command's tag: a connection id fits.
pub const TAG_BITS: usize = CONN_BITS;

/// A command to the write engine. Commands are carried out in the order accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct WriteCmd {
    /// `WRITE_PAYLOAD`, `WRITE_INLINE` or `WRITE_FREE` (no bus access).
    pub kind: Bits<2>,
    /// Destination; inline: a multiple of 8.
    pub iova: Bits<64>,
    /// Bytes; payload: 1 to 9024, any alignment; inline: 8, 16, 24 or 32; free: bytes of packet memory, a multiple of 8.
    pub len: Bits<16>,
    /// Payload: byte address in packet memory.
    pub src: Bits<16>,
    /// Payload: bytes of packet memory that are free again when it was read, a multiple of 8.
    pub free: Bits<16>,
    /// Inline data, first byte in bits 7:0.
    pub data: Bits<256>,
    /// 1 = report the write response of this command's last burst.
    pub notify: Bit,
    /// Echoed in the report.
    pub tag: Bits<TAG_BITS>,
}

/// Report of the write engine: everything up to and including the command with this tag is in host memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct WriteDone {
    /// The command's tag.
    pub tag: Bits<TAG_BITS>,
    /// 1 = some burst of the command got an error response.
    pub error: Bit,
}

/// A segment to build and send (PROTO -> transmit).
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct TxJob {
    /// Connection id.
    pub conn: Bits<16>,
    /// Path id.
    pub path: Bits<16>,
    /// Local port.
    pub local_port: Bits<16>,
    /// Remote port.
    pub remote_port: Bits<16>,
    /// Sequence number.
    pub seq: Bits<32>,
    /// Acknowledgment number (durable, law L2).
    pub ack: Bits<32>,
    /// Window field, scaled.
    pub wnd: Bits<16>,
    /// TCP flags; PSH is added by transmit when the last byte ends a `SEND_PUSH` descriptor.
    pub flags: Bits<8>,
    /// Payload bytes, 0 to eff_mss.
    pub len: Bits<16>,
    /// 1 = timestamps option.
    pub has_ts: Bit,
    /// TSval.
    pub ts_val: Bits<32>,
    /// TSecr.
    pub ts_ecr: Bits<32>,
    /// Number of SACK blocks, 0 to 4; only without payload.
    pub sack_count: Bits<3>,
    /// SACK blocks: block i in bits 64i+63:64i, left edge in the low half.
    pub sack: Bits<256>,
    /// IPv4 TTL, IPv6 hop limit.
    pub ttl: Bits<8>,
    /// IPv4 TOS, IPv6 traffic class.
    pub tos: Bits<8>,
    /// IPv6 flow label.
    pub flow_label: Bits<20>,
    /// 802.1p priority.
    pub priority: Bits<3>,
    /// Send ring address.
    pub send_ring: Bits<64>,
    /// log2 of send ring entries.
    pub send_ring_log2: Bits<8>,
    /// 1 = first job of the connection after an offload: forget the ring cursor.
    pub reset_cursor: Bit,
    /// 1 = a retransmission (for counters).
    pub retransmit: Bit,
}

/// Result of a job (transmit -> PROTO), one per job, in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct TxDone {
    /// Connection id.
    pub conn: Bits<16>,
    /// 0 = sent, 1 = path or neighbor invalid, 2 = a DMA read failed or the ring is inconsistent.
    pub result: Bits<2>,
}

/// A doorbell write (registers -> PROTO).
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Doorbell {
    /// Connection id.
    pub conn: Bits<16>,
    /// 0 = send, 1 = receive.
    pub receive: Bit,
    /// Producer index.
    pub producer: Bits<16>,
    /// Generation.
    pub generation: Bits<8>,
    /// `DOORBELL_*` flags.
    pub flags: Bits<8>,
    /// Stream limit.
    pub limit: Bits<32>,
}

/// A burst to read (any client -> read arbiter).
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct ReadReq {
    /// Address, a multiple of 8.
    pub iova: Bits<64>,
    /// Beats of 8 bytes, 1 to 32; must not cross a 256-byte boundary.
    pub beats: Bits<6>,
}

/// One beat of read data, broadcast to all clients; a client takes it when its own `valid` is high (no back-pressure).
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct ReadBeat {
    /// Data.
    pub data: Bits<64>,
    /// Last beat of the burst.
    pub last: Bit,
    /// 1 = error response.
    pub error: Bit,
}

/// What the command block asks PROTO to do with one connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct ConnOp {
    /// `Opcode` number: Initiate, Terminate, Query, Update, Invalidate or Abort.
    pub opcode: Bits<8>,
    /// Connection id.
    pub conn: Bits<16>,
    /// Generation.
    pub generation: Bits<8>,
    /// Path id (Initiate).
    pub path: Bits<16>,
    /// Place of the image in its command; comes back with the answer.
    pub tag: Bits<16>,
    /// A page map follows the record (Initiate).
    pub has_map: Bit,
    /// Nobody wants the image (Terminate).
    pub discard: Bit,
}

/// PROTO's answer to a [`ConnOp`]; a Terminate's may come after those of later ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct OpDone {
    /// See [`ConnOp`].
    pub opcode: Bits<8>,
    /// See [`ConnOp`].
    pub conn: Bits<16>,
    /// See [`ConnOp`].
    pub generation: Bits<8>,
    /// See [`ConnOp`].
    pub tag: Bits<16>,
    /// See [`ConnOp`].
    pub discard: Bit,
    /// `Status` number.
    pub status: Bits<8>,
    /// The lowest 48 bits of the record that went in (Initiate) or out (Terminate, Query): ports and `const_flags`.
    pub ports: Bits<48>,
}

/// The MTU of a path (command block -> PROTO).
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct PathMtu {
    /// 1 = there is one in this cycle.
    pub valid: Bit,
    /// Path id.
    pub path: Bits<16>,
    /// Bytes of an IP packet.
    pub mtu: Bits<16>,
    /// 1 = IPv6.
    pub v6: Bit,
}

/// The millisecond counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Millis {
    /// Milliseconds, low word.
    pub now: Bits<32>,
    /// Microseconds since it counted last.
    pub past_us: Bits<16>,
}

/// Parameters that PROTO reads from the registers; stable while enabled.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct TcpParams {
    /// See `regs::ACK_FREQUENCY`.
    pub ack_frequency: Bits<8>,
    /// See `regs::DELAYED_ACK_US`.
    pub delayed_ack_us: Bits<32>,
    /// See `regs::DUP_ACK_THRESHOLD`.
    pub dup_ack_threshold: Bits<8>,
    /// See `regs::PUSH_US`.
    pub push_us: Bits<32>,
    /// See `regs::MIN_RTO_US`.
    pub min_rto_us: Bits<32>,
    /// See `regs::MAX_RTO_US`.
    pub max_rto_us: Bits<32>,
    /// See `regs::FIN_WAIT_2_US`.
    pub fin_wait_2_us: Bits<32>,
    /// See `regs::SHADOW_BASE_LO`.
    pub shadow_base: Bits<64>,
    /// See `regs::PAGE_MAP_BASE_LO`.
    pub page_map_base: Bits<64>,
    /// See `regs::POOL_BASE_LO`.
    pub pool_base: Bits<64>,
    /// Of the watchdog.
    pub watch: Limits,
}

/// Counter increments of one cycle (engine -> registers). The names are those of `regs::CNT_*`. From `rto` on each is one bit of one
/// counter alone: `host::counters::ENGINE`.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct EngineCounts {
    /// `CNT_RX_OFFLOADED`.
    pub rx_offloaded: Bit,
    /// Add to `CNT_RX_OFFLOADED_BYTES` when `rx_offloaded`.
    pub rx_offloaded_bytes: Bits<16>,
    /// `CNT_STALE`.
    pub stale: Bit,
    /// `CNT_BAD_REQUEST`.
    pub bad_request: Bit,
    /// `CNT_RTO`.
    pub rto: Bit,
    /// `CNT_FAST_RETRANSMITS`.
    pub fast_retransmits: Bit,
    /// `CNT_DROP_NO_PAGE`.
    pub drop_no_page: Bit,
    /// `CNT_DROP_NO_RANGE`.
    pub drop_no_range: Bit,
    /// `CNT_UNACCEPTABLE`.
    pub unacceptable: Bit,
    /// `CNT_CHALLENGE_ACKS`.
    pub challenge_acks: Bit,
    /// `CNT_HANDED_UP`.
    pub handed_up: Bit,
    /// `CNT_CE_MARKS_IN`.
    pub ce_marks_in: Bit,
    /// `CNT_ECE_REDUCTIONS`.
    pub ece_reductions: Bit,
    /// `CNT_UPLOAD_URGENT`.
    pub upload_urgent: Bit,
    /// `CNT_UPLOAD_TIMEOUT`.
    pub upload_timeout: Bit,
    /// `CNT_UPLOAD_INVALID_STATE`.
    pub upload_invalid_state: Bit,
    /// `CNT_UPLOAD_REQUESTED`.
    pub upload_requested: Bit,
    /// `CNT_UPLOAD_HARDWARE`.
    pub upload_hardware: Bit,
    /// `CNT_UPLOAD_LOW_ACTIVITY`.
    pub upload_low_activity: Bit,
    /// `CNT_UPLOAD_DROP_RATE`.
    pub upload_drop_rate: Bit,
    /// `CNT_UPLOAD_SMALL_IO`.
    pub upload_small_io: Bit,
    /// `CNT_UPLOAD_NO_PREPOSTING`.
    pub upload_no_preposting: Bit,
    /// `CNT_UPLOAD_FRAGMENTATION`.
    pub upload_fragmentation: Bit,
    /// `CNT_UPLOAD_OUT_OF_ORDER`.
    pub upload_out_of_order: Bit,
    /// `CNT_ACKS_UNHEARD`.
    pub acks_unheard: Bit,
}
