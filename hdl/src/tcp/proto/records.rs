//! The records of all connections, and their sweep after a reset.
//!
//! Latency: a clock from `look` to `record`; what is stored in a clock is read from the next one on. Throughput: one read and one write per clock.
//! Back-pressure: none. Reset: every record becomes nobody's, one per clock; until `sweeps` falls nothing may be stored.
use super::op::given_back;
use super::record::Work;
use crate::mem::SdpRam;
use crate::prelude::*;
use crate::tcp::cwnd::EPOCH;

/// The block.
#[derive(LogicBlock, Default)]
pub struct Records<const LOG2: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Reset.
    pub reset: Signal<In, Bit>,
    /// Records are being swept.
    pub sweeps: Signal<Out, Bit>,
    /// With `sweeps`: that of this connection.
    pub row: Signal<Out, Bits<16>>,
    /// Read a record.
    pub look: Signal<In, Bit>,
    /// Its connection.
    pub conn: Signal<In, Bits<16>>,
    /// The record, a clock later.
    pub record: Signal<Out, Work>,
    /// Store a record.
    pub stores: Signal<In, Bit>,
    /// Its connection.
    pub to: Signal<In, Bits<16>>,
    /// That.
    pub stored: Signal<In, Work>,
    memory: SdpRam<Work, LOG2>,
    sweep: Dff<Bits<LOG2>>,
    swept: Dff<Bit>,
}

/// After a reset: a record of nobody, of which no pass looks at anything else.
#[kernel]
fn nobody(w: Work) -> Work {
    let mut n = given_back(w);
    n.rc.epoch = bits::<EPOCH>(0);
    n
}

#[kernel]
impl<const LOG2: usize> Logic for Records<LOG2> {
    fn update(&mut self) {
        dff_setup!(self, clock, sweep, swept);
        clock!(self, clock, memory);
        let (sweeps, row) = (!self.swept.q.val(), self.sweep.q.val());
        let (stores, stored) = (self.stores.val(), self.stored.val());
        self.sweeps.next = sweeps;
        self.row.next = bit_cast::<16, LOG2>(row);
        self.sweep.d.next = row + sweeps;
        self.swept.d.next = !sweeps || row.all();
        self.memory.re.next = self.look.val();
        self.memory.raddr.next = bit_cast::<LOG2, 16>(self.conn.val());
        self.record.next = self.memory.rdata.val();
        self.memory.we.next = sweeps || stores;
        self.memory.waddr.next = if sweeps { row } else { bit_cast::<LOG2, 16>(self.to.val()) };
        if sweeps || stores {
            self.memory.wdata.next = if sweeps { nobody(stored) } else { stored };
        } else {
            self.memory.wdata.next = unread::<Work>();
        }
        dff_reset!(self, reset, sweep, swept);
    }
}
