//! Find: which connection has exactly this tuple.
//!
//! ```text
//!   Idle --find--> Match --no candidate--> Miss ---------------------.
//!                    `--> Remote --> Local --> Equal --> Judge --hit--+--> Rest --> Idle
//!                            ^---another candidate--------'
//!   clock 0: probe   1: hashes   2: read remote end   3: read local end, compare   4: compare   5: `find_done`
//! ```
//! In `Rest` no find begins, so that a change of the table never waits for more than one find.
//!
//! Latency: 5 clocks for a hit, 2 for a miss, 4 more for another tuple with the same hash. Throughput: one in 7 clocks.
//! Back-pressure: `find_ready`; the question
//! stays until `find_done`. Reset: nothing is asked.
use super::{row_at, FlowKey, Row, PLACES};
use crate::prelude::*;

/// Words and ports in a row, which are compared each for itself.
const PARTS: usize = 5;

/// Where a find stands.
#[derive(Clone, Copy, Debug, PartialEq, LogicState)]
pub enum FindState {
    /// None.
    Idle,
    /// Hashes are compared.
    Match,
    /// No place holds the hash.
    Miss,
    /// The remote end of a candidate is read.
    Remote,
    /// The local end is read, the remote end compared.
    Local,
    /// The local end is compared.
    Equal,
    /// Found, or on to the next candidate.
    Judge,
    /// The keeper's turn.
    Rest,
}

/// Part by part, whether a row is this end.
#[kernel]
fn equal_parts(row: Row, end: Row) -> Bits<PARTS> {
    let (x, y) = (row.ip, end.ip);
    cat::<PARTS, _>((x.a == y.a, x.b == y.b, x.c == y.c, x.d == y.d, row.port == end.port))
}

/// The block. See the module page.
#[derive(LogicBlock, Default)]
pub struct Find<const ROW: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Reset.
    pub reset: Signal<In, Bit>,
    /// A find may begin: no slot is being written.
    pub open: Signal<In, Bit>,
    /// A key is to be found.
    pub find_valid: Signal<In, Bit>,
    /// The key, from the second clock after it was taken until `find_done`.
    pub find_key: Signal<In, FlowKey>,
    /// It is taken.
    pub find_ready: Signal<Out, Bit>,
    /// Pulse: the answer is there.
    pub find_done: Signal<Out, Bit>,
    /// With `find_done`: the key is in the table.
    pub find_hit: Signal<Out, Bit>,
    /// With `find_hit`: its connection id.
    pub find_conn: Signal<Out, Bits<16>>,
    /// Pulse: `conn` is looked at; it is the answer unless this comes again.
    pub looks: Signal<Out, Bit>,
    /// Slots and rows are not in use: the keeper may read.
    pub free: Signal<Out, Bit>,
    /// Candidates, in the clock after a find was taken.
    pub mask: Signal<In, Bits<PLACES>>,
    /// The places that are left to compare.
    pub left: Signal<Out, Bits<PLACES>>,
    /// The connection in the first of them, as long as `free` is low.
    pub conn: Signal<In, Bits<12>>,
    /// Read a row.
    pub row_re: Signal<Out, Bit>,
    /// Its address.
    pub row_at: Signal<Out, Bits<ROW>>,
    /// The row.
    pub row: Signal<In, Row>,
    state: Dff<FindState>,
    places: Dff<Bits<PLACES>>,
    parts: Dff<Bits<PARTS>>,
    remote_ok: Dff<Bit>,
}

#[kernel]
impl<const ROW: usize> Logic for Find<ROW> {
    fn update(&mut self) {
        dff_setup!(self, clock, state, places, parts, remote_ok);
        let state = self.state.q.val();
        let key = self.find_key.val();
        let left = self.places.q.val();
        let parts = self.parts.q.val();
        let idle = state == FindState::Idle;
        let ready = idle && self.open.val();
        let is_local = state == FindState::Local;
        let judging = state == FindState::Judge;
        let conn = self.conn.val();
        self.left.next = left;
        let others = left & (left - 1);
        let hit = judging && parts.all() && self.remote_ok.q.val();
        self.find_ready.next = ready;
        self.find_hit.next = hit;
        self.find_done.next = hit || judging && others == 0 || state == FindState::Miss;
        self.find_conn.next = bit_cast::<16, 12>(conn);
        self.free.next = idle && !self.find_valid.val() || state == FindState::Rest;
        self.looks.next = state == FindState::Remote;
        self.row_re.next = state == FindState::Remote || is_local;
        self.row_at.next = row_at::<ROW>(conn, is_local);
        let remote = Row { ip: key.remote_ip, port: key.remote_port };
        let local = Row { ip: key.local_ip, port: key.local_port };
        // Two comparators are smaller than one with a choice in front of it.
        let (is_remote_end, is_local_end) =
            (equal_parts(self.row.val(), remote), equal_parts(self.row.val(), local));
        self.parts.d.next = if is_local { is_remote_end } else { is_local_end };
        match state {
            FindState::Idle => {
                if ready && self.find_valid.val() {
                    self.state.d.next = FindState::Match;
                }
            }
            FindState::Match => {
                self.places.d.next = self.mask.val();
                self.state.d.next = if self.mask.val().any() { FindState::Remote } else { FindState::Miss };
            }
            FindState::Remote => self.state.d.next = FindState::Local,
            FindState::Local => self.state.d.next = FindState::Equal,
            FindState::Equal => {
                self.remote_ok.d.next = parts.all();
                self.state.d.next = FindState::Judge;
            }
            FindState::Judge => {
                self.places.d.next = others;
                self.state.d.next = if hit || others == 0 { FindState::Rest } else { FindState::Remote };
            }
            FindState::Miss => self.state.d.next = FindState::Rest,
            FindState::Rest => self.state.d.next = FindState::Idle,
        }
        dff_reset!(self, reset, state);
    }
}
