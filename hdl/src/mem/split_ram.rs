//! Simple dual-port block RAM whose words are written in two parts, each at a time of its own.

use crate::prelude::*;

/// What is in the first word of its arguments of the part that is written first, and in the second one of the other.
pub type Joined<T> = fn(T, T) -> T;

/// `1 << AW` words of `T` as [`SdpRam`](super::SdpRam), but with two write ports, each for a part of every word: which bits are whose,
/// [`Joined`] says. Both parts are read together. A part is a memory of its own, so two ports cost no more block RAM than one.
///
/// Latency: `rdata` follows `raddr` by one clock when `re` is set, else it holds. Throughput: one read and a write of each part per clock.
/// Reset: none, memory and `rdata` start as zeros. Reading a part that is being written is undefined.
#[derive(LogicBlock)]
pub struct SplitRam<T: Packed, const AW: usize> {
    /// Clock of all ports.
    pub clock: Signal<In, Clock>,
    /// Read enable.
    pub re: Signal<In, Bit>,
    /// Read address.
    pub raddr: Signal<In, Bits<AW>>,
    /// The word read in the last clock that had `re`.
    pub rdata: Signal<Out, T>,
    /// Write enable of the first part.
    pub first_we: Signal<In, Bit>,
    /// Its address.
    pub first_at: Signal<In, Bits<AW>>,
    /// A word that has it.
    pub first: Signal<In, T>,
    /// Write enable of the second part.
    pub second_we: Signal<In, Bit>,
    /// Its address.
    pub second_at: Signal<In, Bits<AW>>,
    /// A word that has it.
    pub second: Signal<In, T>,
    _joined: Joined<T>,
    _mem: Vec<T>,
}

impl<T: Packed, const AW: usize> SplitRam<T, AW> {
    /// A memory of zeros.
    #[must_use]
    pub fn new(joined: Joined<T>) -> Self {
        Self {
            clock: Signal::default(),
            re: Signal::default(),
            raddr: Signal::default(),
            rdata: Signal::default(),
            first_we: Signal::default(),
            first_at: Signal::default(),
            first: Signal::default(),
            second_we: Signal::default(),
            second_at: Signal::default(),
            second: Signal::default(),
            _joined: joined,
            _mem: vec![T::default(); 1 << AW],
        }
    }

    /// The bits of the first part.
    fn is_first(&self) -> Vec<bool> {
        let all = |one: bool| T::take(&mut std::iter::repeat_n(one, T::BITS));
        let mut bits = vec![];
        (self._joined)(all(true), all(false)).put(&mut bits);
        bits
    }
}

/// The bits that are `wanted` of a signal, highest first, as Verilog.
fn part(signal: &str, is_first: &[bool], wanted: bool) -> String {
    let mut slices = vec![];
    let mut at = 0;
    for run in is_first.chunk_by(|a, b| a == b) {
        if run[0] == wanted {
            slices.push(format!("{signal}[{}:{at}]", at + run.len() - 1));
        }
        at += run.len();
    }
    slices.reverse();
    format!("{{{}}}", slices.join(", "))
}

impl<T: Packed, const AW: usize> Logic for SplitRam<T, AW> {
    fn update(&mut self) {
        if self.clock.pos_edge() {
            if self.re.val() {
                self.rdata.next = self._mem[self.raddr.val().index()];
            }
            if self.first_we.val() {
                let at = self.first_at.val().index();
                self._mem[at] = (self._joined)(self.first.val(), self._mem[at]);
            }
            if self.second_we.val() {
                let at = self.second_at.val().index();
                self._mem[at] = (self._joined)(self._mem[at], self.second.val());
            }
        }
    }

    fn hdl(&self) -> Verilog {
        let is_first = self.is_first();
        let words = 1usize << AW;
        let mut text = format!("integer i;\ninitial rdata = {}'h0;\n", T::BITS);
        for (name, wanted) in [("first", true), ("second", false)] {
            let bits = is_first.iter().filter(|bit| **bit == wanted).count();
            let (read, written) = (part("rdata", &is_first, wanted), part(name, &is_first, wanted));
            text += &format!(
                "(* no_rw_check *) reg [{top}:0] {name}_part [0:{last}];\n\
                 initial for (i = 0; i < {words}; i = i + 1) {name}_part[i] = {bits}'h0;\n\
                 always @(posedge clock) if (re) {read} <= {name}_part[raddr];\n\
                 always @(posedge clock) if ({name}_we) {name}_part[{name}_at] <= {written};\n",
                top = bits - 1,
                last = words - 1,
            );
        }
        Verilog::Custom(text)
    }
}
