//! 4-tuple -> connection id, exact, IPv4 and IPv6: a cuckoo hash table of fingerprints in front of the tuples themselves.
//!
//! ```text
//!   header words --hash.rs--> 32-bit hash --find.rs--> probe: 2 buckets of 2 slots, 4 stash entries --> candidates
//!     (rx parser)    |                                                                |
//!                 sbox.rs (keyed)                 tuple of the candidate (2 rows) <---'   equal: found
//!                    |
//!   command block --keep.rs: insert, delete, moves--> slots.rs, rows
//! ```
//! | memory | words | what |
//! |---|---|---|
//! | slots | 4 x `1 << AW` of 36 bits | [`Slot`]: two tables of two-slot buckets; 50 % full with all connections, or less |
//! | rows | `1 << ROW` of 144 bits | [`Row`]: both ends of every connection, two rows each |
//! | S-boxes | 4 x 256 of 32 bits | filled from `HASH_KEY` |
//! | flows, hashes, answers | 32 each | of frames that wait ([`ahead`]) |
//!
//! * **The hash.** A key is a chain of 32-bit words w as they pass on the wire (addresses, ports; 3 for IPv4, 9 for IPv6):
//!   `h = T(h ^ w)`, and T is simple tabulation: the exclusive or of four random words, one chosen by each byte. One word per
//!   clock. The last step alone is 3-independent, and cuckoo hashing works with simple tabulation whatever the set of keys
//!   (Patrascu and Thorup, "The power of simple tabulation hashing"); before it the chain makes two keys equal with
//!   probability 2^-32 per word. T is unknown without the 64-bit key, and no difference of keys has a difference of hashes
//!   that is likelier than others: a remote host cannot aim at a bucket.
//! * **Slots keep the whole hash.** A bucket's place is part of the hash, the slot holds the rest, so the other bucket of
//!   a slot is known from the slot, and moving it needs no tuple. Equal hashes of different tuples are possible and
//!   harmless: candidates are compared one after the other, and a tuple is found only when all its bits agree.
//! * **Insert** puts the entry into the stash, where it is found at once; then it moves into a free slot, or changes places with
//!   the entry of a slot, which then waits in the stash for its own other bucket, 63 moves at most. An entry
//!   is in a slot or in the stash after every clock, and no find begins in a clock that writes a slot.
//! * **Delete** is by connection id: the tuple comes from the rows, not from the host.
//!
//! Latency: find 5 clocks from the question to `find_done` for a hit, 2 for a miss, 4 more for each other tuple with the
//! same hash. Throughput: one find in 7 clocks. Insert 16 clocks for IPv4, 34 for IPv6, delete 14 and 32, and what finds
//! and the parser take in between: each leaves a free clock. Back-pressure: `find_ready` is low while a slot is written; an
//! operation is held until `op_done`. Reset: the slots are cleared in `1 << AW` clocks, no find meanwhile; the S-boxes are
//! filled in 2112 clocks after the first clock with `CTRL.enable` after a reset, no operation before. A key that is written
//! later counts after the next reset.
use crate::ip::tx_build::VLAN;
use crate::prelude::*;

pub mod ahead;
pub mod block;
pub mod find;
pub mod hash;
pub mod keep;
pub mod moves;
pub mod sbox;
pub mod slots;

pub use block::Lookup;

/// Slots that are looked at for one hash: two buckets of two.
pub const SLOTS: usize = 4;
/// Entries of the stash.
pub const STASH: usize = 4;
/// Both.
pub const PLACES: usize = SLOTS + STASH;
/// Bits of the hash that a slot keeps, besides its place.
pub const REST: usize = 22;

/// An address in words, first wire byte in bits 7:0 of `a`; of IPv4 `a` alone, the others 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Address {
    /// Bytes 0 to 3.
    pub a: Bits<32>,
    /// Bytes 4 to 7.
    pub b: Bits<32>,
    /// Bytes 8 to 11.
    pub c: Bits<32>,
    /// Bytes 12 to 15.
    pub d: Bits<32>,
}

/// What names a connection on the wire. Ports are numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct FlowKey {
    /// 1 = IPv6.
    pub is_v6: Bit,
    /// Peer's address.
    pub remote_ip: Address,
    /// Own address.
    pub local_ip: Address,
    /// Peer's port.
    pub remote_port: Bits<16>,
    /// Own port.
    pub local_port: Bits<16>,
}

/// What names the connection of a frame: the key, and the tag that its neighbor must have.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Flow {
    /// The key.
    pub key: FlowKey,
    /// 1 = an 802.1Q tag.
    pub tagged: Bit,
    /// Its VLAN id.
    pub vid: Bits<VLAN>,
}

/// A change of the table (command block -> lookup).
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct LookupOp {
    /// 1 = insert `key` for `conn`, which has no entry; 0 = delete the entry of `conn`, whose family is `key.is_v6`.
    pub insert: Bit,
    /// The key; of an address of IPv4 the first word alone counts.
    pub key: FlowKey,
    /// Connection id.
    pub conn: Bits<16>,
}

/// One slot of a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Slot {
    /// 1 = in use.
    pub valid: Bit,
    /// 1 = IPv6.
    pub is_v6: Bit,
    /// Connection id.
    pub conn: Bits<12>,
    /// The hash without the place in this table.
    pub rest: Bits<REST>,
}

/// One entry of the stash.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Entry {
    /// 1 = in use.
    pub valid: Bit,
    /// 1 = IPv6.
    pub is_v6: Bit,
    /// Connection id.
    pub conn: Bits<12>,
    /// The hash, as far as slots keep it.
    pub hash: Bits<32>,
}

/// One end of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Row {
    /// Address.
    pub ip: Address,
    /// Port.
    pub port: Bits<16>,
}

/// Address of one end of a connection: `local` or remote.
#[kernel]
pub fn row_at<const ROW: usize>(conn: Bits<12>, local: bool) -> Bits<ROW> {
    cat::<13, _>((conn, local)).get_bits::<ROW>(0)
}

/// The first place in `mask`, alone.
#[kernel]
pub fn first_of(mask: Bits<PLACES>) -> Bits<PLACES> {
    mask & (!mask + 1)
}
