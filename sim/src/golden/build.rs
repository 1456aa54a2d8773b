//! Segments on the wire: Ethernet (tag, LLC/SNAP), IP and TCP headers around text.

use super::commands::{address, is_ipv6};
use super::conn::Conn;
use super::{Dma, Golden};
use chimney_abi::cmd::UploadReason;
use chimney_abi::state::{
    PathImage, CONST_SACK, CONST_TIMESTAMPS, DELEG_ACK_NOW, DELEG_ARRIVING, TIMER_DELACK,
};
use chimney_abi::wire::{ethernet, ip_protocol, ipv4, ipv6, tcp};
use chimney_abi::{regs, SeqNum};
use chimney_host_stack_core::checksum::{pseudo_v4, pseudo_v6, Checksum};
use chimney_host_stack_core::ip_id::ip_id;
use chimney_host_stack_core::options::TcpOptions;
use chimney_host_stack_core::segment::Flags;
use chimney_host_stack_core::timestamps::{self, Timestamps};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Most bytes in front of text: tag, LLC/SNAP, IPv6, TCP with options.
const MAX_HEADERS: usize = 128;

/// What a path's MTU leaves for text and TCP options.
pub(super) fn text_room(path: &PathImage) -> u16 {
    let ip = if is_ipv6(path) { ipv6::HEADER_LEN } else { ipv4::HEADER_LEN };
    // `as`: header lengths.
    path.mtu.saturating_sub((ip + tcp::HEADER_LEN) as u16)
}

/// A segment to be built; everything else comes from the record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outgoing<'a> {
    pub seq: SeqNum,
    pub flags: Flags,
    pub text: &'a [u8],
}

/// What a segment needs from path and neighbor.
#[derive(Clone, Copy, Debug)]
struct Route {
    dst_mac: [u8; ethernet::ADDR_LEN],
    src_mac: [u8; ethernet::ADDR_LEN],
    /// TCI of the tag, if there is to be one.
    tci: Option<u16>,
    is_llc_snap: bool,
    addresses: Addresses,
}

/// Source and destination; IPv4 with the packet's identification.
#[derive(Clone, Copy, Debug)]
enum Addresses {
    V4 { src: Ipv4Addr, dst: Ipv4Addr, id: u16 },
    V6 { src: Ipv6Addr, dst: Ipv6Addr },
}

impl Addresses {
    fn header_len(self) -> usize {
        match self {
            Addresses::V4 { .. } => ipv4::HEADER_LEN,
            Addresses::V6 { .. } => ipv6::HEADER_LEN,
        }
    }
}

impl<D: Dma> Golden<D> {
    /// Text bytes per segment: `eff_mss`, or less when the path MTU has shrunk since the offload.
    pub(super) fn smss(&self, conn: &Conn) -> u32 {
        let room = self.path_of(conn).map_or(u16::MAX, |p| text_room(&p.image));
        let options =
            if conn.rec.const_flags & CONST_TIMESTAMPS != 0 { tcp::TIMESTAMPS_PADDED_LEN as u16 } else { 0 };
        u32::from(conn.rec.eff_mss.min(room.saturating_sub(options)).max(1))
    }

    /// Builds and sends a segment. False if path or neighbor do not let it go: then an upload was requested.
    pub(super) fn emit(&mut self, conn: &mut Conn, out: &Outgoing<'_>) -> bool {
        let Some(route) = self.take_route(conn) else {
            // the point where a segment would have been built.
            conn.request_upload(UploadReason::InvalidState);
            return false;
        };
        let (tos, echo) = ecn_of(conn, out);
        let out = &Outgoing { flags: out.flags.with(echo), ..*out };
        let mut options = [0; tcp::MAX_OPTIONS_LEN];
        let options_len = self.options_for(conn, out).build(&mut options);
        let segment_len = tcp::HEADER_LEN + options_len + out.text.len();
        let mut frame = Vec::with_capacity(MAX_HEADERS + out.text.len());
        put_ethernet(&mut frame, &route, segment_len);
        match route.addresses {
            Addresses::V4 { src, dst, id } => {
                put_ipv4(&mut frame, (conn.rec.ttl, tos), (src, dst, id), segment_len)
            }
            Addresses::V6 { src, dst } => put_ipv6(&mut frame, (conn, tos), (src, dst), segment_len),
        }
        let tcp_at = frame.len();
        put_tcp(&mut frame, conn, out, &options[..options_len]);
        frame.extend_from_slice(out.text);
        // `as`: bounded by the path MTU.
        let mut sum = match route.addresses {
            Addresses::V4 { src, dst, .. } => {
                pseudo_v4(src.octets(), dst.octets(), ip_protocol::TCP, segment_len as u16)
            }
            Addresses::V6 { src, dst } => {
                pseudo_v6(src.octets(), dst.octets(), ip_protocol::TCP, segment_len as u32)
            }
        };
        sum.add_bytes(&frame[tcp_at..]);
        let at = tcp_at + tcp::CHECKSUM;
        frame[at..at + 2].copy_from_slice(&sum.finish().to_be_bytes());
        self.after_emit(conn, frame.len().max(ethernet::MIN_FRAME_LEN) as u64, out);
        self.transmit(frame);
        true
    }

    /// Path and neighbor of a connection, if both are valid, with the next IP ID.
    fn take_route(&mut self, conn: &Conn) -> Option<Route> {
        let own = self.own_mac();
        let path = self.path_of(conn)?;
        let neighbor = self.neighbor_of(path)?;
        if path.is_invalid || neighbor.is_invalid {
            return None;
        }
        let src_mac = if neighbor.image.src_mac == 0 { own } else { mac(neighbor.image.src_mac) };
        let p = &path.image;
        let ips = (address(p, p.src_ip_lo, p.src_ip_hi), address(p, p.dst_ip_lo, p.dst_ip_hi));
        let addresses = match ips {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                Addresses::V4 { src, dst, id: ip_id(p.ip_id_start, u32::from(p.ip_id_counter)) }
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => Addresses::V6 { src, dst },
            _ => return None,
        };
        let tci = tci(neighbor.image.vlan, conn.rec.user_priority);
        let is_llc_snap = neighbor.is_llc_snap();
        let dst_mac = mac(neighbor.image.dst_mac);
        if matches!(addresses, Addresses::V4 { .. }) {
            self.count_ip_id(conn.rec.path);
        }
        Some(Route { dst_mac, src_mac, tci, is_llc_snap, addresses })
    }

    /// Timestamps on every segment; SACK blocks only on those without text (programmer's guide 7).
    fn options_for(&self, conn: &Conn, out: &Outgoing<'_>) -> TcpOptions {
        let mut options = TcpOptions::default();
        if conn.rec.const_flags & CONST_TIMESTAMPS != 0 {
            let val = timestamps::clock(self.clock_us(), conn.rec.ts_offset);
            options.timestamps = Some(Timestamps { val, ecr: conn.rec.ts_recent });
        }
        if may_sack(conn) && out.text.is_empty() && !out.flags.has(Flags::RST) {
            for range in conn.again.into_iter().chain(conn.ooo.recent_first()) {
                options.sack.push(range);
            }
        }
        options
    }

    fn after_emit(&mut self, conn: &mut Conn, frame_len: u64, out: &Outgoing<'_>) {
        conn.rec.cnt_segs_out = conn.rec.cnt_segs_out.wrapping_add(1);
        conn.again = None;
        // A probe is not acceptable, so the peer does not look at what it acknowledges (RFC 9293 3.10.7.4).
        if !out.seq.before(conn.snd_una()) {
            acknowledged(conn, !out.text.is_empty());
        }
        self.regs.count(&regs::CNT_TX_OFFLOADED, 1);
        self.regs.count(&regs::CNT_TX_OFFLOADED_BYTES, frame_len);
    }
}

/// The segment carried an acknowledgment: nothing is owed any more, but for what lies beyond a hole, which is told without text only.
fn acknowledged(conn: &mut Conn, has_text: bool) {
    let r = &mut conn.rec;
    let (_, edge) = window_of(r.durable_rcv_nxt, r.durable_rcv_right, r.rcv_wind_shift);
    r.adv_right = edge.0;
    r.last_ack_sent = r.durable_rcv_nxt;
    r.ack_pending = 0;
    if !(has_text && may_sack(conn) && !conn.ooo.is_empty()) {
        conn.clear(DELEG_ACK_NOW);
    }
    if !conn.has(DELEG_ARRIVING) {
        conn.stop_timer(TIMER_DELACK);
    }
}

/// An acknowledgment of its own has SACK blocks, if there are any.
fn may_sack(conn: &Conn) -> bool {
    conn.rec.const_flags & CONST_SACK != 0 && !conn.has(DELEG_ARRIVING)
}

/// The window field for the durable edge, rounded down so that no more is promised than the record shows, and the
/// edge that the peer computes from it.
fn window_of(rcv_nxt: u32, rcv_right: u32, shift: u8) -> (u16, SeqNum) {
    let (nxt, right) = (SeqNum(rcv_nxt), SeqNum(rcv_right));
    let wnd = if right.after(nxt) { right - nxt } else { 0 };
    // `as`: limited to 16 bits.
    let field = (wnd >> shift).min(u32::from(u16::MAX)) as u16;
    (field, nxt + (u32::from(field) << shift))
}

/// A MAC address of an image: first byte on the wire in bits 7:0.
fn mac(value: u64) -> [u8; ethernet::ADDR_LEN] {
    let [a, b, c, d, e, f, ..] = value.to_le_bytes();
    [a, b, c, d, e, f]
}

/// The byte with DSCP and ECN, and ECE and CWR (RFC 3168 6.1.2 to 6.1.6): a connection that negotiated ECN marks new text.
fn ecn_of(conn: &mut Conn, out: &Outgoing<'_>) -> (u8, Flags) {
    if !conn.ecn.is_on || out.flags.has(Flags::RST) {
        return (conn.rec.tos, Flags::NONE);
    }
    let has_new_text = !out.text.is_empty() && out.seq.at_or_after(conn.snd_max());
    let (field, flags) = conn.ecn.on_send(has_new_text);
    (conn.rec.tos & !ipv4::ECN_MASK | field, flags)
}

/// a tag if there is an id or a priority; DEI (once CFI) 0.
fn tci(vlan: u16, priority: u8) -> Option<u16> {
    let priority = u16::from(priority & ethernet::MAX_PRIORITY);
    (vlan != 0 || priority != 0).then_some(priority << ethernet::PRIORITY_SHIFT | vlan)
}

fn put_ethernet(frame: &mut Vec<u8>, route: &Route, segment_len: usize) {
    frame.extend_from_slice(&route.dst_mac);
    frame.extend_from_slice(&route.src_mac);
    if let Some(tci) = route.tci {
        frame.extend_from_slice(&ethernet::TYPE_VLAN.to_be_bytes());
        frame.extend_from_slice(&tci.to_be_bytes());
    }
    if route.is_llc_snap {
        // `as`: bounded by the path MTU.
        let len = (ethernet::SNAP_LEN + route.addresses.header_len() + segment_len) as u16;
        frame.extend_from_slice(&len.to_be_bytes());
        frame.extend_from_slice(&ethernet::SNAP_HEADER);
    }
    let ethertype = match route.addresses {
        Addresses::V4 { .. } => ethernet::TYPE_IPV4,
        Addresses::V6 { .. } => ethernet::TYPE_IPV6,
    };
    frame.extend_from_slice(&ethertype.to_be_bytes());
}

fn put_ipv4(frame: &mut Vec<u8>, (ttl, tos): (u8, u8), way: (Ipv4Addr, Ipv4Addr, u16), payload_len: usize) {
    let (src, dst, id) = way;
    let start = frame.len();
    frame.resize(start + ipv4::HEADER_LEN, 0);
    let ip = &mut frame[start..];
    ip[ipv4::VERSION_IHL] = ipv4::VERSION_IHL_PLAIN;
    ip[ipv4::TOS] = tos;
    // `as`: bounded by the path MTU.
    put16(ip, ipv4::TOTAL_LEN, (ipv4::HEADER_LEN + payload_len) as u16);
    put16(ip, ipv4::ID, id);
    put16(ip, ipv4::FLAGS_FRAGMENT, ipv4::FLAG_DF);
    ip[ipv4::TTL] = ttl;
    ip[ipv4::PROTOCOL] = ip_protocol::TCP;
    ip[ipv4::SRC..ipv4::SRC + ipv4::ADDR_LEN].copy_from_slice(&src.octets());
    ip[ipv4::DST..ipv4::DST + ipv4::ADDR_LEN].copy_from_slice(&dst.octets());
    let mut sum = Checksum::default();
    sum.add_bytes(ip);
    put16(ip, ipv4::CHECKSUM, sum.finish());
}

/// traffic class, flow label and hop limit are the connection's. There is no identification (RFC 8200 3).
fn put_ipv6(frame: &mut Vec<u8>, (conn, tos): (&Conn, u8), way: (Ipv6Addr, Ipv6Addr), payload_len: usize) {
    let (src, dst) = way;
    let label = conn.rec.flow_label & ((1 << ipv6::FLOW_LABEL_BITS) - 1);
    let first = u32::from(ipv6::VERSION) << 24 | u32::from(tos) << ipv6::FLOW_LABEL_BITS | label;
    frame.extend_from_slice(&first.to_be_bytes());
    // `as`: bounded by the path MTU.
    frame.extend_from_slice(&(payload_len as u16).to_be_bytes());
    frame.extend_from_slice(&[ip_protocol::TCP, conn.rec.ttl]);
    frame.extend_from_slice(&src.octets());
    frame.extend_from_slice(&dst.octets());
}

/// Law L2: acknowledgment and window come from the durable record.
fn put_tcp(frame: &mut Vec<u8>, conn: &Conn, out: &Outgoing<'_>, options: &[u8]) {
    let start = frame.len();
    frame.resize(start + tcp::HEADER_LEN, 0);
    let r = &conn.rec;
    let header = &mut frame[start..];
    put16(header, tcp::SRC_PORT, r.local_port);
    put16(header, tcp::DST_PORT, r.remote_port);
    header[tcp::SEQ..tcp::SEQ + 4].copy_from_slice(&out.seq.0.to_be_bytes());
    header[tcp::ACK..tcp::ACK + 4].copy_from_slice(&r.durable_rcv_nxt.to_be_bytes());
    // `as`: at most 15 words.
    header[tcp::DATA_OFFSET] = (((tcp::HEADER_LEN + options.len()) / 4) as u8) << 4;
    header[tcp::FLAGS] = out.flags.0;
    let (field, _) = window_of(r.durable_rcv_nxt, r.durable_rcv_right, r.rcv_wind_shift);
    put16(header, tcp::WINDOW, field);
    frame.extend_from_slice(options);
}

fn put16(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}
