//! The hash of every received frame's 4-tuple, made while its header passes; and of others, word by word, in the clocks between.
//!
//! ```text
//!   two words of a beat --> [queue of 16] --one word per clock--> T --> h    end of a kept frame: h --> [list of 32]
//!                                        words of others, low priority --^
//! ```
//! The words of the key are found by their place in the datagram alone, so the hash is the same in every framing. Each kept
//! frame gives one result, in order; only that of a candidate (a whole header of TCP) means something.
//!
//! A beat brings two words and T takes one per clock, so the queue fills for some clocks; IPv6 segments need at least ten beats and
//! 9 clocks of T. What is shorter cannot be a segment, but could crowd the queue: then words are left out, and the frame's result is
//! not `ok` (law L4: such a frame goes up). Ends of frames always find room: they are 4 clocks apart, and the
//! queue takes no words above 12.
//!
//! Latency: the result of a smallest IPv4 frame comes before its description, that of the smallest IPv6 frame one or two clocks after it.
//! Throughput: one word per clock. Back-pressure: none; not more kept frames than the list holds may wait. Reset: empty.
use super::sbox::SBoxes;
use crate::eth::rx_stream::METAS_LOG2;
use crate::ip::rx_parse::Words;
use crate::prelude::*;
use crate::stream::Fifo;
use chimney_abi::wire::{ipv4, ipv6};

/// log2 of the beats that may wait for T.
const QUEUE_LOG2: usize = 4;
/// From this level on words are left out.
const CROWDED: u64 = 12;
/// Words of the IP header: the first address, and the ports after the second one.
const V4_FIRST: u64 = ipv4::SRC as u64 / 4;
const V4_PORTS: u64 = ipv4::HEADER_LEN as u64 / 4;
const V6_FIRST: u64 = ipv6::SRC as u64 / 4;
const V6_PORTS: u64 = ipv6::HEADER_LEN as u64 / 4;

// The words in between are the two addresses.
const _: () = assert!(V4_PORTS == V4_FIRST + 2 && V6_PORTS == V6_FIRST + 8);

/// What a beat has for the hash.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Token {
    /// First word.
    pub lo: Bits<32>,
    /// Second word.
    pub hi: Bits<32>,
    /// The first one counts.
    pub use_lo: Bit,
    /// The second one counts.
    pub use_hi: Bit,
    /// A key begins here.
    pub first: Bit,
    /// A kept frame ends here.
    pub end: Bit,
    /// With `end`: words are missing.
    pub lost: Bit,
}

/// The hash of a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Hashed {
    /// The hash.
    pub hash: Bits<32>,
    /// No word is missing.
    pub ok: Bit,
}

/// The words of the key in a beat.
#[kernel]
fn key_words(w: Words) -> Token {
    let n = w.place.n;
    let (first, ports) = if w.place.is_v6 {
        (bits::<6>(V6_FIRST), bits::<6>(V6_PORTS))
    } else {
        (bits::<6>(V4_FIRST), bits::<6>(V4_PORTS))
    };
    let next = n + 1;
    Token {
        lo: w.lo,
        hi: w.hi,
        use_lo: w.place.on && n >= first && n <= ports,
        use_hi: w.place.on && next >= first && next <= ports,
        first: w.place.on && (n == first || next == first),
        end: false,
        lost: false,
    }
}

/// The block. See the module page.
#[derive(LogicBlock, Default)]
pub struct FlowHash {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Reset.
    pub reset: Signal<In, Bit>,
    /// See [`SBoxes::enable`].
    pub enable: Signal<In, Bit>,
    /// See [`SBoxes::key`].
    pub key: Signal<In, Bits<64>>,
    /// Hashes mean something: words of others are taken.
    pub filled: Signal<Out, Bit>,
    /// A beat is there.
    pub beat_valid: Signal<In, Bit>,
    /// Its words.
    pub words: Signal<In, Words>,
    /// It is the last one of a kept frame.
    pub commit: Signal<In, Bit>,
    /// A frame's hash is there.
    pub hash_valid: Signal<Out, Bit>,
    /// The hash of the oldest frame.
    pub hashed: Signal<Out, Hashed>,
    /// It is taken.
    pub hash_ready: Signal<In, Bit>,
    /// T of a word is wanted.
    pub mix_valid: Signal<In, Bit>,
    /// It is looked up in this clock.
    pub mix_ready: Signal<Out, Bit>,
    /// The word.
    pub mix_x: Signal<In, Bits<32>>,
    /// T of it, in the clock after.
    pub mix_y: Signal<Out, Bits<32>>,
    boxes: SBoxes,
    queue: Fifo<Token, QUEUE_LOG2, { QUEUE_LOG2 + 1 }>,
    results: Fifo<Hashed, METAS_LOG2, { METAS_LOG2 + 1 }>,
    lost: Dff<Bit>,
    second: Dff<Bit>,
    mixed: Dff<Bit>,
    h: Dff<Bits<32>>,
    ended: Dff<Bit>,
    ended_lost: Dff<Bit>,
}

#[kernel]
impl Logic for FlowHash {
    fn update(&mut self) {
        dff_setup!(self, clock, lost, second, mixed, h, ended, ended_lost);
        clock!(self, clock, boxes, queue, results);
        reset!(self, reset, boxes, queue, results);
        self.boxes.enable.next = self.enable.val();
        self.boxes.key.next = self.key.val();
        self.filled.next = self.boxes.filled.val();

        // Beats come in.
        let new = key_words(self.words.val());
        let crowded = self.queue.level.val() >= CROWDED;
        let has = self.beat_valid.val() && (new.use_lo || new.use_hi);
        let end = self.beat_valid.val() && self.commit.val();
        let lost = if has { crowded || self.lost.q.val() && !new.first } else { self.lost.q.val() };
        self.lost.d.next = lost;
        self.queue.s_valid.next = has && !crowded || end;
        self.queue.s_data.next = Token {
            use_lo: has && !crowded && new.use_lo,
            use_hi: has && !crowded && new.use_hi,
            end,
            lost,
            ..new
        };

        // Words go to T.
        let t = self.queue.m_data.val();
        let here = self.queue.m_valid.val();
        let in_lo = t.use_lo && !self.second.q.val();
        let in_hi = t.use_hi && !in_lo;
        let mixes = here && (in_lo || in_hi);
        let h = if self.mixed.q.val() { self.boxes.y.val() } else { self.h.q.val() };
        let begins = t.first && (in_lo || !t.use_lo);
        let from = if begins { bits::<32>(0) } else { h };
        let word = if in_lo { t.lo } else { t.hi };
        let other = self.mix_valid.val() && self.boxes.filled.val();
        self.boxes.re.next = mixes || other;
        self.boxes.x.next = if mixes { from ^ word } else { self.mix_x.val() };
        self.mix_ready.next = self.boxes.filled.val() && !mixes;
        self.mix_y.next = self.boxes.y.val();
        let done = here && !(in_lo && t.use_hi);
        self.queue.m_ready.next = done;
        self.second.d.next = here && !done;
        self.mixed.d.next = mixes;
        self.h.d.next = h;

        // A frame is through.
        self.ended.d.next = done && t.end;
        self.ended_lost.d.next = t.lost;
        self.results.s_valid.next = self.ended.q.val();
        self.results.s_data.next = Hashed { hash: h, ok: !self.ended_lost.q.val() };
        self.hash_valid.next = self.results.m_valid.val();
        self.hashed.next = self.results.m_data.val();
        self.results.m_ready.next = self.hash_ready.val();
        dff_reset!(self, reset, lost, second, mixed, ended);
    }
}
