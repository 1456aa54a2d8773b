//! Sums of a header, word by word.
//!
//! ```text
//!   Word --lanes--> sum of its four lanes --> running sum --fold--> ip_sum, tcp_sum
//! ```
//! Words begin at the third byte of the frame, and every header has whole ones: their lanes are those of the frame.
//! Of the IP header (which means something for IPv4), and of everything that counts for TCP with the pseudo header. Carries are folded at the end.
//! What has no header is a word with nothing that counts, so that there is a `done` for every frame.
//!
//! Latency: 2 clocks from a word until it is in the sums, for the last one with `done`. Throughput: one word per clock. Back-pressure: none. Reset:
//! no word.
use crate::eth::tx::HEAD_WORDS_LOG2;
use crate::ip::checksum::{fold, lane_sum, SUM_BITS};
use crate::prelude::*;
use crate::stream::lanes::swap16;
use chimney_abi::wire::ip_protocol;

/// The pseudo header's protocol word in lane order.
const TCP_LANE: u64 = (ip_protocol::TCP as u64) << 8;

/// A header word on its way to the sums.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Word {
    /// There is one.
    pub valid: Bit,
    /// Its number in the frame.
    pub at: Bits<HEAD_WORDS_LOG2>,
    /// The last one.
    pub last: Bit,
    /// Its two words of 32 bits, zero where they lie behind the headers.
    pub data: Bits<64>,
    /// Which of them belong to the IP header.
    pub ip: Bits<2>,
    /// Which of them count for TCP.
    pub tcp: Bits<2>,
}

/// The words that count.
#[kernel]
fn counted(data: Bits<64>, which: Bits<2>) -> Bits<64> {
    let lo = if which.get_bit(0) { data.get_bits::<32>(0) } else { bits::<32>(0) };
    let hi = if which.get_bit(1) { data.get_bits::<32>(32) } else { bits::<32>(0) };
    cat::<64, _>((hi, lo))
}

/// The sums of a header.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct HeadSums {
    /// Of the IPv4 header.
    pub ip: Bits<16>,
    /// Of pseudo header, TCP header and options.
    pub tcp: Bits<16>,
}

/// The sums of a word.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Lanes {
    /// There are some.
    pub valid: Bit,
    /// Of the first word.
    pub first: Bit,
    /// Of the last one.
    pub last: Bit,
    /// Of the bytes of the IPv4 header.
    pub ip: Bits<18>,
    /// Of the bytes that count for TCP.
    pub tcp: Bits<18>,
}

/// The block. See the module page.
#[derive(LogicBlock, Default)]
pub struct Sums {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Synchronous, active high.
    pub reset: Signal<In, Bit>,
    /// A header word; the words of a header come in order.
    pub word: Signal<In, Word>,
    /// With the first word: bytes of the TCP segment.
    pub segment_len: Signal<In, Bits<16>>,
    /// One clock after the first word: its identification in lane order, if it is known by then; else 0.
    pub number: Signal<In, Bits<16>>,
    /// Pulse: the sums are those of a whole header.
    pub done: Signal<Out, Bit>,
    /// Sums of the header in work, as far as it has come; that of IP does not change behind its last word.
    pub sums: Signal<Out, HeadSums>,
    lanes: Dff<Lanes>,
    ip_acc: Dff<Bits<SUM_BITS>>,
    tcp_acc: Dff<Bits<SUM_BITS>>,
    summed: Dff<Bit>,
}

#[kernel]
impl Logic for Sums {
    fn update(&mut self) {
        dff_setup!(self, clock, lanes, ip_acc, tcp_acc, summed);
        let w = self.word.val();
        let first = w.at == 0;
        let tcp = lane_sum(counted(w.data, w.tcp));
        let pseudo = bit_cast::<18, 16>(swap16(self.segment_len.val())) + TCP_LANE;
        self.lanes.d.next = Lanes {
            valid: w.valid,
            first,
            last: w.last,
            ip: lane_sum(counted(w.data, w.ip)),
            // The first word has nothing that counts: what the pseudo header adds takes its place, and behind it the number.
            tcp: if first { pseudo } else { tcp },
        };
        let l = self.lanes.q.val();
        if l.valid {
            let ip = bit_cast::<SUM_BITS, 18>(l.ip);
            let tcp = bit_cast::<SUM_BITS, 18>(l.tcp);
            let number = bit_cast::<SUM_BITS, 16>(self.number.val());
            self.ip_acc.d.next = if l.first { number } else { self.ip_acc.q.val() + ip };
            self.tcp_acc.d.next = if l.first { tcp } else { self.tcp_acc.q.val() + tcp };
        }
        self.summed.d.next = l.valid && l.last;
        self.done.next = self.summed.q.val();
        self.sums.next = HeadSums { ip: fold(self.ip_acc.q.val()), tcp: fold(self.tcp_acc.q.val()) };
        dff_reset!(self, reset, lanes, summed);
    }
}
