//! Functions that kernels may call, as ordinary Rust. Their symbolic twins are in `krt/func.rs`.

use crate::dff::Dff;
use rust_hdl_core::prelude::{Bits, Constant, In, Local, Out, Signal, Synth};

/// The literal `v` as `N` bits.
///
/// # Panics
/// When `v` does not fit.
pub fn bits<const N: usize>(v: u64) -> Bits<N> {
    assert!(N >= 64 || v >> N == 0, "{v} does not fit into {N} bits");
    rust_hdl_core::prelude::bits(v)
}

/// A value that nobody looks at: zero in simulation, whatever costs least in synthesis.
///
/// For what goes along with a `valid` that is low. In simulation a branch that ends here works nothing out; in synthesis it is no
/// branch, so that not every bit needs a gate.
pub fn unread<T: Synth>() -> T {
    T::default()
}

/// Zero extension or truncation to `M` bits.
pub fn bit_cast<const M: usize, const N: usize>(x: Bits<N>) -> Bits<M> {
    rust_hdl_core::prelude::bit_cast(x)
}

/// Full product of `a` and `b`; `P` must be `N + M`.
pub fn mul<const P: usize, const N: usize, const M: usize>(a: Bits<N>, b: Bits<M>) -> Bits<P> {
    const { assert!(P == N + M, "the product has as many bits as both factors together") };
    let mut sum = Bits::<P>::default();
    let a: Bits<P> = bit_cast(a);
    for i in 0..M {
        if b.get_bit(i) {
            sum = sum + (a << i as u64);
        }
    }
    sum
}

/// A hardware type that can be taken apart into bits and put together again.
pub trait Packed: Synth {
    /// Every bit pattern is a legal value.
    const TOTAL: bool;
    /// Appends the bits, least significant first.
    fn put(&self, out: &mut Vec<bool>);
    /// Takes the bits from the front.
    fn take(bits: &mut impl Iterator<Item = bool>) -> Self;
}
impl<const N: usize> Packed for Bits<N> {
    const TOTAL: bool = true;
    fn put(&self, out: &mut Vec<bool>) {
        out.extend((0..N).map(|i| self.get_bit(i)));
    }
    fn take(bits: &mut impl Iterator<Item = bool>) -> Self {
        let mut words = [false; N];
        words.iter_mut().for_each(|w| *w = bits.next().unwrap_or(false));
        from_bools(&words)
    }
}
impl Packed for bool {
    const TOTAL: bool = true;
    fn put(&self, out: &mut Vec<bool>) {
        out.push(*self);
    }
    fn take(bits: &mut impl Iterator<Item = bool>) -> Self {
        bits.next().unwrap_or(false)
    }
}

/// Up to this width rust-hdl keeps a number, above it an array of bits.
const SHORT: usize = 32;

/// `N` bits from a list, least significant first; missing ones are zero.
pub fn from_bools<const N: usize>(b: &[bool]) -> Bits<N> {
    if N > SHORT {
        let mut all = [false; N];
        all.iter_mut().zip(b).for_each(|(to, from)| *to = *from);
        return Bits::Long(all.into());
    }
    b.iter().take(N).enumerate().fold(0u64, |v, (i, b)| v | (u64::from(*b) << i)).into()
}

/// The bits of a record or code. `N` must be `T::BITS`.
pub fn pack<const N: usize, T: Packed>(x: T) -> Bits<N> {
    const { assert!(N == T::BITS, "`pack` keeps the number of bits") };
    let mut b = Vec::with_capacity(N);
    x.put(&mut b);
    from_bools(&b)
}

/// A record from its bits. Every bit pattern must be legal (an enum needs a power of two of variants).
pub fn unpack<T: Packed, const N: usize>(x: Bits<N>) -> T {
    const { assert!(N == T::BITS, "`unpack` keeps the number of bits") };
    const { assert!(T::TOTAL, "not every bit pattern is a value of this type: use `match`") };
    T::take(&mut (0..N).map(|i| x.get_bit(i)))
}

/// An element of [`cat`].
pub trait Part {
    /// Its width.
    const W: usize;
    /// Appends the bits, least significant first.
    fn append(self, out: &mut Vec<bool>);
}
impl<T: Packed> Part for T {
    const W: usize = T::BITS;
    fn append(self, out: &mut Vec<bool>) {
        self.put(out);
    }
}

/// A list of parts for [`cat`]: a tuple, or an array.
pub trait Parts {
    /// Sum of the widths.
    const W: usize;
    /// Appends the bits, least significant first: the last part comes first.
    fn append(self, out: &mut Vec<bool>);
}
impl<P: Part, const N: usize> Parts for [P; N] {
    const W: usize = P::W * N;
    fn append(self, out: &mut Vec<bool>) {
        self.into_iter().rev().for_each(|p| p.append(out));
    }
}
macro_rules! parts {
    ($(($($t:ident $n:tt),+) ($($r:tt)+))*) => { $(
        impl<$($t: Part),+> Parts for ($($t,)+) {
            const W: usize = 0 $(+ $t::W)+;
            fn append(self, out: &mut Vec<bool>) {
                $(self.$r.append(out);)+
            }
        }
    )* };
}
parts!((A 0)(0) (A 0, B 1)(1 0) (A 0, B 1, C 2)(2 1 0) (A 0, B 1, C 2, D 3)(3 2 1 0)
    (A 0, B 1, C 2, D 3, E 4)(4 3 2 1 0) (A 0, B 1, C 2, D 3, E 4, F 5)(5 4 3 2 1 0)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6)(6 5 4 3 2 1 0) (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7)(7 6 5 4 3 2 1 0)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8)(8 7 6 5 4 3 2 1 0)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9)(9 8 7 6 5 4 3 2 1 0)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10)(10 9 8 7 6 5 4 3 2 1 0)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10, L 11)(11 10 9 8 7 6 5 4 3 2 1 0));

/// Concatenation, most significant part first. `N` must be the sum of the widths.
pub fn cat<const N: usize, P: Parts>(parts: P) -> Bits<N> {
    const { assert!(N == P::W, "the parts of `cat` must add up to its width") };
    let mut b = Vec::with_capacity(N);
    parts.append(&mut b);
    from_bools(&b)
}

/// Element `i` of a list of values; an index beyond the end takes the last one.
pub fn select<T: Copy, const N: usize, const W: usize>(list: [T; N], i: Bits<W>) -> T {
    // A set bit far up stays a huge index: `usize::MAX | x` is itself.
    let at = |b: usize| if b < 32 { 1 << b } else { usize::MAX };
    let i = (0..W).filter(|b| i.get_bit(*b)).fold(0usize, |v, b| v | at(b));
    list[i.min(N - 1)]
}

/// Something with a value that `mux` can choose.
pub trait Source {
    /// Type of the value.
    type T: Synth;
    /// The value.
    fn source(&self) -> Self::T;
}
macro_rules! sources {
    ($($d:ty),*) => { $(
        impl<T: Synth> Source for Signal<$d, T> {
            type T = T;
            fn source(&self) -> T {
                self.val()
            }
        }
    )* };
}
sources!(In, Out, Local);
impl<T: Synth> Source for Constant<T> {
    type T = T;
    fn source(&self) -> T {
        self.val()
    }
}
impl<T: Synth> Source for Dff<T> {
    type T = T;
    fn source(&self) -> T {
        self.q.val()
    }
}

/// The value of element `i` of an array of signals or registers; an index beyond the end takes the last one.
pub fn mux<S: Source, const N: usize, const W: usize>(list: &[S; N], i: Bits<W>) -> S::T {
    select(std::array::from_fn::<_, N, _>(|k| list[k].source()), i)
}

/// An array made by a function of the index.
pub fn array<const N: usize, X>(f: impl FnMut(usize) -> X) -> [X; N] {
    std::array::from_fn(f)
}
