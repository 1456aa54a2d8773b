//! Simple dual-port block RAM.

use super::declare;
use crate::prelude::*;

/// `1 << AW` words of `T`: one write port, one read port with a register behind it.
///
/// Latency: `rdata` follows `raddr` by one clock when `re` is set, else it holds. Throughput: one read and one write per
/// clock. Reset: none, memory and `rdata` start as zeros. Reading the word that is being written is undefined.
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
            + &format!("initial rdata = {w}'h0;\n")
            + "always @(posedge clock) if (re) rdata <= mem[raddr];\n"
            + "always @(posedge clock) if (we) mem[waddr] <= wdata;\n";
        Verilog::Custom(text)
    }
}
