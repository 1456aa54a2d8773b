//! Register file: the values behind BAR0's register page, and the 64-bit counters.

use chimney_abi::layout::{Access, Reg};
use chimney_abi::regs;

/// Words of the register page below the counters.
const WORDS: usize = (regs::CNT_RX_FRAMES.offset / 4) as usize;

/// log2 of the ring sizes of `RING_SIZES`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RingSizes {
    pub cmd: u8,
    pub tx: u8,
    pub rx: u8,
    pub pool: u8,
    pub event: u8,
}

/// Register values by word, and counters.
#[derive(Clone, Debug)]
pub(super) struct RegFile {
    words: [u32; WORDS],
    counters: [u64; regs::COUNTERS],
    sizes: RingSizes,
}

impl RegFile {
    pub fn new() -> Self {
        let mut file = Self { words: [0; WORDS], counters: [0; regs::COUNTERS], sizes: RingSizes::default() };
        for reg in regs::ALL.iter().filter(|r| r.offset < regs::CNT_RX_FRAMES.offset) {
            file.words[(reg.offset / 4) as usize] = reg.reset;
        }
        file.decode_sizes();
        file
    }

    pub fn get(&self, reg: &Reg) -> u32 {
        self.words[(reg.offset / 4) as usize]
    }

    pub fn set(&mut self, reg: &Reg, value: u32) {
        self.words[(reg.offset / 4) as usize] = value;
        if reg.offset == regs::RING_SIZES.offset {
            self.decode_sizes();
        }
    }

    /// The 64-bit address whose low word is `low`; the high word is the next register.
    pub fn address(&self, low: &Reg) -> u64 {
        let at = (low.offset / 4) as usize;
        u64::from(self.words[at]) | u64::from(self.words[at + 1]) << 32
    }

    pub fn sizes(&self) -> RingSizes {
        self.sizes
    }

    /// Adds to a counter register.
    pub fn count(&mut self, counter: &Reg, n: u64) {
        let at = ((counter.offset - regs::CNT_RX_FRAMES.offset) / 8) as usize;
        self.counters[at] = self.counters[at].wrapping_add(n);
    }

    pub fn counter(&self, counter: &Reg) -> u64 {
        self.counters[((counter.offset - regs::CNT_RX_FRAMES.offset) / 8) as usize]
    }

    /// Reads any word of the page; addresses without a register read as zero.
    pub fn read_word(&self, offset: u32) -> u32 {
        if offset >= regs::CNT_RX_FRAMES.offset {
            let at = ((offset - regs::CNT_RX_FRAMES.offset) / 8) as usize;
            let value = self.counters.get(at).copied().unwrap_or(0);
            // `as`: one half of the counter.
            return if offset.is_multiple_of(8) { value as u32 } else { (value >> 32) as u32 };
        }
        self.words[(offset / 4) as usize]
    }

    /// The register at `offset` if the host may write it.
    pub fn writable(offset: u32) -> Option<&'static Reg> {
        // `ALL` is sorted by offset.
        let at = regs::ALL.binary_search_by_key(&offset, |r| r.offset).ok()?;
        let reg = regs::ALL[at];
        (reg.access != Access::Ro).then_some(reg)
    }

    fn decode_sizes(&mut self) {
        let value = u64::from(self.get(&regs::RING_SIZES));
        let field = |name: &str| {
            let field =
                regs::RING_SIZES.fields.iter().find(|f| f.name == name).expect("a field of RING_SIZES");
            // `as`: a four-bit field. 0 would be a ring of one entry, which no index rule needs to know.
            field.get(value) as u8
        };
        self.sizes = RingSizes {
            cmd: field("cmd"),
            tx: field("tx"),
            rx: field("rx"),
            pool: field("pool"),
            event: field("event"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_start_with_their_reset_values_and_are_sorted() {
        let file = RegFile::new();
        for reg in regs::ALL {
            assert_eq!(file.read_word(reg.offset), reg.reset, "{}", reg.name);
            let may_write = RegFile::writable(reg.offset).is_some();
            assert_eq!(may_write, reg.access != Access::Ro, "{}", reg.name);
        }
        assert_eq!(file.sizes(), RingSizes { cmd: 8, tx: 8, rx: 8, pool: 8, event: 0 });
    }
}
