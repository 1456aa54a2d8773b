//! Which connection a frame is for, found while the frame still comes in; its verdict decides later whether that matters.
//!
//! ```text
//!   tuple complete: flow --> [flows of 32] --held--> lookup --conn--> VLAN id of the neighbor
//!                   hash --> [hashes of 32] ---------^  `--hit, same VLAN?--> [answers of 32] --> oldest frame
//!                                                                       `-- when that one waits: past it --^
//!   numbers:   oldest ... answered ... | at: in work or next | ... hashed | described
//! ```
//! Kept frames have numbers, and the lists are memories in which a frame's number is its place. A frame that comes in has the number of the
//! next one that is kept; if it is dropped, the frame behind it has it too, and asks again with its own key: so a dropped frame leaves
//! nothing behind, and a frame without a key is no candidate. Answers come in the order of the numbers: those before `at` are there.
//!
//! **The table changes** (a connection comes or goes, or a path has another neighbor): no answer is worth anything any more, and `at` goes
//! back to the oldest frame. So a frame is offered for the connection that the table holds in that very clock, whatever it waited for,
//! and an offer may be withdrawn. Changes are at least 12 clocks apart, so the oldest frame always gets its answer.
//!
//! The fields of the parser are those of the frame whose key was hashed up to the clock in which that frame is described; when hashing is later
//! than that, the flow lies here already.
//!
//! Latency: a find begins in the clock with the hash; its answer counts in the clock of `find_done`. Throughput: a find in 7 clocks; a
//! frame without a whole key takes 2. Back-pressure: none to the parser, since no more frames than the lists hold are kept. Reset: no frames.
use super::hash::Hashed;
use super::{Flow, FlowKey};
use crate::eth::rx_stream::METAS_LOG2;
use crate::ip::tx_build::VLAN;
use crate::mem::LutRam;
use crate::prelude::*;

/// Bits of a frame's number: one more than of its place.
const NUMBER: usize = METAS_LOG2 + 1;

/// What the lookup says of a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Answer {
    /// It is a connection's.
    pub hit: Bit,
    /// The connection.
    pub conn: Bits<12>,
}

/// R-284: a connection whose neighbor has a VLAN id takes frames with that id alone, of any priority. Either framing is taken
/// (RFC 1122 2.3.3): the neighbor's says how to send.
#[kernel]
fn is_foreign(f: Flow, vlan: Bits<VLAN>) -> bool {
    vlan.any() && !(f.tagged && f.vid == vlan)
}

/// The place of a number.
#[kernel]
fn place(number: Bits<NUMBER>) -> Bits<METAS_LOG2> {
    number.get_bits::<METAS_LOG2>(0)
}

/// The block. See the module page.
#[derive(LogicBlock, Default)]
pub struct Ahead {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Reset.
    pub reset: Signal<In, Bit>,
    /// The flow of the frame that the parser has.
    pub flow: Signal<In, Flow>,
    /// Pulse: that frame is kept and described.
    pub described: Signal<In, Bit>,
    /// Pulse: a key begins to be hashed.
    pub begun: Signal<In, Bit>,
    /// Pulse: it is hashed.
    pub hashed: Signal<In, Bit>,
    /// With `hashed`: the hash.
    pub key_hash: Signal<In, Bits<32>>,
    /// Pulse: the end of a kept frame has come through the hash unit.
    pub ended: Signal<In, Bit>,
    /// With `ended`: words of its key are missing.
    pub lost: Signal<In, Bit>,
    /// A key is to be found.
    pub find_valid: Signal<Out, Bit>,
    /// The key: the family with `find_valid`, all of it from the second clock after that until `find_done`.
    pub find_key: Signal<Out, FlowKey>,
    /// Its hash, with `find_valid`.
    pub find_hash: Signal<Out, Bits<32>>,
    /// The lookup takes it.
    pub find_ready: Signal<In, Bit>,
    /// Pulse: the answer is there.
    pub find_done: Signal<In, Bit>,
    /// With `find_done`: found.
    pub find_hit: Signal<In, Bit>,
    /// With `find_hit`: connection id.
    pub find_conn: Signal<In, Bits<16>>,
    /// VLAN id of that connection's neighbor, 0 = none; two clocks before `find_hit`.
    pub vlan: Signal<In, Bits<VLAN>>,
    /// Pulse: from the next clock on the table says something else.
    pub changed: Signal<In, Bit>,
    /// The oldest frame is described.
    pub waits: Signal<In, Bit>,
    /// It may be a connection's.
    pub candidate: Signal<In, Bit>,
    /// It is known whose it is.
    pub ready: Signal<Out, Bit>,
    /// With `ready`: the answer; of no candidate a miss.
    pub answer: Signal<Out, Answer>,
    /// It is taken; only with `ready`.
    pub taken: Signal<In, Bit>,
    flows: LutRam<Flow, METAS_LOG2>,
    hashes: LutRam<Hashed, METAS_LOG2>,
    answers: LutRam<Answer, METAS_LOG2>,
    oldest: Dff<Bits<NUMBER>>,
    at: Dff<Bits<NUMBER>>,
    /// Frames that came through the hash unit.
    through: Dff<Bits<NUMBER>>,
    /// Frames that were described.
    told: Dff<Bits<NUMBER>>,
    /// The key of the frame in the hash unit is hashed.
    keyed: Dff<Bit>,
    /// Flow and hash of `at`, and whether the hash is that.
    held: Dff<Flow>,
    seen: Dff<Hashed>,
    is_seen: Dff<Bit>,
    busy: Dff<Bit>,
    /// The answer in work is for nothing.
    vain: Dff<Bit>,
    foreign: Dff<Bit>,
}

#[kernel]
impl Logic for Ahead {
    fn update(&mut self) {
        dff_setup!(self, clock, oldest, at, through, told, keyed, held, seen, is_seen, busy, vain, foreign);
        clock!(self, clock, flows, hashes, answers);
        let (oldest, at, through) = (self.oldest.q.val(), self.at.q.val(), self.through.q.val());
        let (busy, told, seen) = (self.busy.q.val(), self.told.q.val(), self.seen.q.val());
        let taken = self.taken.val();
        // Where the find stands: at the frame in the hash unit, behind it, at the oldest one.
        let (here, beyond, none) = (at == through, at == through + 1, at == oldest);
        let full = (through - oldest).get_bit(METAS_LOG2);

        // Keys come in: the hash when it is made, the flow then or with the description, whichever is first.
        let hashed = self.hashed.val() && !full;
        let bad = self.ended.val() && (self.lost.val() || !(hashed || self.keyed.q.val()));
        let redo = self.begun.val() || bad;
        let fresh = hashed && through == told;
        let flow = self.flow.val();
        let new = Hashed { hash: self.key_hash.val(), ok: hashed };
        self.flows.we.next = self.described.val() || fresh;
        self.flows.waddr.next = place(told);
        self.flows.wdata.next = flow;
        self.hashes.we.next = hashed || bad;
        self.hashes.waddr.next = place(through);
        self.hashes.wdata.next = new;
        if self.begun.val() || self.ended.val() {
            self.keyed.d.next = false;
        } else if hashed {
            self.keyed.d.next = true;
        }
        self.through.d.next = through + self.ended.val();
        self.told.d.next = told + self.described.val();

        // Finds.
        let next = !busy && self.is_seen.q.val() && (if here { self.keyed.q.val() } else { !beyond });
        let direct = hashed && here && !busy;
        let asks = direct || next && seen.ok;
        let starts = asks && self.find_ready.val();
        self.flows.raddr.next = place(at);
        self.hashes.raddr.next = place(at);
        let kept = self.flows.rdata.val();
        self.held.d.next = kept;
        self.seen.d.next = if here && (hashed || bad) { new } else { self.hashes.rdata.val() };
        self.find_valid.next = asks;
        self.find_hash.next = if direct { new.hash } else { seen.hash };
        let is_v6 = if direct && fresh { flow.key.is_v6 } else { kept.key.is_v6 };
        self.find_key.next = FlowKey { is_v6, ..self.held.q.val().key };
        self.foreign.d.next = is_foreign(self.held.q.val(), self.vlan.val());
        let stale = self.changed.val() || redo && here || taken && none;
        self.busy.d.next = starts || busy && !self.find_done.val();
        self.vain.d.next = stale || !starts && self.vain.q.val();

        // Answers.
        let found = busy && self.find_done.val() && !self.vain.q.val();
        let new_answer = Answer {
            hit: found && self.find_hit.val() && !self.foreign.q.val(),
            conn: self.find_conn.val().get_bits::<12>(0),
        };
        let answered = found || next && !seen.ok;
        self.answers.we.next = answered;
        self.answers.waddr.next = place(at);
        self.answers.wdata.next = new_answer;
        self.answers.raddr.next = place(oldest);
        let behind = oldest + taken;
        self.oldest.d.next = behind;
        let on = (answered || taken && none) && !(redo && here);
        let back = redo && beyond;
        if self.changed.val() {
            self.at.d.next = behind;
        } else if back {
            self.at.d.next = through;
        } else if on {
            self.at.d.next = at + 1;
        }
        self.is_seen.d.next = !(self.changed.val() || back || on);

        // The oldest frame.
        let candidate = self.candidate.val();
        let answer = if none { new_answer } else { self.answers.rdata.val() };
        self.ready.next = self.waits.val() && through != oldest && (!candidate || !none || found);
        self.answer.next = Answer { hit: candidate && answer.hit, ..answer };
        dff_reset!(self, reset, oldest, at, through, told, keyed, is_seen, busy, vain);
    }
}
