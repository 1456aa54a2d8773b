//! The parts that carry one image out.

use crate::{n, steps, Reader};
use chimney_abi::cmd::{ImageKind, Opcode, Status};
use chimney_hdl::host::mailbox::job::Job;
use chimney_hdl::host::mailbox::object_ops::ObjectOps;
use chimney_hdl::host::mailbox::objects::Object;
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
    let most = if parent.body.get_bit(112) { 1492 } else { 9000 };
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
                    data & !0xffff | [67, 68, 9000, 9001, 1400, 1279, 1280, 1492, 1493][r.below(9) as usize];
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
