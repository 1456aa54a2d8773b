//! Receive parser: from a frame to checksum verdicts and, for clean TCP, a segment. Any framing, both families.
//!
//! A pure function of the frame's bytes. Which connection a segment belongs to, and whether the engine
//! takes it, is decided by the caller (programmer's guide, section 3).

use chimney_abi::desc::{RX_IP_CSUM_OK, RX_L4_CSUM_OK};
use chimney_abi::wire::{ethernet, ip_protocol, ipv4, ipv6, tcp, udp};
use chimney_abi::SeqNum;
use chimney_host_stack_core::checksum::Checksum;
use chimney_host_stack_core::options::{self, TcpOptions};
use chimney_host_stack_core::segment::{Flags, Segment};
use std::net::IpAddr;
use std::ops::Range;

/// Addresses and ports of a connection, as in the lookup table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Tuple {
    pub local_ip: IpAddr,
    pub remote_ip: IpAddr,
    pub local_port: u16,
    pub remote_port: u16,
}

/// A clean TCP segment for some connection.
#[derive(Clone, Debug)]
pub(super) struct RxSegment {
    pub tuple: Tuple,
    /// Id in the frame's tag; one that is there may be 0 (priority only).
    pub vlan: Option<u16>,
    /// ECN field of the IP header (RFC 3168 5).
    pub ecn: u8,
    /// The host forwarded it.
    pub is_forwarded: bool,
    /// Numbers; `wnd` is the field as sent, not yet scaled.
    pub seg: Segment,
    pub options: TcpOptions,
    /// Where the text lies in the frame.
    pub payload: Range<usize>,
}

/// What the parser says about a frame.
#[derive(Clone, Debug, Default)]
pub(super) struct Parsed {
    /// `RX_*` verdicts for the ordinary path.
    pub verdict: u16,
    /// Set if the frame is a candidate for the engine, apart from its destination address.
    pub segment: Option<RxSegment>,
}

/// Where the IP header lies, and how the frame begins.
struct Link<'a> {
    /// From the IP header to the end of the frame, or of what the 802.3 length covers.
    ip: &'a [u8],
    ethertype: u16,
    /// Where the IP header begins in the frame.
    at: usize,
    vlan: Option<u16>,
}

/// TCP or UDP of an unfragmented datagram that lies in the frame.
struct Datagram<'a> {
    protocol: u8,
    /// ECN field.
    ecn: u8,
    /// Source and destination.
    addresses: &'a [u8],
    /// Bytes of the IP header.
    header_len: usize,
    /// From the TCP or UDP header on.
    body: &'a [u8],
}

/// Parses a frame of any length.
pub(super) fn parse(frame: &[u8]) -> Parsed {
    let mut parsed = Parsed::default();
    let Some(link) = link(frame) else { return parsed };
    let datagram = match link.ethertype {
        ethernet::TYPE_IPV4 => {
            let Some(header) = ipv4_header(link.ip) else { return parsed };
            parsed.verdict |= RX_IP_CSUM_OK;
            ipv4_datagram(link.ip, header)
        }
        ethernet::TYPE_IPV6 => ipv6_datagram(link.ip),
        _ => None,
    };
    let Some(datagram) = datagram.filter(is_clean) else { return parsed };
    parsed.verdict |= RX_L4_CSUM_OK;
    if datagram.protocol == ip_protocol::TCP {
        parsed.segment = segment(&link, &datagram);
    }
    parsed
}

/// Ethernet II or LLC/SNAP (RFC 1042), at most one 802.1Q tag.
fn link(frame: &[u8]) -> Option<Link<'_>> {
    let word = |at: usize| frame.get(at..at + 2).map(|w| be16(w, 0));
    let mut at = ethernet::ETHERTYPE;
    let mut vlan = None;
    if word(at)? == ethernet::TYPE_VLAN {
        vlan = Some(word(at + 2)? & ethernet::VLAN_ID_MASK);
        at += ethernet::VLAN_TAG_LEN;
    }
    let mut end = frame.len();
    let len = word(at)?;
    if len < ethernet::MIN_ETHERTYPE {
        let llc = at + 2;
        if frame.get(llc..llc + ethernet::SNAP_HEADER.len())? != ethernet::SNAP_HEADER {
            return None;
        }
        end = end.min(llc + usize::from(len));
        at += ethernet::SNAP_LEN;
    }
    // A length that does not even cover the header leaves nothing to look at.
    Some(Link { ip: frame.get(at + 2..end.max(at + 2))?, ethertype: word(at)?, at: at + 2, vlan })
}

/// A plain IPv4 header (20 bytes) whose checksum is right.
fn ipv4_header(ip: &[u8]) -> Option<&[u8]> {
    let header = ip.get(..ipv4::HEADER_LEN)?;
    // headers with options go up.
    if header[ipv4::VERSION_IHL] != ipv4::VERSION_IHL_PLAIN {
        return None;
    }
    let mut sum = Checksum::default();
    sum.add_bytes(header);
    sum.is_valid().then_some(header)
}

fn ipv4_datagram<'a>(ip: &'a [u8], header: &'a [u8]) -> Option<Datagram<'a>> {
    // fragments go up.
    if be16(header, ipv4::FLAGS_FRAGMENT) & (ipv4::FLAG_MF | ipv4::FRAGMENT_MASK) != 0 {
        return None;
    }
    let total = usize::from(be16(header, ipv4::TOTAL_LEN));
    let body = ip.get(ipv4::HEADER_LEN..total)?;
    let (protocol, addresses) = (header[ipv4::PROTOCOL], &header[ipv4::SRC..]);
    let ecn = header[ipv4::TOS] & ipv4::ECN_MASK;
    Some(Datagram { protocol, ecn, addresses, header_len: ipv4::HEADER_LEN, body })
}

/// IPv6 without extension headers.
fn ipv6_datagram(ip: &[u8]) -> Option<Datagram<'_>> {
    let header = ip.get(..ipv6::HEADER_LEN)?;
    if header[ipv6::VERSION_CLASS_FLOW] >> 4 != 6 {
        return None;
    }
    let len = usize::from(be16(header, ipv6::PAYLOAD_LEN));
    let body = ip.get(ipv6::HEADER_LEN..ipv6::HEADER_LEN + len)?;
    let (protocol, addresses) = (header[ipv6::NEXT_HEADER], &header[ipv6::SRC..]);
    // Version, traffic class, flow label.
    let ecn = header[ipv6::VERSION_CLASS_FLOW + 1] >> 4 & ipv4::ECN_MASK;
    Some(Datagram { protocol, ecn, addresses, header_len: ipv6::HEADER_LEN, body })
}

/// A TCP or UDP checksum is there and right.
fn is_clean(d: &Datagram<'_>) -> bool {
    let is_sound = match d.protocol {
        ip_protocol::TCP => d.body.len() >= tcp::HEADER_LEN,
        ip_protocol::UDP => {
            d.body.len() >= udp::HEADER_LEN
                && usize::from(be16(d.body, udp::LEN)) == d.body.len()
                && be16(d.body, udp::CHECKSUM) != 0
        }
        _ => false,
    };
    // `as`: bounded by the 16-bit lengths of IP.
    let len = (d.body.len() as u16).to_be_bytes();
    let mut sum = Checksum::default();
    sum.add_bytes(d.addresses);
    sum.add_bytes(&[0, d.protocol]);
    sum.add_bytes(&len);
    sum.add_bytes(d.body);
    is_sound && sum.is_valid()
}

fn segment(link: &Link<'_>, d: &Datagram<'_>) -> Option<RxSegment> {
    let datagram = d.body;
    let header_len = usize::from(datagram[tcp::DATA_OFFSET] >> 4) * 4;
    if header_len < tcp::HEADER_LEN || header_len > datagram.len() {
        return None;
    }
    let start = link.at + d.header_len;
    let (remote_ip, local_ip) = d.addresses.split_at(d.addresses.len() / 2);
    let payload = start + header_len..start + datagram.len();
    Some(RxSegment {
        tuple: Tuple {
            local_ip: address(local_ip)?,
            remote_ip: address(remote_ip)?,
            local_port: be16(datagram, tcp::DST_PORT),
            remote_port: be16(datagram, tcp::SRC_PORT),
        },
        vlan: link.vlan,
        ecn: d.ecn,
        is_forwarded: false,
        seg: Segment {
            seq: SeqNum(u32::from_be_bytes(array(datagram, tcp::SEQ))),
            ack: SeqNum(u32::from_be_bytes(array(datagram, tcp::ACK))),
            wnd: u32::from(be16(datagram, tcp::WINDOW)),
            flags: Flags(datagram[tcp::FLAGS]),
            // `as`: bounded by the 16-bit total length.
            data_len: payload.len() as u32,
        },
        options: options::parse(&datagram[tcp::HEADER_LEN..header_len]),
        payload,
    })
}

/// An address by its bytes.
fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = || <[u8; ipv4::ADDR_LEN]>::try_from(bytes).map(IpAddr::from);
    let v6 = || <[u8; ipv6::ADDR_LEN]>::try_from(bytes).map(IpAddr::from);
    v4().or_else(|_| v6()).ok()
}

/// Four bytes at `at`; the caller has checked the length.
fn array(bytes: &[u8], at: usize) -> [u8; 4] {
    [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]
}

fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_any_length_are_parsed_without_surprise() {
        for len in 0..80 {
            assert!(parse(&vec![0x45; len]).segment.is_none());
        }
        let mut frame = vec![0u8; 60];
        frame[12] = 8;
        frame[14] = 0x45;
        assert_eq!(parse(&frame).verdict, 0, "wrong header checksum");
    }

    /// A frame made by another implementation.
    fn built(v6: bool, tagged: bool, is_udp: bool) -> Vec<u8> {
        use etherparse::{PacketBuilder, VlanId};
        let mut frame = vec![];
        let link = PacketBuilder::ethernet2([1; 6], [2; 6]);
        let vlan = VlanId::try_new(5).expect("12 bits");
        let ip = match (tagged, v6) {
            (true, true) => link.single_vlan(vlan).ipv6([3; 16], [4; 16], 64),
            (true, false) => link.single_vlan(vlan).ipv4([3; 4], [4; 4], 64),
            (false, true) => link.ipv6([3; 16], [4; 16], 64),
            (false, false) => link.ipv4([3; 4], [4; 4], 64),
        };
        let written = if is_udp {
            ip.udp(1, 2).write(&mut frame, &[7; 9])
        } else {
            ip.tcp(1, 2, 3, 4).write(&mut frame, &[7; 9])
        };
        written.expect("written to memory");
        frame
    }

    #[test]
    fn every_framing_and_family_has_its_verdict_and_tcp_is_for_the_engine() {
        for n in 0..16 {
            let (v6, tagged, is_udp, snap) = (n & 1 != 0, n & 2 != 0, n & 4 != 0, n & 8 != 0);
            let mut frame = built(v6, tagged, is_udp);
            if snap {
                let at = if tagged { 16 } else { 12 };
                let len = (frame.len() - at - 2 + ethernet::SNAP_LEN) as u16;
                frame.splice(at..at, len.to_be_bytes().into_iter().chain(ethernet::SNAP_HEADER));
            }
            let parsed = parse(&frame);
            let ip = if v6 { 0 } else { RX_IP_CSUM_OK };
            assert_eq!(parsed.verdict, ip | RX_L4_CSUM_OK, "{frame:02x?}");
            assert_eq!(parsed.segment.is_some(), !is_udp);
            if let Some(s) = parsed.segment {
                assert_eq!(frame[s.payload.clone()], [7; 9]);
                assert_eq!((s.vlan, s.tuple.local_ip.is_ipv6()), (tagged.then_some(5), v6));
                let first = |ip: IpAddr| if let IpAddr::V6(a) = ip { a.octets()[0] } else { 0 };
                assert!(!v6 || (first(s.tuple.remote_ip), first(s.tuple.local_ip)) == (3, 4));
            }
            *frame.last_mut().unwrap() ^= 1;
            assert_eq!(parse(&frame).verdict, ip);
        }
    }
}
