//! The sender's SACK scoreboard (RFC 2018, RFC 6675): at most four reported ranges, and the holes between them.
//!
//! ```text
//!   snd_una                                                    lost_to     snd_max
//!      |-- hole 0 --|xxxx|-- hole 1 --|xxxxxx|------ tail ---------|----------|
//!      start  rxt_end     is_lost, rxt_us            lost up to here
//! ```
//! A hole knows whether it is lost, how far from its start it was sent again, and when the last time was. The tail is
//! what lies above all ranges: it is lost only by a timeout ([`Scoreboard::mark_all_lost`]) or a hand-over.
//!
//! Forgetting a range is always allowed: the bytes are only sent again. When a fifth range is reported the second from
//! the top is forgotten: the top one says what was sent last and delivered, the low ones are repaired first.
//!
//! Width: 4 ranges x 64 + 5 holes x (32 `rxt_end` + 24 `rxt_us` + 1) + 32 `lost_to` + 3 = 576 bits.

use crate::ack::SendVars;
use crate::rack::{age_us, TIME_MASK};
pub use crate::ranges::{SeqRange, MAX_RANGES};
use chimney_abi::SeqNum;

/// A stretch of bytes that nobody has reported as received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Hole {
    /// One past the last byte that was sent again; before the start of the hole: nothing was.
    pub rxt_end: SeqNum,
    /// When the last byte was sent again, low 24 bits of the clock; 0 = nothing of it ever was.
    pub rxt_us: u32,
    /// The first transmission counts as lost.
    pub is_lost: bool,
}

/// What the peer reported as received, and what became of the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Scoreboard {
    ranges: [SeqRange; MAX_RANGES],
    /// `holes[i]` lies below `ranges[i]`; `holes[len]` is the tail.
    holes: [Hole; MAX_RANGES + 1],
    len: u8,
    /// The tail is lost up to here.
    lost_to: SeqNum,
}

/// Something that was delivered, and when it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resent {
    /// One past the last byte.
    pub end: SeqNum,
    /// When it was sent again.
    pub sent_us: u32,
}

/// What one acknowledgment delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Delivery {
    /// Bytes acknowledged or reported for the first time (DeliveredData of RFC 9937).
    pub bytes: u32,
    /// The highest byte reported or acknowledged has moved to here: a first transmission.
    pub first_sent_end: Option<SeqNum>,
    /// The retransmission that was sent last, of those that were delivered.
    pub resent: Option<Resent>,
    /// Bytes below the highest reported arrived, of a hole of which nothing was ever sent again (RFC 8985 6.2 step 3).
    pub is_reordered: bool,
    /// The first block reports a duplicate (RFC 2883).
    pub is_dsack: bool,
    /// A block reported bytes for the first time.
    pub is_new_sack: bool,
}

/// True if the first block reports bytes that arrived twice (RFC 2883 4): below the acknowledgment, or inside the
/// second block.
#[must_use]
pub fn is_dsack(blocks: &[SeqRange], ack: SeqNum) -> bool {
    let Some(first) = blocks.first().filter(|b| b.start.before(b.end)) else { return false };
    first.end.at_or_before(ack) || blocks.get(1).is_some_and(|second| second.covers(first))
}

impl Scoreboard {
    /// The ranges, sorted.
    #[must_use]
    pub fn ranges(&self) -> &[SeqRange] {
        &self.ranges[..usize::from(self.len)]
    }

    /// What lies below each range, and last the tail; of the tail only what was sent again counts.
    #[must_use]
    pub fn holes(&self) -> &[Hole] {
        &self.holes[..=usize::from(self.len)]
    }

    /// The tail is lost up to here.
    #[must_use]
    pub fn lost_to(&self) -> SeqNum {
        self.lost_to
    }

    /// True if nothing above SND.UNA was reported.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// True if nothing was reported, and nothing lies between SND.UNA and a mark up to which everything was lost.
    #[must_use]
    pub fn is_quiet(&self, snd: &SendVars) -> bool {
        self.is_empty() && self.lost_to.at_or_before(snd.snd_una)
    }

    /// True if the byte at SND.UNA was reported: an acknowledgment ended inside a range.
    #[must_use]
    pub fn has_first(&self, snd_una: SeqNum) -> bool {
        self.ranges().first().is_some_and(|first| first.start.at_or_before(snd_una))
    }

    /// Bytes in all ranges.
    #[must_use]
    pub fn sacked_bytes(&self) -> u32 {
        self.ranges().iter().map(SeqRange::len).sum()
    }

    /// One past the highest byte reported (`HighSACK`, FACK).
    #[must_use]
    pub fn highest(&self) -> Option<SeqNum> {
        self.ranges().last().map(|r| r.end)
    }

    /// Takes one acknowledgment: SND.UNA has moved from `una_before` to `snd.snd_una`, and `blocks` came with it.
    pub fn on_ack(&mut self, una_before: SeqNum, snd: &SendVars, blocks: &[SeqRange]) -> Delivery {
        let before = *self;
        let sacked_before = self.sacked_bytes();
        self.advance(snd.snd_una);
        let kept = self.sacked_bytes();
        for block in blocks {
            // By distance from SND.UNA: three pairs in order on the circle would not say that all three are.
            let (from, to) = (block.start - snd.snd_una, block.end - snd.snd_una);
            let is_sane = 0 < from && from < to && to <= snd.flight_size();
            if is_sane {
                self.insert(*block, snd.snd_una);
            }
        }
        let sacked = self.sacked_bytes();
        let moved = snd.snd_una - una_before;
        let mut delivery = before.compare(self, una_before, snd);
        // Forgotten ranges make the difference too small, never too large.
        delivery.bytes = (moved + sacked).saturating_sub(sacked_before);
        delivery.is_new_sack = sacked > kept;
        delivery.is_dsack = is_dsack(blocks, snd.snd_una);
        delivery
    }

    /// What is in `after` and was not in `self`.
    fn compare(&self, after: &Scoreboard, una_before: SeqNum, snd: &SendVars) -> Delivery {
        let una = snd.snd_una;
        let is_there = |seq: SeqNum| seq.before(una) || after.ranges().iter().any(|r| holds(r, seq));
        let mut delivery = Delivery::default();
        let mut start = una_before;
        for i in 0..usize::from(self.len) {
            let (hole, end) = (&self.holes[i], self.ranges[i].start);
            let resent_end = hole.rxt_end.earlier(end);
            if resent_end.after(start) {
                if is_there(resent_end - 1) {
                    delivery.add_resent(resent_end, hole.rxt_us);
                }
            } else if hole.rxt_us == 0 && (is_there(start) || is_there(end - 1)) {
                delivery.is_reordered = true;
            }
            start = self.ranges[i].end;
        }
        let tail = &self.holes[usize::from(self.len)];
        let highest = after.highest().unwrap_or(una).later(una);
        let is_resent = tail.rxt_end.after(start);
        if is_resent && is_there(tail.rxt_end - 1) {
            delivery.add_resent(tail.rxt_end, tail.rxt_us);
        }
        if highest.after(start) && !(is_resent && highest.at_or_before(tail.rxt_end)) {
            delivery.first_sent_end = Some(highest);
        }
        delivery
    }

    /// SND.UNA moved: forget what lies below.
    pub fn advance(&mut self, snd_una: SeqNum) {
        let gone = self.ranges().iter().filter(|r| r.end.at_or_before(snd_una)).count();
        self.remove(0, gone);
        if let Some(first) = self.ranges[..usize::from(self.len)].first_mut() {
            // An acknowledgment inside a range: the peer had less than it reported. Nothing is missing below.
            first.start = first.start.later(snd_una);
        }
        for hole in &mut self.holes {
            // Old numbers must not come back after half of the sequence space.
            hole.rxt_end = hole.rxt_end.later(snd_una);
        }
        self.lost_to = self.lost_to.later(snd_una);
    }

    /// Takes out `count` ranges from `at` on, each with the hole below it.
    fn remove(&mut self, at: usize, count: usize) {
        let len = usize::from(self.len);
        self.ranges.copy_within(at + count..len, at);
        self.holes.copy_within(at + count..=len, at);
        // `as`: at most MAX_RANGES.
        self.len = (len - count) as u8;
    }

    /// Adds a block, merging it with every range that it touches.
    fn insert(&mut self, block: SeqRange, snd_una: SeqNum) {
        let first = self.ranges().iter().take_while(|r| r.end.before(block.start)).count();
        let touched = self.ranges()[first..].iter().take_while(|r| r.start.at_or_before(block.end)).count();
        if touched == 0 {
            return self.split(first, block, snd_una);
        }
        let last = self.ranges[first + touched - 1];
        let range = &mut self.ranges[first];
        *range = SeqRange { start: range.start.earlier(block.start), end: last.end.later(block.end) };
        // The merged range keeps the lowest hole; those inside are gone.
        let merged = self.ranges[first];
        let hole = self.holes[first];
        self.remove(first, touched - 1);
        (self.ranges[first], self.holes[first]) = (merged, hole);
    }

    /// A new range in the middle of hole `at`: both parts keep what is known of it.
    fn split(&mut self, at: usize, block: SeqRange, snd_una: SeqNum) {
        let len = usize::from(self.len);
        let mut ranges = [SeqRange::default(); MAX_RANGES + 1];
        let mut holes = [Hole::default(); MAX_RANGES + 2];
        ranges[..at].copy_from_slice(&self.ranges[..at]);
        ranges[at] = block;
        ranges[at + 1..=len].copy_from_slice(&self.ranges[at..len]);
        holes[..=at].copy_from_slice(&self.holes[..=at]);
        holes[at + 1..len + 2].copy_from_slice(&self.holes[at..=len]);
        if at == len {
            // This part was the tail; what is left of that has its own mark.
            holes[at].is_lost = self.lost_to.at_or_after(block.start);
            let start = self.highest().unwrap_or(snd_una);
            if self.lost_to.at_or_before(start) {
                // Nothing of the tail was lost, so nothing was sent again: the time is an older one's.
                holes[at].rxt_us = 0;
            }
            holes[at + 1].is_lost = false;
        }
        let mut count = len + 1;
        if count > MAX_RANGES {
            // The second from the top goes, and the hole above it becomes part of the one below.
            ranges.copy_within(MAX_RANGES.., MAX_RANGES - 1);
            holes.copy_within(MAX_RANGES + 1.., MAX_RANGES);
            count = MAX_RANGES;
        }
        self.ranges.copy_from_slice(&ranges[..MAX_RANGES]);
        self.holes.copy_from_slice(&holes[..=MAX_RANGES]);
        // `as`: at most MAX_RANGES.
        self.len = count as u8;
    }

    /// Start and end of hole `i`, or of the tail.
    #[must_use]
    pub fn hole_bounds(&self, i: usize, snd: &SendVars) -> SeqRange {
        let start = if i == 0 { snd.snd_una } else { self.ranges[i - 1].end };
        let end = if i < usize::from(self.len) { self.ranges[i].start } else { snd.snd_max };
        SeqRange { start, end: end.later(start) }
    }

    /// The holes below ranges, lowest first, with their bounds.
    pub fn holes_mut<'a>(
        &'a mut self,
        snd: &'a SendVars,
    ) -> impl Iterator<Item = (SeqRange, &'a mut Hole)> + 'a {
        let ranges = self.ranges;
        let len = usize::from(self.len);
        self.holes[..len].iter_mut().enumerate().map(move |(i, hole)| {
            let start = if i == 0 { snd.snd_una } else { ranges[i - 1].end };
            (SeqRange { start, end: ranges[i].start }, hole)
        })
    }

    /// The part of hole `i` that counts as lost, and how far of it was sent again.
    fn lost_part(&self, i: usize, snd: &SendVars) -> (SeqRange, SeqNum) {
        let bounds = self.hole_bounds(i, snd);
        let is_tail = i == usize::from(self.len);
        let end = match is_tail {
            true => self.lost_to.earlier(bounds.end).later(bounds.start),
            false if self.holes[i].is_lost => bounds.end,
            false => bounds.start,
        };
        let resent = self.holes[i].rxt_end.later(bounds.start).earlier(end);
        (SeqRange { start: bounds.start, end }, resent)
    }

    /// `pipe`: bytes thought to be in the network (RFC 6675 4).
    #[must_use]
    pub fn pipe(&self, snd: &SendVars) -> u32 {
        let in_hole = |i: usize| {
            let (lost, resent) = self.lost_part(i, snd);
            (resent - lost.start) + (self.hole_bounds(i, snd).end - lost.end)
        };
        (0..=usize::from(self.len)).map(in_hole).sum()
    }

    /// `NextSeg` (1): the first lost bytes that were not sent again, at most one segment.
    #[must_use]
    pub fn next_lost(&self, snd: &SendVars, smss: u32) -> Option<SeqRange> {
        let left = |i: usize| {
            let (lost, resent) = self.lost_part(i, snd);
            SeqRange { start: resent, end: lost.end }
        };
        let first = (0..=usize::from(self.len)).map(left).find(|part| !part.is_empty())?;
        Some(SeqRange::new(first.start, first.len().min(smss)))
    }

    /// `part` is sent again now.
    pub fn on_resend(&mut self, part: SeqRange, now_us: u32) {
        let i = self.ranges().iter().take_while(|r| r.start.at_or_before(part.start)).count();
        self.holes[i].rxt_end = part.end;
        self.holes[i].rxt_us = now_us & TIME_MASK;
    }

    /// A timeout: everything that was not reported counts as lost, also what was sent again (RFC 5681 3.1 (7)).
    pub fn mark_all_lost(&mut self, snd: &SendVars) {
        for hole in &mut self.holes {
            hole.is_lost = true;
            hole.rxt_end = snd.snd_una;
        }
        self.lost_to = snd.snd_max;
    }

    /// Bytes up to `seq` count as lost, as far as nothing above them is reported.
    pub fn mark_lost_to(&mut self, seq: SeqNum) {
        self.lost_to = self.lost_to.later(seq);
    }

    /// Forgets all reports: the peer may have reneged (RFC 2018 8).
    pub fn clear(&mut self, snd_una: SeqNum) {
        *self = Scoreboard::new(snd_una);
    }

    /// Nothing reported, nothing lost.
    #[must_use]
    pub fn new(snd_una: SeqNum) -> Scoreboard {
        let hole = Hole { rxt_end: snd_una, ..Hole::default() };
        Scoreboard { holes: [hole; MAX_RANGES + 1], lost_to: snd_una, ..Scoreboard::default() }
    }
}

fn holds(range: &SeqRange, seq: SeqNum) -> bool {
    range.start.at_or_before(seq) && seq.before(range.end)
}

impl Delivery {
    fn add_resent(&mut self, end: SeqNum, sent_us: u32) {
        let is_later = |old: Resent| age_us(sent_us, old.sent_us) < 1 << 23;
        if self.resent.is_none_or(is_later) {
            self.resent = Some(Resent { end, sent_us });
        }
    }
}

#[cfg(test)]
mod tests;
