//! Where jobs leave PROTO: native against Verilated, and against plain Rust.

use chimney_hdl::tcp::place::order::Commit;
use chimney_hdl::tcp::proto::issue::{Issue, Issued};
use chimney_hdl::types::TxJob;
use chimney_hdl_kernel::diff::{long, Diff, Rnd};
use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};

/// Connections; two of them share a place.
const CONNS: [u64; 4] = [1, 2, 3, 17];
/// Connections by the place that they share.
const PLACES: u64 = 16;
/// Jobs that may wait.
const ROOM: usize = 2;

/// A job with the fields that a bare acknowledgment has, and no others.
fn bare(conn: u64, r: &mut Rnd) -> TxJob {
    TxJob {
        conn: conn.into(),
        path: r.any(),
        local_port: r.any(),
        remote_port: r.any(),
        seq: r.any(),
        ack: r.below(4).into(),
        wnd: r.any(),
        flags: r.any(),
        has_ts: r.any(),
        ts_val: r.any(),
        ts_ecr: r.any(),
        ttl: r.any(),
        tos: r.any(),
        flow_label: r.any(),
        priority: r.any(),
        ..TxJob::default()
    }
}

#[derive(Default)]
struct Test {
    /// By place: what is kept, and segments that waited then.
    kept: HashMap<u64, (TxJob, u64)>,
    jobs: VecDeque<TxJob>,
    /// Acknowledgments that went, were not due, were another record's, stood behind a pass that sends.
    seen: [u64; 4],
}

impl Test {
    fn poke(&mut self, u: &mut Issue, r: &mut Rnd) {
        u.reset.next = false;
        u.ack_frequency.next = (1 + r.below(3)).into();
        let conn = CONNS[r.below(4) as usize];
        let has_room = self.jobs.len() < ROOM;
        let (sends, keeps) = (has_room && r.chance(1, 8), r.chance(1, 4));
        u.leaves.next = Issued {
            conn: conn.into(),
            ends: sends || keeps || r.chance(1, 16),
            sends,
            keeps: keeps && !sends,
            job: bare(conn, r),
            pending: r.below(2).into(),
        };
        // A record of a connection with something kept, more often than not.
        let of = CONNS[r.below(4) as usize];
        let nxt = self.kept.get(&(of % PLACES)).map_or(0, |(job, _)| job.ack.to_u64());
        u.commit.next = Commit {
            conn: of.into(),
            nxt: if r.chance(3, 4) { nxt } else { r.below(4) }.into(),
            data: r.below(3).into(),
            now: r.chance(1, 4),
            fault: r.chance(1, 16),
            ..Commit::default()
        };
        u.begins.next = has_room && of != conn && r.chance(1, 4);
        u.tx_job_ready.next = r.chance(1, 2);
    }

    fn see(&mut self, u: &Issue) {
        let (x, c) = (u.leaves.val(), u.commit.val());
        let at = c.conn.to_u64() % PLACES;
        let mut acks = false;
        if let Some((job, pending)) = self.kept.get(&at).copied().filter(|_| u.begins.val()) {
            let is_its = job.conn == c.conn && job.ack == c.nxt && !c.fault;
            let many = c.data.any() && pending + c.data.to_u64() >= u.ack_frequency.val().to_u64();
            let is_due = c.now || many;
            acks = is_its && is_due && !x.sends;
            self.seen[0] += u64::from(acks);
            self.seen[1] += u64::from(is_its && !is_due);
            self.seen[2] += u64::from(!is_its);
            self.seen[3] += u64::from(is_its && is_due && x.sends);
        }
        assert_eq!(u.acks.val(), acks);
        assert_eq!(u.tx_job_valid.val(), !self.jobs.is_empty());
        assert_eq!(u.gone.val(), !self.jobs.is_empty() && u.tx_job_ready.val());
        if let Some(job) = self.jobs.front() {
            assert_eq!(u.tx_job.val(), *job);
        }
        if u.gone.val() {
            self.jobs.pop_front();
        }
        if acks {
            self.jobs.push_back(self.kept[&at].0);
        } else if x.sends {
            self.jobs.push_back(x.job);
        }
        let to = x.conn.to_u64() % PLACES;
        if x.ends {
            self.kept.remove(&to);
        }
        if x.keeps {
            self.kept.insert(to, (x.job, x.pending.to_u64()));
        }
    }
}

/// What was kept goes with the record that it was kept for, if that is due, and with no other; what a pass sends goes first.
///
/// Verifies: law L2; RFC 9293 3.8.6.3.
#[test]
fn an_acknowledgment_goes_with_its_record_alone() {
    let t = RefCell::new(Test::default());
    Diff::new("issue", if long() { 400_000 } else { 30_000 }).run_seen(
        Issue::default(),
        |u, r| t.borrow_mut().poke(u, r),
        |u| t.borrow_mut().see(u),
        |u, c| u.clock.next = c.into(),
    );
    let seen = t.borrow().seen;
    assert!(seen.iter().all(|n| *n > 20), "{seen:?}");
}
