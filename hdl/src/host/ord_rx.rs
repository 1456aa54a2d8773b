//! The ordinary receive ring: frames that the engine does not take, and the order of all frames.
//!
//! ```text
//!   frames in order --+-- ordinary, handed up: buffer there: payload, free, then RxDone
//!                     |                        `-> none: counted, free
//!                     `-- the engine's: the placer frees it when it has its turn; its verdict takes it off the list
//! ```
//! Law L5: no buffer means a counted drop, never a wait for the host. Packet memory is freed in the order of the frames: the placer frees
//! the frames that it consumed, and waits with that for `turn`. The `RxDone` entry is written when the response for the frame's bytes has
//! come ([`super::rx_done`]).
//!
//! Latency: 2 cycles to the first command of an ordinary frame. Throughput: one ordinary frame per 4 cycles plus the write engine's
//! time. Back-pressure: `frame_ready` is low while 16 frames are in the list. Reset: no frame, index 0.
use crate::host::rx_done::{Pending, RxCompletions, TAG_PAYLOAD};
use crate::host::rx_ring::RxRing;
use crate::prelude::*;
use crate::stream::Fifo;
use crate::types::{ReadBeat, ReadReq, WriteCmd, WriteDone, TAG_BITS, WRITE_FREE, WRITE_PAYLOAD};

/// log2 of the frames in the list.
const FRAMES_LOG2: usize = 4;

/// What happens to the oldest frame.
#[derive(Clone, Copy, Debug, PartialEq, LogicState)]
pub enum OrdRxState {
    /// There is none, or it is the engine's.
    Idle,
    /// Its bytes, or the drop.
    Payload,
    /// The completion entry of the oldest ordinary frame that waits for one.
    Completion,
    /// Its packet memory goes back.
    Free,
}

/// A frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Listed {
    /// Where it begins in packet memory.
    pub src: Bits<16>,
    /// Its length, bytes.
    pub len: Bits<16>,
    /// `RX_*` verdicts.
    pub verdict: Bits<16>,
    /// The engine decides on it.
    pub for_engine: Bit,
}

/// A length rounded up to the words of packet memory it takes.
#[kernel]
pub fn words_len(len: Bits<16>) -> Bits<16> {
    cat::<16, _>(((len + 7).get_bits::<13>(3), bits::<3>(0)))
}

/// The command for the frame's bytes.
#[kernel]
fn payload_cmd(m: Listed, buffer: Bits<64>) -> WriteCmd {
    WriteCmd {
        kind: bits::<2>(WRITE_PAYLOAD),
        iova: buffer,
        len: m.len,
        src: m.src,
        free: bits::<16>(0),
        data: bits::<256>(0),
        notify: true,
        tag: bits::<TAG_BITS>(TAG_PAYLOAD),
    }
}

/// The block.
#[derive(LogicBlock, Default)]
pub struct OrdRx {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Reset.
    pub reset: Signal<In, Bit>,
    /// `CTRL.enable`: buffers may be fetched.
    pub enable: Signal<In, Bit>,
    /// A frame, in the order of arrival.
    pub frame_valid: Signal<In, Bit>,
    /// The frame.
    pub frame: Signal<In, Listed>,
    /// It is taken.
    pub frame_ready: Signal<Out, Bit>,
    /// Pulse: PROTO has decided.
    pub verdict_valid: Signal<In, Bit>,
    /// With `verdict_valid`: the frame is ours after all.
    pub verdict_handed_up: Signal<In, Bit>,
    /// The engine's oldest frame is the oldest of all: its packet memory may be freed, or its verdict given.
    pub turn: Signal<Out, Bit>,
    /// A command for the write engine.
    pub cmd_valid: Signal<Out, Bit>,
    /// The command.
    pub cmd: Signal<Out, WriteCmd>,
    /// It is taken.
    pub cmd_ready: Signal<In, Bit>,
    /// A frame's bytes, or an entry, are in host memory (or cannot be).
    pub done_valid: Signal<In, Bit>,
    /// Its report.
    pub done: Signal<In, WriteDone>,
    /// A burst of buffer addresses is to be read.
    pub read_valid: Signal<Out, Bit>,
    /// The burst.
    pub read: Signal<Out, ReadReq>,
    /// It is taken.
    pub read_ready: Signal<In, Bit>,
    /// The beat is ours.
    pub beat_valid: Signal<In, Bit>,
    /// The beat.
    pub beat: Signal<In, ReadBeat>,
    /// `RX_BASE`.
    pub rx_base: Signal<In, Bits<64>>,
    /// `RX_DONE_BASE`.
    pub rx_done_base: Signal<In, Bits<64>>,
    /// `RING_SIZES.rx`.
    pub rx_log2: Signal<In, Bits<4>>,
    /// `RX_PRODUCER`.
    pub rx_producer: Signal<In, Bits<16>>,
    /// Buffers used, for the status line.
    pub rx_consumer: Signal<Out, Bits<16>>,
    /// Pulse: interrupt cause `rx`.
    pub irq_rx: Signal<Out, Bit>,
    /// Pulse: dropped for want of a buffer.
    pub cnt_drop_no_buffer: Signal<Out, Bit>,
    /// Nothing in work, no read outstanding.
    pub idle: Signal<Out, Bit>,
    ring: RxRing,
    completions: RxCompletions,
    frames: Fifo<Listed, FRAMES_LOG2, { FRAMES_LOG2 + 1 }>,
    state: Dff<OrdRxState>,
    /// The oldest frame has its verdict.
    judged: Dff<Bit>,
    /// It goes up.
    up: Dff<Bit>,
}

#[kernel]
impl Logic for OrdRx {
    fn update(&mut self) {
        dff_setup!(self, clock, state, judged, up);
        clock!(self, clock, ring, completions, frames);
        reset!(self, reset, ring, completions, frames);
        self.ring.enable.next = self.enable.val();
        self.ring.base.next = self.rx_base.val();
        self.ring.log2.next = self.rx_log2.val();
        self.ring.producer.next = self.rx_producer.val();
        self.read_valid.next = self.ring.read_valid.val();
        self.read.next = self.ring.read.val();
        self.ring.read_ready.next = self.read_ready.val();
        self.ring.beat_valid.next = self.beat_valid.val();
        self.ring.beat.next = self.beat.val();
        self.frames.s_valid.next = self.frame_valid.val();
        self.frames.s_data.next = self.frame.val();
        self.frame_ready.next = self.frames.s_ready.val();

        // The oldest frame, and who deals with it.
        let (state, judged) = (self.state.q.val(), self.judged.q.val());
        let (waits, f) = (self.frames.m_valid.val(), self.frames.m_data.val());
        let free = state == OrdRxState::Idle;
        let ours = waits && (!f.for_engine || (judged && self.up.q.val()));
        let consumed = free && waits && f.for_engine && judged && !self.up.q.val();
        let answered = self.completions.answered.val();
        let have = self.ring.buffer_valid.val();
        let taken = self.cmd_ready.val();
        let (payload, frees) = (state == OrdRxState::Payload, state == OrdRxState::Free);
        let entering = state == OrdRxState::Completion;
        let done = consumed || (frees && taken);
        self.turn.next = waits && f.for_engine && !judged;
        self.frames.m_ready.next = done;
        self.ring.buffer_ready.next = payload && have && taken;
        self.cnt_drop_no_buffer.next = payload && !have;
        self.rx_consumer.next = self.completions.used.val();
        self.idle.next = free && !waits && self.ring.idle.val() && self.completions.idle.val();
        if self.verdict_valid.val() {
            self.judged.d.next = true;
            self.up.d.next = self.verdict_handed_up.val();
        } else if done {
            self.judged.d.next = false;
        }

        // Completions.
        self.completions.base.next = self.rx_done_base.val();
        self.completions.log2.next = self.rx_log2.val();
        self.completions.push.next = payload && have && taken;
        self.completions.frame.next = Pending { len: f.len, verdict: f.verdict };
        self.completions.done_valid.next = self.done_valid.val();
        self.completions.done.next = self.done.val();
        self.completions.pop.next = entering && taken;
        self.irq_rx.next = self.completions.irq.val();

        self.cmd_valid.next = (payload && have) || entering || frees;
        self.cmd.next = if payload {
            payload_cmd(f, self.ring.buffer.val())
        } else if entering {
            self.completions.cmd.val()
        } else {
            WriteCmd { kind: bits::<2>(WRITE_FREE), len: words_len(f.len), ..WriteCmd::default() }
        };
        match state {
            OrdRxState::Idle => {
                if answered {
                    self.state.d.next = OrdRxState::Completion;
                } else if ours && self.completions.room.val() {
                    self.state.d.next = OrdRxState::Payload;
                }
            }
            OrdRxState::Payload => {
                if taken || !have {
                    self.state.d.next = OrdRxState::Free;
                }
            }
            OrdRxState::Completion | OrdRxState::Free => {
                if taken {
                    self.state.d.next = OrdRxState::Idle;
                }
            }
        }
        dff_reset!(self, reset, state, judged);
    }
}
