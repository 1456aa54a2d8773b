//! The state of PROTO between two clocks: the record in hand, and what is known about the event in work.
use super::record::Work;
use crate::prelude::*;
use crate::types::EngineCounts;
use chimney_abi::cmd::{Status, TcpState, UploadReason};

/// `TcpState` numbers.
pub const CLOSED: u64 = TcpState::Closed.code() as u64;
/// See [`CLOSED`].
pub const ESTABLISHED: u64 = TcpState::Established.code() as u64;
/// See [`CLOSED`].
pub const FIN_WAIT_1: u64 = TcpState::FinWait1.code() as u64;
/// See [`CLOSED`].
pub const FIN_WAIT_2: u64 = TcpState::FinWait2.code() as u64;
/// See [`CLOSED`].
pub const CLOSE_WAIT: u64 = TcpState::CloseWait.code() as u64;
/// See [`CLOSED`].
pub const CLOSING: u64 = TcpState::Closing.code() as u64;
/// See [`CLOSED`].
pub const LAST_ACK: u64 = TcpState::LastAck.code() as u64;
/// See [`CLOSED`].
pub const TIME_WAIT: u64 = TcpState::TimeWait.code() as u64;

/// `UploadReason` numbers.
pub const URGENT: u64 = UploadReason::ReceivedUrgentData.code() as u64;
/// See [`URGENT`].
pub const TIMEOUT: u64 = UploadReason::TimeoutExpiration.code() as u64;
/// See [`URGENT`].
pub const INVALID_STATE: u64 = UploadReason::InvalidState.code() as u64;
/// See [`URGENT`].
pub const REQUESTED: u64 = UploadReason::UploadRequested.code() as u64;
/// See [`URGENT`].
pub const HARDWARE: u64 = UploadReason::HardwareFailure.code() as u64;

/// `Status` numbers.
pub const SUCCESS: u64 = Status::Success.code() as u64;
/// See [`SUCCESS`].
pub const TCP_ENTRIES: u64 = Status::TcpEntries.code() as u64;
/// See [`SUCCESS`].
pub const TCP_RCV_WINDOW: u64 = Status::TcpRcvWindow.code() as u64;
/// See [`SUCCESS`].
pub const STALE: u64 = Status::Stale.code() as u64;
/// See [`SUCCESS`].
pub const REJECTED: u64 = Status::Rejected.code() as u64;
/// See [`SUCCESS`].
pub const BAD_REQUEST: u64 = Status::BadRequest.code() as u64;

/// What PROTO is doing.
#[derive(Clone, Copy, Debug, PartialEq, LogicState)]
pub enum St {
    /// Sweeps the tables after reset.
    Clear,
    /// Picks an event.
    Idle,
    /// Takes it from its source and starts to read the record.
    Take,
    /// The record is there.
    Fetch,
    /// A segment: may it be processed?
    RxCheck,
    /// Its acknowledgment.
    RxAck,
    /// What the acknowledgment means for loss recovery.
    RxRecover,
    /// Its text, piece by piece.
    RxText,
    /// A page is being looked up.
    Page,
    /// A page map entry is offered to the write engine.
    PageMap,
    /// A piece of payload is offered to the write engine.
    Piece,
    /// All text is placed.
    RxEnd,
    /// The frame's memory is given back.
    RxFree,
    /// The dispatcher gets its verdict.
    Verdict,
    /// A posted receive is requested from host memory.
    PostAsk,
    /// It is being read.
    PostWait,
    /// It is there.
    PostGot,
    /// A used post is written back.
    Retire,
    /// Direct mode ends.
    EnterPool,
    /// A doorbell.
    Bell,
    /// Pool mode looks for a post to go on with.
    BellPosts,
    /// A shadow record is durable.
    Commit,
    /// The transmitter is done with a job.
    TxDone,
    /// A deadline has passed.
    Expire,
    /// What to send?
    TxPlan,
    /// A job is offered to the transmitter.
    TxEmit,
    /// It was taken.
    TxSent,
    /// A command's record beats come in.
    OpIn,
    /// A command.
    OpExec,
    /// The page map comes in.
    OpPages,
    /// Terminate: what is still to be waited for?
    Close,
    /// The record becomes an image.
    OpPack,
    /// The image goes out.
    OpOut,
    /// The command is answered.
    OpDone,
    /// The event is over: what follows from it?
    Finish,
    /// A shadow record is offered to the write engine.
    Shadow,
    /// The event ring is told.
    Raise,
    /// The record goes back.
    Store,
}

/// Sources of events.
#[derive(Clone, Copy, Debug, PartialEq, LogicState)]
pub enum Pick {
    /// None.
    None,
    /// The commit queue.
    Commit,
    /// Doorbells.
    Bell,
    /// Commands.
    Op,
    /// The transmitter.
    TxDone,
    /// The scanner.
    Timer,
    /// A Terminate that waits.
    Close,
    /// The dispatcher.
    Rx,
    /// The ready list.
    Tx,
}

/// Why a segment is sent.
#[derive(Clone, Copy, Debug, PartialEq, LogicState)]
pub enum Why {
    /// It is not.
    Nothing,
    /// Abort.
    Reset,
    /// Fast retransmission or partial ACK: the segment at SND.UNA.
    Lost,
    /// Going back after a timeout or an offload: `[snd_nxt, snd_max)`.
    Again,
    /// New data, or our FIN.
    New,
    /// Window probe: one byte at SND.UNA.
    Probe,
    /// Keepalive: one number before SND.UNA, no text.
    KeepAlive,
    /// A bare acknowledgment.
    Ack,
}

/// A segment to be sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Plan {
    /// Why.
    pub why: Why,
    /// Sequence number.
    pub seq: Bits<32>,
    /// Payload, bytes.
    pub len: Bits<16>,
    /// With FIN.
    pub fin: Bit,
}

/// What is known about the event in work; cleared in `Idle`.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Ctx {
    /// Connection.
    pub conn: Bits<16>,
    /// The id is not one of ours.
    pub out: Bit,
    /// Source.
    pub pick: Pick,
    /// Where `Retire` and `PostGot` return to.
    pub ret: St,
    /// Next byte of text to place.
    pub cur: Bits<32>,
    /// End of the text to place.
    pub end: Bits<32>,
    /// First byte placed out of order.
    pub start: Bits<32>,
    /// Where `cur` lies in packet memory.
    pub src: Bits<16>,
    /// Length of the piece, bytes.
    pub len: Bits<16>,
    /// Where the piece goes.
    pub iova: Bits<64>,
    /// Page for the piece.
    pub page: Bits<16>,
    /// Number of a beat.
    pub beat: Bits<6>,
    /// Sequence number of the post just read.
    pub post_seq: Bits<32>,
    /// The text begins after RCV.NXT.
    pub is_ooo: Bit,
    /// A FIN follows the text.
    pub fin: Bit,
    /// PSH, and all text lies in the window.
    pub push: Bit,
    /// RCV.NXT has moved (between `RxAck` and `RxRecover`: SND.UNA has).
    pub moved: Bit,
    /// A hole was filled, or a FIN counted: acknowledge at once (between `RxAck` and `RxRecover`: a duplicate
    /// acknowledgment).
    pub now: Bit,
    /// Write a shadow record.
    pub publish: Bit,
    /// Raise an event with it.
    pub raise: Bit,
    /// Put the connection into the ready list.
    pub want_tx: Bit,
    /// It was not there yet.
    pub push_ready: Bit,
    /// The frame is handed up.
    pub up: Bit,
    /// Nothing is stored after the verdict.
    pub forget: Bit,
    /// The connection is given back: the record becomes free.
    pub free: Bit,
    /// A command ends with this event.
    pub op_ends: Bit,
    /// Its status.
    pub status: Bits<8>,
    /// The segment to be sent.
    pub plan: Plan,
    /// For the counters.
    pub counts: EngineCounts,
}

/// The state.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Step {
    /// What is being done.
    pub st: St,
    /// The event.
    pub c: Ctx,
    /// The record.
    pub w: Work,
}

/// A pending upload request is not replaced by a later one.
#[kernel]
pub fn reason(old: Bits<8>, new: Bits<8>) -> Bits<8> {
    if old == 0 {
        new
    } else {
        old
    }
}

/// Stops the connection and asks for its upload.
#[kernel]
pub fn stop(s: Step, why: Bits<8>) -> Step {
    let mut n = s;
    n.w.flags.stopped = true;
    n.w.reason = reason(s.w.reason, why);
    n.c.publish = true;
    n.c.raise = true;
    n
}

/// Our FIN has been acknowledged up to `una`.
#[kernel]
pub fn fin_acked(w: Work, una: Bits<32>) -> bool {
    w.flags.fin_sent && una == w.limit + 1
}

/// The connection exists and takes segments.
#[kernel]
pub fn is_active(w: Work) -> bool {
    w.fixed.generation != 0
        && !w.flags.stopped
        && !w.flags.aborted
        && w.side.closing == 0
        && w.state != CLOSED
}
