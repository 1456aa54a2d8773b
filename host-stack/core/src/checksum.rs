//! The Internet checksum (RFC 1071), in pieces.
//!
//! Pieces may have any length, but only the last one an odd one.

/// A running ones-complement sum of 16-bit big-endian words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Checksum(u64);

impl Checksum {
    /// Adds bytes; an odd last byte counts as the high half of a word.
    pub fn add_bytes(&mut self, bytes: &[u8]) {
        // Four bytes at a time: 2^16 = 1 modulo 2^16 - 1, so wider words give the same sum.
        let (words, rest) = bytes.as_chunks::<4>();
        for word in words {
            self.0 += u64::from(u32::from_be_bytes(*word));
        }
        for pair in rest.chunks(2) {
            let low = pair.get(1).copied().unwrap_or(0);
            self.add_u16(u16::from_be_bytes([pair[0], low]));
        }
    }

    /// Adds one word.
    pub fn add_u16(&mut self, word: u16) {
        self.0 += u64::from(word);
    }

    /// Adds two words.
    pub fn add_u32(&mut self, words: u32) {
        self.0 += u64::from(words);
    }

    /// The folded sum, not complemented; 0xFFFF over data that includes a right checksum.
    #[must_use]
    pub fn folded(self) -> u16 {
        let mut sum = self.0;
        while sum > 0xFFFF {
            sum = (sum & 0xFFFF) + (sum >> 16);
        }
        // `as`: the loop leaves 16 bits.
        sum as u16
    }

    /// The value for a checksum field that was summed as zero.
    #[must_use]
    pub fn finish(self) -> u16 {
        !self.folded()
    }

    /// True if the data summed, checksum field included, is intact.
    #[must_use]
    pub fn is_valid(self) -> bool {
        self.folded() == 0xFFFF
    }
}

/// The sum over the IPv4 pseudo header (RFC 9293 3.1).
#[must_use]
pub fn pseudo_v4(src: [u8; 4], dst: [u8; 4], protocol: u8, len: u16) -> Checksum {
    let mut sum = Checksum::default();
    sum.add_bytes(&src);
    sum.add_bytes(&dst);
    sum.add_u16(u16::from(protocol));
    sum.add_u16(len);
    sum
}

/// The sum over the IPv6 pseudo header (RFC 8200 8.1).
#[must_use]
pub fn pseudo_v6(src: [u8; 16], dst: [u8; 16], next_header: u8, len: u32) -> Checksum {
    let mut sum = Checksum::default();
    sum.add_bytes(&src);
    sum.add_bytes(&dst);
    sum.add_u32(len);
    sum.add_u16(u16::from(next_header));
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    /// The definition, word by word.
    fn plain(bytes: &[u8]) -> u16 {
        let mut sum = 0u32;
        for pair in bytes.chunks(2) {
            sum += u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
            sum = (sum & 0xFFFF) + (sum >> 16);
        }
        !(sum as u16)
    }

    #[test]
    fn example_of_rfc_1071() {
        let mut sum = Checksum::default();
        sum.add_bytes(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
        assert_eq!(sum.folded(), 0xddf2);
    }

    proptest! {
        #![proptest_config(crate::test_seed::config())]

        #[test]
        fn pieces_give_the_same_sum(bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in 0usize..100) {
            let cut = (cut * 2).min(bytes.len() & !1);
            let mut sum = Checksum::default();
            sum.add_bytes(&bytes[..cut]);
            sum.add_bytes(&bytes[cut..]);
            prop_assert_eq!(sum.finish(), plain(&bytes));
            let mut whole: Vec<u8> = bytes.clone();
            if whole.len() % 2 == 1 {
                whole.push(0);
            }
            whole.extend(sum.finish().to_be_bytes());
            let mut check = Checksum::default();
            check.add_bytes(&whole);
            prop_assert!(check.is_valid());
        }
    }
}
