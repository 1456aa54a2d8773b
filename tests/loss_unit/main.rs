//! The loss recovery unit of the RTL against `LossRecovery` of `host-stack/core`: random jobs of several connections, native
//! and Verilated; answers, stored records and latency. The same with several jobs under way, behind its queue; and the questions that it
//! answers besides, against `Cubic`.

mod cubic;
mod examples;
mod model;
mod program;
mod queue;
mod record;
mod reno;

use chimney_hdl::prelude::Bits;
use chimney_hdl::tcp::loss::job::{LossJob, LossKind, LossResult};
use chimney_hdl::tcp::loss::row::ROW_LOG2;
use chimney_hdl::tcp::loss::unit::LossUnit;
use chimney_hdl::tcp::loss::words::WORDS_LOG2;
use chimney_hdl_kernel::diff::{long, Diff, Rnd};
use model::{Conn, Expected};
use record::Record;
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};

/// `v` as hardware holds it.
fn b<const N: usize>(v: u32) -> Bits<N> {
    u64::from(v).into()
}

fn n<const N: usize>(x: Bits<N>) -> u32 {
    u32::try_from(x.to_u64()).expect("at most 32 bits")
}

/// log2 of connections.
const CONNS: usize = 3;
/// log2 of words of their records.
const WORDS: usize = CONNS + WORDS_LOG2;
/// And of CUBIC's rows.
const ROWS: usize = CONNS + ROW_LOG2;
type Unit = LossUnit<CONNS, WORDS, ROWS>;

/// The unit's record of a connection.
fn record(u: &Unit, conn: usize) -> Record {
    Record::new(&std::array::from_fn(|i| n(u.ram.word(conn << WORDS_LOG2 | i))))
}

/// An acknowledgment without ranges never takes longer from when its job is offered.
const ACK_CLOCKS: u64 = 350;
/// And for each block, each range known before and each known after.
const EACH_CLOCKS: u64 = 70;
/// No acknowledgment does, unless it begins a recovery.
const MOST_ACK_CLOCKS: u64 = 900;
/// A recovery begins: a division more.
const ENTER_CLOCKS: u64 = 200;
/// Everything else, with a division for a hand-over in fast recovery.
const EVENT_CLOCKS: u64 = 400;

/// The test's side of the unit.
#[derive(Default)]
struct Test {
    conns: Vec<Conn>,
    now_us: u32,
    /// Jobs without an answer: what is expected.
    expected: VecDeque<(Expected, LossJob)>,
    /// The job that is offered.
    offered: Option<LossJob>,
    /// It was taken in the last clock.
    is_taken: bool,
    /// Clocks since the last job was offered.
    clocks: u64,
    is_answered: bool,
    /// A question may be in hand so long.
    question_clocks: u64,
    /// What happened: by kind, entered, left in recovery, room denied, timers.
    seen: BTreeMap<String, u32>,
    slowest: BTreeMap<String, u64>,
}

impl Test {
    fn see(&mut self, what: &str) {
        *self.seen.entry(what.into()).or_default() += 1;
    }

    /// Connections as after a reset.
    fn begin(&mut self, r: &mut Rnd) {
        self.conns = (0..1 << CONNS).map(|_| Conn::new(r)).collect();
        self.expected.clear();
        self.is_answered = false;
        (self.offered, self.is_taken) = (None, false);
    }

    /// Something happens to one of them.
    fn event(&mut self, r: &mut Rnd) -> LossJob {
        let conn = r.below(self.conns.len() as u64) as usize;
        let (job, expected) = self.conns[conn].event(r, &mut self.now_us, conn);
        self.expected.push_back((expected, job));
        self.clocks = 0;
        job
    }

    /// An answer, seen for the first time, with what the unit has stored.
    fn answered(&mut self, got: &LossResult, record: &Record) -> (Expected, LossJob) {
        let Some((want, job)) = self.expected.pop_front() else { panic!("an answer nobody asked for") };
        want.compare(got, record, &format!("{job:?}"));
        self.conns[got.conn.index()].answered(got);
        self.note(got, &want, &job);
        (want, job)
    }

    /// The unit alone is in time.
    fn time(&mut self, got: &LossResult, want: &Expected, job: &LossJob) {
        let (clocks, (before, after)) = (self.clocks, want.ranges);
        let (name, bound) = match job.kind {
            LossKind::Ack => {
                let blocks = job.count.to_u64();
                let all = ACK_CLOCKS + EACH_CLOCKS * (blocks + before + after);
                let more = if got.has_entered { ENTER_CLOCKS } else { 0 };
                (format!("ack of {blocks} blocks"), all.min(MOST_ACK_CLOCKS) + more)
            }
            kind => (format!("{kind:?}"), EVENT_CLOCKS),
        };
        assert!(clocks <= bound + self.question_clocks, "{name}: {clocks} clocks");
        let name = if got.has_entered { "recovery begins".into() } else { name };
        let slowest = self.slowest.entry(name).or_default();
        *slowest = clocks.max(*slowest);
    }

    fn note(&mut self, got: &LossResult, want: &Expected, job: &LossJob) {
        self.see(&format!("{:?}", job.kind));
        self.see(&format!("timer {:?}", got.timer));
        self.see(&format!("phase {}", n(got.rc.phase)));
        self.see(&format!("lost {} room {}", got.has_lost, got.has_room));
        self.see(&format!("entered {}", got.has_entered));
        self.see(&format!("cubic {} entered {}", job.is_cubic, got.has_entered));
        self.see(&format!("first {} calm {}", job.is_first, got.is_calm));
        if job.sent.any() && want.was_fast {
            self.see("sent in recovery");
        }
    }

    /// One clock.
    fn poke_or_begin(&mut self, u: &mut Unit, r: &mut Rnd) {
        if self.conns.is_empty() {
            self.begin(r);
            self.now_us = r.next_u64() as u32;
        }
        self.poke(u, r);
    }

    /// One clock: an answer is looked at, a job is offered.
    fn poke(&mut self, u: &mut Unit, r: &mut Rnd) {
        let resets = r.chance(1, 40_000);
        u.reset.next = resets;
        if u.result_valid.val() && !self.is_answered {
            let got = u.result.val();
            let (want, job) = self.answered(&got, &record(u, got.conn.index()));
            self.time(&got, &want, &job);
            self.is_answered = true;
        }
        u.result_ready.next = r.chance(3, 4);
        if std::mem::take(&mut self.is_taken) {
            self.offered = None;
        }
        if u.result_valid.val() && u.result_ready.next {
            (self.is_answered, self.is_taken) = (false, true);
        }
        self.clocks += 1;
        if self.offered.is_none() && r.chance(7, 8) {
            self.offered = Some(self.event(r));
        }
        // It stays until it is taken.
        u.job_valid.next = self.offered.is_some();
        u.job.next = self.offered.unwrap_or_else(|| r.any());
        if resets {
            self.begin(r);
        }
    }

    /// Everything happened often enough.
    fn judge(&self, least: u32, more: &[&str]) {
        eprintln!("{:?}\nslowest, clocks: {:?}", self.seen, self.slowest);
        for what in ["Ack", "Rto", "HandedOver", "Resend", "Probe", "entered true"].iter().chain(more) {
            assert!(self.seen.get(*what).is_some_and(|count| *count >= least), "{what} did not happen");
        }
    }
}

/// RFC 6675, RFC 8985, RFC 9937, RFC 5681.
#[test]
fn the_unit_decides_as_the_core_does() {
    let test = RefCell::new(Test::default());
    let clocks = if long() { 2_000_000 } else { 60_000 };
    Diff::new("loss_unit", clocks).run(
        Unit::default(),
        |u, r| test.borrow_mut().poke_or_begin(u, r),
        |u, clk| u.clock.next = clk.into(),
    );
    // What happened often enough the program's own test says, which has more of it.
    test.into_inner().judge(1, &[]);
}
