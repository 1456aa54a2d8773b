//! A new connection's page map, from host memory to PROTO. Only one with out-of-order ranges has pages in it, so only then it is read.
//!
//! All entries are read before PROTO hears of the connection: it never waits for host memory with other commands behind
//! it (law L5), and a connection whose map could not be read whole is not seen at all.
//!
//! Latency: the DMA of 32 beats. Throughput: one beat per clock to PROTO. Back-pressure: waits for PROTO. Reset: nothing in work.
use super::job::{Run, RunBeat};
use crate::prelude::*;
use crate::stream::RamFifo;
use chimney_abi::desc;

/// Beats of a page map.
pub const MAP_BEATS: u64 = desc::PAGE_SLOTS as u64;
const PAGE_MAP_SHIFT: u64 = desc::PAGE_MAP_STRIDE.trailing_zeros() as u64;
/// log2 of the beats that fit.
const HELD_LOG2: usize = 7;

/// The block. See the module page.
#[derive(LogicBlock, Default)]
pub struct MapIn {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Synchronous, active high.
    pub reset: Signal<In, Bit>,
    /// Pulse: read the map of `conn`. What is left of the last one is forgotten.
    pub go: Signal<In, Bit>,
    /// Connection id.
    pub conn: Signal<In, Bits<16>>,
    /// Page map table.
    pub base: Signal<In, Bits<64>>,
    /// Pulse: all is read.
    pub done: Signal<Out, Bit>,
    /// With `done`: some beat came with an error response; no beat is kept.
    pub error: Signal<Out, Bit>,
    /// To the reader.
    pub run: Signal<Out, Run>,
    /// From the reader.
    pub news: Signal<In, RunBeat>,
    /// A beat is there.
    pub valid: Signal<Out, Bit>,
    /// It is taken.
    pub ready: Signal<In, Bit>,
    /// The beat.
    pub beat: Signal<Out, Bits<64>>,
    beats: RamFifo<Bits<64>, HELD_LOG2, { HELD_LOG2 + 1 }>,
    reads: Dff<Bit>,
}

#[kernel]
impl Logic for MapIn {
    fn update(&mut self) {
        dff_setup!(self, clock, reads);
        clock!(self, clock, beats);
        let (reads, news, go) = (self.reads.q.val(), self.news.val(), self.go.val());
        let ends = reads && news.done;
        self.run.next = Run {
            start: go,
            iova: self.base.val() + (bit_cast::<64, 16>(self.conn.val()) << PAGE_MAP_SHIFT),
            beats: bits::<7>(MAP_BEATS),
        };
        self.done.next = ends;
        self.error.next = news.error;
        self.beats.reset.next = self.reset.val() || go || ends && news.error;
        self.beats.s_valid.next = reads && news.valid;
        self.beats.s_data.next = news.data;
        self.beats.m_ready.next = self.ready.val();
        self.valid.next = self.beats.m_valid.val();
        self.beat.next = self.beats.m_data.val();
        if go {
            self.reads.d.next = true;
        } else if ends {
            self.reads.d.next = false;
        }
        dff_reset!(self, reset, reads);
    }
}
