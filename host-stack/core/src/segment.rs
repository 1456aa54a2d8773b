//! A TCP segment as the decisions see it: numbers and control bits, no bytes.

use chimney_abi::wire::tcp;
use chimney_abi::SeqNum;

/// The eight control bits of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Flags(pub u8);

impl Flags {
    /// No bit set.
    pub const NONE: Flags = Flags(0);
    /// FIN alone.
    pub const FIN: Flags = Flags(tcp::FLAG_FIN);
    /// SYN alone.
    pub const SYN: Flags = Flags(tcp::FLAG_SYN);
    /// RST alone.
    pub const RST: Flags = Flags(tcp::FLAG_RST);
    /// PSH alone.
    pub const PSH: Flags = Flags(tcp::FLAG_PSH);
    /// ACK alone.
    pub const ACK: Flags = Flags(tcp::FLAG_ACK);
    /// URG alone.
    pub const URG: Flags = Flags(tcp::FLAG_URG);
    /// ECE alone (RFC 3168).
    pub const ECE: Flags = Flags(tcp::FLAG_ECE);
    /// CWR alone (RFC 3168).
    pub const CWR: Flags = Flags(tcp::FLAG_CWR);

    /// The bits of both.
    #[must_use]
    pub const fn with(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    /// `other` added if `wanted`.
    #[must_use]
    pub const fn with_if(self, wanted: bool, other: Flags) -> Flags {
        if wanted {
            self.with(other)
        } else {
            self
        }
    }

    /// True if every bit of `other` is set.
    #[must_use]
    pub const fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }
}

/// The variables of one received segment (RFC 9293 3.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Segment {
    /// SEG.SEQ.
    pub seq: SeqNum,
    /// SEG.ACK; meaningful only with the ACK bit.
    pub ack: SeqNum,
    /// SEG.WND in bytes, already multiplied by the peer's scale factor.
    pub wnd: u32,
    /// Control bits.
    pub flags: Flags,
    /// Bytes of text.
    pub data_len: u32,
}

impl Segment {
    /// SEG.LEN: text plus one for SYN and one for FIN.
    #[must_use]
    pub const fn len(&self) -> u32 {
        self.data_len + self.flags.has(Flags::SYN) as u32 + self.flags.has(Flags::FIN) as u32
    }

    /// True if the segment occupies no sequence space.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The sequence number after the segment.
    #[must_use]
    pub fn end(&self) -> SeqNum {
        self.seq + self.len()
    }
}
