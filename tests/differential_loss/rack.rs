//! RACK and the probe.

use super::{b, n, pause_us, steps, t};
use chimney_abi::SeqNum;
use chimney_hdl::tcp::loss::{rack as k, tlp as kt};
use chimney_hdl_kernel::diff::Rnd;
use chimney_host_stack_core::rack::{Rack, ReoInput, TIME_MASK};
use chimney_host_stack_core::tlp::{pto_us, PtoInput, Tlp, TlpAck};

/// Both states, and the connection around them.
struct Pair {
    core: Rack,
    hw: k::Rack,
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
        Pair {
            core: Rack::new(max),
            hw: k::Rack::default(),
            log: k::new_log(b(max.get())),
            una: max,
            max,
            now_us,
            srtt_us: 0,
        }
    }

    fn send(&mut self, r: &mut Rnd) {
        self.max += 1 + r.below(9000) as u32;
        let spacing = Rack::spacing_us(self.srtt_us);
        assert_eq!(n(k::spacing(k::limit(b(self.srtt_us)))), spacing);
        self.core.log.on_send(self.max, self.now_us, spacing);
        self.log = k::on_send(self.log, b(self.max.get()), t(self.now_us), b(spacing));
    }

    fn deliver(&mut self, r: &mut Rnd) {
        let now = self.now_us;
        if r.chance(1, 2) {
            let rtt_us = [0, 1, r.below(100_000) as u32, r.next_u64() as u32][r.below(4) as usize];
            self.core.on_rtt(rtt_us, now);
            self.hw = k::on_rtt(self.hw, k::limit(b(rtt_us)), now >> 24 & 1 == 1);
        }
        let (sent_us, is_resent) = (now.wrapping_sub(pause_us(r)), r.chance(1, 2));
        self.core.on_delivered(sent_us, is_resent, now);
        self.hw = k::on_delivered(self.hw, t(sent_us), is_resent, k::min_rtt(self.hw), t(now));
        if r.chance(1, 2) {
            self.una += r.below(u64::from(self.max - self.una) + 1) as u32;
            self.core.log.advance(self.una);
            self.log = k::advance(self.log, b(self.una.get()));
        }
    }

    fn other(&mut self, r: &mut Rnd) {
        match r.below(5) {
            0 => {
                self.core.on_dsack(self.una, self.max);
                self.hw = k::on_dsack(self.hw, b(self.una.get()), b(self.max.get()));
            }
            1 => {
                self.core.on_recovered();
                self.hw = k::on_recovered(self.hw);
            }
            2 => {
                self.core.log.split();
                self.log.is_split = true;
            }
            3 => {
                self.core.is_reordering_seen = r.chance(1, 2);
                self.hw.is_reordering_seen = self.core.is_reordering_seen;
            }
            _ => self.srtt_us = [0, r.below(400_000) as u32, r.next_u64() as u32][r.below(3) as usize],
        }
    }

    fn compare(&self) {
        let (c, h, log) = (&self.core, &self.hw, &self.log);
        let bursts = [log.b0, log.b1, log.b2, log.b3];
        let newest_first = bursts[..log.len.index()].iter().map(|x| (n(x.end), n(x.start_us)));
        let got: Vec<_> = newest_first.rev().collect();
        let want: Vec<_> = c.log.bursts().iter().map(|x| (x.end.get(), x.start_us)).collect();
        assert_eq!((got, n(log.floor), log.is_split), (want, c.log.floor.get(), c.log.is_split));
        let got = (n(h.xmit_us), n(h.rtt_us), [n(h.min_us), n(h.old_min_us)], h.is_odd, h.is_reordering_seen);
        let want = (c.xmit_us, c.rtt_us, c.min_rtts_us, c.is_odd_window, c.is_reordering_seen);
        assert_eq!(got, want);
        let got = (n(h.extra), n(h.persist), h.has_round.then_some(n(h.round)));
        assert_eq!(got, (c.extra_mult.into(), c.persist.into(), c.dsack_round.map(SeqNum::get)));
        assert_eq!(n(k::min_rtt(*h)), c.min_rtt_us());
    }

    /// The reordering window; then verdicts on a hole that was sent once, and on one that was sent again.
    fn verdicts(&self, r: &mut Rnd) {
        let input =
            ReoInput { is_recovering: r.chance(1, 4), has_dup_thresh: r.chance(1, 4), srtt_us: self.srtt_us };
        let reo_wnd_us = self.core.reo_wnd_us(&input);
        let srtt = k::known(k::limit(b(self.srtt_us)), k::first_rtt());
        let base = k::reo_base(k::known(k::min_rtt(self.hw), srtt), self.hw.extra);
        let urgent = input.is_recovering || input.has_dup_thresh;
        assert_eq!(n(k::reo_wnd(base, srtt, self.hw.is_reordering_seen, urgent)), reo_wnd_us);
        let patience = b(self.core.rtt_us + reo_wnd_us);
        let now = t(self.now_us);

        let flight = u64::from(self.max - self.una);
        let end = [self.una + r.below(flight + 2) as u32, SeqNum(r.next_u64() as u32)][r.below(2) as usize];
        let found = k::find(self.log, b(end.get()));
        let early = (found.is_known && !found.is_below).then(|| n(found.start_us));
        assert_eq!(early, self.core.log.earliest(end));
        let spacing = Rack::spacing_us(self.srtt_us);
        let sent = k::latest(found, b(spacing), now);
        assert_eq!(found.is_known.then(|| n(sent)), self.core.log.latest(end, spacing));
        let v = k::judge(self.hw, sent, false, patience, reo_wnd_us != 0, now);
        let want = self.core.judge_first(end, reo_wnd_us, (self.srtt_us, self.now_us));
        assert_eq!(if v.is_lost { Ok(()) } else { Err(n(v.wait_us)) }, want);
        assert_eq!(v.waits, !v.is_lost);

        let sent_us = self.now_us.wrapping_sub(pause_us(r)) & TIME_MASK;
        let v = k::judge(self.hw, b(sent_us), true, patience, reo_wnd_us != 0, now);
        let got = if v.is_lost { Ok(()) } else { Err(v.waits.then(|| n(v.wait_us))) };
        assert_eq!(got, self.core.judge(sent_us, reo_wnd_us, self.now_us));
    }
}

/// RFC 8985 6.
#[test]
fn rack_agrees_over_every_pause_and_wrap() {
    let mut pair = None;
    steps("loss_rack", |r| {
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
        p.verdicts(r);
    });
}

#[test]
fn the_longest_round_trip_and_an_acknowledgment_delay_do_not_wrap() {
    let input = PtoInput { srtt_us: u32::MAX - 98_583, flight: 1000, smss: 1000, rto_us: 6595 };
    assert_eq!(n(kt::limited(kt::wait(b(input.srtt_us), true), b(input.rto_us))), pto_us(&input));
}

/// RFC 8985 7.2, 7.4.2.
#[test]
fn probes_are_judged_alike() {
    steps("loss_tlp", |r| {
        let end = r.next_u64() as u32;
        let near = |r: &mut Rnd| end.wrapping_add(r.below(5) as u32).wrapping_sub(2);
        let mut tlp = Tlp { is_outstanding: r.chance(3, 4), end: SeqNum(end), is_resent: r.chance(1, 2) };
        let hw = kt::Tlp { is_outstanding: tlp.is_outstanding, end: b(end), is_resent: tlp.is_resent };
        let ack = SeqNum([near(r), r.next_u64() as u32][r.below(2) as usize]);
        let (is_duplicate, is_dsack, has_sack) = (r.chance(1, 2), r.chance(1, 4), r.chance(1, 2));
        let s = kt::on_ack(hw, b(ack.get()), is_duplicate, is_dsack, has_sack);
        let repaired = tlp.on_ack(&TlpAck { ack, is_duplicate, is_dsack, has_sack });
        let got = (s.is_repaired, s.tlp.is_outstanding, n(s.tlp.end), s.tlp.is_resent);
        assert_eq!(got, (repaired, tlp.is_outstanding, tlp.end.get(), tlp.is_resent));

        let size = |r: &mut Rnd| [r.below(20_000) as u32, r.next_u64() as u32][r.below(2) as usize];
        let input = PtoInput { srtt_us: size(r).max(1), flight: size(r), smss: size(r), rto_us: size(r) };
        let wait = kt::wait(b(input.srtt_us), input.flight <= input.smss);
        assert_eq!(n(kt::limited(wait, b(input.rto_us))), pto_us(&input), "{input:?}");
    });
}
