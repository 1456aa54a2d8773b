//! What the unit is asked, and what it answers.
//!
//! While a connection is *calm* (phase Open, nothing reported, nothing lost, no probe on its way) the unit hears nothing of it, and its
//! record here is not kept. The first job after that has `is_first`: the unit takes `rc` from it and begins with an empty
//! scoreboard. From then on the connection is *guarded*, every job is one of it, and `rc` is the unit's, until an answer says
//! `is_calm`. Answers come in the order of the jobs; of several under way the last one tells what holds, also about `is_calm`. No
//! text is sent while an answer is due.

use super::growth::Growth;
use super::rack::SendLog;
use crate::prelude::*;
use crate::tcp::cwnd::Recovery;

/// What happened to a connection.
#[derive(Clone, Copy, Debug, PartialEq, LogicState)]
pub enum LossKind {
    /// An acknowledgment was taken; SND.UNA was `from` before. Also the timer for reordered segments: without blocks and
    /// with `from` = SND.UNA.
    Ack,
    /// The retransmission timer fired; for the first time since SND.UNA moved, if `flag`.
    Rto,
    /// The connection was handed over; what lies from `from` on has to be sent again (SND.MAX: nothing), and if
    /// `flag`, the first segment. Always a first job, and fresh. Of one that was calm the unit hears nothing.
    HandedOver,
    /// `from` up to `to` was sent again.
    Resend,
    /// The peer's window was closed and is open again.
    WindowOpened,
    /// A probe was sent; a retransmission, if `flag`. SND.MAX is what it is after it.
    Probe,
    /// Nothing was sent for longer than the timeout, and nothing is in flight: the window begins anew. Never a first job.
    Rested,
}

/// An event of one connection, and the connection after it.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct LossJob {
    /// What happened.
    pub kind: LossKind,
    /// To whom.
    pub conn: Bits<16>,
    /// It was calm until now; never together with a Resend. Its SND.UNA was `from` until now.
    pub is_first: Bit,
    /// A first job: and what the record here has is of another connection.
    pub is_fresh: Bit,
    /// SND.UNA.
    pub una: Bits<32>,
    /// SND.MAX.
    pub max: Bits<32>,
    /// See [`LossKind`]; where that does not tell: SND.UNA.
    pub from: Bits<32>,
    /// See [`LossKind`].
    pub to: Bits<32>,
    /// See [`LossKind`]; an acknowledgment: it is a duplicate (RFC 5681).
    pub flag: Bit,
    /// An acknowledgment of a connection with ECN: it echoes a mark.
    pub is_echo: Bit,
    /// SACK blocks.
    pub count: Bits<3>,
    /// Block i in bits 64i+63:64i, left edge in the low half.
    pub blocks: Bits<256>,
    /// A round trip ended with this acknowledgment.
    pub has_rtt: Bit,
    /// It took so long, microseconds.
    pub rtt_us: Bits<32>,
    /// Sender's segment size.
    pub smss: Bits<16>,
    /// Smoothed round trip, microseconds; 0 = none yet.
    pub srtt_us: Bits<32>,
    /// Retransmission timeout with its back-off, microseconds.
    pub rto_us: Bits<32>,
    /// Clock, microseconds.
    pub now_us: Bits<32>,
    /// DupThresh, at least 1.
    pub threshold: Bits<8>,
    /// Bytes of new text that were sent since the last job, a probe's own among them; PRR counts them before the event.
    pub sent: Bits<32>,
    /// When the bytes in flight were sent: the log as it was before this event.
    pub log: SendLog,
    /// Congestion and recovery variables; they count in a first job only.
    pub rc: Recovery,
    /// The peer reports what it has (SACK); else there are no blocks, and its duplicates count.
    pub is_sack: Bit,
    /// Congestion control is CUBIC, only with SACK.
    pub is_cubic: Bit,
    /// How fast the window grows then, in which epoch.
    pub growth: Growth,
}

/// What the one timer is for.
#[derive(Clone, Copy, Debug, PartialEq, LogicState)]
pub enum LossTimer {
    /// Retransmission timeout (RFC 6298).
    Rto,
    /// Tail loss probe (RFC 8985 7.2).
    Probe,
    /// A hole waits for reordered segments (RFC 8985 6.3).
    Reorder,
}

/// The answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct LossResult {
    /// What had happened.
    pub kind: LossKind,
    /// Whose.
    pub conn: Bits<16>,
    /// Congestion and recovery variables; `prior` only with `has_prior`.
    pub rc: Recovery,
    /// CUBIC reduced the window: `rc.prior` is new. Without it the old one holds.
    pub has_prior: Bit,
    /// Fast recovery began: count it.
    pub has_entered: Bit,
    /// The window was reduced: for a loss that begins recovery or that a probe repaired, or for a mark.
    pub has_reduced: Bit,
    /// For a mark: count it.
    pub is_marked: Bit,
    /// Bytes were reported for the first time, or acknowledged.
    pub has_news: Bit,
    /// The acknowledgment moved SND.UNA, or what was sent again began there: the timer begins anew.
    pub has_moved: Bit,
    /// What the timer is for.
    pub timer: LossTimer,
    /// In how many microseconds it is due.
    pub timer_us: Bits<32>,
    /// Lost bytes wait for being sent again.
    pub has_lost: Bit,
    /// The first of them, at most a segment.
    pub lost: Bits<32>,
    /// How many.
    pub lost_len: Bits<16>,
    /// The window has room for them.
    pub has_room: Bit,
    /// New text may go up to here: SND.MAX of the job, and what the window has beyond what is in flight.
    pub edge: Bits<32>,
    /// The connection is calm.
    pub is_calm: Bit,
    /// New text may begin the wait for a probe (RFC 8985 7.2): no recovery, nothing reported, no probe on its way.
    pub may_probe: Bit,
}
