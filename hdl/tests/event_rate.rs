//! PROTO with more events than it takes: native against Verilated, and how many it takes.

use chimney_hdl::prelude::Bits;
use chimney_hdl::tcp::proto::rate::EventRate;
use chimney_hdl_kernel::diff::Diff;
use std::cell::RefCell;

/// Clocks from one event to the next, on different connections and on one.
const DIFFERENT: u64 = 2;
const SAME: u64 = 6;
/// Clocks of one kind.
const TURN: u64 = 120;

/// Any width up to 64 as a number.
fn n<const N: usize>(b: Bits<N>) -> u64 {
    (0..N).fold(0, |v, i| v | u64::from(b.get_bit(i)) << i)
}

#[derive(Default)]
struct Test {
    /// Clocks since all connections were there.
    live: u64,
    /// Events at the start of the turn, when the pipeline has only what belongs to it.
    start: u64,
    turns: usize,
}

impl Test {
    fn see(&mut self, u: &EventRate) {
        assert_eq!(n(u.refused.val()), 0, "PROTO believes every doorbell");
        if !u.is_live.val() {
            return;
        }
        let (turn, at) = (self.live / TURN, self.live % TURN);
        let each = if turn % 2 == 1 { SAME } else { DIFFERENT };
        if at == TURN / 4 {
            self.start = n(u.events.val());
        } else if at == TURN - 1 {
            let (events, clocks) = (n(u.events.val()) - self.start, TURN - 1 - TURN / 4);
            assert!(events.abs_diff(clocks / each) <= 1, "{events} events in {clocks} clocks, one in {each}");
            self.turns += 1;
        }
        self.live += 1;
    }
}

/// Events on different connections begin in every second clock; on one the next begins when the one before stores.
#[test]
fn an_event_begins_every_second_clock_and_every_sixth_on_one_connection() {
    let t = RefCell::new(Test::default());
    Diff::new("event_rate_test", 2400).constant("refused").quick().run_seen(
        EventRate::default(),
        |u, _| {
            u.reset.next = false;
            u.same.next = (t.borrow().live / TURN) % 2 == 1;
        },
        |u| t.borrow_mut().see(u),
        |u, c| u.clock.next = c.into(),
    );
    assert!(t.borrow().turns >= 4, "{} turns", t.borrow().turns);
}
