//! Freeze and thaw at random moments: neither stream notices.

use crate::world::{seed, App, Impairment, Rng, World};
use chimney_abi::cmd::TcpState;
use chimney_abi::offload::TcpBlockState;
use chimney_abi::state::{ECN_CWR, ECN_ECHO, ECN_REDUCED};
use chimney_host_stack::{Place, StackError, TcpConfig};

/// What moved in hand-overs, to see that the interesting cases did occur.
#[derive(Debug, Default)]
struct Moved {
    unsent: usize,
    unacknowledged: usize,
    undelivered: usize,
    out_of_order: usize,
    count: usize,
    held: usize,
    /// Congestion marks under way: to be echoed, to be told, of this window.
    ecn: [usize; 3],
}

impl Moved {
    fn add(&mut self, block: &TcpBlockState) {
        let r = &block.record;
        let flight = (r.snd_max.wrapping_sub(r.snd_una) as usize).min(block.send_data.len());
        self.unacknowledged += flight;
        self.unsent += block.send_data.len() - flight;
        self.undelivered += block.buffered.len();
        self.out_of_order += block.out_of_order.iter().map(|range| range.bytes.len()).sum::<usize>();
        self.count += 1;
        for (count, bit) in self.ecn.iter_mut().zip([ECN_ECHO, ECN_CWR, ECN_REDUCED]) {
            *count += usize::from(r.ecn & bit != 0);
        }
    }
}

/// Away connections of both ends, with the time at which they come back.
struct Switch {
    away: [Option<(u64, TcpBlockState)>; 2],
    moved: Moved,
}

impl Switch {
    fn run(&mut self, world: &mut World, apps: &[App; 2]) {
        for (end, app) in apps.iter().enumerate() {
            let id = app.id;
            match &self.away[end] {
                None if world.rng.chance(60) => {
                    // R-066 refuses some states; that is no failure.
                    let Ok(block) = world.stacks[end].freeze(world.now_us, id) else { continue };
                    world.flush();
                    self.moved.add(&block);
                    if world.rng.chance(200) {
                        world.stacks[end].resume(world.now_us, id).expect("frozen");
                        continue;
                    }
                    world.stacks[end].release(id).expect("frozen");
                    let back = world.now_us + world.rng.below(30_000);
                    self.away[end] = Some((back, block));
                }
                Some((back, _)) if world.now_us >= *back => {
                    let Some((_, block)) = self.away[end].take() else { continue };
                    let held = world.stacks[end].counters().held;
                    world.stacks[end].thaw(world.now_us, id, block).expect("its own state");
                    self.moved.held = held as usize;
                }
                _ => {}
            }
        }
    }

    /// When the next connection comes back.
    fn next(&self) -> Option<u64> {
        self.away.iter().flatten().map(|(back, _)| *back).min()
    }
}

fn run(seed: u64, moved: &mut Moved) {
    let mut rng = Rng(seed);
    let link = Impairment {
        loss_permille: rng.below(40),
        duplicate_permille: rng.below(20),
        delay_us: rng.below(10_000),
        jitter_us: rng.below(5000),
        mark_permille: rng.below(100),
    };
    let is_ecn = rng.chance(500);
    let tcp = [0, 1].map(|_| TcpConfig {
        receive_capacity: 4000 + rng.below(200_000) as u32,
        send_capacity: 4000 + rng.below(200_000) as u32,
        is_ecn,
        ..TcpConfig::default()
    });
    let mut world = World::new(rng.next(), link, tcp);
    // Applications and hand-overs have no deadlines of their own.
    world.max_step_us = 1000;
    let ids = world.connect();
    let sizes = [0, 1].map(|_| rng.below(200_000) as usize);
    let mut apps = [0, 1].map(|end| App::new(ids[end], rng.bytes(sizes[end])));
    let mut switch = Switch { away: [None, None], moved: Moved::default() };
    let slow = rng.below(900);
    let end_us = world.now_us + 3_600_000_000;
    loop {
        for (app, stack) in apps.iter_mut().zip(&mut world.stacks) {
            app.run(stack, &mut world.rng, slow);
        }
        switch.run(&mut world, &apps);
        let is_over = |end: usize| {
            let status = world.stacks[end].status(apps[end].id);
            status.is_ok_and(|s| matches!(s.state, TcpState::TimeWait | TcpState::Closed))
        };
        let has_all = apps[0].has_all(&apps[1]) && apps[1].has_all(&apps[0]);
        if has_all && is_over(0) && is_over(1) && switch.next().is_none() {
            break;
        }
        if world.now_us >= end_us {
            let tcbs = [0, 1].map(|end| world.stacks[end].tcb(apps[end].id));
            panic!("stuck with {:?} bytes: {tcbs:#?}", apps.each_ref().map(|app| app.received.len()));
        }
        world.step();
    }
    assert!(apps[0].received == apps[1].to_send && apps[1].received == apps[0].to_send, "streams differ");
    assert_eq!(world.live_resets, 0, "no reset");
    for (app, stack) in apps.iter().zip(&world.stacks) {
        assert_eq!(stack.status(app.id).map(|s| s.error), Ok(None));
    }
    let m = switch.moved;
    moved.unsent += m.unsent;
    moved.unacknowledged += m.unacknowledged;
    moved.undelivered += m.undelivered;
    moved.out_of_order += m.out_of_order;
    moved.count += m.count;
    moved.held += m.held;
    moved.ecn.iter_mut().zip(m.ecn).for_each(|(sum, n)| *sum += n);
}

/// Verifies
#[test]
fn hand_overs_at_random_moments_keep_both_streams() {
    let base = seed();
    let mut moved = Moved::default();
    for round in 0..40 {
        eprintln!("round {round}");
        run(base.wrapping_add(round), &mut moved);
    }
    eprintln!("{moved:?}");
    let all = [moved.unsent, moved.unacknowledged, moved.undelivered, moved.out_of_order, moved.held];
    assert!(all.iter().chain(&moved.ecn).all(|n| *n > 0), "some kind of data never moved: {moved:?}");
}

/// A timeout takes the window away, and the new owner knows no other timer: the wait for a probe (RFC 8985 7.2), which is much shorter, must not
/// become one. Nor may who is handed over more often than its timeout wait for ever.
#[test]
fn a_wait_for_a_probe_is_handed_over_as_a_timeout_once() {
    let mut world = World::perfect();
    let [a, _] = world.connect();
    world.stacks[0].send(a, &[7; 2000]).expect("open");
    assert!(!world.stacks[0].poll(world.now_us).is_empty(), "sent, and lost");
    let rto_us = world.stacks[0].tcb(a).expect("known").rto_us();
    let mut now_us = world.now_us;
    for round in 0..4 {
        let block = world.stacks[0].freeze(now_us, a).expect("established");
        assert_eq!(block.record.rtx_deadline, rto_us - round * (rto_us / 4), "round {round}");
        world.stacks[0].thaw(now_us, a, block).expect("its own state");
        now_us += u64::from(rto_us / 4);
    }
    assert!(!world.stacks[0].poll(now_us).is_empty(), "sent again");
}

/// Verifies: R-264
#[test]
fn the_timestamp_clock_never_goes_back() {
    let mut world = World::perfect();
    let [a, _] = world.connect();
    let first = world.stacks[0].freeze(world.now_us, a).expect("established").record.ts_offset;
    world.stacks[0].resume(world.now_us, a).expect("frozen");
    let mut block = world.stacks[0].freeze(world.now_us + 5000, a).expect("established");
    assert_eq!(block.record.ts_offset.wrapping_sub(first), 5);
    block.record.ts_offset = block.record.ts_offset.wrapping_add(70);
    world.stacks[0].thaw(world.now_us + 9000, a, block).expect("its own state");
    let third = world.stacks[0].freeze(world.now_us + 10_000, a).expect("established").record.ts_offset;
    assert_eq!(third.wrapping_sub(first), 76, "goes on from the value that came back");
}

/// Verifies
#[test]
fn calls_are_refused_while_the_connection_is_away() {
    let mut world = World::perfect();
    let [a, b] = world.connect();
    let block = world.stacks[0].freeze(world.now_us, a).expect("established");
    assert_eq!(world.stacks[0].send(a, b"x"), Err(StackError::NotInHost));
    assert_eq!(world.stacks[0].recv(a, &mut [0; 1]), Err(StackError::NotInHost));
    assert_eq!(world.stacks[0].freeze(world.now_us, a), Err(StackError::NotInHost));
    world.stacks[0].release(a).expect("frozen");
    assert_eq!(world.stacks[0].resume(world.now_us, a), Err(StackError::NotInHost));
    assert_eq!(world.stacks[0].status(a).map(|s| s.place), Ok(Place::Away));
    world.stacks[1].send(b, b"hello").expect("open");
    assert!(world.run_until(1_000_000, |w| w.stacks[0].counters().held > 0));
    let held = world.stacks[0].take_held(a).expect("known");
    assert!(!held.is_empty() && held.iter().all(|segment| segment.ends_with(b"hello")));
    world.stacks[0].thaw(world.now_us, a, block).expect("its own state");
    for segment in held {
        world.stacks[0].give_back_held(world.now_us, a, segment).expect("known");
    }
    assert_eq!(world.stacks[0].status(a).map(|s| s.readable_bytes), Ok(5));
}

/// Verifies: R-066
#[test]
fn only_the_six_states_may_leave() {
    let mut world = World::perfect();
    let [a, b] = world.connect();
    world.stacks[0].shutdown(a).expect("open");
    world.run_until(1_000_000, |w| w.stacks[1].status(b).is_ok_and(|s| s.state == TcpState::CloseWait));
    world.stacks[1].shutdown(b).expect("open");
    world.run_until(1_000_000, |w| w.stacks[0].status(a).is_ok_and(|s| s.state == TcpState::TimeWait));
    assert_eq!(world.stacks[0].freeze(world.now_us, a), Err(StackError::WrongState));
}

/// A name, and a change that no device in its right mind makes.
type Spoil = (&'static str, fn(&mut TcpBlockState));

#[test]
fn states_that_contradict_themselves_are_refused() {
    let mut world = World::perfect();
    let [a, _] = world.connect();
    world.stacks[0].send(a, &[7; 5000]).expect("open");
    world.flush();
    let good = world.stacks[0].freeze(world.now_us, a).expect("established");
    world.stacks[0].release(a).expect("frozen");
    let spoil: [Spoil; 8] = [
        ("state", |b| b.record.tcp_state = 99),
        ("phase", |b| b.record.phase = 9),
        ("order", |b| b.record.snd_nxt = b.record.snd_una.wrapping_sub(1)),
        ("missing data", |b| b.send_data.truncate(10)),
        ("too much sent", |b| b.record.snd_max = b.record.snd_limit.wrapping_add(2)),
        ("FIN acknowledged before the data", |b| b.record.tcp_state = TcpState::FinWait2.code()),
        ("window", |b| b.record.rcv_right = b.record.rcv_nxt.wrapping_sub(1)),
        ("range", |b| {
            b.out_of_order = vec![chimney_abi::offload::Range { seq: b.record.rcv_nxt, bytes: vec![1] }]
        }),
    ];
    for (name, change) in spoil {
        let mut bad = good.clone();
        change(&mut bad);
        assert!(matches!(world.stacks[0].thaw(world.now_us, a, bad), Err(StackError::BadState(_))), "{name}");
    }
    world.stacks[0].thaw(world.now_us, a, good).expect("unchanged");
}

/// Verifies: R-159
#[test]
fn a_fin_behind_a_full_window_comes_back() {
    let mut world = World::perfect();
    let [a, b] = world.connect();
    world.stacks[1].shutdown(b).expect("open");
    assert!(world.run_until(1_000_000, |w| w.stacks[0].status(a).is_ok_and(|s| s.has_peer_closed)));
    let mut block = world.stacks[0].freeze(world.now_us, a).expect("CLOSE_WAIT");
    block.record.rcv_right = block.record.rcv_nxt.wrapping_sub(1);
    world.stacks[0].thaw(world.now_us, a, block).expect("a window of minus one is the FIN");
    assert_eq!(world.stacks[0].tcb(a).map(|tcb| tcb.rcv_wnd()), Ok(0));
}

/// Verifies: R-115
#[test]
fn of_pure_acknowledgments_that_move_on_only_the_last_is_held() {
    let mut world = World::perfect();
    let [a, b] = world.connect();
    world.stacks[0].send(a, &[7; 8000]).expect("open");
    let frames = world.stacks[0].poll(world.now_us);
    let block = world.stacks[0].freeze(world.now_us, a).expect("established");
    for frame in frames {
        world.stacks[1].handle_frame(world.now_us, &frame);
        for ack in world.stacks[1].poll(world.now_us) {
            world.stacks[0].handle_frame(world.now_us, &ack);
        }
    }
    let acks = world.stacks[0].counters().held;
    let held = world.stacks[0].take_held(a).expect("known");
    assert!(acks > 1 && held.len() == 1, "{acks} acknowledgments, {} held", held.len());
    let arrived = world.stacks[1].status(b).map_or(0, |s| s.readable_bytes);
    world.stacks[0].resume(world.now_us, a).expect("frozen");
    world.stacks[0].give_back_held(world.now_us, a, held[0].clone()).expect("known");
    let left = world.stacks[0].status(a).map_or(0, |s| s.unacknowledged_bytes);
    // The peer delays the acknowledgment of at most one segment.
    assert!(left + arrived <= 8000 + 1460, "{left} left, {arrived} arrived, {} moved", block.send_data.len());
}
