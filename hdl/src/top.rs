//! The NIC: instances and wiring only, flat port names.
//!
//! ```text
//!   s_axil -> csr ---> doorbells ----------> engine (PROTO) <--> commands <-- command ring
//!   s_axis -> rx ---> dispatch -------------^ |  ^                |  `-> lookup, transmit's tables
//!     lb --^ `-> lookup |                     |  |                v
//!                       +--> write engine <---+  |              status
//!                              m_axi W        transmit <--- ordinary TX ring
//!             read arbiter -> m_axi R            `-> m_axis, lb
//! ```
//! Bursts are INCR of 8-byte beats; reads carry the client's number as ID, writes ID 0. Everything but the register
//! block is reset by `csr.soft_reset`, which comes only when no DMA is outstanding.
//!
//! `CONN`: log2 of connections, `TABLE`: log2 of paths and of neighbors; `OBJ` = `TABLE` + 1, `MAP` = `CONN` + 5,
//! `HASH`: log2 of the buckets of a lookup table, at least `CONN` - 1; `ROW` = `CONN` + 1, `CUBIC` = `CONN` + 3. `EARLY` = 0; 1 makes the copy that acknowledges what is not durable yet, which tests must catch.
use crate::eth::rx::Rx;
use crate::host::counters::{counter, ENGINE, ENGINE_BITS, ENGINE_ONES};
use crate::host::csr::Csr;
use crate::host::dispatch::Dispatch;
use crate::host::dma_read::ReadArbiter;
use crate::host::dma_write::{WriteEngine, CLIENT_COMMAND, CLIENT_EVENTS, CLIENT_ORD_RX, CLIENT_PROTO};
use crate::host::mailbox::Mailbox;
use crate::host::status::{Consumers, Status};
use crate::host::vlans::{conn_path, path_vlan, Vlans};
use crate::prelude::*;
use crate::tcp::lookup::Lookup;
use crate::tcp::proto::engine::Engine;
use crate::tcp::tx::tables::path_mtu;
use crate::tcp::tx::transmit::Transmit;
use crate::types::EngineCounts;
use chimney_abi::desc::RX_BUFFER_BYTES;
use chimney_abi::regs;

/// Clients of the read arbiter; the number is the AXI ID.
const READERS: usize = 8;
const READ_COMMAND: usize = 0;
const READ_TX_RING: usize = 1;
const READ_SEND_RING: usize = 2;
const READ_PAYLOAD: usize = 3;
const READ_RX_RING: usize = 4;
const READ_POSTS: usize = 5;
const READ_POOL: usize = 6;
const READ_IMAGES: usize = 7;
/// `AxSIZE` of 8-byte beats.
const SIZE_8: u64 = 3;
/// `AxBURST`: incrementing.
const INCR: u64 = 1;

const RX_FRAMES: usize = counter(&regs::CNT_RX_FRAMES);
const RX_BYTES: usize = counter(&regs::CNT_RX_BYTES);
const TX_FRAMES: usize = counter(&regs::CNT_TX_FRAMES);
const TX_BYTES: usize = counter(&regs::CNT_TX_BYTES);
const RX_OFFLOADED: usize = counter(&regs::CNT_RX_OFFLOADED);
const RX_OFFLOADED_BYTES: usize = counter(&regs::CNT_RX_OFFLOADED_BYTES);
const TX_OFFLOADED: usize = counter(&regs::CNT_TX_OFFLOADED);
const TX_OFFLOADED_BYTES: usize = counter(&regs::CNT_TX_OFFLOADED_BYTES);
const RETRANSMITS: usize = counter(&regs::CNT_RETRANSMITS);
const DROP_BAD_FRAME: usize = counter(&regs::CNT_DROP_BAD_FRAME);
const DROP_TOO_LONG: usize = counter(&regs::CNT_DROP_TOO_LONG);
const DROP_OVERRUN: usize = counter(&regs::CNT_DROP_OVERRUN);
const DROP_NO_BUFFER: usize = counter(&regs::CNT_DROP_NO_BUFFER);
const STALE: usize = counter(&regs::CNT_STALE);
const BAD_REQUEST: usize = counter(&regs::CNT_BAD_REQUEST);

/// The NIC. See the module page.
#[derive(LogicBlock, Default)]
pub struct Nic<
    const CONN: usize,
    const TABLE: usize,
    const OBJ: usize,
    const MAP: usize,
    const HASH: usize,
    const ROW: usize,
    const CUBIC: usize,
    const EARLY: usize,
> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Power-on reset, synchronous, active high.
    pub reset: Signal<In, Bit>,
    /// Interrupt, level.
    pub irq: Signal<Out, Bit>,
    /// Registers: write address.
    pub s_axil_awaddr: Signal<In, Bits<20>>,
    /// Registers: AW valid.
    pub s_axil_awvalid: Signal<In, Bit>,
    /// Registers: AW ready.
    pub s_axil_awready: Signal<Out, Bit>,
    /// Registers: write data.
    pub s_axil_wdata: Signal<In, Bits<32>>,
    /// Registers: strobes; whole words are written whatever they say.
    pub s_axil_wstrb: Signal<In, Bits<4>>,
    /// Registers: W valid.
    pub s_axil_wvalid: Signal<In, Bit>,
    /// Registers: W ready.
    pub s_axil_wready: Signal<Out, Bit>,
    /// Registers: write response.
    pub s_axil_bresp: Signal<Out, Bits<2>>,
    /// Registers: B valid.
    pub s_axil_bvalid: Signal<Out, Bit>,
    /// Registers: B ready.
    pub s_axil_bready: Signal<In, Bit>,
    /// Registers: read address.
    pub s_axil_araddr: Signal<In, Bits<20>>,
    /// Registers: AR valid.
    pub s_axil_arvalid: Signal<In, Bit>,
    /// Registers: AR ready.
    pub s_axil_arready: Signal<Out, Bit>,
    /// Registers: read data.
    pub s_axil_rdata: Signal<Out, Bits<32>>,
    /// Registers: read response.
    pub s_axil_rresp: Signal<Out, Bits<2>>,
    /// Registers: R valid.
    pub s_axil_rvalid: Signal<Out, Bit>,
    /// Registers: R ready.
    pub s_axil_rready: Signal<In, Bit>,
    /// Host memory: read ID.
    pub m_axi_arid: Signal<Out, Bits<4>>,
    /// Host memory: read address.
    pub m_axi_araddr: Signal<Out, Bits<64>>,
    /// Host memory: beats minus one.
    pub m_axi_arlen: Signal<Out, Bits<8>>,
    /// Host memory: 8 bytes a beat.
    pub m_axi_arsize: Signal<Out, Bits<3>>,
    /// Host memory: INCR.
    pub m_axi_arburst: Signal<Out, Bits<2>>,
    /// Host memory: AR valid.
    pub m_axi_arvalid: Signal<Out, Bit>,
    /// Host memory: AR ready.
    pub m_axi_arready: Signal<In, Bit>,
    /// Host memory: ID of the read data.
    pub m_axi_rid: Signal<In, Bits<4>>,
    /// Host memory: read data.
    pub m_axi_rdata: Signal<In, Bits<64>>,
    /// Host memory: read response.
    pub m_axi_rresp: Signal<In, Bits<2>>,
    /// Host memory: last beat.
    pub m_axi_rlast: Signal<In, Bit>,
    /// Host memory: R valid.
    pub m_axi_rvalid: Signal<In, Bit>,
    /// Host memory: R ready.
    pub m_axi_rready: Signal<Out, Bit>,
    /// Host memory: write ID.
    pub m_axi_awid: Signal<Out, Bits<4>>,
    /// Host memory: write address.
    pub m_axi_awaddr: Signal<Out, Bits<64>>,
    /// Host memory: beats minus one.
    pub m_axi_awlen: Signal<Out, Bits<8>>,
    /// Host memory: 8 bytes a beat.
    pub m_axi_awsize: Signal<Out, Bits<3>>,
    /// Host memory: INCR.
    pub m_axi_awburst: Signal<Out, Bits<2>>,
    /// Host memory: AW valid.
    pub m_axi_awvalid: Signal<Out, Bit>,
    /// Host memory: AW ready.
    pub m_axi_awready: Signal<In, Bit>,
    /// Host memory: write data.
    pub m_axi_wdata: Signal<Out, Bits<64>>,
    /// Host memory: strobes.
    pub m_axi_wstrb: Signal<Out, Bits<8>>,
    /// Host memory: last beat.
    pub m_axi_wlast: Signal<Out, Bit>,
    /// Host memory: W valid.
    pub m_axi_wvalid: Signal<Out, Bit>,
    /// Host memory: W ready.
    pub m_axi_wready: Signal<In, Bit>,
    /// Host memory: ID of the response; always ours.
    pub m_axi_bid: Signal<In, Bits<4>>,
    /// Host memory: write response, given when the data is visible.
    pub m_axi_bresp: Signal<In, Bits<2>>,
    /// Host memory: B valid.
    pub m_axi_bvalid: Signal<In, Bit>,
    /// Host memory: B ready.
    pub m_axi_bready: Signal<Out, Bit>,
    /// From the MAC: data, first byte in bits 7:0.
    pub s_axis_tdata: Signal<In, Bits<64>>,
    /// From the MAC: bytes that count.
    pub s_axis_tkeep: Signal<In, Bits<8>>,
    /// From the MAC: valid.
    pub s_axis_tvalid: Signal<In, Bit>,
    /// From the MAC: ready.
    pub s_axis_tready: Signal<Out, Bit>,
    /// From the MAC: last beat.
    pub s_axis_tlast: Signal<In, Bit>,
    /// From the MAC: bad frame, with `tlast`.
    pub s_axis_tuser: Signal<In, Bit>,
    /// To the MAC: data.
    pub m_axis_tdata: Signal<Out, Bits<64>>,
    /// To the MAC: bytes that count.
    pub m_axis_tkeep: Signal<Out, Bits<8>>,
    /// To the MAC: valid.
    pub m_axis_tvalid: Signal<Out, Bit>,
    /// To the MAC: ready.
    pub m_axis_tready: Signal<In, Bit>,
    /// To the MAC: last beat.
    pub m_axis_tlast: Signal<Out, Bit>,
    /// To the MAC: never a bad frame.
    pub m_axis_tuser: Signal<Out, Bit>,
    csr: Csr,
    rx: Rx<{ RX_BUFFER_BYTES as usize }>,
    lookup: Lookup<HASH, ROW>,
    dispatch: Dispatch,
    vlans: Vlans<CONN, TABLE>,
    writes: WriteEngine,
    reads: ReadArbiter<READERS>,
    proto: Engine<CONN, MAP, CUBIC, TABLE, EARLY>,
    transmit: Transmit<CONN, TABLE>,
    commands: Mailbox<CONN, TABLE, OBJ>,
    status: Status,
}

/// A counter's step of 0 or 1.
#[kernel]
fn one(b: bool) -> Bits<16> {
    bit_cast::<16, 1>(b.into())
}

/// A counter's step of `n` if `b`.
#[kernel]
fn many(b: bool, n: Bits<16>) -> Bits<16> {
    if b {
        n
    } else {
        bits::<16>(0)
    }
}

#[kernel]
impl<
        const CONN: usize,
        const TABLE: usize,
        const OBJ: usize,
        const MAP: usize,
        const HASH: usize,
        const ROW: usize,
        const CUBIC: usize,
        const EARLY: usize,
    > Logic for Nic<CONN, TABLE, OBJ, MAP, HASH, ROW, CUBIC, EARLY>
{
    fn update(&mut self) {
        clock!(self, clock, csr, rx, lookup, dispatch, vlans, writes);
        clock!(self, clock, reads, proto, transmit, commands, status);
        self.csr.reset.next = self.reset.val();
        let soft = self.csr.soft_reset.val();
        self.rx.reset.next = soft;
        self.lookup.reset.next = soft;
        self.dispatch.reset.next = soft;
        self.writes.reset.next = soft;
        self.reads.reset.next = soft;
        self.proto.reset.next = soft;
        self.transmit.reset.next = soft;
        self.commands.reset.next = soft;
        self.status.reset.next = soft;
        let rings = self.csr.rings.val();
        let params = self.csr.params.val();
        let now_us = self.csr.now_us.val().get_bits::<32>(0);

        // Registers.
        self.csr.s_axil.awaddr.next = self.s_axil_awaddr.val();
        self.csr.s_axil.awvalid.next = self.s_axil_awvalid.val();
        self.s_axil_awready.next = self.csr.s_axil.awready.val();
        self.csr.s_axil.wdata.next = self.s_axil_wdata.val();
        self.csr.s_axil.wstrb.next = self.s_axil_wstrb.val();
        self.csr.s_axil.wvalid.next = self.s_axil_wvalid.val();
        self.s_axil_wready.next = self.csr.s_axil.wready.val();
        self.s_axil_bresp.next = self.csr.s_axil.bresp.val();
        self.s_axil_bvalid.next = self.csr.s_axil.bvalid.val();
        self.csr.s_axil.bready.next = self.s_axil_bready.val();
        self.csr.s_axil.araddr.next = self.s_axil_araddr.val();
        self.csr.s_axil.arvalid.next = self.s_axil_arvalid.val();
        self.s_axil_arready.next = self.csr.s_axil.arready.val();
        self.s_axil_rdata.next = self.csr.s_axil.rdata.val();
        self.s_axil_rresp.next = self.csr.s_axil.rresp.val();
        self.s_axil_rvalid.next = self.csr.s_axil.rvalid.val();
        self.csr.s_axil.rready.next = self.s_axil_rready.val();
        self.irq.next = self.csr.irq.val();
        self.csr.conn_log2.next = bits::<8>(CONN as u64);
        self.csr.table_log2.next = bits::<8>(TABLE as u64);
        self.csr.idle.next = self.rx.idle.val()
            && self.dispatch.idle.val()
            && self.writes.idle.val()
            && !self.reads.outstanding.val().any()
            && self.proto.idle.val()
            && self.transmit.idle.val()
            && self.commands.idle.val()
            && self.status.idle.val();
        self.csr.cause.next = cat::<4, _>((
            self.commands.irq_cmd.val(),
            self.status.irq_tx.val(),
            self.dispatch.irq_rx.val(),
            self.proto.irq_event.val(),
        ));

        // Receive path.
        self.rx.enable.next = rings.enable;
        self.rx.mac.next = rings.mac;
        self.rx.s_axis_tdata.next = self.s_axis_tdata.val();
        self.rx.s_axis_tkeep.next = self.s_axis_tkeep.val();
        self.rx.s_axis_tvalid.next = self.s_axis_tvalid.val();
        self.rx.s_axis_tlast.next = self.s_axis_tlast.val();
        self.rx.s_axis_tuser.next = self.s_axis_tuser.val();
        self.s_axis_tready.next = self.rx.s_axis_tready.val();
        self.rx.lb_tdata.next = self.transmit.lb_tdata.val();
        self.rx.lb_tkeep.next = self.transmit.lb_tkeep.val();
        self.rx.lb_tvalid.next = self.transmit.lb_tvalid.val();
        self.rx.lb_tlast.next = self.transmit.lb_tlast.val();
        self.transmit.lb_tready.next = self.rx.lb_tready.val();
        self.rx.mem_re.next = self.writes.mem_re.val();
        self.rx.mem_addr.next = self.writes.mem_addr.val();
        self.writes.mem_data.next = self.rx.mem_data.val();
        self.rx.free_valid.next = self.writes.free_valid.val();
        self.rx.free_len.next = self.writes.free_len.val();
        self.dispatch.enable.next = rings.enable;
        self.dispatch.meta_valid.next = self.rx.meta_valid.val();
        self.dispatch.meta.next = self.rx.meta.val();
        self.rx.meta_ready.next = self.dispatch.meta_ready.val();
        self.dispatch.rx_base.next = rings.rx_base;
        self.dispatch.rx_done_base.next = rings.rx_done_base;
        self.dispatch.rx_log2.next = rings.rx_log2.get_bits::<4>(0);
        self.dispatch.rx_producer.next = rings.rx_producer;
        self.rx.hash_key.next = rings.hash_key;
        self.dispatch.meta_hit.next = self.rx.meta_hit.val();
        self.lookup.mix_filled.next = self.rx.mix_filled.val();
        self.rx.mix_valid.next = self.lookup.mix_valid.val();
        self.rx.mix_x.next = self.lookup.mix_x.val();
        self.lookup.mix_ready.next = self.rx.mix_ready.val();
        self.lookup.mix_y.next = self.rx.mix_y.val();
        self.lookup.find_hash.next = self.rx.find_hash.val();
        self.lookup.find_valid.next = self.rx.find_valid.val();
        self.lookup.find_key.next = self.rx.find_key.val();
        self.rx.find_ready.next = self.lookup.find_ready.val();
        self.rx.find_done.next = self.lookup.find_done.val();
        self.rx.find_hit.next = self.lookup.find_hit.val();
        self.rx.find_conn.next = self.lookup.find_conn.val();
        self.vlans.look.next = self.lookup.find_looks.val();
        self.vlans.conn.next = self.lookup.find_conn.val();
        self.rx.vlan.next = self.vlans.vlan.val();
        self.lookup.op_valid.next = self.commands.lookup_valid.val();
        self.lookup.op.next = self.commands.lookup.val();
        self.commands.lookup_done.next = self.lookup.op_done.val();
        self.commands.lookup_ok.next = self.lookup.op_ok.val();
        self.commands.lookup_known.next = self.lookup.op_known.val();

        // Engine.
        self.proto.enable.next = rings.enable;
        self.proto.now_us.next = now_us;
        self.proto.millis.next = self.csr.millis.val();
        self.proto.params.next = params;
        self.proto.rx_seg.next = self.dispatch.seg.val();
        self.proto.rx_seg_valid.next = self.dispatch.seg_valid.val();
        self.dispatch.seg_ready.next = self.proto.rx_seg_ready.val();
        self.dispatch.verdict_valid.next = self.proto.verdict_valid.val();
        self.dispatch.verdict_handed_up.next = self.proto.verdict_handed_up.val();
        self.proto.turn.next = self.dispatch.turn.val();
        self.proto.doorbell.next = self.csr.doorbell.val();
        self.proto.doorbell_valid.next = self.csr.doorbell_valid.val();
        self.csr.doorbell_ready.next = self.proto.doorbell_ready.val();
        self.proto.op.next = self.commands.op.val();
        self.proto.op_valid.next = self.commands.op_valid.val();
        self.commands.op_ready.next = self.proto.op_ready.val();
        self.proto.op_in.next = self.commands.op_in.val();
        self.proto.op_in_valid.next = self.commands.op_in_valid.val();
        self.commands.op_in_ready.next = self.proto.op_in_ready.val();
        self.commands.op_out.next = self.proto.op_out.val();
        self.commands.op_out_valid.next = self.proto.op_out_valid.val();
        self.proto.op_out_ready.next = self.commands.op_out_ready.val();
        self.commands.op_out_tag.next = self.proto.op_out_tag.val();
        self.commands.op_done.next = self.proto.op_done.val();
        self.commands.op_done_valid.next = self.proto.op_done_valid.val();
        self.proto.op_done_ready.next = self.commands.op_done_ready.val();
        self.proto.pool_ring.next = rings.pool_ring;
        self.proto.pool_log2.next = rings.pool_log2;
        self.proto.pool_producer.next = rings.pool_producer;
        self.proto.event_ring.next = rings.event_base;
        self.proto.event_log2.next = rings.event_log2;
        self.proto.event_consumer.next = rings.event_consumer;

        // Transmitter.
        self.transmit.enable.next = rings.enable;
        self.transmit.mac.next = rings.mac;
        self.transmit.job.next = self.proto.tx_job.val();
        self.transmit.job_valid.next = self.proto.tx_job_valid.val();
        self.proto.tx_job_ready.next = self.transmit.job_ready.val();
        self.proto.tx_done.next = self.transmit.done.val();
        self.proto.tx_done_valid.next = self.transmit.done_valid.val();
        self.transmit.done_ready.next = self.proto.tx_done_ready.val();
        self.transmit.table_op.next = self.commands.table_op.val();
        self.transmit.table_op_valid.next = self.commands.table_valid.val();
        self.commands.table_ready.next = self.transmit.table_op_ready.val();
        self.commands.table_counter.next = self.transmit.table_counter.val();
        let table = self.commands.table_op.val();
        let stores = self.commands.table_valid.val() && self.transmit.table_op_ready.val();
        self.proto.path_mtu.next = path_mtu(stores, table);
        let moved = path_vlan(stores, table);
        self.vlans.path_vlan.next = moved;
        // Answers of the lookup say whether a frame has its neighbor's tag.
        self.rx.changed.next = self.lookup.changes.val() || moved.valid;
        // PROTO has taken the connection, the lookup is about to.
        self.vlans.conn_path.next = conn_path(
            self.commands.lookup_valid.val(),
            self.commands.lookup.val(),
            self.commands.lookup_path.val(),
        );
        self.transmit.tx_base.next = rings.tx_base;
        self.transmit.tx_log2.next = rings.tx_log2;
        self.transmit.tx_producer.next = rings.tx_producer;
        self.m_axis_tdata.next = self.transmit.m_axis_tdata.val();
        self.m_axis_tkeep.next = self.transmit.m_axis_tkeep.val();
        self.m_axis_tvalid.next = self.transmit.m_axis_tvalid.val();
        self.m_axis_tlast.next = self.transmit.m_axis_tlast.val();
        self.m_axis_tuser.next = false;
        self.transmit.m_axis_tready.next = self.m_axis_tready.val();

        // Commands and status.
        self.commands.rings.next = rings;
        self.commands.page_map_base.next = params.page_map_base;
        self.commands.done_valid.next = self.status.s_done_valid.val();
        self.commands.done.next = self.writes.done[CLIENT_COMMAND].val();
        self.status.enable.next = rings.enable;
        self.status.base.next = rings.status_base;
        self.status.now_us.next = now_us;
        self.status.consumers.next = Consumers {
            tx: self.transmit.tx_consumer.val(),
            pool: self.proto.pool_consumer.val(),
            cmd: self.commands.consumer.val(),
            rx: self.dispatch.rx_consumer.val(),
        };
        self.status.s_valid.next = self.commands.write_valid.val();
        self.status.s_cmd.next = self.commands.write.val();
        self.commands.write_ready.next = self.status.s_ready.val();
        self.status.done_valid.next = self.writes.done_valid[CLIENT_COMMAND].val();
        self.status.done.next = self.writes.done[CLIENT_COMMAND].val();
        self.status.ring_lost.next = self.writes.ring_lost.val();

        // Writes.
        self.writes.cmd[CLIENT_PROTO].next = self.proto.write_cmd.val();
        self.writes.cmd_valid[CLIENT_PROTO].next = self.proto.write_cmd_valid.val();
        self.proto.write_cmd_ready.next = self.writes.cmd_ready[CLIENT_PROTO].val();
        self.proto.write_done.next = self.writes.done[CLIENT_PROTO].val();
        self.proto.write_done_valid.next = self.writes.done_valid[CLIENT_PROTO].val();
        self.writes.cmd[CLIENT_ORD_RX].next = self.dispatch.cmd.val();
        self.writes.cmd_valid[CLIENT_ORD_RX].next = self.dispatch.cmd_valid.val();
        self.dispatch.cmd_ready.next = self.writes.cmd_ready[CLIENT_ORD_RX].val();
        self.dispatch.done.next = self.writes.done[CLIENT_ORD_RX].val();
        self.dispatch.done_valid.next = self.writes.done_valid[CLIENT_ORD_RX].val();
        self.writes.cmd[CLIENT_EVENTS].next = self.proto.event_cmd.val();
        self.writes.cmd_valid[CLIENT_EVENTS].next = self.proto.event_cmd_valid.val();
        self.proto.event_cmd_ready.next = self.writes.cmd_ready[CLIENT_EVENTS].val();
        self.proto.event_done.next = self.writes.done[CLIENT_EVENTS].val();
        self.proto.event_done_valid.next = self.writes.done_valid[CLIENT_EVENTS].val();
        self.writes.cmd[CLIENT_COMMAND].next = self.status.cmd.val();
        self.writes.cmd_valid[CLIENT_COMMAND].next = self.status.cmd_valid.val();
        self.status.cmd_ready.next = self.writes.cmd_ready[CLIENT_COMMAND].val();
        self.m_axi_awid.next = bits::<4>(0);
        self.m_axi_awaddr.next = self.writes.awaddr.val();
        self.m_axi_awlen.next = self.writes.awlen.val();
        self.m_axi_awsize.next = bits::<3>(SIZE_8);
        self.m_axi_awburst.next = bits::<2>(INCR);
        self.m_axi_awvalid.next = self.writes.awvalid.val();
        self.writes.awready.next = self.m_axi_awready.val();
        self.m_axi_wdata.next = self.writes.wdata.val();
        self.m_axi_wstrb.next = self.writes.wstrb.val();
        self.m_axi_wlast.next = self.writes.wlast.val();
        self.m_axi_wvalid.next = self.writes.wvalid.val();
        self.writes.wready.next = self.m_axi_wready.val();
        self.writes.bresp.next = self.m_axi_bresp.val();
        self.writes.bvalid.next = self.m_axi_bvalid.val();
        self.m_axi_bready.next = self.writes.bready.val();

        // Reads.
        self.reads.req[READ_COMMAND].next = self.commands.req.val();
        self.reads.req_valid[READ_COMMAND].next = self.commands.req_valid.val();
        self.commands.req_ready.next = self.reads.req_ready[READ_COMMAND].val();
        self.commands.beat_valid.next = self.reads.beat_valid[READ_COMMAND].val();
        self.reads.req[READ_IMAGES].next = self.commands.image_req.val();
        self.reads.req_valid[READ_IMAGES].next = self.commands.image_req_valid.val();
        self.commands.image_req_ready.next = self.reads.req_ready[READ_IMAGES].val();
        self.commands.image_beat_valid.next = self.reads.beat_valid[READ_IMAGES].val();
        self.reads.req[READ_TX_RING].next = self.transmit.ord_req.val();
        self.reads.req_valid[READ_TX_RING].next = self.transmit.ord_req_valid.val();
        self.transmit.ord_req_ready.next = self.reads.req_ready[READ_TX_RING].val();
        self.transmit.ord_beat_valid.next = self.reads.beat_valid[READ_TX_RING].val();
        self.reads.req[READ_SEND_RING].next = self.transmit.desc_req.val();
        self.reads.req_valid[READ_SEND_RING].next = self.transmit.desc_req_valid.val();
        self.transmit.desc_req_ready.next = self.reads.req_ready[READ_SEND_RING].val();
        self.transmit.desc_beat_valid.next = self.reads.beat_valid[READ_SEND_RING].val();
        self.reads.req[READ_PAYLOAD].next = self.transmit.payload_req.val();
        self.reads.req_valid[READ_PAYLOAD].next = self.transmit.payload_req_valid.val();
        self.transmit.payload_req_ready.next = self.reads.req_ready[READ_PAYLOAD].val();
        self.transmit.payload_beat_valid.next = self.reads.beat_valid[READ_PAYLOAD].val();
        self.reads.req[READ_RX_RING].next = self.dispatch.read.val();
        self.reads.req_valid[READ_RX_RING].next = self.dispatch.read_valid.val();
        self.dispatch.read_ready.next = self.reads.req_ready[READ_RX_RING].val();
        self.dispatch.beat_valid.next = self.reads.beat_valid[READ_RX_RING].val();
        self.reads.req[READ_POSTS].next = self.proto.post_req.val();
        self.reads.req_valid[READ_POSTS].next = self.proto.post_req_valid.val();
        self.proto.post_req_ready.next = self.reads.req_ready[READ_POSTS].val();
        self.proto.post_beat_valid.next = self.reads.beat_valid[READ_POSTS].val();
        self.reads.req[READ_POOL].next = self.proto.pool_req.val();
        self.reads.req_valid[READ_POOL].next = self.proto.pool_req_valid.val();
        self.proto.pool_req_ready.next = self.reads.req_ready[READ_POOL].val();
        self.proto.pool_beat_valid.next = self.reads.beat_valid[READ_POOL].val();
        let beat = self.reads.beat.val();
        self.commands.beat.next = beat;
        self.transmit.beat.next = beat;
        self.dispatch.beat.next = beat;
        self.proto.post_beat.next = beat;
        self.proto.pool_beat.next = beat;
        let mut is_beat = false;
        for i in 0..READERS {
            if self.reads.beat_valid[i].val() {
                is_beat = true;
            }
        }
        self.csr.dma_error.next = self.writes.dma_error.val() || is_beat && beat.error;
        self.reads.m_axi.arready.next = self.m_axi_arready.val();
        self.reads.m_axi.rid.next = self.m_axi_rid.val();
        self.reads.m_axi.rdata.next = self.m_axi_rdata.val();
        self.reads.m_axi.rresp.next = self.m_axi_rresp.val();
        self.reads.m_axi.rlast.next = self.m_axi_rlast.val();
        self.reads.m_axi.rvalid.next = self.m_axi_rvalid.val();
        self.m_axi_arid.next = self.reads.m_axi.arid.val();
        self.m_axi_araddr.next = self.reads.m_axi.araddr.val();
        self.m_axi_arlen.next = self.reads.m_axi.arlen.val();
        self.m_axi_arsize.next = bits::<3>(SIZE_8);
        self.m_axi_arburst.next = bits::<2>(INCR);
        self.m_axi_arvalid.next = self.reads.m_axi.arvalid.val();
        self.m_axi_rready.next = self.reads.m_axi.rready.val();

        // Counters.
        let engine = self.proto.counts.val();
        let tx = self.transmit.counts.val();
        let bits = pack::<ENGINE_BITS, EngineCounts>(engine);
        for i in ENGINE_ONES..ENGINE_BITS {
            self.csr.count[ENGINE[i - ENGINE_ONES]].next = one(bits.get_bit(i));
        }
        self.csr.count[RX_FRAMES].next = one(self.rx.cnt_frame.val());
        self.csr.count[RX_BYTES].next = many(self.rx.cnt_frame.val(), self.rx.cnt_bytes.val());
        self.csr.count[TX_FRAMES].next = one(tx.frame);
        self.csr.count[TX_BYTES].next = many(tx.frame, tx.bytes);
        self.csr.count[RX_OFFLOADED].next = one(engine.rx_offloaded);
        self.csr.count[RX_OFFLOADED_BYTES].next = many(engine.rx_offloaded, engine.rx_offloaded_bytes);
        self.csr.count[TX_OFFLOADED].next = one(tx.offloaded);
        self.csr.count[TX_OFFLOADED_BYTES].next = many(tx.offloaded, tx.bytes);
        self.csr.count[RETRANSMITS].next = one(tx.retransmit);
        self.csr.count[DROP_BAD_FRAME].next = one(self.rx.cnt_drop_bad.val());
        self.csr.count[DROP_TOO_LONG].next = one(self.rx.cnt_drop_too_long.val());
        self.csr.count[DROP_OVERRUN].next = one(self.rx.cnt_drop_overrun.val());
        self.csr.count[DROP_NO_BUFFER].next = one(self.dispatch.cnt_drop_no_buffer.val());
        self.csr.count[STALE].next = one(engine.stale) + one(self.commands.stale.val());
        self.csr.count[BAD_REQUEST].next =
            one(engine.bad_request) + one(tx.bad_request) + one(self.commands.bad_request.val());
    }
}
