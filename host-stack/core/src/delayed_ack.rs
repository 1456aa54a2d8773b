//! When to acknowledge (RFC 9293 3.8.6.3, RFC 5681 4.2).

/// How long an ACK may wait for company, microseconds (RFC 9293: less than 500 ms).
pub const DELAY_US: u32 = 40_000;

/// What arrived since the last ACK was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Arrival {
    /// Bytes of in-order text received and not acknowledged.
    pub unacked_bytes: u32,
    /// Largest segment seen from the peer, bytes.
    pub rmss: u32,
    /// The segment was out of order, a duplicate, filled a hole, or lay partly beyond the window.
    pub is_irregular: bool,
    /// The segment carried a FIN.
    pub has_fin: bool,
}

/// What to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AckDecision {
    /// Nothing is owed.
    None,
    /// Within [`DELAY_US`].
    Delayed,
    /// At once.
    Now,
}

/// at least every second full-sized segment is acknowledged at once, and so is everything that
/// tells the peer about loss or its repair.
#[must_use]
pub fn decide(arrival: &Arrival) -> AckDecision {
    if arrival.is_irregular || arrival.has_fin {
        return AckDecision::Now;
    }
    if arrival.unacked_bytes == 0 {
        return AckDecision::None;
    }
    if arrival.unacked_bytes >= 2 * arrival.rmss.max(1) {
        AckDecision::Now
    } else {
        AckDecision::Delayed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Verifies: R-247
    #[test]
    fn every_second_full_segment_is_acknowledged_at_once() {
        let base = Arrival { unacked_bytes: 0, rmss: 1460, is_irregular: false, has_fin: false };
        let table = [
            ("nothing", base, AckDecision::None),
            ("one segment", Arrival { unacked_bytes: 1460, ..base }, AckDecision::Delayed),
            ("two segments", Arrival { unacked_bytes: 2920, ..base }, AckDecision::Now),
            ("one byte short of two", Arrival { unacked_bytes: 2919, ..base }, AckDecision::Delayed),
            ("out of order", Arrival { is_irregular: true, ..base }, AckDecision::Now),
            ("FIN", Arrival { has_fin: true, ..base }, AckDecision::Now),
        ];
        for (name, arrival, want) in table {
            assert_eq!(decide(&arrival), want, "{name}");
        }
    }
}
