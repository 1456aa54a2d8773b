//! The driver on the golden model and on the RTL: answers of the device that do not arrive. Law L1: no connection has two owners.

#[allow(dead_code)] // each test file uses its part
mod harness;

use chimney_abi::cmd::Status;
use chimney_abi::offload::Offload;
use chimney_driver::DriverError;
use harness::peer::Peer;
use harness::{established, linker_tree, new_tree, stream, TestDevice, Tokens, World, HOST_ISS};

/// From now on the device cannot write images, or can again.
fn refuse_images<D: TestDevice>(world: &mut World<D>, is_refused: bool) {
    let (iova, _) = world.driver.bus().writable[0]; // the driver allocates them first
    world.memory.refuse_writes(iova, is_refused);
}

fn peer() -> Peer {
    let mut peer = Peer::new(HOST_ISS);
    peer.allow(harness::HOST_WINDOW as usize);
    peer
}

/// Offloads a connection whose statuses never arrive.
fn offload_unanswered<D: TestDevice>(world: &mut World<D>) -> Tokens {
    refuse_images(world, true);
    world.driver.initiate(new_tree(vec![established()])).expect("accepted");
    for _ in 0..64 {
        world.settle();
    }
    let tree = world.host.initiated.pop().expect("completed");
    assert_eq!((tree[0].status, tree[0].paths[0].status), (Status::Success, Status::Success));
    assert_eq!(tree[0].paths[0].connections[0].status, Status::Success);
    Tokens::of(&tree)
}

/// The device answers the command that is under way, and can write again when the driver asks once more.
fn answer_late<D: TestDevice>(world: &mut World<D>) {
    let before = world.driver.stats().completions;
    for _ in 0..1000 {
        if world.driver.stats().completions > before {
            break;
        }
        world.now_us += 1;
        world.step();
    }
    assert!(
        world.host.initiated.is_empty() && world.host.terminated.is_empty(),
        "not before this is cleared up"
    );
    refuse_images(world, false);
    for _ in 0..64 {
        world.settle();
    }
}

/// The device runs it, so it is the device's: a host that had it back would be a second owner with an older state.
fn a_connection_that_was_started_is_the_devices_whatever_became_of_the_answer<D: TestDevice>() {
    let mut world = World::<D>::make();
    let tokens = offload_unanswered(&mut world);
    refuse_images(&mut world, false);
    let mut peer = peer();
    peer.outgoing = stream(1, 0, 20_000);
    let bytes = stream(2, 0, 20_000);
    world.send(tokens.conn, &bytes);
    world.talk(&mut peer, 1_000_000);
    assert!(peer.incoming == bytes && world.host.stream == peer.outgoing);
    let state = world.upload(tokens);
    assert_eq!(state.record.snd_una, HOST_ISS.wrapping_add(20_000));
    assert_eq!(world.driver.stats().connections, 0);
    assert_eq!(world.driver.lost(), None);
}

/// Nothing shows whether they are there; they are taken out before their places are used again.
fn what_carries_nothing_is_terminated_before_its_place_is_used_again<D: TestDevice>() {
    let mut world = World::<D>::make();
    refuse_images(&mut world, true);
    // A connection that the device refuses: what is below it is stored.
    let mut state = established();
    state.record.snd_nxt = state.record.snd_una.wrapping_sub(1);
    world.driver.initiate(new_tree(vec![state])).expect("accepted");
    answer_late(&mut world);
    let tree = world.host.initiated.pop().expect("completed");
    assert_eq!(tree[0].paths[0].connections[0].status, Status::HardwareFailure);
    assert_ne!((tree[0].status, tree[0].paths[0].status), (Status::Success, Status::Success));
    assert_eq!(world.driver.lost(), None);
    // Every place of the tables is free, in the device too.
    for _ in 0..70 {
        let tokens = world.offload(established());
        world.upload(tokens);
    }
}

/// Its image is lost, and it is the host's only when the device says that it does not have it.
fn a_terminate_that_was_not_answered_is_asked_again<D: TestDevice>() {
    let mut world = World::<D>::make();
    let tokens = world.offload(established());
    let bytes = stream(2, 0, 20_000);
    world.send(tokens.conn, &bytes);
    world.talk(&mut peer(), 200_000);
    refuse_images(&mut world, true);
    world.driver.terminate(linker_tree(tokens)).expect("accepted");
    answer_late(&mut world);
    let block = &world.host.terminated.pop().expect("completed")[0].paths[0].connections[0];
    let state = block.state.as_ref().expect("it came back");
    assert_eq!((block.status, state.record.snd_una), (Status::Success, HOST_ISS.wrapping_add(20_000)));
    assert_eq!(world.driver.lost(), None);
    let tokens = world.offload(established());
    world.upload(tokens);
}

/// A device that says nothing, twice, is reset before anybody else has the connection.
fn a_device_that_does_not_say_what_it_has_is_given_up<D: TestDevice>() {
    let mut world = World::<D>::make();
    let tokens = offload_unanswered(&mut world);
    let bytes = stream(2, 0, 20_000);
    world.send(tokens.conn, &bytes);
    world.talk(&mut peer(), 200_000);
    world.driver.terminate(linker_tree(tokens)).expect("accepted");
    for _ in 0..64 {
        world.settle();
    }
    assert!(matches!(world.driver.lost(), Some(DriverError::Undecided { .. })), "{:?}", world.driver.lost());
    let block = &world.host.terminated[0][0].paths[0].connections[0];
    assert_eq!(block.status, Status::Success, "from host memory");
    let state = block.state.as_ref().expect("it came back");
    assert_eq!(state.record.snd_una, HOST_ISS.wrapping_add(20_000));
    assert_eq!(world.host.rebuilt.as_ref().map(Vec::len), Some(0), "once");
    assert_eq!(world.driver.stats().arena_used_bytes, 0);
}

/// Text that the device could not write is never acknowledged, and the host does not go on from behind it: it has the connection back
/// where its memory ends, or is told that it is lost.
///
/// Verifies: R-157
fn text_that_could_not_be_written_is_not_the_hosts<D: TestDevice>() {
    let mut world = World::<D>::make();
    let tokens = world.offload(established());
    let (pages, _) = world.driver.bus().writable[5];
    world.memory.refuse_writes(pages, true);
    let mut peer = peer();
    peer.outgoing = stream(1, 0, 5_000);
    world.talk(&mut peer, 500_000);
    assert_eq!(peer.max_acknowledged(), 0);
    world.memory.refuse_writes(pages, false);
    world.driver.terminate(linker_tree(tokens)).expect("accepted");
    for _ in 0..64 {
        world.settle();
    }
    let block = &world.host.terminated.pop().expect("completed")[0].paths[0].connections[0];
    match &block.state {
        Some(state) => assert_eq!(state.record.rcv_nxt, established().record.rcv_nxt),
        None => assert_eq!(block.status, Status::Failure),
    }
    assert_eq!(world.driver.lost(), None);
    world.host.stream.clear();
    let tokens = world.offload(established());
    let mut peer = self::peer();
    peer.outgoing = stream(1, 0, 5_000);
    world.talk(&mut peer, 500_000);
    assert!(world.host.stream == peer.outgoing);
    world.upload(tokens);
}

on_both_devices! {
    text_that_could_not_be_written_is_not_the_hosts,
    a_connection_that_was_started_is_the_devices_whatever_became_of_the_answer,
    what_carries_nothing_is_terminated_before_its_place_is_used_again,
    a_terminate_that_was_not_answered_is_asked_again,
    a_device_that_does_not_say_what_it_has_is_given_up,
}
