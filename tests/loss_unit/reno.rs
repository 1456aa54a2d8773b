//! The program of the unit for connections without SACK, in plain Rust against `Recovery` of the core: NewReno, limited transmit, timeouts,
//! marks.

use super::model::pause_us;
use super::program::{answer, inputs};
use super::{b, n};
use chimney_abi::state::ECN_REDUCED;
use chimney_abi::SeqNum;
use chimney_hdl::micro::machine::Machine;
use chimney_hdl::tcp::cwnd as kw;
use chimney_hdl::tcp::loss::code::program;
use chimney_hdl::tcp::loss::job::{LossJob, LossKind, LossResult, LossTimer};
use chimney_hdl::tcp::loss::words::WORDS;
use chimney_hdl_kernel::diff::{long, Rnd};
use chimney_host_stack_core::ack::SendVars;
use chimney_host_stack_core::cwnd::{initial_window, Cwnd, MAX_CWND};
use chimney_host_stack_core::ecn::Ecn;
use chimney_host_stack_core::recovery::{
    DupAckAction, GrowthStep, NewAckAction, Phase, Recovery, SackView, DUP_ACK_THRESHOLD,
};
use chimney_host_stack_core::scoreboard::SeqRange;
use chimney_host_stack_core::segment::Flags;
use std::collections::BTreeMap;

/// Connections.
const CONNS: usize = 8;

/// A connection of the core; `snd_nxt` goes back where the unit has lost text.
#[derive(Clone, Copy, Debug)]
struct Conn {
    is_born: bool,
    /// What the unit knows is another connection's.
    is_fresh: bool,
    /// The unit hears nothing of it.
    is_calm: bool,
    cw: Cwnd,
    rec: Recovery,
    snd: SendVars,
    /// The segment at SND.UNA is lost, and nothing else is.
    first: bool,
    /// Some of the bytes up to here were lost.
    lost_to: SeqNum,
    smss: u32,
    rto_us: u32,
    ecn: Ecn,
}

/// What an event did, as the answer says it.
#[derive(Clone, Copy, Debug, Default)]
struct Did {
    entered: bool,
    marked: bool,
    moved: bool,
    /// Enough duplicates came, but the window of data is that of the last recovery.
    held: bool,
}

impl Conn {
    fn new(r: &mut Rnd) -> Conn {
        let una = SeqNum([r.next_u64() as u32, u32::MAX - r.below(200_000) as u32][r.below(2) as usize]);
        let smss = [536, 1000, 1448, 8960][r.below(4) as usize];
        let mut ecn = Ecn::default();
        ecn.is_on = true;
        Conn {
            is_born: false,
            is_fresh: true,
            is_calm: false,
            cw: Cwnd { cwnd: (1 + r.below(60) as u32) * smss, ssthresh: MAX_CWND, acked_sum: 0 },
            rec: Recovery::new(una - 1),
            snd: SendVars { snd_una: una, snd_nxt: una, snd_max: una, ..SendVars::default() },
            first: false,
            lost_to: una,
            smss,
            rto_us: 1 + r.below(60_000_000) as u32,
            ecn,
        }
    }

    fn flight(&self) -> u32 {
        self.snd.flight_size()
    }

    fn variables(&self) -> kw::Recovery {
        let (bits, recover) = self.ecn.store(&self.rec, self.rec.recover);
        let cw = kw::Cwnd {
            cwnd: b(self.cw.cwnd),
            ssthresh: b(self.cw.ssthresh),
            acked_sum: b(self.cw.acked_sum),
        };
        kw::Recovery {
            cw,
            phase: b(self.rec.phase.code().into()),
            recover: b(recover.get()),
            reduced: bits & ECN_REDUCED != 0,
            dup_acks: b(self.rec.dup_acks.into()),
            ..kw::Recovery::default()
        }
    }

    /// The lost bytes that go next, at most a segment.
    fn lost(&self) -> Option<SeqRange> {
        if self.snd.snd_nxt.before(self.snd.snd_max) {
            let left = self.snd.snd_max - self.snd.snd_nxt;
            Some(SeqRange::new(self.snd.snd_nxt, left.min(self.smss)))
        } else {
            (self.first && self.flight() > 0)
                .then(|| SeqRange::new(self.snd.snd_una, self.flight().min(self.smss)))
        }
    }

    /// The segment at SND.UNA counts as lost; who goes back already begins again.
    fn lose_first(&mut self) {
        if self.snd.snd_nxt.before(self.snd.snd_max) {
            self.snd.snd_nxt = self.snd.snd_una;
        } else {
            self.lost_to = self.snd.snd_una + self.flight().min(self.smss);
            self.first = true;
        }
    }

    fn go_back(&mut self) {
        (self.snd.snd_nxt, self.lost_to, self.first) = (self.snd.snd_una, self.snd.snd_max, false);
    }

    fn finds_calm(&self) -> bool {
        let has_lost = self.lost_to.after(self.snd.snd_una);
        self.rec.phase == Phase::Open && self.rec.dup_acks == 0 && !has_lost
    }

    /// Something happens that the unit hears of.
    fn event(&mut self, r: &mut Rnd, now_us: &mut u32, conn: usize) -> (LossJob, Did) {
        loop {
            *now_us = now_us.wrapping_add(pause_us(r));
            let before = *self;
            let mut job = LossJob { conn: b(conn as u32), ..LossJob::default() };
            job.from = b(self.snd.snd_una.get());
            let kind = if !self.is_born || r.chance(1, 100) { 0 } else { 1 + r.below(16) };
            let did = match kind {
                0 => self.hand_over(r, &mut job),
                1 if r.chance(1, 4) => self.time_out(r, &mut job),
                2 if r.chance(1, 4) => {
                    job.kind = LossKind::WindowOpened;
                    self.go_back();
                    Did::default()
                }
                3 if self.flight() == 0 && !self.is_calm => {
                    job.kind = LossKind::Rested;
                    self.cw.cwnd = self.cw.cwnd.min(initial_window(self.smss));
                    self.cw.acked_sum = 0;
                    Did::default()
                }
                4..=7 if self.lost().is_some() => self.resend(&mut job),
                8..=10 if self.lost().is_none() && self.flight() < 1 << 26 => {
                    self.snd.snd_max += self.smss;
                    self.snd.snd_nxt = self.snd.snd_max;
                    continue;
                }
                _ => self.acknowledge(r, &mut job),
            };
            let says = job.kind != LossKind::Ack || job.flag || did.marked;
            self.is_fresh |= kind == 0;
            if self.is_calm && kind != 0 && !says || kind == 0 && self.finds_calm() {
                (self.is_born, self.is_calm) = (true, true);
                continue;
            }
            job.is_fresh = std::mem::take(&mut self.is_fresh);
            job.is_first = kind == 0 || self.is_calm;
            job.rc = if kind == 0 { self.variables() } else { before.variables() };
            if !job.is_first {
                // The unit has its own.
                job.rc = r.any();
            }
            (job.log, job.growth, job.blocks) = (r.any(), r.any(), r.any());
            (job.una, job.max) = (b(self.snd.snd_una.get()), b(self.snd.snd_max.get()));
            (job.smss, job.rto_us, job.srtt_us) = (b(self.smss), b(self.rto_us), r.any());
            job.now_us = b(*now_us);
            (self.is_born, self.is_calm) = (true, false);
            return (job, did);
        }
    }

    fn hand_over(&mut self, r: &mut Rnd, job: &mut LossJob) -> Did {
        self.snd.snd_max = self.snd.snd_una + r.below(40) as u32 * self.smss;
        self.snd.snd_nxt = match r.below(3) {
            0 => self.snd.snd_una + r.below(u64::from(self.flight()) + 1) as u32,
            _ => self.snd.snd_max,
        };
        let phase = [Phase::Open, Phase::Open, Phase::FastRecovery, Phase::RtoRecovery][r.below(4) as usize];
        // A recovery that goes on has reduced the window.
        let bits = r.below(8) as u8 | if phase == Phase::Open { 0 } else { ECN_REDUCED };
        // In phase Open it is a mark's.
        let is_ahead = phase != Phase::Open || bits & ECN_REDUCED != 0;
        let recover = self.snd.snd_una + if is_ahead { r.below(2) as u32 * self.flight() } else { 0 };
        self.rec = Recovery { phase, recover, dup_acks: r.below(4) as u8 };
        self.ecn = Ecn::load(true, bits, self.snd.snd_una, &mut self.rec);
        self.cw = Cwnd {
            cwnd: self.smss + r.below(300_000) as u32,
            ssthresh: [MAX_CWND, r.below(200_000) as u32][r.below(2) as usize],
            acked_sum: r.below(9000) as u32,
        };
        // Outside of recovery nobody owes it.
        let is_fast = phase == Phase::FastRecovery;
        self.first = is_fast && r.chance(1, 2) && self.flight() > 0 && self.snd.snd_nxt == self.snd.snd_max;
        self.lost_to = self.snd.snd_una;
        (job.kind, job.flag, job.from) = (LossKind::HandedOver, self.first, b(self.snd.snd_nxt.get()));
        if self.first {
            self.lose_first();
        } else if self.snd.snd_nxt.before(self.snd.snd_max) {
            self.lost_to = self.snd.snd_max;
        }
        Did::default()
    }

    fn time_out(&mut self, r: &mut Rnd, job: &mut LossJob) -> Did {
        (job.kind, job.flag) = (LossKind::Rto, r.chance(1, 2));
        self.rec.on_rto(&self.snd, &mut self.cw, self.smss, job.flag);
        // Nothing grows between two of them.
        self.cw.acked_sum = 0;
        self.ecn.on_reduction(self.snd.snd_max);
        self.go_back();
        Did::default()
    }

    fn resend(&mut self, job: &mut LossJob) -> Did {
        let part = self.lost().expect("asked before");
        job.kind = LossKind::Resend;
        (job.from, job.to) = (b(part.start.get()), b(part.end.get()));
        let moved = part.start == self.snd.snd_una;
        if self.snd.snd_nxt.before(self.snd.snd_max) {
            self.snd.snd_nxt = part.end;
        } else {
            self.first = false;
        }
        Did { moved, ..Did::default() }
    }

    fn acknowledge(&mut self, r: &mut Rnd, job: &mut LossJob) -> Did {
        let (una, flight) = (self.snd.snd_una, self.flight());
        let mut did = Did::default();
        (job.kind, job.is_echo) = (LossKind::Ack, self.smss != 1000 && r.chance(1, 4));
        let segments = u64::from(flight / self.smss) + 1;
        let acked = (r.below(segments) as u32 + 1) * self.smss - r.below(2) as u32 * r.below(500) as u32;
        if flight > 0 && r.chance(1, 3) {
            did.moved = true;
            self.progress(acked.clamp(1, flight), flight);
        } else if flight > 0 && r.chance(9, 10) {
            job.flag = true;
            let threshold = [1, 2, DUP_ACK_THRESHOLD, DUP_ACK_THRESHOLD, u8::MAX][r.below(5) as usize];
            job.threshold = b(threshold.into());
            let is_open = self.rec.phase == Phase::Open;
            did.entered = self.duplicate(threshold);
            did.held = is_open && !did.entered && self.rec.dup_acks >= threshold;
        }
        self.ecn.advance(self.snd.snd_una);
        let (una_now, max) = (self.snd.snd_una, self.snd.snd_max);
        let is_open = self.rec.phase == Phase::Open;
        did.marked = job.is_echo && is_open && self.ecn.on_ack(Flags::ECE, una_now, max);
        if did.marked {
            self.cw.reduce_ssthresh(self.flight(), self.smss);
            self.cw.cwnd = self.cw.ssthresh;
        }
        job.from = b(una.get());
        did
    }

    fn progress(&mut self, acked: u32, flight: u32) {
        let (una, was_fast) = (self.snd.snd_una, self.rec.phase == Phase::FastRecovery);
        let is_one = self.lost_to.at_or_before(una + self.smss);
        let waits = is_one && (self.first || self.snd.snd_nxt == una);
        self.snd.snd_una += acked;
        self.snd.snd_nxt = self.snd.snd_nxt.later(self.snd.snd_una);
        self.lost_to = self.lost_to.later(self.snd.snd_una);
        let step = GrowthStep { smss: self.smss, is_sack: false };
        let action = self.rec.on_new_ack(&self.snd, &mut self.cw, acked, flight, step);
        // A segment that waits for being sent again does not any more.
        if was_fast && action == NewAckAction::Done && waits {
            (self.lost_to, self.snd.snd_nxt) = (self.snd.snd_una, self.snd.snd_max);
        }
        self.first = false;
        if action == NewAckAction::RetransmitFirst {
            self.lose_first();
        }
    }

    /// True if recovery begins. The threshold of the core is the usual one: with another the caller counts, as the golden model does.
    fn duplicate(&mut self, threshold: u8) -> bool {
        let count = self.rec.dup_acks.saturating_add(1);
        if self.rec.phase == Phase::Open && count < threshold {
            self.rec.dup_acks = count;
            return false;
        }
        let reached = SackView { is_enabled: false, first_is_lost: true };
        let action = self.rec.on_dup_ack(&self.snd, &mut self.cw, self.smss, reached);
        if action == DupAckAction::FastRetransmit {
            self.ecn.on_reduction(self.snd.snd_max);
            self.lose_first();
        }
        action == DupAckAction::FastRetransmit
    }

    fn compare(&self, job: &LossJob, did: Did, got: &LossResult, text: &str) {
        let want = self.variables();
        let is_idle = want.phase == b(Phase::Open.code().into()) && !want.reduced;
        let recover = if is_idle { want.recover } else { got.rc.recover };
        let rc = kw::Recovery { recover, prior: want.prior, epoch: want.epoch, ..got.rc };
        assert_eq!(rc, want, "{text}");
        let reduced = did.entered || did.marked;
        let told = (got.has_entered, got.is_marked, got.has_reduced, got.has_moved);
        assert_eq!(told, (did.entered, did.marked, reduced, did.moved), "{text}");
        assert_eq!((got.timer, n(got.timer_us)), (LossTimer::Rto, self.rto_us), "{text}");
        assert_eq!((got.is_calm, got.may_probe), (self.finds_calm(), false), "{text}");
        let lost = got.has_lost.then(|| SeqRange::new(SeqNum(n(got.lost)), n(got.lost_len)));
        assert_eq!(lost, self.lost(), "{text}");
        let limit = self.rec.send_limit(&self.cw, self.smss);
        match lost {
            Some(part) => {
                let ahead = part.start - self.snd.snd_una;
                assert_eq!(got.has_room, ahead == 0 || ahead + part.len() <= limit, "{text}");
            }
            None => {
                let room = limit.saturating_sub(self.flight());
                assert_eq!(n(got.edge), (self.snd.snd_max + room).get(), "{text}");
            }
        }
        assert!(!got.has_prior && n(got.conn) == n(job.conn), "{text}");
    }
}

/// RFC 6582, RFC 3042, RFC 5681, RFC 3168.
///
/// Verifies
#[test]
fn without_sack_the_program_decides_as_the_core_does() {
    let mut r = Rnd::new(Rnd::seed_for("loss_reno"));
    let jobs = if long() { 1_000_000 } else { 50_000 };
    let mut machine = Machine::new(&program());
    let mut records = [[0; WORDS]; CONNS];
    let mut now_us = r.next_u64() as u32;
    let mut conns: Vec<Conn> = (0..CONNS).map(|_| Conn::new(&mut r)).collect();
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    let mut slowest: BTreeMap<String, u64> = BTreeMap::new();
    for count in 0..jobs {
        let conn = r.below(CONNS as u64) as usize;
        let (job, did) = conns[conn].event(&mut r, &mut now_us, conn);
        machine.state = records[conn];
        let clocks = machine.run(&inputs(&job));
        let text = format!("{count}: {job:x?} {:x?} {:?}", records[conn], conns[conn]);
        records[conn] = machine.state;
        let got = answer(&job, &machine.outputs);
        conns[conn].compare(&job, did, &got, &text);
        conns[conn].is_calm = got.is_calm;
        for what in [
            format!("{:?}", job.kind),
            format!("{:?} entered {}", conns[conn].rec.phase, got.has_entered),
            format!("first {} calm {}", job.is_first, got.is_calm),
            format!("lost {} room {}", got.has_lost, got.has_room),
            format!("marked {}", got.is_marked),
            format!("held {}", did.held),
        ] {
            *seen.entry(what).or_default() += 1;
        }
        let most = slowest.entry(format!("{:?}", job.kind)).or_default();
        *most = clocks.max(*most);
    }
    eprintln!("{seen:?}\nslowest, clocks: {slowest:?}");
    let wanted = [
        "Rested",
        "WindowOpened",
        "HandedOver",
        "FastRecovery entered true",
        "RtoRecovery entered false",
        "lost true room false",
        "marked true",
        "held true",
        "first true calm true",
        "first false calm true",
    ];
    for what in wanted {
        assert!(seen.get(what).is_some_and(|count| *count >= 100), "{what} did not happen");
    }
}
