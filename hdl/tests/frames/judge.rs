//! What the receiver must think of a frame, in plain Rust: programmer's guide 2 and 3.

use super::{be16, be32, sum, MAC};
use chimney_abi::wire::{ethernet, ip_protocol, ipv4, ipv6, tcp, udp};

/// What the receiver must report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// The frame.
    pub frame: Vec<u8>,
    /// IPv4 header checksum right.
    pub ip_ok: bool,
    /// TCP or UDP checksum right.
    pub l4_ok: bool,
    /// Clean TCP for us.
    pub candidate: bool,
    /// Its family is IPv6.
    pub is_v6: bool,
    /// Its tag.
    pub tci: Option<u16>,
    /// LLC/SNAP.
    pub snap: bool,
    /// Where the TCP header begins in a candidate, and the datagram ends.
    pub tcp_at: usize,
    /// See `tcp_at`.
    pub end: usize,
    /// Last timestamps option.
    pub ts: Option<(u32, u32)>,
    /// All SACK blocks.
    pub sack: Vec<(u32, u32)>,
}

/// Where the IP header begins, by its framing.
struct Link {
    at: usize,
    ethertype: usize,
    tci: Option<u16>,
    /// End of what the 802.3 length covers.
    llc_end: Option<usize>,
}

fn link(frame: &[u8]) -> Option<Link> {
    let mut at = ethernet::ETHERTYPE;
    let mut tci = None;
    let word = |at: usize| frame.get(at..at + 2).map(|w| be16(w, 0));
    if word(at)? == usize::from(ethernet::TYPE_VLAN) {
        tci = Some(word(at + 2)? as u16);
        at += ethernet::VLAN_TAG_LEN;
    }
    let mut llc_end = None;
    if word(at)? < usize::from(ethernet::MIN_ETHERTYPE) {
        llc_end = Some(at + 2 + word(at)?);
        let llc = frame.get(at + 2..at + 8)?;
        if llc != ethernet::SNAP_HEADER {
            return None;
        }
        at += ethernet::SNAP_LEN;
    }
    Some(Link { at: at + 2, ethertype: word(at)?, tci, llc_end })
}

/// The options that matter; a malformed list ends where it makes no sense.
fn options(mut o: &[u8], e: &mut Expected) {
    while let Some(&kind) = o.first() {
        match kind {
            tcp::OPT_END => break,
            tcp::OPT_NOP => o = &o[1..],
            _ => {
                let len = o.get(1).map_or(0, |len| usize::from(*len));
                let Some(body) = o.get(2..len) else { break };
                if kind == tcp::OPT_TIMESTAMPS && len == tcp::OPT_TIMESTAMPS_LEN {
                    e.ts = Some((be32(body, 0), be32(body, 4)));
                }
                if kind == tcp::OPT_SACK && body.len().is_multiple_of(tcp::SACK_BLOCK_LEN) {
                    e.sack.extend(body.chunks(tcp::SACK_BLOCK_LEN).map(|b| (be32(b, 0), be32(b, 4))));
                }
                o = &o[len..];
            }
        }
    }
}

/// Protocol, and where its part of a whole datagram lies.
fn dgram(frame: &[u8], l: &Link, e: &mut Expected) -> Option<(u8, usize, usize)> {
    let ip = frame.get(l.at..)?;
    let (protocol, header, end) = if l.ethertype == usize::from(ethernet::TYPE_IPV4) {
        let header = ip.get(..ipv4::HEADER_LEN)?;
        e.ip_ok = header[0] == ipv4::VERSION_IHL_PLAIN && sum(&[header]) == 0xffff;
        if !e.ip_ok || be16(ip, ipv4::FLAGS_FRAGMENT) & 0x3fff != 0 {
            return None;
        }
        (ip[ipv4::PROTOCOL], ipv4::HEADER_LEN, be16(ip, ipv4::TOTAL_LEN))
    } else if l.ethertype == usize::from(ethernet::TYPE_IPV6) {
        let header = ip.get(..ipv6::HEADER_LEN)?;
        e.is_v6 = true;
        if header[0] >> 4 != 6 {
            return None;
        }
        (header[ipv6::NEXT_HEADER], ipv6::HEADER_LEN, ipv6::HEADER_LEN + be16(ip, ipv6::PAYLOAD_LEN))
    } else {
        return None;
    };
    let whole = (header..=ip.len()).contains(&end) && l.llc_end.is_none_or(|llc| l.at + end <= llc);
    whole.then_some((protocol, l.at + header, l.at + end))
}

/// Judges a frame.
pub fn judge(frame: &[u8]) -> Expected {
    let mut e = Expected { frame: frame.to_vec(), ..Expected::default() };
    let Some(l) = link(frame) else { return e };
    (e.tci, e.snap) = (l.tci, l.llc_end.is_some());
    let Some((protocol, at, end)) = dgram(frame, &l, &mut e) else { return e };
    let t = &frame[at..end];
    let addresses = if e.is_v6 { &frame[l.at + ipv6::SRC..][..32] } else { &frame[l.at + ipv4::SRC..][..8] };
    let tail = [0, protocol, (t.len() >> 8) as u8, t.len() as u8];
    let clean = sum(&[addresses, &tail, t]) == 0xffff;
    match protocol {
        ip_protocol::UDP if t.len() >= udp::HEADER_LEN => {
            e.l4_ok = clean && be16(t, udp::LEN) == t.len() && be16(t, udp::CHECKSUM) != 0;
        }
        ip_protocol::TCP if t.len() >= tcp::HEADER_LEN => {
            e.l4_ok = clean;
            let header = usize::from(t[tcp::DATA_OFFSET] >> 4) * 4;
            e.candidate = clean && (20..=t.len()).contains(&header) && frame[..6] == MAC;
            if e.candidate {
                (e.tcp_at, e.end) = (at, end);
                options(&t[20..header], &mut e);
            }
        }
        _ => {}
    }
    e
}
