//! Congestion control behind one small interface: what happens at an acknowledgment, a congestion event and a pause.
//!
//! The algorithm is chosen per connection. How much is sent *during* a recovery is not its business ([`crate::prr`]); how
//! far the window falls and how it grows again is.

use crate::cubic::Cubic;
use crate::cwnd::Cwnd;

/// Most segments that one acknowledgment adds in slow start (L of RFC 3465 2.2).
const SLOW_START_LIMIT: u32 = 2;

/// The choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Algorithm {
    /// RFC 5681, RFC 6582.
    NewReno,
    /// RFC 9438.
    #[default]
    Cubic,
}

/// The algorithm of one connection and its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// RFC 5681, RFC 6582: half, and a segment more per round trip.
    NewReno,
    /// RFC 9438.
    Cubic(Cubic),
}

impl Default for Control {
    fn default() -> Control {
        Control::Cubic(Cubic::default())
    }
}

/// An acknowledgment outside of recovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Growth {
    /// Bytes delivered.
    pub acked: u32,
    /// Bytes in flight before it.
    pub flight: u32,
    /// Sender's segment size.
    pub smss: u32,
    /// Smoothed RTT, microseconds.
    pub srtt_us: u32,
    /// Low bits of the clock.
    pub now_us: u32,
}

impl Control {
    /// The initial state of an algorithm.
    #[must_use]
    pub fn new(algorithm: Algorithm) -> Control {
        match algorithm {
            Algorithm::NewReno => Control::NewReno,
            Algorithm::Cubic => Control::Cubic(Cubic::default()),
        }
    }

    /// A congestion event: sets `ssthresh` from `flight`, what is in the network. `cwnd` is the caller's.
    pub fn on_congestion(&mut self, cw: &mut Cwnd, flight: u32, smss: u32) {
        match self {
            Control::NewReno => cw.reduce_ssthresh(flight, smss),
            Control::Cubic(cubic) => cubic.on_congestion(cw, flight, smss),
        }
    }

    /// The retransmission timer fired. What the window falls to is the caller's, and so is the congestion event, which goes before.
    pub fn on_timeout(&mut self) {
        if let Control::Cubic(cubic) = self {
            cubic.on_timeout();
        }
    }

    /// The window grows, if it is used.
    pub fn on_ack(&mut self, cw: &mut Cwnd, g: &Growth) {
        match self {
            Control::Cubic(cubic) if !cw.is_slow_start() => {
                // As in `Cwnd::grow`: a window that is not used says nothing about the network.
                if g.flight + 2 * g.smss < cw.cwnd {
                    return;
                }
                if cubic.is_due(g.now_us) {
                    cubic.update(cw, g.srtt_us, g.smss, g.now_us);
                }
                cubic.on_ack(cw, g.acked, g.smss);
            }
            _ => cw.grow(g.acked, g.flight, g.smss, SLOW_START_LIMIT),
        }
    }

    /// Nothing was sent for longer than the RTO (RFC 5681 4.1, RFC 9438 5.8).
    pub fn on_idle(&mut self, cw: &mut Cwnd, smss: u32) {
        cw.restart_after_idle(smss);
        if let Control::Cubic(cubic) = self {
            cubic.restart_epoch();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_algorithm_reduces_by_its_own_factor() {
        for (mut control, want) in [(Control::NewReno, 10_000), (Control::default(), 13_999)] {
            let mut cw = Cwnd { cwnd: 20_000, ssthresh: 40_000, acked_sum: 0 };
            control.on_congestion(&mut cw, 20_000, 1000);
            assert_eq!(cw.ssthresh, want);
        }
    }

    #[test]
    fn an_unused_window_does_not_grow_in_congestion_avoidance() {
        for mut control in [Control::NewReno, Control::default()] {
            let mut cw = Cwnd { cwnd: 20_000, ssthresh: 10_000, acked_sum: 0 };
            let mut g = Growth { acked: 20_000, flight: 5000, smss: 1000, srtt_us: 1000, now_us: 0 };
            for _ in 0..100 {
                g.now_us += 100_000;
                control.on_ack(&mut cw, &g);
            }
            assert_eq!(cw.cwnd, 20_000);
            for _ in 0..100 {
                g.flight = cw.cwnd;
                g.now_us += 100_000;
                control.on_ack(&mut cw, &g);
            }
            assert!(cw.cwnd > 25_000, "{control:?}");
        }
    }
}
