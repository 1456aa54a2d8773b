//! Completions of ordinary frames: an entry of the ring for each, when the response for its bytes has come.
//!
//! ```text
//!   frame's bytes sent off --> pending --+--> entry of the oldest, once its response is here --> used + 1
//!   response for bytes ------> results --'
//! ```
//! After a bus error the entry says length 0. The interrupt cause `rx` is raised by the write response of an entry.
//!
//! Latency: an answered frame is seen 1 clock after its response. Throughput: one entry per clock. Back-pressure: `room`
//! is low while 16 frames wait for responses (bounded by the bus, not by the host). Reset: nothing waits, index 0.
use crate::mirror::RxDone;
use crate::prelude::*;
use crate::stream::Fifo;
use crate::types::{WriteCmd, WriteDone, TAG_BITS, WRITE_INLINE};

/// log2 of the ordinary frames whose bytes may be on their way.
const PENDING_LOG2: usize = 4;
/// Tag of a payload's report.
pub const TAG_PAYLOAD: u64 = 0;
/// Tag of a completion entry's report.
pub const TAG_ENTRY: u64 = 1;

/// An ordinary frame whose bytes are on their way.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Pending {
    /// Frame length, bytes.
    pub len: Bits<16>,
    /// `RX_*` verdicts.
    pub verdict: Bits<16>,
}

/// The block. See the module page.
#[derive(LogicBlock, Default)]
pub struct RxCompletions {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Reset.
    pub reset: Signal<In, Bit>,
    /// `RX_DONE_BASE`.
    pub base: Signal<In, Bits<64>>,
    /// `RING_SIZES.rx`.
    pub log2: Signal<In, Bits<4>>,
    /// The bytes of one more frame were sent off; only with `room`.
    pub push: Signal<In, Bit>,
    /// The frame.
    pub frame: Signal<In, Pending>,
    /// One more frame may be sent off.
    pub room: Signal<Out, Bit>,
    /// A frame's bytes, or an entry, are in host memory (or cannot be).
    pub done_valid: Signal<In, Bit>,
    /// Its report.
    pub done: Signal<In, WriteDone>,
    /// The oldest frame was answered: its entry can be written.
    pub answered: Signal<Out, Bit>,
    /// The command for the entry, with `answered`.
    pub cmd: Signal<Out, WriteCmd>,
    /// The command was taken.
    pub pop: Signal<In, Bit>,
    /// Entries written.
    pub used: Signal<Out, Bits<16>>,
    /// Pulse: an entry is in host memory.
    pub irq: Signal<Out, Bit>,
    /// No frame waits.
    pub idle: Signal<Out, Bit>,
    /// Frames, oldest first, until their entry is written.
    pending: Fifo<Pending, PENDING_LOG2, { PENDING_LOG2 + 1 }>,
    /// Whether the write of the oldest ones failed, as the responses came.
    results: Fifo<Bits<1>, PENDING_LOG2, { PENDING_LOG2 + 1 }>,
    count: Dff<Bits<16>>,
}

/// The completion entry of ring index `index`; a frame that could not be written has no bytes.
#[kernel]
pub fn completion(p: Pending, failed: bool, index: Bits<16>, log2: Bits<4>) -> RxDone {
    RxDone {
        len: if failed { bits::<16>(0) } else { p.len },
        flags: if failed { bits::<16>(0) } else { p.verdict },
        index,
        reserved: bits::<15>(0),
        phase: (!(index >> log2)).get_bits::<1>(0),
    }
}

/// The command for a completion entry; `ring` is the completion ring, `used` its index.
#[kernel]
fn entry_cmd(entry: RxDone, ring: Bits<64>, used: Bits<16>, log2: Bits<4>) -> WriteCmd {
    let slot = used & ((bits::<16>(1) << log2) - 1);
    WriteCmd {
        kind: bits::<2>(WRITE_INLINE),
        iova: ring + cat::<64, _>((bits::<45>(0), slot, bits::<3>(0))),
        len: bits::<16>(8),
        src: bits::<16>(0),
        free: bits::<16>(0),
        data: bit_cast::<256, _>(pack::<64, _>(entry)),
        notify: true,
        tag: bits::<TAG_BITS>(TAG_ENTRY),
    }
}

#[kernel]
impl Logic for RxCompletions {
    fn update(&mut self) {
        dff_setup!(self, clock, count);
        clock!(self, clock, pending, results);
        reset!(self, reset, pending, results);
        let (done, used, pop) = (self.done.val(), self.count.q.val(), self.pop.val());
        let for_entry = done.tag == TAG_ENTRY;
        self.room.next = self.pending.s_ready.val();
        self.idle.next = !self.pending.m_valid.val();
        self.used.next = used;
        self.irq.next = self.done_valid.val() && for_entry && !done.error;
        self.pending.s_valid.next = self.push.val();
        self.pending.s_data.next = self.frame.val();
        self.pending.m_ready.next = pop;
        self.results.s_valid.next = self.done_valid.val() && !for_entry;
        self.results.s_data.next = done.error.into();
        self.results.m_ready.next = pop;
        self.answered.next = self.results.m_valid.val();
        let failed = self.results.m_data.val().any();
        let entry = completion(self.pending.m_data.val(), failed, used, self.log2.val());
        self.cmd.next = entry_cmd(entry, self.base.val(), used, self.log2.val());
        self.count.d.next = used + pop;
        dff_reset!(self, reset, count);
    }
}
