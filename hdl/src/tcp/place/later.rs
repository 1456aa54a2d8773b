//! Which connections have an order that waits and will write a shadow record.
//!
//! Beside the queue of orders, in its order: one entry for each. Latency: `found` is about the connection of the clock before, and counts
//! the orders that were there then. Throughput: one in and one out per clock. Back-pressure: none, the queue has it. Reset: empty.
use super::placer::ORDERS_LOG2;
use crate::prelude::*;

/// The block.
#[derive(LogicBlock, Default)]
pub struct Later<const LOG2: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Reset.
    pub reset: Signal<In, Bit>,
    /// An order goes into the queue.
    pub put: Signal<In, Bit>,
    /// Its connection.
    pub conn: Signal<In, Bits<LOG2>>,
    /// It has `publish`.
    pub publish: Signal<In, Bit>,
    /// The oldest order is taken.
    pub take: Signal<In, Bit>,
    /// A connection.
    pub about: Signal<In, Bits<LOG2>>,
    /// One of its orders waits and has `publish`.
    pub found: Signal<Out, Bit>,
    conns: [Dff<Bits<LOG2>>; 1 << ORDERS_LOG2],
    publishes: Dff<Bits<{ 1 << ORDERS_LOG2 }>>,
    put_at: Dff<Bits<ORDERS_LOG2>>,
    take_at: Dff<Bits<ORDERS_LOG2>>,
    is_found: Dff<Bit>,
}

#[kernel]
impl<const LOG2: usize> Logic for Later<LOG2> {
    fn update(&mut self) {
        dff_setup!(self, clock, conns, publishes, put_at, take_at, is_found);
        let (put_at, take_at) = (self.put_at.q.val(), self.take_at.q.val());
        let one = bits::<{ 1 << ORDERS_LOG2 }>(1);
        let publishes = self.publishes.q.val();
        let left = if self.take.val() { publishes & !(one << take_at) } else { publishes };
        let puts = self.put.val();
        self.publishes.d.next = if puts && self.publish.val() { left | (one << put_at) } else { left };
        self.put_at.d.next = put_at + puts;
        self.take_at.d.next = take_at + self.take.val();
        let mut found = false;
        for i in 0..1 << ORDERS_LOG2 {
            if publishes.get_bit(i) && self.conns[i].q.val() == self.about.val() {
                found = true;
            }
            if puts && put_at == i as u64 {
                self.conns[i].d.next = self.conn.val();
            }
        }
        self.is_found.d.next = found;
        self.found.next = self.is_found.q.val();
        dff_reset!(self, reset, publishes, put_at, take_at, is_found);
    }
}
