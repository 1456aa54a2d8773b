//! Frames into packet memory: arbiter between the wire and the loopback, write pointer, drops.
//!
//! ```text
//!   s_axis --+--> [register] --> packet memory write, beat to the parser
//!   lb ------+       |
//!                    `-- bad, too long, no room: the write pointer goes back, a counter says why
//! ```
//! A frame is taken whole from one input before the other has its turn; they alternate when both wait.
//! Every frame begins at a multiple of 8 and takes its length rounded up to 8. Room comes back by
//! `free_valid`, in the order of the frames. While `enable` is low frames are swallowed uncounted.
//!
//! Latency: 1 cycle to the parser. Throughput: one beat per clock. Back-pressure: the last beats of two frames are kept
//! 4 clocks apart, so `tready` falls for frames below 25 bytes; a full memory or a full list of
//! descriptions never lowers it, the frame is dropped (law L5). Reset: empty.
use crate::eth::framing::{classify, RxClass};
use crate::ip::rx_parse::RxBeat;
use crate::prelude::*;
use crate::types::PACKET_LOG2;

/// Width of a word address of packet memory.
pub const WORD_BITS: usize = PACKET_LOG2 - 3;
/// Width of a count of its words.
const ROOM_BITS: usize = WORD_BITS + 1;
const ROOM: u64 = 1 << WORD_BITS;
/// log2 of the number of frames that may wait for the dispatcher.
pub const METAS_LOG2: usize = 5;
const METAS_BITS: usize = METAS_LOG2 + 1;
const METAS: u64 = 1 << METAS_LOG2;
/// Clocks between the last beats of two frames, minus one: what the parser needs.
const APART: u64 = 3;

/// Why the rest of a frame is not kept.
#[derive(Clone, Copy, Debug, PartialEq, LogicState)]
pub enum RxFail {
    /// It is kept so far.
    None,
    /// Longer than `MAX`.
    TooLong,
    /// No room in packet memory or in the list of descriptions.
    Overrun,
    /// The device is disabled.
    Disabled,
}

/// A beat as it came in.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct AxisBeat {
    /// 1 = there is one.
    pub valid: Bit,
    /// Eight bytes.
    pub data: Bits<64>,
    /// Which bytes count; on the last beat a prefix.
    pub keep: Bits<8>,
    /// Last beat of the frame.
    pub last: Bit,
    /// With `last`: the MAC found the frame bad.
    pub bad: Bit,
    /// What its half-words could mean.
    pub class: RxClass,
    /// It came from the loopback.
    pub loopback: Bit,
}

/// Number of bytes in a last beat; anything but a prefix (a broken MAC) counts as all eight.
#[kernel]
fn kept(keep: Bits<8>) -> Bits<4> {
    match keep.index() {
        0x01 => bits::<4>(1),
        0x03 => bits::<4>(2),
        0x07 => bits::<4>(3),
        0x0f => bits::<4>(4),
        0x1f => bits::<4>(5),
        0x3f => bits::<4>(6),
        0x7f => bits::<4>(7),
        _ => bits::<4>(8),
    }
}

/// The block; `MAX`: bytes of the longest frame that is kept, a multiple of 8.
#[derive(LogicBlock, Default)]
pub struct RxStream<const MAX: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Reset.
    pub reset: Signal<In, Bit>,
    /// `CTRL.enable`.
    pub enable: Signal<In, Bit>,
    /// MAC: data.
    pub s_axis_tdata: Signal<In, Bits<64>>,
    /// MAC: which bytes count.
    pub s_axis_tkeep: Signal<In, Bits<8>>,
    /// MAC: beat valid.
    pub s_axis_tvalid: Signal<In, Bit>,
    /// MAC: beat taken.
    pub s_axis_tready: Signal<Out, Bit>,
    /// MAC: last beat.
    pub s_axis_tlast: Signal<In, Bit>,
    /// MAC: bad frame (with `tlast`).
    pub s_axis_tuser: Signal<In, Bit>,
    /// Loopback: data.
    pub lb_tdata: Signal<In, Bits<64>>,
    /// Loopback: which bytes count.
    pub lb_tkeep: Signal<In, Bits<8>>,
    /// Loopback: beat valid.
    pub lb_tvalid: Signal<In, Bit>,
    /// Loopback: beat taken.
    pub lb_tready: Signal<Out, Bit>,
    /// Loopback: last beat.
    pub lb_tlast: Signal<In, Bit>,
    /// Beat to the parser.
    pub beat_valid: Signal<Out, Bit>,
    /// The beat.
    pub beat: Signal<Out, RxBeat>,
    /// Packet memory write.
    pub mem_we: Signal<Out, Bit>,
    /// Its word address.
    pub mem_addr: Signal<Out, Bits<WORD_BITS>>,
    /// Its data.
    pub mem_data: Signal<Out, Bits<64>>,
    /// Packet memory comes back, oldest frame first.
    pub free_valid: Signal<In, Bit>,
    /// Its size, bytes, a multiple of 8.
    pub free_len: Signal<In, Bits<16>>,
    /// The dispatcher took a description.
    pub meta_taken: Signal<In, Bit>,
    /// Pulse: a frame from the MAC ended.
    pub cnt_frame: Signal<Out, Bit>,
    /// Its length, bytes.
    pub cnt_bytes: Signal<Out, Bits<16>>,
    /// Pulse: dropped, bad.
    pub cnt_drop_bad: Signal<Out, Bit>,
    /// Pulse: dropped, too long.
    pub cnt_drop_too_long: Signal<Out, Bit>,
    /// Pulse: dropped, no room.
    pub cnt_drop_overrun: Signal<Out, Bit>,
    /// No frame is being kept, none waits for the dispatcher.
    pub idle: Signal<Out, Bit>,
    b: Dff<AxisBeat>,
    take_lb: Dff<Bit>,
    in_frame: Dff<Bit>,
    idx: Dff<Bits<13>>,
    wr: Dff<Bits<WORD_BITS>>,
    start: Dff<Bits<WORD_BITS>>,
    used: Dff<Bits<ROOM_BITS>>,
    metas: Dff<Bits<METAS_BITS>>,
    fail: Dff<RxFail>,
    apart: Dff<Bits<2>>,
}

/// The state of a frame at a beat.
#[kernel]
fn fail_at(fail: RxFail, idx: Bits<13>, enable: bool, is_max: bool, full: bool, metas_full: bool) -> RxFail {
    if idx == 0 && !enable {
        RxFail::Disabled
    } else if is_max && fail != RxFail::Disabled {
        RxFail::TooLong
    } else if idx != 0 && fail != RxFail::None {
        fail
    } else if full || (idx == 0 && metas_full) {
        RxFail::Overrun
    } else {
        RxFail::None
    }
}

/// Number of the next beat; it stays at the top in an endless frame, so that this never looks like a new one.
#[kernel]
fn next_idx(idx: Bits<13>, last: bool) -> Bits<13> {
    if last {
        bits::<13>(0)
    } else if idx.all() {
        idx
    } else {
        idx + 1
    }
}

#[kernel]
impl<const MAX: usize> Logic for RxStream<MAX> {
    fn update(&mut self) {
        dff_setup!(self, clock, b, take_lb, in_frame, idx, wr, start, used, metas, fail, apart);
        let wait = self.apart.q.val();
        let run = !(self.b.q.val().valid && self.b.q.val().last && wait != 0);
        let lb = self.take_lb.q.val();
        // Input: one beat into the register.
        self.s_axis_tready.next = run && !lb;
        self.lb_tready.next = run && lb;
        let valid = if lb { self.lb_tvalid.val() } else { self.s_axis_tvalid.val() };
        let other = if lb { self.s_axis_tvalid.val() } else { self.lb_tvalid.val() };
        let last = if lb { self.lb_tlast.val() } else { self.s_axis_tlast.val() };
        if run {
            let data = if lb { self.lb_tdata.val() } else { self.s_axis_tdata.val() };
            self.b.d.next = AxisBeat {
                valid,
                data,
                class: classify(data),
                keep: if lb { self.lb_tkeep.val() } else { self.s_axis_tkeep.val() },
                last,
                bad: !lb && self.s_axis_tuser.val(),
                loopback: lb,
            };
            if valid {
                self.in_frame.d.next = !last;
            }
            // A frame ends, or nothing comes: the other input has its turn if it wants it.
            let turn = if valid { last } else { !self.in_frame.q.val() };
            self.take_lb.d.next = if turn && other { !lb } else { lb };
        }

        // The beat in the register.
        let b = self.b.q.val();
        let go = b.valid && run;
        let idx = self.idx.q.val();
        let full = self.used.q.val() == ROOM;
        let is_max = idx == (MAX as u64 / 8);
        let fail =
            fail_at(self.fail.q.val(), idx, self.enable.val(), is_max, full, self.metas.q.val() == METAS);
        let drop = b.bad || fail != RxFail::None;
        let keep = go && fail == RxFail::None && !(b.last && drop);
        let commit = go && b.last && !drop;
        let len = cat::<16>((idx, bits::<3>(0))) + bit_cast::<16, 4>(kept(b.keep));
        let src = cat::<PACKET_LOG2>((self.start.q.val(), bits::<3>(0)));
        self.beat_valid.next = go;
        self.beat.next = RxBeat {
            data: b.data,
            class: b.class,
            idx,
            commit,
            src: bit_cast::<16, _>(src),
            len,
            forwarded: b.loopback,
        };
        self.mem_we.next = keep;
        self.mem_addr.next = self.wr.q.val();
        self.mem_data.next = b.data;
        self.apart.d.next = if go && b.last {
            bits::<2>(APART)
        } else if wait != 0 {
            wait - 1
        } else {
            wait
        };
        if go {
            self.idx.d.next = next_idx(idx, b.last);
            self.fail.d.next = fail;
        }
        let rewind = go && b.last && drop;
        let next = self.wr.q.val() + keep;
        self.wr.d.next = if rewind { self.start.q.val() } else { next };
        if commit {
            self.start.d.next = next;
        }

        // Room: taken by a beat, given back by a drop and by the write engine.
        let back = self.wr.q.val() - self.start.q.val();
        let dropped = if rewind { bit_cast::<ROOM_BITS, WORD_BITS>(back) } else { bits::<ROOM_BITS>(0) };
        let freed = self.free_len.val().get_bits::<ROOM_BITS>(3);
        let freed = if self.free_valid.val() { freed } else { bits::<ROOM_BITS>(0) };
        self.used.d.next = self.used.q.val() + keep - dropped - freed;
        let taken = bit_cast::<METAS_BITS, 1>(self.meta_taken.val().into());
        self.metas.d.next = self.metas.q.val() + commit - taken;

        let counted = go && b.last && fail != RxFail::Disabled;
        self.cnt_frame.next = counted && !b.loopback;
        self.cnt_bytes.next = len;
        self.cnt_drop_bad.next = counted && b.bad;
        self.cnt_drop_too_long.next = counted && !b.bad && fail == RxFail::TooLong;
        self.cnt_drop_overrun.next = counted && !b.bad && fail == RxFail::Overrun;
        // A frame that is swallowed does not count: the wire may be busy while the device is disabled.
        self.idle.next = self.metas.q.val() == 0 && self.wr.q.val() == self.start.q.val();
        dff_reset!(self, reset, b, take_lb, in_frame, idx, wr, start, used, metas, fail, apart);
    }
}
