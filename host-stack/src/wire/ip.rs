//! What TCP and ICMP need of an IP header, whichever family it is.

use super::ipv4::Ipv4Header;
use super::ipv6::Ipv6Header;
use chimney_abi::wire::{ethernet, ipv4, ipv6};
use chimney_host_stack_core::checksum::{pseudo_v4, pseudo_v6, Checksum};
use std::net::IpAddr;

/// A header of either family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IpHeader {
    /// IPv4, without options.
    V4(Ipv4Header),
    /// IPv6, without extension headers.
    V6(Ipv6Header),
}

impl IpHeader {
    /// Source.
    #[must_use]
    pub fn src(&self) -> IpAddr {
        match self {
            IpHeader::V4(header) => header.src.into(),
            IpHeader::V6(header) => header.src.into(),
        }
    }

    /// Destination.
    #[must_use]
    pub fn dst(&self) -> IpAddr {
        match self {
            IpHeader::V4(header) => header.dst.into(),
            IpHeader::V6(header) => header.dst.into(),
        }
    }

    /// The ECN field (RFC 3168 5).
    #[must_use]
    pub fn ecn(&self) -> u8 {
        let class = match self {
            IpHeader::V4(header) => header.tos,
            IpHeader::V6(header) => header.traffic_class,
        };
        class & ipv4::ECN_MASK
    }

    /// The same header with another ECN field.
    #[must_use]
    pub fn with_ecn(mut self, ecn: u8) -> IpHeader {
        let class = match &mut self {
            IpHeader::V4(header) => &mut header.tos,
            IpHeader::V6(header) => &mut header.traffic_class,
        };
        *class = *class & !ipv4::ECN_MASK | ecn & ipv4::ECN_MASK;
        self
    }

    /// Bytes of the header.
    #[must_use]
    pub fn header_len(&self) -> usize {
        header_len(self.dst())
    }

    /// The sum over the pseudo header of `len` bytes of `protocol` (RFC 9293 3.1, RFC 8200 8.1).
    #[must_use]
    pub fn pseudo(&self, protocol: u8, len: u16) -> Checksum {
        match self {
            IpHeader::V4(h) => pseudo_v4(h.src.octets(), h.dst.octets(), protocol, len),
            IpHeader::V6(h) => pseudo_v6(h.src.octets(), h.dst.octets(), protocol, len.into()),
        }
    }

    /// Writes the header for `payload_len` bytes over the first bytes of `packet`.
    pub fn write(&self, packet: &mut [u8], payload_len: usize) {
        match self {
            IpHeader::V4(header) => header.write(packet, payload_len),
            IpHeader::V6(header) => header.write(packet, payload_len),
        }
    }

    /// A frame with an empty Ethernet header, this one, and `payload_len` zeros.
    #[must_use]
    pub fn frame(&self, payload_len: usize) -> Vec<u8> {
        let mut frame = vec![0; ethernet::HEADER_LEN + self.header_len() + payload_len];
        self.write(&mut frame[ethernet::HEADER_LEN..], payload_len);
        frame
    }
}

/// Bytes of the header in front of a packet to or from `ip`.
#[must_use]
pub fn header_len(ip: IpAddr) -> usize {
    if ip.is_ipv4() {
        ipv4::HEADER_LEN
    } else {
        ipv6::HEADER_LEN
    }
}

/// EtherType of packets to or from `ip`.
#[must_use]
pub fn ethertype(ip: IpAddr) -> u16 {
    if ip.is_ipv4() {
        ethernet::TYPE_IPV4
    } else {
        ethernet::TYPE_IPV6
    }
}
