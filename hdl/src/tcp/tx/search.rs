//! A search in a send ring: what is looked for, and how an entry looks to it. Pure functions.
use crate::eth::tx::SLOT_LOG2;
use crate::mirror::SendDesc;
use crate::prelude::*;
use crate::tcp::tx::item::{Piece, WalkJob, BYTE_PLACE};
use chimney_abi::desc::SEND_PUSH;

const PUSH_BIT: usize = SEND_PUSH.trailing_zeros() as usize;

/// What counts of a descriptor.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Entry {
    /// Address of the first byte.
    pub addr: Bits<64>,
    /// Bytes.
    pub len: Bits<24>,
    /// `SEND_PUSH`.
    pub push: Bit,
    /// Sequence number of the first byte.
    pub seq: Bits<32>,
}

/// The entry of a send ring that was used last.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Cursor {
    /// 0 = none: begin at index 0.
    pub valid: Bit,
    /// Its index.
    pub index: Bits<16>,
    /// Its contents.
    pub entry: Entry,
}

/// A search.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Search {
    /// What is looked for; moves on with every piece.
    pub job: WalkJob,
    /// The entry looked at.
    pub index: Bits<16>,
    /// Entries looked at.
    pub steps: Bits<18>,
    /// Some piece was given.
    pub begun: Bit,
    /// PSH is wanted.
    pub push: Bit,
}

/// A search as it waits for a descriptor.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Parked {
    /// See [`WalkJob`].
    pub slot: Bits<SLOT_LOG2>,
    /// See [`WalkJob`].
    pub dst: Bits<BYTE_PLACE>,
    /// See [`WalkJob`].
    pub conn: Bits<16>,
    /// See [`WalkJob`].
    pub addr: Bits<64>,
    /// See [`WalkJob`].
    pub log2: Bits<5>,
    /// See [`WalkJob`].
    pub seq: Bits<32>,
    /// See [`WalkJob`].
    pub len: Bits<16>,
    /// See [`Search`].
    pub index: Bits<16>,
    /// See [`Search`].
    pub steps: Bits<18>,
    /// See [`Search`].
    pub begun: Bit,
    /// See [`Search`].
    pub push: Bit,
}

/// What is kept of a search that waits.
#[kernel]
pub fn park(s: Search) -> Parked {
    let j = s.job;
    Parked {
        slot: j.slot,
        dst: j.dst,
        conn: j.conn,
        addr: j.addr,
        log2: j.log2,
        seq: j.seq,
        len: j.len,
        index: s.index,
        steps: s.steps,
        begun: s.begun,
        push: s.push,
    }
}

/// The search that waited.
#[kernel]
pub fn resumed(p: Parked) -> Search {
    Search {
        job: WalkJob {
            walk: true,
            slot: p.slot,
            dst: p.dst,
            conn: p.conn,
            reset: false,
            addr: p.addr,
            log2: p.log2,
            seq: p.seq,
            len: p.len,
        },
        index: p.index,
        steps: p.steps,
        begun: p.begun,
        push: p.push,
    }
}

/// A descriptor as it came.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Answer {
    /// The descriptor.
    pub entry: Entry,
    /// The read failed.
    pub error: Bit,
}

/// What is given of an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Given {
    /// Address of the first byte.
    pub addr: Bits<64>,
    /// Bytes.
    pub len: Bits<16>,
    /// See [`Piece`].
    pub ends: Bit,
    /// See [`Piece`].
    pub push: Bit,
    /// See [`Piece`].
    pub lost: Bit,
    /// See [`Piece`].
    pub error: Bit,
}

/// An entry seen from a search.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Seen {
    /// It holds the byte.
    pub holds: Bit,
    /// The byte lies before it.
    pub before: Bit,
    /// Nothing more to look at: the search has failed.
    pub gives_up: Bit,
    /// What can be read of it.
    pub given: Given,
}

/// Looks at an entry: `off` = bytes from its first one to the wanted one, `rest` = from there to its end.
#[kernel]
pub fn look(s: Search, e: Entry, off: Bits<32>, rest: Bits<32>) -> Seen {
    let j = s.job;
    let want = bit_cast::<32, 16>(j.len);
    let holds = off < bit_cast::<32, 24>(e.len);
    let closes = rest <= want;
    let len = if closes { rest.get_bits::<16>(0) } else { j.len };
    Seen {
        holds,
        before: off.get_bit(31),
        gives_up: e.len == 0 || (s.steps >> j.log2).get_bit(1),
        given: Given {
            addr: e.addr + bit_cast::<64, 32>(off),
            len: if holds { len } else { bits::<16>(0) },
            ends: !holds || want <= rest,
            push: s.push || (closes && e.push),
            lost: !holds,
            error: false,
        },
    }
}

/// What is given without looking at an entry: what was asked for, or nothing because of an error.
#[kernel]
pub fn plain(j: WalkJob, error: bool) -> Given {
    Given {
        addr: j.addr,
        len: if error { bits::<16>(0) } else { j.len },
        ends: true,
        push: false,
        lost: false,
        error,
    }
}

/// The search behind a piece of `len` bytes.
#[kernel]
pub fn after(s: Search, len: Bits<16>) -> Search {
    let j = s.job;
    let job = WalkJob {
        dst: j.dst + bit_cast::<BYTE_PLACE, 16>(len),
        seq: j.seq + bit_cast::<32, 16>(len),
        len: j.len - len,
        ..j
    };
    Search { job, index: s.index + 1, begun: true, ..s }
}

/// The entry of two words.
#[kernel]
pub fn entry_of(low: Bits<64>, high: Bits<64>) -> Entry {
    let d = unpack::<SendDesc, 128>(cat::<128, _>((high, low)));
    Entry { addr: d.addr, len: d.len, push: d.flags.get_bit(PUSH_BIT), seq: d.seq }
}

/// What is given, as a piece of the search.
#[kernel]
pub fn piece_of(s: Search, g: Given) -> Piece {
    let j = s.job;
    Piece {
        slot: j.slot,
        dst: j.dst,
        addr: g.addr,
        len: g.len,
        from: if j.walk { bits::<8>(0) } else { j.seq.get_bits::<8>(0) },
        first: !s.begun,
        ends: g.ends,
        push: g.push,
        lost: g.lost,
        error: g.error,
    }
}
