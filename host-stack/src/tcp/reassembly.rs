//! The receive buffer: bytes in order that nobody has read, and bytes ahead of RCV.NXT.
//!
//! ```text
//!     unread             | rcv_nxt
//!   [xxxxxxxxxxxxxxxxxxx]|[....xxxxx......xxx]   `ahead`: offset 0 is rcv_nxt
//!                              ranges say which bytes of `ahead` are there
//! ```

use chimney_abi::offload::Range;
use chimney_abi::SeqNum;
use chimney_host_stack_core::ranges::{RangeList, SeqRange};
use std::collections::VecDeque;

/// What became of the text of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placed {
    /// RCV.NXT moves to this number.
    InOrder(SeqNum),
    /// Kept for later.
    Ahead {
        /// All of it, if it was there already.
        again: Option<SeqRange>,
    },
    /// Dropped: it would need one range too many.
    NoRange,
}

/// Received bytes of one connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReceiveBuffer {
    unread: VecDeque<u8>,
    ahead: VecDeque<u8>,
    ranges: RangeList,
    capacity: u32,
    received: u64,
}

impl ReceiveBuffer {
    /// An empty buffer.
    #[must_use]
    pub fn new(capacity: u32) -> ReceiveBuffer {
        ReceiveBuffer { capacity, ..ReceiveBuffer::default() }
    }

    /// Bytes waiting to be read.
    #[must_use]
    pub fn unread_len(&self) -> u32 {
        // `as`: bounded by capacity and slack.
        self.unread.len() as u32
    }

    /// The configured size.
    #[must_use]
    pub fn capacity(&self) -> u32 {
        self.capacity
    }

    /// Room beyond RCV.NXT; bytes ahead of it are already within that room.
    #[must_use]
    pub fn free(&self) -> u32 {
        self.capacity.saturating_sub(self.unread_len())
    }

    /// Bytes received in order so far.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Ranges ahead of RCV.NXT, the most recently touched first.
    pub fn sack_blocks(&self) -> impl Iterator<Item = SeqRange> + '_ {
        self.ranges.recent_first()
    }

    /// True while something waits for a hole to be filled.
    #[must_use]
    pub fn has_ahead(&self) -> bool {
        !self.ranges.is_empty()
    }

    /// Stores text that begins at `seq`, which is not before `rcv_nxt`.
    pub fn place(&mut self, rcv_nxt: SeqNum, seq: SeqNum, text: &[u8]) -> Placed {
        // `as`: a segment is shorter than 64 KiB.
        let range = SeqRange::new(seq, text.len() as u32);
        if seq != rcv_nxt {
            let again = self.ranges.covers(&range).then_some(range);
            if self.ranges.insert(range).is_err() {
                return Placed::NoRange;
            }
            self.overlay((seq - rcv_nxt) as usize, text);
            return Placed::Ahead { again };
        }
        self.received += text.len() as u64;
        if self.ranges.is_empty() {
            self.unread.extend(text);
            return Placed::InOrder(range.end);
        }
        self.overlay(0, text);
        let next = self.ranges.pop_contiguous(range.end);
        self.received += u64::from(next - range.end);
        self.unread.extend(self.ahead.drain(..(next - rcv_nxt) as usize));
        if self.ranges.is_empty() {
            self.ahead.clear();
        }
        Placed::InOrder(next)
    }

    /// Moves bytes to the reader; returns how many.
    pub fn read(&mut self, out: &mut [u8]) -> usize {
        let count = out.len().min(self.unread.len());
        for (to, from) in out.iter_mut().zip(self.unread.drain(..count)) {
            *to = from;
        }
        count
    }

    /// The unread bytes, for a hand-over.
    #[must_use]
    pub fn unread_to_vec(&self) -> Vec<u8> {
        self.unread.iter().copied().collect()
    }

    /// The ranges ahead with their bytes, sorted.
    #[must_use]
    pub fn ahead_to_vec(&self, rcv_nxt: SeqNum) -> Vec<Range> {
        let bytes_of = |r: &SeqRange| {
            let start = (r.start - rcv_nxt) as usize;
            self.ahead.range(start..start + r.len() as usize).copied().collect()
        };
        self.ranges.as_slice().iter().map(|r| Range { seq: r.start.0, bytes: bytes_of(r) }).collect()
    }

    /// Continues the stream after a hand-over with bytes that nobody has read; `received` bytes arrived
    /// in between.
    pub fn restore(&mut self, unread: Vec<u8>, received: u32) {
        self.release();
        self.unread = unread.into();
        self.received += u64::from(received);
    }

    /// Drops the bytes: another owner has them now.
    pub fn release(&mut self) {
        self.unread = VecDeque::new();
        self.ahead = VecDeque::new();
        self.ranges.clear();
    }

    fn overlay(&mut self, offset: usize, text: &[u8]) {
        let end = offset + text.len();
        if self.ahead.len() < end {
            self.ahead.resize(end, 0);
        }
        for (to, from) in self.ahead.range_mut(offset..end).zip(text) {
            *to = *from;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Verifies: R-246
    #[test]
    fn a_filled_hole_releases_everything_behind_it() {
        let mut buffer = ReceiveBuffer::new(100);
        let nxt = SeqNum(0xFFFF_FFFE);
        assert_eq!(buffer.place(nxt, nxt + 3, b"def"), Placed::Ahead { again: None });
        assert_eq!(buffer.place(nxt, nxt + 8, b"ij"), Placed::Ahead { again: None });
        assert_eq!(buffer.ahead_to_vec(nxt)[0], Range { seq: 1, bytes: b"def".to_vec() });
        assert_eq!(buffer.place(nxt, nxt, b"abc"), Placed::InOrder(nxt + 6));
        assert_eq!(buffer.unread_to_vec(), b"abcdef");
        assert_eq!(buffer.place(nxt + 6, nxt + 6, b"ghi"), Placed::InOrder(nxt + 10));
        let mut out = [0; 20];
        assert_eq!(buffer.read(&mut out), 10);
        assert_eq!(&out[..10], b"abcdefghij");
        assert_eq!(buffer.received(), 10);
    }

    proptest! {
        #![proptest_config(crate::test_seed::config())]

        #[test]
        fn any_order_of_segments_gives_the_stream(
            base: u32, order in proptest::collection::vec((0usize..200, 1usize..40), 1..80),
        ) {
            let stream: Vec<u8> = (0..240u8).collect();
            let mut buffer = ReceiveBuffer::new(1000);
            let mut nxt = SeqNum(base);
            let whole = order.into_iter().chain((0..240).step_by(10).map(|at| (at, 10)));
            for (at, len) in whole {
                let end = (at + len).min(stream.len());
                let at = at.max((nxt - SeqNum(base)) as usize);
                if at >= end {
                    continue;
                }
                let placed = buffer.place(nxt, SeqNum(base) + at as u32, &stream[at..end]);
                if let Placed::InOrder(next) = placed {
                    nxt = next;
                }
            }
            prop_assert_eq!(buffer.unread_to_vec(), stream);
            prop_assert!(!buffer.has_ahead());
        }
    }
}
