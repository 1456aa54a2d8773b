//! The symbolic side of the built-in functions in `builtin.rs`.

use super::expr::{int, konst, merged, op, product, resize, slice, temp, E};
use super::lift::Hw;
use super::stmt::read;
use crate::builtin::Packed;
use crate::dff::Dff;
use rust_hdl_core::prelude::{Bits, Direction, Signal, Synth};

/// `bits::<N>(v)`.
#[track_caller]
pub fn bits<const N: usize>(v: u64) -> E<Bits<N>> {
    int(N, v)
}

/// `bit_cast::<M, N>(x)`.
pub fn bit_cast<const M: usize, const N: usize>(x: impl Hw<Bits<N>>) -> E<Bits<M>> {
    resize(x.hw(), M, N)
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
    fn bits(self) -> E<()>;
}
impl<T: Synth> Part for E<T> {
    const W: usize = T::BITS;
    fn bits(self) -> E<()> {
        self.retype()
    }
}
impl Part for bool {
    const W: usize = 1;
    fn bits(self) -> E<()> {
        konst(self).retype()
    }
}
impl<P: Part, const N: usize> Part for [P; N] {
    const W: usize = P::W * N;
    fn bits(self) -> E<()> {
        let all: Vec<_> = self.into_iter().map(Part::bits).collect();
        let reads = all.iter().fold(vec![], |r, e| merged(&r, &e.reads));
        let fix = all.iter().all(|e| e.fix);
        let text = all.into_iter().map(|e| e.text).collect::<Vec<_>>().join(", ");
        op(format!("{{{text}}}"), true, reads, fix)
    }
}
macro_rules! parts {
    ($(($($t:ident $n:tt),+))*) => { $(
        impl<$($t: Part),+> Part for ($($t,)+) {
            const W: usize = 0 $(+ $t::W)+;
            fn bits(self) -> E<()> {
                [$(self.$n.bits()),+].bits_of()
            }
        }
    )* };
}
trait BitsOf {
    fn bits_of(self) -> E<()>;
}
impl<const N: usize> BitsOf for [E<()>; N] {
    fn bits_of(self) -> E<()> {
        let reads = self.iter().fold(vec![], |r, e| merged(&r, &e.reads));
        let fix = self.iter().all(|e| e.fix);
        let text = self.into_iter().map(|e| e.text).collect::<Vec<_>>().join(", ");
        op(format!("{{{text}}}"), true, reads, fix)
    }
}
parts!((A 0)(A 0, B 1)(A 0, B 1, C 2)(A 0, B 1, C 2, D 3)(A 0, B 1, C 2, D 3, F 4)(A 0, B 1, C 2, D 3, F 4, G 5)
    (A 0, B 1, C 2, D 3, F 4, G 5, H 6)(A 0, B 1, C 2, D 3, F 4, G 5, H 6, I 7)
    (A 0, B 1, C 2, D 3, F 4, G 5, H 6, I 7, J 8)(A 0, B 1, C 2, D 3, F 4, G 5, H 6, I 7, J 8, K 9)
    (A 0, B 1, C 2, D 3, F 4, G 5, H 6, I 7, J 8, K 9, L 10)(A 0, B 1, C 2, D 3, F 4, G 5, H 6, I 7, J 8, K 9, L 10, M 11));

/// `cat::<N, _>((a, b, c))`, most significant first.
pub fn cat<const N: usize, P: Part>(p: P) -> E<Bits<N>> {
    const { assert!(N == P::W, "the parts of `cat` must add up to its width") };
    p.bits().retype()
}

/// `select([a, b, c], i)`.
pub fn select<T: Synth, X: Hw<T>, const N: usize, const W: usize>(list: [X; N], i: impl Hw<Bits<W>>) -> E<T> {
    let list = list.map(Hw::hw);
    let i: E<Bits<W>> = i.hw();
    let i = if i.base.is_some() { i } else { temp("sel_idx", W, &i) };
    let levels = if N <= 1 { 0 } else { (N - 1).ilog2() as usize + 1 };
    let mut tree = list.to_vec();
    let last = tree[N - 1].clone();
    for b in 0..levels.min(W) {
        let bit: E<bool> = slice(i.clone(), W, b, 1);
        let odd = |k: usize| tree.get(k).unwrap_or(&last).clone();
        tree = (0..tree.len().div_ceil(2)).map(|k| pick(&bit, odd(2 * k + 1), odd(2 * k))).collect();
    }
    match W > levels {
        true if N > 1 => {
            let high: E<Bits<W>> = slice(i, W, levels, W - levels);
            let over = op::<bool>(format!("|{}", high.p()), false, high.reads.clone(), high.fix);
            pick(&over, last, tree[0].clone())
        }
        _ => tree[0].clone(),
    }
}

fn pick<T>(c: &E<bool>, a: E<T>, b: E<T>) -> E<T> {
    if a.text == b.text {
        return a;
    }
    let reads = merged(&c.reads, &merged(&a.reads, &b.reads));
    op(format!("{} ? {} : {}", c.p(), a.p(), b.p()), false, reads, a.fix && b.fix && c.fix)
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
pub fn array<const N: usize, X: super::lift::Norm>(f: impl Fn(usize) -> X) -> [X::O; N] {
    std::array::from_fn(|i| f(i).norm())
}
