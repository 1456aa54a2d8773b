//! The wire and what is on its other end.
//!
//! * [`impairment`], [`link`]: loss, delay, reordering and so on, spelled like `tc netem`, deterministic by seed.
//! * [`ecn`]: a router's congestion mark.
//! * [`guise`]: a segment in any framing and family, for peers that know one of each.
//! * [`counters`]: what the peer kernel counted.
//! * [`pcap`]: captures of both sides of the NIC, with comments at the hand-overs.
//! * [`tap`], [`netns`]: a TAP device whose other end is a Linux kernel in its own network namespace.
//! * [`wire`]: links, capture and far end put together.
//! * [`peer`]: the programs that run there.

pub mod counters;
pub mod ecn;
pub mod guise;
pub mod impairment;
pub mod link;
pub mod netns;
pub mod pcap;
pub mod peer;
pub mod tap;
pub mod wire;
