//! Block RAM of eight byte lanes, each with a write address of its own: bytes of any alignment in one clock.

use crate::prelude::*;

/// Bytes of a word.
const LANES: usize = 8;

/// `1 << AW` words of 8 bytes: as [`SdpRam`](super::SdpRam), but a lane may be written one word further than `waddr`.
///
/// Eight bytes that begin at byte `r` of word `w` are written by rotating them by `r` and raising `up` in the lanes below `r`.
/// An 8-lane memory costs as many block RAMs as a wide one, because both are cut by bytes.
#[derive(LogicBlock)]
pub struct LaneRam<const AW: usize> {
    /// Clock of both ports.
    pub clock: Signal<In, Clock>,
    /// Read enable.
    pub re: Signal<In, Bit>,
    /// Read address.
    pub raddr: Signal<In, Bits<AW>>,
    /// The word read in the last clock that had `re`.
    pub rdata: Signal<Out, Bits<64>>,
    /// Write enables; bit i is for bits 8i+7..8i.
    pub we: Signal<In, Bits<8>>,
    /// Lane i is written at `waddr + 1` if bit i is set, else at `waddr`.
    pub up: Signal<In, Bits<8>>,
    /// Write address.
    pub waddr: Signal<In, Bits<AW>>,
    /// Bytes to write.
    pub wdata: Signal<In, Bits<64>>,
    _mem: Vec<Bits<64>>,
}

impl<const AW: usize> Default for LaneRam<AW> {
    fn default() -> Self {
        Self {
            clock: Signal::default(),
            re: Signal::default(),
            raddr: Signal::default(),
            rdata: Signal::default(),
            we: Signal::default(),
            up: Signal::default(),
            waddr: Signal::default(),
            wdata: Signal::default(),
            _mem: vec![Bits::default(); 1 << AW],
        }
    }
}

impl<const AW: usize> Logic for LaneRam<AW> {
    fn update(&mut self) {
        if self.clock.pos_edge() {
            if self.re.val() {
                self.rdata.next = self._mem[self.raddr.val().index()];
            }
            let (at, we, up, data) =
                (self.waddr.val().index(), self.we.val(), self.up.val(), self.wdata.val());
            for i in (0..LANES).filter(|i| we.get_bit(*i)) {
                let word = (at + usize::from(up.get_bit(i))) % (1 << AW);
                self._mem[word].set_bits::<8>(8 * i, data.get_bits::<8>(8 * i));
            }
        }
    }

    fn hdl(&self) -> Verilog {
        let (words, top) = (1usize << AW, AW - 1);
        let mut text = format!("wire [{top}:0] beyond = waddr + 1'b1;\ninteger i;\ninitial rdata = 64'h0;\n");
        for k in 0..LANES {
            let (hi, lo) = (8 * k + 7, 8 * k);
            text += &format!(
                "(* no_rw_check *) reg [7:0] lane{k} [0:{}];\n\
                 wire [{top}:0] at{k} = up[{k}] ? beyond : waddr;\n\
                 initial for (i = 0; i < {words}; i = i + 1) lane{k}[i] = 8'h0;\n\
                 always @(posedge clock) if (re) rdata[{hi}:{lo}] <= lane{k}[raddr];\n\
                 always @(posedge clock) if (we[{k}]) lane{k}[at{k}] <= wdata[{hi}:{lo}];\n",
                words - 1,
            );
        }
        Verilog::Custom(text)
    }
}
