//! When the engine's first slow start ends (RFC 9406): native simulation, over a link with a rate, a queue and a delay.
mod engine_env;

use chimney_abi::cmd::{Opcode, Status};
use chimney_abi::state::{TcpRecord, CONST_NEWRENO, CONST_SACK, CONST_TIMESTAMPS};
use engine_env::world::{image, seg, World, GEN, MSS, OURS, PEER};
use engine_env::{code, record, Todo};
use std::collections::{BTreeMap, VecDeque};

/// Round trip without a queue, microseconds.
const RTT: u64 = 80_000;
/// What the path holds without a queue, segments.
const BDP: u64 = 64;
/// The host allows this much.
const SUPPLY: u32 = 3000 * MSS;
/// `MAX_CWND`.
const NO_THRESHOLD: u32 = 1 << 30;

/// The link, and the peer behind it, which acknowledges every second segment with the older timestamp of the two.
struct Link {
    w: World,
    /// The peer's offer of timestamps.
    has_stamps: bool,
    /// How long a segment takes, microseconds, and how many wait.
    segment_us: u64,
    /// Delay of the path beyond its usual one at present, microseconds.
    more_us: u64,
    queue: usize,
    /// Ends of the segments in the queue, microseconds.
    waiting: VecDeque<u64>,
    /// Acknowledgments on their way: when, up to where, and the timestamp.
    acks: BTreeMap<u64, (u32, u32)>,
    /// The segment that is not acknowledged yet.
    odd: Option<u32>,
    /// Jobs that were looked at.
    seen: usize,
    /// Segments that found the queue full.
    dropped: usize,
}

impl Link {
    fn new(flags: u16, queue: usize) -> Link {
        let given = TcpRecord {
            const_flags: CONST_SACK | flags,
            snd_wind_shift: 4,
            snd_wnd: 800_000,
            max_snd_wnd: 800_000,
            srtt_us_x8: 0,
            rttvar_us_x4: 0,
            rto_us: 1_000_000,
            ts_recent: 1,
            ts_offset: 77_000,
            ..image()
        };
        let mut w = World::with(4, &given);
        w.e.job_cycles = 1;
        w.bell(false, 1, OURS + SUPPLY, 0);
        w.run();
        let mut link = Link {
            w,
            has_stamps: flags & CONST_TIMESTAMPS != 0,
            segment_us: RTT / BDP,
            more_us: 0,
            queue,
            waiting: VecDeque::new(),
            acks: BTreeMap::new(),
            odd: None,
            seen: 0,
            dropped: 0,
        };
        link.carry();
        link
    }

    /// What was sent goes on the link.
    fn carry(&mut self) {
        let now = self.w.e.now;
        for s in &self.w.e.sent[self.seen..] {
            if s.len == 0 {
                continue;
            }
            self.waiting.retain(|end| *end > now);
            if self.waiting.len() > self.queue {
                self.dropped += 1;
                continue;
            }
            let end = self.waiting.back().copied().unwrap_or(now) + self.segment_us;
            self.waiting.push_back(end);
            let stamp = s.stamps.map_or(0, |(val, _)| val);
            match self.odd.take() {
                None => self.odd = Some(stamp),
                Some(older) => {
                    self.acks.insert(end + RTT + self.more_us, (s.seq + s.len as u32, older));
                }
            }
        }
        self.seen = self.w.e.sent.len();
    }

    /// The next acknowledgment arrives.
    fn step(&mut self) {
        let (at, (ack, ecr)) = self.acks.pop_first().expect("something is in flight");
        self.w.e.plan(Todo::Time(at.saturating_sub(self.w.e.now)));
        let mut s = seg(PEER, ack, 0, 0);
        s.has_ts = self.has_stamps;
        s.ts_val = (at / 1000 + 2).into();
        s.ts_ecr = u64::from(ecr).into();
        self.w.e.plan(Todo::Seg(s.into(), vec![]));
        self.w.run();
        self.carry();
    }

    /// Until slow start is over, a segment is dropped, or the time is.
    fn run(&mut self) -> TcpRecord {
        for i in 0..400 {
            self.step();
            // A question takes longer than an acknowledgment here.
            if self.dropped > 0 || (i % 4 == 0 && self.query().ssthresh < NO_THRESHOLD) {
                break;
            }
        }
        self.query()
    }

    fn query(&mut self) -> TcpRecord {
        self.w.e.command(Opcode::Query, 2, GEN, None);
        self.w.run();
        let (status, beats) = self.w.e.answers.pop().expect("an answer");
        assert_eq!(status, code(Status::Success));
        record(&beats)
    }
}

/// RFC 9406 1: the window fills the path, and the queue does not overflow; with each algorithm.
#[test]
fn slow_start_ends_before_a_queue_of_one_bandwidth_delay_product_overflows() {
    for flags in [0, CONST_NEWRENO] {
        let mut link = Link::new(CONST_TIMESTAMPS | flags, BDP as usize);
        let end = link.run();
        let window = end.ssthresh / MSS;
        assert!(u64::from(window) >= BDP && u64::from(window) <= 2 * BDP, "{window} segments");
        assert!(end.cwnd <= end.ssthresh + MSS && link.dropped == 0);
        // And with the window that is left nothing is dropped either.
        let until = link.w.e.now + 2 * RTT;
        while link.w.e.now < until {
            link.step();
        }
        assert_eq!(link.dropped, 0);
    }
}

/// A round trip that is longer for a while slows the window down and does not end slow start: a later round begins as before.
#[test]
fn slow_start_goes_on_after_a_round_that_was_longer_for_a_while() {
    let mut link = Link::new(CONST_TIMESTAMPS, 100_000);
    link.segment_us = 1;
    let mut round = |more_us| {
        link.more_us = more_us;
        let until = link.w.e.now + RTT;
        while link.acks.first_key_value().is_some_and(|(at, _)| *at <= until + 20_000) {
            link.step();
        }
        link.query().cwnd / MSS
    };
    let windows = [0, 14_000, 0, 0, 0].map(&mut round);
    let growth: Vec<f64> = windows.windows(2).map(|w| f64::from(w[1]) / f64::from(w[0])).collect();
    eprintln!("{windows:?} {growth:.2?}");
    assert!(growth[1] < 1.6, "an eighth longer: a quarter of the growth");
    assert!(growth[3] > 1.9, "and as before");
    assert_eq!(link.query().ssthresh, NO_THRESHOLD);
}

/// Without timestamps there is one sample a round, which sees a queue only when a round begins with it: too late for this one.
#[test]
fn without_timestamps_a_queue_of_one_bandwidth_delay_product_overflows() {
    let mut link = Link::new(0, 16);
    link.segment_us = RTT / 16;
    let end = link.run();
    assert_eq!((end.ssthresh, link.dropped > 0), (NO_THRESHOLD, true));
}

/// The image has no fields for the state: a new owner begins with a round of its own, and still ends in time.
#[test]
fn a_connection_that_comes_back_in_its_slow_start_watches_it_anew() {
    let mut link = Link::new(CONST_TIMESTAMPS, BDP as usize);
    for _ in 0..8 {
        link.step();
    }
    let (status, back) = link.w.take();
    assert_eq!((status, back.ssthresh), (code(Status::Success), NO_THRESHOLD));
    let again = TcpRecord { send_producer: 1, recv_producer: 0, ..back };
    link.w.e.offload(2, GEN, &again, &[0; 32]);
    link.w.run();
    assert_eq!(link.w.e.answers.pop(), Some((code(Status::Success), vec![])));
    let end = link.run();
    assert!(end.ssthresh < NO_THRESHOLD && link.dropped == 0);
}
