//! A large frame of TCP and the segments that it becomes: what a device with segmentation offload does, and a host
//! without one.
//!
//! Ethernet II with or without a tag; IPv4 without options, or IPv6 without extensions; TCP with any options. Headers are
//! repeated but for lengths, sequence number, identification (which stays in its half of the space, R-278) and checksums,
//! which are made anew, pseudo header and all; FIN and PSH go with the last segment, CWR with the first one.

use crate::checksum::Checksum;
use chimney_abi::wire::ethernet::{self, MAX_JUMBO_LEN};
use chimney_abi::wire::ipv4::{self, ID_HALF_LEN};
use chimney_abi::wire::{ip_protocol, ipv6, tcp};

/// Room for the headers of a segment, bytes.
const MAX_HEADERS: usize =
    ethernet::HEADER_LEN + ethernet::VLAN_TAG_LEN + ipv6::HEADER_LEN + tcp::HEADER_LEN + tcp::MAX_OPTIONS_LEN;
/// Flags of a segment that cannot be divided.
const WHOLE_FLAGS: u8 = tcp::FLAG_SYN | tcp::FLAG_RST | tcp::FLAG_URG;

/// A frame that can be divided, and how.
#[derive(Clone, Copy, Debug)]
pub struct Large<'a> {
    frame: &'a [u8],
    mss: usize,
    is_ipv6: bool,
    ip: usize,
    tcp: usize,
    text: usize,
}

/// One segment: its headers and its part of the text.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    headers: [u8; MAX_HEADERS],
    len: usize,
    /// The text.
    pub text: &'a [u8],
}

impl Piece<'_> {
    /// The headers, checksums included.
    #[must_use]
    pub fn headers(&self) -> &[u8] {
        &self.headers[..self.len]
    }
}

/// A 16-bit field of a frame.
fn be16(frame: &[u8], at: usize) -> Option<u16> {
    frame.get(at..at + 2).map(|b| u16::from_be_bytes([b[0], b[1]]))
}

fn put16(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

impl<'a> Large<'a> {
    /// The frame, if it can be divided into segments with `mss` bytes of text (the last one may have less).
    #[must_use]
    pub fn new(frame: &'a [u8], mss: u16) -> Option<Large<'a>> {
        let mss = usize::from(mss);
        let is_tagged = be16(frame, ethernet::ETHERTYPE)? == ethernet::TYPE_VLAN;
        let ip = ethernet::HEADER_LEN + if is_tagged { ethernet::VLAN_TAG_LEN } else { 0 };
        let is_ipv6 = match be16(frame, ip - 2)? {
            ethernet::TYPE_IPV4 => false,
            ethernet::TYPE_IPV6 => true,
            _ => return None,
        };
        let tcp = ip + if is_ipv6 { ipv6::HEADER_LEN } else { ipv4::HEADER_LEN };
        let header = frame.get(tcp..tcp + tcp::HEADER_LEN)?;
        let is_tcp = if is_ipv6 {
            frame[ip] & 0xF0 == ipv6::VERSION && frame[ip + ipv6::NEXT_HEADER] == ip_protocol::TCP
        } else {
            let fragment = be16(frame, ip + ipv4::FLAGS_FRAGMENT)? & (ipv4::FLAG_MF | ipv4::FRAGMENT_MASK);
            frame[ip] == ipv4::VERSION_IHL_PLAIN
                && fragment == 0
                && frame[ip + ipv4::PROTOCOL] == ip_protocol::TCP
        };
        let tcp_len = usize::from(header[tcp::DATA_OFFSET] >> 4) * 4;
        let is_divisible = is_tcp && tcp_len >= tcp::HEADER_LEN && header[tcp::FLAGS] & WHOLE_FLAGS == 0;
        let text = tcp + tcp_len;
        let fits = mss > 0 && text + mss <= MAX_JUMBO_LEN && text < frame.len();
        (is_divisible && fits).then_some(Large { frame, mss, is_ipv6, ip, tcp, text })
    }

    /// Segments that it becomes, at least one.
    #[must_use]
    pub fn count(&self) -> usize {
        (self.frame.len() - self.text).div_ceil(self.mss)
    }

    /// Segment `i`, in order from 0.
    #[must_use]
    pub fn piece(&self, i: usize) -> Option<Piece<'a>> {
        let from = self.text.checked_add(i.checked_mul(self.mss)?)?;
        let text = self.frame.get(from..).filter(|rest| !rest.is_empty())?;
        let text = &text[..text.len().min(self.mss)];
        let mut headers = [0; MAX_HEADERS];
        let h = &mut headers[..self.text];
        h.copy_from_slice(&self.frame[..self.text]);
        let seq = [0, 1, 2, 3].map(|n| h[self.tcp + tcp::SEQ + n]);
        // `as`: bytes of text before this one, at most 64 KiB.
        let seq = u32::from_be_bytes(seq).wrapping_add((from - self.text) as u32);
        h[self.tcp + tcp::SEQ..self.tcp + tcp::SEQ + 4].copy_from_slice(&seq.to_be_bytes());
        let not_last = if i + 1 < self.count() { tcp::FLAG_FIN | tcp::FLAG_PSH } else { 0 };
        let not_first = if i > 0 { tcp::FLAG_CWR } else { 0 };
        h[self.tcp + tcp::FLAGS] &= !(not_last | not_first);
        // `as`: a segment is not longer than a frame may be.
        let tcp_len = (self.text - self.tcp + text.len()) as u16;
        self.number(h, i, tcp_len);
        put16(h, self.tcp + tcp::CHECKSUM, 0);
        let mut sum = Checksum::default();
        sum.add_bytes(&h[self.ip + if self.is_ipv6 { ipv6::SRC } else { ipv4::SRC }..self.text]);
        sum.add_u16(ip_protocol::TCP.into());
        sum.add_u16(tcp_len);
        sum.add_bytes(text);
        put16(h, self.tcp + tcp::CHECKSUM, sum.finish());
        Some(Piece { headers, len: self.text, text })
    }

    /// Length, and identification with the header's checksum (IPv4).
    fn number(&self, h: &mut [u8], i: usize, tcp_len: u16) {
        let ip = &mut h[self.ip..self.tcp];
        if self.is_ipv6 {
            return put16(ip, ipv6::PAYLOAD_LEN, tcp_len);
        }
        // `as`: header length; the remainder is below 2^15.
        put16(ip, ipv4::TOTAL_LEN, ipv4::HEADER_LEN as u16 + tcp_len);
        let id = u16::from_be_bytes([ip[ipv4::ID], ip[ipv4::ID + 1]]);
        let half = ID_HALF_LEN as u16;
        let next = (id & (half - 1)).wrapping_add(i as u16) & (half - 1);
        put16(ip, ipv4::ID, id & half | next);
        put16(ip, ipv4::CHECKSUM, 0);
        let mut sum = Checksum::default();
        sum.add_bytes(ip);
        put16(ip, ipv4::CHECKSUM, sum.finish());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    const FIN_PSH_CWR_ACK: u8 = tcp::FLAG_FIN | tcp::FLAG_PSH | tcp::FLAG_CWR | tcp::FLAG_ACK;

    fn frame(is_tagged: bool, is_ipv6: bool, options: usize, text: &[u8]) -> Vec<u8> {
        let mut f: Vec<u8> = (0..12).collect();
        if is_tagged {
            f.extend(ethernet::TYPE_VLAN.to_be_bytes());
            f.extend([0x20, 5]);
        }
        f.extend(if is_ipv6 { ethernet::TYPE_IPV6 } else { ethernet::TYPE_IPV4 }.to_be_bytes());
        let ip = f.len();
        f.resize(ip + if is_ipv6 { ipv6::HEADER_LEN } else { ipv4::HEADER_LEN }, 7);
        if is_ipv6 {
            f[ip] = ipv6::VERSION;
            f[ip + ipv6::NEXT_HEADER] = ip_protocol::TCP;
        } else {
            f[ip] = ipv4::VERSION_IHL_PLAIN;
            put16(&mut f, ip + ipv4::ID, 0x7FFE);
            put16(&mut f, ip + ipv4::FLAGS_FRAGMENT, ipv4::FLAG_DF);
            f[ip + ipv4::PROTOCOL] = ip_protocol::TCP;
        }
        let t = f.len();
        f.resize(t + tcp::HEADER_LEN + 4 * options, 1);
        f[t + tcp::SEQ..t + tcp::SEQ + 4].copy_from_slice(&0xFFFF_FF00_u32.to_be_bytes());
        f[t + tcp::DATA_OFFSET] = (5 + options as u8) << 4;
        f[t + tcp::FLAGS] = FIN_PSH_CWR_ACK;
        f.extend_from_slice(text);
        f
    }

    proptest! {
        #![proptest_config(crate::test_seed::config())]

        #[test]
        fn segments_have_the_text_in_order_and_right_checksums(
            is_tagged: bool, is_ipv6: bool, options in 0usize..11, mss in 1u16..2000,
            text in proptest::collection::vec(any::<u8>(), 1..6000)
        ) {
            let whole = frame(is_tagged, is_ipv6, options, &text);
            let large = Large::new(&whole, mss).expect("it can be divided");
            let mut got = Vec::new();
            for i in 0..large.count() {
                let piece = large.piece(i).expect("one of them");
                let h = piece.headers();
                prop_assert_eq!(h.len() + text.len(), whole.len());
                prop_assert_eq!(&h[large.tcp + tcp::SEQ..][..4], &0xFFFF_FF00_u32.wrapping_add(got.len() as u32).to_be_bytes());
                let flags = h[large.tcp + tcp::FLAGS];
                prop_assert_eq!(flags & tcp::FLAG_CWR != 0, i == 0);
                prop_assert_eq!(flags & tcp::FLAG_FIN != 0, i + 1 == large.count());
                let mut sum = Checksum::default();
                sum.add_bytes(&h[large.ip + if is_ipv6 { ipv6::SRC } else { ipv4::SRC }..]);
                sum.add_bytes(piece.text);
                let len = h.len() - large.tcp + piece.text.len();
                sum.add_u32(len as u32 + u32::from(ip_protocol::TCP));
                prop_assert!(sum.is_valid());
                if is_ipv6 {
                    prop_assert_eq!(be16(h, large.ip + ipv6::PAYLOAD_LEN), Some(len as u16));
                } else {
                    let mut sum = Checksum::default();
                    sum.add_bytes(&h[large.ip..large.tcp]);
                    prop_assert!(sum.is_valid());
                    prop_assert_eq!(be16(h, large.ip + ipv4::TOTAL_LEN), Some((ipv4::HEADER_LEN + len) as u16));
                    prop_assert_eq!(be16(h, large.ip + ipv4::ID), Some((0x7FFE + i as u16) & 0x7FFF));
                }
                got.extend_from_slice(piece.text);
            }
            prop_assert!(large.piece(large.count()).is_none());
            prop_assert_eq!(got, text);
        }
    }

    /// Verifies: R-006
    #[test]
    fn what_is_not_a_divisible_segment_of_tcp_is_refused() {
        let good = frame(true, false, 3, &[1; 3000]);
        assert!(Large::new(&good, 1448).is_some());
        assert!(Large::new(&good, 0).is_none(), "no MSS");
        assert!(Large::new(&good, 9000).is_none(), "longer than any frame");
        assert!(Large::new(&good[..good.len() - 3000], 1448).is_none(), "no text");
        assert!(Large::new(&good[..10], 1448).is_none());
        let (ip, t) = (18, 38);
        let changes = [
            (16, 0x08, 0x06),
            (ip, 0x45, 0x46),
            (ip + ipv4::FLAGS_FRAGMENT, 0x40, 0x60),
            (ip + ipv4::FLAGS_FRAGMENT + 1, 0, 1),
            (ip + ipv4::PROTOCOL, 6, 17),
            (t + tcp::DATA_OFFSET, 0x80, 0x40),
            (t + tcp::FLAGS, FIN_PSH_CWR_ACK, FIN_PSH_CWR_ACK | tcp::FLAG_SYN),
            (t + tcp::FLAGS, FIN_PSH_CWR_ACK, FIN_PSH_CWR_ACK | tcp::FLAG_RST),
            (t + tcp::FLAGS, FIN_PSH_CWR_ACK, FIN_PSH_CWR_ACK | tcp::FLAG_URG),
        ];
        for (at, from, to) in changes {
            let mut bad = good.clone();
            assert_eq!(bad[at], from, "{at}");
            bad[at] = to;
            assert!(Large::new(&bad, 1448).is_none(), "{at}: {to:#x}");
        }
    }
}
