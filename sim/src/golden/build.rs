//! Segments on the wire: Ethernet, IPv4 and TCP headers around text.

use super::conn::Conn;
use super::{Dma, Golden};
use chimney_abi::cmd::UploadReason;
use chimney_abi::state::{CONST_SACK, CONST_TIMESTAMPS, DELEG_ACK_NOW, DELEG_ARRIVING, TIMER_DELACK};
use chimney_abi::wire::{ethernet, ip_protocol, ipv4, tcp};
use chimney_abi::{regs, SeqNum};
use chimney_host_stack_core::checksum::{pseudo_v4, Checksum};
use chimney_host_stack_core::ip_id::ip_id;
use chimney_host_stack_core::options::TcpOptions;
use chimney_host_stack_core::segment::Flags;
use chimney_host_stack_core::timestamps::{self, Timestamps};

/// Headers without TCP options.
const PLAIN_HEADERS: u16 = (ipv4::HEADER_LEN + tcp::HEADER_LEN) as u16;

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
    src_ip: [u8; ipv4::ADDR_LEN],
    dst_ip: [u8; ipv4::ADDR_LEN],
    ip_id: u16,
}

impl<D: Dma> Golden<D> {
    /// Text bytes per segment: `eff_mss`, or less when the path MTU has shrunk since the offload.
    pub(super) fn smss(&self, conn: &Conn) -> u32 {
        let mtu = self.path_of(conn).map_or(u16::MAX, |p| p.image.mtu);
        let options =
            if conn.rec.const_flags & CONST_TIMESTAMPS != 0 { tcp::TIMESTAMPS_PADDED_LEN as u16 } else { 0 };
        u32::from(conn.rec.eff_mss.min(mtu.saturating_sub(PLAIN_HEADERS + options)).max(1))
    }

    /// Builds and sends a segment. False if path or neighbor do not let it go: then an upload was requested.
    pub(super) fn emit(&mut self, conn: &mut Conn, out: &Outgoing<'_>) -> bool {
        let Some(route) = self.take_route(conn) else {
            // the point where a segment would have been built.
            conn.request_upload(UploadReason::InvalidState);
            return false;
        };
        let mut options = [0; tcp::MAX_OPTIONS_LEN];
        let options_len = self.options_for(conn, out).build(&mut options);
        let mut frame = Vec::with_capacity(usize::from(PLAIN_HEADERS) + 64 + out.text.len());
        put_ethernet(&mut frame, &route);
        put_ipv4(&mut frame, conn, &route, tcp::HEADER_LEN + options_len + out.text.len());
        let tcp_at = frame.len();
        put_tcp(&mut frame, conn, out, &options[..options_len]);
        frame.extend_from_slice(out.text);
        let mut sum = pseudo_v4(route.src_ip, route.dst_ip, ip_protocol::TCP, (frame.len() - tcp_at) as u16);
        sum.add_bytes(&frame[tcp_at..]);
        let at = tcp_at + tcp::CHECKSUM;
        frame[at..at + 2].copy_from_slice(&sum.finish().to_be_bytes());
        self.after_emit(conn, frame.len().max(ethernet::MIN_FRAME_LEN) as u64);
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
        let route = Route {
            dst_mac: mac(neighbor.image.dst_mac),
            src_mac,
            // `as`: an IPv4 address is the low 32 bits.
            src_ip: (path.image.src_ip_lo as u32).to_le_bytes(),
            dst_ip: (path.image.dst_ip_lo as u32).to_le_bytes(),
            ip_id: ip_id(path.image.ip_id_start, u32::from(path.image.ip_id_counter)),
        };
        self.count_ip_id(conn.rec.path);
        Some(route)
    }

    /// Timestamps on every segment; SACK blocks only on those without text (programmer's guide 7).
    fn options_for(&self, conn: &Conn, out: &Outgoing<'_>) -> TcpOptions {
        let mut options = TcpOptions::default();
        if conn.rec.const_flags & CONST_TIMESTAMPS != 0 {
            let val = timestamps::clock(self.clock_us(), conn.rec.ts_offset);
            options.timestamps = Some(Timestamps { val, ecr: conn.rec.ts_recent });
        }
        let may_sack = conn.rec.const_flags & CONST_SACK != 0 && !conn.has(DELEG_ARRIVING);
        if may_sack && out.text.is_empty() && !out.flags.has(Flags::RST) {
            for range in conn.ooo.recent_first() {
                options.sack.push(range);
            }
        }
        options
    }

    /// The segment carried an acknowledgment: nothing is owed any more.
    fn after_emit(&mut self, conn: &mut Conn, frame_len: u64) {
        let r = &mut conn.rec;
        let (_, edge) = window_of(r.durable_rcv_nxt, r.durable_rcv_right, r.rcv_wind_shift);
        r.adv_right = edge.0;
        r.last_ack_sent = r.durable_rcv_nxt;
        r.ack_pending = 0;
        r.cnt_segs_out = r.cnt_segs_out.wrapping_add(1);
        conn.clear(DELEG_ACK_NOW);
        if !conn.has(DELEG_ARRIVING) {
            conn.stop_timer(TIMER_DELACK);
        }
        self.regs.count(&regs::CNT_TX_OFFLOADED, 1);
        self.regs.count(&regs::CNT_TX_OFFLOADED_BYTES, frame_len);
    }
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

fn put_ethernet(frame: &mut Vec<u8>, route: &Route) {
    frame.extend_from_slice(&route.dst_mac);
    frame.extend_from_slice(&route.src_mac);
    frame.extend_from_slice(&ethernet::TYPE_IPV4.to_be_bytes());
}

fn put_ipv4(frame: &mut Vec<u8>, conn: &Conn, route: &Route, payload_len: usize) {
    let start = frame.len();
    frame.resize(start + ipv4::HEADER_LEN, 0);
    let ip = &mut frame[start..];
    ip[ipv4::VERSION_IHL] = ipv4::VERSION_IHL_PLAIN;
    ip[ipv4::TOS] = conn.rec.tos;
    // `as`: bounded by the path MTU.
    put16(ip, ipv4::TOTAL_LEN, (ipv4::HEADER_LEN + payload_len) as u16);
    put16(ip, ipv4::ID, route.ip_id);
    put16(ip, ipv4::FLAGS_FRAGMENT, ipv4::FLAG_DF);
    ip[ipv4::TTL] = conn.rec.ttl;
    ip[ipv4::PROTOCOL] = ip_protocol::TCP;
    ip[ipv4::SRC..ipv4::SRC + ipv4::ADDR_LEN].copy_from_slice(&route.src_ip);
    ip[ipv4::DST..ipv4::DST + ipv4::ADDR_LEN].copy_from_slice(&route.dst_ip);
    let mut sum = Checksum::default();
    sum.add_bytes(ip);
    put16(ip, ipv4::CHECKSUM, sum.finish());
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
