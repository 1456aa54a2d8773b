//! The driver on the golden model: confirmations of a neighbor, and when the host is asked for its own.

#[allow(dead_code)] // each test file uses its part
mod harness;

use chimney_abi::cmd::Status;
use chimney_abi::offload::{NeighborState, Offload, Parameters, Role, Tree};
use chimney_sim::net::guise::{Guise, V6};
use harness::peer::Peer;
use harness::{established, linker_tree, stream, GoldenWorld, Tokens, HOST_ISS, PEER_MAC};

/// Confirmations that are older are stale, milliseconds; more than the driver takes between two looks.
const STALE_MS: u32 = 300;
const SECOND_US: u64 = 1_000_000;

/// A connection in this family, and who is at its other end.
fn start(v6: Option<V6>) -> (GoldenWorld, Tokens, Peer) {
    let mut world = GoldenWorld::golden();
    world.guise = Guise { v6, ..Guise::default() };
    let parameters = Parameters { nce_stale_ms: STALE_MS, ..Parameters::default() };
    world.driver.set_parameters(&parameters).expect("a device");
    let tokens = world.offload(established());
    let mut peer = Peer::new(HOST_ISS);
    peer.allow(harness::HOST_WINDOW as usize);
    (world, tokens, peer)
}

/// Lets so many milliseconds pass in which nobody answers.
fn wait(world: &mut GoldenWorld, ms: u32) {
    world.run_for(u64::from(ms) * 1000);
    world.sent_frames();
}

/// The tree that names the neighbor alone.
fn neighbor_tree(tokens: Tokens) -> Tree {
    let mut tree = linker_tree(tokens);
    tree[0].paths.clear();
    tree
}

/// What a query says of the neighbor.
fn query(world: &mut GoldenWorld, tokens: Tokens) -> NeighborState {
    world.driver.query(neighbor_tree(tokens)).expect("accepted");
    world.settle();
    let tree = world.host.queried.pop().expect("completed");
    assert_eq!(tree[0].status, Status::Success);
    tree[0].state.expect("a state")
}

/// Ages in a state, of the host's confirmation and of the target's.
fn ages(state: NeighborState) -> (u32, u32) {
    (state.host_reachability_ms, state.nic_reachability_ms)
}

/// How often the host was asked so far.
fn questions(world: &GoldenWorld) -> usize {
    assert_eq!(world.driver.stats().reachability_queries, world.host.reach_questions.len() as u64);
    world.host.reach_questions.len()
}

/// Verifies
#[test]
fn the_host_is_asked_before_something_is_sent_and_after_a_zero_not_again_for_as_long() {
    for v6 in [None, Some(V6::default())] {
        let (mut world, tokens, _) = start(v6);
        wait(&mut world, 3 * STALE_MS);
        assert_eq!(questions(&world), 0, "nothing is sent");
        world.send(tokens.conn, &stream(1, 0, 100));
        assert!(world.sent_frames().is_empty());
        world.settle();
        assert_eq!(questions(&world), 1);
        let block = world.host.reach_questions[0].clone();
        assert_eq!((block.role, block.handle.0), (Role::Linker(tokens.neighbor), 1));
        assert_eq!((block.status, block.paths.len()), (Status::Success, 0));
        let state = block.state.expect("const, cached and delegated");
        assert_eq!((state.dst_mac, ages(state)), (PEER_MAC, (3 * STALE_MS, 3 * STALE_MS)));
        // Nobody acknowledges it: the device sends it again by itself.
        wait(&mut world, STALE_MS);
        assert_eq!(questions(&world), 1);
        wait(&mut world, STALE_MS / 2);
        assert_eq!(questions(&world), 2);
        let state = world.host.reach_questions[1].state.expect("a state");
        let (host_ms, target_ms) = ages(state);
        assert!((STALE_MS + 1..STALE_MS + 150).contains(&host_ms), "{host_ms}");
        assert_eq!(target_ms, host_ms + 3 * STALE_MS);
    }
}

/// Verifies
#[test]
fn an_answer_counts_from_when_the_host_confirmed_the_neighbor() {
    let (mut world, tokens, _) = start(None);
    wait(&mut world, 2 * STALE_MS);
    world.host.reach_answer_ms = STALE_MS - 50;
    world.send(tokens.conn, &stream(1, 0, 100));
    world.settle();
    assert_eq!((questions(&world), ages(query(&mut world, tokens))), (1, (STALE_MS - 50, 2 * STALE_MS)));
    wait(&mut world, 50);
    assert_eq!(questions(&world), 1);
    wait(&mut world, 110);
    assert_eq!(questions(&world), 2);
}

/// Bytes that the peer acknowledges, and bytes that it sends.
///
/// Verifies
#[test]
fn progress_confirms_the_neighbor_and_nobody_is_asked() {
    let (mut world, tokens, mut peer) = start(None);
    wait(&mut world, STALE_MS / 2);
    world.send(tokens.conn, &stream(1, 0, 100));
    world.talk(&mut peer, 0);
    assert_eq!(peer.incoming.len(), 100);
    assert_eq!(ages(query(&mut world, tokens)), (STALE_MS / 2, 0), "acknowledged");
    wait(&mut world, STALE_MS);
    peer.outgoing = stream(2, 0, 50);
    world.talk(&mut peer, 0);
    assert_eq!(world.host.stream.len(), 50);
    assert_eq!(ages(query(&mut world, tokens)), (STALE_MS / 2 + STALE_MS, 0), "received");
    wait(&mut world, STALE_MS);
    world.send(tokens.conn, &stream(1, 100, 200));
    world.talk(&mut peer, 0);
    assert_eq!((questions(&world), peer.incoming.len()), (0, 200));
    wait(&mut world, STALE_MS / 4);
    world.driver.terminate(linker_tree(tokens)).expect("accepted");
    world.settle();
    let tree = world.host.terminated.pop().expect("completed");
    let host_ms = STALE_MS / 2 + 2 * STALE_MS + STALE_MS / 4;
    assert_eq!(tree[0].state.map(ages), Some((host_ms, STALE_MS / 4)), "an upload brings both");
}

/// A new MAC address brings the host's confirmation; an invalid neighbor carries nothing, so nobody is asked about it.
///
/// Verifies: R-269
#[test]
fn the_hosts_word_comes_with_an_update_and_an_invalid_neighbor_needs_none() {
    let (mut world, tokens, _) = start(None);
    wait(&mut world, 2 * STALE_MS);
    let mut tree = neighbor_tree(tokens);
    tree[0].state =
        Some(NeighborState { dst_mac: PEER_MAC, host_reachability_ms: 7, ..NeighborState::default() });
    world.driver.update(tree).expect("accepted");
    world.settle();
    assert_eq!(ages(query(&mut world, tokens)), (7, 2 * STALE_MS), "the delegated age is the target's");
    world.send(tokens.conn, &stream(1, 0, 100));
    world.settle();
    assert_eq!(questions(&world), 0);
    world.driver.invalidate(neighbor_tree(tokens)).expect("accepted");
    world.settle();
    assert_eq!(world.host.invalidated.pop().map(|tree| tree[0].status), Some(Status::Success));
    world.run_for(SECOND_US);
    assert_eq!(questions(&world), 0);
}
