//! Tail loss probe (RFC 8985 7), as `chimney_host_stack_core::tlp`.
//!
//! [`on_ack`] is one clock. The wait is two: [`wait`], then [`limited`].

use crate::prelude::*;
use crate::tcp::seq::{after, before, min32};

/// Bits of a [`Tlp`].
pub const TLP: usize = 34;
/// Longest delay of an acknowledgment by the peer (`TLP.max_ack_delay`), microseconds.
pub const MAX_ACK_DELAY_US: u64 = 200_000;
/// Shortest wait for a probe, microseconds.
pub const MIN_PTO_US: u64 = 10_000;

/// An outstanding probe.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Tlp {
    /// A probe was sent and its episode is not over.
    pub is_outstanding: Bit,
    /// SND.MAX after the probe (`TLP.end_seq`).
    pub end: Bits<32>,
    /// The probe was a retransmission (`TLP.is_retrans`).
    pub is_resent: Bit,
}

/// What an acknowledgment says to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct TlpStep {
    /// The probe after it.
    pub tlp: Tlp,
    /// It repaired a loss, which congestion control must hear of.
    pub is_repaired: Bit,
}

/// RFC 8985 7.4.2.
#[kernel]
pub fn on_ack(t: Tlp, ack: Bits<32>, is_duplicate: bool, is_dsack: bool, has_sack: bool) -> TlpStep {
    let reached = t.is_outstanding && !before(ack, t.end);
    let is_original = !t.is_resent || is_dsack;
    let is_above = after(ack, t.end);
    let both = is_duplicate && !has_sack;
    let is_over = reached && (is_original || is_above || both);
    TlpStep {
        tlp: Tlp { is_outstanding: t.is_outstanding && !is_over, ..t },
        is_repaired: reached && !is_original && is_above,
    }
}

/// First clock of `TLP_calc_PTO`: two round trips, at least 10 ms; `is_lone`: no more than a segment is in flight.
#[kernel]
pub fn wait(srtt: Bits<32>, is_lone: bool) -> Bits<34> {
    let twice = bit_cast::<34, 32>(srtt) << bits::<1>(1);
    let pto = if twice < MIN_PTO_US { bits::<34>(MIN_PTO_US) } else { twice };
    pto + if is_lone { bits::<34>(MAX_ACK_DELAY_US) } else { bits::<34>(0) }
}

/// Second clock: at most the RTO.
#[kernel]
pub fn limited(wait: Bits<34>, rto: Bits<32>) -> Bits<32> {
    if wait.get_bits::<2>(32).any() {
        rto
    } else {
        min32(wait.get_bits::<32>(0), rto)
    }
}
