//! The receiver against a judge in plain Rust, and native against Verilated: the same run does both. The lookup is played by the test.

mod frames;
mod lookup_model;

use chimney_abi::wire::ethernet::MAX_JUMBO_LEN;
use chimney_hdl::eth::rx::Rx;
use chimney_hdl::eth::rx_stream::WORD_BITS;
use chimney_hdl::prelude::*;
use chimney_hdl::types::FrameMeta;
use chimney_hdl_kernel::diff::{long, Bench, Diff, Rnd};
use frames::judge::{judge, Expected};
use frames::{random_frame, shaped_frame, Shape, Source, MAC};
use lookup_model::{Secret, Tuple};
use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};

/// The longest frame that is kept: jumbo, in whole beats.
const MAX: usize = MAX_JUMBO_LEN.next_multiple_of(8);
type Dut = Rx<MAX>;

/// What takes the frames: reads them out of packet memory and frees them.
#[derive(Default)]
struct Sink {
    work: Option<(FrameMeta, Expected)>,
    words: Vec<u64>,
    reading: bool,
}

/// What the lookup says of a tuple, and its neighbor's VLAN id.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Row {
    hit: bool,
    conn: u64,
    vlan: u64,
}

/// The table after so many changes.
fn table(changes: u64, tuple: &Tuple) -> Row {
    let mut h = DefaultHasher::new();
    (changes, tuple).hash(&mut h);
    let x = h.finish();
    Row { hit: x & 3 != 0, conn: x >> 2 & 0xfff, vlan: [0, 0, 0, 0, 1, 2, 3, 3][(x >> 14 & 7) as usize] }
}

/// A find in work.
#[derive(Clone, Copy)]
struct Finding {
    hash: u64,
    is_v6: bool,
    /// The S-boxes are filled for so long that no frame is older.
    is_hashed: bool,
    /// Changes when it was asked.
    changes: u64,
    /// Clocks until its answer.
    left: u64,
}

/// Anything that can come in, too long ones included; with few VLAN ids.
fn any_frame(r: &mut Rnd) -> Vec<u8> {
    let mut f = long_frame(r);
    if f.len() > 15 && f[12..14] == [0x81, 0] && r.chance(9, 10) {
        (f[14], f[15]) = (f[14] & 0xf0, f[15] & 3);
    }
    f
}

fn long_frame(r: &mut Rnd) -> Vec<u8> {
    if r.chance(1, 30) {
        vec![0x5a; [MAX, MAX + 1, MAX + 8, 12_000][r.below(4) as usize]]
    } else if r.chance(1, 30) {
        random_frame(r, MAX as u64)
    } else {
        random_frame(r, 1500)
    }
}

#[derive(Default)]
struct Test {
    wire: Source,
    lb: Source,
    expected: VecDeque<Expected>,
    last_kept: bool,
    sink: Sink,
    /// Of 16 cycles, those without a beat.
    gap: u64,
    /// Of 16 cycles, those in which the sink does nothing.
    lazy: u64,
    frames: usize,
    candidates: usize,
    sacks: usize,
    overruns: usize,
    bad: usize,
    too_long: usize,
    /// The S-boxes, when they are filled; T of single words compared.
    secret: Option<Secret>,
    mixes: usize,
    mixed: Option<u32>,
    clock: u64,
    changes: u64,
    finding: Option<Finding>,
    /// Hits and misses of candidates, those of another VLAN; frames that waited through a change.
    hits: usize,
    misses: usize,
    foreign: usize,
}

/// Clocks until the S-boxes are filled.
const FILLED: u64 = 2113;
const HASH_KEY: u64 = 0x1122_3344_5566_7788;

fn check(m: &FrameMeta, e: &Expected) {
    let f = &e.frame;
    assert_eq!(m.len.to_u64() as usize, f.len());
    let verdict = u64::from(e.ip_ok) | u64::from(e.l4_ok) << 1;
    assert_eq!(m.verdict.to_u64(), verdict, "{f:02x?}");
    assert_eq!(m.candidate, e.candidate, "{f:02x?}");
    if !e.candidate {
        return;
    }
    let be16 = |at: usize| u64::from(f[at]) << 8 | u64::from(f[at + 1]);
    let be32 = |at: usize| be16(at) << 16 | be16(at + 2);
    let t = e.tcp_at;
    let header = usize::from(f[t + 12] >> 4) * 4;
    assert_eq!((m.seg.seq.to_u64(), m.seg.ack.to_u64()), (be32(t + 4), be32(t + 8)));
    assert_eq!((m.seg.flags.to_u64(), m.seg.wnd.to_u64()), (u64::from(f[t + 13]), be16(t + 14)));
    let ecn = if e.is_v6 { f[t - 39] >> 4 & 3 } else { f[t - 19] & 3 };
    assert_eq!((m.seg.ecn.to_u64(), m.seg.ns), (u64::from(ecn), f[t + 12] & 1 != 0));
    assert_eq!(m.seg.payload_len.to_u64() as usize, e.end - t - header);
    assert_eq!(m.seg.payload_src.to_u64() as usize, m.src.to_u64() as usize + t + header);
    assert_eq!(m.seg.sack_count.to_u64() as usize, e.sack.len(), "{f:02x?}");
    for (i, block) in e.sack.iter().enumerate() {
        let (left, right) = (m.seg.sack.get_bits::<32>(64 * i), m.seg.sack.get_bits::<32>(64 * i + 32));
        assert_eq!((left.to_u64(), right.to_u64()), (block.0.into(), block.1.into()));
    }
    assert_eq!(m.seg.frame_len.to_u64() as usize, f.len());
    assert_eq!(m.seg.has_ts, e.ts.is_some());
    if let Some((val, ecr)) = e.ts {
        assert_eq!((m.seg.ts_val.to_u64(), m.seg.ts_ecr.to_u64()), (u64::from(val), u64::from(ecr)));
    }
}

impl Test {
    fn ended(&mut self, frame: Vec<u8>, bad: bool) {
        self.last_kept = !bad && frame.len() <= MAX;
        if self.last_kept {
            self.expected.push_back(judge(&frame));
        }
    }

    /// A pulse tells of the frame whose last beat was taken most recently.
    fn drops(&mut self, u: &Dut) {
        if u.cnt_drop_overrun.val() {
            self.overruns += 1;
            assert!(self.last_kept, "an overrun is counted only for a frame that was fine");
            self.expected.pop_back();
        }
        self.bad += usize::from(u.cnt_drop_bad.val());
        self.too_long += usize::from(u.cnt_drop_too_long.val());
    }

    fn inputs(&mut self, u: &mut Dut, r: &mut Rnd) {
        let (wire, lb) = (self.wire.offer(r, self.gap, any_frame), self.lb.offer(r, self.gap, any_frame));
        let (data, keep, last) = wire.unwrap_or((r.any::<Bits<64>>().to_u64(), 0, false));
        u.s_axis_tvalid.next = wire.is_some();
        u.s_axis_tdata.next = data.into();
        u.s_axis_tkeep.next = u64::from(keep).into();
        u.s_axis_tlast.next = last;
        u.s_axis_tuser.next = last && self.wire.bad;
        let (data, keep, last) = lb.unwrap_or_default();
        u.lb_tvalid.next = lb.is_some();
        u.lb_tdata.next = data.into();
        u.lb_tkeep.next = u64::from(keep).into();
        u.lb_tlast.next = last;
        if wire.is_some() && u.s_axis_tready.val() {
            let bad = self.wire.bad;
            if let Some(f) = self.wire.taken() {
                self.ended(f, bad);
            }
        }
        if lb.is_some() && u.lb_tready.val() {
            if let Some(f) = self.lb.taken() {
                self.ended(f, false);
            }
        }
    }

    fn sink(&mut self, u: &mut Dut, r: &mut Rnd) {
        let awake = r.below(16) >= self.lazy;
        if self.sink.reading {
            self.sink.words.push(u.mem_data.val().to_u64());
        }
        (u.mem_re.next, self.sink.reading, u.free_valid.next) = (false, false, false);
        u.meta_ready.next = awake && self.sink.work.is_none();
        let Some((m, e)) = &self.sink.work else { return };
        let size = e.frame.len().div_ceil(8);
        if self.sink.words.len() < size {
            let word = m.src.to_u64() / 8 + self.sink.words.len() as u64;
            u.mem_addr.next = (word % (1 << WORD_BITS)).into();
            (u.mem_re.next, self.sink.reading) = (awake, awake);
        } else if awake {
            let bytes: Vec<u8> = self.sink.words.drain(..).flat_map(u64::to_le_bytes).collect();
            assert_eq!(bytes[..e.frame.len()], e.frame);
            u.free_valid.next = true;
            u.free_len.next = (size as u64 * 8).into();
            self.sink.work = None;
        }
    }

    /// A frame is taken.
    fn taken(&mut self, u: &Dut) {
        let e = self.expected.pop_front().expect("a frame that was sent");
        let m = u.meta.val();
        check(&m, &e);
        self.frames += 1;
        self.candidates += usize::from(e.candidate);
        self.sacks += usize::from(e.sack.len() > 1);
        if !e.candidate {
            assert!(!u.meta_hit.val(), "no candidate");
        } else if self.clock > FILLED + 3000 {
            // The table of this very clock.
            let row = table(self.changes, &Tuple::of_frame(&e.frame, e.tcp_at, e.is_v6));
            let ours = row.vlan == 0 || e.tci.is_some_and(|tci| u64::from(tci & 0xfff) == row.vlan);
            assert_eq!(u.meta_hit.val(), row.hit && ours, "{row:?} {:02x?}", e.frame);
            assert!(!u.meta_hit.val() || m.seg.conn.to_u64() == row.conn);
            self.hits += usize::from(row.hit && ours);
            self.misses += usize::from(!row.hit);
            self.foreign += usize::from(row.hit && !ours);
        }
        self.sink.work = Some((m, e));
    }

    /// The lookup: answers after some clocks, and for nothing if the table changes meanwhile.
    fn lookup(&mut self, u: &mut Dut, r: &mut Rnd) {
        u.find_ready.next = self.finding.is_none() && r.chance(15, 16);
        u.find_done.next = false;
        (u.find_hit.next, u.find_conn.next, u.vlan.next) = (false, r.any(), r.any());
        u.changed.next = r.chance(1, 60);
        let Some(f) = self.finding.as_mut() else { return };
        f.left -= 1;
        if f.left > 2 {
            return;
        }
        let tuple = Tuple::of_key(&u.find_key.val());
        let hash = self.secret.as_ref().map_or(0, |s| s.hash(&tuple));
        // Perhaps what it says was read before the change.
        let row = table(if r.any() { f.changes } else { self.changes }, &tuple);
        u.vlan.next = row.vlan.into();
        if f.left == 0 {
            // A frame from before the S-boxes were filled may wait for long; its hash means nothing.
            let right = (u64::from(hash) == f.hash || !f.is_hashed) && tuple.is_v6 == f.is_v6;
            u.find_done.next = true;
            u.find_hit.next = row.hit && right;
            u.find_conn.next = row.conn.into();
            self.finding = None;
        }
    }

    /// After the inputs of a step have settled.
    fn see(&mut self, u: &Dut) {
        if u.meta_valid.val() && u.meta_ready.val() {
            self.taken(u);
        }
        if u.find_valid.val() && u.find_ready.val() {
            let (hash, is_v6) = (u.find_hash.val().to_u64(), u.find_key.val().is_v6);
            let left = 3 + (hash ^ self.clock) % 5;
            let is_hashed = self.clock > FILLED + 6000;
            self.finding = Some(Finding { hash, is_v6, is_hashed, changes: self.changes, left });
        }
        self.changes += u64::from(u.changed.val());
    }

    /// Someone else has words for T.
    fn mix(&mut self, u: &mut Dut) {
        self.clock += 1;
        assert_eq!(u.mix_filled.val(), self.clock > FILLED);
        if let Some(x) = self.mixed.take() {
            let secret = self.secret.get_or_insert_with(|| Secret::new(HASH_KEY));
            assert_eq!(u.mix_y.val().to_u64(), u64::from(secret.mix(x)));
            self.mixes += 1;
        }
        let noise = self.clock.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let x = (noise >> 24) as u32;
        u.hash_key.next = HASH_KEY.into();
        u.mix_x.next = u64::from(x).into();
        u.mix_valid.next = noise >> 63 == 1;
        // Depends on registers alone.
        self.mixed = (u.mix_valid.next && u.mix_ready.val()).then_some(x);
    }

    fn step(&mut self, u: &mut Dut, r: &mut Rnd) {
        self.mix(u);
        if r.chance(1, 500) {
            self.gap = [0, 0, 4, 14][r.below(4) as usize];
            self.lazy = [0, 0, 8, 16][r.below(4) as usize];
        }
        u.reset.next = false;
        u.enable.next = true;
        u.mac.next = u64::from_le_bytes([MAC[0], MAC[1], MAC[2], MAC[3], MAC[4], MAC[5], 0, 0]).into();
        self.drops(u);
        self.inputs(u, r);
        self.lookup(u, r);
        self.sink(u, r);
    }
}

/// Every frame comes out as it went in, described as the judge describes it, for the connection that the table names in that clock, or is
/// dropped and counted.
///
/// Verifies: R-238 (verdicts), R-242 (loopback), R-284, laws L4, L5.
#[test]
fn describes_every_frame_or_counts_its_drop() {
    let steps = if long() { 400_000 } else { 40_000 };
    let t = std::cell::RefCell::new(Test::default());
    let clock = |u: &mut Dut, c: bool| u.clock.next = c.into();
    let d = Diff::new("rx", steps);
    d.run_seen(Dut::default(), |u, r| t.borrow_mut().step(u, r), |u| t.borrow_mut().see(u), clock);
    let t = t.into_inner();
    eprintln!(
        "{} frames, {} candidates, {} with SACK blocks, {} overruns, {} bad, {} too long",
        t.frames, t.candidates, t.sacks, t.overruns, t.bad, t.too_long
    );
    assert!(t.frames > steps / 150 && t.sacks > 3 && t.candidates > t.frames / 4);
    assert!(t.overruns > 3 && t.bad > 3 && t.too_long > 3);
    eprintln!("{} hits, {} misses, {} of another VLAN, {} words", t.hits, t.misses, t.foreign, t.mixes);
    assert!(t.hits > 50 && t.misses > 30 && t.foreign > 5 && t.mixes > 1000);
}

/// Plays frames without gaps into a receiver whose descriptions are taken at once; returns for each frame the clock of
/// its last beat and that of its description.
fn clocks_of(frames: &[Vec<u8>]) -> Vec<(usize, usize)> {
    let mut b = Bench::new(Dut::default(), |u, c| u.clock.next = c.into());
    b.cycle(|u| u.reset.next = true);
    let beats: Vec<(u64, u8, bool)> = frames.iter().flat_map(|f| beats(f)).collect();
    let (mut at, mut ends, mut metas) = (0, vec![], vec![]);
    let (mut finds, mut freed) = (0, 0);
    for clock in 0..2 * beats.len() + 40 {
        let beat = beats.get(at).copied();
        b.settle(|u| {
            (u.reset.next, u.enable.next, u.meta_ready.next) = (false, true, true);
            u.mac.next = u64::from_le_bytes([MAC[0], MAC[1], MAC[2], MAC[3], MAC[4], MAC[5], 0, 0]).into();
            u.s_axis_tvalid.next = beat.is_some();
            let (data, keep, last) = beat.unwrap_or_default();
            u.s_axis_tdata.next = data.into();
            u.s_axis_tkeep.next = u64::from(keep).into();
            u.s_axis_tlast.next = last;
            // A hit takes five clocks, and one passes after it.
            (u.find_ready.next, u.find_done.next, u.find_hit.next) = (finds == 0, finds == 2, finds == 2);
            // Room comes back at once.
            u.free_valid.next = freed > 0;
            u.free_len.next = freed.into();
        });
        finds = if b.u.find_valid.val() && finds == 0 { 6 } else { u64::saturating_sub(finds, 1) };
        freed = 0;
        if b.u.meta_valid.val() {
            let f = &frames[metas.len()];
            assert_eq!(b.u.meta.val().len.to_u64() as usize, f.len());
            assert_eq!(b.u.meta_hit.val(), judge(f).candidate);
            freed = (f.len() as u64).next_multiple_of(8);
            metas.push(clock);
        }
        if beat.is_some() && b.u.s_axis_tready.val() {
            if beat.is_some_and(|(_, _, last)| last) {
                ends.push(clock);
            }
            at += 1;
        }
        b.edge();
    }
    assert_eq!((metas.len(), ends.len()), (frames.len(), frames.len()));
    ends.into_iter().zip(metas).collect()
}

fn beats(f: &[u8]) -> Vec<(u64, u8, bool)> {
    let n = f.chunks(8).count();
    let beat = |(i, c): (usize, &[u8])| {
        let mut b = [0; 8];
        b[..c.len()].copy_from_slice(c);
        (u64::from_le_bytes(b), (0xffu16 >> (8 - c.len())) as u8, i + 1 == n)
    };
    f.chunks(8).enumerate().map(beat).collect()
}

/// A frame of 60 bytes takes its 8 beats and no clock more. It is described 4 clocks after its last beat, and whose it is is known a clock
/// later: it has 3 beats behind its ports. Of a long one it is known before.
#[test]
fn takes_a_beat_per_clock_and_knows_whose_a_frame_is_after_five() {
    let mut r = Rnd::new(Rnd::seed_for("rx_clocks"));
    let ends = (([10, 0, 0, 1], 1000), ([10, 0, 0, 2], 80));
    let of = |s: &Shape, len: usize, r: &mut Rnd| shaped_frame(s, ends, &[], &vec![7; len], r);
    let (v4, v6) = (Shape::default(), Shape { v6: true, ..Shape::default() });
    let tagged = Shape { tci: Some(5), ..v4 };
    for (shape, len, clocks) in
        [(v4, 6, 5), (v4, 1460, 4), (v4, 0, 6), (tagged, 2, 6), (tagged, 1460, 4), (v6, 0, 9), (v6, 1440, 4)]
    {
        let frames: Vec<Vec<u8>> = (0..50).map(|_| of(&shape, len, &mut r)).collect();
        let beats = frames[0].len().div_ceil(8);
        let seen = clocks_of(&frames);
        assert!(seen.windows(2).all(|w| w[1].0 - w[0].0 == beats), "{shape:?} {len}: {seen:?}");
        assert!(seen.iter().all(|(end, meta)| meta - end == clocks), "{shape:?} {len}: {seen:?}");
    }
}

/// Whatever comes in, one behind the other: what is no candidate is described after 4 clocks, or when words of a key before it are hashed.
#[test]
fn describes_every_frame_a_few_clocks_after_its_end() {
    let mut r = Rnd::new(Rnd::seed_for("rx_clocks_of_all"));
    let frames: Vec<Vec<u8>> =
        (0..200).map(|_| random_frame(&mut r, 1500)).filter(|f| f.len() > 24).collect();
    let mut worst = (0, 0);
    for (frame, (end, meta)) in frames.iter().zip(clocks_of(&frames)) {
        let late = meta - end;
        assert!(late >= 4);
        if judge(frame).candidate {
            worst.0 = worst.0.max(late);
        } else {
            worst.1 = worst.1.max(late);
        }
    }
    eprintln!("candidates, others: {worst:?}");
    assert!(worst.0 <= 20 && worst.1 <= 20, "{worst:?}");
}

/// Frames of a single beat come one after the other, each described.
#[test]
fn shortest_frames_are_held_apart_and_none_is_lost() {
    let frames: Vec<Vec<u8>> = (1..40).map(|i| vec![i as u8; 1 + i % 24]).collect();
    let clocks = clocks_of(&frames);
    assert!(clocks.windows(2).all(|w| w[1].1 - w[0].1 >= 4 && w[1].1 - w[0].1 <= 5), "{clocks:?}");
}
