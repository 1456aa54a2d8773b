//! A connection of the core, with the events that can happen to it, sane and hostile ones.
//!
//! The unit hears only what the pipeline tells it: nothing while the connection is calm, and of new text only how much it was. The
//! core hears everything; when a calm time ends it forgets what the unit cannot know ([`Conn::forget`]).

use super::record::Record;
use super::{b, n};
use chimney_abi::state::ECN_REDUCED;
use chimney_abi::SeqNum;
use chimney_hdl::prelude::Bits;
use chimney_hdl::tcp::cwnd as kw;
use chimney_hdl::tcp::loss::growth::Growth;
use chimney_hdl::tcp::loss::job::{LossJob, LossKind, LossResult, LossTimer};
use chimney_hdl::tcp::loss::rack as k;
use chimney_hdl_kernel::diff::Rnd;
use chimney_host_stack_core::ack::SendVars;
use chimney_host_stack_core::congestion::{Algorithm, Control};
use chimney_host_stack_core::cubic::Cubic;
use chimney_host_stack_core::cwnd::{Cwnd, MAX_CWND};
use chimney_host_stack_core::ecn::Ecn;
use chimney_host_stack_core::loss_recovery::{AckEvent, AckResult, LossRecovery, Moment, TimerKind};
use chimney_host_stack_core::rack::{Rack, SendLog};
use chimney_host_stack_core::recovery::{Phase, Recovery};
use chimney_host_stack_core::scoreboard::{Scoreboard, SeqRange};
use chimney_host_stack_core::segment::Flags;
use chimney_host_stack_core::tlp::Tlp;

/// How far the clock moves: mostly a little, sometimes past every horizon.
pub fn pause_us(r: &mut Rnd) -> u32 {
    let most = [2, 100, 2000, 20_000, 100_000, 1_000_000, 40_000_000][r.below(7) as usize];
    r.below(most) as u32
}

/// A connection.
#[derive(Clone, Copy, Debug, Default)]
pub struct Conn {
    /// The unit has a record of it.
    is_born: bool,
    /// It hears nothing of it.
    is_calm: bool,
    /// And what it knows is of another connection.
    is_fresh: bool,
    /// Jobs without an answer: no text goes.
    asked: u32,
    /// New text since the last job, bytes.
    sent: u32,
    loss: LossRecovery,
    cw: Cwnd,
    rec: Option<Recovery>,
    snd: SendVars,
    smss: u32,
    srtt_us: u32,
    rto_us: u32,
    /// CUBIC: the window before the last reduction, and how many epochs there were.
    prior: u32,
    epoch: u32,
    is_cubic: bool,
    /// All have it; some never hear an echo.
    ecn: Ecn,
}

/// What the unit has to answer, and to keep.
#[derive(Clone, Debug)]
pub struct Expected {
    conn: usize,
    una: SeqNum,
    loss: LossRecovery,
    cw: Cwnd,
    rec: Recovery,
    result: AckResult,
    timer: (TimerKind, u32),
    lost: Option<SeqRange>,
    may_resend: bool,
    has_moved: bool,
    edge: u32,
    is_calm: bool,
    may_probe: bool,
    prior: u32,
    /// The same before the event.
    prior_before: u32,
    epoch: u32,
    ecn: Ecn,
    /// The window was reduced; for a mark.
    reduced: (bool, bool),
    /// In fast recovery before the event.
    pub was_fast: bool,
    /// Ranges known before and after the event.
    pub ranges: (u64, u64),
}

fn recovery(cw: &Cwnd, rec: &Recovery, ecn: &Ecn, (prior, epoch): (u32, u32)) -> kw::Recovery {
    let (bits, recover) = ecn.store(rec, rec.recover);
    kw::Recovery {
        cw: kw::Cwnd { cwnd: b(cw.cwnd), ssthresh: b(cw.ssthresh), acked_sum: b(cw.acked_sum) },
        phase: b(rec.phase.code().into()),
        recover: b(recover.get()),
        reduced: bits & ECN_REDUCED != 0,
        dup_acks: b(rec.dup_acks.into()),
        prior: b(prior),
        epoch: b(epoch),
    }
}

impl Conn {
    /// One that the unit does not know yet; often close to where 32 bits wrap.
    pub fn new(r: &mut Rnd) -> Conn {
        let una = SeqNum([r.next_u64() as u32, u32::MAX - r.below(200_000) as u32][r.below(2) as usize]);
        let smss = [536, 1000, 1448, 8960][r.below(4) as usize];
        let snd = SendVars { snd_una: una, snd_nxt: una, snd_max: una, ..SendVars::default() };
        let cw = Cwnd { cwnd: (1 + r.below(60) as u32) * smss, ssthresh: MAX_CWND, acked_sum: 0 };
        let mut ecn = Ecn::default();
        ecn.is_on = true;
        let mut this = Conn { snd, smss, cw, ecn, rec: Some(Recovery::new(una)), ..Conn::default() };
        this.set_times(r);
        this
    }

    fn set_times(&mut self, r: &mut Rnd) {
        self.srtt_us =
            [0, r.below(300_000) as u32, r.below(9_000) as u32, r.next_u64() as u32][r.below(4) as usize];
        self.rto_us = [200_000, 1_000_000, r.below(60_000_000) as u32][r.below(3) as usize];
    }

    fn rec(&self) -> Recovery {
        self.rec.expect("set by new")
    }

    /// A number that means something to the board, or a neighbour of it.
    fn point(&self, r: &mut Rnd) -> SeqNum {
        let ranges = self.loss.board.ranges();
        let any = |r: &mut Rnd| ranges[r.below(ranges.len() as u64) as usize];
        let segment = r.below(u64::from(self.snd.flight_size() / self.smss) + 1) as u32;
        let base = match r.below(8) {
            0 => self.snd.snd_una,
            1 => self.snd.snd_max,
            2 if !ranges.is_empty() => any(r).start,
            3 if !ranges.is_empty() => any(r).end,
            _ => self.snd.snd_una + segment * self.smss,
        };
        match r.below(24) {
            0 => base + 1,
            1 => base - 1,
            2 => base + r.below(3000) as u32,
            3 => base - r.below(3000) as u32,
            _ => base,
        }
    }

    fn blocks(&self, r: &mut Rnd) -> Vec<SeqRange> {
        let any = |r: &mut Rnd| match r.below(16) {
            0 => SeqRange { start: SeqNum(r.next_u64() as u32), end: SeqNum(r.next_u64() as u32) },
            1..=3 => SeqRange { start: self.point(r), end: self.point(r) },
            _ => SeqRange::new(self.point(r), (1 + r.below(3) as u32) * self.smss),
        };
        (0..r.below(5)).map(|_| any(r)).collect()
    }

    /// Time passes until something happens that the unit has to hear: the job, and what it has to answer.
    pub fn event(&mut self, r: &mut Rnd, now_us: &mut u32, conn: usize) -> (LossJob, Expected) {
        loop {
            *now_us = now_us.wrapping_add(pause_us(r));
            if r.chance(1, 16) {
                self.set_times(r);
            }
            if self.is_born && self.asked == 0 && r.chance(1, 3) {
                self.send(r, *now_us);
            } else if let Some(job) = self.try_event(r, *now_us, conn) {
                return job;
            }
        }
    }

    /// An answer came; the last one tells what holds.
    pub fn answered(&mut self, got: &LossResult) {
        self.asked -= 1;
        self.is_calm = self.asked == 0 && got.is_calm;
    }

    /// Something happens; `None`: the unit does not hear of it.
    fn try_event(&mut self, r: &mut Rnd, now_us: u32, conn: usize) -> Option<(LossJob, Expected)> {
        let mut result = AckResult::default();
        let (before, is_calm) = (*self, self.is_calm);
        let una = b(self.snd.snd_una.get());
        let mut job = LossJob { conn: b(conn as u32), from: una, ..LossJob::default() };
        let growth = self.grows(r, now_us);
        let kind = if !self.is_born || r.chance(1, 60) { 0 } else { 1 + r.below(12) };
        match kind {
            0 => self.hand_over(r, now_us, &mut job),
            1 if !is_calm => result = self.reorder_timer(now_us, &mut job),
            2 if r.chance(1, 4) => self.time_out(r, now_us, &mut job),
            3 | 4 if self.lost().is_some() => self.resend(now_us, &mut job),
            5 if r.chance(1, 3) => {
                job.kind = LossKind::WindowOpened;
                self.forget(self.snd.snd_una);
                self.loss.on_window_opened(&self.snd);
            }
            6 if r.chance(1, 2) => {
                (job.kind, job.flag) = (LossKind::Probe, r.chance(1, 2));
                self.forget(self.snd.snd_una);
                self.loss.on_probe(self.snd.snd_max, job.flag);
            }
            // PROTO says so with nothing in flight; the unit does the same at any time.
            7 if !is_calm && r.chance(1, 2) => {
                job.kind = LossKind::Rested;
                if let Control::Cubic(cubic) = &mut self.loss.control {
                    // The hand-over's: no reduction.
                    cubic.cwnd_prior = self.prior;
                }
                self.loss.control.on_idle(&mut self.cw, self.smss);
            }
            _ => result = self.acknowledge(r, now_us, &mut job),
        }
        let is_marked = self.hear(&mut job, &result);
        if is_calm && kind != 0 && job.kind == LossKind::Ack && job.count == 0 && !is_marked {
            return None;
        }
        self.is_fresh |= kind == 0;
        if kind == 0 && self.asked == 0 && self.finds_calm() {
            (self.is_born, self.is_calm, self.sent) = (true, true, 0);
            return None;
        }
        job.is_fresh = std::mem::take(&mut self.is_fresh);
        job.is_first = is_calm || kind == 0;
        job.rc = match (kind, is_calm) {
            (0, _) => recovery(&self.cw, &self.rec(), &self.ecn, (self.prior, self.epoch)),
            (_, true) => recovery(&before.cw, &before.rec(), &before.ecn, (before.prior, before.epoch)),
            // The unit has its own.
            _ => r.any(),
        };
        job.is_sack = true;
        (job.is_cubic, job.growth) = (self.is_cubic, if kind == 0 { growth } else { self.grown(growth) });
        job.log = log(&before.loss.rack.log, r);
        job.sent = b(std::mem::take(&mut self.sent));
        self.is_born = true;
        self.is_calm = false;
        self.asked += 1;
        let (job, expected) = self.finish(job, result, (now_us, &before));
        Some((job, Expected { reduced: (result.has_reduced || is_marked, is_marked), ..expected }))
    }

    /// What reduced the window, and what the peer echoes: true if a mark reduces it.
    fn hear(&mut self, job: &mut LossJob, result: &AckResult) -> bool {
        let (una, max, is_open) = (self.snd.snd_una, self.snd.snd_max, self.rec().phase == Phase::Open);
        if result.has_reduced || job.kind == LossKind::Rto {
            self.ecn.on_reduction(max);
        }
        self.ecn.advance(una);
        let is_marked = job.is_echo && is_open && self.ecn.on_ack(Flags::ECE, una, max);
        if is_marked {
            let at = self.at(job.now_us.to_u64() as u32);
            self.loss.on_mark(&at, &mut self.cw, &self.rec.expect("set by new"));
        }
        is_marked
    }

    /// What CUBIC's program says of a connection with CUBIC: its answer has come, the last one or one of an epoch before.
    fn grows(&mut self, r: &mut Rnd, now_us: u32) -> Growth {
        let Control::Cubic(cubic) = &mut self.loss.control else { return r.any() };
        let is_fresh = r.chance(3, 4);
        let segments = |r: &mut Rnd| [r.below(20), r.below(200), 1 << 16][r.below(3) as usize] as u32 * 1000;
        *cubic = Cubic { has_epoch: true, updated_us: now_us, est_sum: 0, ..*cubic };
        (cubic.per_increment, cubic.w_est) = if is_fresh {
            (segments(r), (self.cw.cwnd + r.below(4000) as u32).saturating_sub(2000))
        } else {
            (u32::MAX, 0)
        };
        let other = if is_fresh { 0 } else { 1 + r.below(63) as u32 };
        Growth {
            per_increment: if is_fresh { b(cubic.per_increment) } else { r.any() },
            w_est: r.any(),
            epoch: b((self.epoch + other) % 64),
        }
    }

    /// After the event: Reno's window as the core has it. A reduction ends the epoch.
    fn grown(&mut self, growth: Growth) -> Growth {
        let epoch_before = self.epoch;
        let Control::Cubic(cubic) = &self.loss.control else { return growth };
        if !cubic.has_epoch {
            (self.prior, self.epoch) = (cubic.cwnd_prior, (self.epoch + 1) % 64);
        }
        let is_fresh = n(growth.epoch) == epoch_before;
        Growth { w_est: if is_fresh { b(cubic.w_est) } else { growth.w_est }, ..growth }
    }

    /// A calm time ends: of the reports there were none, and of round trips the unit heard nothing.
    fn forget(&mut self, una_before: SeqNum) {
        if !self.is_calm {
            return;
        }
        let (old, flight) = (self.loss.rack, self.snd.flight_size());
        self.loss.rack = Rack {
            log: old.log,
            is_reordering_seen: old.is_reordering_seen,
            extra_mult: old.extra_mult,
            persist: old.persist,
            dsack_round: old.dsack_round.filter(|end| *end - self.snd.snd_una <= flight),
            ..Rack::default()
        };
        assert!(self.loss.board.is_empty() && !self.loss.tlp.is_outstanding);
        self.loss.tlp = Tlp::default();
        self.loss.board = Scoreboard::new(una_before);
    }

    /// Nothing that the unit knows of it counts any more.
    fn finds_calm(&self) -> bool {
        let (board, una) = (&self.loss.board, self.snd.snd_una);
        let is_open = self.rec().phase == Phase::Open && !self.loss.tlp.is_outstanding;
        is_open && board.is_empty() && board.lost_to().at_or_before(una)
    }

    /// RFC 8985 7.2: new text begins the wait for a probe.
    fn may_probe(&self) -> bool {
        let is_open = self.rec().phase == Phase::Open && !self.loss.tlp.is_outstanding;
        is_open && self.loss.board.is_empty()
    }

    fn lost(&self) -> Option<SeqRange> {
        self.loss.board.next_lost(&self.snd, self.smss)
    }

    fn at(&self, now_us: u32) -> Moment {
        Moment { snd: self.snd, smss: self.smss, srtt_us: self.srtt_us, now_us }
    }

    fn finish(&self, mut job: LossJob, result: AckResult, times: (u32, &Conn)) -> (LossJob, Expected) {
        let (now_us, before) = times;
        let ranges = |conn: &Conn| conn.loss.board.ranges().len() as u64;
        job.una = b(self.snd.snd_una.get());
        job.max = b(self.snd.snd_max.get());
        job.smss = b(self.smss);
        job.srtt_us = b(self.srtt_us);
        job.rto_us = b(self.rto_us);
        job.now_us = b(now_us);
        let rec = self.rec();
        let expected = Expected {
            conn: job.conn.index(),
            una: self.snd.snd_una,
            loss: self.loss,
            cw: self.cw,
            rec,
            result,
            timer: self.loss.timer(&self.at(now_us), &rec, result.wait_us, self.rto_us),
            lost: self.lost(),
            may_resend: self.loss.next_resend(&self.snd, &self.cw, self.smss).is_some(),
            has_moved: match job.kind {
                LossKind::Ack => job.from != job.una,
                kind => kind == LossKind::Resend && job.from == job.una,
            },
            edge: (self.snd.snd_max + self.loss.room(&self.snd, &self.cw)).get(),
            is_calm: self.finds_calm(),
            may_probe: self.may_probe(),
            prior: self.prior,
            prior_before: if job.kind == LossKind::HandedOver { self.prior } else { before.prior },
            epoch: self.epoch,
            ecn: self.ecn,
            reduced: (false, false),
            was_fast: before.is_born && before.rec().phase == Phase::FastRecovery,
            ranges: (ranges(before), ranges(self)),
        };
        (job, expected)
    }

    fn hand_over(&mut self, r: &mut Rnd, now_us: u32, job: &mut LossJob) {
        let phase = [Phase::Open, Phase::Open, Phase::FastRecovery, Phase::RtoRecovery][r.below(4) as usize];
        let ssthresh = [MAX_CWND, r.below(200_000) as u32, 0][r.below(3) as usize];
        self.cw =
            Cwnd { cwnd: self.smss + r.below(300_000) as u32, ssthresh, acked_sum: r.below(9000) as u32 };
        self.snd.snd_max += r.below(2) as u32 * r.below(100_000) as u32;
        let mut rec = Recovery { phase, recover: self.point(r), dup_acks: r.below(4) as u8 };
        self.ecn = Ecn::load(true, r.below(8) as u8, self.snd.snd_una, &mut rec);
        self.rec = Some(rec);
        let from = match r.below(3) {
            0 => self.snd.snd_max,
            1 => self.snd.snd_una,
            _ => self.snd.snd_una + r.below(u64::from(self.snd.flight_size()) + 1) as u32,
        };
        job.kind = LossKind::HandedOver;
        job.from = b(from.get());
        job.flag = r.chance(1, 4);
        self.is_cubic = r.chance(1, 2);
        if self.is_cubic {
            // A window of nothing, Reno's would be larger.
            self.cw.ssthresh = self.cw.ssthresh.max(self.smss);
        }
        (self.prior, self.epoch) = (r.below(1 << 30) as u32, r.below(64) as u32);
        let control = Control::new(if self.is_cubic { Algorithm::Cubic } else { Algorithm::NewReno });
        let loss = LossRecovery::handed_over(&self.at(now_us), control, &self.cw, phase, from);
        self.loss = loss.without_hystart();
        if job.flag {
            let first = self.smss.min(self.snd.flight_size());
            self.loss.board.mark_lost_to(self.snd.snd_una + first);
        }
    }

    fn send(&mut self, r: &mut Rnd, now_us: u32) {
        if self.snd.flight_size() >= 1 << 26 {
            return;
        }
        let len = [1, self.smss, r.below(3000) as u32][r.below(3) as usize];
        self.snd.snd_max += len;
        self.snd.snd_nxt = self.snd.snd_max;
        self.sent += len;
        self.loss.on_send(&self.at(now_us), &self.rec(), len);
    }

    fn resend(&mut self, now_us: u32, job: &mut LossJob) {
        let part = self.lost().expect("asked before");
        job.kind = LossKind::Resend;
        (job.from, job.to) = (b(part.start.get()), b(part.end.get()));
        self.loss.on_resend(&self.rec(), part, now_us);
    }

    fn time_out(&mut self, r: &mut Rnd, now_us: u32, job: &mut LossJob) {
        (job.kind, job.flag) = (LossKind::Rto, r.chance(1, 2));
        self.forget(self.snd.snd_una);
        let (at, mut rec) = (self.at(now_us), self.rec());
        if let Control::Cubic(cubic) = &mut self.loss.control {
            // The hand-over's, if this is no reduction.
            cubic.cwnd_prior = self.prior;
        }
        self.loss.on_rto(&at, &mut self.cw, &mut rec, job.flag);
        self.rec = Some(rec);
    }

    fn reorder_timer(&mut self, now_us: u32, job: &mut LossJob) -> AckResult {
        job.kind = LossKind::Ack;
        job.threshold = b(3);
        let (at, mut rec) = (self.at(now_us), self.rec());
        let result = self.loss.on_reorder_timer(&at, &mut self.cw, &mut rec, 3);
        self.rec = Some(rec);
        result
    }

    fn acknowledge(&mut self, r: &mut Rnd, now_us: u32, job: &mut LossJob) -> AckResult {
        let blocks = self.blocks(r);
        job.is_echo = self.smss != 1000 && r.chance(1, 4);
        let una_before = self.snd.snd_una;
        let ack = self.point(r);
        if r.chance(1, 2) && ack.after(una_before) && ack.at_or_before(self.snd.snd_max) {
            self.snd.snd_una = ack;
        }
        let (mut ecn, una) = (self.ecn, self.snd.snd_una);
        let is_marked = job.is_echo && ecn.on_ack(Flags::ECE, una, self.snd.snd_max);
        if !self.is_calm || !blocks.is_empty() || is_marked {
            self.forget(una_before);
        }
        let dup_threshold = [1, 2, 3, 3, 3, 255][r.below(6) as usize];
        let rtt_us =
            [Some(r.below(200_000) as u32), Some(r.next_u64() as u32), None, None][r.below(4) as usize];
        job.kind = LossKind::Ack;
        job.from = b(una_before.get());
        job.flag = r.chance(1, 2);
        job.count = (blocks.len() as u64).into();
        job.blocks = r.uniform();
        for (i, block) in blocks.iter().enumerate() {
            job.blocks = job.blocks.set_pair(i, block);
        }
        (job.has_rtt, job.rtt_us) = (rtt_us.is_some(), b(rtt_us.unwrap_or(0)));
        job.threshold = b(dup_threshold.into());
        let (at, mut rec) = (self.at(now_us), self.rec());
        let (is_duplicate, echo_ms) = (job.flag, None);
        let event = AckEvent { una_before, blocks: &blocks, is_duplicate, rtt_us, echo_ms, dup_threshold };
        let result = self.loss.on_ack(&at, &mut self.cw, &mut rec, &event);
        self.rec = Some(rec);
        result
    }
}

/// The log as the pipeline has it: newest first, and old entries behind.
fn log(core: &SendLog, r: &mut Rnd) -> k::SendLog {
    let mut all: [k::Burst; 4] = std::array::from_fn(|_| r.any());
    for (here, burst) in all.iter_mut().zip(core.bursts().iter().rev()) {
        *here = k::Burst { end: b(burst.end.get()), start_us: b(burst.start_us) };
    }
    let [b0, b1, b2, b3] = all;
    let (floor, len) = (b(core.floor.get()), (core.bursts().len() as u64).into());
    k::SendLog { b0, b1, b2, b3, floor, len, is_split: core.is_split }
}

trait Blocks {
    fn set_pair(self, i: usize, r: &SeqRange) -> Self;
}

impl Blocks for Bits<256> {
    fn set_pair(self, i: usize, r: &SeqRange) -> Self {
        let pair = u64::from(r.end.get()) << 32 | u64::from(r.start.get());
        (0..64).fold(self, |all, k| all.replace_bit(64 * i + k, pair >> k & 1 == 1))
    }
}

impl Expected {
    /// The answer is right, and so is what the unit stores.
    pub fn compare(&self, got: &LossResult, record: &Record, job: &str) {
        assert_eq!(got.conn.index(), self.conn, "{job}");
        let want = recovery(&self.cw, &self.rec, &self.ecn, (self.prior, self.epoch));
        // In phase Open it means nothing without the other.
        let is_idle = want.phase == b(Phase::Open.code().into()) && !want.reduced;
        let recover = if is_idle { want.recover } else { got.rc.recover };
        let prior = if got.has_prior { got.rc.prior } else { b(self.prior_before) };
        assert_eq!(kw::Recovery { recover, prior, ..got.rc }, want, "{job}");
        assert_eq!((got.has_reduced, got.is_marked), self.reduced, "{job}");
        assert_eq!((got.has_entered, got.has_news), (self.result.has_entered, self.result.has_news), "{job}");
        let kind = match self.timer.0 {
            TimerKind::Rto => LossTimer::Rto,
            TimerKind::Probe => LossTimer::Probe,
            TimerKind::Reorder => LossTimer::Reorder,
        };
        assert_eq!((got.timer, n(got.timer_us)), (kind, self.timer.1), "{job}");
        let got_ends = (got.has_moved, n(got.edge), got.is_calm, got.may_probe);
        assert_eq!(got_ends, (self.has_moved, self.edge, self.is_calm, self.may_probe), "{job}");
        let lost = got.has_lost.then(|| SeqRange::new(SeqNum(n(got.lost)), n(got.lost_len)));
        assert_eq!((lost, got.has_lost && got.has_room), (self.lost, self.may_resend), "{job}");
        self.compare_board(record, job);
        self.compare_rest(record, job);
    }

    fn compare_board(&self, record: &Record, job: &str) {
        let core = &self.loss.board;
        let len = core.ranges().len();
        let mut hole_start = self.una;
        let got: u32 = record.lanes[..record.len].iter().map(|l| l.1.wrapping_sub(l.0)).sum();
        assert_eq!((record.len, got), (len, core.sacked_bytes()), "{job}");
        for (i, (range, hole)) in core.ranges().iter().zip(core.holes()).enumerate() {
            // Below the hole it only says that nothing of that was sent again; the unit keeps its start.
            let rxt_end = hole.rxt_end.later(hole_start);
            let want = (range.start.get(), range.end.get(), rxt_end.get(), hole.rxt_us, hole.is_lost);
            assert_eq!(record.lanes[i], want, "lane {i} {job}");
            hole_start = range.end;
        }
        let tail = core.holes()[len];
        assert_eq!(record.tail, (tail.rxt_end.get(), tail.rxt_us, core.lost_to().get()), "tail {job}");
    }

    fn compare_rest(&self, record: &Record, job: &str) {
        let c = &self.loss.rack;
        let want = (c.xmit_us, c.rtt_us, c.min_rtts_us, c.is_odd_window, c.is_reordering_seen);
        assert_eq!(record.rack, want, "{job}");
        let want = (c.extra_mult.into(), c.persist.into(), c.dsack_round.map(SeqNum::get));
        assert_eq!(record.dsacks, want, "{job}");
        let c = &self.loss.prr;
        assert_eq!(record.prr, (c.delivered, c.out, c.rate), "{job}");
        let c = &self.loss.tlp;
        assert_eq!(record.tlp, (c.is_outstanding, c.end.get(), c.is_resent), "{job}");
    }
}
