//! The same TCP segment in another framing or in the other family.
//!
//! ```text
//!   Ethernet II + IPv4   --dress-->    [802.1Q tag] Ethernet II or LLC/SNAP + IPv4 or IPv6
//!                        <--undress--  every length, checksum and padding byte is checked
//! ```
//! So a peer that knows Ethernet II and IPv4 alone can talk to a device whose neighbor and path objects say something else.
//! An IPv4 address becomes the IPv6 address `fd00::` with the same last four bytes.

use crate::rng::Rng;
use chimney_abi::wire::{ethernet, ip_protocol, ipv4, ipv6, tcp};
use chimney_host_stack_core::checksum::{pseudo_v4, pseudo_v6, Checksum};
use std::net::{Ipv4Addr, Ipv6Addr};

/// How frames of a connection look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Guise {
    /// The second half of an 802.1Q tag: priority and id.
    pub tci: Option<u16>,
    /// LLC/SNAP instead of a type field.
    pub is_llc_snap: bool,
    /// IPv6, with this traffic class and flow label.
    pub v6: Option<V6>,
}

/// What an IPv6 header has and an IPv4 header has not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct V6 {
    /// 20 bits.
    pub flow_label: u32,
}

/// A frame is not what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GuiseError {
    /// It ends too early.
    #[error("the frame is cut off")]
    Truncated,
    /// Neither IPv4 nor IPv6 with TCP, or a header that nobody should send.
    #[error("not a plain TCP segment: {0}")]
    Header(&'static str),
    /// A checksum is wrong.
    #[error("wrong checksum: {0}")]
    Checksum(&'static str),
    /// Bytes behind the datagram that are not the padding of a smallest frame.
    #[error("wrong padding")]
    Padding,
}

/// Addresses, TOS, TTL and segment of a frame.
struct Parts<'a> {
    macs: &'a [u8],
    ips: [Ipv4Addr; 2],
    tos: u8,
    ttl: u8,
    id: u16,
    segment: &'a [u8],
}

/// The IPv6 address that stands for an IPv4 address.
pub fn six(v4: Ipv4Addr) -> Ipv6Addr {
    let mut bytes = [0; ipv6::ADDR_LEN];
    bytes[0] = 0xfd;
    bytes[ipv6::ADDR_LEN - ipv4::ADDR_LEN..].copy_from_slice(&v4.octets());
    Ipv6Addr::from(bytes)
}

fn four(v6: &[u8]) -> Result<Ipv4Addr, GuiseError> {
    let [.., a, b, c, d] = *v6 else { return Err(GuiseError::Truncated) };
    let v4 = Ipv4Addr::new(a, b, c, d);
    let is_ours = six(v4).octets() == *v6;
    is_ours.then_some(v4).ok_or(GuiseError::Header("address"))
}

impl Guise {
    /// Half of them Ethernet II and IPv4, the others anything.
    pub fn random(rng: &mut Rng) -> Guise {
        if rng.chance(0.5) {
            return Guise::default();
        }
        let id = [0, 1, 5, ethernet::MAX_VLAN_ID][rng.below(4) as usize];
        let priority = rng.below(8) as u16;
        let tci = priority << ethernet::PRIORITY_SHIFT | id;
        let flow_label = rng.below(1 << ipv6::FLOW_LABEL_BITS) as u32;
        Guise {
            // R-283: without id and priority there is no tag.
            tci: Some(tci).filter(|tci| *tci != 0 && rng.chance(0.5)),
            is_llc_snap: rng.chance(0.5),
            v6: rng.chance(0.5).then_some(V6 { flow_label }),
        }
    }

    /// Bytes of link and IP header.
    pub fn headers_len(&self) -> usize {
        let tag = if self.tci.is_some() { ethernet::VLAN_TAG_LEN } else { 0 };
        let snap = if self.is_llc_snap { ethernet::SNAP_LEN } else { 0 };
        let ip = if self.v6.is_some() { ipv6::HEADER_LEN } else { ipv4::HEADER_LEN };
        ethernet::HEADER_LEN + tag + snap + ip
    }

    /// A frame of Ethernet II and IPv4 with TCP in this guise, padded to the smallest frame; any other frame as it is.
    pub fn dress(&self, plain: &[u8]) -> Vec<u8> {
        match (parse(plain), *self == Guise::default()) {
            (Ok((Guise { tci: None, is_llc_snap: false, v6: None }, parts)), false) => self.build(&parts),
            _ => plain.to_vec(),
        }
    }

    /// The guise of a frame, and the frame without it: Ethernet II and IPv4.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn undress(frame: &[u8]) -> Result<(Guise, Vec<u8>), GuiseError> {
        let (guise, parts) = parse(frame)?;
        let used = guise.headers_len() + parts.segment.len();
        let padding = frame.get(used..).ok_or(GuiseError::Truncated)?;
        if frame.len() != used.max(ethernet::MIN_FRAME_LEN) || padding.iter().any(|b| *b != 0) {
            return Err(GuiseError::Padding);
        }
        Ok((guise, Guise::default().build(&parts)))
    }

    fn build(&self, p: &Parts<'_>) -> Vec<u8> {
        let mut f = p.macs.to_vec();
        if let Some(tci) = self.tci {
            f.extend(ethernet::TYPE_VLAN.to_be_bytes());
            f.extend(tci.to_be_bytes());
        }
        let ip_len = if self.v6.is_some() { ipv6::HEADER_LEN } else { ipv4::HEADER_LEN };
        if self.is_llc_snap {
            // `as`: frames fit an Ethernet link.
            f.extend(((ethernet::SNAP_LEN + ip_len + p.segment.len()) as u16).to_be_bytes());
            f.extend(ethernet::SNAP_HEADER);
        }
        let [src, dst] = p.ips;
        let mut segment = p.segment.to_vec();
        segment[tcp::CHECKSUM..][..2].fill(0);
        let len = segment.len();
        let mut sum = if let Some(v6) = self.v6 {
            f.extend(ethernet::TYPE_IPV6.to_be_bytes());
            f.extend(ipv6_header(p, v6.flow_label));
            pseudo_v6(six(src).octets(), six(dst).octets(), ip_protocol::TCP, len as u32)
        } else {
            f.extend(ethernet::TYPE_IPV4.to_be_bytes());
            f.extend(ipv4_header(p));
            pseudo_v4(src.octets(), dst.octets(), ip_protocol::TCP, len as u16)
        };
        sum.add_bytes(&segment);
        segment[tcp::CHECKSUM..][..2].copy_from_slice(&sum.finish().to_be_bytes());
        f.extend(segment);
        f.resize(f.len().max(ethernet::MIN_FRAME_LEN), 0);
        f
    }
}

fn ipv6_header(p: &Parts<'_>, flow_label: u32) -> Vec<u8> {
    let word = u32::from(ipv6::VERSION) << 24 | u32::from(p.tos) << ipv6::FLOW_LABEL_BITS | flow_label;
    let mut ip = word.to_be_bytes().to_vec();
    // `as`: frames fit an Ethernet link.
    ip.extend((p.segment.len() as u16).to_be_bytes());
    ip.extend([ip_protocol::TCP, p.ttl]);
    p.ips.iter().for_each(|a| ip.extend(six(*a).octets()));
    ip
}

fn ipv4_header(p: &Parts<'_>) -> Vec<u8> {
    let mut ip = vec![0; ipv4::HEADER_LEN];
    let mut put = |at: usize, bytes: &[u8]| ip[at..at + bytes.len()].copy_from_slice(bytes);
    put(ipv4::VERSION_IHL, &[ipv4::VERSION_IHL_PLAIN, p.tos]);
    // `as`: frames fit an Ethernet link.
    put(ipv4::TOTAL_LEN, &((ipv4::HEADER_LEN + p.segment.len()) as u16).to_be_bytes());
    put(ipv4::ID, &p.id.to_be_bytes());
    put(ipv4::FLAGS_FRAGMENT, &ipv4::FLAG_DF.to_be_bytes());
    put(ipv4::TTL, &[p.ttl, ip_protocol::TCP]);
    put(ipv4::SRC, &p.ips[0].octets());
    put(ipv4::DST, &p.ips[1].octets());
    let mut sum = Checksum::default();
    sum.add_bytes(&ip);
    ip[ipv4::CHECKSUM..][..2].copy_from_slice(&sum.finish().to_be_bytes());
    ip
}

fn be16(bytes: &[u8], at: usize) -> Result<u16, GuiseError> {
    let word = bytes.get(at..at + 2).ok_or(GuiseError::Truncated)?;
    Ok(u16::from_be_bytes([word[0], word[1]]))
}

fn parse(frame: &[u8]) -> Result<(Guise, Parts<'_>), GuiseError> {
    let mut guise = Guise::default();
    let mut at = ethernet::ETHERTYPE;
    if be16(frame, at)? == ethernet::TYPE_VLAN {
        guise.tci = Some(be16(frame, at + 2)?);
        at += ethernet::VLAN_TAG_LEN;
    }
    let mut covered = None;
    if be16(frame, at)? < ethernet::MIN_ETHERTYPE {
        covered = Some(at + 2 + usize::from(be16(frame, at)?));
        if frame.get(at + 2..at + 8) != Some(&ethernet::SNAP_HEADER[..]) {
            return Err(GuiseError::Header("LLC"));
        }
        guise.is_llc_snap = true;
        at += ethernet::SNAP_LEN;
    }
    let ip = frame.get(at + 2..).ok_or(GuiseError::Truncated)?;
    let macs = &frame[..ethernet::ETHERTYPE];
    let parts = match be16(frame, at)? {
        ethernet::TYPE_IPV4 => parse_v4(macs, ip)?,
        ethernet::TYPE_IPV6 => {
            let (v6, parts) = parse_v6(macs, ip)?;
            guise.v6 = Some(v6);
            parts
        }
        _ => return Err(GuiseError::Header("type")),
    };
    let end = guise.headers_len() + parts.segment.len();
    if covered.is_some_and(|covered| covered != end) {
        return Err(GuiseError::Header("802.3 length"));
    }
    Ok((guise, parts))
}

fn parse_v4<'a>(macs: &'a [u8], ip: &'a [u8]) -> Result<Parts<'a>, GuiseError> {
    let header = ip.get(..ipv4::HEADER_LEN).ok_or(GuiseError::Truncated)?;
    let is_plain = header[ipv4::VERSION_IHL] == ipv4::VERSION_IHL_PLAIN
        && be16(header, ipv4::FLAGS_FRAGMENT)? == ipv4::FLAG_DF
        && header[ipv4::PROTOCOL] == ip_protocol::TCP;
    if !is_plain {
        return Err(GuiseError::Header("IPv4"));
    }
    let mut sum = Checksum::default();
    sum.add_bytes(header);
    if !sum.is_valid() {
        return Err(GuiseError::Checksum("IPv4"));
    }
    let end = usize::from(be16(header, ipv4::TOTAL_LEN)?);
    let segment = ip.get(ipv4::HEADER_LEN..end).ok_or(GuiseError::Truncated)?;
    let addr = |at: usize| Ipv4Addr::new(header[at], header[at + 1], header[at + 2], header[at + 3]);
    let ips = [addr(ipv4::SRC), addr(ipv4::DST)];
    let [src, dst] = ips.map(|a| a.octets());
    // `as`: bounded by the total length.
    check(pseudo_v4(src, dst, ip_protocol::TCP, segment.len() as u16), segment)?;
    let (tos, ttl, id) = (header[ipv4::TOS], header[ipv4::TTL], be16(header, ipv4::ID)?);
    Ok(Parts { macs, ips, tos, ttl, id, segment })
}

fn parse_v6<'a>(macs: &'a [u8], ip: &'a [u8]) -> Result<(V6, Parts<'a>), GuiseError> {
    let header = ip.get(..ipv6::HEADER_LEN).ok_or(GuiseError::Truncated)?;
    let word = u32::from(be16(header, 0)?) << 16 | u32::from(be16(header, 2)?);
    if word >> 28 != 6 || header[ipv6::NEXT_HEADER] != ip_protocol::TCP {
        return Err(GuiseError::Header("IPv6"));
    }
    let len = usize::from(be16(header, ipv6::PAYLOAD_LEN)?);
    let segment = ip.get(ipv6::HEADER_LEN..ipv6::HEADER_LEN + len).ok_or(GuiseError::Truncated)?;
    let ips = [four(&header[ipv6::SRC..ipv6::DST])?, four(&header[ipv6::DST..])?];
    let [src, dst] = ips.map(|a| six(a).octets());
    // `as`: bounded by the payload length.
    check(pseudo_v6(src, dst, ip_protocol::TCP, len as u32), segment)?;
    // `as`: the traffic class is these eight bits.
    let (tos, ttl) = ((word >> ipv6::FLOW_LABEL_BITS) as u8, header[ipv6::HOP_LIMIT]);
    let flow_label = word & ((1 << ipv6::FLOW_LABEL_BITS) - 1);
    Ok((V6 { flow_label }, Parts { macs, ips, tos, ttl, id: 0, segment }))
}

fn check(mut sum: Checksum, segment: &[u8]) -> Result<(), GuiseError> {
    sum.add_bytes(segment);
    if segment.len() < tcp::HEADER_LEN {
        Err(GuiseError::Truncated)
    } else if !sum.is_valid() {
        Err(GuiseError::Checksum("TCP"))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TransportSlice};

    fn plain(text: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        let ip = PacketBuilder::ethernet2([2; 6], [3; 6]).ipv4([10, 0, 0, 2], [10, 0, 0, 1], 64);
        ip.tcp(1000, 2000, 7, 8).write(&mut frame, text).expect("written to memory");
        frame.resize(frame.len().max(60), 0);
        frame
    }

    fn all() -> Vec<Guise> {
        let v6 = Some(V6 { flow_label: 0xf_1234 });
        let tci = Some(0xa005);
        (0..8)
            .map(|n| Guise {
                tci: tci.filter(|_| n & 1 != 0),
                is_llc_snap: n & 2 != 0,
                v6: v6.filter(|_| n & 4 != 0),
            })
            .collect()
    }

    #[test]
    fn a_segment_survives_every_guise() {
        for guise in all() {
            for len in [0, 1, 2, 5, 6, 1000] {
                let text = vec![7; len];
                let dressed = guise.dress(&plain(&text));
                assert_eq!(dressed.len(), (guise.headers_len() + 20 + len).max(60));
                let (seen, back) = Guise::undress(&dressed).expect("in order");
                assert_eq!((seen, &back), (guise, &plain(&text)));
                for at in 12..guise.headers_len() + 20 + len {
                    let mut bad = dressed.clone();
                    bad[at] ^= 0x10;
                    let seen = Guise::undress(&bad);
                    assert!(seen != Ok((guise, back.clone())), "byte {at} of {guise:?} counts");
                }
            }
        }
    }

    #[test]
    fn another_implementation_reads_what_was_dressed() {
        for guise in all().into_iter().filter(|g| !g.is_llc_snap) {
            let dressed = guise.dress(&plain(b"text"));
            let packet = SlicedPacket::from_ethernet(&dressed).expect("a clean frame");
            let Some(TransportSlice::Tcp(tcp)) = packet.transport else { panic!("not TCP") };
            let sum = match packet.net {
                Some(NetSlice::Ipv4(ip)) => {
                    tcp.calc_checksum_ipv4(ip.header().source(), ip.header().destination())
                }
                Some(NetSlice::Ipv6(ip)) => {
                    assert_eq!(ip.header().flow_label().value(), 0xf_1234);
                    tcp.calc_checksum_ipv6(ip.header().source(), ip.header().destination())
                }
                _ => panic!("not IP"),
            };
            assert_eq!(Ok(tcp.checksum()), sum.map_err(|_| ()));
            assert_eq!((tcp.payload(), tcp.source_port()), (&b"text"[..], 1000));
        }
    }

    #[test]
    fn padding_must_be_zeros_and_no_more_than_needed() {
        let mut frame = Guise::default().dress(&plain(&[]));
        frame.resize(60, 0);
        assert!(Guise::undress(&frame).is_ok());
        frame[59] = 1;
        assert_eq!(Guise::undress(&frame), Err(GuiseError::Padding));
        frame[59] = 0;
        frame.push(0);
        assert_eq!(Guise::undress(&frame), Err(GuiseError::Padding));
    }
}
