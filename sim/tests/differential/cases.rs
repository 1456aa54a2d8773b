//! What the random steps found, one by one: RTL and golden model do the same, and it is what the guide says.

use super::dut::Dut;
use super::golden_rig::wire::Seg;
use super::golden_rig::{pattern, Rig, IRS, ISS, WINDOW};
use super::pair::Pair;
use chimney_abi::cmd::{Opcode, Status, TcpState, UploadReason};
use chimney_abi::desc::SEND_PUSH;
use chimney_abi::state::*;

const MS: u64 = 1000;

/// Connection 0, generation 1, in both.
fn open(change: impl Fn(&mut TcpRecord)) -> Pair {
    let mut pair = Pair::new(0);
    assert_eq!(pair.both(|rig| rig.offload(0, 1, &change)), Status::Success);
    pair
}

fn record(pair: &mut Pair) -> TcpRecord {
    let (status, image) = pair.take_back(0, 1, Opcode::Query);
    assert_eq!(status, Status::Success);
    image
}

/// The host posts and announces so many bytes from the start of the stream.
fn post(pair: &mut Pair, len: usize) {
    pair.both(|rig| {
        rig.write_send(0, ISS, &pattern(ISS, len), SEND_PUSH);
        rig.ring_send(0, 1, 0, ISS + len as u32);
    });
    pair.compare();
}

/// The peer acknowledges with this window.
fn ack(pair: &mut Pair, ack: u32, wnd: u16) {
    pair.both(|rig| rig.peer(Seg { wnd, ..Seg::new(IRS, ack) }));
    pair.compare();
}

#[test]
fn no_keepalive_probe_while_text_is_unacknowledged() {
    let mut pair = open(|r| {
        r.cached_flags = CACHED_KEEP_ALIVE;
        (r.ka_timeout_ms, r.ka_interval_ms, r.ka_probe_count) = (100, 100, 2);
        r.max_rt_us = MAX_RT_UNLIMITED;
    });
    post(&mut pair, 100);
    pair.pass(1000 * MS);
    let image = record(&mut pair);
    assert_eq!((image.ka_probes, image.tcp_state), (0, TcpState::Established.code()));
    ack(&mut pair, ISS + 100, 65_000);
    pair.pass(150 * MS);
    assert_eq!(record(&mut pair).ka_probes, 1);
}

#[test]
fn an_update_replaces_what_is_cached_and_no_more() {
    let mut pair = open(|r| r.max_retransmissions = 5);
    let flags = CACHED_KEEP_ALIVE | CACHED_KEEP_ALIVE_RESTART | CACHED_MAX_RT_RESTART;
    let update = TcpRecord { cached_flags: flags, ttl: 9, ka_timeout_ms: 500, ..TcpRecord::default() };
    assert_eq!(pair.both(|rig| rig.update(0, 1, &update)), Status::Success);
    let image = record(&mut pair);
    assert_eq!((image.max_retransmissions, image.ttl), (5, 9));
    assert_eq!(image.cached_flags, CACHED_KEEP_ALIVE, "a restart is an event, not a setting");
}

#[test]
fn the_timeout_of_an_image_stays_until_a_round_trip_is_measured() {
    let mut pair = open(|r| r.rto_us = 700_000);
    post(&mut pair, 100);
    pair.pass(800 * MS);
    // Karn's rule: it was sent twice, and the timeout had doubled.
    ack(&mut pair, ISS + 100, 65_000);
    assert_eq!(record(&mut pair).rto_us, 1_400_000);
}

#[test]
fn who_gives_up_says_how_long_it_waited_and_has_no_timer() {
    let mut pair = open(|r| r.max_retransmissions = 1);
    post(&mut pair, 100);
    pair.pass(1000 * MS);
    let image = record(&mut pair);
    assert_eq!(image.upload_reason, UploadReason::TimeoutExpiration.code());
    assert_eq!((image.total_rt_us, image.rtx_deadline), (300_000 + 600_000, NO_TIMER));
}

#[test]
fn a_closed_connection_has_no_timers() {
    let mut pair = open(|r| {
        r.cached_flags = CACHED_KEEP_ALIVE;
        r.ka_timeout_ms = 1_000;
    });
    post(&mut pair, 100);
    pair.both(|rig| rig.peer(Seg { rst: true, ..Seg::new(IRS, ISS) }));
    pair.compare();
    let image = record(&mut pair);
    assert_eq!(image.tcp_state, TcpState::Closed.code());
    assert_eq!((image.rtx_deadline, image.ka_deadline), (NO_TIMER, NO_TIMER));
}

#[test]
fn a_closed_window_is_probed_for_ever_without_a_limit() {
    let mut pair = open(|r| {
        (r.snd_wnd, r.max_retransmissions) = (0, 0);
    });
    post(&mut pair, 100);
    pair.pass(3000 * MS);
    let image = record(&mut pair);
    assert_eq!((image.upload_reason, image.snd_max), (0, ISS));
    assert!(image.retransmit_count > 1);
}

#[test]
fn text_that_waited_for_a_window_has_a_whole_timeout() {
    // Less than a segment and less than half of the largest window: the override timer runs (RFC 9293 3.8.6.2.1).
    let mut pair = open(|r| r.snd_wnd = 10);
    post(&mut pair, 5000);
    pair.pass(200 * MS);
    ack(&mut pair, ISS, 65_000);
    assert_eq!(record(&mut pair).rtx_deadline, 300_000);
}

#[test]
fn a_fast_retransmission_has_a_whole_timeout() {
    let mut pair = open(|r| r.eff_mss = 1000);
    post(&mut pair, 8000);
    pair.pass(200 * MS);
    for _ in 0..3 {
        ack(&mut pair, ISS, 65_000);
    }
    let image = record(&mut pair);
    assert_eq!((image.cnt_retransmits, image.rtx_deadline), (1, 300_000));
}

/// Verifies: R-259
#[test]
fn fin_wait_2_ends_also_after_a_segment_that_acknowledges_nothing_new() {
    let mut pair = open(|r| r.const_flags = CONST_SACK);
    pair.both(|rig| rig.send_fin(ISS));
    ack(&mut pair, ISS + 1, 65_000);
    pair.pass(1000 * MS);
    ack(&mut pair, ISS + 1, 65_000);
    let image = record(&mut pair);
    assert_eq!((image.tcp_state, image.rtx_deadline), (TcpState::FinWait2.code(), 120_000_000));
}

/// A timeout takes the window away; the new owner knows no other timer.
#[test]
fn a_wait_for_a_probe_is_handed_over_as_a_timeout() {
    let mut pair = open(|r| {
        r.const_flags = CONST_SACK;
        (r.srtt_us_x8, r.rttvar_us_x4) = (8 * 5000, 4 * 1000);
    });
    post(&mut pair, 2920);
    let image = record(&mut pair);
    assert_eq!(
        (image.snd_max, image.rtx_deadline),
        (ISS + 2920, 300_000),
        "the probe would come after 10 ms"
    );
    pair.pass(11 * MS);
    assert_eq!(record(&mut pair).cnt_retransmits, 1, "and does");
}

#[test]
fn what_nagle_holds_back_goes_when_an_update_ends_it() {
    let mut pair = open(|r| r.cached_flags = CACHED_NAGLE);
    post(&mut pair, 100);
    pair.both(|rig| {
        rig.write_send(0, ISS + 100, &pattern(ISS + 100, 50), 0);
        rig.ring_send(0, 1, 0, ISS + 150);
    });
    pair.compare();
    assert_eq!(record(&mut pair).snd_max, ISS + 100);
    assert_eq!(pair.both(|rig| rig.update(0, 1, &TcpRecord::default())), Status::Success);
    pair.compare();
    assert_eq!(record(&mut pair).snd_max, ISS + 150);
}

/// RFC 2018 4: SACK blocks should be in every acknowledgment; text has none, so one without text follows.
#[test]
fn text_does_not_take_the_place_of_an_acknowledgment_with_sack_blocks() {
    let mut pair = open(|r| (r.const_flags, r.cwnd) = (CONST_SACK, 1460));
    post(&mut pair, 2920);
    let sent = |rig: &mut Rig<Dut>| rig.take_back(0, 1, Opcode::Query).1.cnt_segs_out;
    assert_eq!(pair.both(sent), 1);
    pair.both(|rig| rig.peer(Seg { text: vec![7; 100], ..Seg::new(IRS + 1000, ISS + 1460) }));
    pair.compare();
    assert_eq!(pair.both(sent), 3, "the second segment, and what lies beyond the hole");
}

/// Text of the peer's at this place of the stream, and the SACK blocks that answer it.
fn blocks_for(pair: &mut Pair, at: u32, len: usize) -> Vec<(u32, u32)> {
    let blocks = pair.both(|rig| {
        rig.sent();
        rig.peer(Seg::new(IRS + at, ISS).text(&pattern(IRS + at, len)));
        rig.settle();
        rig.sent().iter().flat_map(|s| s.sack.clone()).map(|(a, b)| (a - IRS, b - IRS)).collect::<Vec<_>>()
    });
    pair.compare();
    blocks
}

/// RFC 2883 4: the first block of the acknowledgment says what came again, and no later one does.
#[test]
fn text_that_came_again_is_told_once() {
    let mut pair = open(|r| r.const_flags = CONST_SACK);
    assert_eq!(blocks_for(&mut pair, 0, 1000), []);
    assert_eq!(blocks_for(&mut pair, 1000, 1000), []);
    assert_eq!(blocks_for(&mut pair, 500, 1000), [(500, 1500)], "below RCV.NXT");
    assert_eq!(blocks_for(&mut pair, 3000, 1000), [(3000, 4000)]);
    assert_eq!(blocks_for(&mut pair, 6000, 1000), [(6000, 7000), (3000, 4000)]);
    assert_eq!(blocks_for(&mut pair, 3200, 300), [(3200, 3500), (3000, 4000), (6000, 7000)], "in a range");
    assert_eq!(blocks_for(&mut pair, 0, 100), [(0, 100), (3000, 4000), (6000, 7000)]);
    assert_eq!(blocks_for(&mut pair, 3500, 1000), [(3000, 4500), (6000, 7000)], "new in part");
    assert_eq!(blocks_for(&mut pair, 9000, 1000), [(9000, 10_000), (3000, 4500), (6000, 7000)]);
    // Without the option nobody hears of it.
    let mut pair = open(|r| r.const_flags = 0);
    assert_eq!(blocks_for(&mut pair, 0, 1000), []);
    assert_eq!(blocks_for(&mut pair, 0, 1000), []);
}

/// Nothing could be sent, so it was no pause (RFC 5681 4.1).
#[test]
fn a_closed_window_is_no_pause_that_costs_the_window() {
    let mut pair = open(|r| (r.snd_wnd, r.cwnd, r.max_retransmissions) = (0, 40_000, 0));
    post(&mut pair, 100);
    pair.pass(2000 * MS);
    assert_eq!(record(&mut pair).cwnd, 40_000);
}

/// The deadline of a closed window is no timeout of text in flight, whatever the timer was for before.
#[test]
fn a_probe_of_a_closed_window_is_handed_over_with_what_is_left() {
    let mut pair = open(|r| {
        (r.const_flags, r.cwnd) = (CONST_SACK, 1460);
        (r.srtt_us_x8, r.rttvar_us_x4) = (8 * 5000, 4 * 1000);
    });
    post(&mut pair, 2920);
    pair.pass(5 * MS);
    ack(&mut pair, ISS + 1460, 0);
    pair.pass(100 * MS);
    let left = record(&mut pair).rtx_deadline;
    pair.pass(50 * MS);
    assert_eq!(record(&mut pair).rtx_deadline, left - 50_000);
}

/// RFC 3168 6.1.2: what the timeout's recovery reduced is over with the acknowledgment that is beyond it; a mark that it echoes is a new one.
#[test]
fn a_mark_beyond_the_end_of_a_timeouts_recovery_counts() {
    let at = |segment: u32| ISS + segment * 1460;
    let mut pair = open(|r| (r.const_flags, r.cwnd) = (CONST_ECN, 3 * 1460));
    post(&mut pair, 6 * 1460);
    pair.pass(1500 * MS);
    ack(&mut pair, at(1), 65_000);
    ack(&mut pair, at(2), 65_000);
    assert_eq!(record(&mut pair).snd_max, at(4), "a segment beyond the end of the recovery");
    pair.both(|rig| rig.peer(Seg { ece: true, ..Seg::new(IRS, at(4)) }));
    pair.compare();
    let image = record(&mut pair);
    assert_eq!((image.ecn & ECN_REDUCED, image.cwnd), (ECN_REDUCED, 2 * 1460));
}

/// More of the stream, from `from` on.
fn more(pair: &mut Pair, from: u32, len: usize) {
    pair.both(|rig| {
        rig.write_send(0, from, &pattern(from, len), SEND_PUSH);
        rig.ring_send(0, 1, 0, from + len as u32);
    });
    pair.compare();
}

/// The peer acknowledges and reports this block.
fn report(pair: &mut Pair, ack: u32, block: (u32, u32)) {
    pair.both(|rig| rig.peer(Seg { sack: vec![block], ..Seg::new(IRS, ack) }));
    pair.compare();
}

/// RFC 8985 6.2 step 4: the reordering window is as wide as duplicates have shown that it must be, also after a time in which nothing was lost.
#[test]
fn what_duplicates_said_of_the_path_outlasts_a_calm_time() {
    let at = |segment: u32| ISS + segment * 1460;
    let mut pair = open(|r| {
        r.const_flags = CONST_SACK;
        (r.srtt_us_x8, r.rttvar_us_x4) = (8 * 40_000, 4 * 1000);
    });
    post(&mut pair, 2 * 1460);
    pair.pass(30 * MS);
    report(&mut pair, at(0), (at(1), at(2)));
    report(&mut pair, at(2), (at(0), at(1)));
    more(&mut pair, at(2), 2 * 1460);
    pair.pass(30 * MS);
    report(&mut pair, at(2), (at(3), at(4)));
    pair.pass(25 * MS);
    assert_eq!(record(&mut pair).cnt_retransmits, 0, "a quarter of the round trip is over, a half is not");
    pair.pass(10 * MS);
    assert_eq!(record(&mut pair).cnt_retransmits, 1);
}

/// RFC 5681 4.1. Whether the probe repaired a loss is not known yet (RFC 8985 7.4.2), so the window is still the loss unit's.
#[test]
fn a_pause_after_a_probe_costs_the_window() {
    let mut pair = open(|r| {
        (r.const_flags, r.cwnd) = (CONST_SACK, 20 * 1460);
        (r.srtt_us_x8, r.rttvar_us_x4) = (8 * 5000, 4 * 1000);
    });
    post(&mut pair, 2920);
    pair.pass(11 * MS);
    assert_eq!(record(&mut pair).cnt_retransmits, 1);
    ack(&mut pair, ISS + 2920, 65_000);
    pair.pass(1000 * MS);
    assert_eq!(record(&mut pair).cwnd, 20 * 1460);
    more(&mut pair, ISS + 2920, 100);
    let image = record(&mut pair);
    assert_eq!((image.cwnd, image.snd_max), (14_600, ISS + 3020));
}

#[test]
fn a_fin_alone_does_not_wait_for_a_window() {
    let mut pair = open(|r| r.snd_wnd = 0);
    pair.both(|rig| rig.send_fin(ISS));
    pair.compare();
    let image = record(&mut pair);
    assert_eq!((image.tcp_state, image.snd_max), (TcpState::FinWait1.code(), ISS + 1));
}

#[test]
fn a_closed_connection_probes_no_window() {
    let mut pair = open(|r| {
        (r.snd_wnd, r.cached_flags) = (0, CACHED_KEEP_ALIVE);
        (r.ka_timeout_ms, r.ka_interval_ms, r.ka_probe_count) = (100, 100, 1);
    });
    pair.pass(500 * MS);
    post(&mut pair, 100);
    let image = record(&mut pair);
    assert_eq!(image.tcp_state, TcpState::Closed.code());
    assert_eq!((image.deleg_flags & DELEG_PERSIST, image.rtx_deadline), (0, NO_TIMER));
}

/// RFC 9293 3.8.6.1: a closed window is probed. What recovery would send again goes when it opens, once.
#[test]
fn a_partial_acknowledgment_that_closes_the_window_sends_nothing_again() {
    let mut pair = open(|r| (r.eff_mss, r.const_flags) = (1000, CONST_NEWRENO));
    post(&mut pair, 8000);
    pair.pass(10 * MS);
    for _ in 0..3 {
        ack(&mut pair, ISS, 65_000);
    }
    ack(&mut pair, ISS + 2000, 0);
    let image = record(&mut pair);
    assert_eq!((image.cnt_retransmits, image.deleg_flags & DELEG_RETRANSMIT), (1, 0));
    ack(&mut pair, ISS + 2000, 65_000);
    let image = record(&mut pair);
    assert_eq!((image.snd_una, image.deleg_flags & DELEG_RETRANSMIT), (ISS + 2000, 0));
    assert!(image.cnt_retransmits > 1);
}

/// RFC 8985 7.2: new text begins the wait for a probe, also behind what had to be sent again.
#[test]
fn text_behind_what_is_sent_again_has_a_probe() {
    let mut pair = open(|r| {
        (r.const_flags, r.cwnd) = (CONST_SACK, 2 * 1460);
        (r.srtt_us_x8, r.rttvar_us_x4) = (8 * 20_000, 4 * 1000);
    });
    post(&mut pair, 3);
    ack(&mut pair, ISS, 0);
    more(&mut pair, ISS + 3, 4 * 1460);
    pair.pass(100 * MS);
    ack(&mut pair, ISS, 65_000);
    let sent = record(&mut pair).snd_max;
    pair.pass(45 * MS);
    assert_ne!(record(&mut pair).snd_max, sent, "two round trips are over, the timeout is not");
}

/// The window is probed 300, 600 and 1200 ms after its text came, the peer 500 ms after; 600 ms after it the peer is given up.
#[test]
fn of_two_timers_of_a_moment_the_first_sends_before_the_second_gives_up() {
    let mut pair = open(|r| {
        (r.snd_wnd, r.cached_flags, r.max_retransmissions) = (0, CACHED_KEEP_ALIVE, 0);
        (r.ka_timeout_ms, r.ka_interval_ms, r.ka_probe_count) = (500, 100, 1);
    });
    post(&mut pair, 100);
    pair.pass(1000 * MS);
    let image = record(&mut pair);
    assert_eq!(image.tcp_state, TcpState::Closed.code());
}

#[test]
fn who_closed_its_half_hears_of_no_window() {
    let mut pair = open(|_| {});
    let text = pattern(IRS, 1460);
    for i in 0..4u32 {
        let seg = Seg { fin: i == 3, ..Seg::new(IRS + i * 1460, ISS) };
        pair.both(|rig| rig.peer(seg.clone().text(&text)));
        pair.compare();
    }
    let out = |rig: &mut Rig<Dut>| rig.take_back(0, 1, Opcode::Query).1.cnt_segs_out;
    let before = pair.both(out);
    pair.both(|rig| rig.ring_receive(0, 1, IRS + 5841 + WINDOW));
    pair.compare();
    assert_eq!(pair.both(out), before);
}

/// The longer round trip is the probe's, and the loss unit hears of it: it does not end slow start (`hdl/doc/engine.md`, deviations from RFC 9406).
#[test]
fn a_round_trip_with_a_probe_in_it_does_not_slow_slow_start() {
    let at = |segment: u32| ISS + segment * 1460;
    let mut pair = open(|r| {
        (r.const_flags, r.cwnd) = (CONST_SACK | CONST_NEWRENO, 2 * 1460);
        (r.srtt_us_x8, r.rttvar_us_x4) = (8 * 20_000, 4 * 1000);
    });
    post(&mut pair, 20 * 1460);
    pair.pass(20 * MS);
    ack(&mut pair, at(2), 65_000);
    assert_eq!(record(&mut pair).cwnd, 4 * 1460);
    // The probe is new text.
    pair.pass(60 * MS);
    ack(&mut pair, at(7), 65_000);
    let cwnd = record(&mut pair).cwnd;
    pair.pass(20 * MS);
    let max = record(&mut pair).snd_max;
    ack(&mut pair, max, 65_000);
    assert_eq!(record(&mut pair).cwnd, cwnd + 2 * 1460);
}

#[test]
fn an_update_starts_no_timer_of_a_closed_connection() {
    let mut pair = open(|_| {});
    pair.both(|rig| rig.peer(Seg { fin: true, ..Seg::new(IRS, ISS) }));
    pair.both(|rig| rig.send_fin(ISS));
    pair.both(|rig| rig.peer(Seg::new(IRS + 1, ISS + 1)));
    pair.compare();
    let flags = CACHED_KEEP_ALIVE | CACHED_KEEP_ALIVE_RESTART;
    let update = TcpRecord { cached_flags: flags, ka_timeout_ms: 500, ..TcpRecord::default() };
    assert_eq!(pair.both(|rig| rig.update(0, 1, &update)), Status::Success);
    let image = record(&mut pair);
    assert_eq!((image.tcp_state, image.ka_deadline), (TcpState::Closed.code(), NO_TIMER));
}

/// Verifies: R-251
///
/// Two hours are more than half of the 32-bit microsecond clock.
#[test]
fn keepalive_after_hours_does_not_probe_at_once() {
    let mut pair = open(|r| {
        r.cached_flags = CACHED_KEEP_ALIVE;
        (r.ka_timeout_ms, r.ka_interval_ms, r.ka_deadline) = (7_200_000, 75_000, 7_200_000);
    });
    pair.pass(200 * MS);
    ack(&mut pair, ISS, 65_000);
    pair.pass(100 * MS);
    let image = record(&mut pair);
    assert_eq!((image.cnt_segs_out, image.ka_probes, image.ka_deadline), (0, 0, 7_199_900));
}

/// Verifies: R-224
#[test]
fn a_syn_in_time_wait_is_the_hosts() {
    let mut pair = open(|_| {});
    pair.both(|rig| rig.send_fin(ISS));
    ack(&mut pair, ISS + 1, 65_000);
    pair.both(|rig| rig.peer(Seg { fin: true, ..Seg::new(IRS, ISS + 1) }));
    pair.compare();
    assert_eq!(record(&mut pair).tcp_state, TcpState::TimeWait.code());
    let sent = record(&mut pair).cnt_segs_out;
    for seq in [IRS + 1, IRS + 5000, IRS + 9_000_000] {
        pair.both(|rig| rig.peer(Seg { syn: true, ..Seg::new(seq, ISS) }));
        assert_eq!(pair.both(|rig| rig.handed_up().len()), 1, "SYN {seq}");
    }
    let image = record(&mut pair);
    assert_eq!((image.tcp_state, image.cnt_segs_out), (TcpState::TimeWait.code(), sent));
}

/// RFC 9293 3.10.7.4, first check: the peer answers a probe and does not look at what it acknowledges.
#[test]
fn a_probe_acknowledges_nothing() {
    let mut pair = open(|r| r.snd_wnd = 0);
    let out = |rig: &mut Rig<Dut>| {
        let image = rig.take_back(0, 1, Opcode::Query).1;
        (image.cnt_segs_out, image.last_ack_sent)
    };
    post(&mut pair, 100);
    ack(&mut pair, ISS, 0);
    pair.pass(290 * MS);
    pair.both(|rig| rig.peer(Seg { wnd: 0, text: vec![7; 100], ..Seg::new(IRS, ISS) }));
    pair.pass(15 * MS);
    assert_eq!(pair.both(out), (1, IRS), "the probe");
    pair.pass(40 * MS);
    assert_eq!(pair.both(out), (2, IRS + 100), "the acknowledgment");
}

/// RFC 9293 3.8.2, RFC 6298 5: a timeout that had to grow stays, until a round trip is measured.
#[test]
fn what_was_sent_again_leaves_the_timeout_as_long_as_it_became() {
    let mut pair = open(|r| r.const_flags = CONST_NEWRENO);
    let rto = record(&mut pair).rto_us;
    post(&mut pair, 100);
    pair.pass(u64::from(rto) + 50 * MS);
    assert_eq!(record(&mut pair).retransmit_count, 1);
    ack(&mut pair, ISS + 100, 65_000);
    let image = record(&mut pair);
    assert_eq!((image.retransmit_count, image.rto_us), (0, 2 * rto));
    more(&mut pair, ISS + 100, 100);
    assert_eq!(record(&mut pair).rtx_deadline, 2 * rto);
    pair.pass(u64::from(rto) + 50 * MS);
    ack(&mut pair, ISS + 200, 65_000);
    let image = record(&mut pair);
    assert_eq!((image.cnt_retransmits, image.srtt_us_x8 / 8), (1, rto + 50_000), "it lasts for a sample");
}
