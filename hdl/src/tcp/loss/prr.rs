//! Proportional rate reduction (RFC 6937, RFC 9937), as `chimney_host_stack_core::prr`.
//!
//! An acknowledgment takes three clocks and a product: [`count_delivered`], the product, [`bounds`], then with the pipe
//! [`amount`] and [`window`]. The proportion is found by 16 steps of a division ([`divide`]) when recovery begins.

use crate::prelude::*;
use crate::tcp::seq::{max32, min32};

/// Bits of a [`Prr`].
pub const PRR: usize = 32 + 32 + 17;
/// A proportion of 1.
pub const ONE: u64 = 1 << 16;

/// State of one recovery.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Prr {
    /// Bytes delivered since recovery began (`prr_delivered`).
    pub delivered: Bits<32>,
    /// Bytes sent since then (`prr_out`).
    pub out: Bits<32>,
    /// `ssthresh / RecoverFS`, 16 fraction bits, at most 1.
    pub rate: Bits<17>,
}

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

/// A division under way: the rest, and the quotient so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Division {
    /// What is left, below the divisor.
    pub rest: Bits<32>,
    /// 16 fraction bits.
    pub quotient: Bits<16>,
}

/// One of 16 steps: a bit of `rest / divisor`, which is below 1.
#[kernel]
pub fn divide(d: Division, divisor: Bits<32>) -> Division {
    let twice = bit_cast::<33, 32>(d.rest) << bits::<1>(1);
    let less = twice - bit_cast::<33, 32>(divisor);
    let fits = twice >= bit_cast::<33, 32>(divisor);
    let rest = if fits { less } else { twice };
    Division { rest: rest.get_bits::<32>(0), quotient: cat::<16, _>((d.quotient.get_bits::<15>(0), fits)) }
}

/// Recovery begins with this proportion; `is_one`: the threshold is not below what was in flight.
#[kernel]
pub fn start(quotient: Bits<16>, is_one: bool) -> Prr {
    let rate = if is_one { bits::<17>(ONE) } else { bit_cast::<17, 16>(quotient) };
    Prr { rate, ..Prr::default() }
}

/// Bytes were sent in recovery.
#[kernel]
pub fn on_send(p: Prr, len: Bits<32>) -> Prr {
    Prr { out: add_limited(p.out, len), ..p }
}

/// First clock of an acknowledgment.
#[kernel]
pub fn count_delivered(p: Prr, delivered: Bits<32>) -> Prr {
    Prr { delivered: add_limited(p.delivered, delivered), ..p }
}

/// Second clock: the product. It wants a register behind it.
#[kernel]
pub fn share(p: Prr) -> Bits<49> {
    mul::<49, _, _>(p.delivered, p.rate)
}

/// What may be sent while more (`reducing`), and while less is in flight than the threshold.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Bounds {
    /// In proportion to what was delivered.
    pub reducing: Bits<32>,
    /// As much as was delivered.
    pub filling: Bits<32>,
}

/// Third clock: the product rounded up, and what was delivered and not yet answered.
#[kernel]
pub fn bounds(p: Prr, product: Bits<49>, delivered: Bits<32>) -> Bounds {
    let share = product.get_bits::<32>(16) + product.get_bits::<16>(0).any();
    Bounds { reducing: share, filling: max32(sub_limited(p.delivered, p.out), delivered) }
}

/// Fourth clock: minus what was sent; a segment more when all is well (SSRB).
#[kernel]
pub fn less_sent(p: Prr, b: Bounds, smss: Bits<32>, is_safe: bool) -> Bounds {
    let more = add_limited(b.filling, smss);
    Bounds { reducing: sub_limited(b.reducing, p.out), filling: if is_safe { more } else { b.filling } }
}

/// Fifth clock: how much may be sent.
#[kernel]
pub fn amount(b: Bounds, pipe: Bits<32>, ssthresh: Bits<32>) -> Bits<32> {
    if pipe > ssthresh {
        b.reducing
    } else {
        min32(b.filling, ssthresh - pipe)
    }
}

/// Sixth clock: the congestion window. The fast retransmit that begins recovery is a whole segment.
#[kernel]
pub fn window(count: Bits<32>, pipe: Bits<32>, smss: Bits<32>, is_first: bool) -> Bits<32> {
    if is_first && count < smss {
        pipe + smss
    } else {
        pipe + count
    }
}
