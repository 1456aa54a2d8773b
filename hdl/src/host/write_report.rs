//! The write engine's bus side: AW, W and B channels, and the reports to the clients.
//!
//! A data beat is offered only when the AW of its burst was taken, so that no slave sees data first.
//! Responses come in the order of the bursts (one AXI ID); the burst list says what each one answers. A marker in the list
//! answers itself when it comes to the front.
//!
//! Law L2: a command of PROTO that is not reported and fails makes the reports fail that follow with its tag, since they say that
//! everything before them is in host memory. One such tag is kept, until another one fails after it was told; when a second fails before
//! that, the memory is beyond trust and every report of PROTO fails until reset.
//!
//! Latency: 1 cycle per queue. Throughput: one beat, one response or marker per clock. Back-pressure: `*_room`;
//! `bready` is low while nothing is
//! outstanding; a report is taken at once. Reset: empty, no error seen.
use crate::host::dma_write::{CLIENTS, CLIENT_EVENTS, CLIENT_ORD_RX, CLIENT_PROTO};
use crate::host::rx_done::TAG_ENTRY;
use crate::host::write_issue::{AwBeat, Burst, WBeat, W_LOG2};
use crate::prelude::*;
use crate::stream::Fifo;
use crate::types::{WriteDone, TAG_BITS};

const PROTO: u64 = CLIENT_PROTO as u64;
const ORD_RX: u64 = CLIENT_ORD_RX as u64;
const EVENTS: u64 = CLIENT_EVENTS as u64;
/// log2 of the burst list's length.
const BURSTS_LOG2: usize = 6;

/// The block.
#[derive(LogicBlock, Default)]
pub struct WriteReport {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Reset.
    pub reset: Signal<In, Bit>,
    /// A burst begins.
    pub aw_push: Signal<In, Bit>,
    /// Its address phase.
    pub aw: Signal<In, AwBeat>,
    /// The AW queue has room.
    pub aw_room: Signal<Out, Bit>,
    /// A burst or marker for the list.
    pub burst_push: Signal<In, Bit>,
    /// The burst.
    pub burst: Signal<In, Burst>,
    /// The list has room.
    pub burst_room: Signal<Out, Bit>,
    /// A data beat; the issuer counts the room.
    pub w_push: Signal<In, Bit>,
    /// The beat.
    pub w: Signal<In, WBeat>,
    /// A beat left the W queue.
    pub w_taken: Signal<Out, Bit>,
    /// Pulse: a report for client i.
    pub done_valid: [Signal<Out, Bit>; CLIENTS],
    /// With `done_valid`: the report.
    pub done: [Signal<Out, WriteDone>; CLIENTS],
    /// See `WriteEngine`.
    pub awvalid: Signal<Out, Bit>,
    /// See `WriteEngine`.
    pub awready: Signal<In, Bit>,
    /// See `WriteEngine`.
    pub awaddr: Signal<Out, Bits<64>>,
    /// See `WriteEngine`.
    pub awlen: Signal<Out, Bits<8>>,
    /// See `WriteEngine`.
    pub wvalid: Signal<Out, Bit>,
    /// See `WriteEngine`.
    pub wready: Signal<In, Bit>,
    /// See `WriteEngine`.
    pub wdata: Signal<Out, Bits<64>>,
    /// See `WriteEngine`.
    pub wstrb: Signal<Out, Bits<8>>,
    /// See `WriteEngine`.
    pub wlast: Signal<Out, Bit>,
    /// See `WriteEngine`.
    pub bvalid: Signal<In, Bit>,
    /// See `WriteEngine`.
    pub bready: Signal<Out, Bit>,
    /// See `WriteEngine`.
    pub bresp: Signal<In, Bits<2>>,
    /// Entries in the burst list.
    pub outstanding: Signal<Out, Bits<8>>,
    /// An error response was seen since reset.
    pub dma_error: Signal<Out, Bit>,
    /// Pulse: an entry of a ring that all connections share could not be written.
    pub ring_lost: Signal<Out, Bit>,
    aws: Fifo<AwBeat, 2, 3>,
    ws: Fifo<WBeat, W_LOG2, { W_LOG2 + 1 }>,
    bursts: Fifo<Burst, BURSTS_LOG2, { BURSTS_LOG2 + 1 }>,
    done_of: Dff<WriteDone>,
    done_for: [Dff<Bit>; CLIENTS],
    /// Bursts whose AW was taken and whose data was not sent.
    ahead: Dff<Bits<6>>,
    count: Dff<Bits<8>>,
    failed: Dff<Bit>,
    error: Dff<Bit>,
    lost: Dff<Lost>,
    hole: Dff<Bit>,
}

/// Commands that failed and were not reported.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
struct Lost {
    /// There is one.
    any: Bit,
    /// A report has told of it.
    told: Bit,
    /// There were two at once.
    many: Bit,
    /// Tag.
    tag: Bits<TAG_BITS>,
}

/// What was lost after a command of `burst` failed unreported.
#[kernel]
fn lost_too(l: Lost, burst: Burst, same: bool) -> Lost {
    let many = l.many || (l.any && !l.told && !same);
    Lost { any: true, told: l.told && same, many, tag: burst.tag }
}

/// An entry that all connections depend on: an event, or what says of a frame that it was received.
#[kernel]
fn is_shared(burst: Burst) -> bool {
    burst.client == EVENTS || (burst.client == ORD_RX && burst.tag == TAG_ENTRY)
}

#[kernel]
impl Logic for WriteReport {
    fn update(&mut self) {
        dff_setup!(self, clock, ahead, count, failed, error, lost, hole, done_of, done_for);
        clock!(self, clock, aws, ws, bursts);
        reset!(self, reset, aws, ws, bursts);

        // Address and data.
        self.aws.s_valid.next = self.aw_push.val();
        self.aws.s_data.next = self.aw.val();
        self.aw_room.next = self.aws.s_ready.val();
        self.awvalid.next = self.aws.m_valid.val();
        self.awaddr.next = self.aws.m_data.val().addr;
        self.awlen.next = bit_cast::<8, _>(self.aws.m_data.val().len);
        self.aws.m_ready.next = self.awready.val();
        let aw_taken = self.aws.m_valid.val() && self.awready.val();
        self.ws.s_valid.next = self.w_push.val();
        self.ws.s_data.next = self.w.val();
        let beat = self.ws.m_data.val();
        let allowed = self.ahead.q.val() != 0;
        let w_taken = self.ws.m_valid.val() && allowed && self.wready.val();
        self.wvalid.next = self.ws.m_valid.val() && allowed;
        self.wdata.next = beat.data;
        self.wstrb.next = beat.strb;
        self.wlast.next = beat.last;
        self.ws.m_ready.next = allowed && self.wready.val();
        self.w_taken.next = w_taken;
        let burst_sent: Bits<1> = (w_taken && beat.last).into();
        self.ahead.d.next = self.ahead.q.val() + aw_taken - bit_cast::<6, _>(burst_sent);

        // Responses.
        self.bursts.s_valid.next = self.burst_push.val();
        self.bursts.s_data.next = self.burst.val();
        self.burst_room.next = self.bursts.s_ready.val();
        let front = self.bursts.m_data.val();
        let ready = self.bursts.m_valid.val();
        self.bready.next = ready && !front.marker;
        let answered = ready && (front.marker || self.bvalid.val());
        self.bursts.m_ready.next = front.marker || self.bvalid.val();
        let bad = self.failed.q.val() || (!front.marker && self.bresp.val().get_bit(1));
        if answered {
            self.failed.d.next = bad && !front.last;
            self.error.d.next = self.error.q.val() || bad;
        }
        let lost = self.lost.q.val();
        let is_proto = front.client == PROTO;
        let same = lost.tag == front.tag;
        let reaches = is_proto && (lost.many || (lost.any && same));
        let tell = answered && front.last && front.notify;
        if tell {
            self.done_of.d.next = WriteDone { tag: front.tag, error: bad || reaches };
            self.lost.d.next.told = lost.told || reaches;
        } else if answered && front.last && bad && is_proto {
            self.lost.d.next = lost_too(lost, front, same);
        }
        self.hole.d.next = tell && bad && is_shared(front);
        self.ring_lost.next = self.hole.q.val();
        for i in 0..CLIENTS {
            self.done_for[i].d.next = tell && front.client == (i as u64);
            self.done_valid[i].next = self.done_for[i].q.val();
            self.done[i].next = self.done_of.q.val();
        }
        let gone: Bits<1> = answered.into();
        self.count.d.next = self.count.q.val() + self.burst_push.val() - bit_cast::<8, _>(gone);
        self.outstanding.next = self.count.q.val();
        self.dma_error.next = self.error.q.val();
        dff_reset!(self, reset, ahead, count, failed, error, lost, hole, done_for);
    }
}
