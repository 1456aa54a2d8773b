//! Large frames: what is seen in their headers, and the headers of the segments they become (R-006).
//!
//! ```text
//!   Ethernet II, with or without a tag | IPv4 without options, or IPv6 without extensions | TCP | payload
//! ```
//! Repeated as they are, but for these, in words of 32 bits from the frame's third byte on:
//!
//! | field | in segment i |
//! |---|---|
//! | IPv4 total length, IPv6 payload length | its own |
//! | IPv4 identification | that of the frame plus i, within its half of the space (R-278) |
//! | TCP sequence number | that of the frame plus i times MSS |
//! | FIN, PSH | only in the last |
//! | CWR | only in the first (RFC 3168 6.1.2: once per reduction) |
//! | IPv4 and TCP checksum | made here, pseudo header and all; what the frame has there does not count |
//!
//! Pure functions.
use crate::ip::checksum::be16;
use crate::ip::tx_build::{addresses_at, ip_at, tcp_at, Form, Pair, WORD_NO};
use crate::prelude::*;
use crate::stream::lanes::{swap16, swap32};
use crate::tcp::tx::header::HeaderWords;
use chimney_abi::wire::{ethernet, ip_protocol, ipv4, ipv6, tcp};

/// The word whose upper half is the type of an untagged frame.
const TYPE_WORD: u64 = (ethernet::ETHERTYPE as u64 - 2) / 4;
const TYPE_V4: u64 = ethernet::TYPE_IPV4.swap_bytes() as u64;
const TYPE_V6: u64 = ethernet::TYPE_IPV6.swap_bytes() as u64;
const TYPE_VLAN: u64 = ethernet::TYPE_VLAN.swap_bytes() as u64;
const VERSION_IHL: u64 = ipv4::VERSION_IHL_PLAIN as u64;
const VERSION_6: u64 = ipv6::VERSION as u64 >> 4;
const TCP: u64 = ip_protocol::TCP as u64;
const V4_LEN: u64 = ipv4::HEADER_LEN as u64;
/// Words of a TCP header without options.
const TCP_WORDS: u64 = tcp::HEADER_LEN as u64 / 4;
/// What says that a packet is a fragment, as it lies in a frame: all but the reserved bit and DF.
const FRAGMENT: u64 = !(ipv4::FLAG_DF | 1 << 15).swap_bytes() as u64;
/// A segment with one of these cannot be divided.
const WHOLE_FLAGS: u64 = (tcp::FLAG_SYN | tcp::FLAG_RST | tcp::FLAG_URG) as u64;
/// Flags that only the last segment has.
const LAST_FLAGS: u64 = (tcp::FLAG_FIN | tcp::FLAG_PSH) as u64;
/// The flag that only the first one has.
const FIRST_FLAGS: u64 = tcp::FLAG_CWR as u64;
/// Bits of an identification that count (R-279).
const ID_BITS: usize = ipv4::ID_HALF_LEN.trailing_zeros() as usize;

// The positions that the words know by heart.
const _: () = assert!((ethernet::ETHERTYPE - 2) % 4 == 2 && ethernet::VLAN_TAG_LEN == 4);
const _: () = assert!(ipv4::TOTAL_LEN == 2 && ipv4::ID == 4 && ipv4::FLAGS_FRAGMENT == 6);
const _: () = assert!(ipv4::PROTOCOL == 9 && ipv4::CHECKSUM == 10);
const _: () = assert!(ipv6::PAYLOAD_LEN == 4 && ipv6::NEXT_HEADER == 6);
const _: () = assert!(tcp::SEQ == 4 && tcp::DATA_OFFSET == 12 && tcp::FLAGS == 13 && tcp::CHECKSUM == 16);

/// What is known of the headers of a large frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct LargeHeader {
    /// The frame's first two bytes, in lane order.
    pub start: Bits<16>,
    /// Where things lie.
    pub form: Form,
    /// 1 = it is not what can be divided.
    pub wrong: Bit,
    /// Identification of the next segment (IPv4).
    pub ip_id: Bits<16>,
    /// Sequence number of the next segment.
    pub seq: Bits<32>,
    /// Words of the TCP header.
    pub tcp_words: Bits<4>,
}

/// A segment of a large frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Segment {
    /// 1 = the frame is one; 0 = it is a whole frame, and the rest means nothing.
    pub valid: Bit,
    /// The first of its frame.
    pub begins: Bit,
    /// The last one.
    pub ends: Bit,
    /// Its headers.
    pub header: LargeHeader,
}

/// The header with word `n` seen; words come in order.
#[kernel]
pub fn seen(h: LargeHeader, word: Bits<32>, n: Bits<WORD_NO>) -> LargeHeader {
    let low = word.get_bits::<16>(0);
    let high = word.get_bits::<16>(16);
    let ip = n - ip_at(h.form);
    let t = n - tcp_at(h.form);
    let v6 = h.form.v6;
    let is_first = n == TYPE_WORD;
    let has_type = is_first || (h.form.tagged && n == TYPE_WORD + 1);
    let is_tag = is_first && high == TYPE_VLAN;
    let version = if v6 { low.get_bits::<4>(4) != VERSION_6 } else { low.get_bits::<8>(0) != VERSION_IHL };
    let second = if v6 { high.get_bits::<8>(0) != TCP } else { (high & FRAGMENT).any() };
    let third = !v6 && low.get_bits::<8>(8) != TCP;
    let words = low.get_bits::<4>(4);
    let flags = low.get_bits::<8>(8);
    let other = (ip == 0 && version)
        || (ip == 1 && second)
        || (ip == 2 && third)
        || (t == 3 && (words < TCP_WORDS || (flags & WHOLE_FLAGS).any()));
    let unknown = !is_tag && high != TYPE_V4 && high != TYPE_V6;
    LargeHeader {
        start: h.start,
        form: Form {
            tagged: if is_first { is_tag } else { h.form.tagged },
            snap: false,
            v6: if has_type { high == TYPE_V6 } else { v6 },
        },
        wrong: h.wrong || if has_type { unknown } else { other },
        ip_id: if ip == 1 { be16(low) } else { h.ip_id },
        seq: if t == 1 { swap32(word) } else { h.seq },
        tcp_words: if t == 3 { words } else { h.tcp_words },
    }
}

/// Bytes of all headers.
#[kernel]
pub fn header_len(h: LargeHeader) -> Bits<7> {
    cat::<7, _>((tcp_at(h.form) + bit_cast::<WORD_NO, 4>(h.tcp_words), bits::<2>(2)))
}

/// Bytes of a TCP segment with `len` bytes of payload.
#[kernel]
pub fn tcp_len(h: LargeHeader, len: Bits<16>) -> Bits<16> {
    len + cat::<16, _>((bits::<10>(0), h.tcp_words, bits::<2>(0)))
}

/// The header of the segment after one of `len` bytes.
#[kernel]
pub fn following(h: LargeHeader, len: Bits<16>) -> LargeHeader {
    let id = h.ip_id.get_bits::<ID_BITS>(0) + 1;
    LargeHeader {
        seq: h.seq + bit_cast::<32, 16>(len),
        ip_id: cat::<16, _>((h.ip_id.get_bits::<1>(ID_BITS), id)),
        ..h
    }
}

/// The flags of a segment.
#[kernel]
fn flags_of(s: Segment, flags: Bits<8>) -> Bits<8> {
    let last = if s.ends { bits::<8>(0) } else { bits::<8>(LAST_FLAGS) };
    let first = if s.begins { bits::<8>(0) } else { bits::<8>(FIRST_FLAGS) };
    flags & !(last | first)
}

/// Word `n` of a segment's headers, from the large frame's; `len` = bytes of payload.
#[kernel]
fn segment_word(word: Bits<32>, n: Bits<WORD_NO>, s: Segment, len: Bits<16>) -> Bits<32> {
    let h = s.header;
    let low = word.get_bits::<16>(0);
    let high = word.get_bits::<16>(16);
    let ip = n - ip_at(h.form);
    let t = n - tcp_at(h.form);
    let v6 = h.form.v6;
    let bytes = tcp_len(h, len);
    let total = swap16(bytes + V4_LEN);
    let flags = flags_of(s, low.get_bits::<8>(8));
    let zero = bits::<16>(0);
    if ip == 0 {
        cat::<32, _>((if v6 { high } else { total }, low))
    } else if ip == 1 {
        cat::<32, _>((high, if v6 { swap16(bytes) } else { zero }))
    } else if ip == 2 {
        cat::<32, _>((if v6 { high } else { zero }, low))
    } else if t == 1 {
        swap32(h.seq)
    } else if t == 3 {
        cat::<32, _>((high, flags, low.get_bits::<8>(0)))
    } else if t == 4 {
        cat::<32, _>((high, zero))
    } else {
        word
    }
}

/// Words `2 i` and `2 i + 1` of a segment's headers, from those of the large frame; checksums and IP ID are zero.
#[kernel]
pub fn segment_words(words: Bits<64>, s: Segment, len: Bits<16>, i: Bits<4>) -> HeaderWords {
    let f = s.header.form;
    let (from, to, counts) = (ip_at(f), tcp_at(f), addresses_at(f));
    let lo = cat::<WORD_NO, _>((i, bits::<1>(0)));
    let hi = cat::<WORD_NO, _>((i, bits::<1>(1)));
    HeaderWords {
        pair: Pair {
            lo: segment_word(words.get_bits::<32>(0), lo, s, len),
            hi: segment_word(words.get_bits::<32>(32), hi, s, len),
        },
        ip: cat::<2, _>((hi >= from && hi < to, lo >= from && lo < to)),
        tcp: cat::<2, _>((hi >= counts, lo >= counts)),
    }
}
