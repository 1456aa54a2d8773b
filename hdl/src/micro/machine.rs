//! What a program does, in plain Rust: for tests, which run a hundred thousand jobs in the time that the block needs for one hundred.

use super::asm::{Program, REGISTERS};
use super::isa::{join, space, Ins, Join, Op, Space, PC, WORD};

/// An instruction, in numbers.
#[derive(Clone, Copy, Debug)]
struct Step {
    op: Op,
    when: usize,
    unless: bool,
    space: Space,
    join: Join,
    to: usize,
    a_state: bool,
    a: usize,
    b_input: bool,
    b: usize,
}

impl Step {
    fn new(i: &Ins) -> Step {
        Step {
            op: i.op,
            when: i.when.index(),
            unless: i.unless,
            space: space(i.how),
            join: join(i.how),
            to: i.to.index(),
            a_state: i.a_state,
            a: i.a.index(),
            b_input: i.b_input,
            b: i.b.index(),
        }
    }
}

/// The processor with its program.
#[derive(Clone, Debug)]
pub struct Machine {
    code: Vec<Step>,
    /// Registers.
    pub registers: [u32; REGISTERS],
    /// State words of whom the job is about.
    pub state: [u32; 1 << WORD],
    /// Outputs.
    pub outputs: [u32; 1 << WORD],
    flags: [bool; 8],
    product: u32,
    carry: bool,
    link: usize,
}

/// A result.
fn result(op: Op, a: u32, b: u32, product: u32, carry: bool) -> u32 {
    let is_before = a.wrapping_sub(b) >> 31 == 1;
    match op {
        Op::Add => a.wrapping_add(b),
        Op::AddLimited => a.saturating_add(b),
        Op::AddCarry => a.wrapping_add(b).wrapping_add(carry.into()),
        Op::Sub => a.wrapping_sub(b),
        Op::SubLimited => a.saturating_sub(b),
        Op::SubFits => a.checked_sub(b).unwrap_or(a),
        Op::Sub24 => a.wrapping_sub(b) & 0xff_ffff,
        Op::Min => a.min(b),
        Op::Max => a.max(b),
        Op::Earlier => [b, a][usize::from(is_before)],
        Op::Later => [a, b][usize::from(is_before)],
        Op::And => a & b,
        Op::Or => a | b,
        Op::AndNot => a & !b,
        Op::Right1 => a >> 1,
        Op::Right2 => a >> 2,
        Op::Right16 => a >> 16,
        Op::Right24 => a >> 24,
        Op::Product => product,
        _ => unreachable!("{op:?} has no result"),
    }
}

/// The adder's carry.
fn carried(op: Op, a: u32, b: u32, carry: bool) -> bool {
    match op {
        Op::Add | Op::AddLimited => a.checked_add(b).is_none(),
        Op::AddCarry => u64::from(a) + u64::from(b) + u64::from(carry) > u64::from(u32::MAX),
        _ => a >= b,
    }
}

/// What a comparison finds; `None`: it is none.
fn found(op: Op, a: u32, b: u32) -> Option<bool> {
    let d = a.wrapping_sub(b);
    match op {
        Op::Less => Some(a < b),
        Op::Equal => Some(a == b),
        Op::Before => Some(d >> 31 == 1),
        Op::Before24 => Some(d >> 23 & 1 == 1),
        Op::Has => Some(a & b != 0),
        _ => None,
    }
}

impl Machine {
    /// Before its first job.
    #[must_use]
    pub fn new(program: &Program) -> Machine {
        let registers = program.registers.as_slice().try_into().expect("as many as there are");
        Machine {
            code: program.code.iter().map(Step::new).collect(),
            registers,
            state: [0; 1 << WORD],
            outputs: [0; 1 << WORD],
            flags: [true, false, false, false, false, false, false, false],
            product: 0,
            carry: false,
            link: 0,
        }
    }

    /// Runs the program that begins at address 0: see [`Machine::run_from`].
    pub fn run(&mut self, inputs: &[u32]) -> u64 {
        self.run_from(0, inputs)
    }

    /// Runs the program that begins at `entry`, and says how many clocks the block takes from `start` to `ends`.
    ///
    /// # Panics
    /// When it does not end.
    pub fn run_from(&mut self, entry: usize, inputs: &[u32]) -> u64 {
        let (mut pc, mut clocks) = (entry, 2);
        loop {
            let i = self.code[pc];
            assert!(clocks < 4 << PC, "the program does not end");
            let goes = self.flags[i.when] != i.unless;
            let to = i.a << 7 | i.b;
            pc += 1;
            clocks += 1;
            match i.op {
                Op::End if goes => return clocks,
                Op::Return if goes => (pc, clocks) = (self.link, clocks + 1),
                Op::Branch if goes => (pc, clocks) = (to, clocks + 1),
                Op::Call if goes => (self.link, pc, clocks) = (pc, to, clocks + 1),
                Op::End | Op::Return | Op::Branch | Op::Call => {}
                _ => self.take(i, goes, inputs),
            }
        }
    }

    fn take(&mut self, i: Step, goes: bool, inputs: &[u32]) {
        let a = if i.a_state { self.state[i.a] } else { self.registers[i.a] };
        let b = if i.b_input { inputs[i.b] } else { self.registers[i.b] };
        if let Some(found) = found(i.op, a, b) {
            let flag = &mut self.flags[i.to & 7];
            let joined = match i.join {
                Join::Set => found,
                Join::And => *flag && found,
                Join::Or => *flag || found,
                Join::SetNot => !found,
                Join::AndNot => *flag && !found,
                Join::OrNot => *flag || !found,
            };
            if goes && i.to & 7 != 0 {
                *flag = joined;
            }
        } else if goes {
            let word = result(i.op, a, b, self.product, self.carry);
            match i.space {
                Space::Register => self.registers[i.to] = word,
                Space::State => self.state[i.to] = word,
                Space::Output => self.outputs[i.to] = word,
                Space::Both => (self.state[i.to], self.outputs[i.to]) = (word, word),
            }
        }
        self.carry = carried(i.op, a, b, self.carry);
        // `as`: the lower half of 33 bits.
        self.product = ((u64::from(a & 0xffff) * u64::from(b & 0x1_ffff)) & 0xffff_ffff) as u32;
    }
}
