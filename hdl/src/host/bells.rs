//! Doorbells: register writes become [`Doorbell`]s in a FIFO of 16.
//!
//! The low word of a doorbell is kept; writing the high word commits both. While the FIFO is full
//! `ready` is low and the register write waits (PROTO takes one in a bounded time). The command producer
//! takes effect only when every doorbell written before it has been taken, so a command sees them all.
//!
//! Latency: 1 clock from the write to `doorbell_valid`. Throughput: one per clock. Reset: empty, producer 0.
use crate::prelude::*;
use crate::stream::Fifo;
use crate::types::Doorbell;
use chimney_abi::regs;

/// Byte offset of the doorbell region.
pub const BELLS_AT: u64 = regs::DOORBELL_BASE as u64;
const BELL_SHIFT: u64 = regs::DOORBELL_STRIDE.trailing_zeros() as u64;
const CMD_PRODUCER_AT: u64 = regs::CMD_PRODUCER.offset as u64;

/// The block. See the module page.
#[derive(LogicBlock, Default)]
pub struct Bells {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Synchronous, active high.
    pub reset: Signal<In, Bit>,
    /// A register write is offered.
    pub write: Signal<In, Bit>,
    /// Byte offset in BAR0.
    pub addr: Signal<In, Bits<20>>,
    /// The word.
    pub data: Signal<In, Bits<32>>,
    /// The write is taken.
    pub ready: Signal<Out, Bit>,
    /// There is a doorbell.
    pub doorbell_valid: Signal<Out, Bit>,
    /// It is taken.
    pub doorbell_ready: Signal<In, Bit>,
    /// The oldest doorbell.
    pub doorbell: Signal<Out, Doorbell>,
    /// Command producer index in effect.
    pub cmd_producer: Signal<Out, Bits<16>>,
    queue: Fifo<Doorbell, 4, 5>,
    low: Dff<Bits<32>>,
    waiting: Dff<Bits<8>>,
    before_cmd: Dff<Bits<8>>,
    cmd_waits: Dff<Bit>,
    cmd_next: Dff<Bits<16>>,
    cmd: Dff<Bits<16>>,
}

/// A doorbell from its address and its two words.
#[kernel]
fn doorbell(addr: Bits<20>, low: Bits<32>, high: Bits<32>) -> Doorbell {
    Doorbell {
        conn: bit_cast::<16, _>((addr - BELLS_AT) >> BELL_SHIFT),
        receive: addr.get_bit(3),
        producer: low.get_bits::<16>(0),
        generation: low.get_bits::<8>(16),
        flags: low.get_bits::<8>(24),
        limit: high,
    }
}

#[kernel]
impl Logic for Bells {
    fn update(&mut self) {
        dff_setup!(self, clock, low, waiting, before_cmd, cmd_waits, cmd_next, cmd);
        clock!(self, clock, queue);
        reset!(self, reset, queue);
        let addr = self.addr.val();
        let is_bell = addr >= BELLS_AT;
        let commits = self.write.val() && is_bell && addr.get_bit(2);
        let has_room = self.queue.s_ready.val();
        self.ready.next = !(is_bell && addr.get_bit(2)) || has_room;
        if self.write.val() && is_bell && !addr.get_bit(2) {
            self.low.d.next = self.data.val();
        }
        self.queue.s_data.next = doorbell(addr, self.low.q.val(), self.data.val());
        self.queue.s_valid.next = commits;
        self.doorbell.next = self.queue.m_data.val();
        self.doorbell_valid.next = self.queue.m_valid.val();
        self.queue.m_ready.next = self.doorbell_ready.val();

        let pushed = commits && has_room;
        let taken = self.queue.m_valid.val() && self.doorbell_ready.val();
        let left = if taken { self.waiting.q.val() - 1 } else { self.waiting.q.val() };
        self.waiting.d.next = left + pushed;
        self.cmd_producer.next = self.cmd.q.val();
        if self.write.val() && addr == CMD_PRODUCER_AT {
            self.cmd_waits.d.next = true;
            self.cmd_next.d.next = self.data.val().get_bits::<16>(0);
            self.before_cmd.d.next = left;
        } else {
            if taken && self.before_cmd.q.val().any() {
                self.before_cmd.d.next = self.before_cmd.q.val() - 1;
            }
            if self.cmd_waits.q.val() && !self.before_cmd.q.val().any() {
                self.cmd_waits.d.next = false;
                self.cmd.d.next = self.cmd_next.q.val();
            }
        }
        dff_reset!(self, reset, waiting, before_cmd, cmd_waits, cmd);
    }
}
