//! Golden model, life of a connection: offload, query, update, invalidate, upload, stale names, rings, law L2.

mod golden_rig;

use chimney_abi::cmd::{ImageKind, Opcode, Status, TcpState, UploadReason};
use chimney_abi::desc::*;
use chimney_abi::regs;
use chimney_abi::state::*;
use chimney_sim::device::{Device, Limit};
use chimney_sim::golden::Faults;
use golden_rig::wire::Seg;
use golden_rig::*;

#[test]
fn identity_reset_and_idle_are_as_the_guide_says() {
    let mut rig = Rig::new();
    let id = rig.nic.mmio_read(regs::ID.offset);
    assert_eq!(id, regs::ID_MAGIC << 16 | 1);
    assert_eq!(rig.nic.mmio_read(regs::VERSION.offset) >> 16, 0x0608);
    assert_eq!(rig.nic.mmio_read(regs::STATUS.offset), 0);
    rig.write(&regs::CTRL, 0);
    assert_eq!(rig.nic.mmio_read(regs::STATUS.offset), 1);
    rig.write(&regs::TIME_SET, 0xFFFF_FFF0);
    rig.run_for(0x20);
    assert_eq!(rig.nic.mmio_read(regs::TIME_LO.offset), 0x10);
    assert_eq!(rig.nic.mmio_read(regs::TIME_HI.offset), 1);
    rig.write(&regs::RESET, 1);
    assert_eq!(rig.nic.mmio_read(regs::RESET.offset), 0);
    for reg in regs::ALL.iter().filter(|r| r.offset < regs::TIME_LO.offset && r.offset > regs::CAPS.offset) {
        let want = if reg.name == "STATUS" { 1 } else { reg.reset };
        assert_eq!(rig.nic.mmio_read(reg.offset), want, "{}", reg.name);
    }
    rig.nic.kill();
    assert_eq!(rig.nic.mmio_read(regs::ID.offset), u32::MAX);
}

/// Verifies
#[test]
fn ordinary_frames_pass_both_ways_with_checksum_verdicts() {
    let mut rig = Rig::new();
    let good = Seg::new(1, 2).text(b"nobody's").frame();
    let mut bad_tcp = good.clone();
    *bad_tcp.last_mut().unwrap() ^= 1;
    let mut bad_ip = good.clone();
    bad_ip[22] ^= 1;
    let arp = [vec![0xFF; 12], vec![8, 6], vec![0; 28]].concat();
    let both = RX_IP_CSUM_OK | RX_L4_CSUM_OK;
    for (frame, verdict) in [(good, both), (bad_tcp, RX_IP_CSUM_OK), (bad_ip, 0), (arp.clone(), 0)] {
        rig.nic.rx_frame(&frame, false);
        rig.settle();
        assert_eq!(rig.handed_up(), [(frame, verdict)]);
    }
    rig.nic.rx_frame(&arp, true);
    rig.nic.rx_frame(&[0; RX_BUFFER_BYTES as usize + 1], false);
    rig.settle();
    assert_eq!((rig.count(&regs::CNT_DROP_BAD_FRAME), rig.count(&regs::CNT_DROP_TOO_LONG)), (1, 1));
    for _ in 0..70 {
        rig.nic.rx_frame(&arp, false);
    }
    rig.settle();
    assert_eq!(rig.handed_up().len() as u64 + rig.count(&regs::CNT_DROP_NO_BUFFER), 70);
    // Checksum offload: the field holds the pseudo-header sum.
    let mut frame = Seg::new(7, 8).text(b"odd").frame();
    let want = frame.clone();
    let words = [10 << 8, 2, 10 << 8, 1, 6, (frame.len() - 34) as u32];
    let sum = words.iter().sum::<u32>();
    frame[50..52].copy_from_slice(&((sum & 0xFFFF) as u16 + (sum >> 16) as u16).to_be_bytes());
    rig.transmit(&frame, TX_CSUM, (34, 16));
    rig.transmit(&[0; 13], 0, (0, 0));
    rig.settle();
    let padded = [&want[..], &[0; 60 - 57]].concat();
    assert_eq!((want.len(), rig.nic.pop_tx_frame()), (57, Some(padded)));
    assert_eq!(rig.count(&regs::CNT_TX_BYTES), 60, "counted as it leaves");
    assert_eq!(rig.nic.pop_tx_frame(), None, "13 bytes are no frame");
    assert_eq!((rig.status_line().tx_consumer, rig.count(&regs::CNT_BAD_REQUEST)), (2, 1));
    rig.give_rx_buffers(10);
    rig.transmit(&want, TX_LOOPBACK, (0, 0));
    rig.settle();
    assert_eq!(rig.handed_up(), [(want, both)]);
}

/// Verifies: R-006
#[test]
fn a_large_frame_leaves_as_segments_and_a_bad_one_loses_nothing_else() {
    let mut rig = Rig::new();
    let text = pattern(0, 4000);
    let mut frame = Seg::new(7, 8).text(&text).frame();
    // From the host to the peer.
    let ports = [&frame[36..38], &frame[34..36]].concat();
    frame[34..38].copy_from_slice(&ports);
    let desc = TxDesc { flags: TX_LSO, mss: 1448, ..TxDesc::default() };
    rig.transmit_desc(&frame, TxDesc { mss: 0, ..desc });
    rig.transmit_desc(&frame, desc);
    rig.transmit_desc(&frame[..54], desc);
    rig.settle();
    assert_eq!((rig.status_line().tx_consumer, rig.count(&regs::CNT_BAD_REQUEST)), (3, 2));
    let sent = rig.sent();
    assert_eq!(sent.iter().map(|s| s.seq).collect::<Vec<_>>(), [7, 1455, 2903]);
    assert_eq!(sent.into_iter().flat_map(|s| s.text).collect::<Vec<_>>(), text);
    assert_eq!((rig.count(&regs::CNT_TX_FRAMES), rig.count(&regs::CNT_TX_BYTES)), (3, 4000 + 3 * 54));
}

/// Verifies: R-242
#[test]
fn a_forwarded_segment_is_treated_like_one_from_the_wire() {
    let mut rig = Rig::established();
    rig.transmit(&Seg::new(IRS, ISS).text(b"held by the host").frame(), TX_LOOPBACK, (0, 0));
    rig.settle();
    assert_eq!(rig.shadow(0).rcv_nxt, IRS + 16);
    assert!(rig.handed_up().is_empty());
}

/// Verifies
#[test]
fn offload_with_unacknowledged_and_unsent_text_goes_on_where_the_host_was() {
    let mut rig = Rig::new();
    let data = pattern(ISS, 6000);
    rig.write_send(0, ISS, &data, SEND_PUSH);
    let status = rig.offload(0, 3, |r| {
        (r.snd_nxt, r.snd_max, r.snd_limit) = (ISS + 1460, ISS + 2920, ISS + 6000);
        r.rtx_deadline = 100_000;
    });
    assert_eq!(status, Status::Success);
    let sent = rig.sent();
    assert_eq!(sent.iter().map(|s| s.seq - ISS).collect::<Vec<_>>(), [1460, 2920, 4380]);
    rig.run_for(100_000);
    assert_eq!(rig.sent_one().seq, ISS, "the host's timer goes on");
    rig.peer(Seg::new(IRS, ISS + 5840));
    assert_eq!(rig.sent_one().text, data[5840..], "Nagle held the rest");
    rig.peer(Seg::new(IRS, ISS + 6000));
    assert_eq!((rig.shadow(0).snd_una, rig.shadow(0).generation), (ISS + 6000, 3));
}

#[test]
fn out_of_order_bytes_move_with_the_connection_in_both_directions() {
    let mut rig = Rig::new();
    let data = pattern(IRS, 300);
    rig.preload_page(0, 1, 200, IRS + 100, &data[100..200]);
    let status = rig.offload(0, 1, |r| (r.ooo0_start, r.ooo0_end) = (IRS + 100, IRS + 200));
    assert_eq!(status, Status::Success);
    rig.peer(Seg::new(IRS + 250, ISS).text(&data[250..300]));
    rig.peer(Seg::new(IRS, ISS).text(&data[..100]));
    let (status, image) = rig.take_back(0, 1, Opcode::Terminate);
    assert_eq!((status, image.rcv_nxt), (Status::Success, IRS + 200));
    assert_eq!((image.ooo0_start, image.ooo0_end), (IRS + 250, IRS + 300));
    assert_eq!(image.ooo1_start, image.ooo1_end);
    assert_eq!(rig.pooled(0, IRS, 200), data[..200]);
    assert_eq!(rig.pooled(0, IRS + 250, 50), data[250..]);
}

/// Verifies
#[test]
fn upload_sends_the_ack_it_owes_and_returns_every_variable() {
    let mut rig = Rig::established();
    rig.send(ISS, b"unacknowledged");
    rig.sent();
    rig.run_for(100_000);
    rig.post(USER, 100, 0, IRS);
    rig.peer(Seg::new(IRS, ISS).text(b"unread"));
    let (status, image) = rig.take_back(0, 1, Opcode::Terminate);
    assert_eq!(status, Status::Success);
    assert_eq!(rig.sent_one().ack, IRS + 6);
    assert_eq!(
        (image.rcv_nxt, image.snd_una, image.snd_nxt, image.snd_max),
        (IRS + 6, ISS, ISS + 14, ISS + 14)
    );
    assert_eq!((image.rtx_deadline, image.ka_deadline), (200_000, NO_TIMER));
    assert_eq!((image.delack_deadline, image.push_deadline, image.timers), (NO_TIMER, NO_TIMER, 0));
    assert_eq!((image.post_idx, image.post_off, image.rtt_start_us), (0, 6, 100_000));
    assert_eq!(rig.shadow(0).rcv_nxt, IRS + 6);
    rig.peer(Seg::new(IRS + 6, ISS));
    assert_eq!(rig.handed_up().len(), 1, "its frames are the host's again");
    // The same id with another generation; the old name is stale (law L1).
    let again = rig.offload(0, 2, |r| {
        *r = TcpRecord { send_ring: r.send_ring, recv_ring: r.recv_ring, send_producer: 1, ..image };
    });
    assert_eq!(again, Status::Success);
    rig.ring_send(0, 1, 0, ISS + 50);
    assert_eq!(rig.take_back(0, 1, Opcode::Query).0, Status::Stale);
    assert_eq!(rig.count(&regs::CNT_STALE), 2);
    rig.run_for(200_000);
    assert_eq!(rig.sent_one().text, b"unacknowledged");
}

/// A hand-over in both directions changes nothing but the clocks.
#[test]
fn offload_and_upload_are_the_identity_on_the_record() {
    let mut rig = Rig::new();
    rig.run_for(12_345_678);
    let given = TcpRecord {
        const_flags: CONST_TIMESTAMPS | CONST_SACK,
        cached_flags: CACHED_NAGLE | CACHED_KEEP_ALIVE,
        eff_mss: 1448,
        ka_deadline: 5_000_000,
        ka_timeout_ms: 7_000_000,
        ts_recent_ms: 1234,
        ts_recent: 99,
        ts_offset: 4_000_000_000,
        rtt_start_us: 777,
        last_rx_ms: 888,
        srtt_us_x8: 80_000,
        rttvar_us_x4: 40_000,
        cwnd_acc: 17,
        phase: 1,
        recover: ISS,
        dup_acks: 2,
        probe_round: 1,
        total_rt_us: 5,
        tos: 0x28,
        generation: 1,
        rtx_deadline: NO_TIMER,
        ..rig.record(0)
    };
    assert_eq!(rig.offload(0, 1, |r| *r = given), Status::Success);
    let (_, query) = rig.take_back(0, 1, Opcode::Query);
    let (_, back) = rig.take_back(0, 1, Opcode::Terminate);
    assert_eq!(query, back);
    // What the device owns, and only that, differs.
    let expected = TcpRecord {
        durable_rcv_nxt: IRS,
        durable_rcv_right: IRS + WINDOW,
        shadow_tag: 3,
        delack_deadline: NO_TIMER,
        push_deadline: NO_TIMER,
        ..given
    };
    assert_eq!(back, expected);
}

#[test]
fn images_that_cannot_be_run_are_refused_by_name() {
    let mut rig = Rig::new();
    type Change = fn(&mut TcpRecord);
    let table: [(&str, Change, Status); 16] = [
        ("state", |r| r.tcp_state = TcpState::SynSent.code(), Status::Rejected),
        ("unknown state", |r| r.tcp_state = 99, Status::Rejected),
        ("window", |r| r.rcv_right = r.rcv_nxt + MAX_RCV_WINDOW + 1, Status::TcpRcvWindow),
        ("left edge", |r| r.rcv_right = r.rcv_nxt - 1, Status::TcpRcvWindow),
        ("shift", |r| r.snd_wind_shift = 15, Status::Rejected),
        ("ring", |r| r.send_ring_log2 = 16, Status::Rejected),
        ("producer", |r| r.recv_producer = 257, Status::Rejected),
        ("mss", |r| r.eff_mss = 1461, Status::Rejected),
        ("order", |r| r.snd_nxt = r.snd_una - 1, Status::Rejected),
        ("ipv6", |r| r.const_flags = CONST_IPV6, Status::Rejected),
        ("ranges", |r| (r.ooo0_start, r.ooo0_end) = (IRS, IRS + 1), Status::Rejected),
        ("phase", |r| r.phase = 3, Status::Rejected),
        (
            "max before una",
            |r| (r.snd_nxt, r.snd_max) = (r.snd_una, r.snd_una.wrapping_sub(1 << 30)),
            Status::Rejected,
        ),
        (
            "all around",
            |r| (r.snd_nxt, r.snd_max) = (r.snd_una.wrapping_add(5 << 28), r.snd_una.wrapping_add(10 << 28)),
            Status::Rejected,
        ),
        ("too much posted", |r| r.snd_limit = r.snd_una.wrapping_add(1 << 30), Status::Rejected),
        ("a hole in the list", |r| (r.ooo1_start, r.ooo1_end) = (IRS + 9, IRS + 12), Status::Rejected),
    ];
    for (name, change, want) in table {
        assert_eq!(rig.offload(0, 1, change), want, "{name}");
    }
    assert_eq!(rig.offload(0, 0, |_| {}), Status::BadRequest, "generation 0");
    assert_eq!(rig.offload(0, 1, |_| {}), Status::Success);
    assert_eq!(rig.offload(0, 2, |_| {}), Status::TcpEntries, "id in use");
    let tuple = rig.record(0).remote_port;
    assert_eq!(rig.offload(1, 1, |r| r.remote_port = tuple), Status::Rejected, "4-tuple in use");
    assert_eq!(rig.path(0, Opcode::Initiate), Status::PathEntries);
    assert_eq!(rig.neighbor(0, Opcode::Initiate), Status::NeighborEntries);
    assert_eq!(rig.neighbor(64, Opcode::Initiate), Status::NeighborEntries);
    let orphan = ImageHeader { parent_generation: 9, ..header(ImageKind::Path, 5, 0, PathImage::BYTES) };
    let body = PathImage { mtu: 1500, ..PathImage::default() }.to_bytes();
    assert_eq!(rig.image(Opcode::Initiate, orphan, &body).0, Status::NoParent);
    let short = ImageHeader { length: 17, ..header(ImageKind::Path, 5, 0, PathImage::BYTES) };
    assert_eq!(rig.image(Opcode::Initiate, short, &body).0, Status::BadRequest);
    let bad_command = Command { opcode: 77, cookie: 3, ..Command::default() };
    assert_eq!(rig.command(bad_command).status, Status::BadRequest.code());
    let lost = Command { opcode: 1, count: 2, iova: 0x10, cookie: 4, ..Command::default() };
    let done = rig.command(lost);
    assert_eq!((done.status, done.failed), (Status::HardwareFailure.code(), 2));
}

/// Verifies
#[test]
fn an_invalid_neighbor_stops_sending_and_a_relink_moves_all_dependents() {
    let mut rig = Rig::established();
    assert_eq!(rig.offload(1, 1, |_| {}), Status::Success);
    assert_eq!(rig.neighbor(0, Opcode::Invalidate), Status::Success);
    rig.send(ISS, b"nowhere");
    assert!(rig.sent().is_empty());
    assert_eq!(rig.shadow(0).state >> 4, UploadReason::InvalidState.code());
    let body = NeighborImage { dst_mac: 0xAB, ..NeighborImage::default() };
    let h = header(ImageKind::Neighbor, 1, 0, NeighborImage::BYTES);
    assert_eq!(rig.image(Opcode::Initiate, h, &body.to_bytes()).0, Status::Success);
    let path = PathImage { mtu: 600, ..PathImage::default() };
    let h = header(ImageKind::Path, 0, 1, PathImage::BYTES);
    assert_eq!(rig.image(Opcode::Update, h, &path.to_bytes()).0, Status::Success);
    rig.write_send(1, ISS, &[1; 1000], 0);
    rig.ring_send(1, 1, 0, ISS + 1000);
    let frame = rig.nic.pop_tx_frame().unwrap();
    assert_eq!((frame[0], frame.len()), (0xAB, 614), "new neighbor, new MTU");
    assert_eq!(rig.take_back(0, 1, Opcode::Terminate).0, Status::Success);
    assert_eq!(rig.path(0, Opcode::Terminate), Status::Success);
    assert_eq!(rig.path(0, Opcode::Query), Status::Stale);
}

/// The driver keeps the ages; the device gives back what it was given, as the RTL does.
#[test]
fn a_neighbor_comes_back_as_it_was_stored() {
    let mut rig = Rig::established();
    let h = header(ImageKind::Neighbor, 1, 0, NeighborImage::BYTES);
    let given = NeighborImage {
        dst_mac: 0xAB,
        vlan: 7,
        host_reachability_ms: 11,
        nic_reachability_ms: 12,
        ..NeighborImage::default()
    };
    assert_eq!(rig.image(Opcode::Initiate, h, &given.to_bytes()).0, Status::Success);
    rig.run_for(5_000_000);
    let new = NeighborImage { dst_mac: 0xCD, vlan: 8, host_reachability_ms: 21, ..given };
    assert_eq!(rig.image(Opcode::Update, h, &new.to_bytes()).0, Status::Success);
    for op in [Opcode::Query, Opcode::Terminate] {
        let (status, body) = rig.image(op, h, &[0; NeighborImage::BYTES]);
        let body = NeighborImage::from_bytes(&body);
        assert_eq!((status, body), (Status::Success, NeighborImage { dst_mac: 0xCD, ..given }), "{op:?}");
    }
}

/// Verifies
#[test]
fn abort_sends_one_reset_and_stops() {
    let mut rig = Rig::established();
    let abort =
        |generation| Command { opcode: Opcode::Abort.code(), generation, cookie: 9, ..Command::default() };
    assert_eq!(rig.command(abort(9)).status, Status::Stale.code());
    assert_eq!(rig.command(abort(1)).status, Status::Success.code());
    let reset = rig.sent_one();
    assert!(reset.rst && reset.seq == ISS && reset.ack == IRS);
    assert_eq!(rig.shadow(0).flags & SHADOW_ABORTED, SHADOW_ABORTED);
    assert_eq!(rig.command(abort(1)).status, Status::Success.code());
    rig.peer(Seg::new(IRS, ISS).text(b"x"));
    rig.run_for(10_000_000);
    assert!(rig.sent().is_empty());
}

#[test]
fn doorbells_that_cannot_be_true_are_refused_and_counted() {
    let mut rig = Rig::established();
    let low = |producer: u32, generation: u32| producer | generation << 16;
    let bad = [
        (0, false, low(300, 1), ISS),
        (0, false, low(0, 1), ISS - 1),
        (0, true, low(300, 1), IRS),
        (0, true, low(0xFFFF, 1), IRS),
    ];
    for (conn, receive, low, limit) in bad {
        rig.doorbell(conn, receive, low, limit);
    }
    assert_eq!(rig.count(&regs::CNT_BAD_REQUEST), bad.len() as u64);
    rig.doorbell(0, false, low(0, 2), ISS);
    rig.doorbell(7, true, low(0, 1), ISS);
    assert_eq!(rig.count(&regs::CNT_STALE), 2);
    rig.send_fin(ISS);
    rig.sent();
    rig.ring_send(0, 1, 0, ISS + 1);
    rig.write(&regs::EVENT_CONSUMER, 1000);
    rig.write(&regs::TX_PRODUCER, 1000);
    assert_eq!(rig.count(&regs::CNT_BAD_REQUEST), bad.len() as u64 + 3, "nothing follows a FIN");
    rig.peer(Seg::new(IRS, ISS + 1));
    assert_eq!(rig.shadow(0).state & 0xF, TcpState::FinWait2.code());
}

#[test]
fn heartbeat_counts_and_the_interrupt_keeps_its_distance() {
    let mut rig = Rig::new();
    let start = rig.status_line().heartbeat;
    rig.run_for(1_000_000);
    assert_eq!(rig.status_line().heartbeat - start, 100);
    rig.write(&regs::IRQ_HOLDOFF_US, 100);
    rig.write(&regs::IRQ_STATUS, 0xF);
    rig.nic.rx_frame(&[0; 60], false);
    rig.settle();
    assert!(rig.nic.irq());
    rig.write(&regs::IRQ_STATUS, 0xF);
    rig.nic.rx_frame(&[0; 60], false);
    rig.settle();
    assert!(!rig.nic.irq());
    let before = rig.now_us;
    let limit = Limit::until(before + 5_000).or_output();
    assert!(rig.nic.advance(limit).has_output);
    assert_eq!(rig.nic.now_us(), before + 100);
}

/// Law L2 by brute force: cut the device off at every single write of a transfer. What it had acknowledged by then is in
/// memory, and the shadow record says so.
fn acknowledged_but_lost(faults: Faults) -> usize {
    let mut lost = 0;
    for cut in 0..120 {
        let mut rig = Rig::established();
        rig.nic.set_faults(faults);
        rig.post(USER, 1500, 0, IRS);
        rig.post(USER + 0x1000, 1500, 0, IRS + 1500);
        rig.nic.die_after_writes(cut);
        let (mut acked, mut seq) = (IRS, IRS);
        for _ in 0..20 {
            rig.peer(Seg::new(seq, ISS).text(&pattern(seq, 300)));
            seq += 300;
            acked = rig.sent().iter().map(|s| s.ack).max().unwrap_or(acked);
        }
        let s = rig.shadow(0);
        let mut stream = Vec::new();
        for (i, at) in [USER, USER + 0x1000].into_iter().enumerate() {
            let back = rig.post_back(0, i as u16);
            let len = match (i as u16).cmp(&s.post_idx) {
                std::cmp::Ordering::Less if back.flags & RECV_RETIRED != 0 => back.len,
                std::cmp::Ordering::Equal if s.flags & SHADOW_POOL_MODE == 0 => s.post_off,
                _ => 0,
            };
            stream.extend(rig.bytes(at, len as usize));
        }
        let pooled = (s.rcv_nxt - IRS) as usize - stream.len();
        stream.extend(rig.pooled(0, IRS + stream.len() as u32, pooled));
        assert_eq!(stream, pattern(IRS, stream.len()), "cut {cut}");
        lost += usize::from((acked - IRS) as usize > stream.len());
    }
    lost
}

#[test]
fn what_was_acknowledged_is_in_memory_at_every_write() {
    assert_eq!(acknowledged_but_lost(Faults::default()), 0);
    let early = Faults { ack_before_durable: true };
    assert!(acknowledged_but_lost(early) > 0, "the test sees a device that acknowledges early");
}
