//! Sums that need more than one word: a division, a cube root, a product of 70 bits. Each is a part of CUBIC's program ([`super::cubic`]), and
//! each is exact.
//!
//! | part | clocks |
//! |---|---|
//! | [`divide`] | 101 with call and return |
//! | [`root`] | 321 |
//! | [`curve`] | 59 |

use super::names::{F1, F2, F3, T0, T1, T2, T3};
use crate::micro::asm::{Asm, Label, Loc};
use crate::micro::isa::{Join, Op};
use crate::tcp::cwnd::MAX_CWND;

/// The upper word of a dividend, less than [`DIVISOR`]; after that the rest.
pub const REST: Loc = Loc::Register(0);
/// The lower word of a dividend; after that the quotient.
pub const WORD: Loc = Loc::Register(1);
/// At most 2^31.
pub const DIVISOR: Loc = Loc::Register(2);
/// Bits 47:16 of what the cube root is taken of; 15:0 are in [`CUBE_LOW`].
pub const CUBE: Loc = Loc::Register(3);
/// See [`CUBE`].
pub const CUBE_LOW: Loc = Loc::Register(4);
/// Its root, rounded down.
pub const ROOT: Loc = Loc::Register(5);
/// A time of 16 bits.
pub const APART: Loc = Loc::Register(6);
/// Segment size.
pub const SMSS: Loc = Loc::Register(7);
/// What [`curve`] says: bytes.
pub const BYTES: Loc = Loc::Register(8);

/// C = 0.4 segments per cubic second is 59 / 2^37 per cubic unit of 1024 us.
pub const C_FACTOR: u32 = 59;
/// The largest window.
pub const MOST: u32 = 1 << 30;
const _: () = assert!(MOST as u64 == MAX_CWND);

/// The half of a word that [`Asm::mul`] takes.
const LOW: u32 = 0xffff;

/// A constant.
const fn k(value: u32) -> Loc {
    Loc::Constant(value)
}

/// `x << by`: what leaves the word is lost.
pub fn left(p: &mut Asm, x: Loc, by: u8) {
    (0..by).for_each(|_| p.add(x, x, x));
}

/// `to = from >> 16` is half of it; the other half is `from & 0xffff`.
pub fn halves(p: &mut Asm, (high, low): (Loc, Loc), from: Loc) {
    p.right(high, from, 16);
    p.and(low, from, k(LOW));
}

/// [`REST`] and [`WORD`] by [`DIVISOR`]. Comes back.
pub fn divide(p: &mut Asm, here: Label) {
    p.here(here);
    p.add(WORD, WORD, WORD);
    for _ in 0..32 {
        p.add_carry(REST, REST, REST);
        p.sub_fits(REST, REST, DIVISOR);
        p.add_carry(WORD, WORD, WORD);
    }
    p.back();
}

/// The cube root of [`CUBE`], a bit after the other: is the cube of what there would be small enough?
pub fn root(p: &mut Asm) {
    let (bit, trial, high, low, square) = (T0, T1, T2, T3, REST);
    let next = p.label();
    p.mov(ROOT, k(0));
    p.mov(bit, k(1 << 15));
    p.here(next);
    p.or(trial, ROOT, bit);
    p.mul(square, trial, trial);
    p.mul(low, square, trial);
    p.right(square, square, 16);
    p.mul(high, square, trial);
    p.right(square, low, 16);
    p.add(high, high, square);
    p.and(low, low, k(LOW));
    p.less(F1, CUBE, high);
    p.equal(F2, CUBE, high);
    p.compare(Join::And, Op::Less, F2, CUBE_LOW, low);
    p.right(bit, bit, 1);
    p.when(F2).equal(F1, k(0), k(0));
    p.not_equal(F3, bit, k(0));
    p.unless(F1).mov(ROOT, trial);
    p.when(F3).jump(next);
}

/// C times the cube of [`APART`], in bytes of segments of [`SMSS`], at most [`MOST`]. The 12 low bits of the cube do not count.
pub fn curve(p: &mut Asm) {
    let (factor, factor_high, sum, part) = (REST, WORD, DIVISOR, CUBE);
    let (c0, c1, c2) = (T0, T1, T2);
    p.mul(c1, APART, APART);
    p.mul(c0, c1, APART);
    p.right(c1, c1, 16);
    p.mul(c1, c1, APART);
    p.right(part, c0, 16);
    p.add(c1, c1, part);
    halves(p, (c2, c1), c1);
    p.and(c0, c0, k(LOW & !0xfff));
    p.mul(factor, SMSS, k(C_FACTOR));
    p.right(factor_high, factor, 16);
    // Bits from 16 on: nothing of this is larger than a word.
    p.mul(sum, factor, c0);
    p.right(sum, sum, 16);
    add_product(p, sum, factor_high, c0);
    p.mul(part, factor, c1);
    next_half(p, sum, part);
    // From 32 on.
    add_product(p, sum, factor_high, c1);
    p.mul(part, factor, c2);
    p.and(T0, part, k(LOW));
    p.add(sum, sum, T0);
    p.and(BYTES, sum, k(LOW));
    p.right(sum, sum, 16);
    p.right(part, part, 16);
    p.add(sum, sum, part);
    // From 48 on; the result begins at bit 37.
    add_product(p, sum, factor_high, c2);
    p.min(sum, sum, k(MOST >> 11));
    left(p, sum, 11);
    p.right(BYTES, BYTES, 2);
    p.right(BYTES, BYTES, 2);
    p.right(BYTES, BYTES, 1);
    p.add(BYTES, BYTES, sum);
    p.min(BYTES, BYTES, k(MOST));
}

/// `sum += a * b`.
fn add_product(p: &mut Asm, sum: Loc, a: Loc, b: Loc) {
    p.mul(T3, a, b);
    p.add(sum, sum, T3);
}

/// `sum = (sum + part) >> 16`, of which the lower halves are added first: both are too large for one sum.
fn next_half(p: &mut Asm, sum: Loc, part: Loc) {
    p.and(T3, part, k(LOW));
    p.add(sum, sum, T3);
    p.right(sum, sum, 16);
    p.right(part, part, 16);
    p.add(sum, sum, part);
}
