//! IPv4 identification of one path.

use chimney_abi::wire::ipv4::ID_HALF_LEN;

/// `(start + (counter mod 32K)) mod 64K`. The host's paths start at zero.
#[must_use]
pub fn ip_id(start: u16, counter: u32) -> u16 {
    // `as`: the remainder is below 2^15.
    start.wrapping_add((counter % ID_HALF_LEN) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chimney_abi::wire::ipv4::ID_TARGET_START;

    /// Verifies
    #[test]
    fn identifications_stay_in_their_half() {
        let table = [
            (ID_TARGET_START, 0, 0x8000),
            (ID_TARGET_START, 0x7FFF, 0xFFFF),
            (ID_TARGET_START, 0x8000, 0x8000),
            (0xFFF0, 16, 0x0000),
            (0, 0x7FFF, 0x7FFF),
            (0, 0x8000, 0),
            (0, u32::MAX, 0x7FFF),
        ];
        for (start, counter, want) in table {
            assert_eq!(ip_id(start, counter), want, "{start:#x} {counter:#x}");
        }
    }
}
