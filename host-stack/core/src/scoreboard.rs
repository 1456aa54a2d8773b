//! The sender's SACK scoreboard (RFC 6675), over a bounded list of ranges.
//!
//! Forgetting a range is always allowed (the byte is only sent again), so a full list simply refuses.
//! After a retransmission timeout the owner clears it: the peer may have reneged (RFC 2018 8).

use crate::ack::SendVars;
use crate::ranges::{RangeList, SeqRange};
use crate::recovery::DUP_ACK_THRESHOLD;
use chimney_abi::SeqNum;

/// What the peer reported as received, and how far holes were retransmitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Scoreboard {
    /// Reported ranges above SND.UNA.
    pub sacked: RangeList,
    /// One past the highest byte retransmitted in this recovery (`HighRxt`).
    pub high_rxt: SeqNum,
}

impl Scoreboard {
    /// Takes the SACK blocks of one ACK; true if they report a byte for the first time.
    ///
    /// Blocks below SND.UNA (D-SACK, RFC 2883) and above SND.MAX are ignored.
    pub fn update(&mut self, blocks: &[SeqRange], snd: &SendVars) -> bool {
        let before = self.sacked.total_len();
        for block in blocks {
            let sane = block.start.before(block.end)
                && block.start.after(snd.snd_una)
                && block.end.at_or_before(snd.snd_max);
            if sane {
                // A full list refuses; see the module head.
                let _ = self.sacked.insert(*block);
            }
        }
        self.sacked.total_len() > before
    }

    /// SND.UNA moved: forget what lies below.
    pub fn advance(&mut self, snd_una: SeqNum) {
        self.sacked.remove_before(snd_una);
        self.high_rxt = self.high_rxt.later(snd_una);
    }

    /// A recovery begins: nothing is retransmitted yet.
    pub fn start_recovery(&mut self, snd_una: SeqNum) {
        self.high_rxt = snd_una;
    }

    /// `IsLost`: enough was received above `seq` that it must be gone.
    #[must_use]
    pub fn is_lost(&self, seq: SeqNum, smss: u32) -> bool {
        let above = self.sacked.as_slice().iter().filter(|r| r.start.after(seq));
        let (count, bytes) = above.fold((0u8, 0u32), |(n, b), r| (n + 1, b + r.len()));
        count >= DUP_ACK_THRESHOLD || bytes > u32::from(DUP_ACK_THRESHOLD - 1) * smss
    }

    /// `pipe`: bytes thought to be in the network.
    #[must_use]
    pub fn pipe(&self, snd: &SendVars, smss: u32) -> u32 {
        let mut pipe = 0;
        let mut at = snd.snd_una;
        for hole_end in self.hole_ends(snd.snd_max) {
            if !self.is_lost(at, smss) {
                pipe += hole_end.0 - at;
            }
            // Retransmitted bytes of the hole are in the network (again).
            let resent_to = self.high_rxt.earlier(hole_end.0);
            if resent_to.after(at) {
                pipe += resent_to - at;
            }
            at = hole_end.1;
        }
        pipe
    }

    /// `NextSeg` (1): the first hole to retransmit, at most one segment of it.
    #[must_use]
    pub fn next_hole(&self, snd: &SendVars, smss: u32) -> Option<SeqRange> {
        let mut at = snd.snd_una;
        for (hole_end, next) in self.hole_ends(snd.snd_max) {
            let start = at.later(self.high_rxt);
            at = next;
            if start.before(hole_end) && self.is_lost(start, smss) {
                return Some(SeqRange::new(start, (hole_end - start).min(smss)));
            }
        }
        None
    }

    /// Each hole as (its end, start of the next hole); the last one ends at `snd_max`.
    fn hole_ends(&self, snd_max: SeqNum) -> impl Iterator<Item = (SeqNum, SeqNum)> + '_ {
        self.sacked.as_slice().iter().map(|r| (r.start, r.end)).chain([(snd_max, snd_max)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SMSS: u32 = 1000;

    fn snd(una: u32, max: u32) -> SendVars {
        SendVars { snd_una: SeqNum(una), snd_nxt: SeqNum(max), snd_max: SeqNum(max), ..SendVars::default() }
    }

    fn range(start: u32, end: u32) -> SeqRange {
        SeqRange { start: SeqNum(start), end: SeqNum(end) }
    }

    #[test]
    fn blocks_outside_of_what_was_sent_are_ignored() {
        let mut board = Scoreboard::default();
        assert!(!board.update(&[range(500, 900), range(900, 12_000), range(3000, 2000)], &snd(1000, 10_000)));
        assert!(board.update(&[range(2000, 3000)], &snd(1000, 10_000)));
        assert!(!board.update(&[range(2000, 3000)], &snd(1000, 10_000)), "nothing new");
    }

    #[test]
    fn two_holes_are_found_in_order_and_counted_in_the_pipe() {
        let vars = snd(0, 10_000);
        let mut board = Scoreboard::default();
        assert!(board.update(&[range(1000, 4000), range(5000, 8000)], &vars));
        board.start_recovery(SeqNum(0));
        // Holes [0,1000) and [4000,5000) are lost, [8000,10000) is not.
        assert_eq!(board.pipe(&vars, SMSS), 2000);
        assert_eq!(board.next_hole(&vars, SMSS), Some(range(0, 1000)));
        board.high_rxt = SeqNum(1000);
        assert_eq!(board.pipe(&vars, SMSS), 3000);
        assert_eq!(board.next_hole(&vars, SMSS), Some(range(4000, 5000)));
        board.high_rxt = SeqNum(5000);
        assert_eq!(board.next_hole(&vars, SMSS), None);
    }

    #[test]
    fn little_sacked_data_is_not_yet_a_loss() {
        let vars = snd(0, 10_000);
        let mut board = Scoreboard::default();
        assert!(board.update(&[range(1000, 3000)], &vars));
        assert!(!board.is_lost(SeqNum(0), SMSS));
        assert!(board.update(&[range(3000, 3001)], &vars));
        assert!(board.is_lost(SeqNum(0), SMSS));
    }

    proptest! {
        #![proptest_config(crate::test_seed::config())]

        #[test]
        fn pipe_never_exceeds_flight_plus_retransmissions(
            una: u32, blocks in proptest::collection::vec((1u32..50, 1u32..20), 0..8), rxt in 0u32..70,
        ) {
            let vars = snd(una, una.wrapping_add(70 * SMSS));
            let mut board = Scoreboard::default();
            for (start, len) in blocks {
                board.update(&[SeqRange::new(SeqNum(una) + start * SMSS, len * SMSS)], &vars);
            }
            board.high_rxt = SeqNum(una) + rxt * SMSS;
            prop_assert!(board.pipe(&vars, SMSS) <= 2 * vars.flight_size());
            if let Some(hole) = board.next_hole(&vars, SMSS) {
                prop_assert!(hole.start.at_or_after(board.high_rxt) && hole.len() <= SMSS && !hole.is_empty());
                prop_assert!(!board.sacked.as_slice().iter().any(|r| r.start.before(hole.end) && hole.start.before(r.end)));
            }
        }
    }
}
