//! The engine with one connection in its surroundings, for directed scenarios.

use super::{code, record, Dut, Env, Todo};
use chimney_abi::cmd::{Opcode, Status, TcpState};
use chimney_abi::state::{TcpRecord, CONST_SACK, DELEG_POOL_MODE, NO_TIMER};
use chimney_hdl::types::*;
use chimney_hdl_kernel::diff::{Bench, Rnd};

/// First byte the peer sends.
pub const PEER: u32 = 0xffff_f000;
/// First byte we send.
pub const OURS: u32 = 0x0000_8000;
/// Generation of the connection.
pub const GEN: u64 = 7;
/// Text bytes of its segments.
pub const MSS: u32 = 1000;

/// An established connection with nothing under way.
pub fn image() -> TcpRecord {
    TcpRecord {
        local_port: 80,
        remote_port: 40_000,
        const_flags: CONST_SACK,
        eff_mss: MSS as u16,
        ttl: 64,
        max_retransmissions: 3,
        ka_probe_count: 2,
        ka_timeout_ms: 1_000,
        ka_interval_ms: 100,
        initial_rcv_wnd: 60_000,
        tcp_state: TcpState::Established.code(),
        deleg_flags: DELEG_POOL_MODE,
        rcv_nxt: PEER,
        rcv_right: PEER.wrapping_add(60_000),
        adv_right: PEER.wrapping_add(60_000),
        last_ack_sent: PEER,
        snd_una: OURS,
        snd_nxt: OURS,
        snd_max: OURS,
        snd_limit: OURS,
        snd_wnd: 50_000,
        max_snd_wnd: 50_000,
        snd_wl1: PEER,
        snd_wl2: OURS,
        cwnd: 10 * MSS,
        ssthresh: 1 << 30,
        recover: OURS,
        rto_us: 300_000,
        srtt_us_x8: 8000,
        rttvar_us_x4: 2000,
        rtx_deadline: NO_TIMER,
        ka_deadline: NO_TIMER,
        send_ring: 0x20_0000,
        send_ring_log2: 6,
        recv_ring: super::RECV_RING,
        recv_ring_log2: 4,
        ..TcpRecord::default()
    }
}

/// Engine and surroundings.
pub struct World {
    /// Surroundings.
    pub e: Env,
    /// Their stalls.
    pub r: Rnd,
    /// The engine.
    pub b: Bench<Dut, fn(&mut Dut, bool)>,
}

impl World {
    /// Nothing offloaded; `pages` free pages.
    pub fn new(pages: u64) -> World {
        let clock: fn(&mut Dut, bool) = |u, c| u.clock.next = c.into();
        World { e: Env::new(pages), r: Rnd::new(1), b: Bench::new(Dut::default(), clock) }
    }

    /// With one connection offloaded as number 2.
    pub fn with(pages: u64, r: &TcpRecord) -> World {
        let mut w = World::new(pages);
        w.e.offload(2, GEN, r, &[0; 32]);
        w.run();
        assert_eq!(w.e.answers.pop(), Some((code(Status::Success), vec![])));
        w
    }

    /// One clock.
    pub fn cycle(&mut self) {
        let (e, r) = (&mut self.e, &mut self.r);
        self.b.settle(|u| e.poke(u, r));
        e.see(&self.b.u);
        self.b.edge();
    }

    /// Until everything planned is done.
    pub fn run(&mut self) {
        for _ in 0..20_000 {
            self.cycle();
            if self.e.is_done() {
                return;
            }
        }
        panic!("still busy");
    }

    /// So many clocks.
    pub fn run_for(&mut self, cycles: usize) {
        (0..cycles).for_each(|_| self.cycle());
    }

    /// Plans a segment of the peer.
    pub fn segment(&mut self, seq: u32, ack: u32, flags: u64, bytes: &[u8]) {
        self.e.plan(Todo::Seg(seg(seq, ack, flags, bytes.len()).into(), bytes.to_vec()));
    }

    /// Plans an acknowledgment with SACK blocks.
    pub fn sack(&mut self, ack: u32, blocks: &[(u32, u32)]) {
        let mut s = seg(PEER, ack, 0, 0);
        s.sack_count = (blocks.len() as u64).into();
        for (i, (start, end)) in blocks.iter().enumerate() {
            let both = u64::from(*end) << 32 | u64::from(*start);
            s.sack.set_bits::<64>(64 * i, both.into());
        }
        self.e.plan(Todo::Seg(s.into(), vec![]));
    }

    /// Plans a doorbell.
    pub fn bell(&mut self, receive: bool, producer: u64, limit: u32, flags: u64) {
        self.e.plan(Todo::Bell(Doorbell {
            conn: 2u64.into(),
            receive,
            producer: producer.into(),
            generation: GEN.into(),
            flags: flags.into(),
            limit: u64::from(limit).into(),
        }));
    }

    /// Terminates; status and image.
    pub fn take(&mut self) -> (u64, TcpRecord) {
        self.e.command(Opcode::Terminate, 2, GEN, None);
        self.run();
        let (status, beats) = self.e.answers.pop().expect("an answer");
        (status, record(&beats))
    }
}

/// A segment's header.
pub fn seg(seq: u32, ack: u32, flags: u64, len: usize) -> RxSeg {
    RxSeg {
        conn: 2u64.into(),
        seq: u64::from(seq).into(),
        ack: u64::from(ack).into(),
        wnd: 50_000u64.into(),
        flags: (flags | TCP_ACK).into(),
        payload_len: (len as u64).into(),
        frame_len: (len as u64 + 54).into(),
        ..RxSeg::default()
    }
}

/// Bytes of a payload.
pub fn text(len: usize, from: u8) -> Vec<u8> {
    (0..len).map(|i| (i as u8).wrapping_mul(7).wrapping_add(from)).collect()
}
