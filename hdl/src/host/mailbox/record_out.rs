//! A connection's record from PROTO to its image: beats become writes of 32 bytes.
//!
//! Latency: the write is offered with the fourth beat. Throughput: one beat per clock. Back-pressure: every fourth beat
//! waits for the write port. Reset: nothing kept.
use super::job::{reported, WriteMaster};
use super::record_in::{is_v6, Ports};
use crate::prelude::*;

/// Beats of a write.
const BEATS_LOG2: usize = 2;
/// Bytes of a write.
const BYTES: u64 = 32;
/// log2 of them.
const BYTES_LOG2: u64 = BYTES.trailing_zeros() as u64;

/// The block. See the module page.
#[derive(LogicBlock, Default)]
pub struct RecordOut {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Synchronous, active high.
    pub reset: Signal<In, Bit>,
    /// Pulse: the next beat is a record's first.
    pub go: Signal<In, Bit>,
    /// Address of the image's body; stable until the record is out.
    pub body: Signal<In, Bits<64>>,
    /// Beats are written.
    pub take: Signal<In, Bit>,
    /// Beats are thrown away.
    pub discard: Signal<In, Bit>,
    /// A beat is offered.
    pub op_out_valid: Signal<In, Bit>,
    /// It is taken.
    pub op_out_ready: Signal<Out, Bit>,
    /// The beat.
    pub op_out: Signal<In, Bits<64>>,
    /// The record that was written last, or is being written, is of IPv6.
    pub is_v6: Signal<Out, Bit>,
    /// For the record.
    pub write: WriteMaster,
    count: Dff<Bits<6>>,
    chunk: Dff<Bits<192>>,
    v6: Dff<Bit>,
}

#[kernel]
impl Logic for RecordOut {
    fn update(&mut self) {
        dff_setup!(self, clock, count, chunk, v6);
        let (count, beat) = (self.count.q.val(), self.op_out.val());
        let is_last = count.get_bits::<BEATS_LOG2>(0).all();
        let chunk = cat::<256, _>((beat, self.chunk.q.val()));
        let offset = bit_cast::<64, 4>(count.get_bits::<4>(BEATS_LOG2)) << BYTES_LOG2;
        let ready = self.take.val() && (!is_last || self.write.ready.val());
        let taken = ready && self.op_out_valid.val();
        self.op_out_ready.next = ready || self.discard.val();
        self.write.valid.next = self.take.val() && is_last && self.op_out_valid.val();
        self.write.cmd.next = reported(self.body.val() + offset, bits::<16>(BYTES), chunk);
        self.is_v6.next = self.v6.q.val();
        if taken && count == 0 {
            self.v6.d.next = is_v6(unpack::<Ports, 48>(beat.get_bits::<48>(0)));
        }
        if taken {
            self.count.d.next = count + 1;
            self.chunk.d.next = chunk.get_bits::<192>(64);
        }
        if self.go.val() {
            self.count.d.next = bits::<6>(0);
        }
        dff_reset!(self, reset, count);
    }
}
