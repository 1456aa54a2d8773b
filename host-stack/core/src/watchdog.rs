//! What a connection did in a period, and whether its offload still pays: see [`chimney_abi::watch`].

use chimney_abi::cmd::UploadReason;
use chimney_abi::watch::WatchLimits;

/// The sample. All counts saturate at 255.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// RCV.NXT or SND.UNA moved.
    pub progress: u8,
    /// Segments with text taken.
    pub text: u8,
    /// Of these, out of order.
    pub out_of_order: u8,
    /// Of these, forwarded by the host.
    pub forwarded: u8,
    /// Of these, begun in a page of the pool though in order.
    pub pooled: u8,
    /// Of these, parts of text that ended a posted buffer and went on in another place.
    pub split: u8,
    /// Segments with text or FIN sent.
    pub sent: u8,
    /// Of these, sent before.
    pub again: u8,
}

/// What the NIC tells of a segment whose text was taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Text {
    /// See [`Sample`].
    pub out_of_order: bool,
    /// See [`Sample`].
    pub forwarded: bool,
}

impl Sample {
    /// That of a connection that has just begun: it does not count as idle.
    #[must_use]
    pub fn new() -> Sample {
        Sample { progress: u8::MAX, ..Sample::default() }
    }

    /// RCV.NXT or SND.UNA has moved.
    pub fn on_progress(&mut self) {
        self.progress = self.progress.saturating_add(1);
    }

    /// Text of a segment was taken.
    pub fn on_text(&mut self, text: Text) {
        if self.text < u8::MAX {
            self.text += 1;
            self.out_of_order += u8::from(text.out_of_order);
            self.forwarded += u8::from(text.forwarded);
        }
    }

    /// Where it went.
    pub fn on_place(&mut self, pooled: bool, split: bool) {
        if self.text < u8::MAX {
            self.pooled = self.pooled.saturating_add(u8::from(pooled));
            self.split = self.split.saturating_add(u8::from(split));
        }
    }

    /// A segment with text or FIN was sent.
    pub fn on_sent(&mut self, again: bool) {
        if self.sent < u8::MAX {
            self.sent += 1;
            self.again += u8::from(again);
        }
    }

    /// What to ask for at the end of the period; the gravest reason first.
    #[must_use]
    pub fn judge(&self, l: &WatchLimits) -> Option<UploadReason> {
        let is_much = |part: u8, whole: u8, limit: u8| {
            limit != 0
                && whole >= l.least_segments
                && u32::from(part) << 8 >= u32::from(limit) * u32::from(whole)
                && part != 0
        };
        if is_much(self.again, self.sent, l.drop_rate) {
            Some(UploadReason::HighDropRate)
        } else if is_much(self.out_of_order, self.text, l.out_of_order) {
            Some(UploadReason::HighOutOfOrderPackets)
        } else if is_much(self.forwarded, self.text, l.fragmentation) {
            Some(UploadReason::HighFragmentation)
        } else if is_much(self.pooled, self.text, l.no_preposting) {
            Some(UploadReason::NoBufferPreposting)
        } else if is_much(self.split, self.text, l.small_io) {
            Some(UploadReason::SmallIo)
        } else if self.progress < l.least_progress {
            Some(UploadReason::LowActivity)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: WatchLimits = WatchLimits {
        period_us: 1,
        least_progress: 2,
        least_segments: 8,
        drop_rate: 64,
        small_io: 128,
        no_preposting: 128,
        fragmentation: 128,
        out_of_order: 128,
    };

    fn active() -> Sample {
        Sample { progress: 9, text: 10, sent: 10, ..Sample::default() }
    }

    /// Verifies: R-162
    #[test]
    fn each_reason_has_its_share_and_one_less_does_not_ask() {
        use UploadReason as R;
        type Put = fn(&mut Sample, u8);
        let cases: [(R, u8, Put); 5] = [
            (R::HighDropRate, 3, |s, n| s.again = n),
            (R::HighOutOfOrderPackets, 5, |s, n| s.out_of_order = n),
            (R::HighFragmentation, 5, |s, n| s.forwarded = n),
            (R::NoBufferPreposting, 5, |s, n| s.pooled = n),
            (R::SmallIo, 5, |s, n| s.split = n),
        ];
        for (reason, least, put) in cases {
            let mut s = active();
            put(&mut s, least);
            assert_eq!(s.judge(&LIMITS), Some(reason));
            put(&mut s, least - 1);
            assert_eq!(s.judge(&LIMITS), None, "{reason:?}");
            (s.text, s.sent) = (7, 7);
            put(&mut s, 7);
            assert_eq!(s.judge(&LIMITS), None, "{reason:?}: too few segments to say");
            assert_eq!(s.judge(&WatchLimits::default()), None);
        }
        let idle = Sample { progress: 1, ..Sample::default() };
        assert_eq!(idle.judge(&LIMITS), Some(R::LowActivity));
        assert_eq!(Sample::new().judge(&LIMITS), None, "it has not had a whole period yet");
    }

    #[test]
    fn the_first_255_segments_are_the_sample() {
        let mut s = Sample::default();
        for i in 0..1000 {
            s.on_text(Text { out_of_order: i % 2 == 0, forwarded: i >= 255 });
            s.on_place(i >= 255, i % 3 == 0);
            s.on_sent(i >= 255);
            s.on_progress();
        }
        assert_eq!((s.text, s.out_of_order, s.forwarded, s.pooled, s.split), (255, 128, 0, 0, 85));
        assert_eq!((s.sent, s.again, s.progress), (255, 0, 255));
    }
}
