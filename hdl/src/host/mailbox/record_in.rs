//! A connection's record and page map, from host memory to PROTO.
//!
//! All beats are read before PROTO hears of the connection: it never waits for host memory with other connections behind
//! it (law L5), and a record that could not be read whole is not seen at all.
//!
//! Latency: the DMA of 36 beats, and of 32 for the page map. Throughput: one beat per clock to PROTO. Back-pressure: waits
//! for PROTO. Reset: nothing in work.
use super::job::{Job, Run, RunBeat, INITIATE, UPDATE};
use crate::prelude::*;
use crate::stream::RamFifo;
use chimney_abi::{desc, state};

/// Beats of a record.
pub const RECORD_BEATS: u64 = state::TcpRecord::BYTES as u64 / 8;
/// Beats of a page map.
pub const MAP_BEATS: u64 = desc::PAGE_SLOTS as u64;
const IPV6: u64 = state::CONST_IPV6 as u64;
const PAGE_MAP_SHIFT: u64 = desc::PAGE_MAP_STRIDE.trailing_zeros() as u64;
/// log2 of the beats that fit; a record and a page map do.
const HELD_LOG2: usize = 7;

/// A connection's ports and family, as they lie in its record.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Ports {
    /// Own.
    pub local: Bits<16>,
    /// The peer's.
    pub remote: Bits<16>,
    /// `const_flags`.
    pub flags: Bits<16>,
}

/// The connection's family.
#[kernel]
pub fn is_v6(p: Ports) -> bool {
    (p.flags & bits::<16>(IPV6)).any()
}

/// Where the load stands.
#[derive(Clone, Copy, Debug, PartialEq, LogicState)]
pub enum LoadState {
    /// There is none, or it is complete.
    Idle,
    /// The record is being read.
    Record,
    /// The page map is.
    Map,
}

/// The block. See the module page.
#[derive(LogicBlock, Default)]
pub struct RecordIn {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Synchronous, active high.
    pub reset: Signal<In, Bit>,
    /// Pulse: read the record of `job`, and its page map when it is an Initiate. What is left of the last one is forgotten.
    pub go: Signal<In, Bit>,
    /// A connection's; stable until `done`.
    pub job: Signal<In, Job>,
    /// Page map table.
    pub page_map_base: Signal<In, Bits<64>>,
    /// Pulse: all is read.
    pub done: Signal<Out, Bit>,
    /// With `done`: some beat came with an error response; no beat is kept.
    pub error: Signal<Out, Bit>,
    /// Ports of the record, from its first beat on.
    pub ports: Signal<Out, Ports>,
    /// To the reader.
    pub run: Signal<Out, Run>,
    /// From the reader.
    pub news: Signal<In, RunBeat>,
    /// PROTO may have the beats, if `job` has some.
    pub feed: Signal<In, Bit>,
    /// A beat is offered.
    pub op_in_valid: Signal<Out, Bit>,
    /// It is taken.
    pub op_in_ready: Signal<In, Bit>,
    /// The beat.
    pub op_in: Signal<Out, Bits<64>>,
    beats: RamFifo<Bits<64>, HELD_LOG2, { HELD_LOG2 + 1 }>,
    state: Dff<LoadState>,
    is_first: Dff<Bit>,
    ports_of: Dff<Ports>,
}

#[kernel]
impl Logic for RecordIn {
    fn update(&mut self) {
        dff_setup!(self, clock, state, is_first, ports_of);
        clock!(self, clock, beats);
        let (state, job, news) = (self.state.q.val(), self.job.val(), self.news.val());
        let go = self.go.val();
        let record_read = state == LoadState::Record && news.done;
        let wants_map = record_read && !news.error && job.opcode == INITIATE;
        let map = self.page_map_base.val() + (bit_cast::<64, 16>(job.header.id) << PAGE_MAP_SHIFT);
        self.run.next = Run {
            start: go || wants_map,
            iova: if go { job.body } else { map },
            beats: if go { bits::<7>(RECORD_BEATS) } else { bits::<7>(MAP_BEATS) },
        };
        self.done.next = news.done && (state == LoadState::Map || record_read && !wants_map);
        self.error.next = news.error;

        // Beats.
        let got = state != LoadState::Idle && news.valid;
        self.beats.reset.next = self.reset.val() || go || state != LoadState::Idle && news.done && news.error;
        self.beats.s_valid.next = got;
        self.beats.s_data.next = news.data;
        // A record that was read and then refused before PROTO heard of it is still here.
        let feed = self.feed.val() && (job.opcode == INITIATE || job.opcode == UPDATE);
        self.beats.m_ready.next = feed && self.op_in_ready.val();
        self.op_in_valid.next = feed && self.beats.m_valid.val();
        self.op_in.next = self.beats.m_data.val();
        self.ports.next = self.ports_of.q.val();
        if got {
            self.is_first.d.next = false;
            if self.is_first.q.val() {
                self.ports_of.d.next = unpack::<Ports, 48>(news.data.get_bits::<48>(0));
            }
        }
        if go {
            self.is_first.d.next = true;
        }

        // The next state.
        match state {
            LoadState::Idle => {
                if go {
                    self.state.d.next = LoadState::Record;
                }
            }
            LoadState::Record => {
                if wants_map {
                    self.state.d.next = LoadState::Map;
                } else if news.done {
                    self.state.d.next = LoadState::Idle;
                }
            }
            LoadState::Map => {
                if news.done {
                    self.state.d.next = LoadState::Idle;
                }
            }
        }
        dff_reset!(self, reset, state);
    }
}
