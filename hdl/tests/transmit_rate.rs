//! How many cycles a frame takes: the transmitter on a host memory with the latency of a real one.
//!
//! The memory takes a request every third clock and gives a beat per clock, as the read arbiter does. Every frame is compared
//! with the model's; the cycles between the ends of the first and the last frame of a run are counted.

mod transmit_model;

use chimney_abi::desc::TX_LSO;
use chimney_hdl::tcp::tx::tables::{NeighborEntry, PathEntry, TableOp, TABLE_NEIGHBOR, TABLE_PATH_NEW};
use chimney_hdl::types::{ReadBeat, ReadReq, TxJob};
use chimney_hdl_kernel::diff::{Bench, Clocked, Rnd, Verilated};
use std::collections::VecDeque;
use transmit_model::{large, ports, segment, Dut, Host, Way};

/// Clocks without a frame after which a run has failed.
const PATIENCE: usize = 5_000;
/// The budget for a smallest segment, cycles.
const SMALLEST: f64 = 10.0;
/// Ordinary frames of a run without segments.
const ORDINARY_FRAMES: usize = 60;
/// Payload of a smallest frame, and of a full-size one with timestamps.
const SMALL: u64 = 6;
const FULL: u64 = 1448;
/// Segments after which the port has been busy for a while when the next one is taken.
const WARM_UP: usize = 6;
/// Entries of a send ring, log2, and of the TX ring.
const RING_LOG2: u64 = 8;
const TX_LOG2: u64 = 5;
const TX_RING: u64 = 0x9000_0000;
/// Where the bytes of all ordinary frames are.
const ORDINARY: u64 = 0x6000_0003;

/// A read on its way: client, next word, words left, first clock of its data.
struct Read(usize, u64, u64, usize);

/// What a run sends.
#[derive(Clone, Copy)]
struct Load {
    segments: usize,
    connections: u64,
    /// Payload bytes of a segment.
    len: u64,
    timestamps: bool,
    /// Segments per send descriptor.
    per_desc: u64,
    /// Read latency, clocks, and how much it varies.
    latency: usize,
    jitter: u64,
    /// An ordinary frame of so many bytes is there at any time; 0 = none.
    ordinary: u64,
    /// It is a large frame of TCP, to be sent as segments with so many bytes of payload; 0 = it is not.
    mss: u64,
    /// IPv6; a tag and LLC/SNAP.
    v6: bool,
    dressed: bool,
}

impl Load {
    fn of(len: u64, connections: u64, latency: usize) -> Self {
        let segments = if len < 100 { 200 } else { 20 };
        Load {
            segments,
            connections,
            len,
            timestamps: len > 100,
            per_desc: 128,
            latency,
            jitter: 0,
            ordinary: 0,
            mss: 0,
            v6: false,
            dressed: false,
        }
    }

    fn header(self) -> u64 {
        54 + [0, 12][usize::from(self.timestamps)]
            + [0, 20][usize::from(self.v6)]
            + [0, 12][usize::from(self.dressed)]
    }
}

#[derive(Default)]
struct Run {
    host: Host,
    reads: VecDeque<Read>,
    /// Clock from which a request is taken again.
    free_at: usize,
    now: usize,
    jobs: VecDeque<TxJob>,
    expected: VecDeque<Vec<u8>>,
    frame: Vec<u8>,
    ends: Vec<usize>,
    ordinary: usize,
    /// What the ordinary frame becomes.
    pieces: Vec<Vec<u8>>,
    done: usize,
    /// Clocks at which the segments on their way were taken, and the longest way of those that found the port busy.
    taken: VecDeque<usize>,
    longest: usize,
}

fn way(l: Load) -> (Way, [TableOp; 2]) {
    let neighbor = NeighborEntry {
        usable: true,
        dst_mac: 0x0605_0403_0201u64.into(),
        src_mac: 0x1615_1413_1211u64.into(),
        vlan: if l.dressed { 5u64 } else { 0 }.into(),
        snap: l.dressed,
    };
    let path = PathEntry {
        usable: true,
        v6: l.v6,
        src_ip: 0x0100_000au64.into(),
        dst_ip: 0x0200_000au64.into(),
        neighbor: 2u64.into(),
        ip_id_start: 0x1234u64.into(),
    };
    let op = TableOp { neighbor, path, id: 2u64.into(), ..Default::default() };
    let ops = [TableOp { kind: TABLE_NEIGHBOR.into(), ..op }, TableOp { kind: TABLE_PATH_NEW.into(), ..op }];
    (Way { path, neighbor, counter: 0, own: 0 }, ops)
}

/// A large frame of `l.ordinary` bytes.
fn large_frame(l: Load, way: Way) -> Vec<u8> {
    let j = TxJob { seq: 0xffff_8000u64.into(), flags: 0x19u64.into(), has_ts: true, ..Default::default() };
    let header = segment(&j, &way, &[], false);
    let text = (0..l.ordinary - header.len() as u64).map(|i| ((i * i) >> 3) as u8);
    [&header[..], &text.collect::<Vec<_>>()].concat()
}

impl Run {
    /// Fills the send rings and lists the jobs of all connections in turn.
    fn prepare(&mut self, l: Load, way: Way) {
        let mut rnd = Rnd::new(Rnd::seed_for("transmit_rate"));
        let span = l.len * l.per_desc;
        let each = l.segments as u64 / l.connections;
        let addr: Vec<Vec<u64>> = (0..l.connections)
            .map(|c| (0..=each / l.per_desc).map(|_| 0x4000_0000 + (c << 24) + rnd.below(1 << 16)).collect())
            .collect();
        for (c, list) in addr.iter().enumerate() {
            for (i, at) in list.iter().enumerate() {
                let ring = Self::ring(c as u64) + 16 * i as u64;
                self.host.put(ring, *at);
                self.host.put(ring + 8, span | (i as u64 * span) << 32);
            }
        }
        let mut counter = 0u16;
        for k in 0..each {
            for c in 0..l.connections {
                let j = TxJob {
                    conn: c.into(),
                    path: 2u64.into(),
                    seq: (k * l.len).into(),
                    len: l.len.into(),
                    flags: 0x10u64.into(),
                    ttl: 64u64.into(),
                    has_ts: l.timestamps,
                    ts_val: rnd.any(),
                    send_ring: Self::ring(c).into(),
                    send_ring_log2: RING_LOG2.into(),
                    reset_cursor: k == 0,
                    ..Default::default()
                };
                let at = addr[c as usize][(k / l.per_desc) as usize] + k % l.per_desc * l.len;
                let text = self.host.bytes(at, l.len as usize);
                self.jobs.push_back(j);
                self.expected.push_back(segment(&j, &Way { counter, ..way }, &text, false));
                counter += 1;
            }
        }
        let frame = self.host.bytes(ORDINARY, l.ordinary as usize);
        self.pieces = vec![frame];
        let mut low = l.ordinary;
        if l.mss != 0 {
            let frame = large_frame(l, way);
            self.host.lay(ORDINARY, &frame);
            self.pieces = large::segments(&frame, l.mss as usize).expect("it can be divided");
            low |= u64::from(TX_LSO) << 16 | l.mss << 40;
        }
        for entry in (0..1 << TX_LOG2).map(|i| TX_RING + 16 * i) {
            self.host.put(entry, ORDINARY);
            self.host.put(entry + 8, low);
        }
    }

    fn ring(conn: u64) -> u64 {
        0x1_0000_0000 + 0x1_0000 * conn
    }

    /// The memory: a request every third clock, a beat per clock, a client's beats in order.
    fn memory(&mut self, u: &mut Dut, l: Load, rnd: &mut Rnd) {
        let asked: [(bool, ReadReq); 3] = [
            (u.ord_req_valid.val(), u.ord_req.val()),
            (u.desc_req_valid.val(), u.desc_req.val()),
            (u.payload_req_valid.val(), u.payload_req.val()),
        ];
        let chosen = asked.iter().position(|(valid, _)| *valid).filter(|_| self.now >= self.free_at);
        let ready = |i: usize| chosen == Some(i);
        (u.ord_req_ready.next, u.desc_req_ready.next, u.payload_req_ready.next) =
            (ready(0), ready(1), ready(2));
        if let Some(i) = chosen {
            let when = self.now + l.latency + rnd.below(l.jitter + 1) as usize;
            let ReadReq { iova, beats } = asked[i].1;
            self.reads.push_back(Read(i, iova.to_u64(), beats.to_u64(), when));
            self.free_at = self.now + 3;
        }
        // The oldest of a client that is due; what has begun is finished by being the first in the list.
        let first = |i: usize, k: usize| self.reads.iter().take(k).all(|r| r.0 != i);
        let due = self.reads.iter().enumerate().position(|(k, r)| r.3 < self.now && first(r.0, k));
        let mut to = None;
        u.beat.next = ReadBeat::default();
        if let Some(k) = due {
            let Read(client, at, left, _) = &mut self.reads[k];
            let last = *left == 1;
            u.beat.next = ReadBeat { data: self.host.word(*at).into(), last, error: false };
            to = Some(*client);
            (*at, *left) = (*at + 8, *left - 1);
            if last {
                self.reads.remove(k);
            }
        }
        u.ord_beat_valid.next = to == Some(0);
        u.desc_beat_valid.next = to == Some(1);
        u.payload_beat_valid.next = to == Some(2);
    }

    fn output(&mut self, u: &Dut, l: Load) {
        if !u.m_axis_tvalid.val() {
            return;
        }
        let n = u.m_axis_tkeep.val().to_u64().trailing_ones() as usize;
        self.frame.extend(&u.m_axis_tdata.val().to_u64().to_le_bytes()[..n]);
        if !u.m_axis_tlast.val() {
            return;
        }
        let frame = std::mem::take(&mut self.frame);
        let is_ordinary = l.ordinary != 0 && frame == self.pieces[self.ordinary % self.pieces.len()];
        if is_ordinary {
            self.ordinary += 1;
        } else {
            let mut want = self.expected.pop_front().expect("no frame is left");
            want.resize(want.len().max(60), 0);
            let differs = frame.iter().zip(&want).position(|(a, b)| a != b);
            assert!(frame == want, "frame {} of {} bytes, byte {differs:?}", self.ends.len(), frame.len());
            let taken = self.taken.pop_front().expect("it was taken");
            if self.ends.len() >= WARM_UP {
                self.longest = self.longest.max(self.now - taken);
            }
        }
        if !is_ordinary || l.segments == 0 {
            self.ends.push(self.now);
        }
    }

    fn step(&mut self, u: &mut Dut, l: Load, rnd: &mut Rnd) {
        self.now += 1;
        u.reset.next = false;
        u.table_op_valid.next = false;
        u.m_axis_tready.next = true;
        u.lb_tready.next = true;
        u.done_ready.next = true;
        u.enable.next = l.ordinary != 0;
        u.tx_base.next = TX_RING.into();
        u.tx_log2.next = TX_LOG2.into();
        u.tx_producer.next = u.tx_consumer.val() + (1 << TX_LOG2);
        u.job_valid.next = !self.jobs.is_empty();
        u.job.next = self.jobs.front().copied().unwrap_or_default();
        if u.job_ready.val() {
            self.jobs.pop_front();
            self.taken.push_back(self.now);
        }
        self.done += usize::from(u.done_valid.val());
        self.output(u, l);
        self.memory(u, l, rnd);
    }
}

/// Sends a load; returns the run. The model is that of `transmit`, which compares it with the native simulation.
fn run(l: Load) -> Run {
    run_on(Verilated::new("transmit", Dut::default(), ports()), l)
}

fn run_on(mut bench: impl Clocked<Dut>, l: Load) -> Run {
    let mut r = Run::default();
    let mut rnd = Rnd::new(Rnd::seed_for("transmit_rate"));
    let (way, ops) = way(l);
    r.prepare(l, way);
    bench.cycle(|u| u.reset.next = true);
    for _ in 0..8 {
        bench.cycle(|u| u.reset.next = false);
    }
    for op in ops {
        bench.cycle(|u| {
            u.table_op_valid.next = true;
            u.table_op.next = op;
        });
    }
    let mut quiet = 0;
    let frames = if l.segments == 0 { ORDINARY_FRAMES } else { r.expected.len() };
    while r.ends.len() < frames {
        let before = r.ends.len();
        bench.cycle(|u| r.step(u, l, &mut rnd));
        quiet = if r.ends.len() == before { quiet + 1 } else { 0 };
        assert!(quiet < PATIENCE, "no frame for {PATIENCE} clocks; {} are out", r.ends.len());
    }
    r
}

/// Cycles per frame, from the end of the first third on.
fn cycles(r: &Run) -> f64 {
    let from = r.ends.len() / 3;
    let last = r.ends.len() - 1;
    (r.ends[last] - r.ends[from]) as f64 / (last - from) as f64
}

fn judge(name: &str, l: Load, most: f64) -> Run {
    let r = run(l);
    let c = cycles(&r);
    eprintln!("{name}: {c:.2} cycles per frame, at most {most:.2}; {} ordinary", r.ordinary);
    assert!(c <= most, "{name}: {c:.2} cycles");
    r
}

/// Beats of a frame of `len` bytes of payload.
fn beats(l: Load) -> f64 {
    (l.header() + l.len).div_ceil(8) as f64
}

/// What holds for the model holds for the block.
#[test]
fn the_model_takes_the_clocks_of_the_native_simulation() {
    let l = Load { segments: 24, ordinary: 100, jitter: 20, dressed: true, ..Load::of(SMALL, 8, 30) };
    for v6 in [false, true] {
        let l = Load { v6, ..l };
        let native = Bench::new(Dut::default(), |u: &mut Dut, c| u.clock.next = c.into());
        let (native, model) = (run_on(native, l), run(l));
        assert_eq!((native.ends, native.ordinary, native.now), (model.ends, model.ordinary, model.now));
    }
}

#[test]
fn a_smallest_segment_takes_ten_cycles_at_any_latency() {
    for connections in [1, 8] {
        for latency in [0, 150] {
            let name = format!("smallest, {connections} connections, latency {latency}");
            judge(&name, Load::of(SMALL, connections, latency), SMALLEST);
        }
    }
    let l = Load::of(SMALL, 8, 50);
    judge("smallest, latency 50 to 150", Load { jitter: 100, ..l }, SMALLEST);
}

/// The MAC needs 24 bytes more for each: 13 beats for the smallest frame of IPv6.
#[test]
fn a_smallest_ipv6_segment_takes_one_cycle_more_than_its_header_words() {
    for (dressed, words) in [(false, 10.0), (true, 11.0)] {
        for (connections, latency) in [(1, 0), (8, 150)] {
            let l = Load { v6: true, dressed, ..Load::of(SMALL, connections, latency) };
            let name =
                format!("IPv6, tag and LLC/SNAP {dressed}, {connections} connections, latency {latency}");
            judge(&name, l, words + 1.0 + 0.2);
        }
    }
    let l = Load { dressed: true, ..Load::of(SMALL, 8, 150) };
    judge("IPv4 with tag and LLC/SNAP", l, 10.2);
}

#[test]
fn a_full_ipv6_segment_takes_its_beats() {
    for dressed in [false, true] {
        let l = Load { v6: true, dressed, ..Load::of(FULL - 20, 1, 150) };
        judge(&format!("full IPv6, tag and LLC/SNAP {dressed}"), l, beats(l) + 1.0);
    }
}

#[test]
fn a_full_segment_takes_its_beats_at_any_latency() {
    for connections in [1, 8] {
        for latency in [0, 150] {
            let l = Load::of(FULL, connections, latency);
            judge(&format!("full, {connections} connections, latency {latency}"), l, beats(l) + 1.0);
        }
    }
}

/// An acknowledgment is as old as its job: a full port has 10 KiB and a frame in front of the one taken last, not the whole ring, with which one
/// connection took 2187 cycles, 11.5 frames.
#[test]
fn a_full_segment_leaves_within_eleven_frames_of_being_taken() {
    for (connections, latency) in [(1, 0), (8, 150)] {
        let l = Load::of(FULL, connections, latency);
        let r = judge(&format!("full, {connections} connections, latency {latency}"), l, beats(l) + 1.0);
        eprintln!("taken {} cycles before its end, at most", r.longest);
        assert!(r.longest as f64 <= 11.0 * beats(l), "{} cycles", r.longest);
    }
}

/// Two reads, one behind the other, are hidden by what waits for the port.
#[test]
fn a_full_segment_with_a_descriptor_of_its_own_takes_its_beats() {
    for connections in [1, 8] {
        let l = Load { per_desc: 1, ..Load::of(FULL, connections, 150) };
        judge(&format!("full, a descriptor each, {connections} connections"), l, beats(l) + 1.0);
    }
}

/// A frame is complete before it leaves, and the ring does not hold two jumbo frames: the second one is read while the
/// first one leaves, as far as there is room.
#[test]
fn a_jumbo_segment_takes_three_quarters_of_the_line() {
    let l = Load { segments: 6, per_desc: 2, ..Load::of(8952, 1, 150) };
    judge("jumbo", l, beats(l) / 0.72);
}

/// Law L5: a connection whose descriptor is on its way does not stop the search of another.
#[test]
fn searches_of_eight_connections_wait_at_the_same_time() {
    let l = Load { per_desc: 1, segments: 80, ..Load::of(SMALL, 8, 150) };
    judge("a descriptor for each segment, 8 connections", l, 150.0 / 4.0);
}

#[test]
fn ordinary_frames_are_read_ahead() {
    // The memory's port carries bytes and descriptor: 10 and 192 beats. 16 descriptors are read ahead.
    for (bytes, latency, most) in [(60, 0, 10.5), (60, 150, 14.0), (1514, 0, 193.0), (1514, 150, 193.0)] {
        let l = Load { segments: 0, ordinary: bytes, ..Load::of(0, 1, latency) };
        judge(&format!("ordinary frames of {bytes} bytes, latency {latency}"), l, most);
    }
}

/// as fast as those of a connection, headers of large frames read and all.
#[test]
fn segments_of_large_frames_take_their_beats() {
    let full = (66 + FULL).div_ceil(8) as f64;
    for (bytes, latency, most) in
        [(65_226, 0, full + 1.0), (65_226, 150, full + 1.0), (66 + 4 * FULL, 150, full + 1.0)]
    {
        let l = Load { segments: 0, ordinary: bytes, mss: FULL, ..Load::of(0, 1, latency) };
        judge(&format!("segments of large frames of {bytes} bytes, latency {latency}"), l, most);
    }
    let l = Load { segments: 0, ordinary: 66 + 8 * FULL, mss: 6, ..Load::of(0, 1, 150) };
    judge("smallest segments of large frames, latency 150", l, 11.5);
}

/// Law L5: segments of connections go between those of a large frame.
#[test]
fn jobs_and_segments_of_large_frames_take_turns() {
    let l = Load { ordinary: 65_226, mss: FULL, segments: 60, ..Load::of(SMALL, 8, 150) };
    let r = judge("smallest segments among those of large frames", l, 8.0 + 190.0 + 2.0);
    let first = r.ends.iter().position(|t| *t > 1000).expect("it takes longer");
    assert!(r.ordinary + first + 2 >= r.ends.len() && r.ordinary <= r.ends.len(), "{} ordinary", r.ordinary);
}

/// Law L5: neither stops the other.
#[test]
fn jobs_and_ordinary_frames_take_turns() {
    let l = Load { ordinary: 1514, ..Load::of(SMALL, 8, 150) };
    let l = Load { segments: 60, ..l };
    let r = judge("smallest segments among ordinary frames", l, 8.0 + 190.0 + 2.0);
    // The first descriptor of the TX ring takes a while, and frames are read ahead.
    let first = r.ends.iter().position(|t| *t > 1000).expect("it takes longer");
    assert!(r.ordinary + first + 2 >= r.ends.len() && r.ordinary <= r.ends.len(), "{} ordinary", r.ordinary);
}
