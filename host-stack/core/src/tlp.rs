//! Tail loss probe (RFC 8985 7): when the last segments of a flight may be lost, send one more instead of waiting for the
//! retransmission timeout; and find out afterwards whether the probe repaired a loss.
//!
//! Width: 32 `end` + 2.

use chimney_abi::SeqNum;

/// Longest delay of an acknowledgment by the peer (`TLP.max_ack_delay`): RFC 9293 would allow 500 ms.
pub const MAX_ACK_DELAY_US: u32 = 200_000;

/// Shortest wait for a probe. RFC 8985 has none; the first drafts of TLP had this one. Where the round trip is a fraction of
/// a millisecond, twice that measures when the other end gets its processor, not whether something was lost.
pub const MIN_PTO_US: u32 = 10_000;

/// An outstanding probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Tlp {
    /// A probe was sent and its episode is not over.
    pub is_outstanding: bool,
    /// SND.MAX after the probe (`TLP.end_seq`).
    pub end: SeqNum,
    /// The probe was a retransmission (`TLP.is_retrans`).
    pub is_resent: bool,
}

/// Does a connection arm the probe timer? RFC 8985 7.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct PtoInput {
    /// Smoothed RTT, microseconds; 0 = none yet.
    pub srtt_us: u32,
    /// Bytes in flight.
    pub flight: u32,
    /// Sender's segment size.
    pub smss: u32,
    /// RTO with its back-off.
    pub rto_us: u32,
}

/// `TLP_calc_PTO`: time until the probe.
#[must_use]
pub fn pto_us(input: &PtoInput) -> u32 {
    if input.srtt_us == 0 {
        return input.rto_us;
    }
    let delayed = if input.flight <= input.smss { MAX_ACK_DELAY_US } else { 0 };
    input.srtt_us.saturating_mul(2).max(MIN_PTO_US).saturating_add(delayed).min(input.rto_us)
}

/// What an acknowledgment says to the outstanding probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct TlpAck {
    /// SEG.ACK.
    pub ack: SeqNum,
    /// It is a duplicate.
    pub is_duplicate: bool,
    /// It reports a duplicate arrival.
    pub is_dsack: bool,
    /// It reports ranges.
    pub has_sack: bool,
}

impl Tlp {
    /// A probe was sent; `snd_max` is what it is then.
    pub fn on_probe(&mut self, snd_max: SeqNum, is_resent: bool) {
        *self = Tlp { is_outstanding: true, end: snd_max, is_resent };
    }

    /// RFC 8985 7.4.2. True if the probe repaired a loss, which congestion control must hear of.
    pub fn on_ack(&mut self, ack: &TlpAck) -> bool {
        if !self.is_outstanding || ack.ack.before(self.end) {
            return false;
        }
        let is_original = !self.is_resent || ack.is_dsack;
        if is_original {
            self.is_outstanding = false;
            return false;
        }
        if ack.ack.after(self.end) {
            // Something above the probe is acknowledged, and no duplicate was reported: the original was lost.
            self.is_outstanding = false;
            return true;
        }
        if ack.is_duplicate && !ack.has_sack {
            // Original and probe both arrived.
            self.is_outstanding = false;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probe_waits_two_round_trips_and_for_a_delayed_acknowledgment_of_a_lone_segment() {
        let base = PtoInput { srtt_us: 80_000, flight: 5000, smss: 1000, rto_us: 1_000_000 };
        let table = [
            ("several in flight", base, 160_000),
            ("one in flight", PtoInput { flight: 1000, ..base }, 360_000),
            ("next door", PtoInput { srtt_us: 100, ..base }, 10_000),
            ("no sample yet", PtoInput { srtt_us: 0, ..base }, 1_000_000),
            ("not after the RTO", PtoInput { rto_us: 150_000, ..base }, 150_000),
        ];
        for (name, input, want) in table {
            assert_eq!(pto_us(&input), want, "{name}");
        }
    }

    /// The cases of RFC 8985 7.4.2.
    #[test]
    fn a_repaired_loss_is_told_from_a_probe_too_many() {
        let ack = TlpAck { ack: SeqNum(1000), ..TlpAck::default() };
        let table = [
            ("below the probe", true, TlpAck { ack: SeqNum(999), ..ack }, (false, true)),
            ("the probe was new data", false, ack, (false, false)),
            ("DSACK: both arrived", true, TlpAck { is_dsack: true, ..ack }, (false, false)),
            ("exactly the probe: not known yet", true, ack, (false, true)),
            ("a duplicate of that: both arrived", true, TlpAck { is_duplicate: true, ..ack }, (false, false)),
            ("above the probe: repaired", true, TlpAck { ack: SeqNum(1001), ..ack }, (true, false)),
        ];
        for (name, is_resent, ack, want) in table {
            let mut tlp = Tlp::default();
            tlp.on_probe(SeqNum(1000), is_resent);
            assert_eq!((tlp.on_ack(&ack), tlp.is_outstanding), want, "{name}");
        }
        assert!(!Tlp::default().on_ack(&ack));
    }
}
