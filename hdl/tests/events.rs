//! The event ring between PROTO, write engine and host: native against Verilated, and against what it promises.

use chimney_abi::cmd::EventKind;
use chimney_abi::desc::{phase, Event};
use chimney_hdl::host::events::{Events, RaiseEvent};
use chimney_hdl::prelude::Bits;
use chimney_hdl::types::{WriteDone, WRITE_INLINE};
use chimney_hdl_kernel::diff::{long, Diff, Rnd};
use std::cell::RefCell;
use std::collections::VecDeque;

/// log2 of connections, and of ring entries.
const CONN_LOG2: usize = 3;
const CONNS: usize = 1 << CONN_LOG2;
const RING_LOG2: u8 = 4;
const RING: u64 = 0x9_0000;

type Dut = Events<CONN_LOG2>;

/// Any width up to 64 as a number.
fn n<const N: usize>(b: Bits<N>) -> u64 {
    (0..N).fold(0, |v, i| v | u64::from(b.get_bit(i)) << i)
}

#[derive(Default)]
struct Test {
    offered: Option<(usize, u64)>,
    /// Per connection: generation of the last raise; raised since its last entry; entries the host has not consumed.
    generation: [u64; CONNS],
    owed: [bool; CONNS],
    waiting: [usize; CONNS],
    /// Entries whose write was accepted, and those in memory but not consumed.
    flying: VecDeque<usize>,
    landed: VecDeque<usize>,
    done: Option<usize>,
    irq_due: bool,
    producer: u16,
    consumer: u16,
    /// The host and the raisers rest.
    calm: bool,
    seen: [usize; 4],
    clock: usize,
}

impl Test {
    fn poke(&mut self, u: &mut Dut, r: &mut Rnd) {
        self.clock += 1;
        self.calm = self.clock % 1000 > 700;
        u.reset.next = false;
        u.ring.next = RING.into();
        u.ring_log2.next = u64::from(RING_LOG2).into();
        if self.offered.is_none() && !self.calm && r.chance(1, 6) {
            // Some connections talk more than others.
            let conn = (r.below(CONNS as u64) & r.next_u64()) as usize % CONNS;
            let same = r.chance(9, 10) && self.generation[conn] != 0;
            self.offered = Some((conn, if same { self.generation[conn] } else { 1 + r.below(255) }));
        }
        let (conn, generation) = self.offered.unwrap_or((r.below(8) as usize, 9));
        let valid = self.offered.is_some();
        u.raise.next = RaiseEvent { valid, conn: (conn as u64).into(), generation: generation.into() };
        if let Some(conn) = self.landed.front().copied().filter(|_| r.chance(1, 25) || self.calm) {
            self.landed.pop_front();
            self.consumer = self.consumer.wrapping_add(1);
            self.waiting[conn] -= 1;
        }
        u.consumer.next = u64::from(self.consumer).into();
        u.cmd_ready.next = r.chance(1, 3);
        self.done = if r.chance(1, 5) { self.flying.pop_front() } else { None };
        u.done_valid.next = self.done.is_some();
        u.done.next = WriteDone::default();
    }

    fn see(&mut self, u: &Dut) {
        assert_eq!(u.irq.val(), self.irq_due, "one clock after the report");
        self.irq_due = self.done.is_some();
        self.landed.extend(self.done);
        // A raise that is taken now is in work from the next clock on.
        let is_idle = u.idle.val() && self.offered.is_none();
        if let Some((conn, generation)) = self.offered.filter(|_| u.raise_ready.val()) {
            self.offered = None;
            self.seen[usize::from(self.waiting[conn] > 0)] += 1;
            (self.generation[conn], self.owed[conn]) = (generation, true);
        }
        if u.cmd_valid.val() && u.cmd_ready.val() {
            self.entry(u);
        }
        if is_idle {
            assert!(self.flying.is_empty());
            if self.calm && self.landed.is_empty() {
                assert_eq!(self.owed, [false; CONNS], "no progress is lost");
                self.seen[3] += 1;
            }
        }
    }

    fn entry(&mut self, u: &Dut) {
        let c = u.cmd.val();
        let slot = u64::from(self.producer % (1 << RING_LOG2));
        assert_eq!((n(c.kind), n(c.iova), n(c.len), c.notify), (WRITE_INLINE, RING + 8 * slot, 8, true));
        let e = Event::from_bytes(&n(c.data.get_bits::<64>(0)).to_le_bytes());
        let conn = usize::from(e.conn);
        assert_eq!(e.phase, u8::from(phase(self.producer, RING_LOG2)));
        assert_eq!((e.kind, e.reserved), (EventKind::Connection.code(), 0));
        assert_eq!(u64::from(e.generation), self.generation[conn], "of the last raise");
        assert!(self.owed[conn], "an entry says something new");
        assert_eq!(self.waiting[conn], 0, "at most one unconsumed entry per connection");
        (self.owed[conn], self.waiting[conn]) = (false, 1);
        self.producer = self.producer.wrapping_add(1);
        assert!(usize::from(self.producer.wrapping_sub(self.consumer)) <= CONNS, "the ring cannot overflow");
        self.flying.push_back(conn);
        self.seen[2] += 1;
    }
}

/// Verifies: law L5; programmer's guide 10.
#[test]
fn a_connection_has_one_unconsumed_event_and_no_progress_is_lost() {
    let t = RefCell::new(Test::default());
    Diff::new("event_ring", if long() { 300_000 } else { 15_000 }).run_seen(
        Dut::default(),
        |u, r| t.borrow_mut().poke(u, r),
        |u| t.borrow_mut().see(u),
        |u, c| u.clock.next = c.into(),
    );
    let seen = t.borrow().seen;
    assert!(seen.iter().all(|n| *n > 50), "{seen:?}");
}
