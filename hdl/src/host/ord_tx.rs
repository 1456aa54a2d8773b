//! The ordinary TX ring: reads descriptors ahead, up to sixteen, and offers their frames to the transmitter.
//!
//! A descriptor whose length or checksum field does not fit is refused and counted (programmer's guide 2); one that cannot
//! be read is skipped: its frame is lost as on a wire, the bus error shows in STATUS. Both are offered all the same, with
//! `good` = 0: entries are done in the order of the ring.
//!
//! Latency: that of host memory from the producer register to `frame_valid`. Throughput: one descriptor per 2 clocks.
//! Back-pressure: an offer stays until `frame_ready`; `done` says that a frame's bytes were read. Reset: index 0.
use crate::mirror::TxDesc;
use crate::prelude::*;
use crate::stream::Fifo;
use crate::types::{ReadBeat, ReadReq};
use chimney_abi::desc::{TX_CSUM, TX_LOOPBACK, TX_LSO};
use chimney_abi::wire::ethernet;

/// log2 of the descriptors read ahead.
pub const AHEAD_LOG2: usize = 4;
const MIN_LEN: u64 = ethernet::HEADER_LEN as u64;
const MAX_LEN: u64 = ethernet::MAX_JUMBO_LEN as u64;
/// Beats of a descriptor.
const BEATS: u64 = TxDesc::BITS as u64 / 64;
const CSUM_BIT: usize = TX_CSUM.trailing_zeros() as usize;
const LOOPBACK_BIT: usize = TX_LOOPBACK.trailing_zeros() as usize;
const LSO_BIT: usize = TX_LSO.trailing_zeros() as usize;
/// Bytes of a checksum field.
const FIELD_LEN: u64 = 2;

/// A frame to send.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct OrdFrame {
    /// Address, IOVA, any alignment.
    pub addr: Bits<64>,
    /// Length, bytes, 14 to 9018; a large frame's 14 to 65535, a segment's of its payload alone.
    pub len: Bits<16>,
    /// 1 = fill in a checksum.
    pub csum: Bit,
    /// 1 = to the receive path.
    pub loopback: Bit,
    /// First byte summed.
    pub csum_start: Bits<8>,
    /// Place of the checksum field, bytes from the frame's start.
    pub csum_field: Bits<9>,
    /// 1 = a large frame, to be sent as segments.
    pub lso: Bit,
    /// With `lso`: payload bytes of a segment.
    pub mss: Bits<16>,
    /// 0 = it cannot be sent.
    pub good: Bit,
    /// 1 = because of what the descriptor says.
    pub bad: Bit,
}

/// The frame of a descriptor; `error` = it could not be read.
#[kernel]
pub fn frame_of(d: TxDesc, error: bool) -> OrdFrame {
    let csum = d.flags.get_bit(CSUM_BIT);
    let field = bit_cast::<9, 8>(d.csum_start) + bit_cast::<9, 8>(d.csum_offset);
    let fits = bit_cast::<16, 9>(field) + FIELD_LEN <= d.len;
    let lso = d.flags.get_bit(LSO_BIT);
    // What else a large frame must be is seen in its header.
    let whole = d.len <= MAX_LEN && (!csum || fits);
    let fine = d.len >= MIN_LEN && if lso { d.mss.any() } else { whole };
    OrdFrame {
        addr: d.addr,
        len: d.len,
        csum,
        loopback: d.flags.get_bit(LOOPBACK_BIT),
        csum_start: d.csum_start,
        csum_field: field,
        lso,
        mss: d.mss,
        good: fine && !error,
        bad: !fine && !error,
    }
}

/// The block.
#[derive(LogicBlock, Default)]
pub struct OrdTx {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Synchronous, active high.
    pub reset: Signal<In, Bit>,
    /// `CTRL.enable`.
    pub enable: Signal<In, Bit>,
    /// Ring address.
    pub base: Signal<In, Bits<64>>,
    /// log2 of ring entries, 1 to 15.
    pub log2: Signal<In, Bits<8>>,
    /// Producer index.
    pub producer: Signal<In, Bits<16>>,
    /// Entries done.
    pub consumer: Signal<Out, Bits<16>>,
    /// Pulse: `consumer` goes up with this clock.
    pub moved: Signal<Out, Bit>,
    /// Read client: request offered.
    pub req_valid: Signal<Out, Bit>,
    /// Read client: taken.
    pub req_ready: Signal<In, Bit>,
    /// Read client: the request.
    pub req: Signal<Out, ReadReq>,
    /// Read client: `beat` is for us.
    pub beat_valid: Signal<In, Bit>,
    /// Read data.
    pub beat: Signal<In, ReadBeat>,
    /// A frame is offered.
    pub frame_valid: Signal<Out, Bit>,
    /// The frame.
    pub frame: Signal<Out, OrdFrame>,
    /// It is taken.
    pub frame_ready: Signal<In, Bit>,
    /// Pulse: the bytes of the oldest frame taken were read.
    pub done: Signal<In, Bit>,
    /// Nothing in work.
    pub idle: Signal<Out, Bit>,
    frames: Fifo<OrdFrame, AHEAD_LOG2, { AHEAD_LOG2 + 1 }>,
    asks: Dff<Bit>,
    /// Offset of the next entry in the ring.
    slot: Dff<Bits<16>>,
    /// Entries asked for.
    asked: Dff<Bits<16>>,
    /// Entries taken by the transmitter.
    taken: Dff<Bits<16>>,
    /// Entries done.
    index: Dff<Bits<16>>,
    low: Dff<Bits<64>>,
    error: Dff<Bit>,
}

#[kernel]
impl Logic for OrdTx {
    fn update(&mut self) {
        dff_setup!(self, clock, asks, slot, asked, taken, index, low, error);
        clock!(self, clock, frames);
        reset!(self, reset, frames);
        let asked = self.asked.q.val();
        let asks = self.asks.q.val();
        let index = self.index.q.val();
        self.consumer.next = index;
        self.moved.next = self.done.val();
        self.index.d.next = index + self.done.val();
        self.idle.next = index == asked;

        // A request is asked for when there is room for its frame.
        let ahead = asked - self.taken.q.val();
        let some = self.enable.val() && self.producer.val() != asked && !ahead.get_bit(AHEAD_LOG2);
        self.req_valid.next = asks;
        self.req.next = ReadReq {
            iova: self.base.val() + cat::<64, _>((bits::<44>(0), self.slot.q.val(), bits::<4>(0))),
            beats: bits::<6>(BEATS),
        };
        if !asks && some {
            self.asks.d.next = true;
            self.slot.d.next = asked & ((bits::<16>(1) << self.log2.val()) - 1);
            self.asked.d.next = asked + 1;
        } else if asks && self.req_ready.val() {
            self.asks.d.next = false;
        }

        // Descriptors as they return.
        let b = self.beat.val();
        let comes = self.beat_valid.val();
        if comes {
            self.low.d.next = b.data;
            self.error.d.next = b.error && !b.last;
        }
        let whole = unpack::<TxDesc, 128>(cat::<128, _>((b.data, self.low.q.val())));
        self.frames.s_valid.next = comes && b.last;
        self.frames.s_data.next = frame_of(whole, b.error || self.error.q.val());
        self.frame_valid.next = self.frames.m_valid.val();
        self.frame.next = self.frames.m_data.val();
        self.frames.m_ready.next = self.frame_ready.val();
        let takes = self.frames.m_valid.val() && self.frame_ready.val();
        self.taken.d.next = self.taken.q.val() + takes;
        dff_reset!(self, reset, asks, asked, taken, index, error);
    }
}
