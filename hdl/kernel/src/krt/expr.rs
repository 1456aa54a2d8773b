//! `E<T>`: a symbolic hardware value, and its operators.
//!
//! **Width invariant.** The text of an `E<T>` is a Verilog expression whose self-determined width is exactly `T::BITS`,
//! and both operands of every operator have that width. So no Verilog context is ever wider than the operand, and the
//! wrap-around of Rust's `Bits<N>` and of Verilog coincide without a single mask.

use super::ctx::{cx, fail, Rhs, Role, Stmt, VarId};
use rust_hdl_core::prelude::{Bits, Synth};
use std::marker::PhantomData;
use std::ops::{Add, BitAnd, BitOr, BitXor, Mul, Not, Shl, Shr, Sub};

/// A hardware value of type `T`, known as Verilog text.
pub struct E<T> {
    pub(crate) text: String,
    /// No parentheses are needed around `text`.
    pub(crate) atomic: bool,
    pub(crate) reads: Vec<VarId>,
    /// The variable and bit offset, when `text` is a variable or a slice of one.
    pub(crate) base: Option<(VarId, usize)>,
    /// The named variables cannot change within one evaluation of the kernel.
    pub(crate) fix: bool,
    pub(crate) kind: PhantomData<fn() -> T>,
}

impl<T> Clone for E<T> {
    fn clone(&self) -> Self {
        E {
            text: self.text.clone(),
            atomic: self.atomic,
            reads: self.reads.clone(),
            base: self.base,
            fix: self.fix,
            kind: PhantomData,
        }
    }
}

impl<T> E<T> {
    /// The same bits, seen as another type of the same width.
    pub(crate) fn retype<U>(self) -> E<U> {
        E {
            text: self.text,
            atomic: self.atomic,
            reads: self.reads,
            base: self.base,
            fix: self.fix,
            kind: PhantomData,
        }
    }
    /// The text as an operand.
    pub(crate) fn p(&self) -> String {
        if self.atomic {
            self.text.clone()
        } else {
            format!("({})", self.text)
        }
    }
    pub(crate) fn rhs(&self) -> Rhs {
        Rhs { text: self.text.clone(), reads: self.reads.clone() }
    }
}

pub(crate) fn merged(a: &[VarId], b: &[VarId]) -> Vec<VarId> {
    let mut r = a.to_vec();
    r.extend(b.iter().filter(|x| !a.contains(x)));
    r
}

/// A composite expression.
pub(crate) fn op<T>(text: String, atomic: bool, reads: Vec<VarId>, fix: bool) -> E<T> {
    E { text, atomic, reads, base: None, fix, kind: PhantomData }
}

pub(crate) fn var<T>(id: VarId) -> E<T> {
    cx(|c| {
        let v = &c.vars[id];
        let fix = matches!(v.role, Role::In | Role::ChildOut | Role::DffQ | Role::Const);
        E { text: v.name.clone(), atomic: true, reads: vec![id], base: Some((id, 0)), fix, kind: PhantomData }
    })
}

/// A sized literal.
pub(crate) fn literal(width: usize, hex: &str) -> String {
    format!("{width}'h{hex}")
}

/// A literal of a plain integer; an error when it does not fit.
#[track_caller]
pub(crate) fn int<T>(width: usize, v: u64) -> E<T> {
    if width < 64 && v >> width != 0 {
        fail(format!("{v} does not fit into {width} bits"));
    }
    op(literal(width, &format!("{v:x}")), true, vec![], true)
}

/// The value of a Rust constant, enum variant or `Constant` signal.
pub(crate) fn konst<T: Synth>(v: T) -> E<T> {
    op(konst_text(T::BITS, &v.verilog()), true, vec![], true)
}

pub(crate) fn konst_text(width: usize, v: &rust_hdl_core::prelude::VerilogLiteral) -> String {
    let s = format!("{v:x}");
    let hex = s.split_once("'h").map_or("0", |x| x.1).to_string();
    literal(width, &hex)
}

fn bin<T, U, A, B>(a: &E<A>, o: &str, b: &E<B>) -> E<U> {
    let _ = PhantomData::<T>;
    op(format!("{} {o} {}", a.p(), b.p()), false, merged(&a.reads, &b.reads), a.fix && b.fix)
}

macro_rules! arith {
    ($tr:ident, $f:ident, $o:literal) => {
        impl<const N: usize> $tr for E<Bits<N>>
        where
            Bits<N>: $tr<Output = Bits<N>>,
        {
            type Output = E<Bits<N>>;
            fn $f(self, b: Self) -> Self::Output {
                bin::<(), _, _, _>(&self, $o, &b)
            }
        }
        impl<const N: usize> $tr<u64> for E<Bits<N>> {
            type Output = E<Bits<N>>;
            #[track_caller]
            fn $f(self, b: u64) -> Self::Output {
                bin::<(), _, _, _>(&self, $o, &int::<Bits<N>>(N, b))
            }
        }
        impl<const N: usize> $tr<E<Bits<N>>> for u64 {
            type Output = E<Bits<N>>;
            #[track_caller]
            fn $f(self, b: E<Bits<N>>) -> Self::Output {
                bin::<(), _, _, _>(&int::<Bits<N>>(N, self), $o, &b)
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
                bin::<(), _, _, _>(&self, $o, &b)
            }
        }
        impl $tr<bool> for E<bool> {
            type Output = E<bool>;
            fn $f(self, b: bool) -> E<bool> {
                bin::<(), _, _, _>(&self, $o, &konst(b))
            }
        }
        impl $tr<E<bool>> for bool {
            type Output = E<bool>;
            fn $f(self, b: E<bool>) -> E<bool> {
                bin::<(), _, _, _>(&konst(self), $o, &b)
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
        bin::<(), _, _, _>(&self, "+", &resize::<Bits<N>, bool>(b, N, 1))
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
    let (a, b): (E<Bits<P>>, E<Bits<P>>) = (resize(a, P, N), resize(b, P, M));
    bin::<(), _, _, _>(&a, "*", &b)
}

impl<T> Not for E<T>
where
    T: Not<Output = T>,
{
    type Output = E<T>;
    fn not(self) -> E<T> {
        op(format!("~{}", self.p()), false, self.reads, self.fix)
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
                bin::<(), _, _, _>(&self, $o, &b)
            }
        }
        impl<const N: usize> $tr<u64> for E<Bits<N>> {
            type Output = E<Bits<N>>;
            fn $f(self, b: u64) -> Self {
                op(format!("{} {} 64'h{b:x}", self.p(), $o), false, self.reads, self.fix)
            }
        }
    };
}
shift!(Shl, shl, "<<");
shift!(Shr, shr, ">>");

/// Puts an expression into a variable of its own, so that it can be sliced or used many times.
pub(crate) fn temp<T>(name: &str, width: usize, e: &E<T>) -> E<T> {
    let id = cx(|c| {
        let id = c.fresh(name, width);
        c.push(Stmt::Assign { dst: id, part: None, rhs: e.rhs() });
        c.written.insert(id);
        id
    });
    let mut v = var(id);
    v.fix = true; // assigned exactly here
    v
}

/// Bits `off .. off + w` of `e`, which has `n` bits. The caller has checked the range.
pub(crate) fn slice<T, U>(e: E<T>, n: usize, off: usize, w: usize) -> E<U> {
    if off == 0 && w == n {
        return e.retype();
    }
    let e = if e.base.is_some() { e } else { temp("t", n, &e) };
    let (id, o) = e.base.expect("a variable has a base");
    let o = o + off;
    let (name, full) = cx(|c| (c.vars[id].name.clone(), c.vars[id].width));
    let text = match (w, full) {
        (_, f) if w == f => name,
        (1, _) => format!("{name}[{o}]"),
        _ => format!("{name}[{}:{o}]", o + w - 1),
    };
    E { text, atomic: true, reads: e.reads, base: Some((id, o)), fix: e.fix, kind: PhantomData }
}

/// Zero extension or truncation from `n` to `m` bits.
pub(crate) fn resize<U, T>(e: E<T>, m: usize, n: usize) -> E<U> {
    match m {
        _ if m > n => op(format!("{{{}, {}}}", literal(m - n, "0"), e.text), true, e.reads, e.fix),
        _ if m < n => slice(e, n, 0, m),
        _ => e.retype(),
    }
}

/// `a >> by`, as an expression of `n` bits.
pub(crate) fn shifted<T>(e: &E<T>, by: &Idx) -> E<T> {
    op(format!("{} >> {}", e.p(), by.paren()), false, merged(&e.reads, &by.reads), e.fix && by.fix)
}

/// A hardware value used as an index (`x.index()`): arithmetic on it is exact, the width grows.
#[derive(Clone)]
pub struct Idx {
    pub(crate) text: String,
    pub(crate) atomic: bool,
    pub(crate) width: usize,
    pub(crate) reads: Vec<VarId>,
    pub(crate) fix: bool,
}

impl Idx {
    pub(crate) fn paren(&self) -> String {
        if self.atomic {
            self.text.clone()
        } else {
            format!("({})", self.text)
        }
    }
    fn wide(&self, w: usize) -> String {
        if w == self.width {
            self.paren()
        } else {
            format!("{{{}, {}}}", literal(w - self.width, "0"), self.text)
        }
    }
    fn of(v: usize) -> Idx {
        let width = (usize::BITS - v.leading_zeros()).max(1) as usize;
        Idx { text: literal(width, &format!("{v:x}")), atomic: true, width, reads: vec![], fix: true }
    }
    fn bin(&self, o: &str, b: &Idx, w: usize) -> Idx {
        Idx {
            text: format!("{} {o} {}", self.wide(w), b.wide(w)),
            atomic: false,
            width: w,
            reads: merged(&self.reads, &b.reads),
            fix: self.fix && b.fix,
        }
    }
}
impl Add for Idx {
    type Output = Idx;
    fn add(self, b: Idx) -> Idx {
        let w = self.width.max(b.width) + 1;
        self.bin("+", &b, w)
    }
}
impl Add<usize> for Idx {
    type Output = Idx;
    fn add(self, b: usize) -> Idx {
        self + Idx::of(b)
    }
}
impl Mul<usize> for Idx {
    type Output = Idx;
    fn mul(self, b: usize) -> Idx {
        let b = Idx::of(b);
        let widths = [self.width, b.width];
        self.bin("*", &b, widths.iter().sum())
    }
}

/// A bit position: a plain integer (checked while emitting), or an [`Idx`].
pub trait Offset {
    /// The integer, if it is one.
    fn fixed(&self) -> Option<usize>;
    /// As an index expression.
    fn idx(self) -> Idx;
}
impl Offset for usize {
    fn fixed(&self) -> Option<usize> {
        Some(*self)
    }
    fn idx(self) -> Idx {
        Idx::of(self)
    }
}
impl Offset for Idx {
    fn fixed(&self) -> Option<usize> {
        None
    }
    fn idx(self) -> Idx {
        self
    }
}

impl<const N: usize> E<Bits<N>> {
    fn reduce(self, o: &str) -> E<bool> {
        op(format!("{o}{}", self.p()), false, self.reads, self.fix)
    }
    /// At least one bit is set.
    pub fn any(self) -> E<bool> {
        self.reduce("|")
    }
    /// Every bit is set.
    pub fn all(self) -> E<bool> {
        self.reduce("&")
    }
    /// Odd number of set bits.
    pub fn xor(self) -> E<bool> {
        self.reduce("^")
    }
    /// The value as an index.
    pub fn index(self) -> Idx {
        Idx { text: self.text, atomic: self.atomic, width: N, reads: self.reads, fix: self.fix }
    }
    /// One bit.
    #[track_caller]
    pub fn get_bit(self, i: impl Offset) -> E<bool> {
        match i.fixed() {
            Some(i) if i >= N => {
                fail(format!("bit {i} of {N} bits"));
                konst(false)
            }
            Some(i) => slice(self, N, i, 1),
            None => slice(shifted(&self, &i.idx()), N, 0, 1),
        }
    }
    /// `M` bits from position `i`; bits above the value are zero.
    #[track_caller]
    pub fn get_bits<const M: usize>(self, i: impl Offset) -> E<Bits<M>> {
        match i.fixed() {
            Some(i) if i > N => {
                fail(format!("bits from {i} of {N} bits"));
                int(M, 0)
            }
            Some(i) if i == N => int(M, 0),
            Some(i) if i + M > N => resize(slice::<_, Bits<N>>(self, N, i, N - i), M, N - i),
            Some(i) => slice(self, N, i, M),
            None => resize(shifted(&self, &i.idx()), M, N),
        }
    }
    /// The value with one bit replaced.
    #[track_caller]
    pub fn replace_bit(self, i: impl Offset, v: impl super::lift::Hw<bool>) -> E<Bits<N>> {
        let v: E<Bits<1>> = v.hw().retype();
        super::stmt::with_bits(self, i, v)
    }
}
