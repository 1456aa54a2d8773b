//! AXI4 memory: the slave behind the NIC's master port.
//!
//! The contract of that port: a write response means *visible in host memory*; writes of one ID become visible in
//! order; between IDs anything may happen; error responses are legal. Latency is configurable, fixed (0 or 150
//! cycles, the two that the cycle budgets are measured with) or random; random stalls on every channel.
//!
//! ```text
//!   AR -> reads (in order per ID, released after the latency) -> R
//!   AW, W -> assembling -> writes (in order per ID, released after the latency) -> host memory -> responses -> B
//! ```

use std::collections::VecDeque;
use std::ops::Range;

use super::axi::{AxiAddr, AxiB, AxiMasterOut, AxiR, AxiSlaveOut, Resp, BEAT_BYTES, MAX_BURST_BEATS};
use crate::host_mem::{DmaKind, DmaPort};
use crate::rng::Rng;

/// How the memory behaves in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AxiTiming {
    /// Cycles from an accepted read address to its first beat, beyond the necessary one.
    pub read_latency: u32,
    /// Cycles from the last accepted write beat until the bytes are visible, beyond the necessary one.
    pub write_latency: u32,
    /// Each burst adds a random number of cycles from 0 to this; bursts of different IDs then overtake each other.
    pub jitter: u32,
    /// Of 256 clocks, how many each channel stalls.
    pub stall_per_256: u8,
    /// Reads, and writes, that may be under way at once.
    pub outstanding: usize,
    /// Seed of jitter and stalls.
    pub seed: u64,
}

impl Default for AxiTiming {
    fn default() -> Self {
        Self { read_latency: 0, write_latency: 0, jitter: 0, stall_per_256: 0, outstanding: 64, seed: 1 }
    }
}

impl AxiTiming {
    /// A fixed latency in both directions, no stalls.
    pub fn fixed(latency: u32) -> Self {
        Self { read_latency: latency, write_latency: latency, ..Self::default() }
    }

    /// Random everything: what correctness tests use.
    pub fn random(seed: u64) -> Self {
        Self { read_latency: 3, write_latency: 3, jitter: 60, stall_per_256: 64, outstanding: 16, seed }
    }
}

/// An answer other than "done", for tests of error handling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AxiFault {
    /// Which direction is hit.
    pub kind: DmaKind,
    /// Bursts that start in this range are hit.
    pub range: Range<u64>,
    /// What is answered; a failing write changes nothing in memory.
    pub resp: Resp,
    /// How many bursts are hit.
    pub count: u32,
}

/// What the memory did so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AxiStats {
    /// Read bursts accepted.
    pub read_bursts: u64,
    /// Read beats delivered.
    pub read_beats: u64,
    /// Write bursts made visible.
    pub write_bursts: u64,
    /// Write beats accepted.
    pub write_beats: u64,
    /// Error responses given.
    pub error_responses: u64,
    /// Most reads that were under way at once.
    pub most_reads: usize,
    /// Most writes that were under way at once.
    pub most_writes: usize,
}

#[derive(Debug, Clone, Copy)]
struct ReadBurst {
    id: u8,
    addr: u64,
    beats_left: u16,
    ready_at: u64,
    resp: Resp,
    started: bool,
}

#[derive(Debug, Clone, Copy)]
struct WriteBurst {
    id: u8,
    addr: u64,
    beats: usize,
    data: [u64; MAX_BURST_BEATS],
    strb: [u8; MAX_BURST_BEATS],
    visible_at: u64,
}

/// The memory. See the module page for the order of calls.
#[derive(Debug)]
pub struct AxiMemory {
    timing: AxiTiming,
    port: DmaPort,
    rng: Rng,
    cycle: u64,
    out: AxiSlaveOut,
    reads: VecDeque<ReadBurst>,
    addresses: VecDeque<AxiAddr>,
    assembling: WriteBurst,
    is_assembled: bool,
    writes: VecDeque<WriteBurst>,
    /// No write becomes visible before this cycle; spares the scan of `writes` in most clocks.
    next_visible: u64,
    responses: VecDeque<AxiB>,
    faults: Vec<AxiFault>,
    stats: AxiStats,
}

const NO_WRITE: WriteBurst = WriteBurst {
    id: 0,
    addr: 0,
    beats: 0,
    data: [0; MAX_BURST_BEATS],
    strb: [0; MAX_BURST_BEATS],
    visible_at: 0,
};

impl AxiMemory {
    /// A memory that reaches the host through `port`.
    pub fn new(port: DmaPort, timing: AxiTiming) -> Self {
        let depth = timing.outstanding.max(1);
        Self {
            timing: AxiTiming { outstanding: depth, ..timing },
            port,
            rng: Rng::new(timing.seed),
            cycle: 0,
            out: AxiSlaveOut::default(),
            reads: VecDeque::with_capacity(depth),
            addresses: VecDeque::with_capacity(depth),
            assembling: NO_WRITE,
            is_assembled: false,
            writes: VecDeque::with_capacity(depth),
            next_visible: u64::MAX,
            responses: VecDeque::with_capacity(2 * depth),
            faults: Vec::new(),
            stats: AxiStats::default(),
        }
    }

    /// What the slave drives in this clock.
    #[inline]
    pub fn out(&self) -> &AxiSlaveOut {
        &self.out
    }

    /// One clock edge; `master` is what the NIC drove before it.
    #[inline]
    pub fn tick(&mut self, master: &AxiMasterOut) {
        self.cycle += 1;
        self.accept(master);
        self.retire(master);
        if self.cycle >= self.next_visible {
            self.make_visible(self.cycle);
        }
        self.present();
    }

    /// Answer matching bursts with an error from now on.
    pub fn inject(&mut self, fault: AxiFault) {
        self.faults.push(fault);
    }

    /// Counters.
    pub fn stats(&self) -> AxiStats {
        self.stats
    }

    /// Nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.reads.is_empty()
            && self.addresses.is_empty()
            && self.assembling.beats == 0
            && self.writes.is_empty()
            && self.responses.is_empty()
            && !self.out.r.valid
            && !self.out.b.valid
    }

    /// The NIC is gone: of the complete write bursts under way, a random prefix per ID still reaches memory, everything
    /// else is forgotten. The memory is idle afterwards. (Law L2 must hold whatever the prefix is.)
    pub fn abandon(&mut self) {
        let mut cut_ids = [false; 256];
        for i in 0..self.writes.len() {
            let burst = self.writes[i];
            let cut = &mut cut_ids[usize::from(burst.id)];
            *cut |= self.rng.one_in_256(128);
            if !*cut {
                self.commit(&burst);
            }
        }
        self.reset();
    }

    /// Forget everything under way without touching memory (reset of the bus).
    pub fn reset(&mut self) {
        self.reads.clear();
        self.addresses.clear();
        self.assembling.beats = 0;
        self.is_assembled = false;
        self.writes.clear();
        self.next_visible = u64::MAX;
        self.responses.clear();
        self.out = AxiSlaveOut::default();
    }

    /// Handshakes that carry something to us.
    #[inline]
    fn accept(&mut self, master: &AxiMasterOut) {
        if master.ar.valid && self.out.ar_ready {
            let ready_at = self.cycle + u64::from(self.timing.read_latency) + self.random_delay();
            let ar = &master.ar;
            let beats_left = u16::from(ar.len) + 1;
            let read = ReadBurst {
                id: ar.id,
                addr: ar.addr,
                beats_left,
                ready_at,
                resp: Resp::Okay,
                started: false,
            };
            self.reads.push_back(read);
            self.stats.read_bursts += 1;
            self.stats.most_reads = self.stats.most_reads.max(self.reads.len());
        }
        if master.aw.valid && self.out.aw_ready {
            self.addresses.push_back(master.aw);
        }
        if master.w.valid && self.out.w_ready {
            // A longer burst is reported by the checker; here the excess beats overwrite the last one.
            let at = self.assembling.beats.min(MAX_BURST_BEATS - 1);
            self.assembling.data[at] = master.w.data;
            self.assembling.strb[at] = master.w.strb;
            self.assembling.beats = at + 1;
            self.is_assembled = master.w.last;
            self.stats.write_beats += 1;
        }
        if self.is_assembled {
            self.match_write();
        }
    }

    /// A complete burst of data meets its address.
    fn match_write(&mut self) {
        let Some(aw) = self.addresses.pop_front() else { return };
        let visible_at = self.cycle + u64::from(self.timing.write_latency) + self.random_delay();
        self.assembling.id = aw.id;
        self.assembling.addr = aw.addr;
        self.assembling.visible_at = visible_at;
        self.writes.push_back(self.assembling);
        self.assembling.beats = 0;
        self.is_assembled = false;
        self.next_visible = self.next_visible.min(visible_at);
        self.stats.most_writes = self.stats.most_writes.max(self.writes.len());
    }

    /// Handshakes that take something from us.
    #[inline]
    fn retire(&mut self, master: &AxiMasterOut) {
        if self.out.r.valid && master.r_ready {
            self.out.r.valid = false;
            self.stats.read_beats += 1;
        }
        if self.out.b.valid && master.b_ready {
            self.out.b.valid = false;
        }
    }

    /// Commit every write that is due and not behind an earlier one of its ID.
    fn make_visible(&mut self, now: u64) {
        let mut blocked = [false; 256];
        let mut next = u64::MAX;
        let mut i = 0;
        while i < self.writes.len() {
            let burst = &self.writes[i];
            let id = usize::from(burst.id);
            if burst.visible_at > now || blocked[id] {
                blocked[id] = true;
                next = next.min(burst.visible_at.max(now + 1));
                i += 1;
                continue;
            }
            let burst = *burst;
            self.writes.remove(i);
            let resp = self.commit(&burst);
            self.responses.push_back(AxiB { valid: true, id: burst.id, resp });
        }
        self.next_visible = next;
    }

    fn commit(&mut self, burst: &WriteBurst) -> Resp {
        let first = burst.addr & !(BEAT_BYTES - 1);
        let len = burst.beats as u64 * BEAT_BYTES;
        let resp = match self.injected(DmaKind::Write, burst.addr) {
            Some(resp) => resp,
            None if self.port.check(DmaKind::Write, first, len).is_err() => Resp::DecErr,
            None => Resp::Okay,
        };
        self.stats.write_bursts += 1;
        if resp != Resp::Okay {
            self.stats.error_responses += 1;
            return resp;
        }
        for beat in 0..burst.beats {
            let at = first + beat as u64 * BEAT_BYTES;
            // Cannot fail after the check above unless the region vanishes this very moment; then it is recorded.
            let _ = self.port.write_word(at, burst.data[beat], burst.strb[beat]);
        }
        resp
    }

    /// Choose what to drive in the next clock.
    #[inline]
    fn present(&mut self) {
        let stall = self.stalls();
        self.out.ar_ready = stall & 1 == 0 && self.reads.len() < self.timing.outstanding;
        let writes = self.writes.len() + self.addresses.len() + self.responses.len();
        self.out.aw_ready = stall & 2 == 0 && writes < self.timing.outstanding;
        self.out.w_ready = stall & 4 == 0 && !self.is_assembled && writes < 2 * self.timing.outstanding;
        if !self.out.r.valid && stall & 8 == 0 && !self.reads.is_empty() {
            self.present_read();
        }
        if !self.out.b.valid && stall & 16 == 0 {
            if let Some(b) = self.responses.pop_front() {
                self.out.b = b;
            }
        }
    }

    /// One bit per channel that stalls in the next clock.
    #[inline]
    fn stalls(&mut self) -> u8 {
        let per_256 = self.timing.stall_per_256;
        if per_256 == 0 {
            return 0;
        }
        let bytes = self.rng.next_u64().to_le_bytes();
        (0..5).fold(0, |mask, i| mask | u8::from(bytes[i] < per_256) << i)
    }

    /// The oldest read that may go on: due, and no earlier one of its ID waits. A burst that has begun is finished first
    /// unless there is jitter; AXI4 lets bursts of different IDs interleave, and jitter shows that to the NIC.
    fn present_read(&mut self) {
        let mut blocked = [false; 256];
        let interleave = self.timing.jitter > 0;
        let start = if interleave && self.reads.len() > 1 && self.rng.one_in_256(32) { 1 } else { 0 };
        let mut chosen = None;
        for (i, read) in self.reads.iter().enumerate() {
            let id = usize::from(read.id);
            if !blocked[id] && read.ready_at <= self.cycle && i >= start {
                chosen = Some(i);
                break;
            }
            blocked[id] = true;
            if !interleave {
                break; // everything in order
            }
        }
        if let Some(i) = chosen {
            self.present_beat(i);
        }
    }

    fn present_beat(&mut self, i: usize) {
        let mut read = self.reads[i];
        if !read.started {
            read.started = true;
            let len = u64::from(read.beats_left) * BEAT_BYTES;
            read.resp = match self.injected(DmaKind::Read, read.addr) {
                Some(resp) => resp,
                None => match self.port.check(DmaKind::Read, read.addr & !(BEAT_BYTES - 1), len) {
                    Ok(()) => Resp::Okay,
                    Err(_) => Resp::DecErr,
                },
            };
            self.stats.error_responses += u64::from(read.resp != Resp::Okay);
        }
        let data = match read.resp {
            Resp::Okay => self.port.read_word(read.addr).unwrap_or(POISON),
            Resp::SlvErr | Resp::DecErr => POISON,
        };
        read.beats_left -= 1;
        let last = read.beats_left == 0;
        self.out.r = AxiR { valid: true, data, id: read.id, resp: read.resp, last };
        read.addr = (read.addr & !(BEAT_BYTES - 1)).wrapping_add(BEAT_BYTES);
        if last {
            self.reads.remove(i);
        } else {
            self.reads[i] = read;
        }
    }

    fn injected(&mut self, kind: DmaKind, addr: u64) -> Option<Resp> {
        let hit = |f: &AxiFault| f.count > 0 && f.kind == kind && f.range.contains(&addr);
        let fault = self.faults.iter_mut().find(|f| hit(f))?;
        fault.count -= 1;
        Some(fault.resp)
    }

    fn random_delay(&mut self) -> u64 {
        match self.timing.jitter {
            0 => 0,
            jitter => self.rng.below(u64::from(jitter) + 1),
        }
    }
}

/// What a failed read delivers: easily recognised in a wave.
const POISON: u64 = 0xdead_dead_dead_dead;

#[cfg(test)]
mod tests;
