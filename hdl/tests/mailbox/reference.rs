//! The command block in plain Rust: what a command writes, and whom it asks what (programmer's guide 4, 5, 9).

use chimney_abi::cmd::{ImageKind, Opcode, Status};
use chimney_abi::desc::{phase, Command, CommandDone, PAGE_MAP_STRIDE, PAGE_SLOTS};
use chimney_abi::state::{
    ImageHeader, NeighborImage, PathImage, TcpRecord, CONST_IPV6, HEADER_BYTES, IMAGE_REVISION, IMAGE_STRIDE,
    NEIGHBOR_LLC_SNAP, PATH_IPV6,
};
use std::collections::{BTreeMap, BTreeSet};

/// Connections, paths and neighbors of the block under test.
pub const CONNS: u16 = 8;
/// See [`CONNS`].
pub const ROWS: u16 = 4;
/// Command ring.
pub const RING: u64 = 0x10_0000;
/// Completion ring.
pub const DONE_RING: u64 = 0x11_0000;
/// log2 of their entries.
pub const RING_LOG2: u8 = 3;
/// Page maps.
pub const MAPS: u64 = 0x12_0000;

/// Host memory in words of 8 bytes, and the words that cannot be read.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    pub words: BTreeMap<u64, u64>,
    pub bad: BTreeSet<u64>,
}

impl Memory {
    pub fn put(&mut self, at: u64, bytes: &[u8]) {
        for (at, byte) in (at..).zip(bytes) {
            let word = self.words.entry(at & !7).or_default();
            let lane = 8 * (at % 8);
            *word = *word & !(0xff << lane) | u64::from(*byte) << lane;
        }
    }

    pub fn word(&self, at: u64) -> u64 {
        self.words.get(&at).copied().unwrap_or(0)
    }

    /// The words of a record, or nothing after a bus error.
    pub fn read(&self, at: u64, bytes: usize) -> Option<Vec<u64>> {
        let all = (at..at + bytes as u64).step_by(8);
        all.map(|a| (!self.bad.contains(&a)).then(|| self.word(a))).collect()
    }
}

fn bytes<const N: usize>(words: &[u64]) -> [u8; N] {
    let all: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
    all.as_slice().try_into().expect("as many bytes as the record has")
}

/// Writes to some addresses are answered with an error.
pub fn is_lost(at: u64) -> bool {
    at > MAPS + 0x1_0000 && (at ^ at >> 9) & 0x1f8 == 0x1f8
}

/// A write: address and bytes, and whether its response is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    pub at: u64,
    pub bytes: Vec<u8>,
    pub notify: bool,
}

/// A 4-tuple: addresses and ports, remote first.
pub type Key = (u128, u128, u16, u16);

/// What is asked of the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// The path as transmitter and PROTO have it: usable, source, destination, neighbor, first IP ID; the counter if it is new.
    Path {
        id: u16,
        usable: bool,
        v6: bool,
        src: u128,
        dst: u128,
        neighbor: u16,
        /// Its neighbor's VLAN id, when it is told.
        vlan: Option<u16>,
        start: u16,
        counter: Option<u16>,
        mtu: u16,
    },
    /// The transmitter's neighbor.
    Neighbor { id: u16, usable: bool, dst: u64, src: u64, vlan: u16, snap: bool },
    /// The counter of a path.
    Counter { id: u16 },
    /// The lookup; a delete goes by the connection.
    Lookup { insert: Option<Key>, is_v6: bool, conn: u16 },
    /// PROTO, with what it was fed; a path for an Initiate.
    Op { opcode: u8, conn: u16, generation: u8, path: u16, fed: Vec<u64> },
}

/// Both halves of an address.
fn wide(lo: u64, hi: u64) -> u128 {
    u128::from(hi) << 64 | u128::from(lo)
}

/// The others, simple: the test's environment and the reference have one each.
#[derive(Clone, Debug, Default)]
pub struct Others {
    /// IP ID counters; every operation on a path is as good as some packets.
    counters: BTreeMap<u16, u16>,
    /// Live connections: generation, record, and whether it was invalidated.
    conns: BTreeMap<u16, (u8, Vec<u64>)>,
    keys: BTreeMap<Key, u16>,
}

impl Others {
    /// A path's counter before the operation.
    pub fn table(&mut self, id: u16, new: Option<u16>) -> u16 {
        let counter = self.counters.entry(id).or_default();
        let old = *counter;
        *counter = new.unwrap_or(old).wrapping_add(id + 7);
        old
    }

    /// Some 4-tuples never find a place. Fails with whether the 4-tuple is there already.
    pub fn lookup(&mut self, insert: Option<Key>, conn: u16) -> Result<(), bool> {
        let Some(key) = insert else {
            self.keys.retain(|_, c| *c != conn);
            return Ok(());
        };
        let known = self.keys.contains_key(&key);
        if known || key.3.is_multiple_of(5) {
            return Err(known);
        }
        self.keys.insert(key, conn);
        Ok(())
    }

    /// Status and the record given back.
    pub fn proto(&mut self, op: Opcode, conn: u16, generation: u8, fed: &[u64]) -> (Status, Vec<u64>) {
        let live = self.conns.get(&conn).filter(|c| c.0 == generation).cloned();
        match (op, live) {
            (Opcode::Initiate, _) if self.conns.contains_key(&conn) => (Status::TcpEntries, vec![]),
            (Opcode::Initiate, _) if fed[0] >> 63 == 1 => (Status::Rejected, vec![]),
            (Opcode::Initiate, _) => {
                self.conns.insert(conn, (generation, fed[..RECORD_BEATS].to_vec()));
                (Status::Success, vec![])
            }
            (_, None) => (Status::Stale, vec![]),
            (Opcode::Terminate, Some(c)) => {
                self.conns.remove(&conn);
                (Status::Success, c.1)
            }
            (Opcode::Query, Some(c)) => (Status::Success, c.1),
            (Opcode::Update, Some(c)) => {
                self.conns.insert(conn, (generation, [&c.1[..4], &fed[4..]].concat()));
                (Status::Success, vec![])
            }
            (_, Some(_)) => (Status::Success, vec![]),
        }
    }

    /// Generation of a live connection.
    pub fn generation(&self, conn: u16) -> Option<u8> {
        self.conns.get(&conn).map(|c| c.0)
    }
}

/// Words of a record with its out-of-order ranges, start and end.
pub const RANGES: std::ops::Range<usize> = 21..25;
/// Beats of a record.
pub const RECORD_BEATS: usize = TcpRecord::BYTES / 8;

#[derive(Clone, Debug)]
struct Object<T> {
    generation: u8,
    parent: u16,
    invalid: bool,
    image: T,
}

/// The reference.
#[derive(Clone, Debug, Default)]
pub struct Reference {
    pub memory: Memory,
    pub writes: Vec<Write>,
    pub asks: Vec<Ask>,
    /// Questions before each completion.
    pub ask_marks: Vec<usize>,
    pub others: Others,
    pub stale: u64,
    pub bad_requests: u64,
    /// Some write of the image was answered with an error.
    lost: bool,
    /// Statuses of images and commands seen, for the test's own account.
    pub seen: BTreeMap<u8, u64>,
    taken: u16,
    neighbors: BTreeMap<u16, Object<NeighborImage>>,
    paths: BTreeMap<u16, Object<PathImage>>,
    /// What was last in a path's row: a connection finds its addresses there even if the path went first.
    rows: BTreeMap<u16, PathImage>,
}

impl Reference {
    /// A device reset: memory stays, and what was seen.
    pub fn reset(&mut self) {
        (self.taken, self.others) = (0, Others::default());
        self.neighbors.clear();
        self.paths.clear();
        self.rows.clear();
    }

    fn write(&mut self, at: u64, bytes: &[u8], notify: bool) {
        self.lost |= notify && is_lost(at);
        self.memory.put(at, bytes);
        self.writes.push(Write { at, bytes: bytes.to_vec(), notify });
    }

    /// A path's family, for the stimulus.
    pub fn is_v6(&self, path: u16) -> bool {
        self.paths.get(&path).is_some_and(|p| p.image.flags & PATH_IPV6 != 0)
    }

    /// Generation of a live object, for the stimulus.
    pub fn generation(&self, kind: ImageKind, id: u16) -> Option<u8> {
        match kind {
            ImageKind::Neighbor => self.neighbors.get(&id).map(|o| o.generation),
            ImageKind::Path => self.paths.get(&id).map(|o| o.generation),
            ImageKind::Tcp => self.others.generation(id),
        }
    }

    /// Takes the next command of the ring.
    pub fn step(&mut self) {
        let slot = u64::from(self.taken) % (1 << RING_LOG2);
        let entry = self.memory.read(RING + 32 * slot, Command::BYTES);
        // The cookie is what came over the bus, error or not.
        let cookie = self.memory.word(RING + 32 * slot) >> 48;
        let (status, failed) = match entry {
            Some(words) => self.command(&Command::from_bytes(&bytes(&words))),
            None => (Status::HardwareFailure, 1),
        };
        let done = CommandDone {
            cookie: cookie as u16,
            status: status.code(),
            failed,
            reserved: 0,
            phase: phase(self.taken, RING_LOG2).into(),
        };
        self.write(DONE_RING + 8 * slot, &done.to_bytes(), true);
        self.ask_marks.push(self.asks.len());
        self.taken = self.taken.wrapping_add(1);
    }

    fn command(&mut self, c: &Command) -> (Status, u8) {
        let whole = |status: Status| (status, u8::from(status != Status::Success));
        match Opcode::try_from(c.opcode) {
            Ok(Opcode::Nop) => whole(Status::Success),
            Ok(Opcode::Abort) => {
                let status = self.op(Opcode::Abort, c.conn, c.generation, 0, vec![]).0;
                self.count(status);
                whole(status)
            }
            Err(_) => {
                self.count(Status::BadRequest);
                whole(Status::BadRequest)
            }
            Ok(opcode) => {
                let (mut worst, mut failed) = (Status::Success, 0u8);
                for i in 0..u64::from(c.count) {
                    let status = self.image(opcode, c.iova + i * u64::from(IMAGE_STRIDE));
                    if status != Status::Success {
                        (worst, failed) = (status, failed.saturating_add(1));
                    }
                }
                (worst, failed)
            }
        }
    }

    fn count(&mut self, status: Status) {
        *self.seen.entry(status.code()).or_default() += 1;
        self.stale += u64::from(status == Status::Stale);
        self.bad_requests += u64::from(status == Status::BadRequest);
    }

    fn image(&mut self, opcode: Opcode, at: u64) -> Status {
        let Some(words) = self.memory.read(at, ImageHeader::BYTES) else { return Status::HardwareFailure };
        let header = ImageHeader::from_bytes(&bytes(&words));
        let body = at + u64::from(HEADER_BYTES);
        let kind = ImageKind::try_from(header.kind).ok().filter(|kind| {
            let body = match kind {
                ImageKind::Neighbor => NeighborImage::BYTES,
                ImageKind::Path => PathImage::BYTES,
                ImageKind::Tcp => TcpRecord::BYTES,
            };
            let length = usize::from(header.length) == HEADER_BYTES as usize + body;
            length && header.revision == IMAGE_REVISION && header.generation != 0
        });
        self.lost = false;
        let result = match kind {
            Some(ImageKind::Neighbor) => self.neighbor(opcode, &header, body),
            Some(ImageKind::Path) => self.path(opcode, &header, body),
            Some(ImageKind::Tcp) => self.tcp(opcode, &header, body),
            None => Err(Status::BadRequest),
        };
        let status =
            result.err().unwrap_or(if self.lost { Status::HardwareFailure } else { Status::Success });
        self.count(status);
        self.write(at + 1, &[status.code()], false);
        status
    }

    fn body(&self, opcode: Opcode, at: u64, bytes: usize) -> Result<Vec<u64>, Status> {
        let brings = matches!(opcode, Opcode::Initiate | Opcode::Update);
        let words = if brings { self.memory.read(at, bytes) } else { Some(vec![0; bytes / 8]) };
        words.ok_or(Status::HardwareFailure)
    }

    fn neighbor(&mut self, opcode: Opcode, h: &ImageHeader, at: u64) -> Result<(), Status> {
        let new = NeighborImage::from_bytes(&bytes(&self.body(opcode, at, NeighborImage::BYTES)?));
        let mut object = match self.neighbors.get(&h.id) {
            None if opcode == Opcode::Initiate && h.id < ROWS => {
                Object { generation: h.generation, parent: 0, invalid: false, image: new }
            }
            _ if opcode == Opcode::Initiate => return Err(Status::NeighborEntries),
            Some(o) if o.generation == h.generation => o.clone(),
            _ => return Err(Status::Stale),
        };
        if opcode == Opcode::Initiate && new.vlan > 4094 {
            return Err(Status::VlanMismatch);
        }
        if opcode == Opcode::Update {
            (object.image.dst_mac, object.image.flags) = (new.dst_mac, new.flags);
        }
        object.invalid |= opcode == Opcode::Invalidate;
        let usable = opcode != Opcode::Terminate && !object.invalid;
        let (dst, src) = (object.image.dst_mac, object.image.src_mac);
        let (vlan, snap) = (object.image.vlan, object.image.flags & NEIGHBOR_LLC_SNAP != 0);
        self.asks.push(Ask::Neighbor { id: h.id, usable, dst, src, vlan, snap });
        if matches!(opcode, Opcode::Query | Opcode::Terminate) {
            self.write(at, &object.image.to_bytes(), true);
        }
        if opcode == Opcode::Terminate {
            self.neighbors.remove(&h.id);
        } else {
            self.neighbors.insert(h.id, object);
        }
        Ok(())
    }

    fn path(&mut self, opcode: Opcode, h: &ImageHeader, at: u64) -> Result<(), Status> {
        let new = PathImage::from_bytes(&bytes(&self.body(opcode, at, PathImage::BYTES)?));
        let mut object = match self.paths.get(&h.id) {
            None if opcode == Opcode::Initiate && h.id < ROWS => {
                Object { generation: h.generation, parent: h.parent, invalid: false, image: new }
            }
            _ if opcode == Opcode::Initiate => return Err(Status::PathEntries),
            Some(o) if o.generation == h.generation => o.clone(),
            _ => return Err(Status::Stale),
        };
        let mut vlan = None;
        if matches!(opcode, Opcode::Initiate | Opcode::Update) {
            let parent = self.neighbors.get(&h.parent).filter(|n| n.generation == h.parent_generation);
            let Some(parent) = parent else { return Err(Status::NoParent) };
            let most = if parent.image.flags & NEIGHBOR_LLC_SNAP != 0 { 1492 } else { 9000 };
            let least = if object.image.flags & PATH_IPV6 != 0 { 1280 } else { 68 };
            match new.mtu {
                mtu if mtu > most => return Err(Status::PathMtu),
                mtu if mtu < least => return Err(Status::Rejected),
                _ => (object.image.mtu, object.parent) = (new.mtu, h.parent),
            }
            vlan = Some(parent.image.vlan);
        }
        object.invalid |= opcode == Opcode::Invalidate;
        let image = object.image;
        let is_new = opcode == Opcode::Initiate;
        self.asks.push(if opcode == Opcode::Query {
            Ask::Counter { id: h.id }
        } else {
            Ask::Path {
                id: h.id,
                usable: opcode != Opcode::Terminate && !object.invalid,
                v6: image.flags & PATH_IPV6 != 0,
                src: wide(image.src_ip_lo, image.src_ip_hi),
                dst: wide(image.dst_ip_lo, image.dst_ip_hi),
                neighbor: object.parent,
                vlan,
                start: image.ip_id_start,
                counter: is_new.then_some(image.ip_id_counter),
                mtu: image.mtu,
            }
        });
        self.rows.insert(h.id, object.image);
        object.image.ip_id_counter = self.others.table(h.id, is_new.then_some(image.ip_id_counter));
        if matches!(opcode, Opcode::Query | Opcode::Terminate) {
            let all = object.image.to_bytes();
            self.write(at, &all[..32], true);
            self.write(at + 32, &all[32..], true);
        }
        if opcode == Opcode::Terminate {
            self.paths.remove(&h.id);
        } else {
            self.paths.insert(h.id, object);
        }
        Ok(())
    }

    fn op(&mut self, op: Opcode, conn: u16, generation: u8, path: u16, fed: Vec<u64>) -> (Status, Vec<u64>) {
        let path = if op == Opcode::Initiate { path } else { 0 };
        self.asks.push(Ask::Op { opcode: op.code(), conn, generation, path, fed: fed.clone() });
        self.others.proto(op, conn, generation, &fed)
    }

    fn tcp(&mut self, opcode: Opcode, h: &ImageHeader, at: u64) -> Result<(), Status> {
        let path = self.paths.get(&h.parent).filter(|p| p.generation == h.parent_generation);
        if h.id >= CONNS {
            return Err(if opcode == Opcode::Initiate { Status::TcpEntries } else { Status::Stale });
        }
        if opcode == Opcode::Initiate && path.is_none() {
            return Err(Status::NoParent);
        }
        let mut fed = vec![];
        if matches!(opcode, Opcode::Initiate | Opcode::Update) {
            fed = self.body(opcode, at, TcpRecord::BYTES)?;
        }
        let is_v6 = |words: &[u64]| words.first().is_some_and(|w| (w >> 32) as u16 & CONST_IPV6 != 0);
        let family = path.map(|p| p.image.flags & PATH_IPV6 != 0);
        if opcode == Opcode::Initiate && family != Some(is_v6(&fed)) {
            return Err(Status::Rejected);
        }
        // Only a record with out-of-order ranges has pages.
        let has_ranges = fed.get(RANGES).is_some_and(|r| r.iter().any(|w| *w as u32 != (w >> 32) as u32));
        if opcode == Opcode::Initiate && has_ranges {
            let map = MAPS + u64::from(h.id) * u64::from(PAGE_MAP_STRIDE);
            fed.extend(self.body(opcode, map, PAGE_SLOTS as usize * 8)?);
        }
        let (status, given) = self.op(opcode, h.id, h.generation, h.parent, fed.clone());
        for (i, chunk) in given.chunks(4).enumerate() {
            let all: Vec<u8> = chunk.iter().flat_map(|w| w.to_le_bytes()).collect();
            self.write(at + 32 * i as u64, &all, true);
        }
        if status != Status::Success {
            return Err(status);
        }
        let initiates = opcode == Opcode::Initiate;
        if initiates || opcode == Opcode::Terminate {
            let image = self.rows.get(&h.parent).copied().unwrap_or_default();
            let insert = fed.first().filter(|_| initiates).map(|ports| {
                let ip = |lo, hi| if is_v6(&fed) { wide(lo, hi) } else { u128::from(lo as u32) };
                let ips = (ip(image.dst_ip_lo, image.dst_ip_hi), ip(image.src_ip_lo, image.src_ip_hi));
                (ips.0, ips.1, (ports >> 16) as u16, *ports as u16)
            });
            let is_v6 = if initiates { is_v6(&fed) } else { is_v6(&given) };
            self.asks.push(Ask::Lookup { insert, is_v6, conn: h.id });
            if let Err(known) = self.others.lookup(insert, h.id) {
                self.op(Opcode::Terminate, h.id, h.generation, h.parent, vec![]);
                return Err(if known { Status::Rejected } else { Status::TcpEntries });
            }
        }
        Ok(())
    }
}
