//! The command block among simple neighbors that are played by the test, native against Verilated and against a reference
//! in plain Rust; and its parts one by one.

mod env;
mod reference;

use chimney_abi::cmd::{ImageKind, Opcode, Status};
use chimney_abi::desc::Command;
use chimney_abi::state::{
    ImageHeader, NeighborImage, PathImage, TcpRecord, CONST_IPV6, HEADER_BYTES, IMAGE_REVISION, IMAGE_STRIDE,
};
use chimney_hdl_kernel::diff::{long, Bench, Diff, Rnd};
use env::{Dut, Env};
use reference::{is_lost, Ask, Reference, Write, CONNS, DONE_RING, MAPS, RANGES, RING, RING_LOG2, ROWS};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

/// First address of the images.
const IMAGES: u64 = 0x20_0000;

/// Environment and reference, which get the same commands.
struct World {
    e: Env,
    m: Reference,
    /// Where the next images go.
    at: u64,
    /// Commands so far; each fiftieth is a device reset.
    commands: u64,
    /// The path, and its generation, that a connection was given.
    parents: BTreeMap<u16, (u16, u8)>,
    /// Addresses of all images.
    starts: BTreeSet<u64>,
    /// Commands that were compared.
    checked: usize,
}

impl World {
    fn new() -> World {
        let mut w = World {
            e: Env::new(),
            m: Reference::default(),
            at: IMAGES,
            commands: 0,
            parents: BTreeMap::new(),
            starts: BTreeSet::new(),
            checked: 0,
        };
        w.put(MAPS, &[0; 256 * CONNS as usize]);
        w
    }

    fn put(&mut self, at: u64, bytes: &[u8]) {
        self.e.memory.put(at, bytes);
        self.m.memory.put(at, bytes);
    }

    /// This word cannot be read.
    fn spoil(&mut self, at: u64) {
        self.e.memory.bad.insert(at);
        self.m.memory.bad.insert(at);
    }

    /// Puts images into memory: header and body.
    fn images(&mut self, images: &[(ImageHeader, Vec<u8>)]) -> u64 {
        let at = self.at;
        for (i, (header, body)) in images.iter().enumerate() {
            let to = at + i as u64 * u64::from(IMAGE_STRIDE);
            self.starts.insert(to);
            self.put(to, &header.to_bytes());
            self.put(to + u64::from(HEADER_BYTES), body);
        }
        self.at += (images.len() as u64 * u64::from(IMAGE_STRIDE) + 64) & !63;
        at
    }

    /// Puts a command into the ring; the reference carries it out at once.
    fn command(&mut self, c: &Command, bad: bool) {
        let at = RING + 32 * (u64::from(self.e.producer) % (1 << RING_LOG2));
        self.e.memory.bad.remove(&at);
        self.m.memory.bad.remove(&at);
        self.put(at, &c.to_bytes());
        if bad {
            self.spoil(at);
        }
        self.e.producer = self.e.producer.wrapping_add(1);
        self.commands += 1;
        self.e.idle = 0;
        self.m.step();
    }

    fn run(&mut self, opcode: Opcode, images: &[(ImageHeader, Vec<u8>)]) -> u64 {
        let iova = self.images(images);
        let count = images.len() as u16;
        let command = Command { opcode: opcode.code(), count, iova, cookie: count, ..Command::default() };
        self.command(&command, false);
        iova
    }

    /// All is done, and nothing is missing: command by command the same questions and writes. Within a command connections may
    /// overtake each other; each for itself keeps its order, and its status is written last.
    fn check_end(&mut self) {
        let (e, m) = (&self.e, &self.m);
        assert_eq!(e.ask_marks.len(), m.ask_marks.len());
        let asked = |asks: &[Ask], marks: &[usize]| -> Vec<Vec<Ask>> {
            let starts = [0].iter().chain(marks);
            let mut commands: Vec<_> = starts.zip(marks).map(|(a, b)| asks[*a..*b].to_vec()).collect();
            commands.iter_mut().for_each(|c| c.sort_by_key(whom));
            commands
        };
        let (got, want) = (asked(&e.asks, &e.ask_marks), asked(&m.asks, &m.ask_marks));
        for (i, (got, want)) in got.iter().zip(&want).enumerate().skip(self.checked) {
            assert_eq!(got, want, "questions of command {i}");
        }
        let written = |writes: &[Write]| -> Vec<Vec<Write>> {
            let image = |w: &Write| self.starts.range(..=w.at).next_back().copied();
            let commands = writes.split_inclusive(|w| (DONE_RING..MAPS).contains(&w.at));
            let sorted = commands.map(|c| {
                let mut c = c.to_vec();
                c.sort_by_key(|w| (!(IMAGES..).contains(&w.at), image(w)));
                c
            });
            sorted.collect()
        };
        for (i, (got, want)) in
            written(&e.writes).iter().zip(&written(&m.writes)).enumerate().skip(self.checked)
        {
            assert_eq!(got, want, "writes of command {i}");
        }
        self.checked = e.ask_marks.len();
        assert_eq!((e.asks.len(), e.writes.len()), (m.asks.len(), m.writes.len()));
        assert_eq!((e.stale, e.bad_requests), (m.stale, m.bad_requests));
        assert_eq!((e.irqs, e.completions), (self.commands, self.commands));
        assert_eq!(e.memory.words, m.memory.words);
    }
}

/// Whom a question goes to: PROTO or the lookup about one connection, or the tables.
fn whom(ask: &Ask) -> (u8, u16) {
    match ask {
        Ask::Op { conn, .. } => (0, *conn),
        Ask::Lookup { conn, .. } => (1, *conn),
        _ => (2, 0),
    }
}

fn header(kind: ImageKind, id: u16, generation: u8) -> ImageHeader {
    let body = match kind {
        ImageKind::Neighbor => NeighborImage::BYTES,
        ImageKind::Path => PathImage::BYTES,
        ImageKind::Tcp => TcpRecord::BYTES,
    };
    ImageHeader {
        kind: kind.code(),
        id,
        generation,
        length: HEADER_BYTES as u16 + body as u16,
        revision: IMAGE_REVISION,
        ..ImageHeader::default()
    }
}

fn random_bytes(r: &mut Rnd, len: usize) -> Vec<u8> {
    (0..len).map(|_| r.next_u64() as u8).collect()
}

/// The random stimulus: mostly sensible commands on few ids.
impl World {
    fn kind(r: &mut Rnd) -> ImageKind {
        [ImageKind::Neighbor, ImageKind::Path, ImageKind::Tcp, ImageKind::Tcp][r.below(4) as usize]
    }

    /// A generation that is mostly the live one.
    fn generation(&self, r: &mut Rnd, kind: ImageKind, id: u16) -> u8 {
        let live = self.m.generation(kind, id).filter(|_| r.chance(9, 10));
        live.unwrap_or(1 + r.below(255) as u8)
    }

    /// An id that is mostly live, or mostly not.
    fn id(&self, r: &mut Rnd, kind: ImageKind, live: bool, room: u64) -> u16 {
        let fits: Vec<u16> =
            (0..room as u16).filter(|id| self.m.generation(kind, *id).is_some() == live).collect();
        match r.below(15) {
            0 => r.next_u64() as u16,
            1 | 2 => r.below(room) as u16,
            _ => fits.get(r.below(room) as usize % fits.len().max(1)).copied().unwrap_or(0),
        }
    }

    fn random_image(&mut self, r: &mut Rnd, opcode: Opcode) -> (ImageHeader, Vec<u8>) {
        let kind = World::kind(r);
        let room = u64::from(if kind == ImageKind::Tcp { CONNS } else { ROWS });
        let id = self.id(r, kind, opcode != Opcode::Initiate, room);
        let mut h = header(kind, id, self.generation(r, kind, id));
        let above = if kind == ImageKind::Tcp { ImageKind::Path } else { ImageKind::Neighbor };
        h.parent = self.id(r, above, true, u64::from(ROWS)) % ROWS;
        h.parent_generation = self.generation(r, above, h.parent);
        if kind == ImageKind::Tcp && opcode == Opcode::Initiate {
            self.parents.insert(id, (h.parent, h.parent_generation));
        } else if let (ImageKind::Tcp, Some(p)) = (kind, self.parents.get(&id)) {
            (h.parent, h.parent_generation) = *p;
        }
        h.host_handle = r.next_u64() as u32;
        h.status = r.next_u64() as u8;
        match r.below(60) {
            0 => h.kind = r.next_u64() as u8,
            1 => h.length = h.length.wrapping_add(8),
            2 => h.revision ^= 1,
            3 => h.generation = 0,
            _ => {}
        }
        let body = match kind {
            ImageKind::Neighbor => {
                let mut b = random_bytes(r, NeighborImage::BYTES);
                let vlan = [0, 5, 4094, 4095][r.below(4) as usize];
                b[6..8].copy_from_slice(&u16::to_le_bytes(if r.chance(1, 10) {
                    r.next_u64() as u16
                } else {
                    vlan
                }));
                b
            }
            ImageKind::Path => {
                let mtu = [67, 68, 1279, 1280, 1492, 1493, 9000, 9001][r.below(8) as usize];
                let mut b = random_bytes(r, PathImage::BYTES);
                b[32..34].copy_from_slice(&u16::to_le_bytes(if r.chance(1, 3) { mtu } else { 1400 }));
                b
            }
            ImageKind::Tcp => {
                let mut b = random_bytes(r, TcpRecord::BYTES);
                // Mostly of its path's family.
                if r.chance(7, 8) {
                    let v6 = self.m.is_v6(h.parent);
                    b[4] = b[4] & !(CONST_IPV6 as u8) | if v6 { CONST_IPV6 as u8 } else { 0 };
                }
                if r.chance(1, 2) {
                    b[8 * RANGES.start..8 * RANGES.end].fill(7);
                }
                b
            }
        };
        (h, body)
    }

    fn random_command(&mut self, r: &mut Rnd) {
        use Opcode::{Initiate, Invalidate, Query, Terminate, Update};
        let kinds = [(ImageKind::Neighbor, ROWS), (ImageKind::Path, ROWS), (ImageKind::Tcp, CONNS)];
        let is_live = |kind, id: &u16| self.m.generation(kind, *id).is_some();
        let live: usize = kinds.iter().map(|(k, n)| (0..*n).filter(|id| is_live(*k, id)).count()).sum();
        let opcode = match r.below(20) {
            _ if live < 8 && r.chance(2, 3) => Initiate,
            0..=7 => Initiate,
            8..=10 => Terminate,
            11..=12 => Query,
            13..=15 => Update,
            16 => Invalidate,
            17 => Opcode::Abort,
            18 => Opcode::Nop,
            _ => [Initiate, Terminate][r.below(2) as usize],
        };
        let count = r.below(4) as usize;
        let mut images: Vec<_> = (0..count).map(|_| self.random_image(r, opcode)).collect();
        // A connection is named once in a command that begins or ends it.
        let mut named = BTreeSet::new();
        images.retain(|(h, _)| h.kind != ImageKind::Tcp.code() || named.insert(h.id));
        let count = images.len();
        let at = self.images(&images);
        if r.chance(1, 8) && count > 0 {
            let image = at + r.below(count as u64) * u64::from(IMAGE_STRIDE);
            let words = if r.chance(1, 3) { 2 } else { u64::from(IMAGE_STRIDE) / 8 };
            self.spoil(image + 8 * r.below(words));
        }
        let conn = r.below(u64::from(CONNS) + 1) as u16;
        let command = Command {
            opcode: if r.chance(1, 20) { 7 + r.below(249) as u8 } else { opcode.code() },
            generation: self.generation(r, ImageKind::Tcp, conn),
            conn,
            count: count as u16,
            cookie: r.next_u64() as u16,
            iova: at,
            ..Command::default()
        };
        let map = MAPS + 256 * r.below(u64::from(CONNS));
        let text = random_bytes(r, 256);
        if self.e.completions == self.commands {
            self.put(map, &text);
        }
        self.command(&command, r.chance(1, 40));
    }

    fn step(&mut self, u: &mut Dut, r: &mut Rnd) {
        self.e.poke(u, r);
        let room = (1 << RING_LOG2) - (self.commands - self.e.completions);
        if self.e.idle > 30 && self.commands % 50 == 49 {
            // A device reset, when all is done: objects are gone, the ring starts anew.
            self.check_end();
            self.m.reset();
            self.e.others = Default::default();
            (self.e.producer, self.e.in_reset, self.e.idle) = (0, 2, 0);
            self.commands += 1;
            self.e.irqs += 1;
            self.e.completions += 1;
        } else if room > 0 && self.e.in_reset == 0 && self.commands % 50 != 49 && r.chance(1, 30) {
            self.random_command(r);
        }
    }
}

/// Commands of all kinds, good, malformed, stale and unreadable, have exactly the effects that the programmer's guide names.
///
/// Verifies; law L1.
#[test]
fn commands_do_what_the_reference_does() {
    let steps = if long() { 300_000 } else { 20_000 };
    let w = RefCell::new(World::new());
    let clock = |u: &mut Dut, c: bool| u.clock.next = c.into();
    Diff::new("mailbox", steps).run_seen(
        Dut::default(),
        |u, r| w.borrow_mut().step(u, r),
        |u| w.borrow_mut().e.see(u),
        clock,
    );
    let w = w.borrow();
    eprintln!("{} commands, statuses {:?}", w.commands, w.m.seen);
    assert!(w.m.seen.len() >= 8, "too few kinds of answers");
    assert!(w.m.seen.get(&Status::Success.code()).is_some_and(|n| *n > 30));
}

/// A world with the block, natively.
struct Directed {
    w: World,
    b: Bench<Dut, fn(&mut Dut, bool)>,
    r: Rnd,
}

impl Directed {
    fn new() -> Directed {
        let clock: fn(&mut Dut, bool) = |u, c| u.clock.next = c.into();
        Directed { w: World::new(), b: Bench::new(Dut::default(), clock), r: Rnd::new(5) }
    }

    /// Until everything is done.
    fn finish(&mut self) {
        self.w.e.idle = 0;
        for _ in 0..20_000 {
            let (e, r) = (&mut self.w.e, &mut self.r);
            self.b.settle(|u| e.poke(u, r));
            e.see(&self.b.u);
            self.b.edge();
            if self.w.e.idle > 10 && self.w.e.irqs == self.w.commands {
                return self.w.check_end();
            }
        }
        panic!("still busy");
    }

    fn status(&self, at: u64) -> Status {
        Status::try_from((self.w.e.memory.word(at) >> 8) as u8).expect("a status")
    }
}

fn neighbor(id: u16, vlan: u16) -> (ImageHeader, Vec<u8>) {
    let body = NeighborImage { dst_mac: 0x0605_0403_0201, vlan, ..NeighborImage::default() };
    (header(ImageKind::Neighbor, id, 1), body.to_bytes().to_vec())
}

fn path(id: u16, mtu: u16) -> (ImageHeader, Vec<u8>) {
    let body = PathImage { src_ip_lo: 1, dst_ip_lo: 2, mtu, ..PathImage::default() };
    let header = ImageHeader { parent: 0, parent_generation: 1, ..header(ImageKind::Path, id, 1) };
    (header, body.to_bytes().to_vec())
}

fn connection(id: u16, local_port: u16) -> (ImageHeader, Vec<u8>) {
    let body = TcpRecord { local_port, remote_port: 9, ..TcpRecord::default() };
    let header = ImageHeader { parent: 0, parent_generation: 1, ..header(ImageKind::Tcp, id, 1) };
    (header, body.to_bytes().to_vec())
}

#[test]
fn an_id_that_is_none_and_a_path_with_a_strange_mtu_are_refused() {
    let mut d = Directed::new();
    let images = [neighbor(0, 0), neighbor(1, 4095), path(0, 9001), path(1, 67), path(2, 68), path(3, 1500)];
    let at = d.w.run(Opcode::Initiate, &images);
    let update = d.w.run(Opcode::Update, &[path(3, 9001), path(2, 1500)]);
    d.finish();
    let stride = u64::from(IMAGE_STRIDE);
    let statuses: Vec<_> = (0..6).map(|i| d.status(at + i * stride)).collect();
    use Status::{PathMtu, Rejected, Success, VlanMismatch};
    assert_eq!(statuses, [Success, VlanMismatch, PathMtu, Rejected, Success, Success]);
    assert_eq!((d.status(update), d.status(update + stride)), (PathMtu, Success));
}

/// Before, PROTO was fed beat by beat: it waited for host memory, and had the half of a record when a beat was bad.
#[test]
fn a_record_that_cannot_be_read_is_not_seen_by_the_engine() {
    let mut d = Directed::new();
    d.w.run(Opcode::Initiate, &[neighbor(0, 0), path(0, 1500), connection(2, 81)]);
    d.finish();
    let asked = d.w.e.asks.len();
    for (opcode, id) in [(Opcode::Update, 2), (Opcode::Initiate, 3)] {
        let at = d.w.at;
        d.w.spoil(at + 200);
        d.w.run(opcode, &[connection(id, 82)]);
        d.finish();
        assert_eq!(d.status(at), Status::HardwareFailure);
    }
    // A page map is read for a record with out-of-order ranges.
    d.w.spoil(MAPS + 4 * 256 + 248);
    let (header, mut body) = connection(4, 83);
    body[8 * RANGES.start] = 1;
    let at = d.w.run(Opcode::Initiate, &[(header, body)]);
    d.finish();
    assert_eq!((d.status(at), d.w.e.asks.len()), (Status::HardwareFailure, asked));
}

/// Before, a query after it offered PROTO the beats of the refused record.
#[test]
fn a_record_refused_for_its_family_is_not_fed_with_the_next_command() {
    let mut d = Directed::new();
    d.w.run(Opcode::Initiate, &[neighbor(0, 0), path(0, 1500), connection(2, 81)]);
    let (header, mut body) = connection(3, 82);
    body[4] |= CONST_IPV6 as u8;
    let refused = d.w.run(Opcode::Initiate, &[(header, body)]);
    let asked = d.w.run(Opcode::Query, &[connection(2, 81)]);
    d.finish();
    assert_eq!((d.status(refused), d.status(asked)), (Status::Rejected, Status::Success));
}

/// Before, the status said Success: the driver took an image for the connection's state that had never arrived.
#[test]
fn an_image_that_cannot_be_written_is_a_failure() {
    let mut d = Directed::new();
    d.w.run(Opcode::Initiate, &[neighbor(0, 0), path(0, 1500), connection(2, 81)]);
    let body = |at: u64| (0..9).map(move |i| at + u64::from(HEADER_BYTES) + 32 * i);
    while !body(d.w.at).any(is_lost) {
        d.w.at += 64;
    }
    let at = d.w.run(Opcode::Terminate, &[connection(2, 81)]);
    d.finish();
    assert_eq!(d.status(at), Status::HardwareFailure);
}

#[test]
fn a_connection_without_a_place_in_the_lookup_is_taken_back() {
    let mut d = Directed::new();
    d.w.run(Opcode::Initiate, &[neighbor(0, 0), path(0, 1500)]);
    let first = d.w.run(Opcode::Initiate, &[connection(2, 80)]);
    let second = d.w.run(Opcode::Initiate, &[connection(2, 81)]);
    d.finish();
    assert_eq!((d.status(first), d.status(second)), (Status::TcpEntries, Status::Success));
}

/// Before, the answer was `TcpEntries`, as if there was no room: the programmer's guide (section 5) says `Rejected`.
#[test]
fn a_second_connection_with_the_same_4_tuple_is_rejected() {
    let mut d = Directed::new();
    d.w.run(Opcode::Initiate, &[neighbor(0, 0), path(0, 1500)]);
    let first = d.w.run(Opcode::Initiate, &[connection(2, 81)]);
    let second = d.w.run(Opcode::Initiate, &[connection(3, 81)]);
    d.finish();
    assert_eq!((d.status(first), d.status(second)), (Status::Success, Status::Rejected));
    d.w.run(Opcode::Terminate, &[connection(2, 81)]);
    let third = d.w.run(Opcode::Initiate, &[connection(3, 81)]);
    d.finish();
    assert_eq!(d.status(third), Status::Success);
}

#[test]
fn a_command_that_cannot_be_read_or_understood_counts_as_one_failure() {
    let mut d = Directed::new();
    d.w.command(&Command { cookie: 7, ..Command::default() }, true);
    d.w.command(&Command { opcode: 200, count: 5, cookie: 8, ..Command::default() }, false);
    d.w.command(
        &Command { opcode: Opcode::Abort.code(), conn: 3, generation: 9, ..Command::default() },
        false,
    );
    d.finish();
    let done = |i: usize| d.w.e.writes[i].bytes[2..4].to_vec();
    let failed = |s: Status| vec![s.code(), 1];
    assert_eq!(done(0), failed(Status::HardwareFailure));
    assert_eq!(done(1), failed(Status::BadRequest));
    assert_eq!(done(2), failed(Status::Stale));
}

#[test]
fn nothing_is_taken_while_the_device_is_disabled() {
    let mut d = Directed::new();
    d.w.e.enable = false;
    d.w.command(&Command::default(), false);
    for _ in 0..200 {
        let (e, r) = (&mut d.w.e, &mut d.r);
        d.b.settle(|u| e.poke(u, r));
        e.see(&d.b.u);
        d.b.edge();
    }
    assert!(d.w.e.idle > 100 && d.w.e.writes.is_empty() && !d.b.u.consumer.val().any());
    d.w.e.enable = true;
    d.finish();
}
