//! Block RAM whose bytes can be written one by one.

use super::declare;
use crate::prelude::*;

/// `1 << AW` words of `BYTES` bytes (`W` = 8 x `BYTES` bits): as [`SdpRam`](super::SdpRam), with one write enable per byte.
#[derive(LogicBlock)]
pub struct BeRam<const W: usize, const BYTES: usize, const AW: usize> {
    /// Clock of both ports.
    pub clock: Signal<In, Clock>,
    /// Read enable.
    pub re: Signal<In, Bit>,
    /// Read address.
    pub raddr: Signal<In, Bits<AW>>,
    /// The word read in the last clock that had `re`.
    pub rdata: Signal<Out, Bits<W>>,
    /// Write enables; bit i is for bits 8i+7..8i.
    pub we: Signal<In, Bits<BYTES>>,
    /// Write address.
    pub waddr: Signal<In, Bits<AW>>,
    /// Word to write.
    pub wdata: Signal<In, Bits<W>>,
    _mem: Vec<Bits<W>>,
}

impl<const W: usize, const BYTES: usize, const AW: usize> Default for BeRam<W, BYTES, AW> {
    fn default() -> Self {
        const { assert!(W == 8 * BYTES, "a byte has 8 bits") };
        Self {
            clock: Signal::default(),
            re: Signal::default(),
            raddr: Signal::default(),
            rdata: Signal::default(),
            we: Signal::default(),
            waddr: Signal::default(),
            wdata: Signal::default(),
            _mem: vec![Bits::default(); 1 << AW],
        }
    }
}

impl<const W: usize, const BYTES: usize, const AW: usize> Logic for BeRam<W, BYTES, AW> {
    fn update(&mut self) {
        if self.clock.pos_edge() {
            if self.re.val() {
                self.rdata.next = self._mem[self.raddr.val().index()];
            }
            let (a, we, data) = (self.waddr.val().index(), self.we.val(), self.wdata.val());
            for k in (0..BYTES).filter(|k| we.get_bit(*k)) {
                self._mem[a].set_bits::<8>(8 * k, data.get_bits::<8>(8 * k));
            }
        }
    }

    fn hdl(&self) -> Verilog {
        let mut text = declare(W, AW, "(* no_rw_check *) ")
            + &format!("initial rdata = {W}'h0;\n")
            + "always @(posedge clock) if (re) rdata <= mem[raddr];\n"
            + "always @(posedge clock) begin\n";
        for k in 0..BYTES {
            let (hi, lo) = (8 * k + 7, 8 * k);
            text += &format!("    if (we[{k}]) mem[waddr][{hi}:{lo}] <= wdata[{hi}:{lo}];\n");
        }
        Verilog::Custom(text + "end\n")
    }
}
