//! Frames out: from the two frame buffers to the MAC, or to the loopback.
//!
//! ```text
//!   frame list (2) --> beat counter --> frame buffer (1 clock) --> mask --> m_axis
//!                                                                     `--> lb
//! ```
//! A frame in the list is complete, so it leaves without gaps of our making. On the wire frames below 60 bytes are padded
//! with zeros; a loopback frame keeps its length (R-242: it looks as it would from the wire, unpadded like the host made it).
//!
//! Latency: 2 clocks from `frame_valid` to `tvalid`. Throughput: one beat per clock, one idle clock between frames at most.
//! Back-pressure: `frame_ready` is low while both buffers are taken. Reset state: both buffers free.
use crate::prelude::*;
use crate::stream::lanes::{keep_of, mask_bytes};
use crate::stream::Fifo;
use chimney_abi::wire::ethernet;

/// log2 of the words of one frame buffer.
pub const FRAME_LOG2: usize = 8;
/// Word address of both buffers.
pub const ADDR_BITS: usize = FRAME_LOG2 + 1;
const MIN_LEN: u64 = ethernet::MIN_FRAME_LEN as u64;

/// A complete frame in a buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct TxFrame {
    /// Length, bytes, 14 to 2048.
    pub len: Bits<16>,
    /// 1 = to the receive path, 0 = to the MAC.
    pub loopback: Bit,
}

/// What goes with the word that was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct OutBeat {
    /// There is one.
    pub valid: Bit,
    /// Bytes of the beat.
    pub keep: Bits<8>,
    /// Bytes that come from the frame; the others are padding.
    pub real: Bits<8>,
    /// Last beat.
    pub last: Bit,
    /// To the receive path.
    pub loopback: Bit,
}

/// The block. Frames use the buffers in turn, the first one buffer 0.
#[derive(LogicBlock, Default)]
pub struct TxStream {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Synchronous, active high.
    pub reset: Signal<In, Bit>,
    /// A frame is complete.
    pub frame_valid: Signal<In, Bit>,
    /// A buffer is free: another frame may be begun and completed.
    pub frame_ready: Signal<Out, Bit>,
    /// The frame.
    pub frame: Signal<In, TxFrame>,
    /// Buffers: read.
    pub mem_re: Signal<Out, Bit>,
    /// Buffers: word address, the buffer's number on top.
    pub mem_addr: Signal<Out, Bits<ADDR_BITS>>,
    /// Buffers: the word, one clock later.
    pub mem_data: Signal<In, Bits<64>>,
    /// MAC: data.
    pub m_axis_tdata: Signal<Out, Bits<64>>,
    /// MAC: which bytes count.
    pub m_axis_tkeep: Signal<Out, Bits<8>>,
    /// MAC: beat valid.
    pub m_axis_tvalid: Signal<Out, Bit>,
    /// MAC: beat taken.
    pub m_axis_tready: Signal<In, Bit>,
    /// MAC: last beat.
    pub m_axis_tlast: Signal<Out, Bit>,
    /// Loopback: data.
    pub lb_tdata: Signal<Out, Bits<64>>,
    /// Loopback: which bytes count.
    pub lb_tkeep: Signal<Out, Bits<8>>,
    /// Loopback: beat valid.
    pub lb_tvalid: Signal<Out, Bit>,
    /// Loopback: beat taken.
    pub lb_tready: Signal<In, Bit>,
    /// Loopback: last beat.
    pub lb_tlast: Signal<Out, Bit>,
    /// Nothing waits and nothing is on its way.
    pub idle: Signal<Out, Bit>,
    frames: Fifo<TxFrame, 1, 2>,
    buffer: Dff<Bit>,
    beat: Dff<Bits<FRAME_LOG2>>,
    out: Dff<OutBeat>,
}

/// Length of a frame as it leaves, bytes.
#[kernel]
pub fn wire_len(f: TxFrame) -> Bits<16> {
    if !f.loopback && f.len < MIN_LEN {
        bits::<16>(MIN_LEN)
    } else {
        f.len
    }
}

/// The beat number `i` of a frame.
#[kernel]
fn out_beat(f: TxFrame, i: Bits<FRAME_LOG2>) -> OutBeat {
    let end = wire_len(f);
    let last = bit_cast::<13, _>(i) == (end - 1).get_bits::<13>(3);
    let tail = bit_cast::<4, _>((end - 1).get_bits::<3>(0)) + 1;
    let word = f.len.get_bits::<13>(3);
    let at = bit_cast::<13, _>(i);
    let real = if at < word {
        bits::<8>(0xff)
    } else if at == word {
        keep_of(bit_cast::<4, _>(f.len.get_bits::<3>(0)))
    } else {
        bits::<8>(0)
    };
    OutBeat {
        valid: true,
        keep: if last { keep_of(tail) } else { bits::<8>(0xff) },
        real,
        last,
        loopback: f.loopback,
    }
}

#[kernel]
impl Logic for TxStream {
    fn update(&mut self) {
        dff_setup!(self, clock, buffer, beat, out);
        clock!(self, clock, frames);
        reset!(self, reset, frames);
        let o = self.out.q.val();
        let data = if o.real.all() { self.mem_data.val() } else { mask_bytes(self.mem_data.val(), o.real) };
        self.m_axis_tdata.next = data;
        self.m_axis_tkeep.next = o.keep;
        self.m_axis_tlast.next = o.last;
        self.m_axis_tvalid.next = o.valid && !o.loopback;
        self.lb_tdata.next = data;
        self.lb_tkeep.next = o.keep;
        self.lb_tlast.next = o.last;
        self.lb_tvalid.next = o.valid && o.loopback;

        let waits = self.frames.m_valid.val();
        let taken = if o.loopback { self.lb_tready.val() } else { self.m_axis_tready.val() };
        let go = !o.valid || taken;
        let read = go && waits;
        let next = out_beat(self.frames.m_data.val(), self.beat.q.val());
        let ends = read && next.last;
        self.mem_re.next = read;
        self.mem_addr.next = cat::<ADDR_BITS, _>((self.buffer.q.val(), self.beat.q.val()));
        self.frames.s_valid.next = self.frame_valid.val();
        self.frames.s_data.next = self.frame.val();
        self.frame_ready.next = self.frames.s_ready.val();
        self.frames.m_ready.next = ends;
        self.idle.next = !waits && !o.valid;
        if read {
            self.out.d.next = next;
            self.beat.d.next = self.beat.q.val() + 1;
        } else if go {
            self.out.d.next.valid = false;
        }
        if ends {
            self.beat.d.next = bits::<FRAME_LOG2>(0);
            self.buffer.d.next = !self.buffer.q.val();
        }
        dff_reset!(self, reset, buffer, beat, out);
    }
}
