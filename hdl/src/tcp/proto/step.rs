//! What goes down the pipeline: the record, and what is known about the event.
use super::record::Work;
use crate::prelude::*;
use crate::tcp::hystart::{Judgement, Sample};
use crate::tcp::loss::growth::Growth;
use crate::tcp::loss::job::LossKind;
use crate::types::{EngineCounts, Millis, TcpParams};
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

/// Clocks and registers, the same for all stages.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Env {
    /// Clock, microseconds.
    pub now_us: Bits<32>,
    /// Timestamp clock, milliseconds.
    pub now_ms: Bits<32>,
    /// `now_us` when it counted last.
    pub ms_us: Bits<32>,
    /// Registers.
    pub p: TcpParams,
}

/// What all stages are told.
#[kernel]
pub fn clocked(now_us: Bits<32>, millis: Millis, p: TcpParams) -> Env {
    Env { now_us, now_ms: millis.now, ms_us: now_us - bit_cast::<32, 16>(millis.past_us), p }
}

/// Kinds of events.
#[derive(Clone, Copy, Debug, PartialEq, LogicState)]
pub enum Pick {
    /// None.
    None,
    /// A shadow record is durable.
    Commit,
    /// An answer of the loss unit.
    Loss,
    /// A doorbell.
    Bell,
    /// A command.
    Op,
    /// The transmitter could not do a job.
    TxFail,
    /// A deadline has passed.
    Timer,
    /// A Terminate goes on.
    Close,
    /// No job reads below the new SND.UNA any more.
    Publish,
    /// A segment.
    Rx,
    /// The connection's turn to send.
    Tx,
}

/// Why a segment is sent.
#[derive(Clone, Copy, Debug, PartialEq, LogicState)]
pub enum Why {
    /// It is not.
    Nothing,
    /// Abort.
    Reset,
    /// What counts as lost, or the last segment as a probe.
    Lost,
    /// New data, or our FIN.
    New,
    /// A probe of a closed window or of an idle peer: one number before SND.UNA, no text.
    Probe,
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

/// What the loss unit will hear of a pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Ask {
    /// It will.
    pub is_asked: Bit,
    /// What happened.
    pub kind: LossKind,
    /// See [`LossKind`].
    pub from: Bits<32>,
    /// See [`LossKind`].
    pub to: Bits<32>,
    /// See [`LossKind`].
    pub flag: Bit,
    /// A mark is echoed.
    pub is_echo: Bit,
    /// A round trip ended.
    pub has_rtt: Bit,
    /// It took so long, microseconds.
    pub rtt_us: Bits<32>,
}

/// How long the retransmission timer waits, worked out from stage 3 to 5; for a probe, with SACK.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Waits {
    /// RTO with its back-off, microseconds.
    pub rto: Bits<32>,
    /// For a probe, more than a segment in flight; stage 4: at most the RTO; stage 5: the deadline.
    pub many: Bits<34>,
    /// The same, at most a segment in flight.
    pub lone: Bits<34>,
    /// There may be probes: a round trip is known.
    pub is_known: Bit,
    /// The probe comes before the timeout.
    pub is_many: Bit,
    /// The same, at most a segment in flight.
    pub is_lone: Bit,
    /// Deadline of the timeout.
    pub at_rto: Bits<32>,
    /// Longest burst of the send log.
    pub spacing: Bits<24>,
}

/// How the window of a connection with CUBIC grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Grow {
    /// What CUBIC's program said last.
    pub growth: Growth,
    /// It is of this epoch.
    pub is_fresh: Bit,
    /// Stage 3: the bytes acknowledged are enough for a segment more.
    pub gains: Bit,
    /// Stage 3: PROTO decides, and the window is at least Reno's.
    pub has_least: Bit,
    /// CUBIC's program is to be asked.
    pub asks: Bit,
}

/// What a pass knows and decides, besides the record.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Ctx {
    /// There is an event.
    pub valid: Bit,
    /// Its kind.
    pub pick: Pick,
    /// Its connection.
    pub conn: Bits<16>,
    /// The id is not one of ours.
    pub out: Bit,
    /// Of Initiate: the connection is somebody's.
    pub is_taken: Bit,
    /// Its upload was asked for before, and must be granted.
    pub is_asked_for: Bit,
    /// Until stage 3: of the watchdog, see `watchdog::Due`.
    pub notice: Bits<4>,
    /// An upload is asked for that need not be granted.
    pub asks: Bit,
    /// Pages reserved for its text.
    pub reserved: Bits<3>,
    /// There are no pages for all of the text.
    pub no_pages: Bit,
    /// The post in use does not take all of it.
    pub no_post: Bit,
    /// There is room for a job.
    pub may_send: Bit,
    /// The acknowledgment that it sends is a job already.
    pub is_acked: Bit,
    /// Until stage 2: the loss unit hears of no acknowledgment.
    pub is_deaf: Bit,
    /// The loss unit has room for a job of this pass.
    pub has_unit: Bit,
    /// The segment is to be processed.
    pub take: Bit,
    /// First byte of the text to place.
    pub cur: Bits<32>,
    /// End of the text to place.
    pub end: Bits<32>,
    /// Where `cur` lies in packet memory.
    pub src: Bits<16>,
    /// All of it had arrived before (RFC 2883).
    pub again: Bit,
    /// The text begins after RCV.NXT.
    pub is_ooo: Bit,
    /// A FIN follows the text.
    pub fin: Bit,
    /// PSH, and all text lies in the window.
    pub push: Bit,
    /// The text fills a hole.
    pub jump: Bit,
    /// SND.UNA moves, or has.
    pub is_new_ack: Bit,
    /// Until stage 2: SEG.ACK is SND.UNA.
    pub is_current: Bit,
    /// A duplicate acknowledgment.
    pub is_dup_ack: Bit,
    /// A mark is echoed, and the window is to be reduced for it.
    pub marked: Bit,
    /// Bytes acknowledged.
    pub acked: Bits<32>,
    /// FlightSize before that.
    pub flight: Bits<32>,
    /// For the loss unit.
    pub ask: Ask,
    /// SND.UNA has moved on a calm connection with SACK: its timer begins anew.
    pub restart: Bit,
    /// Its waits.
    pub waits_us: Waits,
    /// The send log begins afresh.
    pub is_new_log: Bit,
    /// What is sent is a tail loss probe.
    pub is_probe: Bit,
    /// Stages 4 and 5: text waits until the loss unit has room to hear of a pause.
    pub is_held: Bit,
    /// Segment size, from stage 4 on.
    pub smss: Bits<16>,
    /// With CUBIC, from stage 4 on.
    pub grow: Grow,
    /// With SACK, stage 3: the round trip of an acknowledgment.
    pub sample: Sample,
    /// Stages 4 and 5: whether slow start is over.
    pub judgement: Judgement,
    /// RCV.NXT has moved.
    pub moved: Bit,
    /// A hole was filled, or a FIN counted: acknowledge at once.
    pub now: Bit,
    /// Order a shadow record.
    pub publish: Bit,
    /// Raise an event with it.
    pub raise: Bit,
    /// A receive doorbell: the placer hears of it.
    pub bell: Bit,
    /// Its producer index.
    pub producer: Bits<16>,
    /// The placer begins with the connection.
    pub load: Bit,
    /// The placer tells its posts.
    pub tell: Bit,
    /// The connection may have something to send.
    pub want_tx: Bit,
    /// The frame is handed up.
    pub up: Bit,
    /// The record stays as it is.
    pub forget: Bit,
    /// The connection is given back: the record becomes free.
    pub free: Bit,
    /// The command waits for a later pass.
    pub waits: Bit,
    /// Status of the command.
    pub status: Bits<8>,
    /// The segment to be sent.
    pub plan: Plan,
    /// For the counters.
    pub counts: EngineCounts,
}

/// A pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Step {
    /// The event.
    pub c: Ctx,
    /// The record.
    pub w: Work,
}

/// The host must grant it; the numbers of `UploadReason::is_mandatory`.
#[kernel]
pub fn is_mandatory(reason: Bits<8>) -> bool {
    reason == URGENT || reason >= TIMEOUT
}

/// A pending upload request that must be granted is not replaced by a later one.
#[kernel]
pub fn reason(old: Bits<8>, new: Bits<8>) -> Bits<8> {
    if is_mandatory(old) {
        old
    } else {
        new
    }
}

/// What the host is told: R-165, nothing is asked for that need not be granted but while the connection is open both ways.
#[kernel]
pub fn told_reason(w: Work) -> Bits<8> {
    if is_mandatory(w.reason) || w.state == ESTABLISHED {
        w.reason
    } else {
        bits::<8>(0)
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
