//! What of a record is stored when stage 3 is over ([`joined()`]) is what the whole pass leaves of it: stages 4 to 6 change none of that.

use crate::pass::{left_by, planned, Late};
use crate::proof::{Error, Proof};
use chimney_hdl::prelude::*;
use chimney_hdl::tcp::proto::record::{joined, Work};
use chimney_hdl::tcp::proto::stages::{left, stage4};
use chimney_hdl::tcp::proto::step::Step;
use chimney_hdl::types::RxSeg;

/// Bits of a record.
const RECORD: usize = Work::BITS;

/// Stages 4 to 6, and what was stored before them.
#[derive(LogicBlock, Default)]
pub struct Settled {
    /// The pass after stage 3.
    pub step: Signal<In, Step>,
    /// Its segment.
    pub seg: Signal<In, RxSeg>,
    /// What comes with it.
    pub late: Signal<In, Late>,
    /// What was stored is what it leaves.
    pub ok: Signal<Out, Bit>,
}

#[kernel]
impl Logic for Settled {
    fn update(&mut self) {
        let (s, l) = (self.step.val(), self.late.val());
        let end = left_by(planned(stage4(s, self.seg.val(), l.env), l), l);
        let stored = joined(left(s), end);
        self.ok.next = pack::<RECORD, Work>(stored) == pack::<RECORD, Work>(end);
    }
}

/// The proof of this file.
///
/// # Errors
/// A checker that is no hardware.
pub fn proofs() -> Result<Vec<Proof>, Error> {
    let proof = Proof::new(
        "settled",
        "what is stored of a record when stage 3 is over is what the whole pass leaves of it",
        Settled::default(),
    )?
    .fails_if(
        "a segment that is sent counts as received",
        "wire [31:0] left_by$went$tx_sent$n$w$cnt$segs_in = left",
        "wire [31:0] left_by$went$tx_sent$n$w$cnt$segs_in = 32'h1 + left",
    );
    Ok(vec![proof])
}
