//! The headers of an outgoing segment, beat by beat: two words of 32 bits each time, see [`crate::ip::tx_build`].
//!
//! ```text
//!   TCP word  0      1    2    3                      4                5 ...        14
//!             ports  seq  ack  offset, flags, window  checksum, urgent options, then payload
//! ```
//! Options: NOP NOP timestamps, then NOP NOP SACK (RFC 7323 appendix A, RFC 2018 3). Pure functions.
use crate::ip::tx_build::{
    addresses_at, ip_at, ip_words, is_odd_part, link_words, tcp_at, Form, IpFields, Pair, Route, WORD_NO,
};
use crate::prelude::*;
use crate::stream::lanes::{swap16, swap32};
use crate::types::TxJob;
use chimney_abi::wire::tcp;

const TCP_LEN: u64 = tcp::HEADER_LEN as u64;
const TS_LEN: u64 = tcp::TIMESTAMPS_PADDED_LEN as u64;
const NOP: u64 = tcp::OPT_NOP as u64;
const TS: u64 = tcp::OPT_TIMESTAMPS as u64;
const TS_OPT_LEN: u64 = tcp::OPT_TIMESTAMPS_LEN as u64;
const SACK: u64 = tcp::OPT_SACK as u64;
/// Bytes of NOP NOP, kind and length in front of the SACK blocks.
const SACK_HEAD: u64 = 2 + tcp::OPT_SACK_BASE_LEN as u64;
const SACK_BASE: u64 = tcp::OPT_SACK_BASE_LEN as u64;
/// Word of the checksum field in the TCP header.
const CHECKSUM_WORD: u64 = tcp::CHECKSUM as u64 / 4;

// The positions that the words know by heart.
const _: () = assert!(tcp::SEQ == 4 && tcp::ACK == 8 && tcp::DATA_OFFSET == 12);
const _: () = assert!(tcp::FLAGS == 13 && tcp::WINDOW == 14 && tcp::CHECKSUM == 16 && tcp::HEADER_LEN == 20);
const _: () = assert!(tcp::MAX_SACK_BLOCKS == 4 && tcp::SACK_BLOCK_LEN == 8 && tcp::MAX_OPTIONS_LEN == 40);

/// Bytes of options.
#[kernel]
pub fn options_len(j: TxJob) -> Bits<16> {
    let ts = if j.has_ts { bits::<16>(TS_LEN) } else { bits::<16>(0) };
    let blocks = cat::<16, _>((bits::<10>(0), j.sack_count, bits::<3>(0)));
    if j.sack_count == 0 {
        ts
    } else {
        ts + blocks + SACK_HEAD
    }
}

/// Bytes of all headers of a frame.
#[kernel]
pub fn headers_len(j: TxJob, f: Form) -> Bits<7> {
    let words = tcp_at(f) + (options_len(j) + TCP_LEN).get_bits::<WORD_NO>(2);
    cat::<7, _>((words, bits::<2>(2)))
}

/// Place of the TCP checksum, bytes from the frame's start.
#[kernel]
pub fn checksum_at(f: Form) -> Bits<9> {
    cat::<9, _>((bits::<2>(0), tcp_at(f) + CHECKSUM_WORD, bits::<2>(2)))
}

/// Bytes of the TCP segment.
#[kernel]
pub fn segment_len(j: TxJob) -> Bits<16> {
    options_len(j) + j.len + TCP_LEN
}

/// The timestamps option.
#[kernel]
fn timestamps(j: TxJob) -> Bits<96> {
    cat::<96, _>((
        swap32(j.ts_ecr),
        swap32(j.ts_val),
        bits::<8>(TS_OPT_LEN),
        bits::<8>(TS),
        bits::<8>(NOP),
        bits::<8>(NOP),
    ))
}

/// SACK block `i` as it lies on the wire.
#[kernel]
fn block(j: TxJob, i: usize) -> Bits<64> {
    cat::<64, _>((swap32(j.sack.get_bits(64 * i + 32)), swap32(j.sack.get_bits(64 * i))))
}

/// The SACK option.
#[kernel]
fn sack(j: TxJob) -> Bits<288> {
    let len = cat::<8, _>((bits::<2>(0), j.sack_count, bits::<3>(0))) + SACK_BASE;
    cat::<288, _>((
        block(j, 3),
        block(j, 2),
        block(j, 1),
        block(j, 0),
        len,
        bits::<8>(SACK),
        bits::<8>(NOP),
        bits::<8>(NOP),
    ))
}

/// All option bytes, and anything behind them.
#[kernel]
pub fn options(j: TxJob) -> Bits<320> {
    if j.has_ts {
        cat::<320, _>((sack(j).get_bits::<224>(0), timestamps(j)))
    } else {
        cat::<320, _>((bits::<32>(0), sack(j)))
    }
}

/// TCP word `2 m`.
#[kernel]
fn even_word(j: TxJob, o: Bits<320>, m: Bits<4>) -> Bits<32> {
    match m.index() {
        0 => cat::<32, _>((swap16(j.remote_port), swap16(j.local_port))),
        1 => swap32(j.ack),
        2 => bits::<32>(0),
        3 => o.get_bits::<32>(32),
        4 => o.get_bits::<32>(96),
        5 => o.get_bits::<32>(160),
        6 => o.get_bits::<32>(224),
        _ => o.get_bits::<32>(288),
    }
}

/// TCP word `2 m + 1`.
#[kernel]
fn odd_word(j: TxJob, o: Bits<320>, m: Bits<4>) -> Bits<32> {
    let words = (options_len(j) + TCP_LEN).get_bits::<4>(2);
    match m.index() {
        0 => swap32(j.seq),
        1 => cat::<32, _>((swap16(j.wnd), j.flags, words, bits::<4>(0))),
        2 => o.get_bits::<32>(0),
        3 => o.get_bits::<32>(64),
        4 => o.get_bits::<32>(128),
        5 => o.get_bits::<32>(192),
        _ => o.get_bits::<32>(256),
    }
}

/// The words of beat `i` that belong to TCP, which begins at word `from`.
#[kernel]
fn tcp_words(j: TxJob, from: Bits<WORD_NO>, i: Bits<4>) -> Pair {
    let half = from.get_bits::<4>(1);
    let is_odd = from.get_bit(0);
    let o = options(j);
    let even = even_word(j, o, i - half);
    let odd = odd_word(j, o, i - half - is_odd_part(is_odd));
    if is_odd {
        Pair { lo: odd, hi: even }
    } else {
        Pair { lo: even, hi: odd }
    }
}

/// Two words of the headers, and what counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct HeaderWords {
    /// The words; checksums and IP ID are zero.
    pub pair: Pair,
    /// The first and the second one belong to the IP header.
    pub ip: Bits<2>,
    /// They count for TCP: the addresses and everything behind them.
    pub tcp: Bits<2>,
}

/// Words `2 i` and `2 i + 1` of the headers; behind the headers they mean nothing.
#[kernel]
pub fn header_words(j: TxJob, r: Route, f: Form, i: Bits<4>) -> HeaderWords {
    let (from, to, counts) = (ip_at(f), tcp_at(f), addresses_at(f));
    let lo = cat::<WORD_NO, _>((i, bits::<1>(0)));
    let hi = cat::<WORD_NO, _>((i, bits::<1>(1)));
    let fields = IpFields {
        payload_len: segment_len(j),
        ttl: j.ttl,
        tos: j.tos,
        flow: j.flow_label,
        priority: j.priority,
    };
    let link = link_words(r, f, fields, i);
    let ip = ip_words(r, fields, from, i);
    let tcp = tcp_words(j, to, i);
    let pair = Pair {
        lo: one_of(lo < from, lo < to, link.lo, ip.lo, tcp.lo),
        hi: one_of(hi < from, hi < to, link.hi, ip.hi, tcp.hi),
    };
    HeaderWords {
        pair,
        ip: cat::<2, _>((hi >= from && hi < to, lo >= from && lo < to)),
        tcp: cat::<2, _>((hi >= counts, lo >= counts)),
    }
}

/// A word of the link, of IP, or of TCP.
#[kernel]
fn one_of(link: bool, ip: bool, a: Bits<32>, b: Bits<32>, c: Bits<32>) -> Bits<32> {
    if link {
        a
    } else if ip {
        b
    } else {
        c
    }
}
