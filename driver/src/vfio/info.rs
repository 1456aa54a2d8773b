//! What the kernel says about an IOMMU: page sizes and usable addresses (`linux/vfio.h`, `VFIO_IOMMU_GET_INFO`).
//!
//! ```text
//!   words   0 argsz   1 flags   2,3 page sizes   4 offset of the first capability   5 -
//!   capability: id 16 | version 16, offset of the next
//!     id 1: number of ranges, -, then for each range: first address, last address (64 bits each)
//! ```

use std::ops::Range;

use vfio_bindings::bindings::vfio::{
    VFIO_IOMMU_INFO_CAPS, VFIO_IOMMU_INFO_PGSIZES, VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE,
};

/// Address width assumed of an IOMMU that says nothing: the narrowest of the known ones (Intel VT-d with three levels), bits.
const SILENT_BITS: u32 = 39;
/// Most capabilities that are looked at: a chain that is longer goes in circles.
const MAX_CAPABILITIES: usize = 32;

/// An IOMMU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IommuInfo {
    /// Bit n: maps may be as fine as 2^n bytes. 0: not said.
    pub page_sizes: u64,
    /// Addresses that devices may be given.
    pub ranges: Vec<Range<u64>>,
}

impl IommuInfo {
    /// Reads the kernel's answer.
    pub fn parse(words: &[u32]) -> Self {
        let word = |at: usize| words.get(at).copied().unwrap_or(0);
        let pair = |at: usize| u64::from(word(at)) | u64::from(word(at + 1)) << 32;
        let flags = word(1);
        let page_sizes = if flags & VFIO_IOMMU_INFO_PGSIZES != 0 { pair(2) } else { 0 };
        let mut at = if flags & VFIO_IOMMU_INFO_CAPS != 0 { word(4) as usize / 4 } else { 0 };
        let mut ranges = Vec::new();
        for _ in 0..MAX_CAPABILITIES {
            if at == 0 || at + 2 > words.len() {
                break;
            }
            if word(at) & 0xffff == VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE {
                let first = at + 4;
                let count = (word(at + 2) as usize).min(words.len().saturating_sub(first) / 4);
                let range = |i| pair(first + 4 * i)..pair(first + 4 * i + 2).saturating_add(1);
                ranges.extend((0..count).map(range).filter(|range| range.start < range.end));
            }
            at = word(at + 1) as usize / 4;
        }
        if ranges.is_empty() {
            ranges.push(0..1 << SILENT_BITS);
        }
        Self { page_sizes, ranges }
    }

    /// The ranges in the order in which they are to be used: above 4 GiB first, so that who cuts an address to 32 bits is found
    /// out.
    pub fn preferred(&self) -> Vec<Range<u64>> {
        let limit = 1 << 32;
        let high = self.ranges.iter().map(|range| range.start.max(limit)..range.end);
        let low = self.ranges.iter().map(|range| range.start..range.end.min(limit));
        high.chain(low).filter(|range| range.start < range.end).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::iova::Iova;

    /// What Linux 6.12 says of an Intel IOMMU with 39 bits: a hole for interrupts, and one for reserved memory.
    fn intel() -> Vec<u32> {
        let mut words = vec![0x60, 3, 0x4020_1000, 0, 24, 0];
        words.extend([3 | 1 << 16, 40, 0xffff, 0]); // DMA entries available
        words.extend([1 | 1 << 16, 0, 2, 0]);
        words.extend([0, 0, 0xfedf_ffff, 0]);
        words.extend([0xfef0_0000, 0, 0xffff_ffff, 0x7f]);
        words
    }

    #[test]
    fn ranges_and_page_sizes_are_found_behind_other_capabilities() {
        let info = IommuInfo::parse(&intel());
        assert_eq!(info.page_sizes, 0x4020_1000);
        assert_eq!(info.ranges, [0..0xfee0_0000, 0xfef0_0000..1 << 39]);
        assert_eq!(info.preferred(), [1 << 32..1 << 39, 0..0xfee0_0000, 0xfef0_0000..1 << 32]);
    }

    #[test]
    fn addresses_are_taken_from_the_ranges_and_nowhere_else() {
        let mut iova = Iova::new(&IommuInfo::parse(&intel()).preferred());
        let at = iova.take(2 << 20, 2 << 20).unwrap();
        assert_eq!(at, 1 << 32);
        assert_eq!(iova.take(1 << 39, 4096), None, "more than there is");
        let narrow = vec![0x50, 2, 0, 0, 24, 0, 1, 0, 1, 0, 0x10_0000, 0, 0x10_2fff, 0];
        let mut iova = Iova::new(&IommuInfo::parse(&narrow).preferred());
        assert_eq!(iova.take(4096, 4096), Some(0x10_0000));
        assert_eq!(iova.take(8192, 4096), None, "the guard does not fit");
        assert_eq!(iova.take(4096, 4096), Some(0x10_2000));
    }

    /// One range, from 0.
    fn up_to(end: u64) -> Vec<Range<u64>> {
        vec![Range { start: 0, end }]
    }

    #[test]
    fn an_answer_that_cannot_be_true_ends() {
        assert_eq!(IommuInfo::parse(&[]).ranges, up_to(1 << SILENT_BITS));
        // A capability that is its own successor, and one that is longer than the answer.
        let circle = [32, 2, 0, 0, 24, 0, 1, 24, u32::MAX, 0];
        assert_eq!(IommuInfo::parse(&circle).ranges, up_to(1 << SILENT_BITS));
        let whole = [56, 2, 0, 0, 24, 0, 1, 0, 1, 0, 0, 0, u32::MAX, u32::MAX];
        assert_eq!(IommuInfo::parse(&whole).ranges, up_to(u64::MAX));
        let past = [24, 2, 0, 0, 4096, 0];
        assert_eq!(IommuInfo::parse(&past).ranges, up_to(1 << SILENT_BITS));
    }
}
