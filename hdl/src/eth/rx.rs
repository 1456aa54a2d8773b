//! The receiver: frames from the wire and the loopback into packet memory, and their descriptions.
//!
//! ```text
//!   s_axis, lb --> RxStream --beats--> RxParse --meta--> [FIFO of 32] --> FrameMeta, hit, connection
//!                     |  ^ free         |  |  `-- when empty: past it --^       ^
//!                     v  |              |  `-flow-----------------> Ahead <--> lookup
//!                packet memory          |-> FlowHash --hash---------^
//!                 (32 KiB)              |-> RxOptions
//!                     `--> read port of the write engine
//! ```
//! `MAX`: bytes of the longest frame that is kept, a multiple of 8.
//!
//! Latency: 4 cycles from the last beat to `meta_valid`, whatever the frame, if it is known by then whose it is; a hit is known 5 cycles after the
//! last beat of 60 bytes of IPv4, 6 with a tag, 9 for 74 bytes of IPv6, and of long frames before. Throughput: one beat per clock for frames of
//! 25 bytes and more. Back-pressure: see `RxStream`. Reset: empty; the memory's contents stay.
use crate::eth::rx_stream::{RxStream, METAS_LOG2, WORD_BITS};
use crate::ip::rx_parse::RxParse;
use crate::ip::tx_build::VLAN;
use crate::mem::SdpRam;
use crate::prelude::*;
use crate::stream::Fifo;
use crate::tcp::lookup::ahead::Ahead;
use crate::tcp::lookup::hash::FlowHash;
use crate::tcp::lookup::FlowKey;
use crate::tcp::rx_options::RxOptions;
use crate::types::{FrameMeta, RxSeg};

/// The receiver.
#[derive(LogicBlock, Default)]
pub struct Rx<const MAX: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Reset.
    pub reset: Signal<In, Bit>,
    /// `CTRL.enable`.
    pub enable: Signal<In, Bit>,
    /// Interface MAC address, first byte low.
    pub mac: Signal<In, Bits<48>>,
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
    /// A frame waits.
    pub meta_valid: Signal<Out, Bit>,
    /// Its description.
    pub meta: Signal<Out, FrameMeta>,
    /// With `meta_valid`: it is for the connection `meta.seg.conn`.
    pub meta_hit: Signal<Out, Bit>,
    /// It is taken.
    pub meta_ready: Signal<In, Bit>,
    /// See [`Ahead::find_valid`].
    pub find_valid: Signal<Out, Bit>,
    /// See [`Ahead::find_key`].
    pub find_key: Signal<Out, FlowKey>,
    /// See [`Ahead::find_hash`].
    pub find_hash: Signal<Out, Bits<32>>,
    /// See [`Ahead::find_ready`].
    pub find_ready: Signal<In, Bit>,
    /// See [`Ahead::find_done`].
    pub find_done: Signal<In, Bit>,
    /// See [`Ahead::find_hit`].
    pub find_hit: Signal<In, Bit>,
    /// See [`Ahead::find_conn`].
    pub find_conn: Signal<In, Bits<16>>,
    /// See [`Ahead::vlan`].
    pub vlan: Signal<In, Bits<VLAN>>,
    /// See [`Ahead::changed`].
    pub changed: Signal<In, Bit>,
    /// Packet memory: read.
    pub mem_re: Signal<In, Bit>,
    /// Packet memory: word address.
    pub mem_addr: Signal<In, Bits<WORD_BITS>>,
    /// Packet memory: the word, one cycle later.
    pub mem_data: Signal<Out, Bits<64>>,
    /// Packet memory comes back, oldest frame first.
    pub free_valid: Signal<In, Bit>,
    /// Its size, bytes, a multiple of 8.
    pub free_len: Signal<In, Bits<16>>,
    /// Pulse: a frame from the MAC ended, kept or dropped.
    pub cnt_frame: Signal<Out, Bit>,
    /// Its length, bytes.
    pub cnt_bytes: Signal<Out, Bits<16>>,
    /// Pulse: `CNT_DROP_BAD_FRAME`.
    pub cnt_drop_bad: Signal<Out, Bit>,
    /// Pulse: `CNT_DROP_TOO_LONG`.
    pub cnt_drop_too_long: Signal<Out, Bit>,
    /// Pulse: `CNT_DROP_OVERRUN`.
    pub cnt_drop_overrun: Signal<Out, Bit>,
    /// No frame is on its way to the dispatcher.
    pub idle: Signal<Out, Bit>,
    /// `HASH_KEY_LO` and `_HI`.
    pub hash_key: Signal<In, Bits<64>>,
    /// See [`FlowHash::filled`].
    pub mix_filled: Signal<Out, Bit>,
    /// See [`FlowHash::mix_valid`].
    pub mix_valid: Signal<In, Bit>,
    /// See [`FlowHash::mix_ready`].
    pub mix_ready: Signal<Out, Bit>,
    /// See [`FlowHash::mix_x`].
    pub mix_x: Signal<In, Bits<32>>,
    /// See [`FlowHash::mix_y`].
    pub mix_y: Signal<Out, Bits<32>>,
    stream: RxStream<MAX>,
    parse: RxParse,
    scanner: RxOptions,
    hash: FlowHash,
    ahead: Ahead,
    packets: SdpRam<Bits<64>, WORD_BITS>,
    metas: Fifo<FrameMeta, METAS_LOG2, { METAS_LOG2 + 1 }>,
}

#[kernel]
impl<const MAX: usize> Logic for Rx<MAX> {
    fn update(&mut self) {
        clock!(self, clock, stream, parse, scanner, hash, ahead, packets, metas);
        reset!(self, reset, stream, parse, hash, ahead, metas);
        self.stream.enable.next = self.enable.val();
        self.stream.s_axis_tdata.next = self.s_axis_tdata.val();
        self.stream.s_axis_tkeep.next = self.s_axis_tkeep.val();
        self.stream.s_axis_tvalid.next = self.s_axis_tvalid.val();
        self.stream.s_axis_tlast.next = self.s_axis_tlast.val();
        self.stream.s_axis_tuser.next = self.s_axis_tuser.val();
        self.s_axis_tready.next = self.stream.s_axis_tready.val();
        self.stream.lb_tdata.next = self.lb_tdata.val();
        self.stream.lb_tkeep.next = self.lb_tkeep.val();
        self.stream.lb_tvalid.next = self.lb_tvalid.val();
        self.stream.lb_tlast.next = self.lb_tlast.val();
        self.lb_tready.next = self.stream.lb_tready.val();

        self.parse.mac.next = self.mac.val();
        self.parse.beat_valid.next = self.stream.beat_valid.val();
        self.parse.beat.next = self.stream.beat.val();
        self.scanner.beat_valid.next = self.stream.beat_valid.val();
        self.scanner.first.next = self.parse.first.val();
        self.scanner.words.next = self.parse.words.val();
        self.scanner.data_offset.next = self.parse.data_offset.val();
        self.parse.options.next = self.scanner.options.val();

        self.hash.enable.next = self.enable.val();
        self.hash.key.next = self.hash_key.val();
        self.hash.beat_valid.next = self.stream.beat_valid.val();
        self.hash.words.next = self.parse.words.val();
        self.hash.commit.next = self.stream.beat.val().commit;
        self.mix_filled.next = self.hash.filled.val();
        self.hash.mix_valid.next = self.mix_valid.val();
        self.mix_ready.next = self.hash.mix_ready.val();
        self.hash.mix_x.next = self.mix_x.val();
        self.mix_y.next = self.hash.mix_y.val();

        self.ahead.flow.next = self.parse.flow.val();
        self.ahead.described.next = self.parse.meta_valid.val();
        self.ahead.begun.next = self.hash.begun.val();
        self.ahead.hashed.next = self.hash.hashed.val();
        self.ahead.key_hash.next = self.hash.key_hash.val();
        self.ahead.ended.next = self.hash.ended.val();
        self.ahead.lost.next = self.hash.ended_lost.val();
        self.find_valid.next = self.ahead.find_valid.val();
        self.find_key.next = self.ahead.find_key.val();
        self.find_hash.next = self.ahead.find_hash.val();
        self.ahead.find_ready.next = self.find_ready.val();
        self.ahead.find_done.next = self.find_done.val();
        self.ahead.find_hit.next = self.find_hit.val();
        self.ahead.find_conn.next = self.find_conn.val();
        self.ahead.vlan.next = self.vlan.val();
        self.ahead.changed.next = self.changed.val();

        // The stream admits no more frames than the lists hold, so they always have room.
        let waits = self.metas.m_valid.val();
        let here = self.parse.meta_valid.val();
        let meta = if waits { self.metas.m_data.val() } else { self.parse.meta.val() };
        self.ahead.waits.next = waits || here;
        self.ahead.candidate.next = meta.candidate;
        let whole = self.ahead.ready.val();
        let answer = self.ahead.answer.val();
        let taken = whole && self.meta_ready.val();
        self.metas.s_valid.next = here && (waits || !taken);
        self.metas.s_data.next = self.parse.meta.val();
        self.meta_valid.next = whole;
        self.meta.next =
            FrameMeta { seg: RxSeg { conn: bit_cast::<16, 12>(answer.conn), ..meta.seg }, ..meta };
        self.meta_hit.next = answer.hit;
        self.metas.m_ready.next = taken;
        self.ahead.taken.next = taken;
        self.stream.meta_taken.next = taken;

        self.packets.we.next = self.stream.mem_we.val();
        self.packets.waddr.next = self.stream.mem_addr.val();
        self.packets.wdata.next = self.stream.mem_data.val();
        self.packets.re.next = self.mem_re.val();
        self.packets.raddr.next = self.mem_addr.val();
        self.mem_data.next = self.packets.rdata.val();
        self.stream.free_valid.next = self.free_valid.val();
        self.stream.free_len.next = self.free_len.val();

        self.cnt_frame.next = self.stream.cnt_frame.val();
        self.cnt_bytes.next = self.stream.cnt_bytes.val();
        self.cnt_drop_bad.next = self.stream.cnt_drop_bad.val();
        self.cnt_drop_too_long.next = self.stream.cnt_drop_too_long.val();
        self.cnt_drop_overrun.next = self.stream.cnt_drop_overrun.val();
        self.idle.next = self.stream.idle.val();
    }
}
