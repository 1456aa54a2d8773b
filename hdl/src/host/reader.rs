//! Reads of registers: the word of a stored one, of one that is not stored, or of a counter.
//!
//! Reading the low word of a counter or of the clock keeps the high word for the next read of it.
//!
//! Latency: 2 clocks from `read_valid` to `read_done`; one more for each clock in which a register is written; the low word
//! of a counter comes when the counter is visited ([`super::counters`]). Throughput: one read at a time. Back-pressure:
//! `read_ready`. Reset: nothing is read.
use crate::host::irq::CAUSES;
use crate::prelude::*;
use chimney_abi::layout::Field;
use chimney_abi::regs;

/// Byte offset of the first counter.
const COUNTERS_AT: u64 = regs::CNT_RX_FRAMES.offset as u64;
/// Byte offset after the last counter.
const COUNTERS_END: u64 = COUNTERS_AT + 8 * regs::COUNTERS as u64;
const MINOR: u64 = chimney_abi::VERSION_MINOR as u64;
const VERSION_AT: u64 = regs::VERSION.offset as u64;
const CAPS_AT: u64 = regs::CAPS.offset as u64;
const STATUS_AT: u64 = regs::STATUS.offset as u64;
const RESET_AT: u64 = regs::RESET.offset as u64;
const TIME_LO_AT: u64 = regs::TIME_LO.offset as u64;
const TIME_HI_AT: u64 = regs::TIME_HI.offset as u64;
const IRQ_STATUS_AT: u64 = regs::IRQ_STATUS.offset as u64;
/// All that the register has a bit for.
const CAPS_VALUE: u64 = all_set(regs::CAPS.fields);

/// Every field of one bit set.
const fn all_set(fields: &[Field]) -> u64 {
    let (mut word, mut i) = (0, 0);
    while i < fields.len() {
        assert!(fields[i].width_bits == 1);
        word |= 1 << fields[i].offset_bits;
        i += 1;
    }
    word
}

/// What the registers show that are not stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Live {
    /// log2 of connections.
    pub conn_log2: Bits<8>,
    /// log2 of paths and neighbors.
    pub table_log2: Bits<8>,
    /// Disabled, and no DMA outstanding.
    pub is_stopped: Bit,
    /// An AXI error response was seen.
    pub error_seen: Bit,
    /// A soft reset is asked for, or under way.
    pub is_resetting: Bit,
    /// Causes pending.
    pub causes: Bits<CAUSES>,
    /// Clock, microseconds.
    pub now_us: Bits<64>,
}

/// The word of a register, if it is the one that is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
struct Word {
    is: Bit,
    word: Bits<32>,
}

/// The block. See the module page.
#[derive(LogicBlock, Default)]
pub struct Reader {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Synchronous, active high.
    pub reset: Signal<In, Bit>,
    /// A read is to be done.
    pub read_valid: Signal<In, Bit>,
    /// It begins in this clock.
    pub read_ready: Signal<Out, Bit>,
    /// Byte offset in BAR0; stays until `read_done`.
    pub read_addr: Signal<In, Bits<20>>,
    /// Pulse: the word is there.
    pub read_done: Signal<Out, Bit>,
    /// With `read_done`: the word; 0 where there is no register.
    pub read_data: Signal<Out, Bits<32>>,
    /// A register is being written: no read begins.
    pub writes: Signal<In, Bit>,
    /// Registers that are not stored.
    pub live: Signal<In, Live>,
    /// Pulse: what is stored at `read_addr` is wanted.
    pub file_read: Signal<Out, Bit>,
    /// One clock later: what is stored there.
    pub stored: Signal<In, Bits<32>>,
    /// Which counter is wanted.
    pub counter: Signal<Out, Bits<8>>,
    /// Its value is there.
    pub counter_found: Signal<In, Bit>,
    /// With `counter_found`.
    pub counter_data: Signal<In, Bits<64>>,
    begun: Dff<Bit>,
    /// A counter is waited for.
    counts: Dff<Bit>,
    done: Dff<Bit>,
    live_word: Dff<Word>,
    word: Dff<Bits<32>>,
    held_high: Dff<Bits<32>>,
}

/// A word, if it is the one.
#[kernel]
fn when(is: bool, word: Bits<32>) -> Word {
    Word { is, word: if is { word } else { bits::<32>(0) } }
}

/// One word; at most one of these is the one.
#[kernel]
fn one_of(all: [Word; 7]) -> Word {
    let mut one = Word::default();
    for word in all {
        one = Word { is: one.is || word.is, word: one.word | word.word };
    }
    one
}

/// The word of a register that is not stored, or the high word of a counter.
#[kernel]
fn live_word(from: Bits<20>, live: Live, is_high: bool, held_high: Bits<32>) -> Word {
    one_of([
        when(from == VERSION_AT, cat::<32, _>((live.table_log2, live.conn_log2, bits::<16>(MINOR)))),
        when(from == CAPS_AT, bits::<32>(CAPS_VALUE)),
        when(from == STATUS_AT, cat::<32, _>((bits::<30>(0), live.error_seen, live.is_stopped))),
        when(from == RESET_AT, cat::<32, _>((bits::<31>(0), live.is_resetting))),
        when(from == IRQ_STATUS_AT, bit_cast::<32, CAUSES>(live.causes)),
        when(from == TIME_LO_AT, live.now_us.get_bits::<32>(0)),
        when(from == TIME_HI_AT || is_high, held_high),
    ])
}

#[kernel]
impl Logic for Reader {
    fn update(&mut self) {
        dff_setup!(self, clock, begun, counts, done, live_word, word, held_high);
        let (from, live) = (self.read_addr.val(), self.live.val());
        let held_high = self.held_high.q.val();
        let is_counter = from >= COUNTERS_AT && from < COUNTERS_END;
        let is_high = is_counter && from.get_bit(2);
        let begins = self.read_valid.val() && !self.writes.val();
        self.read_ready.next = !self.writes.val();
        self.file_read.next = begins;
        self.counter.next = bit_cast::<8, _>((from - COUNTERS_AT) >> 3u64);

        // First clock: what the address says.
        self.begun.d.next = begins;
        if begins {
            self.live_word.d.next = live_word(from, live, is_high, held_high);
            self.counts.d.next = is_counter && !is_high;
            if from == TIME_LO_AT {
                self.held_high.d.next = live.now_us.get_bits::<32>(32);
            }
        }

        // Second clock, or later for a counter: the word.
        let (begun, counts) = (self.begun.q.val(), self.counts.q.val());
        let found = counts && self.counter_found.val();
        if begun {
            let live_word = self.live_word.q.val();
            self.word.d.next = if live_word.is { live_word.word } else { self.stored.val() };
        }
        if found {
            let value = self.counter_data.val();
            self.counts.d.next = false;
            self.word.d.next = value.get_bits::<32>(0);
            self.held_high.d.next = value.get_bits::<32>(32);
        }
        self.done.d.next = begun && !counts || found;
        self.read_done.next = self.done.q.val();
        self.read_data.next = self.word.q.val();
        dff_reset!(self, reset, begun, counts, done);
    }
}
