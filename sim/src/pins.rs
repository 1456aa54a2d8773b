//! The pins of a Verilated top, in the bundles that bus models and watchers speak.
//!
//! The implementations are generated from the port names (`m_axi_*`, `s_axil_*`, `s_axis_*`, `m_axis_*`, `clock`, `reset`, `irq`).
//! One clock of a simulation is
//!
//! ```text
//!   set_*(partner.out()) for every bus     inputs of this clock
//!   settle()                               clock low: outputs that depend on inputs follow
//!   axi(), axil(), tx_beat(), ...          sample; watchers observe
//!   posedge()                              clock high: registers take their next value
//!   partner.tick(sample)                   partners compute their next outputs
//! ```
//!
//! Two evaluations per clock; in the low one only logic between input and output pins works.

use crate::bfm::axi::{AxiMasterOut, AxiSlaveOut};
use crate::bfm::axil::{AxilMasterOut, AxilSlaveOut};
use crate::bfm::axis::AxisBeat;

/// Clock, reset, evaluation, interrupt, rest and wave.
pub trait ClockPins {
    /// Level of `clock`.
    fn drive_clock(&mut self, level: bool);

    /// Level of `reset` (synchronous, active high).
    fn drive_reset(&mut self, level: bool);

    /// Level of `irq`; false for a top without one.
    fn interrupt(&self) -> bool;

    /// Nothing is in work inside, as `STATUS.idle` would say if the top were disabled; false for a top that does not tell.
    fn is_idle(&self) -> bool;

    /// Let the model follow its inputs.
    fn eval(&mut self);

    /// Write the present values into an open wave; nothing without one.
    fn trace_dump(&mut self, time_ns: u64);

    /// Clock low, so that outputs follow the inputs just set.
    #[inline]
    fn settle(&mut self) {
        self.drive_clock(false);
        self.eval();
    }

    /// Rising clock edge.
    #[inline]
    fn posedge(&mut self) {
        self.drive_clock(true);
        self.eval();
    }
}

/// AXI4 master port `m_axi_*`.
pub trait AxiPins {
    /// What the top drives.
    fn axi(&self) -> AxiMasterOut;

    /// What the memory drives.
    fn set_axi(&mut self, slave: &AxiSlaveOut);
}

/// AXI4-Lite slave port `s_axil_*`.
pub trait AxilPins {
    /// What the top drives.
    fn axil(&self) -> AxilSlaveOut;

    /// What the driver's master drives.
    fn set_axil(&mut self, master: &AxilMasterOut);
}

/// AXI-Stream ports of the MAC: `s_axis_*` into the top (rx), `m_axis_*` out of it (tx).
pub trait AxisPins {
    /// The beat that the top sends.
    fn tx_beat(&self) -> AxisBeat;

    /// `tready` of the receiving side.
    fn set_tx_ready(&mut self, ready: bool);

    /// `tready` of the top for received frames.
    fn rx_ready(&self) -> bool;

    /// The beat that the MAC delivers.
    fn set_rx_beat(&mut self, beat: &AxisBeat);
}
