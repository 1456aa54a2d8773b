//! May a segment be processed, and which part of it? (RFC 9293 3.10.7.4, RFC 5961.)
//!
//! Pure kernel functions; the same names and results as `chimney_host_stack_core::acceptable`.

use super::seq::{after, at_or_after, earlier, in_window, later};
use crate::prelude::*;

/// What to do with a segment before any of its contents is looked at.
#[derive(Clone, Copy, Debug, PartialEq, LogicState)]
pub enum Disposition {
    /// Process it; its text may still have to be trimmed.
    Accept,
    /// Forget it.
    DropSilently,
    /// Forget it and answer with an ordinary ACK.
    DropAndAck,
    /// Forget it and answer with a challenge ACK, which is limited in rate.
    ChallengeAck,
    /// An RST at exactly RCV.NXT: the connection is gone.
    Reset,
    /// A SYN at exactly RCV.NXT: upload in state CLOSED.
    SynAtRcvNxt,
}

/// The part of a segment's text that lies in the receive window.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Trimmed {
    /// Sequence number of the first byte kept.
    pub seq: Bits<32>,
    /// Bytes of text to skip at the front.
    pub skip: Bits<32>,
    /// One past the last byte kept.
    pub end: Bits<32>,
    /// The segment has a FIN and everything before it is kept or was received before.
    pub fin: Bit,
    /// Bytes beyond the window were cut off.
    pub cut: Bit,
}

/// Decides about a segment for a synchronised connection with window `[rcv_nxt, rcv_nxt + rcv_wnd)`.
/// `seg_len` counts text, SYN and FIN.
#[kernel]
pub fn check(
    seq: Bits<32>,
    seg_len: Bits<32>,
    is_rst: bool,
    is_syn: bool,
    rcv_nxt: Bits<32>,
    rcv_wnd: Bits<32>,
) -> Disposition {
    let exact = seq == rcv_nxt;
    let first_inside = in_window(seq, rcv_nxt, rcv_wnd);
    let last_inside = seg_len != 0 && in_window(seq + seg_len - 1, rcv_nxt, rcv_wnd);
    if is_rst {
        // R-228, RFC 5961 3.2: only an exact RST resets; one elsewhere in the window is challenged.
        if exact {
            Disposition::Reset
        } else if first_inside {
            Disposition::ChallengeAck
        } else {
            Disposition::DropSilently
        }
    } else if is_syn {
        // RFC 5961 4.2.
        if exact {
            Disposition::SynAtRcvNxt
        } else if first_inside {
            Disposition::ChallengeAck
        } else {
            Disposition::DropAndAck
        }
    } else if exact || first_inside || last_inside {
        // RFC 9293 3.4, four cases; at RCV.NXT also into a zero window, for its ACK and FIN.
        Disposition::Accept
    } else {
        Disposition::DropAndAck
    }
}

/// Cuts the text of an acceptable segment to the window (RFC 9293 3.10.7.4, seventh check).
/// A FIN directly at the right edge is kept: it needs no buffer.
#[kernel]
pub fn trim(seq: Bits<32>, data_len: Bits<32>, has_fin: bool, rcv_nxt: Bits<32>, edge: Bits<32>) -> Trimmed {
    let text_end = seq + data_len;
    let first = earlier(later(seq, rcv_nxt), text_end);
    let end = later(earlier(text_end, edge), first);
    let cut = after(text_end, end);
    Trimmed {
        seq: first,
        skip: first - seq,
        end,
        fin: has_fin && !cut && at_or_after(text_end, rcv_nxt),
        cut,
    }
}
