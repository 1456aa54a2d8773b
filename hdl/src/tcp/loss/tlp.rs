//! Tail loss probe (RFC 8985 7), as `chimney_host_stack_core::tlp`.
//!
//! How long a calm connection waits, in two clocks: [`wait`], then [`limited`]. The rest is the program's ([`super::code`]).

use crate::prelude::*;
use crate::tcp::seq::min32;

/// Longest delay of an acknowledgment by the peer (`TLP.max_ack_delay`), microseconds.
pub const MAX_ACK_DELAY_US: u64 = 200_000;
/// Shortest wait for a probe, microseconds.
pub const MIN_PTO_US: u64 = 10_000;

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
