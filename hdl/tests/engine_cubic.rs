//! How the engine's window falls and grows with CUBIC (RFC 9438): native simulation, compared with the formulas of the RFC.
mod engine_env;

use chimney_abi::cmd::{Opcode, Phase, Status};
use chimney_abi::state::{TcpRecord, CONST_NEWRENO, CONST_SACK};
use engine_env::world::{image, World, GEN, MSS, OURS};
use engine_env::{code, record, Todo};

/// A round trip, microseconds.
const RTT: u64 = 600_000;
/// Segments for an acknowledgment.
const EVERY: u32 = 4;
/// Clocks in which the loss unit has answered a question; on a real line they are less than the time between two acknowledgments.
const ANSWER: u64 = 1000;
/// And in which it has sent what an acknowledgment allows, so that the next one finds the window in use.
const SENDING: u64 = 100;

/// A connection on a long path, with `segments` in flight as its window has them.
struct Flow {
    w: World,
    una: u32,
    /// Microseconds since it began.
    now: u64,
    /// The host allows so many bytes beyond what is acknowledged.
    supply: u32,
}

/// More than a window.
const SUPPLY: u32 = 400 * MSS;

impl Flow {
    fn new(segments: u32, flags: u16, supply: u32) -> Flow {
        let given = TcpRecord {
            const_flags: flags,
            cwnd: segments * MSS,
            ssthresh: segments * MSS,
            snd_wind_shift: 4,
            snd_wnd: 800_000,
            max_snd_wnd: 800_000,
            srtt_us_x8: 8 * RTT as u32,
            rttvar_us_x4: 1_200_000,
            rto_us: 2_000_000,
            ..image()
        };
        let mut w = World::with(4, &given);
        w.e.job_cycles = 1;
        w.bell(false, 1, OURS + supply, 0);
        w.run();
        Flow { w, una: OURS, now: 0, supply }
    }

    /// End of what was sent.
    fn max(&self) -> u32 {
        self.w.e.sent.iter().map(|s| s.seq + s.len as u32).max().expect("something was sent")
    }

    fn wait(&mut self, us: u64) {
        self.now += us;
        self.w.e.plan(Todo::Time(us));
    }

    /// A round trip later everything in flight is acknowledged, from `self.una` on.
    fn round(&mut self) {
        self.wait(RTT);
        let (begin, max) = (self.una, self.max());
        while self.una != max {
            let is_first = self.una == begin;
            self.una = max.min(self.una + EVERY * MSS);
            self.w.sack(self.una, &[]);
            self.w.e.plan(Todo::Wait(if is_first { ANSWER } else { SENDING }));
        }
        self.w.bell(false, 1, self.una + self.supply, 0);
        self.w.run();
    }

    /// A round trip later the first segment in flight is missing; it is repaired in one more.
    fn lose(&mut self) {
        let max = self.max();
        self.wait(RTT);
        self.w.sack(self.una, &[(self.una + MSS, max)]);
        self.w.run();
        self.wait(RTT);
        let max = self.max();
        self.una = max;
        self.w.sack(max, &[]);
        self.w.run();
    }

    /// The record as it is.
    fn query(&mut self) -> TcpRecord {
        self.w.e.command(Opcode::Query, 2, GEN, None);
        self.w.run();
        let (status, beats) = self.w.e.answers.pop().expect("an answer");
        assert_eq!(status, code(Status::Success));
        record(&beats)
    }

    fn segments(&mut self) -> f64 {
        f64::from(self.query().cwnd) / f64::from(MSS)
    }
}

/// RFC 9438 4.2: W_cubic, segments, `t` seconds after the epoch.
fn cubic(w_max: f64, start: f64, t: f64) -> f64 {
    let k = ((w_max - start) / 0.4).cbrt();
    0.4 * (t - k).powi(3) + w_max
}

/// RFC 9438 4.2, 4.6: seven tenths at a loss, concave back to the old window, convex beyond it.
#[test]
fn the_window_falls_to_seven_tenths_and_grows_along_the_cubic_curve() {
    let mut f = Flow::new(30, CONST_SACK, SUPPLY);
    f.lose();
    let back = f.query();
    assert_eq!((back.phase, back.ssthresh, back.cwnd), (Phase::Open.code(), 20_999, 20_999));
    let (begin, mut seen) = (f.now, vec![f.segments()]);
    for _ in 0..9 {
        f.round();
        // The first acknowledgments began the epoch a round trip ago, and the window goes to where the curve is a round trip later.
        let (t, got) = ((f.now - begin) as f64 * 1e-6, f.segments());
        let want = cubic(30.0, 21.0, t);
        eprintln!("{t:.1} s: {got:.1} segments, the curve has {want:.1}");
        assert!((got - want).abs() < 1.5, "{t} s: {got} segments, the curve has {want}");
        seen.push(got);
    }
    assert!(seen[2] - seen[0] > 4.0 && seen[6] - seen[3] < 2.0, "concave below the plateau: {seen:?}");
    assert!(seen[9] - seen[7] > 3.0, "convex above it: {seen:?}");
}

/// RFC 9438 4.7: who loses again before the old window is reached leaves room for others.
#[test]
fn a_second_loss_converges_fast() {
    let mut f = Flow::new(30, CONST_SACK, SUPPLY);
    f.lose();
    f.round();
    let low = f.segments();
    assert!((22.0..28.0).contains(&low), "{low}");
    f.lose();
    (0..4).for_each(|_| f.round());
    // The plateau lies at 0.85 of the window that was lost.
    let got = f.segments();
    assert!((got - 0.85 * low).abs() < 1.5, "{got} segments, {low} before");
}

/// RFC 5681 3.1: a segment for each round trip.
#[test]
fn newreno_halves_and_grows_by_a_segment_in_a_round_trip() {
    let mut f = Flow::new(20, CONST_SACK | CONST_NEWRENO, SUPPLY);
    f.lose();
    let start = f.query().cwnd;
    assert!(start.abs_diff(10 * MSS) <= MSS, "{start}");
    (0..4).for_each(|_| f.round());
    assert!(f.query().cwnd.abs_diff(start + 3 * MSS) <= MSS);
}

/// RFC 9438 5.8, RFC 7661: nothing is learned from a window that is not used.
#[test]
fn a_window_that_is_not_used_does_not_grow() {
    let mut f = Flow::new(20, CONST_SACK, 8 * MSS);
    (0..4).for_each(|_| f.round());
    assert_eq!(f.query().cwnd, 20 * MSS);
}

/// RFC 5681 4.1, RFC 9438 5.8: what the window was says nothing about the network after a pause; with each algorithm.
#[test]
fn after_a_pause_the_window_begins_anew() {
    for flags in [CONST_SACK, CONST_SACK | CONST_NEWRENO, 0] {
        for (pause, is_long) in [(100_000, false), (3_000_000, true)] {
            let mut f = Flow::new(16, flags, 16 * MSS);
            let max = f.max();
            f.wait(RTT);
            f.una = max;
            f.w.sack(max, &[]);
            f.wait(pause);
            let before = f.query().cwnd;
            f.w.bell(false, 1, max + 30 * MSS, 0);
            f.w.run();
            let want = if is_long { 10 * MSS } else { before };
            let back = f.query();
            assert_eq!((back.cwnd, back.ssthresh), (want, 16 * MSS), "{flags} {pause}");
            assert_eq!(f.max() - max, want, "{flags} {pause}");
            f.round();
            assert!(f.query().cwnd >= back.cwnd, "and it grows");
        }
    }
}

/// A new owner of the number begins a new epoch: what CUBIC's program knew of the old one does not count.
#[test]
fn a_connection_that_is_handed_over_again_does_not_grow_by_what_was_known_before() {
    let mut f = Flow::new(30, CONST_SACK, SUPPLY);
    (0..2).for_each(|_| f.round());
    let (status, back) = f.w.take();
    assert_eq!(status, code(Status::Success));
    let again = TcpRecord { cwnd: 8 * MSS, ssthresh: 8 * MSS, send_producer: 1, recv_producer: 0, ..back };
    f.w.e.offload(2, GEN, &again, &[0; 32]);
    f.w.run();
    f.round();
    let cwnd = f.query().cwnd;
    assert!((8 * MSS..12 * MSS).contains(&cwnd), "{cwnd}");
}
