//! Small memory with a combinational read.

use super::declare;
use crate::prelude::*;

/// `1 << AW` words of `T`: one write port, one combinational read port.
///
/// Latency: none for reads; a written word is visible after the edge. Reset: none, starts as zeros.
#[derive(LogicBlock)]
pub struct LutRam<T: Packed, const AW: usize> {
    /// Clock of the write port.
    pub clock: Signal<In, Clock>,
    /// Read address.
    pub raddr: Signal<In, Bits<AW>>,
    /// The word at `raddr`.
    pub rdata: Signal<Out, T>,
    /// Write enable.
    pub we: Signal<In, Bit>,
    /// Write address.
    pub waddr: Signal<In, Bits<AW>>,
    /// Word to write.
    pub wdata: Signal<In, T>,
    _mem: Vec<T>,
}

impl<T: Packed, const AW: usize> Default for LutRam<T, AW> {
    fn default() -> Self {
        Self {
            clock: Signal::default(),
            raddr: Signal::default(),
            rdata: Signal::default(),
            we: Signal::default(),
            waddr: Signal::default(),
            wdata: Signal::default(),
            _mem: vec![T::default(); 1 << AW],
        }
    }
}

impl<T: Packed, const AW: usize> Logic for LutRam<T, AW> {
    fn update(&mut self) {
        if self.clock.pos_edge() && self.we.val() {
            let a = self.waddr.val().index();
            self._mem[a] = self.wdata.val();
        }
        self.rdata.next = self._mem[self.raddr.val().index()];
    }

    fn hdl(&self) -> Verilog {
        let text = declare(T::BITS, AW, "")
            + "always @(posedge clock) if (we) mem[waddr] <= wdata;\n"
            + "always @(*) rdata = mem[raddr];\n";
        Verilog::Custom(text)
    }
}
