//! A router's congestion mark (RFC 3168 5) in a frame: what a queue does to packets whose senders take marks for losses.

use chimney_abi::wire::{ethernet, ipv4, ipv6};
use chimney_host_stack_core::checksum::Checksum;
use chimney_host_stack_core::ecn::{CE, NOT_ECT};

/// Marks a frame, IPv4 or IPv6, with or without a tag; false, and nothing is changed, if its packet is not ECN-capable.
pub fn mark(frame: &mut [u8]) -> bool {
    let Some(ip) = ip_packet(frame) else { return false };
    match ip.first().map(|byte| byte >> 4) {
        Some(4) if ip.len() >= ipv4::HEADER_LEN => mark_v4(ip),
        Some(6) if ip.len() >= ipv6::HEADER_LEN => mark_v6(ip),
        _ => false,
    }
}

/// What follows the type field.
fn ip_packet(frame: &mut [u8]) -> Option<&mut [u8]> {
    let type_at = |at: usize| frame.get(at..at + 2).map(|b| u16::from_be_bytes([b[0], b[1]]));
    let mut at = ethernet::HEADER_LEN - 2;
    if type_at(at)? == ethernet::TYPE_VLAN {
        at += ethernet::VLAN_TAG_LEN;
    }
    let is_ip = matches!(type_at(at)?, ethernet::TYPE_IPV4 | ethernet::TYPE_IPV6);
    is_ip.then(|| frame.get_mut(at + 2..))?
}

fn mark_v4(ip: &mut [u8]) -> bool {
    if ip[ipv4::TOS] & ipv4::ECN_MASK == NOT_ECT {
        return false;
    }
    ip[ipv4::TOS] |= CE;
    let len = usize::from(ip[ipv4::VERSION_IHL] & 0xf) * 4;
    ip[ipv4::CHECKSUM..ipv4::CHECKSUM + 2].fill(0);
    let mut sum = Checksum::default();
    sum.add_bytes(&ip[..len.min(ip.len())]);
    let sum = sum.finish().to_be_bytes();
    ip[ipv4::CHECKSUM..ipv4::CHECKSUM + 2].copy_from_slice(&sum);
    true
}

fn mark_v6(ip: &mut [u8]) -> bool {
    // Version, traffic class, flow label: the ECN field is in the upper half of the second byte.
    let byte = &mut ip[ipv6::VERSION_CLASS_FLOW + 1];
    let is_capable = *byte >> 4 & ipv4::ECN_MASK != NOT_ECT;
    if is_capable {
        *byte |= CE << 4;
    }
    is_capable
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::{PacketBuilder, SlicedPacket};

    fn frame(is_v6: bool, class: u8) -> Vec<u8> {
        let ethernet = PacketBuilder::ethernet2([1; 6], [2; 6]);
        let ip = if is_v6 {
            ethernet.ipv6([3; 16], [4; 16], 64)
        } else {
            ethernet.ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        };
        let mut frame = Vec::new();
        ip.tcp(1, 2, 3, 4).write(&mut frame, b"text").expect("a vector takes everything");
        if is_v6 {
            frame[14] |= class >> 4;
            frame[15] |= class << 4;
        } else {
            frame[15] = class;
            let mut header = etherparse::Ipv4Header::from_slice(&frame[14..]).expect("a header").0;
            header.header_checksum = header.calc_header_checksum();
            frame[14..34].copy_from_slice(&header.to_bytes());
        }
        frame
    }

    #[test]
    fn capable_packets_are_marked_and_stay_valid_and_others_stay_as_they_are() {
        for (is_v6, class) in
            [false, true].into_iter().flat_map(|v6| [0xb8, 0xb9, 0xba, 0xbb].map(|c| (v6, c)))
        {
            let before = frame(is_v6, class);
            let mut after = before.clone();
            assert_eq!(mark(&mut after), class & 3 != 0);
            let want = if class & 3 == 0 { before } else { frame(is_v6, class | 3) };
            assert_eq!(after, want, "v6 {is_v6} {class:x}: the DSCP stays, the checksum is right");
            assert!(SlicedPacket::from_ethernet(&after).is_ok());
        }
    }

    #[test]
    fn tagged_ones_too_and_anything_else_is_left_alone() {
        let plain = frame(false, 2);
        let mut tagged = [&plain[..12], &[0x81, 0, 0, 5], &plain[12..]].concat();
        assert!(mark(&mut tagged));
        assert_eq!(tagged[19], 3);
        for len in 0..34 {
            assert!(!mark(&mut plain[..len].to_vec()), "{len}");
        }
        let mut arp = vec![0xff; 60];
        arp[12..14].copy_from_slice(&[8, 6]);
        assert!(!mark(&mut arp));
    }
}
