//! The hash of every received frame's 4-tuple, made while its header passes; and of others, word by word, in the clocks between.
//!
//! ```text
//!   two words of a beat --+-> [queue of 16] -+-one word per clock--> T --> hash, when the key is whole
//!                         `-- when empty: ---'                       ^
//!                             past it        words of others, low priority
//! ```
//! The words of the key are found by their place in the datagram alone, so the hash is the same in every framing, and it is there before
//! anybody knows what becomes of the frame: ends of kept frames come through the same queue, so whoever listens knows whose a hash was.
//!
//! A beat brings two words and T takes one per clock, so the queue fills for some clocks; IPv6 segments need at least ten beats and
//! 9 clocks of T. What is shorter cannot be a segment, but could crowd the queue: then words are left out, and the frame's hash
//! is `lost` (law L4: such a frame goes up). Ends of frames always find room: they are 4 clocks apart, and the
//! queue takes no words above 12.
//!
//! Latency: 4 clocks from the beat with the ports to the hash of an untagged IPv4 frame, 7 for IPv6, with the first of these the one in which the
//! beat comes in from the wire. Throughput: one word per clock. Back-pressure: none. Reset: empty.
use super::sbox::SBoxes;
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
    /// It ends here.
    pub last: Bit,
    /// A kept frame ends here.
    pub end: Bit,
    /// With `end`: words are missing.
    pub lost: Bit,
}

/// The hash of a frame's key.
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
    let (first, ports) = if w.place.on_v6 {
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
        last: w.place.on && (n == ports || next == ports),
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
    /// Pulse: the first word of a key was taken.
    pub begun: Signal<Out, Bit>,
    /// Pulse: a whole key is hashed.
    pub hashed: Signal<Out, Bit>,
    /// With `hashed`: its hash.
    pub key_hash: Signal<Out, Bits<32>>,
    /// Pulse: a kept frame is through.
    pub ended: Signal<Out, Bit>,
    /// With `ended`: words of its key are missing.
    pub ended_lost: Signal<Out, Bit>,
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
    lost: Dff<Bit>,
    second: Dff<Bit>,
    mixed: Dff<Bit>,
    h: Dff<Bits<32>>,
    starts: Dff<Bit>,
    whole: Dff<Bit>,
    ends: Dff<Bit>,
    ends_lost: Dff<Bit>,
}

#[kernel]
impl Logic for FlowHash {
    fn update(&mut self) {
        dff_setup!(self, clock, lost, second, mixed, h, starts, whole, ends, ends_lost);
        clock!(self, clock, boxes, queue);
        reset!(self, reset, boxes, queue);
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
        let new = Token {
            use_lo: has && !crowded && new.use_lo,
            use_hi: has && !crowded && new.use_hi,
            end,
            lost,
            ..new
        };
        // Past an empty queue; a second word is left for the next clock.
        let waits = self.queue.m_valid.val();
        let past = has && !waits && !end;
        let two = new.use_lo && new.use_hi;
        self.queue.s_valid.next = if past { two } else { has && !crowded || end };
        self.queue.s_data.next = Token { use_lo: new.use_lo && !past, first: new.first && !past, ..new };

        // Words go to T.
        let t = if waits { self.queue.m_data.val() } else { new };
        let here = waits || past;
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
        self.second.d.next = waits && !done;
        self.mixed.d.next = mixes;
        self.h.d.next = h;

        // A key, a frame is through.
        self.starts.d.next = mixes && begins;
        self.whole.d.next = mixes && done && t.last && !t.lost;
        self.ends.d.next = done && t.end;
        self.ends_lost.d.next = t.lost;
        self.begun.next = self.starts.q.val();
        self.hashed.next = self.whole.q.val();
        self.key_hash.next = self.boxes.y.val();
        self.ended.next = self.ends.q.val();
        self.ended_lost.next = self.ends_lost.q.val();
        dff_reset!(self, reset, lost, second, mixed, starts, whole, ends);
    }
}
