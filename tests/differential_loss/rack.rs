//! The send log, and how long a probe waits.

use super::{b, n, pause_us, steps, t};
use chimney_abi::SeqNum;
use chimney_hdl::tcp::loss::{rack as k, tlp as kt};
use chimney_hdl_kernel::diff::Rnd;
use chimney_host_stack_core::rack::Rack;
use chimney_host_stack_core::tlp::{pto_us, PtoInput};

/// Both states, and the connection around them.
struct Pair {
    core: Rack,
    log: k::SendLog,
    una: SeqNum,
    max: SeqNum,
    now_us: u32,
    srtt_us: u32,
}

impl Pair {
    fn new(r: &mut Rnd) -> Pair {
        let max = SeqNum([r.next_u64() as u32, u32::MAX - r.below(200_000) as u32][r.below(2) as usize]);
        let now_us = r.next_u64() as u32;
        Pair { core: Rack::new(max), log: k::new_log(b(max.get())), una: max, max, now_us, srtt_us: 0 }
    }

    fn send(&mut self, r: &mut Rnd) {
        self.max += 1 + r.below(9000) as u32;
        let spacing = Rack::spacing_us(self.srtt_us);
        assert_eq!(n(k::spacing(k::limit(b(self.srtt_us)))), spacing);
        self.core.log.on_send(self.max, self.now_us, spacing);
        self.log = k::on_send(self.log, b(self.max.get()), t(self.now_us), b(spacing));
    }

    fn deliver(&mut self, r: &mut Rnd) {
        self.una += r.below(u64::from(self.max - self.una) + 1) as u32;
        self.core.log.advance(self.una);
        self.log = k::advance(self.log, b(self.una.get()));
    }

    fn other(&mut self, r: &mut Rnd) {
        if r.chance(1, 2) {
            self.core.log.split();
            self.log.is_split = true;
        } else {
            self.srtt_us = [0, r.below(400_000) as u32, r.next_u64() as u32][r.below(3) as usize];
        }
    }

    fn compare(&self) {
        let (c, log) = (&self.core, &self.log);
        let bursts = [log.b0, log.b1, log.b2, log.b3];
        let newest_first = bursts[..log.len.index()].iter().map(|x| (n(x.end), n(x.start_us)));
        let got: Vec<_> = newest_first.rev().collect();
        let want: Vec<_> = c.log.bursts().iter().map(|x| (x.end.get(), x.start_us)).collect();
        assert_eq!((got, n(log.floor), log.is_split), (want, c.log.floor.get(), c.log.is_split));
    }
}

/// RFC 8985 6.
#[test]
fn the_send_log_agrees_over_every_pause_and_wrap() {
    let mut pair = None;
    steps("loss_log", |r| {
        if pair.is_none() || r.chance(1, 400) {
            pair = Some(Pair::new(r));
        }
        let p = pair.as_mut().expect("made above");
        if r.chance(1, 2) {
            p.now_us = p.now_us.wrapping_add(pause_us(r));
        }
        match r.below(8) {
            0..=2 if p.max - p.una < 1 << 28 => p.send(r),
            3 | 4 => p.deliver(r),
            5 | 6 => p.other(r),
            _ => {}
        }
        p.compare();
    });
}

#[test]
fn the_longest_round_trip_and_an_acknowledgment_delay_do_not_wrap() {
    let input = PtoInput { srtt_us: u32::MAX - 98_583, flight: 1000, smss: 1000, rto_us: 6595 };
    assert_eq!(n(kt::limited(kt::wait(b(input.srtt_us), true), b(input.rto_us))), pto_us(&input));
}

/// RFC 8985 7.2.
#[test]
fn probes_wait_alike() {
    steps("loss_tlp", |r| {
        let size = |r: &mut Rnd| [r.below(20_000) as u32, r.next_u64() as u32][r.below(2) as usize];
        let input = PtoInput { srtt_us: size(r).max(1), flight: size(r), smss: size(r), rto_us: size(r) };
        let wait = kt::wait(b(input.srtt_us), input.flight <= input.smss);
        assert_eq!(n(kt::limited(wait, b(input.rto_us))), pto_us(&input), "{input:?}");
    });
}
