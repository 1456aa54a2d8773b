//! Two kinds of value meet here: `E<T>` is hardware, `usize`, `u64` and `bool` are elaboration time. Traits implemented
//! for both kinds decide by type what the text of the kernel means.

use super::ctx::fail;
use super::ex::Ex;
use super::expr::{konst, E};
use super::val::Joint;
use super::value::{Bind, Norm, Res};
use rust_hdl_core::prelude::{Bits, Clock, Synth};

/// Something that can stand for a hardware value of type `T`.
pub trait Hw<T> {
    /// The hardware value.
    fn hw(self) -> E<T>;
}
impl<T> Hw<T> for E<T> {
    fn hw(self) -> E<T> {
        self
    }
}
impl Hw<bool> for bool {
    fn hw(self) -> E<bool> {
        konst(self)
    }
}

/// `x.into()`: the taker chooses the type.
pub struct Conv<X>(X);
/// `x.into()`.
pub fn conv<X>(x: X) -> Conv<X> {
    Conv(x)
}
impl<const N: usize> Hw<Bits<N>> for Conv<u64> {
    #[track_caller]
    fn hw(self) -> E<Bits<N>> {
        E::of(Ex::int(N, self.0))
    }
}
impl Hw<Bits<1>> for Conv<E<bool>> {
    fn hw(self) -> E<Bits<1>> {
        self.0.retype()
    }
}
impl Hw<Bits<1>> for Conv<bool> {
    fn hw(self) -> E<Bits<1>> {
        konst(self.0).retype()
    }
}
impl Hw<bool> for Conv<E<Bits<1>>> {
    fn hw(self) -> E<bool> {
        self.0.retype()
    }
}
impl Hw<Clock> for Conv<E<bool>> {
    fn hw(self) -> E<Clock> {
        self.0.retype()
    }
}

/// A Rust path in value position: a constant, a const generic or an enum variant.
pub struct Wrap<T>(pub T);
/// Elaboration-time constants stay as they are.
pub trait LiftElab {
    /// The lifted type.
    type O;
    /// Lifts.
    fn k_lift(self) -> Self::O;
}
/// Hardware constants become literals.
pub trait LiftHw {
    /// The lifted type.
    type O;
    /// Lifts.
    fn k_lift(self) -> Self::O;
}
macro_rules! elab {
    ($($t:ty),*) => { $(
        impl LiftElab for Wrap<$t> {
            type O = $t;
            fn k_lift(self) -> $t {
                self.0
            }
        }
        impl Norm for $t {
            type O = $t;
            fn norm(self) -> $t {
                self
            }
        }
        impl Res for $t {
            const WIDE: bool = false;
            fn join(arms: Vec<Self>, _: &mut Joint) -> Self {
                if arms.iter().any(|a| *a != arms[0]) {
                    fail("an integer cannot depend on a hardware condition");
                }
                arms[0]
            }
            fn tern(_: &E<bool>, a: Self, b: Self) -> Self {
                if a != b {
                    fail("an integer cannot depend on a hardware condition");
                }
                a
            }
        }
        impl Bind for $t {
            type O = $t;
            fn bind(self, _: &str) -> $t {
                self
            }
        }
    )* };
}
elab!(usize, u64, u32, i32);
impl LiftElab for Wrap<bool> {
    type O = bool;
    fn k_lift(self) -> bool {
        self.0
    }
}
impl<T: Synth> LiftHw for &Wrap<T> {
    type O = E<T>;
    fn k_lift(self) -> E<T> {
        konst(self.0)
    }
}
