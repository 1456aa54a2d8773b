//! Completions of ordinary frames, native against Verilated and against plain Rust.

use chimney_abi::desc::{phase, RxDone};
use chimney_hdl::host::rx_done::{Pending, RxCompletions, TAG_ENTRY, TAG_PAYLOAD};
use chimney_hdl::prelude::Bits;
use chimney_hdl::types::WriteDone;
use chimney_hdl_kernel::diff::{long, Diff, Rnd};
use std::cell::RefCell;
use std::collections::VecDeque;

const RING: u64 = 0x5_0000;
const LOG2: u8 = 5;

/// Any width up to 64 as a number.
fn n<const N: usize>(b: Bits<N>) -> u64 {
    (0..N).fold(0, |v, i| v | u64::from(b.get_bit(i)) << i)
}

#[derive(Default)]
struct Test {
    push: Option<Pending>,
    /// Frames without a response, and those with: did it fail.
    frames: VecDeque<Pending>,
    answered: VecDeque<(Pending, bool)>,
    entries: usize,
    report: Option<(u64, bool)>,
    pop: bool,
    used: u16,
    seen: [usize; 4],
}

impl Test {
    fn poke(&mut self, u: &mut RxCompletions, r: &mut Rnd) {
        u.reset.next = false;
        (u.base.next, u.log2.next) = (RING.into(), u64::from(LOG2).into());
        // `room` and `answered` depend on registers alone.
        self.push = (u.room.val() && r.chance(1, 3)).then(|| r.any());
        u.push.next = self.push.is_some();
        u.frame.next = self.push.unwrap_or_else(|| r.any());
        self.report = if !self.frames.is_empty() && r.chance(1, 3) {
            Some((TAG_PAYLOAD, r.chance(1, 6)))
        } else if self.entries > 0 && r.chance(1, 2) {
            Some((TAG_ENTRY, r.chance(1, 6)))
        } else {
            None
        };
        let (tag, error) = self.report.unwrap_or((r.below(2), true));
        u.done_valid.next = self.report.is_some();
        u.done.next = WriteDone { tag: tag.into(), error };
        self.pop = u.answered.val() && r.chance(1, 3);
        u.pop.next = self.pop;
    }

    fn see(&mut self, u: &RxCompletions) {
        assert_eq!(n(u.used.val()) as u16, self.used);
        assert_eq!(u.answered.val(), !self.answered.is_empty());
        let waiting = self.frames.len() + self.answered.len();
        assert_eq!((u.room.val(), u.idle.val()), (waiting < 16, waiting == 0));
        self.seen[0] += usize::from(waiting == 16);
        assert_eq!(u.irq.val(), self.report == Some((TAG_ENTRY, false)));
        if let Some((frame, failed)) = self.answered.front() {
            let c = u.cmd.val();
            let said = if *failed { Pending::default() } else { *frame };
            let want = RxDone {
                len: n(said.len) as u16,
                flags: n(said.verdict) as u16,
                index: self.used,
                reserved: 0,
                phase: phase(self.used, LOG2).into(),
            };
            let at = RING + 8 * u64::from(self.used % (1 << LOG2));
            assert_eq!((n(c.iova), n(c.len), c.notify), (at, 8, true));
            assert_eq!(RxDone::from_bytes(&n(c.data.get_bits::<64>(0)).to_le_bytes()), want);
            assert_eq!(n(c.tag), TAG_ENTRY);
        }
        if self.pop {
            let (_, failed) = self.answered.pop_front().expect("an answered frame");
            self.used = self.used.wrapping_add(1);
            self.entries += 1;
            self.seen[1 + usize::from(failed)] += 1;
        }
        if let Some((tag, error)) = self.report {
            if tag == TAG_PAYLOAD {
                self.answered.extend(self.frames.pop_front().map(|f| (f, error)));
            } else {
                self.entries -= 1;
                self.seen[3] += 1;
            }
        }
        self.frames.extend(self.push);
    }
}

/// Verifies: law L4 (what goes up is complete before it is announced).
#[test]
fn each_frame_has_its_entry_after_its_bytes_in_order() {
    let t = RefCell::new(Test::default());
    Diff::new("rx_completions", if long() { 200_000 } else { 10_000 }).run_seen(
        RxCompletions::default(),
        |u, r| t.borrow_mut().poke(u, r),
        |u| t.borrow_mut().see(u),
        |u, c| u.clock.next = c.into(),
    );
    let seen = t.borrow().seen;
    assert!(seen.iter().all(|n| *n > 50), "{seen:?}");
}
