//! The engine under random traffic with random stalls, native against Verilated.
mod engine_env;

use chimney_abi::cmd::{Opcode, TcpState};
use chimney_abi::desc::RecvDesc;
use chimney_abi::state::{
    TcpRecord, CACHED_KEEP_ALIVE, CACHED_NAGLE, CONST_ECN, CONST_SACK, CONST_TIMESTAMPS, NO_TIMER,
};
use chimney_hdl::prelude::Bits;
use chimney_hdl::types::*;
use chimney_hdl_kernel::diff::{long, Diff, Rnd};
use engine_env::{Dut, Env, Todo, RECV_RING};
use std::cell::RefCell;

/// What the host and the peer of one connection believe; loosely, so that wrong input occurs too.
#[derive(Clone, Copy, Default)]
struct Peer {
    live: bool,
    generation: u64,
    seq: u32,
    ack: u32,
    limit: u32,
    right: u32,
    posts: u64,
}

struct Traffic {
    e: Env,
    peers: [Peer; 8],
    planned: u64,
}

/// So many things are planned between two pauses ...
const BUSY: u64 = 80;
/// ... in which everything comes to rest, clocks.
const PAUSE: u64 = 900;

impl Traffic {
    fn image(&self, r: &mut Rnd, p: &Peer) -> TcpRecord {
        let states = [TcpState::Established, TcpState::Established, TcpState::CloseWait, TcpState::FinWait2];
        TcpRecord {
            local_port: r.next_u64() as u16,
            const_flags: [0, CONST_SACK, CONST_TIMESTAMPS, CONST_SACK | CONST_TIMESTAMPS]
                [r.below(4) as usize]
                | [0, CONST_ECN][r.below(2) as usize],
            ecn: r.below(8) as u8,
            cached_flags: [0, CACHED_NAGLE, CACHED_KEEP_ALIVE][r.below(3) as usize],
            snd_wind_shift: r.below(4) as u8,
            rcv_wind_shift: r.below(4) as u8,
            eff_mss: 500 + r.below(900) as u16,
            max_retransmissions: 3,
            ka_probe_count: 2,
            ka_timeout_ms: 300,
            ka_interval_ms: 100,
            initial_rcv_wnd: 60_000,
            tcp_state: states[r.below(4) as usize].code(),
            deleg_flags: if r.chance(1, 2) { 64 } else { 0 },
            rcv_nxt: p.seq,
            rcv_right: p.right,
            adv_right: p.right,
            last_ack_sent: p.seq,
            snd_una: p.ack,
            snd_nxt: p.ack,
            snd_max: p.ack,
            snd_limit: p.limit,
            snd_wnd: r.below(20_000) as u32,
            max_snd_wnd: 20_000,
            snd_wl1: p.seq,
            snd_wl2: p.ack,
            cwnd: 4000,
            srtt_us_x8: r.below(3) as u32 * 40_000,
            phase: if r.chance(1, 5) { 1 + r.below(2) as u8 } else { 0 },
            ssthresh: 8000,
            recover: p.ack,
            rto_us: 300_000,
            rtx_deadline: NO_TIMER,
            ka_deadline: NO_TIMER,
            send_ring_log2: 6,
            recv_ring: RECV_RING,
            recv_ring_log2: 4,
            recv_producer: p.posts as u16,
            ..TcpRecord::default()
        }
    }

    fn start(&mut self, r: &mut Rnd, conn: usize) {
        let seq = r.next_u64() as u32;
        let ack = r.next_u64() as u32;
        let p = Peer {
            live: true,
            generation: 1 + r.below(200),
            seq,
            ack,
            limit: ack.wrapping_add(r.below(3000) as u32),
            right: seq.wrapping_add(30_000),
            posts: r.below(3),
        };
        self.peers[conn] = p;
        let image = self.image(r, &p);
        self.e.offload(conn as u64, p.generation, &image, &[0; 32]);
    }

    fn segment(&mut self, r: &mut Rnd, conn: usize) {
        let p = &mut self.peers[conn];
        let len = if r.chance(1, 3) { 0 } else { 1 + r.below(1400) };
        let mut seq = p.seq;
        if r.chance(1, 4) {
            seq = seq.wrapping_add(r.below(9000) as u32).wrapping_sub(2000);
        } else {
            p.seq = p.seq.wrapping_add(len as u32);
        }
        if r.chance(1, 3) {
            p.ack = p.ack.wrapping_add(r.below(1500) as u32);
        }
        let odd = [TCP_FIN, TCP_RST, TCP_SYN, TCP_URG][r.below(4) as usize];
        let flags = if r.chance(1, 12) { odd } else { 0 } | if r.chance(1, 3) { TCP_PSH } else { 0 };
        let flags = flags | [0, 0, TCP_ECE, TCP_CWR][r.below(4) as usize];
        // Reports of ranges above the acknowledgment, some below it or beyond what was sent.
        let count = if r.chance(1, 2) { r.below(5) } else { 0 };
        let mut sack: Bits<256> = 0u64.into();
        for i in 0..count as usize {
            let start = p.ack.wrapping_add(r.below(5000) as u32).wrapping_sub(500);
            let end = start.wrapping_add(1 + r.below(1500) as u32);
            sack.set_bits::<64>(64 * i, (u64::from(end) << 32 | u64::from(start)).into());
        }
        let s = RxSeg {
            conn: (conn as u64).into(),
            sack_count: count.into(),
            sack,
            seq: u64::from(seq).into(),
            ack: u64::from(p.ack).into(),
            wnd: [0, 5, 3000, 9000][r.below(4) as usize].into(),
            flags: (flags | if r.chance(1, 50) { 0 } else { TCP_ACK }).into(),
            has_ts: r.chance(2, 3),
            ts_val: ((self.e.now / 1000) & 0xffff).into(),
            ts_ecr: 0u64.into(),
            ecn: r.any(),
            payload_src: 0u64.into(),
            payload_len: len.into(),
            frame_len: (len + 54).into(),
            ..RxSeg::default()
        };
        let bytes = (0..len).map(|_| r.next_u64() as u8).collect();
        self.e.plan(Todo::Seg(s.into(), bytes));
    }

    fn doorbell(&mut self, r: &mut Rnd, conn: usize) {
        let p = &mut self.peers[conn];
        let receive = r.chance(1, 2);
        if receive {
            let addr = 0x30_0000 + (r.below(1 << 20));
            let at = p.posts % 16;
            let d = RecvDesc { addr, len: 1 + r.below(3000) as u32, flags: r.below(2) as u8, seq: p.seq };
            self.e.set_post(at, d);
            p.posts += 1;
            p.right = p.right.wrapping_add(r.below(3000) as u32);
        } else {
            p.limit = p.limit.wrapping_add(r.below(4000) as u32);
        }
        let limit = if receive { p.right } else { p.limit };
        self.e.plan(Todo::Bell(Doorbell {
            conn: (conn as u64).into(),
            receive,
            producer: p.posts.into(),
            generation: if r.chance(1, 30) { r.any() } else { p.generation.into() },
            flags: u64::from(r.chance(1, 40)).into(),
            limit: u64::from(limit).into(),
        }));
    }

    fn command(&mut self, r: &mut Rnd, conn: usize) {
        let p = self.peers[conn];
        let code = [
            Opcode::Query,
            Opcode::Update,
            Opcode::Terminate,
            Opcode::Terminate,
            Opcode::Abort,
            Opcode::Invalidate,
        ][r.below(6) as usize];
        let image = self.image(r, &p);
        let generation = if r.chance(1, 20) { 255 } else { p.generation };
        self.e.command(code, conn as u64, generation, (code == Opcode::Update).then_some(&image));
        if code == Opcode::Terminate && generation == p.generation {
            self.peers[conn].live = false;
        }
    }

    fn plan(&mut self, r: &mut Rnd) {
        let conn = r.below(8) as usize;
        self.planned += 1;
        if self.planned.is_multiple_of(BUSY) {
            return self.e.plan(Todo::Wait(PAUSE));
        }
        match r.below(40) {
            _ if !self.peers[conn].live => self.start(r, conn),
            0..=22 => self.segment(r, conn),
            // Sometimes so many that they wait.
            23..=29 => (0..[1, 1, 1, 5][r.below(4) as usize]).for_each(|_| self.doorbell(r, conn)),
            30..=32 => self.command(r, conn),
            33 => self.e.plan(Todo::Time(r.below(200_000))),
            34 => self.e.plan(Todo::Wait(r.below(300))),
            35 | 36 => {
                let page = r.below(60_000);
                self.e.give_page(page);
            }
            37 => self.e.event_consumer = self.e.events,
            38 if r.chance(1, 8) => self.e.plan(Todo::Fail),
            39 if r.chance(1, 6) => self.e.plan(Todo::Mtu([576, 1000, 1500, 1500][r.below(4) as usize])),
            _ => self.e.plan(Todo::Time(r.below(2000))),
        }
    }
}

#[test]
fn random_traffic_is_the_same_in_verilog() {
    let mut t = Traffic { e: Env::new(30), peers: Default::default(), planned: 0 };
    t.e.slow = true;
    t.e.command(Opcode::Query, 7, 1, None); // refused
    let t = RefCell::new(t);
    let steps = if long() { 50_000 } else { 8_000 };
    Diff::new("engine_small", steps).run_seen(
        Dut::default(),
        |u, r| {
            let mut t = t.borrow_mut();
            if t.e.wants_more() {
                t.plan(r);
            }
            t.e.poke(u, r);
        },
        |u| t.borrow_mut().e.see(u),
        |u, c| u.clock.next = c.into(),
    );
    let t = t.borrow();
    eprintln!("counters {:?}, {} jobs, {} events", t.e.counts, t.e.sent.len(), t.e.events);
}
