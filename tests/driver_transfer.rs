//! The driver on the golden model and on the RTL: sending, receiving in every mode, closing, forwarding.

#[allow(dead_code)] // each test file uses its part
mod harness;

use chimney_abi::cmd::Status;
use chimney_abi::offload::{ConnectionEvent, Disconnect, Offload, OffloadError};
use chimney_sim::net::guise::{Guise, V6};
use harness::host::Accept;
use harness::peer::{parse, Peer};
use harness::{config, established, stream, TestDevice, Tokens, World, HOST_ISS};

fn start<D: TestDevice>() -> (World<D>, Tokens, Peer) {
    let mut world = World::<D>::make();
    let tokens = world.offload(established());
    let mut peer = Peer::new(HOST_ISS);
    peer.allow(harness::HOST_WINDOW as usize);
    (world, tokens, peer)
}

fn finish<D: TestDevice>(mut world: World<D>, tokens: Tokens) {
    world.upload(tokens);
    world.assert_no_leaks(&config());
    world.device.borrow().assert_clean();
}

/// Verifies.
fn a_send_completes_when_all_of_it_is_acknowledged_and_not_before<D: TestDevice>() {
    let (mut world, tokens, mut peer) = start::<D>();
    let bytes = stream(1, 0, 300_000);
    for (i, part) in bytes.chunks(50_000).enumerate() {
        world.send(tokens.conn, part);
        assert!(world.host.sends.is_empty(), "send {i}");
    }
    world.settle();
    assert!(world.host.sends.is_empty(), "nothing is acknowledged yet");
    world.talk(&mut peer, 2_000_000);
    assert!(peer.incoming == bytes);
    assert_eq!(world.host.sends, vec![(Status::Success, 50_000); 6]);
    finish(world, tokens);
}

/// Verifies.
fn thousands_of_small_sends_are_merged_and_complete_one_by_one<D: TestDevice>() {
    let (mut world, tokens, mut peer) = start::<D>();
    let bytes = stream(2, 0, 30_000);
    let mut sizes = Vec::new();
    let mut from = 0;
    while from < bytes.len() {
        let len = [1, 13, 0, 7, 255, 2][sizes.len() % 6].min(bytes.len() - from); // empty ones too
        world.send(tokens.conn, &bytes[from..from + len]);
        sizes.push((Status::Success, len as u32));
        from += len;
    }
    world.talk(&mut peer, 5_000_000);
    assert!(peer.incoming == bytes, "{} of {}", peer.incoming.len(), bytes.len());
    assert_eq!(world.host.sends, sizes);
    finish(world, tokens);
}

/// Verifies.
fn posted_buffers_are_filled_in_order_in_both_push_modes<D: TestDevice>() {
    for (no_push, push_every) in [(true, 1), (false, 3), (true, 0), (false, 0)] {
        let (mut world, tokens, mut peer) = start::<D>();
        peer.push_every = push_every;
        peer.outgoing = stream(3, 0, 120_000);
        for _ in 0..12 {
            world.post(tokens.conn, 10_000, no_push);
        }
        world.talk(&mut peer, 3_000_000);
        // Push mode completes early; the rest is indicated.
        assert!(world.host.stream == peer.outgoing, "no_push {no_push}: {} bytes", world.host.stream.len());
        if no_push || push_every == 0 {
            assert_eq!(world.host.receives, vec![(Status::Success, 10_000); 12]);
            assert_eq!(world.host.indications, Vec::<usize>::new());
        }
        finish(world, tokens);
    }
}

/// Verifies.
fn without_posts_data_is_indicated_and_the_window_opens_when_it_is_returned<D: TestDevice>() {
    let (mut world, tokens, mut peer) = start::<D>();
    peer.outgoing = stream(4, 0, 200_000);
    world.talk(&mut peer, 3_000_000);
    let first = world.host.stream.len();
    assert!(first <= harness::HOST_WINDOW as usize && first > 60_000, "one window, then wait: {first}");
    for _ in 0..100 {
        if world.host.stream.len() == peer.outgoing.len() {
            break;
        }
        let n = std::mem::take(&mut world.host.unreturned);
        world.driver.receive_return(tokens.conn, n).unwrap();
        world.talk(&mut peer, 300_000);
    }
    assert!(world.host.stream == peer.outgoing, "{}", world.host.stream.len());
    finish(world, tokens);
}

/// Verifies.
fn refused_data_waits_for_a_post_and_goes_before_what_comes_later<D: TestDevice>() {
    let (mut world, tokens, mut peer) = start::<D>();
    world.host.accept = Accept::None;
    peer.outgoing = stream(5, 0, 40_000);
    world.talk(&mut peer, 2_000_000);
    assert_eq!((world.host.stream.len(), world.host.indications.len()), (0, 1), "refused once, then silence");
    world.host.accept = Accept::Part(1000);
    world.post(tokens.conn, 5000, true);
    world.settle();
    assert_eq!(world.host.receives, [(Status::Success, 5000)]);
    assert_eq!(world.host.indications.len(), 2, "the rest is indicated once");
    assert_eq!(world.host.stream.len(), 6000);
    world.host.accept = Accept::All;
    world.post(tokens.conn, 0, false); // zero length: indicate again
    world.settle();
    assert_eq!(world.host.receives[1], (Status::Success, 0));
    assert!(world.host.stream == peer.outgoing);
    finish(world, tokens);
}

/// Verifies.
fn buffered_data_of_an_offload_waits_for_posts_and_goes_first<D: TestDevice>() {
    let mut world = World::<D>::make();
    let mut peer = Peer::new(HOST_ISS);
    peer.outgoing = stream(6, 0, 20_000);
    let mut state = established();
    let have = 7000;
    state.buffered = peer.outgoing[..have].to_vec();
    state.record.rcv_nxt = state.record.rcv_nxt.wrapping_add(have as u32);
    (peer.sent, peer.acked) = (have, have);
    peer.allow(harness::HOST_WINDOW as usize);
    let tokens = world.offload(state);
    world.talk(&mut peer, 2_000_000);
    assert!(world.host.indications.is_empty(), "not before a post");
    world.post(tokens.conn, 3000, false);
    world.talk(&mut peer, 1_000_000);
    assert_eq!(world.host.receives, [(Status::Success, 3000)]);
    assert!(world.host.stream == peer.outgoing, "{}", world.host.stream.len());
    finish(world, tokens);
}

/// Verifies.
fn out_of_order_data_ends_up_in_order_whatever_is_posted<D: TestDevice>() {
    for posts in [0, 1, 3] {
        let (mut world, tokens, mut peer) = start::<D>();
        let bytes = stream(7, 0, 12_000);
        peer.outgoing = bytes.clone();
        for _ in 0..posts {
            world.post(tokens.conn, 4000, true);
        }
        for at in [3000, 6000, 9000, 4000, 0, 7000, 1000, 2000, 5000, 8000, 10_000, 11_000] {
            let frame = peer.frame(at, &bytes[at..at + 1000], "P");
            world.wire(&frame);
        }
        world.run_for(1_000_000);
        world.sent_frames().iter().for_each(|f| drop(parse(f)));
        assert!(world.host.stream == bytes, "{posts} posts: {} bytes", world.host.stream.len());
        finish(world, tokens);
    }
}

/// Verifies.
fn both_sides_close_after_all_data_was_delivered<D: TestDevice>() {
    let (mut world, tokens, mut peer) = start::<D>();
    peer.outgoing = stream(8, 0, 5000);
    peer.fin_after_data = true;
    world.post(tokens.conn, 8000, true); // never full: the FIN completes it (G-01)
    world.post(tokens.conn, 8000, true);
    world.send(tokens.conn, &stream(9, 0, 4000));
    world.driver.disconnect(tokens.conn, Disconnect::Graceful).unwrap();
    assert_eq!(world.driver.disconnect(tokens.conn, Disconnect::Graceful), Err(OffloadError::WrongPhase));
    world.talk(&mut peer, 1_000_000);
    assert!(peer.host_fin && peer.incoming == stream(9, 0, 4000));
    assert_eq!((world.host.sends.len(), &world.host.disconnects[..]), (1, &[Status::Success][..]));
    assert_eq!(world.host.receives, [(Status::Success, 5000), (Status::Success, 0)]);
    assert!(world.host.events.contains(&ConnectionEvent::Disconnect));
    assert!(peer.fin_acked);
    world.post(tokens.conn, 100, false);
    world.settle();
    assert_eq!(world.host.receives[2], (Status::InvalidState, 0));
    finish(world, tokens);
}

/// Verifies.
fn a_reset_of_the_peer_ends_everything_outstanding<D: TestDevice>() {
    let (mut world, tokens, peer) = start::<D>();
    world.send(tokens.conn, &stream(1, 0, 5000));
    world.send(tokens.conn, &stream(1, 0, 5000));
    world.post(tokens.conn, 1000, false);
    world.settle();
    let frame = peer.frame(0, &[], "R");
    world.wire(&frame);
    assert_eq!(world.host.events, [ConnectionEvent::Abort]);
    assert_eq!(world.host.sends, vec![(Status::RequestAborted, 0); 2]);
    assert_eq!(world.host.receives, [(Status::RequestAborted, 0)]);
    finish(world, tokens);
}

/// The driver once forgot the bytes in the post that the device was filling, and then took the device's last word for a lie.
///
/// Verifies.
fn bytes_in_a_post_survive_a_reset_and_the_connection_comes_back<D: TestDevice>() {
    let (mut world, tokens, peer) = start::<D>();
    world.post(tokens.conn, 4000, true);
    world.post(tokens.conn, 4000, true);
    world.settle();
    let bytes = stream(1, 0, 963);
    for frame in [peer.frame(0, &bytes, "P"), peer.frame(963, &[], "R")] {
        world.wire(&frame);
    }
    assert_eq!(world.host.events, [ConnectionEvent::Abort]);
    assert_eq!(world.host.receives, [(Status::RequestAborted, 963), (Status::RequestAborted, 0)]);
    assert_eq!(world.host.stream, bytes);
    finish(world, tokens);
}

/// Verifies: R-216.
fn an_abort_sends_a_reset_and_completes_last<D: TestDevice>() {
    let (mut world, tokens, mut peer) = start::<D>();
    world.send(tokens.conn, &stream(1, 0, 5000));
    world.settle();
    world.driver.disconnect(tokens.conn, Disconnect::Abortive).unwrap();
    world.settle();
    world.sent_frames().iter().for_each(|frame| peer.receive(frame));
    assert_eq!(peer.resets, 1);
    assert_eq!(
        (&world.host.sends[..], &world.host.disconnects[..]),
        (&[(Status::RequestAborted, 0)][..], &[Status::Success][..])
    );
    assert!(world.host.events.is_empty(), "the host knows of its own abort");
    finish(world, tokens);
}

/// Verifies: R-242.
fn a_forwarded_segment_is_processed_like_one_from_the_wire<D: TestDevice>() {
    let (mut world, tokens, peer) = start::<D>();
    let bytes = stream(1, 0, 1000);
    let frame = peer.frame(0, &bytes, "P");
    world.driver.forward(tokens.conn, &frame[34..]).unwrap();
    world.settle();
    assert_eq!(world.host.forwards, [(Status::Success, vec![])]);
    assert!(world.host.stream == bytes);
    assert_eq!(world.driver.forward(tokens.conn, &[0; 5]), Err(OffloadError::OutOfRange));
    finish(world, tokens);
}

/// Law of the driver: doorbells are posted writes; a register read costs a round trip.
fn no_register_is_read_on_a_fast_path<D: TestDevice>() {
    let (mut world, tokens, mut peer) = start::<D>();
    let before = world.driver.stats().mmio.reads;
    peer.outgoing = stream(1, 0, 100_000);
    for _ in 0..20 {
        world.send(tokens.conn, &stream(2, 0, 5000));
        world.post(tokens.conn, 5000, true);
    }
    world.talk(&mut peer, 2_000_000);
    assert!(world.host.stream == peer.outgoing);
    assert_eq!(world.host.sends.len(), 20);
    let stats = world.driver.stats().mmio;
    assert_eq!(stats.reads, before);
    println!("register writes for 200 kB in 40 requests: {}", stats.writes);
    finish(world, tokens);
}

fn ordinary_frames_pass_both_ways<D: TestDevice>() {
    let (mut world, tokens, _peer) = start::<D>();
    let arp: Vec<u8> = [&[0xff; 6][..], &harness::PEER_MAC, &[8, 6], &[0; 46]].concat();
    for i in 0..600usize {
        let mut frame = arp.clone();
        frame[20] = i as u8;
        world.wire(&frame);
        world.driver.transmit(&frame).unwrap();
        world.settle();
        assert_eq!(world.host.frames.pop(), Some(frame.clone()));
        assert_eq!(world.sent_frames(), [frame]);
    }
    // These can never go: `NoMemory` would have them tried again for ever.
    for len in [5, 9019, 9024] {
        assert_eq!(world.driver.transmit(&vec![0; len]), Err(OffloadError::OutOfRange), "{len}");
    }
    finish(world, tokens);
}

/// Hand-over, bulk in both directions, a forwarded segment and an upload, with the peer in the same clothes.
///
/// Verifies.
fn every_framing_and_family_carries_both_streams<D: TestDevice>() {
    let v6 = Some(V6 { flow_label: 0x1_2345 });
    let guises = [
        Guise { v6, ..Guise::default() },
        Guise { tci: Some(5 << 13), ..Guise::default() },
        Guise { tci: Some(0x00a), is_llc_snap: true, v6: None },
        Guise { tci: Some(6 << 13 | 0xffe), is_llc_snap: false, v6 },
        Guise { tci: None, is_llc_snap: true, v6 },
        Guise { tci: Some(3 << 13 | 7), is_llc_snap: true, v6 },
    ];
    for guise in guises {
        let mut world = World::<D>::make();
        world.guise = guise;
        let tokens = world.offload(established());
        let mut peer = Peer::new(HOST_ISS);
        peer.allow(harness::HOST_WINDOW as usize);
        peer.outgoing = stream(7, 0, 30_000);
        let first = peer.frame(0, &stream(7, 0, 1000), "P");
        let segment = world.segment(&guise.dress(&first));
        world.driver.forward(tokens.conn, &segment).expect("accepted");
        let bytes = stream(8, 0, 40_000);
        world.send(tokens.conn, &bytes);
        world.settle();
        assert_eq!(world.host.stream.len(), 1000, "{guise:?}: the forwarded segment was taken");
        world.talk(&mut peer, 1_000_000);
        assert!(peer.incoming == bytes && world.host.stream == peer.outgoing, "{guise:?}");
        assert!(world.host.frames.is_empty(), "{guise:?}: nothing came up");
        // Below another id it is not this connection's.
        if guise.tci.is_some_and(|tci| tci & 0xfff != 0) {
            let other = Guise { tci: guise.tci.map(|tci| tci ^ 1), ..guise };
            let stray = other.dress(&peer.frame(30_000, b"stray", "P"));
            world.device.borrow_mut().rx_frame(&stray, false);
            world.settle();
            assert_eq!(std::mem::take(&mut world.host.frames), [stray]);
        }
        finish(world, tokens);
    }
}

on_both_devices! {
    every_framing_and_family_carries_both_streams,
    a_send_completes_when_all_of_it_is_acknowledged_and_not_before,
    thousands_of_small_sends_are_merged_and_complete_one_by_one,
    posted_buffers_are_filled_in_order_in_both_push_modes,
    without_posts_data_is_indicated_and_the_window_opens_when_it_is_returned,
    refused_data_waits_for_a_post_and_goes_before_what_comes_later,
    buffered_data_of_an_offload_waits_for_posts_and_goes_first,
    out_of_order_data_ends_up_in_order_whatever_is_posted,
    both_sides_close_after_all_data_was_delivered,
    a_reset_of_the_peer_ends_everything_outstanding,
    bytes_in_a_post_survive_a_reset_and_the_connection_comes_back,
    an_abort_sends_a_reset_and_completes_last,
    a_forwarded_segment_is_processed_like_one_from_the_wire,
    no_register_is_read_on_a_fast_path,
    ordinary_frames_pass_both_ways,
}
