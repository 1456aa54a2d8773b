//! HyStart++: the state of every clock, and where slow start ends.

use super::{b, n, steps};
use chimney_hdl::tcp::hystart as k;
use chimney_hdl_kernel::diff::Rnd;
use chimney_host_stack_core::hystart::{HyStart, Sample};

/// Sender's segment size.
const SMSS: u32 = 1448;

/// A path whose round trip grows, falls and jitters.
struct Path {
    base_ms: u32,
    queue_ms: u32,
}

impl Path {
    fn rtt_ms(&mut self, r: &mut Rnd) -> u32 {
        self.queue_ms = match r.below(12) {
            0 => 0,
            1..=8 => self.queue_ms + r.below(3) as u32,
            9 => self.queue_ms / 2,
            10 => (self.base_ms / 4 + r.below(3) as u32).saturating_sub(1),
            _ => (self.base_ms / 8 + r.below(3) as u32).saturating_sub(1),
        };
        self.base_ms + self.queue_ms
    }
}

/// The clocks of an acknowledgment: stages 3, 4 and 5.
fn acked(h: k::HyStart, sample: k::Sample, acked: u32) -> (k::HyStart, bool) {
    let (h, j) = k::gathered(h, sample, acked > SMSS);
    k::judged(h, k::limits(h, j))
}

/// RFC 9406: the same pace at each acknowledgment, and the same end.
#[test]
fn the_first_slow_start_has_the_same_pace_and_the_same_end() {
    let (mut core, mut hw) = (HyStart::default(), k::fresh());
    let (mut path, mut has_stamps, mut ends) = (Path { base_ms: 80, queue_ms: 0 }, true, [0, 0]);
    steps("loss_hystart", |r| {
        let bytes = [1, SMSS, SMSS + 1, 2 * SMSS][r.below(4) as usize];
        let rtt_ms = if r.chance(1, 500) { r.next_u64() as u32 } else { path.rtt_ms(r) };
        let timed_us = r.chance(1, 12).then(|| rtt_ms.min(1 << 21) * 1024 + r.below(1024) as u32);
        let echo_ms = has_stamps.then_some(rtt_ms);
        assert_eq!(n(k::paced(hw, b(bytes))), bytes >> core.shift());
        let sample = k::Sample {
            is_new_round: timed_us.is_some(),
            has_rtt: timed_us.is_some() || has_stamps,
            rtt_ms: b(echo_ms.unwrap_or(timed_us.unwrap_or_default() >> 10)),
            is_echo: has_stamps,
        };
        let want = core.on_ack(&Sample::new(bytes, SMSS, timed_us, echo_ms));
        let (state, got) = acked(hw, sample, bytes);
        assert_eq!(got, want, "{core:?} {hw:?} {sample:?}");
        hw = state;
        if want {
            ends[usize::from(has_stamps)] += 1;
        }
        if want || r.chance(1, 300) {
            (core, hw) = (HyStart::default(), k::fresh());
            has_stamps = r.chance(3, 4);
            let base_ms = [0, 1, 20, 80, 300, 4000][r.below(6) as usize];
            path = Path { base_ms: base_ms + r.below(100) as u32, queue_ms: 0 };
        }
    });
    assert!(ends[0] > 10 && ends[1] > 100, "{ends:?}");
}
