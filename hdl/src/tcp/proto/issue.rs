//! Where jobs leave PROTO, and acknowledgments that are ready before they may be sent.
//!
//! ```text
//!   pass with text of a peer, nothing to send --> [kept: the acknowledgment that its record will allow]
//!   durable record --> is that all there is to say, and is it due? --yes--> job at once, its pass follows
//!   pass with something to send ---------------------------------------------> job
//! ```
//! Law L2 holds a segment's acknowledgment back until its shadow record is durable. What it will say is known before: so the
//! pass that orders the record leaves it here, if nothing else is to be sent. The record's own pass then finds it sent. Any pass of the
//! connection in between takes it away, but for a doorbell or an older record that changes nothing of it; then the record's pass decides as always.
//!
//! Latency: a clock from a durable record to its job, 8 less than through the pipeline. Throughput: a job per clock. Back-pressure: none
//! here, room for a job is promised before ([`super::intake`]). Reset: nothing is kept, no job waits.
use crate::mem::LutRam;
use crate::prelude::*;
use crate::stream::Skid;
use crate::tcp::place::order::Commit;
use crate::types::TxJob;

/// log2 of the acknowledgments kept, by the low bits of the connection.
const PLACES_LOG2: usize = 4;
const PLACES: usize = 1 << PLACES_LOG2;

/// A bare acknowledgment.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
struct Kept {
    /// See [`TxJob`].
    conn: Bits<16>,
    /// See [`TxJob`].
    path: Bits<16>,
    /// See [`TxJob`].
    local_port: Bits<16>,
    /// See [`TxJob`].
    remote_port: Bits<16>,
    /// See [`TxJob`].
    seq: Bits<32>,
    /// See [`TxJob`]; the record's RCV.NXT.
    ack: Bits<32>,
    /// See [`TxJob`].
    wnd: Bits<16>,
    /// See [`TxJob`].
    flags: Bits<8>,
    /// See [`TxJob`].
    has_ts: Bit,
    /// See [`TxJob`].
    ts_val: Bits<32>,
    /// See [`TxJob`].
    ts_ecr: Bits<32>,
    /// See [`TxJob`].
    ttl: Bits<8>,
    /// See [`TxJob`].
    tos: Bits<8>,
    /// See [`TxJob`].
    flow_label: Bits<20>,
    /// See [`TxJob`].
    priority: Bits<3>,
    /// Segments that waited for an acknowledgment when it was kept, at least, without those of the record.
    pending: Bits<8>,
}

/// What a pass leaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Issued {
    /// Connection of the pass that leaves.
    pub conn: Bits<16>,
    /// A pass leaves, and what was kept of its connection counts no more.
    pub ends: Bit,
    /// It sends `job`.
    pub sends: Bit,
    /// It sends nothing, and `job` is the acknowledgment to keep.
    pub keeps: Bit,
    /// See `sends` and `keeps`.
    pub job: TxJob,
    /// With `keeps`: segments that wait for an acknowledgment, without those of the record.
    pub pending: Bits<8>,
}

/// The block.
#[derive(LogicBlock, Default)]
pub struct Issue {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Reset.
    pub reset: Signal<In, Bit>,
    /// What leaves the pipeline.
    pub leaves: Signal<In, Issued>,
    /// A durable record.
    pub commit: Signal<In, Commit>,
    /// Its pass begins, and has room for a job; no pass of the connection is under way.
    pub begins: Signal<In, Bit>,
    /// `TcpParams::ack_frequency`.
    pub ack_frequency: Signal<In, Bits<8>>,
    /// Its acknowledgment goes in this clock.
    pub acks: Signal<Out, Bit>,
    /// The transmitter took a job: there is room for another.
    pub gone: Signal<Out, Bit>,
    /// Job.
    pub tx_job: Signal<Out, TxJob>,
    /// Job offered.
    pub tx_job_valid: Signal<Out, Bit>,
    /// Job taken.
    pub tx_job_ready: Signal<In, Bit>,
    kept: LutRam<Kept, PLACES_LOG2>,
    is_kept: Dff<Bits<PLACES>>,
    jobs: Skid<TxJob>,
}

/// What is kept of a job.
#[kernel]
fn kept(x: Issued) -> Kept {
    let j = x.job;
    let j: TxJob = j;
    Kept {
        conn: j.conn,
        path: j.path,
        local_port: j.local_port,
        remote_port: j.remote_port,
        seq: j.seq,
        ack: j.ack,
        wnd: j.wnd,
        flags: j.flags,
        has_ts: j.has_ts,
        ts_val: j.ts_val,
        ts_ecr: j.ts_ecr,
        ttl: j.ttl,
        tos: j.tos,
        flow_label: j.flow_label,
        priority: j.priority,
        pending: x.pending,
    }
}

/// The job that it becomes.
#[kernel]
fn acknowledgment(k: Kept) -> TxJob {
    TxJob {
        conn: k.conn,
        path: k.path,
        local_port: k.local_port,
        remote_port: k.remote_port,
        seq: k.seq,
        ack: k.ack,
        wnd: k.wnd,
        flags: k.flags,
        has_ts: k.has_ts,
        ts_val: k.ts_val,
        ts_ecr: k.ts_ecr,
        ttl: k.ttl,
        tos: k.tos,
        flow_label: k.flow_label,
        priority: k.priority,
        ..TxJob::default()
    }
}

/// The record is the one that it was kept for, and the peer waits for it (`news::committed`).
#[kernel]
fn is_due(k: Kept, c: Commit, frequency: Bits<8>) -> bool {
    let pending = k.pending + bit_cast::<8, 2>(c.data);
    let is_its = k.conn == c.conn && k.ack == c.nxt && !c.fault;
    is_its && (c.now || (c.data != 0 && pending >= frequency))
}

#[kernel]
impl Logic for Issue {
    fn update(&mut self) {
        dff_setup!(self, clock, is_kept);
        clock!(self, clock, kept, jobs);
        reset!(self, reset, jobs);
        let (x, commit) = (self.leaves.val(), self.commit.val());
        let at = commit.conn.get_bits::<PLACES_LOG2>(0);
        let to = x.conn.get_bits::<PLACES_LOG2>(0);
        let is_kept = self.is_kept.q.val();

        // What the record's pass finds.
        self.kept.raddr.next = at;
        let k = self.kept.rdata.val();
        let due = is_kept.get_bit(at.index()) && is_due(k, commit, self.ack_frequency.val());
        let acks = due && self.begins.val() && !x.sends;
        self.acks.next = acks;

        // What a pass leaves.
        self.kept.we.next = x.keeps;
        self.kept.waddr.next = to;
        self.kept.wdata.next = kept(x);
        let one = bits::<PLACES>(1) << to;
        if x.ends {
            self.is_kept.d.next = if x.keeps { is_kept | one } else { is_kept & !one };
        }

        self.jobs.s_valid.next = x.sends || acks;
        self.jobs.s_data.next = if acks { acknowledgment(k) } else { x.job };
        self.tx_job.next = self.jobs.m_data.val();
        self.tx_job_valid.next = self.jobs.m_valid.val();
        self.jobs.m_ready.next = self.tx_job_ready.val();
        self.gone.next = self.jobs.m_valid.val() && self.tx_job_ready.val();
        dff_reset!(self, reset, is_kept);
    }
}
