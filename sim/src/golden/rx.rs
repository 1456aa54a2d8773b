//! Receive parser: from a frame to checksum verdicts and, for clean TCP over IPv4, a segment.
//!
//! A pure function of the frame's bytes. Which connection a segment belongs to, and whether the engine
//! takes it, is decided by the caller (programmer's guide, section 3).

use chimney_abi::desc::{RX_IP_CSUM_OK, RX_L4_CSUM_OK};
use chimney_abi::wire::{ethernet, ip_protocol, ipv4, tcp};
use chimney_abi::SeqNum;
use chimney_host_stack_core::checksum::{pseudo_v4, Checksum};
use chimney_host_stack_core::options::{self, TcpOptions};
use chimney_host_stack_core::segment::{Flags, Segment};
use std::ops::Range;

/// Addresses and ports of a connection, as in the lookup table. Addresses: first wire byte in bits 7:0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Tuple {
    pub local_ip: u32,
    pub remote_ip: u32,
    pub local_port: u16,
    pub remote_port: u16,
}

/// A clean TCP segment for some connection.
#[derive(Clone, Debug)]
pub(super) struct RxSegment {
    pub tuple: Tuple,
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

/// Parses a frame of any length.
pub(super) fn parse(frame: &[u8]) -> Parsed {
    let mut parsed = Parsed::default();
    let Some(ip) = ipv4_header(frame) else { return parsed };
    parsed.verdict |= RX_IP_CSUM_OK;
    let Some(datagram) = tcp_datagram(frame, ip) else { return parsed };
    if !pseudo(ip, datagram).is_valid() {
        return parsed;
    }
    parsed.verdict |= RX_L4_CSUM_OK;
    parsed.segment = segment(ip, datagram);
    parsed
}

/// A plain IPv4 header (untagged, 20 bytes) whose checksum is right.
fn ipv4_header(frame: &[u8]) -> Option<&[u8]> {
    if be16(frame.get(ethernet::ETHERTYPE..ethernet::HEADER_LEN)?, 0) != ethernet::TYPE_IPV4 {
        return None;
    }
    let ip = frame.get(ethernet::HEADER_LEN..ethernet::HEADER_LEN + ipv4::HEADER_LEN)?;
    // headers with options go up.
    if ip[ipv4::VERSION_IHL] != ipv4::VERSION_IHL_PLAIN {
        return None;
    }
    let mut sum = Checksum::default();
    sum.add_bytes(ip);
    sum.is_valid().then_some(ip)
}

/// The TCP part of an unfragmented datagram that lies in the frame.
fn tcp_datagram<'a>(frame: &'a [u8], ip: &[u8]) -> Option<&'a [u8]> {
    // fragments go up.
    let is_fragment = be16(ip, ipv4::FLAGS_FRAGMENT) & (ipv4::FLAG_MF | ipv4::FRAGMENT_MASK) != 0;
    if is_fragment || ip[ipv4::PROTOCOL] != ip_protocol::TCP {
        return None;
    }
    let total = usize::from(be16(ip, ipv4::TOTAL_LEN));
    let start = ethernet::HEADER_LEN + ipv4::HEADER_LEN;
    let datagram = frame.get(start..ethernet::HEADER_LEN + total)?;
    (datagram.len() >= tcp::HEADER_LEN).then_some(datagram)
}

fn pseudo(ip: &[u8], datagram: &[u8]) -> Checksum {
    // `as`: bounded by the 16-bit total length.
    let mut sum =
        pseudo_v4(array(ip, ipv4::SRC), array(ip, ipv4::DST), ip_protocol::TCP, datagram.len() as u16);
    sum.add_bytes(datagram);
    sum
}

fn segment(ip: &[u8], datagram: &[u8]) -> Option<RxSegment> {
    let header_len = usize::from(datagram[tcp::DATA_OFFSET] >> 4) * 4;
    if header_len < tcp::HEADER_LEN || header_len > datagram.len() {
        return None;
    }
    let start = ethernet::HEADER_LEN + ipv4::HEADER_LEN;
    let payload = start + header_len..start + datagram.len();
    Some(RxSegment {
        tuple: Tuple {
            local_ip: u32::from_le_bytes(array(ip, ipv4::DST)),
            remote_ip: u32::from_le_bytes(array(ip, ipv4::SRC)),
            local_port: be16(datagram, tcp::DST_PORT),
            remote_port: be16(datagram, tcp::SRC_PORT),
        },
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
}
