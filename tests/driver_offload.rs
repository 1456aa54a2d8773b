//! The driver on the golden model and on the RTL: trees, tokens, statuses, query, update, invalidate, and the identity of a hand-over.

#[allow(dead_code)] // each test file uses its part
mod harness;

use chimney_abi::cmd::{Status, TcpState, UploadReason};
use chimney_abi::offload::{
    ConnectionEvent, Offload, OffloadError, PathState, Range, Role, TcpBlockState, TcpCounts, Token, Tree,
};
use chimney_abi::regs;
use chimney_abi::state::{TcpRecord, DELEG_FIN_POSTED, DELEG_FIN_SENT, DELEG_PEER_FIN, NO_TIMER};
use chimney_driver::{quota_pages, Config};
use chimney_sim::rng::{test_seed, Rng};
use harness::{
    config, established, linker_tree, new_tree, stream, tcp_block, TestDevice, Tokens, World, HOST_ISS,
    HOST_WINDOW, PEER_ISS, PEER_WINDOW,
};

/// A connection in the middle of everything.
fn busy(rng: &mut Rng) -> TcpBlockState {
    let mut s = established();
    let unacked = rng.below(20_000) as usize;
    let unsent = rng.below(20_000) as usize;
    let buffered = rng.below(9000) as usize;
    s.send_data = stream(1, 0, unacked + unsent);
    s.push_marks = if s.send_data.is_empty() { vec![] } else { vec![s.send_data.len() as u32] };
    s.buffered = stream(2, 0, buffered);
    let r = &mut s.record;
    r.snd_max = HOST_ISS.wrapping_add(unacked as u32);
    r.snd_nxt = r.snd_max;
    r.snd_limit = HOST_ISS.wrapping_add((unacked + unsent) as u32);
    // The peer's window is full, so nothing goes out during the visit.
    r.snd_wnd = unacked as u32;
    r.max_snd_wnd = PEER_WINDOW.into();
    r.cwnd = 1460 + rng.below(100_000) as u32;
    r.ssthresh = 2920 + rng.below(1 << 20) as u32;
    (r.srtt_us_x8, r.rttvar_us_x4, r.rto_us) =
        (rng.below(1 << 20) as u32, rng.below(1 << 18) as u32, 900_000);
    (r.ttl, r.tos) = (rng.below(255) as u8 + 1, rng.below(64) as u8 * 4);
    r.rtx_deadline = if unacked > 0 { 5_000_000 } else { NO_TIMER };
    let next = PEER_ISS.wrapping_add(buffered as u32);
    (r.rcv_nxt, r.last_ack_sent, r.snd_wl1) = (next, next, next);
    let mut at = 1 + rng.below(3000) as u32;
    let mut ranges = [(next, next); 4];
    for range in ranges.iter_mut().take(rng.below(5) as usize) {
        let len = 1 + rng.below(6000) as u32;
        let start = next.wrapping_add(at);
        s.out_of_order.push(Range { seq: start, bytes: stream(3, at as usize, (at + len) as usize) });
        *range = (start, start.wrapping_add(len));
        at += len + 1 + rng.below(3000) as u32;
    }
    chimney_driver::record::set_ranges(r, ranges);
    s
}

/// Fields that a visit without a segment may change: empty ranges have no place of their own.
fn normal(mut s: TcpBlockState) -> TcpBlockState {
    let mut ranges = chimney_driver::record::ranges(&s.record);
    ranges.iter_mut().filter(|(start, end)| start == end).for_each(|r| *r = (0, 0));
    chimney_driver::record::set_ranges(&mut s.record, ranges);
    s.counts = TcpCounts::default();
    let r = &mut s.record;
    (r.ooo_recent, r.ack_pending) = (0, 0);
    // A clocked device takes time: ages grow and deadlines come nearer.
    let passed = r.rtt_start_us;
    assert!(passed < 20_000, "{passed} us for a visit");
    r.rtt_start_us = 0;
    for age_ms in [&mut r.ts_recent_ms, &mut r.last_rx_ms] {
        assert!(*age_ms <= passed / 1000 + 1, "{age_ms} ms of {passed} us");
        *age_ms = 0;
    }
    if r.rtx_deadline != NO_TIMER {
        r.rtx_deadline += passed;
    }
    s
}

/// Verifies.
fn offload_then_upload_is_the_identity<D: TestDevice>() {
    let mut rng = Rng::new(test_seed(11));
    for round in 0..D::ROUNDS {
        let mut world = World::<D>::make();
        let state = busy(&mut rng);
        let tokens = world.offload(state.clone());
        let back = world.upload(tokens);
        let (back, state) = (normal(back), normal(state));
        assert_eq!(back.record, state.record, "round {round}");
        assert!(back == state, "round {round}: the streams differ");
        assert!(world.host.indications.is_empty() && world.host.sends.is_empty());
        world.assert_no_leaks(&config());
    }
}

/// Verifies: R-066.
fn closing_states_pass_through<D: TestDevice>() {
    let fin = DELEG_FIN_POSTED | DELEG_FIN_SENT;
    for (state, flags, acked) in [
        (TcpState::FinWait1, fin, 0),
        (TcpState::FinWait2, fin, 1),
        (TcpState::CloseWait, DELEG_PEER_FIN, 0),
        (TcpState::Closing, fin | DELEG_PEER_FIN, 0),
        (TcpState::LastAck, fin | DELEG_PEER_FIN, 0),
    ] {
        let mut world = World::<D>::make();
        let mut s = established();
        let r = &mut s.record;
        (r.tcp_state, r.deleg_flags) = (state.code(), flags);
        let fin_sent = u32::from(flags & DELEG_FIN_SENT != 0);
        r.snd_una = HOST_ISS.wrapping_add(acked);
        r.snd_max = HOST_ISS.wrapping_add(fin_sent);
        r.snd_nxt = r.snd_max;
        r.snd_wl2 = r.snd_una;
        r.recover = r.snd_una;
        r.rtx_deadline = if r.snd_max == r.snd_una { NO_TIMER } else { 200_000 };
        if flags & DELEG_PEER_FIN != 0 {
            r.rcv_nxt = r.rcv_nxt.wrapping_add(1);
            r.last_ack_sent = r.rcv_nxt;
            s.buffered = stream(1, 0, 500);
        }
        let tokens = world.offload(s.clone());
        let back = world.upload(tokens);
        assert_eq!(back.record.tcp_state, state.code(), "{state:?}");
        assert_eq!(
            (back.record.snd_una, back.record.snd_max),
            (s.record.snd_una, s.record.snd_max),
            "{state:?}"
        );
        assert_eq!(
            (back.record.rcv_nxt, back.record.snd_limit),
            (s.record.rcv_nxt, s.record.snd_limit),
            "{state:?}"
        );
        assert_eq!(back.buffered, s.buffered, "{state:?}");
        assert_eq!(back.record.deleg_flags & (fin | DELEG_PEER_FIN), flags, "{state:?}");
        world.assert_no_leaks(&config());
    }
}

/// Verifies.
fn many_connections_go_in_one_call_and_those_without_room_say_why<D: TestDevice>() {
    let room = D::CONNECTIONS;
    let config = with_pages_for(room);
    let mut world = World::<D>::make_with(config);
    let states = (0..room as u16 + 4)
        .map(|i| {
            let mut s = established();
            s.record.remote_port += i;
            s
        })
        .collect();
    world.driver.initiate(new_tree(states)).unwrap();
    world.settle();
    let mut tree = world.host.initiated.pop().unwrap();
    let path = &tree[0].paths[0];
    assert_eq!((tree[0].status, path.status), (Status::Success, Status::PartialSuccess));
    let good = |n: usize| path.connections.iter().skip(n).all(|c| c.status == Status::Success);
    let statuses: Vec<_> = path.connections.iter().map(|c| c.status).collect();
    assert!(
        path.connections.iter().take(room).all(|c| c.status == Status::Success),
        "{room} entries: {statuses:?}"
    );
    assert!(!good(room));
    assert!(path.connections[room..].iter().all(|c| (c.status, c.role) == (Status::TcpEntries, Role::New)));
    tree[0].paths[0].connections.truncate(room);
    (tree[0].selected, tree[0].paths[0].selected) = (true, true);
    world.driver.terminate(tree).unwrap();
    world.settle();
    let tree = world.host.terminated.pop().unwrap();
    let path = &tree[0].paths[0];
    assert!(path.connections.iter().all(|c| c.status == Status::Success && c.state.is_some()));
    assert!(path.state.is_some() && tree[0].state.is_some());
    world.assert_no_leaks(&config);
    world.device.borrow().assert_clean();
}

/// A pool that can promise full windows to so many connections, and half of one.
fn with_pages_for(connections: usize) -> Config {
    let quota = quota_pages(HOST_WINDOW);
    let pages = connections as u32 * quota + quota / 2 + u32::from(config().reserve_pages);
    Config { pool_pages: pages as u16, ..config() }
}

/// Each connection's window is a promise of pages: where no page is left to promise, the refusal says so and the
/// others are not touched.
///
/// Verifies.
fn a_connection_whose_window_has_no_pages_is_refused<D: TestDevice>() {
    let config = with_pages_for(3);
    let mut world = World::<D>::make_with(config);
    let states = (0..5).map(|i| {
        let mut s = established();
        s.record.remote_port += i;
        s
    });
    world.driver.initiate(new_tree(states.collect())).unwrap();
    world.settle();
    let mut tree = world.host.initiated.pop().unwrap();
    let statuses: Vec<_> = tree[0].paths[0].connections.iter().map(|c| c.status).collect();
    let (good, short) = (Status::Success, Status::Resources);
    assert_eq!(statuses, [good, good, good, short, short]);
    tree[0].paths[0].connections.truncate(3);
    (tree[0].selected, tree[0].paths[0].selected) = (true, true);
    world.driver.terminate(tree).unwrap();
    world.settle();
    world.assert_no_leaks(&config);
}

/// Verifies.
fn a_second_connection_links_to_the_path_of_the_first<D: TestDevice>() {
    let mut world = World::<D>::make();
    let first = world.offload(established());
    let mut tree = linker_tree(first);
    let mut state = established();
    state.record.remote_port += 1;
    tree[0].paths[0].connections = vec![tcp_block(Role::New, 11, Some(state))];
    world.driver.initiate(tree).unwrap();
    world.settle();
    let tree = world.host.initiated.pop().unwrap();
    let second = Tokens::of(&tree);
    assert_eq!((second.path, second.neighbor), (first.path, first.neighbor));
    assert_ne!(second.conn, first.conn);
    // The path may not go while the other connection stands on it.
    assert_eq!(world.driver.terminate(linker_tree(first)), Err(OffloadError::WrongPhase));
    let mut only = linker_tree(first);
    (only[0].selected, only[0].paths[0].selected) = (false, false);
    world.driver.terminate(only).unwrap();
    world.settle();
    assert!(world.host.terminated.pop().unwrap()[0].paths[0].state.is_none());
    world.upload(second);
    world.assert_no_leaks(&config());
}

/// Verifies.
fn dead_tokens_and_wrong_phases_are_refused<D: TestDevice>() {
    let mut world = World::<D>::make();
    let tokens = world.offload(established());
    world.driver.terminate(linker_tree(tokens)).unwrap();
    let request = chimney_abi::offload::SendRequest {
        buffer: world.driver.allocate(10).unwrap(),
        offset_bytes: 0,
        len_bytes: 10,
    };
    assert_eq!(world.driver.send(tokens.conn, request), Err(OffloadError::WrongPhase));
    assert_eq!(world.driver.query(linker_tree(tokens)), Err(OffloadError::WrongPhase));
    assert_eq!(world.driver.forward(tokens.conn, &[0; 20]), Err(OffloadError::WrongPhase));
    world.settle();
    assert_eq!(world.driver.send(tokens.conn, request), Err(OffloadError::StaleToken));
    assert_eq!(world.driver.terminate(linker_tree(tokens)), Err(OffloadError::StaleToken));
    let no_such = Token { index: 999, generation: 1 };
    assert_eq!(world.driver.send(no_such, request), Err(OffloadError::StaleToken));
    world.driver.release(request.buffer).unwrap();
    let again = world.offload(established());
    assert_ne!(again.conn, tokens.conn);
    world.upload(again);
    world.assert_no_leaks(&config());
}

/// Verifies.
fn refusals_name_their_reason_and_take_nothing<D: TestDevice>() {
    let refuse = |change: fn(&mut TcpRecord), want| {
        let mut world = World::<D>::make();
        let mut s = established();
        s.send_data = stream(1, 0, 100);
        s.record.snd_limit = HOST_ISS.wrapping_add(100);
        change(&mut s.record);
        world.driver.initiate(new_tree(vec![s.clone()])).unwrap();
        world.settle();
        let tree = world.host.initiated.pop().unwrap();
        let block = &tree[0].paths[0].connections[0];
        assert_eq!((block.status, block.role), (want, Role::New));
        assert_eq!(block.state.as_ref(), Some(&s), "untouched");
        assert_eq!((world.driver.stats().arena_used_bytes, world.driver.stats().connections), (0, 0));
    };
    refuse(|r| r.tcp_state = TcpState::SynSent.code(), Status::Rejected);
    refuse(|r| r.eff_mss = 0, Status::Rejected);
    refuse(|r| r.snd_wind_shift = 15, Status::Rejected);
    refuse(|r| r.rcv_right = r.rcv_nxt.wrapping_add(1 << 20), Status::TcpRcvWindow);
}

/// Verifies.
fn query_and_update_change_only_what_they_may<D: TestDevice>() {
    let mut world = World::<D>::make();
    let tokens = world.offload(established());
    let mut tree = linker_tree(tokens);
    let mut new = established().record;
    (new.ttl, new.tos, new.snd_una) = (7, 0x20, 12345);
    tree[0].paths[0].connections[0].state = Some(TcpBlockState { record: new, ..TcpBlockState::default() });
    tree[0].paths[0].selected = false;
    tree[0].selected = false;
    world.driver.update(tree).unwrap();
    world.settle();
    assert_eq!(world.host.updated.pop().unwrap()[0].paths[0].connections[0].status, Status::Success);
    world.driver.query(linker_tree(tokens)).unwrap();
    world.settle();
    let tree = world.host.queried.pop().unwrap();
    let got = tree[0].paths[0].connections[0].state.as_ref().unwrap();
    assert_eq!(got.counts, TcpCounts::default(), "nothing was sent or received yet");
    let got = got.record;
    assert_eq!((got.ttl, got.tos, got.snd_una), (7, 0x20, HOST_ISS));
    assert_eq!(tree[0].state.map(|n| n.dst_mac), Some(harness::PEER_MAC));
    assert_eq!(tree[0].paths[0].state.map(|p| (p.dst, p.mtu)), Some((harness::PEER_IP.into(), 1500)));
    move_to_another_neighbor(&mut world, tokens);
}

/// The device counts in 32 bits, the driver goes on from there.
fn counters_of_a_connection_come_with_a_query_and_with_the_upload<D: TestDevice>() {
    let mut world = World::<D>::make();
    let tokens = world.offload(established());
    let mut peer = harness::peer::Peer::new(HOST_ISS);
    peer.allow(harness::HOST_WINDOW as usize);
    peer.outgoing = stream(2, 0, 6000);
    let query = |world: &mut World<D>| {
        world.driver.query(linker_tree(tokens)).unwrap();
        world.settle();
        let mut tree = world.host.queried.pop().unwrap();
        tree[0].paths[0].connections[0].state.take().unwrap()
    };
    world.talk(&mut peer, 300_000);
    let first = query(&mut world);
    assert!(first.counts.segs_in >= 5 && first.counts.segs_out >= 2, "{:?}", first.counts);
    assert_eq!((first.record.cnt_segs_in, first.record.cnt_segs_out), (0, 0), "the driver's fields");
    // A segment that was there before.
    let frame = peer.frame(0, &stream(2, 0, 1000), "");
    world.wire(&frame);
    world.settle();
    let second = query(&mut world).counts;
    assert_eq!((second.segs_in, second.duplicates), (first.counts.segs_in + 1, first.counts.duplicates + 1));
    let last = world.upload(tokens).counts;
    assert!(last.segs_in == second.segs_in && last.segs_out >= second.segs_out && last.retransmits == 0);
}

/// a new neighbor first, then the paths move, then the old one may go.
fn move_to_another_neighbor<D: TestDevice>(world: &mut World<D>, tokens: Tokens) {
    let mut tree: Tree = new_tree(vec![]);
    tree[0].paths.clear();
    tree[0].state.as_mut().unwrap().dst_mac = [2, 0, 0, 0, 0, 9];
    world.driver.initiate(tree).unwrap();
    world.settle();
    let Role::Linker(neighbor) = world.host.initiated.pop().unwrap()[0].role else { panic!("offloaded") };
    let mut tree = linker_tree(Tokens { neighbor, ..tokens });
    tree[0].selected = false;
    world.driver.update(tree).unwrap();
    world.settle();
    assert_eq!(world.host.updated.pop().unwrap()[0].paths[0].status, Status::Success);
    world.send(tokens.conn, b"to the new next hop");
    world.settle();
    let frames = world.sent_frames();
    assert!(!frames.is_empty() && frames.iter().all(|f| f[..6] == [2, 0, 0, 0, 0, 9]));
    let mut old = linker_tree(tokens);
    old[0].paths.clear();
    world.driver.terminate(old).unwrap();
    world.settle();
    world.upload(Tokens { neighbor, ..tokens });
    world.assert_no_leaks(&config());
}

/// Verifies.
fn an_mtu_that_shrinks_shortens_the_segments_of_its_path<D: TestDevice>() {
    let mut world = World::<D>::make();
    let tokens = world.offload(established());
    let mut tree = linker_tree(tokens);
    tree[0].selected = false;
    let state = new_tree(vec![])[0].paths[0].state.expect("a new path has a state");
    tree[0].paths[0].state = Some(PathState { mtu: 600, ..state });
    tree[0].paths[0].connections.clear();
    world.driver.update(tree).unwrap();
    world.settle();
    assert_eq!(world.host.updated.pop().unwrap()[0].paths[0].status, Status::Success);
    world.send(tokens.conn, &[7; 2000]);
    world.settle();
    let lengths: Vec<usize> = world.sent_frames().iter().map(Vec::len).collect();
    assert_eq!(lengths, [14 + 600; 3], "and Nagle holds the rest");
    world.upload(tokens);
    world.assert_no_leaks(&config());
}

/// Verifies.
fn an_invalidated_neighbor_stops_its_connections_and_they_ask_to_go_up<D: TestDevice>() {
    let mut world = World::<D>::make();
    let tokens = world.offload(established());
    let mut tree = linker_tree(tokens);
    tree[0].paths.clear();
    world.driver.invalidate(tree).unwrap();
    world.settle();
    assert_eq!(world.host.invalidated.pop().unwrap()[0].status, Status::Success);
    world.send(tokens.conn, b"never");
    world.run_for(2_000_000);
    assert!(world.sent_frames().is_empty());
    assert_eq!(world.host.events, [ConnectionEvent::Retrieve(UploadReason::InvalidState)]);
    assert_eq!(world.driver.counter(&regs::CNT_UPLOAD_INVALID_STATE), Ok(1));
    let back = world.upload(tokens);
    assert_eq!(back.send_data, b"never");
    assert_eq!(world.host.sends, [(Status::UploadInProgress, 0)]);
    world.assert_no_leaks(&config());
}

/// Verifies.
fn an_upload_completes_everything_once_and_gives_the_bytes_once<D: TestDevice>() {
    let mut world = World::<D>::make();
    let tokens = world.offload(established());
    let mut peer = harness::peer::Peer::new(HOST_ISS);
    peer.allow(harness::HOST_WINDOW as usize);
    peer.outgoing = stream(2, 0, 6000);
    world.post(tokens.conn, 4000, true);
    world.post(tokens.conn, 4000, true);
    world.post(tokens.conn, 4000, false);
    world.talk(&mut peer, 300_000);
    for part in stream(1, 0, 9000).chunks(3000) {
        world.send(tokens.conn, part);
    }
    world.settle();
    // The peer acknowledges one send and a half.
    peer.incoming = stream(1, 0, 4500);
    let frame = peer.frame(6000, &[], "");
    world.wire(&frame);
    world.driver.disconnect(tokens.conn, chimney_abi::offload::Disconnect::Graceful).unwrap();
    let back = world.upload(tokens);
    assert_eq!(
        world.host.sends,
        [(Status::Success, 3000), (Status::UploadInProgress, 1500), (Status::UploadInProgress, 0)]
    );
    assert_eq!(back.send_data, stream(1, 4500, 9000));
    assert_eq!(back.push_marks, [1500, 4500]);
    assert_eq!(
        world.host.receives,
        [(Status::Success, 4000), (Status::UploadInProgress, 2000), (Status::UploadInProgress, 0)]
    );
    assert_eq!(world.host.stream, stream(2, 0, 6000));
    assert_eq!(world.host.disconnects, [Status::UploadInProgress]);
    assert_ne!(back.record.deleg_flags & DELEG_FIN_POSTED, 0);
    world.assert_no_leaks(&config());
}

/// A frame that nobody asked for never meets a connection; the device counts, the driver goes on.
fn events_of_a_former_connection_are_ignored<D: TestDevice>() {
    let mut world = World::<D>::make();
    for _ in 0..D::ROUNDS.min(50) {
        let tokens = world.offload(established());
        world.send(tokens.conn, b"x");
        world.upload(tokens);
    }
    world.assert_no_leaks(&config());
}

on_both_devices! {
    offload_then_upload_is_the_identity,
    closing_states_pass_through,
    many_connections_go_in_one_call_and_those_without_room_say_why,
    a_connection_whose_window_has_no_pages_is_refused,
    a_second_connection_links_to_the_path_of_the_first,
    dead_tokens_and_wrong_phases_are_refused,
    refusals_name_their_reason_and_take_nothing,
    query_and_update_change_only_what_they_may,
    counters_of_a_connection_come_with_a_query_and_with_the_upload,
    an_mtu_that_shrinks_shortens_the_segments_of_its_path,
    an_invalidated_neighbor_stops_its_connections_and_they_ask_to_go_up,
    an_upload_completes_everything_once_and_gives_the_bytes_once,
    events_of_a_former_connection_are_ignored,
}
