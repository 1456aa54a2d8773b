//! The receiver against a judge in plain Rust, and native against Verilated: the same run does both.

mod frames;

use chimney_hdl::eth::rx::Rx;
use chimney_hdl::prelude::*;
use chimney_hdl::types::FrameMeta;
use chimney_hdl_kernel::diff::{diff, long, Rnd};
use frames::{judge, random_frame, Expected, Source, MAC};
use std::collections::VecDeque;

/// What takes the frames: reads them out of packet memory and frees them.
#[derive(Default)]
struct Sink {
    work: Option<(FrameMeta, Expected)>,
    words: Vec<u64>,
    reading: bool,
}

/// Anything that can come in, too long ones included.
fn any_frame(r: &mut Rnd) -> Vec<u8> {
    if r.chance(1, 30) {
        vec![0x5a; [2048, 2049, 2056, 3000][r.below(4) as usize]]
    } else {
        random_frame(r)
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
    overruns: usize,
    bad: usize,
    too_long: usize,
}

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
    let le32 = |at: usize| u64::from(u32::from_le_bytes([f[at], f[at + 1], f[at + 2], f[at + 3]]));
    let header = u64::from(f[46] >> 4) * 4;
    assert_eq!((m.remote_ip.to_u64(), m.local_ip.to_u64()), (le32(26), le32(30)));
    assert_eq!((m.remote_port.to_u64(), m.local_port.to_u64()), (be16(34), be16(36)));
    assert_eq!((m.seg.seq.to_u64(), m.seg.ack.to_u64()), (be32(38), be32(42)));
    assert_eq!((m.seg.flags.to_u64(), m.seg.wnd.to_u64()), (u64::from(f[47]), be16(48)));
    assert_eq!(m.seg.payload_len.to_u64(), be16(16) - 20 - header);
    assert_eq!(m.seg.payload_src.to_u64(), m.src.to_u64() + 34 + header);
    assert_eq!(m.seg.frame_len.to_u64() as usize, f.len());
    assert_eq!(m.seg.has_ts, e.ts.is_some());
    if let Some((val, ecr)) = e.ts {
        assert_eq!((m.seg.ts_val.to_u64(), m.seg.ts_ecr.to_u64()), (u64::from(val), u64::from(ecr)));
    }
}

impl Test {
    fn ended(&mut self, frame: Vec<u8>, bad: bool) {
        self.last_kept = !bad && frame.len() <= 2048;
        if self.last_kept {
            self.expected.push_back(judge(&frame));
        }
    }

    /// A pulse tells of the frame whose last beat was taken most recently.
    fn drops(&mut self, u: &Rx) {
        if u.cnt_drop_overrun.val() {
            self.overruns += 1;
            assert!(self.last_kept, "an overrun is counted only for a frame that was fine");
            self.expected.pop_back();
        }
        self.bad += usize::from(u.cnt_drop_bad.val());
        self.too_long += usize::from(u.cnt_drop_too_long.val());
    }

    fn inputs(&mut self, u: &mut Rx, r: &mut Rnd) {
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

    fn sink(&mut self, u: &mut Rx, r: &mut Rnd) {
        let awake = r.below(16) >= self.lazy;
        if self.sink.reading {
            self.sink.words.push(u.mem_data.val().to_u64());
        }
        (u.mem_re.next, self.sink.reading, u.free_valid.next) = (false, false, false);
        u.meta_ready.next = awake && self.sink.work.is_none();
        let Some((m, e)) = &self.sink.work else {
            if awake && u.meta_valid.val() {
                let e = self.expected.pop_front().expect("a frame that was sent");
                check(&u.meta.val(), &e);
                self.frames += 1;
                self.candidates += usize::from(e.candidate);
                self.sink.work = Some((u.meta.val(), e));
            }
            return;
        };
        let size = e.frame.len().div_ceil(8);
        if self.sink.words.len() < size {
            let word = m.src.to_u64() / 8 + self.sink.words.len() as u64;
            u.mem_addr.next = (word % 2048).into();
            (u.mem_re.next, self.sink.reading) = (awake, awake);
        } else if awake {
            let bytes: Vec<u8> = self.sink.words.drain(..).flat_map(u64::to_le_bytes).collect();
            assert_eq!(bytes[..e.frame.len()], e.frame);
            u.free_valid.next = true;
            u.free_len.next = (size as u64 * 8).into();
            self.sink.work = None;
        }
    }

    fn step(&mut self, u: &mut Rx, r: &mut Rnd) {
        if r.chance(1, 500) {
            self.gap = [0, 0, 4, 14][r.below(4) as usize];
            self.lazy = [0, 0, 8, 16][r.below(4) as usize];
        }
        u.reset.next = false;
        u.enable.next = true;
        u.mac.next = u64::from_le_bytes([MAC[0], MAC[1], MAC[2], MAC[3], MAC[4], MAC[5], 0, 0]).into();
        self.drops(u);
        self.inputs(u, r);
        self.sink(u, r);
    }
}

/// Every frame comes out as it went in, described as the judge describes it, or is dropped and counted.
///
/// Verifies: R-238 (verdicts), R-242 (loopback), laws L4, L5.
#[test]
fn describes_every_frame_or_counts_its_drop() {
    let steps = if long() { 200_000 } else { 30_000 };
    let mut t = Test::default();
    diff("rx", Rx::default(), steps, |u, r| t.step(u, r), |u, c| u.clock.next = c.into());
    eprintln!(
        "{} frames, {} candidates, {} overruns, {} bad, {} too long",
        t.frames, t.candidates, t.overruns, t.bad, t.too_long
    );
    assert!(t.frames > steps / 100 && t.candidates > t.frames / 4);
    assert!(t.overruns > 3 && t.bad > 3 && t.too_long > 3);
}
