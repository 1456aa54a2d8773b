//! What the wire brings never stops the NIC: mutated frames, many of them with right checksums, back to back, for
//! connections that are at work. Afterwards the device still takes connections and carries both their streams.
//!
//! A failure prints its seed; `CHIMNEY_SEED=n` replays it. `CHIMNEY_LONG=1` runs ten times as many.

#[allow(dead_code)] // each test file uses its part
mod harness;

use chimney_abi::cmd::Status;
use chimney_abi::offload::{Offload, TcpBlockState, Token, Tree};
use chimney_abi::state::{CONST_SACK, CONST_TIMESTAMPS};
use chimney_host_stack_core::checksum::{pseudo_v4, Checksum};
use chimney_sim::rng::{test_seed, Rng};
use etherparse::{PacketBuilder, TcpOptionElement};
use harness::host::{Accept, Host};
use harness::peer::{parse, Peer};
use harness::{
    config, established, new_tree, short_or_long, stream, TestDevice, Tokens, World, HOST_IP, HOST_ISS,
    HOST_MAC, HOST_PORT, MSS, PEER_IP, PEER_ISS, PEER_MAC, PEER_PORT,
};

/// Connections that the frames are for.
const CONNECTIONS: u16 = 3;
/// Frames that meet the same connections.
const LIFE_FRAMES: usize = 250;
/// Bytes of the transfer afterwards, each way.
const LAST_BYTES: usize = 50_000;

/// What the peer of a connection last heard.
#[derive(Clone, Copy)]
struct Heard {
    ack: u32,
    end: u32,
}

/// Connections under fire.
struct Life<D: TestDevice> {
    world: World<D>,
    tree: Tree,
    tokens: Vec<Token>,
    heard: Vec<Heard>,
}

impl<D: TestDevice> Life<D> {
    fn new(mut world: World<D>) -> Self {
        let states = (0..CONNECTIONS).map(state).collect();
        world.driver.initiate(new_tree(states)).expect("accepted");
        world.settle();
        let tree = world.host.initiated.pop().expect("completed");
        let connections = &tree[0].paths[0].connections;
        assert!(connections.iter().all(|c| c.status == Status::Success), "the device takes connections");
        let token = |role| match role {
            chimney_abi::offload::Role::Linker(token) => token,
            other => panic!("not offloaded: {other:?}"),
        };
        let tokens = connections.iter().map(|c| token(c.role)).collect();
        let heard = vec![Heard { ack: PEER_ISS, end: HOST_ISS }; usize::from(CONNECTIONS)];
        Self { world, tree, tokens, heard }
    }

    /// Some frames back to back, work of the host in between.
    fn burst(&mut self, rng: &mut Rng, frames: usize) {
        for _ in 0..frames {
            let frame = self.frame(rng);
            self.world.device.borrow_mut().rx_frame(&frame, rng.one_in_256(3));
        }
        let most_us = if rng.one_in_256(20) { 400_000 } else { 600 };
        self.world.now_us += rng.below(2) * rng.below(most_us);
        self.world.settle();
        let token = self.tokens[rng.below(self.tokens.len() as u64) as usize];
        if self.world.driver.stats().arena_used_bytes < config().arena_bytes as u32 / 2 {
            match rng.below(4) {
                0 => self.world.send(token, &stream(2, 0, rng.below(4000) as usize)),
                1 => self.world.post(token, rng.below(4000) as u32, rng.chance(0.5)),
                _ => {}
            }
        }
        self.world.host.frames.clear();
        self.listen();
    }

    /// Reads what the device sent; all of it is well-formed.
    fn listen(&mut self) {
        for frame in self.world.sent_frames() {
            let segment = parse(&frame);
            let port = u16::from_be_bytes([frame[34], frame[35]]);
            let heard = &mut self.heard[usize::from(port - HOST_PORT)];
            *heard = Heard { ack: segment.ack, end: segment.seq.wrapping_add(segment.payload.len() as u32) };
        }
    }

    /// A frame that is almost right for one of the connections, or wrong in some way.
    fn frame(&self, rng: &mut Rng) -> Vec<u8> {
        if rng.one_in_256(8) {
            return (0..1 + rng.below(2100)).map(|_| rng.next_u64() as u8).collect();
        }
        let conn = rng.below(u64::from(CONNECTIONS) + 1) as u16;
        let heard = self.heard.get(usize::from(conn)).copied().unwrap_or(self.heard[0]);
        let mut frame = plausible(rng, conn, heard);
        if rng.one_in_256(180) {
            mutate(rng, &mut frame);
        }
        frame
    }

    /// Takes everything back; nothing may be left over.
    fn end(mut self) -> World<D> {
        (self.tree[0].selected, self.tree[0].paths[0].selected) = (true, true);
        self.world.driver.terminate(self.tree).expect("accepted");
        self.world.settle();
        let tree = self.world.host.terminated.pop().expect("completed");
        let back = &tree[0].paths[0].connections;
        let statuses: Vec<_> = back.iter().map(|c| c.status).collect();
        let fault = self.world.driver.stats().last_fault;
        assert_eq!(
            (&statuses[..], fault),
            (&[Status::Success; CONNECTIONS as usize][..], None),
            "all come back"
        );
        assert!(back.iter().all(|c| c.state.is_some()));
        self.world.assert_no_leaks(&config());
        self.world.device.borrow().assert_clean();
        drop(self.world.sent_frames());
        self.world.host = Host::default();
        self.world.host.accept = Accept::None;
        self.world
    }
}

/// Connection `i`: plain, with SACK, with SACK and timestamps.
fn state(i: u16) -> TcpBlockState {
    let mut s = established();
    s.record.local_port += i;
    s.record.const_flags = [0, CONST_SACK, CONST_SACK | CONST_TIMESTAMPS][usize::from(i) % 3];
    s.record.eff_mss = MSS - 12;
    s
}

/// A number that is often near something meaningful.
fn near(rng: &mut Rng, at: u32) -> u32 {
    match rng.below(8) {
        0..=3 => at,
        4 | 5 => at.wrapping_add(rng.below(4000) as u32),
        6 => at.wrapping_sub(rng.below(3000) as u32),
        _ => rng.next_u64() as u32,
    }
}

/// A segment for connection `conn`, which may be one that nobody has.
fn plausible(rng: &mut Rng, conn: u16, heard: Heard) -> Vec<u8> {
    let window = rng.next_u64() as u16 >> rng.below(16);
    let mut tcp = PacketBuilder::ethernet2(PEER_MAC, HOST_MAC).ipv4(PEER_IP, HOST_IP, 64).tcp(
        PEER_PORT,
        HOST_PORT + conn,
        near(rng, heard.ack),
        window,
    );
    tcp = if rng.one_in_256(4) { tcp } else { tcp.ack(near(rng, heard.end)) };
    tcp = if rng.one_in_256(80) { tcp.psh() } else { tcp };
    tcp = if rng.one_in_256(3) { tcp.fin() } else { tcp };
    tcp = if rng.one_in_256(3) { tcp.syn() } else { tcp };
    tcp = if rng.one_in_256(2) { tcp.rst() } else { tcp };
    tcp = if rng.one_in_256(2) { tcp.urg(rng.next_u64() as u16) } else { tcp };
    if conn == 2 && !rng.one_in_256(10) || rng.one_in_256(30) {
        let stamps = TcpOptionElement::Timestamp(near(rng, 1000), near(rng, 1000));
        tcp = tcp.options(&[TcpOptionElement::Noop, TcpOptionElement::Noop, stamps]).expect("they fit");
    } else if rng.one_in_256(30) {
        let (from, to) = (near(rng, heard.end), near(rng, heard.end));
        let sack = TcpOptionElement::SelectiveAcknowledgement((from, to), [None; 3]);
        tcp = tcp.options(&[TcpOptionElement::Noop, TcpOptionElement::Noop, sack]).expect("they fit");
    }
    let text = rng.below(2) * rng.below(u64::from(MSS) - 11);
    let payload: Vec<u8> = (0..text).map(|_| rng.next_u64() as u8).collect();
    let mut frame = Vec::new();
    tcp.write(&mut frame, &payload).expect("a vector takes everything");
    frame.resize(frame.len().max(60), 0);
    frame
}

/// Changes bytes, most often of the headers; cuts, grows; often with right checksums afterwards.
fn mutate(rng: &mut Rng, frame: &mut Vec<u8>) {
    for _ in 0..1 + rng.below(3) {
        let most = if rng.chance(0.7) { frame.len().min(74) } else { frame.len() };
        let at = rng.below(most as u64) as usize;
        frame[at] = if rng.chance(0.5) { rng.next_u64() as u8 } else { frame[at] ^ 1 << rng.below(8) };
    }
    match rng.below(8) {
        0 => frame.truncate(1 + rng.below(frame.len() as u64) as usize),
        1 => frame.resize(frame.len() + rng.below(900) as usize, 0xA5),
        2 => {
            // A tag or another protocol, with everything else in place.
            let ether_type: u16 = [0x8100, 0x86dd, 0x0806, 0x05dc][rng.below(4) as usize];
            frame[12..14].copy_from_slice(&ether_type.to_be_bytes());
        }
        _ => {}
    }
    if rng.chance(0.6) {
        repair(frame);
    }
}

/// Right checksums over whatever the frame says now: nonsense that gets past them.
fn repair(frame: &mut [u8]) {
    if frame.len() < 54 {
        return;
    }
    frame[24..26].fill(0);
    let mut ip = Checksum::default();
    ip.add_bytes(&frame[14..34]);
    frame[24..26].copy_from_slice(&ip.finish().to_be_bytes());
    let total = usize::from(u16::from_be_bytes([frame[16], frame[17]]));
    if !(40..=frame.len() - 14).contains(&total) {
        return;
    }
    frame[50..52].fill(0);
    let at = |i: usize| [frame[i], frame[i + 1], frame[i + 2], frame[i + 3]];
    let mut sum = pseudo_v4(at(26), at(30), 6, (total - 20) as u16);
    sum.add_bytes(&frame[34..14 + total]);
    frame[50..52].copy_from_slice(&sum.finish().to_be_bytes());
}

/// A connection with data both ways, as if nothing had happened.
fn carries_a_transfer<D: TestDevice>(world: &mut World<D>) {
    world.host = Host::default();
    let tokens: Tokens = world.offload(established());
    let mut peer = Peer::new(HOST_ISS);
    peer.allow(harness::HOST_WINDOW as usize);
    peer.outgoing = stream(1, 0, LAST_BYTES);
    for part in stream(2, 0, LAST_BYTES).chunks(10_000) {
        world.post(tokens.conn, part.len() as u32, true);
        world.send(tokens.conn, part);
    }
    world.talk(&mut peer, 1_000_000);
    assert!(peer.incoming == stream(2, 0, LAST_BYTES), "the peer got {}", peer.incoming.len());
    let back = world.upload(tokens);
    let got = [&world.host.stream[..], &back.buffered].concat();
    assert!(got == stream(1, 0, LAST_BYTES), "the host got {}", got.len());
}

/// Verifies: R-237.
fn mutated_frames_never_stop_the_nic<D: TestDevice>() {
    let mut rng = Rng::new(test_seed(21));
    let mut world = World::<D>::make();
    world.host.accept = Accept::None;
    let frames = short_or_long(D::FRAMES);
    let mut done = 0;
    while done < frames {
        let mut life = Life::new(world);
        let end = done + LIFE_FRAMES;
        while done < end {
            let burst = 1 + rng.below(6) as usize;
            life.burst(&mut rng, burst);
            done += burst;
        }
        world = life.end();
    }
    println!("{done} frames");
    carries_a_transfer(&mut world);
    world.assert_no_leaks(&config());
    world.device.borrow().assert_clean();
}

on_both_devices! {
    mutated_frames_never_stop_the_nic,
}
