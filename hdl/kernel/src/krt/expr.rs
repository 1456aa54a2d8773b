//! `E<T>`: a symbolic hardware value, and its operators.
//!
//! **Width invariant.** The text of an `E<T>` is a Verilog expression whose self-determined width is exactly `T::BITS`,
//! and both operands of every operator have that width. So no Verilog context is ever wider than the operand, and the
//! wrap-around of Rust's `Bits<N>` and of Verilog coincide without a single mask.

use super::ctx::fail;
use super::ex::{Ex, Offset};
use super::val::Val;
use rust_hdl_core::prelude::{Bits, Synth};
use std::marker::PhantomData;
use std::ops::{Add, BitAnd, BitOr, BitXor, Mul, Not, Shl, Shr, Sub};

/// A hardware value of type `T`, known as Verilog text.
pub struct E<T>(pub(crate) Val, PhantomData<fn() -> T>);

impl<T> Clone for E<T> {
    fn clone(&self) -> Self {
        E(self.0.clone(), PhantomData)
    }
}

impl<T> E<T> {
    /// The caller vouches for the width.
    pub(crate) fn of(x: Ex) -> E<T> {
        E(Val::One(x), PhantomData)
    }
    pub(crate) fn val(v: Val) -> E<T> {
        E(v, PhantomData)
    }
    /// As one expression.
    pub(crate) fn x(&self) -> Ex {
        self.0.flat()
    }
    /// The same bits, seen as another type of the same width.
    pub(crate) fn retype<U>(self) -> E<U> {
        E::of(self.x())
    }
}

/// The value of a Rust constant, enum variant or `Constant` signal.
pub(crate) fn konst<T: Synth>(v: T) -> E<T> {
    E::of(Ex::konst(T::BITS, &v.verilog()))
}

macro_rules! arith {
    ($tr:ident, $f:ident, $o:literal) => {
        impl<const N: usize> $tr for E<Bits<N>>
        where
            Bits<N>: $tr<Output = Bits<N>>,
        {
            type Output = E<Bits<N>>;
            fn $f(self, b: Self) -> Self::Output {
                E::of(self.x().bin($o, &b.x()))
            }
        }
        impl<const N: usize> $tr<u64> for E<Bits<N>> {
            type Output = E<Bits<N>>;
            #[track_caller]
            fn $f(self, b: u64) -> Self::Output {
                E::of(self.x().bin($o, &Ex::int(N, b)))
            }
        }
        impl<const N: usize> $tr<E<Bits<N>>> for u64 {
            type Output = E<Bits<N>>;
            #[track_caller]
            fn $f(self, b: E<Bits<N>>) -> Self::Output {
                E::of(Ex::int(N, self).bin($o, &b.x()))
            }
        }
    };
}
arith!(Add, add, "+");
arith!(Sub, sub, "-");
arith!(BitAnd, bitand, "&");
arith!(BitOr, bitor, "|");
arith!(BitXor, bitxor, "^");

macro_rules! logic {
    ($tr:ident, $f:ident, $o:literal) => {
        impl $tr for E<bool> {
            type Output = E<bool>;
            fn $f(self, b: Self) -> E<bool> {
                E::of(self.x().bin($o, &b.x()))
            }
        }
        impl $tr<bool> for E<bool> {
            type Output = E<bool>;
            fn $f(self, b: bool) -> E<bool> {
                E::of(self.x().bin($o, &Ex::bool(b)))
            }
        }
        impl $tr<E<bool>> for bool {
            type Output = E<bool>;
            fn $f(self, b: E<bool>) -> E<bool> {
                E::of(Ex::bool(self).bin($o, &b.x()))
            }
        }
    };
}
logic!(BitAnd, bitand, "&");
logic!(BitOr, bitor, "|");
logic!(BitXor, bitxor, "^");

impl<const N: usize> Add<E<bool>> for E<Bits<N>> {
    type Output = E<Bits<N>>;
    fn add(self, b: E<bool>) -> Self {
        E::of(self.x().bin("+", &b.x().resize(N, 1)))
    }
}

impl Mul for E<Bits<16>> {
    type Output = E<Bits<32>>;
    fn mul(self, b: Self) -> E<Bits<32>> {
        product(self, b)
    }
}

/// Full product: both operands are extended to the width of the result first.
pub(crate) fn product<const N: usize, const M: usize, const P: usize>(
    a: E<Bits<N>>,
    b: E<Bits<M>>,
) -> E<Bits<P>> {
    E::of(a.x().resize(P, N).bin("*", &b.x().resize(P, M)))
}

impl<T> Not for E<T>
where
    T: Not<Output = T>,
{
    type Output = E<T>;
    fn not(self) -> E<T> {
        E::of(self.x().unary("~"))
    }
}

macro_rules! shift {
    ($tr:ident, $f:ident, $o:literal) => {
        impl<const N: usize, const M: usize> $tr<E<Bits<M>>> for E<Bits<N>> {
            type Output = E<Bits<N>>;
            #[track_caller]
            fn $f(self, b: E<Bits<M>>) -> Self {
                if M > 64 {
                    fail("a shift amount has at most 64 bits");
                }
                E::of(self.x().bin($o, &b.x()))
            }
        }
        impl<const N: usize> $tr<u64> for E<Bits<N>> {
            type Output = E<Bits<N>>;
            fn $f(self, b: u64) -> Self {
                E::of(self.x().bin($o, &Ex::int(64, b)))
            }
        }
    };
}
shift!(Shl, shl, "<<");
shift!(Shr, shr, ">>");

impl<const N: usize> E<Bits<N>> {
    /// At least one bit is set.
    pub fn any(self) -> E<bool> {
        E::of(self.x().unary("|"))
    }
    /// Every bit is set.
    pub fn all(self) -> E<bool> {
        E::of(self.x().unary("&"))
    }
    /// Odd number of set bits.
    pub fn xor(self) -> E<bool> {
        E::of(self.x().unary("^"))
    }
    /// The value as an index.
    pub fn index(self) -> super::Idx {
        super::ex::Idx(self.x(), N)
    }
    /// One bit.
    #[track_caller]
    pub fn get_bit(self, i: impl Offset) -> E<bool> {
        E::of(match i.fixed() {
            Some(i) if i >= N => {
                fail(format!("bit {i} of {N} bits"));
                Ex::bool(false)
            }
            Some(i) => self.x().bits_at(N, i, 1),
            None => self.x().bits_from(N, &i.idx(), 1),
        })
    }
    /// `M` bits from position `i`; bits above the value are zero.
    #[track_caller]
    pub fn get_bits<const M: usize>(self, i: impl Offset) -> E<Bits<M>> {
        E::of(match i.fixed() {
            Some(i) => self.x().bits_at(N, i, M),
            None => self.x().bits_from(N, &i.idx(), M),
        })
    }
    /// The value with one bit replaced.
    #[track_caller]
    pub fn replace_bit(self, i: impl Offset, v: impl super::lift::Hw<bool>) -> E<Bits<N>> {
        E::of(super::stmt::with_bits(self.x(), N, (i.fixed(), i.idx()), v.hw().x(), 1))
    }
}
