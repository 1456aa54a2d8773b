//! What the program of CUBIC works on ([`super::code::cubic`]): a connection's row of eight words, the question as inputs, the answer as
//! outputs.
//!
//! | word | what |
//! |---|---|
//! | [`W_MAX`] | the window before the last reduction, bytes (after fast convergence) |
//! | [`PRIOR`] | 30:0 `cwnd` before the last reduction; 31 that was a timeout's ([`TIMED_OUT`]) |
//! | [`ORIGIN`] | the window at which the cubic function has its plateau |
//! | [`W_EST`] | the window that Reno would have (`W_est`) |
//! | [`EST_SUM`] | bytes acknowledged since that grew |
//! | [`EPOCH_US`] | when congestion avoidance began |
//! | [`EPOCH`] | 15:0 time from there to the plateau, units of 1024 us ([`K`]); 29:24 the epoch; 30 the row says something ([`KNOWN`]) |
//!
//! After a reset that mark is cleared: a row that says nothing is of no epoch, and had no reduction.

use super::growth::{Growth, GrowthAsk, CREDIT};
use super::words::{output, Outputs};
use crate::prelude::*;
use crate::tcp::cwnd;

/// log2 of the words of a row.
pub const ROW_LOG2: usize = 3;
/// Words of a row.
pub const ROW: usize = 1 << ROW_LOG2;

/// See the table.
pub const W_MAX: u8 = 0;
/// See the table.
pub const PRIOR: u8 = 1;
/// See the table.
pub const ORIGIN: u8 = 2;
/// See the table.
pub const W_EST: u8 = 3;
/// See the table.
pub const EST_SUM: u8 = 4;
/// See the table.
pub const EPOCH_US: u8 = 5;
/// See the table.
pub const EPOCH: u8 = 6;
/// The word that says after a reset that the row says nothing.
pub const SWEPT: u64 = EPOCH as u64;

/// Of [`EPOCH`].
pub const K: u32 = 0xffff;
/// Of [`PRIOR`].
pub const TIMED_OUT: u32 = 1 << 31;
const _: () = assert!(TIMED_OUT as u64 == cwnd::TIMED_OUT);
/// Of [`EPOCH`].
pub const KNOWN: u32 = 1 << KNOWN_AT;
/// Its bit.
const KNOWN_AT: usize = 30;

/// Inputs: words of the question, behind those of a job.
pub mod input {
    use crate::tcp::loss::words::input;
    /// The first of them.
    pub const FIRST: u8 = 40;
    /// The window before the last reduction; 0: none. Also [`TIMED_OUT`](super::TIMED_OUT).
    pub const PRIOR: u8 = FIRST;
    /// The window.
    pub const CWND: u8 = FIRST + 1;
    /// Segment size.
    pub const SMSS: u8 = FIRST + 2;
    /// Smoothed round trip.
    pub const SRTT: u8 = FIRST + 3;
    /// Clock.
    pub const NOW: u8 = FIRST + 4;
    /// Bytes acknowledged since the last question.
    pub const CREDIT: u8 = FIRST + 5;
    /// The epoch, as in [`EPOCH`](super::EPOCH), with [`KNOWN`](super::KNOWN).
    pub const EPOCH: u8 = FIRST + 6;
    const _: () = assert!(FIRST as usize == input::COUNT);
}

/// Bytes for a segment more are this output.
pub const PER_INCREMENT: u8 = output::PRIOR;
/// And Reno's window this one.
pub const LEAST: u8 = output::EDGE;

/// Word `at` of a question: input [`input::FIRST`] and those above.
#[kernel]
pub fn asked(q: GrowthAsk, at: Bits<ROW_LOG2>) -> Bits<32> {
    let none = bits::<24>(0);
    let (known, zero) = (bits::<2>(1), bits::<32>(0));
    let words = [
        q.prior,
        q.cwnd,
        bit_cast::<32, 16>(q.smss),
        q.srtt_us,
        q.now_us,
        bit_cast::<32, CREDIT>(q.credit),
        cat::<32, _>((known, q.epoch, none)),
        zero,
    ];
    select(words, at)
}

/// The entry that follows from what the program put out.
#[kernel]
pub fn entry(q: GrowthAsk, o: Outputs) -> Growth {
    Growth { per_increment: o.prior, w_est: o.edge, epoch: q.epoch }
}

/// A word that is written, or one that says that its row says nothing.
#[kernel]
pub fn marked(word: Bits<32>, says: bool) -> Bits<32> {
    let known = word.get_bit(KNOWN_AT) && says;
    cat::<32, _>((word.get_bit(31), known, word.get_bits::<KNOWN_AT>(0)))
}

const _: () = assert!(cwnd::EPOCH == 6);
