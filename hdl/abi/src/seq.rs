//! TCP sequence numbers: 32 bits, modulo 2^32 (RFC 9293 3.4).
//!
//! There is no `Ord`: "less" is not transitive on a circle. Ask [`SeqNum::before`] or
//! [`SeqNum::in_window`]; both compare the signed distance, which is right as long as the two
//! numbers are less than 2^31 apart.
//!
//! ```text
//!   a.before(b)  <=>  0 < (b - a) mod 2^32 < 2^31
//! ```

use core::fmt;
use core::ops::{Add, AddAssign, Sub};

/// A position in a TCP sequence space.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SeqNum(pub u32);

impl SeqNum {
    /// The number as it stands on the wire.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// Signed distance from `base` to `self`, modulo 2^32.
    #[must_use]
    pub const fn distance_from(self, base: SeqNum) -> i32 {
        // `as` reinterprets the bits: this is the definition of the signed distance.
        self.0.wrapping_sub(base.0) as i32
    }

    /// True if `self` lies strictly before `other`.
    #[must_use]
    pub const fn before(self, other: SeqNum) -> bool {
        self.distance_from(other) < 0
    }

    /// True if `self` lies strictly after `other`.
    #[must_use]
    pub const fn after(self, other: SeqNum) -> bool {
        other.before(self)
    }

    /// True if `self` is `other` or lies before it.
    #[must_use]
    pub const fn at_or_before(self, other: SeqNum) -> bool {
        !other.before(self)
    }

    /// True if `self` is `other` or lies after it.
    #[must_use]
    pub const fn at_or_after(self, other: SeqNum) -> bool {
        !self.before(other)
    }

    /// True if `self` lies in `[start, start + len)`; an empty window holds nothing.
    #[must_use]
    pub const fn in_window(self, start: SeqNum, len: u32) -> bool {
        self.0.wrapping_sub(start.0) < len
    }

    /// The later of two numbers that are less than 2^31 apart.
    #[must_use]
    pub const fn later(self, other: SeqNum) -> SeqNum {
        if self.before(other) {
            other
        } else {
            self
        }
    }

    /// The earlier of two numbers that are less than 2^31 apart.
    #[must_use]
    pub const fn earlier(self, other: SeqNum) -> SeqNum {
        if self.before(other) {
            self
        } else {
            other
        }
    }
}

impl Add<u32> for SeqNum {
    type Output = SeqNum;

    fn add(self, len: u32) -> SeqNum {
        SeqNum(self.0.wrapping_add(len))
    }
}

impl AddAssign<u32> for SeqNum {
    fn add_assign(&mut self, len: u32) {
        *self = *self + len;
    }
}

impl Sub<u32> for SeqNum {
    type Output = SeqNum;

    fn sub(self, len: u32) -> SeqNum {
        SeqNum(self.0.wrapping_sub(len))
    }
}

/// Bytes from `rhs` up to `self`, modulo 2^32; meaningful when `rhs` is not after `self`.
impl Sub for SeqNum {
    type Output = u32;

    fn sub(self, rhs: SeqNum) -> u32 {
        self.0.wrapping_sub(rhs.0)
    }
}

impl fmt::Debug for SeqNum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for SeqNum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl From<u32> for SeqNum {
    fn from(raw: u32) -> SeqNum {
        SeqNum(raw)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Start points around every place where 32-bit arithmetic wraps.
    const CORNERS: [u32; 6] = [0, 1, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFE, 0xFFFF_FFFF];

    #[test]
    fn order_survives_the_wrap() {
        for base in CORNERS.map(SeqNum) {
            for len in [1, 2, 1460, 0x7FFF_FFFE, 0x7FFF_FFFF] {
                let later = base + len;
                assert!(base.before(later) && later.after(base), "{base} {len}");
                assert!(!later.before(base) && !base.after(later), "{base} {len}");
                assert!(base.at_or_before(later) && later.at_or_after(base));
                assert_eq!(later - base, len);
                assert_eq!(later - len, base);
                assert_eq!(base.later(later), later);
                assert_eq!(later.earlier(base), base);
            }
            assert!(!base.before(base) && base.at_or_before(base) && base.at_or_after(base));
        }
    }

    #[test]
    fn window_holds_its_first_byte_and_not_its_end() {
        for base in CORNERS.map(SeqNum) {
            assert!(base.in_window(base, 1));
            assert!(!base.in_window(base, 0));
            assert!((base + 9).in_window(base, 10));
            assert!(!(base + 10).in_window(base, 10));
            assert!(!(base - 1).in_window(base, 10));
        }
    }

    #[test]
    fn distance_has_a_sign() {
        assert_eq!(SeqNum(2).distance_from(SeqNum(0xFFFF_FFFE)), 4);
        assert_eq!(SeqNum(0xFFFF_FFFE).distance_from(SeqNum(2)), -4);
    }
}
