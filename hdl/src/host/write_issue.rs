//! Turns write commands into bursts: addresses, packet memory reads, realignment, strobes.
//!
//! ```text
//!   issue        stage 1 (memory word, strobe, last)      stage 2
//!   read word -> memory latency ------------------------> (word, word before) >> offset -> W queue
//! ```
//! A destination beat takes bytes of two neighbouring source words unless both sides are aligned alike. The first
//! word is read ahead only if it holds bytes of the payload. Bytes outside the command are masked by strobes, so what the
//! neighbouring words hold does not matter.
//!
//! Latency: 2 cycles from a beat to the W queue. Throughput: one beat per clock; a command costs one cycle to
//! load and, when unaligned, one to read ahead. Back-pressure: no beat is issued without room in the W queue
//! (credits), no burst without room in the AW queue and the burst list. Reset: idle.
use crate::eth::rx_stream::WORD_BITS;
use crate::host::dma_write::ClientCmd;
use crate::prelude::*;
use crate::types::{TAG_BITS, WRITE_FREE, WRITE_PAYLOAD};

/// log2 of the W queue's length.
pub const W_LOG2: usize = 4;
const W_DEPTH: u64 = 1 << W_LOG2;
/// Beats in a 256-byte block.
const BLOCK_BEATS: u64 = 32;

/// A burst's address phase.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct AwBeat {
    /// Address, a multiple of 8.
    pub addr: Bits<64>,
    /// Beats minus one.
    pub len: Bits<5>,
}

/// A data beat.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct WBeat {
    /// Data.
    pub data: Bits<64>,
    /// Byte strobes.
    pub strb: Bits<8>,
    /// Last of the burst.
    pub last: Bit,
}

/// What the report block must know of a burst.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Burst {
    /// Port of the command.
    pub client: Bits<2>,
    /// 1 = no burst but a marker: nothing to wait for.
    pub marker: Bit,
    /// Last burst of the command.
    pub last: Bit,
    /// The command wants a report.
    pub notify: Bit,
    /// Its tag.
    pub tag: Bits<TAG_BITS>,
}

/// A command in work.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Work {
    /// Data comes from packet memory.
    pub payload: Bit,
    /// Bytes of it that are free behind the last beat.
    pub free: Bits<16>,
    /// The word before the first one must be read.
    pub prime: Bit,
    /// No beat was issued yet.
    pub first: Bit,
    /// Next source word.
    pub word: Bits<WORD_BITS>,
    /// Source bytes to skip in the pair of words, 1 to 8.
    pub offset: Bits<4>,
    /// Destination bytes before the command in its first beat.
    pub head: Bits<3>,
    /// Destination bytes of the command in its last beat, 0 = all 8.
    pub tail: Bits<3>,
    /// Next destination address, a multiple of 8.
    pub addr: Bits<64>,
    /// Beats left.
    pub beats: Bits<13>,
    /// Beats left in the burst, 0 = a new one begins.
    pub burst: Bits<6>,
    /// Port.
    pub client: Bits<2>,
    /// Report wanted.
    pub notify: Bit,
    /// Tag.
    pub tag: Bits<TAG_BITS>,
}

/// What stage 2 does with the memory word.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Stage {
    /// A word was read.
    pub read: Bit,
    /// A beat goes to the W queue.
    pub beat: Bit,
    /// Data comes from packet memory.
    pub payload: Bit,
    /// Bytes to skip, minus 1.
    pub skip: Bits<3>,
    /// Inline data.
    pub data: Bits<64>,
    /// Strobes.
    pub strb: Bits<8>,
    /// Last of the burst.
    pub last: Bit,
}

/// A command without a beat on the bus.
#[kernel]
pub fn is_silent(c: ClientCmd) -> bool {
    c.cmd.kind == WRITE_FREE || c.cmd.len == 0
}

/// A command's first state.
#[kernel]
fn load(c: ClientCmd) -> Work {
    let payload = c.cmd.kind == WRITE_PAYLOAD;
    let head = c.cmd.iova.get_bits::<3>(0);
    let end = c.cmd.len + bit_cast::<16, _>(head);
    // The source byte that lands in byte 0 of the first beat, and its place in its word; 0 counts as 8 of the word before.
    let base = c.cmd.src - bit_cast::<16, _>(head);
    let low = base.get_bits::<3>(0);
    let offset = if low == 0 { bits::<4>(8) } else { bit_cast::<4, _>(low) };
    let prime = offset + bit_cast::<4, _>(head) < 8;
    let word = base.get_bits::<WORD_BITS>(3);
    let skip = low != 0 && !prime;
    Work {
        payload,
        free: c.cmd.free,
        prime: payload && prime,
        first: true,
        word: word + skip,
        offset,
        head,
        tail: end.get_bits::<3>(0),
        addr: cat::<64, _>((c.cmd.iova.get_bits::<61>(3), bits::<3>(0))),
        beats: (end + 7).get_bits::<13>(3),
        burst: bits::<6>(0),
        client: c.client,
        notify: c.cmd.notify,
        tag: c.cmd.tag,
    }
}

/// Strobes of the next beat.
#[kernel]
fn strobes(w: Work) -> Bits<8> {
    let all = !bits::<8>(0);
    let head = if w.first { all << w.head } else { all };
    let tail = if w.beats == 1 && w.tail != 0 { !(all << w.tail) } else { all };
    head & tail
}

/// Eight bytes of the pair of words, from byte `skip` + 1: a choice of two for each bit of `skip`.
#[kernel]
pub fn realign(prior: Bits<64>, word: Bits<64>, skip: Bits<3>) -> Bits<64> {
    let pair = cat::<120, _>((word, prior.get_bits::<56>(8)));
    let by_4 = if skip.get_bit(2) { pair.get_bits::<88>(32) } else { pair.get_bits::<88>(0) };
    let by_2 = if skip.get_bit(1) { by_4.get_bits::<72>(16) } else { by_4.get_bits::<72>(0) };
    if skip.get_bit(0) {
        by_2.get_bits::<64>(8)
    } else {
        by_2.get_bits::<64>(0)
    }
}

/// The issue block.
#[derive(LogicBlock, Default)]
pub struct WriteIssue {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Reset.
    pub reset: Signal<In, Bit>,
    /// A command waits.
    pub cmd_valid: Signal<In, Bit>,
    /// The command.
    pub cmd: Signal<In, ClientCmd>,
    /// It is taken.
    pub cmd_ready: Signal<Out, Bit>,
    /// The next word of inline data. It is there: word k comes k clocks after its command, and is used 1 + k clocks
    /// after the command was taken at the earliest.
    pub word: Signal<In, Bits<64>>,
    /// It is used.
    pub word_ready: Signal<Out, Bit>,
    /// Packet memory: read.
    pub mem_re: Signal<Out, Bit>,
    /// Packet memory: word address.
    pub mem_addr: Signal<Out, Bits<WORD_BITS>>,
    /// Packet memory: the word, one cycle later.
    pub mem_data: Signal<In, Bits<64>>,
    /// Pulse: packet memory is free again; everything before was read.
    pub free_valid: Signal<Out, Bit>,
    /// How much, bytes.
    pub free_len: Signal<Out, Bits<16>>,
    /// A burst begins.
    pub aw_push: Signal<Out, Bit>,
    /// Its address phase.
    pub aw: Signal<Out, AwBeat>,
    /// The AW queue has room.
    pub aw_room: Signal<In, Bit>,
    /// A burst or marker for the list.
    pub burst_push: Signal<Out, Bit>,
    /// The burst.
    pub burst: Signal<Out, Burst>,
    /// The list has room.
    pub burst_room: Signal<In, Bit>,
    /// A data beat.
    pub w_push: Signal<Out, Bit>,
    /// The beat.
    pub w: Signal<Out, WBeat>,
    /// A beat left the W queue.
    pub w_taken: Signal<In, Bit>,
    /// A command is in work.
    pub busy: Signal<Out, Bit>,
    work: Dff<Work>,
    active: Dff<Bit>,
    stage: Dff<Stage>,
    prior: Dff<Bits<64>>,
    credits: Dff<Bits<5>>,
}

#[kernel]
impl Logic for WriteIssue {
    fn update(&mut self) {
        dff_setup!(self, clock, work, active, stage, prior, credits);
        let w = self.work.q.val();
        let active = self.active.q.val();
        let start = w.burst == 0;
        let room =
            self.credits.q.val() != W_DEPTH && (!start || (self.aw_room.val() && self.burst_room.val()));
        let beat = active && !w.prime && room;
        let read = active && w.payload && (w.prime || room);
        self.word_ready.next = beat && !w.payload;
        let to_block = bits::<6>(BLOCK_BEATS) - bit_cast::<6, _>(w.addr.get_bits::<5>(3));
        let short = w.beats < bit_cast::<13, _>(to_block);
        let len = if short { w.beats.get_bits::<6>(0) } else { to_block };
        let left = if start { len } else { w.burst };
        let finish = beat && w.beats == 1;

        // The next command. One without bus access waits until its predecessor has left.
        let c = self.cmd.val();
        let no_bus = is_silent(c);
        let waits = self.cmd_valid.val();
        let mark = waits && no_bus && !active && self.burst_room.val();
        let take = waits && !no_bus && (!active || finish);
        self.cmd_ready.next = mark || take;
        let frees = finish && w.payload && w.free != 0;
        self.free_valid.next = frees || (mark && c.cmd.kind == WRITE_FREE);
        self.free_len.next = if frees { w.free } else { c.cmd.len };

        self.mem_re.next = read;
        self.mem_addr.next = w.word;
        self.aw_push.next = beat && start;
        self.aw.next = AwBeat { addr: w.addr, len: (len - 1).get_bits::<5>(0) };
        self.burst_push.next = (beat && start) || (mark && c.cmd.notify);
        self.burst.next = Burst {
            client: if active { w.client } else { c.client },
            marker: !active,
            last: !active || bit_cast::<13, _>(len) == w.beats,
            notify: if active { w.notify } else { c.cmd.notify },
            tag: if active { w.tag } else { c.cmd.tag },
        };
        self.busy.next = active;

        if take {
            self.work.d.next = load(c);
            self.active.d.next = true;
        } else {
            self.work.d.next.word = w.word + read;
            if active && w.prime {
                self.work.d.next.prime = false;
            }
            if beat {
                self.work.d.next.first = false;
                self.work.d.next.addr = w.addr + 8;
                self.work.d.next.beats = w.beats - 1;
                self.work.d.next.burst = left - 1;
            }
            if finish {
                self.active.d.next = false;
            }
        }

        self.stage.d.next = Stage {
            read,
            beat,
            payload: w.payload,
            skip: w.offset.get_bits::<3>(0) - 1,
            data: self.word.val(),
            strb: strobes(w),
            last: left == 1,
        };
        let s = self.stage.q.val();
        if s.read {
            self.prior.d.next = self.mem_data.val();
        }
        let payload = realign(self.prior.q.val(), self.mem_data.val(), s.skip);
        self.w_push.next = s.beat;
        self.w.next = WBeat { data: if s.payload { payload } else { s.data }, strb: s.strb, last: s.last };
        self.credits.d.next = self.credits.q.val() + beat - bit_cast::<5, 1>(self.w_taken.val().into());
        dff_reset!(self, reset, active, stage, credits);
    }
}
