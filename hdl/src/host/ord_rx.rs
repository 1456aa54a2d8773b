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
//! The `RxDone` entry is written when the response for the frame's bytes has come ([`super::rx_done`]).
//!
//! Latency: 2 cycles to the first command of an ordinary frame, the lookup's more for a candidate. Throughput: one
//! ordinary frame per 5 cycles plus the write engine's time. Back-pressure: `meta_ready` is low while a frame is in work, and
//! while 16 frames wait for responses (bounded by the bus, not by the host). Reset: nothing in work, index 0.
use crate::host::rx_done::{Pending, RxCompletions, TAG_PAYLOAD};
use crate::host::rx_ring::RxRing;
use crate::prelude::*;
use crate::tcp::lookup::FlowKey;
use crate::types::{FrameMeta, ReadBeat, ReadReq, RxSeg, WriteCmd, WriteDone, WRITE_FREE, WRITE_PAYLOAD};

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
    /// The completion entry of the oldest ordinary frame that waits for one.
    Completion,
    /// Its packet memory goes back.
    Free,
}

/// A length rounded up to the words of packet memory it takes.
#[kernel]
pub fn words_len(len: Bits<16>) -> Bits<16> {
    cat::<16, _>(((len + 7).get_bits::<13>(3), bits::<3>(0)))
}

/// What moves the dispatcher on.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
struct Happens {
    /// A frame's bytes were answered: its entry can be written.
    answered: Bit,
    /// A frame is taken.
    meta: Bit,
    /// It is a candidate.
    candidate: Bit,
    /// The lookup takes the question.
    asked: Bit,
    /// It answers.
    found: Bit,
    /// It knows the connection.
    hit: Bit,
    /// PROTO takes the segment.
    offered: Bit,
    /// It decides.
    verdict: Bit,
    /// The frame goes up.
    handed_up: Bit,
    /// The write engine takes the command, or there is no buffer for the frame.
    taken: Bit,
}

#[kernel]
fn next_state(state: DispatchState, now: Happens) -> DispatchState {
    match state {
        DispatchState::Idle => {
            if now.answered {
                DispatchState::Completion
            } else if now.meta {
                if now.candidate {
                    DispatchState::Find
                } else {
                    DispatchState::Payload
                }
            } else {
                state
            }
        }
        DispatchState::Find => {
            if now.asked {
                DispatchState::Found
            } else {
                state
            }
        }
        DispatchState::Found => {
            if !now.found {
                state
            } else if now.hit {
                DispatchState::Offer
            } else {
                DispatchState::Payload
            }
        }
        DispatchState::Offer => {
            if now.offered {
                DispatchState::Verdict
            } else {
                state
            }
        }
        DispatchState::Verdict => {
            if !now.verdict {
                state
            } else if now.handed_up {
                DispatchState::Payload
            } else {
                DispatchState::Idle
            }
        }
        DispatchState::Payload => {
            if now.taken {
                DispatchState::Free
            } else {
                state
            }
        }
        DispatchState::Completion | DispatchState::Free => {
            if now.taken {
                DispatchState::Idle
            } else {
                state
            }
        }
    }
}

/// The lookup and PROTO know IPv4 in untagged Ethernet II frames; the others go up (law L4).
#[kernel]
fn for_engine(m: FrameMeta) -> bool {
    m.candidate && !m.is_v6 && !m.tagged && !m.snap
}

/// The command for the frame's bytes.
#[kernel]
fn payload_cmd(m: FrameMeta, buffer: Bits<64>) -> WriteCmd {
    WriteCmd {
        kind: bits::<2>(WRITE_PAYLOAD),
        iova: buffer,
        len: m.len,
        src: m.src,
        data: bits::<256>(0),
        notify: true,
        tag: bits::<48>(TAG_PAYLOAD),
    }
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
    /// A frame's bytes, or an entry, are in host memory (or cannot be).
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
    completions: RxCompletions,
    state: Dff<DispatchState>,
    m: Dff<FrameMeta>,
}

#[kernel]
impl Logic for Dispatch {
    fn update(&mut self) {
        dff_setup!(self, clock, state, m);
        clock!(self, clock, ring, completions);
        reset!(self, reset, ring, completions);
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
        let have = self.ring.buffer_valid.val();
        let taken = self.cmd_ready.val();
        let answered = self.completions.answered.val();
        let ready = state == DispatchState::Idle && !answered && self.completions.room.val();
        self.meta_ready.next = ready;
        self.find_valid.next = state == DispatchState::Find;
        self.find_key.next = FlowKey {
            remote_ip: m.remote_ip.get_bits::<32>(0),
            local_ip: m.local_ip.get_bits::<32>(0),
            remote_port: m.remote_port,
            local_port: m.local_port,
        };
        self.seg_valid.next = state == DispatchState::Offer;
        self.seg.next = m.seg;
        let payload = state == DispatchState::Payload;
        self.ring.buffer_ready.next = payload && have && taken;
        self.cnt_drop_no_buffer.next = payload && !have;
        self.rx_consumer.next = self.completions.used.val();
        self.idle.next = state == DispatchState::Idle && self.ring.idle.val() && self.completions.idle.val();

        // Completions.
        let entering = state == DispatchState::Completion;
        self.completions.base.next = self.rx_done_base.val();
        self.completions.log2.next = self.rx_log2.val();
        self.completions.push.next = payload && have && taken;
        self.completions.frame.next = Pending { len: m.len, verdict: m.verdict };
        self.completions.done_valid.next = self.done_valid.val();
        self.completions.done.next = self.done.val();
        self.completions.pop.next = entering && taken;
        self.done_ready.next = true;
        self.irq_rx.next = self.completions.irq.val();

        self.cmd_valid.next = (payload && have) || entering || state == DispatchState::Free;
        self.cmd.next = if payload {
            payload_cmd(m, self.ring.buffer.val())
        } else if entering {
            self.completions.cmd.val()
        } else {
            WriteCmd { kind: bits::<2>(WRITE_FREE), len: words_len(m.len), ..WriteCmd::default() }
        };

        let now = Happens {
            answered,
            meta: ready && self.meta_valid.val(),
            candidate: for_engine(self.meta.val()),
            asked: self.find_ready.val(),
            found: self.find_done.val(),
            hit: self.find_hit.val(),
            offered: self.seg_ready.val(),
            verdict: self.verdict_valid.val(),
            handed_up: self.verdict_handed_up.val(),
            taken: taken || (payload && !have),
        };
        self.state.d.next = next_state(state, now);
        if state == DispatchState::Idle {
            self.m.d.next = self.meta.val();
        }
        if state == DispatchState::Found {
            self.m.d.next.seg.conn = self.find_conn.val();
        }
        dff_reset!(self, reset, state);
    }
}
