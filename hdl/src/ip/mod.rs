//! IPv4: headers and checksums.
pub mod checksum;
pub mod rx_parse;
pub mod tx_build;
