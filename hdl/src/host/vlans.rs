//! The VLAN id of a connection's neighbor (R-284), for the dispatcher.
//!
//! ```text
//!   Initiate: connection --> [path] ----.
//!   hit: connection ----------^         v
//!   path stored or moved: path, id --> [id] --> vlan
//! ```
//! Two tables and no third for neighbors: the command block knows a path's neighbor when it stores the path, and an id is CONST.
//!
//! Latency: `vlan` follows `look` by one clock and stays until the next. Throughput: one look and one change of each table per
//! clock. Back-pressure: none. Reset: none; both are written before anything can hit.
use crate::ip::tx_build::VLAN;
use crate::mem::{LutRam, SdpRam};
use crate::prelude::*;
use crate::tcp::lookup::LookupOp;
use crate::tcp::tx::tables::TableOp;

/// A path's VLAN id.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct PathVlan {
    /// There is one in this cycle.
    pub valid: Bit,
    /// Path id.
    pub path: Bits<16>,
    /// Id of its neighbor, 0 = none.
    pub vlan: Bits<VLAN>,
}

/// A connection's path.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct ConnPath {
    /// There is one in this cycle.
    pub valid: Bit,
    /// Connection id.
    pub conn: Bits<16>,
    /// Its path.
    pub path: Bits<16>,
}

/// What an operation of the tables says of a path's neighbor.
#[kernel]
pub fn path_vlan(carried_out: bool, op: TableOp) -> PathVlan {
    PathVlan { valid: carried_out && op.links, path: op.id, vlan: op.vlan }
}

/// A connection that the lookup is asked to insert has the path of its Initiate.
#[kernel]
pub fn conn_path(asked: bool, lookup: LookupOp, path: Bits<16>) -> ConnPath {
    ConnPath { valid: asked && lookup.insert, conn: lookup.conn, path }
}

/// The block. See the module page.
#[derive(LogicBlock, Default)]
pub struct Vlans<const CONN: usize, const TABLE: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// A path is stored.
    pub path_vlan: Signal<In, PathVlan>,
    /// A connection begins.
    pub conn_path: Signal<In, ConnPath>,
    /// Look `conn` up.
    pub look: Signal<In, Bit>,
    /// Connection id, with `look`.
    pub conn: Signal<In, Bits<16>>,
    /// The id that its frames must have, 0 = any.
    pub vlan: Signal<Out, Bits<VLAN>>,
    paths: SdpRam<Bits<TABLE>, CONN>,
    vlans: LutRam<Bits<VLAN>, TABLE>,
}

#[kernel]
impl<const CONN: usize, const TABLE: usize> Logic for Vlans<CONN, TABLE> {
    fn update(&mut self) {
        clock!(self, clock, paths, vlans);
        let (path, conn) = (self.path_vlan.val(), self.conn_path.val());
        self.vlans.we.next = path.valid;
        self.vlans.waddr.next = bit_cast::<TABLE, 16>(path.path);
        self.vlans.wdata.next = path.vlan;
        self.paths.we.next = conn.valid;
        self.paths.waddr.next = bit_cast::<CONN, 16>(conn.conn);
        self.paths.wdata.next = bit_cast::<TABLE, 16>(conn.path);
        self.paths.re.next = self.look.val();
        self.paths.raddr.next = bit_cast::<CONN, 16>(self.conn.val());
        self.vlans.raddr.next = self.paths.rdata.val();
        self.vlan.next = self.vlans.rdata.val();
    }
}
