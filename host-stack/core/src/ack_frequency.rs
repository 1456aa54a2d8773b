//! When a target acknowledges: by the number of data segments, not by their bytes.
//!
//! The host stack counts bytes ([`crate::delayed_ack`]); a target is given `ACK_FREQUENCY`.

use crate::delayed_ack::AckDecision;

/// `pending` data segments were received since the last ACK was sent; at `frequency` of them one is due.
///
/// `is_irregular`: out of order, a duplicate, a filled hole, cut at the window, or a FIN: the peer must hear at once
/// (RFC 5681 4.2).
#[must_use]
pub fn decide(pending: u32, frequency: u32, is_irregular: bool) -> AckDecision {
    if is_irregular || (pending > 0 && pending >= frequency) {
        AckDecision::Now
    } else if pending > 0 {
        AckDecision::Delayed
    } else {
        AckDecision::None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Verifies: R-025
    #[test]
    fn every_nth_segment_is_acknowledged_at_once() {
        let table = [
            ("nothing owed", 0, 2, false, AckDecision::None),
            ("one of two", 1, 2, false, AckDecision::Delayed),
            ("two of two", 2, 2, false, AckDecision::Now),
            ("delayed ACK off", 1, 0, false, AckDecision::Now),
            ("nothing owed, delayed ACK off", 0, 0, false, AckDecision::None),
            ("duplicate", 0, 2, true, AckDecision::Now),
        ];
        for (name, pending, frequency, is_irregular, want) in table {
            assert_eq!(decide(pending, frequency, is_irregular), want, "{name}");
        }
    }
}
