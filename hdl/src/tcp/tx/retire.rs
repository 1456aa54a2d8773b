//! Retire: frame after frame, in the order begun, gets its number and its checksums and goes out; its result is told.
//!
//! ```text
//!   Item -> [list] -> Wait -> Sum -> Fold -> Commit -> Wait
//!                      ^  `--- leads -------^  `--> TxFrame, TxDone (jobs)
//!                      header summed, all bytes landed
//! ```
//! A packet is numbered when all of it is there (R-279): a segment that fails takes no number, and IPv6 has none. A frame that fails passes on
//! as well, with `sends` = 0, because its slot and ring words are given back in order.
//!
//! **A frame that leads.** A job's frame without text cannot fail once it has begun. When it finds nothing in front of it in the list it is numbered at
//! once, its number goes into the sum of its header as that begins, and it is given to the sender before the header is complete: as late (`waits_of`)
//! as its checksums need, which follow by `late`. Its result waits until its job is taken. With H the clock in which `Head` begins, B the beat of the TCP
//! checksum, L the number of the header's last word of 64 bits:
//!
//! | | clock |
//! |---|---|
//! | number; frame offered | H + 2; from H + 3 + L - B on |
//! | beat k: header word read; offered to the port | from H + 4 + L - B + k on; one clock later |
//! | header word k: can be read; is in the sums | H + 3 + k; H + 4 + k |
//! | checksums can be put in: of TCP; of IPv4, whose header ends in word P | H + 5 + L; H + 5 + P |
//!
//! As L - B is 0 or more, and P is not further behind the beat of its checksum than L is behind B (`waits_of`, tested), all is there in time, wherever
//! the port stalls.
//!
//! Latency: 3 clocks from the last burst landed to `done` and `frame_valid`; 2 to 8 from its item to `frame_valid` for one that leads. Throughput: a
//! frame per 4 clocks.
//! Back-pressure: waits in `Commit` for `frame_ready` and `done_ready`, in any order; `item_room` is low while 32 frames wait. Reset: nothing in hand.
use crate::eth::tx::{wire_len, Late, TxFrame, BEAT_LOG2, SLOTS, SLOT_LOG2};
use crate::ip::checksum::{fold, SUM_BITS};
use crate::ip::tx_build::{ip_id, tcp_at, Form};
use crate::mem::LutRam;
use crate::prelude::*;
use crate::stream::lanes::{keep_of, swap16};
use crate::stream::Fifo;
use crate::tcp::tx::header::checksum_at;
use crate::tcp::tx::heads::Heads;
use crate::tcp::tx::item::{Fetched, Item, Landed, NO_DATA, SENT};
use crate::tcp::tx::sums::HeadSums;
use crate::types::{TxDone, TCP_PSH};

/// Bits of the clocks that a frame waits for its checksums.
const WAITS: usize = 3;
/// From the beat half way to the TCP header to the one with its checksum.
const TO_CHECKSUM: u64 = 2;

/// Where the block stands.
#[derive(Clone, Copy, Debug, PartialEq, LogicState)]
pub enum RetireState {
    /// The next frame is not complete.
    Wait,
    /// Sums are taken together.
    Sum,
    /// They are folded.
    Fold,
    /// The frame goes to the sender, and its slot with it; the result is told.
    Commit,
}

/// What has become of a frame when it is numbered.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Outcome {
    /// See [`Item`].
    pub result: Bits<2>,
    /// See [`Item`].
    pub bad: Bit,
    /// See [`TxFrame`].
    pub push: Bit,
    /// See [`TxFrame`].
    pub ip_id: Bits<16>,
    /// Sum of its bytes of host memory.
    pub body: Bits<16>,
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
    /// Pulse: a frame has begun.
    pub item_valid: Signal<In, Bit>,
    /// There is room for another one.
    pub item_room: Signal<Out, Bit>,
    /// The frame.
    pub item: Signal<In, Item>,
    /// Frames whose job or entry is taken, modulo their counter.
    pub taken: Signal<In, Bits<SLOTS>>,
    /// Number for the header whose first word is being added: of a frame that leads, else 0.
    pub number: Signal<Out, Bits<16>>,
    /// Pulse: the sums of the next frame's header are complete, or it has none.
    pub sums_valid: Signal<In, Bit>,
    /// Sums of the header in work.
    pub sums: Signal<In, HeadSums>,
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
    /// A frame may leave.
    pub frame_valid: Signal<Out, Bit>,
    /// It is taken.
    pub frame_ready: Signal<In, Bit>,
    /// The frame.
    pub frame: Signal<Out, TxFrame>,
    /// Checksums of a frame that leads.
    pub late: Signal<Out, Late>,
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
    /// Nothing in hand.
    pub idle: Signal<Out, Bit>,
    items: Fifo<Item, SLOT_LOG2, SLOTS>,
    fetches: LutRam<Fetched, SLOT_LOG2>,
    /// One bit per slot: `fetches` has its outcome.
    is_fetched: Dff<Bits<{ 1 << SLOT_LOG2 }>>,
    heads: Heads,
    at: Dff<Bits<SLOTS>>,
    state: Dff<RetireState>,
    /// An item came in the last clock.
    fresh: Dff<Bit>,
    /// The frame in hand leads.
    leads: Dff<Bit>,
    /// It was numbered in the last clock.
    numbered: Dff<Bit>,
    waits: Dff<Bits<WAITS>>,
    told: Dff<Bit>,
    gone: Dff<Bit>,
    outcome: Dff<Outcome>,
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

/// Clocks from a frame's number until it may be offered: the beats that its header goes on for behind the one with the TCP checksum.
///
/// A header ends in beat `head_len / 8`, as it has two bytes more than whole words.
#[kernel]
fn waits_of(f: Form, head_len: Bits<7>) -> Bits<WAITS> {
    let checksum = tcp_at(f).get_bits::<4>(1) + TO_CHECKSUM;
    (head_len.get_bits::<4>(3) - checksum).get_bits::<WAITS>(0)
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

/// What becomes of a frame, if all of it is here; `counter` = packets of its path before it.
#[kernel]
fn outcome(i: Item, f: Fetched, landed: Landed, counter: Bits<16>) -> Outcome {
    let fault = i.reads && (f.lost || f.error || landed.error);
    Outcome {
        result: if i.result == SENT && fault { bits::<2>(NO_DATA) } else { i.result },
        bad: i.bad || (i.reads && f.lost),
        push: i.may_push && f.push,
        ip_id: if i.is_job { ip_id(i.ip_id_start, counter) } else { i.ip_id_start },
        body: if i.reads { landed.sum } else { bits::<16>(0) },
    }
}

/// One less, but not less than none.
#[kernel]
fn down(n: Bits<WAITS>) -> Bits<WAITS> {
    if n == 0 {
        n
    } else {
        n - 1
    }
}

/// The bit of a slot, or none.
#[kernel]
fn one_of(some: bool, slot: Bits<SLOT_LOG2>) -> Bits<{ 1 << SLOT_LOG2 }> {
    if some {
        bits::<{ 1 << SLOT_LOG2 }>(1) << slot
    } else {
        bits::<{ 1 << SLOT_LOG2 }>(0)
    }
}

/// What is counted of a frame of `length` bytes, if it is `sent` now.
#[kernel]
fn counts_of(i: Item, sent: bool, length: Bits<14>) -> TxCounts {
    TxCounts {
        frame: sent && !i.loopback,
        offloaded: sent && i.is_job,
        retransmit: sent && i.retransmit,
        bad_request: false,
        bytes: bit_cast::<16, 14>(length),
    }
}

/// The sum for a frame's checksum: of its bytes, and with a header of its own of that.
#[kernel]
fn sum_of(i: Item, o: Outcome, heads: HeadSums) -> Bits<SUM_BITS> {
    let flag = if o.push { bits::<16>(TCP_PSH << 8) } else { bits::<16>(0) };
    let head = bit_cast::<SUM_BITS, 16>(heads.tcp) + bit_cast::<SUM_BITS, 16>(flag);
    let body = bit_cast::<SUM_BITS, 16>(o.body);
    if i.is_segment {
        body + head
    } else {
        body
    }
}

#[kernel]
impl Logic for Retire {
    fn update(&mut self) {
        dff_setup!(self, clock, is_fetched, at, state, outcome, ip_sum, sum, ip_csum);
        dff_setup!(self, clock, csum, length, fresh, leads, numbered, waits, told, gone);
        clock!(self, clock, items, fetches, heads);
        reset!(self, reset, items, heads);
        let state = self.state.q.val();
        let i = self.items.m_data.val();
        let o = self.outcome.q.val();
        let at = self.at.q.val();
        let slot = at.get_bits::<SLOT_LOG2>(0);
        self.items.s_valid.next = self.item_valid.val();
        self.items.s_data.next = self.item.val();
        self.item_room.next = self.items.s_ready.val();
        self.idle.next = !self.items.m_valid.val();
        self.fetches.we.next = self.fetched_valid.val();
        self.fetches.waddr.next = self.fetched_slot.val();
        self.fetches.wdata.next = self.fetched.val();
        self.fetches.raddr.next = slot;
        self.slot.next = slot;
        self.heads.sums_valid.next = self.sums_valid.val();
        self.heads.sums.next = self.sums.val();
        self.heads.at.next = at;
        self.late.next = self.heads.late.val();

        // Complete: header summed, everything asked for, everything landed.
        let f = self.fetches.rdata.val();
        let landed = self.landed.val();
        let all_landed = !(self.bursts.val() - f.bursts).get_bit(15);
        let is_here = !i.reads || (self.is_fetched.q.val().get_bit(slot.index()) && all_landed);
        let waits = state == RetireState::Wait && self.items.m_valid.val();
        // Or the only one, just begun, and with all that it needs but the sums of its header.
        let alone = self.fresh.q.val() && self.items.level.val() == 1;
        let leads = waits && alone && i.is_job && !i.reads && i.result == SENT;
        let starts = leads || (waits && self.heads.has.val() && is_here);
        self.fresh.d.next = self.item_valid.val();
        self.numbered.d.next = starts;

        let numbered = self.numbered.q.val();
        let led = numbered && self.leads.q.val();
        self.number.next = if led { swap16(o.ip_id) } else { bits::<16>(0) };
        self.heads.leads.next = led;

        // Out. A result is told when the job is taken.
        let sent = o.result == SENT;
        let commits = state == RetireState::Commit;
        let tells = commits && i.is_job && !self.told.q.val() && at != self.taken.val();
        let gone = self.gone.q.val();
        let offers = commits && !gone && self.waits.q.val() == 0;
        let told = !i.is_job || self.told.q.val() || (tells && self.done_ready.val());
        let goes = offers && self.frame_ready.val();
        let ends = commits && told && (goes || gone);
        self.told.d.next = commits && told;
        self.gone.d.next = commits && (goes || gone);
        self.waits.d.next = if leads { waits_of(i.form, i.head_len) } else { down(self.waits.q.val()) };
        let length = self.length.q.val();
        self.frame_valid.next = offers;
        self.frame.next = TxFrame {
            sends: sent,
            push: o.push,
            ip_id: o.ip_id,
            ip_csum: self.ip_csum.q.val(),
            csum: self.csum.q.val(),
            late: self.leads.q.val(),
            ..frame_of(i, length)
        };
        self.numbers.next = starts || numbered;
        self.path.next = i.path;
        self.count.next = numbered && sent && i.is_job && !i.form.v6;
        self.done_valid.next = tells;
        self.done.next = TxDone { conn: i.conn, result: o.result };
        self.ordinary_done.next = goes && i.ends_entry;
        self.counts.next = TxCounts { bad_request: goes && o.bad, ..counts_of(i, goes && sent, length) };
        // Nothing of this one is left when it leaves the list: from then on another frame may have its slot.
        self.items.m_ready.next = ends;
        let others = self.is_fetched.q.val() & !one_of(ends, slot);
        self.is_fetched.d.next = others | one_of(self.fetched_valid.val(), self.fetched_slot.val());
        self.at.d.next = at + ends;

        match state {
            RetireState::Wait => {
                self.outcome.d.next = outcome(i, f, landed, self.counter.val());
                self.length.d.next = wire_len(i.len, i.loopback);
                self.leads.d.next = leads;
                if starts {
                    self.state.d.next = if leads { RetireState::Commit } else { RetireState::Sum };
                }
            }
            RetireState::Sum => {
                let heads = self.heads.sums_at.val();
                self.ip_sum.d.next =
                    bit_cast::<SUM_BITS, 16>(heads.ip) + bit_cast::<SUM_BITS, 16>(swap16(o.ip_id));
                self.sum.d.next = sum_of(i, o, heads);
                self.state.d.next = RetireState::Fold;
            }
            RetireState::Fold => {
                let c = !fold(self.sum.q.val());
                self.ip_csum.d.next = !fold(self.ip_sum.q.val());
                self.csum.d.next = if i.is_segment { c } else { field(c, i.is_odd) };
                self.state.d.next = RetireState::Commit;
            }
            RetireState::Commit => {
                if ends {
                    self.state.d.next = RetireState::Wait;
                }
            }
        }
        dff_reset!(self, reset, is_fetched, at, state, fresh, numbered);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of the module page for every form and length of options, and no clock is given away.
    #[test]
    fn checksums_of_a_frame_that_leads_are_there_before_their_beats() {
        for i in 0..8usize {
            let (tagged, snap, v6) = (i & 1 != 0, i & 2 != 0, i & 4 != 0);
            let ip = 14 + 4 * (i & 1) + 4 * (i & 2);
            let tcp = ip + if v6 { 40 } else { 20 };
            for option_words in 0..=10 {
                let head_len = tcp + 20 + 4 * option_words;
                let waits = waits_of(Form { tagged, snap, v6 }, (head_len as u64).into()).to_u64();
                let first_beat = 5 + waits as usize;
                // A header word has bytes 2 to 9 of its eight, the last one what is left.
                let last_word = (head_len - 1) / 8;
                let last_of_ip = (ip + 20 - 3) / 8;
                assert_eq!(first_beat + (tcp + 16) / 8, 5 + last_word, "{i} {option_words}");
                assert!(v6 || first_beat + (ip + 10) / 8 >= 5 + last_of_ip, "{i} {option_words}");
            }
        }
    }
}
