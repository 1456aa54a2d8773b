//! The command block's port of the write engine: several parts, one register, commands in the order taken; and the account
//! of those whose report is wanted.
//!
//! Latency: 1 clock. Throughput: one command in 2 clocks. Back-pressure: `ready` depends on the register alone; of parts
//! that offer at once the first in the list goes first. Reset: empty.
use super::job::WriteSlave;
use crate::prelude::*;
use crate::types::{WriteCmd, WriteDone};

/// The block. See the module page.
#[derive(LogicBlock, Default)]
pub struct Writes {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Synchronous, active high.
    pub reset: Signal<In, Bit>,
    /// Status of images.
    pub images: WriteSlave,
    /// Bodies of neighbors and paths.
    pub objects: WriteSlave,
    /// Records of connections.
    pub records: WriteSlave,
    /// Completions.
    pub ring: WriteSlave,
    /// A command is offered.
    pub valid: Signal<Out, Bit>,
    /// It is taken.
    pub ready: Signal<In, Bit>,
    /// The command.
    pub cmd: Signal<Out, WriteCmd>,
    /// A report.
    pub done_valid: Signal<In, Bit>,
    /// The report.
    pub done: Signal<In, WriteDone>,
    /// Pulse: forget what failed.
    pub clear: Signal<In, Bit>,
    /// No report is outstanding.
    pub settled: Signal<Out, Bit>,
    /// Some report since `clear` told an error.
    pub failed: Signal<Out, Bit>,
    full: Dff<Bit>,
    held: Dff<WriteCmd>,
    outstanding: Dff<Bits<5>>,
    error: Dff<Bit>,
}

#[kernel]
impl Logic for Writes {
    fn update(&mut self) {
        dff_setup!(self, clock, full, held, outstanding, error);
        let free = !self.full.q.val();
        let images = self.images.valid.val();
        let objects = self.objects.valid.val() && !images;
        let records = self.records.valid.val() && !images && !objects;
        let ring = self.ring.valid.val() && !images && !objects && !records;
        self.images.ready.next = free;
        self.objects.ready.next = free && !images;
        self.records.ready.next = free && !images && !objects;
        self.ring.ready.next = free && !images && !objects && !records;
        self.valid.next = !free;
        self.cmd.next = self.held.q.val();
        if free {
            self.full.d.next = images || objects || records || ring;
            self.held.d.next = if images {
                self.images.cmd.val()
            } else if objects {
                self.objects.cmd.val()
            } else if records {
                self.records.cmd.val()
            } else {
                self.ring.cmd.val()
            };
        } else if self.ready.val() {
            self.full.d.next = false;
        }

        // Reports. One command is held, the write engine has some more; a record is nine.
        let left = self.full.q.val() && self.ready.val() && self.held.q.val().notify;
        let back = bit_cast::<5, 1>(self.done_valid.val().into());
        self.outstanding.d.next = self.outstanding.q.val() + left - back;
        self.settled.next = !self.outstanding.q.val().any() && free;
        self.failed.next = self.error.q.val();
        if self.clear.val() {
            self.error.d.next = false;
        } else if self.done_valid.val() && self.done.val().error {
            self.error.d.next = true;
        }
        dff_reset!(self, reset, full, outstanding);
    }
}
