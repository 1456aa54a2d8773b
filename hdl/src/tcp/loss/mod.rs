//! Loss recovery with SACK: scoreboard, RACK-TLP, PRR (RFC 6675, RFC 8985, RFC 9937) and CUBIC (RFC 9438).
//!
//! The functions of `chimney_host_stack_core`, cut so that each fits a clock (`hdl/doc/timing.md`); `tests/differential_loss.rs`
//! compares them. What every acknowledgment needs is a function of one clock; the rest is done lane by lane by [`mod@unit`], one
//! connection at a time (`tests/loss_unit`).
//!
//! | module | core | what |
//! |---|---|---|
//! | [`board`] | `scoreboard` | ranges, holes, what is in flight |
//! | [`lanes`] | `scoreboard` | how the ranges change |
//! | [`rack`] | `rack` | when what was sent, what is lost |
//! | [`prr`] | `prr` | how much to send in recovery |
//! | [`tlp`] | `tlp` | the probe |
//! | [`cubic`], [`slow`] | `cubic` | how the window grows: the steps, and the slow unit |
//! | [`growth`] | | between the slow unit and those who let the window grow |
//! | [`job`] | `loss_recovery` | what the unit is asked, and what it answers |
//! | [`hand`], [`program`], [`walks`], [`step`], [`mod@unit`] | `loss_recovery` | its registers, the clocks of an acknowledgment, the walks over the holes, what is done once, the block |
//! | [`queue`] | | the block behind a queue, as the pipeline needs it |

pub mod board;
pub mod code;
pub mod cubic;
pub mod growth;
pub mod hand;
pub mod job;
pub mod lanes;
pub mod program;
pub mod prr;
pub mod queue;
pub mod rack;
pub mod slow;
pub mod step;
pub mod tlp;
pub mod unit;
pub mod walks;
pub mod words;
