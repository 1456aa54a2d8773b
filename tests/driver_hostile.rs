//! The device is never trusted: whatever it writes into the memory it may write, the driver neither panics nor hangs.

#[allow(dead_code)] // each test file uses its part
mod harness;

use chimney_abi::offload::{Offload, ReceiveRequest, SendRequest};
use chimney_driver::DriverError;
use chimney_sim::host_mem::DmaPort;
use chimney_sim::rng::{test_seed, Rng};
use harness::peer::Peer;
use harness::{established, linker_tree, short_or_long, stream, GoldenWorld, HOST_ISS};
use std::collections::BTreeSet;

/// Changes a word of memory that the device may write.
fn corrupt(rng: &mut Rng, port: &mut DmaPort, writable: &[(u64, usize)]) {
    // Small regions (rings, shadow records, page maps, status line) as often as the large ones.
    let (iova, len) = writable[rng.below(writable.len() as u64) as usize];
    let hot = len.min(4096) as u64;
    let at = iova + rng.below(hot / 8) * 8;
    let old = port.read_word(at).expect("mapped");
    let new = match rng.below(5) {
        0 => rng.next_u64(),
        1 => old ^ 1 << rng.below(64),
        2 => u64::MAX,
        3 => old.wrapping_add(rng.below(5)).wrapping_sub(2),
        _ => old.rotate_left(8 * rng.below(8) as u32),
    };
    port.write(at, &new.to_le_bytes()).expect("the device may write here");
}

/// Words that a lying device changes before the test is content: for the short run, or for the long one.
const CHANGES: [u64; 2] = [100_000, 1_000_000];

/// One connection on a device that lies; counts the words that it changed. Why the device was given up, if it was.
fn life(rng: &mut Rng, changes: &mut u64) -> Option<DriverError> {
    let mut world = GoldenWorld::golden();
    let tokens = world.offload(established());
    let mut peer = Peer::new(HOST_ISS);
    peer.allow(harness::HOST_WINDOW as usize);
    peer.outgoing = stream(1, 0, 40_000);
    let writable = world.driver.bus().writable.clone();
    let mut port = world.memory.port();
    for _ in 0..40 {
        if world.driver.lost().is_some() {
            return world.driver.lost();
        }
        let buffer = world.driver.allocate(2000).expect("arena memory");
        let send = SendRequest { buffer, offset_bytes: 0, len_bytes: 2000 };
        let receive =
            ReceiveRequest { buffer, len_bytes: 2000, prefilled_bytes: 0, no_push: rng.chance(0.5) };
        let _may_be_refused = match rng.chance(0.5) {
            true => world.driver.send(tokens.conn, send),
            false => world.driver.receive(tokens.conn, receive),
        };
        for frame in peer.poll(world.now_us).into_iter().take(3) {
            world.wire(&frame);
        }
        for _ in 0..rng.below(4) {
            corrupt(rng, &mut port, &writable);
            *changes += 1;
            world.now_us += 1000;
            world.step();
        }
        drop(world.sent_frames());
        if rng.chance(0.05) {
            let _may_be_refused = world.driver.query(linker_tree(tokens));
        }
    }
    let _may_be_refused = world.driver.terminate(linker_tree(tokens));
    world.run_for(2_000_000);
    world.driver.lost()
}

#[test]
fn corrupted_memory_never_brings_the_driver_down() {
    let mut rng = Rng::new(test_seed(5));
    let (mut lives, mut lost, mut changes) = (0, 0, 0);
    let mut reasons = BTreeSet::new();
    while changes < short_or_long(CHANGES) {
        lives += 1;
        if let Some(why) = life(&mut rng, &mut changes) {
            lost += 1;
            // Without the numbers: what it was that could not be.
            let text = why.to_string();
            reasons.insert(text.split(" to ").next().unwrap_or_default().to_owned());
        }
    }
    println!("{changes} words changed; {lost} of {lives} devices were given up: {reasons:?}");
    assert!(changes >= CHANGES[0] && lost > 0 && lost < lives);
    assert!(reasons.iter().all(|why| !why.is_empty()));
}
