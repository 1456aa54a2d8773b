//! The dispatcher: frames in order, to the engine or to the ordinary receive ring.
//!
//! ```text
//!                    .-- a connection's: RxSeg to PROTO --.
//!   FrameMeta, hit --+                                    v
//!                    `-- all others ---------------> [frames in order] --> OrdRx <--verdict-- placer
//! ```
//! Law L4: what the engine does not take goes up unmodified. Nobody waits for a verdict before the next frame is looked at; the list of
//! frames keeps their order, because packet memory is freed in order ([`super::ord_rx`]). Whose a frame is comes with its description
//! ([`crate::tcp::lookup::ahead`]); a segment that is not taken yet may be withdrawn, when the table changes.
//!
//! Latency: none to PROTO, a cycle to the list. Throughput: an ordinary frame per cycle, a segment in 8: as fast as the smallest come in, so that those
//! that had to wait leave passes of PROTO for what is sent. Back-pressure: `meta_ready` is low while PROTO does not take the segment, and while 16 frames are in the list (bounded by the bus, not by the host: law L5). Reset: the list is empty.
use crate::host::ord_rx::{Listed, OrdRx};
use crate::prelude::*;
use crate::types::{FrameMeta, ReadBeat, ReadReq, RxSeg, WriteCmd, WriteDone};

/// Clocks between two segments, minus one.
const APART: u64 = 7;

/// What the list keeps of a frame.
#[kernel]
fn listed(m: FrameMeta, for_engine: bool) -> Listed {
    Listed { src: m.src, len: m.len, verdict: m.verdict, for_engine }
}

/// The dispatcher.
#[derive(LogicBlock, Default)]
pub struct Dispatch {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Reset.
    pub reset: Signal<In, Bit>,
    /// `CTRL.enable`: buffers may be fetched.
    pub enable: Signal<In, Bit>,
    /// A frame waits.
    pub meta_valid: Signal<In, Bit>,
    /// Its description.
    pub meta: Signal<In, FrameMeta>,
    /// It is for the connection `meta.seg.conn`.
    pub meta_hit: Signal<In, Bit>,
    /// It is taken.
    pub meta_ready: Signal<Out, Bit>,
    /// A segment for PROTO. It may be withdrawn.
    pub seg_valid: Signal<Out, Bit>,
    /// The segment.
    pub seg: Signal<Out, RxSeg>,
    /// PROTO takes it.
    pub seg_ready: Signal<In, Bit>,
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
    ordinary: OrdRx,
    /// Clocks until PROTO may have another segment.
    rest: Dff<Bits<3>>,
}

#[kernel]
impl Logic for Dispatch {
    fn update(&mut self) {
        dff_setup!(self, clock, rest);
        clock!(self, clock, ordinary);
        reset!(self, reset, ordinary);
        let (meta, hit) = (self.meta.val(), self.meta_hit.val());
        let room = self.ordinary.frame_ready.val();
        let (rest, waits) = (self.rest.q.val(), self.meta_valid.val());
        let may = room && rest == 0;
        let ready = if hit { may && self.seg_ready.val() } else { room };
        self.meta_ready.next = ready;
        self.seg_valid.next = may && hit && waits;
        if ready && hit && waits {
            self.rest.d.next = bits::<3>(APART);
        } else if rest != 0 {
            self.rest.d.next = rest - 1;
        }
        self.seg.next = meta.seg;
        self.ordinary.frame_valid.next = ready && waits;
        self.ordinary.frame.next = listed(meta, hit);

        // Straight through to the ordinary path.
        self.ordinary.enable.next = self.enable.val();
        self.ordinary.verdict_valid.next = self.verdict_valid.val();
        self.ordinary.verdict_handed_up.next = self.verdict_handed_up.val();
        self.turn.next = self.ordinary.turn.val();
        self.cmd_valid.next = self.ordinary.cmd_valid.val();
        self.cmd.next = self.ordinary.cmd.val();
        self.ordinary.cmd_ready.next = self.cmd_ready.val();
        self.ordinary.done_valid.next = self.done_valid.val();
        self.ordinary.done.next = self.done.val();
        self.read_valid.next = self.ordinary.read_valid.val();
        self.read.next = self.ordinary.read.val();
        self.ordinary.read_ready.next = self.read_ready.val();
        self.ordinary.beat_valid.next = self.beat_valid.val();
        self.ordinary.beat.next = self.beat.val();
        self.ordinary.rx_base.next = self.rx_base.val();
        self.ordinary.rx_done_base.next = self.rx_done_base.val();
        self.ordinary.rx_log2.next = self.rx_log2.val();
        self.ordinary.rx_producer.next = self.rx_producer.val();
        self.rx_consumer.next = self.ordinary.rx_consumer.val();
        self.irq_rx.next = self.ordinary.irq_rx.val();
        self.cnt_drop_no_buffer.next = self.ordinary.cnt_drop_no_buffer.val();
        self.idle.next = self.ordinary.idle.val();
        dff_reset!(self, reset, rest);
    }
}
