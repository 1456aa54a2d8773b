//! The write engine: the only master of the AXI4 write channel.
//!
//! ```text
//!   4 clients --arbiter--> command queue --issue--> AW queue ------------------> AW
//!                                            |      packet memory -> realign --> W queue -> W
//!                                            `----> burst list --> report <----- B
//!                                                                     `--> WriteDone queue per client
//! ```
//! Commands are carried out in the order accepted, on one AXI ID, so the write response of a command says that
//! everything accepted before it is in host memory (law L2). Bursts are INCR of 8-byte beats and never cross a
//! 256-byte boundary. Up to 32 bursts are outstanding.
//!
//! | block | file | job |
//! |---|---|---|
//! | [`WriteArbiter`] | `dma_write.rs` | one command at a time, round robin |
//! | [`WriteIssue`] | `write_issue.rs` | bursts, packet memory reads, realignment, strobes |
//! | [`WriteReport`] | `write_report.rs` | the bus channels, responses, reports |
//!
//! Latency: 7 cycles from `cmd_valid` to `awvalid`. Throughput: one beat per clock within a command and 1 to 2 cycles more
//! per command; a client can hand in a command every second cycle. Back-pressure: `cmd_ready` when 8 commands wait. A report waits in
//! its client's queue (32 deep for PROTO, 8 for the others); a full one stops all reports, so a client must
//! not have more reports outstanding than that while it waits for its next command to be taken.
//! Reset: nothing remembered; the top resets only when `idle`, or the bus with it.
use crate::eth::rx_stream::WORD_BITS;
use crate::host::write_issue::WriteIssue;
use crate::host::write_report::WriteReport;
use crate::prelude::*;
use crate::stream::Fifo;
use crate::types::{WriteCmd, WriteDone};

/// Number of clients.
pub const CLIENTS: usize = 4;
/// Port of PROTO.
pub const CLIENT_PROTO: usize = 0;
/// Port of the dispatcher.
pub const CLIENT_ORD_RX: usize = 1;
/// Port of the event ring.
pub const CLIENT_EVENTS: usize = 2;
/// Port of the command block.
pub const CLIENT_COMMAND: usize = 3;

/// A command and the port it came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct ClientCmd {
    /// Port number.
    pub client: Bits<2>,
    /// The command.
    pub cmd: WriteCmd,
}

/// The next client after `last` that wants to be served; `last` if none does.
#[kernel]
fn next_client(want: Bits<4>, last: Bits<2>) -> Bits<2> {
    if want.get_bit((last + 1).index()) {
        last + 1
    } else if want.get_bit((last + 2).index()) {
        last + 2
    } else if want.get_bit((last + 3).index()) {
        last + 3
    } else {
        last
    }
}

/// Takes commands from the clients in turn. The grant is a register, so `cmd_ready` depends on no input.
#[derive(LogicBlock, Default)]
pub struct WriteArbiter {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Reset.
    pub reset: Signal<In, Bit>,
    /// Client i has a command.
    pub cmd_valid: [Signal<In, Bit>; CLIENTS],
    /// The command.
    pub cmd: [Signal<In, WriteCmd>; CLIENTS],
    /// It is taken.
    pub cmd_ready: [Signal<Out, Bit>; CLIENTS],
    /// A command goes to the queue.
    pub out_valid: Signal<Out, Bit>,
    /// The command.
    pub out: Signal<Out, ClientCmd>,
    /// The queue has room.
    pub out_ready: Signal<In, Bit>,
    granted: Dff<Bit>,
    client: Dff<Bits<2>>,
}

#[kernel]
impl Logic for WriteArbiter {
    fn update(&mut self) {
        dff_setup!(self, clock, granted, client);
        let client = self.client.q.val();
        let fire = self.granted.q.val() && self.out_ready.val();
        let mut want = bits::<4>(0);
        for i in 0..CLIENTS {
            let mine = client == (i as u64);
            self.cmd_ready[i].next = fire && mine;
            want.set_bits::<1>(i, (self.cmd_valid[i].val() && !(fire && mine)).into());
        }
        self.out_valid.next = self.granted.q.val();
        self.out.next = ClientCmd { client, cmd: mux(&self.cmd, client) };
        if fire || !self.granted.q.val() {
            self.granted.d.next = want.any();
            self.client.d.next = next_client(want, client);
        }
        dff_reset!(self, reset, granted, client);
    }
}

/// The whole engine.
#[derive(LogicBlock, Default)]
pub struct WriteEngine {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Reset.
    pub reset: Signal<In, Bit>,
    /// Client i has a command.
    pub cmd_valid: [Signal<In, Bit>; CLIENTS],
    /// The command.
    pub cmd: [Signal<In, WriteCmd>; CLIENTS],
    /// It is taken.
    pub cmd_ready: [Signal<Out, Bit>; CLIENTS],
    /// A report for client i.
    pub done_valid: [Signal<Out, Bit>; CLIENTS],
    /// The report.
    pub done: [Signal<Out, WriteDone>; CLIENTS],
    /// Client i takes it.
    pub done_ready: [Signal<In, Bit>; CLIENTS],
    /// Packet memory: read.
    pub mem_re: Signal<Out, Bit>,
    /// Packet memory: word address.
    pub mem_addr: Signal<Out, Bits<WORD_BITS>>,
    /// Packet memory: the word, one cycle later.
    pub mem_data: Signal<In, Bits<64>>,
    /// Pulse: packet memory is free again.
    pub free_valid: Signal<Out, Bit>,
    /// How much, bytes.
    pub free_len: Signal<Out, Bits<16>>,
    /// AXI AW: valid.
    pub awvalid: Signal<Out, Bit>,
    /// AXI AW: ready.
    pub awready: Signal<In, Bit>,
    /// AXI AW: address, a multiple of 8. Size is 8 bytes, burst type INCR, ID 0, always.
    pub awaddr: Signal<Out, Bits<64>>,
    /// AXI AW: beats minus one.
    pub awlen: Signal<Out, Bits<8>>,
    /// AXI W: valid; never before the AW of its burst was taken.
    pub wvalid: Signal<Out, Bit>,
    /// AXI W: ready.
    pub wready: Signal<In, Bit>,
    /// AXI W: data.
    pub wdata: Signal<Out, Bits<64>>,
    /// AXI W: byte strobes.
    pub wstrb: Signal<Out, Bits<8>>,
    /// AXI W: last beat of the burst.
    pub wlast: Signal<Out, Bit>,
    /// AXI B: valid.
    pub bvalid: Signal<In, Bit>,
    /// AXI B: ready.
    pub bready: Signal<Out, Bit>,
    /// AXI B: response; 0 = OKAY.
    pub bresp: Signal<In, Bits<2>>,
    /// Bursts sent and not answered, markers included.
    pub outstanding: Signal<Out, Bits<8>>,
    /// An error response was seen since reset.
    pub dma_error: Signal<Out, Bit>,
    /// Nothing accepted is unanswered.
    pub idle: Signal<Out, Bit>,
    arbiter: WriteArbiter,
    queue: Fifo<ClientCmd, 3, 4>,
    issue: WriteIssue,
    report: WriteReport,
}

#[kernel]
impl Logic for WriteEngine {
    fn update(&mut self) {
        clock!(self, clock, arbiter, queue, issue, report);
        reset!(self, reset, arbiter, queue, issue, report);
        for i in 0..CLIENTS {
            self.arbiter.cmd_valid[i].next = self.cmd_valid[i].val();
            self.arbiter.cmd[i].next = self.cmd[i].val();
            self.cmd_ready[i].next = self.arbiter.cmd_ready[i].val();
            self.done_valid[i].next = self.report.done_valid[i].val();
            self.done[i].next = self.report.done[i].val();
            self.report.done_ready[i].next = self.done_ready[i].val();
        }
        self.queue.s_valid.next = self.arbiter.out_valid.val();
        self.queue.s_data.next = self.arbiter.out.val();
        self.arbiter.out_ready.next = self.queue.s_ready.val();
        self.issue.cmd_valid.next = self.queue.m_valid.val();
        self.issue.cmd.next = self.queue.m_data.val();
        self.queue.m_ready.next = self.issue.cmd_ready.val();

        self.mem_re.next = self.issue.mem_re.val();
        self.mem_addr.next = self.issue.mem_addr.val();
        self.issue.mem_data.next = self.mem_data.val();
        self.free_valid.next = self.issue.free_valid.val();
        self.free_len.next = self.issue.free_len.val();

        self.report.aw_push.next = self.issue.aw_push.val();
        self.report.aw.next = self.issue.aw.val();
        self.issue.aw_room.next = self.report.aw_room.val();
        self.report.burst_push.next = self.issue.burst_push.val();
        self.report.burst.next = self.issue.burst.val();
        self.issue.burst_room.next = self.report.burst_room.val();
        self.report.w_push.next = self.issue.w_push.val();
        self.report.w.next = self.issue.w.val();
        self.issue.w_taken.next = self.report.w_taken.val();

        self.awvalid.next = self.report.awvalid.val();
        self.awaddr.next = self.report.awaddr.val();
        self.awlen.next = self.report.awlen.val();
        self.report.awready.next = self.awready.val();
        self.wvalid.next = self.report.wvalid.val();
        self.wdata.next = self.report.wdata.val();
        self.wstrb.next = self.report.wstrb.val();
        self.wlast.next = self.report.wlast.val();
        self.report.wready.next = self.wready.val();
        self.report.bvalid.next = self.bvalid.val();
        self.report.bresp.next = self.bresp.val();
        self.bready.next = self.report.bready.val();
        self.outstanding.next = self.report.outstanding.val();
        self.dma_error.next = self.report.dma_error.val();
        self.idle.next = self.report.outstanding.val() == 0
            && !self.issue.busy.val()
            && !self.queue.m_valid.val()
            && !self.arbiter.out_valid.val();
    }
}
