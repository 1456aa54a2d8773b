//! The two programs of the unit, for [`crate::micro`]. Loss recovery: the decisions of `chimney_host_stack_core::loss_recovery`, one after
//! the other, and without SACK of `recovery` there. CUBIC: an answer to a question ([`cubic`], at [`cubic::ENTRY`]).
//!
//! ```text
//!   begin --+-- acknowledgment: una, blocks, sums --+-- times, probe, leave, delivered --+-- holes, tail --+-- decide, grow, echo --+-- answer
//!           |                                       '-- without SACK: reno ------------|                 '------------------------'
//!           '-- another event ------------------------------------------------------'
//! ```
//! Ranges and holes are worked on in registers that have the numbers of their words, so the record keeps the scoreboard as it was until the
//! answer is put together: what was delivered is found by comparing the two.
//!
//! | module | what |
//! |---|---|
//! | [`begin`] | a first job, registers, what was sent meanwhile |
//! | [`ranges`] | SND.UNA and the blocks change the ranges |
//! | [`news`] | round trips, DSACK, the probe; what was delivered, and when it was sent |
//! | [`holes`] | what is lost, what is in flight |
//! | [`window`] | PRR, growth, reductions |
//! | [`reno`] | what is different without SACK |
//! | [`events`] | what is no acknowledgment |
//! | [`answer`] | the answer, and the record |
//! | [`cubic`] | the program of CUBIC |
//! | [`long`] | its sums that need more than a word |

pub mod answer;
pub mod begin;
pub mod cubic;
pub mod events;
pub mod holes;
pub mod long;
pub mod names;
pub mod news;
pub mod ranges;
pub mod reno;
pub mod window;

use crate::micro::asm::{Asm, Label, Program};

/// Places that more than one part goes to.
#[derive(Clone, Copy, Debug)]
pub struct Places {
    /// An event that is no acknowledgment.
    pub event: Label,
    /// Ranges are as the event leaves them: the holes.
    pub holes: Label,
    /// A reduction of the window; comes back.
    pub reduce: Label,
    /// CUBIC: a new epoch; comes back.
    pub epoch: Label,
    /// The proportion of a recovery; comes back.
    pub divide: Label,
    /// Fast recovery: PRR's window.
    pub fast: Label,
    /// All is well: the window may grow.
    pub open: Label,
    /// After a timeout it may.
    pub rto: Label,
    /// The window falls to the threshold.
    pub repair: Label,
    /// Does the acknowledgment echo a mark?
    pub echo: Label,
    /// An acknowledgment of a connection without SACK.
    pub unreported: Label,
    /// Its window may grow.
    pub grow: Label,
    /// All is decided.
    pub answer: Label,
    /// The lane with this number goes; comes back.
    pub close: [Label; 4],
}

/// Both programs.
#[must_use]
pub fn program() -> Program {
    let mut p = Asm::default();
    let at = Places {
        event: p.label(),
        holes: p.label(),
        reduce: p.label(),
        epoch: p.label(),
        divide: p.label(),
        fast: p.label(),
        open: p.label(),
        rto: p.label(),
        repair: p.label(),
        echo: p.label(),
        unreported: p.label(),
        grow: p.label(),
        answer: p.label(),
        close: std::array::from_fn(|_| p.label()),
    };
    begin::begin(&mut p, &at);
    ranges::una(&mut p, &at);
    ranges::blocks(&mut p, &at);
    ranges::sums(&mut p, &at);
    news::times(&mut p);
    news::probe(&mut p);
    news::leave(&mut p);
    news::delivered(&mut p);
    holes::patience(&mut p, &at);
    holes::holes(&mut p, &at);
    holes::tail(&mut p);
    window::decide(&mut p, &at);
    window::recover(&mut p, &at);
    window::grow(&mut p, &at);
    window::echo(&mut p, &at);
    answer::answer(&mut p, &at);
    ranges::close(&mut p, &at);
    window::reduce(&mut p, &at);
    window::divide(&mut p, &at);
    events::events(&mut p, &at);
    reno::acknowledgment(&mut p, &at);
    reno::grow(&mut p, &at);
    p.begin_at(cubic::ENTRY);
    cubic::cubic(&mut p);
    p.finish()
}
