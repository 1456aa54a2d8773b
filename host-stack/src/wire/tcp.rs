//! TCP segments (RFC 9293 3.1).

use super::ip::IpHeader;
use super::{array, be16, be32, put, WireError};
use chimney_abi::wire::{ethernet as we, ip_protocol, tcp as w};
use chimney_abi::SeqNum;
use chimney_host_stack_core::options::{self, TcpOptions};
use chimney_host_stack_core::segment::{Flags, Segment};

/// A received segment: header fields, options and text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpSegment<'a> {
    /// Sender's port.
    pub src_port: u16,
    /// Receiver's port.
    pub dst_port: u16,
    /// Sequence number.
    pub seq: SeqNum,
    /// Acknowledgment number.
    pub ack: SeqNum,
    /// Control bits.
    pub flags: Flags,
    /// Window field, not scaled.
    pub window: u16,
    /// Options.
    pub options: TcpOptions,
    /// Text.
    pub text: &'a [u8],
    /// ECN field of the IP header around it; 0 if that is not known any more.
    pub ecn: u8,
}

/// Reads the segment in a packet with header `ip`.
///
/// # Errors
/// `Truncated`, `Malformed`, `BadChecksum`.
pub fn parse<'a>(bytes: &'a [u8], ip: &IpHeader) -> Result<TcpSegment<'a>, WireError> {
    let len = u16::try_from(bytes.len()).map_err(|_| WireError::Malformed)?;
    let mut sum = ip.pseudo(ip_protocol::TCP, len);
    sum.add_bytes(bytes);
    if !sum.is_valid() {
        return Err(WireError::BadChecksum);
    }
    Ok(TcpSegment { ecn: ip.ecn(), ..parse_trusted(bytes)? })
}

/// Reads a segment without looking at its checksum (one that was verified before it was held).
///
/// # Errors
/// `Truncated`, `Malformed`.
pub fn parse_trusted(bytes: &[u8]) -> Result<TcpSegment<'_>, WireError> {
    let header_len = usize::from(array::<1>(bytes, w::DATA_OFFSET)?[0] >> 4) * 4;
    if header_len < w::HEADER_LEN {
        return Err(WireError::Malformed);
    }
    let option_bytes = bytes.get(w::HEADER_LEN..header_len).ok_or(WireError::Truncated)?;
    Ok(TcpSegment {
        src_port: be16(bytes, w::SRC_PORT)?,
        dst_port: be16(bytes, w::DST_PORT)?,
        seq: SeqNum(be32(bytes, w::SEQ)?),
        ack: SeqNum(be32(bytes, w::ACK)?),
        flags: Flags(bytes[w::FLAGS]),
        window: be16(bytes, w::WINDOW)?,
        options: options::parse(option_bytes),
        text: &bytes[header_len..],
        ecn: 0,
    })
}

impl TcpSegment<'_> {
    /// The numbers of the segment, its window multiplied by the peer's scale. A SYN's window is never
    /// scaled (RFC 7323 2.2).
    #[must_use]
    pub fn numbers(&self, snd_wind_shift: u8) -> Segment {
        let shift = if self.flags.has(Flags::SYN) { 0 } else { snd_wind_shift };
        Segment {
            seq: self.seq,
            ack: self.ack,
            wnd: u32::from(self.window) << shift,
            flags: self.flags,
            // `as`: a segment is shorter than 64 KiB.
            data_len: self.text.len() as u32,
        }
    }
}

/// A segment to send.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct OutSegment {
    /// Our port.
    pub src_port: u16,
    /// The peer's port.
    pub dst_port: u16,
    /// Sequence number.
    pub seq: SeqNum,
    /// Acknowledgment number.
    pub ack: SeqNum,
    /// Control bits.
    pub flags: Flags,
    /// Window field.
    pub window: u16,
    /// Options.
    pub options: TcpOptions,
    /// Text.
    pub text: Vec<u8>,
    /// ECN field of the IP header.
    pub ecn: u8,
    /// 0 = one segment; else it is a large one, to be divided into segments with so many bytes of text.
    pub mss: u16,
}

impl OutSegment {
    /// Segments on the wire.
    #[must_use]
    pub fn count(&self) -> u32 {
        // `as`: at most 64 KiB.
        self.text.len().div_ceil(usize::from(self.mss).max(1)) as u32
    }

    /// The frame with room for an Ethernet header in front; `ip` says TCP. A large one has no checksum: each segment gets its own.
    #[must_use]
    pub fn to_frame(&self, ip: &IpHeader) -> Vec<u8> {
        let mut option_bytes = [0; w::MAX_OPTIONS_LEN];
        let options_len = self.options.build(&mut option_bytes);
        let header_len = w::HEADER_LEN + options_len;
        let ip = ip.with_ecn(self.ecn);
        let mut frame = ip.frame(header_len + self.text.len());
        let bytes = &mut frame[we::HEADER_LEN + ip.header_len()..];
        put(bytes, header_len, &self.text);
        put(bytes, w::SRC_PORT, &self.src_port.to_be_bytes());
        put(bytes, w::DST_PORT, &self.dst_port.to_be_bytes());
        put(bytes, w::SEQ, &self.seq.0.to_be_bytes());
        put(bytes, w::ACK, &self.ack.0.to_be_bytes());
        // `as`: at most 15 words.
        bytes[w::DATA_OFFSET] = ((header_len / 4) as u8) << 4;
        bytes[w::FLAGS] = self.flags.0;
        put(bytes, w::WINDOW, &self.window.to_be_bytes());
        put(bytes, w::HEADER_LEN, &option_bytes[..options_len]);
        if self.mss != 0 {
            return frame;
        }
        // `as`: the caller keeps packets within the MTU.
        let len = bytes.len() as u16;
        let mut sum = ip.pseudo(ip_protocol::TCP, len);
        sum.add_bytes(bytes);
        put(bytes, w::CHECKSUM, &sum.finish().to_be_bytes());
        frame
    }
}
