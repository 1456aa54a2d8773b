//! Simple dual-port block RAM.

use super::declare;
use crate::prelude::*;

/// `1 << AW` words of `T`: one write port, one read port with a register behind it.
///
/// Latency: `rdata` follows `raddr` by one clock when `re` is set, else it holds. Throughput: one read and one write per
/// clock. Reset: none, memory and `rdata` start as zeros, or the memory as it was told to ([`SdpRam::holding`]). Reading the word that is being written is undefined.
#[derive(LogicBlock)]
pub struct SdpRam<T: Packed, const AW: usize> {
    /// Clock of both ports.
    pub clock: Signal<In, Clock>,
    /// Read enable.
    pub re: Signal<In, Bit>,
    /// Read address.
    pub raddr: Signal<In, Bits<AW>>,
    /// The word read in the last clock that had `re`.
    pub rdata: Signal<Out, T>,
    /// Write enable.
    pub we: Signal<In, Bit>,
    /// Write address.
    pub waddr: Signal<In, Bits<AW>>,
    /// Word to write.
    pub wdata: Signal<In, T>,
    _mem: Vec<T>,
}

impl<T: Packed, const AW: usize> Default for SdpRam<T, AW> {
    fn default() -> Self {
        Self {
            clock: Signal::default(),
            re: Signal::default(),
            raddr: Signal::default(),
            rdata: Signal::default(),
            we: Signal::default(),
            waddr: Signal::default(),
            wdata: Signal::default(),
            _mem: vec![T::default(); 1 << AW],
        }
    }
}

impl<T: Packed, const AW: usize> SdpRam<T, AW> {
    /// A memory that starts with these words; the rest are zeros. Never written, it is a ROM.
    ///
    /// # Panics
    /// When there are more than it has room for.
    #[must_use]
    pub fn holding(words: &[T]) -> Self {
        assert!(words.len() <= 1 << AW, "{} words are too many for {AW} address bits", words.len());
        let mut ram = Self::default();
        ram._mem[..words.len()].copy_from_slice(words);
        ram
    }

    /// A word, for tests.
    #[must_use]
    pub fn word(&self, at: usize) -> T {
        self._mem[at]
    }

    /// Verilog of the words that are not zero at the start.
    fn contents(&self) -> String {
        let mut text = String::new();
        for (at, word) in self._mem.iter().enumerate() {
            let mut all = vec![];
            word.put(&mut all);
            if all.contains(&true) {
                let digits: String = all.iter().rev().map(|one| if *one { '1' } else { '0' }).collect();
                text += &format!("initial mem[{at}] = {}'b{digits};\n", T::BITS);
            }
        }
        text
    }
}

impl<T: Packed, const AW: usize> Logic for SdpRam<T, AW> {
    fn update(&mut self) {
        if self.clock.pos_edge() {
            if self.re.val() {
                self.rdata.next = self._mem[self.raddr.val().index()];
            }
            if self.we.val() {
                let a = self.waddr.val().index();
                self._mem[a] = self.wdata.val();
            }
        }
    }

    fn hdl(&self) -> Verilog {
        let w = T::BITS;
        let text = declare(w, AW, "(* no_rw_check *) ")
            + &self.contents()
            + &format!("initial rdata = {w}'h0;\n")
            + "always @(posedge clock) if (re) rdata <= mem[raddr];\n"
            + "always @(posedge clock) if (we) mem[waddr] <= wdata;\n";
        Verilog::Custom(text)
    }
}
