//! Round-trip time and retransmission timeout (RFC 6298), in microseconds, with shifts only.
//!
//! Pure kernel functions; the same names and results as `chimney_host_stack_core::rtt`.

use super::seq::{max32, min32};
use crate::prelude::*;

/// RTO before the first sample (RFC 6298 2.1).
pub const INITIAL_RTO_US: u64 = 1_000_000;
/// Longest round trip that is believed; keeps the scaled values far from 32 bits.
pub const MAX_SAMPLE_US: u64 = 60_000_000;

/// Smoothed estimate; both zero before the first sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Rtt {
    /// Eight times the smoothed RTT, microseconds.
    pub srtt_x8: Bits<32>,
    /// Four times the RTT variation, microseconds.
    pub rttvar_x4: Bits<32>,
}

/// Takes one measurement. Karn's rule is the caller's.
#[kernel]
pub fn sample(rtt: Rtt, rtt_us: Bits<32>) -> Rtt {
    // A sample of zero would look like "no sample yet".
    let r = max32(min32(rtt_us, bits::<32>(MAX_SAMPLE_US)), bits::<32>(1));
    let srtt = rtt.srtt_x8 >> bits::<2>(3);
    let deviation = if r < srtt { srtt - r } else { r - srtt };
    if rtt.srtt_x8 == 0 {
        Rtt { srtt_x8: r << bits::<2>(3), rttvar_x4: r << bits::<2>(1) }
    } else {
        Rtt {
            srtt_x8: max32(rtt.srtt_x8 - srtt + r, bits::<32>(1)),
            rttvar_x4: rtt.rttvar_x4 - (rtt.rttvar_x4 >> bits::<2>(2)) + deviation,
        }
    }
}

/// RTO without back-off.
#[kernel]
pub fn rto_us(rtt: Rtt, min_rto_us: Bits<32>, max_rto_us: Bits<32>) -> Bits<32> {
    if rtt.srtt_x8 == 0 {
        bits::<32>(INITIAL_RTO_US)
    } else {
        min32(max32((rtt.srtt_x8 >> bits::<2>(3)) + rtt.rttvar_x4, min_rto_us), max_rto_us)
    }
}

/// RFC 6298 5.5: the RTO after `count` expiries without an acknowledgment.
#[kernel]
pub fn backed_off(rto: Bits<32>, count: Bits<8>, max_rto_us: Bits<32>) -> Bits<32> {
    let shift = if count > 16 { bits::<5>(16) } else { bit_cast::<5, 8>(count) };
    let doubled = bit_cast::<48, 32>(rto) << shift;
    if doubled > bit_cast::<48, 32>(max_rto_us) {
        max_rto_us
    } else {
        bit_cast::<32, 48>(doubled)
    }
}

/// [`backed_off`] after one expiry more. `waited`: after `count` of them.
#[kernel]
pub fn backed_off_more(waited: Bits<32>, count: Bits<8>, max_rto_us: Bits<32>) -> Bits<32> {
    if count >= 16 {
        waited
    } else if waited.get_bit(31) || waited << bits::<1>(1) > max_rto_us {
        max_rto_us
    } else {
        waited << bits::<1>(1)
    }
}
