//! The window we advertise.
//!
//! Two rules meet here. The right edge never moves left (RFC 9293 3.8.6, law L3): a smaller buffer is
//! reached by not advancing it. And it moves right only by steps worth a segment (receiver side
//! of silly window avoidance, RFC 9293 3.8.6.2.2).
//!
//! A scaled window counts in units of `1 << shift`. Rounding it down would move the edge that the peer
//! computes to the left, so it is rounded up and the promise is kept: the edge creeps by less than one
//! unit per segment while nothing is read. Keep the shift small ([`shift_for`]).

use chimney_abi::wire::tcp::MAX_WINDOW_SHIFT;
use chimney_abi::SeqNum;

/// Smallest shift with which `capacity` bytes fit into the 16-bit window field.
#[must_use]
pub fn shift_for(capacity: u32) -> u8 {
    let mut shift = 0;
    while shift < MAX_WINDOW_SHIFT && capacity >> shift > 0xFFFF {
        shift += 1;
    }
    shift
}

/// The new right edge, given `free` bytes of buffer beyond RCV.NXT and a buffer of `capacity` bytes.
#[must_use]
pub fn right_edge(rcv_nxt: SeqNum, edge: SeqNum, free: u32, capacity: u32, rmss: u32) -> SeqNum {
    let wanted = rcv_nxt + free;
    let step = rmss.min(capacity >> 1).max(1);
    if wanted.after(edge) && wanted - edge >= step {
        wanted
    } else {
        edge
    }
}

/// The window field for an edge, and the edge that the peer will compute from it.
///
/// `shift` is zero in a SYN (RFC 7323 2.2).
#[must_use]
pub fn window_field(rcv_nxt: SeqNum, edge: SeqNum, shift: u8) -> (u16, SeqNum) {
    let wnd = edge - rcv_nxt;
    let units = (wnd >> shift) + u32::from(wnd & ((1 << shift) - 1) != 0);
    let field = u16::try_from(units).unwrap_or(u16::MAX);
    (field, edge.later(rcv_nxt + (u32::from(field) << shift)))
}

/// True if reading opened the window far enough that the peer must hear of it now: two segments, or
/// half of the buffer, or any step from zero (the peer is probing).
#[must_use]
pub fn update_due(rcv_nxt: SeqNum, edge: SeqNum, new_edge: SeqNum, capacity: u32, rmss: u32) -> bool {
    let gain = new_edge - edge;
    gain > 0 && (edge == rcv_nxt || gain >= (2 * rmss).min(capacity >> 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn shift_is_the_smallest_that_fits() {
        for (capacity, want) in [(0, 0), (65_535, 0), (65_536, 1), (262_144, 3), (1 << 20, 5), (u32::MAX, 14)]
        {
            assert_eq!(shift_for(capacity), want);
        }
    }

    /// Verifies: R-063
    #[test]
    fn shrinking_the_buffer_leaves_the_edge_where_it_is() {
        let edge = right_edge(SeqNum(1000), SeqNum(9000), 2000, 4000, 1460);
        assert_eq!(edge, SeqNum(9000));
    }

    #[test]
    fn small_gains_are_not_advertised() {
        let table = [("less than a segment", 10_459, 9000), ("a segment", 10_460, 10_460)];
        for (name, wanted, want) in table {
            assert_eq!(right_edge(SeqNum(0), SeqNum(9000), wanted, 65_535, 1460), SeqNum(want), "{name}");
        }
        assert_eq!(right_edge(SeqNum(0), SeqNum(100), 200, 200, 1460), SeqNum(200), "half of a tiny buffer");
    }

    #[test]
    fn opening_a_closed_window_is_always_news() {
        assert!(update_due(SeqNum(5), SeqNum(5), SeqNum(6), 65_535, 1460));
        assert!(!update_due(SeqNum(5), SeqNum(6), SeqNum(2000), 65_535, 1460));
        assert!(update_due(SeqNum(5), SeqNum(6), SeqNum(2926), 65_535, 1460));
        assert!(!update_due(SeqNum(5), SeqNum(5), SeqNum(5), 65_535, 1460));
    }

    proptest! {
        #![proptest_config(crate::test_seed::config())]

        #[test]
        fn the_peer_never_sees_the_edge_move_left(
            base: u32, shift in 0u8..=3,
            steps in proptest::collection::vec((0u32..3000, 0u32..40_000), 1..50),
        ) {
            let mut nxt = SeqNum(base);
            let mut edge = nxt + 30_000;
            let mut seen = edge;
            for (received, free) in steps {
                nxt += received.min(edge - nxt);
                edge = right_edge(nxt, edge, free, 40_000, 1460);
                let (field, promised) = window_field(nxt, edge, shift);
                edge = promised;
                let peer_sees = nxt + (u32::from(field) << shift);
                prop_assert!(peer_sees.at_or_after(seen));
                prop_assert_eq!(peer_sees, edge);
                seen = peer_sees;
            }
        }
    }
}
