//! Neighbors and paths as the command block keeps them: `1 << TABLE` rows of each; `OBJ` = `TABLE` + 1.
//!
//! An id beyond the table has no row: it reads as not `in_range` and never as live.
//!
//! Latency: a row follows `row` in the same clock; a written one is there in the next. Throughput: one read and one write
//! per clock. Back-pressure: none. Reset: all rows dead, after `1 << OBJ` clocks; `ready` is low meanwhile.
use super::objects::Object;
use crate::mem::LutRam;
use crate::prelude::*;

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

/// The block. See the module page.
#[derive(LogicBlock, Default)]
pub struct Store<const TABLE: usize, const OBJ: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Synchronous, active high.
    pub reset: Signal<In, Bit>,
    /// All rows were cleared since reset.
    pub ready: Signal<Out, Bit>,
    /// Row to read.
    pub row: Signal<In, Row>,
    /// What is in it.
    pub found: Signal<Out, Found>,
    /// Write; only when `ready`.
    pub write: Signal<In, Bit>,
    /// Row to write, which must be in range.
    pub write_row: Signal<In, Row>,
    /// What goes into it.
    pub object: Signal<In, Object>,
    rows: LutRam<Object, OBJ>,
    cleared: Dff<Bits<OBJ>>,
    live: Dff<Bit>,
}

#[kernel]
impl<const TABLE: usize, const OBJ: usize> Logic for Store<TABLE, OBJ> {
    fn update(&mut self) {
        dff_setup!(self, clock, cleared, live);
        clock!(self, clock, rows);
        let (row, to, ready) = (self.row.val(), self.write_row.val(), self.live.q.val());
        self.ready.next = ready;
        self.rows.raddr.next = cat::<OBJ, _>((row.is_path, row.id.get_bits::<TABLE>(0)));
        let in_range = (row.id >> (TABLE as u64)) == 0;
        let object = self.rows.rdata.val();
        self.found.next = Found { in_range, object: Object { live: object.live && in_range, ..object } };

        let at = cat::<OBJ, _>((to.is_path, to.id.get_bits::<TABLE>(0)));
        self.rows.we.next = self.write.val() || !ready;
        self.rows.waddr.next = if ready { at } else { self.cleared.q.val() };
        self.rows.wdata.next = if ready { self.object.val() } else { Object::default() };
        if !ready {
            self.cleared.d.next = self.cleared.q.val() + 1;
            self.live.d.next = self.cleared.q.val().all();
        }
        dff_reset!(self, reset, cleared, live);
    }
}
