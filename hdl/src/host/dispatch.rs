//! The dispatcher: frames in order, to the engine or to the ordinary receive ring.
//!
//! ```text
//!                           .-- miss, no candidate, another VLAN --.
//!   FrameMeta --> lookup --+                          v
//!                           `-- hit: RxSeg to PROTO   [frames in order] --> OrdRx <--verdict-- placer
//! ```
//! Law L4: what the engine does not take goes up unmodified. Nobody waits for a verdict before the next frame is looked at; the list of
//! frames keeps their order, because packet memory is freed in order ([`super::ord_rx`]).
//!
//! Latency: a cycle to the list for an ordinary frame, the lookup's and 3 more for a candidate. Throughput: an ordinary frame per cycle,
//! a candidate per lookup and 3 cycles. Back-pressure: `meta_ready` is low while a candidate is in work, and while 16 frames are in the
//! list (bounded by the bus, not by the host: law L5). Reset: nothing in work.
use crate::host::ord_rx::{Listed, OrdRx};
use crate::ip::tx_build::VLAN;
use crate::prelude::*;
use crate::tcp::lookup::{Address, FlowKey};
use crate::types::{FrameMeta, ReadBeat, ReadReq, RxSeg, WriteCmd, WriteDone};

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
}

/// R-284: a connection whose neighbor has a VLAN id takes frames with that id alone, of any priority. Either framing is taken
/// (RFC 1122 2.3.3): the neighbor's says how to send.
#[kernel]
fn is_foreign(m: FrameMeta, vlan: Bits<VLAN>) -> bool {
    vlan.any() && !(m.tagged && m.tci.get_bits::<VLAN>(0) == vlan)
}

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
    /// The hash of its 4-tuple.
    pub meta_hash: Signal<In, Bits<32>>,
    /// It is taken.
    pub meta_ready: Signal<Out, Bit>,
    /// A key is to be found.
    pub find_valid: Signal<Out, Bit>,
    /// The key; stays until `find_done`.
    pub find_key: Signal<Out, FlowKey>,
    /// Its hash.
    pub find_hash: Signal<Out, Bits<32>>,
    /// The lookup takes it.
    pub find_ready: Signal<In, Bit>,
    /// Pulse: the answer is there.
    pub find_done: Signal<In, Bit>,
    /// With `find_done`: found.
    pub find_hit: Signal<In, Bit>,
    /// With `find_hit`: connection id.
    pub find_conn: Signal<In, Bits<16>>,
    /// From the clock after `find_hit` on: VLAN id of that connection's neighbor, 0 = none.
    pub vlan: Signal<In, Bits<VLAN>>,
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
    state: Dff<DispatchState>,
    m: Dff<FrameMeta>,
    hash: Dff<Bits<32>>,
}

#[kernel]
impl Logic for Dispatch {
    fn update(&mut self) {
        dff_setup!(self, clock, state, m, hash);
        clock!(self, clock, ordinary);
        reset!(self, reset, ordinary);
        let (state, m) = (self.state.q.val(), self.m.q.val());
        let new = self.meta.val();

        // One candidate at a time.
        let ready = state == DispatchState::Idle && self.ordinary.frame_ready.val();
        let takes = ready && self.meta_valid.val();
        let candidate = new.candidate;
        let answered = state == DispatchState::Found && self.find_done.val();
        let misses = answered && !self.find_hit.val();
        let offers = state == DispatchState::Offer;
        let foreign = offers && is_foreign(m, self.vlan.val());
        let goes = offers && !foreign && self.seg_ready.val();
        self.meta_ready.next = ready;
        self.find_valid.next = state == DispatchState::Find;
        self.find_key.next = FlowKey {
            is_v6: m.is_v6,
            remote_ip: unpack::<Address, 128>(m.remote_ip),
            local_ip: unpack::<Address, 128>(m.local_ip),
            remote_port: m.remote_port,
            local_port: m.local_port,
        };
        self.find_hash.next = self.hash.q.val();
        self.seg_valid.next = offers && !foreign;
        self.seg.next = m.seg;
        self.ordinary.frame_valid.next = (takes && !candidate) || misses || foreign || goes;
        self.ordinary.frame.next =
            if state == DispatchState::Idle { listed(new, false) } else { listed(m, goes) };
        match state {
            DispatchState::Idle => {
                self.m.d.next = new;
                self.hash.d.next = self.meta_hash.val();
                if takes && candidate {
                    self.state.d.next = DispatchState::Find;
                }
            }
            DispatchState::Find => {
                if self.find_ready.val() {
                    self.state.d.next = DispatchState::Found;
                }
            }
            DispatchState::Found => {
                self.m.d.next.seg.conn = self.find_conn.val();
                if answered {
                    let hit = self.find_hit.val();
                    self.state.d.next = if hit { DispatchState::Offer } else { DispatchState::Idle };
                }
            }
            DispatchState::Offer => {
                if goes || foreign {
                    self.state.d.next = DispatchState::Idle;
                }
            }
        }

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
        self.idle.next = state == DispatchState::Idle && self.ordinary.idle.val();
        dff_reset!(self, reset, state);
    }
}
