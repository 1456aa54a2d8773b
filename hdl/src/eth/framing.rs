//! Where the IP header begins: Ethernet II, one 802.1Q tag, LLC/SNAP (RFC 1042), and both.
//!
//! ```text
//!   byte   12    14    16    18    20    22    24    26        words of the IP header
//!          type  IP                                           begin at byte 14
//!          8100  tci   type  IP                                        18
//!          len   AAAA  0300  0000  type  IP                            22
//!          8100  tci   len   AAAA  0300  0000  type  IP                26
//! ```
//! All four begin 2 bytes after a multiple of 4. So the beat `j` of a frame holds two whole 32-bit words, `lo` (the last two
//! bytes of beat `j - 1`, the first two of this one) and `hi` (its next four bytes), and the parser counts words from there on.
//!
//! Pure functions. The compares of a beat ([`classify`]) are made one clock earlier than their use.
use crate::ip::checksum::be16;
use crate::prelude::*;
use chimney_abi::wire::{ethernet, ipv4, ipv6};

const TYPE_IPV4: u64 = ethernet::TYPE_IPV4.swap_bytes() as u64;
const TYPE_IPV6: u64 = ethernet::TYPE_IPV6.swap_bytes() as u64;
const TYPE_VLAN: u64 = ethernet::TYPE_VLAN.swap_bytes() as u64;
/// A type field below this in its first byte is a length.
const LENGTH_BELOW: u64 = (ethernet::MIN_ETHERTYPE >> 8) as u64;
const SAPS: u64 = u16::from_le_bytes([ethernet::SNAP_HEADER[0], ethernet::SNAP_HEADER[1]]) as u64;
const UI_OUI: u64 = u32::from_le_bytes([
    ethernet::SNAP_HEADER[2],
    ethernet::SNAP_HEADER[3],
    ethernet::SNAP_HEADER[4],
    ethernet::SNAP_HEADER[5],
]) as u64;
/// Bits of a word number.
pub const WORD_NO: usize = 6;
/// Words of the IP headers.
const V4_WORDS: u64 = ipv4::HEADER_LEN as u64 / 4;
const V6_WORDS: u64 = ipv6::HEADER_LEN as u64 / 4;
const WRAP: u64 = 1 << WORD_NO;

/// What a half-word would mean as a type field.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct TypeClass {
    /// IPv4.
    pub ipv4: Bit,
    /// IPv6.
    pub ipv6: Bit,
    /// 802.1Q.
    pub vlan: Bit,
    /// A length: LLC follows.
    pub length: Bit,
}

/// What the half-words of a beat would mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct RxClass {
    /// Bytes 0 and 1 as a type.
    pub type_0: TypeClass,
    /// Bytes 4 and 5 as a type.
    pub type_2: TypeClass,
    /// Bytes 2 and 3 are the SAPs of SNAP.
    pub saps_1: Bit,
    /// Bytes 6 and 7 are.
    pub saps_3: Bit,
    /// Bytes 0 to 3 are the rest of its header.
    pub oui_0: Bit,
    /// Bytes 4 to 7 are.
    pub oui_2: Bit,
}

#[kernel]
fn type_class(lane: Bits<16>) -> TypeClass {
    TypeClass {
        ipv4: lane == TYPE_IPV4,
        ipv6: lane == TYPE_IPV6,
        vlan: lane == TYPE_VLAN,
        length: lane.get_bits::<8>(0) < LENGTH_BELOW,
    }
}

/// The compares of a beat.
#[kernel]
pub fn classify(data: Bits<64>) -> RxClass {
    RxClass {
        type_0: type_class(data.get_bits::<16>(0)),
        type_2: type_class(data.get_bits::<16>(32)),
        saps_1: data.get_bits::<16>(16) == SAPS,
        saps_3: data.get_bits::<16>(48) == SAPS,
        oui_0: data.get_bits::<32>(0) == UI_OUI,
        oui_2: data.get_bits::<32>(32) == UI_OUI,
    }
}

/// What is known about a frame after some of its beats.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Framing {
    /// The type after the tag comes in beat 2.
    pub wait_tag: Bit,
    /// The type in the SNAP header comes: beat 2 untagged, beat 3 tagged.
    pub wait_snap: Bit,
    /// There is a tag.
    pub tagged: Bit,
    /// Its control information.
    pub tci: Bits<16>,
    /// There is a SNAP header, if `is_ip`.
    pub snap: Bit,
    /// The length field before it.
    pub llc_len: Bits<16>,
    /// The IP header was found.
    pub is_ip: Bit,
    /// It is IPv6.
    pub is_v6: Bit,
    /// Number of the next beat's `lo` word, counted from the IP header; stays where no header reaches.
    pub n: Bits<WORD_NO>,
    /// The same, counted from the end of the IP header (modulo 64).
    pub t: Bits<WORD_NO>,
}

/// What the words of a beat are.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Place {
    /// Both words belong to the datagram (or to the padding).
    pub on: Bit,
    /// `hi` is word 0 of the datagram; `on` is 0.
    pub first_hi: Bit,
    /// The next beat's `lo` is word 0.
    pub next_lo: Bit,
    /// It is IPv6 (valid with all of the above).
    pub is_v6: Bit,
    /// With `on`: the same, out of a register.
    pub on_v6: Bit,
    /// With `on`: number of `lo` from the IP header on.
    pub n: Bits<WORD_NO>,
    /// With `on`: number of `lo` from the TCP or UDP header on.
    pub t: Bits<WORD_NO>,
}

/// Looks at one beat of number `idx`.
#[kernel]
pub fn framing_step(f: Framing, idx: Bits<13>, data: Bits<64>, c: RxClass) -> (Framing, Place) {
    let ip_0 = c.type_0.ipv4 || c.type_0.ipv6;
    let ip_2 = c.type_2.ipv4 || c.type_2.ipv6;
    let lane_2 = be16(data.get_bits::<16>(32));
    let mut n = f;
    let mut first_hi = false;
    let mut next_lo = false;
    let mut is_v6 = f.is_v6;
    if f.is_ip && !f.n.get_bit(WORD_NO - 1) {
        n.n = f.n + 2;
        n.t = f.t + 2;
    }
    match idx.index() {
        0 => n = Framing::default(),
        1 => {
            next_lo = ip_2;
            is_v6 = c.type_2.ipv6;
            n.wait_tag = c.type_2.vlan;
            n.tagged = c.type_2.vlan;
            n.tci = be16(data.get_bits::<16>(48));
            n.wait_snap = c.type_2.length && c.saps_3;
            n.llc_len = lane_2;
        }
        2 => {
            if f.wait_tag {
                first_hi = ip_0;
                is_v6 = c.type_0.ipv6;
                n.wait_snap = c.type_0.length && c.saps_1 && c.oui_2;
                n.llc_len = be16(data.get_bits::<16>(0));
            } else if f.wait_snap {
                next_lo = c.oui_0 && ip_2;
                is_v6 = c.type_2.ipv6;
                n.snap = true;
                n.wait_snap = false;
            }
        }
        3 => {
            if f.wait_snap {
                first_hi = ip_0;
                is_v6 = c.type_0.ipv6;
                n.snap = true;
            }
        }
        _ => {}
    };
    let words = if is_v6 { bits::<WORD_NO>(WRAP - V6_WORDS) } else { bits::<WORD_NO>(WRAP - V4_WORDS) };
    if next_lo || first_hi {
        n.is_ip = true;
        n.is_v6 = is_v6;
        n.n = if first_hi { bits::<WORD_NO>(1) } else { bits::<WORD_NO>(0) };
        n.t = words + first_hi;
    }
    (n, Place { on: f.is_ip && idx != 0, first_hi, next_lo, is_v6, on_v6: f.is_v6, n: f.n, t: f.t })
}

/// Byte of the frame at which the IP header begins.
#[kernel]
pub fn ip_at(f: Framing) -> Bits<5> {
    if f.snap {
        if f.tagged {
            bits::<5>(26)
        } else {
            bits::<5>(22)
        }
    } else if f.tagged {
        bits::<5>(18)
    } else {
        bits::<5>(14)
    }
}
