//! Host memory, send streams and frames in plain Rust, for the transmitter's tests.

#![allow(dead_code)]

pub mod large;

use chimney_abi::desc::{TxDesc, SEND_PUSH, TX_CSUM, TX_LOOPBACK};
use chimney_abi::wire::{ethernet, ip_protocol, ipv4, ipv6, tcp};
use chimney_hdl::prelude::*;
use chimney_hdl::tcp::tx::tables::{NeighborEntry, PathEntry};
use chimney_hdl::tcp::tx::transmit::Transmit;
use chimney_hdl::types::{ReadBeat, TxJob};
use chimney_hdl_kernel::diff::{Pins, Rnd};
use chimney_hdl_kernel::pins;
use std::collections::{HashMap, VecDeque};

/// The transmitter of the tests, with four paths and neighbors.
pub type Dut = Transmit<3, 2>;

/// Its ports.
pub fn ports() -> Pins<Dut> {
    pins!(Dut; reset, enable, mac, job_valid, job, done_ready, table_op_valid, table_op, tx_base, tx_log2, tx_producer,
        ord_req_ready, ord_beat_valid, desc_req_ready, desc_beat_valid, payload_req_ready, payload_beat_valid, beat,
        m_axis_tready, lb_tready;
        idle, job_ready, done_valid, done, table_op_ready, table_counter, tx_consumer, tx_moved, ord_req_valid, ord_req,
        desc_req_valid, desc_req, payload_req_valid, payload_req, m_axis_tdata, m_axis_tkeep, m_axis_tvalid, m_axis_tlast,
        lb_tdata, lb_tkeep, lb_tvalid, lb_tlast, counts)
}

/// Addresses with this bit answer with an error.
pub const BAD: u64 = 1 << 40;

/// Host memory: any content, but for the words that were put.
#[derive(Default)]
pub struct Host(HashMap<u64, u64>);

impl Host {
    /// Sets the word at a multiple of 8.
    pub fn put(&mut self, at: u64, word: u64) {
        self.0.insert(at, word);
    }

    /// The word at a multiple of 8.
    pub fn word(&self, at: u64) -> u64 {
        let any = || (at ^ 0x5bd1_e995).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        self.0.get(&at).copied().unwrap_or_else(any)
    }

    /// Bytes of memory.
    pub fn bytes(&self, at: u64, len: usize) -> Vec<u8> {
        (at..at + len as u64).map(|a| self.word(a & !7).to_le_bytes()[(a & 7) as usize]).collect()
    }

    /// Writes bytes at any address.
    pub fn lay(&mut self, at: u64, bytes: &[u8]) {
        for (i, byte) in bytes.iter().enumerate() {
            let a = at + i as u64;
            let shift = 8 * (a & 7);
            let word = self.word(a & !7) & !(0xff << shift) | u64::from(*byte) << shift;
            self.put(a & !7, word);
        }
    }

    /// A TX descriptor of a whole frame, sometimes wrong, and the frame it must become; `None` = it is refused.
    pub fn random_tx(&mut self, r: &mut Rnd) -> (TxDesc, Option<Vec<Vec<u8>>>) {
        let len = match r.below(8) {
            0 => 14 + r.below(60),
            1 => r.below(14),
            2 if r.chance(1, 5) => 9010 + r.below(12),
            _ => 14 + r.below(200),
        } as u16;
        let csum_start = if r.chance(1, 4) { r.below(256) as u8 } else { r.below(60) as u8 };
        let d = TxDesc {
            addr: 0x5000_0000 + r.below(1 << 20) + if r.chance(1, 30) { BAD } else { 0 },
            len,
            flags: [0, 0, TX_CSUM, TX_LOOPBACK | TX_CSUM, TX_LOOPBACK, TX_CSUM][r.below(6) as usize],
            csum_start,
            csum_offset: r.below(40) as u8,
            mss: r.next_u64() as u16,
            reserved: 0,
        };
        let field = usize::from(d.csum_start) + usize::from(d.csum_offset);
        let fits = d.flags & TX_CSUM == 0 || field + 2 <= usize::from(len);
        if !(14..=9018).contains(&len) || !fits {
            return (d, None);
        }
        if d.addr & BAD != 0 {
            // What cannot be read is lost as on a wire.
            return (d, Some(vec![]));
        }
        let mut f = self.bytes(d.addr, usize::from(len));
        if d.flags & TX_CSUM != 0 {
            let c = !sum(&[&f[usize::from(d.csum_start)..]]);
            f[field..field + 2].copy_from_slice(&(if c == 0 { 0xffff } else { c }).to_be_bytes());
        }
        (d, Some(vec![f]))
    }
}

/// A read client's bursts.
#[derive(Default)]
pub struct Bus(VecDeque<(u64, u64, usize)>);

impl Bus {
    /// A burst is asked for; its first beat comes not before `when`.
    pub fn ask(&mut self, at: u64, beats: u64, when: usize) {
        assert!(at.is_multiple_of(8) && (1..=32).contains(&beats), "{at:x} {beats}");
        assert_eq!(at / 256, (at + 8 * beats - 1) / 256, "a burst stays within its block");
        self.0.push_back((at, beats, when));
    }

    /// The next beat.
    pub fn next(&mut self, host: &Host, now: usize) -> Option<ReadBeat> {
        let (at, beats, when) = self.0.front_mut()?;
        if *when > now {
            return None;
        }
        let beat = ReadBeat { data: host.word(*at).into(), last: *beats == 1, error: *at & BAD != 0 };
        (*at, *beats) = (*at + 8, *beats - 1);
        if *beats == 0 {
            self.0.pop_front();
        }
        Some(beat)
    }
}

#[derive(Clone, Copy)]
struct Desc {
    addr: u64,
    len: u32,
    flags: u8,
    seq: u32,
}

/// One connection's send ring and the stream in it.
pub struct Stream {
    ring: u64,
    log2: u64,
    live: VecDeque<Desc>,
    producer: u64,
    end: u32,
    nxt: u32,
    fresh: bool,
    /// Jobs in flight.
    pub flight: usize,
    /// The last job was for bytes before the newest.
    pub went_back: bool,
}

impl Stream {
    /// An empty ring.
    pub fn new(i: u64, r: &mut Rnd) -> Self {
        let start = if r.chance(1, 2) { 0xffff_f000 } else { r.next_u64() as u32 };
        Stream {
            ring: 0x1_0000_0000 + 0x1_0000 * i + 16 * r.below(64),
            log2: 1 + r.below(4),
            live: VecDeque::new(),
            producer: 0,
            end: start,
            nxt: start,
            fresh: true,
            flight: 0,
            went_back: false,
        }
    }

    /// The peer acknowledges, the host posts; sometimes the connection is another one.
    pub fn advance(&mut self, host: &mut Host, r: &mut Rnd) {
        if self.flight == 0 && r.chance(1, 60) {
            (self.producer, self.fresh, self.live) = (0, true, VecDeque::new());
            self.end = r.next_u64() as u32;
            self.nxt = self.end;
        }
        while self.flight == 0 && self.live.len() > 1 && r.chance(2, 3) {
            let d = self.live[0];
            if (self.nxt.wrapping_sub(d.seq.wrapping_add(d.len)) as i32) < 0 {
                break;
            }
            self.live.pop_front();
        }
        while self.live.is_empty() || (self.live.len() < 1 << self.log2 && r.chance(2, 3)) {
            let len = [1, 7, 8, 20, 60, 300, 4000][r.below(7) as usize];
            let d = Desc {
                addr: 0x2000_0000 + r.below(1 << 24) + if r.chance(1, 25) { BAD } else { 0 },
                len: if r.chance(1, 2) { len } else { 1 + r.below(200) as u32 },
                flags: if r.chance(1, 3) { SEND_PUSH } else { 0 },
                seq: self.end,
            };
            let at = self.ring + 16 * (self.producer % (1 << self.log2));
            host.put(at, d.addr);
            host.put(at + 8, u64::from(d.len) | u64::from(d.flags) << 24 | u64::from(d.seq) << 32);
            self.end = self.end.wrapping_add(d.len);
            self.producer += 1;
            self.live.push_back(d);
        }
    }

    /// A job for bytes that are in the ring: mostly the next ones, sometimes older ones, or none.
    pub fn random_job(&mut self, conn: u64, paths: u64, r: &mut Rnd) -> TxJob {
        let una = self.live.front().map_or(self.end, |d| d.seq);
        if (self.nxt.wrapping_sub(una) as i32) < 0 || r.chance(1, 6) {
            self.nxt = una;
        }
        let left = u64::from(self.end.wrapping_sub(self.nxt));
        self.went_back = r.chance(1, 6) && self.nxt != una;
        let span = u64::from(self.nxt.wrapping_sub(una));
        let seq = if self.went_back { una.wrapping_add(r.below(span) as u32) } else { self.nxt };
        let room = if self.went_back { u64::from(self.end.wrapping_sub(seq)) } else { left };
        let want = [0, 1, 6, 40, 1 + r.below(60), 1 + r.below(300), 1448][r.below(7) as usize];
        let want = if r.chance(1, 30) { 8952 } else { want };
        let len = want.min(room);
        if !self.went_back {
            self.nxt = seq.wrapping_add(len as u32);
        }
        let j = TxJob {
            conn: conn.into(),
            path: r.bits_below(paths),
            seq: u64::from(seq).into(),
            len: len.into(),
            sack_count: if len == 0 { r.bits_below(5) } else { 0u64.into() },
            flags: [0x10u64, 0x11, 0x18, 0x14][r.below(4) as usize].into(),
            send_ring: self.ring.into(),
            send_ring_log2: self.log2.into(),
            reset_cursor: self.fresh,
            retransmit: self.went_back,
            ..r.any()
        };
        self.fresh = false;
        let priority = if r.chance(1, 2) { 0u64.into() } else { j.priority };
        // Four blocks fill the options.
        TxJob { has_ts: j.sack_count != 4 && r.chance(1, 2), priority, ..j }
    }

    /// A job without text.
    pub fn bare_job(&mut self, conn: u64, paths: u64, r: &mut Rnd) -> TxJob {
        let nxt = self.nxt;
        let j = TxJob { len: 0u64.into(), ..self.random_job(conn, paths, r) };
        self.nxt = nxt;
        let sack_count = r.bits_below(5);
        TxJob { sack_count, has_ts: sack_count != 4 && r.chance(1, 2), ..j }
    }

    /// The bytes of a segment and whether it is pushed; `None` when they cannot be read.
    pub fn text(&self, host: &Host, seq: u32, len: usize) -> Option<(Vec<u8>, bool)> {
        let (mut text, mut push) = (vec![], false);
        for d in &self.live {
            let at = seq.wrapping_add(text.len() as u32).wrapping_sub(d.seq);
            if at >= d.len || text.len() == len {
                continue;
            }
            let n = ((d.len - at) as usize).min(len - text.len());
            if d.addr & BAD != 0 {
                return None;
            }
            text.extend(host.bytes(d.addr + u64::from(at), n));
            push |= at as usize + n == d.len as usize && d.flags & SEND_PUSH != 0;
        }
        assert_eq!(text.len(), len, "the model asks only for bytes that are there");
        Some((text, push))
    }
}

/// Ones-complement sum of big-endian words, folded.
fn sum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|p| p.chunks(2));
    let mut s: u32 = words.map(|w| u32::from(w[0]) << 8 | u32::from(*w.get(1).unwrap_or(&0))).sum();
    while s >> 16 != 0 {
        s = (s & 0xffff) + (s >> 16);
    }
    s as u16
}

fn options(j: &TxJob) -> Vec<u8> {
    let mut o = vec![];
    let be = |v: u64| (v as u32).to_be_bytes();
    if j.has_ts {
        o.extend([tcp::OPT_NOP, tcp::OPT_NOP, tcp::OPT_TIMESTAMPS, tcp::OPT_TIMESTAMPS_LEN as u8]);
        o.extend(be(j.ts_val.to_u64()));
        o.extend(be(j.ts_ecr.to_u64()));
    }
    let n = j.sack_count.to_u64() as usize;
    if n != 0 {
        o.extend([tcp::OPT_NOP, tcp::OPT_NOP, tcp::OPT_SACK, (2 + 8 * n) as u8]);
        for i in 0..n {
            o.extend(be(j.sack.get_bits::<32>(64 * i).to_u64()));
            o.extend(be(j.sack.get_bits::<32>(64 * i + 32).to_u64()));
        }
    }
    o
}

/// The way of a segment.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    /// Its path.
    pub path: PathEntry,
    /// Its neighbor.
    pub neighbor: NeighborEntry,
    /// IP ID counter.
    pub counter: u16,
    /// The interface's MAC address.
    pub own: u64,
}

/// Bytes of an address.
fn address(ip: Bits<128>, v6: bool) -> Vec<u8> {
    (0..if v6 { 16 } else { 4 }).map(|i| ip.get_bits::<8>(8 * i).to_u64() as u8).collect()
}

/// Bytes in front of the segment: Ethernet, with tag and LLC/SNAP if they are wanted, for `len` bytes behind them.
fn link(j: &TxJob, way: &Way, len: usize) -> Vec<u8> {
    let n = way.neighbor;
    let src = if n.src_mac.to_u64() == 0 { way.own } else { n.src_mac.to_u64() };
    let mut f = n.dst_mac.to_u64().to_le_bytes()[..6].to_vec();
    f.extend(&src.to_le_bytes()[..6]);
    let tci = (j.priority.to_u64() << 13 | n.vlan.to_u64()) as u16;
    if tci != 0 {
        f.extend(ethernet::TYPE_VLAN.to_be_bytes());
        f.extend(tci.to_be_bytes());
    }
    if n.snap {
        f.extend(((len + ethernet::SNAP_LEN) as u16).to_be_bytes());
        f.extend(ethernet::SNAP_HEADER);
    }
    f.extend(if way.path.v6 { ethernet::TYPE_IPV6 } else { ethernet::TYPE_IPV4 }.to_be_bytes());
    f
}

fn ip_v4(j: &TxJob, way: &Way, len: usize) -> Vec<u8> {
    let p = way.path;
    let id = (p.ip_id_start.to_u64() as u16).wrapping_add(way.counter & 0x7fff);
    let mut f = vec![ipv4::VERSION_IHL_PLAIN, j.tos.to_u64() as u8];
    f.extend(((ipv4::HEADER_LEN + len) as u16).to_be_bytes());
    f.extend(id.to_be_bytes());
    f.extend(ipv4::FLAG_DF.to_be_bytes());
    f.extend([j.ttl.to_u64() as u8, ip_protocol::TCP, 0, 0]);
    f.extend(address(p.src_ip, false));
    f.extend(address(p.dst_ip, false));
    let c = !sum(&[&f]);
    f[ipv4::CHECKSUM..][..2].copy_from_slice(&c.to_be_bytes());
    f
}

fn ip_v6(j: &TxJob, way: &Way, len: usize) -> Vec<u8> {
    let word = 6 << 28 | j.tos.to_u64() << 20 | j.flow_label.to_u64();
    let mut f = (word as u32).to_be_bytes().to_vec();
    f.extend((len as u16).to_be_bytes());
    f.extend([ip_protocol::TCP, j.ttl.to_u64() as u8]);
    f.extend(address(way.path.src_ip, true));
    f.extend(address(way.path.dst_ip, true));
    f
}

/// The frame of a job, without padding.
pub fn segment(j: &TxJob, way: &Way, text: &[u8], push: bool) -> Vec<u8> {
    let o = options(j);
    let flags = j.flags.to_u64() as u8 | if push { tcp::FLAG_PSH } else { 0 };
    let mut t = (j.local_port.to_u64() as u16).to_be_bytes().to_vec();
    t.extend((j.remote_port.to_u64() as u16).to_be_bytes());
    t.extend((j.seq.to_u64() as u32).to_be_bytes());
    t.extend((j.ack.to_u64() as u32).to_be_bytes());
    t.extend([((5 + o.len() / 4) << 4) as u8, flags]);
    t.extend((j.wnd.to_u64() as u16).to_be_bytes());
    t.extend([0, 0, 0, 0]);
    t.extend(o);
    t.extend(text);
    let v6 = way.path.v6;
    let ip = if v6 { ip_v6(j, way, t.len()) } else { ip_v4(j, way, t.len()) };
    let addresses = &ip[if v6 { ipv6::SRC } else { ipv4::SRC }..];
    let tail = [&[0, ip_protocol::TCP][..], &(t.len() as u16).to_be_bytes()].concat();
    let c = !sum(&[addresses, &tail, &t]);
    t[tcp::CHECKSUM..][..2].copy_from_slice(&c.to_be_bytes());
    [link(j, way, ip.len() + t.len()), ip, t].concat()
}
