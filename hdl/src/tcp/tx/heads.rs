//! Heads: the sums of headers, kept until their frame is numbered, or handed on as they grow to the sender that has the frame already.
//!
//! ```text
//!   sums of the header in work --+-- complete --> [one for each slot] --> of the frame looked at
//!                                `-- of a frame that leads --> TxStream
//! ```
//! Headers are summed in the order of frames, so the number of those complete is the slot of the one in work.
//!
//! Latency: `has` and `sums_at` 1 clock after `sums_valid`; `late` in the same clock. Throughput: a word of a header per clock. Back-pressure: none, there
//! is a place for each slot. Reset: none complete.
use crate::eth::tx::{Checksums, Late, LATE_LOG2, SLOTS, SLOT_LOG2};
use crate::mem::LutRam;
use crate::prelude::*;
use crate::tcp::tx::sums::HeadSums;

/// The block. See the module page.
#[derive(LogicBlock, Default)]
pub struct Heads {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Synchronous, active high.
    pub reset: Signal<In, Bit>,
    /// Pulse: the sums of the next frame's header are complete, or it has none.
    pub sums_valid: Signal<In, Bit>,
    /// Sums of the header in work.
    pub sums: Signal<In, HeadSums>,
    /// Frame that is looked at: at most one behind the one in work, then its sums are not there.
    pub at: Signal<In, Bits<SLOTS>>,
    /// Its sums are complete.
    pub has: Signal<Out, Bit>,
    /// These are they.
    pub sums_at: Signal<Out, HeadSums>,
    /// Pulse, in the clock before the first word of a header is in the sums: its frame leads.
    pub leads: Signal<In, Bit>,
    /// From then on until `sums_valid`: its checksums, as far as they have come.
    pub late: Signal<Out, Late>,
    kept: LutRam<HeadSums, SLOT_LOG2>,
    /// The frame whose header is in work.
    summed: Dff<Bits<SLOTS>>,
    /// It leads.
    is_late: Dff<Bit>,
}

#[kernel]
impl Logic for Heads {
    fn update(&mut self) {
        dff_setup!(self, clock, summed, is_late);
        clock!(self, clock, kept);
        let complete = self.sums_valid.val();
        let sums = self.sums.val();
        let summed = self.summed.q.val();
        let is_late = self.is_late.q.val();
        let ahead = summed - self.at.val();
        self.has.next = ahead.any() && !ahead.all();
        self.kept.we.next = complete;
        self.kept.waddr.next = summed.get_bits::<SLOT_LOG2>(0);
        self.kept.wdata.next = sums;
        self.kept.raddr.next = self.at.val().get_bits::<SLOT_LOG2>(0);
        self.sums_at.next = self.kept.rdata.val();
        self.summed.d.next = summed + complete;
        self.is_late.d.next = self.leads.val() || (is_late && !complete);
        self.late.next = Late {
            valid: is_late,
            slot: summed.get_bits::<LATE_LOG2>(0),
            sums: Checksums { ip: !sums.ip, tcp: !sums.tcp },
        };
        dff_reset!(self, reset, summed, is_late);
    }
}
