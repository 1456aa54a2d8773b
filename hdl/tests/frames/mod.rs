//! Ethernet frames for the receive path's tests, and what the receive path must think of them.
#![allow(dead_code)]

use chimney_abi::wire::{ethernet, ip_protocol, ipv4, ipv6, tcp, udp};
use chimney_hdl_kernel::diff::Rnd;

pub mod judge;

/// Our MAC address in the tests.
pub const MAC: [u8; 6] = [0x02, 0xaa, 0xbb, 0xcc, 0xdd, 0xee];

/// Ones-complement sum of big-endian words, folded.
pub fn sum(parts: &[&[u8]]) -> u16 {
    let mut s = 0u32;
    for p in parts {
        for w in p.chunks(2) {
            s += u32::from(w[0]) << 8 | u32::from(*w.get(1).unwrap_or(&0));
        }
    }
    while s >> 16 != 0 {
        s = (s & 0xffff) + (s >> 16);
    }
    s as u16
}

fn be16(b: &[u8], at: usize) -> usize {
    usize::from(b[at]) << 8 | usize::from(b[at + 1])
}

fn be32(b: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]])
}

/// A list of options, padded to words; well formed unless `wild`.
fn random_options(r: &mut Rnd, wild: bool) -> Vec<u8> {
    let mut o = vec![];
    for _ in 0..r.below(7) {
        let body: Vec<u8> = match r.below(8) {
            0 | 1 => vec![tcp::OPT_NOP],
            2 => [&[tcp::OPT_TIMESTAMPS, 10][..], &r.next_u64().to_be_bytes()].concat(),
            3 => {
                let n = 1 + r.below(4) as usize;
                let blocks: Vec<u8> = (0..n * 8).map(|_| r.next_u64() as u8).collect();
                [&[tcp::OPT_SACK, 2 + 8 * n as u8][..], &blocks].concat()
            }
            4 => vec![tcp::OPT_MSS, 4, 5, 0xb4],
            5 => vec![tcp::OPT_WINDOW_SCALE, 3, 7],
            6 => [&[253, 7][..], &[1, 2, 3, 4, 5]].concat(),
            _ if wild => vec![[8u8, 5, 2, 99, 1][r.below(5) as usize], r.below(45) as u8],
            _ => vec![tcp::OPT_SACK_PERMITTED, 2],
        };
        if o.len() + body.len() <= 40 {
            o.extend(body);
        }
    }
    while !o.len().is_multiple_of(4) {
        o.push(if r.chance(1, 2) { tcp::OPT_NOP } else { tcp::OPT_END });
    }
    o
}

/// How a frame is made.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shape {
    /// IPv6.
    pub v6: bool,
    /// An 802.1Q tag.
    pub tci: Option<u16>,
    /// LLC/SNAP.
    pub snap: bool,
    /// Not TCP but UDP.
    pub udp: bool,
}

impl Shape {
    /// Any shape.
    pub fn random(r: &mut Rnd) -> Self {
        let tci = if r.chance(1, 3) { Some(r.next_u64() as u16) } else { None };
        Shape { v6: r.chance(1, 2), tci, snap: r.chance(1, 3), udp: r.chance(1, 6) }
    }

    /// Where the IP header begins.
    pub fn ip_at(&self) -> usize {
        14 + if self.tci.is_some() { 4 } else { 0 } + if self.snap { 8 } else { 0 }
    }

    fn ip_len(&self) -> usize {
        if self.v6 {
            ipv6::HEADER_LEN
        } else {
            ipv4::HEADER_LEN
        }
    }
}

/// The address of a test's host in either family.
fn address(a: [u8; 4], v6: bool) -> Vec<u8> {
    if v6 {
        [&[0x20, 1, 0xd, 0xb8, a[3], a[2], 7, 7, 1, 2, 3, 4][..], &a].concat()
    } else {
        a.to_vec()
    }
}

fn ip_header(s: &Shape, src: &[u8], dst: &[u8], len: usize, r: &mut Rnd) -> Vec<u8> {
    let protocol = if s.udp { ip_protocol::UDP } else { ip_protocol::TCP };
    let (len, any) = (len as u16, r.next_u64() as u8);
    let mut h = if s.v6 {
        let len = len.to_be_bytes();
        vec![0x60 | any >> 4, any << 4, 1, 2, len[0], len[1], protocol, 64]
    } else {
        let len = (len + 20).to_be_bytes();
        vec![ipv4::VERSION_IHL_PLAIN, any, len[0], len[1], any, 1, 0x40, 0, 64, protocol, 0, 0]
    };
    h.extend(src);
    h.extend(dst);
    if !s.v6 {
        let c = !sum(&[&h]);
        h[10..12].copy_from_slice(&c.to_be_bytes());
    }
    h
}

/// Sets the checksum at `at` of the part from `l4` to `end`.
fn set_checksum(f: &mut [u8], s: &Shape, l4: usize, end: usize) {
    let at = l4 + if s.udp { udp::CHECKSUM } else { tcp::CHECKSUM };
    let protocol = if s.udp { ip_protocol::UDP } else { ip_protocol::TCP };
    f[at..at + 2].fill(0);
    let addresses = if s.v6 { l4 - 32..l4 } else { l4 - 8..l4 };
    let len = end - l4;
    let c = !sum(&[&f[addresses], &[0, protocol, (len >> 8) as u8, len as u8], &f[l4..end]]);
    f[at..at + 2].copy_from_slice(&if c == 0 && s.udp { 0xffff } else { c }.to_be_bytes());
}

/// An address and a port.
pub type End = ([u8; 4], u16);

/// A TCP or UDP frame of any shape, with right checksums.
pub fn shaped_frame(s: &Shape, ends: (End, End), options: &[u8], payload: &[u8], r: &mut Rnd) -> Vec<u8> {
    let (remote, local) = ends;
    let l4_len = if s.udp { 8 } else { 20 + options.len() } + payload.len();
    let ip = ip_header(s, &address(remote.0, s.v6), &address(local.0, s.v6), l4_len, r);
    let mut f = [&MAC[..], &[2, 1, 2, 3, 4, 5]].concat();
    if let Some(tci) = s.tci {
        f.extend(ethernet::TYPE_VLAN.to_be_bytes());
        f.extend(tci.to_be_bytes());
    }
    if s.snap {
        f.extend(((8 + ip.len() + l4_len) as u16).to_be_bytes());
        f.extend(ethernet::SNAP_HEADER);
    }
    f.extend(if s.v6 { ethernet::TYPE_IPV6 } else { ethernet::TYPE_IPV4 }.to_be_bytes());
    f.extend(ip);
    let l4 = f.len();
    f.extend(remote.1.to_be_bytes());
    f.extend(local.1.to_be_bytes());
    if s.udp {
        f.extend((l4_len as u16).to_be_bytes());
        f.extend([0, 0]);
    } else {
        f.extend(r.next_u64().to_be_bytes());
        let offset = ((20 + options.len()) / 4 * 16) as u8;
        f.extend([offset | r.next_u64() as u8 & 1, r.next_u64() as u8 & 0xdf]);
        f.extend((r.next_u64() as u16).to_be_bytes());
        f.extend([0, 0, 0, 0]);
        f.extend(options);
    }
    f.extend(payload);
    let end = f.len();
    set_checksum(&mut f, s, l4, end);
    f
}

/// A TCP/IPv4 frame with right checksums.
pub fn tcp_frame(remote: End, local: End, options: &[u8], payload: &[u8], r: &mut Rnd) -> Vec<u8> {
    shaped_frame(&Shape::default(), (remote, local), options, payload, r)
}

/// Any frame up to about `max` bytes: mostly clean, often with one thing wrong.
pub fn random_frame(r: &mut Rnd, max: u64) -> Vec<u8> {
    let wild = r.chance(1, 4);
    let opts = random_options(r, wild);
    let s = if r.chance(1, 3) { Shape::default() } else { Shape::random(r) };
    let limit = if s.snap { 1400 } else { max - 120 };
    let len = [0, 1, 7, 8, 60, 200, limit.min(1448), limit][r.below(8) as usize];
    let len = if r.chance(2, 3) { r.below(100) } else { len };
    let payload: Vec<u8> = (0..len).map(|_| r.next_u64() as u8).collect();
    let addr = |r: &mut Rnd| [10, 0, 0, r.below(4) as u8];
    let ends = ((addr(r), 1000 + r.below(4) as u16), (addr(r), 80));
    let mut f = shaped_frame(&s, ends, &opts, &payload, r);
    let end = f.len();
    if r.chance(1, 2) {
        while f.len() < ethernet::MIN_FRAME_LEN {
            f.push(r.next_u64() as u8); // padding need not be zero
        }
    }
    harm(&mut f, &s, end, r);
    f
}

/// One thing wrong, or nothing.
fn harm(f: &mut Vec<u8>, s: &Shape, end: usize, r: &mut Rnd) {
    let l4 = s.ip_at() + s.ip_len();
    match r.below(24) {
        0 => {
            // In a header; the shortest UDP frame ends before the longest header.
            let at = r.below(54.min(f.len() as u64)) as usize;
            f[at] ^= 1 << r.below(8);
        }
        1 => {
            let at = r.below(f.len() as u64) as usize;
            f[at] ^= 1 << r.below(8);
        }
        2 => f[s.ip_at() - 1] = 0xdd,
        3 => f[s.ip_at()] = [0x46, 0x65, 0x45][r.below(3) as usize],
        4 => f[0] ^= 2,
        5 => f.truncate(1 + r.below(f.len() as u64) as usize),
        6 if !s.v6 => fragment(f, s.ip_at()),
        7 => *f = (0..1 + r.below(90)).map(|_| r.next_u64() as u8).collect(),
        8 if !s.udp => {
            // A data offset that need not fit, with a right checksum.
            f[l4 + tcp::DATA_OFFSET] = (r.below(16) << 4) as u8;
            set_checksum(f, s, l4, end);
        }
        9 if s.udp => f[l4 + udp::CHECKSUM..l4 + 8].fill(0),
        10 if s.udp => {
            f[l4 + udp::LEN + 1] ^= 1;
            set_checksum(f, s, l4, end);
        }
        11 if s.snap => f[s.ip_at() - 9] ^= 4,
        12 => f[12 + r.below(14) as usize] = [0, 8, 0x81, 0xaa, 3, 0x86, 0xdd][r.below(7) as usize],
        _ => {}
    }
}

/// A later fragment with a right header checksum.
fn fragment(f: &mut [u8], ip: usize) {
    f[ip + 6] |= 0x20;
    f[ip + 10..ip + 12].fill(0);
    let c = !sum(&[&f[ip..ip + 20]]);
    f[ip + 10..ip + 12].copy_from_slice(&c.to_be_bytes());
}

/// One input: the frame in transfer.
#[derive(Default)]
pub struct Source {
    frame: Vec<u8>,
    at: usize,
    offered: bool,
    /// The MAC will call this frame bad.
    pub bad: bool,
}

/// A beat for the bus: data, keep, last.
pub type Beat = (u64, u8, bool);

impl Source {
    /// The beat on the bus in this cycle, if any; `gap` of 16 cycles begin without one.
    pub fn offer(&mut self, r: &mut Rnd, gap: u64, next: impl FnOnce(&mut Rnd) -> Vec<u8>) -> Option<Beat> {
        if self.frame.is_empty() {
            self.frame = next(r);
            self.bad = r.chance(1, 20);
        }
        self.offered = self.offered || r.below(16) >= gap;
        let rest = &self.frame[self.at..];
        let n = rest.len().min(8);
        let mut b = [0xa5; 8];
        b[..n].copy_from_slice(&rest[..n]);
        self.offered.then(|| (u64::from_le_bytes(b), (0xffu16 >> (8 - n)) as u8, rest.len() <= 8))
    }

    /// The beat is taken; returns the frame when it was the last one.
    pub fn taken(&mut self) -> Option<Vec<u8>> {
        self.offered = false;
        self.at += 8;
        if self.at < self.frame.len() {
            return None;
        }
        self.at = 0;
        Some(std::mem::take(&mut self.frame))
    }
}
