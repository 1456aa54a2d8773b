//! Loss recovery with SACK: scoreboard, RACK-TLP, PRR (RFC 6675, RFC 8985, RFC 9937) and CUBIC (RFC 9438).
//!
//! The functions of `chimney_host_stack_core`, cut so that each fits a clock (`hdl/doc/timing.md`); `tests/differential_loss.rs`
//! compares them. What every acknowledgment needs is a function of one clock; the rest is done lane by lane.
//!
//! | module | core | what |
//! |---|---|---|
//! | [`board`] | `scoreboard` | ranges, holes, what is in flight |
//! | [`rack`] | `rack` | when what was sent, what is lost |
//! | [`prr`] | `prr` | how much to send in recovery |
//! | [`tlp`] | `tlp` | the probe |
//! | [`cubic`] | `cubic`, `cwnd` | how the window falls and grows |

pub mod board;
pub mod cubic;
pub mod prr;
pub mod rack;
pub mod tlp;
