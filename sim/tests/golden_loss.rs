//! Golden model, loss recovery with SACK: reports, probes, timeouts, hand-overs in the middle of all that.

mod golden_rig;

use chimney_abi::cmd::{Opcode, Phase, Status};
use chimney_abi::regs;
use chimney_abi::state::*;
use chimney_sim::device::Device;
use chimney_sim::golden::{Algorithm, Config, Recovery};
use golden_rig::wire::Seg;
use golden_rig::*;

/// Round trip of the connections here.
const RTT_US: u32 = 80_000;

/// A connection with SACK and a known round trip, that has sent `segments`.
fn sending(recovery: Recovery, segments: u32) -> Rig {
    sending_with(CONST_SACK, recovery, segments)
}

/// The same with these `CONST_*`.
fn sending_with(flags: u16, recovery: Recovery, segments: u32) -> Rig {
    let mut rig = Rig::built(false, Config { recovery, ..Config::default() });
    let status = rig.offload(0, 1, |r| {
        r.const_flags = flags;
        (r.srtt_us_x8, r.rttvar_us_x4, r.rto_us) = (RTT_US * 8, RTT_US, 300_000);
        r.cwnd = segments * MSS;
    });
    assert_eq!(status, Status::Success);
    rig.send(ISS, &pattern(ISS, (segments * MSS) as usize));
    assert_eq!(rig.sent().len(), segments as usize);
    rig.run_for(RTT_US.into());
    rig
}

/// The number of a segment's first byte.
fn at(segment: u32) -> u32 {
    ISS + segment * MSS
}

fn report(una: u32, blocks: &[(u32, u32)]) -> Seg {
    Seg { sack: blocks.iter().map(|(a, b)| (at(*a), at(*b))).collect(), ..Seg::new(IRS, at(una)) }
}

/// Segments sent since the last look, by number.
fn resent(rig: &mut Rig) -> Vec<u32> {
    let number = |s: &Seg| (s.seq - ISS) / MSS;
    let sent = rig.sent();
    for s in &sent {
        assert_eq!(s.text, pattern(s.seq, s.text.len()), "the right bytes");
    }
    sent.iter().map(number).collect()
}

fn modern(segments: u32) -> Rig {
    sending(Recovery::Modern(Algorithm::Cubic), segments)
}

/// Verifies: R-245
#[test]
fn only_what_was_not_reported_is_sent_again() {
    let mut rig = modern(10);
    let (mut sent, mut high) = (Vec::new(), 5);
    rig.peer(report(0, &[(1, 4)]));
    sent.extend(resent(&mut rig));
    while high <= 10 {
        rig.peer(report(0, &[(5, high), (1, 4)]));
        sent.extend(resent(&mut rig));
        high += 1;
    }
    assert_eq!(sent, [0, 4]);
    rig.peer(report(4, &[(5, 10)]));
    rig.peer(report(10, &[]));
    assert!(resent(&mut rig).is_empty());
    let (_, image) = rig.take_back(0, 1, Opcode::Query);
    assert_eq!((image.phase, image.snd_una, image.rtx_deadline), (0, at(10), NO_TIMER));
    assert_eq!((image.ssthresh, image.cwnd), (10_219, 10_219), "seven tenths, rounded down");
    assert_eq!((rig.count(&regs::CNT_FAST_RETRANSMITS), rig.count(&regs::CNT_RTO)), (1, 0));
}

#[test]
fn a_model_that_recovers_like_the_rtl_says_so_and_makes_no_use_of_reports() {
    let sack_send = |rig: &mut Rig| rig.nic.mmio_read(regs::CAPS.offset) >> 3 & 1;
    let mut rig = sending(Recovery::NewReno, 10);
    assert_eq!((sack_send(&mut rig), sack_send(&mut modern(1))), (0, 1));
    rig.peer(report(0, &[(1, 10)]));
    assert!(resent(&mut rig).is_empty(), "one duplicate");
    rig.peer(report(0, &[(1, 10)]));
    rig.peer(report(0, &[(1, 10)]));
    assert_eq!(resent(&mut rig), [0]);
    let (_, image) = rig.take_back(0, 1, Opcode::Query);
    assert_eq!(image.ssthresh, 5 * MSS);
}

/// RFC 5681 (4), RFC 9438 4.6: chosen per connection.
#[test]
fn an_image_may_ask_for_newreno() {
    for (flags, ssthresh) in [(CONST_SACK, 10_219), (CONST_SACK | CONST_NEWRENO, 5 * MSS)] {
        let mut rig = sending_with(flags, Recovery::Modern(Algorithm::Cubic), 10);
        rig.peer(report(0, &[(1, 5)]));
        assert_eq!(resent(&mut rig)[0], 0);
        let (_, image) = rig.take_back(0, 1, Opcode::Query);
        assert_eq!((image.phase, image.ssthresh), (Phase::FastRecovery.code(), ssthresh));
    }
}

/// RFC 5681 4.1: with each algorithm, and without SACK.
#[test]
fn after_a_pause_the_window_begins_anew() {
    for flags in [CONST_SACK, CONST_SACK | CONST_NEWRENO, 0] {
        for (pause_us, count) in [(100_000, 20), (2_000_000, 10)] {
            let mut rig = sending_with(flags, Recovery::Modern(Algorithm::Cubic), 20);
            rig.peer(report(20, &[]));
            rig.run_for(pause_us);
            rig.send(at(20), &pattern(at(20), (20 * MSS) as usize));
            assert_eq!(rig.sent().len(), count, "{flags}, {pause_us} us");
        }
    }
}

/// RFC 8985 7: two round trips, less than the timeout.
#[test]
fn a_lost_tail_is_found_by_a_probe_and_repaired_without_a_timeout() {
    let mut rig = modern(4);
    rig.run_for(u64::from(RTT_US) - 1);
    assert!(resent(&mut rig).is_empty());
    rig.run_for(1);
    assert_eq!(resent(&mut rig), [3], "the last segment");
    rig.run_for(RTT_US.into());
    rig.peer(report(0, &[(3, 4)]));
    rig.run_for(RTT_US.into());
    assert_eq!(resent(&mut rig)[0], 0);
    rig.run_for(RTT_US.into());
    rig.peer(report(1, &[(3, 4)]));
    let mut sent = resent(&mut rig);
    rig.peer(report(2, &[(3, 4)]));
    sent.extend(resent(&mut rig));
    rig.peer(report(4, &[]));
    assert!(sent.iter().all(|n| [1, 2].contains(n)), "{sent:?}");
    assert_eq!(rig.count(&regs::CNT_RTO), 0);
}

#[test]
fn a_lost_fin_is_probed_as_a_fin() {
    let mut rig = modern(1);
    rig.peer(report(1, &[]));
    rig.send_fin(at(1));
    assert!(rig.sent_one().fin);
    rig.run_for(1_000_000);
    let again = rig.sent();
    assert!(
        !again.is_empty() && again.iter().all(|s| s.fin && s.seq == at(1) && s.text.is_empty()),
        "{again:?}"
    );
    rig.peer(Seg::new(IRS, at(1) + 1));
    rig.run_for(10_000_000);
    assert!(rig.sent().is_empty());
}

#[test]
fn a_timeout_keeps_the_reports_and_a_second_one_forgets_them() {
    let mut rig = modern(4);
    rig.peer(report(0, &[(2, 3)]));
    // Neither the lost segments nor the probe's answer arrive.
    let mut sent = resent(&mut rig);
    while rig.count(&regs::CNT_RTO) == 0 {
        rig.run_for(10_000);
        sent.extend(resent(&mut rig));
    }
    assert_eq!(sent.last(), Some(&0));
    rig.peer(report(1, &[(2, 3)]));
    rig.peer(report(3, &[]));
    assert_eq!(resent(&mut rig), [1, 3]);
    let mut rig = modern(4);
    rig.peer(report(0, &[(2, 3)]));
    while rig.count(&regs::CNT_RTO) < 2 {
        rig.run_for(10_000);
    }
    rig.sent();
    rig.peer(report(1, &[]));
    rig.peer(report(2, &[]));
    assert_eq!(resent(&mut rig), [1, 2, 3], "the peer may have forgotten");
}

/// Verifies: R-104
#[test]
fn a_connection_that_goes_back_is_handed_over_and_goes_on_where_it_was() {
    let mut rig = modern(4);
    while rig.count(&regs::CNT_RTO) == 0 {
        rig.run_for(10_000);
    }
    rig.sent();
    rig.peer(report(1, &[]));
    assert_eq!(resent(&mut rig), [1, 2]);
    let (status, image) = rig.take_back(0, 1, Opcode::Terminate);
    assert_eq!((status, image.phase), (Status::Success, Phase::RtoRecovery.code()));
    assert_eq!((image.snd_una, image.snd_nxt, image.snd_max), (at(1), at(3), at(4)));
    rig.write_send(0, at(1), &pattern(at(1), 3 * MSS as usize), 0);
    let status = rig.offload(0, 2, |r| {
        let (send_ring, recv_ring, producer) = (r.send_ring, r.recv_ring, r.send_producer);
        *r = TcpRecord { send_ring, recv_ring, send_producer: producer, recv_producer: 0, ..image };
    });
    assert_eq!(status, Status::Success);
    rig.peer(report(2, &[]));
    assert_eq!(resent(&mut rig), [3]);
    rig.peer(report(4, &[]));
    let (_, image) = rig.take_back(0, 2, Opcode::Query);
    assert_eq!((image.phase, image.snd_nxt), (Phase::Open.code(), at(4)));
}

#[test]
fn what_was_in_flight_when_the_window_closed_is_sent_again_when_it_opens() {
    let mut rig = modern(3);
    rig.peer(Seg { wnd: 0, ..report(1, &[]) });
    rig.run_for(1_000_000);
    assert!(rig.sent().iter().all(|s| s.text.is_empty()), "probes");
    rig.peer(report(1, &[]));
    assert_eq!(resent(&mut rig), [1, 2]);
}
