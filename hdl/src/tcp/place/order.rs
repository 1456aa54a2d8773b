//! Orders to the placer, and what it keeps per connection.
use crate::prelude::*;

/// [`PlaceOrder::kind`]: text or a doorbell (never both), a push, a shadow record, or several of them.
pub const PLACE_WORK: u64 = 0;
/// [`PlaceOrder::kind`]: a connection begins: its posts come from the image at port `load`; then as [`PLACE_TELL`].
pub const PLACE_LOAD: u64 = 1;
/// [`PlaceOrder::kind`]: as [`PLACE_WORK`], then the posts are told at port `told`.
pub const PLACE_TELL: u64 = 2;

/// What PROTO puts into a shadow record.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Snap {
    /// `Shadow::state`: state, and reason << 4.
    pub state: Bits<8>,
    /// RCV.NXT when the order is done; a post that begins here ends pool mode.
    pub rcv_nxt: Bits<32>,
    /// SND.UNA as published.
    pub snd_una: Bits<32>,
    /// Right edge of the receive window.
    pub rcv_right: Bits<32>,
    /// Highest sequence number sent.
    pub snd_max: Bits<32>,
    /// The peer's window, unscaled.
    pub snd_wnd: Bits<16>,
    /// `SHADOW_PEER_FIN`.
    pub peer_fin: Bit,
    /// `SHADOW_FIN_ACKED`.
    pub fin_acked: Bit,
    /// `SHADOW_ABORTED`.
    pub aborted: Bit,
    /// `SHADOW_RETRIEVE`.
    pub retrieve: Bit,
}

/// What becomes durable with a shadow record (law L2).
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Commit {
    /// Connection.
    pub conn: Bits<16>,
    /// RCV.NXT.
    pub nxt: Bits<32>,
    /// Right edge.
    pub right: Bits<32>,
    /// Orders with [`PlaceOrder::publish`] that it answers: 1; 2 if one before it left its record to it; 0 if only the posts
    /// had changed.
    pub count: Bits<2>,
    /// Segments whose text it counts for the first time.
    pub data: Bits<2>,
    /// Acknowledge at once.
    pub now: Bit,
    /// A post could not be read: the connection must stop.
    pub fault: Bit,
}

/// An order (PROTO -> placer). Its parts are done in the order of the fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct PlaceOrder {
    /// `PLACE_*`.
    pub kind: Bits<2>,
    /// Connection.
    pub conn: Bits<16>,
    /// Its generation.
    pub generation: Bits<8>,
    /// Pages reserved for it; given back at its end.
    pub reserved: Bits<3>,
    /// The host posted receives up to `producer`.
    pub bell: Bit,
    /// See `bell`.
    pub producer: Bits<16>,
    /// First byte of text.
    pub seq: Bits<32>,
    /// Bytes of text, 0 = none.
    pub len: Bits<16>,
    /// Where it lies in packet memory.
    pub src: Bits<16>,
    /// It goes to pages, and nothing else changes.
    pub is_ooo: Bit,
    /// It fills a hole: what follows lies in pages.
    pub jump: Bit,
    /// A partly filled push-mode post is complete.
    pub push: Bit,
    /// A partly filled post is complete.
    pub fin: Bit,
    /// A segment ends with this order: its frame goes back, and the dispatcher gets the verdict.
    pub is_segment: Bit,
    /// The verdict: not taken, its frame stays.
    pub handed_up: Bit,
    /// Bytes of packet memory to free, a multiple of 8.
    pub free: Bits<16>,
    /// Write a shadow record, or leave it to the next order of the connection that has this too and waits already.
    pub publish: Bit,
    /// Its contents.
    pub snap: Snap,
    /// See [`Commit::data`].
    pub data: Bit,
    /// See [`Commit::now`].
    pub now: Bit,
    /// Raise an event.
    pub raise: Bit,
}

/// What an order left to the shadow record of a later one.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Held {
    /// There is one.
    pub waits: Bit,
    /// See [`PlaceOrder`].
    pub data: Bit,
    /// See [`PlaceOrder`].
    pub now: Bit,
    /// See [`PlaceOrder`].
    pub raise: Bit,
}

/// Posted receives of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Posts {
    /// Receive ring.
    pub ring: Bits<64>,
    /// log2 of its entries.
    pub ring_log2: Bits<8>,
    /// Entries posted.
    pub producer: Bits<16>,
    /// The entry in use.
    pub idx: Bits<16>,
    /// Bytes placed in it.
    pub off: Bits<32>,
    /// Its length, bytes.
    pub len: Bits<24>,
    /// Its flags.
    pub flags: Bits<8>,
    /// Its address.
    pub addr: Bits<64>,
    /// Length, flags and address are known.
    pub loaded: Bit,
    /// Bytes go to pages.
    pub pool_mode: Bit,
    /// A descriptor could not be read.
    pub fault: Bit,
    /// Tag of the next shadow record.
    pub tag: Bits<16>,
    /// What the next one also answers.
    pub held: Held,
}

/// Does this text fit, before PROTO takes it without a reservation?
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct PlaceAsk {
    /// Connection.
    pub conn: Bits<16>,
    /// First byte.
    pub seq: Bits<32>,
    /// Bytes.
    pub len: Bits<16>,
}

/// The answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct PlaceFits {
    /// 1 = for one cycle.
    pub valid: Bit,
    /// In order, all of it fits into the post in use.
    pub post: Bit,
    /// There are pages for all of it.
    pub pages: Bit,
}
