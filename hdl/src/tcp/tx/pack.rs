//! Pack: beats of host memory become words of the frame buffer.
//!
//! ```text
//!   beat --rotate--> | bytes kept from the last beat | bytes of this one | --> word, byte enables --> frame buffer
//!                    0 ............... fill - 1      fill ........... 7    `--> sum (one clock later)
//! ```
//! Bytes of any alignment are put behind each other from byte `at` of the frame on; a word is written when it is full, the
//! last one by `flush`. Bytes before `at` are never written: the header is put there by others. The sum is
//! the Internet checksum's over all bytes from `sum_from` on, in lane order.
//!
//! Latency: none from a beat to its word; 2 clocks to the sum. Throughput: one beat per clock. Back-pressure: `room` limits
//! the bursts that are asked for. Reset state: no burst expected.
use crate::eth::tx::FRAME_LOG2;
use crate::ip::checksum::{lane_sum, SUM_BITS};
use crate::prelude::*;
use crate::stream::lanes::{keep_of, mask_bytes, rotate_bytes};
use crate::stream::Fifo;
use crate::tcp::tx::fetch::Burst;
use crate::types::ReadBeat;

/// log2 of the bursts in flight.
const BURSTS_LOG2: usize = 4;

/// The block.
#[derive(LogicBlock, Default)]
pub struct Pack {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Synchronous, active high.
    pub reset: Signal<In, Bit>,
    /// A new frame; no burst is expected.
    pub start: Signal<In, Bit>,
    /// With `start`: place of the first byte, bytes from the frame's start.
    pub at: Signal<In, Bits<8>>,
    /// With `start`: first byte that is summed.
    pub sum_from: Signal<In, Bits<8>>,
    /// A burst was asked for.
    pub burst_valid: Signal<In, Bit>,
    /// The burst.
    pub burst: Signal<In, Burst>,
    /// Another burst may be asked for.
    pub room: Signal<Out, Bit>,
    /// `beat` is ours.
    pub beat_valid: Signal<In, Bit>,
    /// Read data.
    pub beat: Signal<In, ReadBeat>,
    /// Write what is left; only when `empty`.
    pub flush: Signal<In, Bit>,
    /// Frame buffer: byte enables.
    pub we: Signal<Out, Bits<8>>,
    /// Frame buffer: word.
    pub waddr: Signal<Out, Bits<FRAME_LOG2>>,
    /// Frame buffer: data.
    pub wdata: Signal<Out, Bits<64>>,
    /// No burst is expected.
    pub empty: Signal<Out, Bit>,
    /// A beat of this frame was an error.
    pub error: Signal<Out, Bit>,
    /// The sum of what was written up to two clocks ago.
    pub sum: Signal<Out, Bits<SUM_BITS>>,
    bursts: Fifo<Burst, BURSTS_LOG2, { BURSTS_LOG2 + 1 }>,
    in_burst: Dff<Bit>,
    left: Dff<Bits<9>>,
    fill: Dff<Bits<3>>,
    low: Dff<Bits<3>>,
    word: Dff<Bits<FRAME_LOG2>>,
    carry: Dff<Bits<64>>,
    from: Dff<Bits<8>>,
    adding: Dff<Bit>,
    add: Dff<Bits<64>>,
    acc: Dff<Bits<SUM_BITS>>,
    is_error: Dff<Bit>,
}

/// The bytes of word `word` at or behind byte `from` of the frame.
#[kernel]
fn summed(word: Bits<FRAME_LOG2>, from: Bits<8>) -> Bits<8> {
    let first = bit_cast::<FRAME_LOG2, 5>(from.get_bits(3));
    if word > first {
        bits::<8>(0xff)
    } else if word == first {
        !keep_of(bit_cast::<4, 3>(from.get_bits(0)))
    } else {
        bits::<8>(0)
    }
}

#[kernel]
impl Logic for Pack {
    fn update(&mut self) {
        dff_setup!(self, clock, in_burst, left, fill, low, word, carry, from, adding, add, acc, is_error);
        clock!(self, clock, bursts);
        reset!(self, reset, bursts);
        let b = self.beat.val();
        let take = self.beat_valid.val();
        let info = self.bursts.m_data.val();
        self.bursts.s_valid.next = self.burst_valid.val();
        self.bursts.s_data.next = self.burst.val();
        self.bursts.m_ready.next = take && b.last;
        self.room.next = self.bursts.s_ready.val();
        self.empty.next = !self.bursts.m_valid.val();
        self.error.next = self.is_error.q.val();
        self.sum.next = self.acc.q.val();

        // The bytes of this beat: `skip` to `skip + n`.
        let fill = self.fill.q.val();
        let skip = if self.in_burst.q.val() { bits::<3>(0) } else { info.skip };
        let left = if self.in_burst.q.val() { self.left.q.val() } else { info.len };
        let most = bits::<4>(8) - bit_cast::<4, 3>(skip);
        let n = if left < bit_cast::<9, 4>(most) { left.get_bits::<4>(0) } else { most };
        let end = bit_cast::<5, 3>(fill) + bit_cast::<5, 4>(n);
        let full = end >= 8;

        // The word: what was kept below `fill`, this beat above.
        let kept = keep_of(bit_cast::<4, 3>(fill));
        let turned = rotate_bytes(b.data, fill - skip);
        let word = mask_bytes(self.carry.q.val(), kept) | mask_bytes(turned, !kept);
        let flush = self.flush.val();
        let body = !keep_of(bit_cast::<4, 3>(self.low.q.val()));
        let lanes = if flush { kept & body } else { body };
        let write = flush || (take && full);
        self.we.next = if write { lanes } else { bits::<8>(0) };
        self.waddr.next = self.word.q.val();
        self.wdata.next = word;
        self.adding.d.next = write;
        if write {
            self.add.d.next = mask_bytes(word, lanes & summed(self.word.q.val(), self.from.q.val()));
            self.word.d.next = self.word.q.val() + 1;
            self.low.d.next = bits::<3>(0);
        }
        if self.adding.q.val() {
            self.acc.d.next = self.acc.q.val() + bit_cast::<SUM_BITS, 18>(lane_sum(self.add.q.val()));
        }
        if take {
            self.in_burst.d.next = !b.last;
            self.left.d.next = left - bit_cast::<9, 4>(n);
            self.fill.d.next = end.get_bits::<3>(0);
            self.carry.d.next = if full { turned } else { word };
            if b.error {
                self.is_error.d.next = true;
            }
        }
        if self.start.val() {
            self.fill.d.next = self.at.val().get_bits::<3>(0);
            self.low.d.next = self.at.val().get_bits::<3>(0);
            self.word.d.next = bit_cast::<FRAME_LOG2, 5>(self.at.val().get_bits(3));
            self.from.d.next = self.sum_from.val();
            self.acc.d.next = bits::<SUM_BITS>(0);
            self.is_error.d.next = false;
        }
        dff_reset!(self, reset, in_burst, adding, is_error);
    }
}
