//! The global counters: 64 bits each, in a memory, readable while they count.
//!
//! ```text
//!   amount[i] --> waiting[i] --at--> chosen --+
//!                   memory --at--> word ------+--> sum --> memory, `data`
//! ```
//! Each counter collects what comes in a few bits of its own; one after the other is visited, one per clock, and what
//! waits there goes into the memory, with one adder for all. What waits is wide enough for two rounds, so nothing is ever
//! lost: in the first round after a reset the memory is cleared instead.
//!
//! Which counter is which: the `CNT_*` registers of `chimney_abi::regs`, in table order.
//! Latency: an increment shows after one round and 3 clocks at most, two rounds after a reset; `found` comes within the
//! same time. Throughput: every counter in every clock. Back-pressure: none. Reset: zero.
use crate::mem::SdpRam;
use crate::prelude::*;
use crate::types::EngineCounts;
use chimney_abi::layout::Reg;
use chimney_abi::regs;

/// Number of a counter.
pub const fn counter(reg: &Reg) -> usize {
    ((reg.offset - regs::CNT_RX_FRAMES.offset) / 8) as usize
}

/// Whose the last bits of [`EngineCounts`] are, in the order of its fields.
pub const ENGINE: [usize; 21] = [
    counter(&regs::CNT_RTO),
    counter(&regs::CNT_FAST_RETRANSMITS),
    counter(&regs::CNT_DROP_NO_PAGE),
    counter(&regs::CNT_DROP_NO_RANGE),
    counter(&regs::CNT_UNACCEPTABLE),
    counter(&regs::CNT_CHALLENGE_ACKS),
    counter(&regs::CNT_HANDED_UP),
    counter(&regs::CNT_CE_MARKS_IN),
    counter(&regs::CNT_ECE_REDUCTIONS),
    counter(&regs::CNT_UPLOAD_URGENT),
    counter(&regs::CNT_UPLOAD_TIMEOUT),
    counter(&regs::CNT_UPLOAD_INVALID_STATE),
    counter(&regs::CNT_UPLOAD_REQUESTED),
    counter(&regs::CNT_UPLOAD_HARDWARE),
    counter(&regs::CNT_UPLOAD_LOW_ACTIVITY),
    counter(&regs::CNT_UPLOAD_DROP_RATE),
    counter(&regs::CNT_UPLOAD_SMALL_IO),
    counter(&regs::CNT_UPLOAD_NO_PREPOSTING),
    counter(&regs::CNT_UPLOAD_FRAGMENTATION),
    counter(&regs::CNT_UPLOAD_OUT_OF_ORDER),
    counter(&regs::CNT_ACKS_UNHEARD),
];

/// Bits of [`EngineCounts`].
pub const ENGINE_BITS: usize = <EngineCounts as Synth>::BITS;
/// Where those bits begin.
pub const ENGINE_ONES: usize = ENGINE_BITS - ENGINE.len();

/// log2 of the words of the memory.
const AT: usize = 6;
/// Number of the last counter.
const LAST: u64 = regs::COUNTERS as u64 - 1;
/// Bits of what waits in a counter, by what it is told in a clock: bytes, a few, or one.
const OF_BYTES: usize = 23;
/// See [`OF_BYTES`].
const OF_FEW: usize = 8;
/// See [`OF_BYTES`].
const OF_ONE: usize = 7;

/// The counters of bytes.
const BYTES: [bool; regs::COUNTERS] = these(&[
    &regs::CNT_RX_BYTES,
    &regs::CNT_TX_BYTES,
    &regs::CNT_RX_OFFLOADED_BYTES,
    &regs::CNT_TX_OFFLOADED_BYTES,
]);
/// Those that several blocks add to, 3 in a clock at most.
const FEW: [bool; regs::COUNTERS] = these(&[&regs::CNT_STALE, &regs::CNT_BAD_REQUEST]);

const fn these(all: &[&Reg]) -> [bool; regs::COUNTERS] {
    let mut these = [false; regs::COUNTERS];
    let mut i = 0;
    while i < all.len() {
        these[counter(all[i])] = true;
        i += 1;
    }
    these
}

// A counter is visited in every second round at the latest.
const _: () = assert!(2 * regs::COUNTERS < 1 << OF_ONE && regs::COUNTERS <= 1 << AT);
const _: () = assert!(2 * regs::COUNTERS * 3 < 1 << OF_FEW);
const _: () = assert!(2 * regs::COUNTERS * 0xFFFF < 1 << OF_BYTES);

/// The counters. See the module page.
#[derive(LogicBlock)]
pub struct Counters {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Synchronous, active high.
    pub reset: Signal<In, Bit>,
    /// Amount to add to each counter this clock: any number of bytes, else 1; 3 for `CNT_STALE` and `CNT_BAD_REQUEST`.
    pub amount: [Signal<In, Bits<16>>; regs::COUNTERS],
    /// Which counter is wanted; stays until `found`.
    pub index: Signal<In, Bits<8>>,
    /// Its value is at `data` in this clock.
    pub found: Signal<Out, Bit>,
    /// With `found`: the value.
    pub data: Signal<Out, Bits<64>>,
    words: SdpRam<Bits<64>, AT>,
    waiting: [Dff<Bits<OF_BYTES>>; regs::COUNTERS],
    at: Dff<Bits<AT>>,
    /// The first round is over.
    cleared: Dff<Bit>,
    chosen: Dff<Bits<OF_BYTES>>,
    chosen_at: Dff<Bits<AT>>,
    chosen_live: Dff<Bit>,
    sum: Dff<Bits<64>>,
    sum_at: Dff<Bits<AT>>,
    sum_live: Dff<Bit>,
}

// Not derived: the standard library has `Default` for arrays of 32 at most.
impl Default for Counters {
    fn default() -> Self {
        Self {
            clock: Signal::default(),
            reset: Signal::default(),
            amount: std::array::from_fn(|_| Signal::default()),
            index: Signal::default(),
            found: Signal::default(),
            data: Signal::default(),
            words: SdpRam::default(),
            waiting: std::array::from_fn(|_| Dff::default()),
            at: Dff::default(),
            cleared: Dff::default(),
            chosen: Dff::default(),
            chosen_at: Dff::default(),
            chosen_live: Dff::default(),
            sum: Dff::default(),
            sum_at: Dff::default(),
            sum_live: Dff::default(),
        }
    }
}

/// What waits when a number of bytes came in.
#[kernel]
fn more_bytes(waiting: Bits<OF_BYTES>, amount: Bits<16>) -> Bits<OF_BYTES> {
    waiting + bit_cast::<OF_BYTES, 16>(amount)
}

/// What waits when a few came in.
#[kernel]
fn a_few_more(waiting: Bits<OF_BYTES>, amount: Bits<16>) -> Bits<OF_BYTES> {
    let few = bit_cast::<OF_FEW, 2>(amount.get_bits::<2>(0));
    bit_cast::<OF_BYTES, OF_FEW>(waiting.get_bits::<OF_FEW>(0) + few)
}

/// What waits when one came in, or none.
#[kernel]
fn one_more(waiting: Bits<OF_BYTES>, amount: Bits<16>) -> Bits<OF_BYTES> {
    let one = bit_cast::<OF_ONE, 1>(amount.get_bits::<1>(0));
    bit_cast::<OF_BYTES, OF_ONE>(waiting.get_bits::<OF_ONE>(0) + one)
}

#[kernel]
impl Logic for Counters {
    fn update(&mut self) {
        dff_setup!(self, clock, waiting, at, cleared, chosen, chosen_at, chosen_live, sum, sum_at, sum_live);
        clock!(self, clock, words);
        let (at, cleared) = (self.at.q.val(), self.cleared.q.val());
        let none = bits::<OF_BYTES>(0);
        let mut chosen = none;
        for i in 0..regs::COUNTERS {
            let (amount, waiting) = (self.amount[i].val(), self.waiting[i].q.val());
            let is_visited = cleared && at == (i as u64);
            chosen = chosen | if is_visited { waiting } else { none };
            if BYTES[i] {
                if is_visited {
                    self.waiting[i].d.next = more_bytes(none, amount);
                } else if amount.any() {
                    self.waiting[i].d.next = more_bytes(waiting, amount);
                }
            } else if FEW[i] {
                if is_visited {
                    self.waiting[i].d.next = a_few_more(none, amount);
                } else if amount.any() {
                    self.waiting[i].d.next = a_few_more(waiting, amount);
                }
            } else {
                if is_visited {
                    self.waiting[i].d.next = one_more(none, amount);
                } else if amount.any() {
                    self.waiting[i].d.next = one_more(waiting, amount);
                }
            }
        }

        // A visit: word and what waits, their sum, the word.
        let is_last = at == LAST;
        self.at.d.next = if is_last { bits::<AT>(0) } else { at + 1 };
        if is_last {
            self.cleared.d.next = true;
        }
        self.words.re.next = true;
        self.words.raddr.next = at;
        self.chosen.d.next = chosen;
        self.chosen_at.d.next = at;
        self.chosen_live.d.next = cleared;
        let live = self.chosen_live.q.val();
        let sum = self.words.rdata.val() + bit_cast::<64, OF_BYTES>(self.chosen.q.val());
        self.sum.d.next = if live { sum } else { bits::<64>(0) };
        self.sum_at.d.next = self.chosen_at.q.val();
        self.sum_live.d.next = live;
        self.words.we.next = true;
        self.words.waddr.next = self.sum_at.q.val();
        self.words.wdata.next = self.sum.q.val();
        self.data.next = self.sum.q.val();
        self.found.next = self.sum_live.q.val() && bit_cast::<8, AT>(self.sum_at.q.val()) == self.index.val();
        dff_reset!(self, reset, waiting, at, cleared, chosen_live, sum_live);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bit_of_the_engine_is_of_its_counter() {
        let none = EngineCounts::default;
        let table = [
            (EngineCounts { rto: true, ..none() }, &regs::CNT_RTO),
            (EngineCounts { fast_retransmits: true, ..none() }, &regs::CNT_FAST_RETRANSMITS),
            (EngineCounts { drop_no_page: true, ..none() }, &regs::CNT_DROP_NO_PAGE),
            (EngineCounts { drop_no_range: true, ..none() }, &regs::CNT_DROP_NO_RANGE),
            (EngineCounts { unacceptable: true, ..none() }, &regs::CNT_UNACCEPTABLE),
            (EngineCounts { challenge_acks: true, ..none() }, &regs::CNT_CHALLENGE_ACKS),
            (EngineCounts { handed_up: true, ..none() }, &regs::CNT_HANDED_UP),
            (EngineCounts { ce_marks_in: true, ..none() }, &regs::CNT_CE_MARKS_IN),
            (EngineCounts { ece_reductions: true, ..none() }, &regs::CNT_ECE_REDUCTIONS),
            (EngineCounts { upload_urgent: true, ..none() }, &regs::CNT_UPLOAD_URGENT),
            (EngineCounts { upload_timeout: true, ..none() }, &regs::CNT_UPLOAD_TIMEOUT),
            (EngineCounts { upload_invalid_state: true, ..none() }, &regs::CNT_UPLOAD_INVALID_STATE),
            (EngineCounts { upload_requested: true, ..none() }, &regs::CNT_UPLOAD_REQUESTED),
            (EngineCounts { upload_hardware: true, ..none() }, &regs::CNT_UPLOAD_HARDWARE),
            (EngineCounts { upload_low_activity: true, ..none() }, &regs::CNT_UPLOAD_LOW_ACTIVITY),
            (EngineCounts { upload_drop_rate: true, ..none() }, &regs::CNT_UPLOAD_DROP_RATE),
            (EngineCounts { upload_small_io: true, ..none() }, &regs::CNT_UPLOAD_SMALL_IO),
            (EngineCounts { upload_no_preposting: true, ..none() }, &regs::CNT_UPLOAD_NO_PREPOSTING),
            (EngineCounts { upload_fragmentation: true, ..none() }, &regs::CNT_UPLOAD_FRAGMENTATION),
            (EngineCounts { upload_out_of_order: true, ..none() }, &regs::CNT_UPLOAD_OUT_OF_ORDER),
            (EngineCounts { acks_unheard: true, ..none() }, &regs::CNT_ACKS_UNHEARD),
        ];
        for (counts, reg) in table {
            let bits = pack::<ENGINE_BITS, EngineCounts>(counts);
            let set: Vec<_> = (0..ENGINE.len()).filter(|i| bits.get_bit(ENGINE_ONES + i)).collect();
            assert_eq!(set.iter().map(|i| ENGINE[*i]).collect::<Vec<_>>(), [counter(reg)], "{}", reg.name);
        }
    }
}
