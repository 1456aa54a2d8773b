//! AXI4 watcher for the NIC's master port and for the memory behind it.
//!
//! | rule | where |
//! |---|---|
//! | a stalled channel holds its payload and its valid | all five channels |
//! | INCR bursts of full beats, <= 256 bytes, not across 4 KiB, known ID | AR, AW |
//! | WLAST on the beat that AWLEN names; no strobe below an unaligned start address | W |
//! | a response only for something outstanding, read beats complete and RLAST in place | R, B |
//! | nothing valid while in reset | all |
//!
//! Access outside of what is mapped is found by the IOMMU ([`crate::host_mem`]).

use std::collections::VecDeque;

use thiserror::Error;

use super::Findings;
use crate::bfm::axi::{
    AxiAddr, AxiB, AxiMasterOut, AxiR, AxiSlaveOut, AxiW, BEAT_BYTES, BURST_INCR, MAX_BURST_BYTES,
    SIZE_8_BYTES,
};

/// A channel of the port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// Read address.
    Ar,
    /// Read data.
    R,
    /// Write address.
    Aw,
    /// Write data.
    W,
    /// Write response.
    B,
}

/// A broken rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AxiViolation {
    /// Payload changed, or valid fell, before ready came.
    #[error("{0:?} did not hold its payload until ready")]
    Unstable(Channel),
    /// Valid during reset.
    #[error("{0:?} valid in reset")]
    ValidInReset(Channel),
    /// Not an INCR burst of 8-byte beats.
    #[error("{channel:?} burst type {burst}, size {size}")]
    BurstKind {
        /// AR or AW.
        channel: Channel,
        /// `AxBURST`.
        burst: u8,
        /// `AxSIZE`.
        size: u8,
    },
    /// Longer than the profile allows.
    #[error("{channel:?} burst of {beats} beats at {addr:#x}")]
    BurstTooLong {
        /// AR or AW.
        channel: Channel,
        /// Start address.
        addr: u64,
        /// Beats.
        beats: u16,
    },
    /// Crosses a 4 KiB boundary.
    #[error("{channel:?} burst of {beats} beats at {addr:#x} crosses 4 KiB")]
    Crosses4K {
        /// AR or AW.
        channel: Channel,
        /// Start address.
        addr: u64,
        /// Beats.
        beats: u16,
    },
    /// An ID beyond those the port may use.
    #[error("{channel:?} uses ID {id}")]
    UnknownId {
        /// AR or AW.
        channel: Channel,
        /// The ID.
        id: u8,
    },
    /// WLAST too early, too late, or missing.
    #[error("write burst of {announced} beats carried {carried}")]
    WlastPosition {
        /// Beats named by AWLEN.
        announced: u16,
        /// Beats until WLAST.
        carried: u16,
    },
    /// A strobe for bytes before the start address.
    #[error("strobe {strobe:#04x} below the start address {addr:#x}")]
    StrobeBelowStart {
        /// `WSTRB` of the first beat.
        strobe: u8,
        /// `AWADDR`.
        addr: u64,
    },
    /// A response for an ID with nothing outstanding.
    #[error("{channel:?} answers ID {id}, which has nothing outstanding")]
    Unasked {
        /// R or B.
        channel: Channel,
        /// The ID.
        id: u8,
    },
    /// RLAST too early, too late, or missing.
    #[error("read of ID {id}: RLAST {last} with {left} beats to go")]
    RlastPosition {
        /// The ID.
        id: u8,
        /// `RLAST`.
        last: bool,
        /// Beats that were still to come, this one included.
        left: u16,
    },
}

/// A write burst as seen on W.
#[derive(Debug, Clone, Copy, Default)]
struct Carried {
    beats: u16,
    first_strobe: u8,
}

/// The watcher. Give it the sampled values of every clock.
#[derive(Debug)]
pub struct AxiChecker {
    ids: u16,
    cycle: u64,
    master: AxiMasterOut,
    slave: AxiSlaveOut,
    /// Beats to come per outstanding read, per ID.
    reads: Vec<VecDeque<u16>>,
    /// Announced writes whose data is not complete.
    announced: VecDeque<AxiAddr>,
    /// Complete data whose address has not come.
    carried: VecDeque<Carried>,
    carrying: Carried,
    /// Writes that may be answered, per ID.
    unanswered: Vec<u32>,
    findings: Findings<AxiViolation>,
}

impl AxiChecker {
    /// A watcher for a port whose IDs are `0..ids` (at most 256).
    pub fn new(ids: u16) -> Self {
        let ids = ids.min(256);
        Self {
            ids,
            cycle: 0,
            master: AxiMasterOut::default(),
            slave: AxiSlaveOut::default(),
            reads: (0..ids).map(|_| VecDeque::with_capacity(16)).collect(),
            announced: VecDeque::with_capacity(64),
            carried: VecDeque::with_capacity(64),
            carrying: Carried::default(),
            unanswered: vec![0; usize::from(ids)],
            findings: Findings::default(),
        }
    }

    /// What was found so far.
    pub fn findings(&self) -> &Findings<AxiViolation> {
        &self.findings
    }

    /// One clock in reset: nothing may be valid, and everything outstanding is forgotten.
    pub fn observe_reset(&mut self, master: &AxiMasterOut) {
        self.cycle += 1;
        let valids =
            [(Channel::Ar, master.ar.valid), (Channel::Aw, master.aw.valid), (Channel::W, master.w.valid)];
        for (channel, _) in valids.into_iter().filter(|v| v.1) {
            self.report(AxiViolation::ValidInReset(channel));
        }
        self.master = AxiMasterOut::default();
        self.slave = AxiSlaveOut::default();
        self.reads.iter_mut().for_each(VecDeque::clear);
        self.announced.clear();
        self.carried.clear();
        self.carrying = Carried::default();
        self.unanswered.fill(0);
    }

    /// One clock: what both sides drove before the edge.
    #[inline]
    pub fn observe(&mut self, master: &AxiMasterOut, slave: &AxiSlaveOut) {
        self.cycle += 1;
        self.check_stable(master, slave);
        // Responses first: they must belong to something accepted in an earlier clock.
        if slave.r.valid && master.r_ready {
            self.read_beat(&slave.r);
        }
        if slave.b.valid && master.b_ready {
            self.write_response(&slave.b);
        }
        if master.ar.valid && slave.ar_ready {
            self.read_address(&master.ar);
        }
        if master.aw.valid && slave.aw_ready {
            self.check_address(Channel::Aw, &master.aw);
            self.announced.push_back(master.aw);
            self.match_writes();
        }
        if master.w.valid && slave.w_ready {
            self.write_beat(&master.w);
        }
        self.master = *master;
        self.slave = *slave;
    }

    #[inline]
    fn check_stable(&mut self, master: &AxiMasterOut, slave: &AxiSlaveOut) {
        let (m, s) = (self.master, self.slave);
        if m.ar.valid && !s.ar_ready && m.ar != master.ar {
            self.report(AxiViolation::Unstable(Channel::Ar));
        }
        if m.aw.valid && !s.aw_ready && m.aw != master.aw {
            self.report(AxiViolation::Unstable(Channel::Aw));
        }
        if m.w.valid && !s.w_ready && m.w != master.w {
            self.report(AxiViolation::Unstable(Channel::W));
        }
        if s.r.valid && !m.r_ready && s.r != slave.r {
            self.report(AxiViolation::Unstable(Channel::R));
        }
        if s.b.valid && !m.b_ready && s.b != slave.b {
            self.report(AxiViolation::Unstable(Channel::B));
        }
    }

    fn check_address(&mut self, channel: Channel, a: &AxiAddr) {
        let beats = u16::from(a.len) + 1;
        if a.burst != BURST_INCR || a.size != SIZE_8_BYTES {
            self.report(AxiViolation::BurstKind { channel, burst: a.burst, size: a.size });
        }
        if u64::from(beats) * BEAT_BYTES > MAX_BURST_BYTES {
            self.report(AxiViolation::BurstTooLong { channel, addr: a.addr, beats });
        }
        let in_page = (a.addr & 4095 & !(BEAT_BYTES - 1)) + u64::from(beats) * BEAT_BYTES;
        if in_page > 4096 {
            self.report(AxiViolation::Crosses4K { channel, addr: a.addr, beats });
        }
        if u16::from(a.id) >= self.ids {
            self.report(AxiViolation::UnknownId { channel, id: a.id });
        }
    }

    fn read_address(&mut self, ar: &AxiAddr) {
        self.check_address(Channel::Ar, ar);
        if let Some(queue) = self.reads.get_mut(usize::from(ar.id)) {
            queue.push_back(u16::from(ar.len) + 1);
        }
    }

    fn read_beat(&mut self, r: &AxiR) {
        if u16::from(r.id) >= self.ids {
            return; // reported when the address was seen
        }
        let queue = &mut self.reads[usize::from(r.id)];
        let Some(left) = queue.front_mut() else {
            self.report(AxiViolation::Unasked { channel: Channel::R, id: r.id });
            return;
        };
        let was = *left;
        *left -= 1;
        let is_done = *left == 0;
        if is_done || r.last {
            queue.pop_front();
        }
        if is_done != r.last {
            self.report(AxiViolation::RlastPosition { id: r.id, last: r.last, left: was });
        }
    }

    fn write_beat(&mut self, w: &AxiW) {
        if self.carrying.beats == 0 {
            self.carrying.first_strobe = w.strb;
        }
        self.carrying.beats = self.carrying.beats.saturating_add(1);
        if w.last {
            self.carried.push_back(std::mem::take(&mut self.carrying));
            self.match_writes();
        } else if self.announced.front().is_some_and(|aw| {
            self.carried.is_empty() && self.carrying.beats == u16::from(aw.len) + 1
            // last was due here
        }) {
            let beats = self.carrying.beats;
            self.report(AxiViolation::WlastPosition { announced: beats, carried: beats + 1 });
        }
    }

    fn match_writes(&mut self) {
        while let (Some(aw), Some(data)) = (self.announced.front().copied(), self.carried.front().copied()) {
            self.announced.pop_front();
            self.carried.pop_front();
            let announced = u16::from(aw.len) + 1;
            if announced != data.beats {
                self.report(AxiViolation::WlastPosition { announced, carried: data.beats });
            }
            let below = (1u8 << (aw.addr & (BEAT_BYTES - 1))) - 1;
            if data.first_strobe & below != 0 {
                self.report(AxiViolation::StrobeBelowStart { strobe: data.first_strobe, addr: aw.addr });
            }
            if let Some(count) = self.unanswered.get_mut(usize::from(aw.id)) {
                *count += 1;
            }
        }
    }

    fn write_response(&mut self, b: &AxiB) {
        match self.unanswered.get_mut(usize::from(b.id)) {
            Some(count) if *count > 0 => *count -= 1,
            Some(_) => self.report(AxiViolation::Unasked { channel: Channel::B, id: b.id }),
            None => (), // reported when the address was seen
        }
    }

    #[cold]
    fn report(&mut self, violation: AxiViolation) {
        self.findings.add(self.cycle, violation);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(addr: u64, beats: u8) -> AxiAddr {
        AxiAddr { valid: true, addr, len: beats - 1, size: SIZE_8_BYTES, burst: BURST_INCR, id: 0 }
    }

    fn ready() -> AxiSlaveOut {
        AxiSlaveOut { ar_ready: true, aw_ready: true, w_ready: true, ..AxiSlaveOut::default() }
    }

    fn idle() -> AxiMasterOut {
        AxiMasterOut { r_ready: true, b_ready: true, ..AxiMasterOut::default() }
    }

    /// Run the clocks; the violations found.
    fn run(clocks: &[(AxiMasterOut, AxiSlaveOut)]) -> Vec<AxiViolation> {
        let mut checker = AxiChecker::new(4);
        clocks.iter().for_each(|(m, s)| checker.observe(m, s));
        checker.findings().kept().iter().map(|f| f.violation).collect()
    }

    fn with_ar(ar: AxiAddr) -> Vec<AxiViolation> {
        run(&[(AxiMasterOut { ar, ..idle() }, ready())])
    }

    #[test]
    fn bad_addresses_are_named() {
        assert_eq!(with_ar(addr(0xf00, 32)), []);
        let channel = Channel::Ar;
        assert_eq!(with_ar(addr(0xf08, 32)), [AxiViolation::Crosses4K { channel, addr: 0xf08, beats: 32 }]);
        assert_eq!(with_ar(addr(0, 33)), [AxiViolation::BurstTooLong { channel, addr: 0, beats: 33 }]);
        assert_eq!(with_ar(AxiAddr { id: 4, ..addr(0, 1) }), [AxiViolation::UnknownId { channel, id: 4 }]);
        let wrap = AxiAddr { burst: 2, ..addr(0, 1) };
        assert_eq!(with_ar(wrap), [AxiViolation::BurstKind { channel, burst: 2, size: 3 }]);
    }

    #[test]
    fn changing_or_withdrawing_a_stalled_payload_is_seen() {
        let busy = AxiSlaveOut::default();
        let first = AxiMasterOut { aw: addr(64, 1), ..idle() };
        let other = AxiMasterOut { aw: addr(128, 1), ..idle() };
        assert_eq!(run(&[(first, busy), (other, ready())]), [AxiViolation::Unstable(Channel::Aw)]);
        assert_eq!(run(&[(first, busy), (idle(), ready())]), [AxiViolation::Unstable(Channel::Aw)]);
        assert_eq!(run(&[(first, busy), (first, ready()), (other, ready())]), []);
        let r = AxiSlaveOut { r: AxiR { valid: true, data: 1, ..AxiR::default() }, ..ready() };
        let r2 = AxiSlaveOut { r: AxiR { valid: true, data: 2, ..AxiR::default() }, ..ready() };
        let not_ready = AxiMasterOut { r_ready: false, ..idle() };
        assert_eq!(run(&[(not_ready, r), (not_ready, r2)]), [AxiViolation::Unstable(Channel::R)]);
    }

    #[test]
    fn wlast_must_match_awlen_in_either_order() {
        let w = |last| AxiMasterOut { w: AxiW { valid: true, data: 0, strb: 0xff, last }, ..idle() };
        let aw = AxiMasterOut { aw: addr(0, 2), ..idle() };
        let clocks = |list: &[AxiMasterOut]| list.iter().map(|m| (*m, ready())).collect::<Vec<_>>();
        assert_eq!(run(&clocks(&[aw, w(false), w(true)])), []);
        assert_eq!(run(&clocks(&[w(false), w(true), aw])), []);
        let early = AxiViolation::WlastPosition { announced: 2, carried: 1 };
        assert_eq!(run(&clocks(&[aw, w(true)])), [early]);
        assert_eq!(run(&clocks(&[w(true), aw])), [early]);
        let late = AxiViolation::WlastPosition { announced: 2, carried: 3 };
        assert_eq!(run(&clocks(&[aw, w(false), w(false)])), [late]);
    }

    #[test]
    fn strobes_below_an_unaligned_start_are_seen() {
        let aw = AxiMasterOut {
            aw: addr(3, 1),
            w: AxiW { valid: true, data: 0, strb: 0x0c, last: true },
            ..idle()
        };
        assert_eq!(run(&[(aw, ready())]), [AxiViolation::StrobeBelowStart { strobe: 0x0c, addr: 3 }]);
    }

    #[test]
    fn answers_without_a_question_are_seen() {
        let b = AxiSlaveOut { b: AxiB { valid: true, id: 2, ..AxiB::default() }, ..ready() };
        assert_eq!(run(&[(idle(), b)]), [AxiViolation::Unasked { channel: Channel::B, id: 2 }]);
        let ar = AxiMasterOut { ar: addr(0, 2), ..idle() };
        let r = |last| AxiSlaveOut { r: AxiR { valid: true, last, ..AxiR::default() }, ..ready() };
        assert_eq!(run(&[(ar, ready()), (idle(), r(false)), (idle(), r(true))]), []);
        let early = AxiViolation::RlastPosition { id: 0, last: true, left: 2 };
        assert_eq!(run(&[(ar, ready()), (idle(), r(true))]), [early]);
        assert_eq!(run(&[(idle(), r(true))]), [AxiViolation::Unasked { channel: Channel::R, id: 0 }]);
    }

    #[test]
    fn valid_in_reset_is_seen() {
        let mut checker = AxiChecker::new(1);
        checker.observe_reset(&AxiMasterOut { ar: addr(0, 1), ..idle() });
        assert_eq!(checker.findings().kept()[0].violation, AxiViolation::ValidInReset(Channel::Ar));
        assert!(checker.findings().to_string().contains("1 violations"));
    }
}
