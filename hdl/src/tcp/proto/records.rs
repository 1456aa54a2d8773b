//! The records of all connections, and their sweep after a reset.
//!
//! A record is stored in two parts ([`joined`]): what is settled two clocks before the rest. So the next pass of the connection finds that part in the
//! memory, and has only the rest from the end of the pass before.
//!
//! Latency: a clock from `look` to `record`; what is stored in a clock is read from the next one on. Throughput: one read and one write of each part
//! per clock. Back-pressure: none. Reset: every record becomes nobody's, one per clock; until `sweeps` falls nothing may be stored.
use super::op::given_back;
use super::record::{joined, Work};
use crate::mem::SplitRam;
use crate::prelude::*;
use crate::tcp::cwnd::EPOCH;

/// What is stored of a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Store {
    /// 1 = it is.
    pub valid: Bit,
    /// Its connection.
    pub conn: Bits<16>,
    /// The record.
    pub record: Work,
}

/// The block.
#[derive(LogicBlock)]
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
    /// Store what is settled of a record.
    pub settle: Signal<In, Store>,
    /// Store the rest of a record.
    pub store: Signal<In, Store>,
    memory: SplitRam<Work, LOG2>,
    sweep: Dff<Bits<LOG2>>,
    swept: Dff<Bit>,
}

impl<const LOG2: usize> Default for Records<LOG2> {
    fn default() -> Self {
        Self {
            clock: Signal::default(),
            reset: Signal::default(),
            sweeps: Signal::default(),
            row: Signal::default(),
            look: Signal::default(),
            conn: Signal::default(),
            record: Signal::default(),
            settle: Signal::default(),
            store: Signal::default(),
            memory: SplitRam::new(joined),
            sweep: Dff::default(),
            swept: Dff::default(),
        }
    }
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
        let (settle, store) = (self.settle.val(), self.store.val());
        self.sweeps.next = sweeps;
        self.row.next = bit_cast::<16, LOG2>(row);
        self.sweep.d.next = row + sweeps;
        self.swept.d.next = !sweeps || row.all();
        self.memory.re.next = self.look.val();
        self.memory.raddr.next = bit_cast::<LOG2, 16>(self.conn.val());
        self.record.next = self.memory.rdata.val();
        self.memory.first_we.next = sweeps || settle.valid;
        self.memory.first_at.next = if sweeps { row } else { bit_cast::<LOG2, 16>(settle.conn) };
        self.memory.first.next = if sweeps { nobody(settle.record) } else { settle.record };
        self.memory.second_we.next = sweeps || store.valid;
        self.memory.second_at.next = if sweeps { row } else { bit_cast::<LOG2, 16>(store.conn) };
        if sweeps || store.valid {
            self.memory.second.next = if sweeps { nobody(store.record) } else { store.record };
        } else {
            self.memory.second.next = unread::<Work>();
        }
        dff_reset!(self, reset, sweep, swept);
    }
}
