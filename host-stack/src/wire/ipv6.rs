//! IPv6 headers (RFC 8200). Extension headers are not followed: what comes behind one is no TCP for us.

use super::{array, be16, be32, put, WireError};
use chimney_abi::wire::ipv6 as w;
use std::net::Ipv6Addr;

/// What matters of a fixed header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv6Header {
    /// Source.
    pub src: Ipv6Addr,
    /// Destination.
    pub dst: Ipv6Addr,
    /// Next header.
    pub next_header: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// Traffic class.
    pub traffic_class: u8,
    /// Flow label, 20 bits.
    pub flow_label: u32,
}

/// Splits a packet into header and payload; extension headers are part of the payload.
///
/// # Errors
/// `Truncated`, `Malformed`.
pub fn parse(bytes: &[u8]) -> Result<(Ipv6Header, &[u8]), WireError> {
    let header = bytes.get(..w::HEADER_LEN).ok_or(WireError::Truncated)?;
    let word = be32(header, w::VERSION_CLASS_FLOW)?;
    if word >> 28 != 6 {
        return Err(WireError::Malformed);
    }
    let payload_len = usize::from(be16(header, w::PAYLOAD_LEN)?);
    let payload = bytes.get(w::HEADER_LEN..w::HEADER_LEN + payload_len).ok_or(WireError::Truncated)?;
    let value = Ipv6Header {
        src: Ipv6Addr::from(array(header, w::SRC)?),
        dst: Ipv6Addr::from(array(header, w::DST)?),
        next_header: header[w::NEXT_HEADER],
        hop_limit: header[w::HOP_LIMIT],
        // `as`: eight bits of the word.
        traffic_class: (word >> 20) as u8,
        flow_label: word & 0xF_FFFF,
    };
    Ok((value, payload))
}

impl Ipv6Header {
    /// Writes the header for `payload_len` bytes over the first bytes of `packet`.
    pub fn write(&self, packet: &mut [u8], payload_len: usize) {
        let word = 6 << 28 | u32::from(self.traffic_class) << 20 | (self.flow_label & 0xF_FFFF);
        put(packet, w::VERSION_CLASS_FLOW, &word.to_be_bytes());
        // `as`: the caller keeps packets within the MTU.
        put(packet, w::PAYLOAD_LEN, &(payload_len as u16).to_be_bytes());
        packet[w::NEXT_HEADER] = self.next_header;
        packet[w::HOP_LIMIT] = self.hop_limit;
        put(packet, w::SRC, &self.src.octets());
        put(packet, w::DST, &self.dst.octets());
    }
}
