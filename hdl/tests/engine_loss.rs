//! The engine's loss recovery with SACK (RFC 2018, RFC 6675, RFC 8985, RFC 9937): directed scenarios under native simulation.
//!
//! Without SACK: `engine.rs`.
mod engine_env;

use chimney_abi::cmd::{Opcode, Phase, Status};
use chimney_abi::state::{TcpRecord, CONST_NEWRENO, CONST_SACK, DELEG_RETRANSMIT};
use engine_env::world::{image, text, World, GEN, MSS, OURS, PEER};
use engine_env::{code, record, Todo};

/// Counter of timeouts in `Env::counts`.
const RTO: usize = 1;
/// Counter of fast retransmits.
const FAST: usize = 2;
/// Counter of acknowledgments that counted as lost.
const UNHEARD: usize = 17;
/// A round trip, microseconds.
const RTT: u64 = 1_000;

/// Byte `n` segments after our first one.
fn at(n: u32) -> u32 {
    OURS + n * MSS
}

/// A range of segments.
fn block(from: u32, to: u32) -> (u32, u32) {
    (at(from), at(to))
}

/// A connection with SACK that has sent `n` segments, a round trip ago.
fn sent(n: u32, given: &TcpRecord) -> World {
    assert_ne!(given.const_flags & CONST_SACK, 0);
    let mut w = World::with(4, given);
    w.bell(false, 1, at(n), 0);
    w.run();
    assert_eq!(numbers(&w, 0), (0..n).collect::<Vec<_>>());
    w.e.plan(Todo::Time(RTT));
    w
}

/// With NewReno.
fn reno() -> TcpRecord {
    TcpRecord { const_flags: CONST_SACK | CONST_NEWRENO, ..image() }
}

/// Which segments were sent, from job `from` on.
fn numbers(w: &World, from: usize) -> Vec<u32> {
    w.e.sent[from..].iter().filter(|s| s.len > 0).map(|s| (s.seq - OURS) / MSS).collect()
}

/// The record as it is.
fn query(w: &mut World) -> TcpRecord {
    w.e.command(Opcode::Query, 2, GEN, None);
    w.run();
    let (status, beats) = w.e.answers.pop().expect("an answer");
    assert_eq!(status, code(Status::Success));
    record(&beats)
}

/// RFC 6675 5: three segments above the hole are enough, and nothing waits for a timeout.
#[test]
fn one_hole_is_repaired_without_a_timeout() {
    // Eight were not acknowledged, the reported ones among them. RFC 5681 (4): half; RFC 9438 4.6: seven tenths, of what was in use.
    for (flags, ssthresh) in [(CONST_SACK | CONST_NEWRENO, 4 * MSS), (CONST_SACK, 6999)] {
        repairs_one_hole(&TcpRecord { const_flags: flags, ..image() }, ssthresh);
    }
}

fn repairs_one_hole(given: &TcpRecord, ssthresh: u32) {
    let mut w = sent(8, given);
    w.sack(at(0), &[block(1, 2)]);
    w.sack(at(0), &[block(1, 3)]);
    w.run();
    assert_eq!(w.e.sent.len(), 8, "two segments may have overtaken it");
    w.sack(at(0), &[block(1, 4)]);
    w.run();
    assert_eq!((numbers(&w, 8), w.e.sent[8].again), (vec![0], true));
    w.sack(at(8), &[]);
    w.run();
    assert_eq!((w.e.counts[FAST], w.e.counts[RTO], w.e.sent.len()), (1, 0, 9));
    let back = w.take().1;
    assert_eq!((back.phase, back.snd_una, back.snd_nxt), (Phase::Open.code(), at(8), at(8)));
    // RFC 9937 6: the window ends at the threshold.
    assert_eq!((back.ssthresh, back.cwnd), (ssthresh, ssthresh));
}

/// Where NewReno needs a round trip for each.
#[test]
fn two_holes_in_a_window_are_repaired_in_one_round_trip() {
    let mut w = sent(8, &image());
    w.sack(at(0), &[block(1, 3)]);
    w.sack(at(0), &[block(4, 8), block(1, 3)]);
    w.run();
    assert_eq!(numbers(&w, 8), [0, 3], "both, before anything of them is acknowledged");
    w.sack(at(8), &[]);
    assert_eq!(w.take().1.phase, Phase::Open.code());
    assert_eq!((w.e.counts[FAST], w.e.counts[RTO]), (1, 0));
}

/// RFC 6675 2: what reports nothing is no duplicate.
#[test]
fn duplicates_without_blocks_say_nothing() {
    let mut w = sent(8, &image());
    (0..5).for_each(|_| w.sack(at(0), &[]));
    w.run();
    assert_eq!((w.e.sent.len(), w.e.counts[FAST]), (8, 0));
}

/// RFC 8985 6.2: something that was sent after the retransmission arrived, and it did not.
#[test]
fn a_lost_retransmission_is_sent_again_without_a_timeout() {
    let mut w = World::with(4, &image());
    w.bell(false, 1, at(30), 0);
    w.run();
    w.e.plan(Todo::Time(RTT));
    w.sack(at(0), &[block(1, 4)]);
    w.run();
    assert_eq!(numbers(&w, 10)[0], 0);
    w.e.plan(Todo::Time(100));
    w.sack(at(0), &[block(1, 10)]);
    w.run();
    let before = w.e.sent.len();
    let newest = numbers(&w, 10).into_iter().max().expect("new text");
    assert!(newest >= 10, "recovery sends new text too");
    w.e.plan(Todo::Time(2 * RTT));
    w.sack(at(0), &[block(1, newest + 1)]);
    w.run();
    assert_eq!(numbers(&w, before)[0], 0, "again");
    assert_eq!(w.e.counts[RTO], 0);
    let left = newest + 1;
    assert!(numbers(&w, before)[1..].iter().all(|n| *n >= left));
}

/// RFC 8985 7: the last segments of a flight have nothing behind them that would report them.
#[test]
fn a_lost_tail_is_found_by_the_probe() {
    let mut w = sent(3, &image());
    w.sack(at(1), &[]);
    w.run();
    w.e.plan(Todo::Time(9_000));
    w.run();
    assert_eq!(w.e.sent.len(), 3, "two round trips, but 10 ms at least");
    w.e.plan(Todo::Time(1_001));
    w.run();
    assert_eq!((numbers(&w, 3), w.e.sent[3].again), (vec![2], true), "the last segment");
    w.e.plan(Todo::Time(RTT));
    w.sack(at(1), &[block(2, 3)]);
    w.run();
    assert_eq!(w.e.sent.len(), 4, "it may have been overtaken");
    // A quarter of a round trip after the end of the burst.
    w.e.plan(Todo::Time(RTT + RTT / 4));
    w.run();
    assert_eq!(numbers(&w, 4), [1], "the timer for reordered segments");
    w.sack(at(3), &[]);
    w.run();
    assert_eq!((w.e.counts[FAST], w.e.counts[RTO]), (1, 0));
    assert_eq!(w.take().1.phase, Phase::Open.code());
}

/// RFC 8985 7.3: a probe brings new text if there is some and the peer takes it, whatever the congestion window says.
#[test]
fn a_probe_brings_new_text_if_there_is_some() {
    let mut w = World::with(4, &TcpRecord { cwnd: 2 * MSS, ..image() });
    w.bell(false, 1, at(5), 0);
    w.run();
    assert_eq!(numbers(&w, 0), [0, 1]);
    w.e.plan(Todo::Time(10_001));
    w.run();
    assert_eq!((numbers(&w, 2), w.e.sent[2].again), (vec![2], false));
    w.e.plan(Todo::Time(10_001));
    w.run();
    assert_eq!(w.e.sent.len(), 3, "one probe, then the timeout");
    w.e.plan(Todo::Time(300_000));
    w.run();
    assert_eq!((numbers(&w, 3), w.e.counts[RTO]), (vec![0], 1));
}

/// A probe that was answered is over, and a later flight has its own.
#[test]
fn a_probe_follows_another_when_a_round_trip_was_measured_between_them() {
    let mut w = sent(2, &image());
    for n in [2, 4, 6] {
        let before = w.e.sent.len();
        w.e.plan(Todo::Time(10_001));
        w.run();
        // RFC 8985 7.3 (2): what was sent again measured nothing, the flight after it does.
        let probes = if n == 4 { vec![] } else { vec![n - 1] };
        assert_eq!(numbers(&w, before), probes);
        w.sack(at(n), &[]);
        if n != 4 {
            // The original and the probe arrived.
            w.sack(at(n), &[block(n - 1, n)]);
        }
        w.bell(false, 1, at(n + 2), 0);
        w.run();
    }
    assert_eq!(w.e.counts[RTO], 0);
    let back = w.take().1;
    assert_eq!((back.phase, back.ssthresh), (Phase::Open.code(), 1 << 30), "nothing was lost");
}

/// RFC 2883: a report of what arrived twice widens the reordering window, but takes back no reduction.
#[test]
fn a_report_of_duplicates_undoes_nothing() {
    let mut w = sent(8, &reno());
    w.sack(at(0), &[block(1, 4)]);
    w.run();
    assert_eq!(numbers(&w, 8), [0]);
    w.sack(at(8), &[]);
    w.sack(at(8), &[block(0, 1)]);
    w.run();
    let back = w.take().1;
    assert_eq!((back.phase, back.ssthresh, back.cwnd), (Phase::Open.code(), 4 * MSS, 4 * MSS));
}

/// Verifies: R-245
#[test]
fn a_timeout_sends_everything_again_as_the_window_opens() {
    let mut w = sent(4, &TcpRecord { srtt_us_x8: 0, ..image() });
    w.e.plan(Todo::Time(300_001));
    w.run();
    assert_eq!((numbers(&w, 4), w.e.counts[RTO]), (vec![0], 1));
    w.sack(at(1), &[]);
    w.run();
    assert_eq!(numbers(&w, 5), [1, 2], "slow start");
    w.sack(at(2), &[]);
    w.run();
    assert_eq!(numbers(&w, 7), [3]);
    w.sack(at(4), &[]);
    w.run();
    let back = query(&mut w);
    assert_eq!((back.phase, back.snd_una, back.snd_nxt), (Phase::Open.code(), at(4), at(4)));
    w.bell(false, 1, at(6), 0);
    w.run();
    assert_eq!(numbers(&w, 8), [4, 5], "and it goes on");
}

/// Verifies: R-254
#[test]
fn too_many_timeouts_ask_for_an_upload() {
    let mut w = sent(2, &TcpRecord { srtt_us_x8: 0, ..image() });
    for (wait, count) in [(300_001, 1), (600_001, 2), (1_200_001, 3), (2_400_001, 3)] {
        w.e.plan(Todo::Time(wait));
        w.run();
        assert_eq!((numbers(&w, 2), w.e.counts[RTO]), (vec![0; count], count as u64));
    }
    let (status, back) = w.take();
    assert_eq!((status, back.snd_nxt, back.snd_max), (0, at(1), at(2)));
    assert_eq!((back.phase, back.cwnd), (Phase::RtoRecovery.code(), MSS));
}

/// RFC 2018 8: what the peer reported it may have dropped again; a second timeout without progress believes nothing.
#[test]
fn after_two_timeouts_reports_are_not_believed() {
    let mut w = sent(5, &TcpRecord { srtt_us_x8: 0, ..image() });
    w.sack(at(0), &[block(1, 4)]);
    w.run();
    assert_eq!(numbers(&w, 5), [0]);
    for wait in [300_001, 600_001] {
        w.e.plan(Todo::Time(wait));
        w.run();
    }
    assert_eq!((numbers(&w, 6), w.e.counts[RTO]), (vec![0, 0], 2));
    w.sack(at(1), &[]);
    w.run();
    assert_eq!(numbers(&w, 8), [1, 2], "although they were reported");
}

/// Law L5: nobody waits for the loss unit. Acknowledgments that it has no room for count all the same, and so does the text that came with
/// them; the unit hears of SND.UNA later.
#[test]
fn acknowledgments_that_come_too_fast_for_the_loss_unit_count_and_their_text_is_taken() {
    let mut w = sent(10, &image());
    w.sack(at(0), &[block(1, 2)]);
    for n in 1..=9 {
        w.segment(PEER.wrapping_add(100 * (n - 1)), at(n), 0, &text(100, 0));
    }
    w.run();
    assert!(w.e.counts[UNHEARD] > 0, "all of them were heard");
    let r = query(&mut w);
    assert_eq!((r.rcv_nxt, r.snd_una), (PEER.wrapping_add(900), at(9)));
    w.segment(PEER.wrapping_add(900), at(10), 0, &[]);
    w.run();
    assert_eq!(query(&mut w).snd_una, at(10));
}

/// What the first timeout keeps: the holes alone are sent again.
#[test]
fn after_one_timeout_reports_are_believed() {
    let mut w = sent(5, &TcpRecord { srtt_us_x8: 0, ..image() });
    w.sack(at(0), &[block(1, 4)]);
    w.e.plan(Todo::Wait(1000));
    w.e.plan(Todo::Time(300_001));
    w.run();
    assert_eq!((numbers(&w, 5), w.e.counts[RTO]), (vec![0, 0], 1));
    w.sack(at(4), &[]);
    w.run();
    assert_eq!(numbers(&w, 7), [4]);
}

/// Verifies: R-104
#[test]
fn an_upload_in_recovery_says_what_is_to_be_sent_again() {
    let mut w = sent(8, &image());
    w.sack(at(0), &[block(1, 4)]);
    let back = w.take().1;
    // The unit found the loss when the connection was already on its way up.
    assert_eq!((back.phase, back.recover), (Phase::FastRecovery.code(), at(8)));
    assert_eq!((back.snd_una, back.snd_nxt, back.snd_max), (at(0), at(8), at(8)));
    assert_eq!(back.deleg_flags & DELEG_RETRANSMIT, DELEG_RETRANSMIT);
    assert_eq!(w.e.sent.len(), 8);
    // Handed over again: what had arrived is unknown now, so that nothing goes out before the peer reports it again.
    let again = TcpRecord { send_producer: 1, recv_producer: 0, ..back };
    w.e.offload(2, GEN, &again, &[0; 32]);
    w.run();
    assert_eq!(w.e.sent.len(), 8);
    w.sack(at(0), &[block(1, 5)]);
    w.run();
    assert_eq!((numbers(&w, 8), w.e.sent[8].again), (vec![0], true));
    w.sack(at(8), &[]);
    assert_eq!(w.take().1.phase, Phase::Open.code());
}

/// Verifies: R-104
#[test]
fn a_hand_over_after_a_timeout_goes_on_where_the_host_stood() {
    let given = TcpRecord {
        snd_nxt: at(1),
        snd_max: at(4),
        snd_limit: at(6),
        cwnd: 2 * MSS,
        ssthresh: 4 * MSS,
        phase: Phase::RtoRecovery.code(),
        recover: at(4),
        send_producer: 1,
        ..image()
    };
    let mut w = World::with(4, &given);
    w.run();
    assert_eq!(numbers(&w, 0), [1], "the first is in flight, and two are allowed");
    assert!(w.e.sent[0].again);
    w.sack(at(2), &[]);
    w.run();
    assert_eq!(numbers(&w, 1), [2, 3, 4], "slow start: three are allowed");
    w.sack(at(4), &[]);
    w.run();
    assert_eq!(numbers(&w, 4), [5]);
    assert_eq!(w.take().1.phase, Phase::Open.code());
}

/// RFC 9293 3.8.6.1: what was in flight when the window closed was most likely dropped.
///
/// Verifies: R-257
#[test]
fn a_window_that_opens_again_sends_everything_again() {
    let mut w = sent(3, &image());
    let mut closed = engine_env::world::seg(engine_env::world::PEER, at(0), 0, 0);
    closed.wnd = 0u64.into();
    w.e.plan(Todo::Seg(closed.into(), vec![]));
    w.run();
    w.e.plan(Todo::Time(300_001));
    w.run();
    assert_eq!((w.e.sent[3].seq, w.e.sent[3].len), (at(0).wrapping_sub(1), 0), "a probe of the window");
    w.sack(at(0), &[]);
    w.run();
    assert_eq!(numbers(&w, 4), [0, 1, 2]);
    w.sack(at(3), &[]);
    assert_eq!(w.take().1.snd_una, at(3));
    assert_eq!(w.e.counts[RTO], 0);
}

/// Law L5: jobs of one connection that nobody has answered stay few, however fast its peer reports; and the loss is repaired.
#[test]
fn a_flood_of_reports_does_not_fill_the_queue() {
    let mut w = sent(8, &image());
    w.e.slow = true;
    w.e.fails = false;
    (0..40).for_each(|_| w.sack(at(0), &[block(1, 4)]));
    w.run();
    assert_eq!(numbers(&w, 8), [0]);
    w.sack(at(8), &[]);
    assert_eq!(w.take().1.phase, Phase::Open.code());
    assert_eq!((w.e.counts[FAST], w.e.counts[RTO]), (1, 0));
}
