//! The lookup with its hash unit against a map, native against Verilated; aimed and colliding tuples; what a find costs.

mod lookup_model;

use chimney_hdl::ip::rx_parse::Words;
use chimney_hdl::prelude::*;
use chimney_hdl::tcp::lookup::hash::FlowHash;
use chimney_hdl::tcp::lookup::{FlowKey, Lookup, LookupOp};
use chimney_hdl_kernel::diff::{long, Bench, Clocked, Diff, Pins, Rnd, Verilated};
use chimney_hdl_kernel::pins;
use lookup_model::{Secret, Table, Tuple};
use std::collections::HashMap;

/// Lookup and hash unit, wired as in the top; the parser's words come from the test.
#[derive(LogicBlock, Default)]
struct Wired<const AW: usize, const ROW: usize> {
    clock: Signal<In, Clock>,
    reset: Signal<In, Bit>,
    enable: Signal<In, Bit>,
    key: Signal<In, Bits<64>>,
    beat_valid: Signal<In, Bit>,
    words: Signal<In, Words>,
    filled: Signal<Out, Bit>,
    find_valid: Signal<In, Bit>,
    find_key: Signal<In, FlowKey>,
    find_hash: Signal<In, Bits<32>>,
    find_ready: Signal<Out, Bit>,
    find_done: Signal<Out, Bit>,
    find_hit: Signal<Out, Bit>,
    find_conn: Signal<Out, Bits<16>>,
    op_valid: Signal<In, Bit>,
    op: Signal<In, LookupOp>,
    op_done: Signal<Out, Bit>,
    op_ok: Signal<Out, Bit>,
    op_known: Signal<Out, Bit>,
    hash: FlowHash,
    lookup: Lookup<AW, ROW>,
}

#[kernel]
impl<const AW: usize, const ROW: usize> Logic for Wired<AW, ROW> {
    fn update(&mut self) {
        clock!(self, clock, hash, lookup);
        reset!(self, reset, hash, lookup);
        self.hash.enable.next = self.enable.val();
        self.hash.key.next = self.key.val();
        self.hash.beat_valid.next = self.beat_valid.val();
        self.hash.words.next = self.words.val();
        self.hash.commit.next = false;
        self.filled.next = self.hash.filled.val();
        self.hash.mix_valid.next = self.lookup.mix_valid.val();
        self.hash.mix_x.next = self.lookup.mix_x.val();
        self.lookup.mix_ready.next = self.hash.mix_ready.val();
        self.lookup.mix_y.next = self.hash.mix_y.val();
        self.lookup.mix_filled.next = self.hash.filled.val();
        self.lookup.find_valid.next = self.find_valid.val();
        self.lookup.find_key.next = self.find_key.val();
        self.lookup.find_hash.next = self.find_hash.val();
        self.find_ready.next = self.lookup.find_ready.val();
        self.find_done.next = self.lookup.find_done.val();
        self.find_hit.next = self.lookup.find_hit.val();
        self.find_conn.next = self.lookup.find_conn.val();
        self.lookup.op_valid.next = self.op_valid.val();
        self.lookup.op.next = self.op.val();
        self.op_done.next = self.lookup.op_done.val();
        self.op_ok.next = self.lookup.op_ok.val();
        self.op_known.next = self.lookup.op_known.val();
    }
}

const SECRET: u64 = 0x0123_4567_89ab_cdef;

/// A find in work.
#[derive(Clone, Copy, Debug)]
struct Finding {
    tuple: usize,
    /// What the table says when it is asked.
    known: Option<u64>,
    /// The tuple came or went since.
    changed: bool,
    clocks: u64,
}

/// What is done with the block: finds and changes at the same time, among `tuples`.
struct Test {
    tuples: Vec<(Tuple, u32)>,
    conns: u64,
    /// Tuple -> connection, as far as answered.
    map: HashMap<usize, u64>,
    finding: Option<Finding>,
    asked: bool,
    op: Option<(bool, usize, u64)>,
    /// Of 16, finds and operations that begin when nothing is in work; of 16, inserts among these; busy parser.
    pace: (u64, u64, u64, bool),
    /// Hits, misses, inserted, deleted, known, full, nothing to delete.
    seen: [usize; 7],
    resets: bool,
    slowest: (u64, u64),
    since: u64,
    /// The table is being filled, not emptied; up to this many connections.
    filling: bool,
    most: usize,
    fullest: usize,
}

impl Test {
    fn new(tuples: Vec<Tuple>, conns: u64) -> Test {
        let secret = Secret::new(SECRET);
        Test {
            tuples: tuples.into_iter().map(|t| (t, secret.hash(&t))).collect(),
            conns,
            map: HashMap::new(),
            finding: None,
            asked: false,
            op: None,
            pace: (12, 12, 9, true),
            seen: [0; 7],
            resets: false,
            slowest: (0, 0),
            since: 0,
            filling: true,
            most: usize::MAX,
            fullest: 0,
        }
    }

    fn find_answer<const A: usize, const R: usize>(&mut self, u: &Wired<A, R>) {
        if !u.find_done.val() {
            return;
        }
        let f = self.finding.take().expect("an answer nobody asked for");
        assert!(self.asked);
        self.asked = false;
        let hit = u.find_hit.val().then(|| u.find_conn.val().to_u64());
        let now = self.map.get(&f.tuple).copied();
        // The change in work may count already or not yet.
        let coming = self.op.filter(|(insert, t, _)| *insert && *t == f.tuple).map(|(.., c)| c);
        let going = self.op.is_some_and(|(insert, _, c)| !insert && now == Some(c));
        let fine = hit == f.known || f.changed && hit == now || hit.is_some() && hit == coming;
        assert!(fine || hit.is_none() && going, "{f:?}: {hit:?}, now {now:?}, in work {:?}", self.op);
        self.seen[usize::from(hit.is_none())] += 1;
        self.slowest.0 = self.slowest.0.max(f.clocks);
    }

    fn op_answer<const A: usize, const R: usize>(&mut self, u: &Wired<A, R>) {
        if !u.op_done.val() {
            return;
        }
        self.slowest.1 = self.slowest.1.max(self.since);
        let (insert, tuple, conn) = self.op.take().expect("an answer nobody asked for");
        let (ok, known) = (u.op_ok.val(), u.op_known.val());
        if let Some(f) = self.finding.as_mut() {
            f.changed |= f.tuple == tuple || f.known == Some(conn);
        }
        if insert {
            assert!(!(ok && known));
            let slots = 4 * (1usize << A) + 4;
            assert!(!ok || !self.map.contains_key(&tuple), "there already");
            assert!(!known || self.map.contains_key(&tuple), "not there");
            // Nothing is looked at when the stash is full.
            assert!(ok || known || self.map.len() * 4 >= slots * 3, "refused at {}", self.map.len());
            if ok {
                self.map.insert(tuple, conn);
            }
            self.seen[if ok {
                2
            } else if known {
                4
            } else {
                5
            }] += 1;
        } else {
            let had = self.map.iter().find(|(_, c)| **c == conn).map(|(t, _)| *t);
            assert_eq!(ok, had.is_some());
            had.and_then(|t| self.map.remove(&t));
            self.seen[if ok { 3 } else { 6 }] += 1;
        }
    }

    fn begin(&mut self, r: &mut Rnd) {
        self.fullest = self.fullest.max(self.map.len());
        // It stays full for some time.
        if self.filling && self.map.len() >= self.most && r.chance(1, 500) {
            self.filling = false;
        } else if self.map.len() < 10 {
            self.filling = true;
        }
        self.pace.2 = if self.filling { 14 } else { 4 };
        let any = |r: &mut Rnd| r.below(self.tuples.len() as u64) as usize;
        if self.finding.is_none() && r.below(16) < self.pace.0 {
            let tuple = any(r);
            let known = self.map.get(&tuple).copied();
            self.finding = Some(Finding { tuple, known, changed: false, clocks: 0 });
        }
        if self.op.is_none() && r.below(16) < self.pace.1 {
            let insert = r.below(16) < self.pace.2;
            let free = |c: u64| self.map.values().all(|v| *v != c);
            let start = r.below(self.conns);
            let wanted = (0..self.conns).map(|i| (start + i) % self.conns).find(|c| free(*c) == insert);
            let conn = wanted.filter(|_| insert || r.chance(15, 16)).unwrap_or(start);
            if !insert || free(conn) {
                let tuple = any(r);
                let of = self.map.iter().find(|(_, c)| **c == conn).map(|(t, _)| *t);
                self.op = Some((insert, if insert { tuple } else { of.unwrap_or(tuple) }, conn));
                self.since = 0;
            }
        }
    }

    fn step<const A: usize, const R: usize>(&mut self, u: &mut Wired<A, R>, r: &mut Rnd) {
        self.find_answer(u);
        self.op_answer(u);
        u.reset.next = self.resets && r.chance(1, 20_000);
        u.enable.next = true;
        u.key.next = SECRET.into();
        u.beat_valid.next = self.pace.3 && r.chance(1, 2);
        u.words.next = r.any();
        u.words.next.place.n = r.bits_below(12);
        self.begin(r);
        u.find_valid.next = self.finding.is_some() && !self.asked;
        let asked = self.finding.map_or(0, |f| f.tuple);
        u.find_key.next = self.tuples[asked].0.key();
        u.find_hash.next = u64::from(self.tuples[asked].1).into();
        let (insert, tuple, conn) = self.op.unwrap_or_default();
        u.op_valid.next = self.op.is_some();
        u.op.next = LookupOp { insert, key: self.tuples[tuple].0.raw_key(), conn: conn.into() };
        self.since += 1;
        if let Some(f) = self.finding.as_mut().filter(|_| self.asked) {
            f.clocks += 1;
        }
        if u.reset.next {
            // The table is empty again, what was in work is forgotten.
            (self.map, self.op, self.finding, self.asked) = (HashMap::new(), None, None, false);
        }
    }

    /// After the inputs of a step have settled.
    fn see<const A: usize, const R: usize>(&mut self, u: &Wired<A, R>) {
        if u.find_valid.val() && u.find_ready.val() && !u.reset.val() {
            self.asked = true;
            let f = self.finding.as_mut().expect("asked");
            // Asked when it was taken, not when it was thought of.
            f.known = self.map.get(&f.tuple).copied();
            f.changed = false;
            f.clocks = 0;
        }
    }

    fn cycle<const A: usize, const R: usize>(&mut self, b: &mut impl Clocked<Wired<A, R>>, r: &mut Rnd) {
        b.settle(|u| self.step(u, r));
        self.see(b.u());
        b.edge();
    }

    fn ops(&self) -> usize {
        self.seen.iter().sum()
    }
}

fn ports<const A: usize, const R: usize>() -> Pins<Wired<A, R>> {
    pins!(Wired<A, R>; reset, enable, key, beat_valid, words, find_valid, find_key, find_hash, op_valid, op;
        filled, find_ready, find_done, find_hit, find_conn, op_done, op_ok, op_known)
}

fn clock<const A: usize, const R: usize>(u: &mut Wired<A, R>, c: bool) {
    u.clock.next = c.into();
}

/// Tuples of both families, some of which have the same hash as far as tables of 8 buckets keep it (25 bits).
fn colliding(r: &mut Rnd) -> Vec<Tuple> {
    let secret = Secret::new(SECRET);
    let mut by_hash: HashMap<(bool, u32), Tuple> = HashMap::new();
    let mut tuples = vec![];
    while tuples.len() < 12 {
        let t = Tuple::any(r);
        if let Some(other) = by_hash.insert((t.is_v6, secret.hash(&t) & 0x1ff_ffff), t) {
            tuples.extend([other, t]);
        }
    }
    while tuples.len() < 44 {
        tuples.push(Tuple::any(r));
    }
    tuples
}

/// Whatever was inserted and not deleted is found, also while it moves, and nothing else; a refusal has its reason; a reset
/// empties the table.
#[test]
fn finds_what_was_inserted_and_nothing_else() {
    let steps = if long() { 400_000 } else { 40_000 };
    let mut r = Rnd::new(Rnd::seed_for("lookup_tuples"));
    let t = std::cell::RefCell::new(Test::new(colliding(&mut r), 64));
    (t.borrow_mut().resets, t.borrow_mut().most) = (true, 30);
    Diff::new("lookup", steps).run_seen(
        Wired::<3, 7>::default(),
        |u, r| t.borrow_mut().step(u, r),
        |u| t.borrow_mut().see(u),
        clock,
    );
    let seen = t.borrow().seen;
    eprintln!("hits, misses, inserted, deleted, known, full, nothing to delete: {seen:?}");
    assert!(seen[..5].iter().all(|n| *n > 10), "{seen:?}");
}

/// For tables of 32 buckets that are more than 80 % full now and then.
fn crowded(r: &mut Rnd) -> Test {
    let mut t = Test::new((0..150).map(|_| Tuple::any(r)).collect(), 128);
    (t.most, t.pace) = (105, (16, 16, 14, false));
    t
}

/// Finds, inserts and deletes at the same time, a hundred thousand.
#[test]
fn a_hundred_thousand_operations_agree_with_a_map() {
    let mut r = Rnd::new(Rnd::seed_for("lookup_operations"));
    let mut t = crowded(&mut r);
    let mut b = Verilated::new("lookup_operations", Wired::<5, 8>::default(), ports());
    let wanted = if long() { 1_000_000 } else { 100_000 };
    while t.ops() < wanted {
        t.cycle(&mut b, &mut r);
    }
    eprintln!("{:?}, fullest {}, slowest find and change {:?}", t.seen, t.fullest, t.slowest);
    assert!(t.fullest > 104 && t.seen[..5].iter().all(|n| *n > 1500), "{:?}", t.seen);
}

/// What holds for the model of these operations holds for the block.
#[test]
fn the_model_of_a_crowded_table_is_the_block() {
    let mut r = Rnd::new(Rnd::seed_for("lookup_crowded"));
    let t = std::cell::RefCell::new(crowded(&mut r));
    Diff::new("lookup_operations", 12_000).run_seen(
        Wired::<5, 8>::default(),
        |u, r| t.borrow_mut().step(u, r),
        |u| t.borrow_mut().see(u),
        clock,
    );
    let (seen, fullest) = (t.borrow().seen, t.borrow().fullest);
    eprintln!("hits, misses, inserted, deleted, known, full, nothing to delete: {seen:?}, fullest {fullest}");
    assert!(fullest > 48 && seen[..5].iter().all(|n| *n > 1), "{seen:?}, fullest {fullest}");
}

/// A pair of tuples that an attack on a weaker hash takes for one: with the flips of address bits, and of ports.
fn aimed(r: &mut Rnd, ports: bool) -> [Tuple; 2] {
    let t = Tuple { is_v6: false, ..Tuple::any(r) };
    let (remote, local) = (t.remote & 0xffff_ffff, t.local & 0xffff_ffff);
    let t = Tuple { remote, local, ..t };
    let other = if ports {
        Tuple { remote: t.remote ^ 1 << 31, ports: (t.ports.0 ^ 0x8008, t.ports.1), ..t }
    } else {
        Tuple { remote: t.remote ^ 1 << 31, local: t.local ^ (1 << 31 | 1 << 25), ..t }
    };
    [t, other]
}

/// How many of 20 000 pairs lie in one bucket of a table with 512, for a random key each 100 pairs.
fn in_one_bucket(r: &mut Rnd, ports: bool) -> usize {
    let mut same = 0;
    for _ in 0..200 {
        let secret = Secret::new(r.next_u64());
        for _ in 0..100 {
            let [a, b] = aimed(r, ports).map(|t| secret.hash(&t));
            same += usize::from((a ^ b) & 0x1ff == 0) + usize::from((a ^ b) >> 9 & 0x1ff == 0);
        }
    }
    same
}

/// Before, such a pair lay in the same bucket whatever the key.
#[test]
fn flipping_the_top_address_bits_does_not_aim_at_a_bucket() {
    let mut r = Rnd::new(Rnd::seed_for("lookup_aimed_addresses"));
    let same = in_one_bucket(&mut r, false);
    assert!((30..140).contains(&same), "{same} of 40 000, 78 by chance");
}

/// Before, such a pair lay in the same bucket with every second key.
#[test]
fn flipping_a_port_with_an_address_bit_does_not_aim_at_a_bucket() {
    let mut r = Rnd::new(Rnd::seed_for("lookup_aimed_ports"));
    let same = in_one_bucket(&mut r, true);
    assert!((30..140).contains(&same), "{same} of 40 000, 78 by chance");
}

/// Fills tables of `1 << log2` buckets with as many connections as they are for; returns the worst stash and number of swaps.
fn fill(fills: usize, log2: usize, mut hash: impl FnMut(usize) -> u32) -> (usize, usize) {
    let mut worst = (0, 0);
    for n in 0..fills {
        let mut table = Table::new(log2);
        for i in 0..2usize << log2 {
            assert!(table.insert(hash(i)), "fill {n}: no place for connection {i}");
        }
        worst = (worst.0.max(table.worst.0), worst.1.max(table.worst.1));
    }
    worst
}

/// As many connections as there are always find a place: 256, 1024 and 4096, ten thousand times each.
#[test]
fn full_tables_take_every_connection() {
    let mut r = Rnd::new(Rnd::seed_for("lookup_fills"));
    let fills = 10_000;
    for log2 in [7, 9, 11] {
        let worst = fill(fills, log2, |_| r.next_u64() as u32);
        eprintln!("{} connections: {fills} fills, stash and swaps at worst {worst:?}", 2 << log2);
        assert!(worst.0 == 0 && worst.1 < 63, "{worst:?}");
    }
}

/// Tuples that somebody chose without the key: few hosts with ports in a row, and the pairs of the named attacks.
#[test]
fn chosen_tuples_fill_a_table_like_any_others() {
    let mut r = Rnd::new(Rnd::seed_for("lookup_chosen"));
    let fills = if long() { 1000 } else { 40 };
    let mut worst = (0, 0);
    for kind in 0..4 {
        for _ in 0..fills {
            let secret = Secret::new(r.next_u64());
            let first = r.next_u64() as u16;
            let mut pair = vec![];
            let w = fill(1, 9, |i| {
                let tuple = match kind {
                    // One host, ports in a row.
                    0 => Tuple::v4([10, 0, 0, 9], first.wrapping_add(i as u16), [10, 0, 0, 1], 80),
                    // Hosts in a row, one port.
                    1 => Tuple::v4([10, 0, (i >> 8) as u8, i as u8], first, [10, 0, 0, 1], 80),
                    // An IPv6 host with all the addresses it wants.
                    2 => Tuple {
                        is_v6: true,
                        remote: 0x20 | (i as u128) << 112,
                        local: 0x20,
                        ports: (first, 80),
                    },
                    _ => {
                        if pair.is_empty() {
                            let ports = r.any();
                            pair.extend(aimed(&mut r, ports));
                        }
                        pair.pop().expect("two of them")
                    }
                };
                secret.hash(&tuple)
            });
            worst = (worst.0.max(w.0), worst.1.max(w.1));
        }
    }
    eprintln!("stash and swaps at worst {worst:?}");
    assert!(worst.0 == 0, "{worst:?}");
}

/// Everything that was inserted is in the block, too, when it is as full as it gets; the next one has no place, and does not push
/// another one out.
#[test]
fn a_table_beyond_its_last_place_refuses_and_keeps_what_it_has() {
    let mut r = Rnd::new(Rnd::seed_for("lookup_beyond"));
    let mut t = Test::new((0..80).map(|_| Tuple::any(&mut r)).collect(), 64);
    // The model that the random finds and changes above compare with the native simulation.
    let mut b = Verilated::new("lookup", Wired::<3, 7>::default(), ports());
    t.most = usize::MAX;
    t.pace = (8, 16, 16, false);
    while t.seen[5] < 5 {
        t.cycle(&mut b, &mut r);
    }
    let (held, seen) = (t.map.len(), t.seen);
    assert!((27..=36).contains(&held) && seen[2] - seen[3] == held, "{held}, {seen:?}");
    t.pace = (16, 0, 0, false);
    while t.seen[0] < seen[0] + 20 * held {
        t.cycle(&mut b, &mut r);
    }
}

/// What the module page says of clocks; a test that fails on a change for the better, too.
#[test]
fn finds_and_changes_take_the_clocks_that_are_written_down() {
    let mut b = Bench::new(Wired::<9, 9>::default(), clock::<9, 9>);
    let secret = Secret::new(SECRET);
    let six = |n: u128| Tuple { is_v6: true, remote: n, local: 7, ports: (1, 2) };
    let four = |n: u8| Tuple::v4([10, 0, 0, n], 1, [10, 0, 0, 1], 2);
    b.cycle(|u| (u.enable.next, u.key.next) = (true, SECRET.into()));
    let wait = |b: &mut Bench<Wired<9, 9>, _>, done: fn(&Wired<9, 9>) -> bool| {
        let mut clocks = 0;
        while !done(&b.u) {
            b.cycle(|_| ());
            b.settle(|_| ());
            clocks += 1;
        }
        clocks
    };
    assert_eq!(wait(&mut b, |u| u.filled.val()), 2112);
    let change = |b: &mut Bench<Wired<9, 9>, _>, insert: bool, tuple: Tuple, conn: u64| {
        b.settle(|u| {
            u.op.next = LookupOp { insert, key: tuple.raw_key(), conn: conn.into() };
            u.op_valid.next = true;
        });
        let clocks = wait(b, |u| u.op_done.val());
        assert!(b.u.op_ok.val());
        b.cycle(|_| ());
        for _ in 0..10 {
            b.cycle(|u| u.op_valid.next = false);
        }
        clocks
    };
    assert_eq!((change(&mut b, true, four(9), 3), change(&mut b, true, six(9), 4)), (16, 34));
    let find = |b: &mut Bench<Wired<9, 9>, _>, tuple: Tuple| {
        b.settle(|u| {
            u.find_key.next = tuple.key();
            u.find_hash.next = u64::from(secret.hash(&tuple)).into();
            u.find_valid.next = true;
        });
        assert!(b.u.find_ready.val());
        let clocks = wait(b, |u| u.find_done.val());
        let conn = b.u.find_hit.val().then(|| b.u.find_conn.val().to_u64());
        for _ in 0..3 {
            b.cycle(|u| u.find_valid.next = false);
        }
        b.settle(|_| ());
        (clocks, conn)
    };
    assert_eq!(find(&mut b, four(9)), (5, Some(3)));
    assert_eq!(find(&mut b, six(9)), (5, Some(4)));
    assert_eq!((find(&mut b, four(8)), find(&mut b, six(8))), ((2, None), (2, None)));
    assert_eq!((change(&mut b, false, four(0), 3), change(&mut b, false, six(0), 4)), (14, 32));
    assert_eq!(find(&mut b, four(9)), (2, None));
}

/// The sizes of the FPGA tops elaborate too.
#[test]
fn larger_tables_become_verilog() {
    let text =
        chimney_hdl_kernel::netlist::synthesis(&Lookup::<11, 13>::default(), "lookup_4096").expect("Verilog");
    assert!(text.contains("module lookup_4096"));
}
