//! AXI4-Lite master: the driver's register accesses.
//!
//! Operations are carried out in the order they were queued. Writes are posted: up to [`MAX_WRITES`] may be under way, so
//! that a doorbell of two words costs little. A read waits until every earlier write was answered, which makes "a
//! command sees every doorbell written before its own" true on this bus. Only one read is under way at a time.

use std::collections::VecDeque;

use super::axi::Resp;

/// Writes under way at once.
pub const MAX_WRITES: u32 = 4;

/// What the master drives in one clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AxilMasterOut {
    /// `AWVALID`.
    pub aw_valid: bool,
    /// `AWADDR`.
    pub aw_addr: u32,
    /// `WVALID`.
    pub w_valid: bool,
    /// `WDATA`.
    pub w_data: u32,
    /// `WSTRB`.
    pub w_strb: u8,
    /// `BREADY`.
    pub b_ready: bool,
    /// `ARVALID`.
    pub ar_valid: bool,
    /// `ARADDR`.
    pub ar_addr: u32,
    /// `RREADY`.
    pub r_ready: bool,
}

/// What the NIC's slave drives in one clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AxilSlaveOut {
    /// `AWREADY`.
    pub aw_ready: bool,
    /// `WREADY`.
    pub w_ready: bool,
    /// `BVALID`.
    pub b_valid: bool,
    /// `BRESP`.
    pub b_resp: u8,
    /// `ARREADY`.
    pub ar_ready: bool,
    /// `RVALID`.
    pub r_valid: bool,
    /// `RDATA`.
    pub r_data: u32,
    /// `RRESP`.
    pub r_resp: u8,
}

#[derive(Debug, Clone, Copy)]
enum Op {
    Write { addr: u32, value: u32 },
    Read { addr: u32 },
}

/// The answer to a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AxilRead {
    /// Address that was read.
    pub addr: u32,
    /// Register value.
    pub value: u32,
    /// False when the NIC answered with an error.
    pub is_ok: bool,
}

/// The master.
#[derive(Debug, Default)]
pub struct AxilMaster {
    queue: VecDeque<Op>,
    out: AxilMasterOut,
    writes: u32,
    reading: Option<u32>,
    answers: VecDeque<AxilRead>,
    write_errors: u64,
    unasked: u64,
}

impl AxilMaster {
    /// A master with nothing to do.
    pub fn new() -> Self {
        Self { queue: VecDeque::with_capacity(64), answers: VecDeque::with_capacity(8), ..Self::default() }
    }

    /// Queue a 32-bit write.
    pub fn write(&mut self, addr: u32, value: u32) {
        self.queue.push_back(Op::Write { addr, value });
    }

    /// Queue a 32-bit read; its answer comes out of [`AxilMaster::pop_read`].
    pub fn read(&mut self, addr: u32) {
        self.queue.push_back(Op::Read { addr });
    }

    /// The next answer, in the order of the reads.
    pub fn pop_read(&mut self) -> Option<AxilRead> {
        self.answers.pop_front()
    }

    /// Nothing queued and nothing under way.
    pub fn is_idle(&self) -> bool {
        self.queue.is_empty()
            && self.writes == 0
            && self.reading.is_none()
            && !self.out.aw_valid
            && !self.out.w_valid
    }

    /// Writes answered with an error, and responses that nobody asked for.
    pub fn errors(&self) -> (u64, u64) {
        (self.write_errors, self.unasked)
    }

    /// Forget everything (reset of the bus).
    pub fn reset(&mut self) {
        *self = Self { write_errors: self.write_errors, unasked: self.unasked, ..Self::new() };
    }

    /// What is driven in this clock.
    #[inline]
    pub fn out(&self) -> &AxilMasterOut {
        &self.out
    }

    /// One clock edge; `slave` is what the NIC drove before it.
    #[inline]
    pub fn tick(&mut self, slave: &AxilSlaveOut) {
        if slave.b_valid || slave.r_valid {
            self.take_answers(slave);
        }
        self.out.aw_valid &= !slave.aw_ready;
        self.out.w_valid &= !slave.w_ready;
        self.out.ar_valid &= !slave.ar_ready;
        if !self.queue.is_empty() {
            self.issue();
        }
        self.out.b_ready = true;
        self.out.r_ready = true;
    }

    fn take_answers(&mut self, slave: &AxilSlaveOut) {
        if slave.b_valid && self.out.b_ready {
            match self.writes.checked_sub(1) {
                Some(left) => self.writes = left,
                None => self.unasked += 1,
            }
            self.write_errors += u64::from(slave.b_resp != Resp::Okay as u8);
        }
        if slave.r_valid && self.out.r_ready {
            match self.reading.take() {
                Some(addr) => {
                    let is_ok = slave.r_resp == Resp::Okay as u8;
                    self.answers.push_back(AxilRead { addr, value: slave.r_data, is_ok });
                }
                None => self.unasked += 1,
            }
        }
    }

    fn issue(&mut self) {
        match self.queue.front() {
            // Address and data start together; the next write waits until both were taken.
            Some(&Op::Write { addr, value })
                if !self.out.aw_valid
                    && !self.out.w_valid
                    && self.reading.is_none()
                    && self.writes < MAX_WRITES =>
            {
                self.writes += 1;
                self.out.aw_valid = true;
                self.out.aw_addr = addr;
                self.out.w_valid = true;
                self.out.w_data = value;
                self.out.w_strb = 0xf;
            }
            Some(&Op::Read { addr }) if self.writes == 0 && self.reading.is_none() => {
                self.reading = Some(addr);
                self.out.ar_valid = true;
                self.out.ar_addr = addr;
            }
            _ => return,
        }
        self.queue.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{test_seed, Rng};
    use std::collections::HashMap;

    /// A register file with random stalls, answering after the data and the address came, in either order.
    struct Slave {
        rng: Rng,
        stall: u8,
        out: AxilSlaveOut,
        aw: VecDeque<u32>,
        w: VecDeque<u32>,
        b: u32,
        read: Option<u32>,
        registers: HashMap<u32, u32>,
    }

    impl Slave {
        fn tick(&mut self, m: &AxilMasterOut) {
            if m.aw_valid && self.out.aw_ready {
                self.aw.push_back(m.aw_addr);
            }
            if m.w_valid && self.out.w_ready {
                self.w.push_back(m.w_data);
            }
            if let (Some(&addr), Some(&value)) = (self.aw.front(), self.w.front()) {
                self.registers.insert(addr, value);
                self.aw.pop_front();
                self.w.pop_front();
                self.b += 1;
            }
            if m.ar_valid && self.out.ar_ready {
                assert_eq!(self.b, 0, "a read overtook a write");
                self.read = Some(m.ar_addr);
            }
            self.out.b_valid &= !m.b_ready;
            self.out.r_valid &= !m.r_ready;
            if self.b > 0 && !self.out.b_valid && !self.rng.one_in_256(self.stall) {
                self.out.b_valid = true;
                self.b -= 1;
            }
            if !self.out.r_valid && !self.rng.one_in_256(self.stall) {
                if let Some(addr) = self.read.take() {
                    self.out.r_valid = true;
                    self.out.r_data = self.registers.get(&addr).copied().unwrap_or(0);
                }
            }
            self.out.aw_ready = !self.rng.one_in_256(self.stall);
            self.out.w_ready = !self.rng.one_in_256(self.stall);
            self.out.ar_ready = !self.rng.one_in_256(self.stall);
        }
    }

    fn run(stall: u8, seed: u64) -> u32 {
        let mut rng = Rng::new(seed);
        let mut slave = Slave {
            rng: Rng::new(seed + 1),
            stall,
            out: AxilSlaveOut::default(),
            aw: VecDeque::new(),
            w: VecDeque::new(),
            b: 0,
            read: None,
            registers: HashMap::new(),
        };
        let (mut master, mut model, mut expected) = (AxilMaster::new(), HashMap::new(), Vec::new());
        for _ in 0..500 {
            let addr = 4 * rng.below(16) as u32;
            if rng.chance(0.7) {
                let value = rng.next_u64() as u32;
                model.insert(addr, value);
                master.write(addr, value);
            } else {
                expected.push(AxilRead { addr, value: model.get(&addr).copied().unwrap_or(0), is_ok: true });
                master.read(addr);
            }
        }
        let mut answers = Vec::new();
        for clocks in 0..100_000 {
            let (m, s) = (*master.out(), slave.out);
            master.tick(&s);
            slave.tick(&m);
            answers.extend(master.pop_read());
            if master.is_idle() {
                assert_eq!(answers, expected);
                assert_eq!(slave.registers, model);
                assert_eq!(master.errors(), (0, 0));
                return clocks;
            }
        }
        panic!("stuck");
    }

    #[test]
    fn reads_see_all_earlier_writes_under_random_stalls() {
        let seed = test_seed(21);
        for stall in [0, 64, 200] {
            let clocks = run(stall, seed);
            println!("stall {stall}/256: {clocks} clocks for 500 accesses");
        }
    }

    #[test]
    fn error_answers_are_counted() {
        let mut master = AxilMaster::new();
        master.write(0, 1);
        master.tick(&AxilSlaveOut::default());
        assert!(master.out().aw_valid && master.out().w_valid && !master.is_idle());
        master.tick(&AxilSlaveOut { aw_ready: true, w_ready: true, ..AxilSlaveOut::default() });
        master.tick(&AxilSlaveOut { b_valid: true, b_resp: 2, ..AxilSlaveOut::default() });
        assert_eq!(master.errors(), (1, 0));
        master.tick(&AxilSlaveOut { b_valid: true, ..AxilSlaveOut::default() });
        assert_eq!(master.errors(), (1, 1));
        assert!(master.is_idle());
    }
}
