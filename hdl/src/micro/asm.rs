//! Programs as Rust text.
//!
//! ```
//! use chimney_hdl::micro::asm::{Asm, Flag, Loc};
//! let (x, big) = (Loc::Register(0), Flag(1));
//! let mut p = Asm::default();
//! p.add(x, Loc::State(3), Loc::Input(7));
//! p.less(big, Loc::Constant(1000), x);
//! p.when(big).mov(x, Loc::Constant(1000));
//! p.mov(Loc::Both(3), x);
//! p.end();
//! assert_eq!(p.finish().code.len(), 5);
//! ```
//! Constants need no names: each value that is used has a register of its own, from the last one downwards. What a wrong program would
//! need (an input in the place of A, a register too many) panics here.

use super::isa::{by_join, to_space, Ins, Join, Op, Space, PC, REG};

/// Registers.
pub const REGISTERS: usize = 1 << REG;

/// A place of a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loc {
    /// A register.
    Register(u8),
    /// A word of the state.
    State(u8),
    /// An input.
    Input(u8),
    /// An output.
    Output(u8),
    /// A word of the state, and the output of the same number.
    Both(u8),
    /// A constant.
    Constant(u32),
}

/// One of the flags 1 to 7.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flag(pub u8);

/// A place in the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label(usize);

/// What is ready for the processor.
#[derive(Clone, Debug)]
pub struct Program {
    /// Instructions, from address 0 on.
    pub code: Vec<Ins>,
    /// What registers start with.
    pub registers: Vec<u32>,
}

/// A program that is being written.
#[derive(Clone, Debug, Default)]
pub struct Asm {
    code: Vec<Ins>,
    labels: Vec<Option<usize>>,
    /// Branches, and where they go.
    open: Vec<(usize, Label)>,
    constants: Vec<u32>,
    /// Registers in use.
    used: u8,
    when: (u8, bool),
}

/// A and B may change places.
fn is_symmetric(op: Op) -> bool {
    matches!(
        op,
        Op::Add | Op::AddLimited | Op::AddCarry | Op::Min | Op::Max | Op::And | Op::Or | Op::Equal | Op::Has
    )
}

fn fits_a(l: Loc) -> bool {
    matches!(l, Loc::Register(_) | Loc::State(_) | Loc::Constant(_))
}

fn fits_b(l: Loc) -> bool {
    matches!(l, Loc::Register(_) | Loc::Input(_) | Loc::Constant(_))
}

macro_rules! results {
    ($($(#[$doc:meta])* $name:ident: $op:ident;)*) => { $(
        $(#[$doc])*
        pub fn $name(&mut self, to: Loc, a: Loc, b: Loc) {
            self.put(Op::$op, to, a, b);
        }
    )* };
}

macro_rules! comparisons {
    ($($(#[$doc:meta])* $name:ident: $op:ident $join:ident;)*) => { $(
        $(#[$doc])*
        pub fn $name(&mut self, flag: Flag, a: Loc, b: Loc) {
            self.compare(Join::$join, Op::$op, flag, a, b);
        }
    )* };
}

impl Asm {
    results! {
        /// `a + b`.
        add: Add;
        /// `a + b`, at most all ones.
        add_limited: AddLimited;
        /// `a + b`, and the carry of the instruction before; branches leave that as it is.
        add_carry: AddCarry;
        /// `a - b`.
        sub: Sub;
        /// `a - b`, at least 0.
        sub_limited: SubLimited;
        /// `a - b` if it is not negative, which is the carry, else `a`.
        sub_fits: SubFits;
        /// `a - b` modulo 2^24.
        sub24: Sub24;
        /// The smaller amount.
        min: Min;
        /// The larger amount.
        max: Max;
        /// What comes first in sequence space.
        earlier: Earlier;
        /// What comes last.
        later: Later;
        /// `a & b`.
        and: And;
        /// `a | b`.
        or: Or;
        /// `a & !b`.
        and_not: AndNot;
    }
    comparisons! {
        /// `a < b`.
        less: Less Set;
        /// `a >= b`.
        not_less: Less SetNot;
        /// `a == b`.
        equal: Equal Set;
        /// `a != b`.
        not_equal: Equal SetNot;
        /// `a` is before `b` in sequence space.
        before: Before Set;
        /// `a` is at `b` or after it.
        not_before: Before SetNot;
        /// The same modulo 2^24.
        before24: Before24 Set;
        /// `a` and `b` have a bit in common.
        has: Has Set;
        /// They have none.
        has_not: Has SetNot;
    }

    /// The next instruction counts only if `flag` is set.
    pub fn when(&mut self, flag: Flag) -> &mut Asm {
        self.when = (flag.0, false);
        self
    }

    /// The next instruction counts only if `flag` is not set.
    pub fn unless(&mut self, flag: Flag) -> &mut Asm {
        self.when = (flag.0, true);
        self
    }

    /// The register of a constant.
    fn constant(&mut self, value: u32) -> u8 {
        let known = self.constants.iter().position(|c| *c == value);
        let at = known.unwrap_or_else(|| {
            self.constants.push(value);
            self.constants.len() - 1
        });
        u8::try_from(REGISTERS - 1 - at).expect("a register for each constant")
    }

    /// Which word, and whether it is a state word (A) or an input (B).
    fn source(&mut self, l: Loc) -> (bool, u8) {
        match l {
            Loc::Register(n) => {
                self.used = self.used.max(n + 1);
                (false, n)
            }
            Loc::Constant(value) => (false, self.constant(value)),
            Loc::State(n) | Loc::Input(n) => (true, n),
            Loc::Output(_) | Loc::Both(_) => panic!("{l:?} can only be written"),
        }
    }

    fn push(&mut self, i: Ins) {
        let (flag, unless) = std::mem::take(&mut self.when);
        self.code.push(Ins { when: u64::from(flag).into(), unless, ..i });
    }

    fn operands(&mut self, op: Op, a: Loc, b: Loc) -> Ins {
        let (a, b) = if fits_a(a) && fits_b(b) || !is_symmetric(op) { (a, b) } else { (b, a) };
        assert!(fits_a(a) && fits_b(b), "{op:?} {a:?} {b:?}: not in these places");
        let ((a_state, a), (b_input, b)) = (self.source(a), self.source(b));
        Ins { op, a_state, a: u64::from(a).into(), b_input, b: u64::from(b).into(), ..Ins::default() }
    }

    /// An instruction with a result.
    ///
    /// # Panics
    /// When an operand cannot be where it is.
    pub fn put(&mut self, op: Op, to: Loc, a: Loc, b: Loc) {
        let i = self.operands(op, a, b);
        let (space, to) = match to {
            Loc::Register(n) => {
                self.used = self.used.max(n + 1);
                (Space::Register, n)
            }
            Loc::State(n) => (Space::State, n),
            Loc::Output(n) => (Space::Output, n),
            Loc::Both(n) => (Space::Both, n),
            Loc::Input(_) | Loc::Constant(_) => panic!("{to:?} cannot be written"),
        };
        self.push(Ins { how: to_space(space), to: u64::from(to).into(), ..i });
    }

    /// A comparison.
    pub fn compare(&mut self, join: Join, op: Op, flag: Flag, a: Loc, b: Loc) {
        let i = self.operands(op, a, b);
        self.push(Ins { how: by_join(join), to: u64::from(flag.0).into(), ..i });
    }

    /// A copy.
    pub fn mov(&mut self, to: Loc, from: Loc) {
        self.put(Op::Or, to, from, Loc::Constant(0));
    }

    /// `from >> by`, one of 1, 2, 16 and 24.
    ///
    /// # Panics
    /// When it is another number.
    pub fn right(&mut self, to: Loc, from: Loc, by: u8) {
        let op = match by {
            1 => Op::Right1,
            2 => Op::Right2,
            16 => Op::Right16,
            24 => Op::Right24,
            _ => panic!("no shift by {by}"),
        };
        self.put(op, to, from, Loc::Constant(0));
    }

    /// The product of bits 15:0 of `a` and 16:0 of `b`, its lower 32 bits. Two clocks.
    pub fn mul(&mut self, to: Loc, a: Loc, b: Loc) {
        let when = self.when;
        let i = self.operands(Op::Has, a, b);
        // It sets no flag: that of number 0 is 1.
        self.push(i);
        self.when = when;
        self.put(Op::Product, to, Loc::Constant(0), Loc::Constant(0));
    }

    /// A flag that is clear.
    pub fn clear(&mut self, flag: Flag) {
        self.has(flag, Loc::Constant(0), Loc::Constant(0));
    }

    /// A place to go to, not yet known.
    pub fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    /// The next instruction is at this address: another program begins there.
    ///
    /// # Panics
    /// When the address is in use.
    pub fn begin_at(&mut self, address: usize) {
        assert!(self.code.len() <= address, "{} instructions before address {address}", self.code.len());
        self.code.resize(address, Ins { op: Op::End, ..Ins::default() });
    }

    /// It is here.
    ///
    /// # Panics
    /// When it is somewhere already.
    pub fn here(&mut self, label: Label) {
        let old = self.labels[label.0].replace(self.code.len());
        assert!(old.is_none(), "a label is in one place");
    }

    /// The flag that the next instruction depends on was set by the one before: too late for a branch.
    fn settle(&mut self) {
        let (flag, unless) = self.when;
        let is_late = self.code.last().is_some_and(|i| {
            matches!(i.op, Op::Less | Op::Equal | Op::Before | Op::Before24 | Op::Has)
                && flag != 0
                && i.to.index() == usize::from(flag)
        });
        if is_late {
            self.when = (0, true);
            self.mov(Loc::Register(0), Loc::Constant(0));
            self.when = (flag, unless);
        }
    }

    fn branch(&mut self, op: Op, to: Label) {
        self.settle();
        self.open.push((self.code.len(), to));
        self.push(Ins { op, ..Ins::default() });
    }

    /// Goes on there.
    pub fn jump(&mut self, to: Label) {
        self.branch(Op::Branch, to);
    }

    /// Goes there, and comes back with [`Asm::back`]. There is one place to come back to.
    pub fn call(&mut self, to: Label) {
        self.branch(Op::Call, to);
    }

    /// Goes back behind the last call.
    pub fn back(&mut self) {
        self.settle();
        self.push(Ins { op: Op::Return, ..Ins::default() });
    }

    /// The program is over.
    pub fn end(&mut self) {
        self.settle();
        self.push(Ins { op: Op::End, ..Ins::default() });
    }

    /// What happens only if `flag` is set.
    pub fn if_(&mut self, flag: Flag, body: impl FnOnce(&mut Asm)) {
        let end = self.label();
        self.unless(flag).jump(end);
        body(self);
        self.here(end);
    }

    /// What happens only if `flag` is not set.
    pub fn if_not(&mut self, flag: Flag, body: impl FnOnce(&mut Asm)) {
        let end = self.label();
        self.when(flag).jump(end);
        body(self);
        self.here(end);
    }

    /// The program, with its branches and constants.
    ///
    /// # Panics
    /// When it is too long, a label is nowhere, or registers do not suffice.
    #[must_use]
    pub fn finish(mut self) -> Program {
        assert!(self.code.len() <= 1 << PC, "{} instructions", self.code.len());
        for (at, label) in std::mem::take(&mut self.open) {
            let to = self.labels[label.0].expect("every label is somewhere");
            (self.code[at].a, self.code[at].b) = ((to as u64 >> REG).into(), (to as u64 & 127).into());
        }
        let first = REGISTERS - self.constants.len();
        assert!(usize::from(self.used) <= first, "{} registers, constants from {first} on", self.used);
        let mut registers = vec![0; REGISTERS];
        registers[first..].iter_mut().rev().zip(&self.constants).for_each(|(r, c)| *r = *c);
        Program { code: self.code, registers }
    }

    /// Instructions so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.code.len()
    }

    /// There are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.code.is_empty()
    }
}
