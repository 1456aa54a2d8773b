//! The earliest deadline of every connection, and a scanner that looks at one connection per cycle.
//!
//! PROTO writes a connection's deadline whenever it stores the record. The scanner reads the table in turn
//! and offers an expired connection until PROTO takes it; it clears nothing, PROTO's next store does. So an
//! offer may be late by one turn or name a deadline that has moved meanwhile: PROTO compares each of the
//! record's deadlines itself.
//!
//! Latency: up to 2^LOG2 + 2 cycles after the deadline. Throughput: one connection per cycle. Back-pressure:
//! the scan stands while an offer waits. Reset: nothing is offered; the table is cleared by PROTO's sweep.
use super::seq::at_or_before;
use super::watchdog::Due;
use crate::mem::SdpRam;
use crate::prelude::*;

/// An entry of the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Deadline {
    /// 1 = some timer of the connection runs.
    pub running: Bit,
    /// When the earliest of them expires, microseconds.
    pub at: Bits<32>,
}

/// A write to the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct SetDeadline {
    /// 1 = write.
    pub valid: Bit,
    /// Connection.
    pub conn: Bits<16>,
    /// Its entry.
    pub deadline: Deadline,
}

/// The block.
#[derive(LogicBlock, Default)]
pub struct Timers<const LOG2: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Reset.
    pub reset: Signal<In, Bit>,
    /// Scan.
    pub enable: Signal<In, Bit>,
    /// Clock, low word, microseconds.
    pub now_us: Signal<In, Bits<32>>,
    /// Write an entry; always taken.
    pub set: Signal<In, SetDeadline>,
    /// A connection has an expired deadline.
    pub expired: Signal<Out, Due>,
    /// It is taken.
    pub expired_ready: Signal<In, Bit>,
    entries: SdpRam<Deadline, LOG2>,
    scan: Dff<Bits<LOG2>>,
    read: Dff<Bits<LOG2>>,
    is_read: Dff<Bit>,
    found: Dff<Bit>,
    found_conn: Dff<Bits<LOG2>>,
}

#[kernel]
impl<const LOG2: usize> Logic for Timers<LOG2> {
    fn update(&mut self) {
        dff_setup!(self, clock, scan, read, is_read, found, found_conn);
        clock!(self, clock, entries);
        let set = self.set.val();
        self.entries.we.next = set.valid;
        self.entries.waddr.next = bit_cast::<LOG2, 16>(set.conn);
        self.entries.wdata.next = set.deadline;
        self.entries.raddr.next = self.scan.q.val();
        let conn = bit_cast::<16, LOG2>(self.found_conn.q.val());
        self.expired.next = Due { valid: self.found.q.val(), conn, notice: bits::<4>(0) };

        let stands = self.found.q.val() || !self.enable.val();
        self.entries.re.next = !stands;
        self.is_read.d.next = !stands;
        self.read.d.next = self.scan.q.val();
        let entry = self.entries.rdata.val();
        if !stands {
            self.scan.d.next = self.scan.q.val() + 1;
        }
        if self.found.q.val() {
            self.found.d.next = !self.expired_ready.val();
        } else if self.is_read.q.val() && entry.running && at_or_before(entry.at, self.now_us.val()) {
            self.found.d.next = true;
            self.found_conn.d.next = self.read.q.val();
            // The look under way is given up and made again: its connection is not passed over.
            self.is_read.d.next = false;
            self.scan.d.next = self.read.q.val() + 1;
        }
        dff_reset!(self, reset, scan, is_read, found);
    }
}
