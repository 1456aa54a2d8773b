//! The TCP rules of the RTL against those of the same name in `host-stack/core`, value by value.
//!
//! The kernels run natively here; that their Verilog means the same is shown in `hdl/tests`.

use chimney_abi::desc::{aligned_edge, EDGE_SLACK};
use chimney_abi::state::ECN_REDUCED;
use chimney_abi::SeqNum;
use chimney_hdl::prelude::Bits;
use chimney_hdl::tcp::{acceptable as ra, ack as rk, cwnd as rc, ranges as rr, rtt as rt, window as rw};
use chimney_hdl_kernel::diff::{long, Rnd};
use chimney_host_stack_core as core;
use core::acceptable::Disposition;
use core::ack::{AckClass, SendVars};
use core::cwnd::Cwnd;
use core::ecn::Ecn;
use core::ranges::{RangeList, SeqRange};
use core::recovery::{Phase, Recovery};
use core::rtt::{RtoBounds, Rtt};
use core::segment::{Flags, Segment};
use core::transmit::SendInput;

fn b(v: u32) -> Bits<32> {
    u64::from(v).into()
}

fn n<const N: usize>(x: Bits<N>) -> u32 {
    (0..N).fold(0, |v, i| v | u32::from(x.get_bit(i)) << i)
}

fn cases(name: &str, mut f: impl FnMut(&mut Rnd)) {
    let mut r = Rnd::new(Rnd::seed_for(name));
    (0..if long() { 200_000 } else { 20_000 }).for_each(|_| f(&mut r));
}

/// A number near `base`: within reach, at its edges, or anywhere.
fn near(r: &mut Rnd, base: u32, reach: u64) -> u32 {
    match r.below(8) {
        0 => base,
        1 => base.wrapping_add(1),
        2 => base.wrapping_sub(1),
        3 => r.next_u64() as u32,
        _ => base.wrapping_add(r.below(2 * reach) as u32).wrapping_sub(reach as u32),
    }
}

fn segment(r: &mut Rnd, nxt: u32) -> Segment {
    let flags = [0, 0, 0, 0x01, 0x02, 0x04, 0x08][r.below(7) as usize];
    Segment {
        seq: SeqNum(near(r, nxt, 4000)),
        ack: SeqNum(r.next_u64() as u32),
        wnd: r.below(70_000) as u32,
        flags: Flags(flags | 0x10),
        data_len: r.below(3000) as u32 * r.below(2) as u32,
    }
}

/// Verifies
#[test]
fn segments_are_accepted_and_trimmed_alike() {
    cases("acceptable", |r| {
        let nxt = r.next_u64() as u32;
        let seg = segment(r, nxt);
        let wnd = r.below(4000) as u32 * r.below(2) as u32;
        let (rst, syn) = (seg.flags.has(Flags::RST), seg.flags.has(Flags::SYN));
        let got = ra::check(b(seg.seq.get()), b(seg.len()), rst, syn, b(nxt), b(wnd));
        let want = match core::acceptable::check(&seg, SeqNum(nxt), wnd) {
            Disposition::Accept => ra::Disposition::Accept,
            Disposition::DropSilently => ra::Disposition::DropSilently,
            Disposition::DropAndAck => ra::Disposition::DropAndAck,
            Disposition::ChallengeAck => ra::Disposition::ChallengeAck,
            Disposition::Reset => ra::Disposition::Reset,
            Disposition::SynAtRcvNxt => ra::Disposition::SynAtRcvNxt,
        };
        assert_eq!(got, want, "{seg:?} {nxt} {wnd}");
        let fin = seg.flags.has(Flags::FIN);
        let t = ra::trim(b(seg.seq.get()), b(seg.data_len), fin, b(nxt), b(nxt.wrapping_add(wnd)));
        let u = core::acceptable::trim(&seg, SeqNum(nxt), wnd);
        let got = (n(t.seq), n(t.skip), n(t.end).wrapping_sub(n(t.seq)), t.fin, t.cut);
        assert_eq!(got, (u.seq.get(), u.skip, u.keep, u.fin, u.cut), "{seg:?} {nxt} {wnd}");
    });
}

fn send_vars(r: &mut Rnd) -> (SendVars, rk::SendVars) {
    let una = r.next_u64() as u32;
    let nxt = una.wrapping_add(r.below(5000) as u32 * r.below(2) as u32);
    let max = nxt.wrapping_add(r.below(5000) as u32 * r.below(2) as u32);
    let v = SendVars {
        snd_una: SeqNum(una),
        snd_nxt: SeqNum(nxt),
        snd_max: SeqNum(max),
        snd_wnd: r.below(9000) as u32,
        max_snd_wnd: r.below(9000) as u32,
        snd_wl1: SeqNum(r.next_u64() as u32),
        snd_wl2: SeqNum(near(r, una, 100)),
    };
    (v, ours(&v))
}

fn ours(v: &SendVars) -> rk::SendVars {
    rk::SendVars {
        una: b(v.snd_una.get()),
        max: b(v.snd_max.get()),
        wnd: b(v.snd_wnd),
        max_wnd: b(v.max_snd_wnd),
        wl1: b(v.snd_wl1.get()),
        wl2: b(v.snd_wl2.get()),
    }
}

#[test]
fn acknowledgments_mean_the_same() {
    cases("ack", |r| {
        let (mut v, k) = send_vars(r);
        let mut seg = segment(r, v.snd_wl1.get());
        seg.ack = SeqNum(near(r, v.snd_una.get(), 6000));
        if r.chance(1, 3) {
            seg.wnd = v.snd_wnd;
        }
        let class = core::ack::classify(&v, seg.ack);
        let want = match class {
            AckClass::New(_) => rk::AckClass::New,
            AckClass::Current => rk::AckClass::Current,
            AckClass::Old => rk::AckClass::Old,
            AckClass::TooOld => rk::AckClass::TooOld,
            AckClass::Unsent => rk::AckClass::Unsent,
        };
        let (seq, ack, wnd) = (b(seg.seq.get()), b(seg.ack.get()), b(seg.wnd));
        assert_eq!(rk::classify(k, ack), want, "{v:?} {seg:?}");
        assert_eq!(rk::is_duplicate(k, b(seg.len()), ack, wnd), core::ack::is_duplicate(&v, &seg));
        let shift = r.below(15) as u8;
        assert_eq!(n(rk::bare_seq(k, u64::from(shift).into())), v.bare_seq(shift).get(), "{v:?} {shift}");
        core::ack::update_window(&mut v, &seg);
        assert_eq!(rk::update_window(k, seq, ack, wnd), ours(&v));
        if let AckClass::New(_) = class {
            let k = ours(&v);
            core::ack::advance(&mut v, seg.ack);
            assert_eq!(rk::advance(k, ack), ours(&v));
        }
    });
}

#[test]
fn round_trips_are_estimated_alike() {
    let bounds = RtoBounds::default();
    let (min, max) = (bounds.min_us, bounds.max_us);
    let mut v = Rtt::default();
    cases("rtt", |r| {
        if r.chance(1, 50) {
            v = Rtt::default();
        }
        let k = rt::Rtt { srtt_x8: b(v.srtt_x8), rttvar_x4: b(v.rttvar_x4) };
        assert_eq!(n(rt::rto_us(k, b(min), b(max))), v.rto_us(&bounds));
        let us = r.next_u64() as u32 >> r.below(32);
        v.sample(us);
        let k = rt::sample(k, b(us));
        assert_eq!((n(k.srtt_x8), n(k.rttvar_x4)), (v.srtt_x8, v.rttvar_x4), "{us}");
        let (rto, count) = (r.below(61_000_000) as u32, r.below(256));
        let want = core::rtt::backed_off(rto, count as u8, &bounds);
        let waited = rt::backed_off(b(rto), count.into(), b(max));
        assert_eq!(n(waited), want);
        if count < 255 {
            let more = core::rtt::backed_off(rto, count as u8 + 1, &bounds);
            assert_eq!(n(rt::backed_off_more(waited, count.into(), b(max))), more);
        }
    });
}

/// What a calm connection grows by, and when a mark counts; what a loss or a mark does is the unit's (`loss_unit`).
///
/// Verifies: R-245
#[test]
fn windows_grow_and_marks_count_alike() {
    cases("window", |r| {
        let (v, _) = send_vars(r);
        let mut cw = Cwnd {
            cwnd: 1 + r.below(60_000) as u32,
            ssthresh: r.below(60_000) as u32,
            acked_sum: r.below(60_000) as u32,
        };
        let ours =
            |cw: &Cwnd| rc::Cwnd { cwnd: b(cw.cwnd), ssthresh: b(cw.ssthresh), acked_sum: b(cw.acked_sum) };
        let (smss, acked) = (100 + r.below(1400) as u32, 1 + r.below(5000) as u32);
        let flight = v.flight_size() + acked;
        let got = rc::grow(ours(&cw), b(acked), b(flight), b(smss));
        cw.grow(acked, flight, smss, 2);
        assert_eq!(got, ours(&cw), "{acked} of {flight}");

        let recover = SeqNum(near(r, v.snd_una.get(), 6000));
        let mut rec = Recovery { phase: Phase::Open, recover, dup_acks: 0 };
        let mut ecn = Ecn::load(true, if r.chance(1, 2) { ECN_REDUCED } else { 0 }, v.snd_una, &mut rec);
        let (bits, recover) = ecn.store(&rec, v.snd_una);
        let k = rc::Recovery {
            recover: b(recover.get()),
            reduced: bits & ECN_REDUCED != 0,
            ..rc::Recovery::default()
        };
        let una = b(v.snd_una.get());
        let mut echoed = ecn;
        assert_eq!(!rc::is_held(k, una), echoed.on_ack(Flags::ECE, v.snd_una, v.snd_max));
        ecn.advance(v.snd_una);
        assert_eq!(rc::is_held(k, una), ecn.store(&rec, v.snd_una).0 & ECN_REDUCED != 0);
    });
}

fn list(l: &RangeList, recent: u32) -> rr::Ranges {
    let at = |i: usize| {
        l.as_slice().get(i).map_or(rr::SeqRange::default(), |x| rr::SeqRange {
            start: rr::near(b(x.start.get())),
            end: rr::near(b(x.end.get())),
        })
    };
    rr::Ranges { r0: at(0), r1: at(1), r2: at(2), r3: at(3), recent: u64::from(recent).into() }
}

/// Verifies: R-246
#[test]
fn ranges_merge_alike() {
    let mut l = RangeList::new();
    let mut k = rr::Ranges::default();
    let mut base = 0xffff_0000u32;
    cases("ranges", |r| {
        if let Some(first) = l.as_slice().first().copied().filter(|_| r.chance(1, 6)) {
            base = first.end.get();
            l.remove_before(first.end);
            k = rr::remove_first(k);
            assert_eq!(rr::Ranges { recent: 0u64.into(), ..k }, list(&l, 0));
            return;
        }
        let x = SeqRange::new(SeqNum(base.wrapping_add(r.below(20_000) as u32)), r.below(1500) as u32);
        let y = rr::SeqRange { start: rr::near(b(x.start.get())), end: rr::near(b(x.end.get())) };
        assert_eq!(!x.is_empty() && rr::covers(k, y), l.covers(&x) && !x.is_empty(), "{x:?}");
        let full = !x.is_empty() && rr::is_full_for(k, y);
        assert_eq!(l.insert(x).is_err(), full);
        if full {
            return;
        }
        k = rr::insert(k, y);
        assert_eq!(rr::Ranges { recent: 0u64.into(), ..k }, list(&l, 0), "{x:?}");
        if x.is_empty() {
            return;
        }
        let newest = l.recent_first().next().expect("one was put in");
        for any in [false, true] {
            let again = rr::Again { any, start: b(x.start.get()), end: b(x.end.get()) };
            let s = rr::sack_blocks(k, b(base), 4u64.into(), again);
            let block = |i: usize| {
                (n(s.blocks.get_bits::<32>(64 * i)) as u32, n(s.blocks.get_bits::<32>(64 * i + 32)) as u32)
            };
            let of = |x: &SeqRange| (x.start.get(), x.end.get());
            if any {
                assert_eq!(block(0), of(&x), "RFC 2883 4");
            }
            assert_eq!(block(any.into()), of(&newest), "RFC 2018 4");
            let mut told: Vec<_> = (any.into()..n(s.count) as usize).map(block).collect();
            told.sort_by_key(|x| x.0.wrapping_sub(base));
            let all: Vec<_> = l.as_slice().iter().map(of).collect();
            assert_eq!(n(s.count) as usize, (all.len() + usize::from(any)).min(4));
            assert!(told.iter().all(|x| all.contains(x)), "{told:x?} of {all:x?}");
            assert!(any || told == all);
        }
    });
}

/// Verifies
#[test]
fn sending_and_advertising_are_decided_alike() {
    cases("transmit", |r| {
        let i = SendInput {
            unsent: r.below(4000) as u32 * r.below(2) as u32,
            usable: r.below(4000) as u32 * r.below(2) as u32,
            smss: 1 + r.below(1460) as u32,
            max_snd_wnd: r.below(5000) as u32,
            is_idle: r.chance(1, 2),
            is_nagle: r.chance(1, 2),
        };
        let k = rw::SendInput {
            unsent: b(i.unsent),
            usable: b(i.usable),
            smss: b(i.smss),
            max_snd_wnd: b(i.max_snd_wnd),
            is_idle: i.is_idle,
            is_nagle: i.is_nagle,
        };
        assert_eq!(n(rw::segment_len(k)), core::transmit::segment_len(&i).unwrap_or(0), "{i:?}");
        let nxt = r.next_u64() as u32;
        let edge = nxt.wrapping_add(r.below(60_000) as u32 * r.below(2) as u32);
        let new = edge.wrapping_add(r.below(6000) as u32 * r.below(2) as u32);
        let (cap, mss) = (r.below(60_000) as u32, 1 + r.below(1460) as u32);
        let got = rw::update_due(b(nxt), b(edge), b(new), b(cap), b(mss));
        assert_eq!(got, core::window::update_due(SeqNum(nxt), SeqNum(edge), SeqNum(new), cap, mss));
        let shift = r.below(15) as u8;
        let units = (edge.wrapping_sub(nxt) >> shift).min(0xffff);
        assert_eq!(n(rw::window_field(b(nxt), b(edge), u64::from(shift).into())), units, "rounded down");
    });
}

/// Verifies: R-063, law L3
#[test]
fn aligned_edges_are_the_same_and_the_peer_never_sees_one_move_left() {
    cases("aligned edge", |r| {
        let shift = r.below(15) as u8;
        let mut nxt = SeqNum(r.next_u64() as u32);
        let mut limit = nxt + r.below(60_000) as u32;
        let mut right = aligned_edge(nxt, limit, limit, shift);
        let told = |nxt: SeqNum, right: SeqNum| {
            let field = n(rw::window_field(b(nxt.0), b(right.0), u64::from(shift).into()));
            nxt + (field << shift)
        };
        let mut before = right;
        for _ in 0..8 {
            nxt += r.below(u64::from((right - nxt) / 2 + 1)) as u32;
            limit = limit.later(nxt + r.below(90_000).min(60_000) as u32);
            let wanted = right.later(limit);
            right = aligned_edge(nxt, wanted, limit, shift);
            let rtl = n(rw::aligned_edge(b(nxt.0), b(wanted.0), b(limit.0), u64::from(shift).into()));
            assert_eq!(rtl, right.0, "nxt {nxt:?}, wanted {wanted:?}, limit {limit:?}, shift {shift}");
            assert!(right.at_or_after(wanted) && right - wanted < 1 << shift && right.at_or_after(before));
            assert!(right == limit || right.at_or_before(limit + EDGE_SLACK));
            if shift <= 9 {
                // Eight steps of less than a unit each: the slack is not used up.
                assert_eq!(told(nxt, right), right, "the field says it exactly");
            }
            before = right;
        }
    });
}
