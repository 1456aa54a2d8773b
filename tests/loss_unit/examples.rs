//! The examples of the RFCs, through the unit.

use super::{b, n, record, Unit};
use chimney_hdl::prelude::Bits;
use chimney_hdl::tcp::cwnd::{Cwnd, Recovery, PHASE_FAST, PHASE_OPEN, PHASE_RTO};
use chimney_hdl::tcp::loss::job::{LossJob, LossKind, LossResult, LossTimer};
use chimney_hdl::tcp::loss::rack::{advance, limit, on_send, spacing, SendLog};
use chimney_hdl_kernel::diff::Bench;

const SMSS: u32 = 1000;
const RTT_US: u32 = 100_000;

/// A connection that the unit knows, and the unit.
struct Sender<C> {
    unit: Bench<Unit, C>,
    una: u32,
    max: u32,
    now_us: u32,
    rto_us: u32,
    rc: Recovery,
    is_calm: bool,
    /// Bytes sent since the last job.
    sent: u32,
    log: SendLog,
}

fn sender(segments: u32) -> Sender<impl FnMut(&mut Unit, bool)> {
    let cwnd = b(segments * SMSS);
    let rc = Recovery { cw: Cwnd { cwnd, ssthresh: cwnd, ..Cwnd::default() }, ..Recovery::default() };
    let unit = Bench::new(Unit::default(), |u: &mut Unit, clk: bool| u.clock.next = clk.into());
    let mut s = Sender {
        unit,
        una: 0,
        max: 0,
        now_us: 5_000_000,
        rto_us: 300_000,
        rc,
        is_calm: true,
        sent: 0,
        log: SendLog::default(),
    };
    s.unit.cycle(|u| u.reset.next = true);
    s.unit.cycle(|u| u.reset.next = false);
    s.tell(LossJob { kind: LossKind::HandedOver, ..LossJob::default() });
    for _ in 0..segments {
        s.send();
        s.now_us += 1000;
    }
    s.now_us += RTT_US - segments * 1000;
    s
}

impl<C: FnMut(&mut Unit, bool)> Sender<C> {
    /// A job, and its answer.
    fn tell(&mut self, job: LossJob) -> LossResult {
        let job = LossJob {
            una: b(self.una),
            max: b(self.max),
            smss: b(SMSS),
            srtt_us: b(RTT_US),
            rto_us: b(self.rto_us),
            now_us: b(self.now_us),
            threshold: b(3),
            rc: self.rc,
            is_first: self.is_calm,
            is_fresh: job.kind == LossKind::HandedOver,
            sent: b(std::mem::take(&mut self.sent)),
            log: self.log,
            is_sack: true,
            ..job
        };
        self.unit.cycle(|u| {
            u.job.next = job;
            u.job_valid.next = true;
            u.result_ready.next = false;
        });
        while !self.unit.u.result_valid.val() {
            self.unit.cycle(|_| {});
        }
        let result = self.unit.u.result.val();
        self.unit.cycle(|u| u.result_ready.next = true);
        self.unit.cycle(|u| u.job_valid.next = false);
        let prior = if result.has_prior { result.rc.prior } else { job.rc.prior };
        let result = LossResult { rc: Recovery { prior, ..result.rc }, ..result };
        (self.rc, self.is_calm) = (result.rc, result.is_calm);
        self.log = advance(self.log, b(self.una));
        result
    }

    /// A segment of new text: the unit hears of it with the next event.
    fn send(&mut self) {
        self.max += SMSS;
        self.sent += SMSS;
        let now = limit(b(self.now_us & 0xff_ffff));
        self.log = on_send(self.log, b(self.max), now, spacing(limit(b(RTT_US))));
    }

    /// What a kind of job that needs no more says.
    fn event(&mut self, kind: LossKind, flag: bool) -> LossResult {
        self.tell(LossJob { kind, flag, from: b(self.una), ..LossJob::default() })
    }

    /// An acknowledgment a millisecond later, with at most one block.
    fn ack(&mut self, una: u32, block: Option<(u32, u32)>) -> LossResult {
        self.now_us += 1000;
        let (from, is_duplicate) = (b(self.una), una == self.una);
        self.una = una;
        let (start, end) = block.unwrap_or_default();
        let blocks: Bits<64> = (u64::from(end) << 32 | u64::from(start)).into();
        self.tell(LossJob {
            kind: LossKind::Ack,
            from,
            flag: is_duplicate,
            count: u64::from(block.is_some()).into(),
            blocks: chimney_hdl::prelude::bit_cast::<256, 64>(blocks),
            has_rtt: !is_duplicate,
            rtt_us: b(RTT_US),
            ..LossJob::default()
        })
    }

    /// An acknowledgment that echoes a mark.
    fn echo(&mut self, una: u32) -> LossResult {
        let from = b(self.una);
        self.una = una;
        self.tell(LossJob { kind: LossKind::Ack, from, is_echo: true, ..LossJob::default() })
    }

    /// Ranges known above SND.UNA.
    fn ranges(&self) -> usize {
        record(&self.unit.u, 0).len
    }

    /// What is lost is sent again, as far as the window lets it.
    fn resend(&mut self, mut at: LossResult) -> Vec<(u32, u32)> {
        let mut sent = vec![];
        while at.has_lost && at.has_room {
            let (from, to) = (n(at.lost), n(at.lost) + n(at.lost_len));
            sent.push((from, to));
            at =
                self.tell(LossJob { kind: LossKind::Resend, from: b(from), to: b(to), ..LossJob::default() });
            self.log.is_split = true;
        }
        sent
    }
}

/// RFC 6675 5, RFC 3042: two reports let new text go, the third begins recovery; the first hole is sent again.
#[test]
fn three_reports_begin_a_recovery_that_a_full_acknowledgment_ends() {
    let mut s = sender(10);
    for count in 1..=2 {
        let at = s.ack(0, Some((1000, 1000 + count * SMSS)));
        assert!(!at.has_entered && !at.has_lost);
        assert_eq!(n(at.edge), 10_000 + count * SMSS, "reported segments have left the network");
    }
    let at = s.ack(0, Some((1000, 4000)));
    assert!(at.has_entered);
    assert_eq!(
        (n(at.rc.cw.ssthresh), n(at.rc.recover)),
        (5000, 10_000),
        "10 segments, the reported ones among them"
    );
    assert_eq!(s.resend(at), [(0, 1000)]);
    let at = s.ack(10_000, None);
    assert_eq!((at.rc.phase, n(at.rc.cw.cwnd), at.is_calm), (PHASE_OPEN.into(), 5000, true));
    assert_eq!(n(at.edge), 15_000);
}

/// RFC 8985 6.3: fewer than three reports, so only the time says it.
#[test]
fn a_short_flight_waits_a_quarter_of_the_round_trip_and_then_repairs() {
    let mut s = sender(3);
    let at = s.ack(1000, Some((2000, 3000)));
    assert_eq!((at.timer, at.has_lost), (LossTimer::Reorder, false));
    let us = n(at.timer_us);
    assert!((20_000..60_000).contains(&us), "{us}");
    s.now_us += us;
    let at = s.ack(1000, None);
    assert!(at.has_entered);
    assert_eq!(s.resend(at), [(1000, 2000)]);
}

/// RFC 8985 6.2: what was sent again is lost too when something sent later arrives; no second reduction.
#[test]
fn a_lost_retransmission_is_sent_again() {
    let mut s = sender(10);
    s.ack(0, Some((1000, 3000)));
    let at = s.ack(0, Some((1000, 4000)));
    assert_eq!(s.resend(at), [(0, 1000)]);
    s.now_us += 2000;
    s.send();
    let ssthresh = s.rc.cw.ssthresh;
    s.now_us += RTT_US;
    let at = s.ack(0, Some((1000, 11_000)));
    assert_eq!(s.resend(at), [(0, 1000)]);
    assert_eq!((s.rc.cw.ssthresh, s.rc.phase), (ssthresh, PHASE_FAST.into()));
}

/// RFC 8985 6.2 step 3: only what was never sent again shows reordering.
#[test]
fn what_was_sent_again_shows_no_reordering() {
    let mut s = sender(10);
    let at = s.ack(0, Some((1000, 4000)));
    assert_eq!(s.resend(at), [(0, 1000)]);
    s.now_us += 2000;
    s.send();
    s.now_us += RTT_US;
    let at = s.ack(0, Some((1000, 11_000)));
    assert!(at.has_lost && n(at.lost) == 0, "lost again");
    s.ack(11_000, None);
    assert!(!record(&s.unit.u, 0).rack.4);
    // What is sent from here on has nothing to do with it.
    (0..3).for_each(|_| s.send());
    s.ack(11_000, Some((12_000, 13_000)));
    s.ack(13_000, None);
    assert!(record(&s.unit.u, 0).rack.4);
}

/// RFC 8985 7.2: PTO = min(PTO, time until the RTO).
#[test]
fn a_probe_that_would_come_after_the_timeout_takes_its_place() {
    let mut s = sender(5);
    // The unit hears of it because of the block.
    s.ack(1000, Some((2000, 3000)));
    s.rto_us = 2 * RTT_US - 1;
    let at = s.ack(3000, None);
    assert_eq!((at.timer, n(at.timer_us)), (LossTimer::Probe, s.rto_us));
    let at = s.event(LossKind::Probe, true);
    assert_eq!((at.timer, n(at.timer_us)), (LossTimer::Rto, s.rto_us), "then the timeout");
}

/// RFC 8985 7.4.2: the probe filled a hole that nobody had noticed; the window falls.
#[test]
fn a_probe_that_repaired_a_loss_halves_the_window() {
    let mut s = sender(10);
    assert!(!s.event(LossKind::Probe, true).is_calm);
    s.log.is_split = true;
    s.send();
    s.now_us += RTT_US;
    let at = s.ack(11_000, None);
    // It does not grow with the acknowledgment that says so.
    assert_eq!((n(at.rc.cw.ssthresh), n(at.rc.cw.cwnd), at.has_entered), (5500, 5500, false));
    assert!(at.is_calm);
}

/// RFC 5681 3.1 (7), RFC 2018 8: everything is lost after a timeout; after a second one the reports are forgotten.
#[test]
fn a_timeout_sends_all_again_and_a_second_one_forgets_the_reports() {
    let mut s = sender(10);
    s.ack(0, Some((1000, 2000)));
    let at = s.event(LossKind::Rto, true);
    assert_eq!((at.rc.phase, n(at.rc.cw.cwnd), n(at.edge)), (PHASE_RTO.into(), SMSS, 11_000));
    assert_eq!((n(at.rc.cw.ssthresh), s.ranges()), (5000, 1));
    assert_eq!(s.resend(at), [(0, 1000)], "the window is a segment");
    let at = s.event(LossKind::Rto, false);
    assert_eq!((n(at.rc.cw.ssthresh), s.ranges(), n(at.lost)), (5000, 0, 0));
}

/// RFC 2018 8: the left edge goes out again, whether or not it was reported.
#[test]
fn a_timeout_sends_the_left_edge_again_also_if_it_was_reported() {
    let mut s = sender(6);
    s.ack(0, Some((1000, 4000)));
    s.ack(2000, None);
    assert_eq!(s.ranges(), 1, "the peer had less than it reported");
    let at = s.event(LossKind::Rto, true);
    assert_eq!((s.ranges(), at.has_lost, n(at.lost)), (0, true, 2000));
}

/// RFC 9937 6.1: 20 segments in flight, the first is lost; every second acknowledgment of the rest lets a segment go.
#[test]
fn one_loss_of_twenty_sends_every_second_acknowledgment() {
    let mut s = sender(20);
    s.ack(0, Some((1000, 2000)));
    s.ack(0, Some((1000, 3000)));
    let at = s.ack(0, Some((1000, 4000)));
    assert_eq!(s.resend(at), [(0, 1000)]);
    let mut sent = vec![];
    for end in 5..=20 {
        let at = s.ack(0, Some((1000, end * SMSS)));
        let room = (n(at.edge) - s.max) / SMSS;
        (0..room).for_each(|_| s.send());
        sent.push(room);
    }
    let all: u32 = sent.iter().sum();
    assert!((7..=9).contains(&all) && sent.iter().all(|room| *room <= 1), "{sent:?}");
}

/// RFC 3168 6.1.2: an echo reduces the window once for each window of data, after it has grown.
#[test]
fn an_echoed_mark_halves_the_window_once() {
    let mut s = sender(10);
    let at = s.echo(1000);
    assert!(at.is_marked && at.has_reduced && at.is_calm && !at.has_entered);
    assert_eq!((n(at.rc.cw.ssthresh), n(at.rc.cw.cwnd)), (4500, 4500), "9 segments are in flight");
    assert_eq!((n(at.rc.recover), at.rc.reduced, at.rc.phase), (10_000, true, PHASE_OPEN.into()));
    s.send();
    for una in [2000, 10_000] {
        let at = s.echo(una);
        assert!(!at.is_marked && at.rc.reduced, "CWR cannot have arrived");
    }
    s.send();
    assert!(s.echo(11_000).is_marked);
}
