//! AXI-Stream watcher: a stalled beat is held; `tkeep` is contiguous from lane 0, full except on the last beat, never
//! empty; `tuser` only with `tlast`; frames have a sane length; nothing is valid in reset.

use thiserror::Error;

use super::Findings;
use crate::bfm::axis::{AxisBeat, MAX_FRAME_BYTES};

/// A broken rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AxisViolation {
    /// The beat changed, or valid fell, before ready came.
    #[error("beat not held until ready")]
    Unstable,
    /// Valid during reset.
    #[error("valid in reset")]
    ValidInReset,
    /// Holes in `tkeep`, no byte at all, or a partial beat in the middle of a frame.
    #[error("tkeep {keep:#04x} with tlast {last}")]
    Keep {
        /// `tkeep`.
        keep: u8,
        /// `tlast`.
        last: bool,
    },
    /// `tuser` in the middle of a frame.
    #[error("tuser without tlast")]
    UserWithoutLast,
    /// The frame does not end.
    #[error("frame longer than {MAX_FRAME_BYTES} bytes")]
    TooLong,
}

/// The watcher of one stream.
#[derive(Debug, Default)]
pub struct AxisChecker {
    cycle: u64,
    stalled: Option<AxisBeat>,
    frame_bytes: usize,
    findings: Findings<AxisViolation>,
}

impl AxisChecker {
    /// A new watcher.
    pub fn new() -> Self {
        Self::default()
    }

    /// What was found so far.
    pub fn findings(&self) -> &Findings<AxisViolation> {
        &self.findings
    }

    /// A frame has begun and not ended.
    pub fn is_mid_frame(&self) -> bool {
        self.frame_bytes != 0
    }

    /// One clock in reset.
    pub fn observe_reset(&mut self, beat: &AxisBeat) {
        self.cycle += 1;
        if beat.valid {
            self.findings.add(self.cycle, AxisViolation::ValidInReset);
        }
        self.stalled = None;
        self.frame_bytes = 0;
    }

    /// One clock: what both sides drove before the edge.
    #[inline]
    pub fn observe(&mut self, beat: &AxisBeat, ready: bool) {
        self.cycle += 1;
        if self.stalled.is_some_and(|held| held != *beat) {
            self.findings.add(self.cycle, AxisViolation::Unstable);
        }
        self.stalled = (beat.valid && !ready).then_some(*beat);
        if beat.valid && ready {
            self.accepted(beat);
        }
    }

    #[inline]
    fn accepted(&mut self, beat: &AxisBeat) {
        let is_contiguous = beat.keep & beat.keep.wrapping_add(1) == 0;
        if !is_contiguous || beat.keep == 0 || (beat.keep != 0xff && !beat.last) {
            self.findings.add(self.cycle, AxisViolation::Keep { keep: beat.keep, last: beat.last });
        }
        if beat.user && !beat.last {
            self.findings.add(self.cycle, AxisViolation::UserWithoutLast);
        }
        let before = self.frame_bytes;
        self.frame_bytes += beat.keep.count_ones() as usize;
        if before <= MAX_FRAME_BYTES && self.frame_bytes > MAX_FRAME_BYTES {
            self.findings.add(self.cycle, AxisViolation::TooLong);
        }
        if beat.last {
            self.frame_bytes = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEAT: AxisBeat = AxisBeat { valid: true, data: 7, keep: 0xff, last: false, user: false };

    /// A beat and `tready`.
    type Clock = (AxisBeat, bool);

    fn run(clocks: &[Clock]) -> Vec<AxisViolation> {
        let mut checker = AxisChecker::new();
        clocks.iter().for_each(|(beat, ready)| checker.observe(beat, *ready));
        checker.findings().kept().iter().map(|f| f.violation).collect()
    }

    #[test]
    fn every_rule_is_seen_broken() {
        let keep = |keep, last| AxisViolation::Keep { keep, last };
        let idle = AxisBeat::default();
        let table: &[(&[Clock], &[AxisViolation])] = &[
            (&[(BEAT, false), (BEAT, true), (AxisBeat { keep: 1, last: true, ..BEAT }, true)], &[]),
            (&[(BEAT, false), (AxisBeat { data: 8, ..BEAT }, true)], &[AxisViolation::Unstable]),
            (&[(BEAT, false), (idle, true)], &[AxisViolation::Unstable]),
            (&[(AxisBeat { keep: 0x7f, ..BEAT }, true)], &[keep(0x7f, false)]),
            (&[(AxisBeat { keep: 0x05, last: true, ..BEAT }, true)], &[keep(0x05, true)]),
            (&[(AxisBeat { keep: 0, last: true, ..BEAT }, true)], &[keep(0, true)]),
            (&[(AxisBeat { user: true, ..BEAT }, true)], &[AxisViolation::UserWithoutLast]),
        ];
        for (clocks, expected) in table {
            assert_eq!(run(clocks), *expected, "{clocks:?}");
        }
    }

    #[test]
    fn an_endless_frame_is_reported_once() {
        assert_eq!(run(&vec![(BEAT, true); 10_000]), [AxisViolation::TooLong]);
    }

    #[test]
    fn valid_in_reset_is_seen() {
        let mut checker = AxisChecker::new();
        checker.observe_reset(&BEAT);
        assert_eq!(checker.findings().count(), 1);
    }
}
