//! The eight-byte counters of a connection, from the four-byte ones that the device keeps (design: at most eight of them on chip).
//!
//! The device counts from the offload on, modulo 2^32, and says so in every image. Each image adds what came to it since the one
//! before: nothing is lost as long as a query comes at least every 2^32 segments (five minutes of smallest frames at 10 Gbit/s).

use chimney_abi::offload::TcpCounts;
use chimney_abi::state::TcpRecord;

/// Number of counters in a record.
const COUNT: usize = 6;

/// The sums so far, and the device's numbers when they were made.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    seen: [u32; COUNT],
    sums: [u64; COUNT],
}

impl Tally {
    /// An image of the device has these numbers.
    pub fn add(&mut self, r: &TcpRecord) {
        let now = [r.cnt_segs_in, r.cnt_segs_out, r.cnt_retransmits, r.cnt_ooo, r.cnt_dup, r.cnt_drops];
        for ((sum, seen), now) in self.sums.iter_mut().zip(self.seen).zip(now) {
            // Whatever the device says, a sum only grows.
            *sum += u64::from(now.wrapping_sub(seen));
        }
        self.seen = now;
    }

    /// The sums.
    pub fn counts(&self) -> TcpCounts {
        let [segs_in, segs_out, retransmits, out_of_order, duplicates, drops] = self.sums;
        TcpCounts { segs_in, segs_out, retransmits, out_of_order, duplicates, drops }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_go_on_where_the_device_wraps() {
        let mut tally = Tally::default();
        let record = |n: u32| TcpRecord { cnt_segs_in: n, cnt_drops: n / 2, ..TcpRecord::default() };
        for n in [5, 5, u32::MAX - 1, 3] {
            tally.add(&record(n));
        }
        let counts = tally.counts();
        assert_eq!(counts.segs_in, (1 << 32) + 3);
        assert_eq!((counts.drops, counts.segs_out), ((1 << 32) + 1, 0));
    }
}
