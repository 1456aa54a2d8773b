//! Tests of the AXI memory.

use super::*;
use crate::bfm::axi::{AxiW, BURST_INCR, MAX_BURST_BYTES, SIZE_8_BYTES};
use crate::check::axi::AxiChecker;
use crate::host_mem::{DmaAccess, HostMemory};
use crate::rng::test_seed;
use std::collections::HashMap;

const IDS: u64 = 4;
const SLICE: u64 = 1024;

/// A master that writes random bursts, each ID in its own slice of memory, and reads random bursts. Reads are compared
/// with what the answered writes left there.
struct Master {
    rng: Rng,
    base: u64,
    out: AxiMasterOut,
    w_queue: VecDeque<AxiW>,
    /// Bytes of answered and of unanswered writes, in order, per ID: `(address, value)`.
    memory: HashMap<u64, u8>,
    pending: Vec<VecDeque<Vec<(u64, u8)>>>,
    reads: Vec<VecDeque<(u64, u16)>>,
    left: u32,
    answered: u32,
    compared: u64,
}

impl Master {
    fn new(base: u64, seed: u64, bursts: u32) -> Self {
        let queues = IDS as usize;
        Self {
            rng: Rng::new(seed),
            base,
            out: AxiMasterOut::default(),
            w_queue: VecDeque::new(),
            memory: HashMap::new(),
            pending: vec![VecDeque::new(); queues],
            reads: vec![VecDeque::new(); queues],
            left: bursts,
            answered: 0,
            compared: 0,
        }
    }

    fn random_address(&mut self, id: u64) -> AxiAddr {
        let beats = 1 + self.rng.below(MAX_BURST_BEATS as u64);
        let start = self.rng.below(SLICE - MAX_BURST_BYTES) & !7;
        let addr = self.base + id * SLICE + start + self.rng.below(8);
        AxiAddr {
            valid: true,
            addr,
            len: beats as u8 - 1,
            size: SIZE_8_BYTES,
            burst: BURST_INCR,
            id: id as u8,
        }
    }

    /// Reads and writes of one slice are never under way together: what a read would see is then known.
    fn start_write(&mut self) {
        let id = self.rng.below(IDS);
        if !self.reads[id as usize].is_empty() {
            return;
        }
        self.left -= 1;
        let aw = self.random_address(id);
        let mut bytes = Vec::new();
        for beat in 0..=u64::from(aw.len) {
            let at = (aw.addr & !7) + beat * 8;
            let below = if beat == 0 { (1u8 << (aw.addr & 7)) - 1 } else { 0 };
            let strb = self.rng.next_u64() as u8 & !below;
            let data = self.rng.next_u64();
            let lanes = data.to_le_bytes();
            bytes.extend((0..8).filter(|i| strb >> i & 1 == 1).map(|i| (at + i, lanes[i as usize])));
            let last = beat == u64::from(aw.len);
            self.w_queue.push_back(AxiW { valid: true, data, strb, last });
        }
        self.pending[id as usize].push_back(bytes);
        self.out.aw = aw;
    }

    fn tick(&mut self, s: &AxiSlaveOut) {
        if s.b.valid && self.out.b_ready {
            assert_eq!(s.b.resp, Resp::Okay);
            let bytes = self.pending[usize::from(s.b.id)].pop_front().expect("B without a write");
            self.memory.extend(bytes);
            self.answered += 1;
        }
        if s.r.valid && self.out.r_ready {
            self.take_beat(&s.r);
        }
        self.out.ar.valid &= !s.ar_ready;
        self.out.aw.valid &= !s.aw_ready;
        self.out.w.valid &= !s.w_ready;
        if self.left > 0 && !self.out.aw.valid && self.w_queue.len() < 64 {
            self.start_write();
        }
        let id = self.rng.below(IDS);
        if self.left > 0 && !self.out.ar.valid && self.pending[id as usize].is_empty() {
            let ar = self.random_address(id);
            self.reads[id as usize].push_back((ar.addr & !7, u16::from(ar.len) + 1));
            self.out.ar = ar;
        }
        if !self.out.w.valid && !self.rng.one_in_256(30) {
            self.out.w = self.w_queue.pop_front().unwrap_or_default();
        }
        self.out.r_ready = !self.rng.one_in_256(60);
        self.out.b_ready = !self.rng.one_in_256(60);
    }

    fn take_beat(&mut self, r: &AxiR) {
        assert_eq!(r.resp, Resp::Okay);
        let id = usize::from(r.id);
        let (addr, left) = self.reads[id].pop_front().expect("R without a read");
        assert_eq!(r.last, left == 1);
        if !r.last {
            self.reads[id].push_front((addr + 8, left - 1));
        }
        let expected = [0, 1, 2, 3, 4, 5, 6, 7].map(|i| self.memory.get(&(addr + i)).copied().unwrap_or(0));
        assert_eq!(r.data.to_le_bytes(), expected, "at {addr:#x}");
        self.compared += 1;
    }
}

fn run(timing: AxiTiming, bursts: u32) -> (u64, AxiStats) {
    let host = HostMemory::new();
    let region = host.alloc((IDS * SLICE) as usize, DmaAccess::DeviceReadsWrites).unwrap();
    let mut memory = AxiMemory::new(host.port(), timing);
    let mut master = Master::new(region.iova(), timing.seed, bursts);
    let mut checker = AxiChecker::new(IDS as u16);
    let mut clocks = 0;
    while master.answered < bursts || !memory.is_idle() {
        clocks += 1;
        assert!(clocks < 3_000_000, "stuck");
        let (m, s) = (master.out, *memory.out());
        checker.observe(&m, &s);
        master.tick(&s);
        memory.tick(&m);
    }
    assert_eq!(checker.findings().count(), 0, "{}", checker.findings());
    assert_eq!(host.violations().0, 0);
    assert!(master.compared > u64::from(bursts), "only {} beats compared", master.compared);
    for (addr, value) in &master.memory {
        let mut byte = [0];
        region.read((addr - region.iova()) as usize, &mut byte);
        assert_eq!(byte[0], *value, "at {addr:#x}");
    }
    (clocks, memory.stats())
}

#[test]
fn writes_of_one_id_stay_in_order_whatever_the_timing() {
    let seed = test_seed(31);
    run(AxiTiming { seed, ..AxiTiming::default() }, 2000);
    run(AxiTiming { seed, ..AxiTiming::fixed(150) }, 2000);
    for i in 0..5 {
        run(AxiTiming::random(seed + i), 2000);
    }
}

fn ready_master() -> AxiMasterOut {
    AxiMasterOut { r_ready: true, b_ready: true, ..AxiMasterOut::default() }
}

fn address(addr: u64, beats: u8) -> AxiAddr {
    AxiAddr { valid: true, addr, len: beats - 1, size: SIZE_8_BYTES, burst: BURST_INCR, id: 0 }
}

#[test]
fn latency_is_what_was_asked_for_and_data_streams_without_gaps() {
    let host = HostMemory::new();
    let region = host.alloc(4096, DmaAccess::DeviceReadsWrites).unwrap();
    for latency in [0, 150] {
        let mut memory = AxiMemory::new(host.port(), AxiTiming::fixed(latency));
        memory.tick(&ready_master());
        let ar = AxiMasterOut { ar: address(region.iova(), 32), ..ready_master() };
        memory.tick(&ar);
        let mut first = None;
        let mut beats = 0;
        for clock in 1.. {
            beats += u32::from(memory.out().r.valid);
            first = first.or(memory.out().r.valid.then_some(clock));
            if memory.out().r.valid && memory.out().r.last {
                assert_eq!(clock - first.unwrap() + 1, 32);
                break;
            }
            memory.tick(&ready_master());
        }
        assert_eq!((first, beats), (Some(latency + 1), 32));
    }
}

fn write_one(memory: &mut AxiMemory, addr: u64, data: u64) {
    let w = AxiW { valid: true, data, strb: 0xff, last: true };
    memory.tick(&AxiMasterOut { aw: address(addr, 1), w, ..ready_master() });
}

#[test]
fn bytes_are_visible_before_the_response_and_not_before_the_latency() {
    let host = HostMemory::new();
    let region = host.alloc(64, DmaAccess::DeviceReadsWrites).unwrap();
    let mut memory = AxiMemory::new(host.port(), AxiTiming::fixed(20));
    memory.tick(&ready_master());
    write_one(&mut memory, region.iova(), 42);
    for clock in 1..=21 {
        assert_eq!(memory.out().b.valid, clock == 21, "clock {clock}");
        assert_eq!(region.load_u64(0), if clock == 21 { 42 } else { 0 });
        memory.tick(&ready_master());
    }
}

#[test]
fn unmapped_and_injected_accesses_get_an_error_response() {
    let host = HostMemory::new();
    let region = host.alloc(64, DmaAccess::DeviceReadsWrites).unwrap();
    let mut memory = AxiMemory::new(host.port(), AxiTiming::default());
    memory.tick(&ready_master());
    let iova = region.iova();
    memory.inject(AxiFault { kind: DmaKind::Write, range: iova..iova + 8, resp: Resp::SlvErr, count: 1 });
    for (addr, expected) in [(iova, Resp::SlvErr), (iova, Resp::Okay), (8, Resp::DecErr)] {
        write_one(&mut memory, addr, 1);
        assert_eq!(memory.out().b, AxiB { valid: true, id: 0, resp: expected });
        memory.tick(&ready_master());
    }
    memory.tick(&AxiMasterOut { ar: address(iova + 56, 2), ..ready_master() });
    assert_eq!(memory.out().r.resp, Resp::DecErr);
    memory.tick(&ready_master());
    assert!(memory.out().r.resp == Resp::DecErr && memory.out().r.last);
    assert_eq!(host.violations().0, 2);
    assert_eq!(memory.stats().error_responses, 3);
}

#[test]
fn abandoning_leaves_a_prefix_of_the_writes_of_each_id() {
    let seed = test_seed(41);
    let mut lengths = [0u32; 9];
    for round in 0..200 {
        let host = HostMemory::new();
        let region = host.alloc(64, DmaAccess::DeviceReadsWrites).unwrap();
        let mut memory =
            AxiMemory::new(host.port(), AxiTiming { seed: seed + round, ..AxiTiming::fixed(100) });
        memory.tick(&ready_master());
        (0..8).for_each(|i| write_one(&mut memory, region.iova() + 8 * i, 1));
        memory.abandon();
        assert!(memory.is_idle());
        let written: Vec<u64> = (0..8).map(|i| region.load_u64(8 * i)).collect();
        let prefix = written.iter().take_while(|&&v| v == 1).count();
        assert!(written[prefix..].iter().all(|&v| v == 0), "{written:?}");
        lengths[prefix] += 1;
    }
    assert!(lengths[0] > 50 && lengths[1] > 20 && lengths[2] > 5, "{lengths:?}");
}
