//! The processor. See [`super`].
//!
//! Four clocks for each instruction, one after the other: it is fetched, its operands are read, they are put together, its result goes where it
//! belongs. A result is forwarded to the next two instructions, whose operands were read too early. A branch is decided in the third
//! clock, when what was fetched behind it is one instruction: that one is dropped. The flag it looks at must be older than the instruction in
//! front of it ([`super::asm`] sees to that).
//!
//! Latency: from `start` to `ends` as many clocks as instructions, one for each branch taken, and two. Back-pressure: none; `start` and `entry` count only
//! while nothing runs. Reset: nothing runs; registers are not touched, constants among them.
use super::alu::{alu, joined, product};
use super::isa::{compares, join, jumps, space, target, Ins, Op, Space, FLAGS, INPUT, PC, REG, WORD};
use crate::mem::SdpRam;
use crate::prelude::*;

/// What was written in the clock before.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Written {
    /// A register was.
    pub register: Bit,
    /// A state word was.
    pub state: Bit,
    /// Which.
    pub to: Bits<REG>,
    /// The word.
    pub word: Bits<32>,
}

/// The block. See the module page.
#[derive(LogicBlock, Default)]
pub struct Cpu {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Reset.
    pub reset: Signal<In, Bit>,
    /// The program starts,
    pub start: Signal<In, Bit>,
    /// here.
    pub entry: Signal<In, Bits<PC>>,
    /// It is over; the last result is written in this clock.
    pub ends: Signal<Out, Bit>,
    /// Which input.
    pub asked: Signal<Out, Bits<INPUT>>,
    /// It, in the same clock.
    pub input_word: Signal<In, Bits<32>>,
    /// Which state word is read.
    pub state: Signal<Out, Bits<WORD>>,
    /// It, a clock later.
    pub state_word: Signal<In, Bits<32>>,
    /// A state word is written.
    pub state_we: Signal<Out, Bit>,
    /// An output is written.
    pub output_we: Signal<Out, Bit>,
    /// Which of either.
    pub to: Signal<Out, Bits<WORD>>,
    /// The word.
    pub word: Signal<Out, Bits<32>>,
    runs: Dff<Bit>,
    pc: Dff<Bits<PC>>,
    link: Dff<Bits<PC>>,
    fetched: Dff<Bit>,
    read: Dff<Bit>,
    ready: Dff<Bit>,
    second: Dff<Ins>,
    third: Dff<Ins>,
    a: Dff<Bits<32>>,
    b: Dff<Bits<32>>,
    product: Dff<Bits<32>>,
    carry: Dff<Bit>,
    flags: [Dff<Bit>; FLAGS],
    last: Dff<Written>,
    rom: SdpRam<Ins, PC>,
    left: SdpRam<Bits<32>, REG>,
    right: SdpRam<Bits<32>, REG>,
}

impl Cpu {
    /// With this program, and registers that start like this.
    #[must_use]
    pub fn new(program: &[Ins], registers: &[u32]) -> Cpu {
        let words: Vec<Bits<32>> = registers.iter().map(|w| u64::from(*w).into()).collect();
        Cpu {
            rom: SdpRam::holding(program),
            left: SdpRam::holding(&words),
            right: SdpRam::holding(&words),
            ..Cpu::default()
        }
    }
}

/// The flag an instruction depends on is as it wants it.
#[kernel]
fn counts(i: Ins, flags: Bits<8>) -> bool {
    flags.get_bit(i.when.index()) != i.unless
}

/// An operand: as it was read, or as it was written since.
#[kernel]
fn forwarded(read: Bits<32>, is_now: bool, now: Bits<32>, is_last: bool, last: Bits<32>) -> Bits<32> {
    if is_now {
        now
    } else if is_last {
        last
    } else {
        read
    }
}

/// This word, a state word or a register, was written.
#[kernel]
fn hits(w: Written, is_state: bool, at: Bits<REG>) -> bool {
    w.to == at && if is_state { w.state } else { w.register }
}

#[kernel]
impl Logic for Cpu {
    fn update(&mut self) {
        dff_setup!(self, clock, runs, pc, link, fetched, read, ready);
        dff_setup!(self, clock, second, third, a, b, product, carry, flags, last);
        clock!(self, clock, rom, left, right);
        let none = bits::<1>(0);
        let f = array::<FLAGS, _>(|i| self.flags[i].q.val());
        let flags = cat::<8, _>((f[6], f[5], f[4], f[3], f[2], f[1], f[0], !none.get_bit(0)));

        // The result.
        let (x, a, b) = (self.third.q.val(), self.a.q.val(), self.b.q.val());
        let goes = self.ready.q.val() && counts(x, flags);
        let outcome = alu(x.op, a, b, self.product.q.val(), self.carry.q.val());
        let writes = goes && !compares(x.op);
        let place = space(x.how);
        let now = Written {
            register: writes && place == Space::Register,
            state: writes && (place == Space::State || place == Space::Both),
            to: x.to,
            word: outcome.word,
        };
        self.product.d.next = product(a, b);
        if self.ready.q.val() {
            self.carry.d.next = outcome.carry;
        }
        self.last.d.next = now;
        for i in 0..FLAGS {
            if goes && compares(x.op) && x.to.get_bits::<3>(0) == (i as u64 + 1) {
                self.flags[i].d.next = joined(join(x.how), self.flags[i].q.val(), outcome.finds);
            }
        }
        self.left.we.next = now.register;
        self.left.waddr.next = x.to;
        self.left.wdata.next = now.word;
        self.right.we.next = now.register;
        self.right.waddr.next = x.to;
        self.right.wdata.next = now.word;
        self.state_we.next = now.state;
        self.output_we.next = writes && (place == Space::Output || place == Space::Both);
        self.to.next = bit_cast::<WORD, REG>(x.to);
        self.word.next = now.word;

        // The operands, and where it goes on.
        let (o, last) = (self.second.q.val(), self.last.q.val());
        self.asked.next = bit_cast::<INPUT, REG>(o.b);
        let left = if o.a_state { self.state_word.val() } else { self.left.rdata.val() };
        let right = if o.b_input { self.input_word.val() } else { self.right.rdata.val() };
        let (a_now, a_last) = (hits(now, o.a_state, o.a), hits(last, o.a_state, o.a));
        let b_now = !o.b_input && hits(now, false, o.b);
        let b_last = !o.b_input && hits(last, false, o.b);
        self.a.d.next = forwarded(left, a_now, now.word, a_last, last.word);
        self.b.d.next = forwarded(right, b_now, now.word, b_last, last.word);
        self.third.d.next = o;
        let jumps = self.read.q.val() && jumps(o.op) && counts(o, flags);
        let ends = jumps && o.op == Op::End;
        self.ready.d.next = self.read.q.val() && !super::isa::jumps(o.op);
        self.ends.next = ends;

        // What is fetched, and what was.
        let starts = self.start.val() && !self.runs.q.val();
        let to = if starts {
            self.entry.val()
        } else if jumps && o.op == Op::Return {
            self.link.q.val()
        } else if jumps {
            target(o)
        } else {
            self.pc.q.val()
        };
        if jumps && o.op == Op::Call {
            // Behind it one instruction was fetched already.
            self.link.d.next = self.pc.q.val() - 1;
        }
        self.pc.d.next = to + 1;
        self.runs.d.next = starts || self.runs.q.val() && !ends;
        self.fetched.d.next = starts || self.runs.q.val() && !ends;
        self.rom.re.next = true;
        self.rom.raddr.next = to;
        self.rom.we.next = false;
        self.rom.waddr.next = bits::<PC>(0);
        self.rom.wdata.next = Ins::default();
        let i = self.rom.rdata.val();
        self.read.d.next = self.fetched.q.val() && !jumps;
        self.second.d.next = i;
        self.left.re.next = true;
        self.left.raddr.next = i.a;
        self.right.re.next = true;
        self.right.raddr.next = i.b;
        self.state.next = bit_cast::<WORD, REG>(i.a);
        dff_reset!(self, reset, runs, fetched, read, ready);
    }
}
