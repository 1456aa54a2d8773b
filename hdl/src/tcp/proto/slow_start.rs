//! The first slow start of a calm connection with SACK ends before the queue overflows (HyStart++, [`crate::tcp::hystart`]).
//!
//! ```text
//!   stage 2 echoed: a round trip | 3 sampled | 4 compared | 5 ended
//! ```
//! A guarded connection's slow start goes on as it was: from a loss on it has a threshold. The image has no fields for the state, so
//! whoever gets a connection in its first slow start begins with a round of its own.
use super::record::Work;
use super::rx::decides;
use super::step::Step;
use crate::prelude::*;
use crate::tcp::cwnd::PHASE_OPEN;
use crate::tcp::hystart::{gathered, judged, limits, paced, Sample};
use crate::types::RxSeg;

/// `MAX_CWND` is this bit: a threshold that large was never set.
const NO_THRESHOLD: usize = 30;

/// RFC 9406 4.3: the first slow start, the only one that does not know where to end.
#[kernel]
fn is_first(w: Work) -> bool {
    w.rc.phase == PHASE_OPEN
        && w.rc.cw.cwnd < w.rc.cw.ssthresh
        && w.rc.cw.ssthresh.get_bits::<2>(NO_THRESHOLD).any()
}

/// Stage 2, after the acknowledgment was taken: its round trip, of the timestamp that it echoes or of the segment that was timed.
#[kernel]
pub fn echoed(n: Step, seg: RxSeg, now_ms: Bits<32>) -> Step {
    let (w, ask) = (n.w, n.c.ask);
    let is_echo = w.fixed.flags.timestamps && seg.has_ts;
    let mut m = n;
    m.c.sample = Sample {
        is_new_round: ask.has_rtt,
        has_rtt: is_echo || ask.has_rtt,
        rtt_ms: if is_echo { now_ms + w.ts_offset - seg.ts_ecr } else { ask.rtt_us >> bits::<4>(10) },
        is_echo,
    };
    m
}

/// Stage 3: bytes that let the window of `w` grow.
#[kernel]
pub fn counting(w: Work, acked: Bits<32>) -> Bits<32> {
    if is_first(w) {
        paced(w.hystart, acked)
    } else {
        acked
    }
}

/// Stage 3: `s` before, `n` after recovery. A window that is not used says nothing (`cwnd::grow`).
#[kernel]
pub fn sampled(s: Step, n: Step, smss: Bits<32>) -> Step {
    let (c, cw) = (s.c, s.w.rc.cw);
    let is_used = (bit_cast::<33, 32>(c.flight) << bits::<1>(1)) >= bit_cast::<33, 32>(cw.cwnd);
    let mut m = n;
    if decides(s) && c.is_new_ack && is_used && is_first(s.w) {
        let (state, judgement) = gathered(s.w.hystart, c.sample, c.acked > smss);
        m.w.hystart = state;
        m.c.judgement = judgement;
    }
    m
}

/// Stage 4.
#[kernel]
pub fn compared(s: Step) -> Step {
    let mut n = s;
    n.c.judgement = limits(s.w.hystart, s.c.judgement);
    n
}

/// Stage 5: slow start is over at this window.
#[kernel]
pub fn ended(s: Step) -> Step {
    let (state, is_over) = judged(s.w.hystart, s.c.judgement);
    let mut n = s;
    n.w.hystart = state;
    if is_over {
        n.w.rc.cw.ssthresh = s.w.rc.cw.cwnd;
    }
    n
}
