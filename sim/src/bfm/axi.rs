//! AXI4, the NIC's master port: the values of one clock, per direction, and the constants of our profile.
//!
//! 64-bit data, incrementing bursts of full beats, at most 256 bytes, never across 4 KiB. The memory behind the
//! port is [`super::axi_memory`], the watcher [`crate::check::axi`].

/// Data bus width.
pub const BEAT_BYTES: u64 = 8;
/// Longest burst of the NIC.
pub const MAX_BURST_BYTES: u64 = 256;
/// Beats of the longest burst.
pub const MAX_BURST_BEATS: usize = (MAX_BURST_BYTES / BEAT_BYTES) as usize;
/// `AxBURST` of an incrementing burst.
pub const BURST_INCR: u8 = 1;
/// `AxSIZE` of a full 8-byte beat.
pub const SIZE_8_BYTES: u8 = 3;

/// A response code (`RRESP`, `BRESP`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum Resp {
    /// Done.
    #[default]
    Okay = 0,
    /// The memory refused.
    SlvErr = 2,
    /// Nothing is mapped there.
    DecErr = 3,
}

/// An address channel, AR or AW, as the master drives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AxiAddr {
    /// `AxVALID`.
    pub valid: bool,
    /// `AxADDR`.
    pub addr: u64,
    /// `AxLEN`: beats minus one.
    pub len: u8,
    /// `AxSIZE`.
    pub size: u8,
    /// `AxBURST`.
    pub burst: u8,
    /// `AxID`.
    pub id: u8,
}

/// The write data channel as the master drives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AxiW {
    /// `WVALID`.
    pub valid: bool,
    /// `WDATA`.
    pub data: u64,
    /// `WSTRB`.
    pub strb: u8,
    /// `WLAST`.
    pub last: bool,
}

/// Everything the master drives in one clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AxiMasterOut {
    /// Read address channel.
    pub ar: AxiAddr,
    /// Write address channel.
    pub aw: AxiAddr,
    /// Write data channel.
    pub w: AxiW,
    /// `RREADY`.
    pub r_ready: bool,
    /// `BREADY`.
    pub b_ready: bool,
}

/// The read data channel as the slave drives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AxiR {
    /// `RVALID`.
    pub valid: bool,
    /// `RDATA`.
    pub data: u64,
    /// `RID`.
    pub id: u8,
    /// `RRESP`.
    pub resp: Resp,
    /// `RLAST`.
    pub last: bool,
}

/// The write response channel as the slave drives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AxiB {
    /// `BVALID`.
    pub valid: bool,
    /// `BID`.
    pub id: u8,
    /// `BRESP`.
    pub resp: Resp,
}

/// Everything the slave drives in one clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AxiSlaveOut {
    /// `ARREADY`.
    pub ar_ready: bool,
    /// `AWREADY`.
    pub aw_ready: bool,
    /// `WREADY`.
    pub w_ready: bool,
    /// Read data channel.
    pub r: AxiR,
    /// Write response channel.
    pub b: AxiB,
}
