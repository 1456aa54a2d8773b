//! A connection's way to PROTO and its end.

use crate::{n, steps};
use chimney_abi::cmd::{Opcode, Status};
use chimney_hdl::host::mailbox::conn_ends::ConnEnds;
use chimney_hdl::host::mailbox::conn_ops::{ConnOps, GiveUp};
use chimney_hdl::host::mailbox::job::{Answer, Job};
use chimney_hdl::host::mailbox::map_in::MAP_BEATS;
use chimney_hdl::host::mailbox::store::{Found, Row};
use chimney_hdl::tcp::proto::op::RECORD_BEATS;
use chimney_hdl::types::OpDone;
use chimney_hdl_kernel::diff::{Diff, Rnd};
use std::cell::RefCell;
use std::collections::VecDeque;

const PATHS: u64 = 3;

/// What a job of a connection comes to, in plain Rust.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Refused(Status),
    Offered,
}

fn conn_end(job: &Job, path: &Found, v6: bool, map_bad: bool) -> End {
    let op = Opcode::try_from(n(job.opcode) as u8).expect("an opcode");
    let initiates = op == Opcode::Initiate;
    let brings = initiates || op == Opcode::Update;
    let alive = path.object.live && path.object.generation == job.header.parent_generation;
    match op {
        Opcode::Abort => End::Offered,
        _ if n(job.header.id) >= 8 => {
            End::Refused(if initiates { Status::TcpEntries } else { Status::Stale })
        }
        _ if initiates && !alive => End::Refused(Status::NoParent),
        _ if brings && job.body_failed => End::Refused(Status::HardwareFailure),
        _ if initiates && path.object.body.get_bit(304) != v6 => End::Refused(Status::Rejected),
        _ if initiates && job.has_ranges && map_bad => End::Refused(Status::HardwareFailure),
        _ => End::Offered,
    }
}

#[derive(Default)]
struct ConnTest {
    job: Option<Job>,
    go: bool,
    beats: Vec<u64>,
    map: Vec<u64>,
    map_bad: bool,
    map_reads: bool,
    paths: Vec<Found>,
    hand: Option<u64>,
    forget: bool,
    quiet: bool,
    may_offer: bool,
    give_up: Option<GiveUp>,
    offered: bool,
    fed: Vec<u64>,
    refused: Option<u8>,
    seen: [usize; 6],
}

impl ConnTest {
    fn poke(&mut self, u: &mut ConnOps<3>, r: &mut Rnd) {
        u.reset.next = false;
        self.go = self.job.is_none() && u.ready.val() && r.chance(1, 3);
        self.forget = self.job.is_none() && !self.go && r.chance(1, 20);
        if self.paths.is_empty() || self.forget {
            self.paths = (0..PATHS).map(|_| r.any()).collect();
            self.paths.iter_mut().for_each(|p| p.object.live = r.chance(7, 8));
            self.hand = None;
        }
        if self.go {
            let mut job: Job = r.any();
            job.opcode = (1 + r.below(6)).into();
            job.header.id = if r.chance(1, 8) { r.any() } else { r.bits_below(8) };
            job.header.parent = r.bits_below(PATHS);
            let path = self.paths[n(job.header.parent) as usize];
            if r.chance(7, 8) {
                job.header.parent_generation = path.object.generation;
            }
            (job.body_failed, job.has_ranges) = (r.chance(1, 8), r.chance(1, 3));
            self.beats = (0..RECORD_BEATS).map(|_| r.next_u64()).collect();
            if r.chance(7, 8) {
                let v6 = u64::from(path.object.body.get_bit(304));
                self.beats[0] = self.beats[0] & !(8 << 32) | v6 << 35;
            }
            self.map = (0..MAP_BEATS).map(|_| r.next_u64()).collect();
            (self.map_bad, self.map_reads, self.offered, self.refused) = (r.chance(1, 4), false, false, None);
            self.fed.clear();
            self.job = Some(job);
        }
        u.go.next = self.go;
        u.forget.next = self.forget;
        u.job.next = self.job.unwrap_or_default();
        // What is asked for depends on registers and `quiet` alone.
        self.quiet = self.hand == Some(u64::MAX) || r.chance(1, 2);
        u.quiet.next = self.quiet;
        u.row_loaded.next = self.hand == Some(u64::MAX) && r.chance(1, 3);
        if u.row_loaded.next {
            self.hand = Some(n(u.row.val().id));
        }
        u.found.next = self.hand.filter(|h| *h < PATHS).map_or(r.any(), |h| self.paths[h as usize]);
        u.map_done.next = self.map_reads && r.chance(1, 5);
        u.map_error.next = self.map_bad;
        let fed = self.fed.len();
        u.map_valid.next =
            fed >= self.beats.len() && fed < self.beats.len() + self.map.len() && r.chance(2, 3);
        u.map_beat.next =
            (*fed.checked_sub(self.beats.len()).and_then(|i| self.map.get(i)).unwrap_or(&0)).into();
        u.beat.next = (*self.beats.get(fed).unwrap_or(&0)).into();
        u.op_in_ready.next = self.offered && r.chance(2, 3);
        self.may_offer = r.chance(1, 2);
        u.may_offer.next = self.may_offer;
        u.op_ready.next = r.chance(1, 3);
        u.refuse_ready.next = r.chance(1, 2);
        if self.give_up.is_none() && r.chance(1, 40) {
            self.give_up = Some(GiveUp { valid: true, ..r.any() });
        }
        u.give_up.next = self.give_up.unwrap_or_default();
    }

    fn see(&mut self, u: &ConnOps<3>) {
        let Some(job) = self.job else {
            assert!(!u.taken.val() && !u.refuse.val() && !u.map_go.val());
            return self.undone(u);
        };
        let h = job.header;
        if u.row_load.val() {
            let other = u.row_loaded.val() || self.hand != Some(n(h.parent));
            assert!(self.quiet && other, "only another path, when all have their places");
            assert_eq!(u.row.val(), Row { is_path: true, id: h.parent });
            if !u.row_loaded.val() {
                self.hand = Some(u64::MAX);
            }
        }
        if u.map_go.val() {
            assert!(job.has_ranges);
            self.map_reads = true;
        } else if u.map_done.val() {
            self.map_reads = false;
        }
        self.undone(u);
        if u.op_valid.val() && u.op_ready.val() && self.give_up.is_none() && !u.undone.val() {
            let op = u.op.val();
            let initiates = n(op.opcode) == u64::from(Opcode::Initiate.code());
            assert_eq!((op.conn, op.generation, op.path), (h.id, h.generation, h.parent));
            assert_eq!((op.opcode, op.tag, op.discard), (job.opcode, job.index, false));
            assert_eq!(op.has_map, initiates && job.has_ranges);
            assert!((self.may_offer || !initiates) && !self.offered);
            assert!(!initiates || self.hand == Some(n(h.parent)), "the row stays for the lookup");
            self.offered = true;
        }
        if u.op_in_valid.val() && u.op_in_ready.val() {
            self.fed.push(n(u.op_in.val()));
        }
        if u.refuse.val() && u.refuse_ready.val() {
            assert!(self.quiet);
            self.refused = Some(n(u.status.val()) as u8);
        }
        if u.taken.val() {
            self.taken(&job);
        }
    }

    fn undone(&mut self, u: &ConnOps<3>) {
        if u.undone.val() {
            let (op, g) = (u.op.val(), self.give_up.take().expect("a connection to give up"));
            assert_eq!((op.conn, op.generation, op.tag, op.discard), (g.conn, g.generation, g.index, true));
            assert_eq!(n(op.opcode), u64::from(Opcode::Terminate.code()));
            self.seen[0] += 1;
        }
    }

    /// All of the job is on its way.
    fn taken(&mut self, job: &Job) {
        let path = self.paths[n(job.header.parent) as usize];
        let want = conn_end(job, &path, self.beats[0] >> 35 & 1 == 1, self.map_bad);
        let op = Opcode::try_from(n(job.opcode) as u8).expect("an opcode");
        let mut fed = vec![];
        match want {
            End::Refused(status) => {
                assert_eq!((self.refused, self.offered), (Some(status.code()), false), "{job:?}");
                self.seen[1] += 1;
            }
            End::Offered => {
                assert!(self.offered && self.refused.is_none(), "{job:?}");
                if matches!(op, Opcode::Initiate | Opcode::Update) {
                    fed = self.beats.clone();
                    self.seen[2] += 1;
                }
                if op == Opcode::Initiate && job.has_ranges {
                    fed.extend(&self.map);
                    self.seen[3] += 1;
                }
                self.seen[4 + usize::from(op == Opcode::Initiate)] += 1;
            }
        }
        assert_eq!(self.fed, fed);
        self.job = None;
    }
}

/// Nobody hears of a connection that is refused; what PROTO is offered comes whole, and one to be given up goes first.
///
/// Verifies: R-084; laws L1, L5.
#[test]
fn a_connection_is_checked_and_fed_whole() {
    let t = RefCell::new(ConnTest::default());
    let clock = |u: &mut ConnOps<3>, c: bool| u.clock.next = c.into();
    Diff::new("mailbox_conn_ops", steps(16_000)).run_seen(
        ConnOps::<3>::default(),
        |u, r| t.borrow_mut().poke(u, r),
        |u| t.borrow_mut().see(u),
        clock,
    );
    let seen = t.borrow().seen;
    assert!(seen.iter().all(|n| *n > 10), "{seen:?}");
}

#[derive(Default)]
struct EndsTest {
    path: Found,
    /// Asked, and not answered by PROTO; answers of PROTO that wait.
    open: usize,
    dones: VecDeque<OpDone>,
    asked: bool,
    next: u64,
    refuse: Option<(u64, u64)>,
    /// Answers that must come: place to what is known of it.
    due: std::collections::BTreeMap<u64, Answer>,
    lookup: Option<OpDone>,
    fits: (bool, bool),
    /// A connection that PROTO was asked to give up.
    given: Option<GiveUp>,
    seen: [usize; 5],
}

impl EndsTest {
    fn poke(&mut self, u: &mut ConnEnds, r: &mut Rnd) {
        u.reset.next = false;
        if self.due.is_empty() && self.open == 0 {
            self.path = r.any();
        }
        u.found.next = self.path;
        self.asked = self.open + self.dones.len() < 2 && u.may_offer.val() && r.chance(1, 8);
        u.asked.next = self.asked;
        self.open += usize::from(self.asked);
        if self.open > 0 && self.dones.is_empty() && r.chance(1, 6) {
            self.open -= 1;
            let status = if r.chance(2, 3) { 0 } else { 1 + r.below(10) };
            self.next += 1;
            self.dones.push_back(OpDone {
                opcode: (1 + r.below(6)).into(),
                tag: (self.next & 0xffff).into(),
                discard: false,
                status: status.into(),
                ..r.any()
            });
        }
        if let Some(g) = self.given.take_if(|_| self.dones.is_empty() && r.chance(1, 6)) {
            let opcode = u64::from(Opcode::Terminate.code()).into();
            self.dones.push_back(OpDone {
                opcode,
                conn: g.conn,
                tag: g.index,
                discard: true,
                status: 0u64.into(),
                ..r.any()
            });
        }
        u.done_valid.next = !self.dones.is_empty();
        u.done.next = self.dones.front().copied().unwrap_or_else(|| r.any());
        if self.refuse.is_none() && self.due.is_empty() && u.quiet.val() && !self.asked && r.chance(1, 10) {
            self.next += 1;
            self.refuse = Some((self.next & 0xffff, 1 + r.below(10)));
        }
        let refuse = self.refuse.filter(|_| !self.asked);
        u.refuse.next = refuse.is_some();
        let (index, status) = refuse.unwrap_or_default();
        (u.refuse_index.next, u.refuse_status.next) = (index.into(), status.into());
        u.lookup_done.next = self.lookup.is_some() && r.chance(1, 4);
        self.fits = (r.chance(2, 3), r.any());
        (u.lookup_ok.next, u.lookup_known.next) = self.fits;
        u.undone.next = u.give_up.val().valid && r.chance(1, 5);
        u.answer_ready.next = r.chance(1, 2);
    }

    fn see(&mut self, u: &ConnEnds) {
        let code = |o: Opcode| u64::from(o.code());
        if u.lookup_valid.val() {
            let (l, d) = (u.lookup.val(), self.lookup.expect("a change that is due"));
            let (body, k) = (self.path.object.body, l.key);
            let word = |at: usize| body.get_bits::<32>(at);
            assert_eq!((l.insert, l.conn), (n(d.opcode) == code(Opcode::Initiate), d.conn));
            assert_eq!((k.remote_ip.a, k.remote_ip.d), (word(128), word(224)));
            assert_eq!((k.local_ip.a, k.local_ip.d), (word(0), word(96)));
            assert_eq!(
                (k.local_port, k.remote_port),
                (d.ports.get_bits::<16>(0), d.ports.get_bits::<16>(16))
            );
            assert_eq!(k.is_v6, d.ports.get_bit(35));
        }
        if u.lookup_done.val() {
            let d = self.lookup.take().expect("a change");
            if n(d.opcode) == code(Opcode::Initiate) && !self.fits.0 {
                let status = if self.fits.1 { Status::Rejected } else { Status::TcpEntries };
                let answer = self.due.get_mut(&n(d.tag)).expect("an answer");
                (answer.status, answer.lands) = (u64::from(status.code()).into(), false);
                self.seen[0] += 1;
            }
        }
        if u.undone.val() {
            self.given = Some(u.give_up.val());
            self.seen[1] += 1;
        }
        if u.done_valid.val() && u.done_ready.val() {
            let d = self.dones.pop_front().expect("an answer");
            let good = n(d.status) == 0;
            let gives = [Opcode::Query, Opcode::Terminate].map(code).contains(&n(d.opcode));
            if !d.discard {
                let write = n(d.opcode) != code(Opcode::Abort);
                let answer = Answer { index: d.tag, status: d.status, write, lands: gives && good };
                self.due.insert(n(d.tag), answer);
                let changes = [Opcode::Initiate, Opcode::Terminate].map(code).contains(&n(d.opcode));
                self.lookup = (good && changes).then_some(d);
                self.seen[2] += usize::from(good && changes);
            }
        }
        if u.refuse.val() && u.refuse_ready.val() {
            let (index, status) = self.refuse.take().expect("a refusal");
            let answer = Answer { index: index.into(), status: status.into(), write: true, lands: false };
            self.due.insert(index, answer);
            self.seen[3] += 1;
        }
        if u.answer_valid.val() && u.answer_ready.val() {
            let a = u.answer.val();
            assert_eq!(self.due.remove(&n(a.index)), Some(a));
            self.seen[4] += 1;
        }
        let quiet = self.open == 0 && self.dones.is_empty() && self.due.is_empty() && self.given.is_none();
        assert!(!u.quiet.val() || quiet || self.asked || u.refuse.val());
    }
}

/// Each image has one answer; a connection that the lookup does not take is given up first, even if the next one is not taken either.
///
/// Verifies: R-084; law L1.
#[test]
fn every_connection_is_answered_and_one_without_a_place_is_given_up() {
    let t = RefCell::new(EndsTest::default());
    let clock = |u: &mut ConnEnds, c: bool| u.clock.next = c.into();
    Diff::new("mailbox_conn_ends", steps(16_000)).run_seen(
        ConnEnds::default(),
        |u, r| t.borrow_mut().poke(u, r),
        |u| t.borrow_mut().see(u),
        clock,
    );
    let seen = t.borrow().seen;
    assert!(seen.iter().all(|n| *n > 30), "{seen:?}");
}
