//! BAR0: one page of 32-bit registers, and the doorbell region.
//!
//! A 64-bit register pair is written low word first. Producer registers are doorbells:
//! they may be written at any time and never stall for longer than the doorbell FIFO is full.

use crate::cmd::UploadReason;
use crate::layout::{Access, Field, Reg};

/// Size of BAR0, bytes.
pub const BAR0_BYTES: u32 = 0x2_0000;
/// Start of the doorbell region.
pub const DOORBELL_BASE: u32 = 0x1_0000;
/// Doorbell bytes per connection: 8 for send, then 8 for receive.
///
/// Low word: bits 15:0 producer index, 23:16 generation, 31:24 flags (`DOORBELL_*`).
/// High word: stream limit; writing it commits both words. Send: sequence number after the last
/// posted byte. Receive: right edge that may be advertised (the host's consumed bytes plus what it can hold).
pub const DOORBELL_STRIDE: u32 = 16;
/// Offset of the receive doorbell.
pub const DOORBELL_RECEIVE: u32 = 8;
/// Send doorbell flag: a FIN follows the stream limit (graceful disconnect, R-213).
pub const DOORBELL_FIN: u8 = 1;

/// Byte offset of a connection's doorbell pair.
pub const fn doorbell(conn: u16, receive: bool) -> u32 {
    DOORBELL_BASE + conn as u32 * DOORBELL_STRIDE + if receive { DOORBELL_RECEIVE } else { 0 }
}

/// `ID`: upper half, the letters "CH".
pub const ID_MAGIC: u32 = 0x4843;

macro_rules! regs {
    ($($(#[doc = $doc:literal])* $name:ident = $off:literal, $acc:ident, $reset:expr $(, [$($f:ident : $at:literal, $w:literal, $fd:literal;)*])?;)*) => {
        $($(#[doc = $doc])* pub const $name: Reg = Reg {
            name: stringify!($name), offset: $off, access: Access::$acc, reset: $reset,
            fields: &[$($(Field { name: stringify!($f), offset_bits: $at, width_bits: $w, doc: $fd },)*)?],
            doc: concat!($($doc,)* ""),
        };)*
        /// Every register, by offset.
        pub const ALL: &[&Reg] = &[$(&$name,)*];
    };
}

regs! {
    /// Identity: magic in the upper half, contract major version in the lower. All ones = device gone.
    ID = 0x000, Ro, (ID_MAGIC << 16) | crate::VERSION_MAJOR as u32, [major: 0, 16, "Contract major version."; magic: 16, 16, "ID_MAGIC."; ];
    /// Contract minor version and build parameters.
    VERSION = 0x004, Ro, 0, [minor: 0, 16, "Contract minor version."; conn_log2: 16, 8, "log2 of the number of connections."; table_log2: 24, 8, "log2 of the number of paths and of neighbors."; ];
    /// What the device can do.
    CAPS = 0x008, Ro, 0, [ipv4: 0, 1, "Offloads IPv4."; ipv6: 1, 1, "Offloads IPv6."; sack_receive: 2, 1, "Generates SACK blocks."; sack_send: 3, 1, "Uses SACK blocks."; vlan: 4, 1, "802.1Q tags by neighbor and priority."; llc_snap: 5, 1, "LLC/SNAP by neighbor."; ecn: 6, 1, "Classic ECN."; lso: 7, 1, "Segments large ordinary frames (TX_LSO)."; ];
    /// Enables. Clearing `enable` stops all DMA after the transfers in flight.
    CTRL = 0x00c, Rw, 0, [enable: 0, 1, "Rings and MAC run."; ];
    /// Device state.
    STATUS = 0x010, Ro, 0, [idle: 0, 1, "Disabled and no DMA outstanding."; dma_error: 1, 1, "An AXI error response was seen; sticky until reset."; ];
    /// Writing 1 resets everything but nothing outside the NIC; reads 0 when done.
    RESET = 0x014, Rw, 0, [reset: 0, 1, "Reset."; ];
    /// Interface MAC address, first four bytes (first byte in bits 7:0).
    MAC_LO = 0x018, Rw, 0;
    /// Interface MAC address, last two bytes.
    MAC_HI = 0x01c, Rw, 0;
    /// Device clock, microseconds, low word.
    TIME_LO = 0x020, Ro, 0;
    /// Device clock, high word.
    TIME_HI = 0x024, Ro, 0;
    /// Microseconds per clock cycle, 8 integer and 24 fraction bits; may be changed at any time (slewing).
    TIME_INC = 0x028, Rw, 134_218;
    /// Writing sets the low word of the clock (only while disabled).
    TIME_SET = 0x02c, Wo, 0;
    /// Command ring address.
    CMD_BASE_LO = 0x040, Rw, 0;
    /// Command ring address, high word.
    CMD_BASE_HI = 0x044, Rw, 0;
    /// Command completion ring address.
    CMD_DONE_BASE_LO = 0x048, Rw, 0;
    /// Command completion ring address, high word.
    CMD_DONE_BASE_HI = 0x04c, Rw, 0;
    /// Ordinary TX ring address.
    TX_BASE_LO = 0x050, Rw, 0;
    /// Ordinary TX ring address, high word.
    TX_BASE_HI = 0x054, Rw, 0;
    /// Ordinary RX ring address.
    RX_BASE_LO = 0x058, Rw, 0;
    /// Ordinary RX ring address, high word.
    RX_BASE_HI = 0x05c, Rw, 0;
    /// Ordinary RX completion ring address.
    RX_DONE_BASE_LO = 0x060, Rw, 0;
    /// Ordinary RX completion ring address, high word.
    RX_DONE_BASE_HI = 0x064, Rw, 0;
    /// Pool ring address.
    POOL_RING_LO = 0x068, Rw, 0;
    /// Pool ring address, high word.
    POOL_RING_HI = 0x06c, Rw, 0;
    /// Address of pool page 0, 4096-byte aligned.
    POOL_BASE_LO = 0x070, Rw, 0;
    /// Address of pool page 0, high word.
    POOL_BASE_HI = 0x074, Rw, 0;
    /// Event ring address.
    EVENT_BASE_LO = 0x078, Rw, 0;
    /// Event ring address, high word.
    EVENT_BASE_HI = 0x07c, Rw, 0;
    /// Shadow record table address (64 bytes per connection).
    SHADOW_BASE_LO = 0x080, Rw, 0;
    /// Shadow record table address, high word.
    SHADOW_BASE_HI = 0x084, Rw, 0;
    /// Page map table address (256 bytes per connection).
    PAGE_MAP_BASE_LO = 0x088, Rw, 0;
    /// Page map table address, high word.
    PAGE_MAP_BASE_HI = 0x08c, Rw, 0;
    /// Status line address, 16-byte aligned.
    STATUS_BASE_LO = 0x090, Rw, 0;
    /// Status line address, high word.
    STATUS_BASE_HI = 0x094, Rw, 0;
    /// log2 of ring sizes, 1 to 15; command and its completion ring share one, so do RX and its completions.
    RING_SIZES = 0x098, Rw, 0x0808_0808, [cmd: 0, 4, "Command rings."; tx: 8, 4, "TX ring."; rx: 16, 4, "RX rings."; pool: 24, 4, "Pool ring."; event: 28, 4, "Event ring; at least one more entry than connections."; ];
    /// Command ring producer index.
    CMD_PRODUCER = 0x0a0, Wo, 0;
    /// Ordinary TX ring producer index.
    TX_PRODUCER = 0x0a4, Wo, 0;
    /// Ordinary RX ring producer index.
    RX_PRODUCER = 0x0a8, Wo, 0;
    /// Pool ring producer index.
    POOL_PRODUCER = 0x0ac, Wo, 0;
    /// Event ring consumer index: events below it are consumed and their connections may raise another.
    EVENT_CONSUMER = 0x0b0, Wo, 0;
    /// Interrupt causes pending; write one to clear.
    IRQ_STATUS = 0x0c0, W1c, 0, [event: 0, 1, "Event ring."; rx: 1, 1, "Ordinary RX completion."; tx: 2, 1, "Ordinary TX progress."; cmd: 3, 1, "Command completion."; ];
    /// Interrupt enables, same bits.
    IRQ_ENABLE = 0x0c4, Rw, 0;
    /// Least time between interrupts, microseconds.
    IRQ_HOLDOFF_US = 0x0c8, Rw, 0;
    /// Segments received before an ACK must be sent.
    ACK_FREQUENCY = 0x100, Rw, 2;
    /// Delayed-ACK time, microseconds.
    DELAYED_ACK_US = 0x104, Rw, 40_000;
    /// Duplicate ACKs that start fast retransmit.
    DUP_ACK_THRESHOLD = 0x108, Rw, 3;
    /// Push timer, microseconds.
    PUSH_US = 0x10c, Rw, 500_000;
    /// Smallest RTO, microseconds.
    MIN_RTO_US = 0x110, Rw, 200_000;
    /// Largest RTO, microseconds.
    MAX_RTO_US = 0x114, Rw, 60_000_000;
    /// FIN_WAIT_2 time-out, microseconds.
    FIN_WAIT_2_US = 0x118, Rw, 120_000_000;
    /// Key of the lookup hash, low word: a secret, random number. What it is when the device is enabled counts until the next reset.
    HASH_KEY_LO = 0x11c, Rw, 0x5bd1_e995;
    /// Key of the lookup hash, high word.
    HASH_KEY_HI = 0x120, Rw, 0x9e37_79b9;
    /// Watchdog: what each connection did is judged once in so many microseconds; 0 = never.
    WATCH_PERIOD_US = 0x124, Rw, 0;
    /// Watchdog: least numbers in a period.
    WATCH_LEAST = 0x128, Rw, 0x1000, [progress: 0, 8, "Fewer moves of RCV.NXT and SND.UNA than this: `LowActivity`; 0 = never."; segments: 8, 8, "Shares count only of at least so many segments."; ];
    /// Watchdog: shares in 1/256 of the first 255 segments of a period; 0 = never asked for.
    WATCH_SHARES = 0x12c, Rw, 0, [drop_rate: 0, 8, "Segments sent again, of those sent: `HighDropRate`."; small_io: 8, 8, "Text that ended a posted buffer and went on elsewhere, of the segments received with text: `SmallIo`."; no_preposting: 16, 8, "Text in order that began in a page of the pool: `NoBufferPreposting`."; fragmentation: 24, 8, "Segments that the host forwarded: `HighFragmentation`."; ];
    /// Watchdog: another share.
    WATCH_ORDER = 0x130, Rw, 0, [out_of_order: 0, 8, "Segments with text out of order: `HighOutOfOrderPackets`."; ];
    /// Counter: frames received from the MAC, low word (each counter is followed by its high word).
    CNT_RX_FRAMES = 0x200, Ro, 0;
    /// Counter: bytes received from the MAC, without FCS.
    CNT_RX_BYTES = 0x208, Ro, 0;
    /// Counter: frames sent to the MAC.
    CNT_TX_FRAMES = 0x210, Ro, 0;
    /// Counter: bytes sent to the MAC, without FCS.
    CNT_TX_BYTES = 0x218, Ro, 0;
    /// Counter: frames of offloaded connections consumed by the engine.
    CNT_RX_OFFLOADED = 0x220, Ro, 0;
    /// Counter: bytes of those frames.
    CNT_RX_OFFLOADED_BYTES = 0x228, Ro, 0;
    /// Counter: frames sent by the engine.
    CNT_TX_OFFLOADED = 0x230, Ro, 0;
    /// Counter: bytes of those frames.
    CNT_TX_OFFLOADED_BYTES = 0x238, Ro, 0;
    /// Counter: payload segments retransmitted by the engine.
    CNT_RETRANSMITS = 0x240, Ro, 0;
    /// Counter: retransmission time-outs.
    CNT_RTO = 0x248, Ro, 0;
    /// Counter: fast retransmits.
    CNT_FAST_RETRANSMITS = 0x250, Ro, 0;
    /// Counter: frames dropped, MAC marked them bad.
    CNT_DROP_BAD_FRAME = 0x258, Ro, 0;
    /// Counter: frames dropped, longer than an ordinary buffer.
    CNT_DROP_TOO_LONG = 0x260, Ro, 0;
    /// Counter: frames dropped, packet memory full.
    CNT_DROP_OVERRUN = 0x268, Ro, 0;
    /// Counter: frames dropped, ordinary RX ring empty.
    CNT_DROP_NO_BUFFER = 0x270, Ro, 0;
    /// Counter: segments dropped, buffer pool empty.
    CNT_DROP_NO_PAGE = 0x278, Ro, 0;
    /// Counter: segments dropped, out-of-order ranges full.
    CNT_DROP_NO_RANGE = 0x280, Ro, 0;
    /// Counter: segments outside the window or old duplicates.
    CNT_UNACCEPTABLE = 0x288, Ro, 0;
    /// Counter: challenge ACKs sent (RFC 5961).
    CNT_CHALLENGE_ACKS = 0x290, Ro, 0;
    /// Counter: doorbells and commands with a stale generation (law L1).
    CNT_STALE = 0x298, Ro, 0;
    /// Counter: matched frames handed up to the host unprocessed (law L4).
    CNT_HANDED_UP = 0x2a0, Ro, 0;
    /// Counter: malformed doorbells, descriptors or commands refused.
    CNT_BAD_REQUEST = 0x2a8, Ro, 0;
    /// Counter: segments with text that carried a congestion mark (CE, RFC 3168), of connections that negotiated ECN.
    CNT_CE_MARKS_IN = 0x2b0, Ro, 0;
    /// Counter: congestion windows reduced because the peer echoed a mark (RFC 3168 6.1.2).
    CNT_ECE_REDUCTIONS = 0x2b8, Ro, 0;
    /// Counter: connections that the device asks the host to take back, reason `ReceivedUrgentData`.
    CNT_UPLOAD_URGENT = 0x2c0, Ro, 0;
    /// Counter: the same, reason `TimeoutExpiration`.
    CNT_UPLOAD_TIMEOUT = 0x2c8, Ro, 0;
    /// Counter: the same, reason `InvalidState`.
    CNT_UPLOAD_INVALID_STATE = 0x2d0, Ro, 0;
    /// Counter: the same, reason `UploadRequested`.
    CNT_UPLOAD_REQUESTED = 0x2d8, Ro, 0;
    /// Counter: the same, reason `HardwareFailure`.
    CNT_UPLOAD_HARDWARE = 0x2e0, Ro, 0;
    /// Counter: requests that the host need not grant, reason `LowActivity`.
    CNT_UPLOAD_LOW_ACTIVITY = 0x2e8, Ro, 0;
    /// Counter: the same, reason `HighDropRate`.
    CNT_UPLOAD_DROP_RATE = 0x2f0, Ro, 0;
    /// Counter: the same, reason `SmallIo`.
    CNT_UPLOAD_SMALL_IO = 0x2f8, Ro, 0;
    /// Counter: the same, reason `NoBufferPreposting`.
    CNT_UPLOAD_NO_PREPOSTING = 0x300, Ro, 0;
    /// Counter: the same, reason `HighFragmentation`.
    CNT_UPLOAD_FRAGMENTATION = 0x308, Ro, 0;
    /// Counter: the same, reason `HighOutOfOrderPackets`.
    CNT_UPLOAD_OUT_OF_ORDER = 0x310, Ro, 0;
    /// Counter: acknowledgments whose SACK blocks were not looked at, because loss recovery had too much to do (law L5).
    CNT_ACKS_UNHEARD = 0x318, Ro, 0;
}

/// The counter of upload requests with this reason.
pub const fn upload_counter(reason: UploadReason) -> &'static Reg {
    match reason {
        UploadReason::ReceivedUrgentData => &CNT_UPLOAD_URGENT,
        UploadReason::TimeoutExpiration => &CNT_UPLOAD_TIMEOUT,
        UploadReason::InvalidState => &CNT_UPLOAD_INVALID_STATE,
        UploadReason::UploadRequested => &CNT_UPLOAD_REQUESTED,
        UploadReason::HardwareFailure => &CNT_UPLOAD_HARDWARE,
        UploadReason::LowActivity => &CNT_UPLOAD_LOW_ACTIVITY,
        UploadReason::HighDropRate => &CNT_UPLOAD_DROP_RATE,
        UploadReason::SmallIo => &CNT_UPLOAD_SMALL_IO,
        UploadReason::NoBufferPreposting => &CNT_UPLOAD_NO_PREPOSTING,
        UploadReason::HighFragmentation => &CNT_UPLOAD_FRAGMENTATION,
        UploadReason::HighOutOfOrderPackets => &CNT_UPLOAD_OUT_OF_ORDER,
    }
}

/// Number of 64-bit counters.
pub const COUNTERS: usize = ((CNT_ACKS_UNHEARD.offset - CNT_RX_FRAMES.offset) / 8 + 1) as usize;
