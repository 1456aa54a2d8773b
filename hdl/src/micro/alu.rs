//! What becomes of two operands: one adder for all of it, and a choice behind it.
//!
//! The adder's carry stays for the next instruction: numbers of several words are added with it, and a division needs three instructions for
//! each of its bits ([`Op::AddCarry`] for the quotient, which leaves the dividend its place, and for the rest, [`Op::SubFits`]).

use super::isa::{Join, Op};
use crate::prelude::*;

/// A result, or what a comparison finds.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Outcome {
    /// The word.
    pub word: Bits<32>,
    /// What a comparison finds.
    pub finds: Bit,
    /// The adder's carry; of a difference: it is not negative.
    pub carry: Bit,
}

/// The difference counts, not the sum.
#[kernel]
fn subtracts(op: Op) -> bool {
    op != Op::Add && op != Op::AddLimited && op != Op::AddCarry
}

/// `A >> ..`.
#[kernel]
fn shifted(op: Op, a: Bits<32>) -> Bits<32> {
    match op {
        Op::Right1 => a >> bits::<5>(1),
        Op::Right2 => a >> bits::<5>(2),
        Op::Right16 => a >> bits::<5>(16),
        _ => a >> bits::<5>(24),
    }
}

/// One clock. `product`: of the operands of the clock before; `carry`: of its sum.
#[kernel]
pub fn alu(op: Op, a: Bits<32>, b: Bits<32>, product: Bits<32>, carry: bool) -> Outcome {
    let less = subtracts(op);
    let more = less || (op == Op::AddCarry && carry);
    let y = if less { !b } else { b };
    let (zero, one) = (bits::<1>(0), bits::<1>(1));
    // One chain: the carry comes in as a bit below.
    let sum = cat::<34, _>((zero, a, one)) + cat::<34, _>((zero, y, more));
    let (word, carry) = (sum.get_bits::<32>(1), sum.get_bit(33));
    let (is_less, is_before) = (!carry, word.get_bit(31));
    let (none, all) = (bits::<32>(0), !bits::<32>(0));
    let first = match op {
        Op::Min => is_less,
        Op::Max => !is_less,
        Op::Earlier => is_before,
        _ => !is_before,
    };
    let word = match op {
        Op::Add | Op::AddCarry | Op::Sub => word,
        Op::AddLimited => {
            if carry {
                all
            } else {
                word
            }
        }
        Op::SubLimited => {
            if is_less {
                none
            } else {
                word
            }
        }
        Op::SubFits => {
            if is_less {
                a
            } else {
                word
            }
        }
        Op::Sub24 => bit_cast::<32, 24>(word.get_bits::<24>(0)),
        Op::And => a & b,
        Op::Or => a | b,
        Op::AndNot => a & !b,
        Op::Right1 | Op::Right2 | Op::Right16 | Op::Right24 => shifted(op, a),
        Op::Product => product,
        _ => {
            if first {
                a
            } else {
                b
            }
        }
    };
    let finds = match op {
        Op::Less => is_less,
        Op::Equal => a == b,
        Op::Before => is_before,
        Op::Before24 => sum.get_bit(24),
        _ => (a & b).any(),
    };
    Outcome { word, finds, carry }
}

/// A flag after a comparison.
#[kernel]
pub fn joined(join: Join, flag: bool, finds: bool) -> bool {
    match join {
        Join::Set => finds,
        Join::And => flag && finds,
        Join::Or => flag || finds,
        Join::SetNot => !finds,
        Join::AndNot => flag && !finds,
        Join::OrNot => flag || !finds,
    }
}

/// The product that [`Op::Product`] has a clock later.
#[kernel]
pub fn product(a: Bits<32>, b: Bits<32>) -> Bits<32> {
    bit_cast::<32, 33>(mul::<33, 16, 17>(a.get_bits::<16>(0), b.get_bits::<17>(0)))
}
