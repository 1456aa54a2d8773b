//! The scoreboard.

use super::{b, n, pause_us, steps, t};
use chimney_abi::SeqNum;
use chimney_hdl::prelude::Bits;
use chimney_hdl::tcp::loss::{board as k, lanes as l};
use chimney_hdl::tcp::ranges::SeqRange as Block;
use chimney_hdl_kernel::diff::Rnd;
use chimney_host_stack_core::ack::SendVars;
use chimney_host_stack_core::scoreboard::{is_dsack, Delivery, Scoreboard, SeqRange};

/// Both boards, and the connection around them.
struct Pair {
    core: Scoreboard,
    hw: k::Board,
    snd: SendVars,
    now_us: u32,
    /// What happened: full boards, merged, forgotten, reneged, resent and delivered, reordered, DSACK.
    seen: [u32; 6],
}

fn block(r: SeqRange) -> Block {
    Block { start: b(r.start.get()), end: b(r.end.get()) }
}

impl Pair {
    fn new(r: &mut Rnd) -> Pair {
        // Often close to where 32 bits wrap.
        let una = SeqNum([r.next_u64() as u32, u32::MAX - r.below(200_000) as u32][r.below(2) as usize]);
        let snd = SendVars { snd_una: una, snd_nxt: una, snd_max: una, ..SendVars::default() };
        let now_us = r.next_u64() as u32;
        Pair { core: Scoreboard::new(una), hw: k::new(b(una.get())), snd, now_us, seen: [0; 6] }
    }

    /// A number that means something to the board, or a neighbour of it.
    fn point(&self, r: &mut Rnd) -> SeqNum {
        let ranges = self.core.ranges();
        let flight = u64::from(self.snd.flight_size());
        let base = match r.below(8) {
            0 => self.snd.snd_una,
            1 => self.snd.snd_max,
            2 | 3 if !ranges.is_empty() => ranges[r.below(ranges.len() as u64) as usize].start,
            4 if !ranges.is_empty() => ranges[r.below(ranges.len() as u64) as usize].end,
            _ => self.snd.snd_una + r.below(flight + 1) as u32,
        };
        match r.below(16) {
            0 => base + 1,
            1 => base - 1,
            2 => base + r.below(3000) as u32,
            3 => base - r.below(3000) as u32,
            _ => base,
        }
    }

    fn blocks(&self, r: &mut Rnd) -> Vec<SeqRange> {
        let count = r.below(5);
        let any = |r: &mut Rnd| match r.below(8) {
            0 => SeqRange { start: SeqNum(r.next_u64() as u32), end: SeqNum(r.next_u64() as u32) },
            1..=3 => SeqRange::new(self.point(r), r.below(3000) as u32),
            _ => SeqRange { start: self.point(r), end: self.point(r) },
        };
        (0..count).map(|_| any(r)).collect()
    }

    fn acknowledge(&mut self, r: &mut Rnd) {
        let blocks = self.blocks(r);
        let una_before = self.snd.snd_una;
        let ack = self.point(r);
        let is_new = ack.after(una_before) && ack.at_or_before(self.snd.snd_max);
        if r.chance(1, 2) && is_new {
            self.snd.snd_una = ack;
            self.snd.snd_nxt = self.snd.snd_nxt.later(ack);
        }
        let full = self.core.ranges().len() == 4;
        let want = self.core.on_ack(una_before, &self.snd, &blocks);
        let got = self.delivered(una_before, &blocks);
        assert_eq!(got, (Delivery { resent: None, ..want }, want.resent.map(|x| x.sent_us)), "{blocks:?}");
        self.seen[0] += u32::from(full && want.is_new_sack);
        self.seen[1] += u32::from(want.is_dsack);
        self.seen[2] += u32::from(want.is_reordered);
        self.seen[3] += u32::from(want.resent.is_some());
        self.seen[4] += u32::from(want.first_sent_end.is_some());
    }

    /// What the hardware makes of it: the delivery, and the time of the retransmission in it.
    fn delivered(&mut self, una_before: SeqNum, blocks: &[SeqRange]) -> (Delivery, Option<u32>) {
        let (una, max) = (b(self.snd.snd_una.get()), b(self.snd.snd_max.get()));
        let old = self.hw;
        while l::is_gone(self.hw, una) {
            self.step(l::gone(), self.hw.len - 1);
        }
        self.step(l::raised(self.hw, una), self.hw.len);
        self.hw.tail = k::risen(self.hw.tail, una);
        let kept = sacked(&self.hw);
        for range in blocks.iter().map(|r| block(*r)) {
            if k::is_sane(range, una, b(self.snd.flight_size())) {
                self.insert(range);
            }
        }
        let after = self.core_highest();
        let mut all = k::News::default();
        for i in 0..=old.len.to_u64() {
            let hole = k::hole(old, i.into(), b(una_before.get()), max);
            all = k::gather(all, k::judge_old(k::meet(hole, b(after.get())), self.hw, una));
        }
        let none = SeqRange::default();
        let [first, second] = [0, 1].map(|i| block(*blocks.get(i).unwrap_or(&none)));
        let has = k::is_dsack(first, second, (blocks.len() as u64).into(), una);
        assert_eq!(has, is_dsack(blocks, self.snd.snd_una));
        let moved = self.snd.snd_una - una_before;
        let delivery = Delivery {
            bytes: (moved + sacked(&self.hw)).saturating_sub(sacked(&old)),
            first_sent_end: all.is_first.then_some(after),
            resent: None,
            is_reordered: all.is_reordered,
            is_dsack: has,
            is_new_sack: sacked(&self.hw) > kept,
        };
        (delivery, all.is_resent.then_some(n(all.rxt_us)))
    }

    fn step(&mut self, s: l::LaneStep, len: Bits<3>) {
        self.hw = k::Board { len, ..l::step(self.hw, s) };
    }

    /// A block: two clocks, and one for each range that is merged.
    fn insert(&mut self, range: Block) {
        let p = l::place(self.hw, range);
        self.step(l::put(self.hw, p, range), l::len_put(self.hw, p));
        let mut left = l::left_to_merge(p);
        while left.any() {
            self.step(l::closed(left), self.hw.len - 1);
            left = l::less_one(left);
        }
    }

    fn core_highest(&self) -> SeqNum {
        let top = [self.hw.l0, self.hw.l0, self.hw.l1, self.hw.l2, self.hw.l3][self.hw.len.index()];
        match self.hw.len.index() {
            0 => self.snd.snd_una,
            _ => SeqNum(n(top.end)).later(self.snd.snd_una),
        }
    }

    fn resend(&mut self, r: &mut Rnd) {
        let smss = [1, 500, 1448, 9000][r.below(4) as usize];
        if let Some(part) = self.core.next_lost(&self.snd, smss) {
            self.core.on_resend(part, self.now_us);
            let (end, now) = (b(part.end.get()), t(self.now_us));
            let at = l::hole_of(self.hw, b(part.start.get()));
            self.step(l::resent(at, end, now), self.hw.len);
            if !at.any() {
                (self.hw.tail.rxt_end, self.hw.tail.rxt_us) = (end, now);
            }
        }
    }

    fn lose(&mut self, r: &mut Rnd) {
        let (una, max) = (b(self.snd.snd_una.get()), b(self.snd.snd_max.get()));
        match r.below(8) {
            0 => {
                self.core.mark_all_lost(&self.snd);
                self.step(l::all_lost(una), self.hw.len);
                (self.hw.tail.rxt_end, self.hw.tail.lost_to) = (una, max);
            }
            1 => {
                self.core.clear(self.snd.snd_una);
                self.hw = k::new(una);
                self.seen[5] += 1;
            }
            _ => {
                let mask = r.next_u64();
                self.core.holes_mut(&self.snd).enumerate().for_each(|(i, (_, hole))| {
                    hole.is_lost |= mask >> i & 1 == 1;
                });
                let lost = |l: k::Lane, i: usize| k::Lane { is_lost: l.is_lost || mask >> i & 1 == 1, ..l };
                let h = self.hw;
                let used = |i: u64| h.len.to_u64() > i;
                self.hw = k::Board {
                    l0: if used(0) { lost(h.l0, 0) } else { h.l0 },
                    l1: if used(1) { lost(h.l1, 1) } else { h.l1 },
                    l2: if used(2) { lost(h.l2, 2) } else { h.l2 },
                    l3: if used(3) { lost(h.l3, 3) } else { h.l3 },
                    ..h
                };
            }
        }
    }

    /// The states are the same, and so is what follows from them.
    fn compare(&self, smss: u32) {
        let h = &self.hw;
        let lanes = [h.l0, h.l1, h.l2, h.l3];
        let len = h.len.index();
        assert_eq!(len, self.core.ranges().len());
        let core_holes = self.core.holes();
        let mut hole_start = self.snd.snd_una;
        for (i, range) in self.core.ranges().iter().enumerate() {
            let (l, hole) = (lanes[i], core_holes[i]);
            // Below the hole it only says that nothing of that was sent again.
            let rxt_end = SeqNum(n(l.rxt_end)).later(hole_start);
            let got = (n(l.start), n(l.end), rxt_end, n(l.rxt_us), l.is_lost);
            let rxt_end = hole.rxt_end.later(hole_start);
            let want = (range.start.get(), range.end.get(), rxt_end, hole.rxt_us, hole.is_lost);
            assert_eq!(got, want, "lane {i}");
            hole_start = range.end;
        }
        let got = (n(h.tail.rxt_end), n(h.tail.rxt_us), n(h.tail.lost_to));
        let tail = core_holes[len];
        assert_eq!(got, (tail.rxt_end.get(), tail.rxt_us, self.core.lost_to().get()), "tail");
        let (pipe, next) = in_flight(h, &self.snd);
        let next = next.map(|part| SeqRange::new(part.start, part.len().min(smss)));
        assert_eq!((pipe, next), (self.core.pipe(&self.snd), self.core.next_lost(&self.snd, smss)));
    }
}

fn sacked(h: &k::Board) -> u32 {
    let lanes = [h.l0, h.l1, h.l2, h.l3];
    lanes[..h.len.index()].iter().map(|l| n(l.end - l.start)).sum()
}

/// Bytes in flight, and the first that are to be sent again: hole by hole, the tail in two clocks.
fn in_flight(h: &k::Board, snd: &SendVars) -> (u32, Option<SeqRange>) {
    let (una, max) = (b(snd.snd_una.get()), b(snd.snd_max.get()));
    let (mut pipe, mut next) = (0u32, None);
    let mut add = |p: k::Part, low: bool| {
        let bytes: Bits<32> = if low { p.at - p.lo } else { p.hi - p.at };
        pipe = pipe.wrapping_add(n(bytes));
        if low && p.is_open && next.is_none() {
            next = Some(SeqRange { start: SeqNum(n(p.at)), end: SeqNum(n(p.hi)) });
        }
    };
    for i in 0..h.len.to_u64() {
        add(k::resent_part(k::hole(*h, i.into(), una, max)), true);
    }
    let tail = k::hole(*h, h.len, una, max);
    let lost = k::clamp(h.tail.lost_to, tail.start, tail.end);
    add(lost, false);
    add(k::clamp(tail.rxt_end, tail.start, lost.at), true);
    (pipe, next)
}

/// RFC 2018, RFC 2883, RFC 6675: in every state that acknowledgments, timeouts and retransmissions lead to.
#[test]
fn scoreboards_agree_whatever_the_peer_reports() {
    let mut pair = None;
    let mut seen = [0; 6];
    steps("loss_board", |r| {
        if pair.is_none() || r.chance(1, 400) {
            if let Some(p) = pair.replace(Pair::new(r)) {
                (0..6).for_each(|i| seen[i] += p.seen[i]);
            }
        }
        let p = pair.as_mut().expect("made above");
        p.now_us = p.now_us.wrapping_add(pause_us(r));
        match r.below(16) {
            0..=3 if p.snd.flight_size() < 1 << 28 => {
                let most = [3000, 100_000, 1 << 24][r.below(3) as usize];
                p.snd.snd_max += r.below(most) as u32;
                p.snd.snd_nxt = p.snd.snd_max;
            }
            4..=6 => p.resend(r),
            7 => p.lose(r),
            _ => p.acknowledge(r),
        }
        p.compare(1 + r.below(9000) as u32);
    });
    assert!(seen.iter().all(|count| *count > 20), "something was not tried: {seen:?}");
}
