//! Loss recovery with SACK: scoreboard, RACK-TLP, PRR (RFC 6675, RFC 8985, RFC 9937) and CUBIC (RFC 9438).
//!
//! What every acknowledgment needs is done in PROTO, a function for each clock; the rest is a program ([`code`]) of a small processor
//! ([`crate::micro`]), one connection at a time. `tests/loss_unit` and `tests/differential_loss` compare both with
//! `chimney_host_stack_core`.
//!
//! | module | core | what |
//! |---|---|---|
//! | [`rack`], [`tlp`] | `rack`, `tlp` | PROTO's part: when what was sent, how long a probe waits |
//! | [`prr`] | `prr` | sums that stay within their width |
//! | [`cubic`], [`slow`] | `cubic` | how the window grows: the steps, and the slow unit |
//! | [`growth`] | | between the slow unit and those who let the window grow |
//! | [`job`] | `loss_recovery` | what the unit is asked, and what it answers |
//! | [`words`] | all of it | job, record and answer as the program has them |
//! | [`code`] | `loss_recovery`, `scoreboard`, `rack`, `prr`, `tlp` | the program |
//! | [`mod@unit`] | | the processor, its program and the records |
//! | [`queue`] | | the block behind a queue, as the pipeline needs it |

pub mod code;
pub mod cubic;
pub mod growth;
pub mod job;
pub mod prr;
pub mod queue;
pub mod rack;
pub mod slow;
pub mod tlp;
pub mod unit;
pub mod words;
