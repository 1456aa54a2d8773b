//! Land: beats of host memory go to their lanes in the payload ring, and into the checksum of their frame.
//!
//! ```text
//!   beat --rotate--> bytes in their lanes, each lane with its own address --> payload ring
//!                                      `--> sum of the burst --fold--> sum of the slot
//! ```
//! A burst knows where its first byte goes; the ring's lanes take a beat of any alignment in one clock, so nothing is kept
//! from one beat to the next, and bursts of different frames may follow each other. Sums are the Internet checksum's, in lane
//! order, over the bytes that count (`LandBurst::from`).
//!
//! Latency: 1 clock to the ring, 5 from a burst's last beat until `bursts` counts it. Throughput: one beat per clock.
//! Back-pressure: `room` limits what is asked for to 32 bursts and about 256 beats. Reset state: no burst expected.
use crate::eth::tx::{RING_LOG2, SLOT_LOG2};
use crate::ip::checksum::{fold, lane_sum, SUM_BITS};
use crate::mem::LutRam;
use crate::prelude::*;
use crate::stream::lanes::{keep_of, mask_bytes, oc_add, rotate_bytes};
use crate::stream::Fifo;
use crate::tcp::tx::item::{LandBurst, Landed};
use crate::types::ReadBeat;

/// log2 of the bursts in flight.
const BURSTS_LOG2: usize = 5;
/// log2 of the beats in flight after which no burst is asked for: more than the latency of host memory, and no more, as other
/// clients' reads wait behind them (law L5).
const FLIGHT_LOG2: usize = 8;
/// Bits of the number of a beat in a burst.
const BEAT: usize = 6;

/// A beat in its lanes.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Turned {
    /// There is one.
    pub valid: Bit,
    /// Bytes.
    pub data: Bits<64>,
    /// Those that count.
    pub lanes: Bits<8>,
    /// Those that count for the sum.
    pub summed: Bits<8>,
    /// Ring word of the upper lanes.
    pub word: Bits<RING_LOG2>,
    /// Lanes below this go one word further.
    pub turn: Bits<3>,
    /// What is to be done with the sum.
    pub mark: Mark,
}

/// Where a beat stands in its burst.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Mark {
    /// First beat.
    pub begins: Bit,
    /// Last beat.
    pub ends: Bit,
    /// The frame's slot.
    pub slot: Bits<SLOT_LOG2>,
    /// The frame's first burst.
    pub first: Bit,
    /// Error response.
    pub error: Bit,
}

/// Rotates an enable mask as `rotate_bytes` rotates bytes.
#[kernel]
fn rotate_mask(x: Bits<8>, n: Bits<3>) -> Bits<8> {
    let twice = cat::<16, _>((x, x)) << n;
    twice.get_bits::<8>(8)
}

/// The bytes of beat `i` at or behind byte `from`.
#[kernel]
fn counted(i: Bits<BEAT>, from: Bits<9>) -> Bits<8> {
    let word = from.get_bits::<BEAT>(3);
    if i > word {
        bits::<8>(0xff)
    } else if i == word {
        !keep_of(bit_cast::<4, 3>(from.get_bits(0)))
    } else {
        bits::<8>(0)
    }
}

/// Beat `i` of a burst in its lanes; `next` = ring word of the beat, if it is not the first.
#[kernel]
fn turned(b: ReadBeat, l: LandBurst, i: Bits<BEAT>, next: Bits<RING_LOG2>) -> Turned {
    let begins = i == 0;
    let at = l.dst - bit_cast::<14, 3>(l.skip);
    let turn = at.get_bits::<3>(0);
    let head = if begins { !keep_of(bit_cast::<4, 3>(l.skip)) } else { bits::<8>(0xff) };
    let tail = if b.last && l.tail != 0 { keep_of(bit_cast::<4, 3>(l.tail)) } else { bits::<8>(0xff) };
    let lanes = rotate_mask(head & tail, turn);
    Turned {
        valid: true,
        data: rotate_bytes(b.data, turn),
        lanes,
        summed: lanes & rotate_mask(counted(i, l.from), turn),
        word: if begins { at.get_bits::<RING_LOG2>(3) } else { next },
        turn,
        mark: Mark { begins, ends: b.last, slot: l.slot, first: l.first, error: b.error },
    }
}

/// The block. See the module page.
#[derive(LogicBlock, Default)]
pub struct Land {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Synchronous, active high.
    pub reset: Signal<In, Bit>,
    /// A burst is asked for.
    pub burst_valid: Signal<In, Bit>,
    /// The burst.
    pub burst: Signal<In, LandBurst>,
    /// Its beats.
    pub burst_beats: Signal<In, Bits<6>>,
    /// Another burst may be asked for.
    pub room: Signal<Out, Bit>,
    /// `beat` is ours.
    pub beat_valid: Signal<In, Bit>,
    /// Read data.
    pub beat: Signal<In, ReadBeat>,
    /// Payload ring: lanes to write.
    pub we: Signal<Out, Bits<8>>,
    /// Payload ring: lanes that go one word further.
    pub up: Signal<Out, Bits<8>>,
    /// Payload ring: word.
    pub waddr: Signal<Out, Bits<RING_LOG2>>,
    /// Payload ring: data.
    pub wdata: Signal<Out, Bits<64>>,
    /// Bursts that have landed, of all frames.
    pub bursts: Signal<Out, Bits<16>>,
    /// Slot that is looked at.
    pub slot: Signal<In, Bits<SLOT_LOG2>>,
    /// What has landed of it.
    pub landed: Signal<Out, Landed>,
    list: Fifo<LandBurst, BURSTS_LOG2, { BURSTS_LOG2 + 1 }>,
    own: LutRam<Landed, SLOT_LOG2>,
    shown: LutRam<Landed, SLOT_LOG2>,
    count: Dff<Bits<16>>,
    in_flight: Dff<Bits<{ FLIGHT_LOG2 + 2 }>>,
    beats: Dff<Bits<BEAT>>,
    word: Dff<Bits<RING_LOG2>>,
    turned: Dff<Turned>,
    lane: Dff<Bits<18>>,
    lane_valid: Dff<Bit>,
    lane_mark: Dff<Mark>,
    acc: Dff<Bits<SUM_BITS>>,
    acc_mark: Dff<Mark>,
    folded: Dff<Bits<16>>,
    folded_mark: Dff<Mark>,
}

#[kernel]
impl Logic for Land {
    fn update(&mut self) {
        dff_setup!(self, clock, count, beats, word, turned, lane, lane_valid, lane_mark, acc, acc_mark);
        dff_setup!(self, clock, folded, folded_mark, in_flight);
        clock!(self, clock, list, own, shown);
        reset!(self, reset, list);
        let b = self.beat.val();
        let take = self.beat_valid.val();
        self.list.s_valid.next = self.burst_valid.val();
        self.list.s_data.next = self.burst.val();
        self.list.m_ready.next = take && b.last;
        let flight = self.in_flight.q.val();
        let is_far = flight.get_bit(FLIGHT_LOG2) || flight.get_bit(FLIGHT_LOG2 + 1);
        self.room.next = self.list.s_ready.val() && !is_far;
        let more = if self.burst_valid.val() { self.burst_beats.val() } else { bits::<6>(0) };
        let less: Bits<1> = take.into();
        self.in_flight.d.next =
            flight + bit_cast::<{ FLIGHT_LOG2 + 2 }, 6>(more) - bit_cast::<{ FLIGHT_LOG2 + 2 }, 1>(less);

        // Into the lanes.
        let now = turned(b, self.list.m_data.val(), self.beats.q.val(), self.word.q.val());
        self.turned.d.next = Turned { valid: take, ..now };
        if take {
            self.word.d.next = now.word + 1;
            self.beats.d.next = if b.last { bits::<BEAT>(0) } else { self.beats.q.val() + 1 };
        }

        // Into the ring; sum of the lanes.
        let t = self.turned.q.val();
        self.we.next = if t.valid { t.lanes } else { bits::<8>(0) };
        self.up.next = keep_of(bit_cast::<4, 3>(t.turn));
        self.waddr.next = t.word;
        self.wdata.next = t.data;
        self.lane.d.next = lane_sum(mask_bytes(t.data, t.summed));
        self.lane_valid.d.next = t.valid;
        self.lane_mark.d.next = t.mark;

        // Sum of the burst.
        let m = self.lane_mark.q.val();
        let lane = bit_cast::<SUM_BITS, 18>(self.lane.q.val());
        let ends = self.lane_valid.q.val() && m.ends;
        if self.lane_valid.q.val() {
            self.acc.d.next = if m.begins { lane } else { self.acc.q.val() + lane };
            let failed = !m.begins && self.acc_mark.q.val().error;
            self.acc_mark.d.next = Mark { error: m.error || failed, ..m };
        }
        if !ends {
            self.acc_mark.d.next.ends = false;
        }
        self.folded.d.next = fold(self.acc.q.val());
        self.folded_mark.d.next = self.acc_mark.q.val();

        // Sum of the slot.
        let f = self.folded_mark.q.val();
        let old = self.own.rdata.val();
        let sum = self.folded.q.val();
        let landed = Landed {
            sum: if f.first { sum } else { oc_add(old.sum, sum) },
            error: f.error || (!f.first && old.error),
        };
        self.own.raddr.next = f.slot;
        self.own.we.next = f.ends;
        self.own.waddr.next = f.slot;
        self.own.wdata.next = landed;
        self.shown.we.next = f.ends;
        self.shown.waddr.next = f.slot;
        self.shown.wdata.next = landed;
        self.shown.raddr.next = self.slot.val();
        self.landed.next = self.shown.rdata.val();
        self.count.d.next = self.count.q.val() + f.ends;
        self.bursts.next = self.count.q.val();
        dff_reset!(self, reset, count, in_flight, beats, turned, lane_valid, acc_mark, folded_mark);
    }
}
