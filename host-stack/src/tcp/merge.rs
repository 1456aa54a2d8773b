//! Segments that go out together become one large segment, for a device that divides it again.
//!
//! TCP decides segment by segment, as ever; what it wants sent at one time is put together afterwards. A device that repeats the
//! headers and advances the sequence number makes the same segments of it. So a run ends where the next segment says something
//! else, and behind one that is not full or has PSH or FIN; CWR may be in its first segment only.

use crate::wire::tcp::OutSegment;
use chimney_abi::wire::{ethernet, ipv6, tcp};
use chimney_host_stack_core::segment::Flags;

/// Bytes that all headers of a large frame have at most.
const MAX_HEADERS: usize =
    ethernet::HEADER_LEN + ethernet::VLAN_TAG_LEN + ipv6::HEADER_LEN + tcp::HEADER_LEN + tcp::MAX_OPTIONS_LEN;
/// Flags of a segment that stays alone.
const ALONE: Flags = Flags::SYN.with(Flags::RST).with(Flags::URG);
/// Flags that end a run.
const LAST: Flags = Flags::FIN.with(Flags::PSH);

/// What one connection sends at one time.
#[derive(Debug)]
pub struct Merger {
    max_text: usize,
    run: Option<OutSegment>,
}

/// `flags` without `less`.
fn without(flags: Flags, less: Flags) -> Flags {
    Flags(flags.0 & !less.0)
}

/// Has any of them.
fn has_any(flags: Flags, some: Flags) -> bool {
    flags.0 & some.0 != 0
}

impl Merger {
    /// For a device that takes frames of `max_frame` bytes; 0 = it takes no large ones.
    #[must_use]
    pub fn new(max_frame: usize) -> Merger {
        Merger { max_text: max_frame.saturating_sub(MAX_HEADERS), run: None }
    }

    /// Takes the next segment; returns what cannot grow any more.
    pub fn push(&mut self, next: OutSegment) -> Option<OutSegment> {
        let Some(run) = &mut self.run else {
            self.run = Some(next);
            return None;
        };
        if !continues(run, &next, self.max_text) {
            return self.run.replace(next);
        }
        if run.mss == 0 {
            // `as`: a segment is shorter than 64 KiB.
            run.mss = run.text.len() as u16;
        }
        run.text.extend_from_slice(&next.text);
        run.flags = run.flags.with(next.flags);
        None
    }

    /// What is left.
    #[must_use]
    pub fn finish(self) -> Option<OutSegment> {
        self.run
    }
}

/// `next` can be the end of the large segment `run`.
fn continues(run: &OutSegment, next: &OutSegment, max_text: usize) -> bool {
    let (have, more) = (run.text.len(), next.text.len());
    let mss = if run.mss == 0 { have } else { usize::from(run.mss) };
    let is_full = have > 0 && have % mss == 0;
    // `as`: bounded by `max_text`.
    let follows = next.seq == run.seq + have as u32 && (1..=mss).contains(&more) && have + more <= max_text;
    let is_same =
        (run.ack, run.window, run.ecn, run.options) == (next.ack, next.window, next.ecn, next.options);
    is_full
        && follows
        && is_same
        && !has_any(run.flags, LAST.with(ALONE))
        && !has_any(next.flags, Flags::CWR.with(ALONE))
        && without(run.flags, Flags::CWR) == without(next.flags, LAST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chimney_abi::SeqNum;

    const MSS: usize = 1000;

    fn segment(at: usize, len: usize, flags: Flags) -> OutSegment {
        let seq = SeqNum(u32::MAX - 1500) + at as u32;
        OutSegment { seq, flags: flags.with(Flags::ACK), text: vec![at as u8; len], ..OutSegment::default() }
    }

    /// What becomes of segments: bytes of text, MSS, flags.
    fn merged(max_frame: usize, segments: Vec<OutSegment>) -> Vec<(usize, u16, Flags)> {
        let mut merger = Merger::new(max_frame);
        let mut out: Vec<OutSegment> = segments.into_iter().filter_map(|s| merger.push(s)).collect();
        out.extend(merger.finish());
        out.iter().map(|s| (s.text.len(), s.mss, s.flags)).collect()
    }

    /// Verifies: R-006
    #[test]
    fn full_segments_become_one_and_the_last_may_be_short_and_pushed() {
        let segments = vec![
            segment(0, MSS, Flags::CWR),
            segment(MSS, MSS, Flags::NONE),
            segment(2 * MSS, 7, Flags::PSH.with(Flags::FIN)),
        ];
        let flags = Flags::ACK.with(Flags::CWR).with(Flags::PSH).with(Flags::FIN);
        assert_eq!(merged(65_535, segments.clone()), [(2007, 1000, flags)]);
        assert_eq!(merged(0, segments).len(), 3, "nobody divides them");
    }

    #[test]
    fn a_run_ends_where_something_else_is_said() {
        let (first, next) = (segment(0, MSS, Flags::NONE), segment(MSS, MSS, Flags::NONE));
        let alone = |run: &OutSegment, next: OutSegment| merged(65_535, vec![run.clone(), next]).len() == 2;
        assert!(!alone(&first, next.clone()));
        assert!(alone(&first, OutSegment { ack: SeqNum(1), ..next.clone() }));
        assert!(alone(&first, OutSegment { window: 1, ..next.clone() }));
        assert!(alone(&first, OutSegment { ecn: 2, ..next.clone() }), "new text is marked, old text is not");
        assert!(alone(&first, segment(MSS + 1, MSS, Flags::NONE)), "a hole");
        assert!(alone(&first, segment(MSS, MSS + 1, Flags::NONE)), "longer than the first");
        assert!(alone(&first, segment(MSS, 0, Flags::NONE)), "no text");
        assert!(alone(&first, segment(MSS, MSS, Flags::CWR)), "CWR goes with a first segment");
        assert!(alone(&first, segment(MSS, MSS, Flags::ECE)));
        assert!(alone(&segment(0, MSS, Flags::PSH), next.clone()));
        assert!(alone(&segment(0, MSS, Flags::RST), next));
        assert!(alone(&segment(0, 0, Flags::NONE), segment(0, MSS, Flags::NONE)));
        let short = vec![first, segment(MSS, 7, Flags::NONE), segment(MSS + 7, MSS, Flags::NONE)];
        assert_eq!(merged(65_535, short).iter().map(|s| s.0).collect::<Vec<_>>(), [1007, 1000]);
    }

    #[test]
    fn a_large_frame_is_not_longer_than_the_device_takes() {
        let segments = (0..100).map(|i| segment(i * MSS, MSS, Flags::NONE)).collect();
        let lengths: Vec<usize> = merged(10_000, segments).iter().map(|s| s.0).collect();
        assert_eq!(lengths.iter().sum::<usize>(), 100 * MSS);
        assert!(lengths.iter().all(|len| *len == 9 * MSS || *len == MSS), "{lengths:?}");
    }
}
