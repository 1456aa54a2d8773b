//! What a value can do wherever it comes from: be the result of a branch, be bound to a name.

use super::ex::Idx;
use super::expr::{konst, E};
use super::val::{shape, Joint, Val};
use rust_hdl_core::prelude::Synth;

/// Brings the values of all branches to one type: a `bool` becomes hardware.
pub trait Norm {
    /// The common type.
    type O;
    /// Converts.
    fn norm(self) -> Self::O;
}
impl<T> Norm for E<T> {
    type O = E<T>;
    fn norm(self) -> E<T> {
        self
    }
}
impl Norm for bool {
    type O = E<bool>;
    fn norm(self) -> E<bool> {
        konst(self)
    }
}
impl Norm for () {
    type O = ();
    fn norm(self) {}
}
/// Converts the value of a branch.
pub fn norm<X: Norm>(x: X) -> X::O {
    x.norm()
}

/// A value that an `if` or `match` can produce.
pub trait Res: Sized {
    /// So many fields that one `if` is better than a choice for each.
    const WIDE: bool;
    /// The value after the branch.
    fn join(arms: Vec<Self>, j: &mut Joint) -> Self;
    /// `c ? a : b`.
    fn tern(c: &E<bool>, a: Self, b: Self) -> Self;
}
impl Res for () {
    const WIDE: bool = false;
    fn join(_: Vec<()>, _: &mut Joint) {}
    fn tern(_: &E<bool>, (): (), (): ()) {}
}
impl<T: Synth> Res for E<T> {
    const WIDE: bool = T::BITS > 256;
    fn join(arms: Vec<Self>, j: &mut Joint) -> Self {
        E::val(Val::join(arms.into_iter().map(|a| a.0).collect(), &shape::<T>(), j))
    }
    fn tern(c: &E<bool>, a: Self, b: Self) -> Self {
        E::val(Val::choose(&c.x(), a.0, b.0, &shape::<T>()))
    }
}

macro_rules! tuples {
    ($(($($t:ident $n:tt),+))*) => { $(
        impl<$($t: Norm),+> Norm for ($($t,)+) {
            type O = ($($t::O,)+);
            fn norm(self) -> Self::O {
                ($(self.$n.norm(),)+)
            }
        }
        #[allow(non_snake_case)]
        impl<$($t: Res),+> Res for ($($t,)+) {
            const WIDE: bool = false $(|| <$t as Res>::WIDE)+;
            fn join(arms: Vec<Self>, j: &mut Joint) -> Self {
                $(let mut $t = vec![];)+
                for a in arms {
                    $($t.push(a.$n);)+
                }
                ($(<$t as Res>::join($t, j),)+)
            }
            fn tern(c: &E<bool>, a: Self, b: Self) -> Self {
                ($(<$t as Res>::tern(c, a.$n, b.$n),)+)
            }
        }
        impl<$($t: Bind),+> Bind for ($($t,)+) {
            type O = ($($t::O,)+);
            fn bind(self, name: &str) -> Self::O {
                ($(self.$n.bind(name),)+)
            }
            fn bind_arg(self, name: &str) -> Self::O {
                ($(self.$n.bind_arg(name),)+)
            }
        }
    )* };
}
tuples!((A 0, B 1)(A 0, B 1, C 2)(A 0, B 1, C 2, D 3)(A 0, B 1, C 2, D 3, F 4)(A 0, B 1, C 2, D 3, F 4, G 5)
    (A 0, B 1, C 2, D 3, F 4, G 5, H 6)(A 0, B 1, C 2, D 3, F 4, G 5, H 6, I 7));
impl<X: Norm, const N: usize> Norm for [X; N] {
    type O = [X::O; N];
    fn norm(self) -> Self::O {
        self.map(Norm::norm)
    }
}
impl<X: Res, const N: usize> Res for [X; N] {
    const WIDE: bool = X::WIDE;
    fn join(arms: Vec<Self>, j: &mut Joint) -> Self {
        let mut arms: Vec<_> = arms.into_iter().map(IntoIterator::into_iter).collect();
        std::array::from_fn(|_| {
            let each = arms.iter_mut().map(|a| a.next().expect("arrays have one length")).collect();
            X::join(each, j)
        })
    }
    fn tern(c: &E<bool>, a: Self, b: Self) -> Self {
        let mut b = b.into_iter();
        a.map(|x| X::tern(c, x, b.next().expect("arrays have one length")))
    }
}

/// `let name = value;`
pub trait Bind {
    /// What the name stands for.
    type O;
    /// Binds.
    fn bind(self, name: &str) -> Self::O;
    /// Binds an argument, which needs no copy of a name.
    fn bind_arg(self, name: &str) -> Self::O
    where
        Self: Sized,
    {
        self.bind(name)
    }
}
impl<T: Synth> Bind for E<T> {
    type O = E<T>;
    fn bind(self, name: &str) -> E<T> {
        E::val(self.0.bind(name, &shape::<T>()))
    }
    fn bind_arg(self, name: &str) -> E<T> {
        E::val(self.0.bind_arg(name, &shape::<T>()))
    }
}
impl Bind for bool {
    type O = bool;
    fn bind(self, _: &str) -> bool {
        self
    }
}
impl Bind for Idx {
    type O = Idx;
    fn bind(self, name: &str) -> Idx {
        Idx(self.0.bind(name, self.1), self.1)
    }
}
impl<X: Bind, const N: usize> Bind for [X; N] {
    type O = [X::O; N];
    fn bind(self, name: &str) -> Self::O {
        self.map(|x| x.bind(name))
    }
    fn bind_arg(self, name: &str) -> Self::O {
        self.map(|x| x.bind_arg(name))
    }
}
/// `let name = value;`
pub fn bind<X: Bind>(name: &str, x: X) -> X::O {
    x.bind(name)
}

/// An argument of a function.
pub fn bind_arg<X: Bind>(name: &str, x: X) -> X::O {
    x.bind_arg(name)
}

/// `let mut name = value;`
pub trait BindMut {
    /// The type of the variable.
    type T: Synth;
    /// The first value.
    fn first(self) -> E<Self::T>;
}
impl<T: Synth> BindMut for E<T> {
    type T = T;
    fn first(self) -> E<T> {
        self
    }
}
impl BindMut for bool {
    type T = bool;
    fn first(self) -> E<bool> {
        konst(self)
    }
}
/// `let mut name = value;`: always a variable of its own.
pub fn bind_mut<X: BindMut>(name: &str, x: X) -> E<X::T> {
    E::val(x.first().0.bind_mut(name, &shape::<X::T>()))
}
