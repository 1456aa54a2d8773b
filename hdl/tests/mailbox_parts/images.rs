//! Images on their way in, and their answers.

use crate::{n, steps, word};
use chimney_abi::cmd::Status;
use chimney_abi::state::IMAGE_STRIDE;
use chimney_hdl::host::mailbox::answers::Answers;
use chimney_hdl::host::mailbox::image_reader::{ImageReader, HEADER_BEATS, IMAGE_BEATS, RANGES, RANGES_AT};
use chimney_hdl::host::mailbox::job::Answer;
use chimney_hdl::types::ReadBeat;
use chimney_hdl_kernel::diff::{Diff, Rnd};
use std::cell::RefCell;
use std::collections::VecDeque;

/// Images of host memory, and words that cannot be read.
#[derive(Default)]
struct ImageReaderTest {
    start: bool,
    base: u64,
    bodies: bool,
    /// Images of the command that were not dropped, and of those asked for in part.
    images: VecDeque<u64>,
    to_ask: VecDeque<u64>,
    asked: u64,
    bursts: VecDeque<VecDeque<u64>>,
    /// Images that are whole, and the next beat of the oldest.
    whole: usize,
    arrived: u64,
    place: u64,
    salt: u64,
    most: usize,
    seen: [usize; 5],
}

impl ImageReaderTest {
    fn beats(&self) -> u64 {
        if self.bodies {
            IMAGE_BEATS
        } else {
            HEADER_BEATS
        }
    }

    /// A word of memory: mostly no range, and whether it cannot be read.
    fn word(&self, at: u64) -> (u64, bool) {
        let w = word(at ^ self.salt);
        let data = if w.is_multiple_of(7) { w } else { w >> 32 << 32 | w >> 32 };
        (data, word(at + self.salt).is_multiple_of(97))
    }

    fn poke(&mut self, u: &mut ImageReader, r: &mut Rnd) {
        u.reset.next = false;
        self.start = self.images.is_empty() && r.chance(1, 10);
        if self.start {
            let count = 1 + r.below(20);
            (self.base, self.bodies, self.salt) = (8 * r.below(1 << 40), r.any(), r.next_u64() << 3);
            self.images = (0..count).map(|i| self.base + i * u64::from(IMAGE_STRIDE)).collect();
            self.to_ask = self.images.clone();
            (self.asked, self.arrived, self.place) = (0, 0, 0);
            u.count.next = count.into();
        }
        u.start.next = self.start;
        u.base.next = self.base.into();
        u.bodies.next = self.bodies;
        u.req_ready.next = r.chance(1, 2);
        u.beat_valid.next = false;
        u.beat_in.next = r.any();
        let beat = self.bursts.front().map(|b| b[0]).filter(|_| r.chance(3, 4));
        if let Some(at) = beat {
            let (data, error) = self.word(at);
            let burst = self.bursts.front_mut().expect("a burst");
            burst.pop_front();
            let last = burst.is_empty();
            if last {
                self.bursts.pop_front();
            }
            u.beat_valid.next = true;
            u.beat_in.next = ReadBeat { data: data.into(), last, error };
            self.arrived += 1;
        }
        // What is there depends on registers alone.
        let valid = u.valid.val() && !self.start;
        let more = valid && self.place < self.beats();
        u.take.next = more && r.chance(9, 10);
        u.drop.next = valid && !u.take.next && (r.chance(1, 30) || !more);
    }

    fn see(&mut self, u: &ImageReader) {
        if u.valid.val() && !self.start {
            let image = *self.images.front().expect("an image");
            self.look(u, image);
        }
        if u.drop.val() {
            self.images.pop_front();
            self.whole -= 1;
            self.place = 0;
        } else if u.take.val() {
            self.place += 1;
        }
        if u.req_valid.val() && u.req_ready.val() {
            let image = *self.to_ask.front().expect("an image to ask for");
            let (at, end) = (image + 8 * self.asked, image + 8 * self.beats());
            let to = end.min((at / 256 + 1) * 256);
            assert_eq!((n(u.req.val().iova), n(u.req.val().beats)), (at, (to - at) / 8));
            self.bursts.push_back((at..to).step_by(8).collect());
            self.asked = (to - image) / 8;
            if to == end {
                self.to_ask.pop_front();
                self.asked = 0;
            }
            self.most = self.most.max(self.images.len() - self.to_ask.len());
        }
        self.whole += usize::from(u.beat_valid.val() && self.arrived.is_multiple_of(self.beats()));
    }

    /// The oldest image, and its next beat.
    fn look(&mut self, u: &ImageReader, image: u64) {
        assert!(self.whole > 0, "an image that is not whole");
        let of = |places: std::ops::Range<u64>| places.map(|i| self.word(image + 8 * i));
        let w = u.whole.val();
        let header = of(0..HEADER_BEATS).any(|w| w.1);
        let body = of(HEADER_BEATS..self.beats()).any(|w| w.1);
        assert_eq!((w.header_failed, w.body_failed), (header, body));
        let ranges =
            self.bodies && of(RANGES_AT..RANGES_AT + RANGES).any(|w| w.0 as u32 != (w.0 >> 32) as u32);
        assert_eq!(w.has_ranges, ranges);
        if self.place < self.beats() {
            assert_eq!(n(u.beat.val()), self.word(image + 8 * self.place).0, "beat {}", self.place);
        }
        for (i, is) in [header, body, ranges, self.bodies, !self.bodies].into_iter().enumerate() {
            self.seen[i] += usize::from(is && u.drop.val());
        }
    }
}

/// Eight images may be under way; each is handed out when it is whole, with its errors, in the order of the array.
#[test]
fn images_are_read_ahead_and_handed_out_whole() {
    let t = RefCell::new(ImageReaderTest::default());
    Diff::new("mailbox_image_reader", steps(20_000)).run_seen(
        ImageReader::default(),
        |u, r| t.borrow_mut().poke(u, r),
        |u| t.borrow_mut().see(u),
        |u, c| u.clock.next = c.into(),
    );
    let t = t.borrow();
    assert!(t.seen.iter().all(|n| *n > 5) && t.most == 8, "{:?} {}", t.seen, t.most);
}

#[derive(Default)]
struct AnswersTest {
    offered: Option<Answer>,
    next: u64,
    waiting: VecDeque<Answer>,
    /// Images that will land, and those that have.
    flying: usize,
    landed: VecDeque<bool>,
    landing: Option<bool>,
    start: Option<bool>,
    /// Status, failures, place of the last one.
    outcome: (u64, u64, u64),
    /// The status of the oldest answer is written; it is counted a clock later.
    written: bool,
    counts: [u64; 4],
    seen: [usize; 3],
}

impl AnswersTest {
    const BASE: u64 = 0x40_0000;

    fn poke(&mut self, u: &mut Answers, r: &mut Rnd) {
        u.reset.next = false;
        u.base.next = Self::BASE.into();
        let idle =
            self.waiting.is_empty() && self.offered.is_none() && self.flying == 0 && self.landed.is_empty();
        self.start = (idle && r.chance(1, 10)).then(|| r.chance(1, 5));
        u.start.next = self.start.is_some();
        u.unknown.next = self.start.unwrap_or(r.any());
        if self.start.is_some() {
            self.next = 0;
        } else if self.offered.is_none() && r.chance(1, 4) {
            let index = if r.chance(1, 6) { self.next + 1 } else { self.next };
            self.next = index + 1;
            let status = if r.chance(1, 2) { 0 } else { r.below(12) };
            self.offered = Some(Answer {
                index: (index & 0xffff).into(),
                status: status.into(),
                write: r.chance(3, 4),
                lands: r.chance(1, 2),
            });
        }
        u.valid.next = self.offered.is_some();
        u.answer.next = self.offered.unwrap_or_default();
        self.landing = (self.flying > 0 && r.chance(1, 3)).then(|| r.chance(1, 3));
        self.flying -= usize::from(self.landing.is_some());
        u.landed.next = self.landing.is_some();
        u.lost.next = self.landing.unwrap_or(r.any());
        u.write.ready.next = r.chance(1, 2);
    }

    fn see(&mut self, u: &Answers) {
        assert_eq!(u.idle.val(), self.waiting.is_empty());
        let o = u.outcome.val();
        assert_eq!((n(o.worst), n(o.failed)), (self.outcome.0, self.outcome.1.min(255)));
        self.counts[2] += u64::from(u.bad_request.val());
        self.counts[3] += u64::from(u.stale.val());
        let bad = u64::from(Status::BadRequest.code());
        let head = self.waiting.front().copied().filter(|a| !a.lands || !self.landed.is_empty());
        assert_eq!(u.write.valid.val(), head.is_some_and(|a| a.write && !self.written));
        if let Some(a) = head {
            let lost = a.lands && self.landed[0];
            let failure = u64::from(Status::HardwareFailure.code());
            let status = if lost && n(a.status) == 0 { failure } else { n(a.status) };
            if a.write && !self.written {
                let c = u.write.cmd.val();
                let at = Self::BASE + n(a.index) * u64::from(IMAGE_STRIDE) + 1;
                assert_eq!((n(c.iova), n(c.len), c.notify), (at, 1, false));
                assert_eq!(n(c.data.get_bits::<8>(8)), status);
                self.written = u.write.ready.val();
            } else {
                self.written = false;
                self.waiting.pop_front();
                if a.lands {
                    self.landed.pop_front();
                }
                self.count(n(a.index), status);
                self.seen[usize::from(status != 0) + usize::from(lost)] += 1;
            }
        }
        if let Some(unknown) = self.start {
            self.outcome = if unknown { (bad, 1, 0) } else { (0, 0, 0) };
            self.counts[0] += u64::from(unknown);
        }
        if u.valid.val() && u.ready.val() {
            let a = self.offered.take().expect("an answer");
            self.flying += usize::from(a.lands);
            self.waiting.push_back(a);
        }
        self.landed.extend(self.landing);
    }

    fn count(&mut self, index: u64, status: u64) {
        if status != 0 {
            let is_last = index >= self.outcome.2;
            self.outcome.1 += 1;
            if is_last {
                (self.outcome.0, self.outcome.2) = (status, index);
            }
        }
        self.counts[0] += u64::from(status == u64::from(Status::BadRequest.code()));
        self.counts[1] += u64::from(status == u64::from(Status::Stale.code()));
    }
}

/// A status is written when its image has landed, Success only if it did without an error; the command has the last failure.
///
/// Verifies: R-084; law L2.
#[test]
fn an_image_has_its_status_when_its_writes_have_landed() {
    let t = RefCell::new(AnswersTest::default());
    Diff::new("mailbox_answers", steps(10_000)).run_seen(
        Answers::default(),
        |u, r| t.borrow_mut().poke(u, r),
        |u| t.borrow_mut().see(u),
        |u, c| u.clock.next = c.into(),
    );
    let t = t.borrow();
    assert!(t.seen.iter().all(|n| *n > 30), "{:?}", t.seen);
    assert!(
        t.counts[0].abs_diff(t.counts[2]) <= 1 && t.counts[1].abs_diff(t.counts[3]) <= 1 && t.counts[3] > 3,
        "{:?}",
        t.counts
    );
}
