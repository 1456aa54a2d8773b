//! Addresses as the device sees them: who decides which memory lies where.
//!
//! ```text
//!   first    +--- taken ---+  guard  +--- taken ---+  guard          last
//!     |------|=============|.........|=============|.................|
//! ```
//! At least one page before and after each piece is never mapped, so a device that runs past an end meets a fault and not
//! the neighbour. The window of message-signalled interrupts on x86 is left out: an IOMMU does not translate it.

use std::collections::BTreeMap;
use std::ops::Range;

/// Pieces begin and end at such boundaries.
pub const PAGE_BYTES: u64 = 4096;
/// Unmapped room between two pieces, bytes.
const GUARD_BYTES: u64 = PAGE_BYTES;
/// Writes to these addresses are interrupts on x86 (Intel SDM volume 3, 11.11).
const MSI_WINDOW: Range<u64> = 0xfee0_0000..0xfef0_0000;
/// The first page is left out: address 0 is what a forgotten register says.
const FIRST: u64 = 0x1_0000;

/// An allocator of I/O virtual addresses.
#[derive(Clone, Debug)]
pub struct Iova {
    ranges: Vec<Range<u64>>,
    /// First address to length of what is taken.
    taken: BTreeMap<u64, u64>,
}

impl Iova {
    /// Addresses out of `ranges`, in this order.
    pub fn new(ranges: &[Range<u64>]) -> Self {
        let usable = ranges.iter().flat_map(|range| {
            let below = range.start.max(FIRST)..range.end.min(MSI_WINDOW.start);
            let above = range.start.max(MSI_WINDOW.end)..range.end;
            [below, above]
        });
        Self { ranges: usable.filter(|range| range.start < range.end).collect(), taken: BTreeMap::new() }
    }

    /// Addresses above 4 GiB in an address space of so many bits, then those below: who cuts an address to 32 bits is found out.
    pub fn of_width(bits: u32) -> Self {
        let end = 1u64.checked_shl(bits).unwrap_or(u64::MAX);
        Self::new(&[1 << 32..end, 0..end.min(1 << 32)])
    }

    /// A free piece, its first address a multiple of `align` (a power of two, at least a page); `None` if there is none.
    pub fn take(&mut self, len_bytes: u64, align: u64) -> Option<u64> {
        let len = len_bytes.max(1).checked_next_multiple_of(PAGE_BYTES)?;
        let at = self.ranges.iter().find_map(|range| self.fit(range, len, align.max(PAGE_BYTES)))?;
        self.taken.insert(at, len);
        Some(at)
    }

    /// Gives a piece back.
    pub fn give(&mut self, iova: u64) {
        let was_taken = self.taken.remove(&iova);
        debug_assert!(was_taken.is_some(), "{iova:#x} was taken");
    }

    fn fit(&self, range: &Range<u64>, len: u64, align: u64) -> Option<u64> {
        let mut at = range.start.checked_next_multiple_of(align)?;
        for (taken, taken_len) in self.taken.range(range.clone()) {
            if at.checked_add(len)?.checked_add(GUARD_BYTES)? <= *taken {
                break;
            }
            at = (taken + taken_len + GUARD_BYTES).checked_next_multiple_of(align)?;
        }
        (at.checked_add(len)? <= range.end).then_some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_keep_their_distance_and_come_back() {
        let mut iova = Iova::of_width(48);
        let a = iova.take(1, 1).unwrap();
        let b = iova.take(2 * PAGE_BYTES, 1).unwrap();
        let c = iova.take(PAGE_BYTES, 1).unwrap();
        assert_eq!(a, 1 << 32);
        assert_eq!((b, c), (a + 2 * PAGE_BYTES, a + 5 * PAGE_BYTES));
        iova.give(b);
        assert_eq!(
            iova.take(3 * PAGE_BYTES, 1),
            Some(c + 2 * PAGE_BYTES),
            "the gap is too small with its guards"
        );
        assert_eq!(iova.take(2 * PAGE_BYTES, 1), Some(b));
        assert_eq!(iova.take(1, 2 << 20).unwrap() % (2 << 20), 0);
    }

    #[test]
    fn low_addresses_leave_out_the_first_pages_and_the_interrupts() {
        let mut iova = Iova::of_width(32);
        assert_eq!(iova.take(1, 1), Some(FIRST));
        let len = 0xfe00_0000;
        let at = iova.take(len, 1).unwrap();
        assert!(at + len <= MSI_WINDOW.start);
        let next = iova.take(0x100_0000, 1).unwrap();
        assert!(next >= MSI_WINDOW.end, "{next:#x}");
        assert_eq!(iova.take(0x100_0000, 1), None);
    }

    #[test]
    fn what_is_too_long_is_none() {
        let mut iova = Iova::of_width(39);
        assert_eq!(iova.take(u64::MAX, 1), None);
        assert_eq!(iova.take(1 << 39, 1), None);
        assert!(iova.take(1 << 38, 1).is_some());
        assert_eq!(Iova::of_width(64).take(1, 1 << 63), Some(1 << 63));
    }
}
