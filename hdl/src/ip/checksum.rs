//! The Internet checksum (RFC 1071) over beats of eight bytes.
//!
//! Sums are taken over 16-bit lanes in memory order (first byte low). The ones-complement sum does
//! not care about byte order as long as all words have the same, so wire words are added as they lie
//! in a beat, and constants are added byte-swapped. Carries are kept and folded once at the end.
use crate::prelude::*;

/// Bits of a running sum: the lanes of a 2048-byte frame and the pseudo header cannot overflow it.
pub const SUM_BITS: usize = 27;

/// Sum of the four lanes of a beat.
#[kernel]
pub fn lane_sum(data: Bits<64>) -> Bits<18> {
    let a = bit_cast::<17, 16>(data.get_bits::<16>(0)) + bit_cast::<17, 16>(data.get_bits::<16>(16));
    let b = bit_cast::<17, 16>(data.get_bits::<16>(32)) + bit_cast::<17, 16>(data.get_bits::<16>(48));
    bit_cast::<18, 17>(a) + bit_cast::<18, 17>(b)
}

/// Folds a running sum to 16 bits.
#[kernel]
pub fn fold(sum: Bits<SUM_BITS>) -> Bits<16> {
    let once = bit_cast::<17, 16>(sum.get_bits::<16>(0)) + bit_cast::<17, 11>(sum.get_bits::<11>(16));
    once.get_bits::<16>(0) + once.get_bit(16)
}

/// One enable for each of the first `count` bytes of a beat; eight or more are all of it.
#[kernel]
pub fn head_bytes(count: Bits<16>) -> Bits<8> {
    if count >= 8 {
        !bits::<8>(0)
    } else {
        !(!bits::<8>(0) << count.get_bits::<3>(0))
    }
}

/// A 16-bit field of the wire, taken from a beat (first byte low), as a number.
#[kernel]
pub fn be16(x: Bits<16>) -> Bits<16> {
    cat::<16>((x.get_bits::<8>(0), x.get_bits::<8>(8)))
}

/// A 32-bit field of the wire as a number.
#[kernel]
pub fn be32(x: Bits<32>) -> Bits<32> {
    cat::<32>((x.get_bits::<8>(0), x.get_bits::<8>(8), x.get_bits::<8>(16), x.get_bits::<8>(24)))
}
