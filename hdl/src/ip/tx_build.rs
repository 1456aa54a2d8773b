//! Ethernet and IPv4 headers of outgoing segments, beat by beat.
//!
//! ```text
//!   beat    0            1              2                     3                 4 (half)
//!   byte    0..7         8..15          16..23                24..31            32,33
//!           dst, src     src, type,     length, id, DF,       checksum (0),     dst (rest)
//!                        version, TOS   TTL, protocol         source, dst
//! ```
//! Pure functions: checksum and identification are zero here and put in when the frame leaves: packets are numbered in the
//! order of sending (R-279), and some of those begun are never sent.
use crate::prelude::*;
use crate::stream::lanes::swap16;
use chimney_abi::wire::{ethernet, ip_protocol, ipv4};

/// Bytes of Ethernet and IPv4 header in front of TCP.
pub const TCP_AT: u64 = (ethernet::HEADER_LEN + ipv4::HEADER_LEN) as u64;
const IP_LEN: u64 = ipv4::HEADER_LEN as u64;
/// EtherType as it lies in a beat.
const TYPE_LANE: u64 = ethernet::TYPE_IPV4.swap_bytes() as u64;
const VERSION_IHL: u64 = ipv4::VERSION_IHL_PLAIN as u64;
/// Don't fragment, as it lies in a beat.
const DF_LANE: u64 = ipv4::FLAG_DF.swap_bytes() as u64;
const TCP: u64 = ip_protocol::TCP as u64;
/// Bits of an identification that count (R-279).
const ID_BITS: usize = ipv4::ID_HALF_LEN.trailing_zeros() as usize;

// The positions that `beat` knows by heart.
const _: () = assert!(ethernet::ETHERTYPE == 12 && ethernet::HEADER_LEN == 14 && ipv4::TOS == 1);
const _: () = assert!(ipv4::TOTAL_LEN == 2 && ipv4::ID == 4 && ipv4::FLAGS_FRAGMENT == 6 && ipv4::TTL == 8);
const _: () = assert!(ipv4::PROTOCOL == 9 && ipv4::CHECKSUM == 10 && ipv4::SRC == 12 && ipv4::DST == 16);

/// What a segment needs of its path and neighbor.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Route {
    /// 1 = path and neighbor are live and valid.
    pub ok: Bit,
    /// Next hop, first wire byte in bits 7:0.
    pub dst_mac: Bits<48>,
    /// Source, first wire byte in bits 7:0.
    pub src_mac: Bits<48>,
    /// Local address, first wire byte in bits 7:0.
    pub src_ip: Bits<32>,
    /// Remote address.
    pub dst_ip: Bits<32>,
    /// `PathImage::ip_id_start`.
    pub ip_id_start: Bits<16>,
}

/// The fields of the IPv4 header that are not in the route.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct IpFields {
    /// Bytes behind the IPv4 header.
    pub payload_len: Bits<16>,
    /// Time to live.
    pub ttl: Bits<8>,
    /// DSCP and ECN.
    pub tos: Bits<8>,
}

/// R-279: `(start + (counter mod 32K)) mod 64K`.
#[kernel]
pub fn ip_id(start: Bits<16>, counter: Bits<16>) -> Bits<16> {
    start + bit_cast::<16, ID_BITS>(counter.get_bits(0))
}

/// Beat `i` (0 to 3) of the headers.
#[kernel]
pub fn beat(r: Route, f: IpFields, i: Bits<4>) -> Bits<64> {
    match i.index() {
        0 => cat::<64, _>((r.src_mac.get_bits::<16>(0), r.dst_mac)),
        1 => {
            cat::<64, _>((f.tos, bits::<8>(VERSION_IHL), bits::<16>(TYPE_LANE), r.src_mac.get_bits::<32>(16)))
        }
        2 => cat::<64, _>((
            bits::<8>(TCP),
            f.ttl,
            bits::<16>(DF_LANE),
            bits::<16>(0),
            swap16(f.payload_len + IP_LEN),
        )),
        _ => cat::<64, _>((r.dst_ip.get_bits::<16>(0), r.src_ip, bits::<16>(0))),
    }
}

/// The bytes of beat `i` that belong to the IPv4 header; `rest` is the beat itself.
#[kernel]
pub fn ip_part(i: Bits<4>, rest: Bits<64>) -> Bits<64> {
    match i.index() {
        1 => cat::<64, _>((rest.get_bits::<16>(48), bits::<48>(0))),
        2 | 3 => rest,
        4 => cat::<64, _>((bits::<48>(0), rest.get_bits::<16>(0))),
        _ => bits::<64>(0),
    }
}
