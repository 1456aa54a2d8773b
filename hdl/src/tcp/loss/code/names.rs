//! Names of registers, flags, and of the words that are registers at the same time.

use crate::micro::asm::{Flag, Loc};
use crate::tcp::loss::words as w;

/// Working flags.
pub const F1: Flag = Flag(1);
/// See [`F1`].
pub const F2: Flag = Flag(2);
/// See [`F1`].
pub const F3: Flag = Flag(3);
/// The acknowledgment moved SND.UNA.
pub const MOVED: Flag = Flag(4);
/// The job is an acknowledgment.
pub const ACK: Flag = Flag(5);
/// A hole was found lost.
pub const FOUND: Flag = Flag(6);
/// The first block reports a duplicate; after the times are known: a hole waits.
pub const DSACK: Flag = Flag(7);
/// See [`DSACK`].
pub const WAITS: Flag = Flag(7);

/// Where a range begins.
#[must_use]
pub const fn start(i: u8) -> Loc {
    Loc::Register(w::start(i))
}
/// Where it ends.
#[must_use]
pub const fn end(i: u8) -> Loc {
    Loc::Register(w::end(i))
}
/// How far the hole below was sent again.
#[must_use]
pub const fn resent(i: u8) -> Loc {
    Loc::Register(w::resent(i))
}
/// When, and whether it is lost.
#[must_use]
pub const fn resent_us(i: u8) -> Loc {
    Loc::Register(w::resent_us(i))
}
/// See [`w::TAIL_RESENT`].
pub const TAIL_RESENT: Loc = Loc::Register(w::TAIL_RESENT);
/// See [`w::TAIL_US`].
pub const TAIL_US: Loc = Loc::Register(w::TAIL_US);
/// See [`w::TAIL_LOST`].
pub const TAIL_LOST: Loc = Loc::Register(w::TAIL_LOST);

/// Time of [`w::XMIT`].
pub const XMIT: Loc = Loc::Register(19);
/// Time of [`w::RTT`].
pub const RTT: Loc = Loc::Register(20);
/// What lies above [`XMIT`].
pub const DUPS: Loc = Loc::Register(21);
/// What lies above [`RTT`].
pub const PERSIST: Loc = Loc::Register(22);
/// See [`w::MARKS`]; the ranges in use before the event.
pub const MARKS: Loc = Loc::Register(23);
/// Ranges in use, as in [`MARKS`].
pub const RANGES: Loc = Loc::Register(24);
/// SND.UNA.
pub const UNA: Loc = Loc::Register(25);
/// SND.MAX.
pub const MAX: Loc = Loc::Register(26);
/// Bytes between them.
pub const IN_FLIGHT: Loc = Loc::Register(27);
/// Clock.
pub const NOW: Loc = Loc::Register(28);
/// Bytes in all ranges before the event.
pub const BEFORE: Loc = Loc::Register(29);
/// Of these, what SND.UNA left.
pub const KEPT: Loc = Loc::Register(30);
/// Bytes in all ranges.
pub const SACKED: Loc = Loc::Register(31);
/// Highest byte reported or acknowledged.
pub const HIGHEST: Loc = Loc::Register(32);
/// Bytes in flight before the acknowledgment, or what counts as that.
pub const FLIGHT: Loc = Loc::Register(33);
/// Bytes delivered.
pub const NEW_BYTES: Loc = Loc::Register(34);
/// In recovery before the acknowledgment.
pub const WAS: Loc = Loc::Register(35);
/// See [`w::told`].
pub const TOLD: Loc = Loc::Register(36);
/// A block.
pub const BLOCK_START: Loc = Loc::Register(37);
/// See [`BLOCK_START`].
pub const BLOCK_END: Loc = Loc::Register(38);
/// Blocks that were taken.
pub const BLOCKS: Loc = Loc::Register(39);
/// The hole in hand begins here.
pub const HOLE: Loc = Loc::Register(40);
/// And ends here.
pub const HOLE_END: Loc = Loc::Register(41);
/// A point in it.
pub const AT: Loc = Loc::Register(42);
/// Bytes that may be in flight, when all is decided.
pub const LIMIT: Loc = AT;
/// When what was delivered of what was sent again was.
pub const NEWS_US: Loc = Loc::Register(43);
/// What is known of it: [`IS_RESENT`], [`IS_REORDERED`].
pub const NEWS: Loc = Loc::Register(44);
/// Of [`NEWS`].
pub const IS_RESENT: u32 = 1;
/// Of [`NEWS`].
pub const IS_REORDERED: u32 = 2;
/// Of [`NEWS`].
pub const IS_FIRST: u32 = 4;
/// Reordering window, microseconds.
pub const WINDOW_US: Loc = Loc::Register(45);
/// Round trip and reordering window.
pub const PATIENCE: Loc = Loc::Register(46);
/// Bytes in flight.
pub const PIPE: Loc = Loc::Register(47);
/// The first lost bytes that were not sent again.
pub const FIRST: Loc = Loc::Register(48);
/// Up to here.
pub const FIRST_END: Loc = Loc::Register(49);
/// The longest wait.
pub const WAIT: Loc = Loc::Register(50);
/// Bytes of the tail that are lost.
pub const TAIL: Loc = Loc::Register(51);
/// Longest burst of the log.
pub const SPACING: Loc = Loc::Register(52);
/// Smoothed round trip in 24 bits.
pub const SRTT: Loc = Loc::Register(53);
/// Smallest round trip; 0: none.
pub const MIN_RTT: Loc = Loc::Register(54);
/// Working registers.
pub const T0: Loc = Loc::Register(55);
/// See [`T0`].
pub const T1: Loc = Loc::Register(56);
/// See [`T0`].
pub const T2: Loc = Loc::Register(57);
/// See [`T0`].
pub const T3: Loc = Loc::Register(58);
/// See [`T0`].
pub const T4: Loc = Loc::Register(59);

/// One past the last byte of burst `i`.
#[must_use]
pub const fn burst_end(i: u8) -> Loc {
    Loc::Register(60 + i)
}
/// When its bytes were sent, at the latest.
#[must_use]
pub const fn burst_latest(i: u8) -> Loc {
    Loc::Register(64 + i)
}

/// A constant.
#[must_use]
pub const fn k(value: u32) -> Loc {
    Loc::Constant(value)
}
/// An input.
#[must_use]
pub const fn input(n: u8) -> Loc {
    Loc::Input(n)
}
/// A word of the record.
#[must_use]
pub const fn state(n: u8) -> Loc {
    Loc::State(n)
}
/// There is range `i`.
#[must_use]
pub const fn range(i: u8) -> Loc {
    k(1 << (w::RANGES_LOG2 + i as u32))
}
