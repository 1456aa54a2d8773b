//! The stored registers of `chimney_abi::regs::ALL`: writable ones keep what was written.
//!
//! What the NIC goes by is in registers, all side by side; what the host reads back is a copy in a memory, with a bit for
//! each register that says whether it was written since the reset. So there is no choice among all of them.
//!
//! Latency: 1 clock from `write` to `value`; `stored` follows `read` by one clock and stays until the next. Throughput: a
//! write or a read in each clock, not both. Back-pressure: none. Reset: the table's reset values. Registers that store nothing
//! show their reset value; where there is no register `stored` is 0.
use crate::mem::SdpRam;
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

const fn resets() -> [u64; PLAIN] {
    let mut r = [0; PLAIN];
    let mut i = 0;
    while i < PLAIN {
        r[i] = regs::ALL[i].reset as u64;
        i += 1;
    }
    r
}
const RESETS: [u64; PLAIN] = resets();

/// log2 of the words of the copy.
const COPY: usize = 7;
const _: () = assert!(OFFSETS[PLAIN - 1] < 4 << COPY);

/// The register file. See the module page.
#[derive(LogicBlock)]
pub struct RegFile {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Synchronous, active high.
    pub reset: Signal<In, Bit>,
    /// Pulse: write `data` at `addr`; not in the clock of a `read`.
    pub write: Signal<In, Bit>,
    /// Byte offset in BAR0.
    pub addr: Signal<In, Bits<20>>,
    /// The word.
    pub data: Signal<In, Bits<32>>,
    /// Pulse: read what is stored at `read_addr`.
    pub read: Signal<In, Bit>,
    /// Byte offset in BAR0.
    pub read_addr: Signal<In, Bits<20>>,
    /// What is stored there.
    pub stored: Signal<Out, Bits<32>>,
    /// All registers, in table order.
    pub value: [Signal<Out, Bits<32>>; PLAIN],
    copy: SdpRam<Bits<32>, COPY>,
    word: [Dff<Bits<32>>; PLAIN],
    /// It was written since the reset.
    written: [Dff<Bit>; PLAIN],
    from_copy: Dff<Bit>,
    untouched: Dff<Bits<32>>,
}

impl Default for RegFile {
    fn default() -> Self {
        Self {
            clock: Signal::default(),
            reset: Signal::default(),
            write: Signal::default(),
            addr: Signal::default(),
            data: Signal::default(),
            read: Signal::default(),
            read_addr: Signal::default(),
            stored: Signal::default(),
            value: std::array::from_fn(|_| Signal::default()),
            copy: SdpRam::default(),
            word: std::array::from_fn(|i| Dff::new(RESETS[i].into())),
            written: std::array::from_fn(|_| Dff::default()),
            from_copy: Dff::default(),
            untouched: Dff::default(),
        }
    }
}

#[kernel]
impl Logic for RegFile {
    fn update(&mut self) {
        dff_setup!(self, clock, word, written, from_copy, untouched);
        clock!(self, clock, copy);
        let (addr, from) = (self.addr.val(), self.read_addr.val());
        let (mut was_written, mut untouched) = (false, bits::<32>(0));
        for i in 0..PLAIN {
            self.value[i].next = self.word[i].q.val();
            let is_read = from == OFFSETS[i];
            was_written = was_written || is_read && self.written[i].q.val();
            untouched = untouched | if is_read { bits::<32>(RESETS[i]) } else { bits::<32>(0) };
        }
        if self.write.val() {
            for i in 0..PLAIN {
                if STORED[i] {
                    if addr == OFFSETS[i] {
                        self.word[i].d.next = self.data.val();
                        self.written[i].d.next = true;
                    }
                }
            }
        }
        self.copy.we.next = self.write.val() && addr >> (COPY as u64 + 2) == 0 && addr.get_bits::<2>(0) == 0;
        self.copy.waddr.next = addr.get_bits::<COPY>(2);
        self.copy.wdata.next = self.data.val();
        self.copy.re.next = self.read.val();
        self.copy.raddr.next = from.get_bits::<COPY>(2);
        if self.read.val() {
            self.from_copy.d.next = was_written;
            self.untouched.d.next = untouched;
        }
        self.stored.next =
            if self.from_copy.q.val() { self.copy.rdata.val() } else { self.untouched.q.val() };
        dff_reset!(self, reset, word, written);
    }
}
