//! Native simulation of one block, without threads.

use rust_hdl_core::prelude::{simulate, Block};

/// How often a block may settle within one half of a clock before it counts as oscillating.
const SETTLE: usize = 1000;

/// A block that is driven clock by clock, under native simulation or as a Verilated model.
pub trait Clocked<B> {
    /// The block: its outputs can be read.
    fn u(&self) -> &B;

    /// Clock low: sets inputs with `poke` and lets the logic settle. Outputs can be read now.
    fn settle(&mut self, poke: impl FnOnce(&mut B));

    /// The rising edge.
    fn edge(&mut self);

    /// One whole clock: [`settle`](Self::settle), then [`edge`](Self::edge).
    fn cycle(&mut self, poke: impl FnOnce(&mut B)) {
        self.settle(poke);
        self.edge();
    }
}

/// A block under native simulation.
///
/// ```ignore
/// let mut b = Bench::new(Fifo::<Bits<8>, 4>::default(), |u, c| u.clock.next = c.into());
/// b.cycle(|u| { u.push.next = true; u.data.next = bits::<8>(7); });
/// b.settle(|u| u.push.next = false);
/// assert!(b.u.valid.val());
/// ```
pub struct Bench<B, C> {
    /// The block; a large one would not fit a thread's stack more than once.
    pub u: Box<B>,
    clock: C,
}

impl<B: Block, C: FnMut(&mut B, bool)> Bench<B, C> {
    /// Takes a block and a function that sets its clock input.
    pub fn new(u: B, clock: C) -> Self {
        let mut b = Bench { u: Box::new(u), clock };
        b.settle(|_| {});
        b
    }

    /// Clock low: sets inputs with `poke` and lets the logic settle. Outputs can be read now.
    ///
    /// # Panics
    /// When the logic oscillates.
    pub fn settle(&mut self, poke: impl FnOnce(&mut B)) {
        (self.clock)(&mut self.u, false);
        poke(&mut self.u);
        assert!(simulate(&mut *self.u, SETTLE), "combinational loop: the block does not settle");
    }

    /// The rising edge.
    ///
    /// # Panics
    /// When the logic oscillates.
    pub fn edge(&mut self) {
        (self.clock)(&mut self.u, true);
        assert!(simulate(&mut *self.u, SETTLE), "combinational loop: the block does not settle");
    }

    /// One whole clock: [`settle`](Self::settle), then [`edge`](Self::edge).
    pub fn cycle(&mut self, poke: impl FnOnce(&mut B)) {
        self.settle(poke);
        self.edge();
    }
}

impl<B: Block, C: FnMut(&mut B, bool)> Clocked<B> for Bench<B, C> {
    fn u(&self) -> &B {
        &self.u
    }
    fn settle(&mut self, poke: impl FnOnce(&mut B)) {
        Bench::settle(self, poke);
    }
    fn edge(&mut self) {
        Bench::edge(self);
    }
}
