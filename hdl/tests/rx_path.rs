//! The receive path as a whole: receiver, lookup, dispatcher and write engine wired as in the top, PROTO and host played
//! by the test. Frames go in, bytes come out in host memory. Native against Verilated.

mod frames;

use chimney_abi::desc::RX_BUFFER_BYTES;
use chimney_hdl::eth::rx::Rx;
use chimney_hdl::host::dispatch::Dispatch;
use chimney_hdl::host::dma_write::{WriteEngine, CLIENT_COMMAND, CLIENT_EVENTS, CLIENT_ORD_RX, CLIENT_PROTO};
use chimney_hdl::prelude::*;
use chimney_hdl::tcp::lookup::{Address, FlowKey, Lookup, LookupOp};
use chimney_hdl::types::{
    ReadBeat, ReadReq, RxSeg, WriteCmd, WriteDone, PACKET_LOG2, WRITE_FREE, WRITE_INLINE, WRITE_PAYLOAD,
};
use chimney_hdl_kernel::diff::{long, Clocked, Diff, Pins, Rnd, Verilated};
use chimney_hdl_kernel::pins;
use frames::judge::judge;
use frames::{tcp_frame, Source, MAC};
use std::collections::{HashMap, VecDeque};

/// The wiring.
#[derive(LogicBlock, Default)]
struct RxPath {
    clock: Signal<In, Clock>,
    reset: Signal<In, Bit>,
    tdata: Signal<In, Bits<64>>,
    tkeep: Signal<In, Bits<8>>,
    tvalid: Signal<In, Bit>,
    tready: Signal<Out, Bit>,
    tlast: Signal<In, Bit>,
    op_valid: Signal<In, Bit>,
    op: Signal<In, LookupOp>,
    op_done: Signal<Out, Bit>,
    seg_valid: Signal<Out, Bit>,
    seg: Signal<Out, RxSeg>,
    seg_ready: Signal<In, Bit>,
    verdict_valid: Signal<In, Bit>,
    verdict_handed_up: Signal<In, Bit>,
    turn: Signal<Out, Bit>,
    proto_valid: Signal<In, Bit>,
    proto: Signal<In, WriteCmd>,
    proto_ready: Signal<Out, Bit>,
    proto_done_valid: Signal<Out, Bit>,
    proto_done: Signal<Out, WriteDone>,
    read_valid: Signal<Out, Bit>,
    read: Signal<Out, ReadReq>,
    beat_valid: Signal<In, Bit>,
    beat: Signal<In, ReadBeat>,
    rx_producer: Signal<In, Bits<16>>,
    rx_consumer: Signal<Out, Bits<16>>,
    awvalid: Signal<Out, Bit>,
    awaddr: Signal<Out, Bits<64>>,
    awlen: Signal<Out, Bits<8>>,
    ready: Signal<In, Bit>,
    wvalid: Signal<Out, Bit>,
    wdata: Signal<Out, Bits<64>>,
    wstrb: Signal<Out, Bits<8>>,
    wlast: Signal<Out, Bit>,
    bvalid: Signal<In, Bit>,
    bready: Signal<Out, Bit>,
    irq_rx: Signal<Out, Bit>,
    payload_taken: Signal<Out, Bit>,
    drop_overrun: Signal<Out, Bit>,
    drop_no_buffer: Signal<Out, Bit>,
    idle: Signal<Out, Bit>,
    rx: Rx<{ RX_BUFFER_BYTES as usize }>,
    lookup: Lookup<4, 5>,
    dispatch: Dispatch,
    engine: WriteEngine,
}

const RING: u64 = 0x1_0000_0000;
const DONE_RING: u64 = 0x2_0000_0000;
const LOG2: u64 = 5;
const OUR_MAC: u64 = u64::from_le_bytes([MAC[0], MAC[1], MAC[2], MAC[3], MAC[4], MAC[5], 0, 0]);

#[kernel]
impl Logic for RxPath {
    fn update(&mut self) {
        clock!(self, clock, rx, lookup, dispatch, engine);
        reset!(self, reset, rx, lookup, dispatch, engine);
        self.rx.enable.next = true;
        self.rx.mac.next = bits::<48>(OUR_MAC);
        self.rx.s_axis_tdata.next = self.tdata.val();
        self.rx.s_axis_tkeep.next = self.tkeep.val();
        self.rx.s_axis_tvalid.next = self.tvalid.val();
        self.rx.s_axis_tlast.next = self.tlast.val();
        self.rx.s_axis_tuser.next = false;
        self.tready.next = self.rx.s_axis_tready.val();
        self.rx.lb_tdata.next = bits::<64>(0);
        self.rx.lb_tkeep.next = bits::<8>(0);
        self.rx.lb_tvalid.next = false;
        self.rx.lb_tlast.next = false;
        self.rx.mem_re.next = self.engine.mem_re.val();
        self.rx.mem_addr.next = self.engine.mem_addr.val();
        self.engine.mem_data.next = self.rx.mem_data.val();
        self.rx.free_valid.next = self.engine.free_valid.val();
        self.rx.free_len.next = self.engine.free_len.val();

        self.dispatch.enable.next = true;
        self.dispatch.meta_valid.next = self.rx.meta_valid.val();
        self.dispatch.meta.next = self.rx.meta.val();
        self.rx.meta_ready.next = self.dispatch.meta_ready.val();
        self.rx.hash_key.next = bits::<64>(0x1234_5678);
        self.rx.mix_valid.next = self.lookup.mix_valid.val();
        self.rx.mix_x.next = self.lookup.mix_x.val();
        self.lookup.mix_ready.next = self.rx.mix_ready.val();
        self.lookup.mix_y.next = self.rx.mix_y.val();
        self.lookup.mix_filled.next = self.rx.mix_filled.val();
        self.dispatch.meta_hit.next = self.rx.meta_hit.val();
        self.lookup.find_hash.next = self.rx.find_hash.val();
        self.lookup.find_valid.next = self.rx.find_valid.val();
        self.lookup.find_key.next = self.rx.find_key.val();
        self.rx.find_ready.next = self.lookup.find_ready.val();
        self.rx.find_done.next = self.lookup.find_done.val();
        self.rx.find_hit.next = self.lookup.find_hit.val();
        self.rx.find_conn.next = self.lookup.find_conn.val();
        self.rx.vlan.next = bits::<12>(0);
        self.rx.changed.next = self.lookup.changes.val();
        self.lookup.op_valid.next = self.op_valid.val();
        self.lookup.op.next = self.op.val();
        self.op_done.next = self.lookup.op_done.val();
        self.seg_valid.next = self.dispatch.seg_valid.val();
        self.seg.next = self.dispatch.seg.val();
        self.dispatch.seg_ready.next = self.seg_ready.val();
        self.dispatch.verdict_valid.next = self.verdict_valid.val();
        self.dispatch.verdict_handed_up.next = self.verdict_handed_up.val();
        self.turn.next = self.dispatch.turn.val();
        self.read_valid.next = self.dispatch.read_valid.val();
        self.read.next = self.dispatch.read.val();
        self.dispatch.read_ready.next = true;
        self.dispatch.beat_valid.next = self.beat_valid.val();
        self.dispatch.beat.next = self.beat.val();
        self.dispatch.rx_base.next = bits::<64>(RING);
        self.dispatch.rx_done_base.next = bits::<64>(DONE_RING);
        self.dispatch.rx_log2.next = bits::<4>(LOG2);
        self.dispatch.rx_producer.next = self.rx_producer.val();
        self.rx_consumer.next = self.dispatch.rx_consumer.val();
        self.irq_rx.next = self.dispatch.irq_rx.val();
        self.payload_taken.next = self.dispatch.cmd_valid.val()
            && self.engine.cmd_ready[CLIENT_ORD_RX].val()
            && self.dispatch.cmd.val().kind == WRITE_PAYLOAD;
        self.drop_overrun.next = self.rx.cnt_drop_overrun.val();
        self.drop_no_buffer.next = self.dispatch.cnt_drop_no_buffer.val();

        for i in [CLIENT_EVENTS, CLIENT_COMMAND] {
            self.engine.cmd_valid[i].next = false;
            self.engine.cmd[i].next = WriteCmd::default();
        }
        self.engine.cmd_valid[CLIENT_PROTO].next = self.proto_valid.val();
        self.engine.cmd[CLIENT_PROTO].next = self.proto.val();
        self.proto_ready.next = self.engine.cmd_ready[CLIENT_PROTO].val();
        self.proto_done_valid.next = self.engine.done_valid[CLIENT_PROTO].val();
        self.proto_done.next = self.engine.done[CLIENT_PROTO].val();
        self.engine.cmd_valid[CLIENT_ORD_RX].next = self.dispatch.cmd_valid.val();
        self.engine.cmd[CLIENT_ORD_RX].next = self.dispatch.cmd.val();
        self.dispatch.cmd_ready.next = self.engine.cmd_ready[CLIENT_ORD_RX].val();
        self.dispatch.done_valid.next = self.engine.done_valid[CLIENT_ORD_RX].val();
        self.dispatch.done.next = self.engine.done[CLIENT_ORD_RX].val();

        self.awvalid.next = self.engine.awvalid.val();
        self.awaddr.next = self.engine.awaddr.val();
        self.awlen.next = self.engine.awlen.val();
        self.engine.awready.next = self.ready.val();
        self.wvalid.next = self.engine.wvalid.val();
        self.wdata.next = self.engine.wdata.val();
        self.wstrb.next = self.engine.wstrb.val();
        self.wlast.next = self.engine.wlast.val();
        self.engine.wready.next = self.ready.val();
        self.engine.bvalid.next = self.bvalid.val();
        self.engine.bresp.next = bits::<2>(0);
        self.bready.next = self.engine.bready.val();
        self.idle.next = self.engine.idle.val() && self.dispatch.idle.val() && self.rx.idle.val();
    }
}

/// Where PROTO of the test puts a byte: consumed payload lies end to end.
const STREAM: u64 = 0x3_0000_0000;
/// Where it puts its other record.
const SHADOW: u64 = 0x4_0000_0000;

#[derive(Default)]
struct Test {
    wire: Source,
    /// Bytes per frame in the speed test; 0 = random frames.
    fixed: usize,
    keys: usize,
    /// Frames that were taken and not yet seen at the other end, by where they must go.
    sent_up: VecDeque<Vec<u8>>,
    sent_proto: VecDeque<Vec<u8>>,
    last_up: bool,
    /// Commands that PROTO still has to issue before its verdict (handed up?).
    to_issue: VecDeque<WriteCmd>,
    verdict: Option<bool>,
    stream: Vec<u8>,
    reports: usize,
    /// Ordinary frames given to the write engine and not completed.
    pending: usize,
    completed: u64,
    posted: u64,
    late: bool,
    burst: VecDeque<(u64, bool)>,
    aw: VecDeque<(u64, u64)>,
    beat: u64,
    ended: VecDeque<u64>,
    clock: u64,
    latency: u64,
    slow: u64,
    memory: HashMap<u64, u8>,
    consumed: usize,
    drops: usize,
}

/// Addresses of the test's eight flows; the first four are in the lookup table.
fn flow(i: usize) -> (([u8; 4], u16), ([u8; 4], u16)) {
    (([10, 0, 0, 9], 4000 + i as u16), ([10, 0, 0, 1], 80))
}

fn buffer(index: u64) -> u64 {
    0x5000_0000 + (index % (1 << LOG2)) * 0x800
}

fn mem_u64(memory: &HashMap<u64, u8>, at: u64) -> u64 {
    (0..8).fold(0, |v, i| v | u64::from(memory.get(&(at + i)).copied().unwrap_or(0)) << (8 * i))
}

impl Test {
    fn frame(fixed: usize, r: &mut Rnd) -> Vec<u8> {
        let (remote, local) = flow(r.below(8) as usize);
        let len = if fixed > 0 { fixed - 54 } else { [6, 7, 100, 256, 700, 1460][r.below(6) as usize] };
        let payload: Vec<u8> = (0..len).map(|_| r.next_u64() as u8).collect();
        tcp_frame(remote, local, &[], &payload, r)
    }

    fn wire(&mut self, u: &mut RxPath, r: &mut Rnd) {
        if u.drop_overrun.val() {
            self.drops += 1;
            let queue = if self.last_up { &mut self.sent_up } else { &mut self.sent_proto };
            queue.pop_back();
        }
        let (fixed, gap) = (self.fixed, if self.fixed > 0 { 0 } else { 2 });
        let beat = if self.keys == 4 { self.wire.offer(r, gap, |r| Self::frame(fixed, r)) } else { None };
        let (data, keep, last) = beat.unwrap_or_default();
        u.tvalid.next = beat.is_some();
        u.tdata.next = data.into();
        u.tkeep.next = u64::from(keep).into();
        u.tlast.next = last;
        if beat.is_some() && u.tready.val() {
            if let Some(f) = self.wire.taken() {
                self.last_up = f[34..36] >= 4002u16.to_be_bytes()[..];
                let queue = if self.last_up { &mut self.sent_up } else { &mut self.sent_proto };
                queue.push_back(f);
            }
        }
    }

    /// Fills the lookup table before the first frame.
    fn table(&mut self, u: &mut RxPath) {
        if u.op_done.val() {
            self.keys += 1;
        }
        let (remote, local) = flow(self.keys);
        let key = FlowKey {
            is_v6: false,
            remote_ip: Address { a: u64::from(u32::from_le_bytes(remote.0)).into(), ..Address::default() },
            local_ip: Address { a: u64::from(u32::from_le_bytes(local.0)).into(), ..Address::default() },
            remote_port: u64::from(remote.1).into(),
            local_port: u64::from(local.1).into(),
        };
        u.op.next = LookupOp { insert: true, key, conn: (self.keys as u64).into() };
        u.op_valid.next = self.keys < 4;
    }

    /// PROTO: flows 0 and 1 are consumed, 2 and 3 handed up.
    fn proto(&mut self, u: &mut RxPath) {
        let busy = self.verdict.is_some() || !self.to_issue.is_empty();
        u.seg_ready.next = !busy;
        u.verdict_valid.next = self.verdict.is_some()
            && self.to_issue.is_empty()
            && (u.turn.val() || self.verdict == Some(false));
        u.verdict_handed_up.next = self.verdict == Some(true);
        if u.verdict_valid.next {
            self.verdict = None;
        }
        if u.seg_valid.val() && !busy {
            let s = u.seg.val();
            self.verdict = Some(s.conn.to_u64() >= 2);
            if s.conn.to_u64() < 2 {
                self.consume(&s);
            }
        }
        let frees = self.to_issue.front().is_some_and(|c| c.kind.to_u64() == WRITE_FREE);
        u.proto_valid.next = busy && !self.to_issue.is_empty() && (!frees || u.turn.val());
        u.proto.next = self.to_issue.front().copied().unwrap_or_default();
        if u.proto_valid.next && u.proto_ready.val() {
            self.to_issue.pop_front();
        }
        self.reports += usize::from(u.proto_done_valid.val());
    }

    fn consume(&mut self, s: &RxSeg) {
        let f = self.sent_proto.pop_front().expect("a frame was sent");
        assert!(judge(&f).candidate);
        assert_eq!(s.payload_len.to_u64() as usize, f.len() - 54);
        let at = STREAM + self.stream.len() as u64;
        let words = (f.len() as u64).div_ceil(8) * 8;
        self.to_issue.push_back(WriteCmd {
            kind: WRITE_PAYLOAD.into(),
            iova: at.into(),
            len: s.payload_len,
            src: s.payload_src,
            ..Default::default()
        });
        self.to_issue.push_back(WriteCmd {
            kind: WRITE_INLINE.into(),
            iova: SHADOW.into(),
            len: 32u64.into(),
            notify: true,
            tag: (self.consumed as u64).into(),
            ..Default::default()
        });
        self.to_issue.push_back(WriteCmd {
            kind: WRITE_FREE.into(),
            len: words.into(),
            ..Default::default()
        });
        self.stream.extend(&f[54..]);
        self.consumed += 1;
    }

    /// The host: posts buffers and looks at completions.
    fn host(&mut self, u: &mut RxPath) {
        if u.drop_no_buffer.val() {
            // Those before it are on their way.
            self.drops += usize::from(self.sent_up.remove(self.pending).is_some());
        }
        self.pending += usize::from(u.payload_taken.val());
        if !self.late {
            self.posted = self.completed + (1 << LOG2);
        }
        u.rx_producer.next = (self.posted & 0xffff).into();
        u.beat_valid.next = false;
        u.beat.next = ReadBeat::default();
        if let Some((data, last)) = self.burst.pop_front() {
            u.beat_valid.next = true;
            u.beat.next = ReadBeat { data: data.into(), error: false, last };
        } else if u.read_valid.val() {
            let (slot, n) = ((u.read.val().iova.to_u64() - RING) / 8, u.read.val().beats.to_u64());
            self.burst.extend((0..n).map(|i| (buffer(slot + i), i + 1 == n)));
        }
        let entry = mem_u64(&self.memory, DONE_RING + 8 * (self.completed % (1 << LOG2)));
        if entry >> 63 == (self.completed >> LOG2 & 1) ^ 1 {
            let f = self.sent_up.pop_front().expect("a frame was sent");
            assert_eq!((entry & 0xffff) as usize, f.len());
            assert_eq!((entry >> 16 & 0xffff, entry >> 32 & 0xffff), (3, self.completed & 0xffff));
            let at = buffer(self.completed);
            let got: Vec<u8> = (0..f.len() as u64).map(|i| self.memory[&(at + i)]).collect();
            assert_eq!(got, f);
            self.completed += 1;
            self.pending -= 1;
        }
    }

    fn bus(&mut self, u: &mut RxPath, r: &mut Rnd) {
        u.ready.next = r.below(16) >= self.slow;
        if u.wvalid.val() && u.ready.next {
            let (addr, len) = self.aw[0];
            for i in (0..8).filter(|i| u.wstrb.val().get_bit(*i)) {
                let at = addr + 8 * self.beat + i as u64;
                self.memory.insert(at, u.wdata.val().get_bits::<8>(8 * i).to_u8());
            }
            self.beat += 1;
            if self.beat > len {
                self.beat = 0;
                self.aw.pop_front();
                self.ended.push_back(self.clock + self.latency);
            }
        }
        if u.awvalid.val() && u.ready.next {
            self.aw.push_back((u.awaddr.val().to_u64(), u.awlen.val().to_u64()));
        }
        u.bvalid.next = self.ended.front().is_some_and(|t| *t < self.clock);
        if u.bvalid.next && u.bready.val() {
            self.ended.pop_front();
        }
    }

    fn step(&mut self, u: &mut RxPath, r: &mut Rnd) {
        self.clock += 1;
        if self.fixed == 0 {
            // A slow bus makes packet memory overflow, a late host the ring run dry.
            let phase = [(0, false), (15, false), (15, false), (3, false), (0, true), (0, true), (0, true)];
            (self.slow, self.late) = phase[(self.clock / 1400 % 7) as usize];
        }
        u.reset.next = false;
        self.wire(u, r);
        self.table(u);
        self.proto(u);
        self.bus(u, r);
        self.host(u);
    }

    /// All payload of the consumed frames but that in flight lies in memory.
    fn check_stream(&self) {
        let sure = self.stream.len().saturating_sub(1 << PACKET_LOG2);
        for (i, b) in self.stream[..sure].iter().enumerate() {
            assert_eq!(self.memory.get(&(STREAM + i as u64)), Some(b), "stream byte {i}");
        }
    }
}

/// Consumed payload and ordinary frames arrive in host memory byte for byte, in order, under load and with a slow bus.
///
/// Verifies: laws L2, L4, L5.
#[test]
fn what_comes_in_from_the_wire_lies_in_host_memory() {
    let steps = if long() { 200_000 } else { 20_000 };
    let mut t = Test { slow: 3, latency: 40, ..Test::default() };
    let clock = |u: &mut RxPath, c: bool| u.clock.next = c.into();
    let d = Diff::new("rx_path", steps).constant("tready");
    d.run(RxPath::default(), |u, r| t.step(u, r), clock);
    t.check_stream();
    eprintln!("{} up, {} consumed, {} dropped, {} reports", t.completed, t.consumed, t.drops, t.reports);
    assert!(t.completed > 50 && t.consumed > 20 && t.reports > 20);
}

fn ports() -> Pins<RxPath> {
    pins!(RxPath; reset, tdata, tkeep, tvalid, tlast, op_valid, op, seg_ready, verdict_valid, verdict_handed_up, proto_valid,
        proto, beat_valid, beat, rx_producer, ready, bvalid;
        tready, op_done, seg_valid, seg, turn, proto_ready, proto_done_valid, proto_done, read_valid, read, rx_consumer,
        awvalid, awaddr, awlen, wvalid, wdata, wstrb, wlast, bready, irq_rx, payload_taken, drop_overrun, drop_no_buffer,
        idle)
}

/// Cycles per frame with an ideal bus (on the model that the test above compares with the native simulation), written down with the budget: the path must not be slower than recorded.
#[test]
fn cycles_per_frame_stay_within_the_record() {
    for (size, most) in [(60, 11.0), (1514, 192.0)] {
        let mut t = Test { fixed: size, latency: 20, ..Test::default() };
        let mut r = Rnd::new(Rnd::seed_for("rx_path_speed"));
        let mut b = Verilated::new("rx_path", RxPath::default(), ports());
        while t.keys < 4 {
            b.cycle(|u| t.step(u, &mut r));
        }
        for _ in 0..500 {
            b.cycle(|u| t.step(u, &mut r));
        }
        let (from, frames) = (t.clock, t.completed as usize + t.consumed);
        for _ in 0..4000 {
            b.cycle(|u| t.step(u, &mut r));
        }
        let per = (t.clock - from) as f64 / (t.completed as usize + t.consumed - frames) as f64;
        eprintln!("{size} bytes: {per:.1} cycles per frame, {} dropped", t.drops);
        assert!(per < most, "{size} bytes: {per:.1} cycles per frame, recorded {most}");
    }
}
