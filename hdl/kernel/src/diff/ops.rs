//! The operations of native simulation for the widths that blocks use, compiled here, where they are optimised.
//!
//! The blocks' crate is not optimised (most of it are twins that run once), and rust-hdl keeps a number of more than 32 bits
//! as an array of `bool`: its loops over the bits are where native simulation is, and they are generic. Below optimisation
//! level 2 a crate takes an instance that a crate below it has in place of making its own. A width that is missing here
//! is slower, nothing else.

use crate::builtin::{from_bools, Packed};
use rust_hdl_core::prelude::{Bits, Block, In, Out, Signal};
use std::hint::black_box;
use std::ops::{Add, BitAnd, BitOr, BitXor, Not, Shl, Shr, Sub};

type Two<const N: usize> = fn(Bits<N>, Bits<N>) -> Bits<N>;
type Shift<const N: usize> = fn(Bits<N>, u64) -> Bits<N>;

fn width<const N: usize>() {
    let two: [Two<N>; 5] = [Add::add, Sub::sub, BitAnd::bitand, BitOr::bitor, BitXor::bitxor];
    let shifts: [Shift<N>; 2] = [Shl::shl, Shr::shr];
    let list: fn(&[bool]) -> Bits<N> = from_bools;
    let number: fn(u64) -> Bits<N> = From::from;
    let put: fn(&Bits<N>, &mut Vec<bool>) = Packed::put;
    let not: fn(Bits<N>) -> Bits<N> = Not::not;
    let bit: fn(&Bits<N>, usize) -> bool = Bits::get_bit;
    let narrow: fn(Bits<N>) -> Bits<8> = rust_hdl_core::prelude::bit_cast;
    let part: fn(&Bits<N>, usize) -> Bits<8> = Bits::get_bits;
    let input: fn(&mut Signal<In, Bits<N>>) = Block::update_all;
    let output: fn(&mut Signal<Out, Bits<N>>) = Block::update_all;
    black_box((two, shifts, list, number, put, not, bit, narrow, part, input, output));
}

macro_rules! widths {
    ($($n:literal)*) => { $(width::<$n>();)* };
}

/// Names the instances; nobody has to call it.
pub fn instances() {
    widths!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37 38 39 40
        44 45 48 52 56 61 63 64 65 72 80 88 96 112 121 128 144 160 192 224 256 288 320 512 576);
}
