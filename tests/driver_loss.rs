//! Law L2 on the driver, on the golden model and on the RTL: the device dies after any write, and host memory has everything.

#[allow(dead_code)] // each test file uses its part
mod harness;

use chimney_abi::cmd::Status;
use chimney_abi::offload::{Offload, OffloadError, Role, TcpBlockState};
use chimney_abi::regs;
use chimney_driver::{Alarm, Bus, DriverError};
use chimney_sim::golden::Faults;
use harness::peer::Peer;
use harness::{
    config, established, linker_tree, new_tree, short_or_long, stream, GoldenWorld, TestDevice, World,
    HOST_ISS, PEER_ISS,
};

/// What the peer may rely on, and what the host still had when the device was gone.
struct Outcome {
    /// Bytes that the device acknowledged on the wire.
    acknowledged: usize,
    state: TcpBlockState,
    delivered: Vec<u8>,
    completed: usize,
    peer_got: usize,
}

/// The device dies after `writes` writes to memory in the middle of a transfer both ways.
fn die<D: TestDevice>(mut world: World<D>, writes: u64, posts: usize) -> Outcome {
    let tokens = world.offload(established());
    let mut peer = Peer::new(HOST_ISS);
    peer.allow(harness::HOST_WINDOW as usize);
    peer.outgoing = stream(1, 0, 30_000);
    for _ in 0..posts {
        world.post(tokens.conn, 5000, true);
    }
    for part in stream(2, 0, 30_000).chunks(5000) {
        world.send(tokens.conn, part);
    }
    world.device.borrow_mut().die_after_writes(writes);
    world.talk(&mut peer, 500_000);
    if world.host.rebuilt.is_none() {
        world.device.borrow_mut().kill();
        world.run_for(300_000);
    }
    let rebuilt = world.host.rebuilt.take().expect("the loss was noticed");
    assert!(world.driver.lost().is_some());
    assert_eq!(world.driver.stats().arena_used_bytes, 0, "every buffer came back");
    let state = rebuilt[0].state.clone();
    let completed = world.host.sends.iter().map(|(_, bytes)| *bytes as usize).sum();
    Outcome {
        acknowledged: peer.max_acknowledged(),
        state,
        delivered: world.host.stream.clone(),
        completed,
        peer_got: peer.incoming.len(),
    }
}

fn is_whole(o: &Outcome) -> bool {
    let received = o.state.record.rcv_nxt.wrapping_sub(PEER_ISS) as usize;
    received >= o.acknowledged
}

/// Verifies.
fn nothing_acknowledged_is_lost_whenever_the_device_dies<D: TestDevice>() {
    for writes in (0..D::WRITES).step_by(short_or_long(D::DEATHS)) {
        for posts in [0, 3, 6] {
            let o = die(World::<D>::make(), writes, posts);
            assert!(is_whole(&o), "after {writes} writes");
            // Both streams go on exactly where host and peer stand.
            let received = o.state.record.rcv_nxt.wrapping_sub(PEER_ISS) as usize;
            let have = [&o.delivered[..], &o.state.buffered].concat();
            assert!(
                have == stream(1, 0, received),
                "after {writes} writes, {posts} posts: {} of {received}",
                have.len()
            );
            let una = o.state.record.snd_una.wrapping_sub(HOST_ISS) as usize;
            assert_eq!(
                una, o.completed,
                "after {writes} writes: what was completed is what was acknowledged"
            );
            assert!(
                una <= o.peer_got && o.state.send_data == stream(2, una, 30_000),
                "after {writes} writes"
            );
            assert_eq!(o.state.record.snd_nxt, o.state.record.snd_una);
        }
    }
}

/// The test above would notice a device that acknowledges what is not durable.
#[test]
fn a_device_that_acknowledges_early_is_caught() {
    let early = || {
        let world = GoldenWorld::golden();
        world.device.borrow_mut().set_faults(Faults { ack_before_durable: true });
        world
    };
    assert!((0..160).any(|writes| !is_whole(&die(early(), writes, 3))));
}

fn every_call_after_the_loss_is_refused<D: TestDevice>() {
    let mut world = World::<D>::make();
    let tokens = world.offload(established());
    world.device.borrow_mut().kill();
    world.run_for(300_000);
    assert_eq!(world.host.rebuilt.as_ref().map(Vec::len), Some(1));
    assert_eq!(world.driver.lost(), Some(DriverError::Gone { register: "ID" }));
    assert_eq!(world.driver.initiate(new_tree(vec![established()])), Err(OffloadError::DeviceLost));
    assert_eq!(world.driver.terminate(linker_tree(tokens)), Err(OffloadError::DeviceLost));
    assert_eq!(world.driver.transmit(&[0; 60]), Err(OffloadError::DeviceLost));
    let buffer = world.driver.allocate(10).expect("host memory is still there");
    world.driver.release(buffer).unwrap();
}

/// Whoever administers the device says that it is to be given up: it is stopped, and every connection comes back.
fn an_alarm_gives_the_device_up<D: TestDevice>() {
    for alarm in [Alarm::Wanted, Alarm::Uncorrected] {
        let mut world = World::<D>::make();
        world.offload(established());
        world.driver.bus().alarm = Some(alarm);
        world.run_for(20_000);
        assert_eq!(world.host.rebuilt.as_ref().map(Vec::len), Some(1));
        assert_eq!(world.driver.lost(), Some(DriverError::Alarm(alarm)));
        assert_eq!(world.driver.bus().read32(regs::CTRL.offset), 0, "it does nothing any more");
    }
}

/// A terminate that the device never answers succeeds from host memory; an initiate that it never saw fails.
fn operations_in_flight_end_well<D: TestDevice>() {
    let mut world = World::<D>::make();
    let tokens = world.offload(established());
    world.send(tokens.conn, &stream(2, 0, 4000));
    world.settle();
    world.device.borrow_mut().kill();
    world.driver.terminate(linker_tree(tokens)).unwrap();
    let mut other = established();
    other.record.remote_port += 1;
    world.driver.initiate(new_tree(vec![other])).unwrap();
    world.run_for(300_000);
    let block = &world.host.terminated[0][0].paths[0].connections[0];
    assert_eq!(block.status, Status::Success);
    assert!(block.state.as_ref().is_some_and(|s| s.send_data == stream(2, 0, 4000)));
    assert_eq!(world.host.sends, [(Status::UploadInProgress, 0)]);
    let block = &world.host.initiated[0][0].paths[0].connections[0];
    assert_eq!((block.status, block.role), (Status::Failure, Role::New));
    assert_eq!(world.host.rebuilt.as_ref().map(Vec::len), Some(0));
    assert_eq!(world.driver.stats().arena_used_bytes, 0);
}

/// An initiate that the device carried out but never answered: the connection was live, so it is rebuilt.
fn a_connection_that_was_live_before_its_completion_is_rebuilt<D: TestDevice>() {
    let mut lived = 0;
    for writes in 0..12 {
        let mut world = World::<D>::make();
        world.settle();
        world.device.borrow_mut().die_after_writes(writes);
        world.driver.initiate(new_tree(vec![established()])).unwrap();
        world.run_for(300_000);
        world.device.borrow_mut().kill();
        world.run_for(300_000);
        let status = world.host.initiated[0][0].paths[0].connections[0].status;
        let rebuilt = world.host.rebuilt.as_ref().map_or(0, Vec::len);
        assert_eq!(rebuilt == 1, status == Status::Success, "after {writes} writes");
        lived += rebuilt;
    }
    assert!(lived > 0 && lived < 12);
}

#[test]
fn the_arena_of_a_small_driver_refuses_and_recovers() {
    let mut world = GoldenWorld::golden();
    let mut buffers = Vec::new();
    while let Ok(buffer) = world.driver.allocate(64 * 1024) {
        buffers.push(buffer);
    }
    assert_eq!(buffers.len(), config().arena_bytes / (64 * 1024));
    let mut state = established();
    state.send_data = vec![0; 1000];
    world.driver.initiate(new_tree(vec![state])).unwrap();
    world.settle();
    let tree = &world.host.initiated[0];
    assert_eq!(tree[0].paths[0].connections[0].status, Status::Resources);
    assert_eq!((tree[0].status, tree[0].paths[0].status), (Status::Success, Status::PartialSuccess));
    buffers.into_iter().for_each(|b| world.driver.release(b).unwrap());
    assert_eq!(world.driver.stats().arena_used_bytes, 0);
}

on_both_devices! {
    nothing_acknowledged_is_lost_whenever_the_device_dies,
    every_call_after_the_loss_is_refused,
    an_alarm_gives_the_device_up,
    operations_in_flight_end_well,
    a_connection_that_was_live_before_its_completion_is_rebuilt,
}
