//! Ordinary frames for the transmitter: the TX ring, and segmentation of its large frames.
//!
//! ```text
//!   TX_PRODUCER -> OrdTx --frame--> Lso --frame, Segment--> Head
//!                    `--- requests --^ `--header words--> [large] --^
//! ```
//! Wiring only; latency, throughput, back-pressure and reset are those of [`OrdTx`] and [`Lso`].
use crate::eth::tx::HEAD_WORDS_LOG2;
use crate::host::ord_tx::{OrdFrame, OrdTx};
use crate::mem::LutRam;
use crate::prelude::*;
use crate::tcp::tx::large::Segment;
use crate::tcp::tx::lso::Lso;
use crate::types::{ReadBeat, ReadReq};

/// The block. See the module page.
#[derive(LogicBlock, Default)]
pub struct Ordinary {
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
    /// What makes it a segment of a large frame.
    pub segment: Signal<Out, Segment>,
    /// Headers of the large frame: address.
    pub large_addr: Signal<In, Bits<HEAD_WORDS_LOG2>>,
    /// Headers of the large frame: words, in the same clock.
    pub large_words: Signal<Out, Bits<64>>,
    /// Pulse: the oldest entry taken is done.
    pub done: Signal<In, Bit>,
    /// Nothing in work.
    pub idle: Signal<Out, Bit>,
    ring: OrdTx,
    lso: Lso,
    words: LutRam<Bits<64>, HEAD_WORDS_LOG2>,
}

#[kernel]
impl Logic for Ordinary {
    fn update(&mut self) {
        clock!(self, clock, ring, lso, words);
        reset!(self, reset, ring, lso);
        self.ring.enable.next = self.enable.val();
        self.ring.base.next = self.base.val();
        self.ring.log2.next = self.log2.val();
        self.ring.producer.next = self.producer.val();
        self.ring.done.next = self.done.val();
        self.consumer.next = self.ring.consumer.val();
        self.moved.next = self.ring.moved.val();
        self.idle.next = self.ring.idle.val();

        // The read client is shared.
        self.lso.ring_valid.next = self.ring.req_valid.val();
        self.lso.ring_req.next = self.ring.req.val();
        self.ring.req_ready.next = self.lso.ring_ready.val();
        self.req_valid.next = self.lso.req_valid.val();
        self.req.next = self.lso.req.val();
        self.lso.req_ready.next = self.req_ready.val();
        self.lso.beat_valid.next = self.beat_valid.val();
        self.lso.beat.next = self.beat.val();
        self.ring.beat_valid.next = self.lso.ring_beat.val();
        self.ring.beat.next = self.beat.val();

        // Frames, and the headers of the large one in hand.
        self.lso.s_valid.next = self.ring.frame_valid.val();
        self.lso.s_frame.next = self.ring.frame.val();
        self.ring.frame_ready.next = self.lso.s_ready.val();
        self.frame_valid.next = self.lso.frame_valid.val();
        self.frame.next = self.lso.frame.val();
        self.segment.next = self.lso.segment.val();
        self.lso.frame_ready.next = self.frame_ready.val();
        self.words.we.next = self.lso.we.val();
        self.words.waddr.next = self.lso.waddr.val();
        self.words.wdata.next = self.lso.wdata.val();
        self.words.raddr.next = self.large_addr.val();
        self.large_words.next = self.words.rdata.val();
    }
}
