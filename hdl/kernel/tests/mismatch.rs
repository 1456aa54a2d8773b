//! The four expressions that the stock translation of rust-hdl turns into Verilog with another meaning: here they agree,
//! alone and inside larger expressions.
#![allow(missing_docs)]

use chimney_hdl_kernel::core::prelude::{Bits, In, Logic, Out, Signal};
use chimney_hdl_kernel::diff::{diff, Bench, Rnd};
use chimney_hdl_kernel::{kernel, LogicBlock};

#[derive(LogicBlock, Default)]
pub struct Mismatch {
    pub a: Signal<In, Bits<8>>,
    pub b: Signal<In, Bits<8>>,
    pub s: Signal<In, bool>,
    pub carry: Signal<Out, Bits<16>>,
    pub notc: Signal<Out, Bits<8>>,
    pub prec: Signal<Out, bool>,
    pub lit: Signal<Out, bool>,
    pub deep: Signal<Out, Bits<16>>,
    pub diff: Signal<Out, Bits<16>>,
    pub shl: Signal<Out, Bits<16>>,
    pub cmp: Signal<Out, bool>,
}

#[kernel]
impl Logic for Mismatch {
    fn update(&mut self) {
        let (a, b, s) = (self.a.val(), self.b.val(), self.s.val());
        self.carry.next = bit_cast::<16, 8>(a + b);
        self.notc.next = bit_cast::<8, 1>((!s).into());
        self.prec.next = a & b == a;
        self.lit.next = (a - 1) == 255;
        self.deep.next = bit_cast::<16, 8>(a + b) + bit_cast::<16, 8>(!a) ^ bit_cast::<16, 1>((!s).into());
        self.diff.next = bit_cast::<16, 8>(a - b) - bit_cast::<16, 8>(b - a);
        self.shl.next = bit_cast::<16, 8>(a << 3) | bit_cast::<16, 8>((a + b) >> 1);
        self.cmp.next = a + b > b - 1 && !(a - b).any() || a << 1 == b;
    }
}

/// What Verilator 5.006 translates into `c` alone: see `chimney_hdl_kernel::verilator`.
#[derive(LogicBlock, Default)]
pub struct NeverOne {
    pub a: Signal<In, Bits<95>>,
    pub b: Signal<In, Bits<95>>,
    pub c: Signal<In, bool>,
    pub y: Signal<Out, bool>,
}

#[kernel]
impl Logic for NeverOne {
    fn update(&mut self) {
        let (a, b) = (self.a.val(), self.b.val());
        self.y.next = if a == b { (a & 1).all() } else { self.c.val() };
    }
}

#[test]
fn a_wide_comparison_that_chooses_nothing_agrees() {
    let poke = |u: &mut NeverOne, r: &mut Rnd| {
        u.a.next = r.any();
        u.b.next = if r.chance(1, 2) { u.a.next } else { r.any() };
        u.c.next = r.any();
    };
    diff("never_one", NeverOne::default(), 1000, poke, |_, _| {});
}

#[test]
fn the_four_mismatches_agree() {
    let poke = |u: &mut Mismatch, r: &mut Rnd| {
        u.a.next = r.any();
        u.b.next = if r.chance(1, 4) { u.a.next } else { r.any() };
        u.s.next = r.any();
    };
    diff("mismatch", Mismatch::default(), 20_000, poke, |_, _| {});
}

#[test]
fn the_four_mismatches_mean_what_rust_means() {
    let mut t = Bench::new(Mismatch::default(), |_, _| {});
    t.settle(|u| {
        u.a.next = 200.into();
        u.b.next = 100.into();
    });
    assert_eq!((t.u.carry.val().to_u64(), t.u.notc.val().to_u64()), (44, 1));
    t.settle(|u| {
        u.a.next = 0.into();
        u.b.next = 0.into();
    });
    assert!(t.u.prec.val() && t.u.lit.val());
}
