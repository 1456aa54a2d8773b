//! Reads the headers of a large frame: into the header words, and what [`super::large::seen`] finds in them.
//!
//! ```text
//!   start --> Plan <-> Ask -> Read -> Flush -> Settle -> Ready
//!              `---- bursts ---> beats --realigned--> words from the frame's third byte on --> [header words], LargeHeader
//! ```
//! At most 126 bytes are read and never a byte behind the frame; the last beat's rest is a word of its own. What stands
//! behind the headers is seen and written too, and means nothing.
//!
//! Latency: that of host memory for one or two bursts, and 8 clocks. Throughput: one large frame at a time. Back-pressure: none
//! on data. Reset: nothing in hand.
use crate::eth::tx::HEAD_WORDS_LOG2;
use crate::ip::tx_build::WORD_NO;
use crate::prelude::*;
use crate::stream::lanes::bytes_at;
use crate::tcp::tx::cut::cut;
use crate::tcp::tx::large::{seen, LargeHeader};
use crate::types::{ReadBeat, ReadReq};

/// What a slot holds of headers, bytes.
const HEAD_MAX: u64 = 126;
/// Number of the word that ends with the frame's first two bytes.
const BEFORE_FIRST: u64 = (1 << WORD_NO) - 1;

/// Where the block stands.
#[derive(Clone, Copy, Debug, PartialEq, LogicState)]
pub enum LargeHeadState {
    /// Nothing in hand.
    Idle,
    /// The next burst is cut.
    Plan,
    /// It is asked for.
    Ask,
    /// All are; beats are on their way.
    Read,
    /// The rest of the last beat is a word.
    Flush,
    /// The last word is seen.
    Settle,
    /// All is known.
    Ready,
}

/// Eight bytes of the headers.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Turned {
    /// There are some.
    pub valid: Bit,
    /// Their number, modulo 32; the greatest comes before 0.
    pub at: Bits<WORD_NO>,
    /// The bytes.
    pub data: Bits<64>,
}

/// The block. See the module page.
#[derive(LogicBlock, Default)]
pub struct LargeHead {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Synchronous, active high.
    pub reset: Signal<In, Bit>,
    /// Pulse: the headers of a frame are wanted.
    pub start: Signal<In, Bit>,
    /// Its address; stays until `ready`.
    pub addr: Signal<In, Bits<64>>,
    /// Its length, bytes.
    pub len: Signal<In, Bits<16>>,
    /// From `start` on until the last beat: the read client is ours.
    pub owns: Signal<Out, Bit>,
    /// Request offered.
    pub req_valid: Signal<Out, Bit>,
    /// It is taken.
    pub req_ready: Signal<In, Bit>,
    /// The request.
    pub req: Signal<Out, ReadReq>,
    /// `beat` is ours.
    pub beat_valid: Signal<In, Bit>,
    /// Read data.
    pub beat: Signal<In, ReadBeat>,
    /// Header words: write.
    pub we: Signal<Out, Bit>,
    /// Header words: address.
    pub waddr: Signal<Out, Bits<HEAD_WORDS_LOG2>>,
    /// Header words: word.
    pub wdata: Signal<Out, Bits<64>>,
    /// Pulse: `header` and `error` are those of the frame.
    pub ready: Signal<Out, Bit>,
    /// What is seen.
    pub header: Signal<Out, LargeHeader>,
    /// Some beat was an error.
    pub error: Signal<Out, Bit>,
    state: Dff<LargeHeadState>,
    /// Bursts that have not come.
    reads: Dff<Bits<2>>,
    at_addr: Dff<Bits<64>>,
    left: Dff<Bits<7>>,
    beats: Dff<Bits<6>>,
    bytes: Dff<Bits<7>>,
    beat_before: Dff<Bits<64>>,
    at: Dff<Bits<WORD_NO>>,
    turned: Dff<Turned>,
    seen: Dff<LargeHeader>,
    failed: Dff<Bit>,
}

/// The header with what eight bytes show.
#[kernel]
fn seen_both(h: LargeHeader, t: Turned) -> LargeHeader {
    let i = t.at.get_bits::<HEAD_WORDS_LOG2>(0);
    let first = seen(h, t.data.get_bits::<32>(0), cat::<WORD_NO, _>((i, bits::<1>(0))));
    let both = seen(first, t.data.get_bits::<32>(32), cat::<WORD_NO, _>((i, bits::<1>(1))));
    if t.at == BEFORE_FIRST {
        LargeHeader { start: t.data.get_bits::<16>(48), ..h }
    } else if t.at.get_bit(HEAD_WORDS_LOG2) {
        h
    } else {
        both
    }
}

#[kernel]
impl Logic for LargeHead {
    fn update(&mut self) {
        dff_setup!(
            self,
            clock,
            state,
            reads,
            at_addr,
            left,
            beats,
            bytes,
            beat_before,
            at,
            turned,
            seen,
            failed
        );
        let state = self.state.q.val();
        let asks = state == LargeHeadState::Ask;
        let addr = self.at_addr.q.val();
        let left = self.left.q.val();
        let bytes = self.bytes.q.val();
        let b = self.beat.val();
        let comes = self.beat_valid.val();
        self.owns.next = asks || state == LargeHeadState::Plan || state == LargeHeadState::Read;
        self.req_valid.next = asks;
        self.req.next =
            ReadReq { iova: cat::<64, _>((addr.get_bits::<61>(3), bits::<3>(0))), beats: self.beats.q.val() };
        let asked: Bits<1> = (asks && self.req_ready.val()).into();
        let came: Bits<1> = (comes && b.last).into();
        self.reads.d.next = self.reads.q.val() + bit_cast::<2, 1>(asked) - bit_cast::<2, 1>(came);

        // Beats become words that begin at the frame's third byte.
        let flush = state == LargeHeadState::Flush;
        let now = if flush { bits::<64>(0) } else { b.data };
        let at = self.at.q.val();
        let turn = self.addr.val().get_bits::<3>(0) + 2;
        let data = bytes_at(now, self.beat_before.q.val(), turn);
        self.turned.d.next = Turned { valid: flush || comes, at, data };
        if flush || comes {
            self.beat_before.d.next = now;
            self.at.d.next = at + 1;
            self.failed.d.next = self.failed.q.val() || (comes && b.error);
        }
        let t = self.turned.q.val();
        self.we.next = t.valid && !t.at.get_bit(HEAD_WORDS_LOG2);
        self.waddr.next = t.at.get_bits::<HEAD_WORDS_LOG2>(0);
        self.wdata.next = t.data;
        if t.valid {
            self.seen.d.next = seen_both(self.seen.q.val(), t);
        }
        self.ready.next = state == LargeHeadState::Ready;
        self.header.next = self.seen.q.val();
        self.error.next = self.failed.q.val();

        match state {
            LargeHeadState::Idle => {
                let first = self.addr.val();
                let len = self.len.val();
                self.at_addr.d.next = first;
                self.left.d.next = if len < HEAD_MAX { len.get_bits::<7>(0) } else { bits::<7>(HEAD_MAX) };
                // Word 0 is complete with the second beat, or with the third.
                let is_late = first.get_bits::<3>(0) >= 6;
                self.at.d.next =
                    if is_late { bits::<WORD_NO>(BEFORE_FIRST - 1) } else { bits::<WORD_NO>(BEFORE_FIRST) };
                self.failed.d.next = false;
                if self.start.val() {
                    self.seen.d.next = LargeHeader::default();
                    self.state.d.next = LargeHeadState::Plan;
                }
            }
            LargeHeadState::Plan => {
                let (beats, bytes) = cut(addr, bit_cast::<16, 7>(left));
                self.beats.d.next = beats;
                self.bytes.d.next = bytes.get_bits::<7>(0);
                self.state.d.next = LargeHeadState::Ask;
            }
            LargeHeadState::Ask => {
                if self.req_ready.val() {
                    self.at_addr.d.next = addr + bit_cast::<64, 7>(bytes);
                    self.left.d.next = left - bytes;
                    self.state.d.next =
                        if left == bytes { LargeHeadState::Read } else { LargeHeadState::Plan };
                }
            }
            LargeHeadState::Read => {
                if self.reads.q.val() == 0 {
                    self.state.d.next = LargeHeadState::Flush;
                }
            }
            LargeHeadState::Flush => self.state.d.next = LargeHeadState::Settle,
            LargeHeadState::Settle => self.state.d.next = LargeHeadState::Ready,
            LargeHeadState::Ready => self.state.d.next = LargeHeadState::Idle,
        }
        dff_reset!(self, reset, state, reads, turned);
    }
}
