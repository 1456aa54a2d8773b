//! Proportional rate reduction (RFC 6937, RFC 9937): how much to send for each acknowledgment in fast recovery.
//!
//! While more is in flight than the new threshold, what is delivered is answered in the proportion of the reduction;
//! below it the window is filled up again, by no more than was delivered (CRB), plus a segment when all goes well (SSRB).
//!
//! RFC 9937 divides on every acknowledgment (`prr_delivered * ssthresh / RecoverFS`). Here the proportion is found once, when
//! recovery begins (slow unit), and each acknowledgment costs one multiplication; the error is below `delivered / 2^16`.
//!
//! Width: 32 `delivered` (also the product's whole part), 32 `out`, 17 `rate` = 81 bits.

/// Fraction bits of the proportion.
const RATE_BITS: u32 = 16;

// Another difference: RFC 9937 forces the first retransmission when the answer is 0 bytes; here when it is less than a
// segment, because nothing less is sent.

/// State of one recovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Prr {
    /// Bytes delivered since recovery began (`prr_delivered`).
    pub delivered: u32,
    /// Bytes sent since then (`prr_out`).
    pub out: u32,
    /// `ssthresh / RecoverFS`, 16 fraction bits, at most 1.
    pub rate: u32,
}

/// What an acknowledgment in recovery says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct PrrAck {
    /// DeliveredData, bytes.
    pub delivered: u32,
    /// `inflight`: the scoreboard's pipe after loss detection, bytes.
    pub pipe: u32,
    /// SND.UNA advanced and nothing more was found lost (safeACK).
    pub is_safe: bool,
}

impl Prr {
    /// Recovery begins; `recover_fs` is what was in flight. Slow unit: one division.
    #[must_use]
    pub fn start(ssthresh: u32, recover_fs: u32) -> Prr {
        let rate = (u64::from(ssthresh) << RATE_BITS) / u64::from(recover_fs.max(1));
        // `as`: at most 2^16.
        Prr { delivered: 0, out: 0, rate: rate.min(1 << RATE_BITS) as u32 }
    }

    /// The congestion window after an acknowledgment.
    #[must_use]
    pub fn on_ack(&mut self, ack: PrrAck, ssthresh: u32, smss: u32) -> u32 {
        self.delivered = self.delivered.saturating_add(ack.delivered);
        let mut count = if ack.pipe > ssthresh {
            let share = (u64::from(self.delivered) * u64::from(self.rate)).div_ceil(1 << RATE_BITS);
            // `as`: the rate is at most 1.
            (share as u32).saturating_sub(self.out)
        } else {
            let bound = self.delivered.saturating_sub(self.out).max(ack.delivered);
            let bound = if ack.is_safe { bound.saturating_add(smss) } else { bound };
            bound.min(ssthresh - ack.pipe)
        };
        if self.out == 0 {
            // The fast retransmit that begins recovery is a whole segment.
            count = count.max(smss);
        }
        ack.pipe + count
    }

    /// Bytes were sent in recovery.
    pub fn on_send(&mut self, bytes: u32) {
        self.out = self.out.saturating_add(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SMSS: u32 = 1000;

    /// RFC 6937 3: 20 segments in flight, the first is lost, the window is halved.
    #[test]
    fn one_loss_of_twenty_sends_every_second_acknowledgment() {
        let mut prr = Prr::start(10 * SMSS, 20 * SMSS);
        let (mut pipe, mut sent) = (19 * SMSS, std::vec::Vec::new());
        for _ in 0..18 {
            pipe -= SMSS;
            let ack = PrrAck { delivered: SMSS, pipe, is_safe: false };
            let room = prr.on_ack(ack, 10 * SMSS, SMSS) - pipe;
            let segments = room / SMSS;
            prr.on_send(segments * SMSS);
            pipe += segments * SMSS;
            sent.push(segments);
        }
        assert_eq!(sent[..8], [1, 0, 0, 1, 0, 1, 0, 1]);
        assert_eq!(pipe, 10 * SMSS, "ends at the threshold");
    }

    /// RFC 6937 3, second example: 15 of 20 are lost; the rest is answered one for one, or two for one when safe.
    #[test]
    fn below_the_threshold_the_bounds_hold() {
        let mut prr = Prr::start(10 * SMSS, 20 * SMSS);
        let ack = PrrAck { delivered: SMSS, pipe: 4 * SMSS, is_safe: false };
        assert_eq!(prr.on_ack(ack, 10 * SMSS, SMSS), 5 * SMSS, "conservative bound");
        prr.on_send(SMSS);
        let safe = PrrAck { is_safe: true, ..ack };
        assert_eq!(prr.on_ack(safe, 10 * SMSS, SMSS), 6 * SMSS, "slow start bound");
        let full = PrrAck { pipe: 10 * SMSS, ..safe };
        assert_eq!(prr.on_ack(full, 10 * SMSS, SMSS), 10 * SMSS, "never above the threshold");
    }

    #[test]
    fn the_fast_retransmit_always_goes_out() {
        let mut prr = Prr::start(5 * SMSS, 10 * SMSS);
        let ack = PrrAck { delivered: 0, pipe: 9 * SMSS, is_safe: false };
        assert_eq!(prr.on_ack(ack, 5 * SMSS, SMSS), 10 * SMSS);
        prr.on_send(SMSS);
        assert_eq!(prr.on_ack(ack, 5 * SMSS, SMSS), 9 * SMSS);
    }

    proptest! {
        #![proptest_config(crate::test_seed::config())]

        #[test]
        fn what_is_sent_while_reducing_is_the_share_of_what_was_delivered(
            fs in 10_000u32..10_000_000, part in 30u32..100, acks in proptest::collection::vec(1u32..9000, 1..200),
        ) {
            let ssthresh = (u64::from(fs) * u64::from(part) / 100) as u32;
            let mut prr = Prr::start(ssthresh, fs);
            prr.on_send(1); // so that no retransmission is forced
            for delivered in acks {
                let pipe = ssthresh + 1;
                let count = prr.on_ack(PrrAck { delivered, pipe, is_safe: false }, ssthresh, SMSS) - pipe;
                prr.on_send(count);
                let exact = f64::from(prr.delivered) * f64::from(ssthresh) / f64::from(fs);
                let bound = f64::from(prr.delivered) / 65536.0 + 1.0;
                prop_assert!((f64::from(prr.out) - exact).abs() <= bound.max(1.0) + 1.0);
            }
        }
    }
}
