//! What the blocks of the transmitter say to each other about one frame under way.
//!
//! ```text
//!   Head --WalkJob--> Walk --Piece--> Cut --LandBurst--> Land
//!     |                                `--Fetched--> Retire --TxFrame--> TxStream
//!     `---------------Item---------------------------^
//! ```
//! Every frame under way has a slot, taken and given back in order: 16 header words, and the place where its outcome is kept.
use crate::eth::tx::{PLACE, RING_LOG2, SLOT_LOG2};
use crate::ip::tx_build::Form;
use crate::prelude::*;
use chimney_abi::wire::ethernet;

/// Longest frame, bytes.
pub const MAX_LEN: u64 = ethernet::MAX_JUMBO_LEN as u64;
/// Bits of a byte's place in the payload ring.
pub const BYTE_PLACE: usize = RING_LOG2 + 3;
/// [`crate::types::TxDone::result`]: sent.
pub const SENT: u64 = 0;
/// [`crate::types::TxDone::result`]: path or neighbor not usable.
pub const NO_ROUTE: u64 = 1;
/// [`crate::types::TxDone::result`]: a read failed, or the ring does not hold the bytes.
pub const NO_DATA: u64 = 2;

/// Bytes to find and read for a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct WalkJob {
    /// 1 = bytes of a send ring, 0 = `len` bytes at `addr`.
    pub walk: Bit,
    /// The frame's slot.
    pub slot: Bits<SLOT_LOG2>,
    /// Where the first byte goes in the payload ring.
    pub dst: Bits<BYTE_PLACE>,
    /// Connection id.
    pub conn: Bits<16>,
    /// Forget the cursor of the connection first.
    pub reset: Bit,
    /// Address of the send ring, or of the bytes.
    pub addr: Bits<64>,
    /// log2 of send ring entries.
    pub log2: Bits<5>,
    /// Sequence number of the first byte; without `walk` the first byte that counts for the checksum.
    pub seq: Bits<32>,
    /// Bytes; 0 = none: only with `walk` and `reset`, and no piece is made of it.
    pub len: Bits<16>,
}

/// Bytes that lie behind each other in host memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Piece {
    /// The frame's slot.
    pub slot: Bits<SLOT_LOG2>,
    /// Where the first byte goes.
    pub dst: Bits<BYTE_PLACE>,
    /// Address of the first byte.
    pub addr: Bits<64>,
    /// Bytes; may be 0 if `lost` or `error`.
    pub len: Bits<16>,
    /// First byte that counts for the checksum.
    pub from: Bits<8>,
    /// The frame's first piece.
    pub first: Bit,
    /// Its last one; the following fields mean something only then.
    pub ends: Bit,
    /// PSH is wanted.
    pub push: Bit,
    /// The ring does not hold the bytes.
    pub lost: Bit,
    /// A descriptor could not be read.
    pub error: Bit,
}

/// What the receiving side must know of a burst.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct LandBurst {
    /// The frame's slot.
    pub slot: Bits<SLOT_LOG2>,
    /// Where the first byte goes.
    pub dst: Bits<BYTE_PLACE>,
    /// Bytes to skip in the first beat.
    pub skip: Bits<3>,
    /// Bytes that count in the last beat, modulo 8.
    pub tail: Bits<3>,
    /// Bytes of the first beats, skipped ones included, that do not count for the checksum.
    pub from: Bits<9>,
    /// The frame's first burst.
    pub first: Bit,
}

/// All bytes of a frame have been asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Fetched {
    /// Bursts asked for so far, of all frames.
    pub bursts: Bits<16>,
    /// See [`Piece`].
    pub push: Bit,
    /// See [`Piece`].
    pub lost: Bit,
    /// See [`Piece`].
    pub error: Bit,
}

/// What has landed of a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Landed {
    /// Ones-complement sum, in lane order.
    pub sum: Bits<16>,
    /// Some beat was an error.
    pub error: Bit,
}

/// A frame under way, as far as it is known when it begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Item {
    /// 1 = a segment of a connection, 0 = an ordinary frame.
    pub is_job: Bit,
    /// 1 = its headers are in the slot and summed: a segment of a connection or of a large frame.
    pub is_segment: Bit,
    /// 1 = an entry of the TX ring is done with it.
    pub ends_entry: Bit,
    /// Connection id.
    pub conn: Bits<16>,
    /// Path id.
    pub path: Bits<16>,
    /// `TxDone::result` if nothing goes wrong from here on.
    pub result: Bits<2>,
    /// Refused for what was asked: `CNT_BAD_REQUEST`.
    pub bad: Bit,
    /// Counts as a retransmission.
    pub retransmit: Bit,
    /// PSH may be added.
    pub may_push: Bit,
    /// It has bytes of host memory.
    pub reads: Bit,
    /// To the receive path.
    pub loopback: Bit,
    /// Length, bytes.
    pub len: Bits<14>,
    /// Header bytes in the slot.
    pub head_len: Bits<7>,
    /// First word in the payload ring.
    pub start: Bits<PLACE>,
    /// Word behind the last one.
    pub end: Bits<PLACE>,
    /// `PathImage::ip_id_start`; without `is_job` the identification itself.
    pub ip_id_start: Bits<16>,
    /// Where things lie in it (a segment's).
    pub form: Form,
    /// A checksum is wanted.
    pub has_csum: Bit,
    /// Its place, bytes from the frame's start.
    pub csum_at: Bits<9>,
    /// Its sum begins at an odd byte.
    pub is_odd: Bit,
}
