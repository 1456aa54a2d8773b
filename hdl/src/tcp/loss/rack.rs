//! RACK: loss detection by time (RFC 8985 6), as `chimney_host_stack_core::rack`; times modulo 2^24 us.
//!
//! The log of send bursts is kept newest first: so a new burst shifts it by one, the newest is always the same entry, and
//! SND.UNA shortens it without moving anything.
//!
//! | in PROTO, for every segment: [`SendLog`] | in the unit, one after the other: [`Rack`] |
//! |---|---|
//! | [`spacing`] in one clock, [`on_send`] in the next; [`advance`] | [`first`]; [`on_rtt`], [`on_delivered`], [`on_dsack`], [`on_recovered`], [`reo_base`] and [`reo_wnd`], [`find`], [`latest`], [`judge`] |
//!
//! RFC 8985 6.1 wants the times of every acknowledgment. Here the unit does not see those of a connection that loses nothing: what it
//! knows of round trips begins anew with the first event after that ([`first`]), and until one is measured the smoothed one
//! counts as the smallest. So the reordering window is a little longer, never shorter.

use crate::prelude::*;
use crate::tcp::seq::{after, at_or_before, before, later};

/// Bits of a [`Rack`].
pub const RACK: usize = 4 * 24 + 2 + 4 + 5 + 33;
/// Bits of a [`SendLog`].
pub const SEND_LOG: usize = 4 * 56 + 32 + 3 + 1;
/// Recoveries after which a widened reordering window shrinks again (RFC 8985 6.2 step 4).
const PERSIST: u64 = 16;
/// Largest multiple of min_RTT / 4, minus 1.
const MOST_EXTRA: u64 = 15;
/// Shortest burst that gets an entry of its own, before there is an RTT.
pub const FIRST_SPACING_US: u64 = 1000;
/// Round trip before there is one.
pub const FIRST_RTT_US: u64 = 1_000_000;

/// One burst of first transmissions: everything from the end of the one before.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Burst {
    /// One past the last byte.
    pub end: Bits<32>,
    /// When its first byte was sent.
    pub start_us: Bits<24>,
}

/// When the bytes in flight were first sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct SendLog {
    /// The newest burst.
    pub b0: Burst,
    /// The one before.
    pub b1: Burst,
    /// The one before that.
    pub b2: Burst,
    /// The oldest that is kept.
    pub b3: Burst,
    /// Nothing is known of bytes below.
    pub floor: Bits<32>,
    /// Bursts known.
    pub len: Bits<3>,
    /// The next byte begins a new burst: something was sent again in between.
    pub is_split: Bit,
}

/// State of RACK.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Rack {
    /// Send time of the segment delivered last, of those sent last (`RACK.xmit_ts`).
    pub xmit_us: Bits<24>,
    /// Its round trip (`RACK.rtt`); 0 = none yet.
    pub rtt_us: Bits<24>,
    /// Smallest round trip of this window of 2^24 us; 0 = none.
    pub min_us: Bits<24>,
    /// That of the window before.
    pub old_min_us: Bits<24>,
    /// Bit 24 of the clock when this window began.
    pub is_odd: Bit,
    /// A segment below the highest delivered one arrived without retransmission.
    pub is_reordering_seen: Bit,
    /// `RACK.reo_wnd_mult` minus 1.
    pub extra: Bits<4>,
    /// Recoveries until it shrinks.
    pub persist: Bits<5>,
    /// A DSACK was counted in the round that ends at `round`.
    pub has_round: Bit,
    /// See there.
    pub round: Bits<32>,
}

/// An empty log; bytes from `max` on will be known.
#[kernel]
pub fn new_log(max: Bits<32>) -> SendLog {
    SendLog { floor: max, ..SendLog::default() }
}

/// The first event after a time without any: what was learnt of the path stays, times are old. A round counts as long as its
/// end is in flight: `flight` bytes from `una` on.
#[kernel]
pub fn first(r: Rack, una: Bits<32>, flight: Bits<32>) -> Rack {
    Rack {
        is_reordering_seen: r.is_reordering_seen,
        extra: r.extra,
        persist: r.persist,
        has_round: r.has_round && (r.round - una) <= flight,
        round: r.round,
        ..Rack::default()
    }
}

/// A time, or a round trip, as far as 24 bits hold it.
#[kernel]
pub fn limit(us: Bits<32>) -> Bits<24> {
    if us.get_bits::<8>(24).any() {
        !bits::<24>(0)
    } else {
        us.get_bits::<24>(0)
    }
}

/// Longest burst of the log: a quarter of the RTT, so that four hold what is in flight.
#[kernel]
pub fn spacing(srtt: Bits<24>) -> Bits<24> {
    let quarter = srtt >> bits::<2>(2);
    if quarter < FIRST_SPACING_US {
        bits::<24>(FIRST_SPACING_US)
    } else {
        quarter
    }
}

/// Bytes up to `end` were sent for the first time now.
#[kernel]
pub fn on_send(l: SendLog, end: Bits<32>, now: Bits<24>, spacing: Bits<24>) -> SendLog {
    let extends = l.len > 0 && !l.is_split && (now - l.b0.start_us) < spacing;
    let is_full = l.len == 4;
    SendLog {
        b0: Burst { end, start_us: if extends { l.b0.start_us } else { now } },
        b1: if extends { l.b1 } else { l.b0 },
        b2: if extends { l.b2 } else { l.b1 },
        b3: if extends { l.b3 } else { l.b2 },
        floor: if !extends && is_full { l.b3.end } else { l.floor },
        len: if extends || is_full { l.len } else { l.len + 1 },
        is_split: false,
    }
}

/// SND.UNA moved. The newest burst stays: it is extended, and only its end counts.
#[kernel]
pub fn advance(l: SendLog, una: Bits<32>) -> SendLog {
    let len = if l.len > 3 && after(l.b3.end, una) {
        bits::<3>(4)
    } else if l.len > 2 && after(l.b2.end, una) {
        bits::<3>(3)
    } else if l.len > 1 && after(l.b1.end, una) {
        bits::<3>(2)
    } else if l.len > 0 {
        bits::<3>(1)
    } else {
        bits::<3>(0)
    };
    SendLog { floor: later(l.floor, una), len, ..l }
}

/// The burst of a byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Found {
    /// It was sent in this burst or before; not set: never, or it is forgotten.
    pub is_known: Bit,
    /// It lies below everything that is known for certain.
    pub is_below: Bit,
    /// When the burst began.
    pub start_us: Bits<24>,
    /// There is a later one.
    pub has_next: Bit,
    /// When that began.
    pub next_us: Bits<24>,
}

/// When the byte before `end` was sent: not before `start_us`, if it is known and not below.
#[kernel]
pub fn find(l: SendLog, end: Bits<32>) -> Found {
    let h0 = l.len > 0 && at_or_before(end, l.b0.end);
    let h1 = l.len > 1 && at_or_before(end, l.b1.end);
    let h2 = l.len > 2 && at_or_before(end, l.b2.end);
    let h3 = l.len > 3 && at_or_before(end, l.b3.end);
    let none = Found { is_below: at_or_before(end, l.floor), ..Found::default() };
    if h3 {
        Found { is_known: true, start_us: l.b3.start_us, has_next: true, next_us: l.b2.start_us, ..none }
    } else if h2 {
        Found { is_known: true, start_us: l.b2.start_us, has_next: true, next_us: l.b1.start_us, ..none }
    } else if h1 {
        Found { is_known: true, start_us: l.b1.start_us, has_next: true, next_us: l.b0.start_us, ..none }
    } else {
        Found { is_known: h0, start_us: l.b0.start_us, ..none }
    }
}

/// When it was sent, at the latest; now, if that is not known.
#[kernel]
pub fn latest(f: Found, spacing: Bits<24>, now: Bits<24>) -> Bits<24> {
    let by_spacing = f.start_us + spacing;
    // One chain with the sum: is the end by spacing later than the next burst?
    let is_later = !(f.start_us + spacing - f.next_us).get_bit(23);
    if !f.is_known {
        now
    } else if f.has_next && is_later {
        f.next_us
    } else {
        by_spacing
    }
}

/// Smallest recent round trip; 0 = none yet.
#[kernel]
pub fn min_rtt(r: Rack) -> Bits<24> {
    if r.min_us == 0 || (r.old_min_us != 0 && r.old_min_us < r.min_us) {
        r.old_min_us
    } else {
        r.min_us
    }
}

/// A round trip was measured on a segment that was not sent again. `is_odd`: bit 24 of the clock.
#[kernel]
pub fn on_rtt(r: Rack, rtt: Bits<24>, is_odd: bool) -> Rack {
    let turns = is_odd != r.is_odd;
    let one = bits::<24>(1);
    let sample = if rtt == 0 { one } else { rtt };
    let keeps = !turns && r.min_us != 0 && r.min_us < sample;
    Rack {
        min_us: if keeps { r.min_us } else { sample },
        old_min_us: if turns { r.min_us } else { r.old_min_us },
        is_odd,
        ..r
    }
}

/// RFC 8985 6.2 step 2: a segment that was sent at `sent` is delivered. `min`: [`min_rtt`].
#[kernel]
pub fn on_delivered(r: Rack, sent: Bits<24>, is_resent: bool, min: Bits<24>, now: Bits<24>) -> Rack {
    let rtt = now - sent;
    // Too fast: it was the first transmission that arrived.
    let counts = !(is_resent && rtt < min) && (r.rtt_us == 0 || rtt <= (now - r.xmit_us));
    let one = bits::<24>(1);
    let rounded = if rtt == 0 { one } else { rtt };
    Rack {
        xmit_us: if counts { sent } else { r.xmit_us },
        rtt_us: if counts { rounded } else { r.rtt_us },
        ..r
    }
}

/// RFC 8985 6.2 step 4, its DSACK part: once per round trip the window grows.
#[kernel]
pub fn on_dsack(r: Rack, una: Bits<32>, max: Bits<32>) -> Rack {
    if r.has_round && before(una, r.round) {
        r
    } else {
        Rack {
            extra: if r.extra == MOST_EXTRA { r.extra } else { r.extra + 1 },
            persist: bits::<5>(PERSIST),
            has_round: true,
            round: max,
            ..r
        }
    }
}

/// A recovery is over.
#[kernel]
pub fn on_recovered(r: Rack) -> Rack {
    let left = if r.persist == 0 { r.persist } else { r.persist - 1 };
    Rack { persist: left, extra: if left == 0 { bits::<4>(0) } else { r.extra }, ..r }
}

/// First clock of the reordering window: the product. `min`: [`min_rtt`], or the smoothed one, or a second.
#[kernel]
pub fn reo_base(min: Bits<24>, extra: Bits<4>) -> Bits<27> {
    mul::<27, _, _>(min.get_bits::<22>(2), bit_cast::<5, 4>(extra) + 1)
}

/// What counts as the smoothed round trip.
#[kernel]
pub fn known(us: Bits<24>, other: Bits<24>) -> Bits<24> {
    if us == 0 {
        other
    } else {
        us
    }
}

/// The smoothed round trip before there is one.
#[kernel]
pub fn first_rtt() -> Bits<24> {
    bits::<24>(FIRST_RTT_US)
}

/// Second clock of the reordering window, `srtt` is not 0. `is_urgent`: in recovery, or DupThresh is reached.
#[kernel]
pub fn reo_wnd(base: Bits<27>, srtt: Bits<24>, is_reordering_seen: bool, is_urgent: bool) -> Bits<24> {
    if !is_reordering_seen && is_urgent {
        bits::<24>(0)
    } else if base < bit_cast::<27, 24>(srtt) {
        bit_cast::<24, 27>(base)
    } else {
        srtt
    }
}

/// Is something lost?
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Verdict {
    /// It is.
    pub is_lost: Bit,
    /// It will be.
    pub waits: Bit,
    /// After so many microseconds.
    pub wait_us: Bits<26>,
}

/// Is a hole lost whose bytes were sent at `sent`, once or again? `patience` = round trip + reordering window, `has_wnd`:
/// that is not 0. A hole that was sent once has something above it that was delivered and was sent later.
#[kernel]
pub fn judge(
    r: Rack,
    sent: Bits<24>,
    is_resent: bool,
    patience: Bits<25>,
    has_wnd: bool,
    now: Bits<24>,
) -> Verdict {
    let age = now - sent;
    let is_told = !is_resent || r.rtt_us != 0 && age > (now - r.xmit_us);
    // The end of a burst may still come: then the age is a small negative number.
    let is_ahead = !is_resent && age.get_bit(23);
    let ahead = cat::<2, _>((is_ahead, is_ahead));
    let left = bit_cast::<26, 25>(patience) - cat::<26, _>((ahead, age));
    let is_over = !is_ahead && bit_cast::<25, 24>(age) >= patience;
    let is_lost = is_told && (!has_wnd || is_over);
    Verdict { is_lost, waits: is_told && !is_lost, wait_us: left }
}
