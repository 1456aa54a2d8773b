//! The TCP header of an outgoing segment with its options, beat by beat.
//!
//! ```text
//!   beat    4                       5                        6                       7 ...     11
//!   byte    34..39                  40..47                   48..55                  56..     ..93
//!           ports, seq              seq, ack, offset, flags  window, checksum (0),   options, then payload
//!                                                            urgent, options
//! ```
//! Options: NOP NOP timestamps, then NOP NOP SACK (RFC 7323 appendix A, RFC 2018 3). Pure functions.
use crate::ip::tx_build::{beat, IpFields, Route, TCP_AT};
use crate::prelude::*;
use crate::stream::lanes::{swap16, swap32};
use crate::types::TxJob;
use chimney_abi::wire::tcp;

/// Bytes of all headers without options.
const PLAIN: u64 = TCP_AT + tcp::HEADER_LEN as u64;
const TCP_LEN: u64 = tcp::HEADER_LEN as u64;
const TS_LEN: u64 = tcp::TIMESTAMPS_PADDED_LEN as u64;
const NOP: u64 = tcp::OPT_NOP as u64;
const TS: u64 = tcp::OPT_TIMESTAMPS as u64;
const TS_OPT_LEN: u64 = tcp::OPT_TIMESTAMPS_LEN as u64;
const SACK: u64 = tcp::OPT_SACK as u64;
/// Bytes of NOP NOP, kind and length in front of the SACK blocks.
const SACK_HEAD: u64 = 2 + tcp::OPT_SACK_BASE_LEN as u64;
const SACK_BASE: u64 = tcp::OPT_SACK_BASE_LEN as u64;
/// Place of the checksum field, bytes from the frame's start.
pub const CHECKSUM_AT: u64 = TCP_AT + tcp::CHECKSUM as u64;

// The positions that `header_beat` knows by heart.
const _: () = assert!(TCP_AT == 34 && tcp::SEQ == 4 && tcp::ACK == 8 && tcp::DATA_OFFSET == 12);
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

/// Bytes of Ethernet, IPv4 and TCP headers.
#[kernel]
pub fn headers_len(j: TxJob) -> Bits<16> {
    options_len(j) + PLAIN
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

/// Beat `i` (0 to 11) of the headers; behind them it means nothing. Checksums and IP ID are zero.
#[kernel]
pub fn header_beat(j: TxJob, r: Route, i: Bits<4>) -> Bits<64> {
    let seq = swap32(j.seq);
    let words = (options_len(j) + TCP_LEN).get_bits::<4>(2);
    let o = options(j);
    match i.index() {
        4 => cat::<64, _>((
            seq.get_bits::<16>(0),
            swap16(j.remote_port),
            swap16(j.local_port),
            r.dst_ip.get_bits::<16>(16),
        )),
        5 => cat::<64, _>((j.flags, words, bits::<4>(0), swap32(j.ack), seq.get_bits::<16>(16))),
        6 => cat::<64, _>((o.get_bits::<16>(0), bits::<32>(0), swap16(j.wnd))),
        7 => o.get_bits::<64>(16),
        8 => o.get_bits::<64>(80),
        9 => o.get_bits::<64>(144),
        10 => o.get_bits::<64>(208),
        11 => cat::<64, _>((bits::<16>(0), o.get_bits::<48>(272))),
        _ => beat(r, IpFields { payload_len: segment_len(j), ttl: j.ttl, tos: j.tos }, i),
    }
}

/// The bytes of beat `i` that count for the TCP checksum: the addresses and everything behind them.
#[kernel]
pub fn tcp_part(i: Bits<4>, word: Bits<64>) -> Bits<64> {
    if i < 3 {
        bits::<64>(0)
    } else if i == 3 {
        cat::<64, _>((word.get_bits::<48>(16), bits::<16>(0)))
    } else {
        word
    }
}
