//! Two stacks over a link that loses, duplicates and reorders, in virtual time.

use crate::world::{ip, seed, App, Impairment, Rng, World, PORT};
use chimney_abi::cmd::TcpState;
use chimney_host_stack::{StackError, StackEvent, TcpConfig};
use std::net::SocketAddr;

/// Runs both applications until both streams have arrived.
fn transfer(world: &mut World, apps: &mut [App; 2], slow_permille: u64, limit_us: u64) {
    world.max_step_us = 10_000;
    let done = world.run_until(limit_us, |w| {
        for (app, stack) in apps.iter_mut().zip(&mut w.stacks) {
            app.run(stack, &mut w.rng, slow_permille);
        }
        let [a, b] = &*apps;
        a.has_all(b) && b.has_all(a)
    });
    let got = [apps[0].received.len(), apps[1].received.len()];
    let states = [0, 1].map(|end| world.stacks[end].tcb(apps[end].id).map(|tcb| format!("{tcb:?}")));
    assert!(done, "stuck with {got:?} bytes at {}: {states:#?}", world.now_us);
    assert!(apps[0].received == apps[1].to_send && apps[1].received == apps[0].to_send, "streams differ");
}

/// Runs until both FINs are acknowledged, then until neither stack knows the connection any more.
fn settle(world: &mut World, apps: &[App; 2]) {
    assert_eq!(world.live_resets, 0);
    world.max_step_us = u64::MAX;
    let is_over = |w: &World, end: usize| match w.stacks[end].status(apps[end].id) {
        Ok(status) => matches!(status.state, TcpState::TimeWait | TcpState::Closed),
        Err(_) => false,
    };
    assert!(world.run_until(900_000_000, |w| is_over(w, 0) && is_over(w, 1)), "a FIN got lost");
    for (app, stack) in apps.iter().zip(&mut world.stacks) {
        assert_eq!(stack.status(app.id).map(|s| s.error), Ok(None));
        stack.close(app.id).expect("still known");
    }
    let gone = world.run_until(200_000_000, |w| (0..2).all(|e| w.stacks[e].status(apps[e].id).is_err()));
    assert!(gone, "a connection did not close");
}

fn run(seed: u64, link: Impairment, tcp: [TcpConfig; 2], bytes: [usize; 2], slow_permille: u64) -> World {
    let mut world = World::new(seed, link, tcp);
    let ids = world.connect();
    let mut data = Rng(seed ^ 1);
    let mut apps = [0, 1].map(|end| App::new(ids[end], data.bytes(bytes[end])));
    transfer(&mut world, &mut apps, slow_permille, 3_600_000_000);
    settle(&mut world, &apps);
    world
}

/// Verifies
#[test]
fn a_clean_link_carries_both_streams_without_retransmission() {
    let link = Impairment { delay_us: 5000, ..Impairment::default() };
    let world = run(1, link, [TcpConfig::default(); 2], [2_000_000, 1_000_000], 0);
    // 10 ms of RTT and 256 KiB of window carry 25 MB/s; slow start takes a few round trips.
    assert!(world.now_us < 2_000_000 + 60_500_000, "slow: {}", world.now_us);
}

/// Verifies
#[test]
fn lost_duplicated_and_reordered_frames_change_nothing() {
    let base = seed();
    for round in 0..30 {
        let mut rng = Rng(base.wrapping_add(round));
        let link = Impairment {
            loss_permille: rng.below(60),
            duplicate_permille: rng.below(30),
            delay_us: rng.below(30_000),
            jitter_us: rng.below(20_000),
            ..Impairment::default()
        };
        let tcp = [0, 1].map(|_| TcpConfig {
            receive_capacity: 2000 + rng.below(300_000) as u32,
            send_capacity: 2000 + rng.below(300_000) as u32,
            is_nagle: rng.chance(500),
            ..TcpConfig::default()
        });
        let bytes = [0, 1].map(|_| rng.below(300_000) as usize);
        eprintln!("round {round}: {link:?} {bytes:?}");
        run(rng.next(), link, tcp, bytes, rng.below(900));
    }
}

/// Connections decide segment by segment; what goes out at one time is put together for a device that divides it, and the peer cannot tell.
///
/// Verifies: R-006
#[test]
fn large_frames_carry_the_same_streams() {
    let base = seed();
    for round in 0..12 {
        let mut rng = Rng(base.wrapping_add(round));
        let link = Impairment {
            loss_permille: rng.below(2) * rng.below(30),
            duplicate_permille: rng.below(30),
            mark_permille: rng.below(2) * rng.below(50),
            delay_us: rng.below(30_000),
            jitter_us: rng.below(2_000),
        };
        let is_ecn = link.mark_permille > 0;
        let tcp = [0, 1].map(|_| TcpConfig { is_ecn, is_nagle: rng.chance(500), ..TcpConfig::default() });
        let mut world = World::new(rng.next(), link, tcp);
        let most = 2000 + rng.below(63_000) as usize;
        eprintln!("round {round}: {link:?}, frames of {most} bytes");
        for stack in &mut world.stacks {
            stack.set_max_large_frame(most);
        }
        let ids = world.connect();
        let mut apps = ids.map(|id| App::new(id, rng.bytes(600_000)));
        transfer(&mut world, &mut apps, 100, 3_600_000_000);
        settle(&mut world, &apps);
        for stack in &world.stacks {
            let c = stack.counters();
            assert!(c.large_segments_out >= 2 * c.large_out, "{c:?}");
            // Two full segments fit beside the longest headers that there are.
            assert!(c.large_out > 10 || most < 3100, "{c:?}");
        }
    }
}

#[test]
fn sequence_numbers_may_wrap() {
    let link = Impairment { loss_permille: 10, delay_us: 100, jitter_us: 300, ..Impairment::default() };
    // 64 MB do not wrap by themselves; random initial numbers over many connections do.
    for round in 0..4 {
        run(round, link, [TcpConfig::default(); 2], [2_000_000, 10], 0);
    }
}

/// Verifies
#[test]
fn a_closed_window_is_probed_until_it_opens() {
    let mut world = World::perfect();
    let [a, b] = world.connect();
    let data = Rng(3).bytes(600_000);
    let mut sent = 0;
    world.run_until(100_000_000, |w| {
        sent += w.stacks[0].send(a, &data[sent..]).unwrap_or(0);
        false
    });
    let before = world.stacks[0].tcb(a).map(|tcb| (tcb.snd.snd_wnd, tcb.timers.is_persist)).ok();
    assert_eq!(before, Some((0, true)), "window closed and persisting");
    // The reader wakes up, and the window update that says so is lost.
    let mut received = vec![0; 600_000];
    let mut count = world.stacks[1].recv(b, &mut received).unwrap_or(0);
    world.drop_list[1].push(world.sent[1]);
    let done = world.run_until(200_000_000, |w| {
        sent += w.stacks[0].send(a, &data[sent..]).unwrap_or(0);
        count += w.stacks[1].recv(b, &mut received[count..]).unwrap_or(0);
        count == data.len()
    });
    assert!(done && received == data);
}

#[test]
fn one_lost_segment_is_repaired_without_a_timeout() {
    let mut world = World::perfect();
    let [a, b] = world.connect();
    let data = Rng(4).bytes(200_000);
    world.drop_list[0] = vec![world.sent[0] + 20, world.sent[0] + 23];
    let (mut sent, mut received, mut buffer) = (0, Vec::new(), vec![0; 50_000]);
    let done = world.run_until(10_000_000, |w| {
        sent += w.stacks[0].send(a, &data[sent..]).unwrap_or(0);
        let count = w.stacks[1].recv(b, &mut buffer).unwrap_or(0);
        received.extend_from_slice(&buffer[..count]);
        received.len() == data.len()
    });
    assert!(done && received == data);
    let stats = world.stacks[0].stats(a).expect("open");
    assert_eq!((stats.retransmits, stats.timeouts, stats.fast_retransmits), (2, 0, 1));
    assert!(world.oracle.sacks > 0);
}

/// Verifies: R-249
#[test]
fn small_writes_wait_for_the_acknowledgment() {
    let mut world = World::perfect();
    let [a, _] = world.connect();
    let before = world.sent[0];
    for _ in 0..10 {
        assert_eq!(world.stacks[0].send(a, b"x"), Ok(1));
        world.flush();
    }
    assert_eq!(world.sent[0] - before, 1, "Nagle: one small segment in flight");
}

#[test]
fn a_port_without_listener_refuses() {
    let mut world = World::perfect();
    let id = world.stacks[0].connect(world.now_us, SocketAddr::new(world.peer, 9)).expect("id");
    let closed = world.run_until(5_000_000, |w| w.events_of(0).contains(&StackEvent::Closed(id)));
    assert!(closed);
    assert!(matches!(world.stacks[0].recv(id, &mut [0; 4]), Err(StackError::Ended(_))));
}

#[test]
fn a_silent_peer_times_out_after_the_last_syn() {
    let mut world = World::perfect();
    world.impairment.loss_permille = 1000;
    let id = world.stacks[0].connect(world.now_us, SocketAddr::new(world.peer, PORT)).expect("id");
    // ARP alone never answers; the connection gives up by itself.
    let closed = world.run_until(400_000_000, |w| w.events_of(0).contains(&StackEvent::Closed(id)));
    assert!(closed, "{:?}", world.stacks[0].status(id));
}

/// Verifies: R-221
#[test]
fn abort_resets_the_peer() {
    let mut world = World::perfect();
    let [a, b] = world.connect();
    world.stacks[0].abort(world.now_us, a).expect("open");
    let closed = world.run_until(5_000_000, |w| w.events_of(1).contains(&StackEvent::Closed(b)));
    assert!(closed);
    assert_eq!(world.oracle.resets, 1);
    assert!(world.stacks[0].status(a).is_err(), "the id was given back");
}

#[test]
fn closing_both_ends_at_once_passes_through_closing() {
    let mut world = World::perfect();
    let ids = world.connect();
    for (stack, id) in world.stacks.iter_mut().zip(ids) {
        stack.shutdown(id).expect("open");
    }
    let done = world.run_until(5_000_000, |w| {
        (0..2).all(|e| w.stacks[e].status(ids[e]).is_ok_and(|s| s.state == TcpState::TimeWait))
    });
    assert!(done);
    assert!(world.run_until(100_000_000, |w| {
        (0..2).all(|e| w.stacks[e].status(ids[e]).is_ok_and(|s| s.state == TcpState::Closed))
    }));
    assert_eq!(world.oracle.resets, 0);
}

/// Verifies: R-244
#[test]
fn half_closed_connections_go_on_in_the_other_direction() {
    let mut world = World::perfect();
    let [a, b] = world.connect();
    world.stacks[0].shutdown(a).expect("open");
    assert!(world.run_until(5_000_000, |w| w.stacks[1].status(b).is_ok_and(|s| s.has_peer_closed)));
    assert_eq!(world.stacks[0].send(a, b"x"), Err(StackError::WrongState));
    let data = Rng(5).bytes(500_000);
    let (mut sent, mut received, mut buffer) = (0, Vec::new(), vec![0; 50_000]);
    let done = world.run_until(60_000_000, |w| {
        sent += w.stacks[1].send(b, &data[sent..]).unwrap_or(0);
        let count = w.stacks[0].recv(a, &mut buffer).unwrap_or(0);
        received.extend_from_slice(&buffer[..count]);
        received.len() == data.len()
    });
    assert!(done && received == data);
}

#[test]
fn many_connections_share_one_listener() {
    let mut world = World::perfect();
    let listener = world.stacks[1].listen(PORT, 100).expect("free");
    let ids: Vec<_> = (0..50).map(|_| world.connect_to(listener)).collect();
    for (i, [a, _]) in ids.iter().enumerate() {
        assert_eq!(world.stacks[0].send(*a, &[i as u8; 100]), Ok(100));
    }
    assert!(world.run_until(10_000_000, |w| {
        ids.iter().all(|[_, b]| w.stacks[1].status(*b).is_ok_and(|s| s.readable_bytes == 100))
    }));
    for (i, [_, b]) in ids.iter().enumerate() {
        let mut out = [0; 200];
        assert_eq!(world.stacks[1].recv(*b, &mut out), Ok(100));
        assert_eq!(out[..100], [i as u8; 100]);
    }
}

#[test]
fn garbage_never_stops_the_stack() {
    let mut rng = Rng(seed());
    for family in [2, 3] {
        garbage(World::perfect_with(family), &mut rng);
    }
}

fn garbage(mut world: World, rng: &mut Rng) {
    let ids = world.connect();
    world.stacks[0].send(ids[0], b"hello").expect("open");
    let segment = world.stacks[0].poll(world.now_us).into_iter().next().expect("a frame");
    // A stack that knows nobody begins with a question for its neighbor.
    let stranger = &mut World::perfect_with(3).stacks[0];
    stranger.connect(0, SocketAddr::new(ip(1, true), PORT)).expect("a port is free");
    let question = stranger.poll(0).into_iter().next().expect("a solicitation");
    for i in 0..20_000 {
        let mut frame = if i % 4 == 0 { question.clone() } else { segment.clone() };
        for _ in 0..1 + rng.below(4) {
            let at = rng.below(frame.len() as u64) as usize;
            frame[at] = rng.next() as u8;
        }
        frame.truncate(rng.below(frame.len() as u64 + 20) as usize);
        world.stacks[1].handle_frame(world.now_us, &frame);
        let _ = world.stacks[1].poll(world.now_us);
    }
    world.stacks[1].handle_frame(world.now_us, &segment);
    assert_eq!(world.stacks[1].status(ids[1]).map(|s| s.readable_bytes), Ok(5));
}

/// RFC 3168: marks instead of losses.
#[test]
fn marked_frames_reduce_the_window_and_nothing_is_sent_again() {
    let link = Impairment { delay_us: 10_000, mark_permille: 20, ..Impairment::default() };
    let tcp = TcpConfig { is_ecn: true, ..TcpConfig::default() };
    let mut world = World::new(seed(), link, [tcp; 2]);
    let ids = world.connect();
    let mut apps = [App::new(ids[0], Rng(5).bytes(2_000_000)), App::new(ids[1], Vec::new())];
    transfer(&mut world, &mut apps, 0, 600_000_000);
    let tcb = world.stacks[0].tcb(ids[0]).expect("known");
    assert_eq!(tcb.stats.retransmits, 0);
    assert!(tcb.cw.ssthresh < 1 << 29, "reduced");
    let [ece, cwr, capable] = world.oracle.ecn;
    assert!(world.marked > 0 && ece >= world.marked / 2 && capable > 1000, "{:?}", world.oracle.ecn);
    assert!(cwr > 0 && cwr <= world.marked, "once a round trip: {cwr} of {}", world.marked);
}

#[test]
fn ecn_needs_both_ends() {
    let link = Impairment { delay_us: 1000, mark_permille: 500, ..Impairment::default() };
    for first in [false, true] {
        let tcp = [first, !first].map(|is_ecn| TcpConfig { is_ecn, ..TcpConfig::default() });
        let world = run(3, link, tcp, [50_000, 50_000], 0);
        assert_eq!((world.oracle.ecn, world.marked), ([0; 3], 0));
    }
}
