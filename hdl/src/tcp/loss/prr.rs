//! Proportional rate reduction (RFC 6937, RFC 9937), as `chimney_host_stack_core::prr`: sums that stay within their width. The rest is
//! the program's ([`super::code::window`]).

use crate::prelude::*;

/// A proportion of 1.
pub const ONE: u64 = 1 << 16;

/// `a + b`, at most all ones.
#[kernel]
pub fn add_limited(a: Bits<32>, b: Bits<32>) -> Bits<32> {
    let sum = bit_cast::<33, 32>(a) + bit_cast::<33, 32>(b);
    if sum.get_bit(32) {
        !bits::<32>(0)
    } else {
        sum.get_bits::<32>(0)
    }
}

/// `a - b`, at least 0.
#[kernel]
pub fn sub_limited(a: Bits<32>, b: Bits<32>) -> Bits<32> {
    let d = bit_cast::<33, 32>(a) - bit_cast::<33, 32>(b);
    if d.get_bit(32) {
        bits::<32>(0)
    } else {
        d.get_bits::<32>(0)
    }
}
