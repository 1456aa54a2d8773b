//! HyStart++ (RFC 9406): when the first slow start ends, as `chimney_host_stack_core::hystart`; there is why.
//!
//! Pure kernel functions, one for each clock of an acknowledgment that finds the window in use:
//!
//! ```text
//!   stage 3 gathered: the smallest round trip | 4 limits: what is long for this path | 5 judged
//! ```
//! What an acknowledgment says counts for the next one, so nothing of this stands in front of the window's adder.
use crate::prelude::*;

/// Bits of a round trip, milliseconds; all ones = none, and the longest that is told apart.
pub const RTT: usize = 12;
/// Bounds of the threshold, milliseconds (MIN_RTT_THRESH, MAX_RTT_THRESH).
const MIN_THRESH_MS: u64 = 4;
const MAX_THRESH_MS: u64 = 16;
/// Samples before they are judged (N_RTT_SAMPLE): a bit of their sum.
const SAMPLES_LOG2: usize = 3;
/// Bits of that sum.
const SUM: usize = SAMPLES_LOG2 + 1;
/// Rounds of conservative slow start (CSS_ROUNDS).
const CSS_ROUNDS: u64 = 5;
/// log2 of how much slower that is (CSS_GROWTH_DIVISOR).
const CSS_GROWTH_LOG2: u64 = 2;

/// State of one slow start, 23 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct HyStart {
    /// Smallest round trip, milliseconds.
    pub base: Bits<RTT>,
    /// Samples in a row that are more than a quarter longer.
    pub run: Bits<SAMPLES_LOG2>,
    /// Samples of this round; the top bit: they were judged.
    pub first: Bits<SUM>,
    /// All of these are long.
    pub is_long: Bit,
    /// Rounds left of conservative slow start; 0 = not in it.
    pub css_rounds: Bits<3>,
}

/// What an acknowledgment says.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Sample {
    /// The segment that was timed is acknowledged: a round is over.
    pub is_new_round: Bit,
    /// There is a round trip.
    pub has_rtt: Bit,
    /// It, milliseconds.
    pub rtt_ms: Bits<32>,
    /// It is of a timestamp; else it is the only one of its round.
    pub is_echo: Bit,
}

/// On the way from stage 3 to 5.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Judgement {
    /// The last round of conservative slow start is over.
    pub is_last: Bit,
    /// There is a sample.
    pub has_rtt: Bit,
    /// It, milliseconds.
    pub rtt: Bits<RTT>,
    /// How many samples it is; 8: the only one of its round.
    pub weight: Bits<SUM>,
    /// From here on it is long.
    pub long: Bits<13>,
    /// Beyond this the path is half full.
    pub half_full: Bits<13>,
}

/// A slow start begins.
#[kernel]
pub fn fresh() -> HyStart {
    HyStart { base: !bits::<RTT>(0), first: bits::<SUM>(1 << SAMPLES_LOG2), ..HyStart::default() }
}

/// Bytes that count for the window.
#[kernel]
pub fn paced(h: HyStart, acked: Bits<32>) -> Bits<32> {
    if h.css_rounds != 0 {
        acked >> bits::<2>(CSS_GROWTH_LOG2)
    } else {
        acked
    }
}

/// Stage 3: the state with the smallest round trip, and the sample. `is_more`: it acknowledges more than a segment, and counts twice.
#[kernel]
pub fn gathered(h: HyStart, s: Sample, is_more: bool) -> (HyStart, Judgement) {
    let is_large = s.rtt_ms.get_bits::<20>(RTT).any();
    let rtt = if is_large { !bits::<RTT>(0) } else { s.rtt_ms.get_bits::<RTT>(0) };
    let weight = if !s.is_echo {
        bits::<SUM>(1 << SAMPLES_LOG2)
    } else if is_more {
        bits::<SUM>(2)
    } else {
        bits::<SUM>(1)
    };
    let mut n = h;
    if s.has_rtt && rtt < h.base {
        n.base = rtt;
    }
    if s.is_new_round {
        n.first = bits::<SUM>(0);
        n.is_long = true;
        n.css_rounds = if h.css_rounds == 0 { h.css_rounds } else { h.css_rounds - 1 };
    }
    let is_last = s.is_new_round && h.css_rounds == 1;
    (n, Judgement { is_last, has_rtt: s.has_rtt, rtt, weight, ..Judgement::default() })
}

/// Stage 4: what is long, for the smallest round trip.
#[kernel]
pub fn limits(h: HyStart, j: Judgement) -> Judgement {
    let base = bit_cast::<13, RTT>(h.base);
    let (eighth, quarter) = (base >> bits::<2>(3), base >> bits::<2>(2));
    let least = bits::<13>(MIN_THRESH_MS);
    let long = if eighth < MIN_THRESH_MS {
        least
    } else if eighth > MAX_THRESH_MS {
        bits::<13>(MAX_THRESH_MS)
    } else {
        eighth
    };
    Judgement {
        long: base + long,
        half_full: base + if quarter < MIN_THRESH_MS { least } else { quarter },
        ..j
    }
}

/// Stage 5: the state afterwards, and whether slow start is over.
#[kernel]
pub fn judged(h: HyStart, j: Judgement) -> (HyStart, bool) {
    let rtt = bit_cast::<13, RTT>(j.rtt);
    let is_long = rtt >= j.long;
    let is_lone = j.weight.get_bit(SAMPLES_LOG2);
    let run = bit_cast::<SUM, SAMPLES_LOG2>(h.run) + j.weight;
    let first = h.first + j.weight;
    let runs = j.has_rtt && rtt > j.half_full && !is_lone;
    let counts = j.has_rtt && !h.first.get_bit(SAMPLES_LOG2);
    let is_due = counts && first.get_bit(SAMPLES_LOG2);
    let all_long = h.is_long && is_long;
    let mut n = h;
    if j.has_rtt {
        n.run = if runs { run.get_bits::<SAMPLES_LOG2>(0) } else { bits::<SAMPLES_LOG2>(0) };
    }
    if counts {
        n.first = first;
        n.is_long = all_long;
    }
    if is_due && !all_long {
        // It was a burst: slow start goes on.
        n.css_rounds = bits::<3>(0);
    } else if is_due && h.css_rounds == 0 {
        n.css_rounds = bits::<3>(CSS_ROUNDS);
    }
    (n, j.is_last || (runs && run.get_bit(SAMPLES_LOG2)))
}
