//! Sorted, disjoint, non-touching ranges of sequence space, at most [`MAX_RANGES`] of them.
//!
//! Used twice: for out-of-order data that was received, and for data the peer reported as received.
//! Each range also has a rank of recency (0 = touched last), because SACK blocks are sent in that order
//! (RFC 2018 4).
//!
//! ```text
//!   rcv_nxt        [start, end)      [start, end)     [start, end)
//!      |--- hole ---|xxxxxxxxx|-------|xxxxxxxx|-------|xxxxxxx|      sorted by start
//!                     rank 1            rank 0           rank 2
//! ```

use chimney_abi::SeqNum;

/// Most ranges a connection keeps.
pub const MAX_RANGES: usize = 4;

/// The half-open range `[start, end)`; not empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct SeqRange {
    /// First byte.
    pub start: SeqNum,
    /// One past the last byte.
    pub end: SeqNum,
}

impl SeqRange {
    /// The range of `len` bytes from `start`.
    #[must_use]
    pub fn new(start: SeqNum, len: u32) -> SeqRange {
        SeqRange { start, end: start + len }
    }

    /// Bytes in the range.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.end - self.start
    }

    /// True for a range without bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// True if both share a byte or are neighbours.
    #[must_use]
    pub fn touches(&self, other: &SeqRange) -> bool {
        self.start.at_or_before(other.end) && other.start.at_or_before(self.end)
    }

    /// True if every byte of `other` is in this range.
    #[must_use]
    pub fn covers(&self, other: &SeqRange) -> bool {
        self.start.at_or_before(other.start) && other.end.at_or_before(self.end)
    }
}

/// The list is full and the range touches none of its members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListFull;

/// A bounded, sorted list of disjoint ranges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct RangeList {
    ranges: [SeqRange; MAX_RANGES],
    ranks: [u8; MAX_RANGES],
    len: u8,
}

impl RangeList {
    /// A list without ranges.
    #[must_use]
    pub fn new() -> RangeList {
        RangeList::default()
    }

    /// A list rebuilt from ranges in order of recency, newest first. Ranges that do not fit are left out.
    #[must_use]
    pub fn from_recent_first(ranges: &[SeqRange]) -> RangeList {
        let mut list = RangeList::new();
        for range in ranges.iter().rev() {
            // A full list keeps what it has: forgetting is always allowed.
            let _ = list.insert(*range);
        }
        list
    }

    /// The ranges, sorted by start.
    #[must_use]
    pub fn as_slice(&self) -> &[SeqRange] {
        &self.ranges[..usize::from(self.len)]
    }

    /// True without ranges.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = RangeList::new();
    }

    /// Bytes in all ranges.
    #[must_use]
    pub fn total_len(&self) -> u32 {
        self.as_slice().iter().map(SeqRange::len).sum()
    }

    /// The end of the last range.
    #[must_use]
    pub fn highest(&self) -> Option<SeqNum> {
        self.as_slice().last().map(|r| r.end)
    }

    /// True if one range holds all of `range`.
    #[must_use]
    pub fn covers(&self, range: &SeqRange) -> bool {
        self.as_slice().iter().any(|r| r.covers(range))
    }

    /// Adds a range, merging it with every one it touches; the result becomes the most recent.
    ///
    /// # Errors
    /// [`ListFull`] if it touches none and there is no room; the list is unchanged.
    pub fn insert(&mut self, range: SeqRange) -> Result<(), ListFull> {
        if range.is_empty() {
            return Ok(());
        }
        let touched = |r: &SeqRange| r.touches(&range);
        if usize::from(self.len) == MAX_RANGES && !self.as_slice().iter().any(touched) {
            return Err(ListFull);
        }
        let mut merged = range;
        let mut out = RangeList::new();
        let mut place = 0;
        for (r, rank) in self.entries() {
            if r.touches(&range) {
                merged.start = merged.start.earlier(r.start);
                merged.end = merged.end.later(r.end);
            } else {
                if r.start.before(range.start) {
                    place = out.len;
                    place += 1;
                }
                out.push(r, rank + 1);
            }
        }
        out.insert_at(place, merged);
        out.compact_ranks();
        *self = out;
        Ok(())
    }

    /// Removes what lies before `seq`.
    pub fn remove_before(&mut self, seq: SeqNum) {
        let mut out = RangeList::new();
        for (r, rank) in self.entries() {
            if r.end.after(seq) {
                out.push(SeqRange { start: r.start.later(seq), end: r.end }, rank);
            }
        }
        out.compact_ranks();
        *self = out;
    }

    /// Takes out the ranges that continue a stream which has arrived up to `seq`, and returns the next
    /// number expected.
    pub fn pop_contiguous(&mut self, seq: SeqNum) -> SeqNum {
        let mut next = seq;
        for range in self.as_slice() {
            if range.start.at_or_before(next) {
                next = next.later(range.end);
            }
        }
        self.remove_before(next);
        next
    }

    /// The ranges as SACK blocks: the most recently touched first (RFC 2018 4).
    pub fn recent_first(&self) -> impl Iterator<Item = SeqRange> + '_ {
        (0..self.len).filter_map(move |want| self.entries().find(|(_, rank)| *rank == want).map(|(r, _)| r))
    }

    fn entries(&self) -> impl Iterator<Item = (SeqRange, u8)> + '_ {
        self.as_slice().iter().copied().zip(self.ranks)
    }

    fn push(&mut self, range: SeqRange, rank: u8) {
        let at = usize::from(self.len);
        self.ranges[at] = range;
        self.ranks[at] = rank;
        self.len += 1;
    }

    fn insert_at(&mut self, place: u8, range: SeqRange) {
        self.push(range, 0);
        let (place, len) = (usize::from(place), usize::from(self.len));
        self.ranges[place..len].rotate_right(1);
        self.ranks[place..len].rotate_right(1);
    }

    /// Makes the ranks 0, 1, 2, .. again, in their present order.
    fn compact_ranks(&mut self) {
        let old = self.ranks;
        let len = usize::from(self.len);
        for (i, rank) in self.ranks[..len].iter_mut().enumerate() {
            *rank = 0;
            for other in &old[..len] {
                *rank += u8::from(*other < old[i]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use std::vec::Vec;

    fn range(start: u32, end: u32) -> SeqRange {
        SeqRange { start: SeqNum(start), end: SeqNum(end) }
    }

    #[test]
    fn neighbours_merge_and_the_touched_range_comes_first() {
        let mut list = RangeList::new();
        for r in [range(10, 20), range(40, 50), range(70, 80), range(20, 25)] {
            assert_eq!(list.insert(r), Ok(()));
        }
        assert_eq!(list.as_slice(), [range(10, 25), range(40, 50), range(70, 80)]);
        let order: Vec<_> = list.recent_first().collect();
        assert_eq!(order, [range(10, 25), range(70, 80), range(40, 50)]);
        assert_eq!(list.insert(range(25, 70)), Ok(()));
        assert_eq!(list.as_slice(), [range(10, 80)]);
    }

    #[test]
    fn a_full_list_takes_only_what_touches_a_member() {
        let mut list = RangeList::new();
        for i in 0..4 {
            assert_eq!(list.insert(range(i * 20, i * 20 + 5)), Ok(()));
        }
        assert_eq!(list.insert(range(200, 201)), Err(ListFull));
        assert_eq!(list.insert(range(65, 70)), Ok(()));
        assert_eq!(list.highest(), Some(SeqNum(70)));
    }

    #[test]
    fn filling_the_hole_pops_the_first_range() {
        let mut list = RangeList::from_recent_first(&[range(0xFFFF_FFF0, 4), range(8, 9)]);
        assert_eq!(list.pop_contiguous(SeqNum(0xFFFF_FFE0)), SeqNum(0xFFFF_FFE0));
        assert_eq!(list.pop_contiguous(SeqNum(0xFFFF_FFF1)), SeqNum(4));
        assert_eq!(list.as_slice(), [range(8, 9)]);
        list = RangeList::from_recent_first(&[range(10, 12), range(20, 22), range(30, 32)]);
        assert_eq!(list.pop_contiguous(SeqNum(21)), SeqNum(22), "one segment may cover several ranges");
        assert_eq!(list.as_slice(), [range(30, 32)]);
    }

    #[test]
    fn recency_survives_a_round_trip() {
        let mut list = RangeList::new();
        for r in [range(70, 80), range(10, 20), range(40, 50)] {
            assert_eq!(list.insert(r), Ok(()));
        }
        let order: Vec<_> = list.recent_first().collect();
        assert_eq!(RangeList::from_recent_first(&order), list);
    }

    proptest! {
        #![proptest_config(crate::test_seed::config())]

        #[test]
        fn list_equals_a_set_of_bytes(
            base: u32, steps in proptest::collection::vec((0u32..60, 1u32..12, any::<bool>()), 1..40),
        ) {
            let mut list = RangeList::new();
            let mut model = BTreeSet::new();
            for (start, len, remove) in steps {
                if remove {
                    list.remove_before(SeqNum(base) + start);
                    model.retain(|x| *x >= start);
                } else if list.insert(SeqRange::new(SeqNum(base) + start, len)).is_ok() {
                    model.extend(start..start + len);
                }
                let mut got = BTreeSet::new();
                for r in list.as_slice() {
                    got.extend((r.start - SeqNum(base))..(r.end - SeqNum(base)));
                }
                prop_assert_eq!(&got, &model);
                for pair in list.as_slice().windows(2) {
                    prop_assert!(pair[0].end.before(pair[1].start), "sorted, disjoint, not touching");
                }
                prop_assert_eq!(list.recent_first().count(), list.as_slice().len());
            }
        }
    }
}
