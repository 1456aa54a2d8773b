//! The ordinary TX ring: fetches one descriptor at a time and offers its frame to the transmitter.
//!
//! A descriptor whose length or checksum field does not fit is skipped and counted (programmer's guide 2); one that cannot
//! be read is skipped: its frame is lost as on a wire, the bus error shows in STATUS.
//!
//! Latency: that of host memory from the producer register to `frame_valid`. Throughput: one descriptor per frame.
//! Back-pressure: the offer stays until `frame_ready`, which also says that the frame's bytes were read. Reset: index 0.
use crate::mirror::TxDesc;
use crate::prelude::*;
use crate::types::{ReadBeat, ReadReq};
use chimney_abi::desc::{RX_BUFFER_BYTES, TX_CSUM, TX_LOOPBACK};
use chimney_abi::wire::ethernet;

const MIN_LEN: u64 = ethernet::HEADER_LEN as u64;
const MAX_LEN: u64 = RX_BUFFER_BYTES as u64;
/// Beats of a descriptor.
const BEATS: u64 = TxDesc::BITS as u64 / 64;
const CSUM_BIT: usize = TX_CSUM.trailing_zeros() as usize;
const LOOPBACK_BIT: usize = TX_LOOPBACK.trailing_zeros() as usize;
/// Bytes of a checksum field.
const FIELD_LEN: u64 = 2;

/// Where the block stands.
#[derive(Clone, Copy, Debug, PartialEq, LogicState)]
pub enum OrdTxState {
    /// Nothing to do.
    Idle,
    /// The descriptor's request is offered.
    Ask,
    /// The descriptor is on its way.
    Wait,
    /// It is here.
    Offer,
}

/// A frame to send.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct OrdFrame {
    /// Address, IOVA, any alignment.
    pub addr: Bits<64>,
    /// Length, bytes, 14 to 2048.
    pub len: Bits<16>,
    /// 1 = fill in a checksum.
    pub csum: Bit,
    /// 1 = to the receive path.
    pub loopback: Bit,
    /// First byte summed.
    pub csum_start: Bits<8>,
    /// Place of the checksum field, bytes from the frame's start.
    pub csum_field: Bits<9>,
}

/// The frame of a descriptor.
#[kernel]
pub fn frame_of(d: TxDesc) -> OrdFrame {
    OrdFrame {
        addr: d.addr,
        len: d.len,
        csum: d.flags.get_bit(CSUM_BIT),
        loopback: d.flags.get_bit(LOOPBACK_BIT),
        csum_start: d.csum_start,
        csum_field: bit_cast::<9, 8>(d.csum_start) + bit_cast::<9, 8>(d.csum_offset),
    }
}

/// A frame that can be sent.
#[kernel]
pub fn is_good(f: OrdFrame) -> bool {
    let fits = bit_cast::<16, 9>(f.csum_field) + FIELD_LEN <= f.len;
    f.len >= MIN_LEN && f.len <= MAX_LEN && (!f.csum || fits)
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
    /// Its bytes were read.
    pub frame_ready: Signal<In, Bit>,
    /// Pulse: a descriptor was refused.
    pub bad: Signal<Out, Bit>,
    /// Nothing in work.
    pub idle: Signal<Out, Bit>,
    state: Dff<OrdTxState>,
    index: Dff<Bits<16>>,
    low: Dff<Bits<64>>,
    offered: Dff<OrdFrame>,
    error: Dff<Bit>,
}

#[kernel]
impl Logic for OrdTx {
    fn update(&mut self) {
        dff_setup!(self, clock, state, index, low, offered, error);
        let state = self.state.q.val();
        let index = self.index.q.val();
        let f = self.offered.q.val();
        let slot = index & ((bits::<16>(1) << self.log2.val()) - 1);
        let good = is_good(f) && !self.error.q.val();
        let offer = state == OrdTxState::Offer;
        self.consumer.next = index;
        self.req_valid.next = state == OrdTxState::Ask;
        self.req.next = ReadReq {
            iova: self.base.val() + cat::<64, _>((bits::<44>(0), slot, bits::<4>(0))),
            beats: bits::<6>(BEATS),
        };
        self.frame_valid.next = offer && good;
        self.frame.next = f;
        self.bad.next = offer && !is_good(f) && !self.error.q.val();
        self.idle.next = state == OrdTxState::Idle;
        let moved = offer && (!good || self.frame_ready.val());
        self.moved.next = moved;
        match state {
            OrdTxState::Idle => {
                if self.enable.val() && self.producer.val() != index {
                    self.state.d.next = OrdTxState::Ask;
                    self.error.d.next = false;
                }
            }
            OrdTxState::Ask => {
                if self.req_ready.val() {
                    self.state.d.next = OrdTxState::Wait;
                }
            }
            OrdTxState::Wait => {
                if self.beat_valid.val() {
                    let b = self.beat.val();
                    self.low.d.next = b.data;
                    self.error.d.next = self.error.q.val() || b.error;
                    if b.last {
                        let whole = cat::<128, _>((b.data, self.low.q.val()));
                        self.offered.d.next = frame_of(unpack::<TxDesc, 128>(whole));
                        self.state.d.next = OrdTxState::Offer;
                    }
                }
            }
            OrdTxState::Offer => {
                if moved {
                    self.index.d.next = index + 1;
                    self.state.d.next = OrdTxState::Idle;
                }
            }
        }
        dff_reset!(self, reset, state, index, error);
    }
}
