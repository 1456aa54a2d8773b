//! The parts that decide what happens when.

use crate::{n, steps};
use chimney_abi::cmd::{ImageKind, Opcode, Status};
use chimney_abi::desc::{self, phase};
use chimney_abi::state::{self, HEADER_BYTES, IMAGE_REVISION, IMAGE_STRIDE};
use chimney_hdl::host::mailbox::image_reader::Whole;
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
    /// The next image: header, whether it is good, whether it can be read.
    header: (state::ImageHeader, bool),
    whole: Whole,
    /// It is whole; beats taken.
    there: bool,
    place: usize,
    index: u16,
    left: u16,
    /// What is in work: a connection or an object, and the status that it will have.
    work: Option<(bool, u8)>,
    /// An answer that is due: status, written, landing.
    owed: Option<(u8, bool, bool)>,
    quiet: bool,
    refused: [u64; 2],
    seen: [usize; 5],
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
        let words = self.command.to_bytes();
        let bits: Vec<bool> = (0..256).map(|i| words[i / 8] >> (i % 8) & 1 == 1).collect();
        u.start.next = self.start;
        u.command.next = unpack::<Command, 256>(chimney_hdl_kernel::builtin::from_bools(&bits));
        if !self.there && self.left > 0 && self.work.is_none() && self.owed.is_none() && r.chance(1, 3) {
            (self.there, self.place, self.header) = (true, 0, random_header(r));
            self.whole = Whole { header_failed: r.chance(1, 8), ..r.any() };
        }
        u.valid.next = self.there;
        u.whole.next = if self.there { self.whole } else { r.any() };
        let bytes = self.header.0.to_bytes();
        let beat = bytes.chunks(8).nth(self.place).filter(|_| self.there);
        u.beat.next = beat.map_or(r.any(), |w| u64::from_le_bytes(w.try_into().expect("8 bytes")).into());
        u.conn_ready.next = r.chance(1, 2);
        self.quiet = r.chance(1, 2);
        u.quiet.next = self.quiet;
        (u.object_done.next, u.conn_taken.next) = (false, false);
        u.object_status.next = r.any();
        if let Some((is_conn, status)) = self.work.filter(|_| r.chance(1, 4)) {
            (u.object_done.next, u.conn_taken.next) = (!is_conn, is_conn);
            u.object_status.next = u64::from(status).into();
        }
        u.answer_ready.next = r.chance(1, 2);
    }

    fn see(&mut self, u: &Images) {
        let c = self.command;
        let is_abort = c.opcode == Opcode::Abort.code();
        let brings = [Opcode::Initiate.code(), Opcode::Update.code()].contains(&c.opcode);
        let gives = [Opcode::Query.code(), Opcode::Terminate.code()].contains(&c.opcode);
        if self.start {
            assert_eq!(u.unknown.val(), c.opcode > Opcode::Abort.code());
            self.left = if c.opcode == 0 || c.opcode >= 6 { 0 } else { c.count };
            self.index = 0;
        }
        assert_eq!(u.read.val(), self.start && self.left > 0);
        assert!(!u.read.val() || u.bodies.val() == brings);
        if u.take.val() {
            assert!(self.there && self.place < 2 && !self.whole.header_failed);
            self.place += 1;
        }
        if self.there && self.owed.is_none() && self.work.is_none() {
            if self.whole.header_failed {
                self.owed = Some((Status::HardwareFailure.code(), false, false));
            } else if self.place == 2 && !self.header.1 {
                self.owed = Some((Status::BadRequest.code(), true, false));
            }
        }
        self.see_job(u, is_abort, gives);
        if u.answer_valid.val() {
            let (a, (status, write, lands)) = (u.answer.val(), self.owed.expect("an answer"));
            assert!(self.quiet);
            assert_eq!((n(a.index) as u16, n(a.status) as u8), (self.index, status));
            assert_eq!((a.write, a.lands), (write, lands));
            if u.answer_ready.val() {
                self.refused[usize::from(write)] += 1;
                self.owed = None;
                self.work = Some((true, u8::MAX));
            }
        }
        if u.drop.val() {
            assert!(self.there && self.owed.is_none() && self.work.take() == Some((true, u8::MAX)));
            (self.there, self.left, self.index) = (false, self.left - 1, self.index + 1);
            self.seen[3] += 1;
        }
        if u.finished.val() {
            assert!(self.busy && !self.start && self.left == 0 && self.owed.is_none() && self.quiet);
            assert!(self.work.is_none_or(|w| is_abort && w.1 == u8::MAX));
            (self.busy, self.work) = (false, None);
            self.seen[4] += 1;
        }
    }

    /// The hand-over of an image.
    fn see_job(&mut self, u: &Images, is_abort: bool, gives: bool) {
        let c = self.command;
        if u.object_done.val() || u.conn_taken.val() {
            let (is_conn, status) = self.work.take().expect("work");
            let good = status == Status::Success.code();
            if is_conn {
                self.work = Some((true, u8::MAX));
            } else {
                self.owed = Some((status, true, gives && good));
            }
        }
        if !u.object_go.val() && !u.conn_go.val() {
            return;
        }
        let job = u.job.val();
        assert_eq!((n(job.opcode) as u8, n(job.index) as u16), (c.opcode, self.index));
        if is_abort {
            assert!(u.conn_go.val() && !u.object_go.val());
            assert_eq!((n(job.header.id) as u16, n(job.header.generation) as u8), (c.conn, c.generation));
        } else {
            assert!(self.header.1 && self.place == 2, "only a good header");
            let is_tcp = self.header.0.kind == ImageKind::Tcp.code();
            assert_eq!((u.conn_go.val(), u.object_go.val()), (is_tcp, !is_tcp));
            let image = c.iova + u64::from(self.index) * u64::from(IMAGE_STRIDE);
            assert_eq!(n(job.body), image + u64::from(HEADER_BYTES));
            assert_eq!(
                (n(job.header.id) as u16, n(job.header.parent) as u16),
                (self.header.0.id, self.header.0.parent)
            );
            assert_eq!((job.body_failed, job.has_ranges), (self.whole.body_failed, self.whole.has_ranges));
        }
        self.seen[usize::from(u.conn_go.val())] += 1;
        let status = if self.index.is_multiple_of(2) { 0 } else { 1 + (self.header.0.id % 12) as u8 };
        self.work = Some((u.conn_go.val(), status));
        self.seen[2] += usize::from(status != 0);
    }
}

/// Each image is handed over if its header is good, else refused; neighbors and paths only when nothing else is in work.
#[test]
fn images_are_checked_handed_over_and_answered() {
    let t = RefCell::new(ImagesTest::default());
    let clock = |u: &mut Images, c: bool| u.clock.next = c.into();
    Diff::new("mailbox_images", steps(10_000)).run_seen(
        Images::default(),
        |u, r| t.borrow_mut().poke(u, r),
        |u| t.borrow_mut().see(u),
        clock,
    );
    let t = t.borrow();
    assert!(
        t.seen.iter().all(|n| *n > 20) && t.refused.iter().all(|n| *n > 10),
        "{:?} {:?}",
        t.seen,
        t.refused
    );
}
