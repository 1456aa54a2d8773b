//! The status line between command block and write engine: native against Verilated, and against plain Rust.

use chimney_abi::desc::{StatusLine, HEARTBEAT_US};
use chimney_hdl::host::status::{Consumers, Status, STATUS_TAG};
use chimney_hdl::prelude::Bits;
use chimney_hdl::types::{WriteCmd, WriteDone};
use chimney_hdl_kernel::diff::{long, Bench, Diff, Rnd};
use std::cell::RefCell;
use std::collections::VecDeque;

const BASE: u64 = 0x1234_5670;

/// Any width up to 64 as a number.
fn n<const N: usize>(b: Bits<N>) -> u64 {
    (0..N).fold(0, |v, i| v | u64::from(b.get_bit(i)) << i)
}

#[derive(Default)]
struct Test {
    now: u64,
    enable: bool,
    due: u64,
    beats: u32,
    consumers: Consumers,
    /// Inputs of the clock before, from which a line that is new now was made.
    before: (Consumers, u64, u32),
    offered: Option<WriteCmd>,
    /// Clocks without a move.
    still: usize,
    /// Accepted commands without a report: is it a line, and did the TX ring move in it.
    flying: VecDeque<Option<bool>>,
    report: Option<Option<bool>>,
    standing: Option<WriteCmd>,
    said: Consumers,
    told_beats: u32,
    /// The TX ring moved in the line that is offered.
    tx_moved: bool,
    /// Clocks in which a line could have been made.
    rested: usize,
    seen: [usize; 4],
}

impl Test {
    fn poke(&mut self, u: &mut Status, r: &mut Rnd) {
        u.reset.next = false;
        u.base.next = BASE.into();
        self.before = (self.consumers, self.now, self.beats);
        self.clock(r);
        self.enable = if self.enable { !r.chance(1, 2000) } else { r.chance(1, 20) };
        self.still += 1;
        let c = &mut self.consumers;
        for ring in [&mut c.tx, &mut c.pool, &mut c.cmd, &mut c.rx] {
            if r.chance(1, 60) {
                *ring = *ring + (1 + r.below(3));
                self.still = 0;
            }
        }
        u.enable.next = self.enable;
        u.now_us.next = (self.now & 0xffff_ffff).into();
        u.consumers.next = self.consumers;
        if self.offered.is_none() && r.chance(1, 12) {
            self.offered = Some(WriteCmd { tag: 0u64.into(), ..r.any() });
        }
        u.s_valid.next = self.offered.is_some();
        u.s_cmd.next = self.offered.unwrap_or_default();
        u.cmd_ready.next = r.chance(1, 2);
        let report = !self.flying.is_empty() && r.chance(1, 6);
        self.report = if report { self.flying.pop_front() } else { None };
        let is_line = self.report.is_some_and(|f| f.is_some());
        u.ring_lost.next = false;
        u.done_valid.next = report;
        u.done.next = WriteDone { tag: (u64::from(is_line) << STATUS_TAG).into(), error: false };
    }

    /// Heartbeats come every 10 ms of device time, however it moves, from the moment of enabling on.
    fn clock(&mut self, r: &mut Rnd) {
        if !self.enable {
            self.due = self.now;
        } else if self.now >= self.due {
            self.due += u64::from(HEARTBEAT_US);
            self.beats += 1;
        }
        // Also over the wrap of the low word.
        self.now += if r.chance(1, 3000) { 0x4000_0000 / 4096 } else { r.below(900) };
    }

    fn see(&mut self, u: &Status) {
        let (line, for_command) = (self.report == Some(Some(true)), matches!(self.report, Some(None)));
        assert_eq!((u.irq_tx.val(), u.s_done_valid.val()), (line, for_command));
        self.seen[0] += usize::from(line);
        let cmd = u.cmd.val();
        if let Some(stood) = self.standing.take() {
            assert!(u.cmd_valid.val() && cmd == stood, "an offer stays as it is until it is taken");
        } else if u.cmd_valid.val() && cmd.tag.get_bit(STATUS_TAG) {
            self.see_line(&cmd);
        }
        assert_eq!(u.s_ready.val(), u.cmd_ready.val() && !(u.cmd_valid.val() && cmd.tag.get_bit(STATUS_TAG)));
        if u.cmd_valid.val() && !u.cmd_ready.val() {
            self.standing = Some(cmd);
        } else if u.cmd_valid.val() && cmd.tag.get_bit(STATUS_TAG) {
            let moved = self.tx_moved;
            self.flying.push_back(Some(moved));
        } else if u.cmd_valid.val() {
            assert_eq!(Some(cmd), self.offered.take(), "commands pass unchanged");
            self.flying.push_back(None);
            self.seen[1] += 1;
        }
        let lines = self.flying.iter().filter(|f| f.is_some()).count();
        assert!(lines <= 1, "one line is under way at a time");
        if u.idle.val() && self.still > 4 && self.offered.is_none() && self.enable && self.rested > 4 {
            assert_eq!(self.said, self.consumers, "progress is told");
            self.seen[2] += 1;
        }
        self.rested = if u.idle.val() && self.offered.is_none() && self.enable { self.rested + 1 } else { 0 };
    }

    /// A line that is offered for the first time.
    fn see_line(&mut self, cmd: &WriteCmd) {
        assert!(cmd.notify && (n(cmd.iova), n(cmd.len) as usize) == (BASE, StatusLine::BYTES));
        let bytes: Vec<u8> = (0..StatusLine::BYTES).map(|i| n(cmd.data.get_bits::<8>(8 * i)) as u8).collect();
        let line = StatusLine::from_bytes(bytes.as_slice().try_into().expect("a line"));
        let (c, now, beats) = self.before;
        let want = StatusLine {
            heartbeat: beats,
            tx_consumer: n(c.tx) as u16,
            pool_consumer: n(c.pool) as u16,
            cmd_consumer: n(c.cmd) as u16,
            rx_consumer: n(c.rx) as u16,
            now_us: now as u32,
        };
        assert_eq!(line, want);
        assert!(c != self.said || beats != self.told_beats, "there is news");
        self.tx_moved = c.tx != self.said.tx;
        self.seen[3] += usize::from(beats != self.told_beats);
        (self.said, self.told_beats) = (c, beats);
    }
}

/// Verifies: law L5 (the host sees that the device lives); progress is told, commands and their reports pass.
#[test]
fn lines_tell_all_progress_and_commands_pass_between_them() {
    let t = RefCell::new(Test { now: 0xffff_0000, ..Test::default() });
    Diff::new("status_line", if long() { 200_000 } else { 15_000 }).run_seen(
        Status::default(),
        |u, r| t.borrow_mut().poke(u, r),
        |u| t.borrow_mut().see(u),
        |u, c| u.clock.next = c.into(),
    );
    let seen = t.borrow().seen;
    assert!(seen.iter().all(|n| *n > 100), "{seen:?}");
}

/// A ring with a hole ends the heartbeat: the host must not take a device for alive that it cannot hear.
///
/// Verifies: laws L2 and L5.
#[test]
fn an_entry_that_could_not_be_written_stops_the_heart() {
    let mut b = Bench::new(Status::default(), |u, c| u.clock.next = c.into());
    let (mut now, mut answer) = (0u64, false);
    let mut lines = |reset: bool, lost: bool| {
        b.cycle(|u| (u.reset.next, u.enable.next) = (reset, !reset));
        b.cycle(|u| u.reset.next = false);
        let mut seen = 0;
        for i in 0..1000 {
            now += 100;
            b.settle(|u| {
                u.reset.next = false;
                u.enable.next = true;
                u.now_us.next = now.into();
                u.cmd_ready.next = true;
                u.ring_lost.next = lost && i == 0;
                u.done_valid.next = answer;
                u.done.next = WriteDone { tag: (1u64 << STATUS_TAG).into(), error: false };
            });
            answer = b.u.cmd_valid.val();
            seen += usize::from(answer);
            b.edge();
        }
        seen
    };
    let living = lines(true, false);
    assert!((10..=12).contains(&living), "one in 10 ms: {living}");
    assert!(lines(false, true) <= 1);
    assert_eq!(lines(false, false), 0, "until reset");
    assert_eq!(lines(true, false), living);
}
