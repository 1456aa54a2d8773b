//! One direction of a wire that loses, delays, reorders, duplicates, damages and limits frames.
//!
//! Sans-IO and deterministic: the caller gives frames and the time, and takes out what has arrived by then. The fate
//! of frame `n` depends on the seed and on `n` alone, so a failing run is replayed by its [`Impairment`] text.
//!
//! ```text
//!   push(now, frame) -> mtu -> loss -> duplicate -> corrupt -> rate + limit -> delay/reorder -> pop(now)
//! ```

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use super::ecn;
use super::impairment::{Distribution, Impairment, Loss, DEFAULT_LIMIT};
use crate::rng::Rng;

/// Bytes of an Ethernet header without VLAN tag; `mtu` counts from behind it.
const ETHERNET_HEADER_BYTES: usize = chimney_abi::wire::ethernet::HEADER_LEN;
/// Preamble, frame check sequence and gap: what a frame occupies on the wire beyond its bytes.
const WIRE_OVERHEAD_BYTES: u64 = 24;
/// Log records kept; the oldest are forgotten.
const KEPT_RECORDS: usize = 65_536;

/// What became of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Delivered at this time.
    Delivered {
        /// Arrival.
        at_ns: u64,
        /// Bits were flipped.
        is_corrupt: bool,
        /// There is a second copy.
        is_duplicated: bool,
        /// It did not wait for its delay.
        is_reordered: bool,
    },
    /// Lost by the loss model.
    Lost,
    /// Longer than the MTU.
    TooLong,
    /// The queue in front of the rate limit was full.
    QueueFull,
}

/// One line of the frame log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameRecord {
    /// Frame number on this link, from 1.
    pub number: u64,
    /// When it was pushed.
    pub at_ns: u64,
    /// Its length.
    pub len_bytes: usize,
    /// What became of it.
    pub fate: Fate,
}

/// Counters of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LinkStats {
    /// Frames pushed.
    pub pushed: u64,
    /// Frames taken out, copies included.
    pub delivered: u64,
    /// Bytes taken out.
    pub delivered_bytes: u64,
    /// Lost by the loss model.
    pub lost: u64,
    /// Marked (ECN) instead.
    pub marked: u64,
    /// Dropped for their length.
    pub too_long: u64,
    /// Dropped by the full queue.
    pub queue_full: u64,
    /// Duplicated.
    pub duplicated: u64,
    /// Damaged.
    pub corrupted: u64,
    /// Sent ahead of delayed frames.
    pub reordered: u64,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Flying {
    at_ns: u64,
    sequence: u64,
    frame: Vec<u8>,
}

/// The streams of random numbers, one per kind of decision.
#[derive(Clone, Copy)]
enum Purpose {
    Loss = 1,
    Duplicate,
    Corrupt,
    Reorder,
    Delay,
}

/// One direction of a wire.
#[derive(Debug)]
pub struct Link {
    impairment: Impairment,
    stream: u64,
    flying: BinaryHeap<Reverse<Flying>>,
    /// When the frames waiting for the rate limit will have left.
    departures: VecDeque<u64>,
    sequence: u64,
    is_bad_state: bool,
    log: VecDeque<FrameRecord>,
    stats: LinkStats,
}

impl Link {
    /// A link; `stream` tells the two directions of one wire apart (same seed, other numbers).
    pub fn new(impairment: Impairment, stream: u64) -> Self {
        Self {
            impairment,
            stream,
            flying: BinaryHeap::new(),
            departures: VecDeque::new(),
            sequence: 0,
            is_bad_state: false,
            log: VecDeque::new(),
            stats: LinkStats::default(),
        }
    }

    /// A frame enters at `now_ns`.
    pub fn push(&mut self, now_ns: u64, mut frame: Vec<u8>) -> Fate {
        self.stats.pushed += 1;
        let len_bytes = frame.len();
        let fate = self.decide(now_ns, &mut frame);
        if self.log.len() == KEPT_RECORDS {
            self.log.pop_front();
        }
        self.log.push_back(FrameRecord { number: self.stats.pushed, at_ns: now_ns, len_bytes, fate });
        fate
    }

    /// The next frame that has arrived by `now_ns`.
    pub fn pop(&mut self, now_ns: u64) -> Option<Vec<u8>> {
        if self.next_arrival_ns()? > now_ns {
            return None;
        }
        let frame = self.flying.pop()?.0.frame;
        self.stats.delivered += 1;
        self.stats.delivered_bytes += frame.len() as u64;
        Some(frame)
    }

    /// When the next frame arrives.
    pub fn next_arrival_ns(&self) -> Option<u64> {
        self.flying.peek().map(|f| f.0.at_ns)
    }

    /// Frames on the wire.
    pub fn in_flight(&self) -> usize {
        self.flying.len()
    }

    /// Counters.
    pub fn stats(&self) -> LinkStats {
        self.stats
    }

    /// The last frames and their fates, oldest first.
    pub fn log(&self) -> impl Iterator<Item = &FrameRecord> {
        self.log.iter()
    }

    /// The recipe that replays this link.
    pub fn impairment(&self) -> &Impairment {
        &self.impairment
    }

    fn decide(&mut self, now_ns: u64, frame: &mut Vec<u8>) -> Fate {
        let mtu = self.impairment.mtu;
        if mtu > 0 && frame.len() > mtu + ETHERNET_HEADER_BYTES {
            self.stats.too_long += 1;
            return Fate::TooLong;
        }
        if self.is_lost() {
            if !(self.impairment.is_ecn && ecn::mark(frame)) {
                self.stats.lost += 1;
                return Fate::Lost;
            }
            self.stats.marked += 1;
        }
        let is_duplicated = self.rng(Purpose::Duplicate).chance(self.impairment.duplicate);
        let is_corrupt = self.corrupt(frame);
        let Some(sent_ns) = self.serialise(now_ns, frame.len()) else {
            self.stats.queue_full += 1;
            return Fate::QueueFull;
        };
        let is_reordered = self.is_reordered();
        let at_ns = if is_reordered { sent_ns } else { sent_ns + self.delay_ns() };
        self.stats.duplicated += u64::from(is_duplicated);
        self.stats.corrupted += u64::from(is_corrupt);
        self.stats.reordered += u64::from(is_reordered);
        if is_duplicated {
            self.fly(at_ns, frame.clone());
        }
        self.fly(at_ns, std::mem::take(frame));
        Fate::Delivered { at_ns, is_corrupt, is_duplicated, is_reordered }
    }

    fn fly(&mut self, at_ns: u64, frame: Vec<u8>) {
        self.sequence += 1;
        self.flying.push(Reverse(Flying { at_ns, sequence: self.sequence, frame }));
    }

    fn rng(&self, purpose: Purpose) -> Rng {
        Rng::keyed(self.impairment.seed, self.stream << 8 | purpose as u64, self.stats.pushed)
    }

    fn is_lost(&mut self) -> bool {
        let mut rng = self.rng(Purpose::Loss);
        match &self.impairment.loss {
            Loss::None => false,
            Loss::Random(p) => rng.chance(*p),
            Loss::GilbertElliott { p, r, loss_bad, loss_good } => {
                // Change state first, then draw with the loss of the new state.
                self.is_bad_state = if self.is_bad_state { !rng.chance(*r) } else { rng.chance(*p) };
                rng.chance(if self.is_bad_state { *loss_bad } else { *loss_good })
            }
            Loss::List(list) => list.iter().any(|(a, b)| (*a..=*b).contains(&self.stats.pushed)),
        }
    }

    fn corrupt(&self, frame: &mut [u8]) -> bool {
        let mut rng = self.rng(Purpose::Corrupt);
        if frame.is_empty() || !rng.chance(self.impairment.corrupt) {
            return false;
        }
        for _ in 0..self.impairment.corrupt_bits.max(1) {
            let bit = rng.below(frame.len() as u64 * 8) as usize; // below the frame length
            frame[bit / 8] ^= 1 << (bit % 8);
        }
        true
    }

    fn is_reordered(&self) -> bool {
        let gap = self.impairment.reorder_gap.max(1);
        self.impairment.reorder > 0.0
            && self.stats.pushed.is_multiple_of(gap)
            && self.rng(Purpose::Reorder).chance(self.impairment.reorder)
    }

    /// When the last bit has left; `None` when too many frames wait already.
    fn serialise(&mut self, now_ns: u64, len_bytes: usize) -> Option<u64> {
        let rate = self.impairment.rate_bits;
        if rate == 0 {
            return Some(now_ns);
        }
        while self.departures.front().is_some_and(|&t| t <= now_ns) {
            self.departures.pop_front();
        }
        let limit = if self.impairment.limit == 0 { DEFAULT_LIMIT } else { self.impairment.limit };
        if self.departures.len() >= limit {
            return None;
        }
        let bits = (len_bytes as u64 + WIRE_OVERHEAD_BYTES) * 8;
        let start = self.departures.back().copied().unwrap_or(now_ns).max(now_ns);
        let sent = start + (bits as f64 * 1e9 / rate as f64).ceil() as u64; // far below 2^63
        self.departures.push_back(sent);
        Some(sent)
    }

    fn delay_ns(&self) -> u64 {
        let Impairment { delay_ns, jitter_ns, distribution, .. } = self.impairment;
        if jitter_ns == 0 {
            return delay_ns;
        }
        let mut rng = self.rng(Purpose::Delay);
        let deviation = match distribution {
            Distribution::Uniform => 2.0 * rng.unit() - 1.0,
            // The sum of twelve uniform numbers has variance 1.
            Distribution::Normal => ((0..12).map(|_| rng.unit()).sum::<f64>() - 6.0).clamp(-3.0, 3.0),
        };
        (delay_ns as f64 + deviation * jitter_ns as f64).max(0.0) as u64 // not negative
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(text: &str) -> Link {
        Link::new(text.parse().unwrap(), 0)
    }

    /// Push `n` frames, one per `gap_ns`, and take out everything: `(arrival, frame number)`.
    fn run(link: &mut Link, n: u32, gap_ns: u64) -> Vec<(u64, u32)> {
        let mut out = Vec::new();
        for i in 1..=n {
            let mut frame = vec![0; 100];
            frame[..4].copy_from_slice(&i.to_le_bytes());
            link.push(u64::from(i) * gap_ns, frame);
        }
        while let Some(at) = link.next_arrival_ns() {
            assert!(at == 0 || link.pop(at - 1).is_none());
            let frame = link.pop(at).unwrap();
            out.push((at, u32::from_le_bytes(frame[..4].try_into().unwrap())));
        }
        out
    }

    #[test]
    fn a_perfect_link_changes_nothing() {
        let out = run(&mut link(""), 1000, 5);
        assert!(out.iter().enumerate().all(|(i, &(at, n))| n as usize == i + 1 && at == u64::from(n) * 5));
    }

    #[test]
    fn listed_frames_are_lost_and_no_others() {
        let mut link = link("loss list 1,9,12-14");
        let missing: Vec<u32> = {
            let out = run(&mut link, 20, 1);
            (1..=20).filter(|n| !out.iter().any(|o| o.1 == *n)).collect()
        };
        assert_eq!(missing, [1, 9, 12, 13, 14]);
        let lost: Vec<u64> = link.log().filter(|r| r.fate == Fate::Lost).map(|r| r.number).collect();
        assert_eq!(lost, [1, 9, 12, 13, 14]);
        assert_eq!(link.stats().lost, 5);
    }

    #[test]
    fn loss_rates_and_burst_lengths_are_as_asked() {
        let mut random = link("loss 2% seed 5");
        run(&mut random, 100_000, 1);
        assert!((1_800..2_200).contains(&random.stats().lost), "{:?}", random.stats());
        // Gilbert-Elliott: share of the bad state p/(p+r) = 1/31, mean burst 1/r = 3.3 frames.
        let mut bursty = link("loss gemodel 1% 30% seed 5");
        run(&mut bursty, 60_000, 1);
        let lost: Vec<u64> = bursty.log().filter(|r| r.fate == Fate::Lost).map(|r| r.number).collect();
        assert!((1_500..2_400).contains(&lost.len()), "{}", lost.len());
        let bursts = 1 + lost.windows(2).filter(|w| w[1] != w[0] + 1).count();
        let mean = lost.len() as f64 / bursts as f64;
        assert!((2.8..3.9).contains(&mean), "mean burst {mean}");
    }

    #[test]
    fn fate_depends_on_seed_and_number_alone() {
        let texts = ["loss 5% seed 3", "loss 5% delay 1ms 1ms duplicate 5% corrupt 5% seed 3"];
        let lost = texts.map(|t| {
            let mut link = link(t);
            run(&mut link, 5_000, 1);
            link.log().filter(|r| r.fate == Fate::Lost).map(|r| r.number).collect::<Vec<_>>()
        });
        assert_eq!(lost[0], lost[1]);
        let mut other = Link::new(texts[0].parse().unwrap(), 1);
        run(&mut other, 5_000, 1);
        assert_ne!(
            other.log().filter(|r| r.fate == Fate::Lost).map(|r| r.number).collect::<Vec<_>>(),
            lost[0]
        );
    }

    #[test]
    fn delay_and_jitter_stay_in_their_range() {
        for (text, least, most) in [
            ("delay 10ms", 10_000_000, 10_000_000),
            ("delay 10ms 2ms", 8_000_000, 12_000_000),
            ("delay 10ms 2ms normal", 4_000_000, 16_000_000),
        ] {
            let mut link = link(text);
            run(&mut link, 2_000, 100);
            let delays: Vec<u64> = link
                .log()
                .filter_map(|r| match r.fate {
                    Fate::Delivered { at_ns, .. } => Some(at_ns - r.at_ns),
                    _ => None,
                })
                .collect();
            assert!(delays.iter().all(|d| (least..=most).contains(d)), "{text}");
            let mean = delays.iter().sum::<u64>() / 2_000;
            assert!((9_900_000..10_100_000).contains(&mean), "{text}: {mean}");
        }
    }

    #[test]
    fn reordering_lets_every_third_frame_overtake() {
        let out = run(&mut link("delay 1us reorder 100% gap 3"), 9, 100);
        let order: Vec<u32> = out.iter().map(|o| o.1).collect();
        assert_eq!(order, [3, 6, 9, 1, 2, 4, 5, 7, 8]);
    }

    #[test]
    fn duplicates_and_damage_are_counted_and_visible() {
        let mut link = link("duplicate 10% corrupt 10% bits 1 seed 2");
        let mut damaged = 0;
        for i in 0..2_000u64 {
            link.push(i, vec![0; 64]);
            while let Some(frame) = link.pop(i) {
                let bits: u32 = frame.iter().map(|b| b.count_ones()).sum();
                assert!(bits <= 1);
                damaged += bits;
            }
        }
        let stats = link.stats();
        assert_eq!(stats.delivered, 2_000 + stats.duplicated);
        assert!((150..250).contains(&stats.duplicated) && (150..250).contains(&stats.corrupted), "{stats:?}");
        assert!(u64::from(damaged) >= stats.corrupted);
    }

    #[test]
    fn rate_spaces_frames_and_limit_drops_the_tail() {
        // 100 + 24 bytes at 1 Mbit/s are 992 us.
        let mut link = link("rate 1mbit limit 4");
        let out = run(&mut link, 10, 0);
        assert_eq!(out, [(992_000, 1), (1_984_000, 2), (2_976_000, 3), (3_968_000, 4)]);
        assert_eq!(link.stats().queue_full, 6);
        link.push(10_000_000, vec![0; 100]);
        assert_eq!(link.next_arrival_ns(), Some(10_992_000));
    }

    #[test]
    fn frames_beyond_the_mtu_are_dropped() {
        let mut link = link("mtu 1280");
        assert_eq!(link.push(0, vec![0; 1295]), Fate::TooLong);
        assert!(matches!(link.push(0, vec![0; 1294]), Fate::Delivered { .. }));
    }
}
