//! The secret of the hash: four tables of 256 random words, one for each byte of a word; their exclusive or is T.
//!
//! The tables are filled from a 64-bit key by an iterated ARX permutation (add, rotate, exclusive or, and a counter; the round is that of the
//! Speck family): 64 rounds before the first word, two rounds per word.
//!
//! Latency: `y` is T of `x` from the clock after `re` until the next one. Throughput: one word per clock. Back-pressure: none.
//! Reset: not filled. The key is taken in the first clock with `enable`; `filled` rises 2113 clocks later.
use crate::mem::SdpRam;
use crate::prelude::*;

/// Bits of the step counter.
const STEP: usize = 12;
/// First step: 64 before the upper half of the steps, in which words are written.
pub const FIRST_STEP: u64 = (1 << (STEP - 1)) - 64;

/// One round.
#[kernel]
pub fn scramble(x: Bits<32>, y: Bits<32>, c: Bits<32>) -> (Bits<32>, Bits<32>) {
    let turned = cat::<32, _>((x.get_bits::<8>(0), x.get_bits::<24>(8)));
    let new_x = (turned + y) ^ c;
    let new_y = cat::<32, _>((y.get_bits::<29>(0), y.get_bits::<3>(29))) ^ new_x;
    (new_x, new_y)
}

/// The tables.
#[derive(LogicBlock)]
pub struct SBoxes {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Reset.
    pub reset: Signal<In, Bit>,
    /// The key is there: fill the tables if they are not.
    pub enable: Signal<In, Bit>,
    /// The key.
    pub key: Signal<In, Bits<64>>,
    /// The tables are filled.
    pub filled: Signal<Out, Bit>,
    /// Look `x` up.
    pub re: Signal<In, Bit>,
    /// A word.
    pub x: Signal<In, Bits<32>>,
    /// T of it, one clock later.
    pub y: Signal<Out, Bits<32>>,
    s0: SdpRam<Bits<32>, 8>,
    s1: SdpRam<Bits<32>, 8>,
    s2: SdpRam<Bits<32>, 8>,
    s3: SdpRam<Bits<32>, 8>,
    full: Dff<Bit>,
    running: Dff<Bit>,
    step: Dff<Bits<STEP>>,
    left: Dff<Bits<32>>,
    right: Dff<Bits<32>>,
}

impl Default for SBoxes {
    fn default() -> Self {
        Self {
            clock: Signal::default(),
            reset: Signal::default(),
            enable: Signal::default(),
            key: Signal::default(),
            filled: Signal::default(),
            re: Signal::default(),
            x: Signal::default(),
            y: Signal::default(),
            s0: SdpRam::default(),
            s1: SdpRam::default(),
            s2: SdpRam::default(),
            s3: SdpRam::default(),
            full: Dff::default(),
            running: Dff::default(),
            step: Dff::new(FIRST_STEP.into()),
            left: Dff::default(),
            right: Dff::default(),
        }
    }
}

#[kernel]
impl Logic for SBoxes {
    fn update(&mut self) {
        dff_setup!(self, clock, full, running, step, left, right);
        clock!(self, clock, s0, s1, s2, s3);
        let (running, step) = (self.running.q.val(), self.step.q.val());
        let (left, right) = scramble(self.left.q.val(), self.right.q.val(), bit_cast::<32, STEP>(step));
        self.filled.next = self.full.q.val();
        if running {
            self.left.d.next = left;
            self.right.d.next = right;
            self.step.d.next = step + 1;
            if step.all() {
                self.running.d.next = false;
                self.full.d.next = true;
            }
        } else if self.enable.val() && !self.full.q.val() {
            self.left.d.next = self.key.val().get_bits::<32>(0);
            self.right.d.next = self.key.val().get_bits::<32>(32);
            self.running.d.next = true;
        }

        let writes = running && step.get_bit(STEP - 1) && step.get_bit(0);
        let (to, table) = (step.get_bits::<8>(1), step.get_bits::<2>(9));
        self.s0.we.next = writes && table == 0;
        self.s1.we.next = writes && table == 1;
        self.s2.we.next = writes && table == 2;
        self.s3.we.next = writes && table == 3;
        self.s0.waddr.next = to;
        self.s1.waddr.next = to;
        self.s2.waddr.next = to;
        self.s3.waddr.next = to;
        self.s0.wdata.next = left;
        self.s1.wdata.next = left;
        self.s2.wdata.next = left;
        self.s3.wdata.next = left;

        let (re, x) = (self.re.val(), self.x.val());
        self.s0.re.next = re;
        self.s1.re.next = re;
        self.s2.re.next = re;
        self.s3.re.next = re;
        self.s0.raddr.next = x.get_bits::<8>(0);
        self.s1.raddr.next = x.get_bits::<8>(8);
        self.s2.raddr.next = x.get_bits::<8>(16);
        self.s3.raddr.next = x.get_bits::<8>(24);
        self.y.next = self.s0.rdata.val() ^ self.s1.rdata.val() ^ self.s2.rdata.val() ^ self.s3.rdata.val();
        dff_reset!(self, reset, full, running, step);
    }
}
