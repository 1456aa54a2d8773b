//! Connections' records from PROTO to their images: beats become writes of 32 bytes.
//!
//! Latency: the write is offered with the fourth beat. Throughput: one beat per clock. Back-pressure: every fourth beat
//! waits for the write port. Reset: the next beat is a record's first.
use super::answers::distance;
use super::job::{last, reported, WriteMaster, HEADER_BYTES};
use crate::prelude::*;
use crate::tcp::proto::op::RECORD_BEATS;

/// Beats of a write.
const BEATS_LOG2: usize = 2;
/// Bytes of a write.
const BYTES: u64 = 32;
/// log2 of them.
const BYTES_LOG2: u64 = BYTES.trailing_zeros() as u64;
const LAST_BEAT: u64 = RECORD_BEATS - 1;

/// The block. See the module page.
#[derive(LogicBlock, Default)]
pub struct RecordOut {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Synchronous, active high.
    pub reset: Signal<In, Bit>,
    /// Address of the command's first image; stable until its last record is out.
    pub base: Signal<In, Bits<64>>,
    /// Place of the record's image.
    pub index: Signal<In, Bits<16>>,
    /// A beat is offered.
    pub op_out_valid: Signal<In, Bit>,
    /// It is taken.
    pub op_out_ready: Signal<Out, Bit>,
    /// The beat.
    pub op_out: Signal<In, Bits<64>>,
    /// For the record.
    pub write: WriteMaster,
    count: Dff<Bits<6>>,
    chunk: Dff<Bits<192>>,
    /// Address of the record that goes out.
    body: Dff<Bits<64>>,
}

#[kernel]
impl Logic for RecordOut {
    fn update(&mut self) {
        dff_setup!(self, clock, count, chunk, body);
        let (count, beat) = (self.count.q.val(), self.op_out.val());
        let is_fourth = count.get_bits::<BEATS_LOG2>(0).all();
        let is_last = count == LAST_BEAT;
        let chunk = cat::<256, _>((beat, self.chunk.q.val()));
        let offset = bit_cast::<64, 4>(count.get_bits::<4>(BEATS_LOG2)) << BYTES_LOG2;
        let ready = !is_fourth || self.write.ready.val();
        self.op_out_ready.next = ready;
        self.write.valid.next = is_fourth && self.op_out_valid.val();
        let write = reported(self.body.q.val() + offset, bits::<16>(BYTES), chunk);
        self.write.cmd.next = if is_last { last(write) } else { write };
        if ready && self.op_out_valid.val() {
            self.count.d.next = if is_last { bits::<6>(0) } else { count + 1 };
            self.chunk.d.next = chunk.get_bits::<192>(64);
        }
        if count == 0 {
            self.body.d.next = self.base.val() + distance(self.index.val()) + HEADER_BYTES;
        }
        dff_reset!(self, reset, count);
    }
}
