//! A small processor for decisions that are needed seldom, and its assembler.
//!
//! A block that takes a hundred clocks for what another does in ten is a tenth as large: all its sums go through one adder, and what it
//! has to remember lies in memories. It does one job at a time: a program from a ROM, from its first instruction to `end`; which of several
//! there, says who starts it. It has no interrupts, no loads and no stores: what it works on are operands.
//!
//! ```text
//!            fetch          read                  operands             result
//!   pc --> [ program ] --> [ registers  ] --a--> forwarding --A--> adder, logic, choice --> registers, state, output
//!                          [ state      ] --'        |                    |
//!             inputs ------------------------b-------'--B-->              '--> flags --> `when`, branches
//! ```
//!
//! | operand | A | B | result | what |
//! |---|---|---|---|---|
//! | register | x | x | x | 128 words; the upper ones hold the programs' constants |
//! | state | x | | x | 32 words of whom the job is about, in a memory of whoever uses the processor |
//! | input | | x | | 64 words that do not change while the program runs |
//! | output | | | x | words that whoever uses it keeps; an output with the number of a state word may be written together with it |
//!
//! An instruction takes a clock, a branch that is taken two. Every instruction may depend on a flag (`when`), so few branches are
//! needed. There are seven flags; a comparison sets one, or joins what it finds to it. The adder's carry goes to the next instruction, for
//! numbers of several words and for divisions.
//!
//! | module | what |
//! |---|---|
//! | [`isa`] | the instruction word |
//! | [`alu`] | what becomes of two operands |
//! | [`cpu`] | the block |
//! | [`asm`] | programs as Rust text: names, labels, constants |
//! | [`machine`] | what a program does, in plain Rust: for tests |

pub mod alu;
pub mod asm;
pub mod cpu;
pub mod isa;
pub mod machine;
