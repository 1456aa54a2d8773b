//! The processor: random programs, native against Verilated, and against what they do in plain Rust.

use chimney_hdl::micro::asm::{Asm, Flag, Loc, Program};
use chimney_hdl::micro::cpu::Cpu;
use chimney_hdl::micro::isa::{Join, Op, WORD};
use chimney_hdl::micro::machine::Machine;
use chimney_hdl::prelude::Bits;
use chimney_hdl_kernel::diff::{long, Diff, Rnd};
use std::cell::RefCell;

/// Registers that programs use; few, so that results are used at once.
const REGISTERS: u64 = 6;
/// Words of the state.
const WORDS: usize = 1 << WORD;
/// Inputs.
const INPUTS: usize = 64;

fn n<const N: usize>(x: Bits<N>) -> u32 {
    u32::try_from(x.to_u64()).expect("at most 32 bits")
}

/// A value that likes the edges.
fn value(r: &mut Rnd) -> u32 {
    n(r.any::<Bits<32>>())
}

fn register(r: &mut Rnd) -> Loc {
    // `as`: small.
    Loc::Register(r.below(REGISTERS) as u8)
}

fn a(r: &mut Rnd) -> Loc {
    match r.below(4) {
        0 => Loc::State(r.below(4) as u8),
        1 => Loc::Constant([0, 1, 0xff_ffff, 1 << 31, u32::MAX, 12_345][r.below(6) as usize]),
        _ => register(r),
    }
}

fn b(r: &mut Rnd) -> Loc {
    match r.below(4) {
        0 => Loc::Input(r.below(INPUTS as u64) as u8),
        1 => Loc::Constant([0, 1, 0xff_ffff, 1 << 31, u32::MAX, 12_345][r.below(6) as usize]),
        _ => register(r),
    }
}

fn flag(r: &mut Rnd) -> Flag {
    Flag(1 + r.below(7) as u8)
}

/// An instruction that is no branch.
fn step(p: &mut Asm, r: &mut Rnd) {
    const RESULTS: [Op; 18] = [
        Op::Add,
        Op::AddLimited,
        Op::AddCarry,
        Op::Sub,
        Op::SubLimited,
        Op::SubFits,
        Op::Sub24,
        Op::Min,
        Op::Max,
        Op::Earlier,
        Op::Later,
        Op::And,
        Op::Or,
        Op::AndNot,
        Op::Right1,
        Op::Right2,
        Op::Right16,
        Op::Right24,
    ];
    const COMPARISONS: [Op; 5] = [Op::Less, Op::Equal, Op::Before, Op::Before24, Op::Has];
    const JOINS: [Join; 6] = [Join::Set, Join::And, Join::Or, Join::SetNot, Join::AndNot, Join::OrNot];
    let to = match r.below(8) {
        0 => Loc::State(r.below(4) as u8),
        1 => Loc::Output(r.below(WORDS as u64) as u8),
        2 => Loc::Both(r.below(4) as u8),
        _ => register(r),
    };
    let (a, b) = (a(r), b(r));
    match r.below(4) {
        0 => {
            p.when(flag(r));
        }
        1 => {
            p.unless(flag(r));
        }
        _ => {}
    }
    match r.below(10) {
        0 => p.mul(to, a, b),
        1..=3 => p.compare(JOINS[r.below(6) as usize], COMPARISONS[r.below(5) as usize], flag(r), a, b),
        _ => p.put(RESULTS[r.below(18) as usize], to, a, b),
    }
}

/// A program that ends: it goes forward only, and calls two routines.
fn program(r: &mut Rnd) -> Program {
    let mut p = Asm::default();
    let routines = [p.label(), p.label()];
    for _ in 0..r.below(30) {
        for _ in 0..r.below(12) {
            step(&mut p, r);
        }
        match r.below(4) {
            0 => {
                let over = p.label();
                match r.below(3) {
                    0 => p.when(flag(r)),
                    1 => p.unless(flag(r)),
                    _ => &mut p,
                }
                .jump(over);
                for _ in 0..r.below(4) {
                    step(&mut p, r);
                }
                p.here(over);
            }
            1 => p.when(flag(r)).call(routines[r.below(2) as usize]),
            2 => p.if_(flag(r), |p| step(p, r)),
            _ => {}
        }
    }
    p.end();
    for routine in routines {
        p.here(routine);
        for _ in 0..1 + r.below(4) {
            step(&mut p, r);
        }
        p.when(flag(r)).back();
        step(&mut p, r);
        p.back();
    }
    p.finish()
}

/// The block's surroundings, and the same in plain Rust.
struct Bench {
    machine: Machine,
    inputs: [u32; INPUTS],
    state: [u32; WORDS],
    outputs: [u32; WORDS],
    read: u32,
    clocks: u64,
    expected: Option<u64>,
    runs: u32,
}

impl Bench {
    /// What the block did in the last clock counts; inputs of this one.
    fn poke(&mut self, u: &mut Cpu, r: &mut Rnd) {
        u.start.next = self.expected.is_none() && r.chance(1, 2);
        u.input_word.next = u64::from(self.inputs[u.asked.val().index()]).into();
        u.state_word.next = u64::from(self.read).into();
        if u.start.next {
            self.inputs = std::array::from_fn(|_| value(r));
            self.machine.state = self.state;
            self.machine.outputs = self.outputs;
            self.expected = Some(self.machine.run(&self.inputs));
            self.clocks = 0;
        }
    }

    /// What it does in this one.
    fn see(&mut self, u: &Cpu) {
        self.clocks += 1;
        self.read = self.state[u.state.val().index()];
        let (to, word) = (u.to.val().index(), n(u.word.val()));
        if u.state_we.val() {
            self.state[to] = word;
        }
        if u.output_we.val() {
            self.outputs[to] = word;
        }
        if u.ends.val() {
            let clocks = self.expected.take().expect("it ends once for each start");
            assert_eq!((self.state, self.outputs), (self.machine.state, self.machine.outputs));
            assert_eq!(self.clocks, clocks, "clocks");
            self.runs += 1;
        }
    }
}

#[test]
fn random_programs_do_what_they_do_in_plain_rust() {
    for round in 0..if long() { 20 } else { 3 } {
        let name = format!("micro_cpu_{round}");
        let mut r = Rnd::new(Rnd::seed_for(&name));
        let program = program(&mut r);
        let bench = RefCell::new(Bench {
            machine: Machine::new(&program),
            inputs: [0; INPUTS],
            state: [0; WORDS],
            outputs: [0; WORDS],
            read: 0,
            clocks: 0,
            expected: None,
            runs: 0,
        });
        Diff::new(&name, 6000).quick().run_seen(
            Cpu::new(&program.code, &program.registers),
            |u, r| bench.borrow_mut().poke(u, r),
            |u| bench.borrow_mut().see(u),
            |u, clk| u.clock.next = clk.into(),
        );
        let runs = bench.into_inner().runs;
        assert!(runs > 10, "{runs} runs of {} instructions", program.code.len());
    }
}

#[test]
fn a_flag_that_was_just_set_waits_for_its_branch() {
    let mut p = Asm::default();
    let over = p.label();
    p.less(Flag(1), Loc::Constant(1), Loc::Constant(2));
    p.when(Flag(1)).jump(over);
    p.mov(Loc::Output(0), Loc::Constant(1));
    p.here(over);
    p.end();
    assert_eq!(p.len(), 5, "one instruction more");
    let mut machine = Machine::new(&p.finish());
    machine.run(&[]);
    assert_eq!(machine.outputs[0], 0);
}
