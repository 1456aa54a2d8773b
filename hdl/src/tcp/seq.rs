//! Comparisons in sequence space (RFC 9293 3.4), on 32-bit circles: also for deadlines and timestamps.
//!
//! `a` is before `b` when going from `a` to `b` is shorter forwards than backwards. Twins of
//! `chimney_abi::SeqNum`.

use crate::prelude::*;

/// `a` is before `b`.
#[kernel]
pub fn before(a: Bits<32>, b: Bits<32>) -> bool {
    (a - b).get_bit(31)
}

/// `a` is after `b`.
#[kernel]
pub fn after(a: Bits<32>, b: Bits<32>) -> bool {
    (b - a).get_bit(31)
}

/// `a` is `b` or before it.
#[kernel]
pub fn at_or_before(a: Bits<32>, b: Bits<32>) -> bool {
    !after(a, b)
}

/// `a` is `b` or after it.
#[kernel]
pub fn at_or_after(a: Bits<32>, b: Bits<32>) -> bool {
    !before(a, b)
}

/// `x` is one of the `len` numbers from `start` on.
#[kernel]
pub fn in_window(x: Bits<32>, start: Bits<32>, len: Bits<32>) -> bool {
    (x - start) < len
}

/// How far `b` lies ahead of `a`; 0 if it does not.
#[kernel]
pub fn ahead(a: Bits<32>, b: Bits<32>) -> Bits<32> {
    let distance = b - a;
    if distance.get_bit(31) {
        bits::<32>(0)
    } else {
        distance
    }
}

/// The later of two.
#[kernel]
pub fn later(a: Bits<32>, b: Bits<32>) -> Bits<32> {
    if before(a, b) {
        b
    } else {
        a
    }
}

/// The earlier of two.
#[kernel]
pub fn earlier(a: Bits<32>, b: Bits<32>) -> Bits<32> {
    if after(a, b) {
        b
    } else {
        a
    }
}

/// The smaller of two amounts.
#[kernel]
pub fn min32(a: Bits<32>, b: Bits<32>) -> Bits<32> {
    if b < a {
        b
    } else {
        a
    }
}

/// The larger of two amounts.
#[kernel]
pub fn max32(a: Bits<32>, b: Bits<32>) -> Bits<32> {
    if a < b {
        b
    } else {
        a
    }
}
