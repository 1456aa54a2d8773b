//! The parts that carry one image out.

use crate::{n, steps, Reader};
use chimney_abi::cmd::{ImageKind, Opcode, Status};
use chimney_hdl::host::mailbox::conn_ops::ConnOps;
use chimney_hdl::host::mailbox::job::Job;
use chimney_hdl::host::mailbox::object_ops::ObjectOps;
use chimney_hdl::host::mailbox::objects::Object;
use chimney_hdl::host::mailbox::record_in::Ports;
use chimney_hdl::host::mailbox::store::{Found, Row};
use chimney_hdl::prelude::*;
use chimney_hdl::tcp::tx::tables::TABLE_NEIGHBOR;
use chimney_hdl_kernel::diff::{Diff, Rnd};
use std::cell::RefCell;

/// What an object job may do, in plain Rust.
fn object_verdict(job: &Job, old: &Found, parent: &Object, body: &Bits<320>) -> Status {
    let (op, is_path) = (n(job.opcode) as u8, n(job.header.kind) == u64::from(ImageKind::Path.code()));
    let initiates = op == Opcode::Initiate.code();
    let alive = parent.live && parent.generation == job.header.parent_generation;
    let mtu = n(body.get_bits::<16>(256));
    // LLC/SNAP by the neighbor; the family is CONST.
    let most = if parent.body.get_bit(112) { 1492 } else { 1500 };
    let least = if if initiates { body } else { &old.object.body }.get_bit(304) { 1280 } else { 68 };
    if initiates && (!old.in_range || old.object.live) {
        return if is_path { Status::PathEntries } else { Status::NeighborEntries };
    }
    let mine = old.object.live && old.object.generation == job.header.generation;
    if !initiates && !mine {
        return Status::Stale;
    }
    match (initiates || op == Opcode::Update.code(), is_path) {
        (true, true) if !alive => Status::NoParent,
        (true, true) if mtu > most => Status::PathMtu,
        (true, true) if mtu < least => Status::Rejected,
        (true, false) if initiates && n(body.get_bits::<16>(48)) > 4094 => Status::VlanMismatch,
        _ => Status::Success,
    }
}

#[derive(Default)]
struct ObjectTest {
    reader: Reader,
    go: bool,
    busy: bool,
    job: Job,
    old: Found,
    parent: Object,
    /// The row at hand.
    hand: Found,
    body: Vec<u64>,
    error: bool,
    /// What the table got, what the row.
    stored: Option<Object>,
    saved: Option<Object>,
    out: Vec<u8>,
    counter: Bits<16>,
    seen: std::collections::BTreeMap<u8, usize>,
}

impl ObjectTest {
    fn poke(&mut self, u: &mut ObjectOps, r: &mut Rnd) {
        u.reset.next = false;
        self.go = !self.busy && r.chance(1, 3);
        if self.go {
            let kind = [ImageKind::Neighbor, ImageKind::Path][r.below(2) as usize];
            self.job = r.any();
            self.job.opcode = (1 + r.below(5)).into();
            self.job.header.kind = u64::from(kind.code()).into();
            self.job.body = (8 * r.below(1 << 40)).into();
            let live = r.chance(1, 2) == (n(self.job.opcode) > 1) || r.chance(1, 4);
            let mut object: Object = r.any();
            object.live = live;
            object.generation = if r.chance(5, 6) { self.job.header.generation } else { r.any() };
            self.old = Found { in_range: live || r.chance(5, 6), object };
            self.parent = r.any();
            self.parent.live = r.chance(7, 8);
            self.parent.generation = if r.chance(7, 8) { self.job.header.parent_generation } else { r.any() };
            (self.busy, self.error, self.stored, self.saved) = (true, false, None, None);
            self.body.clear();
            self.out.clear();
        }
        u.go.next = self.go;
        u.job.next = self.job;
        // What is asked for depends on registers alone.
        let is_path = n(self.job.header.kind) == u64::from(ImageKind::Path.code());
        u.loaded.next = u.load.val() && r.chance(1, 3);
        if u.loaded.next {
            let row = u.row.val();
            let own = row.is_path == is_path;
            assert_eq!(row.id, if own { self.job.header.id } else { self.job.header.parent });
            self.hand = if own { self.old } else { Found { in_range: true, object: self.parent } };
        }
        u.found.next = self.hand;
        u.saved.next = u.save.val() && r.chance(1, 3);
        if u.saved.next {
            assert!(self.saved.is_none(), "once");
            assert_eq!(u.row.val(), Row { is_path, id: self.job.header.id });
            self.saved = Some(self.hand.object);
        }
        let mut news = self.reader.news(r);
        if news.valid {
            // A body that is often good.
            let word = self.body.len();
            let mut data = n(news.data);
            data = if word == 0 && r.chance(5, 6) { data & 0x0fff_ffff_ffff_ffff } else { data };
            if word == 4 {
                data =
                    data & !0xffff | [67, 68, 1500, 1501, 1400, 1279, 1280, 1492, 1493][r.below(9) as usize];
            }
            news.data = data.into();
            self.body.push(data);
        }
        self.error |= news.done && news.error;
        u.news.next = news;
        u.table_ready.next = r.chance(1, 3);
        u.table_counter.next = self.counter;
        u.write.ready.next = r.chance(1, 2);
        if u.table_valid.val() && u.table_ready.next {
            self.counter = r.any();
        }
    }

    /// The row at hand changes.
    fn change(&mut self, u: &ObjectOps) {
        let c = u.change.val();
        let object = &mut self.hand.object;
        if c.has_head {
            (object.live, object.invalid) = (c.head.live, c.head.invalid);
            (object.generation, object.parent) = (c.head.generation, c.head.parent);
        }
        for i in (0..20).filter(|i| c.lanes.get_bit(*i)) {
            object.body.set_bits::<16>(16 * i, c.word.get_bits::<16>(16 * (i % 4)));
        }
    }

    /// The tables change, once.
    fn store(&mut self, u: &ObjectOps, op: u8, is_path: bool) {
        assert!(self.stored.is_none(), "once");
        let o = self.hand.object;
        assert_eq!(n(u.table_op.val().kind) == TABLE_NEIGHBOR, !is_path);
        let p = u.table_op.val();
        let usable = if is_path { p.path.usable } else { p.neighbor.usable };
        assert_eq!(usable, o.live && !o.invalid);
        let links = is_path && (op == Opcode::Initiate.code() || op == Opcode::Update.code());
        assert_eq!(p.links, links);
        assert!(!links || p.vlan == self.parent.body.get_bits::<12>(48));
        self.stored = Some(o);
    }

    fn see(&mut self, u: &ObjectOps) {
        let run = u.run.val();
        let op = n(self.job.opcode) as u8;
        let is_path = n(self.job.header.kind) == u64::from(ImageKind::Path.code());
        if run.start {
            assert!(op == Opcode::Initiate.code() || op == Opcode::Update.code());
            assert_eq!((run.iova, n(run.beats)), (self.job.body, if is_path { 5 } else { 3 }));
            self.reader.start(&run);
        }
        if u.table_valid.val() && u.table_ready.val() {
            self.store(u, op, is_path);
        }
        self.change(u);
        if u.write.valid.val() && u.write.ready.val() {
            let c = u.write.cmd.val();
            assert_eq!(n(c.iova), n(self.job.body) + self.out.len() as u64);
            self.out.extend((0..n(c.len) as usize).map(|i| n(c.data.get_bits::<8>(8 * i)) as u8));
        }
        if u.done.val() && self.busy && !self.go {
            self.busy = false;
            let mut words = self.body.clone();
            words.resize(5, 0);
            let bits: Vec<bool> = words.iter().flat_map(|w| (0..64).map(move |i| w >> i & 1 == 1)).collect();
            let body: Bits<320> = chimney_hdl_kernel::builtin::from_bools(&bits);
            let want = object_verdict(&self.job, &self.old, &self.parent, &body);
            let want = if self.error { Status::HardwareFailure } else { want };
            assert_eq!(n(u.status.val()) as u8, want.code(), "{want:?}");
            *self.seen.entry(want.code()).or_default() += 1;
            let good = want == Status::Success;
            assert_eq!(self.stored.is_some(), good);
            assert_eq!(self.saved, self.stored.filter(|_| op != Opcode::Query.code()));
            let gives = good && (op == Opcode::Query.code() || op == Opcode::Terminate.code());
            assert_eq!(
                self.out.len(),
                if gives {
                    if is_path {
                        40
                    } else {
                        24
                    }
                } else {
                    0
                }
            );
            if let Some(new) = self.stored {
                changed(self.job.opcode.into(), is_path, &self.old.object, &new, &self.job, &body);
                let mut text: Vec<u8> =
                    (0..40).map(|i| n(self.old.object.body.get_bits::<8>(8 * i)) as u8).collect();
                if is_path {
                    text[36..38].copy_from_slice(&(n(self.counter) as u16).to_le_bytes());
                }
                assert!(!gives || self.out == text[..self.out.len()]);
            }
        }
    }
}

/// A neighbor or path changes its row and its table once, or is refused; its body goes out when it is asked for.
#[test]
fn an_object_changes_row_and_table_together_or_not_at_all() {
    let t = RefCell::new(ObjectTest::default());
    let clock = |u: &mut ObjectOps, c: bool| u.clock.next = c.into();
    Diff::new("mailbox_object_ops", steps(10_000)).run_seen(
        ObjectOps::default(),
        |u, r| t.borrow_mut().poke(u, r),
        |u| t.borrow_mut().see(u),
        clock,
    );
    let t = t.borrow();
    assert!(t.seen.len() >= 8 && t.seen[&Status::Success.code()] > 100, "{:?}", t.seen);
}

/// What a job that succeeds makes of an object.
fn changed(op: u64, is_path: bool, old: &Object, new: &Object, job: &Job, body: &Bits<320>) {
    let op = Opcode::try_from(op as u8).expect("an opcode");
    let bits = if is_path { 320 } else { 192 };
    for i in 0..bits {
        let cached = if is_path { (256..272).contains(&i) } else { i < 48 || (112..128).contains(&i) };
        let fresh = op == Opcode::Initiate || op == Opcode::Update && cached;
        assert_eq!(new.body.get_bit(i), if fresh { body } else { &old.body }.get_bit(i), "bit {i}");
    }
    assert_eq!(new.live, op != Opcode::Terminate);
    assert_eq!(new.invalid, op == Opcode::Invalidate || op != Opcode::Initiate && old.invalid);
    assert_eq!(new.generation, job.header.generation);
    let moves = matches!(op, Opcode::Initiate | Opcode::Update);
    assert_eq!(new.parent, if moves { job.header.parent } else { old.parent });
}

/// What a job of a connection asked of whom, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Did {
    Load,
    Op(u8),
    Lookup(bool),
    Done(u8),
}

/// What it has to ask, in plain Rust.
fn conn_plan(
    job: &Job,
    path: &Found,
    (load_bad, foreign): (bool, bool),
    status: u8,
    fits: (bool, bool),
) -> Vec<Did> {
    let op = Opcode::try_from(n(job.opcode) as u8).expect("an opcode");
    let mut plan = vec![];
    let initiates = op == Opcode::Initiate;
    if op != Opcode::Abort {
        if n(job.header.id) >= 8 {
            let full = if initiates { Status::TcpEntries } else { Status::Stale };
            return vec![Did::Done(full.code())];
        }
        let alive = path.object.live && path.object.generation == job.header.parent_generation;
        if initiates && !alive {
            return vec![Did::Done(Status::NoParent.code())];
        }
        if initiates || op == Opcode::Update {
            plan.push(Did::Load);
            if !load_bad && initiates && foreign {
                plan.push(Did::Done(Status::Rejected.code()));
                return plan;
            }
            if load_bad {
                plan.push(Did::Done(Status::HardwareFailure.code()));
                return plan;
            }
        }
    }
    plan.push(Did::Op(op.code()));
    let changes = initiates || op == Opcode::Terminate;
    if status == Status::Success.code() && changes {
        plan.push(Did::Lookup(initiates));
        if initiates && !fits.0 {
            plan.push(Did::Op(Opcode::Terminate.code()));
            let status = if fits.1 { Status::Rejected } else { Status::TcpEntries };
            plan.push(Did::Done(status.code()));
            return plan;
        }
    }
    plan.push(Did::Done(status));
    plan
}

#[derive(Default)]
struct ConnTest {
    go: bool,
    busy: bool,
    job: Job,
    path: Found,
    /// Load is bad, status of PROTO, the lookup takes the connection, else: knows its 4-tuple.
    luck: (bool, u8, (bool, bool)),
    load: bool,
    op: bool,
    asked: bool,
    did: Vec<Did>,
    ports: Ports,
    /// The record that PROTO gives is of IPv6.
    out_v6: bool,
    seen: [usize; 7],
}

impl ConnTest {
    /// Path and record are not of one family.
    fn foreign(&self) -> bool {
        self.ports.flags.get_bit(3) != self.path.object.body.get_bit(304)
    }

    fn poke(&mut self, u: &mut ConnOps<3>, r: &mut Rnd) {
        u.reset.next = false;
        self.go = !self.busy && r.chance(1, 3);
        if self.go {
            self.job = r.any();
            self.job.opcode = (1 + r.below(6)).into();
            self.job.header.id = if r.chance(1, 8) { r.any() } else { r.bits_below(8) };
            self.path = r.any();
            self.path.object.live = r.chance(7, 8);
            self.path.object.generation =
                if r.chance(7, 8) { self.job.header.parent_generation } else { r.any() };
            let status = if r.chance(2, 3) { 0 } else { 1 + r.below(10) as u8 };
            self.luck = (r.chance(1, 6), status, (r.chance(2, 3), r.any()));
            self.ports = r.any();
            if r.chance(3, 4) {
                let v6 = self.path.object.body.get_bit(304);
                self.ports.flags = self.ports.flags.replace_bit(3, v6);
            }
            self.out_v6 = r.any();
            self.did.clear();
            self.busy = true;
        }
        u.go.next = self.go;
        u.job.next = self.job;
        u.found.next = self.path;
        u.row_loaded.next = u.row_load.val() && r.chance(1, 3);
        u.load_done.next = self.load && r.chance(1, 5);
        u.load_error.next = self.luck.0;
        u.ports_in.next = self.ports;
        u.out_v6.next = self.out_v6;
        u.op_ready.next = r.chance(1, 3);
        u.op_done.next = self.op && r.chance(1, 6);
        u.op_status.next = u64::from(self.luck.1).into();
        u.lookup_done.next = self.asked && r.chance(1, 4);
        (u.lookup_ok.next, u.lookup_known.next) =
            if u.lookup_done.next { self.luck.2 } else { (r.any(), r.any()) };
    }

    fn see(&mut self, u: &ConnOps<3>) {
        let h = self.job.header;
        assert_eq!(u.row.val(), Row { is_path: true, id: h.parent });
        if u.load_go.val() {
            self.load = true;
            self.did.push(Did::Load);
        } else if u.load_done.val() {
            self.load = false;
        }
        assert!(!self.op || u.exchange.val() != u.discard.val());
        assert!(self.op || !u.exchange.val() && !u.discard.val());
        if u.op_done.val() {
            self.op = false;
        }
        if u.op_valid.val() && u.op_ready.val() {
            let op = u.op.val();
            assert_eq!((op.conn, op.generation, op.path), (h.id, h.generation, h.parent));
            self.did.push(Did::Op(n(op.opcode) as u8));
            self.op = true;
        }
        if u.lookup_valid.val() {
            let (l, insert) = (u.lookup.val(), n(self.job.opcode) == 1);
            let (body, k) = (self.path.object.body, u.lookup.val().key);
            assert_eq!((l.insert, l.conn), (insert, h.id));
            assert_eq!((k.remote_ip.a, k.local_ip.a), (body.get_bits::<32>(128), body.get_bits::<32>(0)));
            assert_eq!(k.is_v6, if insert { self.ports.flags.get_bit(3) } else { self.out_v6 });
            // Of IPv4 the lookup takes the first words alone.
            let word = |at: usize| body.get_bits::<32>(at);
            assert_eq!((k.remote_ip.b, k.remote_ip.d), (word(160), word(224)));
            assert_eq!((k.local_ip.c, k.local_ip.d), (word(64), word(96)));
            assert_eq!((k.remote_port, k.local_port), (self.ports.remote, self.ports.local));
            if !self.asked {
                self.did.push(Did::Lookup(l.insert));
            }
        }
        assert!(!self.asked || u.lookup_valid.val(), "asked until it is answered");
        self.asked = u.lookup_valid.val() && !u.lookup_done.val();
        if u.done.val() {
            self.did.push(Did::Done(n(u.status.val()) as u8));
            let (bad, status, fits) = self.luck;
            assert_eq!(
                self.did,
                conn_plan(&self.job, &self.path, (bad, self.foreign()), status, fits),
                "{:?}",
                self.job
            );
            self.seen[self.did.len()] += 1;
            self.busy = false;
        }
    }
}

/// Nobody hears of a connection that is refused, and one without a place in the lookup is given up again.
///
/// Verifies: R-084; laws L1, L5.
#[test]
fn a_connection_asks_path_memory_engine_and_lookup_in_this_order() {
    let t = RefCell::new(ConnTest::default());
    let clock = |u: &mut ConnOps<3>, c: bool| u.clock.next = c.into();
    Diff::new("mailbox_conn_ops", steps(12_000)).run_seen(
        ConnOps::<3>::default(),
        |u, r| t.borrow_mut().poke(u, r),
        |u| t.borrow_mut().see(u),
        clock,
    );
    // One to five things asked: refusals, plain operations, changes of the lookup, and those that were undone.
    let seen = t.borrow().seen;
    assert!(seen[1..=5].iter().all(|n| *n > 10), "{seen:?}");
}
