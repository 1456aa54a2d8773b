//! Loss recovery with SACK: scoreboard, RACK-TLP, PRR (RFC 6675, RFC 8985, RFC 9937) and CUBIC (RFC 9438).
//!
//! What every acknowledgment needs is done in PROTO, a function for each clock; the rest are two programs ([`code`]) of a small processor
//! ([`crate::micro`]), one connection at a time. `tests/loss_unit` and `tests/differential_loss` compare both with
//! `chimney_host_stack_core`.
//!
//! | module | core | what |
//! |---|---|---|
//! | [`rack`], [`tlp`] | `rack`, `tlp` | PROTO's part: when what was sent, how long a probe waits |
//! | [`prr`] | `prr` | sums that stay within their width |
//! | [`growth`] | | between CUBIC's program and those who let the window grow: the question, and the table of answers |
//! | [`job`] | `loss_recovery` | what the unit is asked, and what it answers |
//! | [`words`], [`row`] | all of it | job, record and answer as the programs have them; question, CUBIC's row and answer |
//! | [`code`] | `loss_recovery`, `scoreboard`, `rack`, `prr`, `tlp`; `cubic` | the programs |
//! | [`mod@unit`] | | the processor, its programs, the records and the rows |
//! | [`queue`] | | the block behind a queue, as the pipeline needs it |

pub mod code;
pub mod growth;
pub mod job;
pub mod prr;
pub mod queue;
pub mod rack;
pub mod row;
pub mod tlp;
pub mod unit;
pub mod words;
