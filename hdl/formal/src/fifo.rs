//! The FIFO: what goes in comes out, in this order, and the level counts it.
//!
//! Order is shown for one word that the solver picks (`tag` while it is pushed): it comes out after exactly those that
//! were in front of it, with its own bits. As any word may be the one, this is true of all.

use crate::proof::{Error, Proof};
use chimney_hdl::prelude::*;
use chimney_hdl::stream::Fifo;

/// The checker: a FIFO of four bytes, one of which is followed.
#[derive(LogicBlock, Default)]
pub struct FifoChecker {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Reset.
    pub reset: Signal<In, Bit>,
    /// A word is offered.
    pub s_valid: Signal<In, Bit>,
    /// It.
    pub s_data: Signal<In, Bits<8>>,
    /// A word is taken.
    pub m_ready: Signal<In, Bit>,
    /// The word pushed now is the one to follow, if none is followed yet.
    pub tag: Signal<In, Bit>,
    /// The property.
    pub ok: Signal<Out, Bit>,
    fifo: Fifo<Bits<8>, 2, 3>,
    live: Dff<Bit>,
    ahead: Dff<Bits<3>>,
    data: Dff<Bits<8>>,
    stored: Dff<Bits<3>>,
}

#[kernel]
impl Logic for FifoChecker {
    fn update(&mut self) {
        dff_setup!(self, clock, live, ahead, data, stored);
        clock!(self, clock, fifo);
        reset!(self, reset, fifo);
        self.fifo.s_valid.next = self.s_valid.val();
        self.fifo.s_data.next = self.s_data.val();
        self.fifo.m_ready.next = self.m_ready.val();
        let push = self.s_valid.val() && self.fifo.s_ready.val();
        let pop = self.m_ready.val() && self.fifo.m_valid.val();
        let stored = self.stored.q.val();
        let (live, ahead) = (self.live.q.val(), self.ahead.q.val());
        self.stored.d.next = stored + push - bit_cast::<3, 1>(pop.into());
        if live {
            if pop {
                self.live.d.next = ahead.any();
                self.ahead.d.next = ahead - 1;
            }
        } else if push && self.tag.val() {
            self.live.d.next = true;
            self.data.d.next = self.s_data.val();
            self.ahead.d.next = stored - bit_cast::<3, 1>(pop.into());
        }
        let counted = self.fifo.level.val() == stored && !(stored > 4);
        let ends = self.fifo.s_ready.val() == (stored < 4) && self.fifo.m_valid.val() == stored.any();
        let in_order =
            ahead.any() || (self.fifo.m_valid.val() && self.fifo.m_data.val() == self.data.q.val());
        self.ok.next = counted && ends && (!live || (ahead < stored && in_order));
        dff_reset!(self, reset, live, ahead, data, stored);
    }
}

/// What is true of the FIFO's registers and words.
#[derive(LogicBlock, Default)]
pub struct FifoInvariant {
    /// Write pointer.
    pub wr: Signal<In, Bits<2>>,
    /// Read pointer.
    pub rd: Signal<In, Bits<2>>,
    /// Words stored, as the FIFO says.
    pub count: Signal<In, Bits<3>>,
    /// As the checker counted.
    pub stored: Signal<In, Bits<3>>,
    /// A word is followed.
    pub live: Signal<In, Bit>,
    /// Words in front of it.
    pub ahead: Signal<In, Bits<3>>,
    /// Its bits.
    pub data: Signal<In, Bits<8>>,
    /// Word 0 of the memory.
    pub m0: Signal<In, Bits<8>>,
    /// Word 1.
    pub m1: Signal<In, Bits<8>>,
    /// Word 2.
    pub m2: Signal<In, Bits<8>>,
    /// Word 3.
    pub m3: Signal<In, Bits<8>>,
    /// All of it is true.
    pub ok: Signal<Out, Bit>,
}

#[kernel]
impl Logic for FifoInvariant {
    fn update(&mut self) {
        let (count, ahead) = (self.count.val(), self.ahead.val());
        let at = self.rd.val() + ahead.get_bits::<2>(0);
        let word = select([self.m0.val(), self.m1.val(), self.m2.val(), self.m3.val()], at);
        let pointers = self.wr.val() - self.rd.val() == count.get_bits::<2>(0);
        let followed = !self.live.val() || (ahead < count && word == self.data.val());
        self.ok.next = pointers && count == self.stored.val() && followed;
    }
}

/// The proofs.
///
/// # Errors
/// A checker that is no hardware.
pub fn proofs() -> Result<Vec<Proof>, Error> {
    let wires = [
        ("wr", "fifo.wr"),
        ("rd", "fifo.rd"),
        ("count", "fifo.count"),
        ("stored", "stored"),
        ("live", "live"),
        ("ahead", "ahead"),
        ("data", "data"),
        ("m0", "fifo.ram.mem[0]"),
        ("m1", "fifo.ram.mem[1]"),
        ("m2", "fifo.ram.mem[2]"),
        ("m3", "fifo.ram.mem[3]"),
    ];
    let about =
        "words come out in the order they went in, none is lost or made up, and the level counts them";
    let proof = Proof::new("fifo", about, FifoChecker::default())?
        .clocks(16)
        .induction(2)
        .invariant(FifoInvariant::default(), &wires)?
        .fails_if("it takes a word when it is full", "has_room = ~count[2]", "has_room = 1'h1")
        .fails_if("a pop is not counted when a word is pushed", "push && (~pop)", "push")
        .fails_if("reads start at the second word", "ram$raddr = rd", "ram$raddr = wr");
    Ok(vec![proof])
}
