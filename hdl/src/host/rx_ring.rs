//! Prefetch of ordinary receive buffers: the `RxDesc` ring in host memory, a few entries ahead.
//!
//! Reads bursts of up to 16 entries when half of the on-chip list is free; one burst is outstanding at a
//! time. A burst never crosses a 256-byte boundary or the end of the ring. Entries of a burst that got an error are not
//! taken; the same entries are read again later (the device's error bit is the read arbiter's affair).
//!
//! Latency: that of host memory. Throughput: one entry per clock within a burst. Back-pressure: stops when the list is
//! full. Reset: empty, index 0.
use crate::prelude::*;
use crate::stream::Fifo;
use crate::types::{ReadBeat, ReadReq};

/// log2 of the entries held on chip.
const HELD_LOG2: usize = 4;
const HELD: u64 = 1 << HELD_LOG2;
/// A burst is worth its while when so many entries fit.
const WORTH: u64 = HELD / 2;
/// Beats in a 256-byte block.
const BLOCK_BEATS: u64 = 32;

#[kernel]
fn least(a: Bits<17>, b: Bits<17>) -> Bits<17> {
    if a < b {
        a
    } else {
        b
    }
}

/// The prefetcher.
#[derive(LogicBlock, Default)]
pub struct RxRing {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Reset.
    pub reset: Signal<In, Bit>,
    /// `CTRL.enable`.
    pub enable: Signal<In, Bit>,
    /// Ring address.
    pub base: Signal<In, Bits<64>>,
    /// log2 of its entries.
    pub log2: Signal<In, Bits<4>>,
    /// The host's producer index.
    pub producer: Signal<In, Bits<16>>,
    /// A burst is to be read.
    pub read_valid: Signal<Out, Bit>,
    /// The burst.
    pub read: Signal<Out, ReadReq>,
    /// It is taken.
    pub read_ready: Signal<In, Bit>,
    /// The beat is ours.
    pub beat_valid: Signal<In, Bit>,
    /// The beat.
    pub beat: Signal<In, ReadBeat>,
    /// A buffer is there; it stays until taken.
    pub buffer_valid: Signal<Out, Bit>,
    /// Its address.
    pub buffer: Signal<Out, Bits<64>>,
    /// It is taken.
    pub buffer_ready: Signal<In, Bit>,
    /// No read is outstanding.
    pub idle: Signal<Out, Bit>,
    held: Fifo<Bits<64>, HELD_LOG2, { HELD_LOG2 + 1 }>,
    count: Dff<Bits<5>>,
    fetched: Dff<Bits<16>>,
    req: Dff<ReadReq>,
    asking: Dff<Bit>,
    waiting: Dff<Bit>,
    failed: Dff<Bit>,
}

/// Entries of the next burst: posted, fitting, within the block and before the ring's end.
#[kernel]
fn burst(posted: Bits<16>, room: Bits<5>, addr: Bits<64>, to_end: Bits<17>) -> Bits<6> {
    let to_block = bits::<17>(BLOCK_BEATS) - bit_cast::<17, _>(addr.get_bits::<5>(3));
    let a = least(bit_cast::<17, _>(posted), bit_cast::<17, _>(room));
    least(a, least(to_block, to_end)).get_bits::<6>(0)
}

#[kernel]
impl Logic for RxRing {
    fn update(&mut self) {
        dff_setup!(self, clock, count, fetched, req, asking, waiting, failed);
        clock!(self, clock, held);
        reset!(self, reset, held);
        let beat = self.beat.val();
        let mine = self.beat_valid.val();
        let good = mine && !beat.error && !self.failed.q.val();
        let taken = self.held.m_valid.val() && self.buffer_ready.val();
        self.held.s_valid.next = good;
        self.held.s_data.next = beat.data;
        self.held.m_ready.next = self.buffer_ready.val();
        self.buffer_valid.next = self.held.m_valid.val();
        self.buffer.next = self.held.m_data.val();
        self.read_valid.next = self.asking.q.val();
        self.read.next = self.req.q.val();
        self.idle.next = !self.asking.q.val() && !self.waiting.q.val();

        let fetched = self.fetched.q.val();
        let size = bits::<17>(1) << self.log2.val();
        let slot = bit_cast::<17, _>(fetched) & (size - 1);
        let addr = self.base.val() + cat::<64, _>((bits::<44>(0), slot, bits::<3>(0)));
        let room = bits::<5>(HELD) - self.count.q.val();
        let n = burst(self.producer.val() - fetched, room, addr, size - slot);
        if self.asking.q.val() {
            self.asking.d.next = !self.read_ready.val();
            self.waiting.d.next = self.read_ready.val();
        } else if !self.waiting.q.val() && self.enable.val() && room >= WORTH && n != 0 {
            self.asking.d.next = true;
            self.req.d.next = ReadReq { iova: addr, beats: n };
        };
        if good {
            self.fetched.d.next = fetched + 1;
        }
        if mine {
            self.failed.d.next = !beat.last && (self.failed.q.val() || beat.error);
            if beat.last {
                self.waiting.d.next = false;
            }
        }
        self.count.d.next = self.count.q.val() + good - bit_cast::<5, 1>(taken.into());
        dff_reset!(self, reset, count, fetched, req, asking, waiting, failed);
    }
}
