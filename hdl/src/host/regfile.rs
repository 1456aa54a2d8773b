//! The stored registers of `chimney_abi::regs::ALL`: writable ones keep what was written.
//!
//! Latency 1 clock from `write` to `value`. Reset: the table's reset values. Registers that
//! store nothing show their reset value.
use crate::prelude::*;
use chimney_abi::layout::{Access, Reg};
use chimney_abi::regs;

/// Number of registers in the table before the counters.
pub const PLAIN: usize = regs::ALL.len() - regs::COUNTERS;

const fn offsets() -> [u64; PLAIN] {
    let mut o = [0; PLAIN];
    let mut i = 0;
    while i < PLAIN {
        o[i] = regs::ALL[i].offset as u64;
        i += 1;
    }
    o
}
/// Byte offset of each register.
pub const OFFSETS: [u64; PLAIN] = offsets();

const fn stored() -> [bool; PLAIN] {
    let mut s = [false; PLAIN];
    let mut i = 0;
    while i < PLAIN {
        s[i] = matches!(regs::ALL[i].access, Access::Rw | Access::Wo);
        i += 1;
    }
    s
}
const STORED: [bool; PLAIN] = stored();

/// Index of a register in the table.
pub const fn at(r: &Reg) -> usize {
    let mut i = 0;
    while regs::ALL[i].offset != r.offset {
        i += 1;
    }
    i
}

/// The register file. See the module page.
#[derive(LogicBlock)]
pub struct RegFile {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Synchronous, active high.
    pub reset: Signal<In, Bit>,
    /// Pulse: write `data` at `addr`.
    pub write: Signal<In, Bit>,
    /// Byte offset in BAR0.
    pub addr: Signal<In, Bits<20>>,
    /// The word.
    pub data: Signal<In, Bits<32>>,
    /// All registers, in table order.
    pub value: [Signal<Out, Bits<32>>; PLAIN],
    word: [Dff<Bits<32>>; PLAIN],
}

impl Default for RegFile {
    fn default() -> Self {
        Self {
            clock: Signal::default(),
            reset: Signal::default(),
            write: Signal::default(),
            addr: Signal::default(),
            data: Signal::default(),
            value: std::array::from_fn(|_| Signal::default()),
            word: std::array::from_fn(|i| Dff::new(u64::from(regs::ALL[i].reset).into())),
        }
    }
}

#[kernel]
impl Logic for RegFile {
    fn update(&mut self) {
        dff_setup!(self, clock, word);
        for i in 0..PLAIN {
            self.value[i].next = self.word[i].q.val();
            if STORED[i] {
                if self.write.val() && self.addr.val() == OFFSETS[i] {
                    self.word[i].d.next = self.data.val();
                }
            }
        }
        dff_reset!(self, reset, word);
    }
}
