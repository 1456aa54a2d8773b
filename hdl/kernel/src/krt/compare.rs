//! Comparisons, `&&` and `||`, for hardware and for elaboration-time values.

use super::ex::{Ex, Idx};
use super::expr::{konst, E};
use rust_hdl_core::prelude::{Bits, Synth};

/// Comparison of two values of either kind.
pub trait Compare<R> {
    /// `bool` or `E<bool>`.
    type O;
    /// Applies the comparison named `o`.
    fn cmp(self, o: &str, r: R) -> Self::O;
}
fn plain<T: PartialOrd>(o: &str, a: &T, b: &T) -> bool {
    match o {
        "==" => a == b,
        "!=" => a != b,
        "<" => a < b,
        "<=" => a <= b,
        ">" => a > b,
        _ => a >= b,
    }
}
macro_rules! compare_plain {
    ($($t:ty),*) => { $(
        impl Compare<$t> for $t {
            type O = bool;
            fn cmp(self, o: &str, r: $t) -> bool {
                plain(o, &self, &r)
            }
        }
    )* };
}
compare_plain!(usize, u64, bool);
impl<T: Synth> Compare<E<T>> for E<T> {
    type O = E<bool>;
    fn cmp(self, o: &str, r: E<T>) -> E<bool> {
        E::of(self.x().bin(o, &r.x()))
    }
}
impl<const N: usize> Compare<u64> for E<Bits<N>> {
    type O = E<bool>;
    #[track_caller]
    fn cmp(self, o: &str, r: u64) -> E<bool> {
        E::of(self.x().bin(o, &Ex::int(N, r)))
    }
}
impl<const N: usize> Compare<E<Bits<N>>> for u64 {
    type O = E<bool>;
    #[track_caller]
    fn cmp(self, o: &str, r: E<Bits<N>>) -> E<bool> {
        E::of(Ex::int(N, self).bin(o, &r.x()))
    }
}
impl Compare<bool> for E<bool> {
    type O = E<bool>;
    fn cmp(self, o: &str, r: bool) -> E<bool> {
        E::of(self.x().bin(o, &Ex::bool(r)))
    }
}
impl Compare<E<bool>> for bool {
    type O = E<bool>;
    fn cmp(self, o: &str, r: E<bool>) -> E<bool> {
        E::of(Ex::bool(self).bin(o, &r.x()))
    }
}
impl Compare<usize> for Idx {
    type O = E<bool>;
    fn cmp(self, o: &str, r: usize) -> E<bool> {
        if self.1 < 64 && r >> self.1 != 0 {
            return konst(matches!(o, "!=" | "<" | "<=")); // the value is below `r`
        }
        E::of(self.0.bin(o, &Ex::int(self.1, r as u64)))
    }
}

macro_rules! comparisons {
    ($($f:ident $o:literal),*) => { $(
        /// A comparison operator of the kernel.
        #[track_caller]
        pub fn $f<L: Compare<R>, R>(l: L, r: R) -> L::O {
            l.cmp($o, r)
        }
    )* };
}
comparisons!(eq "==", ne "!=", lt "<", le "<=", gt ">", ge ">=");

/// `&&` and `||`. The right side is evaluated only where Rust might evaluate it.
pub trait Lazy<R> {
    /// `bool` or `E<bool>`.
    type O;
    /// `self && r()` or `self || r()`.
    fn lazy(self, and: bool, r: impl FnOnce() -> R) -> Self::O;
}
impl Lazy<bool> for bool {
    type O = bool;
    fn lazy(self, and: bool, r: impl FnOnce() -> bool) -> bool {
        if self == and {
            r()
        } else {
            self
        }
    }
}
impl Lazy<E<bool>> for bool {
    type O = E<bool>;
    fn lazy(self, and: bool, r: impl FnOnce() -> E<bool>) -> E<bool> {
        if self == and {
            r()
        } else {
            konst(self)
        }
    }
}
impl Lazy<E<bool>> for E<bool> {
    type O = E<bool>;
    fn lazy(self, and: bool, r: impl FnOnce() -> E<bool>) -> E<bool> {
        let r = r();
        E::of(self.x().bin(if and { "&&" } else { "||" }, &r.x()))
    }
}
impl Lazy<bool> for E<bool> {
    type O = E<bool>;
    fn lazy(self, and: bool, r: impl FnOnce() -> bool) -> E<bool> {
        self.lazy(and, || konst(r()))
    }
}
/// `l && r()`.
pub fn and<L: Lazy<R>, R>(l: L, r: impl FnOnce() -> R) -> L::O {
    l.lazy(true, r)
}
/// `l || r()`.
pub fn or<L: Lazy<R>, R>(l: L, r: impl FnOnce() -> R) -> L::O {
    l.lazy(false, r)
}
