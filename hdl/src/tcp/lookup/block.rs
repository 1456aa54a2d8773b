//! The lookup: instances and wiring only. What it does: `lookup/mod.rs`.
use super::find::Find;
use super::keep::Keeper;
use super::slots::Slots;
use super::{FlowKey, LookupOp, Row, SLOTS, STASH};
use crate::mem::SdpRam;
use crate::prelude::*;

/// The lookup. `AW`: log2 of the buckets of a table; `ROW`: log2 of the number of connections, plus 1.
#[derive(LogicBlock, Default)]
pub struct Lookup<const AW: usize, const ROW: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Reset.
    pub reset: Signal<In, Bit>,
    /// A key is to be found.
    pub find_valid: Signal<In, Bit>,
    /// The key: the family with `find_valid`, all of it from the second clock after it was taken until `find_done`.
    pub find_key: Signal<In, FlowKey>,
    /// Its hash, with `find_valid`.
    pub find_hash: Signal<In, Bits<32>>,
    /// It is taken.
    pub find_ready: Signal<Out, Bit>,
    /// Pulse: the answer is there.
    pub find_done: Signal<Out, Bit>,
    /// With `find_done`: the key is in the table.
    pub find_hit: Signal<Out, Bit>,
    /// With `find_hit`: its connection id.
    pub find_conn: Signal<Out, Bits<16>>,
    /// Pulse, at least three clocks before `find_hit`: `find_conn` may become the answer; the last one does.
    pub find_looks: Signal<Out, Bit>,
    /// From the next clock on finds may be answered otherwise. No find is in work.
    pub changes: Signal<Out, Bit>,
    /// The table is to be changed.
    pub op_valid: Signal<In, Bit>,
    /// The change; stays until `op_done`.
    pub op: Signal<In, LookupOp>,
    /// Pulse: it is done.
    pub op_done: Signal<Out, Bit>,
    /// With `op_done`: the table was changed.
    pub op_ok: Signal<Out, Bit>,
    /// With `op_done`, an insert that failed: the key is in the table already.
    pub op_known: Signal<Out, Bit>,
    /// The S-boxes are filled.
    pub mix_filled: Signal<In, Bit>,
    /// T of a word is wanted.
    pub mix_valid: Signal<Out, Bit>,
    /// It is looked up.
    pub mix_ready: Signal<In, Bit>,
    /// The word.
    pub mix_x: Signal<Out, Bits<32>>,
    /// T of it, one clock later.
    pub mix_y: Signal<In, Bits<32>>,
    slots: Slots<AW>,
    find: Find<ROW>,
    keeper: Keeper<AW, ROW>,
    rows: SdpRam<Row, ROW>,
}

#[kernel]
impl<const AW: usize, const ROW: usize> Logic for Lookup<AW, ROW> {
    fn update(&mut self) {
        clock!(self, clock, slots, find, keeper, rows);
        reset!(self, reset, slots, find, keeper);
        let cleared = self.slots.cleared.val();
        self.find.open.next = cleared && self.keeper.open.val();
        self.find.find_valid.next = self.find_valid.val();
        self.find.find_key.next = self.find_key.val();
        self.find_ready.next = self.find.find_ready.val();
        self.find_done.next = self.find.find_done.val();
        self.find_hit.next = self.find.find_hit.val();
        self.find_conn.next = self.find.find_conn.val();
        self.find_looks.next = self.find.looks.val();
        self.changes.next = self.keeper.changes.val();
        self.keeper.enable.next = cleared && self.mix_filled.val();
        self.keeper.op_valid.next = self.op_valid.val();
        self.keeper.op.next = self.op.val();
        self.keeper.free.next = self.find.free.val();
        self.op_done.next = self.keeper.op_done.val();
        self.op_ok.next = self.keeper.op_ok.val();
        self.op_known.next = self.keeper.op_known.val();
        self.mix_valid.next = self.keeper.mix_valid.val();
        self.mix_x.next = self.keeper.mix_x.val();
        self.keeper.mix_ready.next = self.mix_ready.val();
        self.keeper.mix_y.next = self.mix_y.val();

        // Slots: a find that begins, else the keeper.
        let begins = self.find.find_ready.val() && self.find_valid.val();
        self.slots.probe.next = begins || self.keeper.probe.val();
        self.slots.hash.next = if begins { self.find_hash.val() } else { self.keeper.hash.val() };
        self.slots.is_v6.next = if begins { self.find_key.val().is_v6 } else { self.keeper.is_v6.val() };
        self.slots.we.next = self.keeper.we.val();
        self.slots.put.next = self.keeper.put.val();
        self.slots.put_conn.next = self.keeper.put_conn.val();
        self.find.mask.next = self.slots.mask.val();
        self.keeper.mask.next = self.slots.mask.val();
        self.keeper.probed.next = self.slots.probed.val();
        // The keeper acts only when no find is in work.
        self.slots.pick.next =
            if self.keeper.picks.val() { self.keeper.pick.val() } else { self.find.left.val() };
        self.find.conn.next = self.slots.picked.val();
        self.keeper.picked.next = self.slots.picked.val();
        for i in 0..SLOTS {
            self.keeper.slots[i].next = self.slots.slots[i].val();
        }
        for i in 0..STASH {
            self.slots.stash[i].next = self.keeper.stash[i].val();
        }

        // Rows.
        let finds = self.find.row_re.val();
        self.rows.re.next = finds || self.keeper.row_re.val();
        self.rows.raddr.next = if finds { self.find.row_at.val() } else { self.keeper.row_at.val() };
        self.find.row.next = self.rows.rdata.val();
        self.keeper.row.next = self.rows.rdata.val();
        self.rows.we.next = self.keeper.row_we.val();
        self.rows.waddr.next = self.keeper.row_to.val();
        self.rows.wdata.next = self.keeper.row_new.val();
    }
}
