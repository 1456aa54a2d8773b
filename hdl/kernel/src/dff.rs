//! The register.
//!
//! Unlike a child block it is not a module of its own: in Verilog it is a `reg` of the block that holds it, written in
//! that block's single `always @(posedge clock)`. A simulator so sees one process per block, not one per register.

use crate::krt::Inline;
use rust_hdl_core::prelude::{AtomKind, Block, Clock, In, Logic, Out, Probe, Signal, Synth};

/// A register: `q` takes the value of `d` at the rising edge of `clock`.
///
/// Kernels name it in `dff_setup!(self, clock, name)`, which makes it hold by default, write `self.name.d.next` and
/// read `self.name.q.val()`. Both Verilog and native simulation start at the initial value.
#[derive(Clone, Debug)]
pub struct Dff<T: Synth> {
    /// Next value.
    pub d: Signal<In, T>,
    /// Present value.
    pub q: Signal<Out, T>,
    /// Set by `dff_setup!`.
    pub clock: Signal<In, Clock>,
    init: T,
}

impl<T: Synth> Dff<T> {
    /// A register that starts (and, with `dff_reset!`, restarts) at `init`.
    pub fn new(init: T) -> Self {
        Dff { d: Signal::default(), q: Signal::new_with_default(init), clock: Signal::default(), init }
    }
    /// The initial value.
    pub fn initial(&self) -> T {
        self.init
    }
}

impl<T: Synth> Default for Dff<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T: Synth> Logic for Dff<T> {
    fn update(&mut self) {
        if self.clock.pos_edge() {
            self.q.next = self.d.val();
        }
    }
}

impl<T: Synth> Block for Dff<T> {
    fn connect_all(&mut self) {}
    fn update_all(&mut self) {
        self.update();
        self.clock.update_all();
        self.d.update_all();
        self.q.update_all();
    }
    fn has_changed(&self) -> bool {
        self.clock.has_changed() || self.d.has_changed() || self.q.has_changed()
    }
    fn accept(&self, name: &str, probe: &mut dyn Probe) {
        probe.visit_atom(&format!("{name}$d"), &Inline { atom: &self.d, kind: AtomKind::StubInputSignal });
        probe.visit_atom(name, &Inline { atom: &self.q, kind: AtomKind::StubOutputSignal });
    }
}
