//! Send now, or wait? Nagle (RFC 9293 3.7.4), sender side of silly window avoidance (3.8.6.2.1), and the
//! persist timer (3.8.6.1, R-255).

use crate::rtt::{backed_off, RtoBounds};

/// What the decision depends on, all in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct SendInput {
    /// Queued and not yet sent (D in RFC 9293).
    pub unsent: u32,
    /// Free part of the smaller of send window and congestion window (U in RFC 9293).
    pub usable: u32,
    /// Sender's segment size, without options.
    pub smss: u32,
    /// Largest window the peer ever offered.
    pub max_snd_wnd: u32,
    /// Nothing is in flight.
    pub is_idle: bool,
    /// Nagle's algorithm is on, and no FIN follows the data.
    pub is_nagle: bool,
}

/// Length of the segment of new data to send now, or `None` to wait.
#[must_use]
pub fn segment_len(input: &SendInput) -> Option<u32> {
    let sendable = input.unsent.min(input.usable);
    if sendable == 0 {
        return None;
    }
    // (1) a full segment.
    if sendable >= input.smss {
        return Some(input.smss);
    }
    let may_be_small = input.is_idle || !input.is_nagle;
    // (2) everything we have, if nothing is in flight; all our data counts as pushed.
    if may_be_small && input.unsent <= input.usable {
        return Some(input.unsent);
    }
    // (3) half of the largest window, for peers with tiny buffers.
    if may_be_small && sendable >= (input.max_snd_wnd >> 1).max(1) {
        return Some(sendable);
    }
    None
}

/// time from a zero-window ACK to the first probe of round `round`, and between unanswered
/// probes of a round.
#[must_use]
pub fn persist_us(rto_us: u32, round: u8, bounds: &RtoBounds) -> u32 {
    backed_off(rto_us, round, bounds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Verifies
    #[test]
    fn small_segments_wait_while_data_is_in_flight() {
        let base = SendInput {
            unsent: 100,
            usable: 10_000,
            smss: 1460,
            max_snd_wnd: 65_535,
            is_idle: false,
            is_nagle: true,
        };
        let table = [
            ("Nagle holds it", base, None),
            ("idle", SendInput { is_idle: true, ..base }, Some(100)),
            ("Nagle off", SendInput { is_nagle: false, ..base }, Some(100)),
            ("full segment", SendInput { unsent: 5000, ..base }, Some(1460)),
            ("window too small", SendInput { usable: 50, is_idle: true, ..base }, None),
            ("tiny peer", SendInput { usable: 50, is_idle: true, max_snd_wnd: 100, ..base }, Some(50)),
            ("closed window", SendInput { usable: 0, is_idle: true, ..base }, None),
            ("nothing to send", SendInput { unsent: 0, is_idle: true, ..base }, None),
        ];
        for (name, input, want) in table {
            assert_eq!(segment_len(&input), want, "{name}");
        }
    }

    /// Verifies: R-255
    #[test]
    fn persist_rounds_double() {
        assert_eq!(
            [0, 1, 2].map(|r| persist_us(200_000, r, &RtoBounds::default())),
            [200_000, 400_000, 800_000]
        );
    }

    proptest! {
        #![proptest_config(crate::test_seed::config())]

        #[test]
        fn never_more_than_segment_window_or_queue(
            unsent in 0u32..100_000, usable in 0u32..100_000, max in 0u32..100_000, is_idle: bool, is_nagle: bool,
        ) {
            let input = SendInput { unsent, usable, smss: 1460, max_snd_wnd: max, is_idle, is_nagle };
            if let Some(len) = segment_len(&input) {
                prop_assert!(len > 0 && len <= 1460 && len <= unsent && len <= usable);
            } else if is_idle {
                prop_assert!(unsent == 0 || usable < unsent.min(1460), "an idle sender waits only for window");
            }
        }
    }
}
