//! The symbolic side of the built-in functions in `builtin.rs`.

use super::ctx::is_for_synthesis;
use super::ex::{merged, Ex};
use super::expr::{product, E};
use super::lift::Hw;
use super::stmt::read;
use super::val::{shape, Leaf, Spot, Val};
use crate::builtin::Packed;
use crate::dff::Dff;
use rust_hdl_core::prelude::{Bits, Direction, Signal, Synth};

/// `bits::<N>(v)`.
#[track_caller]
pub fn bits<const N: usize>(v: u64) -> E<Bits<N>> {
    E::of(Ex::int(N, v))
}

/// `unread::<T>()`.
pub fn unread<T: Synth>() -> E<T> {
    let digits = if is_for_synthesis() { "x" } else { "0" };
    let shape = shape::<T>();
    match shape.as_slice() {
        [one] => E::of(Ex::lit(one.width, digits)),
        many => {
            let leaf = |s: &Spot| Leaf { at: s.clone(), x: Ex::lit(s.width, digits) };
            E::val(Val::Many(many.iter().map(leaf).collect()))
        }
    }
}

/// `bit_cast::<M, N>(x)`.
pub fn bit_cast<const M: usize, const N: usize>(x: impl Hw<Bits<N>>) -> E<Bits<M>> {
    E::of(x.hw().x().resize(M, N))
}

/// `mul::<N, M, P>(a, b)`.
#[track_caller]
pub fn mul<const P: usize, const N: usize, const M: usize>(
    a: impl Hw<Bits<N>>,
    b: impl Hw<Bits<M>>,
) -> E<Bits<P>> {
    const { assert!(P == N + M, "the product has as many bits as both factors together") };
    product(a.hw(), b.hw())
}

/// `pack::<N, T>(x)`.
pub fn pack<const N: usize, T: Packed>(x: impl Hw<T>) -> E<Bits<N>> {
    const { assert!(N == T::BITS, "`pack` keeps the number of bits") };
    x.hw().retype()
}

/// `unpack::<T, N>(x)`.
pub fn unpack<T: Packed, const N: usize>(x: impl Hw<Bits<N>>) -> E<T> {
    const { assert!(N == T::BITS, "`unpack` keeps the number of bits") };
    const { assert!(T::TOTAL, "not every bit pattern is a value of this type: use `match`") };
    x.hw().retype()
}

/// An element of `cat`.
pub trait Part {
    /// Its width.
    const W: usize;
    /// Its bits.
    fn part(self) -> Ex;
}
impl<T: Synth> Part for E<T> {
    const W: usize = T::BITS;
    fn part(self) -> Ex {
        self.x()
    }
}
impl Part for bool {
    const W: usize = 1;
    fn part(self) -> Ex {
        Ex::bool(self)
    }
}
impl<P: Part, const N: usize> Part for [P; N] {
    const W: usize = P::W * N;
    fn part(self) -> Ex {
        concat(self.into_iter().map(Part::part).collect())
    }
}
macro_rules! parts {
    ($(($($t:ident $n:tt),+))*) => { $(
        impl<$($t: Part),+> Part for ($($t,)+) {
            const W: usize = 0 $(+ $t::W)+;
            fn part(self) -> Ex {
                concat(vec![$(self.$n.part()),+])
            }
        }
    )* };
}
pub(crate) fn concat(all: Vec<Ex>) -> Ex {
    let reads = all.iter().fold(vec![], |r, e| merged(&r, &e.reads));
    let fix = all.iter().all(|e| e.fix);
    let text = all.into_iter().map(|e| e.text).collect::<Vec<_>>().join(", ");
    Ex::new(format!("{{{text}}}"), true, reads, fix)
}
parts!((A 0)(A 0, B 1)(A 0, B 1, C 2)(A 0, B 1, C 2, D 3)(A 0, B 1, C 2, D 3, F 4)(A 0, B 1, C 2, D 3, F 4, G 5)
    (A 0, B 1, C 2, D 3, F 4, G 5, H 6)(A 0, B 1, C 2, D 3, F 4, G 5, H 6, I 7)
    (A 0, B 1, C 2, D 3, F 4, G 5, H 6, I 7, J 8)(A 0, B 1, C 2, D 3, F 4, G 5, H 6, I 7, J 8, K 9)
    (A 0, B 1, C 2, D 3, F 4, G 5, H 6, I 7, J 8, K 9, L 10)(A 0, B 1, C 2, D 3, F 4, G 5, H 6, I 7, J 8, K 9, L 10, M 11));

/// `cat::<N, _>((a, b, c))`, most significant first.
pub fn cat<const N: usize, P: Part>(p: P) -> E<Bits<N>> {
    const { assert!(N == P::W, "the parts of `cat` must add up to its width") };
    E::of(p.part())
}

/// `select([a, b, c], i)`.
pub fn select<T: Synth, X: Hw<T>, const N: usize, const W: usize>(list: [X; N], i: impl Hw<Bits<W>>) -> E<T> {
    let list: Vec<Val> = list.into_iter().map(|x| x.hw().0).collect();
    let i = i.hw().x().named("at", W);
    if list.iter().all(|v| matches!(v, Val::One(_))) {
        return E::of(choose_one(list.iter().map(Val::flat).collect(), i, W));
    }
    let shape = shape::<T>();
    let list: Vec<_> = list.into_iter().map(|v| v.leaves(&shape)).collect();
    let leaf = |k: usize| choose_one(list.iter().map(|v| v[k].x.clone()).collect(), i.clone(), W);
    E::val(Val::Many(shape.iter().enumerate().map(|(k, s)| Leaf { at: s.clone(), x: leaf(k) }).collect()))
}

/// A tree of two-way choices, one level per index bit; an index of `w` bits beyond the end takes the last element.
fn choose_one(list: Vec<Ex>, i: Ex, w: usize) -> Ex {
    let n = list.len();
    let levels = if n <= 1 { 0 } else { (n - 1).ilog2() as usize + 1 };
    let last = list[n - 1].clone();
    let mut tree = list;
    for b in 0..levels.min(w) {
        let bit = i.clone().slice(w, b, 1);
        let at = |k: usize| tree.get(k).unwrap_or(&last).clone();
        tree = (0..tree.len().div_ceil(2)).map(|k| pick(&bit, at(2 * k + 1), at(2 * k))).collect();
    }
    if w > levels && n > 1 {
        let over = i.slice(w, levels, w - levels).unary("|");
        return pick(&over, last, tree[0].clone());
    }
    tree[0].clone()
}

fn pick(c: &Ex, a: Ex, b: Ex) -> Ex {
    if a.text == b.text {
        a
    } else {
        c.choose(&a, &b)
    }
}

/// An element of an array that `mux` can choose from.
pub trait Source {
    /// Type of its value.
    type T: Synth;
    /// Reads it.
    fn source(&self) -> E<Self::T>;
}
impl<D: Direction, T: Synth> Source for Signal<D, T> {
    type T = T;
    #[track_caller]
    fn source(&self) -> E<T> {
        read(self)
    }
}
impl<T: Synth> Source for Dff<T> {
    type T = T;
    #[track_caller]
    fn source(&self) -> E<T> {
        read(&self.q)
    }
}

/// `mux(&self.array, i)`.
pub fn mux<S: Source, const N: usize, const W: usize>(list: &[S; N], i: impl Hw<Bits<W>>) -> E<S::T> {
    select(std::array::from_fn::<_, N, _>(|k| list[k].source()), i)
}

/// `array::<N, _, _>(|i| ..)`.
pub fn array<const N: usize, X: super::value::Norm>(f: impl Fn(usize) -> X) -> [X::O; N] {
    std::array::from_fn(|i| f(i).norm())
}
