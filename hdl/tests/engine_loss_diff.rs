//! The engine with SACK on a bad line, native against Verilated: peers that lose, reorder, report, and are handed back and forth.
mod engine_env;

use chimney_abi::cmd::Opcode;
use chimney_abi::state::{TcpRecord, CONST_ECN, CONST_NEWRENO, CONST_SACK};
use chimney_hdl_kernel::diff::{long, Diff, Rnd};
use engine_env::world::{image, seg, MSS, OURS, PEER};
use engine_env::{record, Dut, Env, Todo};
use std::cell::RefCell;
use std::collections::VecDeque;

/// Connections; the last has no SACK, the one before NewReno, the others CUBIC.
const CONNS: u64 = 4;

/// The peer of one connection.
#[derive(Clone, Default)]
struct Far {
    generation: u64,
    /// It was given back, or is on its way.
    is_away: bool,
    /// What it has without a gap.
    nxt: u32,
    /// What it has above that, the newest first.
    ranges: Vec<(u32, u32)>,
    /// What arrived twice.
    twice: Option<(u32, u32)>,
    /// What the host allows the engine to send.
    limit: u32,
    /// What it has sent itself.
    seq: u32,
}

fn distance(a: u32, b: u32) -> i64 {
    i64::from(a.wrapping_sub(b) as i32)
}

impl Far {
    /// Text arrives.
    fn take(&mut self, start: u32, end: u32) {
        let has = |r: &(u32, u32)| distance(start, r.0) >= 0 && distance(r.1, end) >= 0;
        if distance(end, self.nxt) <= 0 || self.ranges.iter().any(has) {
            self.twice = Some((start, end));
            return;
        }
        let mut all = (start, end);
        self.ranges.retain(|r| {
            let touches = distance(r.0, all.1) <= 0 && distance(all.0, r.1) <= 0;
            if touches {
                all.0 = if distance(r.0, all.0) < 0 { r.0 } else { all.0 };
                all.1 = if distance(r.1, all.1) > 0 { r.1 } else { all.1 };
            }
            !touches
        });
        if distance(all.0, self.nxt) <= 0 {
            self.nxt = all.1;
        } else {
            self.ranges.insert(0, all);
        }
    }

    /// What it says of that (RFC 2018 4, RFC 2883 4).
    fn blocks(&mut self) -> Vec<(u32, u32)> {
        let twice = self.twice.take();
        twice.into_iter().chain(self.ranges.iter().copied()).take(4).collect()
    }
}

/// The engine's surroundings and its peers.
struct Line {
    e: Env,
    far: Vec<Far>,
    /// Jobs of the engine that were looked at.
    seen: usize,
    /// What arrives.
    on_way: VecDeque<(u64, u32, u32)>,
    /// Who is coming back.
    away: VecDeque<u64>,
    again: u64,
}

impl Line {
    fn new() -> Line {
        let mut e = Env::new(40);
        (e.slow, e.fails) = (true, false);
        let mut line = Line {
            e,
            far: vec![Far::default(); CONNS as usize],
            seen: 0,
            on_way: VecDeque::new(),
            away: VecDeque::new(),
            again: 0,
        };
        for conn in 0..CONNS {
            let flags = [CONST_SACK, CONST_SACK, CONST_SACK | CONST_NEWRENO, 0][conn as usize];
            let flags = flags | CONST_ECN;
            line.begin(conn, TcpRecord { const_flags: flags, max_retransmissions: 255, ..image() });
        }
        line
    }

    fn begin(&mut self, conn: u64, r: TcpRecord) {
        let f = &mut self.far[conn as usize];
        if f.generation == 0 {
            (f.nxt, f.limit, f.seq) = (OURS, OURS, PEER);
        }
        (f.generation, f.is_away) = (f.generation + 1, false);
        self.e.offload(conn, f.generation, &TcpRecord { send_producer: 1, ..r }, &[0; 32]);
    }

    /// What the engine sent since the last look goes on the line, some of it in another order.
    fn carry(&mut self, r: &mut Rnd) {
        for s in &self.e.sent[self.seen..] {
            self.again += u64::from(s.again);
            if s.len == 0 || r.chance(1, 6) {
                continue;
            }
            let at = if r.chance(1, 6) { 0 } else { self.on_way.len() };
            self.on_way.insert(at, (s.conn, s.seq, s.seq.wrapping_add(s.len as u32)));
        }
        self.seen = self.e.sent.len();
    }

    /// Something arrives and is acknowledged.
    fn arrive(&mut self, r: &mut Rnd, (conn, start, end): (u64, u32, u32)) {
        let f = &mut self.far[conn as usize];
        f.take(start, end);
        let text = if r.chance(1, 4) { vec![7; 1 + r.below(200) as usize] } else { vec![] };
        let echo = if r.chance(1, 4) { chimney_hdl::types::TCP_ECE } else { 0 };
        let mut s = seg(f.seq, f.nxt, echo, text.len());
        let blocks = f.blocks();
        if r.chance(1, 8) {
            return;
        }
        f.seq = f.seq.wrapping_add(text.len() as u32);
        s.conn = conn.into();
        s.sack_count = (blocks.len() as u64).into();
        for (i, (start, end)) in blocks.iter().enumerate() {
            s.sack.set_bits::<64>(64 * i, (u64::from(*end) << 32 | u64::from(*start)).into());
        }
        self.e.plan(Todo::Seg(s.into(), text));
    }

    fn plan(&mut self, r: &mut Rnd) {
        self.carry(r);
        if let Some((_, beats)) = self.e.answers.pop().filter(|(_, beats)| !beats.is_empty()) {
            let conn = self.away.pop_front().expect("somebody was asked for");
            return self.begin(conn, record(&beats));
        }
        if let Some(next) = self.on_way.pop_front() {
            if r.chance(1, 3) {
                self.e.plan(Todo::Time(r.below(400)));
            }
            return self.arrive(r, next);
        }
        let conn = r.below(CONNS);
        let f = &mut self.far[conn as usize];
        match r.below(12) {
            _ if f.is_away => self.e.plan(Todo::Wait(50)),
            0 if self.away.is_empty() => {
                f.is_away = true;
                self.away.push_back(conn);
                self.e.command(Opcode::Terminate, conn, f.generation, None);
            }
            1..=5 => {
                f.limit = f.limit.wrapping_add(r.below(u64::from(6 * MSS)) as u32);
                let bell = chimney_hdl::types::Doorbell {
                    conn: conn.into(),
                    receive: false,
                    producer: 1u64.into(),
                    generation: f.generation.into(),
                    flags: 0u64.into(),
                    limit: u64::from(f.limit).into(),
                };
                self.e.plan(Todo::Bell(bell));
                self.e.plan(Todo::Wait(60));
            }
            6 => self.e.plan(Todo::Time(400_000)),
            7 | 8 => self.e.plan(Todo::Time(r.below(15_000))),
            _ => self.e.plan(Todo::Wait(r.below(60))),
        }
    }
}

#[test]
fn random_losses_are_the_same_in_verilog() {
    let line = RefCell::new(Line::new());
    let steps = if long() { 120_000 } else { 16_000 };
    let mut diff = Diff::new("engine_loss", steps).quick();
    // Nothing is posted, refused or fails here, and the queues of doorbells and finished jobs never fill.
    for port in ["verdict_handed_up", "doorbell_ready", "tx_done_ready", "post_req_valid"] {
        diff = diff.constant(port);
    }
    diff.run_seen(
        Dut::default(),
        |u, r| {
            let mut line = line.borrow_mut();
            if line.e.wants_more() {
                line.plan(r);
            }
            line.e.poke(u, r);
        },
        |u| line.borrow_mut().e.see(u),
        |u, c| u.clock.next = c.into(),
    );
    let line = line.borrow();
    let got: Vec<u32> = line.far.iter().map(|f| f.nxt.wrapping_sub(OURS)).collect();
    let (rto, fast) = (line.e.counts[1], line.e.counts[2]);
    let marks = line.e.counts[11];
    eprintln!(
        "{marks} windows were reduced for a mark, {} acknowledgments were not heard",
        line.e.counts[17]
    );

    eprintln!("{got:?} bytes arrived, {} segments again, {fast} recoveries, {rto} timeouts", line.again);
    assert!(marks > 0);
    assert!(got.iter().all(|n| *n > 2 * MSS) && line.again > 4 && fast > 0 && rto > 0);
}
