//! The write engine: the only master of the AXI4 write channel.
//!
//! ```text
//!   4 clients --arbiter--> command queue --issue--> AW queue ------------------> AW
//!                   |                        |      packet memory -> realign --> W queue -> W
//!                   |                        |      inline words ------------'
//!                   `----> inline words -----+----> burst list --> report <----- B
//!                                                                     `--> WriteDone
//! ```
//! Commands are carried out in the order accepted, on one AXI ID, so the write response of a command says that
//! everything accepted before it is in host memory (law L2). Bursts are INCR of 8-byte beats and never cross a
//! 256-byte boundary. Up to 64 bursts are outstanding: 150 cycles of latency with two bursts and a half for each smallest segment, and more than ten for each connection that leaves.
//!
//! Inline data goes apart from its command, a word of 8 bytes per clock, as fast as the bus takes it. It begins with the first word of its
//! destination; a command that does not fill words has its bytes where they go in them.
//!
//! | block | file | job |
//! |---|---|---|
//! | [`WriteArbiter`] | `dma_write.rs` | one command at a time, round robin |
//! | [`WriteIssue`] | `write_issue.rs` | bursts, packet memory reads, realignment, strobes |
//! | [`WriteReport`] | `write_report.rs` | the bus channels, responses, reports |
//!
//! Latency: 3 cycles from `cmd_valid` to `awvalid`, of PROTO when nobody else asks 2. Throughput: one beat per clock within a command and 1 to 2 cycles more
//! per command; a client can hand in a command every second cycle, PROTO alone one in each,
//! the clients together a word of inline data per clock. Back-pressure: `cmd_ready` when 8 commands or 13 words wait. A report must be taken at
//! once.
//! Reset: nothing remembered; the top resets only when `idle`, or the bus with it.
use crate::eth::rx_stream::WORD_BITS;
use crate::host::write_issue::{is_silent, WriteIssue};
use crate::host::write_report::WriteReport;
use crate::prelude::*;
use crate::stream::Fifo;
use crate::types::{WriteCmd, WriteDone, TAG_BITS, WRITE_INLINE};

/// Number of clients.
pub const CLIENTS: usize = 4;
/// Port of PROTO.
pub const CLIENT_PROTO: usize = 0;
/// Port of the dispatcher. Its inline data is 8 bytes.
pub const CLIENT_ORD_RX: usize = 1;
/// Port of the event ring. Its inline data is 8 bytes.
pub const CLIENT_EVENTS: usize = 2;
/// Port of the command block.
pub const CLIENT_COMMAND: usize = 3;

/// log2 of the words of inline data that may wait.
const WORDS_LOG2: usize = 4;
/// From this many waiting words on no command with inline data is taken: it may have four.
const WORDS_FULL: u64 = (1 << WORDS_LOG2) - 3;

/// A command without its inline data.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct WriteHead {
    /// See [`WriteCmd`].
    pub kind: Bits<2>,
    /// See [`WriteCmd`].
    pub iova: Bits<64>,
    /// See [`WriteCmd`].
    pub len: Bits<16>,
    /// See [`WriteCmd`].
    pub src: Bits<16>,
    /// See [`WriteCmd`].
    pub free: Bits<16>,
    /// See [`WriteCmd`].
    pub notify: Bit,
    /// See [`WriteCmd`].
    pub tag: Bits<TAG_BITS>,
}

/// A command and the port it came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct ClientCmd {
    /// Port number.
    pub client: Bits<2>,
    /// The command.
    pub cmd: WriteHead,
}

/// A command without its inline data.
#[kernel]
fn head_of(c: WriteCmd) -> WriteHead {
    WriteHead {
        kind: c.kind,
        iova: c.iova,
        len: c.len,
        src: c.src,
        free: c.free,
        notify: c.notify,
        tag: c.tag,
    }
}

/// A command brings data of its own.
#[kernel]
fn is_inline(c: WriteCmd) -> bool {
    c.kind == WRITE_INLINE && c.len.any()
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

/// Takes commands from the clients in turn. The grant is a register, so `cmd_ready` depends on no input but the room behind. It is PROTO's when
/// nobody asks, because acknowledgments wait for its records.
/// The first word of inline data leaves with its command, the others in the clocks after it; meanwhile only commands without
/// inline data are taken.
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
    /// A command waits for room.
    pub busy: Signal<Out, Bit>,
    /// A command goes to the queue.
    pub out_valid: Signal<Out, Bit>,
    /// The command.
    pub out: Signal<Out, ClientCmd>,
    /// The queue has room.
    pub out_ready: Signal<In, Bit>,
    /// A word goes to the queue of words.
    pub word_valid: Signal<Out, Bit>,
    /// The word.
    pub word: Signal<Out, Bits<64>>,
    /// The queue of words has room for four.
    pub word_room: Signal<In, Bit>,
    /// The client granted has asked.
    asked: Dff<Bit>,
    client: Dff<Bits<2>>,
    /// Its command brings data.
    inline: Dff<Bit>,
    /// Words after the first one, and how many are left.
    rest: Dff<Bits<192>>,
    left: Dff<Bits<2>>,
}

#[kernel]
impl Logic for WriteArbiter {
    fn update(&mut self) {
        dff_setup!(self, clock, asked, client, inline, rest, left);
        let (client, asked) = (self.client.q.val(), self.asked.q.val());
        let (left, rest) = (self.left.q.val(), self.rest.q.val());
        let word_room = self.word_room.val() && !left.any();
        let ready = self.out_ready.val() && (word_room || (asked && !self.inline.q.val()));
        let mut want = bits::<4>(0);
        let mut inlines = bits::<4>(0);
        for i in 0..CLIENTS {
            let mine = client == (i as u64);
            self.cmd_ready[i].next = ready && mine;
            want.set_bits::<1>(i, (self.cmd_valid[i].val() && !(ready && mine)).into());
            inlines.set_bits::<1>(i, is_inline(self.cmd[i].val()).into());
        }
        let cmd = mux(&self.cmd, client);
        let fire = ready && mux(&self.cmd_valid, client);
        let inline = inlines.get_bit(client.index());
        self.busy.next = asked;
        self.out_valid.next = fire;
        self.out.next = ClientCmd { client, cmd: head_of(cmd) };
        if fire || !asked {
            let next = if want.any() { next_client(want, client) } else { bits::<2>(CLIENT_PROTO as u64) };
            self.asked.d.next = want.any();
            self.client.d.next = next;
            self.inline.d.next = inlines.get_bit(next.index());
        }

        // Inline data. Only two clients have more than a word.
        self.word_valid.next = fire && inline || left.any();
        self.word.next = if left.any() { rest.get_bits::<64>(0) } else { cmd.data.get_bits::<64>(0) };
        if left.any() {
            self.left.d.next = left - 1;
            self.rest.d.next = rest >> 64u64;
        } else if fire && inline {
            let of_proto = client == (CLIENT_PROTO as u64);
            let long = if of_proto { self.cmd[CLIENT_PROTO].val() } else { self.cmd[CLIENT_COMMAND].val() };
            self.left.d.next = (cmd.len.get_bits::<5>(0) - 1).get_bits::<2>(3);
            self.rest.d.next = long.data.get_bits::<192>(64);
        }
        dff_reset!(self, reset, asked, client, left);
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
    /// Pulse: a report for client i.
    pub done_valid: [Signal<Out, Bit>; CLIENTS],
    /// With `done_valid`: the report.
    pub done: [Signal<Out, WriteDone>; CLIENTS],
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
    /// See `WriteReport`.
    pub ring_lost: Signal<Out, Bit>,
    /// Nothing accepted is unanswered.
    pub idle: Signal<Out, Bit>,
    arbiter: WriteArbiter,
    queue: Fifo<ClientCmd, 3, 4>,
    words: Fifo<Bits<64>, WORDS_LOG2, { WORDS_LOG2 + 1 }>,
    issue: WriteIssue,
    report: WriteReport,
}

#[kernel]
impl Logic for WriteEngine {
    fn update(&mut self) {
        clock!(self, clock, arbiter, queue, words, issue, report);
        reset!(self, reset, arbiter, queue, words, issue, report);
        for i in 0..CLIENTS {
            self.arbiter.cmd_valid[i].next = self.cmd_valid[i].val();
            self.arbiter.cmd[i].next = self.cmd[i].val();
            self.cmd_ready[i].next = self.arbiter.cmd_ready[i].val();
            self.done_valid[i].next = self.report.done_valid[i].val();
            self.done[i].next = self.report.done[i].val();
        }
        // A command with beats passes an empty queue by.
        let (queued, new) = (self.queue.m_valid.val(), self.arbiter.out.val());
        let comes = !queued && self.arbiter.out_valid.val() && !is_silent(new);
        self.queue.s_valid.next = self.arbiter.out_valid.val() && !(comes && self.issue.cmd_ready.val());
        self.queue.s_data.next = new;
        self.arbiter.out_ready.next = self.queue.s_ready.val();
        self.words.s_valid.next = self.arbiter.word_valid.val();
        self.words.s_data.next = self.arbiter.word.val();
        self.arbiter.word_room.next = self.words.level.val() < WORDS_FULL;
        self.issue.word.next = self.words.m_data.val();
        self.words.m_ready.next = self.issue.word_ready.val();
        self.issue.cmd_valid.next = queued || comes;
        self.issue.cmd.next = if queued { self.queue.m_data.val() } else { new };
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
        self.ring_lost.next = self.report.ring_lost.val();
        self.idle.next = self.report.outstanding.val() == 0
            && !self.issue.busy.val()
            && !self.queue.m_valid.val()
            && !self.arbiter.busy.val();
    }
}
