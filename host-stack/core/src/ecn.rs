//! Classic ECN (RFC 3168): both halves of the conversation as bits.
//!
//! ```text
//!   router marks CE --> receiver echoes ECE on every ACK until it sees CWR
//!                       sender reduces once per window of data, says CWR with the next new text
//! ```
//! Width: 4. The recovery point of a mark is that of a loss ([`Recovery`]) to whoever keeps only one: while the phase is Open no loss needs
//! it, and a loss that begins one replaces it.

use crate::recovery::{Phase, Recovery};
use crate::segment::Flags;
use chimney_abi::state::{ECN_CWR, ECN_ECHO, ECN_REDUCED};
use chimney_abi::wire::ipv4;
use chimney_abi::SeqNum;

/// Field of the IP header: not ECN-capable.
pub const NOT_ECT: u8 = 0;
/// Field of the IP header: ECN-capable transport, the usual code point.
pub const ECT_0: u8 = 2;
/// Field of the IP header: congestion was met.
pub const CE: u8 = 3;

/// State of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Ecn {
    /// Negotiated in the SYNs.
    pub is_on: bool,
    /// Receiver: the last mark is not answered by CWR yet, so ECE is set on every acknowledgment.
    pub is_echoing: bool,
    /// Sender: the next segment with new text carries CWR.
    pub owes_cwr: bool,
    /// Sender: a reduction was made; `recover` counts.
    has_reduced: bool,
    /// Sender: no further reduction until SND.UNA is beyond.
    recover: SeqNum,
}

impl Ecn {
    /// RFC 3168 6.1.1: an ECN-setup SYN has ECE and CWR, an ECN-setup SYN-ACK has ECE alone.
    #[must_use]
    pub fn is_setup(flags: Flags) -> bool {
        let (ece, cwr) = (flags.has(Flags::ECE), flags.has(Flags::CWR));
        let is_answer = flags.has(Flags::ACK);
        flags.has(Flags::SYN) && ece && cwr != is_answer
    }

    /// A segment with text arrived (RFC 3168 6.1.3): `field` is its IP ECN field.
    pub fn on_text(&mut self, field: u8, flags: Flags) {
        if !self.is_on {
            return;
        }
        // First CWR, then CE: a segment with both begins a new echo.
        if flags.has(Flags::CWR) {
            self.is_echoing = false;
        }
        if field & ipv4::ECN_MASK == CE {
            self.is_echoing = true;
        }
    }

    /// An acknowledgment arrived in phase Open (RFC 3168 6.1.2; a recovery has reduced the window already). True if the window is to be reduced: once per window of data.
    pub fn on_ack(&mut self, flags: Flags, snd_una: SeqNum, snd_max: SeqNum) -> bool {
        let is_marked = self.is_on && flags.has(Flags::ECE) && !flags.has(Flags::SYN);
        // Not at `recover` itself: the segment that carries CWR begins there, so the receiver cannot have seen it yet.
        if !is_marked || (self.has_reduced && snd_una.at_or_before(self.recover)) {
            return false;
        }
        self.on_reduction(snd_max);
        true
    }

    /// The window was reduced, for a mark or a loss: one reduction per window covers both.
    pub fn on_reduction(&mut self, snd_max: SeqNum) {
        self.has_reduced = true;
        self.recover = snd_max;
        self.owes_cwr = self.is_on;
    }

    /// IP field and TCP flags of a segment to be sent. Retransmissions, bare acknowledgments and probes are not
    /// ECN-capable (RFC 3168 6.1.4 to 6.1.6), and CWR goes with new text only.
    #[must_use]
    pub fn on_send(&mut self, has_new_text: bool) -> (u8, Flags) {
        let echo = Flags::NONE.with_if(self.is_on && self.is_echoing, Flags::ECE);
        if !self.is_on || !has_new_text {
            return (NOT_ECT, echo);
        }
        let has_cwr = core::mem::take(&mut self.owes_cwr);
        (ECT_0, echo.with_if(has_cwr, Flags::CWR))
    }

    /// What an image says of it: `ECN_*`, and the recovery point. Of a recovery that is over that is `snd_una`.
    #[must_use]
    pub fn store(&self, recovery: &Recovery, snd_una: SeqNum) -> (u8, SeqNum) {
        let bit = |is_set: bool, bit: u8| if is_set && self.is_on { bit } else { 0 };
        let bits =
            bit(self.is_echoing, ECN_ECHO) | bit(self.owes_cwr, ECN_CWR) | bit(self.has_reduced, ECN_REDUCED);
        let is_of_mark = recovery.phase == Phase::Open && bits & ECN_REDUCED != 0;
        let is_over = recovery.phase == Phase::Open && recovery.recover.at_or_before(snd_una);
        let point = if is_over { snd_una } else { recovery.recover };
        (bits, if is_of_mark { self.recover } else { point })
    }

    /// What an image says, with the state of recovery that it says too; `snd_una`: of it. In phase Open that recovery is over, and keeps
    /// none from beginning: its point may be a mark's, or where the connection began.
    #[must_use]
    pub fn load(is_on: bool, bits: u8, snd_una: SeqNum, recovery: &mut Recovery) -> Ecn {
        let bits = if is_on { bits } else { 0 };
        let ecn = Ecn {
            is_on,
            is_echoing: bits & ECN_ECHO != 0,
            owes_cwr: bits & ECN_CWR != 0,
            has_reduced: bits & ECN_REDUCED != 0,
            recover: recovery.recover,
        };
        if recovery.phase == Phase::Open {
            recovery.recover = snd_una - 1;
        }
        ecn
    }

    /// SND.UNA moved: the old mark must not come back after half of the sequence space.
    pub fn advance(&mut self, snd_una: SeqNum) {
        self.has_reduced &= snd_una.at_or_before(self.recover);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ECE: Flags = Flags::ECE;
    const CWR: Flags = Flags::CWR;

    /// RFC 3168 6.1.1.
    #[test]
    fn set_up_needs_exactly_the_flags_of_its_direction() {
        let table = [
            ("SYN", Flags::SYN.with(ECE).with(CWR), true),
            ("SYN without CWR", Flags::SYN.with(ECE), false),
            ("plain SYN", Flags::SYN, false),
            ("SYN-ACK", Flags::SYN.with(Flags::ACK).with(ECE), true),
            ("SYN-ACK that reflects everything", Flags::SYN.with(Flags::ACK).with(ECE).with(CWR), false),
            ("no SYN", ECE.with(CWR), false),
        ];
        for (name, flags, want) in table {
            assert_eq!(Ecn::is_setup(flags), want, "{name}");
        }
    }

    #[test]
    fn a_mark_is_echoed_until_cwr_and_a_mark_with_cwr_begins_a_new_echo() {
        let mut ecn = Ecn { is_on: true, ..Ecn::default() };
        ecn.on_text(ECT_0, Flags::ACK);
        assert_eq!(ecn.on_send(false), (NOT_ECT, Flags::NONE));
        ecn.on_text(CE, Flags::ACK);
        assert_eq!((ecn.on_send(false), ecn.on_send(true)), ((NOT_ECT, ECE), (ECT_0, ECE)));
        ecn.on_text(CE, Flags::ACK.with(CWR));
        assert!(ecn.is_echoing);
        ecn.on_text(ECT_0, Flags::ACK.with(CWR));
        assert_eq!(ecn.on_send(true), (ECT_0, Flags::NONE));
    }

    #[test]
    fn the_window_is_reduced_once_per_round_and_cwr_goes_with_new_text() {
        let mut ecn = Ecn { is_on: true, ..Ecn::default() };
        let echo = Flags::ACK.with(ECE);
        assert!(ecn.on_ack(echo, SeqNum(100), SeqNum(1000)));
        assert!(!ecn.on_ack(echo, SeqNum(999), SeqNum(2000)));
        assert_eq!(ecn.on_send(false), (NOT_ECT, Flags::NONE), "a retransmission");
        assert_eq!((ecn.on_send(true), ecn.on_send(true)), ((ECT_0, CWR), (ECT_0, Flags::NONE)));
        assert!(!ecn.on_ack(echo, SeqNum(1000), SeqNum(2000)), "CWR cannot have arrived");
        assert!(ecn.on_ack(echo, SeqNum(1001), SeqNum(2000)));
        ecn.on_reduction(SeqNum(3000));
        assert!(!ecn.on_ack(echo, SeqNum(2500), SeqNum(4000)), "a loss in the same window");
        ecn.advance(SeqNum(3001));
        assert!(ecn.on_ack(echo, SeqNum(3000 + (1 << 31)), SeqNum(9)));
    }

    /// Whoever takes a connection over counts on with one recovery point.
    #[test]
    fn an_image_carries_what_is_echoed_owed_and_reduced() {
        let snd_una = SeqNum(100);
        for phase in [Phase::Open, Phase::FastRecovery] {
            let mut recovery = Recovery { phase, ..Recovery::new(SeqNum(50)) };
            let mut ecn = Ecn { is_on: true, is_echoing: true, ..Ecn::default() };
            let point = if phase == Phase::Open { snd_una } else { SeqNum(50) };
            assert_eq!(ecn.store(&recovery, snd_una), (ECN_ECHO, point));
            ecn.on_reduction(SeqNum(1000));
            if phase == Phase::FastRecovery {
                recovery.recover = SeqNum(1000); // the loss did it
            }
            let (bits, recover) = ecn.store(&recovery, snd_una);
            assert_eq!((bits, recover), (ECN_ECHO | ECN_CWR | ECN_REDUCED, SeqNum(1000)));
            let mut there = Recovery { recover, ..recovery };
            assert_eq!(Ecn::load(true, bits, snd_una, &mut there), ecn);
            let kept = if phase == Phase::Open { snd_una - 1 } else { SeqNum(1000) };
            assert_eq!(there, Recovery { recover: kept, ..recovery }, "a loss may begin recovery");
            assert_eq!(Ecn::load(false, bits, snd_una, &mut there), Ecn { recover: kept, ..Ecn::default() });
            assert_eq!(there, Recovery { recover: kept, ..recovery });
        }
    }

    #[test]
    fn without_negotiation_nothing_happens() {
        let mut ecn = Ecn::default();
        ecn.on_text(CE, CWR);
        assert!(!ecn.on_ack(ECE, SeqNum(5), SeqNum(9)));
        assert_eq!(ecn.on_send(true), (NOT_ECT, Flags::NONE));
    }
}
