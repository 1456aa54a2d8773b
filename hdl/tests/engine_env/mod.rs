//! What surrounds the engine in its tests: host memory, packet memory, write engine, readers, transmitter,
//! command block and dispatcher, each simple and with random delays.
#![allow(dead_code)]
pub mod beats;
pub mod sent;
pub mod world;

pub use beats::{code, record, words};
use chimney_abi::cmd::Opcode;
use chimney_abi::desc::{phase, PageMapEntry, RecvDesc, Shadow};
use chimney_abi::state::TcpRecord;
use chimney_hdl::prelude::*;
use chimney_hdl::tcp::proto::engine::Engine;
use chimney_hdl::types::*;
use chimney_hdl_kernel::diff::Rnd;
use sent::{sent, Sent};
use std::collections::{HashMap, VecDeque};

/// Eight connections are enough here.
pub type Dut = Engine<3, 8, 6, 2, 0>;

/// Addresses of the host's structures.
pub const SHADOWS: u64 = 0x10_0000;
/// See [`SHADOWS`].
pub const MAPS: u64 = 0x11_0000;
/// See [`SHADOWS`].
pub const POOL_RING: u64 = 0x12_0000;
/// See [`SHADOWS`].
pub const EVENT_RING: u64 = 0x13_0000;
/// See [`SHADOWS`].
pub const RECV_RING: u64 = 0x14_0000;
/// See [`SHADOWS`].
pub const POOL: u64 = 0x100_0000;
/// log2 of the pool and event rings.
pub const RING_LOG2: u64 = 6;
/// The path of all connections.
const PATH: u64 = 3;
/// Bits of packet memory.
const PACKET: usize = 1 << PACKET_LOG2;

/// Any width up to 64 as a number.
pub fn n<const N: usize>(b: Bits<N>) -> u64 {
    (0..N).fold(0, |v, i| v | u64::from(b.get_bit(i)) << i)
}

/// A command as it was accepted, with what is left to do.
#[derive(Clone, Debug)]
struct Flying {
    notify: bool,
    tag: u64,
    delay: u64,
}

/// What the stimulus plans.
#[derive(Clone, Debug)]
pub enum Todo {
    /// A segment with payload.
    Seg(Box<RxSeg>, Vec<u8>),
    /// A doorbell.
    Bell(Doorbell),
    /// A command with its beats.
    Op(ConnOp, Vec<u64>),
    /// Wait this many cycles.
    Wait(u64),
    /// Time passes, microseconds.
    Time(u64),
    /// Write responses are held back.
    Hold(bool),
    /// Jobs are not reported done.
    HoldJobs(bool),
    /// The next command that notifies gets an error response.
    Fail,
    /// The MTU of all connections' path.
    Mtu(u64),
}

/// The surroundings.
pub struct Env {
    /// Host memory.
    pub memory: HashMap<u64, u8>,
    /// Microseconds.
    pub now: u64,
    /// Jobs in the order taken.
    pub sent: Vec<Sent>,
    /// Handed up or not, per segment.
    pub verdicts: Vec<bool>,
    /// Status and image of every command.
    pub answers: Vec<(u64, Vec<u64>)>,
    /// Commands planned, and the tag of the one in work.
    tags: u64,
    tag: u64,
    /// Writes of the engine, in order: address and length.
    pub writes: Vec<(u64, usize)>,
    /// Sum of the counter increments, by the order of the fields.
    pub counts: [u64; 18],
    /// Bytes of packet memory freed.
    pub freed: u64,
    /// Events in host memory.
    pub events: u64,
    /// Pages offered.
    pub pool_producer: u64,
    /// Events consumed by the host.
    pub event_consumer: u64,
    /// Parameters.
    pub params: TcpParams,
    /// Everything stalls at random.
    pub slow: bool,
    /// The write engine takes nothing.
    pub closed: bool,
    /// Segments that may be under way if nothing stalls.
    pub segments: usize,
    /// Jobs fail at random, if it stalls too.
    pub fails: bool,
    /// Clocks that the transmitter takes for a job.
    pub job_cycles: u64,
    mtu: u64,
    todo: VecDeque<Todo>,
    packet: Vec<u8>,
    at: usize,
    flying: VecDeque<Flying>,
    event_flying: VecDeque<u64>,
    jobs: VecDeque<(u64, u64, u64)>,
    reads: [VecDeque<(u64, usize, u64)>; 2],
    wait: u64,
    hold: bool,
    hold_jobs: bool,
    fail: bool,
    busy_segs: usize,
    busy_op: bool,
    taken: bool,
    beat_taken: bool,
    done_taken: bool,
    offered: Option<Todo>,
    image: Vec<u64>,
    beats: VecDeque<u64>,
    in_reset: u64,
    idle: u64,
}

impl Env {
    /// An environment with `pages` free pages.
    pub fn new(pages: u64) -> Env {
        let params = TcpParams {
            ack_frequency: 2u64.into(),
            delayed_ack_us: 40_000u64.into(),
            dup_ack_threshold: 3u64.into(),
            push_us: 500_000u64.into(),
            min_rto_us: 200_000u64.into(),
            max_rto_us: 60_000_000u64.into(),
            fin_wait_2_us: 120_000_000u64.into(),
            shadow_base: SHADOWS.into(),
            page_map_base: MAPS.into(),
            pool_base: POOL.into(),
            ..TcpParams::default()
        };
        let mut e = Env {
            memory: HashMap::new(),
            now: 1_000_000,
            sent: vec![],
            verdicts: vec![],
            answers: vec![],
            tags: 0,
            tag: 0,
            writes: vec![],
            counts: [0; 18],
            freed: 0,
            events: 0,
            pool_producer: 0,
            event_consumer: 0,
            params,
            slow: false,
            closed: false,
            segments: 1,
            fails: true,
            job_cycles: 12,
            mtu: 1500,
            todo: VecDeque::new(),
            packet: vec![0; PACKET],
            at: 0,
            flying: VecDeque::new(),
            event_flying: VecDeque::new(),
            jobs: VecDeque::new(),
            reads: Default::default(),
            wait: 0,
            hold: false,
            hold_jobs: false,
            fail: false,
            busy_segs: 0,
            busy_op: false,
            taken: false,
            beat_taken: false,
            done_taken: false,
            offered: None,
            image: vec![],
            beats: VecDeque::new(),
            in_reset: 3,
            idle: 0,
        };
        (0..pages).for_each(|p| e.give_page(p));
        e
    }

    /// Puts a page into the pool ring.
    pub fn give_page(&mut self, page: u64) {
        let at = POOL_RING + (self.pool_producer % (1 << RING_LOG2)) * 8;
        self.write(at, &page.to_le_bytes());
        self.pool_producer += 1;
    }

    /// Writes host memory.
    pub fn write(&mut self, at: u64, bytes: &[u8]) {
        for (i, b) in bytes.iter().enumerate() {
            self.memory.insert(at + i as u64, *b);
        }
    }

    /// Reads host memory.
    pub fn read(&self, at: u64, len: usize) -> Vec<u8> {
        (0..len as u64).map(|i| *self.memory.get(&(at + i)).unwrap_or(&0)).collect()
    }

    /// The newest shadow record of a connection.
    pub fn shadow(&self, conn: u64) -> Option<Shadow> {
        let slot = |i: u64| {
            let b: [u8; 32] = self.read(SHADOWS + conn * 64 + i * 32, 32).try_into().expect("32 bytes");
            Some(Shadow::from_bytes(&b)).filter(|s| s.tag == s.tag_end && s.flags & 32 != 0)
        };
        match (slot(0), slot(1)) {
            (Some(a), Some(b)) => Some(if a.tag.wrapping_sub(b.tag) < 0x8000 { a } else { b }),
            (a, b) => a.or(b),
        }
    }

    /// The text in pages that begins at `seq`.
    pub fn paged(&self, conn: u64, seq: u32, len: usize) -> Vec<u8> {
        (0..len as u32)
            .map(|i| {
                let s = seq.wrapping_add(i);
                let at = MAPS + conn * 256 + u64::from((s >> 12) % 32) * 8;
                let e = PageMapEntry::from_bytes(&self.read(at, 8).try_into().expect("8 bytes"));
                assert!(e.valid == 1 && e.seq == s & !0xfff, "no page for {s:#x}: {e:?}");
                *self.memory.get(&(POOL + u64::from(e.page) * 4096 + u64::from(s & 0xfff))).unwrap_or(&0)
            })
            .collect()
    }

    /// Entry `idx` of the receive ring.
    pub fn post(&self, idx: u64) -> RecvDesc {
        RecvDesc::from_bytes(&self.read(RECV_RING + idx * 16, 16).try_into().expect("16 bytes"))
    }

    /// Posts a receive; the doorbell is the caller's.
    pub fn set_post(&mut self, idx: u64, d: RecvDesc) {
        self.write(RECV_RING + idx * 16, &d.to_bytes());
    }

    /// Plans something.
    pub fn plan(&mut self, t: Todo) {
        self.todo.push_back(t);
    }

    /// A command with a tag of its own.
    fn op(&mut self, code: Opcode, conn: u64, generation: u64) -> ConnOp {
        self.tags += 1;
        ConnOp {
            opcode: u64::from(code.code()).into(),
            conn: conn.into(),
            generation: generation.into(),
            path: PATH.into(),
            tag: (self.tags & 0xffff).into(),
            ..ConnOp::default()
        }
    }

    /// Plans an Initiate; a map goes along if it has pages.
    pub fn offload(&mut self, conn: u64, generation: u64, r: &TcpRecord, map: &[u64; 32]) {
        let mut beats = words(r);
        let has_map = map.iter().any(|entry| *entry != 0);
        if has_map {
            beats.extend(map);
        }
        let op = ConnOp { has_map, ..self.op(Opcode::Initiate, conn, generation) };
        self.plan(Todo::Op(op, beats));
    }

    /// Plans a command without beats, or with a record.
    pub fn command(&mut self, code: Opcode, conn: u64, generation: u64, r: Option<&TcpRecord>) {
        let op = self.op(code, conn, generation);
        self.plan(Todo::Op(op, r.map(words).unwrap_or_default()));
    }

    /// Nothing is planned any more.
    pub fn wants_more(&self) -> bool {
        self.todo.is_empty()
    }

    /// Everything planned has happened and nothing is under way.
    pub fn is_done(&self) -> bool {
        self.todo.is_empty()
            && self.offered.is_none()
            && self.wait == 0
            && self.busy_segs == 0
            && !self.busy_op
            && self.idle > 20
    }

    /// One cycle: outputs are read, inputs are set. Called before the logic settles.
    pub fn poke(&mut self, u: &mut Dut, r: &mut Rnd) {
        let reset = self.in_reset > 0;
        self.in_reset = self.in_reset.saturating_sub(1);
        u.reset.next = reset;
        u.enable.next = !reset;
        u.now_us.next = (self.now & 0xffff_ffff).into();
        let (now, past_us) = ((self.now / 1000) & 0xffff_ffff, self.now % 1000);
        u.millis.next = Millis { now: now.into(), past_us: past_us.into() };
        u.params.next = self.params;
        u.turn.next = !self.stall(r);
        u.path_mtu.next = PathMtu { valid: true, path: PATH.into(), mtu: self.mtu.into(), v6: false };
        u.pool_ring.next = POOL_RING.into();
        u.pool_log2.next = RING_LOG2.into();
        u.pool_producer.next = (self.pool_producer & 0xffff).into();
        u.event_ring.next = EVENT_RING.into();
        u.event_log2.next = RING_LOG2.into();
        u.event_consumer.next = (self.event_consumer & 0xffff).into();
        self.idle = if u.idle.val() { self.idle + 1 } else { 0 };
        self.count(u);
        self.writer(u, r);
        self.event_writer(u, r);
        self.readers(u, r);
        self.transmitter(u, r);
        self.planner(u, r);
    }

    fn stall(&self, r: &mut Rnd) -> bool {
        self.slow && r.chance(1, 3)
    }

    fn count(&mut self, u: &Dut) {
        let c = u.counts.val();
        let flags = [
            c.rx_offloaded,
            c.rto,
            c.fast_retransmits,
            c.drop_no_page,
            c.drop_no_range,
            c.unacceptable,
            c.challenge_acks,
            c.stale,
            c.handed_up,
            c.bad_request,
            c.ce_marks_in,
            c.ece_reductions,
            c.upload_urgent,
            c.upload_timeout,
            c.upload_invalid_state,
            c.upload_requested,
            c.upload_hardware,
            c.acks_unheard,
        ];
        for (sum, f) in self.counts.iter_mut().zip(flags) {
            *sum += u64::from(f);
        }
    }

    fn carry_out(&mut self, c: &WriteCmd) {
        let (kind, len, iova) = (n(c.kind), n(c.len) as usize, n(c.iova));
        assert!(len > 0, "a command writes something");
        let bytes: Vec<u8> = if kind == WRITE_PAYLOAD {
            (0..len).map(|i| self.packet[(n(c.src) as usize + i) % PACKET]).collect()
        } else {
            (0..len).map(|i| n(c.data.get_bits::<8>(i * 8)) as u8).collect()
        };
        self.write(iova, &bytes);
        self.writes.push((iova, len));
    }

    fn writer(&mut self, u: &mut Dut, r: &mut Rnd) {
        let ready = !self.stall(r) && !self.closed;
        u.write_cmd_ready.next = ready;
        if ready && u.write_cmd_valid.val() && n(u.write_cmd.val().kind) != WRITE_FREE {
            let c = u.write_cmd.val();
            self.carry_out(&c);
            let delay = if self.slow { 3 + r.below(60) } else { 10 };
            self.flying.push_back(Flying { notify: c.notify, tag: n(c.tag), delay });
        }
        while self.flying.front().is_some_and(|f| !f.notify) {
            self.flying.pop_front();
        }
        u.write_done_valid.next = false;
        u.write_done.next = WriteDone::default();
        if let Some(f) = self.flying.front_mut() {
            f.delay = f.delay.saturating_sub(1);
            if f.delay == 0 && !self.hold {
                u.write_done_valid.next = true;
                u.write_done.next = WriteDone { tag: f.tag.into(), error: self.fail };
                self.fail = false;
                self.flying.pop_front();
            }
        }
    }

    fn event_writer(&mut self, u: &mut Dut, r: &mut Rnd) {
        let ready = !self.stall(r);
        u.event_cmd_ready.next = ready;
        u.event_done_valid.next = false;
        u.event_done.next = WriteDone::default();
        if let Some(d) = self.event_flying.front_mut() {
            *d = d.saturating_sub(1);
            if *d == 0 {
                self.event_flying.pop_front();
                u.event_done_valid.next = true;
            }
        }
        if ready && u.event_cmd_valid.val() {
            let c = u.event_cmd.val();
            let (at, w) = (n(c.iova), n(c.data.get_bits::<64>(0)));
            assert_eq!(at, EVENT_RING + self.events % (1 << RING_LOG2) * 8);
            assert_eq!(w >> 63 == 1, phase(self.events as u16, RING_LOG2 as u8), "phase bit");
            self.write(at, &w.to_le_bytes());
            self.events += 1;
            self.event_flying.push_back(8);
        }
    }

    fn readers(&mut self, u: &mut Dut, r: &mut Rnd) {
        let ready = [!self.stall(r), !self.stall(r)];
        u.post_req_ready.next = ready[0];
        u.pool_req_ready.next = ready[1];
        let asked = [(u.post_req_valid.val(), u.post_req.val()), (u.pool_req_valid.val(), u.pool_req.val())];
        for i in 0..2 {
            if ready[i] && asked[i].0 {
                let (at, beats) = (n(asked[i].1.iova), n(asked[i].1.beats) as usize);
                assert!(
                    beats > 0 && at % 8 == 0 && at / 256 == (at + beats as u64 * 8 - 1) / 256,
                    "burst rules"
                );
                self.reads[i].push_back((at, beats, if self.slow { 1 + r.below(30) } else { 4 }));
            }
        }
        let mut out = [(false, ReadBeat::default()); 2];
        for (i, slot) in out.iter_mut().enumerate() {
            let Some((at, beats, delay)) = self.reads[i].front().copied() else { continue };
            if delay > 0 {
                self.reads[i][0].2 -= 1;
                continue;
            }
            let b: [u8; 8] = self.read(at, 8).try_into().expect("8 bytes");
            let data = u64::from_le_bytes(b).into();
            *slot = (true, ReadBeat { data, last: beats == 1, error: false });
            self.reads[i][0] = (at + 8, beats - 1, 0);
            if beats == 1 {
                self.reads[i].pop_front();
            }
        }
        u.post_beat_valid.next = out[0].0;
        u.post_beat.next = out[0].1;
        u.pool_beat_valid.next = out[1].0;
        u.pool_beat.next = out[1].1;
    }

    fn transmitter(&mut self, u: &mut Dut, r: &mut Rnd) {
        if self.done_taken {
            self.jobs.pop_front();
        }
        let ready = self.jobs.len() < 8;
        u.tx_job_ready.next = ready;
        if ready && u.tx_job_valid.val() {
            let j = u.tx_job.val();
            self.sent.push(sent(&j));
            let result = if self.slow && self.fails && r.chance(1, 15) { 1 + r.below(2) } else { 0 };
            self.jobs.push_back((
                n(j.conn),
                if self.slow { 2 + r.below(80) } else { self.job_cycles },
                result,
            ));
        }
        u.tx_done_valid.next = false;
        self.done_taken = false;
        if let Some((conn, delay, result)) = self.jobs.front_mut() {
            *delay = delay.saturating_sub(1);
            if *delay == 0 && !self.hold_jobs {
                u.tx_done_valid.next = true;
                u.tx_done.next = TxDone { conn: (*conn).into(), result: (*result).into() };
                self.done_taken = u.tx_done_ready.val();
            }
        }
    }

    fn planner(&mut self, u: &mut Dut, r: &mut Rnd) {
        self.answered(u);
        if self.taken {
            self.offered = None;
        }
        // Several segments may be under way.
        let most = if self.slow { 6 } else { self.segments };
        if self.offered.is_none() && self.busy_segs < most && !self.busy_op {
            if self.wait > 0 {
                self.wait -= 1;
            } else {
                self.next_todo(r);
            }
        }
        u.rx_seg_valid.next = matches!(self.offered, Some(Todo::Seg(..)));
        u.doorbell_valid.next = matches!(self.offered, Some(Todo::Bell(..)));
        u.op_valid.next = matches!(self.offered, Some(Todo::Op(..)));
        // The engine's `ready`s depend on its registers alone: what is seen now holds for this cycle.
        self.taken = match &self.offered {
            Some(Todo::Seg(s, _)) => {
                u.rx_seg.next = **s;
                u.rx_seg_ready.val()
            }
            Some(Todo::Bell(d)) => {
                u.doorbell.next = *d;
                u.doorbell_ready.val()
            }
            // `see` knows: whether a command is taken depends on the command.
            Some(Todo::Op(o, _)) => {
                u.op.next = *o;
                false
            }
            _ => false,
        };
        match &self.offered {
            Some(Todo::Seg(..)) if self.taken => self.busy_segs += 1,
            _ => {}
        }
    }

    /// What follows from `turn` of the same clock, when everything has settled: verdicts, and packet memory given back.
    pub fn see(&mut self, u: &Dut) {
        if let Some(Todo::Op(_, beats)) =
            self.offered.as_ref().filter(|_| u.op_valid.val() && u.op_ready.val())
        {
            (self.taken, self.busy_op) = (true, true);
            self.tag = n(u.op.val().tag);
            self.beats = beats.clone().into();
            self.image.clear();
        }
        if u.verdict_valid.val() {
            self.verdicts.push(u.verdict_handed_up.val());
            self.busy_segs -= 1;
        }
        let c = u.write_cmd.val();
        if u.write_cmd_valid.val() && u.write_cmd_ready.val() {
            self.freed += if n(c.kind) == WRITE_FREE { n(c.len) } else { n(c.free) };
        }
    }

    /// Beats and ends of commands.
    fn answered(&mut self, u: &mut Dut) {
        if self.beat_taken {
            self.beats.pop_front();
        }
        u.op_in.next = self.beats.front().copied().unwrap_or(0).into();
        u.op_in_valid.next = !self.beats.is_empty();
        self.beat_taken = !self.beats.is_empty() && u.op_in_ready.val();
        u.op_out_ready.next = true;
        if u.op_out_valid.val() {
            assert_eq!(n(u.op_out_tag.val()), self.tag);
            self.image.push(n(u.op_out.val()));
        }
        u.op_done_ready.next = true;
        if u.op_done_valid.val() {
            assert_eq!(n(u.op_done.val().tag), self.tag);
            self.answers.push((n(u.op_done.val().status), std::mem::take(&mut self.image)));
            self.busy_op = false;
        }
    }

    fn next_todo(&mut self, r: &mut Rnd) {
        if !self.todo.is_empty() {
            self.idle = 0;
        }
        match self.todo.pop_front() {
            Some(Todo::Seg(mut s, bytes)) => {
                self.at = ((self.at + 2048 + 8 * r.below(8) as usize) % PACKET) & !7;
                let src = self.at + 54;
                for (i, b) in bytes.iter().enumerate() {
                    self.packet[(src + i) % PACKET] = *b;
                }
                s.payload_src = ((src % PACKET) as u64).into();
                self.offered = Some(Todo::Seg(s, bytes));
            }
            Some(Todo::Wait(c)) => self.wait = c,
            Some(Todo::Time(t)) => self.now += t,
            Some(Todo::Hold(h)) => self.hold = h,
            Some(Todo::HoldJobs(h)) => self.hold_jobs = h,
            Some(Todo::Fail) => self.fail = true,
            Some(Todo::Mtu(mtu)) => self.mtu = mtu,
            other => self.offered = other,
        }
    }
}
