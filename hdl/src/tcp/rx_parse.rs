//! What the captured fields of a frame are worth: verdicts, and the [`FrameMeta`] for the dispatcher. Pure functions.
//!
//! A frame is a *candidate* for the engine when everything in the programmer's guide 3 that can be known without the lookup
//! holds; whether the engine takes its framing and family is the dispatcher's affair. In the first clock after the last beat
//! lengths are added and compared ([`checks`]), in the second the sums are ([`verdict`]).
use crate::ip::rx_parse::{RxEnd, RxHeader};
use crate::prelude::*;
use crate::tcp::rx_options::TcpOptions;
use crate::types::{FrameMeta, RxSeg};
use chimney_abi::desc::{RX_IP_CSUM_OK, RX_L4_CSUM_OK};
use chimney_abi::wire::{ethernet, ipv4, ipv6, tcp, udp};

const HEADER_WORDS: u64 = tcp::HEADER_LEN as u64 / 4;
const TCP_LEN: u64 = tcp::HEADER_LEN as u64;
const UDP_LEN: u64 = udp::HEADER_LEN as u64;
const V4_LEN: u64 = ipv4::HEADER_LEN as u64;
const V6_LEN: u64 = ipv6::HEADER_LEN as u64;
const SNAP_LEN: u64 = ethernet::SNAP_LEN as u64;
const IP_OK: u64 = RX_IP_CSUM_OK as u64;
const L4_OK: u64 = RX_L4_CSUM_OK as u64;

/// What holds whatever the sums say.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct RxChecks {
    /// A whole IPv4 header without options.
    pub ipv4: Bit,
    /// A whole IPv6 header.
    pub ipv6: Bit,
    /// The datagram is no fragment and lies in the frame.
    pub is_whole: Bit,
    /// It holds TCP, at least a header.
    pub is_tcp: Bit,
    /// It holds UDP with a checksum, and nothing else.
    pub is_udp: Bit,
    /// The frame is for us, and the TCP header with its options lies in the datagram.
    pub fits: Bit,
    /// Byte address of the first payload byte in packet memory.
    pub payload_src: Bits<16>,
    /// Payload length, bytes.
    pub payload_len: Bits<16>,
}

/// The lengths of a frame whose last beat has come.
#[kernel]
pub fn checks(h: RxHeader, e: RxEnd) -> RxChecks {
    let f = e.framing;
    let ip_len = if f.is_v6 { bits::<16>(V6_LEN) } else { bits::<16>(V4_LEN) };
    let l4_at = bit_cast::<16, 5>(e.ip_at) + ip_len;
    let header = cat::<16, _>((bits::<10>(0), h.data_offset, bits::<2>(0)));
    let dgram_end = bit_cast::<18, 17>(h.dgram_len) + bit_cast::<18, 5>(e.ip_at);
    let llc_end = bit_cast::<18, 17>(h.dgram_len) + SNAP_LEN;
    // RFC 1042: the 802.3 length counts LLC, SNAP and the datagram, and perhaps padding.
    let in_llc = !f.snap || llc_end <= bit_cast::<18, 16>(f.llc_len);
    let has_header = f.is_ip && h.version_ok && l4_at <= e.len;
    let has_length = h.dgram_len >= bit_cast::<17, 16>(ip_len);
    RxChecks {
        ipv4: has_header && !f.is_v6,
        ipv6: has_header && f.is_v6,
        is_whole: h.is_whole && has_length && dgram_end <= bit_cast::<18, 16>(e.len) && in_llc,
        is_tcp: h.is_tcp && h.l4_len >= TCP_LEN,
        is_udp: h.is_udp && h.has_udp_sum && h.l4_len >= UDP_LEN && h.udp_len == h.l4_len,
        fits: e.is_ours && h.data_offset >= HEADER_WORDS && header <= h.l4_len,
        payload_src: e.src + l4_at + header,
        payload_len: h.l4_len - header,
    }
}

/// What the sums allow.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct RxVerdict {
    /// `RX_IP_CSUM_OK`.
    pub ip_ok: Bit,
    /// `RX_L4_CSUM_OK`.
    pub l4_ok: Bit,
    /// See [`FrameMeta::candidate`].
    pub candidate: Bit,
}

/// Lengths and sums together; `clean`: IPv4 header, TCP, UDP.
#[kernel]
pub fn verdict(c: RxChecks, clean: (bool, bool, bool)) -> RxVerdict {
    let (ip_clean, tcp_clean, udp_clean) = clean;
    let ip_ok = c.ipv4 && ip_clean;
    let dgram = (ip_ok || c.ipv6) && c.is_whole;
    let tcp = dgram && c.is_tcp && tcp_clean;
    RxVerdict { ip_ok, l4_ok: tcp || dgram && c.is_udp && udp_clean, candidate: tcp && c.fits }
}

/// Everything about the frame, for the dispatcher.
#[kernel]
pub fn frame_meta(h: RxHeader, e: RxEnd, c: RxChecks, v: RxVerdict, o: TcpOptions) -> FrameMeta {
    let ip = if v.ip_ok { bits::<16>(IP_OK) } else { bits::<16>(0) };
    let l4 = if v.l4_ok { bits::<16>(L4_OK) } else { bits::<16>(0) };
    FrameMeta {
        src: e.src,
        len: e.len,
        verdict: ip | l4,
        candidate: v.candidate,
        seg: RxSeg {
            conn: bits::<16>(0),
            seq: h.seq,
            ack: h.ack,
            wnd: h.wnd,
            flags: h.flags,
            ns: h.ns,
            ecn: h.ecn,
            has_ts: o.has_ts,
            ts_val: o.ts_val,
            ts_ecr: o.ts_ecr,
            sack_count: o.sack_count,
            sack: o.sack,
            payload_src: c.payload_src,
            payload_len: c.payload_len,
            frame_len: e.len,
            forwarded: e.forwarded,
        },
    }
}
