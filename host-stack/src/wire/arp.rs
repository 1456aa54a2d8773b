//! ARP for IPv4 over Ethernet (RFC 826).

use super::ethernet::{EthernetHeader, MacAddr};
use super::{array, be16, ethernet, put, WireError};
use chimney_abi::wire::{arp as w, ethernet as we, ipv4};
use std::net::Ipv4Addr;

/// What the sender wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Who has the target address?
    Request,
    /// The sender has it.
    Reply,
}

/// An ARP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArpPacket {
    /// Operation.
    pub operation: Operation,
    /// Sender's MAC.
    pub sender_mac: MacAddr,
    /// Sender's address.
    pub sender_ip: Ipv4Addr,
    /// Target's MAC; zero in a request.
    pub target_mac: MacAddr,
    /// Target's address.
    pub target_ip: Ipv4Addr,
}

/// Reads the payload of an ARP frame.
///
/// # Errors
/// `Truncated`; `Unsupported` for other hardware, protocols or operations.
pub fn parse(bytes: &[u8]) -> Result<ArpPacket, WireError> {
    let lengths = (array::<1>(bytes, w::HARDWARE_LEN)?, array::<1>(bytes, w::PROTOCOL_LEN)?);
    // `as`: both lengths are one byte on the wire.
    let is_ipv4 = be16(bytes, w::HARDWARE_TYPE)? == w::HARDWARE_ETHERNET
        && be16(bytes, w::PROTOCOL_TYPE)? == we::TYPE_IPV4
        && lengths == ([we::ADDR_LEN as u8], [ipv4::ADDR_LEN as u8]);
    let operation = match be16(bytes, w::OPERATION)? {
        w::OP_REQUEST if is_ipv4 => Operation::Request,
        w::OP_REPLY if is_ipv4 => Operation::Reply,
        _ => return Err(WireError::Unsupported),
    };
    Ok(ArpPacket {
        operation,
        sender_mac: MacAddr(array(bytes, w::SENDER_MAC)?),
        sender_ip: Ipv4Addr::from(array(bytes, w::SENDER_IP)?),
        target_mac: MacAddr(array(bytes, w::TARGET_MAC)?),
        target_ip: Ipv4Addr::from(array(bytes, w::TARGET_IP)?),
    })
}

impl ArpPacket {
    /// The whole frame, sent to `dst`.
    #[must_use]
    pub fn to_frame(&self, dst: MacAddr) -> Vec<u8> {
        let mut frame = vec![0; we::HEADER_LEN + w::PACKET_LEN];
        EthernetHeader { dst, src: self.sender_mac, ethertype: we::TYPE_ARP }.write(&mut frame);
        let body = &mut frame[we::HEADER_LEN..];
        let operation = match self.operation {
            Operation::Request => w::OP_REQUEST,
            Operation::Reply => w::OP_REPLY,
        };
        put(body, w::HARDWARE_TYPE, &w::HARDWARE_ETHERNET.to_be_bytes());
        put(body, w::PROTOCOL_TYPE, &we::TYPE_IPV4.to_be_bytes());
        // `as`: both lengths are one byte on the wire.
        put(body, w::HARDWARE_LEN, &[we::ADDR_LEN as u8, ipv4::ADDR_LEN as u8]);
        put(body, w::OPERATION, &operation.to_be_bytes());
        put(body, w::SENDER_MAC, &self.sender_mac.0);
        put(body, w::SENDER_IP, &self.sender_ip.octets());
        put(body, w::TARGET_MAC, &self.target_mac.0);
        put(body, w::TARGET_IP, &self.target_ip.octets());
        ethernet::pad(&mut frame);
        frame
    }
}
