//! The transmitter, single cases: reset, long walks in the send ring, sizes.

mod transmit_model;

use chimney_abi::wire::ethernet::MAX_JUMBO_LEN;
use chimney_hdl::eth::tx::SLOT_LOG2;
use chimney_hdl::ip::tx_build::Form;
use chimney_hdl::tcp::tx::item::{NO_DATA, NO_ROUTE, SENT};
use chimney_hdl::tcp::tx::tables::{NeighborEntry, PathEntry, TableOp, TABLE_NEIGHBOR, TABLE_PATH_NEW};
use chimney_hdl::tcp::tx::transmit::Transmit;
use chimney_hdl::types::TxJob;
use chimney_hdl_kernel::diff::{Clocked, Rnd, Verilated};
use transmit_model::{ports, segment, Bus, Dut, Host, Way};

const RING: u64 = 0x1000;
/// Clocks between a request and its data.
const LATENCY: usize = 3;
/// Clocks after which nothing more is expected.
const PATIENCE: usize = 20_000;

/// The device, its memory, and what came out of it.
struct Rig {
    bench: Verilated<Dut>,
    host: Host,
    bus: [Bus; 2],
    now: usize,
    frame: Vec<u8>,
    frames: Vec<Vec<u8>>,
    /// Clocks of the first and the last beat of the newest frame.
    first_beat: usize,
    last_beat: usize,
}

/// The model is that of `transmit`, which compares it with the native simulation.
fn rig() -> Rig {
    let mut r = Rig {
        bench: Verilated::new("transmit", Dut::default(), ports()),
        host: Host::default(),
        bus: Default::default(),
        now: 0,
        frame: vec![],
        frames: vec![],
        first_beat: 0,
        last_beat: 0,
    };
    r.reset();
    r
}

impl Rig {
    fn reset(&mut self) {
        self.bench.cycle(|u| u.reset.next = true);
        self.bench.cycle(|u| u.reset.next = false);
    }

    /// One clock. Returns the result of a job that ended in it.
    fn clock(&mut self, poke: impl FnOnce(&mut Dut)) -> Option<u64> {
        self.now += 1;
        let (host, bus, now) = (&self.host, &mut self.bus, self.now);
        let mut ended = None;
        let frame = &mut self.frame;
        let first_beat = &mut self.first_beat;
        let mut last = false;
        self.bench.cycle(|u| {
            (u.job_valid.next, u.table_op_valid.next) = (false, false);
            (u.desc_req_ready.next, u.payload_req_ready.next) = (true, true);
            (u.m_axis_tready.next, u.lb_tready.next, u.done_ready.next) = (true, true, true);
            poke(u);
            for (i, (valid, req)) in
                [(u.desc_req_valid.val(), u.desc_req.val()), (u.payload_req_valid.val(), u.payload_req.val())]
                    .into_iter()
                    .enumerate()
            {
                if valid {
                    bus[i].ask(req.iova.to_u64(), req.beats.to_u64(), now + LATENCY);
                }
            }
            let desc = bus[0].next(host, now);
            let data = if desc.is_some() { None } else { bus[1].next(host, now) };
            u.desc_beat_valid.next = desc.is_some();
            u.payload_beat_valid.next = data.is_some();
            u.beat.next = desc.or(data).unwrap_or_default();
            if u.m_axis_tvalid.val() && u.m_axis_tready.next {
                *first_beat = if frame.is_empty() { now } else { *first_beat };
                let n = u.m_axis_tkeep.val().to_u64().trailing_ones() as usize;
                frame.extend(&u.m_axis_tdata.val().to_u64().to_le_bytes()[..n]);
                last = u.m_axis_tlast.val();
            }
            ended = u.done_valid.val().then(|| u.done.val().result.to_u64());
        });
        if last {
            self.last_beat = now;
            self.frames.push(std::mem::take(&mut self.frame));
        }
        ended
    }

    fn table(&mut self, op: TableOp) {
        while !self.bench.u().table_op_ready.val() {
            self.clock(|_| {});
        }
        self.clock(|u| {
            u.table_op_valid.next = true;
            u.table_op.next = op;
        });
    }

    /// Path 1 through neighbor 2.
    fn route(&mut self) -> Way {
        self.route_of(Form::default())
    }

    /// The same, its frames of this form.
    fn route_of(&mut self, form: Form) -> Way {
        let n = NeighborEntry {
            usable: true,
            dst_mac: 0x0605_0403_0201u64.into(),
            src_mac: 0x1615_1413_1211u64.into(),
            vlan: if form.tagged { 0x123u64 } else { 0 }.into(),
            snap: form.snap,
        };
        let p = PathEntry {
            usable: true,
            v6: form.v6,
            src_ip: 0x0100_000au64.into(),
            dst_ip: 0x0200_000au64.into(),
            neighbor: 2u64.into(),
            ip_id_start: 0x8000u64.into(),
        };
        let op = TableOp { neighbor: n, path: p, ..Default::default() };
        self.table(TableOp { kind: TABLE_NEIGHBOR.into(), id: 2u64.into(), ..op });
        self.table(TableOp {
            kind: TABLE_PATH_NEW.into(),
            id: 1u64.into(),
            ip_id_counter: 0xffffu64.into(),
            ..op
        });
        Way { path: p, neighbor: n, counter: 0xffff, own: 0 }
    }

    /// Sends a job; returns its result and the clocks it took.
    fn send(&mut self, j: &TxJob) -> (u64, usize) {
        let start = self.now;
        let mut ended = self.clock(|u| {
            u.job_valid.next = true;
            u.job.next = *j;
        });
        while ended.is_none() {
            assert!(self.now < start + PATIENCE, "no result");
            ended = self.clock(|_| {});
        }
        let clocks = self.now - start;
        for _ in 0..300 {
            self.clock(|_| {});
        }
        (ended.expect("it ended"), clocks)
    }
}

fn job(seq: u32, len: u64) -> TxJob {
    TxJob {
        conn: 5u64.into(),
        path: 1u64.into(),
        seq: u64::from(seq).into(),
        len: len.into(),
        flags: 0x10u64.into(),
        ttl: 64u64.into(),
        send_ring: RING.into(),
        send_ring_log2: 8u64.into(),
        ..Default::default()
    }
}

/// Verifies: R-135 (nothing leaves through what is not there), R-279 (the counter wraps within its half).
#[test]
fn reset_forgets_paths_and_neighbors() {
    let mut r = rig();
    assert_eq!(r.send(&job(1, 0)).0, NO_ROUTE);
    let way = r.route();
    for counter in [0xffffu16, 0] {
        assert_eq!(r.send(&job(1, 0)).0, SENT);
        let mut f = segment(&job(1, 0), &Way { counter, ..way }, &[], false);
        f.resize(60, 0);
        assert_eq!(r.frames.pop(), Some(f));
    }
    r.reset();
    r.table(TableOp { kind: 3u64.into(), ..Default::default() });
    assert_eq!(r.send(&job(1, 0)).0, NO_ROUTE);
    assert!(r.frames.is_empty());
}

/// A retransmission may begin any number of descriptors before the newest one.
///
/// Verifies: R-176.
#[test]
fn walks_over_more_than_a_hundred_descriptors_and_back() {
    let mut r = rig();
    let way = r.route();
    let seq = |i: u64| 0xffff_ff00u32.wrapping_add(3 * i as u32);
    for i in 0..200 {
        r.host.put(RING + 16 * i, 0x5_0000 + 100 * i);
        r.host.put(RING + 16 * i + 8, 3 | u64::from(i == 150) << 24 | u64::from(seq(i)) << 32);
    }
    for (counter, (first, count)) in [(0, 1), (149, 1), (149, 3), (0, 2), (120, 80)].into_iter().enumerate() {
        let j = job(seq(first), 3 * count);
        let (result, clocks) = r.send(&j);
        eprintln!("{count} descriptors from {first}: {clocks} clocks");
        let text: Vec<u8> =
            (first..first + count).flat_map(|i| r.host.bytes(0x5_0000 + 100 * i, 3)).collect();
        let push = (first..first + count).contains(&150);
        let mut f =
            segment(&j, &Way { counter: way.counter.wrapping_add(counter as u16), ..way }, &text, push);
        f.resize(f.len().max(60), 0);
        assert_eq!((result, r.frames.pop()), (SENT, Some(f)));
    }
}

/// Before, a slot was given back while its result waited: with all slots in use, the frame that got it lost its place in the list, and its
/// result.
#[test]
fn results_wait_until_they_are_taken_and_none_is_lost() {
    // More than there are slots, and clocks enough for all of them, first without and then with somebody who takes results.
    const JOBS: u64 = 2 << SLOT_LOG2;
    const CLOCKS: u64 = 16 * JOBS;
    let mut r = rig();
    let (mut taken, mut results) = (0, vec![]);
    for now in 0..2 * CLOCKS {
        let ready = now >= CLOCKS;
        r.clock(|u| {
            u.done_ready.next = ready;
            u.job_valid.next = taken < JOBS;
            u.job.next = TxJob { conn: (taken % 8).into(), ..job(1, 0) };
            taken += u64::from(u.job_ready.val());
            if ready && u.done_valid.val() {
                let done = u.done.val();
                results.push((done.conn.to_u64(), done.result.to_u64()));
            }
        });
        assert!(ready || taken <= 1 << SLOT_LOG2, "a slot for each");
    }
    assert_eq!(results, (0..JOBS).map(|i| (i % 8, NO_ROUTE)).collect::<Vec<_>>());
}

/// An acknowledgment with these options.
fn bare(r: &mut Rnd, has_ts: bool, blocks: u64) -> TxJob {
    TxJob {
        ack: r.any(),
        wnd: r.any(),
        ts_val: r.any(),
        ts_ecr: r.any(),
        sack: r.uniform(),
        local_port: r.any(),
        remote_port: r.any(),
        has_ts,
        sack_count: blocks.into(),
        ..job(r.next_u64() as u32, 0)
    }
}

/// All forms of frames.
fn forms() -> impl Iterator<Item = Form> {
    (0..8).map(|i| Form { tagged: i & 1 != 0, snap: i & 2 != 0, v6: i & 4 != 0 })
}

/// All lists of options.
fn options() -> impl Iterator<Item = (bool, u64)> {
    (0..=4).flat_map(|n| [(false, n), (true, n)]).filter(|o| *o != (true, 4))
}

/// Clocks from the clock in which an acknowledgment is offered to its first beat: five, and as many as its header goes on for behind the beat with
/// the TCP checksum.
fn clocks_to_first_beat(form: Form, job: &TxJob, way: &Way) -> usize {
    let link = 14 + if form.tagged { 4 } else { 0 } + if form.snap { 8 } else { 0 };
    let checksum = link + if form.v6 { 40 } else { 20 } + 16;
    let end = segment(job, way, &[], false).len();
    5 + (end - 1) / 8 - checksum / 8
}

/// Before, the first beat came 16 to 24 clocks after the job.
#[test]
fn an_acknowledgment_leaves_while_its_header_is_made() {
    let mut rnd = Rnd::new(Rnd::seed_for("transmit_lead"));
    let mut r = rig();
    let mut seen = vec![];
    for form in forms() {
        let mut way = r.route_of(form);
        for (has_ts, blocks) in options() {
            let j = bare(&mut rnd, has_ts, blocks);
            let offered = r.now + 1;
            assert_eq!(r.send(&j).0, SENT);
            let mut want = segment(&j, &way, &[], false);
            way.counter = way.counter.wrapping_add(u16::from(!form.v6));
            let clocks = clocks_to_first_beat(form, &j, &way);
            seen.push(r.first_beat - offered);
            assert_eq!(r.first_beat - offered, clocks, "{form:?}, {has_ts}, {blocks} blocks");
            want.resize(want.len().max(60), 0);
            assert_eq!(r.last_beat + 1 - r.first_beat, want.len().div_ceil(8), "without a gap");
            assert_eq!(r.frames.pop(), Some(want), "{form:?}, {has_ts}, {blocks} blocks");
        }
    }
    let worst = seen.iter().max();
    assert_eq!((seen.iter().min(), worst), (Some(&5), Some(&11)));
}

/// Jobs of any form one behind the other, and a port that stalls anywhere: each frame is its own, with the number of its place.
#[test]
fn acknowledgments_in_a_row_leave_as_they_are() {
    let mut rnd = Rnd::new(Rnd::seed_for("transmit_row"));
    for (stall, pause) in [(0, 0), (0, 9), (2, 0), (2, 4), (6, 0), (14, 2)] {
        for form in forms() {
            let mut r = rig();
            let mut way = r.route_of(form);
            let jobs: Vec<TxJob> = options().chain(options()).map(|(ts, n)| bare(&mut rnd, ts, n)).collect();
            let (mut taken, mut told, mut rest, mut gaps) = (0, 0, 0, 0);
            let before = r.now;
            while r.frames.len() < jobs.len() || told < jobs.len() {
                assert!(r.now < before + PATIENCE, "{} of {}", r.frames.len(), jobs.len());
                let (ready, tells) = (rnd.below(16) >= stall, rnd.below(16) >= stall);
                rest = if rest == 0 { rnd.below(pause + 1) } else { rest - 1 };
                let in_frame = !r.frame.is_empty();
                r.clock(|u| {
                    u.m_axis_tready.next = ready;
                    u.done_ready.next = tells;
                    // What is offered stays; a job may come at any time.
                    let waits = taken < jobs.len();
                    u.job_valid.next = waits && (u.job_valid.val() || rest == 0 || u.job_ready.val());
                    u.job.next = jobs.get(taken).copied().unwrap_or_default();
                    taken += usize::from(waits && u.job_ready.val());
                    told += usize::from(u.done_valid.val() && tells);
                    gaps += usize::from(in_frame && !u.m_axis_tvalid.val());
                    assert!(told <= taken, "no result of a job that is not taken");
                });
            }
            for (f, j) in r.frames.iter().zip(&jobs) {
                let mut want = segment(j, &way, &[], false);
                way.counter = way.counter.wrapping_add(u16::from(!form.v6));
                want.resize(want.len().max(60), 0);
                assert_eq!(*f, want, "{form:?}, {stall} of 16 stalled");
            }
            assert_eq!(gaps, 0, "gaps within frames");
        }
    }
}

/// The way of each ends in time for the next one: a frame per eight clocks, and each five clocks after its job.
#[test]
fn acknowledgments_without_a_pause_lead_each() {
    const JOBS: usize = 40;
    let mut r = rig();
    r.route();
    let (mut taken, mut begins, start) = (0, vec![], r.now + 1);
    while r.frames.len() < JOBS {
        let before = r.first_beat;
        r.clock(|u| {
            u.job_valid.next = taken < JOBS;
            u.job.next = job(1, 0);
            taken += usize::from(u.job_ready.val());
        });
        if r.first_beat != before {
            begins.push(r.first_beat - start);
        }
        assert!(r.now < PATIENCE, "{begins:?}");
    }
    assert_eq!(begins, (0..JOBS).map(|i| 5 + 8 * i).collect::<Vec<_>>());
}

/// The device does not hang on a ring that does not hold what PROTO believes.
#[test]
fn a_hole_in_the_ring_ends_the_job() {
    let mut r = rig();
    r.route();
    for i in 0..256u64 {
        r.host.put(RING + 16 * i + 8, 10 | (20 * i) << 32);
    }
    let (result, clocks) = r.send(&job(15, 5));
    eprintln!("given up after {clocks} clocks");
    assert_eq!(result, NO_DATA);
    assert_eq!(r.send(&job(20, 10)).0, SENT);
    assert_eq!(r.send(&job(0, 4000)).0, NO_DATA, "no frame is that long");
    assert_eq!(r.frames.len(), 1);
}

/// A host that offloads a larger MSS than the wire can carry gets the connection back, and the wire no such frame.
#[test]
fn the_longest_frame_leaves_and_one_byte_more_is_refused() {
    const HEADERS: usize = 54;
    let most = (MAX_JUMBO_LEN - HEADERS) as u64;
    let mut r = rig();
    let way = r.route();
    r.host.put(RING, 0x5_0000);
    r.host.put(RING + 8, 2 * most);
    assert_eq!(r.send(&job(0, most)).0, SENT);
    while r.frames.is_empty() {
        assert!(r.now < PATIENCE, "no frame");
        r.clock(|_| {});
    }
    let text = r.host.bytes(0x5_0000, most as usize);
    assert_eq!(r.frames.pop(), Some(segment(&job(0, most), &way, &text, false)));
    assert_eq!(r.send(&job(0, most + 1)).0, NO_DATA);
    // With a timestamp the header is 12 bytes longer.
    assert_eq!(r.send(&TxJob { has_ts: true, ..job(0, most - 11) }).0, NO_DATA);
    assert!(r.frames.is_empty() && r.frame.is_empty());
}

/// 256 connections are only a wider address.
#[test]
fn elaborates_for_256_connections() {
    let text =
        chimney_hdl_kernel::verilog(&Transmit::<8, 6>::default(), "transmit_256").expect("it elaborates");
    assert!(text.contains("module transmit_256"));
}
