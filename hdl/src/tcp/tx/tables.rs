//! Paths and neighbors as the transmitter needs them, and the IP ID counters.
//!
//! ```text
//!   path id --> [paths] --neighbor--> [neighbors] --> Route
//!   path id of the packet that leaves --> [counters] --> its number
//! ```
//! The command block is the only writer of entries; it keeps the whole images itself. The relation path -> neighbor is by
//! index, so one update moves all dependents. The counter of a path is changed here with every packet (R-279) and read back
//! at a query or terminate (R-280).
//!
//! Latency: the route follows `path`, the counter `packet_path` in the same clock; `op_counter` is valid from the clock after
//! its operation. Throughput: one lookup, and one count or operation, per clock. Back-pressure: operations wait while `busy`.
//! Reset state: all entries unusable; it takes `1 << LOG2` clocks after `reset`, `op_ready` is low meanwhile.
use crate::ip::tx_build::{Route, VLAN};
use crate::mem::LutRam;
use crate::prelude::*;
use crate::types::PathMtu;

/// [`TableOp::kind`]: store a path, its IP ID counter stays (update, invalidate, terminate).
pub const TABLE_PATH: u64 = 0;
/// [`TableOp::kind`]: store a path and its IP ID counter (initiate).
pub const TABLE_PATH_NEW: u64 = 1;
/// [`TableOp::kind`]: store a neighbor.
pub const TABLE_NEIGHBOR: u64 = 2;
/// [`TableOp::kind`]: only read the IP ID counter of a path.
pub const TABLE_READ: u64 = 3;

/// A path.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct PathEntry {
    /// 1 = live and not invalidated.
    pub usable: Bit,
    /// 1 = IPv6.
    pub v6: Bit,
    /// Local address, first wire byte in bits 7:0; IPv4 in the low 32 bits.
    pub src_ip: Bits<128>,
    /// Remote address.
    pub dst_ip: Bits<128>,
    /// Neighbor id: the parent in the image header.
    pub neighbor: Bits<16>,
    /// `PathImage::ip_id_start`.
    pub ip_id_start: Bits<16>,
}

/// A neighbor.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct NeighborEntry {
    /// 1 = live and not invalidated.
    pub usable: Bit,
    /// `NeighborImage::dst_mac`.
    pub dst_mac: Bits<48>,
    /// `NeighborImage::src_mac`; 0 = the interface's own (R-053).
    pub src_mac: Bits<48>,
    /// VLAN id, 0 = none.
    pub vlan: Bits<VLAN>,
    /// 1 = LLC/SNAP.
    pub snap: Bit,
}

/// An operation on the tables (command block -> transmitter).
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct TableOp {
    /// `TABLE_*`.
    pub kind: Bits<2>,
    /// Path or neighbor id.
    pub id: Bits<16>,
    /// The path.
    pub path: PathEntry,
    /// The neighbor.
    pub neighbor: NeighborEntry,
    /// The counter (`TABLE_PATH_NEW`).
    pub ip_id_counter: Bits<16>,
    /// The path's MTU; PROTO's, not kept here.
    pub mtu: Bits<16>,
    /// 1 = the path's neighbor is (again) this one; the dispatcher's, like `vlan`, not kept here.
    pub links: Bit,
    /// With `links`: the neighbor's VLAN id.
    pub vlan: Bits<VLAN>,
}

/// What PROTO hears of an operation: a path's MTU and family.
#[kernel]
pub fn path_mtu(carried_out: bool, op: TableOp) -> PathMtu {
    let stores = op.kind == TABLE_PATH || op.kind == TABLE_PATH_NEW;
    PathMtu { valid: carried_out && stores, path: op.id, mtu: op.mtu, v6: op.path.v6 }
}

/// The tables, `1 << LOG2` entries each.
#[derive(LogicBlock, Default)]
pub struct Tables<const LOG2: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Synchronous, active high.
    pub reset: Signal<In, Bit>,
    /// Interface MAC address, first wire byte in bits 7:0.
    pub mac: Signal<In, Bits<48>>,
    /// An operation is offered.
    pub op_valid: Signal<In, Bit>,
    /// It is carried out.
    pub op_ready: Signal<Out, Bit>,
    /// The operation.
    pub op: Signal<In, TableOp>,
    /// IP ID counter of the path of the last operation, before it.
    pub op_counter: Signal<Out, Bits<16>>,
    /// Path id of a lookup.
    pub path: Signal<In, Bits<16>>,
    /// The way of its packets.
    pub route: Signal<Out, Route>,
    /// A packet is being numbered: `packet_path` decides which counter is read.
    pub busy: Signal<In, Bit>,
    /// Path id of the packet.
    pub packet_path: Signal<In, Bits<16>>,
    /// Packets of its path before it; meaningful while `busy`.
    pub counter: Signal<Out, Bits<16>>,
    /// It is sent; only with `busy`.
    pub count: Signal<In, Bit>,
    paths: LutRam<PathEntry, LOG2>,
    neighbors: LutRam<NeighborEntry, LOG2>,
    counters: LutRam<Bits<16>, LOG2>,
    clearing: Dff<Bit>,
    cleared: Dff<Bits<LOG2>>,
    answer: Dff<Bits<16>>,
}

#[kernel]
impl<const LOG2: usize> Logic for Tables<LOG2> {
    fn update(&mut self) {
        dff_setup!(self, clock, clearing, cleared, answer);
        clock!(self, clock, paths, neighbors, counters);
        let op = self.op.val();
        let busy = self.busy.val();
        let clearing = self.clearing.q.val();
        let ready = !clearing && !busy;
        let go = self.op_valid.val() && ready;
        self.op_ready.next = ready;
        self.op_counter.next = self.answer.q.val();

        // Lookup.
        self.paths.raddr.next = bit_cast::<LOG2, _>(self.path.val());
        let p = self.paths.rdata.val();
        self.neighbors.raddr.next = bit_cast::<LOG2, _>(p.neighbor);
        let n = self.neighbors.rdata.val();
        self.route.next = Route {
            ok: p.usable && n.usable,
            dst_mac: n.dst_mac,
            src_mac: if n.src_mac == 0 { self.mac.val() } else { n.src_mac },
            vlan: n.vlan,
            snap: n.snap,
            v6: p.v6,
            src_ip: p.src_ip,
            dst_ip: p.dst_ip,
            ip_id_start: p.ip_id_start,
        };

        // The packet's number, or the operation's.
        let id = bit_cast::<LOG2, _>(if busy { self.packet_path.val() } else { op.id });
        self.counters.raddr.next = id;
        let counter = self.counters.rdata.val();
        self.counter.next = counter;

        // Writes: clearing, operations, counting.
        let at = if clearing { self.cleared.q.val() } else { bit_cast::<LOG2, _>(op.id) };
        let is_path = op.kind == TABLE_PATH || op.kind == TABLE_PATH_NEW;
        self.paths.we.next = clearing || (go && is_path);
        self.paths.waddr.next = at;
        self.paths.wdata.next = PathEntry { usable: op.path.usable && !clearing, ..op.path };
        self.neighbors.we.next = clearing || (go && op.kind == TABLE_NEIGHBOR);
        self.neighbors.waddr.next = at;
        self.neighbors.wdata.next = NeighborEntry { usable: op.neighbor.usable && !clearing, ..op.neighbor };
        self.counters.we.next = (go && op.kind == TABLE_PATH_NEW) || (busy && self.count.val());
        self.counters.waddr.next = if busy { id } else { at };
        self.counters.wdata.next = if busy { counter + 1 } else { op.ip_id_counter };
        if go {
            self.answer.d.next = counter;
        }
        if clearing {
            self.cleared.d.next = self.cleared.q.val() + 1;
            self.clearing.d.next = !self.cleared.q.val().all();
        }
        dff_reset!(self, reset, cleared);
        if self.reset.val() {
            self.clearing.d.next = true;
        }
    }
}
