//! ICMP for IPv6: echo, "packet too big", and Neighbor Discovery (RFC 4443, RFC 8201, RFC 4861).

use super::ethernet::MacAddr;
use super::ipv6::Ipv6Header;
use super::{array, be16, be32, put, WireError};
use chimney_abi::wire::{ethernet as we, icmpv6 as w, ip_protocol, ipv6 as wip, tcp as wtcp};
use chimney_abi::SeqNum;
use chimney_host_stack_core::checksum::pseudo_v6;
use std::net::Ipv6Addr;

/// A message this stack acts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Icmpv6Message<'a> {
    /// Echo request: its bytes after type, code and checksum come back unchanged.
    EchoRequest {
        /// Identifier, sequence number and data.
        rest: &'a [u8],
    },
    /// A router dropped a packet of ours that was too long.
    TooBig {
        /// MTU of the next hop.
        mtu: u32,
        /// Destination of the packet.
        dst: Ipv6Addr,
        /// Ports of the TCP segment it carried, ours first.
        ports: (u16, u16),
        /// Its sequence number, to check that it is ours (RFC 5927 4.1).
        seq: SeqNum,
    },
    /// Who has `target`?
    Solicitation {
        /// The address asked for.
        target: Ipv6Addr,
        /// The asker's MAC address; absent from one that has no address yet.
        source_mac: Option<MacAddr>,
    },
    /// The sender, or somebody for it, has `target`.
    Advertisement {
        /// The address.
        target: Ipv6Addr,
        /// Its MAC address.
        target_mac: Option<MacAddr>,
        /// An answer to a solicitation.
        is_solicited: bool,
        /// Replaces what is known.
        is_override: bool,
    },
}

/// Reads the message in a packet with `header`.
///
/// # Errors
/// Any [`WireError`]; `Unsupported` for messages the stack does not act on.
pub fn parse<'a>(header: &Ipv6Header, bytes: &'a [u8]) -> Result<Icmpv6Message<'a>, WireError> {
    let len = u32::try_from(bytes.len()).map_err(|_| WireError::Malformed)?;
    let mut sum = pseudo_v6(header.src.octets(), header.dst.octets(), ip_protocol::ICMPV6, len);
    sum.add_bytes(bytes);
    let rest = bytes.get(w::REST..).ok_or(WireError::Truncated)?;
    if !sum.is_valid() {
        return Err(WireError::BadChecksum);
    }
    match (bytes[w::TYPE], bytes[w::CODE]) {
        (w::TYPE_ECHO_REQUEST, 0) => Ok(Icmpv6Message::EchoRequest { rest }),
        (w::TYPE_TOO_BIG, _) => too_big(bytes),
        (w::TYPE_SOLICITATION, 0) => solicitation(header, bytes),
        (w::TYPE_ADVERTISEMENT, 0) => advertisement(header, bytes),
        _ => Err(WireError::Unsupported),
    }
}

fn too_big(bytes: &[u8]) -> Result<Icmpv6Message<'_>, WireError> {
    let quoted = bytes.get(w::HEADER_LEN..).ok_or(WireError::Truncated)?;
    if array::<1>(quoted, wip::NEXT_HEADER)? != [ip_protocol::TCP] {
        return Err(WireError::Unsupported);
    }
    let segment = quoted.get(wip::HEADER_LEN..).ok_or(WireError::Truncated)?;
    Ok(Icmpv6Message::TooBig {
        mtu: be32(bytes, w::REST)?,
        dst: Ipv6Addr::from(array(quoted, wip::DST)?),
        ports: (be16(segment, wtcp::SRC_PORT)?, be16(segment, wtcp::DST_PORT)?),
        seq: SeqNum(be32(segment, wtcp::SEQ)?),
    })
}

/// RFC 4861 7.1.1: what a node must check before it believes one.
fn solicitation<'a>(header: &Ipv6Header, bytes: &[u8]) -> Result<Icmpv6Message<'a>, WireError> {
    let (target, source_mac) = neighbor(header, bytes, w::OPTION_SOURCE_MAC)?;
    // Somebody who looks whether an address is free has none to be answered at.
    let is_probe = header.src.is_unspecified();
    if is_probe && (source_mac.is_some() || header.dst != solicited_node(target)) {
        return Err(WireError::Malformed);
    }
    Ok(Icmpv6Message::Solicitation { target, source_mac })
}

/// RFC 4861 7.1.2.
fn advertisement<'a>(header: &Ipv6Header, bytes: &[u8]) -> Result<Icmpv6Message<'a>, WireError> {
    let (target, target_mac) = neighbor(header, bytes, w::OPTION_TARGET_MAC)?;
    let flags = bytes[w::REST];
    let is_solicited = flags & w::FLAG_SOLICITED != 0;
    if is_solicited && header.dst.is_multicast() {
        return Err(WireError::Malformed);
    }
    let is_override = flags & w::FLAG_OVERRIDE != 0;
    Ok(Icmpv6Message::Advertisement { target, target_mac, is_solicited, is_override })
}

/// Target of a neighbor message, and the MAC address in the option `kind`.
fn neighbor(header: &Ipv6Header, bytes: &[u8], kind: u8) -> Result<(Ipv6Addr, Option<MacAddr>), WireError> {
    if header.hop_limit != w::NEIGHBOR_HOP_LIMIT {
        return Err(WireError::Malformed);
    }
    let target = Ipv6Addr::from(array(bytes, w::HEADER_LEN)?);
    if target.is_multicast() {
        return Err(WireError::Malformed);
    }
    let mut options = bytes.get(w::NEIGHBOR_OPTIONS..).ok_or(WireError::Truncated)?;
    let mut mac = None;
    while !options.is_empty() {
        let [found, units] = array(options, 0)?;
        let len = usize::from(units) * w::OPTION_UNIT;
        // An option without a length would never end (RFC 4861 4.6).
        let (option, others) = options.split_at_checked(len).ok_or(WireError::Truncated)?;
        if len == 0 {
            return Err(WireError::Malformed);
        }
        if found == kind {
            mac = Some(MacAddr(array(option, 2)?));
        }
        options = others;
    }
    Ok((target, mac))
}

/// All nodes of the link (RFC 4291 2.7.1).
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xFF02, 0, 0, 0, 0, 0, 0, 1);

/// The group in which the owner of `target` is asked (RFC 4291 2.7.1).
#[must_use]
pub fn solicited_node(target: Ipv6Addr) -> Ipv6Addr {
    let mut group = target.octets();
    group[..wip::SOLICITED_NODE.len()].copy_from_slice(&wip::SOLICITED_NODE);
    Ipv6Addr::from(group)
}

/// The MAC address of a group (RFC 2464 7).
#[must_use]
pub fn group_mac(group: Ipv6Addr) -> MacAddr {
    let mut mac = [0; we::ADDR_LEN];
    let (head, tail) = mac.split_at_mut(wip::GROUP_MAC.len());
    head.copy_from_slice(&wip::GROUP_MAC);
    tail.copy_from_slice(&group.octets()[wip::ADDR_LEN - tail.len()..]);
    MacAddr(mac)
}

/// The address that an interface has by its MAC address (RFC 4291 2.5.6, appendix A).
#[must_use]
pub fn link_local(mac: MacAddr) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac.0;
    Ipv6Addr::from([0xFE, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xFF, 0xFE, d, e, f])
}

/// The answer to an echo request with `rest`, without Ethernet header.
#[must_use]
pub fn echo_reply(header: &Ipv6Header, rest: &[u8]) -> Vec<u8> {
    let mut message = vec![w::TYPE_ECHO_REPLY, 0, 0, 0];
    message.extend(rest);
    packet(header, message)
}

/// A neighbor message of `kind` with `flags`, and `mac` in the option that belongs to it.
#[must_use]
pub fn neighbor_packet(header: &Ipv6Header, kind: u8, flags: u8, target: Ipv6Addr, mac: MacAddr) -> Vec<u8> {
    let mut message = vec![kind, 0, 0, 0, flags, 0, 0, 0];
    message.extend(target.octets());
    let is_question = kind == w::TYPE_SOLICITATION;
    message.extend([if is_question { w::OPTION_SOURCE_MAC } else { w::OPTION_TARGET_MAC }, 1]);
    message.extend(mac.0);
    packet(header, message)
}

fn packet(header: &Ipv6Header, mut message: Vec<u8>) -> Vec<u8> {
    // `as`: the caller keeps packets within the MTU.
    let len = message.len() as u32;
    let mut sum = pseudo_v6(header.src.octets(), header.dst.octets(), ip_protocol::ICMPV6, len);
    sum.add_bytes(&message);
    put(&mut message, w::CHECKSUM, &sum.finish().to_be_bytes());
    let mut packet = vec![0; wip::HEADER_LEN];
    header.write(&mut packet, message.len());
    packet.extend(message);
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0x0102, 0x0304);
    const ASKER: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);
    const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

    fn header(src: Ipv6Addr, dst: Ipv6Addr) -> Ipv6Header {
        let (next_header, hop_limit) = (ip_protocol::ICMPV6, w::NEIGHBOR_HOP_LIMIT);
        Ipv6Header { src, dst, next_header, hop_limit, traffic_class: 0, flow_label: 0 }
    }

    fn question(header: &Ipv6Header) -> Vec<u8> {
        neighbor_packet(header, w::TYPE_SOLICITATION, 0, TARGET, MAC).split_off(wip::HEADER_LEN)
    }

    #[test]
    fn groups_and_their_mac_addresses_are_those_of_the_rfcs() {
        let group = solicited_node(TARGET);
        assert_eq!(group.to_string(), "ff02::1:ff02:304");
        assert_eq!(group_mac(group).to_string(), "33:33:ff:02:03:04");
        assert_eq!(link_local(MacAddr([2, 0xc4, 0x1e, 0, 0, 2])).to_string(), "fe80::c4:1eff:fe00:2");
    }

    #[test]
    fn a_solicitation_is_read_as_it_was_written() {
        let header = header(ASKER, solicited_node(TARGET));
        let message = Icmpv6Message::Solicitation { target: TARGET, source_mac: Some(MAC) };
        assert_eq!(parse(&header, &question(&header)), Ok(message));
    }

    #[test]
    fn what_came_through_a_router_or_contradicts_itself_is_refused() {
        let to_group = header(ASKER, solicited_node(TARGET));
        let bytes = question(&to_group);
        let routed = Ipv6Header { hop_limit: 254, ..to_group };
        assert_eq!(parse(&routed, &bytes), Err(WireError::Malformed));
        assert_eq!(parse(&header(ASKER, TARGET), &bytes), Err(WireError::BadChecksum));
        // Without an address of its own, but with a MAC address to answer to.
        let nobody = header(Ipv6Addr::UNSPECIFIED, solicited_node(TARGET));
        assert_eq!(parse(&nobody, &question(&nobody)), Err(WireError::Malformed));
        // An option of length 0, one that ends behind the message, and no room for a target.
        for (cut, units) in [(0, 0), (0, 2), (20, 1)] {
            let mut message = bytes.clone();
            message[w::NEIGHBOR_OPTIONS + 1] = units;
            message.truncate(message.len() - cut);
            put(&mut message, w::CHECKSUM, &[0, 0]);
            let whole = packet(&to_group, message).split_off(wip::HEADER_LEN);
            let want = if units == 0 { WireError::Malformed } else { WireError::Truncated };
            assert_eq!(parse(&to_group, &whole), Err(want), "cut {cut}, length {units}");
        }
    }
}
