//! The parts that decide what happens when.

use crate::{n, steps};
use chimney_abi::cmd::{ImageKind, Opcode, Status};
use chimney_abi::desc::{self, phase};
use chimney_abi::state::{self, HEADER_BYTES, IMAGE_REVISION, IMAGE_STRIDE};
use chimney_hdl::host::mailbox::images::Images;
use chimney_hdl::host::mailbox::job::{Outcome, RunBeat};
use chimney_hdl::host::mailbox::ring::CommandRing;
use chimney_hdl::mirror::Command;
use chimney_hdl::prelude::*;
use chimney_hdl_kernel::diff::{Diff, Rnd};
use std::cell::RefCell;
use std::collections::VecDeque;

const RING: u64 = 0x30_0000;
const DONE_RING: u64 = 0x31_0000;
const LOG2: u8 = 3;

#[derive(Default)]
struct RingTest {
    reader: VecDeque<u64>,
    entry: [u64; 4],
    next_entry: [u64; 4],
    ends: bool,
    producer: u16,
    taken: u16,
    reported: u16,
    work: bool,
    expect: Option<(u64, Outcome)>,
    landing: bool,
    irqs: u16,
    errors: usize,
}

impl RingTest {
    fn poke(&mut self, u: &mut CommandRing, r: &mut Rnd) {
        u.reset.next = false;
        u.enable.next = r.chance(9, 10);
        if self.producer.wrapping_sub(self.reported) < 8 && r.chance(1, 10) {
            self.producer = self.producer.wrapping_add(1);
        }
        let mut rings = u.rings.val();
        rings.enable = r.chance(19, 20);
        (rings.cmd_base, rings.cmd_done_base) = (RING.into(), DONE_RING.into());
        (rings.cmd_log2, rings.cmd_producer) = (u64::from(LOG2).into(), u64::from(self.producer).into());
        u.rings.next = rings;
        let mut news = RunBeat { data: r.any(), ..RunBeat::default() };
        if !self.reader.is_empty() && r.chance(1, 2) {
            (news.valid, news.data) = (true, self.reader.pop_front().expect("a beat").into());
        } else if self.reader.is_empty() && self.ends && r.chance(1, 2) {
            (news.done, news.error, self.ends) = (true, r.chance(1, 10), false);
        }
        u.news.next = news;
        u.finished.next = self.work && r.chance(1, 10);
        u.outcome.next = r.any();
        u.write.ready.next = r.chance(1, 3);
        u.done_valid.next = self.landing && r.chance(1, 5);
        self.next_entry = std::array::from_fn(|_| r.next_u64());
    }

    fn see(&mut self, u: &CommandRing) {
        let slot = |index: u16| u64::from(index % (1 << LOG2));
        let (run, news) = (u.run.val(), u.news.val());
        if run.start {
            assert!(
                u.enable.val()
                    && u.rings.val().enable
                    && self.taken != self.producer
                    && self.taken == self.reported
            );
            assert_eq!((n(run.iova), n(run.beats)), (RING + 32 * slot(self.taken), 4));
            self.entry = self.next_entry;
            (self.reader, self.ends) = (self.entry.into(), true);
        }
        if news.done {
            self.taken = self.taken.wrapping_add(1);
            self.work = !news.error;
            let failed =
                Outcome { worst: u64::from(Status::HardwareFailure.code()).into(), failed: 1u64.into() };
            self.expect = news.error.then_some((self.entry[0] >> 48, failed));
            self.errors += usize::from(news.error);
        }
        assert_eq!(u.start.val(), news.done && !news.error);
        if self.work {
            assert_eq!(pack::<256, _>(u.command.val()).get_bits::<64>(192), Bits::<64>::from(self.entry[3]));
        }
        if u.finished.val() {
            self.work = false;
            self.expect = Some((self.entry[0] >> 48, u.outcome.val()));
        }
        if u.write.valid.val() && u.write.ready.val() {
            let (cookie, o) = self.expect.take().expect("a command that is done");
            let c = u.write.cmd.val();
            let index = self.taken.wrapping_sub(1);
            let bit = u64::from(phase(index, LOG2));
            let want = cookie | n(o.worst) << 16 | n(o.failed) << 24 | bit << 63;
            assert_eq!((n(c.iova), n(c.len), c.notify), (DONE_RING + 8 * slot(index), 8, true));
            assert_eq!(n(c.data.get_bits::<64>(0)), want);
            self.landing = true;
        }
        if u.done_valid.val() {
            self.landing = false;
            self.reported = self.reported.wrapping_add(1);
        }
        self.irqs += u16::from(u.irq.val());
        assert!(
            !u.idle.val()
                || self.taken == self.reported && (self.taken == self.producer || !u.rings.val().enable)
        );
    }
}

/// Every command is handed over once, and completed once it is done, in the ring's order.
#[test]
fn the_ring_hands_over_and_completes_in_order() {
    let t = RefCell::new(RingTest::default());
    let clock = |u: &mut CommandRing, c: bool| u.clock.next = c.into();
    Diff::new("mailbox_ring", steps(8000)).run_seen(
        CommandRing::default(),
        |u, r| t.borrow_mut().poke(u, r),
        |u| t.borrow_mut().see(u),
        clock,
    );
    let t = t.borrow();
    assert!(
        t.reported > 60 && t.errors > 3 && t.reported.wrapping_sub(t.irqs) <= 1,
        "{} {}",
        t.reported,
        t.irqs
    );
}

/// A header that is mostly good, and whether it is.
fn random_header(r: &mut Rnd) -> (state::ImageHeader, bool) {
    let kind = [ImageKind::Neighbor, ImageKind::Path, ImageKind::Tcp][r.below(3) as usize];
    let body = match kind {
        ImageKind::Neighbor => state::NeighborImage::BYTES,
        ImageKind::Path => state::PathImage::BYTES,
        ImageKind::Tcp => state::TcpRecord::BYTES,
    };
    let mut h = state::ImageHeader {
        kind: kind.code(),
        status: r.next_u64() as u8,
        id: r.next_u64() as u16,
        parent: r.next_u64() as u16,
        generation: 1 + r.below(255) as u8,
        parent_generation: r.next_u64() as u8,
        length: HEADER_BYTES as u16 + body as u16,
        revision: IMAGE_REVISION,
        host_handle: r.next_u64() as u32,
    };
    let fault = r.below(16);
    match fault {
        0 => h.kind = 4 + r.below(252) as u8,
        1 => h.length ^= 8,
        2 => h.revision ^= 1 << r.below(16),
        3 => h.generation = 0,
        _ => {}
    }
    (h, fault > 3)
}

#[derive(Default)]
struct ImagesTest {
    start: bool,
    busy: bool,
    command: desc::Command,
    header: (state::ImageHeader, bool),
    next_header: (state::ImageHeader, bool),
    beats: VecDeque<u64>,
    ends: bool,
    image: u64,
    left: u16,
    work: bool,
    /// The job's status, until its writes were answered.
    settling: Option<u8>,
    /// A status to be written, and counted.
    owed: Option<u8>,
    outcome: (u8, u8),
    counts: [u64; 4],
    seen: [usize; 4],
}

impl ImagesTest {
    fn poke(&mut self, u: &mut Images, r: &mut Rnd) {
        u.reset.next = false;
        self.start = !self.busy && r.chance(1, 6);
        if self.start {
            self.busy = true;
            self.command = desc::Command {
                opcode: r.below(8) as u8 + if r.chance(1, 12) { r.below(248) as u8 } else { 0 },
                generation: r.next_u64() as u8,
                conn: r.next_u64() as u16,
                count: r.below(5) as u16,
                iova: 64 * r.below(1 << 50),
                ..Default::default()
            };
        }
        self.next_header = random_header(r);
        let mut news = RunBeat { data: r.any(), ..RunBeat::default() };
        if !self.beats.is_empty() && r.chance(1, 2) {
            (news.valid, news.data) = (true, self.beats.pop_front().expect("a beat").into());
        } else if self.beats.is_empty() && self.ends && r.chance(1, 2) {
            (news.done, news.error, self.ends) = (true, r.chance(1, 8), false);
        }
        let words = self.command.to_bytes();
        let bits: Vec<bool> = (0..256).map(|i| words[i / 8] >> (i % 8) & 1 == 1).collect();
        u.start.next = self.start;
        u.command.next = unpack::<Command, 256>(chimney_hdl_kernel::builtin::from_bools(&bits));
        u.news.next = news;
        u.job_done.next = self.work && r.chance(1, 4);
        u.job_status.next = if r.chance(1, 2) { bits_of(Status::Success) } else { r.bits_below(12) };
        u.write.ready.next = r.chance(1, 2);
        u.settled.next = r.chance(1, 3);
        u.write_failed.next = r.chance(1, 6);
    }

    fn see(&mut self, u: &Images) {
        let (c, run, news) = (self.command, u.run.val(), u.news.val());
        let mut bad = false;
        let is_abort = c.opcode == Opcode::Abort.code();
        if self.start {
            bad = c.opcode > Opcode::Abort.code();
            let unknown = Status::BadRequest.code();
            self.outcome = if bad { (unknown, 1) } else { (Status::Success.code(), 0) };
            self.left = if c.opcode == 0 || c.opcode >= 6 { 0 } else { c.count };
            self.image = c.iova.wrapping_sub(u64::from(IMAGE_STRIDE));
        }
        if run.start {
            assert!(self.left > 0 && self.owed.is_none());
            (self.left, self.image) = (self.left - 1, self.image.wrapping_add(u64::from(IMAGE_STRIDE)));
            assert_eq!((n(run.iova), n(run.beats)), (self.image, 2));
            self.header = self.next_header;
            let h = self.header.0.to_bytes();
            self.beats = h.chunks(8).map(|w| u64::from_le_bytes(w.try_into().expect("8 bytes"))).collect();
            self.ends = true;
        }
        if news.done {
            self.seen[usize::from(news.error)] += 1;
            if news.error {
                count(&mut self.outcome, Status::HardwareFailure.code());
            } else if !self.header.1 {
                self.owed = Some(Status::BadRequest.code());
                self.counts[0] += 1;
            }
        }
        self.see_job(u, is_abort);
        if u.finished.val() {
            assert!(self.busy && !self.start && self.left == 0 && self.owed.is_none() && !self.work);
            let o = u.outcome.val();
            assert_eq!((n(o.worst) as u8, n(o.failed) as u8), self.outcome);
            self.busy = false;
            self.seen[3] += 1;
        }
        self.counts[0] += u64::from(bad);
        self.counts[2] += u64::from(u.bad_request.val());
        self.counts[3] += u64::from(u.stale.val());
    }

    /// The hand-over of an image and its answer.
    fn see_job(&mut self, u: &Images, is_abort: bool) {
        let c = self.command;
        if u.object_go.val() || u.conn_go.val() {
            let job = u.job.val();
            assert_eq!(n(job.opcode) as u8, c.opcode);
            if is_abort {
                assert!(u.conn_go.val() && !u.object_go.val());
                assert_eq!((n(job.header.id) as u16, n(job.header.generation) as u8), (c.conn, c.generation));
            } else {
                assert!(self.header.1, "only a good header");
                let is_tcp = self.header.0.kind == ImageKind::Tcp.code();
                assert_eq!((u.conn_go.val(), u.object_go.val()), (is_tcp, !is_tcp));
                assert_eq!(n(job.body), self.image.wrapping_add(u64::from(HEADER_BYTES)));
                assert_eq!(
                    (n(job.header.id) as u16, n(job.header.parent) as u16),
                    (self.header.0.id, self.header.0.parent)
                );
            }
            self.work = true;
        }
        if let Some(status) = self.settling.filter(|_| u.settled.val()) {
            self.settling = None;
            let lost = u.write_failed.val() && status == Status::Success.code();
            let status = if lost { Status::HardwareFailure.code() } else { status };
            if is_abort {
                count(&mut self.outcome, status);
            } else {
                self.owed = Some(status);
            }
        }
        if u.job_done.val() {
            let status = n(u.job_status.val()) as u8;
            (self.work, self.settling) = (false, Some(status));
            self.counts[1] += u64::from(status == Status::Stale.code());
        }
        if u.write.valid.val() && u.write.ready.val() {
            let status = self.owed.take().expect("a status");
            let want = state::ImageHeader { status, ..self.header.0 }.to_bytes();
            let cmd = u.write.cmd.val();
            assert_eq!((n(cmd.iova), n(cmd.len), cmd.notify), (self.image, 8, false));
            assert_eq!(n(cmd.data.get_bits::<64>(0)).to_le_bytes(), want[..8]);
            count(&mut self.outcome, status);
            self.seen[2] += 1;
        }
    }
}

/// Each image is handed over if its header is good, answered with its status, and counted.
#[test]
fn images_are_checked_handed_over_answered_and_counted() {
    let t = RefCell::new(ImagesTest::default());
    let clock = |u: &mut Images, c: bool| u.clock.next = c.into();
    Diff::new("mailbox_images", steps(10_000)).run_seen(
        Images::default(),
        |u, r| t.borrow_mut().poke(u, r),
        |u| t.borrow_mut().see(u),
        clock,
    );
    let t = t.borrow();
    assert!(t.seen.iter().all(|n| *n > 20), "{:?}", t.seen);
    // The last header may still be on its way to its refusal.
    assert!(
        t.counts[0] - t.counts[2] <= 1 && t.counts[1] == t.counts[3] && t.counts[3] > 3,
        "{:?}",
        t.counts
    );
}

fn bits_of(s: Status) -> Bits<8> {
    u64::from(s.code()).into()
}

fn count(o: &mut (u8, u8), status: u8) {
    if status != Status::Success.code() {
        *o = (status, o.1.saturating_add(1));
    }
}
