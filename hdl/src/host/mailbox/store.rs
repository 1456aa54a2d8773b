//! Neighbors and paths as the command block keeps them: `1 << TABLE` rows of each; `OBJ` = `TABLE` + 1. One row at a time is
//! at hand, in registers; the others are in block RAM.
//!
//! ```text
//!   [rows of 8 words of 64 bits] --load: a word per clock--> row at hand --> `found`
//!        ^-----------------------------------save----------'    ^-- changes: head, 16-bit lanes of the body
//! ```
//! Word 0 of a row is its head, words 1 to 5 its body. An id beyond the table has no row: it reads as not `in_range` and
//! never as live.
//!
//! Latency: `loaded` 8 clocks after `load`, `saved` 7 after `save`; a change shows in the next clock. Throughput: a load or a
//! save at a time. Back-pressure: none, nothing is asked for while one is under way. Reset: all rows dead, after `1 << OBJ` clocks; `ready`
//! is low meanwhile.
use super::objects::{Object, BODY_BITS};
use crate::mem::SdpRam;
use crate::prelude::*;

/// Bits of the body that change together.
pub const LANE_BITS: usize = 16;
/// Lanes of a body.
pub const LANES: usize = BODY_BITS / LANE_BITS;
/// Lanes of a word.
pub const WORD_LANES: usize = 64 / LANE_BITS;
/// Number of a row's last word.
const LAST: u64 = BODY_BITS as u64 / 64;
/// log2 of the words of a row.
const ROW_LOG2: usize = 3;
/// log2 of the words that two block RAMs hold.
const WORDS: usize = 9;

/// Names a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Row {
    /// A path, else a neighbor.
    pub is_path: Bit,
    /// Its id.
    pub id: Bits<16>,
}

/// What is in a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Found {
    /// There is such a row.
    pub in_range: Bit,
    /// The object; dead without `in_range`.
    pub object: Object,
}

/// An object without its body.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Head {
    /// See [`Object`].
    pub live: Bit,
    /// See [`Object`].
    pub invalid: Bit,
    /// See [`Object`].
    pub generation: Bits<8>,
    /// See [`Object`].
    pub parent: Bits<16>,
}
/// Bits of a head.
const HEAD_BITS: usize = 26;

/// A change of the row at hand.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Change {
    /// The head becomes this.
    pub has_head: Bit,
    /// See `has_head`.
    pub head: Head,
    /// These lanes of the body become those of `word`.
    pub lanes: Bits<LANES>,
    /// A word of the body.
    pub word: Bits<64>,
}

/// What the store does.
#[derive(Clone, Copy, Debug, PartialEq, LogicState)]
pub enum StoreState {
    /// It makes all rows dead.
    Clear,
    /// Nothing.
    Idle,
    /// A row is read.
    Load,
    /// The row at hand is written.
    Save,
}

/// The block. See the module page.
#[derive(LogicBlock)]
pub struct Store<const TABLE: usize, const OBJ: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Synchronous, active high.
    pub reset: Signal<In, Bit>,
    /// All rows were cleared since reset; nothing may be asked for before.
    pub ready: Signal<Out, Bit>,
    /// The row to load or to save, which must be in range to be saved; stays until it is.
    pub row: Signal<In, Row>,
    /// Take the row at hand; until `loaded`.
    pub load: Signal<In, Bit>,
    /// Pulse: it is.
    pub loaded: Signal<Out, Bit>,
    /// Write the row at hand; until `saved`.
    pub save: Signal<In, Bit>,
    /// Pulse: it is.
    pub saved: Signal<Out, Bit>,
    /// The row at hand.
    pub found: Signal<Out, Found>,
    /// What changes in it; only when it is neither loaded nor saved.
    pub change: Signal<In, Change>,
    words: SdpRam<Bits<64>, WORDS>,
    state: Dff<StoreState>,
    cleared: Dff<Bits<OBJ>>,
    k: Dff<Bits<ROW_LOG2>>,
    comes: Dff<Bit>,
    comes_k: Dff<Bits<ROW_LOG2>>,
    loaded_now: Dff<Bit>,
    saved_now: Dff<Bit>,
    in_range: Dff<Bit>,
    head: Dff<Head>,
    body: [Dff<Bits<LANE_BITS>>; LANES],
}

impl<const TABLE: usize, const OBJ: usize> Default for Store<TABLE, OBJ> {
    fn default() -> Self {
        const { assert!(OBJ == TABLE + 1 && OBJ + ROW_LOG2 <= WORDS, "the rows fit into two block RAMs") };
        Self {
            clock: Signal::default(),
            reset: Signal::default(),
            ready: Signal::default(),
            row: Signal::default(),
            load: Signal::default(),
            loaded: Signal::default(),
            save: Signal::default(),
            saved: Signal::default(),
            found: Signal::default(),
            change: Signal::default(),
            words: SdpRam::default(),
            state: Dff::default(),
            cleared: Dff::default(),
            k: Dff::default(),
            comes: Dff::default(),
            comes_k: Dff::default(),
            loaded_now: Dff::default(),
            saved_now: Dff::default(),
            in_range: Dff::default(),
            head: Dff::default(),
            body: std::array::from_fn(|_| Dff::default()),
        }
    }
}

/// Word `k` of a row.
#[kernel]
fn word_of(head: Head, body: Bits<BODY_BITS>, k: Bits<ROW_LOG2>) -> Bits<64> {
    let first = bit_cast::<64, HEAD_BITS>(pack::<HEAD_BITS, _>(head));
    let words = array::<5, _>(|i| body.get_bits::<64>(64 * i));
    select([first, words[0], words[1], words[2], words[3], words[4]], k)
}

#[kernel]
impl<const TABLE: usize, const OBJ: usize> Logic for Store<TABLE, OBJ> {
    fn update(&mut self) {
        dff_setup!(
            self, clock, state, cleared, k, comes, comes_k, loaded_now, saved_now, in_range, head, body
        );
        clock!(self, clock, words);
        let (state, k, row) = (self.state.q.val(), self.k.q.val(), self.row.val());
        let (clearing, saving) = (state == StoreState::Clear, state == StoreState::Save);
        let in_range = (row.id >> (TABLE as u64)) == 0;
        let index = cat::<OBJ, _>((row.is_path, row.id.get_bits::<TABLE>(0)));
        let at = (bit_cast::<WORDS, OBJ>(index) << (ROW_LOG2 as u64)) | bit_cast::<WORDS, ROW_LOG2>(k);
        let (head, change) = (self.head.q.val(), self.change.val());
        let body = cat::<BODY_BITS, _>(array::<LANES, _>(|i| self.body[LANES - 1 - i].q.val()));
        self.ready.next = !clearing;
        self.loaded.next = self.loaded_now.q.val();
        self.saved.next = self.saved_now.q.val();
        let object = Object {
            live: head.live,
            invalid: head.invalid,
            generation: head.generation,
            parent: head.parent,
            body,
        };
        self.found.next = Found { in_range: self.in_range.q.val(), object };

        // The row at hand.
        let reads = state == StoreState::Load && k <= LAST;
        let (comes, comes_k) = (self.comes.q.val(), self.comes_k.q.val());
        let read = self.words.rdata.val();
        let bus = if comes { read } else { change.word };
        self.comes.d.next = reads;
        self.comes_k.d.next = k;
        for i in 0..LANES {
            let has_come = comes && comes_k == (i / WORD_LANES + 1) as u64;
            if has_come || change.lanes.get_bit(i) {
                self.body[i].d.next = bus.get_bits::<LANE_BITS>(LANE_BITS * (i % WORD_LANES));
            }
        }
        if comes && comes_k == 0 {
            let old = unpack::<Head, HEAD_BITS>(read.get_bits::<HEAD_BITS>(0));
            self.head.d.next = Head { live: old.live && self.in_range.q.val(), ..old };
        } else if change.has_head {
            self.head.d.next = change.head;
        }
        let last_came = comes && comes_k == LAST;
        let last_goes = saving && k == LAST;
        self.loaded_now.d.next = last_came;
        self.saved_now.d.next = last_goes;

        // The memory.
        let cleared = bit_cast::<WORDS, OBJ>(self.cleared.q.val()) << (ROW_LOG2 as u64);
        self.words.re.next = reads;
        self.words.raddr.next = at;
        self.words.we.next = clearing || saving;
        self.words.waddr.next = if clearing { cleared } else { at };
        self.words.wdata.next = if clearing { bits::<64>(0) } else { word_of(head, body, k) };

        let begins = state == StoreState::Idle && !self.loaded_now.q.val() && !self.saved_now.q.val();
        if clearing {
            self.cleared.d.next = self.cleared.q.val() + 1;
        }
        if reads || saving {
            self.k.d.next = k + 1;
        }
        if begins {
            self.k.d.next = bits::<ROW_LOG2>(0);
        }
        if begins && self.load.val() {
            self.in_range.d.next = in_range;
        }
        let all_cleared = clearing && self.cleared.q.val().all();
        self.state.d.next = if begins && self.load.val() {
            StoreState::Load
        } else if begins && self.save.val() {
            StoreState::Save
        } else if all_cleared || last_came || last_goes {
            StoreState::Idle
        } else {
            state
        };
        dff_reset!(self, reset, state, cleared, comes, loaded_now, saved_now);
    }
}
