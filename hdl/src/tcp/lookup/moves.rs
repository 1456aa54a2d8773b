//! What the keeper knows of tuples and slots. Pure functions; [`super::keep`] says when.
use super::slots::{hash_1, hash_2};
use super::{Address, Entry, FlowKey, Row, Slot, PLACES, SLOTS, STASH};
use crate::ip::checksum::be16;
use crate::prelude::*;

/// The words of a tuple: 0 to 3 remote address, 4 to 7 local address, then the ports.
const LOCAL_WORD: u64 = 4;
/// See `LOCAL_WORD`.
pub const REMOTE_PORT: u64 = 8;
/// See `LOCAL_WORD`.
pub const LOCAL_PORT: u64 = 9;

/// The word after word `k` of a tuple.
#[kernel]
pub fn next_word(k: Bits<4>, is_v6: bool) -> Bits<4> {
    if is_v6 || k >= REMOTE_PORT {
        k + 1
    } else {
        k + 4
    }
}

/// Word `k` lies in the row of the local end.
#[kernel]
pub fn is_local(k: Bits<4>) -> bool {
    k == LOCAL_PORT || k >= LOCAL_WORD && k < REMOTE_PORT
}

/// Word `k` of a tuple, out of its row.
#[kernel]
pub fn word_of(row: Row, k: Bits<4>) -> Bits<32> {
    if k >= REMOTE_PORT {
        bit_cast::<32, 16>(row.port)
    } else {
        select([row.ip.a, row.ip.b, row.ip.c, row.ip.d], k.get_bits::<2>(0))
    }
}

/// The slot that changes places with the hand: one of the table from which the hand does not come.
#[kernel]
pub fn victim(side: bool, second: bool) -> Bits<SLOTS> {
    let one = if second { bits::<2>(2) } else { bits::<2>(1) };
    if side {
        cat::<SLOTS, _>((one, bits::<2>(0)))
    } else {
        cat::<SLOTS, _>((bits::<2>(0), one))
    }
}

/// What comes out of the slot that is the [`victim`], as an entry of the stash; `place`: where the probe looked.
#[kernel]
pub fn evicted<const AW: usize>(side: bool, second: bool, slots: [Slot; SLOTS], place: Bits<32>) -> Entry {
    let one = if second { slots[1] } else { slots[0] };
    let two = if second { slots[3] } else { slots[2] };
    let slot = if side { two } else { one };
    let hash = if side {
        hash_2::<AW>(slot.rest, place.get_bits::<AW>(AW))
    } else {
        hash_1::<AW>(slot.rest, place.get_bits::<AW>(0))
    };
    Entry { valid: true, is_v6: slot.is_v6, conn: slot.conn, hash }
}

/// The first free slot, or none.
#[kernel]
pub fn first_free(slots: [Slot; SLOTS]) -> Bits<SLOTS> {
    let used = cat::<SLOTS, _>((slots[3].valid, slots[2].valid, slots[1].valid, slots[0].valid));
    !used & (used + 1)
}

/// The ports as they lie on the wire.
#[kernel]
pub fn ports(remote: Bits<32>, local: Bits<32>) -> Bits<32> {
    cat::<32, _>((be16(local.get_bits::<16>(0)), be16(remote.get_bits::<16>(0))))
}

/// The places in which a connection has an entry.
#[kernel]
pub fn places_of(id: Bits<12>, slots: [Slot; SLOTS], stash: [Entry; STASH]) -> Bits<PLACES> {
    let mut own = bits::<PLACES>(0);
    for i in 0..SLOTS {
        own = own.replace_bit(i, slots[i].valid && slots[i].conn == id);
        own = own.replace_bit(SLOTS + i, stash[i].valid && stash[i].conn == id);
    }
    own
}

/// One end of a tuple, for its row: of IPv4 no more than the first word.
#[kernel]
pub fn end_of(key: FlowKey, local: bool) -> Row {
    let (ip, port) = if local { (key.local_ip, key.local_port) } else { (key.remote_ip, key.remote_port) };
    let short = Address { a: ip.a, ..Address::default() };
    Row { ip: if key.is_v6 { ip } else { short }, port }
}

/// The stash after a turn, or after deletes.
#[kernel]
pub fn stash_after(stash: [Entry; STASH], turns: bool, deleted: Bits<PLACES>) -> [Entry; STASH] {
    array::<STASH, _>(|i| {
        let same = Entry { valid: stash[i].valid && !deleted.get_bit(SLOTS + i), ..stash[i] };
        if turns {
            stash[(i + 1) % STASH]
        } else {
            same
        }
    })
}
