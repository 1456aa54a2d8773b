//! The dispatcher: frame by frame, in order, to the engine or to the ordinary receive ring.
//!
//! ```text
//!   FrameMeta --candidate--> lookup --hit--> RxSeg to PROTO --verdict--> consumed: next frame
//!        |                     |                              `-handed up-.
//!        `---------------------+--- miss --------------------------------+--> buffer there: payload, RxDone, free
//!                                                                         `-> none: counted, free
//! ```
//! Law L4: what the engine does not take goes up unmodified. Law L5: no buffer means a counted drop, never a wait for
//! the host. PROTO frees the packet memory of what it consumed, before its verdict; so the frames' memory is freed in order.
//! The interrupt cause `rx` is raised by the write response of the `RxDone` entry.
//!
//! Latency: 4 cycles to the first command of an ordinary frame, the lookup's more for a candidate. Throughput: one
//! ordinary frame per 5 cycles plus the write engine's time. Back-pressure: `meta_ready` is low while a frame is in work.
//! Reset: nothing in work, index 0.
use crate::host::rx_ring::RxRing;
use crate::mirror::RxDone;
use crate::prelude::*;
use crate::tcp::lookup::FlowKey;
use crate::types::{
    FrameMeta, ReadBeat, ReadReq, RxSeg, WriteCmd, WriteDone, WRITE_FREE, WRITE_INLINE, WRITE_PAYLOAD,
};

/// What happens to the frame in work.
#[derive(Clone, Copy, Debug, PartialEq, LogicState)]
pub enum DispatchState {
    /// None in work.
    Idle,
    /// Asking the lookup.
    Find,
    /// Waiting for its answer.
    Found,
    /// Offered to PROTO.
    Offer,
    /// Waiting for PROTO's verdict.
    Verdict,
    /// Ordinary: its bytes, or the drop.
    Payload,
    /// Ordinary: its completion entry.
    Completion,
    /// Its packet memory goes back.
    Free,
}

/// The completion entry of ring index `index`.
#[kernel]
pub fn completion(m: FrameMeta, index: Bits<16>, log2: Bits<4>) -> RxDone {
    RxDone {
        len: m.len,
        flags: m.verdict,
        index,
        reserved: bits::<15>(0),
        phase: (!(index >> log2)).get_bits::<1>(0),
    }
}

/// A length rounded up to the words of packet memory it takes.
#[kernel]
pub fn words_len(len: Bits<16>) -> Bits<16> {
    cat::<16, _>(((len + 7).get_bits::<13>(3), bits::<3>(0)))
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
    /// It is taken.
    pub meta_ready: Signal<Out, Bit>,
    /// A key is to be found.
    pub find_valid: Signal<Out, Bit>,
    /// The key.
    pub find_key: Signal<Out, FlowKey>,
    /// The lookup takes it.
    pub find_ready: Signal<In, Bit>,
    /// Pulse: the answer is there.
    pub find_done: Signal<In, Bit>,
    /// With `find_done`: found.
    pub find_hit: Signal<In, Bit>,
    /// With `find_hit`: connection id.
    pub find_conn: Signal<In, Bits<16>>,
    /// A segment for PROTO.
    pub seg_valid: Signal<Out, Bit>,
    /// The segment.
    pub seg: Signal<Out, RxSeg>,
    /// PROTO takes it.
    pub seg_ready: Signal<In, Bit>,
    /// Pulse: PROTO has decided.
    pub verdict_valid: Signal<In, Bit>,
    /// With `verdict_valid`: the frame is ours after all.
    pub verdict_handed_up: Signal<In, Bit>,
    /// A command for the write engine.
    pub cmd_valid: Signal<Out, Bit>,
    /// The command.
    pub cmd: Signal<Out, WriteCmd>,
    /// It is taken.
    pub cmd_ready: Signal<In, Bit>,
    /// An `RxDone` entry is in host memory.
    pub done_valid: Signal<In, Bit>,
    /// Its report.
    pub done: Signal<In, WriteDone>,
    /// Always high.
    pub done_ready: Signal<Out, Bit>,
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
    state: Dff<DispatchState>,
    m: Dff<FrameMeta>,
    used: Dff<Bits<16>>,
}

#[kernel]
impl Logic for Dispatch {
    fn update(&mut self) {
        dff_setup!(self, clock, state, m, used);
        clock!(self, clock, ring);
        reset!(self, reset, ring);
        self.ring.enable.next = self.enable.val();
        self.ring.base.next = self.rx_base.val();
        self.ring.log2.next = self.rx_log2.val();
        self.ring.producer.next = self.rx_producer.val();
        self.read_valid.next = self.ring.read_valid.val();
        self.read.next = self.ring.read.val();
        self.ring.read_ready.next = self.read_ready.val();
        self.ring.beat_valid.next = self.beat_valid.val();
        self.ring.beat.next = self.beat.val();

        let state = self.state.q.val();
        let m = self.m.q.val();
        let used = self.used.q.val();
        let log2 = self.rx_log2.val();
        let have = self.ring.buffer_valid.val();
        let taken = self.cmd_ready.val();
        self.meta_ready.next = state == DispatchState::Idle;
        self.find_valid.next = state == DispatchState::Find;
        self.find_key.next = FlowKey {
            remote_ip: m.remote_ip,
            local_ip: m.local_ip,
            remote_port: m.remote_port,
            local_port: m.local_port,
        };
        self.seg_valid.next = state == DispatchState::Offer;
        self.seg.next = m.seg;
        let payload = state == DispatchState::Payload;
        self.ring.buffer_ready.next = payload && have && taken;
        self.cnt_drop_no_buffer.next = payload && !have;
        self.rx_consumer.next = used;
        self.done_ready.next = true;
        self.irq_rx.next = self.done_valid.val();
        self.idle.next = state == DispatchState::Idle && self.ring.idle.val();

        let slot = used & ((bits::<16>(1) << log2) - 1);
        let entry = pack::<64, _>(completion(m, used, log2));
        self.cmd_valid.next =
            (payload && have) || state == DispatchState::Completion || state == DispatchState::Free;
        self.cmd.next = if payload {
            WriteCmd {
                kind: bits::<2>(WRITE_PAYLOAD),
                iova: self.ring.buffer.val(),
                len: m.len,
                src: m.src,
                ..WriteCmd::default()
            }
        } else if state == DispatchState::Completion {
            WriteCmd {
                kind: bits::<2>(WRITE_INLINE),
                iova: self.rx_done_base.val() + cat::<64, _>((bits::<45>(0), slot, bits::<3>(0))),
                len: bits::<16>(8),
                data: bit_cast::<256, _>(entry),
                notify: true,
                ..WriteCmd::default()
            }
        } else {
            WriteCmd { kind: bits::<2>(WRITE_FREE), len: words_len(m.len), ..WriteCmd::default() }
        };

        match state {
            DispatchState::Idle => {
                self.m.d.next = self.meta.val();
                if self.meta_valid.val() {
                    let candidate = self.meta.val().candidate;
                    self.state.d.next = if candidate { DispatchState::Find } else { DispatchState::Payload };
                }
            }
            DispatchState::Find => {
                if self.find_ready.val() {
                    self.state.d.next = DispatchState::Found;
                }
            }
            DispatchState::Found => {
                self.m.d.next.seg.conn = self.find_conn.val();
                if self.find_done.val() {
                    let hit = self.find_hit.val();
                    self.state.d.next = if hit { DispatchState::Offer } else { DispatchState::Payload };
                }
            }
            DispatchState::Offer => {
                if self.seg_ready.val() {
                    self.state.d.next = DispatchState::Verdict;
                }
            }
            DispatchState::Verdict => {
                if self.verdict_valid.val() {
                    let up = self.verdict_handed_up.val();
                    self.state.d.next = if up { DispatchState::Payload } else { DispatchState::Idle };
                }
            }
            DispatchState::Payload => {
                if !have {
                    self.state.d.next = DispatchState::Free;
                } else if taken {
                    self.state.d.next = DispatchState::Completion;
                }
            }
            DispatchState::Completion => {
                if taken {
                    self.used.d.next = used + 1;
                    self.state.d.next = DispatchState::Free;
                }
            }
            DispatchState::Free => {
                if taken {
                    self.state.d.next = DispatchState::Idle;
                }
            }
        }
        dff_reset!(self, reset, state, used);
    }
}
