//! A load for PROTO alone: it takes over connections and rings their doorbells as fast as they are answered for.
//!
//! In the NIC nothing gives PROTO an event in every second clock for long: frames and register writes take longer. Here a doorbell always
//! waits, so that the rate is PROTO's own. `same`: all for one connection, else for eight in turn. The doorbells say nothing new, so
//! that no queue behind PROTO is ever the reason to wait.
//!
//! Latency: the connections are there after some 1000 clocks (`is_live`). Throughput: what is measured. Back-pressure: PROTO's.
//! Reset: no connection.
use super::engine::Engine;
use super::op::INITIATE;
use super::ops::RECORD;
use super::step::ESTABLISHED;
use crate::mirror::TcpRecord;
use crate::prelude::*;
use crate::types::{
    ConnOp, Doorbell, Millis, PathMtu, ReadBeat, RxSeg, TcpParams, TxDone, WriteCmd, WriteDone,
};

/// log2 of the connections.
const LOG2: usize = 3;
const CONNS: u64 = 1 << LOG2;
/// A record without its lowest beat.
const REST: usize = RECORD - 64;
const MTU: u64 = 1500;
const MSS: u64 = 1460;

/// The block.
#[derive(LogicBlock, Default)]
pub struct EventRate {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Reset.
    pub reset: Signal<In, Bit>,
    /// All doorbells are for connection 0.
    pub same: Signal<In, Bit>,
    /// All connections are taken over, and doorbells ring.
    pub is_live: Signal<Out, Bit>,
    /// Doorbells that PROTO took.
    pub events: Signal<Out, Bits<32>>,
    /// Doorbells, connections among them, that it did not believe: none.
    pub refused: Signal<Out, Bits<32>>,
    engine: Engine<LOG2, 8, 6, 1, 0>,
    conn: Dff<Bits<16>>,
    begun: Dff<Bit>,
    image: Dff<Bits<RECORD>>,
    turn: Dff<Bits<LOG2>>,
    taken: Dff<Bits<32>>,
    bad: Dff<Bits<32>>,
    written: Dff<WriteDone>,
    is_written: Dff<Bit>,
    is_told: Dff<Bit>,
    sent: Dff<TxDone>,
    is_sent: Dff<Bit>,
}

/// A connection with nothing to do.
#[kernel]
fn record() -> TcpRecord {
    TcpRecord {
        tcp_state: bits::<8>(ESTABLISHED),
        eff_mss: bits::<16>(MSS),
        send_ring_log2: bits::<8>(1),
        recv_ring_log2: bits::<8>(1),
        ..TcpRecord::default()
    }
}

#[kernel]
impl Logic for EventRate {
    fn update(&mut self) {
        dff_setup!(
            self, clock, conn, begun, image, turn, taken, bad, written, is_written, is_told, sent, is_sent
        );
        clock!(self, clock, engine);
        reset!(self, reset, engine);
        let live = self.conn.q.val() == CONNS;
        self.is_live.next = live;
        self.events.next = self.taken.q.val();
        self.refused.next = self.bad.q.val();

        // The connections, one after the other.
        let generation = bits::<8>(1);
        let opcode = bits::<8>(INITIATE);
        self.engine.op.next = ConnOp { opcode, conn: self.conn.q.val(), generation, ..ConnOp::default() };
        self.engine.op_valid.next = !live && !self.begun.q.val();
        self.engine.op_in.next = self.image.q.val().get_bits::<64>(0);
        self.engine.op_in_valid.next = true;
        self.engine.op_out_ready.next = true;
        if !self.begun.q.val() {
            self.begun.d.next = !live && self.engine.op_ready.val();
            self.image.d.next = pack::<RECORD, TcpRecord>(record());
        } else if self.engine.op_in_ready.val() {
            self.image.d.next = bit_cast::<RECORD, REST>(self.image.q.val().get_bits::<REST>(64));
        }
        self.engine.op_done_ready.next = true;
        let refused = self.engine.op_done_valid.val() && self.engine.op_done.val().status != 0;
        if self.engine.op_done_valid.val() {
            self.begun.d.next = false;
            self.conn.d.next = self.conn.q.val() + 1;
        }

        // The doorbells.
        let at = if self.same.val() { bits::<LOG2>(0) } else { self.turn.q.val() };
        self.engine.doorbell.next =
            Doorbell { conn: bit_cast::<16, LOG2>(at), generation, ..Doorbell::default() };
        self.engine.doorbell_valid.next = live;
        let rings = live && self.engine.doorbell_ready.val();
        self.turn.d.next = self.turn.q.val() + rings;
        self.taken.d.next = self.taken.q.val() + rings;
        let counts = self.engine.counts.val();
        self.bad.d.next = self.bad.q.val() + (refused || counts.stale || counts.bad_request);

        // Everything around PROTO takes what comes and answers a clock later.
        self.engine.enable.next = true;
        self.engine.now_us.next = bits::<32>(0);
        self.engine.millis.next = Millis::default();
        self.engine.params.next = TcpParams::default();
        let mtu = bits::<16>(MTU);
        self.engine.path_mtu.next = PathMtu { valid: true, path: bits::<16>(0), mtu, v6: false };
        self.engine.rx_seg.next = RxSeg::default();
        self.engine.rx_seg_valid.next = false;
        self.engine.turn.next = false;
        let cmd: WriteCmd = self.engine.write_cmd.val();
        self.engine.write_cmd_ready.next = true;
        self.is_written.d.next = self.engine.write_cmd_valid.val() && cmd.notify;
        self.written.d.next = WriteDone { tag: cmd.tag, error: false };
        self.engine.write_done.next = self.written.q.val();
        self.engine.write_done_valid.next = self.is_written.q.val();
        self.engine.event_cmd_ready.next = true;
        self.is_told.d.next = self.engine.event_cmd_valid.val();
        self.engine.event_done.next = WriteDone::default();
        self.engine.event_done_valid.next = self.is_told.q.val();
        self.engine.tx_job_ready.next = true;
        self.is_sent.d.next = self.engine.tx_job_valid.val();
        self.sent.d.next = TxDone { conn: self.engine.tx_job.val().conn, result: bits::<2>(0) };
        self.engine.tx_done.next = self.sent.q.val();
        self.engine.tx_done_valid.next = self.is_sent.q.val();
        self.engine.post_req_ready.next = false;
        self.engine.post_beat.next = ReadBeat::default();
        self.engine.post_beat_valid.next = false;
        self.engine.pool_req_ready.next = false;
        self.engine.pool_beat.next = ReadBeat::default();
        self.engine.pool_beat_valid.next = false;
        self.engine.pool_ring.next = bits::<64>(0);
        self.engine.pool_log2.next = bits::<8>(1);
        self.engine.pool_producer.next = bits::<16>(0);
        self.engine.event_ring.next = bits::<64>(0);
        self.engine.event_log2.next = bits::<8>(LOG2 as u64 + 1);
        self.engine.event_consumer.next = bits::<16>(0);
        dff_reset!(self, reset, conn, begun, turn, taken, bad, is_written, is_told, is_sent);
    }
}
