//! The lookup in plain Rust: the keyed hash of a tuple, and what becomes of a table that is filled.
#![allow(dead_code)]

use chimney_hdl::tcp::lookup::{Address, FlowKey};
use chimney_hdl_kernel::diff::Rnd;

/// A tuple as it passes on the wire: 3 words for IPv4, 9 for IPv6, first wire byte low.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tuple {
    /// IPv6.
    pub is_v6: bool,
    /// Remote address.
    pub remote: u128,
    /// Own address.
    pub local: u128,
    /// Ports, numbers.
    pub ports: (u16, u16),
}

impl Tuple {
    /// Of addresses and ports as people write them.
    pub fn v4(remote: [u8; 4], remote_port: u16, local: [u8; 4], local_port: u16) -> Tuple {
        let ip = |a: [u8; 4]| u128::from(u32::from_le_bytes(a));
        Tuple { is_v6: false, remote: ip(remote), local: ip(local), ports: (remote_port, local_port) }
    }

    /// Of a frame whose TCP header begins at `at`.
    pub fn of_frame(frame: &[u8], at: usize, is_v6: bool) -> Tuple {
        let len = if is_v6 { 16 } else { 4 };
        let ip = |at: usize| frame[at..at + len].iter().rev().fold(0, |a, b| a << 8 | u128::from(*b));
        let port = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
        let (remote, local) = (ip(at - 2 * len), ip(at - len));
        Tuple { is_v6, remote, local, ports: (port(at), port(at + 2)) }
    }

    /// Of a key.
    pub fn of_key(key: &FlowKey) -> Tuple {
        let ip =
            |a: Address| [a.d, a.c, a.b, a.a].iter().fold(0, |x, word| x << 32 | u128::from(word.to_u64()));
        let ports = (key.remote_port.to_u64() as u16, key.local_port.to_u64() as u16);
        Tuple { is_v6: key.is_v6, remote: ip(key.remote_ip), local: ip(key.local_ip), ports }
    }

    /// Any, of both families.
    pub fn any(r: &mut Rnd) -> Tuple {
        let is_v6 = r.chance(1, 2);
        let mut ip = || {
            let all = u128::from(r.next_u64()) << 64 | u128::from(r.next_u64());
            if is_v6 {
                all
            } else {
                all & 0xffff_ffff
            }
        };
        let (remote, local) = (ip(), ip());
        Tuple { is_v6, remote, local, ports: (r.next_u64() as u16, r.next_u64() as u16) }
    }

    /// Its words.
    pub fn words(&self) -> Vec<u32> {
        let n = if self.is_v6 { 4 } else { 1 };
        let of = |ip: u128| (0..n).map(move |i| (ip >> (32 * i)) as u32);
        let ports = u32::from(self.ports.0.swap_bytes()) | u32::from(self.ports.1.swap_bytes()) << 16;
        of(self.remote).chain(of(self.local)).chain([ports]).collect()
    }

    /// As the command block has it: of IPv4 with anything behind the first words.
    pub fn raw_key(&self) -> FlowKey {
        let (remote, local) = (filled(self.remote, self.is_v6), filled(self.local, self.is_v6));
        FlowKey { remote_ip: wide(remote), local_ip: wide(local), ..self.key() }
    }

    /// As it comes from a frame.
    pub fn key(&self) -> FlowKey {
        FlowKey {
            is_v6: self.is_v6,
            remote_ip: wide(self.remote),
            local_ip: wide(self.local),
            remote_port: u64::from(self.ports.0).into(),
            local_port: u64::from(self.ports.1).into(),
        }
    }
}

/// An address with something in the words that it has not.
fn filled(x: u128, is_v6: bool) -> u128 {
    if is_v6 {
        x
    } else {
        x | 0x5a5a_0000_dead_beef_0bad_cafe << 32
    }
}

fn wide(x: u128) -> Address {
    let word = |i: u32| u64::from((x >> (32 * i)) as u32).into();
    Address { a: word(0), b: word(1), c: word(2), d: word(3) }
}

/// The S-boxes of a key.
pub struct Secret(Vec<[u32; 256]>);

impl Secret {
    /// As the hardware fills them.
    pub fn new(key: u64) -> Secret {
        let (mut x, mut y) = (key as u32, (key >> 32) as u32);
        let mut boxes = vec![[0; 256]; 4];
        for step in 1984..4096u32 {
            x = x.rotate_right(8).wrapping_add(y) ^ step;
            y = y.rotate_left(3) ^ x;
            if step >= 2048 && step % 2 == 1 {
                let word = ((step - 2048) / 2) as usize;
                boxes[word / 256][word % 256] = x;
            }
        }
        Secret(boxes)
    }

    /// T.
    pub fn mix(&self, x: u32) -> u32 {
        x.to_le_bytes().iter().zip(&self.0).fold(0, |y, (byte, table)| y ^ table[usize::from(*byte)])
    }

    /// The hash of a tuple.
    pub fn hash(&self, tuple: &Tuple) -> u32 {
        tuple.words().iter().fold(0, |h, w| self.mix(h ^ w))
    }
}

/// The table as a pure function of what was inserted; `log2`: of the buckets of one of its two tables.
pub struct Table {
    log2: usize,
    slots: [Vec<[Option<u32>; 2]>; 2],
    stash: Vec<u32>,
    dice: u32,
    side: usize,
    /// Most entries that were in the stash after an insert, and most swaps of an insert.
    pub worst: (usize, usize),
}

impl Table {
    /// An empty one.
    pub fn new(log2: usize) -> Table {
        let slots = [vec![[None; 2]; 1 << log2], vec![[None; 2]; 1 << log2]];
        Table { log2, slots, stash: vec![], dice: 1, side: 0, worst: (0, 0) }
    }

    fn places(&self, hash: u32) -> [usize; 2] {
        let mask = (1 << self.log2) - 1;
        [hash as usize & mask, hash as usize >> self.log2 & mask]
    }

    /// False: no place.
    pub fn insert(&mut self, hash: u32) -> bool {
        if self.stash.len() == 4 {
            return false;
        }
        self.stash.push(hash);
        let mut swaps = 0;
        while let Some(hand) = self.stash.pop() {
            let at = self.places(hand);
            let free = (0..4).find(|i| self.slots[i / 2][at[i / 2]][i % 2].is_none());
            if let Some(i) = free {
                self.slots[i / 2][at[i / 2]][i % 2] = Some(hand);
                continue;
            }
            if swaps == 63 {
                self.stash.push(hand);
                break;
            }
            swaps += 1;
            self.dice = self.dice.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            self.side ^= 1;
            let slot = &mut self.slots[self.side][at[self.side]][self.dice as usize >> 31];
            let out = slot.replace(hand).expect("in use");
            self.stash.push(out);
        }
        self.worst = (self.worst.0.max(self.stash.len()), self.worst.1.max(swaps));
        true
    }
}
