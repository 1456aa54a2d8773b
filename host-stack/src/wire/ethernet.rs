//! Ethernet II frames, without FCS.
//!
//! Tagged and 802.3 frames are [`WireError::Unsupported`] here: tags belong to the neighbor object
//! (spec 14.2) and are not used by the plain path yet.

use super::{array, be16, put, WireError};
use chimney_abi::wire::ethernet as w;
use std::fmt;

/// A MAC address, first byte on the wire first.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct MacAddr(pub [u8; w::ADDR_LEN]);

impl MacAddr {
    /// The broadcast address.
    pub const BROADCAST: MacAddr = MacAddr(w::BROADCAST);

    /// True for multicast and broadcast addresses.
    #[must_use]
    pub fn is_group(&self) -> bool {
        self.0[0] & w::GROUP_BIT != 0
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The header of an untagged frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EthernetHeader {
    /// Destination.
    pub dst: MacAddr,
    /// Source.
    pub src: MacAddr,
    /// EtherType.
    pub ethertype: u16,
}

/// Splits a frame into header and payload; the payload may end with padding.
///
/// # Errors
/// `Truncated`, or `Unsupported` for 802.3 and tagged frames.
pub fn parse(frame: &[u8]) -> Result<(EthernetHeader, &[u8]), WireError> {
    let ethertype = be16(frame, w::ETHERTYPE)?;
    if ethertype < w::MIN_ETHERTYPE || ethertype == w::TYPE_VLAN {
        return Err(WireError::Unsupported);
    }
    let header = EthernetHeader {
        dst: MacAddr(array(frame, w::DST)?),
        src: MacAddr(array(frame, w::SRC)?),
        ethertype,
    };
    Ok((header, &frame[w::HEADER_LEN..]))
}

impl EthernetHeader {
    /// Writes the header over the first bytes of `frame`.
    pub fn write(&self, frame: &mut [u8]) {
        put(frame, w::DST, &self.dst.0);
        put(frame, w::SRC, &self.src.0);
        put(frame, w::ETHERTYPE, &self.ethertype.to_be_bytes());
    }
}

/// Fills a frame up to the minimum length.
pub fn pad(frame: &mut Vec<u8>) {
    if frame.len() < w::MIN_FRAME_LEN {
        frame.resize(w::MIN_FRAME_LEN, 0);
    }
}
