//! Ethernet and IP headers of outgoing segments, in words of 32 bits as they lie in the frame from its third byte on.
//!
//! ```text
//!   word         0    1    2           3           4            5
//!   Ethernet II  dst  src  src, type   IP
//!   tagged       dst  src  src, 8100   tag, type   IP
//!   LLC/SNAP     dst  src  src, length AA AA 03 00 00 00, type  IP
//!   both         dst  src  src, 8100   tag, length AA AA 03 00  00 00, type  IP
//! ```
//! The first two bytes of the frame are before word 0. All headers are whole words from there on, so a beat is half a word, a word
//! and half a word; even and odd words of a header are chosen apart, because a pair of neighbors has one of each.
//!
//! Pure functions. IPv4 checksum and identification are zero here and put in when the frame leaves: packets are numbered in the
//! order of sending (R-279), and some of those begun are never sent.
use crate::prelude::*;
use crate::stream::lanes::{swap16, swap32};
use chimney_abi::wire::{ethernet, ip_protocol, ipv4, ipv6};

/// Bits of a word's number in the headers.
pub const WORD_NO: usize = 5;
/// Word at which IP begins in an untagged frame of Ethernet II.
const IP_AT: u64 = (ethernet::HEADER_LEN as u64 - 2) / 4;
const SNAP_WORDS: u64 = ethernet::SNAP_LEN as u64 / 4;
const V4_WORDS: u64 = ipv4::HEADER_LEN as u64 / 4;
const V6_WORDS: u64 = ipv6::HEADER_LEN as u64 / 4;
const V4_LEN: u64 = ipv4::HEADER_LEN as u64;
/// What the 802.3 length counts in front of TCP.
const SNAP_V4: u64 = (ethernet::SNAP_LEN + ipv4::HEADER_LEN) as u64;
const SNAP_V6: u64 = (ethernet::SNAP_LEN + ipv6::HEADER_LEN) as u64;
/// Types as they lie in a frame.
const TYPE_V4: u64 = ethernet::TYPE_IPV4.swap_bytes() as u64;
const TYPE_V6: u64 = ethernet::TYPE_IPV6.swap_bytes() as u64;
const TYPE_VLAN: u64 = ethernet::TYPE_VLAN.swap_bytes() as u64;
/// SAPs, UI and the first byte of the OUI (RFC 1042); the rest of the OUI is zero.
const LLC: u64 = u32::from_le_bytes([
    ethernet::SNAP_HEADER[0],
    ethernet::SNAP_HEADER[1],
    ethernet::SNAP_HEADER[2],
    ethernet::SNAP_HEADER[3],
]) as u64;
const VERSION_IHL: u64 = ipv4::VERSION_IHL_PLAIN as u64;
const VERSION_6: u64 = ipv6::VERSION as u64 >> 4;
/// Don't fragment, as it lies in a frame.
const DF_LANE: u64 = ipv4::FLAG_DF.swap_bytes() as u64;
const TCP: u64 = ip_protocol::TCP as u64;
/// Bits of an identification that count (R-279).
const ID_BITS: usize = ipv4::ID_HALF_LEN.trailing_zeros() as usize;
/// Bits of a VLAN id.
pub const VLAN: usize = ethernet::VLAN_ID_MASK.count_ones() as usize;
/// Bits of a flow label.
pub const FLOW: usize = ipv6::FLOW_LABEL_BITS as usize;

// The positions that the words know by heart.
const _: () = assert!(ethernet::ETHERTYPE == 12 && ethernet::HEADER_LEN == 14 && ethernet::VLAN_TAG_LEN == 4);
const _: () =
    assert!(ethernet::SNAP_HEADER[4] == 0 && ethernet::SNAP_HEADER[5] == 0 && ethernet::PRIORITY_SHIFT == 13);
const _: () = assert!(ipv4::TOS == 1 && ipv4::TOTAL_LEN == 2 && ipv4::ID == 4 && ipv4::FLAGS_FRAGMENT == 6);
const _: () = assert!(ipv4::TTL == 8 && ipv4::PROTOCOL == 9 && ipv4::CHECKSUM == 10 && ipv4::SRC == 12);
const _: () = assert!(ipv4::DST == 16 && ipv6::PAYLOAD_LEN == 4 && ipv6::NEXT_HEADER == 6);
const _: () = assert!(ipv6::HOP_LIMIT == 7 && ipv6::SRC == 8 && ipv6::DST == 24);

/// What a segment needs of its path and neighbor.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Route {
    /// 1 = path and neighbor are live and valid.
    pub ok: Bit,
    /// Next hop, first wire byte in bits 7:0.
    pub dst_mac: Bits<48>,
    /// Source, first wire byte in bits 7:0.
    pub src_mac: Bits<48>,
    /// VLAN id, 0 = none.
    pub vlan: Bits<VLAN>,
    /// 1 = LLC/SNAP.
    pub snap: Bit,
    /// 1 = IPv6.
    pub v6: Bit,
    /// Local address, first wire byte in bits 7:0; IPv4 in the low 32 bits.
    pub src_ip: Bits<128>,
    /// Remote address.
    pub dst_ip: Bits<128>,
    /// `PathImage::ip_id_start`.
    pub ip_id_start: Bits<16>,
}

/// What decides where things lie in a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Form {
    /// 1 = with a tag.
    pub tagged: Bit,
    /// 1 = LLC/SNAP.
    pub snap: Bit,
    /// 1 = IPv6.
    pub v6: Bit,
}

/// The fields that are not in the route.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct IpFields {
    /// Bytes behind the IP header.
    pub payload_len: Bits<16>,
    /// Time to live, hop limit.
    pub ttl: Bits<8>,
    /// DSCP and ECN.
    pub tos: Bits<8>,
    /// Flow label.
    pub flow: Bits<FLOW>,
    /// Priority of the tag.
    pub priority: Bits<3>,
}

/// Two words, one behind the other in the frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Pair {
    /// The first.
    pub lo: Bits<32>,
    /// The second.
    pub hi: Bits<32>,
}

/// R-279: `(start + (counter mod 32K)) mod 64K`.
#[kernel]
pub fn ip_id(start: Bits<16>, counter: Bits<16>) -> Bits<16> {
    start + bit_cast::<16, ID_BITS>(counter.get_bits(0))
}

/// R-283: a tag if there is an id or a priority.
#[kernel]
pub fn form(r: Route, priority: Bits<3>) -> Form {
    Form { tagged: r.vlan.any() || priority.any(), snap: r.snap, v6: r.v6 }
}

/// The word at which IP begins.
#[kernel]
pub fn ip_at(f: Form) -> Bits<WORD_NO> {
    let snap = if f.snap { bits::<WORD_NO>(SNAP_WORDS) } else { bits::<WORD_NO>(0) };
    snap + IP_AT + f.tagged
}

/// The word at which TCP begins.
#[kernel]
pub fn tcp_at(f: Form) -> Bits<WORD_NO> {
    ip_at(f) + if f.v6 { bits::<WORD_NO>(V6_WORDS) } else { bits::<WORD_NO>(V4_WORDS) }
}

/// Type, or 802.3 length.
#[kernel]
fn type_or_length(f: Form, payload_len: Bits<16>) -> Bits<16> {
    let ip = if f.v6 { bits::<16>(SNAP_V6) } else { bits::<16>(SNAP_V4) };
    if f.snap {
        swap16(payload_len + ip)
    } else {
        ip_type(f)
    }
}

#[kernel]
fn ip_type(f: Form) -> Bits<16> {
    if f.v6 {
        bits::<16>(TYPE_V6)
    } else {
        bits::<16>(TYPE_V4)
    }
}

/// The words of beat `i` (0 to 2) that belong to the link.
#[kernel]
pub fn link_words(r: Route, f: Form, p: IpFields, i: Bits<4>) -> Pair {
    let kind = type_or_length(f, p.payload_len);
    let tci = swap16(cat::<16, _>((p.priority, bits::<1>(0), r.vlan)));
    let llc = bits::<32>(LLC);
    let snap_type = cat::<32, _>((ip_type(f), bits::<16>(0)));
    match i.index() {
        0 => Pair { lo: r.dst_mac.get_bits::<32>(16), hi: r.src_mac.get_bits::<32>(0) },
        1 => {
            let third = if f.tagged { bits::<16>(TYPE_VLAN) } else { kind };
            let lo = cat::<32, _>((third, r.src_mac.get_bits::<16>(32)));
            Pair { lo, hi: if f.tagged { cat::<32, _>((kind, tci)) } else { llc } }
        }
        _ => Pair { lo: if f.tagged { llc } else { snap_type }, hi: snap_type },
    }
}

/// IP word `2 m`.
#[kernel]
fn even_word(r: Route, p: IpFields, m: Bits<4>) -> Bits<32> {
    let word = cat::<32, _>((bits::<4>(VERSION_6), p.tos, p.flow));
    if r.v6 {
        match m.index() {
            0 => swap32(word),
            1 => r.src_ip.get_bits::<32>(0),
            2 => r.src_ip.get_bits::<32>(64),
            3 => r.dst_ip.get_bits::<32>(0),
            _ => r.dst_ip.get_bits::<32>(64),
        }
    } else {
        match m.index() {
            0 => cat::<32, _>((swap16(p.payload_len + V4_LEN), p.tos, bits::<8>(VERSION_IHL))),
            1 => cat::<32, _>((bits::<16>(0), bits::<8>(TCP), p.ttl)),
            _ => r.dst_ip.get_bits::<32>(0),
        }
    }
}

/// IP word `2 m + 1`.
#[kernel]
fn odd_word(r: Route, p: IpFields, m: Bits<4>) -> Bits<32> {
    if r.v6 {
        match m.index() {
            0 => cat::<32, _>((p.ttl, bits::<8>(TCP), swap16(p.payload_len))),
            1 => r.src_ip.get_bits::<32>(32),
            2 => r.src_ip.get_bits::<32>(96),
            3 => r.dst_ip.get_bits::<32>(32),
            _ => r.dst_ip.get_bits::<32>(96),
        }
    } else {
        match m.index() {
            0 => cat::<32, _>((bits::<16>(DF_LANE), bits::<16>(0))),
            _ => r.src_ip.get_bits::<32>(0),
        }
    }
}

/// The words of beat `i` that belong to the IP header, which begins at word `from`; what does not means nothing.
#[kernel]
pub fn ip_words(r: Route, p: IpFields, from: Bits<WORD_NO>, i: Bits<4>) -> Pair {
    let half = from.get_bits::<4>(1);
    let is_odd = from.get_bit(0);
    let even = even_word(r, p, i - half);
    let odd = odd_word(r, p, i - half - is_odd_part(is_odd));
    if is_odd {
        Pair { lo: odd, hi: even }
    } else {
        Pair { lo: even, hi: odd }
    }
}

/// 1 or 0 as a number of beats.
#[kernel]
pub fn is_odd_part(is_odd: bool) -> Bits<4> {
    bit_cast::<4, 1>(is_odd.into())
}

/// IP words before this one do not count for TCP: the addresses are its pseudo header (RFC 9293 3.1, RFC 8200 8.1).
#[kernel]
pub fn addresses_at(f: Form) -> Bits<WORD_NO> {
    ip_at(f) + if f.v6 { bits::<WORD_NO>(V6_ADDRESSES) } else { bits::<WORD_NO>(V4_ADDRESSES) }
}
const V4_ADDRESSES: u64 = ipv4::SRC as u64 / 4;
const V6_ADDRESSES: u64 = ipv6::SRC as u64 / 4;
