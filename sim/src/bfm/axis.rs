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
            frames: 0,
            bytes: 0,
        }
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
        if self.out.valid && ready {
            self.out.valid = false;
            if self.out.last {
                self.finish_frame();
            }
        }
        if !self.out.valid && !self.queue.is_empty() && !self.rng.one_in_256(self.gap_per_256) {
            self.load_beat();
        }
    }

    fn finish_frame(&mut self) {
        self.frames += 1;
        self.bytes += self.sent as u64;
        self.queue.pop_front();
        self.sent = 0;
    }

    fn load_beat(&mut self) {
        let Some(frame) = self.queue.front() else { return };
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
        if beat.valid && self.ready {
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
}
