//! BAR0: registers and doorbells.

use super::{Dma, Golden, Recovery};
use chimney_abi::layout::Reg;
use chimney_abi::state::{DELEG_FIN_POSTED, DELEG_POOL_MODE};
use chimney_abi::{desc, regs, SeqNum, VERSION_MINOR};

/// `CTRL.enable`, `RESET.reset`, `STATUS.idle` are bit 0; `STATUS.dma_error` is bit 1.
fn flag(reg: &Reg, name: &str) -> u32 {
    let field = reg.fields.iter().find(|f| f.name == name).expect("a field of the register");
    1 << field.offset_bits
}

/// Fraction bits of `TIME_INC`.
const TIME_FRACTION_BITS: u32 = 24;

impl<D: Dma> Golden<D> {
    pub(super) fn is_enabled(&self) -> bool {
        self.regs.get(&regs::CTRL) & 1 != 0
    }

    pub(super) fn read_register(&mut self, offset: u32) -> u32 {
        let is = |reg: &Reg| reg.offset == offset;
        if !offset.is_multiple_of(4) || offset >= regs::DOORBELL_BASE {
            0
        } else if is(&regs::VERSION) {
            u32::from(VERSION_MINOR)
                | u32::from(self.config.conn_log2) << 16
                | u32::from(self.config.table_log2) << 24
        } else if is(&regs::CAPS) {
            let uses_sack = matches!(self.config.recovery, Recovery::Modern(_));
            let sack_send = if uses_sack { flag(&regs::CAPS, "sack_send") } else { 0 };
            let caps = ["ipv4", "ipv6", "sack_receive", "vlan", "llc_snap", "ecn", "lso"];
            caps.iter().fold(sack_send, |word, name| word | flag(&regs::CAPS, name))
        } else if is(&regs::STATUS) {
            let idle = if self.is_enabled() { 0 } else { flag(&regs::STATUS, "idle") };
            let error = if self.port.has_failed { flag(&regs::STATUS, "dma_error") } else { 0 };
            idle | error
        } else if is(&regs::TIME_LO) {
            self.now32()
        } else if is(&regs::TIME_HI) {
            // `as`: the high half.
            (self.clock_us() >> 32) as u32
        } else if is(&regs::IRQ_STATUS) {
            self.irq.status()
        } else {
            self.regs.read_word(offset)
        }
    }

    pub(super) fn write_register(&mut self, offset: u32, value: u32) {
        if (regs::DOORBELL_BASE..regs::BAR0_BYTES).contains(&offset) {
            return self.write_doorbell(offset - regs::DOORBELL_BASE, value);
        }
        let Some(reg) = super::regs::RegFile::writable(offset) else { return };
        let is = |other: &Reg| reg.offset == other.offset;
        if is(&regs::RESET) {
            if value & 1 != 0 {
                self.reset();
            }
            return;
        }
        if is(&regs::IRQ_STATUS) {
            self.irq.acknowledge(value);
            return self.update_irq();
        }
        if is(&regs::TIME_SET) && !self.is_enabled() {
            let clock = self.clock_us() & !u64::from(u32::MAX) | u64::from(value);
            self.clock_offset_us = clock.wrapping_sub(self.now_us);
        }
        // `as`: indices are 16-bit counts; higher bits have no meaning.
        if self.is_producer(reg) && !self.set_producer(reg, value as u16) {
            return self.regs.count(&regs::CNT_BAD_REQUEST, 1);
        }
        self.regs.set(reg, value);
        if is(&regs::CTRL) && self.is_enabled() {
            self.heartbeat_due_us = self.now_us;
            self.period_since_us = self.now_us;
        }
        if is(&regs::IRQ_ENABLE) {
            self.update_irq();
        }
    }

    /// Everything as after power-on; time and host memory stay.
    fn reset(&mut self) {
        self.regs = super::regs::RegFile::new();
        self.rings = super::rings::Rings::default();
        self.events = super::shadow::Events::new(self.conns.len());
        self.irq = super::shadow::Irq::default();
        self.conns.iter_mut().for_each(|c| *c = None);
        self.paths.iter_mut().for_each(|p| *p = None);
        self.neighbors.iter_mut().for_each(|n| *n = None);
        self.lookup.clear();
        self.doorbell_low.fill([0; 2]);
        self.ready.clear();
        self.rx_queue.clear();
        self.timer_hint_us = u64::MAX;
        self.port.has_failed = false;
    }

    fn write_doorbell(&mut self, at: u32, value: u32) {
        let id = at / regs::DOORBELL_STRIDE;
        let within = at % regs::DOORBELL_STRIDE;
        let direction = usize::from(within >= regs::DOORBELL_RECEIVE);
        let Some(low) = self.doorbell_low.get_mut(id as usize) else {
            return self.regs.count(&regs::CNT_BAD_REQUEST, 1);
        };
        match within % regs::DOORBELL_RECEIVE {
            0 => low[direction] = value,
            4 => {
                let low = low[direction];
                // `as`: fields of the low word; the id is below the number of connections.
                let (id, producer, generation, flags) =
                    (id as u16, low as u16, (low >> 16) as u8, (low >> 24) as u8);
                if self.live(id, generation).is_none() {
                    return self.regs.count(&regs::CNT_STALE, 1);
                }
                let is_good = match direction {
                    0 => self.ring_send(id, producer, flags, SeqNum(value)),
                    _ => self.ring_receive(id, producer, SeqNum(value)),
                };
                if !is_good {
                    self.regs.count(&regs::CNT_BAD_REQUEST, 1);
                }
            }
            _ => self.regs.count(&regs::CNT_BAD_REQUEST, 1),
        }
    }

    /// Send doorbell: more bytes up to `limit`, and perhaps the FIN. False if it is refused.
    fn ring_send(&mut self, id: u16, producer: u16, flags: u8, limit: SeqNum) -> bool {
        let Some(mut conn) = self.conns[usize::from(id)].take() else { return false };
        let r = &conn.rec;
        let entries = producer.wrapping_sub(conn.una_desc);
        let grows = limit.after(conn.snd_limit());
        // Nothing follows a FIN, and the stream's end does not come back.
        let is_good = u32::from(entries) <= 1 << r.send_ring_log2
            && producer.wrapping_sub(r.send_producer) <= entries
            && limit.at_or_after(conn.snd_limit())
            && (limit - conn.snd_una()).wrapping_add(1) <= desc::MAX_POSTED
            && !(grows && conn.has(DELEG_FIN_POSTED));
        if is_good {
            conn.rec.send_producer = producer;
            conn.rec.snd_limit = limit.0;
            if flags & regs::DOORBELL_FIN != 0 {
                conn.set(DELEG_FIN_POSTED);
            }
            self.queue(&mut conn);
        }
        self.conns[usize::from(id)] = Some(conn);
        is_good
    }

    /// Receive doorbell: more posts, and the right edge that may be advertised.
    fn ring_receive(&mut self, id: u16, producer: u16, limit: SeqNum) -> bool {
        let Some(mut conn) = self.conns[usize::from(id)].take() else { return false };
        let r = &conn.rec;
        let entries = producer.wrapping_sub(r.post_idx);
        let is_good =
            u32::from(entries) <= 1 << r.recv_ring_log2 && producer.wrapping_sub(r.recv_producer) <= entries;
        if is_good {
            // Posts of a connection that stopped are the host's again.
            if !conn.is_halted() {
                conn.rec.recv_producer = producer;
            }
            // Law L3: the right edge never moves left; law L1: never beyond what slots can hold.
            if limit.after(conn.limit) && limit - conn.rcv_nxt() <= desc::MAX_RCV_WINDOW {
                conn.limit = limit;
                if limit.after(SeqNum(conn.rec.rcv_right)) {
                    conn.rec.rcv_right = limit.0;
                    conn.align_edge();
                    conn.shadow_dirty = true;
                }
            }
            conn.posts_to_examine = conn.has(DELEG_POOL_MODE);
            self.queue(&mut conn);
        }
        self.conns[usize::from(id)] = Some(conn);
        is_good
    }

    /// The time after so many cycles.
    pub(super) fn time_after(&mut self, cycles: u64) -> u64 {
        if cycles == u64::MAX {
            return u64::MAX;
        }
        let inc = u128::from(self.regs.get(&regs::TIME_INC));
        let total = u128::from(self.cycle_fraction) + u128::from(cycles) * inc;
        // `as`: masked to the fraction; a sum beyond 64 bits of microseconds is the end of time.
        self.cycle_fraction = (total & ((1 << TIME_FRACTION_BITS) - 1)) as u64;
        let us = u64::try_from(total >> TIME_FRACTION_BITS).unwrap_or(u64::MAX);
        self.now_us.saturating_add(us)
    }

    /// About how many cycles pass in a time.
    pub(super) fn cycles_for(&self, us: u64) -> u64 {
        let inc = u128::from(self.regs.get(&regs::TIME_INC).max(1));
        u64::try_from((u128::from(us) << TIME_FRACTION_BITS) / inc).unwrap_or(u64::MAX)
    }
}
