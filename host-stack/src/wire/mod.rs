//! Frames: per protocol a checked parser and a small plain value that can be written back.
//!
//! Parsers take bytes from anyone: they never panic, and every refusal has a name ([`WireError`]) so
//! that it can be counted. Offsets and numbers come from `chimney_abi::wire`.
//!
//! ```text
//!   ethernet::parse -> arp::parse
//!                   `> ipv4::parse -> icmp::parse,   tcp::parse
//!                   `> ipv6::parse -> icmpv6::parse, tcp::parse
//! ```

pub mod arp;
pub mod ethernet;
pub mod icmp;
pub mod icmpv6;
pub mod ip;
pub mod ipv4;
pub mod ipv6;
pub mod tcp;

/// Why a frame was not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Shorter than its headers say.
    #[error("frame is shorter than its headers say")]
    Truncated,
    /// A version, type or length that contradicts itself.
    #[error("malformed header")]
    Malformed,
    /// A checksum is wrong.
    #[error("wrong checksum")]
    BadChecksum,
    /// Right, but nothing this stack handles: fragments, IP options, other protocols.
    #[error("unsupported feature")]
    Unsupported,
}

/// Big-endian 16-bit field at `at`.
fn be16(bytes: &[u8], at: usize) -> Result<u16, WireError> {
    let field = bytes.get(at..at + 2).ok_or(WireError::Truncated)?;
    Ok(u16::from_be_bytes([field[0], field[1]]))
}

/// Big-endian 32-bit field at `at`.
fn be32(bytes: &[u8], at: usize) -> Result<u32, WireError> {
    Ok(u32::from(be16(bytes, at)?) << 16 | u32::from(be16(bytes, at + 2)?))
}

/// `N` bytes at `at`.
fn array<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], WireError> {
    bytes.get(at..at + N).and_then(|field| field.try_into().ok()).ok_or(WireError::Truncated)
}

/// Writes `value` at `at`; the caller owns a buffer that is long enough.
fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}
