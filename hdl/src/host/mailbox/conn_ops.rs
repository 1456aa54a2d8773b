//! A connection's image, or an Abort: who is asked, and in which order.
//!
//! ```text
//!   Idle --> Path --Initiate, Update--> Load --> Offer --> Exchange --Initiate, Terminate--> Lookup --> Done
//!     |        |`--else------------------------->^  ^          |`-else--------------------------|--------^
//!     |        `-refused----------------------------|----------|------------------------------- | -------^
//!     `--Abort--------------------------------------'  refused: Undo (a Terminate) <------------'
//! ```
//! PROTO decides everything about the connection itself; here is what it cannot know: whether the path is live and of the
//! connection's family, and whether the 4-tuple has a place in the lookup. A connection that the lookup does not take is taken back, its beats are
//! thrown away: `Rejected` if the 4-tuple is there already, `TcpEntries` if there is no place.
//!
//! Latency: 6 clocks, 8 more for the row of a new connection's path, and those of PROTO, the lookup and the DMA. Throughput: one job at a time. Back-pressure: waits for
//! PROTO and the lookup. Reset: nothing in work.
use super::job::{
    Job, ABORT, HARDWARE_FAILURE, INITIATE, NO_PARENT, REJECTED, STALE, SUCCESS, TCP_ENTRIES, TERMINATE,
    UPDATE,
};
use super::objects::is_v6 as path_is_v6;
use super::record_in::{is_v6, Ports};
use super::store::{Found, Row};
use crate::mirror::PathImage;
use crate::prelude::*;
use crate::tcp::lookup::{Address, FlowKey, LookupOp};
use crate::types::ConnOp;

/// Where the job stands.
#[derive(Clone, Copy, Debug, PartialEq, LogicState)]
pub enum ConnState {
    /// There is none.
    Idle,
    /// Its path is looked at.
    Path,
    /// Its record is being read.
    Load,
    /// It is offered to PROTO.
    Offer,
    /// Beats go in and out until PROTO is done.
    Exchange,
    /// The lookup is asked to change.
    Lookup,
    /// The lookup did not take the connection: PROTO is asked to give it up.
    Undo,
    /// See [`ConnState::Undo`].
    UndoWait,
    /// It is done.
    Done,
}

/// The block. See the module page.
#[derive(LogicBlock, Default)]
pub struct ConnOps<const CONN: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Synchronous, active high.
    pub reset: Signal<In, Bit>,
    /// Pulse: carry `job` out.
    pub go: Signal<In, Bit>,
    /// A connection's, or an Abort; stable until `done`.
    pub job: Signal<In, Job>,
    /// Pulse: the job is done.
    pub done: Signal<Out, Bit>,
    /// With `done`.
    pub status: Signal<Out, Bits<8>>,
    /// The row of the connection's path.
    pub row: Signal<Out, Row>,
    /// Take it; until `row_loaded`.
    pub row_load: Signal<Out, Bit>,
    /// Pulse: it is at hand.
    pub row_loaded: Signal<In, Bit>,
    /// The row at hand, which stays there until `done`.
    pub found: Signal<In, Found>,
    /// Pulse: read the record.
    pub load_go: Signal<Out, Bit>,
    /// Pulse: it is read.
    pub load_done: Signal<In, Bit>,
    /// With `load_done`: not whole.
    pub load_error: Signal<In, Bit>,
    /// Ports of the record that was read.
    pub ports_in: Signal<In, Ports>,
    /// The record that came out is of IPv6.
    pub out_v6: Signal<In, Bit>,
    /// Pulse: PROTO's next beat is a record's first.
    pub out_go: Signal<Out, Bit>,
    /// Beats may go in and out.
    pub exchange: Signal<Out, Bit>,
    /// Beats are thrown away.
    pub discard: Signal<Out, Bit>,
    /// An operation is offered to PROTO.
    pub op_valid: Signal<Out, Bit>,
    /// It is taken.
    pub op_ready: Signal<In, Bit>,
    /// The operation.
    pub op: Signal<Out, ConnOp>,
    /// Pulse: PROTO has carried it out.
    pub op_done: Signal<In, Bit>,
    /// With `op_done`.
    pub op_status: Signal<In, Bits<8>>,
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
    state: Dff<ConnState>,
    status_of: Dff<Bits<8>>,
}

/// What the command block has against a job before PROTO hears of it, or Success.
#[kernel]
pub fn path_status(job: Job, path: Found, conn_ok: bool) -> Bits<8> {
    let initiates = job.opcode == INITIATE;
    let parent_ok = path.object.live && path.object.generation == job.header.parent_generation;
    if !conn_ok {
        if initiates {
            bits::<8>(TCP_ENTRIES)
        } else {
            bits::<8>(STALE)
        }
    } else if initiates && !parent_ok {
        bits::<8>(NO_PARENT)
    } else {
        bits::<8>(SUCCESS)
    }
}

/// An address of a path.
#[kernel]
fn address(lo: Bits<64>, hi: Bits<64>) -> Address {
    unpack::<Address, 128>(cat::<128, _>((hi, lo)))
}

/// The 4-tuple, of IPv4 with whatever lies behind the first word of an address; for a delete only the family counts.
#[kernel]
fn tuple(path: Found, ports: Ports, is_v6: bool) -> FlowKey {
    let image = unpack::<PathImage, 320>(path.object.body);
    FlowKey {
        is_v6,
        remote_ip: address(image.dst_ip_lo, image.dst_ip_hi),
        local_ip: address(image.src_ip_lo, image.src_ip_hi),
        remote_port: ports.remote,
        local_port: ports.local,
    }
}

#[kernel]
impl<const CONN: usize> Logic for ConnOps<CONN> {
    fn update(&mut self) {
        dff_setup!(self, clock, state, status_of);
        let (state, job) = (self.state.q.val(), self.job.val());
        let (code, h) = (job.opcode, job.header);
        let (initiates, is_abort) = (code == INITIATE, code == ABORT);
        let brings = initiates || code == UPDATE;
        let status = path_status(job, self.found.val(), (h.id >> (CONN as u64)) == 0);
        let undo = state == ConnState::Undo;
        // Only a new connection goes by its path.
        let looked = state == ConnState::Path && (!initiates || self.row_loaded.val());
        let passed = looked && status == SUCCESS;
        self.row_load.next = state == ConnState::Path && initiates;
        self.done.next = state == ConnState::Done;
        self.status.next = self.status_of.q.val();
        self.row.next = Row { is_path: true, id: h.parent };
        self.load_go.next = passed && brings;
        self.exchange.next = state == ConnState::Exchange;
        self.discard.next = state == ConnState::UndoWait;
        self.op_valid.next = state == ConnState::Offer || undo;
        self.out_go.next = state == ConnState::Offer;
        self.op.next = ConnOp {
            opcode: if undo { bits::<8>(TERMINATE) } else { code },
            conn: h.id,
            generation: h.generation,
            path: h.parent,
        };
        self.lookup_valid.next = state == ConnState::Lookup;
        // The family of a Terminate is that of the record which PROTO gave.
        let (found, ports) = (self.found.val(), self.ports_in.val());
        let family = is_v6(ports);
        let key = tuple(found, ports, if initiates { family } else { self.out_v6.val() });
        self.lookup.next = LookupOp { insert: initiates, key, conn: h.id };

        match state {
            ConnState::Idle => {
                if self.go.val() {
                    self.state.d.next = if is_abort { ConnState::Offer } else { ConnState::Path };
                }
            }
            ConnState::Path => {
                self.status_of.d.next = status;
                self.state.d.next = if !looked {
                    state
                } else if !passed {
                    ConnState::Done
                } else if brings {
                    ConnState::Load
                } else {
                    ConnState::Offer
                };
            }
            ConnState::Load => {
                if self.load_done.val() {
                    let foreign = initiates && family != path_is_v6(found.object.body);
                    let failure = self.load_error.val();
                    self.status_of.d.next =
                        if failure { bits::<8>(HARDWARE_FAILURE) } else { bits::<8>(REJECTED) };
                    self.state.d.next = if failure || foreign { ConnState::Done } else { ConnState::Offer };
                }
            }
            ConnState::Offer => {
                if self.op_ready.val() {
                    self.state.d.next = ConnState::Exchange;
                }
            }
            ConnState::Exchange => {
                if self.op_done.val() {
                    let changes = initiates || code == TERMINATE;
                    let good = self.op_status.val() == SUCCESS;
                    self.status_of.d.next = self.op_status.val();
                    self.state.d.next = if good && changes { ConnState::Lookup } else { ConnState::Done };
                }
            }
            ConnState::Lookup => {
                if self.lookup_done.val() {
                    let fails = initiates && !self.lookup_ok.val();
                    if fails {
                        self.status_of.d.next = if self.lookup_known.val() {
                            bits::<8>(REJECTED)
                        } else {
                            bits::<8>(TCP_ENTRIES)
                        };
                    }
                    self.state.d.next = if fails { ConnState::Undo } else { ConnState::Done };
                }
            }
            ConnState::Undo => {
                if self.op_ready.val() {
                    self.state.d.next = ConnState::UndoWait;
                }
            }
            ConnState::UndoWait => {
                if self.op_done.val() {
                    self.state.d.next = ConnState::Done;
                }
            }
            ConnState::Done => {
                self.state.d.next = ConnState::Idle;
            }
        }
        dff_reset!(self, reset, state);
    }
}
