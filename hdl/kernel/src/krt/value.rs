//! What a value can do wherever it comes from: be the result of a branch, be bound to a name.

use super::ctx::{cx, Stmt};
use super::ex::{Ex, Idx};
use super::expr::{konst, E};
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
    /// A variable that can hold it.
    fn var(&self) -> Self;
    /// Assigns to such a variable.
    fn set(&self, v: Self);
    /// `c ? a : b`.
    fn tern(c: &E<bool>, a: Self, b: Self) -> Self;
}
impl Res for () {
    fn var(&self) {}
    fn set(&self, (): ()) {}
    fn tern(_: &E<bool>, (): (), (): ()) {}
}
fn result_var(width: usize) -> Ex {
    let id = cx(|c| {
        let id = c.fresh("sel", width);
        c.written.insert(id);
        id
    });
    Ex { fix: true, ..Ex::var(id) } // assigned once per path, right before its only use
}
fn result_set(var: &Ex, v: &Ex) {
    let id = var.base.expect("made by `result_var`").0;
    cx(|c| c.push(Stmt::Assign { dst: id, part: None, rhs: v.rhs() }));
}
impl<T: Synth> Res for E<T> {
    fn var(&self) -> Self {
        E::of(result_var(T::BITS))
    }
    fn set(&self, v: Self) {
        result_set(&self.0, &v.0);
    }
    fn tern(c: &E<bool>, a: Self, b: Self) -> Self {
        E::of(c.0.choose(&a.0, &b.0))
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
        impl<$($t: Res),+> Res for ($($t,)+) {
            fn var(&self) -> Self {
                ($(self.$n.var(),)+)
            }
            fn set(&self, v: Self) {
                $(self.$n.set(v.$n);)+
            }
            fn tern(c: &E<bool>, a: Self, b: Self) -> Self {
                ($($t::tern(c, a.$n, b.$n),)+)
            }
        }
        impl<$($t: Bind),+> Bind for ($($t,)+) {
            type O = ($($t::O,)+);
            fn bind(self, name: &str) -> Self::O {
                ($(self.$n.bind(name),)+)
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
impl<X: Res + Clone, const N: usize> Res for [X; N] {
    fn var(&self) -> Self {
        self.clone().map(|x| x.var())
    }
    fn set(&self, v: Self) {
        for (a, b) in self.iter().zip(v) {
            a.set(b);
        }
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
}
impl<T: Synth> Bind for E<T> {
    type O = E<T>;
    fn bind(self, name: &str) -> E<T> {
        E::of(self.0.bind(name, T::BITS))
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
}
/// `let name = value;`
pub fn bind<X: Bind>(name: &str, x: X) -> X::O {
    x.bind(name)
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
    E::of(Ex { fix: false, ..x.first().0.temp(name, X::T::BITS) })
}
