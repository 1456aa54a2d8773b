//! May a segment be processed, and which part of it?
//!
//! First, second and fourth check of RFC 9293 3.10.7.4 for the synchronised states, with the
//! blind-attack rules of RFC 5961. What is left to the caller: TIME-WAIT's own rules for SYN, and the
//! limits on how often a challenge ACK may be sent.

use crate::ranges::SeqRange;
use crate::segment::{Flags, Segment};
use chimney_abi::SeqNum;

/// What to do with a segment before any of its contents is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// Process it; its text may still have to be trimmed with [`trim`].
    Accept,
    /// Forget it.
    DropSilently,
    /// Forget it and answer with an ordinary ACK.
    DropAndAck,
    /// Forget it and answer with a challenge ACK, which is limited in rate.
    ChallengeAck,
    /// An RST at exactly RCV.NXT: the connection is gone.
    Reset,
    /// A SYN at exactly RCV.NXT. The host treats it as [`Disposition::ChallengeAck`] (RFC 5961 4.2);
    /// a target asks for upload in state CLOSED.
    SynAtRcvNxt,
}

/// Decides about a segment for a synchronised connection with window `[rcv_nxt, rcv_nxt + rcv_wnd)`.
#[must_use]
pub fn check(seg: &Segment, rcv_nxt: SeqNum, rcv_wnd: u32) -> Disposition {
    if seg.flags.has(Flags::RST) {
        return check_rst(seg.seq, rcv_nxt, rcv_wnd);
    }
    if seg.flags.has(Flags::SYN) {
        return check_syn(seg.seq, rcv_nxt, rcv_wnd);
    }
    if in_sequence_space(seg, rcv_nxt, rcv_wnd) {
        Disposition::Accept
    } else {
        // RFC 9293 3.10.7.4 first: an unacceptable segment is answered with an ACK.
        Disposition::DropAndAck
    }
}

/// R-228, RFC 5961 3.2: only an exact RST resets; one elsewhere in the window is challenged.
fn check_rst(seq: SeqNum, rcv_nxt: SeqNum, rcv_wnd: u32) -> Disposition {
    if seq == rcv_nxt {
        Disposition::Reset
    } else if seq.in_window(rcv_nxt, rcv_wnd) {
        Disposition::ChallengeAck
    } else {
        Disposition::DropSilently
    }
}

/// RFC 5961 4.2.
fn check_syn(seq: SeqNum, rcv_nxt: SeqNum, rcv_wnd: u32) -> Disposition {
    if seq == rcv_nxt {
        Disposition::SynAtRcvNxt
    } else if seq.in_window(rcv_nxt, rcv_wnd) {
        Disposition::ChallengeAck
    } else {
        Disposition::DropAndAck
    }
}

/// The four-case table of RFC 9293 3.4, with its special allowance for a zero window: a segment at
/// RCV.NXT is processed for its ACK (and FIN) while [`trim`] leaves none of its text.
fn in_sequence_space(seg: &Segment, rcv_nxt: SeqNum, rcv_wnd: u32) -> bool {
    if seg.seq == rcv_nxt {
        return true;
    }
    if seg.is_empty() {
        return seg.seq.in_window(rcv_nxt, rcv_wnd);
    }
    let last = seg.end() - 1;
    seg.seq.in_window(rcv_nxt, rcv_wnd) || last.in_window(rcv_nxt, rcv_wnd)
}

/// The part of a segment's text that lies in the receive window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trimmed {
    /// Sequence number of the first byte kept.
    pub seq: SeqNum,
    /// Bytes of text to skip at the front.
    pub skip: u32,
    /// Bytes of text to keep after them.
    pub keep: u32,
    /// True if the segment has a FIN and everything before it is kept or was received before.
    pub fin: bool,
    /// True if bytes beyond the window were cut off.
    pub cut: bool,
}

/// Cuts the text of an acceptable segment to the window (RFC 9293 3.10.7.4, seventh check).
///
/// A FIN directly at the right edge is kept: it needs no buffer, and a peer with nothing else to say
/// must be able to close into a full window.
#[must_use]
pub fn trim(seg: &Segment, rcv_nxt: SeqNum, rcv_wnd: u32) -> Trimmed {
    let edge = rcv_nxt + rcv_wnd;
    let text_end = seg.seq + seg.data_len;
    let first = seg.seq.later(rcv_nxt).earlier(text_end);
    let end = text_end.earlier(edge).later(first);
    let cut = text_end.after(end);
    let fin_is_new = text_end.at_or_after(rcv_nxt);
    Trimmed {
        seq: first,
        skip: first - seg.seq,
        keep: end - first,
        fin: seg.flags.has(Flags::FIN) && !cut && fin_is_new,
        cut,
    }
}

/// The text of a segment, if all of it had arrived before: what the acknowledgment of such a segment tells the peer first (RFC 2883 4).
#[must_use]
pub fn came_before(seg: &Segment, rcv_nxt: SeqNum) -> Option<SeqRange> {
    let text = SeqRange::new(seg.seq, seg.data_len);
    (!text.is_empty() && rcv_nxt.at_or_after(text.end)).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seg(seq: u32, data_len: u32, flags: Flags) -> Segment {
        Segment { seq: SeqNum(seq), data_len, flags: Flags::ACK.with(flags), ..Segment::default() }
    }

    /// Verifies
    #[test]
    fn special_segments_get_the_disposition_of_rfc_5961() {
        use Disposition::*;
        let nxt = 0xFFFF_FFF0u32;
        let table = [
            ("exact RST", Flags::RST, nxt, Reset),
            ("RST in window", Flags::RST, nxt.wrapping_add(99), ChallengeAck),
            ("RST at the right edge", Flags::RST, nxt.wrapping_add(100), DropSilently),
            ("RST left of the window", Flags::RST, nxt - 1, DropSilently),
            ("exact SYN", Flags::SYN, nxt, SynAtRcvNxt),
            ("SYN in window", Flags::SYN, nxt.wrapping_add(5), ChallengeAck),
            ("old SYN", Flags::SYN, nxt - 1, DropAndAck),
        ];
        for (name, flags, seq, want) in table {
            assert_eq!(check(&seg(seq, 0, flags), SeqNum(nxt), 100), want, "{name}");
        }
        assert_eq!(check(&seg(nxt, 0, Flags::RST), SeqNum(nxt), 0), Reset, "exact RST, zero window");
    }

    #[test]
    fn acceptability_follows_the_table_of_rfc_9293() {
        use Disposition::*;
        let table = [
            ("empty, zero window, exact", 100, 0, 0, Accept),
            ("empty, zero window, old", 99, 0, 0, DropAndAck),
            ("empty, in window", 109, 0, 10, Accept),
            ("empty, at right edge", 110, 0, 10, DropAndAck),
            ("keepalive probe", 99, 0, 10, DropAndAck),
            ("text, zero window, exact", 100, 5, 0, Accept),
            ("text, zero window, old", 99, 1, 0, DropAndAck),
            ("text, starts in window", 109, 50, 10, Accept),
            ("text, ends in window", 90, 11, 10, Accept),
            ("text, all old", 90, 10, 10, DropAndAck),
            ("text, beyond", 110, 1, 10, DropAndAck),
        ];
        for (name, seq, len, wnd, want) in table {
            assert_eq!(check(&seg(seq, len, Flags::NONE), SeqNum(100), wnd), want, "{name}");
        }
    }

    #[test]
    fn trimming_keeps_what_is_new_and_fits() {
        let table = [
            ("exact fit", 100, 10, 10, (0, 10, true, false)),
            ("old front", 95, 10, 10, (5, 5, true, false)),
            ("too long", 105, 10, 10, (0, 5, false, true)),
            ("zero window", 100, 10, 0, (0, 0, false, true)),
            ("bare FIN into a zero window", 100, 0, 0, (0, 0, true, false)),
            ("all old, FIN at RCV.NXT", 90, 10, 10, (10, 0, true, false)),
            ("all old, FIN old too", 89, 10, 10, (10, 0, false, false)),
        ];
        for (name, seq, len, wnd, want) in table {
            let t = trim(&seg(seq, len, Flags::FIN), SeqNum(100), wnd);
            assert_eq!((t.skip, t.keep, t.fin, t.cut), want, "{name}");
        }
    }

    proptest! {
        #![proptest_config(crate::test_seed::config())]

        #[test]
        fn what_is_kept_lies_in_the_window(
            nxt: u32, shift in -3000i32..3000, len in 0u32..3000, wnd in 0u32..3000, fin: bool,
        ) {
            let flags = if fin { Flags::FIN } else { Flags::NONE };
            // `as`: a negative shift moves left by wrapping.
            let s = seg(nxt.wrapping_add(shift as u32), len, flags);
            let t = trim(&s, SeqNum(nxt), wnd);
            prop_assert!(t.skip + t.keep <= len);
            prop_assert_eq!(t.seq, s.seq + t.skip);
            for i in 0..len {
                let kept = i >= t.skip && i < t.skip + t.keep;
                prop_assert_eq!(kept, (s.seq + i).in_window(SeqNum(nxt), wnd));
            }
        }
    }
}
