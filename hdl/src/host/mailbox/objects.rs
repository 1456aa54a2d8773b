//! What the command block knows of neighbors and paths, and how an image becomes a table entry.
use crate::mirror::{NeighborImage, PathImage};
use crate::prelude::*;
use crate::tcp::tx::tables::{NeighborEntry, PathEntry};

/// Bits of the largest body kept here (a path).
pub const BODY_BITS: usize = 320;
/// Bits of a neighbor body.
pub const NEIGHBOR_BITS: usize = 192;

/// A neighbor or path.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Object {
    /// 1 = offloaded.
    pub live: Bit,
    /// 1 = invalidated: not used for sending.
    pub invalid: Bit,
    /// Generation.
    pub generation: Bits<8>,
    /// A path's neighbor.
    pub parent: Bits<16>,
    /// The image's body; a neighbor's in the low bits.
    pub body: Bits<BODY_BITS>,
}

/// The body after an update: only CACHED values change.
#[kernel]
pub fn updated(is_path: bool, old: Bits<BODY_BITS>, new: Bits<BODY_BITS>) -> Bits<BODY_BITS> {
    let mut body = old;
    if is_path {
        body.set_bits::<16>(256, new.get_bits::<16>(256));
    } else {
        body.set_bits::<48>(0, new.get_bits::<48>(0));
    }
    body
}

/// The transmitter's entry for a path.
#[kernel]
pub fn path_entry(o: Object) -> PathEntry {
    let image = unpack::<PathImage, BODY_BITS>(o.body);
    PathEntry {
        usable: o.live && !o.invalid,
        src_ip: image.src_ip_lo.get_bits::<32>(0),
        dst_ip: image.dst_ip_lo.get_bits::<32>(0),
        neighbor: o.parent,
        ip_id_start: image.ip_id_start,
    }
}

/// The transmitter's entry for a neighbor.
#[kernel]
pub fn neighbor_entry(o: Object) -> NeighborEntry {
    let image = unpack::<NeighborImage, NEIGHBOR_BITS>(o.body.get_bits::<NEIGHBOR_BITS>(0));
    NeighborEntry { usable: o.live && !o.invalid, dst_mac: image.dst_mac, src_mac: image.src_mac }
}
