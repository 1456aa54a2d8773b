//! Retire: frame after frame, in the order begun, gets its number and its checksums and goes out; its result is told.
//!
//! ```text
//!   Item -> [list] -> Wait -> Sum -> Fold -> Report (jobs) -> Commit -> Wait
//!                      ^ all bytes landed     `--> TxDone     `--> TxFrame
//! ```
//! A packet is numbered when all of it is there (R-279): a segment that fails takes no number, and IPv6 has none. A frame that fails passes on
//! as well, with `sends` = 0, because its slot and ring words are given back in order.
//!
//! Latency: 3 clocks from the last burst landed to `done`, 4 to `frame_valid` (an ordinary frame: 3). Throughput: a segment per 5 clocks, a frame
//! per 4. Back-pressure: waits in `Commit` for `frame_ready`, in `Report` for `done_ready`. Reset: nothing in hand.
use crate::eth::tx::{wire_len, TxFrame, BEAT_LOG2, SLOTS, SLOT_LOG2};
use crate::ip::checksum::{fold, SUM_BITS};
use crate::ip::tx_build::ip_id;
use crate::mem::LutRam;
use crate::prelude::*;
use crate::stream::lanes::{keep_of, swap16};
use crate::stream::Fifo;
use crate::tcp::tx::header::checksum_at;
use crate::tcp::tx::item::{Fetched, Item, Landed, NO_DATA, SENT};
use crate::types::{TxDone, TCP_PSH};

/// Where the block stands.
#[derive(Clone, Copy, Debug, PartialEq, LogicState)]
pub enum RetireState {
    /// The next frame is not complete.
    Wait,
    /// Sums are taken together.
    Sum,
    /// They are folded.
    Fold,
    /// The result is told.
    Report,
    /// The frame goes to the sender, and its slot with it.
    Commit,
}

/// Counter increments of one clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct TxCounts {
    /// `CNT_TX_FRAMES`: a frame for the MAC.
    pub frame: Bit,
    /// `CNT_TX_OFFLOADED`: a segment of a connection.
    pub offloaded: Bit,
    /// `CNT_RETRANSMITS`.
    pub retransmit: Bit,
    /// `CNT_BAD_REQUEST`.
    pub bad_request: Bit,
    /// Length of the frame as it leaves, padding included: add to the byte counters that go with the frame counters.
    pub bytes: Bits<16>,
}

/// The block. See the module page.
#[derive(LogicBlock, Default)]
pub struct Retire {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Synchronous, active high.
    pub reset: Signal<In, Bit>,
    /// Pulse: a frame has begun; there is room for one per slot.
    pub item_valid: Signal<In, Bit>,
    /// The frame.
    pub item: Signal<In, Item>,
    /// Pulse: all bytes of a frame are asked for.
    pub fetched_valid: Signal<In, Bit>,
    /// Its slot.
    pub fetched_slot: Signal<In, Bits<SLOT_LOG2>>,
    /// What is known of it.
    pub fetched: Signal<In, Fetched>,
    /// Bursts that have landed.
    pub bursts: Signal<In, Bits<16>>,
    /// Slot that is looked at.
    pub slot: Signal<Out, Bits<SLOT_LOG2>>,
    /// What has landed of it.
    pub landed: Signal<In, Landed>,
    /// Tables: a packet is numbered.
    pub numbers: Signal<Out, Bit>,
    /// Tables: its path.
    pub path: Signal<Out, Bits<16>>,
    /// Tables: packets before it.
    pub counter: Signal<In, Bits<16>>,
    /// Tables: it is sent.
    pub count: Signal<Out, Bit>,
    /// A frame is complete.
    pub frame_valid: Signal<Out, Bit>,
    /// It is taken.
    pub frame_ready: Signal<In, Bit>,
    /// The frame.
    pub frame: Signal<Out, TxFrame>,
    /// A job's result is offered.
    pub done_valid: Signal<Out, Bit>,
    /// It is taken.
    pub done_ready: Signal<In, Bit>,
    /// The result.
    pub done: Signal<Out, TxDone>,
    /// Pulse: an entry of the TX ring is done.
    pub ordinary_done: Signal<Out, Bit>,
    /// Counter increments.
    pub counts: Signal<Out, TxCounts>,
    items: Fifo<Item, SLOT_LOG2, SLOTS>,
    fetches: LutRam<Fetched, SLOT_LOG2>,
    /// One bit per slot: `fetches` has its outcome.
    is_fetched: Dff<Bits<{ 1 << SLOT_LOG2 }>>,
    at: Dff<Bits<SLOT_LOG2>>,
    state: Dff<RetireState>,
    result: Dff<Bits<2>>,
    bad: Dff<Bit>,
    push: Dff<Bit>,
    ip_id: Dff<Bits<16>>,
    body: Dff<Bits<16>>,
    ip_sum: Dff<Bits<SUM_BITS>>,
    sum: Dff<Bits<SUM_BITS>>,
    ip_csum: Dff<Bits<16>>,
    csum: Dff<Bits<16>>,
    length: Dff<Bits<14>>,
}

/// A checksum of an ordinary frame as it lies there: none is zero, and a sum that began at an odd byte has its bytes the
/// other way round (RFC 1071 2 (B)).
#[kernel]
fn field(c: Bits<16>, is_odd: bool) -> Bits<16> {
    let some = if c == 0 { !c } else { c };
    if is_odd {
        swap16(some)
    } else {
        some
    }
}

/// A frame of `length` bytes as it leaves, as far as its item says.
#[kernel]
fn frame_of(i: Item, length: Bits<14>) -> TxFrame {
    let last = length - 1;
    TxFrame {
        loopback: i.loopback,
        len: i.len,
        last: last.get_bits::<BEAT_LOG2>(3),
        keep: keep_of(bit_cast::<4, 3>(last.get_bits::<3>(0)) + 1),
        head_len: i.head_len,
        start: i.start,
        end: i.end,
        numbered: i.is_segment && !i.form.v6,
        form: i.form,
        has_csum: i.has_csum,
        csum_at: if i.is_segment { checksum_at(i.form) } else { i.csum_at },
        ..TxFrame::default()
    }
}

#[kernel]
impl Logic for Retire {
    fn update(&mut self) {
        dff_setup!(self, clock, is_fetched, at, state, result, bad, push, ip_id, body, ip_sum, sum, ip_csum);
        dff_setup!(self, clock, csum, length);
        clock!(self, clock, items, fetches);
        reset!(self, reset, items);
        let state = self.state.q.val();
        let i = self.items.m_data.val();
        let at = self.at.q.val();
        self.items.s_valid.next = self.item_valid.val();
        self.items.s_data.next = self.item.val();
        self.fetches.we.next = self.fetched_valid.val();
        self.fetches.waddr.next = self.fetched_slot.val();
        self.fetches.wdata.next = self.fetched.val();
        self.fetches.raddr.next = at;
        self.slot.next = at;

        // Complete: everything asked for, everything landed.
        let f = self.fetches.rdata.val();
        let landed = self.landed.val();
        let all_landed = !(self.bursts.val() - f.bursts).get_bit(15);
        let complete = self.items.m_valid.val() && self.is_fetched.q.val().get_bit(at.index()) && all_landed;
        let starts = state == RetireState::Wait && complete;
        let fault = i.reads && (f.lost || f.error || landed.error);

        // Out.
        let sent = self.result.q.val() == SENT;
        let commit = state == RetireState::Commit && self.frame_ready.val();
        let reports = state == RetireState::Report && self.done_ready.val();
        let length = self.length.q.val();
        self.frame_valid.next = state == RetireState::Commit;
        self.frame.next = TxFrame {
            sends: sent,
            push: self.push.q.val(),
            ip_id: self.ip_id.q.val(),
            ip_csum: self.ip_csum.q.val(),
            csum: self.csum.q.val(),
            ..frame_of(i, length)
        };
        self.numbers.next = starts || state == RetireState::Sum;
        self.path.next = i.path;
        self.count.next = state == RetireState::Sum && sent && i.is_job && !i.form.v6;
        self.done_valid.next = state == RetireState::Report;
        self.done.next = TxDone { conn: i.conn, result: self.result.q.val() };
        self.ordinary_done.next = commit && i.ends_entry;
        self.counts.next = TxCounts {
            frame: commit && sent && !i.loopback,
            offloaded: commit && sent && i.is_job,
            retransmit: commit && sent && i.retransmit,
            bad_request: commit && self.bad.q.val(),
            bytes: bit_cast::<16, 14>(length),
        };
        // Its slot is given back behind this: from then on another frame may have it, so nothing of this one is left here.
        self.items.m_ready.next = commit;
        let one = bits::<{ 1 << SLOT_LOG2 }>(1);
        let kept = if commit { self.is_fetched.q.val() & !(one << at) } else { self.is_fetched.q.val() };
        self.is_fetched.d.next =
            if self.fetched_valid.val() { kept | (one << self.fetched_slot.val()) } else { kept };
        self.at.d.next = self.at.q.val() + commit;

        match state {
            RetireState::Wait => {
                self.result.d.next = if i.result == SENT && fault { bits::<2>(NO_DATA) } else { i.result };
                self.bad.d.next = i.bad || (i.reads && f.lost);
                self.push.d.next = i.may_push && f.push;
                self.body.d.next = if i.reads { landed.sum } else { bits::<16>(0) };
                self.ip_id.d.next =
                    if i.is_job { ip_id(i.ip_id_start, self.counter.val()) } else { i.ip_id_start };
                self.length.d.next = wire_len(i.len, i.loopback);
                if starts {
                    self.state.d.next = RetireState::Sum;
                }
            }
            RetireState::Sum => {
                let flag = if self.push.q.val() { bits::<16>(TCP_PSH << 8) } else { bits::<16>(0) };
                let head = bit_cast::<SUM_BITS, 16>(i.tcp_sum) + bit_cast::<SUM_BITS, 16>(flag);
                let body = bit_cast::<SUM_BITS, 16>(self.body.q.val());
                self.ip_sum.d.next =
                    bit_cast::<SUM_BITS, 16>(i.ip_sum) + bit_cast::<SUM_BITS, 16>(swap16(self.ip_id.q.val()));
                self.sum.d.next = if i.is_segment { body + head } else { body };
                self.state.d.next = RetireState::Fold;
            }
            RetireState::Fold => {
                let c = !fold(self.sum.q.val());
                self.ip_csum.d.next = !fold(self.ip_sum.q.val());
                self.csum.d.next = if i.is_segment { c } else { field(c, i.is_odd) };
                self.state.d.next = if i.is_job { RetireState::Report } else { RetireState::Commit };
            }
            RetireState::Report => {
                if reports {
                    self.state.d.next = RetireState::Commit;
                }
            }
            RetireState::Commit => {
                if commit {
                    self.state.d.next = RetireState::Wait;
                }
            }
        }
        dff_reset!(self, reset, is_fetched, at, state);
    }
}
