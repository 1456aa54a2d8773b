//! The loss recovery unit of the RTL against `LossRecovery` of `host-stack/core`: random jobs of several connections, native
//! and Verilated; answers, stored records and latency.

mod examples;
mod model;

use chimney_hdl::prelude::Bits;
use chimney_hdl::tcp::loss::job::{LossJob, LossKind, LossResult};
use chimney_hdl::tcp::loss::unit::LossUnit;
use chimney_hdl_kernel::diff::{long, Diff, Rnd};
use model::{Conn, Expected};
use std::cell::RefCell;
use std::collections::BTreeMap;

/// `v` as hardware holds it.
fn b<const N: usize>(v: u32) -> Bits<N> {
    u64::from(v).into()
}

fn n<const N: usize>(x: Bits<N>) -> u32 {
    u32::try_from(x.to_u64()).expect("at most 32 bits")
}

/// log2 of rows: 8 connections.
const ROWS: usize = 4;
type Unit = LossUnit<ROWS>;

/// Clocks from a job to its answer, of an acknowledgment: and one more for each block, each range known before, and each
/// known after it; one more if the probe repaired a loss.
const ACK_CLOCKS: u64 = 21;
/// A recovery begins: a division more.
const ENTER_CLOCKS: u64 = 20;
/// Everything else, and one more for each range; a hand-over in fast recovery divides.
const EVENT_CLOCKS: u64 = 16;
/// See there.
const DIVIDE_CLOCKS: u64 = 33;

/// The test's side of the unit.
#[derive(Default)]
struct Test {
    conns: Vec<Conn>,
    now_us: u32,
    /// Job in work: what is expected, and since when.
    expected: Option<(Expected, LossJob, u64)>,
    is_answered: bool,
    /// What happened: by kind, entered, left in recovery, room denied, timers.
    seen: BTreeMap<String, u32>,
    slowest: BTreeMap<String, u64>,
}

impl Test {
    fn see(&mut self, what: &str) {
        *self.seen.entry(what.into()).or_default() += 1;
    }

    fn answered(&mut self, u: &Unit) {
        let Some((want, job, clocks)) = self.expected.take() else { panic!("an answer nobody asked for") };
        let got: LossResult = u.result.val();
        want.compare(&got, &u.hand.q.val(), &format!("{job:?}"));
        let (before, after) = want.ranges;
        let (name, bound) = match job.kind {
            LossKind::Ack => {
                let more = if got.has_entered { ENTER_CLOCKS } else { 1 };
                let blocks = job.count.to_u64();
                (format!("ack of {blocks} blocks"), ACK_CLOCKS + blocks + before + after + more)
            }
            LossKind::HandedOver => ("hand-over".into(), DIVIDE_CLOCKS),
            _ => ("event".into(), EVENT_CLOCKS + after),
        };
        assert!(clocks <= bound, "{name}: {clocks} clocks");
        let name = if got.has_entered { "recovery begins".into() } else { name };
        let slowest = self.slowest.entry(name).or_default();
        *slowest = clocks.max(*slowest);
        self.see(&format!("{:?}", job.kind));
        self.see(&format!("timer {:?}", got.timer));
        self.see(&format!("phase {}", n(got.rc.phase)));
        self.see(&format!("lost {} room {}", got.has_lost, got.has_room));
        self.see(&format!("entered {}", got.has_entered));
        self.see(&format!("first {} calm {}", job.is_first, got.is_calm));
        if job.sent.any() && want.was_fast {
            self.see("sent in recovery");
        }
    }

    /// One clock: an answer is looked at, a job is offered.
    fn poke(&mut self, u: &mut Unit, r: &mut Rnd) {
        let resets = r.chance(1, 4000);
        u.reset.next = resets;
        if u.result_valid.val() && !self.is_answered {
            self.answered(u);
            self.is_answered = true;
        }
        u.result_ready.next = r.chance(3, 4);
        if u.result_valid.val() && u.result_ready.next {
            self.is_answered = false;
        }
        if let Some((.., clocks)) = &mut self.expected {
            *clocks += 1;
        }
        let offers = r.chance(7, 8);
        u.job_valid.next = offers;
        u.job.next = r.any();
        if offers && u.job_ready.val() && !resets {
            let conn = r.below(self.conns.len() as u64) as usize;
            let (job, expected) = self.conns[conn].event(r, &mut self.now_us, conn);
            u.job.next = job;
            self.expected = Some((expected, job, 0));
        }
        if resets {
            self.expected = None;
            self.is_answered = false;
            self.conns.iter_mut().for_each(|c| *c = Conn::new(r));
        }
    }
}

/// RFC 6675, RFC 8985, RFC 9937, RFC 5681.
#[test]
fn the_unit_decides_as_the_core_does() {
    let test = RefCell::new(Test::default());
    let clocks = if long() { 1_000_000 } else { 40_000 };
    Diff::new("loss_unit", clocks).run(
        Unit::default(),
        |u, r| {
            let mut t = test.borrow_mut();
            if t.conns.is_empty() {
                t.conns = (0..1 << (ROWS - 1)).map(|_| Conn::new(r)).collect();
                t.now_us = r.next_u64() as u32;
            }
            t.poke(u, r);
        },
        |u, clk| u.clock.next = clk.into(),
    );
    let t = test.into_inner();
    eprintln!("{:?}\nslowest, clocks: {:?}", t.seen, t.slowest);
    for what in ["Ack", "Rto", "HandedOver", "Resend", "WindowOpened", "Probe"] {
        assert!(t.seen.get(what).is_some_and(|count| *count > 10), "{what} was not tried");
    }
    for what in ["first true calm false", "first true calm true", "first false calm true", "sent in recovery"] {
        assert!(t.seen.get(what).is_some_and(|count| *count > 10), "{what} did not happen");
    }
    for what in ["timer Reorder", "timer Probe", "timer Rto", "entered true", "lost true room false"] {
        assert!(t.seen.get(what).is_some_and(|count| *count > 10), "{what} did not happen");
    }
}
