//! Blocks that use every construct of the dialect.
#![allow(missing_docs)]

use chimney_hdl_kernel::core::prelude::{Bits, Clock, In, Logic, Out, Signal, Verilog};
use chimney_hdl_kernel::diff::{diff, Diff, Rnd};
use chimney_hdl_kernel::{kernel, synthesis, verilog, Dff, LogicBlock, LogicState, LogicStruct};

#[derive(LogicState, Copy, Clone, PartialEq, Debug)]
pub enum St {
    Idle,
    Run,
    Wait,
}

#[derive(LogicStruct, Default, Copy, Clone, PartialEq, Debug)]
pub struct Inner {
    f: bool,
    x: Bits<8>,
}

#[derive(LogicStruct, Default, Copy, Clone, PartialEq, Debug)]
pub struct Rec {
    seq: Bits<16>,
    i: Inner,
    n: Bits<5>,
}

/// Ones-complement addition.
#[kernel]
pub fn oc_add(a: Bits<16>, b: Bits<16>) -> Bits<16> {
    let s = bit_cast::<17, 16>(a) + bit_cast::<17, 16>(b);
    s.get_bits::<16>(0) + bit_cast::<16, 1>(s.get_bit(16).into())
}

#[derive(LogicBlock, Default)]
pub struct Fsm {
    pub clock: Signal<In, Clock>,
    pub reset: Signal<In, bool>,
    pub go: Signal<In, bool>,
    pub d: Signal<In, Bits<16>>,
    pub sum: Signal<Out, Bits<16>>,
    pub busy: Signal<Out, bool>,
    pub rec: Signal<Out, Rec>,
    pub word: Signal<Out, Bits<24>>,
    pub pick: Signal<Out, Bits<4>>,
    st: Dff<St>,
    r: Dff<Rec>,
    cnt: Dff<Bits<4>>,
    hist: [Dff<Bits<4>>; 3],
}

const LAST: u64 = 9;

#[kernel]
impl Logic for Fsm {
    fn update(&mut self) {
        dff_setup!(self, clock, st, r, cnt, hist);
        let r = self.r.q.val();
        let mut nx = r;
        self.busy.next = true;
        match self.st.q.val() {
            St::Idle => {
                self.busy.next = false;
                if self.go.val() {
                    self.st.d.next = St::Run;
                    nx = Rec { seq: self.d.val(), n: bits::<5>(0), i: Inner { f: !r.i.f, x: r.i.x + 1 } };
                }
            }
            St::Run | St::Wait => {
                let last = self.cnt.q.val() == LAST;
                self.cnt.d.next = if last { bits::<4>(0) } else { self.cnt.q.val() + 1 };
                nx.i.x = r.i.x ^ self.d.val().get_bits::<8>(4);
                if last {
                    self.st.d.next = St::Idle;
                } else {
                    self.st.d.next = St::Wait;
                }
            }
        }
        self.r.d.next = nx;
        self.hist[0].d.next = self.d.val().get_bits::<4>(0);
        for i in 1..3 {
            self.hist[i].d.next = self.hist[i - 1].q.val();
        }
        self.sum.next = oc_add(r.seq, self.d.val());
        self.rec.next = Rec { n: r.n + 3, ..r };
        self.word.next = bits::<24>(0);
        self.word.next.set_bits::<16>(4, self.d.val());
        let at = self.cnt.q.val().get_bits::<2>(0);
        self.pick.next = mux(&self.hist, at) + select([bits::<4>(1), bits::<4>(2)], at);
        dff_reset!(self, reset, st, r, cnt);
    }
}

fn poke(u: &mut Fsm, r: &mut Rnd) {
    u.reset.next = r.chance(1, 50);
    u.go.next = r.any();
    u.d.next = r.any();
}

#[test]
fn a_state_machine_agrees_with_its_verilog() {
    diff("fsm", Fsm::default(), 3000, poke, |u, c| u.clock.next = c.into());
}

#[test]
fn a_state_machine_agrees_with_its_nets() {
    let text = synthesis(&Fsm::default(), "fsm_nets").expect("it is hardware");
    assert!(!text.contains("if (") && text.contains("always @(*) case (st)"), "{text}");
    Diff::new("fsm_nets", 3000).nets().run(Fsm::default(), poke, |u, c| u.clock.next = c.into());
}

#[derive(LogicBlock, Default)]
struct Offer {
    offers: Signal<In, bool>,
    n: Signal<In, Bits<8>>,
    valid: Signal<Out, bool>,
    rec: Signal<Out, Rec>,
    twice: Signal<Out, Bits<8>>,
}

#[kernel]
impl Logic for Offer {
    fn update(&mut self) {
        let offers = self.offers.val();
        self.valid.next = offers;
        self.rec.next =
            if offers { Rec { n: self.n.val().get_bits::<5>(0), ..Rec::default() } } else { unread::<Rec>() };
        self.twice.next = if offers { self.n.val() << bits::<1>(1) } else { unread::<Bits<8>>() };
    }
}

#[test]
fn what_nobody_reads_is_zero_in_simulation_and_anything_in_synthesis() {
    diff("offer", Offer::default(), 200, |u, r| (u.offers.next, u.n.next) = (r.any(), r.any()), |_, _| {});
    assert!(!verilog(&Offer::default(), "offer").expect("it is hardware").contains("'hx"));
    let nets = synthesis(&Offer::default(), "offer").expect("it is hardware");
    assert!(nets.contains(": 8'hx;"), "{nets}");
}

/// A block with records at its ports.
#[derive(LogicBlock, Default)]
struct Stage {
    clock: Signal<In, Clock>,
    takes: Signal<In, bool>,
    step: Signal<In, Rec>,
    out: Signal<Out, Rec>,
    kept: Dff<Rec>,
}

#[kernel]
impl Logic for Stage {
    fn update(&mut self) {
        dff_setup!(self, clock, kept);
        let (step, kept) = (self.step.val(), self.kept.q.val());
        if self.takes.val() {
            self.kept.d.next = Rec { seq: step.seq + kept.seq, ..step };
            self.out.next = Rec { n: kept.n, ..step };
        } else {
            self.out.next = kept;
        }
    }
}

/// The same with Verilog by hand: its ports are vectors.
#[derive(LogicBlock, Default)]
struct ByHand {
    step: Signal<In, Rec>,
    out: Signal<Out, Rec>,
}

impl Logic for ByHand {
    fn update(&mut self) {
        self.out.next = self.step.val();
    }
    fn hdl(&self) -> Verilog {
        Verilog::Custom("always @(*) out = step;\n".into())
    }
}

#[derive(LogicBlock, Default)]
struct Chain {
    clock: Signal<In, Clock>,
    takes: Signal<In, Bits<2>>,
    step: Signal<In, Rec>,
    out: Signal<Out, Rec>,
    x: Signal<Out, Bits<8>>,
    first: Stage,
    by_hand: ByHand,
    second: Stage,
}

#[kernel]
impl Logic for Chain {
    fn update(&mut self) {
        clock!(self, clock, first, second);
        let takes = self.takes.val();
        self.first.takes.next = takes.get_bit(0);
        self.second.takes.next = takes.get_bit(1);
        self.first.step.next = self.step.val();
        self.by_hand.step.next = self.first.out.val();
        if takes.any() {
            self.second.step.next = self.by_hand.out.val();
        } else {
            self.second.step.next = self.step.val();
        }
        self.out.next = self.second.out.val();
        self.x.next = self.second.out.val().i.x;
    }
}

#[test]
fn a_record_between_blocks_is_a_port_for_each_field() {
    let poke = |u: &mut Chain, r: &mut Rnd| (u.takes.next, u.step.next) = (r.any(), unpack_rec(r.any()));
    diff("chain", Chain::default(), 500, poke, |u, c| u.clock.next = c.into());
    Diff::new("chain_nets", 500).nets().run(Chain::default(), poke, |u, c| u.clock.next = c.into());
    for text in [verilog(&Chain::default(), "chain"), synthesis(&Chain::default(), "chain")] {
        let text = text.expect("it is hardware");
        assert!(text.contains("input wire [29:0] step;"), "the top's ports are vectors\n{text}");
        assert!(text.contains("input wire [7:0] step$i$x;"), "those inside are not\n{text}");
        assert!(text.contains(".out$seq(first$out$seq)") && text.contains(".out(by_hand$out)"), "{text}");
    }
}

fn unpack_rec(all: Bits<30>) -> Rec {
    chimney_hdl_kernel::builtin::unpack::<Rec, 30>(all)
}
