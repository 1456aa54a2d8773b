//! What an acknowledgment means, and the send window.
//!
//! Fifth check of RFC 9293 3.10.7.4, with the acceptable range of RFC 5961 5.2 and the definition of a
//! duplicate ACK of RFC 5681 2.

use crate::segment::{Flags, Segment};
use chimney_abi::SeqNum;

/// The send sequence variables (RFC 9293 3.3.1 and R-104's SND.MAX).
///
/// `snd_una <= snd_nxt <= snd_max`; `[snd_nxt, snd_max)` was sent once and is to be sent again first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct SendVars {
    /// Oldest unacknowledged byte.
    pub snd_una: SeqNum,
    /// Next byte to send; below `snd_max` while going back after a timeout.
    pub snd_nxt: SeqNum,
    /// One past the highest byte ever sent.
    pub snd_max: SeqNum,
    /// The peer's window in bytes.
    pub snd_wnd: u32,
    /// Largest window the peer ever offered, bytes.
    pub max_snd_wnd: u32,
    /// SEG.SEQ of the last window update.
    pub snd_wl1: SeqNum,
    /// SEG.ACK of the last window update.
    pub snd_wl2: SeqNum,
}

impl SendVars {
    /// Bytes sent and not acknowledged (FlightSize of RFC 5681).
    #[must_use]
    pub fn flight_size(&self) -> u32 {
        self.snd_max - self.snd_una
    }

    /// SEG.SEQ of a segment without text: SND.MAX, but never right of a window that shrank below what was sent (a Linux whose buffer
    /// is full does that, whatever RFC 9293 3.8.6 thinks of it). The peer would drop it, its acknowledgment too, and both sides wait
    /// for each other. `shift`: the peer's; less than its unit is rounding.
    #[must_use]
    pub fn bare_seq(&self, shift: u8) -> SeqNum {
        let edge = self.snd_una + self.snd_wnd;
        let is_beyond = self.snd_max.after(edge) && (self.snd_max - edge) >> shift > 0;
        if is_beyond {
            edge
        } else {
            self.snd_max
        }
    }
}

/// How SEG.ACK lies to what was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AckClass {
    /// Acknowledges this many bytes (and SYN, FIN) for the first time.
    New(u32),
    /// Equals SND.UNA.
    Current,
    /// Older than SND.UNA, but a peer may still have it in flight: ignore the number, not the text.
    Old,
    /// Older than anything a real peer sends: drop and challenge (RFC 5961 5.2).
    TooOld,
    /// Acknowledges what was never sent: drop and answer with an ACK.
    Unsent,
}

/// Classifies SEG.ACK.
#[must_use]
pub fn classify(snd: &SendVars, ack: SeqNum) -> AckClass {
    if ack.after(snd.snd_max) {
        AckClass::Unsent
    } else if ack.after(snd.snd_una) {
        AckClass::New(ack - snd.snd_una)
    } else if ack == snd.snd_una {
        AckClass::Current
    } else if snd.snd_una - ack <= snd.max_snd_wnd {
        AckClass::Old
    } else {
        AckClass::TooOld
    }
}

/// RFC 5681 2: outstanding data, no text, no SYN or FIN, the same number, the same window.
///
/// Ask before [`update_window`]. With SACK an ACK that reports new bytes counts too (RFC 6675 2); the
/// caller knows that from its scoreboard.
#[must_use]
pub fn is_duplicate(snd: &SendVars, seg: &Segment) -> bool {
    snd.flight_size() > 0
        && seg.is_empty()
        && seg.flags.has(Flags::ACK)
        && seg.ack == snd.snd_una
        && seg.wnd == snd.snd_wnd
}

/// Takes the window of a segment whose ACK is [`AckClass::New`] or [`AckClass::Current`].
///
/// RFC 9293 3.10.7.4 fifth: a window counts only if it is not older than the last one that did.
/// Returns true if the segment's window was taken (also when its value is the same).
pub fn update_window(snd: &mut SendVars, seg: &Segment) -> bool {
    let newer_text = snd.snd_wl1.before(seg.seq);
    let newer_ack = snd.snd_wl1 == seg.seq && snd.snd_wl2.at_or_before(seg.ack);
    if !newer_text && !newer_ack {
        return false;
    }
    snd.snd_wnd = seg.wnd;
    snd.max_snd_wnd = snd.max_snd_wnd.max(seg.wnd);
    snd.snd_wl1 = seg.seq;
    snd.snd_wl2 = seg.ack;
    true
}

/// Moves SND.UNA to `ack`; SND.NXT follows if it was left behind (an ACK while going back).
pub fn advance(snd: &mut SendVars, ack: SeqNum) {
    snd.snd_una = ack;
    snd.snd_nxt = snd.snd_nxt.later(ack);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn vars(una: u32, nxt: u32, max: u32) -> SendVars {
        SendVars {
            snd_una: SeqNum(una),
            snd_nxt: SeqNum(nxt),
            snd_max: SeqNum(max),
            snd_wnd: 1000,
            max_snd_wnd: 5000,
            snd_wl1: SeqNum(70),
            snd_wl2: SeqNum(una),
        }
    }

    #[test]
    fn what_has_no_text_lies_in_the_window() {
        let table = [(1900, 0, 1900), (2000, 0, 2000), (2001, 0, 2000), (2007, 3, 2007), (2008, 3, 2000)];
        for (max, shift, want) in table {
            assert_eq!(vars(1000, max, max).bare_seq(shift), SeqNum(want), "{max} {shift}");
        }
    }

    #[test]
    fn acknowledgments_are_classified_by_distance() {
        let snd = vars(0xFFFF_FF00, 0xFFFF_FF80, 0x100);
        let table = [
            ("unsent", 0x101, AckClass::Unsent),
            ("everything, beyond SND.NXT", 0x100, AckClass::New(0x200)),
            ("one byte", 0xFFFF_FF01, AckClass::New(1)),
            ("current", 0xFFFF_FF00, AckClass::Current),
            ("old", 0xFFFF_FEFF, AckClass::Old),
            ("oldest tolerated", 0xFFFF_FF00 - 5000, AckClass::Old),
            ("too old", 0xFFFF_FF00 - 5001, AckClass::TooOld),
        ];
        for (name, ack, want) in table {
            assert_eq!(classify(&snd, SeqNum(ack)), want, "{name}");
        }
    }

    #[test]
    fn duplicate_needs_all_five_conditions() {
        let snd = vars(100, 300, 300);
        let dup = Segment { seq: SeqNum(70), ack: SeqNum(100), wnd: 1000, flags: Flags::ACK, data_len: 0 };
        assert!(is_duplicate(&snd, &dup));
        assert!(!is_duplicate(&vars(100, 100, 100), &dup), "nothing outstanding");
        assert!(!is_duplicate(&snd, &Segment { data_len: 1, ..dup }), "text");
        assert!(!is_duplicate(&snd, &Segment { flags: dup.flags.with(Flags::FIN), ..dup }), "FIN");
        assert!(!is_duplicate(&snd, &Segment { ack: SeqNum(101), ..dup }), "new number");
        assert!(!is_duplicate(&snd, &Segment { wnd: 999, ..dup }), "window changed");
    }

    #[test]
    fn window_is_taken_only_from_segments_that_are_not_older() {
        let base = Segment { seq: SeqNum(70), ack: SeqNum(100), wnd: 7, flags: Flags::ACK, data_len: 0 };
        let table = [
            ("same segment numbers", base, true),
            ("older text", Segment { seq: SeqNum(69), ack: SeqNum(150), ..base }, false),
            ("newer text, same ACK", Segment { seq: SeqNum(71), ..base }, true),
            ("same text, older ACK", Segment { ack: SeqNum(99), ..base }, false),
        ];
        for (name, seg, want) in table {
            let mut snd = vars(100, 300, 300);
            assert_eq!(update_window(&mut snd, &seg), want, "{name}");
            assert_eq!(snd.snd_wnd, if want { 7 } else { 1000 }, "{name}");
            assert_eq!(snd.max_snd_wnd, 5000, "{name}");
        }
    }

    proptest! {
        #![proptest_config(crate::test_seed::config())]

        #[test]
        fn order_of_the_three_send_variables_is_kept(una: u32, a in 0u32..9000, b in 0u32..9000, k in 0u32..20000) {
            let mut snd = vars(una, una.wrapping_add(a), una.wrapping_add(a).wrapping_add(b));
            if let AckClass::New(n) = classify(&snd, SeqNum(una) + k) {
                prop_assert_eq!(n, k);
                advance(&mut snd, SeqNum(una) + k);
            } else {
                prop_assert!(k == 0 || k > a + b);
            }
            prop_assert!(snd.snd_una.at_or_before(snd.snd_nxt) && snd.snd_nxt.at_or_before(snd.snd_max));
        }
    }
}
