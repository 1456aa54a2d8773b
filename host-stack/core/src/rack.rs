//! RACK: loss detection by time (RFC 8985 6), with what a connection record can hold.
//!
//! | RFC 8985 | here |
//! |---|---|
//! | a send time per segment | a log of four send bursts; per hole the time of its last retransmission |
//! | time of the segment delivered last | the start of its burst, never later than the truth |
//! | time of a segment in a hole | the end of its burst, never earlier than the truth |
//! | windowed minimum of the RTT | minimum of this and the previous 2^24 us |
//! | TSecr tells an original from its retransmission | not used; a delivery faster than the minimum RTT does not count (6.2 step 2) |
//! | reordering window grows by min_RTT / 4 per round with DSACK | the same, 1 to 16 |
//!
//! Where a burst is blurred, the error makes a loss be found later, never something be lost that is not.
//! Times are kept modulo 2^24 us ([`TIME_MASK`]), as in hardware: what is compared is an age, and lies 8 s apart at most where it
//! matters. Older times look younger; then a loss is found later, by the timeout at the latest.
//!
//! Widths: log 4 x (32 + 24) + 32 + 3, `xmit_us` 24, RTTs 3 x 24, flags 11, `dsack_round` 33: 400 bits.

use chimney_abi::SeqNum;

/// Entries of the log.
pub const LOG_ENTRIES: usize = 4;
/// Recoveries after which a widened reordering window shrinks again (RFC 8985 6.2 step 4).
const REO_WND_PERSIST: u8 = 16;
/// Largest multiple of min_RTT / 4.
const MAX_REO_WND_MULT: u8 = 16;
/// Shortest burst that gets an entry of its own, before there is an RTT.
const FIRST_SPACING_US: u32 = 1000;

/// Round trip before there is one.
const FIRST_RTT_US: u32 = 1_000_000;

/// The bits of a time that are kept; also the longest round trip.
pub const TIME_MASK: u32 = (1 << 24) - 1;

/// How long ago `then_us` was, modulo 2^24.
#[must_use]
pub fn age_us(now_us: u32, then_us: u32) -> u32 {
    now_us.wrapping_sub(then_us) & TIME_MASK
}

/// True if the time `a` is later than `b`: the clock wraps.
#[must_use]
pub fn is_later(a_us: u32, b_us: u32) -> bool {
    let distance = age_us(a_us, b_us);
    distance != 0 && distance < 1 << 23
}

/// One burst of first transmissions: everything from the end of the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Burst {
    /// One past the last byte.
    pub end: SeqNum,
    /// When its first byte was sent.
    pub start_us: u32,
}

/// When the bytes in flight were first sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct SendLog {
    bursts: [Burst; LOG_ENTRIES],
    len: u8,
    /// Nothing is known of bytes below.
    pub floor: SeqNum,
    /// The next byte begins a new burst: something was sent again in between.
    pub is_split: bool,
}

impl SendLog {
    /// An empty log; bytes from `snd_max` on will be known.
    #[must_use]
    pub fn new(snd_max: SeqNum) -> SendLog {
        SendLog { floor: snd_max, ..SendLog::default() }
    }

    /// Bytes up to `end` were sent for the first time now. `spacing_us`: how long a burst may last.
    pub fn on_send(&mut self, end: SeqNum, now_us: u32, spacing_us: u32) {
        let is_split = core::mem::take(&mut self.is_split);
        if let Some(newest) = self.bursts[..usize::from(self.len)].last_mut() {
            if !is_split && age_us(now_us, newest.start_us) < spacing_us {
                newest.end = end;
                return;
            }
        }
        if usize::from(self.len) == LOG_ENTRIES {
            self.floor = self.bursts[0].end;
            self.bursts.copy_within(1.., 0);
            self.len -= 1;
        }
        self.bursts[usize::from(self.len)] = Burst { end, start_us: now_us & TIME_MASK };
        self.len += 1;
    }

    /// What is known, oldest first.
    #[must_use]
    pub fn bursts(&self) -> &[Burst] {
        &self.bursts[..usize::from(self.len)]
    }

    /// Something was sent again.
    pub fn split(&mut self) {
        self.is_split = true;
    }

    /// When the byte before `end` was sent, at the earliest; `None` if that is forgotten.
    #[must_use]
    pub fn earliest(&self, end: SeqNum) -> Option<u32> {
        if end.at_or_before(self.floor) {
            return None;
        }
        self.burst_of(end).map(|i| self.bursts[i].start_us)
    }

    /// When the byte before `end` was sent, at the latest. `spacing_us` as in [`SendLog::on_send`].
    #[must_use]
    pub fn latest(&self, end: SeqNum, spacing_us: u32) -> Option<u32> {
        let i = self.burst_of(end)?;
        let by_spacing = self.bursts[i].start_us.wrapping_add(spacing_us) & TIME_MASK;
        match self.bursts[..usize::from(self.len)].get(i + 1) {
            Some(next) if is_later(by_spacing, next.start_us) => Some(next.start_us),
            _ => Some(by_spacing),
        }
    }

    fn burst_of(&self, end: SeqNum) -> Option<usize> {
        self.bursts[..usize::from(self.len)].iter().position(|b| end.at_or_before(b.end))
    }

    /// SND.UNA moved: old numbers are forgotten before they could come back.
    pub fn advance(&mut self, snd_una: SeqNum) {
        let gone =
            self.bursts[..usize::from(self.len)].iter().take_while(|b| b.end.at_or_before(snd_una)).count();
        // The newest stays: it is extended, and only its end counts.
        let gone = gone.min(usize::from(self.len.saturating_sub(1)));
        self.bursts.copy_within(gone.., 0);
        // `as`: at most LOG_ENTRIES.
        self.len -= gone as u8;
        self.floor = self.floor.later(snd_una);
    }
}

/// State of RACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Rack {
    /// First transmissions.
    pub log: SendLog,
    /// Send time of the segment delivered last, of those sent last (`RACK.xmit_ts`).
    pub xmit_us: u32,
    /// Its round trip (`RACK.rtt`); 0 = none yet.
    pub rtt_us: u32,
    /// Smallest round trip of this window of 2^24 us and of the one before; 0 = none.
    pub min_rtts_us: [u32; 2],
    /// Bit 24 of the clock when the first of them began.
    pub is_odd_window: bool,
    /// A segment below the highest delivered one arrived without retransmission.
    pub is_reordering_seen: bool,
    /// `RACK.reo_wnd_mult` minus 1.
    pub extra_mult: u8,
    /// Recoveries until it shrinks.
    pub persist: u8,
    /// End of the round in which a DSACK was counted.
    pub dsack_round: Option<SeqNum>,
}

/// What the reordering window depends on besides the state of RACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ReoInput {
    /// In recovery.
    pub is_recovering: bool,
    /// At least DupThresh segments were reported.
    pub has_dup_thresh: bool,
    /// Smoothed RTT.
    pub srtt_us: u32,
}

impl Rack {
    /// A fresh state.
    #[must_use]
    pub fn new(snd_max: SeqNum) -> Rack {
        Rack { log: SendLog::new(snd_max), ..Rack::default() }
    }

    /// Smallest recent round trip; 0 = none yet.
    #[must_use]
    pub fn min_rtt_us(&self) -> u32 {
        match self.min_rtts_us {
            [0, other] | [other, 0] => other,
            [a, b] => a.min(b),
        }
    }

    /// A round trip was measured on a segment that was not sent again.
    pub fn on_rtt(&mut self, rtt_us: u32, now_us: u32) {
        let is_odd = now_us >> 24 & 1 == 1;
        if is_odd != self.is_odd_window {
            self.min_rtts_us = [0, self.min_rtts_us[0]];
            self.is_odd_window = is_odd;
        }
        let rtt_us = rtt_us.min(TIME_MASK);
        let current = &mut self.min_rtts_us[0];
        *current = if *current == 0 { rtt_us } else { (*current).min(rtt_us) }.max(1);
    }

    /// RFC 8985 6.2 step 2: a segment that was sent at `sent_us` is delivered.
    pub fn on_delivered(&mut self, sent_us: u32, is_resent: bool, now_us: u32) {
        let rtt_us = age_us(now_us, sent_us);
        if is_resent && rtt_us < self.min_rtt_us() {
            // Too fast: it was the first transmission that arrived.
            return;
        }
        // Ages, not times: so what is left from before a long pause does not look like the future.
        if self.rtt_us == 0 || rtt_us <= age_us(now_us, self.xmit_us) {
            self.xmit_us = sent_us & TIME_MASK;
            self.rtt_us = rtt_us.max(1);
        }
    }

    /// RFC 8985 6.2 step 4, its DSACK part: once per round trip the window grows.
    pub fn on_dsack(&mut self, snd_una: SeqNum, snd_max: SeqNum) {
        if self.dsack_round.is_some_and(|end| snd_una.before(end)) {
            return;
        }
        self.dsack_round = Some(snd_max);
        self.extra_mult = (self.extra_mult + 1).min(MAX_REO_WND_MULT - 1);
        self.persist = REO_WND_PERSIST;
    }

    /// A recovery is over.
    pub fn on_recovered(&mut self) {
        self.persist = self.persist.saturating_sub(1);
        if self.persist == 0 {
            self.extra_mult = 0;
        }
    }

    /// `RACK_update_reo_wnd`.
    #[must_use]
    pub fn reo_wnd_us(&self, input: &ReoInput) -> u32 {
        if !self.is_reordering_seen && (input.is_recovering || input.has_dup_thresh) {
            return 0;
        }
        // Before the first round trip of our own that of before the hand-over counts, or a second.
        let known = |us: u32, other: u32| if us > 0 { us } else { other };
        let srtt_us = known(input.srtt_us.min(TIME_MASK), FIRST_RTT_US);
        let min_rtt_us = known(self.min_rtt_us(), srtt_us);
        (min_rtt_us >> 2).saturating_mul(u32::from(self.extra_mult) + 1).min(srtt_us)
    }

    /// Longest burst of the log: a quarter of the RTT, so that four hold what is in flight.
    #[must_use]
    pub fn spacing_us(srtt_us: u32) -> u32 {
        (srtt_us.min(TIME_MASK) >> 2).max(FIRST_SPACING_US)
    }

    /// Is a hole lost that was sent once and ends at `end`, below something delivered? `clock`: smoothed RTT, and now.
    ///
    /// # Errors
    /// In how many microseconds it will be.
    pub fn judge_first(&self, end: SeqNum, reo_wnd_us: u32, clock: (u32, u32)) -> Result<(), u32> {
        let (srtt_us, now_us) = clock;
        if reo_wnd_us == 0 {
            return Ok(());
        }
        let patience = self.rtt_us + reo_wnd_us;
        // Sent before the log begins: then the present is the latest that it can have been.
        let sent_us = self.log.latest(end, Rack::spacing_us(srtt_us)).unwrap_or(now_us);
        let age = age_us(now_us, sent_us);
        // The end of a burst may still come.
        let left = match age < 1 << 23 {
            true => patience.saturating_sub(age),
            false => patience + (TIME_MASK + 1 - age),
        };
        match left {
            0 => Ok(()),
            left => Err(left),
        }
    }

    /// Is what was sent at `sent_us` lost? `Err` = the time until it will be, microseconds.
    ///
    /// # Errors
    /// Not yet; `None` inside when nothing that was sent later is delivered yet, so nothing says so.
    pub fn judge(&self, sent_us: u32, reo_wnd_us: u32, now_us: u32) -> Result<(), Option<u32>> {
        let elapsed = age_us(now_us, sent_us);
        if self.rtt_us == 0 || elapsed <= age_us(now_us, self.xmit_us) {
            return Err(None);
        }
        let patience = self.rtt_us + reo_wnd_us;
        if reo_wnd_us == 0 || elapsed >= patience {
            Ok(())
        } else {
            Err(Some(patience - elapsed))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn four_bursts_are_remembered_and_times_are_blurred_to_the_safe_side() {
        let mut log = SendLog::new(SeqNum(0));
        for (end, now) in [(1000, 100), (2000, 110), (3000, 200), (4000, 300), (5000, 390)] {
            log.on_send(SeqNum(end), now, 95);
        }
        assert_eq!(log.earliest(SeqNum(2000)), Some(100), "sent at 110");
        assert_eq!(log.latest(SeqNum(1000), 95), Some(195));
        assert_eq!(log.latest(SeqNum(3000), 120), Some(300), "not later than the next burst");
        assert_eq!(log.earliest(SeqNum(4001)), Some(300));
        log.on_send(SeqNum(6000), 500, 95);
        log.on_send(SeqNum(7000), 600, 95);
        assert_eq!(log.earliest(SeqNum(2000)), None, "forgotten");
        assert_eq!(log.earliest(SeqNum(2001)), Some(200));
        assert_eq!(log.earliest(SeqNum(9000)), None, "never sent");
    }

    #[test]
    fn a_retransmission_begins_a_new_burst() {
        let mut log = SendLog::new(SeqNum(0));
        log.on_send(SeqNum(1000), 100, 1000);
        log.split();
        log.on_send(SeqNum(2000), 101, 1000);
        assert_eq!((log.earliest(SeqNum(1000)), log.earliest(SeqNum(2000))), (Some(100), Some(101)));
    }

    #[test]
    fn a_retransmission_that_is_answered_too_fast_says_nothing() {
        let mut rack = Rack::new(SeqNum(0));
        rack.on_rtt(80_000, 1_000_000);
        rack.on_delivered(920_000, false, 1_000_000);
        rack.on_delivered(990_000, true, 1_010_000);
        assert_eq!((rack.xmit_us, rack.rtt_us), (920_000, 80_000));
        rack.on_delivered(990_000, true, 1_075_000);
        assert_eq!((rack.xmit_us, rack.rtt_us), (990_000, 85_000));
        rack.on_delivered(950_000, false, 1_076_000);
        assert_eq!(rack.xmit_us, 990_000, "sent earlier");
    }

    #[test]
    fn the_minimum_forgets_after_two_windows() {
        let mut rack = Rack::new(SeqNum(0));
        rack.on_rtt(10, 0);
        rack.on_rtt(50, 1 << 24);
        assert_eq!(rack.min_rtt_us(), 10);
        rack.on_rtt(60, 2 << 24);
        assert_eq!(rack.min_rtt_us(), 50);
    }

    /// RFC 8985 6.2 step 4.
    #[test]
    fn the_reordering_window_follows_the_rules() {
        let mut rack = Rack::new(SeqNum(0));
        rack.on_rtt(40_000, 0);
        let quiet = ReoInput { srtt_us: 50_000, ..ReoInput::default() };
        assert_eq!(rack.reo_wnd_us(&quiet), 10_000);
        assert_eq!(rack.reo_wnd_us(&ReoInput { has_dup_thresh: true, ..quiet }), 0);
        let recovering = ReoInput { is_recovering: true, ..quiet };
        assert_eq!(rack.reo_wnd_us(&recovering), 0);
        rack.is_reordering_seen = true;
        assert_eq!(rack.reo_wnd_us(&recovering), 10_000);
        rack.on_dsack(SeqNum(0), SeqNum(100));
        rack.on_dsack(SeqNum(50), SeqNum(150));
        assert_eq!(rack.reo_wnd_us(&recovering), 20_000, "once a round");
        for round in 1..30 {
            rack.on_dsack(SeqNum(round * 100), SeqNum(round * 100 + 100));
        }
        assert_eq!(rack.reo_wnd_us(&recovering), 50_000, "at most the smoothed RTT");
        (0..15).for_each(|_| rack.on_recovered());
        assert_eq!(rack.reo_wnd_us(&recovering), 50_000);
        rack.on_recovered();
        assert_eq!(rack.reo_wnd_us(&recovering), 10_000);
    }

    #[test]
    fn right_after_a_hand_over_one_report_is_not_a_loss() {
        let rack = Rack::new(SeqNum(0));
        let input = ReoInput { srtt_us: 80_000, ..ReoInput::default() };
        assert_eq!(rack.reo_wnd_us(&input), 20_000);
        assert_eq!(rack.reo_wnd_us(&ReoInput::default()), 250_000);
    }

    #[test]
    fn something_sent_later_must_be_delivered_before_anything_is_lost() {
        let mut rack = Rack::new(SeqNum(0));
        assert_eq!(rack.judge(100, 0, 1000), Err(None));
        rack.on_delivered(500, false, 900);
        assert_eq!(rack.judge(500, 0, 1000), Err(None));
        assert_eq!(rack.judge(499, 0, 900), Ok(()));
        assert_eq!(rack.judge(400, 150, 900), Err(Some(50)));
        assert_eq!(rack.judge(400, 150, 950), Ok(()));
        assert_eq!(rack.judge(u32::MAX - 5, 0, 900), Ok(()), "over the wrap of the clock");
    }

    proptest! {
        #![proptest_config(crate::test_seed::config())]

        #[test]
        fn the_truth_lies_between_earliest_and_latest(
            base: u32, start: u32, sends in proptest::collection::vec((1u32..3000, 0u32..400), 1..40), spacing in 1u32..500,
        ) {
            let mut log = SendLog::new(SeqNum(base));
            let (mut end, mut now, mut truth) = (SeqNum(base), start, std::vec::Vec::new());
            for (len, pause) in sends {
                end += len;
                now = now.wrapping_add(pause);
                log.on_send(end, now, spacing);
                truth.push((end, now));
            }
            for (end, sent) in truth {
                if let Some(early) = log.earliest(end) {
                    prop_assert!(!is_later(early, sent), "{} {}", early, sent);
                }
                if let Some(late) = log.latest(end, spacing) {
                    prop_assert!(!is_later(sent, late), "{} {}", sent, late);
                }
            }
        }
    }
}
