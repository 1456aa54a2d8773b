//! Segmentation offload of ordinary frames: a large frame becomes as many frames as it has pieces of MSS bytes (R-006).
//!
//! ```text
//!   OrdTx --frame--> Pass --------------- whole frames, as they are -------------> Head
//!                      `-> Look -> Judge -> Cut <-> Offer --pieces, Segment--------^
//!   read client <-- OrdTx | LargeHead --header words-------------------------------^
//! ```
//! The headers are read once, through the client that reads descriptors, between two of those; the payload is read by `Walk`
//! and `Cut`, piece after piece, like that of any frame. Each segment is a frame of its own for `Head`: frames of connections
//! go between them in turn, and nothing waits for a large frame but what stands behind it in the ring (law L5).
//!
//! Latency: none for whole frames; for the first segment that of host memory, of descriptors under way first, and 12 clocks.
//! Throughput: 2 clocks more per segment than `Head` takes. Back-pressure: as `Head`. Reset: nothing in hand.
use crate::eth::tx::HEAD_WORDS_LOG2;
use crate::host::ord_tx::{OrdFrame, AHEAD_LOG2};
use crate::prelude::*;
use crate::tcp::tx::item::MAX_LEN;
use crate::tcp::tx::large::{following, header_len, LargeHeader, Segment};
use crate::tcp::tx::large_head::LargeHead;
use crate::types::{ReadBeat, ReadReq};

/// Bits of the number of descriptors under way.
const READS: usize = AHEAD_LOG2 + 1;

/// Where the block stands.
#[derive(Clone, Copy, Debug, PartialEq, LogicState)]
pub enum LsoState {
    /// No large frame in hand.
    Pass,
    /// Its headers are read.
    Look,
    /// Can it be divided?
    Judge,
    /// It cannot: it is offered as what cannot be sent.
    Refuse,
    /// The next piece.
    Cut,
    /// It is offered.
    Offer,
}

/// The block. See the module page.
#[derive(LogicBlock, Default)]
pub struct Lso {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Synchronous, active high.
    pub reset: Signal<In, Bit>,
    /// The ring offers a frame.
    pub s_valid: Signal<In, Bit>,
    /// It is taken.
    pub s_ready: Signal<Out, Bit>,
    /// The frame.
    pub s_frame: Signal<In, OrdFrame>,
    /// The ring asks for a descriptor.
    pub ring_valid: Signal<In, Bit>,
    /// It is taken.
    pub ring_ready: Signal<Out, Bit>,
    /// The request.
    pub ring_req: Signal<In, ReadReq>,
    /// `beat` is a descriptor's.
    pub ring_beat: Signal<Out, Bit>,
    /// Read client: request offered.
    pub req_valid: Signal<Out, Bit>,
    /// Read client: taken.
    pub req_ready: Signal<In, Bit>,
    /// Read client: the request.
    pub req: Signal<Out, ReadReq>,
    /// Read client: `beat` is for us or the ring.
    pub beat_valid: Signal<In, Bit>,
    /// Read data.
    pub beat: Signal<In, ReadBeat>,
    /// Header words: write.
    pub we: Signal<Out, Bit>,
    /// Header words: address.
    pub waddr: Signal<Out, Bits<HEAD_WORDS_LOG2>>,
    /// Header words: word.
    pub wdata: Signal<Out, Bits<64>>,
    /// A frame is offered.
    pub frame_valid: Signal<Out, Bit>,
    /// It is taken.
    pub frame_ready: Signal<In, Bit>,
    /// The frame.
    pub frame: Signal<Out, OrdFrame>,
    /// What makes it a segment.
    pub segment: Signal<Out, Segment>,
    head: LargeHead,
    state: Dff<LsoState>,
    /// Descriptors asked for that have not come.
    reads: Dff<Bits<READS>>,
    addr: Dff<Bits<64>>,
    left: Dff<Bits<16>>,
    piece: Dff<Bits<16>>,
    fine: Dff<Bit>,
    /// Its headers could not be read: it is lost as on a wire, and nobody's mistake.
    unread: Dff<Bit>,
    next: Dff<Segment>,
}

/// A large frame with these headers can be divided.
#[kernel]
fn divisible(f: OrdFrame, h: LargeHeader) -> bool {
    let head = header_len(h);
    let longest = bit_cast::<17, 16>(f.mss) + bit_cast::<17, 7>(head);
    // A frame that ends before the length of its TCP header has shown none.
    !h.wrong && h.tcp_words.any() && bit_cast::<16, 7>(head) < f.len && longest <= MAX_LEN
}

#[kernel]
impl Logic for Lso {
    fn update(&mut self) {
        dff_setup!(self, clock, state, reads, addr, left, piece, fine, unread, next);
        clock!(self, clock, head);
        reset!(self, reset, head);
        let state = self.state.q.val();
        let f = self.s_frame.val();
        let s = self.next.q.val();
        let addr = self.addr.q.val();
        let left = self.left.q.val();
        let piece = self.piece.q.val();
        let waits = self.s_valid.val();
        let is_large = f.lso && f.good;

        // One client: descriptors, or headers when none of those is under way.
        let owns = self.head.owns.val();
        let asks = !owns && self.ring_valid.val();
        let comes = self.beat_valid.val();
        self.req_valid.next = asks || self.head.req_valid.val();
        self.req.next = if owns { self.head.req.val() } else { self.ring_req.val() };
        self.ring_ready.next = !owns && self.req_ready.val();
        self.head.req_ready.next = owns && self.req_ready.val();
        self.ring_beat.next = !owns && comes;
        self.head.beat_valid.next = owns && comes;
        self.head.beat.next = self.beat.val();
        let more: Bits<1> = (asks && self.req_ready.val()).into();
        let less: Bits<1> = (!owns && comes && self.beat.val().last).into();
        self.reads.d.next = self.reads.q.val() + bit_cast::<READS, 1>(more) - bit_cast::<READS, 1>(less);
        let starts = state == LsoState::Pass && waits && is_large && !asks && self.reads.q.val() == 0;
        self.head.start.next = starts;
        self.head.addr.next = f.addr;
        self.head.len.next = f.len;
        self.we.next = self.head.we.val();
        self.waddr.next = self.head.waddr.val();
        self.wdata.next = self.head.wdata.val();

        // Frames.
        let offers = state == LsoState::Offer;
        let refuses = state == LsoState::Refuse;
        let passes = state == LsoState::Pass && waits && !is_large;
        let taken = self.frame_ready.val();
        self.frame_valid.next = passes || offers || refuses;
        let part = OrdFrame { addr, len: piece, csum: true, csum_start: bits::<8>(0), ..f };
        let bad = f.bad || (refuses && !self.unread.q.val());
        self.frame.next = if offers { part } else { OrdFrame { good: f.good && !refuses, bad, ..f } };
        self.segment.next = Segment { valid: offers, ..s };
        self.s_ready.next = taken && (passes || refuses || (offers && s.ends));

        match state {
            LsoState::Pass => {
                if starts {
                    self.state.d.next = LsoState::Look;
                }
            }
            LsoState::Look => {
                let h = self.head.header.val();
                let head = header_len(h);
                self.next.d.next = Segment { valid: true, begins: true, ends: false, header: h };
                self.addr.d.next = f.addr + bit_cast::<64, 7>(head);
                self.left.d.next = f.len - bit_cast::<16, 7>(head);
                self.fine.d.next = divisible(f, h) && !self.head.error.val();
                self.unread.d.next = self.head.error.val();
                if self.head.ready.val() {
                    self.state.d.next = LsoState::Judge;
                }
            }
            LsoState::Judge => {
                self.state.d.next = if self.fine.q.val() { LsoState::Cut } else { LsoState::Refuse };
            }
            LsoState::Refuse => {
                if taken {
                    self.state.d.next = LsoState::Pass;
                }
            }
            LsoState::Cut => {
                let ends = left <= f.mss;
                self.piece.d.next = if ends { left } else { f.mss };
                self.next.d.next.ends = ends;
                self.state.d.next = LsoState::Offer;
            }
            LsoState::Offer => {
                if taken {
                    self.addr.d.next = addr + bit_cast::<64, 16>(piece);
                    self.left.d.next = left - piece;
                    self.next.d.next = Segment { begins: false, header: following(s.header, piece), ..s };
                    self.state.d.next = if s.ends { LsoState::Pass } else { LsoState::Cut };
                }
            }
        }
        dff_reset!(self, reset, state, reads);
    }
}
