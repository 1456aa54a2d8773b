//! What the command block knows of neighbors and paths: what a command may do with them, what it changes, and how an
//! image becomes a table entry. Pure functions; [`super::object_ops`] says when.
use super::job::{Job, INITIATE, INVALIDATE, KIND_PATH, NO_PARENT, QUERY, STALE, SUCCESS, TERMINATE, UPDATE};
use super::store::{Found, Head, LANES, LANE_BITS, WORD_LANES};
use crate::ip::tx_build::VLAN;
use crate::mirror::{NeighborImage, PathImage};
use crate::prelude::*;
use crate::tcp::tx::tables::{
    NeighborEntry, PathEntry, TableOp, TABLE_NEIGHBOR, TABLE_PATH, TABLE_PATH_NEW, TABLE_READ,
};
use chimney_abi::cmd::Status;
use chimney_abi::state;
use chimney_abi::wire::{ethernet, ipv4, ipv6};

/// Bits of the largest body kept here (a path).
pub const BODY_BITS: usize = 320;
/// Bits of a neighbor body.
pub const NEIGHBOR_BITS: usize = 192;

const PATH_ENTRIES: u64 = Status::PathEntries.code() as u64;
const NEIGHBOR_ENTRIES: u64 = Status::NeighborEntries.code() as u64;
const VLAN_MISMATCH: u64 = Status::VlanMismatch.code() as u64;
const PATH_MTU: u64 = Status::PathMtu.code() as u64;
const REJECTED: u64 = Status::Rejected.code() as u64;
const MAX_MTU: u64 = ethernet::MAX_JUMBO_MTU as u64;
const MAX_SNAP_MTU: u64 = ethernet::MAX_SNAP_MTU as u64;
const MIN_MTU: u64 = ipv4::MIN_MTU as u64;
const MIN_V6_MTU: u64 = ipv6::MIN_MTU as u64;
const MAX_VLAN_ID: u64 = ethernet::MAX_VLAN_ID as u64;
const LLC_SNAP: u64 = state::NEIGHBOR_LLC_SNAP as u64;
const PATH_IPV6: u64 = state::PATH_IPV6 as u64;
/// Place of the IP ID counter in a path's body.
const IP_ID_COUNTER: usize = 288;
/// Its lane.
pub const IP_ID_LANE: u64 = 1 << (IP_ID_COUNTER / LANE_BITS);
/// The CACHED lanes of a neighbor: the destination address, and the flags.
const NEIGHBOR_CACHED: u64 = 0b1000_0111;
/// The CACHED lane of a path: the MTU.
const PATH_CACHED: u64 = 1 << 16;

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

/// The neighbor of an object.
#[kernel]
fn neighbor_image(o: Object) -> NeighborImage {
    unpack::<NeighborImage, NEIGHBOR_BITS>(o.body.get_bits::<NEIGHBOR_BITS>(0))
}

/// VLAN id of a neighbor.
#[kernel]
pub fn vlan_of(o: Object) -> Bits<VLAN> {
    neighbor_image(o).vlan.get_bits::<VLAN>(0)
}

/// A flag of an image is set.
#[kernel]
fn has(flags: Bits<16>, flag: u64) -> bool {
    (flags & bits::<16>(flag)).any()
}

/// The family of a path, by its image's body.
#[kernel]
pub fn is_v6(body: Bits<BODY_BITS>) -> bool {
    has(unpack::<PathImage, BODY_BITS>(body).flags, PATH_IPV6)
}

/// What a path has to know of its neighbor.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Parent {
    /// It is live, and of the generation that the path's image names.
    pub is_right: Bit,
    /// It has LLC/SNAP framing.
    pub is_snap: Bit,
    /// VLAN id.
    pub vlan: Bits<VLAN>,
}

/// The neighbor of a job's path.
#[kernel]
pub fn parent_of(job: Job, neighbor: Object) -> Parent {
    Parent {
        is_right: neighbor.live && neighbor.generation == job.header.parent_generation,
        is_snap: has(neighbor_image(neighbor).flags, LLC_SNAP),
        vlan: vlan_of(neighbor),
    }
}

/// What a device does not take: an id that is none, and a path MTU that its frames do not have. The path's family does
/// not change in an update.
#[kernel]
fn body_status(is_path: bool, parent: Parent, body: Bits<BODY_BITS>) -> Bits<8> {
    let mtu = unpack::<PathImage, BODY_BITS>(body).mtu;
    let most = if parent.is_snap { bits::<16>(MAX_SNAP_MTU) } else { bits::<16>(MAX_MTU) };
    let least = if is_v6(body) { bits::<16>(MIN_V6_MTU) } else { bits::<16>(MIN_MTU) };
    if !is_path && body.get_bits::<16>(48) > MAX_VLAN_ID {
        bits::<8>(VLAN_MISMATCH)
    } else if is_path && mtu > most {
        bits::<8>(PATH_MTU)
    } else if is_path && mtu < least {
        bits::<8>(REJECTED)
    } else {
        bits::<8>(SUCCESS)
    }
}

/// Status of a job on `found`, whose body has the lanes already that came with the job.
#[kernel]
pub fn object_status(job: Job, found: Found, parent: Parent) -> Bits<8> {
    let h = job.header;
    let (is_path, initiates) = (h.kind == KIND_PATH, job.opcode == INITIATE);
    let mine = found.object.live && found.object.generation == h.generation;
    let orphan = is_path && !parent.is_right;
    let brings = initiates || job.opcode == UPDATE;
    let body = body_status(is_path, parent, found.object.body);
    if initiates && (!found.in_range || found.object.live) {
        if is_path {
            bits::<8>(PATH_ENTRIES)
        } else {
            bits::<8>(NEIGHBOR_ENTRIES)
        }
    } else if !initiates && !mine {
        bits::<8>(STALE)
    } else if brings && orphan {
        bits::<8>(NO_PARENT)
    } else if initiates || brings && is_path {
        body
    } else {
        bits::<8>(SUCCESS)
    }
}

/// The head after a job that succeeds.
#[kernel]
pub fn head_after(job: Job, old: Object) -> Head {
    let (h, code) = (job.header, job.opcode);
    let (initiates, moves) = (code == INITIATE, code == INITIATE || code == UPDATE);
    Head {
        live: initiates || old.live && code != TERMINATE,
        invalid: !initiates && old.invalid || code == INVALIDATE,
        generation: h.generation,
        parent: if moves { h.parent } else { old.parent },
    }
}

/// The lanes that change with a beat of a body: in an update only CACHED values.
#[kernel]
pub fn lanes(job: Job, beat: Bits<3>) -> Bits<LANES> {
    let cached = if job.header.kind == KIND_PATH {
        bits::<LANES>(PATH_CACHED)
    } else {
        bits::<LANES>(NEIGHBOR_CACHED)
    };
    let kept = if job.opcode == INITIATE { !bits::<LANES>(0) } else { cached };
    let mut of_beat = bits::<LANES>(0);
    for i in 0..LANES {
        of_beat = of_beat.replace_bit(i, beat == (i / WORD_LANES) as u64);
    }
    kept & of_beat
}

/// What the tables have to do for a job. `vlan`: id of a path's neighbor.
#[kernel]
pub fn table_op(job: Job, o: Object, vlan: Bits<VLAN>) -> TableOp {
    let (is_path, code) = (job.header.kind == KIND_PATH, job.opcode);
    let (reads, is_new) = (code == QUERY, code == INITIATE);
    let kind = if !is_path {
        bits::<2>(TABLE_NEIGHBOR)
    } else if reads {
        bits::<2>(TABLE_READ)
    } else if is_new {
        bits::<2>(TABLE_PATH_NEW)
    } else {
        bits::<2>(TABLE_PATH)
    };
    TableOp {
        kind,
        id: job.header.id,
        path: path_entry(o),
        neighbor: neighbor_entry(o),
        ip_id_counter: o.body.get_bits::<16>(IP_ID_COUNTER),
        mtu: path_mtu(o),
        links: is_path && (is_new || code == UPDATE),
        vlan,
    }
}

/// The transmitter's entry for a path.
#[kernel]
fn path_entry(o: Object) -> PathEntry {
    let image = unpack::<PathImage, BODY_BITS>(o.body);
    PathEntry {
        usable: o.live && !o.invalid,
        v6: has(image.flags, PATH_IPV6),
        src_ip: cat::<128, _>((image.src_ip_hi, image.src_ip_lo)),
        dst_ip: cat::<128, _>((image.dst_ip_hi, image.dst_ip_lo)),
        neighbor: o.parent,
        ip_id_start: image.ip_id_start,
    }
}

/// The MTU of a path.
#[kernel]
fn path_mtu(o: Object) -> Bits<16> {
    unpack::<PathImage, BODY_BITS>(o.body).mtu
}

/// The transmitter's entry for a neighbor.
#[kernel]
fn neighbor_entry(o: Object) -> NeighborEntry {
    let image = neighbor_image(o);
    NeighborEntry {
        usable: o.live && !o.invalid,
        dst_mac: image.dst_mac,
        src_mac: image.src_mac,
        vlan: vlan_of(o),
        snap: has(image.flags, LLC_SNAP),
    }
}
