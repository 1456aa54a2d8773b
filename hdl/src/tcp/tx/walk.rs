//! Walk: which bytes of host memory make up a frame. Several searches are under way at once.
//!
//! ```text
//!   WalkJob --> Idle -> Load -> Diff -> Look -> Give --Piece--> Cut
//!                 ^ cursor        ^      |       | bytes left
//!                 |               |      v       v
//!   descriptor ---+---------------+     Ask -> Post --ReadReq--> host memory
//!   (with the search that waits for it) <- parked --'
//! ```
//! The send ring is walked from the descriptor used last (the cursor, kept per connection), forward or
//! backward until it holds the sequence number. Entries that are acknowledged may be overwritten; whatever stands
//! there, its second word tells whether to go forward or backward, and the ring closes on itself. So a walk ends at the
//! wanted entry or, in a ring that does not hold it, after two laps with `lost`. A cursor's descriptor is not
//! read again while it serves: it cannot change before `snd_una` has passed it (programmer's guide 7).
//!
//! A search that needs a descriptor is parked ([`super::parking`]) and the next one goes on, unless it is of the same
//! connection: a connection's bytes are found in the order asked for, so its cursor has one user.
//!
//! A job without bytes only makes the cursor forget (`Load`).
//!
//! Latency: 5 clocks to the first piece when the cursor serves, else one memory read per step. Throughput: a piece per 5
//! clocks. Back-pressure: `piece_ready`; `req_ready` is low when 8 searches are parked or one of this connection is.
//! Reset: nothing under way; cursors stay, so the first job of a connection says `reset`.
use crate::mem::SdpRam;
use crate::mirror::SendDesc;
use crate::prelude::*;
use crate::tcp::tx::item::{Piece, WalkJob};
use crate::tcp::tx::parking::Parking;
use crate::tcp::tx::search::{after, look, park, piece_of, plain, resumed, Cursor, Entry, Given, Search};
use crate::types::{ReadBeat, ReadReq};

/// Beats of a descriptor.
const DESC_BEATS: u64 = SendDesc::BITS as u64 / 64;

/// Where the block stands.
#[derive(Clone, Copy, Debug, PartialEq, LogicState)]
pub enum WalkState {
    /// Nothing in hand.
    Idle,
    /// The cursor comes.
    Load,
    /// The distance from the descriptor.
    Diff,
    /// Does it hold the byte?
    Look,
    /// A piece is offered.
    Give,
    /// The next descriptor's place.
    Ask,
    /// Its request is offered.
    Post,
}

/// The block. `CONN`: log2 of connections.
#[derive(LogicBlock, Default)]
pub struct Walk<const CONN: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Synchronous, active high.
    pub reset: Signal<In, Bit>,
    /// Something is to be found.
    pub req_valid: Signal<In, Bit>,
    /// It is taken.
    pub req_ready: Signal<Out, Bit>,
    /// What.
    pub req: Signal<In, WalkJob>,
    /// A piece is offered.
    pub piece_valid: Signal<Out, Bit>,
    /// It is taken.
    pub piece_ready: Signal<In, Bit>,
    /// The piece.
    pub piece: Signal<Out, Piece>,
    /// Descriptor client: request offered.
    pub desc_req_valid: Signal<Out, Bit>,
    /// Descriptor client: taken.
    pub desc_req_ready: Signal<In, Bit>,
    /// Descriptor client: the request.
    pub desc_req: Signal<Out, ReadReq>,
    /// Descriptor client: `beat` is a descriptor's.
    pub desc_beat_valid: Signal<In, Bit>,
    /// Read data.
    pub beat: Signal<In, ReadBeat>,
    cursors: SdpRam<Cursor, CONN>,
    parking: Parking<CONN>,
    state: Dff<WalkState>,
    search: Dff<Search>,
    entry: Dff<Entry>,
    found: Dff<Bit>,
    off: Dff<Bits<32>>,
    rest: Dff<Bits<32>>,
    slot: Dff<Bits<16>>,
    given: Dff<Given>,
}

#[kernel]
impl<const CONN: usize> Logic for Walk<CONN> {
    fn update(&mut self) {
        dff_setup!(self, clock, state, search, entry, found, off, rest, slot, given);
        clock!(self, clock, cursors, parking);
        reset!(self, reset, parking);
        let state = self.state.q.val();
        let idle = state == WalkState::Idle;
        let s = self.search.q.val();
        let e = self.entry.q.val();
        let given = self.given.q.val();

        // Who is next: a search whose descriptor is there, else a new one.
        let req = self.req.val();
        let resumes = idle && self.parking.m_valid.val();
        let held = req.walk && self.parking.is_parked.val();
        let begins =
            idle && !self.parking.m_valid.val() && self.req_valid.val() && self.parking.room.val() && !held;
        self.parking.desc_beat_valid.next = self.desc_beat_valid.val();
        self.parking.beat.next = self.beat.val();
        self.parking.conn.next = bit_cast::<CONN, 16>(req.conn);
        self.parking.m_ready.next = resumes;
        self.req_ready.next = begins;
        self.cursors.re.next = begins;
        self.cursors.raddr.next = bit_cast::<CONN, 16>(req.conn);

        // Cursors, pieces, requests.
        let gives = state == WalkState::Give;
        let ends = gives && given.ends && self.piece_ready.val();
        let none = s.job.len == 0;
        let forgets = state == WalkState::Load && none;
        self.cursors.we.next = forgets || (ends && s.job.walk);
        self.cursors.waddr.next = bit_cast::<CONN, 16>(s.job.conn);
        self.cursors.wdata.next =
            Cursor { valid: self.found.q.val() && !given.lost && !forgets, index: s.index, entry: e };
        self.piece_valid.next = gives;
        self.piece.next = piece_of(s, given);
        let posts = state == WalkState::Post && self.desc_req_ready.val();
        self.desc_req_valid.next = state == WalkState::Post;
        self.desc_req.next = ReadReq {
            iova: s.job.addr + cat::<64, _>((bits::<44>(0), self.slot.q.val(), bits::<4>(0))),
            beats: bits::<6>(DESC_BEATS),
        };
        self.parking.s_valid.next = posts;
        self.parking.s_data.next = park(s);

        match state {
            WalkState::Idle => {
                let answer = self.parking.answer.val();
                let parked = resumed(self.parking.m_data.val());
                if resumes {
                    self.search.d.next = parked;
                    self.entry.d.next = answer.entry;
                    self.found.d.next = !answer.error;
                    self.given.d.next = plain(parked.job, true);
                    self.state.d.next = if answer.error { WalkState::Give } else { WalkState::Diff };
                } else if begins {
                    self.search.d.next = Search { job: req, ..Search::default() };
                    self.state.d.next = WalkState::Load;
                }
            }
            WalkState::Load => {
                let c = self.cursors.rdata.val();
                let known = c.valid && !s.job.reset;
                self.entry.d.next = c.entry;
                self.found.d.next = known;
                self.search.d.next.index = if known { c.index } else { bits::<16>(0) };
                self.given.d.next = plain(s.job, false);
                let search = if known { WalkState::Diff } else { WalkState::Ask };
                let finds = if s.job.walk { search } else { WalkState::Give };
                self.state.d.next = if none { WalkState::Idle } else { finds };
            }
            WalkState::Diff => {
                self.off.d.next = s.job.seq - e.seq;
                self.rest.d.next = bit_cast::<32, 24>(e.len) + e.seq - s.job.seq;
                self.state.d.next = WalkState::Look;
            }
            WalkState::Look => {
                let seen = look(s, e, self.off.q.val(), self.rest.q.val());
                self.given.d.next = seen.given;
                if seen.holds {
                    self.search.d.next.push = seen.given.push;
                } else if !seen.gives_up {
                    let index = if seen.before { s.index - 1 } else { s.index + 1 };
                    self.search.d.next = Search { index, steps: s.steps + 1, ..s };
                }
                self.state.d.next =
                    if seen.holds || seen.gives_up { WalkState::Give } else { WalkState::Ask };
            }
            WalkState::Give => {
                if self.piece_ready.val() {
                    self.search.d.next = after(s, given.len);
                    self.state.d.next = if given.ends { WalkState::Idle } else { WalkState::Ask };
                }
            }
            WalkState::Ask => {
                self.slot.d.next = s.index & ((bits::<16>(1) << s.job.log2) - 1);
                self.state.d.next = WalkState::Post;
            }
            WalkState::Post => {
                if posts {
                    self.state.d.next = WalkState::Idle;
                }
            }
        }
        dff_reset!(self, reset, state);
    }
}
