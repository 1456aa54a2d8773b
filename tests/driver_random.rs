//! Law L1 and law L2 on the driver, on the golden model and on the RTL, at random: a connection that moves up and down in the middle of
//! everything, in any framing and family, over a lossy wire, whose device dies now and then. Both byte streams must come out whole.
//!
//! A failure prints its seed; `CHIMNEY_SEED=n` replays it. `CHIMNEY_LONG=1` runs more of them.

#[allow(dead_code)] // each test file uses its part
mod harness;

use chimney_abi::cmd::{Status, TcpState};
use chimney_abi::offload::{ConnectionEvent, Disconnect, Offload, TcpBlockState};
use chimney_sim::net::guise::Guise;
use chimney_sim::rng::Rng;
use harness::host::Accept;
use harness::peer::Peer;
use harness::{config, established, short_or_long, stream, TestDevice, Tokens, World, HOST_ISS};

/// Seeds that found something: a doorbell that arrived after the peer's FIN.
const FAILED_ONCE: [u64; 1] = [61];
/// Requests of each kind outstanding.
const MOST_REQUESTS: usize = 12;

/// What moved at hand-overs, to show that the test meets the cases.
#[derive(Debug, Default)]
struct Moved {
    offloads: usize,
    uploads: usize,
    losses: usize,
    forwards: usize,
    unacknowledged: usize,
    unsent: usize,
    undelivered: usize,
    out_of_order: usize,
}

struct Life<D: TestDevice> {
    rng: Rng,
    world: World<D>,
    peer: Peer,
    tokens: Option<Tokens>,
    /// The connection while the host has it.
    state: Option<TcpBlockState>,
    /// Frames that came up while the host had it.
    held: Vec<Vec<u8>>,
    sent: usize,
    posted: usize,
    sends: usize,
    receives: usize,
    is_closed: bool,
    moved: Moved,
    /// Frames on the wire: time of arrival, towards the device or not.
    wire: Vec<(u64, bool, Vec<u8>)>,
    loss_per_mille: u64,
    /// Register writes arrive late.
    is_late: bool,
}

impl<D: TestDevice> Life<D> {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let mut peer = Peer::new(HOST_ISS);
        peer.allow(harness::HOST_WINDOW as usize);
        peer.push_every = 1 + rng.below(8) as usize;
        let loss_per_mille = rng.below(60);
        let is_late = rng.chance(0.7);
        let mut world = new_world(is_late, &mut rng, 0);
        // Of its own numbers: the others stay what they were for a seed that failed once.
        world.guise = Guise::random(&mut Rng::keyed(seed, 6, 0));
        Self {
            rng,
            world,
            is_late,
            peer,
            tokens: None,
            state: Some(established()),
            held: Vec::new(),
            sent: 0,
            posted: 0,
            sends: 0,
            receives: 0,
            is_closed: false,
            moved: Moved::default(),
            wire: Vec::new(),
            loss_per_mille,
        }
    }

    fn live(&mut self) {
        for step in 0..20_000 {
            if self.is_done() {
                return;
            }
            self.act();
            self.exchange();
            assert!(
                step < 19_999,
                "no end: host has {}, peer {}",
                self.world.host.stream.len(),
                self.peer.incoming.len()
            );
        }
    }

    fn is_done(&self) -> bool {
        let all = self.world.host.stream.len() == D::LIFE_BYTES && self.peer.incoming.len() == D::LIFE_BYTES;
        all && self.is_closed && self.peer.host_fin && self.peer.fin_acked
    }

    fn act(&mut self) {
        if self.tokens.is_none() {
            if self.rng.chance(0.5) {
                self.offload();
            }
            return;
        }
        if std::mem::take(&mut self.world.host.events)
            .iter()
            .any(|e| matches!(e, ConnectionEvent::Retrieve(_)))
        {
            return self.upload();
        }
        match self.rng.below(100) {
            0..=24 => self.send(),
            25..=44 => self.post(),
            45..=59 => self.give_back(),
            60..=69 => {
                let n = 1 + self.rng.below(3000) as u32;
                self.world.host.accept =
                    [Accept::All, Accept::Part(n), Accept::None][self.rng.below(3) as usize];
            }
            70..=84 => {
                let n = (self.rng.below(9000) as usize).min(D::LIFE_BYTES - self.peer.outgoing.len());
                let from = self.peer.outgoing.len();
                self.peer.outgoing.extend(stream(1, from, from + n));
                self.peer.fin_after_data = self.peer.outgoing.len() == D::LIFE_BYTES;
            }
            85..=89 => self.upload(),
            90 => self.lose(),
            _ => {}
        }
    }

    fn token(&self) -> chimney_abi::offload::Token {
        self.tokens.expect("the device has it").conn
    }

    fn send(&mut self) {
        let waiting = self.sends - self.world.host.sends.len();
        if self.sent == D::LIFE_BYTES && !self.is_closed {
            self.world.driver.disconnect(self.token(), Disconnect::Graceful).expect("accepted");
            self.is_closed = true;
        }
        if waiting >= MOST_REQUESTS || self.is_closed {
            return;
        }
        let most = if self.rng.chance(0.5) { 20_000 } else { 100 };
        let n = (self.rng.below(most) as usize).min(D::LIFE_BYTES - self.sent);
        self.world.send(self.token(), &stream(2, self.sent, self.sent + n));
        self.sent += n;
        self.sends += 1;
    }

    fn post(&mut self) {
        if self.receives - self.world.host.receives.len() < MOST_REQUESTS {
            let no_push = self.rng.chance(0.5);
            let len = self.rng.below(12_000) as u32;
            // Non-push posts wait to be full: not beyond the end of the stream.
            let left = D::LIFE_BYTES - self.world.host.stream.len();
            self.world.post(self.token(), len.min(left as u32), no_push);
            self.posted += len as usize;
            self.receives += 1;
        }
    }

    fn give_back(&mut self) {
        let n = std::mem::take(&mut self.world.host.unreturned);
        self.world.driver.receive_return(self.token(), n).expect("a live connection");
    }

    fn offload(&mut self) {
        let state = self.state.take().expect("the host has it");
        self.count(&state);
        self.moved.offloads += 1;
        let tokens = self.world.offload(state);
        self.tokens = Some(tokens);
        for frame in std::mem::take(&mut self.held) {
            let segment = self.world.segment(&frame);
            self.world.driver.forward(tokens.conn, &segment).expect("accepted");
            self.moved.forwards += 1;
        }
    }

    fn upload(&mut self) {
        let Some(tokens) = self.tokens.take() else { return };
        let state = self.world.upload(tokens);
        // What the host accepted in indications is its own now.
        self.world.host.unreturned = 0;
        self.moved.uploads += 1;
        self.take(state);
        self.world.assert_no_leaks(&config());
    }

    /// The device dies, at once or after some more writes; a new one comes.
    fn lose(&mut self) {
        if self.rng.chance(0.5) {
            self.world.device.borrow_mut().kill();
        } else {
            let writes = self.rng.below(200);
            self.world.device.borrow_mut().die_after_writes(writes);
        }
        for _ in 0..400 {
            self.exchange();
            if self.world.host.rebuilt.is_some() {
                break;
            }
        }
        if self.world.host.rebuilt.is_none() {
            self.world.device.borrow_mut().kill(); // the fuse was too long
            self.world.run_for(300_000);
        }
        let rebuilt = self.world.host.rebuilt.take().expect("the loss was noticed");
        assert_eq!(rebuilt.len(), 1);
        self.tokens = None;
        self.moved.losses += 1;
        assert_eq!(self.world.driver.stats().arena_used_bytes, 0);
        let now_us = self.world.now_us;
        let host = std::mem::take(&mut self.world.host);
        self.world.device.borrow().assert_clean();
        let guise = self.world.guise;
        self.world = new_world(self.is_late, &mut self.rng, now_us);
        self.world.guise = guise;
        self.world.host = host;
        self.world.host.unreturned = 0;
        self.take(rebuilt.into_iter().next().expect("one connection").state);
    }

    fn take(&mut self, state: TcpBlockState) {
        assert_eq!(
            (self.world.host.sends.len(), self.world.host.receives.len()),
            (self.sends, self.receives)
        );
        let good = |s: &(Status, u32)| {
            matches!(s.0, Status::Success | Status::UploadInProgress | Status::InvalidState)
        };
        assert!(self.world.host.sends.iter().chain(&self.world.host.receives).all(good));
        let end = HOST_ISS.wrapping_add(self.sent as u32);
        assert_eq!(state.record.snd_limit, end);
        self.count(&state);
        let done = TcpState::try_from(state.record.tcp_state).is_ok_and(|s| !s.may_offload());
        if done {
            // TIME_WAIT and CLOSED stay with the host: everything has arrived, the rest is its business.
            self.world.host.stream.extend(&state.buffered);
            self.peer.fin_acked = true;
        }
        self.state = Some(state);
    }

    fn count(&mut self, state: &TcpBlockState) {
        let r = &state.record;
        let unsent = r.snd_limit.wrapping_sub(r.snd_max) as i32;
        self.moved.unsent += usize::from(unsent > 0);
        self.moved.unacknowledged += usize::from(r.snd_max != r.snd_una);
        self.moved.undelivered += usize::from(!state.buffered.is_empty());
        self.moved.out_of_order += usize::from(!state.out_of_order.is_empty());
    }

    /// One round of frames over a wire that loses, delays and duplicates.
    fn exchange(&mut self) {
        self.world.settle();
        let down: Vec<_> = self.peer.poll(self.world.now_us).into_iter().map(|f| (true, f)).collect();
        let up: Vec<_> = self.world.sent_frames().into_iter().map(|f| (false, f)).collect();
        up.iter().for_each(|(_, frame)| self.peer.watch(frame));
        for (to_device, frame) in down.into_iter().chain(up) {
            if self.rng.below(1000) < self.loss_per_mille {
                continue;
            }
            let late = if self.rng.chance(0.05) { self.rng.below(3000) } else { 0 };
            let at = self.world.now_us + 200 + late;
            if self.rng.chance(0.01) {
                self.wire.push((at + 50, to_device, frame.clone()));
            }
            self.wire.push((at, to_device, frame));
        }
        self.wire.sort_by_key(|(at, ..)| *at);
        let next = self.wire.first().map_or(self.world.now_us + 5000, |(at, ..)| *at);
        self.world.now_us = next.clamp(self.world.now_us + 1, self.world.now_us + 5000);
        let due = self.wire.partition_point(|(at, ..)| *at <= self.world.now_us);
        for (_, to_device, frame) in self.wire.drain(..due).collect::<Vec<_>>() {
            if to_device {
                self.world.arrive(&frame);
                if self.is_late && self.rng.chance(0.5) {
                    // The device is ahead of the driver, and doorbells arrive between two frames.
                    self.world.run_device();
                    self.world.driver.bus().deliver();
                }
            } else {
                self.peer.receive(&frame);
            }
        }
        self.world.settle();
        let frames = std::mem::take(&mut self.world.host.frames);
        if self.tokens.is_none() && self.rng.chance(0.5) {
            self.held.extend(frames.into_iter().take(3));
        }
    }
}

fn new_world<D: TestDevice>(is_late: bool, rng: &mut Rng, now_us: u64) -> World<D> {
    let mut world = World::make_at(now_us);
    if is_late {
        world.driver.bus().set_late(Rng::new(rng.next_u64()));
    }
    world
}

fn run<D: TestDevice>(seed: u64) -> Moved {
    let mut life = Life::<D>::new(seed);
    println!("seed {seed}: {:?}", life.world.guise);
    life.live();
    assert!(life.world.host.stream == stream(1, 0, D::LIFE_BYTES), "seed {seed}: the host's stream differs");
    assert!(life.peer.incoming == stream(2, 0, D::LIFE_BYTES), "seed {seed}: the peer's stream differs");
    assert_eq!(life.peer.resets, 0, "seed {seed}");
    life.upload();
    life.world.device.borrow().assert_clean();
    life.moved
}

/// Verifies.
fn streams_survive_hand_overs_loss_and_dying_devices<D: TestDevice>() {
    let seeds: Vec<u64> = match std::env::var("CHIMNEY_SEED") {
        Ok(seed) => vec![seed.parse().expect("CHIMNEY_SEED is a number")],
        Err(_) => (0..short_or_long(D::LIVES)).chain(FAILED_ONCE).collect(),
    };
    let single = seeds.len() == 1;
    let mut all = Moved::default();
    for seed in seeds {
        let m = run::<D>(seed);
        all.offloads += m.offloads;
        all.uploads += m.uploads;
        all.losses += m.losses;
        all.forwards += m.forwards;
        all.unacknowledged += m.unacknowledged;
        all.unsent += m.unsent;
        all.undelivered += m.undelivered;
        all.out_of_order += m.out_of_order;
    }
    println!("{all:?}");
    let kinds = [all.losses, all.forwards, all.unacknowledged, all.unsent, all.undelivered, all.out_of_order];
    assert!(single || kinds.iter().all(|n| *n > 0), "every kind of data moved: {all:?}");
}

on_both_devices! {
    streams_survive_hand_overs_loss_and_dying_devices,
}
