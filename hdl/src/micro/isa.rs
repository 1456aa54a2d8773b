//! The instruction word.

use crate::prelude::*;

/// Bits of an instruction's address.
pub const PC: usize = 11;
/// Bits of a register's number.
pub const REG: usize = 7;
/// Bits of an input's number.
pub const INPUT: usize = 6;
/// Bits of a state word's number.
pub const WORD: usize = 5;
/// Flags that can be set; flag 0 is always 1.
pub const FLAGS: usize = 7;

/// What an instruction does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, LogicState)]
pub enum Op {
    /// `A + B`.
    Add,
    /// `A + B`, at most all ones.
    AddLimited,
    /// `A + B`, and one more if the instruction before had a carry; branches leave that as it is.
    AddCarry,
    /// `A - B`.
    Sub,
    /// `A - B`, at least 0.
    SubLimited,
    /// `A - B` if it is not negative, else A: a step of a division. The carry is its bit of the quotient.
    SubFits,
    /// `A - B` modulo 2^24.
    Sub24,
    /// The smaller amount.
    Min,
    /// The larger amount.
    Max,
    /// The one that comes first in sequence space: A, if bit 31 of `A - B` is set.
    Earlier,
    /// The other one.
    Later,
    /// `A & B`.
    And,
    /// `A | B`.
    Or,
    /// `A & !B`.
    AndNot,
    /// `A >> 1`.
    Right1,
    /// `A >> 2`.
    Right2,
    /// `A >> 16`.
    Right16,
    /// `A >> 24`.
    Right24,
    /// The product of bits 15:0 of A and 16:0 of B in the instruction before, its lower 32 bits.
    Product,
    /// A flag: `A < B`.
    Less,
    /// A flag: `A == B`.
    Equal,
    /// A flag: A is before B in sequence space.
    Before,
    /// A flag: A is before B among times modulo 2^24.
    Before24,
    /// A flag: A and B have a bit in common.
    Has,
    /// Goes on elsewhere.
    Branch,
    /// The same, and remembers where it was.
    Call,
    /// Goes back there.
    Return,
    /// The program is over.
    End,
}

/// Where a result goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, LogicState)]
pub enum Space {
    /// A register.
    Register,
    /// A state word.
    State,
    /// An output.
    Output,
    /// A state word, and the output of the same number.
    Both,
}

/// How what a comparison finds is joined to a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, LogicState)]
pub enum Join {
    /// It is the flag.
    Set,
    /// Both.
    And,
    /// One of them, or both.
    Or,
    /// The opposite of it is the flag.
    SetNot,
    /// The flag, and not this.
    AndNot,
    /// The flag, or not this.
    OrNot,
}

/// An instruction.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Ins {
    /// What it does.
    pub op: Op,
    /// Only if this flag is set.
    pub when: Bits<3>,
    /// Not set, rather.
    pub unless: Bit,
    /// Where a result goes ([`space`]), or what a comparison is to a flag ([`join`]). With a field for each, a word would not fit into 36
    /// bits, the width of a block RAM.
    pub how: Bits<3>,
    /// The register, the state word, the output, or the flag.
    pub to: Bits<REG>,
    /// A is a state word.
    pub a_state: Bit,
    /// Its number, or that of a register; a branch: with B where it goes.
    pub a: Bits<REG>,
    /// B is an input.
    pub b_input: Bit,
    /// Its number, or that of a register.
    pub b: Bits<REG>,
}

/// Bits of an instruction.
pub const INS: usize = Ins::BITS;
const _: () = assert!(INS <= 36);

/// [`Ins::how`] of a result.
#[must_use]
pub fn to_space(space: Space) -> Bits<3> {
    (space as u64).into()
}

/// [`Ins::how`] of a comparison.
#[must_use]
pub fn by_join(join: Join) -> Bits<3> {
    (join as u64).into()
}

/// Where the result of an instruction goes.
#[kernel]
pub fn space(how: Bits<3>) -> Space {
    if how.get_bit(1) {
        if how.get_bit(0) {
            Space::Both
        } else {
            Space::Output
        }
    } else if how.get_bit(0) {
        Space::State
    } else {
        Space::Register
    }
}

/// What a comparison is to its flag.
#[kernel]
pub fn join(how: Bits<3>) -> Join {
    if how.get_bit(2) {
        if how.get_bit(0) {
            Join::OrNot
        } else {
            Join::AndNot
        }
    } else if how.get_bit(1) {
        if how.get_bit(0) {
            Join::SetNot
        } else {
            Join::Or
        }
    } else if how.get_bit(0) {
        Join::And
    } else {
        Join::Set
    }
}

/// It sets a flag.
#[kernel]
pub fn compares(op: Op) -> bool {
    op == Op::Less || op == Op::Equal || op == Op::Before || op == Op::Before24 || op == Op::Has
}

/// It has no result.
#[kernel]
pub fn jumps(op: Op) -> bool {
    op == Op::Branch || op == Op::Call || op == Op::Return || op == Op::End
}

/// Where a branch goes.
#[kernel]
pub fn target(i: Ins) -> Bits<PC> {
    bit_cast::<PC, 14>(cat::<14, _>((i.a, i.b)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_into_how_is_what_comes_out() {
        for s in [Space::Register, Space::State, Space::Output, Space::Both] {
            assert_eq!(space(to_space(s)), s);
        }
        for j in [Join::Set, Join::And, Join::Or, Join::SetNot, Join::AndNot, Join::OrNot] {
            assert_eq!(join(by_join(j)), j);
        }
    }
}
