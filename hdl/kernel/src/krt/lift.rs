//! Two kinds of value meet here: `E<T>` is hardware, `usize`, `u64` and `bool` are elaboration time. Traits implemented
//! for both kinds decide by type what a comparison, an `if` or a `let` of the kernel means.

use super::ctx::{cx, fail, scoped, Stmt, VarId};
use super::ex::{Ex, Idx};
use super::expr::{konst, E};
use rust_hdl_core::prelude::{Bits, Clock, Synth};
use std::collections::HashSet;

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
            fn var(&self) -> Self {
                fail("an integer cannot depend on a hardware condition");
                *self
            }
            fn set(&self, _: Self) {}
            fn tern(_: &E<bool>, a: Self, _: Self) -> Self {
                fail("an integer cannot depend on a hardware condition");
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
        E::of(self.0.bin(o, &r.0))
    }
}
impl<const N: usize> Compare<u64> for E<Bits<N>> {
    type O = E<bool>;
    #[track_caller]
    fn cmp(self, o: &str, r: u64) -> E<bool> {
        E::of(self.0.bin(o, &Ex::int(N, r)))
    }
}
impl<const N: usize> Compare<E<Bits<N>>> for u64 {
    type O = E<bool>;
    #[track_caller]
    fn cmp(self, o: &str, r: E<Bits<N>>) -> E<bool> {
        E::of(Ex::int(N, self).bin(o, &r.0))
    }
}
impl Compare<bool> for E<bool> {
    type O = E<bool>;
    fn cmp(self, o: &str, r: bool) -> E<bool> {
        E::of(self.0.bin(o, &Ex::bool(r)))
    }
}
impl Compare<E<bool>> for bool {
    type O = E<bool>;
    fn cmp(self, o: &str, r: E<bool>) -> E<bool> {
        E::of(Ex::bool(self).bin(o, &r.0))
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
        E::of(self.0.bin(if and { "&&" } else { "||" }, &r.0))
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
    ($(($($t:ident $a:ident $b:ident $n:tt),+))*) => { $(
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
tuples!((A a x 0, B b y 1)(A a x 0, B b y 1, C c z 2)(A a x 0, B b y 1, C c z 2, D d w 3)
    (A a x 0, B b y 1, C c z 2, D d w 3, F f v 4)(A a x 0, B b y 1, C c z 2, D d w 3, F f v 4, G g u 5));
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

/// The condition of an `if`.
pub trait Cond {
    /// Runs one branch, or records both.
    fn branch<R: Res>(self, t: impl Fn() -> R, e: impl Fn() -> R) -> R;
}
impl Cond for bool {
    fn branch<R: Res>(self, t: impl Fn() -> R, e: impl Fn() -> R) -> R {
        if self {
            t()
        } else {
            e()
        }
    }
}
impl Cond for E<bool> {
    fn branch<R: Res>(self, t: impl Fn() -> R, e: impl Fn() -> R) -> R {
        let before = cx(|c| c.written.clone());
        let (r1, mut then) = scoped(t);
        let after_then = between(before);
        let (r2, mut other) = scoped(e);
        after(&after_then);
        if then.is_empty() && other.is_empty() {
            return R::tern(&self, r1, r2);
        }
        let v = r1.var();
        then.extend(scoped(|| v.set(r1)).1);
        other.extend(scoped(|| v.set(r2)).1);
        record_if(&self.0, then, other);
        v
    }
}
fn between(before: HashSet<VarId>) -> HashSet<VarId> {
    cx(|c| std::mem::replace(&mut c.written, before))
}
fn after(after_then: &HashSet<VarId>) {
    cx(|c| c.written.retain(|n| after_then.contains(n)));
}
fn record_if(cond: &Ex, then: Vec<Stmt>, other: Vec<Stmt>) {
    cx(|c| c.push(Stmt::If { cond: cond.rhs(), then, other }));
}
/// `if c { t() } else { e() }`.
pub fn branch<C: Cond, R: Res>(c: C, t: impl Fn() -> R, e: impl Fn() -> R) -> R {
    c.branch(t, e)
}

/// A value that `match` can look at, and the type of its patterns.
pub trait Scrutinee {
    /// Type of a pattern.
    type P;
    /// The value of the `case`; `None` when it is known while elaborating.
    fn hardware(&self) -> Option<Ex>;
    /// A pattern as a label; `None` when it can never match.
    fn label(&self, p: &Self::P) -> Option<String>;
    /// Whether a known value equals the pattern.
    fn is(&self, p: &Self::P) -> bool;
}
impl<T: Synth> Scrutinee for E<T> {
    type P = T;
    fn hardware(&self) -> Option<Ex> {
        Some(self.0.clone())
    }
    fn label(&self, p: &T) -> Option<String> {
        Some(konst(*p).0.text)
    }
    fn is(&self, _: &T) -> bool {
        false
    }
}
impl Scrutinee for Idx {
    type P = usize;
    fn hardware(&self) -> Option<Ex> {
        Some(self.0.clone())
    }
    fn label(&self, p: &usize) -> Option<String> {
        let fits = self.1 >= 64 || p >> self.1 == 0;
        fits.then(|| Ex::int(self.1, *p as u64).text)
    }
    fn is(&self, _: &usize) -> bool {
        false
    }
}
macro_rules! known {
    ($($t:ty),*) => { $(
        impl Scrutinee for $t {
            type P = $t;
            fn hardware(&self) -> Option<Ex> {
                None
            }
            fn label(&self, _: &$t) -> Option<String> {
                None
            }
            fn is(&self, p: &$t) -> bool {
                self == p
            }
        }
    )* };
}
known!(usize, u64, bool);

struct Arm<R> {
    labels: Vec<String>,
    stmts: Vec<Stmt>,
    value: R,
}
/// A `match` under construction.
pub struct Case<S: Scrutinee, R> {
    on: S,
    arms: Vec<Arm<R>>,
    before: HashSet<VarId>,
    after: Option<HashSet<VarId>>,
    chosen: Option<R>,
}
/// `match on {`.
pub fn case<S: Scrutinee, R>(on: S) -> Case<S, R> {
    Case { on, arms: vec![], before: cx(|c| c.written.clone()), after: None, chosen: None }
}
impl<S: Scrutinee, R: Res> Case<S, R> {
    /// One arm; no patterns mean the last one (Rust has checked that the arms are exhaustive).
    pub fn arm(mut self, pats: &[S::P], last: bool, body: impl Fn() -> R) -> Self {
        if self.on.hardware().is_none() {
            if self.chosen.is_none() && (last || pats.iter().any(|p| self.on.is(p))) {
                self.chosen = Some(body());
            }
            return self;
        }
        let labels: Vec<_> = pats.iter().filter_map(|p| self.on.label(p)).collect();
        if labels.is_empty() && !last {
            return self; // it can never match
        }
        let before = self.before.clone();
        let (value, stmts) = scoped(|| {
            cx(|c| c.written = before);
            body()
        });
        let w = cx(|c| c.written.clone());
        self.after = Some(match self.after {
            Some(a) => a.intersection(&w).copied().collect(),
            None => w,
        });
        self.arms.push(Arm { labels: if last { vec![] } else { labels }, stmts, value });
        self
    }
    /// `}`.
    pub fn end(mut self) -> R {
        if let Some(r) = self.chosen {
            return r;
        }
        let sel = self.on.hardware().expect("a known match chose an arm").rhs();
        if let Some(w) = self.after.take() {
            cx(|c| c.written = w);
        }
        let v = self.arms[0].value.var();
        let mut arms = vec![];
        for a in self.arms {
            let mut stmts = a.stmts;
            stmts.extend(scoped(|| v.set(a.value)).1);
            arms.push((a.labels, stmts));
        }
        cx(|c| c.push(Stmt::Case { sel, arms }));
        v
    }
}
