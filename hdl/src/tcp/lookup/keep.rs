//! The keeper: inserts, deletes, moves. The only writer of slots, stash and rows.
//!
//! ```text
//!          .--insert--> Remote --> Local --v
//!   Idle --+--delete---------------------> Fetch --> Mix --> Take --all words--> Probe --> Act --> Answer --> Settle
//!     ^    `-(stash in the way: Rotate)     ^----------------'                     ^        |                  |  ^
//!     |                                                       Peek .. Test <-------|--------'     a free slot, |  |
//!     |                                       the same tuple: Answer | another: ---'             or a swap     v  |
//!     `--stash empty, or 63 swaps made--------------------------------------------------------------------  Move -'
//! ```
//! `Fetch`, `Mix`, `Take` hash the tuple in the rows of the connection; `Peek`, `Hold`, `Own`, `Test` compare them with those of a
//! connection that has the same hash, word by word. `Rotate` turns the stash until its first entry, the hand, is empty (for
//! an insert) or in use (for a move).
//!
//! A slot or the stash changes in `Act`, `Move` and `Rotate` alone, which follow a clock in which the table was `free`, and
//! in which no find begins (`open`): so an entry that moves is seen by every find, in its old place or in its new one.
//!
//! Latency and throughput: see [`super`]. Back-pressure: an operation is held until `op_done`; it waits for `filled`.
//! Reset: no operation, the stash is empty.
use super::moves::{
    end_of, evicted, first_free, is_local, next_word, places_of, ports, stash_after, victim, word_of,
    LOCAL_PORT, REMOTE_PORT,
};
use super::slots::kept;
use super::{first_of, row_at, Entry, LookupOp, Row, Slot, PLACES, SLOTS, STASH};
use crate::prelude::*;

/// Bits of the count of swaps after an operation.
const BUDGET: usize = 6;
/// Taps of the dice, a shift register of 255 states.
const TAPS: u64 = 0xb8;

/// Where the keeper stands.
#[derive(Clone, Copy, Debug, PartialEq, LogicState)]
pub enum KeepState {
    /// Nothing to do.
    Idle,
    /// The stash turns.
    Rotate,
    /// The remote end is written.
    Remote,
    /// The local end is written.
    Local,
    /// A word is read.
    Fetch,
    /// It is given to T.
    Mix,
    /// The hash comes back.
    Take,
    /// The places of the hash are read.
    Probe,
    /// The table is changed.
    Act,
    /// A word of a connection with the same hash is read.
    Peek,
    /// It is kept.
    Hold,
    /// The same word of the new connection is read.
    Own,
    /// Are they the same?
    Test,
    /// The operation is done.
    Answer,
    /// The places of the hand are read.
    Settle,
    /// The hand goes into a slot.
    Move,
}

/// What moves the keeper on.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
struct Moves {
    /// An operation waits.
    op: Bit,
    /// It is an insert.
    insert: Bit,
    /// The first entry of the stash is in use.
    hand: Bit,
    /// Some entry is.
    some: Bit,
    /// All are.
    full: Bit,
    /// The table may be read, and changed in the next clock.
    free: Bit,
    /// The word in work is the remote port, which goes to T with the local one.
    half: Bit,
    /// It is the last one.
    last: Bit,
    /// T takes it.
    mixed: Bit,
    /// Another connection has the same hash.
    rival: Bit,
    /// The word is another one than the rival's.
    differs: Bit,
    /// An operation was answered; the stash is being emptied.
    settling: Bit,
    /// Enough swaps were made.
    tired: Bit,
}

#[kernel]
fn on_idle(m: Moves) -> KeepState {
    if !m.op || m.insert && m.hand && !m.full && !m.free {
        KeepState::Idle
    } else if !m.insert {
        KeepState::Fetch
    } else if !m.hand {
        KeepState::Remote
    } else if m.full {
        KeepState::Answer
    } else {
        KeepState::Rotate
    }
}

#[kernel]
fn on_settle(m: Moves) -> KeepState {
    if !m.some || m.tired {
        KeepState::Idle
    } else if !m.free {
        KeepState::Settle
    } else if m.hand {
        KeepState::Move
    } else {
        KeepState::Rotate
    }
}

/// One state or the other.
#[kernel]
fn pick(b: bool, yes: KeepState, no: KeepState) -> KeepState {
    if b {
        yes
    } else {
        no
    }
}

/// The next state.
#[kernel]
fn next_state(state: KeepState, m: Moves) -> KeepState {
    match state {
        KeepState::Idle => on_idle(m),
        KeepState::Rotate => pick(m.settling, KeepState::Settle, KeepState::Idle),
        KeepState::Remote => KeepState::Local,
        KeepState::Local => KeepState::Fetch,
        KeepState::Fetch => pick(m.free, KeepState::Mix, state),
        KeepState::Mix => pick(m.mixed && !m.half, KeepState::Take, KeepState::Fetch),
        KeepState::Take => pick(m.last, KeepState::Probe, KeepState::Fetch),
        KeepState::Probe => pick(m.free, KeepState::Act, state),
        KeepState::Act => pick(m.insert && m.rival, KeepState::Peek, KeepState::Answer),
        KeepState::Peek => pick(m.free, KeepState::Hold, state),
        KeepState::Hold => KeepState::Own,
        KeepState::Own => pick(m.free, KeepState::Test, state),
        KeepState::Test => {
            pick(m.differs, KeepState::Probe, pick(m.last, KeepState::Answer, KeepState::Peek))
        }
        KeepState::Answer => KeepState::Settle,
        KeepState::Settle => on_settle(m),
        KeepState::Move => KeepState::Settle,
    }
}

/// The block. See the module page.
#[derive(LogicBlock, Default)]
pub struct Keeper<const AW: usize, const ROW: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Reset.
    pub reset: Signal<In, Bit>,
    /// The slots are cleared, the S-boxes filled.
    pub enable: Signal<In, Bit>,
    /// The table is to be changed.
    pub op_valid: Signal<In, Bit>,
    /// The change; stays until `op_done`.
    pub op: Signal<In, LookupOp>,
    /// Pulse: it is done.
    pub op_done: Signal<Out, Bit>,
    /// With `op_done`: the table was changed.
    pub op_ok: Signal<Out, Bit>,
    /// With `op_done`, an insert: the key is in the table already.
    pub op_known: Signal<Out, Bit>,
    /// No slot is being written.
    pub open: Signal<Out, Bit>,
    /// An entry comes or goes, perhaps.
    pub changes: Signal<Out, Bit>,
    /// No find uses slots and rows in this clock.
    pub free: Signal<In, Bit>,
    /// Look at the places of a hash.
    pub probe: Signal<Out, Bit>,
    /// The hash.
    pub hash: Signal<Out, Bits<32>>,
    /// Its key is of IPv6.
    pub is_v6: Signal<Out, Bit>,
    /// See [`Slots`](super::slots::Slots).
    pub stash: [Signal<Out, Entry>; STASH],
    /// See [`Slots`](super::slots::Slots).
    pub mask: Signal<In, Bits<PLACES>>,
    /// See [`Slots`](super::slots::Slots).
    pub pick: Signal<Out, Bits<PLACES>>,
    /// `pick` counts in this clock.
    pub picks: Signal<Out, Bit>,
    /// See [`Slots`](super::slots::Slots).
    pub picked: Signal<In, Bits<12>>,
    /// See [`Slots`](super::slots::Slots).
    pub slots: [Signal<In, Slot>; SLOTS],
    /// See [`Slots`](super::slots::Slots).
    pub probed: Signal<In, Bits<32>>,
    /// See [`Slots`](super::slots::Slots).
    pub we: Signal<Out, Bits<SLOTS>>,
    /// See [`Slots`](super::slots::Slots).
    pub put: Signal<Out, Bit>,
    /// See [`Slots`](super::slots::Slots).
    pub put_conn: Signal<Out, Bits<12>>,
    /// Read a row.
    pub row_re: Signal<Out, Bit>,
    /// Its address.
    pub row_at: Signal<Out, Bits<ROW>>,
    /// The row.
    pub row: Signal<In, Row>,
    /// Write a row.
    pub row_we: Signal<Out, Bit>,
    /// Its address.
    pub row_to: Signal<Out, Bits<ROW>>,
    /// What goes there.
    pub row_new: Signal<Out, Row>,
    /// T of a word is wanted.
    pub mix_valid: Signal<Out, Bit>,
    /// It is looked up.
    pub mix_ready: Signal<In, Bit>,
    /// The word.
    pub mix_x: Signal<Out, Bits<32>>,
    /// T of it, one clock later.
    pub mix_y: Signal<In, Bits<32>>,
    state: Dff<KeepState>,
    k: Dff<Bits<4>>,
    h: Dff<Bits<32>>,
    held: Dff<Bits<32>>,
    seen: Dff<Bits<PLACES>>,
    peer: Dff<Bits<12>>,
    ok: Dff<Bit>,
    known: Dff<Bit>,
    settling: Dff<Bit>,
    budget: Dff<Bits<BUDGET>>,
    side: Dff<Bit>,
    dice: Dff<Bits<8>>,
    entries: [Dff<Entry>; STASH],
}

#[kernel]
impl<const AW: usize, const ROW: usize> Logic for Keeper<AW, ROW> {
    fn update(&mut self) {
        dff_setup!(
            self, clock, state, k, h, held, seen, peer, ok, known, settling, budget, side, dice, entries
        );
        let (state, k, op) = (self.state.q.val(), self.k.q.val(), self.op.val());
        let (free, insert, is_v6) = (self.free.val(), self.op.val().insert, self.op.val().key.is_v6);
        let (id, hand) = (op.conn.get_bits::<12>(0), self.entries[0].q.val());
        let slots = array::<SLOTS, _>(|i| self.slots[i].val());
        let (acting, moving, rotating) =
            (state == KeepState::Act, state == KeepState::Move, state == KeepState::Rotate);
        let (half, last) = (k == REMOTE_PORT, k == LOCAL_PORT);
        self.open.next = !acting && !moving && !rotating;
        self.changes.next = acting;
        self.op_done.next = state == KeepState::Answer;
        self.op_ok.next = self.ok.q.val();
        self.op_known.next = self.known.q.val();
        // Rows.
        let (local, peeking) = (state == KeepState::Local, state == KeepState::Peek);
        self.row_re.next = free && (state == KeepState::Fetch || peeking || state == KeepState::Own);
        self.row_at.next = row_at::<ROW>(if peeking { self.peer.q.val() } else { id }, is_local(k));
        self.row_we.next = local || state == KeepState::Remote;
        self.row_to.next = row_at::<ROW>(id, local);
        self.row_new.next = end_of(op.key, local);

        // The hash, word by word.
        let (held, word) = (self.held.q.val(), word_of(self.row.val(), k));
        let (mixing, differs) = (state == KeepState::Mix, held != word);
        self.mix_valid.next = mixing && !half;
        self.mix_x.next = self.h.q.val() ^ if last { ports(held, word) } else { word };
        if mixing && half || state == KeepState::Hold {
            self.held.d.next = word;
        }
        let (testing, taking) = (state == KeepState::Test, state == KeepState::Take);
        if taking || mixing && half || testing {
            self.k.d.next = next_word(k, is_v6);
            self.h.d.next = if taking { self.mix_y.val() } else { self.h.q.val() };
        }

        // Places.
        let settles = state == KeepState::Settle;
        self.probe.next = free && (state == KeepState::Probe || settles && hand.valid);
        self.hash.next = if settles { hand.hash } else { self.h.q.val() };
        self.is_v6.next = if settles { hand.is_v6 } else { is_v6 };
        let (rivals, hash) = (self.mask.val() & !self.seen.q.val(), kept::<AW>(self.h.q.val()));
        self.pick.next = rivals;
        self.picks.next = acting;
        let stash = array::<STASH, _>(|i| self.entries[i].q.val());
        let own = places_of(id, slots, stash);
        let (room, dice) = (first_free(slots), self.dice.q.val());
        let chosen = if room.any() { room } else { victim(self.side.q.val(), dice.get_bit(0)) };
        let deleted = if acting && !insert { own } else { bits::<PLACES>(0) };
        self.dice.d.next = cat::<8, _>((dice.get_bits::<7>(0), !(dice & bits::<8>(TAPS)).xor()));
        self.put.next = moving;
        self.put_conn.next = hand.conn;
        self.we.next = if moving { chosen } else { deleted.get_bits::<SLOTS>(0) };
        let turned = stash_after(stash, rotating, deleted);
        for i in 0..STASH {
            self.stash[i].next = stash[i];
            self.entries[i].d.next = turned[i];
        }

        if state == KeepState::Idle {
            self.k.d.next = bits::<4>(0);
            self.h.d.next = bits::<32>(0);
            self.seen.d.next = bits::<PLACES>(0);
            self.settling.d.next = false;
        }
        if acting {
            self.k.d.next = bits::<4>(0);
            self.peer.d.next = self.picked.val();
            self.seen.d.next = self.seen.q.val() | first_of(rivals);
        }
        let enters = acting && insert && rivals == 0;
        self.ok.d.next = enters || deleted.any();
        self.known.d.next = testing && !differs && last;
        if enters {
            self.entries[0].d.next = Entry { valid: true, is_v6, conn: id, hash };
        }
        if state == KeepState::Answer {
            self.settling.d.next = true;
            self.budget.d.next = !bits::<BUDGET>(0);
        }
        if moving {
            let out = evicted::<AW>(self.side.q.val(), dice.get_bit(0), slots, self.probed.val());
            self.entries[0].d.next = Entry { valid: !room.any(), ..out };
            self.side.d.next = !self.side.q.val();
            self.budget.d.next = self.budget.q.val() - 1;
        }
        let moves = Moves {
            op: self.op_valid.val() && self.enable.val(),
            insert,
            hand: hand.valid,
            some: stash[0].valid || stash[1].valid || stash[2].valid || stash[3].valid,
            full: stash[0].valid && stash[1].valid && stash[2].valid && stash[3].valid,
            free,
            half,
            last,
            mixed: self.mix_ready.val(),
            rival: rivals.any(),
            differs,
            settling: self.settling.q.val(),
            tired: self.budget.q.val() == 0,
        };
        self.state.d.next = next_state(state, moves);
        dff_reset!(self, reset, state, budget, side, dice, entries);
    }
}
