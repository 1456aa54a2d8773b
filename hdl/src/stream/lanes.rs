//! Pure functions on words of bytes: the first byte on the wire is in bits 7:0.

use crate::prelude::*;

/// Ones-complement sum of two 16-bit words (RFC 1071).
#[kernel]
pub fn oc_add(a: Bits<16>, b: Bits<16>) -> Bits<16> {
    let s = bit_cast::<17, _>(a) + bit_cast::<17, _>(b);
    s.get_bits::<16>(0) + s.get_bit(16)
}

/// Ones-complement sum of the four 16-bit words of `w`, added to `sum`, as a balanced tree with one fold at the end.
#[kernel]
pub fn oc_add64(sum: Bits<16>, w: Bits<64>) -> Bits<16> {
    let a = bit_cast::<19, 16>(w.get_bits(0)) + bit_cast::<19, 16>(w.get_bits(16));
    let b = bit_cast::<19, 16>(w.get_bits(32)) + bit_cast::<19, 16>(w.get_bits(48));
    let s = a + b + bit_cast::<19, _>(sum);
    oc_add(s.get_bits::<16>(0), bit_cast::<16, 3>(s.get_bits(16)))
}

/// Bytes of a 16-bit word swapped: network to host order.
#[kernel]
pub fn swap16(x: Bits<16>) -> Bits<16> {
    cat::<16, _>((x.get_bits::<8>(0), x.get_bits::<8>(8)))
}

/// Bytes of a 32-bit word in reverse order: network to host order.
#[kernel]
pub fn swap32(x: Bits<32>) -> Bits<32> {
    cat::<32, _>(array::<4>(|i| x.get_bits::<8>(8 * i)))
}

/// Bytes of a 64-bit word in reverse order.
#[kernel]
pub fn swap64(x: Bits<64>) -> Bits<64> {
    cat::<64, _>(array::<8>(|i| x.get_bits::<8>(8 * i)))
}

/// Rotates a word left by `n` bytes: byte 0 goes to lane `n`. Three stages of multiplexers.
#[kernel]
pub fn rotate_bytes(x: Bits<64>, n: Bits<3>) -> Bits<64> {
    let a = if n.get_bit(0) { cat::<64, _>((x.get_bits::<56>(0), x.get_bits::<8>(56))) } else { x };
    let b = if n.get_bit(1) { cat::<64, _>((a.get_bits::<48>(0), a.get_bits::<16>(48))) } else { a };
    if n.get_bit(2) {
        cat::<64, _>((b.get_bits::<32>(0), b.get_bits::<32>(32)))
    } else {
        b
    }
}

/// Eight bytes that start at byte `n` of the sixteen bytes `{hi, lo}`: realignment of a stream.
#[kernel]
pub fn bytes_at(hi: Bits<64>, lo: Bits<64>, n: Bits<3>) -> Bits<64> {
    let a = cat::<128, _>((hi, lo));
    let b = if n.get_bit(2) { a.get_bits::<96>(32) } else { a.get_bits::<96>(0) };
    let c = if n.get_bit(1) { b.get_bits::<80>(16) } else { b.get_bits::<80>(0) };
    if n.get_bit(0) {
        c.get_bits::<64>(8)
    } else {
        c.get_bits::<64>(0)
    }
}

/// A keep mask with the lowest `n` of 8 bytes (8 when `n` is 8 or more).
#[kernel]
pub fn keep_of(n: Bits<4>) -> Bits<8> {
    cat::<8, _>(array::<8>(|i| n > bits::<4>(7 - i as u64)))
}

/// Number of bytes that a contiguous keep mask holds.
#[kernel]
pub fn count_keep(keep: Bits<8>) -> Bits<4> {
    let mut n = bits::<4>(0);
    for i in 0..8 {
        if keep.get_bit(i) {
            n = bits::<4>(i as u64 + 1);
        }
    }
    n
}

/// A word with the bytes outside `keep` cleared, as checksums need it.
#[kernel]
pub fn mask_bytes(x: Bits<64>, keep: Bits<8>) -> Bits<64> {
    let mask = cat::<64, _>(array::<8>(|i| if keep.get_bit(7 - i) { bits::<8>(0xff) } else { bits::<8>(0) }));
    x & mask
}
