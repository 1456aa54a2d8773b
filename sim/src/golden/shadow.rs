//! Shadow records, events and the interrupt line (programmer's guide, section 10).
//!
//! Order is the protocol: payload, post write-back and page map entry before the shadow record that counts
//! them; the record before its event; the event before the interrupt. `durable_*` change only after the record is
//! in memory, and every segment takes its acknowledgment from there (law L2).

use super::conn::Conn;
use super::rings::Ring;
use super::{Dma, DmaError, Golden};
use chimney_abi::cmd::EventKind;
use chimney_abi::desc::{self, Event, Shadow, SHADOW_STRIDE};
use chimney_abi::regs;
use chimney_abi::state::{DELEG_ABORTED, DELEG_FIN_SENT, DELEG_PEER_FIN, DELEG_POOL_MODE};
use std::collections::VecDeque;

/// What an interrupt is about: the bits of `IRQ_STATUS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    Event,
    Rx,
    Tx,
    Cmd,
}

impl Cause {
    fn bit(self) -> u32 {
        let name = match self {
            Cause::Event => "event",
            Cause::Rx => "rx",
            Cause::Tx => "tx",
            Cause::Cmd => "cmd",
        };
        let field = regs::IRQ_STATUS.fields.iter().find(|f| f.name == name).expect("a field of IRQ_STATUS");
        1 << field.offset_bits
    }
}

/// The interrupt line with its hold-off.
#[derive(Clone, Debug, Default)]
pub(super) struct Irq {
    status: u32,
    level: bool,
    /// A cause is pending and enabled, but the hold-off has not passed.
    is_held: bool,
    not_before_us: u64,
}

impl Irq {
    pub fn raise(&mut self, cause: Cause) {
        self.status |= cause.bit();
    }

    pub fn acknowledge(&mut self, bits: u32) {
        self.status &= !bits;
    }

    pub fn status(&self) -> u32 {
        self.status
    }

    pub fn level(&self) -> bool {
        self.level
    }

    /// When the line will rise by itself.
    pub fn due_us(&self) -> u64 {
        if self.is_held {
            self.not_before_us
        } else {
            u64::MAX
        }
    }

    fn update(&mut self, enable: u32, now_us: u64, holdoff_us: u64) {
        let wants = self.status & enable != 0;
        if wants && !self.level && now_us >= self.not_before_us {
            self.level = true;
            self.not_before_us = now_us + holdoff_us;
        } else if !wants {
            self.level = false;
        }
        self.is_held = wants && !self.level;
    }
}

/// The event ring, and which connections have an unconsumed entry in it.
#[derive(Clone, Debug)]
pub(super) struct Events {
    producer: u16,
    /// Connections of the entries between the host's consumer index and `producer`.
    unconsumed: VecDeque<u16>,
    /// By connection id: has an unconsumed entry.
    is_pending: Vec<bool>,
    /// By connection id: made progress after that entry; generation of the connection.
    again: Vec<Option<u8>>,
    /// Connections whose entry was consumed and that may raise another.
    rearmed: VecDeque<u16>,
}

impl Events {
    pub fn new(conns: usize) -> Self {
        Self {
            producer: 0,
            unconsumed: VecDeque::new(),
            is_pending: vec![false; conns],
            again: vec![None; conns],
            rearmed: VecDeque::new(),
        }
    }

    pub fn has_work(&self) -> bool {
        !self.rearmed.is_empty()
    }
}

impl<D: Dma> Golden<D> {
    /// Writes the connection's shadow record if it is out of date, then its event.
    pub(super) fn flush_shadow(&mut self, conn: &mut Conn) -> Result<(), DmaError> {
        if !std::mem::take(&mut conn.shadow_dirty) {
            return Ok(());
        }
        let record = shadow_of(conn);
        let slot = u64::from(record.tag & 1) * Shadow::BYTES as u64;
        let at = self.regs.address(&regs::SHADOW_BASE_LO);
        let at = at.wrapping_add(u64::from(conn.id) * u64::from(SHADOW_STRIDE) + slot);
        self.port.write(at, &record.to_bytes())?;
        conn.rec.shadow_tag = conn.rec.shadow_tag.wrapping_add(1);
        conn.rec.durable_rcv_nxt = conn.rec.rcv_nxt;
        conn.rec.durable_rcv_right = conn.rec.rcv_right;
        if std::mem::take(&mut conn.event_due) {
            self.raise_event(conn.id, conn.rec.generation);
        }
        Ok(())
    }

    /// At most one unconsumed event per connection: further progress waits for the host to consume it.
    fn raise_event(&mut self, id: u16, generation: u8) {
        let at = usize::from(id);
        let log2 = self.regs.sizes().event;
        let is_full = self.events.unconsumed.len() >= 1 << log2;
        if self.events.is_pending[at] || is_full {
            self.events.again[at] = Some(generation);
            return;
        }
        let index = self.events.producer;
        let event = Event {
            conn: id,
            generation,
            kind: EventKind::Connection.code(),
            reserved: 0,
            phase: desc::phase(index, log2).into(),
        };
        let at_iova =
            self.regs.address(&regs::EVENT_BASE_LO).wrapping_add(Ring::offset(index, log2, Event::BYTES));
        if self.port.write(at_iova, &event.to_bytes()).is_err() {
            return self.lose_ring();
        }
        self.events.producer = index.wrapping_add(1);
        self.events.is_pending[at] = true;
        self.events.again[at] = None;
        self.events.unconsumed.push_back(id);
        self.irq.raise(Cause::Event);
    }

    /// The host has consumed events up to `consumer`; false if that is more than there are.
    pub(super) fn consume_events(&mut self, consumer: u16) -> bool {
        let left = self.events.producer.wrapping_sub(consumer);
        let Some(count) = self.events.unconsumed.len().checked_sub(usize::from(left)) else { return false };
        let was_full = self.events.unconsumed.len() >= 1 << self.regs.sizes().event;
        for id in self.events.unconsumed.drain(..count) {
            self.events.is_pending[usize::from(id)] = false;
            self.events.rearmed.push_back(id);
        }
        if was_full {
            // A ring smaller than the guide asks for has delayed events of others until now.
            // `as`: at most 2^12 connections.
            self.events.rearmed.extend(0..self.conns.len() as u16);
        }
        true
    }

    /// Raises the event of one connection that made progress while its last one was unconsumed.
    pub(super) fn next_rearmed(&mut self) -> bool {
        let Some(id) = self.events.rearmed.pop_front() else { return false };
        if let Some(generation) = self.events.again[usize::from(id)] {
            self.raise_event(id, generation);
        }
        true
    }

    pub(super) fn update_irq(&mut self) {
        let enable = self.regs.get(&regs::IRQ_ENABLE);
        let holdoff = u64::from(self.regs.get(&regs::IRQ_HOLDOFF_US));
        self.irq.update(enable, self.now_us, holdoff);
    }
}

fn shadow_of(conn: &Conn) -> Shadow {
    let r = &conn.rec;
    let fin_acked = conn.has(DELEG_FIN_SENT) && conn.snd_una().after(conn.snd_limit());
    let reason = conn.told_reason();
    let flag = |is: bool, bit: u16| if is { bit } else { 0 };
    Shadow {
        tag: r.shadow_tag,
        generation: r.generation,
        state: (r.tcp_state & 0xF) | reason << 4,
        rcv_nxt: r.rcv_nxt,
        snd_una: r.snd_una,
        rcv_right: r.rcv_right,
        post_idx: r.post_idx,
        flags: flag(conn.has(DELEG_POOL_MODE), desc::SHADOW_POOL_MODE)
            | flag(conn.has(DELEG_PEER_FIN), desc::SHADOW_PEER_FIN)
            | flag(fin_acked, desc::SHADOW_FIN_ACKED)
            | flag(conn.has(DELEG_ABORTED), desc::SHADOW_ABORTED)
            | flag(reason != 0, desc::SHADOW_RETRIEVE)
            | desc::SHADOW_VALID,
        post_off: r.post_off,
        snd_max: r.snd_max,
        // `as`: sanitised windows fit into 16 bits after the shift; a larger one is shown as the largest.
        snd_wnd: (r.snd_wnd >> r.snd_wind_shift).min(u32::from(u16::MAX)) as u16,
        tag_end: r.shadow_tag,
    }
}
