//! What surrounds the command block in its tests: host memory with bus errors, the write engine, the transmitter's
//! tables, the lookup and PROTO, each with random delays.

use crate::reference::{is_lost, Ask, Memory, Others, Write, DONE_RING, MAPS, RECORD_BEATS, RING, RING_LOG2};
use chimney_abi::cmd::{Opcode, Status};
use chimney_abi::desc::PAGE_SLOTS;
use chimney_hdl::host::mailbox::Mailbox;
use chimney_hdl::prelude::*;
use chimney_hdl::tcp::lookup::{Address, LookupOp};
use chimney_hdl::tcp::tx::tables::{TableOp, TABLE_NEIGHBOR, TABLE_PATH_NEW, TABLE_READ};
use chimney_hdl::types::{ConnOp, ReadBeat, WriteDone, WRITE_INLINE};
use chimney_hdl_kernel::diff::Rnd;
use std::collections::VecDeque;

/// 8 connections, 4 paths, 4 neighbors.
pub type Dut = Mailbox<3, 2, 3>;

/// Any width up to 64 as a number.
pub fn n<const N: usize>(b: Bits<N>) -> u64 {
    (0..N).fold(0, |v, i| v | u64::from(b.get_bit(i)) << i)
}

/// An operation in PROTO.
#[derive(Default)]
struct Op {
    op: ConnOp,
    fed: Vec<u64>,
    give: VecDeque<u64>,
    answer: Option<Status>,
}

/// The surroundings.
#[derive(Default)]
pub struct Env {
    pub memory: Memory,
    pub others: Others,
    /// In the order they happened.
    pub writes: Vec<Write>,
    pub asks: Vec<Ask>,
    pub stale: u64,
    pub bad_requests: u64,
    pub irqs: u64,
    pub completions: u64,
    /// Commands in the ring.
    pub producer: u16,
    /// `CTRL.enable`.
    pub enable: bool,
    /// Clocks of reset still to come.
    pub in_reset: u64,
    /// Clocks without anything in work.
    pub idle: u64,
    burst: VecDeque<(u64, bool)>,
    /// Writes without a response: clocks, and whether it will be an error.
    flying: VecDeque<(u64, bool)>,
    counter: u16,
    lookup: Option<(u64, Result<(), bool>)>,
    /// It was answered in this step.
    answered: bool,
    op: Option<Op>,
    out_taken: bool,
}

impl Env {
    /// Three clocks of reset, then enabled.
    pub fn new() -> Env {
        Env { enable: true, in_reset: 3, ..Env::default() }
    }

    /// One clock: outputs are read, inputs are set. Called before the logic settles.
    pub fn poke(&mut self, u: &mut Dut, r: &mut Rnd) {
        u.reset.next = self.in_reset > 0;
        self.in_reset = self.in_reset.saturating_sub(1);
        let mut rings = u.rings.val();
        rings.enable = self.enable;
        rings.cmd_base = RING.into();
        rings.cmd_done_base = DONE_RING.into();
        rings.cmd_log2 = u64::from(RING_LOG2).into();
        rings.cmd_producer = u64::from(self.producer).into();
        u.rings.next = rings;
        u.page_map_base.next = MAPS.into();
        self.idle = if u.idle.val() { self.idle + 1 } else { 0 };
        if u.idle.val() {
            assert!(
                self.burst.is_empty() && self.flying.is_empty() && self.op.is_none(),
                "idle, yet at work"
            );
        }
        self.stale += u64::from(u.stale.val());
        self.bad_requests += u64::from(u.bad_request.val());
        self.irqs += u64::from(u.irq_cmd.val());
        self.reads(u, r);
        self.write_engine(u, r);
        self.tables(u, r);
        self.lookups(u, r);
        self.proto(u, r);
    }

    fn reads(&mut self, u: &mut Dut, r: &mut Rnd) {
        u.beat_valid.next = false;
        u.beat.next = r.any();
        let ready = r.chance(1, 2);
        u.req_ready.next = ready;
        if !self.burst.is_empty() && r.chance(2, 3) {
            let (at, last) = self.burst.pop_front().expect("not empty");
            let error = self.memory.bad.contains(&at);
            u.beat_valid.next = true;
            u.beat.next = ReadBeat { data: self.memory.word(at).into(), last, error };
        }
        if u.req_valid.val() && ready {
            assert!(self.burst.is_empty(), "one burst at a time");
            let (at, beats) = (n(u.req.val().iova), n(u.req.val().beats));
            assert!(
                beats > 0 && at.is_multiple_of(8) && at / 256 == (at + 8 * beats - 8) / 256,
                "{at:x} {beats}"
            );
            self.burst.extend((0..beats).map(|i| (at + 8 * i, i + 1 == beats)));
        }
    }

    fn write_engine(&mut self, u: &mut Dut, r: &mut Rnd) {
        let ready = r.chance(1, 3);
        u.write_ready.next = ready;
        u.done_valid.next = false;
        u.done.next = WriteDone::default();
        if let Some((left, error)) = self.flying.front_mut() {
            *left = left.saturating_sub(1);
            if *left == 0 {
                u.done_valid.next = true;
                u.done.next = WriteDone { tag: 0u64.into(), error: *error };
                self.flying.pop_front();
            }
        }
        if u.write_valid.val() && ready {
            let c = u.write.val();
            let (at, len) = (n(c.iova), n(c.len) as usize);
            assert_eq!(n(c.kind), WRITE_INLINE);
            let bytes: Vec<u8> = (0..len).map(|i| n(c.data.get_bits::<8>(8 * i)) as u8).collect();
            self.memory.put(at, &bytes);
            self.writes.push(Write { at, bytes, notify: c.notify });
            if c.notify {
                self.completions += u64::from((DONE_RING..MAPS).contains(&at));
                self.flying.push_back((1 + r.below(12), is_lost(at)));
            }
        }
    }

    fn tables(&mut self, u: &mut Dut, r: &mut Rnd) {
        let ready = r.chance(1, 4);
        u.table_ready.next = ready;
        u.table_counter.next = u64::from(self.counter).into();
        if u.table_valid.val() && ready {
            let op = u.table_op.val();
            let id = n(op.id) as u16;
            self.asks.push(ask_table(&op));
            if n(op.kind) != TABLE_NEIGHBOR {
                let new = (n(op.kind) == TABLE_PATH_NEW).then_some(n(op.ip_id_counter) as u16);
                self.counter = self.others.table(id, new);
            }
        }
    }

    fn lookups(&mut self, u: &mut Dut, r: &mut Rnd) {
        let idle = self.lookup.is_none();
        u.lookup_done.next = false;
        (u.lookup_ok.next, u.lookup_known.next) = (r.any(), r.any());
        if let Some((left, answer)) = &mut self.lookup {
            assert!(u.lookup_valid.val(), "asked until it is answered");
            *left -= 1;
            if *left == 0 {
                u.lookup_done.next = true;
                u.lookup_ok.next = answer.is_ok();
                u.lookup_known.next = *answer == Err(true);
                self.lookup = None;
            }
        }
        if u.lookup_valid.val() && idle && !self.answered {
            let ask = ask_lookup(&u.lookup.val());
            self.asks.push(ask.clone());
            let Ask::Lookup { insert, conn, .. } = ask else { unreachable!() };
            self.lookup = Some((1 + r.below(20), self.others.lookup(insert, conn)));
        }
        self.answered = u.lookup_done.next;
    }

    fn proto(&mut self, u: &mut Dut, r: &mut Rnd) {
        let ready = self.op.is_none() && r.chance(1, 3);
        u.op_ready.next = ready;
        u.op_in_ready.next = false;
        u.op_out_valid.next = false;
        u.op_out.next = r.any();
        u.op_done.next = false;
        u.op_status.next = r.any();
        if self.out_taken {
            self.out_taken = false;
            self.op.as_mut().expect("an operation").give.pop_front();
        }
        if let Some(op) = &mut self.op {
            let code = Opcode::try_from(n(op.op.opcode) as u8).expect("an opcode");
            let wanted = match code {
                Opcode::Initiate => RECORD_BEATS + PAGE_SLOTS as usize,
                Opcode::Update => RECORD_BEATS,
                _ => 0,
            };
            if op.fed.len() < wanted {
                let ready = r.chance(2, 3);
                u.op_in_ready.next = ready;
                if ready && u.op_in_valid.val() {
                    op.fed.push(n(u.op_in.val()));
                }
            } else if op.answer.is_none() {
                assert!(!u.op_in_valid.val(), "more beats than the operation takes");
                let (conn, generation) = (n(op.op.conn) as u16, n(op.op.generation) as u8);
                self.asks.push(ask_op(&op.op, op.fed.clone()));
                let (status, given) = self.others.proto(code, conn, generation, &op.fed);
                (op.answer, op.give) = (Some(status), given.into());
            } else if let Some(beat) = op.give.front() {
                let valid = r.chance(2, 3);
                u.op_out_valid.next = valid;
                u.op_out.next = (*beat).into();
                // Depends on registers alone.
                self.out_taken = valid && u.op_out_ready.val();
            } else if r.chance(1, 5) {
                u.op_done.next = true;
                u.op_status.next = u64::from(op.answer.expect("decided").code()).into();
                self.op = None;
            }
        } else if u.op_valid.val() && ready {
            self.op = Some(Op { op: u.op.val(), ..Op::default() });
        }
    }
}

fn ask_table(op: &TableOp) -> Ask {
    let (id, p, m) = (n(op.id) as u16, op.path, op.neighbor);
    match n(op.kind) {
        TABLE_NEIGHBOR => Ask::Neighbor {
            id,
            usable: m.usable,
            dst: n(m.dst_mac),
            src: n(m.src_mac),
            vlan: n(m.vlan) as u16,
            snap: m.snap,
        },
        TABLE_READ => Ask::Counter { id },
        kind => Ask::Path {
            id,
            usable: p.usable,
            v6: p.v6,
            src: wide(p.src_ip),
            dst: wide(p.dst_ip),
            neighbor: n(p.neighbor) as u16,
            vlan: op.links.then_some(n(op.vlan) as u16),
            start: n(p.ip_id_start) as u16,
            counter: (kind == TABLE_PATH_NEW).then_some(n(op.ip_id_counter) as u16),
            mtu: n(op.mtu) as u16,
        },
    }
}

fn wide(x: Bits<128>) -> u128 {
    u128::from(n(x.get_bits::<64>(64))) << 64 | u128::from(n(x.get_bits::<64>(0)))
}

fn address(a: Address) -> u128 {
    [a.d, a.c, a.b, a.a].iter().fold(0, |x, w| x << 32 | u128::from(n(*w)))
}

fn ask_lookup(l: &LookupOp) -> Ask {
    let k = l.key;
    // Of IPv4 the lookup takes the first word alone.
    let of_family = |a| address(a) & if k.is_v6 { u128::MAX } else { u128::from(u32::MAX) };
    let key =
        (of_family(k.remote_ip), of_family(k.local_ip), n(k.remote_port) as u16, n(k.local_port) as u16);
    Ask::Lookup { insert: l.insert.then_some(key), is_v6: k.is_v6, conn: n(l.conn) as u16 }
}

fn ask_op(op: &ConnOp, fed: Vec<u64>) -> Ask {
    Ask::Op {
        opcode: n(op.opcode) as u8,
        conn: n(op.conn) as u16,
        generation: n(op.generation) as u8,
        path: n(op.path) as u16,
        fed,
    }
}
