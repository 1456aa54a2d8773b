//! The TCP core: pure functions and small values, shared by the host stack and the golden model.
//!
//! Every function is a total function over integers: no allocation, no clock, no I/O, no division
//! by a variable (but in slow units, named so), arrays of fixed length. So each one can stand next to an RTL block of the same
//! name and be compared with it value by value. Times are microseconds, sizes are bytes.
//!
//! | module | decides | standard |
//! |---|---|---|
//! | [`segment`] | what a segment says, apart from its bytes | RFC 9293 3.1 |
//! | [`acceptable`] | may this segment be processed, and which part of it | RFC 9293 3.10.7.4, RFC 5961 |
//! | [`ack`] | what an acknowledgment means; send window update | RFC 9293 3.10.7.4, RFC 5681, RFC 5961 |
//! | [`rtt`] | smoothed RTT, RTO, back-off | RFC 6298 |
//! | [`cwnd`], [`recovery`] | how much may be in flight; loss recovery | RFC 5681, RFC 3465, RFC 6582 |
//! | [`ranges`] | sorted disjoint ranges: out-of-order data and SACKed data | RFC 2018 |
//! | [`scoreboard`], [`rack`], [`tlp`] | which bytes are lost, what to resend | RFC 6675, RFC 8985 |
//! | [`prr`], [`loss_recovery`] | how much to send in recovery; all of it together | RFC 9937 |
//! | [`congestion`], [`cubic`], [`hystart`] | how the window falls and grows | RFC 9438, RFC 9406 |
//! | [`ecn`] | marks instead of losses | RFC 3168 |
//! | [`window`], [`delayed_ack`], [`ack_frequency`] | what we advertise and when we acknowledge | RFC 9293 3.8.6 |
//! | [`transmit`] | send now or wait (Nagle, SWS), persist | RFC 9293 3.7.4, 3.8.6 |
//! | [`options`], [`timestamps`] | TCP options, PAWS | RFC 9293 3.2, RFC 7323 |
//! | [`watchdog`] | whether an offload still pays | R-164 |
//! | [`checksum`], [`ip_id`] | Internet checksum, IPv4 identification | RFC 1071, R-279 |
//! | [`lso`] | the segments of a large frame | R-006 |
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod acceptable;
pub mod ack;
pub mod ack_frequency;
pub mod checksum;
pub mod congestion;
pub mod cubic;
pub mod cwnd;
pub mod delayed_ack;
pub mod ecn;
pub mod hystart;
pub mod ip_id;
pub mod loss_recovery;
pub mod lso;
pub mod options;
pub mod prr;
pub mod rack;
pub mod ranges;
pub mod recovery;
pub mod rtt;
pub mod scoreboard;
pub mod segment;
#[cfg(test)]
mod test_seed;
pub mod timestamps;
pub mod tlp;
pub mod transmit;
pub mod watchdog;
pub mod window;

pub use chimney_abi::SeqNum;
