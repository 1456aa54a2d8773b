//! Uploads that need not be granted, on the golden model and on the RTL: each of the six reasons, when it is taken back, and when not to ask.

#[allow(dead_code)] // each test file uses its part
mod harness;

use chimney_abi::cmd::UploadReason;
use chimney_abi::offload::{ConnectionEvent, Offload, Parameters};
use chimney_abi::regs;
use chimney_abi::watch::WatchLimits;
use harness::peer::Peer;
use harness::{config, established, stream, TestDevice, Tokens, World, HOST_ISS};

/// Length of a period in these tests.
const PERIOD_US: u32 = 100_000;
/// Bytes of a segment.
const SEGMENT: usize = 1000;
/// Segments of a period in which something is wrong.
const SEGMENTS: usize = 12;

/// A connection, under a watchdog that looks at shares of four segments and more.
fn start<D: TestDevice>(change: impl FnOnce(&mut WatchLimits)) -> (World<D>, Tokens, Peer) {
    let mut world = World::<D>::make();
    let mut watch = WatchLimits { period_us: PERIOD_US, least_segments: 4, ..WatchLimits::default() };
    change(&mut watch);
    world.driver.set_parameters(&Parameters { watch, ..Parameters::default() }).expect("a device");
    let tokens = world.offload(established());
    let mut peer = Peer::new(HOST_ISS);
    peer.allow(harness::HOST_WINDOW as usize);
    (world, tokens, peer)
}

/// A segment of the peer's stream.
fn segment(peer: &Peer, number: usize) -> Vec<u8> {
    let at = number * SEGMENT;
    peer.frame(at, &stream(3, at, at + SEGMENT), "")
}

/// The upload requests so far, and their counter.
fn requests<D: TestDevice>(world: &mut World<D>, reason: UploadReason) -> (Vec<UploadReason>, u64) {
    let of = |event: &ConnectionEvent| match event {
        ConnectionEvent::Retrieve(reason) => Some(*reason),
        _ => None,
    };
    let seen = world.host.events.iter().filter_map(of).collect();
    (seen, world.driver.counter(regs::upload_counter(reason)).expect("a device"))
}

/// The reason was given once; the connection goes on, and comes back whole.
fn asked_once<D: TestDevice>(mut world: World<D>, tokens: Tokens, mut peer: Peer, reason: UploadReason) {
    assert_eq!(requests(&mut world, reason), (vec![reason], 1));
    peer.outgoing = stream(3, 0, SEGMENTS * SEGMENT);
    let bytes = stream(4, 0, 20_000);
    world.send(tokens.conn, &bytes);
    world.talk(&mut peer, 2_000_000);
    assert!(peer.incoming.ends_with(&bytes), "R-164: the device can carry on");
    world.upload(tokens);
    world.assert_no_leaks(&config());
    world.device.borrow().assert_clean();
}

/// Verifies, law L5.
fn a_connection_without_progress_is_asked_for_and_not_again_until_there_was_some<D: TestDevice>() {
    let low = UploadReason::LowActivity;
    let (mut world, tokens, mut peer) = start::<D>(|watch| watch.least_progress = 1);
    world.run_for(u64::from(PERIOD_US) / 2);
    assert_eq!(requests(&mut world, low), (vec![], 0), "not a whole period yet");
    world.run_for(u64::from(PERIOD_US) * 4);
    assert_eq!(requests(&mut world, low), (vec![low], 1));
    for number in 0..30 {
        world.wire(&segment(&peer, number));
        world.run_for(u64::from(PERIOD_US) / 8);
    }
    assert_eq!(requests(&mut world, low), (vec![low], 1), "active");
    world.run_for(u64::from(PERIOD_US) * 3);
    assert_eq!(requests(&mut world, low), (vec![low, low], 2), "idle again");
    peer.outgoing = stream(3, 0, 30 * SEGMENT);
    assert!(world.host.stream == peer.outgoing);
    world.upload(tokens);
    world.assert_no_leaks(&config());
}

/// Verifies: R-164.
fn many_segments_sent_again_are_a_reason<D: TestDevice>() {
    let (mut world, tokens, peer) = start::<D>(|watch| (watch.period_us, watch.drop_rate) = (2_000_000, 16));
    world.send(tokens.conn, &stream(4, 0, 5000));
    world.run_for(4_100_000);
    let mut peer = peer;
    assert_eq!(requests(&mut world, UploadReason::HighDropRate).0, [UploadReason::HighDropRate]);
    peer.incoming.clear();
    world.talk(&mut peer, 4_000_000);
    assert_eq!(peer.incoming.len(), 5000);
    world.upload(tokens);
    world.assert_no_leaks(&config());
}

/// Verifies: R-164.
fn much_reordering_is_a_reason<D: TestDevice>() {
    let (mut world, tokens, peer) = start::<D>(|watch| watch.out_of_order = 128);
    (1..SEGMENTS).for_each(|number| world.wire(&segment(&peer, number)));
    world.wire(&segment(&peer, 0));
    world.run_for(u64::from(PERIOD_US) * 2);
    assert_eq!(world.host.stream.len(), SEGMENTS * SEGMENT);
    asked_once(world, tokens, peer, UploadReason::HighOutOfOrderPackets);
}

/// Verifies.
fn many_segments_that_the_host_put_together_are_a_reason<D: TestDevice>() {
    let (mut world, tokens, peer) = start::<D>(|watch| watch.fragmentation = 128);
    for number in 0..SEGMENTS {
        let forwarded = world.segment(&segment(&peer, number));
        world.driver.forward(tokens.conn, &forwarded).expect("accepted");
        world.settle();
    }
    world.run_for(u64::from(PERIOD_US) * 2);
    asked_once(world, tokens, peer, UploadReason::HighFragmentation);
}

/// Verifies: R-164.
fn text_without_posted_buffers_is_a_reason<D: TestDevice>() {
    let (mut world, tokens, peer) = start::<D>(|watch| watch.no_preposting = 128);
    (0..SEGMENTS).for_each(|number| world.wire(&segment(&peer, number)));
    world.run_for(u64::from(PERIOD_US) * 2);
    asked_once(world, tokens, peer, UploadReason::NoBufferPreposting);
}

/// Verifies: R-164.
fn posted_buffers_smaller_than_a_segment_are_a_reason<D: TestDevice>() {
    let (mut world, tokens, peer) = start::<D>(|watch| (watch.small_io, watch.no_preposting) = (128, 128));
    for number in 0..SEGMENTS {
        for _ in 0..3 {
            world.post(tokens.conn, SEGMENT as u32 / 3 + 1, true);
        }
        world.settle();
        world.wire(&segment(&peer, number));
    }
    world.run_for(u64::from(PERIOD_US) * 2);
    asked_once(world, tokens, peer, UploadReason::SmallIo);
}

/// Verifies: R-165; and by default nothing is watched.
fn a_connection_that_is_closing_is_not_asked_for<D: TestDevice>() {
    for (least_progress, peer_closes) in [(1, true), (0, false)] {
        let (mut world, tokens, peer) = start::<D>(|watch| watch.least_progress = least_progress);
        if peer_closes {
            world.wire(&peer.frame(0, &[], "F"));
        }
        world.run_for(u64::from(PERIOD_US) * 5);
        assert_eq!(requests(&mut world, UploadReason::LowActivity), (vec![], 0));
        world.upload(tokens);
        world.assert_no_leaks(&config());
    }
}

/// Verifies: R-163: what must be granted takes the place of what need not.
fn a_request_that_must_be_granted_replaces_one_that_need_not<D: TestDevice>() {
    let (mut world, tokens, peer) = start::<D>(|watch| watch.least_progress = 1);
    world.run_for(u64::from(PERIOD_US) * 3);
    world.wire(&peer.frame(0, &stream(3, 0, 10), "U"));
    world.run_for(u64::from(PERIOD_US) * 3);
    let (low, urgent) = (UploadReason::LowActivity, UploadReason::ReceivedUrgentData);
    assert_eq!(requests(&mut world, urgent), (vec![low, urgent], 1));
    assert_eq!(requests(&mut world, low).1, 1);
    world.upload(tokens);
    world.assert_no_leaks(&config());
}

on_both_devices! {
    a_connection_without_progress_is_asked_for_and_not_again_until_there_was_some,
    many_segments_sent_again_are_a_reason,
    much_reordering_is_a_reason,
    many_segments_that_the_host_put_together_are_a_reason,
    text_without_posted_buffers_is_a_reason,
    posted_buffers_smaller_than_a_segment_are_a_reason,
    a_connection_that_is_closing_is_not_asked_for,
    a_request_that_must_be_granted_replaces_one_that_need_not,
}
