//! The write engine on a bus with random delays and errors, native against Verilated.

use chimney_hdl::host::dma_write::{WriteEngine, CLIENTS, CLIENT_EVENTS, CLIENT_ORD_RX, CLIENT_PROTO};
use chimney_hdl::host::rx_done::TAG_ENTRY;
use chimney_hdl::types::{WriteCmd, PACKET_LOG2, WRITE_FREE, WRITE_INLINE, WRITE_PAYLOAD};
use chimney_hdl_kernel::diff::{diff, long, Bench, Rnd};
use std::collections::{HashMap, VecDeque};

/// Byte `at` of packet memory after `version` frees: every free rewrites the whole memory, so that a read that comes too
/// late is seen.
fn packet_byte(version: u64, at: u64) -> u8 {
    let x = (version << 20 | (at & 0x3fff)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (x >> 40) as u8
}

fn packet_word(version: u64, word: u64) -> u64 {
    (0..8).fold(0, |w, i| w | u64::from(packet_byte(version, word * 8 + i)) << (8 * i))
}

/// A command that was accepted.
#[derive(Clone, Debug)]
struct Accepted {
    client: usize,
    notify: bool,
    tag: u64,
    iova: u64,
    bytes: Vec<u8>,
    /// Bursts still to be answered.
    bursts: usize,
    error: bool,
}

/// Bursts that a region needs.
fn bursts(iova: u64, len: usize) -> usize {
    if len == 0 {
        return 0;
    }
    ((iova + len as u64 - 1) / 256 - iova / 256 + 1) as usize
}

/// The slave.
#[derive(Default)]
struct Bus {
    aw: VecDeque<(u64, u64)>,
    beat: u64,
    ended: usize,
    memory: HashMap<u64, u8>,
    /// 16ths of the time in which a channel is not ready.
    slow: u64,
    bvalid: bool,
    bad: bool,
    bursts: usize,
}

#[derive(Default)]
struct Test {
    offered: [Option<WriteCmd>; CLIENTS],
    accepted: VecDeque<Accepted>,
    reports: [VecDeque<(u64, bool)>; CLIENTS],
    frees: VecDeque<u64>,
    bus: Bus,
    next_iova: u64,
    tag: u64,
    accepted_frees: u64,
    seen_frees: u64,
    read: Option<u64>,
    any_error: bool,
    quiet: u64,
    done: usize,
    errors: usize,
    lost: Lost,
    /// Reports that failed for what came before them.
    reached: usize,
    resets: usize,
    holes: usize,
}

/// What failed and was not reported.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Lost {
    #[default]
    None,
    One {
        tag: u64,
        told: bool,
    },
    Many,
}

impl Test {
    fn random_cmd(&mut self, client: usize, r: &mut Rnd) -> WriteCmd {
        // Few tags, so that what was lost under one is met again.
        self.tag = r.below(4) << 14 | r.below(2);
        let mut c =
            WriteCmd { tag: self.tag.into(), notify: r.chance(1, 2), data: r.any(), ..Default::default() };
        let len = match r.below(4) {
            0 if r.chance(1, 8) => 1 + r.below(9024),
            0 => 1 + r.below(2048),
            1 => 1 + r.below(16),
            _ => 1 + r.below(300),
        };
        match r.below(8) {
            0..=3 => {
                self.next_iova += 8 + r.below(70);
                c.kind = WRITE_PAYLOAD.into();
                c.len = len.into();
                c.src = r.below(1 << PACKET_LOG2).into();
                c.free = if r.chance(1, 3) { 8 + 8 * r.below(100) } else { 0 }.into();
            }
            4..=6 => {
                self.next_iova = (self.next_iova + 15 + r.below(60)) & !7;
                c.kind = WRITE_INLINE.into();
                // Dispatcher and event ring have a word at most.
                let is_long = client != CLIENT_ORD_RX && client != CLIENT_EVENTS;
                let mut len = 8 + if is_long { 8 * r.below(4) } else { 0 };
                // Some bytes of a word.
                if r.chance(1, 4) {
                    self.next_iova += r.below(8);
                    len = 1 + r.below(8 - self.next_iova % 8);
                }
                c.len = len.into();
            }
            _ => {
                c.kind = WRITE_FREE.into();
                c.len = (8 * r.below(100)).into();
                return c;
            }
        }
        c.iova = self.next_iova.into();
        self.next_iova += c.len.to_u64();
        c
    }

    fn accept(&mut self, client: usize, c: &WriteCmd) {
        let (len, iova) = (c.len.to_u64(), c.iova.to_u64());
        let bytes: Vec<u8> = match c.kind.to_u64() {
            WRITE_PAYLOAD => (0..len).map(|i| packet_byte(self.accepted_frees, c.src.to_u64() + i)).collect(),
            WRITE_INLINE => {
                let lane = iova as usize % 8;
                (lane..lane + len as usize).map(|i| c.data.get_bits::<8>(8 * i).to_u8()).collect()
            }
            _ => {
                self.accepted_frees += 1;
                self.frees.push_back(len);
                vec![]
            }
        };
        if c.free.to_u64() != 0 {
            self.accepted_frees += 1;
            self.frees.push_back(c.free.to_u64());
        }
        self.accepted.push_back(Accepted {
            client,
            notify: c.notify,
            tag: c.tag.to_u64(),
            iova,
            bursts: bursts(iova, bytes.len()),
            bytes,
            error: false,
        });
    }

    /// Commands at the front that need no more responses are finished.
    fn retire(&mut self) {
        while self.accepted.front().is_some_and(|a| a.bursts == 0) {
            let a = self.accepted.pop_front().expect("there is one");
            for (i, b) in a.bytes.iter().enumerate() {
                assert_eq!(self.bus.memory.remove(&(a.iova + i as u64)), Some(*b), "byte {i} of {a:x?}");
            }
            let is_proto = a.client == CLIENT_PROTO;
            let is_its = is_proto && matches!(self.lost, Lost::One { tag, .. } if tag == a.tag);
            if a.notify {
                let reaches = is_its || (is_proto && self.lost == Lost::Many);
                self.reports[a.client].push_back((a.tag, a.error || reaches));
                self.reached += usize::from(reaches && !a.error);
                if let (true, Lost::One { told, .. }) = (is_its, &mut self.lost) {
                    *told = true;
                }
            } else if a.error && is_proto && !is_its {
                self.lost = match self.lost {
                    Lost::None | Lost::One { told: true, .. } => Lost::One { tag: a.tag, told: false },
                    _ => Lost::Many,
                };
            }
        }
    }

    fn bus(&mut self, u: &mut WriteEngine, r: &mut Rnd) {
        let ready = |r: &mut Rnd, slow: u64| r.below(16) >= slow;
        u.awready.next = ready(r, self.bus.slow);
        u.wready.next = ready(r, self.bus.slow);
        if u.wvalid.val() {
            let (addr, len) = *self.bus.aw.front().expect("data comes after its address");
            if u.wready.next {
                let at = addr + 8 * self.bus.beat;
                for i in (0..8).filter(|i| u.wstrb.val().get_bit(*i)) {
                    let old =
                        self.bus.memory.insert(at + i as u64, u.wdata.val().get_bits::<8>(8 * i).to_u8());
                    assert_eq!(old, None, "written twice");
                }
                assert_eq!(u.wlast.val(), self.bus.beat == len, "the last beat is marked");
                self.bus.beat += 1;
                if self.bus.beat > len {
                    (self.bus.beat, self.bus.ended) = (0, self.bus.ended + 1);
                    self.bus.aw.pop_front();
                }
            }
        }
        if u.awvalid.val() && u.awready.next {
            let (addr, len) = (u.awaddr.val().to_u64(), u.awlen.val().to_u64());
            assert!(addr & 7 == 0 && addr / 256 == (addr + 8 * len) / 256, "{addr:x} {len}");
            self.bus.aw.push_back((addr, len));
        }
        if !self.bus.bvalid && self.bus.ended > 0 && ready(r, self.bus.slow) {
            (self.bus.bvalid, self.bus.bad) = (true, r.chance(1, 40));
        }
        u.bvalid.next = self.bus.bvalid;
        u.bresp.next = if self.bus.bad { 2u64 } else { 0 }.into();
        if self.bus.bvalid && u.bready.val() {
            self.retire();
            let a = self.accepted.iter_mut().find(|a| a.bursts > 0).expect("a response answers a burst");
            a.bursts -= 1;
            a.error |= self.bus.bad;
            self.any_error |= self.bus.bad;
            self.errors += usize::from(self.bus.bad);
            self.bus.ended -= 1;
            self.bus.bursts += 1;
            self.bus.bvalid = false;
        }
    }

    fn clients(&mut self, u: &mut WriteEngine, r: &mut Rnd) {
        let mut is_hole = false;
        for i in 0..CLIENTS {
            if u.done_valid[i].val() {
                let d = u.done[i].val();
                let is_shared = i == CLIENT_EVENTS || (i == CLIENT_ORD_RX && d.tag == TAG_ENTRY);
                is_hole |= is_shared && d.error;
                let want = self.reports[i].pop_front().expect("reported only when answered");
                assert_eq!((d.tag.to_u64(), d.error), want);
                self.done += 1;
            }
            if self.offered[i].is_none() && self.quiet == 0 && r.chance(1, 6) {
                self.offered[i] = Some(self.random_cmd(i, r));
            }
            u.cmd_valid[i].next = self.offered[i].is_some();
            u.cmd[i].next = self.offered[i].unwrap_or_default();
            if u.cmd_ready[i].val() {
                if let Some(c) = self.offered[i].take() {
                    self.accept(i, &c);
                }
            }
        }
        assert_eq!(u.ring_lost.val(), is_hole);
        self.holes += usize::from(is_hole);
    }

    fn step(&mut self, u: &mut WriteEngine, r: &mut Rnd) {
        if r.chance(1, 400) {
            self.bus.slow = [0, 0, 3, 13][r.below(4) as usize];
            self.quiet = if r.chance(1, 3) { 300 } else { 0 };
        }
        self.quiet = self.quiet.saturating_sub(1);
        if u.idle.val() {
            self.retire();
            assert!(self.accepted.is_empty() && self.frees.is_empty(), "idle with work");
        }
        assert!(!u.dma_error.val() || self.any_error);
        // A memory beyond trust: a new beginning.
        let fresh = self.lost == Lost::Many && u.idle.val() && r.chance(1, 4);
        u.reset.next = fresh;
        if fresh {
            (self.lost, self.any_error) = (Lost::None, false);
            self.offered = Default::default();
            self.resets += 1;
            (0..CLIENTS).for_each(|i| u.cmd_valid[i].next = false);
            return;
        }
        u.mem_data.next = self.read.take().unwrap_or_else(|| r.next_u64()).into();
        if u.mem_re.val() {
            self.read = Some(packet_word(self.seen_frees, u.mem_addr.val().to_u64()));
        }
        if u.free_valid.val() {
            assert_eq!(Some(u.free_len.val().to_u64()), self.frees.pop_front());
            self.seen_frees += 1;
        }
        self.bus(u, r);
        self.retire();
        self.clients(u, r);
    }
}

/// Every byte of every command arrives once, in order, in legal bursts; reports come after the responses.
///
/// Verifies: laws L1, L2 (a report means everything before it is in host memory).
#[test]
fn writes_every_byte_once_and_reports_in_order() {
    let steps = if long() { 400_000 } else { 40_000 };
    let mut t = Test { next_iova: 0x12_3456_7000, ..Default::default() };
    let clock = |u: &mut WriteEngine, c: bool| u.clock.next = c.into();
    diff("write_engine", WriteEngine::default(), steps, |u, r| t.step(u, r), clock);
    eprintln!("{} bursts, {} reports, {} errors, {} frees", t.bus.bursts, t.done, t.errors, t.seen_frees);
    assert!(t.bus.bursts > steps / 60 && t.done > 100 && t.errors > 0 && t.seen_frees > 20);
    assert!(
        t.reached > 3 && t.resets > 0 && t.holes > 3,
        "{} reached, {} resets, {} holes",
        t.reached,
        t.resets,
        t.holes
    );
}

/// Clocks from a command to its address, with nothing else in work.
#[test]
fn an_address_follows_its_command_at_once() {
    let clocks = |client: usize| {
        let mut b = Bench::new(WriteEngine::default(), |u, c| u.clock.next = c.into());
        b.cycle(|u| u.reset.next = true);
        let cmd = WriteCmd {
            kind: WRITE_INLINE.into(),
            iova: 64u64.into(),
            len: 8u64.into(),
            ..Default::default()
        };
        let mut taken = false;
        (0..20).position(|_| {
            b.settle(|u| {
                u.reset.next = false;
                u.cmd_valid[client].next = !taken;
                u.cmd[client].next = cmd;
            });
            taken |= b.u.cmd_ready[client].val();
            let comes = b.u.awvalid.val();
            b.edge();
            comes
        })
    };
    assert_eq!([CLIENT_PROTO, CLIENT_EVENTS].map(clocks), [Some(2), Some(3)]);
}
