//! What an acknowledgment means, and the send window (RFC 9293 3.10.7.4 fifth, RFC 5961 5.2, RFC 5681 2).
//!
//! Pure kernel functions; the same names and results as `chimney_host_stack_core::ack`.

use super::seq::{after, at_or_before, before, max32};
use super::window::SHIFT;
use crate::prelude::*;

/// The send sequence variables. `snd_una <= snd_max`. SND.NXT is SND.MAX: what is to be sent again is the loss unit's word (`loss`), and goes back only
/// in an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct SendVars {
    /// Oldest unacknowledged byte.
    pub una: Bits<32>,
    /// One past the highest byte sent.
    pub max: Bits<32>,
    /// The peer's window in bytes.
    pub wnd: Bits<32>,
    /// Largest window the peer ever offered, bytes.
    pub max_wnd: Bits<32>,
    /// SEG.SEQ of the last window update.
    pub wl1: Bits<32>,
    /// SEG.ACK of the last window update.
    pub wl2: Bits<32>,
}

/// How SEG.ACK lies to what was sent.
#[derive(Clone, Copy, Debug, PartialEq, LogicState)]
pub enum AckClass {
    /// Acknowledges something for the first time.
    New,
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
#[kernel]
pub fn classify(snd: SendVars, ack: Bits<32>) -> AckClass {
    if after(ack, snd.max) {
        AckClass::Unsent
    } else if after(ack, snd.una) {
        AckClass::New
    } else if ack == snd.una {
        AckClass::Current
    } else if (snd.una - ack) <= snd.max_wnd {
        AckClass::Old
    } else {
        AckClass::TooOld
    }
}

/// RFC 5681 2: outstanding data, no text, no SYN or FIN (`seg_len` = 0), the same number, the same window.
/// Ask before [`update_window`].
#[kernel]
pub fn is_duplicate(snd: SendVars, seg_len: Bits<32>, ack: Bits<32>, wnd: Bits<32>) -> bool {
    snd.max != snd.una && seg_len == 0 && ack == snd.una && wnd == snd.wnd
}

/// Takes the window of a segment whose ACK is `New` or `Current`, if it is not older than the last taken.
#[kernel]
pub fn update_window(snd: SendVars, seq: Bits<32>, ack: Bits<32>, wnd: Bits<32>) -> SendVars {
    let newer_text = before(snd.wl1, seq);
    let newer_ack = snd.wl1 == seq && at_or_before(snd.wl2, ack);
    let mut r = snd;
    if newer_text || newer_ack {
        r.wnd = wnd;
        r.max_wnd = max32(snd.max_wnd, wnd);
        r.wl1 = seq;
        r.wl2 = ack;
    }
    r
}

/// Moves SND.UNA to `ack`.
#[kernel]
pub fn advance(snd: SendVars, ack: Bits<32>) -> SendVars {
    let mut r = snd;
    r.una = ack;
    r
}

/// SEG.SEQ of a segment without text: SND.MAX, but never right of a window that shrank below what was sent: the peer would drop it, its
/// acknowledgment too (a Linux of 6.17 and later does). `shift`: the peer's; less than its unit is rounding.
#[kernel]
pub fn bare_seq(snd: SendVars, shift: Bits<SHIFT>) -> Bits<32> {
    let edge = snd.una + snd.wnd;
    let beyond = (snd.max - edge) >> shift;
    if after(snd.max, edge) && beyond.any() {
        edge
    } else {
        snd.max
    }
}
