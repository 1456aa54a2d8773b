//! The command block's port of the write engine: several parts, one register, commands in the order taken; and what the reports
//! say of images that were written.
//!
//! Latency: 1 clock. Throughput: one command in 2 clocks. Back-pressure: `ready` depends on the register alone; of parts
//! that offer at once the first in the list goes first. Reset: empty.
use super::job::{WriteSlave, LAST};
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
    /// Pulse: the last write of an image was answered.
    pub landed: Signal<Out, Bit>,
    /// With `landed`: some write of the image was answered with an error.
    pub lost: Signal<Out, Bit>,
    full: Dff<Bit>,
    held: Dff<WriteCmd>,
    error: Dff<Bit>,
}

#[kernel]
impl Logic for Writes {
    fn update(&mut self) {
        dff_setup!(self, clock, full, held, error);
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

        // Reports: images are written one after the other.
        let (reported, report) = (self.done_valid.val(), self.done.val());
        let lost = self.error.q.val() || report.error;
        let landed = reported && report.tag == LAST;
        self.landed.next = landed;
        self.lost.next = lost;
        if reported {
            self.error.d.next = lost && !landed;
        }
        dff_reset!(self, reset, full, error);
    }
}
