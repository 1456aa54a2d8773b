//! TCP options in any order and at any byte, eight bytes a clock: timestamps (RFC 7323) and up to four SACK blocks
//! (RFC 2018); the others are skipped by their length.
//!
//! ```text
//!   clock 0: for each byte of a word, what would follow if an option began there (`scan_word`)
//!   clock 1: where options do begin: through `lo`, then through `hi`           (`walk`)
//!   clock 2: eight bytes of a body are whole: into the timestamps or a block   (`TcpOptions`)
//! ```
//! Several timestamps: the last ones count; several SACK options: one after the other, which cannot be more than four blocks. A
//! malformed list ends where it makes no sense, and what was seen before counts, as in `host-stack/core`. (Such a frame must
//! not go up: the host would forward it back, R-239, and a hostile peer could keep both busy with one segment for ever.)
//!
//! The bodies that matter are multiples of eight bytes, so in a beat at most one group of eight becomes whole, and always in
//! the beat after its first byte: one shifter over two beats serves all.
//!
//! Latency: [`RxOptions::options`] is right 3 clocks after the last beat, until the next frame's first beat is 3 clocks old.
//! Throughput: one beat per clock. Back-pressure: none. Reset: not needed.
use crate::ip::checksum::be32;
use crate::ip::rx_parse::Words;
use crate::prelude::*;
use chimney_abi::wire::tcp;

const END: u64 = tcp::OPT_END as u64;
const NOP: u64 = tcp::OPT_NOP as u64;
const TIMESTAMPS: u64 = tcp::OPT_TIMESTAMPS as u64;
const SACK: u64 = tcp::OPT_SACK as u64;
const TIMESTAMPS_LEN: u64 = tcp::OPT_TIMESTAMPS_LEN as u64;
const MAX_LEN: u64 = tcp::MAX_OPTIONS_LEN as u64;
/// Word of the TCP header at which options begin.
const FIRST: u64 = tcp::HEADER_LEN as u64 / 4;

/// What the options of a segment say.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct TcpOptions {
    /// 1 = timestamps.
    pub has_ts: Bit,
    /// TSval.
    pub ts_val: Bits<32>,
    /// TSecr.
    pub ts_ecr: Bits<32>,
    /// Number of SACK blocks.
    pub sack_count: Bits<3>,
    /// The blocks: block i in bits 64i+63:64i, left edge in the low half.
    pub sack: Bits<256>,
}

/// What an option is to the engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Kind {
    /// Timestamps.
    pub ts: Bit,
    /// SACK.
    pub sack: Bit,
}

/// What follows if an option begins at a certain byte of a word.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Scan {
    /// The list ends here.
    pub ends: Bit,
    /// An option begins with the last byte of the word: its length is in the next one.
    pub split: Bit,
    /// Its kind.
    pub split_kind: Kind,
    /// Else: bytes from the end of the word to the next option.
    pub skip: Bits<6>,
    /// A body that matters begins; of a split option: would begin if it is of that kind.
    pub body: Kind,
    /// Its first byte, 1 to 4, counted from the word's.
    pub at: Bits<3>,
    /// Groups of eight bytes in it.
    pub groups: Bits<3>,
}

/// Where the list stands between two words.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Walk {
    /// It is over.
    pub over: Bit,
    /// The kind byte was the last byte.
    pub split: Bit,
    /// The kind.
    pub split_kind: Kind,
    /// Bytes to the next option.
    pub skip: Bits<6>,
}

/// A body that begins in a beat.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Body {
    /// What it is; none: no body.
    pub kind: Kind,
    /// Its first byte, 1 to 8, counted from the beat's.
    pub at: Bits<4>,
    /// Groups of eight bytes.
    pub groups: Bits<3>,
}

#[kernel]
fn kind_of(kind: Bits<8>) -> Kind {
    Kind { ts: kind == TIMESTAMPS, sack: kind == SACK }
}

/// An option of length `len` that began `before` the end of its word (5: in the last byte of the word before); `after`: what
/// follows one of 2, 3 and 4 bytes.
#[kernel]
fn option(kind: Kind, len: Bits<8>, before: u64, after: [Scan; 3]) -> Scan {
    let groups = len.get_bits::<3>(3);
    // 10, 18, 26 or 34 bytes: blocks of eight.
    let blocks = len.get_bits::<3>(0) == 2 && groups != 0;
    if len == 2 {
        after[0]
    } else if len == 3 {
        after[1]
    } else if len == 4 {
        after[2]
    } else {
        Scan {
            ends: len < 2 || len > MAX_LEN,
            split: false,
            split_kind: Kind::default(),
            skip: (len - before).get_bits::<6>(0),
            body: Kind { ts: kind.ts && len == TIMESTAMPS_LEN, sack: kind.sack && blocks },
            at: bits::<3>(6 - before),
            groups,
        }
    }
}

/// One byte of a word as the begin of an option.
#[kernel]
fn begin(kind: Bits<8>, nop: Scan, option: Scan) -> Scan {
    if kind == NOP {
        nop
    } else if kind == END {
        Scan { ends: true, ..Scan::default() }
    } else {
        option
    }
}

/// All five ways into a word: an option begins at byte 0 to 3, or its kind was the last byte of the word before.
#[kernel]
fn scan_word(word: Bits<32>) -> [Scan; 5] {
    let b = array::<4, _>(|i| word.get_bits::<8>(8 * i));
    let none = Scan::default();
    let one = Scan { skip: bits::<6>(1), ..none };
    let two = Scan { skip: bits::<6>(2), ..none };
    let split = Scan { split: true, split_kind: kind_of(b[3]), ..none };
    let at_3 = begin(b[3], none, split);
    let at_2 = begin(b[2], at_3, option(kind_of(b[2]), b[3], 2, [none, one, two]));
    let at_1 = begin(b[1], at_2, option(kind_of(b[1]), b[2], 3, [at_3, none, one]));
    let at_0 = begin(b[0], at_1, option(kind_of(b[0]), b[1], 4, [at_2, at_3, none]));
    let both = Kind { ts: true, sack: true };
    [at_0, at_1, at_2, at_3, option(both, b[0], 5, [at_1, at_2, at_3])]
}

/// Goes through one word; `left` words of options are left with this one, 0 = it holds none.
#[kernel]
fn walk(s: Walk, scan: [Scan; 5], left: Bits<4>) -> (Walk, Scan) {
    let mut n = s;
    let mut found = Scan::default();
    if left != 0 && !s.over {
        if !s.split && s.skip >= 4 {
            n.skip = s.skip - 4;
        } else {
            let way = if s.split { bits::<3>(4) } else { s.skip.get_bits::<3>(0) };
            found = select([scan[0], scan[1], scan[2], scan[3], scan[4]], way);
            n = Walk { over: found.ends, split: found.split, split_kind: found.split_kind, skip: found.skip };
            // The scan of a split option does not know the kind; a body after it in the same word begins later.
            if s.split && found.at == 1 {
                let (ts, sack) = (found.body.ts && s.split_kind.ts, found.body.sack && s.split_kind.sack);
                found.body = Kind { ts, sack };
            }
            // A body that is not whole does not count: 8 groups + 2 bytes from the option's first one.
            let needs = cat::<4, _>((found.groups, true));
            if left < needs || found.ends {
                found.body = Kind::default();
            }
        }
    }
    (n, found)
}

/// Options words that are left at word `t` of the TCP header (modulo 64).
#[kernel]
fn words_left(on: bool, t: Bits<6>, data_offset: Bits<4>) -> Bits<4> {
    let end = bit_cast::<6, 4>(data_offset);
    if on && t >= FIRST && t < end {
        (end - t).get_bits::<4>(0)
    } else {
        bits::<4>(0)
    }
}

/// A beat whose words were scanned.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
struct Scanned {
    /// First beat of a frame.
    first: Bit,
    /// The words.
    data: Bits<64>,
    /// Words of options left at `lo`.
    lo_left: Bits<4>,
    /// At `hi`.
    hi_left: Bits<4>,
}

/// A beat in which bodies are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
struct Walked {
    /// First beat of a frame.
    first: Bit,
    /// The words.
    data: Bits<64>,
    /// The body that begins in them.
    body: Body,
}

/// Eight bytes that begin `at` 1 to 8 of the sixteen bytes `{now, before}`.
#[kernel]
fn group_at(now: Bits<64>, before: Bits<64>, at: Bits<4>) -> Bits<64> {
    let pair = cat::<128, _>((now, before));
    select(array::<8, _>(|i| pair.get_bits::<64>(8 + 8 * i)), (at - 1).get_bits::<3>(0))
}

/// Takes one whole group.
#[kernel]
fn take(o: TcpOptions, kind: Kind, group: Bits<64>) -> TcpOptions {
    let mut n = o;
    let (first, second) = (be32(group.get_bits::<32>(0)), be32(group.get_bits::<32>(32)));
    if kind.ts {
        n.has_ts = true;
        n.ts_val = first;
        n.ts_ecr = second;
    }
    if kind.sack {
        let blocks = array::<4, _>(|i| {
            if o.sack_count == i as u64 {
                cat::<64, _>((second, first))
            } else {
                o.sack.get_bits::<64>(64 * i)
            }
        });
        n.sack = cat::<256, _>((blocks[3], blocks[2], blocks[1], blocks[0]));
        n.sack_count = o.sack_count + 1;
    }
    n
}

/// The options of one frame after the other.
#[derive(LogicBlock, Default)]
pub struct RxOptions {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// A beat is there.
    pub beat_valid: Signal<In, Bit>,
    /// It is the first of its frame.
    pub first: Signal<In, Bit>,
    /// Its words.
    pub words: Signal<In, Words>,
    /// TCP header length, words; right from the first word of options on.
    pub data_offset: Signal<In, Bits<4>>,
    /// What was found.
    pub options: Signal<Out, TcpOptions>,
    scanned_valid: Dff<Bit>,
    scanned: Dff<Scanned>,
    lo: [Dff<Scan>; 5],
    hi: [Dff<Scan>; 5],
    at: Dff<Walk>,
    walked_valid: Dff<Bit>,
    walked: Dff<Walked>,
    held: Dff<Bits<64>>,
    open: Dff<Body>,
    found: Dff<TcpOptions>,
}

#[kernel]
impl Logic for RxOptions {
    fn update(&mut self) {
        dff_setup!(self, clock, scanned_valid, scanned, lo, hi, at, walked_valid, walked, held, open, found);
        self.options.next = self.found.q.val();
        let w = self.words.val();
        self.scanned_valid.d.next = self.beat_valid.val();
        if self.beat_valid.val() {
            let (lo, hi) = (scan_word(w.lo), scan_word(w.hi));
            for i in 0..5 {
                self.lo[i].d.next = lo[i];
                self.hi[i].d.next = hi[i];
            }
            self.scanned.d.next = Scanned {
                first: self.first.val(),
                data: cat::<64, _>((w.hi, w.lo)),
                lo_left: words_left(w.place.on, w.place.t, self.data_offset.val()),
                hi_left: words_left(w.place.on, w.place.t + 1, self.data_offset.val()),
            };
        }

        let s = self.scanned.q.val();
        self.walked_valid.d.next = self.scanned_valid.q.val();
        if self.scanned_valid.q.val() {
            let lo = array::<5, _>(|i| self.lo[i].q.val());
            let hi = array::<5, _>(|i| self.hi[i].q.val());
            let from = if s.first { Walk::default() } else { self.at.q.val() };
            let (between, in_lo) = walk(from, lo, s.lo_left);
            let (after, in_hi) = walk(between, hi, s.hi_left);
            self.at.d.next = after;
            let lo_has = in_lo.body.ts || in_lo.body.sack;
            let body = Body {
                kind: if lo_has { in_lo.body } else { in_hi.body },
                at: if lo_has { bit_cast::<4, 3>(in_lo.at) } else { bit_cast::<4, 3>(in_hi.at) + 4 },
                groups: if lo_has { in_lo.groups } else { in_hi.groups },
            };
            self.walked.d.next = Walked { first: s.first, data: s.data, body };
        }

        let b = self.walked.q.val();
        if self.walked_valid.q.val() {
            let open = self.open.q.val();
            self.held.d.next = b.data;
            let group = group_at(b.data, self.held.q.val(), open.at);
            if b.first {
                self.open.d.next = Body::default();
                self.found.d.next.has_ts = false;
                self.found.d.next.sack_count = bits::<3>(0);
            } else {
                self.found.d.next = take(self.found.q.val(), open.kind, group);
                if b.body.kind.ts || b.body.kind.sack {
                    self.open.d.next = b.body;
                } else if open.groups == 1 {
                    self.open.d.next = Body::default();
                } else {
                    self.open.d.next.groups = open.groups - 1;
                }
            }
        }
    }
}
