//! Ethernet frames for the receive path's tests, and what the receive path must think of them.
#![allow(dead_code)]

use chimney_abi::wire::{ethernet, ip_protocol, ipv4, tcp};
use chimney_hdl_kernel::diff::Rnd;

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

fn pseudo(ip: &[u8], tcp_len: usize) -> [u8; 12] {
    let mut p = [0; 12];
    p[..8].copy_from_slice(&ip[ipv4::SRC..ipv4::SRC + 8]);
    p[9] = ip_protocol::TCP;
    p[10..].copy_from_slice(&(tcp_len as u16).to_be_bytes());
    p
}

/// What the receiver must report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// The frame.
    pub frame: Vec<u8>,
    /// IPv4 header checksum right.
    pub ip_ok: bool,
    /// TCP checksum right.
    pub l4_ok: bool,
    /// Candidate for the lookup.
    pub candidate: bool,
    /// Last timestamps option.
    pub ts: Option<(u32, u32)>,
}

fn be16(b: &[u8], at: usize) -> usize {
    usize::from(b[at]) << 8 | usize::from(b[at + 1])
}

fn be32(b: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]])
}

/// The last timestamps among the options of a header; a malformed list ends where it makes no sense.
fn timestamps(mut o: &[u8]) -> Option<(u32, u32)> {
    let mut ts = None;
    while let Some(&kind) = o.first() {
        match kind {
            tcp::OPT_END => break,
            tcp::OPT_NOP => o = &o[1..],
            _ => {
                let len = o.get(1).map_or(0, |len| usize::from(*len));
                let Some(body) = o.get(2..len) else { break };
                if kind == tcp::OPT_TIMESTAMPS && len == tcp::OPT_TIMESTAMPS_LEN {
                    ts = Some((be32(body, 0), be32(body, 4)));
                }
                o = &o[len..];
            }
        }
    }
    ts
}

/// Judges a frame by the programmer's guide 3, in plain Rust.
pub fn judge(frame: &[u8]) -> Expected {
    let mut e = Expected { frame: frame.to_vec(), ip_ok: false, l4_ok: false, candidate: false, ts: None };
    let Some(ip) = frame.get(ethernet::HEADER_LEN..) else { return e };
    if ip.len() < 20 || be16(frame, ethernet::ETHERTYPE) != usize::from(ethernet::TYPE_IPV4) {
        return e;
    }
    let total = be16(ip, ipv4::TOTAL_LEN);
    e.ip_ok = ip[0] == ipv4::VERSION_IHL_PLAIN && sum(&[&ip[..20]]) == 0xffff;
    let fragment = be16(ip, ipv4::FLAGS_FRAGMENT) & 0x3fff != 0;
    if !e.ip_ok || fragment || ip[ipv4::PROTOCOL] != ip_protocol::TCP || !(40..=ip.len()).contains(&total) {
        return e;
    }
    let t = &ip[20..total];
    e.l4_ok = sum(&[&pseudo(ip, t.len()), t]) == 0xffff;
    let header = usize::from(t[tcp::DATA_OFFSET] >> 4) * 4;
    e.candidate = e.l4_ok && (20..=t.len()).contains(&header) && frame[..6] == MAC;
    if e.candidate {
        e.ts = timestamps(&t[20..header]);
    }
    e
}

/// A list of options, padded to words; well formed unless `wild`.
fn random_options(r: &mut Rnd, wild: bool) -> Vec<u8> {
    let mut o = vec![];
    for _ in 0..r.below(5) {
        let body: Vec<u8> = match r.below(8) {
            0 | 1 => vec![tcp::OPT_NOP],
            2 => [&[tcp::OPT_TIMESTAMPS, 10][..], &r.next_u64().to_be_bytes()].concat(),
            3 => {
                let n = 1 + r.below(3) as usize;
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

/// A TCP/IPv4 frame with right checksums.
pub fn tcp_frame(
    remote: ([u8; 4], u16),
    local: ([u8; 4], u16),
    options: &[u8],
    payload: &[u8],
    r: &mut Rnd,
) -> Vec<u8> {
    let tcp_len = 20 + options.len() + payload.len();
    let mut f = vec![];
    f.extend(MAC);
    f.extend([2, 1, 2, 3, 4, 5]);
    f.extend(ethernet::TYPE_IPV4.to_be_bytes());
    f.extend([ipv4::VERSION_IHL_PLAIN, 0]);
    f.extend((20 + tcp_len as u16).to_be_bytes());
    f.extend([r.next_u64() as u8, 1, 0x40, 0, 64, ip_protocol::TCP, 0, 0]);
    f.extend(remote.0);
    f.extend(local.0);
    let c = !sum(&[&f[14..34]]);
    f[24..26].copy_from_slice(&c.to_be_bytes());
    f.extend(remote.1.to_be_bytes());
    f.extend(local.1.to_be_bytes());
    f.extend(r.next_u64().to_be_bytes());
    f.extend([((20 + options.len()) / 4 * 16) as u8, r.next_u64() as u8 & 0x1f]);
    f.extend((r.next_u64() as u16).to_be_bytes());
    f.extend([0, 0, 0, 0]);
    f.extend(options);
    f.extend(payload);
    let c = !sum(&[&pseudo(&f[14..34], tcp_len), &f[34..]]);
    f[50..52].copy_from_slice(&c.to_be_bytes());
    f
}

/// Any frame: mostly clean TCP, often with one thing wrong.
pub fn random_frame(r: &mut Rnd) -> Vec<u8> {
    let wild = r.chance(1, 4);
    let opts = random_options(r, wild);
    let len = [0, 1, 7, 8, 60, 200, 1448, 1900][r.below(8) as usize];
    let len = if r.chance(1, 2) { len } else { r.below(100) as usize };
    let payload: Vec<u8> = (0..len).map(|_| r.next_u64() as u8).collect();
    let addr = |r: &mut Rnd| [10, 0, 0, r.below(4) as u8];
    let (remote, local) = ((addr(r), 1000 + r.below(4) as u16), (addr(r), 80));
    let mut f = tcp_frame(remote, local, &opts, &payload, r);
    if r.chance(1, 2) {
        while f.len() < ethernet::MIN_FRAME_LEN {
            f.push(r.next_u64() as u8); // padding need not be zero
        }
    }
    match r.below(20) {
        0 => f[r.below(60) as usize % 54] ^= 1 << r.below(8),
        1 => {
            let at = r.below(f.len() as u64) as usize;
            f[at] ^= 1 << r.below(8);
        }
        2 => f[13] = 0xdd,
        3 => f[14] = 0x46,
        4 => f[0] ^= 2,
        5 => f.truncate(1 + r.below(f.len() as u64) as usize),
        6 => fragment(&mut f),
        7 => f = (0..1 + r.below(90)).map(|_| r.next_u64() as u8).collect(),
        8 => data_offset(&mut f, r),
        _ => {}
    }
    f
}

/// A later fragment with a right header checksum.
fn fragment(f: &mut [u8]) {
    f[20] |= 0x20;
    f[24..26].fill(0);
    let c = !sum(&[&f[14..34]]);
    f[24..26].copy_from_slice(&c.to_be_bytes());
}

/// A data offset that need not fit, with a right checksum.
fn data_offset(f: &mut [u8], r: &mut Rnd) {
    f[46] = (r.below(16) << 4) as u8;
    let total = be16(f, 16);
    f[50..52].fill(0);
    let c = !sum(&[&pseudo(&f[14..34], total - 20), &f[34..14 + total]]);
    f[50..52].copy_from_slice(&c.to_be_bytes());
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
