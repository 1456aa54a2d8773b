//! IPv4 and IPv6: headers and checksums.
pub mod checksum;
pub mod rx_parse;
pub mod rx_sums;
pub mod tx_build;
