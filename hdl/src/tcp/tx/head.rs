//! Head: takes jobs and ordinary frames in turn, gives each a slot and room for its bytes, and writes the header words.
//!
//! ```text
//!   job --+-> Idle -> Words ... --> word -> [header words of the slot]
//!   frame-+     |       |             `--> Sums --> HeadSums
//!               v       `--> Item, WalkJob
//!        slot, ring room, way
//! ```
//! All that is known of a segment when its job is taken goes into the header and its sums; the rest is put in by `Retire` and
//! `TxStream`. A job without a way, or too long, is an item without bytes: its result is told in its turn. A frame's item goes with its first
//! word, so that one without bytes of host memory can leave while the others are made; its sums follow, those of all frames in the order begun.
//!
//! A segment of a large frame gets its header from that of the frame ([`super::large`]), and is a segment like any other from there on.
//!
//! Latency: 1 clock from a job to its `Item` and `WalkJob`; word k (from 0) is written at the end of clock 2 + k, the sums are complete 3 clocks
//! after the last word was made, 4 + k. Throughput: 1 clock and one per header word for a segment (8 for IPv4 without options, 11 for IPv6), 2 for a
//! frame. Back-pressure: nothing is taken without a free slot, ring room for all its bytes and room in the lists of frames and searches, and nothing
//! of ordinary size while 10 KiB wait in the ring. Reset: nothing in hand.
use crate::eth::tx::{HEAD_LOG2, HEAD_WORDS_LOG2, PLACE, RING_LOG2, SLOTS, SLOT_LOG2};
use crate::host::ord_tx::OrdFrame;
use crate::ip::tx_build::{form, Form, Route};
use crate::prelude::*;
use crate::tcp::tx::header::{header_words, headers_len, segment_len, HeaderWords};
use crate::tcp::tx::item::{Item, WalkJob, BYTE_PLACE, MAX_LEN, NO_DATA, NO_ROUTE, SENT};
use crate::tcp::tx::large::{header_len, segment_words, tcp_len, Segment};
use crate::tcp::tx::sums::{HeadSums, Sums, Word};
use crate::types::{TxJob, TCP_PSH};

/// Words of the payload ring.
const RING_WORDS: u64 = 1 << RING_LOG2;
/// Nothing of ordinary size is begun while so many words of the ring are taken. A job's acknowledgment is as old as the job: whatever the port
/// has in front of it is time that the peer waits. What remains hides a descriptor and bytes read after it, at a latency of 150 clocks, each behind
/// the 256 beats that others have asked for and the pieces in front. With 1152 words the port ran dry once in 16 frames of eight connections.
const AHEAD_WORDS: u64 = 1280;
/// A frame of so many words is longer than any of ordinary size. It takes longer to land than those in front of it take to leave, so it begins as
/// soon as there is room.
const LONG_WORDS: u64 = 256;
/// What rounds a length up to words wherever it begins in the first one.
const ROUND_UP: u64 = 14;
const PSH_BIT: usize = TCP_PSH.trailing_zeros() as usize;

/// The block. See the module page.
#[derive(LogicBlock, Default)]
pub struct Head {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Synchronous, active high.
    pub reset: Signal<In, Bit>,
    /// A job waits.
    pub job_valid: Signal<In, Bit>,
    /// It is taken.
    pub job_ready: Signal<Out, Bit>,
    /// The job.
    pub job: Signal<In, TxJob>,
    /// An ordinary frame waits.
    pub frame_valid: Signal<In, Bit>,
    /// It is taken.
    pub frame_ready: Signal<Out, Bit>,
    /// The frame.
    pub frame: Signal<In, OrdFrame>,
    /// What makes it a segment of a large frame.
    pub segment: Signal<In, Segment>,
    /// Headers of the large frame: address.
    pub large_addr: Signal<Out, Bits<HEAD_WORDS_LOG2>>,
    /// Headers of the large frame: words.
    pub large_words: Signal<In, Bits<64>>,
    /// The job's way.
    pub route: Signal<In, Route>,
    /// Slots given back.
    pub slots_done: Signal<In, Bits<SLOTS>>,
    /// Ring words given back.
    pub ring_done: Signal<In, Bits<PLACE>>,
    /// The list of searches has room.
    pub walk_room: Signal<In, Bit>,
    /// The list of frames has room.
    pub item_room: Signal<In, Bit>,
    /// Pulse: bytes are to be found.
    pub walk_valid: Signal<Out, Bit>,
    /// Which.
    pub walk: Signal<Out, WalkJob>,
    /// Header words: write.
    pub we: Signal<Out, Bit>,
    /// Header words: address.
    pub waddr: Signal<Out, Bits<HEAD_LOG2>>,
    /// Header words: word.
    pub wdata: Signal<Out, Bits<64>>,
    /// Pulse: a frame has begun.
    pub item_valid: Signal<Out, Bit>,
    /// The frame.
    pub item: Signal<Out, Item>,
    /// Frames whose job or entry is taken, modulo their counter.
    pub taken: Signal<Out, Bits<SLOTS>>,
    /// Two clocks after `item_valid`: see [`Sums`].
    pub number: Signal<In, Bits<16>>,
    /// Pulse: the sums of the next frame's header are complete, or it has none.
    pub sums_valid: Signal<Out, Bit>,
    /// The sums of the header in work; see [`Sums`].
    pub sums: Signal<Out, HeadSums>,
    /// Nothing in hand, no slot in use.
    pub idle: Signal<Out, Bit>,
    works: Dff<Bit>,
    is_job: Dff<Bit>,
    at: Dff<Bits<HEAD_WORDS_LOG2>>,
    way: Dff<Route>,
    form: Dff<Form>,
    head_len: Dff<Bits<7>>,
    len: Dff<Bits<16>>,
    words: Dff<Bits<PLACE>>,
    slot: Dff<Bits<SLOTS>>,
    start: Dff<Bits<PLACE>>,
    head: Dff<Word>,
    /// The half word that comes first in the next beat.
    carry: Dff<Bits<16>>,
    head_slot: Dff<Bits<SLOT_LOG2>>,
    segment_len: Dff<Bits<16>>,
    adder: Sums,
}

/// A frame of `words` may begin while `ahead` words of the ring are taken.
#[kernel]
fn may_begin(words: Bits<14>, ahead: Bits<PLACE>) -> bool {
    let room = bits::<PLACE>(RING_WORDS) - ahead;
    (ahead < AHEAD_WORDS || words >= LONG_WORDS) && words <= bit_cast::<14, PLACE>(room)
}

/// The way of a job, or what stands in its place for a segment of a large frame: the frame's first two bytes and its number.
#[kernel]
fn way_of(is_job: bool, r: Route, s: Segment) -> Route {
    let start = cat::<48, _>((r.dst_mac.get_bits::<32>(16), s.header.start));
    Route {
        dst_mac: if is_job { r.dst_mac } else { start },
        ip_id_start: if is_job { r.ip_id_start } else { s.header.ip_id },
        ..r
    }
}

/// Where things lie in the headers, and their length; 0 for a whole frame, which has none in the slot.
#[kernel]
fn shape(is_job: bool, j: TxJob, r: Route, s: Segment) -> (Form, Bits<7>) {
    let own = form(r, j.priority);
    let other = if s.valid { header_len(s.header) } else { bits::<7>(0) };
    if is_job {
        (own, headers_len(j, own))
    } else {
        (s.header.form, other)
    }
}

/// What has to be found for a frame; `reads` = there is something.
#[kernel]
fn walk_job(is_job: bool, j: TxJob, f: OrdFrame, reads: bool) -> WalkJob {
    let len = if is_job { j.len } else { f.len };
    WalkJob {
        walk: is_job,
        slot: bits::<SLOT_LOG2>(0),
        dst: bits::<BYTE_PLACE>(0),
        conn: j.conn,
        reset: is_job && j.reset_cursor,
        addr: if is_job { j.send_ring } else { f.addr },
        log2: j.send_ring_log2.get_bits::<5>(0),
        seq: if is_job { j.seq } else { bit_cast::<32, 8>(f.csum_start) },
        len: if reads { len } else { bits::<16>(0) },
    }
}

/// The result, as far as it is known.
#[kernel]
fn result(is_job: bool, has_way: bool, refused: bool) -> Bits<2> {
    let fault = if is_job && !has_way { bits::<2>(NO_ROUTE) } else { bits::<2>(NO_DATA) };
    if refused {
        fault
    } else {
        bits::<2>(SENT)
    }
}

/// The words of a beat that lie before the end of the headers.
#[kernel]
fn used(h: HeaderWords, last: bool, has_word: bool) -> Bits<64> {
    let lo = if last && !has_word { bits::<32>(0) } else { h.pair.lo };
    let hi = if last { bits::<32>(0) } else { h.pair.hi };
    cat::<64, _>((hi, lo))
}

/// What an item takes from its job or frame.
#[kernel]
fn item_of(is_job: bool, j: TxJob, f: OrdFrame, s: Segment) -> Item {
    let has_text = is_job && j.len != 0;
    Item {
        is_job,
        is_segment: is_job || s.valid,
        ends_entry: !is_job && (s.ends || !s.valid),
        conn: j.conn,
        path: j.path,
        retransmit: has_text && j.retransmit,
        may_push: has_text && !j.flags.get_bit(PSH_BIT),
        loopback: !is_job && f.loopback,
        has_csum: is_job || f.csum,
        csum_at: f.csum_field,
        is_odd: f.csum_start.get_bit(0),
        ..Item::default()
    }
}

#[kernel]
impl Logic for Head {
    fn update(&mut self) {
        dff_setup!(
            self, clock, works, is_job, at, way, form, head_len, len, words, slot, start, head, head_slot
        );
        dff_setup!(self, clock, carry, segment_len);
        clock!(self, clock, adder);
        reset!(self, reset, adder);
        let j = self.job.val();
        let f = self.frame.val();
        let s = self.segment.val();
        let works = self.works.q.val();
        let is_job = self.is_job.q.val();
        let slot = self.slot.q.val();
        let start = self.start.q.val();

        // Whose turn, and is there room? The one whose turn it is waits for room, so that none that need less overtake it for
        // ever.
        let job_turn = self.job_valid.val() && (!self.frame_valid.val() || !is_job);
        let len = if job_turn { j.len } else { f.len };
        let words = (bit_cast::<17, 16>(len) + ROUND_UP).get_bits::<14>(3);
        let fits = len > MAX_LEN || may_begin(words, start - self.ring_done.val());
        let has_slot = !(slot - self.slots_done.val()).get_bit(SLOT_LOG2);
        let waits = self.job_valid.val() || self.frame_valid.val();
        if !works && waits && fits && has_slot && self.walk_room.val() && self.item_room.val() {
            self.works.d.next = true;
            self.is_job.d.next = job_turn;
            self.at.d.next = bits::<HEAD_WORDS_LOG2>(0);
            self.way.d.next = way_of(job_turn, self.route.val(), s);
            let (form, head_len) = shape(job_turn, j, self.route.val(), s);
            self.form.d.next = form;
            self.head_len.d.next = head_len;
            self.len.d.next = len;
            self.words.d.next = words.get_bits::<PLACE>(0);
        }

        // The frame in hand.
        let head_len = self.head_len.q.val();
        let len = self.len.q.val();
        let all = bit_cast::<17, 16>(len) + bit_cast::<17, 7>(head_len);
        let way = self.way.q.val();
        let too_long = is_job && all > MAX_LEN;
        let refused = if is_job { too_long || !way.ok } else { !f.good };
        let reads = !refused && len != 0;
        let is_short = refused || !(is_job || s.valid);
        let at = self.at.q.val();
        let last = is_short || at == (head_len - 1).get_bits::<HEAD_WORDS_LOG2>(3);
        let begins = works && at == 0;
        let ends = works && last;
        let end = if reads { start + self.words.q.val() } else { start };
        self.walk_valid.next = begins && (reads || (is_job && j.reset_cursor));
        let lane = head_len.get_bits::<3>(0);
        self.walk.next = WalkJob {
            slot: slot.get_bits::<SLOT_LOG2>(0),
            dst: cat::<BYTE_PLACE, _>((start.get_bits::<RING_LOG2>(0), lane)),
            ..walk_job(is_job, j, f, reads)
        };
        self.job_ready.next = ends && is_job;
        self.frame_ready.next = ends && !is_job;
        if works {
            self.at.d.next = at + 1;
        }
        if ends {
            self.works.d.next = false;
            self.slot.d.next = slot + 1;
            self.start.d.next = end;
        }

        // Its item.
        self.taken.next = slot;
        self.item_valid.next = begins;
        self.item.next = Item {
            bad: if is_job { too_long && way.ok } else { f.bad },
            result: result(is_job, way.ok, refused),
            reads,
            len: all.get_bits::<14>(0),
            head_len,
            start,
            end,
            ip_id_start: way.ip_id_start,
            form: self.form.q.val(),
            ..item_of(is_job, j, f, s)
        };

        // Header words, and their sums. A header ends behind the first half word of a beat, or one word later.
        self.large_addr.next = at;
        let own = header_words(j, way, self.form.q.val(), at);
        let h = if is_job { own } else { segment_words(self.large_words.val(), s, f.len, at) };
        let data = used(h, last, lane.get_bit(2));
        self.head.d.next = Word { valid: works, at, last, data, ip: h.ip, tcp: h.tcp };
        self.head_slot.d.next = slot.get_bits::<SLOT_LOG2>(0);
        self.segment_len.d.next = if is_job { segment_len(j) } else { tcp_len(s.header, f.len) };
        let w = self.head.q.val();
        self.we.next = w.valid;
        self.waddr.next = cat::<HEAD_LOG2, _>((self.head_slot.q.val(), w.at));
        // The first bytes of all are the destination's.
        let first = if w.at == 0 { way.dst_mac.get_bits::<16>(0) } else { self.carry.q.val() };
        self.wdata.next = cat::<64, _>((w.data.get_bits::<48>(0), first));
        if w.valid {
            self.carry.d.next = w.data.get_bits::<16>(48);
        }
        self.adder.word.next = w;
        self.adder.segment_len.next = self.segment_len.q.val();
        self.adder.number.next = self.number.val();
        self.sums_valid.next = self.adder.done.val();
        self.sums.next = self.adder.sums.val();
        self.idle.next = !works && slot == self.slots_done.val();
        dff_reset!(self, reset, works, is_job, slot, start, head);
    }
}
