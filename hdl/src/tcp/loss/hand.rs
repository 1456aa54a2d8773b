//! The unit's registers: the job in hand, the connection's record, and what is on its way through the walks.

use super::board::{Board, Hole, Met, News, Part};
use super::job::{LossJob, LossKind, LossTimer};
use super::lanes::Place;
use super::prr::{Bounds, Division, Prr};
use super::rack::{first_rtt, known, limit, spacing, Found, Rack, Verdict};
use super::tlp::{limited, wait, Tlp};
use crate::prelude::*;
use crate::tcp::cwnd::Recovery;
use crate::tcp::seq::min32;

/// What the record holds beside the scoreboard.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Rest {
    /// Loss detection by time.
    pub rack: Rack,
    /// How much to send in recovery.
    pub prr: Prr,
    /// The probe.
    pub tlp: Tlp,
    /// Bytes in all ranges of the scoreboard.
    pub sacked: Bits<32>,
    /// Congestion and recovery variables.
    pub rc: Recovery,
}

/// What follows from the job alone, a clock after the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Facts {
    /// The segment size.
    pub smss: Bits<32>,
    /// Smoothed round trip, or a second.
    pub srtt: Bits<24>,
    /// Longest burst.
    pub spacing: Bits<24>,
    /// Bytes between SND.UNA and SND.MAX.
    pub flight: Bits<32>,
    /// At most a segment.
    pub is_lone: Bit,
    /// Wait for a probe.
    pub wait: Bits<34>,
    /// At most the RTO.
    pub pto: Bits<32>,
    /// Before the RTO.
    pub is_sooner: Bit,
    /// Bytes above which DupThresh is reached.
    pub enough: Bits<24>,
}

/// [`Facts`], one clock later.
#[kernel]
pub fn learn(f: Facts, j: LossJob) -> Facts {
    let smss = bit_cast::<32, 16>(j.smss);
    let none = bits::<8>(0);
    Facts {
        smss,
        srtt: known(limit(j.srtt_us), first_rtt()),
        spacing: spacing(limit(j.srtt_us)),
        flight: j.max - j.una,
        is_lone: f.flight <= smss,
        wait: wait(j.srtt_us, f.is_lone),
        pto: limited(f.wait, j.rto_us),
        is_sooner: j.srtt_us != 0 && f.pto < j.rto_us,
        enough: mul::<24, _, _>(if j.threshold == 0 { none } else { j.threshold - 1 }, j.smss),
    }
}

/// Bytes of all ranges, in three clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Sums {
    /// Of each lane.
    pub s0: Bits<32>,
    /// Second.
    pub s1: Bits<32>,
    /// Third.
    pub s2: Bits<32>,
    /// Fourth.
    pub s3: Bits<32>,
    /// Of the lower two.
    pub low: Bits<32>,
    /// Of the upper two.
    pub high: Bits<32>,
    /// Of all.
    pub all: Bits<32>,
}

/// [`Sums`], one clock later.
#[kernel]
pub fn add_up(s: Sums, b: Board) -> Sums {
    let none = bits::<32>(0);
    Sums {
        s0: if b.len > 0 { b.l0.end - b.l0.start } else { none },
        s1: if b.len > 1 { b.l1.end - b.l1.start } else { none },
        s2: if b.len > 2 { b.l2.end - b.l2.start } else { none },
        s3: if b.len > 3 { b.l3.end - b.l3.start } else { none },
        low: s.s0 + s.s1,
        high: s.s2 + s.s3,
        all: s.low + s.high,
    }
}

/// The walk over the holes as they were: what was delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct OldWalk {
    /// The next hole to look at.
    pub at: Bits<3>,
    /// There is one.
    pub runs: Bit,
    /// First clock.
    pub hole: Hole,
    /// It holds a hole.
    pub v0: Bit,
    /// Second clock.
    pub met: Met,
    /// It holds a hole.
    pub v1: Bit,
    /// Third clock.
    pub news: News,
    /// It holds a hole.
    pub v2: Bit,
    /// All of them.
    pub all: News,
}

/// What goes through the walk over the holes as they are.
#[derive(Clone, Copy, Debug, PartialEq, LogicState)]
pub enum Item {
    /// Nothing.
    None,
    /// How far the tail is lost.
    Tail,
    /// How far that was sent again.
    TailResent,
    /// A hole below a range.
    Hole,
}

/// A hole on its way.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Moving {
    /// What it is.
    pub item: Item,
    /// Its lane.
    pub at: Bits<2>,
    /// The hole.
    pub hole: Hole,
    /// How far it was sent again.
    pub part: Part,
    /// Something of it was.
    pub is_resent: Bit,
    /// It was, beyond its first byte; it may have ended there since.
    pub is_ahead: Bit,
    /// It has bytes.
    pub has_bytes: Bit,
}

/// The walk over the holes as they are: what is lost, what is in flight, what is to be sent again.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct NewWalk {
    /// The next lane.
    pub at: Bits<3>,
    /// First clock: the hole.
    pub m0: Moving,
    /// Second clock: its burst, and how far it was sent again.
    pub m1: Moving,
    /// The burst.
    pub found: Found,
    /// Third clock: when it was sent.
    pub m2: Moving,
    /// See there.
    pub sent: Bits<24>,
    /// Fourth clock: is it lost?
    pub m3: Moving,
    /// See there.
    pub verdict: Verdict,
    /// Fifth clock: what of it is in flight.
    pub item: Item,
    /// See there.
    pub part: Part,
    /// Bytes in flight so far.
    pub pipe: Bits<32>,
    /// The first that are to be sent again.
    pub first: Part,
    /// The same of the tail.
    pub tail: Part,
    /// Something was found lost.
    pub has_lost: Bit,
    /// Something will be.
    pub waits: Bit,
    /// At the latest after so many microseconds.
    pub wait_us: Bits<26>,
}

/// Where the unit stands.
#[derive(Clone, Copy, Debug, PartialEq, LogicState)]
pub enum LossState {
    /// Waits for a job.
    Idle,
    /// The rest of the record is there.
    Load,
    /// The scoreboard is there.
    LoadBoard,
    /// The clocks of [`super::program`].
    Run,
    /// An event that is no acknowledgment.
    Event,
    /// What follows from the loss, or from its absence.
    Decide,
    /// The probe repaired a loss: the window falls.
    Repair,
    /// CUBIC: how much of the window was in use.
    Used,
    /// The product with beta.
    Beta,
    /// It is the threshold.
    Scaled,
    /// The threshold is known: the proportion of the recovery.
    Begin,
    /// A bit of it.
    Divide,
    /// It is known.
    Start,
    /// The bytes delivered count for the recovery.
    Count,
    /// The product.
    Share,
    /// What may be sent.
    Bounds,
    /// Minus what was.
    Less,
    /// How much that is.
    Amount,
    /// The window.
    Window,
    /// Does the window grow?
    Grow,
    /// By how much?
    Add,
    /// Bounds.
    Limit,
    /// The peer echoes a mark: what is in flight now?
    Echo,
    /// What of the window that was in use.
    Marked,
    /// The first that are to be sent again are being cut.
    Wait,
    /// The answer is put together.
    Answer,
    /// It waits for being taken.
    Done,
}

/// The clocks of a block.
#[derive(Clone, Copy, Debug, PartialEq, LogicState)]
pub enum BlockPart {
    /// Is it believed, and where does it belong?
    Place,
    /// It comes in.
    Put,
    /// A lane that was merged goes.
    Merge,
}

/// Everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Hand {
    /// Where the unit stands.
    pub st: LossState,
    /// Clock of the program.
    pub t: Bits<4>,
    /// Clocks since SND.UNA was taken.
    pub age: Bits<3>,
    /// The job.
    pub j: LossJob,
    /// What follows from it.
    pub f: Facts,
    /// The scoreboard.
    pub board: Board,
    /// The rest of the record.
    pub r: Rest,
    /// Bytes in all ranges.
    pub sums: Sums,
    /// The same, before the acknowledgment.
    pub sacked_before: Bits<32>,
    /// The same, after SND.UNA moved.
    pub kept: Bits<32>,
    /// SND.UNA moved.
    pub has_moved: Bit,
    /// By so many bytes; then: with the bytes in all ranges.
    pub moved: Bits<32>,
    /// Bytes delivered.
    pub delivered: Bits<32>,
    /// Bytes in flight before the acknowledgment.
    pub flight: Bits<32>,
    /// The block is believed.
    pub is_sane: Bit,
    /// Where it belongs.
    pub place: Place,
    /// Its clock.
    pub part: BlockPart,
    /// The first block reports a duplicate.
    pub is_dsack: Bit,
    /// The probe repaired a loss.
    pub is_repaired: Bit,
    /// A block reported something new.
    pub is_new: Bit,
    /// In recovery before the acknowledgment.
    pub was_recovering: Bit,
    /// Highest byte reported or acknowledged.
    pub highest: Bits<32>,
    /// Its burst.
    pub burst: Found,
    /// Smallest round trip.
    pub min_rtt: Bits<24>,
    /// The reordering window before its limit.
    pub reo_base: Bits<27>,
    /// The reordering window.
    pub reo_wnd: Bits<24>,
    /// Round trip and reordering window.
    pub patience: Bits<25>,
    /// DupThresh is reached, or in recovery.
    pub is_urgent: Bit,
    /// The walks.
    pub old: OldWalk,
    /// See there.
    pub new: NewWalk,
    /// Fast recovery began.
    pub has_entered: Bit,
    /// The window was reduced.
    pub has_reduced: Bit,
    /// For a mark.
    pub is_marked: Bit,
    /// A timeout reduces the window of a connection with CUBIC.
    pub reduces: Bit,
    /// Bytes that earn a segment more in congestion avoidance.
    pub needed: Bits<32>,
    /// CUBIC says how the window grows.
    pub by_cubic: Bit,
    /// Steps of the division left.
    pub left: Bits<4>,
    /// The division.
    pub division: Division,
    /// The proportion is 1.
    pub is_one: Bit,
    /// The product.
    pub product: Bits<49>,
    /// What may be sent.
    pub bounds: Bounds,
    /// How much.
    pub amount: Bits<32>,
    /// What the window grows by in slow start.
    pub limit: Bits<32>,
    /// Bytes in flight and two segments.
    pub filled: Bits<32>,
    /// The window is used.
    pub is_used: Bit,
    /// Bytes that are to be sent again, of the first hole.
    pub open: Bits<32>,
    /// At most a segment.
    pub open_len: Bits<32>,
    /// With these the pipe would be as large.
    pub pipe_then: Bits<32>,
    /// The window has room for them.
    pub has_room: Bit,
    /// New text may go up to here.
    pub edge: Bits<32>,
    /// The connection is calm.
    pub is_calm: Bit,
    /// What the timer is for.
    pub timer: LossTimer,
    /// In how many microseconds it is due.
    pub timer_us: Bits<32>,
}

/// The first bytes that are to be sent again, three clocks after they are known.
#[kernel]
pub fn cut(h: Hand) -> Hand {
    let p = if h.new.first.is_open { h.new.first } else { h.new.tail };
    let p: Part = p;
    Hand {
        open: if p.is_open { p.hi - p.at } else { bits::<32>(0) },
        open_len: min32(h.open, h.f.smss),
        pipe_then: h.new.pipe + h.open_len,
        ..h
    }
}

/// The job is an acknowledgment.
#[kernel]
pub fn is_ack(h: Hand) -> bool {
    h.j.kind == LossKind::Ack
}
