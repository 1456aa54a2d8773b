//! IPv4 headers without options (RFC 791).
//!
//! Fragments and options are [`WireError::Unsupported`]; nothing is reassembled yet, and every datagram
//! that we send has DF set.

use super::{array, be16, put, WireError};
use chimney_abi::wire::ipv4 as w;
use chimney_host_stack_core::checksum::Checksum;
use std::net::Ipv4Addr;

/// What matters of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv4Header {
    /// Source.
    pub src: Ipv4Addr,
    /// Destination.
    pub dst: Ipv4Addr,
    /// Protocol of the payload.
    pub protocol: u8,
    /// Time to live.
    pub ttl: u8,
    /// DSCP and ECN.
    pub tos: u8,
    /// Identification.
    pub id: u16,
}

/// Splits a packet into header and payload; padding behind the datagram is cut off.
///
/// # Errors
/// Any [`WireError`].
pub fn parse(bytes: &[u8]) -> Result<(Ipv4Header, &[u8]), WireError> {
    let header = bytes.get(..w::HEADER_LEN).ok_or(WireError::Truncated)?;
    let version_ihl = header[w::VERSION_IHL];
    if version_ihl >> 4 != 4 || version_ihl & 0xF < 5 {
        return Err(WireError::Malformed);
    }
    if version_ihl != w::VERSION_IHL_PLAIN {
        return Err(WireError::Unsupported);
    }
    let mut sum = Checksum::default();
    sum.add_bytes(header);
    if !sum.is_valid() {
        return Err(WireError::BadChecksum);
    }
    let total_len = usize::from(be16(header, w::TOTAL_LEN)?);
    if total_len < w::HEADER_LEN {
        return Err(WireError::Malformed);
    }
    if be16(header, w::FLAGS_FRAGMENT)? & (w::FLAG_MF | w::FRAGMENT_MASK) != 0 {
        return Err(WireError::Unsupported);
    }
    let payload = bytes.get(w::HEADER_LEN..total_len).ok_or(WireError::Truncated)?;
    let value = Ipv4Header {
        src: Ipv4Addr::from(array(header, w::SRC)?),
        dst: Ipv4Addr::from(array(header, w::DST)?),
        protocol: header[w::PROTOCOL],
        ttl: header[w::TTL],
        tos: header[w::TOS],
        id: be16(header, w::ID)?,
    };
    Ok((value, payload))
}

impl Ipv4Header {
    /// Writes the header, DF set, for `payload_len` bytes over the first bytes of `packet`.
    pub fn write(&self, packet: &mut [u8], payload_len: usize) {
        let header = &mut packet[..w::HEADER_LEN];
        header.fill(0);
        // `as`: the caller keeps packets within the MTU.
        let total_len = (w::HEADER_LEN + payload_len) as u16;
        header[w::VERSION_IHL] = w::VERSION_IHL_PLAIN;
        header[w::TOS] = self.tos;
        put(header, w::TOTAL_LEN, &total_len.to_be_bytes());
        put(header, w::ID, &self.id.to_be_bytes());
        put(header, w::FLAGS_FRAGMENT, &w::FLAG_DF.to_be_bytes());
        header[w::TTL] = self.ttl;
        header[w::PROTOCOL] = self.protocol;
        put(header, w::SRC, &self.src.octets());
        put(header, w::DST, &self.dst.octets());
        let mut sum = Checksum::default();
        sum.add_bytes(header);
        put(header, w::CHECKSUM, &sum.finish().to_be_bytes());
    }
}
