//! Golden model, receiving: direct and pool mode, out of order, FIN, RST, acknowledgments, window.

mod golden_rig;

use chimney_abi::cmd::{Opcode, TcpState, UploadReason};
use chimney_abi::desc::*;
use chimney_abi::regs;
use chimney_abi::state::*;
use chimney_sim::device::Device;
use golden_rig::wire::Seg;
use golden_rig::*;

/// In-order bytes fill posts one after the other; each full post is written back.
///
/// Verifies
#[test]
fn in_order_text_goes_into_posts_and_full_posts_retire() {
    let mut rig = Rig::established();
    rig.post(USER, 1000, 0, IRS);
    rig.post(USER + 0x1000, 1000, 0, IRS + 1000);
    let data = pattern(IRS, 1460);
    rig.peer(Seg::new(IRS, ISS).text(&data));
    assert_eq!(rig.bytes(USER, 1000), data[..1000]);
    assert_eq!(rig.bytes(USER + 0x1000, 460), data[1000..]);
    let back = rig.post_back(0, 0);
    assert_eq!((back.len, back.flags, back.seq), (1000, RECV_RETIRED, IRS));
    let s = rig.shadow(0);
    assert_eq!((s.rcv_nxt, s.post_idx, s.post_off), (IRS + 1460, 1, 460));
    assert_eq!(s.flags, SHADOW_VALID);
    assert!(rig.sent().is_empty(), "one segment waits for a second or the delayed-ACK timer");
    rig.run_for(40_000);
    let ack = rig.sent_one();
    assert_eq!((ack.ack, ack.seq, ack.text.len()), (IRS + 1460, ISS, 0));
    assert_eq!(u32::from(ack.wnd) << 1, WINDOW - 1460);
    assert_eq!(rig.events(true).len(), 1);
}

/// Verifies
#[test]
fn every_second_segment_is_acknowledged_at_once() {
    let mut rig = Rig::established();
    rig.post(USER, 10_000, 0, IRS);
    for i in 0..4 {
        rig.peer(Seg::new(IRS + i * 100, ISS).text(&pattern(IRS + i * 100, 100)));
        assert_eq!(rig.sent().len(), (i % 2) as usize);
    }
}

/// Verifies
#[test]
fn psh_retires_a_push_mode_post_and_not_a_non_push_one() {
    let mut rig = Rig::established();
    rig.post(USER, 1000, 0, IRS);
    rig.peer(Seg { psh: true, ..Seg::new(IRS, ISS).text(b"hello") });
    assert_eq!((rig.post_back(0, 0).len, rig.shadow(0).post_idx), (5, 1));
    rig.post(USER + 1000, 1000, RECV_NO_PUSH, IRS + 5);
    rig.peer(Seg { psh: true, ..Seg::new(IRS + 5, ISS).text(b"world") });
    assert_eq!(rig.post_back(0, 1).flags, RECV_NO_PUSH);
    assert_eq!((rig.shadow(0).post_idx, rig.shadow(0).post_off), (1, 5));
}

/// Verifies
#[test]
fn push_timer_retires_a_partly_filled_post_and_restarts_with_data() {
    let mut rig = Rig::established();
    rig.post(USER, 1000, 0, IRS);
    rig.peer(Seg::new(IRS, ISS).text(b"one"));
    rig.run_for(400_000);
    rig.peer(Seg::new(IRS + 3, ISS).text(b"two"));
    rig.run_for(400_000);
    assert_eq!(rig.shadow(0).post_idx, 0, "restarted");
    rig.run_for(100_000);
    assert_eq!((rig.shadow(0).post_idx, rig.post_back(0, 0).len), (1, 6));
}

#[test]
fn without_posts_text_goes_to_pages_and_a_raced_post_is_skipped() {
    let mut rig = Rig::established();
    let data = pattern(IRS, 1460);
    rig.peer(Seg::new(IRS, ISS).text(&data));
    assert_eq!(rig.pooled(0, IRS, 1460), data);
    assert_eq!(rig.shadow(0).flags, SHADOW_VALID | SHADOW_POOL_MODE);
    // Posted before the driver knew: its first byte is already in a page.
    rig.post(USER, 1000, 0, IRS);
    assert_eq!(rig.shadow(0).post_idx, 1);
    rig.post(USER, 2000, 0, IRS + 1460);
    assert_eq!(rig.shadow(0).flags, SHADOW_VALID, "direct mode again");
    let more = pattern(IRS + 1460, 100);
    rig.peer(Seg::new(IRS + 1460, ISS).text(&more));
    assert_eq!(rig.bytes(USER, 100), more);
    assert_eq!((rig.shadow(0).post_idx, rig.shadow(0).post_off), (1, 100));
}

/// Verifies: R-246
#[test]
fn out_of_order_text_waits_in_pages_and_the_hole_is_filled() {
    let mut rig = Rig::new();
    assert_eq!(rig.offload(0, 1, |r| r.const_flags |= CONST_SACK).code(), 0);
    rig.post(USER, 10_000, 0, IRS);
    let data = pattern(IRS, 4000);
    rig.peer(Seg::new(IRS + 1000, ISS).text(&data[1000..2000]));
    let ack = rig.sent_one();
    assert_eq!((ack.ack, &ack.sack[..]), (IRS, &[(IRS + 1000, IRS + 2000)][..]));
    rig.peer(Seg::new(IRS + 3000, ISS).text(&data[3000..4000]));
    let ack = rig.sent_one();
    // RFC 2018 4: the block that changed last comes first.
    assert_eq!(ack.sack, [(IRS + 3000, IRS + 4000), (IRS + 1000, IRS + 2000)]);
    rig.peer(Seg::new(IRS, ISS).text(&data[..1000]));
    assert_eq!(rig.sent_one().ack, IRS + 2000);
    // The hole's bytes are in the post, the rest in pages.
    let back = rig.post_back(0, 0);
    assert_eq!((back.flags, back.len), (RECV_RETIRED, 1000));
    assert_eq!(rig.bytes(USER, 1000), data[..1000]);
    assert_eq!(rig.pooled(0, IRS + 1000, 1000), data[1000..2000]);
    // A segment that covers hole and range at once.
    rig.peer(Seg::new(IRS + 2000, ISS).text(&data[2000..3200]));
    assert_eq!(rig.shadow(0).rcv_nxt, IRS + 4000);
    assert_eq!(rig.pooled(0, IRS + 2000, 2000), data[2000..]);
    let ack = rig.sent_one();
    assert!(ack.sack.is_empty() && ack.ack == IRS + 4000);
}

/// Right after an offload the host still forwards what it held, and younger segments overtake it.
///
/// Verifies: R-239
#[test]
fn what_overtook_held_segments_is_not_reported_missing() {
    let mut rig = arriving();
    let data = pattern(IRS, 7000);
    let peer = |rig: &mut Rig, i: u32| {
        let (start, end) = (1000 * i as usize, 1000 * i as usize + 1000);
        rig.peer(Seg::new(IRS + 1000 * i, ISS).text(&data[start..end]));
    };
    for i in [2, 3, 4, 0] {
        peer(&mut rig, i);
    }
    assert!(rig.sent().is_empty(), "no duplicate ACK, and the first held one waits for the second");
    peer(&mut rig, 1);
    let ack = rig.sent_one();
    assert_eq!((ack.ack, ack.sack.len()), (IRS + 5000, 0));
    peer(&mut rig, 6);
    let ack = rig.sent_one();
    let block = (IRS + 6000, IRS + 7000);
    assert_eq!((ack.ack, &ack.sack[..]), (IRS + 5000, &[block][..]), "a hole from now on is a hole");
}

#[test]
fn what_stays_missing_after_an_offload_is_reported_when_its_time_is_over() {
    let mut rig = arriving();
    let data = pattern(IRS + 1000, 1000);
    rig.peer(Seg::new(IRS + 1000, ISS).text(&data));
    assert!(rig.sent().is_empty());
    rig.run_for(20_001);
    let ack = rig.sent_one();
    assert_eq!((ack.ack, &ack.sack[..]), (IRS, &[(IRS + 1000, IRS + 2000)][..]));
    let mut quiet = arriving();
    quiet.run_for(20_001);
    assert!(quiet.sent().is_empty(), "nothing is missing, nothing is said");
}

/// A connection that was just handed over by a host that may hold segments.
fn arriving() -> Rig {
    let mut rig = Rig::new();
    let status = rig.offload(0, 1, |r| {
        r.const_flags |= CONST_SACK;
        r.deleg_flags |= DELEG_ARRIVING;
        r.delack_deadline = 20_000;
    });
    assert_eq!(status.code(), 0);
    rig
}

#[test]
fn fifth_range_and_missing_pages_are_counted_drops() {
    let mut rig = Rig::established();
    for i in 0..5 {
        rig.peer(Seg::new(IRS + 1000 + i * 200, ISS).text(&[9; 100]));
    }
    assert_eq!(rig.count(&regs::CNT_DROP_NO_RANGE), 1);
    let mut rig = Rig::established();
    // 64 pages are 256 KiB; the window is slid along without the host taking anything.
    let mut seq = IRS;
    let mut stuck = 0;
    for _ in 0..220 {
        rig.ring_receive(0, 1, seq + WINDOW);
        rig.peer(Seg::new(seq, ISS).text(&pattern(seq, 1460)));
        let nxt = rig.shadow(0).rcv_nxt;
        stuck += u32::from(nxt == seq);
        seq = nxt;
    }
    assert!(stuck > 0 && rig.count(&regs::CNT_DROP_NO_PAGE) >= u64::from(stuck));
    // L5: it goes on as soon as there is a page, and nothing unplaced was acknowledged.
    let acked = rig.sent().iter().map(|s| s.ack).max().unwrap();
    assert_eq!(acked, seq);
    rig.give_pages(8);
    rig.peer(Seg::new(seq, ISS).text(&pattern(seq, 1460)));
    assert_eq!(rig.shadow(0).rcv_nxt, seq + 1460);
}

/// Verifies: R-220
#[test]
fn fin_completes_a_partial_post_of_either_mode_and_counts_one() {
    let mut rig = Rig::established();
    rig.post(USER, 1000, RECV_NO_PUSH, IRS);
    rig.peer(Seg { fin: true, ..Seg::new(IRS, ISS).text(b"bye") });
    let s = rig.shadow(0);
    assert_eq!((s.rcv_nxt, s.post_idx, s.flags), (IRS + 4, 1, SHADOW_VALID | SHADOW_PEER_FIN));
    assert_eq!(s.state & 0xF, TcpState::CloseWait.code());
    assert_eq!(rig.post_back(0, 0).len, 3);
    assert_eq!(rig.sent_one().ack, IRS + 4);
    // The FIN again, and text after it: acknowledged, not taken.
    rig.peer(Seg { fin: true, ..Seg::new(IRS, ISS).text(b"bye") });
    assert_eq!(rig.sent_one().ack, IRS + 4);
    rig.peer(Seg::new(IRS + 4, ISS).text(b"more"));
    assert_eq!((rig.sent_one().ack, rig.shadow(0).rcv_nxt), (IRS + 4, IRS + 4));
}

/// Verifies
#[test]
fn exact_rst_aborts_and_one_in_the_window_is_challenged_once() {
    let mut rig = Rig::established();
    rig.peer(Seg { rst: true, ..Seg::new(IRS + 10, ISS) });
    assert_eq!(rig.sent_one().ack, IRS);
    rig.peer(Seg { rst: true, ..Seg::new(IRS + 11, ISS) });
    assert!(rig.sent().is_empty(), "one challenge per validation period");
    rig.peer(Seg { rst: true, ..Seg::new(IRS - 1, ISS) });
    assert!(rig.sent().is_empty() && rig.shadow(0).flags & SHADOW_ABORTED == 0);
    rig.peer(Seg::new(IRS, ISS));
    rig.peer(Seg { rst: true, ..Seg::new(IRS + 10, ISS) });
    assert_eq!(rig.sent().len(), 1, "an acceptable segment ended the period");
    rig.peer(Seg { rst: true, ..Seg::new(IRS, ISS) });
    assert!(rig.sent().is_empty());
    let s = rig.shadow(0);
    assert_eq!((s.state & 0xF, s.flags), (TcpState::Closed.code(), SHADOW_VALID | SHADOW_ABORTED));
    rig.handed_up();
    rig.peer(Seg::new(IRS, ISS).text(b"late"));
    assert_eq!(rig.handed_up().len(), 1, "segments for CLOSED go up");
}

/// Verifies
#[test]
fn syn_is_challenged_or_hands_the_connection_back() {
    let mut rig = Rig::established();
    rig.peer(Seg { syn: true, ..Seg::new(IRS - 1, ISS) });
    rig.peer(Seg { syn: true, ..Seg::new(IRS + 7, ISS) });
    assert_eq!(rig.sent().len(), 2);
    rig.peer(Seg { syn: true, ..Seg::new(IRS, ISS) });
    let s = rig.shadow(0);
    assert_eq!(s.state, TcpState::Closed.code() | UploadReason::UploadRequested.code() << 4);
    assert_eq!(rig.handed_up().len(), 1);
}

/// Verifies: R-232
#[test]
fn urgent_text_stops_the_connection_and_goes_up() {
    let mut rig = Rig::established();
    let urgent = Seg { urg: true, ..Seg::new(IRS, ISS).text(b"!") };
    rig.peer(Seg { ack: ISS + 99, ..urgent.clone() });
    assert_eq!(rig.shadow(0).flags & SHADOW_RETRIEVE, 0, "invalid ACK: discarded");
    rig.sent();
    rig.peer(urgent.clone());
    rig.peer(Seg::new(IRS + 1, ISS).text(b"x"));
    assert_eq!(rig.handed_up().iter().map(|(f, _)| f.clone()).next().unwrap(), urgent.frame());
    assert!(rig.sent().is_empty());
    assert_eq!(rig.shadow(0).state >> 4, UploadReason::ReceivedUrgentData.code());
    assert_eq!((rig.count(&regs::CNT_HANDED_UP), rig.count(&regs::CNT_UPLOAD_URGENT)), (2, 1));
}

/// Verifies: R-248
#[test]
fn window_edges_hold_and_opening_is_announced() {
    let mut rig = Rig::new();
    assert_eq!(
        rig.offload(0, 1, |r| {
            (r.rcv_right, r.adv_right, r.initial_rcv_wnd) = (IRS + 1000, IRS + 1000, 8000);
        })
        .code(),
        0
    );
    // Exactly to the edge, one beyond, all beyond.
    rig.peer(Seg::new(IRS, ISS).text(&pattern(IRS, 1001)));
    assert_eq!(rig.shadow(0).rcv_nxt, IRS + 1000);
    let ack = rig.sent_one();
    assert_eq!((ack.ack, ack.wnd), (IRS + 1000, 0));
    rig.peer(Seg::new(IRS + 1000, ISS).text(b"p"));
    assert_eq!(rig.sent_one().ack, IRS + 1000, "a window probe is answered");
    // L3: never left; and never beyond what the slots can hold.
    rig.ring_receive(0, 1, IRS + 500);
    rig.ring_receive(0, 1, IRS + 1000 + MAX_RCV_WINDOW + 1);
    assert_eq!(rig.shadow(0).rcv_right, IRS + 1000);
    assert!(rig.sent().is_empty());
    rig.ring_receive(0, 1, IRS + 9000);
    let update = rig.sent_one();
    assert_eq!((update.ack, u32::from(update.wnd) << 1), (IRS + 1000, 8000));
    rig.ring_receive(0, 1, IRS + 9100);
    assert!(rig.sent().is_empty(), "a small step is not worth a segment");
    assert_eq!(rig.shadow(0).rcv_right, IRS + 9100);
}

/// Verifies: R-247
#[test]
fn paws_rejects_old_timestamps_and_the_echo_follows_the_stream() {
    let mut rig = Rig::new();
    let with_ts = |r: &mut TcpRecord| {
        r.const_flags |= CONST_TIMESTAMPS;
        (r.eff_mss, r.ts_recent, r.ts_offset) = (1448, 100, 77_000);
    };
    assert_eq!(rig.offload(0, 1, with_ts).code(), 0);
    rig.run_for(5_000);
    rig.peer(Seg { ts: Some((99, 0)), ..Seg::new(IRS, ISS).text(b"old") });
    let ack = rig.sent_one();
    assert_eq!((ack.ack, ack.ts), (IRS, Some((77_005, 100))));
    rig.peer(Seg::new(IRS, ISS).text(b"none"));
    assert_eq!(rig.shadow(0).rcv_nxt, IRS, "RFC 7323 3.2");
    rig.peer(Seg { ts: Some((200, 0)), psh: true, ..Seg::new(IRS, ISS).text(b"new") });
    rig.run_for(40_000);
    assert_eq!(rig.sent_one().ts, Some((77_045, 200)));
    let (_, image) = rig.take_back(0, 1, Opcode::Terminate);
    assert_eq!((image.ts_offset, image.ts_recent, image.ts_recent_ms), (77_045, 200, 40));
}

#[test]
fn one_unconsumed_event_per_connection_and_another_after_it_is_consumed() {
    let mut rig = Rig::established();
    for i in 0..10 {
        rig.peer(Seg::new(IRS + i, ISS).text(b"x"));
    }
    let events = rig.events(false);
    assert_eq!(events.len(), 1);
    assert_eq!((events[0].conn, events[0].generation, events[0].kind), (0, 1, 1));
    assert!(rig.nic.irq());
    rig.write(&regs::IRQ_STATUS, 0xF);
    assert!(!rig.nic.irq());
    assert!(rig.events(true).is_empty());
    assert_eq!(rig.events(true).len(), 1, "there was progress after the first event");
    assert!(rig.events(true).is_empty());
}
