//! Cut: pieces become bursts that stay within 256-byte blocks.
//!
//! ```text
//!   Piece -> Idle -> Plan -> Send -- bytes left --> Plan
//!                     |        `-> burst: [requests] --> host memory, LandBurst --> Land
//!                     `-- last piece of a frame: Fetched --> Retire
//! ```
//! Bytes of one piece lie behind each other in host memory and in the payload ring.
//!
//! Latency: 2 clocks to the first burst. Throughput: a burst of up to 256 bytes per 2 clocks, a piece per 3. Back-pressure:
//! `land_room` (the list of bursts under way bounds them) and the read arbiter behind 4 requests. Reset: nothing in hand.
use crate::eth::tx::SLOT_LOG2;
use crate::prelude::*;
use crate::stream::Fifo;
use crate::tcp::tx::item::{Fetched, LandBurst, Piece, BYTE_PLACE};
use crate::types::ReadReq;

/// Beats in a 256-byte block.
const BLOCK_BEATS: u64 = 32;

/// Where the block stands.
#[derive(Clone, Copy, Debug, PartialEq, LogicState)]
pub enum CutState {
    /// No piece in hand.
    Idle,
    /// The next burst is cut.
    Plan,
    /// It is sent.
    Send,
}

/// The next burst of `len` bytes at `addr`: its number of beats and bytes.
#[kernel]
pub fn cut(addr: Bits<64>, len: Bits<16>) -> (Bits<6>, Bits<9>) {
    let skip = addr.get_bits::<3>(0);
    let to_block = bits::<6>(BLOCK_BEATS) - bit_cast::<6, 5>(addr.get_bits::<5>(3));
    let all = (bit_cast::<17, 16>(len) + bit_cast::<17, 3>(skip) + 7).get_bits::<14>(3);
    let fits = all <= bit_cast::<14, 6>(to_block);
    let room = cat::<9, _>((to_block, bits::<3>(0))) - bit_cast::<9, 3>(skip);
    if fits {
        (all.get_bits::<6>(0), len.get_bits::<9>(0))
    } else {
        (to_block, room)
    }
}

/// The block. See the module page.
#[derive(LogicBlock, Default)]
pub struct Cut {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Synchronous, active high.
    pub reset: Signal<In, Bit>,
    /// A piece is offered.
    pub piece_valid: Signal<In, Bit>,
    /// It is taken.
    pub piece_ready: Signal<Out, Bit>,
    /// The piece.
    pub piece: Signal<In, Piece>,
    /// Data client: request offered.
    pub req_valid: Signal<Out, Bit>,
    /// Data client: taken.
    pub req_ready: Signal<In, Bit>,
    /// Data client: the request.
    pub req: Signal<Out, ReadReq>,
    /// Another burst may be under way.
    pub land_room: Signal<In, Bit>,
    /// Pulse: a burst is asked for.
    pub land_valid: Signal<Out, Bit>,
    /// The burst.
    pub land: Signal<Out, LandBurst>,
    /// Its beats.
    pub land_beats: Signal<Out, Bits<6>>,
    /// Pulse: all bytes of a frame are asked for.
    pub fetched_valid: Signal<Out, Bit>,
    /// Its slot.
    pub fetched_slot: Signal<Out, Bits<SLOT_LOG2>>,
    /// What is known of it.
    pub fetched: Signal<Out, Fetched>,
    requests: Fifo<ReadReq, 2, 3>,
    state: Dff<CutState>,
    piece_in: Dff<Piece>,
    beats: Dff<Bits<6>>,
    len: Dff<Bits<9>>,
    bursts: Dff<Bits<16>>,
}

#[kernel]
impl Logic for Cut {
    fn update(&mut self) {
        dff_setup!(self, clock, state, piece_in, beats, len, bursts);
        clock!(self, clock, requests);
        reset!(self, reset, requests);
        let state = self.state.q.val();
        let p = self.piece_in.q.val();
        let len = self.len.q.val();
        let skip = p.addr.get_bits::<3>(0);
        self.piece_ready.next = state == CutState::Idle;
        self.req_valid.next = self.requests.m_valid.val();
        self.req.next = self.requests.m_data.val();
        self.requests.m_ready.next = self.req_ready.val();

        let sends = state == CutState::Send && self.land_room.val() && self.requests.s_ready.val();
        self.requests.s_valid.next = sends;
        self.requests.s_data.next = ReadReq {
            iova: cat::<64, _>((p.addr.get_bits::<61>(3), bits::<3>(0))),
            beats: self.beats.q.val(),
        };
        self.land_valid.next = sends;
        self.land_beats.next = self.beats.q.val();
        self.land.next = LandBurst {
            slot: p.slot,
            dst: p.dst,
            skip,
            tail: skip + len.get_bits::<3>(0),
            from: bit_cast::<9, 8>(p.from) + bit_cast::<9, 3>(skip),
            first: p.first,
        };
        self.bursts.d.next = self.bursts.q.val() + sends;

        let empty = state == CutState::Plan && p.len == 0;
        let last = sends && p.len == bit_cast::<16, 9>(len);
        self.fetched_valid.next = p.ends && (empty || last);
        self.fetched_slot.next = p.slot;
        self.fetched.next =
            Fetched { bursts: self.bursts.q.val() + sends, push: p.push, lost: p.lost, error: p.error };
        match state {
            CutState::Idle => {
                self.piece_in.d.next = self.piece.val();
                if self.piece_valid.val() {
                    self.state.d.next = CutState::Plan;
                }
            }
            CutState::Plan => {
                let (beats, len) = cut(p.addr, p.len);
                self.beats.d.next = beats;
                self.len.d.next = len;
                self.state.d.next = if empty { CutState::Idle } else { CutState::Send };
            }
            CutState::Send => {
                if sends {
                    let from = bit_cast::<9, 8>(p.from);
                    self.piece_in.d.next = Piece {
                        addr: p.addr + bit_cast::<64, 9>(len),
                        len: p.len - bit_cast::<16, 9>(len),
                        dst: p.dst + bit_cast::<BYTE_PLACE, 9>(len),
                        from: if from < len { bits::<8>(0) } else { (from - len).get_bits::<8>(0) },
                        first: false,
                        ..p
                    };
                    self.state.d.next = if last { CutState::Idle } else { CutState::Plan };
                }
            }
        }
        dff_reset!(self, reset, state, bursts);
    }
}
