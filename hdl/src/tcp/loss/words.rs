//! What the program of the unit works on: a connection's record in 32 words, the job as inputs, the answer as outputs.
//!
//! Times have 24 bits; what has few bits lies above them.
//!
//! | words | bits 23:0 or all | bits 31:24 |
//! |---|---|---|
//! | 0..3, 4..7 | the ranges: [`start`], [`end`] | |
//! | 8..11 | [`resent`]: of the hole below a range, one past the last byte that was sent again | |
//! | 12..15 | [`resent_us`]: when; 0: nothing of it ever was | 31: the first transmission counts as lost ([`LOST`]) |
//! | 16, 18 | [`TAIL_RESENT`], [`TAIL_LOST`]: the same of what lies above all ranges; it is lost up to there | |
//! | 17 | [`TAIL_US`] | 27:24 widens the reordering window ([`EXTRA`]) |
//! | 19 | [`XMIT`]: `RACK.xmit_ts` | duplicates so far |
//! | 20 | [`RTT`]: `RACK.rtt` | 28:24 recoveries until the reordering window shrinks ([`PERSIST`]) |
//! | 21, 22 | [`MIN`], [`OLD_MIN`]: smallest round trip of this window of 2^24 us, and of the one before | 22: 29:24 CUBIC's epoch |
//! | 23 | [`ROUND`]: a DSACK was counted in the round that ends here | |
//! | 24, 25 | [`DELIVERED`], [`OUT`]: `prr_delivered`, `prr_out` | |
//! | 26 | [`MARKS`]: PRR's proportion in 16:0, ranges in use as ones in 20:17, then single bits | |
//! | 27 | [`PROBE_END`]: `TLP.end_seq` | |
//! | 28..31 | [`CWND`], [`SSTHRESH`], [`ACKED`], [`RECOVER`] | |

use super::job::{LossJob, LossKind, LossResult, LossTimer};
use crate::prelude::*;
use crate::tcp::cwnd::{Cwnd, Recovery, EPOCH, PHASE_FAST, PHASE_RTO};

/// log2 of the words of a record.
pub const WORDS_LOG2: usize = 5;
/// Words of a record.
pub const WORDS: usize = 1 << WORDS_LOG2;

/// Where range `i` begins.
#[must_use]
pub const fn start(i: u8) -> u8 {
    i
}

/// Where it ends.
#[must_use]
pub const fn end(i: u8) -> u8 {
    4 + i
}

/// How far the hole below it was sent again.
#[must_use]
pub const fn resent(i: u8) -> u8 {
    8 + i
}

/// When.
#[must_use]
pub const fn resent_us(i: u8) -> u8 {
    12 + i
}

/// See the table.
pub const TAIL_RESENT: u8 = 16;
/// See the table.
pub const TAIL_US: u8 = 17;
/// See the table.
pub const TAIL_LOST: u8 = 18;
/// See the table.
pub const XMIT: u8 = 19;
/// See the table.
pub const RTT: u8 = 20;
/// See the table.
pub const MIN: u8 = 21;
/// See the table.
pub const OLD_MIN: u8 = 22;
/// See the table.
pub const ROUND: u8 = 23;
/// See the table.
pub const DELIVERED: u8 = 24;
/// See the table.
pub const OUT: u8 = 25;
/// See the table.
pub const MARKS: u8 = 26;
/// See the table.
pub const PROBE_END: u8 = 27;
/// See the table.
pub const CWND: u8 = 28;
/// See the table.
pub const SSTHRESH: u8 = 29;
/// See the table.
pub const ACKED: u8 = 30;
/// See the table.
pub const RECOVER: u8 = 31;

/// Bits of a time.
pub const TIME: u32 = 0xff_ffff;
/// What lies above it, counted in the upper byte.
pub const TOP: u32 = 24;
/// Of [`resent_us`].
pub const LOST: u32 = 1 << 31;
/// Of [`TAIL_US`]: `RACK.reo_wnd_mult` minus 1.
pub const EXTRA: u32 = 15 << TOP;
/// Of [`RTT`].
pub const PERSIST: u32 = 31 << TOP;
/// Of [`OLD_MIN`].
pub const EPOCHS: u32 = 63 << TOP;

/// Of [`MARKS`]: the proportion of a recovery, 16 fraction bits, at most 1.
pub const RATE: u32 = 0x1_ffff;
/// Ranges in use, as many ones.
pub const RANGES: u32 = 15 << RANGES_LOG2;
/// The lowest of them.
pub const RANGES_LOG2: u32 = 17;
/// In fast recovery.
pub const FAST: u32 = 1 << 21;
/// In recovery after a timeout.
pub const RTO: u32 = 1 << 22;
/// The window was reduced, and SND.UNA is not beyond [`RECOVER`].
pub const REDUCED: u32 = 1 << 23;
/// A probe was sent and its episode is not over.
pub const PROBED: u32 = 1 << 24;
/// It was a retransmission.
pub const PROBE_RESENT: u32 = 1 << 25;
/// [`ROUND`] says something.
pub const HAS_ROUND: u32 = 1 << 26;
/// A segment below the highest delivered one arrived without retransmission.
pub const REORDERED: u32 = 1 << 27;
/// Bit 24 of the clock when this window of round trips began.
pub const ODD: u32 = 1 << 28;

/// [`RECOVER`] is no loss's: a mark's, or of an image in phase Open.
pub const NO_LOSS: u32 = 1 << 30;

/// Inputs: words of the job.
pub mod input {
    /// SND.UNA.
    pub const UNA: u8 = 0;
    /// SND.MAX.
    pub const MAX: u8 = 1;
    /// See [`LossJob`](super::LossJob).
    pub const FROM: u8 = 2;
    /// See there.
    pub const TO: u8 = 3;
    /// A round trip, microseconds.
    pub const RTT_US: u8 = 4;
    /// Segment size.
    pub const SMSS: u8 = 5;
    /// Smoothed round trip.
    pub const SRTT: u8 = 6;
    /// Retransmission timeout.
    pub const RTO: u8 = 7;
    /// Clock.
    pub const NOW: u8 = 8;
    /// New text since the last job, bytes.
    pub const SENT: u8 = 9;
    /// Single bits, see [`fact`](super::fact).
    pub const FACTS: u8 = 10;
    /// DupThresh.
    pub const THRESHOLD: u8 = 11;
    /// The same in bits 31:24.
    pub const THRESHOLD_TOP: u8 = 12;
    /// Ends of the bursts, newest first; four.
    pub const BURST_END: u8 = 13;
    /// When they began; four.
    pub const BURST_US: u8 = 17;
    /// Nothing is known of bytes below.
    pub const FLOOR: u8 = 21;
    /// Of a first job: the window.
    pub const CWND: u8 = 22;
    /// See there.
    pub const SSTHRESH: u8 = 23;
    /// See there.
    pub const ACKED: u8 = 24;
    /// See there.
    pub const RECOVER: u8 = 25;
    /// See there: bits of [`MARKS`](super::MARKS).
    pub const MARKS: u8 = 26;
    /// See there: duplicates, in bits 31:24.
    pub const DUP_ACKS: u8 = 27;
    /// See there: the epoch, in bits 29:24.
    pub const EPOCH: u8 = 28;
    /// CUBIC: bytes for a segment more.
    pub const PER_INCREMENT: u8 = 29;
    /// Reno's window.
    pub const W_EST: u8 = 30;
    /// Of which epoch, in bits 29:24.
    pub const GROWTH_EPOCH: u8 = 31;
    /// The blocks, start and end of each; eight.
    pub const BLOCKS: u8 = 32;
    /// Inputs.
    pub const COUNT: usize = 40;
}

/// Bits of [`input::FACTS`].
pub mod fact {
    /// What happened: an acknowledgment.
    pub const ACK: u32 = 1 << 0;
    /// A timeout.
    pub const RTO: u32 = 1 << 1;
    /// A hand-over.
    pub const HANDED_OVER: u32 = 1 << 2;
    /// Something was sent again.
    pub const RESEND: u32 = 1 << 3;
    /// The window opened.
    pub const OPENED: u32 = 1 << 4;
    /// A probe.
    pub const PROBE: u32 = 1 << 5;
    /// See [`LossJob`](super::LossJob).
    pub const FLAG: u32 = 1 << 6;
    /// See there.
    pub const FIRST: u32 = 1 << 7;
    /// See there.
    pub const ECHO: u32 = 1 << 8;
    /// See there.
    pub const HAS_RTT: u32 = 1 << 9;
    /// See there.
    pub const CUBIC: u32 = 1 << 10;
    /// Bit 24 of the clock.
    pub const ODD: u32 = 1 << 11;
    /// There is block 0; the next three bits, one of the others.
    pub const BLOCK: u32 = 1 << 12;
    /// There is burst 0; the next three bits, one of the others.
    pub const BURST: u32 = 1 << 16;
    /// See [`LossJob`](super::LossJob).
    pub const FRESH: u32 = 1 << 20;
    /// A pause is over.
    pub const RESTED: u32 = 1 << 21;
    /// See [`LossJob`](super::LossJob).
    pub const SACK: u32 = 1 << 22;
}

/// Outputs that are no words of the record.
pub mod output {
    /// CUBIC: the window before the reduction, as far as it was in use.
    pub const PRIOR: u8 = 0;
    /// In how many microseconds the timer is due.
    pub const TIMER: u8 = 1;
    /// The first lost byte.
    pub const LOST: u8 = 2;
    /// How many.
    pub const LOST_LEN: u8 = 3;
    /// New text may go up to here.
    pub const EDGE: u8 = 4;
    /// Single bits, see [`told`](super::told).
    pub const TOLD: u8 = 5;
}

/// Bits of [`output::TOLD`]; see [`LossResult`].
pub mod told {
    /// See there.
    pub const ENTERED: u32 = 1 << 0;
    /// See there.
    pub const REDUCED: u32 = 1 << 1;
    /// See there.
    pub const MARKED: u32 = 1 << 2;
    /// See there.
    pub const NEWS: u32 = 1 << 3;
    /// See there.
    pub const MOVED: u32 = 1 << 4;
    /// The timer is a probe's.
    pub const PROBE: u32 = 1 << 5;
    /// The timer waits for reordered segments.
    pub const REORDER: u32 = 1 << 6;
    /// See there.
    pub const HAS_LOST: u32 = 1 << 7;
    /// See there.
    pub const HAS_ROOM: u32 = 1 << 8;
    /// See there.
    pub const CALM: u32 = 1 << 9;
    /// See there.
    pub const HAS_PRIOR: u32 = 1 << 10;
    /// See there.
    pub const MAY_PROBE: u32 = 1 << 11;
    /// Between two parts of the program: the probe repaired a loss.
    pub const REPAIRED: u32 = 1 << 31;
}

/// What happened, one bit for each but a pause, which has [`fact::RESTED`].
#[kernel]
fn kinds(kind: LossKind) -> Bits<6> {
    match kind {
        LossKind::Ack => bits::<6>(1),
        LossKind::Rto => bits::<6>(2),
        LossKind::HandedOver => bits::<6>(4),
        LossKind::Resend => bits::<6>(8),
        LossKind::WindowOpened => bits::<6>(16),
        LossKind::Probe => bits::<6>(32),
        LossKind::Rested => bits::<6>(0),
    }
}

/// As many ones as `count`, at most four.
#[kernel]
fn ones(count: Bits<3>) -> Bits<4> {
    cat::<4, _>((count > 3, count > 2, count > 1, count > 0))
}

/// [`input::FACTS`].
#[kernel]
fn facts(j: LossJob) -> Bits<32> {
    let single = cat::<6, _>((j.now_us.get_bit(24), j.is_cubic, j.has_rtt, j.is_echo, j.is_first, j.flag));
    let rested = j.kind == LossKind::Rested;
    bit_cast::<32, 23>(cat::<23, _>((
        j.is_sack,
        rested,
        j.is_fresh,
        ones(j.log.len),
        ones(j.count),
        single,
        kinds(j.kind),
    )))
}

/// A byte above a time.
#[kernel]
fn topped(byte: Bits<8>) -> Bits<32> {
    let none = bits::<24>(0);
    cat::<32, _>((byte, none))
}

/// Bits of [`MARKS`] that a first job has.
#[kernel]
fn marks(rc: Recovery) -> Bits<32> {
    let none = bits::<21>(0);
    let three = cat::<3, _>((rc.reduced, rc.phase == PHASE_RTO, rc.phase == PHASE_FAST));
    bit_cast::<32, 24>(cat::<24, _>((three, none)))
}

/// The lower inputs.
#[kernel]
fn low(j: LossJob) -> [Bits<32>; 16] {
    let l = j.log;
    [
        j.una,
        j.max,
        j.from,
        j.to,
        j.rtt_us,
        bit_cast::<32, 16>(j.smss),
        j.srtt_us,
        j.rto_us,
        j.now_us,
        j.sent,
        facts(j),
        bit_cast::<32, 8>(j.threshold),
        topped(j.threshold),
        l.b0.end,
        l.b1.end,
        l.b2.end,
    ]
}

/// Those above.
#[kernel]
fn high(j: LossJob) -> [Bits<32>; 16] {
    let (l, rc) = (j.log, j.rc);
    let rc: Recovery = rc;
    [
        l.b3.end,
        bit_cast::<32, 24>(l.b0.start_us),
        bit_cast::<32, 24>(l.b1.start_us),
        bit_cast::<32, 24>(l.b2.start_us),
        bit_cast::<32, 24>(l.b3.start_us),
        l.floor,
        rc.cw.cwnd,
        rc.cw.ssthresh,
        rc.cw.acked_sum,
        rc.recover,
        marks(rc),
        topped(rc.dup_acks),
        topped(bit_cast::<8, EPOCH>(rc.epoch)),
        j.growth.per_increment,
        j.growth.w_est,
        topped(bit_cast::<8, EPOCH>(j.growth.epoch)),
    ]
}

/// Word `at` of a job: an input of the program.
#[kernel]
pub fn word(j: LossJob, at: Bits<6>) -> Bits<32> {
    let blocks = array::<8, _>(|i| j.blocks.get_bits::<32>(32 * i));
    let lower = select(low(j), at.get_bits::<4>(0));
    let upper = select(high(j), at.get_bits::<4>(0));
    if at.get_bit(5) {
        select(blocks, at.get_bits::<3>(0))
    } else if at.get_bit(4) {
        upper
    } else {
        lower
    }
}

/// What the program put out; each in the word it was written to.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Outputs {
    /// See [`output::PRIOR`].
    pub prior: Bits<32>,
    /// See [`output::TIMER`].
    pub timer_us: Bits<32>,
    /// See [`output::LOST`].
    pub lost: Bits<32>,
    /// See [`output::LOST_LEN`].
    pub lost_len: Bits<16>,
    /// See [`output::EDGE`].
    pub edge: Bits<32>,
    /// See [`output::TOLD`].
    pub told: Bits<12>,
    /// Phase and `reduced`, of [`MARKS`].
    pub marks: Bits<3>,
    /// Of [`XMIT`].
    pub dup_acks: Bits<8>,
    /// Of [`OLD_MIN`].
    pub epoch: Bits<EPOCH>,
    /// Window, threshold, bytes acknowledged.
    pub cw: Cwnd,
    /// See [`RECOVER`].
    pub recover: Bits<32>,
}

/// The output `at` becomes `word`.
#[kernel]
pub fn put(o: Outputs, at: Bits<WORDS_LOG2>, word: Bits<32>) -> Outputs {
    let is = array::<32, _>(|i| at == (i as u64));
    Outputs {
        prior: if is[0] { word } else { o.prior },
        timer_us: if is[1] { word } else { o.timer_us },
        lost: if is[2] { word } else { o.lost },
        lost_len: if is[3] { word.get_bits::<16>(0) } else { o.lost_len },
        edge: if is[4] { word } else { o.edge },
        told: if is[5] { word.get_bits::<12>(0) } else { o.told },
        marks: if is[26] { word.get_bits::<3>(21) } else { o.marks },
        dup_acks: if is[19] { word.get_bits::<8>(24) } else { o.dup_acks },
        epoch: if is[22] { word.get_bits::<EPOCH>(24) } else { o.epoch },
        cw: Cwnd {
            cwnd: if is[28] { word } else { o.cw.cwnd },
            ssthresh: if is[29] { word } else { o.cw.ssthresh },
            acked_sum: if is[30] { word } else { o.cw.acked_sum },
        },
        recover: if is[31] { word } else { o.recover },
    }
}

/// The timer.
#[kernel]
fn timer(told: Bits<12>) -> LossTimer {
    if told.get_bit(6) {
        LossTimer::Reorder
    } else if told.get_bit(5) {
        LossTimer::Probe
    } else {
        LossTimer::Rto
    }
}

/// The answer to a job.
#[kernel]
pub fn result(j: LossJob, o: Outputs) -> LossResult {
    let t = o.told;
    let t: Bits<12> = t;
    let phase = cat::<2, _>((o.marks.get_bit(1), o.marks.get_bit(0)));
    LossResult {
        kind: j.kind,
        conn: j.conn,
        rc: Recovery {
            cw: o.cw,
            phase: bit_cast::<8, 2>(phase),
            recover: o.recover,
            dup_acks: o.dup_acks,
            prior: o.prior,
            reduced: o.marks.get_bit(2),
            epoch: o.epoch,
        },
        has_prior: t.get_bit(10),
        has_entered: t.get_bit(0),
        has_reduced: t.get_bit(1),
        is_marked: t.get_bit(2),
        has_news: t.get_bit(3),
        has_moved: t.get_bit(4),
        timer: timer(t),
        timer_us: o.timer_us,
        has_lost: t.get_bit(7),
        lost: o.lost,
        lost_len: o.lost_len,
        has_room: t.get_bit(8),
        edge: o.edge,
        is_calm: t.get_bit(9),
        may_probe: t.get_bit(11),
    }
}
