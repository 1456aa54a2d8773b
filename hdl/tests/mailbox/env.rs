//! What surrounds the command block in its tests: host memory with bus errors, the write engine, the transmitter's
//! tables, the lookup and PROTO, each with random delays.

use crate::reference::{is_lost, Ask, Memory, Others, Write, DONE_RING, MAPS, RECORD_BEATS, RING, RING_LOG2};
use chimney_abi::cmd::Opcode;
use chimney_abi::desc::PAGE_SLOTS;
use chimney_hdl::host::mailbox::Mailbox;
use chimney_hdl::prelude::*;
use chimney_hdl::tcp::lookup::{Address, LookupOp};
use chimney_hdl::tcp::tx::tables::{TableOp, TABLE_NEIGHBOR, TABLE_PATH_NEW, TABLE_READ};
use chimney_hdl::types::{ConnOp, OpDone, ReadBeat, WriteDone, WRITE_INLINE};
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
    wanted: usize,
}

/// Terminates that PROTO has at once, at most.
const LEAVERS: usize = 4;
/// Bursts that the images' read client has asked for, at most.
const BURSTS: usize = 4;

/// The surroundings.
#[derive(Default)]
pub struct Env {
    pub memory: Memory,
    pub others: Others,
    /// In the order they happened.
    pub writes: Vec<Write>,
    pub asks: Vec<Ask>,
    /// Questions before each completion.
    pub ask_marks: Vec<usize>,
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
    image_bursts: VecDeque<VecDeque<u64>>,
    /// Writes without a response: clocks, tag, and whether it will be an error.
    flying: VecDeque<(u64, u64, bool)>,
    counter: u16,
    lookup: Option<(u64, Result<(), bool>)>,
    /// It was answered in this step.
    answered: bool,
    /// The operation whose beats come in.
    op: Option<Op>,
    /// One that is complete; Terminates under way; the record that goes out, with the answer that follows it; answers.
    run: Option<Op>,
    leavers: Vec<Op>,
    give: Option<(VecDeque<u64>, OpDone)>,
    dones: VecDeque<OpDone>,
    in_taken: Option<u64>,
    out_taken: bool,
    done_taken: bool,
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
                self.burst.is_empty()
                    && self.image_bursts.is_empty()
                    && self.flying.is_empty()
                    && self.proto_is_idle(),
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
        let image_ready = self.image_bursts.len() < BURSTS && r.chance(1, 2);
        u.image_req_ready.next = image_ready;
        u.image_beat_valid.next = false;
        if !self.burst.is_empty() && r.chance(2, 3) {
            let (at, last) = self.burst.pop_front().expect("not empty");
            let error = self.memory.bad.contains(&at);
            u.beat_valid.next = true;
            u.beat.next = ReadBeat { data: self.memory.word(at).into(), last, error };
        } else if let Some(burst) = self.image_bursts.front_mut().filter(|_| r.chance(2, 3)) {
            let at = burst.pop_front().expect("not empty");
            let (last, error) = (burst.is_empty(), self.memory.bad.contains(&at));
            u.image_beat_valid.next = true;
            u.beat.next = ReadBeat { data: self.memory.word(at).into(), last, error };
            if last {
                self.image_bursts.pop_front();
            }
        }
        let burst = |at: u64, beats: u64| {
            assert!(
                beats > 0 && at.is_multiple_of(8) && at / 256 == (at + 8 * beats - 8) / 256,
                "{at:x} {beats}"
            );
            (0..beats).map(move |i| at + 8 * i)
        };
        if u.req_valid.val() && ready {
            assert!(self.burst.is_empty(), "one burst at a time");
            let beats = n(u.req.val().beats);
            self.burst.extend(
                burst(n(u.req.val().iova), beats).enumerate().map(|(i, at)| (at, i as u64 + 1 == beats)),
            );
        }
        if u.image_req_valid.val() && image_ready {
            let req = u.image_req.val();
            self.image_bursts.push_back(burst(n(req.iova), n(req.beats)).collect());
        }
    }

    fn write_engine(&mut self, u: &mut Dut, r: &mut Rnd) {
        let ready = r.chance(1, 3);
        u.write_ready.next = ready;
        u.done_valid.next = false;
        u.done.next = WriteDone::default();
        if let Some((left, tag, error)) = self.flying.front_mut() {
            *left = left.saturating_sub(1);
            if *left == 0 {
                u.done_valid.next = true;
                u.done.next = WriteDone { tag: (*tag).into(), error: *error };
                self.flying.pop_front();
            }
        }
        if u.write_valid.val() && ready {
            let c = u.write.val();
            let (at, len) = (n(c.iova), n(c.len) as usize);
            assert_eq!(n(c.kind), WRITE_INLINE);
            let lane = (at % 8) as usize;
            let bytes: Vec<u8> = (0..len).map(|i| n(c.data.get_bits::<8>(8 * (lane + i))) as u8).collect();
            self.memory.put(at, &bytes);
            self.writes.push(Write { at, bytes, notify: c.notify });
            if c.notify {
                if (DONE_RING..MAPS).contains(&at) {
                    self.completions += 1;
                    self.ask_marks.push(self.asks.len());
                }
                self.flying.push_back((1 + r.below(12), n(c.tag), is_lost(at)));
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

    fn proto_is_idle(&self) -> bool {
        self.op.is_none()
            && self.run.is_none()
            && self.leavers.is_empty()
            && self.give.is_none()
            && self.dones.is_empty()
    }

    /// As the real one: the beats of one operation come in while another is carried out, Terminates leave in any order.
    fn proto(&mut self, u: &mut Dut, r: &mut Rnd) {
        self.feed(u, r);
        if let Some(op) = self.run.take_if(|_| self.give.is_none() && r.chance(1, 5)) {
            if n(op.op.opcode) == u64::from(Opcode::Terminate.code()) {
                self.leavers.push(op);
            } else {
                self.carry_out(op);
            }
        }
        if !self.leavers.is_empty() && self.give.is_none() && r.chance(1, 20) {
            let op = self.leavers.remove(r.below(self.leavers.len() as u64) as usize);
            self.carry_out(op);
        }
        if std::mem::take(&mut self.out_taken) {
            self.give.as_mut().expect("a record").0.pop_front();
        }
        if let Some((_, done)) = self.give.take_if(|(beats, _)| beats.is_empty()) {
            self.dones.push_back(done);
        }
        u.op_out_valid.next = false;
        (u.op_out.next, u.op_out_tag.next) = (r.any(), r.any());
        if let Some((beats, done)) = self.give.as_ref().filter(|_| r.chance(2, 3)) {
            u.op_out_valid.next = true;
            u.op_out.next = beats[0].into();
            u.op_out_tag.next = done.tag;
            // Depends on registers alone.
            self.out_taken = u.op_out_ready.val();
        }
        if std::mem::take(&mut self.done_taken) {
            self.dones.pop_front();
        }
        u.op_done_valid.next = false;
        u.op_done.next = r.any();
        if let Some(done) = self.dones.front().filter(|_| r.chance(1, 3)) {
            u.op_done_valid.next = true;
            u.op_done.next = *done;
        }
    }

    /// What was taken in this clock, when everything has settled.
    pub fn see(&mut self, u: &Dut) {
        self.done_taken = u.op_done_valid.val() && u.op_done_ready.val();
        self.in_taken = (u.op_in_valid.val() && u.op_in_ready.val()).then(|| n(u.op_in.val()));
    }

    fn feed(&mut self, u: &mut Dut, r: &mut Rnd) {
        let few = self.leavers.len() < LEAVERS && self.dones.len() < 2;
        let ready = self.op.is_none() && self.run.is_none() && few && r.chance(1, 3);
        u.op_ready.next = ready;
        u.op_in_ready.next = false;
        if let Some(beat) = self.in_taken.take() {
            self.op.as_mut().expect("an operation").fed.push(beat);
        }
        if let Some(op) = &self.op {
            u.op_in_ready.next = op.fed.len() < op.wanted && r.chance(2, 3);
            if op.fed.len() == op.wanted && self.run.is_none() {
                assert!(op.wanted == 0 || !u.op_in_valid.val(), "more beats than the operation takes");
                self.run = self.op.take();
            }
        } else if u.op_valid.val() && ready {
            let op = u.op.val();
            let code = Opcode::try_from(n(op.opcode) as u8).expect("an opcode");
            let wanted = match code {
                Opcode::Initiate if op.has_map => RECORD_BEATS + PAGE_SLOTS as usize,
                Opcode::Initiate | Opcode::Update => RECORD_BEATS,
                _ => 0,
            };
            self.op = Some(Op { op, wanted, fed: vec![] });
        }
    }

    fn carry_out(&mut self, op: Op) {
        let code = Opcode::try_from(n(op.op.opcode) as u8).expect("an opcode");
        let (conn, generation) = (n(op.op.conn) as u16, n(op.op.generation) as u8);
        self.asks.push(ask_op(&op.op, op.fed.clone()));
        let (status, given) = self.others.proto(code, conn, generation, &op.fed);
        let first = op.fed.first().or(given.first()).copied().unwrap_or(0);
        let o = op.op;
        let done = OpDone {
            opcode: o.opcode,
            conn: o.conn,
            generation: o.generation,
            tag: o.tag,
            discard: o.discard,
            status: u64::from(status.code()).into(),
            ports: (first & 0xffff_ffff_ffff).into(),
        };
        if given.is_empty() || o.discard {
            self.dones.push_back(done);
        } else {
            self.give = Some((given.into(), done));
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
        path: if n(op.opcode) == u64::from(Opcode::Initiate.code()) { n(op.path) as u16 } else { 0 },
        fed,
    }
}
