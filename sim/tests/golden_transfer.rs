//! Two golden devices against each other over a link that loses, reorders and duplicates, in any framing and
//! family, with hand-overs at random moments on both sides. Both streams arrive whole, nothing is reset, no DMA leaves what was mapped.

mod golden_rig;

use chimney_abi::desc::SHADOW_ABORTED;
use chimney_abi::regs;
use chimney_sim::device::Device;
use chimney_sim::net::guise::Guise;
use chimney_sim::rng::{test_seed, Rng};
use golden_rig::end::End;

/// What the link does, each in 256.
#[derive(Clone, Copy, Debug)]
struct Weather {
    lost: u8,
    swapped: u8,
    doubled: u8,
    /// Hand-over of one side per round.
    handed_over: u8,
}

struct World {
    ends: [End; 2],
    /// Frames on the way to each end.
    wires: [Vec<Vec<u8>>; 2],
    rng: Rng,
    weather: Weather,
}

impl World {
    fn new(seed: u64, weather: Weather, lengths: [u32; 2]) -> World {
        let mut rng = Rng::new(seed);
        let options = rng.chance(0.5);
        let guise = Guise::random(&mut rng);
        let [a, b] = lengths;
        World {
            ends: [End::new(false, a, b, options, guise), End::new(true, b, a, options, guise)],
            wires: [Vec::new(), Vec::new()],
            rng,
            weather,
        }
    }

    /// Moves what the devices sent onto the wires.
    fn take_frames(&mut self) {
        for from in 0..2 {
            while let Some(frame) = self.ends[from].rig.nic.pop_tx_frame() {
                let wire = &mut self.wires[1 - from];
                if self.rng.one_in_256(self.weather.lost) {
                    continue;
                }
                if self.rng.one_in_256(self.weather.doubled) {
                    wire.push(frame.clone());
                }
                wire.push(frame);
                if self.rng.one_in_256(self.weather.swapped) {
                    let (at, last) = (self.rng.below(wire.len() as u64) as usize, wire.len() - 1);
                    wire.swap(at, last);
                }
            }
        }
    }

    /// One step of time; false when both ends are done.
    fn round(&mut self) -> bool {
        for at in 0..2 {
            let count = self.rng.below(1 + self.wires[at].len() as u64) as usize;
            let arrived: Vec<Vec<u8>> = self.wires[at].drain(..count).collect();
            let hand_over = self.rng.one_in_256(self.weather.handed_over) && self.ends[at].generation < 250;
            let end = &mut self.ends[at];
            if hand_over {
                let split = self.rng.below(1 + count.min(20) as u64) as usize;
                let early = arrived.len() - split;
                arrived[..early].iter().for_each(|f| end.rig.nic.rx_frame(f, false));
                end.rig.settle();
                end.hand_over(&arrived[early..]);
            } else {
                arrived.iter().for_each(|f| end.rig.nic.rx_frame(f, false));
            }
            end.rig.run_for(200 + self.rng.below(1000));
            end.work(&mut self.rng);
        }
        self.take_frames();
        !self.ends.iter().all(End::is_done)
    }

    fn run(&mut self) {
        for _ in 0..400_000 {
            if !self.round() {
                return;
            }
        }
        for end in &mut self.ends {
            println!("read {} of {}: {:?}", end.read, end.in_len, end.rig.shadow(0));
        }
        panic!("no end in sight");
    }
}

fn long() -> bool {
    std::env::var_os("CHIMNEY_LONG").is_some()
}

fn check(weather: Weather, seeds: u64) -> ([u32; 3], u32) {
    let first = test_seed(11);
    let (mut moved, mut handovers) = ([0; 3], 0);
    for seed in first..first + seeds {
        println!("seed {seed} {weather:?}");
        let mut world = World::new(seed, weather, [200_000, 150_000]);
        world.run();
        for end in &mut world.ends {
            assert_eq!(end.rig.shadow(0).flags & SHADOW_ABORTED, 0);
            assert_eq!(end.rig.mem.violations().0, 0);
            assert_eq!(end.rig.count(&regs::CNT_BAD_REQUEST), 0);
            moved = std::array::from_fn(|i| moved[i].max(end.moved[i]));
            handovers += end.handovers;
        }
    }
    (moved, handovers)
}

#[test]
fn a_clean_link_needs_no_retransmission() {
    let calm = Weather { lost: 0, swapped: 0, doubled: 0, handed_over: 0 };
    let mut world = World::new(test_seed(5), calm, [500_000, 500_000]);
    world.run();
    for end in &world.ends {
        assert_eq!(end.rig.count(&regs::CNT_RETRANSMITS), 0);
        assert_eq!(end.rig.count(&regs::CNT_UNACCEPTABLE), 0);
    }
}

/// Verifies
#[test]
fn both_streams_arrive_whole_over_a_bad_link() {
    check(Weather { lost: 5, swapped: 20, doubled: 5, handed_over: 0 }, if long() { 200 } else { 20 });
}

/// Verifies
#[test]
fn streams_survive_hand_overs_in_mid_transfer_on_both_sides() {
    let weather = Weather { lost: 4, swapped: 10, doubled: 2, handed_over: 6 };
    let (moved, handovers) = check(weather, if long() { 200 } else { 20 });
    assert!(handovers > 100, "{handovers}");
    assert!(moved.iter().all(|bytes| *bytes > 0), "unacknowledged, unsent, out of order: {moved:?}");
}
