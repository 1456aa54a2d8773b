//! Timestamps (RFC 7323): PAWS, which value to echo, and the clock of a connection.

use chimney_abi::wire::tcp::MAX_TS_RECENT_AGE_MS;
use chimney_abi::SeqNum;

/// Microseconds per tick of TSval (R-266: 1000 ticks per second).
pub const TICK_US: u64 = 1000;
/// RFC 7323 5.5: a TS.Recent older than 24 days cannot be compared any more.
pub const MAX_AGE_US: u64 = MAX_TS_RECENT_AGE_MS as u64 * 1000;

/// TSval and TSecr of one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Timestamps {
    /// The sender's clock.
    pub val: u32,
    /// The clock value echoed; meaningful with ACK.
    pub ecr: u32,
}

/// TS.Recent and when it was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct TsRecent {
    /// The value to echo.
    pub val: u32,
    /// When it was received.
    pub taken_us: u64,
}

/// R-247, RFC 7323 5.3 R1: true if the segment is an old duplicate. Never ask for an RST.
#[must_use]
pub fn paws_rejects(recent: &TsRecent, val: u32, now_us: u64) -> bool {
    let is_older = SeqNum(val).before(SeqNum(recent.val));
    is_older && now_us.saturating_sub(recent.taken_us) <= MAX_AGE_US
}

/// RFC 7323 4.3 (2): take the value of a segment that begins at or before the last ACK we sent.
pub fn update_recent(recent: &mut TsRecent, val: u32, seg_seq: SeqNum, last_ack_sent: SeqNum, now_us: u64) {
    let is_newer =
        SeqNum(val).at_or_after(SeqNum(recent.val)) || now_us.saturating_sub(recent.taken_us) > MAX_AGE_US;
    if is_newer && seg_seq.at_or_before(last_ack_sent) {
        *recent = TsRecent { val, taken_us: now_us };
    }
}

/// The connection's timestamp clock: the owner's time plus the connection's delta.
#[must_use]
pub fn clock(now_us: u64, delta: u32) -> u32 {
    // `as`: the clock is 32 bits and wraps.
    ((now_us / TICK_US) as u32).wrapping_add(delta)
}

/// Milliseconds since a segment of the connection was sent whose TSval is echoed now; a TSecr ahead of the clock was never sent.
#[must_use]
pub fn echo_ms(now_us: u64, delta: u32, ecr: u32) -> u32 {
    clock(now_us, delta).wrapping_sub(ecr)
}

/// The delta that continues a clock which showed `ts_time` at this moment.
#[must_use]
pub fn delta_for(now_us: u64, ts_time: u32) -> u32 {
    ts_time.wrapping_sub(clock(now_us, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1000;

    /// Verifies
    #[test]
    fn clock_continues_across_hand_overs() {
        // The worked example of the contract: stack 100, NIC 200.
        let nic = delta_for(200 * MS, clock(100 * MS, 0));
        assert_eq!(nic, 0u32.wrapping_sub(100));
        assert_eq!(clock(210 * MS, nic), 110);
        let ts_time = clock(250 * MS, nic);
        assert_eq!(ts_time, 150);
        assert_eq!(delta_for(150 * MS, ts_time), 0);
        let stack = delta_for(200 * MS, ts_time);
        assert_eq!(stack, 0u32.wrapping_sub(50));
        assert_eq!(clock(250 * MS, stack), 200);
        assert_eq!(clock(400 * MS, stack), 350);
        assert_eq!(delta_for(320 * MS, 350), 30);
    }

    #[test]
    fn paws_compares_on_the_circle_and_forgets_after_24_days() {
        let recent = TsRecent { val: 5, taken_us: 1000 };
        assert!(!paws_rejects(&recent, 5, 2000));
        assert!(!paws_rejects(&recent, 6, 2000));
        assert!(paws_rejects(&recent, 4, 2000));
        assert!(paws_rejects(&recent, 0xFFFF_FFFF, 2000));
        assert!(!paws_rejects(&recent, 4, 1001 + MAX_AGE_US));
    }

    #[test]
    fn echoes_the_first_segment_that_is_not_acknowledged_yet() {
        let mut recent = TsRecent { val: 5, taken_us: 0 };
        update_recent(&mut recent, 9, SeqNum(101), SeqNum(100), 50);
        assert_eq!(recent.val, 5, "a later segment of a delayed-ACK pair does not count");
        update_recent(&mut recent, 8, SeqNum(100), SeqNum(100), 60);
        assert_eq!(recent, TsRecent { val: 8, taken_us: 60 });
        update_recent(&mut recent, 7, SeqNum(100), SeqNum(100), 70);
        assert_eq!(recent.val, 8, "never older");
    }
}
