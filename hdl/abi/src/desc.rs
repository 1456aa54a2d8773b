//! Rings and records in host memory. All little-endian, naturally aligned.
//!
//! ```text
//!   ring             entry      written by   device learns of it by     host learns of it by
//!   command          Command    host         CMD_PRODUCER               CommandDone ring (phase bit)
//!   ordinary TX      TxDesc     host         TX_PRODUCER                StatusLine.tx_consumer
//!   ordinary RX      RxDesc     host         RX_PRODUCER                RxDone ring (phase bit)
//!   buffer pool      PoolDesc   host         POOL_PRODUCER              page maps, StatusLine.pool_consumer
//!   events           Event      device       EVENT_CONSUMER             phase bit
//!   send (per conn)  SendDesc   host         send doorbell              Shadow.snd_una
//!   recv (per conn)  RecvDesc   host         receive doorbell           Shadow.post_idx + write-back
//! ```
//! Indices are free-running 16-bit counts; a ring of 2^n entries uses the low n bits.
//! `phase` of an entry is the inverse of bit n of its index: 1 on the first lap.

use crate::wire::ethernet::MAX_JUMBO_LEN;
use crate::wire::tcp::MAX_WINDOW_SHIFT;
use crate::SeqNum;

/// Phase bit that the device writes into entry number `index` of a ring of `1 << log2` entries.
pub const fn phase(index: u16, log2: u8) -> bool {
    (index >> log2) & 1 == 0
}

/// Pool page size, bytes. Pages are aligned to it in IOVA and in sequence space.
pub const PAGE_BYTES: u32 = 1 << PAGE_LOG2;
/// log2 of [`PAGE_BYTES`].
pub const PAGE_LOG2: u32 = 12;
/// Page slots per connection: the byte with sequence number s lies in slot `(s >> 12) % 32`.
pub const PAGE_SLOTS: u32 = 32;
/// Largest right edge minus `rcv_nxt` that any connection may promise, bytes.
pub const MAX_RCV_WINDOW: u32 = (PAGE_SLOTS - 1) * PAGE_BYTES;

/// Largest distance from `snd_una` to our FIN behind `snd_limit`, whether it is posted or not: what may be unacknowledged. Sequence numbers
/// are compared by their difference, and that is right up to 2^31 only; no window is larger than 2^30 (RFC 7323 2.3).
pub const MAX_POSTED: u32 = 1 << 30;

/// How far [`aligned_edge`] may carry the right edge beyond the limit that the host rang, bytes.
pub const EDGE_SLACK: u32 = PAGE_BYTES;

/// A right edge that the window field can say exactly: `right`, moved right by less than one unit of `1 << shift` bytes.
///
/// A scaled window counts in units, so the edge that the peer computes depends on `rcv_nxt`; rounded down it would move left
/// while data arrives (law L3). Whoever moves `rcv_nxt` or the edge moves the edge to the next one that can be said;
/// so the record, the shadow record and the peer have the same one. An edge that would promise more than
/// [`MAX_RCV_WINDOW`], or go further than [`EDGE_SLACK`] beyond the host's `limit`, stays as it is: a peer that
/// sends a byte at a time must not keep a window open that nobody reads.
#[must_use]
pub fn aligned_edge(rcv_nxt: SeqNum, right: SeqNum, limit: SeqNum, shift: u8) -> SeqNum {
    if !right.after(rcv_nxt) {
        return right;
    }
    let mask = !(u32::MAX << shift.min(MAX_WINDOW_SHIFT));
    let window = (right - rcv_nxt).saturating_add(mask) & !mask;
    let edge = rcv_nxt + window;
    if window > MAX_RCV_WINDOW || edge.after(limit + EDGE_SLACK) {
        right
    } else {
        edge
    }
}

/// Size of an ordinary receive buffer, bytes: a jumbo frame in whole cache lines. A longer frame is dropped and counted.
pub const RX_BUFFER_BYTES: u32 = MAX_JUMBO_LEN.next_multiple_of(64) as u32;
/// Largest number of send descriptors one segment may touch; the driver merges smaller sends.
pub const MAX_DESC_PER_SEGMENT: u32 = 16;
/// Out-of-order ranges per connection; data beyond them is dropped and counted.
pub const OOO_RANGES: usize = 4;
/// Bytes of one connection's pair of shadow records.
pub const SHADOW_STRIDE: u32 = 64;
/// Bytes of one connection's page map.
pub const PAGE_MAP_STRIDE: u32 = PAGE_SLOTS * 8;
/// Time between two heartbeats, microseconds.
pub const HEARTBEAT_US: u32 = 10_000;

/// [`SendDesc::flags`]: set PSH on the segment that carries the last byte of this descriptor (R-176).
pub const SEND_PUSH: u8 = 1;
/// [`RecvDesc::flags`]: non-push mode (R-186).
pub const RECV_NO_PUSH: u8 = 1;
/// [`RecvDesc::flags`], written back: the engine placed `len` bytes here and will not touch the buffer again.
pub const RECV_RETIRED: u8 = 0x80;
/// [`TxDesc::flags`]: fill in a checksum (`csum_start`, `csum_offset`).
pub const TX_CSUM: u8 = 1;
/// [`TxDesc::flags`]: feed the frame to the receive path instead of the wire (forward, R-242).
pub const TX_LOOPBACK: u8 = 2;
/// [`TxDesc::flags`]: a large frame of TCP, to be sent as segments of [`TxDesc::mss`] bytes (R-006); checksums are filled in as well.
pub const TX_LSO: u8 = 4;
/// [`RxDone::flags`]: IPv4 header checksum was checked and is right.
pub const RX_IP_CSUM_OK: u16 = 1;
/// [`RxDone::flags`]: TCP or UDP checksum was checked and is right.
pub const RX_L4_CSUM_OK: u16 = 2;
/// [`RxDone::flags`]: the MAC marked the frame bad; contents are as received.
pub const RX_BAD_FRAME: u16 = 4;
/// [`Shadow::flags`]: the engine is in pool mode.
pub const SHADOW_POOL_MODE: u16 = 1;
/// [`Shadow::flags`]: the peer's FIN is in order and counted in `rcv_nxt`.
pub const SHADOW_PEER_FIN: u16 = 2;
/// [`Shadow::flags`]: our FIN is acknowledged (counted in `snd_una`).
pub const SHADOW_FIN_ACKED: u16 = 4;
/// [`Shadow::flags`]: an acceptable RST arrived; the connection is aborted.
pub const SHADOW_ABORTED: u16 = 8;
/// [`Shadow::flags`]: an upload is requested, see `reason`.
pub const SHADOW_RETRIEVE: u16 = 16;
/// [`Shadow::flags`]: the record holds a snapshot, not an all-zero initial slot.
pub const SHADOW_VALID: u16 = 32;

/// Fields of a command ring entry.
#[macro_export]
macro_rules! command_fields {
    ($user:path) => {
        $user! {
            /// Entry of the command ring.
            Command, 256 bits;
            /// [`Opcode`](chimney_abi::cmd::Opcode).
            opcode: 8, u8;
            /// Generation of `conn` (Abort).
            generation: 8, u8;
            /// Connection id (Abort).
            conn: 16, u16;
            /// Number of images at `iova`.
            count: 16, u16;
            /// Echoed in the completion.
            cookie: 16, u16;
            /// IOVA of the image array, 64-byte aligned.
            iova: 64, u64;
            /// Must be zero.
            reserved0: 64, u64;
            /// Must be zero.
            reserved1: 64, u64;
        }
    };
}

/// Fields of a command completion ring entry.
#[macro_export]
macro_rules! command_done_fields {
    ($user:path) => {
        $user! {
            /// Entry of the command completion ring.
            CommandDone, 64 bits;
            /// The command's cookie.
            cookie: 16, u16;
            /// [`Status`](chimney_abi::cmd::Status): worst of the images.
            status: 8, u8;
            /// Number of images that failed, 255 = 255 or more.
            failed: 8, u8;
            /// Zero.
            reserved: 31, u32;
            /// Phase bit.
            phase: 1, u8;
        }
    };
}

/// Fields of an ordinary transmit descriptor.
#[macro_export]
macro_rules! tx_desc_fields {
    ($user:path) => {
        $user! {
            /// Entry of the ordinary TX ring: one whole Ethernet frame without FCS.
            TxDesc, 128 bits;
            /// Frame address, IOVA, any alignment.
            addr: 64, u64;
            /// Frame length, bytes, 14 to 9018; with `TX_LSO` to 65535.
            len: 16, u16;
            /// `TX_CSUM`, `TX_LOOPBACK`, `TX_LSO`.
            flags: 8, u8;
            /// First byte covered by the checksum (the host put the pseudo-header sum into the checksum field).
            csum_start: 8, u8;
            /// Offset of the checksum field from `csum_start`, bytes.
            csum_offset: 8, u8;
            /// With `TX_LSO`: TCP payload of each segment but the last, bytes; with the headers at most 9018.
            mss: 16, u16;
            /// Zero.
            reserved: 8, u8;
        }
    };
}

/// Fields of an ordinary receive descriptor.
#[macro_export]
macro_rules! rx_desc_fields {
    ($user:path) => {
        $user! {
            /// Entry of the ordinary RX ring: one empty buffer of `RX_BUFFER_BYTES`.
            RxDesc, 64 bits;
            /// Buffer address, IOVA, 8-byte aligned.
            addr: 64, u64;
        }
    };
}

/// Fields of an ordinary receive completion.
#[macro_export]
macro_rules! rx_done_fields {
    ($user:path) => {
        $user! {
            /// Entry of the ordinary RX completion ring; buffers complete in the order posted.
            RxDone, 64 bits;
            /// Frame length, bytes, without FCS.
            len: 16, u16;
            /// `RX_*` checksum verdicts.
            flags: 16, u16;
            /// Index of the buffer's descriptor.
            index: 16, u16;
            /// Zero.
            reserved: 15, u16;
            /// Phase bit.
            phase: 1, u8;
        }
    };
}

/// Fields of a buffer pool ring entry.
#[macro_export]
macro_rules! pool_desc_fields {
    ($user:path) => {
        $user! {
            /// Entry of the pool ring: one free page, at `POOL_BASE + page * 4096`.
            PoolDesc, 64 bits;
            /// Page number.
            page: 16, u16;
            /// Zero.
            reserved: 48, u64;
        }
    };
}

/// Fields of a page map entry.
#[macro_export]
macro_rules! page_map_fields {
    ($user:path) => {
        $user! {
            /// Entry of a connection's page map: which page holds the bytes of one slot.
            /// Written by the device when it takes a page, and by the host before an
            /// offload that brings out-of-order data (all other entries zero).
            PageMapEntry, 64 bits;
            /// Page number.
            page: 16, u16;
            /// Generation of the connection.
            generation: 8, u8;
            /// 1 = in use.
            valid: 8, u8;
            /// Sequence number of the page's first byte, a multiple of 4096.
            seq: 32, u32;
        }
    };
}

/// Fields of an event ring entry.
#[macro_export]
macro_rules! event_fields {
    ($user:path) => {
        $user! {
            /// Entry of the event ring: a hint to look at a shadow record.
            Event, 64 bits;
            /// Connection id.
            conn: 16, u16;
            /// Generation of the connection.
            generation: 8, u8;
            /// [`EventKind`](chimney_abi::cmd::EventKind).
            kind: 8, u8;
            /// Zero.
            reserved: 31, u32;
            /// Phase bit.
            phase: 1, u8;
        }
    };
}

/// Fields of a send descriptor.
#[macro_export]
macro_rules! send_desc_fields {
    ($user:path) => {
        $user! {
            /// Entry of a connection's send ring. Stays valid until `snd_una` has passed its last byte.
            SendDesc, 128 bits;
            /// Data address, IOVA, any alignment.
            addr: 64, u64;
            /// Length, bytes, 1 to 2^24 - 1.
            len: 24, u32;
            /// `SEND_PUSH`.
            flags: 8, u8;
            /// Sequence number of the first byte.
            seq: 32, u32;
        }
    };
}

/// Fields of a receive descriptor.
#[macro_export]
macro_rules! recv_desc_fields {
    ($user:path) => {
        $user! {
            /// Entry of a connection's receive ring: one posted buffer.
            ///
            /// When the engine is done with a buffer it used, it writes the second beat back with
            /// `RECV_RETIRED`, `len` = bytes placed, `seq` = first byte placed. Entries below
            /// `Shadow.post_idx` without that flag were skipped: nothing was placed.
            RecvDesc, 128 bits;
            /// Buffer address, IOVA, any alignment.
            addr: 64, u64;
            /// Length, bytes, 1 to 2^24 - 1; write-back: bytes placed.
            len: 24, u32;
            /// `RECV_NO_PUSH`; write-back adds `RECV_RETIRED`.
            flags: 8, u8;
            /// Sequence number that the first byte placed here must have when the engine leaves pool mode.
            seq: 32, u32;
        }
    };
}

/// Fields of a shadow record.
#[macro_export]
macro_rules! shadow_fields {
    ($user:path) => {
        $user! {
            /// One of a connection's two alternating shadow records (law L2). Valid when `tag` equals
            /// `tag_end`; the later tag (modulo 2^16) is the newer one; tag bit 0 is the slot.
            /// Everything it counts is in host memory before it is.
            Shadow, 256 bits;
            /// Record number, first copy.
            tag: 16, u16;
            /// Generation of the connection.
            generation: 8, u8;
            /// TCP state (low nibble) and upload reason (high nibble).
            state: 8, u8;
            /// Durable `RCV.NXT`.
            rcv_nxt: 32, u32;
            /// Oldest unacknowledged sequence number.
            snd_una: 32, u32;
            /// Right edge of the receive window, the largest ever promised.
            rcv_right: 32, u32;
            /// Receive ring index: entries below it are done.
            post_idx: 16, u16;
            /// `SHADOW_*`.
            flags: 16, u16;
            /// Bytes placed in entry `post_idx`.
            post_off: 32, u32;
            /// Highest sequence number sent.
            snd_max: 32, u32;
            /// Peer's window at `snd_una`, in units of 2^`snd_wscale` bytes.
            snd_wnd: 16, u16;
            /// Record number, second copy.
            tag_end: 16, u16;
        }
    };
}

/// Fields of the status line.
#[macro_export]
macro_rules! status_line_fields {
    ($user:path) => {
        $user! {
            /// The device's own word to the host, at `STATUS_BASE`; rewritten on progress and every 10 ms.
            StatusLine, 128 bits;
            /// Counts up every `HEARTBEAT_US`.
            heartbeat: 32, u32;
            /// Frames of the ordinary TX ring that have been sent.
            tx_consumer: 16, u16;
            /// Pool ring entries taken.
            pool_consumer: 16, u16;
            /// Commands taken.
            cmd_consumer: 16, u16;
            /// RX ring entries used.
            rx_consumer: 16, u16;
            /// Low half of the device clock, microseconds.
            now_us: 32, u32;
        }
    };
}

crate::command_fields!(crate::host_record);
crate::command_done_fields!(crate::host_record);
crate::tx_desc_fields!(crate::host_record);
crate::rx_desc_fields!(crate::host_record);
crate::rx_done_fields!(crate::host_record);
crate::pool_desc_fields!(crate::host_record);
crate::page_map_fields!(crate::host_record);
crate::event_fields!(crate::host_record);
crate::send_desc_fields!(crate::host_record);
crate::recv_desc_fields!(crate::host_record);
crate::shadow_fields!(crate::host_record);
crate::status_line_fields!(crate::host_record);
