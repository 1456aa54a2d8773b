//! AXI-Stream frames to and from the MAC side of the NIC: 64-bit `tdata`, `tkeep`, `tlast`, `tuser` = bad frame.
//!
//! The first byte of a frame is the low byte of its first beat. Random gaps (source) and stalls (sink) are drawn from a
//! seeded generator; with a probability of 0 the stream runs at one beat per clock.

use std::collections::VecDeque;

use crate::rng::Rng;

/// Bytes per beat.
pub const BEAT_BYTES: usize = 8;
/// Frames longer than this are cut by the sink (the checker reports them): no endless frame may eat the memory.
pub const MAX_FRAME_BYTES: usize = 16 * 1024;

/// One beat, as the sending side drives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AxisBeat {
    /// `tvalid`.
    pub valid: bool,
    /// `tdata`, first byte lowest.
    pub data: u64,
    /// `tkeep`.
    pub keep: u8,
    /// `tlast`.
    pub last: bool,
    /// `tuser`: the frame is bad (valid with `tlast`).
    pub user: bool,
}

/// A frame with its verdict.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AxisFrame {
    /// The bytes, without frame check sequence.
    pub bytes: Vec<u8>,
    /// `tuser` at the last beat.
    pub is_bad: bool,
}

/// Sends frames into the NIC.
#[derive(Debug)]
pub struct AxisSource {
    queue: VecDeque<AxisFrame>,
    /// Bytes of the front frame that were loaded into `out` so far.
    sent: usize,
    out: AxisBeat,
    rng: Rng,
    gap_per_256: u8,
    /// Clocks between the first beats of two frames, at least, in quarters.
    distance: u64,
    /// No frame begins before this clock, in quarters.
    begins_at: u64,
    clock: u64,
    last_at: u64,
    frames: u64,
    bytes: u64,
}

impl AxisSource {
    /// A source that leaves a gap before `gap_per_256` of 256 beats.
    pub fn new(seed: u64, gap_per_256: u8) -> Self {
        Self {
            queue: VecDeque::with_capacity(256),
            sent: 0,
            out: AxisBeat::default(),
            rng: Rng::new(seed),
            gap_per_256,
            distance: 0,
            begins_at: 0,
            clock: 0,
            last_at: 0,
            frames: 0,
            bytes: 0,
        }
    }

    /// From now on a frame begins at least so many quarters of a clock after the one before, its beginning rounded down to a clock. What is
    /// late by a clock stays late: frames never follow each other more closely to make up for it.
    pub fn set_distance(&mut self, quarters: u32) {
        self.distance = quarters.into();
    }

    /// Clock in which the last beat of the newest complete frame was taken, counted as [`AxisSink::first_at`] counts.
    pub fn last_at(&self) -> u64 {
        self.last_at
    }

    /// Queue a frame. An empty one cannot exist on the wire and is ignored.
    pub fn push(&mut self, bytes: Vec<u8>) {
        self.push_frame(AxisFrame { bytes, is_bad: false });
    }

    /// Queue a frame with a verdict of the MAC.
    pub fn push_frame(&mut self, frame: AxisFrame) {
        if !frame.bytes.is_empty() {
            self.queue.push_back(frame);
        }
    }

    /// Frames queued and not completely sent.
    pub fn pending(&self) -> usize {
        self.queue.len()
    }

    /// Frames and bytes sent completely.
    pub fn sent(&self) -> (u64, u64) {
        (self.frames, self.bytes)
    }

    /// Forget the queue and stop at once.
    pub fn reset(&mut self) {
        self.queue.clear();
        self.sent = 0;
        self.out = AxisBeat::default();
    }

    /// What is driven in this clock.
    #[inline]
    pub fn out(&self) -> &AxisBeat {
        &self.out
    }

    /// One clock edge; `ready` is what the NIC drove before it.
    #[inline]
    pub fn tick(&mut self, ready: bool) {
        self.clock += 1;
        if self.out.valid && ready {
            self.out.valid = false;
            if self.out.last {
                self.last_at = self.clock;
                self.finish_frame();
            }
        }
        if !self.out.valid && self.may_load() && !self.rng.one_in_256(self.gap_per_256) {
            self.load_beat();
        }
    }

    /// There is a beat, and if it is the first of a frame, its time has come.
    #[inline]
    fn may_load(&self) -> bool {
        !self.queue.is_empty() && (self.sent > 0 || self.clock_end() >= self.begins_at)
    }

    /// The last quarter of this clock.
    fn clock_end(&self) -> u64 {
        4 * self.clock + 3
    }

    fn finish_frame(&mut self) {
        self.frames += 1;
        self.bytes += self.sent as u64;
        self.queue.pop_front();
        self.sent = 0;
    }

    fn load_beat(&mut self) {
        let Some(frame) = self.queue.front() else { return };
        if self.sent == 0 {
            // A clock late is late; a part of a clock is not, or the distance would grow to whole clocks.
            self.begins_at = self.begins_at.max(self.clock_end() - 3) + self.distance;
        }
        let rest = &frame.bytes[self.sent..];
        let n = rest.len().min(BEAT_BYTES);
        let mut lanes = [0u8; BEAT_BYTES];
        lanes[..n].copy_from_slice(&rest[..n]);
        let last = n == rest.len();
        let keep = (0xffu16 >> (BEAT_BYTES - n)) as u8; // n is 1..=8
        self.sent += n;
        self.out =
            AxisBeat { valid: true, data: u64::from_le_bytes(lanes), keep, last, user: last && frame.is_bad };
    }
}

/// Receives frames from the NIC.
#[derive(Debug)]
pub struct AxisSink {
    ready: bool,
    current: Vec<u8>,
    done: VecDeque<AxisFrame>,
    rng: Rng,
    stall_per_256: u8,
    clock: u64,
    first_at: u64,
    frames: u64,
    bytes: u64,
}

impl AxisSink {
    /// A sink that stalls in `stall_per_256` of 256 clocks.
    pub fn new(seed: u64, stall_per_256: u8) -> Self {
        Self {
            ready: false,
            current: Vec::with_capacity(2048),
            done: VecDeque::with_capacity(256),
            rng: Rng::new(seed),
            stall_per_256,
            clock: 0,
            first_at: 0,
            frames: 0,
            bytes: 0,
        }
    }

    /// `tready` in this clock.
    #[inline]
    pub fn ready(&self) -> bool {
        self.ready
    }

    /// One clock edge; `beat` is what the NIC drove before it. True when it completed a frame.
    #[inline]
    pub fn tick(&mut self, beat: &AxisBeat) -> bool {
        let mut done = false;
        self.clock += 1;
        if beat.valid && self.ready {
            if self.current.is_empty() {
                self.first_at = self.clock;
            }
            let n = beat.keep.trailing_ones() as usize;
            if self.current.len() < MAX_FRAME_BYTES {
                self.current.extend_from_slice(&beat.data.to_le_bytes()[..n]);
            }
            if beat.last {
                self.finish_frame(beat.user);
                done = true;
            }
        }
        self.ready = !self.rng.one_in_256(self.stall_per_256);
        done
    }

    /// The next complete frame.
    pub fn pop(&mut self) -> Option<AxisFrame> {
        self.done.pop_front()
    }

    /// Clock in which the first beat of the newest frame was taken. A rig moves source and sink once in every clock.
    pub fn first_at(&self) -> u64 {
        self.first_at
    }

    /// Frames and bytes received completely.
    pub fn received(&self) -> (u64, u64) {
        (self.frames, self.bytes)
    }

    /// Forget a frame that has begun (reset of the NIC); complete frames stay.
    pub fn reset(&mut self) {
        self.current.clear();
        self.ready = false;
    }

    fn finish_frame(&mut self, is_bad: bool) {
        let bytes = std::mem::replace(&mut self.current, Vec::with_capacity(2048));
        self.frames += 1;
        self.bytes += bytes.len() as u64;
        self.done.push_back(AxisFrame { bytes, is_bad });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::axis::AxisChecker;
    use crate::rng::test_seed;

    /// Source straight into sink, watched.
    fn transfer(frames: &[AxisFrame], seed: u64, gaps: u8, stalls: u8) -> (Vec<AxisFrame>, u64) {
        let mut source = AxisSource::new(seed, gaps);
        let mut sink = AxisSink::new(seed + 1, stalls);
        let mut checker = AxisChecker::new();
        frames.iter().for_each(|f| source.push_frame(f.clone()));
        let (mut out, mut clocks) = (Vec::new(), 0);
        while out.len() < frames.len() {
            clocks += 1;
            assert!(clocks < 1_000_000, "stuck");
            let (beat, ready) = (*source.out(), sink.ready());
            checker.observe(&beat, ready);
            source.tick(ready);
            sink.tick(&beat);
            out.extend(sink.pop());
        }
        assert_eq!(checker.findings().count(), 0, "{}", checker.findings());
        assert_eq!(source.pending(), 0);
        assert_eq!(source.sent(), sink.received());
        (out, clocks)
    }

    #[test]
    fn frames_of_every_length_arrive_unchanged() {
        let seed = test_seed(11);
        let mut rng = Rng::new(seed);
        let frame = |len: u64, rng: &mut Rng| AxisFrame {
            bytes: (0..len).map(|_| rng.next_u64() as u8).collect(),
            is_bad: rng.one_in_256(20),
        };
        let frames: Vec<_> = (1..300).map(|len| frame(len, &mut rng)).collect();
        for (gaps, stalls) in [(0, 0), (100, 0), (0, 100), (200, 200)] {
            assert_eq!(transfer(&frames, seed, gaps, stalls).0, frames);
        }
    }

    #[test]
    fn runs_at_one_beat_per_clock_without_gaps() {
        let frames = vec![AxisFrame { bytes: vec![1; 800], is_bad: false }; 10];
        let (_, clocks) = transfer(&frames, 1, 0, 0);
        assert!(clocks <= 1000 + 2, "{clocks} clocks for 1000 beats");
    }

    /// Clocks in which frames of `beats` beats begin that wait at a source of that distance, and one that comes later.
    fn begins(quarters: u32, beats: usize, later_at: u64) -> Vec<u64> {
        let mut source = AxisSource::new(1, 0);
        source.set_distance(quarters);
        (0..5).for_each(|_| source.push(vec![1; beats * BEAT_BYTES]));
        let (mut out, mut is_first) = (Vec::new(), true);
        for clock in 0..later_at + 50 {
            if clock == later_at {
                (0..2).for_each(|_| source.push(vec![1; beats * BEAT_BYTES]));
            }
            let beat = *source.out();
            if beat.valid {
                if is_first {
                    out.push(clock);
                }
                is_first = beat.last;
            }
            source.tick(true);
        }
        out
    }

    #[test]
    fn frames_begin_at_a_fixed_distance_and_a_late_one_is_not_made_up_for() {
        assert_eq!(begins(42, 2, 100), [1, 11, 22, 32, 43, 101, 111]);
        assert_eq!(begins(0, 8, 100), [1, 9, 17, 25, 33, 101, 109]);
        // Nearer than a frame is long: the frames follow each other.
        assert_eq!(begins(4, 8, 100), [1, 9, 17, 25, 33, 101, 109]);
    }

    #[test]
    fn source_and_sink_count_the_same_clocks() {
        let (mut source, mut sink) = (AxisSource::new(1, 0), AxisSink::new(1, 0));
        source.push(vec![1; 24]);
        for _ in 0..10 {
            let (beat, ready) = (*source.out(), sink.ready());
            source.tick(ready);
            sink.tick(&beat);
        }
        assert_eq!(source.last_at(), sink.first_at() + 2);
    }
}
