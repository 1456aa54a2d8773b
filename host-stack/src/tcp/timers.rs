//! Deadlines of a connection and what happens when one passes.
//!
//! | timer | runs while | on expiry |
//! |---|---|---|
//! | retransmit | something is unacknowledged | go back to SND.UNA (RFC 6298 5); with SACK also a probe or a wait (RFC 8985) |
//! | persist (same slot) | data waits for a window | probe (RFC 9293 3.8.6.1, R-255) |
//! | delayed ACK | an ACK may wait | send it |
//! | close | FIN-WAIT-2, TIME-WAIT | forget the connection (R-259) |
//! | keepalive | enabled and idle | probe (RFC 9293 3.8.4, R-260) |

use super::tcb::{ConnectionError, Tcb};
use chimney_abi::cmd::TcpState;
use chimney_host_stack_core::loss_recovery::TimerKind;
use chimney_host_stack_core::rtt::backed_off;
use chimney_host_stack_core::transmit::persist_us;

/// Absolute deadlines, microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Timers {
    /// Retransmit or persist.
    pub retransmit: Option<u64>,
    /// The slot above is a persist timer.
    pub is_persist: bool,
    /// Delayed ACK.
    pub delayed_ack: Option<u64>,
    /// FIN_WAIT_2 or TIME-WAIT.
    pub close: Option<u64>,
    /// Keepalive.
    pub keep_alive: Option<u64>,
}

impl Timers {
    /// The earliest deadline.
    #[must_use]
    pub fn next(&self) -> Option<u64> {
        [self.retransmit, self.delayed_ack, self.close, self.keep_alive].into_iter().flatten().min()
    }
}

/// True if `deadline` has passed; then it is taken out.
fn expired(deadline: &mut Option<u64>, now_us: u64) -> bool {
    let is_due = deadline.is_some_and(|at| at <= now_us);
    if is_due {
        *deadline = None;
    }
    is_due
}

impl Tcb {
    /// Handles every deadline that has passed.
    pub fn on_time(&mut self, now_us: u64) {
        if expired(&mut self.timers.delayed_ack, now_us) {
            self.owed.ack = true;
        }
        if expired(&mut self.timers.retransmit, now_us) {
            match std::mem::take(&mut self.rtx_kind) {
                _ if self.timers.is_persist => self.on_persist_timer(now_us),
                TimerKind::Rto => self.on_retransmit_timer(now_us),
                TimerKind::Probe => {
                    self.owed.tail_probe = self.loss.may_send_probe();
                    self.arm_retransmit(now_us);
                }
                TimerKind::Reorder => self.on_reorder_timer(now_us),
            }
        }
        if expired(&mut self.timers.keep_alive, now_us) {
            self.on_keep_alive_timer(now_us);
        }
        if expired(&mut self.timers.close, now_us) {
            let error = (self.state != TcpState::TimeWait).then_some(ConnectionError::TimedOut);
            self.finish(error);
        }
    }

    /// RTO before back-off, but for that of the segments before: what was sent again says nothing of the round trip, so until there is a sample the
    /// timeout stays as long as it became (RFC 9293 3.8.2, RFC 6298 5).
    #[must_use]
    pub fn rto_us(&self) -> u32 {
        backed_off(self.rtt.rto_us(&self.config.rto), self.kept_back_off, &self.config.rto)
    }

    /// RFC 6298 5.1, 5.3: (re)starts the retransmit timer for what is in flight now.
    pub(super) fn arm_retransmit(&mut self, now_us: u64) {
        let rto = backed_off(self.rto_us(), self.retransmit_count, &self.config.rto);
        self.timers.is_persist = false;
        self.rtx_kind = TimerKind::Rto;
        self.timers.retransmit = Some(now_us + u64::from(rto));
    }

    /// RFC 6298 5.4 to 5.6, RFC 5681 3.1.
    fn on_retransmit_timer(&mut self, now_us: u64) {
        let is_opening = matches!(self.state, TcpState::SynSent | TcpState::SynRcvd);
        let limit =
            if is_opening { self.config.max_syn_retransmissions } else { self.config.max_retransmissions };
        if self.retransmit_count >= limit {
            return self.finish(Some(ConnectionError::TimedOut));
        }
        self.total_rt_us += u64::from(backed_off(self.rto_us(), self.retransmit_count, &self.config.rto));
        self.retransmit_count += 1;
        self.stats.timeouts += 1;
        self.rtt_timer.cancel();
        if is_opening {
            self.owed.syn = true;
        } else {
            let is_first = self.retransmit_count == 1;
            self.ecn.on_reduction(self.snd.snd_max);
            if self.negotiated.has_sack {
                let at = self.moment(now_us);
                self.loss.on_rto(&at, &mut self.cw, &mut self.recovery, is_first);
            } else {
                self.recovery.on_rto(&self.snd, &mut self.cw, self.eff_mss, is_first);
                self.snd.snd_nxt = self.snd.snd_una;
            }
            self.owed.first = false;
        }
        self.arm_retransmit(now_us);
    }

    /// Starts the persist algorithm: data waits and nothing is in flight.
    pub(super) fn start_persist(&mut self, now_us: u64) {
        self.probe_round = 0;
        self.retransmit_count = 0;
        self.arm_persist(now_us, 0);
    }

    fn arm_persist(&mut self, now_us: u64, exponent: u8) {
        let interval = persist_us(self.rto_us(), exponent, &self.config.rto);
        self.timers.is_persist = true;
        self.timers.retransmit = Some(now_us + u64::from(interval));
    }

    /// probe, and wait RTO << count for its answer.
    fn on_persist_timer(&mut self, now_us: u64) {
        if self.retransmit_count >= self.config.max_retransmissions {
            return self.finish(Some(ConnectionError::TimedOut));
        }
        if self.snd.snd_wnd > 0 {
            // Silly window override: the window is open, but was too small to be worth a segment.
            self.owed.small = true;
        } else {
            self.owed.probe = true;
        }
        self.arm_persist(now_us, self.retransmit_count);
        self.retransmit_count += 1;
    }

    /// An ACK arrived while the persist algorithm runs.
    pub(super) fn on_window_while_persisting(&mut self, now_us: u64) {
        if !self.timers.is_persist {
            return;
        }
        if self.snd.snd_wnd > 0 {
            // leave the algorithm and resume.
            self.timers.is_persist = false;
            self.timers.retransmit = None;
            self.probe_round = 0;
            self.retransmit_count = 0;
        } else if self.retransmit_count > 0 {
            self.probe_round = self.probe_round.saturating_add(1);
            self.retransmit_count = 0;
            self.arm_persist(now_us, self.probe_round);
        }
    }

    /// Restarts the keepalive timer after an acceptable segment.
    pub(super) fn touch_keep_alive(&mut self, now_us: u64) {
        self.ka_probes = 0;
        self.timers.keep_alive = self.config.keep_alive_us.map(|idle| now_us + idle);
    }

    fn on_keep_alive_timer(&mut self, now_us: u64) {
        if self.ka_probes >= self.config.keep_alive_probes {
            return self.finish(Some(ConnectionError::TimedOut));
        }
        self.ka_probes += 1;
        self.owed.probe = true;
        self.timers.keep_alive = Some(now_us + self.config.keep_alive_interval_us);
    }

    /// (re)starts the timer of a state that only waits.
    pub(super) fn touch_close_timer(&mut self, now_us: u64) {
        self.timers.close = match self.state {
            TcpState::FinWait2 => Some(now_us + self.config.fin_wait_2_us),
            TcpState::TimeWait => Some(now_us + self.config.time_wait_us),
            _ => None,
        };
    }
}
