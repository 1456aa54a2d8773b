//! ICMP for IPv4: echo, and "fragmentation needed" for path MTU discovery (RFC 792, RFC 1191).

use super::{array, be16, ipv4, put, WireError};
use chimney_abi::wire::{icmp as w, ipv4 as wip, tcp as wtcp};
use chimney_abi::SeqNum;
use chimney_host_stack_core::checksum::Checksum;
use std::net::Ipv4Addr;

/// A message this stack acts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IcmpMessage<'a> {
    /// Echo request: its bytes after type, code and checksum come back unchanged.
    EchoRequest {
        /// Identifier, sequence number and data.
        rest: &'a [u8],
    },
    /// A router dropped a datagram of ours that was too long.
    FragmentationNeeded {
        /// MTU of the next hop; zero from routers older than RFC 1191.
        mtu: u16,
        /// Destination of the datagram.
        dst: Ipv4Addr,
        /// Ports of the TCP segment it carried, ours first.
        ports: (u16, u16),
        /// Its sequence number, to check that it is ours (RFC 5927 4.1).
        seq: SeqNum,
    },
}

/// Reads a message.
///
/// # Errors
/// Any [`WireError`]; `Unsupported` for messages the stack does not act on.
pub fn parse(bytes: &[u8]) -> Result<IcmpMessage<'_>, WireError> {
    let rest = bytes.get(w::IDENTIFIER..).ok_or(WireError::Truncated)?;
    let mut sum = Checksum::default();
    sum.add_bytes(bytes);
    if !sum.is_valid() {
        return Err(WireError::BadChecksum);
    }
    match (bytes[w::TYPE], bytes[w::CODE]) {
        (w::TYPE_ECHO_REQUEST, 0) => Ok(IcmpMessage::EchoRequest { rest }),
        (w::TYPE_UNREACHABLE, w::CODE_FRAGMENTATION_NEEDED) => {
            let quoted = bytes.get(w::HEADER_LEN..).ok_or(WireError::Truncated)?;
            let header_len = usize::from(array::<1>(quoted, wip::VERSION_IHL)?[0] & 0xF) * 4;
            let segment = quoted.get(header_len..).ok_or(WireError::Truncated)?;
            Ok(IcmpMessage::FragmentationNeeded {
                mtu: be16(bytes, w::SEQUENCE)?,
                dst: Ipv4Addr::from(array(quoted, wip::DST)?),
                ports: (be16(segment, wtcp::SRC_PORT)?, be16(segment, wtcp::DST_PORT)?),
                seq: SeqNum(super::be32(segment, wtcp::SEQ)?),
            })
        }
        _ => Err(WireError::Unsupported),
    }
}

/// The echo reply for a request with `rest`, as the packet from `header.src` to `header.dst`.
#[must_use]
pub fn echo_reply(header: &ipv4::Ipv4Header, rest: &[u8]) -> Vec<u8> {
    let mut packet = vec![0; wip::HEADER_LEN + w::IDENTIFIER + rest.len()];
    header.write(&mut packet, w::IDENTIFIER + rest.len());
    let message = &mut packet[wip::HEADER_LEN..];
    message[w::TYPE] = w::TYPE_ECHO_REPLY;
    put(message, w::IDENTIFIER, rest);
    let mut sum = Checksum::default();
    sum.add_bytes(message);
    put(message, w::CHECKSUM, &sum.finish().to_be_bytes());
    packet
}
