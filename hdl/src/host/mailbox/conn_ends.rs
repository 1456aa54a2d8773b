//! PROTO's answers about connections: a new one gets its place in the lookup, one that leaves loses it; then the image is answered.
//!
//! ```text
//!   Idle --an Initiate or Terminate that succeeded--> Lookup --> Answer --> Idle
//!     |`---all others--------------------------------------------^
//!     `----refused without PROTO---------------------------------^
//!                     the lookup does not take it: Full --> PROTO is to give it up, and Idle
//! ```
//! A connection that the lookup does not take is taken back, its image is thrown away: `Rejected` if the 4-tuple is there already,
//! `TcpEntries` if there is no place. Its image is answered with PROTO's answer to that, in `Idle` or in `Full`.
//!
//! Latency: 2 clocks and the lookup's. Throughput: one answer at a time. Back-pressure: waits for the lookup, and for room among the answers.
//! Reset: nothing in work.
use super::conn_ops::GiveUp;
use super::job::{is_v6, Answer, Ports, ABORT, INITIATE, QUERY, REJECTED, SUCCESS, TCP_ENTRIES, TERMINATE};
use super::store::Found;
use crate::mirror::PathImage;
use crate::prelude::*;
use crate::tcp::lookup::{Address, FlowKey, LookupOp};
use crate::types::OpDone;

/// New connections that may be unanswered when another is offered: see [`super::conn_ops`].
const NEW_MOST: u64 = 2;

/// Where the answer stands.
#[derive(Clone, Copy, Debug, PartialEq, LogicState)]
pub enum EndState {
    /// There is none.
    Idle,
    /// The lookup is asked to change.
    Lookup,
    /// It did not; the connection before it is still being given up.
    Full,
    /// The image is answered.
    Answer,
}

/// The block. See the module page.
#[derive(LogicBlock, Default)]
pub struct ConnEnds {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Synchronous, active high.
    pub reset: Signal<In, Bit>,
    /// Pulse: PROTO was asked for something, a connection's giving up apart.
    pub asked: Signal<In, Bit>,
    /// Another new connection may be offered.
    pub may_offer: Signal<Out, Bit>,
    /// Nothing is unanswered.
    pub quiet: Signal<Out, Bit>,
    /// An answer of PROTO.
    pub done_valid: Signal<In, Bit>,
    /// It is taken.
    pub done_ready: Signal<Out, Bit>,
    /// The answer.
    pub done: Signal<In, OpDone>,
    /// An image is refused without PROTO.
    pub refuse: Signal<In, Bit>,
    /// It is taken.
    pub refuse_ready: Signal<Out, Bit>,
    /// Its place.
    pub refuse_index: Signal<In, Bits<16>>,
    /// Its status.
    pub refuse_status: Signal<In, Bits<8>>,
    /// The row of the path of every new connection that is unanswered.
    pub found: Signal<In, Found>,
    /// A change of the lookup is asked for, until `lookup_done`.
    pub lookup_valid: Signal<Out, Bit>,
    /// The change.
    pub lookup: Signal<Out, LookupOp>,
    /// Pulse: the lookup has answered.
    pub lookup_done: Signal<In, Bit>,
    /// With `lookup_done`: it changed.
    pub lookup_ok: Signal<In, Bit>,
    /// With `lookup_done`: the 4-tuple is there already.
    pub lookup_known: Signal<In, Bit>,
    /// PROTO is to give a connection up; until `undone`.
    pub give_up: Signal<Out, GiveUp>,
    /// Pulse: it was asked.
    pub undone: Signal<In, Bit>,
    /// An image is answered.
    pub answer_valid: Signal<Out, Bit>,
    /// It is taken.
    pub answer_ready: Signal<In, Bit>,
    /// The answer.
    pub answer: Signal<Out, Answer>,
    state: Dff<EndState>,
    of: Dff<OpDone>,
    /// Asked, and not answered.
    open: Dff<Bits<5>>,
    give: Dff<GiveUp>,
    /// PROTO was asked to give `give` up; the status of its image.
    gives: Dff<Bit>,
    gives_status: Dff<Bits<8>>,
}

/// An address of a path.
#[kernel]
fn address(lo: Bits<64>, hi: Bits<64>) -> Address {
    unpack::<Address, 128>(cat::<128, _>((hi, lo)))
}

/// The 4-tuple, of IPv4 with whatever lies behind the first word of an address; for a delete only the family counts.
#[kernel]
fn tuple(path: Found, ports: Ports) -> FlowKey {
    let image = unpack::<PathImage, 320>(path.object.body);
    FlowKey {
        is_v6: is_v6(ports),
        remote_ip: address(image.dst_ip_lo, image.dst_ip_hi),
        local_ip: address(image.src_ip_lo, image.src_ip_hi),
        remote_port: ports.remote,
        local_port: ports.local,
    }
}

/// Answer of an image that PROTO had: one that gave its record has written it.
#[kernel]
fn answer_of(d: OpDone) -> Answer {
    let gives = d.opcode == QUERY || d.opcode == TERMINATE;
    Answer {
        index: d.tag,
        status: d.status,
        write: d.opcode != ABORT,
        lands: gives && d.status == SUCCESS && !d.discard,
    }
}

#[kernel]
impl Logic for ConnEnds {
    fn update(&mut self) {
        dff_setup!(self, clock, state, of, open, give, gives, gives_status);
        let (state, of, give) = (self.state.q.val(), self.of.q.val(), self.give.q.val());
        let open = self.open.q.val();
        let gives = self.gives.q.val();
        let idle = state == EndState::Idle;
        let takes = idle && self.done_valid.val() && !self.done.val().discard;
        let refuses = idle && !self.done_valid.val() && self.refuse.val();
        let new = self.done.val();
        let changes = (new.opcode == INITIATE || new.opcode == TERMINATE) && new.status == SUCCESS;
        let undone = (idle || state == EndState::Full) && self.done_valid.val() && new.discard;
        self.done_ready.next = if new.discard { undone && self.answer_ready.val() } else { idle };
        self.refuse_ready.next = refuses;

        // The lookup.
        let initiates = of.opcode == INITIATE;
        self.lookup_valid.next = state == EndState::Lookup;
        self.lookup.next = LookupOp {
            insert: initiates,
            key: tuple(self.found.val(), unpack::<Ports, 48>(of.ports)),
            conn: of.conn,
        };
        let fails = state == EndState::Lookup && self.lookup_done.val() && initiates && !self.lookup_ok.val();
        let refusal = if self.lookup_known.val() { bits::<8>(REJECTED) } else { bits::<8>(TCP_ENTRIES) };

        // Giving up: one connection at a time.
        self.give_up.next = give;
        if state == EndState::Full && !gives {
            self.gives.d.next = true;
            self.gives_status.d.next = of.status;
            self.give.d.next =
                GiveUp { valid: true, conn: of.conn, generation: of.generation, index: of.tag };
        }
        if self.undone.val() {
            self.give.d.next.valid = false;
        }

        // Answers.
        let answered = (undone || state == EndState::Answer) && self.answer_ready.val();
        self.answer_valid.next = undone || state == EndState::Answer;
        self.answer.next =
            answer_of(if undone { OpDone { status: self.gives_status.q.val(), ..new } } else { of });
        if undone && answered {
            self.gives.d.next = false;
        }
        let less: Bits<1> = answered.into();
        self.open.d.next = open + self.asked.val() + refuses - bit_cast::<5, 1>(less);
        self.may_offer.next = open < NEW_MOST;
        self.quiet.next = !open.any();

        match state {
            EndState::Idle => {
                if takes {
                    self.of.d.next = new;
                    self.state.d.next = if changes { EndState::Lookup } else { EndState::Answer };
                } else if refuses {
                    self.of.d.next = OpDone {
                        opcode: bits::<8>(INITIATE),
                        tag: self.refuse_index.val(),
                        status: self.refuse_status.val(),
                        ..OpDone::default()
                    };
                    self.state.d.next = EndState::Answer;
                }
            }
            EndState::Lookup => {
                if fails {
                    self.of.d.next.status = refusal;
                }
                if self.lookup_done.val() {
                    self.state.d.next = if fails { EndState::Full } else { EndState::Answer };
                }
            }
            EndState::Full => {
                if !gives {
                    self.state.d.next = EndState::Idle;
                }
            }
            EndState::Answer => {
                if answered {
                    self.state.d.next = EndState::Idle;
                }
            }
        }
        dff_reset!(self, reset, state, open, give, gives);
    }
}
