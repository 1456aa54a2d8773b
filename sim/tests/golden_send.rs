//! Golden model, sending: segmentation, acknowledgments, retransmission, closed windows, FIN.

mod golden_rig;

use chimney_abi::cmd::{Opcode, Status, TcpState, UploadReason};
use chimney_abi::desc::*;
use chimney_abi::regs;
use chimney_abi::state::*;
use golden_rig::wire::Seg;
use golden_rig::*;

fn text_of(segs: &[Seg]) -> Vec<u8> {
    segs.iter().flat_map(|s| s.text.clone()).collect()
}

/// Verifies
#[test]
fn posted_bytes_leave_in_full_segments_with_psh_at_the_end() {
    let mut rig = Rig::new();
    rig.offload(0, 1, |r| r.cached_flags = 0);
    let data = pattern(ISS, 4000);
    rig.send(ISS, &data);
    let sent = rig.sent();
    assert_eq!(sent.iter().map(|s| s.text.len()).collect::<Vec<_>>(), [1460, 1460, 1080]);
    assert_eq!(text_of(&sent), data);
    assert_eq!(sent.iter().map(|s| s.psh).collect::<Vec<_>>(), [false, false, true]);
    assert_eq!(sent.iter().map(|s| s.ip_id).collect::<Vec<_>>(), [0x8000, 0x8001, 0x8002]);
    assert!(sent.iter().all(|s| s.ack == IRS));
    rig.events(true);
    rig.peer(Seg::new(IRS, ISS + 4000));
    assert_eq!(rig.shadow(0).snd_una, ISS + 4000);
    assert_eq!(rig.events(true).len(), 1);
    assert_eq!(rig.nic_timer(), NO_TIMER, "nothing in flight");
}

impl Rig {
    /// Remaining time of the retransmission slot of connection 0.
    fn nic_timer(&mut self) -> u32 {
        self.take_back(0, 1, Opcode::Query).1.rtx_deadline
    }
}

#[test]
fn a_segment_gathers_at_most_sixteen_descriptors() {
    let mut rig = Rig::established();
    let data = pattern(ISS, 40 * 20);
    for (i, chunk) in data.chunks(20).enumerate() {
        rig.write_send(0, ISS + i as u32 * 20, chunk, 0);
    }
    rig.ring_send(0, 1, 0, ISS + 800);
    let sent = rig.sent();
    assert_eq!(sent.iter().map(|s| s.text.len()).collect::<Vec<_>>(), [320]);
    rig.peer(Seg::new(IRS, ISS + 320));
    rig.peer(Seg::new(IRS, ISS + 640));
    let rest = rig.sent();
    assert_eq!([text_of(&sent), text_of(&rest)].concat(), data);
}

/// Verifies: R-247
#[test]
fn nagle_holds_small_segments_while_text_is_in_flight() {
    let mut rig = Rig::established();
    rig.send(ISS, b"first");
    assert_eq!(rig.sent().len(), 1);
    rig.send(ISS + 5, b"second");
    assert!(rig.sent().is_empty());
    rig.peer(Seg::new(IRS, ISS + 5));
    assert_eq!(rig.sent_one().text, b"second");
    let mut record = rig.record(0);
    record.cached_flags = 0;
    assert_eq!(rig.update(0, 1, &record), Status::Success);
    rig.send(ISS + 11, b"third");
    assert_eq!(rig.sent_one().text, b"third", "Nagle off");
}

/// Verifies: R-245
#[test]
fn rto_goes_back_doubles_and_recovers() {
    let mut rig = Rig::established();
    let data = pattern(ISS, 4380);
    rig.send(ISS, &data);
    assert_eq!(rig.sent().len(), 3);
    rig.run_for(300_000);
    let again = rig.sent_one();
    assert_eq!((again.seq, again.text.len()), (ISS, 1460));
    rig.run_for(599_999);
    assert!(rig.sent().is_empty());
    rig.run_for(1);
    assert_eq!(rig.sent_one().seq, ISS);
    assert_eq!((rig.count(&regs::CNT_RTO), rig.count(&regs::CNT_RETRANSMITS)), (2, 2));
    rig.peer(Seg::new(IRS, ISS + 1460));
    let rest = rig.sent();
    assert_eq!(rest.first().unwrap().seq, ISS + 1460);
    rig.peer(Seg::new(IRS, ISS + 4380));
    let (_, image) = rig.take_back(0, 1, Opcode::Query);
    assert_eq!((image.phase, image.retransmit_count, image.total_rt_us), (0, 0, 0));
    assert_eq!(image.srtt_us_x8, 0, "Karn: no sample from retransmitted segments");
}

/// Verifies
#[test]
fn too_many_retransmissions_stop_the_connection_with_a_reason() {
    let mut rig = Rig::established();
    rig.send(ISS, b"anybody there?");
    rig.run_for(60_000_000);
    let sent = rig.sent();
    assert_eq!(sent.len(), 6, "once and five times again");
    let s = rig.shadow(0);
    assert_eq!(
        (s.state >> 4, s.flags & SHADOW_RETRIEVE),
        (UploadReason::TimeoutExpiration.code(), SHADOW_RETRIEVE)
    );
    let mut rig = Rig::new();
    rig.offload(0, 1, |r| r.max_rt_us = 1_000_000);
    rig.send(ISS, b"anybody there?");
    rig.run_for(60_000_000);
    assert_eq!(rig.sent().len(), 3, "0.3 s, 0.9 s; 2.1 s is too late");
}

/// Verifies
#[test]
fn three_duplicate_acks_start_fast_retransmit_and_a_partial_ack_continues_it() {
    let mut rig = Rig::established();
    let data = pattern(ISS, 14_600);
    rig.send(ISS, &data);
    assert_eq!(rig.sent().len(), 10);
    // A window field equal to the one in force makes an ACK a duplicate.
    for _ in 0..2 {
        rig.peer(Seg::new(IRS, ISS));
    }
    assert!(rig.sent().is_empty());
    rig.peer(Seg::new(IRS, ISS));
    assert_eq!(rig.sent_one().seq, ISS);
    assert_eq!(rig.count(&regs::CNT_FAST_RETRANSMITS), 1);
    // Segments 2 to 4 were lost as well: each partial ACK brings the next.
    rig.peer(Seg::new(IRS, ISS + 1460));
    assert_eq!(rig.sent_one().seq, ISS + 1460);
    rig.peer(Seg::new(IRS, ISS + 14_600));
    let (_, image) = rig.take_back(0, 1, Opcode::Query);
    assert_eq!((image.phase, image.dup_acks), (0, 0));
    assert_eq!(image.ssthresh, 7300);
    assert_eq!(rig.count(&regs::CNT_RTO), 0);
}

#[test]
fn congestion_window_bounds_the_flight_and_slow_start_opens_it() {
    let mut rig = Rig::new();
    rig.offload(0, 1, |r| r.cwnd = 2920);
    rig.send(ISS, &pattern(ISS, 20_000));
    assert_eq!(rig.sent().len(), 2);
    rig.run_for(10_000);
    rig.peer(Seg::new(IRS, ISS + 2920));
    assert_eq!(rig.sent().len(), 4);
    let (_, image) = rig.take_back(0, 1, Opcode::Query);
    assert_eq!(image.srtt_us_x8, 80_000, "one round trip of 10 ms");
}

/// Verifies
#[test]
fn closed_window_is_probed_with_growing_rounds_until_it_opens() {
    let mut rig = Rig::established();
    rig.send(ISS, b"abc");
    rig.sent();
    rig.peer(Seg { wnd: 0, ..Seg::new(IRS, ISS + 3) });
    rig.send(ISS + 3, b"later");
    assert!(rig.sent().is_empty());
    let (_, image) = rig.take_back(0, 1, Opcode::Query);
    assert_eq!((image.deleg_flags & DELEG_PERSIST, image.rtx_deadline), (DELEG_PERSIST, image.rto_us));
    let rto = u64::from(image.rto_us);
    rig.run_for(rto);
    let probe = rig.sent_one();
    assert_eq!((probe.seq, probe.text.len()), (ISS + 2, 0));
    rig.peer(Seg { wnd: 0, ..Seg::new(IRS, ISS + 3) });
    rig.run_for(2 * rto - 1);
    assert!(rig.sent().is_empty());
    rig.run_for(1);
    assert_eq!(rig.sent().len(), 1, "round 1 waits twice as long");
    rig.peer(Seg::new(IRS, ISS + 3));
    assert_eq!(rig.sent_one().text, b"later");
    // Unanswered probes of one round are limited.
    rig.peer(Seg { wnd: 0, ..Seg::new(IRS, ISS + 8) });
    rig.send(ISS + 8, b"never");
    rig.run_for(120_000_000);
    assert_eq!(rig.sent().len(), 5);
    assert_eq!(rig.shadow(0).state >> 4, UploadReason::TimeoutExpiration.code());
}

#[test]
fn window_too_small_for_a_segment_is_used_after_the_override_timer() {
    let mut rig = Rig::new();
    rig.offload(0, 1, |r| r.snd_wnd = 100);
    rig.send(ISS, &pattern(ISS, 1000));
    assert!(rig.sent().is_empty(), "silly window avoidance");
    rig.run_for(300_000);
    assert_eq!(rig.sent_one().text.len(), 100);
}

/// Verifies
#[test]
fn fin_rides_on_the_last_segment_and_both_halves_close() {
    let mut rig = Rig::established();
    rig.write_send(0, ISS, b"last words", SEND_PUSH);
    rig.send_fin(ISS + 10);
    let last = rig.sent_one();
    assert!(last.fin && last.text == b"last words");
    assert_eq!(rig.shadow(0).state & 0xF, TcpState::FinWait1.code());
    rig.peer(Seg::new(IRS, ISS + 11));
    let s = rig.shadow(0);
    assert_eq!((s.state & 0xF, s.flags & SHADOW_FIN_ACKED), (TcpState::FinWait2.code(), SHADOW_FIN_ACKED));
    // Still receiving.
    rig.peer(Seg::new(IRS, ISS + 11).text(b"tail"));
    assert_eq!(rig.shadow(0).rcv_nxt, IRS + 4);
    rig.peer(Seg { fin: true, ..Seg::new(IRS + 4, ISS + 11) });
    let s = rig.shadow(0);
    assert_eq!(s.state, TcpState::TimeWait.code() | UploadReason::UploadRequested.code() << 4);
    assert_eq!(rig.sent_one().ack, IRS + 5);
    // G-39: the FIN again is acknowledged again.
    rig.peer(Seg { fin: true, ..Seg::new(IRS + 4, ISS + 11) });
    assert_eq!(rig.sent_one().ack, IRS + 5);
}

#[test]
fn passive_and_simultaneous_close_end_in_the_right_states() {
    let mut rig = Rig::established();
    rig.peer(Seg { fin: true, ..Seg::new(IRS, ISS) });
    rig.sent();
    rig.send_fin(ISS);
    assert!(rig.sent_one().fin);
    assert_eq!(rig.shadow(0).state & 0xF, TcpState::LastAck.code());
    rig.peer(Seg::new(IRS + 1, ISS + 1));
    assert_eq!(rig.shadow(0).state & 0xF, TcpState::Closed.code());

    let mut rig = Rig::established();
    rig.send_fin(ISS);
    rig.sent();
    rig.peer(Seg { fin: true, ..Seg::new(IRS, ISS) });
    assert_eq!(rig.shadow(0).state & 0xF, TcpState::Closing.code());
    rig.run_for(300_000);
    assert!(rig.sent().iter().any(|s| s.fin && s.seq == ISS), "the FIN is retransmitted");
    rig.peer(Seg::new(IRS + 1, ISS + 1));
    assert_eq!(rig.shadow(0).state & 0xF, TcpState::TimeWait.code());
}

/// Verifies: R-259
#[test]
fn fin_wait_2_ends_after_its_time_out() {
    let mut rig = Rig::established();
    rig.send_fin(ISS);
    rig.peer(Seg::new(IRS, ISS + 1));
    rig.run_for(100_000_000);
    rig.peer(Seg::new(IRS, ISS + 1));
    rig.run_for(100_000_000);
    assert_eq!(rig.shadow(0).state & 0xF, TcpState::FinWait2.code(), "restarted");
    rig.run_for(20_000_000);
    assert_eq!(rig.shadow(0).state, TcpState::Closed.code() | UploadReason::TimeoutExpiration.code() << 4);
}

/// Verifies: R-260
#[test]
fn keepalive_probes_an_idle_peer_and_gives_up() {
    let mut rig = Rig::new();
    rig.offload(0, 1, |r| {
        r.cached_flags |= CACHED_KEEP_ALIVE;
        (r.ka_timeout_ms, r.ka_interval_ms, r.ka_probe_count) = (1_000, 100, 3);
    });
    rig.run_for(1_000_000);
    let probe = rig.sent_one();
    assert_eq!((probe.seq, probe.text.len()), (ISS - 1, 0));
    rig.peer(Seg::new(IRS, ISS));
    rig.run_for(999_999);
    assert!(rig.sent().is_empty(), "answered: a full cycle again");
    rig.run_for(1_000_000);
    assert_eq!(rig.sent().len(), 3);
    assert_eq!(rig.shadow(0).state, TcpState::Closed.code() | UploadReason::TimeoutExpiration.code() << 4);
}

#[test]
fn a_send_ring_without_the_promised_bytes_stops_only_its_connection() {
    let mut rig = Rig::established();
    assert_eq!(rig.offload(1, 1, |_| {}), Status::Success);
    // The limit moves, but no descriptor holds the bytes.
    rig.ring_send(0, 1, 0, ISS + 100);
    assert_eq!(rig.shadow(0).state >> 4, UploadReason::HardwareFailure.code());
    assert_eq!(rig.count(&regs::CNT_BAD_REQUEST), 1);
    // A descriptor that points outside of what is mapped.
    rig.write_send(1, ISS, b"x", 0);
    let at = rig.record(1).send_ring - rig.region.iova();
    rig.put(at, &SendDesc { addr: 0xDEAD_0000, len: 1, flags: 0, seq: ISS }.to_bytes());
    rig.ring_send(1, 1, 0, ISS + 1);
    assert_eq!(rig.shadow(1).state >> 4, UploadReason::HardwareFailure.code());
    assert!(rig.sent().is_empty());
    rig.offload(2, 1, |_| {});
    rig.peer(Seg { conn: 2, psh: true, ..Seg::new(IRS, ISS).text(b"still here") });
    assert_eq!(rig.shadow(2).rcv_nxt, IRS + 10);
}
