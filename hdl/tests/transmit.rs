//! The transmitter on a host memory with random delays and errors, native against Verilated and against a plain model.

mod transmit_model;

use chimney_abi::desc::TX_LOOPBACK;
use chimney_abi::wire::ethernet;
use chimney_hdl::prelude::*;
use chimney_hdl::tcp::tx::item::{NO_DATA, NO_ROUTE, SENT};
use chimney_hdl::tcp::tx::tables::{
    NeighborEntry, PathEntry, TableOp, TABLE_NEIGHBOR, TABLE_PATH, TABLE_PATH_NEW, TABLE_READ,
};
use chimney_hdl::types::{ReadBeat, TxJob};
use chimney_hdl_kernel::diff::{diff, long, Rnd};
use std::collections::VecDeque;
use transmit_model::large::random_large;
use transmit_model::{segment, Bus, Dut, Host, Stream, Way};

/// log2 of connections, and of paths and neighbors.
const CONN: usize = 3;
const TABLE: usize = 2;

const MAC: u64 = 0xeedd_ccbb_aa02;
const TX_RING: u64 = 0x7000_0000;
const TX_LOG2: u64 = 3;

/// One direction of the output.
#[derive(Default)]
struct Sink {
    frame: Vec<u8>,
    got: usize,
}

#[derive(Default)]
struct Test {
    host: Host,
    bus: [Bus; 3],
    streams: Vec<Stream>,
    neighbors: [NeighborEntry; 1 << TABLE],
    paths: [PathEntry; 1 << TABLE],
    counters: [u16; 1 << TABLE],
    op: Option<TableOp>,
    read_back: Option<u16>,
    job: Option<TxJob>,
    segments: VecDeque<Vec<u8>>,
    /// Frames of the ring with the number of their entry.
    frames: VecDeque<(u16, Vec<u8>)>,
    looped: VecDeque<Vec<u8>>,
    results: VecDeque<(u64, u64)>,
    flight: usize,
    produced: u16,
    consumed: u16,
    mac_out: Sink,
    lb_out: Sink,
    by_result: [usize; 3],
    too_long: usize,
    pushed: usize,
    /// Segments sent, by family and LLC/SNAP.
    forms: [usize; 4],
    again: usize,
    /// Frames whose first beat was there before their job was taken.
    led: usize,
    none_taken: bool,
    /// Large frames: divided, refused; segments of them; bytes of their area used.
    large: [usize; 2],
    pieces: usize,
    large_bytes: u64,
    counts: [u64; 5],
    expected: [u64; 5],
    lazy: u64,
    quiet: bool,
    /// Jobs are rare and mostly acknowledgments, ordinary frames still rarer.
    sparse: bool,
    step: usize,
}

/// Every fourth stretch of so many clocks is sparse.
const SPARSE_STEPS: usize = 3000;

/// Counters: frames, offloaded, retransmits, bad requests, bytes.
const FRAMES: usize = 0;
const OFFLOADED: usize = 1;
const RETRANSMITS: usize = 2;
const BAD_REQUESTS: usize = 3;
const BYTES: usize = 4;

fn mac_bits(r: &mut Rnd) -> Bits<48> {
    (r.next_u64() & 0xffff_ffff_ffff).into()
}

impl Test {
    /// A table operation, only while no job is in flight: then its effect on each job is known.
    fn random_op(&mut self, r: &mut Rnd) -> TableOp {
        let id = r.below(1 << TABLE) as usize;
        let mut op = TableOp { kind: r.bits_below(4), id: (id as u64).into(), ..Default::default() };
        op.ip_id_counter = r.any();
        op.neighbor = NeighborEntry {
            usable: r.chance(3, 4),
            dst_mac: mac_bits(r),
            src_mac: if r.chance(1, 2) { 0u64.into() } else { mac_bits(r) },
            vlan: if r.chance(1, 2) { 0u64.into() } else { r.any() },
            snap: r.any(),
        };
        op.path = PathEntry {
            usable: r.chance(3, 4),
            v6: r.any(),
            src_ip: r.uniform(),
            dst_ip: r.uniform(),
            neighbor: r.bits_below(1 << TABLE),
            ip_id_start: r.any(),
        };
        op
    }

    fn operated(&mut self, op: &TableOp) {
        let id = op.id.to_u64() as usize;
        self.read_back = Some(self.counters[id]);
        match op.kind.to_u64() {
            TABLE_NEIGHBOR => self.neighbors[id] = op.neighbor,
            TABLE_PATH => self.paths[id] = op.path,
            TABLE_PATH_NEW => {
                self.paths[id] = op.path;
                self.counters[id] = op.ip_id_counter.to_u64() as u16;
            }
            kind => assert_eq!(kind, TABLE_READ),
        }
    }

    fn tables(&mut self, u: &mut Dut, r: &mut Rnd) {
        if let Some(c) = self.read_back.take() {
            assert_eq!(u.table_counter.val().to_u64(), u64::from(c), "IP ID counter");
        }
        if self.op.is_none() && self.flight == 0 && self.job.is_none() && r.chance(1, 4) {
            self.op = Some(self.random_op(r));
        }
        u.table_op_valid.next = self.op.is_some();
        u.table_op.next = self.op.unwrap_or_default();
        if u.table_op_ready.val() {
            if let Some(op) = self.op.take() {
                self.operated(&op);
            }
        }
    }

    /// What must become of a job that was accepted.
    fn accepted(&mut self, j: &TxJob) {
        self.flight += 1;
        let conn = j.conn.to_u64() as usize;
        self.streams[conn].flight += 1;
        let path_id = j.path.to_u64() as usize;
        let path = self.paths[path_id];
        let n = self.neighbors[path.neighbor.to_u64() as usize];
        let len = j.len.to_u64() as usize;
        let text = self.streams[conn].text(&self.host, j.seq.to_u64() as u32, len);
        let way = Way { path, neighbor: n, counter: self.counters[path_id], own: MAC };
        let usable = path.usable && n.usable;
        let frame = text.map(|(text, push)| (segment(j, &way, &text, push), push));
        // The length alone refuses a frame, whether its bytes can be read or not.
        let too_long = segment(j, &way, &vec![0; len], false).len() > ethernet::MAX_JUMBO_LEN;
        let result = match &frame {
            _ if !usable => NO_ROUTE,
            Some(_) if !too_long => SENT,
            _ => NO_DATA,
        };
        self.results.push_back((j.conn.to_u64(), result));
        self.by_result[result as usize] += 1;
        self.too_long += usize::from(usable && too_long);
        self.expected[BAD_REQUESTS] += u64::from(usable && too_long);
        let Some((frame, push)) = frame.filter(|_| result == SENT) else { return };
        // IPv6 has no identification.
        self.counters[path_id] = self.counters[path_id].wrapping_add(u16::from(!path.v6));
        self.forms[usize::from(path.v6) + 2 * usize::from(n.snap)] += 1;
        self.expected[FRAMES] += 1;
        self.expected[OFFLOADED] += 1;
        self.expected[BYTES] += frame.len().max(ethernet::MIN_FRAME_LEN) as u64;
        self.expected[RETRANSMITS] += u64::from(j.retransmit && len != 0);
        self.pushed += usize::from(push);
        self.segments.push_back(frame);
    }

    fn jobs(&mut self, u: &mut Dut, r: &mut Rnd) {
        // A job that comes with an operation would still see what was there before.
        let operates = self.op.is_some() || self.read_back.is_some();
        if self.job.is_none() && !operates && !self.quiet && r.chance(1, if self.sparse { 16 } else { 8 }) {
            let conn = r.below(1 << CONN);
            let at = &mut self.streams[conn as usize];
            at.advance(&mut self.host, r);
            let bare = self.sparse && r.chance(3, 4);
            self.job = Some(if bare {
                at.bare_job(conn, 1 << TABLE, r)
            } else {
                at.random_job(conn, 1 << TABLE, r)
            });
            self.again += usize::from(at.went_back && !bare);
        }
        u.job_valid.next = self.job.is_some();
        u.job.next = self.job.unwrap_or_default();
        if u.job_ready.val() {
            if let Some(j) = self.job.take() {
                self.accepted(&j);
            }
        }
        u.done_ready.next = r.below(16) >= self.lazy;
        if u.done_valid.val() && u.done_ready.next {
            let d = u.done.val();
            let expected = self.results.pop_front().expect("a job is in flight");
            assert_eq!((d.conn.to_u64(), d.result.to_u64()), expected, "result");
            self.flight -= 1;
            self.streams[expected.0 as usize].flight -= 1;
        }
    }

    fn ordinary(&mut self, u: &mut Dut, r: &mut Rnd) {
        u.tx_base.next = TX_RING.into();
        u.tx_log2.next = TX_LOG2.into();
        self.consumed = u.tx_consumer.val().to_u64() as u16;
        let used = self.produced.wrapping_sub(self.consumed);
        assert!(used <= 1 << TX_LOG2, "entries are done once");
        if used < 1 << TX_LOG2 && r.chance(1, if self.sparse { 1500 } else { 100 }) {
            let slot = u64::from(self.produced) % (1 << TX_LOG2);
            let at = TX_RING + 16 * slot;
            let is_large = r.chance(1, 4);
            let (desc, frames) = if is_large {
                random_large(&mut self.host, &mut self.large_bytes, r)
            } else {
                self.host.random_tx(r)
            };
            let bytes = desc.to_bytes();
            for i in [0, 8] {
                let word = bytes[i..i + 8].try_into().expect("eight bytes");
                self.host.put(at + i as u64, u64::from_le_bytes(word));
            }
            self.produced = self.produced.wrapping_add(1);
            self.expected[BAD_REQUESTS] += u64::from(frames.is_none());
            self.large[usize::from(frames.is_none())] += usize::from(is_large);
            for f in frames.into_iter().flatten() {
                self.pieces += usize::from(is_large);
                if desc.flags & TX_LOOPBACK != 0 {
                    self.looped.push_back(f);
                } else {
                    self.expected[FRAMES] += 1;
                    self.expected[BYTES] += f.len().max(ethernet::MIN_FRAME_LEN) as u64;
                    self.frames.push_back((self.produced, f));
                }
            }
        }
        u.tx_producer.next = u64::from(self.produced).into();
        u.enable.next = true;
    }

    /// The frame on the wire is the next of a connection or the next of the ring.
    fn sent(&mut self, frame: &[u8]) {
        let is = |f: Option<&Vec<u8>>| {
            f.is_some_and(|f| {
                let mut f = f.clone();
                f.resize(f.len().max(60), 0);
                f == frame
            })
        };
        if is(self.segments.front()) {
            self.segments.pop_front();
            self.led += usize::from(self.none_taken);
        } else if is(self.frames.front().map(|(_, f)| f)) {
            self.frames.pop_front();
        } else {
            panic!(
                "unexpected frame\n{frame:02x?}\n{:02x?}\n{:02x?}",
                self.segments.front(),
                self.frames.front()
            );
        }
    }

    fn outputs(&mut self, u: &mut Dut, r: &mut Rnd) {
        u.m_axis_tready.next = r.below(16) >= self.lazy;
        u.lb_tready.next = r.below(16) >= self.lazy;
        if u.m_axis_tvalid.val() && u.m_axis_tready.next {
            let last = u.m_axis_tlast.val();
            if self.mac_out.frame.is_empty() {
                self.none_taken = self.segments.is_empty();
            }
            if self.mac_out.take(u.m_axis_tdata.val().to_u64(), u.m_axis_tkeep.val().to_u64(), last) {
                let frame = std::mem::take(&mut self.mac_out.frame);
                self.sent(&frame);
            }
        }
        if u.lb_tvalid.val() && u.lb_tready.next {
            let last = u.lb_tlast.val();
            if self.lb_out.take(u.lb_tdata.val().to_u64(), u.lb_tkeep.val().to_u64(), last) {
                let frame = std::mem::take(&mut self.lb_out.frame);
                assert_eq!(Some(frame), self.looped.pop_front(), "loopback");
            }
        }
        let c = u.counts.val();
        let flags = [c.frame, c.offloaded, c.retransmit, c.bad_request];
        for (sum, flag) in self.counts.iter_mut().zip(flags) {
            *sum += u64::from(flag);
        }
        self.counts[BYTES] += if c.frame { c.bytes.to_u64() } else { 0 };
    }

    /// The three read clients: each burst's beats in order, clients interleaved at random.
    fn memory(&mut self, u: &mut Dut, r: &mut Rnd) {
        let ready: [bool; 3] = std::array::from_fn(|_| r.below(16) >= self.lazy);
        (u.ord_req_ready.next, u.desc_req_ready.next, u.payload_req_ready.next) =
            (ready[0], ready[1], ready[2]);
        let asked = [
            (u.ord_req_valid.val(), u.ord_req.val()),
            (u.desc_req_valid.val(), u.desc_req.val()),
            (u.payload_req_valid.val(), u.payload_req.val()),
        ];
        let latency = if self.lazy == 0 { 2 } else { 2 + r.below(60) as usize };
        for (i, (valid, req)) in asked.into_iter().enumerate() {
            if valid && ready[i] {
                self.bus[i].ask(req.iova.to_u64(), req.beats.to_u64(), self.step + latency);
            }
        }
        let first = r.below(3) as usize;
        let mut beat = ReadBeat::default();
        let mut to = None;
        if r.below(16) >= self.lazy {
            for i in (0..3).map(|i| (i + first) % 3) {
                if let Some(b) = self.bus[i].next(&self.host, self.step) {
                    (beat, to) = (b, Some(i));
                    break;
                }
            }
        }
        u.beat.next = beat;
        u.ord_beat_valid.next = to == Some(0);
        u.desc_beat_valid.next = to == Some(1);
        u.payload_beat_valid.next = to == Some(2);
    }

    fn step(&mut self, u: &mut Dut, r: &mut Rnd) {
        self.step += 1;
        u.reset.next = self.step < 4;
        u.mac.next = MAC.into();
        if self.step < 4 {
            self.streams = (0..1 << CONN).map(|i| Stream::new(i, r)).collect();
            self.quiet = true; // Tables first.
        }
        if r.chance(1, 500) {
            self.lazy = [0, 0, 0, 2, 6, 13][r.below(6) as usize];
        }
        if r.chance(1, if self.quiet { 400 } else { 1000 }) {
            self.quiet = !self.quiet;
        }
        self.sparse = self.step / SPARSE_STEPS % 4 == 3;
        if self.sparse {
            // What came before leaves soon, so that acknowledgments find nothing in front.
            self.lazy = self.lazy.min(1);
            self.quiet = self.step % SPARSE_STEPS < SPARSE_STEPS / 4;
        }
        if self.step < 12 {
            return; // The tables are being cleared.
        }
        self.tables(u, r);
        self.jobs(u, r);
        self.ordinary(u, r);
        self.outputs(u, r);
        self.memory(u, r);
    }
}

impl Sink {
    /// Takes a beat; true at the end of a frame.
    fn take(&mut self, data: u64, keep: u64, last: bool) -> bool {
        let n = keep.trailing_ones() as usize;
        assert!(keep == (1 << n) - 1 && (last || n == 8), "keep {keep:x}");
        self.frame.extend_from_slice(&data.to_le_bytes()[..n]);
        self.got += usize::from(last);
        last
    }
}

/// Every job and every ring entry becomes exactly the frame that the model builds, or the result that it tells.
///
/// Verifies: R-006, R-008 (nothing of its own), R-053, R-058, R-059, R-135, R-176, R-065, R-242, R-278, R-279, R-280, R-283, law L5.
#[test]
fn builds_every_frame_as_the_model_does() {
    let steps = if long() { 300_000 } else { 50_000 };
    let mut t = Test::default();
    diff("transmit", Dut::default(), steps, |u, r| t.step(u, r), |u, c| u.clock.next = c.into());
    eprintln!(
        "{} large frames in {} segments, {} refused; {} frames, {} looped, sent/no route/no data {:?}, {} pushed, {} from before, {} led, counters {:?}",
        t.large[0],
        t.pieces,
        t.large[1],
        t.mac_out.got, t.lb_out.got, t.by_result, t.pushed, t.again, t.led, t.counts
    );
    // Of entries that are done, and of jobs, only frames under way are missing.
    let done = t.frames.iter().filter(|(entry, _)| (entry.wrapping_sub(t.consumed) as i16) <= 0).count();
    assert!(t.segments.len() < 34 && done < 34 && t.flight < 34);
    assert!(t.large[0] > 20 && t.large[1] > 5 && t.pieces > 100, "{:?} {}", t.large, t.pieces);
    assert!(t.led > 10, "{} led", t.led);
    assert!(t.forms.iter().all(|n| *n > 10), "{:?}", t.forms);
    assert!(t.too_long > 0 || !long(), "no segment was longer than a frame may be");
    assert!(t.by_result.iter().all(|n| *n > 1) && t.pushed > 3 && t.again > 3 && t.lb_out.got > 5);
    let wire_len = |f: &Vec<u8>| f.len().max(ethernet::MIN_FRAME_LEN) as u64;
    let missing = t.segments.iter().chain(t.frames.iter().map(|(_, f)| f));
    let bytes = missing.clone().map(wire_len).sum::<u64>();
    let under_way = [missing.count() as u64, t.segments.len() as u64, 34, 34 + (1 << TX_LOG2), bytes];
    for (i, ((got, want), may)) in t.counts.iter().zip(t.expected).zip(under_way).enumerate() {
        assert!(*got <= want && want - got <= may, "counter {i}: {got} of {want}, {may} under way");
    }
    assert!(t.counts[BAD_REQUESTS] > 3 && t.counts[RETRANSMITS] > 1);
}
